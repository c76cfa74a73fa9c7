//! What the kernel and the network notify, and what of it is reported to the driver.

use super::fitness::Reported;
use super::interfaces::Interface;
use super::{Floating, Kernel};
use crate::announce::{Claim, Mac};
use crate::guard::boottime;
use crate::metrics::GuardInForce;
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use std::net::IpAddr;
use std::task::{Context, Poll};

/// How often a group's foreign claims are reported at most.
const CLAIMS_APART: Span = Span::from_millis(1_000);
/// And a stranger's: it may answer each announcement as well (RFC 5227, `DEFEND_INTERVAL`).
const STRANGERS_APART: Span = Span::from_millis(10_000);
/// Most events that wait for the driver; more are dropped, for each is a hint to people or will
/// come again.
const MAX_EVENTS: usize = 64;
/// How long an alarm stays when its cause is over.
const LINGER: Span = Span::from_millis(5_000);
/// Notifications about interfaces that belong to no group are handled together, after this time.
const SHORTLY: Span = Span::from_millis(50);
/// At most this many alarms are reported.
const MAX_ALARMS: usize = 32;

/// How serious an alarm is: the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    TwoMayAnswer,
    NobodyMayAnswer,
    InTheWay,
}

/// The first alarms, and how many more there are.
fn first<'a>(alarms: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all: Vec<String> = alarms.cloned().collect();
    if all.len() > MAX_ALARMS {
        let more = all.len() + 1 - MAX_ALARMS;
        all.truncate(MAX_ALARMS - 1);
        all.push(format!("{more} more alarms, of no more weight than these"));
    }
    all
}

/// Something that happened in the kernel or on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// Whether a group could be served from here. Reported once at the beginning, then on change.
    Eligible {
        /// Which group.
        group: GroupId,
        /// Yes, or why not.
        eligible: Result<(), String>,
    },
    /// What a hold or its refusal may depend on has changed: the interface, or its own addresses.
    Changed {
        /// For which group.
        group: GroupId,
    },
    /// Somebody removed an address of a held group; it is there again.
    AddressPutBack {
        /// Which group.
        group: GroupId,
        /// The address.
        address: IpAddr,
    },
    /// A route of a held group was gone; it is there again.
    RoutePutBack {
        /// Which group.
        group: GroupId,
        /// The route, in words.
        route: String,
    },
    /// Whether all of a group's addresses could be served from here, or which not, and why.
    /// Reported at start-up, then on every change.
    Whole {
        /// Which group.
        group: GroupId,
        /// Yes, or why not.
        whole: Result<(), String>,
    },
    /// What needs a person now, in words; all of it. Reported on change.
    Alarms(Vec<String>),
    /// Another guard is in force than before.
    GuardIs(GuardInForce),
    /// Somebody removed the gate of an interface, or came before it; it decides again.
    GateRestored {
        /// Which interface.
        interface: String,
        /// What had been asked before it, if it was not gone.
        from: Option<String>,
    },
    /// Somebody else on the network claims the address.
    ForeignClaim {
        /// Which group.
        group: GroupId,
        /// The address.
        address: IpAddr,
        /// The other's hardware address.
        mac: Mac,
    },
    /// a machine on the network answered a probe.
    ProbeAnswered {
        /// Of which group.
        group: GroupId,
        /// When the probe was sent.
        probed_at: LocalTime,
    },
}

impl KernelEvent {
    /// The group that it is about, if it is about one.
    pub(super) const fn group_mut(&mut self) -> Option<&mut GroupId> {
        match self {
            Self::Eligible { group, .. }
            | Self::Changed { group }
            | Self::AddressPutBack { group, .. }
            | Self::RoutePutBack { group, .. }
            | Self::Whole { group, .. }
            | Self::ForeignClaim { group, .. }
            | Self::ProbeAnswered { group, .. } => Some(group),
            Self::Alarms(_) | Self::GuardIs(_) | Self::GateRestored { .. } => None,
        }
    }
}

impl Kernel {
    /// What there is to report at the start.
    pub(crate) fn first_refresh(&mut self) -> Vec<KernelEvent> {
        self.refresh();
        self.events.drain(..).collect()
    }

    /// The next event.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<KernelEvent> {
        while let Poll::Ready(Ok(mut ready)) = self.watch.poll_read_ready(cx) {
            let (scratch, heard) = (&mut self.scratch, &mut self.heard);
            let said = ready.try_io(|watch| watch.get_ref().drain(scratch, heard));
            if matches!(said, Ok(Ok(()))) {
                cx.waker().wake_by_ref(); // there may be more, and others have their turn as well
                break;
            } // nothing more: ask to be woken
        }
        while let Some(watch) = &self.routes_watch
            && let Poll::Ready(Ok(mut ready)) = watch.poll_read_ready(cx)
        {
            if let Ok(Ok(())) = ready.try_io(|watch| watch.get_ref().heed(&mut self.scratch)) {
                self.retry = Some(boottime()); // by `wake`
            }
        }
        let of_a_group = |i: &Interface| i.link.as_ref().is_some_and(|l| self.heard.is_of(l.index));
        if self.groups.iter().any(|g| g.reported.is_none())
            || self.interfaces.iter().any(of_a_group)
        {
            self.refresh();
        } else if !self.heard.is_empty() {
            // Containers may come and go many times a second: the leases come first.
            self.refresh_at(boottime().plus(SHORTLY).max(self.rest));
        }
        self.poll_claims(cx);
        self.poll_answers(cx);
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_claims(&mut self, cx: &mut Context<'_>) {
        let mut room = MAX_EVENTS;
        for at in 0..self.interfaces.len() {
            while let Some(port) = &self.interfaces[at].port
                && let Some(claim) = port.poll_claim(cx)
            {
                self.claimed(at, claim);
                room -= 1;
                if room == 0 {
                    cx.waker().wake_by_ref(); // a flood: others have their turn as well
                    return;
                }
            }
        }
    }

    /// Reports a claim, but no two in a second: two that each answer the other's
    /// announcements would never stop.
    fn claimed(&mut self, at: usize, claim: Claim) {
        let now = boottime();
        let Claim { address, mac } = claim;
        let floating = Floating { address, at };
        let Some(group) = self.group_of(floating) else {
            return;
        };
        if self.macs.contains(&mac) {
            return; // another interface of this host in the same network
        }
        self.overhear(group, floating, mac, now);
        let apart = match self.is_contested(group) {
            true => STRANGERS_APART,
            false => CLAIMS_APART,
        };
        let claimed = &mut self.groups[usize::from(group.0)].claimed;
        if claimed.is_none_or(|last| now >= last.plus(apart)) {
            *claimed = Some(now);
            self.push(KernelEvent::ForeignClaim {
                group,
                address,
                mac,
            });
        }
    }

    /// Reports what has changed of what the driver must know.
    pub(super) fn report(&mut self) {
        for group in self.ids() {
            let now = Reported {
                eligible: self.eligible(group),
                whole: self.whole(group),
            };
            let reported = self.groups[usize::from(group.0)]
                .reported
                .replace(now.clone());
            let Reported { eligible, whole } = now;
            // First whether it is whole: one that is not may not be better than another.
            if reported
                .as_ref()
                .is_none_or(|reported| reported.whole != whole)
            {
                self.push(KernelEvent::Whole { group, whole });
            }
            if reported.is_none_or(|reported| reported.eligible != eligible) {
                self.push(KernelEvent::Eligible { group, eligible });
            }
            let fitness = &mut self.groups[usize::from(group.0)].fitness;
            if std::mem::take(&mut fitness.changed) {
                self.push(KernelEvent::Changed { group });
            }
        }
        self.raise_alarms();
    }

    /// An alarm lasts a while longer than what it is about: that may come and go many times a
    /// second. Where there are too many, those that weigh least are counted only.
    fn raise_alarms(&mut self) {
        let now = boottime();
        for alarm in self.what_is_wrong(now) {
            self.alarms.insert(alarm, now);
        }
        self.alarms.retain(|_, seen| now < seen.plus(LINGER));
        if let Some(first) = self.alarms.values().min() {
            self.refresh_at(first.plus(LINGER));
        }
        let are = first(self.alarms.keys().map(|(_, what)| what));
        if self.alarms_reported != are {
            self.alarms_reported.clone_from(&are);
            self.push(KernelEvent::Alarms(are));
        }
    }

    /// What needs a person, whether or not the group can be held.
    fn what_is_wrong(&mut self, now: LocalTime) -> Vec<(Weight, String)> {
        let unread = self.unread.iter().map(|(_, why)| {
            format!("the state of this host's interfaces and addresses can't be read: {why}")
        });
        let mut two: Vec<String> = unread.collect();
        two.extend(self.strangers_in_words(now));
        two.extend(self.guard.alarms());
        two.extend(self.limits.iter().cloned());
        let mut none: Vec<String> = self.astray_in_words(now);
        none.extend(self.routes_in_words(now));
        none.extend(self.doubts.iter().cloned());
        none.extend(self.absent_in_words());
        for group in &self.groups {
            let at = group.at.iter().filter(|_| group.announced);
            let interfaces = at.map(|at| &self.interfaces[*at]);
            for Interface { name, link, .. } in interfaces {
                if link.as_ref().is_some_and(|link| link.noarp) {
                    none.push(format!(
                        "{}: {name} neither asks nor answers by ARP: nobody finds its addresses there, unless \
                         another interface answers for them (`ip link set {name} arp on`)",
                        group.name
                    ));
                }
            }
            let all = group.fitness.repairs.iter();
            for (Floating { address, at }, _) in all.filter(|(_, repairs)| repairs.in_vain(now)) {
                none.push(format!(
                    "{}: somebody keeps removing {address} from {} while it is held: find out who configures \
                     addresses on this host",
                    group.name, self.interfaces[*at].name
                ));
            }
        }
        let mut strange: Vec<String> = self.strange.iter().map(|(_, what)| what.clone()).collect();
        let (beside, strange) = match self.guard.kind() {
            "none" => (strange, Vec::new()), // nothing mutes it
            _ => {
                strange.extend(self.left_in_words());
                (Vec::new(), strange)
            }
        };
        two.extend(beside);
        let all = [
            (Weight::TwoMayAnswer, two),
            (Weight::NobodyMayAnswer, none),
            (Weight::InTheWay, strange),
        ];
        (all.into_iter())
            .flat_map(|(weight, alarms)| alarms.into_iter().map(move |what| (weight, what)))
            .collect()
    }

    pub(super) fn push(&mut self, event: KernelEvent) {
        // Never lost, and few.
        let reported = matches!(
            event,
            KernelEvent::Eligible { .. }
                | KernelEvent::Changed { .. }
                | KernelEvent::Whole { .. }
                | KernelEvent::Alarms(_)
                | KernelEvent::GuardIs(_)
                | KernelEvent::ProbeAnswered { .. }
        );
        if reported || (self.events.len() < MAX_EVENTS && !self.events.contains(&event)) {
            self.events.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_alarms_the_weightiest_are_told_and_the_others_counted() {
        let strange = (0..100).map(|n| (Weight::InTheWay, format!("a{n}")));
        let stranger = (Weight::TwoMayAnswer, "web: a stranger".to_owned());
        let all: std::collections::BTreeSet<_> = strange.chain([stranger]).collect();
        let first = first(all.iter().map(|(_, what)| what));
        assert_eq!(first.len(), MAX_ALARMS);
        assert_eq!(first[0], "web: a stranger");
        assert_eq!(
            first[MAX_ALARMS - 1],
            "70 more alarms, of no more weight than these"
        );
    }
}

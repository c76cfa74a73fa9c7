//! The groups' interfaces: what they are, and their gates and sockets.

use super::{Kernel, KernelEvent};
use crate::address::{self, Assigned, Link};
use crate::announce::{Mac, Port};
use crate::guard::{AT_A_TIME, Place, Standing, Tended, boottime};
use crate::netlink::KernelError;
use crate::probe::Prober;
use crate::queue;
use onehold_core::time::{LocalTime, Span};
use std::net::IpAddr;

/// How long after a failure it is tried again.
const RETRY: Span = Span::from_millis(1_000);
/// How often the kernel's state is read without a notification: not everything that
/// matters is notified, and notifications may be lost.
const REFRESH_ANYWAY: Span = Span::from_millis(10_000);
/// How often what the gate can't prevent is looked for, at most.
const LIMITS_APART: Span = Span::from_millis(1_000);
/// A refresh may take long where others change interfaces all the time, for the kernel has one lock
/// for them all. So after one that took n, what concerns no group waits for this many n, and at
/// most for the longest rest.
const REST: u64 = 5;
const LONGEST_REST: Span = Span::from_millis(500);
/// For how long what can't be read counts as unchanged: a failure that passes must not cost the
/// address.
const UNREAD: Span = Span::from_millis(3_000);

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) addresses: Vec<IpAddr>,
    /// It need not be an Ethernet interface: a group on it is not announced.
    pub(super) any: bool,
    /// The interface as it is, if it is there.
    pub(super) link: Option<Link>,
    /// Why it has no gate or no packet socket, if so.
    pub(super) fault: Option<String>,
    pub(super) port: Option<Port>,
    /// What the network is asked by, and from which of this host's own addresses.
    pub(super) prober: Option<Prober>,
    pub(super) own: Vec<Assigned>,
    /// Where the peer's frames came from.
    pub(super) peer: Option<Mac>,
}

impl Interface {
    /// One that was not looked at yet.
    pub(super) const fn named(name: String) -> Self {
        Self {
            name,
            addresses: Vec::new(),
            any: false,
            link: None,
            fault: None,
            port: None,
            prober: None,
            own: Vec::new(),
            peer: None,
        }
    }

    pub(super) fn eligible(&self, announced: bool) -> Result<(), String> {
        let link = self.link.as_ref();
        let why = match (&self.fault, link.map(|link| link.unfit(announced))) {
            (Some(fault), _) => fault,
            (None, None) => "there is no such interface",
            (None, Some(Some(fault))) => fault,
            (None, Some(None)) => return Ok(()),
        };
        Err(format!("{}: {why}", self.name))
    }
}

impl Kernel {
    /// Reads everything that we depend on, repairs what can be repaired, and reports what changed.
    pub(super) fn refresh(&mut self) {
        let now = boottime();
        self.retry = Some(now.plus(REFRESH_ANYWAY));
        self.guard.heard(&std::mem::take(&mut self.heard));
        let before: Vec<Option<String>> = self.interfaces.iter().map(|i| i.fault.clone()).collect();
        let looked = self.try_refresh().map_err(|e| e.to_string());
        self.unread = looked.as_ref().err().map(|why| {
            let since = self.unread.as_ref().map_or(now, |(since, _)| *since);
            (since, why.clone())
        });
        if let Some((since, why)) = &self.unread {
            let known = self.groups.iter().all(|group| group.reported.is_some());
            let passing = known && now < since.plus(UNREAD);
            for (interface, before) in self.interfaces.iter_mut().zip(before) {
                interface.fault = if passing { before } else { Some(why.clone()) };
            }
            self.refresh_at(now.plus(RETRY));
        }
        if let Err(e) = self.guard.same_clock() {
            for interface in &mut self.interfaces {
                interface.fault = Some(e.to_string());
            }
        }
        let faulty = |i: &Interface| i.link.is_some() && i.fault.is_some();
        if self.interfaces.iter().any(faulty) {
            self.refresh_at(now.plus(RETRY));
        }
        if self.guard.kind() != self.guard_reported {
            self.guard_reported = self.guard.kind();
            self.push(KernelEvent::GuardIs(self.guard_in_force()));
        }
        self.report();
        let end = boottime();
        self.rest = end.plus(end.since(now).times(REST).min(LONGEST_REST));
        self.take_breath(now);
    }

    /// Refreshes again at that time, if not before.
    pub(super) fn refresh_at(&mut self, at: LocalTime) {
        self.retry = Some(self.retry.map_or(at, |retry| retry.min(at)));
    }

    /// Looks for what the gate can't prevent on this host.
    fn refresh_limits(&mut self, all: &[Link]) {
        let now = boottime();
        if now < self.limits_due {
            return self.refresh_at(self.limits_due);
        }
        self.limits_due = now.plus(LIMITS_APART);
        let links = self.links();
        self.doubts = links.iter().filter_map(|l| self.guard.doubt(l)).collect();
        let own: Vec<u32> = links.iter().map(|link| link.index).collect();
        let keeping = queue::keeping(&mut self.route, &own, all);
        let warn = |(link, at, kind): queue::Keeping<'_>| {
            let whose = match at.index == link.index {
                true => "its queue".to_owned(),
                false => format!("the queue of {}, by which it sends,", at.name),
            };
            format!(
                "{}: {whose} ({kind}) may keep what this member sends as holder, and send it when another \
                 one holds; let what the floating addresses send go past it",
                link.name
            )
        };
        self.limits = match keeping {
            Ok(keeping) => keeping.into_iter().map(warn).collect(),
            Err(e) => vec![format!(
                "whether a queue keeps what this member sends is not known: {e}"
            )],
        };
        if self.guard.kind() != "none" && self.groups.iter().any(|group| !group.announced) {
            let bare = all
                .iter()
                .filter(|l| !l.ethernet && !l.loopback && l.unfit(false).is_none());
            let bare: Vec<&str> = bare.map(|link| link.name.as_str()).collect();
            if !bare.is_empty() {
                self.limits.push(format!(
                    "the guard can't mute what comes in by {}, which is not an Ethernet interface: a frozen holder \
                     would answer there; lead the packets for floating addresses over Ethernet interfaces only",
                    bare.join(", ")
                ));
            }
        }
        let may_route = |of: &str| {
            let path = format!("/proc/sys/net/{of}");
            std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
        };
        let up = all.iter().filter(|l| l.ethernet && l.fault.is_none());
        let routes = up.count() > 1
            && (may_route("ipv4/ip_forward") || may_route("ipv6/conf/all/forwarding"));
        if self.guard.kind() == "nft" && routes {
            self.limits.push(
                "this host routes, and the nft guard drops what passes through it to and from floating \
                 addresses that it does not hold; the bpf guard lets that pass"
                    .to_owned(),
            );
        }
    }

    fn try_refresh(&mut self) -> Result<(), KernelError> {
        let began = boottime();
        let all = address::links(&mut self.route)?;
        let macs = all.iter().filter(|link| link.ethernet).map(|link| link.mac);
        self.macs = macs.collect();
        self.refresh_limits(&all);
        for at in 0..self.interfaces.len() {
            let interface = &mut self.interfaces[at];
            let known = interface.link.as_ref().map(|link| link.index);
            let found = all.iter().find(|link| link.is_called(&interface.name));
            // What fails below sets it again.
            interface.fault = None;
            let Some(found) = found.filter(|link| link.ethernet || interface.any) else {
                interface.fault = found.and_then(|link| link.unfit(true)).map(str::to_owned);
                self.detach(at);
                continue;
            };
            let new = known != Some(found.index);
            if new {
                self.detach(at);
            }
            self.interfaces[at].link = Some(found.clone());
            if !found.ethernet {
                continue; // no gate, and nobody to announce to
            }
            let standing = (self.guard).standing(&mut self.route, found, Place::Own)?;
            if standing != Standing::First && self.restore(at, &standing) && !new {
                self.push(KernelEvent::GateRestored {
                    interface: found.name.clone(),
                    from: match standing {
                        Standing::Behind(who) => Some(who),
                        Standing::Absent | Standing::First => None,
                    },
                });
            }
            let port = self.interfaces[at].port.as_mut();
            let port = port.filter(|port| port.is_at(found));
            match port.map(|port| port.set_mac(found.mac)) {
                Some(true) => self.announce_all_of(at),
                Some(false) => {}
                None => {
                    self.settle_on(found.clone());
                    self.announce_all_of(at);
                }
            }
        }
        self.refresh_addresses(&all)?;
        // The kernel has one lock for all that is asked here, and others may be busy with it: what
        // the lease needs comes in between.
        if boottime() < began.plus(AT_A_TIME) {
            self.tend(&all);
        } else {
            self.untended = Some(all);
        }
        Ok(())
    }

    /// Puts the gate on interfaces that belong to no group.
    pub(super) fn tend(&mut self, all: &[Link]) {
        let began = boottime();
        let links = self.links();
        let until = began.plus(AT_A_TIME);
        if self.guard.tend(&mut self.route, &links, all, until) == Tended::Shut {
            self.hold_again();
        }
        self.untended = None;
        self.take_breath(began);
    }

    /// What concerns no group waits for as long as the last of it took.
    fn take_breath(&mut self, began: LocalTime) {
        let now = boottime();
        self.breath = now.plus(now.since(began).min(LONGEST_REST));
    }

    /// The interface has another hardware address: neighbours must know at once.
    fn announce_all_of(&mut self, at: usize) {
        let now = boottime();
        for group in self.groups.iter_mut().filter(|g| g.at.contains(&at)) {
            group.announcing = group.announcing.map(|running| running.again(now, false));
        }
    }

    /// The interface is gone, and its addresses, gate and socket with it; or it is another one now.
    fn detach(&mut self, at: usize) {
        let interface = &mut self.interfaces[at];
        interface.link = None;
        interface.port = None;
        (interface.prober, interface.peer) = (None, None);
        for group in self.groups.iter_mut().filter(|g| g.at.contains(&at)) {
            group.hold = None;
        }
    }

    /// Puts the gate on an interface again, and lets through what is still held. If that fails,
    /// nothing on it may be held.
    fn restore(&mut self, at: usize, standing: &Standing) -> bool {
        let Some(link) = self.interfaces[at].link.clone() else {
            return false;
        };
        let links = self.links();
        let mut result = (self.guard).repair(&mut self.route, &link, standing, &links);
        if result.is_err() {
            let ours = self.indices();
            for group in self.groups.iter_mut().filter(|g| g.at.contains(&at)) {
                group.hold = None;
                // The gate is not there: only this makes the addresses silent.
                let addresses = group.bare();
                let removed = address::remove(&mut self.route, &addresses, &ours);
                result = result.and(removed);
            }
        }
        self.hold_again();
        self.interfaces[at].fault = result.as_ref().err().map(ToString::to_string);
        result.is_ok()
    }

    /// Lets what is still held through again.
    pub(super) fn hold_again(&mut self) {
        for group in &self.groups {
            if let Some(hold) = &group.hold {
                // A lease that is nearly over may be refused; the next renewal will report it.
                let _ = self.guard.hold(&group.keys, hold.deadline);
            }
        }
    }

    /// Notes an interface whose gate is in force, and opens its socket.
    pub(super) fn settle_on(&mut self, link: Link) {
        for interface in self
            .interfaces
            .iter_mut()
            .filter(|i| link.is_called(&i.name))
        {
            match Port::open(&link, &interface.addresses) {
                Ok(port) => interface.port = Some(port),
                Err(e) => interface.fault = interface.fault.take().or(Some(e.to_string())),
            }
            interface.link = Some(link.clone());
        }
    }
}

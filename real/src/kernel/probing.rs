//! asks the network, by echo requests, whether a machine answers for a group's addresses.
//!
//! Only the peer is asked, where its frames come from and where the kernel takes its own addresses
//! to be: others may have a floating address, and answer for it, by right (a server behind a
//! director has it on its loopback interface).
//!
//! What it never does: decide what an answer means, or wait for one. What can't be asked is not:
//! a peer that is nowhere to be found on the group's network, or an address on an interface that
//! is down, is not Ethernet, or has no address of this host's own.

use super::watching::KernelEvent;
use super::{Floating, Kernel};
use crate::address::Assigned;
use crate::announce::Mac;
use crate::probe::{Prober, Seal, source};
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;
use std::task::Context;

/// Of a group with more addresses, this many are asked for at a time, in turn: one answer is enough,
/// and who holds one of them holds all.
const SOME: usize = 8;
/// At most this many of an interface's own addresses are considered to ask from.
const MOST_OWN: usize = 32;
/// At most this many hardware addresses are asked: a peer has another one after a change of cards.
const PLACES: usize = 4;
/// At most this many frames are looked at in a turn.
const MOST_ANSWERS: usize = 64;

/// What became of the probes of one group. For people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probing {
    /// How often it was asked for.
    pub asked: u64,
    /// How many of these were answered.
    pub answered: u64,
    /// When it was last asked for, and when what was answered last was asked.
    pub last_asked: Option<LocalTime>,
    /// When what was answered last was asked.
    pub last_answered: Option<LocalTime>,
    /// The last time, nothing could be asked.
    pub unasked: bool,
}

/// The questions of all groups.
#[derive(Debug)]
pub(super) struct Probes {
    seal: Seal,
    groups: BTreeMap<u8, Probing>,
    /// By group: which of its addresses comes next.
    next: BTreeMap<u8, usize>,
}

impl Probes {
    /// The groups have other numbers from now on, or are gone.
    pub(super) fn move_to(&mut self, now: impl Fn(u8) -> Option<u8>) {
        let groups = std::mem::take(&mut self.groups).into_iter();
        let groups = groups.filter_map(|(was, probing)| Some((now(was)?, probing)));
        self.groups = groups.collect();
        self.next.clear();
    }
}

impl Kernel {
    /// Lets the network be asked from now on; `random` is this incarnation's own.
    pub fn may_probe(&mut self, random: &[u8; 34]) {
        self.probes = Some(Probes {
            seal: Seal::new(random),
            groups: BTreeMap::new(),
            next: BTreeMap::new(),
        });
    }

    /// Asks the network about a group.
    pub fn probe(&mut self, id: GroupId, probed_at: LocalTime) {
        let Self {
            probes: Some(probes),
            groups,
            interfaces,
            neighbours,
            ..
        } = self
        else {
            return;
        };
        let Some(group) = groups.get(usize::from(id.0)) else {
            return;
        };
        let many = group.addresses.len();
        let next = probes.next.entry(id.0).or_default();
        let mut left = false;
        for at in (*next..).take(many.min(SOME)) {
            let floating = group.addresses[at % many];
            let interface = &mut interfaces[floating.at];
            let (Some(link), Some(prober)) = (&interface.link, &mut interface.prober) else {
                continue;
            };
            let Some(own) = source(&interface.own, floating.address) else {
                continue;
            };
            let there = neighbours.places().chain(neighbours.said_places());
            let there = there.filter(|p| p.index == link.index).map(|p| p.mac);
            let mut whom: Vec<Mac> = Vec::new();
            for mac in interface.peer.into_iter().chain(there) {
                if !whom.contains(&mac) {
                    whom.push(mac);
                }
            }
            for mac in whom.into_iter().take(PLACES) {
                left |= prober.ask((floating.address, mac), probed_at, (link.mac, own));
            }
        }
        *next = next.wrapping_add(SOME) % many.max(1);
        let probing = probes.groups.entry(id.0).or_default();
        probing.unasked = !left;
        if left {
            probing.asked += 1;
            probing.last_asked = Some(probed_at);
        }
    }

    /// What became of the probes of a group, if it may be asked for.
    #[must_use]
    pub fn probing(&self, id: GroupId) -> Option<Probing> {
        let probes = self.probes.as_ref()?;
        Some(probes.groups.get(&id.0).copied().unwrap_or_default())
    }

    /// The peer's frames come from there, at an interface with this name in the file.
    pub fn peer_is_at(&mut self, interface: &str, mac: Mac) {
        if let Some(known) = self.interfaces.iter_mut().find(|i| i.name == interface) {
            known.peer = Some(mac);
        }
    }

    /// Takes the answers: the newest question that is answered counts, once.
    pub(super) fn poll_answers(&mut self, cx: &mut Context<'_>) {
        if self.probes.is_none() {
            return;
        }
        let mut left = MOST_ANSWERS;
        for at in 0..self.interfaces.len() {
            while let Some(prober) = &self.interfaces[at].prober
                && let Some(asked) = prober.poll_answer(&self.macs, &mut left, cx)
            {
                let address = asked.to;
                if let Some(group) = self.group_of(Floating { address, at }) {
                    self.answered(group, asked.probed_at);
                }
            }
        }
        if left == 0 {
            cx.waker().wake_by_ref(); // a flood: others have their turn as well
        }
    }

    fn answered(&mut self, group: GroupId, probed_at: LocalTime) {
        let Some(probes) = &mut self.probes else {
            return;
        };
        let probing = probes.groups.entry(group.0).or_default();
        if probing.last_answered.is_some_and(|last| probed_at <= last) {
            return;
        }
        probing.last_answered = Some(probed_at);
        probing.answered += 1;
        self.push(KernelEvent::ProbeAnswered { group, probed_at });
    }

    /// Opens what is asked by, and finds from which addresses.
    pub(super) fn refresh_probers(&mut self, present: &[Assigned]) {
        let floating = self.floating();
        let Some(probes) = &self.probes else { return };
        for interface in &mut self.interfaces {
            let link = interface.link.as_ref().filter(|link| link.ethernet);
            let index = link.map(|link| link.index);
            let own = |a: &&Assigned| {
                Some(a.index) == index && a.is_usable() && !floating.contains(&a.address)
            };
            interface.own = present.iter().filter(own).take(MOST_OWN).copied().collect();
            let prober = interface.prober.take();
            interface.prober = link.and_then(|link| {
                let there = prober.filter(|prober| prober.is_at(link));
                there.or_else(|| Prober::open(link, &probes.seal).ok()) // or at the next look
            });
        }
    }
}

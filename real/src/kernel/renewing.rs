//! Many addresses are put on their interfaces, renewed and removed some at a time: Linux takes up to half
//! a millisecond for each IPv6 address of a thousand, and the leases come first.

use super::holding::Hold;
use super::{Floating, Group, Kernel};
use crate::address::{self, Assigned, Link};
use crate::guard::boottime;
use crate::netlink::{KernelError, Netlink};
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;

/// So many addresses are put, renewed or tried out without looking at the clock.
pub(super) const AT_ONCE: usize = 64;
/// For so long more of them follow, in one turn.
const TURN: Span = Span::from_millis(20);
/// How long after a turn the next ones are due.
pub(super) const APART: Span = Span::from_millis(2);

/// How far a group is with its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Renewing {
    began: LocalTime,
    /// When the next ones are due.
    pub(super) due: LocalTime,
    /// How many are there, and renewed.
    pub(super) done: usize,
    /// The others are not there yet.
    pub(super) puts: bool,
}

impl Group {
    /// Whether its addresses, held as `before`, are many, and are being renewed from now on.
    pub(super) fn renews(&mut self, before: Option<Hold>, now: LocalTime) -> bool {
        let last = before.is_some_and(|hold| now < hold.valid_until);
        let many = self.addresses.len() > AT_ONCE;
        if !(last && many && self.fitness.fresh.is_empty()) {
            self.renewing = None;
            return false;
        }
        self.begin_to_renew(now);
        true
    }

    /// All of its addresses are renewed from now on.
    pub(super) fn begin_to_renew(&mut self, now: LocalTime) {
        self.renewing.get_or_insert(Renewing {
            began: now,
            due: now,
            done: 0,
            puts: false,
        });
    }

    /// The addresses that are still to be put on their interfaces; what is held has the others.
    pub(super) fn to_come(&self) -> &[Floating] {
        let done = self.renewing.filter(|r| r.puts).map(|r| r.done);
        done.and_then(|done| self.addresses.get(done..))
            .unwrap_or(&[])
    }

    /// Puts the first of its addresses on their interfaces, and says what the kernel refuses. The others
    /// follow.
    pub(super) fn begin_to_put(
        &mut self,
        route: &mut Netlink,
        links: &BTreeMap<usize, Link>,
        lifetime: Span,
        there: &[Assigned],
    ) -> Vec<KernelError> {
        let began = boottime();
        let mut renewing = Renewing {
            began,
            due: began,
            done: 0,
            puts: true,
        };
        let refused = self.renew_for_a_turn(route, links, &mut renewing, lifetime, there);
        let over = renewing.done == self.addresses.len();
        self.renewing = (!over).then_some(renewing);
        refused
    }

    /// Puts or renews more, until a turn is over.
    fn renew_for_a_turn(
        &mut self,
        route: &mut Netlink,
        links: &BTreeMap<usize, Link>,
        renewing: &mut Renewing,
        lifetime: Span,
        there: &[Assigned],
    ) -> Vec<KernelError> {
        let until = boottime().plus(TURN);
        let mut refused = Vec::new();
        loop {
            let left = self.addresses.get(renewing.done..).unwrap_or(&[]);
            let some: Vec<Floating> = left.iter().take(AT_ONCE).copied().collect();
            renewing.done += some.len();
            refused.extend(self.renew(route, links, &some, lifetime, there));
            let now = boottime();
            if until <= now || renewing.done == self.addresses.len() {
                renewing.due = now.plus(APART);
                return refused;
            }
        }
    }

    /// Puts some of its addresses on their interfaces, or renews them; returns what the kernel
    /// refuses.
    pub(super) fn renew(
        &mut self,
        route: &mut Netlink,
        links: &BTreeMap<usize, Link>,
        some: &[Floating],
        lifetime: Span,
        there: &[Assigned],
    ) -> Vec<KernelError> {
        let misfits = some.iter().map(|f| self.fitness.misfit(*f));
        let mut refused: BTreeMap<Floating, KernelError> = (some.iter().copied().zip(misfits))
            .filter_map(|(f, misfit)| Some((f, misfit?)))
            .collect();
        let fitting = some.iter().filter(|f| !refused.contains_key(f));
        let fitting: Vec<Floating> = fitting.copied().collect();
        let named: Vec<_> = fitting.iter().map(|f| (&links[&f.at], f.address)).collect();
        let failed = address::renew(route, &named, lifetime, there);
        refused.extend(failed.into_iter().map(|(n, e)| (fitting[n], e)));
        for floating in some {
            match refused.get(floating) {
                None => drop(self.fitness.refused.remove(floating)),
                Some(e) => drop(self.fitness.refused.insert(*floating, e.to_string())),
            }
        }
        refused.into_values().collect()
    }
}

impl Kernel {
    /// Renews some more of what is due.
    pub(super) fn renew_some(&mut self, now: LocalTime) {
        for id in self.ids() {
            let renewing = self.groups[usize::from(id.0)].renewing;
            if let Some(renewing) = renewing.filter(|r| r.due <= now) {
                self.renew_more(id, renewing);
            }
        }
    }

    fn renew_more(&mut self, id: GroupId, renewing: Renewing) {
        let (lifetime, guarded) = (self.lifetime(), self.guard.kind() != "none");
        let Some(links) = self.links_of(id, |interface| interface.fault.is_none()) else {
            self.groups[usize::from(id.0)].renewing = None; // with the next hold
            return;
        };
        let there = match renewing.puts {
            true => Vec::new(),
            false => address::list(&mut self.route).unwrap_or_default(),
        };
        let group = &mut self.groups[usize::from(id.0)];
        let live = |hold: &&mut Hold| guarded || boottime() < hold.deadline;
        let Some(hold) = group.hold.as_mut().filter(live) else {
            group.renewing = None;
            return;
        };
        if renewing.done == group.addresses.len() {
            hold.valid_until = renewing.began.plus(lifetime);
            group.renewing = None;
            return;
        }
        let (mut renewing, before) = (renewing, renewing.done);
        let refused =
            group.renew_for_a_turn(&mut self.route, &links, &mut renewing, lifetime, &there);
        group.renewing = Some(renewing);
        if renewing.puts && group.announcing.is_some() && group.announced {
            let new = group.addresses.get(before..renewing.done);
            let new = new.unwrap_or(&[]).to_vec();
            self.announce_once(&new);
        }
        if !refused.is_empty() {
            self.wait_with(id);
            self.report();
        }
    }

    /// Announces what is due: of many addresses some, and the others soon.
    pub(super) fn tell_some(&mut self, now: LocalTime) {
        if now < self.quiet {
            return;
        }
        let mut some: Vec<Floating> = Vec::new();
        for group in &mut self.groups {
            let Some(from) = group.telling else { continue };
            let there = group.addresses.len() - group.to_come().len(); // the others when they come
            let left = group.addresses.get(from..there).unwrap_or(&[]);
            let room = AT_ONCE - some.len();
            group.telling = (left.len() > room).then_some(from + room);
            some.extend(left.iter().take(room));
        }
        self.announce_once(&some);
        if self.groups.iter().any(|g| g.telling.is_some()) {
            self.quiet = now.plus(APART);
        }
    }
}

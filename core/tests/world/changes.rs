//! files that change while members run.

use super::{Kernel, Member, Process, World, spec};
use onehold_core::advert::{Change, GroupId, MemberId};
use onehold_core::config::{Arbitration, Config, MemberSpec, Spec};
use onehold_core::effect::Event;
use std::net::IpAddr;

/// Two candidates, and these witnesses.
pub fn with(witnesses: &[&str], arbitration: Arbitration) -> Spec {
    let mut spec = spec(2, arbitration);
    spec.members.extend(witnesses.iter().map(|name| MemberSpec {
        name: (*name).to_owned(),
        witness: true,
        addresses: vec![],
    }));
    spec
}

impl Kernel {
    /// Scrubbed.
    pub fn with_room(groups: usize) -> Self {
        Self {
            deadlines: vec![0; groups],
            addresses: vec![false; groups],
        }
    }

    /// The groups have other numbers.
    fn renumber(&mut self, from: &Config, to: &Config) {
        let was = self.clone();
        *self = Self::default();
        for group in to.groups() {
            let place = from.groups().iter().position(|g| g.name == group.name);
            self.deadlines.push(place.map_or(0, |p| was.deadlines[p]));
            self.addresses.push(place.is_some_and(|p| was.addresses[p]));
        }
    }
}

impl Member {
    /// It doubted before this turn: if it does no more, its record says nothing else.
    pub(super) fn trusts(&mut self, doubted: bool) {
        if let Process::Up(node) = &self.process
            && doubted
            && !node.doubts()
        {
            self.record = self.config.electorates();
        }
    }
}

impl World {
    /// The machine that has this number in the configuration of `m`.
    pub(super) fn machine(&self, m: usize, member: MemberId) -> usize {
        let name = self.members[m].config.member_name(member);
        let mut machines = self.members.iter();
        machines
            .position(|m| m.name == name)
            .expect("one of the machines")
    }

    /// Whether this machine is a member there.
    pub fn is_of(&self, m: usize, file: &Spec) -> bool {
        let name = &self.members[m].name;
        file.members.iter().any(|of| of.name == *name)
    }

    pub fn role_changes(&self) -> usize {
        self.log
            .iter()
            .filter(|(_, _, e)| matches!(e, Event::Role { .. }))
            .count()
    }

    /// A member is told to read its file again; one that is no member there refuses it.
    pub fn reload(&mut self, m: usize, file: &Spec) {
        if !self.is_of(m, file) {
            return;
        }
        let member = &mut self.members[m];
        let next = file.prove(&member.name).expect("the tests' own spec");
        if member.settled.path_to(&next).is_err() && next != member.settled {
            return;
        }
        let Process::Up(_) = member.process else {
            return;
        };
        match member.config.change() {
            Change::None => {}
            Change::Toward(_) => {
                let back = member.settled.clone();
                self.change(m, back); // it turns back
            }
            Change::From(_) => return, // one after the other
        }
        let member = &mut self.members[m];
        member.path = match next == member.settled {
            true => Vec::new(),
            false => member.settled.path_to(&next).expect("it can be changed"),
        };
        self.take_steps(m);
        self.schedule(m);
    }

    /// Takes each step of a change that it may.
    pub fn take_steps(&mut self, m: usize) {
        loop {
            let member = &self.members[m];
            let (Process::Up(node), Some(next)) = (&member.process, member.path.first()) else {
                return;
            };
            let (settled, may) = (
                &member.settled,
                node.may_step(&member.config, self.local(m)),
            );
            match member.config.change() {
                Change::None => self.change(m, settled.toward(next)),
                Change::Toward(_) if may => self.change(m, next.from(settled)),
                Change::From(_) if may => {
                    let next = next.clone();
                    self.members[m].path.remove(0);
                    self.members[m].settled = next.clone();
                    self.change(m, next);
                }
                Change::Toward(_) | Change::From(_) => return,
            }
        }
    }

    fn change(&mut self, m: usize, to: Config) {
        let now = self.local(m);
        let member = &mut self.members[m];
        let Process::Up(node) = &mut member.process else {
            return;
        };
        let mut out = Vec::new();
        member.longest = member.longest.max(to.timing().longest_lease());
        member.kernel.renumber(&member.config, &to);
        if !node.doubts() {
            member.record.clear();
        }
        member.record.extend(to.electorates());
        node.change(&member.config, &to, now, &mut out);
        member.config = to;
        for effect in out {
            self.apply(m, effect);
        }
    }

    /// All that are members there have this file in force, and nothing else.
    pub fn all_settled(&self, file: &Spec) -> bool {
        (0..self.members.len())
            .filter(|m| self.is_of(*m, file))
            .all(|m| {
                let member = &self.members[m];
                member.config == file.prove(&member.name).expect("the tests' own spec")
            })
    }

    /// Whose kernel would answer for an address.
    pub fn effective_at(&self, address: IpAddr) -> Vec<usize> {
        (0..self.members.len())
            .filter(|m| {
                let groups = self.members[*m].config.groups();
                (0u8..).zip(groups).any(|(g, group)| {
                    group.addresses.iter().any(|p| p.address == address)
                        && self.effective_in(GroupId(g)).contains(m)
                })
            })
            .collect()
    }

    /// Every address that any member has.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let groups = self.members.iter().flat_map(|m| m.config.groups());
        let mut all: Vec<IpAddr> = groups
            .flat_map(|g| g.addresses.iter().map(|p| p.address))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// S1, for each address while files differ.
    pub(super) fn judge(&mut self) {
        let first = &self.members[0].config;
        let groups = first.groups().len();
        let one_file = self
            .members
            .iter()
            .all(|m| m.config.digest() == first.digest());
        let addresses = if one_file { vec![] } else { self.addresses() };
        let mut at = addresses.into_iter().map(|a| self.effective_at(a));
        let of_addresses = at.find(|all| all.len() > 1);
        for g in 0..groups {
            let effective = match &of_addresses {
                Some(two) => two.clone(),
                None => self.effective_in(GroupId(g as u8)),
            };
            if effective.len() > 1 && (one_file || of_addresses.is_some()) {
                self.two_at.get_or_insert(self.now);
                assert!(
                    !self.check_two,
                    "S1: two effective at {} us: {effective:?}\n{}",
                    self.now / 1_000,
                    self.story()
                );
            }
            if g == 0 && effective != self.last_effective {
                self.last_effective = effective;
                self.changed_at = self.now;
            }
        }
    }
}

//! files that change while members run.
//!
//! Gates and records are of the plan's groups, which every world knows by one number; a process
//! knows its groups by those of the configuration that it has in force.

use super::super::record::{By, What};
use super::{Member, World, at};
use crate::fault::{Edit, Refusable};
use crate::liveness::Liveness;
use onehold::driver::ShellEvent;
use onehold_core::advert::{Change, GroupId, MemberId};
use onehold_core::config::Config;
use onehold_core::effect::Event;
use std::net::IpAddr;

impl World {
    /// The member's file says this from now on, and its process reads it again.
    pub(super) fn reload(&mut self, now: u64, id: MemberId, edit: &Edit) {
        let edited = self.plan.edited(edit);
        let (spec, to) = edited.expect("proved when it was planned");
        let member = self.member(id);
        member.file = to.clone();
        if member.process == Liveness::Down {
            return;
        }
        // As the daemon refuses it.
        let refused = match member.config.change() {
            Change::From(_) => Err("another is in force, and not on every member yet".to_owned()),
            Change::None | Change::Toward(_) => {
                let path = member.settled.path_to(&to);
                path.map(drop).map_err(|e| e.to_string())
            }
        };
        match refused {
            Err(why) => self.record(now, Some(id), What::FileRefused(why)),
            Ok(()) => {
                let (cluster, spec) = (0, Box::new(spec));
                self.tell(id, ShellEvent::Changes { cluster, to, spec });
            }
        }
    }

    /// What is to be done before `to` is in force where `from` was.
    pub(in crate::simulator) fn step(
        &mut self,
        now: u64,
        id: MemberId,
        from: &Config,
        to: &Config,
    ) -> Result<(), String> {
        self.settle(now, id);
        let member = self.member(id);
        if member.process != Liveness::Up {
            return Err("the process does not run".to_owned());
        }
        match to.change() {
            Change::Toward(_) => member.leases.covers(to.timing().longest_lease()),
            Change::From(_) => self.adopt_groups(now, id, from, to)?,
            Change::None => member.settled = to.clone(),
        }
        let member = self.member(id);
        member.votes.say(&to.electorates());
        member.config = to.clone();
        self.record(now, Some(id), What::InForce(Box::new(to.clone())));
        if matches!(to.change(), Change::From(_)) {
            self.tell_of_new_groups(id, from, to);
        }
        Ok(())
    }

    /// What leaves is muted, and then the gates are those of the groups of `to`.
    fn adopt_groups(
        &mut self,
        now: u64,
        id: MemberId,
        from: &Config,
        to: &Config,
    ) -> Result<(), String> {
        let member = &self.members[at(id)];
        let reads = |event: &ShellEvent| matches!(event, ShellEvent::Changes { .. });
        if member.inbox.iter().any(reads) {
            return Err("the file was read again meanwhile".to_owned());
        }
        let leaving: Vec<IpAddr> = from.leaving(to).map(|p| p.address).collect();
        for (number, group) in (0u8..).map(GroupId).zip(from.groups()) {
            let ours = self.ours(from, number);
            let member = &self.members[at(id)];
            let open = member.gates[usize::from(ours.0)].deadline.is_some();
            let leaves = group.addresses.iter().any(|p| leaving.contains(&p.address));
            if open && leaves && member.refuses.contains(&Refusable::Release) {
                let what = What::KernelRefused(Refusable::Release, ours);
                self.record(now, Some(id), what);
                return Err("the kernel refuses to mute what leaves (simulated)".to_owned());
            }
        }
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            if self.plan.number_in(to, group).is_none() {
                let gate = &mut self.members[at(id)].gates[usize::from(group.0)];
                (gate.deadline, gate.releasing, gate.preparing) = (None, None, None);
                self.tell_effective(now, id, group, By::Change);
            }
        }
        self.member(id).slack = to.timing().slack();
        Ok(())
    }

    fn tell_of_new_groups(&mut self, id: MemberId, from: &Config, to: &Config) {
        if !to.is_candidate(id) {
            return;
        }
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            let numbers = [from, to].map(|config| self.plan.number_in(config, group));
            if let [None, Some(_)] = numbers {
                let member = self.member(id);
                member.tell_eligible(group);
                member.tell_healthy(group);
            }
        }
    }

    /// The plan's number of a group of a configuration that is in force.
    fn ours(&self, config: &Config, number: GroupId) -> GroupId {
        let ours = self.plan.group_of(config, number);
        ours.expect("the plan has every group of every file")
    }

    /// The plan's number of a group that a process names.
    pub(in crate::simulator) fn group_of(&self, id: MemberId, number: GroupId) -> GroupId {
        self.ours(&self.members[at(id)].config, number)
    }

    /// What the process is told of what happened to it: with the numbers of its groups, and nothing
    /// of a group that it does not have.
    pub(in crate::simulator) fn as_told(
        &mut self,
        id: MemberId,
        mut event: ShellEvent,
    ) -> Option<ShellEvent> {
        let member = &mut self.members[at(id)];
        if let ShellEvent::Changes { .. } = event
            && member.config.change() != Change::None
        {
            member.config = member.settled.clone(); // it turns back first
        }
        let of = match &mut event {
            ShellEvent::Eligible { group, .. }
            | ShellEvent::Health { group, .. }
            | ShellEvent::HoldFailed { group, .. }
            | ShellEvent::Prepared { group, .. }
            | ShellEvent::Released { group, .. }
            | ShellEvent::Changed { group, .. }
            | ShellEvent::ForeignClaim { group, .. }
            | ShellEvent::ProbeAnswered { group, .. } => Some(group),
            _ => None,
        };
        if let Some(group) = of {
            *group = self.plan.number_in(&member.config, *group)?;
        }
        Some(event)
    }

    /// What a process reported, with the plan's numbers.
    pub(in crate::simulator) fn as_reported(&self, id: MemberId, mut event: Event) -> Event {
        if let Event::Role { group, .. }
        | Event::Opened { group }
        | Event::Conflict { group, .. }
        | Event::Strange { group }
        | Event::Answered { group }
        | Event::CommandRefused { group, .. } = &mut event
        {
            *group = self.group_of(id, *group);
        }
        event
    }

    /// A file that is another than the one in force so far is in force.
    pub(super) fn says_what_is_in_force(&mut self, now: u64, id: MemberId, before: &Config) {
        let config = &self.members[at(id)].config;
        if config != before {
            let what = What::InForce(Box::new(config.clone()));
            self.record(now, Some(id), what);
        }
    }
}

impl Member {
    /// The addresses of a group in the configuration in force; `ours` is the plan's number of it.
    pub(super) fn addresses(&self, number: Option<GroupId>) -> impl Iterator<Item = IpAddr> {
        let group = number.and_then(|number| self.config.group(number));
        let addresses = group.into_iter().flat_map(|g| &g.addresses);
        addresses.map(|prefix| prefix.address)
    }
}

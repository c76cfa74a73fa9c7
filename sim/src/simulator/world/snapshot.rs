//! Snapshots of machines, as a hypervisor takes them: memory, kernel and clock go back together.

use super::super::journal::{self, Journal, Said};
use super::super::record::{By, What};
use super::votes_file::Votes;
use super::{Act, Datagram, Gate, Leases, Machine, Member, World};
use crate::fault::{Fault, Refusable};
use crate::liveness::Liveness;
use crate::simulator::plan::Plan;
use onehold::driver::ShellEvent;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::Config;
use onehold_core::time::Span;
use std::collections::VecDeque;

/// All of a machine.
#[derive(Debug)]
pub(super) struct Snapshot {
    taken: u64,
    /// What its clock showed.
    shows: u64,
    process: Liveness,
    life: u32,
    journal: Option<Journal>,
    leases: Leases,
    votes: Votes,
    config: Config,
    settled: Config,
    slack: Span,
    gates: Vec<Gate>,
    refuses: Vec<Refusable>,
    inbox: VecDeque<ShellEvent>,
    deferred: VecDeque<Act>,
    socket: VecDeque<(u64, Datagram)>,
}

impl Plan {
    /// Whether a snapshot of the member will be taken.
    pub(in crate::simulator) fn snapshots(&self, member: MemberId) -> bool {
        let of = self.name(member);
        let takes = |fault: &Fault| matches!(fault, Fault::Snapshot(name) if name == of);
        self.timeline.iter().any(|(_, fault)| takes(fault))
    }
}

impl World {
    pub(super) fn snapshot(&mut self, now: u64, id: MemberId) {
        let member = self.member(id);
        let snapshot = Snapshot {
            taken: now,
            shows: member.clock.read(now).as_nanos(),
            process: member.process,
            life: member.life,
            journal: member.again.clone().or_else(|| member.journal.clone()),
            leases: member.leases,
            votes: member.votes.clone(),
            config: member.config.clone(),
            settled: member.settled.clone(),
            slack: member.slack,
            gates: member.gates.clone(),
            refuses: member.refuses.clone(),
            inbox: member.inbox.iter().map(journal::copy).collect(),
            deferred: member.deferred.clone(),
            socket: member.socket.clone(),
        };
        member.snapshot = Some(Box::new(snapshot));
    }

    /// The machine runs as it did then, with the interfaces and services that it has now.
    pub(super) fn restore(&mut self, now: u64, id: MemberId) {
        self.restless = true;
        let member = self.member(id);
        let ran = member.process != Liveness::Down;
        member.process = Liveness::Down;
        member.forget_process();
        if ran {
            self.record(now, Some(id), What::Died);
        }
        let member = self.member(id);
        let Some(snapshot) = &member.snapshot else {
            return;
        };
        let later = |at: u64| now + at.saturating_sub(snapshot.taken);
        member.clock.set_back(now, snapshot.shows);
        member.machine = Machine::On;
        member.process = snapshot.process;
        member.life = snapshot.life;
        member.leases = snapshot.leases;
        member.votes = snapshot.votes.clone();
        let before = std::mem::replace(&mut member.config, snapshot.config.clone());
        member.settled = snapshot.settled.clone();
        member.slack = snapshot.slack;
        member.refuses.clone_from(&snapshot.refuses);
        member.inbox = snapshot.inbox.iter().map(journal::copy).collect();
        member.deferred.clone_from(&snapshot.deferred);
        member.socket.clone_from(&snapshot.socket);
        for (gate, then) in member.gates.iter_mut().zip(&snapshot.gates) {
            *gate = Gate {
                effective: gate.effective,
                eligible: gate.eligible,
                healthy: gate.healthy,
                preparing: then.preparing.map(later),
                releasing: then.releasing.map(later),
                ..then.clone()
            };
        }
        member.again = match snapshot.process {
            Liveness::Down => None,
            Liveness::Up | Liveness::Paused => snapshot.journal.clone(),
        };
        self.record(now, Some(id), What::Restored);
        self.says_what_is_in_force(now, id, &before);
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            self.tell_effective(now, id, group, By::Machine);
            if self.plan.config().is_candidate(id) {
                let member = self.member(id);
                member.tell_eligible(group);
                member.tell_healthy(group);
            }
        }
        self.settle(now, id);
    }
}

impl Member {
    /// Notes what its process is given, if a snapshot will be taken.
    pub(in crate::simulator) fn note(&mut self, said: impl FnOnce() -> Said) {
        if let Some(journal) = &mut self.journal {
            journal.said.push_back(said());
        }
    }

    /// Its process is another one from now on, though it was not told to end.
    pub(in crate::simulator) const fn is_replaced(&self) -> bool {
        self.again.is_some()
    }
}

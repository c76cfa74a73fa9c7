//! The kernels: gates that shut by themselves, and releases that take their time.

use super::super::record::{By, Way, What};
use crate::fault::Refusable;

use super::{Act, Gate, Machine, World, at};
use onehold::driver::ShellEvent;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::time::LocalTime;

impl Gate {
    /// Nothing in it is over by itself, ever.
    const fn rests(&self) -> bool {
        self.deadline.is_none() && self.releasing.is_none() && self.preparing.is_none()
    }
}

impl World {
    /// Lets be over what is over: deadlines that are past, releases that are carried out.
    pub(in crate::simulator) fn settle(&mut self, now: u64, id: MemberId) {
        if self.members[at(id)].gates.iter().all(Gate::rests) {
            return;
        }
        let slack = self.members[at(id)].slack;
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            let member = &mut self.members[at(id)];
            let gate = &mut member.gates[usize::from(group.0)];
            let over = (gate.deadline.map(|deadline| deadline.plus(slack)))
                .filter(|over| *over <= member.clock.read(now));
            if let Some(end) = over.and_then(|over| member.clock.when(over)) {
                gate.deadline = None;
                self.tell_effective(end, id, group, By::Deadline);
            }
            self.settle_release(now, id, group);
            let member = &mut self.members[at(id)];
            let gate = &mut member.gates[usize::from(group.0)];
            if gate.preparing.take_if(|due| *due <= now).is_some() {
                let (cluster, done) = (0, Ok(()));
                member.inbox.push_back(ShellEvent::Prepared {
                    cluster,
                    group,
                    done,
                });
            }
        }
    }

    fn settle_release(&mut self, now: u64, id: MemberId, group: GroupId) {
        let member = &mut self.members[at(id)];
        let gate = &mut member.gates[usize::from(group.0)];
        let Some(due) = gate.releasing.take_if(|due| *due <= now) else {
            return;
        };
        // A gate that its deadline has shut need not be shut.
        let answer = match gate.deadline {
            Some(_) if member.refuses.contains(&Refusable::Release) => {
                Err("the kernel refuses (simulated)".to_owned())
            }
            Some(_) | None => Ok(()),
        };
        if answer.is_ok() {
            gate.deadline = None;
            self.tell_effective(due, id, group, By::Release);
        } else {
            let what = What::KernelRefused(Refusable::Release, group);
            self.record(due, Some(id), what);
        }
        let cluster = 0;
        self.members[at(id)].inbox.push_back(ShellEvent::Released {
            cluster,
            group,
            answer,
        });
    }

    /// When the kernel next has something to say to its process.
    pub(in crate::simulator) fn kernel_due(&self, id: MemberId) -> Option<u64> {
        let gates = self.members[at(id)].gates.iter();
        let due = gates.flat_map(|g| [g.releasing, g.preparing]);
        due.flatten().min()
    }

    /// When the next datagram that comes late is there.
    pub(in crate::simulator) fn late_due(&self, id: MemberId) -> Option<u64> {
        let late = &self.members[at(id)].late;
        late.first_key_value().map(|((due, _), _)| *due)
    }

    /// Records whether the machine answers, if that has changed.
    pub(super) fn tell_effective(&mut self, now: u64, id: MemberId, group: GroupId, by: By) {
        let member = &mut self.members[at(id)];
        let gate = &mut member.gates[usize::from(group.0)];
        let effective = gate.deadline.is_some() && member.machine == Machine::On;
        if effective != gate.effective {
            gate.effective = effective;
            let what = if effective {
                What::Opened(group)
            } else {
                What::Shut(group, by)
            };
            self.record(now, Some(id), what);
        }
    }

    /// the gate stays shut, and what it waits for begins, if it has not.
    fn prepare(&mut self, now: u64, id: MemberId, group: GroupId) {
        let takes = self.plan.members[at(id)].prepares_in.as_nanos();
        let gate = &mut self.members[at(id)].gates[usize::from(group.0)];
        gate.preparing.get_or_insert(now.saturating_add(takes));
    }

    /// an absolute deadline; one that is past changes nothing.
    fn hold(&mut self, now: u64, id: MemberId, group: GroupId, deadline: LocalTime) {
        let member = &mut self.members[at(id)];
        let gate = &mut member.gates[usize::from(group.0)];
        if member.refuses.contains(&Refusable::Hold) || !gate.eligible {
            member.inbox.push_back(ShellEvent::HoldFailed {
                cluster: 0,
                group,
                why: "the kernel refuses (simulated)".to_owned(),
            });
            self.record(now, Some(id), What::KernelRefused(Refusable::Hold, group));
            return;
        }
        if member.clock.read(now) < deadline {
            gate.deadline = Some(deadline);
        }
        self.tell_effective(now, id, group, By::Deadline);
    }

    /// shut and confirmed, after the time that it takes.
    fn release(&mut self, now: u64, id: MemberId, group: GroupId) {
        let due = now.saturating_add(self.plan.confirm_after.as_nanos());
        let gate = &mut self.members[at(id)].gates[usize::from(group.0)];
        gate.releasing = Some(due);
        gate.preparing = None;
        self.settle(now, id);
    }

    /// Does what a process wants done.
    pub(in crate::simulator) fn act(&mut self, now: u64, id: MemberId, act: &Act) {
        self.settle(now, id);
        match act {
            Act::Release(group) => self.release(now, id, *group),
            Act::Hold(group, deadline) => self.hold(now, id, *group, *deadline),
            Act::Prepare(group) => self.prepare(now, id, *group),
            Act::Announce(group) => {
                if self.members[at(id)].gates[usize::from(group.0)].effective {
                    self.record(now, Some(id), What::Announced(*group));
                }
            }
            Act::Send(to, bytes, framed) => {
                for path in 0..self.plan.paths {
                    self.send(now, id, *to, Way::Path(path), bytes);
                }
                if *framed {
                    self.send(now, id, *to, Way::Frame, bytes);
                }
            }
            Act::Probe(group, probed_at) => self.probe(now, id, *group, *probed_at),
        }
    }
}

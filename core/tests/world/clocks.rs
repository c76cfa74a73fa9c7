//! Clocks that run too fast, stand still with their machine, and go back with it.

use super::{Kernel, Process, World};
use onehold_core::Node;
use onehold_core::input::Input;
use onehold_core::time::LocalTime;

/// A machine at one moment.
pub struct Snapshot {
    node: Node,
    kernel: Kernel,
    shows: LocalTime,
}

impl World {
    /// Sets how fast a member's clock runs from now on, without a jump.
    pub fn set_rate(&mut self, m: usize, ppm: i64) {
        let local = self.local(m).as_nanos();
        self.members[m].rate = ppm;
        let raw = self.scaled(m, self.now);
        self.members[m].offset = local.wrapping_sub(raw);
    }

    /// The machine is paused for this long, together with its clock; the others go on.
    pub fn stand_still(&mut self, m: usize, span: u64) {
        self.pause(m);
        let shows = self.local(m);
        let kernel = std::mem::take(&mut self.members[m].kernel);
        let none = Kernel {
            deadlines: vec![0; kernel.deadlines.len()],
            addresses: vec![false; kernel.addresses.len()],
        };
        self.members[m].kernel = none; // it answers nobody meanwhile
        self.run(span);
        self.members[m].kernel = kernel;
        self.set_clock(m, shows);
        if self.lose_what_waits
            && let Process::Paused(_, _, waiting) = &mut self.members[m].process
        {
            waiting.retain(|input| !matches!(input, Input::Received(_)));
        }
        self.resume(m);
    }

    /// What a snapshot of a machine keeps: its memory, its kernel and its clock.
    pub fn snapshot(&self, m: usize) -> Snapshot {
        Snapshot {
            node: self.node(m).clone(),
            kernel: self.members[m].kernel.clone(),
            shows: self.local(m),
        }
    }

    /// The machine goes on where it was when the snapshot was taken.
    pub fn restore(&mut self, m: usize, snapshot: &Snapshot) {
        self.kill(m);
        let member = &mut self.members[m];
        member.kernel = snapshot.kernel.clone();
        member.process = Process::Up(snapshot.node.clone());
        self.set_clock(m, snapshot.shows);
        self.schedule(m);
        self.judge();
    }

    fn set_clock(&mut self, m: usize, shows: LocalTime) {
        let raw = self.scaled(m, self.now);
        self.members[m].offset = shows.as_nanos().wrapping_sub(raw);
    }
}

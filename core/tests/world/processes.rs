//! Processes that start, die, are paused and go on.

use super::{Kernel, Process, World};
use onehold_core::Node;
use onehold_core::advert::Incarnation;
use onehold_core::config::Spec;
use onehold_core::input::Input;

impl World {
    /// the kernel is scrubbed, then the node starts in quarantine.
    pub fn start(&mut self, m: usize) {
        if !matches!(self.members[m].process, Process::Down) {
            return;
        }
        let incarnation = Incarnation(self.below(u64::MAX).max(1));
        let now = self.local(m);
        let member = &mut self.members[m];
        // It finds the file on the disk, however far it came on the way there.
        member.settled = member.path.pop().unwrap_or_else(|| member.settled.clone());
        member.path.clear();
        member.config = member.settled.clone();
        member.longest = member.longest.max(member.config.timing().longest_lease());
        member.kernel = Kernel::with_room(member.config.groups().len());
        member.incarnation += 1;
        let mut node = Node::start(&member.config, incarnation, now, member.longest);
        let votes = member.config.electorates();
        if member.config.is_candidate(member.config.me())
            && member.record.iter().any(|r| !votes.contains(r))
        {
            node.doubt();
        }
        member.record.extend(votes);
        member.process = Process::Up(node);
        self.input(m, Input::Wake);
    }

    /// Starts it with another file than it had; not a machine that runs, or is no member there.
    pub fn start_with(&mut self, m: usize, file: &Spec) {
        if !self.is_down(m) || !self.is_of(m, file) {
            return;
        }
        let member = &mut self.members[m];
        let config = file.prove(&member.name).expect("the tests' own spec");
        (member.path, member.settled) = (Vec::new(), config);
        self.start(m);
    }

    pub fn start_all(&mut self) {
        for m in 0..self.members.len() {
            self.start(m);
        }
    }

    /// `kill -9`: the kernel goes on.
    pub fn kill(&mut self, m: usize) {
        self.members[m].process = Process::Down;
        self.members[m].incarnation += 1;
        self.members[m].turn += 1;
    }

    /// Power-off.
    pub fn crash(&mut self, m: usize) {
        self.kill(m);
        self.members[m].kernel.deadlines.fill(0);
        self.members[m].kernel.addresses.fill(false);
    }

    /// SIGSTOP: datagrams wait in the socket, the kernel goes on.
    pub fn pause(&mut self, m: usize) {
        let process = std::mem::replace(&mut self.members[m].process, Process::Down);
        self.members[m].process = match process {
            Process::Up(node) => Process::Paused(node, Vec::new(), Vec::new()),
            other => other,
        };
        self.members[m].turn += 1;
    }

    /// SIGCONT: what waits in the socket is handled before timers.
    pub fn resume(&mut self, m: usize) {
        let process = std::mem::replace(&mut self.members[m].process, Process::Down);
        let Process::Paused(node, rest, waiting) = process else {
            self.members[m].process = process;
            return;
        };
        self.members[m].process = Process::Up(node);
        for effect in rest {
            self.apply(m, effect);
            self.judge();
        }
        for input in waiting {
            self.input_or_wait(m, input);
        }
        self.input(m, Input::Wake);
        self.judge();
    }
}

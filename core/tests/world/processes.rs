//! Processes that start, die, are paused and go on.

use super::{Process, World};
use onehold_core::Node;
use onehold_core::advert::Incarnation;
use onehold_core::config::Spec;
use onehold_core::input::Input;
use onehold_core::time::Span;

impl World {
    /// the kernel is scrubbed, then the node starts in quarantine.
    pub fn start(&mut self, m: usize) {
        if !matches!(self.members[m].process, Process::Down) {
            return;
        }
        let incarnation = Incarnation(self.below(u64::MAX).max(1));
        let now = self.local(m);
        let member = &mut self.members[m];
        member.kernel.deadlines.fill(0);
        member.kernel.addresses.fill(false);
        member.incarnation += 1;
        member.process = Process::Up(Node::start(&member.config, incarnation, now, Span::ZERO));
        self.input(m, Input::Wake);
    }

    /// Starts it with another file than it had.
    pub fn start_with(&mut self, m: usize, file: &Spec) {
        self.members[m].config = file.prove(["a", "b", "w"][m]).expect("the tests' own spec");
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

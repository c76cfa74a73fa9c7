//! What passes in one direction between two members: datagrams, frames and probes are separate facts,
//! for what drops one need not drop another.

use super::Fault;

/// One direction of a link. Frames and probes travel on the network of the first path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// Anything at all: otherwise not even an answer to who has an address, or to a probe.
    pub anything: bool,
    /// Adverts as datagrams.
    pub datagrams: bool,
    /// Adverts as frames.
    pub frames: bool,
    /// Probes.
    pub probes: bool,
    /// What is sent waits until the link heals.
    pub later: bool,
}

impl Passing {
    /// A link on which nothing is wrong.
    pub const WELL: Self = Self {
        anything: true,
        datagrams: true,
        frames: true,
        probes: true,
        later: false,
    };

    /// What a fault of these links makes of it; what is cut stays cut until the link heals.
    pub const fn suffer(&mut self, fault: &Fault) {
        match fault {
            Fault::Cut(_) => self.anything = false,
            Fault::CutDatagrams(_) => self.datagrams = false,
            Fault::CutFrames(_) => self.frames = false,
            Fault::CutProbes(_) => self.probes = false,
            Fault::Keep(_) => self.later = true,
            Fault::Heal(_) => *self = Self::WELL,
            _ => {}
        }
    }

    /// Something passes now.
    const fn now(self) -> bool {
        self.anything && !self.later
    }

    /// Datagrams pass now.
    #[must_use]
    pub const fn datagrams(self) -> bool {
        self.now() && self.datagrams
    }

    /// Frames pass now.
    #[must_use]
    pub const fn frames(self) -> bool {
        self.now() && self.frames
    }

    /// Probes pass now.
    #[must_use]
    pub const fn probes(self) -> bool {
        self.now() && self.probes
    }

    /// Answers to probes pass now.
    #[must_use]
    pub const fn answers(self) -> bool {
        self.now()
    }
}

//! Traces: every input of members and all that they did, line by line as JSON. Replayed through the
//! core, a trace shows whether the core still does the same (`cargo lab replay`); and people can
//! read it. The format is documented in `docs/src/trace.md`.
//!
//! Everything that runs nodes can write one: the daemon ([`TraceFile`]), a simulator, a search. A
//! trace holds no secret, and nothing vouches for the adverts in it.

mod file;
mod read;

pub use file::{Rest, TraceFile};
pub use read::{Reader, TraceError, TraceFault};

use onehold_core::Node;
use onehold_core::advert::{Advert, Incarnation};
use onehold_core::config::Spec;
use onehold_core::effect::Effect;
use onehold_core::input::Input;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Write};

/// What a trace calls itself in its first line.
pub const FORMAT: &str = "onehold-trace";
/// The version of the format that is written and read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    format: String,
    /// [`VERSION`].
    version: u32,
    /// What wrote it, with its version: `onehold 0.1.0`.
    pub by: String,
    /// The members whose turns are in it, by name.
    pub members: Vec<String>,
    /// The cluster as written: proved as a member, it is the configuration of that member.
    pub spec: Spec,
    /// True time advances in steps of this length, and what happens within a step is written in its
    /// order. Without it, a time is when something happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Span>,
    /// All members share one clock, which showed this at the true time 0. Without it, nothing is
    /// known about how their clocks relate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero: Option<LocalTime>,
}

impl Header {
    /// The first line of a trace of `members` (by name) of a cluster.
    #[must_use]
    pub fn new(by: impl Into<String>, spec: Spec, members: Vec<String>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            by: by.into(),
            members,
            spec,
            tick: None,
            zero: None,
        }
    }
}

/// A line after the first. `member` and `group` are names here; in what the core says, members and
/// groups are numbers: places among the sorted names. `at` is the member's own clock; `time` is
/// true time since the trace's start, and known only to what made the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// An incarnation began: what [`Node::start`] was given.
    Start {
        /// Whose.
        member: String,
        /// Its clock.
        at: LocalTime,
        /// True time, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<Span>,
        /// Which incarnation.
        incarnation: Incarnation,
        /// The longest lease of earlier incarnations.
        earlier: Span,
        /// it doubts by whose votes it may hold.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        doubts: bool,
        /// Its file, if that is another than the trace's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spec: Option<Box<Spec>>,
    },
    /// The trace of an incarnation goes on here from an earlier file: all that its node knows.
    State {
        /// Whose.
        member: String,
        /// Its clock, at its latest turn.
        at: LocalTime,
        /// The node after that turn.
        node: Node,
    },
    /// A turn: an advert whose seal was checked.
    Received {
        /// Whose turn.
        member: String,
        /// Its clock.
        at: LocalTime,
        /// True time, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<Span>,
        /// What was received.
        advert: Advert,
        /// Why the advert changed nothing, if it did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reject: Option<Reject>,
        /// What had to be done, in order.
        effects: Vec<Effect>,
    },
    /// A turn: anything else that happened.
    Turn {
        /// Whose turn.
        member: String,
        /// Its clock.
        at: LocalTime,
        /// True time, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<Span>,
        /// What happened.
        input: Input,
        /// What had to be done, in order.
        effects: Vec<Effect>,
    },
    /// A step of a change of the configuration.
    Change {
        /// Whose.
        member: String,
        /// Its clock.
        at: LocalTime,
        /// True time, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<Span>,
        /// Which step.
        step: Step,
        /// What had to be done, in order.
        effects: Vec<Effect>,
    },
    /// A member's kernel started or stopped answering for a group's addresses.
    Kernel {
        /// True time.
        time: Span,
        /// Whose kernel.
        member: String,
        /// Which group.
        group: String,
        /// It answers.
        effective: bool,
    },
    /// Something was broken or healed.
    Fault {
        /// True time.
        time: Span,
        /// What, as the lab's scenarios write it: one key with its value.
        fault: serde_json::Value,
    },
    /// A client's request for a group's address was answered, or was not.
    Request {
        /// True time: when it was answered; if it was not, when it was sent.
        time: Span,
        /// Which group.
        group: String,
        /// Who answered; none if it failed.
        answered_by: Option<String>,
    },
    /// A member's process is dead.
    Died {
        /// True time.
        time: Span,
        /// Whose.
        member: String,
    },
    /// A member's process is paused: it exists and does not run (SIGSTOP, starved, suspended).
    Paused {
        /// True time.
        time: Span,
        /// Whose.
        member: String,
    },
    /// A paused process runs again.
    Resumed {
        /// True time.
        time: Span,
        /// Whose.
        member: String,
    },
}

/// A step of a change of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// What is in force stays, on the way to this file, or to the first one before it.
    Toward {
        /// The file.
        spec: Box<Spec>,
    },
    /// What the member was on the way to is in force.
    From {},
    /// And nothing else is any more.
    Settled {},
    /// The member turned back to what is in force.
    Back {},
}

/// A step of a change, as a [`Recorder`] gets it.
#[derive(Debug)]
pub struct Changed<'a> {
    /// The node's clock.
    pub now: LocalTime,
    /// Which step.
    pub step: &'a Step,
    /// What it wants done.
    pub effects: &'a [Effect],
    /// The node after it.
    pub node: &'a Node,
}

impl Changed<'_> {
    /// The step as a line of the trace of `member`, at a true time if that is known.
    #[must_use]
    pub fn line(&self, member: &str, time: Option<Span>) -> Line {
        Line::Change {
            member: member.to_owned(),
            at: self.now,
            time,
            step: self.step.clone(),
            effects: self.effects.to_vec(),
        }
    }
}

/// One turn of a node, as a [`Recorder`] gets it.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Which of the clusters that the process serves.
    pub cluster: usize,
    /// The node's clock.
    pub now: LocalTime,
    /// What it was given.
    pub input: &'a Input,
    /// Why a datagram changed nothing.
    pub result: Result<(), Reject>,
    /// What it wants done. Nothing of it is done yet.
    pub effects: &'a [Effect],
    /// The node after the turn.
    pub node: &'a Node,
}

impl Turn<'_> {
    /// The turn as a line of the trace of `member`, at a true time if that is known.
    #[must_use]
    pub fn line(&self, member: &str, time: Option<Span>) -> Line {
        let (member, at, effects) = (member.to_owned(), self.now, self.effects.to_vec());
        match self.input {
            Input::Received(advert) => Line::Received {
                member,
                at,
                time,
                advert: advert.get().clone(),
                reject: self.result.err(),
                effects,
            },
            input => Line::Turn {
                member,
                at,
                time,
                input: input.clone(),
                effects,
            },
        }
    }
}

/// Gets every turn before any of it is done, so that a trace also has what a process was about to
/// do when it died. It must not block.
pub trait Recorder: fmt::Debug {
    /// A node had a turn.
    fn turn(&mut self, turn: &Turn<'_>);

    /// Another configuration is in force.
    fn change(&mut self, _changed: &Changed<'_>) {}

    /// All that it got is where it will be read.
    fn is_written(&self) -> bool {
        true
    }
}

/// Writes a trace.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a trace: writes its first line.
    ///
    /// # Errors
    /// If `to` can't be written.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let line = Vec::new();
        let mut writer = Self { to, line };
        writer.put(header)?;
        Ok(writer)
    }

    /// Writes a line.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        self.put(line)
    }

    /// What it was written to.
    pub fn into_inner(self) -> W {
        self.to
    }

    fn put(&mut self, what: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        encode(what, &mut self.line)?;
        self.to.write_all(&self.line)
    }
}

/// Appends a line's bytes.
fn encode(what: &impl Serialize, to: &mut Vec<u8>) -> io::Result<()> {
    serde_json::to_writer(&mut *to, what)?;
    to.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;

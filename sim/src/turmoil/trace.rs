//! Writes a run down in the format of the daemon's traces, so that the core can be given it again and
//! people can look at it.

use super::plan::{Change, Moment, Plan};
use super::record::{Record, What};
use super::world::{Process, World};
use onehold::trace::{Header, Line, Recorder, Turn, Writer};
use onehold_core::advert::MemberId;
use onehold_core::config::Spec;
use onehold_core::time::Span;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::rc::Rc;

/// Tells a run's world of every turn of one member.
pub(super) struct Tap {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) me: MemberId,
    pub(super) name: String,
    /// True time, as far as the member has come.
    pub(super) now: Rc<Cell<u64>>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tap").field(&self.name).finish()
    }
}

impl Recorder for Tap {
    fn turn(&mut self, turn: &Turn<'_>) {
        // Of a process that was killed within a turn, what it would have done next never comes to be.
        if self.world.borrow_mut().member(self.me).process == Process::Down {
            return;
        }
        let now = self.now.get();
        let line = turn.line(&self.name, Some(Span::from_nanos(now)));
        let what = What::Traced(Box::new(line));
        self.world.borrow_mut().record(now, Some(self.me), what);
    }
}

/// A trace of a run whose plan says `traced`.
#[derive(Debug)]
pub struct RunTrace<W: Write> {
    plan: Rc<Plan>,
    writer: Writer<W>,
}

impl<W: Write> RunTrace<W> {
    /// Begins it. Members that have another configuration than the first, or will have one, are left out:
    /// a trace is of one cluster.
    ///
    /// # Errors
    /// If `to` can't be written.
    pub fn new(to: W, plan: Rc<Plan>) -> io::Result<Self> {
        let members = plan.ids().filter(|id| ours(&plan, *id));
        let names = members.map(|id| plan.name(id).to_owned());
        let by = concat!("onehold-lab ", env!("CARGO_PKG_VERSION"));
        let header = Header::new(by, spec(&plan).clone(), names.collect());
        let writer = Writer::new(to, &header)?;
        Ok(Self { plan, writer })
    }

    /// Writes what a record says.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn see(&mut self, record: &Record) -> io::Result<()> {
        let time = Span::from_nanos(record.at);
        let member = |id: MemberId| self.plan.name(id).to_owned();
        let of = record.member.filter(|id| ours(&self.plan, *id)).map(member);
        let lines = match (&record.what, of) {
            (What::Changed(change), _) => {
                let members: Vec<String> = change.concerns().into_iter().map(member).collect();
                let text = change.text(&self.plan);
                let fault = Line::Fault {
                    time,
                    text,
                    members: members.clone(),
                };
                let stops = change.stops();
                let and = members.into_iter().filter_map(move |member| match stops? {
                    true => Some(Line::Stopped { time, member }),
                    false => Some(Line::Resumed { time, member }),
                });
                [fault].into_iter().chain(and).collect()
            }
            (What::Traced(line), Some(_)) => vec![(**line).clone()],
            (What::Opened(group) | What::Shut(group, _), Some(member)) => vec![Line::Kernel {
                time,
                member,
                group: self.plan.group_name(*group).to_owned(),
                effective: matches!(record.what, What::Opened(_)),
            }],
            (What::Died | What::Ended, Some(member)) => vec![Line::Died { time, member }],
            (What::Paused, Some(member)) => vec![Line::Stopped { time, member }],
            _ => Vec::new(),
        };
        lines.iter().try_for_each(|line| self.writer.line(line))
    }

    /// What it was written to, with everything in it.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn end(self) -> io::Result<W> {
        let mut to = self.writer.into_inner();
        to.flush()?;
        Ok(to)
    }
}

fn spec(plan: &Plan) -> &Spec {
    &plan.members[0].spec
}

fn ours(plan: &Plan, id: MemberId) -> bool {
    plan.members[usize::from(id.0)].spec == *spec(plan) && !plan.edits(id)
}

impl Change {
    /// The members that it is done to.
    fn concerns(&self) -> Vec<MemberId> {
        match self {
            Self::Weather(links, _)
            | Self::Cut(links)
            | Self::CutFrames(links)
            | Self::Keep(links)
            | Self::Heal(links)
            | Self::Replay(links, ..) => {
                let mut members: Vec<MemberId> =
                    links.pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
                members.sort_unstable();
                members.dedup();
                members
            }
            other => other.member().into_iter().collect(),
        }
    }

    /// It stops a process at once, or lets it go on.
    const fn stops(&self) -> Option<bool> {
        match self {
            Self::Pause(_, Moment::Now) | Self::Suspend(_) | Self::Freeze(_) => Some(true),
            Self::Resume(_) => Some(false),
            _ => None,
        }
    }
}

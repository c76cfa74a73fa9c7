//! Writes a run in the format of the daemon's traces, to be replayed through the core and looked
//! at.

use super::plan::Plan;
use super::record::{Record, What};
use super::world::World;
use crate::liveness::Liveness;
use onehold::trace::{Changed, Header, Line, Recorder, Turn, Writer};
use onehold_core::Node;
use onehold_core::advert::MemberId;
use onehold_core::config::Spec;
use onehold_core::time::{LocalTime, Span};
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::rc::Rc;

/// Records every turn of one member.
pub(super) struct Tap {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) me: MemberId,
    pub(super) name: String,
    /// True time, as far as the member has come.
    pub(super) now: Rc<Cell<u64>>,
    /// The process is made again from its journal: nothing of it is recorded but where it goes on.
    pub(super) again: Rc<Cell<bool>>,
    pub(super) state: Option<(LocalTime, Node)>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tap").field(&self.name).finish()
    }
}

impl Recorder for Tap {
    fn turn(&mut self, turn: &Turn<'_>) {
        // A process that was killed within a turn does nothing more.
        if self.world.borrow_mut().member(self.me).process == Liveness::Down {
            return;
        }
        if self.again.get() {
            self.state = Some((turn.now, turn.node.clone()));
            return;
        }
        let now = self.now.get();
        if let Some((at, node)) = self.state.take() {
            let member = self.name.clone();
            let what = What::Traced(Box::new(Line::State { member, at, node }));
            self.world.borrow_mut().record(now, Some(self.me), what);
        }
        self.put(turn.line(&self.name, Some(Span::from_nanos(now))));
    }

    fn change(&mut self, changed: &Changed<'_>) {
        if self.world.borrow_mut().member(self.me).process == Liveness::Down {
            return;
        }
        if self.again.get() {
            self.state = Some((changed.now, changed.node.clone()));
            return;
        }
        let now = self.now.get();
        self.put(changed.line(&self.name, Some(Span::from_nanos(now))));
    }
}

impl Tap {
    fn put(&self, line: Line) {
        let what = What::Traced(Box::new(line));
        let mut world = self.world.borrow_mut();
        world.record(self.now.get(), Some(self.me), what);
    }
}

/// A trace of a run whose plan says `traced`.
#[derive(Debug)]
pub struct RunTrace<W: Write> {
    plan: Rc<Plan>,
    writer: Writer<W>,
}

impl<W: Write> RunTrace<W> {
    /// Begins it. Members that have another configuration than the first, or will have one, are
    /// left out: a trace is of one cluster.
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
            (What::Inflicted(fault), _) => {
                // The member is dead once its record says so.
                let process = fault.leaves().filter(|process| *process != Liveness::Down);
                let process = process.zip(fault.member());
                let process = process.map(|(process, of)| process.line(time, of.to_owned()));
                [fault.line(time)].into_iter().chain(process).collect()
            }
            (What::Traced(line), Some(_)) => vec![(**line).clone()],
            (What::Opened(group) | What::Shut(group, _), Some(member)) => vec![Line::Kernel {
                time,
                member,
                group: self.plan.group_name(*group).to_owned(),
                effective: matches!(record.what, What::Opened(_)),
            }],
            (What::Died | What::Ended, Some(member)) => vec![Line::Died { time, member }],
            (What::Paused, Some(member)) => vec![Line::Paused { time, member }],
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
    plan.members[usize::from(id.0)].spec == *spec(plan) && !plan.begins_with_another_file(id)
}

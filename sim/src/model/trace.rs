//! A run that the search found, written as a trace: what is shown and replayed then is the shipped node on
//! clocks that go on, and not the search's picture of it.

use super::story::{cut_text, ending_text, how_text};
use crate::world::{Action, Direct, Known, MAX, Setup, Timed, TimedMember, World};
use onehold::trace::{Header, Line, Writer};
use onehold_core::advert::{Advert, MemberId};
use onehold_core::time::Span;
use std::io::Write;
use std::sync::Arc;

/// A run in two worlds at once: as the search walks it, and on clocks that go on.
#[derive(Debug)]
pub struct Traced<W: Write> {
    direct: Direct,
    walked: World<Arc<Known>, Arc<Advert>>,
    timed: Timed,
    run: World<TimedMember, Arc<Advert>>,
    time: Span,
    steps: usize,
    trace: Writer<W>,
}

impl<W: Write> Traced<W> {
    /// A run from one of the beginnings.
    ///
    /// # Errors
    /// If `to` can't be written.
    pub fn new(setup: &Setup, beginning: usize, to: W) -> Result<Self, String> {
        let by = concat!("onehold-lab ", env!("CARGO_PKG_VERSION"));
        let members = (0u8..).zip(&setup.spec.members);
        let ours = members.filter(|(m, _)| setup.has_first_file(MemberId(*m)));
        let names = ours.map(|(_, m)| m.name.clone());
        let mut header = Header::new(by, setup.spec.clone(), names.collect());
        header.tick = Some(setup.tick());
        let (direct, timed) = (Direct(setup.clone()), Timed::new(setup.clone()));
        let mut traced = Self {
            walked: World::beginnings(&direct).swap_remove(beginning),
            run: World::beginnings(&timed).swap_remove(beginning),
            time: setup.tick().times(setup.warm_up),
            steps: 0,
            trace: Writer::new(to, &header).map_err(|e| e.to_string())?,
            direct,
            timed,
        };
        traced.write()?;
        Ok(traced)
    }

    /// One step further.
    ///
    /// # Errors
    /// If the two worlds differ after it: then the search leaves out what matters. If the trace can't be
    /// written.
    pub fn act(&mut self, action: Action) -> Result<(), String> {
        self.steps += 1;
        for line in self.faults(action) {
            self.line(&line)?;
        }
        let walked = self.walked.step(&self.direct, action);
        let run = self.run.step(&self.timed, action);
        let (Some((walked, _)), Some((run, _))) = (walked, run) else {
            return Err(self.differs(action, "one of them can't take it"));
        };
        (self.walked, self.run) = (walked, run);
        if action == Action::Tick {
            self.time = self.time.plus(self.direct.0.tick());
        }
        self.write()?;
        let (walked, run) = (self.walked.facts(&self.direct), self.run.facts(&self.timed));
        if walked == run && self.walked.rest == self.run.rest {
            return Ok(());
        }
        let facts = walked.iter().zip(&run).find(|(w, r)| w != r);
        let facts = facts.map_or_else(String::new, |(w, r)| format!("{w:?}\n{r:?}"));
        Err(self.differs(action, &facts))
    }

    /// The last line: what the run is a trace of.
    ///
    /// # Errors
    /// If the trace can't be written.
    pub fn end(mut self, what: &str) -> Result<W, String> {
        let (time, text, members) = (self.time, what.to_owned(), Vec::new());
        self.line(&Line::Fault {
            time,
            text,
            members,
        })?;
        Ok(self.trace.into_inner())
    }

    fn write(&mut self) -> Result<(), String> {
        let lines = self.timed.written(&mut self.run);
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &Line) -> Result<(), String> {
        self.trace.line(line).map_err(|e| e.to_string())
    }

    fn differs(&self, action: Action, how: &str) -> String {
        format!(
            "step {}, {action:?}: on clocks that go on it leads elsewhere, so the search leaves out what \
             matters; that is an error of the lab's\n{how}",
            self.steps
        )
    }

    /// What is broken or healed in a step.
    fn faults(&self, action: Action) -> Vec<Line> {
        let setup = &self.direct.0;
        let name = |m: u8| setup.spec.members[usize::from(m)].name.clone();
        let fault = |text: String, members| Line::Fault {
            time: self.time,
            text,
            members,
        };
        match action {
            Action::Tick => Vec::new(),
            Action::Turn {
                member,
                how,
                ending,
                ..
            } => {
                let (text, is_fault) = how_text(how);
                let own = is_fault.then_some(text);
                let both = own.into_iter().chain(ending_text(ending));
                let texts = both.map(|text| format!("{}: {text}", name(member)));
                texts.map(|text| fault(text, vec![name(member)])).collect()
            }
            Action::Run {
                member,
                ending,
                back,
                ..
            } => {
                let kept = back.map(|from| format!("what {} sent is kept back", name(from)));
                let texts = kept.into_iter().chain(ending_text(ending));
                let texts = texts.map(|text| format!("{}: {text}", name(member)));
                texts.map(|text| fault(text, vec![name(member)])).collect()
            }
            Action::Settle(now) => {
                let cuts = &setup.adversary.cuts;
                let before = usize::from(self.walked.rest.settled).checked_sub(1);
                let before = before.map_or(0, |n| cuts[n]);
                let now = cuts[usize::from(now)];
                let heal = (before != 0).then(|| {
                    fault(
                        format!("heal {}", cut_text(setup, before)),
                        ends(setup, before),
                    )
                });
                let what = if now == 0 {
                    fault("nothing is wrong from now on".into(), Vec::new())
                } else {
                    fault(format!("cut {}", cut_text(setup, now)), ends(setup, now))
                };
                heal.into_iter().chain([what]).collect()
            }
        }
    }
}

/// The members at the ends of cut links.
fn ends(setup: &Setup, cuts: u32) -> Vec<String> {
    let n = setup.seats.len();
    let is_end = |m: &usize| {
        (0..n).any(|other| cuts & (1 << (m * MAX + other) | 1 << (other * MAX + m)) != 0)
    };
    let members = (0..n).filter(is_end);
    members
        .map(|m| setup.spec.members[m].name.clone())
        .collect()
}

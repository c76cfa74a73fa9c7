//! A run that the search found, written as a trace: what is shown and replayed then is the shipped
//! node on clocks that go on, and not the search's picture of it.

use crate::error::{Error, Result, err};
use crate::fault::{Fault, Flag, Links, Target};
use crate::model::world::{
    Action, Direct, Ending, Known, Setup, Stimulus, Timed, TimedMember, World,
};
use crate::properties::MAX;
use onehold::control::Order;
use onehold::trace::{Header, Line, Writer};
use onehold_core::advert::Advert;
use onehold_core::input::Command;
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
    pub fn new(setup: &Setup, beginning: usize, to: W) -> Result<Self> {
        let by = concat!("onehold-lab ", env!("CARGO_PKG_VERSION"));
        let machines = (0u8..).take(setup.configs.len());
        let in_first = |m: &u8| setup.config(*m, 0).digest() == setup.configs[0].digest();
        let names = machines.filter(in_first).map(|m| setup.name(m).to_owned());
        let mut header = Header::new(by, setup.spec.clone(), names.collect());
        header.tick = Some(setup.tick());
        let (direct, timed) = (Direct(setup.clone()), Timed::new(setup.clone()));
        let mut traced = Self {
            walked: World::beginnings(&direct).swap_remove(beginning),
            run: World::beginnings(&timed).swap_remove(beginning),
            time: setup.tick().times(setup.warm_up),
            steps: 0,
            trace: Writer::new(to, &header).map_err(err)?,
            direct,
            timed,
        };
        traced.write()?;
        Ok(traced)
    }

    /// One step further.
    ///
    /// # Errors
    /// If the two worlds differ after it: then the search leaves out what matters. If the trace
    /// can't be written.
    pub fn act(&mut self, action: Action) -> Result<()> {
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
        if matches!(action, Action::Tick | Action::Still(_)) {
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
    pub fn end(mut self, what: &str) -> Result<W> {
        let note = Fault::Note(what.to_owned());
        self.line(&note.line(self.time))?;
        Ok(self.trace.into_inner())
    }

    fn write(&mut self) -> Result<()> {
        let lines = self.timed.written(&mut self.run);
        lines.iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        self.trace.line(line).map_err(err)
    }

    fn differs(&self, action: Action, came: &str) -> Error {
        err(format!(
            "step {}, {action:?}: on clocks that go on it leads elsewhere, so the search leaves out what \
             matters; that is the lab's own error\n{came}",
            self.steps
        ))
    }

    /// What is broken or healed in a step.
    fn faults(&self, action: Action) -> Vec<Line> {
        let faults = match action {
            Action::Tick => Vec::new(),
            Action::Still(member) => {
                let name = self.name(member);
                vec![Fault::Note(format!("{name} stands still with its clock"))]
            }
            Action::Turn {
                member,
                stimulus,
                ending,
                ..
            } => {
                let own = self.fault(member, stimulus);
                own.into_iter().chain(self.ending(member, ending)).collect()
            }
            Action::Run {
                member,
                ending,
                back,
                answered,
                ..
            } => {
                let (from, to) = (back.map(|from| self.name(from)), self.name(member));
                let kept =
                    from.map(|from| Fault::Note(format!("what {from} sent {to} is kept back")));
                let lost = || Fault::Note(format!("an answer to {} is lost", self.name(member)));
                kept.into_iter()
                    .chain((!answered).then(lost))
                    .chain(self.ending(member, ending))
                    .collect()
            }
            Action::Settle(now) => {
                let cuts = &self.direct.0.adversary.cuts;
                let before = usize::from(self.walked.rest.settled).checked_sub(1);
                let (before, now) = (before.map_or(0, |n| cuts[n]), cuts[usize::from(now)]);
                let probes = self.probes(before, now);
                let well = || Fault::Note("nothing is wrong from now on".to_owned());
                let well = (now == 0).then(well);
                let (before, now) = (self.links(before), self.links(now));
                let heal = before.into_iter().map(Fault::Heal);
                heal.chain(now.into_iter().map(Fault::Cut))
                    .chain(probes)
                    .chain(well)
                    .collect()
            }
        };
        faults.iter().map(|fault| fault.line(self.time)).collect()
    }

    fn name(&self, member: u8) -> String {
        self.direct.0.name(member).to_owned()
    }

    /// What somebody does to a member.
    fn fault(&self, member: u8, stimulus: Stimulus<u8>) -> Option<Fault> {
        let of = self.name(member);
        let flag = |is| Flag {
            on: self.name(member),
            group: None,
            is,
        };
        let order = |say| Fault::Command {
            to: self.name(member),
            say,
            group: None,
        };
        let note = |what: &str| Fault::Note(format!("{of} {what}"));
        Some(match stimulus {
            Stimulus::Reload => note("reads the other file"),
            Stimulus::Step => note("takes the next step"),
            Stimulus::StartOther => note("starts with the other file"),
            Stimulus::Operator(Command::Switch) => order(Order::Switch),
            Stimulus::Operator(Command::Standby) => order(Order::Standby),
            Stimulus::Operator(Command::Resume) => order(Order::Resume),
            Stimulus::Operator(Command::Freeze) => order(Order::Freeze),
            Stimulus::Operator(Command::Thaw) => order(Order::Thaw),
            Stimulus::Operator(Command::PresumeDead) => order(Order::PresumeDead),
            Stimulus::Operator(Command::Stop) => Fault::Stop(of),
            Stimulus::Healthy(is) => Fault::Healthy(flag(is)),
            Stimulus::Eligible(is) | Stimulus::Port(is) => Fault::Eligible(flag(is)),
            Stimulus::Start => Fault::Start(of),
            Stimulus::Crash => Fault::Kill(Target::Of(of)),
            Stimulus::PowerOff => Fault::PowerOff(of),
            Stimulus::Pause => Fault::Pause(Target::Of(of)),
            Stimulus::Resume => Fault::Resume(of),
            Stimulus::Operator(Command::StayAway)
            | Stimulus::Wake
            | Stimulus::Receive(_)
            | Stimulus::Released
            | Stimulus::Answered
            | Stimulus::Prepared(_) => {
                return None;
            }
        })
    }

    /// The fault that cuts a turn short.
    fn ending(&self, member: u8, ending: Ending) -> Option<Fault> {
        let within = |effects: u8| Target::Within {
            of: self.name(member),
            after_effects: u32::from(effects),
        };
        match ending {
            Ending::Whole => None,
            Ending::Dies(n) => Some(Fault::Kill(within(n))),
            Ending::Pauses(n) => Some(Fault::Pause(within(n))),
        }
    }

    /// Whose probes are answered from now on, and whose are not any more.
    fn probes(&self, before: u32, now: u32) -> Vec<Fault> {
        let adversary = &self.direct.0.adversary;
        let members = (0u8..).take(self.direct.0.configs.len());
        let changed = members.filter_map(|m| {
            let [was, is] = [before, now].map(|cuts| adversary.asks(cuts, m.into()));
            let not = if is { "" } else { "not " };
            let asks = || format!("what {} asks of the network is {not}answered", self.name(m));
            (was != is).then(|| Fault::Note(asks()))
        });
        changed.collect()
    }

    /// The links that these cuts break; a port that is down breaks all links of its member.
    fn links(&self, cuts: u32) -> Vec<Links> {
        let n = u8::try_from(self.direct.0.configs.len()).unwrap_or(0);
        let is = |from: u8, to: u8| cuts & 1 << (usize::from(from) * MAX + usize::from(to)) != 0;
        let name = |m: u8| self.name(m);
        let ports = (0..n).filter(|m| is(*m, *m));
        let mut links: Vec<Links> = ports.map(|m| Links::around(&name(m))).collect();
        for (a, b) in (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))) {
            if is(a, a) || is(b, b) {
                continue;
            }
            links.extend(match (is(a, b), is(b, a)) {
                (true, true) => Some(Links::between(&name(a), &name(b))),
                (true, false) => Some(Links::one_way(&name(a), &name(b))),
                (false, true) => Some(Links::one_way(&name(b), &name(a))),
                (false, false) => None,
            });
        }
        links
    }
}

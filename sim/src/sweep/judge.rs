//! Runs what a seed drew, and asks what was promised of it.

use super::cover::{Cover, Coverage};
use super::draw::{Draw, Promise, Stays};
use super::incidents::Incident;
use crate::fault::Fault;
use crate::turmoil::plan::Plan;
use crate::turmoil::record::{Record, What};
use crate::turmoil::run::Run;
use crate::turmoil::scenario;
use crate::turmoil::trace::RunTrace;
use crate::turmoil::verdict::answer;
use crate::turmoil::watch::{Served, Watch};
use onehold::control::Order;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::Arbitration;
use onehold_core::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

/// The property that a run without an end breaks.
pub const NO_PANIC: &str = "no panic";

/// A promise that a run broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Which seed's run.
    pub seed: u64,
    /// Which property: `S1` and so on.
    pub property: String,
    /// Of which group.
    pub group: String,
    /// When, in milliseconds of true time.
    pub at_ms: u64,
    /// What was true.
    pub what: String,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it broke, in the order of time.
    pub violations: Vec<Violation>,
    /// What happened in it.
    pub coverage: Coverage,
    /// When the last one began or ceased to answer, in percent of the bound after the faults had stopped.
    pub settled_percent: f64,
    /// How long it was, in microseconds.
    pub simulated: u64,
}

impl Seen {
    /// A run that could not go on: a process panicked.
    #[must_use]
    pub fn panicked(seed: u64, what: String) -> Self {
        let violation = Violation {
            seed,
            property: NO_PANIC.to_owned(),
            group: "any".to_owned(),
            at_ms: 0,
            what,
        };
        Self {
            violations: vec![violation],
            coverage: Coverage::new(),
            settled_percent: 0.0,
            simulated: 0,
        }
    }
}

/// Runs a seed with these of its faults, and shows every record to `each`.
///
/// # Errors
/// If the simulator itself failed.
pub fn run(
    draw: &Draw,
    incidents: &[Incident],
    each: impl FnMut(&Rc<Plan>, &Record),
) -> Result<Seen, String> {
    run_plan(draw, incidents, plan(draw, incidents)?, each)
}

/// The same, and writes it as a trace.
///
/// # Errors
/// If the simulator itself failed, or `to` can't be written.
pub fn trace(draw: &Draw, incidents: &[Incident], to: impl Write) -> Result<Seen, String> {
    let mut plan = plan(draw, incidents)?;
    plan.traced = true;
    let said = |e: std::io::Error| e.to_string();
    let mut trace = RunTrace::new(to, Rc::new(plan.clone())).map_err(said)?;
    let mut written = Ok(());
    let seen = run_plan(draw, incidents, plan, |_, record| {
        if written.is_ok() {
            written = trace.see(record);
        }
    })?;
    written.and_then(|()| trace.end()).map_err(said)?;
    Ok(seen)
}

fn plan(draw: &Draw, incidents: &[Incident]) -> Result<Plan, String> {
    let name = format!("seed-{}.toml", draw.seed);
    let scenario = scenario::parse(Path::new(&name), draw.scenario(incidents));
    Ok(scenario.map_err(|e| e.to_string())?.plan)
}

fn run_plan(
    draw: &Draw,
    incidents: &[Incident],
    plan: Plan,
    mut each: impl FnMut(&Rc<Plan>, &Record),
) -> Result<Seen, String> {
    let mut run = Run::new(plan);
    let plan = run.plan().clone();
    let mut watch = Watch::new(&plan);
    let mut cover = Cover::default();
    let mut stopping = BTreeMap::new();
    while !run.is_over() {
        for record in run.step()? {
            watch.see(&record);
            cover.see(&record);
            match (&record.what, record.member) {
                (What::Inflicted(Fault::Stop(_)), Some(member)) if watch.runs(member) => {
                    stopping.entry(member).or_insert(record.at);
                }
                (What::Died | What::Ended, Some(member)) => {
                    stopping.remove(&member);
                }
                _ => {}
            }
            each(&plan, &record);
        }
    }
    let judge = Judge {
        draw,
        incidents,
        plan: &plan,
        stopping,
    };
    Ok(Seen {
        violations: judge.violations(&watch),
        settled_percent: judge.settled_percent(&watch),
        simulated: draw.length,
        coverage: cover.of(draw.seed),
    })
}

struct Judge<'a> {
    draw: &'a Draw,
    incidents: &'a [Incident],
    plan: &'a Plan,
    /// Who was told to stop, when, and has not ended.
    stopping: BTreeMap<MemberId, u64>,
}

impl Judge<'_> {
    fn violations(&self, watch: &Watch) -> Vec<Violation> {
        let mut all = Vec::new();
        for broken in &watch.broken {
            // Of two that answer for no time at all, at the moment of a change, nobody knows the order.
            let name = broken.property.name;
            let excused = match name {
                "S5" => self.just_spoken_to(broken.at),
                "S1" | "S2" => true,
                // one that presumes its peer dead holds without its vote.
                "S3" if self.is_presumed(broken.at) => true,
                _ => self.excuse_until(broken.at).is_some(),
            };
            if !excused {
                all.push(self.violation(name, broken.group, broken.at, broken.facts.clone()));
            }
        }
        let groups = (0u8..).map(GroupId).zip(&watch.groups);
        for (group, served) in groups {
            all.extend(self.two(group, served));
            all.extend(self.unsettled(group, served));
            all.extend(self.false_alarm(group, watch));
            if self.draw.cluster.promise == Promise::Steady {
                all.extend(self.unmeant(group, served));
                all.extend(self.dark(group, served));
            }
        }
        all.extend(self.endless());
        all.sort_by_key(|v| v.at_ms);
        all
    }

    fn violation(&self, property: &str, group: GroupId, at: u64, what: String) -> Violation {
        Violation {
            seed: self.draw.seed,
            property: property.to_owned(),
            group: self.plan.group_name(group).to_owned(),
            at_ms: at / 1_000_000,
            what,
        }
    }

    /// Until when two may hold at a moment, if they may; both in nanoseconds.
    fn excuse_until(&self, at: u64) -> Option<u64> {
        let excuses = self.incidents.iter().filter_map(|f| f.excuse);
        let excuses = excuses.map(|(from, until)| (from * 1_000, until * 1_000));
        excuses
            .filter(|(from, until)| *from <= at && at < *until)
            .map(|(_, until)| until)
            .max()
    }

    /// An operator has presumed somebody dead by then.
    fn is_presumed(&self, at: u64) -> bool {
        let told = |(when, fault): &(Span, Fault)| {
            let say = Order::PresumeDead;
            matches!(fault, Fault::Command { say: said, .. } if *said == say)
                && when.as_nanos() <= at
        };
        self.plan.timeline.iter().any(told)
    }

    /// S5 is about what a peer said of itself; what an operator or its kernel has just changed, it could
    /// not have said yet.
    fn just_spoken_to(&self, at: u64) -> bool {
        let since = at.saturating_sub(self.draw.cluster.vote() * 1_100);
        let spoken = |(when, fault): &(Span, Fault)| {
            let told = matches!(
                fault,
                Fault::Command { .. }
                    | Fault::Stop(_)
                    | Fault::Eligible(_)
                    | Fault::OwnAddress { .. }
            );
            told && when.as_nanos() >= since && when.as_nanos() <= at
        };
        self.plan.timeline.iter().any(spoken)
    }

    /// S1, S2: the first moment at which two answer and may not.
    fn two(&self, group: GroupId, served: &Served) -> Option<Violation> {
        let end = self.plan.length.as_nanos();
        for (from, until) in served.stretches(0, end, |holders| holders.len() > 1) {
            let mut at = from;
            while let Some(excused) = self.excuse_until(at) {
                at = excused;
            }
            if at < until {
                let majority = self.draw.cluster.arbitration() == Arbitration::Majority;
                let name = if majority { "S1" } else { "S2" };
                let (_, holders) = served.at(at);
                let what = format!(
                    "{} for {} ms, of which {} ms may not be",
                    answer(self.plan, holders),
                    (until - from) as f64 / 1e6,
                    (until - at) as f64 / 1e6
                );
                return Some(self.violation(name, group, at, what));
            }
        }
        None
    }

    /// another holder is claimed though it has not said for longer than D that it holds.
    fn false_alarm(&self, group: GroupId, watch: &Watch) -> Option<Violation> {
        // By the fastest clock, and what kernels and steps may make of it.
        let c = &self.draw.cluster;
        let most = c.vote() + c.vote() * u64::from(c.timing.drift_ppm()) / 500_000;
        let most = (most + 2 * c.tick) * 1_000;
        let stale = |(at, _, of, said): &&(u64, MemberId, GroupId, Option<u64>)| {
            // A clock that stood still makes a word younger than it is.
            let excused = self.excuse_until(*at).is_some();
            *of == group && !excused && said.is_none_or(|said| at - said > most)
        };
        let (at, member, _, said) = watch.conflicts.iter().find(stale)?;
        let before = said.map_or(0, |said| (at - said) / 1_000_000);
        let what = format!(
            "{} claims another holder, who last said so {before} ms before",
            self.plan.name(*member)
        );
        Some(self.violation("R-15", group, *at, what))
    }

    /// L2, L3: what is not as it should be after the faults have stopped and the bound is over.
    fn unsettled(&self, group: GroupId, served: &Served) -> Option<Violation> {
        let at = (self.draw.calm + self.draw.bound) * 1_000;
        let (_, holders) = served.at(at);
        let of = &self.draw.cluster.groups[usize::from(group.0)];
        let stays = &self.draw.stays;
        let up = |name: &&str| !matches!(stays, Stays::Down(down) if down == name);
        // One that is sick, or that somebody can't reach, need not get it back.
        let returns = of.returns
            && match stays {
                Stays::Nothing | Stays::Down(_) => true,
                Stays::Cut(links) => ![&links.from, &links.to]
                    .into_iter()
                    .flatten()
                    .any(|end| end == of.preferred),
                Stays::Sick => false,
            };
        let candidates: Vec<&str> = self.draw.cluster.members[..2]
            .iter()
            .copied()
            .filter(up)
            .collect();
        let names: Vec<&str> = holders.iter().map(|m| self.plan.name(*m)).collect();
        let name = match names.as_slice() {
            [one] if returns && up(&of.preferred) && *one != of.preferred => "L3",
            [one] if candidates.contains(one) => {
                let change = served.holders.iter().find(|(when, _)| *when > at);
                return change.map(|(when, holders)| {
                    let what = format!("{} after all was well", answer(self.plan, holders));
                    self.violation("L3 once", group, *when, what)
                });
            }
            _ => "L2",
        };
        let what = format!(
            "{}, {} ms after the faults have stopped",
            answer(self.plan, holders),
            self.draw.bound / 1_000
        );
        Some(self.violation(name, group, at, what))
    }

    /// L4: the holder changes though nobody means it to.
    fn unmeant(&self, group: GroupId, served: &Served) -> Option<Violation> {
        // When the faults stop, the operators' wishes do, too.
        let watched = self.draw.bound * 1_000..self.draw.calm * 1_000;
        // What is meant moves the address once: away from one, and to another.
        let mut moves: Vec<(u64, u64, u32)> = self
            .incidents
            .iter()
            .flat_map(|f| &f.moves)
            .map(|(from, until)| (from * 1_000, until * 1_000, 2))
            .collect();
        let mut meant = |at: u64| {
            let mut open = moves
                .iter_mut()
                .filter(|(from, until, left)| (*from..*until).contains(&at) && *left > 0);
            let found = open.next();
            found.map(|(.., left)| *left -= 1).is_some()
        };
        let mut changes = served.holders.iter();
        let change = changes.find(|(at, _)| watched.contains(at) && !meant(*at));
        change.map(|(at, holders)| {
            let what = format!(
                "{}, and nobody meant it to change",
                answer(self.plan, holders)
            );
            self.violation("L4", group, *at, what)
        })
    }

    /// L5: nobody answers for longer than a lost hand-over may cost.
    fn dark(&self, group: GroupId, served: &Served) -> Option<Violation> {
        let (first, end) = (self.draw.bound * 1_000, self.plan.length.as_nanos());
        let most = self.draw.cluster.handed_over_within() * 1_000;
        let dark = served.stretches(first, end, |holders| holders.is_empty());
        let long = dark.into_iter().find(|(from, until)| until - from > most);
        long.map(|(from, until)| {
            let [dark, most] = [until - from, most].map(|ns| ns as f64 / 1e6);
            let what = format!("nobody answers for {dark} ms, and {most} ms are allowed");
            self.violation("L5", group, from, what)
        })
    }

    /// A process that was told to stop and goes on for ever.
    fn endless(&self) -> Option<Violation> {
        let (member, since) = self.stopping.first_key_value()?;
        let what = format!("{} does not end", self.plan.name(*member));
        Some(self.violation("stop ends", GroupId(0), *since, what))
    }

    fn settled_percent(&self, watch: &Watch) -> f64 {
        let last = watch.groups.iter().filter_map(|g| g.holders.last());
        let last = last.map(|(at, _)| at / 1_000).max().unwrap_or(0);
        let after = last.saturating_sub(self.draw.calm);
        100.0 * after as f64 / self.draw.bound as f64
    }
}

/// Whether a run with these faults breaks the same property.
#[must_use]
pub fn breaks(draw: &Draw, incidents: &[Incident], property: &str) -> bool {
    let seen = run(draw, incidents, |_, _| {});
    seen.is_ok_and(|s| s.violations.iter().any(|v| v.property == property))
}

impl Promise {
    /// What is promised, for people.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Majority => "majority: never two, whatever happens",
            Self::Steady => {
                "majority, nothing wrong but a few lost adverts: the holder changes only if somebody means it to"
            }
            Self::Frozen => {
                "majority, and clocks stand still: two for what was left of a lease at most"
            }
            Self::Timely => "survivor, messages in time: never two",
            Self::OneWay => "survivor, one direction cut at a time: never two",
            Self::Anything => "survivor: two while the network fails, one again soon after",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Links;

    /// What a run breaks in which nothing goes wrong but one thing, which the judge does not know of.
    fn broken_by(faults: impl Fn(&Draw) -> Vec<(u64, Fault)>) -> Vec<String> {
        let steady = |draw: &Draw| {
            let three = draw.cluster.members.len() == 3;
            draw.cluster.promise == Promise::Steady && three
        };
        let draw = (0..).map(Draw::of).find(steady).expect("some seed does");
        let incident = Incident {
            at: draw.bound,
            faults: faults(&draw),
            excuse: None,
            moves: Vec::new(),
        };
        let seen = run(&draw, &[incident], |_, _| {}).expect("it runs");
        let mut names: Vec<String> = seen.violations.into_iter().map(|v| v.property).collect();
        names.dedup();
        names
    }

    #[test]
    fn l4_a_holder_that_changes_unmeant_is_seen() {
        let switch = |to: &str| Fault::Command {
            to: to.to_owned(),
            say: Order::Switch,
            group: None,
        };
        let both = |draw: &Draw| vec![(draw.bound, switch("lb0")), (draw.bound, switch("lb1"))];
        assert_eq!(broken_by(both), ["L4"]);
    }

    #[test]
    fn l5_an_outage_that_is_too_long_is_seen() {
        let cut = |draw: &Draw| {
            let over = draw.bound + 4 * draw.cluster.handed_over_within();
            let [cut, heal] = [Fault::Cut(Links::all()), Fault::Heal(Links::all())];
            vec![(draw.bound, cut), (over, heal)]
        };
        let broken = broken_by(cut);
        assert!(broken.contains(&"L5".to_owned()), "{broken:?}");
    }

    #[test]
    fn a_process_that_does_not_end_is_seen() {
        let stop = |draw: &Draw| {
            let late = draw.length - draw.cluster.tick;
            vec![(late, Fault::Stop("lb0".to_owned()))]
        };
        let broken = broken_by(stop);
        assert!(broken.contains(&"stop ends".to_owned()), "{broken:?}");
    }
}

//! Whether a run was as expected; and if not: what was expected, when, and what was true.

use super::plan::Plan;
use super::record::Record;
use super::run::Run;
use super::scenario::{Expect, Expected, Scenario};
use super::watch::{Served, Watch};
use onehold_core::advert::MemberId;
use onehold_core::time::Span;
use std::time::{Duration, Instant};

/// What came of a scenario.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub scenario: Scenario,
    /// What was seen.
    pub watch: Watch,
    /// What was not as expected; nothing if all is well.
    pub failures: Vec<Failure>,
    /// For how long two answered at once, in the group where that was longest.
    pub two: Span,
    /// What the run took of our time.
    pub took: Duration,
}

/// Something that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, in nanoseconds of true time.
    pub at: u64,
    /// What was expected, and what was true.
    pub what: String,
}

/// Runs a scenario to its end, and shows every record to `each` as it happens.
///
/// # Errors
/// If the simulator itself failed.
pub fn run(scenario: Scenario, mut each: impl FnMut(&Record)) -> Result<Outcome, String> {
    let began = Instant::now();
    let mut run = Run::new(scenario.plan.clone());
    let mut watch = Watch::new(run.plan());
    while !run.is_over() {
        for record in run.step()? {
            watch.see(&record);
            each(&record);
        }
    }
    let took = began.elapsed();
    let end = scenario.plan.length.as_nanos();
    let two = (watch.groups.iter().map(|g| g.time_of_two(end))).max();
    let two = two.unwrap_or_default();
    let failures = judge(&scenario, &watch, two);
    Ok(Outcome {
        scenario,
        watch,
        failures,
        two,
        took,
    })
}

impl Outcome {
    /// Everything was as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// How much faster than life it was.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        let simulated = Duration::from(self.scenario.plan.length);
        simulated.as_secs_f64() / self.took.as_secs_f64().max(1e-9)
    }
}

fn judge(scenario: &Scenario, watch: &Watch, two: Span) -> Vec<Failure> {
    let plan = &scenario.plan;
    let mut failures = Vec::new();
    for broken in &watch.broken {
        let is_two = ["S1", "S2", "S3"].contains(&broken.property.name);
        if is_two && scenario.two.is_some() {
            continue;
        }
        let (name, says) = (broken.property.name, broken.property.says);
        let group = plan.group_name(broken.group);
        let what = format!(
            "{name} of {group} is broken: {says}. True then: {}",
            broken.facts
        );
        let at = broken.at;
        failures.push(Failure { at, what });
    }
    if let Some((most, because)) = &scenario.two {
        let at = plan.length.as_nanos();
        if two == Span::ZERO {
            let what = format!("two were to answer at once ({because}), and never did");
            failures.push(Failure { at, what });
        } else if two > *most {
            let what = format!("two answered at once for {two}, and not {most} at most");
            failures.push(Failure { at, what });
        }
    }
    for expect in &scenario.expect {
        if let Err(what) = expect.holds(plan, watch) {
            let at = expect.until.as_nanos();
            let what = format!("expected {}; {what}", expect.text(plan));
            failures.push(Failure { at, what });
        }
    }
    failures.sort_by_key(|f| f.at);
    failures
}

impl Expect {
    /// What is expected, for people.
    #[must_use]
    pub fn text(&self, plan: &Plan) -> String {
        let group = match plan.groups() {
            1 => String::new(),
            _ => format!(" for {}", plan.group_name(self.group)),
        };
        let Self { from, until, .. } = self;
        let by = if from == until {
            format!("at {from}")
        } else {
            format!("at {until} ({} after {from})", span(*from, *until))
        };
        let during = format!("from {from} until {until}");
        match &self.what {
            Expected::Holder(Some(m)) => format!("{} alone to answer{group} {by}", plan.name(*m)),
            Expected::Holder(None) => format!("nobody to answer{group} {by}"),
            Expected::Neighbours(m) => {
                format!("the neighbours to send to {}{group} {by}", plan.name(*m))
            }
            Expected::NoRoleChange => format!("no change of who answers{group} {during}"),
            Expected::DarkAtMost(most) => {
                format!("nobody to answer{group} for {most} at most {during}")
            }
            Expected::ServedPercent(least) => {
                format!("somebody to answer{group} {least} % of the time {during}")
            }
            Expected::Reports(m, text) => {
                format!("{} to report `{text}` {during}", plan.name(*m))
            }
            Expected::NeverReports(m, text) => {
                format!("{} to report no `{text}` {during}", plan.name(*m))
            }
            Expected::Announces(m, true) => {
                format!("{} to tell the neighbours{group} {during}", plan.name(*m))
            }
            Expected::Announces(m, false) => {
                format!("{} to tell no neighbour{group} {during}", plan.name(*m))
            }
            Expected::Count(what, least) => format!("{what:?} to be counted {least} times"),
        }
    }

    fn holds(&self, plan: &Plan, watch: &Watch) -> Result<(), String> {
        let (from, until) = (self.from.as_nanos(), self.until.as_nanos());
        let served = &watch.groups[usize::from(self.group.0)];
        let within = |at: u64| at >= from && at < until;
        match &self.what {
            Expected::Holder(who) => {
                let (since, holders) = served.at(until);
                if holders == who.as_slice() {
                    return Ok(());
                }
                let since = Span::from_nanos(since);
                Err(format!("{} since {since}", answer(plan, holders)))
            }
            Expected::Neighbours(who) => {
                let last = served.announced.iter().rev().find(|(at, _)| *at <= until);
                match last {
                    Some((_, m)) if m == who => Ok(()),
                    Some((at, m)) => {
                        let at = Span::from_nanos(*at);
                        Err(format!("they were last told by {}, at {at}", plan.name(*m)))
                    }
                    None => Err("nobody ever told them".to_owned()),
                }
            }
            Expected::NoRoleChange => match served.holders.iter().find(|(at, _)| within(*at)) {
                None => Ok(()),
                Some((at, holders)) => {
                    let at = Span::from_nanos(*at);
                    Err(format!("from {at} on {}", answer(plan, holders)))
                }
            },
            Expected::DarkAtMost(most) => {
                let dark = served.stretches(from, until, |holders| holders.is_empty());
                let longest = dark.max_by_key(|(from, until)| until - from);
                match longest {
                    Some((from, until)) if until - from > most.as_nanos() => {
                        let (from, until) = (Span::from_nanos(from), Span::from_nanos(until));
                        let dark = span(from, until);
                        Err(format!("nobody did for {dark}, from {from} until {until}"))
                    }
                    _ => Ok(()),
                }
            }
            Expected::ServedPercent(least) => {
                let served = served.stretches(from, until, |holders| !holders.is_empty());
                let served: u64 = served.map(|(from, until)| until - from).sum();
                let percent = 100.0 * served as f64 / (until - from).max(1) as f64;
                if percent >= *least {
                    return Ok(());
                }
                Err(format!("somebody did {percent:.3} % of it"))
            }
            Expected::NeverReports(who, text) => {
                let fits = |(at, m, said): &&(u64, MemberId, String)| {
                    within(*at) && m == who && said.contains(text)
                };
                match watch.reports.iter().find(fits) {
                    None => Ok(()),
                    Some((_, _, said)) => Err(format!("it said `{said}`")),
                }
            }
            Expected::Reports(who, text) => {
                let fits = |(at, m, said): &(u64, MemberId, String)| {
                    within(*at) && m == who && said.contains(text)
                };
                if watch.reports.iter().any(fits) {
                    return Ok(());
                }
                let all = watch
                    .reports
                    .iter()
                    .filter(|(at, m, _)| within(*at) && m == who);
                let all: Vec<&str> = all.map(|(_, _, said)| said.as_str()).collect();
                match all.as_slice() {
                    [] => Err("it reported nothing then".to_owned()),
                    all => Err(format!("it reported: {}", all.join("; "))),
                }
            }
            Expected::Announces(who, does) => {
                let did = served
                    .announced
                    .iter()
                    .find(|(at, m)| within(*at) && m == who);
                match (does, did) {
                    (true, Some(_)) | (false, None) => Ok(()),
                    (true, None) => Err("it did not".to_owned()),
                    (false, Some((at, _))) => Err(format!("it did at {}", Span::from_nanos(*at))),
                }
            }
            Expected::Count(what, least) => {
                let count = watch.counts.get(what).copied().unwrap_or_default();
                if count >= *least {
                    return Ok(());
                }
                Err(format!("there were {count}"))
            }
        }
    }
}

impl Served {
    /// Who answers at a moment, and since when.
    #[must_use]
    pub fn at(&self, moment: u64) -> (u64, &[MemberId]) {
        let last = self.holders.iter().rev().find(|(at, _)| *at <= moment);
        last.map_or((0, &[]), |(at, holders)| (*at, holders))
    }

    /// The stretches of time in which what is true of the holders is true.
    pub fn stretches(
        &self,
        from: u64,
        until: u64,
        of: impl Fn(&[MemberId]) -> bool,
    ) -> impl Iterator<Item = (u64, u64)> {
        let mut all: Vec<(u64, u64)> = Vec::new();
        for (i, (begin, holders)) in self.holders.iter().enumerate() {
            let end = self.holders.get(i + 1).map_or(until, |(at, _)| *at);
            let (begin, end) = ((*begin).max(from), end.min(until));
            if begin >= end || !of(holders) {
                continue;
            }
            match all.last_mut() {
                Some((_, last)) if *last == begin => *last = end,
                _ => all.push((begin, end)),
            }
        }
        all.into_iter()
    }

    fn time_of_two(&self, end: u64) -> Span {
        let two = self.stretches(0, end, |holders| holders.len() > 1);
        Span::from_nanos(two.map(|(from, until)| until - from).sum())
    }

    /// The longest time without anybody, after somebody first answered.
    #[must_use]
    pub fn longest_dark(&self, end: u64) -> Span {
        let first = self.holders.iter().find(|(_, holders)| !holders.is_empty());
        let Some((first, _)) = first else {
            return Span::from_nanos(end);
        };
        let dark = self.stretches(*first, end, <[MemberId]>::is_empty);
        Span::from_nanos(dark.map(|(from, until)| until - from).max().unwrap_or(0))
    }
}

/// Who answers, for people.
#[must_use]
pub fn answer(plan: &Plan, holders: &[MemberId]) -> String {
    let names: Vec<&str> = holders.iter().map(|m| plan.name(*m)).collect();
    match names.as_slice() {
        [] => "nobody answers".to_owned(),
        [one] => format!("{one} answers"),
        all => format!("{} answer", all.join(" and ")),
    }
}

fn span(from: Span, until: Span) -> Span {
    Span::from_nanos(until.as_nanos() - from.as_nanos())
}

//! Whether a run was as expected; and if not: what was expected, when, and what was true.

use super::file::Said;
use super::plan::Plan;
use super::record::Record;
use super::run::Run;
use super::scenario::{Expect, Expected, Scenario};
use super::watch::{Broken, Conflict, Served, Watch};
use crate::error::Result;
use crate::properties::PropertyId;
use crate::show::timeline::Answers;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::Arbitration;
use onehold_core::time::Span;
use std::ops::Range;
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
    /// Which property it breaks.
    pub property: PropertyId,
    /// Of which group.
    pub group: GroupId,
    /// What was expected, and what was true.
    pub what: String,
}

/// Runs a scenario to its end, and shows every record to `each` as it happens.
///
/// # Errors
/// If the simulator itself failed.
pub fn run(scenario: Scenario, mut each: impl FnMut(&Record)) -> Result<Outcome> {
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
    Ok(Outcome {
        failures: failures(&scenario, &watch),
        two: two(&scenario, &watch),
        scenario,
        watch,
        took,
    })
}

/// What was not as expected of a run, by what was seen of it.
#[must_use]
pub fn failures(scenario: &Scenario, watch: &Watch) -> Vec<Failure> {
    Judge { scenario, watch }.failures(two(scenario, watch))
}

/// For how long two answered at once, in the group where that was longest.
fn two(scenario: &Scenario, watch: &Watch) -> Span {
    let end = scenario.plan.length.as_nanos();
    let together = |g: &Served| {
        let two = g.answers.two(0, end);
        two.iter().map(|(from, until)| until - from).sum()
    };
    let two = watch.groups.iter().map(together).max();
    two.map(Span::from_nanos).unwrap_or_default()
}

impl Outcome {
    /// Everything was as expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// How much faster than real time it was.
    #[must_use]
    pub fn speedup(&self) -> f64 {
        let simulated = Duration::from(self.scenario.plan.length);
        simulated.as_secs_f64() / self.took.as_secs_f64().max(1e-9)
    }
}

/// The only judge of a run: what is promised of every one, and what is expected of this.
struct Judge<'a> {
    scenario: &'a Scenario,
    watch: &'a Watch,
}

impl Judge<'_> {
    fn failures(&self, two: Span) -> Vec<Failure> {
        let (plan, scenario) = (&self.scenario.plan, self.scenario);
        let mut failures = self.broken();
        let groups = (0u8..).map(GroupId).zip(&self.watch.groups);
        match &scenario.two {
            None => {
                failures.extend(groups.filter_map(|(id, g)| self.two(id, &g.answers, "")));
                if failures.is_empty() {
                    let addresses = self.watch.addresses.iter();
                    failures.extend(addresses.filter_map(|(address, (group, answers))| {
                        self.two(*group, answers, &format!(" for {address}"))
                    }));
                }
            }
            Some((most, because)) => {
                let failed = match two {
                    Span::ZERO => Some((
                        PropertyId::Expected,
                        format!("two should answer at once ({because}), and never did"),
                    )),
                    two if two > *most => Some((
                        self.split(),
                        format!("two answered at once for {two}; {most} at most was expected"),
                    )),
                    _ => None,
                };
                let failure = |(id, what)| self.failure(id, GroupId(0), plan.length, what);
                failures.extend(failed.map(failure));
            }
        }
        failures.extend(self.false_alarms());
        for (member, since) in &self.watch.stopping {
            let what = format!("{} should stop, and does not end", plan.name(*member));
            let since = Span::from_nanos(*since);
            failures.push(self.failure(PropertyId::StopEnds, GroupId(0), since, what));
        }
        for expect in &scenario.expect {
            if let Err((at, what)) = expect.holds(plan, self.watch) {
                let what = format!("expected {}; {what}", expect.text(plan));
                failures.push(self.failure(expect.property, expect.group, at, what));
            }
        }
        failures.sort_by_key(|f| f.at);
        failures
    }

    fn failure(&self, property: PropertyId, group: GroupId, at: Span, what: String) -> Failure {
        let of = match property {
            PropertyId::Expected => String::new(),
            id => format!(
                "{id} of {} is broken: ",
                self.scenario.plan.group_name(group)
            ),
        };
        Failure {
            at: at.as_nanos(),
            property,
            group,
            what: of + &what,
        }
    }

    /// That two never answer, by arbitration.
    fn split(&self) -> PropertyId {
        match self.scenario.plan.config().arbitration() {
            Arbitration::Majority => PropertyId::S1,
            Arbitration::Survivor => PropertyId::S2,
        }
    }

    /// Until when two that answer since `from` may still answer at a moment, if they may: by what
    /// the scenario says, or by what passes between two members alone.
    fn may(&self, from: u64, at: u64) -> Option<u64> {
        let contacts = self.watch.contacts.as_ref();
        let excuse = |at| contacts.and_then(|contacts| contacts.excuse(from, at));
        let mut began = self.watch.unshut.iter().filter(|began| **began <= at);
        let let_go = began.rfind(|began| excuse(**began).is_some());
        let shut = let_go.map(|began| began + self.outlasts());
        let shut = shut.filter(|shut| *shut > at);
        self.excuse(at).max(excuse(at)).max(shut)
    }

    /// Until when the scenario says that two may answer at a moment, if they may.
    fn excuse(&self, at: u64) -> Option<u64> {
        let excuses = self.scenario.excuses.iter();
        let excuses = excuses.map(|(from, until)| {
            let (from, until) = (from.as_nanos(), until.as_nanos());
            (from, self.outlasted(from, until))
        });
        let now = excuses.filter(|(from, until)| (*from..*until).contains(&at));
        now.map(|(_, until)| until).max()
    }

    /// Until when an excuse lasts: longer, if a kernel refuses to shut a gate meanwhile.
    fn outlasted(&self, from: u64, until: u64) -> u64 {
        let began = self.watch.unshut.iter();
        let over = began.filter(|began| (from..until).contains(*began));
        over.map(|began| began + self.outlasts())
            .fold(until, u64::max)
    }

    /// Where one of two lets go in time and its kernel refuses to shut the gate, the gate's last
    /// deadline ends it: a lease and the guard's slack later at most, by the slowest clock.
    fn outlasts(&self) -> u64 {
        let plan = &self.scenario.plan;
        let held = plan.timings().map(|timing| {
            let held = timing.lease().plus(timing.slack()).as_nanos();
            held + held * u64::from(timing.drift_ppm()) / 500_000
        });
        held.max().unwrap_or(0) + plan.tick.as_nanos()
    }

    /// S3 to S5, by what the watch saw.
    fn broken(&self) -> Vec<Failure> {
        let is_excused = |broken: &&Broken| match broken.property.id {
            PropertyId::S5 => false,
            PropertyId::S3 if self.scenario.two.is_some() => true,
            _ => self.may(broken.at, broken.at).is_some(),
        };
        let broken = self.watch.broken.iter().filter(|b| !is_excused(b));
        let failure = broken.map(|b| {
            let what = format!("{}. True then: {}", b.property.says, b.facts);
            self.failure(b.property.id, b.group, Span::from_nanos(b.at), what)
        });
        failure.collect()
    }

    /// S1, S2: the first moment at which two answer and may not.
    fn two(&self, group: GroupId, answers: &Answers<MemberId, u64>, of: &str) -> Option<Failure> {
        let plan = &self.scenario.plan;
        for (from, until) in answers.two(0, plan.length.as_nanos()) {
            let mut at = from;
            while let Some(excused) = self.may(from, at).filter(|_| at < until) {
                at = excused;
            }
            if at < until {
                let (_, holders) = answers.at(at);
                let [all, wrong] = [from, at].map(|since| Span::from_nanos(until - since));
                let what = format!(
                    "{}{of} for {all}, of which {wrong} are not excused",
                    answer(plan, holders)
                );
                return Some(self.failure(self.split(), group, Span::from_nanos(at), what));
            }
        }
        None
    }

    /// a member claims another holder, and by majority no two have answered until then; or the
    /// other has not said within D that it holds; D by the fastest clock, with what kernels and
    /// steps add.
    fn false_alarms(&self) -> Option<Failure> {
        let plan = &self.scenario.plan;
        let votes = plan.timings().map(|timing| {
            let vote = timing.vote().as_nanos();
            vote + vote * u64::from(timing.drift_ppm()) / 500_000
        });
        let most = votes.max().unwrap_or(0) + 2 * plan.tick.as_nanos();
        let two = |c: &Conflict| {
            let served = &self.watch.groups[usize::from(c.group.0)];
            !served.answers.two(0, c.at).is_empty()
        };
        let by_majority = plan.config().arbitration() == Arbitration::Majority;
        // A clock that stood still makes an advert younger than it is.
        let stale = |c: &&Conflict| {
            self.excuse(c.at).is_none()
                && (by_majority && !two(c) || c.said.is_none_or(|said| c.at - said > most))
        };
        let conflict = self.watch.conflicts.iter().find(stale)?;
        let said = conflict
            .said
            .map(|said| Span::from_nanos(conflict.at - said));
        let said = said.map_or("never".to_owned(), |before| format!("{before} before"));
        let who = plan.name(conflict.by);
        let what = format!("{who} claims another holder, which last said that it holds {said}");
        let at = Span::from_nanos(conflict.at);
        Some(self.failure(PropertyId::R15, conflict.group, at, what))
    }
}

impl Expect {
    /// What is expected, for people.
    #[must_use]
    pub fn text(&self, plan: &Plan) -> String {
        let group = match (self.address, plan.groups()) {
            (Some(address), _) => format!(" for {address}"),
            (None, 1) => String::new(),
            (None, _) => format!(" for {}", plan.group_name(self.group)),
        };
        let Self { from, until, .. } = self;
        let by = if from == until {
            format!("at {from}")
        } else {
            format!("at {until} ({} after {from})", span(*from, *until))
        };
        let during = format!("from {from} until {until}");
        match &self.what {
            Expected::Holder(who) => match who.as_str() {
                "nobody" => format!("nobody to answer{group} {by}"),
                "anybody" => format!("one alone to answer{group} {by}"),
                name => format!("{name} alone to answer{group} {by}"),
            },
            Expected::Neighbours(name) => format!("the neighbours to send to {name}{group} {by}"),
            Expected::MovesOnly(moves) => {
                let but = if moves.is_empty() {
                    ""
                } else {
                    " that is not meant"
                };
                format!("no change of who answers{group}{but} {during}")
            }
            Expected::OutageAtMost(most) => {
                format!("an outage{group} of {} at most {during}", most.0)
            }
            Expected::ServedPercent(least) => {
                format!("a member to answer{group} {least} % of the time {during}")
            }
            Expected::Reports(s) => format!("{} to report `{}` {during}", s.member, s.text),
            Expected::NeverReports(s) => format!("{} to report no `{}` {during}", s.member, s.text),
            Expected::Announces { member, is: true } => {
                format!("{member} to announce{group} {during}")
            }
            Expected::Announces { member, is: false } => {
                format!("{member} not to announce{group} {during}")
            }
            Expected::Count { of, at_least } => format!("{of:?} to be counted {at_least} times"),
        }
    }

    /// Whether it holds; else when it did not, and what was true.
    fn holds(&self, plan: &Plan, watch: &Watch) -> std::result::Result<(), (Span, String)> {
        let (from, until) = (self.from.as_nanos(), self.until.as_nanos());
        let served = &watch.groups[usize::from(self.group.0)];
        let nobody = Answers::from(0);
        let answers = match self.address {
            None => &served.answers,
            Some(address) => match watch.addresses.get(&address) {
                Some((_, answers)) => answers,
                None => &nobody,
            },
        };
        let within = |at: u64| at >= from && at < until;
        let at_end = |what: String| Err((self.until, what));
        match &self.what {
            Expected::Holder(who) => {
                let (since, holders) = answers.at(until);
                let good = match who.as_str() {
                    "nobody" => holders.is_empty(),
                    "anybody" => holders.len() == 1,
                    name => holders == [plan.id(name)],
                };
                if good {
                    return Ok(());
                }
                let since = Span::from_nanos(since);
                at_end(format!("{} since {since}", answer(plan, holders)))
            }
            Expected::Neighbours(who) => {
                let last = served.announced.iter().rev().find(|(at, _)| *at <= until);
                match last {
                    Some((_, m)) if plan.name(*m) == who => Ok(()),
                    Some((at, m)) => {
                        let at = Span::from_nanos(*at);
                        at_end(format!("{} announced last, at {at}", plan.name(*m)))
                    }
                    None => at_end("nobody ever announced".to_owned()),
                }
            }
            Expected::MovesOnly(moves) => {
                // A move that is meant is two changes: away from one member, and to another.
                let mut moves: Vec<(Range<u64>, u32)> = (moves.iter())
                    .map(|(from, until)| (from.0.as_nanos()..until.0.as_nanos(), 2))
                    .collect();
                let mut meant = |at: u64| {
                    let mut open = moves.iter_mut();
                    let found = open.find(|(span, left)| span.contains(&at) && *left > 0);
                    found.map(|(_, left)| *left -= 1).is_some()
                };
                let mut changes = answers.changes();
                match changes.find(|(at, _)| within(*at) && !meant(*at)) {
                    None => Ok(()),
                    Some((at, holders)) => {
                        let at = Span::from_nanos(at);
                        Err((at, format!("from {at} on {}", answer(plan, holders))))
                    }
                }
            }
            Expected::OutageAtMost(most) => {
                let outages = answers.outages(from, until);
                let longest = outages.into_iter().max_by_key(|(from, until)| until - from);
                match longest {
                    Some((from, until)) if until - from > most.0.as_nanos() => {
                        let (from, until) = (Span::from_nanos(from), Span::from_nanos(until));
                        let outage = span(from, until);
                        let what = format!("the outage was {outage}, from {from} until {until}");
                        Err((from, what))
                    }
                    _ => Ok(()),
                }
            }
            Expected::ServedPercent(least) => {
                let served = answers.stretches(from, until, |who| !who.is_empty());
                let served: u64 = served.iter().map(|(from, until)| until - from).sum();
                let percent = 100.0 * served as f64 / (until - from).max(1) as f64;
                if percent >= *least {
                    return Ok(());
                }
                at_end(format!("one did {percent:.3} % of it"))
            }
            Expected::NeverReports(Said { member, text }) => {
                let fits = |(at, m, said): &&(u64, MemberId, String)| {
                    within(*at) && plan.name(*m) == member && said.contains(text)
                };
                match watch.reports.iter().find(fits) {
                    None => Ok(()),
                    Some((_, _, said)) => at_end(format!("it said `{said}`")),
                }
            }
            Expected::Reports(Said { member, text }) => {
                let fits = |(at, m, said): &(u64, MemberId, String)| {
                    within(*at) && plan.name(*m) == member && said.contains(text)
                };
                if watch.reports.iter().any(fits) {
                    return Ok(());
                }
                let all = watch
                    .reports
                    .iter()
                    .filter(|(at, m, _)| within(*at) && plan.name(*m) == member);
                let all: Vec<&str> = all.map(|(_, _, said)| said.as_str()).collect();
                match all.as_slice() {
                    [] => at_end("it reported nothing then".to_owned()),
                    all => at_end(format!("it reported: {}", all.join("; "))),
                }
            }
            Expected::Announces { member, is } => {
                let did = served
                    .announced
                    .iter()
                    .find(|(at, m)| within(*at) && plan.name(*m) == member);
                match (is, did) {
                    (true, Some(_)) | (false, None) => Ok(()),
                    (true, None) => at_end("it did not".to_owned()),
                    (false, Some((at, _))) => {
                        at_end(format!("it did at {}", Span::from_nanos(*at)))
                    }
                }
            }
            Expected::Count { of, at_least } => {
                let count = watch.counts.get(of).copied().unwrap_or_default();
                if count >= *at_least {
                    return Ok(());
                }
                at_end(format!("there were {count}"))
            }
        }
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

//! What the demo prints: live lines, the table at the end, and JSON.

use super::story::Event;
use crate::screen::Screen;
use serde::Serialize;
use std::time::Duration;

/// What came of one event.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What moved the address: `onehold`, or what is played beside it.
    pub by: &'static str,
    /// The event's name.
    pub name: &'static str,
    /// What happened, for people.
    pub title: &'static str,
    /// Which repetition of the story this was, from 0.
    pub round: usize,
    /// Who held before, as seen from the network.
    pub holder_before: Option<String>,
    /// Who held after.
    pub holder_after: Option<String>,
    /// The longest time between two answers to the client, less its pace.
    pub outage_ms: f64,
    /// Requests that were not answered.
    pub failed_requests: usize,
    /// Requests in all.
    pub requests: usize,
    /// For how long two members answered ARP for the address.
    pub dual_ms: f64,
    /// How often the address moved.
    pub moves: u32,
    /// How long the event was watched.
    pub watched_ms: f64,
    /// What was awaited and did not come.
    pub failure: Option<String>,
}

/// All repetitions of one event.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// What moved the address.
    pub by: &'static str,
    /// The event's name.
    pub name: &'static str,
    #[serde(skip)]
    title: &'static str,
    #[serde(skip)]
    holders: String,
    /// How often it was played.
    pub times: usize,
    /// The median of the outages.
    pub outage_ms_median: f64,
    /// The longest outage.
    pub outage_ms_max: f64,
    /// The median of the failed requests.
    pub failed_requests_median: usize,
    /// The most failed requests.
    pub failed_requests_max: usize,
    /// The longest dual-holder time.
    pub dual_ms_max: f64,
    /// In how many of them something was awaited that did not come.
    pub failures: usize,
}

/// One [`Summary`] for each event and each that moved the address, in the order of the story.
#[must_use]
pub fn summarize(outcomes: &[Outcome]) -> Vec<Summary> {
    let mut kinds: Vec<(&'static str, &'static str)> = Vec::new();
    for outcome in outcomes {
        if kinds.contains(&(outcome.name, outcome.by)) {
            continue;
        }
        let beside = kinds.iter().rposition(|(name, _)| *name == outcome.name);
        let at = beside.map_or(kinds.len(), |at| at + 1);
        kinds.insert(at, (outcome.name, outcome.by));
    }
    kinds
        .into_iter()
        .filter_map(|kind| summary(outcomes, kind))
        .collect()
}

fn summary(outcomes: &[Outcome], (name, by): (&'static str, &'static str)) -> Option<Summary> {
    let all = || outcomes.iter().filter(|o| (o.name, o.by) == (name, by));
    let last = all().next_back()?;
    let mut outages: Vec<f64> = all().map(|o| o.outage_ms).collect();
    outages.sort_by(f64::total_cmp);
    let mut failed: Vec<usize> = all().map(|o| o.failed_requests).collect();
    failed.sort_unstable();
    Some(Summary {
        by,
        name,
        title: last.title,
        holders: holders(last),
        times: outages.len(),
        outage_ms_median: outages[outages.len() / 2],
        outage_ms_max: outages[outages.len() - 1],
        failed_requests_median: failed[failed.len() / 2],
        failed_requests_max: failed[failed.len() - 1],
        dual_ms_max: all().map(|o| o.dual_ms).fold(0.0, f64::max),
        failures: all().filter(|o| o.failure.is_some()).count(),
    })
}

fn holders(outcome: &Outcome) -> String {
    let name = |holder: &Option<String>| holder.clone().unwrap_or_else(|| "–".into());
    let (before, after) = (name(&outcome.holder_before), name(&outcome.holder_after));
    if before == after {
        return after;
    }
    format!("{before} → {after}")
}

/// Milliseconds with as many digits as they deserve.
fn ms(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        v if v < 10.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// What the demo prints, line by line.
impl Screen {
    /// The head of the live lines.
    pub fn head(&mut self) {
        let head = format!(
            "   {:<28} {:<11} {:>9} {:>7} {:>8}",
            "event", "holder", "outage ms", "failed", "dual ms"
        );
        self.line(&self.paint("2", &head));
    }

    /// While an event is watched.
    pub fn watching(&mut self, event: &Event, holders: &str, since: Duration) {
        let seconds = since.as_secs_f64();
        self.passing(&format!(
            "{:<28} {holders:<11} {seconds:>6.1} s",
            event.title
        ));
    }

    /// What came of an event.
    pub fn outcome(&mut self, o: &Outcome) {
        let dual = format!("{:>8}", ms(o.dual_ms));
        let dual = if o.dual_ms > 0.0 {
            self.paint("1;31", &dual)
        } else {
            dual
        };
        let mark = match o.failure {
            None => self.paint("32", "✓"),
            Some(_) => self.paint("1;31", "✗"),
        };
        let (title, holders) = (o.title, holders(o));
        let (outage, failed) = (ms(o.outage_ms), o.failed_requests);
        self.line(&format!(
            " {mark} {title:<28} {holders:<11} {outage:>9} {failed:>7} {dual}"
        ));
        let needed = u32::from(o.holder_before.is_some() && o.holder_before != o.holder_after);
        if o.moves > needed {
            let times = match o.moves {
                1 => "once".to_owned(),
                n => format!("{n} times"),
            };
            self.line(&format!("     the address moved {times}"));
        }
        if let Some(failure) = &o.failure {
            self.line(&format!("     {failure}"));
        }
    }

    /// The table at the end. With several that moved the address, it names them, not the holders.
    pub fn table(&mut self, summaries: &[Summary]) {
        let rule = "─".repeat(87);
        let several = summaries.iter().any(|s| s.by != summaries[0].by);
        self.line("");
        self.line(&format!(
            "{:<30} {:<11} {:>5}  {:>17}  {:>12}  {:>5}",
            "event",
            if several { "by" } else { "holder" },
            "times",
            "outage ms med/max",
            "failed",
            "dual"
        ));
        self.line(&rule);
        let mut above = "";
        for s in summaries {
            let outage = format!("{} / {}", ms(s.outage_ms_median), ms(s.outage_ms_max));
            let failed = format!("{} / {}", s.failed_requests_median, s.failed_requests_max);
            let (times, dual) = (s.times, ms(s.dual_ms_max));
            let title = if s.name == above { "" } else { s.title };
            let second = if several { s.by } else { &s.holders };
            above = s.name;
            self.line(&format!(
                "{title:<30} {second:<11} {times:>5}  {outage:>17}  {failed:>12}  {dual:>5}"
            ));
        }
        self.line(&rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_median_and_the_worst() {
        let outcome = |name, outage_ms, dual_ms| Outcome {
            by: "onehold",
            name,
            title: name,
            round: 0,
            holder_before: Some("lb0".into()),
            holder_after: Some("lb1".into()),
            outage_ms,
            failed_requests: 1,
            requests: 10,
            dual_ms,
            moves: 1,
            watched_ms: 100.0,
            failure: None,
        };
        let all = [
            outcome("kill", 400.0, 0.0),
            outcome("stop", 1.0, 0.0),
            outcome("kill", 450.0, 3.0),
            outcome("kill", 200.0, 0.0),
        ];
        let [kill, stop] = &summarize(&all)[..] else {
            panic!("two kinds of event");
        };
        assert_eq!((kill.name, kill.times, stop.name), ("kill", 3, "stop"));
        assert_eq!((kill.outage_ms_median, kill.outage_ms_max), (400.0, 450.0));
        assert_eq!((kill.dual_ms_max, kill.failures), (3.0, 0));
        assert_eq!(kill.holders, "lb0 → lb1");
        let other = Outcome {
            by: "keepalived",
            ..outcome("kill", 900.0, 40.0)
        };
        let beside = summarize(&[&all[..], &[other]].concat());
        let order: Vec<_> = beside.iter().map(|s| (s.name, s.by, s.times)).collect();
        let expected = [
            ("kill", "onehold", 3),
            ("kill", "keepalived", 1),
            ("stop", "onehold", 1),
        ];
        assert_eq!(order, expected);
    }
}

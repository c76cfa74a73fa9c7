//! What the VM tests say: one line for each scenario, with its figures.

use super::scenarios::Scenario;
use super::site::Observed;
use serde::Serialize;
use std::time::Duration;

/// What came of a scenario.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ScenarioOutcome {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    #[serde(flatten)]
    pub(super) seen: Observed,
    /// What was not as it must be.
    pub(super) failure: Option<String>,
}

impl ScenarioOutcome {
    /// Judges what was seen, besides what the scenario itself found wrong.
    pub(super) fn of(
        scenario: &Scenario,
        took: Duration,
        seen: Observed,
        failure: Option<String>,
    ) -> Self {
        let mut wrong: Vec<String> = failure.into_iter().collect();
        if seen.dual_ms > scenario.dual_ms {
            let bound = scenario.dual_ms;
            wrong.push(format!(
                "two answered for {} ms, and may for {bound}",
                seen.dual_ms
            ));
        }
        if seen.outage_ms > scenario.outage_ms {
            let bound = scenario.outage_ms;
            wrong.push(format!(
                "an outage of {} ms; the bound is {bound}",
                seen.outage_ms
            ));
        }
        Self {
            name: scenario.name,
            seconds: took.as_secs_f64(),
            seen,
            failure: (!wrong.is_empty()).then(|| wrong.join("; ")),
        }
    }

    /// Whether all was as it must be.
    pub(super) fn is_good(&self) -> bool {
        self.failure.is_none()
    }

    /// One line, and one more for each thing that was wrong.
    pub(super) fn lines(&self) -> String {
        let mark = if self.is_good() { '✓' } else { '✗' };
        let Observed {
            holders,
            outage_ms,
            failed,
            requests,
            dual_ms,
            duals_ms,
            back_ms,
        } = &self.seen;
        let holders = holders.join(" → ");
        let mut line = format!(
            " {mark} {:13} {holders:27} {outage_ms:7} {:>10} {dual_ms:7} {:6.1}",
            self.name,
            format!("{failed}/{requests}"),
            self.seconds
        );
        if duals_ms.len() > 1 {
            line += &format!(
                "\n     each time that it went on, two held for (ms) {duals_ms:?}, and it held again after {back_ms:?}"
            );
        }
        for wrong in self.failure.iter().flat_map(|f| f.lines()) {
            line += &format!("\n     {wrong}");
        }
        line
    }
}

/// The head of the lines.
pub(super) const HEAD: &str =
    "   scenario      holder                    outage ms     failed dual ms      s";

#[cfg(test)]
mod tests {
    use super::super::scenarios::ALL;
    use super::*;

    #[test]
    fn what_the_network_saw_is_judged_whatever_the_scenario_says() {
        let seen = Observed {
            dual_ms: 10,
            ..Observed::default()
        };
        let scenario = ALL.iter().find(|s| s.dual_ms == 0).unwrap();
        let outcome = ScenarioOutcome::of(scenario, Duration::ZERO, seen, None);
        assert!(!outcome.is_good() && outcome.lines().contains("two answered for 10 ms"));
        let outcome = ScenarioOutcome::of(scenario, Duration::ZERO, Observed::default(), None);
        assert!(outcome.is_good() && !outcome.lines().contains('\n'));
    }
}

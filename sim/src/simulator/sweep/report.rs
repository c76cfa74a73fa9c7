//! What came of all seeds: for people, for programs, and added up over shards.

use super::cover::{self, Coverage};
use super::judge::{Judged, Violation};
use crate::error::{Context, Result, err};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A promise that a seed's run broke, and what is left of its faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What was broken first.
    #[serde(flatten)]
    pub violation: Violation,
    /// What shows it again.
    pub command: String,
    /// A scenario with the fewest faults that still break it, if they were looked for.
    pub scenario: Option<PathBuf>,
}

/// What came of many seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// How many were run.
    pub seeds: u64,
    /// What was broken.
    pub violations: Vec<Found>,
    /// How much faster than real time each machine was.
    pub speedup: f64,
    /// How many seeds a second all machines came to.
    pub seeds_per_second: f64,
    /// How many seconds were simulated.
    pub simulated_s: f64,
    /// How many seconds the machines took for it; those of shards are added up.
    pub took_s: f64,
    /// When the last of them was settled, in percent of the bound after the faults had stopped.
    pub settled_percent: f64,
    /// What happened in them, and how often.
    pub coverage: Coverage,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            seeds: 0,
            violations: Vec::new(),
            speedup: 0.0,
            seeds_per_second: 0.0,
            simulated_s: 0.0,
            took_s: 0.0,
            settled_percent: 0.0,
            coverage: cover::nothing(),
        }
    }
}

impl Report {
    /// Adds what came of one seed, but for what it broke.
    pub fn add(&mut self, seen: &Judged) {
        self.seeds += 1;
        self.simulated_s += seen.simulated as f64 / 1e6;
        self.settled_percent = self.settled_percent.max(seen.settled_percent);
        cover::add(&mut self.coverage, &seen.coverage);
    }

    /// Says how long all of it took, in seconds.
    pub fn took(&mut self, seconds: f64) {
        self.took_s = seconds;
        self.speedup = self.simulated_s / seconds.max(1e-9);
        self.seeds_per_second = self.seeds as f64 / seconds.max(1e-9);
    }

    /// Adds up the reports of shards, which ran beside each other.
    #[must_use]
    pub fn merged(shards: &[Self]) -> Self {
        let mut all = Self::default();
        for shard in shards {
            all.seeds += shard.seeds;
            all.violations.extend(shard.violations.iter().cloned());
            all.simulated_s += shard.simulated_s;
            all.took_s += shard.took_s;
            all.seeds_per_second += shard.seeds_per_second;
            all.settled_percent = all.settled_percent.max(shard.settled_percent);
            cover::add(&mut all.coverage, &shard.coverage);
        }
        all.violations.sort_by_key(|v| v.violation.seed);
        all.speedup = all.simulated_s / all.took_s.max(1e-9);
        all
    }

    /// What never happened and should have.
    pub fn never(&self) -> impl Iterator<Item = &str> {
        let never = self.coverage.iter().filter(|(_, often)| often.times == 0);
        never.map(|(name, _)| name.as_str())
    }

    /// The table for a terminal.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let head = ["sometimes", "times", "seeds", "first seed"];
        let mut lines = vec![line(head.map(str::to_owned))];
        for (name, often) in &self.coverage {
            let first = often.first.map_or("never".to_owned(), |s| s.to_string());
            let (times, seeds) = (often.times.to_string(), often.seeds.to_string());
            lines.push(line([name.clone(), times, seeds, first]));
        }
        lines.push(String::new());
        lines.push(format!(
            "{} seeds, {} broken; {:.1} h simulated, {:.0} times as fast as real time, {:.1} seeds a second",
            self.seeds,
            self.violations.len(),
            self.simulated_s / 3_600.0,
            self.speedup,
            self.seeds_per_second
        ));
        lines.push(format!(
            "all was settled within {:.0} % of the bound after the faults had stopped",
            self.settled_percent
        ));
        lines
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(err)?;
        std::fs::write(file, text + "\n").context(|| file.display())
    }

    /// Reads what [`Report::write`] wrote.
    ///
    /// # Errors
    /// If the file can't be read, or is not such a report.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).context(|| file.display())?;
        let remedy = |e| format!("{e}; write it with `cargo lab sweep --json FILE`");
        let report = serde_json::from_str(&text).map_err(remedy);
        report.context(|| file.display())
    }
}

fn line([name, times, seeds, first]: [String; 4]) -> String {
    format!("{name:<22} {times:>10} {seeds:>8} {first:>11}")
}

#[cfg(test)]
mod tests {
    use super::super::cover::Often;
    use super::*;

    fn seen(seed: u64, times: u64) -> Judged {
        let often = Often {
            times,
            seeds: 1,
            first: Some(seed),
        };
        Judged {
            violations: Vec::new(),
            coverage: [("takeover".to_owned(), often)].into(),
            settled_percent: seed as f64,
            simulated: 10_000_000,
        }
    }

    #[test]
    fn shards_add_up_to_what_one_machine_would_have_found() {
        let (mut one, mut shards) = (Report::default(), [Report::default(), Report::default()]);
        for seed in [7, 4, 9] {
            one.add(&seen(seed, seed));
            shards[(seed % 2) as usize].add(&seen(seed, seed));
        }
        one.took(2.0);
        for shard in &mut shards {
            shard.took(1.0);
        }
        let text = shards.map(|s| serde_json::to_string(&s).unwrap());
        let shards = text.map(|t| serde_json::from_str::<Report>(&t).unwrap());
        let merged = Report::merged(&shards);
        assert_eq!((merged.seeds, merged.settled_percent), (3, 9.0));
        assert_eq!(merged.coverage, one.coverage);
        let takeover = &merged.coverage["takeover"];
        assert_eq!(
            (takeover.times, takeover.seeds, takeover.first),
            (20, 3, Some(4))
        );
        assert_eq!((merged.speedup, one.speedup), (15.0, 15.0));
        assert_eq!((merged.seeds_per_second, one.seeds_per_second), (3.0, 1.5));
        assert!(merged.never().any(|name| name == "failback"));
    }
}

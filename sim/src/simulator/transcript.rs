//! A run as people read it: time in seconds, who, what. `!` marks what was done to the world.

use super::plan::Plan;
use super::record::Record;
use onehold_core::time::Span;
use std::rc::Rc;

/// Prints records, a line each; lines that recur in the same millisecond are printed once, with
/// their number.
#[derive(Debug)]
pub struct Transcript {
    plan: Rc<Plan>,
    time: String,
    /// Who, what, and how often.
    lines: Vec<(String, String, u32)>,
}

impl Transcript {
    /// One that has printed nothing yet.
    #[must_use]
    pub const fn new(plan: Rc<Plan>) -> Self {
        Self {
            plan,
            time: String::new(),
            lines: Vec::new(),
        }
    }

    /// Takes note of the next record; returns the lines that are complete.
    pub fn see(&mut self, record: &Record) -> Vec<String> {
        let Some(what) = record.story(&self.plan) else {
            return Vec::new();
        };
        let who = match record.member {
            Some(member) if !what.starts_with('!') => self.plan.name(member).to_owned(),
            _ => String::new(),
        };
        let now = time(record.at);
        let done = if now == self.time {
            Vec::new()
        } else {
            self.end()
        };
        self.time = now;
        match self.lines.iter_mut().find(|l| l.0 == who && l.1 == what) {
            Some((_, _, times)) => *times += 1,
            None => self.lines.push((who, what, 1)),
        }
        done
    }

    /// The lines that are left.
    pub fn end(&mut self) -> Vec<String> {
        let line = |(who, what, times): (String, String, u32)| {
            let often = match times {
                1 => String::new(),
                n => format!(" ({n} times)"),
            };
            format!("{:>10}  {who:<5} {what}{often}", self.time)
        };
        std::mem::take(&mut self.lines)
            .into_iter()
            .map(line)
            .collect()
    }
}

/// `3.000`: seconds.
#[must_use]
pub fn time(at: u64) -> String {
    format!("{:.3}", Span::from_nanos(at).as_millis_f64() / 1e3)
}

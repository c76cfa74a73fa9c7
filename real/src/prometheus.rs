//! The status as Prometheus reads it: [`page`] writes a [`Report`] in the text format. There is no
//! figure here that the report does not have, and nothing is counted twice.

mod families;
pub mod serve;

pub use families::{FAMILIES, Family, Kind};

use crate::status::Report;
use families::{Of, Sample};
use std::fmt::Write as _;

/// The port that nothing else has by custom: Onehold's own, with Prometheus' first digit.
pub const DEFAULT_PORT: u16 = 9_946;

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'r> {
    /// What the daemon reported; nothing, if it did not answer.
    pub report: Option<&'r Report>,
    /// The wall clock's time, in seconds since 1970.
    pub time: f64,
}

/// The whole page, in version 0.0.4 of the text format.
#[must_use]
pub fn page(page: Page<'_>) -> String {
    let mut out = String::new();
    for family in FAMILIES {
        let samples = match family.of {
            Of::Page(of) => of(&page),
            Of::Cluster(of) => {
                let clusters = page.report.iter().flat_map(|report| &report.clusters);
                let each = clusters.flat_map(|s| of(s).into_iter().map(move |sample| (s, sample)));
                each.map(|(s, sample)| sample.of_cluster(s)).collect()
            }
        };
        if !samples.is_empty() {
            put(&mut out, family, &samples);
        }
    }
    out
}

fn put(out: &mut String, family: &Family, samples: &[Sample]) {
    let Family {
        name, kind, help, ..
    } = family;
    let _ = writeln!(out, "# HELP {name} {help}");
    let _ = writeln!(out, "# TYPE {name} {}", kind.text());
    for Sample { labels, value } in samples {
        let pairs = labels.iter();
        let pairs: Vec<String> = pairs
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let _ = match &pairs[..] {
            [] => writeln!(out, "{name} {value}"),
            some => writeln!(out, "{name}{{{}}} {value}", some.join(",")),
        };
    }
}

/// The value of a label: whatever an operator named something, it stays within its quotes.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests;

//! The status of many clusters: counts, and a row for each that somebody has to look at.

use super::text::{alarm_line, aligned, or_dash, row, short, wrapped};
use super::{GroupStatus, Status};
use std::fmt::Write as _;

/// Which of many clusters have a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All if they are 24 at most; else as many of those with alarms.
    AsFit,
    /// Those with alarms.
    WithAlarms,
    /// All.
    All,
}

/// So many rows fit on a screen.
const FEW: usize = 24;

/// What is said of all, then the rows, each with its alarms.
pub(super) fn clusters(all: &[Status], awaited: usize, rows: Rows, colour: bool) -> String {
    let mut out = String::new();
    let with_alarms = all.iter().filter(|s| !s.alarms.is_empty());
    let wrong = with_alarms.clone().count();
    wrapped(&mut out, "", &headline(all, awaited, wrong));
    let shown: Vec<&Status> = match rows {
        Rows::All => all.iter().collect(),
        Rows::AsFit if all.len() <= FEW => all.iter().collect(),
        Rows::AsFit => with_alarms.take(FEW).collect(),
        Rows::WithAlarms => with_alarms.collect(),
    };
    if !shown.is_empty() {
        out.push('\n');
    }
    let head = row(["CLUSTER", "MEMBER", "HOLDERS", "HEARD", "REJECTED"]);
    let cells: Vec<Vec<String>> = std::iter::once(head)
        .chain(shown.iter().map(|s| cells(s)))
        .collect();
    let mut lines = aligned(&cells).into_iter();
    out.extend(lines.next().filter(|_| !shown.is_empty()));
    for (s, line) in shown.iter().zip(lines) {
        out.push_str(&line);
        for alarm in &s.alarms {
            alarm_line(&mut out, alarm, colour);
        }
        for note in &s.notes {
            wrapped(&mut out, "  note: ", note);
        }
    }
    out.push('\n');
    let hidden = wrong.saturating_sub(shown.len());
    if rows == Rows::AsFit && hidden > 0 {
        let _ = writeln!(out, "{hidden} more with alarms: onehold status --alarms");
    }
    if shown.len() < all.len() && rows == Rows::AsFit {
        out.push_str("A row for each: onehold status --all, or with --match TEXT\n");
    }
    out.push_str("One cluster in full: onehold status --cluster NAME\n");
    out
}

fn headline(all: &[Status], awaited: usize, wrong: usize) -> String {
    let mut what = format!("witness of {} clusters", all.len());
    if awaited > 0 {
        let _ = write!(what, ", waiting for {awaited} more");
    }
    match wrong {
        0 if awaited == 0 => what.push_str(" · all well"),
        n => {
            let _ = write!(what, " · {n} with alarms");
        }
    }
    let nobody = |g: &GroupStatus| g.holder.is_none();
    match all.iter().filter(|s| s.groups.iter().any(nobody)).count() {
        0 => {}
        n => {
            let _ = write!(what, " · {n} with a group that nobody is seen to hold");
        }
    }
    what
}

fn cells(s: &Status) -> Vec<String> {
    let mut holders: Vec<String> = (s.groups.iter())
        .map(|g| short(or_dash(g.holder.as_deref().unwrap_or_default())))
        .collect();
    holders.sort();
    holders.dedup();
    let heard = s.peers.iter().filter(|p| p.two_way).count();
    let rejected: u64 = s.counters.rejected.values().sum();
    row([
        &short(&s.cluster),
        &short(&s.member),
        &holders.join(", "),
        &format!("{heard} of {}", s.peers.len()),
        &rejected.to_string(),
    ])
}

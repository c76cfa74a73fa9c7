//! `onehold history`: what happened, as a member saw it.

use super::{DaemonArgs, Failure, client, print};
use crate::control::{CLIENT_TIMEOUT, Reply, Request, ask};
use crate::history::{self, Entry, Told, lines};
use clap::Args;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only what is about this group, or about no group
    group: Option<String>,
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only what happened since then, and what came after: 90s, 5min, 1h, 2d
    #[arg(long, value_name = "SPAN", value_parser = ago)]
    since: Option<Timestamp>,
    /// Read a file that a daemon wrote, such as /var/lib/onehold/web.lb0.history: it need not run
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn history(asked: &HistoryArgs) -> Result<(), Failure> {
    let mut told = match &asked.file {
        None => told(&asked.daemon.socket, asked.daemon.cluster.as_deref())?,
        Some(file) => of_file(file)?,
    };
    if let Some(group) = &asked.group {
        is_there(group, &told, asked)?;
    }
    if let Some(since) = asked.since {
        // What is after the first of that time happened after it, whatever the clock said then.
        let is_before = |e: &Entry| i128::from(e.at_ms) < i128::from(since.as_millisecond());
        let from = told.entries.iter().position(|e| !is_before(e));
        told.entries.drain(..from.unwrap_or(told.entries.len()));
    }
    if asked.json {
        if let Some(group) = &asked.group {
            told.entries
                .retain(|e| e.group.as_ref().is_none_or(|of| of == group));
        }
        let json =
            serde_json::to_string_pretty(&told).map_err(|e| Failure::Failed(e.to_string()))?;
        return print(&(json + "\n"));
    }
    print(&lines(&told, asked.group.as_deref(), &TimeZone::system()))
}

/// What a daemon tells of one cluster.
pub(super) fn told(socket: &Path, cluster: Option<&str>) -> Result<Told, Failure> {
    let cluster = Some(client::one(socket, cluster)?.cluster);
    match ask(socket, &Request::History { cluster }, CLIENT_TIMEOUT).map_err(Failure::Failed)? {
        Reply::History(told) => Ok(told),
        Reply::Refused { why } => Err(Failure::Failed(why)),
        Reply::Status(_) | Reply::Done { .. } | Reply::Reloaded { .. } => Err(Failure::Failed(
            "the daemon answered something else".to_owned(),
        )),
    }
}

/// What a daemon wrote down. Its name says whose it is.
fn of_file(file: &Path) -> Result<Told, Failure> {
    if !file.exists() {
        let shown = file.display();
        let what = format!("there is no file {shown}; the daemon's state directory has *.history");
        return Err(Failure::Failed(what));
    }
    let entries = history::read(file).map_err(Failure::Failed)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let (cluster, member) = stem.split_once('.').unwrap_or((&stem, "a member"));
    Ok(Told {
        cluster: cluster.to_owned(),
        member: member.to_owned(),
        entries,
        not_kept: None,
    })
}

/// Refuses a group of which nothing is known.
fn is_there(group: &String, told: &Told, asked: &HistoryArgs) -> Result<(), Failure> {
    let mut known: Vec<String> = told
        .entries
        .iter()
        .filter_map(|e| e.group.clone())
        .collect();
    if asked.file.is_none() {
        let status = client::one(&asked.daemon.socket, Some(&told.cluster))?;
        known.extend(status.groups.into_iter().map(|g| g.name));
    }
    known.sort();
    known.dedup();
    match known.contains(group) {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "there is no group `{group}`; there are {}",
            known.join(", ")
        ))),
    }
}

/// The time that is that long ago.
fn ago(text: &str) -> Result<Timestamp, String> {
    let wrong = |e: jiff::Error| format!("{e}; write 90s, 5min, 1h or 2d");
    let span: jiff::Span = text.parse().map_err(wrong)?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours());
    let now = Timestamp::now();
    span.and_then(|span| now.checked_sub(span.abs()))
        .map_err(wrong)
}

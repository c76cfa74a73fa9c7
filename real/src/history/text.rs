//! A history as text: a line for each entry, in the order in which things happened.

use super::{Entry, Told};
use crate::status::wrapped;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The history, the oldest entry first; of one group only what is about it, or about no group.
/// Times are those of the `zone`.
#[must_use]
pub fn lines(told: &Told, group: Option<&str>, zone: &TimeZone) -> String {
    let mut out = String::new();
    let head = format!("cluster {}, as {} saw it", told.cluster, told.member);
    wrapped(&mut out, "", &head);
    if let Some(why) = &told.not_kept {
        wrapped(&mut out, "  ! ", &format!("a restart forgets this: {why}"));
    }
    let is_meant = |e: &&Entry| group.is_none() || e.group.is_none() || e.group.as_deref() == group;
    let mut before = 0;
    let mut any = false;
    for entry in told.entries.iter().filter(is_meant) {
        if entry.at_ms < before {
            out.push_str("-- the clock was set back --\n");
        }
        before = entry.at_ms;
        any = true;
        wrapped(
            &mut out,
            &format!("{} ", time(entry.at_ms, zone)),
            &words(entry, zone),
        );
    }
    if !any {
        out.push_str("nothing yet\n");
    }
    out
}

/// An entry without its time.
pub(crate) fn words(entry: &Entry, zone: &TimeZone) -> String {
    let Entry {
        member,
        group,
        text,
        why,
        rule,
        ..
    } = entry;
    let mut line = match group {
        Some(group) => format!("{member} {group}: {text}"),
        None => format!("{member}: {text}"),
    };
    if let Some(why) = why {
        line += &format!(", because {why}");
    }
    if let Some(rule) = rule {
        line += &format!(" ({rule})");
    }
    if let Some(last) = entry.last_ms {
        line += &format!(" [{} times, the last at {}]", entry.times, time(last, zone));
    }
    line
}

/// `2026-11-28 14:02:11.250`
pub(crate) fn time(ms: u64, zone: &TimeZone) -> String {
    let at = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match at {
        Some(at) => format!("{:.3}", zone.to_datetime(at)).replace('T', " "),
        None => format!("{ms} ms"), // no year that anybody could read
    }
}

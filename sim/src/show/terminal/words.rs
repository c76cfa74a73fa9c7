//! Members and steps, put into words.

use super::text::TIE;
use crate::liveness::Liveness;
use crate::show::story::Story;

/// A member's name; `?` if there is no such member.
pub(super) fn name(story: &Story, member: usize) -> &str {
    story.members.get(member).map_or("?", String::as_str)
}

/// A time, or a span of it.
pub(super) fn time(story: &Story, at: u64) -> String {
    format!("{at}{TIE}{}", story.unit).trim_end().to_owned()
}

/// `a and b`, `a, b and c`.
pub(super) fn names(story: &Story, members: &[usize]) -> String {
    let names: Vec<&str> = members.iter().map(|m| name(story, *m)).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => "nobody".to_owned(),
    }
}

/// How many hold, for a heading.
pub(super) fn count(holders: usize) -> String {
    match holders {
        2 => "two hold".to_owned(),
        3 => "three hold".to_owned(),
        n => format!("{n} hold"),
    }
}

/// A process that does not run.
pub(super) fn process(process: Liveness) -> Option<&'static str> {
    match process {
        Liveness::Up => None,
        Liveness::Paused => Some("paused"),
        Liveness::Down => Some("down"),
    }
}

/// What is left of a lease.
pub(super) fn lease(story: &Story, left: u64) -> String {
    format!("lease {}", time(story, left))
}

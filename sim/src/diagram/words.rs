//! Members and steps, put into words.

use super::text::TIE;
use crate::liveness::Liveness;
use crate::story::{Lane, Message, Step, Story};

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

/// All that is known of a step, in lines.
pub(super) fn step(story: &Story, step: &Step) -> Vec<String> {
    let mut lines = vec![headline(story, step)];
    let of = |m: &Message| {
        let (from, to) = (name(story, m.from), name(story, m.to));
        format!("#{} {from} → {to}: {}", m.id, m.says)
    };
    lines.extend(step.received.iter().map(|m| format!("received {}", of(m))));
    lines.extend(step.reports.iter().map(|r| format!("reported {r}")));
    lines.extend(step.sent.iter().map(|m| format!("sent {}", of(m))));
    let members = story.members.iter().zip(&step.lanes);
    lines.extend(members.map(|(name, l)| format!("{name}: {}", lane(story, l))));
    lines
}

fn headline(story: &Story, step: &Step) -> String {
    let who = step.member.map_or("", |m| name(story, m));
    let fault = if step.fault {
        " (fault or command)"
    } else {
        ""
    };
    let what = match (&step.what, &step.received) {
        (what, _) if !what.is_empty() => what,
        (_, Some(message)) => &format!("hears {}", name(story, message.from)),
        (_, None) => "time passes",
    };
    let line = format!("{} {who} {what}{fault}", time(story, step.at));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A member at one moment, in a line.
pub(super) fn lane(story: &Story, lane: &Lane) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(process(lane.process).map(str::to_owned));
    if !lane.role.is_empty() {
        words.push(lane.role.clone());
    }
    if lane.quarantined {
        words.push("quarantined".to_owned());
    }
    words.extend(lane.lease_left.map(|left| lease(story, left)));
    words.push(if lane.effective {
        format!(
            "effective, for {} by itself",
            time(story, lane.effective_left)
        )
    } else {
        "mute".to_owned()
    });
    words.extend(lane.vote.map(|to| {
        let left = time(story, lane.vote_left);
        format!("vote bound to {} for {left}", name(story, to))
    }));
    words.join(", ")
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

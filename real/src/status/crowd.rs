//! What the text of the status says where there is more than a person reads: many groups, or many
//! addresses in one. `--json` has all of it.

use super::{GroupStatus, PeerStatus, Status};
use crate::status::text::ago;
use std::collections::BTreeMap;

/// Of more groups than this each has a row and nothing else, unless there is something to say of it.
const GROUPS: usize = 16;
/// More addresses than this are not listed.
const ADDRESSES: usize = 16;
/// So many of what is not listed are named.
const NAMED: usize = 3;

/// Whether there are many groups.
pub(super) fn is_crowd(s: &Status) -> bool {
    s.groups.len() > GROUPS
}

/// Addresses, separated by commas; of many, the first ones.
pub(super) fn addresses<'a>(all: impl ExactSizeIterator<Item = &'a String>) -> String {
    let (many, count) = (all.len() > ADDRESSES, all.len());
    let named = all.take(if many { NAMED } else { count });
    let named: Vec<&str> = named.map(String::as_str).collect();
    let more = match many {
        true => format!(" and {} more", count - NAMED),
        false => String::new(),
    };
    format!("{}{more}", named.join(", "))
}

/// The alarms; of many groups, what is said of several in the same words is said once.
pub(super) fn alarms(s: &Status) -> Vec<String> {
    if !is_crowd(s) {
        return s.alarms.clone();
    }
    let said = s.alarms.iter().map(|alarm| match alarm.split_once(": ") {
        Some((name, what)) if s.groups.iter().any(|g| g.name == name) => (what, Some(name)),
        _ => (alarm.as_str(), None),
    });
    once(said)
}

/// What a peer lacks, group by group; of many groups, what it lacks of several is said once.
pub(super) fn lacks(s: &Status, p: &PeerStatus) -> Vec<String> {
    let all = p.lacks.iter().chain(&p.orders);
    if !is_crowd(s) {
        let each = all.map(|l| format!("{}: {} (for {})", l.group, l.why, ago(l.for_ms)));
        return each.collect();
    }
    once(all.map(|lack| (lack.why.as_str(), Some(lack.group.as_str()))))
}

/// What each was said of, in the order in which it was first said.
fn once<'a>(said: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<String> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (what, of) in said {
        let place = *places.entry(what).or_insert_with(|| {
            all.push((what, Vec::new()));
            all.len() - 1
        });
        all[place].1.extend(of);
    }
    let line = |(what, of): (&str, Vec<&str>)| match (of.len(), of.get(..NAMED)) {
        (0, _) => what.to_owned(),
        (n, Some(first)) if n > NAMED => {
            format!("{} and {} more: {what}", first.join(", "), n - NAMED)
        }
        _ => format!("{}: {what}", of.join(", ")),
    };
    all.into_iter().map(line).collect()
}

/// What a peer says that it is for each group; of many groups, for how many.
pub(super) fn says(s: &Status, p: &PeerStatus) -> Vec<String> {
    let of = |says: &super::SaysStatus| match (says.holds, says.mute, says.ready) {
        (true, true, _) => "holds, mute",
        (true, false, _) => "holds",
        (false, _, true) => "ready",
        (false, _, false) => "not ready",
    };
    let all = p.says.iter().filter(|_| !p.witness);
    if !is_crowd(s) {
        return all
            .map(|says| format!("{}: {}", says.group, of(says)))
            .collect();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for says in all {
        *counts.entry(of(says)).or_default() += 1;
    }
    let count = |(what, n): (&str, usize)| format!("{what}: {n} groups");
    counts.into_iter().map(count).collect()
}

/// Whether a group of many has lines of its own.
pub(super) fn stands_out(g: &GroupStatus) -> bool {
    g.checks.iter().any(|c| c.passing != Some(true)) || g.hooks.iter().any(|h| h.failures > 0)
}

//! What happened to a cluster, as one of its members saw it: who held what and why, what operators
//! ordered, which daemons came and went. For people who ask afterwards: no rule reads it, and no
//! turn waits for the disk that it is kept on.

mod file;
mod keeper;
mod text;

pub use file::read;
pub use keeper::Keeper;
pub use text::lines;
pub(crate) use text::time;
#[cfg(test)]
pub(crate) use text::words;

use crate::control::session::bounded_line;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most entries of each weight that are kept of a cluster, if the daemon does not serve very many.
pub const MOST: usize = 100;
/// The longest text.
const MAX_TEXT: usize = 400;
/// The longest name.
const MAX_NAME: usize = 64;

/// The event of a change of role.
pub const ROLE: &str = "role";
/// The event of a release that the kernel has confirmed.
pub const RELEASED: &str = "released";
/// The event of a daemon that starts.
pub const STARTED: &str = "started";
/// The event of a daemon that stops in order.
pub const STOPPING: &str = "stopping";
/// The event of a daemon that goes on in another program.
pub const UPGRADED: &str = "upgraded";
/// The end of the text of a member that has let go, until its kernel has confirmed it.
const RELEASING: &str = "→ releasing";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by this host's wall clock: milliseconds since 1970. Entries are in the order in which
    /// things happened, also when that clock is set back.
    pub at_ms: u64,
    /// To which member.
    pub member: String,
    /// In which group, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its kind, in one word.
    pub event: Cow<'static, str>,
    /// What, for people.
    pub text: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// By which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// It is what another member said, or what was seen of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
    /// It does not push out the changes of roles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub light: bool,
    /// How often it happened in a row.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// When it happened last, if more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<u64>,
}

const fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
const fn is_once(times: &u32) -> bool {
    *times == 1
}

impl Entry {
    /// Something that happens to `member`: whoever keeps it says when.
    #[must_use]
    pub fn new(member: impl Into<String>, event: &'static str, text: impl Into<String>) -> Self {
        Self {
            at_ms: 0,
            member: member.into(),
            group: None,
            event: Cow::Borrowed(event),
            text: text.into(),
            why: None,
            rule: None,
            seen: false,
            light: false,
            times: 1,
            last_ms: None,
        }
    }

    /// In this group.
    #[must_use]
    pub fn of(self, group: impl Into<String>) -> Self {
        Self {
            group: Some(group.into()),
            ..self
        }
    }

    /// For this reason.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self {
            why: Some(why.into()),
            ..self
        }
    }

    /// By this rule.
    #[must_use]
    pub fn by(self, rule: &str) -> Self {
        Self {
            rule: Some(rule.to_owned()),
            ..self
        }
    }

    /// It was seen of another member.
    #[must_use]
    pub fn seen(self) -> Self {
        Self { seen: true, ..self }
    }

    /// It matters less than a change of role.
    #[must_use]
    pub fn light(self) -> Self {
        Self {
            light: true,
            ..self
        }
    }

    /// In one line each, and of a bounded length.
    fn bounded(mut self) -> Self {
        self.member = bounded_line(&self.member, MAX_NAME);
        self.group = self.group.map(|group| bounded_line(&group, MAX_NAME));
        self.text = bounded_line(&self.text, MAX_TEXT);
        self.why = self.why.map(|why| bounded_line(&why, MAX_TEXT));
        self
    }

    /// Whether another entry says the same, whatever its time and its figures.
    fn says_the_same(&self, other: &Self) -> bool {
        let said = |e: &Self| {
            let why = e.why.as_deref().unwrap_or_default();
            without_figures(&format!("{}\n{why}", e.text))
        };
        self.is_about(other) && self.event == other.event && said(self) == said(other)
    }

    fn is_about(&self, other: &Self) -> bool {
        (&self.member, &self.group) == (&other.member, &other.group)
    }
}

/// A member's history, as the daemon tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Of which cluster.
    pub cluster: String,
    /// By which member.
    pub member: String,
    /// The oldest first.
    pub entries: Vec<Entry>,
    /// Why a restart forgets them, if so.
    #[serde(default)]
    pub not_kept: Option<String>,
}

/// The text without its numbers: what lasts for 7 s is the same as what lasts for 8 s.
pub(crate) fn without_figures(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// The last that happened, in order. A copy of it is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: VecDeque<Arc<Entry>>,
}

impl History {
    /// All entries, the oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(Arc::as_ref)
    }

    /// One more; it is counted with the one before it if that says the same. `most` of each weight
    /// are kept.
    pub fn add(&mut self, entry: Entry, most: usize) {
        let entry = entry.bounded();
        let of_weight = |e: &Arc<Entry>| e.light == entry.light;
        let latest = self.entries.iter().rposition(of_weight);
        if let Some(same) = latest.filter(|n| self.entries[*n].says_the_same(&entry)) {
            let first = Arc::make_mut(&mut self.entries[same]);
            first.times = first.times.saturating_add(1);
            first.last_ms = Some(entry.at_ms);
            return;
        }
        // Of a release only the begin and its reason are of interest, once it is over.
        if entry.event == RELEASED
            && let Some(begun) = self.last_of(&entry)
            && let Some(from) = self.entries[begun].text.strip_suffix(RELEASING)
        {
            let text = format!("{from}→ standby");
            Arc::make_mut(&mut self.entries[begun]).text = text;
            return;
        }
        let light = entry.light;
        self.entries.push_back(Arc::new(entry));
        self.bound(light, most);
    }

    /// Where the latest entry is that is about the same member and group, and has the same weight.
    fn last_of(&self, entry: &Entry) -> Option<usize> {
        let is_it = |e: &Arc<Entry>| e.is_about(entry) && e.light == entry.light;
        self.entries.iter().rposition(is_it)
    }

    /// Those of earlier incarnations come before all that are here.
    fn take_up(&mut self, earlier: Vec<Entry>, most: usize) {
        let turned = |e: &&Entry| !e.seen && (e.event == STARTED || e.event == STOPPING);
        let last = earlier.iter().rev().find(turned);
        let killed = last.is_some_and(|e| e.event == STARTED);
        let mut own = self.entries.iter_mut();
        if let Some(start) = own.find(|e| !e.seen && e.event == STARTED)
            && killed
        {
            let why =
                "the incarnation before did not stop in order: it was killed, or the power failed";
            Arc::make_mut(start).why = Some(why.to_owned());
        }
        for entry in earlier.into_iter().rev() {
            self.entries.push_front(Arc::new(entry.bounded()));
        }
        self.bound(false, most);
        self.bound(true, most);
    }

    fn bound(&mut self, light: bool, most: usize) {
        let count = self.entries.iter().filter(|e| e.light == light).count();
        let mut excess = count.saturating_sub(most);
        self.entries.retain(|e| {
            let drop = e.light == light && excess > 0;
            excess -= usize::from(drop);
            !drop
        });
    }
}

#[cfg(test)]
mod tests;

//! What the operator says with an order that stands: why, who, when, and until when. For people; of
//! `until`, the instant is compared with this host's wall clock, and no rule reads it.
//!
//! An end is kept as a time of the wall clock, so that it survives a reboot. It is judged by what
//! that clock says while the daemon runs: a clock that is stepped over the end ends the order, one
//! that is stepped back prolongs it, and a machine that boots without a clock keeps the order until
//! its clock is set.

use super::Standing;
use crate::control::session::bounded_line;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The orders that stand for one group, with what was said of each.
pub type Standings = BTreeMap<Standing, Said>;

/// How a line for people begins that is about an order.
pub const SAID: &str = "the operator said ";

/// The longest name, and the longest time in words.
const MAX_WORDS: usize = 40;
/// The longest reason, in bytes.
pub const MAX_REASON: usize = 100;

/// What the operator said with an order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Said {
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When, as the operator's clock showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// When the order ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When an order ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Until {
    /// Seconds of the wall clock since 1970.
    pub unix: u64,
    /// The same as the operator reads it.
    pub text: String,
}

impl Said {
    /// The same as it is shown and kept: printable, in lines that are not too long.
    #[must_use]
    pub fn bounded(self) -> Self {
        let line = |text: Option<String>, most| {
            let text = text.map(|text| bounded_line(&text, most));
            text.filter(|text| !text.is_empty())
        };
        Self {
            by: line(self.by, MAX_WORDS),
            at: line(self.at, MAX_WORDS),
            until: self.until.map(|until| Until {
                text: bounded_line(&until.text, MAX_WORDS),
                ..until
            }),
            reason: line(self.reason, MAX_REASON),
        }
    }

    /// Nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the order ends by itself, at the latest at this time of the wall clock.
    #[must_use]
    pub fn is_over(&self, wall: u64) -> bool {
        self.until.as_ref().is_some_and(|until| until.unix <= wall)
    }

    /// `until 2026-11-29 06:00 CET`; empty, if it has no end.
    #[must_use]
    pub fn until_text(&self) -> String {
        let until = self.until.as_ref();
        until.map_or_else(String::new, |until| format!(" until {}", until.text))
    }

    /// An order in words, with its remedy.
    #[must_use]
    pub fn in_words(&self, order: Standing) -> String {
        let remedy = match order {
            Standing::Standby => "`onehold resume` ends it",
            Standing::Switch => "`onehold resume` lets it come back",
            Standing::Freeze => "nothing moves by itself until `onehold thaw`",
        };
        let until = self.until_text();
        let reason = self.reason.iter().map(|reason| format!(": {reason}"));
        let reason: String = reason.collect();
        let said: Vec<&str> = [&self.by, &self.at]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let who = match said.is_empty() {
            true => String::new(),
            false => format!("{}, ", said.join(", ")),
        };
        format!("{SAID}{order}{until}{reason} ({who}{remedy})")
    }
}

/// Whether a line of a note is about orders alone, of a member that could hold all the same.
#[must_use]
pub fn is_no_lack(line: &str) -> bool {
    let said = line.strip_prefix(SAID);
    let orders = [Standing::Switch, Standing::Freeze].map(|order| order.to_string());
    said.is_some_and(|rest| orders.iter().any(|order| rest.starts_with(order)))
}

/// Adds what stands in `more` and not in `all`.
pub(super) fn add(all: &mut Standings, more: &Standings) {
    for (order, said) in more {
        all.entry(*order).or_insert_with(|| said.clone());
    }
}

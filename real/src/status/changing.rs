//! A configuration that is coming into force, for people.

use super::{GroupStatus, hex, ms, name, text};
use onehold_core::advert::Change;
use onehold_core::config::Config;
use onehold_core::observe::{RoleName, Snapshot};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the configuration is being changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeStatus {
    /// Digest of the other configuration.
    pub other: String,
    /// It was in force before, and this member's new one is now; otherwise it is to come into force.
    pub in_force: bool,
    /// The members for which the next step waits, by name.
    pub waits_for: Vec<String>,
    /// Those of them that are not heard.
    pub silent: Vec<String>,
    /// The groups for which the next step waits here.
    #[serde(default)]
    pub under_way: Vec<UnderWay>,
}

/// A group that keeps a step from being taken: its kernel has to confirm something by its number, or its lease
/// is longer than other members are to grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnderWay {
    /// Its name.
    pub group: String,
    /// `releasing`; `opening`: it is held, and its gate waits for `before_hold`; or `lease`.
    pub what: String,
    /// For how long, if that is known.
    pub for_ms: Option<f64>,
}

impl UnderWay {
    fn of(g: &GroupStatus, config: &Config) -> Option<Self> {
        let most = ms(config.timing().lease());
        let longer = g.lease_left_ms.is_some_and(|left| left > most) && config.comes_to_others();
        let releasing = RoleName::Releasing.text();
        let (what, for_ms) = match (g.role == releasing, g.opening) {
            (true, _) => {
                let since = g.last_change.as_ref().filter(|c| c.to == releasing);
                (releasing, since.map(|c| c.ago_ms))
            }
            (false, true) => ("opening", g.opening_ms),
            (false, false) if longer => ("lease", None),
            (false, false) => return None,
        };
        Some(Self {
            group: g.name.clone(),
            what: what.to_owned(),
            for_ms,
        })
    }
}

impl fmt::Display for UnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = &self.group;
        match self.what.as_str() {
            "opening" => write!(f, "before_hold of {group} here")?,
            "lease" => write!(
                f,
                "the lease of {group} here, which is longer than the new one"
            )?,
            _ => write!(f, "the release of {group} here")?,
        }
        match self.for_ms {
            Some(ms) => write!(f, ", for {}", text::ago(ms)),
            None => Ok(()),
        }
    }
}

impl ChangeStatus {
    pub(super) fn from_parts(
        snapshot: &Snapshot,
        config: &Config,
        groups: &[GroupStatus],
    ) -> Option<Self> {
        let (other, in_force) = match config.change() {
            Change::None => return None,
            Change::Toward(other) => (other, false),
            Change::From(other) => (other, true),
        };
        let heard = |id| snapshot.peers.iter().any(|p| p.member == id && p.two_way);
        let waits_for = snapshot.waits_for.iter().copied();
        let silent = waits_for.clone().filter(|id| !heard(*id));
        Some(Self {
            other: hex(other.0),
            in_force,
            silent: silent.map(|id| name(config, id)).collect(),
            waits_for: waits_for.map(|id| name(config, id)).collect(),
            under_way: (groups.iter())
                .filter_map(|g| UnderWay::of(g, config))
                .collect(),
        })
    }
}

impl fmt::Display for ChangeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |name: &String| match self.silent.contains(name) {
            true => format!("{name} (not heard)"),
            false => name.clone(),
        };
        let who = self.waits_for.iter().map(who);
        let all: Vec<String> = who
            .chain(self.under_way.iter().map(ToString::to_string))
            .collect();
        let what = match self.in_force {
            false => "the new file comes into force when every member has it",
            true => "the new file is in force here, and waits until it is on every member",
        };
        match &all[..] {
            [] => write!(f, "{what} (R-22)"),
            all => write!(f, "{what}; waits for {} (R-22)", all.join(", ")),
        }
    }
}

//! What is known of every check and hook: written by their tasks, read by the session.

use crate::clock::boottime;
use crate::config_file::hooks::Which;
use crate::control::session::{CheckReport, GroupHealth, HookReport};
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A group: its cluster's name and its own.
pub(super) type Place = (String, String);

/// The board.
#[derive(Clone, Debug)]
pub(super) struct Board {
    groups: Arc<Mutex<BTreeMap<Place, Group>>>,
    changed: watch::Sender<()>,
}

/// What is known of a group.
#[derive(Clone, Debug, Default)]
struct Group {
    checks: BTreeMap<String, Check>,
    hooks: BTreeMap<Which, Hook>,
}

/// What is known of a check.
#[derive(Clone, Debug)]
struct Check {
    passing: Option<bool>,
    since: LocalTime,
    said: String,
}

/// What is known of a hook.
#[derive(Clone, Debug)]
struct Hook {
    failures: u32,
    ended: LocalTime,
    said: String,
}

impl Board {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self {
            groups: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<Place, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports every change of a result.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// There are these groups, and these checks and hooks of them; what was known of others is
    /// forgotten.
    pub(super) fn keep(&self, all: &BTreeMap<Place, (Vec<String>, Vec<Which>)>) {
        let mut groups = self.groups();
        groups.retain(|place, _| all.contains_key(place));
        for (place, (checks, hooks)) in all {
            let group = groups.entry(place.clone()).or_default();
            group.checks.retain(|name, _| checks.contains(name));
            group.hooks.retain(|which, _| hooks.contains(which));
            for name in checks {
                group
                    .checks
                    .entry(name.clone())
                    .or_insert_with(Check::unknown);
            }
        }
        drop(groups);
        self.changed.send_replace(());
    }

    /// A check starts again.
    pub(super) fn begins(&self, place: &Place, check: &str) {
        let mut groups = self.groups();
        let group = groups.entry(place.clone()).or_default();
        group.checks.insert(check.to_owned(), Check::unknown());
    }

    /// A check was looked at.
    pub(super) fn looked(&self, place: &Place, check: &str, passing: Option<bool>, said: String) {
        let mut groups = self.groups();
        let group = groups.entry(place.clone()).or_default();
        let known = group
            .checks
            .entry(check.to_owned())
            .or_insert_with(Check::unknown);
        let news = known.passing != passing;
        if news {
            known.passing = passing;
            known.since = boottime();
        }
        known.said = said;
        drop(groups);
        if news {
            self.changed.send_replace(());
        }
    }

    /// A hook ended: how often in a row it has failed by now.
    pub(super) fn ran(&self, place: &Place, which: Which, failures: u32, said: String) {
        let hook = Hook {
            failures,
            ended: boottime(),
            said,
        };
        let mut groups = self.groups();
        groups
            .entry(place.clone())
            .or_default()
            .hooks
            .insert(which, hook);
        drop(groups);
        self.changed.send_replace(());
    }

    /// All of it.
    pub(super) fn report(&self) -> Vec<GroupHealth> {
        let now = boottime();
        let since = |at: LocalTime| now.since(at).as_nanos() / 1_000_000;
        let groups = self.groups();
        let report = |((cluster, name), group): (&Place, &Group)| GroupHealth {
            cluster: cluster.clone(),
            group: name.clone(),
            healthy: group.healthy(),
            checks: (group.checks.iter())
                .map(|(name, check)| CheckReport {
                    name: name.clone(),
                    passing: check.passing,
                    since_ms: since(check.since),
                    said: check.said.clone(),
                })
                .collect(),
            hooks: (group.hooks.iter())
                .map(|(which, hook)| HookReport {
                    name: which.name().to_owned(),
                    failures: hook.failures,
                    since_ms: since(hook.ended),
                    said: hook.said.clone(),
                })
                .collect(),
        };
        groups.iter().map(report).collect()
    }
}

impl Check {
    fn unknown() -> Self {
        Self {
            passing: None,
            since: boottime(),
            said: String::new(),
        }
    }
}

impl Group {
    /// One that fails is enough to be sick; to be healthy, all must be known to pass.
    fn healthy(&self) -> Option<bool> {
        let mut all = self.checks.values().map(|check| check.passing);
        if all.clone().any(|passing| passing == Some(false)) {
            return Some(false);
        }
        all.all(|passing| passing == Some(true)).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_healthy_when_all_is_known_to_pass_and_sick_when_anything_fails() {
        let board = Board::new();
        let place = ("pair".to_owned(), "web".to_owned());
        let names = vec!["a".to_owned(), "b".to_owned()];
        let known = |names: Vec<String>| [(place.clone(), (names, Vec::new()))].into();
        let healthy = || board.report()[0].healthy;
        board.keep(&known(names));
        assert_eq!(healthy(), None);
        board.looked(&place, "a", Some(true), String::new());
        assert_eq!(healthy(), None);
        board.looked(&place, "b", Some(false), String::new());
        assert_eq!(healthy(), Some(false));
        board.begins(&place, "a");
        assert_eq!(healthy(), Some(false));
        board.keep(&known(vec!["a".to_owned()]));
        assert_eq!(healthy(), None);
        board.keep(&known(Vec::new()));
        assert_eq!(healthy(), Some(true));
        board.keep(&BTreeMap::new());
        assert_eq!(board.report(), []);
    }
}

//! the gate of a new hold waits for `before_hold`, at most until that hook's deadline,
//! whatever becomes of the agent.

use super::changing::Places;
use super::cooldowns::Notice;
use crate::upgrade::pairs;
use onehold_core::advert::GroupId;
use onehold_core::input::Input;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The addresses of a group that waits are renewed this often, for the kernel drops them otherwise.
const RENEW_AFTER: Span = Span::from_millis(1_000);

/// What a group waits for before its gate opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeforeHold {
    /// How long at most.
    pub deadline: Span,
    /// What follows when it fails, or is late.
    pub failing: Failing,
}

/// What follows when `before_hold` fails, or is not done at its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Failing {
    /// The gate opens all the same.
    #[default]
    Open,
    /// The member lets go, and the other candidate may try.
    Release,
}

/// The groups that wait, and the health of all that were reported.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Openings {
    /// While there are some, no other program goes on with the rest.
    #[serde(skip)]
    waiting: BTreeMap<(usize, u8), Waiting>,
    #[serde(with = "pairs")]
    health: BTreeMap<(usize, u8), Health>,
}

/// What makes a group healthy here: its service, and its last `before_hold`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    /// What the shell reported last.
    service: Result<(), String>,
    /// Why `before_hold` failed, if the group was let go for that.
    unprepared: Option<String>,
}

impl Health {
    fn notice(&self, group: GroupId) -> Notice {
        let why = match (&self.service, &self.unprepared) {
            (Err(why), _) => Some(why.clone()),
            (Ok(()), Some(why)) => Some(format!(
                "{why}; the other candidate is preferred while it holds, or until `onehold resume` here"
            )),
            (Ok(()), None) => None,
        };
        let healthy = why.is_none();
        (Input::Health { group, healthy }, why)
    }
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    policy: BeforeHold,
    since: LocalTime,
    renew_at: LocalTime,
}

/// What is due for a group that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Its addresses are renewed, mute.
    Renew,
    /// Its deadline is over; in words.
    Late(String),
}

impl Openings {
    /// the groups of a cluster have other numbers. None waits now.
    pub(super) fn renumber(&mut self, cluster: usize, places: &Places) {
        places.renumber_of(cluster, &mut self.health);
    }

    /// A group begins to wait.
    pub fn begin(&mut self, now: LocalTime, cluster: usize, group: GroupId, policy: BeforeHold) {
        let waiting = Waiting {
            policy,
            since: now,
            renew_at: now.plus(RENEW_AFTER),
        };
        self.waiting.insert((cluster, group.0), waiting);
    }

    /// The group waits no more: it opens, or was let go.
    pub fn end(&mut self, cluster: usize, group: GroupId) {
        self.waiting.remove(&(cluster, group.0));
    }

    /// A cluster is not served any more.
    pub fn forget(&mut self, cluster: usize) {
        self.waiting.retain(|(of, _), _| *of != cluster);
        self.health.retain(|(of, _), _| *of != cluster);
    }

    /// Whether the gate of a waiting group opens when `before_hold` ended so; `None` if it does not
    /// wait.
    #[must_use]
    pub fn opens(&self, cluster: usize, group: GroupId, done: bool) -> Option<bool> {
        let waiting = self.waiting.get(&(cluster, group.0))?;
        Some(done || waiting.policy.failing == Failing::Open)
    }

    fn health(&mut self, cluster: usize, group: GroupId) -> &mut Health {
        let entry = self.health.entry((cluster, group.0));
        entry.or_insert(Health {
            service: Ok(()),
            unprepared: None,
        })
    }

    /// The shell reports how the service of a group is.
    pub fn reported(
        &mut self,
        cluster: usize,
        group: GroupId,
        service: Result<(), String>,
    ) -> Notice {
        let health = self.health(cluster, group);
        health.service = service;
        health.notice(group)
    }

    /// `before_hold` failed: until it can be done here the other candidate is the better one; else
    /// the address would move to and fro.
    pub fn failed(&mut self, cluster: usize, group: GroupId, why: String) -> Notice {
        let health = self.health(cluster, group);
        health.unprepared = Some(why);
        health.notice(group)
    }

    /// `before_hold` succeeded, the operator said `resume`, or nobody holds.
    pub fn forgive(&mut self, cluster: usize, group: GroupId) -> Option<Notice> {
        let health = self.health.get_mut(&(cluster, group.0))?;
        health.unprepared.take().map(|_| health.notice(group))
    }

    /// The groups for which `before_hold` failed, with their clusters.
    #[must_use]
    pub fn unprepared(&self) -> Vec<(usize, GroupId)> {
        let failed = self.health.iter().filter(|(_, h)| h.unprepared.is_some());
        failed
            .map(|(&(cluster, group), _)| (cluster, GroupId(group)))
            .collect()
    }

    /// Whether a group waits.
    pub(super) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Self::take_due`] next has something.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        let next = |w: &Waiting| w.renew_at.min(w.since.plus(w.policy.deadline));
        self.waiting.values().map(next).min()
    }

    /// A group for which something is due, and its cluster.
    pub fn take_due(&mut self, now: LocalTime) -> Option<(usize, GroupId, Due)> {
        self.waiting
            .iter_mut()
            .find_map(|(&(cluster, group), waiting)| {
                let deadline = waiting.policy.deadline;
                let due = if waiting.since.plus(deadline) <= now {
                    Due::Late(format!("it is not done after {deadline}"))
                } else if waiting.renew_at <= now {
                    Due::Renew
                } else {
                    return None;
                };
                waiting.renew_at = now.plus(RENEW_AFTER);
                Some((cluster, GroupId(group), due))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: GroupId = GroupId(0);

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    fn waiting(failing: Failing) -> Openings {
        let mut openings = Openings::default();
        let deadline = Span::from_millis(5_000);
        openings.begin(at(0), 0, WEB, BeforeHold { deadline, failing });
        openings
    }

    #[test]
    fn r19_a_gate_waits_until_its_deadline_and_its_addresses_are_renewed() {
        let mut openings = waiting(Failing::Open);
        assert_eq!(openings.due(), Some(at(1_000)));
        assert_eq!(openings.take_due(at(999)), None);
        assert_eq!(openings.take_due(at(1_000)), Some((0, WEB, Due::Renew)));
        assert_eq!(openings.take_due(at(1_000)), None);
        assert_eq!(openings.due(), Some(at(2_000)));
        let Some((0, WEB, Due::Late(why))) = openings.take_due(at(5_000)) else {
            panic!("it is late");
        };
        assert_eq!(why, "it is not done after 5s");
        openings.end(0, WEB);
        assert_eq!(openings.due(), None);
    }

    #[test]
    fn r19_where_it_failed_the_group_is_not_healthy_until_it_is_done_or_forgiven() {
        let mut openings = Openings::default();
        let told = |healthy, why: Option<&str>| {
            let input = Input::Health {
                group: WEB,
                healthy,
            };
            (input, why.map(str::to_owned))
        };
        assert_eq!(openings.reported(0, WEB, Ok(())), told(true, None));
        assert_eq!(
            openings.forgive(0, WEB),
            None,
            "there is nothing to forgive"
        );
        let why =
            "no; the other candidate is preferred while it holds, or until `onehold resume` here";
        assert_eq!(openings.failed(0, WEB, "no".into()), told(false, Some(why)));
        let sick = openings.reported(0, WEB, Err("sick".into()));
        assert_eq!(sick, told(false, Some("sick")));
        assert_eq!(openings.reported(0, WEB, Ok(())), told(false, Some(why)));
        assert_eq!(openings.forgive(0, WEB), Some(told(true, None)));
        assert_eq!(openings.reported(0, WEB, Ok(())), told(true, None));
    }

    #[test]
    fn r19_the_file_says_what_failing_means() {
        for (failing, opens) in [(Failing::Open, true), (Failing::Release, false)] {
            let openings = waiting(failing);
            assert_eq!(openings.opens(0, WEB, true), Some(true));
            assert_eq!(openings.opens(0, WEB, false), Some(opens));
            assert_eq!(
                openings.opens(0, GroupId(1), true),
                None,
                "it does not wait"
            );
            assert_eq!(openings.opens(1, WEB, true), None);
        }
    }
}

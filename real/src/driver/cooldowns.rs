//! a hold that failed is not tried again at once, but after a cool-down, which is longer each
//! time. Until then the group counts as not eligible, and the other candidate can have it.

use super::changing::Places;
use crate::pace::Cooldown;
use crate::upgrade::pairs;
use onehold_core::advert::GroupId;
use onehold_core::input::Input;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A node's input, and for people: why it is negative.
pub type Notice = (Input, Option<String>);

/// The groups that were reported, or whose hold failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cooldowns {
    #[serde(with = "pairs")]
    groups: BTreeMap<(usize, u8), Group>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// What the shell reported last: whether the group could be held, or why not.
    eligible: Result<(), String>,
    cooldown: Cooldown,
    /// When a hold that failed may be tried again.
    again: Option<LocalTime>,
}

impl Group {
    /// The node's input: what the shell reported last.
    fn notice(&self, group: GroupId) -> Notice {
        let (eligible, why) = (self.eligible.is_ok(), self.eligible.clone().err());
        (Input::Eligible { group, eligible }, why)
    }
}

impl Cooldowns {
    /// the groups of a cluster have other numbers.
    pub(super) fn renumber(&mut self, cluster: usize, places: &Places) {
        places.renumber_of(cluster, &mut self.groups);
    }

    fn of(&mut self, cluster: usize, group: GroupId) -> &mut Group {
        let entry = self.groups.entry((cluster, group.0));
        entry.or_insert_with(|| Group {
            eligible: Ok(()),
            cooldown: Cooldown::default(),
            again: None,
        })
    }

    /// A hold failed: returns when it may be tried again. One that was tried before the driver knew
    /// of the last refusal lengthens nothing.
    pub fn refused(&mut self, now: LocalTime, cluster: usize, group: GroupId) -> LocalTime {
        let entry = self.of(cluster, group);
        if let Some(again) = entry.again.filter(|again| now < *again) {
            return again;
        }
        entry.cooldown.refused(now);
        let again = entry.cooldown.until(now).unwrap_or(now);
        entry.again = Some(again);
        again
    }

    /// The shell reports whether a group could be held. During a cool-down it can't be, whatever is
    /// reported.
    pub fn reported(
        &mut self,
        cluster: usize,
        group: GroupId,
        eligible: Result<(), String>,
    ) -> Option<Notice> {
        let entry = self.of(cluster, group);
        entry.eligible = eligible;
        let cools = entry.again.is_some() && entry.eligible.is_ok();
        (!cools).then(|| entry.notice(group))
    }

    /// What a refusal may depend on has changed: the cool-down is over, and the next is a short
    /// one.
    pub fn changed(&mut self, cluster: usize, group: GroupId) -> Option<Notice> {
        let entry = self.of(cluster, group);
        entry.cooldown.start_again();
        entry.again.take().map(|_| entry.notice(group))
    }

    /// A cluster is not served any more.
    pub fn forget(&mut self, cluster: usize) {
        self.groups.retain(|(of, _), _| *of != cluster);
    }

    /// A cool-down is not over.
    #[must_use]
    pub fn cools(&self, cluster: usize, group: GroupId) -> bool {
        let entry = self.groups.get(&(cluster, group.0));
        entry.is_some_and(|entry| entry.again.is_some())
    }

    /// When [`Self::take_due`] next has something.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        self.groups.values().filter_map(|h| h.again).min()
    }

    /// A group whose cool-down is over: its cluster and the node's input.
    pub fn take_due(&mut self, now: LocalTime) -> Option<(usize, Notice)> {
        self.groups
            .iter_mut()
            .find_map(|(&(cluster, group), entry)| {
                let over = entry.again.take_if(|at| *at <= now);
                over.map(|_| (cluster, entry.notice(GroupId(group))))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onehold_core::time::Span;

    const WEB: GroupId = GroupId(0);

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    fn eligible(eligible: bool) -> Input {
        let group = WEB;
        Input::Eligible { group, eligible }
    }

    #[test]
    fn r8_a_refused_hold_is_tried_again_after_a_cooldown_that_doubles() {
        let mut cooldowns = Cooldowns::default();
        assert_eq!(
            cooldowns.reported(0, WEB, Ok(())),
            Some((eligible(true), None))
        );
        for (now, again) in [(0, 1_000), (1_000, 3_000), (3_000, 7_000)] {
            assert_eq!(cooldowns.refused(at(now), 0, WEB), at(again));
            assert_eq!(cooldowns.due(), Some(at(again)));
            assert_eq!(cooldowns.reported(0, WEB, Ok(())), None, "it cools down");
            assert_eq!(cooldowns.take_due(at(again - 1)), None);
            let over = Some((0, (eligible(true), None)));
            assert_eq!(cooldowns.take_due(at(again)), over);
            assert_eq!(
                (cooldowns.take_due(at(again)), cooldowns.due()),
                (None, None)
            );
        }
    }

    #[test]
    fn r8_what_cannot_be_held_after_a_cooldown_either_is_not_eligible() {
        let mut cooldowns = Cooldowns::default();
        cooldowns.refused(at(0), 0, WEB);
        let why = "the interface is down".to_owned();
        let told = (eligible(false), Some(why.clone()));
        assert_eq!(cooldowns.reported(0, WEB, Err(why)), Some(told.clone()));
        assert_eq!(cooldowns.take_due(at(1_000)), Some((0, told)));
        assert_eq!(
            cooldowns.reported(0, WEB, Ok(())),
            Some((eligible(true), None))
        );
    }

    #[test]
    fn r8_where_what_a_refusal_depends_on_has_changed_nothing_is_waited_for() {
        let mut cooldowns = Cooldowns::default();
        assert_eq!(cooldowns.changed(0, WEB), None, "nothing was refused");
        cooldowns.refused(at(0), 0, WEB);
        assert_eq!(cooldowns.changed(0, WEB), Some((eligible(true), None)));
        assert_eq!((cooldowns.changed(0, WEB), cooldowns.due()), (None, None));
        assert_eq!(
            cooldowns.refused(at(10), 0, WEB),
            at(1_010),
            "the first again"
        );
    }

    #[test]
    fn r8_a_second_refusal_in_a_cooldown_lengthens_nothing() {
        let mut cooldowns = Cooldowns::default();
        assert_eq!(cooldowns.refused(at(0), 0, WEB), at(1_000));
        assert_eq!(cooldowns.refused(at(1), 0, WEB), at(1_000));
        assert!(cooldowns.take_due(at(1_000)).is_some());
        assert_eq!(cooldowns.refused(at(1_000), 0, WEB), at(3_000));
    }

    #[test]
    fn r8_groups_and_clusters_cool_down_by_themselves() {
        let mut cooldowns = Cooldowns::default();
        cooldowns.refused(at(0), 0, WEB);
        for (cluster, group) in [(1, WEB), (0, GroupId(1))] {
            let eligible = true;
            let told = Some((Input::Eligible { group, eligible }, None));
            assert_eq!(cooldowns.reported(cluster, group, Ok(())), told);
        }
        assert_eq!(cooldowns.reported(0, WEB, Ok(())), None);
    }
}

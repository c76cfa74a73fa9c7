//! a hold that the kernel refused is not tried again at once: until a cool-down is over, which
//! is longer each time, the group counts as not eligible, and the other candidate can have it.

use crate::pace::Cooldown;
use onehold_core::advert::GroupId;
use onehold_core::input::Input;
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;

/// A node's input, and for people: why a group is not eligible.
pub type Notice = (Input, Option<String>);

/// The groups that the shell has reported something of.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    groups: BTreeMap<(usize, u8), Holding>,
}

#[derive(Clone, Debug)]
struct Holding {
    /// What the shell reported last: whether the group could be held.
    could: Result<(), String>,
    cooldown: Cooldown,
    /// A hold was refused, and when it may be tried again.
    again: Option<LocalTime>,
}

impl Holding {
    /// What the node learns of it.
    fn notice(&self, group: GroupId) -> Notice {
        let (eligible, why) = (self.could.is_ok(), self.could.clone().err());
        (Input::Eligible { group, eligible }, why)
    }
}

impl Holds {
    fn of(&mut self, cluster: usize, group: GroupId) -> &mut Holding {
        let entry = self.groups.entry((cluster, group.0));
        entry.or_insert_with(|| Holding {
            could: Ok(()),
            cooldown: Cooldown::default(),
            again: None,
        })
    }

    /// The kernel refused a hold: says when it may be tried again.
    pub fn refused(&mut self, now: LocalTime, cluster: usize, group: GroupId) -> LocalTime {
        let holding = self.of(cluster, group);
        holding.cooldown.refused(now);
        let again = holding.cooldown.until(now).unwrap_or(now);
        holding.again = Some(again);
        again
    }

    /// The shell reports whether a group could be held. During a cool-down it can't be, whatever is
    /// reported.
    pub fn reported(
        &mut self,
        cluster: usize,
        group: GroupId,
        could: Result<(), String>,
    ) -> Option<Notice> {
        let holding = self.of(cluster, group);
        holding.could = could;
        let cools = holding.again.is_some() && holding.could.is_ok();
        (!cools).then(|| holding.notice(group))
    }

    /// What a refusal may depend on has changed: the cool-down is over, and the next one is a
    /// first.
    pub fn changed(&mut self, cluster: usize, group: GroupId) -> Option<Notice> {
        let holding = self.of(cluster, group);
        holding.cooldown.start_again();
        holding.again.take().map(|_| holding.notice(group))
    }

    /// When [`Self::take_due`] next has something.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        self.groups.values().filter_map(|h| h.again).min()
    }

    /// A group whose cool-down is over, of which cluster.
    pub fn take_due(&mut self, now: LocalTime) -> Option<(usize, Notice)> {
        self.groups
            .iter_mut()
            .find_map(|(&(cluster, group), holding)| {
                let over = holding.again.take_if(|at| *at <= now);
                over.map(|_| (cluster, holding.notice(GroupId(group))))
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
        let mut holds = Holds::default();
        assert_eq!(holds.reported(0, WEB, Ok(())), Some((eligible(true), None)));
        for (now, again) in [(0, 1_000), (1_000, 3_000), (3_000, 7_000)] {
            assert_eq!(holds.refused(at(now), 0, WEB), at(again));
            assert_eq!(holds.due(), Some(at(again)));
            assert_eq!(holds.reported(0, WEB, Ok(())), None, "it cools down");
            assert_eq!(holds.take_due(at(again - 1)), None);
            let over = Some((0, (eligible(true), None)));
            assert_eq!(holds.take_due(at(again)), over);
            assert_eq!((holds.take_due(at(again)), holds.due()), (None, None));
        }
    }

    #[test]
    fn r8_what_cannot_be_held_after_a_cooldown_either_is_not_eligible() {
        let mut holds = Holds::default();
        holds.refused(at(0), 0, WEB);
        let why = "the interface is down".to_owned();
        let told = (eligible(false), Some(why.clone()));
        assert_eq!(holds.reported(0, WEB, Err(why)), Some(told.clone()));
        assert_eq!(holds.take_due(at(1_000)), Some((0, told)));
        assert_eq!(holds.reported(0, WEB, Ok(())), Some((eligible(true), None)));
    }

    #[test]
    fn r8_where_what_a_refusal_depends_on_has_changed_nothing_is_waited_for() {
        let mut holds = Holds::default();
        assert_eq!(holds.changed(0, WEB), None, "nothing was refused");
        holds.refused(at(0), 0, WEB);
        assert_eq!(holds.changed(0, WEB), Some((eligible(true), None)));
        assert_eq!((holds.changed(0, WEB), holds.due()), (None, None));
        assert_eq!(holds.refused(at(10), 0, WEB), at(1_010), "the first again");
    }

    #[test]
    fn r8_groups_and_clusters_cool_down_by_themselves() {
        let mut holds = Holds::default();
        holds.refused(at(0), 0, WEB);
        for (cluster, group) in [(1, WEB), (0, GroupId(1))] {
            let eligible = true;
            let told = Some((Input::Eligible { group, eligible }, None));
            assert_eq!(holds.reported(cluster, group, Ok(())), told);
        }
        assert_eq!(holds.reported(0, WEB, Ok(())), None);
    }
}

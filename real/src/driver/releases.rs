//! only the kernel confirms a release; one that it refuses is tried again.

use super::changing::Places;
use onehold_core::advert::GroupId;
use onehold_core::effect::ReleaseId;
use onehold_core::input::Input;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};

/// How long after a refusal it is tried again.
const RETRY: Span = Span::from_millis(100);

/// The releases that the kernel has not confirmed: at most one for each group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// While there are some, no other program goes on with the rest.
    #[serde(skip)]
    pending: Vec<Unconfirmed>,
    /// When the latest hold of each group is over in the kernel by itself.
    over: Vec<(usize, GroupId, LocalTime)>,
}

#[derive(Clone, Debug)]
struct Unconfirmed {
    cluster: usize,
    group: GroupId,
    release: ReleaseId,
    /// When it is tried again; `None` while the kernel works on it.
    again: Option<LocalTime>,
    /// Why the kernel refused it last.
    why: Option<String>,
}

impl Releases {
    /// the groups of a cluster have other numbers. No release is pending now.
    pub(super) fn renumber(&mut self, cluster: usize, places: &Places) {
        let was = std::mem::take(&mut self.over);
        for (of, group, over) in was {
            let number = if of == cluster {
                places.now(group.0)
            } else {
                Some(group.0)
            };
            self.over.extend(number.map(|n| (of, GroupId(n), over)));
        }
    }

    /// The kernel got a deadline, and ends the hold by itself when that is `over`.
    pub fn held(&mut self, cluster: usize, group: GroupId, over: LocalTime) {
        let of = |(c, g, _): &&mut (usize, GroupId, LocalTime)| (*c, *g) == (cluster, group);
        match self.over.iter_mut().find(of) {
            Some((.., at)) => *at = over,
            None => self.over.push((cluster, group, over)),
        }
    }

    /// The kernel is asked to release a group.
    pub fn begin(&mut self, cluster: usize, group: GroupId, release: ReleaseId) {
        self.pending
            .retain(|p| (p.cluster, p.group) != (cluster, group));
        self.pending.push(Unconfirmed {
            cluster,
            group,
            release,
            again: None,
            why: None,
        });
    }

    /// The kernel's answer; returns the node's input, if the release is done.
    pub fn answered(
        &mut self,
        now: LocalTime,
        cluster: usize,
        group: GroupId,
        answer: Result<(), String>,
    ) -> Option<Input> {
        let of = |p: &Unconfirmed| (p.cluster, p.group) == (cluster, group);
        let at = self.pending.iter().position(of)?;
        match answer {
            Ok(()) => {
                let Unconfirmed { release, .. } = self.pending.remove(at);
                Some(Input::Released { group, release })
            }
            Err(why) => {
                let pending = self.pending.get_mut(at)?;
                let of = |(c, g, _): &&(usize, GroupId, LocalTime)| (*c, *g) == (cluster, group);
                let over = self.over.iter().find(of).map(|(.., at)| *at);
                // Its deadline may shut the gate before.
                let over = over.filter(|at| *at > now);
                let again = now.plus(RETRY);
                pending.again = Some(over.map_or(again, |at| again.min(at)));
                pending.why = Some(why);
                None
            }
        }
    }

    /// Whether the kernel has not confirmed one.
    pub(super) fn any_pends(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When [`Self::take_due`] next has something.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        self.pending.iter().filter_map(|p| p.again).min()
    }

    /// A release that is due to be tried again: its cluster and group.
    pub fn take_due(&mut self, now: LocalTime) -> Option<(usize, GroupId)> {
        let due = |p: &&mut Unconfirmed| p.again.is_some_and(|at| at <= now);
        let pending = self.pending.iter_mut().find(due)?;
        pending.again = None;
        Some((pending.cluster, pending.group))
    }

    /// What a cluster's kernel refuses to release, for people.
    #[must_use]
    pub fn alarms(&self, cluster: usize) -> Vec<String> {
        let of = self.pending.iter().filter(|p| p.cluster == cluster);
        of.filter_map(|p| p.why.as_ref())
            .map(|why| format!("can't release, trying again: {why}"))
            .collect()
    }
}

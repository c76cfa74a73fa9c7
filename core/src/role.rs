//! What a member is in one group, with the data that belongs to each role.
//!
//! ```text
//!                     votes stand (R-7), or the peer is silent or dead (R-14, R-17)
//!                ┌──────────────────────────────────────────────────────────┐
//!                │                                                          ▼
//!           ┌─────────┐   the kernel confirms (R-8)  ┌───────────┐  lets  ┌────────┐
//!  start ──▶│ Standby │◀─────────────────────────────│ Releasing │◀───────│ Holder │
//!           └─────────┘                              └───────────┘   go   └────────┘
//!
//!  A holder lets go when the lease is over (R-7), to hand over or stop (R-12), as one of two
//!  holders (R-15, R-20), when its kernel refuses (R-8) or it can't be prepared (R-19), when it is
//!  sick or can't serve (R-12, R-14), and when a majority votes for another (R-21).
//!
//!  A standby's back-off (R-10):
//!
//!    Idle ──asks everybody──▶ Asking ──in vain for D, the preferred one 3 D──▶ Tired
//!      ▲                                                                        │ another
//!      └─────────── the other gets no votes, or 2 D later ────── Resting ◀──────┘ collects votes
//!
//!  A witness is `Witness`, always.
//! ```

use crate::advert::MemberId;
use crate::effect::{ReleaseId, Why};
use crate::lease::Timing;
use crate::observe::RoleName;
use crate::silence::Verdict;
use crate::time::LocalTime;

/// Each role carries only its own data, so none of another's can be stale.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Role {
    /// Votes, never holds.
    Witness,
    /// May hold, and does not; the kernel is known to be mute.
    Standby {
        /// R-10: how its campaign goes.
        backoff: Backoff,
    },
    /// Holds. The kernel ends the hold at `lease_end` by itself.
    Holder {
        /// R-7: never shrinks.
        lease_end: LocalTime,
        /// R-19: the holder is prepared, and the hold reaches the kernel.
        open: bool,
        /// R-12: it wants to hand over.
        yields: Option<Yield>,
        /// R-12: when the preferred candidate will have been asking for `failback_delay`.
        failback_at: Option<LocalTime>,
        /// R-15: another holder is heard.
        conflict: Conflict,
    },
    /// R-8: has let go, and the kernel has not confirmed it yet.
    Releasing {
        /// What the confirmation must name.
        release: ReleaseId,
        /// R-5: until when it goes on asking if the kernel does not confirm.
        asks_until: Option<LocalTime>,
        /// R-12: which candidate gets this member's vote once the kernel has confirmed.
        successor: Option<MemberId>,
    },
}

/// A holder's wish to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Yield {
    pub(crate) why: Why,
    /// An ask answers this wish only if it echoes an advert sent since then.
    pub(crate) since: LocalTime,
}

/// R-12: how often in a row this member took over without a hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Unplanned {
    /// At least once.
    pub(crate) times: u8,
    /// The last time.
    pub(crate) at: LocalTime,
}

/// R-15: what a holder hears of another holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Conflict {
    /// Nothing.
    None,
    /// The peer says that it holds, or did when it spoke; this was first heard at `since`.
    Heard { since: LocalTime },
    /// It says so in answer to an advert that was sent since then: an alarm.
    Proven,
    /// A stranger says that it holds, for the first time at `since`: an alarm.
    Strange { since: LocalTime },
    /// R-20: another one that is not heard answers probes; this one lets go if it still does at
    /// `until`.
    Unheard { until: LocalTime },
}

/// R-17: whether the operator's word that the peer is dead counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Presumption {
    /// The operator said nothing, or the peer was alive.
    None,
    /// Said at `since`; the network is asked first.
    Said { since: LocalTime },
    /// The network did not answer.
    Dead,
}

/// R-14: whether the kernel could serve the group at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Eligibility {
    /// It could not.
    No,
    /// It can again, since `since`: what kept it from serving may also have cut off a peer that was
    /// silent before.
    Again {
        since: LocalTime,
        /// The worst that the failure detector may say by now.
        verdict: Verdict,
    },
    /// It could, for S at least.
    Yes,
}

impl Eligibility {
    /// The worst that the failure detector may say, however long the silence is.
    pub(crate) const fn verdict(self) -> Verdict {
        match self {
            Self::No => Verdict::Alive,
            Self::Again { verdict, .. } => verdict,
            Self::Yes => Verdict::Failed,
        }
    }

    /// Time has passed since it could serve again.
    pub(crate) fn measure(&mut self, timing: &Timing, now: LocalTime) {
        if let Self::Again { since, .. } = *self {
            let span = now.since(since);
            *self = if span >= timing.survive_after() {
                Self::Yes
            } else if span >= timing.presume_after() {
                let verdict = Verdict::Suspected;
                Self::Again { since, verdict }
            } else {
                let verdict = Verdict::Alive;
                Self::Again { since, verdict }
            };
        }
    }

    /// When the verdict changes by itself.
    pub(crate) fn deadline(self, timing: &Timing) -> Option<LocalTime> {
        match self {
            Self::Again { since, verdict } => match verdict {
                Verdict::Alive => Some(since.plus(timing.presume_after())),
                Verdict::Suspected | Verdict::Unheard | Verdict::Failed => {
                    Some(since.plus(timing.survive_after()))
                }
            },
            Self::No | Self::Yes => None,
        }
    }
}

/// R-10: a candidate that asks in vain gets out of the way of the other, which collects votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Backoff {
    /// Not asking everybody.
    Idle,
    /// Asking everybody; it does not rest before `until`.
    Asking { until: LocalTime },
    /// Has asked long enough: it rests as soon as it hears of a vote for the other candidate.
    Tired,
    /// Asks nobody while it hears of votes for the other candidate, at most until `until`.
    Resting { until: LocalTime },
}

impl Role {
    pub(crate) const STANDBY: Self = Self::Standby {
        backoff: Backoff::Idle,
    };

    pub(crate) const fn name(&self) -> RoleName {
        match self {
            Self::Witness => RoleName::Witness,
            Self::Standby { .. } => RoleName::Standby,
            Self::Holder { .. } => RoleName::Holder,
            Self::Releasing { .. } => RoleName::Releasing,
        }
    }

    pub(crate) const fn lease_end(&self) -> Option<LocalTime> {
        match self {
            Self::Holder { lease_end, .. } => Some(*lease_end),
            Self::Witness | Self::Standby { .. } | Self::Releasing { .. } => None,
        }
    }

    /// R-19: until when the kernel may answer; `None` while the gate stays shut.
    pub(crate) const fn gate_until(&self) -> Option<LocalTime> {
        match self {
            Self::Holder {
                lease_end, open, ..
            } if *open => Some(*lease_end),
            Self::Witness | Self::Standby { .. } | Self::Holder { .. } | Self::Releasing { .. } => {
                None
            }
        }
    }

    /// R-19: it holds, and its gate is still shut.
    pub(crate) const fn prepares(&self) -> bool {
        matches!(self, Self::Holder { open: false, .. })
    }

    /// It waits for its kernel to confirm a release, or to be prepared.
    pub(crate) const fn is_on_the_way(&self) -> bool {
        matches!(self, Self::Releasing { .. }) || self.prepares()
    }

    /// R-15: it holds and hears that the other candidate does.
    pub(crate) const fn meets(&self) -> bool {
        matches!(
            self,
            Self::Holder {
                conflict: Conflict::Heard { .. } | Conflict::Proven,
                ..
            }
        )
    }

    /// It holds, or its hold may not be over in the kernel yet.
    pub(crate) const fn holds(&self) -> bool {
        matches!(
            self,
            Self::Holder { .. }
                | Self::Releasing {
                    asks_until: Some(_),
                    ..
                }
        )
    }

    /// R-12: its wish to hand over, while it holds.
    pub(crate) const fn yields(&self) -> Option<Yield> {
        match self {
            Self::Holder { yields, .. } => *yields,
            Self::Witness | Self::Standby { .. } | Self::Releasing { .. } => None,
        }
    }

    /// Its adverts say `yields`: while it wants to hand over, and until the kernel has confirmed.
    pub(crate) const fn says_yields(&self) -> bool {
        match self {
            Self::Holder { yields, .. } => yields.is_some(),
            Self::Releasing {
                successor,
                asks_until,
                ..
            } => successor.is_some() && asks_until.is_some(),
            Self::Witness | Self::Standby { .. } => false,
        }
    }

    /// See [`Node::instants`](crate::Node::instants); all are of this member's clock.
    pub(crate) fn instants(&mut self, visit: &mut impl FnMut(&mut LocalTime)) {
        match self {
            Self::Witness => {}
            Self::Standby { backoff } => match backoff {
                Backoff::Asking { until } | Backoff::Resting { until } => visit(until),
                Backoff::Idle | Backoff::Tired => {}
            },
            Self::Holder {
                lease_end,
                open: _,
                yields,
                failback_at,
                conflict,
            } => {
                visit(lease_end);
                match conflict {
                    Conflict::Heard { since } | Conflict::Strange { since } => visit(since),
                    Conflict::Unheard { until } => visit(until),
                    Conflict::None | Conflict::Proven => {}
                }
                yields.iter_mut().for_each(|y| visit(&mut y.since));
                failback_at.iter_mut().for_each(visit);
            }
            Self::Releasing { asks_until, .. } => asks_until.iter_mut().for_each(visit),
        }
    }
}

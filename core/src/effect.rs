//! What a node wants done, the most urgent first.

use crate::advert::{Advert, GroupId, Incarnation, MemberId};
use crate::config::{Arbitration, Config};
use crate::input::Refusal;
use crate::observe::RoleName;
use crate::time::LocalTime;
use alloc::format;
use alloc::string::String;

/// One bit that tells a release from the one before it: a group never has more than one pending
///
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ReleaseId(pub bool);

/// One thing to do. The effects of a turn are applied in the order in which they are returned: the
/// end, releases, sends, holds, announcements, probes, reports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Effect {
    /// This incarnation is over: shut every gate, and end the process so that it is started again
    /// . The node is given nothing more.
    EndIncarnation,
    /// Shut the gate, then answer with `Input::Released`; the addresses go after that.
    Release {
        /// Of which group.
        group: GroupId,
        /// Which the confirmation must name.
        release: ReleaseId,
    },
    /// Hand this to the network, on every path.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        advert: Advert,
    },
    /// Let the kernel answer for the group's addresses until `deadline` and not a moment longer:
    /// gate shut → addresses added (if they are not there) → deadline set.
    HoldUntil {
        /// Of which group.
        group: GroupId,
        /// Absolute, by this member's clock.
        deadline: LocalTime,
    },
    /// A new hold starts mute: add the group's addresses with the gate shut, do what must be done
    /// before it opens, then answer with `Input::Prepared`.
    Prepare {
        /// Of which group.
        group: GroupId,
    },
    /// Announce the addresses to the neighbours, repeatedly while the group is held.
    Announce {
        /// Of which group.
        group: GroupId,
    },
    /// Ask the network, by an echo request to each of the group's addresses, whether a kernel
    /// answers for them; each answer is `Input::ProbeAnswered`. What can't be asked is not.
    Probe {
        /// Of which group.
        group: GroupId,
        /// The time of this turn, which the answer repeats.
        probed_at: LocalTime,
    },
    /// Log what happened and why. Changes nothing.
    Report(Event),
}

impl Effect {
    /// Its place in a turn: the most urgent first, so the end and releases. Adverts come before
    /// holds, for a hold may rest on an advert that the network already has.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::EndIncarnation => 0,
            Self::Release { .. } => 1,
            Self::Send { .. } => 2,
            Self::HoldUntil { .. } | Self::Prepare { .. } => 3,
            Self::Announce { .. } => 4,
            Self::Probe { .. } => 5,
            Self::Report(_) => 6,
        }
    }
}

/// Something worth a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Event {
    /// The role in a group changed.
    Role {
        /// Which group.
        group: GroupId,
        /// What it was.
        from: RoleName,
        /// What it is.
        to: RoleName,
        /// Why, and by which rule.
        why: Why,
    },
    /// An incarnation of a member became known.
    Met {
        /// The member.
        peer: MemberId,
        /// Which one.
        incarnation: Incarnation,
    },
    /// A member is not heard any more: nothing of it was accepted for D.
    Lost {
        /// The member.
        peer: MemberId,
    },
    /// The holder is prepared, and the gate of a new hold opens.
    Opened {
        /// Which group.
        group: GroupId,
    },
    /// A member that was lost is heard again.
    Back {
        /// The member.
        peer: MemberId,
    },
    /// Quarantine is over: this member votes and may hold.
    Ready,
    /// This process did not run in time, or its turn took too long.
    Overslept,
    /// Two held at once: an alarm; under `survivor` preference settles it.
    Conflict {
        /// Which group.
        group: GroupId,
        /// The other holder.
        peer: MemberId,
    },
    /// A stranger says that it holds while this member holds.
    Strange {
        /// Which of this member's groups.
        group: GroupId,
    },
    /// A kernel answers for the address of a member that is not heard: its adverts are lost on the
    /// way, or it runs under another key.
    Answered {
        /// Which group.
        group: GroupId,
    },
    /// A member has an advert of this incarnation that is yet to be sent: this member's clock went
    /// back.
    ClockWentBack {
        /// The member; a stranger has its number from its own file.
        peer: MemberId,
    },
    /// A command was refused and changed nothing.
    CommandRefused {
        /// Which group.
        group: GroupId,
        /// The reason.
        refusal: Refusal,
    },
}

impl Event {
    /// Its kind, in one word, for the fields of the log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Role { .. } => "role",
            Self::Met { .. } => "met",
            Self::Lost { .. } => "lost",
            Self::Opened { .. } => "opened",
            Self::Back { .. } => "back",
            Self::Ready => "ready",
            Self::Overslept => "overslept",
            Self::Conflict { .. } => "conflict",
            Self::Strange { .. } => "strange",
            Self::Answered { .. } => "answered",
            Self::ClockWentBack { .. } => "clock_went_back",
            Self::CommandRefused { .. } => "command_refused",
        }
    }

    /// The rule of the protocol that it follows.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Role { why, .. } => why.rule(),
            Self::Met { .. } => "R-1",
            Self::Lost { .. } => "R-10",
            Self::Opened { .. } => "R-19",
            Self::Back { .. } => "R-16",
            Self::Ready => "R-9",
            Self::Overslept => "R-13",
            Self::Conflict { .. } | Self::Strange { .. } => "R-15",
            Self::Answered { .. } => "R-20",
            Self::ClockWentBack { .. } => "R-21",
            Self::CommandRefused { refusal, .. } => refusal.rule(),
        }
    }

    /// The group that it is about, if any.
    #[must_use]
    pub const fn group(&self) -> Option<GroupId> {
        match self {
            Self::Role { group, .. }
            | Self::Opened { group }
            | Self::Conflict { group, .. }
            | Self::Strange { group }
            | Self::Answered { group }
            | Self::CommandRefused { group, .. } => Some(*group),
            Self::Met { .. }
            | Self::Lost { .. }
            | Self::Back { .. }
            | Self::Ready
            | Self::Overslept
            | Self::ClockWentBack { .. } => None,
        }
    }

    /// The other member that it is about, if any.
    #[must_use]
    pub const fn peer(&self) -> Option<MemberId> {
        match self {
            Self::Met { peer, .. }
            | Self::Lost { peer }
            | Self::Back { peer }
            | Self::Conflict { peer, .. }
            | Self::ClockWentBack { peer } => Some(*peer),
            Self::Role { .. }
            | Self::Opened { .. }
            | Self::Ready
            | Self::Overslept
            | Self::Strange { .. }
            | Self::Answered { .. }
            | Self::CommandRefused { .. } => None,
        }
    }

    /// For people: what happened, and why.
    #[must_use]
    pub fn text(&self, config: &Config) -> String {
        let what = match self {
            Self::Role { from, to, why, .. } => {
                format!("{} → {}: {}", from.text(), to.text(), why.text())
            }
            Self::Met { peer, incarnation } => {
                let of = incarnation.0;
                format!("met {} (incarnation {of:016x})", config.member_name(*peer))
            }
            Self::Lost { peer } => format!(
                "lost {}: nothing of it was accepted for {}",
                config.member_name(*peer),
                config.timing().vote()
            ),
            Self::Opened { .. } => "prepared: the gate opens".into(),
            Self::Back { peer } => format!("{} is heard again", config.member_name(*peer)),
            Self::Ready if config.is_candidate(config.me()) => {
                "quarantine is over: this member votes and may hold".into()
            }
            Self::Ready => "quarantine is over: this member votes".into(),
            Self::Overslept => {
                "this process was not run when it should have been (paused, suspended \
                 or starved): its silences start again"
                    .into()
            }
            Self::Conflict { peer, .. } => format!(
                "{} says that it holds too: {}",
                config.member_name(*peer),
                match config.arbitration() {
                    Arbitration::Majority =>
                        "that must never be: was one of the two machines paused together with its clock, or \
                         is a member id used twice, or a clock far off?",
                    Arbitration::Survivor => "the preferred member stays, the other releases",
                }
            ),
            Self::Strange { .. } => {
                "one with another configuration says that it holds too: one of the two lets go; make the \
                 files equal"
                    .into()
            }
            Self::Answered { .. } => {
                "another machine answers for the address, and nothing is heard of the other member: are its \
                 adverts lost on the way (a firewall?), or does it have another key?"
                    .into()
            }
            Self::ClockWentBack { peer } => format!(
                "{} echoes an advert that this member is yet to send: this machine's clock went back (was \
                 it restored from a snapshot, or copied?); this incarnation ends, and must be started \
                 again",
                config.member_name(*peer)
            ),
            Self::CommandRefused { refusal, .. } => format!("command refused: {}", refusal.text()),
        };
        match self.group() {
            Some(group) => format!("{}: {what}", config.group_name(group)),
            None => what,
        }
    }
}

/// Why a role changed. [`Why::rule`] names the protocol's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Why {
    /// Enough votes stand.
    Majority,
    /// The peer has been silent for S (`survivor`).
    PeerSilent,
    /// The operator presumed the peer dead.
    PresumedDead,
    /// The lease ran out before it could be renewed.
    LeaseOver,
    /// Handing over to the preferred candidate.
    Failback,
    /// Handing over because the operator said `switch`.
    Switch,
    /// Handing over because the operator said `standby`.
    Standby,
    /// Handing over, or letting go, because this member stops.
    Stop,
    /// Handing over because this member is unhealthy or not eligible.
    Unready,
    /// Another holder is heard, and it stays by preference.
    Conflict,
    /// A stranger that holds is heard, and one of the two must let go.
    Strange,
    /// Another machine answers for the address, nothing is heard of it, and one of the two must let
    /// go (`survivor`).
    Answered,
    /// A majority holds or has bound its votes to another: this machine's clock stood still, or is
    /// far off (`majority`).
    Outvoted,
    /// The kernel can't serve the group, and no ready peer is heard (`survivor`).
    Unable,
    /// The kernel refused the hold.
    KernelRefused,
    /// The holder could not be prepared.
    Unprepared,
    /// Unhealthy, nobody else is ready, and the group says `release_when_unhealthy`.
    Unhealthy,
    /// The kernel confirmed the release.
    Released,
}

impl Why {
    /// The rule of the protocol that this follows.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Majority | Self::LeaseOver => "R-7",
            Self::PeerSilent | Self::Unable => "R-14",
            Self::PresumedDead => "R-17",
            Self::Failback
            | Self::Switch
            | Self::Standby
            | Self::Stop
            | Self::Unready
            | Self::Unhealthy => "R-12",
            Self::Conflict | Self::Strange => "R-15",
            Self::Answered => "R-20",
            Self::KernelRefused | Self::Released => "R-8",
            Self::Unprepared => "R-19",
            Self::Outvoted => "R-21",
        }
    }

    /// The same for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Majority => "a majority voted for this member",
            Self::PeerSilent => "the peer has been silent for the whole of its possible lease",
            Self::PresumedDead => "the operator presumed the peer dead",
            Self::LeaseOver => "the lease ran out before it could be renewed",
            Self::Failback => "handing over to the preferred member",
            Self::Switch => "handing over: the operator said switch",
            Self::Standby => "handing over: the operator said standby",
            Self::Stop => "handing over: this member stops",
            Self::Unready => "handing over: this member is not ready",
            Self::Conflict => "another holder is heard and stays by preference",
            Self::Strange => {
                "one with another configuration holds too; letting go, for only one may"
            }
            Self::Answered => {
                "another machine answers for the address, and nothing is heard of it; letting go, for only one may"
            }
            Self::Outvoted => {
                "a majority votes for another, so this machine's clock stood still (was it paused or \
                 restored?) or is far off"
            }
            Self::Unable => {
                "this member can't serve and hears nobody who could: it may be the one that is cut off"
            }
            Self::KernelRefused => "the kernel refused the lease",
            Self::Unprepared => "what must be done before the gate opens could not be done",
            Self::Unhealthy => "unhealthy, and the group releases then",
            Self::Released => "the kernel confirmed the release",
        }
    }
}

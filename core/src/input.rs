//! What can happen to a node.

use crate::advert::{Advert, GroupId};
use crate::auth::Authentic;
use crate::effect::ReleaseId;
use crate::time::LocalTime;
use arrayvec::ArrayVec;

/// One thing that happened, given to [`Node::handle`](crate::Node::handle) with the time at which
/// it is handled. Datagrams that wait in a socket are handled before [`Input::Wake`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Input {
    /// An advert whose seal was checked.
    // Not serialized: nothing but `auth::open` makes an `Authentic` out of bytes.
    #[cfg_attr(feature = "serde", serde(skip))]
    Received(Authentic<Advert>),
    /// The kernel confirmed: the gate is shut and the addresses are gone.
    Released {
        /// Of which group.
        group: GroupId,
        /// Which release this confirms.
        release: ReleaseId,
    },
    /// The kernel refused a `HoldUntil` or a `Prepare`: this node can't hold now, and releases at
    /// once.
    HoldFailed {
        /// Of which group.
        group: GroupId,
    },
    /// What [`Effect::Prepare`](crate::effect::Effect::Prepare) asked for has ended.
    Prepared {
        /// Of which group.
        group: GroupId,
        /// It is done; otherwise this node can't hold now, and releases at once.
        done: bool,
    },
    /// Whether this node's kernel could hold the group at all, as the daemon judges it.
    Eligible {
        /// Of which group.
        group: GroupId,
        /// The answer.
        eligible: bool,
    },
    /// Whether the service behind the group is healthy on this node.
    Health {
        /// Of which group.
        group: GroupId,
        /// The answer.
        healthy: bool,
    },
    /// Another machine on the network claims one of the group's addresses, or the neighbours may
    /// have lost it.
    ForeignClaim {
        /// Of which group.
        group: GroupId,
    },
    /// A machine on the network answered a probe of a group's address.
    ProbeAnswered {
        /// Of which group.
        group: GroupId,
        /// When the probe was sent, as [`Effect::Probe`](crate::effect::Effect::Probe) said.
        probed_at: LocalTime,
    },
    /// The operator gave a command.
    Operator {
        /// Of which group.
        group: GroupId,
        /// Which one.
        command: Command,
    },
    /// Nothing but time passed.
    Wake,
}

/// What an operator can command for a group. If the operator names no group, the
/// daemon gives the command to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Command {
    /// On a holder: hand over to the other candidate, and don't ask for the group back until
    /// `Resume`, or until this member takes hold after all.
    Switch,
    /// Hand over if holding, and don't take hold until `Resume`.
    Standby,
    /// An earlier incarnation of this member gave the group away by `Switch`: don't ask for it back
    /// until `Resume`, or until this member takes hold after all.
    StayAway,
    /// Undo `Standby`, `StayAway` and what `Switch` left.
    Resume,
    /// Until `Thaw`, here and on the other candidate: move nothing by itself, neither for failback
    /// nor for health.
    Freeze,
    /// Undo `Freeze`.
    Thaw,
    /// The operator says that the peer is dead: count its vote as given, unless the network answers
    /// within i.
    PresumeDead,
    /// Hand over, or release if nobody is ready; then this group is over for this incarnation.
    Stop,
}

/// what stands of one group: `Standby` or `StayAway`, and `Freeze`.
pub type StandingOrders = ArrayVec<Command, 2>;

/// Why a command was not carried out. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Refusal {
    /// `Switch` on a member that does not hold.
    NotHolder,
    /// `Switch` while no other candidate is ready to take over, or none answered for D.
    NobodyReady,
    /// The command is for candidates; this member is a witness.
    Witness,
    /// `Thaw` on a member on which `Freeze` was not said.
    NotFrozen,
    /// `PresumeDead` with other than exactly two members, or in `survivor`.
    NotTwoMembers,
    /// `PresumeDead` of a peer that was heard in the last 2 D.
    PeerHeard,
    /// `PresumeDead`, and a kernel answers for the address.
    PeerAnswers,
    /// `PresumeDead` while this member's own vote is bound.
    VoteBound,
    /// The group is stopping.
    Stopping,
}

impl Refusal {
    /// The rule of the protocol that this follows.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::NotTwoMembers | Self::PeerHeard | Self::PeerAnswers | Self::VoteBound => "R-17",
            Self::NotHolder
            | Self::NobodyReady
            | Self::Witness
            | Self::NotFrozen
            | Self::Stopping => "R-12",
        }
    }

    /// The same for people, with the remedy.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotHolder => {
                "this member does not hold it; say switch on the holder, which `onehold status` shows"
            }
            Self::NobodyReady => {
                "no other candidate is ready to take over; `onehold status` on it shows why"
            }
            Self::Witness => "this member is a witness and never holds; say it on a candidate",
            Self::NotFrozen => {
                "freeze was not said here; say thaw where it was said, which `onehold status` shows"
            }
            Self::NotTwoMembers => {
                "presume-dead is only for two members under arbitration \"majority\"; elsewhere a \
                 takeover needs no operator"
            }
            Self::PeerHeard => "the peer was heard a moment ago: it is not dead",
            Self::PeerAnswers => {
                "another machine answers for the address: the peer is not dead, though nothing is \
                 heard of it"
            }
            Self::VoteBound => {
                "this member's vote is still bound to the peer's last lease; try again when that is over"
            }
            Self::Stopping => "the daemon is stopping",
        }
    }
}

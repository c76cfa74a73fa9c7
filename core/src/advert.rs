//! The one message: an advert is a full statement of its sender's state, so losing one costs
//! nothing but time. It is typed here; `wire` knows the bytes.

use crate::time::{LocalTime, Span};
use alloc::vec::Vec;

/// Most groups of addresses that one node can serve. All travel in one datagram, and as many as this
/// [go through a tunnel](crate::wire#length).
pub const MAX_GROUPS: usize = 58;

/// A member's place in the configured list, the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberId(pub u8);

/// A group's place in the configured list, the same on every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupId(pub u8);

/// One run of a member's process: 64 random bits drawn at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub u64);

/// Names the cluster that a datagram belongs to: the first 64 bits of SHA-256 over its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClusterId(pub u64);

/// Digest of everything that all members must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ConfigDigest(pub u64);

/// how the sender's configuration is being changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Change {
    /// Not at all: it is settled.
    #[default]
    None,
    /// Toward this one, which is in its file.
    Toward(ConfigDigest),
    /// From this one, which was in force before.
    From(ConfigDigest),
}

impl Change {
    /// Whether it is settled.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A full statement of one member's state, to one other member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Advert {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The configuration in force at the sender.
    pub config: ConfigDigest,
    /// How that is being changed.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Change::is_none")
    )]
    pub change: Change,
    /// The sender.
    pub from: MemberId,
    /// The receiver, so that nothing can be reflected.
    pub to: MemberId,
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// The receiver's incarnation, or a stranger's; `None` if unknown.
    pub to_incarnation: Option<Incarnation>,
    /// The sender's clock when it sent this; also the sequence number.
    pub sent_at: LocalTime,
    /// `sent_at` of the latest advert of `to_incarnation` that was accepted; of a stranger's, that
    /// came.
    pub echo: Option<LocalTime>,
    /// How long ago that advert came, by the sender's clock: a hint, which shows people a round
    /// trip.
    pub echo_age: Span,
    /// The sender is in quarantine.
    pub quarantined: bool,
    /// One statement for each group of `config`, by [`GroupId`]: at most [`MAX_GROUPS`]. Not in the
    /// advert itself, which is moved and kept by the million where worlds are searched.
    pub groups: Vec<Statement>,
}

impl Advert {
    /// Its sender says that it holds some group.
    pub(crate) fn holds_any(&self) -> bool {
        self.groups.iter().any(|g| g.holds)
    }

    /// Visits every instant in it, with the member whose clock it is of: see
    /// [`Node::instants`](crate::Node::instants).
    pub fn instants(&mut self, mut visit: impl FnMut(MemberId, &mut LocalTime)) {
        visit(self.from, &mut self.sent_at);
        self.echo.iter_mut().for_each(|t| visit(self.to, t));
        for ballot in self.groups.iter_mut().filter_map(|s| s.vote.as_mut()) {
            visit(ballot.member, &mut ballot.asked_at);
        }
    }
}

/// What an advert says of one group of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Statement {
    /// Vote for me.
    pub asks: bool,
    /// I hold, or my hold may not be over in my kernel yet.
    pub holds: bool,
    /// I could hold: eligible, healthy, not ordered away, kept back, releasing or in quarantine,
    /// and two-way with enough members.
    pub ready: bool,
    /// I want to hand over to you, or am doing so.
    pub yields: bool,
    /// I hold, and my gate is still shut.
    #[cfg_attr(feature = "serde", serde(default))]
    pub preparing: bool,
    /// My operator said `freeze`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub frozen: bool,
    /// What my vote is bound to, if anything.
    pub vote: Option<Ballot>,
}

/// A bound vote, as an advert says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ballot {
    /// Whom the vote is bound to.
    pub member: MemberId,
    /// Which incarnation of it.
    pub incarnation: Incarnation,
    /// `sent_at` of the newest ask that it was granted to, by *that member's* clock.
    pub asked_at: LocalTime,
}

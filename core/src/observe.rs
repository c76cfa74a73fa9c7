//! What a node shows of itself, for status and metrics. No rule reads it.

use crate::advert::{Ballot, GroupId, Incarnation, MemberId, Statement};
use crate::time::Span;
use alloc::vec::Vec;

/// A role, without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum RoleName {
    /// Votes, never holds.
    Witness,
    /// May hold, and does not.
    Standby,
    /// Holds.
    Holder,
    /// Has let go, and waits for the kernel's confirmation.
    Releasing,
}

impl RoleName {
    /// Lower-case, as in logs and status.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Witness => "witness",
            Self::Standby => "standby",
            Self::Holder => "holder",
            Self::Releasing => "releasing",
        }
    }
}

/// A node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// This member.
    pub me: MemberId,
    /// This incarnation.
    pub incarnation: Incarnation,
    /// What is left of quarantine.
    pub quarantine_left: Option<Span>,
    /// The other members, by id.
    pub peers: Vec<PeerSnapshot>,
    /// The groups, by id.
    pub groups: Vec<GroupSnapshot>,
    /// the members for which the next step of a change of the configuration waits.
    pub waits_for: Vec<MemberId>,
    /// it takes no hold, for the other candidate may go by other members.
    pub doubts: bool,
    /// All groups are stopped (`Command::Stop`), everything was released, and no vote is bound to it.
    pub stopped: bool,
}

/// Another member, as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// Which one.
    pub member: MemberId,
    /// Its incarnation, once known.
    pub incarnation: Option<Incarnation>,
    /// How long ago an advert of it was accepted.
    pub heard_ago: Option<Span>,
    /// The age of the newest advert of ours that it is known to have accepted.
    pub echo_ago: Option<Span>,
    /// Heard, and it hears us.
    pub two_way: bool,
    /// It said that it is in quarantine.
    pub quarantined: bool,
    /// What it last said of each group.
    pub says: Vec<Statement>,
}

/// A group, as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSnapshot {
    /// Which one.
    pub group: GroupId,
    /// This member's role in it.
    pub role: RoleName,
    /// The holder, as far as this member knows.
    pub holder: Option<MemberId>,
    /// What is left of this member's lease.
    pub lease_left: Option<Span>,
    /// What this member's vote is bound to.
    pub vote: Option<Ballot>,
    /// How long the vote stays bound unless it is renewed or freed.
    pub vote_left: Option<Span>,
    /// Members whose votes stand for this member; itself too, if it holds.
    pub votes: Vec<MemberId>,
    /// This member asks for votes.
    pub asks: bool,
    /// This member could hold.
    pub ready: bool,
    /// A stranger says that it holds, and this member takes no hold beside it.
    pub kept_back: bool,
    /// It hears nothing, or is to presume its peer dead, and asks the network.
    pub probing: bool,
    /// How long ago the newest of these probes was sent that was answered; less than S. A standby
    /// takes no hold meanwhile.
    pub answered_ago: Option<Span>,
    /// It holds, and its gate may be open.
    pub open: bool,
    /// Its kernel could serve the group.
    pub eligible: bool,
    /// The service is healthy here.
    pub healthy: bool,
    /// It holds and wants to hand over.
    pub yields: bool,
    /// The operator said `standby`.
    pub standby: bool,
    /// The operator said `switch` here, so this member does not ask for the group back.
    pub gave_away: bool,
    /// The operator said `freeze` here.
    pub frozen: bool,
    /// The operator presumed the peer dead, and the network did not answer.
    pub presumed_dead: bool,
}

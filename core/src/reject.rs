//! Why a datagram is not accepted. A rejection is a counted value, never a panic and never an alarm
//! of its own.

use crate::advert::{ConfigDigest, MemberId};
use core::fmt;

/// Names a key, in the clear in every datagram, so that keys can be rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct KeyId(pub u32);

/// Why a datagram is not accepted. It may count all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Reject {
    /// Shorter than the shortest advert.
    TooShort,
    /// Not one of ours, or of another version.
    NotOurs,
    /// Of another cluster.
    WrongCluster,
    /// Sealed with a key that is not accepted here.
    UnknownKey(KeyId),
    /// The seal does not fit: forged, damaged, or another secret.
    BadSeal,
    /// Sealed by a key holder, yet malformed, or with another number of groups.
    Malformed,
    /// Addressed to another member, or from this one.
    NotToMe,
    /// From a member that is not configured.
    UnknownMember,
    /// The sender runs with another configuration.
    OtherConfig {
        /// The sender.
        from: MemberId,
        /// Its digest.
        digest: ConfigDigest,
    },
    /// A repetition, a late arrival or a replay: not newer than the latest accepted advert.
    Stale,
    /// It does not name our incarnation: mostly a knock, which may be a sign of life.
    Knock,
    /// It names our incarnation, but its own is not, or no longer, the current one of the sender
    ///
    OldIncarnation,
}

impl Reject {
    /// All kinds by name, for counters; in the order of [`Reject::index`].
    pub const NAMES: [&'static str; 12] = [
        "too_short",
        "not_ours",
        "wrong_cluster",
        "unknown_key",
        "bad_seal",
        "malformed",
        "not_to_me",
        "unknown_member",
        "other_config",
        "stale",
        "knock",
        "old_incarnation",
    ];

    /// The place of this kind in [`Reject::NAMES`].
    #[must_use]
    pub const fn index(&self) -> usize {
        match self {
            Self::TooShort => 0,
            Self::NotOurs => 1,
            Self::WrongCluster => 2,
            Self::UnknownKey(_) => 3,
            Self::BadSeal => 4,
            Self::Malformed => 5,
            Self::NotToMe => 6,
            Self::UnknownMember => 7,
            Self::OtherConfig { .. } => 8,
            Self::Stale => 9,
            Self::Knock => 10,
            Self::OldIncarnation => 11,
        }
    }
}

impl Reject {
    /// Its name, for counters and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        Self::NAMES.get(self.index()).copied().unwrap_or_default()
    }

    /// The rule of the protocol that it follows; none for what can't even be read.
    #[must_use]
    pub const fn rule(&self) -> Option<&'static str> {
        match self {
            Self::OtherConfig { .. } | Self::UnknownMember => Some("R-0"),
            Self::NotToMe | Self::Knock | Self::OldIncarnation => Some("R-1"),
            Self::Stale => Some("R-2"),
            Self::TooShort
            | Self::NotOurs
            | Self::WrongCluster
            | Self::UnknownKey(_)
            | Self::BadSeal
            | Self::Malformed => None,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Reject {}

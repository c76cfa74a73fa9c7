//! The page's data. Times are ns since the page's zero or, where time goes on in ticks, millionths
//! of a tick; members, groups, events and texts are named by their places. `viewer.js` reads the
//! same names.

use onehold_core::observe::RoleName;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::hash::Hash;

/// From when until when, in ns.
pub(super) type Stretch = (i64, i64);

/// All that the page shows.
#[derive(Serialize)]
pub(super) struct Data {
    pub(super) cluster: String,
    pub(super) arbitration: String,
    /// How the times of the members came together.
    pub(super) clocks: String,
    /// The replay found nothing wrong.
    pub(super) good: bool,
    /// What the replay says.
    pub(super) replay: String,
    /// By place: the files.
    pub(super) files: Vec<String>,
    /// By number: what the protocol's rules are called.
    pub(super) rules: Vec<String>,
    pub(super) members: Vec<MemberView>,
    pub(super) groups: Vec<GroupView>,
    pub(super) faults: Vec<FaultView>,
    pub(super) events: Vec<EventView>,
    pub(super) adverts: Vec<AdvertView>,
    /// What members believed of others, and of groups: each belief once.
    pub(super) peers: Vec<Peer>,
    pub(super) views: Vec<View>,
    pub(super) texts: Vec<String>,
    /// Who was effective is in the traces.
    pub(super) kernels: bool,
    /// Just after the latest instant: what is not over by then lasts until here.
    pub(super) end: i64,
    /// What a million of its units are called.
    pub(super) unit: &'static str,
    /// How often members send.
    pub(super) interval: i64,
}

#[derive(Default, Serialize)]
pub(super) struct MemberView {
    pub(super) name: String,
    /// Something of it is in the traces.
    pub(super) traced: bool,
    pub(super) quarantine: Vec<Stretch>,
    pub(super) paused: Vec<Stretch>,
}

#[derive(Default, Serialize)]
pub(super) struct GroupView {
    pub(super) name: String,
    /// By member.
    pub(super) lanes: Vec<Lane>,
    /// When, and whose answer it was.
    pub(super) requests: Vec<(i64, Option<usize>)>,
    /// From the last answer before a failed request to the next one.
    pub(super) unanswered: Vec<Stretch>,
    /// Nobody was effective.
    pub(super) outages: Vec<Stretch>,
    pub(super) violations: Vec<Violation>,
}

/// A member in a group.
#[derive(Default, Serialize)]
pub(super) struct Lane {
    pub(super) roles: Vec<(i64, i64, RoleName)>,
    pub(super) leases: Vec<Stretch>,
    pub(super) effective: Vec<Stretch>,
}

/// Two were effective at once.
#[derive(Serialize)]
pub(super) struct Violation {
    pub(super) from: i64,
    pub(super) until: i64,
    pub(super) members: Vec<usize>,
    /// What began it.
    pub(super) event: usize,
}

#[derive(Serialize)]
pub(super) struct FaultView {
    pub(super) at: i64,
    /// When it was healed, if the traces say so.
    pub(super) until: Option<i64>,
    pub(super) text: String,
    pub(super) members: Vec<usize>,
}

/// One line of a trace.
#[derive(Serialize)]
pub(super) struct EventView {
    pub(super) t: i64,
    /// In whose lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) member: Option<usize>,
    pub(super) what: usize,
    /// What came of it, and by which rules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) did: Vec<usize>,
    /// The member's process was dead afterwards.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) died: bool,
    /// It is worth a mark when thousands are in view.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) mark: bool,
    /// What the member believed afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) belief: Option<Belief>,
    pub(super) file: usize,
    pub(super) line: u64,
}

#[derive(Serialize)]
pub(super) struct Belief {
    /// The end of quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quarantine: Option<i64>,
    pub(super) peers: Vec<usize>,
    pub(super) views: Vec<usize>,
}

/// Another member, as one sees it.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub(super) struct Peer {
    #[serde(skip)]
    pub(super) clock: usize,
    pub(super) member: usize,
    pub(super) heard: Option<i64>,
    pub(super) echo: Option<i64>,
    pub(super) two_way: bool,
    pub(super) quarantined: bool,
    /// What it last said, by group.
    pub(super) says: Vec<usize>,
}

/// A group, as a member sees it.
#[derive(PartialEq, Eq, Hash, Serialize)]
pub(super) struct View {
    #[serde(skip)]
    pub(super) clock: usize,
    pub(super) role: RoleName,
    pub(super) holder: Option<usize>,
    pub(super) lease: Option<i64>,
    pub(super) vote: Option<usize>,
    pub(super) vote_until: Option<i64>,
    pub(super) votes: Vec<usize>,
    /// `asks ready eligible …`
    pub(super) is: usize,
}

/// An advert.
#[derive(Serialize)]
pub(super) struct AdvertView {
    /// The event that sent it.
    pub(super) sent: usize,
    /// The event in which it arrived.
    pub(super) heard: Option<usize>,
    pub(super) to: usize,
    pub(super) says: usize,
}

/// Keeps equal things once.
pub(super) struct Unique<T>(FxHashMap<T, usize>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<T: Eq + Hash> Unique<T> {
    /// Its place.
    pub(super) fn place(&mut self, of: T) -> usize {
        let next = self.0.len();
        *self.0.entry(of).or_insert(next)
    }

    /// All, by place.
    pub(super) fn all(self) -> Vec<T> {
        let mut all: Vec<(T, usize)> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(_, place)| *place);
        all.into_iter().map(|(of, _)| of).collect()
    }
}

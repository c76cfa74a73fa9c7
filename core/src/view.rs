//! What the rules of a group may look at in a turn, besides the group's own state. A view decides
//! nothing.

use crate::advert::{GroupId, Incarnation, MemberId};
use crate::config::{Arbitration, Config, Failback};
use crate::lease::Timing;
use crate::session::Session;
use crate::silence::Silence;
use crate::time::{LocalTime, Span};

/// What the rules may look at in a turn, besides the group's own state.
pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) now: LocalTime,
    pub(crate) incarnation: Incarnation,
    pub(crate) quarantined: bool,
    /// see [`Node::doubt`](crate::Node::doubt).
    pub(crate) doubts: bool,
    pub(crate) group: GroupId,
    /// The group's number, as an index.
    pub(crate) index: usize,
    pub(crate) sessions: &'a [Session],
}

impl<'a> View<'a> {
    /// The views at all groups, in order.
    pub(crate) fn of(
        config: &'a Config,
        now: LocalTime,
        incarnation: Incarnation,
        (quarantined, doubts): (bool, bool),
        sessions: &'a [Session],
    ) -> impl Iterator<Item = Self> {
        (0u8..).map(move |id| View {
            config,
            now,
            incarnation,
            quarantined,
            doubts,
            group: GroupId(id),
            index: usize::from(id),
            sessions,
        })
    }
}

impl View<'_> {
    pub(crate) const fn timing(&self) -> &Timing {
        self.config.timing()
    }

    pub(crate) fn is_preferred(&self, member: MemberId) -> bool {
        self.config
            .group(self.group)
            .is_some_and(|g| g.preferred == member)
    }

    pub(crate) fn failback(&self) -> Failback {
        self.config
            .group(self.group)
            .map_or(Failback::Manual, |g| g.failback)
    }

    /// something must be done before the gate of a new hold opens.
    pub(crate) fn prepares(&self) -> bool {
        self.config.group(self.group).is_some_and(|g| g.prepares)
    }

    /// the delay that the file says.
    pub(crate) fn failback_delay(&self) -> Span {
        let group = self.config.group(self.group);
        group.map(|g| g.failback_delay).unwrap_or_default()
    }

    pub(crate) fn releases_when_unhealthy(&self) -> bool {
        self.config
            .group(self.group)
            .is_some_and(|g| g.release_when_unhealthy)
    }

    /// The other candidate, if it is heard; on a witness, one of the two.
    fn other(&self) -> Option<&Session> {
        self.sessions
            .iter()
            .find(|s| self.config.is_candidate(s.peer) && s.heard())
    }

    /// A member that is heard and says that it holds.
    pub(crate) fn holder_in_sight(&self) -> Option<&Session> {
        self.sessions
            .iter()
            .find(|s| s.heard() && s.says(self.index).holds)
    }

    /// The other candidate, if it is heard and could hold.
    pub(crate) fn ready_other(&self) -> Option<&Session> {
        self.other().filter(|s| s.says(self.index).ready)
    }

    /// the operator said `freeze` on the other candidate, as far as that is heard.
    pub(crate) fn other_is_frozen(&self) -> bool {
        self.other().is_some_and(|s| s.says(self.index).frozen)
    }

    /// somebody's vote is bound to the other candidate.
    pub(crate) fn other_collects_votes(&self) -> bool {
        self.sessions
            .iter()
            .filter(|s| s.heard())
            .filter_map(|s| s.says(self.index).vote)
            .any(|b| b.member != self.config.me() && self.config.is_candidate(b.member))
    }

    /// a stranger says that it holds.
    pub(crate) fn kept_back(&self) -> bool {
        self.sessions.iter().any(|s| s.strangers.keeps_back())
    }

    /// the silence of the only peer; none under `majority`, where no lease rests on it.
    pub(crate) fn silence(&self) -> Option<&Silence> {
        match self.config.arbitration() {
            Arbitration::Majority => None,
            Arbitration::Survivor => self.sessions.iter().find_map(|s| s.silence.as_ref()),
        }
    }
}

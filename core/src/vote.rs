//! whom a member votes for, when votes make a holder, and when they
//! make another one.

use crate::advert::Incarnation;
use crate::advert::{Ballot, MemberId};
use crate::config::{Arbitration, MAX_MEMBERS};
use crate::group::{Campaign, Group};
use crate::role::Role;
use crate::session::Session;
use crate::time::{LocalTime, Span};
use crate::view::View;
use arrayvec::ArrayVec;

/// A vote bound to one incarnation of another member. R-6: nobody's vote is bound to itself; a
/// holder votes for nobody until the kernel has confirmed its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Vote {
    pub(crate) member: MemberId,
    pub(crate) incarnation: Incarnation,
    /// `sent_at` of its newest ask, by its clock.
    pub(crate) asked_at: LocalTime,
    /// D after that ask arrived, by our clock.
    pub(crate) until: LocalTime,
}

impl Vote {
    pub(crate) const fn ballot(&self) -> Ballot {
        Ballot {
            member: self.member,
            incarnation: self.incarnation,
            asked_at: self.asked_at,
        }
    }
}

impl Group {
    /// whom it votes for may go by a longer lease from now on, for an ask that was granted
    /// before: so `by` the difference, but not longer than for an ask of now, which would bind it
    /// until `most`. It is never bound for less than before.
    pub(crate) fn lengthen_vote(&mut self, by: Span, most: LocalTime) {
        if let Some(vote) = &mut self.vote {
            vote.until = vote.until.plus(by).min(most).max(vote.until);
        }
    }

    /// an advert of the member that the vote is bound to frees it, if that advert does not ask
    /// and was sent after the ask that bound the vote; a tie keeps it.
    pub(crate) fn free_vote(&mut self, view: &View<'_>, from: &Session) {
        let Some(current) = &from.current else { return };
        if let Some(vote) = &self.vote
            && vote.member == from.peer
            && vote.incarnation == current.incarnation
            && !from.says(view.index).asks
            && current.sent_at > vote.asked_at
        {
            self.vote = None;
        }
    }

    /// binds or renews the vote for the candidate `to`, if its latest advert asks and this
    /// member may vote for it. D counts from when that advert arrived.
    pub(crate) fn cast_vote(&mut self, view: &View<'_>, to: &Session) {
        let Some(current) = &to.current else { return };
        let may_vote = match self.role {
            Role::Witness | Role::Standby { .. } => !view.quarantined,
            Role::Holder { .. } | Role::Releasing { .. } => false,
        };
        let hears_us = to.two_way();
        if !may_vote || !hears_us || !to.says(view.index).asks || !view.config.is_candidate(to.peer)
        {
            return;
        }
        match &mut self.vote {
            Some(vote) if vote.member == to.peer && vote.incarnation == current.incarnation => {
                vote.asked_at = vote.asked_at.max(current.sent_at);
                vote.until = vote.until.max(view.timing().bound_until(current.arrived));
            }
            Some(_) => {} // a live vote never moves.
            None => {
                if !self.refuses(view, to) {
                    self.bind_vote(view, to);
                }
            }
        }
    }

    /// Binds a free vote to the latest ask of `to`.
    pub(crate) fn bind_vote(&mut self, view: &View<'_>, to: &Session) {
        let Some(current) = &to.current else { return };
        let until = view.timing().bound_until(current.arrived);
        if until > view.now {
            self.vote = Some(Vote {
                member: to.peer,
                incarnation: current.incarnation,
                asked_at: current.sent_at,
                until,
            });
        }
    }

    /// with no holder in sight, the better candidate does not vote for the other while it
    /// asks for votes itself.
    fn refuses(&self, view: &View<'_>, other: &Session) -> bool {
        self.campaign(view) == Campaign::Everybody
            && view.holder_in_sight().is_none()
            && self.better_than(view, other)
    }

    /// offers a free vote at once to the better one of those whose latest advert still asks.
    pub(crate) fn offer_vote(&mut self, view: &View<'_>) {
        if self.vote.is_some() {
            return;
        }
        let rank = |s: &&Session| (s.says(view.index).ready, view.is_preferred(s.peer));
        let asking = |s: &&Session| s.two_way() && s.says(view.index).asks;
        if let Some(best) = view.sessions.iter().filter(asking).max_by_key(rank) {
            self.cast_vote(view, best);
        }
    }

    /// this member will not take hold beside the other candidate, whatever other members say: its own
    /// vote is bound to that one, if that one says that it holds. (A holder is not kept by the other.)
    pub(crate) fn covers(&self, index: usize, other: &Session) -> bool {
        let bound = |vote: &Vote| {
            let to = other.current.as_ref().map(|c| c.incarnation);
            vote.member == other.peer && Some(vote.incarnation) == to
        };
        !other.says(index).holds
            || self.role.lease_end().is_some()
            || self.vote.as_ref().is_some_and(bound)
    }

    /// when the newest ask that a majority granted was sent, by our clock; this member's own
    /// vote counts. R-22: it is a majority of those of before, too, until the change is settled.
    pub(crate) fn granted(&self, view: &View<'_>) -> Option<LocalTime> {
        let asks = view.sessions.iter().filter_map(|s| view.granted_by(s));
        let granted = newest_of(view.config.majority(), asks)?;
        match view.config.also_majority() {
            None => Some(granted),
            Some(majority) => granted_in_both(view, majority).map(|also| also.min(granted)),
        }
    }
}

/// When the newest ask that so many members granted was sent, the asking one among them.
fn newest_of(majority: usize, asks: impl Iterator<Item = LocalTime>) -> Option<LocalTime> {
    let mut asks: ArrayVec<LocalTime, MAX_MEMBERS> = asks.take(MAX_MEMBERS).collect();
    asks.sort_unstable_by(|a, b| b.cmp(a));
    let others = majority.checked_sub(2)?; // minus our own, and counted from 0
    asks.get(others).copied()
}

/// the same, of those members that are in both configurations, by their votes alone.
fn granted_in_both(view: &View<'_>, majority: usize) -> Option<LocalTime> {
    let both = |s: &&Session| view.config.is_in_both(s.peer);
    let asks = view.sessions.iter().filter(both);
    newest_of(majority, asks.filter_map(|s| view.voted_by(s)))
}

impl View<'_> {
    /// by their latest words a majority of the members hold or have bound their votes to
    /// another than this incarnation.
    pub(crate) fn is_outvoted(&self) -> bool {
        let mine = |b: &Ballot| b.member == self.config.me() && b.incarnation == self.incarnation;
        let other = |s: &&Session| {
            let says = s.says(self.index);
            says.holds || says.vote.is_some_and(|b| !mine(&b))
        };
        self.sessions.iter().filter(other).count() >= self.config.majority()
    }

    /// when the ask was sent that the peer's latest advert grants us, if it is not
    /// revoked.
    pub(crate) fn granted_by(&self, peer: &Session) -> Option<LocalTime> {
        // a peer in quarantine takes no hold for D after the advert that it echoes, so its
        // echo counts as a vote.
        let echo = match (self.config.arbitration(), &peer.current) {
            (Arbitration::Survivor, Some(current)) if current.quarantined => current.echo,
            (Arbitration::Survivor | Arbitration::Majority, _) => None,
        };
        self.voted_by(peer).max(self.stands(peer, echo))
    }

    /// The same, by its vote alone.
    fn voted_by(&self, peer: &Session) -> Option<LocalTime> {
        let mine = |b: &Ballot| b.member == self.config.me() && b.incarnation == self.incarnation;
        let vote = peer.says(self.index).vote.filter(mine);
        self.stands(peer, vote.map(|b| b.asked_at))
    }

    fn stands(&self, peer: &Session, ask: Option<LocalTime>) -> Option<LocalTime> {
        let asked = peer.asked(self.index)?;
        ask.filter(|a| *a >= asked && *a <= self.now)
    }
}

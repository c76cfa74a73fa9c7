//! a step of a change, whom it waits for, and a member that doubts by whose votes it may hold.

use super::{Before, Node, Sessions};
use crate::advert::{Change, MAX_GROUPS, MemberId};
use crate::config::{self, Config};
use crate::effect::Effect;
use crate::group::Group;
use crate::input::Refusal;
use crate::session::Session;
use crate::time::{LocalTime, Span};
use alloc::vec::Vec;
use arrayvec::ArrayVec;

impl Node {
    /// it is not known that no other members than those of the configuration were to vote here
    /// last. So this member takes no hold until the other candidate has the same configuration in
    /// force, or the operator says that it is dead. Called right after [`Self::start`]; a witness
    /// never holds, and does not ask.
    pub const fn doubt(&mut self) {
        self.doubts = true;
    }

    /// see [`Self::doubt`].
    #[must_use]
    pub const fn doubts(&self) -> bool {
        self.doubts
    }

    /// the other candidate has the same configuration in force, so it doubts no more; unless that one
    /// holds, maybe by the votes of others, and this member's vote is not bound to it.
    pub(super) fn trust(&mut self, other: MemberId) {
        let mut sessions = self.sessions.iter();
        let by = sessions.find(|s| s.peer == other && s.two_way());
        self.doubts &= !by.is_some_and(|s| self.covers(s));
    }

    /// it takes hold of nothing that the other candidate may hold.
    fn covers(&self, other: &Session) -> bool {
        let mut groups = self.groups.iter().enumerate();
        groups.all(|(index, group)| group.covers(index, other))
    }

    /// whether the operator may say that the other candidate is dead, so that it goes by no other
    /// members: whoever lives is heard by the end of quarantine.
    pub(super) fn may_believe(&self, config: &Config) -> Result<(), Refusal> {
        let alive = |s: &Session| s.heard() || s.strangers.latest().is_some();
        let mut others = self.sessions.iter().filter(|s| config.is_candidate(s.peer));
        match self.quarantine_until.is_some() || others.any(alive) {
            true => Err(Refusal::PeerHeard),
            false => Ok(()),
        }
    }

    /// goes by `to` from now on, where `from` was in force so far: one of [`Config::toward`],
    /// [`Config::from`] or the settled one after either. A group of the same name goes on as it was.
    /// All adverts from now on say so, and every hold reaches the kernel again, with the group's
    /// addresses as they are now.
    ///
    /// Whoever runs the node has seen to it before: what `to` says of timing is recorded for a later
    /// incarnation; and before [`Config::from`] comes into force, [`Self::may_step`] was true,
    /// and the kernel has confirmed that nothing of [`Config::leaving`] is effective any more.
    pub fn change(&mut self, from: &Config, to: &Config, now: LocalTime, out: &mut Vec<Effect>) {
        let first = out.len();
        self.expire(from, now, out);
        let longer = to.timing().vote().as_nanos();
        let longer = longer.saturating_sub(from.timing().vote().as_nanos());
        self.sessions = self.sessions_of(from, to, now);
        let place = |g: &config::Group| from.groups().iter().position(|o| o.name == g.name);
        let places: ArrayVec<Option<usize>, MAX_GROUPS> = to.groups().iter().map(place).collect();
        for session in &mut self.sessions {
            session.renumber(&places);
        }
        let candidate = to.is_candidate(to.me());
        let as_it_was = |place: &Option<usize>| place.and_then(|p| self.groups.get(p)).cloned();
        let goes_on = |place| as_it_was(place).unwrap_or_else(|| Group::new(candidate));
        self.groups = places.iter().map(goes_on).collect();
        for group in &mut self.groups {
            group.lengthen_vote(Span::from_nanos(longer), to.timing().bound_until(now));
        }
        self.changing = (to.change() != Change::None).then_some(now);
        let mut before = Before::new();
        let stances = self.views(to, now).map(|(group, view)| group.stance(&view));
        before.extend(stances.map(|stance| (stance, None))); // every hold is a new one to the kernel
        self.conclude(to, now, &before, true, None, out);
        if let Some(turn) = out.get_mut(first..) {
            turn.sort_by_key(Effect::rank);
        }
    }

    /// members that stay keep what is known of them.
    fn sessions_of(&mut self, from: &Config, to: &Config, now: LocalTime) -> Sessions {
        let mut known = core::mem::take(&mut self.sessions);
        let mut session = |peer| {
            let is = |was: &config::Member| to.member(peer).is_some_and(|now| now.is(was));
            let of = |s: &Session| from.member(s.peer).is_some_and(is);
            let at = known.iter().position(of);
            let mut session = at.map_or_else(
                || Session::new(to, peer, self.incarnation, now),
                |at| known.swap_remove(at),
            );
            session.peer = peer;
            session.keep_silence(to, now);
            session
        };
        to.peers().map(&mut session).collect()
    }

    /// whether the next step of a change may be taken: it [waits for](Self::waits_for) nobody,
    /// nothing is under way that names a group by its number, and before other members decide no lease
    /// is longer than one of now would be.
    #[must_use]
    pub fn may_step(&self, config: &Config, now: LocalTime) -> bool {
        let most = config.timing().lease_end(now);
        let of_before = |g: &Group| g.role.lease_end().is_some_and(|end| end > most);
        let waits = |g: &Group| g.role.is_on_the_way() || config.comes_to_others() && of_before(g);
        config.change() != Change::None
            && self.waits_for(config).next().is_none()
            && !self.groups.iter().any(waits)
    }

    /// the members for which the next step of a change waits: each other candidate, and every
    /// member that is heard and stays one, unless it has said that it is as far, in answer to an
    /// advert that said so of this member. Before other members decide, a candidate must be heard; and when
    /// they do, this member's vote must be bound to it if it holds.
    pub fn waits_for<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = MemberId> + 'a {
        let stays = |s: &&Session| config.is_in_both(s.peer);
        let counts = move |s: &&Session| s.heard() && stays(s) || config.is_candidate(s.peer);
        let changes = config.change() != Change::None;
        let all = self.sessions.iter().filter(move |_| changes);
        let alive = config.comes_to_others();
        let decide = config.also_majority().is_some();
        let covers = move |s: &Session| !decide || !config.is_candidate(s.peer) || self.covers(s);
        let waits = move |s: &&Session| !s.follows() || alive && !s.heard() || !covers(s);
        all.filter(counts).filter(waits).map(|s| s.peer)
    }
}

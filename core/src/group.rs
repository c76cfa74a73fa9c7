//! One group of addresses on one member: whom it asks, taking hold (R-7, R-14,
//! ), letting go, commands, what expires, and what the
//! others hear of it.
//!
//! In a turn, [`Group::expire`] ends what is over, the input is applied, and [`Group::settle`]
//! draws every conclusion. A conclusion looks at this state and at a [`View`], and at nothing else.

use crate::advert::{Incarnation, MemberId, Statement};
use crate::config::{Arbitration, Failback};
use crate::effect::{Effect, Event, ReleaseId, Why};
use crate::input::{Command, Refusal, StandingOrders};
use crate::lease::Timing;
use crate::observe::{GroupSnapshot, RoleName};
use crate::probe::Probes;
use crate::role::{Backoff, Conflict, Eligibility, Presumption, Role, Unplanned, Yield};
use crate::session::Session;
use crate::silence::Verdict;
use crate::time::LocalTime;
use crate::view::View;
use crate::vote::Vote;
use alloc::vec::Vec;

/// One group's state on this member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Group {
    pub(crate) role: Role,
    pub(crate) vote: Option<Vote>,
    /// The last release, so that the next one has another number.
    last_release: ReleaseId,
    eligibility: Eligibility,
    pub(crate) healthy: bool,
    /// The operator said `standby`.
    pub(crate) standby: bool,
    /// Handed over by `switch`, now or by an earlier incarnation: don't ask for it back.
    pub(crate) gave_away: bool,
    /// The operator said `freeze`.
    pub(crate) frozen: bool,
    pub(crate) stopping: bool,
    ///
    pub(crate) presumption: Presumption,
    /// what is asked of the network.
    pub(crate) probes: Option<Probes>,
    /// how many spans were drawn.
    pub(crate) draws: u8,
    /// takeovers that nobody handed over. Kept only where failback has a delay.
    pub(crate) unplanned: Option<Unplanned>,
    /// the other candidate, when it last said that it holds, wanted to hand over. Kept likewise.
    pub(crate) handed_over: bool,
}

/// whom a candidate asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Campaign {
    Nobody,
    Only(MemberId),
    Everybody,
}

/// What is sent to everybody at once when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stance {
    campaign: Campaign,
    holds: bool,
    ready: bool,
    yields: bool,
    preparing: bool,
    frozen: bool,
    meets: bool,
    voted_for: Option<(MemberId, Incarnation)>,
}

impl Group {
    pub(crate) const fn new(candidate: bool) -> Self {
        Self {
            role: if candidate {
                Role::STANDBY
            } else {
                Role::Witness
            },
            vote: None,
            last_release: ReleaseId(false),
            eligibility: Eligibility::Yes,
            healthy: true,
            standby: false,
            gave_away: false,
            frozen: false,
            stopping: false,
            presumption: Presumption::None,
            probes: None,
            draws: 0,
            unplanned: None,
            handed_over: false,
        }
    }

    /// The kernel could serve the group.
    pub(crate) const fn eligible(&self) -> bool {
        matches!(
            self.eligibility,
            Eligibility::Again { .. } | Eligibility::Yes
        )
    }

    /// The daemon says whether the kernel could serve the group, changed or not.
    pub(crate) fn set_eligible(&mut self, view: &View<'_>, eligible: bool) {
        self.eligibility = match (eligible, self.eligibility, view.config.arbitration()) {
            (false, _, _) => Eligibility::No,
            (true, Eligibility::No, Arbitration::Survivor) => {
                let (since, verdict) = (view.now, Verdict::Alive);
                Eligibility::Again { since, verdict }
            }
            (true, Eligibility::No, Arbitration::Majority) => Eligibility::Yes,
            (true, as_before @ (Eligibility::Again { .. } | Eligibility::Yes), _) => as_before,
        };
    }

    /// Neither the operator nor the kernel keeps it from taking hold.
    const fn available(&self) -> bool {
        self.eligible() && !self.standby && !self.stopping
    }

    /// Two-way with enough members for a majority, itself included.
    fn enough_two_way(&self, view: &View<'_>) -> bool {
        let two_way = |s: &&Session| s.two_way() || self.presumes_dead();
        let all = view.sessions.iter().filter(two_way);
        let both = all.clone().filter(|s| view.config.is_in_both(s.peer));
        let enough = |count: usize, majority| count.saturating_add(1) >= majority;
        enough(all.count(), view.config.majority())
            && (view.config.also_majority()).is_none_or(|also| enough(both.count(), also))
    }

    /// it could hold, and serve well.
    pub(crate) fn ready(&self, view: &View<'_>) -> bool {
        let candidate = match self.role {
            Role::Standby { .. } | Role::Holder { .. } => true,
            Role::Witness | Role::Releasing { .. } => false,
        };
        candidate
            && self.available()
            && self.healthy
            && !view.quarantined
            && !view.doubts
            && (self.role.holds() || !view.kept_back())
            && self.enough_two_way(view)
    }

    /// Ready before unready, then preferred.
    pub(crate) fn better_than(&self, view: &View<'_>, other: &Session) -> bool {
        (self.ready(view), view.is_preferred(view.config.me()))
            > (other.says(view.index).ready, view.is_preferred(other.peer))
    }

    /// whom this member asks for votes.
    pub(crate) fn campaign(&self, view: &View<'_>) -> Campaign {
        match self.role {
            Role::Witness => Campaign::Nobody,
            // it stops asking only when its hold is surely over.
            Role::Holder { .. }
            | Role::Releasing {
                asks_until: Some(_),
                ..
            } => Campaign::Everybody,
            Role::Releasing {
                asks_until: None, ..
            } => Campaign::Nobody,
            Role::Standby { backoff } => self.standby_campaign(view, backoff),
        }
    }

    fn standby_campaign(&self, view: &View<'_>, backoff: Backoff) -> Campaign {
        let may = self.available() && !view.quarantined && !view.doubts && !view.kept_back();
        if !may || !self.enough_two_way(view) {
            return Campaign::Nobody;
        }
        let ready = self.ready(view);
        if let Some(holder) = view.holder_in_sight() {
            // asks a holder only if it yields, or if the group should be this member's.
            return if !ready {
                Campaign::Nobody
            } else if holder.says(view.index).yields {
                Campaign::Everybody
            } else if self.wants_from(view, holder) {
                Campaign::Only(holder.peer)
            } else {
                Campaign::Nobody
            };
        }
        let rests = matches!(backoff, Backoff::Resting { .. });
        // better a sick server than none.
        let gives_way = !ready && (view.releases_when_unhealthy() || view.ready_other().is_some());
        // while no holder is heard, one whose own vote is bound asks nobody.
        if self.vote.is_some() || rests || gives_way {
            Campaign::Nobody
        } else {
            Campaign::Everybody
        }
    }

    /// it should have the group instead of this holder.
    fn wants_from(&self, view: &View<'_>, holder: &Session) -> bool {
        let returns = view.is_preferred(view.config.me())
            && view.failback() == Failback::Auto
            && !self.gave_away;
        returns || !holder.says(view.index).ready
    }

    /// What is sent to everybody at once when it changes.
    pub(crate) fn stance(&self, view: &View<'_>) -> Stance {
        Stance {
            campaign: self.campaign(view),
            holds: self.role.holds(),
            ready: self.ready(view),
            yields: self.role.says_yields(),
            preparing: self.role.prepares(),
            frozen: self.frozen,
            // Under `majority` the other's word is mostly an old one, and nobody lets go on hearing it.
            meets: view.config.arbitration() == Arbitration::Survivor && self.role.meets(),
            voted_for: self.vote.map(|v| (v.member, v.incarnation)),
        }
    }

    /// What an advert to `to` says of this group.
    pub(crate) fn statement(&self, view: &View<'_>, to: MemberId) -> Statement {
        Statement {
            asks: match self.campaign(view) {
                Campaign::Nobody => false,
                Campaign::Only(member) => member == to,
                Campaign::Everybody => true,
            },
            holds: self.role.holds(),
            ready: self.ready(view),
            yields: self.role.says_yields() && view.config.is_candidate(to),
            preparing: self.role.prepares(),
            frozen: self.frozen,
            vote: self.vote.as_ref().map(Vote::ballot),
        }
    }

    /// Ends what is over, before any input is applied.
    pub(crate) fn expire(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        let now = view.now;
        if self.vote.is_some_and(|v| v.until <= now) {
            self.vote = None;
        }
        self.eligibility.measure(view.timing(), now);
        self.expire_probes(view, out);
        match &mut self.role {
            Role::Holder { lease_end, .. } if *lease_end <= now => {
                self.release(view, Why::LeaseOver, None, out);
            }
            Role::Holder { conflict, .. } => match *conflict {
                // every stranger is forgotten.
                Conflict::Strange { .. }
                    if view.sessions.iter().all(|s| s.strangers.latest().is_none()) =>
                {
                    *conflict = Conflict::None;
                }
                Conflict::None
                | Conflict::Heard { .. }
                | Conflict::Proven
                | Conflict::Strange { .. }
                | Conflict::Unheard { .. } => {}
            },
            Role::Releasing { asks_until, .. } if asks_until.is_some_and(|at| at <= now) => {
                *asks_until = None;
            }
            Role::Standby { backoff } => {
                *backoff = match *backoff {
                    Backoff::Asking { until } if until <= now => Backoff::Tired,
                    Backoff::Resting { until } if until <= now => Backoff::Idle,
                    Backoff::Idle => Backoff::Idle,
                    Backoff::Tired => Backoff::Tired,
                    Backoff::Asking { until } => Backoff::Asking { until },
                    Backoff::Resting { until } => Backoff::Resting { until },
                };
            }
            Role::Witness | Role::Releasing { .. } => {}
        }
    }

    /// what an accepted advert of `from` changes.
    pub(crate) fn heard(
        &mut self,
        view: &View<'_>,
        from: &Session,
        back: bool,
        out: &mut Vec<Effect>,
    ) {
        self.free_vote(view, from);
        self.cast_vote(view, from);
        self.note_hand_over(view, from);
        self.meet(view, from, back, out);
    }

    /// the operator presumed the peer dead, and nothing has shown that it is alive.
    fn presumes_dead(&self) -> bool {
        self.presumption == Presumption::Dead
    }

    /// a word of the peer ends the presumption.
    pub(crate) fn presume_alive(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        if let Presumption::Said { .. } = self.presumption {
            let (group, refusal) = (view.group, Refusal::PeerHeard);
            out.push(Effect::Report(Event::CommandRefused { group, refusal }));
        }
        self.presumption = Presumption::None;
    }

    /// the kernel confirmed a release. R-12: the vote goes to the successor's ask at once.
    pub(crate) fn released(&mut self, view: &View<'_>, release: ReleaseId, out: &mut Vec<Effect>) {
        match self.role {
            Role::Releasing {
                release: pending,
                successor,
                ..
            } if pending == release => {
                self.become_role(view, Role::STANDBY, Why::Released, out);
                let successor = successor
                    .and_then(|successor| view.sessions.iter().find(|s| s.peer == successor));
                if let Some(successor) =
                    successor.filter(|s| s.says(view.index).asks && s.two_way())
                {
                    self.bind_vote(view, successor);
                }
            }
            // It confirms no release that is pending.
            Role::Witness | Role::Standby { .. } | Role::Holder { .. } | Role::Releasing { .. } => {
            }
        }
    }

    /// the kernel refused a hold, or it could not be prepared.
    pub(crate) fn hold_failed(&mut self, view: &View<'_>, why: Why, out: &mut Vec<Effect>) {
        self.eligibility = Eligibility::No;
        if self.role.name() == RoleName::Holder {
            self.release(view, why, None, out);
        }
    }

    /// preparing has ended, well or not.
    pub(crate) fn prepared(&mut self, view: &View<'_>, done: bool, out: &mut Vec<Effect>) {
        let Role::Holder {
            open: open @ false, ..
        } = &mut self.role
        else {
            return; // nothing waits for it
        };
        if done {
            *open = true;
            out.push(Effect::Report(Event::Opened { group: view.group }));
            self.announce(view, out);
        } else {
            self.hold_failed(view, Why::Unprepared, out);
        }
    }

    /// Draws every conclusion from what is known now.
    pub(crate) fn settle(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        self.offer_vote(view);
        self.pace_campaign(view);
        self.offer_vote(view); // if it just began to rest, it may vote now
        if let Role::Standby { .. } = self.role {
            self.try_to_hold(view, out);
        }
        if let Role::Holder { .. } = self.role {
            self.go_on_holding(view, out); // if it just took hold, it may have to hand over
        }
        self.probe(view, out);
    }

    /// a candidate that has asked in vain for longer than D (the preferred one: 3D) while the
    /// other collects votes rests, for at most 2D.
    fn pace_campaign(&mut self, view: &View<'_>) {
        let contested = view.other_collects_votes();
        if let Role::Standby { backoff } = &mut self.role
            && matches!(backoff, Backoff::Resting { .. })
            && !contested
        {
            *backoff = Backoff::Idle; // and it may begin to ask in this very turn
        }
        let everybody = self.campaign(view) == Campaign::Everybody;
        let Role::Standby { backoff } = &mut self.role else {
            return;
        };
        let vote = view.timing().vote();
        let span = if view.is_preferred(view.config.me()) {
            vote.times(3)
        } else {
            vote
        };
        *backoff = match *backoff {
            Backoff::Resting { until } => Backoff::Resting { until },
            Backoff::Tired if contested && everybody => Backoff::Resting {
                until: view.now.plus(vote.times(2)),
            },
            Backoff::Tired if everybody => Backoff::Tired,
            Backoff::Asking { until } if everybody => Backoff::Asking { until },
            Backoff::Idle if everybody => Backoff::Asking {
                until: view.now.plus(span),
            },
            Backoff::Idle | Backoff::Asking { .. } | Backoff::Tired => Backoff::Idle,
        };
    }

    /// takes hold if it may.
    fn try_to_hold(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        // not beside a stranger that holds. R-22: nor by members that may be others.
        if view.quarantined
            || view.doubts
            || !self.available()
            || self.vote.is_some()
            || view.kept_back()
        {
            return;
        }
        let granted = match self.campaign(view) {
            Campaign::Nobody => None, // only one that asks
            Campaign::Only(_) | Campaign::Everybody => self
                .granted(view)
                .filter(|a| view.timing().useful(*a, view.now)),
        };
        let sick = !self.healthy && view.releases_when_unhealthy();
        // the advert that says `holds` goes out in this turn, before the hold.
        let (asked_at, why) = if let Some(asked_at) = granted {
            (asked_at, Why::Majority)
        } else if self.presumes_dead() && !sick {
            (view.now, Why::PresumedDead)
        } else if self.silence(view) == Verdict::Failed && !self.is_answered() && !sick {
            (view.now, Why::PeerSilent)
        } else {
            return;
        };
        self.gave_away = false;
        self.probes = None; // answers to what a standby asked are no conflict
        self.count_takeover(view);
        let role = Role::Holder {
            lease_end: view.timing().lease_end(asked_at),
            open: !view.prepares(),
            yields: None,
            failback_at: None,
            conflict: Conflict::None,
        };
        self.become_role(view, role, why, out);
        if view.prepares() {
            out.push(Effect::Prepare { group: view.group });
        } else {
            self.announce(view, out);
        }
    }

    /// announces the group, unless it is mute.
    pub(crate) fn announce(&self, view: &View<'_>, out: &mut Vec<Effect>) {
        if self.role.gate_until().is_some() {
            out.push(Effect::Announce { group: view.group });
        }
    }

    /// what the failure detector says of the peer, as far as this member could have heard it:
    /// a member that can't serve may itself be the one that is cut off.
    fn silence(&self, view: &View<'_>) -> Verdict {
        let verdict = view.silence().map_or(Verdict::Alive, |s| s.verdict);
        verdict.min(self.eligibility.verdict())
    }

    /// a holder that suspects its peer renews by `sent`, the newest advert that an earlier
    /// turn handed to the network. R-17: one that presumes it dead renews by this turn's, too.
    /// Called after the turn's adverts, for sending precedes holding.
    pub(crate) fn presume(&mut self, view: &View<'_>, sent: Option<LocalTime>) {
        let sent = if self.presumes_dead() {
            view.sessions.iter().filter_map(|s| s.last_sent).max()
        } else {
            sent.filter(|_| self.silence(view) >= Verdict::Suspected)
        };
        if let Some(sent) = sent {
            self.extend_lease(view.timing().lease_end(sent));
        }
    }

    /// a lease never shrinks.
    pub(crate) fn extend_lease(&mut self, until: LocalTime) {
        if let Role::Holder { lease_end, .. } = &mut self.role {
            *lease_end = until.max(*lease_end);
        }
    }

    /// Lets go: the kernel first; everything else waits for its confirmation.
    pub(crate) fn release(
        &mut self,
        view: &View<'_>,
        why: Why,
        successor: Option<MemberId>,
        out: &mut Vec<Effect>,
    ) {
        let Some(lease_end) = self.role.lease_end() else {
            return;
        };
        let release = ReleaseId(!self.last_release.0);
        self.last_release = release;
        out.push(Effect::Release {
            group: view.group,
            release,
        });
        let over = view.timing().surely_over(lease_end);
        // of a hold that was mute nothing is in the kernel.
        let asks_until = (over > view.now && !self.role.prepares()).then_some(over);
        self.become_role(
            view,
            Role::Releasing {
                release,
                asks_until,
                successor,
            },
            why,
            out,
        );
    }

    fn become_role(&mut self, view: &View<'_>, role: Role, why: Why, out: &mut Vec<Effect>) {
        let (from, to) = (self.role.name(), role.name());
        self.role = role;
        out.push(Effect::Report(Event::Role {
            group: view.group,
            from,
            to,
            why,
        }));
    }

    /// What the operator commands for this group.
    pub(crate) fn operator(&mut self, view: &View<'_>, command: Command) -> Result<(), Refusal> {
        if self.role == Role::Witness {
            return if command == Command::Stop {
                self.stopping = true;
                Ok(())
            } else {
                Err(Refusal::Witness)
            };
        }
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        match command {
            Command::Switch => {
                let Role::Holder { yields, .. } = &mut self.role else {
                    return Err(Refusal::NotHolder);
                };
                view.ready_other().ok_or(Refusal::NobodyReady)?;
                *yields = Some(Yield {
                    why: Why::Switch,
                    since: view.now,
                });
            }
            Command::Standby => self.standby = true,
            Command::StayAway => self.gave_away = true,
            Command::Resume => {
                self.standby = false;
                self.gave_away = false;
                // A switch that nobody has answered yet.
                if let Role::Holder { yields, .. } = &mut self.role {
                    yields.take_if(|y| y.why == Why::Switch);
                }
            }
            Command::Freeze => self.frozen = true,
            Command::Thaw if !self.frozen => return Err(Refusal::NotFrozen),
            Command::Thaw => self.frozen = false,
            Command::Stop => self.stopping = true,
            Command::PresumeDead => return self.presume_dead(view),
        }
        Ok(())
    }

    /// what a later incarnation gets again.
    pub(crate) fn standing_orders(&self) -> StandingOrders {
        // `Resume` ends both of the first two, so one of them is enough.
        let away = if self.standby {
            Some(Command::Standby)
        } else {
            self.gave_away.then_some(Command::StayAway)
        };
        let frozen = self.frozen.then_some(Command::Freeze);
        away.into_iter().chain(frozen).collect()
    }

    /// Stopped, and everything released.
    pub(crate) const fn stopped(&self) -> bool {
        self.stopping && matches!(self.role, Role::Witness | Role::Standby { .. })
    }

    /// When something in this group next changes by itself.
    pub(crate) fn deadlines(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let vote = self.vote.map(|v| v.until);
        let able = self.eligibility.deadline(timing);
        let (first, second) = match self.role {
            Role::Witness => (None, None),
            Role::Standby { backoff } => match backoff {
                Backoff::Asking { until } | Backoff::Resting { until } => (Some(until), None),
                Backoff::Idle | Backoff::Tired => (None, None),
            },
            Role::Holder {
                lease_end,
                yields,
                failback_at,
                ..
            } => {
                let own = match yields {
                    Some(Yield {
                        why: Why::Stop | Why::Switch,
                        since,
                    }) => Some(timing.bound_until(since)),
                    Some(_) => None,
                    None => failback_at,
                };
                (Some(lease_end), own)
            }
            Role::Releasing { asks_until, .. } => (asks_until, None),
        };
        let own = [vote, able, first, second];
        let own = own.into_iter().flatten();
        own.chain(self.probe_deadlines(timing))
    }

    /// See [`Node::instants`](crate::Node::instants).
    pub(crate) fn instants(
        &mut self,
        me: MemberId,
        visit: &mut impl FnMut(MemberId, &mut LocalTime),
    ) {
        if let Some(vote) = &mut self.vote {
            visit(vote.member, &mut vote.asked_at);
            visit(me, &mut vote.until);
        }
        match &mut self.eligibility {
            Eligibility::Again { since, .. } => visit(me, since),
            Eligibility::No | Eligibility::Yes => {}
        }
        self.probe_instants(&mut |t| visit(me, t));
        self.unplanned.iter_mut().for_each(|u| visit(me, &mut u.at));
        self.role.instants(&mut |t| visit(me, t));
    }

    /// What status and metrics show of it.
    pub(crate) fn observe(&self, view: &View<'_>) -> GroupSnapshot {
        let me = view.config.me();
        let is_holder = self.role.name() == RoleName::Holder;
        let mut votes: Vec<MemberId> = view
            .sessions
            .iter()
            .filter(|s| view.granted_by(s).is_some())
            .map(|s| s.peer)
            .collect();
        if is_holder {
            votes.push(me);
            votes.sort_unstable();
        }
        GroupSnapshot {
            group: view.group,
            role: self.role.name(),
            holder: if is_holder {
                Some(me)
            } else {
                view.holder_in_sight().map(|s| s.peer)
            },
            lease_left: self.role.lease_end().map(|end| end.since(view.now)),
            vote: self.vote.as_ref().map(Vote::ballot),
            vote_left: self.vote.map(|v| v.until.since(view.now)),
            votes,
            asks: self.campaign(view) != Campaign::Nobody,
            ready: self.ready(view),
            kept_back: view.kept_back(),
            probing: self.probes.is_some(),
            answered_ago: self.probes.as_ref().and_then(|p| p.answered_ago(view.now)),
            open: self.role.gate_until().is_some(),
            eligible: self.eligible(),
            healthy: self.healthy,
            yields: self.role.yields().is_some(),
            standby: self.standby,
            gave_away: self.gave_away,
            frozen: self.frozen,
            presumed_dead: self.presumes_dead(),
        }
    }
}

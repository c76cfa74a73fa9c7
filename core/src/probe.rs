//! whoever hears nothing asks the network, by probes, whether a kernel answers for the
//! addresses. R-17: so does a candidate that is to presume its peer dead.

use crate::effect::{Effect, Event, Why};
use crate::group::Group;
use crate::input::Refusal;
use crate::lease::Timing;
use crate::role::{Conflict, Presumption, Role};
use crate::session::splitmix;
use crate::silence::Verdict;
use crate::time::{LocalTime, Span};
use crate::view::View;
use alloc::vec::Vec;

/// What is asked of the network, and whether it answers. Dropped when a word arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Probes {
    /// When the next one is due.
    due: LocalTime,
    /// When the newest one that was answered was sent; before the first answer, when this began.
    /// Answers to earlier ones prove nothing.
    since: LocalTime,
    /// The newest one that was answered is less than S old.
    answered: bool,
}

impl Probes {
    const fn new(now: LocalTime) -> Self {
        Self {
            due: now,
            since: now,
            answered: false,
        }
    }

    /// There was an answer, to a probe of less than S ago.
    pub(crate) const fn answered(&self) -> bool {
        self.answered
    }

    /// Ends what is over.
    pub(crate) fn expire(&mut self, timing: &Timing, now: LocalTime) {
        self.answered &= self.over(timing) > now;
    }

    fn over(&self, timing: &Timing) -> LocalTime {
        self.since.plus(timing.survive_after())
    }

    /// How long ago the newest probe was sent that was answered, if that is less than S.
    pub(crate) fn answered_ago(&self, now: LocalTime) -> Option<Span> {
        self.answered.then(|| now.since(self.since))
    }

    fn deadlines(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let over = self.answered.then(|| self.over(timing));
        [Some(self.due), over].into_iter().flatten()
    }
}

impl Group {
    /// the operator says that the peer is dead. The network is asked first.
    pub(crate) fn presume_dead(&mut self, view: &View<'_>) -> Result<(), Refusal> {
        if !view.config.may_presume_dead() {
            return Err(Refusal::NotTwoMembers);
        }
        let unheard = view.timing().vote().times(2);
        let mut silent = view.sessions.iter().filter_map(|s| s.silence.as_ref());
        if silent.any(|s| view.now.since(s.since) < unheard) {
            return Err(Refusal::PeerHeard);
        }
        if self.vote.is_some() {
            return Err(Refusal::VoteBound);
        }
        if self.presumption == Presumption::None {
            let since = view.now;
            self.presumption = Presumption::Said { since };
        }
        Ok(())
    }

    /// an answer to what was asked before may have been missed, or be old.
    pub(crate) fn overslept(&mut self, now: LocalTime) {
        if let Presumption::Said { since } = &mut self.presumption {
            *since = now;
        } else {
            self.probes = None;
        }
    }

    /// asks the network whenever that is due. R-15: a holder announces again when the other
    /// one, which answered before, does not answer any more.
    pub(crate) fn probe(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        let Some(pace) = self.probe_pace(view) else {
            self.probes = None;
            return;
        };
        let now = view.now;
        let probes = self.probes.get_or_insert(Probes::new(now));
        if probes.due > now {
            return;
        }
        // The first one, after the newest that was answered, to which no answer came.
        let (first, third) = (probes.since.plus(pace), probes.since.plus(pace.times(3)));
        let missed = first < probes.due && probes.due < third;
        probes.due = now.plus(pace);
        let probed_at = now;
        out.push(Effect::Probe {
            group: view.group,
            probed_at,
        });
        if missed && self.is_answered_as_holder() {
            self.announce(view, out);
        }
    }

    /// How often the network is asked now; `None` if it is not asked.
    fn probe_pace(&self, view: &View<'_>) -> Option<Span> {
        let timing = view.timing();
        if let Presumption::Said { .. } = self.presumption {
            return Some(timing.hurry());
        }
        let silence = view.silence()?;
        let holds = self.role.lease_end().is_some();
        let asks = silence.verdict >= Verdict::Unheard || (holds && silence.unheard);
        if !asks || view.quarantined || !self.eligible() {
            return None;
        }
        let soon = timing.interval().part(2);
        let within = |since: LocalTime| since.plus(timing.survive_after()) > view.now;
        match self.role {
            Role::Witness => None,
            Role::Standby { .. } if within(silence.since) => Some(timing.hurry()),
            // one that is mute learns at once that another one serves.
            Role::Standby { .. } | Role::Releasing { .. } | Role::Holder { open: false, .. } => {
                Some(soon)
            }
            Role::Holder { open: true, .. } => {
                let fresh = self.probes.as_ref().is_none_or(|p| within(p.since));
                let seldom = timing.interval().times(5);
                Some(if fresh { soon } else { seldom })
            }
        }
    }

    /// a kernel answered a probe of `probed_at`. If that was sent D after the last word or
    /// later, the other candidate has sent since: the gate of one that died with its last word was
    /// shut by then.
    pub(crate) fn answered(
        &mut self,
        view: &View<'_>,
        probed_at: LocalTime,
        out: &mut Vec<Effect>,
    ) {
        let (group, now) = (view.group, view.now);
        let Some(probes) = &mut self.probes else {
            return;
        };
        let is_news = probes.since <= probed_at && probed_at <= now;
        if !is_news || probed_at.plus(view.timing().survive_after()) <= now {
            return;
        }
        let first = !probes.answered;
        probes.since = probed_at;
        probes.answered = true;
        let holds = self.role.lease_end().is_some();
        if self.presumption != Presumption::None && !holds {
            self.presumption = Presumption::None;
            let refusal = Refusal::PeerAnswers;
            out.push(Effect::Report(Event::CommandRefused { group, refusal }));
            return;
        }
        if first {
            out.push(Effect::Report(Event::Answered { group }));
        }
        self.meet_unheard(view, out);
    }

    /// what a holder does about another one that it does not hear.
    fn meet_unheard(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        let draw = self.draw(view);
        let Role::Holder { conflict, open, .. } = &mut self.role else {
            return;
        };
        match conflict {
            // R-15 settles it; the first one stays and goes on.
            Conflict::Strange { .. } | Conflict::Unheard { .. } => return,
            Conflict::None | Conflict::Heard { .. } | Conflict::Proven => {}
        }
        // one that is still mute lets go for one that serves.
        if *open && view.is_preferred(view.config.me()) {
            // It stays unless the other one does not see it.
            *conflict = Conflict::Unheard {
                until: view.now.plus(draw),
            };
            self.draws = self.draws.wrapping_add(1);
        } else {
            self.release(view, Why::Answered, None, out);
        }
    }

    /// between S and 2 S, another span each time, so that two of which each takes itself for
    /// the preferred one don't let go together again and again.
    fn draw(&self, view: &View<'_>) -> Span {
        let least = view.timing().survive_after();
        let rng = splitmix(view.incarnation.0 ^ u64::from(self.draws));
        let more = rng.checked_rem(least.as_nanos()).unwrap_or(0);
        least.plus(Span::from_nanos(more))
    }

    /// ends what is over: probes that were answered, and a conflict with one that is not
    /// heard.
    pub(crate) fn expire_probes(&mut self, view: &View<'_>, out: &mut Vec<Effect>) {
        if let Some(probes) = &mut self.probes {
            probes.expire(view.timing(), view.now);
        }
        if let Presumption::Said { since } = self.presumption
            && since.plus(view.timing().interval()) <= view.now
        {
            self.presumption = Presumption::Dead;
        }
        let newest = self.probes.as_ref().filter(|p| p.answered);
        let newest = newest.map(|p| (view.now.since(p.since), p.over(view.timing())));
        let Role::Holder { conflict, .. } = &mut self.role else {
            return;
        };
        let Conflict::Unheard { until } = conflict else {
            return;
        };
        match newest {
            None => *conflict = Conflict::None,
            Some(_) if *until > view.now => {}
            Some((ago, _)) if ago <= view.timing().interval() => {
                self.release(view, Why::Answered, None, out);
            }
            // The other one may have let go since.
            Some((_, over)) => *until = over,
        }
    }

    /// When something of this next changes by itself.
    pub(crate) fn probe_deadlines(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let asked = match self.presumption {
            Presumption::Said { since } => Some(since.plus(timing.interval())),
            Presumption::None | Presumption::Dead => None,
        };
        let until = match self.role {
            Role::Holder {
                conflict: Conflict::Unheard { until },
                ..
            } => Some(until),
            Role::Witness | Role::Standby { .. } | Role::Holder { .. } | Role::Releasing { .. } => {
                None
            }
        };
        let probes = self.probes.iter().flat_map(|p| p.deadlines(timing));
        asked.into_iter().chain(until).chain(probes)
    }

    /// See [`Node::instants`](crate::Node::instants); all are of this member's clock.
    pub(crate) fn probe_instants(&mut self, visit: &mut impl FnMut(&mut LocalTime)) {
        match &mut self.presumption {
            Presumption::Said { since } => visit(since),
            Presumption::None | Presumption::Dead => {}
        }
        if let Some(probes) = &mut self.probes {
            visit(&mut probes.due);
            visit(&mut probes.since);
        }
    }

    /// a probe of less than S ago was answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.probes.as_ref().is_some_and(Probes::answered)
    }

    const fn is_answered_as_holder(&self) -> bool {
        matches!(
            self.role,
            Role::Holder {
                conflict: Conflict::Unheard { .. },
                ..
            }
        )
    }
}

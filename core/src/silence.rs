//! R-13, R-14, R-17: how long there has been no sign of life of the only peer. R-13 to R-15: which
//! strangers are heard, and whether one of them holds.
//!
//! ```text
//!  Alive ──silent for P──▶ Suspected ──for D──▶ Unheard ──for S──▶ Failed
//!    ▲                         │                  │                 │
//!    └───── a sign of life ────┴──────────────────┴─────────────────┘
//! ```
//!
//! What does not count for voting may be alive all the same: a knock ends a silence, and a stranger
//! that holds keeps a standby back.

use crate::advert::{Advert, Incarnation, MemberId};
use crate::few::Few;
use crate::lease::Timing;
use crate::session::REMEMBERED;
use crate::time::{LocalTime, Span};

/// How long, while awake, there has been no sign of life of the only peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Silence {
    pub(crate) since: LocalTime,
    pub(crate) verdict: Verdict,
    /// It was `Unheard` since the last sign of life: a holder goes on asking after a sleep (R-20).
    pub(crate) unheard: bool,
}

/// Those whose adverts are authentic and not accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Strangers {
    /// The newest word of each incarnation, knocks too, the latest last: a repetition is not news.
    newest: Few<(Incarnation, LocalTime), REMEMBERED>,
    /// Those that hold, the latest last; if none does, the latest.
    heard: Few<Stranger, HOLDERS>,
}

/// How many strangers that hold are looked at: the candidates of two other configurations.
const HOLDERS: usize = 4;

/// A stranger: its adverts are authentic and don't count here (R-0). Mostly it is the peer, under
/// another configuration. A stranger that holds keeps a standby from taking hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Stranger {
    /// It comes first (R-15).
    pub(crate) first: bool,
    /// R-15: named and echoed in our adverts, so that the stranger learns that it is heard.
    pub(crate) incarnation: Incarnation,
    /// When its latest word was sent, by its clock.
    pub(crate) sent_at: LocalTime,
    /// When its latest word arrived.
    pub(crate) arrived: LocalTime,
    /// When its latest word that says `holds` arrived; dropped when it keeps nobody back any more.
    held: Option<LocalTime>,
}

/// What a failure detector says of the only peer, by how long it has been silent (R-14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub(crate) enum Verdict {
    /// Less than P.
    Alive,
    /// At least P: a holder may renew by what it sent.
    Suspected,
    /// At least D: the network is asked (R-20).
    Unheard,
    /// At least S (S + 1.5 i if a stranger comes first), and nobody keeps back: a standby may take
    /// hold.
    Failed,
}

impl Stranger {
    /// R-14: the one that does not come first waits longer, so that two that refuse each other's
    /// adverts, and whose silences began together, don't take hold together.
    fn wait(&self, timing: &Timing) -> Span {
        if self.first {
            timing.defer_after()
        } else {
            timing.survive_after()
        }
    }

    fn forgotten_at(&self, timing: &Timing) -> LocalTime {
        self.arrived.plus(timing.defer_after())
    }
}

impl Silence {
    pub(crate) const fn new(now: LocalTime) -> Self {
        Self {
            since: now,
            verdict: Verdict::Alive,
            unheard: false,
        }
    }

    /// A sign of life ends a silence.
    pub(crate) const fn restart(&mut self, now: LocalTime) {
        self.since = now;
        self.verdict = Verdict::Alive;
        self.unheard = false;
    }

    /// R-13: a silence counts from the end of a sleep. After a short one a suspicion stays: what
    /// would have ended it waits in the socket.
    pub(crate) fn overslept(&mut self, now: LocalTime, short: bool) {
        let most = if short {
            Verdict::Suspected
        } else {
            Verdict::Alive
        };
        self.since = now;
        self.verdict = self.verdict.min(most);
    }

    /// What the failure detector says by now. Nothing but a sign of life or a sleep ends a
    /// suspicion.
    pub(crate) fn measure(&mut self, timing: &Timing, now: LocalTime, strangers: &Strangers) {
        let span = now.since(self.since);
        self.verdict = if span >= strangers.wait(timing) && !strangers.keeps_back() {
            Verdict::Failed
        } else if span >= timing.vote() {
            Verdict::Unheard
        } else if span >= timing.presume_after() || self.verdict >= Verdict::Suspected {
            Verdict::Suspected
        } else {
            Verdict::Alive
        };
        self.unheard |= self.verdict >= Verdict::Unheard;
    }

    /// When the failure detector next says something else by itself.
    pub(crate) fn deadline(&self, timing: &Timing, strangers: &Strangers) -> Option<LocalTime> {
        match self.verdict {
            Verdict::Alive => Some(self.since.plus(timing.presume_after())),
            Verdict::Suspected => Some(timing.bound_until(self.since)),
            Verdict::Unheard => {
                let silent = self.since.plus(strangers.wait(timing));
                strangers.free_at(timing).chain([silent]).max()
            }
            Verdict::Failed => None,
        }
    }
}

impl Strangers {
    /// The latest stranger; while some hold, the latest of those.
    pub(crate) fn latest(&self) -> Option<Stranger> {
        self.heard.last().copied()
    }

    /// R-14: a stranger said that it holds, too recently for this member to take hold.
    pub(crate) fn keeps_back(&self) -> bool {
        self.heard.iter().any(|s| s.held.is_some())
    }

    /// R-22: this incarnation is no stranger any more: its adverts are accepted.
    pub(crate) fn forget(&mut self, incarnation: Incarnation) {
        self.heard.retain(|s| s.incarnation != incarnation);
    }

    /// Whether an advert that is not accepted is news and not a repetition. What is news is
    /// remembered.
    pub(crate) fn is_news(&mut self, advert: &Advert) -> bool {
        let (incarnation, sent_at) = (advert.incarnation, advert.sent_at);
        if let Some(at) = self
            .newest
            .iter()
            .position(|(known, _)| *known == incarnation)
        {
            if self
                .newest
                .get(at)
                .is_some_and(|(_, newest)| sent_at <= *newest)
            {
                return false;
            }
            self.newest.remove(at);
        }
        if self.newest.is_full() {
            self.newest.remove(0);
        }
        self.newest.push((incarnation, sent_at));
        true
    }

    /// R-14: this incarnation said that it holds, too recently for this member to take hold.
    pub(crate) fn holds(&self, incarnation: Incarnation) -> bool {
        let mut heard = self.heard.iter();
        heard.any(|s| s.incarnation == incarnation && s.held.is_some())
    }

    /// A stranger's new word. R-14: it does not end a silence, for a holder that gets no votes must
    /// go on by what it sent. If it says `holds`, S counts from it. A stranger that holds is kept
    /// until it says that it does not, or is forgotten, whatever other strangers say.
    pub(crate) fn word(&mut self, now: LocalTime, advert: &Advert, first: bool) {
        let incarnation = advert.incarnation;
        let holds = advert.holds_any();
        self.heard.retain(|s| s.incarnation != incarnation);
        if !holds && self.keeps_back() {
            return;
        }
        self.heard.retain(|s| s.held.is_some());
        if self.heard.is_full() {
            self.heard.remove(0);
        }
        self.heard.push(Stranger {
            first,
            incarnation,
            sent_at: advert.sent_at,
            arrived: now,
            held: holds.then_some(now),
        });
    }

    /// R-13: a stranger that said that it holds may have said so again meanwhile.
    pub(crate) fn overslept(&mut self, now: LocalTime) {
        for s in self.heard.iter_mut().filter(|s| s.held.is_some()) {
            s.arrived = now;
            s.held = Some(now);
        }
    }

    /// Ends what is over.
    pub(crate) fn expire(&mut self, timing: &Timing, now: LocalTime) {
        self.heard.retain(|s| s.forgotten_at(timing) > now);
        for s in self.heard.iter_mut() {
            let wait = s.wait(timing);
            s.held.take_if(|at| at.plus(wait) <= now);
        }
        if self.keeps_back() {
            self.heard.retain(|s| s.held.is_some());
        } else {
            self.heard.keep_last();
        }
    }

    fn wait(&self, timing: &Timing) -> Span {
        self.latest()
            .map_or(timing.survive_after(), |s| s.wait(timing))
    }

    /// R-14: when each stranger that holds keeps nobody back any more, if it says nothing.
    fn free_at(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let held = self.heard.iter();
        held.filter_map(|s| Some(s.held?.plus(s.wait(timing))))
    }

    /// When something in this next changes by itself.
    pub(crate) fn deadlines(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let forgotten = self.heard.iter().map(|s| s.forgotten_at(timing));
        forgotten.chain(self.free_at(timing))
    }

    /// See [`Node::instants`](crate::Node::instants).
    pub(crate) fn instants(
        &mut self,
        me: MemberId,
        peer: MemberId,
        visit: &mut impl FnMut(MemberId, &mut LocalTime),
    ) {
        for stranger in self.heard.iter_mut() {
            visit(me, &mut stranger.arrived);
            visit(peer, &mut stranger.sent_at);
            stranger.held.iter_mut().for_each(|t| visit(me, t));
        }
        let newest = self.newest.iter_mut();
        newest.for_each(|(_, sent_at)| visit(peer, sent_at));
    }
}

//! how long there has been no sign of life of the only peer; and who is heard that is not
//! talked with.
//!
//! What is ignored for voting is not silent: a life that does not know ours, or that runs under another
//! configuration, is alive all the same.

use crate::advert::{Advert, Incarnation, MemberId};
use crate::lease::Timing;
use crate::session::REMEMBERED;
use crate::time::{LocalTime, Span};
use arrayvec::ArrayVec;

/// Waking time without any word of the only peer under our configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Silence {
    pub(crate) since: LocalTime,
    pub(crate) verdict: Verdict,
}

/// Whom this member hears and does not talk with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Strangers {
    /// The newest word of each such life, the latest last: a repetition is no news.
    newest: ArrayVec<(Incarnation, LocalTime), REMEMBERED>,
    latest: Option<Stranger>,
}

/// One that is authentic and whose words don't count here: mostly the peer, under another
/// configuration. One that holds keeps a standby from taking hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Stranger {
    /// it comes before us in the order that both can tell.
    pub(crate) first: bool,
    /// so it can be told that it is heard. When its latest word was sent, by its clock.
    pub(crate) incarnation: Incarnation,
    pub(crate) sent_at: LocalTime,
    /// When that arrived.
    pub(crate) arrived: LocalTime,
    /// When its latest word that says `holds` did; dropped when it keeps nobody back any more.
    held: Option<LocalTime>,
}

/// What a failure detector says of the only peer, by how long it has been silent.
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
    /// At least S: a standby may take hold.
    Failed,
}

impl Stranger {
    /// the later one in the order waits a little longer, so that two that refuse each other's
    /// adverts, and whose silence began together, don't take hold together.
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
        }
    }

    /// Any sign of life under our configuration ends a silence.
    pub(crate) const fn stir(&mut self, now: LocalTime) {
        self.since = now;
        self.verdict = Verdict::Alive;
    }

    /// What it says by now.
    pub(crate) fn measure(&mut self, timing: &Timing, now: LocalTime, strangers: &Strangers) {
        let span = now.since(self.since);
        self.verdict = if span >= strangers.wait(timing) && !strangers.keep_back() {
            Verdict::Failed
        } else if span >= timing.presume_after() {
            Verdict::Suspected
        } else {
            Verdict::Alive
        };
    }

    /// The later moment at which it says something else by itself.
    pub(crate) fn deadline(&self, timing: &Timing, strangers: &Strangers) -> Option<LocalTime> {
        match self.verdict {
            Verdict::Alive => Some(self.since.plus(timing.presume_after())),
            Verdict::Suspected => {
                let held = strangers.latest.and_then(|s| s.held);
                let from = held.map_or(self.since, |held| held.max(self.since));
                Some(from.plus(strangers.wait(timing)))
            }
            Verdict::Failed => None,
        }
    }
}

impl Strangers {
    /// What is heard under another configuration.
    pub(crate) const fn latest(&self) -> Option<Stranger> {
        self.latest
    }

    /// one under another configuration said that it holds, and that is not long enough ago.
    pub(crate) fn keep_back(&self) -> bool {
        self.latest.is_some_and(|s| s.held.is_some())
    }

    /// Whether an advert of a life that is not talked with is new, and not a repetition: remembers it then.
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

    /// A new word whose sender is not talked with, and never will be as long as the files differ.
    /// it is no word for P, for a holder that gets no votes must go on by what it sent. If it says
    /// `holds`, S counts from it. One that holds is looked at until it says that it does not, or is not heard
    /// any more, whatever others say.
    pub(crate) fn word(&mut self, now: LocalTime, advert: &Advert, first: bool) {
        let incarnation = advert.incarnation;
        let holds = advert.holds_any();
        let other = self.latest.filter(|s| s.incarnation != incarnation);
        if !holds && other.is_some_and(|s| s.held.is_some()) {
            return;
        }
        self.latest = Some(Stranger {
            first,
            incarnation,
            sent_at: advert.sent_at,
            arrived: now,
            held: holds.then_some(now),
        });
    }

    /// one that said that it holds may have said so again meanwhile.
    pub(crate) fn overslept(&mut self, now: LocalTime) {
        if let Some(s) = self.latest.as_mut().filter(|s| s.held.is_some()) {
            s.arrived = now;
            s.held = Some(now);
        }
    }

    /// Lets what is over be over.
    pub(crate) fn expire(&mut self, timing: &Timing, now: LocalTime) {
        self.latest.take_if(|s| s.forgotten_at(timing) <= now);
        if let Some(s) = &mut self.latest {
            let wait = s.wait(timing);
            s.held.take_if(|at| at.plus(wait) <= now);
        }
    }

    fn wait(&self, timing: &Timing) -> Span {
        self.latest
            .map_or(timing.survive_after(), |s| s.wait(timing))
    }

    /// Every later moment at which something in it changes by itself.
    pub(crate) fn deadlines(&self, timing: &Timing) -> impl Iterator<Item = LocalTime> {
        let forgotten = self.latest.map(|s| s.forgotten_at(timing));
        let free = self.latest.and_then(|s| Some(s.held?.plus(s.wait(timing))));
        [forgotten, free].into_iter().flatten()
    }

    /// See [`Node::instants`](crate::Node::instants).
    pub(crate) fn instants(
        &mut self,
        me: MemberId,
        peer: MemberId,
        visit: &mut impl FnMut(MemberId, &mut LocalTime),
    ) {
        if let Some(stranger) = &mut self.latest {
            visit(me, &mut stranger.arrived);
            visit(peer, &mut stranger.sent_at);
            stranger.held.iter_mut().for_each(|t| visit(me, t));
        }
        let newest = self.newest.iter_mut();
        newest.for_each(|(_, sent_at)| visit(peer, sent_at));
    }
}

//! which incarnation of a peer is current, which of its adverts count, which
//! of our asks stand, and when our next advert to it is due.: what is a sign of life.
//!
//! A session never decides by a vote: it looks at votes only to see whether an answer is late
//! . It remembers the peer's latest accepted advert, when it arrived, and what this member
//! sent; everything else is derived.

use crate::advert::{Advert, Incarnation, MemberId, Statement};
use crate::config::Config;
use crate::few::Few;
use crate::lease::Timing;
use crate::reject::Reject;
use crate::silence::{Silence, Stranger, Strangers, Verdict};
use crate::time::LocalTime;
use smallvec::SmallVec;

/// How many incarnations of a peer, other than the current one, are remembered.
pub(crate) const REMEMBERED: usize = 8;

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Session {
    pub(crate) peer: MemberId,
    /// The current incarnation: the one whose adverts are accepted. None before one named ours.
    pub(crate) current: Option<Current>,
    /// What the current incarnation last said, by group.
    says: SmallVec<[Statement; 1]>,
    /// by group, since when every advert to the peer has asked. Earlier asks are revoked.
    asked: SmallVec<[Option<LocalTime>; 1]>,
    /// When the newest advert, answers to knocks apart, was handed to the network.
    pub(crate) last_sent: Option<LocalTime>,
    /// the peer has asked since `last_sent`, and waits for its echo.
    owed: bool,
    knock: Option<Knock>,
    knock_answered: Option<LocalTime>,
    /// Salts the rank of those that knock; changes only when several have knocked.
    rng: u64,
    /// the latest incarnations that were current and were replaced: they never return. With
    /// each, when its newest accepted advert was sent, by its clock.
    replaced: Few<(Incarnation, LocalTime), REMEMBERED>,
    /// how long there has been no sign of life. Kept only in a cluster of two.
    pub(crate) silence: Option<Silence>,
    /// the strangers that use the peer's number, or one that is unknown here.
    pub(crate) strangers: Strangers,
}

/// The current incarnation of the peer, and its latest accepted advert.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Current {
    pub(crate) incarnation: Incarnation,
    /// When it was adopted, by our clock.
    adopted_at: LocalTime,
    /// `sent_at` of its latest accepted advert, by its clock.
    pub(crate) sent_at: LocalTime,
    /// When that arrived, by our clock.
    pub(crate) arrived: LocalTime,
    /// `arrived` is less than D ago.
    pub(crate) heard: bool,
    /// The newest of our adverts that it has accepted; dropped when that advert is D old.
    pub(crate) echo: Option<LocalTime>,
    pub(crate) quarantined: bool,
    /// its latest accepted advert answers one that was sent since this member took its latest
    /// step, and says that the peer is as far, or further.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "core::ops::Not::not")
    )]
    pub(crate) follows: bool,
}

/// An incarnation that waits for an answer: it does not know ours, or it is not the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Knock {
    incarnation: Incarnation,
    turn: Turn,
    /// Other incarnations have knocked as well since the last answer.
    contested: bool,
}

/// whose knock is answered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
enum Turn {
    /// It named our incarnation, which no recording from before our start does.
    NamesOurs,
    Unknown,
    /// it was replaced, and its word is older than its newest accepted one, of `newest`.
    Replaced {
        newest: LocalTime,
    },
}

impl Turn {
    const fn place(self) -> u8 {
        match self {
            Self::NamesOurs => 0,
            Self::Unknown => 1,
            Self::Replaced { .. } => 2,
        }
    }
}

/// What an accepted advert changed in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Only what the peer says.
    Known,
    /// Also that the peer is heard again: nothing of it had been accepted for D.
    Back,
    /// Its incarnation is new here.
    Met,
}

/// An advert that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) reject: Reject,
    /// it is a sign of life of the only peer all the same.
    pub(crate) news: bool,
}

impl Refused {
    const fn silently(reject: Reject) -> Self {
        let news = false;
        Self { reject, news }
    }
}

impl Session {
    pub(crate) fn new(config: &Config, peer: MemberId, seed: Incarnation, now: LocalTime) -> Self {
        let mut session = Self {
            peer,
            current: None,
            says: SmallVec::from_elem(Statement::default(), config.groups().len()),
            asked: SmallVec::from_elem(None, config.groups().len()),
            last_sent: None,
            owed: false,
            knock: None,
            knock_answered: None,
            rng: seed.0 ^ u64::from(peer.0),
            replaced: Few::default(),
            silence: None,
            strangers: Strangers::default(),
        };
        session.keep_silence(config, now);
        session
    }

    /// silence is kept in a cluster of two.
    pub(crate) fn keep_silence(&mut self, config: &Config, now: LocalTime) {
        let two_alone = config.members().len() == 2;
        let silence = self.silence.take().filter(|_| two_alone);
        self.silence = silence.or_else(|| two_alone.then(|| Silence::new(now)));
    }

    /// What the peer last said of a group, whenever that was.
    pub(crate) fn says(&self, group: usize) -> Statement {
        self.says.get(group).copied().unwrap_or_default()
    }

    /// All that the peer last said.
    pub(crate) fn statements(&self) -> &[Statement] {
        &self.says
    }

    /// when the oldest ask of this group to the peer that is not revoked was sent.
    pub(crate) fn asked(&self, group: usize) -> Option<LocalTime> {
        self.asked.get(group).copied().flatten()
    }

    /// An advert of it was accepted less than D ago.
    pub(crate) fn heard(&self) -> bool {
        self.current.as_ref().is_some_and(|c| c.heard)
    }

    /// The newest of our adverts that it is known to have accepted, if that is less than D old.
    pub(crate) fn echo(&self) -> Option<LocalTime> {
        self.current.as_ref().and_then(|c| c.echo)
    }

    /// Heard, and it hears us: its echo is less than D old.
    pub(crate) fn two_way(&self) -> bool {
        self.current
            .as_ref()
            .is_some_and(|c| c.heard && c.echo.is_some())
    }

    /// The incarnation that an advert to the peer names, and when that one's latest advert was sent
    /// and arrived. R-15: a stranger's while the peer is not heard, so that the stranger learns
    /// that it is heard, though it refuses the advert.
    pub(crate) fn names(
        &self,
        stranger: Option<Stranger>,
    ) -> Option<(Incarnation, LocalTime, LocalTime)> {
        match (&self.current, stranger) {
            (Some(c), None) => Some((c.incarnation, c.sent_at, c.arrived)),
            (Some(c), Some(_)) if c.heard => Some((c.incarnation, c.sent_at, c.arrived)),
            (_, Some(s)) => Some((s.incarnation, s.sent_at, s.arrived)),
            (None, None) => None,
        }
    }

    /// accepts the advert, or returns why not. An advert that is not accepted leaves
    /// nothing but a knock that waits for its answer and, with two members, a sign of life.
    pub(crate) fn receive(
        &mut self,
        timing: &Timing,
        mine: Incarnation,
        now: LocalTime,
        advert: &Advert,
    ) -> Result<Accepted, Refused> {
        let names_ours = advert.to_incarnation == Some(mine);
        if let Some(newest) = self.newest_of_replaced(advert.incarnation) {
            // a straggler or a replay of a dead incarnation, and no sign of life. R-21: or a
            // machine that was restored from a snapshot: the answer echoes what it is yet to send.
            if advert.sent_at < newest {
                self.knocked(advert.incarnation, Turn::Replaced { newest });
            }
            let reject = if names_ours {
                Reject::OldIncarnation
            } else {
                Reject::Knock
            };
            return Err(Refused::silently(reject));
        }
        let turn = if names_ours {
            Turn::NamesOurs
        } else {
            Turn::Unknown
        };
        if !names_ours {
            // the current incarnation may not have adopted ours, though it named ours to
            // answer our knock. An advert older than its latest accepted one is late; any other is
            // a sign of life.
            let news = match &self.current {
                Some(c) if c.incarnation == advert.incarnation => {
                    // While it does not hear us, it may name a stranger.
                    if advert.sent_at > c.sent_at {
                        if !c.heard {
                            self.knocked(advert.incarnation, turn);
                        }
                        self.restart_silence_if_news(now, advert)
                    } else {
                        false
                    }
                }
                Some(_) | None => {
                    self.knocked(advert.incarnation, turn);
                    self.restart_silence_if_news(now, advert)
                }
            };
            let reject = Reject::Knock;
            return Err(Refused { reject, news });
        }
        let echo = advert
            .echo
            .filter(|e| *e <= now && timing.bound_until(*e) > now);
        let accepted = match &self.current {
            None => Accepted::Met,
            Some(c) if c.incarnation == advert.incarnation => {
                if advert.sent_at <= c.sent_at {
                    return Err(Refused::silently(Reject::Stale));
                }
                if c.heard {
                    Accepted::Known
                } else {
                    Accepted::Back
                }
            }
            // an incarnation is younger than the current one only if it has accepted an advert
            // that we sent after we adopted the current one. (An echo that is D old proves nothing
            // any more.)
            Some(c) if echo.is_some_and(|e| e > c.adopted_at) => Accepted::Met,
            Some(_) => {
                self.knocked(advert.incarnation, turn);
                let news = self.restart_silence_if_news(now, advert);
                let reject = Reject::OldIncarnation;
                return Err(Refused { reject, news });
            }
        };
        if let (Accepted::Met, Some(c)) = (accepted, &self.current) {
            if self.replaced.is_full() {
                self.replaced.remove(0);
            }
            self.replaced.push((c.incarnation, c.sent_at));
        }
        let adopted_at = match (&self.current, accepted) {
            (Some(c), Accepted::Known | Accepted::Back) => c.adopted_at,
            (None, _) | (Some(_), Accepted::Met) => now,
        };
        self.current = Some(Current {
            incarnation: advert.incarnation,
            adopted_at,
            sent_at: advert.sent_at,
            arrived: now,
            heard: true,
            echo,
            quarantined: advert.quarantined,
            follows: false,
        });
        for (mine, theirs) in self.says.iter_mut().zip(&advert.groups) {
            *mine = *theirs;
        }
        self.owed |= self.says.iter().any(|s| s.asks);
        self.knock.take_if(|k| k.incarnation == advert.incarnation);
        self.strangers.forget(advert.incarnation);
        self.restart_silence(now);
        Ok(accepted)
    }

    /// whether the peer's latest accepted advert lets this member take the next step.
    pub(crate) fn note_step(&mut self, follows: bool) {
        if let Some(current) = &mut self.current {
            current.follows = follows;
        }
    }

    /// see [`Current::follows`].
    pub(crate) fn follows(&self) -> bool {
        self.current.as_ref().is_some_and(|c| c.follows)
    }

    /// the groups have other numbers, or are new; `places` are their numbers so far.
    pub(crate) fn renumber(&mut self, places: &[Option<usize>]) {
        let said = |place: &Option<usize>| place.map_or_else(Statement::default, |p| self.says(p));
        let asked = |place: &Option<usize>| place.and_then(|p| self.asked(p));
        let says = places.iter().map(said).collect();
        self.asked = places.iter().map(asked).collect();
        self.says = says;
        self.note_step(false);
    }

    /// the advert, to whomever it is addressed, is of an incarnation that was replaced,
    /// or is older than the latest accepted advert of the current one.
    pub(crate) fn knows(&self, advert: &Advert) -> bool {
        let older =
            |c: &Current| c.incarnation == advert.incarnation && advert.sent_at <= c.sent_at;
        self.newest_of_replaced(advert.incarnation).is_some()
            || self.current.as_ref().is_some_and(older)
    }

    /// when the newest accepted advert of a replaced incarnation was sent, by its clock.
    fn newest_of_replaced(&self, incarnation: Incarnation) -> Option<LocalTime> {
        let mut replaced = self.replaced.iter();
        replaced.find_map(|(of, newest)| (*of == incarnation).then_some(*newest))
    }

    /// what could not be heard meanwhile is not silence. A sleep is short if an advert that
    /// was sent before it would still make a useful lease.
    pub(crate) fn overslept(&mut self, timing: &Timing, now: LocalTime) {
        let short = self.last_sent.is_some_and(|at| timing.useful(at, now));
        if let Some(s) = &mut self.silence {
            s.overslept(now, short);
        }
        self.strangers.overslept(now);
    }

    /// the failure detector suspects the peer, at least.
    pub(crate) fn suspects(&self) -> bool {
        let silence = self.silence.as_ref();
        silence.is_some_and(|s| s.verdict >= Verdict::Suspected)
    }

    /// a sign of life or the end of quarantine starts the silence again.
    pub(crate) fn restart_silence(&mut self, now: LocalTime) {
        if let Some(s) = &mut self.silence {
            s.restart(now);
        }
    }

    /// a knock is a sign of life unless it is a repetition: a peer that does not know
    /// our new incarnation yet, or whose new incarnation we don't know, is alive all the same.
    fn restart_silence_if_news(&mut self, now: LocalTime, advert: &Advert) -> bool {
        let news = self.silence.is_some() && self.strangers.is_news(advert);
        if news {
            self.restart_silence(now);
        }
        news
    }

    /// of all incarnations that knock, keeps the one whose turn is first. Of equals it keeps the
    /// one with the least rank, so that each is as likely as the others, however many there are and
    /// however often they knock.
    fn knocked(&mut self, incarnation: Incarnation, turn: Turn) {
        let rng = self.rng;
        let rank = |of: Incarnation| splitmix(rng ^ of.0);
        let knock = self.knock.get_or_insert(Knock {
            incarnation,
            turn,
            contested: false,
        });
        if knock.incarnation == incarnation {
            if turn.place() < knock.turn.place() {
                knock.turn = turn;
            }
            return;
        }
        knock.contested = true;
        let place = |turn: Turn, of: Incarnation| (turn.place(), rank(of));
        let goes_first = place(turn, incarnation) < place(knock.turn, knock.incarnation);
        if goes_first {
            (knock.incarnation, knock.turn) = (incarnation, turn);
        }
    }

    /// the incarnation whose knock is answered now, at most one per interval, and what the
    /// answer echoes of a replaced one.
    pub(crate) fn answer_knock(
        &mut self,
        now: LocalTime,
    ) -> Option<(Incarnation, Option<LocalTime>)> {
        if self.knock_answered.is_some() {
            return None;
        }
        let knock = self.knock.take()?;
        self.knock_answered = Some(now);
        if knock.contested {
            self.rng = splitmix(self.rng);
        }
        let echo = match knock.turn {
            Turn::Replaced { newest } => Some(newest),
            Turn::NamesOurs | Turn::Unknown => None,
        };
        Some((knock.incarnation, echo))
    }

    /// Ends what is over. Returns whether the peer was just lost.
    pub(crate) fn expire(&mut self, timing: &Timing, now: LocalTime) -> bool {
        if self
            .knock_answered
            .is_some_and(|at| at.plus(timing.interval()) <= now)
        {
            self.knock_answered = None;
        }
        self.strangers.expire(timing, now);
        self.measure_silence(timing, now);
        let Some(current) = &mut self.current else {
            return false;
        };
        if current.echo.is_some_and(|e| timing.bound_until(e) <= now) {
            current.echo = None;
        }
        let lost = current.heard && timing.bound_until(current.arrived) <= now;
        if lost {
            current.heard = false;
            self.says.fill(Statement::default()); // no rule goes by what a lost peer once said
        }
        lost
    }

    /// updates what the failure detector says.
    pub(crate) fn measure_silence(&mut self, timing: &Timing, now: LocalTime) {
        if let Some(s) = &mut self.silence {
            s.measure(timing, now, &self.strangers);
        }
    }

    /// Notes that an advert goes out now that asks for the groups in `asks`.
    pub(crate) fn sent(&mut self, now: LocalTime, asks: impl Iterator<Item = bool>) {
        self.last_sent = Some(now);
        self.owed = false;
        for (asked, asks) in self.asked.iter_mut().zip(asks) {
            // an advert that does not ask revokes every earlier ask.
            *asked = if asks { asked.or(Some(now)) } else { None };
        }
    }

    /// when the next advert is due: every i; every i/4 while an answer is owed or late. A
    /// member that is asked and does not ask back adds i/4 to the i, for its answers set the pace.
    /// A peer that is not heard is not hurried for, but by one that `holds_alone`: the peer may hold,
    /// too, and one of the two lets go when it hears the other.
    pub(crate) fn send_due(
        &self,
        timing: &Timing,
        me: MemberId,
        mine: Incarnation,
        holds_alone: bool,
    ) -> Option<LocalTime> {
        let last = self.last_sent?;
        let regular = last.plus(timing.interval());
        let Some(current) = self.current.as_ref().filter(|c| c.heard) else {
            let pace = if holds_alone {
                timing.alone()
            } else {
                timing.interval()
            };
            return Some(last.plus(pace));
        };
        let asked_by = self.says.iter().any(|s| s.asks);
        let asking = self.asked.iter().any(Option::is_some);
        let paced = if asked_by && !asking {
            regular.plus(timing.hurry())
        } else {
            regular
        };
        let echo_owed = (self.owed && !asking).then_some(current.arrived);
        let word_late = current.arrived.plus(timing.late());
        let echo_late = current.echo.map_or(current.arrived, |e| {
            e.plus(timing.late().plus(timing.interval()))
        });
        // A peer that asks as well answers only with its next regular advert.
        let late_after = if asked_by {
            timing.late().plus(timing.interval())
        } else {
            timing.late()
        };
        let vote_late = self
            .says
            .iter()
            .zip(&self.asked)
            .filter(|(_, asked)| asked.is_some())
            .filter_map(|(says, _)| says.vote)
            .filter(|b| b.member == me && b.incarnation == mine)
            .map(|b| b.asked_at.plus(late_after))
            .min();
        let answers = echo_owed.into_iter().chain(vote_late);
        let soonest = answers.fold(word_late.min(echo_late), LocalTime::min);
        let hurried = soonest.max(last.plus(timing.hurry()));
        Some(paced.min(hurried))
    }

    /// When something in this session next changes by itself: the instants are visited in no order.
    pub(crate) fn deadlines(
        &self,
        timing: &Timing,
        me: MemberId,
        mine: Incarnation,
        holds_alone: bool,
        visit: &mut impl FnMut(LocalTime),
    ) {
        let current = self.current.as_ref();
        let heard = current
            .filter(|c| c.heard)
            .map(|c| timing.bound_until(c.arrived));
        let echo = current.and_then(|c| c.echo).map(|e| timing.bound_until(e));
        let answered = self.knock_answered.map(|at| at.plus(timing.interval()));
        let due = self.send_due(timing, me, mine, holds_alone);
        let silence = self.silence.as_ref();
        let later = silence.and_then(|s| s.deadline(timing, &self.strangers));
        for at in [heard, echo, answered, due, later].into_iter().flatten() {
            visit(at);
        }
        self.strangers.deadlines(timing).for_each(visit);
    }
}

impl Session {
    /// See [`Node::instants`](crate::Node::instants).
    pub(crate) fn instants(
        &mut self,
        me: MemberId,
        visit: &mut impl FnMut(MemberId, &mut LocalTime),
    ) {
        if let Some(current) = &mut self.current {
            visit(self.peer, &mut current.sent_at);
            let own = [Some(&mut current.adopted_at), Some(&mut current.arrived)];
            let own = own.into_iter().chain([current.echo.as_mut()]).flatten();
            own.for_each(|t| visit(me, t));
        }
        for ballot in self.says.iter_mut().filter_map(|s| s.vote.as_mut()) {
            visit(ballot.member, &mut ballot.asked_at);
        }
        if let Some(silence) = &mut self.silence {
            visit(me, &mut silence.since);
        }
        let replaced = self.replaced.iter_mut().map(|(_, newest)| newest);
        let turn = self.knock.as_mut().and_then(|k| match &mut k.turn {
            Turn::Replaced { newest } => Some(newest),
            Turn::NamesOurs | Turn::Unknown => None,
        });
        replaced.chain(turn).for_each(|t| visit(self.peer, t));
        self.strangers.instants(me, self.peer, visit);
        let asked = self.asked.iter_mut().flatten();
        let own = asked
            .chain(&mut self.last_sent)
            .chain(&mut self.knock_answered);
        own.for_each(|t| visit(me, t));
    }
}

/// The SplitMix64 step: spreads a seed over 64 bits.
pub(crate) const fn splitmix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

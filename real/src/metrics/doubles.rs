//! Senders whose adverts are authentic and rejected all the same: mostly one machine too many.
//!
//! For a moment after a start that is usual. If it lasts, two machines run as one member, or one
//! does not hear this member; the counters alone would not say which, nor where.

use onehold_core::advert::{Advert, Incarnation, MemberId};
use onehold_core::config::Config;
use onehold_core::lease::Timing;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// At most this many are remembered.
const MAX: usize = 16;
/// A sender that was silent for this long has gone.
const GONE: Span = Span::from_millis(10_000);

/// Who sent an authentic advert, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its sender.
    pub from: MemberId,
    /// Its sender's incarnation.
    pub incarnation: Incarnation,
    /// The incarnation of the receiver that it names.
    pub to: Option<Incarnation>,
    /// Its sender holds something.
    pub holds: bool,
    /// When it was sent, by its sender's clock.
    pub sent_at: LocalTime,
}

impl From<&Advert> for Head {
    fn from(advert: &Advert) -> Self {
        Self {
            from: advert.from,
            incarnation: advert.incarnation,
            to: advert.to_incarnation,
            holds: advert.groups.iter().any(|g| g.holds),
            sent_at: advert.sent_at,
        }
    }
}

/// Why a sender's adverts are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vain {
    /// It does not hear this member: it knows none of its incarnations, or a former one.
    Unhearing,
    /// A later incarnation followed its own.
    Superseded,
    /// A peer that is two-way with this member answers another incarnation of it.
    ForAnotherOfUs,
    /// They are for another member, or from this one.
    Misdirected,
    /// They came before, over the only path there is.
    Twice,
}

#[derive(Clone, Copy, Debug)]
struct Sender {
    member: MemberId,
    vain: Vain,
    since: LocalTime,
    at: LocalTime,
    /// It has gone on for long, without a pause.
    lasts: bool,
}

/// All such senders, by address and by the incarnation that it is about.
#[derive(Clone, Debug)]
pub struct Doubles {
    all: BTreeMap<(SocketAddr, Incarnation), Sender>,
    /// After a longer pause, `since` starts again.
    pause: Span,
    /// What goes on for this long lasts.
    long: Span,
}

/// What is known of a rejected advert's sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownSender {
    /// The incarnation of it that was accepted last.
    pub(super) incarnation: Option<Incarnation>,
    /// There is exactly one path to it.
    pub(super) one_way: bool,
}

impl Doubles {
    /// None yet.
    #[must_use]
    pub fn new(timing: &Timing) -> Self {
        let interval = timing.interval();
        Self {
            all: BTreeMap::new(),
            pause: interval.times(10).max(Span::from_millis(1_000)),
            long: interval.times(50).max(Span::from_millis(2_000)),
        }
    }

    /// another timing is in force.
    pub(super) fn change(&mut self, timing: &Timing) {
        let all = std::mem::take(&mut self.all);
        *self = Self {
            all,
            ..Self::new(timing)
        };
    }

    /// None now, nor lately.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// An authentic advert was rejected.
    pub(super) fn rejected(
        &mut self,
        why: Reject,
        head: Head,
        from: SocketAddr,
        known: KnownSender,
        at: LocalTime,
    ) {
        let talked_with = known.incarnation == Some(head.incarnation);
        let (vain, incarnation) = match why {
            Reject::Knock if talked_with => match head.to {
                Some(other) => (Vain::ForAnotherOfUs, other),
                None => return,
            },
            Reject::Knock => (Vain::Unhearing, head.incarnation),
            Reject::OldIncarnation => (Vain::Superseded, head.incarnation),
            Reject::NotToMe => (Vain::Misdirected, head.incarnation),
            Reject::Stale if known.one_way && talked_with => (Vain::Twice, head.incarnation),
            Reject::Stale
            | Reject::TooShort
            | Reject::NotOurs
            | Reject::WrongCluster
            | Reject::UnknownKey(_)
            | Reject::BadSeal
            | Reject::Malformed
            | Reject::UnknownMember
            | Reject::OtherConfig { .. } => return,
        };
        let key = (from, incarnation);
        if self.all.len() >= MAX
            && !self.all.contains_key(&key)
            && let Some(oldest) = self.all.iter().min_by_key(|(_, s)| s.at).map(|(k, _)| *k)
        {
            self.all.remove(&oldest);
        }
        let new = Sender {
            member: head.from,
            vain,
            since: at,
            at,
            lasts: false,
        };
        let sender = self.all.entry(key).or_insert(new);
        let paused = at.since(sender.at) >= self.pause;
        if sender.vain != vain || (paused && !sender.lasts) {
            *sender = new;
        }
        sender.at = at;
        sender.lasts |= at.since(sender.since) >= self.long;
    }

    /// Forgets senders that have gone.
    pub(super) fn expire(&mut self, now: LocalTime) {
        self.all.retain(|_, s| now.since(s.at) < GONE);
        if self.all.is_empty() {
            self.all = BTreeMap::new(); // a map that was emptied keeps its room
        }
    }

    fn lasting(&self) -> impl Iterator<Item = (SocketAddr, &Sender)> {
        let all = self.all.iter().filter(|(_, s)| s.lasts);
        all.map(|((from, _), sender)| (*from, sender))
    }

    /// Why a member that does send is not heard, as the end of an alarm.
    #[must_use]
    pub fn why_unheard(&self, member: MemberId) -> Option<String> {
        let mut of_it = self.lasting().filter(|(_, s)| s.member == member);
        of_it.find_map(|(from, s)| match s.vain {
            Vain::Unhearing => Some(format!(
                "; it sends, from {from}, and does not hear this member: what is sent to it is lost (a firewall?), or \
                 reaches another machine that has its address"
            )),
            Vain::Superseded => Some(format!(
                "; what comes from {from} is of an incarnation that a later one followed: two machines ran as it. \
                 Restart the one that should stay"
            )),
            Vain::ForAnotherOfUs | Vain::Misdirected | Vain::Twice => None,
        })
    }

    /// What is wrong, in words. `accepted` says when a member was last accepted, `home` from where,
    /// `is_its` whether it has an address.
    pub(super) fn in_words(
        &self,
        config: &Config,
        now: LocalTime,
        accepted: impl Fn(MemberId) -> Option<LocalTime>,
        home: impl Fn(MemberId) -> Option<SocketAddr>,
        is_its: impl Fn(MemberId, SocketAddr) -> bool,
    ) -> Vec<String> {
        let me = config.member_name(config.me());
        let heard = |member| {
            let lately = |at| now.since(at) < config.timing().vote();
            accepted(member).is_some_and(lately)
        };
        let words = |(from, s): (SocketAddr, &Sender)| {
            let name = config.member_name(s.member);
            match s.vain {
                Vain::Unhearing | Vain::Superseded if !heard(s.member) => None, // not heard, which is an alarm already
                Vain::Unhearing | Vain::Superseded if is_its(s.member, from) => Some(format!(
                    "two machines run as {name}, and both have its address: what comes from {from} is of two \
                     incarnations. Find the second (a copied machine, a forgotten container) and stop it; then \
                     restart the first"
                )),
                Vain::Unhearing | Vain::Superseded => {
                    let other = home(s.member)
                        .map_or_else(String::new, |at| format!(", the other from {at}"));
                    Some(format!(
                        "two machines run as {name}: one of them sends from {from}, which is not its address in the \
                         file here{other}. Stop the first"
                    ))
                }
                Vain::ForAnotherOfUs => Some(format!(
                    "another machine runs as {me}, too: {name}, at {from}, answers it. Find it and stop it"
                )),
                Vain::Misdirected if s.member == config.me() => Some(format!(
                    "what comes from {from} says that it is from {me}, and that is this member: another machine \
                     runs as it, or something sends back what this member sends. Find it and stop it"
                )),
                Vain::Misdirected => Some(format!(
                    "what comes from {from} is meant for another member: there, this host's address is that \
                     member's. Do all hosts resolve the members' names to the same addresses? Write addresses \
                     in the file"
                )),
                Vain::Twice => Some(format!(
                    "what comes from {from} comes twice: the network repeats it, or two machines run as {name} \
                     with one memory (a virtual machine that was copied while it ran). If so, stop one and \
                     restart the other"
                )),
            }
        };
        self.lasting().filter_map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{THREE, cluster};

    const I: u64 = 100;

    fn ms(at: u64) -> LocalTime {
        LocalTime::from_nanos(at * 1_000_000)
    }

    fn head(incarnation: u64, to: Option<u64>) -> Head {
        Head {
            from: MemberId(1),
            incarnation: Incarnation(incarnation),
            to: to.map(Incarnation),
            holds: false,
            sent_at: LocalTime::from_nanos(0),
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// What `lb0` says after `head` was rejected each interval for `span`, while it is two-way with
    /// lb1's incarnation 1.
    fn said(
        why: Reject,
        head: Head,
        from: &str,
        span: u64,
        heard: bool,
    ) -> (String, Option<String>) {
        let cluster = cluster(THREE, "lb0");
        let mut doubles = Doubles::new(cluster.config.timing());
        let known = KnownSender {
            incarnation: heard.then_some(Incarnation(1)),
            one_way: true,
        };
        for n in 0..=span / I {
            doubles.rejected(why, head, at(from), known, ms(n * I));
        }
        let is_its = |_, from: SocketAddr| from == at("10.0.0.11:6946");
        let words = doubles
            .in_words(
                &cluster.config,
                ms(span),
                |_| heard.then_some(ms(span)),
                |_| Some(at("10.0.0.11:6946")),
                is_its,
            )
            .join("\n");
        let unheard = doubles.why_unheard(MemberId(1));
        doubles.expire(ms(span + 9_999));
        assert!(!doubles.is_empty() || words.is_empty());
        doubles.expire(ms(span + 10_000));
        assert!(doubles.is_empty());
        (words, unheard)
    }

    #[test]
    fn a_former_incarnation_that_goes_on_sending_is_a_second_machine() {
        let (words, _) = said(
            Reject::OldIncarnation,
            head(7, Some(9)),
            "10.0.0.11:6946",
            5_000,
            true,
        );
        assert!(
            words.starts_with(
                "two machines run as lb1, and both have its address: what comes from 10.0.0.11:6946"
            ),
            "{words}"
        );
        let (words, _) = said(Reject::Knock, head(7, None), "10.0.0.99:6946", 5_000, true);
        assert!(
            words.starts_with("two machines run as lb1: one of them sends from 10.0.0.99:6946"),
            "{words}"
        );
        assert!(words.contains("the other from 10.0.0.11:6946"), "{words}");
        let (words, _) = said(
            Reject::Knock,
            head(1, Some(8)),
            "10.0.0.11:6946",
            5_000,
            true,
        );
        assert!(
            words.starts_with("another machine runs as lb0, too: lb1, at 10.0.0.11:6946"),
            "{words}"
        );
        let (words, _) = said(
            Reject::NotToMe,
            head(1, None),
            "10.0.0.11:6946",
            5_000,
            true,
        );
        assert!(words.contains("is meant for another member"), "{words}");
        let (words, _) = said(
            Reject::Stale,
            head(1, Some(9)),
            "10.0.0.11:6946",
            5_000,
            true,
        );
        assert!(words.contains("comes twice"), "{words}");
    }

    #[test]
    fn what_is_usual_for_a_moment_after_a_start_raises_no_alarm() {
        for why in [Reject::OldIncarnation, Reject::Knock, Reject::NotToMe] {
            let (words, unheard) = said(why, head(7, None), "10.0.0.11:6946", 4_900, true);
            assert_eq!((words.as_str(), unheard), ("", None));
        }
        // Nor does a member that is started again and again: each incarnation is another.
        let cluster = cluster(THREE, "lb0");
        let mut doubles = Doubles::new(cluster.config.timing());
        let known = KnownSender {
            incarnation: Some(Incarnation(1)),
            one_way: true,
        };
        for n in 0..1_000 {
            doubles.rejected(
                Reject::Knock,
                head(n / 10 + 10, None),
                at("10.0.0.11:6946"),
                known,
                ms(n * I),
            );
            // A repetition now and then is the network's.
            if n % 15 == 0 {
                doubles.rejected(
                    Reject::Stale,
                    head(1, None),
                    at("10.0.0.11:6946"),
                    known,
                    ms(n * I),
                );
            }
        }
        assert_eq!(doubles.lasting().count(), 0);
        assert!(doubles.all.len() <= MAX);
    }

    #[test]
    fn of_a_member_that_sends_and_does_not_hear_us_it_is_said_why_it_is_not_heard() {
        let (words, unheard) = said(Reject::Knock, head(7, None), "10.0.0.11:6946", 5_000, false);
        assert_eq!(words, "");
        assert!(unheard.unwrap().contains("does not hear this member"));
        let (_, unheard) = said(
            Reject::OldIncarnation,
            head(7, None),
            "10.0.0.11:6946",
            5_000,
            false,
        );
        assert!(unheard.unwrap().contains("Restart the one"));
    }
}

//! What follows from who answered which request, and when. Reads no clock.
//!
//! An answer is one to the latest request: on a network whose round trip is shorter than the time
//! between two requests that is so, and [`super::observe`] says how long a round trip took.
//!
//! **Outage.** Whoever answered did so after the request was sent and before its answer was read.
//! So between two answers nobody answered for at most the time from the sending of the first one's
//! request to the reading of the second one. That counts, with all that the observer itself missed:
//! an outage is never reported shorter than what may have been.
//!
//! **Two.** One request that two answered proves nothing: the address may have moved between its
//! arrival at the one and at the other. Two such requests in a row do prove it, for the first was
//! at the second machine before the second request was at the first. So two answered from the
//! first of a run of such requests to its last, and for one period more, which lies at its edges.

use super::lines::{Figures, Who};
use onehold_core::time::{LocalTime, Span};

/// No request counts more answers: others forge as many as they like.
const MOST: usize = 8;
/// Nobody answers once no request was answered for this long, and for this many requests: single
/// ones get lost.
const NOBODY: Span = Span::from_millis(30);
const NOBODY_REQUESTS: u64 = 4;

/// What was seen so far.
#[derive(Debug)]
pub struct Tally {
    every: Span,
    /// When the own daemon last said that its gate is shut, if it is asked: while it says nothing,
    /// nobody knows that nobody answers.
    own_shut: Option<LocalTime>,
    /// The latest request.
    round: Option<Round>,
    /// The sending of the latest request that somebody answered, or of the very first.
    answered: Option<LocalTime>,
    /// The latest request that has its answers was answered by two; and so was the one before.
    shared: bool,
    run: bool,
    /// Who answers, and since when they are seen to.
    current: Vec<Who>,
    /// The first of several requests that nobody answered, or the one that two did.
    unanswered_since: Option<LocalTime>,
    shared_since: Option<LocalTime>,
    since: LocalTime,
    window: Window,
    whole: Window,
    began: LocalTime,
}

/// Figures of a stretch, in exact spans.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    requests: u64,
    unanswered: u64,
    outage: Span,
    two: Span,
    both_once: u64,
    hole: Span,
}

/// A request.
#[derive(Clone, Debug)]
struct Round {
    asked: LocalTime,
    by: Vec<Who>,
}

/// Others answer than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Since which request.
    pub at: LocalTime,
    /// Who.
    pub by: Vec<Who>,
}

impl Tally {
    /// Nothing is seen yet; a request will be sent this often, and the own daemon asked, too, or
    /// not.
    #[must_use]
    pub fn new(every: Span, asks_own_daemon: bool, now: LocalTime) -> Self {
        Self {
            every,
            own_shut: asks_own_daemon.then_some(now),
            round: None,
            answered: None,
            shared: false,
            run: false,
            current: Vec::new(),
            unanswered_since: None,
            shared_since: None,
            since: now,
            window: Window::default(),
            whole: Window::default(),
            began: now,
        }
    }

    /// A request was sent at `now`. Returns a change that the one before has shown.
    pub fn asked(&mut self, now: LocalTime) -> Option<Change> {
        let before = self.round.replace(Round {
            asked: now,
            by: Vec::new(),
        });
        self.answered.get_or_insert(now);
        self.count(|window| window.requests += 1);
        let before = before?;
        let apart = now.since(before.asked);
        self.count(|window| window.hole = window.hole.max(apart));
        self.settle(before, apart)
    }

    /// Somebody answered at `now`, what was asked at `asked` or later.
    pub fn heard(&mut self, asked: LocalTime, now: LocalTime, who: Who) {
        let Some(round) = &mut self.round else { return };
        let asked = asked.min(round.asked);
        if !round.by.iter().any(|by| by.text() == who.text()) && round.by.len() < MOST {
            round.by.push(who);
            round.by.sort();
        }
        let outage = self.answered.map_or(Span::ZERO, |at| now.since(at));
        self.answered = self.answered.max(Some(asked));
        self.count(|window| window.outage = window.outage.max(outage));
    }

    /// The own daemon said at `now` that its gate is shut.
    pub fn shut(&mut self, now: LocalTime) {
        self.own_shut = Some(now);
    }

    /// The sending of the latest request.
    #[must_use]
    pub fn last_asked(&self) -> Option<LocalTime> {
        self.round.as_ref().map(|round| round.asked)
    }

    /// The figures since the last call, up to `now`.
    pub fn window(&mut self, now: LocalTime) -> Figures {
        self.up_to(now);
        let (window, since) = (std::mem::take(&mut self.window), self.since);
        self.since = now;
        window.figures(now.since(since))
    }

    /// The figures of all, up to `now`.
    pub fn whole(&mut self, now: LocalTime) -> Figures {
        self.up_to(now);
        self.whole.figures(now.since(self.began))
    }

    /// What is not over yet counts as far as it went.
    fn up_to(&mut self, now: LocalTime) {
        let outage = self.answered.map_or(Span::ZERO, |at| now.since(at));
        let hole = self.last_asked().map_or(Span::ZERO, |at| now.since(at));
        self.count(|window| {
            window.outage = window.outage.max(outage);
            window.hole = window.hole.max(hole);
        });
    }

    fn count(&mut self, count: impl Fn(&mut Window)) {
        count(&mut self.window);
        count(&mut self.whole);
    }

    /// A request has the answers that it gets; the next one followed it by `apart`.
    fn settle(&mut self, round: Round, apart: Span) -> Option<Change> {
        let (was_shared, is_shared) = (self.shared, round.by.len() > 1);
        self.shared = is_shared;
        match (was_shared, is_shared) {
            (false, true) => self.count(|window| window.both_once += 1),
            (true, true) => {
                let first = !self.run;
                let every = self.every;
                self.count(|window| {
                    window.two = window.two.plus(apart);
                    if first {
                        window.two = window.two.plus(every);
                        window.both_once = window.both_once.saturating_sub(1);
                    }
                });
            }
            (_, false) => {}
        }
        self.run = was_shared && is_shared;
        if round.by.is_empty() {
            self.count(|window| window.unanswered += 1);
        }
        self.change(round)
    }

    fn change(&mut self, Round { asked, by }: Round) -> Option<Change> {
        if by.is_empty() {
            let since = *self.unanswered_since.get_or_insert(asked);
            let least = NOBODY.max(self.every.times(NOBODY_REQUESTS));
            let known = self.own_shut.is_none_or(|at| at >= since);
            let nobody = asked.since(since) >= least && known && !self.current.is_empty();
            return nobody.then(|| self.becomes(since, by));
        }
        self.unanswered_since = None;
        if by
            .iter()
            .map(Who::text)
            .eq(self.current.iter().map(Who::text))
        {
            self.shared_since = None;
            return None;
        }
        match (by.len(), self.shared_since) {
            (1, since) => Some(self.becomes(since.unwrap_or(asked), by)),
            (_, Some(since)) => Some(self.becomes(since, by)),
            (_, None) => {
                self.shared_since = Some(asked);
                None
            }
        }
    }

    fn becomes(&mut self, at: LocalTime, by: Vec<Who>) -> Change {
        self.shared_since = None;
        self.current.clone_from(&by);
        Change { at, by }
    }
}

impl Window {
    fn figures(self, length: Span) -> Figures {
        let ms = |span: Span| (span.as_millis_f64() * 1e3).round() / 1e3;
        Figures {
            for_ms: ms(length),
            requests: self.requests,
            unanswered: self.unanswered,
            outage_ms: ms(self.outage),
            two_ms: ms(self.two),
            both_once: self.both_once,
            hole_ms: ms(self.hole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> LocalTime {
        LocalTime::from_nanos(us * 1_000)
    }

    fn who(name: &str) -> Who {
        Who {
            mac: "02:00:00:00:00:01".into(),
            name: Some(name.into()),
        }
    }

    /// A request every 5 ms; each character is one: who answers it 200 us later.
    fn tally(answers: &str) -> (Figures, String) {
        let mut tally = Tally::new(Span::from_millis(5), false, at(0));
        let mut changes = String::new();
        let mut us = 0;
        for answer in answers.chars() {
            let by: &[&str] = match answer {
                'a' => &["a"],
                'b' => &["b"],
                '2' => &["a", "b"],
                '.' => &[],
                '_' => {
                    us += 5_000; // the observer is not run
                    continue;
                }
                other => panic!("{other}"),
            };
            let asked = tally.asked(at(us));
            for name in by {
                tally.heard(at(us), at(us + 200), who(name));
            }
            us += 5_000;
            if let Some(Change { at, by }) = asked {
                let by: Vec<&str> = by.iter().map(Who::text).collect();
                changes += &format!("{}:{} ", at.as_nanos() / 1_000_000, by.join("+"));
            }
        }
        (tally.whole(at(us)), changes)
    }

    #[test]
    fn an_outage_is_as_long_as_it_may_have_been() {
        let (figures, changes) = tally("aaaa..........bbbb");
        assert_eq!(changes, "0:a 20: 70:b ");
        // From the sending of the last request that a answered, at 15 ms, to b's first answer.
        assert_eq!((figures.outage_ms, figures.two_ms), (55.2, 0.0));
        assert_eq!((figures.requests, figures.unanswered), (18, 10));
        let (figures, changes) = tally("aaaabbbb");
        assert_eq!((figures.outage_ms, changes.as_str()), (5.2, "0:a 20:b "));
        assert_eq!(tally("....").0.outage_ms, 20.0);
        assert_eq!(tally("a...").0.outage_ms, 20.0, "it is not over yet");
    }

    #[test]
    fn what_the_observer_missed_is_reported_and_counts() {
        let (figures, _) = tally("aaaa____aaaa");
        assert_eq!((figures.hole_ms, figures.outage_ms), (25.0, 25.2));
        assert_eq!(figures.unanswered, 0);
    }

    #[test]
    fn two_requests_in_a_row_prove_two_and_one_does_not() {
        let (figures, changes) = tally("aaa2bbb2b");
        assert_eq!((figures.two_ms, figures.both_once), (0.0, 2));
        assert_eq!(changes, "0:a 15:b ");
        let (figures, changes) = tally("aaa22bbb");
        assert_eq!((figures.two_ms, figures.both_once), (10.0, 0));
        assert_eq!(changes, "0:a 15:a+b 25:b ");
        let (figures, _) = tally("aaa2222bbb");
        assert_eq!((figures.two_ms, figures.both_once), (20.0, 0));
    }

    #[test]
    fn one_request_that_is_lost_is_no_change() {
        assert_eq!(tally("aaa.aa...aaa").1, "0:a ");
    }

    /// It may hold, and its daemon is slow to say so.
    #[test]
    fn while_the_own_daemon_says_nothing_nobody_knows_that_nobody_answers() {
        let mut tally = Tally::new(Span::from_millis(5), true, at(0));
        let ask = |tally: &mut Tally, n: u64| tally.asked(at(n * 5_000));
        let _ = ask(&mut tally, 1);
        tally.heard(at(5_000), at(5_200), who("a"));
        assert!(ask(&mut tally, 2).is_some_and(|change| change.by == [who("a")]));
        assert!((3..40).all(|n| ask(&mut tally, n).is_none()));
        assert_eq!(tally.window(at(200_000)).outage_ms, 195.0, "it may be");
        tally.shut(at(200_000));
        let change = ask(&mut tally, 40);
        assert_eq!(
            change,
            Some(Change {
                at: at(10_000),
                by: Vec::new()
            })
        );
    }

    #[test]
    fn a_window_begins_with_what_was_going_on() {
        let mut tally = Tally::new(Span::from_millis(5), false, at(0));
        let _ = tally.asked(at(0));
        tally.heard(at(0), at(200), who("a"));
        for n in 1..10 {
            let _ = tally.asked(at(n * 5_000));
        }
        assert_eq!(tally.window(at(50_000)).outage_ms, 50.0);
        let _ = tally.asked(at(50_000));
        tally.heard(at(50_000), at(50_300), who("b"));
        let second = tally.window(at(51_000));
        assert_eq!((second.outage_ms, second.requests), (50.3, 1));
        assert_eq!(tally.window(at(52_000)).outage_ms, 2.0);
    }

    /// Two network cards of one machine may both answer.
    #[test]
    fn two_hardware_addresses_of_one_member_are_one() {
        let mut tally = Tally::new(Span::from_millis(5), false, at(0));
        for n in 0..4 {
            let _ = tally.asked(at(n * 5_000));
            tally.heard(at(n * 5_000), at(n * 5_000), who("a"));
            let other = Who {
                mac: "02:00:00:00:00:02".into(),
                ..who("a")
            };
            tally.heard(at(n * 5_000), at(n * 5_000), other);
        }
        assert_eq!(tally.whole(at(20_000)).two_ms, 0.0);
    }
}

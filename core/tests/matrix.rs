//! Every state against every input, as a table to be read: what a node wants done.

mod world;

use onehold_core::advert::{Incarnation, Statement};
use onehold_core::auth::Authentic;
use onehold_core::effect::{Effect, Event, ReleaseId};
use onehold_core::input::{Command, Input};
use onehold_core::time::{LocalTime, Span};
use std::fmt::Write as _;
use world::alone::*;
use world::*;

/// A candidate `b`, or a witness, of three members, in every state.
fn states() -> Vec<(&'static str, Alone)> {
    let mut quarantined = Alone::new(3, MAJORITY, B);
    quarantined.restart(Span::ZERO);
    let (asking, _) = Alone::asking(B);
    let mut voted = Alone::new(3, MAJORITY, B);
    voted.hears(A, holds());
    let holder = || Alone::holding(&spec(3, MAJORITY), B);
    let mut yielding = holder();
    yielding.hears(A, ready());
    yielding.now += ms(1);
    yielding.operator(Command::Switch);
    let mut releasing = holder();
    let _ = releasing.input(Input::HoldFailed { group: WEB });
    let mut all = vec![
        ("standby in quarantine", quarantined),
        ("standby, hears nobody", Alone::new(3, MAJORITY, B)),
        ("standby, asking", asking),
        ("standby, voted for a", voted),
        ("holder", holder()),
        ("holder, yielding", yielding),
        ("releasing", releasing),
        ("witness", Alone::new(3, MAJORITY, W)),
    ];
    for (_, n) in &mut all {
        n.now += ms(1);
    }
    all
}

fn holds() -> Statement {
    Statement {
        holds: true,
        ..asks()
    }
}

/// Every input, made for the node's present time.
fn inputs(n: &Alone) -> Vec<(&'static str, Input)> {
    let heard = |advert| Input::Received(Authentic::assumed(advert));
    let from_a = |s| heard(n.says(A, s));
    let asks_unready = Statement {
        asks: true,
        ..Statement::default()
    };
    let mut knock = n.says(A, asks_unready);
    knock.to_incarnation = None;
    let mut other_incarnation = n.says(A, asks_unready);
    other_incarnation.incarnation = Incarnation(7);
    let operator = |command| Input::Operator {
        group: WEB,
        command,
    };
    vec![
        ("time passes", Input::Wake),
        ("a says nothing", from_a(Statement::default())),
        ("a asks", from_a(asks())),
        ("a holds", from_a(holds())),
        (
            "a yields",
            from_a(Statement {
                asks: true,
                holds: true,
                yields: true,
                ..Statement::default()
            }),
        ),
        ("w votes for it", heard(n.says(W, n.grants(n.now)))),
        (
            "w votes for a",
            heard(n.says(W, votes(A, Incarnation(100), 1))),
        ),
        ("a knocks", heard(knock)),
        ("other incarnation of a asks", heard(other_incarnation)),
        (
            "kernel confirms",
            Input::Released {
                group: WEB,
                release: ReleaseId(true),
            },
        ),
        (
            "kernel confirms an old one",
            Input::Released {
                group: WEB,
                release: ReleaseId(false),
            },
        ),
        ("kernel refuses", Input::HoldFailed { group: WEB }),
        (
            "not eligible",
            Input::Eligible {
                group: WEB,
                eligible: false,
            },
        ),
        (
            "unhealthy",
            Input::Health {
                group: WEB,
                healthy: false,
            },
        ),
        (
            "prepared",
            Input::Prepared {
                group: WEB,
                done: true,
            },
        ),
        (
            "can't be prepared",
            Input::Prepared {
                group: WEB,
                done: false,
            },
        ),
        ("foreign claim", Input::ForeignClaim { group: WEB }),
        (
            "a probe is answered",
            Input::ProbeAnswered {
                group: WEB,
                probed_at: LocalTime::from_nanos(n.now),
            },
        ),
        ("switch", operator(Command::Switch)),
        ("standby", operator(Command::Standby)),
        ("stay away", operator(Command::StayAway)),
        ("resume", operator(Command::Resume)),
        ("freeze", operator(Command::Freeze)),
        ("thaw", operator(Command::Thaw)),
        ("presume-dead", operator(Command::PresumeDead)),
        ("stop", operator(Command::Stop)),
    ]
}

fn in_words(n: &Alone, effects: &[Effect]) -> String {
    let mut words = Vec::new();
    for e in effects {
        words.push(match e {
            Effect::EndIncarnation => "END".to_owned(),
            Effect::Release { .. } => "RELEASE".to_owned(),
            Effect::HoldUntil { deadline, .. } => {
                format!("HOLD for {}", deadline.since(LocalTime::from_nanos(n.now)))
            }
            Effect::Prepare { .. } => "PREPARE".to_owned(),
            Effect::Announce { .. } => "announce".to_owned(),
            Effect::Probe { .. } => "probe".to_owned(),
            Effect::Report(Event::Role { from, to, why, .. }) => {
                format!("{} → {} ({})", from.text(), to.text(), why.rule())
            }
            Effect::Report(other) => format!("{other:?}")
                .split([' ', '{'])
                .next()
                .unwrap()
                .to_lowercase(),
            Effect::Send { to, advert } => {
                let s = advert.groups[0];
                let flags = [
                    (s.asks, "asks"),
                    (s.holds, "holds"),
                    (s.ready, "ready"),
                    (s.yields, "yields"),
                    (s.frozen, "frozen"),
                ];
                let mut said: Vec<String> = flags
                    .iter()
                    .filter(|(on, _)| *on)
                    .map(|(_, name)| (*name).to_owned())
                    .collect();
                said.extend(
                    s.vote
                        .map(|v| format!("votes {}", ["a", "b", "w"][usize::from(v.member.0)])),
                );
                format!(
                    "to {}: {}",
                    ["a", "b", "w"][usize::from(to.0)],
                    said.join(" ")
                )
            }
        });
    }
    if words.is_empty() {
        "–".to_owned()
    } else {
        words.join(" · ")
    }
}

#[test]
fn every_state_against_every_input() {
    let mut table = String::new();
    for (state, n) in states() {
        writeln!(table, "{state}").unwrap();
        for (input, made) in inputs(&n) {
            let mut out = Vec::new();
            let now = LocalTime::from_nanos(n.now);
            let mut node = n.node.clone();
            let result = node.handle(&n.config, now, made, &mut out);
            let rejected = result
                .err()
                .map(|r| format!("rejected: {r}; "))
                .unwrap_or_default();
            writeln!(table, "  {input:<27} {rejected}{}", in_words(&n, &out)).unwrap();
        }
        writeln!(table).unwrap();
    }
    insta::assert_snapshot!(table);
}

//! The chaos monkey: a timeline that nobody wrote.
//!
//! One thing goes wrong at a time, and is over before the next begins; so the address must be served
//! again soon after each, and two must never answer. What it does is fixed before the run begins, and
//! follows from the seed.

use super::dice::Dice;
pub use super::file::Mischief;
use super::plan::Plan;
use crate::fault::{Conditions, Fault, Links, Target};
use onehold::config_file::Length;
use onehold::control::Order;
use onehold_core::advert::MemberId;
use onehold_core::time::Span;

/// What the monkey does.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// From when.
    pub from: Span,
    /// Until when; what it does is over by then, or `lasts` later.
    pub until: Span,
    /// How long from the end of one thing to the next, on average; half of that at least.
    pub every: Span,
    /// How long one thing lasts at most.
    pub lasts: Span,
    /// What it may do.
    pub does: Vec<Mischief>,
}

/// All that it does, in the order of time.
#[must_use]
pub fn timeline(plan: &Plan, chaos: &Chaos) -> Vec<(Span, Fault)> {
    let mut dice = Dice::new(plan.seed, "chaos");
    let mut all = Vec::new();
    let mut at = chaos.from;
    loop {
        let half = chaos.every.part(2);
        at = at.plus(half).plus(up_to(&mut dice, chaos.every));
        if at >= chaos.until || chaos.does.is_empty() {
            return all;
        }
        let does = chaos.does.len() as u64;
        let mischief = chaos.does[usize::try_from(dice.below(does)).unwrap_or(0)];
        let until = at
            .plus(Span::from_millis(1))
            .plus(up_to(&mut dice, chaos.lasts));
        let (first, last) = incident(plan, mischief, &mut dice);
        all.extend(first.into_iter().map(|c| (at, c)));
        all.extend(last.into_iter().map(|c| (until, c)));
        at = until;
    }
}

fn up_to(dice: &mut Dice, most: Span) -> Span {
    Span::from_nanos(dice.below(most.as_nanos()))
}

/// How it begins, and how it ends.
fn incident(plan: &Plan, mischief: Mischief, dice: &mut Dice) -> (Vec<Fault>, Vec<Fault>) {
    let n = plan.members.len() as u64;
    let one = dice.below(n);
    let other = (one + 1 + dice.below(n - 1)) % n;
    let name = |n: u64| plan.name(MemberId(u8::try_from(n).unwrap_or(0)));
    let (a, b) = (name(one), name(other));
    let of = || a.to_owned();
    let process = match dice.below(2) {
        0 => Target::Of(of()),
        _ => Target::Within {
            of: of(),
            after_effects: u32::try_from(dice.below(6)).unwrap_or(0),
        },
    };
    let fault = match mischief {
        Mischief::Stop => Fault::Stop(of()),
        Mischief::Kill => Fault::Kill(process),
        Mischief::Pause => Fault::Pause(process),
        Mischief::Suspend => Fault::Suspend(of()),
        Mischief::PowerOff => Fault::PowerOff(of()),
        Mischief::CutOneWay => Fault::Cut(Links::one_way(a, b)),
        Mischief::Cut => Fault::Cut(Links::between(a, b)),
        Mischief::Isolate => Fault::Cut(Links::around(a)),
        Mischief::Loss => Fault::Conditions {
            on: Links::one_way(a, b),
            are: Conditions {
                loss: 20.0 + dice.below(41) as f64,
                ..plan.conditions
            },
        },
        Mischief::Disorder => Fault::Conditions {
            on: Links::all(),
            are: Conditions {
                duplicate: 20.0,
                jitter: Length(Span::from_millis(60)),
                straggle: 5.0,
                straggle_by: Length(Span::from_millis(5_000)),
                ..plan.conditions
            },
        },
        Mischief::Switch => {
            let order = |say: Order| {
                let candidates = plan.ids().filter(|id| plan.config().is_candidate(*id));
                let order = candidates.map(|id| Fault::Command {
                    to: plan.name(id).to_owned(),
                    say,
                    group: None,
                });
                order.collect()
            };
            return (order(Order::Switch), order(Order::Resume));
        }
    };
    let end = fault.ended_by();
    (vec![fault], end.into_iter().collect())
}

//! The chaos monkey: a timeline that nobody wrote.
//!
//! One thing goes wrong at a time, and is over before the next begins; so the address must be served
//! again soon after each, and two must never answer. What it does is fixed before the run begins, and
//! follows from the seed.

use super::dice::Dice;
pub use super::file::Mischief;
use super::plan::{Change, Links, Moment, Plan, Weather};
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
pub fn timeline(plan: &Plan, chaos: &Chaos) -> Vec<(Span, Change)> {
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
fn incident(plan: &Plan, mischief: Mischief, dice: &mut Dice) -> (Vec<Change>, Vec<Change>) {
    let n = plan.members.len() as u64;
    let one = dice.below(n);
    let other = (one + 1 + dice.below(n - 1)) % n;
    let id = |n: u64| MemberId(u8::try_from(n).unwrap_or(0));
    let (m, peer) = (id(one), id(other));
    let moment = match dice.below(2) {
        0 => Moment::Now,
        _ => Moment::After(u32::try_from(dice.below(6)).unwrap_or(0)),
    };
    let links = |text: String| Links::parse(&text, plan, None).ok();
    let (a, b) = (plan.name(m), plan.name(peer));
    let on = |text: String, begin: fn(Links) -> Change| match links(text) {
        Some(links) => (vec![begin(links.clone())], vec![Change::Heal(links)]),
        None => (Vec::new(), Vec::new()),
    };
    let weather = |text: String, weather: Weather| match links(text) {
        Some(links) => (
            vec![Change::Weather(links.clone(), weather)],
            vec![Change::Heal(links)],
        ),
        None => (Vec::new(), Vec::new()),
    };
    match mischief {
        Mischief::Stop => (vec![Change::Stop(m)], vec![Change::Start(m)]),
        Mischief::Kill => (vec![Change::Kill(m, moment)], vec![Change::Start(m)]),
        Mischief::Pause => (vec![Change::Pause(m, moment)], vec![Change::Resume(m)]),
        Mischief::Suspend => (vec![Change::Suspend(m)], vec![Change::Resume(m)]),
        Mischief::PowerOff => (vec![Change::PowerOff(m)], vec![Change::Start(m)]),
        Mischief::CutOneWay => on(format!("{a} -> {b}"), Change::Cut),
        Mischief::Cut => on(format!("{a} <-> {b}"), Change::Cut),
        Mischief::Isolate => on(format!("{a} <-> *"), Change::Cut),
        Mischief::Loss => {
            let loss = 20.0 + dice.below(41) as f64;
            let lossy = Weather {
                loss,
                ..plan.weather.clone()
            };
            weather(format!("{a} -> {b}"), lossy)
        }
        Mischief::Disorder => {
            let disorder = Weather {
                duplicate: 20.0,
                jitter: Span::from_millis(60),
                straggle: 5.0,
                straggle_by: Span::from_millis(5_000),
                ..plan.weather.clone()
            };
            weather("* <-> *".to_owned(), disorder)
        }
        Mischief::Switch => {
            let say = |m| Change::Operator(m, Order::Switch, None);
            let resume = |m| Change::Operator(m, Order::Resume, None);
            let candidates: Vec<MemberId> = plan
                .ids()
                .filter(|id| plan.members[0].config.is_candidate(*id))
                .collect();
            let all = candidates.iter().copied();
            (all.clone().map(say).collect(), all.map(resume).collect())
        }
    }
}

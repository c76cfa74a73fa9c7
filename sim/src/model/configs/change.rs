//! Files that change while members run.

use super::{ALONE, Configuration, FINE, MAJORITY, SURVIVOR, Shape, between, prompt, quick};
use crate::events::Events;
use crate::model::world::{Adversary, Setup};
use crate::properties as p;
use onehold_core::config::{Config, Spec};
use onehold_core::time::Span;
use std::collections::BTreeSet;

/// Fine, and H and D last six ticks.
pub(super) const FINE_LONGER: Shape = Shape {
    timing: [1, 6, 0],
    ..FINE
};

impl Setup {
    /// Each member's file may be replaced by this one, and the first one again. Who is a member of
    /// one of the two only has that one from the beginning.
    pub(super) fn changes(mut self, second: impl FnOnce(&mut Spec)) -> Self {
        let mut spec = self.spec.clone();
        second(&mut spec);
        let proved = |name: &str| spec.prove(name).expect("the lab's own configuration");
        let is_in = |spec: &Spec, name: &str| spec.members.iter().any(|m| m.name == name);
        let ways = |first: &Config| {
            let next = proved(&first.members()[usize::from(first.me().0)].name);
            [half(first, &next), half(&next, first)]
        };
        let [there, back] = ways(&self.configs[0]).map(|way| way.len());
        let came: Vec<&str> = (spec.members.iter().map(|m| m.name.as_str()))
            .filter(|name| !is_in(&self.spec, name))
            .collect();
        for name in came {
            self.configs.push(proved(name));
            let speeds: BTreeSet<u64> = self.rates.iter().flatten().copied().collect();
            let with = |rates: Vec<u64>| {
                let all = speeds.iter();
                let all = all.map(|speed| [&rates[..], &[*speed]].concat());
                all.collect::<Vec<_>>()
            };
            self.rates = self.rates.into_iter().flat_map(with).collect();
        }
        let row = |first: &Config| {
            let both = [&self.spec, &spec]
                .iter()
                .all(|of| is_in(of, &first.members()[usize::from(first.me().0)].name));
            match both {
                true => ways(first).concat(),
                false => vec![first.clone(); there + back],
            }
        };
        Self {
            second: u8::try_from(there).expect("few"),
            rows: self.configs.iter().map(row).collect(),
            rates_still: Vec::new(),
            other: spec.clone(),
            ..self
        }
        .numbered()
        .with_stills()
    }
}

/// What is gone through from one file to another, but for that other one settled.
fn half(first: &Config, next: &Config) -> Vec<Config> {
    let path = first.path_to(next).expect("the lab's own configuration");
    let mut at = first.clone();
    let steps = path.into_iter().flat_map(|next| {
        let before = std::mem::replace(&mut at, next);
        [before.clone(), before.toward(&at), at.from(&before)]
    });
    steps.collect()
}

pub(super) fn lease(ticks: u64) -> impl FnOnce(&mut Spec) {
    move |spec| spec.timing.lease = Span::from_nanos(ticks)
}

/// The address is in a group of another name.
fn moves(spec: &mut Spec) {
    "moved".clone_into(&mut spec.groups[0].name);
}

/// All configurations in which files change.
pub(super) fn all() -> Vec<Configuration> {
    let reload = Adversary {
        reloads: 3,
        steps_wait: true,
        ..prompt()
    };
    let late = Adversary {
        stragglers: 1,
        losses: 1,
        ..reload.clone()
    };
    let crash = Adversary {
        crashes: 1,
        lives: 2,
        ..reload.clone()
    };
    let apart = Adversary {
        changes: 2,
        cuts: vec![0, between(3, 1), between(3, 4)],
        restless: true,
        ..reload.clone()
    };
    let calm = Adversary {
        losses: 1,
        steps_wait: false,
        settle_bound: 12,
        ..reload.clone()
    };
    let alone = Adversary {
        crashes: 1,
        lives: 2,
        reloads: 2,
        ..prompt()
    };
    let of_move = [p::S1, p::S4, p::ALARM, p::CLOCK];
    let all_changed = [p::ALL_CHANGED];
    let restarts = [&all_changed[..], &happens!["majority", "met", "ready"]].concat();
    let parted = [
        &all_changed[..],
        &happens!["majority", "lost", "lease over"],
    ]
    .concat();
    vec![
        quick(
            "change-timing",
            "the lease grows, by reloads in any order, with turns back; an advert is lost, one comes late",
            FINE.setup(late.clone()).changes(lease(6)),
            &MAJORITY,
            &all_changed,
        ),
        quick(
            "change-timing-shorter",
            "the lease shrinks, by reloads in any order, with turns back; an advert is lost, one comes late",
            FINE_LONGER.setup(late.clone()).changes(lease(4)),
            &MAJORITY,
            &all_changed,
        ),
        quick(
            "change-timing-cut",
            "the lease grows; a candidate or the witness is cut off, and comes back",
            FINE.setup(apart.clone()).changes(lease(6)),
            &MAJORITY,
            &parted,
        )
        .slow(),
        quick(
            "change-timing-crash",
            "the lease grows; a process dies and starts, with either file",
            FINE.setup(crash.clone()).changes(lease(6)),
            &MAJORITY,
            &restarts,
        )
        .slow(),
        quick(
            "change-timing-shorter-crash",
            "the lease shrinks; a process dies and starts, with either file",
            FINE_LONGER.setup(crash.clone()).changes(lease(4)),
            &MAJORITY,
            &restarts,
        )
        .slow(),
        quick(
            "change-move",
            "the address moves to another group, by reloads in any order; an advert is lost, one comes late",
            FINE.setup(late.clone()).changes(moves),
            &of_move,
            &all_changed,
        ),
        quick(
            "change-move-cut",
            "the address moves to another group; a candidate or the witness is cut off, and comes back",
            FINE.setup(apart.clone()).changes(moves),
            &of_move,
            &parted,
        )
        .slow(),
        quick(
            "change-move-crash",
            "the address moves to another group; a process dies and starts, with either file",
            FINE.setup(crash.clone()).changes(moves),
            &of_move,
            &restarts,
        ),
        quick(
            "change-survivor",
            "two alone, and the lease grows; a process dies and starts, with either file",
            ALONE.setup(alone.clone()).changes(lease(1_100)),
            &SURVIVOR,
            &[&all_changed[..], &happens!["peer silent", "ready"]].concat(),
        ),
        quick(
            "change-survivor-move",
            "two alone, and the address moves to another group; a process dies and starts, with either file",
            ALONE.setup(alone.clone()).changes(moves),
            &SURVIVOR,
            &[&all_changed[..], &happens!["peer silent", "ready"]].concat(),
        ),
        quick(
            "change-calm",
            "the lease grows, and an advert is lost: nobody notices, and soon after all have it",
            FINE.setup(calm.clone()).changes(lease(6)),
            &[p::S1, p::S3, p::S4, p::L4, p::CHANGED],
            &all_changed,
        ),
        quick(
            "change-calm-move",
            "the address moves to another group, and an advert is lost: soon after, one holds it there",
            FINE.setup(calm.clone()).changes(moves),
            &[p::S1, p::S4, p::L2, p::CHANGED],
            &all_changed,
        ),
        quick(
            "change-calm-slow",
            "the lease grows, and nothing goes wrong; a step waits for as long as may be: nobody notices",
            FINE.setup(reload.clone()).changes(lease(6)),
            &[p::S1, p::S3, p::S4, p::L4],
            &all_changed,
        ),
        quick(
            "change-calm-any-order",
            "the lease grows, nothing goes wrong: nobody notices, and soon after all have it",
            FINE.setup(Adversary {
                any_order: true,
                losses: 0,
                ..calm
            })
            .changes(lease(6)),
            &[p::S1, p::S3, p::S4, p::L4, p::CHANGED],
            &all_changed,
        )
        .slow(),
    ]
}

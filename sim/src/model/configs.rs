//! The named configurations: what is walked, what must be true there, and what is assumed.

use crate::properties::{self as p, Property, When};
use crate::world::{Adversary, Events, MAX, Setup};
use onehold_core::config::{Arbitration, Failback, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::input::Command;
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;

/// A named configuration.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// What the adversary may do in it, in a line.
    pub says: &'static str,
    /// Small enough for every change: it belongs to the quick set.
    pub quick: bool,
    /// The world.
    pub setup: Setup,
    /// What must be true, and what must happen.
    pub properties: Vec<Property>,
    /// The property that is broken here, as it must be, and why.
    pub expected: Option<(&'static str, &'static str)>,
}

macro_rules! happens {
    ($($name:literal),*) => {
        vec![$(Property {
            name: $name,
            says: concat!("\"", $name, "\" happens"),
            when: When::SometimesStep,
            holds: |m| m.events.has(Events::of($name)),
        }),*]
    };
}

/// A cluster and its clocks, in ticks.
struct Cluster {
    members: usize,
    arbitration: Arbitration,
    failback: Failback,
    /// Interval, lease and slack, in units of the clocks.
    timing: [u64; 3],
    drift_ppm: u32,
    /// How far a clock goes on in one tick: every member any of these.
    rates: &'static [u64],
}

/// Coarse: an advert of everybody in every tick; H and D last two ticks.
const COARSE: Cluster = Cluster {
    members: 3,
    arbitration: Arbitration::Majority,
    failback: Failback::Auto,
    timing: [1, 4, 0],
    drift_ppm: 0,
    rates: &[2],
};

/// An advert of everybody in every tick; H and D last three.
const MEDIUM: Cluster = Cluster {
    timing: [1, 3, 0],
    rates: &[1],
    ..COARSE
};

/// An advert of everybody in every tick; H and D last four: as long as by default.
const FINE: Cluster = Cluster {
    timing: [1, 4, 0],
    rates: &[1],
    ..COARSE
};

/// As coarse, and the gate shuts up to a tick late.
const SLACK: Cluster = Cluster {
    timing: [1, 4, 2],
    ..COARSE
};

/// Clocks that are a tenth slow or fast, each of them: D is as long on a fast clock as H on a slow one.
const DRIFT: Cluster = Cluster {
    timing: [9, 27, 0],
    drift_ppm: 100_000,
    rates: &[9, 11],
    ..COARSE
};

impl Cluster {
    fn setup(&self, adversary: Adversary) -> Setup {
        let size = self.members;
        let member = |name: &str, witness| MemberSpec {
            name: name.into(),
            witness,
            addresses: vec![],
        };
        let mut members = vec![member("a", false), member("b", false)];
        let witnesses = ["w", "x", "y"].iter().take(size - 2);
        members.extend(witnesses.map(|n| member(n, true)));
        let [interval, lease, slack] = self.timing.map(Span::from_nanos);
        let spec = Spec {
            cluster: "model".into(),
            members: members.clone(),
            groups: vec![GroupSpec {
                name: "address".into(),
                addresses: vec![Prefix {
                    address: [192, 0, 2, 1].into(),
                    length: 24,
                }],
                preferred: "a".into(),
                failback: self.failback,
                failback_delay: Span::ZERO,
                release_when_unhealthy: false,
            }],
            arbitration: self.arbitration,
            timing: TimingSpec {
                interval,
                lease,
                guard_slack: slack,
                drift_ppm: self.drift_ppm,
            },
        };
        let seat = |m: &MemberSpec| spec.prove(&m.name).expect("the lab's own configuration");
        let mut rates = vec![vec![]];
        for _ in 0..size {
            let with = |r: &Vec<u64>| {
                self.rates
                    .iter()
                    .map(|n| [r.as_slice(), &[*n]].concat())
                    .collect::<Vec<_>>()
            };
            rates = rates.iter().flat_map(with).collect();
        }
        Setup {
            seats: members.iter().map(seat).collect(),
            rates,
            orders: vec![(0u8..).take(size).collect()],
            warm_up: 40,
            adversary,
        }
    }
}

/// Any advert may be lost; one that is not arrives when its receiver next runs.
fn lossy() -> Adversary {
    Adversary {
        rounds: true,
        flight: 1,
        ..Adversary::default()
    }
}

/// Every advert arrives when its receiver next runs.
fn prompt() -> Adversary {
    Adversary {
        timely: true,
        ..lossy()
    }
}

/// All sets of links between so many members.
fn every_cut(members: usize) -> Vec<u32> {
    let links: Vec<u32> = (0..members * members)
        .filter(|i| i / members != i % members)
        .map(|i| 1 << (i / members * MAX + i % members))
        .collect();
    let set = |mask: u32| {
        let of = links.iter().enumerate().filter(|(i, _)| mask & 1 << i != 0);
        of.map(|(_, bit)| bit).sum()
    };
    (0..1u32 << links.len()).map(set).collect()
}

/// The links between two sides, both ways.
fn between(members: usize, side: u32) -> u32 {
    let apart = |i: &usize| (side >> (i / members) & 1) != (side >> (i % members) & 1);
    let links = (0..members * members).filter(apart);
    links.map(|i| 1 << (i / members * MAX + i % members)).sum()
}

const fn cut(from: usize, to: usize) -> u32 {
    1 << (from * MAX + to)
}

fn majority() -> Vec<Property> {
    vec![p::S1, p::S3, p::S4, p::S5]
}

fn survivor() -> Vec<Property> {
    vec![p::S2, p::S4]
}

/// All of them, in the order in which they are listed.
#[must_use]
pub fn all() -> Vec<Configuration> {
    let with = |properties: Vec<Property>, happens: Vec<Property>| [properties, happens].concat();
    let all_hands = Adversary {
        commands: 2,
        says: vec![
            Command::Switch,
            Command::Standby,
            Command::Resume,
            Command::Stop,
        ],
        flips: 1,
        ..prompt()
    };
    let two = Cluster {
        members: 2,
        ..MEDIUM
    };
    let alone = Cluster {
        members: 2,
        arbitration: Arbitration::Survivor,
        timing: [2, 6, 0],
        rates: &[1],
        ..COARSE
    };
    let configuration = |name, says, quick, setup, properties| Configuration {
        name,
        says,
        quick,
        setup,
        properties,
        expected: None,
    };
    vec![
        configuration(
            "majority-3",
            "any advert may be lost",
            false,
            COARSE.setup(lossy()),
            with(
                majority(),
                happens!["majority", "failback", "lease over", "lost", "back"],
            ),
        ),
        configuration(
            "majority-3-crash",
            "processes and hosts die, between any two effects, and start again",
            true,
            COARSE.setup(Adversary {
                crashes: 3,
                lives: 3,
                power: true,
                in_turn: true,
                losses: 0,
                ..prompt()
            }),
            with(majority(), happens!["majority", "met", "ready", "lost"]),
        ),
        configuration(
            "majority-3-pause",
            "processes are stopped, between any two effects, and go on later",
            true,
            COARSE.setup(Adversary {
                stops: 1,
                in_turn: true,
                victims: 0b011,
                ..prompt()
            }),
            with(majority(), happens!["majority", "overslept", "lease over"]),
        ),
        configuration(
            "majority-3-cuts",
            "any set of links is cut, then any other: one that can hold does, in the end",
            true,
            FINE.setup(Adversary {
                changes: 2,
                cuts: every_cut(3),
                patience: 20,
                ..prompt()
            }),
            with(
                vec![p::S1, p::S3, p::S4, p::L2],
                happens!["majority", "lease over", "failback"],
            ),
        ),
        configuration(
            "majority-3-operator",
            "operators speak, services fail",
            true,
            COARSE.setup(all_hands.clone()),
            with(
                majority(),
                happens!["switch", "standby", "stop", "unready", "command refused"],
            ),
        ),
        configuration(
            "majority-2",
            "two members alone: any advert may be lost, one may be kept back and come again",
            true,
            two.setup(Adversary {
                stragglers: true,
                duplicates: true,
                ..lossy()
            }),
            with(majority(), happens!["majority", "lease over"]),
        ),
        configuration(
            "survivor-full-cut",
            "both directions are cut",
            true,
            alone.setup(Adversary {
                changes: 1,
                cuts: vec![cut(0, 1) | cut(1, 0)],
                ..prompt()
            }),
            survivor(),
        ),
    ]
    .into_iter()
    .map(|mut c| {
        if c.name == "survivor-full-cut" {
            c.expected = Some((
                "S2",
                "nothing tells a dead peer from a cut cable: `survivor` promises nothing here",
            ));
        }
        c
    })
    .collect()
}

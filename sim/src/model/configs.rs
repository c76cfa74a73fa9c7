//! The named configurations: what is walked, what must be true there, and what is assumed.

macro_rules! happens {
    ($($name:literal),*) => {
        [$(crate::properties::sometimes_reported(
            $name,
            concat!("\"", $name, "\" happens"),
            |m| m.events.has(Events::of($name)),
        )),*]
    };
}

mod change;
mod cuts;
mod members;
mod pins;
mod survivor;

use crate::events::Events;
use crate::model::world::{Adversary, Setup};
use crate::properties::{self as p, Property, PropertyId};
use cuts::{between, cut, every_cut, halves, one_by_one, unasked};
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::input::Command;
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
pub use pins::{PINNED, pinned};

/// When a configuration is walked, unless it is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// At every change.
    Quick,
    /// With `--full`.
    Full,
    /// Only by its name: no walk of it has come to its end yet, for want of memory or time.
    Open,
}

impl Set {
    /// Its name.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Open => "open",
        }
    }
}

/// A named configuration.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Its name.
    pub name: &'static str,
    /// What the adversary may do in it, in a line.
    pub says: &'static str,
    /// When it is walked.
    pub set: Set,
    /// The world.
    pub setup: Setup,
    /// What must be true, and what must happen.
    pub properties: Vec<Property>,
    /// The property that is broken here, as it must be, and why.
    pub expected: Option<(PropertyId, &'static str)>,
}

impl Configuration {
    /// What must be true everywhere in it.
    #[must_use]
    pub fn promises(&self) -> Vec<&'static str> {
        let always = self.properties.iter().filter(|p| p.when.is_always());
        always.map(|p| p.id.name()).collect()
    }
}

/// A cluster and its clocks, in ticks.
struct Shape {
    members: usize,
    arbitration: Arbitration,
    /// Interval, lease and slack, in units of the clocks.
    timing: [u64; 3],
    drift_ppm: u32,
    /// How far a clock goes on in one tick: every member any of these.
    rates: &'static [u64],
    /// The second member's file prefers another member.
    files_differ: bool,
    /// Something must be done before a gate opens.
    prepares: bool,
}

/// Coarse: an advert of everybody in every tick; H and D last two ticks.
const COARSE: Shape = Shape {
    members: 3,
    arbitration: Arbitration::Majority,
    timing: [1, 4, 0],
    drift_ppm: 0,
    rates: &[2],
    files_differ: false,
    prepares: false,
};

/// An advert of everybody in every tick; H and D last four ticks: about as long as by default.
const FINE: Shape = Shape {
    rates: &[1],
    ..COARSE
};

/// An advert of everybody in every tick; H and D last ten ticks.
const LONG: Shape = Shape {
    timing: [1, 10, 0],
    ..FINE
};

/// Coarse, and the gate shuts up to a tick late: D lasts three ticks, H two.
const SLACK: Shape = Shape {
    timing: [1, 4, 2],
    ..COARSE
};

/// Coarse, and every clock is a tenth slow or a tenth fast: D lasts as long on a fast clock as H on
/// a slow one.
const DRIFT: Shape = Shape {
    timing: [6, 18, 0],
    drift_ppm: 100_000,
    rates: &[9, 11],
    ..COARSE
};

/// The same, and H lasts ten ticks on a slow clock, as D does on a fast one: a rule that leaves one
/// clock's drift out is a tick short.
const LONG_DRIFT: Shape = Shape {
    timing: [6, 90, 0],
    ..DRIFT
};

/// Two alone; a tick is half an interval, H and D last nine. (What R-13 counts as oversleeping is
/// longer than a tick, and a nanosecond is shorter.)
const ALONE: Shape = Shape {
    members: 2,
    arbitration: Arbitration::Survivor,
    timing: [200, 900, 0],
    rates: &[100],
    ..COARSE
};

impl Shape {
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
        let mut spec = Spec {
            cluster: "model".into(),
            members: members.clone(),
            groups: vec![GroupSpec::new(
                "address",
                vec![Prefix::new([192, 0, 2, 1], 24)],
                "a",
            )],
            arbitration: self.arbitration,
            timing: TimingSpec {
                interval,
                lease,
                guard_slack: slack,
                drift_ppm: self.drift_ppm,
            },
        };
        spec.groups[0].prepares = self.prepares;
        let config = |m: &MemberSpec| {
            let mut file = spec.clone();
            if self.files_differ && m.name == "b" {
                file.groups[0].preferred = "b".into();
            }
            file.prove(&m.name).expect("the lab's own configuration")
        };
        let mut rates = vec![vec![]];
        for _ in 0..size {
            let with = |r: &Vec<u64>| {
                let all = self.rates.iter();
                all.map(|n| [&r[..], &[*n]].concat()).collect::<Vec<_>>()
            };
            rates = rates.iter().flat_map(with).collect();
        }
        let configs: Vec<Config> = members.iter().map(config).collect();
        Setup {
            rows: configs.iter().map(|c| vec![c.clone()]).collect(),
            machines: Vec::new(),
            electorates: Vec::new(),
            second: 0,
            other: spec.clone(),
            configs,
            spec: spec.clone(),
            rates,
            rates_still: Vec::new(),
            hindsight: 0,
            warm_up: 40,
            adversary,
        }
        .numbered()
        .with_stills()
    }
}

/// Every advert arrives when its receiver next runs.
fn prompt() -> Adversary {
    Adversary {
        timely: true,
        room: 3,
        ..Adversary::default()
    }
}

const MAJORITY: [Property; 6] = [p::S1, p::S3, p::S4, p::S5, p::ALARM, p::CLOCK];
const SURVIVOR: [Property; 3] = [p::S2, p::S4, p::CLOCK];

/// All of them, in the order in which they are listed.
#[must_use]
pub fn all() -> Vec<Configuration> {
    let changing = [change::all(), members::all()].concat();
    [of_majority(), of_two(), survivor::all(), changing].concat()
}

/// A configuration of the quick set.
fn quick(
    name: &'static str,
    says: &'static str,
    setup: Setup,
    must: &[Property],
    happens: &[Property],
) -> Configuration {
    // So that no property holds only because what it speaks of never happens.
    let adversary = &setup.adversary;
    let companions = [
        (adversary.settle_bound > 0).then_some(p::SETTLED),
        (adversary.outage_bound > 0).then_some(p::OUTAGE),
        (adversary.losses > 0).then_some(p::ALL_LOST),
    ];
    let companions: Vec<Property> = companions.into_iter().flatten().collect();
    Configuration {
        name,
        says,
        set: Set::Quick,
        properties: [must, happens, &companions].concat(),
        setup,
        expected: None,
    }
}

impl Configuration {
    /// Too large for every change.
    fn slow(self) -> Self {
        let set = Set::Full;
        Self { set, ..self }
    }

    /// Never walked to its end.
    fn open(self) -> Self {
        let set = Set::Open;
        Self { set, ..self }
    }

    /// A property is broken here, as it must be.
    fn breaks(self, property: PropertyId, why: &'static str) -> Self {
        Self {
            expected: Some((property, why)),
            ..self
        }
    }
}

/// Three members and five, by majority.
fn of_majority() -> Vec<Configuration> {
    let crash = Adversary {
        crashes: 1,
        power: true,
        ..prompt()
    };
    let cut_crash = Adversary {
        changes: 2,
        cuts: one_by_one(),
        restless: true,
        lives: 2,
        ..crash.clone()
    };
    let cut_stragglers = |stragglers, changes| Adversary {
        stragglers,
        duplicates: true,
        changes,
        cuts: halves(3),
        ..cut_crash.clone()
    };
    vec![
        quick(
            "takeover",
            "a process or a host dies, at any moment: one holds soon after if one can",
            FINE.setup(Adversary {
                any_order: true,
                settle_bound: 8,
                in_turn: true,
                ..crash.clone()
            }),
            &[p::S1, p::S3, p::S4, p::L1],
            &happens!["majority", "lost"],
        ),
        quick(
            "failback",
            "a member dies and starts again: the preferred one holds soon after, and stays",
            FINE.setup(Adversary {
                lives: 2,
                settle_bound: 16,
                ..crash.clone()
            }),
            &[p::S1, p::S3, p::S4, p::S5, p::L2, p::L3, p::PING],
            &happens!["failback", "met", "ready"],
        ),
        quick(
            "steady",
            "up to two adverts are lost, any two: nobody notices",
            FINE.setup(Adversary {
                losses: 2,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::L4],
            &[],
        ),
        quick(
            "handover-lost",
            "the operator moves the address, and up to two adverts are lost: nobody waits for long",
            FINE.setup(Adversary {
                losses: 2,
                commands: 1,
                says: vec![Command::Switch],
                outage_bound: 6,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::L5],
            &happens!["switch", "majority"],
        ),
        quick(
            "heal",
            "any set of links is cut, then any other or none: one holds soon after if one can",
            FINE.setup(Adversary {
                changes: 2,
                cuts: every_cut(3),
                settle_bound: 20,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::L2],
            &happens!["majority", "lease over", "failback"],
        ),
        quick(
            "five-voters",
            "five members: any two of them are cut off, or the network falls in two, then heals",
            Shape { members: 5, ..FINE }.setup(Adversary {
                changes: 2,
                cuts: halves(5),
                settle_bound: 20,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::L2],
            &happens!["majority", "lease over", "failback"],
        ),
        quick(
            "majority-3-operator",
            "operators give commands, services fail, kernels can't serve",
            FINE.setup(Adversary {
                commands: 2,
                says: vec![
                    Command::Switch,
                    Command::Standby,
                    Command::Resume,
                    Command::Stop,
                ],
                flips: 1,
                losses: 1,
                ..prompt()
            }),
            &MAJORITY,
            &happens![
                "switch",
                "standby",
                "stop",
                "unready",
                "command refused",
                "failback"
            ],
        ),
        quick(
            "frozen",
            "an operator says freeze; a service fails, a member dies and starts again; nothing moves by itself",
            FINE.setup(Adversary {
                commands: 1,
                says: vec![Command::Freeze],
                flips: 1,
                crashes: 1,
                lives: 2,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::FROZEN],
            &[
                happens!["majority", "met", "lost", "unready", "failback"].as_slice(),
                &[p::FROZEN_SICK],
            ]
            .concat(),
        ),
        quick(
            "frozen-thaw",
            "operators say freeze, thaw and switch, and a member dies: soon after, one holds",
            FINE.setup(Adversary {
                commands: 2,
                says: vec![Command::Freeze, Command::Thaw, Command::Switch],
                crashes: 1,
                lives: 2,
                settle_bound: 16,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::FROZEN, p::L2],
            &happens!["majority", "met", "switch", "command refused", "failback"],
        ),
        quick(
            "majority-3-prepare",
            "something must be done before a gate opens, however long it takes, and may fail; members die",
            Shape {
                prepares: true,
                ..FINE
            }
            .setup(Adversary {
                crashes: 1,
                lives: 2,
                flips: 1,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::S5, p::S6],
            &happens!["majority", "opened", "unprepared", "lease over", "failback"],
        ),
        quick(
            "prepare-heal",
            "something must be done before a gate opens; links are cut, and whole again: soon after, one holds",
            Shape {
                prepares: true,
                ..FINE
            }
            .setup(Adversary {
                changes: 1,
                cuts: every_cut(3),
                settle_bound: 20,
                crashes: 1,
                lives: 2,
                ..prompt()
            }),
            &[p::S1, p::S3, p::S4, p::S6, p::L2],
            &happens!["majority", "opened", "lease over", "failback"],
        ),
        quick(
            "majority-3-crash",
            "processes and hosts die, between any two effects, and start again",
            COARSE.setup(Adversary {
                crashes: 2,
                lives: 2,
                in_turn: true,
                losses: 1,
                ..crash.clone()
            }),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lost"],
        ),
        quick(
            "majority-3-cut-crash",
            "links are cut, twice, and at any moment a process or a host dies, and starts again",
            FINE.setup(cut_crash.clone()),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over", "failback"],
        ),
        quick(
            "majority-3-cut-slack",
            "links are cut, twice, a process or a host dies and starts again; the gate shuts late",
            SLACK.setup(cut_crash.clone()),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over"],
        )
        .slow(),
        quick(
            "majority-3-cut-drift",
            "a is cut from b, or from all, a process or a host dies and starts again; clocks differ",
            LONG_DRIFT.setup(Adversary {
                cuts: vec![between(3, 1), cut(0, 1) | cut(1, 0)],
                ..cut_crash.clone()
            }),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over"],
        )
        .slow(),
        quick(
            "stands-still",
            "a candidate's machine stands still together with its clock: soon after it goes on, one holds",
            LONG.setup(Adversary {
                stills: 16,
                settle_bound: 3,
                ..prompt()
            }),
            &[p::S1_AGAIN],
            &[happens!["majority", "outvoted", "lost"].as_slice(), &[p::TWO]].concat(),
        ),
        quick(
            "majority-3-late",
            "an advert comes late, and again and again; a process or a host dies, and starts again",
            FINE.setup(Adversary {
                stragglers: 2,
                duplicates: true,
                lives: 2,
                ..crash.clone()
            }),
            &MAJORITY,
            &happens!["majority", "met", "ready"],
        ),
        quick(
            "majority-3-cut-straggler",
            "links are cut, once, a process or a host dies and starts again; two adverts come late, and again",
            COARSE.setup(cut_stragglers(2, 1)),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over"],
        )
        .slow(),
        quick(
            "majority-3-cut-stragglers",
            "the same with three adverts",
            COARSE.setup(cut_stragglers(3, 1)),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over"],
        )
        .slow(),
        quick(
            "majority-3-cuts-straggler",
            "links are cut, twice, a process or a host dies and starts again; two adverts come late, and again: the largest that is walked",
            COARSE.setup(cut_stragglers(2, 2)),
            &MAJORITY,
            &happens!["majority", "met", "ready", "lease over"],
        )
        .slow(),
        quick(
            "majority-3-straggler",
            "one advert to each member is kept back for as long as may be",
            COARSE.setup(Adversary {
                stragglers: Adversary::NO_END,
                ..prompt()
            }),
            &MAJORITY,
            &happens!["majority", "lease over"],
        )
        .slow(),
        quick(
            "majority-3-pause",
            "processes are paused, between any two effects, and go on later",
            COARSE.setup(Adversary {
                pauses: Adversary::NO_END,
                in_turn: true,
                ..prompt()
            }),
            &MAJORITY,
            &happens!["majority", "overslept", "lease over"],
        )
        .slow(),
        quick(
            "majority-3",
            "any advert may be lost",
            COARSE.setup(Adversary::default()),
            &MAJORITY,
            &happens!["majority", "lease over", "lost", "back"],
        )
        .slow(),
        quick(
            "majority-3-drift",
            "any advert may be lost, and clocks run as differently as they may",
            DRIFT.setup(Adversary::default()),
            &MAJORITY,
            &happens!["majority", "lease over"],
        )
        .open(),
    ]
}

/// Two members alone, by majority: neither takes over by itself.
fn of_two() -> Vec<Configuration> {
    let two = |shape: Shape| Shape {
        members: 2,
        ..shape
    };
    vec![
        quick(
            "majority-2",
            "any one advert is kept back, may come late and again, processes die and start",
            two(COARSE).setup(Adversary {
                stragglers: Adversary::NO_END,
                duplicates: true,
                crashes: 1,
                lives: 2,
                ..prompt()
            }),
            &MAJORITY,
            &happens!["majority", "met", "lease over"],
        ),
        quick(
            "majority-2-pause",
            "any advert may be lost, processes are paused and die between any two effects",
            two(COARSE).setup(Adversary {
                crashes: 1,
                lives: 2,
                power: true,
                pauses: Adversary::NO_END,
                in_turn: true,
                ..Adversary::default()
            }),
            &MAJORITY,
            &happens!["majority", "met", "lease over", "overslept"],
        )
        .slow(),
        quick(
            "majority-2-fine",
            "any advert may be lost; processes die between any two effects, and start again",
            two(FINE).setup(Adversary {
                crashes: 1,
                lives: 2,
                in_turn: true,
                ..Adversary::default()
            }),
            &MAJORITY,
            &happens!["majority", "met", "lease over"],
        ),
        quick(
            "majority-2-slack",
            "any advert may be lost, and the gate shuts late",
            two(SLACK).setup(Adversary {
                crashes: 1,
                lives: 2,
                in_turn: true,
                ..Adversary::default()
            }),
            &MAJORITY,
            &happens!["majority", "lease over"],
        ),
        quick(
            "majority-2-drift",
            "any advert may be lost, and clocks run as differently as they may",
            two(DRIFT).setup(Adversary {
                crashes: 1,
                lives: 2,
                in_turn: true,
                ..Adversary::default()
            }),
            &MAJORITY,
            &happens!["majority", "lease over"],
        ),
        quick(
            "presume-dead",
            "a member dies, and the operator says so, rightly or not",
            two(FINE).setup(Adversary {
                crashes: 1,
                lives: 2,
                commands: 1,
                says: vec![Command::PresumeDead],
                losses: 1,
                changes: 2,
                restless: true,
                cuts: every_cut(2),
                ..prompt()
            }),
            &[p::S1, p::S4],
            &happens!["presumed dead", "command refused"],
        ),
        quick(
            "presume-dead-files-differ",
            "the files differ; one dies and starts again, and both operators say that the other is dead",
            Shape {
                files_differ: true,
                ..two(FINE)
            }
            .setup(Adversary {
                crashes: 1,
                lives: 2,
                commands: 2,
                says: vec![Command::PresumeDead],
                losses: 1,
                ..prompt()
            }),
            &[p::S1, p::S4],
            &happens!["presumed dead", "command refused", "lease over"],
        ),
    ]
}

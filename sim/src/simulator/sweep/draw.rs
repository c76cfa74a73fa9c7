//! What a seed draws: a cluster, its timing, what goes wrong, and then nothing more.
//!
//! A run has two phases. In the first, faults come and go. In the second they have stopped, what is
//! down is started again, and within a bound one member must hold and stay. All times are in
//! microseconds.

use super::files::Files;
use super::{expect, openings, tracks};
use crate::fault::{Conditions, Fault, Flag, Links};
use crate::simulator::file::{
    Entry, Evidence, ExcuseSection, GroupSection, MemberSection, ScenarioFile, Sending,
};
use crate::simulator::incidents::Incident;
use crate::simulator::incidents::cluster::{DrawnCluster, DrawnGroup, Promise, micros, ppm, span};
use crate::simulator::rng::Rng;
use onehold::config_file::{Length, TimingSection};
use onehold::control::Order;
use onehold_core::config::{Arbitration, Failback};
use onehold_core::lease::{Timing, TimingSpec};
use onehold_core::time::Span;

/// One millisecond.
pub(super) const MS: u64 = 1_000;
/// For how long the refusals of a simulated kernel may have consequences after they end.
const KERNEL_RESTS: u64 = 1_200 * MS;

/// What stays wrong when all other faults have stopped: nothing that keeps every member from
/// holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Nothing.
    Nothing,
    /// A member is down.
    Down(&'static str),
    /// Some links between two members are cut.
    Cut(Links),
    /// Two members alone: adverts as datagrams don't pass; those as frames or answers to probes do.
    Partly {
        /// Nor do frames.
        frames: bool,
    },
    /// The services behind all groups fail everywhere.
    Sick,
}

/// What a seed drew.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The seed.
    pub seed: u64,
    /// The cluster.
    pub cluster: DrawnCluster<'static>,
    /// What goes wrong, by when it begins.
    pub incidents: Vec<Incident>,
    /// When the faults have stopped.
    pub calm: u64,
    /// What stays wrong all the same.
    pub stays: Stays,
    /// Within this long after that one holds.
    pub bound: u64,
    /// How long the run goes on.
    pub length: u64,
    /// A member may let go because `before_hold` can't be done there.
    pub(super) lets_go: bool,
    /// Files change while members run.
    files: Option<Files>,
    /// The scenario, but for what happens.
    file: ScenarioFile,
}

impl DrawnCluster<'static> {
    fn draw(seed: u64, rng: &mut Rng) -> (Self, Conditions) {
        let promise = match rng.below(100) {
            0..45 => Promise::Majority,
            45..53 => Promise::Frozen,
            53..60 => Promise::Steady,
            60..70 => Promise::Timely,
            70..82 => Promise::OneWay,
            _ => Promise::Anything,
        };
        let alone = matches!(
            promise,
            Promise::Timely | Promise::OneWay | Promise::Anything
        );
        let size = if alone {
            2
        } else {
            rng.one(&[2, 3, 3, 3, 3, 5])
        };
        let members = ["lb0", "lb1", "w1", "w2", "w3"][..size].to_vec();
        let timing = timing(rng, alone);
        let interval = micros(timing.interval());
        // At most a twentieth of an interval, in whole milliseconds.
        let most = (interval / 20 / MS).max(1);
        let tick = rng.between(most.div_ceil(4), most) * MS;
        let slow = if alone { interval / 20 } else { interval / 6 };
        // On a fast network margins are least.
        let slow = if rng.chance(40) { 0 } else { slow };
        let (delay, jitter) = (rng.below(slow + 1), rng.below(slow + 1));
        let confirm = rng.one(&[0, MS, MS, interval / 5, interval]);
        let groups = ["mail", "web"][..rng.between(1, 2) as usize].iter();
        let groups: Vec<DrawnGroup<'_>> = groups.map(|name| group(rng, name, interval)).collect();
        let paths = rng.one(&[1, 1, 2]);
        // From a source of its own: what else a seed draws stays as it is.
        let mut ways = Rng::new(seed, "ways");
        let cluster = Self {
            promise,
            members,
            groups,
            timing,
            paths,
            frames: ways.chance(75) && alone,
            evidence: ways.chance(75),
            tick,
            confirm,
            trip: delay + jitter + 2 * tick,
        };
        let conditions = Conditions {
            delay: span(delay),
            jitter: span(jitter),
            duplicate: f64::from(rng.one(&[0u8, 0, 5, 30])),
            ..Conditions::default()
        };
        (cluster, conditions)
    }

    /// The scenario, but for what happens.
    fn file(&self, rng: &mut Rng, network: Conditions) -> ScenarioFile {
        let t = &self.timing;
        // `majority` must bear it.
        let asks = self.arbitration() == Arbitration::Majority && rng.chance(25);
        let forgets = asks.then(|| span(rng.between(self.vote(), 8 * self.vote())));
        let member = |name: &&str| MemberSection {
            witness: name.starts_with('w'),
            clock_ppm: ppm(rng, t),
            ..MemberSection::default()
        };
        let names = self.members.iter().map(|name| (*name).to_owned());
        let members = names.zip(self.members.iter().map(member)).collect();
        let group = |g: &DrawnGroup<'_>| GroupSection {
            preferred: g.preferred.to_owned(),
            failback: if g.returns {
                Failback::Auto
            } else {
                Failback::Manual
            },
            failback_delay: span(g.delay),
            release_when_unhealthy: g.releases_when_unhealthy,
            before_hold: None,
        };
        let groups = self.groups.iter();
        ScenarioFile {
            paths: self.paths,
            frames: self.frames,
            evidence: match self.evidence {
                true => Evidence::Echo,
                false => Evidence::None,
            },
            tick: span(self.tick),
            confirm: span(self.confirm),
            arbitration: Some(self.arbitration()),
            witness: Some(false),
            timing: TimingSection {
                interval: Some(Length(t.interval())),
                lease: Some(Length(t.lease())),
                guard_slack: Some(Length(t.slack())),
                drift_ppm: Some(t.drift_ppm()),
                ..TimingSection::default()
            },
            network,
            sending: Sending {
                forgets,
                ..Sending::default()
            },
            members,
            groups: groups.map(|g| (g.name.to_owned(), group(g))).collect(),
            ..ScenarioFile::default()
        }
    }
}

fn timing(rng: &mut Rng, alone: bool) -> Timing {
    let usual = TimingSpec::default();
    let interval = rng.one(&[20, 50, 100, 100, 200, 1_000]) * MS;
    let tenths = rng.between(if alone { 45 } else { 30 }, 80);
    let slack = rng.one(&[0, 1, 5, 20]) * interval / 100;
    let drift = if alone {
        &[0, 100, 1_000, 10_000][..]
    } else {
        &[0, 100, 1_000, 100_000][..]
    };
    let drawn = TimingSpec {
        interval: Span::from_nanos(interval * 1_000),
        lease: Span::from_nanos(interval * 100 * tenths),
        guard_slack: Span::from_nanos(slack * 1_000),
        drift_ppm: rng.one(drift),
    };
    let spec = if rng.chance(30) { usual } else { drawn };
    Timing::prove(spec).expect("what is drawn is possible")
}

fn group(rng: &mut Rng, name: &'static str, interval: u64) -> DrawnGroup<'static> {
    DrawnGroup {
        name,
        preferred: rng.one(&["lb0", "lb1"]),
        returns: rng.chance(80),
        delay: rng.one(&[0, 0, 0, 5 * interval]),
        releases_when_unhealthy: rng.chance(25),
    }
}

impl Stays {
    fn draw(rng: &mut Rng, cluster: &DrawnCluster<'static>) -> Self {
        let many = cluster.members.len() > 2;
        let alone = cluster.arbitration() == Arbitration::Survivor;
        let may_be_sick = !cluster.groups.iter().any(|g| g.releases_when_unhealthy);
        match (cluster.promise, rng.below(100)) {
            (Promise::Steady, _) => Self::Nothing,
            (_, 0..20) if many || alone => Self::Down(rng.one(&cluster.members)),
            (_, 20..40) if many => {
                let a = rng.one(&cluster.members);
                let others: Vec<&str> = cluster
                    .members
                    .iter()
                    .copied()
                    .filter(|n| *n != a)
                    .collect();
                let b = rng.one(&others);
                let both = rng.one(&[false, true]);
                Self::Cut(Links {
                    both,
                    ..Links::one_way(a, b)
                })
            }
            (_, 20..45) if alone && (cluster.frames || cluster.evidence) => Self::Partly {
                frames: cluster.evidence && (!cluster.frames || rng.chance(50)),
            },
            (_, 40..50) if may_be_sick => Self::Sick,
            _ => Self::Nothing,
        }
    }

    fn says(&self) -> String {
        match self {
            Self::Nothing => "nothing is wrong".to_owned(),
            Self::Down(name) => format!("nothing is wrong but that {name} is down"),
            Self::Cut(links) => format!("nothing is wrong but that {links} is cut"),
            Self::Partly { frames: false } => "nothing is wrong but that UDP is cut".to_owned(),
            Self::Partly { frames: true } => "only answers to probes pass".to_owned(),
            Self::Sick => "nothing is wrong but the services".to_owned(),
        }
    }
}

impl Draw {
    /// What a seed draws.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "sweep");
        let (cluster, network) = DrawnCluster::draw(seed, &mut rng);
        let mut file = cluster.file(&mut rng, network);
        let (vote, interval) = (cluster.vote(), cluster.interval());
        let delay = cluster.groups.iter().map(|g| g.delay).max();
        // A start, an election in vain and one that is not, and what it takes to fail back.
        // as long as after many crashes in a row, by the slowest clock.
        let clock = 1_000_000 - u64::from(cluster.timing.drift_ppm());
        let delay = (64 * delay.unwrap_or(0) * 1_000_000).div_ceil(clock);
        let waits = openings::draw(seed, &cluster, &mut file);
        let bound = 6 * vote + 4 * interval + KERNEL_RESTS + delay + waits;
        let from = match cluster.promise {
            Promise::Steady => bound,
            _ => rng.one(&[0, 3 * vote, 3 * vote]),
        };
        let calm = from + rng.between(8 * vote, 40 * vote);
        let mut incidents = tracks::draw(seed, &mut rng, &cluster, from, calm, bound);
        let stays = Stays::draw(&mut rng, &cluster);
        let lets_go = openings::may_let_go(&stays, &mut file);
        let files = Files::draw(seed, &cluster, &stays, (from, calm), &mut incidents);
        if let Some(files) = &files {
            files.add_to(seed, &cluster, &mut file);
        }
        let bound = bound + files.as_ref().map_or(0, Files::waits);
        Self {
            seed,
            calm,
            stays,
            bound,
            length: calm + bound + 3 * vote,
            cluster,
            incidents,
            file,
            lets_go,
            files,
        }
    }

    /// Within how long after the start one holds: no file is read until then.
    pub(super) fn begun_within(&self) -> u64 {
        self.bound - self.files.as_ref().map_or(0, Files::waits)
    }

    /// The cluster and its timing, in a line or two.
    #[must_use]
    pub fn about(&self) -> String {
        let t = self.cluster.timing;
        let (i, h) = (t.interval(), t.lease());
        let members = self.cluster.members.join(", ");
        let (incidents, groups) = (self.incidents.len(), self.cluster.groups.len());
        let [calm, bound] = [self.calm, self.bound].map(|us| Span::from_nanos(us * 1_000));
        format!(
            "{members}; groups: {groups}; interval {i}, lease {h}, drift {} ppm\n\
             {incidents} incidents until {calm}, then {}, and one must hold within {bound}\n",
            t.drift_ppm(),
            self.stays.says()
        )
    }

    /// The scenario with these of its incidents, as `cargo lab sim` reads it.
    #[must_use]
    pub fn scenario(&self, incidents: &[Incident]) -> String {
        let (seed, all) = (self.seed, self.incidents.len());
        let [calm, bound] = [self.calm, self.bound].map(|us| span(us).0);
        let faults = incidents.iter().flat_map(|i| &i.faults);
        let faults = faults.cloned().chain(self.all_well());
        let entry = |(at, fault)| Entry {
            at: span(at),
            every: None,
            until: None,
            fault,
        };
        let excuse = |i: &Incident| {
            let (from, until) = i.excuse?;
            Some(ExcuseSection {
                from: span(from),
                until: span(until),
                because: i.to_string(),
            })
        };
        let file = ScenarioFile {
            title: format!(
                "Seed {seed} of the sweep, {} of its {all} incidents",
                incidents.len()
            ),
            about: format!(
                "{:?}: faults until {calm}, then {}, and one must hold within {bound}.",
                self.cluster.promise,
                self.stays.says()
            ),
            seed,
            length: span(self.length),
            timeline: faults.map(entry).collect(),
            excuse: incidents.iter().filter_map(excuse).collect(),
            expect: expect::of(self, incidents),
            ..self.file.clone()
        };
        toml::to_string(&file).expect("a scenario is TOML")
    }

    /// The faults stop, and what is down is started.
    fn all_well(&self) -> Vec<(u64, Fault)> {
        let c = &self.cluster;
        let mut all = vec![Fault::Heal(Links::all())];
        if let Stays::Cut(links) = &self.stays {
            all.push(Fault::Cut(links.clone()));
        }
        if let Stays::Partly { frames } = self.stays {
            all.push(Fault::CutDatagrams(Links::all()));
            all.extend(frames.then(|| Fault::CutFrames(Links::all())));
        }
        for name in &c.members {
            let of = (*name).to_owned();
            all.push(Fault::Kernel {
                of: of.clone(),
                refuses: Vec::new(),
            });
            all.push(Fault::OwnAddress {
                of: of.clone(),
                is: true,
            });
            if self.stays == Stays::Down(name) {
                all.push(Fault::PowerOff(of));
            } else {
                all.extend([Fault::Resume(of.clone()), Fault::Start(of)]);
            }
        }
        for name in &c.members[..2] {
            for g in &c.groups {
                let flag = |is| Flag {
                    on: (*name).to_owned(),
                    group: Some(g.name.to_owned()),
                    is,
                };
                all.push(Fault::Eligible(flag(true)));
                all.push(Fault::Healthy(flag(self.stays != Stays::Sick)));
            }
        }
        let mut all: Vec<(u64, Fault)> = all.into_iter().map(|e| (self.calm, e)).collect();
        for name in &c.members[..2] {
            let resume = Fault::Command {
                to: (*name).to_owned(),
                say: Order::Resume,
                group: None,
            };
            all.push((self.calm + c.interval(), resume));
        }
        let files = self.files.iter();
        all.extend(files.flat_map(|files| files.all_well(&c.members, self.calm)));
        all
    }
}

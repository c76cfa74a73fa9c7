//! What a seed draws: a cluster, its timing, what goes wrong, and then nothing more.
//!
//! A run has two phases. In the first, faults come and go; in the second they have stopped, what is
//! down is started again, and within a bound one must hold and stay. All times are in microseconds.

use super::expect;
use super::incidents::{self, Incident};
use crate::fault::{Conditions, Fault, Flag, Links};
use crate::simulator::file::{
    Entry, ExcuseSection, GroupSection, MemberSection, ScenarioFile, Sending,
};
use crate::simulator::rng::Rng;
use onehold::config_file::{Length, TimingSection};
use onehold::control::Order;
use onehold_core::config::{Arbitration, Failback};
use onehold_core::lease::{Timing, TimingSpec};
use onehold_core::time::Span;

/// One millisecond.
pub(super) const MS: u64 = 1_000;
/// For so long a simulated kernel that refused may go on with what follows from it.
const KERNEL_RESTS: u64 = 1_200 * MS;

/// What is promised of a run, and so what may go wrong in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// `majority`: never two, whatever happens.
    Majority,
    /// `majority`, and machines are stopped together with their clocks: two for what was left of a lease.
    Frozen,
    /// `majority`, and nothing is wrong but a few adverts in a row that are lost: the holder changes only
    /// where somebody means it to, and nobody waits for long.
    Steady,
    /// `survivor`, and messages get through in time: never two.
    Timely,
    /// `survivor`, and one direction at a time is cut, too: never two.
    OneWay,
    /// `survivor`, and anything: two while the network fails, and for a bound after that.
    Anything,
}

impl Promise {
    /// What is promised, for people.
    #[must_use]
    pub const fn says(self) -> &'static str {
        match self {
            Self::Majority => "majority: never two, whatever happens",
            Self::Steady => {
                "majority, nothing wrong but a few lost adverts: the holder changes only if somebody means it to"
            }
            Self::Frozen => {
                "majority, and clocks stand still: two for what was left of a lease at most"
            }
            Self::Timely => "survivor, messages in time: never two",
            Self::OneWay => "survivor, one direction cut at a time: never two",
            Self::Anything => "survivor: two while the network fails, one again soon after",
        }
    }
}

/// A cluster, as far as drawing needs it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// What is promised of it.
    pub promise: Promise,
    /// The members' names; the first two are the candidates.
    pub members: Vec<&'static str>,
    /// The groups.
    pub groups: Vec<Group>,
    /// The timing, proved.
    pub timing: Timing,
    /// How many paths there are.
    pub paths: u8,
    /// How long a step of the simulation takes.
    pub tick: u64,
    /// How long a kernel takes for a release.
    pub confirm: u64,
    /// The longest that a datagram takes while nothing is wrong.
    pub trip: u64,
}

/// A group, as far as drawing needs it.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Which candidate is preferred.
    pub preferred: &'static str,
    /// It returns to that one by itself.
    pub returns: bool,
    /// After so long.
    pub delay: u64,
    /// Rather nobody than a sick holder.
    pub releases_when_unhealthy: bool,
}

/// What stays wrong when all other faults have stopped: nothing that keeps everybody from holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stays {
    /// Nothing.
    Nothing,
    /// A member is down.
    Down(&'static str),
    /// Some links between two members are cut.
    Cut(Links),
    /// The services behind all groups fail everywhere.
    Sick,
}

/// What a seed drew.
#[derive(Clone, Debug)]
pub struct Draw {
    /// The seed.
    pub seed: u64,
    /// The cluster.
    pub cluster: Cluster,
    /// What goes wrong, by when it begins.
    pub incidents: Vec<Incident>,
    /// When the faults have stopped.
    pub calm: u64,
    /// What stays wrong all the same.
    pub stays: Stays,
    /// Within so long after that one holds.
    pub bound: u64,
    /// How long the run goes on.
    pub length: u64,
    /// The scenario, but for what happens.
    file: ScenarioFile,
}

/// One of a list that is not empty.
pub(super) fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    let n = usize::try_from(rng.below(of.len() as u64)).unwrap_or(0);
    of[n]
}

/// From `least` to `most`, both included.
pub(super) fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    least + rng.below(most.saturating_sub(least) + 1)
}

/// With a chance of `n` in a hundred.
pub(super) fn chance(rng: &mut Rng, n: u64) -> bool {
    rng.below(100) < n
}

pub(super) const fn micros(span: Span) -> u64 {
    span.as_nanos().div_ceil(1_000)
}

/// As a scenario's file says it.
pub(super) const fn span(us: u64) -> Length {
    Length(Span::from_nanos(us * 1_000))
}

impl Cluster {
    /// i, in microseconds.
    #[must_use]
    pub fn interval(&self) -> u64 {
        micros(self.timing.interval())
    }

    /// D, in microseconds.
    #[must_use]
    pub fn vote(&self) -> u64 {
        micros(self.timing.vote())
    }

    /// Two members alone, without a majority.
    #[must_use]
    pub const fn arbitration(&self) -> Arbitration {
        match self.promise {
            Promise::Majority | Promise::Frozen | Promise::Steady => Arbitration::Majority,
            Promise::Timely | Promise::OneWay | Promise::Anything => Arbitration::Survivor,
        }
    }

    /// For how long two may still hold after a cut has healed: two intervals, the way of an advert and
    /// what the kernel takes. A member that is not run holds for what is left of its lease.
    #[must_use]
    pub fn heals_within(&self, restless: bool) -> u64 {
        let heal = 2 * self.interval() + self.trip + self.confirm + 2 * self.tick;
        if restless { heal + self.vote() } else { heal }
    }

    /// For how long nobody may answer because a message of a hand-over was lost: D until the successor may take
    /// over by itself, and two intervals; by slow clocks, with what adverts, kernel and steps take.
    #[must_use]
    pub fn handed_over_within(&self) -> u64 {
        let most = self.vote() + 2 * self.interval();
        let slow = most * u64::from(self.timing.drift_ppm()) / 500_000;
        most + slow + 4 * self.trip + self.confirm + 2 * self.tick
    }

    /// Within how long an address moves that somebody means to move: by a hand-over, or D later; and when what
    /// was taken away is back: after a start (quarantine, and meeting the others), and a group's delay.
    #[must_use]
    pub fn meant_within(&self) -> [u64; 2] {
        let away = self.handed_over_within() + self.vote();
        let delay = self.groups.iter().map(|g| g.delay).max().unwrap_or(0);
        [away, away + 2 * self.vote() + delay]
    }

    fn draw(rng: &mut Rng) -> (Self, Conditions) {
        let promise = match rng.below(100) {
            0..48 => Promise::Majority,
            48..53 => Promise::Frozen,
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
            one(rng, &[2, 3, 3, 3, 3, 5])
        };
        let members = ["lb0", "lb1", "w1", "w2", "w3"][..size].to_vec();
        let timing = timing(rng, alone);
        let interval = micros(timing.interval());
        // At most a twentieth of an interval, in whole milliseconds.
        let most = (interval / 20 / MS).max(1);
        let tick = between(rng, most.div_ceil(4), most) * MS;
        let slow = if alone { interval / 20 } else { interval / 6 };
        // On a fast network margins are least.
        let slow = if chance(rng, 40) { 0 } else { slow };
        let (delay, jitter) = (rng.below(slow + 1), rng.below(slow + 1));
        let confirm = one(rng, &[0, MS, MS, interval / 5, interval]);
        let groups = ["mail", "web"][..between(rng, 1, 2) as usize].iter();
        let groups: Vec<Group> = groups.map(|name| group(rng, name, interval)).collect();
        let paths = one(rng, &[1, 1, 2]);
        let cluster = Self {
            promise,
            members,
            groups,
            timing,
            paths,
            tick,
            confirm,
            trip: delay + jitter + 2 * tick,
        };
        let conditions = Conditions {
            delay: span(delay),
            jitter: span(jitter),
            duplicate: f64::from(one(rng, &[0u8, 0, 5, 30])),
            ..Conditions::default()
        };
        (cluster, conditions)
    }

    /// The scenario, but for what happens.
    fn file(&self, rng: &mut Rng, network: Conditions) -> ScenarioFile {
        let t = &self.timing;
        // `majority` must bear it.
        let asks = self.arbitration() == Arbitration::Majority && chance(rng, 25);
        let forgets = asks.then(|| span(between(rng, self.vote(), 8 * self.vote())));
        let member = |name: &&str| MemberSection {
            witness: name.starts_with('w'),
            clock_ppm: ppm(rng, t),
            ..MemberSection::default()
        };
        let names = self.members.iter().map(|name| (*name).to_owned());
        let members = names.zip(self.members.iter().map(member)).collect();
        let group = |g: &Group| GroupSection {
            preferred: g.preferred.to_owned(),
            failback: if g.returns {
                Failback::Auto
            } else {
                Failback::Manual
            },
            failback_delay: span(g.delay),
            release_when_unhealthy: g.releases_when_unhealthy,
        };
        let groups = self.groups.iter();
        ScenarioFile {
            paths: self.paths,
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
    let interval = one(rng, &[20, 50, 100, 100, 200, 1_000]) * MS;
    let tenths = between(rng, if alone { 45 } else { 30 }, 80);
    let slack = one(rng, &[0, 1, 5, 20]) * interval / 100;
    let drift = if alone {
        &[0, 100, 1_000, 10_000][..]
    } else {
        &[0, 100, 1_000, 100_000][..]
    };
    let drawn = TimingSpec {
        interval: Span::from_nanos(interval * 1_000),
        lease: Span::from_nanos(interval * 100 * tenths),
        guard_slack: Span::from_nanos(slack * 1_000),
        drift_ppm: one(rng, drift),
    };
    let spec = if chance(rng, 30) { usual } else { drawn };
    Timing::prove(spec).expect("what is drawn is possible")
}

fn group(rng: &mut Rng, name: &'static str, interval: u64) -> Group {
    Group {
        name,
        preferred: one(rng, &["lb0", "lb1"]),
        returns: chance(rng, 80),
        delay: one(rng, &[0, 0, 0, 5 * interval]),
        releases_when_unhealthy: chance(rng, 25),
    }
}

/// By how much a clock is fast: as far as is allowed, or less.
pub(super) fn ppm(rng: &mut Rng, timing: &Timing) -> i32 {
    let most = i32::try_from(timing.drift_ppm()).unwrap_or(i32::MAX);
    let less = i32::try_from(rng.below(2 * u64::from(timing.drift_ppm()) + 1)).unwrap_or(0);
    one(rng, &[-most, 0, most, less - most])
}

impl Stays {
    fn draw(rng: &mut Rng, cluster: &Cluster) -> Self {
        let many = cluster.members.len() > 2;
        let alone = cluster.arbitration() == Arbitration::Survivor;
        let may_be_sick = !cluster.groups.iter().any(|g| g.releases_when_unhealthy);
        match (cluster.promise, rng.below(100)) {
            (Promise::Steady, _) => Self::Nothing,
            (_, 0..20) if many || alone => Self::Down(one(rng, &cluster.members)),
            (_, 20..40) if many => {
                let a = one(rng, &cluster.members);
                let others: Vec<&str> = cluster
                    .members
                    .iter()
                    .copied()
                    .filter(|n| *n != a)
                    .collect();
                let b = one(rng, &others);
                let both = one(rng, &[false, true]);
                Self::Cut(Links {
                    both,
                    ..Links::one_way(a, b)
                })
            }
            (_, 40..50) if may_be_sick => Self::Sick,
            _ => Self::Nothing,
        }
    }

    fn says(&self) -> String {
        match self {
            Self::Nothing => "nothing is wrong".to_owned(),
            Self::Down(name) => format!("nothing is wrong but that {name} is down"),
            Self::Cut(links) => format!("nothing is wrong but that {links} is cut"),
            Self::Sick => "nothing is wrong but the services".to_owned(),
        }
    }
}

impl Draw {
    /// What a seed draws.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "sweep");
        let (cluster, network) = Cluster::draw(&mut rng);
        let file = cluster.file(&mut rng, network);
        let (vote, interval) = (cluster.vote(), cluster.interval());
        let delay = cluster.groups.iter().map(|g| g.delay).max();
        // A start, an election in vain and one that is not, and what it takes to fail back.
        let bound = 6 * vote + 4 * interval + KERNEL_RESTS + delay.unwrap_or(0);
        let from = match cluster.promise {
            Promise::Steady => bound,
            _ => one(&mut rng, &[0, 3 * vote, 3 * vote]),
        };
        let calm = from + between(&mut rng, 8 * vote, 40 * vote);
        let incidents = incidents::draw(&mut rng, &cluster, from, calm, bound);
        let stays = Stays::draw(&mut rng, &cluster);
        Self {
            seed,
            calm,
            stays,
            bound,
            length: calm + bound + 3 * vote,
            cluster,
            incidents,
            file,
        }
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
        all
    }
}

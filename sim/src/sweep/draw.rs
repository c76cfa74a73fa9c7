//! What a seed draws: a cluster, its timing, what goes wrong, and then nothing more.
//!
//! A run has two phases. In the first, faults come and go; in the second they have stopped, what is
//! down is started again, and within a bound one must hold and stay. All times are in microseconds.

use super::faults::{self, Fault};
use crate::turmoil::dice::Dice;
use onehold_core::config::Arbitration;
use onehold_core::lease::{Timing, TimingSpec};
use onehold_core::time::Span;
use std::fmt::Write as _;

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
    Cut(String),
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
    pub faults: Vec<Fault>,
    /// When the faults have stopped.
    pub calm: u64,
    /// What stays wrong all the same.
    pub stays: Stays,
    /// Within so long after that one holds.
    pub bound: u64,
    /// How long the run goes on.
    pub length: u64,
    head: String,
}

/// One of a list that is not empty.
pub(super) fn one<T: Copy>(dice: &mut Dice, of: &[T]) -> T {
    let n = usize::try_from(dice.below(of.len() as u64)).unwrap_or(0);
    of[n]
}

/// From `least` to `most`, both included.
pub(super) fn between(dice: &mut Dice, least: u64, most: u64) -> u64 {
    least + dice.below(most.saturating_sub(least) + 1)
}

/// With a chance of `n` in a hundred.
pub(super) fn chance(dice: &mut Dice, n: u64) -> bool {
    dice.below(100) < n
}

pub(super) const fn micros(span: Span) -> u64 {
    span.as_nanos().div_ceil(1_000)
}

/// As a scenario's file says it.
pub(super) fn length(us: u64) -> String {
    match us % MS {
        0 => format!("{}ms", us / MS),
        _ => format!("{us}us"),
    }
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

    /// For how long nobody may answer because a message of a hand-over was lost: D until the heir may take
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

    fn draw(dice: &mut Dice) -> (Self, String) {
        let promise = match dice.below(100) {
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
            one(dice, &[2, 3, 3, 3, 3, 5])
        };
        let members = ["lb0", "lb1", "w1", "w2", "w3"][..size].to_vec();
        let timing = timing(dice, alone);
        let interval = micros(timing.interval());
        // At most a twentieth of an interval, in whole milliseconds.
        let most = (interval / 20 / MS).max(1);
        let tick = between(dice, most.div_ceil(4), most) * MS;
        let slow = if alone { interval / 20 } else { interval / 6 };
        // On a fast network margins are least.
        let slow = if chance(dice, 40) { 0 } else { slow };
        let (delay, jitter) = (dice.below(slow + 1), dice.below(slow + 1));
        let confirm = one(dice, &[0, MS, MS, interval / 5, interval]);
        let groups = ["mail", "web"][..between(dice, 1, 2) as usize].iter();
        let groups: Vec<Group> = groups.map(|name| group(dice, name, interval)).collect();
        let paths = one(dice, &[1, 1, 2]);
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
        let weather = format!(
            "[network]\ndelay = \"{}\"\njitter = \"{}\"\nduplicate = {}.0\n",
            length(delay),
            length(jitter),
            one(dice, &[0, 0, 5, 30])
        );
        (cluster, weather)
    }

    /// The scenario's sections, but for what happens.
    fn head(&self, dice: &mut Dice, weather: &str) -> String {
        let t = &self.timing;
        let mut text = format!(
            "paths = {}\ntick = \"{}\"\nconfirm = \"{}\"\narbitration = \"{}\"\nwitness = false\n\n\
             [timing]\ninterval = \"{}\"\nlease = \"{}\"\nguard_slack = \"{}\"\ndrift_ppm = {}\n\n{weather}",
            self.paths,
            length(self.tick),
            length(self.confirm),
            match self.arbitration() {
                Arbitration::Majority => "majority",
                Arbitration::Survivor => "survivor",
            },
            length(self.interval()),
            length(micros(t.lease())),
            length(micros(t.slack())),
            t.drift_ppm(),
        );
        // `majority` must bear it.
        if self.arbitration() == Arbitration::Majority && chance(dice, 25) {
            let forgets = between(dice, self.vote(), 8 * self.vote());
            let _ = write!(text, "\n[sending]\nforgets = \"{}\"\n", length(forgets));
        }
        for name in &self.members {
            let ppm = ppm(dice, t);
            let witness = name.starts_with('w');
            let _ = write!(
                text,
                "\n[members.{name}]\nwitness = {witness}\nclock_ppm = {ppm}\n"
            );
        }
        for g in &self.groups {
            let _ = write!(
                text,
                "\n[groups.{}]\npreferred = \"{}\"\nfailback = \"{}\"\nfailback_delay = \"{}\"\n\
                 release_when_unhealthy = {}\n",
                g.name,
                g.preferred,
                if g.returns { "auto" } else { "manual" },
                length(g.delay),
                g.releases_when_unhealthy
            );
        }
        text
    }
}

fn timing(dice: &mut Dice, alone: bool) -> Timing {
    let usual = TimingSpec::default();
    let interval = one(dice, &[20, 50, 100, 100, 200, 1_000]) * MS;
    let tenths = between(dice, if alone { 45 } else { 30 }, 80);
    let slack = one(dice, &[0, 1, 5, 20]) * interval / 100;
    let drift = if alone {
        &[0, 100, 1_000, 10_000][..]
    } else {
        &[0, 100, 1_000, 100_000][..]
    };
    let drawn = TimingSpec {
        interval: Span::from_nanos(interval * 1_000),
        lease: Span::from_nanos(interval * 100 * tenths),
        guard_slack: Span::from_nanos(slack * 1_000),
        drift_ppm: one(dice, drift),
    };
    let spec = if chance(dice, 30) { usual } else { drawn };
    Timing::prove(spec).expect("what is drawn is possible")
}

fn group(dice: &mut Dice, name: &'static str, interval: u64) -> Group {
    Group {
        name,
        preferred: one(dice, &["lb0", "lb1"]),
        returns: chance(dice, 80),
        delay: one(dice, &[0, 0, 0, 5 * interval]),
        releases_when_unhealthy: chance(dice, 25),
    }
}

/// By how much a clock is fast: as far as is allowed, or less.
pub(super) fn ppm(dice: &mut Dice, timing: &Timing) -> i64 {
    let most = i64::from(timing.drift_ppm());
    let less = i64::try_from(dice.below(2 * u64::from(timing.drift_ppm()) + 1)).unwrap_or(0);
    one(dice, &[-most, 0, most, less - most])
}

impl Stays {
    fn draw(dice: &mut Dice, cluster: &Cluster) -> Self {
        let many = cluster.members.len() > 2;
        let alone = cluster.arbitration() == Arbitration::Survivor;
        let may_be_sick = !cluster.groups.iter().any(|g| g.releases_when_unhealthy);
        match (cluster.promise, dice.below(100)) {
            (Promise::Steady, _) => Self::Nothing,
            (_, 0..20) if many || alone => Self::Down(one(dice, &cluster.members)),
            (_, 20..40) if many => {
                let a = one(dice, &cluster.members);
                let others: Vec<&str> = cluster
                    .members
                    .iter()
                    .copied()
                    .filter(|n| *n != a)
                    .collect();
                let b = one(dice, &others);
                Self::Cut(format!("{a} {} {b}", one(dice, &["->", "<->"])))
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
        let mut dice = Dice::new(seed, "sweep");
        let (cluster, weather) = Cluster::draw(&mut dice);
        let head = cluster.head(&mut dice, &weather);
        let (vote, interval) = (cluster.vote(), cluster.interval());
        let delay = cluster.groups.iter().map(|g| g.delay).max();
        // A start, an election in vain and one that is not, and what it takes to fail back.
        let bound = 6 * vote + 4 * interval + KERNEL_RESTS + delay.unwrap_or(0);
        let from = match cluster.promise {
            Promise::Steady => bound,
            _ => one(&mut dice, &[0, 3 * vote, 3 * vote]),
        };
        let calm = from + between(&mut dice, 8 * vote, 40 * vote);
        let faults = faults::draw(&mut dice, &cluster, from, calm, bound);
        let stays = Stays::draw(&mut dice, &cluster);
        Self {
            seed,
            calm,
            stays,
            bound,
            length: calm + bound + 3 * vote,
            cluster,
            faults,
            head,
        }
    }

    /// The cluster and its timing, in a line or two.
    #[must_use]
    pub fn about(&self) -> String {
        let t = self.cluster.timing;
        let (i, h) = (t.interval(), t.lease());
        let members = self.cluster.members.join(", ");
        let (faults, groups) = (self.faults.len(), self.cluster.groups.len());
        let [calm, bound] = [self.calm, self.bound].map(|us| Span::from_nanos(us * 1_000));
        format!(
            "{members}; groups: {groups}; interval {i}, lease {h}, drift {} ppm\n\
             {faults} faults until {calm}, then {}, and one must hold within {bound}\n",
            t.drift_ppm(),
            self.stays.says()
        )
    }

    /// The scenario with these of its faults, as `cargo lab sim` reads it.
    #[must_use]
    pub fn scenario(&self, faults: &[Fault]) -> String {
        let mut text = format!(
            "title = \"Seed {} of the sweep, {} of its {} faults\"\n\
             about = \"{:?}: faults until {}, then {}, and one must hold within {}.\"\n\
             seed = {}\nlength = \"{}\"\n{}",
            self.seed,
            faults.len(),
            self.faults.len(),
            self.cluster.promise,
            length(self.calm),
            self.stays.says(),
            length(self.bound),
            self.seed,
            length(self.length),
            self.head,
        );
        for fault in faults {
            let _ = write!(text, "\n# {}\n", fault.what);
            for (at, entry) in &fault.entries {
                write_entry(&mut text, *at, entry);
            }
        }
        let _ = write!(text, "\n# From now on {}.\n", self.stays.says());
        for (at, entry) in self.all_well() {
            write_entry(&mut text, at, &entry);
        }
        text
    }

    /// The faults stop, and what is down is started.
    fn all_well(&self) -> Vec<(u64, String)> {
        let c = &self.cluster;
        let mut all = vec!["heal = \"* <-> *\"".to_owned()];
        if let Stays::Cut(links) = &self.stays {
            all.push(format!("cut = \"{links}\""));
        }
        for name in &c.members {
            all.push(format!("kernel = {{ of = \"{name}\", refuses = [] }}"));
            all.push(format!("own_address = {{ of = \"{name}\", is = true }}"));
            if self.stays == Stays::Down(name) {
                all.push(format!("power_off = \"{name}\""));
            } else {
                all.push(format!("resume = \"{name}\""));
                all.push(format!("start = \"{name}\""));
            }
        }
        for name in &c.members[..2] {
            for g in &c.groups {
                let on = format!("on = \"{name}\", group = \"{}\"", g.name);
                let well = self.stays != Stays::Sick;
                all.push(format!("eligible = {{ {on}, is = true }}"));
                all.push(format!("healthy = {{ {on}, is = {well} }}"));
            }
        }
        let mut all: Vec<(u64, String)> = all.into_iter().map(|e| (self.calm, e)).collect();
        for name in &c.members[..2] {
            let resume = format!("command = {{ to = \"{name}\", say = \"resume\" }}");
            all.push((self.calm + c.interval(), resume));
        }
        all
    }
}

fn write_entry(text: &mut String, at: u64, entry: &str) {
    let at = length(at);
    let _ = write!(text, "[[timeline]]\nat = \"{at}\"\n{entry}\n");
}

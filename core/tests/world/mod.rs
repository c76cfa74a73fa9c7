//! A small world for tests: members that run the real [`Node`], links that lose, delay, duplicate
//! and reorder, kernels that go on when a process stops, clocks that disagree. One virtual clock,
//! one seed. Tests ask it what the kernels do, never what a node believes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod alone;
pub mod changes;
mod clocks;
mod conditions;
mod processes;

pub use conditions::Conditions;

use onehold_core::Node;
use onehold_core::advert::{Advert, GroupId, MemberId};
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::effect::{Effect, Event, ReleaseId, Why};
use onehold_core::input::{Command, Input};
use onehold_core::lease::TimingSpec;
use onehold_core::observe::GroupSnapshot;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub const A: usize = 0;
pub const B: usize = 1;
pub const W: usize = 2;
pub const WEB: GroupId = GroupId(0);

pub const MAJORITY: Arbitration = Arbitration::Majority;
pub const SURVIVOR: Arbitration = Arbitration::Survivor;

pub const fn ms(n: u64) -> u64 {
    n * 1_000_000
}

/// The clusters that tests use: `a` (preferred) and `b`, and witnesses up to `size`.
pub fn spec(size: usize, arbitration: Arbitration) -> Spec {
    let member = |name: &str, witness| MemberSpec {
        name: name.into(),
        witness,
        addresses: vec![],
    };
    let mut members = vec![member("a", false), member("b", false)];
    members.extend(
        ["w", "x", "y", "z0", "z1", "z2", "z3"]
            .iter()
            .take(size - 2)
            .map(|n| member(n, true)),
    );
    Spec {
        cluster: "test".into(),
        members,
        groups: vec![group("web", 50, "a")],
        arbitration,
        timing: TimingSpec::default(),
    }
}

pub fn group(name: &str, last: u8, preferred: &str) -> GroupSpec {
    GroupSpec::new(name, vec![Prefix::new([10, 0, 0, last], 24)], preferred)
}

/// A kernel: what outlives the process.
#[derive(Clone, Debug, Default)]
struct Kernel {
    /// By group: the gate's deadline by the member's own clock; 0 is shut.
    deadlines: Vec<u64>,
    addresses: Vec<bool>,
}

enum Process {
    Up(Node),
    /// The effects left of the turn in which it was paused, and what waits for it: datagrams and
    /// confirmations.
    Paused(Node, Vec<Effect>, Vec<Input>),
    Down,
}

pub struct Member {
    name: String,
    pub config: Config,
    /// by whose votes it held, as written down for its later processes.
    record: Vec<u64>,
    /// the file on the disk, and what is still to come into force on the way to it.
    path: Vec<Config>,
    settled: Config,
    /// the longest lease that its earlier processes voted for.
    longest: Span,
    process: Process,
    kernel: Kernel,
    pub offset: u64,
    /// Parts per million by which its clock is fast.
    rate: i64,
    /// Counts starts and deaths: nothing that an earlier process waited for reaches a later one.
    incarnation: u64,
    turn: u64,
    pub sent: u64,
    pub turns: u64,
    pub announced: u64,
}

enum Pending {
    Deliver {
        to: usize,
        advert: Advert,
    },
    Wake {
        member: usize,
        turn: u64,
    },
    /// A probe of `from` arrives at `to`; then the answer of it at `from`.
    Probed {
        from: usize,
        to: usize,
        group: GroupId,
        probed_at: LocalTime,
    },
    Answered {
        to: usize,
        group: GroupId,
        probed_at: LocalTime,
    },
    Prepared {
        member: usize,
        incarnation: u64,
        group: GroupId,
    },
    Mute {
        member: usize,
        incarnation: u64,
        group: GroupId,
        release: ReleaseId,
    },
}

/// Also orders equal times by age, so a run is a function of its seed.
type Entry = Reverse<(u64, u64, usize)>;

pub struct World {
    pub now: u64,
    pub members: Vec<Member>,
    queue: BinaryHeap<Entry>,
    pending: Vec<Option<Pending>>,
    pub conditions: Conditions,
    cut: Vec<Vec<bool>>,
    /// By who asks and who is asked: the network takes probes there, and answers back.
    pub probes: Vec<Vec<bool>>,
    pub probed: Vec<(u64, usize)>,
    /// How many of the next adverts each link loses.
    pub lose_next: Vec<Vec<u64>>,
    pub seed: u64,
    pub rejects: Vec<Reject>,
    pub log: Vec<(u64, usize, Event)>,
    /// Every advert ever sent, for an attacker to replay.
    pub recorded: Vec<Advert>,
    pub record: bool,
    /// The first moment at which two were effective.
    pub two_at: Option<u64>,
    pub check_two: bool,
    /// No clock went back or stood still, so nobody may say so.
    pub keeps_time: bool,
    /// What comes for a machine while it stands still is lost.
    pub lose_what_waits: bool,
    /// Thousandths of turns in which the process dies, or is paused, between two effects.
    pub dies_in_turn: u64,
    pub pauses_in_turn: u64,
    /// How long it takes to do what R-19 waits for.
    pub preparing: u64,
    /// This member is paused in its next turn, before the first effect.
    pub pauses_next: Option<usize>,
    last_effective: Vec<usize>,
    /// When it last changed who is effective in group 0.
    pub changed_at: u64,
}

impl World {
    pub fn new(spec: &Spec, seed: u64) -> Self {
        Self::of(std::slice::from_ref(spec), seed)
    }

    /// All machines that are members in one of these files, each with the first one that names it.
    pub fn of(files: &[Spec], seed: u64) -> Self {
        let mut members: Vec<Member> = Vec::new();
        let all = files
            .iter()
            .flat_map(|spec| spec.members.iter().map(move |m| (m, spec)));
        for (of, spec) in all {
            let name = &of.name;
            if members.iter().any(|m| m.name == *name) {
                continue;
            }
            let config = spec.prove(name).expect("the tests' own spec");
            members.push(Member {
                name: name.clone(),
                record: Vec::new(),
                path: Vec::new(),
                settled: config.clone(),
                longest: config.timing().longest_lease(),
                config,
                process: Process::Down,
                kernel: Kernel {
                    deadlines: vec![0; spec.groups.len()],
                    addresses: vec![false; spec.groups.len()],
                },
                offset: 0,
                rate: 0,
                incarnation: 0,
                turn: 0,
                sent: 0,
                turns: 0,
                announced: 0,
            });
        }
        let n = members.len();
        let mut world = Self {
            now: ms(1),
            members,
            queue: BinaryHeap::new(),
            pending: Vec::new(),
            conditions: Conditions::CALM,
            cut: vec![vec![false; n]; n],
            probes: vec![vec![false; n]; n],
            probed: Vec::new(),
            lose_next: vec![vec![0; n]; n],
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            rejects: Vec::new(),
            log: Vec::new(),
            recorded: Vec::new(),
            record: false,
            two_at: None,
            check_two: true,
            keeps_time: true,
            lose_what_waits: false,
            dies_in_turn: 0,
            pauses_in_turn: 0,
            preparing: 0,
            pauses_next: None,
            last_effective: Vec::new(),
            changed_at: 0,
        };
        for m in 0..n {
            world.members[m].offset = world.below(ms(100_000));
        }
        world
    }

    /// All members started and the preferred one holding.
    pub fn holding(spec: &Spec) -> Self {
        let mut w = Self::new(spec, 7);
        w.start_all();
        w.run(ms(1_000));
        assert_eq!(
            w.effective(),
            [A],
            "the preferred one holds after a start: {:#?}",
            w.log
        );
        w
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        if n == 0 { 0 } else { self.seed % n }
    }

    pub fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1_000) < thousandths
    }

    fn scaled(&self, m: usize, t: u64) -> u64 {
        let t = i128::from(t);
        let rate = i128::from(1_000_000 + self.members[m].rate);
        u64::try_from(t * rate / 1_000_000).expect("time is positive")
    }

    pub fn local(&self, m: usize) -> LocalTime {
        LocalTime::from_nanos(
            self.scaled(m, self.now)
                .wrapping_add(self.members[m].offset),
        )
    }

    /// The first true time at which the member's clock shows at least `local`.
    fn true_time(&self, m: usize, local: LocalTime) -> u64 {
        let raw = local.as_nanos().wrapping_sub(self.members[m].offset);
        let raw = i128::from(raw.cast_signed());
        let rate = i128::from(1_000_000 + self.members[m].rate);
        let t = (raw * 1_000_000 + rate - 1).div_euclid(rate);
        u64::try_from(t.max(0)).unwrap_or(0).max(self.now)
    }

    /// How long until a member's next turn is due.
    pub fn due_in(&self, m: usize) -> u64 {
        let due = self.node(m).poll_timeout(&self.members[m].config);
        due.map_or(0, |due| self.true_time(m, due) - self.now)
    }

    fn push(&mut self, at: u64, what: Pending) {
        self.pending.push(Some(what));
        let index = self.pending.len() - 1;
        self.queue.push(Reverse((at, index as u64, index)));
    }

    pub fn run(&mut self, span: u64) {
        let end = self.now + span;
        while let Some(Reverse((at, _, index))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = self.now.max(at);
            if let Some(what) = self.pending[index].take() {
                self.come_due(what);
            }
            self.judge();
        }
        self.now = end;
        self.judge();
    }

    fn come_due(&mut self, what: Pending) {
        match what {
            Pending::Deliver { to, advert } => {
                self.input_or_wait(to, Input::Received(Authentic::assumed(advert)));
            }
            Pending::Wake { member, turn } => {
                if self.members[member].turn == turn {
                    self.input(member, Input::Wake);
                }
            }
            Pending::Probed {
                from,
                to,
                group,
                probed_at,
            } => {
                if self.effective_in(group).contains(&to) {
                    let at = self.now + self.conditions.least_delay;
                    let answered = Pending::Answered {
                        to: from,
                        group,
                        probed_at,
                    };
                    self.push(at, answered);
                }
            }
            Pending::Answered {
                to,
                group,
                probed_at,
            } => self.input_or_wait(to, Input::ProbeAnswered { group, probed_at }),
            Pending::Prepared {
                member,
                incarnation,
                group,
            } => {
                if self.members[member].incarnation == incarnation {
                    let done = true;
                    self.input_or_wait(member, Input::Prepared { group, done });
                }
            }
            Pending::Mute {
                member,
                incarnation,
                group,
                release,
            } => {
                let m = &mut self.members[member];
                m.kernel.deadlines[usize::from(group.0)] = 0;
                m.kernel.addresses[usize::from(group.0)] = false;
                if m.incarnation == incarnation {
                    self.input_or_wait(member, Input::Released { group, release });
                }
            }
        }
    }

    fn input_or_wait(&mut self, m: usize, input: Input) {
        if let Process::Paused(_, _, waiting) = &mut self.members[m].process {
            waiting.push(input);
        } else {
            self.input(m, input);
        }
    }

    /// Gives an input to a member that runs, and applies the effects.
    pub fn input(&mut self, m: usize, input: Input) {
        self.input_until(m, input, usize::MAX);
    }

    /// The same, and the process dies before its effect number `crash_after`.
    pub fn input_until(&mut self, m: usize, input: Input, crash_after: usize) {
        let now = self.local(m);
        let mut out = Vec::new();
        let member = &mut self.members[m];
        let Process::Up(node) = &mut member.process else {
            return;
        };
        member.turns += 1;
        let doubted = node.doubts();
        if let Err(reject) = node.handle(&member.config, now, input, &mut out) {
            self.rejects.push(reject);
        }
        member.trusts(doubted);
        let any = out.len() as u64 + 1;
        let crash_after = if self.dies_in_turn > 0 && self.chance(self.dies_in_turn) {
            self.below(any) as usize
        } else {
            crash_after
        };
        let pause_after = if self.pauses_next == Some(m) {
            self.pauses_next = None;
            0
        } else if self.pauses_in_turn > 0 && self.chance(self.pauses_in_turn) {
            self.below(any) as usize
        } else {
            usize::MAX
        };
        let mut out = out.into_iter();
        let mut n = 0;
        while n != crash_after && n != pause_after {
            let Some(effect) = out.next() else { break };
            self.apply(m, effect);
            self.judge();
            n += 1;
        }
        if pause_after != usize::MAX && crash_after == usize::MAX {
            self.pause(m);
            if let Process::Paused(_, rest, _) = &mut self.members[m].process {
                rest.extend(out);
            }
            return;
        }
        if crash_after != usize::MAX {
            self.kill(m);
            return;
        }
        self.take_steps(m);
        self.schedule(m);
    }

    fn schedule(&mut self, m: usize) {
        let member = &mut self.members[m];
        member.turn += 1;
        let turn = member.turn;
        let Process::Up(node) = &member.process else {
            return;
        };
        let due = node
            .poll_timeout(&member.config)
            .map_or(self.now, |due| self.true_time(m, due));
        self.push(due, Pending::Wake { member: m, turn });
    }

    fn apply(&mut self, m: usize, effect: Effect) {
        match effect {
            Effect::Release { group, release } => {
                let delay = self.conditions.kernel_delay;
                let at = self.now + 1 + self.below(delay);
                let incarnation = self.members[m].incarnation;
                self.push(
                    at,
                    Pending::Mute {
                        member: m,
                        incarnation,
                        group,
                        release,
                    },
                );
            }
            Effect::Send { to, advert } => self.send(m, self.machine(m, to), advert),
            Effect::HoldUntil { group, deadline } => {
                let kernel = &mut self.members[m].kernel;
                kernel.addresses[usize::from(group.0)] = true;
                kernel.deadlines[usize::from(group.0)] = deadline.as_nanos();
            }
            Effect::Prepare { group } => {
                self.members[m].kernel.addresses[usize::from(group.0)] = true;
                let incarnation = self.members[m].incarnation;
                let prepared = Pending::Prepared {
                    member: m,
                    incarnation,
                    group,
                };
                self.push(self.now + self.preparing, prepared);
            }
            Effect::EndIncarnation => self.crash(m),
            Effect::Announce { .. } => self.members[m].announced += 1,
            Effect::Probe { group, probed_at } => {
                self.probed.push((self.now, m));
                let at = self.now + self.conditions.least_delay;
                for to in (0..self.members.len()).filter(|to| *to != m) {
                    if self.probes[m][to] && !self.chance(self.conditions.loss) {
                        let probed = Pending::Probed {
                            from: m,
                            to,
                            group,
                            probed_at,
                        };
                        self.push(at, probed);
                    }
                }
            }
            Effect::Report(event) => {
                self.log.push((self.now, m, event));
                let blames_clock = match event {
                    Event::Role { why, .. } => why == Why::Outvoted,
                    Event::ClockWentBack { .. } => true,
                    _ => false,
                };
                assert!(
                    !(self.keeps_time && blames_clock),
                    "R-21: {event:?}\n{}",
                    self.story()
                );
            }
        }
    }

    fn send(&mut self, from: usize, to: usize, advert: Advert) {
        self.members[from].sent += 1;
        if self.record {
            self.recorded.push(advert.clone());
        }
        let conditions = self.conditions;
        if self.lose_next[from][to] > 0 {
            self.lose_next[from][to] -= 1;
            return;
        }
        if self.cut[from][to] || self.chance(conditions.loss) {
            return;
        }
        let copies = if self.chance(conditions.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let spread = conditions.most_delay - conditions.least_delay;
            let mut delay = conditions.least_delay + self.below(spread + 1);
            if self.chance(conditions.stragglers) {
                delay += self.below(ms(2_000));
            }
            self.push(
                self.now + delay,
                Pending::Deliver {
                    to,
                    advert: advert.clone(),
                },
            );
        }
    }

    /// Delivers an advert as an attacker would who has recorded it.
    pub fn replay(&mut self, advert: Advert) {
        let to = usize::from(advert.to.0);
        self.come_due(Pending::Deliver { to, advert });
        self.judge();
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub fn cut_both(&mut self, a: usize, b: usize) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Whatever adverts do, each gets answers to its probes.
    pub fn answer_probes(&mut self) {
        self.probes.iter_mut().flatten().for_each(|p| *p = true);
    }

    /// How long, of the next `span`, more than one is effective.
    pub fn two_for(&mut self, span: u64) -> u64 {
        let (end, mut two) = (self.now + span, 0);
        while self.now < end {
            self.run(100_000);
            two += u64::from(self.effective().len() > 1) * 100_000;
        }
        two
    }

    pub fn isolate(&mut self, m: usize) {
        for other in 0..self.members.len() {
            self.cut_both(m, other);
        }
    }

    pub fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|c| *c = false);
    }

    pub fn is_up(&self, m: usize) -> bool {
        matches!(self.members[m].process, Process::Up(_))
    }

    pub fn is_down(&self, m: usize) -> bool {
        matches!(self.members[m].process, Process::Down)
    }

    pub fn operator(&mut self, m: usize, command: Command) {
        let group = WEB;
        self.input(m, Input::Operator { group, command });
    }

    /// Its port goes down or comes up, and it can see that: its network is cut and its kernel not
    /// eligible.
    pub fn port(&mut self, m: usize, up: bool) {
        for other in 0..self.members.len() {
            (self.cut[m][other], self.cut[other][m]) = (!up, !up);
        }
        let (group, eligible) = (WEB, up);
        self.input(m, Input::Eligible { group, eligible });
    }

    pub fn health(&mut self, m: usize, healthy: bool) {
        let group = WEB;
        self.input(m, Input::Health { group, healthy });
    }

    pub fn node(&self, m: usize) -> &Node {
        match &self.members[m].process {
            Process::Up(node) | Process::Paused(node, ..) => node,
            Process::Down => panic!("member {m} is down"),
        }
    }

    /// What a member says of its group, for what no kernel shows.
    pub fn group(&self, m: usize) -> GroupSnapshot {
        let seen = self.node(m).observe(&self.members[m].config, self.local(m));
        seen.groups[usize::from(WEB.0)].clone()
    }

    /// Whose kernel would answer for the group; the gate may shut κ late, so it counts until then.
    pub fn effective_in(&self, group: GroupId) -> Vec<usize> {
        let g = usize::from(group.0);
        (0..self.members.len())
            .filter(|m| {
                let member = &self.members[*m];
                let Some(deadline) = member.kernel.deadlines.get(g).filter(|d| **d != 0) else {
                    return false;
                };
                let until = LocalTime::from_nanos(*deadline).plus(member.config.timing().slack());
                member.kernel.addresses[g] && self.local(*m) < until
            })
            .collect()
    }

    pub fn effective(&self) -> Vec<usize> {
        self.effective_in(WEB)
    }

    /// The last reports, for a failure's message.
    pub fn story(&self) -> String {
        let from = self.log.len().saturating_sub(40);
        let line = |(t, m, e): &(u64, usize, Event)| format!("{:>12} us  {m}  {e:?}\n", t / 1_000);
        self.log[from..].iter().map(line).collect()
    }

    /// How many role changes there were, and the last one's reason on a member.
    pub fn last_why(&self, m: usize) -> Option<Why> {
        self.log.iter().rev().find_map(|(_, who, e)| match e {
            Event::Role { why, .. } if *who == m && *why != Why::Released => Some(*why),
            _ => None,
        })
    }

    /// Runs until the group has one effective holder; says how long that took.
    pub fn until_held_by(&mut self, m: usize, at_most: u64) -> u64 {
        let start = self.now;
        while self.effective() != [m] {
            assert!(
                self.now - start < at_most,
                "{m} does not hold after {} ms\n{}",
                at_most / 1_000_000,
                self.story()
            );
            self.run(50_000);
        }
        self.now - start
    }
}

pub fn id(m: usize) -> MemberId {
    MemberId(u8::try_from(m).expect("few members"))
}

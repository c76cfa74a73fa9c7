//! Runs to look at: members with their own clocks, their kernels, a client, and a cable that can be
//! cut; and the trace of all that.

use crate::cluster::{GROUP, NAMES, spec};
use onehold::trace::{Header, Line, Turn, Writer};
use onehold_core::Node;
use onehold_core::advert::Incarnation;
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::Effect;
use onehold_core::input::{Command, Input};
use onehold_core::time::{LocalTime, Span};
use onehold_sim::fault::{Fault, Links};

/// How long an advert travels, in steps.
const LATENCY: u64 = 12;
/// A step, in ns.
const STEP: u64 = 100_000;
/// A client asks this often, in steps.
const PACE: u64 = 100;

/// A member's own clock.
fn clock(member: usize, step: u64) -> LocalTime {
    LocalTime::from_nanos(1_000_000_000_000 * (member as u64 + 1) + STEP * step)
}

struct Member {
    config: Config,
    /// `None` while it is dead.
    node: Option<Node>,
    /// Until when its kernel answers, by its clock.
    deadline: Option<LocalTime>,
    effective: bool,
}

pub(crate) struct Run {
    trace: Writer<Vec<u8>>,
    members: Vec<Member>,
    /// Pending: when, to which member, and from which member it comes.
    coming: Vec<(u64, usize, Option<usize>, Input)>,
    cut: bool,
    step: u64,
    lives: u64,
    events: u64,
}

impl Run {
    pub(crate) fn new(arbitration: Arbitration) -> Self {
        let spec = spec(arbitration);
        let names: Vec<String> = spec.members.iter().map(|m| m.name.clone()).collect();
        let header = Header::new("a test", spec.clone(), names.clone());
        let member = |name: &String| Member {
            config: spec.prove(name).unwrap(),
            node: None,
            deadline: None,
            effective: false,
        };
        let mut run = Self {
            trace: Writer::new(Vec::new(), &header).unwrap(),
            members: names.iter().map(member).collect(),
            coming: Vec::new(),
            cut: false,
            step: 0,
            lives: 0,
            events: 0,
        };
        (0..names.len()).for_each(|n| run.start(n));
        run
    }

    fn time(&self) -> Span {
        Span::from_nanos(STEP * self.step)
    }

    fn write(&mut self, line: &Line) {
        self.trace.line(line).unwrap();
        self.events += u64::from(!matches!(line, Line::Request { .. }));
    }

    pub(crate) fn start(&mut self, member: usize) {
        self.lives += 1;
        let (at, incarnation, earlier) = (
            clock(member, self.step),
            Incarnation(70 + self.lives),
            Span::ZERO,
        );
        let line = Line::Start {
            member: NAMES[member].into(),
            at,
            time: Some(self.time()),
            incarnation,
            earlier,
            doubts: false,
            spec: None,
        };
        self.write(&line);
        let of = &mut self.members[member];
        of.node = Some(Node::start(&of.config, incarnation, at, earlier));
        if member < 2 {
            let group = GROUP;
            let (eligible, healthy) = (true, true);
            self.tell(member, Input::Eligible { group, eligible });
            self.tell(member, Input::Health { group, healthy });
        }
    }

    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].node = None;
        let line = Line::Died {
            time: self.time(),
            member: NAMES[member].into(),
        };
        self.write(&line);
    }

    pub(crate) fn operator(&mut self, member: usize, command: Command) {
        let group = GROUP;
        self.tell(member, Input::Operator { group, command });
    }

    fn tell(&mut self, member: usize, input: Input) {
        self.coming.push((self.step + 1, member, None, input));
    }

    /// The cable between lb0 and lb1.
    pub(crate) fn cut(&mut self, cut: bool) {
        self.cut = cut;
        let links = Links::between("lb0", "lb1");
        let fault = if cut {
            Fault::Cut(links)
        } else {
            Fault::Heal(links)
        };
        let line = fault.line(self.time());
        self.write(&line);
    }

    pub(crate) fn go_on(&mut self, ms: u64) {
        let end = self.step + ms * 1_000_000 / STEP;
        while self.step < end {
            self.step = self.next().clamp(self.step + 1, end);
            let all = std::mem::take(&mut self.coming);
            let (now, later) = all.into_iter().partition(|(at, ..)| *at <= self.step);
            self.coming = later;
            let now: Vec<(u64, usize, Option<usize>, Input)> = now;
            for (_, member, from, input) in now {
                if !(self.cut && from.is_some_and(|from| from < 2 && member < 2)) {
                    self.turn(member, input);
                }
            }
            for n in 0..self.members.len() {
                let of = &self.members[n];
                let due = of.node.as_ref().map(|node| node.poll_timeout(&of.config));
                if due.is_some_and(|at| at.is_none_or(|at| at <= clock(n, self.step))) {
                    self.turn(n, Input::Wake);
                }
                self.kernel(n);
            }
            if self.step.is_multiple_of(PACE) {
                let by = self.members.iter().position(|m| m.effective);
                let line = Line::Request {
                    time: self.time(),
                    group: "web".into(),
                    answered_by: by.map(|n| NAMES[n].into()),
                };
                self.write(&line);
            }
        }
    }

    /// The first step at which something may happen.
    fn next(&self) -> u64 {
        let coming = self.coming.iter().map(|(at, ..)| *at);
        let due = self.members.iter().enumerate().flat_map(|(n, of)| {
            let timer = of
                .node
                .as_ref()
                .and_then(|node| node.poll_timeout(&of.config));
            let both = [timer, of.deadline].into_iter().flatten();
            both.map(move |at| at.since(clock(n, 0)).as_nanos().div_ceil(STEP))
        });
        let all = coming.chain(due).filter(|at| *at > self.step);
        all.chain([(self.step / PACE + 1) * PACE])
            .min()
            .unwrap_or(0)
    }

    fn turn(&mut self, member: usize, input: Input) {
        let (now, mut effects) = (clock(member, self.step), Vec::new());
        let time = self.time();
        let of = &mut self.members[member];
        let Some(node) = &mut of.node else { return };
        let result = node.handle(&of.config, now, input.clone(), &mut effects);
        let turn = Turn {
            cluster: 0,
            now,
            input: &input,
            result,
            effects: &effects,
            node,
        };
        let line = turn.line(NAMES[member], Some(time));
        self.write(&line);
        for effect in effects {
            match effect {
                Effect::Send { to, advert } => {
                    let input = Input::Received(Authentic::assumed(advert));
                    let (at, to) = (self.step + LATENCY + member as u64, usize::from(to.0));
                    self.coming.push((at, to, Some(member), input));
                }
                Effect::Release { group, release } => {
                    self.members[member].deadline = None;
                    self.tell(member, Input::Released { group, release });
                }
                Effect::HoldUntil { deadline, .. } => {
                    self.members[member].deadline = Some(deadline);
                }
                Effect::EndIncarnation
                | Effect::Prepare { .. }
                | Effect::Announce { .. }
                | Effect::Probe { .. }
                | Effect::Report(_) => {}
            }
        }
        self.kernel(member);
    }

    fn kernel(&mut self, member: usize) {
        let of = &mut self.members[member];
        let effective = of
            .deadline
            .is_some_and(|end| clock(member, self.step) < end);
        if effective == of.effective {
            return;
        }
        of.effective = effective;
        let line = Line::Kernel {
            time: self.time(),
            member: NAMES[member].into(),
            group: "web".into(),
            effective,
        };
        self.write(&line);
    }

    /// How many lines there are, without requests.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8(self.trace.into_inner()).unwrap()
    }
}

/// A start, a switch and the way back, the death of the holder, and its return.
pub(crate) fn usual() -> String {
    let mut run = Run::new(Arbitration::Majority);
    run.go_on(1_500);
    run.operator(0, Command::Switch);
    run.go_on(700);
    run.operator(0, Command::Resume);
    run.go_on(800);
    run.kill(0);
    run.go_on(1_000);
    run.start(0);
    run.go_on(1_500);
    run.text()
}

/// Two alone, and no packet passes between them for two seconds: both hold.
pub(crate) fn split() -> String {
    let mut run = Run::new(Arbitration::Survivor);
    run.go_on(2_000);
    run.cut(true);
    run.go_on(2_000);
    run.cut(false);
    run.go_on(1_500);
    run.text()
}

/// What a member's own daemon would have written: its own turns, and no true time.
pub(crate) fn own(text: &str, name: &str) -> String {
    let of = |line: &&str| {
        line.contains("\"format\"") || line.contains(&format!("\"member\":\"{name}\",\"at\""))
    };
    let untimed = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(fields) = line.as_object_mut() {
            fields.remove("time");
        }
        line.to_string() + "\n"
    };
    text.lines().filter(of).map(untimed).collect()
}

//! What outlives the processes: machines, their clocks and kernels, and the network between them.
//!
//! The kernels are the truth: a machine answers for a group while its gate is open. The gate shuts
//! by itself when the member's clock shows the deadline and the guard's slack has passed, whatever
//! its process does.

mod changing;
mod kernel;
mod leases_file;
mod network;
mod probes;
mod snapshot;
mod votes_file;

use super::clock::Clock;
use super::journal::Journal;
use super::plan::Plan;
use super::record::{By, Record, Way, What};
use super::rng::Rng;
use crate::fault::{self, Conditions, Fault, Links, Passing, Refusable};
use crate::liveness::Liveness;
pub(super) use leases_file::Leases;
use onehold::control::{Order, PendingRequest, Reply, Request};
use onehold::driver::ShellEvent;
use onehold::driver::leases;
use onehold::orders::Said;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::{Key, Keys};
use onehold_core::config::Config;
use onehold_core::time::{LocalTime, Span};
use probes::{Answers, Probes};
use snapshot::Snapshot;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use tokio::sync::{Notify, oneshot};
use votes_file::Votes;

/// Most datagrams that are kept to be sent again.
const MAX_TAPE: usize = 1 << 16;
/// Most records of one step; more would be a storm that never ends.
const MAX_RECORDS: usize = 1 << 20;

/// What restarts a process that has failed waits for this long, as our units say.
const RESTARTS: Span = Span::from_millis(1_000);

/// Everything but the processes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Rc<Plan>,
    /// The tick that is run, in true time.
    pub(super) tick: Range<u64>,
    pub(super) members: Vec<Member>,
    /// By path, sender and receiver.
    links: Vec<Link>,
    rng: Rng,
    probes: Probes,
    next_datagram: u64,
    /// What the process that runs now hands to turmoil's network: number, receiver, content.
    pub(super) leaving: Vec<(u64, MemberId, Datagram)>,
    /// Something arrives with the next tick.
    pub(super) flying: bool,
    /// What was sent, if it will be replayed.
    tape: Option<VecDeque<Taped>>,
    answers: Vec<Waiting>,
    /// A process has died, or should begin.
    pub(super) restless: bool,
    /// Somebody has something to do in this tick.
    pub(super) awake: bool,
    pub(super) records: Vec<Record>,
}

/// One machine.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) clock: Clock,
    pub(super) machine: Machine,
    pub(super) process: Liveness,
    /// The incarnation that runs, or ran last, and how many there have been.
    pub(super) life: u32,
    lives: u32,
    /// What its process was given, if a snapshot will be taken.
    pub(super) journal: Option<Journal>,
    /// What its process is made from, when it next runs.
    pub(super) again: Option<Journal>,
    snapshot: Option<Box<Snapshot>>,
    /// When what restarts a process that has failed does so.
    restarts: Option<u64>,
    /// what its processes have written down since it was switched on.
    pub(super) leases: Leases,
    /// by whose votes its processes might hold.
    pub(super) votes: Votes,
    /// The configuration in force, the one that it was settled on last, and the one of its file.
    pub(super) config: Config,
    settled: Config,
    file: Config,
    /// How late its kernel may shut a gate.
    slack: Span,
    /// Its own address is on the machine.
    addressed: bool,
    secrets: Vec<String>,
    gates: Vec<Gate>,
    refuses: Vec<Refusable>,
    /// It should stop; and whether it should start again once it has ended.
    stopping: Option<bool>,
    /// The process dies or is paused after this many more effects.
    fuse: Option<(u32, Liveness)>,
    /// What waits for the process.
    pub(super) inbox: VecDeque<ShellEvent>,
    /// What a paused process will do first when it goes on.
    pub(super) deferred: VecDeque<Act>,
    /// Datagrams that are there, by number.
    pub(super) socket: VecDeque<(u64, Datagram)>,
    /// Datagrams that come late, by when and number.
    late: BTreeMap<(u64, u64), Datagram>,
    /// Answers to its probes that are under way.
    answers: Answers,
    /// When a waiting process has something to do by itself.
    pub(super) wake: Option<u64>,
    /// Wakes a waiting process.
    pub(super) stir: Rc<Notify>,
}

/// A group's gate in a kernel.
#[derive(Clone, Debug, Default)]
struct Gate {
    /// By the member's clock; `None` if it is shut.
    deadline: Option<LocalTime>,
    /// What its opening waits for, and when that is done.
    preparing: Option<u64>,
    /// A release that is being carried out, and when that is done.
    releasing: Option<u64>,
    /// The machine answers for the group.
    effective: bool,
    eligible: bool,
    healthy: bool,
}

/// How a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    On,
    /// It does not run.
    Suspended,
    Off,
}

/// An effect of a turn.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Release(GroupId),
    /// To whom, what, and whether in a frame, too.
    Send(MemberId, Rc<[u8]>, bool),
    Hold(GroupId, LocalTime),
    Prepare(GroupId),
    Announce(GroupId),
    /// Of which group, and when.
    Probe(GroupId, LocalTime),
}

/// A datagram for a process, or an advert in a frame.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub(super) from: MemberId,
    pub(super) way: Way,
    pub(super) bytes: Rc<[u8]>,
}

/// One direction of a link.
#[derive(Clone, Debug)]
struct Link {
    passing: Passing,
    conditions: Conditions,
    /// When the sender last heard from the receiver's machine: it knows its hardware address from
    /// there.
    heard: Option<u64>,
    /// What waits, by number, and since when.
    waiting: VecDeque<(u64, Datagram)>,
    since: u64,
}

#[derive(Debug)]
struct Taped {
    at: u64,
    to: MemberId,
    what: Datagram,
}

#[derive(Debug)]
struct Waiting {
    member: MemberId,
    order: Order,
    group: Option<GroupId>,
    answer: oneshot::Receiver<Reply>,
}

fn at(id: MemberId) -> usize {
    usize::from(id.0)
}

impl World {
    pub(super) fn new(plan: Rc<Plan>) -> Self {
        let mut rng = Rng::new(plan.seed, "network");
        let gate = Gate {
            eligible: true,
            healthy: true,
            ..Gate::default()
        };
        let member = |m: &super::plan::MemberPlan| Member {
            clock: Clock::new(0, boot_time(&mut rng), m.ppm),
            machine: Machine::On,
            process: Liveness::Down,
            life: 0,
            lives: 0,
            journal: None,
            again: None,
            snapshot: None,
            restarts: None,
            leases: Leases::default(),
            votes: Votes::default(),
            config: m.config.clone(),
            settled: m.config.clone(),
            file: m.config.clone(),
            slack: m.config.timing().slack(),
            addressed: true,
            secrets: vec![m.secret.clone()],
            gates: vec![gate.clone(); plan.groups()],
            refuses: Vec::new(),
            stopping: None,
            fuse: None,
            inbox: VecDeque::new(),
            deferred: VecDeque::new(),
            socket: VecDeque::new(),
            late: BTreeMap::new(),
            answers: Answers::new(),
            wake: None,
            stir: Rc::new(Notify::new()),
        };
        let members: Vec<Member> = plan.members.iter().map(member).collect();
        let links = usize::from(plan.paths) * members.len() * members.len();
        let replays = |(_, fault): &(Span, Fault)| matches!(fault, Fault::Replay { .. });
        Self {
            links: vec![Link::new(plan.conditions); links],
            tick: 0..0,
            tape: plan.timeline.iter().any(replays).then(VecDeque::new),
            members,
            rng,
            probes: Probes::new(&plan),
            next_datagram: 0,
            leaving: Vec::new(),
            flying: false,
            answers: Vec::new(),
            restless: true,
            awake: false,
            records: Vec::new(),
            plan,
        }
    }

    pub(super) fn member(&mut self, id: MemberId) -> &mut Member {
        &mut self.members[at(id)]
    }

    pub(super) fn record(&mut self, at: u64, member: Option<MemberId>, what: What) {
        let storm = self.records.len() >= MAX_RECORDS;
        assert!(
            !storm,
            "a storm: {MAX_RECORDS} things happen within one step"
        );
        self.records.push(Record { at, member, what });
    }

    fn link(&mut self, path: u8, from: MemberId, to: MemberId) -> &mut Link {
        let n = self.members.len();
        &mut self.links[(usize::from(path) * n + at(from)) * n + at(to)]
    }

    /// Whether an effect takes place now; the fuse may go off before it.
    pub(super) fn process_before_effect(&mut self, now: u64, id: MemberId) -> Liveness {
        let member = self.member(id);
        if let (Liveness::Up, Some((left, then))) = (member.process, &mut member.fuse) {
            if *left > 0 {
                *left -= 1;
            } else {
                let then = *then;
                member.fuse = None;
                self.stop_running(now, id, then);
            }
        }
        self.member(id).process
    }

    fn stop_running(&mut self, now: u64, id: MemberId, how: Liveness) {
        self.settle(now, id);
        let member = self.member(id);
        if member.process == Liveness::Down || member.process == how {
            return;
        }
        member.process = how;
        if how == Liveness::Down {
            member.forget_process();
        }
        self.stir(id);
        self.restless = true;
        let what = match how {
            Liveness::Down => What::Died,
            Liveness::Paused | Liveness::Up => What::Paused,
        };
        self.record(now, Some(id), what);
    }

    /// an incarnation begins: it scrubs what an earlier one left, and reads its file. Returns its
    /// number, the keys, the longest lease of earlier incarnations, and whether it doubts.
    pub(super) fn begin(&mut self, now: u64, id: MemberId) -> (u32, Keys, Span, bool) {
        self.settle(now, id);
        let member = self.member(id);
        member.lives += 1;
        member.life = member.lives;
        member.forget_process();
        let before = std::mem::replace(&mut member.config, member.file.clone());
        member.settled = member.file.clone();
        member.slack = member.file.timing().slack();
        member.late.retain(|(due, _), _| *due > now); // no socket was open
        let (life, keys) = (member.life, member.keys());
        let lease = member.config.timing().lease();
        member.leases.begin();
        let doubts = member.votes.begin(&member.config);
        let earlier = leases::begin(&mut member.leases, lease).expect("it can be written");
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            self.members[at(id)].gates[usize::from(group.0)].deadline = None;
            self.tell_effective(now, id, group, By::Scrub);
        }
        self.record(now, Some(id), What::Began(life));
        self.says_what_is_in_force(now, id, &before);
        let config = &self.members[at(id)].config;
        if config.is_candidate(config.me()) {
            for group in (0u8..).take(self.plan.groups()).map(GroupId) {
                let member = self.member(id);
                member.tell_eligible(group);
                member.tell_healthy(group);
            }
        }
        (life, keys, earlier.longest, doubts)
    }

    /// A process has ended by itself, and leaves nothing behind: for it should stop, or has failed
    /// and is started again a second later, as systemd does.
    pub(super) fn end(&mut self, now: u64, id: MemberId, failed: bool) {
        self.settle(now, id);
        let member = self.member(id);
        let again = member.stopping == Some(true);
        member.process = if again { Liveness::Up } else { Liveness::Down };
        let restarts = failed && member.stopping.is_none();
        member.forget_process();
        member.restarts = restarts.then(|| now.saturating_add(RESTARTS.as_nanos()));
        self.restless = true;
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            self.members[at(id)].gates[usize::from(group.0)].deadline = None;
            self.tell_effective(now, id, group, By::Release);
        }
        self.record(now, Some(id), What::Ended);
    }

    /// What has failed is started again.
    pub(super) fn restart(&mut self, now: u64) {
        for id in self.plan.ids() {
            let member = self.member(id);
            let runs = member.machine == Machine::On;
            if member.restarts.take_if(|at| runs && *at <= now).is_some() {
                self.start(now, id);
            }
        }
    }

    /// Something is done to the world, between two steps.
    pub(super) fn inflict(&mut self, now: u64, fault: &Fault) {
        let who = fault.member().map(|name| self.plan.id(name));
        if let Some(id) = who {
            self.settle(now, id);
        }
        self.record(now, who, What::Inflicted(fault.clone()));
        match (fault, who) {
            (_, Some(id)) => {
                self.inflict_on(now, id, fault);
                self.stir(id);
            }
            (Fault::Conditions { on, are }, None) => self.links(on, |l| l.conditions = *are),
            (
                Fault::Cut(on)
                | Fault::CutDatagrams(on)
                | Fault::CutFrames(on)
                | Fault::CutProbes(on)
                | Fault::Keep(on),
                None,
            ) => self.links(on, |l| l.passing.suffer(fault)),
            (Fault::Heal(on), None) => {
                let conditions = self.plan.conditions;
                self.links(on, |l| {
                    l.passing.suffer(fault);
                    l.conditions = conditions;
                });
                self.let_through(now, on);
            }
            (Fault::Replay { on, last, every }, None) => self.replay(now, on, last.0, every.0),
            (Fault::Note(_), None) => {}
            (other, None) => unreachable!("{other}: done neither to a member nor to links"),
        }
    }

    /// Something is done to a member.
    fn inflict_on(&mut self, now: u64, id: MemberId, fault: &Fault) {
        let plan = Rc::clone(&self.plan);
        let group = |name: &Option<String>| plan.group(name.as_deref()).expect("a group there is");
        match fault {
            Fault::Start(_) => self.start(now, id),
            Fault::Stop(_) => {
                self.tell(id, ShellEvent::Stop);
                self.member(id).stopping = Some(false);
            }
            Fault::Kill(process) => self.interrupt(now, id, process, Liveness::Down),
            Fault::Pause(process) => self.interrupt(now, id, process, Liveness::Paused),
            Fault::Suspend(_) => self.set_machine(now, id, Machine::Suspended),
            Fault::Freeze(_) => {
                self.set_machine(now, id, Machine::Suspended);
                self.member(id).clock.freeze(now, true);
            }
            Fault::Resume(_) => self.resume(now, id),
            Fault::Snapshot(_) => self.snapshot(now, id),
            Fault::Restore(_) => self.restore(now, id),
            Fault::PowerOff(_) => self.power_off(now, id),
            Fault::Drift { ppm, .. } => self.member(id).clock.set_rate(now, *ppm),
            Fault::ClockStep { by, .. } => {
                self.member(id).clock.step(now, by.0);
                self.settle(now, id);
            }
            Fault::Kernel { refuses, .. } => self.member(id).refuses.clone_from(refuses),
            Fault::OwnAddress { is, .. } => {
                let groups = (0u8..).take(plan.groups()).map(GroupId);
                let member = self.member(id);
                member.addressed = *is;
                groups.for_each(|group| member.tell_eligible(group));
            }
            Fault::Edit(edit) => {
                let edited = plan.edited(edit);
                (_, self.member(id).file) = edited.expect("proved when it was planned");
            }
            Fault::Reload(edit) => self.reload(now, id, edit),
            Fault::Eligible(flag) => {
                let (member, group) = (self.member(id), group(&flag.group));
                let gate = &mut member.gates[usize::from(group.0)];
                gate.eligible = flag.is;
                member.tell_eligible(group);
                self.tell(id, ShellEvent::Changed { cluster: 0, group });
            }
            Fault::Healthy(flag) => {
                let (member, group) = (self.member(id), group(&flag.group));
                member.gates[usize::from(group.0)].healthy = flag.is;
                member.tell_healthy(group);
            }
            Fault::Claim(_) => {
                let group = GroupId(0);
                self.tell(id, ShellEvent::ForeignClaim { cluster: 0, group });
            }
            Fault::Secrets { are, .. } => {
                let member = self.member(id);
                member.secrets.clone_from(are);
                let keys = member.keys();
                let cluster = 0;
                self.tell(id, ShellEvent::Keys { cluster, keys });
            }
            Fault::Command { say, group: of, .. } => {
                let of = of.is_some().then(|| group(of));
                self.operator(now, id, *say, of);
            }
            Fault::Cut(_)
            | Fault::CutDatagrams(_)
            | Fault::CutFrames(_)
            | Fault::CutProbes(_)
            | Fault::Keep(_)
            | Fault::Heal(_)
            | Fault::Conditions { .. }
            | Fault::Replay { .. }
            | Fault::Note(_) => {}
        }
    }

    /// Changes directions of links.
    fn links(&mut self, on: &Links, change: impl Fn(&mut Link)) {
        let links = self
            .plan
            .links(on)
            .expect("a plan names links that there are");
        for (path, from, to) in links {
            change(self.link(path, from, to));
        }
    }

    /// Something for a process, if there is one.
    fn tell(&mut self, id: MemberId, event: ShellEvent) {
        let member = self.member(id);
        if member.process != Liveness::Down {
            member.inbox.push_back(event);
        }
    }

    fn start(&mut self, now: u64, id: MemberId) {
        self.restless = true;
        let shows = boot_time(&mut self.rng);
        let ppm = self.plan.members[at(id)].ppm;
        let member = self.member(id);
        member.fuse = None;
        if member.machine == Machine::Off {
            member.machine = Machine::On;
            member.clock = Clock::new(now, shows, ppm);
            member.leases = Leases::default();
        }
        if let (Some(again), false) = (&mut member.stopping, member.process == Liveness::Down) {
            *again = true;
        } else if member.process == Liveness::Down && member.machine == Machine::On {
            member.process = Liveness::Up; // `begin` does the rest when it is first run
        }
    }

    fn interrupt(&mut self, now: u64, id: MemberId, process: &fault::Target, how: Liveness) {
        match process {
            fault::Target::Of(_) => self.stop_running(now, id, how),
            fault::Target::Within { after_effects, .. } => {
                self.member(id).fuse = Some((*after_effects, how));
            }
        }
    }

    fn set_machine(&mut self, now: u64, id: MemberId, machine: Machine) {
        self.member(id).machine = machine;
        for group in (0u8..).take(self.plan.groups()).map(GroupId) {
            self.tell_effective(now, id, group, By::Machine);
        }
    }

    fn resume(&mut self, now: u64, id: MemberId) {
        let member = self.member(id);
        member.fuse = None;
        if member.process == Liveness::Paused {
            member.process = Liveness::Up;
        }
        if member.machine == Machine::Suspended {
            member.clock.freeze(now, false);
            self.settle(now, id);
            self.set_machine(now, id, Machine::On);
        }
    }

    fn power_off(&mut self, now: u64, id: MemberId) {
        self.restless = true;
        let member = self.member(id);
        let ran = member.process != Liveness::Down;
        member.process = Liveness::Down;
        member.forget_process();
        member.late.clear();
        self.forget_neighbours(id);
        if ran {
            self.record(now, Some(id), What::Died);
        }
        self.set_machine(now, id, Machine::Off);
        for gate in &mut self.member(id).gates {
            gate.deadline = None;
        }
    }

    fn operator(&mut self, now: u64, id: MemberId, order: Order, group: Option<GroupId>) {
        if self.member(id).process == Liveness::Down {
            self.record(now, Some(id), What::NoAnswer(order));
            return;
        }
        let (reply, answer) = oneshot::channel();
        let request = Request::Command {
            command: order,
            cluster: None,
            group: group.map(|g| self.plan.group_name(g).to_owned()),
            said: Said::default(),
        };
        self.tell(id, ShellEvent::Request(PendingRequest { request, reply }));
        self.answers.push(Waiting {
            member: id,
            order,
            group,
            answer,
        });
    }

    /// Before a step: what was sent in the one before arrives, and every process that has something
    /// to do is woken. Returns whether there is one.
    pub(super) fn before_step(&mut self, now: u64) -> bool {
        self.tick = now..now + self.plan.tick.as_nanos();
        self.answer_probes(now);
        self.awake |= std::mem::take(&mut self.flying);
        for id in self.plan.ids() {
            let wake = &mut self.members[at(id)].wake;
            if wake.take_if(|at| *at < self.tick.end).is_some() {
                self.stir(id);
            }
        }
        std::mem::take(&mut self.awake)
    }

    /// Something that a waiting process must know has changed.
    pub(super) fn stir(&mut self, id: MemberId) {
        self.awake = true;
        self.member(id).stir.notify_one();
    }

    /// After a step: what has been answered, and what every kernel has done by itself.
    pub(super) fn after_step(&mut self, now: u64) {
        for id in self.plan.ids() {
            self.settle(now, id);
        }
        for mut waiting in std::mem::take(&mut self.answers) {
            let (id, order) = (waiting.member, waiting.order);
            match waiting.answer.try_recv() {
                Ok(reply) => {
                    self.record(now, Some(id), What::Answered(order, waiting.group, reply));
                }
                Err(oneshot::error::TryRecvError::Empty) => self.answers.push(waiting),
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.record(now, Some(id), What::NoAnswer(order));
                }
            }
        }
    }
}

impl Member {
    fn keys(&self) -> Keys {
        let mut keys = self.secrets.iter().map(|s| Key::new(s.as_bytes()));
        let seal = keys.next().unwrap_or_else(|| Key::new(b""));
        Keys::new(seal, keys.collect())
    }

    /// What dies with a process.
    fn forget_process(&mut self) {
        self.inbox.clear();
        self.socket.clear();
        self.deferred.clear();
        self.answers.clear();
        self.again = None;
        self.restarts = None;
        self.stopping = None;
        self.fuse = None;
        for gate in &mut self.gates {
            gate.releasing = None; // no process is left to try
            gate.preparing = None;
        }
    }

    fn tell_eligible(&mut self, group: GroupId) {
        let gate = &self.gates[usize::from(group.0)];
        // As in the daemon: a member without an address of its own may itself be cut off.
        let eligible = match (self.addressed, gate.eligible) {
            (false, _) => Err("its own address is gone (simulated)".to_owned()),
            (true, false) => Err("the interface is down (simulated)".to_owned()),
            (true, true) => Ok(()),
        };
        if self.process != Liveness::Down {
            self.inbox.push_back(ShellEvent::Eligible {
                cluster: 0,
                group,
                eligible,
            });
        }
    }

    fn tell_healthy(&mut self, group: GroupId) {
        let healthy = match self.gates[usize::from(group.0)].healthy {
            true => Ok(()),
            false => Err("it is not well (simulated)".to_owned()),
        };
        if self.process != Liveness::Down {
            self.inbox.push_back(ShellEvent::Health {
                cluster: 0,
                group,
                healthy,
            });
        }
    }
}

/// For how long a machine has been up when its process is first started: up to an hour.
fn boot_time(rng: &mut Rng) -> u64 {
    5_000_000_000 + rng.below(3_600_000_000_000)
}

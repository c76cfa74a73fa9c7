//! The driver: one task that owns the nodes, feeds them and carries out their effects, in order.
//!
//! It never decides who holds: that is the core's. It keeps what the core leaves to the daemon: R-2
//! and R-13's order of events, R-21's end, the record of R-9, and in its parts R-8's cool-downs and R-19's
//! waiting. Everything that touches the world is behind a [`Shell`], so that a simulator can run
//! this very loop. It awaits nothing but [`Shell::wait`].

mod carried;
pub mod changing;
mod clusters;
pub mod cooldowns;
mod datagrams;
mod frames;
mod history;
mod keys;
pub mod leases;
mod notes;
pub mod openings;
mod orders;
mod probes;
pub mod releases;
mod report;
mod shell;
mod stopping;

pub use carried::Carried;
pub(crate) use carried::CarriedNode;
pub use shell::{Begun, Joined, Shell, ShellEvent};

use crate::config_file::each_once;
use crate::control::session::GroupShown;
use crate::control::{PendingRequest, Reply, Request};
use crate::metrics::{Metrics, Peak};
use crate::status::{FileOnDisk, Waiting};
use crate::telemetry;
use crate::trace::{Recorder, Turn};
use carried::Upgrade;
use changing::Changing;
use clusters::Clusters;
use cooldowns::{Cooldowns, Notice};
use datagrams::{Look, Strangers};
use history::Seen;
use notes::Notes;
use onehold_core::advert::{GroupId, Statement};
use onehold_core::auth::Keys;
use onehold_core::config::Config;
use onehold_core::effect::{Effect, Event};
use onehold_core::input::{Command, Input, Refusal, StandingOrders};
use onehold_core::keyring::Keyring;
use onehold_core::observe::{GroupSnapshot, RoleName};
use onehold_core::reject::Reject;
use onehold_core::time::LocalTime;
use onehold_core::{Node, advert::Incarnation, time::Span};
use openings::{BeforeHold, Due, Openings};
use probes::Probes;
use releases::Releases;

/// One cluster that this process serves.
#[derive(Debug)]
pub struct Served {
    /// The configuration in force, and what it is changed to or from.
    pub config: Config,
    /// The keys in force.
    pub keys: Keys,
    /// What is known of the other members' keys.
    keyring: Keyring,
    /// What is counted.
    pub metrics: Metrics,
    /// what each group waits for before its gate opens, if it waits.
    pub before_hold: Vec<Option<BeforeHold>>,
    /// what is to come into force.
    changing: Option<Box<Changing>>,
    node: Node,
    notes: Notes,
    seen: Seen,
    /// the standing orders that the shell was last given.
    ordered: Vec<StandingOrders>,
    /// The operator said something else with one of them since.
    said_anew: bool,
    /// Whether its file differs from what runs, and since when.
    on_disk: (LocalTime, FileOnDisk),
    /// When its node is due; nothing if it had a turn since that was asked.
    due: Option<LocalTime>,
    /// When [`Clusters`] looks at it next; nothing while it is active.
    look_at: Option<LocalTime>,
    /// Something happens to it in this turn.
    active: bool,
    /// It stops, and is not served any more then.
    leaves: bool,
    /// its node doubted by whose votes it may hold, when it was last looked at.
    doubted: bool,
    /// When people were last told that it overslept.
    overslept: Option<LocalTime>,
}

impl Served {
    /// Starts the node. `earlier` is the longest lease of earlier incarnations on this host.
    #[must_use]
    pub fn start(
        config: Config,
        keys: Keys,
        mut metrics: Metrics,
        incarnation: Incarnation,
        now: LocalTime,
        earlier: Span,
    ) -> Self {
        let node = Node::start(&config, incarnation, now, earlier);
        metrics.started = now;
        Self {
            ordered: node.standing_orders().collect(),
            said_anew: false,
            on_disk: (now, FileOnDisk::Same),
            due: None,
            look_at: None,
            active: false,
            leaves: false,
            doubted: false,
            overslept: None,
            changing: None,
            config,
            keys,
            keyring: Keyring::default(),
            metrics,
            before_hold: Vec::new(),
            notes: Notes::new(now, incarnation),
            seen: Seen::default(),
            node,
        }
    }

    /// it doubts by whose votes it may hold. Before its first turn.
    pub fn doubt(&mut self) {
        self.node.doubt();
        self.doubted = true;
    }

    /// When its node is next due; in the past before its first turn.
    fn due(&mut self) -> LocalTime {
        *self.due.get_or_insert_with(|| {
            let due = self.node.poll_timeout(&self.config);
            due.unwrap_or(LocalTime::from_nanos(0))
        })
    }
}

/// What the agent is shown.
impl Served {
    /// The state of each group, if this member is a candidate.
    fn shown(&self, now: LocalTime) -> Vec<GroupShown> {
        let config = &self.config;
        let me = config.me();
        if !config.is_candidate(me) {
            return Vec::new();
        }
        let name = |id| config.member_name(id).into_owned();
        let other = config.peers().find(|id| config.is_candidate(*id)).map(name);
        let snapshot = self.node.observe(config, now);
        let group = |g: &GroupSnapshot| {
            let seen = self.metrics.groups.get(usize::from(g.group.0));
            let why = seen.and_then(|m| m.last_change).map(|change| change.why);
            let addresses = config.group(g.group).into_iter().flat_map(|c| &c.addresses);
            GroupShown {
                cluster: self.metrics.cluster.clone(),
                member: name(me),
                group: config.group_name(g.group).into_owned(),
                addresses: addresses.map(|p| p.address.to_string()).collect(),
                interface: seen.and_then(|m| each_once(&m.interfaces)),
                role: g.role.text().to_owned(),
                open: g.open,
                preparing: g.role == RoleName::Holder && !g.open,
                why: why.map_or_else(String::new, |why| why.text().to_owned()),
                rule: why.map_or_else(String::new, |why| why.rule().to_owned()),
                peer: other.clone(),
                lease_left_ms: g.lease_left.map(|left| left.as_nanos() / 1_000_000),
                epoch: seen.map_or(0, |m| m.epoch),
            }
        };
        snapshot.groups.iter().map(group).collect()
    }
}

/// The driver of all nodes of a process.
#[derive(Debug)]
pub struct Driver<S> {
    served: Clusters,
    awaited: Vec<Waiting>,
    shell: S,
    bytes: Vec<u8>,
    sealed: Vec<u8>,
    effects: Vec<Effect>,
    says: Vec<Statement>,
    cooldowns: Cooldowns,
    openings: Openings,
    releases: Releases,
    probes: Probes,
    strangers: Strangers,
    look: Look,
    recorder: Option<Box<dyn Recorder>>,
    /// Another program of this process is to go on, as soon as all is quiet.
    upgrade: Option<Upgrade>,
    /// When the present turn was due at the latest, and how late turns were, for people.
    due: LocalTime,
    late: Peak,
    stopping: bool,
    /// this machine's clock went back.
    over: bool,
}

impl<S: Shell> Driver<S> {
    /// A driver of nodes that have just started.
    pub fn new(served: Vec<Served>, shell: S) -> Self {
        Self {
            served: Clusters::new(served),
            awaited: Vec::new(),
            shell,
            bytes: Vec::new(),
            sealed: Vec::new(),
            effects: Vec::new(),
            says: Vec::new(),
            cooldowns: Cooldowns::default(),
            openings: Openings::default(),
            releases: Releases::default(),
            probes: Probes::default(),
            strangers: Strangers::default(),
            look: Look::default(),
            recorder: None,
            upgrade: None,
            due: LocalTime::from_nanos(u64::MAX),
            late: Peak::default(),
            stopping: false,
            over: false,
        }
    }

    /// Records every turn of a node from here on.
    pub fn record(&mut self, recorder: Box<dyn Recorder>) {
        self.recorder = Some(recorder);
    }

    /// Runs until it has been asked to stop and everything is released, or it [is over](Self::is_over),
    /// or another program is to go on.
    pub async fn run(&mut self) {
        loop {
            self.turn();
            if self.done() || self.is_to_go_on_elsewhere() {
                return; // nothing need happen any more: a wait might not end
            }
            self.due = self.due();
            self.shell.wait(self.due).await;
        }
    }

    /// It has been asked to stop, and everything is released; or it is over.
    #[must_use]
    pub fn done(&self) -> bool {
        self.over || self.stopping && self.served.iter().all(|(_, s)| s.node.stopped())
    }

    /// this machine's clock went back. Every gate is shut, and the process must end and be
    /// started again.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Returns the shell.
    pub fn into_shell(self) -> S {
        self.shell
    }

    /// When a node is next due; in the past if one is due now.
    fn due(&mut self) -> LocalTime {
        (self.served.due().into_iter())
            .chain(self.cooldowns.due())
            .chain(self.openings.due())
            .chain(self.releases.due())
            .chain(self.probes.due())
            .chain(self.upgrade.as_ref().map(Upgrade::due))
            .min()
            .unwrap_or(LocalTime::from_nanos(u64::MAX)) // only the shell knows of something
    }

    /// One turn: all that happened, then the passing of time. The time that passes is read before
    /// the last look for datagrams, so no silence is judged that a waiting datagram would end
    /// . That of a datagram is read after the datagram was taken in, so what it echoes was
    /// sent before.
    fn turn(&mut self) {
        let mut now = self.shell.now();
        self.began(now);
        let mut bytes = std::mem::take(&mut self.bytes);
        let began = now;
        for nth in 0.. {
            if self.is_long(nth, began, now) {
                break;
            }
            let Some(event) = self.shell.next(&mut bytes) else {
                break;
            };
            now = self.shell.now();
            self.event(now, event, &bytes);
            if self.over {
                return;
            }
        }
        self.bytes = bytes;
        while let Some((cluster, group)) = self.releases.take_due(now) {
            self.shell.release(cluster, group);
        }
        while let Some((cluster, notice)) = self.cooldowns.take_due(now) {
            self.inform(cluster, now, Some(notice));
        }
        while let Some((cluster, group, due)) = self.openings.take_due(now) {
            match due {
                Due::Renew => self.shell.prepare(cluster, group),
                Due::Late(why) => self.prepared(now, cluster, group, Err(why)),
            }
        }
        self.forgive_where_nobody_holds(now);
        let active = self.served.take_active(now);
        for cluster in &active {
            self.end_turn(*cluster, now);
        }
        self.look_at_probes(now);
        self.look_at_strangers(now);
        for cluster in active {
            self.send_notes(cluster, now);
            self.served.settled(cluster);
            self.has_left(cluster);
        }
        if self.shell.watches() {
            let served = self.served.iter();
            let groups = served.flat_map(|(_, s)| s.shown(now)).collect();
            self.shell.show(now, groups);
        }
    }

    /// What a turn ends with for a cluster to which something happened, or whose node is due.
    fn end_turn(&mut self, cluster: usize, now: LocalTime) {
        self.end_orders(cluster, now);
        if self.served.settle(cluster).is_some_and(|due| due <= now) {
            let _ = self.handle(cluster, now, Input::Wake);
            self.served.settle(cluster);
        }
        self.take_steps(cluster, now);
        self.report_trust(cluster);
        self.report_orders(cluster);
        self.report_doubles(cluster, now);
    }

    /// Reports members that run on two machines.
    fn report_doubles(&mut self, cluster: usize, now: LocalTime) {
        if let Some(s) = self.served.get_mut(cluster)
            && !s.metrics.doubles.is_empty()
        {
            let words = s.metrics.doubles_in_words(&s.config, now);
            if !words.is_empty() || s.metrics.alarms.contains_key("doubles") {
                self.alarms(cluster, "doubles", words);
            }
        }
    }

    fn join(&mut self, now: LocalTime, joined: Joined) {
        let cluster = self.served.add(joined.served);
        self.recorder = joined.recorder.or(self.recorder.take());
        match joined.begun {
            Begun::Anew => self.has_started(cluster),
            Begun::Upgraded(before) => self.was_upgraded(cluster, &before),
            Begun::Again => {}
        }
        self.probes.look(now);
        for (group, order, said) in joined.orders {
            self.order_again(cluster, now, group, (order, said));
        }
        if let Some(s) = self.served.get_mut(cluster) {
            s.ordered = s.node.standing_orders().collect(); // it was the shell that gave them
        }
        if self.stopping {
            self.stop_cluster(now, cluster); // it was told before this one was there
        }
    }

    fn event(&mut self, now: LocalTime, event: ShellEvent, bytes: &[u8]) {
        match event {
            ShellEvent::Datagram { local, remote } => self.datagram(now, local, remote, bytes),
            ShellEvent::Frame { at, from } => self.frame(now, at, from, bytes),
            ShellEvent::Eligible {
                cluster,
                group,
                eligible,
            } => {
                let notice = self.cooldowns.reported(cluster, group, eligible);
                self.inform(cluster, now, notice);
            }
            ShellEvent::Health {
                cluster,
                group,
                healthy,
            } => {
                let notice = self.openings.reported(cluster, group, healthy);
                self.inform(cluster, now, Some(notice));
            }
            ShellEvent::HoldFailed {
                cluster,
                group,
                why,
            } => self.hold_failed(now, cluster, group, why),
            ShellEvent::Prepared {
                cluster,
                group,
                done,
            } => self.prepared(now, cluster, group, done),
            ShellEvent::Changed { cluster, group } => {
                let notice = self.cooldowns.changed(cluster, group);
                self.inform(cluster, now, notice);
            }
            ShellEvent::ForeignClaim { cluster, group } => {
                let _ = self.handle(cluster, now, Input::ForeignClaim { group });
            }
            ShellEvent::ProbeAnswered {
                cluster,
                group,
                probed_at,
            } => {
                let _ = self.handle(cluster, now, Input::ProbeAnswered { group, probed_at });
                self.probes.look(now);
            }
            ShellEvent::Released {
                cluster,
                group,
                answer,
            } => self.released(now, cluster, group, answer),
            ShellEvent::Alarms {
                cluster,
                from,
                alarms,
            } => self.alarms(cluster, from, alarms),
            ShellEvent::Checks {
                cluster,
                group,
                checks,
                hooks,
            } => {
                if let Some(s) = self.served.get_mut(cluster) {
                    s.metrics.reported(group, checks, hooks, now);
                }
            }
            ShellEvent::Guard { cluster, guard } => {
                if let Some(s) = self.served.get_mut(cluster) {
                    s.metrics.guard = guard;
                }
            }
            ShellEvent::Request(PendingRequest { request, reply }) => {
                let answer = match request {
                    Request::Reload { now } => return self.shell.reload(reply, now),
                    Request::Agent { .. } | Request::Upgrade {} => Reply::Refused {
                        why: "that is asked on the control socket".to_owned(),
                    },
                    Request::Status { cluster, from } => self.report(now, cluster.as_deref(), from),
                    Request::History { cluster } => self.told(cluster.as_deref()),
                    Request::Command {
                        command,
                        cluster,
                        group,
                        said,
                    } => self.order(now, command, cluster.as_deref(), group.as_deref(), said),
                };
                let _ = reply.send(answer); // the client may have gone
            }
            ShellEvent::Keys { cluster, keys } => {
                if let Some(s) = self.served.get_mut(cluster) {
                    s.keys = keys;
                }
            }
            ShellEvent::Changes { cluster, to, spec } => self.changes(cluster, to, *spec),
            ShellEvent::Joined(joined) => self.join(now, *joined),
            ShellEvent::Leaves { cluster } => self.leave(now, cluster),
            ShellEvent::Waiting(waiting) => self.awaited = waiting,
            ShellEvent::OnDisk { cluster, standing } => {
                if let Some(s) = self.served.get_mut(cluster) {
                    s.on_disk = (now, standing);
                }
            }
            ShellEvent::Upgrade(ask) => self.asked_to_go_on(now, ask),
            ShellEvent::Stop => self.stop(now),
        }
    }

    fn alarms(&mut self, cluster: usize, from: &'static str, alarms: Vec<String>) {
        if let Some(s) = self.served.get_mut(cluster) {
            let changed = s.metrics.alarms(from, alarms);
            telemetry::report_alarms(&s.metrics.cluster, changed);
        }
    }

    /// Gives a node its input, and keeps the reason for people.
    fn inform(&mut self, cluster: usize, now: LocalTime, notice: Option<Notice>) {
        let Some((input, why)) = notice else { return };
        if let Some(s) = self.served.get_mut(cluster) {
            s.metrics.input(&input, why);
        }
        let _ = self.handle(cluster, now, input);
    }

    /// the kernel refused a hold: the group is not eligible until its cool-down is over.
    fn hold_failed(&mut self, now: LocalTime, cluster: usize, group: GroupId, why: String) {
        let again = self.cooldowns.refused(now, cluster, group);
        tracing::error!("can't hold, trying again in {}: {why}", again.since(now));
        self.did_not_hold(cluster, group, &why);
        self.inform(cluster, now, Some((Input::HoldFailed { group }, Some(why))));
    }

    /// `before_hold` has ended, or takes too long.
    fn prepared(
        &mut self,
        now: LocalTime,
        cluster: usize,
        group: GroupId,
        done: Result<(), String>,
    ) {
        let Some(opens) = self.openings.opens(cluster, group, done.is_ok()) else {
            return; // this group waits for nothing
        };
        self.openings.end(cluster, group);
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        s.metrics.waited(group, done.clone().err());
        let name = s.config.group_name(group);
        let why = done.err().map(|why| format!("before_hold: {why}"));
        match &why {
            Some(why) if opens => tracing::warn!("{name}: {why}; the gate opens all the same"),
            Some(why) => {
                let again = self.cooldowns.refused(now, cluster, group);
                tracing::error!("{name}: {why}; trying again in {}", again.since(now));
            }
            None => {}
        }
        if let Some(why) = &why {
            self.was_not_prepared(cluster, group, opens, why);
        }
        let input = Input::Prepared { group, done: opens };
        self.inform(cluster, now, Some((input, why.clone())));
        let health = match why {
            Some(why) if !opens => Some(self.openings.failed(cluster, group, why)),
            Some(_) | None => self.openings.forgive(cluster, group),
        };
        self.inform(cluster, now, health);
    }

    /// where no holder is heard, a member whose `before_hold` failed is as good as any, after
    /// its cool-down.
    fn forgive_where_nobody_holds(&mut self, now: LocalTime) {
        for (cluster, group) in self.openings.unprepared() {
            let Some(s) = self.served.get(cluster) else {
                continue;
            };
            let snapshot = s.node.observe(&s.config, now);
            let seen = snapshot.groups.get(usize::from(group.0));
            if seen.is_some_and(|g| g.holder.is_none()) && !self.cooldowns.cools(cluster, group) {
                let health = self.openings.forgive(cluster, group);
                self.inform(cluster, now, health);
            }
        }
    }

    /// the kernel confirmed a release, or will be asked again.
    fn released(
        &mut self,
        now: LocalTime,
        cluster: usize,
        group: GroupId,
        answer: Result<(), String>,
    ) {
        if let Err(why) = &answer {
            tracing::error!("can't release, trying again: {why}");
        }
        let confirmed = self.releases.answered(now, cluster, group, answer);
        self.alarms(cluster, "release", self.releases.alarms(cluster));
        if let Some(input) = confirmed {
            let _ = self.handle(cluster, now, input);
        }
    }

    /// Feeds a node and carries out its effects. Returns why a datagram was not accepted.
    fn handle(&mut self, cluster: usize, now: LocalTime, input: Input) -> Result<(), Reject> {
        let recorded = self.recorder.is_some().then(|| input.clone());
        self.turn_of(cluster, now, recorded, |s, out| {
            let result = s.node.handle(&s.config, now, input, out);
            (result, result)
        })
        .unwrap_or(Ok(()))
    }

    /// Gives a command to a node; returns why it was refused.
    fn command(
        &mut self,
        cluster: usize,
        now: LocalTime,
        group: GroupId,
        command: Command,
    ) -> Result<(), Refusal> {
        if command == Command::Resume {
            let health = self.openings.forgive(cluster, group);
            if let Some(s) = self.served.get_mut(cluster) {
                s.metrics.waited(group, None);
            }
            self.inform(cluster, now, health);
        }
        let recorded = Some(Input::Operator { group, command });
        self.turn_of(cluster, now, recorded, |s, out| {
            let result = s.node.command(&s.config, now, group, command, out);
            (result, Ok(()))
        })
        .unwrap_or(Ok(()))
    }

    /// One turn of a node, recorded with `input`; then its effects. `None` if there is no such
    /// node.
    fn turn_of<R>(
        &mut self,
        cluster: usize,
        now: LocalTime,
        input: Option<Input>,
        turn: impl FnOnce(&mut Served, &mut Vec<Effect>) -> (R, Result<(), Reject>),
    ) -> Option<R> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        let returned = self.served.get_mut(cluster).map(|s| {
            let (returned, result) = turn(s, &mut effects);
            if let (Some(recorder), Some(input)) = (&mut self.recorder, &input) {
                recorder.turn(&Turn {
                    cluster,
                    now,
                    input,
                    result,
                    effects: &effects,
                    node: &s.node,
                });
            }
            returned
        });
        self.served.touch(cluster);
        for effect in &effects {
            self.apply(cluster, now, effect);
        }
        self.effects = effects;
        returned
    }

    fn apply(&mut self, cluster: usize, now: LocalTime, effect: &Effect) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        match effect {
            Effect::EndIncarnation => self.end(),
            Effect::Release { group, release } => {
                s.metrics.margins.released(*group);
                self.openings.end(cluster, *group);
                self.releases.begin(cluster, *group, *release);
                self.shell.release(cluster, *group);
            }
            Effect::Send { to, advert } => self.send(cluster, now, *to, advert),
            Effect::HoldUntil { group, deadline } => {
                let timing = s.config.timing();
                s.metrics.margins.held(*group, *deadline, timing, now);
                let over = timing.surely_over(*deadline);
                self.releases.held(cluster, *group, over);
                self.shell.hold_until(cluster, *group, *deadline);
            }
            Effect::Prepare { group } => {
                let policy = s.before_hold.get(usize::from(group.0)).copied().flatten();
                let policy = policy.unwrap_or_default();
                s.metrics.waits(*group, policy, now);
                self.openings.begin(now, cluster, *group, policy);
                self.shell.prepare(cluster, *group);
            }
            Effect::Announce { group } => {
                s.metrics.announced(*group);
                self.shell.announce(cluster, *group);
            }
            Effect::Probe { group, probed_at } => {
                self.shell.probe(cluster, *group, *probed_at);
            }
            Effect::Report(event) => {
                let longest = s.config.timing().longest_lease();
                self.tell(cluster, now, event);
                if let Event::Ready = event {
                    self.shell.record_lease(cluster, longest); // those of earlier incarnations are over
                }
                self.shell.reported(cluster, event);
            }
        }
    }
}

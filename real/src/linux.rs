//! The driver's world on Linux: clock, sockets, kernel, signals, control socket.

mod agent;
mod arrival;
mod beside;
mod carried;
mod changing;
mod company;
mod on_disk;
mod persisted;
mod rare;
mod rates;
mod reload;
mod rounds;
mod speech;

pub use agent::Agent;
pub use arrival::{Arrivals, Looked, NotYet};
pub use beside::Beside;
pub use carried::Carried;
pub use persisted::Persisted;

use crate::announce::Mac;
use crate::clock::{Clock, Steered, boottime};
use crate::config_file::{Loaded, LocalCluster, Path};
use crate::control::session::GroupShown;
use crate::control::{PendingRequest, Reply};
use crate::driver::changing::Stepped;
use crate::driver::{Shell, ShellEvent};
use crate::frames::{Frames, PortState};
use crate::history::{Entry, Keeper};
use crate::kernel::{Kernel, KernelEvent, Probing};
use crate::netlink::KernelError;
use crate::notify::{Notify, watchdog_interval};
use crate::orders::Standings;
use crate::prometheus::serve::Exporter;
use crate::socket::{Refusals, Sockets};
use crate::telemetry::{self, Log};
use crate::upgrade::Ask;
use crate::wall;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::Config;
use onehold_core::effect::Event;
use onehold_core::keyring::Keyring;
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};
use rare::Bell;
use rates::Rates;
use reload::Leaving;
use rounds::Rounds;
use speech::Speech;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// At most this many of the kernel's events reach one turn; more wait for the next.
const MAX_EVENTS: usize = 64;

/// So many datagrams in a row go before what else happened; a flood of them must not keep it waiting.
const MOST_DATAGRAMS: usize = 256;
/// For so many events, room is kept.
const MOST_KEPT: usize = 256;
/// Of more clusters, the service manager's line says only how many there are.
const MOST_IN_A_LINE: usize = 16;
/// A foreign claim is logged this often at most.
const CLAIM_LOG: Span = Span::from_millis(10_000);

/// The world of a daemon. A candidate serves one cluster, whose number is 0; a witness has no kernel
/// side. What is kept by cluster is in the order of their numbers.
#[derive(Debug)]
pub struct Linux {
    /// Clock and timer.
    pub clock: Clock,
    /// The paths to all members.
    pub sockets: Sockets,
    /// Adverts as Ethernet frames, if the candidate's cluster has them.
    pub frames: Option<Frames>,
    /// The candidate's groups; a witness has none.
    pub kernel: Option<Kernel>,
    /// What is in force, to compare a reload with.
    pub loaded: Loaded,
    /// What should be served and is not yet, and the daemon's options.
    pub arrivals: Arrivals,
    /// What else belongs to each of the clusters of `loaded`, in their order.
    pub beside: Vec<Beside>,
    /// By cluster: what happened, for people.
    pub histories: Keeper,
    /// The log, to change its level.
    pub log: Log,
    /// The agent, if one is there.
    pub agent: Agent,
    /// What serves the metrics.
    pub exporter: Exporter,
    /// systemd.
    pub notify: Notify,
    /// The control socket's requests.
    pub requests: mpsc::Receiver<PendingRequest>,
    /// And what another program is to do.
    pub upgrades: mpsc::Receiver<Ask>,
    /// `SIGTERM`, `SIGINT`, `SIGHUP`.
    pub signals: [Signal; 3],
    /// What waits for the driver.
    pub pending: Pending,
}

/// What the shell itself has to remember.
#[derive(Debug, Default)]
pub struct Pending {
    events: VecDeque<ShellEvent>,
    /// Says when something rare may have happened.
    bell: Bell,
    /// How many datagrams were returned since the last event, or since none waited.
    datagrams: usize,
    /// By group: whether the kernel could serve it, as it reported last.
    fit: BTreeMap<u8, Result<(), String>>,
    /// By group: whether the kernel could serve all of it.
    whole: BTreeMap<u8, Result<(), String>>,
    /// How many clusters have joined; the next one gets this number.
    joined: usize,
    /// By what clusters assume of it: whether the clock keeps the rate that all members rely on.
    rates: Rates,
    /// Whether the host lets a candidate's adverts leave.
    speech: Speech,
    /// Whether another member runs on this host.
    company: Rounds,
    fed_watchdog: Option<LocalTime>,
    logged_claim: Option<LocalTime>,
    /// What is left of a reload.
    reloading: Leaving,
    /// Whether what later incarnations must know is there.
    lives: Rounds,
    /// What those that have left write last.
    leaving: JoinSet<()>,
    /// The clusters whose orders are being written, or will be.
    writing: BTreeSet<usize>,
    stopping: bool,
}

impl Shell for Linux {
    fn now(&mut self) -> LocalTime {
        self.clock.now()
    }

    async fn wait(&mut self, at: LocalTime) {
        self.sockets.flush();
        if self.pending.events.is_empty() {
            self.pending.events.shrink_to(MOST_KEPT); // thousands of clusters may have joined
        }
        let mut first = true;
        let wait = std::future::poll_fn(|cx| {
            let at_once = std::mem::take(&mut first);
            self.poll(at, cx).map(|()| at_once)
        });
        if wait.await {
            tokio::task::yield_now().await; // whoever asks is answered, however much there is to do
        }
        self.do_what_is_due();
    }

    fn newest_first(&self) -> Option<u64> {
        self.sockets.inbox.newest_first()
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let flooded = self.pending.datagrams >= MOST_DATAGRAMS;
        if flooded && let Some(event) = self.pending.events.pop_front() {
            self.pending.datagrams = 0;
            return Some(event);
        }
        // By turns: a flood of either is when the other counts.
        let came = match self.pending.datagrams % 2 {
            0 => (self.datagram(bytes)).or_else(|| self.frame(bytes)),
            _ => (self.frame(bytes)).or_else(|| self.datagram(bytes)),
        };
        let Some(event) = came else {
            self.pending.datagrams = 0;
            return self.pending.events.pop_front();
        };
        self.pending.datagrams += 1;
        Some(event)
    }

    fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        if let Some(frames) = &mut self.frames {
            frames.send(bytes, boottime());
        }
        self.sockets.send(cluster, to, bytes, self.clock.last())
    }

    fn send_note(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.sockets
            .send_note(cluster, to, bytes, self.clock.last())
    }

    fn release(&mut self, cluster: usize, group: GroupId) {
        if let Some(kernel) = &mut self.kernel {
            let answer = kernel.let_go(group).map_err(|e| e.to_string());
            self.pending.events.push_back(ShellEvent::Released {
                cluster,
                group,
                answer,
            });
        }
    }

    fn hold_until(&mut self, cluster: usize, group: GroupId, deadline: LocalTime) {
        let held = self.kernel.as_mut().map(|k| k.hold_until(group, deadline));
        self.held(cluster, group, held);
    }

    fn prepare(&mut self, cluster: usize, group: GroupId) {
        let put = self.kernel.as_mut().map(|k| k.prepare(group));
        self.held(cluster, group, put);
    }

    fn announce(&mut self, _cluster: usize, group: GroupId) {
        let now = self.clock.now();
        if let Some(kernel) = &mut self.kernel {
            kernel.announce(group, now);
        }
    }

    fn probe(&mut self, _cluster: usize, group: GroupId, probed_at: LocalTime) {
        if let Some(kernel) = &mut self.kernel {
            kernel.probe(group, probed_at);
        }
    }

    fn probing(&self, _cluster: usize, group: GroupId) -> Option<Probing> {
        self.kernel.as_ref().and_then(|k| k.probing(group))
    }

    fn is_quiet(&self) -> Result<(), String> {
        self.nothing_is_under_way()
    }

    fn carried(&self) -> Option<Carried> {
        Some(self.all_carried())
    }

    fn watches(&self) -> bool {
        self.agent.watches()
    }

    fn show(&mut self, now: LocalTime, groups: Vec<GroupShown>) {
        self.agent.show(now, groups);
    }

    fn heard(
        &mut self,
        cluster: usize,
        from: MemberId,
        (local, remote): (SocketAddr, SocketAddr),
        echoed: bool,
    ) {
        self.sockets.heard(cluster, from, remote, self.clock.last());
        if let Some(kernel) = &mut self.kernel {
            kernel.neighbours.heard(local, remote, echoed);
        }
        if let Some(frames) = &mut self.frames {
            frames.heard_datagram(boottime());
        }
    }

    fn heard_frame(&mut self, at: usize, from: Mac, echo: Option<LocalTime>) {
        if let Some(frames) = &mut self.frames {
            frames.heard(at, from, echo, boottime());
            if let (Some(kernel), Some(interface)) = (&mut self.kernel, frames.interface(at)) {
                kernel.peer_is_at(interface, from);
            }
        }
    }

    fn frames(&self, at: usize) -> PortState {
        let frames = self.frames.as_ref();
        frames.map_or_else(PortState::default, |frames| frames.state(at))
    }

    fn steered(&self, cluster: usize) -> Option<Steered> {
        self.rate(cluster)?.steered()
    }

    fn refusals(&self, cluster: usize, path: Path) -> Refusals {
        self.sockets.refusals(cluster, path)
    }

    fn step(
        &mut self,
        cluster: usize,
        from: &Config,
        to: &Config,
    ) -> Result<Option<Stepped>, String> {
        self.take_step(cluster, from, to)
    }

    fn trusts(&mut self, cluster: usize, electorates: &[u64]) {
        self.trust_members(cluster, electorates);
    }

    fn record_lease(&mut self, cluster: usize, longest: Span) {
        self.keep_lease(cluster, longest);
    }

    fn reported(&mut self, cluster: usize, event: &Event) {
        if let Event::Role { group, to, .. } = *event {
            let at = self.position(cluster);
            let beside = at.and_then(|at| self.beside.get_mut(at));
            if let Some(role) = beside.and_then(|b| b.roles.get_mut(usize::from(group.0))) {
                *role = to;
            }
            self.report_condition();
        }
    }

    fn happened(&mut self, cluster: usize, entry: Entry) {
        let now = self.clock.now();
        self.histories.add(cluster, entry, now);
    }

    fn history(&self, cluster: usize) -> Option<(Vec<Entry>, Option<String>)> {
        self.histories.history(cluster)
    }

    fn ordered(&mut self, cluster: usize, orders: &[Standings]) {
        self.keep_orders(cluster, orders);
    }

    fn knows_keys(&mut self, cluster: usize, keyring: &Keyring) {
        let mut all = self.beside.iter_mut();
        if let Some(beside) = all.find(|b| b.number == cluster) {
            beside.keyring.clone_from(keyring);
        }
    }

    fn reload(&mut self, client: oneshot::Sender<Reply>, now: bool) {
        self.begin_reload(Some(client), now);
    }

    fn left(&mut self, cluster: usize) {
        self.leave(cluster);
        self.has_left(cluster);
    }

    fn wall(&mut self) -> u64 {
        wall::seconds()
    }
}

impl Linux {
    /// The next datagram that waits.
    fn datagram(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let (local, remote) = self.sockets.receive(bytes)?;
        Some(ShellEvent::Datagram { local, remote })
    }

    /// The next frame that waits.
    fn frame(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let (at, from) = self.frames.as_mut()?.receive(bytes)?;
        Some(ShellEvent::Frame { at, from })
    }

    /// What the kernel said to a hold.
    fn held(&mut self, cluster: usize, group: GroupId, said: Option<Result<(), KernelError>>) {
        if let Some(Err(e)) = said {
            self.pending.events.push_back(ShellEvent::HoldFailed {
                cluster,
                group,
                why: e.to_string(),
            });
        }
    }

    /// Reports to systemd that this runs: it serves, or waits for something.
    pub fn ready(&mut self) {
        self.notify.ready(&self.condition());
    }

    /// A node must know before its first turn whether it may hold.
    pub fn first_kernel_refresh(&mut self) {
        let events = self.kernel.as_mut().map(Kernel::first_refresh);
        for event in events.into_iter().flatten() {
            self.kernel_event(event);
        }
    }

    /// Reports the condition to systemd.
    fn report_condition(&self) {
        self.notify.status(&self.condition());
    }

    /// In one line: the roles, and what is awaited.
    fn condition(&self) -> String {
        let all = self.loaded.clusters.iter().zip(&self.beside);
        let all = all.map(|(local, beside)| {
            let roles = beside.roles.iter().copied();
            telemetry::roles(&local.config, (0u8..).map(GroupId).zip(roles))
        });
        let clusters = self.loaded.clusters.len();
        let many = (clusters > MOST_IN_A_LINE).then(|| format!("{clusters} clusters"));
        let all = all.filter(|_| many.is_none()).chain(many.clone());
        let refused = match self.reloads_refused() {
            0 => None,
            _ if clusters == 1 => Some("the last reload was refused".to_owned()),
            n => Some(format!("the last reload of {n} clusters was refused")),
        };
        all.chain(self.arrivals.awaited().iter().map(ToString::to_string))
            .chain(refused)
            .collect::<Vec<String>>()
            .join("; ")
    }

    /// What one part of the daemon complains about, or that it no longer complains.
    fn alarm(&mut self, cluster: usize, from: &'static str, what: Option<String>) {
        self.pending.events.push_back(ShellEvent::Alarms {
            cluster,
            from,
            alarms: what.into_iter().collect(),
        });
    }

    /// A cluster begins with these faults; of what is well nothing need be said.
    fn begin_with<const N: usize>(
        &mut self,
        cluster: usize,
        faults: [(&'static str, Option<String>); N],
    ) {
        for (from, fault) in faults.into_iter().filter(|(_, fault)| fault.is_some()) {
            self.alarm(cluster, from, fault);
        }
    }

    /// Ready when something happened, at `at`, or when something of the shell itself is due.
    fn poll(&mut self, at: LocalTime, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = self.sockets.poll(cx);
        if let Some(frames) = &self.frames
            && frames.poll(cx).is_ready()
        {
            any = Poll::Ready(());
        }
        if !self.pending.events.is_empty() || !self.pending.reloading.is_over() {
            any = Poll::Ready(()); // such as the kernel's confirmation of what the last turn let go
        }
        for _ in 0..MAX_EVENTS {
            let event = self.kernel.as_mut().map(|kernel| kernel.poll_event(cx));
            let Some(Poll::Ready(event)) = event else {
                break;
            };
            self.kernel_event(event);
            any = Poll::Ready(());
        }
        if self.poll_what_is_rare(cx).is_ready() {
            any = Poll::Ready(());
        }
        if self.pending.reloading.is_over()
            && let Poll::Ready(found) = self.arrivals.poll(cx)
        {
            self.looked(found);
            any = Poll::Ready(());
        }
        let is_heard = !self.loaded.clusters.is_empty(); // whose alarm it could be
        if let Some(fault) = self.exporter.take_fault(is_heard) {
            self.alarm(0, "metrics", fault);
            any = Poll::Ready(());
        }
        if self.poll_orders(cx).is_ready() | self.poll_disk(cx).is_ready() {
            any = Poll::Ready(());
        }
        self.histories.poll(self.clock.now(), cx);
        let own = [
            self.histories.due(),
            self.arrivals.due(),
            self.arrivals.on_disk.due(),
            self.orders_due(),
            self.agent.due(),
            self.pending.lives.due(),
            self.kernel.as_ref().and_then(Kernel::poll_timeout),
            self.feed_watchdog_at(),
        ];
        let at = own.into_iter().flatten().fold(at, LocalTime::min);
        if self.clock.poll_at(at, cx).is_ready() {
            any = Poll::Ready(());
        }
        any
    }

    fn do_what_is_due(&mut self) {
        let now = self.clock.now();
        if let Some(kernel) = &mut self.kernel
            && kernel.is_due(now)
        {
            kernel.wake(now);
        }
        if self.arrivals.due().is_some_and(|at| at <= now) {
            self.arrivals.look();
        }
        self.look_at_disk(now);
        self.look_at_lives(now);
        self.look_at_rates();
        self.follow_interfaces(now);
        self.look_at_speech(now);
        self.look_for_company(now);
        self.look_for_agent(now);
        if self.feed_watchdog_at().is_some_and(|at| at <= now) {
            self.pending.fed_watchdog = Some(now);
            self.notify.watchdog();
        }
    }

    /// The one cluster of a candidate.
    fn candidate(&self) -> Option<&LocalCluster> {
        let first = self.loaded.clusters.first();
        first.filter(|_| self.kernel.is_some())
    }

    /// The frames go by the interfaces as they are now.
    pub fn follow_interfaces(&mut self, now: LocalTime) {
        if let (Some(frames), Some(kernel)) = (&mut self.frames, &self.kernel)
            && frames.follows_at(now)
        {
            frames.follow(|name| kernel.link(name), now);
        }
    }

    /// Whether the host lets a candidate's adverts leave; for half a lease it may not, as for an
    /// own address that is gone.
    fn look_at_speech(&mut self, now: LocalTime) {
        let Some(local) = self.candidate() else {
            return;
        };
        let groups = local.config.groups().len();
        let grace = local.config.timing().lease().part(2);
        let before = self.pending.speech;
        let frames = self.frames.as_ref();
        let pass = |since| frames.is_some_and(|frames| frames.reach_the_peer(since, now));
        let kept_in = self.sockets.kept_in(0);
        self.pending.speech.look(kept_in, pass, now, grace);
        if self.pending.speech == before {
            return;
        }
        if let Some(frames) = &mut self.frames {
            frames.is_cut_off(self.pending.speech.fault().is_some(), now);
        }
        for group in (0u8..).take(groups).map(GroupId) {
            self.report_eligible(group);
            self.tell_health(group);
        }
    }

    fn feed_watchdog_at(&self) -> Option<LocalTime> {
        let interval = Span::from(watchdog_interval()?);
        let fed = self.pending.fed_watchdog;
        Some(fed.map_or(LocalTime::from_nanos(0), |at| at.plus(interval)))
    }

    /// Whether a group can be served from here: as far as the kernel goes, the clock, and whether
    /// this member can be heard.
    fn report_eligible(&mut self, group: GroupId) {
        let fit = self.pending.fit.get(&group.0).cloned();
        let why = fit.and_then(Result::err).or_else(|| self.rate_fault());
        let why = why.or_else(|| self.pending.speech.fault());
        self.pending.events.push_back(ShellEvent::Eligible {
            cluster: 0,
            group,
            eligible: why.map_or(Ok(()), Err),
        });
    }

    fn kernel_event(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::Eligible { group, eligible } => {
                let name = self.group_name(group);
                match &eligible {
                    Ok(()) => {
                        tracing::info!(event = "eligible", group = name, "{name}: can be held here")
                    }
                    Err(why) => {
                        tracing::warn!(
                            event = "eligible",
                            group = name,
                            "{name}: can't be held here: {why}"
                        );
                    }
                }
                self.pending.fit.insert(group.0, eligible);
                self.report_eligible(group);
            }
            KernelEvent::Changed { group } => {
                let changed = ShellEvent::Changed { cluster: 0, group };
                self.pending.events.push_back(changed);
            }
            KernelEvent::RoutePutBack { group, route } => {
                let name = self.group_name(group);
                tracing::warn!(
                    event = "route_put_back",
                    "{name}: the route {route} was gone; put back"
                );
            }
            KernelEvent::AddressPutBack { group, address } => {
                let name = self.group_name(group);
                tracing::warn!("{name}: somebody removed {address} while it is held; put back");
                // neighbours may have lost it.
                let claim = ShellEvent::ForeignClaim { cluster: 0, group };
                self.pending.events.push_back(claim);
            }
            KernelEvent::Whole { group, whole } => {
                let name = self.group_name(group);
                match &whole {
                    Ok(()) => {
                        tracing::info!(
                            event = "whole",
                            group = name,
                            "{name}: can be held whole here"
                        );
                    }
                    Err(why) => {
                        tracing::warn!(
                            event = "whole",
                            group = name,
                            "{name}: can't be held whole here: {why}"
                        );
                    }
                }
                self.pending.whole.insert(group.0, whole);
                self.tell_health(group);
            }
            KernelEvent::Alarms(alarms) => self.pending.events.push_back(ShellEvent::Alarms {
                cluster: 0,
                from: "kernel",
                alarms,
            }),
            KernelEvent::GuardIs(guard) => {
                telemetry::report_guard(&guard);
                self.pending
                    .events
                    .push_back(ShellEvent::Guard { cluster: 0, guard });
            }
            KernelEvent::GateRestored { interface, from } => match from {
                None => {
                    tracing::warn!(
                        "{interface}: somebody removed the gate; put back, shut at first"
                    );
                }
                Some(who) => {
                    tracing::warn!("{interface}: {who} was asked before the gate; it decides again")
                }
            },
            KernelEvent::ForeignClaim {
                group,
                address,
                mac,
            } => {
                // The holder announces itself to a standby all the time; that is not news.
                let roles = self.beside.first().map(|beside| &beside.roles);
                let held = roles.and_then(|r| r.get(usize::from(group.0)));
                let now = self.clock.now();
                let quiet = self
                    .pending
                    .logged_claim
                    .is_some_and(|at| now < at.plus(CLAIM_LOG));
                if held == Some(&RoleName::Holder) && !quiet {
                    self.pending.logged_claim = Some(now);
                    let name = self.group_name(group);
                    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
                    tracing::warn!(
                        "{name}: {mac} claims {address} while it is held here; announcing again (R-16)"
                    );
                }
                let claim = ShellEvent::ForeignClaim { cluster: 0, group };
                self.pending.events.push_back(claim);
            }
            KernelEvent::ProbeAnswered { group, probed_at } => {
                let answered = ShellEvent::ProbeAnswered {
                    cluster: 0,
                    group,
                    probed_at,
                };
                self.pending.events.push_back(answered);
            }
        }
    }

    fn group_name(&self, group: GroupId) -> String {
        let local = self.loaded.clusters.first();
        local
            .map(|s| s.config.group_name(group).into_owned())
            .unwrap_or_default()
    }

    /// Serves the metrics where the file says.
    fn listen(&mut self) {
        self.exporter
            .listen(self.loaded.metrics.listen.map(|l| l.0));
    }
}

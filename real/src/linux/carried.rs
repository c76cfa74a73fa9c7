//! This world goes on in another program of this process: what that needs of it, when it may, and how
//! it begins there. Everything else is made or asked for again: monitors, timers, frames, the control
//! socket, what monitoring reads.
//!
//! What it never does: read the configuration file again, give up the lock or a socket, or touch what
//! is held.

use super::arrival::{before_hold, instance_of, knowing_this_host, member_name, other_candidate};
use super::persisted::{Persisted, addresses_of, same_orders};
use super::{Beside, Linux};
use crate::config_file::{InForce, LocalCluster, LogSection, MetricsSection, Read};
use crate::driver::{Begun, CarriedNode, Joined, Served, ShellEvent};
use crate::frames::Frames;
use crate::kernel::{self, Kernel, KernelGroup};
use crate::lease_record::{LeaseRecord, Records};
use crate::lock::{self, Lock, Names};
use crate::members_record::{MembersRecord, in_doubt};
use crate::metrics::Metrics;
use crate::orders::OrdersFile;
use crate::socket;
use crate::trace::Line;
use crate::upgrade::{Inherited, State};
use onehold_core::observe::RoleName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::RawFd;

/// What the shell remembers, for another program of this process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// In the order of their numbers.
    clusters: Vec<Cluster>,
    sockets: Vec<socket::Carried>,
    /// Packet sockets, which are opened again: to close one takes the kernel some 10 ms, so the step
    /// leaves them open, and they are closed aside.
    closed_aside: Vec<RawFd>,
    kernel: Option<kernel::Carried>,
    health: BTreeMap<u8, Result<(), String>>,
    fit: BTreeMap<u8, Result<(), String>>,
    whole: BTreeMap<u8, Result<(), String>>,
    /// Something is awaited that is not served yet.
    awaits: bool,
    /// What is in force for all of them, and the texts of their files.
    #[serde(skip)]
    pub(crate) parts: (LogSection, MetricsSection, Vec<String>),
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    config: InForce,
    lock: lock::Carried,
    /// Why its last reload was refused, if it was.
    refused: Option<String>,
}

impl Carried {
    /// The configurations in force.
    pub(crate) fn configs(&self) -> impl Iterator<Item = &InForce> {
        self.clusters.iter().map(|cluster| &cluster.config)
    }

    /// The descriptors that it needs.
    pub(crate) fn fds(&self) -> Vec<RawFd> {
        let locks = self.clusters.iter().map(|cluster| cluster.lock.fd);
        let sockets = self.sockets.iter().map(|socket| socket.fd);
        let kernel = self.kernel.iter().flat_map(kernel::Carried::fds);
        let aside = self.closed_aside.iter().copied();
        locks.chain(sockets).chain(kernel).chain(aside).collect()
    }
}

impl Linux {
    /// Whether nothing is under way that another program of this process would not know of.
    pub(super) fn nothing_is_under_way(&self) -> Result<(), String> {
        let is = |quiet: bool, why: &str| quiet.then_some(()).ok_or_else(|| why.to_owned());
        let pending = &self.pending;
        is(!pending.stopping, "the daemon stops")?;
        is(pending.reloading.is_over(), "a reload is under way")?;
        is(!self.arrivals.is_looking(), "a file is being read")?;
        is(pending.leaving.is_empty(), "a cluster leaves")?;
        let written = self.beside.iter().all(|b| b.persisted.is_idle());
        is(
            written && pending.writing.is_empty(),
            "orders are being written",
        )?;
        is(self.histories.is_idle(), "the history is being written")?;
        let idle = self.kernel.as_ref().is_none_or(Kernel::is_idle);
        is(idle && pending.events.is_empty(), "much happens")?;
        is(self.sockets.is_idle(), "datagrams come without a pause")
    }

    /// What another program of this process needs to go on.
    pub(super) fn all_carried(&self) -> Carried {
        let mut texts = Vec::new();
        let all = self.loaded.clusters.iter().zip(&self.beside).enumerate();
        let clusters = all.map(|(place, (local, beside))| Cluster {
            config: local.in_force(&mut texts),
            lock: beside.persisted.carried(),
            refused: self.reload_refused(place),
        });
        let kernel = self.kernel.iter().flat_map(Kernel::packet_sockets);
        let frames = self.frames.iter().flat_map(Frames::fds);
        Carried {
            clusters: clusters.collect(),
            sockets: self.sockets.carried(),
            closed_aside: kernel.chain(frames).collect(),
            kernel: self.kernel.as_ref().map(Kernel::carried),
            health: self.agent.health().clone(),
            fit: self.pending.fit.clone(),
            whole: self.pending.whole.clone(),
            awaits: !self.arrivals.awaited().is_empty(),
            parts: (self.loaded.log, self.loaded.metrics, texts),
        }
    }

    /// Goes on with what the former program of this process left. What fails has changed nothing that
    /// the former program would need.
    ///
    /// # Errors
    /// What was not handed over, or is understood differently here.
    pub fn goes_on(
        &mut self,
        state: &State,
        from: &Inherited,
        begins: &Begun,
    ) -> Result<(), String> {
        let world = &state.world;
        self.clock.goes_on(state.at);
        self.take_sections(state.log, state.metrics);
        self.sockets.inherit(&world.sockets, from)?;
        self.agent.goes_on(world.health.clone());
        self.pending.fit.clone_from(&world.fit);
        self.pending.whole.clone_from(&world.whole);
        let (mut read, mut begun) = (Read::default(), Vec::new());
        for cluster in &world.clusters {
            let local = read.cluster(&cluster.config, &state.texts)?;
            let named = (local.config.cluster(), local.name());
            let lock = Lock::inherit(&cluster.lock, from, named, member_name(&local))?;
            begun.push((local, lock));
        }
        let nodes = &state.driver.nodes;
        if nodes.len() != begun.len() {
            return Err("the state has more clusters than nodes, or fewer".to_owned());
        }
        let names = Names::now();
        let all = begun.into_iter().zip(nodes).zip(&world.clusters);
        for (((local, lock), node), cluster) in all {
            let lock = lock.alone_among(&names);
            let lock = lock.map_err(|e| format!("{e:?}"))?;
            if !node.node.fits(&local.config) {
                return Err("a node of the state is of another configuration".to_owned());
            }
            let kernel = world.kernel.as_ref();
            self.join_again(local, lock, node.clone(), kernel, from, begins)?;
            if let Some(why) = &cluster.refused {
                self.reloaded(self.beside.len() - 1, Some(why.clone()));
            }
        }
        match self.sockets.inherited_all() {
            0 => {}
            n => return Err(format!("{n} sockets are of no cluster here")),
        }
        if world.awaits {
            self.arrivals.look();
        }
        Ok(())
    }

    /// As a cluster joins, but that nothing begins.
    fn join_again(
        &mut self,
        local: LocalCluster,
        lock: Lock,
        node: CarriedNode,
        kernel: Option<&kernel::Carried>,
        from: &Inherited,
        begun: &Begun,
    ) -> Result<(), String> {
        let (cluster, me) = (local.name(), member_name(&local));
        let timing = local.config.timing();
        let options = self.arrivals.options();
        let groups = local.config.groups().iter();
        let addresses = groups.flat_map(addresses_of).collect();
        let records = Records::default(); // those of others were looked at before
        let mut record = LeaseRecord::of(&options.state, cluster, me, addresses, &records);
        record.goes_on(timing.lease());
        let mut guard = None;
        if let Some(carried) = kernel {
            let kernel = Kernel::inherit(
                &instance_of(&local),
                KernelGroup::all_of(&local),
                local.guard(),
                timing.slack(),
                timing.lease(),
                &[&options.state, options.orders()],
                carried,
                from,
            );
            let kernel = kernel.map_err(|e| e.to_string())?;
            let mut kernel = knowing_this_host(kernel, &local).map_err(|e| e.to_string())?;
            let ways = local.ways_to_candidates().into_iter();
            kernel.look_after(ways).map_err(|e| e.to_string())?;
            guard = Some(kernel.guard_in_force());
            self.kernel = Some(kernel);
        }
        self.sockets.add(&local)?;
        let file = OrdersFile::of(options.orders(), cluster, me);
        let (keeper, unread) = same_orders(file, &local);
        self.histories.join(options.orders(), cluster, me);
        let mut members =
            (kernel.is_some()).then(|| MembersRecord::of(options.orders(), cluster, me));
        let doubts = node.node.doubts();
        if let Some(members) = &mut members {
            members.goes_on(&local.config.electorates(), doubts);
        }
        let doubted = other_candidate(&local);
        let pretended = lock.pretended();
        self.take_priority(&local);
        let now = self.clock.now();
        let trace = Line::State {
            member: me.to_owned(),
            at: now,
            node: node.node.clone(),
        };
        let recorder = self.start_trace(&local, &trace);
        let seen = node.node.observe(&local.config, now);
        let roles: Vec<RoleName> = seen.groups.iter().map(|g| g.role).collect();
        let mut metrics = Metrics::new(&local);
        metrics.guard = guard.unwrap_or_default();
        let config = local.config.clone();
        let mut served = Served::goes_on(config, local.keys(), metrics, now, node);
        served.before_hold = before_hold(&local);
        let joined = Joined {
            served: Box::new(served),
            orders: Vec::new(), // the node knows them
            recorder,
            begun: begun.clone(),
        };
        self.pending
            .events
            .push_back(ShellEvent::Joined(Box::new(joined)));
        self.frames = Frames::of(&local).or(self.frames.take());
        let number = self.keep(local, Persisted::new(lock, record, keeper, members));
        if let Some(Beside { roles: known, .. }) = self.beside.last_mut() {
            *known = roles;
        }
        let why = "it held by the votes of other members than those of its file when it started";
        let doubt = doubts.then(|| in_doubt(why, &doubted));
        self.begin_with(
            number,
            [("doubt", doubt), ("orders", unread), ("lock", pretended)],
        );
        self.first_kernel_refresh();
        self.follow_interfaces(now);
        Ok(())
    }
}

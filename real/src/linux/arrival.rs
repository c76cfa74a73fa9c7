//! What should be served, and is not yet.
//!
//! What the text of the configuration decides ends the daemon at its start. Everything else may be
//! over in a moment: a name that nobody knows yet, a secret that is not mounted yet, an address
//! that this host does not have yet, a port that somebody else has. It is tried again, at growing
//! intervals, and meanwhile reported: in the log, by `onehold status` and to systemd. What can be
//! served is served.

use super::on_disk::OnDisk;
use super::persisted::{Persisted, addresses_of, earlier_orders};
use super::reload::Asked;
use super::{Beside, Linux};
use crate::config_file::{
    self, FileError, Found, LocalCluster, LogSection, MetricsSection, Missing,
};
use crate::daemon::RunOptions;
use crate::driver::openings::BeforeHold;
use crate::driver::{Begun, Joined, Served, ShellEvent, leases};
use crate::frames::Frames;
use crate::kernel::{Kernel, KernelGroup};
use crate::lease_record::{self, LeaseRecord, Records};
use crate::lock::{Lock, Names, NotTaken};
use crate::members_record::{MembersRecord, in_doubt};
use crate::metrics::{GuardInForce, Metrics};
use crate::orders::OrdersFile;
use crate::socket::Sockets;
use crate::status::Waiting;
use crate::telemetry;
use crate::trace::{Line, Recorder, Rest, TraceFile};
use crate::{clock, realtime};
use onehold_core::advert::Incarnation;
use onehold_core::time::{LocalTime, Span};
use rustix::rand::{GetRandomFlags, getrandom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::sync::oneshot;

/// After what time it is tried again at first, and at most.
const FIRST: Span = Span::from_millis(250);
const LATER: Span = Span::from_millis(5_000);
/// How often the log repeats what is still awaited.
const STILL: Span = Span::from_millis(60_000);

/// The result of reading the file.
pub type Looked = Result<Found, FileError>;

/// Why a cluster is not served yet.
#[derive(Debug, PartialEq, Eq)]
pub enum NotYet {
    /// The text says something impossible.
    Decided(FileError),
    /// another incarnation of this member runs.
    Taken(String),
    /// It may pass on its own.
    MayPass(String),
}

impl std::fmt::Display for NotYet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decided(e) => e.fmt(f),
            Self::Taken(why) | Self::MayPass(why) => f.write_str(why),
        }
    }
}

impl From<FileError> for NotYet {
    fn from(e: FileError) -> Self {
        if e.may_pass {
            Self::MayPass(e.to_string())
        } else {
            Self::Decided(e)
        }
    }
}

impl From<NotTaken> for NotYet {
    fn from(e: NotTaken) -> Self {
        match e {
            NotTaken::Taken(why) => Self::Taken(why),
            NotTaken::Unknown(why) => Self::MayPass(why),
        }
    }
}

fn may_pass(what: impl ToString) -> NotYet {
    NotYet::MayPass(what.to_string())
}

/// What is awaited.
#[derive(Debug)]
pub struct Arrivals {
    options: RunOptions,
    awaited: Vec<Waiting>,
    /// A look at the file and what it leads to: aside, for names may take long to resolve.
    looking: Option<oneshot::Receiver<Looked>>,
    /// An operator asked for it; or for another one, since it began.
    pub(super) reload: Option<Asked>,
    pub(super) reload_next: Option<Asked>,
    again_at: Option<LocalTime>,
    pace: Span,
    /// When the log last named what is awaited, and how often it was tried since.
    said: Option<LocalTime>,
    tries: u64,
    /// Requested once in an incarnation.
    realtime: bool,
    trace: Option<Rest>,
    pub(super) on_disk: OnDisk,
}

impl Arrivals {
    /// Nothing is awaited until it is looked for.
    #[must_use]
    pub fn new(options: RunOptions) -> Self {
        Self {
            options,
            awaited: Vec::new(),
            looking: None,
            reload: None,
            reload_next: None,
            again_at: None,
            pace: FIRST,
            said: None,
            tries: 0,
            realtime: false,
            trace: None,
            on_disk: OnDisk::default(),
        }
    }

    /// The daemon's options.
    pub(super) const fn options(&self) -> &RunOptions {
        &self.options
    }

    /// The file.
    pub(super) fn config(&self) -> &Path {
        &self.options.config
    }

    /// What should be served and is not yet.
    #[must_use]
    pub fn awaited(&self) -> &[Waiting] {
        &self.awaited
    }

    /// Whether the file is being looked at.
    pub(super) const fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// When to look again.
    #[must_use]
    pub fn due(&self) -> Option<LocalTime> {
        self.again_at.filter(|_| self.looking.is_none())
    }

    /// Begins to look at the file and what it leads to.
    pub fn look(&mut self) {
        self.again_at = None;
        let (path, name) = (self.options.config.clone(), self.options.member.clone());
        let (tell, looked) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(config_file::find(&path, name.as_deref())); // the daemon may have ended
        });
        self.looking = Some(looked);
    }

    /// What was found.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Looked> {
        let Some(looking) = &mut self.looking else {
            return Poll::Pending;
        };
        let looked = ready!(Pin::new(looking).poll(cx));
        self.looking = None;
        match looked {
            Ok(looked) => Poll::Ready(looked),
            Err(_) => Poll::Pending, // the runtime ends, and this with it
        }
    }

    /// Whether a cluster should be served as soon as possible, where the file has those `in_file`:
    /// one that is awaited; any, if one that is awaited is not in the file, for it may have another
    /// name there.
    pub(super) fn welcomes(&self, cluster: &str, in_file: &[String]) -> bool {
        let is_it = |name: &String| name == cluster || !in_file.contains(name);
        self.awaited
            .iter()
            .any(|w| w.cluster.as_ref().is_none_or(is_it))
    }
}

impl Linux {
    /// The first reading of the file: whatever can be served is served.
    ///
    /// # Errors
    /// What is wrong and would not pass on its own, if nothing can be served.
    pub fn first_look(&mut self, looked: Looked) -> Result<(), NotYet> {
        let found = match looked {
            Ok(found) => found,
            Err(e) => return self.wait_for(vec![(None, e.into())]),
        };
        self.take_sections(found.loaded.log, found.loaded.metrics);
        let missing = self.join_all(found.loaded.clusters);
        let missing = named(found.missing).chain(missing).collect();
        self.wait_for(missing)
    }

    /// The first reading takes long.
    pub fn still_looks(&mut self) {
        let shown = self.arrivals.options.config.display();
        let why = format!(
            "{shown} and what it leads to are being looked at, and that takes long: host names (is DNS \
             there?), or a file system that does not answer"
        );
        let _ = self.wait_for(vec![(None, may_pass(why))]);
    }

    /// Records what is awaited; an error if nothing is served and nothing of it passes on its own.
    pub(super) fn wait_for(
        &mut self,
        missing: Vec<(Option<String>, NotYet)>,
    ) -> Result<(), NotYet> {
        let arrivals = &mut self.arrivals;
        let awaited: Vec<Waiting> = (missing.iter())
            .map(|(cluster, why)| Waiting {
                cluster: cluster.clone(),
                why: why.to_string(),
            })
            .collect();
        let now = clock::boottime();
        arrivals.tries += 1;
        let still = arrivals.said.is_some_and(|at| now < at.plus(STILL));
        for one in &awaited {
            if !arrivals.awaited.contains(one) {
                tracing::warn!("{one}");
            } else if !still {
                tracing::warn!("{one} (tried {} times since)", arrivals.tries);
            }
        }
        if awaited != arrivals.awaited || !still {
            (arrivals.said, arrivals.tries) = (Some(now), 0);
        }
        if awaited.is_empty() {
            (arrivals.again_at, arrivals.pace) = (None, FIRST);
        } else {
            arrivals.again_at = Some(now.plus(arrivals.pace));
            arrivals.pace = arrivals.pace.times(2).min(LATER);
        }
        if awaited != arrivals.awaited {
            arrivals.awaited.clone_from(&awaited);
            self.pending.events.push_back(ShellEvent::Waiting(awaited));
            self.report_condition();
        }
        let passes = |why: &NotYet| matches!(why, NotYet::MayPass(_));
        if !self.loaded.clusters.is_empty() || missing.iter().any(|(_, why)| passes(why)) {
            return Ok(());
        }
        missing
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, why)| Err(why))
    }

    /// The options of log and metrics are those of the first file that can be read; from then on a
    /// reload changes them.
    pub(super) fn take_sections(&mut self, log: LogSection, metrics: MetricsSection) {
        if self.loaded.clusters.is_empty() {
            (self.loaded.log, self.loaded.metrics) = (log, metrics);
            self.log.set_level(log.level);
            self.listen();
        }
    }

    /// Serves what can be served; returns what can't be, and why.
    pub(super) fn join_all(
        &mut self,
        clusters: Vec<LocalCluster>,
    ) -> Vec<(Option<String>, NotYet)> {
        let mut missing = Vec::new();
        if clusters.is_empty() {
            return missing;
        }
        let left = lease_record::left_in(&self.arrivals.options.state);
        let begin = |local: &LocalCluster| {
            Lock::begin(local.config.cluster(), local.name(), member_name(local))
        };
        let begun: Vec<_> = clusters.iter().map(begin).collect();
        let names = Names::now(); // listed once, for each of thousands would be in it
        for (local, begun) in clusters.into_iter().zip(begun) {
            let name = local.name().to_owned();
            let lock = begun.and_then(|begun| begun.alone_among(&names));
            let joined = lock
                .map_err(NotYet::from)
                .and_then(|lock| self.join(local, lock, &left));
            if let Err(why) = joined {
                missing.push((Some(name), why));
            }
        }
        missing
    }

    /// R-9, in its order: lock, gate and addresses of earlier incarnations, socket, quarantine. If
    /// it fails, nothing is left behind but a gate that may be needed.
    fn join(&mut self, local: LocalCluster, lock: Lock, left: &Records) -> Result<(), NotYet> {
        let (cluster, me) = (local.name(), member_name(&local));
        let options = &self.arrivals.options;
        let addresses = local
            .config
            .groups()
            .iter()
            .flat_map(addresses_of)
            .collect();
        let mut record = LeaseRecord::of(&options.state, cluster, me, addresses, left);
        let lease = local.config.timing().lease();
        let earlier = leases::begin(&mut record, lease).map_err(may_pass)?;
        let candidate = local.config.is_candidate(local.config.me());
        let mut members = candidate.then(|| MembersRecord::of(options.orders(), cluster, me));
        let votes = local.config.electorates();
        let known = members.as_mut().map(|members| members.begin(&votes));
        let known = known.transpose().map_err(may_pass)?.unwrap_or_default();
        let mut random = [0u8; 8];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(may_pass)?;
        let incarnation = Incarnation(u64::from_ne_bytes(random));

        let mut kernel = None;
        let mut guard = GuardInForce::default();
        // A process that serves several clusters only witnesses.
        if local.config.is_candidate(local.config.me()) {
            // While somebody else has the port, nothing is touched.
            drop(Sockets::open(std::slice::from_ref(&local)).map_err(may_pass)?);
            let mut opened = open_kernel(&local, &[&options.state, options.orders()])?;
            let ways = local.ways_to_candidates().into_iter();
            if let Err(e) = opened.scrub().and_then(|()| opened.look_after(ways)) {
                return Err(left_by(opened, may_pass(e)));
            }
            guard = opened.guard_in_force();
            kernel = Some(opened);
        }
        if let Err(e) = self.sockets.add(&local) {
            return Err(match kernel {
                Some(kernel) => left_by(kernel, may_pass(e)),
                None => may_pass(e),
            });
        }

        // Nothing fails from here on.
        if kernel.is_some() {
            telemetry::report_guard(&guard);
        }
        for remark in &local.remarks {
            tracing::warn!("{remark}");
        }
        self.take_priority(&local);
        let options = &self.arrivals.options;
        let file = OrdersFile::of(options.orders(), cluster, me);
        let (keeper, orders, unread) = earlier_orders(file, &local);
        self.histories.join(options.orders(), cluster, me);
        let pretended = lock.pretended();
        let now = self.clock.now();
        let (served, start) = start_node(
            &local,
            guard,
            incarnation,
            now,
            earlier.longest,
            known.doubt.is_some(),
        );
        let recorder = self.start_trace(&local, &start);
        let doubted = other_candidate(&local);
        // The driver gives it the same number: it takes what happened in this order.
        let joined = ShellEvent::Joined(Box::new(Joined {
            served: Box::new(served),
            orders,
            recorder,
            begun: Begun::Anew,
        }));
        self.pending.events.push_back(joined);
        self.kernel = kernel.or(self.kernel.take());
        self.frames = Frames::of(&local).or(self.frames.take());
        let number = self.keep(local, Persisted::new(lock, record, keeper, members));
        let doubt = known.doubt.map(|why| in_doubt(&why, &doubted));
        let faults = [
            ("record", earlier.fault),
            ("doubt", doubt),
            ("members", known.fault),
            ("orders", unread),
            ("lock", pretended),
        ];
        self.begin_with(number, faults);
        self.first_kernel_refresh();
        self.follow_interfaces(now);
        Ok(())
    }

    /// Realtime priority, where it is wanted; once.
    pub(super) fn take_priority(&mut self, local: &LocalCluster) {
        if local.realtime() && !self.arrivals.realtime {
            self.arrivals.realtime = true;
            for refused in realtime::acquire() {
                tracing::warn!("the fast profile runs without {refused}");
            }
        }
    }

    /// Begins a trace if one is wanted. Whatever is wrong with it, the daemon runs without it.
    pub(super) fn start_trace(
        &mut self,
        local: &LocalCluster,
        start: &Line,
    ) -> Option<Box<dyn Recorder>> {
        let arrivals = &mut self.arrivals;
        let path = arrivals.options.trace.as_ref()?;
        let started = if local.many {
            Err(std::io::Error::other(
                "a trace is of one cluster, and this process serves several; trace the candidates",
            ))
        } else {
            let (size, spec) = (arrivals.options.trace_size, local.spec.clone());
            TraceFile::start(path.clone(), size, spec, member_name(local), start)
        };
        match started {
            Ok((trace, rest)) => {
                tracing::info!("tracing to {}", path.display());
                arrivals.trace = Some(rest);
                Some(Box::new(trace))
            }
            Err(e) => {
                tracing::warn!("no trace is written to {}: {e}", path.display());
                None
            }
        }
    }

    /// Leaves no address, gate or qdisc behind, and on the disk what later incarnations need.
    ///
    /// # Errors
    /// What the kernel refused.
    pub async fn close(mut self) -> Result<(), crate::kernel::KernelError> {
        self.sockets.flush();
        let closed = self.kernel.map_or(Ok(()), Kernel::close);
        for Beside { persisted, .. } in self.beside {
            if let Err(e) = persisted.finish().await {
                tracing::error!("{e}");
            }
        }
        while self.pending.leaving.join_next().await.is_some() {}
        self.histories.finish().await;
        if let Some(rest) = self.arrivals.trace {
            rest.wait();
        }
        closed
    }
}

pub(super) fn named(missing: Vec<Missing>) -> impl Iterator<Item = (Option<String>, NotYet)> {
    missing.into_iter().map(|m| (m.cluster, m.why.into()))
}

pub(super) fn member_name(local: &LocalCluster) -> &str {
    local
        .config
        .member(local.config.me())
        .map_or("", |m| m.name.as_str())
}

/// Which objects in the kernel are a cluster's: the gates of two on one host must not meddle with each
/// other.
pub(super) fn instance_of(local: &LocalCluster) -> String {
    format!("{:x}", local.config.cluster().0)
}

fn open_kernel(local: &LocalCluster, state: &[&Path]) -> Result<Kernel, NotYet> {
    let timing = local.config.timing();
    let kernel = Kernel::open(
        &instance_of(local),
        KernelGroup::all_of(local),
        local.guard(),
        timing.slack(),
        timing.lease(),
        state,
    );
    knowing_this_host(kernel.map_err(may_pass)?, local)
}

/// A kernel side that knows where this member is, and may ask the network if the file lets it.
pub(super) fn knowing_this_host(
    mut kernel: Kernel,
    local: &LocalCluster,
) -> Result<Kernel, NotYet> {
    kernel.lives_at(local.addresses().iter().map(|a| a.ip()).collect());
    if local.probes() {
        let mut random = [0; 34];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(may_pass)?;
        kernel.may_probe(&random);
    }
    Ok(kernel)
}

/// A start that fails leaves nothing in the kernel, except a gate if an address may be there.
fn left_by(kernel: Kernel, why: NotYet) -> NotYet {
    match kernel.close() {
        Ok(()) => why,
        Err(e) => may_pass(format!("{why}; and something is left in the kernel: {e}")),
    }
}

fn start_node(
    local: &LocalCluster,
    guard: GuardInForce,
    incarnation: Incarnation,
    now: LocalTime,
    earlier: Span,
    doubts: bool,
) -> (Served, Line) {
    let config = local.config.clone();
    let quarantine = config.timing().quarantine(earlier);
    tracing::info!(
        "{} of cluster {}, {}, config {:016x}; in quarantine for {quarantine} (R-9)",
        member_name(local),
        local.name(),
        if config.is_candidate(config.me()) {
            "candidate"
        } else {
            "witness"
        },
        config.digest().0,
    );
    let mut metrics = Metrics::new(local);
    metrics.guard = guard;
    let start = Line::Start {
        member: member_name(local).to_owned(),
        at: now,
        time: None,
        incarnation,
        earlier,
        doubts,
        spec: None,
    };
    let mut served = Served::start(config, local.keys(), metrics, incarnation, now, earlier);
    if doubts {
        served.doubt();
    }
    served.before_hold = before_hold(local);
    (served, start)
}

/// The name of the other candidate.
pub(super) fn other_candidate(local: &LocalCluster) -> String {
    let config = &local.config;
    let mut others = config.peers().filter(|id| config.is_candidate(*id));
    let other = others.next().map(|id| config.member_name(id));
    other.unwrap_or_default().into_owned()
}

/// what each group waits for before its gate opens, if it waits.
pub(super) fn before_hold(local: &LocalCluster) -> Vec<Option<BeforeHold>> {
    let groups = local.file.groups.values();
    groups
        .map(|g| Some(g.hooks.before_hold.as_ref()?.before_hold()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_awaited_may_have_another_name_in_the_file() {
        let mut arrivals = Arrivals::new(RunOptions {
            config: "onehold.toml".into(),
            member: None,
            socket: "control.sock".into(),
            state: "state".into(),
            orders: None,
            trace: None,
            trace_size: 0,
        });
        let welcomes = |arrivals: &Arrivals, name: &str, in_file: &[&str]| {
            let in_file: Vec<String> = in_file.iter().map(ToString::to_string).collect();
            arrivals.welcomes(name, &in_file)
        };
        assert!(!welcomes(&arrivals, "web", &["web"]), "nothing is awaited");
        let why = String::new();
        let mut awaits = |cluster: Option<&str>| {
            arrivals.awaited = vec![Waiting {
                cluster: cluster.map(str::to_owned),
                why: why.clone(),
            }];
            welcomes(&arrivals, "web", &["web", "db"])
        };
        assert!(awaits(Some("web")) && awaits(None));
        assert!(!awaits(Some("db")), "that one is there by its name");
        assert!(awaits(Some("former")), "no such one is there any more");
    }
}

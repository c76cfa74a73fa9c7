//! The driver's world on Linux: clock, sockets, kernel, signals, control socket.

use crate::clock::Clock;
use crate::config_file::{FileError, Path, Seats};
use crate::control::Asked;
use crate::driver::{Happening, Shell};
use crate::kernel::{Kernel, KernelEvent};
use crate::life::Record;
use crate::notify::{Notify, watchdog_interval};
use crate::socket::{Refusals, Sockets};
use crate::telemetry::{self, Log};
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::effect::{Event, ReleaseId};
use onehold_core::input::Input;
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::{Context, Poll};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

/// After what time something that the kernel refused is tried again.
const RETRY: Span = Span::from_millis(100);
/// Most of the kernel's events that a turn is told of; more wait for the next.
const MAX_EVENTS: usize = 64;
/// A foreign claim is logged this often at most.
const CLAIM_LOG: Span = Span::from_millis(10_000);

/// The world of a daemon. A candidate serves one cluster, whose index is 0; a witness has no
/// kernel side.
#[derive(Debug)]
pub struct Linux {
    /// Clock and timer.
    pub clock: Clock,
    /// The paths to all members.
    pub sockets: Sockets,
    /// The candidate's groups; a witness has none.
    pub kernel: Option<Kernel>,
    /// What is in force, to compare a reload with.
    pub seats: Seats,
    /// Where `SIGHUP` reads again, and as whom.
    pub file: (PathBuf, Option<String>),
    /// where later lives read this one's lease.
    pub records: Vec<Record>,
    /// The log, to change its level.
    pub log: Log,
    /// systemd.
    pub notify: Notify,
    /// The control socket's requests.
    pub asked: mpsc::Receiver<Asked>,
    /// `SIGTERM`, `SIGINT`, `SIGHUP`.
    pub signals: [Signal; 3],
    /// What waits for the driver.
    pub later: Later,
}

/// What the shell itself has to remember.
#[derive(Debug, Default)]
pub struct Later {
    happened: VecDeque<Happening>,
    /// Releases that the kernel has not confirmed, to be tried again.
    releases: Vec<(GroupId, ReleaseId)>,
    /// When they are.
    release_at: Option<LocalTime>,
    /// What was said of them.
    stuck: Vec<String>,
    reload: Option<oneshot::Receiver<Result<Seats, FileError>>>,
    roles: Vec<Vec<RoleName>>,
    fed_watchdog: Option<LocalTime>,
    logged_claim: Option<LocalTime>,
    stopping: bool,
}

impl Shell for Linux {
    fn now(&mut self) -> LocalTime {
        self.clock.now()
    }

    async fn wait(&mut self, at: LocalTime) {
        std::future::poll_fn(|cx| self.poll(at, cx)).await;
        self.do_what_is_due();
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<Happening> {
        if let Some(happening) = self.later.happened.pop_front() {
            return Some(happening);
        }
        let (local, remote) = self.sockets.receive(bytes)?;
        Some(Happening::Datagram { local, remote })
    }

    fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.sockets.send(cluster, to, bytes)
    }

    fn release(&mut self, _cluster: usize, group: GroupId, release: ReleaseId) {
        self.later.releases.push((group, release));
        self.try_releases();
    }

    fn hold_until(&mut self, _cluster: usize, group: GroupId, deadline: LocalTime) {
        let Some(kernel) = &mut self.kernel else {
            return;
        };
        if let Err(e) = kernel.hold_until(group, deadline) {
            tracing::error!("can't hold: {e}");
            self.input(Input::Refused { group }, Some(e.to_string()));
        }
    }

    fn announce(&mut self, _cluster: usize, group: GroupId) {
        let now = self.clock.now();
        if let Some(kernel) = &mut self.kernel {
            kernel.announce(group, now);
        }
    }

    fn heard(&mut self, local: SocketAddr, remote: SocketAddr, echoed: bool) {
        if let Some(kernel) = &mut self.kernel {
            kernel.neighbours.heard(local, remote, echoed);
        }
    }

    fn refusals(&self, path: Path) -> Refusals {
        self.sockets.refusals(path)
    }

    fn reported(&mut self, cluster: usize, event: &Event) {
        match *event {
            Event::Role { group, to, .. } => {
                let roles = self.later.roles.get_mut(cluster);
                if let Some(role) = roles.and_then(|r| r.get_mut(usize::from(group.0))) {
                    *role = to;
                }
                self.notify.status(&self.roles());
            }
            // The waiting for an earlier life's lease is over: this life's is the longest now.
            Event::Ready => {
                if let (Some(record), Some(seat)) =
                    (self.records.get(cluster), self.seats.seats.get(cluster))
                    && let Err(e) = record.write(seat.config.timing().lease())
                {
                    tracing::warn!("{e}");
                }
            }
            _ => {}
        }
    }
}

impl Linux {
    /// Tells systemd that this serves.
    pub fn ready(&mut self) {
        self.later.roles = self
            .seats
            .seats
            .iter()
            .map(|s| {
                let candidate = s.config.is_candidate(s.config.me());
                let role = if candidate {
                    RoleName::Standby
                } else {
                    RoleName::Witness
                };
                vec![role; s.config.groups().len()]
            })
            .collect();
        // Whether it may hold, the node must know before its first turn.
        if let Some(kernel) = &mut self.kernel {
            for event in kernel.first_look() {
                self.kernel_event(event);
            }
        }
        self.notify.ready(&self.roles());
    }

    fn roles(&self) -> String {
        let all = self
            .seats
            .seats
            .iter()
            .zip(&self.later.roles)
            .map(|(seat, roles)| {
                telemetry::roles(
                    &seat.config,
                    (0u8..).map(GroupId).zip(roles.iter().copied()),
                )
            });
        all.collect::<Vec<String>>().join("; ")
    }

    fn input(&mut self, input: Input, why: Option<String>) {
        self.later.happened.push_back(Happening::Input {
            cluster: 0,
            input,
            why,
        });
    }

    /// Ready when something happened, or at `at`, or when something of our own is due.
    fn poll(&mut self, at: LocalTime, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = self.sockets.poll(cx);
        if !self.later.happened.is_empty() {
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
        if let Poll::Ready(Some(asked)) = self.asked.poll_recv(cx) {
            self.later.happened.push_back(Happening::Asked(asked));
            any = Poll::Ready(());
        }
        let [terminate, interrupt, hangup] = &mut self.signals;
        let stop = terminate.poll_recv(cx).is_ready() | interrupt.poll_recv(cx).is_ready();
        if hangup.poll_recv(cx).is_ready() {
            self.reload();
        }
        if stop && !self.later.stopping {
            self.later.stopping = true;
            tracing::info!("told to stop: handing over what is held, then leaving");
            self.notify.stopping();
            self.later.happened.push_back(Happening::Stop);
            any = Poll::Ready(());
        }
        if let Some(reload) = &mut self.later.reload
            && let Poll::Ready(loaded) = std::pin::Pin::new(reload).poll(cx)
        {
            self.later.reload = None;
            if let Ok(loaded) = loaded {
                self.reloaded(loaded);
            }
            any = Poll::Ready(());
        }
        let own = [
            self.kernel.as_ref().and_then(Kernel::poll_timeout),
            self.later.release_at,
            self.feed_watchdog_at(),
        ];
        let at = own
            .into_iter()
            .flatten()
            .min()
            .map_or(at, |own| own.min(at));
        if self.clock.poll_at(at, cx).is_ready() {
            any = Poll::Ready(());
        }
        any
    }

    fn do_what_is_due(&mut self) {
        let now = self.clock.now();
        if let Some(kernel) = &mut self.kernel
            && kernel.poll_timeout().is_some_and(|at| at <= now)
        {
            kernel.wake(now);
        }
        if self.later.release_at.is_some_and(|at| at <= now) {
            self.try_releases();
        }
        if self.feed_watchdog_at().is_some_and(|at| at <= now) {
            self.later.fed_watchdog = Some(now);
            self.notify.watchdog();
        }
    }

    fn feed_watchdog_at(&self) -> Option<LocalTime> {
        let interval = Span::from(watchdog_interval()?);
        Some(
            self.later
                .fed_watchdog
                .map_or(LocalTime::from_nanos(0), |at| at.plus(interval)),
        )
    }

    /// nothing is confirmed that the kernel did not confirm.
    fn try_releases(&mut self) {
        let Some(kernel) = &mut self.kernel else {
            return;
        };
        let mut failed = Vec::new();
        let mut stuck = Vec::new();
        for (group, release) in self.later.releases.drain(..) {
            match kernel.release(group) {
                Ok(()) => self.later.happened.push_back(Happening::Input {
                    cluster: 0,
                    input: Input::Muted { group, release },
                    why: None,
                }),
                Err(e) => {
                    tracing::error!("can't release, trying again: {e}");
                    stuck.push(format!("can't let go, and is trying again: {e}"));
                    failed.push((group, release));
                }
            }
        }
        self.later.release_at = if failed.is_empty() {
            None
        } else {
            Some(self.clock.now().plus(RETRY))
        };
        self.later.releases = failed;
        if self.later.stuck != stuck {
            self.later.stuck.clone_from(&stuck);
            self.later.happened.push_back(Happening::Alarms {
                cluster: 0,
                from: "release",
                alarms: stuck,
            });
        }
    }

    fn kernel_event(&mut self, event: KernelEvent) {
        match event {
            KernelEvent::Eligible { group, eligible } => {
                let name = self.group_name(group);
                match &eligible {
                    Ok(()) => tracing::info!(event = "eligible", "{name}: can be held here"),
                    Err(why) => {
                        tracing::warn!(event = "eligible", "{name}: can't be held here: {why}");
                    }
                }
                let eligible_now = eligible.is_ok();
                self.input(
                    Input::Eligible {
                        group,
                        eligible: eligible_now,
                    },
                    eligible.err(),
                );
            }
            KernelEvent::AddressPutBack { group, address } => {
                let name = self.group_name(group);
                tracing::warn!("{name}: somebody removed {address} while it is held; put back");
                self.input(Input::ForeignClaim { group }, None); // neighbours may have lost it
            }
            KernelEvent::Whole { group, whole } => {
                let name = self.group_name(group);
                match &whole {
                    Ok(()) => {
                        tracing::info!(event = "whole", "{name}: can be held whole here");
                    }
                    Err(why) => {
                        tracing::warn!(event = "whole", "{name}: can't be held whole here: {why}");
                    }
                }
                let healthy = whole.is_ok();
                self.input(Input::Health { group, healthy }, whole.err());
            }
            KernelEvent::Alarms(alarms) => self.later.happened.push_back(Happening::Alarms {
                cluster: 0,
                from: "kernel",
                alarms,
            }),
            KernelEvent::GuardIs(guard) => {
                telemetry::report_guard(&guard);
                self.later
                    .happened
                    .push_back(Happening::Guard { cluster: 0, guard });
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
                // The holder announces itself to a standby all the time; that is no news.
                let held = self
                    .later
                    .roles
                    .first()
                    .and_then(|r| r.get(usize::from(group.0)));
                let now = self.clock.now();
                let quiet = self
                    .later
                    .logged_claim
                    .is_some_and(|at| now < at.plus(CLAIM_LOG));
                if held == Some(&RoleName::Holder) && !quiet {
                    self.later.logged_claim = Some(now);
                    let name = self.group_name(group);
                    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
                    tracing::warn!(
                        "{name}: {mac} claims {address} while it is held here; announcing again (R-16)"
                    );
                }
                self.input(Input::ForeignClaim { group }, None);
            }
        }
    }

    fn group_name(&self, group: GroupId) -> String {
        let seat = self.seats.seats.first();
        let name = seat
            .and_then(|s| s.config.group(group))
            .map(|g| g.name.clone());
        name.unwrap_or_default()
    }

    /// Reads the file again, aside: names may take long to resolve.
    fn reload(&mut self) {
        self.notify.reloading();
        let (path, name) = self.file.clone();
        let (tell, loaded) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(crate::config_file::load(&path, name.as_deref()));
        });
        self.later.reload = Some(loaded);
    }

    fn reloaded(&mut self, loaded: Result<Seats, FileError>) {
        match loaded
            .map_err(|e| e.to_string())
            .and_then(|new| self.adopt(new))
        {
            Ok(what) => tracing::info!(event = "reload", "reloaded: {what}"),
            Err(why) => tracing::error!(
                event = "reload",
                "reload refused, all stays as it was: {why}"
            ),
        }
        self.notify.ready(&self.roles());
    }

    /// Takes over what may change in a life; all or nothing.
    fn adopt(&mut self, new: Seats) -> Result<String, String> {
        self.seats.reload(new).map_err(|e| e.to_string())?;
        for (cluster, seat) in self.seats.seats.iter().enumerate() {
            self.later.happened.push_back(Happening::Keys {
                cluster,
                keys: seat.keys(),
            });
        }
        self.log.set_level(self.seats.log.level);
        Ok("keys and log level are those of the file".to_owned())
    }

    /// Leaves no address, gate or qdisc behind.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn close(self) -> Result<(), crate::kernel::KernelError> {
        self.kernel.map_or(Ok(()), Kernel::close)
    }
}

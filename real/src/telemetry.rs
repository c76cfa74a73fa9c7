//! The log: one line for each change that a person may want to know about, saying what happened,
//! why and by which rule. Packets are logged at level `trace` only.
//!
//! A thread of its own writes it: a reader that is slow, or reads nothing, costs lines, never the
//! address.

mod format;
mod journal;
mod repeats;

use crate::config_file::{LogFormat, LogLevel, LogSection};
use crate::metrics::{GuardInForce, OtherConfig};
use format::Text;
use journal::{Entry, Journal};
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::{Event, Why};
use onehold_core::observe::RoleName;
use repeats::Sparing;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use tracing::Level;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

/// Most lines that wait for a slow reader; what comes while so many wait is lost. Room for all of them
/// is made at once, 32 bytes for each.
const MOST_LINES: usize = 4_096;

/// The running log.
#[derive(Clone, Debug)]
pub struct Log {
    level: reload::Handle<LevelFilter, Registry>,
    /// Dropped last: it writes the last lines.
    _rest: Arc<WorkerGuard>,
}

impl Log {
    /// Starts to log to standard error. Once in a process.
    ///
    /// # Errors
    /// If the process logs already.
    pub fn start(log: LogSection) -> Result<Self, TryInitError> {
        let (filter, level) = reload::Layer::new(filter(log.level));
        let journal = log.format == LogFormat::Text && to_journal();
        let journal = journal.then(|| Journal::new(Path::new(journal::SOCKET), std::io::stderr()));
        let journal = journal.and_then(Result::ok);
        let is_journal = journal.is_some();
        let lines = NonBlockingBuilder::default().buffered_lines_limit(MOST_LINES);
        let (to, rest) = match journal {
            Some(journal) => lines.finish(journal),
            None => lines.finish(std::io::stderr()),
        };
        let layer = layer(log.format, is_journal, to);
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .try_init()?;
        Ok(Self {
            level,
            _rest: Arc::new(rest),
        })
    }

    /// Changes the level while running.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and then there is no log.
        let _ = self.level.modify(|f| *f = filter(level));
    }
}

fn layer<S, W>(format: LogFormat, journal: bool, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to);
    match (format, journal) {
        (LogFormat::Text, false) => layer
            .map_event_format(|_| Sparing::new(Text, false))
            .boxed(),
        (LogFormat::Text, true) => layer
            .map_event_format(|_| Sparing::new(Entry, false))
            .boxed(),
        (LogFormat::Json, _) => layer
            .json()
            .flatten_event(true)
            .with_target(false)
            .map_event_format(|json| Sparing::new(json, true))
            .boxed(),
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Whether standard error is the journal, which adds the time itself. The variable alone does not
/// show that: every process below a service inherits it.
fn to_journal() -> bool {
    let is = || {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
        let meta = std::fs::File::from(stderr).metadata().ok()?;
        let said = std::env::var("JOURNAL_STREAM").ok()?;
        Some(said == format!("{}:{}", meta.dev(), meta.ino()))
    };
    is().unwrap_or(false)
}

/// The level of an event.
const fn level(event: &Event, arbitration: Arbitration) -> Level {
    match event {
        Event::Role { why, .. } => match why {
            Why::LeaseOver
            | Why::KernelRefused
            | Why::Conflict
            | Why::Strange
            | Why::Answered
            | Why::Outvoted
            | Why::Unable
            | Why::Unprepared
            | Why::Unhealthy => Level::WARN,
            Why::Majority
            | Why::PeerSilent
            | Why::PresumedDead
            | Why::Failback
            | Why::Switch
            | Why::Standby
            | Why::Stop
            | Why::Unready
            | Why::Released => Level::INFO,
        },
        Event::Met { .. } | Event::Back { .. } | Event::Ready | Event::Opened { .. } => Level::INFO,
        Event::Lost { .. }
        | Event::Overslept
        | Event::Answered { .. }
        | Event::CommandRefused { .. } => Level::WARN,
        Event::Conflict { .. } => match arbitration {
            Arbitration::Majority => Level::ERROR,
            Arbitration::Survivor => Level::WARN,
        },
        Event::Strange { .. } | Event::ClockWentBack { .. } => Level::ERROR,
    }
}

/// An event as one line, with the name of its `cluster` in front where a process serves several.
#[must_use]
pub fn line(event: &Event, config: &Config, cluster: Option<&str>) -> String {
    let prefix = cluster.map(|c| format!("{c}: ")).unwrap_or_default();
    format!("{prefix}{} ({})", event.text(config), event.rule())
}

/// Logs an event of a `cluster`, whose name is in front where a process serves `several`.
pub fn report(event: &Event, config: &Config, cluster: &str, several: bool) {
    let group = event.group().map(|id| config.group_name(id));
    let peer = event.peer().map(|id| config.member_name(id));
    // The level of a tracing event is fixed where it is written.
    macro_rules! log {
        ($level:expr) => {
            tracing::event!(
                $level,
                event = event.name(),
                rule = event.rule(),
                cluster,
                group = group.as_deref(),
                peer = peer.as_deref(),
                "{}",
                line(event, config, several.then_some(cluster))
            )
        };
    }
    match level(event, config.arbitration()) {
        Level::ERROR => log!(Level::ERROR),
        Level::WARN => log!(Level::WARN),
        _ => log!(Level::INFO),
    }
}

/// Logs a stranger, once for each configuration, as
/// [`Metrics::other_config`](crate::metrics::Metrics::other_config) decides. `whose` is the member
/// that has its address by our own file, if one has.
pub fn report_other_config(
    whose: Option<MemberId>,
    other: OtherConfig,
    config: &Config,
    (cluster, several): (&str, bool),
) {
    let name = whose
        .and_then(|id| config.member(id))
        .map(|m| m.name.as_str());
    let prefix = match several {
        true => format!("{cluster}: "),
        false => String::new(),
    };
    tracing::error!(
        event = "other_config",
        rule = "R-0",
        cluster,
        peer = name,
        "{prefix}{} (`onehold check` shows a file's digest) (R-0)",
        other_config(name, other.from, other.digest.0, config.digest().0)
    );
}

/// A stranger in words, for log and status.
#[must_use]
pub fn other_config(name: Option<&str>, from: SocketAddr, digest: u64, ours: u64) -> String {
    let who = match name {
        Some(name) => name.to_owned(),
        None => format!("a machine at {from}, which is not a member's address in the file here,"),
    };
    format!(
        "{who} runs with another configuration: what comes from {from} has the digest {digest:016x}, here \
         it is {ours:016x}; its adverts are ignored. Make the files equal, or stop it"
    )
}

/// Logs which alarms of a cluster are new and which are over, as
/// [`Metrics::alarms`](crate::metrics::Metrics::alarms) returned them.
pub fn report_alarms(cluster: &str, (new, over): (Vec<String>, Vec<String>)) {
    for alarm in new {
        tracing::warn!(event = "alarm", cluster, "{alarm}");
    }
    for alarm in over {
        tracing::info!(event = "alarm_over", cluster, "over: {alarm}");
    }
}

/// Logs which guard is in force.
pub fn report_guard(guard: &GuardInForce) {
    match (guard.name.as_str(), &guard.why_not_better) {
        ("none", _) => tracing::warn!(
            "guard: none: only this process ends a lease; if it is frozen or killed, it keeps the address; \
             remove `cluster.guard` (R-8)"
        ),
        (name, Some(why)) => tracing::warn!("guard: {name}; no better one: {why}"),
        (name, None) => tracing::info!("guard: {name}: the kernel ends a lease by itself"),
    }
}

/// A role for `STATUS=`: `web holder, api standby`.
#[must_use]
pub fn roles(config: &Config, roles: impl Iterator<Item = (GroupId, RoleName)>) -> String {
    let all = roles.map(|(id, role)| format!("{} {}", config.group_name(id), role.text()));
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

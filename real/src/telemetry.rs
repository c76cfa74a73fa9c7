//! The log: one line for each change that a person may want to know of, saying what happened, why
//! and by which rule. Nothing for a packet above `trace`.
//!
//! A thread of its own writes it: whoever reads the log slowly, or not at all, costs lines, never the
//! address.

mod format;
mod repeats;

use crate::config_file::{LogFormat, LogLevel, LogSection};
use crate::control::refusal_text;
use crate::metrics::{GuardInForce, OtherConfig};
use format::Text;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::{Event, Why};
use onehold_core::input::Refusal;
use onehold_core::observe::RoleName;
use repeats::Sparing;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use tracing::Level;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

/// The running log.
#[derive(Clone, Debug)]
pub struct Log {
    level: reload::Handle<LevelFilter, Registry>,
    /// Dropped last, it writes what is left.
    _rest: Arc<WorkerGuard>,
}

impl Log {
    /// Starts to log to standard error. Once in a process.
    ///
    /// # Errors
    /// If the process logs already.
    pub fn start(log: LogSection) -> Result<Self, TryInitError> {
        let (filter, level) = reload::Layer::new(filter(log.level));
        let (to, rest) = tracing_appender::non_blocking(std::io::stderr());
        let layer = layer(log.format, to_journal(), to);
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
        // Fails only when the subscriber is gone, and then there is no log.
        let _ = self.level.modify(|f| *f = filter(level));
    }
}

fn layer<S, W>(format: LogFormat, journal: bool, to: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(to);
    match format {
        LogFormat::Text => layer
            .map_event_format(|_| Sparing::new(Text { journal }, false))
            .boxed(),
        LogFormat::Json => layer
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

/// Whether standard error is the journal, which adds the time itself. The variable alone would not
/// do: whatever runs below a service inherits it.
fn to_journal() -> bool {
    let is = || {
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
        let meta = std::fs::File::from(stderr).metadata().ok()?;
        let said = std::env::var("JOURNAL_STREAM").ok()?;
        Some(said == format!("{}:{}", meta.dev(), meta.ino()))
    };
    is().unwrap_or(false)
}

/// An event in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// What, why and by which rule.
    pub text: String,
    kind: &'static str,
    rule: &'static str,
    group: Option<String>,
    peer: Option<String>,
}

/// Puts an event into words. `cluster` goes in front where a process serves several.
#[must_use]
pub fn line(event: &Event, config: &Config, cluster: Option<&str>) -> Line {
    let group = |id: GroupId| {
        config
            .group(id)
            .map_or_else(|| format!("#{}", id.0), |g| g.name.clone())
    };
    let member = |id: MemberId| {
        config
            .member(id)
            .map_or_else(|| format!("#{}", id.0), |m| m.name.clone())
    };
    let (level, kind, rule, g, p, text) = match *event {
        Event::Role {
            group: id,
            from,
            to,
            why,
        } => {
            let level = match why {
                Why::LeaseOver
                | Why::KernelRefused
                | Why::Conflict
                | Why::Strange
                | Why::Unable
                | Why::Unhealthy => Level::WARN,
                Why::Majority
                | Why::PeerSilent
                | Why::PresumedDead
                | Why::Failback
                | Why::Switch
                | Why::Standby
                | Why::Stop
                | Why::Unready
                | Why::Muted => Level::INFO,
            };
            let text = format!(
                "{}: {} → {}: {}",
                group(id),
                from.text(),
                to.text(),
                why.text()
            );
            (level, "role", why.rule(), Some(id), None, text)
        }
        Event::Met { peer, incarnation } => {
            let text = format!("met {} (incarnation {:016x})", member(peer), incarnation.0);
            (Level::INFO, "met", "R-1", None, Some(peer), text)
        }
        Event::Lost { peer } => {
            let d = config.timing().vote();
            let text = format!("lost {}: nothing of it was accepted for {d}", member(peer));
            (Level::WARN, "lost", "R-10", None, Some(peer), text)
        }
        Event::Back { peer } => {
            let text = format!("{} is heard again", member(peer));
            (Level::INFO, "back", "R-16", None, Some(peer), text)
        }
        Event::Ready => {
            let what = if config.is_candidate(config.me()) {
                "votes and may hold"
            } else {
                "votes"
            };
            let text = format!("quarantine is over: this member {what}");
            (Level::INFO, "ready", "R-9", None, None, text)
        }
        Event::Overslept => {
            let text = "this process was not run when it should have been (paused, suspended or \
                        starved): it starts to listen anew";
            (
                Level::WARN,
                "overslept",
                "R-13",
                None,
                None,
                text.to_owned(),
            )
        }
        Event::Conflict { group: id, peer } => {
            let (level, what) = match config.arbitration() {
                Arbitration::Majority => (
                    Level::ERROR,
                    "that must never be: is a member id used twice, or a clock far off?",
                ),
                Arbitration::Survivor => (
                    Level::WARN,
                    "the preferred member stays, the other releases",
                ),
            };
            let text = format!(
                "{}: {} says that it holds too: {what}",
                group(id),
                member(peer)
            );
            (level, "conflict", "R-15", Some(id), Some(peer), text)
        }
        Event::Strange { group: id } => {
            let text = format!(
                "{}: one with another configuration says that it holds too: the later in the order of \
                 members lets go; make the files equal",
                group(id)
            );
            (Level::ERROR, "strange", "R-15", Some(id), None, text)
        }
        Event::Refused { group: id, refusal } => {
            let rule = match refusal {
                Refusal::NotTwoMembers | Refusal::PeerHeard | Refusal::VoteBound => "R-17",
                Refusal::NotHolder
                | Refusal::NobodyReady
                | Refusal::Witness
                | Refusal::Stopping => "R-12",
            };
            let text = format!("{}: command refused: {}", group(id), refusal_text(refusal));
            (Level::WARN, "refused", rule, Some(id), None, text)
        }
    };
    Line {
        level,
        text: match cluster {
            Some(cluster) => format!("{cluster}: {text} ({rule})"),
            None => format!("{text} ({rule})"),
        },
        kind,
        rule,
        group: g.map(group),
        peer: p.map(member),
    }
}

/// Logs an event. `cluster` is named in the line where a process serves several.
pub fn report(event: &Event, config: &Config, cluster: Option<&str>) {
    let line = line(event, config, cluster);
    let (group, peer) = (line.group.as_deref(), line.peer.as_deref());
    // The level of a tracing event is fixed where it is written.
    macro_rules! log {
        ($level:expr) => {
            tracing::event!(
                $level,
                event = line.kind,
                rule = line.rule,
                cluster,
                group,
                peer,
                "{}",
                line.text
            )
        };
    }
    match line.level {
        Level::ERROR => log!(Level::ERROR),
        Level::WARN => log!(Level::WARN),
        _ => log!(Level::INFO),
    }
}

/// Logs that somebody runs with another configuration: `whose` is the member who has that address by
/// our file, if one has. Once for each, as
/// [`Metrics::other_config`](crate::metrics::Metrics::other_config) says.
pub fn report_other_config(
    whose: Option<MemberId>,
    other: OtherConfig,
    config: &Config,
    cluster: Option<&str>,
) {
    let name = whose
        .and_then(|id| config.member(id))
        .map(|m| m.name.as_str());
    let prefix = cluster.map(|c| format!("{c}: ")).unwrap_or_default();
    tracing::error!(
        event = "other_config",
        rule = "R-0",
        cluster,
        peer = name,
        "{prefix}{}; `onehold check` shows a file's digest (R-0)",
        other_config(name, other.from, other.digest.0, config.digest().0)
    );
}

/// Who runs with another configuration, in words for log and status.
#[must_use]
pub fn other_config(name: Option<&str>, from: SocketAddr, digest: u64, ours: u64) -> String {
    let who = match name {
        Some(name) => name.to_owned(),
        None => format!("a member at {from}, which is no member's address in the file here,"),
    };
    format!(
        "{who} runs with another configuration: what comes from {from} has the digest {digest:016x}, here \
         it is {ours:016x}; its adverts are ignored until the files are equal"
    )
}

/// Logs which alarms are new and which are over, as [`Metrics::alarms`](crate::metrics::Metrics::alarms)
/// says.
pub fn report_alarms((new, over): (Vec<String>, Vec<String>)) {
    for alarm in new {
        tracing::warn!(event = "alarm", "{alarm}");
    }
    for alarm in over {
        tracing::info!(event = "alarm_over", "over: {alarm}");
    }
}

/// Logs which guard is in force.
pub fn report_guard(guard: &GuardInForce) {
    match (guard.name.as_str(), &guard.why_not_better) {
        ("none", _) => tracing::warn!(
            "guard: none: only this process ends a lease; a frozen or killed one keeps the address (R-8)"
        ),
        (name, Some(why)) => tracing::warn!("guard: {name}; no better one: {why}"),
        (name, None) => tracing::info!("guard: {name}: the kernel ends a lease by itself"),
    }
}

/// A role for `STATUS=`: `web holder, api standby`.
#[must_use]
pub fn roles(config: &Config, roles: impl Iterator<Item = (GroupId, RoleName)>) -> String {
    let all = roles.map(|(id, role)| {
        let name = config.group(id).map_or("?", |g| g.name.as_str());
        format!("{name} {}", role.text())
    });
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;

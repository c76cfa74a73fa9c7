//! The file that operators write: one file, the same on all members.
//!
//! [`load`] reads it and finds this member's [`LocalCluster`] in it: the proved core configuration,
//! the secrets, every member's resolved addresses. Nothing else in the daemon reads the file, and
//! every error names the file, the line, the key, what is wrong and what would be right.

mod addresses;
pub mod checks;
mod decided;
pub mod hooks;
mod in_force;
mod local_cluster;
mod place;
pub mod reference;
mod reload;
mod rotation;
mod routes;
mod span;
mod stamp;
mod together;
mod ways;
mod words;

use checks::CheckSection;
use hooks::HooksSection;

pub(crate) use addresses::{company, literal, loopback_warnings, resolve, toward};
pub(crate) use decided::{decided, for_member};
pub(crate) use in_force::{InForce, Read};
use local_cluster::Text;
pub use local_cluster::{Found, Loaded, LocalCluster, Missing, Texts, find, load, read, texts};
pub(crate) use local_cluster::{
    Here, WrittenCluster, WrittenFile, find_me, first_of, keys_of, local_cluster, prove, secrets,
    without_secrets, written,
};
pub use place::{FileError, Source};
pub(crate) use reload::in_words as differences_in_words;
pub use reload::{Change, Outcome, ReloadRefused, Reloaded};
pub use rotation::{key_name, rotation};
pub use routes::RouteSection;
pub use span::Length;
pub use stamp::Stamp;
pub(crate) use together::each_once;
pub use together::{Announce, FloatingAddress, Interface};
pub use ways::Path;
pub(crate) use ways::{no_way_stays, reached_at_what_floats};

use onehold_core::config::{Arbitration, Failback};
use onehold_core::keyring::MAX_KEYS;
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The UDP port, unless the file says otherwise.
pub const DEFAULT_PORT: u16 = 6946;

/// A cluster's file as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// What the members share.
    pub cluster: ClusterSection,
    /// The members by name.
    #[serde(default)]
    pub members: BTreeMap<String, MemberSection>,
    /// The groups of floating addresses by name. (A map has room for eleven: boxed, those are pointers.)
    #[serde(default)]
    pub groups: BTreeMap<String, Box<GroupSection>>,
    /// The timing; all optional.
    #[serde(default)]
    pub timing: TimingSection,
    /// The log; all optional.
    #[serde(default)]
    pub log: LogSection,
    /// What monitoring may read; all optional.
    #[serde(default)]
    pub metrics: MetricsSection,
}

/// `[cluster]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSection {
    /// Its name: part of every datagram.
    pub name: String,
    /// The file with the shared secret.
    pub secret_file: Option<PathBuf>,
    /// Several: the first seals, all are accepted. For key rotation.
    #[serde(default)]
    pub secret_files: Vec<PathBuf>,
    /// What it takes to hold. Must be stated where there is no witness.
    pub arbitration: Option<Arbitration>,
    /// How the kernel enforces the end of a lease.
    #[serde(default)]
    pub guard: GuardChoice,
    /// By what a member that hears nothing of the only other one asks the network who holds.
    #[serde(default)]
    pub evidence: Evidence,
    /// The UDP port of every address that has none.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whether adverts travel as Ethernet frames, too: under `survivor` they do, unless it is false.
    pub frames: Option<bool>,
}

/// `[members.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSection {
    /// IP addresses or host names, with or without a port; several are several paths.
    pub addresses: Vec<String>,
    /// It votes and never holds.
    #[serde(default)]
    pub witness: bool,
    /// It gets every group that names no other candidate.
    #[serde(default)]
    pub preferred: bool,
}

/// `[groups.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSection {
    /// The floating addresses.
    pub addresses: Vec<FloatingAddress>,
    /// Which interface of a candidate those belong to that name none.
    pub interface: Option<Interface>,
    /// Who tells the network where the addresses are.
    #[serde(default)]
    pub announce: Announce,
    /// The routes that are there while the group is held.
    #[serde(default)]
    pub routes: Vec<RouteSection>,
    /// The candidate that gets the group when both can, if not the one with `preferred = true`.
    pub preferred: Option<String>,
    /// Whether the group returns to the preferred candidate by itself.
    #[serde(default)]
    pub failback: Failback,
    /// How long the preferred candidate must have asked before it gets the group back.
    #[serde(default = "default_failback_delay")]
    pub failback_delay: Length,
    /// Release the group when its service is unhealthy, even if no other candidate is ready.
    #[serde(default)]
    pub release_when_unhealthy: bool,
    /// What must pass for the service to be healthy, by name.
    #[serde(default)]
    pub checks: BTreeMap<String, CheckSection>,
    /// What is run because of what the group is here.
    #[serde(default)]
    pub hooks: HooksSection,
}

/// `[timing]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TimingSection {
    /// Defaults for the rest.
    #[serde(default)]
    pub profile: Profile,
    /// i
    pub interval: Option<Length>,
    /// H
    pub lease: Option<Length>,
    /// κ
    pub guard_slack: Option<Length>,
    /// ρ
    pub drift_ppm: Option<u32>,
}

/// `[log]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// What is logged.
    #[serde(default)]
    pub level: LogLevel,
    /// For people or for machines.
    #[serde(default)]
    pub format: LogFormat,
}

/// `[metrics]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// Where Prometheus can read them over HTTP; nowhere by default.
    pub listen: Option<Listen>,
}

/// `metrics.listen`: an address and a TCP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Listen(pub SocketAddr);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<SocketAddr>() {
            Ok(at) if at.port() != 0 => Ok(Self(at)),
            _ => Err(de::Error::custom(format!(
                "`{text}` is not an IP address and a port; write one such as \"127.0.0.1:9946\", or \
                 \"[::1]:9946\""
            ))),
        }
    }
}

/// `cluster.guard`: how the kernel enforces the end of a lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardChoice {
    /// BPF, or nftables where BPF is refused.
    #[default]
    Auto,
    /// BPF or nothing.
    Bpf,
    /// nftables or nothing.
    Nft,
    /// The process alone: a frozen holder keeps the address.
    None,
}

/// `cluster.evidence`: by what the network is asked who holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Echo requests to the floating addresses.
    #[default]
    Echo,
    /// Nothing: silence alone counts.
    None,
}

/// `timing.profile`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// 100 ms and 450 ms.
    #[default]
    Default,
    /// 20 ms and 60 ms (`survivor`: 90 ms), realtime priority and locked memory if permitted.
    Fast,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// Every change of a role, and who is heard.
    #[default]
    Info,
    /// Every decision.
    Debug,
    /// Every packet.
    Trace,
}

/// `log.format`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The file of a witness that serves many clusters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessFile {
    /// The clusters by name.
    #[serde(default)]
    pub clusters: BTreeMap<String, WitnessCluster>,
    /// A directory of ordinary cluster files, `*.toml`.
    pub directory: Option<PathBuf>,
    /// The log; all optional.
    #[serde(default)]
    pub log: LogSection,
    /// As in [`ConfigFile`], of all clusters.
    #[serde(default)]
    pub metrics: MetricsSection,
}

/// `[clusters.NAME]`: what an ordinary file says, without the name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessCluster {
    /// As in [`ClusterSection`].
    pub secret_file: Option<PathBuf>,
    /// As in [`ClusterSection`].
    #[serde(default)]
    pub secret_files: Vec<PathBuf>,
    /// As in [`ClusterSection`].
    pub arbitration: Option<Arbitration>,
    /// As in [`ClusterSection`].
    #[serde(default = "default_port")]
    pub port: u16,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub members: BTreeMap<String, MemberSection>,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub groups: BTreeMap<String, Box<GroupSection>>,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub timing: TimingSection,
}

const fn default_port() -> u16 {
    DEFAULT_PORT
}

/// Long enough for a machine that is back to have settled.
const fn default_failback_delay() -> Length {
    Length(Span::from_millis(5_000))
}

impl WitnessCluster {
    fn into_file(self, name: &str, log: LogSection, metrics: MetricsSection) -> ConfigFile {
        ConfigFile {
            cluster: ClusterSection {
                name: name.to_owned(),
                secret_file: self.secret_file,
                secret_files: self.secret_files,
                arbitration: self.arbitration,
                guard: GuardChoice::default(),
                evidence: Evidence::default(),
                port: self.port,
                frames: None, // they are between candidates
            },
            members: self.members,
            groups: self.groups,
            timing: self.timing,
            log,
            metrics,
        }
    }
}

impl TimingSection {
    /// The timing with its defaults filled in. A lone survivor needs a longer lease.
    #[must_use]
    pub fn spec(&self, arbitration: Option<Arbitration>) -> TimingSpec {
        let survivor = arbitration == Some(Arbitration::Survivor);
        let default = match self.profile {
            Profile::Default => TimingSpec::default(),
            Profile::Fast => TimingSpec {
                interval: Span::from_millis(20),
                lease: Span::from_millis(if survivor { 90 } else { 60 }),
                ..TimingSpec::default()
            },
        };
        let or = |written: Option<Length>, default| written.map_or(default, |l| l.0);
        TimingSpec {
            interval: or(self.interval, default.interval),
            lease: or(self.lease, default.lease),
            guard_slack: or(self.guard_slack, default.guard_slack),
            drift_ppm: self.drift_ppm.unwrap_or(default.drift_ppm),
        }
    }
}

impl GroupSection {
    /// Whether it counts as healthy before any check has had a result.
    pub(crate) fn assumed_healthy(&self) -> bool {
        self.checks.values().all(CheckSection::assumed)
    }

    /// Whether it has anything for the agent to do.
    pub(crate) fn needs_agent(&self) -> bool {
        !self.checks.is_empty() || self.hooks != HooksSection::default()
    }
}

impl ConfigFile {
    /// Reads the text of a cluster's file.
    ///
    /// # Errors
    /// At least one [`FileError`], each with the line, the key and the remedy.
    pub fn parse(source: &Source) -> Result<Self, Vec<FileError>> {
        source.parse()
    }

    /// The secret files, the newest key's first: all are accepted.
    pub fn secret_files(&self, source: &Source) -> Result<Vec<PathBuf>, FileError> {
        let at = |key, what: &str| Err(source.error(key, what));
        let files = match (&self.cluster.secret_file, &self.cluster.secret_files[..]) {
            (Some(_), [_, ..]) => {
                return at(
                    "cluster.secret_files",
                    "write either `secret_file` or `secret_files`, not both",
                );
            }
            (None, []) => {
                return at(
                    "cluster.secret_file",
                    "missing; make a secret with `onehold secret /etc/onehold/secret`, copy it to \
                     every member and name it here",
                );
            }
            (Some(one), []) => std::slice::from_ref(one),
            (None, several) => several,
        };
        if files.len() > MAX_KEYS {
            let what = format!("{} are too many: at most {MAX_KEYS}", files.len());
            return at("cluster.secret_files", &what);
        }
        if let Some(twice) =
            (files.iter().enumerate()).find_map(|(n, f)| files[..n].contains(f).then_some(f))
        {
            return at(
                "cluster.secret_files",
                &format!("`{}` is listed twice", twice.display()),
            );
        }
        Ok(files.iter().map(|f| source.beside(f)).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests;

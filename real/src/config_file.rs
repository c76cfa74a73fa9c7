//! The file that operators write: one file, the same on all members.
//!
//! [`load`] reads it and finds this member's [`Seat`] in it: the proved core configuration, the
//! secrets, every member's resolved addresses. Nothing else in the daemon reads the file, and every
//! error names the file, the line, the key, what is wrong and what would be right.

mod addresses;
mod place;
mod reload;
mod seat;
mod span;

pub(crate) use addresses::{fit, loopback_warnings, resolve};
pub use place::{FileError, Source};
pub use reload::Refusal;
pub use seat::{Found, Missing, Path, Seat, Seats, find, load, read};
pub(crate) use seat::{WrittenCluster, decided, prove, written};
pub use span::Length;

use onehold_core::config::{Arbitration, Failback, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
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
    /// The groups of floating addresses by name.
    #[serde(default)]
    pub groups: BTreeMap<String, GroupSection>,
    /// The timing; all optional.
    #[serde(default)]
    pub timing: TimingSection,
    /// The log; all optional.
    #[serde(default)]
    pub log: LogSection,
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
    pub arbitration: Option<ArbitrationWord>,
    /// How the kernel enforces the end of a lease.
    #[serde(default)]
    pub guard: GuardChoice,
    /// The UDP port of every address that names none.
    #[serde(default = "default_port")]
    pub port: u16,
}

/// `[members.NAME]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSection {
    /// IP addresses or host names, with a port or not; several are several paths.
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
    /// The floating addresses, with a prefix length or not.
    pub addresses: Vec<String>,
    /// Where they live on a candidate.
    pub interface: Option<Interface>,
    /// The candidate that gets the group when both can, if not the one with `preferred = true`.
    pub preferred: Option<String>,
    /// Whether the group returns to that one by itself.
    #[serde(default)]
    pub failback: FailbackWord,
    /// For how long that one must have asked before it gets the group back.
    #[serde(default)]
    pub failback_delay: Length,
    /// Rather nobody than a sick holder.
    #[serde(default)]
    pub release_when_unhealthy: bool,
}

/// One interface name for all candidates, or one for each: the file is the same on all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "an interface name such as \"eth0\", or one for each candidate: { lb0 = \"eth0\", lb1 = \"ens3\" }"
)]
pub enum Interface {
    /// The same on all.
    Same(String),
    /// By member.
    ByMember(BTreeMap<String, String>),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSection {
    /// What is worth a line.
    #[serde(default)]
    pub level: LogLevel,
    /// For people or for machines.
    #[serde(default)]
    pub format: LogFormat,
}

/// `cluster.arbitration`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArbitrationWord {
    /// A majority of all members.
    Majority,
    /// Two candidates alone.
    Survivor,
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

/// `groups.*.failback`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailbackWord {
    /// By itself.
    #[default]
    Auto,
    /// Only by `onehold switch`.
    Manual,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
    pub arbitration: Option<ArbitrationWord>,
    /// As in [`ClusterSection`].
    #[serde(default = "default_port")]
    pub port: u16,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub members: BTreeMap<String, MemberSection>,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub groups: BTreeMap<String, GroupSection>,
    /// As in [`ConfigFile`].
    #[serde(default)]
    pub timing: TimingSection,
}

const fn default_port() -> u16 {
    DEFAULT_PORT
}

impl WitnessCluster {
    fn into_file(self, name: &str, log: LogSection) -> ConfigFile {
        ConfigFile {
            cluster: ClusterSection {
                name: name.to_owned(),
                secret_file: self.secret_file,
                secret_files: self.secret_files,
                arbitration: self.arbitration,
                guard: GuardChoice::default(),
                port: self.port,
            },
            members: self.members,
            groups: self.groups,
            timing: self.timing,
            log,
        }
    }
}

impl TimingSection {
    /// The timing with its defaults filled in. A lone survivor needs a longer lease.
    #[must_use]
    pub fn spec(&self, arbitration: Option<ArbitrationWord>) -> TimingSpec {
        let survivor = arbitration == Some(ArbitrationWord::Survivor);
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
    /// The interface on `member`, if the file names one.
    #[must_use]
    pub fn interface_of(&self, member: &str) -> Option<&str> {
        match self.interface.as_ref()? {
            Interface::Same(name) => Some(name),
            Interface::ByMember(names) => names.get(member).map(String::as_str),
        }
    }

    /// Every interface that the file names.
    fn interfaces(&self) -> Vec<&String> {
        match &self.interface {
            None => Vec::new(),
            Some(Interface::Same(name)) => vec![name],
            Some(Interface::ByMember(names)) => names.values().collect(),
        }
    }
}

impl ConfigFile {
    /// Reads the text of a cluster's file.
    ///
    /// # Errors
    /// A [`FileError`] with the line, the key and the remedy.
    pub fn parse(source: &Source) -> Result<Self, FileError> {
        source.parse()
    }

    /// Some address is a name, which says nothing by itself.
    pub(crate) fn has_names(&self) -> bool {
        let mut all = self.members.values().flat_map(|m| &m.addresses);
        all.any(|text| addresses::is_name(text))
    }

    /// The secret files: the first seals, all are accepted.
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
        Ok(files.iter().map(|f| source.beside(f)).collect())
    }

    /// What the core is to prove.
    ///
    /// # Errors
    /// A [`FileError`] with the line, the key and the remedy.
    pub fn spec(&self, source: &Source) -> Result<Spec, FileError> {
        for (section, name) in std::iter::once(("cluster.name", &self.cluster.name))
            .chain(self.members.keys().map(|n| ("members", n)))
            .chain(self.groups.keys().map(|n| ("groups", n)))
        {
            self.check_name(source, section, name)?;
        }
        if self.cluster.port == 0 {
            return Err(source.error("cluster.port", "0: must be 1 to 65535"));
        }
        let mut members = Vec::new();
        for (name, m) in &self.members {
            let key = format!("members.{name}");
            if m.witness && m.preferred {
                return Err(source.error(
                    &format!("{key}.preferred"),
                    "a witness never holds; prefer a candidate",
                ));
            }
            if m.addresses.is_empty() {
                let what = "at least one address is needed";
                return Err(source.error(&format!("{key}.addresses"), what));
            }
            members.push(MemberSpec {
                name: name.clone(),
                witness: m.witness,
                addresses: m.addresses.clone(),
            });
        }
        self.check_paths(source)?;
        let mut groups = Vec::new();
        for (name, g) in &self.groups {
            let key = |k| format!("groups.{name}.{k}");
            for interface in g.interfaces() {
                let fail = |what| source.error(&key("interface"), format!("`{interface}` {what}"));
                check_interface(interface).map_err(fail)?;
            }
            let mut addresses = Vec::new();
            for text in &g.addresses {
                let prefix = parse_prefix(text)
                    .map_err(|what| source.error(&key("addresses"), format!("`{text}` {what}")))?;
                addresses.push(prefix);
            }
            groups.push(GroupSpec {
                name: name.clone(),
                addresses,
                preferred: self.preferred(source, name, g)?,
                failback: match g.failback {
                    FailbackWord::Auto => Failback::Auto,
                    FailbackWord::Manual => Failback::Manual,
                },
                failback_delay: g.failback_delay.0,
                release_when_unhealthy: g.release_when_unhealthy,
            });
        }
        Ok(Spec {
            cluster: self.cluster.name.clone(),
            members,
            groups,
            arbitration: self.arbitration(source)?,
            timing: self.timing.spec(self.cluster.arbitration),
        })
    }

    /// Address n of one candidate talks to address n of the other.
    fn check_paths(&self, source: &Source) -> Result<(), FileError> {
        let candidates: Vec<_> = self.members.iter().filter(|(_, m)| !m.witness).collect();
        if let [(a, of_a), (b, of_b)] = candidates[..]
            && of_a.addresses.len() != of_b.addresses.len()
        {
            return Err(source.error(
                &format!("members.{b}.addresses"),
                format!(
                    "{} here and {} of `{a}`: address n of one candidate talks to address n of the \
                     other, so both need as many",
                    of_b.addresses.len(),
                    of_a.addresses.len()
                ),
            ));
        }
        Ok(())
    }

    fn check_name(&self, source: &Source, section: &str, name: &str) -> Result<(), FileError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if (1..=64).contains(&name.len()) && name.chars().all(fine) {
            return Ok(());
        }
        let key = match section {
            "cluster.name" => section.to_owned(),
            _ => format!("{section}.{name}"),
        };
        Err(source.error(
            &key,
            format!("`{name}` is no name; use 1 to 64 letters, digits and `.-_`"),
        ))
    }

    fn preferred(
        &self,
        source: &Source,
        group: &str,
        g: &GroupSection,
    ) -> Result<String, FileError> {
        if let Some(name) = &g.preferred {
            return Ok(name.clone());
        }
        let mut preferred = self.members.iter().filter(|(_, m)| m.preferred);
        match (preferred.next(), preferred.next()) {
            (Some((one, _)), None) => Ok(one.clone()),
            (Some((one, _)), Some((other, _))) => Err(source.error(
                &format!("members.{other}.preferred"),
                format!(
                    "`{one}` is preferred already; keep one, and let single groups differ by \
                     `preferred = \"{other}\"` in [groups.{group}]"
                ),
            )),
            (None, _) => Err(source.error(
                &format!("groups.{group}.preferred"),
                format!(
                    "missing; say which candidate gets the group when both can: `preferred = true` \
                     in one [members.NAME], or `preferred = \"NAME\"` in [groups.{group}]"
                ),
            )),
        }
    }

    fn arbitration(&self, source: &Source) -> Result<Arbitration, FileError> {
        match self.cluster.arbitration {
            Some(ArbitrationWord::Majority) => Ok(Arbitration::Majority),
            Some(ArbitrationWord::Survivor) => Ok(Arbitration::Survivor),
            None if self.members.values().any(|m| m.witness) || self.members.len() != 2 => {
                Ok(Arbitration::Majority)
            }
            None => Err(source.error(
                "cluster.arbitration",
                "missing; two members without a witness must choose:\n  \
                 \"survivor\": takes over by itself, but both hold while the network between them is cut\n  \
                 \"majority\": never two holders, but no takeover until you say `onehold presume-dead`",
            )),
        }
    }
}

/// The longest name of an interface: that of an alternative name of it.
const MAX_INTERFACE: usize = 127;

/// Whether an interface can have that name.
fn check_interface(name: &str) -> Result<(), String> {
    if let Some((interface, _)) = name.split_once(':') {
        return Err(format!(
            "is the label of an address and no interface; write \"{interface}\", the interface that it is on"
        ));
    }
    let fine = |c: char| !c.is_whitespace() && c != '/' && c != '\0';
    let dots = name == "." || name == "..";
    if dots || !(1..=MAX_INTERFACE).contains(&name.len()) || !name.chars().all(fine) {
        return Err("can't be an interface; `ip link` lists those of this host".to_owned());
    }
    Ok(())
}

fn parse_prefix(text: &str) -> Result<Prefix, &'static str> {
    let (address, length) = match text.split_once('/') {
        Some((a, l)) => (a, Some(l)),
        None => (text, None),
    };
    let address: IpAddr = address
        .parse()
        .map_err(|_| "is no IP address; write \"10.0.0.50/24\" or \"2001:db8::50/64\"")?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err("can't float: it must be an ordinary address of the network");
    }
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(l) => l
            .parse()
            .map_err(|_| "has no proper prefix length; write \"/24\", \"/64\" or none")?,
    };
    Ok(Prefix { address, length })
}

#[cfg(test)]
pub(crate) mod tests;

//! Everything that is wrong with the text of a cluster's file, on whatever host.
//!
//! `onehold run` ends with the first of these errors, and `onehold check` lists them: both run
//! this.

use super::addresses::{fit, in_full, literal, loopbacks, out_of_reach, unusual};
use super::checks::checks;
use super::hooks::hooks;
use super::local_cluster::{WrittenCluster, prove};
use super::routes;
use super::{ConfigFile, FileError, FloatingAddress, GroupSection, GuardChoice, Source};
use crate::address::{edge_of, is_link_local};
use crate::guard::LEAST_SLACK;
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;
use std::fmt::Display;
use std::net::IpAddr;

/// The longest name of an interface: its alternative names may have this many letters.
const MAX_INTERFACE: usize = 127;

/// What the core has proved of one cluster's text, or everything that is wrong with it.
///
/// # Errors
/// At least one [`FileError`], each with the line, the key and the remedy.
pub(crate) fn decided(cluster: &WrittenCluster) -> Result<Spec, Vec<FileError>> {
    let WrittenCluster { source, file } = cluster;
    let mut wrong = Wrong {
        source,
        all: Vec::new(),
    };
    let spec = wrong.spec_of(file);
    wrong.addresses_of(file);
    if let Err(e) = file.secret_files(source) {
        wrong.all.push(e);
    }
    match spec {
        Some(spec) if wrong.all.is_empty() => Ok(spec),
        _ => Err(wrong.all),
    }
}

/// What else is wrong with the text for one member; `many` if a witness's file has several
/// clusters.
pub(crate) fn for_member(cluster: &WrittenCluster, me: &str, many: bool) -> Vec<FileError> {
    let WrittenCluster { source, file } = cluster;
    let mut wrong = Wrong {
        source,
        all: Vec::new(),
    };
    if file.members.get(me).is_none_or(|m| m.witness) {
        return wrong.all;
    }
    if many {
        wrong.add(
            &format!("members.{me}"),
            "this member is a candidate, and a process that serves several clusters can only be their \
             witness: run this cluster's own file by itself on this host",
        );
        return wrong.all;
    }
    for (group, g) in &file.groups {
        let mut keys: Vec<String> = Vec::new();
        for (n, address) in g.addresses.iter().enumerate() {
            let key = match address.interface {
                None => format!("groups.{group}.interface"),
                Some(_) => format!("groups.{group}.addresses.{n}.interface"),
            };
            if g.interface_of(address, me).is_none() && !keys.contains(&key) {
                wrong.add(
                    &key,
                    format!(
                        "missing for `{me}`; name the interface that the addresses belong to, such as \
                         \"eth0\""
                    ),
                );
                keys.push(key);
            }
        }
        for (key, what) in routes::lack(g, me) {
            wrong.add(&format!("groups.{group}.{key}"), what);
        }
        for twice in twice_on_one(g, me) {
            wrong.add(
                &format!("groups.{group}.addresses"),
                format!("{twice}; an interface has an address once: remove one, or name another interface"),
            );
        }
    }
    let slack = file.timing.spec(file.cluster.arbitration).guard_slack;
    if file.cluster.guard != GuardChoice::None && slack < LEAST_SLACK {
        wrong.add(
            "timing.guard_slack",
            format!("{slack}: must be at least {LEAST_SLACK}: no guard is more punctual"),
        );
    }
    wrong.all
}

/// What was found wrong so far.
struct Wrong<'s> {
    source: &'s Source,
    all: Vec<FileError>,
}

impl Wrong<'_> {
    fn add(&mut self, key: &str, what: impl Display) {
        self.all.push(self.source.error(key, what));
    }

    /// The core's specification, proved as far as possible.
    fn spec_of(&mut self, file: &ConfigFile) -> Option<Spec> {
        self.names_of(file);
        if file.cluster.port == 0 {
            self.add("cluster.port", "0: must be 1 to 65535");
        }
        self.members_of(file);
        let groups = self.groups_of(file);
        let arbitration = self.arbitration_of(file);
        let timing = file.timing.spec(file.cluster.arbitration);
        let whole = self.all.is_empty();
        let member = |(name, m): (&String, &super::MemberSection)| MemberSpec {
            name: name.clone(),
            witness: m.witness,
            addresses: (m.addresses.iter())
                .map(|text| in_full(text, file.cluster.port))
                .collect(),
        };
        let spec = Spec {
            cluster: file.cluster.name.clone(),
            members: file.members.iter().map(member).collect(),
            groups,
            arbitration: arbitration.unwrap_or(Arbitration::Majority),
            timing,
        };
        self.prove(&spec, file, whole);
        Some(spec)
    }

    /// The core reports the first thing that is wrong with the timing, and with the rest if it is
    /// `whole`.
    fn prove(&mut self, spec: &Spec, file: &ConfigFile, whole: bool) {
        let any = file.members.keys().next().map_or("", String::as_str);
        let timing = match spec.prove(any) {
            Err(e) if e.key.starts_with("timing.") => true,
            Err(_) if whole => false,
            _ => return,
        };
        self.all.extend(prove(self.source, spec, any).err());
        if timing && whole {
            let timing = TimingSpec::default();
            let rest = Spec {
                timing,
                ..spec.clone()
            };
            self.all.extend(prove(self.source, &rest, any).err());
        }
    }

    fn names_of(&mut self, file: &ConfigFile) {
        let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        for (section, name) in std::iter::once(("cluster.name", &file.cluster.name))
            .chain(file.members.keys().map(|n| ("members", n)))
            .chain(file.groups.keys().map(|n| ("groups", n)))
        {
            if (1..=64).contains(&name.len()) && name.chars().all(fine) {
                continue;
            }
            let key = match section {
                "cluster.name" => section.to_owned(),
                _ => format!("{section}.{name}"),
            };
            let what = format!("`{name}` can't be a name; use 1 to 64 letters, digits and `.-_`");
            self.add(&key, what);
        }
    }

    fn members_of(&mut self, file: &ConfigFile) {
        for (name, m) in &file.members {
            let key = format!("members.{name}");
            if m.witness && m.preferred {
                let what = "a witness never holds; prefer a candidate";
                self.add(&format!("{key}.preferred"), what);
            }
            if m.addresses.is_empty() {
                let what = "at least one address is needed";
                self.add(&format!("{key}.addresses"), what);
            }
        }
        // Address n of one candidate talks to address n of the other.
        let candidates: Vec<_> = file.members.iter().filter(|(_, m)| !m.witness).collect();
        if let [(a, of_a), (b, of_b)] = candidates[..]
            && of_a.addresses.len() != of_b.addresses.len()
        {
            self.add(
                &format!("members.{b}.addresses"),
                format!(
                    "{} here, but {} for `{a}`: address n of one candidate talks to address n of the \
                     other, so write equally many for both",
                    of_b.addresses.len(),
                    of_a.addresses.len()
                ),
            );
        }
    }

    /// What is wrong with the members' addresses, without resolving any name.
    fn addresses_of(&mut self, file: &ConfigFile) {
        match literal(self.source, file) {
            Err(wrong) => self.all.extend(wrong),
            Ok(all) => {
                self.all.extend(fit(self.source, file, &all));
                let stray = loopbacks(&all).into_iter();
                let error = |(name, n, ip): (String, usize, IpAddr)| {
                    out_of_reach(self.source, file, &name, n, ip)
                };
                self.all.extend(stray.map(error).collect::<Vec<_>>());
            }
        }
    }

    fn groups_of(&mut self, file: &ConfigFile) -> Vec<GroupSpec> {
        let mut groups = Vec::with_capacity(file.groups.len());
        let mut unclear = false;
        for (name, g) in &file.groups {
            for (key, interface) in g.interfaces() {
                for interface in interface.names() {
                    if let Err(what) = check_interface(interface) {
                        let key = format!("groups.{name}.{key}");
                        self.add(&key, format!("`{interface}` {what}"));
                    }
                }
            }
            let mut addresses = Vec::with_capacity(g.addresses.len());
            for (n, address) in g.addresses.iter().enumerate() {
                let text = &address.address;
                match parse_prefix(text) {
                    Ok(prefix) => addresses.push(prefix),
                    Err(what) => {
                        let key = match address.interface {
                            None => format!("groups.{name}.addresses"),
                            Some(_) => format!("groups.{name}.addresses.{n}.address"),
                        };
                        self.add(&key, format!("`{text}` {what}"));
                    }
                }
            }
            for (key, what) in routes::read(g).err().into_iter().flatten() {
                self.add(&format!("groups.{name}.{key}"), what);
            }
            self.all
                .extend(checks(self.source, name, g).err().into_iter().flatten());
            self.all
                .extend(hooks(self.source, name, g).err().into_iter().flatten());
            let preferred = match preferred(file, name, g) {
                Ok(preferred) => preferred,
                Err((key, what)) => {
                    if !std::mem::replace(&mut unclear, true) {
                        self.add(&key, what); // once for all groups
                    }
                    String::new()
                }
            };
            groups.push(GroupSpec {
                name: name.clone(),
                addresses,
                preferred,
                failback: g.failback,
                failback_delay: g.failback_delay.0,
                release_when_unhealthy: g.release_when_unhealthy,
                prepares: g.hooks.before_hold.is_some(),
            });
        }
        groups
    }

    fn arbitration_of(&mut self, file: &ConfigFile) -> Option<Arbitration> {
        match file.cluster.arbitration {
            Some(arbitration) => Some(arbitration),
            None if file.members.values().any(|m| m.witness) || file.members.len() != 2 => {
                Some(Arbitration::Majority)
            }
            None => {
                self.add(
                    "cluster.arbitration",
                    "missing; two members without a witness must choose:\n  \
                     \"survivor\": takes over by itself, but both hold while the network between them is cut\n  \
                     \"majority\": never two holders, but no takeover until you run `onehold presume-dead`",
                );
                None
            }
        }
    }
}

/// The addresses that a group has twice on one interface of a member, in words. (Of those that are
/// not link-local, the core says that.)
fn twice_on_one(g: &GroupSection, me: &str) -> Vec<String> {
    let prefix = |a: &FloatingAddress| parse_prefix(&a.address).ok().map(|p| p.address);
    let all = g.addresses.iter();
    let all = all.filter_map(|a| Some((prefix(a)?, g.interface_of(a, me)?)));
    let all: Vec<(IpAddr, &str)> = all.filter(|(a, _)| is_link_local(*a)).collect();
    let twice = |(n, this): &(usize, &(IpAddr, &str))| all[..*n].contains(this);
    let words = |(_, (address, interface)): (usize, &(IpAddr, &str))| {
        format!("{address} is listed twice on {interface} of `{me}`")
    };
    all.iter().enumerate().filter(twice).map(words).collect()
}

/// The candidate that gets a group when both can; or the key that should say so, and what is wrong
/// with it.
fn preferred(file: &ConfigFile, group: &str, g: &GroupSection) -> Result<String, (String, String)> {
    if let Some(name) = &g.preferred {
        return Ok(name.clone());
    }
    let mut preferred = file.members.iter().filter(|(_, m)| m.preferred);
    match (preferred.next(), preferred.next()) {
        (Some((one, _)), None) => Ok(one.clone()),
        (Some((one, _)), Some((other, _))) => Err((
            format!("members.{other}.preferred"),
            format!(
                "`{one}` is preferred already; keep one of them, and write `preferred = \"{other}\"` in each \
                 [groups.{group}] that should differ"
            ),
        )),
        (None, _) => Err((
            format!("groups.{group}.preferred"),
            format!(
                "missing; which candidate gets the group when both can? Write `preferred = true` in one \
                 [members.NAME], or `preferred = \"NAME\"` in [groups.{group}]"
            ),
        )),
    }
}

/// Whether an interface can have this name.
pub(super) fn check_interface(name: &str) -> Result<(), String> {
    if let Some((interface, _)) = name.split_once(':') {
        return Err(format!(
            "is the label of an address, not an interface; write \"{interface}\", the interface that it is on"
        ));
    }
    let fine = |c: char| !c.is_whitespace() && c != '/' && c != '\0';
    let dots = name == "." || name == "..";
    if dots || !(1..=MAX_INTERFACE).contains(&name.len()) || !name.chars().all(fine) {
        return Err("can't be an interface; `ip link` lists those that this host has".to_owned());
    }
    Ok(())
}

fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let (address, length) = match text.split_once('/') {
        Some((a, l)) => (a, Some(l)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        if text.contains('%') {
            "has a scope id; write it without: `interface` says where it is"
        } else {
            "is not an IP address; write \"10.0.0.50/24\" or \"2001:db8::50/64\""
        }
    })?;
    if address.is_loopback() || unusual(address).is_some() {
        let why = unusual(address).unwrap_or("it means this host itself");
        return Err(format!(
            "can't float: {why}; write an ordinary address of the network"
        ));
    }
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(l) => l
            .parse()
            .map_err(|_| "has a wrong prefix length; write \"/24\", \"/64\" or none")?,
    };
    match edge_of(address, length) {
        Some(what) => Err(format!(
            "can't float: it is {what}, which no machine can have; write the address of a machine"
        )),
        None => Ok(Prefix { address, length }),
    }
}

//! What a member's file says instead of what it said at the beginning.

use crate::error::{Result, err};
use onehold::config_file::Length;
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// `{ of = "lb1", failback_delay = "5s" }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Whose file.
    pub of: String,
    /// Of all groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failback_delay: Option<Length>,
    /// The cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Length>,
    /// The cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Length>,
    /// The first floating address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// All groups by name, each with its floating addresses; any other is not in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<String, Vec<String>>>,
    /// All witnesses by name; any other is not in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witnesses: Option<Vec<String>>,
    /// The cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arbitration: Option<Arbitration>,
}

impl Edit {
    /// It says who the members are, or what it takes to hold.
    #[must_use]
    pub const fn changes_members(&self) -> bool {
        self.witnesses.is_some() || self.arbitration.is_some()
    }

    /// Changes the file.
    ///
    /// # Errors
    /// If what should be an address is not one.
    pub fn apply(&self, spec: &mut Spec) -> Result<()> {
        if let Some(all) = &self.groups {
            let groups = all.iter().map(|(name, all)| group(spec, name, all));
            spec.groups = groups.collect::<Result<_>>()?;
        }
        if let Some(delay) = self.failback_delay {
            let groups = spec.groups.iter_mut();
            groups.for_each(|g| g.failback_delay = delay.0);
        }
        if let Some(interval) = self.interval {
            spec.timing.interval = interval.0;
        }
        if let Some(lease) = self.lease {
            spec.timing.lease = lease.0;
        }
        if let Some(address) = &self.address {
            put_address(spec, address)?;
        }
        if let Some(names) = &self.witnesses {
            spec.members.retain(|m| !m.witness);
            spec.members.extend(names.iter().map(|name| MemberSpec {
                name: name.clone(),
                witness: true,
                addresses: vec![name.clone()],
            }));
        }
        if let Some(arbitration) = self.arbitration {
            spec.arbitration = arbitration;
        }
        Ok(())
    }
}

/// A group with these addresses, and else as it was; a new one prefers the first member.
fn group(spec: &Spec, name: &str, addresses: &[String]) -> Result<GroupSpec> {
    let addresses = addresses.iter().map(|address| {
        let address = parsed(address)?;
        let length = if address.is_ipv4() { 24 } else { 64 };
        Ok(Prefix { address, length })
    });
    let addresses = addresses.collect::<Result<_>>()?;
    let known = spec.groups.iter().find(|g| g.name == name);
    Ok(match known {
        Some(known) => GroupSpec {
            addresses,
            ..known.clone()
        },
        None => GroupSpec::new(name, addresses, &spec.members[0].name),
    })
}

/// Makes this the first floating address.
///
/// # Errors
/// If it is not an address.
pub fn put_address(spec: &mut Spec, address: &str) -> Result<()> {
    spec.groups[0].addresses[0].address = parsed(address)?;
    Ok(())
}

fn parsed(address: &str) -> Result<IpAddr> {
    let what = "is not an IP address; write one such as \"10.0.0.60\"";
    address
        .parse()
        .map_err(|_| err(format!("`{address}` {what}")))
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |key, length: Option<Length>| length.map(|l| format!("{key} = {}", l.0));
        let groups = self.groups.as_ref().map(|all| {
            let of = |(name, all): (&String, &Vec<String>)| format!("{name}: {}", all.join(", "));
            let all: Vec<String> = all.iter().map(of).collect();
            format!("groups {}", all.join("; "))
        });
        let all = [
            length("failback_delay", self.failback_delay),
            length("interval", self.interval),
            length("lease", self.lease),
            self.address.as_ref().map(|a| format!("address = {a}")),
            groups,
            self.witnesses.as_ref().map(|all| match all.as_slice() {
                [] => "that there is no witness".to_owned(),
                all => format!("witnesses {}", all.join(", ")),
            }),
            self.arbitration
                .map(|by| format!("arbitration = {by:?}").to_lowercase()),
        ];
        let all: Vec<String> = all.into_iter().flatten().collect();
        match all.as_slice() {
            [] => write!(f, "the file of {} is as it was", self.of),
            all => write!(f, "the file of {} says {}", self.of, all.join(", ")),
        }
    }
}

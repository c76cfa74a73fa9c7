//! The guard of the former program of this process goes on as it is: what hangs in the kernel stays
//! there, and lets through until the deadlines that it has.
//!
//! What it never does: make or shut a gate.

use super::attached::{self, Attached};
use super::interfaces::Post;
use super::memory::Memory;
use super::{Gate, Guard, Wanted, address, bpf, key, nft};
use crate::address::Link;
use crate::route::Destination;
use crate::upgrade::Inherited;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::RawFd;

/// A guard, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    gate: CarriedGate,
    replaced: Option<attached::Carried>,
    addresses: Vec<IpAddr>,
    earlier: Vec<u32>,
    routes: Vec<Destination>,
    /// The numbers of the interfaces that have it, or should have it.
    posts: Vec<u32>,
    shortcoming: Option<String>,
    pushed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CarriedGate {
    Bpf(attached::Carried),
    Nft(nft::Carried),
    None,
}

impl Carried {
    /// The descriptors that it needs.
    pub(crate) fn fds(&self) -> Vec<RawFd> {
        let (attached, table) = match &self.gate {
            CarriedGate::Bpf(attached) => (Some(attached), None),
            CarriedGate::Nft(table) => (None, Some(table.fd)),
            CarriedGate::None => (None, None),
        };
        let attached = attached.into_iter().chain(&self.replaced);
        attached
            .flat_map(attached::Carried::fds)
            .chain(table)
            .collect()
    }
}

impl Guard {
    /// What goes on in another program of this process.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            gate: match &self.gate {
                Gate::Bpf(attached) => CarriedGate::Bpf(attached.carried()),
                Gate::Nft(table) => CarriedGate::Nft(table.carried()),
                Gate::None => CarriedGate::None,
            },
            replaced: self.replaced.as_ref().map(Attached::carried),
            addresses: self.keys.iter().map(address).collect(),
            earlier: self.earlier.clone(),
            routes: self.memory.routes().to_vec(),
            posts: self.posts.keys().copied().collect(),
            shortcoming: self.shortcoming.clone(),
            pushed: self.pushed.clone(),
        }
    }

    /// The guard of the former program of this process. `all` are the interfaces of this host.
    ///
    /// # Errors
    /// When something of it was not handed over.
    pub(crate) fn inherit(
        wanted: &Wanted<'_>,
        carried: &Carried,
        from: &Inherited,
        all: &[Link],
    ) -> Result<Self, String> {
        let attached = |a: &attached::Carried| Attached::inherit(a, &carried.earlier, from);
        let (gate, clock) = match &carried.gate {
            CarriedGate::Bpf(programs) => {
                let clock = bpf::Clock::load().map_err(|e| e.to_string())?;
                (Gate::Bpf(attached(programs)?), Some(clock))
            }
            CarriedGate::Nft(table) => {
                let table = nft::Table::inherit(wanted.name, table, from)?;
                (Gate::Nft(table), None)
            }
            CarriedGate::None => (Gate::None, None),
        };
        let memory = Memory::open(wanted.state, wanted.name).map_err(|e| e.to_string())?;
        let there = all
            .iter()
            .filter(|link| carried.posts.contains(&link.index));
        let mut guard = Self {
            gate,
            choice: wanted.choice,
            name: wanted.name.to_owned(),
            keys: carried.addresses.iter().copied().map(key).collect(),
            earlier: carried.earlier.clone(),
            former: Vec::new(),
            replaced: carried.replaced.as_ref().map(attached).transpose()?,
            memory,
            posts: there.map(|link| (link.index, Post::on(link))).collect(),
            shortcoming: carried.shortcoming.clone(),
            pushed: carried.pushed.clone(),
            due: Some(LocalTime::from_nanos(0)),
            unfinished: None,
            looked: 0,
            clock,
        };
        guard.memory.expect_routes(&carried.routes);
        guard.remember();
        Ok(guard)
    }
}

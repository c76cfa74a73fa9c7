//! The guard: mutes addresses in the kernel at an absolute instant of `CLOCK_BOOTTIME`.
//!
//! A guarded address is mute until it is given a deadline, and again from that deadline on,
//! whatever became of this process. The gate is never taken away while an address of ours may
//! still be there: it outlives the process, and the next life replaces it by one that is shut.
//!
//! Not guarded: traffic of this host with itself, and interfaces that no group names.

mod bpf;
mod nft;
mod policy;
mod tc;

use crate::address::Link;
pub use crate::clock::boottime;
pub use crate::config_file::GuardChoice;
use crate::netlink::{Doing as _, KernelError, Netlink};
use onehold_core::time::{LocalTime, Span};
use std::net::{IpAddr, Ipv6Addr};

/// An address as the guard knows it: 16 bytes, IPv4 mapped into IPv6.
pub(crate) type Key = [u8; 16];

/// The key of an address.
pub(crate) const fn key(address: IpAddr) -> Key {
    match address {
        IpAddr::V4(a) => a.to_ipv6_mapped().octets(),
        IpAddr::V6(a) => a.octets(),
    }
}

/// The address of a key.
pub(crate) fn address(key: &Key) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(*key)).to_canonical()
}

/// How late, at most, either gate shuts (measured: a third of it).
const PROMISE: Span = Span::from_millis(1);

/// By how much, at most, the gate of nftables ends a hold before its deadline, wherever it runs.
pub(crate) const NFT_ENDS_EARLY: Span = nft::MOST_EARLY;

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The address is effective until the deadline, less what the gate costs.
    Yes,
    /// The process was paused again and again, or too little of the lease is left: nothing has changed.
    TooLate,
}

/// The guard in force.
#[derive(Debug)]
pub(crate) struct Guard {
    gate: Gate,
    /// What everything of ours is called in the kernel.
    name: String,
    /// Every address that must be mute unless held: those configured, and those of earlier lives.
    keys: Vec<Key>,
    /// Interfaces whose clsact came from us, by number.
    made: Vec<u32>,
    /// Why no better gate is in force.
    shortcoming: Option<String>,
    /// BPF's clock, if it ends the leases.
    clock: Option<bpf::Clock>,
}

#[derive(Debug)]
enum Gate {
    Bpf(bpf::Programs),
    Nft(nft::Table),
    None,
}

impl Guard {
    /// Opens the guard `choice` says and shuts it for `keys` on `links`. `links` are those that
    /// are there now; `all` are all interfaces of the host.
    pub(crate) fn open(
        choice: GuardChoice,
        name: &str,
        keys: &[Key],
        slack: Span,
        route: &mut Netlink,
        links: &[Link],
        all: &[Link],
    ) -> Result<Self, KernelError> {
        if choice != GuardChoice::None && slack < PROMISE {
            let doing = format!("timing.guard_slack = {slack}");
            return Err(KernelError::refused(
                doing,
                format!("the guards need at least {PROMISE}"),
            ));
        }
        let mut guard = Self {
            gate: Gate::None,
            name: name.to_owned(),
            keys: keys.to_vec(),
            made: Vec::new(),
            shortcoming: None,
            clock: None,
        };
        for key in guard.earlier(route, all) {
            if !guard.keys.contains(&key) {
                guard.keys.push(key);
            }
        }
        match choice {
            GuardChoice::Bpf => guard.open_bpf(route, links)?,
            GuardChoice::Nft => guard.open_nft(route, links)?,
            GuardChoice::None => {
                let why = "guard = none: a dead or paused daemon keeps the address";
                guard.shortcoming = Some(why.to_owned());
            }
            GuardChoice::Auto => {
                if let Err(bpf) = guard.open_bpf(route, links) {
                    guard.open_nft(route, links).map_err(|nft| {
                        let why = format!("bpf: {bpf}. nft: {nft}. Either will do");
                        KernelError::refused("opening a guard", why)
                    })?;
                    guard.shortcoming = Some(bpf.to_string());
                }
            }
        }
        Ok(guard)
    }

    fn open_bpf(&mut self, route: &mut Netlink, links: &[Link]) -> Result<(), KernelError> {
        let programs = bpf::Programs::load(&self.keys)?;
        let clock = bpf::Clock::load()?;
        clock.agrees()?;
        self.clock = Some(clock);
        self.gate = Gate::Bpf(programs);
        links
            .iter()
            .try_for_each(|link| self.install(route, link, links))
    }

    fn open_nft(&mut self, _route: &mut Netlink, links: &[Link]) -> Result<(), KernelError> {
        let mut table = nft::Table::open(&self.name)?;
        table.replace(&self.keys, links)?;
        self.gate = Gate::Nft(table);
        Ok(())
    }

    /// The addresses that gates of earlier lives guard, of either kind. What can't be read is not
    /// there, or is beyond us: then only their limited lifetime removes those addresses.
    fn earlier(&self, route: &mut Netlink, all: &[Link]) -> Vec<Key> {
        let mut keys = nft::Table::open(&self.name).map_or_else(|_| Vec::new(), |mut t| t.keys());
        for link in all {
            for program in tc::programs_on(route, link.index, &self.name) {
                keys.extend(bpf::keys_of(program).unwrap_or_default());
            }
        }
        keys
    }

    /// What the gate is called: `bpf`, `nft` or `none`.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.gate {
            Gate::Bpf(_) => "bpf",
            Gate::Nft(_) => "nft",
            Gate::None => "none",
        }
    }

    /// Why no better gate is in force, if there is one.
    pub(crate) fn shortcoming(&self) -> Option<&str> {
        self.shortcoming.as_deref()
    }

    /// Every address that is guarded.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether the gate still goes by this process's clock: one that was restored from a checkpoint
    /// may be in another time namespace than before.
    pub(crate) fn same_clock(&self) -> Result<(), KernelError> {
        self.clock.as_ref().map_or(Ok(()), bpf::Clock::agrees)
    }

    /// Puts a gate on `link`, replacing what is there without a moment of none. With nftables
    /// everything is shut afterwards, on all `links`.
    pub(crate) fn install(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        links: &[Link],
    ) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(programs) => {
                let made = tc::clsact(route, link);
                // Whatever fails from here on, it is ours to remove; and a lost answer may have been a yes.
                if !matches!(made, Ok(false)) {
                    self.made.push(link.index);
                }
                made?;
                // That of an earlier life is ours, too.
                if tc::attach(route, link, &self.name, programs)? {
                    self.made.push(link.index);
                }
                Ok(())
            }
            Gate::Nft(table) => table.replace(&self.keys, links),
            Gate::None => Ok(()),
        }
    }

    /// Whether the gate on `link` is in force.
    pub(crate) fn in_force(
        &mut self,
        route: &mut Netlink,
        link: &Link,
    ) -> Result<bool, KernelError> {
        match &mut self.gate {
            Gate::Bpf(programs) => tc::attached(route, link, programs),
            Gate::Nft(table) => Ok(table.gates(link)),
            Gate::None => Ok(true),
        }
    }

    /// Lets `keys` be effective until `deadline`, less what the gate costs.
    pub(crate) fn hold(&mut self, keys: &[Key], deadline: LocalTime) -> Result<Held, KernelError> {
        match &mut self.gate {
            Gate::Bpf(programs) => set(programs, keys, deadline)?,
            Gate::Nft(table) => return table.hold(keys, deadline),
            Gate::None => {}
        }
        Ok(Held::Yes)
    }

    /// By how much a hold of this length ends before its deadline, at most.
    pub(crate) fn ends_early(&self, lease: Span) -> Span {
        match &self.gate {
            Gate::Nft(table) => table.ends_early(lease),
            Gate::Bpf(_) | Gate::None => Span::ZERO,
        }
    }

    /// Mutes `keys` now.
    pub(crate) fn shut(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(programs) => set(programs, keys, LocalTime::from_nanos(0)),
            Gate::Nft(table) => table.shut(keys),
            Gate::None => Ok(()),
        }
    }

    /// once no address of an earlier life is left: guards only `keys` from now on, and takes
    /// away what earlier lives left behind elsewhere, or of the other kind.
    pub(crate) fn settle(
        &mut self,
        route: &mut Netlink,
        keys: &[Key],
        links: &[Link],
        all: &[Link],
    ) -> Result<(), KernelError> {
        let old: Vec<Key> = self
            .keys
            .iter()
            .filter(|k| !keys.contains(*k))
            .copied()
            .collect();
        match &mut self.gate {
            Gate::Bpf(programs) => {
                for key in &old {
                    programs
                        .forget(key)
                        .doing(|| format!("forgetting {}", address(key)))?;
                }
            }
            Gate::Nft(table) if !old.is_empty() => table.forget(&old)?,
            Gate::Nft(_) | Gate::None => {}
        }
        self.keys.retain(|k| keys.contains(k));
        for link in all {
            if !matches!(self.gate, Gate::Bpf(_)) || !links.contains(link) {
                let there = !tc::programs_on(route, link.index, &self.name).is_empty();
                let made = there || self.made.contains(&link.index);
                tc::detach(route, link, &self.name, made)?;
            }
        }
        if !matches!(self.gate, Gate::Nft(_))
            && let Ok(mut table) = nft::Table::open(&self.name)
        {
            // Where there is no nftables there is nothing to remove.
            let _ = table.remove();
        }
        Ok(())
    }

    /// Takes the gate away. Only once no address of ours is left.
    pub(crate) fn close(mut self, route: &mut Netlink, links: &[Link]) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(_) => {
                for link in links {
                    tc::detach(route, link, &self.name, self.made.contains(&link.index))?;
                }
                Ok(())
            }
            Gate::Nft(table) => table.remove(),
            Gate::None => Ok(()),
        }
    }
}

fn set(programs: &bpf::Programs, keys: &[Key], deadline: LocalTime) -> Result<(), KernelError> {
    keys.iter().try_for_each(|key| {
        programs
            .set(key, deadline)
            .doing(|| match deadline.as_nanos() {
                0 => muting(key),
                _ => format!("renewing the lease of {}", address(key)),
            })
    })
}

fn muting(key: &Key) -> String {
    format!("muting {}", address(key))
}

//! The guard: mutes addresses in the kernel at an absolute instant of `CLOCK_BOOTTIME`.
//!
//! A guarded address is mute until it is given a deadline, and again from that deadline on,
//! whatever happened to this process. The gate is never taken away while one of our addresses may
//! still be there: it outlives the process, and the next incarnation replaces it by one that is
//! shut.
//!
//! It hangs on every Ethernet interface of the host, for Linux answers ARP on each of them for all
//! its addresses; on what joins interfaces (a bridge, a bond) and not on its parts. And it is the
//! first to be asked there: a gate before which others decide is not one.
//!
//! Not guarded: traffic of this host with itself, what an XDP program answers, and interfaces that
//! are not Ethernet's (WireGuard, tun).

mod attached;
mod bpf;
mod carried;
mod changing;
mod interfaces;
mod looks;
mod memory;
mod nft;
mod pace;
mod policy;
mod removal;
mod tc;
mod tcx;

use crate::address::{self, Link};
pub use crate::clock::boottime;
pub use crate::config_file::GuardChoice;
use crate::netlink::{Doing as _, KernelError, Netlink};
use crate::route::Destination;
use attached::Attached;
pub(crate) use attached::Standing;
pub use carried::Carried;
use interfaces::Post;
pub(crate) use interfaces::{AT_A_TIME, Tended};
pub(crate) use looks::{Asked, asked_before, bpf_could, described, nft_could};
use memory::{Memory, Written};
use onehold_core::time::{LocalTime, Span};
use pace::Turn;
pub(crate) use removal::remove_left;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

/// An address as the guard knows it: 16 bytes, IPv4 mapped into IPv6.
pub(crate) type Key = [u8; 16];

/// On what interface a gate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a group's.
    Own,
    /// On any other, where the same link-local address is a different one.
    Elsewhere,
}

/// Whether what is mute on other interfaces differs.
fn differs_elsewhere(keys: &[Key]) -> bool {
    let mut all = keys.iter().map(address);
    all.any(|a| a.is_ipv6() && address::is_link_local(a))
}

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

/// How many programs of earlier incarnations are remembered, the youngest of them.
const REMEMBERED: usize = 64;

/// How late, at most, either gate shuts (measured: a third of it): a smaller slack is not enough.
pub(crate) const LEAST_SLACK: Span = Span::from_millis(1);

/// By how much, at most, the gate of nftables ends a hold before its deadline, wherever it runs.
pub(crate) const NFT_ENDS_EARLY: Span = nft::MOST_EARLY;

/// The result of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// The address is effective until the deadline, less what the gate costs.
    Yes,
    /// The process was paused again and again, or too little of the lease is left: nothing has
    /// changed.
    TooLate,
}

/// The guard in force.
#[derive(Debug)]
pub(crate) struct Guard {
    gate: Gate,
    choice: GuardChoice,
    /// The name of everything that we make in the kernel.
    name: String,
    /// Every address that must be mute unless held: those configured, and those of earlier
    /// incarnations.
    keys: Vec<Key>,
    /// Programs that earlier incarnations left: here, or on an interface that is elsewhere and may
    /// come back.
    earlier: Vec<u32>,
    /// The names of this cluster in incarnations that have left something.
    former: Vec<String>,
    /// Our BPF gate that another one has replaced; it is taken off once no address is left.
    replaced: Option<Attached>,
    memory: Memory,
    /// The interfaces that have the gate, or should have it, by number.
    posts: BTreeMap<u32, Post>,
    /// Why no better gate is in force.
    shortcoming: Option<String>,
    /// Which program made us fall back from BPF in this incarnation.
    pushed: Option<String>,
    /// When to check whether it still stands first.
    due: Option<LocalTime>,
    /// Since when some new interfaces have had no gate yet.
    unfinished: Option<LocalTime>,
    /// The last of the interfaces that were looked at the last time.
    looked: u32,
    /// BPF's clock, if it ends the leases.
    clock: Option<bpf::Clock>,
}

#[derive(Debug)]
enum Gate {
    Bpf(Attached),
    Nft(nft::Table),
    None,
}

/// What should be guarded, and how.
pub(crate) struct Wanted<'a> {
    /// Which guard.
    pub(crate) choice: GuardChoice,
    /// The name of everything that we make in the kernel.
    pub(crate) name: &'a str,
    /// The addresses.
    pub(crate) keys: &'a [Key],
    /// The routes that may be there because of us: written down as the addresses are.
    pub(crate) routes: &'a [Destination],
    /// How late it may shut.
    pub(crate) slack: Span,
    /// The directories in which incarnations leave information for later ones.
    pub(crate) state: &'a [&'a Path],
}

impl Guard {
    /// Opens the guard and shuts it for all addresses on `links`, the groups' own interfaces as far
    /// as they are there, and on all others of the host, `all`, that can carry the addresses'
    /// traffic.
    pub(crate) fn open(
        wanted: &Wanted<'_>,
        route: &mut Netlink,
        links: &[Link],
        all: &[Link],
    ) -> Result<Self, KernelError> {
        let Wanted { choice, slack, .. } = *wanted;
        changing::check_slack(choice, slack)?;
        let mut guard = Self {
            gate: Gate::None,
            choice,
            name: wanted.name.to_owned(),
            keys: wanted.keys.to_vec(),
            earlier: Vec::new(),
            former: Vec::new(),
            replaced: None,
            memory: Memory::open(wanted.state, wanted.name)?,
            posts: BTreeMap::new(),
            shortcoming: None,
            pushed: None,
            due: None,
            unfinished: None,
            looked: 0,
            clock: None,
        };
        guard.memory.expect_routes(wanted.routes);
        guard.take_over(route, all)?;
        match choice {
            GuardChoice::Bpf => guard.open_bpf(route, links)?,
            GuardChoice::Nft => guard.open_nft(links, &[])?,
            GuardChoice::None => {
                let why = "guard = none: a dead or paused daemon keeps the address";
                guard.shortcoming = Some(why.to_owned());
                guard.remember();
            }
            GuardChoice::Auto => {
                if let Err(bpf) = guard.open_bpf(route, links) {
                    guard.open_nft(links, &[]).map_err(|nft| {
                        let why = format!("bpf: {bpf}. nft: {nft}. Either will do");
                        KernelError::refused("opening a guard", why)
                    })?;
                    guard.shortcoming = Some(bpf.to_string());
                }
            }
        }
        guard.tend(route, links, all, LocalTime::from_nanos(u64::MAX));
        Ok(guard)
    }

    fn open_bpf(&mut self, route: &mut Netlink, links: &[Link]) -> Result<(), KernelError> {
        let mut attached = Attached::load(&self.keys, &self.earlier, &mut self.memory)?;
        let clock = bpf::Clock::load()?;
        clock.agrees()?;
        for link in links {
            self.post(link);
            if let Err(e) = attached.put_first(route, link, Place::Own, &self.name) {
                self.replaced = Some(attached); // it may hang on others already
                return Err(e);
            }
        }
        self.gate = Gate::Bpf(attached);
        self.clock = Some(clock);
        Ok(())
    }

    fn open_nft(&mut self, links: &[Link], others: &[Link]) -> Result<(), KernelError> {
        let mut table = nft::Table::open(&self.name)?;
        table.replace(&self.keys, links, others)?;
        self.gate = Gate::Nft(table);
        self.remember();
        Ok(())
    }

    /// Writes down what is guarded, and which programs are our gate or an earlier incarnation's;
    /// returns whether a later incarnation will know.
    fn remember(&mut self) -> bool {
        let gate = match &self.gate {
            Gate::Bpf(attached) => Some(attached),
            Gate::Nft(_) | Gate::None => None,
        };
        let ours = gate.into_iter().chain(&self.replaced);
        let programs = ours.flat_map(Attached::ids).chain(self.earlier.clone());
        let programs = programs.collect();
        let keys = self.keys.clone();
        self.memory.write(Written {
            keys,
            programs,
            ..Written::default()
        })
    }

    /// Finds the gates that earlier incarnations left, and guards what they guard: an address of
    /// theirs may still be there. What can't be read is not empty.
    fn take_over(&mut self, route: &mut Netlink, all: &[Link]) -> Result<(), KernelError> {
        let known = self.memory.earlier().cloned();
        let mut written = known.clone().unwrap_or_default();
        for (name, left) in self.memory.former(&self.keys)? {
            written.keys.extend(left.keys);
            written.programs.extend(left.programs);
            self.memory.expect_routes(&left.routes);
            self.former.push(name);
        }
        let mut keys = written.keys;
        let mut unread = false;
        let names: Vec<&String> = self.former.iter().chain([&self.name]).collect();
        for name in &names {
            keys.extend(nft::Table::open(name).map_or_else(|_| Vec::new(), |mut t| t.keys()));
        }
        for link in all {
            let rows = attached::earlier_in_rows(link, &written.programs, &self.keys);
            let mut filters = Vec::new();
            for name in &names {
                filters.extend(tc::programs_on(route, link.index, name));
            }
            for program in rows.iter().chain(&filters) {
                match bpf::Known::by_id(*program).and_then(|gate| gate.keys()) {
                    Ok(theirs) => keys.extend(theirs),
                    Err(_) => unread = true,
                }
            }
            self.earlier.extend(rows);
        }
        if unread && known.is_none() {
            // Whatever an earlier incarnation put here and did not take away has its marks.
            let there = address::list(route)?;
            let marked = there.iter().filter(|a| a.is_surely_ours());
            keys.extend(marked.map(|a| key(a.address)));
        }
        for key in keys {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
        self.earlier.extend(written.programs);
        self.earlier.sort_unstable();
        self.earlier.dedup();
        let oldest = self.earlier.len().saturating_sub(REMEMBERED);
        self.earlier.drain(..oldest);
        self.find_doubtful(known.is_some(), all);
        Ok(())
    }

    /// A program that an earlier incarnation left and nobody wrote down looks like any other to a
    /// process that may not read it; and what it drops is dropped, whatever our gate lets pass.
    fn find_doubtful(&mut self, known: bool, all: &[Link]) {
        let unreadable = all.iter().flat_map(attached::unreadable_in_rows);
        let mut doubtful: Vec<u32> = unreadable.collect();
        let handed_on = self.memory.doubtful().to_vec();
        doubtful.retain(|id| {
            (!known || handed_on.contains(id))
                && !self.earlier.contains(id)
                && self.memory.gate(*id).is_none()
        });
        self.memory.doubt(doubtful);
    }

    /// What may keep addresses mute on an interface whatever this incarnation does, and can't be
    /// known.
    pub(crate) fn doubt(&self, link: &Link) -> Option<String> {
        let doubtful = self.memory.doubtful();
        if doubtful.is_empty() {
            return None;
        }
        let there = attached::unreadable_in_rows(link);
        let id = there.into_iter().find(|id| doubtful.contains(id))?;
        Some(format!(
            "BPF program {id} on {name} may be a gate that an earlier incarnation of this daemon left there, and mute \
             what is held here: which ones were its was not found (see --state and --orders), and this process \
             may not read it. Does `bpftool prog show id {id}` call it `onehold`, or can't you tell: stop this \
             daemon, start it for a moment as root by hand (`onehold run`, with CAP_SYS_ADMIN), which clears \
             this up, and then as before; or reboot",
            name = link.name
        ))
    }

    /// The gate's name: `bpf`, `nft` or `none`.
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

    /// Every route that may be there because of this cluster.
    pub(crate) fn routes(&self) -> &[Destination] {
        self.memory.routes()
    }

    /// Where the gate stands on `link`.
    pub(crate) fn standing(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        place: Place,
    ) -> Result<Standing, KernelError> {
        let standing = match &mut self.gate {
            Gate::Bpf(attached) => {
                attached.standing(route, link, place, &self.memory, &self.keys)?
            }
            Gate::Nft(table) => match table.gates(link, place) {
                true => Standing::First,
                false => Standing::Absent,
            },
            Gate::None => Standing::First,
        };
        if standing == Standing::First
            && let Some(post) = self.posts.get_mut(&link.index)
        {
            post.fault = None;
        }
        Ok(standing)
    }

    /// Puts the gate first on `link`, one of the groups' own interfaces `links`, without a moment
    /// of none; or lets nftables decide where others want to be asked before. With nftables
    /// everything is shut afterwards, on all interfaces.
    pub(crate) fn repair(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        standing: &Standing,
        links: &[Link],
    ) -> Result<(), KernelError> {
        let turn = self.post(link).pace.turn(standing, boottime());
        let doing = || format!("keeping the gate on {}", link.name);
        match (turn, standing) {
            (Turn::Repair, _) => {
                let put = self.put_first(route, link, links);
                self.post(link).fault = put.as_ref().err().map(ToString::to_string);
                put
            }
            (_, Standing::Behind(who))
                if turn == Turn::Wait || self.choice != GuardChoice::Auto =>
            {
                let why = format!(
                    "{who} is asked before it and may decide; detach that, or attach it after"
                );
                Err(KernelError::refused(doing(), why))
            }
            (_, Standing::Behind(who)) => {
                let who = format!(
                    "on {} {who} is asked before a BPF gate and may decide",
                    link.name
                );
                self.fall_back(route, links)
                    .map_err(|nft| KernelError::refused(doing(), format!("{who}; nft: {nft}")))?;
                self.pushed = Some(format!(
                    "{who}; so nftables decides, about what that lets pass: find out what puts it there, \
                     and restart onehold once it is gone"
                ));
                self.shortcoming = Some(who);
                Ok(())
            }
            (_, Standing::Absent | Standing::First) => {
                let why = "somebody takes it away again and again; it is put back once a second";
                let refused = self.post(link).fault.clone();
                let why = refused.unwrap_or_else(|| why.to_owned());
                Err(KernelError::refused(doing(), why))
            }
        }
    }

    /// From BPF to nftables, which is asked after what arrives and before what leaves.
    fn fall_back(&mut self, route: &mut Netlink, links: &[Link]) -> Result<(), KernelError> {
        let Gate::Bpf(attached) = std::mem::replace(&mut self.gate, Gate::None) else {
            return Ok(());
        };
        let others = self.others(links);
        // On the others it is not worth the groups' own: `tend` puts it there as far as it can.
        let opened = self.open_nft(links, &others);
        if let Err(e) = opened.or_else(|_| self.open_nft(links, &[])) {
            self.gate = Gate::Bpf(attached);
            return Err(e);
        }
        self.doubt_all();
        let own = links.iter().map(|link| (link, Place::Own));
        let others = others.iter().map(|link| (link, Place::Elsewhere));
        for (link, place) in own.chain(others) {
            // What stays drops what nftables drops, or more; and goes at the end of this
            // incarnation.
            if let Gate::Nft(table) = &mut self.gate
                && table.gates(link, place)
            {
                let _ = attached.take_off(route, link, &self.name);
            }
        }
        self.replaced = Some(attached);
        Ok(())
    }

    /// Whether the gate still goes by this process's clock: one that was restored from a checkpoint
    /// may be in another time namespace than before.
    pub(crate) fn same_clock(&self) -> Result<(), KernelError> {
        self.clock.as_ref().map_or(Ok(()), bpf::Clock::agrees)
    }

    fn put_first(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        links: &[Link],
    ) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(attached) => attached.put_first(route, link, Place::Own, &self.name),
            Gate::Nft(_) => self.replace(links),
            Gate::None => Ok(()),
        }
    }

    /// Lets `keys` be effective until `deadline`, less what the gate costs.
    pub(crate) fn hold(&mut self, keys: &[Key], deadline: LocalTime) -> Result<Held, KernelError> {
        match &mut self.gate {
            Gate::Bpf(attached) => set(&mut attached.deadlines, keys, deadline)?,
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
            Gate::Bpf(attached) => set(&mut attached.deadlines, keys, LocalTime::from_nanos(0)),
            Gate::Nft(table) => table.shut(keys),
            Gate::None => Ok(()),
        }
    }

    /// once nothing of an earlier incarnation is left: guards only `keys` from now on, remembers only `routes`, and
    /// takes away what earlier incarnations left behind elsewhere, or of the other kind.
    pub(crate) fn settle(
        &mut self,
        route: &mut Netlink,
        keys: &[Key],
        routes: &[Destination],
        all: &[Link],
    ) -> Result<(), KernelError> {
        self.forget_but(keys, routes)?;
        for link in all {
            if let Some(replaced) = &self.replaced {
                replaced.take_off(route, link, &self.name)?;
            }
            let ours = matches!(self.gate, Gate::Bpf(_)) && self.posts.contains_key(&link.index);
            attached::rows_without(link, &self.earlier)?;
            if !ours {
                tc::detach(route, link, &self.name, false)?;
            }
            for name in &self.former {
                tc::detach(route, link, name, false)?;
            }
        }
        self.replaced = None;
        self.remember();
        for name in std::mem::take(&mut self.former) {
            if let Ok(mut table) = nft::Table::open(&name) {
                let _ = table.remove();
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

    /// Takes the gate away. Only once none of our addresses is left.
    pub(crate) fn close(mut self, route: &mut Netlink) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(attached) => {
                // On an interface that is elsewhere it stays: it should mute nothing there.
                for key in &self.keys {
                    let _ = attached.deadlines.forget(key);
                }
                for post in self.posts.values() {
                    attached.take_off(route, &post.link, &self.name)?;
                }
            }
            Gate::Nft(table) => table.remove()?,
            Gate::None => {}
        }
        for post in self.posts.values() {
            if let Some(replaced) = &self.replaced {
                replaced.take_off(route, &post.link, &self.name)?;
            }
        }
        // An interface that is elsewhere has it still, and may come back.
        self.keys.clear();
        self.memory.forget_routes(&[]);
        self.remember();
        Ok(())
    }
}

fn set(deadlines: &mut bpf::Deadlines, keys: &[Key], until: LocalTime) -> Result<(), KernelError> {
    keys.iter().try_for_each(|key| {
        deadlines.set(key, until).doing(|| match until.as_nanos() {
            0 => muting(key),
            _ => format!("renewing the lease of {}", address(key)),
        })
    })
}

fn muting(key: &Key) -> String {
    format!("muting {}", address(key))
}

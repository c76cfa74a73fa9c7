//! Everything that the daemon asks of the Linux kernel, behind one door.
//!
//! What it never does: let an address be effective without a deadline (but with `guard = none`),
//! take the gate away from an address that may be there, or trust its memory of the kernel's
//! state where the kernel can be asked. A netlink notification is only a hint to look.

use crate::address::{self, Link};
use crate::announce::{Claim, Mac, Port, Schedule};
use crate::guard::{Guard, Key, key};
pub use crate::guard::{GuardChoice, boottime};
pub use crate::netlink::KernelError;
use crate::netlink::{Netlink, Watch};
use onehold_core::advert::GroupId;
use onehold_core::config::Prefix;
use onehold_core::time::{LocalTime, Span};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// By how much an address outlives its lease when nobody is left to remove it; its lifetime is
/// renewed when only [`LIFETIME_LEFT`] of that remains beyond the lease.
const LIFETIME: Span = Span::from_millis(6_000);
const LIFETIME_LEFT: Span = Span::from_millis(2_000);
/// After what time something that failed is tried again.
const RETRY: Span = Span::from_millis(1_000);
/// How often a group's foreign claims are told at most.
const CLAIMS_APART: Span = Span::from_millis(1_000);
/// Most events that wait for the driver; more are dropped, for each is a hint to people or will
/// come again.
const MAX_EVENTS: usize = 64;

/// A group of addresses on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelGroup {
    /// Its name, for errors.
    pub name: String,
    /// The interface that its addresses belong to.
    pub interface: String,
    /// Its addresses; their prefix length does not matter here.
    pub addresses: Vec<Prefix>,
}

/// Something that happened in the kernel or on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KernelEvent {
    /// Whether a group could be served from here. Told once at the beginning, then on change.
    Eligible {
        /// Which group.
        group: GroupId,
        /// Yes, or why not.
        eligible: Result<(), String>,
    },
    /// Somebody removed an address of a held group; it is there again.
    AddressPutBack {
        /// Which group.
        group: GroupId,
        /// The address.
        address: IpAddr,
    },
    /// Somebody else put an address of a group that is not held on this host. It is mute, where
    /// there is a guard.
    AddressForeign {
        /// Which group.
        group: GroupId,
        /// The address.
        address: IpAddr,
    },
    /// Somebody removed the gate of an interface; it is there again.
    GateRestored {
        /// Which interface.
        interface: String,
    },
    /// Somebody else on the network says that it has the address.
    ForeignClaim {
        /// Which group.
        group: GroupId,
        /// The address.
        address: IpAddr,
        /// The other's hardware address.
        mac: Mac,
    },
}

#[derive(Debug)]
struct Group {
    name: String,
    interface: usize,
    addresses: Vec<IpAddr>,
    keys: Vec<Key>,
    hold: Option<Hold>,
    announcing: Option<Schedule>,
    /// When a foreign claim was last told.
    claimed: Option<LocalTime>,
    /// What the driver was last told.
    told: Option<Result<(), String>>,
}

/// An address that was put on the interface.
#[derive(Clone, Copy, Debug)]
struct Hold {
    deadline: LocalTime,
    /// When the kernel removes the addresses by itself.
    valid_until: LocalTime,
}

#[derive(Debug)]
struct Interface {
    name: String,
    addresses: Vec<IpAddr>,
    /// The interface as it is, if it is there.
    link: Option<Link>,
    /// Why it has no gate or no packet socket, if so.
    fault: Option<String>,
    port: Option<Port>,
}

impl Interface {
    fn eligible(&self) -> Result<(), String> {
        let link = self.link.as_ref();
        let why = match (&self.fault, link.map(|link| link.fault)) {
            (Some(fault), _) => fault,
            (None, None) => "there is no such interface",
            (None, Some(Some(fault))) => fault,
            (None, Some(None)) => return Ok(()),
        };
        Err(format!("{}: {why}", self.name))
    }
}

/// The kernel's side of all groups. One owner, all calls block shortly.
#[derive(Debug)]
pub struct Kernel {
    route: Netlink,
    watch: AsyncFd<Watch>,
    scratch: Vec<u8>,
    guard: Guard,
    groups: Vec<Group>,
    interfaces: Vec<Interface>,
    lease: Span,
    events: VecDeque<KernelEvent>,
    /// Addresses that others have put here, as far as told.
    foreign: Vec<IpAddr>,
    /// When to look at the kernel's state again without being told to.
    retry: Option<LocalTime>,
}

impl Kernel {
    /// Opens the sockets and shuts the gate for all addresses, on all interfaces that are there.
    /// The index of a group is its [`GroupId`]; `instance` tells this member's objects in the
    /// kernel from another cluster's, and must be the same in its next life. `slack` is how late
    /// the gate may shut, `lease` the longest span that is ever held for. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses something; a missing interface is no error.
    pub fn open(
        instance: &str,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
        slack: Span,
        lease: Span,
    ) -> Result<Self, KernelError> {
        let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
        let watch = Watch::route(&[
            libc::RTNLGRP_LINK,
            libc::RTNLGRP_TC,
            libc::RTNLGRP_IPV4_IFADDR,
            libc::RTNLGRP_IPV6_IFADDR,
        ])?;
        let (groups, interfaces) = arrange(groups);
        let all = address::links(&mut route)?;
        let links: Vec<Link> = all
            .iter()
            .filter(|link| link.ethernet && interfaces.iter().any(|i| i.name == link.name))
            .cloned()
            .collect();
        let keys: Vec<Key> = groups.iter().flat_map(|g| &g.keys).copied().collect();
        let name = format!("onehold-{instance}");
        let guard = Guard::open(choice, &name, &keys, slack, &mut route, &links, &all)?;
        let mut kernel = Self {
            route,
            watch,
            scratch: Vec::with_capacity(1 << 16),
            guard,
            groups,
            interfaces,
            lease,
            events: VecDeque::new(),
            foreign: Vec::new(),
            retry: None,
        };
        for link in links {
            kernel.settle_on(link);
        }
        Ok(kernel)
    }

    /// mutes every address, those of earlier lives too, and removes them all; confirmed.
    ///
    /// # Errors
    /// When the kernel refuses; it can be tried again.
    pub fn scrub(&mut self) -> Result<(), KernelError> {
        for group in &mut self.groups {
            group.hold = None;
            group.announcing = None;
        }
        let keys = self.guard.keys().to_vec();
        let addresses: Vec<IpAddr> = keys.iter().map(crate::guard::address).collect();
        self.guard.shut(&keys)?;
        address::remove(&mut self.route, &addresses)?;
        let all = address::links(&mut self.route)?;
        let links = self.links();
        let keys: Vec<Key> = self.groups.iter().flat_map(|g| &g.keys).copied().collect();
        self.guard.settle(&mut self.route, &keys, &links, &all)
    }

    /// Whether a group could be served from here, or why not.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn eligible(&self, id: GroupId) -> Result<(), String> {
        self.interfaces[self.groups[usize::from(id.0)].interface].eligible()
    }

    /// Which guard is in force: `bpf`, `nft` or `none`.
    #[must_use]
    pub const fn guard_name(&self) -> &'static str {
        self.guard.kind()
    }

    /// Why no better guard is in force, if there is one.
    #[must_use]
    pub fn guard_shortcoming(&self) -> Option<&str> {
        self.guard.shortcoming()
    }

    /// What on this host lets the addresses be seen where no gate is: Linux answers ARP for all its
    /// addresses on every interface. To be told to the operator.
    ///
    /// # Errors
    /// When the kernel refuses to list its interfaces.
    pub fn exposures(&mut self) -> Result<Vec<String>, KernelError> {
        let ignores = |name: &str| {
            let path = format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore");
            std::fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
        };
        let mut links = address::links(&mut self.route)?;
        links.retain(|l| l.ethernet && !self.interfaces.iter().any(|i| i.name == l.name));
        links.retain(|l| !ignores("all") && !ignores(&l.name));
        let advice = |Link { name, .. }: Link| {
            format!(
                "{name} answers ARP for the floating addresses too, unguarded; say \
                 `sysctl net.ipv4.conf.{name}.arp_ignore=1`"
            )
        };
        Ok(links.into_iter().map(advice).collect())
    }

    /// gate shut, addresses added if they are not there, deadline set, in this order. While
    /// the group is held only the deadline moves.
    ///
    /// # Errors
    /// When the group can't be held now; it must be released then.
    pub fn hold_until(&mut self, id: GroupId, deadline: LocalTime) -> Result<(), KernelError> {
        let Self {
            groups,
            interfaces,
            guard,
            route,
            lease,
            ..
        } = self;
        let group = &mut groups[usize::from(id.0)];
        let interface = &interfaces[group.interface];
        let Some(link) = interface
            .link
            .as_ref()
            .filter(|_| interface.fault.is_none())
        else {
            let why = interface.eligible().err().unwrap_or_default();
            return Err(KernelError::refused(format!("holding {}", group.name), why));
        };
        let hold = match group.hold.take() {
            Some(hold) if deadline.plus(LIFETIME_LEFT) <= hold.valid_until => hold,
            held => {
                if held.is_none() {
                    guard.shut(&group.keys)?;
                }
                let lifetime = lease.plus(LIFETIME);
                let valid_until = boottime().plus(lifetime);
                for address in &group.addresses {
                    address::add(route, link, *address, lifetime)?;
                }
                Hold {
                    deadline,
                    valid_until,
                }
            }
        };
        group.hold = Some(Hold { deadline, ..hold });
        if let Err(e) = guard.hold(&group.keys, deadline) {
            // The one cause that we can mend: somebody took the gate away.
            if guard.in_force(route, link)? {
                return Err(e);
            }
            self.look();
            let group = &self.groups[usize::from(id.0)];
            self.guard.hold(&group.keys, deadline)?;
        }
        Ok(())
    }

    /// gate shut, addresses removed, both confirmed. Does no harm to a group that is not
    /// held, and can be tried again.
    ///
    /// # Errors
    /// When the kernel did not confirm: then the address may still be effective until the
    /// deadline that it last got.
    pub fn release(&mut self, id: GroupId) -> Result<(), KernelError> {
        let group = &mut self.groups[usize::from(id.0)];
        group.announcing = None;
        group.hold = None;
        let shut = self.guard.shut(&group.keys);
        address::remove(&mut self.route, &group.addresses)?;
        if shut.is_err() {
            self.look();
            let group = &self.groups[usize::from(id.0)];
            return self.guard.shut(&group.keys);
        }
        Ok(())
    }

    /// tells the neighbours now, and goes on doing so until the group is released.
    pub fn announce(&mut self, id: GroupId, now: LocalTime) {
        let group = &mut self.groups[usize::from(id.0)];
        if group.hold.is_some() {
            group.announcing = Some(Schedule::starting(now));
        }
        self.wake(now);
    }

    /// When [`Self::wake`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<LocalTime> {
        let announcements = self
            .groups
            .iter()
            .filter_map(|g| Some(g.announcing?.next()));
        announcements.chain(self.retry).min()
    }

    /// Does what is due.
    pub fn wake(&mut self, now: LocalTime) {
        for group in &mut self.groups {
            let Some(schedule) = &mut group.announcing else {
                continue;
            };
            if !schedule.due(now) {
                continue;
            }
            if let Some(port) = &self.interfaces[group.interface].port {
                for address in &group.addresses {
                    // What could not be sent is sent again; why is told by rtnetlink.
                    let _ = port.announce(*address);
                }
            }
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.look();
        }
    }

    /// The next event. Nothing is lost when the future is dropped.
    pub async fn event(&mut self) -> KernelEvent {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<KernelEvent> {
        let mut hint = self.groups.iter().any(|g| g.told.is_none());
        while let Poll::Ready(Ok(mut ready)) = self.watch.poll_read_ready(cx) {
            let scratch = &mut self.scratch;
            hint |= ready.try_io(|watch| watch.get_ref().drain(scratch)).is_ok();
        }
        if hint {
            self.look();
        }
        self.poll_claims(cx);
        self.events.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_claims(&mut self, cx: &mut Context<'_>) {
        let mut room = MAX_EVENTS;
        for at in 0..self.interfaces.len() {
            while let Some(port) = &self.interfaces[at].port
                && let Some(Claim { address, mac }) = port.poll_claim(cx)
            {
                self.claimed(address, mac);
                room -= 1;
                if room == 0 {
                    cx.waker().wake_by_ref(); // a flood: let others have their turn
                    return;
                }
            }
        }
    }

    /// Tells of a claim, but of no two in a second: two who each answer the other's
    /// announcements would never stop.
    fn claimed(&mut self, address: IpAddr, mac: Mac) {
        let now = boottime();
        let Some(group) = self.group_of(address) else {
            return;
        };
        let claimed = &mut self.groups[usize::from(group.0)].claimed;
        if claimed.is_none_or(|last| now >= last.plus(CLAIMS_APART)) {
            *claimed = Some(now);
            self.push(KernelEvent::ForeignClaim {
                group,
                address,
                mac,
            });
        }
    }

    /// Leaves no address, gate, qdisc or table of ours behind.
    ///
    /// # Errors
    /// When the kernel refuses: then the gate stays for as long as an address may be there.
    pub fn close(mut self) -> Result<(), KernelError> {
        for id in self.ids() {
            self.release(id)?;
        }
        let links: Vec<Link> = self.links();
        self.guard.close(&mut self.route, &links)
    }

    // What the kernel's state is, and making it what it should be.

    /// Looks at everything that we depend on, mends what can be mended, and tells what changed.
    fn look(&mut self) {
        self.retry = None;
        if let Err(e) = self.try_look() {
            self.retry = Some(boottime().plus(RETRY));
            for interface in &mut self.interfaces {
                interface.fault = Some(e.to_string());
            }
        }
        if self
            .interfaces
            .iter()
            .any(|i| i.link.is_some() && i.fault.is_some())
        {
            self.retry = Some(boottime().plus(RETRY));
        }
        for id in self.ids() {
            let group = &mut self.groups[usize::from(id.0)];
            let eligible = self.interfaces[group.interface].eligible();
            if group.told.as_ref() != Some(&eligible) {
                group.told = Some(eligible.clone());
                self.push(KernelEvent::Eligible {
                    group: id,
                    eligible,
                });
            }
        }
    }

    fn try_look(&mut self) -> Result<(), KernelError> {
        let all = address::links(&mut self.route)?;
        for at in 0..self.interfaces.len() {
            let interface = &mut self.interfaces[at];
            let known = interface.link.as_ref().map(|link| link.index);
            let found = all.iter().find(|link| link.name == interface.name);
            // What fails below sets it again.
            interface.fault = None;
            let Some(found) = found.filter(|link| link.ethernet) else {
                interface.fault = found.map(|_| "it is not an Ethernet interface".into());
                self.lose(at);
                continue;
            };
            let new = known != Some(found.index);
            if new {
                self.lose(at);
            }
            self.interfaces[at].link = Some(found.clone());
            let gated = !new && self.guard.in_force(&mut self.route, found)?;
            if !gated && self.restore(at) && !new {
                self.push(KernelEvent::GateRestored {
                    interface: found.name.clone(),
                });
            }
            match &mut self.interfaces[at].port {
                Some(port) => port.set_mac(found.mac),
                None => self.settle_on(found.clone()),
            }
        }
        self.look_at_addresses()
    }

    /// The interface is gone, and its addresses, gate and socket with it; or will be made anew.
    fn lose(&mut self, at: usize) {
        let interface = &mut self.interfaces[at];
        interface.link = None;
        interface.port = None;
        for group in self.groups.iter_mut().filter(|g| g.interface == at) {
            group.hold = None;
        }
    }

    /// Puts the gate on an interface again, and lets through what is still held. If that fails,
    /// nothing on it may be held.
    fn restore(&mut self, at: usize) -> bool {
        let Some(link) = self.interfaces[at].link.clone() else {
            return false;
        };
        let links = self.links();
        let mut result = self.guard.install(&mut self.route, &link, &links);
        if result.is_err() {
            for group in self.groups.iter_mut().filter(|g| g.interface == at) {
                group.hold = None;
                // The gate is not there: only this makes the addresses silent.
                let removed = address::remove(&mut self.route, &group.addresses);
                result = result.and(removed);
            }
        }
        for group in &self.groups {
            if let Some(hold) = &group.hold {
                // A lease that is nearly over may be refused; the next renewal will tell.
                let _ = self.guard.hold(&group.keys, hold.deadline);
            }
        }
        self.interfaces[at].fault = result.as_ref().err().map(ToString::to_string);
        result.is_ok()
    }

    /// Takes note of an interface whose gate is in force, and opens its socket.
    fn settle_on(&mut self, link: Link) {
        for interface in self.interfaces.iter_mut().filter(|i| i.name == link.name) {
            match Port::open(&link, &interface.addresses) {
                Ok(port) => interface.port = Some(port),
                Err(e) => interface.fault = interface.fault.take().or(Some(e.to_string())),
            }
            interface.link = Some(link.clone());
        }
    }

    fn look_at_addresses(&mut self) -> Result<(), KernelError> {
        let present = address::list(&mut self.route)?;
        let mut foreign = Vec::new();
        for id in self.ids() {
            let group = &self.groups[usize::from(id.0)];
            let live = group.hold.is_some_and(|h| boottime() < h.deadline);
            let held = group.hold.is_some();
            let link = self.interfaces[group.interface].link.clone();
            for address in group.addresses.clone() {
                let there = |index| {
                    present
                        .iter()
                        .any(|a| a.address == address && a.index == index)
                };
                if !held && present.iter().any(|a| a.address == address) {
                    foreign.push(address);
                    if !self.foreign.contains(&address) {
                        self.push(KernelEvent::AddressForeign { group: id, address });
                    }
                }
                let Some(link) = link.as_ref().filter(|link| live && !there(link.index)) else {
                    continue;
                };
                // The deadline is in the kernel: the address can't come back for longer.
                let lifetime = self.lease.plus(LIFETIME);
                if address::add(&mut self.route, link, address, lifetime).is_ok() {
                    self.push(KernelEvent::AddressPutBack { group: id, address });
                } else {
                    self.groups[usize::from(id.0)].hold = None; // the next renewal will tell why
                }
            }
        }
        self.foreign = foreign;
        Ok(())
    }

    fn push(&mut self, event: KernelEvent) {
        let told = matches!(event, KernelEvent::Eligible { .. }); // never lost, and few
        if told || (self.events.len() < MAX_EVENTS && !self.events.contains(&event)) {
            self.events.push_back(event);
        }
    }

    fn ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..=u8::MAX).take(self.groups.len()).map(GroupId)
    }

    fn group_of(&self, address: IpAddr) -> Option<GroupId> {
        self.ids()
            .find(|id| self.groups[usize::from(id.0)].addresses.contains(&address))
    }

    fn links(&self) -> Vec<Link> {
        self.interfaces
            .iter()
            .filter_map(|i| i.link.clone())
            .collect()
    }
}

/// Sorts groups by interface.
fn arrange(groups: Vec<KernelGroup>) -> (Vec<Group>, Vec<Interface>) {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut arranged = Vec::new();
    for KernelGroup {
        name,
        interface,
        addresses,
    } in groups
    {
        let addresses: Vec<IpAddr> = addresses.iter().map(|p| p.address).collect();
        let known = interfaces.iter().position(|i| i.name == interface);
        let at = known.unwrap_or(interfaces.len());
        if known.is_none() {
            interfaces.push(Interface {
                name: interface,
                addresses: Vec::new(),
                link: None,
                fault: None,
                port: None,
            });
        }
        interfaces[at].addresses.extend(&addresses);
        arranged.push(Group {
            name,
            interface: at,
            keys: addresses.iter().copied().map(key).collect(),
            addresses,
            hold: None,
            announcing: None,
            claimed: None,
            told: None,
        });
    }
    (arranged, interfaces)
}

//! Everything that the daemon asks of the Linux kernel, behind one door.
//!
//! What it never does: let an address be effective without a deadline (except with `guard = none`),
//! take the gate away from an address that may be there, or trust its memory of the kernel's
//! state where the kernel can be asked. A netlink notification is only a hint to look.

mod carried;
mod changing;
mod fitness;
mod holding;
mod interfaces;
mod network;
mod probing;
mod renewing;
mod routes;
pub(crate) mod survey;
mod watching;

use crate::address::{self, Link};
use crate::announce::{Mac, Schedule};
use crate::config_file::{LocalCluster, Path as Way};
use crate::guard::{Guard, Key, Wanted, key};
pub use crate::guard::{GuardChoice, boottime};
use crate::metrics::GuardInForce;
use crate::neighbour::Neighbours;
pub use crate::netlink::KernelError;
use crate::netlink::{Heard, Netlink, Watch};
use crate::route::{Destination, PROTOCOL, Route};
pub use carried::Carried;
use changing::Withdrawn;
use fitness::{Fitness, Own, Reported};
use holding::{Hold, Left};
use interfaces::Interface;
use network::Claimants;
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use probing::Probes;
pub use probing::Probing;
use renewing::Renewing;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use tokio::io::unix::AsyncFd;
pub use watching::KernelEvent;
use watching::Weight;

/// The order in which programs are asked is looked at that much sooner, in a turn that happens anyway.
const EARLY: Span = Span::from_millis(125);

/// A group of addresses, each on an interface: they are held and released as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelGroup {
    /// Its name, for errors.
    pub name: String,
    /// Its addresses, each with the interface that it belongs to.
    pub addresses: Vec<(IpAddr, String)>,
    /// Whether neighbours are told by ARP and neighbour discovery; if not, a routing daemon brings
    /// the packets, and any interface will do.
    pub announced: bool,
    /// Its routes: there while it is held.
    pub routes: Vec<Route>,
}

impl KernelGroup {
    /// Those of a cluster, as this member should hold them.
    pub(crate) fn all_of(local: &LocalCluster) -> Vec<Self> {
        let group = |(id, g): (u8, &onehold_core::config::Group)| Self {
            name: g.name.clone(),
            addresses: (g.addresses.iter().map(|p| p.address))
                .zip(local.interfaces(GroupId(id)).iter().cloned())
                .collect(),
            announced: local.announced(GroupId(id)),
            routes: local.routes(GroupId(id)),
        };
        (0u8..).zip(local.config.groups()).map(group).collect()
    }

    /// A group whose addresses all belong to one interface.
    pub fn on(
        interface: &str,
        name: impl Into<String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        let with = |address| (address, interface.to_owned());
        Self {
            name: name.into(),
            addresses: addresses.into_iter().map(with).collect(),
            announced: true,
            routes: Vec::new(),
        }
    }

    /// Their interfaces, each once.
    pub(crate) fn interfaces(&self) -> Vec<&String> {
        let mut all: Vec<&String> = Vec::new();
        for (_, interface) in &self.addresses {
            if !all.contains(&interface) {
                all.push(interface);
            }
        }
        all
    }
}

/// A floating address and where it belongs. (A link-local one may float on several interfaces.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Floating {
    address: IpAddr,
    /// Which of [`Kernel::interfaces`].
    at: usize,
}

#[derive(Debug)]
struct Group {
    name: String,
    addresses: Vec<Floating>,
    /// Those interfaces to which its addresses belong, each once.
    at: Vec<usize>,
    keys: Vec<Key>,
    announced: bool,
    routes: Vec<Route>,
    hold: Option<Hold>,
    /// What was let go and may still be there.
    left: Option<Left>,
    /// The gate was last told to let it through until then, and not to shut since.
    open_until: Option<LocalTime>,
    /// Its addresses are many, and are being renewed.
    renewing: Option<Renewing>,
    announcing: Option<Schedule>,
    /// Of an announcement that is under way, the place of the next address.
    telling: Option<usize>,
    /// When a foreign claim was last reported.
    claimed: Option<LocalTime>,
    fitness: Fitness,
    /// What the driver knows of it.
    reported: Option<Reported>,
}

impl Group {
    /// Its addresses alone.
    fn bare(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|f| f.address).collect()
    }
}

/// What a guard is opened with.
struct Opening<'a> {
    wanted: &'a Wanted<'a>,
    /// The groups' own interfaces, and all of the host.
    links: &'a [Link],
    host: &'a [Link],
    floating: &'a [IpAddr],
}

/// The kernel's side of all groups. It has one owner; calls block only shortly.
#[derive(Debug)]
pub struct Kernel {
    route: Netlink,
    /// The same for routes: lists are of ours alone, however many the host has.
    routes: Netlink,
    watch: AsyncFd<Watch>,
    /// Hears that a route of ours was removed, if there are any.
    routes_watch: Option<AsyncFd<Watch>>,
    scratch: Vec<u8>,
    /// What notifications were about since the last refresh.
    heard: Heard,
    guard: Guard,
    groups: Vec<Group>,
    interfaces: Vec<Interface>,
    /// What has left the groups since they last changed, or may still be there.
    withdrawn: Option<Withdrawn>,
    lease: Span,
    /// How late the gate may shut.
    slack: Span,
    events: VecDeque<KernelEvent>,
    /// This member's own addresses.
    own: Own,
    /// Addresses that others have put here, in words.
    strange: Vec<(IpAddr, String)>,
    /// Who else has an address, on the network.
    claimants: Claimants,
    /// Which addresses belong to no network, in words, and since when.
    astray: BTreeMap<String, LocalTime>,
    /// The hardware addresses of all interfaces of this host.
    macs: Vec<Mac>,
    /// What the gate can't prevent on this host, in words.
    limits: Vec<String>,
    /// What may keep its addresses mute although they are held, in words.
    doubts: Vec<String>,
    /// When to look for both again, at the earliest.
    limits_due: LocalTime,
    /// What is wrong, and when it was last seen to be.
    alarms: BTreeMap<(Weight, String), LocalTime>,
    alarms_reported: Vec<String>,
    /// The guard that was last reported as being in force.
    guard_reported: &'static str,
    /// Until when no more is announced.
    quiet: LocalTime,
    /// When to read the kernel's state again without a notification.
    retry: Option<LocalTime>,
    /// Until when notifications that concern no group can wait.
    rest: LocalTime,
    /// And until when interfaces that belong to no group can wait for their gate.
    breath: LocalTime,
    /// The interfaces whose gates are still to be looked at, after a refresh that took long.
    untended: Option<Vec<Link>>,
    /// Since when it could not be read, and why.
    unread: Option<(LocalTime, String)>,
    pub(crate) neighbours: Neighbours,
    /// What the network is asked, if it may be.
    probes: Option<Probes>,
}

impl Kernel {
    /// Opens the sockets and shuts the gate for all addresses, on all interfaces that are there.
    /// The index of a group is its [`GroupId`]; `instance` distinguishes this member's objects in
    /// the kernel from another cluster's, and must be the same in its next incarnation. `slack` is
    /// how late the gate may shut, `lease` the longest span that is ever held for, `state` are
    /// directories that outlive the process. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses something; a missing interface is not an error.
    pub fn open(
        instance: &str,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
        slack: Span,
        lease: Span,
        state: &[&Path],
    ) -> Result<Self, KernelError> {
        Self::over(
            instance,
            groups,
            choice,
            slack,
            lease,
            state,
            |all, route| {
                let Opening {
                    wanted,
                    links,
                    host,
                    floating,
                } = all;
                holding::refuse_own(floating, floating, host, &address::list(route)?)?;
                Guard::open(wanted, route, links, host)
            },
        )
    }

    /// Opens the sockets, over a guard that is opened so.
    fn over(
        instance: &str,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
        slack: Span,
        lease: Span,
        state: &[&Path],
        guard: impl FnOnce(&Opening<'_>, &mut Netlink) -> Result<Guard, KernelError>,
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
            .filter(|link| link.ethernet && interfaces.iter().any(|i| link.is_called(&i.name)))
            .cloned()
            .collect();
        let floating: Vec<IpAddr> = (groups.iter().flat_map(|g| &g.addresses))
            .map(|floating| floating.address)
            .collect();
        let keys: Vec<Key> = groups.iter().flat_map(|g| &g.keys).copied().collect();
        let routes: Vec<Destination> = groups
            .iter()
            .flat_map(|g| &g.routes)
            .map(|r| r.at)
            .collect();
        let routes_watch = match routes.is_empty() {
            true => None,
            false => Some(Watch::routes(PROTOCOL)?),
        };
        let name = format!("onehold-{instance}");
        let wanted = Wanted {
            choice,
            name: &name,
            keys: &keys,
            routes: &routes,
            slack,
            state,
        };
        let opening = Opening {
            wanted: &wanted,
            links: &links,
            host: &all,
            floating: &floating,
        };
        let guard = guard(&opening, &mut route)?;
        let mut kernel = Self {
            route,
            routes: Netlink::open_for_lists(libc::NETLINK_ROUTE)?,
            watch,
            routes_watch,
            scratch: Vec::with_capacity(1 << 16),
            heard: Heard::default(),
            guard_reported: guard.kind(),
            guard,
            groups,
            interfaces,
            withdrawn: None,
            lease,
            slack,
            events: VecDeque::new(),
            own: Own::unknown(),
            strange: Vec::new(),
            claimants: Claimants::default(),
            astray: BTreeMap::new(),
            macs: Vec::new(),
            limits: Vec::new(),
            doubts: Vec::new(),
            limits_due: LocalTime::from_nanos(0),
            alarms: BTreeMap::new(),
            alarms_reported: Vec::new(),
            quiet: LocalTime::from_nanos(0),
            retry: None,
            rest: LocalTime::from_nanos(0),
            breath: LocalTime::from_nanos(0),
            untended: None,
            unread: None,
            neighbours: Neighbours::default(),
            probes: None,
        };
        for link in links {
            kernel.settle_on(link);
        }
        Ok(kernel)
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

    /// Both, and how long before its deadline the guard may end a hold, at most.
    #[must_use]
    pub fn guard_in_force(&self) -> GuardInForce {
        GuardInForce {
            name: self.guard_name().to_owned(),
            why_not_better: self.guard_shortcoming().map(str::to_owned),
            ends_early: self.guard.ends_early(self.lease),
        }
    }

    /// announces the group now, and again and again until it is released.
    pub fn announce(&mut self, id: GroupId, now: LocalTime) {
        let contested = self.is_contested(id);
        let group = &mut self.groups[usize::from(id.0)];
        if group.hold.is_some() {
            let begin = || Schedule::starting(now);
            let again = |running: Schedule| running.again(now, contested);
            group.announcing = Some(group.announcing.map_or_else(begin, again));
        }
        self.wake(now);
    }

    /// Keeps the kernel's knowledge of where the peers are, while they are silent.
    ///
    /// # Errors
    /// When the kernel refuses what that needs.
    pub fn look_after(&mut self, paths: impl Iterator<Item = Way>) -> Result<(), KernelError> {
        self.neighbours = Neighbours::look_after(paths)?;
        Ok(())
    }

    /// When [`Self::wake`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<LocalTime> {
        let announcements = self
            .groups
            .iter()
            .filter_map(|g| Some(g.announcing?.next()));
        let left = self
            .groups
            .iter()
            .filter_map(|g| Some(g.left.as_ref()?.due));
        announcements
            .chain(left)
            .chain(self.groups.iter().filter_map(|g| Some(g.renewing?.due)))
            .chain(
                self.groups
                    .iter()
                    .filter_map(|g| g.telling.map(|_| self.quiet)),
            )
            .chain(self.withdrawn.as_ref().and_then(|left| left.due))
            .chain(self.retry)
            .chain(self.guard.due().map(|due| due.max(self.breath)))
            .chain(self.untended.as_ref().map(|_| self.breath))
            .min()
    }

    /// Whether [`Self::wake`] has something to do.
    #[must_use]
    pub fn is_due(&self, now: LocalTime) -> bool {
        self.poll_timeout().is_some_and(|at| at <= now) || self.looks_at_guard(now)
    }

    fn looks_at_guard(&self, now: LocalTime) -> bool {
        let due = self.guard.due();
        now >= self.breath && due.is_some_and(|due| due <= now.plus(EARLY))
    }

    /// Does what is due.
    pub fn wake(&mut self, now: LocalTime) {
        self.take_away_what_is_left(now);
        self.renew_some(now);
        for group in &mut self.groups {
            let due = group.announcing.as_mut().map(|schedule| schedule.due(now));
            match due {
                None => group.telling = None, // it was let go
                Some(true) if group.announced => group.telling = Some(0),
                Some(_) => {}
            }
        }
        self.tell_some(now);
        let retry = self.retry.is_some_and(|retry| retry <= now);
        let breathes = now < self.breath;
        if retry || self.looks_at_guard(now) && self.guard.stirred() {
            self.refresh();
        } else if !breathes && let Some(all) = self.untended.take() {
            self.tend(&all);
            self.report();
        }
    }

    /// What could not be sent is sent again by the schedule; rtnetlink reports why.
    fn announce_once(&self, some: &[Floating]) {
        for Floating { address, at } in some {
            if let Some(port) = &self.interfaces[*at].port {
                let _ = port.announce(*address);
                let _ = port.ask(*address);
            }
        }
    }

    /// Leaves none of our addresses, gates, qdiscs and tables behind.
    ///
    /// # Errors
    /// When the kernel refuses: then the gate stays for as long as an address may be there.
    pub fn close(mut self) -> Result<(), KernelError> {
        for id in self.ids() {
            self.release(id)?;
        }
        self.take_away_withdrawn()?;
        self.guard.close(&mut self.route)
    }

    fn ids(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..=u8::MAX).take(self.groups.len()).map(GroupId)
    }

    fn group_of(&self, floating: Floating) -> Option<GroupId> {
        self.ids()
            .find(|id| self.groups[usize::from(id.0)].addresses.contains(&floating))
    }

    /// The addresses that float here.
    fn floating(&self) -> Vec<IpAddr> {
        let all = self.groups.iter().flat_map(|group| &group.addresses);
        all.map(|floating| floating.address).collect()
    }

    /// The groups' interfaces that can have a gate.
    fn links(&self) -> Vec<Link> {
        let all = self.interfaces.iter().filter_map(|i| i.link.clone());
        all.filter(|link| link.ethernet).collect()
    }

    /// An interface of a group as it is, if it is there.
    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        let mut all = self.interfaces.iter();
        all.find(|i| i.name == name)?.link.as_ref()
    }

    /// The numbers of the groups' interfaces.
    fn indices(&self) -> Vec<u32> {
        let all = self.interfaces.iter().filter_map(|i| i.link.as_ref());
        all.map(|link| link.index).collect()
    }
}

/// Sorts the groups' addresses by interface.
fn arrange(groups: Vec<KernelGroup>) -> (Vec<Group>, Vec<Interface>) {
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut arranged = Vec::new();
    for group in groups {
        let KernelGroup {
            name,
            addresses,
            announced,
            routes,
        } = group;
        let mut group = Group {
            name,
            addresses: Vec::new(),
            at: Vec::new(),
            keys: Vec::new(),
            announced,
            routes,
            hold: None,
            left: None,
            open_until: None,
            renewing: None,
            announcing: None,
            telling: None,
            claimed: None,
            fitness: Fitness::default(),
            reported: None,
        };
        for (address, interface) in addresses {
            let known = interfaces.iter().position(|i| i.name == interface);
            let at = known.unwrap_or(interfaces.len());
            if known.is_none() {
                interfaces.push(Interface::named(interface));
            }
            interfaces[at].any |= !announced;
            interfaces[at].addresses.push(address);
            group.addresses.push(Floating { address, at });
            if !group.at.contains(&at) {
                group.at.push(at);
            }
            if !group.keys.contains(&key(address)) {
                group.keys.push(key(address));
            }
        }
        arranged.push(group);
    }
    (arranged, interfaces)
}

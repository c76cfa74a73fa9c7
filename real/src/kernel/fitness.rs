//! Whether a group could be held here: tried, and not assumed.
//!
//! Where there is a gate, each address of a group that is not held is put on its interface for an
//! instant, mute: at the start, and whenever the interface changes. So a standby that can't hold
//! reports that before the night in which it must. A group of which some addresses can be held is
//! held rather than not at all, but not by this member if another one can hold it whole.

use super::interfaces::Interface;
use super::renewing::{APART, AT_ONCE};
use super::{Floating, Kernel};
use crate::address::{self, Assigned, Link, edge_of, same_network};
use crate::guard::boottime;
use crate::netlink::KernelError;
use crate::pace::{Cooldown, Repairs};
use crate::route::{Destination, Route};
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What is known of whether a group could be held here.
#[derive(Debug, Default)]
pub(super) struct Fitness {
    /// The addresses that the kernel refuses, and why.
    pub(super) refused: BTreeMap<Floating, String>,
    /// The routes that it refuses, and why.
    pub(super) refused_routes: BTreeMap<Destination, String>,
    /// Why one is still there although the group is not held.
    pub(super) stuck_route: Option<String>,
    /// Why the gate could not be shut for it, when that was tried out.
    gate: Option<String>,
    /// When either is tried out again.
    pace: Cooldown,
    /// A hold failed: what was found out before no longer counts.
    pub(super) doubted: bool,
    /// The circumstances under which all this was found out, by interface.
    circumstances: Option<BTreeMap<usize, Circumstances>>,
    /// They have changed, and the driver does not know it yet.
    pub(super) changed: bool,
    /// For addresses that others remove while they are held.
    pub(super) repairs: BTreeMap<Floating, Repairs>,
    /// And for routes.
    pub(super) route_repairs: BTreeMap<Destination, Repairs>,
    /// Addresses that came with a change of the groups: the next hold puts them on their interfaces,
    /// or they are tried out.
    pub(super) fresh: BTreeSet<Floating>,
    /// So did routes.
    pub(super) fresh_routes: bool,
    /// Since when not all of what is held is there.
    partial: Option<LocalTime>,
}

/// What the kernel's answer may depend on.
#[derive(Debug, PartialEq, Eq)]
struct Circumstances {
    link: Link,
    /// The host's own addresses on the interface.
    own: Vec<(IpAddr, u8)>,
    without_ipv6: bool,
}

impl Circumstances {
    /// Of all addresses of the host but those that float.
    fn of(link: &Link, own: &[Assigned]) -> Self {
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", link.name);
        Self {
            link: link.clone(),
            own: (own.iter().filter(|a| a.index == link.index))
                .map(|a| (a.address, a.length))
                .collect(),
            without_ipv6: std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1"),
        }
    }
}

/// What people read of a member none of whose addresses is there.
pub(super) fn not_at_home(own: &[IpAddr]) -> String {
    let all: Vec<String> = own.iter().map(ToString::to_string).collect();
    format!(
        "none of this member's own addresses ({}) is on this host: is its network up, is it another member's \
         host?",
        all.join(", ")
    )
}

/// Why an address can't be held on an interface with these networks: in one of them no machine can
/// have it.
pub(super) fn at_an_edge(nets: &[(IpAddr, u8)], address: IpAddr, name: &str) -> Option<String> {
    let of = |&(own, length): &(IpAddr, u8)| {
        edge_of(address, length).filter(|_| same_network(own, address, length))
    };
    let what = nets.iter().find_map(of)?;
    Some(format!(
        "{address} is {what}, to which {name} belongs, and can't be one machine's. Let another one float"
    ))
}

/// What the driver learns of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reported {
    pub(super) eligible: Result<(), String>,
    pub(super) whole: Result<(), String>,
}

/// Whether this member is where its configuration says that it is.
#[derive(Debug)]
pub(super) struct Own {
    addresses: Vec<IpAddr>,
    /// Since when none of them has been on this host.
    missing: Option<LocalTime>,
    /// Those that are not there, while others are.
    absent: Vec<IpAddr>,
}

impl Own {
    pub(super) const fn unknown() -> Self {
        Self {
            addresses: Vec::new(),
            missing: None,
            absent: Vec::new(),
        }
    }
}

impl Kernel {
    /// By which addresses the other members know this one: while none of them is on this host,
    /// nothing can be held. (A member that nobody can hear must not take silence for death.)
    pub fn lives_at(&mut self, addresses: Vec<IpAddr>) {
        let missing = Some(LocalTime::from_nanos(0)); // until one is seen
        self.own = Own {
            addresses,
            missing,
            absent: Vec::new(),
        };
    }

    /// by these from now on, of which one is on this host, as far as any was.
    pub fn lives_also_at(&mut self, addresses: Vec<IpAddr>) {
        self.own.addresses = addresses;
        self.own.absent.clear();
        self.refresh_at(boottime());
    }

    /// Whether a group could be served from here, or why not.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn eligible(&self, id: GroupId) -> Result<(), String> {
        let group = &self.groups[usize::from(id.0)];
        for at in &group.at {
            self.interfaces[*at].eligible(group.announced)?;
        }
        self.at_home()?;
        let fitness = &group.fitness;
        match &fitness.gate {
            Some(why) => Err(why.clone()),
            None if fitness.refused.len() == group.addresses.len() => fitness.whole(),
            None => Ok(()),
        }
    }

    /// A network that is reconfigured takes addresses away for a moment: no longer than half a
    /// lease, which is sooner than anybody would take hold in this member's place.
    fn at_home(&self) -> Result<(), String> {
        let Own {
            addresses, missing, ..
        } = &self.own;
        let grace = self.lease.part(2);
        match missing.filter(|since| boottime() >= since.plus(grace)) {
            None => Ok(()),
            Some(_) => Err(not_at_home(addresses)),
        }
    }

    /// Own addresses that are gone, while this member can be heard by others.
    pub(super) fn absent_in_words(&self) -> impl Iterator<Item = String> {
        self.own.absent.iter().map(|ip| {
            format!(
                "{ip} is this member's by the file, and this host has it not: that path is dead from here. Give it \
                 back, or correct the file (`ip address` shows what there is)"
            )
        })
    }

    pub(super) fn notice_own_addresses(&mut self, present: &[Assigned]) {
        let own = &self.own.addresses;
        if own.is_empty() {
            return;
        }
        let here = address::has_one_of(present, own);
        let absent = own
            .iter()
            .filter(|a| here && !address::has_one_of(present, &[**a]));
        let absent = absent.copied().collect();
        let now = boottime();
        self.own.missing = match (here, self.own.missing) {
            (true, _) => None,
            (false, Some(since)) => Some(since),
            (false, None) => Some(now),
        };
        self.own.absent = absent;
        if let Some(since) = self.own.missing {
            let over = since.plus(self.lease.part(2));
            if over > now {
                self.refresh_at(over);
            }
        }
    }

    /// Whether all of a group could be held, as the driver should know it. Who configures a network
    /// may have the kernel refuse an address for a moment: as with [`Self::at_home`] one that has
    /// served for half a lease waits for as long before that counts.
    pub(super) fn whole(&mut self, id: GroupId) -> Result<(), String> {
        let (now, grace) = (boottime(), self.lease.part(2));
        let group = &mut self.groups[usize::from(id.0)];
        let whole = group.fitness.whole();
        let was = group.reported.as_ref().is_some_and(|r| r.whole.is_ok());
        let serves = (group.announcing.as_ref()).is_some_and(|s| now >= s.since().plus(grace));
        if whole.is_ok() || group.hold.is_none() || !was || !serves {
            group.fitness.partial = None;
            return whole;
        }
        let until = group.fitness.partial.get_or_insert(now).plus(grace);
        if now >= until {
            return whole;
        }
        self.refresh_at(until);
        Ok(())
    }

    /// Tries out what was refused and is due, and everything when circumstances have changed. `own` are the
    /// addresses of the host that don't float.
    pub(super) fn try_addresses(&mut self, id: GroupId, present: &[Assigned], own: &[Assigned]) {
        let announced = self.groups[usize::from(id.0)].announced;
        let fine = |interface: &Interface| interface.eligible(announced).is_ok();
        let Some(links) = self.links_of(id, fine) else {
            let fitness = &mut self.groups[usize::from(id.0)].fitness;
            fitness.circumstances = None; // it will be another one
            (fitness.gate, fitness.doubted) = (None, false);
            return;
        };
        let (now, lifetime) = (boottime(), self.lifetime());
        let group = &mut self.groups[usize::from(id.0)];
        let fitness = &mut group.fitness;
        let circumstances = (links.iter())
            .map(|(at, link)| (*at, Circumstances::of(link, own)))
            .collect();
        let anew = fitness.circumstances.as_ref() != Some(&circumstances);
        if anew {
            fitness.circumstances = Some(circumstances);
            fitness.changed = true;
            fitness.pace.start_again();
        }
        let wrong = fitness.whole().is_err() || fitness.gate.is_some();
        if let Some(until) = fitness.pace.until(now).filter(|_| wrong) {
            return self.refresh_at(until);
        }
        let doubted = std::mem::take(&mut fitness.doubted);
        let held = group.hold.is_some();
        let (mut fresh, mut fresh_routes) = (BTreeSet::new(), false);
        if !held {
            if anew {
                fitness.fresh.extend(&group.addresses);
            }
            let later = fitness.fresh.iter().nth(AT_ONCE).copied();
            let later = later.map(|first| fitness.fresh.split_off(&first));
            fresh = std::mem::replace(&mut fitness.fresh, later.unwrap_or_default());
            fresh_routes = std::mem::take(&mut fitness.fresh_routes);
        }
        if !anew && !wrong && !doubted && fresh.is_empty() && !fresh_routes {
            return;
        }
        fitness.gate = None;
        let before = std::mem::take(&mut fitness.refused);
        let guarded = self.guard.kind() != "none";
        if !held
            && guarded
            && let Err(e) = self.guard.shut(&group.keys)
        {
            fitness.gate = Some(e.to_string());
        }
        let again = |f: &&Floating| before.contains_key(f);
        if held {
            let due = |f: &&Floating| anew || again(f);
            let due: Vec<Floating> = group.addresses.iter().filter(due).copied().collect();
            match due.len() > AT_ONCE {
                true => group.begin_to_renew(now),
                false => drop(group.renew(&mut self.route, &links, &due, lifetime, present)),
            }
        } else {
            let guarded = guarded && fitness.gate.is_none();
            let due = |f: &&Floating| fresh.contains(f) || again(f);
            for floating in group.addresses.iter().filter(due) {
                let (address, link) = (floating.address, &links[&floating.at]);
                let tried = match (fitness.misfit(*floating), guarded) {
                    (Some(misfit), _) => Err(misfit),
                    (None, true) => address::try_out(&mut self.route, link, address),
                    (None, false) => Ok(()), // it would be effective
                };
                if let Err(e) = tried {
                    fitness.refused.insert(*floating, e.to_string());
                }
            }
            if !fitness.fresh.is_empty() {
                self.refresh_at(now.plus(APART));
            }
        }
        self.try_routes(id, anew || fresh_routes);
        let fitness = &self.groups[usize::from(id.0)].fitness;
        if fitness.gate.is_some() || fitness.whole().is_err() {
            self.wait_with(id);
        }
    }

    /// Something was refused just now: it is tried again, but not at once.
    pub(super) fn wait_with(&mut self, id: GroupId) {
        let now = boottime();
        let pace = &mut self.groups[usize::from(id.0)].fitness.pace;
        pace.refused(now);
        if let Some(until) = pace.until(now) {
            self.refresh_at(until);
        }
    }
}

impl Fitness {
    /// Nothing is known any more of what a group has not.
    pub(super) fn keep(&mut self, addresses: &[Floating], routes: &[Route]) {
        let known: BTreeSet<&Floating> = addresses.iter().collect();
        let at: BTreeSet<usize> = addresses.iter().map(|f| f.at).collect();
        self.refused.retain(|f, _| known.contains(f));
        self.repairs.retain(|f, _| known.contains(f));
        self.fresh.retain(|f| known.contains(f));
        let has = |at: &Destination| routes.iter().any(|route| route.at == *at);
        self.refused_routes.retain(|at, _| has(at));
        self.route_repairs.retain(|at, _| has(at));
        if let Some(circumstances) = &mut self.circumstances {
            circumstances.retain(|interface, _| at.contains(interface));
        }
    }

    /// The same, when the interfaces have other numbers.
    pub(super) fn moved(mut self, moved: &[Option<usize>]) -> Self {
        let refused = std::mem::take(&mut self.refused).into_iter();
        let repairs = std::mem::take(&mut self.repairs).into_iter();
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        let circumstances = self.circumstances.take();
        let number = |at: usize| moved.get(at).copied().flatten();
        Self {
            refused: refused
                .filter_map(|(f, why)| Some((f.move_to(moved)?, why)))
                .collect(),
            repairs: repairs
                .filter_map(|(f, how)| Some((f.move_to(moved)?, how)))
                .collect(),
            fresh: fresh.filter_map(|f| f.move_to(moved)).collect(),
            circumstances: circumstances.map(|all| {
                let all = all.into_iter();
                all.filter_map(|(at, of)| Some((number(at)?, of))).collect()
            }),
            ..self
        }
    }

    /// Why an address can't be held whatever the kernel takes: no machine can have it in a network
    /// of its interface.
    pub(super) fn misfit(&self, Floating { address, at }: Floating) -> Option<KernelError> {
        let Circumstances { link, own, .. } = self.circumstances.as_ref()?.get(&at)?;
        let why = at_an_edge(own, address, &link.name)?;
        Some(KernelError::refused(
            format!("adding {address} to {}", link.name),
            why,
        ))
    }

    /// Whether all addresses could be held, or which not, and why.
    pub(super) fn whole(&self) -> Result<(), String> {
        let all = self.refused.values().chain(self.refused_routes.values());
        let why: Vec<&str> = all.map(String::as_str).collect();
        match why[..] {
            [] => Ok(()),
            _ => Err(why.join("; ")),
        }
    }
}

//! Holding and releasing: what is on the interfaces, and until when the gate lets it through.

use super::changing::Withdrawn;
use super::interfaces::Interface;
use super::renewing;
use super::{Floating, Kernel, KernelEvent};
use crate::address::{self, Assigned, Link};
use crate::guard::{Held, Key, Place, Standing, boottime};
use crate::netlink::KernelError;
use crate::route::Destination;
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// How much longer than its lease an address lasts when nobody is left to remove it; its lifetime
/// is renewed when only [`LIFETIME_LEFT`] of that remains beyond the lease.
const LIFETIME: Span = Span::from_millis(6_000);
const LIFETIME_LEFT: Span = Span::from_millis(2_000);
/// How much longer for each address beyond some: 20 s for a thousand.
const LIFETIME_OF_MANY: Span = Span::from_millis(20);
/// But no longer than this: by so short a lifetime an address is known to be ours.
const LIFETIME_LONGEST: Span = Span::from_millis(60_000);

/// How long after a group was let go its addresses are removed: what waits for the confirmation goes
/// first.
const SOON: Span = Span::from_millis(2);
/// How long after a refusal it is tried again.
pub(super) const AGAIN: Span = Span::from_millis(1_000);

/// The addresses of a group that was let go: mute, and perhaps still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Left {
    /// When they are removed.
    pub(super) due: LocalTime,
    /// Why the kernel refused that last.
    pub(super) refused: Option<String>,
}

/// An address that was put on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hold {
    pub(super) deadline: LocalTime,
    /// When the kernel removes the addresses by itself.
    pub(super) valid_until: LocalTime,
}

impl Kernel {
    /// mutes every address, those of earlier incarnations too, and removes those that Onehold
    /// put there; confirmed.
    ///
    /// # Errors
    /// When the kernel refuses, or somebody else's address is there and nothing would mute
    /// it; it can be tried again.
    pub fn scrub(&mut self) -> Result<(), KernelError> {
        for group in &mut self.groups {
            group.hold = None;
            group.announcing = None;
        }
        let keys = self.guard.keys().to_vec();
        let addresses: Vec<IpAddr> = keys.iter().map(crate::guard::address).collect();
        self.guard.shut(&keys)?;
        self.scrub_routes()?;
        self.remove(&addresses)?;
        for group in &mut self.groups {
            (group.left, group.open_until) = (None, None);
        }
        self.withdrawn = None;
        let all = address::links(&mut self.route)?;
        let routes: Vec<Destination> = (self.groups.iter().flat_map(|g| &g.routes))
            .map(|route| route.at)
            .collect();
        let keys: Vec<Key> = self.groups.iter().flat_map(|g| &g.keys).copied().collect();
        self.guard.settle(&mut self.route, &keys, &routes, &all)
    }

    /// gate shut, addresses added if they are not there, deadline set, in this order. While
    /// the group is held only the deadline moves. Of a group's addresses those are held that the
    /// kernel takes.
    ///
    /// # Errors
    /// When the group can't be held now; it must be released then.
    pub fn hold_until(&mut self, id: GroupId, deadline: LocalTime) -> Result<(), KernelError> {
        let before = self.untouched(id);
        let held = self.try_to_hold(id, deadline);
        // A renewal that only moved the deadline changed nothing that is reported.
        if held.is_err() || before.is_none() || self.untouched(id) != before {
            self.tried(id, &held);
        }
        held
    }

    /// Until when the addresses of a hold last that is in force, and has nothing more to put.
    fn untouched(&self, id: GroupId) -> Option<LocalTime> {
        let group = &self.groups[usize::from(id.0)];
        let due = !group.fitness.fresh.is_empty() || group.fitness.fresh_routes;
        let hold = group.hold.filter(|_| !due);
        let in_force = hold.filter(|hold| boottime() < hold.deadline);
        in_force.map(|hold| hold.valid_until)
    }

    /// gate shut, then addresses added, or renewed: they are there, and mute. Without a guard nothing
    /// would mute them: then they come with the hold.
    ///
    /// # Errors
    /// When the group can't be held now; it must be released then.
    pub fn prepare(&mut self, id: GroupId) -> Result<(), KernelError> {
        if self.guard.kind() == "none" {
            return Ok(());
        }
        let put = self.put(id, boottime()).map(drop);
        self.tried(id, &put);
        put
    }

    fn tried(&mut self, id: GroupId, held: &Result<(), KernelError>) {
        if held.is_err() {
            self.groups[usize::from(id.0)].fitness.doubted = true;
            self.refresh_at(boottime());
        }
        self.report();
    }

    /// The interfaces of a group, if all of them are there and fine.
    pub(super) fn links_of(
        &self,
        id: GroupId,
        fine: impl Fn(&Interface) -> bool,
    ) -> Option<BTreeMap<usize, Link>> {
        let of = |at: &usize| {
            let interface = &self.interfaces[*at];
            let link = interface.link.clone().filter(|_| fine(interface));
            link.map(|link| (*at, link))
        };
        self.groups[usize::from(id.0)].at.iter().map(of).collect()
    }

    /// Puts a group's addresses on their interfaces, for a hold until `deadline`, or renews them; says how
    /// it was held before, and where.
    fn put(
        &mut self,
        id: GroupId,
        deadline: LocalTime,
    ) -> Result<(Option<Hold>, BTreeMap<usize, Link>), KernelError> {
        let lifetime = self.lifetime();
        let Some(links) = self.links_of(id, |interface| interface.fault.is_none()) else {
            let group = &self.groups[usize::from(id.0)];
            let why = (group.at.iter())
                .find_map(|at| self.interfaces[*at].eligible(group.announced).err());
            let doing = format!("holding {}", group.name);
            return Err(KernelError::refused(doing, why.unwrap_or_default()));
        };
        let (contested, now) = (self.is_contested(id), boottime());
        let group = &mut self.groups[usize::from(id.0)];
        group.left = None; // what is there is wanted again
        let before = group.hold.take();
        let lasts = before.filter(|hold| deadline.plus(LIFETIME_LEFT) <= hold.valid_until);
        let hold = match lasts {
            Some(hold) if group.fitness.fresh.is_empty() => hold,
            None if group.renews(before, now) => before.unwrap_or(Hold {
                deadline,
                valid_until: now,
            }),
            _ => {
                let there = match (before, lasts) {
                    (_, Some(_)) => Vec::new(),
                    (Some(_), None) => address::list(&mut self.route)?,
                    (None, None) => {
                        self.guard.shut(&group.keys)?;
                        Vec::new()
                    }
                };
                let fresh = std::mem::take(&mut group.fitness.fresh);
                let valid_until = lasts.map_or(boottime().plus(lifetime), |hold| hold.valid_until);
                let due = |f: &&Floating| lasts.is_none() || fresh.contains(f);
                let due: Vec<Floating> = group.addresses.iter().filter(due).copied().collect();
                let route = &mut self.route;
                let refusals = match lasts {
                    Some(_) => group.renew(route, &links, &due, lifetime, &there),
                    None => group.begin_to_put(route, &links, lifetime, &there),
                };
                if !fresh.is_empty() {
                    let now = boottime();
                    group.announcing = group
                        .announcing
                        .map(|running| running.again(now, contested));
                }
                let none = refusals.len() == group.addresses.len();
                if let Some(first) = refusals.into_iter().next() {
                    self.wait_with(id);
                    if none {
                        return Err(first);
                    }
                }
                Hold {
                    deadline,
                    valid_until,
                }
            }
        };
        let group = &mut self.groups[usize::from(id.0)];
        group.hold = Some(Hold { deadline, ..hold });
        Ok((before, links))
    }

    fn try_to_hold(&mut self, id: GroupId, deadline: LocalTime) -> Result<(), KernelError> {
        let (before, links) = self.put(id, deadline)?;
        let group = &mut self.groups[usize::from(id.0)];
        group.open_until = group.open_until.max(Some(deadline));
        let held = match self.guard.hold(&group.keys, deadline) {
            Ok(held) => held,
            Err(e) => {
                // The one cause that we can repair: somebody took the gate away.
                let mut first = true;
                for link in links.values().filter(|link| link.ethernet) {
                    let standing = self.guard.standing(&mut self.route, link, Place::Own)?;
                    first &= standing == Standing::First;
                }
                if first {
                    return Err(e);
                }
                self.refresh();
                let group = &self.groups[usize::from(id.0)];
                self.guard.hold(&group.keys, deadline)?
            }
        };
        let before = before.map(|hold| hold.deadline);
        match (held, before.filter(|before| boottime() < *before)) {
            (Held::Yes, before) => {
                let fitness = &mut self.groups[usize::from(id.0)].fitness;
                if std::mem::take(&mut fitness.fresh_routes) || before.is_none() {
                    self.put_routes(id); // what leaves by them is not mute any more
                }
                Ok(())
            }
            // A renewal that lengthens nothing changes nothing.
            (Held::TooLate, Some(deadline)) => {
                let group = &mut self.groups[usize::from(id.0)];
                group.hold = group.hold.map(|hold| Hold { deadline, ..hold });
                Ok(())
            }
            (Held::TooLate, None) => {
                let why = format!(
                    "of the lease only {} is left, of which the {} guard takes {}; or the host is overloaded",
                    deadline.since(boottime()),
                    self.guard.kind(),
                    self.guard.ends_early(self.lease)
                );
                Err(KernelError::refused(
                    format!("holding {}", self.groups[usize::from(id.0)].name),
                    why,
                ))
            }
        }
    }

    /// lets go: nothing of the group is effective any more. The gate is shut; the addresses,
    /// which are mute then, are removed soon afterwards, for nobody need wait for that. Where no gate
    /// stands before them, only that they are gone makes them silent. Harmless for a group that is
    /// not held, and can be tried again.
    ///
    /// # Errors
    /// When that is not so: then the address may still be effective until the deadline that it last
    /// got.
    pub fn let_go(&mut self, id: GroupId) -> Result<(), KernelError> {
        let due = boottime().plus(SOON);
        let group = &mut self.groups[usize::from(id.0)];
        group.announcing = None;
        group.renewing = None;
        group.hold = None;
        let refused = None;
        group.left = Some(Left { due, refused });
        let shut = self.shut(id);
        if shut.is_ok() && self.is_gated(id) {
            return Ok(());
        }
        let gone = self.take_away(id);
        if self.guard.kind() == "none" {
            return gone;
        }
        if shut.is_err() || gone.is_err() {
            self.refresh(); // the one cause that we can repair: somebody took the gate away
        }
        self.shut(id)?;
        match self.is_gated(id) {
            true => Ok(()),
            false => gone,
        }
    }

    /// lets go, and removes the addresses at once. One that somebody else put there stays,
    /// mute.
    ///
    /// # Errors
    /// When the kernel did not confirm both.
    pub fn release(&mut self, id: GroupId) -> Result<(), KernelError> {
        self.let_go(id)?;
        self.take_away(id)
    }

    /// Shuts a group's gate, or finds that its last deadline has shut it.
    fn shut(&mut self, id: GroupId) -> Result<(), KernelError> {
        let over = boottime();
        let group = &mut self.groups[usize::from(id.0)];
        let shut = self.guard.shut(&group.keys);
        let is_over = |until: LocalTime| until.plus(self.slack) <= over;
        if shut.is_ok() || group.open_until.is_some_and(is_over) {
            group.open_until = None;
            return Ok(());
        }
        shut
    }

    /// Whether the gate stands first wherever the group's addresses are.
    fn is_gated(&mut self, id: GroupId) -> bool {
        let interfaces = self.groups[usize::from(id.0)].at.iter();
        let links = interfaces.filter_map(|at| self.interfaces[*at].link.clone());
        let links: Vec<Link> = links.collect();
        self.gate_is_first_on(&links)
    }

    pub(super) fn gate_is_first_on(&mut self, links: &[Link]) -> bool {
        self.guard.kind() != "none"
            && links.iter().all(|link| {
                let standing = self.guard.standing(&mut self.route, link, Place::Own);
                link.ethernet && standing.is_ok_and(|standing| standing == Standing::First)
            })
    }

    /// Removes what is left of groups that were let go, and of what left the groups, where that is
    /// due.
    pub(super) fn take_away_what_is_left(&mut self, now: LocalTime) {
        let withdrawn = self.withdrawn.as_ref().and_then(|left| left.due);
        if withdrawn.is_some_and(|due| due <= now) && self.take_away_withdrawn().is_err() {
            self.report();
        }
        for id in self.ids() {
            let left = self.groups[usize::from(id.0)].left.as_ref();
            if left.is_none_or(|left| now < left.due) {
                continue;
            }
            if self.guard.kind() != "none" && self.take_some_away(id) {
                continue;
            }
            if self.take_away(id).is_err() {
                self.report(); // an alarm; they are mute, and it is tried again
            }
        }
    }

    /// Removes some of many addresses; says whether there may be more.
    fn take_some_away(&mut self, id: GroupId) -> bool {
        let (ours, most) = (self.indices(), renewing::AT_ONCE);
        let group = &mut self.groups[usize::from(id.0)];
        if group.addresses.len() <= most {
            return false;
        }
        let addresses = group.bare();
        let removed = address::remove_some(&mut self.route, &addresses, &ours, most);
        let more = removed.is_ok_and(|n| n == most);
        if let Some(left) = group.left.as_mut().filter(|_| more) {
            left.due = boottime().plus(renewing::APART);
        }
        more
    }

    /// Removes the addresses and routes of a group that was let go; what the kernel refuses is tried
    /// again.
    fn take_away(&mut self, id: GroupId) -> Result<(), KernelError> {
        self.take_routes(id);
        let addresses = self.groups[usize::from(id.0)].bare();
        let gone = self.remove(&addresses);
        let due = boottime().plus(AGAIN);
        let left = gone.as_ref().err().map(|e| Left {
            due,
            refused: Some(e.to_string()),
        });
        self.groups[usize::from(id.0)].left = left;
        gone
    }

    /// Removes addresses, as far as they are ours; without a gate none may be left.
    fn remove(&mut self, addresses: &[IpAddr]) -> Result<(), KernelError> {
        let ours = self.indices();
        address::remove(&mut self.route, addresses, &ours)?;
        if self.guard.kind() != "none" {
            return Ok(());
        }
        let all = address::links(&mut self.route)?;
        let present = address::list(&mut self.route)?;
        let strange = self.strange(&all, &present);
        match strange.into_iter().find(|(a, _)| addresses.contains(a)) {
            None => Ok(()),
            Some((address, what)) => Err(KernelError::refused(format!("removing {address}"), what)),
        }
    }

    /// What could not be removed of groups that were let go, and of what left the groups, in words.
    pub(super) fn left_in_words(&self) -> impl Iterator<Item = String> {
        let of_groups = self.groups.iter().filter_map(|group| {
            let why = group.left.as_ref()?.refused.as_ref()?;
            Some(format!(
                "{}: not held here, and mute; tried again: {why}",
                group.name
            ))
        });
        of_groups.chain(self.withdrawn.as_ref().and_then(Withdrawn::in_words))
    }

    /// For how long the kernel keeps an address whose lifetime is not renewed. To renew many takes
    /// long: it is done less often.
    pub(super) fn lifetime(&self) -> Span {
        let all: usize = self.groups.iter().map(|g| g.addresses.len()).sum();
        let many = all.saturating_sub(renewing::AT_ONCE);
        let each = LIFETIME_OF_MANY.times(u64::try_from(many).unwrap_or(0));
        let few = self.lease.plus(LIFETIME);
        few.plus(each).min(LIFETIME_LONGEST.max(few))
    }

    /// Puts back what others have removed, tries what was refused, and notes what others
    /// have put here.
    pub(super) fn refresh_addresses(&mut self, all: &[Link]) -> Result<(), KernelError> {
        let present = address::list(&mut self.route)?;
        self.notice_own_addresses(&present);
        self.strange = self.strange(all, &present);
        self.refresh_networks(&present);
        self.refresh_probers(&present);
        // Once for all groups, of which each has its own few of a thousand.
        let there: BTreeSet<(u32, IpAddr)> = present.iter().map(|a| (a.index, a.address)).collect();
        let floating: BTreeSet<IpAddr> = self.floating().into_iter().collect();
        let own = |a: &&Assigned| !floating.contains(&a.address);
        let own: Vec<Assigned> = present.iter().filter(own).copied().collect();
        for id in self.ids() {
            self.put_back_addresses(id, &there);
            self.try_addresses(id, &present, &own);
        }
        self.refresh_routes(all)
    }

    /// The deadline is in the kernel: what is put back can't come back for longer.
    fn put_back_addresses(&mut self, id: GroupId, present: &BTreeSet<(u32, IpAddr)>) {
        let now = boottime();
        let group = &self.groups[usize::from(id.0)];
        // What waits mute has no deadline yet; without a guard it is not there.
        let mute = self.guard.kind() != "none";
        let live = group.hold.is_some_and(|hold| mute || now < hold.deadline);
        let Some(links) = self.links_of(id, |_| live) else {
            return;
        };
        let there = |f: &Floating| present.contains(&(links[&f.at].index, f.address));
        let mut gone = group.addresses.clone();
        let (refused, fresh) = (&group.fitness.refused, &group.fitness.fresh);
        let to_come: BTreeSet<&Floating> = group.to_come().iter().collect();
        let is_gone = |f: &Floating| !there(f) && !to_come.contains(f);
        gone.retain(|f| !refused.contains_key(f) && !fresh.contains(f) && is_gone(f));
        for floating in gone {
            let Floating { address, at } = floating;
            let lifetime = self.lifetime();
            let fitness = &mut self.groups[usize::from(id.0)].fitness;
            let repairs = fitness.repairs.entry(floating).or_default();
            if let Err(due) = repairs.begin(now) {
                self.refresh_at(due);
                continue;
            }
            match address::put(&mut self.route, &links[&at], address, lifetime) {
                Ok(()) => self.push(KernelEvent::AddressPutBack { group: id, address }),
                Err(e) => {
                    fitness.refused.insert(floating, e.to_string());
                    self.wait_with(id);
                }
            }
        }
        let group = &mut self.groups[usize::from(id.0)];
        if group.fitness.refused.len() == group.addresses.len() {
            group.hold = None; // the next renewal will report why
        }
    }

    /// What of the groups' addresses is on this host although it should not be, in words.
    fn strange(&self, all: &[Link], present: &[Assigned]) -> Vec<(IpAddr, String)> {
        let ours = self.indices();
        let mut found = Vec::new();
        for group in &self.groups {
            let mut floats: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
            for Floating { address, at } in &group.addresses {
                floats.entry(*address).or_default().push(*at);
            }
            for a in present {
                let Some(at) = floats.get(&a.address) else {
                    continue;
                };
                let on_its_interface = at.iter().any(|at| {
                    let link = self.interfaces[*at].link.as_ref();
                    link.is_some_and(|link| link.index == a.index)
                });
                // A link-local address is another one on each interface.
                if address::is_link_local(a.address) && !on_its_interface {
                    continue;
                }
                let mine = a.is_ours(&ours);
                if mine && on_its_interface && (group.hold.is_some() || group.left.is_some()) {
                    continue;
                }
                let name = (all.iter().find(|link| link.index == a.index))
                    .map_or("an interface that is gone", |link| link.name.as_str());
                let what = format!("{}: {}/{} is on {name}", group.name, a.address, a.length);
                let mute = match (self.guard.kind(), group.hold.is_some()) {
                    ("none", _) => "nothing mutes it, for there is no guard",
                    (_, true) => "it stays there when this member lets go, mute",
                    (_, false) => "it is mute",
                };
                let words = match mine {
                    true => format!(
                        "{what} though this member does not hold it: another member's daemon on this \
                         host? {mute}"
                    ),
                    false => format!(
                        "{what} of this host though onehold did not put it there; {mute}. Take it out \
                         of {}",
                        source(a, name)
                    ),
                };
                found.push((a.address, words));
            }
        }
        found
    }
}

/// An address that this host depends on can't float, of `asked`, which are among the floating ones:
/// muting it would cut the host off.
pub(super) fn refuse_own(
    asked: &[IpAddr],
    floating: &[IpAddr],
    all: &[Link],
    present: &[Assigned],
) -> Result<(), KernelError> {
    let own = |a: &&Assigned| asked.contains(&a.address) && a.is_lived_by(present, floating);
    let Some(own) = present.iter().find(own) else {
        return Ok(());
    };
    let name = (all.iter().find(|link| link.index == own.index)).map_or("?", |link| &link.name);
    let why = format!(
        "{}/{} is an address that this host lives by on {name}, and floating ones are mute unless \
         held; give the host another address of its own there, or let another one float",
        own.address, own.length
    );
    Err(KernelError::refused(
        format!("guarding {}", own.address),
        why,
    ))
}

/// Who puts such addresses there.
fn source(a: &Assigned, interface: &str) -> &'static str {
    match (interface, a.lifetime.is_some()) {
        ("kube-ipvs0", _) => "Kubernetes' services (kube-proxy)",
        (_, true) => "what gives it a limited lifetime (a DHCP server, a router's announcements)",
        (_, false) => {
            "the host's network configuration (netplan, NetworkManager, systemd-networkd, ifupdown)"
        }
    }
}

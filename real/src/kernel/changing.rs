//! The groups change while they are held: addresses leave, and others come, and what remains goes on
//! without a moment's gap.
//!
//! What it never does: let an address be on an interface that is not guarded and written down, or
//! forget one that may still be there.

use super::holding::{AGAIN, Left, refuse_own};
use super::interfaces::Interface;
use super::{Floating, Group, Kernel, KernelError, KernelEvent, KernelGroup, arrange};
use crate::address::{self, Link};
use crate::guard::{Key, boottime, key};
use crate::netlink::Watch;
use crate::route::{self, Destination, PROTOCOL};
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Addresses and routes that have left the groups: guarded as long as they may be there.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    /// Where they were.
    links: Vec<Link>,
    /// The gate was last told to let one of them through until then, and not to shut since.
    open_until: Option<LocalTime>,
    /// The groups were changed since: once they are gone, they are not guarded any more.
    for_good: bool,
    /// When it is tried again to remove them, if the kernel refused that, and why it did.
    pub(super) due: Option<LocalTime>,
    refused: Option<String>,
}

impl Withdrawn {
    /// What could not be removed, in words.
    pub(super) fn in_words(&self) -> Option<String> {
        let why = self.refused.as_ref()?;
        Some(format!("of no group any more; tried again: {why}"))
    }
}

impl Kernel {
    /// these addresses leave the groups that have them; of none of these anything is effective
    /// any more, as after [`Self::let_go`]. What remains of a group goes on as it is; the routes of
    /// one that loses all its addresses go, too. (A link-local address leaves all interfaces.) They
    /// stay guarded, for they may come back by [`Self::change`]. Harmless for addresses of no group.
    ///
    /// # Errors
    /// When that is not so: then an address may still be effective until the deadline that it last
    /// got, but gets no other. It can be tried again.
    pub fn withdraw(&mut self, addresses: &[IpAddr]) -> Result<(), KernelError> {
        self.leave_groups(addresses);
        let (mut keys, _) = self.left_over();
        keys.retain(|key| addresses.contains(&crate::guard::address(key)));
        if keys.is_empty() {
            return Ok(());
        }
        let shut = self.shut_withdrawn(&keys);
        let gone = self.take_away_withdrawn();
        let links = (self.withdrawn.as_ref()).map_or_else(Vec::new, |w| w.links.clone());
        if self.guard.kind() == "none" {
            return gone.and_then(|()| self.nobody_has(addresses, &links));
        }
        if shut.is_ok() && self.gate_is_first_on(&links) {
            return Ok(());
        }
        if shut.is_err() || gone.is_err() {
            self.refresh(); // the one cause that we can repair: somebody took the gate away
        }
        self.shut_withdrawn(&keys)?;
        match self.gate_is_first_on(&links) {
            true => Ok(()),
            false => gone,
        }
    }

    /// They are in no group from now on: nothing puts or lets them through any more.
    fn leave_groups(&mut self, addresses: &[IpAddr]) {
        for group in &mut self.groups {
            let leaves = |f: &&Floating| addresses.contains(&f.address);
            let leaving = group.addresses.iter().filter(leaves);
            let at: BTreeSet<usize> = leaving.map(|f| f.at).collect();
            if at.is_empty() {
                continue;
            }
            let withdrawn = self.withdrawn.get_or_insert_default();
            let links = at.iter().filter_map(|at| self.interfaces[*at].link.clone());
            withdrawn.links.extend(links);
            withdrawn.open_until = withdrawn.open_until.max(group.open_until);
            group.addresses.retain(|f| !leaves(&f));
            let keys: BTreeSet<Key> = group.addresses.iter().map(|f| key(f.address)).collect();
            group.keys.retain(|key| keys.contains(key));
            let at: BTreeSet<usize> = group.addresses.iter().map(|f| f.at).collect();
            group.at.retain(|remaining| at.contains(remaining));
            if group.addresses.is_empty() {
                (group.hold, group.left, group.open_until) = (None, None, None);
                group.announcing = None;
                group.routes.clear();
            }
            group.fitness.keep(&group.addresses, &group.routes);
        }
        for interface in &mut self.interfaces {
            interface.addresses.retain(|a| !addresses.contains(a));
        }
        self.claimants.keep(|f| !addresses.contains(&f.address));
    }

    /// Something has left the groups, and they were not changed since, or it is not gone yet.
    pub(crate) const fn has_withdrawn(&self) -> bool {
        self.withdrawn.is_some()
    }

    /// What may be there because of us, and is of no group.
    fn left_over(&self) -> (Vec<Key>, Vec<Destination>) {
        let (keys, routes) = all_of(&self.groups);
        let (keys, routes): (BTreeSet<Key>, BTreeSet<Destination>) =
            (keys.into_iter().collect(), routes.into_iter().collect());
        let left = self.guard.keys().iter().filter(|key| !keys.contains(*key));
        let routes_left = self.guard.routes().iter();
        let routes_left = routes_left.filter(|at| !routes.contains(at));
        (left.copied().collect(), routes_left.copied().collect())
    }

    /// Shuts the gate for them, or finds that their last deadline has shut it.
    fn shut_withdrawn(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        let over = boottime();
        let shut = self.guard.shut(keys);
        let slack = self.slack;
        let is_over = |until: LocalTime| until.plus(slack) <= over;
        if let Some(withdrawn) = &mut self.withdrawn
            && (shut.is_ok() || withdrawn.open_until.is_some_and(is_over))
        {
            withdrawn.open_until = None;
            return Ok(());
        }
        shut
    }

    /// Removes what has left the groups; what the kernel refuses is tried again. After a change of
    /// the groups, what is gone is not guarded any more.
    ///
    /// # Errors
    /// When an address may still be there.
    pub(super) fn take_away_withdrawn(&mut self) -> Result<(), KernelError> {
        let Some(mut withdrawn) = self.withdrawn.take() else {
            return Ok(());
        };
        let (keys, routes) = self.left_over();
        let addresses: Vec<IpAddr> = keys.iter().map(crate::guard::address).collect();
        let at: Vec<u32> = withdrawn.links.iter().map(|link| link.index).collect();
        let gone = address::remove(&mut self.route, &addresses, &at);
        let mut all = match &gone {
            Ok(()) => route::remove(&mut self.routes, &routes).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        if all.is_ok() && withdrawn.for_good {
            let (keys, routes) = all_of(&self.groups);
            let forgotten = self.guard.guard_only(&keys, &routes);
            all = forgotten.map_err(|e| e.to_string());
        }
        let over = all.is_ok() && withdrawn.for_good;
        withdrawn.due = all.is_err().then(|| boottime().plus(AGAIN));
        withdrawn.refused = all.err();
        self.withdrawn = Some(withdrawn).filter(|_| !over);
        gone
    }

    /// Without a gate only that an address is not there makes it silent, whoever put it there.
    fn nobody_has(&mut self, addresses: &[IpAddr], links: &[Link]) -> Result<(), KernelError> {
        let there = address::list(&mut self.route)?;
        let counts = |a: &&address::Assigned| {
            let here = || links.iter().any(|link| link.index == a.index);
            addresses.contains(&a.address) && (!address::is_link_local(a.address) || here())
        };
        let why = "it is on this host though onehold did not put it there, and nothing mutes it, for there is no guard";
        match there.iter().find(counts) {
            None => Ok(()),
            Some(a) => Err(KernelError::refused(format!("removing {}", a.address), why)),
        }
    }

    /// whether this host lives by an address that would float with these groups, and does not
    /// yet: then [`Self::change`] would be refused.
    ///
    /// # Errors
    /// When it does, or the kernel does not answer.
    pub fn may_float(&mut self, groups: &[KernelGroup]) -> Result<(), KernelError> {
        let floating: Vec<IpAddr> = (groups.iter().flat_map(|g| &g.addresses))
            .map(|(address, _)| *address)
            .collect();
        self.lives_by_none(&floating).map(drop)
    }

    /// The kernel's links, if this host lives by no address that floats, and does not yet.
    fn lives_by_none(&mut self, floating: &[IpAddr]) -> Result<Vec<Link>, KernelError> {
        let all = address::links(&mut self.route)?;
        let known: BTreeSet<IpAddr> = self.floating().into_iter().collect();
        let new = floating.iter().filter(|a| !known.contains(a));
        let new: Vec<IpAddr> = new.copied().collect();
        let present = address::list(&mut self.route)?;
        refuse_own(&new, floating, &all, &present)?;
        Ok(all)
    }

    /// from now on these are the groups; the index of each is its [`GroupId`]. One that has a
    /// former one's name goes on as that; what it has not had before is mute until the next
    /// [`Self::hold_until`], which puts it there, too, and announces the group again. What is in no
    /// group any more should have been [withdrawn](Self::withdraw), also if it belongs to another
    /// interface or group now; else it is withdrawn here. `slack` and `lease` are as in
    /// [`Self::open`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel or the guard can't have one of the new addresses, or an interface, or this
    /// host lives by one. Then nothing has changed, but that more may be mute or withdrawn; it can
    /// be tried again.
    pub fn change(
        &mut self,
        groups: Vec<KernelGroup>,
        slack: Span,
        lease: Span,
    ) -> Result<(), KernelError> {
        let (groups, interfaces) = arrange(groups);
        let floating: Vec<IpAddr> = groups.iter().flat_map(Group::bare).collect();
        let all = self.lives_by_none(&floating)?;
        let (keys, routes) = all_of(&groups);
        if !routes.is_empty() && self.routes_watch.is_none() {
            self.routes_watch = Some(Watch::routes(PROTOCOL)?);
        }
        let before = (self.guard.keys().to_vec(), self.guard.routes().to_vec());
        self.guard.guard_also(&keys, &routes, slack)?;
        let gone = self.what_goes(&groups, &interfaces);
        let ready = self
            .gate_interfaces(&interfaces, &all)
            .and_then(|()| self.withdraw(&gone));
        if ready.is_err() {
            let _ = self.guard.guard_only(&before.0, &before.1); // else they stay mute
            return ready;
        }
        self.adopt(groups, interfaces, &all);
        let lasts = std::mem::replace(&mut self.lease, lease) == lease;
        self.slack = slack;
        if !lasts {
            let guard = self.guard_in_force();
            self.push(KernelEvent::GuardIs(guard));
        }
        self.withdrawn.get_or_insert_default().for_good = true;
        let _ = self.take_away_withdrawn(); // tried again
        self.guard.interfaces_changed();
        self.refresh_at(boottime());
        Ok(())
    }

    /// The gate stands first on every interface that is to be a group's from now on.
    fn gate_interfaces(&mut self, to_be: &[Interface], all: &[Link]) -> Result<(), KernelError> {
        let known: BTreeSet<u32> = self.indices().into_iter().collect();
        let named = |link: &&Link| to_be.iter().any(|i| link.is_called(&i.name));
        let links = all.iter().filter(|link| link.ethernet).filter(named);
        let new = links.filter(|link| !known.contains(&link.index));
        let new: Vec<Link> = new.cloned().collect();
        let links = [self.links(), new.clone()].concat();
        let put = new.iter().try_for_each(|link| {
            let guard = &mut self.guard;
            guard.stand_first_on(&mut self.route, link, &links)
        });
        if !new.is_empty() {
            self.hold_again(); // with nftables everything may be shut now
        }
        put
    }

    /// The addresses that are in another group, at another interface, or nowhere from now on.
    fn what_goes(&self, groups: &[Group], interfaces: &[Interface]) -> Vec<IpAddr> {
        let mut gone = Vec::new();
        for was in &self.groups {
            let is = groups.iter().find(|group| group.name == was.name);
            let there = is.iter().flat_map(|group| &group.addresses);
            let there = there.map(|f| (f.address, interfaces[f.at].name.as_str()));
            let there: BTreeSet<(IpAddr, &str)> = there.collect();
            let stays =
                |f: &Floating| there.contains(&(f.address, self.interfaces[f.at].name.as_str()));
            let goes = was.addresses.iter().filter(|f| !stays(f));
            gone.extend(goes.map(|f| f.address));
        }
        gone
    }

    /// These take the place of the groups and interfaces, and go on as those of the same name.
    fn adopt(&mut self, groups: Vec<Group>, interfaces: Vec<Interface>, all: &[Link]) {
        let mut former = std::mem::replace(&mut self.interfaces, interfaces);
        let place = |was: &Interface| self.interfaces.iter().position(|i| i.name == was.name);
        let moved: Vec<Option<usize>> = former.iter().map(place).collect();
        let mut new = Vec::new();
        for interface in &mut self.interfaces {
            match former.iter().position(|was| was.name == interface.name) {
                Some(at) => interface.goes_on(former.swap_remove(at)),
                None => {
                    let link = all.iter().find(|link| link.is_called(&interface.name));
                    let link = link.filter(|link| link.ethernet || interface.any);
                    interface.link = link.cloned();
                    new.extend(link.filter(|link| link.ethernet).cloned());
                }
            }
        }
        for link in new {
            self.settle_on(link);
        }
        let mut former = std::mem::replace(&mut self.groups, groups);
        let id = |was: &Group| {
            let same = |(_, is): &(u8, &Group)| is.name == was.name;
            (0..).zip(&self.groups).find(same).map(|(id, _)| id)
        };
        let ids: Vec<Option<u8>> = former.iter().map(id).collect();
        let is_left = (self.withdrawn.as_ref()).is_some_and(|w| w.due.is_some());
        for group in &mut self.groups {
            if let Some(at) = former.iter().position(|was| was.name == group.name) {
                group.goes_on(former.swap_remove(at), &moved);
            } else {
                group.fitness.fresh.extend(&group.addresses);
            }
            if is_left && group.hold.is_none() && !group.fitness.fresh.is_empty() {
                let (due, refused) = (boottime(), None);
                group.left = Some(Left { due, refused }); // of another one, which could not remove it
            }
        }
        self.claimants.move_to(&moved);
        let now = |was: u8| *ids.get(usize::from(was))?;
        if let Some(probes) = &mut self.probes {
            probes.move_to(now);
        }
        self.events.retain_mut(|event| match event.group_mut() {
            None => true,
            Some(group) => now(group.0).is_some_and(|id| {
                *group = GroupId(id);
                true
            }),
        });
    }
}

/// The keys and destinations of all groups.
fn all_of(groups: &[Group]) -> (Vec<Key>, Vec<Destination>) {
    let keys = groups.iter().flat_map(|g| &g.keys).copied().collect();
    let routes = groups.iter().flat_map(|g| &g.routes).map(|r| r.at);
    (keys, routes.collect())
}

impl Floating {
    /// The same, when the interfaces have other numbers: `moved` has the new one of each.
    pub(super) fn move_to(self, moved: &[Option<usize>]) -> Option<Self> {
        let at = *moved.get(self.at)?;
        at.map(|at| Self { at, ..self })
    }
}

impl Interface {
    /// It goes on as what a former one of the same name was.
    fn goes_on(&mut self, was: Self) {
        let Self {
            name: _,
            addresses: _,
            any: _,
            link,
            fault,
            port,
            prober,
            own,
            peer,
        } = was;
        // One that can't listen for other addresses is opened anew at the next look.
        self.port = port.filter(|port| port.listen_for(&self.addresses).is_ok());
        (self.link, self.fault, self.prober) = (link, fault, prober);
        (self.own, self.peer) = (own, peer);
    }
}

impl Group {
    /// It goes on as what a former one of the same name was; what is new comes with the next hold,
    /// or is tried out.
    fn goes_on(&mut self, was: Self, moved: &[Option<usize>]) {
        let Self {
            name: _,
            addresses,
            at: _,
            keys: _,
            announced: _,
            routes,
            hold,
            left,
            open_until,
            renewing: _, // from the beginning
            announcing,
            telling: _, // the schedule repeats it
            claimed,
            fitness,
            reported,
        } = was;
        (self.hold, self.left, self.open_until) = (hold, left, open_until);
        (self.announcing, self.claimed, self.reported) = (announcing, claimed, reported);
        self.fitness = fitness.moved(moved);
        let known = addresses.into_iter().filter_map(|f| f.move_to(moved));
        let known: BTreeSet<Floating> = known.collect();
        let new = self.addresses.iter().filter(|f| !known.contains(f));
        self.fitness.fresh.extend(new);
        self.fitness.fresh_routes |= self.routes != routes;
        self.fitness.keep(&self.addresses, &self.routes);
    }
}

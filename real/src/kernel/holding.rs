//! Holding and letting go: what is on the interfaces, and until when the gate lets it through.

use super::{Kernel, KernelEvent};
use crate::address;
use crate::guard::{Key, Standing, boottime};
use crate::netlink::KernelError;
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use std::net::IpAddr;

/// By how much an address outlives its lease when nobody is left to remove it; its lifetime is
/// renewed when only [`LIFETIME_LEFT`] of that remains beyond the lease.
const LIFETIME: Span = Span::from_millis(6_000);
const LIFETIME_LEFT: Span = Span::from_millis(2_000);

/// An address that was put on the interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) deadline: LocalTime,
    /// When the kernel removes the addresses by itself.
    pub(super) valid_until: LocalTime,
}

impl Kernel {
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
        let keys: Vec<Key> = self.groups.iter().flat_map(|g| &g.keys).copied().collect();
        self.guard.settle(&mut self.route, &keys, &all)
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
            if guard.standing(route, link)? == Standing::First {
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

    pub(super) fn look_at_addresses(&mut self) -> Result<(), KernelError> {
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
}

//! Whether this host has what a member needs, for `onehold check`: the kernel is asked once, and
//! nothing changed.

use super::fitness::{at_an_edge, not_at_home};
use super::holding::refuse_own;
use super::network::{in_no_network, reaches};
use super::{KernelError, KernelGroup};
use crate::address::{self, Link};
use crate::netlink::Netlink;
use std::net::IpAddr;

/// What a candidate needs and this host does not have.
pub(crate) struct Survey {
    /// What the daemon would not start with.
    pub(crate) refused: Option<String>,
    /// Why it would not hold a group here, or not well.
    pub(crate) doubts: Vec<String>,
}

/// Looks for what a candidate needs to hold its groups, and for its own addresses.
///
/// # Errors
/// When the kernel does not answer.
pub(crate) fn survey(groups: &[KernelGroup], own: &[IpAddr]) -> Result<Survey, KernelError> {
    let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
    let all = address::links(&mut route)?;
    let present = address::list(&mut route)?;
    let floating: Vec<IpAddr> = (groups.iter().flat_map(|g| &g.addresses))
        .map(|(address, _)| *address)
        .collect();
    let mut doubts = Vec::new();
    if !address::has_one_of(&present, own) {
        doubts.push(not_at_home(own));
    }
    for (group, interface) in groups
        .iter()
        .flat_map(|g| g.interfaces().into_iter().map(move |i| (g, i)))
    {
        let name = &group.name;
        let link = all.iter().find(|link| link.is_called(interface));
        let unfit = |link: &Link| link.unfit(group.announced);
        let why = link.map_or(Some("there is no such interface"), unfit);
        if let Some(why) = why {
            doubts.push(format!("{name}: can't be held here: {interface}: {why}"));
        }
        let Some(link) = link.filter(|_| why.is_none()) else {
            continue;
        };
        let there = present.iter().filter(|a| a.index == link.index);
        let nets: Vec<(IpAddr, u8)> = there
            .filter(|a| !floating.contains(&a.address))
            .map(|a| (a.address, a.length))
            .collect();
        let here = group.addresses.iter().filter(|(_, at)| at == interface);
        for address in here.map(|(address, _)| *address) {
            if let Some(why) = at_an_edge(&nets, address, interface) {
                doubts.push(format!("{name}: {why}"));
            } else if group.announced
                && !group.routes.iter().any(|r| r.reaches(interface, address))
                && !reaches(&mut route, link.index, address)
            {
                doubts.push(format!("{name}: {}", in_no_network(address, interface)));
            }
        }
    }
    let refused = refuse_own(&floating, &floating, &all, &present).err();
    Ok(Survey {
        refused: refused.map(|e| e.to_string()),
        doubts,
    })
}

/// Those of some interfaces that this host does not have; none, where it does not answer.
pub(crate) fn absent<'n>(names: &'n [&'n String]) -> impl Iterator<Item = &'n str> {
    let mut route = Netlink::open(libc::NETLINK_ROUTE).ok();
    let all = route.as_mut().and_then(|route| address::links(route).ok());
    let gone = move |name: &&&String| {
        (all.as_ref()).is_some_and(|all| !all.iter().any(|link| link.is_called(name)))
    };
    names.iter().filter(gone).map(|name| name.as_str())
}

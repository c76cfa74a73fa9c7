//! Routes that come and go with a group's addresses, by rtnetlink.
//!
//! Ours have a protocol number of their own: nothing else is ever removed or changed, and where
//! somebody else has such a route, ours is refused.

use crate::address::{ORIGIN, same_network};
use crate::netlink::{self, Doing as _, KernelError, Netlink, Request};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// By this number (`proto`) the kernel, and `ip route`, distinguish our routes from others.
pub const PROTOCOL: u8 = ORIGIN;
/// The table that is looked into by default.
pub const MAIN_TABLE: u32 = 254;
/// No rule leads here: whether the kernel would take a route is tried out in it.
const TRIAL_TABLE: u32 = 0x6f68_0000;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
/// On a link, or anywhere (for deletion).
const SCOPE_LINK: u8 = 253;
const SCOPE_ANY: u8 = 255;

/// What the kernel distinguishes routes by: it has one for each, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The network.
    pub to: IpAddr,
    /// The length of its prefix.
    pub length: u8,
    /// In which table.
    pub table: u32,
    /// Of several the kernel takes that with the least.
    pub metric: u32,
}

impl Destination {
    /// Whether what is for `address` goes there.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        same_network(self.to, address, self.length)
    }

    /// Where it is tried out.
    pub(crate) const fn trial(&self) -> Self {
        let table = TRIAL_TABLE;
        Self { table, ..*self }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            0 if self.to.is_ipv4() => f.write_str("default")?,
            0 => f.write_str("::/0")?,
            length => write!(f, "{}/{length}", self.to)?,
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        match (self.metric, self.to) {
            (0, IpAddr::V4(_)) | (IPV6_METRIC, IpAddr::V6(_)) => Ok(()),
            (metric, _) => write!(f, " metric {metric}"),
        }
    }
}

/// What an IPv6 route has if it is given none.
pub const IPV6_METRIC: u32 = 1024;

/// A route of a group's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// To where.
    pub at: Destination,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The address that this host sends from by it.
    pub src: Option<IpAddr>,
    /// The interface; if there is none, the kernel finds that of the gateway.
    pub interface: Option<String>,
}

impl Route {
    /// Whether what is for `address` reaches a neighbour by it, over an interface.
    #[must_use]
    pub fn reaches(&self, interface: &str, address: IpAddr) -> bool {
        let here = self.interface.as_deref() == Some(interface);
        here && self.via.is_none() && self.at.covers(address)
    }

    fn is(&self, found: &Found, index: Option<u32>) -> bool {
        self.at == found.at
            && self.via == found.via
            && self.src == found.src
            && (index.is_none() || index == found.index)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        for (word, address) in [("via", self.via), ("src", self.src)] {
            if let Some(address) = address {
                write!(f, " {word} {address}")?;
            }
        }
        match &self.interface {
            Some(interface) => write!(f, " on {interface}"),
            None => Ok(()),
        }
    }
}

/// A route that the kernel has and we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// To where.
    pub at: Destination,
    via: Option<IpAddr>,
    src: Option<IpAddr>,
    index: Option<u32>,
}

/// Routes with our protocol number, whoever of us made them.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn list(route: &mut Netlink) -> Result<Vec<Found>, KernelError> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let family = u8::try_from(family).unwrap_or(0);
        let mut request = Request::new();
        let about = [family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0, 0, 0, 0];
        request.message(libc::RTM_GETROUTE, netlink::NLM_F_DUMP, &about);
        let listed = route.dump(&mut request, |_, message| found.extend(read(message)));
        match listed {
            Err(e) if e.errno() == libc::EOPNOTSUPP => {} // a kernel without IPv6
            other => other.doing(|| "listing the routes".into())?,
        }
    }
    Ok(found)
}

fn read(message: &[u8]) -> Option<Found> {
    const RTM_F_CLONED: u32 = 0x200;
    let family = i32::from(*message.first()?);
    let protocol = *message.get(5)?;
    let flags = netlink::u32_at(message, 8)?;
    if protocol != PROTOCOL || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let attributes = message.get(12..)?;
    let number = |kind| netlink::u32_at(netlink::attribute(attributes, kind)?, 0);
    let address = |kind| {
        let bytes = netlink::attribute(attributes, kind)?;
        match family {
            libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            _ => None,
        }
    };
    let any: IpAddr = match family {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    Some(Found {
        at: Destination {
            to: address(RTA_DST).unwrap_or(any),
            length: *message.get(1)?,
            table: number(RTA_TABLE).unwrap_or_else(|| u32::from(message[4])),
            metric: number(RTA_PRIORITY).unwrap_or(0),
        },
        via: address(RTA_GATEWAY),
        src: address(RTA_PREFSRC),
        index: number(RTA_OIF),
    })
}

/// Whether a route is among those found.
#[must_use]
pub fn is_there(found: &[Found], route: &Route, index: Option<u32>) -> bool {
    found.iter().any(|found| route.is(found, index))
}

/// Adds a route, over the interface with this number if it names one. Another one of ours in its
/// place is replaced.
///
/// # Errors
/// When the kernel refuses, or somebody else has such a route.
pub fn put(netlink: &mut Netlink, route: &Route, index: Option<u32>) -> Result<(), KernelError> {
    let doing = || format!("adding the route {route}");
    match netlink.send(&mut addition(route, index)) {
        Err(e) if e.errno() == libc::EEXIST => {}
        other => return other.doing(doing),
    }
    let there = list(netlink)?;
    if is_there(&there, route, index) {
        return Ok(());
    }
    if there.iter().any(|found| found.at == route.at) {
        remove(netlink, &[route.at])?;
        return netlink.send(&mut addition(route, index)).doing(doing);
    }
    Err(KernelError::refused(
        doing(),
        format!(
            "this host has a route to {} that onehold did not make: write another `metric` or `table`, or take \
             that one out of the host's configuration and restart onehold here",
            route.at
        ),
    ))
}

/// Finds out whether the kernel would take a route: adds it where nothing looks for one, and removes
/// it at once. Whether somebody else has such a route is found when it is needed.
///
/// # Errors
/// When the kernel would refuse, and why.
pub fn try_out(
    netlink: &mut Netlink,
    route: &Route,
    index: Option<u32>,
) -> Result<(), KernelError> {
    let trial = Route {
        at: route.at.trial(),
        src: None, // it may float, and then it is not here
        ..route.clone()
    };
    put(netlink, &trial, index)
        .and_then(|()| remove(netlink, &[trial.at]))
        .map_err(|e| KernelError {
            doing: format!("adding the route {route}"),
            ..e
        })
}

/// Removes those of our routes that lead to one of `all`, and looks again until none is left.
///
/// # Errors
/// When the kernel refuses, or they keep coming back.
pub fn remove(netlink: &mut Netlink, all: &[Destination]) -> Result<(), KernelError> {
    if all.is_empty() {
        return Ok(());
    }
    for _ in 0..8 {
        let mut left = list(netlink)?;
        left.retain(|found| all.contains(&found.at));
        if left.is_empty() {
            return Ok(());
        }
        for found in left {
            delete(netlink, found.at, found.via, found.index)?;
        }
    }
    Err(KernelError::refused(
        format!("removing the route {}", all[0]),
        "somebody else keeps adding it with onehold's protocol number",
    ))
}

/// Removes a route, as it should be there: one question to the kernel.
///
/// # Errors
/// When the kernel refuses. That there is none is not an error.
pub fn take(netlink: &mut Netlink, route: &Route) -> Result<(), KernelError> {
    delete(netlink, route.at, route.via, None)
}

/// Success as well when somebody was faster.
fn delete(
    netlink: &mut Netlink,
    at: Destination,
    via: Option<IpAddr>,
    index: Option<u32>,
) -> Result<(), KernelError> {
    let mut request = Request::new();
    let about = header(at, SCOPE_ANY, 0);
    request.message(libc::RTM_DELROUTE, netlink::NLM_F_ACK, &about);
    describe(&mut request, at, via, index);
    match netlink.send(&mut request) {
        Err(e) if [libc::ESRCH, libc::ENODEV, libc::ENETUNREACH].contains(&e.errno()) => Ok(()),
        other => other.doing(|| format!("removing the route {at}")),
    }
}

fn addition(route: &Route, index: Option<u32>) -> Request {
    let scope = match (route.via, route.at.to) {
        (None, IpAddr::V4(_)) => SCOPE_LINK,
        _ => 0,
    };
    let mut request = Request::new();
    let how = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL;
    let about = header(route.at, scope, libc::RTN_UNICAST);
    request.message(libc::RTM_NEWROUTE, how, &about);
    describe(&mut request, route.at, route.via, index);
    if let Some(src) = route.src {
        address(&mut request, RTA_PREFSRC, src);
    }
    request
}

/// `struct rtmsg`
fn header(at: Destination, scope: u8, kind: u8) -> [u8; 12] {
    let family = match at.to {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    let family = u8::try_from(family).unwrap_or(0);
    [
        family, at.length, 0, 0, 0, PROTOCOL, scope, kind, 0, 0, 0, 0,
    ]
}

fn describe(request: &mut Request, at: Destination, via: Option<IpAddr>, index: Option<u32>) {
    if at.length > 0 {
        address(request, RTA_DST, at.to);
    }
    if let Some(via) = via {
        address(request, RTA_GATEWAY, via);
    }
    if let Some(index) = index {
        request.u32(RTA_OIF, index);
    }
    request
        .u32(RTA_TABLE, at.table)
        .u32(RTA_PRIORITY, at.metric);
}

fn address(request: &mut Request, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(a) => request.attr(kind, &a.octets()),
        IpAddr::V6(a) => request.attr(kind, &a.octets()),
    };
}

//! Interfaces and floating addresses, by rtnetlink.
//!
//! A floating address is always a /32 or /128, whatever its network's prefix: as the primary
//! address of a wider one its expiry could take the node's own address along. It is added with a
//! limited lifetime, so that a host whose daemon is dead loses it. That is housekeeping only; what
//! ends a lease is the guard.

use crate::netlink::{self, Doing as _, KernelError, Netlink, Refusal, Request};
use onehold_core::time::Span;
use std::net::IpAddr;

/// An interface as the kernel knows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number; a new one each time that it is created.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its alternative names.
    pub altnames: Vec<String>,
    /// Its hardware address; zero where there is none.
    pub mac: [u8; 6],
    /// Whether it is Ethernet, or looks like it: only there are ARP and the guard's offsets right.
    pub ethernet: bool,
    /// Why it can't serve an address now, if it can't.
    pub fault: Option<&'static str>,
}

impl Link {
    /// Whether it has this name, or this one among others.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|n| n == name)
    }
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub length: u8,
}

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// All interfaces.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn links(route: &mut Netlink) -> Result<Vec<Link>, KernelError> {
    let mut found = Vec::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETLINK, netlink::NLM_F_DUMP, &[0; 16]);
    let result = route.dump(&mut request, |_, message| found.extend(link(message)));
    result.doing(|| "listing the interfaces".into())?;
    Ok(found)
}

fn link(message: &[u8]) -> Option<Link> {
    let kind = netlink::u16_at(message, 2)?;
    let index = netlink::u32_at(message, 4)?;
    let flags = netlink::u32_at(message, 8)?.cast_signed();
    let attributes = message.get(16..)?;
    let mac = netlink::attribute(attributes, IFLA_ADDRESS).unwrap_or(&[]);
    let fault = if flags & libc::IFF_UP == 0 {
        Some("it is down")
    } else if flags & libc::IFF_RUNNING == 0 {
        // Not IFF_LOWER_UP: that comes before the queues are open, and what is announced then is lost.
        Some("it has no carrier, or is not operational yet")
    } else {
        None
    };
    let properties = netlink::attribute(attributes, IFLA_PROP_LIST).unwrap_or(&[]);
    let altnames = netlink::attributes(properties).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
    Some(Link {
        index,
        altnames: altnames
            .map(|(_, name)| netlink::text(name).to_owned())
            .collect(),
        name: netlink::text(netlink::attribute(attributes, IFLA_IFNAME)?).to_owned(),
        mac: mac.try_into().unwrap_or_default(),
        ethernet: kind == libc::ARPHRD_ETHER,
        fault,
    })
}

/// All addresses of all interfaces.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn list(route: &mut Netlink) -> Result<Vec<Assigned>, KernelError> {
    let mut found = Vec::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETADDR, netlink::NLM_F_DUMP, &[0; 8]);
    let result = route.dump(&mut request, |_, message| found.extend(assigned(message)));
    result.doing(|| "listing the addresses".into())?;
    Ok(found)
}

fn assigned(message: &[u8]) -> Option<Assigned> {
    let length = *message.get(1)?;
    let index = netlink::u32_at(message, 4)?;
    let attributes = message.get(8..)?;
    let address = netlink::attribute(attributes, IFA_LOCAL)
        .or_else(|| netlink::attribute(attributes, IFA_ADDRESS))?;
    let address = match i32::from(*message.first()?) {
        libc::AF_INET => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        libc::AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
        _ => return None,
    };
    Some(Assigned {
        index,
        address,
        length,
    })
}

/// Adds a floating address, or gives it a new lifetime if it is there.
///
/// # Errors
/// When the kernel refuses.
pub fn add(
    route: &mut Netlink,
    link: &Link,
    address: IpAddr,
    lifetime: Span,
) -> Result<(), KernelError> {
    let valid = u32::try_from(lifetime.as_nanos().div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
    // A deprecated IPv6 address serves whoever asks for it, and is not picked as the source of
    // the host's own connections, which would not survive a failover. IPv4 picks by route.
    let preferred = if address.is_ipv6() { 0 } else { valid };
    let mut lifetimes = [0; 16];
    lifetimes[..4].copy_from_slice(&preferred.to_ne_bytes());
    lifetimes[4..8].copy_from_slice(&valid.to_ne_bytes());
    let mut request = Request::new();
    let flags = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_REPLACE;
    named(
        &mut request,
        libc::RTM_NEWADDR,
        flags,
        link.index,
        address,
        full(address),
    )
    .attr(IFA_CACHEINFO, &lifetimes)
    // Duplicate address detection would keep it silent for a second; the votes already
    // exclude another holder.
    .u32(
        IFA_FLAGS,
        if address.is_ipv6() {
            libc::IFA_F_NODAD
        } else {
            0
        },
    );
    route
        .send(&mut request)
        .doing(|| format!("adding {address} to {}", link.name))
}

/// Removes `addresses`, whatever their prefix length and interface, and looks again until none of
/// them is left.
///
/// # Errors
/// When the kernel refuses, or they keep coming back.
pub fn remove(route: &mut Netlink, addresses: &[IpAddr]) -> Result<(), KernelError> {
    for _ in 0..8 {
        let mut left = list(route)?;
        left.retain(|a| addresses.contains(&a.address));
        if left.is_empty() {
            return Ok(());
        }
        for a in left {
            let mut request = Request::new();
            let flags = netlink::NLM_F_ACK;
            named(
                &mut request,
                libc::RTM_DELADDR,
                flags,
                a.index,
                a.address,
                a.length,
            );
            gone(route.send(&mut request)).doing(|| format!("removing {}", a.address))?;
        }
    }
    Err(KernelError::refused(
        format!("removing {addresses:?}"),
        "somebody else keeps adding them; find out who configures them on this host",
    ))
}

/// Success, too, when somebody was faster.
fn gone(result: Result<(), Refusal>) -> Result<(), Refusal> {
    match result {
        Err(e) if [libc::EADDRNOTAVAIL, libc::ENODEV].contains(&e.errno()) => Ok(()),
        other => other,
    }
}

const fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Begins a message about one address on one interface.
fn named(
    request: &mut Request,
    kind: u16,
    flags: i32,
    index: u32,
    address: IpAddr,
    length: u8,
) -> &mut Request {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut fixed = [0; 8];
    fixed[0] = u8::try_from(family).unwrap_or(0);
    fixed[1] = length;
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    request.message(kind, flags, &fixed);
    match address {
        IpAddr::V4(a) => request
            .attr(IFA_LOCAL, &a.octets())
            .attr(IFA_ADDRESS, &a.octets()),
        IpAddr::V6(a) => request
            .attr(IFA_LOCAL, &a.octets())
            .attr(IFA_ADDRESS, &a.octets()),
    }
}

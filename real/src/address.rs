//! Interfaces and floating addresses, by rtnetlink.
//!
//! A floating address is always a /32 or /128, whatever its network's prefix: as the primary
//! address of a wider one its expiry could take the node's own address along. It is added with a
//! limited lifetime, so that a host whose daemon is dead loses it. That is housekeeping only; what
//! ends a lease is the guard. And it is marked as ours: nothing else is ever removed or changed.

use crate::netlink::{self, Doing as _, KernelError, Netlink, Request};
use onehold_core::time::Span;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

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
    /// Whether it is this host's loopback: nothing comes in by it.
    pub loopback: bool,
    /// Why it can't serve an address now, if it can't.
    pub fault: Option<&'static str>,
    /// Whether what arrives is another interface's, such as a bridge's or a bond's, of which this
    /// is a part.
    pub part: bool,
    /// The number of what it is a part of.
    pub master: Option<u32>,
    /// The number of what it lies on and sends by: a VLAN's trunk, say.
    pub lower: Option<u32>,
    /// Whether it is one end of a veth pair.
    pub pair: bool,
    /// It neither asks nor answers by ARP.
    pub noarp: bool,
    /// The XDP program that sees frames before anybody else does, if there is one.
    pub xdp: Option<u32>,
}

impl Link {
    /// Whether it has this name, or this one among others.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.altnames.iter().any(|n| n == name)
    }

    /// Why it can't serve an address, if it can't: one that is to be announced there, or one for
    /// which a routing daemon brings the packets.
    #[must_use]
    pub fn unfit(&self, announced: bool) -> Option<&'static str> {
        match (announced, self.ethernet) {
            (true, true) => self.fault,
            (true, false) => Some(
                "it is not an Ethernet interface; where a routing daemon announces the addresses, write \
                 `announce = \"none\"`",
            ),
            (false, _) => self.fault.filter(|fault| *fault == DOWN),
        }
    }
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The address of the other end, where there is one.
    pub peer: Option<IpAddr>,
    /// Its prefix length.
    pub length: u8,
    /// For how many more seconds it is there, if not forever.
    pub lifetime: Option<u32>,
    /// Who put it there, if that says so: `IFA_PROTO`.
    pub origin: u8,
    flags: u32,
}

impl Assigned {
    /// Whether we put it there. Nobody else's address has all of our marks: no wider than itself,
    /// with a limited lifetime, and with [`ORIGIN`]; before Linux 5.18, which has no such number,
    /// on one of our `interfaces`.
    #[must_use]
    pub fn is_ours(&self, interfaces: &[u32]) -> bool {
        let marked = match has_origins() {
            true => self.origin == ORIGIN,
            false => interfaces.contains(&self.index),
        };
        marked
            && self.lifetime.is_some()
            && self.peer.is_none()
            && self.length == full(self.address)
    }

    /// One that is the host's own, for tests.
    #[cfg(test)]
    pub(crate) const fn own(index: u32, address: IpAddr, length: u8) -> Self {
        Self {
            index,
            address,
            peer: None,
            length,
            lifetime: None,
            origin: 0,
            flags: 0,
        }
    }

    /// Whether it surely is: nobody else gives an address such a short lifetime.
    #[must_use]
    pub fn is_surely_ours(&self) -> bool {
        const LONGEST: u32 = 60;
        self.is_ours(&[self.index]) && self.lifetime.is_some_and(|s| s <= LONGEST)
    }

    /// Whether it can be used: a new IPv6 address can't until nobody else was found to have it.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) == 0
    }

    /// Whether this host lives by it, and would be cut off if it were mute: nothing else that does
    /// not float is on that interface, or what is there is secondary to it.
    #[must_use]
    pub fn is_lived_by(&self, all: &[Self], floating: &[IpAddr]) -> bool {
        let mut others = (all.iter()).filter(|other| {
            other.index == self.index
                && !floating.contains(&other.address)
                && !is_link_local(other.address)
        });
        let dependent = |other: &Self| self.address.is_ipv4() && self.is_network_of(other.address);
        let alone = others.clone().next().is_none() || others.any(dependent);
        let secondary = self.address.is_ipv4() && self.flags & libc::IFA_F_SECONDARY != 0;
        let wide = self.length < full(self.address) && !self.address.is_loopback();
        wide && !secondary && alone && !is_link_local(self.address)
    }

    /// Whether the other address is of the same network.
    fn is_network_of(&self, other: IpAddr) -> bool {
        same_network(self.address, other, self.length)
    }
}

/// Whether two addresses are of one network with a prefix of that length.
#[must_use]
pub fn same_network(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let differ = match (one, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => return false,
    };
    u32::from(length) <= differ
}

/// Whether an address means another machine on each network.
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

/// What an address is in a network of such a prefix, if no machine can have it there: `the
/// broadcast address of 10.0.0.0/24`, say.
#[must_use]
pub fn edge_of(address: IpAddr, length: u8) -> Option<String> {
    let (bits, host, all) = match address {
        IpAddr::V4(a) => (32, u128::from(u32::from(a)), u128::from(u32::MAX)),
        IpAddr::V6(a) => (128, u128::from(a), u128::MAX),
    };
    if length == 0 || length > bits - 2 {
        return None; // in networks of two, or one, each is a machine's
    }
    let mask = all >> length;
    let network = match address {
        IpAddr::V4(a) => IpAddr::from(Ipv4Addr::from_bits(a.to_bits() & !(mask as u32))),
        IpAddr::V6(a) => IpAddr::from(Ipv6Addr::from_bits(a.to_bits() & !mask)),
    };
    match host & mask {
        0 if bits == 128 => Some(format!(
            "the address of all routers of {network}/{length} (subnet-router anycast)"
        )),
        0 => Some(format!(
            "the address of the network {network}/{length} itself"
        )),
        last if last == mask && bits == 32 => {
            Some(format!("the broadcast address of {network}/{length}"))
        }
        _ => None,
    }
}

/// Whether one of these addresses is on this host, and usable.
pub fn has_one_of(present: &[Assigned], own: &[IpAddr]) -> bool {
    (present.iter()).any(|a| a.is_usable() && own.contains(&a.address))
}

/// By this number of `IFA_PROTO` the kernel, and `ip -details address`, distinguish our addresses
/// from others.
pub const ORIGIN: u8 = 79;

/// Whether this kernel keeps `IFA_PROTO`: Linux 5.18 and later.
fn has_origins() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        let mut next = || numbers.next().and_then(|n| n.parse::<u32>().ok());
        next().zip(next()) >= Some((5, 18))
    })
}

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_EXT_MASK: u16 = 29;
/// `RTEXT_FILTER_SKIP_STATS`: they are the most of it.
const WITHOUT_COUNTERS: u32 = 1 << 3;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const DOWN: &str = "it is down";
/// A lifetime without end.
const FOREVER: u32 = u32::MAX;

/// All interfaces.
///
/// # Errors
/// When the kernel refuses to list them.
pub fn links(route: &mut Netlink) -> Result<Vec<Link>, KernelError> {
    let mut found = Vec::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETLINK, netlink::NLM_F_DUMP, &[0; 16]);
    request.u32(IFLA_EXT_MASK, WITHOUT_COUNTERS);
    let result = route.dump(&mut request, |_, message| found.extend(link(message)));
    result.doing(|| "listing the interfaces".into())?;
    let down = |link: &&Link| link.fault == Some(DOWN);
    let down: Vec<u32> = found.iter().filter(down).map(|link| link.index).collect();
    let under = |link: &Link| link.part && link.master.is_some_and(|m| down.contains(&m));
    for link in &mut found {
        if link.fault.is_none() && under(link) {
            link.fault = Some("what it is a part of is down, and takes all that arrives");
        }
    }
    Ok(found)
}

/// Whether there is an interface with this number. If that can't be asked, yes.
pub fn is_there(route: &mut Netlink, index: u32) -> bool {
    let mut about = [0; 16];
    about[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut request = Request::new();
    request.message(libc::RTM_GETLINK, netlink::NLM_F_ACK, &about);
    let asked = route.dump(&mut request, |_, _| ());
    !asked.is_err_and(|e| e.errno() == libc::ENODEV)
}

fn link(message: &[u8]) -> Option<Link> {
    let kind = netlink::u16_at(message, 2)?;
    let index = netlink::u32_at(message, 4)?;
    let flags = netlink::u32_at(message, 8)?.cast_signed();
    let attributes = message.get(16..)?;
    let mac = netlink::attribute(attributes, IFLA_ADDRESS).unwrap_or(&[]);
    let fault = if flags & libc::IFF_UP == 0 {
        Some(DOWN)
    } else if flags & libc::IFF_RUNNING == 0 {
        // Not IFF_LOWER_UP: that comes before the queues are open, and what is announced then is
        // lost.
        Some("it has no carrier, or is not operational yet")
    } else {
        None
    };
    let info = netlink::attribute(attributes, IFLA_LINKINFO).unwrap_or(&[]);
    let pair = netlink::attribute(info, IFLA_INFO_KIND).map(netlink::text) == Some("veth");
    let number = |kind| netlink::u32_at(netlink::attribute(attributes, kind)?, 0);
    // In another namespace the number is another interface's; and what a pair's other end gets has
    // arrived.
    let elsewhere = netlink::attribute(attributes, IFLA_LINK_NETNSID).is_some();
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
        loopback: kind == libc::ARPHRD_LOOPBACK,
        fault,
        master: number(IFLA_MASTER),
        lower: number(IFLA_LINK).filter(|_| !pair && !elsewhere),
        pair,
        noarp: flags & libc::IFF_NOARP != 0,
        part: netlink::attribute(info, IFLA_INFO_SLAVE_KIND)
            // What is in a VRF has addresses of its own.
            .is_some_and(|kind| netlink::text(kind) != "vrf"),
        xdp: netlink::attribute(attributes, IFLA_XDP).and_then(xdp),
    })
}

/// The number of the XDP program, or 0 where there are several.
fn xdp(attributes: &[u8]) -> Option<u32> {
    let attached = netlink::attribute(attributes, IFLA_XDP_ATTACHED)?;
    let id = || netlink::u32_at(netlink::attribute(attributes, IFLA_XDP_PROG_ID)?, 0);
    (attached.first() != Some(&0)).then(|| id().unwrap_or(0))
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
    let family = i32::from(*message.first()?);
    let length = *message.get(1)?;
    let few_flags = u32::from(*message.get(2)?);
    let index = netlink::u32_at(message, 4)?;
    let attributes = message.get(8..)?;
    let attribute = |kind| netlink::attribute(attributes, kind);
    let address = |kind| {
        let bytes = attribute(kind)?;
        match family {
            libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
            libc::AF_INET6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
            _ => None,
        }
    };
    // With a peer this is the peer's, and else the same or all that there is.
    let far = address(IFA_ADDRESS);
    let local = address(IFA_LOCAL).or(far)?;
    Some(Assigned {
        index,
        address: local,
        peer: far.filter(|far| *far != local),
        length,
        lifetime: (attribute(IFA_CACHEINFO).and_then(|info| netlink::u32_at(info, 4)))
            .filter(|valid| *valid != FOREVER),
        origin: attribute(IFA_PROTO)
            .and_then(|o| o.first().copied())
            .unwrap_or(0),
        flags: (attribute(IFA_FLAGS).and_then(|flags| netlink::u32_at(flags, 0)))
            .unwrap_or(few_flags),
    })
}

/// Puts a floating address on an interface, or gives it a new lifetime if it is there. One that
/// somebody else put there stays as it is, and will do.
///
/// # Errors
/// When the kernel refuses.
pub fn put(
    route: &mut Netlink,
    link: &Link,
    address: IpAddr,
    lifetime: Span,
) -> Result<(), KernelError> {
    if add(route, link, address, lifetime, netlink::NLM_F_EXCL)? == Added::Yes {
        return Ok(());
    }
    let there = list(route)?;
    let ours =
        |a: &&Assigned| a.index == link.index && a.address == address && a.is_ours(&[link.index]);
    if there.iter().any(|a| ours(&a)) {
        add(route, link, address, lifetime, netlink::NLM_F_REPLACE)?;
    }
    answers(&there, link, address)
}

/// Puts floating addresses on interfaces, and gives those that were there at the last look a new
/// lifetime, all at once; returns which of them the kernel refuses, by their place. One that somebody
/// else put there stays as it is, and will do.
pub fn renew(
    route: &mut Netlink,
    all: &[(&Link, IpAddr)],
    lifetime: Span,
    there: &[Assigned],
) -> Vec<(usize, KernelError)> {
    let ours = |there: &[Assigned]| -> BTreeSet<(u32, IpAddr)> {
        let ours = there.iter().filter(|a| a.is_ours(&[a.index]));
        ours.map(|a| (a.index, a.address)).collect()
    };
    let known = ours(there);
    let how = |known: &BTreeSet<(u32, IpAddr)>, link: &Link, address| match known
        .contains(&(link.index, address))
    {
        true => netlink::NLM_F_REPLACE,
        false => netlink::NLM_F_EXCL,
    };
    let named = |at: usize| all.get(at).copied();
    let wanted: Vec<_> = (all.iter())
        .map(|(link, address)| (*link, *address, how(&known, link, *address)))
        .collect();
    let (is_there, mut refused): (Vec<_>, Vec<_>) = add_all(route, &wanted, lifetime)
        .into_iter()
        .partition(|(at, e)| e.errno() == libc::EEXIST && wanted[*at].2 == netlink::NLM_F_EXCL);
    let places: Vec<usize> = is_there.into_iter().map(|(at, _)| at).collect();
    if places.is_empty() {
        return refused;
    }
    let there = match list(route) {
        Ok(there) => there,
        Err(e) => {
            let doing = |at: &usize| (*at, KernelError::refused(&e.doing, e.cause.to_string()));
            refused.extend(places.iter().map(doing));
            return refused;
        }
    };
    let known = ours(&there);
    let again: Vec<(usize, &Link, IpAddr)> = (places.iter())
        .filter_map(|at| named(*at).map(|(link, address)| (*at, link, address)))
        .filter(|(_, link, address)| known.contains(&(link.index, *address)))
        .collect();
    let wanted: Vec<_> = (again.iter())
        .map(|(_, link, address)| (*link, *address, netlink::NLM_F_REPLACE))
        .collect();
    let failed = add_all(route, &wanted, lifetime).into_iter();
    refused.extend(failed.map(|(n, e)| (again[n].0, e)));
    for (at, (link, address)) in places.iter().filter_map(|at| Some((*at, named(*at)?))) {
        refused.extend(answers(&there, link, address).err().map(|e| (at, e)));
    }
    refused
}

/// Adds addresses; returns which the kernel refuses, by their place.
fn add_all(
    route: &mut Netlink,
    all: &[(&Link, IpAddr, i32)],
    lifetime: Span,
) -> Vec<(usize, KernelError)> {
    let mut request = Request::new();
    for (n, (link, address, how)) in (1..).zip(all) {
        let ack = if n == all.len() {
            netlink::NLM_F_ACK
        } else {
            0
        };
        let how = ack | netlink::NLM_F_CREATE | how;
        added(&mut request, link, *address, lifetime, how);
    }
    let doing = |at: usize| {
        let (link, address, _) = all[at];
        format!("adding {address} to {}", link.name)
    };
    let failed = match all {
        [] => Ok(Vec::new()),
        _ => route.send_each(&mut request),
    };
    match failed {
        Ok(refused) => (refused.into_iter())
            .filter(|(at, _)| *at < all.len())
            .filter_map(|(at, e)| Some((at, Err::<(), _>(e).doing(|| doing(at)).err()?)))
            .collect(),
        Err(e) => {
            let why = format!("{e:?}");
            let each = (0..all.len()).map(|at| (at, KernelError::refused(doing(at), why.clone())));
            each.collect()
        }
    }
}

/// An address that somebody else put there serves as well, if the kernel answers for it.
fn answers(there: &[Assigned], link: &Link, address: IpAddr) -> Result<(), KernelError> {
    let dead = |a: &Assigned| a.index == link.index && a.address == address && !a.is_usable();
    if there.iter().any(dead) {
        return Err(KernelError::refused(
            format!("using {address} on {}", link.name),
            "the host has it by itself, and duplicate address detection found another machine with it, \
             or goes on; take it out of the host's configuration",
        ));
    }
    Ok(())
}

/// Finds out whether the kernel would take a floating address: puts it there and removes it at
/// once. Only for one that the gate mutes.
///
/// # Errors
/// When the kernel would refuse, and why.
pub fn try_out(route: &mut Netlink, link: &Link, address: IpAddr) -> Result<(), KernelError> {
    let lifetime = Span::from_millis(1_000); // whatever becomes of this process
    match add(route, link, address, lifetime, netlink::NLM_F_EXCL)? {
        Added::Yes => delete(route, link.index, address, address, full(address)),
        Added::IsThere => answers(&list(route)?, link, address),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    Yes,
    /// One like it is there.
    IsThere,
}

fn add(
    route: &mut Netlink,
    link: &Link,
    address: IpAddr,
    lifetime: Span,
    how: i32,
) -> Result<Added, KernelError> {
    let mut request = Request::new();
    let how = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | how;
    added(&mut request, link, address, lifetime, how);
    match route.send(&mut request) {
        Err(e) if e.errno() == libc::EEXIST && how & netlink::NLM_F_EXCL != 0 => Ok(Added::IsThere),
        other => other
            .doing(|| format!("adding {address} to {}", link.name))
            .map(|()| Added::Yes),
    }
}

/// The message that adds an address.
fn added(request: &mut Request, link: &Link, address: IpAddr, lifetime: Span, how: i32) {
    let valid = u32::try_from(lifetime.as_nanos().div_ceil(1_000_000_000)).unwrap_or(FOREVER - 1);
    // A deprecated IPv6 address serves whoever asks for it, and is not picked as the source of
    // the host's own connections, which would not survive a failover. IPv4 picks by route.
    let preferred = if address.is_ipv6() { 0 } else { valid };
    let mut lifetimes = [0; 16];
    lifetimes[..4].copy_from_slice(&preferred.to_ne_bytes());
    lifetimes[4..8].copy_from_slice(&valid.to_ne_bytes());
    // Duplicate address detection would keep it silent for a second; the votes already
    // exclude another holder.
    let flags = match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => libc::IFA_F_NODAD,
    };
    let kind = libc::RTM_NEWADDR;
    let (length, index) = (full(address), link.index);
    named(request, kind, how, index, address, address, length)
        .attr(IFA_CACHEINFO, &lifetimes)
        .u32(IFA_FLAGS, flags)
        .attr(IFA_PROTO, &[ORIGIN]);
}

/// Removes those of `addresses` that are [ours](Assigned::is_ours), and looks again until none of
/// them is left. What others put there stays.
///
/// # Errors
/// When the kernel refuses, or they keep coming back.
pub fn remove(
    route: &mut Netlink,
    addresses: &[IpAddr],
    interfaces: &[u32],
) -> Result<(), KernelError> {
    for _ in 0..8 {
        if remove_some(route, addresses, interfaces, usize::MAX)? == 0 {
            return Ok(());
        }
    }
    Err(KernelError::refused(
        format!("removing {addresses:?}"),
        "somebody else keeps adding them; find out who configures them on this host",
    ))
}

/// Removes so many of them, at most, and says how many.
///
/// # Errors
/// When the kernel refuses.
pub fn remove_some(
    route: &mut Netlink,
    addresses: &[IpAddr],
    interfaces: &[u32],
    most: usize,
) -> Result<usize, KernelError> {
    let addresses: BTreeSet<&IpAddr> = addresses.iter().collect();
    let mut left = list(route)?;
    left.retain(|a| addresses.contains(&a.address) && a.is_ours(interfaces));
    left.truncate(most);
    let mut request = Request::new();
    for (n, a) in (1..).zip(&left) {
        let far = a.peer.unwrap_or(a.address);
        let ack = if n == left.len() {
            netlink::NLM_F_ACK
        } else {
            0
        };
        let kind = libc::RTM_DELADDR;
        named(&mut request, kind, ack, a.index, a.address, far, a.length);
    }
    if left.is_empty() {
        return Ok(0);
    }
    let refused = route.send_each(&mut request);
    let refused = refused.doing(|| format!("removing {addresses:?}"))?;
    for (at, e) in refused {
        // Success as well when somebody was faster.
        let gone = [libc::EADDRNOTAVAIL, libc::ENODEV].contains(&e.errno());
        if let Some(a) = left.get(at).filter(|_| !gone) {
            return Err(e).doing(|| format!("removing {}", a.address));
        }
    }
    Ok(left.len())
}

/// Success as well when somebody was faster.
fn delete(
    route: &mut Netlink,
    index: u32,
    local: IpAddr,
    far: IpAddr,
    length: u8,
) -> Result<(), KernelError> {
    let mut request = Request::new();
    let kind = libc::RTM_DELADDR;
    named(
        &mut request,
        kind,
        netlink::NLM_F_ACK,
        index,
        local,
        far,
        length,
    );
    match route.send(&mut request) {
        Err(e) if [libc::EADDRNOTAVAIL, libc::ENODEV].contains(&e.errno()) => Ok(()),
        other => other.doing(|| format!("removing {local}")),
    }
}

const fn full(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Starts a message about one address on one interface.
fn named(
    request: &mut Request,
    kind: u16,
    flags: i32,
    index: u32,
    local: IpAddr,
    far: IpAddr,
    length: u8,
) -> &mut Request {
    let family = match local {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    let mut fixed = [0; 8];
    fixed[0] = u8::try_from(family).unwrap_or(0);
    fixed[1] = length;
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    request.message(kind, flags, &fixed);
    for (kind, address) in [(IFA_LOCAL, local), (IFA_ADDRESS, far)] {
        match address {
            IpAddr::V4(a) => request.attr(kind, &a.octets()),
            IpAddr::V6(a) => request.attr(kind, &a.octets()),
        };
    }
    request
}

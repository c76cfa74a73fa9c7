//! The kernel's switches that decide whether it answers for an address, takes what is sent to it,
//! and keeps the host's own address.
//!
//! `arp_announce` is none of them: it chooses the sender of the host's own questions.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, number, sysctl};
use crate::address::{Link, is_link_local};
use crate::neighbour::{hop, takes};
use crate::netlink::Netlink;
use std::net::{IpAddr, Ipv4Addr};

pub(super) const EXAMINATION: Examination = Examination {
    finds: &[
        "arp-ignore",
        "arp-filter",
        "rp-filter",
        "nonlocal-bind",
        "forwarding",
        "accept-ra",
        "ipv6-off",
        "deaf-neighbour",
    ],
    look,
};

/// From here on `arp_ignore` answers nobody.
const NEVER: u32 = 8;
const STRICT: u32 = 1;
/// Documentation's own: nobody's network.
const FAR: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

fn look(p: &Patient, found: &mut Found) {
    for (link, addresses) in p.announced() {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|a| a.is_ipv4());
        if !v4.is_empty() {
            arp(link, &v4, found);
            reverse_path(p, link, &v4, found);
        }
        if !v6.is_empty() {
            ipv6_is_on(link, found);
        }
        router_advertisements(p, link, found);
        deaf(link, !v4.is_empty(), !v6.is_empty(), found);
    }
    nonlocal_bind(p, found);
    forwarding(p, found);
}

/// What the kernel uses where an interface and all of them have a say.
fn greater(family: &str, link: &Link, key: &str) -> Option<(u32, String)> {
    let of = |name: &str| {
        let key = format!("{family}/conf/{name}/{key}");
        number(&key).map(|n| (n, key))
    };
    of(&link.name)
        .into_iter()
        .chain(of("all"))
        .max_by_key(|(n, _)| *n)
}

fn set(key: &str, value: u32) -> String {
    format!("sysctl -w net/{key}={value}, and a line in /etc/sysctl.d/ for the next boot")
}

fn arp(link: &Link, addresses: &[IpAddr], found: &mut Found) {
    match greater("ipv4", link, "arp_ignore") {
        None => found.unknown(
            "arp-ignore",
            format!("{}: arp_ignore can't be read", link.name),
            "",
        ),
        Some((n, key)) if n >= NEVER => found.problem(
            "arp-ignore",
            format!(
                "net/{key} is {n}: this host answers no ARP on {}",
                link.name
            ),
            "no client finds an address that is held here",
            set(&key, 1),
        ),
        Some((n, _)) => found.fine("arp-ignore", format!("{}: {n}", link.name)),
    }
    let filter = greater("ipv4", link, "arp_filter").filter(|(n, _)| *n > 0);
    let Some((_, key)) = filter else {
        return found.fine("arp-filter", format!("{}: off", link.name));
    };
    let Ok(mut route) = Netlink::open(libc::NETLINK_ROUTE) else {
        return found.unknown("arp-filter", "the kernel does not say its routes", "");
    };
    let astray = addresses.iter().find(|address| {
        let back = hop(&mut route, None, beside(**address));
        back.is_none_or(|hop| !hop.here && hop.index != link.index)
    });
    match astray {
        Some(address) => found.problem(
            "arp-filter",
            format!(
                "net/{key} is 1, and the way back to the neighbours of {address} is not by {}",
                link.name
            ),
            "the kernel does not answer ARP by an interface by which it would not send",
            set(&key, 0),
        ),
        None => found.fine(
            "arp-filter",
            format!("{}: on, and the way back is the same", link.name),
        ),
    }
}

/// The address beside another one.
fn beside(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() ^ 1).into(),
        other => other,
    }
}

fn reverse_path(p: &Patient, link: &Link, addresses: &[IpAddr], found: &mut Found) {
    let Some((value, key)) = greater("ipv4", link, "rp_filter") else {
        return found.unknown(
            "rp-filter",
            format!("{}: rp_filter can't be read", link.name),
            "",
        );
    };
    let Ok(mut route) = Netlink::open(libc::NETLINK_ROUTE) else {
        return found.unknown("rp-filter", "the kernel does not say its routes", "");
    };
    let name = &link.name;
    let there = |address: &&IpAddr| (p.present.iter()).any(|a| a.address == **address);
    for address in addresses.iter().filter(there) {
        let neighbour = beside(*address);
        let way = hop(&mut route, None, neighbour);
        if way.is_some_and(|h| h.unicast && !h.gateway)
            && !takes(&mut route, link.index, neighbour, *address)
        {
            return found.problem(
                "rp-filter",
                format!("the kernel does not take what comes in by {name} from the neighbours of {address}"),
                "clients there get no answer",
                format!("ip route get {address} from {neighbour} iif {name} says why; ip rule; {}", set(&key, 2)),
            );
        }
    }
    let far = hop(&mut route, None, FAR).filter(|hop| value == STRICT && hop.index != link.index);
    match far {
        Some(_) => found.advice(
            "rp-filter",
            format!("net/{key} is 1, and the default route is not by {name}"),
            "clients from other networks that come in by it are not answered",
            set(&key, 2),
        ),
        None => found.fine("rp-filter", format!("{name}: {value}")),
    }
}

fn nonlocal_bind(p: &Patient, found: &mut Found) {
    let floating = p.groups.iter().flat_map(|g| &g.addresses);
    let floating: Vec<IpAddr> = floating.map(|(a, _)| *a).collect();
    for (family, is_of) in [
        ("ipv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("ipv6", IpAddr::is_ipv6),
    ] {
        let Some(address) = floating.iter().find(|a| is_of(a)) else {
            continue;
        };
        let key = format!("{family}/ip_nonlocal_bind");
        match number(&key) {
            Some(0) => found.advice(
                "nonlocal-bind",
                format!("net/{key} is 0"),
                &format!(
                    "a service that listens on {address} itself can't be started on the standby; one that listens on \
                     all addresses needs nothing"
                ),
                set(&key, 1),
            ),
            Some(n) => found.fine("nonlocal-bind", format!("{family}: {n}")),
            None => found.unknown("nonlocal-bind", format!("net/{key} can't be read"), ""),
        }
    }
}

fn forwarding(p: &Patient, found: &mut Found) {
    if !p.is_candidate() {
        return;
    }
    let routes = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
    let routes = routes
        .into_iter()
        .find(|key| number(key).is_some_and(|n| n > 0));
    let guard = p.status().map(|s| s.guard.as_str());
    let nft = guard == Some("nft")
        || (guard.is_none() && p.local.guard() == crate::config_file::GuardChoice::Nft);
    match routes.filter(|_| nft) {
        Some(key) => found.problem(
            "forwarding",
            format!("this host routes (net/{key}), and its guard is nft"),
            "the nft guard drops what only passes through to a floating address that the other one holds",
            format!("let it have BPF (`guards`); or, if it need not route: sysctl -w net/{key}=0"),
        ),
        None => found.fine("forwarding", "it does not route, or its guard lets that pass"),
    }
}

/// A host that routes IPv6 takes no router advertisement, unless told to.
fn router_advertisements(p: &Patient, link: &Link, found: &mut Found) {
    let name = &link.name;
    let of = |key: &str| number(&format!("ipv6/conf/{name}/{key}"));
    let (Some(forwarding), Some(accept)) = (of("forwarding"), of("accept_ra")) else {
        return found.skipped("accept-ra", format!("{name} has no IPv6"));
    };
    let learnt = p.present.iter().find(|a| {
        a.index == link.index
            && a.address.is_ipv6()
            && a.lifetime.is_some()
            && !is_link_local(a.address)
            && !a.is_ours(&[link.index])
    });
    match learnt.filter(|_| forwarding > 0 && accept == 1) {
        Some(a) => found.problem(
            "accept-ra",
            format!("{name} routes IPv6 and has accept_ra = 1, and {} has a lifetime", a.address),
            "a router does not listen to routers: when the lifetime is over, this host loses that address and \
             its default route",
            set(&format!("ipv6/conf/{name}/accept_ra"), 2),
        ),
        None => found.fine("accept-ra", format!("{name}: nothing that would end")),
    }
}

fn ipv6_is_on(link: &Link, found: &mut Found) {
    let name = &link.name;
    match sysctl(&format!("ipv6/conf/{name}/disable_ipv6")).as_deref() {
        Some("0") => found.fine("ipv6-off", format!("{name} has IPv6")),
        Some(_) => found.problem(
            "ipv6-off",
            format!("{name} has its IPv6 switched off"),
            "an IPv6 address can't be held there",
            set(&format!("ipv6/conf/{name}/disable_ipv6"), 0),
        ),
        None => found.problem(
            "ipv6-off",
            format!("this kernel has no IPv6 on {name}"),
            "an IPv6 address can't be held there",
            "boot without ipv6.disable=1; an MTU of at least 1280",
        ),
    }
}

/// Whether this host believes what another holder announces.
fn deaf(link: &Link, v4: bool, v6: bool, found: &mut Found) {
    for (family, key, wanted) in [
        ("ipv4", "drop_gratuitous_arp", v4),
        ("ipv6", "drop_unsolicited_na", v6),
    ] {
        if !wanted {
            continue;
        }
        match greater(family, link, key) {
            Some((n, key)) if n > 0 => found.advice(
                "deaf-neighbour",
                format!("net/{key} is {n}"),
                "this host goes on sending to the former holder after the address has moved to the other one",
                set(&key, 0),
            ),
            _ => found.fine("deaf-neighbour", format!("{}: it believes announcements ({family})", link.name)),
        }
    }
}

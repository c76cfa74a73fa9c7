//! The groups' interfaces: there, up, in the addresses' networks, and large enough.

use super::Examination;
use super::found::Found;
use super::patient::Patient;
use crate::kernel::survey::{Survey, survey};
use crate::neighbour::hop;
use crate::netlink::{self, Netlink, Request};
use onehold_core::wire::{MAX_NOTE, longest};
use std::collections::BTreeMap;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["interface", "part", "noarp", "mtu", "twice"],
    look,
};

/// The headers of IPv6 and UDP, the longer of the two families.
const HEADERS: usize = 48;
const IFLA_MTU: u16 = 4;

fn look(p: &Patient, found: &mut Found) {
    let own: Vec<_> = p.local.addresses().iter().map(|a| a.ip()).collect();
    match survey(&p.groups, &own) {
        Ok(Survey { refused, doubts }) => {
            for what in refused.iter().chain(&doubts) {
                found.problem(
                    "interface",
                    what,
                    "the address can't be held here, or nobody reaches it",
                    "ip address; ip link",
                );
            }
            if refused.is_none() && doubts.is_empty() {
                found.fine("interface", "all are up, and in their addresses' networks");
            }
        }
        Err(e) => found.unknown("interface", e.to_string(), ""),
    }
    for (link, _) in p.announced() {
        let name = &link.name;
        match link.part {
            true => found.problem(
                "part",
                format!("{name} is a port of another interface, which takes all that arrives"),
                "an address on it gets no packet, and the gate on it sees none",
                format!("let the group use what {name} is a port of (`ip link show {name}`)"),
            ),
            false => found.fine("part", format!("{name} is no port of another interface")),
        }
        match link.noarp {
            true => found.problem(
                "noarp",
                format!("{name} neither asks nor answers by ARP"),
                "nobody finds an address there",
                format!("ip link set {name} arp on"),
            ),
            false => found.fine("noarp", format!("{name} answers ARP")),
        }
    }
    sizes(p, found);
    same_network(p, found);
}

/// Whether what members send fits the interfaces by which it leaves.
fn sizes(p: &Patient, found: &mut Found) {
    let Some((mut route, sizes)) = mtus() else {
        return found.unknown(
            "mtu",
            "the kernel does not say how long a packet may be",
            "",
        );
    };
    for peer in p.local.config.peers() {
        let name = p.local.config.member_name(peer);
        for way in p.local.paths(peer) {
            let Some(hop) = hop(&mut route, Some(way.local.ip()), way.remote.ip()) else {
                found.problem(
                    "mtu",
                    format!(
                        "{name}: there is no route from {} to {}",
                        way.local.ip(),
                        way.remote.ip()
                    ),
                    "nothing can be sent there",
                    format!("ip route get {} from {}", way.remote.ip(), way.local.ip()),
                );
                continue;
            };
            let interface = p.links.iter().find(|link| link.index == hop.index);
            let interface = interface.map_or("?", |link| &link.name);
            let Some(&mtu) = sizes.get(&hop.index) else {
                continue; // it has just gone
            };
            let what = format!("{name}: packets by {interface} may have {mtu} bytes");
            let fits = |bytes: usize| mtu as usize >= bytes + HEADERS;
            let mend = format!("ip link set {interface} mtu 1500");
            if !fits(longest(p.local.config.groups().len())) {
                let why =
                    "an advert may need more: it goes in fragments, which many firewalls drop";
                found.problem("mtu", what, why, mend);
            } else if !fits(MAX_NOTE) {
                let why = "a note to people may need more, and goes in fragments";
                found.advice("mtu", what, why, mend);
            } else {
                found.fine("mtu", what);
            }
        }
    }
}

fn mtus() -> Option<(Netlink, BTreeMap<u32, u32>)> {
    let mut route = Netlink::open(libc::NETLINK_ROUTE).ok()?;
    let mut all = BTreeMap::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETLINK, netlink::NLM_F_DUMP, &[0; 16]);
    let listed = route.dump(&mut request, |_, message| {
        let mtu = netlink::attribute(message.get(16..).unwrap_or(&[]), IFLA_MTU);
        let mtu = mtu.and_then(|mtu| netlink::u32_at(mtu, 0));
        all.extend(netlink::u32_at(message, 4).zip(mtu));
    });
    listed.ok().map(|()| (route, all))
}

/// Two interfaces in one network: Linux answers ARP on each for the addresses of the other.
fn same_network(p: &Patient, found: &mut Found) {
    let floating = p.floating();
    for (link, _) in p.announced() {
        let here = p.present.iter().filter(|a| a.index == link.index);
        let here: Vec<_> = here
            .filter(|a| a.address.is_ipv4() && !floating.contains(&a.address))
            .collect();
        let other = p.present.iter().find(|a| {
            let same = |b: &&crate::address::Assigned| {
                crate::address::same_network(a.address, b.address, a.length.min(b.length))
            };
            a.index != link.index
                && !a.address.is_loopback()
                && !floating.contains(&a.address)
                && here.iter().any(same)
        });
        let other = other.and_then(|a| p.links.iter().find(|l| l.index == a.index));
        let strict = ["all", &link.name].iter().any(|of| {
            super::patient::number(&format!("ipv4/conf/{of}/arp_ignore")).is_some_and(|n| n > 0)
        });
        match other {
            Some(other) if !strict => found.advice(
                "twice",
                format!("{} and {} are in one network", link.name, other.name),
                "Linux answers ARP on each for all its addresses, so clients may reach a floating address by \
                 the other interface",
                "sysctl -w net/ipv4/conf/all/arp_ignore=1",
            ),
            _ => found.fine("twice", format!("no other interface is in the network of {}", link.name)),
        }
    }
}

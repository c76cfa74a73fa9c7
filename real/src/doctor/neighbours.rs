//! Who answers on the groups' networks: for the floating addresses, and for this member's own. And,
//! on a holder, whether what it sends from a floating address comes back.
//!
//! It asks as one that has no address yet (RFC 5227), which no neighbour remembers. Only a holder
//! asks from a floating address, for there it is true; and through the gate, which swallows that
//! once it is not.

use super::Examination;
use super::found::Found;
use super::patient::Patient;
use crate::address::Link;
use crate::announce::{Mac, Port};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &[
        "answers",
        "two-answer",
        "no-answer",
        "own-address",
        "port-security",
    ],
    look,
};

/// How often it is asked, and for how long answers are awaited each time.
const TIMES: u32 = 3;
/// Most floating addresses from which it asks.
const SOME: usize = 4;
const AWAIT: Duration = Duration::from_millis(250);

type Answers = BTreeMap<IpAddr, BTreeSet<Mac>>;

fn look(p: &Patient, found: &mut Found) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return found.unknown("answers", "this host has no descriptors left", "ulimit -n");
    };
    let _entered = runtime.enter();
    for (link, floating) in p.announced() {
        if link.fault.is_some() || !link.ethernet {
            found.skipped("answers", format!("{} is down, or not Ethernet", link.name));
            continue;
        }
        let own = p.local.addresses().iter().map(|a| a.ip());
        let own =
            own.filter(|a| (p.present.iter()).any(|is| is.address == *a && is.index == link.index));
        let own: Vec<IpAddr> = own.collect();
        let peers: Vec<(String, IpAddr)> = p.peers().collect();
        let asked = floating.iter().chain(&own).copied();
        let asked = asked
            .chain(peers.iter().map(|(_, ip)| *ip))
            .collect::<BTreeSet<_>>();
        let asked: Vec<IpAddr> = asked.into_iter().collect();
        let mut port = match Port::open(link, &asked) {
            Ok(port) => port,
            Err(e) => {
                found.unknown("answers", e.to_string(), "run this as root");
                continue;
            }
        };
        if let Some(IpAddr::V6(own)) = p.link_local(link) {
            port.ask_from(own);
        }
        let mut answers = ask(&runtime, &port, &asked, |port, address| port.ask(address));
        for macs in answers.values_mut() {
            macs.retain(|mac| !p.links.iter().any(|link| link.mac == *mac));
        }
        let network = Network {
            p,
            link,
            floating,
            own,
            peers,
            answers,
        };
        network.who_answers(found);
        network.comes_back(&runtime, &port, found);
    }
}

/// One of the groups' networks, and who answered there.
struct Network<'p> {
    p: &'p Patient,
    link: &'p Link,
    floating: Vec<IpAddr>,
    own: Vec<IpAddr>,
    peers: Vec<(String, IpAddr)>,
    answers: Answers,
}

/// Asks for some addresses: who answered for each.
fn ask(
    runtime: &Runtime,
    port: &Port,
    addresses: &[IpAddr],
    put: impl Fn(&Port, IpAddr) -> std::io::Result<()>,
) -> Answers {
    let mut answers = Answers::new();
    for _ in 0..TIMES {
        for address in addresses {
            let _ = put(port, *address); // who can't be asked does not answer
        }
        let listen = std::future::poll_fn(|cx| {
            while let Some(claim) = port.poll_claim(cx) {
                answers.entry(claim.address).or_default().insert(claim.mac);
            }
            Poll::<()>::Pending
        });
        let _ = runtime.block_on(async { tokio::time::timeout(AWAIT, listen).await }); // it ends so
    }
    answers
}

fn text(mac: &Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

impl Network<'_> {
    fn who_answers(&self, found: &mut Found) {
        let Self {
            p,
            link,
            floating,
            own,
            peers,
            answers,
        } = self;
        let name = &link.name;
        let none = BTreeSet::new();
        let of = |address: &IpAddr| answers.get(address).unwrap_or(&none);
        for address in own {
            match of(address).first() {
            Some(mac) => found.problem(
                "own-address",
                format!(
                    "{} on {name} says that it has {address}, this member's own address",
                    text(mac)
                ),
                "two machines with one address: each gets a part of what is sent to this member",
                format!("find that machine by its hardware address, and take {address} from it"),
            ),
            None => found.fine("own-address", format!("nobody else answers for {address}")),
        }
        }
        let is_peer = |mac: &Mac| peers.iter().any(|(_, ip)| of(ip).contains(mac));
        let any_peer = peers.iter().any(|(_, ip)| !of(ip).is_empty());
        for (address, group) in floating.iter().filter_map(|a| Some((a, group_of(p, *a)?))) {
            let macs = of(address);
            let all: Vec<String> = macs.iter().map(text).collect();
            let held = p.holds(&group);
            let holder = p.group(&group).and_then(|g| g.holder.clone());
            let other = holder.filter(|_| !held);
            match (macs.len() + usize::from(held), &other) {
            (2.., _) => found.problem(
                "two-answer",
                format!(
                    "{group}: {} on {name} answers for {address}{}",
                    all.join(" and "),
                    if held { ", which is held here" } else { "" }
                ),
                "clients reach one or the other",
                "is it the other candidate (`onehold status` there)? If not, find that machine by its hardware \
                 address, and take the address from it",
            ),
            (1, None) if !held && p.status().is_some() => found.problem(
                "two-answer",
                format!("{group}: {} on {name} answers for {address}, and no member is known to hold it", all.join("")),
                "a machine that is no member has the address, or a member that is not heard",
                "find that machine by its hardware address",
            ),
            (1, _) if !held && any_peer && !macs.iter().any(is_peer) => found.problem(
                "two-answer",
                format!("{group}: {} on {name} answers for {address}, and is no other member", all.join("")),
                "clients reach a machine that is no member",
                "find that machine by its hardware address, and take the address from it",
            ),
            (0, Some(other)) if address.is_ipv4() || p.link_local(link).is_some() => found.problem(
                "no-answer",
                format!("{group}: {other} holds it, and nobody on {name} answers for {address}"),
                "clients on this network don't reach it either",
                format!("onehold doctor on {other}; do both use the same network for it?"),
            ),
            (0, None) if p.status().is_none() && address.is_ipv6() && p.link_local(link).is_none() => {
                found.unknown("answers", format!("{name} has no link-local address to ask from"), "");
            }
            (0, _) => found.fine("answers", format!("nobody answers for {address}, and nobody should")),
            (1, _) => found.fine("answers", format!("who should, answers for {address}")),
        }
        }
    }

    /// On a holder: whether a neighbour that answers this host answers a floating address, too.
    fn comes_back(&self, runtime: &Runtime, port: &Port, found: &mut Found) {
        let Self {
            p,
            link,
            floating,
            peers,
            answers,
            ..
        } = self;
        for (at, address) in floating.iter().enumerate() {
            if !group_of(p, *address).is_some_and(|group| p.holds(&group)) {
                found.skipped(
                    "port-security",
                    format!("{address} is not held here: the holder looks"),
                );
                continue;
            }
            if at >= SOME {
                found.skipped(
                    "port-security",
                    format!("{address}: of many addresses the first are looked at"),
                );
                continue;
            }
            let there = |(_, ip): &&(String, IpAddr)| {
                ip.is_ipv4() == address.is_ipv4()
                    && answers.get(ip).is_some_and(|macs| !macs.is_empty())
            };
            let Some((name, ip)) = peers.iter().find(there) else {
                found.skipped(
                    "port-security",
                    format!("no member is a neighbour on {}", link.name),
                );
                continue;
            };
            let answered = ask(runtime, port, &[*ip], |port, ip| port.ask_as(*address, ip));
            match answered.contains_key(ip) {
            true => found.fine("port-security", format!("{name} answers {address}")),
            false => found.problem(
                "port-security",
                format!("{name} answers this host on {}, and does not answer {address}", link.name),
                "the network drops what is sent from the address, or to it: port security, ARP inspection, an IP \
                 filter of the hypervisor",
                "let it through for both machines: OpenStack `allowed_address_pairs`, Proxmox `ipfilter-net0`, \
                 libvirt `clean-traffic`, a switch's ARP inspection (see the book, Clouds)",
            ),
        }
        }
    }
}

fn group_of(p: &Patient, address: IpAddr) -> Option<String> {
    let of = p
        .groups
        .iter()
        .find(|g| g.addresses.iter().any(|(a, _)| *a == address));
    of.map(|g| g.name.clone())
}

//! Whose address is whose: Heartbeat names nodes, and addresses to send to, and not which belongs
//! to which.

use super::ha_cf::{HaCf, Ucast};
use super::short_names;
use crate::import::draft::{Member, placeholder};
use crate::import::input::Here;
use crate::import::report::{Report, Verdict};
use crate::import::{NamedMember, Wanted};
use std::net::IpAddr;

/// The addresses of one node, and how they are known.
type Known = Option<(Vec<IpAddr>, &'static str)>;

/// The members that ha.cf and the command line say.
pub(super) fn members(
    ha: &HaCf,
    here: &Here<'_>,
    wanted: &Wanted,
    report: &mut Report,
) -> Vec<Member> {
    let nodes: Vec<String> = ha.nodes.iter().map(|(node, _)| node.clone()).collect();
    let names = short_names(&nodes);
    let mut known: Vec<Known> = vec![None; nodes.len()];
    for (n, known) in known.iter_mut().enumerate() {
        let named = |w: &&NamedMember| {
            [&names[n], &nodes[n]]
                .iter()
                .any(|name| w.name.eq_ignore_ascii_case(name))
        };
        let addresses = wanted
            .members
            .iter()
            .find(named)
            .map(|w| w.addresses.clone());
        *known = addresses
            .filter(|a| !a.is_empty())
            .map(|a| (a, "from --member"));
    }
    if nodes.len() == 2 {
        by_this_machine(&mut known, &nodes, ha, here);
    }
    for (n, known) in known.iter_mut().enumerate() {
        if known.is_none() {
            *known = by_name(&nodes[n], &ha.ucasts, here);
        }
    }
    if nodes.len() == 2 {
        by_the_other(&mut known, &ha.ucasts);
    }
    for Ucast { address, at, .. } in &ha.ucasts {
        let of = (known.iter().zip(&names))
            .find(|(known, _)| known.as_ref().is_some_and(|(all, _)| all.contains(address)));
        match of {
            Some((_, name)) => report.say(*at, Verdict::Carried, format!("members.{name}.addresses")),
            None => report.say(
                *at,
                Verdict::Wrong,
                format!(
                    "whose address {address} is, Heartbeat's files don't say: run this on one of the nodes, or with \
                     {}",
                    (names.iter().map(|name| format!("--member {name}=ADDRESS")))
                        .collect::<Vec<_>>()
                        .join(" ")
                ),
            ),
        }
    }
    let mut all = Vec::new();
    for (n, known) in known.into_iter().enumerate() {
        let (name, node, at) = (&names[n], &nodes[n], ha.nodes[n].1);
        let addresses = match known {
            Some((addresses, how)) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                report.say(
                    at,
                    Verdict::Carried,
                    format!("members.{name}, {} ({how})", addresses.join(" and ")),
                );
                addresses
            }
            None if node.contains(['/', '\\']) => {
                vec![placeholder(&format!("the address of {name}"))]
            }
            None => {
                report.say(
                    at,
                    Verdict::Changed,
                    format!(
                        "members.{name}: its address is not known here, so its name `{node}` is written; it must \
                         be resolved on every member, or write --member {name}=ADDRESS"
                    ),
                );
                vec![node.clone()]
            }
        };
        all.push(Member {
            name: name.clone(),
            addresses,
        });
    }
    if all.len() > 2 {
        let what = format!(
            "there are {} nodes, and an address moves between two: take out one, or let it vote only, with \
             `witness = true`, and take out `arbitration`",
            all.len()
        );
        ha.nodes
            .iter()
            .for_each(|(_, at)| report.say(*at, Verdict::Wrong, what.clone()));
    }
    all
}

/// On a node, the kernel knows which addresses are its own.
fn by_this_machine(known: &mut [Known], nodes: &[String], ha: &HaCf, here: &Here<'_>) {
    let host = here.host.to_lowercase();
    let label = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let is_me = |node: &&String| **node == host || label(node) == label(&host);
    let mut me = (0..nodes.len()).filter(|n| is_me(&&nodes[*n]));
    let (Some(me), None) = (me.next(), me.next()) else {
        return;
    };
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for interface in &ha.interfaces {
        let of_path = ha.ucasts.iter().filter(|u| u.interface == *interface);
        let (own, other): (Vec<IpAddr>, Vec<IpAddr>) = of_path
            .map(|u| u.address)
            .partition(|address| (here.toward)(*address) == Some(*address));
        let Some(other) = other.first() else { continue };
        let from = own.first().copied().or_else(|| (here.toward)(*other));
        if let Some(from) = from.filter(|from| !from.is_loopback()) {
            mine.push(from);
            others.push(*other);
        }
    }
    if !mine.is_empty() {
        for (n, addresses) in [(me, mine), (1 - me, others)] {
            known[n].get_or_insert((addresses, "as this machine has it"));
        }
    }
}

/// By the addresses that the node's name has here.
fn by_name(node: &str, ucasts: &[Ucast], here: &Here<'_>) -> Known {
    let mut resolved = (here.resolve)(node);
    resolved.retain(|ip| !ip.is_loopback());
    resolved.sort_by_key(IpAddr::is_ipv6);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for Ucast { address, .. } in ucasts {
        if resolved.contains(address) && !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    if ucasts.is_empty() {
        addresses.extend(resolved.first());
    }
    (!addresses.is_empty()).then_some((addresses, "by its name"))
}

/// Of two addresses on an interface, one of which is known, the other is the other's.
fn by_the_other(known: &mut [Known], ucasts: &[Ucast]) {
    for n in 0..2 {
        let (None, Some((of_other, _))) = (&known[n], &known[1 - n]) else {
            continue;
        };
        let mut rest: Vec<IpAddr> = Vec::new();
        for Ucast { address, .. } in ucasts {
            if !of_other.contains(address) && !rest.contains(address) {
                rest.push(*address);
            }
        }
        if rest.len() == of_other.len() && !rest.is_empty() {
            known[n] = Some((rest, "what is left"));
        }
    }
}

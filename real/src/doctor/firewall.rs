//! Whether this host's firewall lets adverts in and out. Where adverts come in, it does.

use super::Examination;
use super::found::Found;
use super::nft::{Fate, Hook, Packet, Rules};
use super::patient::{Patient, text};
use crate::config_file::Path;
use crate::neighbour::hop;
use crate::netlink::Netlink;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["firewall"],
    look,
};

fn look(p: &Patient, found: &mut Found) {
    let legacy = ["ip_tables_names", "ip6_tables_names"]
        .into_iter()
        .any(|name| {
            let path = format!("/proc/self/net/{name}");
            text(std::path::Path::new(&path)).is_some_and(|names| !names.trim().is_empty())
        });
    let rules = match Rules::read() {
        Ok(rules) => rules,
        Err(e) if [libc::EPERM, libc::EACCES].contains(&e.errno()) => {
            return found.unknown("firewall", "its rules can't be read", "run this as root");
        }
        Err(_) => Rules::default(), // a kernel without nftables has no rules of its
    };
    for peer in p.local.config.peers() {
        let name = p.local.config.member_name(peer).into_owned();
        for way in p.local.paths(peer) {
            if hears(p, &name, way) {
                found.fine(
                    "firewall",
                    format!("{name}: what comes from {} gets in", way.remote),
                );
            } else {
                one(p, &rules, &name, way, Hook::Input, legacy, found);
            }
            if is_heard(p, &name) {
                found.fine(
                    "firewall",
                    format!("{name}: what is sent to {} gets out", way.remote),
                );
            } else {
                one(p, &rules, &name, way, Hook::Output, legacy, found);
            }
        }
    }
}

/// Whether the daemon hears a member by this path.
fn hears(p: &Patient, name: &str, way: Path) -> bool {
    let Some(status) = p.status() else {
        return false;
    };
    let (local, remote) = (way.local.to_string(), way.remote.to_string());
    let peer = status.peers.iter().filter(|peer| peer.name == name);
    peer.flat_map(|peer| &peer.paths).any(|w| {
        let lately = w
            .heard_ms_ago
            .is_some_and(|ms| ms <= 2.0 * status.timing.vote_ms);
        (&w.local, &w.remote) == (&local, &remote) && lately
    })
}

fn is_heard(p: &Patient, name: &str) -> bool {
    let peers = p.status().map(|s| &s.peers);
    peers.is_some_and(|peers| peers.iter().any(|peer| peer.name == name && peer.two_way))
}

fn one(
    p: &Patient,
    rules: &Rules,
    name: &str,
    way: Path,
    hook: Hook,
    legacy: bool,
    found: &mut Found,
) {
    let mut route = Netlink::open(libc::NETLINK_ROUTE).ok();
    let hop = route
        .as_mut()
        .and_then(|r| hop(r, Some(way.local.ip()), way.remote.ip()));
    let link = hop.and_then(|hop| p.links.iter().find(|link| link.index == hop.index));
    let interface = link.map_or((0, String::new()), |link| (link.index, link.name.clone()));
    let ends = |a: std::net::SocketAddr| (a.ip(), a.port());
    let (from, to, what) = match hook {
        Hook::Input => (way.remote, way.local, "comes from"),
        Hook::Output => (way.local, way.remote, "is sent to"),
    };
    let packet = |established| Packet {
        hook,
        interface: interface.clone(),
        from: ends(from),
        to: ends(to),
        established,
    };
    let port = way.local.port();
    let allow = match hook {
        Hook::Input => format!(
            "allow UDP port {port} from {}: `ufw allow proto udp from {} to any port {port}`, `firewall-cmd --permanent \
             --add-port={port}/udp`, or a rule before the one that drops (`nft list ruleset`)",
            way.remote.ip(),
            way.remote.ip()
        ),
        Hook::Output => format!(
            "allow UDP port {port} to {}: nft list ruleset",
            way.remote.ip()
        ),
    };
    let remote = way.remote;
    // Both members send, so what only answers may come in is let in, too.
    match rules.fate(&packet(true)) {
        Fate::Dropped(by) => found.problem(
            "firewall",
            format!("{name}: what {what} {remote} is dropped by {by}"),
            "this member and the other don't hear each other",
            allow,
        ),
        Fate::Unknown(by) => found.unknown(
            "firewall",
            format!(
                "{name}: whether what {what} {remote} passes {by} can't be judged from its rules"
            ),
            allow,
        ),
        Fate::Passes if legacy => found.unknown(
            "firewall",
            format!("{name}: rules of the older iptables are there, and can't be read here"),
            "iptables-legacy -nvL; ip6tables-legacy -nvL",
        ),
        Fate::Passes => found.fine("firewall", format!("{name}: what {what} {remote} passes")),
    }
}

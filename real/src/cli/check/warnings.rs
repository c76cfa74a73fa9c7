//! What is risky in a file, or probably a mistake.

use super::describe::whole_ms;
use crate::config_file::{ConfigFile, Evidence, GuardChoice, Interface, Listen, Profile};
use crate::guard::NFT_ENDS_EARLY;
use onehold_core::config::{Arbitration, Config};
use onehold_core::time::Span;

/// Of more IPv6 addresses `check` warns.
const MANY_IPV6: usize = 128;
/// The longest name that an interface has by itself (`IFNAMSIZ`).
const LONGEST_INTERFACE: usize = 15;
/// Of a shorter deadline of `before_hold` `check` warns.
const SHORT_DEADLINE: Span = Span::from_millis(5_000);
/// What the kernel and ntpd steer clocks by, at most.
const STEERED_PPM: u32 = 500;

/// What is risky about a cluster, or probably a mistake, by its text.
pub(super) fn warnings(file: &ConfigFile, config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let t = config.timing();
    if t.interval() < Span::from_millis(20) || t.lease() < Span::from_millis(60) {
        all.push(
            "timing: faster than 20ms/60ms: a busy machine or network moves the addresses needlessly; \
             measure it first"
                .to_owned(),
        );
    }
    if t.lease() < t.interval().times(4) {
        all.push(format!(
            "timing.lease: {}: two adverts lost in a row may cost the address; write {} or more",
            t.lease(),
            t.interval().times(4)
        ));
    }
    if t.lease() > Span::from_millis(10_000) {
        all.push(format!(
            "timing.lease: {}: after a crash, the outage lasts up to {}; shorten it if you can",
            t.lease(),
            whole_ms(t.vote())
        ));
    }
    if t.drift_ppm() < STEERED_PPM {
        all.push(format!(
            "timing.drift_ppm: {}: NTP steers clocks by up to {STEERED_PPM}, and a member whose clock is \
             steered by more than drift_ppm holds nothing; leave it at 1000",
            t.drift_ppm()
        ));
    }
    if t.slack() < Span::from_millis(5) && file.cluster.guard != GuardChoice::Bpf {
        all.push(
            "timing.guard_slack: below 5ms was measured with the BPF guard only; add guard = \"bpf\" to [cluster]"
                .to_owned(),
        );
    }
    if let Some(Listen(at)) = file.metrics.listen
        && !at.ip().is_loopback()
    {
        all.push(format!(
            "metrics.listen: {at}: whoever reaches this port can read who holds what and the members' addresses, \
             and change nothing; there is no password: let only Prometheus reach it, or write 127.0.0.1"
        ));
    }
    for (name, group) in &file.groups {
        let before_hold = group.hooks.before_hold.as_ref();
        let deadline = before_hold.map(|hook| hook.before_hold().deadline);
        if let Some(deadline) = deadline.filter(|deadline| *deadline < SHORT_DEADLINE) {
            all.push(format!(
                "groups.{name}.hooks.before_hold.deadline: {deadline}: it counts from the hold, and an agent that \
                 was not there, or ends another hook first, needs up to 4s of it; write {SHORT_DEADLINE} or more"
            ));
        }
    }
    let ipv6 = (config.groups().iter().flat_map(|g| &g.addresses))
        .filter(|p| p.address.is_ipv6())
        .count();
    if ipv6 > MANY_IPV6 {
        all.push(format!(
            "groups: {ipv6} IPv6 addresses: Linux takes up to a millisecond for each, so taking hold is \
             slower than with the {MANY_IPV6} that were tried; route a prefix to one address instead"
        ));
    }
    if matches!(file.cluster.guard, GuardChoice::Nft | GuardChoice::Auto) {
        let auto = file.cluster.guard == GuardChoice::Auto;
        let left = match t.longest_round_trip(NFT_ENDS_EARLY) {
            Some(longest) if longest >= t.interval() => None,
            Some(longest) => Some(format!(
                "a round trip of more than {longest} renews too late"
            )),
            None => Some("no renewal is in time".to_owned()),
        };
        all.extend(left.map(|left| {
            let or = if auto {
                ", or add guard = \"bpf\" to [cluster]"
            } else {
                ""
            };
            format!(
                "timing.lease: {}: the nft guard ends each hold up to {NFT_ENDS_EARLY} early (the kernel's HZ), \
                 and then {left}; lengthen it{or}",
                t.lease()
            )
        }));
    }
    if file.timing.profile == Profile::Fast {
        all.push(
            "timing.profile: fast needs realtime priority and locked memory; the log says at the start whether \
             they were permitted"
                .to_owned(),
        );
    }
    if file.cluster.guard == GuardChoice::None {
        all.push(
            "cluster.guard: none: nothing mutes a frozen or killed holder, so two may answer; for tests only: \
             remove that line"
                .to_owned(),
        );
    }
    if config.arbitration() == Arbitration::Majority && file.cluster.frames == Some(true) {
        all.push(
            "cluster.frames: only `survivor` sends adverts as Ethernet frames; with a majority it does nothing: \
             remove that line"
                .to_owned(),
        );
    }
    if file.cluster.evidence == Evidence::None {
        all.push(match file.cluster.arbitration {
            Some(Arbitration::Survivor) => {
                "cluster.evidence: none: while no advert passes between the two, both hold; remove that line, unless \
                 the network must not be asked"
                    .to_owned()
            }
            Some(Arbitration::Majority) | None if file.members.len() == 2 => {
                "cluster.evidence: none: `onehold presume-dead` believes you without asking the network; remove that \
                 line, unless the network must not be asked"
                    .to_owned()
            }
            Some(Arbitration::Majority) | None => {
                "cluster.evidence: changes nothing where there is a witness, for its vote counts; remove that line"
                    .to_owned()
            }
        });
    }
    if file.cluster.arbitration == Some(Arbitration::Survivor)
        && file.members.values().all(|m| m.addresses.len() == 1)
    {
        all.push(
            "members: there is only one path: while nothing passes by it both ways, both hold; add a second address to each member"
                .to_owned(),
        );
    }
    all.extend(odd_names(file));
    all
}

/// Names that are probably a mistake.
fn odd_names(file: &ConfigFile) -> Vec<String> {
    let mut all = Vec::new();
    let sections: [(&str, Vec<&String>); 2] = [
        ("members", file.members.keys().collect()),
        ("groups", file.groups.keys().collect()),
    ];
    for (section, names) in sections {
        for (n, name) in names.iter().enumerate() {
            let like = names[..n].iter().find(|o| o.eq_ignore_ascii_case(name));
            all.extend(like.map(|other| {
                format!(
                    "{section}.{name}: differs from `{other}` by capital letters only, and people will confuse \
                     them; rename one"
                )
            }));
        }
    }
    for (group, g) in &file.groups {
        for (key, interface) in g.interfaces() {
            let key = format!("groups.{group}.{key}");
            for name in interface.names() {
                if name.len() > LONGEST_INTERFACE {
                    all.push(format!(
                        "{key}: `{name}` is longer than {LONGEST_INTERFACE} letters, so it must be an alternative \
                         name of an interface: `ip link property add dev eth0 altname {name}`"
                    ));
                }
            }
            let Interface::ByMember(names) = interface else {
                continue;
            };
            for member in names.keys() {
                match file.members.get(member) {
                    None => all.push(format!("{key}: there is no member `{member}`; remove it")),
                    Some(m) if m.witness => all.push(format!(
                        "{key}: `{member}` is a witness and never holds; remove it"
                    )),
                    Some(_) => {}
                }
            }
        }
        let addresses = g.addresses.iter().all(|a| a.interface.is_some());
        let routes = g.routes.iter().all(|r| r.interface.is_some());
        if g.interface.is_some() && addresses && routes {
            all.push(format!(
                "groups.{group}.interface: each address names an interface of its own, so this one is not used; \
                 remove it"
            ));
        }
    }
    all
}

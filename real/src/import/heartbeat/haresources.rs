//! `haresources`

use super::Meant;
use super::ha_cf::HaCf;
use crate::import::command;
use crate::import::draft::{Address, Group, Interface, Member, Table, Value, Which, placeholder};
use crate::import::input::Disk;
use crate::import::report::{At, Report, Verdict};
use std::net::IpAddr;
use std::path::Path;

/// What moves storage along; with them nothing else of the line can be started, either.
const STORAGE: &[&str] = &[
    "drbddisk",
    "drbdupper",
    "Filesystem",
    "LVM",
    "raid1",
    "Raid1",
    "ServeRAID",
    "LinuxSCSI",
    "ICP",
    "ids",
    "drbd",
    "EvmsSCC",
    "iSCSI",
    "iscsi",
];

/// What Heartbeat ships and what has no place here, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("SendArp", "addresses are announced by themselves"),
    ("MailTo", "nothing is mailed: write a hook, `changed`"),
    (
        "portblock",
        "an address is mute until the hold begins: the kernel's gate does that",
    ),
    ("Delay", "nothing needs to be waited for"),
    ("AudibleAlarm", "write a hook, `changed`"),
    (
        "IPsrcaddr",
        "write a route: routes = [{ to = \"default\", via = \"…\", src = \"…\", metric = 50 }]",
    ),
    (
        "IPsrcaddr6",
        "write a route: routes = [{ to = \"default\", via = \"…\", src = \"…\", metric = 50 }]",
    ),
    ("hto-mapfuncs", "it is no resource"),
];

/// The groups that haresources says: one for each line.
pub(super) fn read(
    lines: &[Meant],
    ha: &HaCf,
    members: &[Member],
    disk: &dyn Disk,
    directory: &Path,
    report: &mut Report,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut lines = lines.iter().peekable();
    while let Some(Meant { at, text }) = lines.next() {
        let mut words: Vec<(&str, At)> = Vec::new();
        let (mut text, mut at_line) = (text.as_str(), *at);
        loop {
            let more = text.strip_suffix('\\');
            let of_line = more.unwrap_or(text).split_whitespace();
            words.extend(of_line.map(|word| (word, at_line)));
            report.say(at_line, Verdict::Carried, "");
            match (more, more.and_then(|_| lines.next())) {
                (Some(_), Some(next)) => (text, at_line) = (&next.text, next.at),
                _ => break,
            }
        }
        let Some(((node, _), resources)) = words.split_first() else {
            continue;
        };
        let mut group = Group {
            preferred: preferred(node, ha, members, *at, report),
            ..Group::default()
        };
        let mut services = Vec::new();
        for (resource, at) in resources {
            resource_of(resource, *at, ha, &mut group, &mut services, report);
        }
        service_hooks(&services, disk, directory, &mut group, report);
        if group.addresses.is_empty() {
            report.say(*at, Verdict::Wrong, "no address in it; a group needs one");
        }
        let again = groups.iter().find(|g| g.addresses == group.addresses);
        match again {
            Some(_) => report.say(
                *at,
                Verdict::Wrong,
                "the same addresses as in a line above; left out",
            ),
            None => groups.push(group),
        }
    }
    groups
}

fn preferred(
    node: &str,
    ha: &HaCf,
    members: &[Member],
    at: At,
    report: &mut Report,
) -> Option<String> {
    let node = node.to_lowercase();
    let found = (ha.nodes.iter().zip(members)).find(|((name, _), _)| *name == node);
    match found {
        Some((_, member)) => {
            report.say(at, Verdict::Carried, format!("preferred: {}", member.name));
            Some(member.name.clone())
        }
        None => {
            report.say(
                at,
                Verdict::Wrong,
                format!("`{node}` is no node of ha.cf, so which member is preferred is not known"),
            );
            None
        }
    }
}

/// A script with its arguments, and where it is written.
struct Service<'t> {
    parts: Vec<&'t str>,
    at: At,
}

fn resource_of<'t>(
    resource: &'t str,
    at: At,
    ha: &HaCf,
    group: &mut Group,
    services: &mut Vec<Service<'t>>,
    report: &mut Report,
) {
    let parts: Vec<&str> = resource.split("::").collect();
    let bare = resource.split('/').next().unwrap_or_default();
    match parts[..] {
        // Every `::` divides, also that within an IPv6 address.
        ["IPaddr" | "IPaddr2" | "IPv6addr" | "IPaddr6", _, _, ..] if is_ipv6(&parts[1..]) => {
            let address = parts[1..].join("::");
            let what = "Heartbeat divides at each `::`, also in an address; read as it was meant";
            report.say(at, Verdict::Wrong, what);
            address_of(&address, at, ha, group, report);
        }
        ["IPaddr" | "IPaddr2" | "IPv6addr" | "IPaddr6", address, ..] => {
            address_of(address, at, ha, group, report);
        }
        [_] if bare.parse::<IpAddr>().is_ok() || looks_like_one(bare) => {
            address_of(resource, at, ha, group, report);
        }
        ["IPaddr" | "IPaddr2" | "IPv6addr" | "IPaddr6"] => {
            report.say(
                at,
                Verdict::Wrong,
                format!("`{resource}` has no address; left out"),
            );
        }
        _ => services.push(Service { parts, at }),
    }
}

fn is_ipv6(parts: &[&str]) -> bool {
    let text = parts.join("::");
    let bare = text.split('/').next().unwrap_or_default();
    bare.parse::<std::net::Ipv6Addr>().is_ok()
}

/// Four parts with dots between: an address, or what stands for one.
fn looks_like_one(text: &str) -> bool {
    text.split('.').count() == 4 && text.split('.').all(|part| (1..=3).contains(&part.len()))
}

/// `ip[/bits[/dev[:label][/bcast]]]`
fn address_of(text: &str, at: At, ha: &HaCf, group: &mut Group, report: &mut Report) {
    let mut parts = text.split('/');
    let (ip, bits, device, broadcast) = (
        parts.next().unwrap_or_default(),
        parts.next().filter(|bits| !bits.is_empty()),
        parts.next().filter(|device| !device.is_empty()),
        parts.next(),
    );
    // IPaddr takes the interface second as well.
    let (bits, device) = match bits {
        Some(bits) if !bits.bytes().all(|b| b.is_ascii_digit()) && device.is_none() => {
            (None, Some(bits))
        }
        _ => (bits, device),
    };
    let text = match bits {
        Some(bits) => format!("{ip}/{bits}"),
        None => ip.to_owned(),
    };
    if ip.parse::<IpAddr>().is_err() {
        report.say(
            at,
            Verdict::Wrong,
            format!("`{ip}` is not an IP address, so it stands for one: write it in the file"),
        );
    }
    let (name, how) = match (device, &ha.interfaces[..]) {
        (Some(device), _) => (
            device.split(':').next().unwrap_or_default().to_owned(),
            None,
        ),
        (None, [one]) => (
            one.clone(),
            Some(format!(
                "on {one}, the only interface that ha.cf names; Heartbeat asked the routing table"
            )),
        ),
        (None, _) => (
            placeholder(&format!("the interface of {ip}")),
            Some(format!(
                "the interface of {ip} is not said (Heartbeat asked the routing table): write it"
            )),
        ),
    };
    match how {
        None => report.say(at, Verdict::Carried, format!("{text} on {name}")),
        Some(how) => {
            let unknown = name.starts_with('<');
            let verdict = if unknown {
                Verdict::Wrong
            } else {
                Verdict::Changed
            };
            report.say(at, verdict, how);
        }
    }
    if let Some((_, label)) = device.and_then(|d| d.split_once(':')) {
        report.say(
            at,
            Verdict::LeftOut,
            format!("the label `{label}`: addresses have none"),
        );
    }
    if let Some(broadcast) = broadcast {
        report.say(
            at,
            Verdict::LeftOut,
            format!("the broadcast address {broadcast}: none is set"),
        );
    }
    let interface = Interface::Same(name);
    let address = Address {
        text,
        interface: match &group.interface {
            Some(of_group) if *of_group != interface => Some(interface.clone()),
            _ => None,
        },
    };
    group.interface.get_or_insert(interface);
    match group.addresses.iter().any(|a| a.text == address.text) {
        true => report.say(
            at,
            Verdict::Wrong,
            format!("{} is there already; left out", address.text),
        ),
        false => group.addresses.push(address),
    }
}

/// What Heartbeat started with the address, as hooks.
fn service_hooks(
    services: &[Service<'_>],
    disk: &dyn Disk,
    directory: &Path,
    group: &mut Group,
    report: &mut Report,
) {
    let storage = services.iter().find(|s| STORAGE.contains(&s.parts[0]));
    let (mut start, mut stop) = (Vec::new(), Vec::new());
    for Service { parts, at } in services {
        let name = parts[0];
        let shown = parts.join("::");
        if let Some((_, why)) = LEFT_OUT.iter().find(|(known, _)| *known == name) {
            report.say(*at, Verdict::LeftOut, format!("{shown}: {why}"));
        } else if STORAGE.contains(&name) {
            report.say(
                *at,
                Verdict::Wrong,
                format!(
                    "{shown} is left out: an address is not a lock, and two machines that mount one disk destroy it. \
                     Storage needs fencing: keep Heartbeat's heir, Pacemaker, for it"
                ),
            );
        } else if let Some(storage) = storage {
            report.say(
                *at,
                Verdict::Wrong,
                format!(
                    "{shown} is left out, because it goes with {}, which is not carried over",
                    storage.parts.join("::")
                ),
            );
        } else if !crate::import::draft::is_name(name) {
            report.say(
                *at,
                Verdict::Wrong,
                format!("`{shown}` is no resource; left out"),
            );
        } else {
            let own = directory.join("resource.d").join(name);
            let program = match disk.open(&own) {
                Ok(_) => own.display().to_string(),
                Err(_) => format!("/etc/init.d/{name}"),
            };
            let mut command = vec![program];
            command.extend(parts[1..].iter().map(|part| (*part).to_owned()));
            report.say(
                *at,
                Verdict::Changed,
                format!(
                    "{shown}: hooks `holding` ({} start, once the address is here, and again every 60s) and \
                     `released` (stop). What can run on both members at once is better left running there, without \
                     hooks",
                    command.join(" ")
                ),
            );
            start.push([&command[..], &["start".to_owned()]].concat());
            stop.insert(0, [&command[..], &["stop".to_owned()]].concat());
        }
    }
    for (which, commands) in [(Which::Holding, start), (Which::Released, stop)] {
        if !commands.is_empty() {
            let hook: Table = vec![("exec", Value::List(command::all_of(&commands, which)))];
            group.hooks.insert(which, hook);
        }
    }
}

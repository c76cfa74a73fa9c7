//! Who configures the groups' interfaces besides: what takes away what it did not put there, and
//! what may take the host's own address.
//!
//! It reads what they leave in /run and /etc, and asks none of them.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, Runs, text, texts};
use crate::address::Link;
use std::path::Path;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &[
        "networkd",
        "networkd-routes",
        "networkmanager",
        "cloud-init",
        "dhcp",
    ],
    look,
};

const DHCP: [&str; 6] = [
    "dhclient",
    "dhcpcd",
    "udhcpc",
    "connmand",
    "wickedd",
    "systemd-networkd",
];

fn look(p: &Patient, found: &mut Found) {
    let mut links: Vec<&Link> = p.announced().into_iter().map(|(link, _)| link).collect();
    let own = p.local.addresses().iter().map(|a| a.ip());
    for address in own {
        let there = p.present.iter().find(|a| a.address == address);
        let link = there.and_then(|a| p.links.iter().find(|l| l.index == a.index));
        if let (Some(a), Some(link)) = (there, link) {
            leased(p, a, link, found);
            if p.is_candidate() && !links.iter().any(|l| l.index == link.index) {
                links.push(link);
            }
        }
    }
    for link in links {
        networkd(p, link, found);
        network_manager(p, link, found);
    }
    hosts_file(p, found);
}

/// The value of a key of an ini file, or of a shell's.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut values = text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then_some(value.trim())
    });
    values.next_back()
}

fn networkd(p: &Patient, link: &Link, found: &mut Found) {
    let name = &link.name;
    match p.processes.named(&["systemd-networkd"]) {
        Runs::Here(_) => {}
        Runs::No => return found.fine("networkd", "it does not run here"),
        Runs::Unknown(why) => return found.unknown("networkd", why, "run this as root"),
    }
    let state = text(Path::new(&format!(
        "/run/systemd/netif/links/{}",
        link.index
    )));
    let Some(state) = state else {
        let what = format!("systemd-networkd runs, and does not say whether {name} is its own");
        return found.unknown("networkd", what, format!("networkctl status {name}"));
    };
    let managed = value(&state, "ADMIN_STATE").is_some_and(|s| s != "unmanaged");
    let Some(file) = value(&state, "NETWORK_FILE").filter(|_| managed) else {
        return found.fine("networkd", format!("{name} is not its own"));
    };
    let base = Path::new(file)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut all = text(Path::new(file)).unwrap_or_default();
    for directory in ["/usr/lib", "/run", "/etc"] {
        let drop_ins = texts(&format!("{directory}/systemd/network/{base}.d"), "conf");
        drop_ins
            .iter()
            .for_each(|(_, more)| all += &format!("\n{more}"));
    }
    let keeps = value(&all, "KeepConfiguration")
        .unwrap_or("no")
        .to_lowercase();
    match ["yes", "true", "1", "on", "static"].contains(&keeps.as_str()) {
        true => found.fine("networkd", format!("it has {name}, and keeps what is there")),
        false => found.advice(
            "networkd",
            format!("systemd-networkd has {name} ({file}), with KeepConfiguration={keeps}"),
            "when it starts, or is told to configure again, it removes a held address; that is put back, after a \
             moment without",
            format!(
                "mkdir -p /etc/systemd/network/{base}.d; printf '[Network]\\nKeepConfiguration=static\\n' \
                 >/etc/systemd/network/{base}.d/onehold.conf; networkctl reload"
            ),
        ),
    }
    let routes = p.groups.iter().any(|g| !g.routes.is_empty());
    let mut conf = text(Path::new("/etc/systemd/networkd.conf")).unwrap_or_default();
    for directory in ["/usr/lib", "/run", "/etc"] {
        let more = texts(&format!("{directory}/systemd/networkd.conf.d"), "conf");
        more.iter()
            .for_each(|(_, more)| conf += &format!("\n{more}"));
    }
    let foreign = value(&conf, "ManageForeignRoutes")
        .unwrap_or("yes")
        .to_lowercase();
    match routes && !["no", "false", "0", "off"].contains(&foreign.as_str()) {
        true => found.advice(
            "networkd-routes",
            "systemd-networkd removes routes that are not its own (ManageForeignRoutes)",
            "a group's route goes when it starts or is told to configure again; it is put back, after a moment \
             without",
            "mkdir -p /etc/systemd/networkd.conf.d; printf '[Network]\\nManageForeignRoutes=no\\n' \
             >/etc/systemd/networkd.conf.d/onehold.conf; systemctl restart systemd-networkd",
        ),
        false => found.fine("networkd-routes", "no group has a route, or it leaves them alone"),
    }
}

fn network_manager(p: &Patient, link: &Link, found: &mut Found) {
    let name = &link.name;
    match p.processes.named(&["NetworkManager"]) {
        Runs::Here(_) => {}
        Runs::No => return found.fine("networkmanager", "it does not run here"),
        Runs::Unknown(why) => return found.unknown("networkmanager", why, "run this as root"),
    }
    let state = text(Path::new(&format!(
        "/run/NetworkManager/devices/{}",
        link.index
    )));
    let Some(state) = state else {
        let what = format!("NetworkManager runs, and does not say whether {name} is its own");
        return found.unknown("networkmanager", what, format!("nmcli device show {name}"));
    };
    match value(&state, "managed") {
        Some("true") => found.advice(
            "networkmanager",
            format!("NetworkManager has {name}"),
            "when it connects again (`nmcli connection up`, a changed profile), it removes a held address; that is \
             put back, after a moment without",
            "change its profiles on the standby first",
        ),
        _ => found.fine("networkmanager", format!("{name} is not its own")),
    }
}

/// A name in the file that cloud-init makes a loopback address at each boot.
fn hosts_file(p: &Patient, found: &mut Found) {
    let members = p.written.file.members.values().flat_map(|m| &m.addresses);
    let named = members.filter(|a| {
        a.parse::<std::net::IpAddr>().is_err() && a.parse::<std::net::SocketAddr>().is_err()
    });
    let mut files = texts("/etc/cloud/cloud.cfg.d", "cfg");
    files.extend(
        text(Path::new("/etc/cloud/cloud.cfg")).map(|t| ("/etc/cloud/cloud.cfg".into(), t)),
    );
    let manages = files.iter().find(|(_, text)| {
        text.lines().any(|line| {
            let line = line.split('#').next().unwrap_or("");
            let value = line.trim().strip_prefix("manage_etc_hosts:").map(str::trim);
            value.is_some_and(|v| ["true", "True", "template", "localhost"].contains(&v))
        })
    });
    match (named.count() > 0, manages) {
        (true, Some((path, _))) => found.advice(
            "cloud-init",
            format!(
                "{} has manage_etc_hosts, and the file names members by host names",
                path.display()
            ),
            "cloud-init writes /etc/hosts at each boot, with 127.0.1.1 for this host's name",
            "write addresses for the members, or manage_etc_hosts: false",
        ),
        _ => found.fine(
            "cloud-init",
            "it does not decide what a member's name means",
        ),
    }
}

/// This member's own address is there for a time only.
fn leased(p: &Patient, a: &crate::address::Assigned, link: &Link, found: &mut Found) {
    let Some(left) = a.lifetime else {
        return found.fine("dhcp", format!("{} is there for good", a.address));
    };
    let by = match p.processes.named(&DHCP) {
        Runs::Here(name) => name,
        Runs::No | Runs::Unknown(_) => "somebody",
    };
    found.advice(
        "dhcp",
        format!("{} on {} is there for {left} more seconds, by {by}", a.address, link.name),
        "a member that gets another address, or none, is not heard any more, and holds nothing",
        "reserve it in the DHCP server; with networkd also KeepConfiguration=dhcp-on-stop; or set it by hand",
    );
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn the_last_value_counts() {
        let text = "[Network]\nKeepConfiguration=no\n# KeepConfiguration=yes\nKeepConfiguration = static\n";
        assert_eq!(value(text, "KeepConfiguration"), Some("static"));
        assert_eq!(value(text, "Keep"), None);
    }
}

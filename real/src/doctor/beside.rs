//! What else on this host has the floating addresses, or moves them: files of the host's network
//! and of other programs for the same purpose, and those programs.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, Runs, text, texts};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["static-address", "mover"],
    look,
};

/// Directories and endings of files in which hosts write their addresses.
const PLACES: [(&str, &str); 16] = [
    ("/etc/systemd/network", "network"),
    ("/run/systemd/network", "network"),
    ("/usr/lib/systemd/network", "network"),
    ("/etc/netplan", "yaml"),
    ("/run/netplan", "yaml"),
    ("/etc/NetworkManager/system-connections", "nmconnection"),
    ("/run/NetworkManager/system-connections", "nmconnection"),
    ("/etc/network/interfaces.d", ""),
    ("/etc/network/interfaces.d", "cfg"),
    ("/etc/cloud/cloud.cfg.d", "cfg"),
    ("/etc/keepalived", "conf"),
    ("/etc/keepalived/conf.d", "conf"),
    ("/etc/ucarp", "conf"),
    ("/etc/conf.d", "net"),
    ("/etc/sysconfig/network", ""),
    ("/etc/sysconfig/network-scripts", ""),
];
/// Single files.
const FILES: [&str; 4] = [
    "/etc/network/interfaces",
    "/etc/ha.d/haresources",
    "/etc/dhcpcd.conf",
    "/etc/rc.local",
];
/// Programs that move addresses.
const MOVERS: [&str; 8] = [
    "keepalived",
    "heartbeat",
    "pacemakerd",
    "ucarp",
    "vrrpd",
    "uvrrpd",
    "kube-vip",
    "vip-manager",
];

fn look(p: &Patient, found: &mut Found) {
    let floating = p.floating();
    let mut any = false;
    for (path, text) in files() {
        for address in floating.iter().filter(|a| names(&text, **a)) {
            any = true;
            let shown = path.display();
            found.problem(
                "static-address",
                format!("{shown} has {address}, which floats"),
                "this host would have the address by itself, whoever holds it: mute while onehold runs, and not once \
                 it is stopped",
                format!("take it out of {shown}"),
            );
        }
    }
    if !any {
        found.fine("static-address", "no file of the host's network has one");
    }
    match p.processes.named(&MOVERS) {
        Runs::Here(name) => found.advice(
            "mover",
            format!("`{name}` runs here, which moves addresses, too"),
            "if it has one of the same, each undoes what the other does",
            format!("systemctl disable --now {name}, unless its addresses are others"),
        ),
        Runs::Unknown(why) => found.unknown("mover", why, "run this as root"),
        Runs::No => found.fine("mover", "no other program that moves addresses runs here"),
    }
}

fn files() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for (directory, suffix) in PLACES {
        match suffix {
            "" => {
                let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
                let paths = entries.map(|entry| entry.path());
                let plain = paths.filter(|path| path.extension().is_none()).take(256);
                all.extend(plain.filter_map(|path| text(&path).map(|text| (path, text))));
            }
            _ => all.extend(texts(directory, suffix)),
        }
    }
    let single = FILES.iter().map(Path::new);
    all.extend(single.filter_map(|path| text(path).map(|text| (path.to_owned(), text))));
    all
}

/// Whether a line that is not a comment has the address as a word of its own.
fn names(text: &str, address: IpAddr) -> bool {
    let comment = |line: &&str| !line.trim_start().starts_with(['#', ';', '!']);
    let word = |word: &str| {
        let bare = word.split('/').next().unwrap_or(word);
        bare.parse::<IpAddr>()
            .is_ok_and(|a| a.to_canonical() == address)
    };
    text.lines().filter(comment).any(|line| {
        line.split(|c: char| !(c.is_ascii_hexdigit() || ".:/".contains(c)))
            .any(|w| word(w) || word(w.trim_matches(':')))
            || line.split("::").skip(1).any(word) // IPaddr::10.0.0.50/24/eth0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_as_people_write_it_and_not_within_another() {
        let is = |text: &str, a: &str| names(text, a.parse().unwrap());
        for line in [
            "Address=10.0.0.50/24",
            "      - 10.0.0.50/24",
            "addresses: [10.0.0.10/24, \"10.0.0.50/24\"]",
            "address1=10.0.0.50/24,10.0.0.1",
            "  address 10.0.0.50",
            "lb0 IPaddr::10.0.0.50/24/eth0 nginx",
            "lb0 10.0.0.50",
            "IPADDR2=10.0.0.50",
            "    up ip addr add 10.0.0.50/24 dev eth0",
            "        10.0.0.50/24 dev eth0",
        ] {
            assert!(is(line, "10.0.0.50"), "{line}");
            assert!(!is(line, "10.0.0.5"), "{line}");
            assert!(!is(&format!("# {line}"), "10.0.0.50"), "{line}");
        }
        assert!(is("Address=FD00:0::50/64", "fd00::50"));
        assert!(!is("Address=fd00::500/64", "fd00::50"));
        assert!(!is("Gateway=110.0.0.50", "10.0.0.50"));
    }
}

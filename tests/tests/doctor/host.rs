//! Faults of the host: who configures it, and what else runs there.

use super::{Fault, Kept, both_well, each, may_look, nothing, other_file, sh};
use onehold_tests::{Begin as _, Cluster, Setup};

/// A program of that name, which does nothing.
fn runs(c: &Cluster, name: &str) -> Kept {
    let program = format!("/run/onehold/{name}");
    let _ = sh(c, "lb1", &format!("cp \"$(command -v sleep)\" {program}"));
    Box::new(c.spawn("lb1", &[&program, "600"], "other.log"))
}

/// A file of the host's own, below `/etc`.
fn etc(c: &Cluster, path: &str, text: &str) -> Kept {
    let _ = sh(
        c,
        "lb1",
        &format!(
            "mkdir -p /run/onehold/etc/upper /run/onehold/etc/work
             grep -q ' /etc overlay' /proc/self/mounts ||
                 mount -t overlay -o lowerdir=/etc,upperdir=/run/onehold/etc/upper,workdir=/run/onehold/etc/work \
                     etc /etc
             mkdir -p \"$(dirname {path})\"; cat >{path} <<'.'\n{text}\n.\n"
        ),
    );
    nothing()
}

/// What a program leaves in a directory of its own below `/run`.
fn run(c: &Cluster, directory: &str, file: &str, text: &str) {
    let _ = sh(
        c,
        "lb1",
        &format!(
            "mkdir -p {directory}
             grep -q ' {directory} tmpfs' /proc/self/mounts || mount -t tmpfs own {directory}
             path={directory}/{file}; mkdir -p \"$(dirname \"$path\")\"; cat >\"$path\" <<'.'\n{text}\n.\n"
        ),
    );
}

fn number(c: &Cluster) -> String {
    c.ok("lb1", &["sh", "-c", "ip -o link show eth0 | cut -d: -f1"])
        .trim()
        .to_owned()
}

fn networkd(c: &Cluster, keep: &str) {
    let link = format!("netif/links/{}", number(c));
    let state = "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-eth0.network";
    run(c, "/run/systemd", &link, state);
    let file = format!("[Match]\nName=eth0\n[Network]\nAddress=10.77.0.11/16\n{keep}");
    run(c, "/run/systemd", "network/10-eth0.network", &file);
}

const FAULTS: [Fault; 14] = [
    Fault::new("networkd", "advice", "lb1", |c| {
        networkd(c, "");
        runs(c, "systemd-networkd")
    }),
    Fault::new("networkd-routes", "advice", "lb1", |c| {
        networkd(c, "KeepConfiguration=static");
        let _ = other_file(
            c,
            "lb1",
            &[("preferred = \"lb0\"", "preferred = \"lb0\"\nroutes = [{ to = \"198.51.100.0/24\", via = \"10.77.0.12\" }]")],
        );
        runs(c, "systemd-networkd")
    })
    .by("other"),
    Fault::new("networkmanager", "advice", "lb1", |c| {
        let file = format!("devices/{}", number(c));
        run(c, "/run/NetworkManager", &file, "[device]\nmanaged=true");
        runs(c, "NetworkManager")
    }),
    Fault::new("cloud-init", "advice", "lb1", |c| {
        let _ = etc(c, "/etc/cloud/cloud.cfg.d/99.cfg", "manage_etc_hosts: true # a hoster's");
        let _ = etc(c, "/etc/hosts", "10.77.0.11 lb1");
        other_file(c, "lb1", &[("[\"10.77.0.11\"]", "[\"lb1\"]")])
    })
    .by("other"),
    Fault::new("static-address", "problem", "lb1", |c| {
        etc(c, "/etc/keepalived/keepalived.conf", "  virtual_ipaddress {\n    10.77.0.50/16 dev eth0\n  }")
    })
    .ends(|c| drop(sh(c, "lb1", "rm -r /etc/keepalived"))),
    Fault::new("static-address", "problem", "lb1", |c| {
        etc(c, "/etc/netplan/50-cloud-init.yaml", "      addresses: [10.77.0.11/16, \"10.77.0.50/16\"]")
    })
    .ends(|c| drop(sh(c, "lb1", "rm -r /etc/netplan"))),
    Fault::new("mover", "advice", "lb1", |c| runs(c, "keepalived")),
    Fault::new("chrony", "advice", "lb1", |c| {
        let _ = etc(c, "/etc/chrony/chrony.conf", "pool pool.example iburst\nmaxslewrate 5000");
        runs(c, "chronyd")
    }),
    Fault::new("dhcp", "advice", "lb1", |c| {
        sh(c, "lb1", "ip addr change 10.77.0.11/16 dev eth0 valid_lft 900 preferred_lft 900")
    })
    .ends(|c| {
        drop(sh(c, "lb1", "ip addr change 10.77.0.11/16 dev eth0 valid_lft forever preferred_lft forever"));
    }),
    Fault::new("room", "problem", "lb1", |c| {
        sh(c, "lb1", "mkdir -p /run/onehold/ro; mount -t tmpfs -o ro own /run/onehold/ro")
    })
    .with(&["--state", "/run/onehold/ro", "--orders", "/run/onehold/ro"]),
    Fault::new("forgetful", "advice", "lb1", |c| sh(c, "lb1", "mkdir -p /run/onehold/orders"))
        .with(&["--orders", "/run/onehold/orders"]),
    Fault::new("noarp", "problem", "lb1", |c| sh(c, "lb1", "ip link set eth0 arp off"))
        .ends(|c| drop(sh(c, "lb1", "ip link set eth0 arp on"))),
    Fault::new("mtu", "problem", "lb1", |c| sh(c, "lb1", "ip link set eth0 mtu 150"))
        .ends(|c| drop(sh(c, "lb1", "ip link set eth0 mtu 1500"))),
    Fault::new("part", "problem", "lb1", |c| {
        sh(c, "lb1", "ip link add br9 type bridge; ip link set br9 up; ip link set eth0 master br9")
    })
    .ends(|c| drop(sh(c, "lb1", "ip link set eth0 nomaster; ip link del br9"))),
];

#[test]
fn faults_of_the_host_are_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().start();
    both_well(&c);
    each(&mut c, &FAULTS);
    c.hold_again_on("lb0");
    both_well(&c);
}

/// Last on its host: what hides `/sys/class` stays.
#[test]
fn a_provider_s_machine_without_a_mover_is_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().start();
    let plant = Fault::new("cloud", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "mount -t tmpfs own /sys/class; mkdir -p /sys/class/dmi/id; echo Hetzner >/sys/class/dmi/id/sys_vendor",
        )
    });
    each(&mut c, &[plant]);
}

//! NetworkManager, which removes what it does not know whenever it applies a connection.

use super::{alarmed, all_well, bare, gets, nothing_moved, put_back};
use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Debian, Setup};

const CONNECTION: &str = "[connection]\nid=eth0\nuuid=2c0cbe4a-6b2c-4b5b-9e7c-000000000001\n\
    type=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=manual\naddress1=10.77.0.10/16\n\
    [ipv6]\nmethod=manual\naddress1=fd77::1a/64\naddr-gen-mode=eui64\n";
const FILE: &str = "/etc/NetworkManager/system-connections/eth0.nmconnection";

fn manager(d: Debian, c: &Cluster) -> Process {
    d.spawn(c, &["NetworkManager", "--no-daemon"], "manager.log")
}

#[track_caller]
fn nmcli(d: Debian, c: &Cluster, words: &str) {
    let all: Vec<&str> = ["nmcli"].into_iter().chain(words.split(' ')).collect();
    d.ok(c, &all);
}

#[test]
fn what_networkmanager_applies_moves_nothing_but_a_connection_that_is_down() {
    let mut c = Setup::survivor().patient().also("fd77::50/64").build();
    let Some(d) = Debian::on(&c, "lb0") else {
        return;
    };
    let _bus = d.bus(&c);
    d.file(
        &c,
        "/etc/NetworkManager/NetworkManager.conf",
        "[main]\nplugins=keyfile\n",
    );
    d.file(&c, FILE, CONNECTION);
    d.ok(&c, &["chmod", "600", FILE]);
    bare(&c, "lb0");
    let manager = manager(d, &c);
    gets(&c, "lb0", "10.77.0.10");
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    for words in [
        "device reapply eth0",
        "connection up eth0",
        "device reapply eth0",
    ] {
        nmcli(d, &c, words);
        c.watch_for(1);
    }
    drop(manager);
    let _manager = self::manager(d, &c);
    c.watch_for(2);
    for address in ["10.77.0.50", "fd77::50"] {
        put_back(&c, address);
    }
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");

    nmcli(d, &c, "device disconnect eth0");
    c.hold_on("lb1");
    alarmed(&c, "lb0", "none of this member's own addresses");
    nmcli(d, &c, "connection up eth0");
    c.hold_on("lb0");
    all_well(&c, "lb0");
}

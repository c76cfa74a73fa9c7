//! Two machines alone, between whom no datagram passes, or none one way, and Ethernet frames do.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};

const BOTH: [&str; 2] = ["lb0", "lb1"];
const ONLY: &str = "is heard by Ethernet frames only";

/// A firewall of the host's own drops the adverts.
fn block(c: &Cluster, host: &str, hook: &str) {
    let rules = format!(
        "add table inet fw; add chain inet fw {hook} {{ type filter hook {hook} priority 0; }}; \
         add rule inet fw {hook} udp dport 6946 drop"
    );
    c.ok(host, &["nft", &rules]);
}

fn unblock(c: &Cluster, host: &str) {
    c.ok(host, &["nft", "delete table inet fw"]);
}

/// Each member's file says so before it is started. Nor is the network asked, which would keep
/// one of the two back.
fn without_frames(setup: Setup) -> Cluster {
    let mut c = setup.build();
    for member in BOTH {
        c.edit(
            member,
            "[cluster]\n",
            "[cluster]\nframes = false\nevidence = \"none\"\n",
        );
    }
    c.start_all();
    c.hold_on("lb0");
    c
}

fn alarmed(c: &Cluster, host: &str, said: &str) {
    eventually(said, || c.alarms(host).contains(said).then_some(()));
}

fn all_well(c: &Cluster) {
    for host in BOTH {
        eventually("no alarm", || {
            let alarms = c.status(host)["alarms"].clone();
            (alarms.as_array()?.is_empty()).then_some(())
        });
    }
}

#[test]
fn where_udp_is_dropped_at_both_inputs_one_holds_and_both_say_why() {
    let mut c = Setup::survivor().start();
    all_well(&c);
    let mark = c.mark();
    for host in BOTH {
        block(&c, host, "input");
    }
    c.watch_for(10);
    c.has_not_moved(mark);
    for (host, peer, at) in [("lb0", "lb1", "10.77.0.10"), ("lb1", "lb0", "10.77.0.11")] {
        alarmed(&c, host, &format!("{peer} {ONLY}"));
        alarmed(&c, host, &format!("drop UDP to {at}:6946"));
        let frames = c.status(host)["peers"][0]["frames"][0].clone();
        assert!(
            frames["heard_ms_ago"].as_f64().unwrap() < 1_000.0,
            "{frames}"
        );
        assert_eq!(frames["to"], written(c.host(peer).mac(0)), "{frames}");
    }
    // Whoever dies meanwhile is missed, and whoever starts is heard.
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
    for host in BOTH {
        unblock(&c, host);
    }
    all_well(&c);
    c.hold_on("lb0");
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// What frames are for: without them, it is as it was.
#[test]
fn without_frames_both_hold_where_udp_is_dropped_at_both_inputs() {
    let mut c = without_frames(Setup::survivor());
    let paths = c.status("lb0")["peers"][0].clone();
    assert_eq!(paths["frames"].as_array().unwrap().len(), 0, "{paths}");
    for host in BOTH {
        block(&c, host, "input");
    }
    c.held_by_both();
    for host in BOTH {
        unblock(&c, host);
    }
    c.hold_again_on("lb0");
}

#[test]
fn two_that_boot_where_no_udp_passes_have_one_holder() {
    let mut c = Setup::survivor().build();
    for host in BOTH {
        block(&c, host, "input");
    }
    c.start_all();
    c.hold_on("lb0");
    let mark = c.mark();
    c.watch_for(5);
    c.has_not_moved(mark);
}

/// Neither kernel finds the other any more.
#[test]
fn neighbour_entries_that_are_wrong_make_no_second_holder() {
    let c = Setup::survivor().start();
    let mark = c.mark();
    for (host, peer) in [("lb0", "10.77.0.11"), ("lb1", "10.77.0.10")] {
        let wrong = "02:00:00:00:66:66";
        let entry = [
            "ip",
            "neigh",
            "replace",
            peer,
            "lladdr",
            wrong,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ];
        c.ok(host, &entry);
    }
    c.watch_for(5);
    c.has_not_moved(mark);
    alarmed(&c, "lb0", &format!("lb1 {ONLY}"));
}

/// A member that its own host keeps in leaves the address to the other one, which hears it.
#[test]
fn one_whose_own_firewall_lets_nothing_out_hands_over_and_two_such_keep_one_holder() {
    let c = Setup::survivor().start();
    block(&c, "lb0", "output");
    c.hold_on("lb1");
    alarmed(&c, "lb0", "only Ethernet frames get there");
    block(&c, "lb1", "output");
    c.watch_for(3);
    c.never_two();
    c.held_by_somebody("web");
    for host in BOTH {
        unblock(&c, host);
    }
    c.hold_on("lb0");
    all_well(&c);
}

/// Longer than a neighbour's entry lasts in the lab by far.
#[test]
fn while_frames_are_lost_in_one_direction_for_a_minute_two_never_hold() {
    let mut c = Setup::survivor().start();
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    c.hold_on("lb1");
    c.watch_for(60);
    c.hold_on("lb1");
    c.heal();
    c.hold_on("lb0");
}

/// A member that starts in such a cut gets no answer to its ARP, so it sends no datagram.
fn start_deaf(c: &mut Cluster) {
    c.kill("lb1");
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    for (host, peer) in [("lb0", "10.77.0.11"), ("lb1", "10.77.0.10")] {
        c.ok(host, &["ip", "neigh", "flush", "to", peer, "dev", "eth0"]);
    }
    c.start("lb1");
}

/// Its frames go to everybody.
#[test]
fn one_that_starts_in_a_cut_of_one_direction_is_heard_by_frames_and_holds_alone() {
    let mut c = Setup::survivor().start();
    start_deaf(&mut c);
    c.hold_again_on("lb1");
    c.watch_for(10);
    c.hold_on("lb1");
    c.heal();
    c.hold_on("lb0");
}

#[test]
fn without_frames_one_that_starts_in_a_cut_of_one_direction_holds_beside_the_other() {
    let mut c = without_frames(Setup::survivor());
    start_deaf(&mut c);
    c.held_by_both();
    c.heal();
    c.hold_again_on("lb0");
}

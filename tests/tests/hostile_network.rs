//! Networks as other people have them: neighbours that never answer, frames that pass one way only,
//! strangers.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};
use std::fmt::Write as _;

/// Addresses on the network of the first path that no host has: packets there wait for an answer to
/// ARP.
fn nobody(n: u8) -> String {
    format!("10.77.9.{n}")
}

/// What follows belongs at the end of every member's file.
fn all_say(c: &Cluster, text: &str) {
    for member in c.members() {
        c.edit(member, "[log]", &format!("{text}[log]"));
    }
}

#[test]
fn forty_clusters_of_dead_members_cost_a_witness_no_healthy_one() {
    let mut c = Setup::majority().patient().build();
    let own = c.read("lb0.toml");
    let own = own.split("[log]").next().unwrap();
    let own = own.replace("[cluster]\nname = \"lab\"", "[clusters.lab]");
    let own = own.replace("[members.", "[clusters.lab.members.");
    let own = own.replace("[groups.", "[clusters.lab.groups.");
    let mut file = own.replace("[timing]", "[clusters.lab.timing]");
    for n in 0..40 {
        let (a, b) = (nobody(2 * n), nobody(2 * n + 1));
        let cluster = format!("clusters.dead{n}");
        write!(
            file,
            "[{cluster}]\nsecret_file = \"secret\"\n\
             [{cluster}.members]\na.addresses = [\"{a}\"]\nb.addresses = [\"{b}\"]\n\
             witness = {{ addresses = [\"10.77.0.12\"], witness = true }}\n\
             [{cluster}.groups]\nweb = {{ addresses = [\"10.77.8.{n}/16\"], interface = \"eth0\", preferred = \"a\" }}\n"
        )
        .unwrap();
    }
    c.file("witness.toml", &file);
    c.start_all();
    c.hold_on("lb0");
    c.kill("lb1"); // from here on all depends on the witness
    c.watch_for(1);
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    c.watch_for(10);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
}

#[test]
fn two_dead_members_of_five_cost_the_address_nothing() {
    let mut c = Setup::majority().build();
    let (a, b) = (nobody(1), nobody(2));
    all_say(
        &c,
        &format!(
            "[members.dead0]\naddresses = [\"{a}\"]\nwitness = true\n\
             [members.dead1]\naddresses = [\"{b}\"]\nwitness = true\n\
             [timing]\ninterval = \"10ms\"\nlease = \"1s\"\n"
        ),
    );
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    c.watch_for(10);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
}

/// Longer than a neighbour's entry lasts in the lab, with the consequences of its end. (An ordinary
/// kernel takes half a minute.)
const AGED: u64 = 12;

fn stays_a_cut_of_one_direction(setup: Setup, address: &str) {
    let mut c = setup.start();
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    c.hold_on("lb1");
    c.watch_for(AGED);
    c.hold_on("lb1"); // and never two
    // Nor if its kernel is made to forget.
    c.ok(
        "lb1",
        &["ip", "neigh", "flush", "to", address, "dev", "eth0"],
    );
    c.watch_for(2);
    c.hold_on("lb1");
    c.heal();
    c.hold_on("lb0");
}

#[test]
fn a_cut_of_frames_in_one_direction_stays_one_of_one_direction() {
    stays_a_cut_of_one_direction(Setup::survivor(), "10.77.0.10");
}

#[test]
fn a_cut_of_frames_in_one_direction_stays_one_of_one_direction_under_ipv6() {
    stays_a_cut_of_one_direction(Setup::survivor().over_ipv6(), "fd77::1a");
}

/// A member whose own kernel keeps it from its peer, and that hears nothing, knows which of them is
/// cut off.
#[test]
fn a_survivor_without_a_route_to_its_peer_neither_keeps_nor_takes_the_address() {
    let mut c = Setup::survivor().patient().start();
    let route = |c: &Cluster, host: &str, what: &str, to: &str| {
        c.ok(host, &["ip", "route", what, "unreachable", to]);
    };
    c.lan().cut_one_way("lb1", "lb0").unwrap();
    route(&c, "lb0", "add", "10.77.0.11");
    c.hold_on("lb1"); // and never two
    let alarms = c.alarms("lb0");
    assert!(
        alarms.contains("can't hold here: this host has no route to any other member"),
        "{alarms}"
    );
    route(&c, "lb0", "del", "10.77.0.11");
    c.heal();
    c.hold_on("lb0");
    // The standby.
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    route(&c, "lb1", "add", "10.77.0.10");
    c.watch_for(5);
    c.hold_on("lb0");
    c.kill("lb0");
    c.held_by_nobody();
    route(&c, "lb1", "del", "10.77.0.10");
    c.hold_on("lb1"); // though nothing answers there
    c.watch_for(8);
    c.hold_on("lb1");
}

#[test]
fn a_peer_that_comes_back_with_another_hardware_address_is_found() {
    let mut c = Setup::survivor().start();
    c.power_off("lb0");
    c.hold_on("lb1");
    c.watch_for(5); // its entry would be gone by now
    // What was kept ages like any other, until it is kept again.
    eventually("its entry is kept", || {
        let entry = c.ok("lb1", &["ip", "neigh", "show", "10.77.0.10"]);
        entry.contains("REACHABLE").then_some(())
    });
    c.power_on("lb0");
    let other = "02:6f:68:00:77:77";
    c.ok("lb0", &["ip", "link", "set", "eth0", "address", other]);
    c.start("lb0");
    eventually("lb1 hears it, and is heard", || {
        let peers = c.status("lb1")["peers"][0].clone();
        (peers["two_way"] == true).then_some(())
    });
    let entry = c.ok("lb1", &["ip", "neigh", "show", "10.77.0.10"]);
    assert!(entry.contains(other), "{entry}");
}

/// How a hardware address is written.
fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[test]
fn a_stranger_with_the_address_is_an_alarm_that_names_its_hardware_address() {
    let c = Setup::majority().also("fd77::50/64").start();
    let mac = written(c.host("stranger").mac(0));
    for address in ["10.77.0.50", "fd77::50"] {
        let add = ["ip", "address", "add", address, "dev", "eth0", "nodad"];
        let words = if address.contains(':') {
            &add[..]
        } else {
            &add[..6]
        };
        c.ok("stranger", words);
        let alarm = format!("web: {mac} on eth0 says that it has {address}, too");
        eventually(&alarm, || c.alarms("lb0").contains(&alarm).then_some(()));
    }
    assert!(!c.alarms("lb1").contains(&written(c.host("lb0").mac(0))));
    c.group_on("web", "lb0");
}

/// With different ports or keys, two alone hear nothing of each other: that is silence, and both
/// hold.
#[test]
fn two_that_hear_nothing_of_each_other_both_say_that_the_other_candidate_answers_too() {
    let mut c = Setup::survivor().start();
    for member in ["lb0", "lb1"] {
        c.edit(
            member,
            "[cluster]\n",
            "[cluster]\nframes = false\nevidence = \"none\"\n",
        );
    }
    c.edit("lb1", "[cluster]\n", "[cluster]\nport = 7000\n");
    for member in ["lb1", "lb0"] {
        c.stop(member);
        c.start(member);
    }
    c.held_by_both();
    for (name, other) in [("lb0", "lb1"), ("lb1", "lb0")] {
        let mac = written(c.host(other).mac(0));
        let alarm = format!(
            "web: {mac} on eth0 says that it has 10.77.0.50, too, and is the other candidate: two hold"
        );
        eventually(&alarm, || c.alarms(name).contains(&alarm).then_some(()));
    }
}

#[test]
fn neither_the_other_candidate_nor_a_hand_over_is_taken_for_a_stranger() {
    let mut c = Setup::majority().also("fd77::50/64").start();
    for to in ["lb1", "lb0", "lb1"] {
        let from = if to == "lb1" { "lb0" } else { "lb1" };
        c.onehold(from, &["switch"]);
        c.hold_on(to);
        c.watch_for(3);
    }
    c.kill("lb1");
    c.hold_on("lb0");
    c.start("lb1");
    c.watch_for(3);
    for name in ["lb0", "lb1"] {
        let alarms = c.alarms(name);
        assert!(!alarms.contains("says that it has"), "{alarms}");
    }
}

#[test]
fn a_new_hardware_address_of_the_holder_is_announced_at_once() {
    let c = Setup::majority().start();
    c.ok("client", &["ping", "-c", "1", "-W", "5", "10.77.0.50"]);
    c.watch_for(12); // the next announcement is several seconds away then
    let other = "02:6f:68:00:77:78";
    c.ok("lb0", &["ip", "link", "set", "eth0", "address", other]);
    let asked = std::time::Instant::now();
    eventually("the client knows", || {
        let entry = c.ok("client", &["ip", "neigh", "show", "10.77.0.50"]);
        entry.contains(other).then_some(())
    });
    assert!(asked.elapsed().as_secs() < 3, "with the next one only");
}

#[test]
fn an_address_outside_of_every_network_of_its_interface_is_an_alarm_unless_it_is_routed() {
    let c = Setup::majority().also("10.99.0.50/24").start();
    let alarm = "web: 10.99.0.50 is in no network of eth0";
    eventually(alarm, || c.alarms("lb0").contains(alarm).then_some(()));
    c.ok(
        "lb0",
        &["ip", "route", "add", "10.99.0.0/24", "dev", "eth0"],
    );
    eventually("no alarm", || {
        (!c.alarms("lb0").contains(alarm)).then_some(())
    });
}

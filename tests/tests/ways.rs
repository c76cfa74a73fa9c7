//! how members are reached changes while a client asks all the time.

use onehold_tests::{Begin as _, Client, Cluster, Setup, eventually};
use std::net::Ipv4Addr;

const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const ALL: [&str; 3] = ["lb0", "lb1", "witness"];

/// All members get the file with `to` for `from`, and read it in this order.
#[track_caller]
fn change(c: &Cluster, order: &[&str], from: &str, to: &str) {
    for name in order {
        c.edit(name, from, to);
        eprintln!("{name}: {}", c.onehold(name, &["reload"]).trim());
    }
}

#[track_caller]
fn settled(c: &Cluster, names: &[&str]) {
    eventually(
        "the new file is in force on all, and all hear each other",
        || {
            let all: Vec<_> = names.iter().map(|name| c.status(name)).collect();
            let same = all.iter().all(|s| s["config"] == all[0]["config"]);
            let hears = |s: &serde_json::Value| {
                let peers = s["peers"].as_array().expect("peers").clone();
                peers.iter().all(|p| p["two_way"] == true)
            };
            let over = |s: &serde_json::Value| s["changing"].is_null() && hears(s);
            (same && all.iter().all(over)).then_some(())
        },
    );
}

/// A host gets an address beside those that it has.
#[track_caller]
fn gets(c: &Cluster, host: &str, address: &str) {
    let address = format!("{address}/16");
    c.ok(host, &["ip", "address", "add", &address, "dev", "eth0"]);
}

/// A host loses an address, and no other: of one network, Linux takes the rest away with the first.
#[track_caller]
fn loses(c: &Cluster, host: &str, address: &str) {
    let key = "net.ipv4.conf.eth0.promote_secondaries=1";
    c.ok(host, &["sysctl", "-w", key]);
    let address = format!("{address}/16");
    c.ok(host, &["ip", "address", "del", &address, "dev", "eth0"]);
}

/// What each member listens at.
#[track_caller]
fn listens(c: &Cluster, name: &str) -> String {
    c.ok(name, &["ss", "-Hlun"])
}

#[test]
fn a_candidate_gets_another_address_and_no_client_fails() {
    for moves in ["lb0", "lb1"] {
        let mut c = Setup::majority().start();
        let mut client = Client::asks(&c, FLOATING);
        let mark = c.mark();
        let (was, is) = match moves {
            "lb0" => ("10.77.0.10", "10.77.0.30"),
            _ => ("10.77.0.11", "10.77.0.31"),
        };
        gets(&c, moves, is);
        change(&c, &["lb1", "witness", "lb0"], was, is);
        settled(&c, &ALL);
        loses(&c, moves, was);
        c.watch_for(1);
        for name in ALL {
            assert_eq!(c.alarms(name), "[]", "{name}");
        }
        let there = listens(&c, moves);
        assert!(there.contains(is) && !there.contains(was), "{there}");
        client.is_content();
        c.has_not_moved(mark);
        c.kill("lb0");
        c.hold_on("lb1");
        c.never_two();
    }
}

#[test]
fn two_alone_get_other_addresses_and_another_port() {
    let mut c = Setup::survivor().start();
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    let two = ["lb0", "lb1"];
    for (name, is) in [("lb0", "10.77.0.30"), ("lb1", "10.77.0.31")] {
        gets(&c, name, is);
    }
    // In one step it is refused.
    let at_once = [("10.77.0.10", "10.77.0.30"), ("10.77.0.11", "10.77.0.31")];
    for (was, is) in at_once {
        c.edit("lb0", was, is);
    }
    let (_, said) = c.refused("lb0", &["reload"]);
    assert!(said.contains("as a second one"), "{said}");
    for (was, is) in at_once {
        c.edit("lb0", is, was);
    }
    // The new addresses as second ones, then alone; then the port likewise.
    let files = [
        ["\"10.77.0.10\"", "\"10.77.0.11\""],
        [
            "\"10.77.0.10\", \"10.77.0.30\"",
            "\"10.77.0.11\", \"10.77.0.31\"",
        ],
        ["\"10.77.0.30\"", "\"10.77.0.31\""],
        [
            "\"10.77.0.30\", \"10.77.0.30:7999\"",
            "\"10.77.0.31\", \"10.77.0.31:7999\"",
        ],
        ["\"10.77.0.30:7999\"", "\"10.77.0.31:7999\""],
    ];
    for step in files.windows(2) {
        let [was, is] = [step[0], step[1]];
        for name in two {
            c.edit(name, &format!("[{}]", was[0]), &format!("[{}]", is[0]));
        }
        change(&c, &two, &format!("[{}]", was[1]), &format!("[{}]", is[1]));
        settled(&c, &two);
    }
    for name in two {
        let there = listens(&c, name);
        assert!(
            there.contains(":7999") && !there.contains(":6946"),
            "{there}"
        );
        assert_eq!(c.alarms(name), "[]", "{name}");
    }
    c.watch_for(1);
    client.is_content();
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on("lb1");
    c.never_two();
}

#[test]
fn a_witness_gets_another_address_and_its_vote_counts() {
    let mut c = Setup::majority().start();
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    gets(&c, "witness", "10.77.0.32");
    change(&c, &["lb0", "witness", "lb1"], "10.77.0.12", "10.77.0.32");
    settled(&c, &ALL);
    loses(&c, "witness", "10.77.0.12");
    c.watch_for(1);
    client.is_content();
    c.has_not_moved(mark);
    c.power_off("lb0");
    c.hold_on("lb1");
    c.never_two();
}

#[test]
fn an_address_that_is_not_there_keeps_the_change_waiting() {
    let mut c = Setup::majority().start();
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    let was = c.status("lb0")["config"].clone();
    change(&c, &ALL, "10.77.0.11", "10.77.0.31");
    eventually("it is told", || {
        let said = c.alarms("lb0");
        (said.contains("lb1 is not heard by") && said.contains("10.77.0.31")).then_some(())
    });
    c.watch_for(1);
    // Nor if nothing is heard of it for a while: it might be heard again, by the former alone.
    c.pause("lb1");
    c.watch_for(1);
    c.resume("lb1");
    c.watch_for(1);
    assert_eq!(c.status("lb0")["config"], was, "nothing has changed");
    assert!(c.onehold("lb0", &["status"]).contains("waits for lb1"));
    eprintln!("{}", c.onehold("lb0", &["status"]));
    // Back, on one and then on all; and there again.
    for name in ALL {
        c.edit(name, "10.77.0.31", "10.77.0.11");
        c.onehold(name, &["reload"]);
    }
    settled(&c, &ALL);
    let there = listens(&c, "lb1");
    assert!(!there.contains("10.77.0.31"), "{there}");
    change(&c, &ALL, "10.77.0.11", "10.77.0.31");
    gets(&c, "lb1", "10.77.0.31");
    settled(&c, &ALL);
    eventually("nobody has an alarm", || {
        ALL.iter().all(|name| c.alarms(name) == "[]").then_some(())
    });
    client.is_content();
    c.has_not_moved(mark);
}

//! groups and timing change by a reload on one member after the other, under a client that
//! asks all the time; what the new file does not touch does not move.

use onehold_tests::{Begin as _, Client, Cluster, Setup, eventually};
use std::net::Ipv4Addr;

const FIRST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 51);
const MEMBERS: [&str; 3] = ["lb0", "lb1", "witness"];

/// Changes the file on each of these members in turn, and reloads it there.
#[track_caller]
fn change(c: &Cluster, members: &[&str], from: &str, to: &str) {
    for name in members {
        c.edit(name, from, to);
        let said = c.onehold(name, &["reload"]);
        eprintln!("{name}: {}", said.trim());
    }
}

/// Every member has this in force, and nothing else.
#[track_caller]
fn settled(c: &Cluster, members: &[&str]) {
    eventually("the new file is in force on every member", || {
        let all: Vec<_> = members.iter().map(|name| c.status(name)).collect();
        let same = all.iter().all(|s| s["config"] == all[0]["config"]);
        (same && all.iter().all(|s| s["changing"].is_null())).then_some(())
    });
    for name in members {
        assert_eq!(c.alarms(name), "[]", "{name}");
    }
}

#[track_caller]
fn answers(c: &Cluster, address: Ipv4Addr, name: &str) {
    eventually(&format!("{address} is on {name}"), || {
        c.has(name, &address.to_string()).then_some(())
    });
}

const ONE: &str = "addresses = [\"10.77.0.50/16\"]";
const TWO: &str = "addresses = [\"10.77.0.50/16\", \"10.77.0.51/16\"]";

#[test]
fn an_address_comes_and_goes_and_a_lease_changes_and_no_client_fails() {
    let mut c = Setup::majority().start();
    let mut client = Client::asks(&c, FIRST);
    let mark = c.mark();
    for order in [["witness", "lb0", "lb1"], ["lb1", "lb0", "witness"]] {
        change(&c, &order[..2], ONE, TWO);
        c.watch_for(1);
        assert!(!c.has("lb0", "10.77.0.51"), "not before all have it");
        let shown = c.onehold("lb0", &["status"]);
        assert!(
            shown.contains(&format!("waits for {}", order[2])),
            "{shown}"
        );
        change(&c, &order[2..], ONE, TWO);
        settled(&c, &MEMBERS);
        answers(&c, SECOND, "lb0");
        change(&c, &order, TWO, ONE);
        settled(&c, &MEMBERS);
        assert!(!c.has("lb0", "10.77.0.51"), "it is gone");
    }
    change(&c, &MEMBERS, "[log]", "[timing]\nlease = \"900ms\"\n[log]");
    settled(&c, &MEMBERS);
    assert_eq!(c.status("lb0")["timing"]["lease_ms"], 900.0);
    change(&c, &MEMBERS, "lease = \"900ms\"", "lease = \"500ms\"");
    settled(&c, &MEMBERS);
    client.is_content();
    c.has_not_moved(mark);
    // It still fails over.
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn an_address_changes_its_group_and_two_never_have_it() {
    let mut c = Setup::majority()
        .group("api", "10.77.0.51/16", "lb1")
        .build();
    c.watch("api", SECOND);
    c.start_all();
    c.hold_on("lb0");
    c.group_on("api", "lb1");
    let mut client = Client::asks(&c, FIRST);
    // It goes from the group that lb1 holds to the one of lb0; the group without any goes.
    for name in ["lb1", "witness", "lb0"] {
        let text = c.read(&format!("{name}.toml"));
        let (front, rest) = text.split_once("[groups.api]").expect("a group");
        let (_, rest) = rest.split_once("[log]").expect("another section");
        c.file(
            &format!("{name}.toml"),
            &format!("{}[log]{rest}", front.replace(ONE, TWO)),
        );
        c.onehold(name, &["reload"]);
    }
    settled(&c, &MEMBERS);
    answers(&c, SECOND, "lb0");
    c.group_on("api", "lb0");
    client.is_content();
    c.never_two();
}

#[test]
fn a_member_that_died_on_the_way_comes_back_with_the_new_file() {
    let mut c = Setup::majority().build();
    c.watch("second", SECOND);
    c.start_all();
    c.hold_on("lb0");
    let mut client = Client::asks(&c, FIRST);
    change(&c, &["witness", "lb0"], ONE, TWO);
    c.edit("lb1", ONE, TWO);
    c.kill("lb1");
    c.watch_for(2);
    let shown = c.onehold("lb0", &["status"]);
    assert!(shown.contains("waits for lb1 (not heard)"), "{shown}");
    c.start("lb1");
    settled(&c, &MEMBERS);
    c.group_on("second", "lb0");
    client.is_content();
    c.never_two();
}

#[test]
fn a_file_that_is_put_back_turns_the_member_back() {
    let c = Setup::majority().start();
    let mark = c.mark();
    change(&c, &["lb0", "lb1"], ONE, TWO);
    c.watch_for(1);
    change(&c, &["lb0", "lb1"], TWO, ONE);
    settled(&c, &MEMBERS);
    assert!(!c.has("lb0", "10.77.0.51"));
    c.has_not_moved(mark);
    c.never_two();
}

#[test]
fn two_members_alone_change_too() {
    let mut c = Setup::survivor().build();
    c.watch("second", SECOND);
    c.start_all();
    c.hold_on("lb0");
    let mut client = Client::asks(&c, FIRST);
    let mark = c.mark();
    change(&c, &["lb1", "lb0"], ONE, TWO);
    settled(&c, &["lb0", "lb1"]);
    c.group_on("second", "lb0");
    change(
        &c,
        &["lb0", "lb1"],
        "[log]",
        "[timing]\nlease = \"900ms\"\n[log]",
    );
    settled(&c, &["lb0", "lb1"]);
    client.is_content();
    c.has_not_moved(mark);
}

#[test]
fn the_gate_of_nftables_changes_too() {
    let mut c = Setup::majority().guard("nft").build();
    c.watch("second", SECOND);
    c.start_all();
    c.hold_on("lb0");
    let mut client = Client::asks(&c, FIRST);
    change(&c, &MEMBERS, ONE, TWO);
    settled(&c, &MEMBERS);
    c.group_on("second", "lb0");
    change(&c, &MEMBERS, TWO, ONE);
    settled(&c, &MEMBERS);
    client.is_content();
    c.never_two();
}

/// An address by which a host lives, so that its kernel side refuses it as a floating one.
#[track_caller]
fn lives_by(c: &Cluster, host: &str, address: &str) {
    c.ok(
        host,
        &[
            "ip", "link", "add", "own", "type", "veth", "peer", "name", "aside",
        ],
    );
    c.ok(host, &["ip", "address", "add", address, "dev", "own"]);
}

#[test]
fn a_reload_while_others_are_waited_for_changes_nothing() {
    let c = Setup::majority().start();
    let mark = c.mark();
    change(&c, &["lb1"], ONE, TWO);
    lives_by(&c, "lb1", "10.77.0.51/24");
    change(&c, &["lb0", "witness"], ONE, TWO);
    c.logs("lb1", "can't come into force yet");
    c.onehold("lb0", &["reload"]);
    c.onehold("witness", &["reload"]);
    c.watch_for(1);
    for name in ["lb0", "witness"] {
        let status = c.status(name);
        let in_force = &status["changing"]["in_force"];
        assert_eq!(*in_force, true, "{name}: {status}");
    }
    c.has_not_moved(mark);
    c.ok("lb1", &["ip", "link", "del", "own"]);
    settled(&c, &MEMBERS);
    answers(&c, SECOND, "lb0");
    c.never_two();
}

#[test]
fn what_was_withdrawn_for_a_step_that_was_not_taken_is_back_when_the_file_is() {
    let mut c = Setup::majority().start();
    change(&c, &MEMBERS, ONE, TWO);
    settled(&c, &MEMBERS);
    answers(&c, SECOND, "lb0");
    let other = "addresses = [\"10.77.0.50/16\", \"10.77.0.52/16\"]";
    change(&c, &["lb0", "lb1"], TWO, other);
    for name in ["lb0", "lb1"] {
        lives_by(&c, name, "10.77.0.52/24");
    }
    // Nobody waits for a witness that is dead, and it goes on to nothing.
    c.kill("witness");
    c.logs("lb0", "can't come into force yet");
    assert!(!c.has("lb0", "10.77.0.51"));
    change(&c, &["lb0", "lb1"], other, TWO);
    answers(&c, SECOND, "lb0");
}

#[test]
fn an_address_that_a_host_lives_by_is_refused_when_its_file_is_read() {
    let c = Setup::majority().start();
    let mark = c.mark();
    lives_by(&c, "lb1", "10.77.0.51/24");
    c.edit("lb1", ONE, TWO);
    let (_, said) = c.refused("lb1", &["reload"]);
    assert!(
        said.contains("10.77.0.51/24 is an address that this host lives by on own"),
        "{said}"
    );
    assert!(c.status("lb1")["changing"].is_null(), "nothing has begun");
    c.ok("lb1", &["ip", "link", "del", "own"]);
    c.onehold("lb1", &["reload"]);
    change(&c, &["lb0", "witness"], ONE, TWO);
    settled(&c, &MEMBERS);
    answers(&c, SECOND, "lb0");
    c.has_not_moved(mark);
}

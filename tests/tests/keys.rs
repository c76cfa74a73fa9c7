//! Keys are rotated while all runs, as the book says: the second key is added everywhere, then the
//! first is taken away, in any order. Nothing moves, and a client that asks all the time gets all its
//! answers.

use onehold_tests::{Begin as _, Client, Cluster, Setup, eventually};
use serde_json::Value;
use std::net::Ipv4Addr;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const MEMBERS: [&str; 3] = ["lb0", "lb1", "witness"];

const OLD: &str = "secret_file = \"secret\"";
const BOTH: &str = "secret_files = [\"secret.2\", \"secret\"]";
const OLD_FIRST: &str = "secret_files = [\"secret\", \"secret.2\"]";
const NEW: &str = "secret_file = \"secret.2\"";

/// A cluster that runs with the first of two secrets.
fn running(setup: Setup) -> Cluster {
    let c = setup.start();
    c.file("secret.2", "another secret of a test, also long enough\n");
    c
}

/// Writes the keys into a member's file, whatever was there.
#[track_caller]
fn write(c: &Cluster, name: &str, keys: &str) {
    let text = c.read(&format!("{name}.toml"));
    let mut lines = text.lines().filter(|l| l.starts_with("secret_file"));
    let line = lines.next().expect("it names its secrets").to_owned();
    c.edit(name, &line, keys);
}

/// The same, and reloads it there.
#[track_caller]
fn reload(c: &Cluster, name: &str, keys: &str) {
    write(c, name, keys);
    let said = c.onehold(name, &["reload"]);
    eprintln!("{name}: {}", said.trim());
}

/// The keys of each member, as the others know them.
fn known(c: &Cluster) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for name in c.members() {
        for peer in c.status(name)["peers"].as_array().expect("a list") {
            let name = peer["name"].as_str().expect("a name");
            all.push((name.to_owned(), peer["keys"].clone()));
        }
    }
    all
}

/// Waits until each member knows that all others accept so many keys.
#[track_caller]
fn all_know(c: &Cluster, count: usize) {
    eventually(&format!("all know of {count} keys of each"), || {
        let has = |(_, keys): &(String, Value)| keys.as_array().is_some_and(|k| k.len() == count);
        known(c).iter().all(has).then_some(())
    });
}

/// What nobody could read.
fn unread(c: &Cluster, names: &[&str]) -> u64 {
    let of = |name: &&str| c.rejected(name, "unknown_key") + c.rejected(name, "bad_seal");
    names.iter().map(of).sum()
}

fn note(c: &Cluster, name: &str) -> String {
    c.status(name)["notes"].to_string()
}

#[test]
fn in_any_order_nothing_moves_and_nothing_is_lost() {
    let c = running(Setup::majority());
    let mut client = Client::asks(&c, ADDRESS);
    let (mark, roles) = (c.mark(), c.role_changes());
    for (first, then, both) in [
        (["witness", "lb0", "lb1"], ["lb0", "lb1", "witness"], BOTH),
        (
            ["lb1", "witness", "lb0"],
            ["witness", "lb1", "lb0"],
            OLD_FIRST,
        ),
        (["lb0", "lb1", "witness"], ["lb1", "lb0", "witness"], BOTH),
    ] {
        reload(&c, first[0], both);
        reload(&c, first[1], BOTH);
        eventually("it is said who has not followed", || {
            let said = note(&c, first[0]);
            let waits = format!("keys are being rotated: {} is not known", first[2]);
            (said.contains(&waits) || both == OLD_FIRST).then_some(())
        });
        reload(&c, first[2], BOTH);
        all_know(&c, 2);
        for name in then {
            reload(&c, name, NEW);
        }
        all_know(&c, 1);
        for name in MEMBERS {
            assert_eq!(note(&c, name), "[]", "{name}");
            assert_eq!(c.alarms(name), "[]", "{name}");
        }
        // Back, and the same way.
        for name in then {
            reload(&c, name, OLD_FIRST);
        }
        all_know(&c, 2);
        for name in first {
            reload(&c, name, OLD);
        }
        all_know(&c, 1);
    }
    client.is_content();
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), roles);
}

#[test]
fn in_the_documented_order_no_datagram_is_lost() {
    let c = running(Setup::majority());
    for keys in [BOTH, NEW] {
        for name in MEMBERS {
            reload(&c, name, keys);
        }
        all_know(&c, if keys == BOTH { 2 } else { 1 });
    }
    assert_eq!(unread(&c, &MEMBERS), 0);
    let keys = c.status("lb0")["keys"].clone();
    assert!(known(&c).iter().all(|(_, theirs)| *theirs == keys));
}

#[test]
fn members_are_restarted_and_upgraded_in_the_midst() {
    let mut c = running(Setup::majority());
    let mut client = Client::asks(&c, ADDRESS);
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    let back = |c: &Cluster, name: &str| {
        c.answers(name);
        eventually(&format!("{name} is back, and all hear it"), || {
            let of = |n: &&str| c.status(n)["peers"].as_array().expect("a list").clone();
            let mut all = MEMBERS.iter().flat_map(of);
            let well = |p: Value| p["two_way"] == true && p["quarantined"] == false;
            all.all(well).then_some(())
        });
    };
    reload(&c, "lb0", BOTH);
    // One that has not followed, one that comes back with both, one that dies with both.
    c.stop("lb1");
    c.start("lb1");
    back(&c, "lb1");
    c.kill("witness");
    write(&c, "witness", BOTH);
    c.start("witness");
    back(&c, "witness");
    c.upgrade("lb0").expect("it goes on");
    reload(&c, "lb1", OLD_FIRST);
    all_know(&c, 2);
    // The other round, with the same.
    c.kill("witness");
    write(&c, "witness", NEW);
    c.start("witness");
    back(&c, "witness");
    reload(&c, "lb0", NEW);
    c.upgrade("lb1").expect("it goes on");
    c.stop("lb1");
    c.start("lb1");
    back(&c, "lb1");
    reload(&c, "lb1", NEW);
    all_know(&c, 1);
    client.is_content();
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
    // It still fails over.
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn two_members_alone_rotate_too() {
    let mut c = running(Setup::survivor());
    let mut client = Client::asks(&c, ADDRESS);
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    reload(&c, "lb1", BOTH);
    c.watch_for(1);
    reload(&c, "lb0", OLD_FIRST);
    all_know(&c, 2);
    reload(&c, "lb1", NEW);
    c.watch_for(1);
    reload(&c, "lb0", NEW);
    all_know(&c, 1);
    client.is_content();
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
    // The old key is worth nothing now: whoever still has it is kept out.
    c.stop("lb1");
    write(&c, "lb1", OLD);
    c.start("lb1");
    eventually("it is rejected", || {
        (unread(&c, &["lb0"]) > 0).then_some(())
    });
}

#[test]
fn a_key_that_a_member_needs_is_not_taken_away_but_by_force() {
    let mut c = running(Setup::majority());
    let mark = c.mark();
    let refused = |c: &Cluster, named: &[&str]| {
        let before = c.status("lb0")["keys"].clone();
        let (status, said) = c.refused("lb0", &["reload"]);
        assert_eq!(status, Some(1));
        for name in &MEMBERS[1..] {
            let says =
                said.contains(&format!("{name} has ")) || said.contains(&format!("{name} was not"));
            assert_eq!(says, named.contains(name), "{name}: {said}");
        }
        assert!(said.contains("onehold reload --now"), "{said}");
        assert_eq!(c.status("lb0")["keys"], before);
    };
    all_know(&c, 1);
    write(&c, "lb0", NEW);
    refused(&c, &["lb1", "witness"]);
    assert!(c.alarms("lb0").contains("can't be taken away yet"));
    for name in ["lb1", "lb0"] {
        reload(&c, name, BOTH);
    }
    assert_eq!(c.alarms("lb0"), "[]");
    write(&c, "lb0", NEW);
    eventually("lb1 has it", || {
        let keys = c.status("lb0")["peers"][0]["keys"].clone();
        keys.as_array().is_some_and(|k| k.len() == 2).then_some(())
    });
    refused(&c, &["witness"]);
    // What a dead one said last counts; and of one that was never heard nothing is known.
    c.kill("witness");
    refused(&c, &["witness"]);
    c.stop("lb1");
    c.start("lb1");
    c.answers("lb1");
    write(&c, "lb1", NEW);
    eventually("lb1 hears lb0", || {
        (c.status("lb1")["peers"][0]["two_way"] == true).then_some(())
    });
    let (_, said) = c.refused("lb1", &["reload"]);
    assert!(said.contains("witness was not heard"), "{said}");
    for name in ["lb0", "lb1"] {
        let said = c.onehold(name, &["reload", "--now"]);
        assert!(said.contains("keys: "), "{said}");
    }
    c.watch_for(2);
    assert_eq!(unread(&c, &["lb0", "lb1"]), 0);
    write(&c, "witness", NEW);
    c.start("witness");
    eventually("the witness is heard again", || {
        (c.alarms("lb0") == "[]" && c.alarms("lb1") == "[]").then_some(())
    });
    c.has_not_moved(mark);
    c.never_two();
}

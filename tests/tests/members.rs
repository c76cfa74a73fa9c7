//! witnesses come and go while a client asks all the time, and a member that comes back with a
//! file of before holds nothing.

use onehold_sim::netns::{Process, SPARE};
use onehold_tests::{Begin as _, Client, Cluster, Setup, binaries, eventually};
use std::net::Ipv4Addr;

const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
/// Another witness, on the client's host.
const ARBITER: &str = "[members.arbiter]\naddresses = [\"10.77.0.20\"]\nwitness = true\n";

/// The file of `name` without its witness, and with these members.
fn with(c: &Cluster, name: &str, members: &str, arbitration: &str) -> String {
    let text = c.read(&format!("{name}.toml"));
    let mut lines = Vec::new();
    let mut witness = false;
    for line in text.lines() {
        if line.starts_with('[') {
            witness = line == "[members.witness]" || line == "[members.arbiter]";
        }
        if line == "[groups.web]" {
            lines.push(members);
        }
        match line.starts_with("arbitration") {
            _ if witness => {}
            true => lines.push(arbitration),
            false => lines.push(line),
        }
    }
    lines.join("\n")
}

/// Both candidates get the file, and read it in this order.
#[track_caller]
fn change(c: &Cluster, order: [&str; 2], members: &str, arbitration: &str) {
    for name in order {
        c.file(
            &format!("{name}.toml"),
            &with(c, name, members, arbitration),
        );
        let said = c.onehold(name, &["reload"]);
        eprintln!("{name}: {}", said.trim());
    }
    eventually("the new file is in force on both", || {
        let all: Vec<_> = order.iter().map(|name| c.status(name)).collect();
        let same = all.iter().all(|s| s["config"] == all[0]["config"]);
        (same && all.iter().all(|s| s["changing"].is_null())).then_some(())
    });
}

#[track_caller]
fn hears(c: &Cluster, name: &str, peer: &str) {
    eventually(&format!("{name} hears {peer}"), || {
        let status = c.status(name);
        let peers = status["peers"].as_array().expect("peers").clone();
        let of = |p: &serde_json::Value| p["name"] == peer && p["two_way"] == true;
        peers.iter().any(of).then_some(())
    });
}

/// The other witness begins, with the file that the candidates are to have.
fn arbiter(c: &Cluster, members: &str) -> Process {
    let file = with(c, "lb0", members, "arbitration = \"majority\"");
    c.file("arbiter.toml", &file);
    let binary = binaries::onehold().to_str().expect("a path");
    let config = "/run/lab/arbiter.toml";
    let words = [binary, "run", "--config", config, "--as", "arbiter"];
    c.spawn("client", &words, "arbiter.log")
}

const MAJORITY: &str = "arbitration = \"majority\"";

#[test]
fn a_witness_takes_anothers_place_and_no_client_fails() {
    let mut c = Setup::majority().start();
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    let _arbiter = arbiter(&c, ARBITER);
    change(&c, ["lb1", "lb0"], ARBITER, MAJORITY);
    for name in ["lb0", "lb1"] {
        hears(&c, name, "arbiter");
    }
    // Read there as well, the new file says what to do with the one that goes.
    c.file("witness.toml", &with(&c, "witness", ARBITER, MAJORITY));
    let (_, said) = c.refused("witness", &["reload"]);
    for part in [
        "`witness`, which runs here, is not a member in it",
        "`systemctl disable --now onehold`",
    ] {
        assert!(said.contains(part), "{said}");
    }
    c.stop("witness");
    c.watch_for(1);
    client.is_content();
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on("lb1");
    c.never_two();
}

#[test]
fn two_alone_get_a_witness_and_lose_it_again() {
    let mut c = Setup::survivor().start();
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    let mut witness = arbiter(&c, ARBITER);
    change(&c, ["lb0", "lb1"], ARBITER, MAJORITY);
    for name in ["lb0", "lb1"] {
        hears(&c, name, "arbiter");
        assert_eq!(c.alarms(name), "[]", "{name}");
    }
    assert_eq!(c.status("lb0")["arbitration"], "majority");
    c.watch_for(1);
    client.is_content();
    change(&c, ["lb1", "lb0"], "", "arbitration = \"survivor\"");
    drop(witness);
    c.watch_for(1);
    client.is_content();
    c.has_not_moved(mark);
    witness = arbiter(&c, ARBITER);
    drop(witness);
    c.kill("lb0");
    c.hold_on("lb1");
    c.never_two();
}

#[test]
fn one_that_comes_back_with_a_file_of_before_holds_nothing() {
    let mut c = Setup::majority().start();
    let before = c.read("lb1.toml");
    let arbiter = arbiter(&c, ARBITER);
    change(&c, ["lb1", "lb0"], ARBITER, MAJORITY);
    c.stop("lb0");
    c.hold_on("lb1");
    c.stop("lb1");
    // The old witness still runs with the old file: with it, lb1 would be a majority.
    c.file("lb1.toml", &before);
    c.start("lb1");
    c.answers("lb1");
    eventually("it says why it does not hold", || {
        c.alarms("lb1").contains("takes no hold").then_some(())
    });
    c.watch_for(2);
    c.held_by_nobody();
    eprintln!("{}", c.onehold("lb1", &["status"]));
    // The operator knows.
    c.onehold("lb1", &["presume-dead", "--yes"]);
    c.hold_on("lb1");
    assert!(!c.alarms("lb1").contains("takes no hold"));
    drop(arbiter);
}

/// Another machine comes under the name of lb1, whose own is off for good.
#[track_caller]
fn takes_the_place(c: &Cluster) -> Process {
    let binary = binaries::onehold().to_str().expect("a path");
    let config = "/run/lab/spare.toml";
    let words = [binary, "run", "--config", config, "--as", "lb1"];
    let process = c.spawn(SPARE, &words, "spare.log");
    c.answers(SPARE);
    process
}

/// All have one file in force, and hear each other.
#[track_caller]
fn agree(c: &Cluster, all: &[&str]) {
    eventually("one file is in force, and all hear each other", || {
        let of: Vec<_> = all.iter().map(|name| c.status(name)).collect();
        let same = of.iter().all(|s| s["config"] == of[0]["config"]);
        let hears = |s: &serde_json::Value| {
            let peers = s["peers"].as_array().expect("peers").clone();
            s["changing"].is_null() && peers.iter().all(|p| p["two_way"] == true)
        };
        (same && of.iter().all(hears)).then_some(())
    });
}

#[test]
fn another_machine_takes_a_candidates_place_and_no_client_fails() {
    let mut c = Setup::majority().start();
    c.add_host(SPARE).expect("a host");
    c.watch("web", FLOATING);
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    c.power_off("lb1");
    // It has an address of its own.
    let (was, is) = ("10.77.0.11", "10.77.0.14");
    c.file("spare.toml", &c.read("lb1.toml").replace(was, is));
    let _new = takes_the_place(&c);
    for name in ["witness", "lb0"] {
        c.edit(name, was, is);
        eprintln!("{name}: {}", c.onehold(name, &["reload"]).trim());
    }
    agree(&c, &["lb0", "witness", SPARE]);
    c.watch_for(1);
    for name in ["lb0", "witness", SPARE] {
        assert_eq!(c.alarms(name), "[]", "{name}");
    }
    // The former machine is switched on again for a while, with its former file.
    c.power_on("lb1");
    c.start("lb1");
    c.answers("lb1");
    c.watch_for(2);
    client.is_content();
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on(SPARE);
    c.never_two();
}

#[test]
fn of_two_alone_another_machine_takes_the_place_of_one_with_its_address() {
    let mut c = Setup::survivor().start();
    c.add_host(SPARE).expect("a host");
    c.watch("web", FLOATING);
    let mut client = Client::asks(&c, FLOATING);
    let mark = c.mark();
    c.power_off("lb1");
    let words = "ip address add 10.77.0.11/16 dev eth0";
    c.ok(SPARE, &words.split(' ').collect::<Vec<_>>());
    c.file("spare.toml", &c.read("lb1.toml"));
    let _new = takes_the_place(&c);
    agree(&c, &["lb0", SPARE]);
    c.watch_for(1);
    client.is_content();
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on(SPARE);
    c.never_two();
}

//! `onehold upgrade`: the same incarnation goes on in another binary, and nobody notices; and a binary
//! that can't go on is refused, with what runs going on.

use onehold_sim::netns::{Fetcher, PATIENCE, Process, serve_on};
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually};
use serde_json::Value;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The first version's binary, under another name: another file.
const NEXT: &str = "/run/lab/next";
/// How often the client asks.
const PACE: Duration = Duration::from_millis(5);

/// A cluster that has a binary to go on in.
fn with_next(c: Cluster) -> Cluster {
    let binary = binaries::onehold().to_str().unwrap();
    c.ok("lb0", &["cp", binary, NEXT]);
    c
}

/// What must be the same before and after, of a member.
fn identity(c: &Cluster, name: &str) -> (Value, Value, u32) {
    let status = c.status(name);
    let changes = status["groups"][0]["role_changes"].clone();
    (status["incarnation"].clone(), changes, c.id(name).unwrap())
}

/// Upgrades a member by its new binary, as an operator does after a package's upgrade: what it said.
#[track_caller]
fn upgrade(c: &Cluster, name: &str) -> String {
    let before = identity(c, name);
    let said = c.ok(name, &[NEXT, "upgrade"]);
    assert!(said.contains("goes on as onehold"), "{said}");
    assert_eq!(identity(c, name), before, "{name}: {said}");
    // It knows what it holds: for a moment it would be mute otherwise.
    let alarms = c.alarms(name);
    assert!(!alarms.contains("does not hold it"), "{alarms}");
    eprintln!("{name}: {}", said.trim());
    said
}

/// For how long the process was away, in milliseconds, as it said.
fn away(said: &str) -> f64 {
    let (_, after) = said.trim().rsplit_once("after ").expect("a length");
    let number = after.trim_end_matches("ms").parse();
    number.unwrap_or_else(|e| panic!("{said}: {e}"))
}

#[test]
fn holder_standby_and_witness_go_on_in_another_binary_and_no_client_fails() {
    let mut c = with_next(Setup::majority().start());
    let web = SocketAddr::from(([10, 77, 0, 50], 80));
    let serve = |name| {
        let bind = "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind";
        c.ok(name, &["sh", "-c", bind]);
        serve_on(c.host(name), binaries::onehold_lab(), web).unwrap()
    };
    let _servers = ["lb0", "lb1"].map(serve);
    let client = Fetcher::start(c.host("client"), web, PACE, &["lb0", "lb1"]).unwrap();
    eventually("an answer", || client.last_answer());
    let (mark, from) = (c.mark(), Instant::now());
    for name in ["lb0", "lb1", "witness", "lb0"] {
        let said = upgrade(&c, name);
        // Not a bound of what is promised, for this machine may be busy: one of what can't be right.
        assert!(away(&said) < 400.0, "{said}");
        c.ok(name, &["cp", NEXT, "/run/lab/next.2"]);
        c.ok(name, &["mv", "/run/lab/next.2", NEXT]); // another file again
        c.watch_for(1);
    }
    let to = Instant::now();
    sleep(PATIENCE);
    let service = client.service(from, to);
    eprintln!("{service:?}");
    assert_eq!(service.failed, 0, "{service:?}");
    assert!(service.requests > 100, "{service:?}");
    c.has_not_moved(mark);
    let history = c.onehold("lb0", &["history"]);
    assert!(
        history.contains("the daemon was upgraded: onehold "),
        "{history}"
    );
    // And it still fails over, and leaves nothing behind.
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn two_members_alone_go_on_too() {
    let c = with_next(Setup::survivor().start());
    let mark = c.mark();
    for name in ["lb0", "lb1"] {
        upgrade(&c, name);
        c.watch_for(1);
    }
    c.has_not_moved(mark);
}

#[test]
fn the_gate_of_nftables_goes_on_too() {
    let mut c = with_next(Setup::majority().guard("nft").start());
    let mark = c.mark();
    upgrade(&c, "lb0");
    c.watch_for(2);
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn what_the_operator_said_and_what_is_in_force_go_on() {
    let c = with_next(Setup::majority().start());
    c.onehold("lb1", &["freeze", "--reason", "a test"]);
    c.onehold("lb0", &["standby"]);
    c.hold_on("lb1");
    c.edit("lb1", "level = \"info\"", "level = \"debug\""); // and nobody says reload
    upgrade(&c, "lb1");
    upgrade(&c, "lb0");
    c.watch_for(1);
    let status = c.onehold("lb1", &["status"]);
    assert!(status.contains("a test"), "{status}");
    assert!(!c.log("lb1").contains("DEBUG"), "the file was read again");
    c.onehold("lb0", &["resume"]);
    c.watch_for(1);
    c.hold_on("lb1"); // frozen
    c.onehold("lb1", &["thaw"]);
    c.hold_on("lb0");
}

/// Each of these is refused, and what runs goes on.
#[test]
fn a_binary_that_can_not_go_on_is_refused() {
    let c = with_next(Setup::majority().start());
    let before = identity(&c, "lb0");
    let mark = c.mark();
    let make = |name: &str, script: &str| {
        let path = format!("/run/lab/{name}");
        let script = script.replace("OUT", &path).replace("NEXT", NEXT);
        c.ok("lb0", &["sh", "-c", &format!("{script}; chmod 755 {path}")]);
        path
    };
    let state = "'{\"format\":\"onehold state\",\"version\":1000}'";
    for (name, script, said) in [
        ("truncated", "head -c 100000 NEXT > OUT", "is refused"),
        ("empty", ": > OUT", "is refused"),
        ("other", "cp /bin/true OUT", "so it is not onehold"),
        (
            "missing",
            "rm -f OUT; : > /run/lab/x; cp /run/lab/x OUT; rm OUT; touch OUT",
            "is refused",
        ),
        (
            "crashes",
            "printf '#!/bin/sh\\nkill -SEGV $$\\n' > OUT",
            "signal: 11",
        ),
        (
            "hangs",
            "printf '#!/bin/sh\\nexec sleep 30\\n' > OUT",
            "did not read the state within",
        ),
        (
            "older",
            "printf '#!/bin/sh\\nexec NEXT read-state < /run/lab/old-state\\n' > OUT",
            "of version 1000, and onehold",
        ),
        (
            "forgetful",
            "printf '#!/bin/sh\\nNEXT read-state | sed s/digest...../digest\\\\\":\\\\\"0/\\n' > OUT",
            "it would write the state differently",
        ),
    ] {
        c.ok(
            "lb0",
            &["sh", "-c", &format!("echo {state} > /run/lab/old-state")],
        );
        let path = make(name, script);
        let (status, why) = c.refused("lb0", &["upgrade", &path]);
        assert_eq!(status, Some(1), "{name}: {why}");
        assert!(why.contains(said), "{name}: {why}");
        assert!(why.contains("goes on as it is"), "{name}: {why}");
    }
    // It reads the state, and can't be run where the daemon is.
    let script = make("script", "printf '#!/bin/sh\\nexec NEXT \"$@\"\\n' > OUT");
    let (status, why) = c.refused("lb0", &["upgrade", &script]);
    assert_eq!(status, Some(1), "{why}");
    let own = binaries::onehold().to_str().unwrap();
    let (status, why) = c.refused("lb0", &["upgrade", own]);
    assert!(why.contains("it runs this very file already"), "{why}");
    assert_eq!(status, Some(1));
    assert_eq!(identity(&c, "lb0"), before);
    c.has_not_moved(mark);
    c.logs("lb0", "not upgraded: ");
    upgrade(&c, "lb0"); // and it can be, all the same
    c.has_not_moved(mark);
}

/// The second cluster of a witness, and the daemons of its candidates.
fn second(c: &mut Cluster) -> Vec<Process> {
    let text = c.read("lb0.toml");
    let text = text.replace("name = \"lab\"", "name = \"db\"\nport = 6947");
    c.file("db.toml", &text.replace("10.77.0.50", "10.77.0.51"));
    c.watch("db", "10.77.0.51".parse().unwrap());
    let start = |name: &str| {
        let binary = binaries::onehold().to_str().unwrap();
        let run = [binary, "run", "--config", "/run/lab/db.toml", "--as", name];
        let words = [&run[..], &["--socket", "/run/onehold/db.sock"]].concat();
        c.spawn(name, &words, &format!("{name}.db.log"))
    };
    vec![start("lb0"), start("lb1")]
}

#[test]
fn a_witness_of_many_clusters_goes_on_with_all_of_them() {
    let mut c = with_next(Setup::majority().build());
    c.ok("witness", &["mkdir", "/run/lab/clusters"]);
    let at = |text: String| text.replace("\"secret\"", "\"../secret\"");
    c.file("clusters/a.toml", &at(c.read("lb0.toml")));
    let _second = second(&mut c);
    c.file("clusters/b.toml", &at(c.read("db.toml")));
    c.file("witness.toml", "directory = \"clusters\"\n");
    c.start_all();
    c.hold_on("lb0");
    c.group_on("db", "lb0");
    let all = || -> Vec<(Value, Value)> {
        let text = c.onehold("witness", &["status", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        let clusters = report["clusters"].as_array().unwrap().iter();
        let each = clusters.map(|one| (one["cluster"].clone(), one["incarnation"].clone()));
        each.collect()
    };
    let before = all();
    assert_eq!(before.len(), 2);
    upgrade(&c, "witness");
    assert_eq!(all(), before);
    // Its votes count as before: without one candidate each group needs it.
    c.kill("lb1");
    c.watch_for(2);
    c.hold_on("lb0");
}

#[test]
fn a_trace_goes_on_across_an_upgrade() {
    let mut c = with_next(Setup::majority().build());
    for name in ["lb0", "lb1", "witness"] {
        let (file, trace) = (
            format!("/run/lab/{name}.toml"),
            format!("/run/lab/{name}.trace"),
        );
        let binary = binaries::onehold().to_str().unwrap();
        let run = [
            binary, "run", "--config", &file, "--as", name, "--trace", &trace,
        ];
        c.start_by(name, &run);
    }
    c.hold_on("lb0");
    upgrade(&c, "lb0");
    c.watch_for(1);
    c.onehold("lb0", &["switch"]);
    c.hold_on("lb1");
    for name in ["lb0", "lb1", "witness"] {
        c.stop(name);
    }
    let lab = binaries::onehold_lab().to_str().unwrap();
    let files = ["lb0.trace.old", "lb0.trace", "lb1.trace", "witness.trace"];
    let files = files.map(|name| format!("/run/lab/{name}"));
    let mut words = vec![lab, "replay"];
    words.extend(files.iter().map(String::as_str));
    let said = c.ok("observer", &words);
    assert!(said.contains("lb0: 1 incarnation, "), "{said}");
    assert!(
        said.contains("the core does in each what was recorded"),
        "{said}"
    );
}

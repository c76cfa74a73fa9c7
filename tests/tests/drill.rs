//! `onehold observe` and `onehold drill`: a pair is taken down on purpose, and whoever looks on is
//! not the victim.

use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::net::IpAddr;
use std::process::Output;
use std::time::Duration;

const FLOATING: &str = "10.77.0.50";

/// What an observer on a host says until it ends.
fn observed(c: &Cluster, host: &str, words: &[&str]) -> Vec<Value> {
    let text = c.onehold(host, &[&["observe"], words].concat());
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// The names of those who answer, change by change.
fn answers(lines: &[Value]) -> Vec<Vec<&str>> {
    let changes = lines.iter().filter(|line| line["line"] == "answers");
    let by = changes.filter_map(|change| change["by"].as_array());
    by.map(|by| {
        by.iter()
            .map(|who| who["name"].as_str().unwrap_or("?"))
            .collect()
    })
    .collect()
}

fn end(lines: &[Value]) -> &Value {
    let last = lines.last().expect("it said something");
    assert_eq!(last["line"], "end", "{last}");
    &last["seen"]
}

#[test]
fn a_witness_sees_who_answers_and_disturbs_nobody() {
    let c = Setup::majority().also("fd77::50/64").start();
    let mark = c.mark();
    let lines = observed(&c, "witness", &["--for", "1s"]);
    assert_eq!(lines[0]["member"], "witness");
    assert_eq!(lines[0]["asks_own_daemon"], false);
    assert_eq!(answers(&lines), [["lb0"]]);
    assert!(
        end(&lines)["requests"].as_u64() > Some(20),
        "{}",
        end(&lines)
    );
    assert_eq!(end(&lines)["two_ms"], 0.0);
    c.has_not_moved(mark);
    // By IPv6 as well, and from a host that is no member.
    let lines = observed(&c, "witness", &["--for", "500ms", "--address", "fd77::50"]);
    assert_eq!(lines[0]["member"], Value::Null);
    assert_eq!(answers(&lines), [["?"]]);
    let words = [
        "--for",
        "500ms",
        "--address",
        FLOATING,
        "--interface",
        "eth0",
    ];
    let lines = observed(&c, "observer", &words);
    assert_eq!(answers(&lines), [["?"]]);
    // Whose table has learnt nothing that is not so.
    let table = c.ok("lb0", &["ip", "neighbour", "show"]);
    let observers: Vec<&str> = table
        .lines()
        .filter(|l| l.contains("10.77.0.21 "))
        .collect();
    let mac = c.host("observer").mac(0).map(|byte| format!("{byte:02x}"));
    assert!(
        observers.iter().all(|l| l.contains(&mac.join(":"))),
        "{table}"
    );
    c.has_not_moved(mark);
}

/// A candidate can't hear itself: its own gate is asked of its daemon.
#[test]
fn a_candidate_sees_itself_by_its_daemon() {
    let c = Setup::survivor().start();
    let lines = observed(&c, "lb0", &["--for", "1s"]);
    assert_eq!(lines[0]["asks_own_daemon"], true);
    assert_eq!(answers(&lines), [["lb0"]]);
    let lines = observed(&c, "lb1", &["--for", "1s"]);
    assert_eq!(answers(&lines), [["lb0"]]);
    assert_eq!(end(&lines)["two_ms"], 0.0);
}

/// A check that can't fail is none: here are two.
#[test]
fn a_second_machine_that_answers_is_seen() {
    let mut c = Setup::majority().start();
    let address: IpAddr = FLOATING.parse().unwrap();
    c.host("stranger").add_address("eth0", address, 32).unwrap();
    eventually("two answer", || {
        let lines = observed(&c, "witness", &["--for", "500ms"]);
        let both = answers(&lines).iter().any(|by| by.len() == 2);
        (both && end(&lines)["two_ms"].as_f64() > Some(50.0)).then_some(())
    });
    c.host("stranger")
        .remove_address("eth0", address, 32)
        .unwrap();
    c.kill("lb0");
    let lines = observed(&c, "witness", &["--for", "1500ms"]);
    assert_eq!(answers(&lines).last().unwrap()[..], ["lb1"]);
    assert_eq!(end(&lines)["two_ms"], 0.0);
}

#[test]
fn what_cannot_be_observed_is_refused_with_a_remedy() {
    let c = Setup::majority().start();
    for (words, status, said) in [
        (
            &["observe", "db"][..],
            1,
            "there is no group `db`; there is web",
        ),
        (&["observe", "--every", "2s"], 2, "must be 1ms to 1s"),
        (&["observe", "--address", "192.0.2.1"], 1, "--interface"),
        (
            &["observe", "--interface", "eth7"],
            1,
            "there is no interface eth7",
        ),
        (
            &["observe", "--interface", "lo"],
            1,
            "name an Ethernet interface",
        ),
    ] {
        let (code, why) = c.refused("witness", words);
        assert_eq!(
            (code, why.contains(said)),
            (Some(status), true),
            "{words:?}: {why}"
        );
    }
    let (_, why) = c.refused("observer", &["observe"]);
    assert!(why.contains("no daemon listens"), "{why}");
}

/// `onehold drill` on a host, observed from another, with a budget that any machine keeps.
struct Words(Vec<String>);

impl Words {
    fn new(c: &Cluster, host: &str, observer: &str) -> Self {
        let binary = binaries::onehold().display();
        let pid = c.id(observer).unwrap();
        let words = [
            "drill",
            "--yes",
            "--json",
            "--budget",
            "10s",
            "--to",
            "/run/lab",
            "--config",
            &format!("/run/lab/{host}.toml"),
            "--start",
            &format!("{binary} run --config /run/lab/{host}.toml --as {host}"),
            "--observer",
            &format!("nsenter --target {pid} --net --mount {binary} observe"),
        ];
        Self(words.map(str::to_owned).to_vec())
    }

    /// With more words, or others.
    fn with(mut self, words: &[&str]) -> Self {
        for pair in words.chunks(2) {
            match self.0.iter().position(|word| word == pair[0]) {
                Some(at) => self.0[at + 1] = pair[1].to_owned(),
                None => self.0.extend(pair.iter().map(|word| (*word).to_owned())),
            }
        }
        self
    }

    fn words(&self) -> Vec<&str> {
        let binary = binaries::onehold().to_str().expect("a path");
        let own = self.0.iter().map(String::as_str);
        [binary].into_iter().chain(own).collect()
    }

    fn run(&self, c: &Cluster, host: &str) -> Output {
        c.run(host, &self.words())
    }

    fn spawn(&self, c: &Cluster, host: &str) -> Process {
        c.spawn(host, &self.words(), "drill.log")
    }

    /// Must be refused with status 3, for a reason.
    #[track_caller]
    fn refused(&self, c: &Cluster, host: &str, why: &str) {
        let output = self.run(c, host);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(why), "`{why}` is not in: {said}");
    }
}

/// Every event, and nobody else is hurt.
fn all_events(c: &Cluster, observer: &str) {
    let output = Words::new(c, "lb0", observer).run(c, "lb0");
    let said = String::from_utf8_lossy(&output.stderr);
    let record: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    assert_eq!(output.status.code(), Some(0), "{said}\n{record:#}");
    assert_eq!(
        (&record["within"], &record["two_ms"]),
        (&true.into(), &0.0.into())
    );
    assert_eq!(record["observer"], observer);
    eprintln!("{}", figures(&record));
    let events = record["events"].as_array().unwrap();
    let names: Vec<&str> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["standby", "stop", "freeze", "kill", "cut"]);
    for event in events {
        let answered = event["answered"].as_array().unwrap().iter();
        let by = answered.map(|at| at[1].as_array().unwrap().iter());
        let by: Vec<Vec<&str>> = by
            .map(|by| by.map(|w| w["name"].as_str().unwrap()).collect())
            .collect();
        assert_eq!(by.first().unwrap()[..], ["lb0"], "{event}");
        assert!(by.contains(&vec!["lb1"]), "{event}");
        assert_eq!(by.last().unwrap()[..], ["lb0"], "{event}");
        assert!(event["seen"]["outage_ms"].as_f64() > Some(0.0), "{event}");
    }
    let page = record["page"]
        .as_str()
        .unwrap()
        .strip_prefix("/run/lab/")
        .unwrap();
    let page = c.read(page);
    assert_eq!(page.matches("<svg").count(), 5, "{page}");
    assert!(page.contains("<span class=\"yes\">kept</span>"), "{page}");
    well(c);
}

/// What each event cost, for whoever reads the output.
fn figures(record: &Value) -> String {
    let events = record["events"].as_array().unwrap().iter();
    let each = events.map(|e| {
        let (name, seen, may) = (&e["event"], &e["seen"], &e["expected_ms"]);
        format!(
            "{name}: {} of {may:.0} ms, observer missed {}",
            seen["outage_ms"], seen["hole_ms"]
        )
    });
    each.collect::<Vec<_>>().join("; ")
}

/// All is as before.
#[track_caller]
fn well(c: &Cluster) {
    c.hold_on("lb0");
    eventually("no alarm", || (c.alarms("lb0") == "[]").then_some(()));
    let tables = c.ok("lb0", &["nft", "list", "tables"]);
    assert!(!tables.contains("onehold-drill"), "{tables}");
}

#[test]
fn under_majority_each_event_is_within_the_budget_and_never_two() {
    all_events(&Setup::majority().start(), "witness");
}

#[test]
fn under_survivor_the_other_candidate_looks_on() {
    all_events(&Setup::survivor().start(), "lb1");
}

#[test]
fn a_drill_does_not_begin_while_anything_is_wrong_or_too_dear() {
    let mut c = Setup::majority().start();
    let mark = c.mark();
    let drill = |c: &Cluster| Words::new(c, "lb0", "witness");
    drill(&c)
        .with(&["--budget", "50ms"])
        .refused(&c, "lb0", "interval 100 ms");
    let dear = drill(&c).with(&["--budget", "300ms", "--only", "freeze"]);
    dear.refused(&c, "lb0", "ms + 2 × interval 100 ms");
    let dear = drill(&c).with(&["--observer", "true"]);
    dear.refused(&c, "lb0", "the observer ended");
    let dear = drill(&c).with(&["--observer", "echo who"]);
    dear.refused(&c, "lb0", "which no observer says");
    Words::new(&c, "lb0", "lb0").refused(&c, "lb0", "looks from this machine");
    let elsewhere = drill(&c).with(&["--config", "/run/lab/none.toml"]);
    elsewhere.refused(&c, "lb0", "name the file with --config");
    // On the other candidate.
    let other = Words::new(&c, "lb1", "witness");
    other.refused(
        &c,
        "lb1",
        "lb0 holds it, not lb1; a drill runs on the holder",
    );
    let mut timer = Words::new(&c, "lb1", "witness");
    timer.0.extend(["--if-holder".into(), "--random".into()]);
    let output = timer.run(&c, "lb1");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to do here"));
    // Nobody can be asked whether that is meant.
    let mut asks = drill(&c);
    asks.0.retain(|word| word != "--yes");
    assert_eq!(asks.run(&c, "lb0").status.code(), Some(2));

    c.onehold("lb1", &["standby"]);
    eventually("lb1 is not ready", || {
        (c.alarms("lb0") != "[]").then_some(())
    });
    drill(&c).refused(&c, "lb0", "lb1 is heard, but could not take over");
    c.onehold("lb1", &["resume"]);
    eventually("no alarm", || (c.alarms("lb0") == "[]").then_some(()));
    c.has_not_moved(mark);

    let words = drill(&c);
    c.kill("witness");
    eventually("the witness is missed", || {
        (c.alarms("lb0") != "[]").then_some(())
    });
    words.refused(&c, "lb0", "witness is not heard");
    c.has_not_moved(mark);
}

#[test]
fn what_would_be_an_outage_by_itself_is_refused() {
    let c = Setup::two_by_majority().start();
    let words = Words::new(&c, "lb0", "lb1");
    words.refused(
        &c,
        "lb0",
        "freeze: two members under `majority` have no takeover by themselves",
    );
    c.hold_on("lb0");
}

/// A drill in the middle of an event.
fn in_the_middle(c: &Cluster, event: &str) -> Process {
    let daemon = c.id("lb0").unwrap();
    let words = Words::new(c, "lb0", "witness").with(&["--only", event, "--at-most", "3s"]);
    let drill = words.spawn(c, "lb0");
    eventually("the event", || {
        let is_done = match event {
            "freeze" => is_frozen(daemon),
            _ => c
                .ok("lb0", &["nft", "list", "tables"])
                .contains("onehold-drill"),
        };
        is_done.then_some(())
    });
    drill
}

fn is_frozen(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('T'))
}

#[test]
fn an_interrupted_drill_undoes_what_it_did() {
    let c = Setup::majority().start();
    for event in ["freeze", "cut"] {
        let mut drill = in_the_middle(&c, event);
        drill.signal(Signal::INT).unwrap();
        let status = drill.wait(Duration::from_secs(30)).unwrap();
        assert_eq!(status.code(), Some(1), "{}", c.read("drill.log"));
        let record = c.read("drill.log");
        assert!(
            record.contains("\"ended_early\":\"interrupted\""),
            "{record}"
        );
        assert!(!is_frozen(c.id("lb0").unwrap()));
        well(&c);
    }
}

#[test]
fn a_killed_drill_leaves_nothing_behind() {
    let c = Setup::majority().start();
    for event in ["freeze", "cut"] {
        let mut drill = in_the_middle(&c, event);
        drill.signal(Signal::KILL).unwrap();
        drill.wait(Duration::from_secs(5)).unwrap();
        eventually("it is undone", || {
            (!is_frozen(c.id("lb0").unwrap())).then_some(())
        });
        eventually("the table is gone", || {
            let tables = c.ok("lb0", &["nft", "list", "tables"]);
            (!tables.contains("onehold-drill")).then_some(())
        });
        well(&c);
    }
}

/// With nobody left to undo it, the kernel ends a cut.
#[test]
fn a_cut_ends_by_itself() {
    let c = Setup::majority().start();
    let mut drill = in_the_middle(&c, "cut");
    let keepers = below(drill.id(), "drill-keeper");
    assert_eq!(keepers.len(), 1);
    keepers
        .iter()
        .for_each(|keeper| kill_process(*keeper, Signal::KILL).unwrap());
    drill.signal(Signal::KILL).unwrap();
    drill.wait(Duration::from_secs(5)).unwrap();
    c.hold_on("lb0");
    eventually("no alarm", || (c.alarms("lb0") == "[]").then_some(()));
    // Its table is still there, and the next drill's.
    assert!(
        c.ok("lb0", &["nft", "list", "tables"])
            .contains("onehold-drill")
    );
    let again = Words::new(&c, "lb0", "witness").with(&["--only", "cut"]);
    let output = again.run(&c, "lb0");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    well(&c);
}

/// What the tests above would see without a keeper.
#[test]
fn with_nobody_left_a_frozen_daemon_stays_so() {
    let c = Setup::majority().start();
    let mut drill = in_the_middle(&c, "freeze");
    for keeper in below(drill.id(), "drill-keeper") {
        kill_process(keeper, Signal::KILL).unwrap();
    }
    drill.signal(Signal::KILL).unwrap();
    drill.wait(Duration::from_secs(5)).unwrap();
    c.watch_for(4);
    assert!(is_frozen(c.id("lb0").unwrap()));
    c.hold_on("lb1");
    c.signal("lb0", Signal::CONT).unwrap();
    well(&c);
}

/// A drill that is stuck does not keep a fault alive.
#[test]
fn no_fault_lasts_longer_than_it_may() {
    let c = Setup::majority().start();
    let mut drill = in_the_middle(&c, "freeze");
    drill.signal(Signal::STOP).unwrap();
    eventually("it goes on", || {
        (!is_frozen(c.id("lb0").unwrap())).then_some(())
    });
    c.hold_on("lb0");
    drill.signal(Signal::CONT).unwrap();
    drill.wait(Duration::from_secs(30)).unwrap();
    well(&c);
}

#[test]
fn a_drill_without_its_observer_ends() {
    let c = Setup::majority().start();
    let mut drill = in_the_middle(&c, "freeze");
    let observers = below(drill.id(), "--marks");
    assert!(!observers.is_empty());
    // Those above the observer end with it.
    for process in observers {
        let _ = kill_process(process, Signal::KILL);
    }
    let status = drill.wait(Duration::from_secs(30)).unwrap();
    assert_eq!(status.code(), Some(1), "{}", c.read("drill.log"));
    assert!(c.read("drill.log").contains("the observer ended"));
    well(&c);
}

/// The processes below one in whose command line there is a word.
fn below(process: u32, word: &str) -> Vec<Pid> {
    let children = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(children).unwrap_or_default();
    let mut all = Vec::new();
    for pid in children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
    {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if words.contains(word) {
            all.extend(Pid::from_raw(i32::try_from(pid).unwrap()));
        }
        all.extend(below(pid, word));
    }
    all
}

//! The witness: for how many clusters it votes, and as which user; and two members without one.

use onehold_sim::netns::Process;
use onehold_tests::{
    Begin as _, Cluster, ORDINARY, Setup, binaries, eventually, is_machine_root, not_run,
};
use serde_json::Value;

/// A second cluster on the same hosts: another name, port, address and preference.
fn second_cluster(c: &Cluster) -> String {
    let text = c.read("lb0.toml");
    let text = text.replace("name = \"lab\"", "name = \"db\"\nport = 6947");
    let text = text.replace("10.77.0.50", "10.77.0.51");
    text.replace("preferred = \"lb0\"", "preferred = \"lb1\"")
}

/// The candidates' daemons of the second cluster.
fn start_second(c: &mut Cluster) -> Vec<Process> {
    c.file("db.toml", &second_cluster(c));
    c.watch("db", "10.77.0.51".parse().unwrap());
    let start = |name: &str| {
        let binary = binaries::onehold().to_str().unwrap();
        let words = [
            binary,
            "run",
            "--config",
            "/run/lab/db.toml",
            "--as",
            name,
            "--socket",
            "/run/onehold/db.sock",
        ];
        c.spawn(name, &words, &format!("{name}.db.log"))
    };
    vec![start("lb0"), start("lb1")]
}

/// What an ordinary cluster file says, as tables of a witness's file.
fn as_tables(name: &str, file: &str) -> String {
    let file = file.split("[log]").next().unwrap();
    let file = file.replace(
        &format!("[cluster]\nname = \"{name}\""),
        &format!("[clusters.{name}]"),
    );
    let file = file.replace("[members.", &format!("[clusters.{name}.members."));
    file.replace("[groups.", &format!("[clusters.{name}.groups."))
}

#[test]
fn one_witness_serves_two_clusters_at_once_as_a_user_without_any_capability() {
    let mut c = Setup::majority().build();
    let file = as_tables("lab", &c.read("lb0.toml")) + &as_tables("db", &second_cluster(&c));
    // The secret is its own, as it must be; the binary where every user finds it.
    let binary = binaries::onehold().display();
    c.ok(
        "witness",
        &[
            "sh",
            "-c",
            &format!("mkdir -p /run/lab/w; cp {binary} /run/lab/w/onehold"),
        ],
    );
    c.file("w/secret", &c.read("secret"));
    c.file("w/onehold.toml", &file);
    let run = [
        "/run/lab/w/onehold",
        "run",
        "--config",
        "/run/lab/w/onehold.toml",
    ];
    let places = [
        "--as",
        "witness",
        "--state",
        "/run/lab/w",
        "--socket",
        "/run/lab/w/sock",
    ];
    let words = [&run[..], &places].concat();
    if is_machine_root() {
        c.ok("witness", &["chown", "-R", "65534:65534", "/run/lab/w"]);
        c.ok("witness", &["chown", "root", "/run/lab/w/secret"]);
        c.start_by("witness", &[&ORDINARY[..], &words].concat());
        c.logs("witness", "/run/lab/w/secret can't be read");
        c.ok("witness", &["chown", "65534", "/run/lab/w/secret"]);
    } else {
        not_run("in a user namespace there is no other user to become");
        c.start_by("witness", &words);
    }
    c.start("lb0");
    c.start("lb1");
    let _second = start_second(&mut c);
    c.hold_on("lb0");
    c.group_on("db", "lb1");
    if is_machine_root() {
        let path = format!("/proc/{}/status", c.id("witness").unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let of = |key: &str| {
            status
                .lines()
                .find_map(|l| l.strip_prefix(key))
                .unwrap()
                .trim()
        };
        assert_eq!(of("CapEff:"), "0000000000000000");
        assert_eq!(of("CapBnd:"), "0000000000000000");
        assert!(of("Uid:").starts_with("65534"));
    }
    // Both clusters depend on it, and it keeps them apart.
    let text = c.onehold(
        "witness",
        &["status", "--json", "--socket", "/run/lab/w/sock"],
    );
    let report: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = report["clusters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["cluster"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["db", "lab"]);
    assert!(
        report["clusters"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["witness"] == true)
    );
    c.kill("lb0");
    c.hold_on("lb1");
    c.group_on("db", "lb1");
    c.stop("witness");
}

#[test]
fn a_witness_takes_its_clusters_from_a_directory() {
    let mut c = Setup::majority().patient().build();
    c.ok("witness", &["mkdir", "/run/lab/clusters"]);
    let at = |text: String| text.replace("\"secret\"", "\"../secret\"");
    c.file("clusters/a.toml", &at(c.read("lb0.toml")));
    c.file("clusters/b.toml", &at(second_cluster(&c)));
    c.file("witness.toml", "directory = \"clusters\"\n");
    c.start_all();
    let second = start_second(&mut c);
    c.hold_on("lb0");
    c.group_on("db", "lb1");
    // The candidates of one cluster go; the other doesn't notice, gate and all.
    let lb0 = |c: &Cluster| c.status("lb0")["groups"][0]["role_changes"].clone();
    let before = lb0(&c);
    drop(second);
    eventually("nobody holds that", || {
        c.holders("db").is_empty().then_some(())
    });
    c.hold_on("lb0");
    assert_eq!(lb0(&c), before);
}

#[test]
fn a_witness_may_come_and_go() {
    let mut c = Setup::majority().start();
    let mark = c.mark();
    c.kill("witness");
    c.watch_for(1);
    c.start("witness");
    c.watch_for(1);
    c.stop("witness");
    c.start("witness");
    c.watch_for(1);
    c.power_off("witness");
    c.watch_for(1);
    c.has_not_moved(mark);
    c.power_on("witness");
    c.start("witness");
    c.watch_for(1);
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn a_witness_that_restarts_does_not_vote_twice() {
    let mut c = Setup::majority().start();
    // The holder's voter restarts just as the holder is cut off.
    c.lan().isolate("lb0").unwrap();
    c.kill("witness");
    c.start("witness");
    c.hold_on("lb1");
    c.heal();
    c.hold_on("lb0");
}

#[test]
fn two_members_by_majority_wait_for_the_operator_s_order() {
    let mut c = Setup::two_by_majority().start();
    // As long as the other is heard, its vote is needed.
    let (status, said) = c.refused("lb1", &["presume-dead", "--yes"]);
    assert_eq!(status, Some(1), "{said}");
    c.kill("lb0");
    c.held_by_nobody();
    // Nothing can be asked of a member that is gone, and nothing is done without an order.
    let (status, said) = c.refused("lb1", &["presume-dead"]);
    assert!(status == Some(2) && said.contains("add --yes"), "{said}");
    c.held_by_nobody();
    let presume = [
        binaries::onehold().to_str().unwrap(),
        "presume-dead",
        "--yes",
    ];
    eventually("it may be presumed dead", || {
        c.run("lb1", &presume).status.success().then_some(())
    });
    c.hold_on("lb1");
    assert_eq!(c.status("lb1")["groups"][0]["presumed_dead"], true);
    c.start("lb0");
    c.hold_on("lb0");
    assert_eq!(c.status("lb1")["groups"][0]["presumed_dead"], false);
    c.stop("lb0"); // it hands over, and then its vote can't be renewed
    c.held_by_nobody();
}

#[test]
fn two_members_by_majority_never_both_hold() {
    let mut c = Setup::two_by_majority().start();
    c.lan().cut("lb0", "lb1").unwrap();
    c.held_by_nobody();
    c.watch_for(1);
    c.heal();
    c.hold_on("lb0");
    c.onehold("lb0", &["switch"]);
    c.hold_on("lb1");
    c.pause("lb1");
    c.held_by_nobody();
    c.resume("lb1");
    c.held_by_somebody("web");
    c.never_two();
}

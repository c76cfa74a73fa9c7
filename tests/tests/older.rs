//! A program of before and that of today are members of one cluster: they read each other's datagrams,
//! notes and frames, take the same file for the same, and an upgrade goes from the one to the other.
//!
//! `cargo verify older` runs these; the program of before is built from the repository's history
//! (`binaries::OLDER`).

use onehold_tests::{Begin as _, Client, Cluster, Setup, binaries, eventually};
use std::net::Ipv4Addr;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const TODAY: &str = "/run/lab/today";

/// The cluster, with the program of before on these members.
fn start(setup: Setup, before: &[&str]) -> Cluster {
    let mut c = setup.build();
    let older = binaries::older().to_str().expect("a path");
    for name in c.members() {
        if before.contains(name) {
            let file = format!("/run/lab/{name}.toml");
            c.start_by(name, &[older, "run", "--config", &file, "--as", name]);
        } else {
            c.start(name);
        }
    }
    c.hold_on("lb0");
    c
}

/// All hear each other, and nobody has anything to say against it.
#[track_caller]
fn all_well(c: &Cluster) {
    for name in c.members() {
        eventually(&format!("{name} hears all"), || {
            let status = c.status(name);
            let mut peers = status["peers"].as_array().expect("a list").iter();
            let well = |peer: &serde_json::Value| {
                peer["two_way"] == true && peer["other_config"].is_null() && peer["datagrams"] == 1
            };
            peers.all(well).then_some(())
        });
        assert_eq!(c.alarms(name), "[]", "{name}");
        for reason in ["not_ours", "malformed", "bad_seal"] {
            assert_eq!(c.rejected(name, reason), 0, "{name}: {reason}");
        }
    }
}

/// It does what a cluster does.
#[track_caller]
fn serves(c: &mut Cluster) {
    all_well(c);
    c.onehold("lb0", &["switch"]);
    c.hold_on("lb1");
    c.onehold("lb1", &["switch"]);
    c.hold_on("lb0");
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.watch_for(1);
}

#[test]
#[ignore = "builds the program of before: `cargo verify older` runs it"]
fn either_program_on_any_member_serves() {
    for before in [
        &["lb0"][..],
        &["lb1"],
        &["witness"],
        &["lb0", "lb1"],
        &["lb0", "witness"],
    ] {
        eprintln!("of before: {before:?}");
        serves(&mut start(Setup::majority(), before));
    }
}

#[test]
#[ignore = "builds the program of before: `cargo verify older` runs it"]
fn two_alone_of_which_one_is_older_serve() {
    for before in ["lb0", "lb1"] {
        let mut c = start(Setup::survivor(), &[before]);
        serves(&mut c);
        // And by frames alone.
        let rules = "add table inet fw; add chain inet fw input { type filter hook input priority 0; }; \
                     add rule inet fw input udp dport 6946 drop";
        for name in ["lb0", "lb1"] {
            c.ok(name, &["nft", rules]);
        }
        let mark = c.mark();
        c.watch_for(2);
        c.has_not_moved(mark);
    }
}

#[test]
#[ignore = "builds the program of before: `cargo verify older` runs it"]
fn all_are_changed_and_upgraded_one_after_another_and_no_client_fails() {
    let mut c = start(Setup::majority(), &["lb0", "lb1", "witness"]);
    c.file("secret.2", "another secret of a test, also long enough\n");
    let today = binaries::onehold().to_str().expect("a path");
    c.ok("lb0", &["cp", today, TODAY]);
    let mut client = Client::asks(&c, ADDRESS);
    let mark = c.mark();
    let reload = |from: &str, to: &str| {
        for name in c.members() {
            c.edit(name, from, to);
            c.onehold(name, &["reload"]);
        }
    };
    let (one, two) = (["secret"], ["secret.2", "secret"]);
    let first = "addresses = [\"10.77.0.50/16\"";
    let second = format!("{first}, \"10.77.0.51/16\"");
    for name in ["lb0", "witness", "lb1"] {
        let said = c.ok(name, &[TODAY, "upgrade"]);
        eprintln!("{name}: {}", said.trim());
        all_well(&c);
        // Here the two programs are members of one cluster, until the last round.
        reload(&keys(&one), &keys(&two));
        reload(first, &second);
        settled(&c);
        eventually("the second address", || {
            c.has("lb0", "10.77.0.51").then_some(())
        });
        reload(&second, first);
        settled(&c);
        reload(&keys(&two), &keys(&one));
    }
    client.is_content();
    c.has_not_moved(mark);
    serves(&mut c);
}

/// No change is under way any more: until then a file that changes is refused.
fn settled(c: &Cluster) {
    eventually("nothing changes any more", || {
        let mut all = c.members().iter().map(|name| c.status(name));
        all.all(|status| status["changing"].is_null()).then_some(())
    });
}

/// The line of these secrets.
fn keys(files: &[&str]) -> String {
    match files {
        [one] => format!("secret_file = \"{one}\""),
        several => format!("secret_files = {several:?}"),
    }
}

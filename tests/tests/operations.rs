//! What an operator does and gets wrong: secrets, files, locks, reloads, commands.

use onehold_tests::{Begin as _, Cluster, Datagram, Setup, eventually, send_as};

/// A second secret, for rotations and mistakes.
const OTHER: &str = "another secret of a test, also long enough\n";

#[test]
fn a_member_with_another_secret_is_kept_out_and_both_sides_say_so() {
    let c = Setup::majority();
    let mut c = c.build();
    c.file("secret.2", OTHER);
    c.edit("lb0", "\"secret\"", "\"secret.2\"");
    c.start_all();
    c.hold_on("lb1"); // with the witness; lb0 alone is not a majority
    for (name, peer) in [("lb0", "lb1"), ("lb1", "lb0")] {
        eventually("it is counted", || {
            (c.rejected(name, "unknown_key") > 0).then_some(())
        });
        assert!(c.alarms(name).contains(&format!("{peer} is not heard")));
    }
    c.stop("lb0");
    c.edit("lb0", "secret.2", "secret");
    c.start("lb0");
    c.hold_on("lb0");
}

#[test]
fn a_pair_with_two_secrets_is_as_good_as_cut() {
    let mut c = Setup::two_by_majority().build();
    c.file("secret.2", OTHER);
    c.edit("lb0", "\"secret\"", "\"secret.2\"");
    c.start_all();
    c.watch_for(2);
    c.held_by_nobody();
}

#[test]
fn a_secret_that_others_can_read_or_that_is_missing_or_short_is_not_used() {
    let mut c = Setup::majority().build();
    for (spoil, said) in [
        (
            "chmod 640 /run/lab/secret",
            "run `chmod 600 /run/lab/secret`",
        ),
        ("rm /run/lab/secret", "/run/lab/secret does not exist"),
        (
            "echo short >/run/lab/secret; chmod 600 /run/lab/secret",
            "at least 16 are needed",
        ),
    ] {
        c.ok("lb0", &["sh", "-c", spoil]);
        c.start("lb0");
        c.logs("lb0", "cluster.secret_file");
        c.logs("lb0", said);
        c.stop("lb0");
    }
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn a_file_that_cannot_be_is_refused_with_its_line_and_a_remedy() {
    let c = Setup::majority().build();
    let text = c.ok("lb0", &["cat", "/run/lab/lb0.toml"]);
    let wrong = [
        ("name = \"lab\"", "nam = \"test\"", "did you mean `name`?"),
        (
            "\"10.77.0.50/16\"",
            "\"10.77.0.500/16\"",
            "is not an IP address",
        ),
        ("preferred = \"lb0\"", "preferred = \"lb7\"", "lb7"),
        ("[log]", "[timing]\nlease = \"10ms\"\n[log]", "timing.lease"),
        ("[cluster]", "[cluster", "wrong.toml:1"),
        (
            "arbitration = \"majority\"",
            "arbitration = \"survivor\"",
            "arbitration",
        ),
    ];
    for (from, to, said) in wrong {
        assert!(text.contains(from), "{text}");
        c.file("wrong.toml", &text.replacen(from, to, 1));
        let run = ["run", "--config", "/run/lab/wrong.toml", "--as", "lb0"];
        let (status, words) = c.refused("lb0", &run);
        assert_eq!(status, Some(2), "{words}");
        assert!(
            words.contains("/run/lab/wrong.toml:") && words.contains(said),
            "{words}"
        );
    }
    for (words, said) in [
        (
            &["check", "/run/lab/none.toml"][..],
            "there is no such file",
        ),
        (
            &["run", "--config", "/run/lab/lb0.toml", "--as", "lb9"],
            "there is no `lb9`",
        ),
        (&["fly"], "unrecognized subcommand"),
    ] {
        let (status, words) = c.refused("lb0", words);
        assert_eq!(status, Some(2), "{words}");
        assert!(words.contains(said), "{words}");
    }
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn members_with_other_files_say_so_and_don_t_count() {
    let mut c = Setup::majority().build();
    c.edit("lb0", "preferred = \"lb0\"", "preferred = \"lb1\"");
    c.start_all();
    c.hold_on("lb1"); // it and the witness agree
    for (name, peer) in [("lb0", "lb1"), ("lb1", "lb0"), ("witness", "lb0")] {
        let said = format!("{peer} runs with another configuration");
        c.logs(name, &said);
        assert!(c.alarms(name).contains(&said), "{}", c.alarms(name));
        assert!(c.rejected(name, "other_config") > 0);
        let status = c.status(name);
        let mut peers = status["peers"].as_array().unwrap().iter();
        let peer = peers.find(|p| p["name"] == peer).unwrap();
        assert!(peer["other_config"].is_string(), "{peer}");
    }
    c.stop("lb0");
    c.edit("lb0", "preferred = \"lb1\"", "preferred = \"lb0\"");
    c.start("lb0");
    c.hold_on("lb0");
    assert!(!c.alarms("lb1").contains("another configuration"));
}

#[test]
fn a_second_start_is_refused_and_touches_nothing() {
    let c = Setup::majority().patient().start();
    let mark = c.mark();
    // Even with a socket and a state of its own.
    let run = [
        "run",
        "--config",
        "/run/lab/lb0.toml",
        "--as",
        "lb0",
        "--socket",
        "/run/onehold/2.sock",
        "--state",
        "/run/onehold/2",
    ];
    let (status, words) = c.refused("lb0", &run);
    assert_eq!(status, Some(1));
    assert!(words.contains("runs already on this host"), "{words}");
    c.watch_for(1);
    c.has_not_moved(mark);
    c.status("lb0"); // it answers
}

#[test]
fn a_command_without_a_daemon_says_that_there_is_none() {
    let c = Setup::majority().build();
    for words in [&["status"][..], &["switch"], &["standby"], &["resume"]] {
        let (status, said) = c.refused("lb0", words);
        assert_eq!(status, Some(1));
        assert!(said.contains("no daemon listens at"), "{said}");
    }
}

#[test]
fn commands_that_cannot_be_carried_out_change_nothing_and_say_why() {
    let c = Setup::majority().patient().start();
    let mark = c.mark();
    for (host, words, said) in [
        ("lb1", &["switch"][..], "this member does not hold it"),
        ("lb0", &["presume-dead", "--yes"], "two members"),
        ("witness", &["switch"], "witness"),
        (
            "lb0",
            &["switch", "nothing"],
            "there is no group `nothing`; name one of web",
        ),
        (
            "lb0",
            &["status", "--cluster", "x"],
            "there is no cluster `x` here; --cluster can be lab",
        ),
    ] {
        let (status, words) = c.refused(host, words);
        assert_eq!(status, Some(1), "{words}");
        assert!(words.contains(said), "{words}");
    }
    c.has_not_moved(mark);
}

#[test]
fn standby_keeps_the_address_away_until_resume() {
    let mut c = Setup::majority().start();
    c.onehold("lb0", &["standby"]);
    c.hold_on("lb1");
    assert!(c.alarms("lb0").contains("the operator said standby"));
    c.kill("lb1");
    c.held_by_nobody(); // not even then
    c.onehold("lb0", &["resume"]);
    c.hold_on("lb0");
}

#[test]
fn status_is_for_people_and_for_machines() {
    let c = Setup::majority().start();
    let text = c.onehold("lb0", &["status"]);
    for word in ["web", "holder", "lb1", "witness", "majority"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let status = c.status("lb1");
    assert_eq!(status["groups"][0]["role"], "standby");
    assert_eq!(status["groups"][0]["holder"], "lb0");
    // All have heard each other a moment after the start.
    eventually("no alarm", || {
        (c.status("lb1")["alarms"] == serde_json::json!([])).then_some(())
    });
    let version = c.onehold("lb0", &["version"]);
    assert!(version.starts_with("onehold "), "{version}");
    let check = c.onehold("lb0", &["check", "/run/lab/lb0.toml"]);
    assert!(check.contains("majority (2 of 3)"), "{check}");
}

#[test]
fn a_reload_that_changes_what_is_fixed_is_refused_and_all_stays() {
    let c = Setup::majority().patient().start();
    let mark = c.mark();
    for (from, to, key) in [
        ("[timing]", "[timing]\ndrift_ppm = 500", "timing.drift_ppm"),
        (
            "name = \"lab\"",
            "name = \"other\"",
            "cluster.name: \"lab\" → \"other\"",
        ),
        ("[cluster]", "[cluster]\nguard = \"nft\"", "cluster.guard"),
        ("[cluster]", "[cluster", "lb0.toml:1"),
    ] {
        c.edit("lb0", from, to);
        c.reload("lb0", "reload refused, all stays as it was: ");
        c.logs("lb0", key);
        c.edit("lb0", to, from);
    }
    c.reload("lb0", "reloaded: ");
    c.has_not_moved(mark);
    c.hold_on("lb0");
}

#[test]
fn a_reload_changes_the_log_level() {
    let c = Setup::majority().start();
    let noise = Datagram {
        from: "10.77.0.66:6946".parse().unwrap(),
        to: "10.77.0.10:6946".parse().unwrap(),
        bytes: b"noise".to_vec(),
    };
    let lines = |c: &Cluster| c.log("lb0").matches("datagram rejected").count();
    let make_noise = |c: &Cluster| {
        let before = c.rejected("lb0", "too_short");
        send_as(c.host("stranger"), &noise);
        eventually("it is counted", || {
            (c.rejected("lb0", "too_short") > before).then_some(())
        });
    };
    make_noise(&c);
    assert_eq!(lines(&c), 0);
    c.edit("lb0", "level = \"info\"", "level = \"trace\"");
    c.reload("lb0", "reloaded: ");
    make_noise(&c);
    c.logs("lb0", "datagram rejected");
    c.edit("lb0", "level = \"trace\"", "level = \"debug\"");
    c.reload("lb0", "reloaded: ");
    c.watch_for(1); // what was under way is written
    let before = lines(&c);
    make_noise(&c);
    c.watch_for(1);
    assert_eq!(lines(&c), before);
}

#[test]
fn why_a_standby_could_not_take_over_is_said_by_every_member() {
    let c = Setup::majority().patient().start();
    c.hold_on("lb0");
    let others = ["lb0", "witness"];
    let why = "web: lb1 is heard, but could not take over: the operator said standby";
    let says = |c: &Cluster, wanted: bool| {
        for name in others {
            eventually(&format!("`{why}` on {name}: {wanted}"), || {
                (c.alarms(name).contains(why) == wanted).then_some(())
            });
        }
    };
    says(&c, false);
    let roles = c.role_changes();
    c.onehold("lb1", &["standby"]);
    says(&c, true);
    let text = c.onehold("lb0", &["status"]);
    assert!(text.contains("web: the operator said standby"), "{text}");
    let status = c.status("lb0");
    let versions = status["peers"].as_array().expect("they are listed").iter();
    let versions: Vec<_> = versions.map(|p| &p["version"]).collect();
    assert_eq!(versions, [&status["version"]; 2]);
    assert_eq!(status["counters"]["notes"]["ignored"], 0);
    assert_eq!(status["counters"]["rejected"]["not_ours"], 0);
    c.onehold("lb1", &["resume"]);
    says(&c, false);
    assert_eq!(c.role_changes(), roles, "notes move nothing");
}

/// What the kernel can't read from a file again. (The log's room for lines alone was 4 MiB.)
#[test]
fn an_idle_daemon_has_less_than_three_mebibytes_of_memory_of_its_own() {
    let mut c = Setup::majority().build();
    c.start_all();
    c.hold_on("lb0");
    for name in ["lb0", "lb1", "witness"] {
        let id = c.id(name).expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let own = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
        let own = own.and_then(|own| own.trim().strip_suffix(" kB"));
        let own: u64 = own.and_then(|own| own.parse().ok()).expect("a number");
        assert!((100..3_072).contains(&own), "{name}: {own} KiB");
    }
}

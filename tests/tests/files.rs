//! The file: what `check` says of it is what `run` does with it; and a difference between the file
//! in force, the one on the disk and those of the others is reported, with the right name.

use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually};

/// `onehold check` of the file `changed.toml` on lb0: its exit status and its output, unwrapped.
#[track_caller]
fn check(c: &Cluster, more: &[&str]) -> (i32, String) {
    let binary = binaries::onehold().to_str().expect("a path");
    let words = [&[binary, "check", "/run/lab/changed.toml"], more].concat();
    let output = c.run("lb0", &words);
    let text = [output.stdout, output.stderr].concat();
    let status = output.status.code().expect("it ends");
    let text = String::from_utf8(text).expect("text");
    (status, text.replace("\n    ", " "))
}

/// Writes `changed.toml`: the file of all, with some of it replaced.
#[track_caller]
fn change(c: &Cluster, changes: &[(&str, &str)]) {
    let mut text = c.ok("lb0", &["cat", "/run/lab/lb1.toml"]);
    for (from, to) in changes {
        assert!(text.contains(from), "{from}: {text}");
        text = text.replace(from, to);
    }
    c.file("changed.toml", &text);
}

const RUN: [&str; 5] = ["run", "--config", "/run/lab/changed.toml", "--as", "lb0"];

#[test]
fn what_the_text_decides_check_and_run_refuse_alike() {
    let c = Setup::majority().build();
    change(&c, &[]);
    assert_eq!(check(&c, &[]).0, 0);
    assert_eq!(check(&c, &["--for", "lb0"]).0, 0);
    for (from, to, said) in [
        ("[cluster]", "[cluster]\nport = 0", "1 to 65535"),
        ("10.77.0.10\"", "10.77.0.10:70000\"", "1 to 65535"),
        ("\"10.77.0.10\"", "\"fe80::1%eth0\"", "scope id"),
        (
            "\"10.77.0.10\"",
            "\"10.77.0.10/16\"",
            "write \"10.77.0.10\"",
        ),
        ("\"10.77.0.10\"", "\"10.77.0.300\"", "neither an IP address"),
        (
            "[log]",
            "[timing]\nguard_slack = \"0ms\"\n[log]",
            "at least 1ms",
        ),
        (
            "10.77.0.50/16",
            "10.77.0.0/16",
            "network 10.77.0.0/16 itself",
        ),
        ("10.77.0.50/16", "10.77.255.255/16", "broadcast"),
        ("10.77.0.50/16", "0.0.0.7", "can't float"),
        ("10.77.0.50/16", "224.0.0.7", "can't float"),
        (
            "interface = \"eth0\"",
            "interface = { lb1 = \"eth0\" }",
            "missing for `lb0`",
        ),
    ] {
        change(&c, &[(from, to)]);
        let (status, text) = check(&c, &[]);
        assert!(status == 2 && text.contains(said), "{to}: {status}: {text}");
        let (status, text) = c.refused("lb0", &RUN);
        assert!(status == Some(2) && text.contains(said), "{to}: {text}");
    }
    // All of it at once.
    change(
        &c,
        &[
            ("[cluster]", "[cluster]\nport = 0"),
            ("10.77.0.50/16", "10.77.0.0/16"),
        ],
    );
    let (_, text) = check(&c, &[]);
    assert!(
        text.contains("cluster.port") && text.contains("groups.web.addresses"),
        "{text}"
    );
    let (_, text) = c.refused("lb0", &RUN);
    assert!(text.contains("1 more in this file"), "{text}");
}

#[test]
fn what_this_host_lacks_check_warns_of_and_refuses_for_this_member() {
    let c = Setup::majority().build();
    for (from, to, said) in [
        ("\"eth0\"", "\"eth9\"", "eth9: there is no such interface"),
        (
            "10.77.0.50/16",
            "10.77.255.255",
            "broadcast address of 10.77.0.0/16",
        ),
        ("10.77.0.50/16", "10.77.0.0", "network 10.77.0.0/16 itself"),
        ("10.77.0.50/16", "10.99.0.50", "is in no network of eth0"),
    ] {
        change(&c, &[(from, to)]);
        let (status, text) = check(&c, &[]);
        assert!(status == 0 && text.contains(said), "{to}: {status}: {text}");
        let (status, text) = check(&c, &["--for", "lb0"]);
        assert!(status == 1 && text.contains(said), "{to}: {status}: {text}");
        assert_eq!(check(&c, &["--for", "witness"]).0, 1, "it is not this host");
    }
    // What run would wait for.
    for (from, to, said) in [
        ("\"secret\"", "\"none\"", "/run/lab/none does not exist"),
        ("\"10.77.0.11\"", "\"lb7.invalid\"", "can't be resolved"),
    ] {
        change(&c, &[(from, to)]);
        for more in [&[][..], &["--for", "lb0"]] {
            let (status, text) = check(&c, more);
            assert!(status == 1 && text.contains(said), "{to}: {status}: {text}");
        }
    }
    change(&c, &[]);
    let (status, text) = check(&c, &["--for", "lb1"]);
    assert!(
        status == 1 && text.contains("own addresses (10.77.0.11)"),
        "{text}"
    );
    assert_eq!(check(&c, &["--for", "lb7"]).0, 2);
}

/// Where the file has no prefix, only the host knows.
#[test]
fn the_broadcast_address_of_a_network_is_never_held_and_both_say_why() {
    let mut c = Setup::majority()
        .group("web2", "10.77.255.255", "lb0")
        .build();
    c.start_all();
    c.hold_on("lb0");
    for name in ["lb0", "lb1"] {
        eventually("an alarm", || {
            let alarms = c.alarms(name);
            let said = "web2: can't hold here: adding 10.77.255.255 to eth0: 10.77.255.255 is the broadcast \
                        address of 10.77.0.0/16";
            alarms.contains(said).then_some(())
        });
        assert!(!c.has(name, "10.77.255.255"));
    }
    // When the network is another one, it is an ordinary address.
    for name in ["lb0", "lb1"] {
        let own: std::net::IpAddr = format!("10.77.0.1{}", &name[2..]).parse().unwrap();
        c.host(name).add_address("eth0", own, 8).unwrap();
        c.host(name).remove_address("eth0", own, 16).unwrap();
    }
    eventually("it is held", || c.has("lb0", "10.77.255.255").then_some(()));
    assert!(
        !c.alarms("lb0").contains("broadcast"),
        "{}",
        c.alarms("lb0")
    );
}

#[test]
fn a_refused_reload_is_an_alarm_until_the_file_is_mended() {
    let c = Setup::majority().patient().start();
    let all_well = |c: &Cluster| {
        eventually("all is well", || {
            let text = c.onehold("lb0", &["status"]);
            (text.contains("all well") && !text.contains("note:")).then_some(())
        });
    };
    all_well(&c);
    // No reload was asked for: a note.
    c.edit("lb0", "[timing]", "[timing]\ndrift_ppm = 500");
    eventually("a note", || {
        let text = c.onehold("lb0", &["status"]).replace("\n    ", " ");
        text.contains("note: /run/lab/lb0.toml: timing.drift_ppm differs from what runs")
            .then_some(())
    });
    assert_eq!(c.alarms("lb0"), "[]");
    // Refused.
    let mark = c.mark();
    c.reload("lb0", "reload refused");
    let alarm = "ago was refused, and the former configuration stays in force: /run/lab/lb0.toml: \
                 timing.drift_ppm: 1000 → 500 can't change in a reload";
    let refused = |c: &Cluster| {
        eventually("an alarm", || c.alarms("lb0").contains(alarm).then_some(()));
        assert!(!c.onehold("lb0", &["status"]).contains("all well"));
    };
    refused(&c);
    c.watch_for(5); // and it stays
    refused(&c);
    // As it was.
    c.edit("lb0", "[timing]\ndrift_ppm = 500", "[timing]");
    all_well(&c);
    c.logs("lb0", "over: the reload that was refused");
    // A file that can't be parsed; then one that is accepted.
    c.edit("lb0", "[cluster]", "[cluster");
    c.reload("lb0", "reload refused");
    eventually("an alarm", || {
        c.alarms("lb0").contains("lb0.toml:1: ").then_some(())
    });
    c.edit("lb0", "[cluster", "[cluster]\n#");
    c.edit("lb0", "level = \"info\"", "level = \"debug\"");
    c.reload("lb0", "reloaded: ");
    all_well(&c);
    c.has_not_moved(mark);
    // For what the text leads to and not for the text: it is not over because that is what runs.
    c.ok("lb0", &["chmod", "644", "/run/lab/secret"]);
    c.reload("lb0", "reload refused");
    c.watch_for(5);
    let alarms = c.alarms("lb0");
    assert!(alarms.contains("chmod 600"), "{alarms}");
    c.ok("lb0", &["chmod", "600", "/run/lab/secret"]);
    c.reload("lb0", "reloaded: ");
    all_well(&c);
}

/// lb1's file has other names, so its numbers are others': it is the first there, which is lb0
/// here.
#[test]
fn who_runs_with_another_file_is_called_by_the_right_name() {
    let mut c = Setup::majority().build();
    c.edit("lb1", "lb0", "zz0");
    c.start_all();
    c.hold_on("lb0");
    for name in ["lb0", "witness"] {
        let said =
            "lb1 runs with another configuration: what comes from 10.77.0.11:6946 has the digest";
        eventually("an alarm", || c.alarms(name).contains(said).then_some(()));
        c.logs(name, said);
        let alarms = c.alarms(name);
        assert_eq!(
            alarms.matches("another configuration").count(),
            1,
            "{alarms}"
        );
    }
    // By its own file it is lb1, and names the others as that file does.
    for said in [
        "zz0 runs with another configuration: what comes from 10.77.0.10:6946",
        "witness runs with",
    ] {
        eventually("an alarm", || c.alarms("lb1").contains(said).then_some(()));
    }
}

/// At an address that is not in the file: the new file was forgotten on a machine that has moved.
#[test]
fn who_is_no_member_at_all_is_called_by_its_address() {
    let mut c = Setup::majority().build();
    c.edit("lb1", "10.77.0.11", "10.77.0.99");
    let own = "10.77.0.99".parse().unwrap();
    c.host("lb1").add_address("eth0", own, 16).unwrap();
    c.start_all();
    c.hold_on("lb0");
    let said = "a machine at 10.77.0.99:6946, which is not a member's address in the file here, runs with another";
    for name in ["lb0", "witness"] {
        eventually("an alarm", || c.alarms(name).contains(said).then_some(()));
    }
}

#[test]
fn another_cluster_name_or_port_in_one_file_is_told_by_both() {
    let mut c = Setup::survivor().build();
    for member in ["lb0", "lb1"] {
        // Frames would pass where datagrams don't.
        c.edit(member, "[cluster]\n", "[cluster]\nframes = false\n");
    }
    c.edit("lb1", "name = \"lab\"", "name = \"tset\"");
    c.start_all();
    for (name, other, from) in [("lb0", "lb1", 11), ("lb1", "lb0", 10)] {
        let said = format!(
            "{other} is not heard; what comes from 10.77.0.{from}:6946 names another cluster"
        );
        c.answers(name);
        eventually("an alarm", || c.alarms(name).contains(&said).then_some(()));
        assert!(c.rejected(name, "wrong_cluster") > 0);
    }
    c.kill("lb1");
    c.edit("lb1", "name = \"tset\"", "name = \"lab\"\nport = 7000");
    c.start("lb1");
    for (name, other, to) in [("lb0", "lb1", "11:6946"), ("lb1", "lb0", "10:7000")] {
        let said = format!(
            "{other} is not heard; what is sent to 10.77.0.{to} comes back: nothing listens there"
        );
        c.answers(name);
        eventually("an alarm", || c.alarms(name).contains(&said).then_some(()));
    }
}

#[test]
fn a_witness_that_is_added_one_member_at_a_time_makes_no_second_holder() {
    let mut c = Setup::survivor().patient().start();
    c.add_host("witness").unwrap();
    let witness = "[members.witness]\nwitness = true\naddresses = [\"10.77.0.12\"]\n\n[cluster]";
    for name in ["lb0", "lb1"] {
        c.edit(name, "\"survivor\"", "\"majority\"");
        c.edit(name, "[cluster]", witness);
    }
    c.file("witness.toml", &c.ok("lb1", &["cat", "/run/lab/lb1.toml"]));
    let mark = c.mark();
    c.start("witness");
    c.stop("lb1");
    c.start("lb1");
    c.answers("lb1");
    // By its own file it has a majority.
    eventually("one that keeps it back", || {
        c.status("lb1")["groups"][0]["kept_back"]
            .as_bool()?
            .then_some(())
    });
    c.watch_for(3);
    c.has_not_moved(mark);
    c.stop("lb0");
    // lb0 may have its former file still, and go by that.
    c.watch_for(1);
    c.held_by_nobody();
    c.start("lb0");
    c.hold_on("lb0");
}

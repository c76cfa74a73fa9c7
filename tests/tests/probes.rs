//! a member that hears nothing of the only other one asks the network.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};

/// Runs a line of a shell on a host, which must succeed.
#[track_caller]
fn sh(c: &Cluster, host: &str, line: &str) {
    c.ok(host, &["sh", "-ec", line]);
}

/// A firewall on a host drops what comes in and fits this.
#[track_caller]
fn drops(c: &Cluster, host: &str, what: &str) {
    sh(
        c,
        host,
        &format!(
            "nft add table inet p; nft 'add chain inet p c {{ type filter hook input priority 0; }}'
             nft add rule inet p c {what} drop"
        ),
    );
}

/// What a member's status says of its probes of the first group.
fn probes(c: &Cluster, host: &str) -> serde_json::Value {
    c.status(host)["groups"][0]["probes"].clone()
}

#[test]
fn in_peace_it_shows_whether_the_holder_answers() {
    let mut c = Setup::survivor().also("fd77::50/64").start();
    eventually("an answer", || {
        (probes(&c, "lb1")["answered"] == 1).then_some(())
    });
    assert_eq!(probes(&c, "lb1")["asked"], 1);
    assert_eq!(probes(&c, "lb0")["asked"], 0, "the holder need not ask");
    assert_eq!(c.status("lb1")["notes"].to_string(), "[]");
    c.stop("lb1");
    for host in ["lb0", "lb1"] {
        drops(&c, host, "ip protocol icmp");
        drops(&c, host, "icmpv6 type echo-request");
    }
    c.start("lb1");
    c.answers("lb1");
    eventually("a note", || {
        let notes = c.status("lb1")["notes"].to_string();
        notes.contains("no echo from lb0").then_some(())
    });
    let found = c.run(
        "lb1",
        &[
            onehold_tests::binaries::onehold().to_str().expect("a path"),
            "doctor",
            "--config",
            "/run/lab/lb1.toml",
            "--as",
            "lb1",
        ],
    );
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        found.contains("advice echo: web: lb0 does not answer echo requests"),
        "{found}"
    );
    assert_eq!(c.alarms("lb1"), "[]");
}

#[test]
fn evidence_none_asks_nothing() {
    let mut c = Setup::survivor().build();
    for name in ["lb0", "lb1"] {
        c.edit(name, "[cluster]", "[cluster]\nevidence = \"none\"");
    }
    c.start_all();
    c.hold_on("lb0");
    assert!(probes(&c, "lb1").is_null());
    // Silence alone counts, as the docs say.
    cut_adverts(&c);
    c.held_by_both();
    heal_adverts(&c);
    c.hold_again_on("lb0");
}

/// No advert passes between the two any more, neither as a datagram nor as a frame; all else does.
#[track_caller]
fn cut_adverts(c: &Cluster) {
    for host in ["lb0", "lb1"] {
        drops(c, host, "udp dport 6946");
        sh(
            c,
            host,
            "nft add table netdev p
             nft 'add chain netdev p c { type filter hook egress device eth0 priority 0; }'
             nft add rule netdev p c ether type 0x88b5 drop",
        );
    }
}

#[track_caller]
fn heal_adverts(c: &Cluster) {
    for host in ["lb0", "lb1"] {
        sh(
            c,
            host,
            "nft delete table inet p; nft delete table netdev p",
        );
    }
}

#[test]
fn r20_while_the_holder_answers_nobody_takes_over_and_when_it_dies_the_other_does() {
    let mut c = Setup::survivor().start();
    let mark = c.mark();
    cut_adverts(&c);
    let alarm = "web: a machine answers echo requests for 10.77.0.50, but no advert of lb0 arrives";
    eventually(alarm, || c.alarms("lb1").contains(alarm).then_some(()));
    c.watch_for(30);
    c.has_not_moved(mark);
    assert!(c.alarms("lb1").contains(alarm));
    c.kill("lb0");
    c.hold_on("lb1");
    eventually("no answer", || {
        (!c.alarms("lb1").contains(alarm)).then_some(())
    });
    // One that starts in the cut finds it held.
    c.start("lb0");
    c.watch_for(5);
    c.hold_on("lb1");
    heal_adverts(&c);
    c.hold_on("lb0");
}

#[test]
fn r20_one_that_was_paused_in_a_cut_answers_only_while_its_lease_runs() {
    let mut c = Setup::survivor().start();
    cut_adverts(&c);
    c.watch_for(2);
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.watch_for(5);
    c.hold_on("lb1");
    heal_adverts(&c);
    c.hold_on("lb0");
}

#[test]
fn r20_of_two_that_start_in_a_cut_one_holds() {
    let mut c = Setup::survivor().build();
    cut_adverts(&c);
    let mark = c.mark();
    c.start_all();
    c.held_by_somebody("web");
    c.watch_for(5);
    let both = c.both_held("web", &mark);
    println!("both held for {both:?}");
    assert!(both < std::time::Duration::from_millis(500), "{both:?}");
    // The first one; of two at once, the preferred.
    let mark = c.mark();
    c.watch_for(2);
    c.held_by_somebody("web");
    assert!(c.both_held("web", &mark).is_zero());
}

/// Nothing mutes a killed holder: as long as its kernel has the address, it answers.
#[test]
fn r20_without_a_guard_the_other_waits_until_the_address_is_gone() {
    let mut c = Setup::survivor().guard("none").start();
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn r17_nobody_is_presumed_dead_who_answers() {
    let c = Setup::two_by_majority().start();
    cut_adverts(&c);
    c.held_by_nobody();
    let binary = onehold_tests::binaries::onehold().to_str().expect("a path");
    eventually("it may be presumed dead", || {
        let output = c.run("lb0", &[binary, "presume-dead", "--yes"]);
        output.status.success().then_some(())
    });
    c.hold_on("lb0");
    let (status, said) = c.refused("lb1", &["presume-dead", "--yes"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("a machine answers"), "{said}");
    c.watch_for(2);
    c.hold_on("lb0");
    heal_adverts(&c);
    c.hold_on("lb0");
}

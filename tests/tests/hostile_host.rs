//! Hosts that others change, too: foreign addresses, addresses that are taken away, links that go,
//! and a kernel that refuses.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};
use std::net::IpAddr;
use std::time::Duration;

const FLOATING: &str = "10.77.0.50";

/// All permanent addresses and routes of a host.
fn network(c: &Cluster, host: &str) -> String {
    let shown = [
        "-4 -oneline address",
        "-6 -oneline address",
        "-4 route",
        "-6 route",
    ]
    .map(|what| {
        let words: Vec<&str> = ["ip"].into_iter().chain(what.split(' ')).collect();
        c.ok(host, &words)
    });
    // The kernel adds and removes the link-local route as it likes.
    let kept = |line: &&str| !line.contains("fe80::") && !line.contains("multicast");
    shown
        .concat()
        .lines()
        .filter(kept)
        .collect::<Vec<_>>()
        .join("\n")
}

/// `ip WORDS…` on a host.
fn ip(c: &Cluster, host: &str, words: &str) {
    let all: Vec<&str> = ["ip"].into_iter().chain(words.split(' ')).collect();
    c.ok(host, &all);
}

fn alarmed(c: &Cluster, host: &str, words: &str) {
    eventually(&format!("the alarm `{words}` on {host}"), || {
        c.alarms(host).contains(words).then_some(())
    });
}

/// No alarm of a kind is left.
fn at_ease(c: &Cluster, host: &str, words: &str) {
    eventually(&format!("an end of the alarm `{words}` on {host}"), || {
        (!c.alarms(host).contains(words)).then_some(())
    });
}

#[test]
fn what_is_not_onehold_s_survives_a_start_and_a_stop() {
    let mut c = Setup::majority().also("fd77::50/64").build();
    // The floating address, by hand: a secondary one, one with a peer, one of another interface.
    ip(&c, "lb1", "address add 10.77.0.50/16 dev eth0");
    ip(
        &c,
        "lb1",
        "address add 10.77.0.50 peer 10.99.0.1/32 dev eth0",
    );
    ip(&c, "lb1", "address add 10.77.0.50/32 dev lo");
    ip(&c, "lb1", "address add fd77::50/64 dev eth0 nodad");
    // And what would be removed with a primary one.
    ip(&c, "lb1", "address add 10.77.0.99/16 dev eth0");
    ip(&c, "lb1", "route add default via 10.77.0.20");
    let before = network(&c, "lb1");
    c.start_all();
    c.hold_on("lb0");
    for what in [
        "10.77.0.50/16 is on eth0",
        "10.77.0.50/32 is on lo",
        "fd77::50/64 is on eth0",
    ] {
        alarmed(&c, "lb1", what);
    }
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0"); // what is left on lb1 is mute
    c.kill("lb1");
    c.start("lb1");
    c.answers("lb1");
    c.hold_on("lb0");
    c.stop("lb1");
    assert_eq!(network(&c, "lb1"), before);
}

#[test]
fn an_address_that_a_host_lives_by_is_refused_and_nothing_is_taken_away() {
    let c = Setup::majority().build();
    ip(&c, "lb0", "address flush dev eth0 scope global");
    ip(&c, "lb0", "address add 10.77.0.50/16 dev eth0");
    ip(&c, "lb0", "address add 10.77.0.10/16 dev eth0");
    ip(&c, "lb0", "route add default via 10.77.0.20");
    let before = network(&c, "lb0");
    let mut c = c;
    c.start("lb0");
    c.logs(
        "lb0",
        "10.77.0.50/16 is an address that this host lives by on eth0",
    );
    c.watch_for(1);
    assert_eq!(network(&c, "lb0"), before);
    // It waits, or has ended: either will do.
    ip(&c, "lb0", "address del 10.77.0.50/16 dev eth0");
}

#[test]
fn an_ipv6_address_that_the_preferred_cannot_hold_moves_nothing_to_and_fro() {
    let mut c = Setup::majority().patient().also("fd77::50/64").build();
    let off = "net/ipv6/conf/eth0/disable_ipv6";
    c.host("lb0").sysctl(off, "1").unwrap();
    c.start_all();
    c.hold_on("lb1");
    alarmed(&c, "lb0", "web: can't hold here: adding fd77::50 to eth0");
    alarmed(&c, "lb1", "could not take over");
    let (mark, before) = (c.mark(), c.role_changes());
    c.watch_for(5);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), before);
    assert!(c.log("lb0").lines().count() < 30, "{}", c.log("lb0"));
    // As soon as it can, it does.
    c.host("lb0").sysctl(off, "0").unwrap();
    c.hold_on("lb0");
    at_ease(&c, "lb0", "can't hold here");
    at_ease(&c, "lb0", "could not take over");
    // And when it can't any more, it moves once.
    let before: u64 = c.role_changes().iter().sum();
    c.host("lb0").sysctl(off, "1").unwrap();
    c.hold_on("lb1");
    c.watch_for(3);
    c.hold_on("lb1");
    let after: u64 = c.role_changes().iter().sum();
    assert!(
        after - before <= 3,
        "holder → releasing → standby, and one that takes hold"
    );
}

#[test]
fn a_standby_that_cannot_hold_all_says_so_and_serves_the_rest_when_it_is_the_last() {
    let mut c = Setup::majority().also("fd77::50/64").start();
    let off = "net/ipv6/conf/eth0/disable_ipv6";
    c.host("lb1").sysctl(off, "1").unwrap();
    alarmed(&c, "lb1", "web: can't hold here: adding fd77::50 to eth0");
    alarmed(&c, "lb0", "could not take over");
    c.kill("lb0");
    c.hold_on("lb1"); // IPv4 at least
    alarmed(
        &c,
        "lb1",
        "held here, though not well: adding fd77::50 to eth0",
    );
    c.host("lb1").sysctl(off, "0").unwrap();
    eventually("all of it", || c.has("lb1", "fd77::50").then_some(()));
    at_ease(&c, "lb1", "not well");
}

#[test]
fn an_address_that_somebody_keeps_removing_moves_nothing_and_storms_nobody() {
    let c = Setup::majority().patient().start();
    let before = c.role_changes();
    let words = "while :; do ip address del 10.77.0.50/32 dev eth0 2>/dev/null; done";
    let agent = c.spawn("lb0", &["sh", "-c", words], "agent.log");
    alarmed(&c, "lb0", "somebody keeps removing 10.77.0.50 from eth0");
    let announced = || announcements(&c);
    let first = announced();
    c.watch_for(5);
    let sent = announced() - first;
    assert!(sent < 100, "{sent} frames in 5 s");
    alarmed(&c, "lb0", "somebody keeps removing 10.77.0.50 from eth0"); // it lasts
    drop(agent);
    eventually("it is there again", || c.has("lb0", FLOATING).then_some(()));
    c.hold_on("lb0");
    at_ease(&c, "lb0", "keeps removing");
    assert_eq!(c.role_changes(), before);
    let said = c.log("lb0").matches("somebody removed 10.77.0.50").count();
    assert!(said <= 2, "{said} lines");
}

/// How many frames other than adverts lb0 has sent, roughly.
fn announcements(c: &Cluster) -> i64 {
    let sent = c.ok("lb0", &["cat", "/sys/class/net/eth0/statistics/tx_packets"]);
    let adverts = c.status("lb0")["counters"]["sent"].as_i64().unwrap();
    sent.trim().parse::<i64>().unwrap() - adverts
}

#[test]
fn one_that_starts_without_an_address_of_its_own_waits_for_it() {
    let mut c = Setup::survivor().build();
    c.start("lb1");
    c.hold_on("lb1");
    let own: IpAddr = "10.77.0.10".parse().unwrap();
    c.host("lb0").remove_address("eth0", own, 16).unwrap();
    c.start("lb0");
    c.watch_for(3);
    c.hold_on("lb1"); // and no other member held beside it
    c.host("lb0").add_address("eth0", own, 16).unwrap();
    c.hold_on("lb0");
}

#[test]
fn one_that_starts_alone_without_an_address_of_its_own_holds_nothing() {
    let mut c = Setup::survivor().build();
    let own: IpAddr = "10.77.0.10".parse().unwrap();
    c.host("lb0").remove_address("eth0", own, 16).unwrap();
    c.start("lb0");
    c.watch_for(3);
    c.held_by_nobody();
    c.host("lb0").add_address("eth0", own, 16).unwrap();
    c.hold_on("lb0");
}

#[test]
fn a_holder_whose_own_address_is_gone_lets_go() {
    let c = Setup::survivor().start();
    let own: IpAddr = "10.77.0.10".parse().unwrap();
    c.host("lb0").remove_address("eth0", own, 16).unwrap();
    c.hold_on("lb1");
    alarmed(
        &c,
        "lb0",
        "none of this member's own addresses (10.77.0.10) is on this host",
    );
    c.host("lb0").add_address("eth0", own, 16).unwrap();
    c.hold_on("lb0");
    c.never_two();
}

#[test]
fn a_network_that_is_configured_again_moves_nothing() {
    let c = Setup::survivor().patient().start();
    let (mark, before) = (c.mark(), c.role_changes());
    let own: IpAddr = "10.77.0.10".parse().unwrap();
    for _ in 0..3 {
        c.host("lb0").remove_address("eth0", own, 16).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        c.host("lb0").add_address("eth0", own, 16).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), before);
    let said = c.log("lb0");
    assert!(
        !said.contains("is in no network"),
        "for a moment only:\n{said}"
    );
}

#[test]
fn a_link_that_was_down_comes_back_beside_one_holder() {
    let c = Setup::survivor().start();
    for _ in 0..3 {
        ip(&c, "lb0", "link set eth0 down");
        c.hold_on("lb1");
        ip(&c, "lb0", "link set eth0 up");
        c.hold_on("lb0");
        c.never_two();
    }
}

/// Containers come and go, hundreds at once: whatever the kernel's one lock for interfaces is busy
/// with, a holder that is alone goes on.
#[test]
fn a_lone_holder_in_a_storm_of_interfaces_goes_on() {
    let mut c = Setup::survivor().patient().start();
    c.kill("lb1");
    c.hold_on("lb0");
    let before = c.role_changes_of("lb0");
    let words =
        "for n in $(seq 300); do echo link add s$n type veth peer name t$n; done >/run/lab/make
        for n in $(seq 300); do echo link del s$n; done >/run/lab/take
        while :; do ip -batch /run/lab/make; ip -batch /run/lab/take; done";
    let storm = c.spawn("lb0", &["sh", "-c", words], "storm.log");
    c.watch_for(20);
    drop(storm);
    assert_eq!(c.role_changes_of("lb0"), before, "{}", c.log("lb0"));
}

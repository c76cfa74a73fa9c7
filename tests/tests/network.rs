//! IPv6, several groups, several paths.

use onehold_core::advert::MAX_GROUPS;
use onehold_sim::netns::{FLOATING, Seen};
use onehold_tests::{Begin as _, Cluster, Neighbours, Setup, eventually};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FLOATING6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x50);

#[test]
fn an_ipv6_address_floats_beside_an_ipv4_one() {
    let mut c = Setup::majority().also("fd77::50/64").start();
    let nodes = [c.host("lb0"), c.host("lb1")];
    let neighbours = Neighbours::watch(c.host("observer"), FLOATING6, &nodes);
    let settled_on = |last: &str| {
        eventually(&format!("neighbour advertisements of {last}"), || {
            (neighbours.holders().last() == Some(&last)).then_some(())
        });
    };
    settled_on("lb0");
    assert!(c.has("lb0", "fd77::50") && !c.has("lb1", "fd77::50"));
    c.stop("lb0");
    c.hold_on("lb1");
    settled_on("lb1");
    assert!(!c.has("lb0", "fd77::50") && c.has("lb1", "fd77::50"));
    c.start("lb0");
    c.hold_on("lb0");
    settled_on("lb0");
    c.kill("lb0"); // the address is still there, and mute
    c.hold_on("lb1");
    settled_on("lb1");
    c.watch_for(1);
    // Had two held at any time, both would have answered every question.
    assert_eq!(neighbours.holders(), ["lb0", "lb1", "lb0", "lb1"]);
}

#[test]
fn clients_reach_the_ipv6_address_wherever_it_is() {
    let mut c = Setup::majority().also("fd77::50/64").start();
    let serve = |c: &Cluster, name: &str| {
        // A program of the lab's own would do; this one answers over IPv6 too.
        c.file(
            &format!("{name}.nginx"),
            &format!(
                "user root root; daemon off; master_process off; pid {name}.pid; error_log stderr; events {{}}\n\
                 http {{ access_log off; client_body_temp_path {name}.1; proxy_temp_path {name}.2;\n\
                 fastcgi_temp_path {name}.3; uwsgi_temp_path {name}.4; scgi_temp_path {name}.5;\n\
                 server {{ listen [fd77::50]:80; return 200 {name}; }} }}\n"
            ),
        );
        let file = format!("/run/lab/{name}.nginx");
        let words = ["nginx", "-e", "stderr", "-p", "/run/lab", "-c", &file];
        c.spawn(name, &words, &format!("{name}.web"))
    };
    let _servers = [serve(&c, "lb0"), serve(&c, "lb1")];
    let answered_by = |c: &Cluster, name: &str| {
        eventually(&format!("an answer of {name} over IPv6"), || {
            let words = ["curl", "-s", "--max-time", "1", "http://[fd77::50]/"];
            let output = c.run("client", &words);
            (output.stdout == name.as_bytes()).then_some(())
        });
    };
    answered_by(&c, "lb0");
    c.power_off("lb0");
    c.hold_on("lb1");
    answered_by(&c, "lb1");
}

#[test]
fn members_talk_over_ipv6() {
    let mut c = Setup::majority().over_ipv6().start();
    let paths = c.status("lb0")["peers"][0]["paths"].to_string();
    assert!(paths.contains("[fd77::1b]:6946"), "{paths}");
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
}

#[test]
fn an_ipv6_address_falls_silent_with_its_paused_holder_under_nftables() {
    let mut c = Setup::survivor().guard("nft").also("fd77::50/64").start();
    let nodes = [c.host("lb0"), c.host("lb1")];
    let neighbours = Neighbours::watch(c.host("observer"), FLOATING6, &nodes);
    eventually("an advertisement", || {
        (neighbours.holders() == ["lb0"]).then_some(())
    });
    c.pause("lb0");
    c.hold_on("lb1");
    c.watch_for(1);
    assert_eq!(neighbours.holders(), ["lb0", "lb1"]);
}

#[test]
fn each_of_two_groups_lives_on_the_member_that_it_prefers() {
    let mut c = Setup::majority()
        .group("api", "10.77.0.51/16", "lb1")
        .start(); // which waits until each is where it should be
    c.kill("lb0");
    c.group_on("web", "lb1");
    c.group_on("api", "lb1");
    c.start("lb0");
    c.group_on("web", "lb0");
    c.group_on("api", "lb1");
    c.onehold("lb1", &["switch", "api"]);
    c.group_on("api", "lb0");
    c.group_on("web", "lb0");
    c.stop("lb0");
    c.group_on("web", "lb1");
    c.group_on("api", "lb1");
}

/// As many groups as there can be: all are held and announced, move when the holder dies and come back,
/// and a person can read the status.
#[test]
fn as_many_groups_as_there_can_be_move_and_each_has_a_row_in_the_status() {
    let mut c = Setup::majority().patient().build(); // which watches the first group
    let others = (1..MAX_GROUPS).map(|n| {
        format!(
            "[groups.more{n:02}]\naddresses = [\"10.77.1.{n}/16\"]\npreferred = \"lb0\"\ninterface = \"eth0\"\n\
             failback_delay = \"0ms\"\n"
        )
    });
    let others: String = others.chain(["[timing]".to_owned()]).collect();
    for name in c.members() {
        c.edit(name, "[timing]", &others);
    }
    let more = (1..MAX_GROUPS).map(|n| Ipv4Addr::from_bits(0x0a4d_0100 + n as u32));
    let all: Vec<IpAddr> = more.chain([FLOATING]).map(IpAddr::from).collect();
    let census = c.census(&all).unwrap();
    let comes_to = |c: &Cluster, name: &str| {
        eventually(&format!("every group on {name}"), || {
            let missing = |seen: &Seen| seen.answered.is_none() || seen.announced.is_none();
            (!census.seen().iter().any(missing)).then_some(())
        });
        c.never_two();
    };
    census.begin(c.host("lb0"));
    c.start_all();
    comes_to(&c, "lb0");
    c.hold_on("lb0");
    let status = c.status("lb0");
    let groups = status["groups"].as_array().unwrap();
    assert_eq!(groups.len(), MAX_GROUPS);
    assert!(groups.iter().all(|g| g["role"] == "holder"), "{status}");
    // One reason of all groups is said once.
    c.onehold("lb1", &["standby"]);
    let said = eventually("what lb1 says of its groups", || {
        let text = c.onehold("lb0", &["status"]);
        text.contains("more01, more02, more03 and 55 more: ")
            .then_some(text)
    });
    let rows = said.lines().filter(|line| line.contains(" holder "));
    assert_eq!(rows.count(), MAX_GROUPS, "{said}");
    assert!(said.lines().count() < MAX_GROUPS + 40, "{said}");
    c.onehold("lb1", &["resume"]);
    let metrics = c.onehold("lb0", &["metrics"]);
    assert!(metrics.contains("more57"), "{metrics}");

    census.begin(c.host("lb1"));
    c.kill("lb0");
    comes_to(&c, "lb1");
    c.hold_on("lb1");
    census.begin(c.host("lb0"));
    c.start("lb0");
    comes_to(&c, "lb0");
    c.hold_on("lb0");
}

#[test]
fn one_of_several_paths_may_be_cut() {
    let mut c = Setup::survivor().paths(2).start();
    let mark = c.mark();
    for (a, b, dead) in [
        ("lb0", "lb1", "10.77.0.11:6946"),
        ("lb0.1", "lb1.1", "10.78.0.11:6946"),
    ] {
        c.lan().cut(a, b).unwrap();
        let alarm = format!("lb1 is not heard on the path from {dead}");
        eventually(&alarm, || c.alarms("lb0").contains(&alarm).then_some(()));
        c.heal();
        eventually("no alarm", || (c.alarms("lb0") == "[]").then_some(()));
    }
    c.has_not_moved(mark);
    c.hold_on("lb0");
}

#[test]
fn both_paths_carry_everything() {
    let mut c = Setup::majority().paths(2).start();
    let peers = c.status("lb0")["peers"].clone();
    for peer in peers.as_array().unwrap() {
        let paths = peer["paths"].as_array().unwrap();
        assert_eq!(paths.len(), 2);
        assert!(
            paths.iter().all(|p| p["received"].as_u64() > Some(0)),
            "{peer}"
        );
    }
    // The second copy of each advert changes nothing.
    assert!(c.rejected("lb0", "stale") > 0);
    c.lan().cut("lb0.1", "lb1.1").unwrap();
    c.kill("lb0");
    c.hold_on("lb1");
}

#[test]
fn an_interface_that_goes_down_gives_the_address_away() {
    // With a second path the daemons hear each other all the time.
    let c = Setup::majority().paths(2).start();
    c.ok("lb0", &["ip", "link", "set", "eth0", "down"]);
    c.hold_on("lb1");
    let alarms = c.alarms("lb0");
    assert!(alarms.contains("can't hold here: eth0"), "{alarms}");
    c.ok("lb0", &["ip", "link", "set", "eth0", "up"]);
    c.hold_on("lb0");
}

#[test]
fn the_address_is_on_the_holder_alone_and_as_a_host_address() {
    let c = Setup::majority().also("fd77::50/64").start();
    let list = c.ok("lb0", &["ip", "-oneline", "address", "show", "dev", "eth0"]);
    assert!(
        list.contains(" 10.77.0.50/32 ") && list.contains(" fd77::50/128 "),
        "{list}"
    );
    let other = c.ok("lb1", &["ip", "-oneline", "address", "show", "dev", "eth0"]);
    assert!(
        !other.contains("10.77.0.50") && !other.contains("fd77::50"),
        "{other}"
    );
}

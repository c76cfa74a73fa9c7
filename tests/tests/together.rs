//! What moves together: a group with an address on each of two networks, as a firewall has them.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};

const OUTER: &str = "10.77.0.50";
const INNER: &str = "10.78.0.50";

/// A cluster whose group has an outer address on eth0 and an inner one on eth1. What is written
/// besides for the group is `more`.
fn firewall(more: &str) -> Cluster {
    let mut c = Setup::majority().paths(2).build();
    let addresses = format!("[\"{OUTER}/16\"]");
    let both =
        format!("[\"{OUTER}/16\", {{ address = \"{INNER}/16\", interface = \"eth1\" }}]\n{more}");
    for name in c.members() {
        c.edit(name, &addresses, &both);
    }
    c.start_all();
    c.hold_on("lb0");
    c
}

/// Waits until both addresses are on one candidate, each on its interface, and none on the other.
#[track_caller]
fn both_on(c: &Cluster, holder: &str, other: &str) {
    c.hold_on(holder);
    let on = |host: &str, interface: &str, address: &str| {
        let words = ["ip", "-oneline", "address", "show", "dev", interface];
        c.ok(host, &words).contains(&format!(" {address}/32"))
    };
    eventually(
        &format!("both addresses on {holder} and none on {other}"),
        || {
            let here = on(holder, "eth0", OUTER) && on(holder, "eth1", INNER);
            (here && !c.has(other, OUTER) && !c.has(other, INNER)).then_some(())
        },
    );
    for address in [OUTER, INNER] {
        let words = ["ping", "-c", "1", "-W", "1", address];
        eventually(&format!("an answer of {address}"), || {
            c.run("client", &words).status.success().then_some(())
        });
    }
}

#[test]
fn the_inside_and_the_outside_move_as_one_when_either_cable_is_pulled() {
    let c = firewall("");
    both_on(&c, "lb0", "lb1");
    let shown = c.onehold("lb0", &["status"]);
    let shown = shown.replace("\n    ", " ");
    let where_it_is = format!("{OUTER}/16 on eth0, {INNER}/16 on eth1");
    assert!(shown.contains(&where_it_is), "{shown}");
    assert_eq!(c.status("lb0")["groups"][0]["interface"], "eth0 eth1");
    for (host, interface, to) in [("lb0", "eth1", "lb1"), ("lb1", "eth0", "lb0")] {
        if host == "lb1" {
            c.ok("lb0", &["ip", "link", "set", "eth1", "up"]);
            c.onehold("lb1", &["status"]);
            both_on(&c, "lb0", "lb1");
            c.onehold("lb0", &["switch"]);
            both_on(&c, "lb1", "lb0");
            c.onehold("lb0", &["resume"]);
        }
        c.ok(host, &["ip", "link", "set", interface, "down"]);
        both_on(&c, to, host);
    }
    let status = c.status("lb1").to_string();
    assert!(status.contains("eth0: it is down"), "{status}");
}

#[test]
fn a_route_goes_with_the_address_and_a_killed_member_takes_it_away_when_it_starts() {
    let route =
        "routes = [{ to = \"198.51.100.0/24\", via = \"10.78.0.12\", src = \"10.78.0.50\" }]";
    let mut c = firewall(route);
    let routes = |c: &Cluster, host: &str| c.ok(host, &["ip", "route", "show", "proto", "79"]);
    let only_on = |c: &Cluster, holder: &str, other: &str| {
        both_on(c, holder, other);
        eventually(&format!("the route on {holder} and not on {other}"), || {
            let here = routes(c, holder)
                .contains("198.51.100.0/24 via 10.78.0.12 dev eth1 src 10.78.0.50");
            (here && routes(c, other).is_empty()).then_some(())
        });
    };
    only_on(&c, "lb0", "lb1");
    c.stop("lb0");
    only_on(&c, "lb1", "lb0");
    c.start("lb0");
    only_on(&c, "lb0", "lb1");
    // What src does not take along stays when the daemon is killed.
    c.kill("lb0");
    c.hold_on("lb1");
    c.ok(
        "lb0",
        &[
            "ip",
            "route",
            "replace",
            "198.51.100.0/24",
            "via",
            "10.78.0.12",
            "proto",
            "79",
        ],
    );
    c.start("lb0");
    only_on(&c, "lb0", "lb1");
    for name in ["lb0", "lb1", "witness"] {
        c.stop(name);
    }
    assert_eq!(routes(&c, "lb0") + &routes(&c, "lb1"), "");
}

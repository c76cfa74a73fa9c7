//! The kernel's part: what mutes an address, what is put back, and that nothing is left behind.

use onehold_sim::netns::foreign::{self, BOTH};
use onehold_tests::{Begin as _, Setup, eventually, is_machine_root, not_run};
use rustix::process::Signal;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

#[test]
fn the_bpf_guard_is_in_force_where_it_is_permitted() {
    if !is_machine_root() {
        not_run("BPF is refused in a user namespace");
        return;
    }
    let mut c = Setup::majority().guard("bpf").start();
    assert_eq!(c.status("lb0")["guard"], "bpf");
    c.logs("lb0", "guard: bpf: the kernel ends a lease by itself");
    let left = c.left_on("lb0");
    assert!(
        left.contains("programs") || left.contains("qdisc clsact"),
        "{left}"
    );
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn the_nft_guard_is_as_good() {
    let mut c = Setup::majority().guard("nft").start();
    assert_eq!(c.status("lb0")["guard"], "nft");
    assert!(c.left_on("lb0").contains("table netdev onehold-"));
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    c.hold_on("lb0");
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn no_guard_is_an_alarm() {
    let mut c = Setup::majority().guard("none").start();
    assert_eq!(c.status("lb0")["guard"], "none");
    assert!(c.alarms("lb0").contains("cluster.guard: none"));
    c.logs("lb0", "guard: none");
    c.stop("lb0");
    c.hold_on("lb1");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn what_is_stopped_leaves_nothing_behind() {
    let mut c = Setup::majority().also("fd77::50/64").start();
    assert_ne!(c.left_on("lb0"), "");
    for name in ["lb0", "lb1", "witness"] {
        c.stop(name); // and ends with status 0
        assert_eq!(c.left_on(name), "");
        c.logs(name, "stopped; nothing is left behind");
    }
    c.held_by_nobody();
}

#[test]
fn what_is_stopped_while_it_starts_leaves_nothing_behind() {
    for guard in ["auto", "nft"] {
        let mut c = Setup::survivor().guard(guard).build();
        for milliseconds in (0..24).step_by(2) {
            c.start("lb0");
            sleep(Duration::from_millis(milliseconds));
            c.signal("lb0", Signal::TERM).unwrap();
            // Before it has begun anything, the signal itself ends it.
            let status = c.ended("lb0");
            assert!(matches!(status, None | Some(0)), "{status:?}");
            assert_eq!(c.left_on("lb0"), "", "after {milliseconds} ms");
        }
    }
}

#[test]
fn a_killed_holder_is_mute_and_its_next_incarnation_cleans_up() {
    let mut c = Setup::two_by_majority().start();
    c.kill("lb0");
    c.held_by_nobody();
    assert!(c.has("lb0", "10.77.0.50"), "it is there still, and mute");
    c.start("lb0");
    c.hold_on("lb0");
    c.kill("lb0");
    // Alone it may not hold. Its next incarnation removes what the last one left.
    c.stop("lb1");
    c.start("lb0");
    eventually("the address is removed", || {
        (!c.has("lb0", "10.77.0.50")).then_some(())
    });
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn the_kernel_removes_the_address_of_a_dead_daemon() {
    let mut c = Setup::majority().start();
    c.kill("lb0");
    c.hold_on("lb1");
    assert!(c.has("lb0", "10.77.0.50"));
    eventually("its lifetime is over", || {
        (!c.has("lb0", "10.77.0.50")).then_some(())
    });
}

#[test]
fn one_guard_is_replaced_by_the_other_across_incarnations() {
    let mut c = Setup::majority().guard("nft").start();
    for (from, to) in [("nft", "auto"), ("auto", "nft")] {
        c.kill("lb0");
        c.hold_on("lb1");
        c.edit(
            "lb0",
            &format!("guard = \"{from}\""),
            &format!("guard = \"{to}\""),
        );
        c.start("lb0");
        c.hold_on("lb0");
    }
    let left = c.left_on("lb0");
    assert!(
        !left.contains("qdisc") && !left.contains("programs"),
        "{left}"
    );
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

#[test]
fn an_address_deleted_by_hand_is_put_back() {
    let c = Setup::majority().patient().also("fd77::50/64").start();
    let mark = c.mark();
    for address in ["10.77.0.50/32", "fd77::50/128"] {
        c.ok("lb0", &["ip", "address", "del", address, "dev", "eth0"]);
        let bare = address.split('/').next().unwrap();
        eventually("it is back", || c.has("lb0", bare).then_some(()));
        c.logs(
            "lb0",
            &format!("somebody removed {bare} while it is held; put back"),
        );
    }
    c.hold_on("lb0");
    c.has_not_moved(mark);
}

#[test]
fn an_address_added_by_hand_on_the_standby_is_mute() {
    let floating: IpAddr = "10.77.0.50".parse().unwrap();
    for guard in ["auto", "nft"] {
        let c = Setup::majority().patient().guard(guard).start();
        let mark = c.mark();
        c.host("lb1").add_address("eth0", floating, 16).unwrap();
        c.logs("lb1", "of this host though onehold did not put it there");
        c.watch_for(1);
        c.has_not_moved(mark); // it was never seen
        c.hold_on("lb0");
        c.host("lb1").remove_address("eth0", floating, 16).unwrap();
    }
}

#[test]
fn a_gate_deleted_by_hand_is_put_back() {
    if !is_machine_root() {
        not_run("BPF is refused in a user namespace");
        return;
    }
    let mut c = Setup::majority().guard("bpf").start();
    for name in ["lb0", "lb1"] {
        let there = c.row(name);
        if there.is_empty() {
            c.ok(name, &["tc", "qdisc", "del", "dev", "eth0", "clsact"]);
        } else {
            let take = || {
                let eth0 = foreign::number("eth0")?;
                BOTH.into_iter()
                    .try_for_each(|way| foreign::take_first(eth0, way))
            };
            let taken: std::io::Result<()> = c.host(name).call(take).expect("it is on");
            taken.expect("it is taken away");
        }
        c.logs(name, "somebody removed the gate; put back");
        assert_eq!(c.row(name).len(), there.len());
    }
    c.hold_on("lb0");
    c.pause("lb0"); // and the gate works
    c.hold_on("lb1");
}

#[test]
fn an_nftables_table_survives_a_flush_or_is_put_back() {
    let mut c = Setup::majority().guard("nft").start();
    for name in ["lb0", "lb1"] {
        // The table is its owner's: a kernel from 6.9 on refuses others, and flushes around it.
        c.run(name, &["nft", "flush", "ruleset"]);
        let list = c.ok(name, &["nft", "list", "tables", "netdev"]);
        if let Some(table) = list.split_whitespace().find(|w| w.starts_with("onehold")) {
            c.run(name, &["nft", "delete", "table", "netdev", table]);
        }
        eventually("the table is there", || {
            c.left_on(name)
                .contains("table netdev onehold")
                .then_some(())
        });
    }
    c.hold_on("lb0");
    c.pause("lb0"); // and the gate works
    c.hold_on("lb1");
}

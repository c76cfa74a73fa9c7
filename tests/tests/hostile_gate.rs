//! Hosts on which others want to decide, too: the holder is paused, the other one takes over, and
//! the network is asked whether the first one is silent.

use onehold_sim::netns::foreign::{self, Kind, Program, TC_OK, XDP_PASS};
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually, is_machine_root, not_run};
use std::io;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

/// What the unit gives the daemon.
const UNIT: &str = "--bounding-set=-all,+net_admin,+net_raw,+bpf,+sys_nice,+ipc_lock,+chown";

/// Only the machine's root may load BPF programs, and only Linux 6.6 and later has rows of them.
fn has_rows(c: &Cluster) -> bool {
    let there = is_machine_root() && !c.row("lb0").is_empty();
    if !there {
        not_run("it takes the machine's root, and Linux 6.6");
    }
    there
}

#[test]
fn a_program_before_the_gate_does_not_keep_a_paused_holder_effective() {
    let mut c = Setup::majority().patient().start();
    if !has_rows(&c) {
        return;
    }
    assert!(c.overtake("lb0", TC_OK));
    c.logs("lb0", "was asked before the gate; it decides again");
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.stop("lb0");
    assert_eq!(
        c.row("lb0").len(),
        2,
        "the other's program is left, and ours is not"
    );
}

#[test]
fn a_program_that_was_there_first_comes_after_the_gate() {
    let mut c = Setup::majority().build();
    let there = is_machine_root() && c.overtake("lb0", TC_OK);
    if !there {
        not_run("it takes the machine's root, and Linux 6.6");
        return;
    }
    c.start_all();
    c.hold_on("lb0");
    assert_eq!(c.status("lb0")["guard"], "bpf");
    c.pause("lb0");
    c.hold_on("lb1");
}

#[test]
fn one_that_insists_on_the_first_place_gets_it_and_nftables_decides() {
    let mut c = Setup::majority().patient().start();
    if !has_rows(&c) {
        return;
    }
    eventually("it is not fought", || {
        c.overtake("lb0", TC_OK);
        sleep(Duration::from_millis(500));
        let said = c.log("lb0");
        said.contains("is asked before a BPF gate").then_some(())
    });
    eventually("the guard is nft", || {
        (c.status("lb0")["guard"] == "nft").then_some(())
    });
    c.hold_on("lb0");
    c.pause("lb0");
    c.hold_on("lb1");
}

#[test]
fn an_ingress_discipline_is_not_taken_for_a_gate_both_ways() {
    let mut c = Setup::majority().build();
    for name in ["lb0", "lb1"] {
        c.ok(name, &["tc", "qdisc", "add", "dev", "eth0", "ingress"]);
    }
    c.start_all();
    c.hold_on("lb0");
    c.pause("lb0");
    c.hold_on("lb1");
}

#[test]
fn a_program_that_sees_frames_first_is_an_alarm() {
    let c = Setup::majority().patient().start();
    if !is_machine_root() {
        not_run("BPF is refused in a user namespace");
        return;
    }
    let put = || -> io::Result<(Program, OwnedFd)> {
        let program = Program::that_says(XDP_PASS, Kind::Xdp)?;
        let hangs = program.see_first(foreign::number("eth0")?)?;
        Ok((program, hangs))
    };
    let there = c.host("lb0").call(put).expect("it is on").expect("XDP");
    let alarm = "`foreign`, by XDP, sees frames before the gate";
    c.logs("lb0", alarm);
    assert!(c.alarms("lb0").contains(alarm));
    drop(there);
    eventually("it is over", || {
        (!c.alarms("lb0").contains(alarm)).then_some(())
    });
}

/// With the unit's capabilities the kernel does not say what an earlier incarnation's gate guards.
#[test]
fn an_address_of_the_former_configuration_stays_mute() {
    let mut c = Setup::majority().also("10.77.0.51/16").build();
    if !is_machine_root() {
        not_run("BPF is refused in a user namespace");
        return;
    }
    c.watch("former", "10.77.0.51".parse().expect("an address"));
    let binary = binaries::onehold().to_str().expect("a path");
    let words = ["setpriv", UNIT, binary, "run", "--as", "lb0", "--config"];
    let words = [&words[..], &["/run/lab/lb0.toml"]].concat();
    c.start_by("lb0", &words);
    c.start("lb1");
    c.start("witness");
    c.hold_on("lb0");
    assert_eq!(c.status("lb0")["guard"], "bpf");
    c.kill("lb0");
    c.hold_on("lb1");
    assert!(c.has("lb0", "10.77.0.51"), "it is there still, and mute");
    c.edit("lb0", ", \"10.77.0.51/16\"", "");
    c.start_by("lb0", &words);
    c.watch_for(2);
    assert_eq!(c.holders("former"), ["lb1"]);
    c.never_two();
}

#[test]
fn a_second_member_of_the_cluster_on_one_host_waits_and_touches_nothing() {
    let mut c = Setup::majority().start();
    let mark = c.mark();
    let binary = binaries::onehold().to_str().expect("a path");
    let for_a_while = ["timeout", "--preserve-status", "3", binary, "run"];
    let second = ["--config", "/run/lab/lb1.toml", "--as", "lb1"];
    let socket = ["--socket", "/run/onehold/second.sock"];
    let output = c.run("lb0", &[&for_a_while[..], &second, &socket].concat());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.contains("another member of this cluster runs on this host"),
        "{said}"
    );
    c.has_not_moved(mark);
    c.pause("lb0"); // and its gate is there
    c.hold_on("lb1");
}

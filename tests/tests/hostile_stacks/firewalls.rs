//! Firewalls that people put on hosts: whether they take the gate away, and what they do to
//! adverts.

use super::{alarmed, all_well, nothing_moved, words};
use onehold_tests::{Begin as _, Cluster, Debian, Setup, eventually};

#[track_caller]
fn firewall(d: Debian, c: &Cluster, words: &str) {
    let all: Vec<&str> = ["firewall-cmd"]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    d.ok(c, &all);
}

fn firewalld(guard: &'static str) {
    let mut c = Setup::survivor().patient().guard(guard).build();
    let Some(d) = Debian::on(&c, "lb0") else {
        return;
    };
    let _bus = d.bus(&c);
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    let _firewalld = d.spawn(&c, &["firewalld", "--nofork", "--nopid"], "firewalld.log");
    eventually("firewalld", || {
        let state = d.run(&c, &["firewall-cmd", "--state"]);
        state.status.success().then_some(())
    });
    for words in ["--reload", "--complete-reload", "--set-default-zone=drop"] {
        firewall(d, &c, words);
    }
    words(&c, "lb0", "nft flush ruleset"); // as Debian's nftables.conf begins
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    if guard == "nft" {
        return;
    }
    // Nothing but ARP comes in or leaves: it knows that it is itself cut off.
    firewall(d, &c, "--panic-on");
    alarmed(&c, "lb0", "this host forbids all that is sent");
    c.hold_on("lb1");
    firewall(d, &c, "--panic-off");
    c.hold_on("lb0");
    all_well(&c, "lb0");
    all_well(&c, "lb1");
}

#[test]
fn firewalld_neither_opens_the_bpf_gate_nor_makes_two_hold() {
    firewalld("bpf");
}

#[test]
fn firewalld_neither_opens_the_nft_gate_nor_makes_two_hold() {
    firewalld("nft");
}

/// Debian's ufw denies what comes in, and lets in what answers: each member sends, so all is well.
#[test]
fn ufw_keeps_nobody_from_being_heard() {
    let mut c = Setup::survivor().patient().build();
    let hosts = ["lb0", "lb1"].map(|host| Debian::on(&c, host));
    let [Some(lb0), Some(lb1)] = hosts else {
        return;
    };
    for d in [lb0, lb1] {
        d.ok(&c, &["ufw", "--force", "enable"]);
    }
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    lb0.ok(&c, &["ufw", "reload"]);
    lb0.ok(&c, &["ufw", "disable"]);
    lb0.ok(&c, &["ufw", "--force", "enable"]);
    c.watch_for(2);
    nothing_moved(&c, mark, &roles);
    c.stop("lb1");
    c.start("lb1");
    all_well(&c, "lb0");
    // And one that lets nothing out, either: the other candidate takes hold, alone.
    lb0.ok(&c, &["ufw", "default", "deny", "outgoing"]);
    words(
        &c,
        "lb0",
        "nft insert rule ip filter INPUT udp dport 6946 drop",
    );
    words(
        &c,
        "lb0",
        "nft insert rule ip filter OUTPUT udp dport 6946 drop",
    );
    c.hold_on("lb1");
    alarmed(&c, "lb0", "this host forbids all that is sent");
}

//! Hosts on which other people's software configures the network, as it does on most: the programs
//! themselves, of Debian's packages, each in the namespaces of a host of the lab.

mod networkd;
mod networkmanager;

use onehold_tests::{Cluster, eventually};

const FLOATING: [&str; 2] = ["10.77.0.50", "fd77::50"];

/// Takes away what the lab gave a host, for its own software to configure.
fn bare(c: &Cluster, host: &str) {
    let flush = "ip address flush dev eth0 scope global";
    c.ok(host, &flush.split(' ').collect::<Vec<_>>());
}

/// Waits until a host has an address.
#[track_caller]
fn gets(c: &Cluster, host: &str, address: &str) {
    eventually(&format!("{address} on {host}"), || {
        c.has(host, address).then_some(())
    });
}

/// Waits until a member finds nothing wrong.
#[track_caller]
fn all_well(c: &Cluster, host: &str) {
    eventually(&format!("all well on {host}"), || {
        (c.alarms(host) == "[]").then_some(())
    });
    let said = c.onehold(host, &["status"]);
    assert!(said.contains("all well"), "{said}");
}

#[track_caller]
fn alarmed(c: &Cluster, host: &str, words: &str) {
    eventually(&format!("the alarm `{words}` on {host}"), || {
        c.alarms(host).contains(words).then_some(())
    });
}

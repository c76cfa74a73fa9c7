//! Hosts on which other software configures the network, as on most: the programs themselves, from
//! Debian's packages, each in the namespaces of a host of the lab.

mod addresses;
mod containers;
mod firewalls;
mod networkd;
mod networkmanager;

use onehold_sim::netns::Process;
use onehold_tests::{Cluster, Debian, eventually};

/// Takes away what the lab gave a host, for its own software to configure.
fn bare(c: &Cluster, host: &str) {
    words(c, host, "ip address flush dev eth0 scope global");
}

/// Runs a command on a host.
#[track_caller]
fn words(c: &Cluster, host: &str, words: &str) -> String {
    c.ok(host, &words.split(' ').collect::<Vec<_>>())
}

/// Waits until a host has an address.
#[track_caller]
fn gets(c: &Cluster, host: &str, address: &str) {
    eventually(&format!("{address} on {host}"), || {
        c.has(host, address).then_some(())
    });
}

/// Waits until a member has no alarm.
#[track_caller]
fn all_well(c: &Cluster, host: &str) {
    eventually(&format!("all well on {host}"), || {
        let said = c.onehold(host, &["status"]);
        said.contains("all well").then_some(())
    });
}

#[track_caller]
fn alarmed(c: &Cluster, host: &str, words: &str) {
    eventually(&format!("the alarm `{words}` on {host}"), || {
        c.alarms(host).contains(words).then_some(())
    });
}

/// What is removed while it is held is seen, and put back.
#[track_caller]
fn put_back(c: &Cluster, address: &str) {
    c.logs(
        "lb0",
        &format!("somebody removed {address} while it is held; put back"),
    );
    gets(c, "lb0", address);
}

/// Nothing moved since, and the logs are short.
#[track_caller]
fn nothing_moved(c: &Cluster, since: onehold_tests::Mark, roles: &[u64]) {
    c.has_not_moved(since);
    assert_eq!(c.role_changes(), roles);
    let said = c.log("lb0").lines().count();
    assert!(said < 40, "{said} lines:\n{}", c.log("lb0"));
}

/// A DHCP server for lb0, on a host that is not a member.
fn server(c: &Cluster) -> Option<Process> {
    let d = Debian::on(c, "stranger")?;
    let mac = c
        .host("lb0")
        .mac(0)
        .map(|byte| format!("{byte:02x}"))
        .join(":");
    let host = format!("--dhcp-host={mac},10.77.0.10,120");
    let words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--interface=eth0",
        "--dhcp-range=10.77.0.10,static,255.255.0.0",
        "--dhcp-authoritative",
        "--no-ping",
        "--dhcp-leasefile=/tmp/leases",
        &host,
    ];
    Some(d.spawn(c, &words, "dnsmasq.log"))
}

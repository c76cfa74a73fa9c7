//! Faults of the network and of firewalls.

use super::{Fault, both_well, each, may_look, nothing, sh, well};
use onehold_tests::{Begin as _, Setup};
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const FAULTS: [Fault; 13] = [
    Fault::new("two-answer", "problem", "lb1", |c| {
        c.host("stranger")
            .add_address("eth0", ip("10.77.0.50"), 16)
            .expect("it is added");
        nothing()
    }),
    Fault::new("two-answer", "problem", "lb0", |_| nothing()).ends(|c| {
        c.host("stranger")
            .remove_address("eth0", ip("10.77.0.50"), 16)
            .expect("it is removed");
    }),
    Fault::new("own-address", "problem", "lb1", |c| {
        c.host("stranger")
            .add_address("eth0", ip("10.77.0.11"), 32)
            .expect("it is added");
        nothing()
    })
    .ends(|c| {
        c.host("stranger")
            .remove_address("eth0", ip("10.77.0.11"), 32)
            .expect("it is removed");
    }),
    Fault::new("no-answer", "problem", "lb1", |c| {
        sh(c, "lb0", "echo 8 >/proc/sys/net/ipv4/conf/eth0/arp_ignore")
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb0",
            "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore",
        ))
    }),
    Fault::new("port-security", "problem", "lb0", |c| {
        for host in ["lb1", "witness"] {
            let _ = sh(
                c,
                host,
                "nft add table arp t; nft 'add chain arp t c { type filter hook input priority 0; }'
                 nft add rule arp t c arp saddr ip 10.77.0.50 drop",
            );
        }
        nothing()
    })
    .ends(|c| {
        for host in ["lb1", "witness"] {
            let _ = sh(c, host, "nft delete table arp t");
        }
    }),
    Fault::new("firewall", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "nft add table inet t; nft 'add chain inet t c { type filter hook input priority 0; }'
             nft add rule inet t c tcp dport 22 accept
             nft 'add rule inet t c udp dport { 53, 6946 } drop'",
        )
    }),
    Fault::new("path", "problem", "lb1", |_| nothing())
        .ends(|c| drop(sh(c, "lb1", "nft delete table inet t"))),
    Fault::new("firewall", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "nft add table inet t
             nft 'add chain inet t c { type filter hook input priority 0; policy drop; }'
             nft add chain inet t d; nft add rule inet t d tcp dport 22 accept
             nft add rule inet t c iifname lo accept; nft add rule inet t c jump d",
        )
    })
    .ends(|c| drop(sh(c, "lb1", "nft delete table inet t"))),
    Fault::new("firewall", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "nft add table ip t; nft 'add chain ip t c { type filter hook output priority 0; }'
             nft add rule ip t c udp dport 6946 drop",
        )
    }),
    Fault::new("one-way", "problem", "lb1", |_| nothing())
        .ends(|c| drop(sh(c, "lb1", "nft delete table ip t"))),
    Fault::new("path", "problem", "lb0", |c| {
        c.stop("witness");
        nothing()
    }),
    // It runs no longer, and so nobody knows.
    Fault::new("path", "unknown", "witness", |c| {
        c.stop("lb1");
        nothing()
    })
    .ends(|c| {
        c.start("lb1");
        c.start("witness");
    }),
    Fault::new("twice", "advice", "lb1", |c| {
        sh(
            c,
            "lb1",
            "ip link add eth8 type veth peer name eth8p; ip addr add 10.77.1.9/16 dev eth8
             echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore",
        )
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "ip link del eth8; echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore",
        ));
    }),
];

#[test]
fn faults_of_the_network_are_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().also("fd77::50/64").start();
    both_well(&c);
    each(&mut c, &FAULTS);
    c.hold_again_on("lb0");
    both_well(&c);
}

/// A firewall that lets in only what answers lets everything in, for both send.
#[test]
fn what_is_no_fault_is_not_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().build();
    for host in ["lb0", "lb1"] {
        let _ = sh(
            &c,
            host,
            "nft add table inet t
             nft 'add chain inet t c { type filter hook input priority 0; policy drop; }'
             nft 'add rule inet t c ct state vmap { established : accept, related : accept, invalid : drop }'
             nft add rule inet t c iifname lo accept; nft add rule inet t c icmpv6 type 1-4 accept
             nft 'add rule inet t c meta l4proto icmp limit rate 5/second accept'
             nft add rule inet t c tcp dport 22 ct state new accept
             nft add rule inet t c counter reject",
        );
    }
    c.start_all();
    c.hold_on("lb0");
    both_well(&c);
    // Before its daemon starts, the rules alone are judged.
    c.stop("lb1");
    let found = super::doctor(&c, "lb1");
    assert!(
        !found.lines.iter().any(|line| line.contains("firewall")),
        "{found:#?}"
    );
    c.start("lb1");
    well(&c, "lb1");
}

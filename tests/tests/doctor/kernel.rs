//! Faults of the kernel, its switches and its programs.

use super::{Fault, both_well, each, may_look, nothing, sh};
use onehold_sim::netns::foreign::{self, BOTH, Kind, Program, TC_OK, XDP_PASS};
use onehold_tests::{Begin as _, Setup, not_run};

const SWITCHES: [Fault; 11] = [
    Fault::new("arp-ignore", "problem", "lb1", |c| {
        sh(c, "lb1", "echo 8 >/proc/sys/net/ipv4/conf/eth0/arp_ignore")
    })
    .ends(|c| drop(sh(c, "lb1", "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore"))),
    Fault::new("arp-filter", "problem", "lb1", |c| {
        sh(c, "lb1", "echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_filter; ip route add blackhole 10.77.0.51/32")
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_filter; ip route del blackhole 10.77.0.51/32",
        ));
    }),
    Fault::new("rp-filter", "advice", "lb1", |c| {
        sh(
            c,
            "lb1",
            "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter
             ip link add eth9 type veth peer name eth9p; ip addr add 192.168.9.1/24 dev eth9
             ip link set eth9 up; ip link set eth9p up; ip route add default via 192.168.9.2",
        )
    })
    .ends(|c| drop(sh(c, "lb1", "ip link del eth9; echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter"))),
    Fault::new("nonlocal-bind", "advice", "lb1", |c| {
        sh(c, "lb1", "echo 0 >/proc/sys/net/ipv4/ip_nonlocal_bind")
    })
    .ends(|c| drop(sh(c, "lb1", "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind"))),
    Fault::new("nonlocal-bind", "advice", "lb1", |c| {
        sh(c, "lb1", "echo 0 >/proc/sys/net/ipv6/ip_nonlocal_bind")
    })
    .ends(|c| drop(sh(c, "lb1", "echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind"))),
    Fault::new("accept-ra", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "ip addr add fd99::9/64 dev eth0 valid_lft 900 preferred_lft 900
             echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_ra
             echo 1 >/proc/sys/net/ipv6/conf/eth0/forwarding",
        )
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "echo 0 >/proc/sys/net/ipv6/conf/eth0/forwarding; ip addr del fd99::9/64 dev eth0",
        ));
    }),
    Fault::new("deaf-neighbour", "advice", "lb1", |c| {
        sh(c, "lb1", "echo 1 >/proc/sys/net/ipv4/conf/eth0/drop_gratuitous_arp")
    })
    .ends(|c| drop(sh(c, "lb1", "echo 0 >/proc/sys/net/ipv4/conf/eth0/drop_gratuitous_arp"))),
    Fault::new("conntrack", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "cp /proc/sys/net/netfilter/nf_conntrack_max /run/onehold/full
             mount --bind /run/onehold/full /proc/sys/net/netfilter/nf_conntrack_count",
        )
    })
    .ends(|c| drop(sh(c, "lb1", "umount /proc/sys/net/netfilter/nf_conntrack_count"))),
    Fault::new("clock-source", "problem", "lb1", |c| {
        sh(
            c,
            "lb1",
            "echo jiffies >/run/onehold/source
             mount --bind /run/onehold/source /sys/devices/system/clocksource/clocksource0/current_clocksource",
        )
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "umount /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ));
    }),
    Fault::new("kernel", "advice", "lb1", |_| nothing()).under(&["setarch", "--uname-2.6"]),
    // Last: the host's own IPv6 address goes with it.
    Fault::new("ipv6-off", "problem", "lb1", |c| {
        sh(c, "lb1", "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6")
    })
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip addr add fd77::1b/64 dev eth0 nodad",
        ));
    }),
];

#[test]
fn faults_of_the_kernel_s_switches_are_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().also("fd77::50/64").start();
    both_well(&c);
    each(&mut c, &SWITCHES);
    both_well(&c);
}

const PROGRAMS: [Fault; 3] = [
    Fault::new("xdp", "problem", "lb1", |c| {
        let put = || {
            let program = Program::that_says(XDP_PASS, Kind::Xdp)?;
            let hangs = program.see_first(foreign::number("eth0")?)?;
            Ok::<_, std::io::Error>((program, hangs))
        };
        Box::new(c.host("lb1").call(put).expect("it is on").expect("XDP"))
    }),
    // A daemon that runs would come to the front at once.
    Fault::new("asked-first", "problem", "lb1", |c| {
        c.pause("lb1");
        assert!(c.overtake("lb1", TC_OK));
        nothing()
    }),
    Fault::new("gate", "problem", "lb1", |c| {
        let take = || -> std::io::Result<()> {
            let eth0 = foreign::number("eth0")?;
            for way in BOTH {
                while !foreign::row(eth0, way)?.is_empty() {
                    foreign::take_first(eth0, way)?;
                }
            }
            Ok(())
        };
        c.host("lb1")
            .call(take)
            .expect("it is on")
            .expect("it is taken away");
        nothing()
    })
    .ends(|c| c.resume("lb1")),
];

#[test]
fn programs_that_are_asked_first_are_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().guard("bpf").start();
    if c.row("lb1").is_empty() {
        return not_run("it takes Linux 6.6");
    }
    both_well(&c);
    each(&mut c, &PROGRAMS);
    both_well(&c);
}

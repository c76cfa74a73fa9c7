//! A group whose addresses belong to several interfaces, on this machine's kernel: it is held as one
//! and released as one. Needs root; makes its own network namespaces and leaves none.
#![allow(missing_docs)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{GROUP, HOST, Lan, OWN, VIP, assign, bpf_is_permitted, find, set_up};
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, boottime};
use onehold_core::time::Span;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The inner interface, and what floats there.
const INNER: &str = "lan1";
const INNER_VIP: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 100);
const INNER_OWN: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// Floats on both.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100);

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn two_cables() -> Lan {
    let mut lan = Lan::new();
    lan.cable(INNER, "peer1");
    let index = find(&mut lan.route, INNER)
        .expect("the inner interface")
        .index;
    assign(&mut lan.route, index, INNER_OWN.into(), 24);
    lan
}

fn firewall() -> KernelGroup {
    let on = |address: IpAddr, interface: &str| (address, interface.to_owned());
    KernelGroup {
        name: "firewall".into(),
        addresses: vec![
            on(VIP.into(), HOST),
            on(LINK_LOCAL.into(), HOST),
            on(INNER_VIP.into(), INNER),
            on(LINK_LOCAL.into(), INNER),
        ],
        announced: true,
        routes: Vec::new(),
    }
}

fn open(lan: &Lan, guard: GuardChoice) -> Kernel {
    let mut kernel = lan.try_open(vec![firewall()], guard).expect("a kernel");
    kernel.scrub().expect("a clean start");
    kernel
}

/// Which floating addresses are on which interface.
fn there(lan: &mut Lan) -> Vec<(IpAddr, &'static str)> {
    let mut found = Vec::new();
    for name in [HOST, INNER] {
        let index = find(&mut lan.route, name).map_or(0, |link| link.index);
        let all = lan.addresses();
        let ours = all
            .iter()
            .filter(|a| a.index == index && a.is_ours(&[index]));
        found.extend(ours.map(|a| (a.address, name)));
    }
    found.sort();
    found
}

fn all() -> Vec<(IpAddr, &'static str)> {
    let mut all = vec![
        (VIP.into(), HOST),
        (LINK_LOCAL.into(), HOST),
        (INNER_VIP.into(), INNER),
        (LINK_LOCAL.into(), INNER),
    ];
    all.sort();
    all
}

fn with_both_guards(test: impl Fn(GuardChoice)) {
    if bpf_is_permitted() {
        test(GuardChoice::Bpf);
    }
    test(GuardChoice::Nft);
}

#[test]
fn each_address_is_held_on_its_own_interface_and_answers_there() {
    with_both_guards(|guard| {
        let mut lan = two_cables();
        let mut kernel = open(&lan, guard);
        assert_eq!(there(&mut lan), []);
        let deadline = boottime().plus(ms(60_000));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        assert_eq!(there(&mut lan), all());
        assert!(lan.answers(VIP) && lan.answers(LINK_LOCAL));
        lan.listen_to("peer1");
        assert!(lan.answers(INNER_VIP) && lan.answers(LINK_LOCAL));
        kernel.release(GROUP).expect("a release");
        assert_eq!(there(&mut lan), []);
        kernel.close().expect("an end");
    });
}

#[test]
fn one_deadline_mutes_all_of_it() {
    with_both_guards(|guard| {
        let mut lan = two_cables();
        let mut kernel = open(&lan, guard);
        let deadline = boottime().plus(ms(300));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        lan.probe(&[OWN.into()], deadline.plus(ms(20)));
        assert_eq!(there(&mut lan), all(), "they are there, and mute");
        for peer in ["peer0", "peer1"] {
            lan.listen_to(peer);
            let asked = [VIP.into(), INNER_VIP.into(), LINK_LOCAL.into()];
            let (answered, _) = lan.probe(&asked, boottime().plus(ms(100)));
            assert!(answered.iter().all(Vec::is_empty), "{peer}: {answered:?}");
        }
    });
}

#[test]
fn each_address_is_announced_on_its_own_interface_only() {
    let mut lan = two_cables();
    let mut kernel = open(&lan, GuardChoice::Nft);
    for (peer, announced) in [("peer0", [VIP, INNER_VIP]), ("peer1", [INNER_VIP, VIP])] {
        lan.listen_to(peer);
        lan.frames();
        let deadline = boottime().plus(ms(60_000));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        kernel.announce(GROUP, boottime());
        std::thread::sleep(std::time::Duration::from_millis(50));
        let frames = lan.frames();
        let says = |address: Ipv4Addr| {
            let is = |f: &&Vec<u8>| f[12..14] == [8, 6] && f[28..32] == address.octets();
            frames.iter().filter(is).count()
        };
        let [its, other] = announced.map(says);
        assert!(its > 0 && other == 0, "{peer}: {its} and {other}");
        kernel.release(GROUP).expect("a release");
    }
}

#[test]
fn one_cable_that_is_pulled_costs_all_of_it_and_nothing_stays_on_the_other() {
    with_both_guards(|guard| {
        for pulled in ["peer0", "peer1"] {
            let mut lan = two_cables();
            let mut kernel = open(&lan, guard);
            let can = |yes: bool| move |e: &KernelEvent| matches!(e, KernelEvent::Eligible { eligible, .. } if eligible.is_ok() == yes);
            lan.wait(&mut kernel, can(true));
            let hold = |kernel: &mut Kernel| kernel.hold_until(GROUP, boottime().plus(ms(60_000)));
            hold(&mut kernel).expect("a hold");
            let peer = find(&mut lan.peer_route, pulled)
                .expect("the peer's end")
                .index;
            set_up(&mut lan.peer_route, peer, false);
            let event = lan.wait(&mut kernel, can(false));
            let name = if pulled == "peer0" { HOST } else { INNER };
            let KernelEvent::Eligible {
                eligible: Err(why), ..
            } = event
            else {
                unreachable!("it was waited for");
            };
            assert!(why.starts_with(name), "{why}");
            kernel.release(GROUP).expect("a release");
            assert_eq!(there(&mut lan), []);
            set_up(&mut lan.peer_route, peer, true);
            lan.wait(&mut kernel, can(true));
            hold(&mut kernel).expect("a hold again");
            assert_eq!(there(&mut lan), all());
        }
    });
}

#[test]
fn one_interface_that_is_gone_ends_the_hold_of_all() {
    with_both_guards(|guard| {
        let mut lan = two_cables();
        let mut kernel = open(&lan, guard);
        let deadline = boottime().plus(ms(60_000));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        lan.unplug(); // the outer one
        lan.wait(&mut kernel, |e| {
            matches!(
                e,
                KernelEvent::Eligible {
                    eligible: Err(_),
                    ..
                }
            )
        });
        let refused = kernel.hold_until(GROUP, deadline).expect_err("no hold");
        assert!(refused.to_string().contains(HOST), "{refused}");
        kernel.release(GROUP).expect("a release");
        assert_eq!(there(&mut lan), []);
    });
}

/// For routers, which bring the packets: the loopback, without ARP or a carrier.
#[test]
fn what_is_not_announced_floats_on_the_loopback_and_is_mute_where_packets_come_in() {
    with_both_guards(|guard| {
        let mut lan = Lan::new();
        let lo = find(&mut lan.route, "lo").expect("the loopback").index;
        let group = KernelGroup {
            announced: false,
            ..KernelGroup::on("lo", "anycast", [VIP.into()])
        };
        let mut kernel = lan.try_open(vec![group], guard).expect("a kernel");
        kernel.scrub().expect("a clean start");
        kernel.eligible(GROUP).expect_err("the loopback is down");
        set_up(&mut lan.route, lo, true);
        lan.wait(&mut kernel, |e| {
            matches!(
                e,
                KernelEvent::Eligible {
                    eligible: Ok(()),
                    ..
                }
            )
        });
        let deadline = boottime().plus(ms(500));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        let on_lo = |lan: &mut Lan| {
            lan.addresses()
                .iter()
                .any(|a| a.index == lo && a.address == VIP)
        };
        assert!(on_lo(&mut lan));
        kernel.announce(GROUP, boottime());
        // Linux answers ARP for it on the other interface; what is asked after the deadline is not.
        let (answered, _) = lan.probe(&[VIP.into(), OWN.into()], deadline.plus(ms(200)));
        assert!(!answered[0].is_empty() && !answered[1].is_empty());
        let slack = ms(5);
        assert!(
            answered[0].iter().all(|at| *at < deadline.plus(slack)),
            "R-8"
        );
        assert!(on_lo(&mut lan), "it is there, and mute");
        let alarms = lan.events(&mut kernel);
        assert!(
            !alarms
                .iter()
                .any(|e| matches!(e, KernelEvent::Alarms(a) if !a.is_empty())),
            "{alarms:?}"
        );
        kernel.release(GROUP).expect("a release");
        assert!(!on_lo(&mut lan));
        kernel.close().expect("an end");
    });
}

#[test]
fn an_announced_group_refuses_what_is_not_ethernet_and_names_the_remedy() {
    let mut lan = Lan::new();
    let lo = find(&mut lan.route, "lo").expect("the loopback").index;
    set_up(&mut lan.route, lo, true);
    let group = KernelGroup::on("lo", "web", [VIP.into()]);
    let mut kernel = lan
        .try_open(vec![group], GuardChoice::Nft)
        .expect("a kernel");
    lan.events(&mut kernel);
    let why = kernel.eligible(GROUP).expect_err("it is no Ethernet");
    assert!(why.contains("`announce = \"none\"`"), "{why}");
}

//! What goes along with a change of the groups: routes, what is prepared, claims and numbers.

use super::lan::{self, GROUP, HOST, Lan, VIP, bpf_is_permitted};
use super::{
    A, A6, B, LINK_LOCAL, Peer, assert_nothing_put_back, change, group, hold, open, try_change, web,
};
use onehold::kernel::{GuardChoice, KernelEvent, KernelGroup, boottime};
use onehold::route::{Destination, MAIN_TABLE, Route};
use onehold_core::advert::GroupId;
use onehold_core::time::Span;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

const BOTH: [GuardChoice; 2] = [GuardChoice::Bpf, GuardChoice::Nft];

fn permitted(guard: GuardChoice) -> bool {
    guard != GuardChoice::Bpf || bpf_is_permitted()
}

/// To a network of which nobody else has a route, over the group's interface.
fn route(third: u8, src: Option<IpAddr>) -> Route {
    Route {
        at: Destination {
            to: Ipv4Addr::new(198, 51, third, 0).into(),
            length: 24,
            table: MAIN_TABLE,
            metric: 7,
        },
        via: None,
        src,
        interface: Some(HOST.into()),
    }
}

fn with(routes: &[Route], group: KernelGroup) -> KernelGroup {
    KernelGroup {
        routes: routes.to_vec(),
        ..group
    }
}

fn ours() -> Vec<String> {
    let output = Command::new("ip")
        .args(["route", "show", "proto", "79"])
        .output();
    let text = String::from_utf8(output.expect("`ip` of iproute2").stdout).expect("text");
    let mut all: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    all.sort();
    all
}

#[test]
fn r22_routes_come_and_go_with_a_change() {
    for guard in BOTH.into_iter().chain([GuardChoice::None]) {
        if !permitted(guard) {
            continue;
        }
        let mut lan = Lan::new();
        let mut kernel = open(&lan, guard, &[web(&[A])]);
        hold(&mut kernel, 0, 60_000);
        // One leaves by an address that comes with the change.
        let routes = [route(1, None), route(2, Some(B))];
        change(&lan, &mut kernel, &[with(&routes, web(&[A, B]))]);
        assert_nothing_put_back(&lan.events(&mut kernel));
        assert_eq!(ours(), [""; 0], "they come with the next hold");
        hold(&mut kernel, 0, 60_000);
        let both = [
            "198.51.1.0/24 dev lan0 scope link metric 7",
            "198.51.2.0/24 dev lan0 scope link src 10.0.0.101 metric 7",
        ];
        assert_eq!(ours(), both);
        let events = lan.events(&mut kernel);
        assert_nothing_put_back(&events);
        let partial = |e: &KernelEvent| matches!(e, KernelEvent::Whole { whole: Err(_), .. });
        assert!(!events.iter().any(partial), "{events:?}");
        change(&lan, &mut kernel, &[with(&routes[..1], web(&[A, B]))]);
        assert_eq!(ours(), both[..1], "one of them goes");
        hold(&mut kernel, 0, 60_000);
        assert_eq!(ours(), both[..1]);
        kernel.withdraw(&[A, B]).expect("all addresses leave");
        assert_eq!(ours(), [""; 0], "and its routes");
        assert_nothing_put_back(&lan.events(&mut kernel));
        assert!(!lan.has(VIP));
        change(&lan, &mut kernel, &[with(&routes[..1], web(&[A]))]);
        lan.events(&mut kernel);
        drop(kernel);
        let written = std::fs::read_to_string(lan.state.join("onehold-test.gate"));
        let written = written.expect("what may be there, written down");
        assert!(written.contains("route 198.51.1.0") && !written.contains("route 198.51.2.0"));
    }
}

/// what comes with a change waits mute with what does so already.
#[test]
fn r22_a_group_that_is_being_prepared_gets_one_more() {
    for guard in BOTH.into_iter().filter(|guard| permitted(*guard)) {
        let mut lan = Lan::new();
        let mut kernel = open(&lan, guard, &[web(&[A])]);
        kernel.prepare(GROUP).expect("mute");
        change(&lan, &mut kernel, &[web(&[A, B])]);
        kernel.prepare(GROUP).expect("mute");
        assert!(lan.has(A) && lan.has(B) && lan.mute(A) && lan.mute(B));
        hold(&mut kernel, 0, 60_000);
        assert!(lan.answers(A) && lan.answers(B));
        kernel.close().expect("an end");
    }
}

fn claim(lan: &Lan, address: IpAddr) {
    let IpAddr::V4(claimed) = address else {
        return;
    };
    let mut frame = lan::question(address, 0);
    frame[28..32].copy_from_slice(&claimed.octets());
    lan.wire.send(&frame).expect("a claim");
}

fn claims(e: &KernelEvent) -> bool {
    matches!(e, KernelEvent::ForeignClaim { .. })
}

#[test]
fn r22_what_waits_for_the_driver_is_told_of_the_group_that_it_is_about() {
    let lan = Lan::new();
    let groups = [group("api", &[A]), web(&[B])];
    let told = |first: IpAddr, second: IpAddr| {
        let mut kernel = open(&lan, GuardChoice::Nft, &groups);
        // Both are read at once, and told one after the other.
        claim(&lan, first);
        claim(&lan, second);
        lan.wait(&mut kernel, claims);
        kernel.withdraw(&[A]).expect("it leaves");
        change(&lan, &mut kernel, &groups[1..]);
        let mut events = lan.events(&mut kernel);
        events.retain(claims);
        kernel.close().expect("an end");
        events
    };
    let events = told(A, B);
    let of_web = |e: &KernelEvent| matches!(e, KernelEvent::ForeignClaim { group: GROUP, address, .. } if *address == B);
    assert!(events.len() == 1 && of_web(&events[0]), "{events:?}");
    assert_eq!(told(B, A), [], "of a group that is gone, nothing");
}

#[test]
fn r22_claims_of_new_addresses_are_heard_and_of_others_not() {
    let lan = Lan::new();
    let mut kernel = open(&lan, GuardChoice::Nft, &[web(&[A, A6])]);
    claim(&lan, B);
    assert!(!lan.events(&mut kernel).iter().any(claims));
    change(&lan, &mut kernel, &[group("api", &[A, A6]), web(&[B])]);
    claim(&lan, B);
    let event = lan.wait(&mut kernel, claims);
    let of_web = matches!(
        event,
        KernelEvent::ForeignClaim {
            group: GroupId(1),
            ..
        }
    );
    assert!(of_web, "{event:?}");
    kernel.withdraw(&[B]).expect("it leaves");
    change(&lan, &mut kernel, &[group("api", &[A, A6])]);
    lan.events_of(&mut kernel, Span::from_millis(1_000)); // one claim in a second is told
    claim(&lan, B);
    assert!(!lan.events(&mut kernel).iter().any(claims));
    kernel.close().expect("an end");
}

/// who has a former holder's hardware address for it must hear of the new one.
#[test]
fn r22_new_addresses_are_announced_by_a_holder() {
    let lan = Lan::new();
    let mut kernel = open(&lan, GuardChoice::Nft, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    kernel.announce(GROUP, boottime());
    lan.events_of(&mut kernel, Span::from_millis(300));
    change(&lan, &mut kernel, &[web(&[A, B])]);
    lan.frames();
    let announced = |lan: &Lan| {
        let of_b = |f: &Vec<u8>| f.get(12..14) == Some(&[8, 6]) && f[28..32] == [10, 0, 0, 101];
        lan.frames().iter().filter(|f| of_b(f)).count()
    };
    lan.events_of(&mut kernel, Span::from_millis(100));
    assert_eq!(announced(&lan), 0, "it is mute");
    hold(&mut kernel, 0, 60_000);
    lan.events_of(&mut kernel, Span::from_millis(300));
    assert!(announced(&lan) >= 2);
    kernel.close().expect("an end");
}

#[test]
fn r22_without_a_gate_that_others_took_an_address_leaves_by_its_removal() {
    if !bpf_is_permitted() {
        return;
    }
    let mut lan = Lan::new();
    let mut kernel = open(&lan, GuardChoice::Bpf, &[web(&[A, B])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.take_gate());
    kernel.withdraw(&[B]).expect("it leaves");
    assert!(!lan.has(B) && lan.has(A));
    lan.events_of(&mut kernel, Span::from_millis(1_500)); // the gate is put back
    let host = lan.host().index;
    lan::assign(&mut lan.route, host, B, 32);
    assert!(lan.mute(B) && lan.answers(A));
    kernel.close().expect("an end");
}

/// The room in the map is that of the largest configuration, and as much again for what leaves.
#[test]
fn r22_more_addresses_than_the_gate_has_room_for_are_refused_and_all_goes_on() {
    if !bpf_is_permitted() {
        return;
    }
    let mut lan = Lan::new();
    let mut kernel = open(&lan, GuardChoice::Bpf, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    let start = boottime();
    let peer = Peer::asks(&lan, &[A]);
    let many: Vec<IpAddr> = (0..3_000_u32)
        .map(|n| Ipv4Addr::from_bits(0x0a00_4000 + n).into())
        .collect();
    let why = try_change(&lan, &mut kernel, &[web(&[&[A], &many[..]].concat())]);
    let why = why.expect_err("too many").to_string();
    assert!(why.contains("no room for more addresses: restart"), "{why}");
    change(&lan, &mut kernel, &[web(&[&[A], &many[..1_023]].concat())]);
    hold(&mut kernel, 0, 60_000);
    lan.come(&mut kernel, &many[..1_023]);
    peer.said().assert_all(A, start, boottime());
    assert!(lan.answers(many[1_022]));
    kernel.close().expect("an end");
}

/// What nobody wrote down, the next incarnation would not remove.
#[test]
fn r22_what_cant_be_written_down_is_not_guarded_or_put_anywhere() {
    let mut lan = Lan::new();
    std::fs::write(&lan.state, "in the way of a directory").expect("a file");
    let mut kernel = open(&lan, GuardChoice::Nft, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    let why = try_change(&lan, &mut kernel, &[web(&[A, B])]);
    let why = why.expect_err("no next incarnation knows").to_string();
    assert!(why.contains("can't write"), "{why}");
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(A) && !lan.has(B));
    std::fs::remove_file(&lan.state).expect("out of the way");
    let until = boottime().plus(Span::from_millis(10_000));
    while try_change(&lan, &mut kernel, &[web(&[A, B])]).is_err() {
        assert!(boottime() < until, "it is not written again");
        lan.events_of(&mut kernel, Span::from_millis(200));
    }
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(A) && lan.answers(B));
    kernel.close().expect("an end");
}

/// Where a routing daemon brings the packets any interface will do, also one that has no gate.
#[test]
fn r22_a_group_comes_on_an_interface_that_has_no_gate_and_goes() {
    for guard in BOTH.into_iter().filter(|guard| permitted(*guard)) {
        let mut lan = Lan::new();
        let lo = lan::find(&mut lan.route, "lo").expect("there is one");
        lan::set_up(&mut lan.route, lo.index, true);
        let mut kernel = open(&lan, guard, &[web(&[A])]);
        hold(&mut kernel, 0, 60_000);
        let bgp = KernelGroup {
            announced: false,
            ..KernelGroup::on("lo", "bgp", [B])
        };
        change(&lan, &mut kernel, &[bgp, web(&[A])]);
        hold(&mut kernel, 0, 60_000);
        hold(&mut kernel, 1, 60_000);
        let on_lo = |lan: &mut Lan| lan.addresses().iter().any(|a| a.address == B);
        assert!(on_lo(&mut lan) && lan.answers(B), "by another interface");
        kernel.withdraw(&[B]).expect("it leaves");
        assert!(!on_lo(&mut lan) && lan.mute(B) && lan.answers(A));
        change(&lan, &mut kernel, &[web(&[A])]);
        lan.events(&mut kernel);
        hold(&mut kernel, 0, 60_000);
        assert!(lan.answers(A));
        kernel.close().expect("an end");
    }
}

/// An interface that is named before it is there is like one that was named from the start.
#[test]
fn r22_a_new_interface_may_come_late() {
    for guard in BOTH.into_iter().filter(|guard| permitted(*guard)) {
        let mut lan = Lan::new();
        let mut kernel = open(&lan, guard, &[web(&[A])]);
        hold(&mut kernel, 0, 60_000);
        let inner = KernelGroup::on(super::INNER, "inner", [super::INNER_VIP]);
        change(&lan, &mut kernel, &[inner, web(&[A])]);
        lan.events(&mut kernel);
        let why = kernel.eligible(GROUP).expect_err("it is not there");
        assert!(why.contains("there is no such interface"), "{why}");
        hold(&mut kernel, 1, 60_000);
        lan.cable(super::INNER, "peer1");
        let told = |e: &KernelEvent| {
            matches!(
                e,
                KernelEvent::Eligible {
                    group: GROUP,
                    eligible: Ok(())
                }
            )
        };
        lan.wait(&mut kernel, told);
        assert!(
            lan.answers(A),
            "{guard:?}: the other group is held all the time"
        );
        hold(&mut kernel, 0, 60_000);
        lan.listen_to("peer1");
        assert!(lan.answers(super::INNER_VIP));
        kernel.close().expect("an end");
    }
}

/// Where a link-local address floats, the gate does otherwise on a group's interface.
#[test]
fn r22_an_interface_that_becomes_a_groups_mutes_at_once() {
    for guard in BOTH.into_iter().filter(|guard| permitted(*guard)) {
        let mut lan = super::two_cables();
        let mut kernel = open(&lan, guard, &[web(&[A, LINK_LOCAL])]);
        let inner = lan::find(&mut lan.route, super::INNER).expect("it").index;
        lan::assign(&mut lan.route, inner, LINK_LOCAL, 128);
        lan.listen_to("peer1");
        assert!(lan.answers(LINK_LOCAL), "another one, and none of ours");
        let mut group = web(&[A, LINK_LOCAL]);
        group.addresses.push((LINK_LOCAL, super::INNER.into()));
        change(&lan, &mut kernel, &[group]);
        assert!(lan.mute(LINK_LOCAL), "before anybody has looked");
        hold(&mut kernel, 0, 60_000);
        assert!(lan.answers(LINK_LOCAL));
        kernel.close().expect("an end");
    }
}

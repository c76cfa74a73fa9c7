//! what the network answers to echo requests, asked of a kernel in another network namespace.
//! Needs root; makes its own network namespaces and leaves none.
#![allow(missing_docs, unsafe_code)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{GROUP, HOST, Lan, VIP, VIP6, assign, find, set_up, unassign};
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, Probing, boottime};
use onehold_core::time::{LocalTime, Span};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Longer than a kernel takes to answer.
const WHILE: Span = Span::from_millis(1_000);

/// The kernel takes what IPv6 address it has got for its own a moment later.
const SETTLES: Duration = Duration::from_millis(100);

/// A kernel's side that may ask for the group's addresses.
fn asker(lan: &Lan, addresses: &[IpAddr]) -> Kernel {
    let mut kernel = lan.open_with(GuardChoice::Auto, addresses);
    kernel.may_probe(&[7; 34]);
    let eligible = |event: &KernelEvent| matches!(event, KernelEvent::Eligible { .. });
    lan.wait(&mut kernel, eligible);
    kernel
}

/// Asks once; returns which questions were answered in a while.
fn asked(lan: &Lan, kernel: &mut Kernel) -> (LocalTime, Vec<LocalTime>) {
    lan.events(kernel);
    let now = boottime();
    {
        let _entered = lan.runtime.enter();
        kernel.probe(GROUP, now);
    }
    let answered = |event| match event {
        KernelEvent::ProbeAnswered { probed_at, .. } => Some(probed_at),
        _ => None,
    };
    let events = lan.events_of(kernel, WHILE).into_iter();
    (now, events.filter_map(answered).collect())
}

fn at_the_peers(lan: &mut Lan, address: impl Into<IpAddr>, there: bool) {
    let index = find(&mut lan.peer_route, "peer0").expect("it").index;
    let address = address.into();
    let length = if address.is_ipv4() { 32 } else { 128 };
    let change = if there { assign } else { unassign };
    change(&mut lan.peer_route, index, address, length);
    std::thread::sleep(SETTLES);
}

/// Nobody is known to have it: all are asked.
#[test]
fn r20_a_kernel_that_has_an_address_answers_and_nobody_else() {
    for address in [IpAddr::from(VIP), IpAddr::from(VIP6)] {
        let mut lan = Lan::new();
        let mut kernel = asker(&lan, &[address]);
        assert_eq!(asked(&lan, &mut kernel).1, [], "nobody has {address}");
        at_the_peers(&mut lan, address, true);
        let (now, answered) = asked(&lan, &mut kernel);
        assert_eq!(answered, [now], "the peer has {address}");
        at_the_peers(&mut lan, address, false);
        let (last, answered) = asked(&lan, &mut kernel);
        assert_eq!(answered, [], "the peer had {address}");
        let became = Probing {
            asked: 3,
            answered: 1,
            last_asked: Some(last),
            last_answered: Some(now),
            unasked: false,
        };
        assert_eq!(kernel.probing(GROUP), Some(became));
        kernel.close().expect("nothing is left behind");
    }
}

#[test]
fn r20_an_answer_for_one_of_a_groups_addresses_is_enough_and_counts_once() {
    let mut lan = Lan::new();
    let many = (1..=20).map(|n| IpAddr::from(Ipv4Addr::new(10, 0, 0, 100 + n)));
    let many: Vec<IpAddr> = many.chain([IpAddr::from(VIP6)]).collect();
    let mut kernel = asker(&lan, &many);
    for address in [many[8], many[9], many[20]] {
        at_the_peers(&mut lan, address, true);
    }
    let times: Vec<usize> = (0..3).map(|_| asked(&lan, &mut kernel).1.len()).collect();
    assert_eq!(times, [0, 1, 1], "eight at a time, in turn");
    kernel.close().expect("nothing is left behind");
}

/// Where another machine said that it has the address, that one is asked, and only its answer
/// counts.
#[test]
fn r20_who_last_announced_an_address_is_asked_for_it() {
    let mut lan = Lan::new();
    let mut kernel = asker(&lan, &[VIP.into()]);
    at_the_peers(&mut lan, VIP, true);
    let peer = find(&mut lan.peer_route, "peer0").expect("it").mac;
    for (mac, answers) in [(peer, true), ([2, 0, 0, 0, 0, 9], false), (peer, true)] {
        let mut announcement = lan::question(VIP.into(), 0);
        announcement[6..12].copy_from_slice(&mac);
        announcement[22..28].copy_from_slice(&mac);
        announcement[28..32].copy_from_slice(&VIP.octets());
        lan.wire.send(&announcement).expect("it is sent");
        lan.events(&mut kernel);
        let (now, answered) = asked(&lan, &mut kernel);
        assert_eq!(answered == [now], answers, "{mac:?}");
    }
    kernel.close().expect("nothing is left behind");
}

#[test]
fn r20_what_cant_be_asked_is_not() {
    let mut lan = Lan::new();
    let mut kernel = asker(&lan, &[VIP.into()]);
    at_the_peers(&mut lan, VIP, true);
    let (index, own) = (lan.host().index, lan::OWN.into());
    unassign(&mut lan.route, index, own, 24);
    lan.events(&mut kernel);
    assert_eq!(
        asked(&lan, &mut kernel).1,
        [],
        "there is no address to ask from"
    );
    assert!(kernel.probing(GROUP).expect("it may be asked").unasked);
    assign(&mut lan.route, index, own, 24);
    lan.events(&mut kernel);
    assert_eq!(asked(&lan, &mut kernel).1.len(), 1);
    set_up(&mut lan.route, index, false);
    lan.events(&mut kernel);
    assert_eq!(asked(&lan, &mut kernel).1, [], "the interface is down");
    assert!(kernel.probing(GROUP).expect("it may be asked").unasked);
    lan.unplug();
    lan.events(&mut kernel);
    assert_eq!(asked(&lan, &mut kernel).1, [], "there is no interface");
    lan.plug();
    let eligible = |e: &KernelEvent| {
        matches!(
            e,
            KernelEvent::Eligible {
                eligible: Ok(()),
                ..
            }
        )
    };
    lan.wait(&mut kernel, eligible);
    at_the_peers(&mut lan, VIP, true);
    assert_eq!(asked(&lan, &mut kernel).1.len(), 1, "{HOST} is another one");
    kernel.close().expect("nothing is left behind");
}

#[test]
fn r20_without_leave_nothing_is_asked() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    at_the_peers(&mut lan, VIP, true);
    lan.events(&mut kernel);
    lan.frames();
    assert_eq!(asked(&lan, &mut kernel).1, []);
    assert_eq!(kernel.probing(GROUP), None);
    let asks = |frame: &Vec<u8>| frame.get(23) == Some(&1) && frame.get(34) == Some(&8);
    assert!(!lan.frames().iter().any(asks));
    kernel.close().expect("nothing is left behind");
}

/// A group whose interface is no Ethernet interface, or that others announce.
#[test]
fn r20_on_loopback_nothing_is_asked() {
    let lan = Lan::new();
    let mut group = KernelGroup::on("lo", "web", [VIP.into()]);
    group.announced = false;
    let mut kernel = lan
        .try_open(vec![group], GuardChoice::Auto)
        .expect("a kernel");
    kernel.may_probe(&[7; 34]);
    lan.events(&mut kernel);
    assert_eq!(asked(&lan, &mut kernel).1, []);
    assert!(kernel.probing(GROUP).expect("it may be asked").unasked);
    kernel.close().expect("nothing is left behind");
}

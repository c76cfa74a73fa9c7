//! A host that is somebody else's: what is on it stays as it is, and what it does not let us do is
//! said before it is needed. Needs root; makes its own network namespaces and leaves none.
#![allow(missing_docs)]

#[expect(
    dead_code,
    reason = "shared with tests/kernel.rs, which uses more of it"
)]
mod lan;

use lan::{GROUP, HOST, Lan, OWN, VIP, VIP6, assign, find, set_up, unassign};
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, boottime};
use onehold::netlink::{NLM_F_ACK, NLM_F_CREATE, Netlink, Request};
use onehold_core::time::Span;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// As `ip address add LOCAL peer FAR/LENGTH valid_lft SECONDS`.
fn assign_as(
    route: &mut Netlink,
    index: u32,
    [local, far]: [Ipv4Addr; 2],
    length: u8,
    seconds: Option<u32>,
) {
    let mut request = Request::new();
    let mut fixed = [2, length, 0, 0, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    request
        .message(libc::RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE, &fixed)
        .attr(2, &local.octets())
        .attr(1, &far.octets());
    if let Some(seconds) = seconds {
        let mut lifetimes = [0; 16];
        lifetimes[..4].copy_from_slice(&seconds.to_ne_bytes());
        lifetimes[4..8].copy_from_slice(&seconds.to_ne_bytes());
        request.attr(6, &lifetimes);
    }
    route.send(&mut request).expect("an address");
}

/// All interfaces and addresses of the host, but for what IPv6 does by itself.
fn ipv4_of(lan: &mut Lan) -> Vec<(u32, IpAddr, Option<IpAddr>, u8)> {
    let all = lan.ipv4().into_iter();
    all.map(|a| (a.index, a.address, a.peer, a.length))
        .collect()
}

fn last_alarms(events: &[KernelEvent]) -> String {
    let told = events.iter().rev().find_map(|e| match e {
        KernelEvent::Alarms(alarms) => Some(alarms.join("\n")),
        _ => None,
    });
    told.unwrap_or_default()
}

fn is_whole(yes: bool) -> impl Fn(&KernelEvent) -> bool {
    move |e| matches!(e, KernelEvent::Whole { whole, .. } if whole.is_ok() == yes)
}

fn is_eligible(yes: bool) -> impl Fn(&KernelEvent) -> bool {
    move |e| matches!(e, KernelEvent::Eligible { eligible, .. } if eligible.is_ok() == yes)
}

fn disable_ipv6(yes: bool) {
    let path = format!("/proc/sys/net/ipv6/conf/{HOST}/disable_ipv6");
    std::fs::write(path, if yes { "1" } else { "0" }).expect("a sysctl");
}

fn kernel_of(lan: &Lan, guard: GuardChoice, addresses: &[IpAddr]) -> Result<Kernel, String> {
    let group = KernelGroup::on(HOST, "web", addresses.iter().copied());
    lan.try_open(vec![group], guard).map_err(|e| e.to_string())
}

#[test]
fn what_others_put_on_the_host_survives_a_start_a_hold_and_an_end() {
    let mut lan = Lan::new();
    let host = lan.host().index;
    // All of these are the floating address, and none of them is ours: a secondary one, the near
    // end of a link, one with a limited lifetime, one on another interface.
    let peer: Ipv4Addr = "10.9.9.9".parse().expect("an address");
    assign(&mut lan.route, host, VIP.into(), 24);
    assign_as(&mut lan.route, host, [VIP, peer], 32, None);
    assign_as(&mut lan.route, host, [VIP, VIP], 28, Some(600));
    assign(&mut lan.route, 1, VIP.into(), 32);
    assign(&mut lan.route, host, VIP6.into(), 64);
    let before = ipv4_of(&mut lan);
    for guard in [GuardChoice::Auto, GuardChoice::Nft] {
        let mut kernel = lan.open(guard);
        kernel.scrub().expect("a clean start");
        assert_eq!(ipv4_of(&mut lan), before);
        assert!(lan.mute(VIP) && lan.mute(VIP6));
        let said = last_alarms(&lan.events(&mut kernel));
        for what in [
            "10.0.0.100/24 is on lan0",
            "10.0.0.100/28",
            "/32 is on lo",
            "::100/64",
        ] {
            assert!(said.contains(what), "{said}");
        }
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a hold");
        assert!(lan.answers(VIP) && lan.answers(VIP6));
        kernel.release(GROUP).expect("a release");
        assert_eq!(ipv4_of(&mut lan), before);
        let theirs = |a: &onehold::address::Assigned| a.address == VIP6 && a.lifetime.is_none();
        assert!(
            lan.addresses().iter().any(theirs),
            "it has no end, as before"
        );
        assert!(lan.mute(VIP) && lan.mute(VIP6));
        kernel.close().expect("an end");
        assert_eq!(ipv4_of(&mut lan), before);
    }
}

#[test]
fn an_address_that_others_add_is_mute_and_told() {
    for guard in [GuardChoice::Auto, GuardChoice::Nft] {
        let mut lan = Lan::new();
        let mut kernel = lan.open(guard);
        kernel.scrub().expect("a clean start");
        kernel
            .hold_until(GROUP, boottime().plus(ms(450)))
            .expect("a hold");
        kernel.release(GROUP).expect("a release");
        assert_eq!(
            last_alarms(&lan.events(&mut kernel)),
            "",
            "our own changes are none"
        );
        let host = lan.host().index;
        assign(&mut lan.route, host, VIP.into(), 24);
        let event = lan.wait(&mut kernel, |e| matches!(e, KernelEvent::Alarms(_)));
        let said = last_alarms(&[event]);
        assert!(
            said.contains(
                "web: 10.0.0.100/24 is on lan0 of this host though onehold did not put it there"
            ),
            "{said}"
        );
        assert!(lan.mute(VIP));
        kernel.scrub().expect("a clean start");
        assert!(lan.has(VIP) && lan.mute(VIP), "it is theirs");
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a hold");
        assert!(lan.answers(VIP));
        kernel.release(GROUP).expect("a release");
        assert!(lan.has(VIP) && !lan.has_ours(VIP) && lan.mute(VIP));
        unassign(&mut lan.route, host, VIP.into(), 24);
        let event = lan.wait(&mut kernel, |e| matches!(e, KernelEvent::Alarms(_)));
        assert_eq!(last_alarms(&[event]), "");
    }
}

#[test]
fn an_address_that_the_host_lives_by_is_refused_before_anything_is_mute() {
    let mut lan = Lan::new();
    let host = lan.host().index;
    let second: Ipv4Addr = "10.0.0.3".parse().expect("an address");
    for secondary in [false, true] {
        if secondary {
            assign(&mut lan.route, host, second.into(), 24);
        }
        let why = kernel_of(&lan, GuardChoice::Auto, &[OWN.into()]).expect_err("its own address");
        assert!(
            why.contains("10.0.0.1/24 is an address that this host lives by on lan0"),
            "{why}"
        );
        assert!(lan.answers(OWN), "it is as before");
    }
    assert!(kernel_of(&lan, GuardChoice::Auto, &[second.into()]).is_ok());
}

#[test]
fn a_link_local_address_of_another_interface_is_another_one() {
    let mut lan = Lan::new();
    let router: IpAddr = "fe80::1".parse().expect("an address");
    let other = {
        lan::assign(&mut lan.route, 1, router, 64);
        1
    };
    let mut kernel = kernel_of(&lan, GuardChoice::Nft, &[router]).expect("a kernel");
    kernel.scrub().expect("a clean start");
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    kernel.release(GROUP).expect("a release");
    assert_eq!(last_alarms(&lan.events(&mut kernel)), "");
    kernel.close().expect("an end");
    let left = lan.addresses();
    assert!(left.iter().any(|a| (a.index, a.address) == (other, router)));
}

#[test]
fn without_a_guard_it_does_not_start_beside_an_address_that_nothing_mutes() {
    let mut lan = Lan::new();
    let host = lan.host().index;
    let mut kernel = lan.open(GuardChoice::None);
    kernel.scrub().expect("a clean start");
    assign(&mut lan.route, host, VIP.into(), 24);
    for refused in [kernel.scrub(), kernel.release(GROUP)] {
        let why = refused.expect_err("it is effective").to_string();
        assert!(
            why.contains("nothing mutes it") && why.contains("10.0.0.100/24"),
            "{why}"
        );
    }
    unassign(&mut lan.route, host, VIP.into(), 24);
    kernel.release(GROUP).expect("a release");
}

#[test]
fn a_standby_that_cannot_hold_all_says_so_before_it_must() {
    for guard in [GuardChoice::Auto, GuardChoice::Nft] {
        let mut lan = Lan::new();
        let mut kernel = lan.open(guard);
        kernel.scrub().expect("a clean start");
        lan.wait(&mut kernel, is_eligible(true));
        lan.events(&mut kernel);
        disable_ipv6(true);
        let event = lan.wait(&mut kernel, is_whole(false));
        let said = format!("{event:?}");
        assert!(
            said.contains("2001:db8::100") && said.contains("disabled"),
            "{said}"
        );
        // What can be held is held, rather than nothing.
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a hold of what there is");
        assert!(lan.answers(VIP) && !lan.has(VIP6));
        // And all of it as soon as it can be: at once, and not after a wait that has grown.
        disable_ipv6(false);
        lan.wait(&mut kernel, is_whole(true));
        assert!(lan.answers(VIP) && lan.answers(VIP6));
        // Also while it is held.
        disable_ipv6(true);
        lan.wait(&mut kernel, is_whole(false));
        assert!(lan.answers(VIP));
        kernel.release(GROUP).expect("a release");
        assert!(!lan.has(VIP));
    }
}

#[test]
fn what_the_kernel_never_takes_is_tried_ever_less_often() {
    let mut lan = Lan::new();
    disable_ipv6(true);
    let mut kernel = kernel_of(&lan, GuardChoice::Auto, &[VIP6.into()]).expect("a kernel");
    kernel.scrub().expect("a clean start");
    let event = lan.wait(&mut kernel, is_eligible(false));
    assert!(format!("{event:?}").contains("disabled"), "{event:?}");
    let (mut again, start) = (Vec::new(), boottime());
    while boottime() < start.plus(ms(5_000)) {
        if kernel.hold_until(GROUP, boottime().plus(ms(450))).is_err() {
            kernel.release(GROUP).expect("a release");
        }
        let events = lan.events_of(&mut kernel, ms(20));
        again.extend(events.into_iter().filter(is_eligible(true)));
    }
    assert_eq!(again, [], "it was not to be had, and never said to be");
    disable_ipv6(false);
    lan.wait(&mut kernel, is_eligible(true));
    assert!(lan.ipv4().len() == 1, "trying leaves nothing");
    assert!(!lan.has(VIP6));
}

#[test]
fn what_is_removed_again_and_again_is_put_back_once_a_second() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    lan.wait(&mut kernel, is_eligible(true));
    kernel
        .hold_until(GROUP, boottime().plus(ms(60_000)))
        .expect("a hold");
    let (mut put_back, mut said, start) = (0, String::new(), boottime());
    let host = lan.host().index;
    while boottime() < start.plus(ms(4_500)) {
        if lan.has(VIP) {
            unassign(&mut lan.route, host, VIP.into(), 32);
        }
        let events = lan.events_of(&mut kernel, ms(2));
        let is = |e: &&KernelEvent| matches!(e, KernelEvent::AddressPutBack { .. });
        put_back += events.iter().filter(is).count();
        said += &last_alarms(&events);
    }
    assert!((4..=8).contains(&put_back), "{put_back} times in 4.5 s");
    assert!(
        said.contains("web: somebody keeps removing 10.0.0.100 from lan0"),
        "{said}"
    );
    lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::AddressPutBack { .. })
    });
    assert!(lan.answers(VIP), "and it is there");
    // When it is over, so is the alarm.
    let until = boottime().plus(ms(30_000));
    let mut events = Vec::new();
    while last_alarms(&events).contains("removing") || events.is_empty() {
        assert!(boottime() < until, "{events:?}");
        events.extend(lan.events_of(&mut kernel, ms(500)));
    }
}

#[test]
fn nothing_is_held_where_none_of_the_members_addresses_is() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    let missing: IpAddr = "10.0.0.7".parse().expect("an address");
    kernel.lives_at(vec![missing]);
    kernel.scrub().expect("a clean start");
    let event = lan.wait(&mut kernel, is_eligible(false));
    assert!(
        format!("{event:?}").contains("(10.0.0.7) is on this host"),
        "{event:?}"
    );
    let host = lan.host().index;
    for _ in 0..2 {
        assign(&mut lan.route, host, missing, 24);
        lan.wait(&mut kernel, is_eligible(true));
        unassign(&mut lan.route, host, missing, 24);
        lan.wait(&mut kernel, is_eligible(false));
    }
    // A network that is configured anew is no reason.
    assign(&mut lan.route, host, missing, 24);
    lan.wait(&mut kernel, is_eligible(true));
    unassign(&mut lan.route, host, missing, 24);
    let told = lan.events_of(&mut kernel, ms(20));
    assign(&mut lan.route, host, missing, 24);
    let later = lan.events_of(&mut kernel, ms(400));
    let no = |e: &&KernelEvent| is_eligible(false)(e);
    assert_eq!(told.iter().chain(&later).find(no), None);
}

#[test]
fn a_list_that_changes_while_it_is_read_is_read_again() {
    let mut lan = Lan::new();
    let host = lan.host().index;
    let address = |n: u16| IpAddr::from([10, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
    // Ours are those in between: one that others leave out before makes the kernel skip one after.
    for n in 0..1_000 {
        assign(&mut lan.route, host, address(n), 32);
    }
    let stop = AtomicBool::new(false);
    let mut route = Netlink::open(libc::NETLINK_ROUTE).expect("netlink");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !stop.load(Relaxed) {
                unassign(&mut route, host, address(n), 32);
                assign(&mut route, host, address(n), 32);
                n = (n + 1) % 100;
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let mut lacking = Vec::new();
        for _ in 0..300 {
            // One that can't be read as of one moment says so.
            let Ok(all) = onehold::address::list(&mut lan.route) else {
                continue;
            };
            lacking.extend((100..1_000).filter(|n| !all.iter().any(|a| a.address == address(*n))));
        }
        stop.store(true, Relaxed);
        assert_eq!(lacking, Vec::<u16>::new(), "they were there all the time");
    });
}

#[test]
fn an_interface_that_is_down_can_serve_nothing_and_says_so_at_once() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    lan.wait(&mut kernel, is_eligible(true));
    let peer = find(&mut lan.peer_route, "peer0").expect("its end").index;
    set_up(&mut lan.peer_route, peer, false);
    let event = lan.wait(&mut kernel, is_eligible(false));
    assert!(format!("{event:?}").contains("no carrier"), "{event:?}");
    set_up(&mut lan.peer_route, peer, true);
    lan.wait(&mut kernel, is_eligible(true));
}

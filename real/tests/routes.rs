//! Routes that come and go with a group, on this machine's kernel. Needs root and `ip`; makes its own
//! network namespaces and leaves none.
#![allow(missing_docs)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{GROUP, HOST, Lan, VIP, VIP6, bpf_is_permitted, find, set_up, unassign};
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, boottime};
use onehold::route::{Destination, IPV6_METRIC, MAIN_TABLE, Route};
use onehold_core::time::Span;
use std::net::IpAddr;
use std::process::Command;

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

fn route(to: &str, length: u8, via: Option<&str>, src: Option<IpAddr>) -> Route {
    let to: IpAddr = to.parse().expect("an address");
    Route {
        at: Destination {
            to,
            length,
            table: MAIN_TABLE,
            metric: if to.is_ipv4() { 7 } else { IPV6_METRIC },
        },
        via: via.map(|via| via.parse().expect("an address")),
        src,
        interface: via.is_none().then(|| HOST.into()),
    }
}

/// One of each kind: with a gateway and the floating address as its source, by an interface alone,
/// in a table of its own, and both for IPv6.
fn routes() -> Vec<Route> {
    let mut of_a_table = route("198.51.100.0", 24, Some("10.0.0.2"), None);
    of_a_table.at.table = 100;
    vec![
        route("0.0.0.0", 0, Some("10.0.0.2"), Some(VIP.into())),
        route("203.0.113.0", 24, None, None),
        of_a_table,
        route("2001:db8:1::", 48, None, Some(VIP6.into())),
        route("::", 0, Some("2001:db8::2"), None),
    ]
}

fn group(routes: Vec<Route>) -> KernelGroup {
    KernelGroup {
        routes,
        ..KernelGroup::on(HOST, "web", [VIP.into(), VIP6.into()])
    }
}

fn open(lan: &Lan, routes: Vec<Route>, guard: GuardChoice) -> Kernel {
    let mut kernel = lan.try_open(vec![group(routes)], guard).expect("a kernel");
    kernel.scrub().expect("a clean start");
    kernel
}

fn hold(kernel: &mut Kernel) {
    let until = boottime().plus(ms(60_000));
    kernel.hold_until(GROUP, until).expect("a hold");
}

/// What `ip` lists of ours, and of all, in every table.
fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output();
    let output = output.expect("ip");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ours() -> Vec<String> {
    let mut all = ip("-4 route show table all proto 79") + &ip("-6 route show table all proto 79");
    all = all.replace("  ", " ").replace(" pref medium", "");
    let mut all: Vec<String> = all.lines().map(|l| l.trim().to_owned()).collect();
    all.sort();
    all
}

/// Every route but those that the kernel makes for addresses, in its own time.
fn not_the_kernels() -> Vec<String> {
    let all = ip("-4 route show table all") + &ip("-6 route show table all");
    let all = all.lines().filter(|line| !line.contains("proto kernel"));
    all.map(str::to_owned).collect()
}

fn all_of_them() -> Vec<String> {
    let mut all: Vec<String> = [
        "default via 10.0.0.2 dev lan0 src 10.0.0.100 metric 7",
        "203.0.113.0/24 dev lan0 scope link metric 7",
        "198.51.100.0/24 via 10.0.0.2 dev lan0 table 100 metric 7",
        "2001:db8:1::/48 dev lan0 src 2001:db8::100 metric 1024",
        "default via 2001:db8::2 dev lan0 metric 1024",
    ]
    .map(str::to_owned)
    .into();
    all.sort();
    all
}

#[test]
fn routes_come_with_the_hold_and_go_with_the_release() {
    let guards = [GuardChoice::Bpf, GuardChoice::Nft];
    for guard in guards {
        if guard == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let lan = Lan::new();
        let before = not_the_kernels();
        let mut kernel = open(&lan, routes(), guard);
        assert_eq!(ours(), [""; 0], "none but a holder has them");
        kernel.prepare(GROUP).expect("the addresses, mute");
        assert_eq!(ours(), [""; 0], "nor one whose gate is shut (R-19)");
        for _ in 0..2 {
            hold(&mut kernel);
            assert_eq!(ours(), all_of_them());
            kernel.release(GROUP).expect("a release");
            assert_eq!(ours(), [""; 0]);
        }
        hold(&mut kernel);
        kernel.close().expect("an end");
        assert_eq!(not_the_kernels(), before);
    }
}

#[test]
fn what_the_kernel_or_somebody_drops_is_put_back() {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, routes(), GuardChoice::Nft);
    lan.events(&mut kernel);
    hold(&mut kernel);
    // Somebody deletes one.
    ip("route del 203.0.113.0/24");
    lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::RoutePutBack { .. })
    });
    assert_eq!(ours(), all_of_them());
    // The kernel drops, or strips, those whose source is gone.
    let host = lan.host().index;
    unassign(&mut lan.route, host, VIP.into(), 32);
    unassign(&mut lan.route, host, VIP6.into(), 128);
    assert_ne!(ours(), all_of_them());
    let is_default = |e: &KernelEvent| matches!(e, KernelEvent::RoutePutBack { route, .. } if route.starts_with("2001:db8:1::"));
    lan.wait(&mut kernel, is_default);
    assert_eq!(ours(), all_of_them());
    // And all of them with their interface.
    set_up(&mut lan.route, host, false);
    assert_eq!(ours(), [""; 0]);
    lan.events(&mut kernel);
    set_up(&mut lan.route, host, true);
    // What is not theirs comes back by other hands.
    ip("route replace 2001:db8::/64 dev lan0");
    for _ in 0..300 {
        lan.events(&mut kernel);
        if ours() == all_of_them() {
            return;
        }
    }
    panic!("{:?}", ours());
}

#[test]
fn a_route_of_somebody_elses_is_left_alone_and_makes_the_group_less_than_whole() {
    let lan = Lan::new();
    ip("route add default via 10.0.0.9 metric 7");
    let mut kernel = open(&lan, routes(), GuardChoice::Nft);
    lan.events(&mut kernel);
    hold(&mut kernel);
    let whole = lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::Whole { whole: Err(_), .. })
    });
    let KernelEvent::Whole {
        whole: Err(why), ..
    } = whole
    else {
        unreachable!("it was waited for");
    };
    assert!(
        why.contains("onehold did not make") && why.contains("`metric`"),
        "{why}"
    );
    assert_eq!(
        ours().len(),
        all_of_them().len() - 1,
        "the others are there"
    );
    kernel.eligible(GROUP).expect("the addresses can be held");
    kernel.release(GROUP).expect("a release");
    assert!(
        ip("route show default").contains("via 10.0.0.9"),
        "it is theirs"
    );
    // While it is held, it is tried again.
    hold(&mut kernel);
    ip("route del default via 10.0.0.9 metric 7");
    lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::Whole { whole: Ok(()), .. })
    });
    assert_eq!(ours(), all_of_them());
}

#[test]
fn a_standby_says_that_it_could_not_have_a_route() {
    let lan = Lan::new();
    let nowhere = vec![route("0.0.0.0", 0, Some("192.0.2.1"), None)];
    let mut kernel = open(&lan, nowhere, GuardChoice::Nft);
    lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::Whole { whole: Err(_), .. })
    });
    assert_eq!(ours(), [""; 0]);
    drop(kernel);
    let lan = Lan::new();
    let over_another = Route {
        interface: Some("lan9".into()),
        ..route("203.0.113.0", 24, None, None)
    };
    let mut kernel = open(&lan, vec![over_another], GuardChoice::Nft);
    kernel.eligible(GROUP).expect("the addresses can be held");
    hold(&mut kernel);
    assert_eq!(ours(), [""; 0]);
}

#[test]
fn r9_what_a_crashed_incarnation_left_is_removed_at_the_start_and_nothing_else() {
    let mut lan = Lan::new();
    // Another cluster's on this host, and an administrator's.
    ip("route add 192.0.2.0/24 dev lan0 proto 79");
    ip("route add 192.0.3.0/24 dev lan0");
    for next in [routes(), Vec::new()] {
        let mut kernel = open(&lan, routes(), GuardChoice::Nft);
        hold(&mut kernel);
        drop(kernel); // killed: it removes nothing
        assert_eq!(ours().len(), all_of_them().len() + 1);
        let empty = next.is_empty();
        let kernel = open(&lan, next, GuardChoice::Nft);
        assert_eq!(ours(), ["192.0.2.0/24 dev lan0 scope link"], "{empty}");
        kernel.close().expect("an end");
    }
    assert!(ip("route show 192.0.3.0/24").contains("lan0"));
    assert!(find(&mut lan.route, HOST).is_some());
}

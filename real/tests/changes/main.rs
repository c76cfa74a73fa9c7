//! R-22 on this machine's kernel: the groups change while they are held, as a peer on the same LAN sees
//! it. Needs root; makes its own network namespaces and leaves none.
#![allow(missing_docs)]

mod beside;
#[path = "../lan/mod.rs"]
#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;
mod refused;
#[path = "../refusals/seccomp.rs"]
#[expect(dead_code, reason = "shared with another test, which uses more of it")]
mod seccomp;

use lan::{GROUP, HOST, Lan, OWN, SLACK, VIP, VIP6, assign, bpf_is_permitted, find};
use onehold::kernel::{GuardChoice, Kernel, KernelError, KernelEvent, KernelGroup, boottime};
use onehold_core::advert::GroupId;
use onehold_core::config::MAX_ADDRESSES;
use onehold_core::time::{LocalTime, Span};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const A: IpAddr = IpAddr::V4(VIP);
const A6: IpAddr = IpAddr::V6(VIP6);
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x101));
/// Another interface of this host's, and what floats there.
const INNER: &str = "lan1";
const INNER_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 100));
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100));
const LEASE: Span = Span::from_millis(450);
/// What the guards may end early, and the machine may be late.
const MARGIN: Span = Span::from_millis(60);

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

macro_rules! for_guards {
    ($($name:ident),* $(,)?) => {
        mod bpf { $(#[test] fn $name() {
            if super::bpf_is_permitted() { super::$name(super::GuardChoice::Bpf); }
        })* }
        mod nft { $(#[test] fn $name() { super::$name(super::GuardChoice::Nft); })* }
        mod none { $(#[test] fn $name() { super::$name(super::GuardChoice::None); })* }
    };
}

for_guards!(
    r22_a_held_group_gets_more_addresses_and_the_old_ones_answer_all_the_time,
    r22_a_withdrawn_address_is_silent_at_once_and_the_others_go_on,
    r22_a_whole_group_comes_and_goes_beside_one_that_is_held,
    r22_an_address_moves_from_a_group_to_another,
    r22_the_next_incarnation_removes_what_came_with_a_change,
    r22_a_group_gets_an_address_on_another_interface_and_loses_it,
    r22_what_is_refused_changes_nothing,
);

fn web(addresses: &[IpAddr]) -> KernelGroup {
    group("web", addresses)
}

fn group(name: &str, addresses: &[IpAddr]) -> KernelGroup {
    KernelGroup::on(HOST, name, addresses.iter().copied())
}

fn open(lan: &Lan, guard: GuardChoice, groups: &[KernelGroup]) -> Kernel {
    let mut kernel = lan.try_open(groups.to_vec(), guard).expect("a kernel");
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    kernel
}

fn try_change(lan: &Lan, kernel: &mut Kernel, groups: &[KernelGroup]) -> Result<(), KernelError> {
    let _entered = lan.runtime.enter();
    kernel.change(groups.to_vec(), SLACK, LEASE)
}

fn change(lan: &Lan, kernel: &mut Kernel, groups: &[KernelGroup]) {
    try_change(lan, kernel, groups).expect("a change");
}

fn hold(kernel: &mut Kernel, id: u8, millis: u64) -> LocalTime {
    let deadline = boottime().plus(ms(millis));
    kernel.hold_until(GroupId(id), deadline).expect("a hold");
    deadline
}

fn sleep_until(at: LocalTime) {
    std::thread::sleep(at.since(boottime()).into());
}

/// A peer that asks for addresses all the time, every ms, in a thread of its own.
struct Peer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Asked>>,
}

/// A question: when it was asked, for which address, and whether it was answered.
type Asked = (LocalTime, IpAddr, bool);

impl Peer {
    fn asks(lan: &Lan, addresses: &[IpAddr]) -> Self {
        const FIRST: u32 = 1 << 24;
        lan.frames();
        let wire = lan.wire.try_clone().expect("the wire");
        let addresses = addresses.to_vec();
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut asked: Vec<Asked> = Vec::new();
            let hear = |asked: &mut Vec<Asked>| {
                let mut frame = [0; 2048];
                while let Ok(len) = (&wire).read(&mut frame) {
                    let to = lan::answer(&frame[..len]).and_then(|n| n.checked_sub(FIRST));
                    if let Some(to) = to.and_then(|n| asked.get_mut(n as usize)) {
                        to.2 = true;
                    }
                }
            };
            while !over.load(Ordering::Relaxed) {
                for address in &addresses {
                    let number = FIRST + u32::try_from(asked.len()).expect("not so many");
                    asked.push((boottime(), *address, false));
                    wire.send(&lan::question(*address, number))
                        .expect("a question");
                }
                std::thread::sleep(Duration::from_millis(1));
                hear(&mut asked);
            }
            std::thread::sleep(Duration::from_millis(50));
            hear(&mut asked);
            asked
        });
        Self { stop, thread }
    }

    fn said(self) -> Said {
        self.stop.store(true, Ordering::Relaxed);
        Said(self.thread.join().expect("the peer"))
    }
}

/// What the peer asked, and whether it was answered.
struct Said(Vec<Asked>);

impl Said {
    fn answers(&self, address: IpAddr, from: LocalTime, to: LocalTime) -> Vec<bool> {
        let asked = self
            .0
            .iter()
            .filter(|(at, of, _)| *of == address && from <= *at && *at < to);
        asked.map(|(_, _, answered)| *answered).collect()
    }

    /// When the first question was asked that was answered, from an instant on: Linux hears the
    /// neighbours of a new IPv6 address a moment after it has the address.
    fn first_answer(&self, address: IpAddr, from: LocalTime) -> LocalTime {
        let mut asked = self.0.iter();
        let first = asked.find(|(at, of, answered)| *of == address && from <= *at && *answered);
        first.expect("an answer").0
    }

    fn assert_all(&self, address: IpAddr, from: LocalTime, to: LocalTime) {
        let answers = self.answers(address, from, to);
        let silent = answers.iter().filter(|answered| !**answered).count();
        println!(
            "{address}: {} questions, {silent} not answered",
            answers.len()
        );
        assert!(
            answers.len() > 10 && silent == 0,
            "{address}: {silent} of {}",
            answers.len()
        );
    }

    fn assert_none(&self, address: IpAddr, from: LocalTime, to: LocalTime) {
        assert!(self.answers(address, from, to).len() > 10);
        self.assert_none_of(address, from, to);
    }

    /// However few there are.
    fn assert_none_of(&self, address: IpAddr, from: LocalTime, to: LocalTime) {
        let answers = self.answers(address, from, to);
        let answered = answers.iter().filter(|answered| **answered).count();
        assert!(answered == 0, "{address}: {answered} of {}", answers.len());
    }
}

/// Somebody removed an address, or a route, say events: nobody did.
fn assert_nothing_put_back(events: &[KernelEvent]) {
    let back = |e: &&KernelEvent| {
        matches!(
            e,
            KernelEvent::AddressPutBack { .. } | KernelEvent::RoutePutBack { .. }
        )
    };
    assert_eq!(events.iter().find(back), None);
}

/// What the next incarnation will find written down.
fn is_written(lan: &Lan, address: IpAddr) -> bool {
    let path = lan.state.join("onehold-test.gate");
    let text = std::fs::read_to_string(path).expect("what is guarded, written down");
    text.lines()
        .any(|line| line == format!("address {address}"))
}

fn r22_a_held_group_gets_more_addresses_and_the_old_ones_answer_all_the_time(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[web(&[A, A6])]);
    hold(&mut kernel, 0, 20_000);
    assert!(lan.answers(A) && lan.answers(A6) && !is_written(&lan, B));
    let start = boottime();
    let peer = Peer::asks(&lan, &[A, A6, B, B6, OWN.into()]);
    std::thread::sleep(Duration::from_millis(100));
    change(&lan, &mut kernel, &[web(&[A, A6, B, B6])]);
    assert!(
        is_written(&lan, B) && is_written(&lan, B6),
        "before it is anywhere"
    );
    assert_nothing_put_back(&lan.events_of(&mut kernel, ms(200)));
    assert!(!lan.has(B) && !lan.has(B6), "they come with the next hold");
    let before = boottime();
    let deadline = hold(&mut kernel, 0, 900);
    let held = boottime();
    println!(
        "{guard:?}: the first hold with both took {}",
        held.since(before)
    );
    lan.events_of(&mut kernel, ms(100)); // a refresh, in which nobody meddles
    sleep_until(deadline.plus(ms(200)));
    let end = boottime();
    let said = peer.said();
    let safe = LocalTime::from_nanos(deadline.as_nanos() - MARGIN.as_nanos());
    for old in [A, A6] {
        said.assert_all(old, start, safe);
    }
    for new in [B, B6] {
        said.assert_none(new, start, before);
        said.assert_all(new, said.first_answer(new, held), safe);
    }
    if guard != GuardChoice::None {
        for mute in [A, A6, B, B6] {
            said.assert_none(mute, deadline.plus(SLACK), end);
        }
    }
    assert_eq!(kernel.eligible(GROUP), Ok(()));
    kernel.close().expect("an end");
    assert!(!lan.has(A) && !lan.has(B) && !lan.has(B6));
}

fn r22_a_withdrawn_address_is_silent_at_once_and_the_others_go_on(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[web(&[A, A6, B, B6])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(A) && lan.answers(B) && lan.answers(B6));
    let start = boottime();
    let peer = Peer::asks(&lan, &[A, A6, B, B6]);
    std::thread::sleep(Duration::from_millis(50));
    kernel.withdraw(&[B, B6]).expect("they leave");
    let left = boottime();
    assert!(!lan.has(B) && !lan.has(B6));
    assert_nothing_put_back(&lan.events_of(&mut kernel, ms(200)));
    hold(&mut kernel, 0, 60_000);
    kernel.withdraw(&[B, B6]).expect("once more");
    std::thread::sleep(Duration::from_millis(100));
    let end = boottime();
    let said = peer.said();
    for remaining in [A, A6] {
        said.assert_all(remaining, start, end);
    }
    for withdrawn in [B, B6] {
        said.assert_none(withdrawn, left, end);
    }
    assert!(!lan.has(B) && !lan.has(B6), "nothing puts them back");
    let host = lan.host().index;
    if guard != GuardChoice::None {
        assign(&mut lan.route, host, B, 32);
        assert!(lan.mute(B), "as long as it may come back");
        lan::unassign(&mut lan.route, host, B, 32);
    }
    assert!(is_written(&lan, B));
    change(&lan, &mut kernel, &[web(&[A, A6])]);
    hold(&mut kernel, 0, 60_000);
    assert!(!is_written(&lan, B) && is_written(&lan, A));
    assign(&mut lan.route, host, B, 32);
    assert!(lan.answers(B), "it is none of our business any more");
    assert!(lan.answers(A));
    kernel.close().expect("an end");
}

fn r22_a_whole_group_comes_and_goes_beside_one_that_is_held(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(A));
    let start = boottime();
    let peer = Peer::asks(&lan, &[A]);
    // The one that is held gets another number.
    change(&lan, &mut kernel, &[group("api", &[B]), web(&[A])]);
    let events = lan.events_of(&mut kernel, ms(100));
    let told = KernelEvent::Eligible {
        group: GroupId(0),
        eligible: Ok(()),
    };
    assert!(events.contains(&told), "{events:?}");
    assert_nothing_put_back(&events);
    assert!(!lan.has(B), "it was only tried out");
    hold(&mut kernel, 1, 60_000);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.has(A) && lan.has(B));
    kernel.withdraw(&[B]).expect("all of it leaves");
    assert!(!lan.has(B));
    assert_nothing_put_back(&lan.events_of(&mut kernel, ms(100)));
    change(&lan, &mut kernel, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    lan.events_of(&mut kernel, ms(100));
    let end = boottime();
    peer.said().assert_all(A, start, end);
    assert!(lan.has(A) && !lan.has(B) && !is_written(&lan, B));
    kernel.release(GROUP).expect("a release");
    assert!(!lan.has(A));
    kernel.close().expect("an end");
}

fn r22_an_address_moves_from_a_group_to_another(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[group("api", &[A, B]), web(&[A6])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(B));
    kernel.withdraw(&[B]).expect("it leaves");
    change(&lan, &mut kernel, &[group("api", &[A]), web(&[A6, B])]);
    lan.events_of(&mut kernel, ms(100));
    hold(&mut kernel, 0, 60_000);
    assert!(!lan.has(B), "its new group is not held");
    hold(&mut kernel, 1, 60_000);
    assert!(lan.answers(A) && lan.answers(A6) && lan.answers(B));
    kernel.release(GroupId(0)).expect("a release");
    assert!(!lan.has(A) && lan.answers(B) && lan.answers(A6));
    // Without a word before: it is withdrawn all the same.
    change(&lan, &mut kernel, &[group("api", &[A, B]), web(&[A6])]);
    assert!(!lan.has(B));
    hold(&mut kernel, 1, 60_000);
    assert!(!lan.has(B) && lan.answers(A6));
    kernel.close().expect("an end");
}

fn r22_the_next_incarnation_removes_what_came_with_a_change(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[web(&[A])]);
    change(&lan, &mut kernel, &[web(&[A, B]), group("x", &[B6])]);
    hold(&mut kernel, 0, 1_000);
    let deadline = hold(&mut kernel, 1, 1_000);
    assert!(lan.answers(B) && lan.answers(B6));
    drop(kernel); // as if it had crashed
    assert!(lan.has(B) && lan.has(B6), "a dead holder removes nothing");
    let mut kernel = lan.try_open(vec![web(&[A])], guard).expect("a kernel");
    if guard != GuardChoice::None {
        assert!(
            boottime() < deadline && lan.mute(B) && lan.mute(B6),
            "at once"
        );
    }
    kernel.scrub().expect("a clean start");
    assert!(!lan.has(A) && !lan.has(B) && !lan.has(B6));
    hold(&mut kernel, 0, 1_000);
    assert!(lan.answers(A) && !is_written(&lan, B));
    kernel.close().expect("an end");
}

fn two_cables() -> Lan {
    let mut lan = Lan::new();
    lan.cable(INNER, "peer1");
    let index = find(&mut lan.route, INNER).expect("it").index;
    assign(
        &mut lan.route,
        index,
        "10.1.0.1".parse().expect("an address"),
        24,
    );
    lan
}

fn r22_a_group_gets_an_address_on_another_interface_and_loses_it(guard: GuardChoice) {
    let mut lan = two_cables();
    let both = |link_local: bool| {
        let mut group = web(&[A]);
        group.addresses.push((INNER_VIP, INNER.into()));
        if link_local {
            group.addresses.push((LINK_LOCAL, INNER.into()));
        }
        group
    };
    for link_local in [false, true] {
        // Where a link-local address floats, the gate does otherwise on a group's interface.
        let first = if link_local {
            web(&[A, LINK_LOCAL])
        } else {
            web(&[A])
        };
        let mut with_both = both(link_local);
        with_both
            .addresses
            .extend(first.addresses[1..].iter().cloned());
        let mut kernel = open(&lan, guard, std::slice::from_ref(&first));
        hold(&mut kernel, 0, 60_000);
        lan.listen_to("peer0");
        assert!(lan.answers(A));
        let start = boottime();
        let peer = Peer::asks(&lan, &[A]);
        change(&lan, &mut kernel, &[with_both]);
        assert_nothing_put_back(&lan.events_of(&mut kernel, ms(100)));
        hold(&mut kernel, 0, 60_000);
        let end = boottime();
        peer.said().assert_all(A, start, end);
        lan.listen_to("peer1");
        assert!(lan.answers(INNER_VIP));
        assert!(!link_local || lan.answers(LINK_LOCAL));
        // Claims are heard there, and announcements said.
        lan.events(&mut kernel);
        let mut frame = lan::question(INNER_VIP, 0);
        frame[28..32].copy_from_slice(&[10, 1, 0, 100]);
        lan.wire.send(&frame).expect("a claim");
        let claim = lan.wait(&mut kernel, |e| {
            matches!(e, KernelEvent::ForeignClaim { .. })
        });
        assert!(
            matches!(
                claim,
                KernelEvent::ForeignClaim {
                    address: INNER_VIP,
                    ..
                }
            ),
            "{claim:?}"
        );
        lan.listen_to("peer0");
        let start = boottime();
        let peer = Peer::asks(&lan, &[A]);
        let gone = if link_local {
            vec![INNER_VIP, LINK_LOCAL]
        } else {
            vec![INNER_VIP]
        };
        kernel.withdraw(&gone).expect("they leave");
        change(&lan, &mut kernel, &[first]);
        assert_nothing_put_back(&lan.events_of(&mut kernel, ms(1_200)));
        hold(&mut kernel, 0, 60_000);
        let end = boottime();
        peer.said().assert_all(A, start, end);
        assert!(!lan.has(INNER_VIP));
        if link_local {
            assert!(
                lan.answers(LINK_LOCAL),
                "it came back where it still floats"
            );
            let inner = find(&mut lan.route, INNER).expect("it").index;
            assign(&mut lan.route, inner, LINK_LOCAL, 128);
            hold(&mut kernel, 0, 1);
            std::thread::sleep(Duration::from_millis(20));
            lan.listen_to("peer1");
            assert!(lan.answers(LINK_LOCAL), "it is another one there");
            lan::unassign(&mut lan.route, inner, LINK_LOCAL, 128);
        }
        kernel.close().expect("an end");
    }
}

fn r22_what_is_refused_changes_nothing(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = open(&lan, guard, &[web(&[A])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(A));
    let start = boottime();
    let peer = Peer::asks(&lan, &[A, OWN.into()]);
    let why = try_change(&lan, &mut kernel, &[web(&[A, OWN.into()])]);
    let why = why.expect_err("its own address").to_string();
    assert!(why.contains("this host lives by"), "{why}");
    if guard != GuardChoice::None {
        let why = try_change(&lan, &mut kernel, &[web(&[A, B, LINK_LOCAL])]);
        let why = why.expect_err("other programs").to_string();
        assert!(
            why.contains("link-local") && why.contains("restart"),
            "{why}"
        );
        let _entered = lan.runtime.enter();
        let why = kernel.change(vec![web(&[A, B])], ms(0), LEASE);
        assert!(
            why.expect_err("too late")
                .to_string()
                .contains("guard_slack")
        );
    }
    assert!(!is_written(&lan, B) && !is_written(&lan, OWN.into()));
    lan.events_of(&mut kernel, ms(100));
    hold(&mut kernel, 0, 60_000);
    let end = boottime();
    let said = peer.said();
    said.assert_all(A, start, end);
    said.assert_all(OWN.into(), start, end);
    assert!(!lan.has(B));
    change(&lan, &mut kernel, &[web(&[A, B])]);
    hold(&mut kernel, 0, 60_000);
    assert!(lan.answers(B), "what is fine is done");
    kernel.close().expect("an end");
}

#[test]
fn r22_a_standbys_new_addresses_are_tried_out_and_mute() {
    for guard in [GuardChoice::Bpf, GuardChoice::Nft] {
        if guard == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let mut lan = Lan::new();
        let mut kernel = open(&lan, guard, &[web(&[A])]);
        let host = lan.host().index;
        assign(&mut lan.route, host, B, 32);
        assert!(lan.answers(B), "it is not guarded yet");
        let edge: IpAddr = "10.0.0.255".parse().expect("an address");
        change(&lan, &mut kernel, &[web(&[A, B, edge])]);
        assert!(lan.mute(B));
        let refused = |e: &KernelEvent| matches!(e, KernelEvent::Whole { whole: Err(_), .. });
        let event = lan.wait(&mut kernel, refused);
        assert!(format!("{event:?}").contains("broadcast"), "{event:?}");
        change(&lan, &mut kernel, &[web(&[A, B])]);
        lan.wait(&mut kernel, |e| {
            matches!(e, KernelEvent::Whole { whole: Ok(()), .. })
        });
        hold(&mut kernel, 0, 60_000);
        assert!(lan.answers(A) && lan.answers(B));
        kernel.release(GROUP).expect("a release");
        assert!(lan.has(B) && lan.mute(B), "it is theirs");
        kernel.close().expect("an end");
    }
}

/// `cargo test -p onehold --test changes -- --nocapture a_thousand` prints how long it takes.
#[test]
fn r22_a_thousand_addresses_get_one_more() {
    let n = u16::try_from(MAX_ADDRESSES).expect("not so many") - 1;
    // An eighth of them IPv6, for which Linux takes far longer.
    let nth = |n: u16| match n % 8 {
        0 => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, n)),
        _ => IpAddr::from(Ipv4Addr::from_bits(0x0a00_4000 + u32::from(n))),
    };
    let all: Vec<IpAddr> = (0..n).map(nth).collect();
    for guard in [GuardChoice::Bpf, GuardChoice::Nft, GuardChoice::None] {
        if guard == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let mut lan = Lan::new();
        let mut kernel = open(&lan, guard, &[web(&all)]);
        hold(&mut kernel, 0, 4_000); // so near that the addresses need not be renewed
        lan.come(&mut kernel, &all);
        let peer = Peer::asks(&lan, &[all[0], all[999]]);
        let start = boottime();
        change(&lan, &mut kernel, &[web(&[&all[..], &[B]].concat())]);
        let changed = boottime();
        hold(&mut kernel, 0, 4_000);
        let held = boottime();
        kernel.withdraw(&[B]).expect("it leaves");
        let left = boottime();
        println!(
            "{guard:?}: change {}, hold {}, withdrawal {}",
            changed.since(start),
            held.since(changed),
            left.since(held)
        );
        let said = peer.said();
        said.assert_all(all[0], start, left);
        said.assert_all(all[999], start, left);
        // And all of them for others.
        let others: Vec<IpAddr> = (0..n).map(|i| nth(i + 2_000)).collect();
        change(&lan, &mut kernel, &[web(&others)]);
        hold(&mut kernel, 0, 60_000);
        lan.come(&mut kernel, &others);
        assert!(lan.answers(others[0]) && lan.answers(others[999]) && !lan.has(all[0]));
        kernel.close().expect("an end");
    }
}

//! As many addresses as a configuration may have.

use super::{lan, ms};
use lan::{GROUP, Lan, bpf_is_permitted};
use onehold::kernel::{GuardChoice, boottime};
use onehold_core::config::MAX_ADDRESSES;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An eighth of them IPv6, for which Linux takes far longer.
fn addresses() -> Vec<IpAddr> {
    let n = u16::try_from(MAX_ADDRESSES).expect("not so many");
    let v4 = |n: u16| Ipv4Addr::from_bits(0x0a00_4000 + u32::from(n)).into();
    let v6 = |n| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 1, n).into();
    (0..n - n / 8).map(v4).chain((0..n / 8).map(v6)).collect()
}

fn all_are_held_and_let_go(guard: GuardChoice) {
    let mut lan = Lan::new();
    let all = addresses();
    let mut kernel = lan.open_for(guard, &all, ms(60_000));
    kernel.scrub().expect("a clean start");
    let name = format!("{guard:?}").to_lowercase();
    assert_eq!(kernel.guard_name(), name);
    let start = boottime();
    let until = |millis| boottime().plus(ms(millis));
    kernel.hold_until(GROUP, until(30_000)).expect("a hold");
    let held = boottime();
    lan.come(&mut kernel, &all);
    let there = boottime();
    kernel.hold_until(GROUP, until(30_000)).expect("a renewal");
    let renewed = boottime();
    println!(
        "{guard:?}: hold {}, the others {} later, renewal {}",
        held.since(start),
        there.since(held),
        renewed.since(there)
    );
    // Their lifetimes are renewed, some in a turn, before they end.
    let lifetimes = |lan: &mut Lan| -> Vec<u32> {
        let there = lan.addresses();
        let of = |address: &IpAddr| there.iter().find(|a| a.address == *address);
        let all = all
            .iter()
            .map(|address| of(address).and_then(|a| a.lifetime));
        all.map(|left| left.expect("it is there, and ours"))
            .collect()
    };
    lan.events_of(&mut kernel, ms(4_000));
    let least = lifetimes(&mut lan).into_iter().min();
    kernel.hold_until(GROUP, until(90_000)).expect("a hold");
    lan.events_of(&mut kernel, ms(1_000));
    let most = lifetimes(&mut lan).into_iter().min();
    assert!(
        least < most,
        "of each, {least:?} s were left, and are {most:?}"
    );
    let some = [
        all[0],
        all[all.len() / 2],
        all[all.len() * 7 / 8],
        all[all.len() - 1],
    ];
    for address in some {
        assert!(lan.answers(address), "{address}");
    }
    let deadline = until(1_000);
    kernel.hold_until(GROUP, deadline).expect("a shorter hold");
    std::thread::sleep(deadline.plus(lan::SLACK).since(boottime()).into());
    for address in some {
        assert!(lan.mute(address), "{address}");
    }
    // The next incarnation finds them all, though none is in its configuration.
    drop(kernel);
    let mut kernel = lan.open(guard);
    kernel.scrub().expect("a clean start");
    assert!(all.iter().all(|address| !lan.has(*address)));
    kernel.close().expect("an end");
}

#[test]
fn with_bpf_all_are_held_and_let_go() {
    if bpf_is_permitted() {
        all_are_held_and_let_go(GuardChoice::Bpf);
    }
}

#[test]
fn with_nft_all_are_held_and_let_go() {
    all_are_held_and_let_go(GuardChoice::Nft);
}

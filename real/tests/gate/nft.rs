//! What is peculiar to the gate of nftables.

use super::lan::{GROUP, HOST, Lan, VIP, assign};
use super::{VIPS, ms};
use onehold::kernel::{GuardChoice, KernelEvent, boottime};
use std::process::Command;
use std::time::Duration;

/// A vote that comes when hardly anything is left of the lease that it gives: it gains nothing, and
/// costs nothing.
#[test]
fn a_renewal_that_comes_too_late_leaves_the_hold_as_it_is() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel.scrub().expect("a clean start");
    let early = kernel.guard_in_force().ends_early;
    let deadline = boottime().plus(ms(1_500));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    kernel
        .hold_until(GROUP, boottime().plus(ms(2)))
        .expect("nothing");
    let (answered, _) = lan.probe(&VIPS, deadline.plus(ms(100)));
    for answered in &answered {
        let last = answered.iter().max().expect("it answers");
        assert!(*last < deadline, "R-8");
        assert!(
            last.plus(ms(1_000)) > deadline,
            "it ends when it would have"
        );
    }
    // But what can't be held at all is refused, with the reason.
    let why = kernel.hold_until(GROUP, boottime().plus(ms(2)));
    let why = why.expect_err("too late").to_string();
    assert!(
        why.contains(&format!("the nft guard takes {early}")),
        "{why}"
    );
}

/// A chain belongs to the name of its interface (since Linux 6.16).
#[test]
fn an_interface_that_was_renamed_to_and_fro_is_gated() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    let rename = |from: &str, to: &str| {
        // Down meanwhile, as it had to be before Linux 6.2.
        for change in [["down"].as_slice(), &["name", to]] {
            let done = Command::new("ip")
                .args(["link", "set", from])
                .args(change)
                .status();
            assert!(done.expect("`ip` of iproute2").success());
        }
        let done = Command::new("ip").args(["link", "set", to, "up"]).status();
        assert!(done.expect("`ip` of iproute2").success());
    };
    let host = lan.host().index;
    assign(&mut lan.route, host, VIP.into(), 24);
    assert!(lan.mute(VIP));
    rename(HOST, "other0");
    rename("other0", HOST);
    assert!(lan.mute(VIP), "before anybody has looked");
    rename(HOST, "other0");
    lan.wait(&mut kernel, |e| {
        matches!(
            e,
            KernelEvent::Eligible {
                eligible: Err(_),
                ..
            }
        )
    });
    rename("other0", HOST);
    lan.wait(&mut kernel, |e| {
        matches!(
            e,
            KernelEvent::Eligible {
                eligible: Ok(()),
                ..
            }
        )
    });
    std::thread::sleep(Duration::from_millis(20));
    assert!(lan.mute(VIP));
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP));
}

/// All rules go to the kernel in one message, which must fit its buffer.
#[test]
fn a_host_with_a_hundred_interfaces_is_gated_on_each() {
    const MORE: usize = 100;
    let mut lan = Lan::new();
    (0..MORE).for_each(|n| lan.cable(&format!("more{n}"), &format!("there{n}")));
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel.scrub().expect("a clean start");
    let alarms = lan.events(&mut kernel).into_iter().find_map(|e| match e {
        KernelEvent::Alarms(alarms) => Some(alarms),
        _ => None,
    });
    assert_eq!(alarms, None);
    let list = Command::new("nft").args(["list", "ruleset"]).output();
    let list = String::from_utf8(list.expect("`nft`").stdout).expect("text");
    for n in 0..MORE {
        let hooks = list.matches(&format!("device \"more{n}\"")).count();
        assert_eq!(hooks, 2, "more{n}");
    }
    // And it mutes there.
    lan.listen_to("there99");
    let index = lan.host().index;
    assign(&mut lan.route, index, VIP.into(), 24);
    assert!(lan.mute(VIP));
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP));
    drop(kernel);
    let mut kernel = lan.open(GuardChoice::Nft); // over what is there
    kernel.scrub().expect("a clean start");
    assert!(lan.mute(VIP));
    kernel.close().expect("an end");
}

/// Before Linux 6.16 the kernel refuses a table for interfaces of which one has gone: the group's
/// own has its gate all the same. (From 6.16 on nothing is refused, and this can't fail.)
#[test]
fn another_interface_that_goes_costs_the_groups_nothing() {
    let mut lan = Lan::new();
    lan.cable("other0", "there0");
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    let done = Command::new("ip").args(["link", "del", "other0"]).status();
    assert!(done.expect("`ip` of iproute2").success());
    lan.unplug();
    lan.plug();
    let events = lan.events_of(&mut kernel, ms(200)); // less than until it is tried again
    assert_eq!(kernel.eligible(GROUP), Ok(()), "{events:?}");
    let index = lan.host().index;
    assign(&mut lan.route, index, VIP.into(), 24);
    assert!(lan.mute(VIP));
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP));
}

/// Since Linux 6.16 a chain would outlive its interface.
#[test]
fn what_hung_on_an_interface_goes_with_it() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel.scrub().expect("a clean start");
    let until = boottime().plus(ms(60_000));
    kernel.hold_until(GROUP, until).expect("a hold");
    let chains = || {
        let list = Command::new("nft").args(["list", "ruleset"]).output();
        let list = String::from_utf8(list.expect("`nft`").stdout).expect("text");
        list.matches("hook ").count()
    };
    lan.events(&mut kernel);
    let before = chains();
    lan.cable("other0", "there0");
    lan.events_of(&mut kernel, ms(300));
    assert_eq!(chains(), before + 2);
    assert!(lan.answers(VIP), "what is held stays so");
    let done = Command::new("ip").args(["link", "del", "other0"]).status();
    assert!(done.expect("`ip` of iproute2").success());
    lan.events_of(&mut kernel, ms(300));
    assert_eq!(chains(), before);
}

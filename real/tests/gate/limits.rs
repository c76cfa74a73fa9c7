//! What the gate does not help with: it is an alarm.

use super::lan::{GROUP, HOST, Lan, VIP};
use super::ms;
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, boottime};
use std::process::Command;

fn sh(script: &str) {
    let done = Command::new("sh").args(["-ec", script]).status();
    assert!(done.expect("a shell").success(), "{script}");
}

/// The next alarms that are told.
fn alarms(lan: &Lan, kernel: &mut Kernel) -> String {
    match lan.wait(kernel, |e| matches!(e, KernelEvent::Alarms(_))) {
        KernelEvent::Alarms(alarms) => alarms.join("\n"),
        other => unreachable!("{other:?}"),
    }
}

/// A shaper behind the gate sends answers long after the lease that they were given in. This is
/// measured, for nobody but the operator can mend it.
#[test]
fn a_queue_that_keeps_frames_is_an_alarm() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    let tbf = format!("dev {HOST} root tbf rate 8kbit burst 100 limit 4000");
    sh(&format!("tc qdisc add {tbf}"));
    let alarm = alarms(&lan, &mut kernel);
    assert!(alarm.contains("lan0: its queue (tbf) may keep"), "{alarm}");

    let deadline = boottime().plus(ms(1_500));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    lan.probe(&[VIP.into()], deadline);
    let mut last = deadline;
    while boottime() < deadline.plus(ms(5_000)) {
        let answers = |f: &Vec<u8>| f.get(12..14) == Some(&[8, 6]) && f[28..32] == VIP.octets();
        if lan.frames().iter().any(answers) {
            last = boottime();
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    println!(
        "the last answer left {} after the lease",
        last.since(deadline)
    );
    assert!(
        last > deadline.plus(ms(20)),
        "then docs/src/safety.md says too much"
    );

    sh(&format!("tc qdisc del {tbf}"));
    assert_eq!(alarms(&lan, &mut kernel), "");
}

#[test]
fn with_nft_a_member_that_routes_is_an_alarm() {
    let lan = Lan::new();
    sh("ip link add a0 type veth peer name b0
        ip link set a0 up
        ip link set b0 up
        sysctl -qw net.ipv4.ip_forward=1");
    let mut kernel = lan.open(GuardChoice::Nft);
    let alarm = alarms(&lan, &mut kernel);
    assert!(
        alarm.contains("the nft guard drops what passes through"),
        "{alarm}"
    );
}

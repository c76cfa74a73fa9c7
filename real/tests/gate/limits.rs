//! What the gate does not help with: it is an alarm.

use super::lan::{GROUP, HOST, Lan, OWN, VIP, bpf_is_permitted};
use super::ms;
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, boottime};
use std::net::Ipv6Addr;
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

/// What a frame leaves by has queues of its own: a shaper is on the card, and the group on the
/// bridge.
#[test]
fn a_queue_that_keeps_frames_below_the_interface_is_an_alarm() {
    let lan = Lan::new();
    sh(&format!(
        "ip link add br0 up type bridge
         ip link set {HOST} master br0
         tc qdisc add dev {HOST} root tbf rate 8kbit burst 100 limit 4000"
    ));
    let address = VIP.into();
    let group = KernelGroup::on("br0", "web", [address]);
    let kernel = lan.try_open(vec![group], GuardChoice::Auto);
    let alarm = alarms(&lan, &mut kernel.expect("a kernel"));
    let named = "br0: the queue of lan0, by which it sends, (tbf) may keep";
    assert!(alarm.contains(named), "{alarm}");
}

/// Whether it can be held here, the next time that this changes.
fn eligible(lan: &Lan, kernel: &mut Kernel) -> Result<(), String> {
    match lan.wait(kernel, |e| matches!(e, KernelEvent::Eligible { .. })) {
        KernelEvent::Eligible { eligible, .. } => eligible,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn on_an_interface_where_nobody_is_answered_nothing_is_held() {
    let lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    assert_eq!(eligible(&lan, &mut kernel), Ok(()));
    sh("ip link add br0 type bridge");
    sh(&format!("ip link set {HOST} master br0"));
    let said = eligible(&lan, &mut kernel).expect_err("its bridge is down");
    assert!(said.contains("what it is a part of is down"), "{said}");
    sh(&format!("ip link set {HOST} nomaster"));
    assert_eq!(eligible(&lan, &mut kernel), Ok(()));
}

/// Another interface may answer for it, or routers may bring its packets: it is held all the same.
#[test]
fn an_interface_that_answers_no_arp_is_an_alarm() {
    let lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    assert_eq!(eligible(&lan, &mut kernel), Ok(()));
    sh(&format!("ip link set {HOST} arp off"));
    let alarm = alarms(&lan, &mut kernel);
    assert!(alarm.contains("neither asks nor answers by ARP"), "{alarm}");
    assert_eq!(kernel.eligible(GROUP), Ok(()));
}

/// It takes what is for the address, says the kernel; but not what comes in where its clients are.
#[test]
fn a_holder_that_takes_nothing_from_its_network_is_an_alarm() {
    let lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    kernel.scrub().expect("a clean start");
    let until = boottime().plus(ms(60_000));
    kernel.hold_until(GROUP, until).expect("a hold");
    let all: Vec<KernelEvent> = lan.events_of(&mut kernel, ms(1_500));
    let alarm = |e: &&KernelEvent| matches!(e, KernelEvent::Alarms(all) if !all.is_empty());
    assert_eq!(all.iter().find(alarm), None);
    sh(&format!(
        "ip rule add pref 100 lookup local
         ip rule del pref 0
         ip rule add pref 5 iif {HOST} to {VIP} blackhole
         ip link set {HOST} alias changed"
    ));
    let alarm = alarms(&lan, &mut kernel);
    let remedy = format!("`ip route get {VIP} from 10.0.0.101 iif {HOST}` says why");
    assert!(alarm.contains(&remedy), "{alarm}");
}

/// The gateway of each network is `fe80::1`: that of another interface is none of this cluster's.
#[test]
fn a_link_local_address_is_mute_on_its_interface_only() {
    const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for guard in [GuardChoice::Bpf, GuardChoice::Nft] {
        if guard == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let mut lan = Lan::new();
        lan.cable("other0", "there0"); // before the gate comes, and after
        let mut kernel = lan.open_with(guard, &[GATEWAY.into(), VIP.into()]);
        kernel.scrub().expect("a clean start");
        lan.events(&mut kernel);
        lan.cable("other1", "there1");
        lan.events_of(&mut kernel, ms(300));
        for name in ["other0", "other1", HOST] {
            sh(&format!("ip address add {GATEWAY}/64 dev {name} nodad"));
        }
        sh(&format!("ip address add {VIP}/32 dev {HOST}"));
        for there in ["there0", "there1"] {
            lan.listen_to(there);
            assert!(lan.answers(GATEWAY), "{guard:?}: {there}");
            assert!(lan.mute(VIP), "{guard:?}: {there}");
        }
        lan.listen_to("peer0");
        assert!(lan.mute(GATEWAY) && lan.mute(VIP), "{guard:?}");
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a hold");
        assert!(lan.answers(GATEWAY) && lan.answers(VIP), "{guard:?}");
        kernel.close().expect("an end");
        assert_eq!(lan.rows().unwrap_or_default(), [0, 0]);
    }
}

/// One that is named as a group's interface from now on mutes what it let pass before.
#[test]
fn an_interface_that_becomes_a_groups_mutes_its_link_local_address() {
    const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    for guard in [GuardChoice::Bpf, GuardChoice::Nft] {
        if guard == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let mut lan = Lan::new();
        lan.cable("other0", "there0");
        let mut kernel = lan.open_with(guard, &[GATEWAY.into(), VIP.into()]);
        kernel.scrub().expect("a clean start");
        lan.events(&mut kernel);
        lan.listen_to("there0");
        sh(&format!(
            "ip link set {HOST} down
                     ip link set {HOST} name was0
                     ip link set other0 down
                     ip link set other0 name {HOST}
                     ip link set {HOST} up"
        ));
        lan.events_of(&mut kernel, ms(500));
        sh(&format!(
            "ip address replace {GATEWAY}/64 dev {HOST} nodad
                     ip address add {OWN}/24 dev {HOST}"
        ));
        assert!(lan.mute(GATEWAY), "{guard:?}");
    }
}

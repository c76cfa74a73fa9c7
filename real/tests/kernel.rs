//! The guard, addresses, announcements and events on this machine's kernel, as a peer on the same
//! LAN sees them. Needs root; makes its own network namespaces and leaves none.
#![allow(missing_docs, unsafe_code)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{
    GROUP, HOST, Lan, OWN, SLACK, VIP, VIP6, assign, bpf_is_permitted, find, set_up, unassign,
};
use onehold::kernel::{GuardChoice, KernelEvent, boottime};
use onehold_core::time::{LocalTime, Span};
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// Each test of the guard runs with both.
macro_rules! for_both_guards {
    ($($name:ident),* $(,)?) => {
        mod bpf { $(#[test] fn $name() {
            if super::bpf_is_permitted() { super::$name(super::GuardChoice::Bpf); }
        })* }
        mod nft { $(#[test] fn $name() { super::$name(super::GuardChoice::Nft); })* }
    };
}

for_both_guards!(
    it_answers_until_its_deadline_and_not_after,
    a_dead_or_stopped_holder_falls_silent_on_time,
    a_holder_stopped_inside_a_renewal_gains_nothing,
    a_released_address_is_gone_and_mute,
    close_leaves_nothing,
    a_removed_address_is_put_back,
    an_address_that_waits_mute_is_put_back,
    the_interface_may_come_late_go_and_come_back,
    a_standby_can_be_a_client_of_the_holder,
    announcements_reach_the_peer_and_end_with_the_lease,
    tags_do_not_open_the_gate,
);

/// Whether the kernel tells that the group can be held, or that it can't.
fn told(yes: bool) -> impl Fn(&KernelEvent) -> bool {
    move |e| matches!(e, KernelEvent::Eligible { eligible, .. } if eligible.is_ok() == yes)
}

/// What the peer asked after the deadline and got an answer to.
fn assert_silent_after(deadline: LocalTime, answered: &[LocalTime]) {
    let late: Vec<Span> = answered
        .iter()
        .filter(|at| **at >= deadline.plus(SLACK))
        .map(|at| at.since(deadline))
        .collect();
    assert!(
        late.is_empty(),
        "R-8: answered questions asked {late:?} after the deadline"
    );
}

fn it_answers_until_its_deadline_and_not_after(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    kernel.scrub().expect("a clean start");
    for _ in 0..3 {
        let deadline = boottime().plus(ms(400));
        kernel.hold_until(GROUP, deadline).expect("a hold");
        let all = [VIPS[0], VIPS[1], OWN.into()];
        let (answered, asked) = lan.probe(&all, deadline.plus(ms(200)));
        for (address, answered) in VIPS.iter().zip(&answered) {
            assert!(
                !answered.is_empty(),
                "{address} must answer before the deadline"
            );
            assert_silent_after(deadline, answered);
            let last = answered.iter().max().expect("an answer");
            println!(
                "{guard:?} {address}: asked {asked}, last answer to a question asked {} before the deadline",
                deadline.since(*last)
            );
        }
        assert!(
            lan.has(VIP) && lan.has(VIP6),
            "the address is there, and mute"
        );
        assert!(
            answered[2].iter().any(|at| *at >= deadline.plus(SLACK)),
            "the node's own address must go on answering"
        );
    }
    // Renewals move the deadline.
    let start = boottime();
    while boottime() < start.plus(ms(600)) {
        kernel
            .hold_until(GROUP, boottime().plus(ms(400)))
            .expect("a renewal");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(lan.answers(VIP) && lan.answers(VIP6));
}

/// Run in a process of its own by the test below: holds once, says until when, and waits.
#[test]
#[ignore = "a process that another test starts and kills"]
fn child_that_holds() {
    let guard = match std::env::var("ONEHOLD_TEST_GUARD").as_deref() {
        Ok("Bpf") => GuardChoice::Bpf,
        Ok("Nft") => GuardChoice::Nft,
        _ => return,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("tokio");
    let _entered = runtime.enter();
    // One of them will not be in the next incarnation's configuration.
    let addresses = [VIPS[0], VIPS[1], "10.0.0.101".parse().expect("an address")];
    let group = onehold::kernel::KernelGroup::on(HOST, "web", addresses);
    let state = std::env::var_os("ONEHOLD_TEST_STATE").expect("a place");
    let state = Path::new(&state);
    let mut kernel =
        onehold::kernel::Kernel::open("test", vec![group], guard, SLACK, ms(450), &[state])
            .expect("a kernel");
    kernel.scrub().expect("a clean start");
    let deadline = boottime().plus(ms(700));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    println!("\nuntil {}", deadline.as_nanos());
    if let Ok(path) = std::env::var("ONEHOLD_TEST_RENEW") {
        // Renews as fast as it can, until it finds that it has overslept.
        let file = std::fs::File::create(path).expect("a file");
        let mut last = deadline;
        while boottime() < last {
            last = boottime().plus(ms(200));
            file.write_all_at(&last.as_nanos().to_ne_bytes(), 0)
                .expect("the deadline, written");
            let _ = kernel.hold_until(GROUP, last);
        }
    }
    loop {
        std::thread::park(); // its test kills it
    }
}

/// A child that does not outlive its test.
struct Holder(Child);

impl Holder {
    fn send(&self, signal: i32) {
        // SAFETY: a signal to our own child, which has not been waited for.
        let sent = unsafe { libc::kill(self.0.id().cast_signed(), signal) };
        assert_eq!(sent, 0);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn spawn_holder(lan: &Lan, guard: GuardChoice, renew: Option<&Path>) -> (Holder, LocalTime) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "child_that_holds",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("ONEHOLD_TEST_GUARD", format!("{guard:?}"))
        .env("ONEHOLD_TEST_STATE", &lan.state)
        .envs(renew.map(|path| ("ONEHOLD_TEST_RENEW", path)))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let deadline = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("until ")?.parse().ok())
        .expect("the child holds");
    (Holder(child), LocalTime::from_nanos(deadline))
}

/// A relative timeout that is set late would end late: what was computed before the pause must
/// not count after it.
fn a_holder_stopped_inside_a_renewal_gains_nothing(guard: GuardChoice) {
    for round in 0..5_u64 {
        let mut lan = Lan::new();
        let name = format!("onehold-{}-{guard:?}-{round}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (child, _) = spawn_holder(&lan, guard, Some(&path));
        let written = || {
            let bytes = std::fs::read(&path).ok().and_then(|b| b.try_into().ok());
            bytes.map(|bytes| LocalTime::from_nanos(u64::from_ne_bytes(bytes)))
        };
        while written().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(lan.answers(VIP));
        std::thread::sleep(Duration::from_micros(1_000 + 777 * round));
        child.send(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(300));
        child.send(libc::SIGCONT);
        let (answered, _) = lan.probe(&VIPS, boottime().plus(ms(300)));
        let deadline = written().expect("the last deadline");
        for answered in &answered {
            assert_silent_after(deadline, answered);
        }
        drop(child);
        std::fs::remove_file(path).expect("tidying up");
    }
}

fn a_dead_or_stopped_holder_falls_silent_on_time(guard: GuardChoice) {
    let dropped: IpAddr = "10.0.0.101".parse().expect("an address");
    for signal in [libc::SIGKILL, libc::SIGSTOP] {
        let mut lan = Lan::new();
        let (child, deadline) = spawn_holder(&lan, guard, None);
        child.send(signal);
        let (answered, _) = lan.probe(&VIPS, deadline.plus(ms(200)));
        for answered in &answered {
            assert!(!answered.is_empty(), "it must answer until the deadline");
            assert_silent_after(deadline, answered);
        }
        drop(child);

        // the next incarnation, configured for fewer addresses, cleans up after that one.
        assert!(
            lan.has(VIP) && lan.has(VIP6) && lan.has(dropped),
            "a dead holder removes nothing"
        );
        let mut kernel = lan.open(guard);
        assert!(lan.mute(VIP) && lan.mute(dropped), "still mute");
        kernel.scrub().expect("a clean start");
        assert!(
            !lan.has(VIP) && !lan.has(VIP6) && !lan.has(dropped),
            "{:?}",
            lan.addresses()
        );
        assert!(lan.has(OWN));
        kernel
            .hold_until(GROUP, boottime().plus(ms(450)))
            .expect("a hold");
        assert!(lan.answers(VIP), "the new incarnation can hold");
        kernel.close().expect("an end");
        assert_eq!(lan.tables(), Vec::<String>::new());
        assert!(!lan.tc_kinds().contains(&"clsact".to_owned()));
        assert!(matches!(lan.rows(), None | Some([0, 0])));
    }
}

fn a_released_address_is_gone_and_mute(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    kernel.release(GROUP).expect("releasing what is not held");
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP) && lan.answers(VIP6));
    kernel.release(GROUP).expect("a release");
    assert!(!lan.has(VIP) && !lan.has(VIP6));
    // Even if somebody puts it there: the gate is shut.
    let host = lan.host().index;
    assign(&mut lan.route, host, VIP.into(), 32);
    assert!(lan.mute(VIP));
    kernel.release(GROUP).expect("a release again");
    assert!(
        lan.has(VIP) && !lan.has_ours(VIP) && lan.mute(VIP),
        "it is theirs"
    );
}

fn close_leaves_nothing(guard: GuardChoice) {
    let mut lan = Lan::new();
    let (kinds, addresses) = (lan.tc_kinds(), lan.ipv4());
    let mut kernel = lan.open(guard);
    kernel.scrub().expect("a clean start");
    kernel
        .hold_until(GROUP, boottime().plus(ms(450)))
        .expect("a hold");
    assert!(lan.has(VIP));
    kernel.close().expect("an end");
    assert_eq!((lan.tc_kinds(), lan.ipv4()), (kinds, addresses));
    assert!(!lan.has(VIP6));
    assert_eq!(lan.tables(), Vec::<String>::new());
    // A clsact that was there before us stays.
    lan.clsact(libc::RTM_NEWQDISC);
    lan.open(guard).close().expect("an end");
    assert!(lan.tc_kinds().contains(&"clsact".to_owned()));
}

fn a_removed_address_is_put_back(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    lan.events(&mut kernel);
    let host = lan.host().index;
    for (address, length) in [(VIPS[0], 32), (VIPS[1], 128)] {
        unassign(&mut lan.route, host, address, length);
        let event = lan.wait(&mut kernel, |e| {
            matches!(e, KernelEvent::AddressPutBack { .. })
        });
        assert_eq!(
            event,
            KernelEvent::AddressPutBack {
                group: GROUP,
                address
            }
        );
        assert!(lan.has(address) && lan.answers(address));
    }
}

fn an_address_that_waits_mute_is_put_back(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    lan.wait(&mut kernel, told(true));
    kernel.prepare(GROUP).expect("mute");
    let host = lan.host().index;
    unassign(&mut lan.route, host, VIPS[0], 32);
    lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::AddressPutBack { .. })
    });
    assert!(lan.has(VIPS[0]) && !lan.answers(VIPS[0]), "R-19");
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIPS[0]));
}

fn the_interface_may_come_late_go_and_come_back(guard: GuardChoice) {
    let mut lan = Lan::unplugged();
    let mut kernel = lan.open(guard);
    kernel.scrub().expect("a clean start");
    let event = lan.wait(&mut kernel, told(false));
    assert!(
        format!("{event:?}").contains("there is no such interface"),
        "{event:?}"
    );
    kernel
        .hold_until(GROUP, boottime().plus(ms(450)))
        .expect_err("no interface");
    for _ in 0..2 {
        lan.plug();
        lan.wait(&mut kernel, told(true));
        let host = lan.host().index;
        assign(&mut lan.route, host, VIP.into(), 32);
        assert!(lan.mute(VIP), "the gate is there before anything is held");
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a hold");
        assert!(lan.answers(VIP));
        set_up(&mut lan.route, host, false);
        let event = lan.wait(&mut kernel, told(false));
        assert!(format!("{event:?}").contains("down"), "{event:?}");
        set_up(&mut lan.route, host, true);
        lan.wait(&mut kernel, told(true));
        lan.unplug();
        lan.wait(&mut kernel, told(false));
        kernel
            .release(GROUP)
            .expect("a release without an interface");
    }
}

fn a_standby_can_be_a_client_of_the_holder(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    kernel.scrub().expect("a clean start");
    // The peer holds: this host must find it, and hear its announcements.
    let peer = find(&mut lan.peer_route, "peer0")
        .expect("the peer's interface")
        .index;
    assign(&mut lan.peer_route, peer, VIP.into(), 32);
    let client = UdpSocket::bind((OWN, 0)).expect("a client");
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a timeout");
    client.send_to(b"ping", (VIP, 4000)).expect("a question");
    let mut buf = [0; 16];
    let (_, from) = lan
        .peer_udp
        .recv_from(&mut buf)
        .expect("the question arrives");
    lan.peer_udp.send_to(b"pong", from).expect("an answer");
    client.recv_from(&mut buf).expect("the answer arrives");
    assert_eq!(&buf[..4], b"pong");
    drop(kernel);
}

fn announcements_reach_the_peer_and_end_with_the_lease(guard: GuardChoice) {
    let lan = Lan::new();
    let mut kernel = lan.open(guard);
    kernel
        .hold_until(GROUP, boottime().plus(ms(60_000)))
        .expect("a hold");
    lan.wait(&mut kernel, told(true));
    lan.frames();
    kernel.announce(GROUP, boottime());
    let ours = |frames: &[Vec<u8>]| {
        let said = |f: &Vec<u8>| match (f.get(12..14), f.get(21)) {
            (Some([8, 6]), Some(1)) if f[28..32] == VIP.octets() => Some("request"),
            (Some([8, 6]), Some(2)) if f[28..32] == VIP.octets() && f[32..38] == f[6..12] => {
                Some("reply")
            }
            (Some([0x86, 0xdd]), _) if f[22..38] == VIP6.octets() => Some("advertisement"),
            _ => None,
        };
        frames.iter().filter_map(said).collect::<Vec<_>>()
    };
    // One burst may be lost, while the kernel opens the new interface's queue: it is repeated.
    let (mut frames, start) = (Vec::new(), boottime());
    let said = |frames: &[_], what| ours(frames).iter().filter(|said| **said == what).count();
    for what in ["request", "reply", "advertisement"] {
        while said(&frames, what) < 2 {
            assert!(
                boottime() < start.plus(ms(10_000)),
                "no {what}: {:?}",
                ours(&frames)
            );
            std::thread::sleep(Duration::from_millis(1));
            let now = boottime();
            if kernel.poll_timeout().is_some_and(|due| due <= now) {
                kernel.wake(now);
            }
            frames.extend(lan.frames());
        }
    }
    // Our own frames are nobody else's claim, even when the wire sends them back.
    let mac = find(
        &mut onehold::netlink::Netlink::open(libc::NETLINK_ROUTE).expect("netlink"),
        HOST,
    )
    .expect("the interface")
    .mac;
    let claims = |e: &KernelEvent| matches!(e, KernelEvent::ForeignClaim { .. });
    let claim = |mac: [u8; 6]| {
        let mut frame = lan::question(VIP.into(), 0);
        frame[6..12].copy_from_slice(&mac);
        frame[22..28].copy_from_slice(&mac);
        frame[28..32].copy_from_slice(&VIP.octets());
        lan.wire.send(&frame).expect("a claim");
    };
    claim(mac);
    assert!(!lan.events(&mut kernel).iter().any(claims));
    // Nor is a question about it a claim; an announcement of somebody else's is.
    lan.wire
        .send(&lan::question(VIP.into(), 7))
        .expect("a question");
    let other = [2, 0xcc, 0, 0, 0, 1];
    claim(other);
    let event = lan.wait(&mut kernel, claims);
    assert_eq!(
        event,
        KernelEvent::ForeignClaim {
            group: GROUP,
            address: VIP.into(),
            mac: other
        }
    );
    // After the deadline the gate swallows what we still say.
    let deadline = boottime().plus(ms(300));
    kernel.hold_until(GROUP, deadline).expect("a shorter hold");
    std::thread::sleep(deadline.plus(SLACK).since(boottime()).into());
    lan.frames();
    kernel.announce(GROUP, boottime());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ours(&lan.frames()), Vec::<&str>::new());
}

#[test]
fn a_removed_gate_is_put_back() {
    if !bpf_is_permitted() {
        return;
    }
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Bpf);
    lan.events(&mut kernel);
    let deadline = boottime().plus(ms(500));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    assert!(lan.take_gate());
    let event = lan.wait(&mut kernel, |e| {
        matches!(e, KernelEvent::GateRestored { .. })
    });
    assert_eq!(
        event,
        KernelEvent::GateRestored {
            interface: HOST.into(),
            from: None
        }
    );
    let (answered, _) = lan.probe(&VIPS, deadline.plus(ms(100)));
    for answered in &answered {
        assert!(!answered.is_empty());
        assert_silent_after(deadline, answered);
    }
}

#[test]
fn nobody_else_can_delete_the_table() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Nft);
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    if lan.delete_tables() {
        // Before Linux 6.9 a table has no owner: then the next renewal notices.
        assert_eq!(lan.tables(), Vec::<String>::new());
        kernel
            .hold_until(GROUP, boottime().plus(ms(5_000)))
            .expect("a renewal");
        lan.wait(&mut kernel, |e| {
            matches!(e, KernelEvent::GateRestored { .. })
        });
    }
    assert_eq!(lan.tables(), ["onehold-test"]);
    assert!(lan.answers(VIP));
}

fn tags_do_not_open_the_gate(guard: GuardChoice) {
    let mut lan = Lan::new();
    let mut kernel = lan.open(guard);
    let server = UdpSocket::bind(("0.0.0.0", 4001)).expect("a server");
    server
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    let host = lan.host().mac;
    let arrived = || {
        lan.frames();
        for tags in 0..5_u8 {
            let mut frame = lan::datagram(host, VIP, 4001, tags);
            for _ in 0..tags {
                frame.splice(12..12, [0x81, 0, 0, 0]); // VLAN 0: "read on", says Linux
            }
            lan.wire.send(&frame).expect("a datagram");
        }
        let mut buf = [0; 1];
        std::iter::from_fn(|| server.recv(&mut buf).ok().map(|_| buf[0])).collect::<Vec<_>>()
    };
    kernel
        .hold_until(GROUP, boottime().plus(ms(60_000)))
        .expect("a hold");
    // The kernel takes one tag away before the gate; BPF follows two more. Linux takes any number.
    let followed = if guard == GuardChoice::Bpf { 3 } else { 1 };
    assert_eq!(arrived(), (0..=followed).collect::<Vec<u8>>());
    let deadline = boottime().plus(ms(300));
    kernel.hold_until(GROUP, deadline).expect("a shorter hold");
    std::thread::sleep(deadline.plus(SLACK).since(boottime()).into());
    assert_eq!(arrived(), Vec::<u8>::new());
}

/// The second layer: an address whose daemon is dead goes away, one that is held does not.
#[test]
fn an_address_outlives_its_lifetime_only_while_it_is_renewed() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::Auto);
    lan.wait(&mut kernel, told(true));
    lan.events(&mut kernel);
    let start = boottime();
    while boottime() < start.plus(ms(9_000)) {
        kernel
            .hold_until(GROUP, boottime().plus(ms(450)))
            .expect("a renewal");
        assert!(lan.has(VIP) && lan.has(VIP6));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        lan.events(&mut kernel),
        [],
        "it was never put back, for it was never away"
    );
    let end = boottime();
    while lan.has(VIP) || lan.has(VIP6) {
        assert!(
            boottime() < end.plus(ms(20_000)),
            "it must go away by itself"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(lan.has(OWN));
    // The next hold finds out that it is not there any more.
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP) && lan.answers(VIP6));
}

#[test]
fn without_a_guard_it_says_so() {
    let mut lan = Lan::new();
    let mut kernel = lan.open(GuardChoice::None);
    assert_eq!(kernel.guard_name(), "none");
    assert!(
        kernel
            .guard_shortcoming()
            .expect("a warning")
            .contains("guard = none")
    );
    kernel
        .hold_until(GROUP, boottime().plus(ms(1)))
        .expect("a hold");
    std::thread::sleep(Duration::from_millis(20));
    assert!(lan.answers(VIP), "deadlines mean nothing to the kernel");
    kernel.close().expect("an end");
    assert!(!lan.has(VIP));
}

#[test]
fn auto_takes_bpf_from_root() {
    if !bpf_is_permitted() {
        return;
    }
    let lan = Lan::new();
    let kernel = lan.open(GuardChoice::Auto);
    assert_eq!(
        (kernel.guard_name(), kernel.guard_shortcoming()),
        ("bpf", None)
    );
}

/// Run in a user namespace by the test below.
#[test]
#[ignore = "runs in a user namespace, started by nft_works_in_a_user_namespace"]
fn auto_takes_nft_from_others() {
    let lan = Lan::new();
    let kernel = lan.open(GuardChoice::Auto);
    assert_eq!(kernel.guard_name(), "nft");
    let why = kernel.guard_shortcoming().expect("a reason");
    assert!(
        why.contains("BPF") && why.contains("user namespace"),
        "{why}"
    );
}

#[test]
fn nft_works_in_a_user_namespace() {
    for filter in ["nft::", "auto_takes_nft_from_others"] {
        let output = Command::new("unshare")
            .arg("-Urn")
            .arg(std::env::current_exe().expect("this test"))
            .args([filter, "--include-ignored", "--test-threads=2"])
            .output()
            .expect("`unshare` of util-linux");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !text.contains(" 0 passed"),
            "{text}"
        );
    }
}

/// `cargo test -p onehold --test kernel -- --ignored --nocapture what_a_renewal_costs`
#[test]
#[ignore = "a benchmark: asserts nothing"]
fn what_a_renewal_costs() {
    const TIMES: u32 = 2_000;
    for guard in [GuardChoice::Bpf, GuardChoice::Nft] {
        let lan = Lan::new();
        let mut kernel = lan.open_with(guard, &VIPS[..1]);
        kernel
            .hold_until(GROUP, boottime().plus(ms(450)))
            .expect("a hold");
        let start = boottime();
        for _ in 0..TIMES {
            kernel
                .hold_until(GROUP, boottime().plus(ms(450)))
                .expect("a renewal");
        }
        let renewal = Span::from_nanos(boottime().since(start).as_nanos() / u64::from(TIMES));
        let start = boottime();
        kernel.release(GROUP).expect("a release");
        let release = boottime().since(start);
        let start = boottime();
        kernel
            .hold_until(GROUP, boottime().plus(ms(450)))
            .expect("a hold");
        println!(
            "{guard:?}: renewal {renewal}, release {release}, hold {}",
            boottime().since(start)
        );
    }
}

//! Others on the same host: programs that are asked before the gate, interfaces that no group
//! names, what earlier incarnations left and this one may not read. A peer on the LAN says what
//! comes of it.
#![allow(missing_docs, unsafe_code)]

#[expect(
    dead_code,
    reason = "shared with tests/kernel.rs, which uses more of it"
)]
mod lan;

use lan::foreign::{self, BOTH, Kind, Program, TC_NEXT, TC_OK, XDP_PASS};
use lan::{GROUP, HOST, Lan, SLACK, VIP, VIP6, assign, bpf_is_permitted, find};
use onehold::kernel::{GuardChoice, Kernel, KernelEvent, KernelGroup, boottime};
use onehold_core::time::Span;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const FORMER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 101);

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// Whether this kernel has rows of programs; if not, says that the test is not run.
fn rows(lan: &mut Lan) -> bool {
    let there = lan.rows().is_some();
    if !there {
        eprintln!("not run: this kernel has no row of programs before tc (Linux 6.6)");
    }
    there
}

/// A holder that is frozen: it renews no more. After the deadline, nobody may answer for it.
fn falls_silent(lan: &mut Lan, kernel: &mut Kernel) {
    let deadline = boottime().plus(ms(500));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    assert!(lan.answers(VIP) && lan.answers(VIP6), "it is held");
    is_silent(lan);
}

/// Nobody answers for an address that is there, once a deadline that is near is over.
fn is_silent(lan: &mut Lan) {
    std::thread::sleep(ms(600).plus(SLACK).into());
    assert!(lan.has(VIP), "it is there");
    let (answered, _) = lan.probe(&[VIP.into(), VIP6.into()], boottime().plus(ms(100)));
    assert!(
        answered.iter().all(Vec::is_empty),
        "answered after the deadline"
    );
}

fn foreign_program(verdict: i32) -> Program {
    Program::that_says(verdict, Kind::Tc).expect("a program")
}

/// Puts a program before the gate, both ways.
fn overtake(lan: &mut Lan, program: &Program) {
    let index = lan.host().index;
    for way in BOTH {
        program.put_first(index, way).expect("the first place");
    }
}

/// Whom the gate was put before again.
fn restored(lan: &Lan, kernel: &mut Kernel) -> Option<String> {
    let event = lan.wait(kernel, |e| matches!(e, KernelEvent::GateRestored { .. }));
    let KernelEvent::GateRestored { interface, from } = event else {
        unreachable!("it was asked for");
    };
    assert_eq!(interface, HOST);
    from
}

/// Lets the kernel's side do what is due, as its driver does.
fn live(lan: &Lan, kernel: &mut Kernel, span: Span) -> Vec<KernelEvent> {
    let (end, mut events) = (boottime().plus(span), Vec::new());
    while boottime() < end {
        let now = boottime();
        if kernel.poll_timeout().is_some_and(|due| due <= now) {
            let _entered = lan.runtime.enter();
            kernel.wake(now);
        }
        events.extend(lan.events(kernel));
    }
    events
}

fn alarms(events: &[KernelEvent]) -> Vec<String> {
    let alarms = events.iter().rev().find_map(|event| match event {
        KernelEvent::Alarms(alarms) => Some(alarms.clone()),
        _ => None,
    });
    alarms.unwrap_or_default()
}

#[test]
fn a_program_that_decides_before_the_gate_is_overtaken() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    let mut kernel = lan.open(GuardChoice::Bpf);
    lan.events(&mut kernel);
    overtake(&mut lan, &foreign_program(TC_OK));
    let events = live(&lan, &mut kernel, ms(1_500));
    let from = events.into_iter().find_map(|event| match event {
        KernelEvent::GateRestored { from, .. } => from,
        _ => None,
    });
    let from = from.expect("it is told");
    assert!(
        from.contains("`foreign`") && from.contains("arriving"),
        "{from}"
    );
    falls_silent(&mut lan, &mut kernel);
    kernel.close().expect("an end");
    assert_eq!(
        lan.rows(),
        Some([1, 1]),
        "the other's is left, and ours is not"
    );
}

#[test]
fn a_program_that_was_there_before_the_gate_comes_after_it() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    overtake(&mut lan, &foreign_program(TC_OK));
    let mut kernel = lan.open(GuardChoice::Bpf);
    falls_silent(&mut lan, &mut kernel);
}

/// Somebody who wants the first place back each time gets it. Then nftables decides; where that may
/// not be, nothing is held here, and it is said why.
#[test]
fn nobody_is_fought_for_the_first_place() {
    for choice in [GuardChoice::Auto, GuardChoice::Bpf] {
        let mut lan = Lan::new();
        if !bpf_is_permitted() || !rows(&mut lan) {
            return;
        }
        let mut kernel = lan.open(choice);
        kernel.scrub().expect("a clean start");
        lan.events(&mut kernel);
        let (index, mut moves) = (lan.host().index, 0);
        let end = boottime().plus(ms(8_000));
        let mut last = foreign_program(TC_OK);
        let mut events = Vec::new();
        while boottime() < end {
            let row = foreign::row(index, foreign::Way::In).expect("a row");
            let next = foreign_program(TC_OK);
            if row.first() != Some(&last.number().expect("its number"))
                && kernel.guard_name() == "bpf"
            {
                moves += 1;
                overtake(&mut lan, &next);
                last = next;
            }
            events.extend(live(&lan, &mut kernel, ms(50)));
        }
        assert!((1..=5).contains(&moves), "{moves} moves in 8 s");
        if choice == GuardChoice::Auto {
            assert_eq!(kernel.guard_name(), "nft");
            let why = kernel.guard_shortcoming().expect("a reason").to_owned();
            assert!(why.contains("`foreign`"), "{why}");
            falls_silent(&mut lan, &mut kernel);
        } else {
            let why = kernel.eligible(GROUP).expect_err("not here");
            assert!(why.contains("`foreign`"), "{why}");
        }
        kernel.close().expect("an end");
        assert_eq!(lan.tables(), Vec::<String>::new());
    }
}

#[test]
fn a_program_that_only_looks_is_told_of_if_it_sees_frames_first() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() {
        return;
    }
    let program = Program::that_says(XDP_PASS, Kind::Xdp).expect("a program");
    let Ok(_held) = program.see_first(lan.host().index) else {
        eprintln!("not run: this kernel has no XDP links");
        return;
    };
    let mut kernel = lan.open(GuardChoice::Auto);
    let said = alarms(&lan.events(&mut kernel)).join("\n");
    assert!(
        said.contains("`foreign`, by XDP, sees frames before the gate"),
        "{said}"
    );
    falls_silent(&mut lan, &mut kernel);
}

#[test]
fn every_ethernet_interface_has_the_gate_also_one_that_comes_later() {
    for choice in [GuardChoice::Bpf, GuardChoice::Nft] {
        if choice == GuardChoice::Bpf && !bpf_is_permitted() {
            continue;
        }
        let mut lan = Lan::new();
        lan.cable("other0", "peer1");
        let mut kernel = lan.open(choice);
        kernel.scrub().expect("a clean start");
        lan.cable("other1", "peer2");
        live(&lan, &mut kernel, ms(500));
        for peer in ["peer1", "peer2"] {
            lan.listen_to(peer);
            let deadline = boottime().plus(ms(500));
            kernel.hold_until(GROUP, deadline).expect("a hold");
            assert!(lan.answers(VIP), "Linux answers ARP everywhere");
            is_silent(&mut lan);
        }
        kernel.close().expect("an end");
        for name in ["other0", "other1"] {
            let index = find(&mut lan.route, name).expect("it").index;
            let left = BOTH.map(|way| foreign::row(index, way).map_or(0, |row| row.len()));
            assert_eq!(left, [0, 0]);
        }
    }
}

fn ip(words: &str) {
    let done = std::process::Command::new("ip")
        .args(words.split(' '))
        .status();
    assert!(done.expect("`ip` of iproute2").success(), "ip {words}");
}

/// Containers come and go many times a second: what is said of their interfaces waits a little, and
/// is looked at together.
#[test]
fn what_is_said_of_other_interfaces_waits_a_little() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    let mut kernel = lan.open(GuardChoice::Bpf);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    lan.cable("other0", "peer1");
    let index = find(&mut lan.route, "other0").expect("it").index;
    let gates = || BOTH.map(|way| foreign::row(index, way).expect("a row").len());
    let mut turn = std::task::Context::from_waker(std::task::Waker::noop());
    let heard = lan.runtime.block_on(async {
        tokio::task::yield_now().await; // the runtime sees that there is something to hear
        kernel.poll_event(&mut turn).is_ready()
    });
    assert!(!heard && gates() == [0, 0], "it can wait");
    lan.events_of(&mut kernel, ms(300));
    assert_eq!(gates(), [1, 1]);
}

/// Many come at once, as when a host starts its containers: first those that frames arrive on.
#[test]
fn of_new_interfaces_those_that_are_up_have_the_gate_first() {
    const DOWN: usize = 20;
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    let mut kernel = lan.open(GuardChoice::Bpf);
    kernel.scrub().expect("a clean start");
    lan.events(&mut kernel);
    (0..DOWN).for_each(|n| ip(&format!("link add a{n} type veth peer name b{n}")));
    lan.cable("other0", "peer1");
    let mut gated = |name: &str| {
        let index = find(&mut lan.route, name).expect("it").index;
        foreign::row(index, foreign::Way::In).expect("a row").len() == 1
    };
    let all: Vec<String> = (0..DOWN).map(|n| format!("a{n}")).collect();
    kernel.wake(boottime().plus(ms(20_000))); // one look
    kernel.wake(boottime().plus(ms(20_000))); // which may have been too long for a gate as well
    assert!(gated("other0"));
    assert!(
        !all.iter().all(|name| gated(name)),
        "or there was no choice"
    );
    while !all.iter().all(|name| gated(name)) {
        kernel.wake(kernel.poll_timeout().expect("there is more to do"));
    }
}

/// What arrives at a bridge's port is not for this host: the bridge has the gate.
#[test]
fn the_ports_of_a_bridge_have_no_gate() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    lan.cable("port0", "peer1");
    ip("link add br0 up type bridge");
    let mut kernel = lan.open(GuardChoice::Bpf);
    ip("link set port0 master br0");
    live(&lan, &mut kernel, ms(500));
    let mut gates = |name: &str| {
        let index = find(&mut lan.route, name).expect("it").index;
        BOTH.map(|way| foreign::row(index, way).expect("a row").len())
    };
    assert_eq!(
        (gates("port0"), gates("br0"), gates(HOST)),
        ([0, 0], [1, 1], [1, 1])
    );
}

fn group(addresses: &[IpAddr]) -> Vec<KernelGroup> {
    vec![KernelGroup::on(HOST, "web", addresses.iter().copied())]
}

/// Takes the right to ask for other programs and maps from this thread, as the unit does.
fn without_cap_sys_admin() {
    const VERSION_3: u32 = 0x2008_0522;
    const SYS_ADMIN: u32 = 1 << 21;
    let header = [VERSION_3, 0_u32];
    let mut sets = [0_u32; 6];
    // SAFETY: the kernel's structures are plain words, and as many as these.
    unsafe {
        assert_eq!(
            libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets),
            0
        );
        for set in &mut sets[..3] {
            *set &= !SYS_ADMIN;
        }
        assert_eq!(
            libc::syscall(libc::SYS_capset, &raw const header, &raw const sets),
            0
        );
    }
}

/// An incarnation that ended without a word, with one address that the next one is not configured
/// for.
fn a_life_that_was_killed(lan: &Lan) {
    let both = group(&[VIP.into(), VIP6.into(), FORMER.into()]);
    let mut kernel = lan.try_open(both, GuardChoice::Bpf).expect("a kernel");
    kernel.scrub().expect("a clean start");
    kernel
        .hold_until(GROUP, boottime().plus(ms(300)))
        .expect("a hold");
    drop(kernel); // closes descriptors, as a kill does, and nothing else
    std::thread::sleep(ms(400).into());
}

/// What the next incarnation does about it, with the unit's capabilities.
fn the_next_life_keeps_it_mute(lan: &mut Lan) {
    without_cap_sys_admin();
    assert!(
        lan.has(FORMER) && lan.mute(FORMER),
        "a gate outlives its process"
    );
    let mut kernel = lan.open(GuardChoice::Bpf);
    assert!(
        lan.has(FORMER) && lan.mute(FORMER),
        "what can't be read is not empty"
    );
    kernel.scrub().expect("a clean start");
    assert!(!lan.has(FORMER), "and what was left is taken away");
    let host = lan.host().index;
    assign(&mut lan.route, host, FORMER.into(), 24);
    assert!(lan.answers(FORMER), "then it is none of our business");
    falls_silent(lan, &mut kernel);
    kernel
        .hold_until(GROUP, boottime().plus(ms(5_000)))
        .expect("a hold");
    assert!(lan.answers(VIP), "the earlier gate does not keep it mute");
    kernel.close().expect("an end");
    assert!(
        matches!(lan.rows(), None | Some([0, 0])),
        "{:?}",
        lan.rows()
    );
    assert!(!lan.tc_kinds().contains(&"clsact".to_owned()));
}

#[test]
fn the_units_rights_suffice_to_take_over_from_an_earlier_life() {
    let mut lan = Lan::new();
    if bpf_is_permitted() {
        a_life_that_was_killed(&lan);
        the_next_life_keeps_it_mute(&mut lan);
    }
}

/// The cluster has another name in the file since then.
#[test]
fn a_gate_that_was_left_under_a_former_name_is_known_by_its_addresses() {
    let mut lan = Lan::new();
    if bpf_is_permitted() && rows(&mut lan) {
        a_life_that_was_killed(&lan);
        let file = |name: &str| lan.state.join(format!("onehold-{name}.gate"));
        std::fs::rename(file("test"), file("former")).expect("its record");
        the_next_life_keeps_it_mute(&mut lan);
    }
}

/// An interface may be in a container while the daemon stops, with the gate, and come back.
#[test]
fn what_hung_here_is_remembered_after_a_clean_end() {
    let mut lan = Lan::new();
    if bpf_is_permitted() && rows(&mut lan) {
        let kernel = lan.open(GuardChoice::Bpf);
        kernel.close().expect("an end");
        let record = std::fs::read_to_string(lan.state.join("onehold-test.gate")).expect("it");
        assert!(record.contains("program "), "{record}");
        assert!(!record.contains("address "), "{record}");
    }
}

/// As an earlier version left it, or a state directory that was lost.
#[test]
fn a_gate_that_nothing_is_written_of_is_not_taken_for_empty() {
    let mut lan = Lan::new();
    if bpf_is_permitted() {
        foreign::see_no_rows().expect("a filter");
        a_life_that_was_killed(&lan);
        std::fs::remove_dir_all(&lan.state).expect("the directory, lost");
        the_next_life_keeps_it_mute(&mut lan);
    }
}

/// A program in a row has no name that this process may read: an earlier incarnation's gate, of
/// which nothing is written any more, is in doubt, in the incarnations after the next, too; until
/// one may read it.
#[test]
fn a_gate_in_a_row_that_nothing_is_written_of_is_a_doubt() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    let told = |lan: &Lan| {
        let mut kernel = lan.open(GuardChoice::Bpf);
        kernel.scrub().expect("a clean start");
        let mut alarms = lan.events(&mut kernel).into_iter().filter_map(|e| match e {
            KernelEvent::Alarms(alarms) => Some(alarms.join("\n")),
            _ => None,
        });
        let last = alarms.next_back().unwrap_or_default();
        (kernel, last)
    };
    a_life_that_was_killed(&lan);
    std::fs::remove_dir_all(&lan.state).expect("the directory, lost");
    std::thread::scope(|scope| {
        let later = scope.spawn(|| {
            without_cap_sys_admin(); // of this thread
            for _ in 0..2 {
                let why = told(&lan).1;
                assert!(
                    why.contains(&format!(
                        "on {HOST} may be a gate that an earlier incarnation"
                    )) && why.contains("with CAP_SYS_ADMIN"),
                    "{why}"
                );
            }
        });
        later.join().expect("both incarnations");
    });
    let (mut kernel, alarms) = told(&lan);
    assert_eq!(alarms, "", "one that may read it takes it away");
    let deadline = boottime().plus(ms(5_000));
    kernel.hold_until(GROUP, deadline).expect("a hold");
    assert!(lan.answers(VIP));
    kernel.close().expect("an end");
    assert_eq!(lan.rows(), Some([0, 0]));
}

/// Somebody empties the directory while the daemon runs.
#[test]
fn what_is_guarded_is_written_again_while_it_is_guarded() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    for choice in [GuardChoice::Bpf, GuardChoice::Nft] {
        let mut kernel = lan.open(choice);
        std::fs::remove_dir_all(&lan.state).expect("the directory, lost");
        live(&lan, &mut kernel, ms(2_500));
        let record = lan.state.join("onehold-test.gate");
        assert!(record.exists(), "{choice:?}");
        kernel.close().expect("an end");
    }
}

/// From a kernel's, or a directory's, fault to none: what hangs in clsact goes once the row has it.
#[test]
fn from_clsact_to_the_row_and_back() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    // A file where the directory should be: nothing can be written down, so no row is used.
    std::fs::write(&lan.state, "").expect("a file");
    a_life_that_was_killed(&lan);
    assert!(lan.tc_kinds().contains(&"clsact".to_owned()) && lan.rows() == Some([0, 0]));
    std::fs::remove_file(&lan.state).expect("it");
    std::fs::create_dir(&lan.state).expect("a directory");
    a_life_that_was_killed(&lan);
    assert!(!lan.tc_kinds().contains(&"clsact".to_owned()) && lan.rows() == Some([1, 1]));
    the_next_life_keeps_it_mute(&mut lan);
    std::fs::create_dir_all(Path::new(&lan.state)).expect("for the end");
}

#[test]
fn two_members_of_one_cluster_dont_share_a_host() {
    let lan = Lan::new();
    let kernel = lan.open(GuardChoice::Auto);
    let second = lan.try_open(group(&[VIP.into()]), GuardChoice::Auto);
    let why = second.expect_err("one is here").to_string();
    assert!(
        why.contains("another member of this cluster runs on this host"),
        "{why}"
    );
    drop(kernel);
}

// Before Linux 6.6.

#[test]
fn an_older_kernels_filters_are_overtaken_too() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() {
        return;
    }
    foreign::see_no_rows().expect("a filter");
    let mut kernel = lan.open(GuardChoice::Bpf);
    assert!(lan.tc_kinds().contains(&"clsact".to_owned()));
    lan.events(&mut kernel);
    lan.filter_first(&foreign_program(TC_OK));
    let from = restored(&lan, &mut kernel).expect("who it was");
    assert!(from.contains("filter `somebody` of priority 1"), "{from}");
    falls_silent(&mut lan, &mut kernel);
    // One that only looks, and lets others decide, is treated alike: that can't be seen from
    // outside.
    lan.filter_first(&foreign_program(TC_NEXT));
    live(&lan, &mut kernel, ms(1_500));
    falls_silent(&mut lan, &mut kernel);
}

#[test]
fn an_ingress_discipline_is_not_taken_for_a_clsact() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() {
        return;
    }
    lan.discipline(libc::RTM_NEWQDISC, "ingress");
    // With a row nobody needs either.
    if lan.rows().is_some() {
        let mut kernel = lan.open(GuardChoice::Bpf);
        falls_silent(&mut lan, &mut kernel);
        kernel.close().expect("an end");
    }
    foreign::see_no_rows().expect("a filter");
    let refused = lan.try_open(group(&[VIP.into()]), GuardChoice::Bpf);
    let why = refused.expect_err("no gate for what leaves").to_string();
    assert!(
        why.contains("the queueing discipline `ingress` is in its place"),
        "{why}"
    );
    let mut kernel = lan.open(GuardChoice::Auto);
    assert_eq!(kernel.guard_name(), "nft");
    assert!(
        kernel
            .guard_shortcoming()
            .expect("a reason")
            .contains("`ingress`")
    );
    falls_silent(&mut lan, &mut kernel);
}

/// Two clusters on one host: whoever leaves last takes the clsact that one of them made.
#[test]
fn whoever_leaves_last_takes_the_clsact_away() {
    if !bpf_is_permitted() {
        return;
    }
    for foreign in [false, true] {
        let mut lan = Lan::new();
        foreign::see_no_rows().expect("a filter");
        if foreign {
            lan.clsact(libc::RTM_NEWQDISC);
        }
        let first = lan.open(GuardChoice::Bpf);
        let second = {
            let _entered = lan.runtime.enter();
            let groups = group(&[FORMER.into()]);
            let (choice, lease) = (GuardChoice::Bpf, ms(450));
            Kernel::open("other", groups, choice, SLACK, lease, &[&lan.state]).expect("a kernel")
        };
        first.close().expect("an end");
        assert!(
            lan.tc_kinds().contains(&"clsact".to_owned()),
            "the other needs it"
        );
        second.close().expect("an end");
        assert_eq!(lan.tc_kinds().contains(&"clsact".to_owned()), foreign);
    }
}

/// Two clusters on one host: both gates are asked, whichever is first, and nobody moves.
#[test]
fn the_gates_of_two_clusters_dont_jostle() {
    let mut lan = Lan::new();
    if !bpf_is_permitted() || !rows(&mut lan) {
        return;
    }
    let mut first = lan.open(GuardChoice::Bpf);
    without_cap_sys_admin();
    let mut second = {
        let _entered = lan.runtime.enter();
        let groups = group(&[FORMER.into()]);
        let (choice, lease) = (GuardChoice::Bpf, ms(450));
        Kernel::open("other", groups, choice, SLACK, lease, &[&lan.state]).expect("a kernel")
    };
    let moved =
        |e: &KernelEvent| matches!(e, KernelEvent::GateRestored { .. } | KernelEvent::Alarms(_));
    for _ in 0..3 {
        assert!(!live(&lan, &mut first, ms(500)).iter().any(moved));
        assert!(!live(&lan, &mut second, ms(500)).iter().any(moved));
    }
    falls_silent(&mut lan, &mut first);
    second.close().expect("an end");
    first.close().expect("an end");
    assert_eq!(lan.rows(), Some([0, 0]));
}

/// `cargo test -p onehold --test others -- --ignored --nocapture what_many_interfaces_cost`
#[test]
#[ignore = "a benchmark: asserts nothing"]
fn what_many_interfaces_cost() {
    for many in [1, 200] {
        let mut lan = Lan::new();
        for n in 1..many {
            lan.cable(&format!("v{n}"), &format!("p{n}"));
        }
        let start = boottime();
        let mut kernel = lan.open(GuardChoice::Bpf);
        println!("{many} interfaces: open {}", boottime().since(start));
        lan.events(&mut kernel);
        let start = boottime();
        for _ in 0..100 {
            kernel.wake(kernel.poll_timeout().expect("a time"));
        }
        let look = Span::from_nanos(boottime().since(start).as_nanos() / 100);
        println!("{many} interfaces: a look {look}, once a second");
        let start = boottime();
        kernel.close().expect("an end");
        println!("{many} interfaces: close {}", boottime().since(start));
    }
}

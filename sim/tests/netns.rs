//! The instruments, tried on addresses that the test itself moves: they must show an outage and two
//! holders where there are some, and none elsewhere.

use onehold_sim::netns::{Fetcher, Host, HostSpec, Lan, Observer, privilege, serve_on};
use rustix::process::Signal;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const LAB: &str = env!("CARGO_BIN_EXE_onehold-lab");
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const PACE: Duration = Duration::from_millis(2);
const PERIOD: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn spec(name: &str, n: u8) -> HostSpec {
    HostSpec::new(name)
        .interface(&[(Ipv4Addr::new(10, 77, 0, n).into(), 16)])
        .sysctl("net/ipv4/ip_nonlocal_bind", "1")
}

/// Two hosts, and one to watch from. `None`, and a word about it, without the privilege.
fn world() -> Option<(Lan, Host, Host, Host)> {
    if !privilege::is_root() {
        // Not `eprintln`, which is shown only when a test fails.
        let _ = writeln!(
            std::io::stderr(),
            "not run: needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN)"
        );
        return None;
    }
    let mut lan = Lan::new().unwrap();
    let a = lan.host(spec("a", 10)).unwrap();
    let b = lan.host(spec("b", 11)).unwrap();
    let outside = lan.host(spec("outside", 20)).unwrap();
    Some((lan, a, b, outside))
}

fn take(host: &Host) {
    host.add_address("eth0", IpAddr::V4(FLOATING), 32).unwrap();
}

fn leave(host: &Host) {
    host.remove_address("eth0", IpAddr::V4(FLOATING), 32)
        .unwrap();
}

#[test]
fn the_observer_tells_a_hand_over_from_two_holders() {
    let Some((_lan, a, b, outside)) = world() else {
        return;
    };
    let observer = Observer::start(&outside, FLOATING, &[&a, &b], PERIOD).unwrap();
    sleep(ms(50));
    assert!(observer.holders().is_empty());

    take(&a);
    sleep(ms(100));
    assert_eq!(observer.holders(), ["a"]);

    let moved = Instant::now();
    for _ in 0..20 {
        leave(&a);
        take(&b);
        sleep(ms(10));
        leave(&b);
        take(&a);
        sleep(ms(10));
    }
    let seen = observer.sightings(moved, Instant::now());
    assert_eq!(seen.dual, Duration::ZERO, "handed over 40 times, never two");
    assert!(seen.changes >= 30, "only {} hand-overs seen", seen.changes);

    let both = Instant::now();
    take(&b);
    sleep(ms(100));
    assert_eq!(observer.holders(), ["a", "b"]);
    leave(&a);
    let dual = observer.sightings(both, Instant::now()).dual;
    assert!(dual >= ms(80), "two for 100 ms, seen as {dual:?}");

    // As often as it takes, for this machine itself may stand still for as long.
    let mut seen = 0;
    let mut tries = 0;
    while seen < 15 && tries < 400 {
        tries += 1;
        sleep(ms(10));
        let both = Instant::now();
        take(&a);
        sleep(ms(2));
        leave(&a);
        sleep(ms(5));
        seen += u32::from(observer.sightings(both, Instant::now()).dual >= ms(1));
    }
    assert!(seen >= 15, "two for 2 ms, {tries} times; seen {seen} times");
}

#[test]
fn the_client_measures_the_outage_to_the_pace() {
    let Some((_lan, a, _b, outside)) = world() else {
        return;
    };
    let at = SocketAddr::from((FLOATING, 80));
    let _web = serve_on(&a, Path::new(LAB), at).unwrap();
    take(&a);
    let fetcher = Fetcher::start(&outside, at, PACE, &["b", "a"]).unwrap();
    sleep(ms(100));
    let start = Instant::now();
    sleep(ms(500));
    let quiet = Instant::now();
    sleep(ms(500));
    let calm = fetcher.service(start, quiet);
    assert_eq!(calm.failed, 0, "{calm:?}");
    assert!(calm.requests > 150, "{calm:?}");
    assert!(calm.outage < ms(100), "{calm:?}");

    // What the client itself was late by is not counted as an outage, and half of it is lost from
    // one that is: as often as it takes to be cut off while this machine doesn't stand still.
    let mut seen = Vec::new();
    let end = loop {
        let before = Instant::now();
        sleep(ms(100)); // what was asked before is answered while `a` is still there
        let left = Instant::now();
        leave(&a);
        sleep(ms(300));
        take(&a);
        let without = left.elapsed();
        sleep(ms(300));
        let end = Instant::now();
        sleep(ms(500));
        let cut = fetcher.service(before, end);
        let is_seen = (ms(200)..without + ms(300)).contains(&cut.outage);
        assert!(is_seen, "{cut:?}, {without:?} without");
        assert!(cut.failed >= 50, "{cut:?}, {without:?} without");
        seen.push(cut);
        if cut.outage > ms(290) && cut.outage < without + ms(20) && cut.failed >= 100 {
            break end;
        }
        assert!(seen.len() < 10, "{seen:?}");
    };
    let all = fetcher.forget(end);
    assert!(
        all.iter().all(|f| f.by == f.answered.map(|_| 1)),
        "a's server says that it is a"
    );
}

#[test]
fn faults_cut_what_they_say_and_heal() {
    let Some((mut lan, a, b, outside)) = world() else {
        return;
    };
    let at = SocketAddr::from((FLOATING, 80));
    let _web = serve_on(&a, Path::new(LAB), at).unwrap();
    take(&a);
    let toward_a = Observer::start(&outside, FLOATING, &[&a, &b], PERIOD).unwrap();
    let seen = |observer: &Observer| {
        sleep(ms(50));
        observer.holders().len()
    };
    assert_eq!(seen(&toward_a), 1);
    lan.cut("b", "outside").unwrap();
    assert_eq!(seen(&toward_a), 1, "another pair");
    lan.cut_one_way("a", "outside").unwrap();
    assert_eq!(seen(&toward_a), 0, "answers are lost");
    lan.heal().unwrap();
    assert_eq!(seen(&toward_a), 1);
    lan.cut_one_way("outside", "a").unwrap();
    assert_eq!(seen(&toward_a), 0, "requests are lost");
    lan.heal().unwrap();
    lan.isolate("a").unwrap();
    assert_eq!(seen(&toward_a), 0);
    lan.heal().unwrap();
    lan.isolate("b").unwrap();
    assert_eq!(seen(&toward_a), 1);
    lan.heal().unwrap();
    let from = Instant::now();
    lan.lose(50.0, &["a", "outside"]).unwrap();
    sleep(ms(500));
    let lossy = toward_a.sightings(from, Instant::now());
    assert!(lossy.outage > ms(3) && lossy.outage < ms(200), "{lossy:?}");
}

#[test]
fn power_off_loses_everything_and_power_on_starts_afresh() {
    let Some((lan, mut a, _b, outside)) = world() else {
        return;
    };
    let observer = Observer::start(&outside, FLOATING, &[&a], PERIOD).unwrap();
    take(&a);
    sleep(ms(50));
    assert_eq!(observer.holders(), ["a"]);
    let mut sleeper = Command::new("sh");
    sleeper.args(["-c", "touch /run/onehold/mark; sleep 1000 & sleep 1000"]);
    let mut sleeper = a.spawn(sleeper).unwrap();
    sleep(ms(50));
    assert!(sleeper.ended().unwrap().is_none());

    a.power_off().unwrap();
    assert!(sleeper.wait(ms(500)).is_ok());
    sleep(ms(50));
    assert!(observer.holders().is_empty());

    a.power_on().unwrap();
    sleep(ms(50));
    assert!(observer.holders().is_empty(), "no address survived");
    let ls = |dir: &str| {
        let mut ls = Command::new("ls");
        ls.arg(dir);
        String::from_utf8(a.output(ls).unwrap().stdout).unwrap()
    };
    assert_eq!(ls("/run/onehold"), "");
    lan.file("seen", "by all").unwrap();
    assert!(ls("/run/lab").contains("seen"));
    assert!(!std::path::Path::new("/run/lab").exists(), "not outside");
}

#[test]
fn a_process_is_paused_resumed_and_killed_with_its_host() {
    let Some((_lan, a, ..)) = world() else { return };
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000");
    let mut process = a.spawn(sleeper).unwrap();
    let id = process.id();
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().trim().chars().next()
    };
    process.signal(Signal::STOP).unwrap();
    sleep(ms(20));
    assert_eq!(state(), Some('T'));
    process.signal(Signal::CONT).unwrap();
    sleep(ms(20));
    assert_eq!(state(), Some('S'));
    drop(a);
    assert!(process.wait(ms(500)).is_ok());
}

#[test]
fn a_host_has_several_paths_and_both_families() {
    let Some((mut lan, ..)) = world() else { return };
    let paths = |name: &str, n: u8| {
        let v4 = |network| IpAddr::from([10, network, 0, n]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]);
        let spec = HostSpec::new(name).interface(&[(v4(1), 24), (v6, 64)]);
        // Or Linux answers ARP for any of its addresses on any interface.
        let spec = spec.sysctl("net/ipv4/conf/all/arp_ignore", "1");
        spec.interface(&[(v4(2), 24)])
    };
    let c = lan.host(paths("c", 1)).unwrap();
    let d = lan.host(paths("d", 2)).unwrap();
    // A socket belongs to the host where it was opened, wherever it is used. Each is opened once: a
    // child of another test may still have a copy of one that is closed here.
    let socket = |host: &Host, address: &str| {
        let address: SocketAddr = address.parse().unwrap();
        let socket = host
            .call(move || UdpSocket::bind(address))
            .unwrap()
            .unwrap();
        socket.set_read_timeout(Some(ms(300))).unwrap();
        socket
    };
    let path = |from: &str, to: &str| {
        let (here, there) = (socket(&c, from), socket(&d, to));
        move || {
            here.send_to(b"hello", there.local_addr().unwrap()).unwrap();
            there.recv(&mut [0; 16]).is_ok()
        }
    };
    let first = path("10.1.0.1:0", "10.1.0.2:7");
    let second = path("10.2.0.1:0", "10.2.0.2:7");
    let sixth = path("[2001:db8::1]:0", "[2001:db8::2]:7");
    assert_eq!((first(), second(), sixth()), (true, true, true));
    lan.cut("c.1", "d.1").unwrap();
    assert_eq!((first(), second(), sixth()), (true, false, true));
    lan.heal().unwrap();
    lan.isolate("c").unwrap();
    assert_eq!((first(), second(), sixth()), (false, true, false));
}

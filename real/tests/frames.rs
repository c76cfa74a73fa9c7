//! Adverts as Ethernet frames on a real interface. Needs root; makes its own network namespaces and
//! leaves none.
#![allow(missing_docs, unsafe_code)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{HOST, Lan, find};
use onehold::address::Link;
use onehold::announce::Mac;
use onehold::config_file::{LocalCluster, load};
use onehold::frames::{ETHERTYPE, FRONT, Frames, MAX_FRAME};
use onehold::kernel::boottime;
use onehold::netlink::{self, Request};
use onehold_core::advert::{Advert, Incarnation, MemberId, Statement};
use onehold_core::auth;
use onehold_core::time::{LocalTime, Span};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const EVERYBODY: Mac = [0xff; 6];

/// lb0's view of two members alone, whose group is on this host's interface.
fn local() -> LocalCluster {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("onehold-frames-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    let path = dir.join("onehold.toml");
    onehold::secret::create(&dir.join("secret"), false).expect("a secret");
    let text = format!(
        "[cluster]\nname = \"frames\"\nsecret_file = \"secret\"\narbitration = \"survivor\"\n\
         [members.lb0]\naddresses = [\"10.0.0.1\"]\n[members.lb1]\naddresses = [\"10.0.0.2\"]\n\
         [groups.web]\naddresses = [\"10.0.0.100\"]\ninterface = \"{HOST}\"\npreferred = \"lb0\"\n"
    );
    std::fs::write(&path, text).expect("a file");
    let loaded = load(&path, Some("lb0"));
    let _ = std::fs::remove_dir_all(&dir);
    let mut loaded = loaded.expect("a good file");
    loaded.clusters.remove(0)
}

/// A datagram as the peer would send it.
fn advert(local: &LocalCluster) -> Vec<u8> {
    let advert = Advert {
        cluster: local.config.cluster(),
        config: local.config.digest(),
        change: onehold_core::advert::Change::None,
        from: MemberId(1),
        to: MemberId(0),
        incarnation: Incarnation(7),
        to_incarnation: None,
        sent_at: LocalTime::from_nanos(1),
        echo: None,
        echo_age: Span::ZERO,
        quarantined: false,
        groups: [Statement::default()].into_iter().collect(),
    };
    let mut out = Vec::new();
    auth::seal(&local.keys(), &advert, &mut out);
    out
}

fn frame(to: Mac, from: Mac, datagram: &[u8]) -> Vec<u8> {
    let length = u16::try_from(datagram.len()).expect("short").to_be_bytes();
    [&to[..], &from, &ETHERTYPE.to_be_bytes(), &length, datagram].concat()
}

struct Here {
    lan: Lan,
    local: LocalCluster,
    frames: Frames,
    host: Link,
    peer: Mac,
}

impl Here {
    fn new() -> Self {
        let mut lan = Lan::new();
        let local = local();
        let host = lan.host();
        let peer = find(&mut lan.peer_route, "peer0").expect("the peer's").mac;
        let frames = Frames::of(&local).expect("survivors have frames");
        let mut here = Self {
            lan,
            local,
            frames,
            host,
            peer,
        };
        here.follow();
        here
    }

    fn follow(&mut self) {
        let _entered = self.lan.runtime.enter();
        let all = onehold::address::links(&mut self.lan.route).expect("the interfaces");
        let link = |name: &str| all.iter().find(|link| link.is_called(name));
        self.frames.follow(link, boottime());
    }

    /// What has come in within a moment.
    fn received(&mut self) -> Vec<(usize, Mac, Vec<u8>)> {
        std::thread::sleep(Duration::from_millis(30));
        let (mut all, mut bytes) = (Vec::new(), Vec::new());
        while let Some((at, from)) = self.frames.receive(&mut bytes) {
            all.push((at, from, bytes.clone()));
        }
        all
    }

    /// The frames of ours that have reached the peer: to whom, and what.
    fn arrived(&self) -> Vec<(Mac, Vec<u8>)> {
        std::thread::sleep(Duration::from_millis(30));
        let mut all = self.lan.frames();
        all.retain(|f| f.get(12..14) == Some(&ETHERTYPE.to_be_bytes()[..]));
        let split = |f: &Vec<u8>| (f[..6].try_into().expect("six"), f[FRONT..].to_vec());
        all.iter().map(split).collect()
    }
}

#[test]
fn an_advert_leaves_byte_for_byte_and_comes_in_though_a_firewall_drops_all() {
    let mut here = Here::new();
    let datagram = advert(&here.local);
    assert_eq!(here.frames.send(&datagram, boottime()), 1);
    assert_eq!(here.arrived(), [(EVERYBODY, datagram.clone())]);
    assert_eq!(here.received(), [], "what we send is not what we hear");

    let rules = format!(
        "add table netdev t; add chain netdev t c \
         {{ type filter hook ingress device {HOST} priority -500; policy drop; }}"
    );
    let dropped = std::process::Command::new("nft").arg(rules).status();
    assert!(dropped.expect("nft").success());
    let (peer, mac) = (here.peer, here.host.mac);
    here.lan
        .wire
        .send(&frame(mac, peer, &datagram))
        .expect("sent");
    assert_eq!(here.received(), [(0, peer, datagram.clone())]);

    // From then on it is known where the peer is.
    here.frames.heard(0, peer, None, boottime());
    assert_eq!(here.frames.send(&datagram, boottime()), 1);
    assert_eq!(here.arrived(), [(peer, datagram)]);
    let state = here.frames.state(0);
    assert_eq!((state.to, state.sent, state.why_not), (Some(peer), 2, None));
}

#[test]
fn garbage_does_not_come_in_and_what_is_behind_an_advert_is_padding() {
    let mut here = Here::new();
    let datagram = advert(&here.local);
    let (peer, mac) = (here.peer, here.host.mac);
    let good = frame(mac, peer, &datagram);
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let tagged = [&good[..12], &[0x81, 0x00, 0, 7], &good[12..]].concat();
    let longest = [&good[..], &[0x55; 1_000]].concat();
    for garbage in [
        good[..40].to_vec(),
        good[..good.len() - 1].to_vec(),
        with(12, &[0x88, 0xb6]),
        with(14, &[0xff, 0xff]),
        with(14, &[0, 10]),
        with(16, b"OHN"),
        with(19, &[2]),
        with(24, &[0; 8]),
        with(6, &EVERYBODY),
        with(6, &mac),
        tagged,
    ] {
        here.lan.wire.send(&garbage).expect("sent");
        assert_eq!(here.received(), [], "{garbage:02x?}");
    }
    here.lan.wire.send(&longest).expect("sent");
    assert_eq!(here.received(), [(0, peer, datagram.clone())]);
    // A flood: all of it is taken, and nothing waits for more.
    for _ in 0..2_000 {
        here.lan.wire.send(&with(14, &[0, 10])).expect("sent");
    }
    for _ in 0..100 {
        assert_eq!(here.received(), []);
        if std::future::poll_fn(|cx| std::task::Poll::Ready(here.frames.poll(cx)))
            .now()
            .is_pending()
        {
            break;
        }
    }
    here.lan.wire.send(&good).expect("sent");
    assert_eq!(here.received(), [(0, peer, datagram)]);
    assert!(good.len() <= MAX_FRAME);
}

/// What is ready at once.
trait Now: Future + Sized {
    fn now(self) -> Self::Output {
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        match std::pin::pin!(self).poll(&mut cx) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }
}

impl<F: Future> Now for F {}

#[test]
fn interfaces_come_late_go_down_are_made_anew_and_get_other_addresses() {
    let mut lan = Lan::unplugged();
    let local = local();
    let frames = Frames::of(&local).expect("survivors have frames");
    let datagram = advert(&local);
    lan.cable("other0", "peer9");
    let (host, peer) = (find(&mut lan.route, "other0").expect("it"), EVERYBODY);
    let mut here = Here {
        lan,
        local,
        frames,
        host,
        peer,
    };
    here.follow();
    let why = |here: &Here| here.frames.state(0).why_not;
    assert_eq!(why(&here).as_deref(), Some("there is no such interface"));
    assert_eq!(here.frames.send(&datagram, boottime()), 0);

    for _ in 0..2 {
        here.lan.plug();
        here.follow();
        assert_eq!(why(&here), None);
        here.lan.frames();
        // The queues of a new cable open a moment after it is up.
        let arrives = |here: &mut Here| {
            let sent = here.frames.send(&datagram, boottime());
            sent == 1 && here.arrived().len() == 1
        };
        assert!((0..50).any(|_| arrives(&mut here)));
        here.lan.unplug();
        here.follow();
        assert!(why(&here).is_some());
    }

    here.lan.plug();
    here.follow();
    here.host = here.lan.host();
    let index = here.host.index;
    lan::set_up(&mut here.lan.route, index, false);
    here.follow();
    assert_eq!(here.frames.send(&datagram, boottime()), 0);
    let refusals = here.frames.state(0).refusals;
    assert_eq!(refusals.last.expect("one").1, "the interface is down");
    let mut about = [0; 16];
    about[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut change = Request::new();
    change.message(libc::RTM_NEWLINK, netlink::NLM_F_ACK, &about);
    let other: Mac = [2, 0, 0, 0, 0x77, 0x12];
    change.attr(1, &other).u32(4, 68); // IFLA_MTU
    here.lan.route.send(&mut change).expect("another card");
    lan::set_up(&mut here.lan.route, index, true);
    here.follow();
    here.lan.frames();
    assert_eq!(here.frames.send(&datagram, boottime()), 0);
    let refusals = here.frames.state(0).refusals;
    assert!(refusals.last.expect("one").1.contains("MTU"));

    let mut change = Request::new();
    change.message(libc::RTM_NEWLINK, netlink::NLM_F_ACK, &about);
    change.u32(4, 1500);
    here.lan.route.send(&mut change).expect("as before");
    let ours = |f: &Vec<u8>| f.get(12..14) == Some(&ETHERTYPE.to_be_bytes()[..]);
    let sent = (0..50).find_map(|_| {
        here.frames.send(&datagram, boottime());
        std::thread::sleep(Duration::from_millis(30));
        here.lan.frames().into_iter().find(ours)
    });
    let sent = sent.expect("it left");
    assert_eq!(sent[6..12], other);
}

#[test]
fn one_that_is_cut_off_sends_seldom() {
    let mut here = Here::new();
    let datagram = advert(&here.local);
    let vote = here.local.config.timing().vote();
    let began = boottime();
    let sent = |frames: &mut Frames, n: u64| frames.send(&datagram, began.plus(vote.times(n)));
    assert_eq!(sent(&mut here.frames, 0), 1);
    here.frames.is_cut_off(true, began);
    let all = (0..9).map(|n| {
        here.frames.is_cut_off(true, began.plus(vote.times(n)));
        sent(&mut here.frames, n)
    });
    assert_eq!(all.collect::<Vec<_>>(), [0, 0, 0, 0, 1, 0, 0, 0, 1]);
    here.frames.is_cut_off(false, began);
    assert_eq!(sent(&mut here.frames, 9), 1);
}

#[test]
fn where_there_is_no_ethernet_there_are_none_and_it_is_said() {
    let mut here = Here::new();
    let all = onehold::address::links(&mut here.lan.route).expect("the interfaces");
    let lo = all.iter().find(|link| link.loopback).expect("there is one");
    let _entered = here.lan.runtime.enter();
    here.frames.follow(|_| Some(lo), boottime());
    let said = here.frames.state(0).why_not.expect("a reason");
    assert_eq!(said, "it is not an Ethernet interface");
    assert_eq!(here.frames.send(&advert(&here.local), boottime()), 0);
    let mut part = here.host.clone();
    part.part = true;
    here.frames.follow(|_| Some(&part), boottime());
    let said = here.frames.state(0).why_not.expect("a reason");
    assert!(said.contains("bridge"), "{said}");
}

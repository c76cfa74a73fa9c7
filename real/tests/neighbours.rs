//! Where the peers are, as this host's kernel has it, while they are silent. Needs root; makes its
//! own network namespaces and leaves none.
#![allow(missing_docs, unsafe_code)]

#[expect(dead_code, reason = "shared with other tests, which use more of it")]
mod lan;

use lan::{Lan, OWN, PEER, find};
use onehold::config_file::Path;
use onehold::kernel::boottime;
use onehold::neighbour::Neighbours;
use onehold::netlink::{self, Request};
use onehold_core::time::Span;
use std::net::SocketAddr;
use std::time::Duration;

/// The hardware address of the peer, as the kernel has it.
fn known() -> Option<String> {
    let all =
        std::fs::read_to_string("/proc/thread-self/net/arp").expect("the kernel's neighbours");
    let peer = PEER.to_string();
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.first() == Some(&peer.as_str())).then(|| words[3].to_owned())
    };
    all.lines().find_map(entry)
}

/// A machine with the peer's address and another network card, which says nothing by itself, as one
/// that is to be set up by way of this one.
#[test]
fn a_peer_that_was_replaced_is_found() {
    const NEW: [u8; 6] = [2, 0, 0, 0, 0x77, 0x11];
    let mut lan = Lan::new();
    let (local, remote) = (
        SocketAddr::from((OWN, 4000)),
        SocketAddr::from((PEER, 4000)),
    );
    let path = Path { local, remote };
    let ways = Neighbours::look_after([path].into_iter()).expect("a thread");
    let socket = std::net::UdpSocket::bind(local).expect("a socket");
    while ways.places().next().is_none() {
        socket.send_to(b"?", remote).expect("it is sent");
        ways.heard(local, remote, true);
        std::thread::sleep(Duration::from_millis(50));
    }
    let old = known().expect("an entry");
    let peer = find(&mut lan.peer_route, "peer0").expect("it").index;
    let mut about = [0; 16];
    about[4..8].copy_from_slice(&peer.to_ne_bytes());
    let mut change = Request::new();
    change.message(libc::RTM_NEWLINK, netlink::NLM_F_ACK, &about);
    change.attr(1, &NEW);
    lan.peer_route.send(&mut change).expect("another card");
    let until = boottime().plus(Span::from_millis(12_000));
    while known().as_deref() != Some("02:00:00:00:77:11") {
        assert!(boottime() < until, "this host still sends to {old}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

//! Adverts as Ethernet frames: between two members alone, one more path, which goes under every
//! firewall, route and neighbour entry of the two hosts.
//!
//! ```text
//!   0  destination: where the peer's last authentic frame came from, or everybody
//!   6  source: the interface's own hardware address
//!  12  EtherType 0x88b5 (IEEE 802: local experimental)
//!  14  length of the datagram, big-endian
//!  16  the datagram, byte for byte as it goes over UDP; what follows is padding
//! ```
//!
//! What this never does: wait, send anything but adverts, or say whether an advert is authentic:
//! the driver opens its seal, as it does a datagram's. Each interface that a group names has one
//! packet socket, whose filter lets in nothing but adverts of this cluster.
//!
//! Only what the peer said last proves where it is ([`Frames::heard`]): somebody who recorded an
//! advert and sends it again must not draw our frames to himself.

use crate::address::Link;
use crate::announce::{self, Mac};
use crate::clock::boottime;
use crate::config_file::LocalCluster;
use crate::socket::Refusals;
use onehold_core::advert::ClusterId;
use onehold_core::time::{LocalTime, Span};
use onehold_core::wire::{MAX_DATAGRAM, MIN_DATAGRAM};
use socket2::{SockFilter, Socket};
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// Of frames that carry adverts.
pub const ETHERTYPE: u16 = 0x88b5;
/// Bytes before the datagram.
pub const FRONT: usize = 16;
/// The longest frame, without its padding.
pub const MAX_FRAME: usize = FRONT + MAX_DATAGRAM;

const EVERYBODY: Mac = [0xff; 6];
/// Of this many adverts one goes to everybody while the peer is not heard by frames.
const ASIDE: u8 = 5;
/// One that is cut off sends once in this many D: a peer takes hold well within that.
const SELDOM: u64 = 4;
/// At most this many interfaces have frames.
const MAX_PORTS: usize = 16;
/// How often the interfaces are compared with the sockets.
const APART: Span = Span::from_millis(250);
/// How many frames are looked at in a row that are none of ours.
const MAX_VAIN: usize = 64;

/// Frames at one interface, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortState {
    /// Where they go; to everybody, now and then, while that is not known.
    pub to: Option<Mac>,
    /// How many were handed to the interface.
    pub sent: u64,
    /// What it refused.
    pub refusals: Refusals,
    /// Why there are none, if so.
    pub why_not: Option<String>,
}

/// The frames of a cluster.
#[derive(Debug)]
pub struct Frames {
    cluster: ClusterId,
    /// D: the peer counts as heard for this long.
    heard_for: Span,
    ports: Vec<Port>,
    /// Which port gives its frame first.
    next: usize,
    /// Nothing was left when they were last looked at.
    drained: bool,
    follow_at: Option<LocalTime>,
    /// The newest instant of our own that the peer has echoed in a frame.
    echoed: Option<LocalTime>,
    /// When an authentic datagram last came.
    datagram: Option<LocalTime>,
    /// This member is cut off, as far as it knows; and when it last sent all the same.
    cut_off: Option<LocalTime>,
    buffer: Vec<u8>,
}

/// The frames of one interface.
#[derive(Debug)]
struct Port {
    interface: String,
    open: Option<Open>,
    heard: Option<LocalTime>,
    /// How many adverts ago everybody got one.
    ago: u8,
    state: PortState,
}

#[derive(Debug)]
struct Open {
    socket: AsyncFd<Socket>,
    index: u32,
    mac: Mac,
}

impl Frames {
    /// Those of a cluster, if it has any. They begin with [`Self::follow`].
    #[must_use]
    pub fn of(local: &LocalCluster) -> Option<Self> {
        let port = |interface: String| Port {
            interface,
            open: None,
            heard: None,
            ago: 0,
            state: PortState::default(),
        };
        let all = local.frame_interfaces();
        (!all.is_empty()).then(|| Self {
            cluster: local.config.cluster(),
            heard_for: local.config.timing().vote(),
            ports: all.into_iter().map(port).collect(),
            next: 0,
            drained: true,
            follow_at: None,
            echoed: None,
            datagram: None,
            cut_off: None,
            buffer: Vec::with_capacity(MAX_FRAME),
        })
    }

    /// The numbers of its sockets.
    pub(crate) fn fds(&self) -> impl Iterator<Item = RawFd> {
        let open = self.ports.iter().filter_map(|port| port.open.as_ref());
        open.map(|open| open.socket.as_raw_fd())
    }

    /// Whether the interfaces should be looked at again.
    #[must_use]
    pub fn follows_at(&self, now: LocalTime) -> bool {
        self.follow_at.is_none_or(|at| at <= now)
    }

    /// Goes by the interfaces as they are: they come late, are renamed, made again, moved, or get
    /// another hardware address. Needs a tokio runtime.
    pub fn follow<'l>(&mut self, link: impl Fn(&str) -> Option<&'l Link>, now: LocalTime) {
        self.follow_at = Some(now.plus(APART));
        for (n, port) in self.ports.iter_mut().enumerate() {
            let found = match link(&port.interface) {
                _ if n >= MAX_PORTS => Err(format!("no more than {MAX_PORTS} interfaces have any")),
                None => Err("there is no such interface".to_owned()),
                Some(link) if !link.ethernet => Err("it is not an Ethernet interface".to_owned()),
                Some(link) if link.part => {
                    Err("it is a part of another interface: a bridge's or a bond's port".to_owned())
                }
                Some(link) => Ok(link),
            };
            let opened = found.and_then(|link| port.settle_on(link, self.cluster));
            if opened.is_err() {
                (port.open, port.heard) = (None, None);
            }
            port.state.why_not = opened.err();
        }
    }

    /// Sends an advert by each interface; returns by how many it left. What can't be sent is lost,
    /// like everything that a network loses.
    pub fn send(&mut self, datagram: &[u8], now: LocalTime) -> u64 {
        if !(MIN_DATAGRAM..=MAX_DATAGRAM).contains(&datagram.len()) {
            return 0;
        }
        let lately = |at: LocalTime| now < at.plus(self.heard_for);
        if let Some(last) = &mut self.cut_off {
            if now < last.plus(self.heard_for.times(SELDOM)) {
                return 0;
            }
            *last = now;
        }
        let by_datagrams = self.datagram.is_some_and(lately);
        let mut sent = 0;
        for port in &mut self.ports {
            let Some(to) = port.turn(port.heard.is_some_and(lately), by_datagrams) else {
                continue;
            };
            sent += u64::from(port.send(to, datagram, &mut self.buffer));
        }
        sent
    }

    /// The next frame that has come in: at which interface, and where from. Of the interfaces that
    /// have some, each gives one in turn.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Option<(usize, Mac)> {
        let mut vain = 0;
        for n in 0..self.ports.len() {
            let at = (self.next + n) % self.ports.len();
            while let Some(open) = &self.ports[at].open
                && vain < MAX_VAIN
            {
                self.buffer.resize(MAX_FRAME, 0);
                match open.socket.get_ref().read(&mut self.buffer) {
                    Ok(length) => {
                        self.buffer.truncate(length);
                        let said = parse(&self.buffer).filter(|(from, _)| !self.is_ours(*from));
                        if let Some((from, datagram)) = said {
                            into.clear();
                            into.extend_from_slice(datagram);
                            self.next = at + 1;
                            self.drained = false;
                            return Some((at, from));
                        }
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => self.ports[at].refused(&e), // it went down: one error, then silence
                }
                vain += 1;
            }
        }
        self.drained = vain < MAX_VAIN;
        None
    }

    /// Whether a hardware address is one of the interfaces here: two may be on one network.
    fn is_ours(&self, mac: Mac) -> bool {
        let mut all = self.ports.iter().filter_map(|port| port.open.as_ref());
        all.any(|open| open.mac == mac)
    }

    /// Ready when something may have come in since they were last drained.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = if self.drained {
            Poll::Pending
        } else {
            Poll::Ready(())
        };
        for open in self.ports.iter().filter_map(|port| port.open.as_ref()) {
            while let Poll::Ready(Ok(mut ready)) = open.socket.poll_read_ready(cx) {
                ready.clear_ready();
                any = Poll::Ready(());
            }
        }
        any
    }

    /// What the peer said last came as a frame, too: at which interface and where from, and when
    /// that was sent which it echoes.
    pub fn heard(&mut self, at: usize, from: Mac, echo: Option<LocalTime>, now: LocalTime) {
        if let Some(port) = self.ports.get_mut(at) {
            (port.state.to, port.heard) = (Some(from), Some(now));
            self.echoed = self.echoed.max(echo);
        }
    }

    /// The name of an interface.
    #[must_use]
    pub fn interface(&self, at: usize) -> Option<&str> {
        self.ports.get(at).map(|port| port.interface.as_str())
    }

    /// An authentic datagram came: the peer need not be found by frames in a hurry.
    pub const fn heard_datagram(&mut self, now: LocalTime) {
        self.datagram = Some(now);
    }

    /// Whether this member is not cut off though nothing has left by any other path since then: the
    /// peer is heard by frames, or has echoed what was sent since.
    #[must_use]
    pub fn reach_the_peer(&self, since: LocalTime, now: LocalTime) -> bool {
        let mut heard = self.ports.iter().filter_map(|port| port.heard);
        self.echoed >= Some(since) || heard.any(|at| now < at.plus(self.heard_for))
    }

    /// Notes whether this member is cut off, as far as it knows. Then it holds nothing, and what it
    /// says must not keep a peer from taking hold that hears it and is not heard. So it sends
    /// seldom: only to be found when frames pass again.
    pub fn is_cut_off(&mut self, is: bool, now: LocalTime) {
        self.cut_off = is.then(|| self.cut_off.unwrap_or(now));
    }

    /// How it is at an interface, for people.
    #[must_use]
    pub fn state(&self, at: usize) -> PortState {
        let port = self.ports.get(at);
        port.map_or_else(PortState::default, |port| port.state.clone())
    }
}

impl Port {
    /// Keeps the socket at this interface, or opens one.
    fn settle_on(&mut self, link: &Link, cluster: ClusterId) -> Result<(), String> {
        let there = |open: &&mut Open| {
            open.index == link.index && announce::is_at(open.socket.get_ref(), link)
        };
        if let Some(open) = self.open.as_mut().filter(there) {
            open.mac = link.mac;
            return Ok(());
        }
        self.heard = None;
        let opened = announce::listen_at(link, &adverts_of(cluster));
        let socket = opened.map_err(|e| format!("a packet socket can't be opened: {e}"))?;
        self.open = Some(Open {
            socket,
            index: link.index,
            mac: link.mac,
        });
        Ok(())
    }

    /// Whom the next advert goes to: the peer. While it is not heard by frames every fifth goes to
    /// everybody, the first at once; and each if it was never heard here, nor is by datagrams: it
    /// may hear this member, though this member does not hear it.
    fn turn(&mut self, heard: bool, by_datagrams: bool) -> Option<Mac> {
        let due = self.ago == 0 || (self.state.to.is_none() && !by_datagrams);
        self.ago = match heard {
            true => 0,
            false => (self.ago + 1) % ASIDE,
        };
        match due && !heard {
            true => Some(EVERYBODY),
            false => self.state.to,
        }
    }

    fn send(&mut self, to: Mac, datagram: &[u8], frame: &mut Vec<u8>) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        write(frame, to, open.mac, datagram);
        match open.socket.get_ref().send(frame) {
            Ok(_) => self.state.sent += 1,
            Err(e) => {
                self.refused(&e);
                return false;
            }
        }
        true
    }

    fn refused(&mut self, error: &io::Error) {
        let refusals = &mut self.state.refusals;
        refusals.count += 1;
        refusals.last = Some((boottime(), words(error)));
    }
}

/// Writes a frame into `out`, cleared first.
fn write(out: &mut Vec<u8>, to: Mac, from: Mac, datagram: &[u8]) {
    out.clear();
    out.extend_from_slice(&to);
    out.extend_from_slice(&from);
    out.extend_from_slice(&ETHERTYPE.to_be_bytes());
    let length = u16::try_from(datagram.len()).unwrap_or(0); // of none: nobody reads it
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(datagram);
}

/// Where a frame comes from, and the datagram in it; nothing unless it has the form of an advert's.
fn parse(frame: &[u8]) -> Option<(Mac, &[u8])> {
    let from: Mac = frame.get(6..12)?.try_into().ok()?;
    let one_machine = from[0] & 1 == 0 && from != [0; 6];
    let ours = frame.get(12..14)? == ETHERTYPE.to_be_bytes();
    let length = frame.get(14..FRONT)?.try_into().ok()?;
    let length = usize::from(u16::from_be_bytes(length));
    let fits = (MIN_DATAGRAM..=MAX_DATAGRAM).contains(&length);
    let datagram = frame.get(FRONT..FRONT + length)?;
    (one_machine && ours && fits).then_some((from, datagram))
}

/// The socket filter: adverts of this cluster; not what we send ourselves, nor another VLAN's. No
/// more of a frame is kept than the longest advert's.
fn adverts_of(cluster: ClusterId) -> Vec<SockFilter> {
    const WORD: u16 = 0x20;
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    const JUMP_EQ: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f000 + 4;
    const VLAN_TAGGED: u32 = 0xffff_f000 + 48;
    let (high, low) = ((cluster.0 >> 32) as u32, cluster.0 as u32);
    let front = FRONT as u32;
    let wanted = [
        (BYTE, VLAN_TAGGED, 0),
        (HALF, 12, u32::from(ETHERTYPE)),
        (WORD, front, u32::from_be_bytes(onehold_core::wire::MAGIC)),
        (WORD, front + 8, high),
        (WORD, front + 12, low),
    ];
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let mut filter = vec![
        op(BYTE, PACKET_TYPE),
        SockFilter::new(JUMP_EQ, 0, 1, u32::from(libc::PACKET_OUTGOING)),
        op(RETURN, 0),
    ];
    for (size, at, value) in wanted {
        filter.extend([
            op(size, at),
            SockFilter::new(JUMP_EQ, 1, 0, value),
            op(RETURN, 0),
        ]);
    }
    filter.push(op(RETURN, MAX_FRAME as u32));
    filter
}

/// Why a frame was refused, as a person may want to know it.
fn words(error: &io::Error) -> String {
    let text = match error.raw_os_error() {
        Some(libc::ENETDOWN) => "the interface is down",
        Some(libc::ENXIO | libc::ENODEV) => "the interface is gone",
        Some(libc::ENOBUFS) => {
            "its queue is full, or something on this host drops it (tc, nftables)"
        }
        Some(libc::EAGAIN) => "too much waits to be sent already",
        Some(libc::EMSGSIZE) => "it is longer than the interface's MTU",
        _ => return error.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PEER: Mac = [2, 0, 0, 0, 0, 1];
    const OWN: Mac = [2, 0, 0, 0, 0, 2];

    fn frame(datagram: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 2, 3];
        write(&mut out, PEER, OWN, datagram);
        out
    }

    #[test]
    fn a_frame_says_how_long_its_datagram_is_whatever_is_behind_it() {
        let datagram: Vec<u8> = (0..120).collect();
        let mut bytes = frame(&datagram);
        assert_eq!(bytes.len(), FRONT + datagram.len());
        assert_eq!(parse(&bytes), Some((OWN, &datagram[..])));
        bytes.extend([0; 46]);
        assert_eq!(parse(&bytes), Some((OWN, &datagram[..])));
        bytes.truncate(FRONT + datagram.len() - 1);
        assert_eq!(parse(&bytes), None, "cut off");
    }

    #[test]
    fn what_has_not_the_form_of_an_adverts_frame_is_nothing() {
        for length in [0, MIN_DATAGRAM - 1, MAX_DATAGRAM + 1, 70_000] {
            assert_eq!(parse(&frame(&vec![0; length])), None, "{length}");
        }
        let good = frame(&[0; MIN_DATAGRAM]);
        assert!(parse(&good).is_some());
        let with = |at: usize, bytes: &[u8]| {
            let mut frame = good.clone();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            parse(&frame).is_some()
        };
        assert!(!with(12, &[0x08, 0x00]), "another EtherType");
        assert!(!with(6, &[0x03]), "from many machines");
        assert!(!with(6, &[0; 6]), "from none");
        assert!(!with(14, &[0xff, 0xff]), "longer than it is");
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), front: bool) {
            let mut bytes = bytes;
            if front && bytes.len() > 14 {
                bytes[12..14].copy_from_slice(&ETHERTYPE.to_be_bytes());
            }
            if let Some((_, datagram)) = parse(&bytes) {
                prop_assert!((MIN_DATAGRAM..=MAX_DATAGRAM).contains(&datagram.len()));
            }
        }
    }

    fn port() -> Port {
        Port {
            interface: "eth0".into(),
            open: None,
            heard: None,
            ago: 0,
            state: PortState::default(),
        }
    }

    fn turns(port: &mut Port, n: usize, heard: bool, by_datagrams: bool) -> Vec<Option<Mac>> {
        (0..n).map(|_| port.turn(heard, by_datagrams)).collect()
    }

    #[test]
    fn a_peer_that_was_never_heard_is_looked_for_with_each_advert() {
        assert_eq!(turns(&mut port(), 7, false, false), [Some(EVERYBODY); 7]);
    }

    #[test]
    fn where_datagrams_pass_everybody_gets_one_in_five() {
        let mut port = port();
        let all = turns(&mut port, 10, false, true);
        for (n, to) in all.into_iter().enumerate() {
            assert_eq!(to, (n % 5 == 0).then_some(EVERYBODY), "{n}");
        }
    }

    #[test]
    fn a_peer_that_is_heard_gets_all_and_one_that_falls_silent_is_looked_for_at_once() {
        let mut port = port();
        turns(&mut port, 3, false, true);
        port.state.to = Some(PEER);
        assert_eq!(turns(&mut port, 7, true, true)[..], [Some(PEER); 7]);
        let all = turns(&mut port, 6, false, false);
        let (first, others) = all.split_first().expect("six");
        assert_eq!(*first, Some(EVERYBODY));
        assert_eq!(others[..4], [Some(PEER); 4]);
        assert_eq!(others[4], Some(EVERYBODY));
    }
}

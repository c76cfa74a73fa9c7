//! Announcing to the neighbours who has an address, and hearing who else claims it.
//!
//! Each interface has one packet socket, kept open: opening one takes milliseconds, a frame takes
//! microseconds. A socket filter lets in nothing but claims of floating addresses, so that no
//! other traffic wakes us. It sees them before the guard may drop them.
//!
//! `PACKET_QDISC_BYPASS` is never set: what we announce goes through the guard, which swallows it
//! once the lease is over.
#![allow(unsafe_code)] // a link-layer socket address has no safe constructor, nor has AsyncFd

use crate::address::Link;
use crate::netlink::{Doing as _, KernelError};
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, RawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A hardware address.
pub type Mac = [u8; 6];

pub(crate) const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

pub(crate) const ETHERNET: usize = 14;
pub(crate) const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// When to announce: a burst, for frames get lost and switches are slow, then every 30 s, for
/// somebody's table may have been wrong since.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    first: LocalTime,
    began: LocalTime,
    at: &'static [u64],
    sent: usize,
}

/// A schedule, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    first: LocalTime,
    began: LocalTime,
    /// It is the one against a stranger.
    defence: bool,
    sent: usize,
}

impl Schedule {
    const BURST: [u64; 10] = [
        0, 50, 200, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000,
    ];
    /// Against a stranger, who may answer each: RFC 5227 asks for 10 s between two.
    const DEFENCE: [u64; 5] = [0, 10_000, 20_000, 40_000, 60_000];
    const REPEAT: u64 = 30_000;

    /// What another program of this process needs to go on with it.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            first: self.first,
            began: self.began,
            defence: self.at.len() == Self::DEFENCE.len(),
            sent: self.sent,
        }
    }

    /// The schedule of the former program of this process.
    pub(crate) const fn goes_on(from: &Carried) -> Self {
        Self {
            first: from.first,
            began: from.began,
            at: match from.defence {
                true => &Self::DEFENCE,
                false => &Self::BURST,
            },
            sent: from.sent,
        }
    }

    /// A schedule whose first announcement is due now.
    #[must_use]
    pub const fn starting(now: LocalTime) -> Self {
        Self {
            first: now,
            began: now,
            at: &Self::BURST,
            sent: 0,
        }
    }

    /// The same once more from the beginning, or the one against a stranger.
    #[must_use]
    pub const fn again(self, now: LocalTime, contested: bool) -> Self {
        Self {
            first: self.first,
            at: if contested {
                &Self::DEFENCE
            } else {
                &Self::BURST
            },
            ..Self::starting(now)
        }
    }

    /// When the very first announcement was due.
    #[must_use]
    pub const fn since(&self) -> LocalTime {
        self.first
    }

    /// When the next announcement is due.
    #[must_use]
    pub fn next(&self) -> LocalTime {
        let last = self.at.len() - 1;
        let repeats = u64::try_from(self.sent.saturating_sub(last)).unwrap_or(0);
        let offset = self.at[self.sent.min(last)] + Self::REPEAT * repeats;
        self.began.plus(Span::from_millis(offset))
    }

    /// Whether an announcement is due; if so, the schedule moves on. Those missed are not made
    /// up for.
    pub fn due(&mut self, now: LocalTime) -> bool {
        let due = self.next() <= now;
        while self.next() <= now {
            self.sent += 1;
        }
        due
    }
}

/// Somebody on the network said that it has one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Who said so.
    pub mac: Mac,
}

/// The packet socket of one interface.
#[derive(Debug)]
pub struct Port {
    socket: AsyncFd<Socket>,
    name: String,
    mac: Mac,
    /// The host's own address there, to ask for IPv6 addresses from.
    own: Option<Ipv6Addr>,
}

impl Port {
    /// Its socket's number.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Opens the socket and listens for claims of `addresses`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(link: &Link, addresses: &[IpAddr]) -> Result<Self, KernelError> {
        let socket = listen_at(link, &claims(addresses));
        let socket = socket.doing(|| format!("opening a packet socket on {}", link.name))?;
        Ok(Self {
            socket,
            name: link.name.clone(),
            mac: link.mac,
            own: None,
        })
    }

    /// Listens for claims of these addresses from now on, and of no others.
    ///
    /// # Errors
    /// When the kernel refuses: then it listens as before.
    pub fn listen_for(&self, addresses: &[IpAddr]) -> io::Result<()> {
        self.socket.get_ref().attach_filter(&claims(addresses))
    }

    /// The interface's hardware address, as the kernel has it now; returns whether it has changed.
    #[must_use]
    pub fn set_mac(&mut self, mac: Mac) -> bool {
        std::mem::replace(&mut self.mac, mac) != mac
    }

    /// The host's own link-local address there.
    pub const fn ask_from(&mut self, own: Ipv6Addr) {
        self.own = Some(own);
    }

    /// Asks who else has an address: whoever does, answers to us alone, and that is a claim. (An
    /// IPv6 question that names no sender would be answered to everybody: it is not put.)
    ///
    /// # Errors
    /// When the question could not be sent.
    pub fn ask(&self, address: IpAddr) -> io::Result<()> {
        match question(self.mac, self.own, address) {
            Some(frame) => self.socket.get_ref().send(&frame).map(drop),
            None => Ok(()),
        }
    }

    /// Asks who has `address`, as the holder of another one, `sender`: whoever answers has learnt
    /// where that is. The guard swallows the question of one that does not hold.
    ///
    /// # Errors
    /// When the question could not be sent.
    pub fn ask_as(&self, sender: IpAddr, address: IpAddr) -> io::Result<()> {
        let frame = match (sender, address) {
            (IpAddr::V4(sender), IpAddr::V4(address)) => request(self.mac, sender, address),
            (IpAddr::V6(sender), IpAddr::V6(address)) => solicitation(self.mac, sender, address),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => return Ok(()), // no such question can be put
        };
        self.socket.get_ref().send(&frame).map(drop)
    }

    /// Whether this host routes IPv6 here. If that can't be known, yes: only a router that is
    /// called a host does harm, for its clients delete their routes through it.
    fn routes(&self) -> bool {
        let path = format!("/proc/sys/net/ipv6/conf/{}/forwarding", self.name);
        std::fs::read_to_string(path).map_or(true, |text| text.trim() != "0")
    }

    /// Announces an address once.
    ///
    /// # Errors
    /// When a frame could not be sent; the schedule repeats it.
    pub fn announce(&self, address: IpAddr) -> io::Result<()> {
        let send = |frame: &[u8]| self.socket.get_ref().send(frame).map(drop);
        match address {
            IpAddr::V4(a) => {
                send(&gratuitous(self.mac, a, 1, [0; 6]))?;
                // With our own address as its target: Linux ignores a zero one while fresh.
                send(&gratuitous(self.mac, a, 2, self.mac))
            }
            IpAddr::V6(a) => send(&unsolicited(self.mac, a, self.routes())),
        }
    }

    /// Whether it is still at that interface: one that leaves this network namespace drops it, and
    /// does not take it up again when it comes back.
    #[must_use]
    pub fn is_at(&self, link: &Link) -> bool {
        is_at(self.socket.get_ref(), link)
    }

    /// The next claim by somebody else, if one has arrived.
    pub fn poll_claim(&self, cx: &mut std::task::Context<'_>) -> Option<Claim> {
        let mut frame = [0; 128];
        while let std::task::Poll::Ready(Ok(mut ready)) = self.socket.poll_read_ready(cx) {
            let Ok(read) = ready.try_io(|socket| {
                let mut socket: &Socket = socket.get_ref();
                socket.read(&mut frame)
            }) else {
                continue; // nothing more: ask to be woken
            };
            // Any other error (the interface went down) is notified by rtnetlink too.
            let claim = read.ok().and_then(|len| claim(frame.get(..len)?));
            if let Some(claim) = claim.filter(|c| c.mac != self.mac) {
                return Some(claim);
            }
        }
        None
    }
}

/// A packet socket that is given what `filter` lets in of all that arrives at an interface.
pub(crate) fn listen_at(link: &Link, filter: &[SockFilter]) -> io::Result<AsyncFd<Socket>> {
    // No protocol yet: nothing may arrive before the filter is there.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(filter)?;
    socket.bind(&everything_on(link)?)?;
    // SAFETY: a socket2 socket owns its descriptor, always the same one, until dropped.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? })
}

/// Whether a packet socket is still at that interface.
pub(crate) fn is_at(socket: &Socket, link: &Link) -> bool {
    socket.local_addr().is_ok_and(|address| {
        // SAFETY: the address of a packet socket is a sockaddr_ll, and SockAddr's storage is
        // larger and aligned for every socket address.
        let address: &libc::sockaddr_ll = unsafe { &*address.as_ptr().cast() };
        address.sll_ifindex == link.index.cast_signed()
    })
}

/// Asks everybody on a network once who has an address. The answer goes to the kernel.
///
/// # Errors
/// When the question could not be sent.
pub fn ask_on(link: &Link, own: IpAddr, address: IpAddr) -> io::Result<()> {
    let own = match own {
        IpAddr::V6(own) => Some(own),
        IpAddr::V4(_) => None,
    };
    let Some(frame) = question(link.mac, own, address) else {
        return Ok(());
    };
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.send_to(&frame, &everything_on(link)?).map(drop)
}

/// The question who has an address, if it can be put.
fn question(mac: Mac, own: Option<Ipv6Addr>, address: IpAddr) -> Option<Vec<u8>> {
    match address {
        IpAddr::V4(a) => Some(probe(mac, a)),
        IpAddr::V6(a) => own.map(|own| solicitation(mac, own, a)),
    }
}

/// The address of a packet socket for all protocols on one interface. Not just ARP and IPv6:
/// only such sockets see a frame before the guard does.
pub(crate) fn everything_on(link: &Link) -> io::Result<SockAddr> {
    // SAFETY: the storage is larger than sockaddr_ll, zeroed by socket2, and aligned for every
    // socket address; the length we give is that of what we have written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            storage
                .cast::<libc::sockaddr_ll>()
                .write(libc::sockaddr_ll {
                    sll_family: libc::AF_PACKET as u16,
                    sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
                    sll_ifindex: link.index.cast_signed(),
                    sll_hatype: 0,
                    sll_pkttype: 0,
                    sll_halen: 0,
                    sll_addr: [0; 8],
                });
            *length = size_of::<libc::sockaddr_ll>() as u32;
            Ok(())
        })?
    };
    Ok(address)
}

/// The socket filter knows each address, of at most this many.
const PRECISE: usize = 128;

/// The socket filter: ARP from one of `addresses`, neighbour advertisements of one of them; not
/// what we send ourselves, nor another VLAN's.
fn claims(addresses: &[IpAddr]) -> Vec<SockFilter> {
    const WORD: u16 = 0x20;
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    const JUMP_EQ: u16 = 0x15;
    const JUMP: u16 = 0x05;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f000 + 4;
    const VLAN_TAGGED: u32 = 0xffff_f000 + 48;
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let skip_unless = |k, skip| SockFilter::new(JUMP_EQ, 0, skip, k);
    let skip_if = |k, skip| SockFilter::new(JUMP_EQ, skip, 0, k);
    let take = || op(RETURN, 0xffff);
    let leave = || op(RETURN, 0);

    let mut arp = vec![op(WORD, 28)];
    let mut nd = vec![
        op(BYTE, 20),
        skip_if(u32::from(ICMPV6), 1),
        leave(),
        op(BYTE, 54),
        skip_if(u32::from(ADVERTISEMENT), 1),
        leave(),
    ];
    // Of too many addresses (the kernel grants a socket 20 KiB) every claim is let in, and looked
    // at by whoever reads it.
    let precise = addresses.len() <= PRECISE;
    if !precise {
        arp.push(take());
        nd.push(take());
    }
    for address in addresses.iter().filter(|_| precise) {
        match address {
            IpAddr::V4(a) => arp.extend([skip_unless(u32::from(*a), 1), take()]),
            IpAddr::V6(a) => {
                let words = a.octets().chunks_exact(4).fold(Vec::new(), |mut words, c| {
                    words.push(u32::from_be_bytes([c[0], c[1], c[2], c[3]]));
                    words
                });
                for (at, (word, rest)) in (62..).step_by(4).zip(words.iter().zip([7, 5, 3, 1])) {
                    nd.extend([op(WORD, at), skip_unless(*word, rest)]);
                }
                nd.push(take());
            }
        }
    }
    arp.push(leave());
    nd.push(leave());

    let mut filter = vec![
        op(BYTE, PACKET_TYPE),
        skip_unless(u32::from(libc::PACKET_OUTGOING), 1),
        leave(),
        op(BYTE, VLAN_TAGGED),
        skip_if(0, 1),
        leave(),
        op(HALF, 12),
        skip_unless(libc::ETH_P_ARP as u32, 1),
        op(JUMP, 3), // to ARP
        skip_if(libc::ETH_P_IPV6 as u32, 1),
        leave(),
        op(JUMP, u32::try_from(arp.len()).unwrap_or(0)), // past ARP
    ];
    filter.append(&mut arp);
    filter.append(&mut nd);
    filter
}

/// What a frame that passed the filter claims.
fn claim(frame: &[u8]) -> Option<Claim> {
    let bytes = |at: usize, n: usize| frame.get(at..at + n);
    match frame.get(12..14)? {
        [0x08, 0x06] => Some(Claim {
            address: IpAddr::from(<[u8; 4]>::try_from(bytes(28, 4)?).ok()?),
            mac: bytes(22, 6)?.try_into().ok()?,
        }),
        _ => Some(Claim {
            address: IpAddr::from(<[u8; 16]>::try_from(bytes(62, 16)?).ok()?),
            mac: bytes(6, 6)?.try_into().ok()?,
        }),
    }
}

pub(crate) fn ethernet(frame: &mut Vec<u8>, to: Mac, from: Mac, ethertype: i32) {
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&u16::try_from(ethertype).unwrap_or(0).to_be_bytes());
}

/// An ARP packet in which `address` is both sender and target.
fn gratuitous(mac: Mac, address: Ipv4Addr, operation: u8, target: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + 28);
    ethernet(&mut frame, BROADCAST, mac, libc::ETH_P_ARP);
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]); // Ethernet, IPv4
    frame.extend_from_slice(&mac);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&target);
    frame.extend_from_slice(&address.octets());
    frame
}

/// An ARP request from no address yet, which nobody remembers (RFC 5227).
fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = gratuitous(mac, address, 1, [0; 6]);
    frame[ETHERNET + 14..ETHERNET + 18].fill(0);
    frame
}

/// An ARP request from an address.
fn request(mac: Mac, sender: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = gratuitous(mac, sender, 1, [0; 6]);
    frame[ETHERNET + 24..ETHERNET + 28].copy_from_slice(&address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes, which overrides what they knew.
fn unsolicited(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    const OVERRIDE: u8 = 0x20;
    const ROUTER: u8 = 0x80;
    const TARGET_LINK_LAYER: [u8; 2] = [2, 1]; // the option's kind; its length in 8 bytes
    let flags = OVERRIDE | if router { ROUTER } else { 0 };
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&TARGET_LINK_LAYER);
    message.extend_from_slice(&mac);
    icmpv6((mac, address), (ALL_NODES_MAC, ALL_NODES), message)
}

/// A neighbour solicitation.
fn solicitation(mac: Mac, own: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    const SOURCE_LINK_LAYER: [u8; 2] = [1, 1];
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&address.octets());
    message.extend_from_slice(&SOURCE_LINK_LAYER);
    message.extend_from_slice(&mac);
    // The group in which all listen whose address ends like this.
    let [.., a, b, c] = address.octets();
    let (high, low) = (u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c]));
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low);
    icmpv6((mac, own), ([0x33, 0x33, 0xff, a, b, c], group), message)
}

/// A frame with an ICMPv6 message, whose checksum is filled in.
fn icmpv6(from: (Mac, Ipv6Addr), to: (Mac, Ipv6Addr), mut message: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(message.len()).unwrap_or(0);
    let mut pseudo = from.1.octets().to_vec();
    pseudo.extend_from_slice(&to.1.octets());
    pseudo.extend_from_slice(&[0, 0, 0, length, 0, 0, 0, ICMPV6]);
    pseudo.extend_from_slice(&message);
    message[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());

    let mut frame = Vec::with_capacity(ETHERNET + 40 + message.len());
    ethernet(&mut frame, to.0, from.0, libc::ETH_P_IPV6);
    frame.extend_from_slice(&[0x60, 0, 0, 0, 0, length, ICMPV6, 255]);
    frame.extend_from_slice(&from.1.octets());
    frame.extend_from_slice(&to.1.octets());
    frame.extend_from_slice(&message);
    frame
}

/// The internet checksum of an even number of bytes.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks_exact(2)
        .map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r16_a_burst_then_every_30_s() {
        let at = |ms: u64| LocalTime::from_nanos(0).plus(Span::from_millis(ms));
        let mut schedule = Schedule::starting(at(0));
        let mut sent = Vec::new();
        for ms in 0..100_000 {
            if schedule.due(at(ms)) {
                sent.push(ms);
            }
        }
        assert_eq!(
            sent,
            [
                0, 50, 200, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 90_000
            ]
        );
    }

    #[test]
    fn against_a_stranger_no_two_within_10_s() {
        let at = |ms: u64| LocalTime::from_nanos(0).plus(Span::from_millis(ms));
        let mut schedule = Schedule::starting(at(0));
        let mut sent = Vec::new();
        for ms in 0..60_000 {
            if ms % 10_000 == 3_000 {
                schedule = schedule.again(at(ms), true); // it was heard again
            }
            if schedule.due(at(ms)) {
                sent.push(ms);
            }
        }
        let from = sent.iter().position(|ms| *ms == 3_000).expect("at once");
        assert_eq!(
            sent[from..],
            [3_000, 13_000, 23_000, 33_000, 43_000, 53_000]
        );
        assert_eq!(schedule.since(), at(0));
    }

    #[test]
    fn a_router_says_that_it_is_one() {
        let address: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let flags = |router| unsolicited([2, 0, 0, 0, 0, 1], address, router)[ETHERNET + 40 + 4];
        assert_eq!((flags(true), flags(false)), (0xa0, 0x20));
    }

    #[test]
    fn a_question_adds_up_and_claims_nothing() {
        let (own, address) = ("fe80::1".parse(), "2001:db8::12:3456".parse());
        let (own, address): (Ipv6Addr, Ipv6Addr) = (own.expect("one"), address.expect("one"));
        let frame = solicitation([2, 0, 0, 0, 0, 1], own, address);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        let mut pseudo = frame[22..54].to_vec();
        pseudo.extend_from_slice(&[0, 0, 0, 32, 0, 0, 0, ICMPV6]);
        pseudo.extend_from_slice(&frame[54..]);
        assert_eq!(checksum(&pseudo), 0);
        let frame = probe([2, 0, 0, 0, 0, 1], Ipv4Addr::new(192, 0, 2, 1));
        let claim = claim(&frame).expect("it is ARP");
        assert_eq!(claim.address, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }

    #[test]
    fn an_advertisement_adds_up() {
        let address: Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let frame = unsolicited([2, 0, 0, 0, 0, 1], address, false);
        let mut pseudo = frame[22..54].to_vec();
        pseudo.extend_from_slice(&[0, 0, 0, 32, 0, 0, 0, ICMPV6]);
        pseudo.extend_from_slice(&frame[54..]);
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(claim(&frame).map(|c| c.address), Some(IpAddr::V6(address)));
    }
}

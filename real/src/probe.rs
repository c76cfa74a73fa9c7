//! Echo requests for floating addresses, and the answers to them: bytes and a socket.
//!
//! An echo request is the one question that only a kernel answers which has the address, and whose
//! gate is open: what answers ARP may be a switch. A question carries when it was asked and whom,
//! under a seal of this incarnation's; only what brings all of that back is an answer, so neither
//! a forged nor an earlier one is. It is asked and answered below the IP layer of this host: past
//! its firewall, but not past that of the machine that is asked.
//!
//! What this never does: ask from an address that floats, wait, or let a router carry a question on
//! (it has one hop to live).

use crate::address::{Assigned, Link, is_link_local};
use crate::announce::{self, ETHERNET, ICMPV6, Mac, checksum};
use crate::netlink::{Doing as _, KernelError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use onehold_core::time::LocalTime;
use sha2::Sha256;
use socket2::{SockFilter, Socket};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, RawFd};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

const ICMP: u8 = 1;
/// Type and code of a question and of an answer: of ICMP, then of ICMPv6.
const QUESTION: [[u8; 2]; 2] = [[8, 0], [128, 0]];
const ANSWER: [[u8; 2]; 2] = [[0, 0], [129, 0]];
/// An IPv4 header without options, and an IPv6 one.
const HEADER: [usize; 2] = [20, 40];
/// Type, code, checksum, identifier, sequence number.
const ECHO: usize = 8;
/// `probed_at`, the hardware address that is asked, two zero bytes.
const SAID: usize = 16;
const SEALED: usize = 16;
const PAYLOAD: usize = SAID + SEALED;

/// What an incarnation recognises the answers to its own questions by.
#[derive(Clone)]
pub struct Seal {
    keyed: Hmac<Sha256>,
    identifier: [u8; 2],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seal({:02x?}, secret hidden)", self.identifier)
    }
}

/// A question: whether `to` has an open gate somewhere on the network of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The interface's number.
    pub index: u32,
    /// The floating address.
    pub to: IpAddr,
    /// The hardware address that is asked.
    pub at: Mac,
    /// When.
    pub probed_at: LocalTime,
}

impl Seal {
    /// A new one, of these random bytes.
    #[must_use]
    pub fn new(random: &[u8; 34]) -> Self {
        let [secret @ .., a, b] = random;
        let Ok(keyed) = Hmac::<Sha256>::new_from_slice(secret) else {
            unreachable!("HMAC takes a secret of any length")
        };
        Self {
            keyed,
            identifier: [*a, *b],
        }
    }

    /// What a question says, sealed.
    fn payload(&self, asked: Question) -> [u8; PAYLOAD] {
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&asked.probed_at.as_nanos().to_be_bytes());
        payload[8..14].copy_from_slice(&asked.at);
        let to = match asked.to {
            IpAddr::V4(a) => a.to_ipv6_mapped(),
            IpAddr::V6(a) => a,
        };
        let keyed = self.keyed.clone().chain_update(&payload[..SAID]);
        let keyed = keyed.chain_update(to.octets());
        let sealed = keyed.chain_update(asked.index.to_be_bytes()).finalize();
        payload[SAID..].copy_from_slice(&sealed.into_bytes()[..SEALED]);
        payload
    }

    /// The frame that asks, from an own hardware and IP address.
    fn frame(&self, asked: Question, from: (Mac, IpAddr), sequence: u16) -> Option<Vec<u8>> {
        let v6 = usize::from(asked.to.is_ipv6());
        let [kind, code] = QUESTION[v6];
        let mut echo = vec![kind, code, 0, 0];
        echo.extend_from_slice(&self.identifier);
        echo.extend_from_slice(&sequence.to_be_bytes());
        echo.extend_from_slice(&self.payload(asked));
        let mut frame = Vec::with_capacity(ETHERNET + HEADER[v6] + echo.len());
        match (from.1, asked.to) {
            (IpAddr::V4(own), IpAddr::V4(to)) => {
                let sum = checksum(&echo);
                echo[2..4].copy_from_slice(&sum.to_be_bytes());
                announce::ethernet(&mut frame, asked.at, from.0, libc::ETH_P_IP);
                frame.extend_from_slice(&header_v4(own, to, echo.len()));
            }
            (IpAddr::V6(own), IpAddr::V6(to)) => {
                let header = header_v6(own, to, echo.len());
                let mut pseudo = header[8..].to_vec();
                pseudo.extend_from_slice(&[0, 0, header[4], header[5], 0, 0, 0, ICMPV6]);
                pseudo.extend_from_slice(&echo);
                echo[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
                announce::ethernet(&mut frame, asked.at, from.0, libc::ETH_P_IPV6);
                frame.extend_from_slice(&header);
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => return None, // no such question can be put
        }
        frame.extend_from_slice(&echo);
        Some(frame)
    }

    /// The question that a frame answers, if it does.
    fn answered(&self, frame: &[u8], index: u32) -> Option<Question> {
        let v6 = usize::from(match frame.get(12..14)? {
            [0x08, 0x00] if *frame.get(ETHERNET)? == 0x45 => false,
            [0x86, 0xdd] => true,
            _ => return None,
        });
        let to = match v6 {
            0 => IpAddr::from(<[u8; 4]>::try_from(frame.get(26..30)?).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(frame.get(22..38)?).ok()?),
        };
        let echo = frame.get(ETHERNET + HEADER[v6]..)?;
        let payload: [u8; PAYLOAD] = echo.get(ECHO..ECHO + PAYLOAD)?.try_into().ok()?;
        if echo[..2] != ANSWER[v6] || echo[4..6] != self.identifier {
            return None;
        }
        let asked = Question {
            index,
            to,
            at: payload[8..14].try_into().ok()?,
            probed_at: LocalTime::from_nanos(u64::from_be_bytes(payload[..8].try_into().ok()?)),
        };
        let answers: Mac = frame[6..12].try_into().ok()?;
        (self.payload(asked) == payload && answers == asked.at).then_some(asked)
    }
}

/// From which of an interface's own addresses one is asked for: one of its network, if there is
/// one; over IPv6 from the link-local one, whose answer takes no other way.
#[must_use]
pub fn source(own: &[Assigned], to: IpAddr) -> Option<IpAddr> {
    let same = || (own.iter()).filter(|a| a.address.is_ipv4() == to.is_ipv4());
    let local = same().find(|a| to.is_ipv6() && is_link_local(a.address));
    let beside = same().find(|a| holds(a, to));
    let other = same().find(|_| to.is_ipv4() || !is_link_local(to));
    local.or(beside).or(other).map(|a| a.address)
}

/// Whether an address is in the network of one of ours.
fn holds(own: &Assigned, to: IpAddr) -> bool {
    match (own.address, to) {
        (IpAddr::V4(own_address), IpAddr::V4(to)) => {
            let host = u32::MAX.checked_shr(own.length.into()).unwrap_or(0);
            (own_address.to_bits() ^ to.to_bits()) & !host == 0
        }
        (IpAddr::V6(own_address), IpAddr::V6(to)) => {
            let host = u128::MAX.checked_shr(own.length.into()).unwrap_or(0);
            (own_address.to_bits() ^ to.to_bits()) & !host == 0
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

fn header_v4(from: Ipv4Addr, to: Ipv4Addr, length: usize) -> [u8; 20] {
    const DON_T_FRAGMENT: u8 = 0x40;
    let length = u16::try_from(HEADER[0] + length).unwrap_or(0).to_be_bytes();
    let mut header = [0; 20];
    header[..4].copy_from_slice(&[0x45, 0, length[0], length[1]]);
    header[6] = DON_T_FRAGMENT;
    header[8..10].copy_from_slice(&[1, ICMP]); // hops to live; protocol
    header[12..16].copy_from_slice(&from.octets());
    header[16..].copy_from_slice(&to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn header_v6(from: Ipv6Addr, to: Ipv6Addr, length: usize) -> [u8; 40] {
    let length = u16::try_from(length).unwrap_or(0).to_be_bytes();
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..8].copy_from_slice(&[length[0], length[1], ICMPV6, 1]); // next header; hops to live
    header[8..24].copy_from_slice(&from.octets());
    header[24..].copy_from_slice(&to.octets());
    header
}

/// The socket of one interface.
#[derive(Debug)]
pub struct Prober {
    socket: AsyncFd<Socket>,
    index: u32,
    seal: Seal,
    sequence: u16,
}

impl Prober {
    /// Its socket's number.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Opens the socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(link: &Link, seal: &Seal) -> Result<Self, KernelError> {
        let socket = announce::listen_at(link, &answers(seal.identifier))
            .doing(|| format!("opening a packet socket on {}", link.name))?;
        Ok(Self {
            socket,
            index: link.index,
            seal: seal.clone(),
            sequence: 0,
        })
    }

    /// Whether it is still at that interface.
    #[must_use]
    pub fn is_at(&self, link: &Link) -> bool {
        announce::is_at(self.socket.get_ref(), link)
    }

    /// Asks, from an own hardware and IP address; returns whether the question left.
    pub fn ask(
        &mut self,
        (to, at): (IpAddr, Mac),
        probed_at: LocalTime,
        from: (Mac, IpAddr),
    ) -> bool {
        self.sequence = self.sequence.wrapping_add(1);
        let asked = Question {
            index: self.index,
            to,
            at,
            probed_at,
        };
        let frame = self.seal.frame(asked, from, self.sequence);
        frame.is_some_and(|frame| self.socket.get_ref().send(&frame).is_ok())
    }

    /// The next question that has been answered by whom it was asked; not by one of `own`. Looks
    /// at `left` frames at most, and counts them down.
    pub fn poll_answer(
        &self,
        own: &[Mac],
        left: &mut usize,
        cx: &mut Context<'_>,
    ) -> Option<Question> {
        let mut frame = [0; 128];
        while *left > 0
            && let Poll::Ready(Ok(mut ready)) = self.socket.poll_read_ready(cx)
        {
            let Ok(read) = ready.try_io(|socket| {
                let mut socket: &Socket = socket.get_ref();
                socket.read(&mut frame)
            }) else {
                continue; // nothing more: ask to be woken
            };
            *left -= 1;
            let frame = read.ok().and_then(|len| frame.get(..len));
            let of_others = |frame: &&[u8]| own.iter().all(|mac| frame.get(6..12) != Some(mac));
            let frame = frame.filter(of_others);
            if let Some(asked) = frame.and_then(|frame| self.seal.answered(frame, self.index)) {
                return Some(asked);
            }
        }
        None
    }
}

/// The socket filter: echo replies with this identifier; not what we send ourselves, nor another
/// VLAN's.
fn answers(identifier: [u8; 2]) -> Vec<SockFilter> {
    const HALF: u16 = 0x28;
    const BYTE: u16 = 0x30;
    const JUMP_EQ: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const PACKET_TYPE: u32 = 0xffff_f000 + 4;
    const VLAN_TAGGED: u32 = 0xffff_f000 + 48;
    let op = |code, k| SockFilter::new(code, 0, 0, k);
    let half = |bytes: [u8; 2]| u32::from(u16::from_be_bytes(bytes));
    let must = |load, at, be| {
        [
            op(load, at),
            SockFilter::new(JUMP_EQ, 1, 0, be),
            op(RETURN, 0),
        ]
    };
    let of = |v6: usize| {
        let echo = u32::try_from(ETHERNET + HEADER[v6]).unwrap_or(0);
        let (first, protocol) = match v6 {
            0 => (must(BYTE, 14, 0x45), must(BYTE, 23, ICMP.into())),
            _ => (must(BYTE, 20, ICMPV6.into()), must(BYTE, 20, ICMPV6.into())),
        };
        let kind = must(HALF, echo, half(ANSWER[v6]));
        let whose = must(HALF, echo + 4, half(identifier));
        let all = [first, protocol, kind, whose].into_iter().flatten();
        all.chain([op(RETURN, 0xffff)]).collect::<Vec<_>>()
    };
    let (v4, v6) = (of(0), of(1));
    let mut filter = vec![
        op(BYTE, PACKET_TYPE),
        SockFilter::new(JUMP_EQ, 0, 1, libc::PACKET_OUTGOING.into()),
        op(RETURN, 0),
    ];
    filter.extend(must(BYTE, VLAN_TAGGED, 0));
    filter.extend([
        op(HALF, 12),
        SockFilter::new(
            JUMP_EQ,
            0,
            u8::try_from(v4.len()).unwrap_or(u8::MAX),
            libc::ETH_P_IP as u32,
        ),
    ]);
    filter.extend(v4);
    filter.extend(must(HALF, 12, libc::ETH_P_IPV6 as u32));
    filter.extend(v6);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = [2, 0, 0, 0, 0, 1];
    const THEIRS: Mac = [2, 0, 0, 0, 0, 2];

    fn seal(n: u8) -> Seal {
        Seal::new(&[n; 34])
    }

    fn question(to: &str, at: Mac) -> Question {
        Question {
            index: 7,
            to: to.parse().expect("an address"),
            at,
            probed_at: LocalTime::from_nanos(123_456_789),
        }
    }

    fn both() -> [(Question, IpAddr); 2] {
        [
            (
                question("10.0.0.50", THEIRS),
                "10.0.0.10".parse().expect("one"),
            ),
            (
                question("2001:db8::50", THEIRS),
                "fe80::1".parse().expect("one"),
            ),
        ]
    }

    /// What a kernel makes of a question.
    fn reply(question: &[u8], from: Mac) -> Vec<u8> {
        let mut frame = question.to_vec();
        let (to, by) = (question[6..12].to_vec(), from);
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&by);
        let (v6, at, each) = match question[12..14] {
            [0x08, 0x00] => (0, 26, 4),
            _ => (1, 22, 16),
        };
        frame[at..at + each].copy_from_slice(&question[at + each..at + 2 * each]);
        frame[at + each..at + 2 * each].copy_from_slice(&question[at..at + each]);
        frame[ETHERNET + HEADER[v6]] = ANSWER[v6][0];
        frame
    }

    #[test]
    fn r20_an_answer_brings_back_when_and_whom_was_asked() {
        for (asked, own) in both() {
            let frame = seal(1).frame(asked, (OURS, own), 1).expect("it can be put");
            assert_eq!(seal(1).answered(&reply(&frame, THEIRS), 7), Some(asked));
            assert_eq!(
                seal(1).answered(&frame, 7),
                None,
                "a question is not an answer"
            );
        }
    }

    #[test]
    fn r20_neither_a_forged_answer_nor_one_of_another_incarnation_counts() {
        for (asked, own) in both() {
            let frame = seal(1).frame(asked, (OURS, own), 1).expect("it can be put");
            let answer = reply(&frame, THEIRS);
            assert_eq!(seal(2).answered(&answer, 7), None, "another incarnation's");
            assert_eq!(seal(1).answered(&answer, 8), None, "another interface's");
            let other = [2, 0, 0, 0, 0, 3];
            assert_eq!(
                seal(1).answered(&reply(&frame, other), 7),
                None,
                "not asked"
            );
            let v6 = usize::from(asked.to.is_ipv6());
            let echo = ETHERNET + HEADER[v6];
            let address = [26..30, 22..38][v6].clone();
            let payload = echo + ECHO..frame.len();
            for at in address
                .chain([echo, echo + 1, echo + 4, echo + 5])
                .chain(payload)
            {
                let mut forged = answer.clone();
                forged[at] ^= 1;
                assert_eq!(seal(1).answered(&forged, 7), None, "byte {at}");
            }
            for length in 0..answer.len() {
                assert_eq!(seal(1).answered(&answer[..length], 7), None, "{length}");
            }
        }
    }

    #[test]
    fn a_question_adds_up_and_no_router_carries_it_on() {
        for (asked, own) in both() {
            let frame = seal(1).frame(asked, (OURS, own), 1).expect("it can be put");
            assert_eq!(frame[..6], THEIRS);
            let (header, echo) =
                frame[ETHERNET..].split_at(HEADER[usize::from(asked.to.is_ipv6())]);
            if asked.to.is_ipv4() {
                assert_eq!((checksum(header), checksum(echo)), (0, 0));
                assert_eq!(header[8], 1);
            } else {
                let mut pseudo = header[8..].to_vec();
                pseudo.extend_from_slice(&[0, 0, 0, 40, 0, 0, 0, ICMPV6]);
                pseudo.extend_from_slice(echo);
                assert_eq!((checksum(&pseudo), header[7]), (0, 1));
            }
        }
        let v6 = "fe80::1".parse().expect("an address");
        let mixed = seal(1).frame(question("10.0.0.50", THEIRS), (OURS, v6), 1);
        assert_eq!(mixed, None);
    }

    #[test]
    fn it_is_asked_from_the_network_of_the_address_or_link_local() {
        let own = |all: &[(&str, u8)]| -> Vec<Assigned> {
            let one = |(a, length): &(&str, u8)| {
                Assigned::own(7, a.parse().expect("an address"), *length)
            };
            all.iter().map(one).collect()
        };
        let all = own(&[
            ("192.0.2.10", 24),
            ("10.0.0.10", 24),
            ("10.0.0.11", 32),
            ("2001:db8::10", 64),
            ("fe80::1", 64),
        ]);
        let from = |all: &[Assigned], to: &str| {
            let from = source(all, to.parse().expect("an address"));
            from.map_or_else(String::new, |a| a.to_string())
        };
        assert_eq!(from(&all, "10.0.0.50"), "10.0.0.10");
        assert_eq!(from(&all, "203.0.113.50"), "192.0.2.10");
        assert_eq!(from(&all, "2001:db8::50"), "fe80::1");
        assert_eq!(from(&all, "fe80::50"), "fe80::1");
        let no_link_local = own(&[("2001:db8::10", 64)]);
        assert_eq!(from(&no_link_local, "2001:db8::50"), "2001:db8::10");
        assert_eq!(from(&no_link_local, "fe80::50"), "");
        assert_eq!(from(&no_link_local, "10.0.0.50"), "");
        assert_eq!(from(&own(&[("10.0.0.10", 0)]), "192.0.2.50"), "10.0.0.10");
    }
}

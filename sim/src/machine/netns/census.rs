//! Asks the network for many addresses: which of them one host answers for, and has announced.
//!
//! Each address that is not answered for yet is asked for again and again, by ARP or neighbour
//! solicitation, straight to the hardware address of the host in question, so that no other one is
//! kept busy. Until the first is answered for, only some are asked for: what the questions cost a host
//! that waits for a lease would be in the figure.

use super::background::Background;
use super::host::Host;
use super::link::{self, Mac};
use super::packet::PacketSocket;
use super::priority;
use crate::error::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long after a question the next one for the same address comes.
const PERIOD: Duration = Duration::from_millis(5);
/// And while none of them is answered for.
const WAITING: Duration = Duration::from_millis(1);
/// So many are asked for then.
const SOME: usize = 16;
/// So many questions are sent before what came is looked at.
const AT_ONCE: usize = 32;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const BROADCAST: Mac = [0xff; 6];
const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// What was seen of an address since [`Census::begin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When the host first answered for it.
    pub answered: Option<Instant>,
    /// When the host first announced it to everybody.
    pub announced: Option<Instant>,
}

/// A probe in a host of its own.
pub struct Census {
    shared: Arc<Mutex<State>>,
    _thread: Background,
}

struct State {
    /// The host in question.
    of: Option<Mac>,
    seen: Vec<Seen>,
}

impl Census {
    /// Starts in `host`, and asks nothing yet.
    ///
    /// # Errors
    /// If the host is off, or allows no packet socket.
    pub fn start(host: &Host, addresses: &[IpAddr]) -> Result<Self> {
        let seen = vec![Seen::default(); addresses.len()];
        let shared = Arc::new(Mutex::new(State { of: None, seen }));
        let asker = (addresses.to_vec(), host.mac(0), Arc::clone(&shared));
        let thread = host.call(move || -> Result<_> {
            let (addresses, own, shared) = asker;
            let socket = link::index("eth0").and_then(PacketSocket::everything);
            let asker = Asker {
                socket: socket.context(|| "opening the census's packet socket")?,
                numbers: addresses.iter().copied().zip(0..).collect(),
                addresses,
                own,
                shared,
            };
            Background::start("census", move |stop| asker.run(stop))
                .context(|| "starting the census")
        })??;
        Ok(Self {
            shared,
            _thread: thread,
        })
    }

    /// Forgets what was seen, and looks from now on for what `host` has.
    pub fn begin(&self, host: &Host) {
        let mut state = lock(&self.shared);
        state.of = Some(host.mac(0));
        state.seen.fill(Seen::default());
    }

    /// What was seen of each address, in the order of [`Census::start`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared).seen.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The census's thread.
struct Asker {
    socket: PacketSocket,
    addresses: Vec<IpAddr>,
    numbers: BTreeMap<IpAddr, usize>,
    own: Mac,
    shared: Arc<Mutex<State>>,
}

impl Asker {
    fn run(self, stop: &AtomicBool) {
        priority::raise();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let (of, missing) = self.missing();
            let none = missing.len() == self.addresses.len();
            let apart = if none {
                missing.len().div_ceil(SOME)
            } else {
                1
            };
            let asked: Vec<usize> = missing.into_iter().step_by(apart.max(1)).collect();
            for some in asked.chunks(AT_ONCE) {
                for at in some {
                    // A question that could not be sent gets no answer, and is repeated.
                    let _ = (self.socket).send(&question(self.own, of, self.addresses[*at]));
                }
                self.listen(Instant::now());
            }
            self.listen(began + if none { WAITING } else { PERIOD });
        }
    }

    /// The host in question, and which addresses it has not answered for.
    fn missing(&self) -> (Mac, Vec<usize>) {
        let state = lock(&self.shared);
        let Some(of) = state.of else {
            return ([0; 6], Vec::new());
        };
        let numbered = state.seen.iter().enumerate();
        let missing = numbered.filter(|(_, seen)| seen.answered.is_none());
        (of, missing.map(|(at, _)| at).collect())
    }

    /// Notes what comes until `due`, and what is there already.
    fn listen(&self, due: Instant) {
        loop {
            let mut frame = [0; 128];
            while let Ok(len) = self.socket.receive(&mut frame) {
                self.note(&frame[..len.min(frame.len())]);
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            // Whatever comes of it, the loop looks again.
            let _ = poll(
                &mut [PollFd::new(&self.socket, PollFlags::IN)],
                Some(&patience),
            );
        }
    }

    fn note(&self, frame: &[u8]) {
        let Some((from, address, to)) = said(frame) else {
            return;
        };
        let Some(at) = self.numbers.get(&address) else {
            return;
        };
        let mut state = lock(&self.shared);
        if state.of != Some(from) {
            return;
        }
        let seen = &mut state.seen[*at];
        match to {
            BROADCAST | ALL_NODES => seen.announced.get_or_insert_with(Instant::now),
            _ if to == self.own => seen.answered.get_or_insert_with(Instant::now),
            _ => return,
        };
    }
}

/// Who says that it has which address, and to whom.
fn said(frame: &[u8]) -> Option<(Mac, IpAddr, Mac)> {
    let mac = |at: usize| frame.get(at..at + 6)?.try_into().ok();
    let (to, from): (Mac, Mac) = (mac(0)?, mac(6)?);
    let address = match <[u8; 2]>::try_from(frame.get(12..14)?).ok()? {
        ARP => IpAddr::from(<[u8; 4]>::try_from(frame.get(28..32)?).ok()?),
        IPV6 if frame.get(20) == Some(&ICMPV6) && frame.get(54) == Some(&ADVERTISEMENT) => {
            IpAddr::from(<[u8; 16]>::try_from(frame.get(62..78)?).ok()?)
        }
        _ => return None,
    };
    Some((from, address, to))
}

/// Who has an address? From an own hardware address to another one.
fn question(own: Mac, to: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => {
            // A request whose sender has no address yet: nobody remembers it.
            const HEADER: [u8; 8] = [0, 1, 0x08, 0, 6, 4, 0, 1];
            let target = address.octets();
            let parts = [
                &to[..],
                &own,
                &ARP,
                &HEADER,
                &own,
                &[0; 4],
                &[0; 6],
                &target,
            ];
            parts.concat()
        }
        IpAddr::V6(address) => {
            let source = link_local(own).octets();
            let address = address.octets();
            let option = [&[1, 1][..], &own].concat();
            let mut body = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &address, &option].concat();
            let length = [0, body.len() as u8];
            let checked = [&source[..], &address, &[0, 0], &length, &[0, 0, 0, ICMPV6]].concat();
            let sum = checksum(&[&checked[..], &body].concat());
            body[2..4].copy_from_slice(&sum.to_be_bytes());
            let header = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, 255]].concat();
            [&to[..], &own, &IPV6, &header, &source, &address, &body].concat()
        }
    }
}

/// The link-local address that an interface gives itself.
fn link_local([a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    let id = [a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(u64::from_be_bytes(id)))
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

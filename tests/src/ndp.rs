//! Who answers for an IPv6 address: neighbour solicitations, again and again.

use onehold_sim::netns::Host;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::Read as _;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

const PERIOD: Duration = Duration::from_millis(5);
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Asks a host's network for an IPv6 address all the time, and notes who answers.
///
/// An answer does not say to which question. But if two hold, both answer every question, so the
/// one who answered last changes again and again; if the address moves, it changes once.
pub struct Neighbours {
    answers: Arc<Mutex<Vec<usize>>>,
    names: Vec<String>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbours {
    /// Starts to ask from `eth0` of `host`. `nodes` are those who may answer.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn watch(host: &Host, target: Ipv6Addr, nodes: &[&Host]) -> Self {
        let names = nodes.iter().map(|node| node.name().to_owned()).collect();
        let macs: Vec<[u8; 6]> = nodes.iter().map(|node| node.mac(0)).collect();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (noted, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let socket = host.call(open).expect("the host is on");
        let (mut socket, scope) = socket.expect("a raw socket");
        let thread = thread::spawn(move || {
            let to = SockAddr::from(SocketAddrV6::new(solicited_node(target), 0, 0, scope));
            while !stopped.load(Ordering::Relaxed) {
                // A question that can't be sent gets no answer.
                let _ = socket.send_to(&solicitation(target), &to);
                sleep(PERIOD);
                let mut message = [0; 256];
                while let Ok(length) = socket.read(&mut message) {
                    let mac = advertised(&message[..length], target);
                    let node = mac.and_then(|mac| macs.iter().position(|m| m[..] == *mac));
                    let mut answers = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.extend(node);
                }
            }
        });
        Self {
            answers,
            names,
            stop,
            thread: Some(thread),
        }
    }

    /// Who has answered, one after the other.
    #[must_use]
    pub fn holders(&self) -> Vec<&str> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders: Vec<&str> = answers.iter().map(|n| self.names[*n].as_str()).collect();
        holders.dedup();
        holders
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // If it panicked it has said so.
            let _ = thread.join();
        }
    }
}

fn open() -> std::io::Result<(Socket, u32)> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_hops_v6(255)?;
    // address, index, prefix length, scope, flags, name; in hexadecimal. (/sys shows another
    // namespace's interfaces.)
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6")?;
    let line = table.lines().find(|line| line.ends_with(" eth0"));
    let index = line.and_then(|line| line.split_whitespace().nth(1));
    let index = index.and_then(|index| u32::from_str_radix(index, 16).ok());
    let index = index.ok_or(std::io::ErrorKind::NotFound)?;
    Ok((socket, index))
}

/// The multicast address at which a node listens for questions about `target`.
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let (high, low) = (u16::from_be_bytes([0xff, a]), u16::from_be_bytes([b, c]));
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, low)
}

/// Type, code, checksum (the kernel's), reserved, target.
fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat()
}

/// The hardware address that an advertisement gives for `target`: option 2, of length 8.
fn advertised(message: &[u8], target: Ipv6Addr) -> Option<&[u8]> {
    let is_one = message.first() == Some(&ADVERTISEMENT);
    let option = message.get(24..32)?;
    (is_one && message[8..24] == target.octets() && option[..2] == [2, 1]).then(|| &option[2..])
}

//! Copies of real datagrams, and datagrams under a false name.

use onehold_sim::netns::Host;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A datagram as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it, or says so.
    pub from: SocketAddr,
    /// Its receiver.
    pub to: SocketAddr,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Gets a copy of every UDP datagram that arrives at a host (by IPv4).
pub struct Tap(Socket);

impl Tap {
    /// Listens on `host`, from now on.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn on(host: &Host) -> Self {
        let open = || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok::<_, std::io::Error>(socket)
        };
        Self(
            host.call(open)
                .expect("the host is on")
                .expect("a raw socket"),
        )
    }

    /// The next advert from `from`: the same host sends notes, too.
    ///
    /// # Panics
    /// If none comes.
    pub fn next_from(&mut self, from: IpAddr) -> Datagram {
        for _ in 0..1000 {
            let mut packet = [0; 2048];
            let length = self.0.read(&mut packet).expect("a datagram comes");
            if let Some(datagram) = parse(&packet[..length])
                && datagram.from.ip() == from
                && datagram.bytes.starts_with(b"OHA")
            {
                return datagram;
            }
        }
        panic!("no advert of {from} among many");
    }
}

/// An IPv4 packet with a UDP datagram in it.
fn parse(packet: &[u8]) -> Option<Datagram> {
    let ip = |at: usize| {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(Ipv4Addr::from(octets)))
    };
    let udp = packet.get(4 * usize::from(packet.first()? & 0xf)..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    Some(Datagram {
        from: SocketAddr::new(ip(12)?, port(0)?),
        to: SocketAddr::new(ip(16)?, port(2)?),
        bytes: udp.get(8..)?.to_vec(),
    })
}

/// Sends a datagram from `host` as if it came from `datagram.from`, which is another host's.
///
/// # Panics
/// If the kernel refuses.
pub fn send_as(host: &Host, datagram: &Datagram) {
    let Datagram { from, to, bytes } = datagram.clone();
    let send = move || false_name(from)?.send_to(&bytes, to);
    host.call(send)
        .expect("the host is on")
        .expect("it is sent");
}

/// A socket under another host's address, in the host of the calling thread: for [`Host::call`].
///
/// # Errors
/// If the kernel refuses.
pub fn false_name(from: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_ip_transparent_v4(true)?;
    // A child that another test has just forked may still have a copy of the one before.
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    Ok(socket.into())
}

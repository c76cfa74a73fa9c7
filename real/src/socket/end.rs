//! One UDP socket at one of our addresses: how it is opened, what may be wrong with it, in words.
#![allow(unsafe_code)] // two socket options have no safe setter

use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Room for what waits to be read where many members share a socket: some hundred datagrams, of which
/// the newest are taken first. (Much more would wait longer than it is worth an answer.)
const ROOM: usize = 512 << 10;
/// Most errors that are taken from a socket at a time.
const MAX_ERRORS: usize = 64;

/// Why a datagram was refused, as a person may want to know it.
pub(super) fn words(error: &io::Error) -> Cow<'static, str> {
    let text = match error.kind() {
        ErrorKind::WouldBlock => "too much waits to be sent already",
        ErrorKind::ConnectionRefused => {
            "nothing listens there (is it running, and is `port` the same in both files?)"
        }
        ErrorKind::HostUnreachable => "no route there, or nobody answers for that address",
        ErrorKind::NetworkUnreachable => "no route there",
        ErrorKind::PermissionDenied if error.raw_os_error() == Some(libc::EPERM) => {
            "a firewall on this host forbids it"
        }
        ErrorKind::PermissionDenied => "a route of this host, or a firewall on the way, forbids it",
        ErrorKind::InvalidInput | ErrorKind::AddrNotAvailable => {
            "the address to send from is not on this host"
        }
        _ if error.raw_os_error() == Some(libc::ENOBUFS) => {
            "its queue is full, or the gate of this host drops it: is there an snat rule to a floating address?"
        }
        _ => return error.to_string().into(),
    };
    text.into()
}

/// A socket on an address that may come later, as at boot; `shared` by many members.
pub(super) fn bind(local: SocketAddr, beside_others: bool, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(beside_others)?;
    // Interactive traffic: DSCP CS6, as routing protocols have it. Not every network honours it.
    let (_, level, errors) = if local.is_ipv6() {
        let set = socket.set_tclass_v6(0xc0);
        (set, libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        let set = socket.set_tos_v4(0xc0);
        (set, libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    // And first in the queues of this host, for which that is not enough. The highest is for root.
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, 7)
        .or_else(|_| set(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, 6));
    if shared {
        let _ = socket.set_recv_buffer_size(ROOM);
    } else {
        // To learn what becomes of what is sent, not only that nothing listens there. (Where members
        // share a socket, an answer about one of them would hold up the others.)
        let _ = set(&socket, level, errors, 1);
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of an int, which the call only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn explain(local: SocketAddr, e: &io::Error) -> String {
    let remedy = match e.kind() {
        ErrorKind::AddrInUse => {
            let port = local.port();
            let whose = match owner(local) {
                Some(uid) => format!("a socket of user id {uid} has it"),
                None => "something has it".to_owned(),
            };
            format!(
                "{whose} (`ss -aunp sport = :{port}` shows which process); stop that, or set another `port` \
                 in [cluster]"
            )
        }
        ErrorKind::PermissionDenied => "a port below 1024 needs CAP_NET_BIND_SERVICE".to_owned(),
        _ if e.raw_os_error() == Some(libc::EMFILE) => {
            "each way to a member needs a socket: raise the limit (systemd: LimitNOFILE=)"
                .to_owned()
        }
        _ => "is it an address of this host?".to_owned(),
    };
    format!("can't listen on {local}/udp: {e}; {remedy}")
}

/// The user whose socket is in the way, as far as the kernel shows it.
fn owner(local: SocketAddr) -> Option<u32> {
    let list = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let all = list("udp").unwrap_or_default() + &list("udp6").unwrap_or_default();
    // sl local remote st queues timer retransmits uid …; `local` is ADDRESS:PORT in hex, the
    // address in words as they are in memory. One at any address is in the way, too.
    let hex = |ip: IpAddr| {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = bytes.chunks_exact(4).map(|word| {
            let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
            format!("{word:08X}")
        });
        format!("{}:{:04X}", words.collect::<String>(), local.port())
    };
    let any: [IpAddr; 2] = [
        std::net::Ipv4Addr::UNSPECIFIED.into(),
        std::net::Ipv6Addr::UNSPECIFIED.into(),
    ];
    let ours = [local.ip(), any[0], any[1]].map(hex);
    let mut owners = all.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let at = words.next()?;
        words
            .nth(5)?
            .parse()
            .ok()
            .filter(|_| ours.iter().any(|o| o == at))
    });
    owners.next()
}

/// What was answered to what we sent: how many answers but one, and the last.
pub(super) fn take_errors(socket: &UdpSocket) -> (u64, Option<io::Error>) {
    let error = socket.take_error().ok().flatten();
    let mut count = 0;
    for _ in 0..MAX_ERRORS {
        let gone = rustix::net::recv(socket, &mut [0; 1][..], RecvFlags::ERRQUEUE);
        if gone.is_err() {
            break;
        }
        count += 1;
    }
    (count - u64::from(count > 0 && error.is_some()), error)
}

//! The UDP sockets: one for each address of ours, each path of a peer through one of them.

use crate::config_file::{Path, Seat};
use crate::readiness::watch;
use onehold_core::advert::MemberId;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// Longer datagrams are cut off, and then their seal doesn't fit.
const MAX_DATAGRAM: usize = 2_048;

#[derive(Debug)]
struct Bound {
    local: SocketAddr,
    fd: AsyncFd<UdpSocket>,
}

/// All sockets of the process, and the paths of each cluster.
#[derive(Debug)]
pub struct Sockets {
    bound: Vec<Bound>,
    /// By cluster and member: which socket, and whereto.
    paths: Vec<Vec<Vec<(usize, SocketAddr)>>>,
    /// Where to look next.
    next: usize,
    /// Nothing was left when they were last looked at.
    drained: bool,
}

impl Sockets {
    /// Binds every address of ours, once. Needs a tokio runtime.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn open(seats: &[Seat]) -> Result<Self, String> {
        let mut sockets = Self {
            bound: Vec::new(),
            paths: Vec::new(),
            next: 0,
            drained: true,
        };
        seats.iter().try_for_each(|seat| sockets.add(seat))?;
        Ok(sockets)
    }

    /// Binds the addresses of one cluster more, which gets the next index; all of them or none.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn add(&mut self, seat: &Seat) -> Result<(), String> {
        let before = self.bound.len();
        for local in seat.local() {
            if self.bound.iter().all(|b| b.local != *local) {
                let fd = bind(*local).and_then(watch).map_err(|e| {
                    self.bound.truncate(before);
                    explain(*local, &e)
                })?;
                self.bound.push(Bound { local: *local, fd });
            }
        }
        let members = (0u8..).map(MemberId).take(seat.config.members().len());
        let socket = |path: Path| {
            let at = self.bound.iter().position(|b| b.local == path.local)?;
            Some((at, path.remote))
        };
        let paths = members.map(|m| seat.paths(m).filter_map(socket).collect());
        self.paths.push(paths.collect());
        Ok(())
    }

    /// Hands a datagram to the network on every path; says on how many. What the network refuses is
    /// lost, like everything that it loses.
    pub fn send(&self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        let paths = self
            .paths
            .get(cluster)
            .and_then(|p| p.get(usize::from(to.0)));
        let sent = paths.into_iter().flatten().filter(|(at, remote)| {
            self.bound
                .get(*at)
                .is_some_and(|b| b.fd.get_ref().send_to(bytes, remote).is_ok())
        });
        u64::try_from(sent.count()).unwrap_or(u64::MAX)
    }

    /// The next datagram that waits in any socket: where it came in, and from where.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Option<(SocketAddr, SocketAddr)> {
        for _ in 0..self.bound.len() {
            let bound = &self.bound[self.next];
            into.resize(MAX_DATAGRAM, 0);
            loop {
                match bound.fd.get_ref().recv_from(into) {
                    Ok((length, remote)) => {
                        into.truncate(length);
                        self.drained = false;
                        return Some((bound.local, remote));
                    }
                    // Such as an ICMP error for something that we sent: the queue goes on behind it.
                    Err(e) if e.kind() != ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            self.next = (self.next + 1) % self.bound.len();
        }
        self.drained = true;
        None
    }

    /// Ready when something may have come in since it was last drained.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = if self.drained {
            Poll::Pending
        } else {
            Poll::Ready(())
        };
        for bound in &self.bound {
            while let Poll::Ready(Ok(mut ready)) = bound.fd.poll_read_ready(cx) {
                ready.clear_ready();
                any = Poll::Ready(());
            }
        }
        any
    }
}

/// A socket on an address that may come later, as at boot.
fn bind(local: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    // Interactive traffic: DSCP CS6, as routing protocols have it. Not every network honours it.
    let _ = if local.is_ipv6() {
        socket.set_tclass_v6(0xc0)
    } else {
        socket.set_tos_v4(0xc0)
    };
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn explain(local: SocketAddr, e: &std::io::Error) -> String {
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
        _ => "is it an address of this host?".to_owned(),
    };
    format!("can't listen on {local}/udp: {e}; {remedy}")
}

/// The user whose socket is in the way, as far as the kernel tells.
fn owner(local: SocketAddr) -> Option<u32> {
    let list = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let all = list("udp").unwrap_or_default() + &list("udp6").unwrap_or_default();
    // sl local remote st queues timer retransmits uid …; `local` is ADDRESS:PORT, both in hex.
    let port = format!(":{:04X}", local.port());
    let mut owners = all.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let at = words.next()?;
        words.nth(5)?.parse().ok().filter(|_| at.ends_with(&port))
    });
    owners.next()
}

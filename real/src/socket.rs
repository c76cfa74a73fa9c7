//! The UDP sockets. Each way to a peer has one of its own, connected: its own room in the kernel
//! for what waits to be sent and to be read, and its own errors. So a peer whose hardware address
//! nobody tells (its packets wait three seconds for that) costs the others nothing, nor does a
//! flood from elsewhere. What comes to one of our addresses from no known end of a way is taken by
//! one more socket.
#![allow(unsafe_code)] // two socket options have no safe setter

use crate::clock::boottime;
use crate::config_file::{LocalCluster, Path};
use crate::readiness::watch;
use onehold_core::advert::MemberId;
use onehold_core::time::LocalTime;
use rustix::event::{Timespec, epoll};
use rustix::net::RecvFlags;
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// Longer datagrams are cut off, and then their seal doesn't fit.
const MAX_DATAGRAM: usize = 2_048;
/// How many sockets the kernel names at a time, of those that have something.
const BATCH: usize = 64;
/// How often it is asked in a row without a datagram: an error that lasts must not keep us.
const MAX_VAIN: usize = 16;
/// Most errors that are taken from a socket at a time.
const MAX_ERRORS: usize = 64;

/// A socket at one of our addresses.
#[derive(Debug)]
struct End {
    local: SocketAddr,
    /// The other end of the way; none where it takes what comes from anywhere else.
    remote: Option<SocketAddr>,
    /// Not before there is a route, and `local` is on this host: both may come later, as at boot.
    connected: bool,
    socket: UdpSocket,
    refusals: Refusals,
    /// Since when this host itself has let nothing leave there, and why.
    kept_in: Option<(LocalTime, KeptIn)>,
}

/// What the network refused to carry over a way, as far as this host was notified. For people only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many datagrams, or a few less.
    pub count: u64,
    /// When the last was, and why.
    pub last: Option<(LocalTime, String)>,
}

/// Why nothing leaves this host, by its own kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptIn {
    /// There is no route.
    Unrouted,
    /// A firewall forbids it.
    Forbidden,
}

impl KeptIn {
    fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Some(Self::Unrouted),
            _ if error.raw_os_error() == Some(libc::EPERM) => Some(Self::Forbidden),
            _ => None,
        }
    }
}

/// All sockets of the process, and the paths of each cluster.
#[derive(Debug)]
pub struct Sockets {
    ends: Vec<End>,
    /// By cluster and member: the ends of the ways to it.
    paths: Vec<Vec<Vec<usize>>>,
    /// Watches all ends.
    epoll: AsyncFd<OwnedFd>,
    /// The ends that have something, as the kernel said last, and whether that is an error; each is
    /// read once before the kernel is asked again.
    ready: Vec<(usize, bool)>,
    /// Nothing was left when they were last looked at.
    drained: bool,
}

impl Sockets {
    /// Binds each of our addresses, and an end of each way. Needs a tokio runtime.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn open(clusters: &[LocalCluster]) -> Result<Self, String> {
        allow_many();
        let fail = |e: io::Error| format!("can't watch sockets: {e}");
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| fail(e.into()))?;
        let mut sockets = Self {
            ends: Vec::new(),
            paths: Vec::new(),
            epoll: watch(epoll).map_err(fail)?,
            ready: Vec::with_capacity(BATCH),
            drained: false,
        };
        clusters
            .iter()
            .try_for_each(|cluster| sockets.add(cluster))?;
        Ok(sockets)
    }

    /// Binds the addresses of one cluster more, which gets the next index, and an end of each way
    /// of it; all of them or none.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn add(&mut self, cluster: &LocalCluster) -> Result<(), String> {
        let before = self.ends.len();
        let added = self.try_add(cluster);
        self.share(false);
        match added {
            Ok(ways) => self.paths.push(ways),
            Err(why) => {
                self.ends.truncate(before);
                self.ready.retain(|(at, _)| *at < before);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Closes the ends that nobody needs any more without this cluster; those after it have the index
    /// before theirs from now on.
    pub fn remove(&mut self, cluster: usize) {
        if cluster >= self.paths.len() {
            return;
        }
        self.paths.remove(cluster);
        let used: BTreeSet<usize> = self.paths.iter().flatten().flatten().copied().collect();
        let own: BTreeSet<SocketAddr> = used.iter().map(|at| self.ends[*at].local).collect();
        for at in (0..self.ends.len()).rev() {
            let end = &self.ends[at];
            if used.contains(&at) || end.remote.is_none() && own.contains(&end.local) {
                continue;
            }
            self.ends.swap_remove(at); // closed, it is watched no more
            let last = self.ends.len();
            self.ready.retain(|(ready, _)| *ready != at);
            let ready = self.ready.iter_mut().map(|(ready, _)| ready);
            let ways = self.paths.iter_mut().flatten().flatten();
            ready
                .chain(ways)
                .filter(|n| **n == last)
                .for_each(|n| *n = at);
            if let Some(end) = self.ends.get(at) {
                let data = epoll::EventData::new_u64(at as u64);
                // It fails on no kernel that has come so far.
                let _ = epoll::modify(&self.epoll, &end.socket, data, epoll::EventFlags::IN);
            }
        }
    }

    fn try_add(&mut self, cluster: &LocalCluster) -> Result<Vec<Vec<usize>>, String> {
        // Those that take what comes from anywhere first, alone: whoever else has the address and
        // port makes that fail. Then these let the ends of the ways in beside them, and nobody
        // after that.
        for local in cluster.addresses() {
            self.end(*local, None)?;
        }
        self.share(true);
        let members = (0u8..).map(MemberId).take(cluster.config.members().len());
        let ways = |member| {
            let ways = cluster
                .paths(member)
                .filter(|_| member != cluster.config.me());
            let ends = ways.map(|Path { local, remote }| self.end(local, Some(remote)));
            ends.collect::<Result<Vec<usize>, String>>()
        };
        members.map(ways).collect()
    }

    /// The end between these two, opened if necessary.
    fn end(&mut self, local: SocketAddr, remote: Option<SocketAddr>) -> Result<usize, String> {
        let same = |e: &End| e.local == local && e.remote == remote;
        if let Some(at) = self.ends.iter().position(same) {
            return Ok(at);
        }
        let open = || -> io::Result<UdpSocket> {
            let socket = bind(local, remote.is_some())?;
            let data = epoll::EventData::new_u64(self.ends.len() as u64);
            epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
            Ok(socket)
        };
        let socket = open().map_err(|e| explain(local, &e))?;
        let mut end = End {
            local,
            remote,
            connected: false,
            socket,
            refusals: Refusals::default(),
            kept_in: None,
        };
        // If it can't be yet, it will be tried with each datagram.
        let _ = end.connect();
        self.ends.push(end);
        Ok(self.ends.len() - 1)
    }

    fn share(&self, others: bool) {
        for end in &self.ends {
            // It fails on no kernel that has come so far.
            let _ = rustix::net::sockopt::set_socket_reuseport(&end.socket, others);
        }
    }

    /// Hands a datagram to the network on every path; returns on how many. What the network refuses
    /// is lost, like everything that it loses.
    pub fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.on_every_path(cluster, to, |end| end.send(bytes))
    }

    /// The same for a note, which is longer than any advert: what the network makes of it does not
    /// say whether this member can be heard ([`Self::kept_in`]).
    pub fn send_note(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.on_every_path(cluster, to, |end| end.send_note(bytes))
    }

    fn on_every_path(
        &mut self,
        cluster: usize,
        to: MemberId,
        mut send: impl FnMut(&mut End) -> bool,
    ) -> u64 {
        let paths = self.paths.get(cluster);
        let ends = paths.and_then(|p| p.get(usize::from(to.0)));
        let mut sent = 0;
        for at in ends.into_iter().flatten() {
            if let Some(end) = self.ends.get_mut(*at) {
                sent += u64::from(send(end));
            }
        }
        sent
    }

    /// Since when this host itself has let nothing leave for any other member of a cluster, and
    /// why; `None` if it lets something leave.
    #[must_use]
    pub fn kept_in(&self, cluster: usize) -> Option<(LocalTime, KeptIn)> {
        let ways = self.paths.get(cluster).into_iter().flatten().flatten();
        let since = ways.map(|at| self.ends.get(*at)?.kept_in);
        since.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// The next datagram that waits in any socket: where it came in, and from where. Of those that
    /// have some, each gives one in turn.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Option<(SocketAddr, SocketAddr)> {
        let mut vain = 0;
        // The kernel names no socket twice in a row that had nothing: only the second "none" is
        // one, for while it looks through those of the last time, what comes in is not seen.
        let mut none = false;
        while vain < MAX_VAIN {
            while let Some((at, failed)) = self.ready.pop() {
                let end = &mut self.ends[at];
                if failed {
                    end.take_errors();
                }
                into.resize(MAX_DATAGRAM, 0);
                match end.socket.recv_from(into) {
                    Ok((length, remote)) => {
                        into.truncate(length);
                        self.drained = false;
                        return Some((end.local, remote));
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                    Err(e) => end.refused(&e),
                }
            }
            match (self.look(), none) {
                (Ok(0), true) => break,
                (Ok(0), false) => none = true,
                (Ok(_), _) => none = false,
                (Err(_), _) => {}
            }
            vain += 1;
        }
        self.drained = true;
        None
    }

    /// Asks the kernel which sockets have something; returns how many.
    fn look(&mut self) -> rustix::io::Result<usize> {
        let mut events = [const { MaybeUninit::uninit() }; BATCH];
        let (events, _) = epoll::wait(&self.epoll, &mut events, Some(&Timespec::default()))?;
        let named = events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data); // copies, for it is packed
            let at = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            (at, flags.contains(epoll::EventFlags::ERR))
        });
        let ends = self.ends.len();
        self.ready.extend(named.filter(|(at, _)| *at < ends));
        Ok(events.len())
    }

    /// Ready when something may have come in since it was last drained.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = if self.drained {
            Poll::Pending
        } else {
            Poll::Ready(())
        };
        while let Poll::Ready(Ok(mut ready)) = self.epoll.poll_read_ready(cx) {
            ready.clear_ready();
            any = Poll::Ready(());
        }
        any
    }

    /// What was refused on a way.
    #[must_use]
    pub fn refusals(&self, path: Path) -> Refusals {
        let is = |e: &&End| e.local == path.local && e.remote == Some(path.remote);
        let end = self.ends.iter().find(is);
        end.map_or_else(Refusals::default, |e| e.refusals.clone())
    }
}

impl End {
    fn connect(&mut self) -> io::Result<()> {
        if let (Some(remote), false) = (self.remote, self.connected) {
            self.socket.connect(remote)?;
            self.connected = true;
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let mut kept_in = None;
        for _ in 0..2 {
            match self.connect().and_then(|()| self.socket.send(bytes)) {
                Ok(_) => {
                    self.kept_in = None;
                    return true;
                }
                // It may have been the answer to an earlier one: this one was not sent then. The
                // second is the kernel's own word on this one.
                Err(e) => {
                    self.refused(&e);
                    // Only this host's own firewall forbids so; where it rejects as well, its
                    // answer follows.
                    let forbidden = kept_in == Some(KeptIn::Forbidden);
                    kept_in = KeptIn::of(&e).filter(|_| !forbidden).or(kept_in);
                }
            }
        }
        let since = self.kept_in.map_or_else(boottime, |(since, _)| since);
        self.kept_in = kept_in.map(|why| (since, why));
        false
    }

    fn send_note(&mut self, bytes: &[u8]) -> bool {
        if !self.connected {
            return false; // it comes with the next advert
        }
        let sent = self.socket.send(bytes);
        if let Err(e) = &sent {
            self.refused(e); // it may have been the answer to an advert
        }
        sent.is_ok()
    }

    /// Takes note of what was answered to what we sent.
    fn take_errors(&mut self) {
        let error = self.socket.take_error();
        for _ in 0..MAX_ERRORS {
            let gone = rustix::net::recv(&self.socket, &mut [0; 1][..], RecvFlags::ERRQUEUE);
            if gone.is_err() {
                break;
            }
            self.refusals.count += 1;
        }
        if let Ok(Some(error)) = error {
            self.refusals.last = Some((boottime(), words(&error)));
        }
    }

    fn refused(&mut self, error: &io::Error) {
        self.refusals.count += 1;
        self.refusals.last = Some((boottime(), words(error)));
    }
}

/// Why a datagram was refused, as a person may want to know it.
fn words(error: &io::Error) -> String {
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
        _ => return error.to_string(),
    };
    text.to_owned()
}

/// A witness of many clusters needs many sockets; what is allowed at first is meant for programs
/// that use `select`.
fn allow_many() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, it is as it was, and opening a socket may fail, which is reported.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A socket on an address that may come later, as at boot.
fn bind(local: SocketAddr, beside_others: bool) -> io::Result<UdpSocket> {
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
    // To learn what becomes of what is sent, not only that nothing listens there.
    let _ = set(&socket, level, errors, 1);
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

fn explain(local: SocketAddr, e: &io::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{TWO, cluster};
    use std::time::Duration;

    const LB0: MemberId = MemberId(0);
    const LB1: MemberId = MemberId(1);

    /// A pair on this host's loopback: each test has a network of its own.
    fn pair(network: u8) -> [LocalCluster; 2] {
        let own = format!("\"127.{network}.0.1");
        let text = TWO.replace("\"10.0.0.1", &own);
        let text = text.replace("\"10.1.0.1", &own.replace(".0.1", ".1.1"));
        ["lb0", "lb1"].map(|name| cluster(&text, name))
    }

    fn open(clusters: &[LocalCluster]) -> Sockets {
        Sockets::open(clusters).expect("the sockets")
    }

    fn runtime() -> tokio::runtime::Runtime {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime")
    }

    /// What has come in, within a moment.
    async fn receive(sockets: &mut Sockets) -> Option<(SocketAddr, Vec<u8>)> {
        let mut bytes = Vec::new();
        let wait = async {
            loop {
                if let Some((_, remote)) = sockets.receive(&mut bytes) {
                    return (remote, bytes.clone());
                }
                std::future::poll_fn(|cx| sockets.poll(cx)).await;
            }
        };
        tokio::time::timeout(Duration::from_millis(300), wait)
            .await
            .ok()
    }

    #[test]
    fn of_two_paths_that_both_have_something_neither_waits_for_the_other() {
        let clusters = pair(101);
        runtime().block_on(async {
            let mut lb0 = open(&clusters[..1]);
            let mut lb1 = open(&clusters[1..]);
            for _ in 0..5 {
                assert_eq!(lb0.send(0, LB1, b"advert"), 2);
            }
            let mut paths = Vec::new();
            for _ in 0..10 {
                paths.push(receive(&mut lb1).await.expect("a datagram").0);
            }
            for two in paths.chunks(2) {
                assert_ne!(two[0], two[1], "{paths:?}");
            }
            assert_eq!(receive(&mut lb1).await, None);
        });
    }

    #[test]
    fn whoever_speaks_from_another_place_than_was_written_is_heard_too() {
        let clusters = pair(102);
        runtime().block_on(async {
            let mut lb0 = open(&clusters[..1]);
            let elsewhere = UdpSocket::bind("127.102.0.99:0").expect("a socket");
            let local = clusters[0].addresses()[0];
            elsewhere.send_to(b"advert", local).expect("it is sent");
            let from = elsewhere.local_addr().expect("an address");
            assert_eq!(receive(&mut lb0).await, Some((from, b"advert".to_vec())));
        });
    }

    #[test]
    fn nobody_else_gets_the_address_and_port() {
        let clusters = pair(103);
        runtime().block_on(async {
            let lb0 = open(&clusters[..1]);
            let said = Sockets::open(&clusters[..1]).expect_err("it is taken");
            let user = rustix::process::geteuid().as_raw();
            let whose = format!("a socket of user id {user} has it");
            assert!(said.contains(&whose), "{said}");
            let local = clusters[0].addresses()[0];
            for _ in 0..2 {
                assert!(bind(local, true).is_err(), "an end of a way beside ours");
            }
            drop(lb0);
            open(&clusters[..1]);
        });
    }

    #[test]
    fn an_answer_that_nothing_listens_there_is_counted_and_costs_no_datagram() {
        let clusters = pair(104);
        runtime().block_on(async {
            let mut lb0 = open(&clusters[..1]);
            for _ in 0..3 {
                assert_eq!(lb0.send(0, LB1, b"advert"), 2);
            }
            assert_eq!(receive(&mut lb0).await, None);
            for path in clusters[0].paths(LB1) {
                let refusals = lb0.refusals(path);
                assert!(refusals.count >= 3, "{refusals:?}");
                let (_, why) = refusals.last.expect("there was one");
                assert!(why.starts_with("nothing listens there"), "{why}");
            }
            // The next one is sent all the same.
            let mut lb1 = open(&clusters[1..]);
            assert_eq!(lb0.send(0, LB1, b"advert"), 2);
            assert_eq!(lb1.send(0, LB0, b"advert"), 2);
            assert!(receive(&mut lb1).await.is_some() && receive(&mut lb0).await.is_some());
        });
    }
}

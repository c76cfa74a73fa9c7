//! The UDP sockets of a process, and the ways of each cluster to its members.
//!
//! A member of one cluster has a socket for each way to a peer, connected: its own room in the
//! kernel for what waits to be sent and to be read, and its own errors. So a peer whose hardware
//! address nobody tells (its packets wait three seconds for that) costs the others nothing, nor does
//! a flood from elsewhere. What comes to one of its addresses from no known end of a way is taken by
//! one more socket.
//!
//! A witness of many clusters would need thousands, and each of the kernel's older than 6.13 looks
//! through all of them for each datagram. It has 16 sockets at an address, among which the
//! kernel spreads the senders, and hands them many datagrams by one call. What goes to peers that are
//! silent, and may wait long in the kernel, has a socket of its own: it costs those that are heard no
//! room.

pub mod batch;
mod end;
mod way;

pub use way::{KeptIn, Refusals};

use crate::config_file::{LocalCluster, Path};
use crate::readiness::watch;
use crate::upgrade::Inherited;
use batch::{Inbox, Outbox};
use end::{bind, explain, take_errors};
use onehold_core::advert::MemberId;
use onehold_core::config::Config;
use onehold_core::time::{LocalTime, Span};
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;
use way::{By, Way};

/// How many sockets the kernel names at a time, of those that have something.
const BATCH: usize = 64;
/// How often it is asked in a row without a datagram: an error that lasts must not keep us.
const MAX_VAIN: usize = 16;
/// Sockets that many clusters share at an address; the first sends to peers that are silent.
const LANES: u8 = 16;
/// Most datagrams that are taken from one of these at a time, the newest first.
const DEPTH: usize = 1_536;
/// A peer is silent that nothing came from for this long.
const SILENT: Span = Span::from_millis(1_000);

/// A socket at one of our addresses.
#[derive(Debug)]
struct End {
    local: SocketAddr,
    takes: Takes,
    socket: UdpSocket,
    /// How many clusters use it.
    users: usize,
    outbox: Outbox<Place>,
}

/// What comes in by a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Takes {
    /// What comes from anywhere, but for those that have a socket of their own.
    Any,
    /// What comes by a way, to the only cluster.
    Way(SocketAddr, Place),
    /// A share of what comes from anywhere.
    Lane(u8),
}

/// Which way it is: of a cluster, to a member, the how many-th.
type Place = (usize, MemberId, usize);

/// The ways to a member. One is in place: a witness has thousands of members.
type WaysTo = SmallVec<[Way; 1]>;

/// The ways of a cluster by member, and the sockets that it uses.
#[derive(Debug)]
struct Ways {
    by_member: Vec<WaysTo>,
    ends: Vec<usize>,
    /// those to members that are to come, and the sockets that these use.
    coming: Vec<(MemberId, Vec<Way>)>,
    coming_ends: Vec<usize>,
}

/// A socket that goes on in another program of this process: what it is for, and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    local: SocketAddr,
    takes: Takes,
    pub(crate) fd: RawFd,
}

/// All sockets of the process, and the ways of each cluster.
#[derive(Debug)]
pub struct Sockets {
    ends: Vec<Option<End>>,
    /// Those of the former program of this process that no cluster has asked for yet.
    inherited: HashMap<(SocketAddr, Takes), UdpSocket>,
    by_place: HashMap<(SocketAddr, Takes), usize>,
    /// By the number of the cluster.
    clusters: Vec<Option<Ways>>,
    /// Watches all ends.
    epoll: AsyncFd<OwnedFd>,
    /// The ends that have something, as the kernel said last, and whether that is an error; each is
    /// read once before the kernel is asked again.
    ready: Vec<(usize, bool)>,
    pub(crate) inbox: Inbox,
    /// Where what is in the inbox came in.
    inbox_of: Option<SocketAddr>,
    /// The ends with something in their outbox.
    sending: Vec<usize>,
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
            inherited: HashMap::new(),
            by_place: HashMap::new(),
            clusters: Vec::new(),
            epoll: watch(epoll).map_err(fail)?,
            ready: Vec::with_capacity(BATCH),
            inbox: Inbox::new(),
            inbox_of: None,
            sending: Vec::new(),
            drained: false,
        };
        clusters
            .iter()
            .try_for_each(|cluster| sockets.add(cluster))?;
        Ok(sockets)
    }

    /// Those that go on in another program.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        let all = self.ends.iter().flatten().map(|end| Carried {
            local: end.local,
            takes: end.takes,
            fd: end.socket.as_raw_fd(),
        });
        all.collect()
    }

    /// Clusters that are added find these sockets of the former program, instead of new ones.
    ///
    /// # Errors
    /// When one of them was not handed over.
    pub(crate) fn inherit(&mut self, all: &[Carried], from: &Inherited) -> Result<(), String> {
        for Carried { local, takes, fd } in all {
            let socket = UdpSocket::from(from.take(*fd)?);
            self.inherited.insert((*local, *takes), socket);
        }
        Ok(())
    }

    /// All clusters were added: what none of them has asked for is closed. Returns how many those are.
    pub(crate) fn inherited_all(&mut self) -> usize {
        std::mem::take(&mut self.inherited).len()
    }

    /// Nothing that came in waits in this process, nor what it should send.
    pub(crate) fn is_idle(&self) -> bool {
        self.drained && self.sending.is_empty() && self.ready.is_empty()
    }

    /// Binds the addresses of one cluster more, which gets the next number, and an end of each way
    /// of it; all of them or none.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn add(&mut self, cluster: &LocalCluster) -> Result<(), String> {
        let mut used = Vec::new();
        let added = match cluster.many {
            true => self.add_to_lanes(cluster, &mut used),
            false => self.add_alone(cluster, &mut used),
        };
        match added {
            Ok(by_member) => {
                let mut all = Vec::with_capacity(by_member.len());
                let ways = by_member.into_iter().map(|(_, ways)| ways);
                all.extend(ways.map(WaysTo::from_iter));
                self.clusters.push(Some(Ways {
                    by_member: all,
                    ends: used,
                    coming: Vec::new(),
                    coming_ends: Vec::new(),
                }));
                Ok(())
            }
            Err(why) => {
                self.release(&used);
                Err(why)
            }
        }
    }

    /// A cluster is not served any more: what only it used is closed.
    pub fn remove(&mut self, cluster: usize) {
        if let Some(ways) = self.clusters.get_mut(cluster).and_then(Option::take) {
            self.release(&ways.ends);
            self.release(&ways.coming_ends);
        }
    }

    /// opens what is needed for the ways of `to` that there are not yet, where `from` was. They
    /// are not used yet.
    ///
    /// # Errors
    /// What could not be bound, and the likely remedy.
    pub fn make_room(
        &mut self,
        cluster: usize,
        from: &Config,
        to: &LocalCluster,
    ) -> Result<(), String> {
        self.keep_no_room(cluster); // of a step that was not taken
        let Some(Some(ways)) = self.clusters.get(cluster) else {
            return Ok(());
        };
        let ends = ways.ends.clone();
        let mut all = to.ways();
        for (member, paths) in &mut all {
            let was = place_in(from, &to.config, *member).and_then(|at| ways.by_member.get(at));
            let was = was
                .into_iter()
                .flatten()
                .filter_map(|way| way.path(&self.ends));
            let was: Vec<Path> = was.collect();
            paths.retain(|path| !was.contains(path));
        }
        let mut used = Vec::new();
        let coming = self.listen(to, &mut used).and_then(|()| match to.many {
            true => Ok(self.shared_ways(all)),
            false => {
                let beside = [&ends[..], &used[..]].concat();
                self.let_in(&beside, true);
                let coming = self.own_ways(cluster, all, &mut used);
                self.let_in(&beside, false);
                self.let_in(&used, false);
                coming
            }
        });
        let coming = coming.inspect_err(|_| self.release(&used))?;
        if let Some(Some(ways)) = self.clusters.get_mut(cluster) {
            (ways.coming, ways.coming_ends) = (coming, used);
        }
        Ok(())
    }

    /// what [`Self::make_room`] opened and nobody uses is closed.
    pub fn keep_no_room(&mut self, cluster: usize) {
        if let Some(Some(ways)) = self.clusters.get_mut(cluster) {
            ways.coming.clear();
            let ends = std::mem::take(&mut ways.coming_ends);
            self.release(&ends);
        }
    }

    /// the members, and the ways to them, are those of `to` from now on, where `from` was, and
    /// for which there is [room](Self::make_room).
    pub fn change(&mut self, cluster: usize, from: &Config, to: &LocalCluster) {
        self.flush(); // by the numbers of before
        let Some(Some(ways)) = self.clusters.get_mut(cluster) else {
            return;
        };
        let mut coming: HashMap<MemberId, Vec<Way>> =
            std::mem::take(&mut ways.coming).into_iter().collect();
        let mut was: Vec<WaysTo> = std::mem::take(&mut ways.by_member);
        let (mut by_member, mut moved) = (Vec::new(), Vec::new());
        for (member, paths) in to.ways() {
            let at = place_in(from, &to.config, member).and_then(|at| was.get_mut(at));
            let mut known = at.map_or_else(WaysTo::new, std::mem::take);
            known.extend(coming.remove(&member).unwrap_or_default());
            let ends = &self.ends;
            let of = paths.iter().filter_map(|path| {
                let at = (known.iter()).position(|way| way.path(ends) == Some(*path))?;
                Some(known.swap_remove(at))
            });
            let of: WaysTo = of.collect();
            for (nth, way) in of.iter().enumerate() {
                if let By::Own { end, .. } = way.by {
                    moved.push((end, Takes::Way(way.remote, (cluster, member, nth))));
                }
            }
            by_member.push(of);
        }
        ways.by_member = by_member;
        let coming_ends = std::mem::take(&mut ways.coming_ends);
        let (again, new): (Vec<usize>, Vec<usize>) =
            (coming_ends.into_iter()).partition(|end| ways.ends.contains(end));
        ways.ends.extend(new);
        let listens_at = to.listens_at();
        let stays = |at: &usize| match self.ends.get(*at) {
            Some(Some(end)) => match end.takes {
                Takes::Way(..) => moved.iter().any(|(of, _)| of == at),
                Takes::Any | Takes::Lane(_) => listens_at.contains(&end.local),
            },
            Some(None) | None => false,
        };
        let (stay, left): (Vec<usize>, Vec<usize>) =
            std::mem::take(&mut ways.ends).into_iter().partition(stays);
        ways.ends = stay;
        self.release(&again); // by another member at the same address, or listened at before
        self.release(&left);
        for (at, takes) in moved {
            if let Some(Some(end)) = self.ends.get_mut(at) {
                self.by_place.remove(&(end.local, end.takes));
                end.takes = takes;
            }
        }
        for (at, end) in self.ends.iter().enumerate() {
            if let Some(end) = end {
                self.by_place.insert((end.local, end.takes), at);
            }
        }
    }

    fn release(&mut self, used: &[usize]) {
        self.flush();
        for at in used {
            let Some(Some(end)) = self.ends.get_mut(*at) else {
                continue;
            };
            end.users -= 1;
            if end.users == 0 {
                self.by_place.remove(&(end.local, end.takes));
                self.ready.retain(|(ready, _)| ready != at);
                self.ends[*at] = None; // closed, it is not watched any more
            }
        }
    }

    /// The ways of the only cluster of a process.
    fn add_alone(
        &mut self,
        cluster: &LocalCluster,
        used: &mut Vec<usize>,
    ) -> Result<Vec<(MemberId, Vec<Way>)>, String> {
        self.listen(cluster, used)?;
        self.let_in(used, true);
        let ways = self.own_ways(self.clusters.len(), cluster.ways(), used);
        self.let_in(used, false);
        ways
    }

    /// Opens what takes what comes from anywhere. That of one cluster is opened first, and alone:
    /// whoever else has the address and port makes that fail. Then it lets the ends of the ways in
    /// beside it, and nobody after that.
    fn listen(&mut self, cluster: &LocalCluster, used: &mut Vec<usize>) -> Result<(), String> {
        for local in cluster.listens_at() {
            if !cluster.many {
                self.end(local, Takes::Any, used)?;
                continue;
            }
            let first = self.end(local, Takes::Lane(0), used)?;
            self.let_in(&[first], true);
            for lane in 1..LANES {
                self.end(local, Takes::Lane(lane), used)?;
            }
        }
        Ok(())
    }

    /// Ways with sockets of their own.
    fn own_ways(
        &mut self,
        number: usize,
        members: Vec<(MemberId, Vec<Path>)>,
        used: &mut Vec<usize>,
    ) -> Result<Vec<(MemberId, Vec<Way>)>, String> {
        let mut by_member = Vec::new();
        for (member, paths) in members {
            let mut ways = Vec::new();
            for (nth, Path { local, remote }) in paths.into_iter().enumerate() {
                let takes = Takes::Way(remote, (number, member, nth));
                let end = self.end(local, takes, used)?;
                let connected = false;
                let mut way = Way::new(remote, By::Own { end, connected });
                // If it can't be yet, it will be tried with each datagram.
                let _ = way.connect(&self.ends);
                ways.push(way);
            }
            by_member.push((member, ways));
        }
        Ok(by_member)
    }

    /// The ways of one of many clusters.
    fn add_to_lanes(
        &mut self,
        cluster: &LocalCluster,
        used: &mut Vec<usize>,
    ) -> Result<Vec<(MemberId, Vec<Way>)>, String> {
        self.listen(cluster, used)?;
        Ok(self.shared_ways(cluster.ways()))
    }

    /// Ways by the sockets that many clusters share.
    fn shared_ways(&self, members: Vec<(MemberId, Vec<Path>)>) -> Vec<(MemberId, Vec<Way>)> {
        let mut by_member = Vec::new();
        for (member, paths) in members {
            let mut ways = Vec::new();
            for Path { local, remote } in paths {
                let mut hasher = DefaultHasher::new();
                remote.hash(&mut hasher);
                let lane = 1 + (hasher.finish() % u64::from(LANES - 1)) as u8;
                let of = |lane| self.by_place.get(&(local, Takes::Lane(lane))).copied();
                if let (Some(silent), Some(heard)) = (of(0), of(lane)) {
                    let by = By::Lane {
                        silent,
                        heard,
                        heard_at: None,
                    };
                    ways.push(Way::new(remote, by));
                }
            }
            by_member.push((member, ways));
        }
        by_member
    }

    /// The end at `local`, opened if necessary.
    fn end(
        &mut self,
        local: SocketAddr,
        takes: Takes,
        used: &mut Vec<usize>,
    ) -> Result<usize, String> {
        if let Some(at) = self.by_place.get(&(local, takes)).copied() {
            if let Some(Some(end)) = self.ends.get_mut(at)
                && !used.contains(&at)
            {
                end.users += 1;
                used.push(at);
            }
            return Ok(at);
        }
        let at = self.ends.len();
        let mut open = || -> io::Result<UdpSocket> {
            let alone = matches!(takes, Takes::Any | Takes::Lane(0));
            let shared = matches!(takes, Takes::Lane(_));
            let socket = match self.inherited.remove(&(local, takes)) {
                Some(socket) => socket,
                None => bind(local, !alone, shared)?,
            };
            let data = epoll::EventData::new_u64(at as u64);
            epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
            Ok(socket)
        };
        let socket = open().map_err(|e| explain(local, &e))?;
        self.ends.push(Some(End {
            local,
            takes,
            socket,
            users: 1,
            outbox: Outbox::new(),
        }));
        self.by_place.insert((local, takes), at);
        used.push(at);
        Ok(at)
    }

    /// Whether others of this user may have the same address and port.
    fn let_in(&self, ends: &[usize], others: bool) {
        for end in ends.iter().filter_map(|at| self.ends.get(*at)?.as_ref()) {
            // It fails on no kernel that has come so far.
            let _ = rustix::net::sockopt::set_socket_reuseport(&end.socket, others);
        }
    }

    fn way(&mut self, (cluster, to, nth): Place) -> Option<&mut Way> {
        ways_of(&mut self.clusters, cluster, to).get_mut(nth)
    }

    /// Something authentic came by a way.
    pub fn heard(&mut self, cluster: usize, from: MemberId, remote: SocketAddr, now: LocalTime) {
        for way in ways_of(&mut self.clusters, cluster, from) {
            if let By::Lane { heard_at, .. } = &mut way.by
                && way.remote == remote
            {
                *heard_at = Some(now);
            }
        }
    }

    /// Hands a datagram to the network on every path, or keeps it until [`Self::flush`]; returns on
    /// how many. What the network refuses is lost, like everything that it loses.
    pub fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8], now: LocalTime) -> u64 {
        self.on_every_path(cluster, to, bytes, now, Way::send)
    }

    /// The same for a note, which is longer than any advert: what the network makes of it does not
    /// say whether this member can be heard ([`Self::kept_in`]).
    pub fn send_note(&mut self, cluster: usize, to: MemberId, bytes: &[u8], now: LocalTime) -> u64 {
        self.on_every_path(cluster, to, bytes, now, Way::send_note)
    }

    fn on_every_path(
        &mut self,
        cluster: usize,
        to: MemberId,
        bytes: &[u8],
        now: LocalTime,
        alone: fn(&mut Way, &[Option<End>], &[u8]) -> bool,
    ) -> u64 {
        let (mut sent, mut full) = (0, false);
        let ways = ways_of(&mut self.clusters, cluster, to).iter_mut();
        for (nth, way) in ways.enumerate() {
            let Some(at) = way.lane(now) else {
                sent += u64::from(alone(way, &self.ends, bytes));
                continue;
            };
            if let Some(Some(end)) = self.ends.get_mut(at) {
                if end.outbox.is_empty() {
                    self.sending.push(at);
                }
                full |= end.outbox.push(bytes, way.remote, (cluster, to, nth));
                sent += 1;
            }
        }
        if full {
            self.flush();
        }
        sent
    }

    /// Hands everything that was kept to the network.
    pub fn flush(&mut self) {
        while let Some(at) = self.sending.pop() {
            let Some(Some(end)) = self.ends.get_mut(at) else {
                continue;
            };
            let mut refused = Vec::new();
            end.outbox.send(&end.socket, |place, e| {
                refused.push((
                    *place,
                    io::Error::from_raw_os_error(e.raw_os_error().unwrap_or(0)),
                ));
            });
            for (place, e) in refused {
                if let Some(way) = self.way(place) {
                    way.refusals.add(&e);
                }
            }
        }
    }

    /// Since when this host itself has let nothing leave for any other member of a cluster, and
    /// why; `None` if it lets something leave.
    #[must_use]
    pub fn kept_in(&self, cluster: usize) -> Option<(LocalTime, KeptIn)> {
        let ways = self.clusters.get(cluster)?.as_ref()?;
        let since = ways.by_member.iter().flatten().map(|way| way.kept_in);
        since.reduce(|a, b| Some(a?.max(b?))).flatten()
    }

    /// The next datagram that waits in any socket: where it came in, and from where. Of those that
    /// have some, each gives some in turn.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> Option<(SocketAddr, SocketAddr)> {
        let mut vain = 0;
        while vain < MAX_VAIN {
            loop {
                if let (Some(local), Some(remote)) = (self.inbox_of, self.inbox.take(into)) {
                    self.drained = false;
                    return Some((local, remote));
                }
                match self.ready.pop() {
                    Some((at, failed)) => self.read(at, failed),
                    None => break,
                }
            }
            // What comes in while the kernel looks may not be seen, and is notified (`poll`).
            if let Ok(0) = self.look() {
                break;
            }
            vain += 1;
        }
        self.drained = true;
        None
    }

    /// Reads what an end has, and its errors.
    fn read(&mut self, at: usize, failed: bool) {
        self.inbox_of = None;
        let Some(Some(end)) = self.ends.get_mut(at) else {
            return;
        };
        let errors = failed.then(|| take_errors(&end.socket));
        let (count, mut error) = errors.unwrap_or_default();
        let filled = match end.takes {
            Takes::Lane(_) => self.inbox.fill_newest_first(&end.socket, DEPTH),
            Takes::Any | Takes::Way(..) => self.inbox.fill(&end.socket),
        };
        match filled {
            Ok(()) => self.inbox_of = Some(end.local),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => error = Some(e),
        }
        let Takes::Way(_, place) = end.takes else {
            return; // nobody's in particular
        };
        if let Some(way) = self.way(place) {
            way.refusals.count += count;
            if let Some(e) = error {
                way.refusals.add(&e);
            }
        }
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
        self.ready.extend(named);
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

    /// What was refused on a way of a cluster.
    #[must_use]
    pub fn refusals(&self, cluster: usize, path: Path) -> Refusals {
        let ways = self.clusters.get(cluster).and_then(Option::as_ref);
        let mut ways = ways.into_iter().flat_map(|w| w.by_member.iter().flatten());
        ways.find(|way| way.path(&self.ends) == Some(path))
            .map_or_else(Refusals::default, |way| way.refusals.clone())
    }
}

fn ways_of(clusters: &mut [Option<Ways>], cluster: usize, to: MemberId) -> &mut [Way] {
    let ways = clusters.get_mut(cluster).and_then(Option::as_mut);
    let ways = ways.and_then(|w| w.by_member.get_mut(usize::from(to.0)));
    ways.map_or(&mut [], SmallVec::as_mut_slice)
}

/// Where the member `member` of `to` is in `from`.
fn place_in(from: &Config, to: &Config, member: MemberId) -> Option<usize> {
    let name = to.member_name(member);
    from.members().iter().position(|m| m.name == name)
}

/// A socket for each way needs many; what is allowed at first is meant for programs that use
/// `select`.
fn allow_many() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, it is as it was, and opening a socket may fail, which is reported.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests;

//! What the driver counts beside the protocol, for people only: no rule reads it.

mod carried;
mod doubles;
mod margins;

pub(crate) use carried::Carried;
pub use doubles::{Doubles, Head};
pub use margins::{Margins, Peak, PeerClock, RateApart};

use crate::config_file::{LocalCluster, Path};
use crate::control::session::{CheckReport, HookReport};
use crate::driver::changing::Places;
use crate::driver::openings::BeforeHold;
use crate::frames::PortState;
use crate::kernel::Probing;
use crate::note::{Line, NoteCounters};
use crate::orders::Standings;
use crate::socket::Refusals;
use doubles::KnownSender;
use onehold_core::advert::{ClusterId, ConfigDigest, GroupId, Incarnation, MemberId};
use onehold_core::config::Config;
use onehold_core::effect::{Event, Why};
use onehold_core::input::Input;
use onehold_core::observe::RoleName;
use onehold_core::reject::{KeyId, Reject};
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// At most this many strangers at addresses of no member are remembered.
const MAX_STRANGERS: usize = 8;
/// At most this many senders that fit no key are remembered.
const MAX_FORGED: usize = 4;
/// One that was silent for this long gives way to another.
const FORGET_FORGED: Span = Span::from_millis(10_000);

/// The counters and last sightings of one cluster's node.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The cluster's name.
    pub cluster: String,
    /// When it began to be served.
    pub started: LocalTime,
    /// D: a peer counts as heard for this long.
    heard_for: Span,
    /// Which guard is in force.
    pub guard: GuardInForce,
    /// Datagrams handed to the network, once for each path.
    pub sent: u64,
    /// Adverts that the node accepted.
    pub accepted: u64,
    /// Datagrams that changed nothing, by [`Reject::index`].
    pub rejected: [u64; Reject::NAMES.len()],
    /// Notes.
    pub notes: NoteCounters,
    /// The other members, in the order of their ids.
    pub peers: Vec<PeerMetrics>,
    /// The Ethernet frames, by interface.
    pub frames: Vec<FrameMetrics>,
    /// The groups, by id.
    pub groups: Vec<GroupMetrics>,
    /// Strangers at an address that is no member's here.
    pub strangers: BTreeMap<SocketAddr, OtherConfig>,
    /// Who else sends what names this cluster and fits no key of ours, as it last came.
    pub forged: BTreeMap<SocketAddr, Rejected>,
    /// Authentic senders that are rejected.
    pub doubles: Doubles,
    /// How near this member came to what is assumed of it.
    pub margins: Margins,
    /// What needs a person, by the part of the daemon that reports it.
    pub alarms: BTreeMap<&'static str, Vec<String>>,
}

/// The latest note of another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// When it came.
    pub at: LocalTime,
    /// Of which incarnation it is.
    pub incarnation: Incarnation,
    /// The other member's version.
    pub version: String,
    /// What it says, by group.
    pub lines: Vec<Line>,
}

/// Which guard is in force, and why not a better one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardInForce {
    /// `bpf`, `nft` or `none`; empty until known.
    pub name: String,
    /// Why a better one is not.
    pub why_not_better: Option<String>,
    /// How long before its deadline it ends every hold.
    pub ends_early: Span,
}

/// Another member, as the sockets see it.
#[derive(Clone, Debug)]
pub struct PeerMetrics {
    /// Which one.
    pub member: MemberId,
    /// The incarnation that was accepted last, and when.
    pub accepted: Option<(Incarnation, LocalTime)>,
    /// The last round trip, without what the peer took to answer.
    pub rtt: Option<Span>,
    /// The key that its latest accepted advert was sealed with.
    pub key: Option<KeyId>,
    /// Its configuration, while it is another one.
    pub other_config: Option<OtherConfig>,
    /// What it last said to people, unless it was lost since.
    pub note: Option<Noted>,
    /// How long round trips took.
    pub round_trips: Peak,
    /// How far apart two of its adverts came while it was not lost.
    pub silence: Peak,
    /// How often it was lost.
    pub lost: u64,
    /// Its clock, beside this member's.
    pub clock: PeerClock,
    /// When its newest accepted advert was sent, by its clock.
    pub newest: Option<LocalTime>,
    /// The paths to it. One is in place: a witness has thousands of peers.
    pub paths: SmallVec<[PathMetrics; 1]>,
}

/// The Ethernet frames at one interface: a path to the only peer.
#[derive(Clone, Debug)]
pub struct FrameMetrics {
    /// The interface.
    pub interface: String,
    /// When what the peer said last came as a frame here.
    pub heard_at: Option<LocalTime>,
    /// How many came.
    pub received: u64,
    /// What was rejected since, not as a copy.
    pub rejected: Option<(LocalTime, Reject)>,
    /// The socket's part, when last asked.
    pub port: PortState,
}

/// A configuration other than ours, as it was last heard of. Its numbers for members are its own,
/// so its sender is known by address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherConfig {
    /// Its digest.
    pub digest: ConfigDigest,
    /// From where.
    pub from: SocketAddr,
    /// When.
    pub at: LocalTime,
    /// Its sender said that it holds something.
    pub holds: bool,
}

/// The last datagram that was rejected as not authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When.
    pub at: LocalTime,
    /// Why.
    pub why: Reject,
    /// The cluster that it names, if it has the form of an advert.
    pub cluster: Option<ClusterId>,
}

/// One path to another member.
#[derive(Clone, Debug)]
pub struct PathMetrics {
    /// Its two ends.
    pub path: Path,
    /// When an authentic advert last came over it.
    pub heard_at: Option<LocalTime>,
    /// How many came over it.
    pub received: u64,
    /// What was rejected since.
    pub rejected: Option<Rejected>,
    /// What the network refused to carry over it, when last asked.
    pub refusals: Refusals,
}

/// A group, as the driver sees it.
#[derive(Clone, Debug, Default)]
pub struct GroupMetrics {
    /// The interface of each of its addresses here.
    pub interfaces: Vec<String>,
    /// Why this host's kernel can't serve it, if it can't.
    pub not_eligible: Option<String>,
    /// Why it would not be served well, or not as a whole, if so.
    pub not_healthy: Option<String>,
    /// How often the role changed, by what it became and why.
    pub role_changes: BTreeMap<(RoleName, Why), u64>,
    /// The last change.
    pub last_change: Option<RoleChange>,
    /// Grows with each change of role and each announcement.
    pub epoch: u64,
    /// What the agent last reported, and when.
    pub reported: Option<Reported>,
    /// What its gate last waited for, and since when.
    pub waited: Option<(LocalTime, BeforeHold)>,
    /// How often in a row `before_hold` was not done when the gate waited for it, and why not.
    pub unprepared: Option<(u32, String)>,
    /// What the operator said with each order, while it may stand.
    pub said: Standings,
    /// What became of its probes, when last asked; nothing where the network is not asked.
    pub probing: Option<Probing>,
    /// The last ones were not answered, though a member that is heard holds.
    pub no_echo: bool,
}

/// How the checks and hooks of a group were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// When.
    pub at: LocalTime,
    /// Each check.
    pub checks: Vec<CheckReport>,
    /// Each hook that has run.
    pub hooks: Vec<HookReport>,
}

/// A change of role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// When.
    pub at: LocalTime,
    /// From what.
    pub from: RoleName,
    /// To what.
    pub to: RoleName,
    /// Why.
    pub why: Why,
}

impl Metrics {
    /// All zero, without any path.
    #[must_use]
    pub fn of(cluster: &str, config: &Config) -> Self {
        let peer = |member| PeerMetrics {
            member,
            accepted: None,
            rtt: None,
            key: None,
            other_config: None,
            note: None,
            round_trips: Peak::default(),
            silence: Peak::default(),
            lost: 0,
            clock: PeerClock::default(),
            newest: None,
            paths: SmallVec::new(),
        };
        Self {
            cluster: cluster.to_owned(),
            started: LocalTime::from_nanos(0),
            heard_for: config.timing().vote(),
            guard: GuardInForce::default(),
            sent: 0,
            accepted: 0,
            rejected: [0; Reject::NAMES.len()],
            notes: NoteCounters::default(),
            peers: no_larger(config.peers().map(peer).collect()),
            frames: Vec::new(),
            groups: vec![GroupMetrics::default(); config.groups().len()],
            strangers: BTreeMap::new(),
            forged: BTreeMap::new(),
            doubles: Doubles::new(config.timing()),
            margins: Margins::default(),
            alarms: BTreeMap::new(),
        }
    }

    /// All zero.
    #[must_use]
    pub fn new(cluster: &LocalCluster) -> Self {
        let path = |path| PathMetrics {
            path,
            heard_at: None,
            received: 0,
            rejected: None,
            refusals: Refusals::default(),
        };
        let mut all = Self::of(cluster.name(), &cluster.config);
        for peer in &mut all.peers {
            peer.paths = cluster.paths(peer.member).map(path).collect();
        }
        let frames = |interface| FrameMetrics {
            interface,
            heard_at: None,
            received: 0,
            rejected: None,
            port: PortState::default(),
        };
        all.frames = cluster.frame_interfaces().into_iter().map(frames).collect();
        for (group, interfaces) in all.groups.iter_mut().zip(&cluster.interfaces) {
            group.interfaces.clone_from(interfaces);
        }
        all
    }

    /// another configuration is in force, whose groups have these numbers so far; and their
    /// interfaces, where they are known.
    pub fn change(&mut self, config: &Config, places: &Places, interfaces: Vec<Vec<String>>) {
        self.heard_for = config.timing().vote();
        self.doubles.change(config.timing());
        self.margins.renumber(places);
        let was = std::mem::take(&mut self.groups);
        let mut interfaces = interfaces.into_iter();
        for place in places.iter() {
            let mut group = place.and_then(|p| was.get(p)).cloned().unwrap_or_default();
            group.interfaces = interfaces.next().unwrap_or(group.interfaces);
            self.groups.push(group);
        }
        for peer in &mut self.peers {
            peer.note = None; // which goes by other numbers
        }
    }

    /// others are members, or they are reached otherwise: what is known of one that stays is kept,
    /// by its name, and of a way that stays.
    pub fn members_change(&mut self, from: &Config, to: &Config, new: Vec<PeerMetrics>) {
        let mut was = std::mem::take(&mut self.peers);
        let kept = |mut peer: PeerMetrics| {
            let name = to.member_name(peer.member);
            let at = was.iter().position(|p| from.member_name(p.member) == name);
            if let Some(at) = at {
                let mut former = was.swap_remove(at);
                let way = |new: PathMetrics| {
                    let at = former.paths.iter().position(|p| p.path == new.path);
                    at.map_or(new, |at| former.paths.swap_remove(at))
                };
                let paths = std::mem::take(&mut peer.paths).into_iter().map(way);
                let (member, paths) = (peer.member, paths.collect());
                peer = former;
                (peer.member, peer.paths) = (member, paths);
            }
            peer
        };
        self.peers = new.into_iter().map(kept).collect();
        let paths: Vec<SocketAddr> = self.paths().map(|path| path.remote).collect();
        self.strangers.retain(|from, _| !paths.contains(from));
    }

    /// The paths to the other members.
    pub fn paths(&self) -> impl Iterator<Item = Path> {
        let all = self.peers.iter().flat_map(|p| &p.paths);
        all.map(|p| p.path)
    }

    /// An authentic datagram came in, whatever the node makes of it: duplicates over several paths
    /// show that the paths work.
    pub fn heard(&mut self, local: SocketAddr, remote: SocketAddr, now: LocalTime) {
        if let Some(path) = self.path(local, remote) {
            path.heard_at = Some(now);
            path.received += 1;
            path.rejected = None;
        }
    }

    /// One was not opened, for it claims to be older than what came behind it and was accepted.
    pub fn not_opened(&mut self) {
        self.rejected[Reject::Stale.index()] += 1;
    }

    /// Whether this is the newest that was accepted of its sender, or a copy of it. (What is sent
    /// again later proves nothing of where its sender is.)
    #[must_use]
    pub fn is_newest(&self, head: Head) -> bool {
        let newest = (Some(head.incarnation), Some(head.sent_at));
        let of = |p: &PeerMetrics| (p.accepted.map(|(incarnation, _)| incarnation), p.newest);
        let mut all = self.peers.iter();
        all.any(|p| p.member == head.from && of(p) == newest)
    }

    /// What the peer said last came as a frame.
    pub fn heard_frame(&mut self, at: usize, now: LocalTime) {
        if let Some(frames) = self.frames.get_mut(at) {
            frames.heard_at = Some(now);
            frames.received += 1;
            frames.rejected = None;
        }
    }

    /// A frame changed nothing.
    pub fn rejected_frame(&mut self, at: usize, why: Reject, now: LocalTime) {
        if let Some(count) = self.rejected.get_mut(why.index()) {
            *count += 1;
        }
        if let Some(frames) = self.frames.get_mut(at)
            && why != Reject::Stale
        {
            frames.rejected = Some((now, why));
        }
    }

    /// The node accepted an advert. `echo` is when the advert that it echoes was sent, plus the
    /// time that the peer took to answer.
    pub fn accepted(&mut self, head: Head, echo: Option<LocalTime>, now: LocalTime) {
        self.accepted += 1;
        let heard_for = self.heard_for;
        let Some(peer) = self.peer(head.from) else {
            return;
        };
        match peer.accepted {
            Some((incarnation, at)) if incarnation == head.incarnation => {
                // A longer one ended with a loss, or this process slept.
                let silence = Some(now.since(at)).filter(|silence| *silence < heard_for);
                silence.into_iter().for_each(|s| peer.silence.see(s, now));
            }
            Some(_) | None => peer.clock.begin_again(),
        }
        peer.accepted = Some((head.incarnation, now));
        peer.newest = Some(head.sent_at);
        peer.other_config = None;
        if let Some(sample) = echo.map(|e| now.since(e)) {
            peer.rtt = Some(sample);
            peer.round_trips.see(sample, now);
        }
        peer.clock.see(head.sent_at, now);
    }

    /// An accepted advert of a member was sealed with this key.
    pub fn sealed(&mut self, from: MemberId, key: KeyId) {
        if let Some(peer) = self.peer(from) {
            peer.key = Some(key);
        }
    }

    /// A datagram that came over a path changed nothing. `claimed` is the cluster that it names,
    /// `head` what it says, if it is authentic.
    pub fn rejected(
        &mut self,
        why: Reject,
        claimed: Option<ClusterId>,
        head: Option<Head>,
        (local, remote): (SocketAddr, SocketAddr),
        at: LocalTime,
    ) {
        if let Some(count) = self.rejected.get_mut(why.index()) {
            *count += 1;
        }
        let proves_nothing = match why {
            Reject::TooShort
            | Reject::NotOurs
            | Reject::WrongCluster
            | Reject::UnknownKey(_)
            | Reject::BadSeal => true,
            Reject::Malformed
            | Reject::NotToMe
            | Reject::UnknownMember
            | Reject::OtherConfig { .. }
            | Reject::Stale
            | Reject::Knock
            | Reject::OldIncarnation => false,
        };
        if proves_nothing && let Some(path) = self.path(local, remote) {
            path.rejected = Some(Rejected {
                at,
                why,
                cluster: claimed,
            });
        }
        // It names this cluster, or its key would not have been looked for.
        let fits_no_key = matches!(why, Reject::UnknownKey(_) | Reject::BadSeal);
        if fits_no_key && !self.is_at(remote) {
            self.forged(remote, why, claimed, at);
        }
        if let Some(head) = head {
            let peer = self.peers.iter().find(|p| p.member == head.from);
            let known = KnownSender {
                incarnation: peer.and_then(|p| p.accepted).map(|(i, _)| i),
                one_way: peer.is_some_and(|p| p.paths.len() + self.frames.len() == 1),
            };
            self.doubles.rejected(why, head, remote, known, at);
        }
    }

    /// Whether a member has this address.
    fn is_at(&self, remote: SocketAddr) -> bool {
        let mut all = self.peers.iter().flat_map(|p| &p.paths);
        all.any(|w| w.path.remote == remote)
    }

    /// A sender that is no member, as far as is known, fits no key. Whoever is remembered stays so
    /// while he goes on: others, who may be invented, don't displace him.
    fn forged(&mut self, from: SocketAddr, why: Reject, cluster: Option<ClusterId>, at: LocalTime) {
        if self.forged.len() >= MAX_FORGED && !self.forged.contains_key(&from) {
            self.forged
                .retain(|_, last| at.since(last.at) < FORGET_FORGED);
        }
        if self.forged.len() < MAX_FORGED || self.forged.contains_key(&from) {
            self.forged.insert(from, Rejected { at, why, cluster });
        }
    }

    /// Senders that have been rejected for long although they are authentic, in words.
    pub fn doubles_in_words(&mut self, config: &Config, now: LocalTime) -> Vec<String> {
        self.doubles.expire(now);
        let of = |member| self.peers.iter().find(move |p| p.member == member);
        let accepted = |member| of(member)?.accepted.map(|(_, at)| at);
        let is_its = |member, from: SocketAddr| {
            of(member).is_some_and(|p| p.paths.iter().any(|w| w.path.remote == from))
        };
        let home = |member| {
            let paths = of(member)?.paths.iter();
            paths.max_by_key(|w| w.heard_at).map(|w| w.path.remote)
        };
        self.doubles.in_words(config, now, accepted, home, is_its)
    }

    /// A stranger was heard. Returns which member has its address, and whether its configuration is
    /// new and so worth a line in the log.
    pub fn other_config(&mut self, other: OtherConfig) -> (Option<MemberId>, bool) {
        let ours = |p: &PeerMetrics, same: &dyn Fn(SocketAddr) -> bool| {
            p.paths.iter().any(|w| same(w.path.remote))
        };
        let exactly = |p: &&PeerMetrics| ours(p, &|remote| remote == other.from);
        let nearly = |p: &&PeerMetrics| ours(p, &|remote| remote.ip() == other.from.ip());
        let mut near = self.peers.iter().filter(nearly);
        let alone = near.next().filter(|_| near.next().is_none());
        let found = self.peers.iter().find(exactly).or(alone);
        let whose = found.map(|p| p.member);
        let before = match whose.and_then(|member| self.peer(member)) {
            Some(peer) => peer.other_config.replace(other),
            None => {
                if self.strangers.len() >= MAX_STRANGERS
                    && !self.strangers.contains_key(&other.from)
                    && let Some(oldest) = self.strangers.values().min_by_key(|s| s.at).copied()
                {
                    self.strangers.remove(&oldest.from);
                }
                self.strangers.insert(other.from, other)
            }
        };
        (whose, before.is_none_or(|b| b.digest != other.digest))
    }

    /// A member said something to people.
    pub fn noted(&mut self, from: MemberId, noted: Noted) {
        self.notes.accepted += 1;
        if let Some(peer) = self.peer(from) {
            peer.note = Some(noted);
        }
    }

    /// The node reported something.
    pub fn event(&mut self, event: &Event, now: LocalTime) {
        if let Event::Lost { peer } = *event
            && let Some(peer) = self.peer(peer)
        {
            peer.note = None;
            peer.lost += 1;
        }
        if let Event::Role {
            group,
            from,
            to,
            why,
        } = *event
            && let Some(g) = self.groups.get_mut(usize::from(group.0))
        {
            *g.role_changes.entry((to, why)).or_default() += 1;
            g.epoch += 1;
            g.last_change = Some(RoleChange {
                at: now,
                from,
                to,
                why,
            });
        }
    }

    /// A group that is held is announced: R-16 has it so when it is taken, and after a conflict or a heal.
    pub fn announced(&mut self, group: GroupId) {
        if let Some(g) = self.groups.get_mut(usize::from(group.0)) {
            g.epoch += 1;
        }
    }

    /// a group's gate begins to wait.
    pub fn waits(&mut self, group: GroupId, policy: BeforeHold, now: LocalTime) {
        if let Some(g) = self.groups.get_mut(usize::from(group.0)) {
            g.waited = Some((now, policy));
        }
    }

    /// what a group's gate waited for has ended, or the operator wants no more of it.
    pub fn waited(&mut self, group: GroupId, unprepared: Option<String>) {
        if let Some(g) = self.groups.get_mut(usize::from(group.0)) {
            let before = g.unprepared.take().map_or(0, |(times, _)| times);
            g.unprepared = unprepared.map(|why| (before.saturating_add(1), why));
        }
    }

    /// The agent reported how the checks and hooks of a group are.
    pub fn reported(
        &mut self,
        group: GroupId,
        checks: Vec<CheckReport>,
        hooks: Vec<HookReport>,
        at: LocalTime,
    ) {
        if let Some(g) = self.groups.get_mut(usize::from(group.0)) {
            g.reported = Some(Reported { at, checks, hooks });
        }
    }

    /// The node gets an input about a group, for this reason.
    pub fn input(&mut self, input: &Input, why: Option<String>) {
        let (group, not_healthy) = match input {
            Input::Eligible { group, .. } | Input::HoldFailed { group } => (group, false),
            Input::Prepared { group, done: false } => (group, false),
            Input::Health { group, .. } => (group, true),
            Input::Received(_)
            | Input::Released { .. }
            | Input::Prepared { done: true, .. }
            | Input::ForeignClaim { .. }
            | Input::ProbeAnswered { .. }
            | Input::Operator { .. }
            | Input::Wake => return,
        };
        if let Some(g) = self.groups.get_mut(usize::from(group.0)) {
            *if not_healthy {
                &mut g.not_healthy
            } else {
                &mut g.not_eligible
            } = why;
        }
    }

    /// One part of the daemon reports everything that needs a person now. Returns what is new, and
    /// what is over.
    pub fn alarms(&mut self, from: &'static str, now: Vec<String>) -> (Vec<String>, Vec<String>) {
        let was = self.alarms.remove(from).unwrap_or_default();
        if !now.is_empty() {
            self.alarms.insert(from, now.clone());
        } else if self.alarms.is_empty() {
            self.alarms = BTreeMap::new(); // a map that was emptied keeps its room
        }
        let without = |all: &[String], others: &[String]| -> Vec<String> {
            let others: BTreeSet<&String> = others.iter().collect();
            all.iter()
                .filter(|a| !others.contains(a))
                .cloned()
                .collect()
        };
        (without(&now, &was), without(&was, &now))
    }

    fn path(&mut self, local: SocketAddr, remote: SocketAddr) -> Option<&mut PathMetrics> {
        let path = Path { local, remote };
        let mut all = self.peers.iter_mut().flat_map(|p| &mut p.paths);
        all.find(|p| p.path == path)
    }

    fn peer(&mut self, member: MemberId) -> Option<&mut PeerMetrics> {
        self.peers.iter_mut().find(|p| p.member == member)
    }
}

/// Without room for more: a witness has thousands.
fn no_larger<T>(mut all: Vec<T>) -> Vec<T> {
    all.shrink_to_fit();
    all
}

//! The candidates of many clusters, in this process: the shipped core and its seals. What is between
//! a cluster's two candidates is handed over in memory; what is for the witness, and from it, goes
//! through sockets.

use super::witness::{HOSTS, Witness, candidate_at};
use crate::error::{Context, Result, err};
use onehold::clock::boottime;
use onehold::config_file;
use onehold::socket::batch::{Inbox, Outbox};
use onehold_core::Node;
use onehold_core::advert::{Advert, ClusterId, GroupId, Incarnation};
use onehold_core::auth::{self, Authentic, Keys};
use onehold_core::config::Config;
use onehold_core::effect::{Effect, Event};
use onehold_core::input::Input;
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// All groups of a load are the first of their cluster.
const GROUP: GroupId = GroupId(0);
/// How long a candidate that failed stays away.
const AWAY: Span = Span::from_millis(5_000);
/// Starts are spread over this time: not all of a campus boots at once.
const SPREAD: Span = Span::from_millis(2_000);
/// Most datagrams that are read from a socket between two looks at what is due, about.
const MOST: usize = 1_024;

/// How long things took, in steps of 10 µs up to two seconds.
#[derive(Clone, Debug)]
pub(super) struct Durations(Vec<u32>);

impl Durations {
    pub(super) fn new() -> Self {
        Self(vec![0; 200_000])
    }

    pub(super) fn add(&mut self, span: Span) {
        let at = usize::try_from(span.as_nanos() / 10_000).unwrap_or(usize::MAX);
        let last = self.0.len() - 1;
        self.0[at.min(last)] += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|n| u64::from(*n)).sum()
    }

    /// The least that this share of them did not exceed; nothing if there are none.
    pub(super) fn at(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let found = self.0.iter().position(|n| {
            seen += u64::from(*n);
            seen >= wanted
        });
        found.map(|at| Duration::from_micros(10 * (at as u64 + 1)))
    }
}

/// What happened since it was last asked to count.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// For how long adverts and their answers were under way or waited, beside the time for which
    /// their receiver kept them.
    pub(super) delays: Durations,
    pub(super) failed: u64,
    /// From a failure to the other candidate's hold.
    pub(super) outages: Durations,
    /// Role changes in clusters in which nothing failed.
    pub(super) changed: u64,
    /// Holds beside one that was not over.
    pub(super) dual: u64,
    pub(super) overslept: u64,
}

impl Counts {
    fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
            delays: Durations::new(),
            failed: 0,
            outages: Durations::new(),
            changed: 0,
            dual: 0,
            overslept: 0,
        }
    }

    /// What must not happen.
    pub(super) fn unwanted(&self) -> u64 {
        self.changed + self.dual
    }
}

/// One candidate.
struct Candidate {
    config: Config,
    node: Option<Node>,
    due: LocalTime,
    /// The end of its last lease.
    holds_until: LocalTime,
    holds: bool,
    /// The pair of sockets that it uses, and which of the two.
    socket: usize,
}

/// One cluster.
struct Cluster {
    keys: Keys,
    /// One of its candidates failed: when; until it is whole again.
    failed: Option<LocalTime>,
    /// Nobody has taken over yet.
    awaited: bool,
}

struct Own {
    socket: UdpSocket,
    outbox: Outbox<()>,
}

/// All of them.
pub(super) struct Candidates {
    /// Two of each cluster.
    all: Vec<Candidate>,
    clusters: Vec<Cluster>,
    by_id: HashMap<ClusterId, usize>,
    sockets: Vec<Own>,
    witness: SocketAddr,
    due: BTreeSet<(LocalTime, usize)>,
    /// What was handed over in memory.
    between: VecDeque<(usize, Advert)>,
    /// What the kernel of one of them has answered, once all effects of the turn that asked are done.
    answers: VecDeque<(usize, Input)>,
    /// Who comes back when.
    away: VecDeque<(LocalTime, usize)>,
    effects: Vec<Effect>,
    inbox: Inbox,
    bytes: Vec<u8>,
    sealed: Vec<u8>,
    last: LocalTime,
    next_to_fail: usize,
    random: u64,
    counts: Counts,
    /// One datagram that a member has sent, for whoever replays it.
    pub(super) recorded: Vec<u8>,
}

impl Candidates {
    /// Reads the files of a witness, as the candidates of each cluster.
    pub(super) fn load(witness: &Witness) -> Result<Self> {
        let mut sockets = Vec::new();
        for host in 0..HOSTS {
            for second in [false, true] {
                let at = candidate_at(host, second);
                let socket = UdpSocket::bind(at).context(|| at)?;
                socket.set_nonblocking(true).context(|| at)?;
                let room = socket2::SockRef::from(&socket);
                room.set_recv_buffer_size(8 << 20).context(|| at)?;
                let outbox = Outbox::new();
                sockets.push(Own { socket, outbox });
            }
        }
        let mut loaded = Self {
            all: Vec::new(),
            clusters: Vec::new(),
            by_id: HashMap::new(),
            sockets,
            witness: witness.address(),
            due: BTreeSet::new(),
            between: VecDeque::new(),
            answers: VecDeque::new(),
            away: VecDeque::new(),
            effects: Vec::new(),
            inbox: Inbox::new(),
            bytes: Vec::new(),
            sealed: Vec::new(),
            last: boottime(),
            next_to_fail: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            counts: Counts::new(),
            recorded: Vec::new(),
        };
        for cluster in 0..witness.clusters {
            loaded.load_cluster(witness, cluster)?;
        }
        Ok(loaded)
    }

    fn load_cluster(&mut self, witness: &Witness, cluster: u32) -> Result<()> {
        let file = witness.file(cluster);
        for second in [false, true] {
            let name = if second { "b" } else { "a" };
            let loaded = config_file::load(&file, Some(name)).context(|| file.display())?;
            let local = loaded.clusters.into_iter().next();
            let local = local.ok_or_else(|| err(format!("{}: no cluster", file.display())))?;
            if !second {
                self.by_id
                    .insert(local.config.cluster(), self.clusters.len());
                self.clusters.push(Cluster {
                    keys: local.keys(),
                    failed: None,
                    awaited: false,
                });
            }
            let host = (cluster % HOSTS) as usize;
            let at = self.all.len();
            self.all.push(Candidate {
                config: local.config,
                node: None,
                due: LocalTime::from_nanos(0),
                holds_until: LocalTime::from_nanos(0),
                holds: false,
                socket: 2 * host + usize::from(second),
            });
            let start = boottime().plus(Span::from_nanos(self.draw() % SPREAD.as_nanos()));
            self.away.push_back((start, at));
        }
        Ok(())
    }

    fn draw(&mut self) -> u64 {
        // xorshift
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn now(&mut self) -> LocalTime {
        let least = LocalTime::from_nanos(self.last.as_nanos() + 1);
        self.last = boottime().max(least);
        self.last
    }

    /// The address of a member, from which a flood may come, and one to which.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.sockets.iter().map(|own| &own.socket)
    }

    /// How many clusters have a holder now.
    pub(super) fn held(&self) -> usize {
        let holds = |two: &&[Candidate]| two.iter().any(|c| c.holds);
        self.all.chunks(2).filter(holds).count()
    }

    /// What the two candidates of a cluster without a holder know, for whoever must find out why.
    pub(super) fn first_without_a_holder(&mut self) -> String {
        let now = self.now();
        let mut clusters = self.all.chunks(2);
        let Some(two) = clusters.find(|two| two.iter().all(|c| !c.holds)) else {
            return String::new();
        };
        let know = two.iter().map(|candidate| {
            let knows = |node: &Node| format!("\n{:?}", node.observe(&candidate.config, now));
            candidate
                .node
                .as_ref()
                .map_or("\nhas not begun".to_owned(), knows)
        });
        know.collect()
    }

    pub(super) fn count_from_here(&mut self) {
        self.counts = Counts::new();
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// So many holders lose their power.
    pub(super) fn fail(&mut self, count: usize) {
        let now = self.now();
        let mut left = self.clusters.len();
        for _ in 0..count {
            while left > 0 && self.clusters[self.next_to_fail].failed.is_some() {
                self.next_to_fail = (self.next_to_fail + 1) % self.clusters.len();
                left -= 1;
            }
            let cluster = self.next_to_fail;
            self.next_to_fail = (cluster + 1) % self.clusters.len();
            let holder = [2 * cluster, 2 * cluster + 1].into_iter();
            let Some(holder) = holder.into_iter().find(|c| self.all[*c].holds) else {
                continue;
            };
            self.counts.failed += 1;
            (
                self.clusters[cluster].failed,
                self.clusters[cluster].awaited,
            ) = (Some(now), true);
            let candidate = &mut self.all[holder];
            self.due.remove(&(candidate.due, holder));
            candidate.node = None;
            candidate.holds = false;
            self.away.push_back((now.plus(AWAY), holder));
        }
    }

    /// Runs all of them for this long.
    pub(super) fn run(&mut self, length: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < length {
            let mut came = 0;
            for at in 0..self.sockets.len() {
                let socket = &self.sockets[at].socket;
                if self.inbox.fill_newest_first(socket, MOST).is_ok() {
                    came += self.take_all(at % 2 == 1);
                }
            }
            self.start_who_comes_back();
            let now = self.now();
            while let Some((at, who)) = self.due.first().copied()
                && at <= now
            {
                self.due.remove(&(at, who));
                self.handle(who, now, Input::Wake);
            }
            self.hand_over();
            for own in &mut self.sockets {
                own.outbox.send(&own.socket, |(), _| {}); // what is refused is lost
            }
            if came == 0 {
                self.wait(length.saturating_sub(began.elapsed()))?;
            }
        }
        Ok(())
    }

    /// Waits until something comes, or is due.
    fn wait(&mut self, most: Duration) -> Result<()> {
        let now = self.now();
        let next = self.due.first().map(|(at, _)| at.since(now).as_nanos());
        let start = self.away.front().map(|(at, _)| at.since(now).as_nanos());
        let next = next
            .into_iter()
            .chain(start)
            .min()
            .map(Duration::from_nanos);
        let most = next.map_or(most, |next| next.min(most));
        let wait = Timespec {
            tv_sec: most.as_secs() as i64,
            tv_nsec: most.subsec_nanos().into(),
        };
        let fds = self.sockets.iter();
        let mut fds: Vec<PollFd<'_>> = fds.map(|s| PollFd::new(&s.socket, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(err(format!("waiting for the witness: {e}"))),
        }
    }

    fn start_who_comes_back(&mut self) {
        let now = self.now();
        for _ in 0..self.away.len() {
            let Some((at, who)) = self.away.pop_front() else {
                return;
            };
            if at > now {
                self.away.push_back((at, who));
                continue;
            }
            let incarnation = Incarnation(self.draw());
            let candidate = &mut self.all[who];
            let config = &candidate.config;
            // The machine has booted: no lease of an earlier incarnation runs.
            let mut node = Node::start(config, incarnation, now, Span::ZERO);
            for input in [
                Input::Eligible {
                    group: GROUP,
                    eligible: true,
                },
                Input::Health {
                    group: GROUP,
                    healthy: true,
                },
            ] {
                let _ = node.handle(config, now, input, &mut self.effects); // only adverts are refused
            }
            candidate.node = Some(node);
            candidate.due = now;
            self.due.insert((now, who));
            self.apply(who, now);
        }
    }

    /// Gives the datagrams in the inbox to the first candidates of their clusters, or to the second
    /// ones; returns how many there were.
    fn take_all(&mut self, second: bool) -> usize {
        let mut count = 0;
        let since = self.now();
        let mut bytes = std::mem::take(&mut self.bytes);
        while self.inbox.take(&mut bytes).is_some() {
            count += 1;
            let cluster = auth::claimed_cluster(&bytes)
                .and_then(|id| self.by_id.get(&id))
                .copied();
            let Some(cluster) = cluster else {
                continue; // a note, or nobody's
            };
            let who = 2 * cluster + usize::from(second);
            let Candidate { config, node, .. } = &self.all[who];
            let claimed = node.as_ref().zip(auth::claimed_order(&bytes));
            if claimed.is_some_and(|(node, (of, at))| node.superseded(of, at, since)) {
                self.counts.received += 1; // superseded: the witness does not open such, either
                continue;
            }
            let Ok(advert) = auth::open(&self.clusters[cluster].keys, config.cluster(), &bytes)
            else {
                continue;
            };
            self.counts.received += 1;
            let now = self.now();
            let said = advert.get();
            let (echo, kept) = (said.echo, said.echo_age);
            if self.handle(who, now, Input::Received(advert))
                && let Some(echo) = echo
            {
                let under_way = now.since(echo).as_nanos().saturating_sub(kept.as_nanos());
                self.counts.delays.add(Span::from_nanos(under_way));
            }
        }
        self.bytes = bytes;
        count
    }

    /// What one candidate said to the other.
    fn hand_over(&mut self) {
        while let Some((who, advert)) = self.between.pop_front() {
            let now = self.now();
            self.handle(who, now, Input::Received(Authentic::assumed(advert)));
        }
    }

    /// A turn of a node, and what follows from it; returns whether the input was accepted.
    fn handle(&mut self, who: usize, now: LocalTime, input: Input) -> bool {
        let accepted = self.turn(who, now, input);
        while let Some((who, answer)) = self.answers.pop_front() {
            self.turn(who, now, answer);
        }
        accepted
    }

    fn turn(&mut self, who: usize, now: LocalTime, input: Input) -> bool {
        let candidate = &mut self.all[who];
        let Some(node) = &mut candidate.node else {
            return false;
        };
        let accepted = node
            .handle(&candidate.config, now, input, &mut self.effects)
            .is_ok();
        self.apply(who, now);
        accepted
    }

    fn apply(&mut self, who: usize, now: LocalTime) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.effect(who, now, effect);
        }
        self.effects = effects;
        let candidate = &mut self.all[who];
        if let Some(node) = &candidate.node {
            let due = node.poll_timeout(&candidate.config).unwrap_or(now);
            if due != candidate.due || !self.due.contains(&(due, who)) {
                self.due.remove(&(candidate.due, who));
                candidate.due = due;
                self.due.insert((due, who));
            }
        }
    }

    fn effect(&mut self, who: usize, now: LocalTime, effect: Effect) {
        let cluster = who / 2;
        match effect {
            Effect::Send { to, advert } if self.all[who].config.is_candidate(to) => {
                self.between.push_back((who ^ 1, advert));
            }
            Effect::Send { advert, .. } => {
                auth::seal(&self.clusters[cluster].keys, &advert, &mut self.sealed);
                let own = &mut self.sockets[self.all[who].socket];
                if own.outbox.push(&self.sealed, self.witness, ()) {
                    own.outbox.send(&own.socket, |(), _| {});
                }
                self.counts.sent += 1;
                if self.recorded.is_empty() {
                    self.recorded.clone_from(&self.sealed);
                }
            }
            Effect::Release { group, release } => {
                let released = Input::Released { group, release };
                self.all[who].holds_until = now;
                self.answers.push_back((who, released));
            }
            Effect::HoldUntil { deadline, .. } => self.holds(who, now, deadline),
            Effect::Report(Event::Role { to, .. }) => {
                self.all[who].holds = to == RoleName::Holder;
                let cluster = &mut self.clusters[cluster];
                match (cluster.failed, to) {
                    (None, _) => self.counts.changed += 1,
                    (Some(at), RoleName::Holder) if cluster.awaited => {
                        cluster.awaited = false;
                        self.counts.outages.add(now.since(at));
                    }
                    (Some(_), _) => {}
                }
            }
            // It has come back, and is not in quarantine any more.
            Effect::Report(Event::Ready) => self.clusters[cluster].failed = None,
            Effect::Report(Event::Overslept) => self.counts.overslept += 1,
            Effect::Prepare { group } => {
                let prepared = Input::Prepared { group, done: true };
                self.answers.push_back((who, prepared));
            }
            Effect::Report(_)
            | Effect::Announce { .. }
            | Effect::Probe { .. }
            | Effect::EndIncarnation => {}
        }
    }

    fn holds(&mut self, who: usize, now: LocalTime, deadline: LocalTime) {
        let other = &self.all[who ^ 1];
        if other.node.is_some() && other.holds && other.holds_until > now {
            self.counts.dual += 1;
        }
        self.all[who].holds_until = deadline;
    }
}

//! Asks the network, again and again, who has an address.
//!
//! The observer broadcasts ARP probes for the address (requests whose sender has no address yet, so
//! nobody remembers them) and notes who answers each of them. The sender's hardware address numbers
//! a request, and an answer goes back to it, so every answer is known to belong to one request,
//! however late it comes, and the bridge shows it to nobody else.
//!
//! **Dual-holder time.** A request that two nodes answered is *shared*. One alone proves nothing:
//! the address may have been handed over between its arrival at one node and at the other. Two
//! shared requests in succession prove it, for all requests leave from one CPU, and the kernel
//! delivers what one CPU sent in order: the first request was at the second node before the
//! second request was at the first. So both held at the same time (or they handed over three
//! times within one period). Dual time is the sum, over runs of two or more shared requests, of
//! the time from the first to the last of them, plus one period, which lies at the run's edges.
//! With a request each millisecond, two holders for two milliseconds are always seen; one late
//! answer after a hand-over is never counted.

use super::background::Background;
use super::host::Host;
use super::link::{self, Mac};
use super::packet::PacketSocket;
use super::priority;
use crate::error::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many requests can wait for their answers; a later answer does not count.
const NUMBERS: usize = 4096;
/// A request younger than this may still be answered.
const SETTLED: Duration = Duration::from_millis(3);
/// It is an outage if no node has answered for this long.
const UNANSWERED: Duration = Duration::from_millis(30);

/// One request, and who answered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// When it was sent.
    pub sent: Instant,
    /// The nodes that answered: bit n for the nth node that is watched.
    pub answers: u32,
}

impl Round {
    fn is_shared(self) -> bool {
        self.answers.count_ones() > 1
    }
}

/// For how long two nodes held at once, as defined in the module's docs.
#[must_use]
pub fn dual_time(rounds: &[Round], period: Duration) -> Duration {
    rounds
        .chunk_by(|a, b| a.is_shared() && b.is_shared())
        .filter(|run| run.len() > 1)
        .map(|run| run[run.len() - 1].sent - run[0].sent + period)
        .sum()
}

/// Who has answered last, as of `now`: a bit for each node; 0 if nobody answers.
#[must_use]
pub fn holder(rounds: &[Round], now: Instant) -> u32 {
    rounds
        .iter()
        .rev()
        .skip_while(|round| now.saturating_duration_since(round.sent) < SETTLED)
        .take_while(|round| now.saturating_duration_since(round.sent) < UNANSWERED)
        .map(|round| round.answers)
        .find(|answers| *answers != 0)
        .unwrap_or(0)
}

/// A node started or stopped answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When the first such request was sent.
    pub at: Instant,
    /// Which node.
    pub node: usize,
    /// It answers from then on.
    pub answers: bool,
}

/// Who answered when, in order. A single shared request does not prove two holders: it counts for
/// those nodes that also answer the next answered request.
#[must_use]
pub fn changes(rounds: &[Round]) -> Vec<Change> {
    let shared = |n: usize| rounds.get(n).is_some_and(|round| round.is_shared());
    let by = |n: usize| {
        let answers = rounds[n].answers;
        let single = shared(n) && !shared(n + 1) && (n == 0 || !shared(n - 1));
        let later = if single { &rounds[n + 1..] } else { &[] };
        let next = later
            .iter()
            .map(|round| round.answers)
            .find(|next| *next != 0);
        match answers & next.unwrap_or(answers) {
            0 => answers,
            both => both,
        }
    };
    let mut changes = Vec::new();
    let mut tell = |nodes: u32, at, answers| {
        let nodes = (0..32).filter(|node| nodes & 1 << node != 0);
        changes.extend(nodes.map(|node| Change { at, node, answers }));
    };
    let (mut now, mut last) = (0, 0);
    for (n, round) in rounds.iter().enumerate() {
        let next = by(n);
        if next == 0 && (now == 0 || round.sent - rounds[last].sent <= UNANSWERED) {
            continue;
        }
        if now & !next != 0 {
            tell(now & !next, rounds[last + 1].sent, false);
        }
        tell(next & !now, round.sent, true);
        (now, last) = (next, n);
    }
    changes
}

/// What was seen between two instants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sightings {
    /// For how long two nodes held at once.
    pub dual: Duration,
    /// The longest time without an answer.
    pub outage: Duration,
    /// How often the one who answers changed to another.
    pub changes: u32,
}

/// A probe in a host of its own.
pub struct Observer {
    names: Vec<String>,
    period: Duration,
    rounds: Arc<Mutex<Vec<Round>>>,
    thread: Background,
}

impl Observer {
    /// Starts to ask for `target`, every `period`, from `host`'s `eth0`. `nodes` are those who may
    /// answer.
    ///
    /// # Errors
    /// If the host is off, or allows no packet socket.
    pub fn start(host: &Host, target: Ipv4Addr, nodes: &[&Host], period: Duration) -> Result<Self> {
        let nodes = nodes
            .iter()
            .map(|node| (node.name().to_owned(), node.mac(0)));
        Self::watch(host, target, nodes.collect(), period, Duration::MAX)
    }

    /// The same, for nodes that are known by name and hardware address. An answer that comes later
    /// than `patience` does not count: a virtual machine that stands still has its requests kept
    /// for it, and answers them when it goes on.
    ///
    /// # Errors
    /// If the host is off, or allows no packet socket.
    pub fn watch(
        host: &Host,
        target: Ipv4Addr,
        nodes: Vec<(String, Mac)>,
        period: Duration,
        patience: Duration,
    ) -> Result<Self> {
        let (names, macs): (Vec<String>, Vec<Mac>) = nodes.into_iter().unzip();
        let rounds = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&rounds);
        let thread = host.call(move || -> Result<_> {
            let socket = link::index("eth0").and_then(PacketSocket::arp);
            let socket = socket.context(|| "opening the observer's packet socket")?;
            let asker = Asker {
                socket,
                macs,
                target,
                period,
                patience,
                rounds: shared,
            };
            Background::start("observer", move |stop| asker.run(stop))
                .context(|| "starting the observer")
        })??;
        Ok(Self {
            names,
            period,
            rounds,
            thread,
        })
    }

    /// Who holds now, as seen from the network: no name, one, or, if things are bad, two.
    #[must_use]
    pub fn holders(&self) -> Vec<String> {
        let mask = holder(&lock(&self.rounds), Instant::now());
        let numbered = self.names.iter().enumerate();
        numbered
            .filter(|(n, _)| mask & (1 << n) != 0)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// What was seen from one instant to another.
    #[must_use]
    pub fn sightings(&self, from: Instant, to: Instant) -> Sightings {
        let rounds = lock(&self.rounds);
        let first = rounds.partition_point(|round| round.sent < from);
        let last = rounds.partition_point(|round| round.sent < to);
        let seen = &rounds[first..last];
        let mut sightings = Sightings {
            dual: dual_time(seen, self.period),
            outage: Duration::ZERO,
            changes: 0,
        };
        let is_sole = |round: &&Round| round.answers.count_ones() == 1;
        let mut sole = rounds[..first]
            .iter()
            .rev()
            .find(is_sole)
            .map(|r| r.answers);
        let mut answered = from;
        for round in seen {
            if round.answers != 0 {
                sightings.outage = sightings.outage.max(round.sent - answered);
                answered = round.sent;
            }
            if is_sole(&round) {
                sightings.changes += u32::from(sole.is_some_and(|s| s != round.answers));
                sole = Some(round.answers);
            }
        }
        sightings.outage = sightings.outage.max(to - answered);
        sightings
    }

    /// The requests from one instant to another, and who answered them.
    #[must_use]
    pub fn rounds(&self, from: Instant, to: Instant) -> Vec<Round> {
        let rounds = lock(&self.rounds);
        let first = rounds.partition_point(|round| round.sent < from);
        let last = rounds.partition_point(|round| round.sent < to);
        rounds[first..last].to_vec()
    }

    /// Forgets the requests from before `then`, but for those that may still be answered, and
    /// returns them.
    pub fn forget(&self, then: Instant) -> Vec<Round> {
        let mut rounds = lock(&self.rounds);
        let last = rounds.len().saturating_sub(NUMBERS);
        let first = rounds.partition_point(|round| round.sent < then).min(last);
        rounds.drain(..first).collect()
    }

    /// Ends it, and returns what was not forgotten.
    #[must_use]
    pub fn end(self) -> Vec<Round> {
        drop(self.thread);
        std::mem::take(&mut *lock(&self.rounds))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The observer's thread.
struct Asker {
    socket: PacketSocket,
    macs: Vec<Mac>,
    target: Ipv4Addr,
    period: Duration,
    patience: Duration,
    rounds: Arc<Mutex<Vec<Round>>>,
}

impl Asker {
    fn run(self, stop: &AtomicBool) {
        priority::raise();
        // On one CPU, as the proof above asks for. It is refused only if that CPU goes away.
        let mut here = CpuSet::new();
        here.set(sched_getcpu());
        let _ = sched_setaffinity(None, &here);
        let mut asked = 0_usize;
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.listen(asked, due);
            let sent = Instant::now();
            lock(&self.rounds).push(Round { sent, answers: 0 });
            // A request that could not be sent gets no answer.
            let _ = self.socket.send(&self.request(asked % NUMBERS));
            asked += 1;
            due = (due + self.period).max(sent);
        }
    }

    /// Notes answers until `due`.
    fn listen(&self, asked: usize, due: Instant) {
        loop {
            let mut frame = [0; 64];
            while let Ok(len) = self.socket.receive(&mut frame) {
                self.note(&frame[..len], asked);
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

    /// Notes a frame if it is an answer: Ethernet header (14), ARP header (8), who says so (6) of
    /// which address (4), to whom (6).
    fn note(&self, frame: &[u8], asked: usize) {
        let Some((_, arp)) = frame.split_at_checked(14) else {
            return;
        };
        if arp.len() < 28 || arp[6..8] != [0, 2] || arp[14..18] != self.target.octets() {
            return;
        }
        let node = self.macs.iter().position(|mac| arp[8..14] == mac[..]);
        let number = usize::from(u16::from_be_bytes([arp[22], arp[23]]));
        if let Some(node) = node
            && arp[18..24] == sender(number)
            && number < NUMBERS.min(asked)
        {
            // The latest request with this number, counted back from the last one.
            let back = (asked - 1 + NUMBERS - number) % NUMBERS;
            let mut rounds = lock(&self.rounds);
            if let Some(at) = rounds.len().checked_sub(1 + back)
                && rounds[at].sent.elapsed() <= self.patience
            {
                rounds[at].answers |= 1 << node;
            }
        }
    }

    fn request(&self, number: usize) -> Vec<u8> {
        const HEADER: [u8; 10] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
        let (sender, target) = (sender(number), self.target.octets());
        [
            &[0xff; 6][..],
            &sender,
            &HEADER,
            &sender,
            &[0; 4],
            &[0; 6],
            &target,
        ]
        .concat()
    }
}

/// The hardware address that request `number` comes from.
fn sender(number: usize) -> Mac {
    let [high, low] = u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    [0x02, 0x6f, 0x68, 0xff, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(1);

    fn rounds(answers: &[u32]) -> Vec<Round> {
        let start = Instant::now();
        let numbered = (0..).zip(answers);
        numbered
            .map(|(n, answers)| Round {
                sent: start + PERIOD * n,
                answers: *answers,
            })
            .collect()
    }

    #[test]
    fn a_hand_over_is_not_dual_even_if_one_request_saw_both() {
        assert_eq!(dual_time(&rounds(&[1, 1, 3, 2, 2]), PERIOD), Duration::ZERO);
        assert_eq!(dual_time(&rounds(&[1, 1, 0, 2, 1]), PERIOD), Duration::ZERO);
    }

    #[test]
    fn two_shared_requests_are_dual() {
        assert_eq!(dual_time(&rounds(&[1, 3, 3, 2]), PERIOD), PERIOD * 2);
        assert_eq!(
            dual_time(&rounds(&[3, 3, 3, 1, 3, 0, 3, 3]), PERIOD),
            PERIOD * 5
        );
    }

    #[test]
    fn a_hand_over_changes_from_one_to_the_other_and_two_are_shown_as_two() {
        let of = |answers: &[u32]| {
            let rounds = rounds(answers);
            let after = |at: Instant| (at - rounds[0].sent).as_millis();
            let changes = changes(&rounds).into_iter();
            changes
                .map(|c| (after(c.at), c.node, c.answers))
                .collect::<Vec<_>>()
        };
        let silent: Vec<u32> = [vec![1; 3], vec![0; 40], vec![2; 50]].concat();
        assert_eq!(of(&silent), [(0, 0, true), (3, 0, false), (43, 1, true)]);
        let handed_over: Vec<u32> = [vec![1, 0, 1, 3], vec![2; 50]].concat();
        let expected = [(0, 0, true), (3, 0, false), (3, 1, true)];
        assert_eq!(of(&handed_over), expected);
        let back_and_forth = of(&[1, 1, 2, 1, 3, 2, 2]).into_iter();
        let mut open = 0;
        let most = back_and_forth.map(|(_, _, begins)| {
            open += if begins { 1 } else { -1 };
            open
        });
        assert_eq!(most.max(), Some(1), "never both");
        let two: Vec<u32> = [vec![1, 3, 3], vec![2; 50]].concat();
        assert_eq!(of(&two), [(0, 0, true), (1, 1, true), (3, 0, false)]);
    }

    #[test]
    fn the_holder_is_who_answered_last_and_not_long_ago() {
        let seen = rounds(&[1, 1, 2, 0, 0, 0, 0]);
        let end = seen[6].sent;
        assert_eq!(holder(&seen, end), 2);
        assert_eq!(holder(&seen, end + UNANSWERED), 0);
    }
}

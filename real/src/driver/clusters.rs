//! The clusters of a process, found by number, by id, by path, and by when their nodes are due: a
//! turn costs what happens in it, however many clusters there are.

use super::Served;
use crate::config_file::Path;
use onehold_core::advert::ClusterId;
use onehold_core::time::LocalTime;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

/// All clusters that are served. Each has a number, the next one when it joined, which no other
/// gets later.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    all: Vec<Option<Box<Served>>>,
    count: usize,
    by_id: HashMap<ClusterId, usize>,
    /// By the two ends of a path: whoever joined first with it.
    by_path: HashMap<(SocketAddr, SocketAddr), usize>,
    /// When to look at each that is not active: no later than its node is due.
    looks: BTreeSet<(LocalTime, usize)>,
    /// Those whose nodes had a turn since [`Self::take_active`] was called.
    touched: Vec<usize>,
}

impl Clusters {
    /// These, numbered in their order.
    pub(super) fn new(served: Vec<Served>) -> Self {
        let mut clusters = Self::default();
        for s in served {
            clusters.add(Box::new(s));
        }
        clusters
    }

    /// One more is served; returns its number.
    pub(super) fn add(&mut self, mut served: Box<Served>) -> usize {
        let number = self.all.len();
        self.by_id.insert(served.config.cluster(), number);
        for path in served.metrics.paths() {
            let ends = (path.local, path.remote);
            self.by_path.entry(ends).or_insert(number);
        }
        served.look_at = Some(LocalTime::from_nanos(0)); // its first turn is due at once
        self.looks.insert((LocalTime::from_nanos(0), number));
        self.all.push(Some(served));
        self.count += 1;
        number
    }

    /// It is not served any more.
    pub(super) fn remove(&mut self, number: usize) -> Option<Box<Served>> {
        let served = self.all.get_mut(number)?.take()?;
        self.count -= 1;
        let look = served.look_at.map(|at| (at, number));
        look.map(|look| self.looks.remove(&look));
        if self.by_id.get(&served.config.cluster()) == Some(&number) {
            self.by_id.remove(&served.config.cluster());
        }
        for path in served.metrics.paths() {
            let ends = (path.local, path.remote);
            if self.by_path.get(&ends) == Some(&number) {
                self.by_path.remove(&ends);
            }
        }
        Some(served)
    }

    /// its ways, which were these, are others now.
    pub(super) fn follow_paths(&mut self, number: usize, left: &[Path]) {
        if left.is_empty() {
            return;
        }
        for path in left {
            let ends = (path.local, path.remote);
            if self.by_path.get(&ends) == Some(&number) {
                self.by_path.remove(&ends);
            }
        }
        let served = self.all.get(number).and_then(Option::as_ref);
        for path in served.into_iter().flat_map(|s| s.metrics.paths()) {
            let ends = (path.local, path.remote);
            self.by_path.entry(ends).or_insert(number);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, number: usize) -> Option<&Served> {
        self.all.get(number)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Served> {
        self.all.get_mut(number)?.as_deref_mut()
    }

    /// With their numbers, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Served)> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(number, s)| Some((number, s.as_deref()?)))
    }

    /// The numbers of those that are served, from one on.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = usize> {
        let all = self.all.iter().enumerate().skip(first);
        all.filter_map(|(number, s)| s.as_ref().map(|_| number))
    }

    /// The numbers that were given, those of clusters that have left, too.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// The number of the first that is served.
    pub(super) fn first(&self) -> Option<usize> {
        self.iter().next().map(|(number, _)| number)
    }

    pub(super) fn of_id(&self, id: ClusterId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn of_path(&self, local: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.by_path.get(&(local, remote)).copied()
    }

    /// Its node had a turn.
    pub(super) fn touch(&mut self, number: usize) {
        let Some(s) = self.get_mut(number) else {
            return;
        };
        s.due = None;
        if !std::mem::replace(&mut s.active, true) {
            self.touched.push(number);
        }
    }

    /// Those whose nodes had a turn since the last call, or are due by now. [`Self::settle`] and
    /// [`Self::settled`] are called for each of them.
    pub(super) fn take_active(&mut self, now: LocalTime) -> Vec<usize> {
        let mut active = std::mem::take(&mut self.touched);
        while let Some(&(at, number)) = self.looks.first() {
            if at > now {
                break;
            }
            self.looks.pop_first();
            if let Some(s) = self.get_mut(number) {
                s.look_at = None;
                if !std::mem::replace(&mut s.active, true) {
                    active.push(number);
                }
            }
        }
        active
    }

    /// An active one is looked at when its node is due; returns when that is. Most of what happens to
    /// a node puts that off, which is found out when it is looked at.
    pub(super) fn settle(&mut self, number: usize) -> Option<LocalTime> {
        let s = self.all.get_mut(number)?.as_deref_mut()?;
        let due = s.due();
        match s.look_at {
            Some(at) if at <= due => return Some(due),
            Some(at) => drop(self.looks.remove(&(at, number))),
            None => {}
        }
        s.look_at = Some(due);
        self.looks.insert((due, number));
        Some(due)
    }

    /// The turn of an active one is over.
    pub(super) fn settled(&mut self, number: usize) {
        if let Some(s) = self.get_mut(number) {
            s.active = false;
        }
    }

    /// When a node is next due; in the past if one is due now, nothing if there is none.
    pub(super) fn due(&mut self) -> Option<LocalTime> {
        while let Some(&(at, number)) = self.looks.first() {
            let s = self.all.get_mut(number).and_then(Option::as_deref_mut);
            let due = s.map(|s| {
                let due = s.due();
                s.look_at = Some(due);
                due
            });
            if due == Some(at) {
                return due; // mostly: it has its place already
            }
            self.looks.pop_first();
            if let Some(due) = due {
                self.looks.insert((due, number));
                if due <= at {
                    return Some(due);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::LocalCluster;
    use crate::config_file::tests::{THREE, cluster};
    use crate::driver::{Driver, Shell, ShellEvent};
    use crate::history::Entry;
    use crate::metrics::Metrics;
    use crate::orders::Standings;
    use crate::trace::{Recorder, Turn};
    use onehold_core::advert::{Advert, GroupId, Incarnation, MemberId};
    use onehold_core::auth;
    use onehold_core::effect::Event;
    use onehold_core::reject::Reject;
    use onehold_core::time::Span;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// A witness of many clusters, and what happens to it.
    #[derive(Default)]
    struct World {
        now: u64,
        waits: Option<LocalTime>,
        events: VecDeque<(ShellEvent, Vec<u8>)>,
        look: Option<u64>,
        left: Vec<usize>,
        told: Vec<String>,
    }

    impl Shell for World {
        fn now(&mut self) -> LocalTime {
            self.now += 1;
            LocalTime::from_nanos(self.now)
        }

        async fn wait(&mut self, at: LocalTime) {
            self.waits = Some(at);
        }

        fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
            let (event, of) = self.events.pop_front()?;
            *bytes = of;
            Some(event)
        }

        fn newest_first(&self) -> Option<u64> {
            self.look
        }

        fn send(&mut self, _: usize, _: MemberId, _: &[u8]) -> u64 {
            1
        }

        fn release(&mut self, _: usize, _: GroupId) {}

        fn hold_until(&mut self, _: usize, _: GroupId, _: LocalTime) {}

        fn prepare(&mut self, _: usize, _: GroupId) {}

        fn announce(&mut self, _: usize, _: GroupId) {}

        fn record_lease(&mut self, _: usize, _: Span) {}

        fn reported(&mut self, _: usize, _: &Event) {}

        fn happened(&mut self, cluster: usize, entry: Entry) {
            self.told.push(format!("{cluster} {}", entry.event));
        }

        fn ordered(&mut self, _: usize, _: &[Standings]) {}

        fn left(&mut self, cluster: usize) {
            self.left.push(cluster);
        }
    }

    /// Whose nodes had turns.
    #[derive(Clone, Debug, Default)]
    struct Turns(Rc<RefCell<Vec<usize>>>);

    impl Turns {
        fn take(&self) -> Vec<usize> {
            std::mem::take(&mut self.0.borrow_mut())
        }
    }

    impl Recorder for Turns {
        fn turn(&mut self, turn: &Turn<'_>) {
            self.0.borrow_mut().push(turn.cluster);
        }
    }

    fn local(n: usize) -> LocalCluster {
        let text = THREE.replace("name = \"web\"", &format!("name = \"web{n}\""));
        cluster(&text, "w")
    }

    /// What lb0 of a cluster sends first.
    fn advert(n: usize) -> (ShellEvent, Vec<u8>) {
        advert_of(n, None, 5)
    }

    /// What it sends then, to this incarnation.
    fn advert_of(n: usize, to: Option<Incarnation>, sent_at: u64) -> (ShellEvent, Vec<u8>) {
        let local = local(n);
        let groups = local.config.groups().len();
        let advert = Advert {
            cluster: local.config.cluster(),
            config: local.config.digest(),
            change: onehold_core::advert::Change::None,
            from: MemberId(0),
            to: local.config.me(),
            incarnation: Incarnation(9),
            to_incarnation: to,
            sent_at: LocalTime::from_nanos(sent_at),
            echo: None,
            echo_age: Span::ZERO,
            quarantined: true,
            groups: (0..groups).map(|_| Default::default()).collect(),
        };
        let mut bytes = Vec::new();
        auth::seal(&local.keys(), &advert, &mut bytes);
        let path = local.paths(MemberId(0)).next().expect("a path");
        let (local, remote) = (path.local, path.remote);
        (ShellEvent::Datagram { local, remote }, bytes)
    }

    /// So many, which had their first turns.
    fn driver(clusters: usize) -> (Driver<World>, Turns) {
        let start = LocalTime::from_nanos(1_000_000);
        let served = (0..clusters).map(|n| {
            let (local, id) = (local(n), Incarnation(n as u64));
            let (config, keys) = (local.config.clone(), local.keys());
            Served::start(config, keys, Metrics::new(&local), id, start, Span::ZERO)
        });
        let world = World {
            now: start.as_nanos(),
            ..World::default()
        };
        let (mut driver, turns) = (Driver::new(served.collect(), world), Turns::default());
        driver.record(Box::new(turns.clone()));
        driver.turn();
        assert_eq!(turns.take(), (0..clusters).collect::<Vec<_>>());
        (driver, turns)
    }

    #[test]
    fn a_datagram_costs_a_turn_of_its_cluster_s_node_and_of_no_other() {
        let (mut driver, turns) = driver(500);
        for n in [7, 499, 7, 0] {
            driver.shell.events.push_back(advert(n));
            driver.turn();
            assert_eq!(turns.take(), [n]);
        }
        driver.turn();
        assert_eq!(turns.take(), [0; 0], "nothing happened");
    }

    #[test]
    fn r2_what_is_superseded_in_the_same_look_is_not_opened() {
        let (mut driver, turns) = driver(2);
        // How many turns, and how many are rejected as stale and for their seals.
        let mut comes = |look: Option<u64>, n: usize, sent_at: u64, damage: bool| {
            let (event, mut bytes) = advert_of(n, Some(Incarnation(n as u64)), sent_at);
            *bytes.last_mut().expect("a seal") ^= u8::from(damage);
            driver.shell.events.push_back((event, bytes));
            driver.shell.look = look;
            driver.turn();
            let served = driver.served.get(n).expect("served");
            let of = |why: Reject| served.metrics.rejected[why.index()];
            (turns.take().len(), of(Reject::Stale), of(Reject::BadSeal))
        };
        let look = Some(3);
        assert_eq!(comes(look, 1, 70, false), (1, 0, 0), "accepted");
        let not_opened = (0, 1, 0);
        assert_eq!(
            comes(look, 1, 69, true),
            not_opened,
            "its seal is no matter"
        );
        assert_eq!(
            comes(look, 1, 70, true),
            (0, 1, 1),
            "a copy tells of its way"
        );
        assert_eq!(comes(look, 1, 71, true), (0, 1, 2));
        assert_eq!(
            comes(look, 1, 71, false),
            (1, 1, 2),
            "nothing forged supersedes"
        );
        assert_eq!(comes(look, 0, 69, false), (1, 0, 0), "another cluster's");
        // What comes later tells of a slower way, or of another machine with this memory.
        assert_eq!(comes(Some(4), 1, 69, true), (0, 1, 3));
        assert_eq!(comes(None, 1, 69, true), (0, 1, 4));
    }

    #[test]
    fn r2_what_waits_for_many_is_read_before_nodes_that_are_due_have_their_turns() {
        let (mut driver, turns) = driver(200);
        for n in 0..3_000 {
            driver.shell.events.push_back(advert(n % 200));
        }
        driver.shell.now = driver.due().as_nanos();
        driver.turn();
        assert_eq!(driver.shell.events.len(), 0);
        let of_datagrams: Vec<usize> = turns.take().into_iter().take(3_000).collect();
        assert!(
            of_datagrams
                .iter()
                .enumerate()
                .all(|(at, n)| at % 200 == *n)
        );
        let few =
            |events| driver.is_long(events, LocalTime::from_nanos(5), LocalTime::from_nanos(9));
        assert_eq!([3_199, 3_200].map(few), [false, true]);
        let later = LocalTime::from_nanos(5).plus(Span::from_millis(100));
        let late = |events| driver.is_long(events, LocalTime::from_nanos(5), later);
        assert_eq!([1_023, 1_024].map(late), [false, true]);
    }

    #[test]
    fn a_node_has_its_turn_when_it_is_due_and_not_before() {
        let (mut driver, turns) = driver(50);
        let first = driver.due();
        for n in 0..50 {
            let s = driver.served.get_mut(n).expect("served");
            assert!(first <= s.due());
        }
        driver.shell.now = first.as_nanos() - 10;
        driver.turn();
        assert_eq!(turns.take(), [0; 0]);
        driver.shell.now = first.as_nanos();
        driver.turn();
        assert!(!turns.take().is_empty());
        assert!(driver.due() > first);
        // All of them, again and again, and each when it is due.
        let mut had = [0; 50];
        for _ in 0..1_000 {
            let due = driver.due();
            driver.shell.now = driver.shell.now.max(due.as_nanos());
            driver.turn();
            turns.take().into_iter().for_each(|n| had[n] += 1);
        }
        assert!(had.iter().all(|n| *n >= 10), "{had:?}");
    }

    #[test]
    fn one_that_oversleeps_in_each_turn_says_so_once_a_second() {
        let (mut driver, turns) = driver(2);
        for _ in 0..30 {
            driver.shell.now = driver.due().plus(Span::from_millis(60)).as_nanos();
            driver.turn();
        }
        assert!(turns.take().len() >= 60);
        let told = |n: usize| {
            let of = format!("{n} overslept");
            driver.shell.told.iter().filter(|t| **t == of).count()
        };
        let seconds = driver.shell.now / 1_000_000_000;
        assert!((4..8).contains(&seconds), "{seconds} s");
        let once_a_second = |n| (3..=8).contains(&told(n));
        assert!(
            once_a_second(0) && once_a_second(1),
            "{:?}",
            driver.shell.told
        );
    }

    #[test]
    fn r12_one_cluster_leaves_and_the_others_keep_their_numbers() {
        let (mut driver, turns) = driver(3);
        let leaves = ShellEvent::Leaves { cluster: 1 };
        driver.shell.events.push_back((leaves, Vec::new()));
        driver.turn();
        assert_eq!(driver.shell.left, [1]);
        assert!(turns.take().iter().all(|n| *n == 1));
        assert_eq!(driver.served.len(), 2);
        for n in [0, 1, 2] {
            driver.shell.events.push_back(advert(n));
        }
        driver.turn();
        assert_eq!(
            turns.take(),
            [0, 2],
            "what is of no cluster reaches no node"
        );
        let unknown = |n| driver.served.get(n).map(|s: &Served| s.metrics.rejected);
        assert_eq!(unknown(1), None);
        let numbers: Vec<usize> = driver.served.iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [0, 2]);
    }
}

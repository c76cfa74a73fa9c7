//! Two drivers that hear each other: what one lacks is shown by the other, and nothing else comes
//! of a note, whoever sends it.

use onehold::control::{PendingRequest, Reply, Request};
use onehold::driver::{Driver, Served, Shell, ShellEvent};
use onehold::metrics::Metrics;
use onehold::note::{Line, Note};
use onehold::orders::Standings;
use onehold::status::Status;
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::effect::Event;
use onehold_core::lease::TimingSpec;
use onehold_core::time::{LocalTime, Span};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

const WEB: GroupId = GroupId(0);
const NAMES: [&str; 2] = ["lb0", "lb1"];
/// More turns than any run here needs.
const PATIENCE: u32 = 100_000;
const SICK: &str = "check page fails: 502";

fn config(me: &str) -> Config {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        witness: false,
        addresses: vec![],
    };
    let spec = Spec {
        cluster: "test".into(),
        members: NAMES.map(member).to_vec(),
        groups: vec![GroupSpec::new(
            "web",
            vec![Prefix::new([10, 0, 0, 50], 24)],
            "lb0",
        )],
        arbitration: Arbitration::Survivor,
        timing: TimingSpec::default(),
    };
    spec.prove(me).expect("a good configuration")
}

fn keys(secret: &[u8]) -> Keys {
    Keys::new(Key::new(secret), vec![])
}

/// Both members, and all that is between them.
struct World {
    now: LocalTime,
    /// By member: what waits for it, and when it wants to be run.
    inbox: [VecDeque<(ShellEvent, Vec<u8>)>; 2],
    wakes: [LocalTime; 2],
    /// Notes that were sent: when, by whom, and the bytes.
    notes: Vec<(LocalTime, usize, Vec<u8>)>,
    /// Notes get lost.
    lossy: bool,
    /// lb1 is gone: nothing comes to it, nor from it.
    gone: bool,
}

impl World {
    fn datagram(&mut self, to: usize, bytes: &[u8]) {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        let event = ShellEvent::Datagram { local, remote };
        if !(self.gone && to == 1) {
            self.inbox[to].push_back((event, bytes.to_vec()));
        }
    }
}

struct Member {
    me: usize,
    world: Rc<RefCell<World>>,
}

impl Member {
    fn event(&self, event: ShellEvent) {
        let mut world = self.world.borrow_mut();
        world.inbox[self.me].push_back((event, Vec::new()));
    }
}

impl Shell for Member {
    fn now(&mut self) -> LocalTime {
        let mut world = self.world.borrow_mut();
        world.now = world.now.plus(Span::from_nanos(1));
        world.now
    }

    async fn wait(&mut self, at: LocalTime) {
        std::future::poll_fn(|_| {
            let mut world = self.world.borrow_mut();
            world.wakes[self.me] = at;
            match world.now >= at || !world.inbox[self.me].is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let (event, content) = self.world.borrow_mut().inbox[self.me].pop_front()?;
        *bytes = content;
        Some(event)
    }

    fn send(&mut self, _: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.world.borrow_mut().datagram(to.0.into(), bytes);
        1
    }

    fn send_note(&mut self, _: usize, to: MemberId, bytes: &[u8]) -> u64 {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.notes.push((now, self.me, bytes.to_vec()));
        if !world.lossy {
            world.datagram(to.0.into(), bytes);
        }
        1
    }

    fn release(&mut self, cluster: usize, group: GroupId) {
        self.event(ShellEvent::Released {
            cluster,
            group,
            answer: Ok(()),
        });
    }

    fn hold_until(&mut self, _: usize, _: GroupId, _: LocalTime) {}
    fn prepare(&mut self, _: usize, _: GroupId) {}
    fn announce(&mut self, _: usize, _: GroupId) {}
    fn record_lease(&mut self, _: usize, _: Span) {}
    fn reported(&mut self, _: usize, _: &Event) {}
    fn ordered(&mut self, _: usize, _: &[Standings]) {}
}

/// Two drivers, run one after the other whenever they want to be.
struct Pair {
    world: Rc<RefCell<World>>,
    drivers: [Pin<Box<dyn Future<Output = ()>>>; 2],
}

impl Pair {
    fn new() -> Self {
        let start = LocalTime::from_nanos(1 << 40);
        let world = Rc::new(RefCell::new(World {
            now: start,
            inbox: [VecDeque::new(), VecDeque::new()],
            wakes: [start; 2],
            notes: Vec::new(),
            lossy: false,
            gone: false,
        }));
        let driver = |me: usize| -> Pin<Box<dyn Future<Output = ()>>> {
            let config = config(NAMES[me]);
            let metrics = Metrics::of("test", &config);
            let served = Served::start(
                config,
                keys(b"secret"),
                metrics,
                incarnation(me),
                start,
                Span::ZERO,
            );
            let world = Rc::clone(&world);
            let mut driver = Driver::new(vec![served], Member { me, world });
            Box::pin(async move { driver.run().await })
        };
        let drivers = [driver(0), driver(1)];
        Self { world, drivers }
    }

    fn run(&mut self, ms: u64) {
        let until = self.world.borrow().now.plus(Span::from_millis(ms));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..PATIENCE {
            for driver in &mut self.drivers {
                assert!(driver.as_mut().poll(&mut cx).is_pending());
            }
            let mut world = self.world.borrow_mut();
            if world.inbox.iter().any(|inbox| !inbox.is_empty()) {
                continue;
            }
            if world.now >= until {
                return;
            }
            let [a, b] = world.wakes;
            world.now = world.now.max(a.min(b).min(until));
        }
        panic!("they never rest");
    }

    /// lb1 ends, without a word.
    fn loses_lb1(&mut self) {
        self.drivers[1] = Box::pin(std::future::pending());
        let mut world = self.world.borrow_mut();
        (world.gone, world.wakes[1]) = (true, LocalTime::from_nanos(u64::MAX));
        world.inbox[1].clear();
    }

    fn healthy(&mut self, member: usize, healthy: Result<(), &str>) {
        let event = ShellEvent::Health {
            cluster: 0,
            group: WEB,
            healthy: healthy.map_err(str::to_owned),
        };
        self.world.borrow_mut().inbox[member].push_back((event, vec![]));
    }

    fn status(&mut self, member: usize) -> Status {
        let (reply, mut answer) = oneshot::channel();
        let request = Request::STATUS;
        let event = ShellEvent::Request(PendingRequest { request, reply });
        self.world.borrow_mut().inbox[member].push_back((event, vec![]));
        self.run(1);
        match answer.try_recv() {
            Ok(Reply::Status(mut report)) => report.clusters.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Why lb1 could not take over, as lb0 shows it.
    fn shown(&mut self) -> Option<String> {
        let status = self.status(0);
        let lack = status.peers[0].lacks.first()?;
        assert_eq!(status.peers[0].version.as_deref(), Some("0.1.0"));
        assert!(status.alarms.iter().any(|a| a.contains(&lack.why)));
        Some(lack.why.clone())
    }

    /// lb1 says this of itself; returns how many notes lb0 has shown and ignored.
    fn comes(&mut self, keys: &Keys, note: &Note, change: impl FnOnce(&mut Vec<u8>)) -> (u64, u64) {
        let (mut said, mut sealed) = (Vec::new(), Vec::new());
        note.encode(&mut said);
        change(&mut said);
        auth::seal_note(&keys.all()[0], config("lb0").cluster(), &said, &mut sealed);
        self.arrives(&sealed)
    }

    fn arrives(&mut self, bytes: &[u8]) -> (u64, u64) {
        self.world.borrow_mut().datagram(0, bytes);
        let notes = self.status(0).counters.notes;
        (notes.accepted, notes.ignored)
    }
}

fn incarnation(member: usize) -> Incarnation {
    Incarnation(1_000 + member as u64)
}

fn note(number: u64, text: &str) -> Note {
    Note {
        from: MemberId(1),
        to: MemberId(0),
        incarnation: incarnation(1),
        to_incarnation: incarnation(0),
        number,
        version: "0.1.0".to_owned(),
        lines: vec![Line {
            group: WEB,
            since: Span::ZERO,
            text: text.to_owned(),
        }],
    }
}

#[test]
fn what_a_standby_lacks_is_shown_by_the_holder_and_moves_nothing() {
    let mut pair = Pair::new();
    pair.run(3_000);
    assert_eq!(pair.status(0).groups[0].role, "holder");
    assert_eq!(pair.shown(), None);
    pair.healthy(1, Err(SICK));
    pair.run(1_100);
    assert_eq!(pair.shown().as_deref(), Some(SICK));
    // It lasts while it is repeated, and is forgotten when it is not, whatever was lost.
    pair.run(20_000);
    assert_eq!(pair.shown().as_deref(), Some(SICK));
    let sent: Vec<_> = pair.world.borrow().notes.clone();
    let by_lb1: Vec<LocalTime> = sent.iter().filter(|n| n.1 == 1).map(|n| n.0).collect();
    assert!((5..8).contains(&by_lb1.len()), "{by_lb1:?}");
    let second = Span::from_millis(1_000);
    assert!(by_lb1.windows(2).all(|w| w[1].since(w[0]) >= second));
    assert!(sent.iter().all(|(_, _, bytes)| bytes.len() <= 1_024));
    pair.healthy(1, Ok(()));
    pair.run(1_100);
    assert_eq!(pair.shown(), None);
    pair.healthy(1, Err(SICK));
    pair.run(1_100);
    pair.world.borrow_mut().lossy = true;
    pair.run(16_000);
    assert_eq!(pair.shown(), None);
    let status = pair.status(0);
    assert_eq!(
        status.alarms,
        ["web: lb1 is heard, but could not take over: `onehold status` there says why"]
    );
    assert_eq!(status.groups[0].role_changes, 1, "nothing has moved");
    assert_eq!(status.counters.notes.ignored, 0);
    assert!(
        status
            .counters
            .rejected
            .iter()
            .all(|(name, n)| *n == 0 || name == "knock")
    );
}

#[test]
fn a_note_that_is_forged_or_replayed_or_malformed_is_ignored_and_counted() {
    let mut pair = Pair::new();
    pair.run(3_000);
    let ours = keys(b"secret");
    let (shown, ignored) = pair.comes(&ours, &note(1 << 32, "one"), |_| {});
    assert_eq!(ignored, 0);
    let before = pair.status(0);
    let mut expected = 0;
    let mut ignores = |pair: &mut Pair, now: (u64, u64), what: &str| {
        expected += 1;
        assert_eq!(now, (shown, expected), "{what}");
        let status = pair.status(0);
        assert_eq!(status.alarms, before.alarms, "{what}");
        assert_eq!(status.counters.rejected, before.counters.rejected, "{what}");
    };
    let next = note((1 << 32) + 1, "two");
    let now = pair.comes(&keys(b"another"), &next, |_| {});
    ignores(&mut pair, now, "another key");
    let now = pair.comes(&ours, &note(5, "old"), |_| {});
    ignores(&mut pair, now, "a replay");
    let now = pair.comes(&ours, &next, |said| said.truncate(30));
    ignores(&mut pair, now, "cut off");
    let now = pair.comes(&ours, &next, |said| said.extend([0; 400]));
    ignores(&mut pair, now, "too long");
    let now = pair.comes(&ours, &next, |said| {
        let last = said.len() - 1;
        said[last] = 0x1b;
    });
    ignores(&mut pair, now, "a control character");
    let (mut sealed, other) = (Vec::new(), config("lb0").cluster().0 ^ 1);
    auth::seal_note(
        &ours.all()[0],
        onehold_core::advert::ClusterId(other),
        &[0; 40],
        &mut sealed,
    );
    let now = pair.arrives(&sealed);
    ignores(&mut pair, now, "another cluster");
    // What is too long for a note is no datagram of ours, and as an advert it is one less.
    let rejected = pair.status(0).counters.rejected["not_ours"];
    pair.comes(&ours, &next, |said| said.resize(1_000, 0));
    assert_eq!(pair.status(0).counters.rejected["not_ours"], rejected + 1);
    let now = pair.comes(&ours, &next, |_| {});
    assert_eq!(
        now,
        (shown + 1, expected),
        "what is good is shown all the same"
    );
}

#[test]
fn a_note_of_a_peer_is_not_a_sign_of_life() {
    let mut pair = Pair::new();
    pair.run(3_000);
    pair.loses_lb1();
    for number in 0..30 {
        let note = note((1 << 32) + number, "alive");
        pair.comes(&keys(b"secret"), &note, |_| {});
        pair.run(50);
    }
    let status = pair.status(0);
    assert!(
        status.peers[0]
            .heard_ms_ago
            .is_some_and(|ago| ago > 1_000.0)
    );
    assert_eq!(
        status.peers[0].version, None,
        "it was forgotten with its peer"
    );
    assert!(
        status.counters.notes.ignored > 0,
        "nobody is heard who sends them"
    );
}

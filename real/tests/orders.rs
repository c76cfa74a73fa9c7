//! What the operator orders, while it stands: what the driver gives the shell to keep, and what ends
//! by itself at a time of the wall clock.

use onehold::control::{Order, PendingRequest, Reply, Request};
use onehold::driver::{Begun, Driver, Joined, Served, Shell, ShellEvent};
use onehold::metrics::Metrics;
use onehold::orders::{Said, Standing, Standings, Until};
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::auth::{Key, Keys};
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::effect::Event;
use onehold_core::lease::TimingSpec;
use onehold_core::time::{LocalTime, Span};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// What the wall clock shows, and what happens then.
type Step = (u64, Option<ShellEvent>);

/// A host on which nothing happens but what the operator says, and time.
struct Desk {
    now: LocalTime,
    wall: u64,
    steps: VecDeque<Step>,
    event: Option<ShellEvent>,
    /// What was to be kept, and what the wall clock showed then.
    kept: Vec<(u64, Standings)>,
}

impl Shell for Desk {
    fn now(&mut self) -> LocalTime {
        self.now = self.now.plus(Span::from_nanos(1));
        self.now
    }

    async fn wait(&mut self, _: LocalTime) {
        self.now = self.now.plus(Span::from_millis(20));
        (self.wall, self.event) = match self.steps.pop_front() {
            Some(step) => step,
            None => (self.wall, Some(ShellEvent::Stop)),
        };
    }

    fn next(&mut self, _: &mut Vec<u8>) -> Option<ShellEvent> {
        self.event.take()
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

    fn ordered(&mut self, _: usize, orders: &[Standings]) {
        self.kept.push((self.wall, orders[0].clone()));
    }

    fn wall(&mut self) -> u64 {
        self.wall
    }
}

fn config() -> Config {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        witness: false,
        addresses: vec![],
    };
    let spec = Spec {
        cluster: "test".into(),
        members: vec![member("a"), member("b")],
        groups: vec![GroupSpec::new(
            "web",
            vec![Prefix::new([10, 0, 0, 1], 24)],
            "a",
        )],
        arbitration: Arbitration::Majority,
        timing: TimingSpec::default(),
    };
    spec.prove("a").expect("a cluster of two")
}

/// A driver whose member was left these orders by an earlier incarnation; what it had the shell keep.
fn kept(left: Vec<(Standing, Said)>, steps: Vec<Step>) -> Vec<(u64, Standings)> {
    let (config, now) = (config(), LocalTime::from_nanos(1 << 40));
    let metrics = Metrics::of("test", &config);
    let keys = Keys::new(Key::new(b"a secret of a test"), vec![]);
    let served = Served::start(config, keys, metrics, Incarnation(1), now, Span::ZERO);
    let orders = left.into_iter();
    let joined = ShellEvent::Joined(Box::new(Joined {
        served: Box::new(served),
        orders: orders
            .map(|(order, said)| (GroupId(0), order, said))
            .collect(),
        recorder: None,
        begun: Begun::Anew,
    }));
    let wall = steps.first().map_or(0, |(wall, _)| *wall);
    let shell = Desk {
        now,
        wall,
        steps: steps.into(),
        event: Some(joined),
        kept: Vec::new(),
    };
    let mut driver = Driver::new(vec![], shell);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(driver.run());
    driver.into_shell().kept
}

fn until(unix: u64) -> Said {
    Said {
        reason: Some("disk".into()),
        until: Some(Until {
            unix,
            text: "06:00".into(),
        }),
        ..Said::default()
    }
}

fn say(command: Order, said: Said) -> (ShellEvent, oneshot::Receiver<Reply>) {
    let (reply, answer) = oneshot::channel();
    let request = Request::Command {
        command,
        cluster: None,
        group: None,
        said,
    };
    (
        ShellEvent::Request(PendingRequest { request, reply }),
        answer,
    )
}

fn event(command: Order, said: Said) -> Option<ShellEvent> {
    Some(say(command, said).0)
}

#[test]
fn r12_an_order_ends_by_itself_when_the_wall_clock_shows_its_end() {
    let steps = vec![
        (500, event(Order::Standby, until(1_000))),
        (999, None),
        (400, None), // stepped back
        (999, None),
        (1_007, None),
        (1_008, None),
    ];
    let standing: Standings = [(Standing::Standby, until(1_000))].into();
    let expected = [(500, standing), (1_007, Standings::new())];
    assert_eq!(kept(vec![], steps), expected);
}

#[test]
fn r12_what_is_said_again_replaces_what_was_said_before() {
    let steps = vec![
        (1, event(Order::Freeze, until(50))),
        (2, event(Order::Freeze, Said::default())),
        (60, None),
        (61, event(Order::Standby, until(70))),
        (62, event(Order::Resume, Said::default())),
        (80, event(Order::Thaw, Said::default())),
    ];
    let frozen = |said| Standings::from([(Standing::Freeze, said)]);
    let both = Standings::from([
        (Standing::Standby, until(70)),
        (Standing::Freeze, Said::default()),
    ]);
    let expected = [
        (1, frozen(until(50))),
        (2, frozen(Said::default())),
        (61, both),
        (62, frozen(Said::default())),
        (80, Standings::new()),
    ];
    assert_eq!(kept(vec![], steps), expected);
}

#[test]
fn r12_an_order_that_ended_while_the_daemon_was_down_ends_at_its_start() {
    let left = vec![
        (Standing::Standby, until(1_000)),
        (Standing::Freeze, until(3_000)),
    ];
    let frozen = Standings::from([(Standing::Freeze, until(3_000))]);
    let later = kept(left.clone(), vec![(2_000, None), (2_500, None)]);
    assert_eq!(later, [(2_000, frozen)]);
    // A clock that was not set yet proves no end.
    assert_eq!(kept(left, vec![(7, None), (8, None)]), []);
}

#[test]
fn an_end_that_is_over_is_refused() {
    let (event, mut answer) = say(Order::Standby, until(1_000));
    assert_eq!(kept(vec![], vec![(1_000, Some(event))]), []);
    let Ok(Reply::Refused { why }) = answer.try_recv() else {
        panic!("it is over")
    };
    assert!(
        why.contains("until 06:00 is over by this host's clock"),
        "{why}"
    );
}

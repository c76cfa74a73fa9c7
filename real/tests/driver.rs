//! Whatever comes to the driver, in whatever order: it never panics, answers every question once,
//! keeps the order of R-8 towards its kernel, and ends when it is told to stop.

use onehold::control::{Order, PendingRequest, Reply, Request};
use onehold::driver::openings::{BeforeHold, Failing};
use onehold::driver::{Driver, Served, Shell, ShellEvent};
use onehold::metrics::Metrics;
use onehold::orders::{Said, Standings};
use onehold_core::advert::{Advert, GroupId, Incarnation, MemberId, Statement};
use onehold_core::auth::{self, Key, Keys};
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::effect::Event;
use onehold_core::lease::TimingSpec;
use onehold_core::time::{LocalTime, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::sync::oneshot;

const WEB: GroupId = GroupId(0);
const PEER: MemberId = MemberId(1);
/// More waits than any run here needs.
const PATIENCE: u32 = 200_000;

/// What comes next.
#[derive(Clone, Debug)]
enum Act {
    /// So many milliseconds pass, and it is run whenever it wants to be.
    Pass(u16),
    /// The same, and it is not run.
    Sleep(u16),
    /// A datagram of anybody's.
    Noise(Vec<u8>),
    /// A datagram with the cluster's seal.
    Advert {
        life: u8,
        to: Option<u8>,
        late: u16,
        says: [bool; 5],
    },
    /// The peer echoes what is yet to be sent: this machine was restored from a snapshot.
    Restored,
    /// An operator asks, perhaps for what there is not.
    Ask(Option<Order>, Option<String>, Option<String>),
    Eligible(bool),
    Healthy(bool),
    Prepared(bool),
    Changed,
    Claim,
    /// The secrets are read again.
    Secrets(bool),
    /// From now on the kernel takes holds, and releases, or does not.
    Kernel(bool, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let order = prop_oneof![
        Just(Order::Switch),
        Just(Order::Standby),
        Just(Order::Resume),
        Just(Order::PresumeDead),
    ];
    let name = || proptest::option::of(prop_oneof![Just("web".to_owned()), "[a-z]{0,8}"]);
    let advert = (
        0..4u8,
        proptest::option::of(0..3u8),
        0..2_000u16,
        any::<[bool; 5]>(),
    );
    prop_oneof![
        4 => (0..2_000u16).prop_map(Act::Pass),
        1 => (0..2_000u16).prop_map(Act::Sleep),
        1 => vec(any::<u8>(), 0..300).prop_map(Act::Noise),
        4 => advert.prop_map(|(life, to, late, says)| Act::Advert { life, to, late, says }),
        2 => (proptest::option::of(order), name(), name()).prop_map(|(o, c, g)| Act::Ask(o, c, g)),
        1 => any::<bool>().prop_map(Act::Eligible),
        1 => any::<bool>().prop_map(Act::Healthy),
        3 => any::<bool>().prop_map(Act::Prepared),
        1 => Just(Act::Changed),
        1 => Just(Act::Claim),
        1 => any::<bool>().prop_map(Act::Secrets),
        1 => any::<(bool, bool)>().prop_map(|(holds, releases)| Act::Kernel(holds, releases)),
    ]
}

fn config() -> Config {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        witness: false,
        addresses: vec![],
    };
    let mut spec = Spec {
        cluster: "test".into(),
        members: ["lb0", "lb1"].map(member).to_vec(),
        groups: vec![GroupSpec::new(
            "web",
            vec![Prefix::new([10, 0, 0, 50], 24)],
            "lb0",
        )],
        // It takes hold without anybody's vote.
        arbitration: Arbitration::Survivor,
        timing: TimingSpec::default(),
    };
    spec.groups[0].prepares = true;
    spec.prove("lb0").expect("a good configuration")
}

fn keys(secret: &[u8]) -> Keys {
    Keys::new(Key::new(secret), vec![])
}

/// The driver's world: a script, and a kernel that does what it is told, if it does.
struct Scripted {
    config: Config,
    now: LocalTime,
    script: VecDeque<Act>,
    /// Nothing comes until then but time.
    passes_until: LocalTime,
    ready: VecDeque<(ShellEvent, Vec<u8>)>,
    answers: Vec<oneshot::Receiver<Reply>>,
    takes_holds: bool,
    takes_releases: bool,
    open: Option<LocalTime>,
    releasing: bool,
    stopped: bool,
    /// When a hold was refused last, and whether circumstances have changed since.
    refused_at: Option<LocalTime>,
    changed: bool,
    holds: u32,
    waits: u32,
    prepares: u32,
}

impl Scripted {
    fn later(&self, ms: u16) -> LocalTime {
        self.now.plus(Span::from_millis(u64::from(ms)))
    }

    fn event(&mut self, event: ShellEvent) {
        self.ready.push_back((event, Vec::new()));
    }

    fn datagram(&mut self, bytes: Vec<u8>) {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 2));
        let from = [2, 0, 0, 0, 0, 2];
        let event = match bytes.iter().fold(0, |all, byte| all ^ byte) % 2 {
            0 => ShellEvent::Datagram { local, remote },
            _ => ShellEvent::Frame { at: 0, from },
        };
        self.ready.push_back((event, bytes));
    }

    fn advert(&mut self, life: u8, to: Option<u8>, late: u16, says: [bool; 5]) {
        let [asks, holds, ready, yields, quarantined] = says;
        let statement = Statement {
            asks,
            holds,
            ready,
            yields,
            preparing: false,
            frozen: false,
            vote: None,
        };
        let ago = Span::from_millis(u64::from(late)).as_nanos();
        let then = LocalTime::from_nanos(self.now.as_nanos().saturating_sub(ago));
        let advert = Advert {
            cluster: self.config.cluster(),
            config: self.config.digest(),
            change: onehold_core::advert::Change::None,
            from: PEER,
            to: self.config.me(),
            incarnation: Incarnation(100 + u64::from(life)),
            to_incarnation: to.map(|life| Incarnation(u64::from(life))),
            sent_at: then,
            echo: to.map(|_| then),
            echo_age: Span::ZERO,
            quarantined,
            groups: [statement].into_iter().collect(),
        };
        let mut bytes = Vec::new();
        auth::seal(&keys(b"secret"), &advert, &mut bytes);
        self.datagram(bytes);
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Pass(ms) => self.passes_until = self.later(ms),
            Act::Sleep(ms) => self.now = self.later(ms),
            Act::Noise(bytes) => self.datagram(bytes),
            Act::Advert {
                life,
                to,
                late,
                says,
            } => self.advert(life, to, late, says),
            Act::Restored => {
                let later = self.later(60_000);
                let now = std::mem::replace(&mut self.now, later);
                self.advert(0, Some(1), 0, [false; 5]);
                self.now = now;
            }
            Act::Ask(order, cluster, group) => {
                let request = match order {
                    None => Request::STATUS,
                    Some(command) => Request::Command {
                        command,
                        cluster,
                        group,
                        said: Said::default(),
                    },
                };
                let (reply, answer) = oneshot::channel();
                self.answers.push(answer);
                let request = ShellEvent::Request(PendingRequest { request, reply });
                self.ready.push_back((request, Vec::new()));
            }
            Act::Eligible(eligible) => self.event(ShellEvent::Eligible {
                cluster: 0,
                group: WEB,
                eligible: if eligible {
                    Ok(())
                } else {
                    Err("not now".to_owned())
                },
            }),
            Act::Healthy(healthy) => self.event(ShellEvent::Health {
                cluster: 0,
                group: WEB,
                healthy: if healthy {
                    Ok(())
                } else {
                    Err("not now".to_owned())
                },
            }),
            Act::Prepared(ok) => self.event(ShellEvent::Prepared {
                cluster: 0,
                group: WEB,
                done: if ok { Ok(()) } else { Err("no".to_owned()) },
            }),
            Act::Changed => {
                self.changed = true;
                self.event(ShellEvent::Changed {
                    cluster: 0,
                    group: WEB,
                });
            }
            Act::Claim => self.event(ShellEvent::ForeignClaim {
                cluster: 0,
                group: WEB,
            }),
            Act::Secrets(same) => {
                let keys = keys(if same { b"secret" } else { b"other" });
                self.ready
                    .push_back((ShellEvent::Keys { cluster: 0, keys }, Vec::new()));
            }
            Act::Kernel(holds, releases) => {
                self.takes_holds = holds;
                self.takes_releases = releases;
            }
        }
    }
}

impl Shell for Scripted {
    fn now(&mut self) -> LocalTime {
        self.now = self.now.plus(Span::from_nanos(1));
        self.now
    }

    async fn wait(&mut self, at: LocalTime) {
        self.waits += 1;
        assert!(self.waits < PATIENCE, "told to stop, and still there");
        if self.releasing {
            self.releasing = false;
            let answer = match self.takes_releases {
                true => Ok(()),
                false => Err("not now".to_owned()),
            };
            if answer.is_ok() {
                self.open = None;
            }
            let event = ShellEvent::Released {
                cluster: 0,
                group: WEB,
                answer,
            };
            self.ready.push_back((event, Vec::new()));
            return;
        }
        if self.now < self.passes_until {
            self.now = self.now.max(at.min(self.passes_until));
            return;
        }
        match self.script.pop_front() {
            Some(act) => self.act(act),
            None if !self.stopped => {
                self.stopped = true;
                (self.takes_holds, self.takes_releases) = (true, true);
                self.ready.push_back((ShellEvent::Stop, Vec::new()));
            }
            None => self.now = self.now.max(at),
        }
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        let (event, content) = self.ready.pop_front()?;
        *bytes = content;
        Some(event)
    }

    fn send(&mut self, _: usize, to: MemberId, bytes: &[u8]) -> u64 {
        assert_eq!(to, PEER);
        assert!(!bytes.is_empty());
        1
    }

    fn release(&mut self, _: usize, group: GroupId) {
        assert_eq!(group, WEB);
        assert!(!self.releasing, "R-8: one release at a time");
        self.releasing = true;
    }

    fn prepare(&mut self, _: usize, group: GroupId) {
        assert!(
            !self.releasing,
            "no prepare between a release and its confirmation"
        );
        assert!(self.open.is_none(), "prepare while open");
        if !self.takes_holds {
            self.event(ShellEvent::HoldFailed {
                cluster: 0,
                group,
                why: "not now".to_owned(),
            });
            self.refused_at.get_or_insert(self.now);
        }
        self.prepares += 1;
    }

    fn hold_until(&mut self, _: usize, group: GroupId, deadline: LocalTime) {
        assert_eq!(group, WEB);
        assert!(
            !self.releasing,
            "R-8: no hold before the release is confirmed"
        );
        let lease = self.config.timing().lease();
        assert!(
            deadline <= self.now.plus(lease),
            "R-7: no longer than H from now"
        );
        let untold =
            |(event, _): &(ShellEvent, Vec<u8>)| matches!(event, ShellEvent::HoldFailed { .. });
        if !self.ready.iter().any(untold)
            && let Some(at) = self.refused_at.take()
        {
            assert!(
                self.now >= at.plus(Span::from_millis(1_000)) || self.changed,
                "R-8: it is tried again after a cool-down"
            );
        }
        self.changed = false;
        if self.takes_holds {
            self.open = Some(deadline);
            self.holds += 1;
        } else {
            self.event(ShellEvent::HoldFailed {
                cluster: 0,
                group,
                why: "not now".to_owned(),
            });
            self.refused_at.get_or_insert(self.now);
        }
    }

    fn announce(&mut self, _: usize, group: GroupId) {
        assert_eq!(group, WEB);
        assert!(
            self.open.is_some() || self.refused_at.is_some(),
            "announced while mute"
        );
    }

    fn record_lease(&mut self, _: usize, _: Span) {}
    fn reported(&mut self, _: usize, _: &Event) {}
    fn ordered(&mut self, _: usize, _: &[Standings]) {}
}

/// Plays a script to its end; how often the kernel was told to hold.
fn play(script: Vec<Act>, failing: Failing) -> u32 {
    let config = config();
    let start = LocalTime::from_nanos(1 << 40);
    let metrics = Metrics::of("test", &config);
    let life = Incarnation(1);
    let mut served = Served::start(
        config.clone(),
        keys(b"secret"),
        metrics,
        life,
        start,
        Span::ZERO,
    );
    let deadline = Span::from_millis(700);
    served.before_hold = vec![Some(BeforeHold { deadline, failing })];
    let shell = Scripted {
        config,
        now: start,
        script: script.into(),
        passes_until: start,
        ready: VecDeque::new(),
        answers: vec![],
        takes_holds: true,
        takes_releases: true,
        open: None,
        releasing: false,
        stopped: false,
        refused_at: None,
        changed: false,
        holds: 0,
        waits: 0,
        prepares: 0,
    };
    let mut driver = Driver::new(vec![served], shell);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(driver.run());
    let over = driver.is_over();
    let mut shell = driver.into_shell();
    if over {
        assert!(shell.releasing, "R-21: the kernel was told to let go");
        assert!(!shell.script.is_empty(), "and nothing else was done");
        return shell.holds;
    }
    for answer in &mut shell.answers {
        answer.try_recv().expect("every question is answered");
    }
    assert!(
        shell.open.is_none_or(|until| until <= shell.now),
        "nothing is left open"
    );
    shell.holds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_the_driver_keeps_its_order_and_ends(script in vec(act(), 0..120), opens: bool) {
        play(script, if opens { Failing::Open } else { Failing::Release });
    }
}

/// A world in which nothing happens but that the daemon is told to stop.
struct Nothing {
    told: bool,
    waits: u32,
}

impl Shell for Nothing {
    fn now(&mut self) -> LocalTime {
        LocalTime::from_nanos(1)
    }

    async fn wait(&mut self, _: LocalTime) {
        self.waits += 1;
        assert!(self.waits < 2, "it is told to stop, and waits for nothing");
    }

    fn next(&mut self, _: &mut Vec<u8>) -> Option<ShellEvent> {
        let stop = self.waits > 0 && !std::mem::replace(&mut self.told, true);
        stop.then_some(ShellEvent::Stop)
    }

    fn send(&mut self, _: usize, _: MemberId, _: &[u8]) -> u64 {
        unreachable!("nobody to send to")
    }

    fn release(&mut self, _: usize, _: GroupId) {}

    fn hold_until(&mut self, _: usize, _: GroupId, _: LocalTime) {}

    fn prepare(&mut self, _: usize, _: GroupId) {}

    fn announce(&mut self, _: usize, _: GroupId) {}

    fn record_lease(&mut self, _: usize, _: Span) {}

    fn reported(&mut self, _: usize, _: &Event) {}

    fn ordered(&mut self, _: usize, _: &[Standings]) {}
}

#[test]
fn one_that_serves_nothing_yet_ends_when_it_is_told_to() {
    let (told, waits) = (false, 0);
    let mut driver = Driver::new(vec![], Nothing { told, waits });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(driver.run());
    assert!(driver.done());
}

/// The scripts above are worth something only if it comes to a hold in such a world.
#[test]
fn alone_it_holds_and_lets_go_at_the_end() {
    assert!(play(vec![Act::Pass(2_000); 2], Failing::Open) > 3);
}

#[test]
fn one_whose_clock_went_back_shuts_its_gate_and_ends() {
    let script = vec![
        Act::Pass(2_000),
        Act::Pass(2_000),
        Act::Restored,
        Act::Pass(1),
    ];
    assert!(play(script, Failing::Open) > 3);
}

#[test]
fn a_process_that_is_paused_past_the_deadline_and_the_lease_lets_go() {
    let script = vec![
        Act::Pass(1_200),
        Act::Sleep(900),
        Act::Pass(2_000),
        Act::Pass(1_000),
    ];
    for failing in [Failing::Open, Failing::Release] {
        play(script.clone(), failing);
    }
}

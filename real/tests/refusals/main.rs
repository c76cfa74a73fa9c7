//! The kernel refuses any call at any moment, and others do what they like to interfaces, gates and
//! addresses: nothing is answered for that should not be held, a hold is in force or its failure is
//! reported, a release is tried until it is confirmed, which a shut gate is enough for, and when all
//! is well again, all is well again.
//!
//! The daemon's own world ([`Linux`]) on this machine's kernel, in network namespaces, as a peer
//! sees it. These tests are its driver.

#[path = "../lan/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with tests/kernel.rs, which uses more of it"
)]
mod lan;
mod seccomp;

use lan::{GROUP, Lan, SLACK, VIP, VIP6, assign, bpf_is_permitted, find, set_up, unassign};
use onehold::daemon::RunOptions;
use onehold::driver::cooldowns::Cooldowns;
use onehold::driver::{Shell as _, ShellEvent, releases::Releases};
use onehold::kernel::{GuardChoice, boottime};
use onehold::linux::{Agent, Arrivals, Linux, Pending};
use onehold::notify::Notify;
use onehold::socket::Sockets;
use onehold::telemetry::Log;
use onehold::{clock::Clock, config_file};
use onehold_core::effect::ReleaseId;
use onehold_core::input::Input;
use onehold_core::time::{LocalTime, Span};
use proptest::collection::vec;
use proptest::prelude::*;
use seccomp::Refuser;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;
use tokio::signal::unix::{SignalKind, signal};

const VIPS: [IpAddr; 2] = [IpAddr::V4(VIP), IpAddr::V6(VIP6)];

const FILE: &str = r#"[cluster]
name = "test"
secret_file = "secret"
arbitration = "survivor"

[members.lb0]
addresses = ["10.0.0.1"]
preferred = true

[members.lb1]
addresses = ["10.0.0.2"]

[groups.web]
addresses = ["10.0.0.100", "2001:db8::100"]
interface = "lan0"
"#;

/// So long that no machine is too busy to answer before it is over.
const LONG: u16 = 5_000;

fn ms(n: u64) -> Span {
    Span::from_millis(n)
}

/// What is done.
#[derive(Clone, Debug)]
enum Act {
    /// By the driver.
    Hold(u16),
    Release,
    Announce,
    /// It holds and sees that it does.
    Prove,
    /// Time passes.
    Pass(u8),
    /// By the kernel: after so many calls, so many are refused with this.
    Refuse(u8, u8, i32),
    /// By others.
    Down,
    Up,
    Unplug,
    Plug,
    TakeGate,
    TakeAddress(bool),
    GiveAddress(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let errno = proptest::sample::select(vec![
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EPERM,
        libc::EBUSY,
        libc::EAGAIN,
        libc::ENODEV,
        libc::ENOENT,
    ]);
    let times = prop_oneof![3 => 1..4_u8, 1 => 1..60_u8];
    prop_oneof![
        5 => prop_oneof![0..1_000_u16, Just(LONG)].prop_map(Act::Hold),
        2 => Just(Act::Prove),
        3 => Just(Act::Release),
        1 => Just(Act::Announce),
        2 => any::<u8>().prop_map(Act::Pass),
        5 => (0..30_u8, times, errno).prop_map(|(after, times, errno)| Act::Refuse(after, times, errno)),
        1 => Just(Act::Down),
        2 => Just(Act::Up),
        1 => Just(Act::Unplug),
        2 => Just(Act::Plug),
        2 => Just(Act::TakeGate),
        2 => any::<bool>().prop_map(Act::TakeAddress),
        1 => any::<bool>().prop_map(Act::GiveAddress),
    ]
}

struct World {
    lan: Lan,
    linux: Linux,
    refuser: Refuser,
    guard: GuardChoice,
    /// Until when it may answer: the latest deadline that was given since the last confirmed
    /// release.
    held_until: Option<LocalTime>,
    release: ReleaseId,
    /// The driver's own, which tries again what the kernel refused.
    releases: Releases,
    /// And its own cool-down after a refused hold.
    cooldowns: Cooldowns,
    releasing: bool,
    /// What the driver was told last, of itself and of its last hold.
    eligible: bool,
    refused: bool,
    whole: bool,
    /// Somebody took the gate, or made an interface that has none yet.
    gate_gone: bool,
    /// Nobody has meddled, and nothing was refused aside, since all was well.
    well: bool,
    plugged: bool,
    up: bool,
    _asks: tokio::sync::mpsc::Sender<onehold::control::PendingRequest>,
}

impl World {
    /// `None` where seccomp can't refuse anything.
    fn new(guard: GuardChoice) -> Option<Self> {
        let refuser = Refuser::install()?;
        let lan = Lan::new();
        let mut kernel = lan.open(guard);
        kernel.scrub().expect("a clean start");
        let _entered = lan.runtime.enter();
        let loaded = loaded();
        let (asks, requests) = tokio::sync::mpsc::channel(1);
        let none = || signal(SignalKind::user_defined2()).expect("a signal");
        let mut linux = Linux {
            clock: Clock::new().expect("a clock"),
            sockets: Sockets::open(&loaded.clusters).expect("the sockets"),
            frames: None,
            kernel: Some(kernel),
            log: log(&loaded),
            loaded,
            arrivals: Arrivals::new(RunOptions {
                config: "none".into(),
                member: None,
                socket: "none".into(),
                state: "none".into(),
                orders: None,
                trace: None,
                trace_size: 0,
            }),
            exporter: onehold::prometheus::serve::Exporter::new(asks.clone()),
            histories: onehold::history::Keeper::default(),
            beside: vec![],
            agent: Agent::new(onehold::control::session::desk().1),
            notify: Notify::from_env(),
            requests,
            upgrades: tokio::sync::mpsc::channel(1).1,
            signals: [none(), none(), none()],
            pending: Pending::default(),
        };
        linux.ready();
        linux.first_kernel_refresh();
        drop(_entered);
        let mut world = Self {
            lan,
            linux,
            refuser,
            guard,
            held_until: None,
            release: ReleaseId(false),
            releases: Releases::default(),
            cooldowns: Cooldowns::default(),
            releasing: false,
            eligible: false,
            refused: false,
            whole: true,
            gate_gone: false,
            well: true,
            plugged: true,
            up: true,
            _asks: asks,
        };
        world.until("it is eligible", |w| w.eligible);
        Some(world)
    }

    /// Lets the world run for a while, and takes what it tells.
    fn run(&mut self, span: Span) {
        let end = boottime().plus(span);
        let refused = self.refuser.refused();
        loop {
            self.listen();
            if boottime() >= end {
                break;
            }
            while let Some((cluster, group)) = self.releases.take_due(boottime()) {
                self.say(|linux| linux.release(cluster, group));
            }
            while let Some((_, (input, _))) = self.cooldowns.take_due(boottime()) {
                self.told(&input);
            }
            let due = self.releases.due().into_iter().chain(self.cooldowns.due());
            let until = due.min().map_or(end, |due| due.min(end));
            let (lan, linux) = (&self.lan, &mut self.linux);
            self.refuser
                .during(|| lan.runtime.block_on(linux.wait(until)));
        }
        self.well &= self.refuser.refused() == refused;
    }

    /// Takes what the world has to tell.
    fn listen(&mut self) {
        let mut bytes = Vec::new();
        while let Some(event) = self.linux.next(&mut bytes) {
            match event {
                ShellEvent::Eligible {
                    cluster,
                    group,
                    eligible,
                } => {
                    let told = self.cooldowns.reported(cluster, group, eligible);
                    told.iter().for_each(|(input, _)| self.told(input));
                }
                ShellEvent::Changed { cluster, group } => {
                    let told = self.cooldowns.changed(cluster, group);
                    told.iter().for_each(|(input, _)| self.told(input));
                }
                ShellEvent::HoldFailed { cluster, group, .. } => {
                    self.cooldowns.refused(boottime(), cluster, group);
                    self.told(&Input::HoldFailed { group });
                }
                ShellEvent::Health { group, healthy, .. } => {
                    assert_eq!(group, GROUP);
                    self.whole = healthy.is_ok();
                }
                ShellEvent::Released {
                    cluster,
                    group,
                    answer,
                } => {
                    let now = boottime();
                    if let Some(input) = self.releases.answered(now, cluster, group, answer) {
                        self.told(&input);
                    }
                }
                _ => {}
            }
        }
    }

    fn told(&mut self, input: &Input) {
        match *input {
            Input::Released { group, release } => {
                assert!(self.releasing, "a release is confirmed once");
                assert_eq!((group, release), (GROUP, self.release));
                self.releasing = false;
                self.held_until = None;
                // R-8: it is mute, though the address may still be there, and even if somebody puts
                // it there.
                self.judge();
                if !self.lan.has(VIPS[0]) {
                    self.act(&Act::GiveAddress(false));
                    self.act(&Act::TakeAddress(false));
                }
            }
            Input::HoldFailed { group } => {
                assert_eq!(group, GROUP);
                self.refused = true;
                self.eligible = false;
                self.let_go();
            }
            Input::Eligible { group, eligible } => {
                assert_eq!(group, GROUP);
                self.eligible = eligible;
                if !eligible && self.held_until.is_some() {
                    self.let_go();
                }
            }
            _ => {}
        }
    }

    /// No cool-down is waited for.
    fn cool_down(&mut self) {
        let told = self.cooldowns.changed(0, GROUP);
        told.iter().for_each(|(input, _)| self.told(input));
    }

    /// Runs until something is so, which must come.
    fn until(&mut self, what: &str, is: impl Fn(&mut Self) -> bool) {
        let end = boottime().plus(ms(30_000));
        while !is(self) {
            assert!(boottime() < end, "in 30 s, {what}");
            self.run(ms(5));
        }
    }

    /// The driver has something done.
    fn say(&mut self, what: impl FnOnce(&mut Linux)) {
        let _entered = self.lan.runtime.enter();
        let linux = &mut self.linux;
        self.refuser.during(|| what(linux));
    }

    /// R-8: no hold before a release is confirmed. Otherwise this driver tries whatever it was
    /// told.
    fn hold(&mut self, span: Span) -> LocalTime {
        let deadline = boottime().plus(span);
        if !self.releasing {
            self.refused = false;
            self.held_until = self.held_until.max(Some(deadline));
            self.say(|linux| linux.hold_until(0, GROUP, deadline));
        }
        deadline
    }

    fn let_go(&mut self) {
        if !self.releasing {
            self.releasing = true;
            self.release = ReleaseId(!self.release.0);
            self.releases.begin(0, GROUP, self.release);
            self.say(|linux| linux.release(0, GROUP));
        }
    }

    fn act(&mut self, act: &Act) {
        let vip = |six: bool| VIPS[usize::from(six)];
        match *act {
            Act::Hold(span) => {
                let well = self.well && !self.releasing;
                self.hold(ms(span.into()));
                self.listen();
                if well && span == LONG && !self.refused {
                    self.sees_it_held();
                }
            }
            Act::Prove => self.prove(),
            Act::Release => self.let_go(),
            Act::Announce => self.say(|linux| linux.announce(0, GROUP)),
            Act::Pass(span) => self.run(ms(span.into())),
            Act::Refuse(after, times, errno) => {
                self.refuser.refuse(after.into(), times.into(), errno);
            }
            Act::Down | Act::Up if self.plugged => {
                let index = self.lan.host().index;
                self.up = matches!(act, Act::Up);
                set_up(&mut self.lan.route, index, self.up);
            }
            Act::Unplug if self.plugged => {
                self.lan.unplug();
                self.plugged = false;
            }
            Act::Plug if !self.plugged => {
                self.lan.plug();
                self.gate_gone = true;
                (self.plugged, self.up) = (true, true);
            }
            Act::TakeGate if self.guard == GuardChoice::Nft => {
                self.gate_gone |= self.lan.delete_tables();
            }
            Act::TakeGate if self.plugged => self.gate_gone |= self.lan.take_gate(),
            Act::TakeAddress(six) if self.lan.has(vip(six)) => {
                let there = self.lan.addresses();
                let there = there.iter().find(|a| a.address == vip(six)).expect("it");
                unassign(
                    &mut self.lan.route,
                    there.index,
                    there.address,
                    there.length,
                );
            }
            Act::GiveAddress(six) if self.plugged && !self.lan.has(vip(six)) => {
                let index = self.lan.host().index;
                assign(
                    &mut self.lan.route,
                    index,
                    vip(six),
                    if six { 128 } else { 32 },
                );
            }
            _ => {}
        }
        let driver = matches!(
            act,
            Act::Hold(_) | Act::Release | Act::Announce | Act::Prove
        );
        self.well &= driver || matches!(act, Act::Pass(_) | Act::Refuse(..));
        self.run(Span::ZERO);
        self.judge();
    }

    /// Nothing is refused; then what the driver may believe is so.
    fn prove(&mut self) {
        self.refuser.refuse(0, 0, 0);
        self.run(ms(10)); // what was done is heard of
        if self.releasing || !self.eligible {
            return;
        }
        self.hold(ms(LONG.into()));
        self.run(ms(1));
        if self.eligible && !self.refused && !self.releasing {
            self.sees_it_held();
        }
    }

    fn sees_it_held(&mut self) {
        // Perhaps the driver is told that not all of it is held, or not any more.
        let (lan, linux) = (&self.lan, &mut self.linux);
        let now = boottime();
        self.refuser
            .during(|| lan.runtime.block_on(linux.wait(now)));
        self.listen();
        if self.held_until.is_none() || self.releasing {
            return;
        }
        for vip in VIPS.into_iter().filter(|_| self.whole) {
            assert!(self.lan.answers(vip), "{vip} is held, and silent");
        }
    }

    /// What the peer sees now.
    fn judge(&mut self) {
        if self.gate_gone && self.plugged && !self.refuser.left() {
            self.run(ms(20)); // it is heard of, and put back
            // Of a row of programs nothing is heard: it is looked at once a second.
            self.until("the gate is put back, or it is told", |w| {
                !w.eligible || w.guard == GuardChoice::Nft || w.lan.is_gated()
            });
            self.gate_gone = !self.eligible;
        }
        if !(self.plugged && self.up) || self.gate_gone {
            return;
        }
        let until = boottime().plus(ms(8));
        let (answered, _) = self.lan.probe(&VIPS, until);
        for (vip, asked) in VIPS.iter().zip(&answered) {
            let end = self
                .held_until
                .map_or(LocalTime::from_nanos(0), |u| u.plus(SLACK));
            let late = asked.iter().filter(|at| **at >= end);
            let late: Vec<_> = late.map(|at| at.since(end)).collect();
            assert!(
                late.is_empty(),
                "R-8: {vip} answers, {late:?} after it may ({:?})",
                self.held_until
            );
        }
    }

    /// Nothing is refused any more, and nobody meddles. Then it is as if nothing had been.
    fn settle(&mut self) {
        self.refuser.refuse(0, 0, 0);
        if !self.plugged {
            self.act(&Act::Plug);
        }
        self.act(&Act::Up);
        for six in [false, true] {
            self.act(&Act::TakeAddress(six));
        }
        self.run(ms(20)); // what was done is heard of
        self.until("it is eligible again", |w| w.eligible && w.whole);
        self.until("the release is confirmed", |w| !w.releasing);
        self.is_gone();
        (self.gate_gone, self.well) = (false, true);
        self.judge();
    }

    /// What was let go is removed, sooner or later.
    fn is_gone(&mut self) {
        let left = |w: &mut Self| VIPS.into_iter().any(|vip| w.lan.has_ours(vip));
        self.until("the addresses are gone", |w| {
            w.held_until.is_some() || !left(w)
        });
    }

    /// A hold is in force until its deadline, a release is one, and the end leaves nothing.
    fn works(mut self) {
        self.settle();
        // On a busy machine nftables refuses one now and then.
        for _ in 0..5 {
            self.hold(ms(LONG.into()));
            self.run(ms(1));
            if !self.refused {
                break;
            }
            self.until("the release is confirmed", |w| !w.releasing);
        }
        assert!(!self.refused, "the kernel refuses nothing");
        self.sees_it_held();
        self.let_go();
        self.until("the release is confirmed", |w| !w.releasing);
        self.judge();
        self.is_gone();
        let closing = self.linux.close();
        self.lan.runtime.block_on(closing).expect("an end");
        for vip in VIPS {
            assert!(!self.lan.has(vip), "{vip} is left");
        }
        assert_eq!(self.lan.tables(), Vec::<String>::new());
        assert!(
            !self.lan.tc_kinds().contains(&"clsact".to_owned()),
            "clsact is left"
        );
        assert!(
            matches!(self.lan.rows(), None | Some([0, 0])),
            "a program is left"
        );
    }
}

fn loaded() -> config_file::Loaded {
    let place = std::env::temp_dir().join(format!("onehold-refusals-{}", std::process::id()));
    let name = place.join(format!("{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&name).expect("a directory");
    let file = |file: &str, text: &str| {
        let path = name.join(file);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode");
        path
    };
    file("secret", "the secret of a test");
    let loaded = config_file::load(&file("onehold.toml", FILE), Some("lb0")).expect("a file");
    std::fs::remove_dir_all(&name).expect("tidying up");
    let _ = std::fs::remove_dir(&place);
    loaded
}

/// There is one in a process; what it would say of all this, nobody wants to read.
fn log(loaded: &config_file::Loaded) -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    std::mem::forget(tracing::subscriber::set_default(
        tracing::subscriber::NoSubscriber::new(),
    ));
    LOG.get_or_init(|| Log::start(loaded.log).expect("a log"))
        .clone()
}

/// In a thread of its own, for that can never be run without the filter again. Says so if there is
/// none.
fn in_a_world(guard: GuardChoice, what: impl FnOnce(World) + Send + 'static) {
    let thread = std::thread::spawn(move || match World::new(guard) {
        Some(world) => what(world),
        None => eprintln!("not run: this kernel has no seccomp notifications"),
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn whatever_is_refused(guard: GuardChoice, acts: Vec<Act>) {
    in_a_world(guard, move |mut world| {
        for act in &acts {
            world.act(act);
        }
        world.works();
    });
}

/// One after the other, in a first hold, in a renewal and in a release: a call that the kernel
/// refuses.
fn whichever_call_is_refused(guard: GuardChoice) {
    in_a_world(guard, |mut world| {
        for (before, act) in [
            (Act::Pass(0), Act::Hold(LONG)),
            (Act::Hold(LONG), Act::Hold(LONG)),
            (Act::Hold(LONG), Act::Release),
        ] {
            let mut all = 0;
            for after in 0..=u8::MAX {
                world.refuser.refuse(0, 0, 0);
                world.let_go();
                world.until("the release is confirmed", |w| !w.releasing);
                world.cool_down();
                world.until("it is eligible again", |w| w.eligible);
                world.well = true;
                world.act(&before);
                world.act(&Act::Refuse(after, 1, libc::ENOBUFS));
                world.act(&act);
                if world.refuser.left() {
                    break;
                }
                all += 1;
            }
            assert!(all > 0, "{act:?} asks nothing of the kernel");
        }
        world.works();
    });
}

/// R-8: a gate that is shut confirms; that the addresses are not removed keeps nobody waiting.
fn a_shut_gate_waits_for_no_removal(guard: GuardChoice) {
    in_a_world(guard, |mut world| {
        let deadline = boottime().plus(ms(LONG.into()));
        world.hold(ms(LONG.into()));
        world.run(ms(1));
        world.sees_it_held();
        world.let_go();
        world.refuser.refuse(0, 2, libc::ENOBUFS);
        world.until("the release is confirmed", |w| !w.releasing);
        assert!(boottime() < deadline, "it waited for its deadline");
        let there = VIPS.into_iter().all(|vip| world.lan.has_ours(vip));
        assert!(there, "not removed, for that was refused");
        world.judge(); // and mute
        world.works();
    });
}

#[test]
fn r8_a_shut_gate_waits_for_no_removal() {
    if bpf_is_permitted() {
        a_shut_gate_waits_for_no_removal(GuardChoice::Bpf);
    }
    a_shut_gate_waits_for_no_removal(GuardChoice::Nft);
}

#[test]
fn whichever_call_of_a_hold_or_release_is_refused_it_is_told_or_done_with_bpf() {
    if bpf_is_permitted() {
        whichever_call_is_refused(GuardChoice::Bpf);
    }
}

#[test]
fn whichever_call_of_a_hold_or_release_is_refused_it_is_told_or_done_with_nft() {
    whichever_call_is_refused(GuardChoice::Nft);
}

/// Found by the properties below: the gate's first filter was refused on a new interface, and the
/// clsact that had been made for it was nobody's.
#[test]
fn what_was_made_for_a_gate_that_was_refused_is_not_left_behind() {
    if bpf_is_permitted() {
        for after in 10..14 {
            let refuse = Act::Refuse(after, 1, libc::ENOBUFS);
            let acts = vec![Act::Unplug, Act::Pass(20), refuse, Act::Plug, Act::Pass(20)];
            whatever_is_refused(GuardChoice::Bpf, acts);
        }
    }
}

fn few() -> ProptestConfig {
    ProptestConfig {
        max_shrink_time: 60_000,
        ..ProptestConfig::with_cases(6)
    }
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn whatever_is_refused_and_done_by_others_nothing_stays_open_with_bpf(acts in vec(act(), 1..40)) {
        if bpf_is_permitted() {
            whatever_is_refused(GuardChoice::Bpf, acts);
        }
    }

    #[test]
    fn whatever_is_refused_and_done_by_others_nothing_stays_open_with_nft(acts in vec(act(), 1..40)) {
        whatever_is_refused(GuardChoice::Nft, acts);
    }
}

#[test]
fn an_error_that_lasts_on_a_socket_does_not_keep_the_daemon_from_all_else() {
    in_a_world(GuardChoice::Nft, |mut world| {
        let here = world.linux.loaded.clusters[0].addresses()[0];
        let own = find(&mut world.lan.route, "lo").expect("there is one");
        set_up(&mut world.lan.route, own.index, true);
        assign(&mut world.lan.route, own.index, here.ip(), 32);
        let elsewhere = std::net::UdpSocket::bind((here.ip(), 0)).expect("a socket");
        elsewhere.send_to(b"something", here).expect("it is sent");
        world.refuser.only_reads();
        world.refuser.refuse(0, u32::MAX, libc::ENETDOWN);
        let (refuser, linux) = (world.refuser.clone(), &mut world.linux);
        let mut bytes = Vec::new();
        assert!(refuser.during(|| linux.next(&mut bytes)).is_none());
        assert!(refuser.refused() > 0, "it was not even tried");
        world.refuser.refuse(0, 0, 0);
        assert!(world.linux.next(&mut bytes).is_some(), "it is there later");
    });
}

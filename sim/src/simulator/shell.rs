//! The driver's world in a run: a socket of turmoil's, and everything else by the [`World`].
//!
//! Processes have to do with each other from one tick to the next only. So within a tick each goes
//! on to the next moment at which it has something to do, and then waits for the tick that has
//! another.

use super::journal::{Journal, Said, Start, copy};
use super::plan::Plan;
use super::record::{Way, What};
use super::trace::Tap;
use super::world::{Act, Datagram, Machine, World};
use crate::liveness::Liveness;
use onehold::announce::Mac;
use onehold::driver::changing::Stepped;
use onehold::driver::leases::Record as _;
use onehold::driver::{Driver, Served, Shell, ShellEvent};
use onehold::metrics::Metrics;
use onehold::orders::Standings;
use onehold::telemetry;
use onehold::trace::Line;
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::Event;
use onehold_core::time::{LocalTime, Span};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::sync::Notify;
use turmoil::net::UdpSocket;

const PORT: u16 = onehold::config_file::DEFAULT_PORT;

/// What goes before each datagram on turmoil's wire: its way, and its number in the run.
const HEADER: usize = 9;
/// A datagram with its header fits.
const ROOM: usize = 512;
/// A frame's place among the paths.
const FRAME: u8 = u8::MAX;
/// Timers fire in whole milliseconds.
const TIMER: u64 = 1_000_000;

/// One life of a member's process.
#[derive(Debug)]
struct Simulated {
    world: Rc<RefCell<World>>,
    me: MemberId,
    socket: UdpSocket,
    buffer: Box<[u8; ROOM]>,
    /// The members' addresses in turmoil's network.
    addresses: Rc<[IpAddr]>,
    /// True time, as far as the process has come.
    now: Rc<Cell<u64>>,
    last: LocalTime,
    stir: Rc<Notify>,
    frames: Option<Frames>,
    /// What it is given first, for it was restored.
    said: VecDeque<Said>,
    /// It is still given that.
    again: Rc<Cell<bool>>,
}

/// Adverts as frames, for two members alone, as the daemon sends them: to the peer's hardware
/// address, once an authentic frame of it has come; before, every fifth, or each if datagrams of
/// the peer don't come either.
#[derive(Debug)]
struct Frames {
    known: bool,
    /// How many adverts ago one went to everybody.
    ago: u8,
    /// When an authentic datagram last came, and for how long the peer counts as heard by it.
    datagram: Option<LocalTime>,
    heard_for: Span,
}

impl Frames {
    /// Of this many adverts one goes to everybody while the peer is not known.
    const ASIDE: u8 = 5;

    /// Those of a member, if it has any.
    fn of(plan: &Plan, config: &Config) -> Option<Self> {
        let any = plan.frames && config.arbitration() == Arbitration::Survivor;
        any.then(|| Self {
            known: false,
            ago: 0,
            datagram: None,
            heard_for: config.timing().vote(),
        })
    }

    /// Whether an advert of now goes in a frame, too.
    fn go(&mut self, now: LocalTime) -> bool {
        let by_datagrams = self
            .datagram
            .is_some_and(|at| now < at.plus(self.heard_for));
        let due = self.ago == 0;
        self.ago = (self.ago + 1) % Self::ASIDE;
        self.known || due || !by_datagrams
    }
}

/// Runs one incarnation of a member, if its process is meant to run: R-9 in its order, then the
/// driver.
pub(super) async fn live(
    world: Rc<RefCell<World>>,
    me: MemberId,
    addresses: Rc<[IpAddr]>,
) -> turmoil::Result {
    if world.borrow_mut().member(me).process == Liveness::Down {
        return Ok(());
    }
    let now = Rc::new(Cell::new(world.borrow().tick.start));
    let again = world.borrow_mut().member(me).again.take();
    let (start, said) = match again {
        Some(Journal { start, said }) => (start, said),
        None => (begin(&world, now.get(), me), VecDeque::new()),
    };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let plan = Rc::clone(&world.borrow().plan);
    let stir = Rc::clone(&world.borrow_mut().member(me).stir);
    let restored = !said.is_empty();
    let again = Rc::new(Cell::new(restored));
    world.borrow_mut().member(me).journal = plan.snapshots(me).then(|| Journal {
        start: start.clone(),
        said: VecDeque::new(),
    });
    let Start {
        config,
        keys,
        incarnation,
        at,
        earlier,
        doubts,
    } = start;
    let shell = Simulated {
        world: Rc::clone(&world),
        me,
        socket,
        buffer: Box::new([0; ROOM]),
        addresses,
        now: Rc::clone(&now),
        last: at,
        stir,
        frames: Frames::of(&plan, &config),
        said,
        again: Rc::clone(&again),
    };
    let metrics = Metrics::of("", &config);
    let mut served = Served::start(config, keys, metrics, incarnation, at, earlier);
    served.before_hold.clone_from(&plan.before_hold);
    if doubts {
        served.doubt();
    }
    let mut driver = Driver::new(vec![served], shell);
    if plan.traced {
        let name = plan.name(me).to_owned();
        if !restored {
            let start = Line::Start {
                member: name.clone(),
                at,
                time: Some(Span::from_nanos(now.get())),
                incarnation,
                earlier,
                doubts,
                spec: None,
            };
            let what = What::Traced(Box::new(start));
            world.borrow_mut().record(now.get(), Some(me), what);
        }
        driver.record(Box::new(Tap {
            world: Rc::clone(&world),
            me,
            name,
            now: Rc::clone(&now),
            again,
            state: None,
        }));
    }
    driver.run().await;
    let failed = driver.is_over();
    world.borrow_mut().end(now.get(), me, failed);
    Ok(())
}

/// what an incarnation that begins starts with.
fn begin(world: &RefCell<World>, now: u64, me: MemberId) -> Start {
    let (life, keys, earlier, doubts) = world.borrow_mut().begin(now, me);
    let mut world = world.borrow_mut();
    let incarnation = incarnation(&world.plan, me, life);
    let member = world.member(me);
    // Each reading of a clock is later than the one before.
    let at = member.clock.read(now).max(LocalTime::from_nanos(1));
    Start {
        config: member.config.clone(),
        keys,
        incarnation,
        at,
        earlier,
        doubts,
    }
}

/// A way, on turmoil's wire.
const fn wire(way: Way) -> u8 {
    match way {
        Way::Path(path) => path,
        Way::Frame => FRAME,
    }
}

const fn way(wire: u8) -> Way {
    match wire {
        FRAME => Way::Frame,
        path => Way::Path(path),
    }
}

/// A life's 64 bits; drawn from the seed.
fn incarnation(plan: &Plan, me: MemberId, life: u32) -> Incarnation {
    let of = format!("life {} {life}", me.0);
    Incarnation(super::rng::Rng::new(plan.seed, &of).draw())
}

impl Shell for Simulated {
    fn now(&mut self) -> LocalTime {
        if let Some(Said::Now(at)) = self.said_again() {
            self.last = at;
            return at;
        }
        let mut world = self.world.borrow_mut();
        let shows = world.member(self.me).clock.read(self.now.get());
        let least = self.last.plus(Span::from_nanos(1));
        self.last = shows.max(least);
        world.member(self.me).note(|| Said::Now(self.last));
        self.last
    }

    async fn wait(&mut self, at: LocalTime) {
        if let Some(Said::Waits) = self.said_again() {
            if self.again.get() {
                return;
            }
        } else {
            self.world.borrow_mut().member(self.me).note(|| Said::Waits);
        }
        loop {
            let mut wake = None;
            let runs = self.runs();
            if runs {
                self.listen();
                self.catch_up();
                wake = self.wake(at);
                if wake.is_some_and(|wake| wake <= self.now.get()) {
                    return;
                }
            }
            let end = self.world.borrow().tick.end;
            match wake.filter(|wake| *wake < end) {
                Some(wake) => self.now.set(wake),
                None => {
                    self.world.borrow_mut().member(self.me).wake = wake;
                    tokio::select! {
                        biased; // nothing is drawn but from the seed
                        () = self.stir.notified() => {}
                        _ = self.socket.readable(), if runs => {}
                    }
                    let start = self.world.borrow().tick.start;
                    self.now.set(start.max(self.now.get()));
                }
            }
        }
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        if let Some(Said::Next(said)) = self.said_again() {
            let (event, said) = said?;
            bytes.clone_from(&said);
            return Some(event);
        }
        let event = self.take(bytes);
        let said = || Said::Next(event.as_ref().map(|e| (copy(e), bytes.clone())));
        self.world.borrow_mut().member(self.me).note(said);
        event
    }

    fn send(&mut self, _cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        let now = self.last;
        let framed = self.frames.as_mut().is_some_and(|frames| frames.go(now));
        let plan = Rc::clone(&self.world.borrow().plan);
        let of = plan.member_of(&self.world.borrow_mut().member(self.me).config, to);
        if let Some(to) = of {
            self.effect(Act::Send(to, bytes.into(), framed));
        }
        u64::from(plan.paths)
    }

    fn release(&mut self, _cluster: usize, group: GroupId) {
        self.effect_of(group, Act::Release);
    }

    fn hold_until(&mut self, _cluster: usize, group: GroupId, deadline: LocalTime) {
        self.effect_of(group, |group| Act::Hold(group, deadline));
    }

    fn prepare(&mut self, _cluster: usize, group: GroupId) {
        self.effect_of(group, Act::Prepare);
    }

    fn announce(&mut self, _cluster: usize, group: GroupId) {
        self.effect_of(group, Act::Announce);
    }

    fn probe(&mut self, _cluster: usize, group: GroupId, probed_at: LocalTime) {
        self.effect_of(group, |group| Act::Probe(group, probed_at));
    }

    fn heard(&mut self, _: usize, _: MemberId, _: (SocketAddr, SocketAddr), _: bool) {
        if let Some(frames) = &mut self.frames {
            frames.datagram = Some(self.last);
        }
    }

    fn heard_frame(&mut self, _at: usize, _from: Mac, _echo: Option<LocalTime>) {
        if let Some(frames) = &mut self.frames {
            frames.known = true;
        }
    }

    fn step(
        &mut self,
        _cluster: usize,
        from: &Config,
        to: &Config,
    ) -> Result<Option<Stepped>, String> {
        let done = match self.said_again() {
            Some(Said::Stepped(done)) => done,
            _ => {
                let (mut world, now) = (self.world.borrow_mut(), self.now.get());
                let done = world.step(now, self.me, from, to);
                let said = || Said::Stepped(done.clone());
                world.member(self.me).note(said);
                done
            }
        };
        done?;
        let plan = &self.world.borrow().plan;
        self.frames = match (self.frames.take(), Frames::of(plan, to)) {
            (Some(known), Some(Frames { heard_for, .. })) => Some(Frames { heard_for, ..known }),
            (_, other) => other,
        };
        let waits = |number| {
            let group = plan.group_of(to, number)?;
            *plan.before_hold.get(usize::from(group.0))?
        };
        let numbers = (0u8..).take(to.groups().len()).map(GroupId);
        Ok(Some(Stepped {
            before_hold: Some(numbers.map(waits).collect()),
            ..Stepped::default()
        }))
    }

    fn trusts(&mut self, _cluster: usize, electorates: &[u64]) {
        if !self.again.get() {
            self.world
                .borrow_mut()
                .member(self.me)
                .votes
                .trust(electorates);
        }
    }

    fn record_lease(&mut self, _cluster: usize, longest: Span) {
        if self.again.get() {
            return;
        }
        let mut world = self.world.borrow_mut();
        let member = world.member(self.me);
        if member.process != Liveness::Down {
            let _ = member.leases.write(longest); // it always can
        }
    }

    /// A simulated operator says it again.
    fn ordered(&mut self, _cluster: usize, _orders: &[Standings]) {}

    fn reported(&mut self, _cluster: usize, event: &Event) {
        if self.runs() && !self.again.get() {
            let mut world = self.world.borrow_mut();
            let text = telemetry::line(event, &world.member(self.me).config, None);
            let what = What::Reported(world.as_reported(self.me, *event), text.into());
            world.record(self.now.get(), Some(self.me), what);
        }
    }
}

impl Simulated {
    /// What it was given at this point before the snapshot, if that is not over. It is noted again,
    /// for the next one.
    fn said_again(&mut self) -> Option<Said> {
        let said = self.said.pop_front()?;
        self.again.set(!self.said.is_empty());
        let mut world = self.world.borrow_mut();
        world.member(self.me).note(|| said.clone());
        Some(said)
    }

    /// What has happened to the process, the next of it.
    fn take(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent> {
        if !self.runs() {
            return None;
        }
        let mut world = self.world.borrow_mut();
        world.hand_over_answers(self.now.get(), self.me);
        let Some((id, datagram)) = world.receive(self.now.get(), self.me) else {
            loop {
                let event = world.member(self.me).inbox.pop_front()?;
                if let Some(event) = world.as_told(self.me, event) {
                    return Some(event);
                }
            }
        };
        world.record(self.now.get(), Some(self.me), What::Arrived(id));
        bytes.clear();
        bytes.extend_from_slice(&datagram.bytes);
        let Way::Path(path) = datagram.way else {
            let from = [0, 0, 0, 0, 0, datagram.from.0];
            return Some(ShellEvent::Frame { at: 0, from });
        };
        let port = PORT + u16::from(path);
        let address = |id: MemberId| SocketAddr::new(self.addresses[usize::from(id.0)], port);
        Some(ShellEvent::Datagram {
            local: address(self.me),
            remote: address(datagram.from),
        })
    }

    fn runs(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let member = world.member(self.me);
        member.process == Liveness::Up && member.machine == Machine::On
    }

    /// An effect that names a group, which this world knows by the plan's number.
    fn effect_of(&mut self, number: GroupId, act: impl FnOnce(GroupId) -> Act) {
        if self.again.get() {
            return;
        }
        let group = self.world.borrow().group_of(self.me, number);
        self.effect(act(group));
    }

    /// One effect of a turn takes place, or waits for the process to go on, or never comes.
    fn effect(&mut self, act: Act) {
        if self.again.get() {
            return;
        }
        let mut world = self.world.borrow_mut();
        match world.process_before_effect(self.now.get(), self.me) {
            Liveness::Up => world.act(self.now.get(), self.me, &act),
            Liveness::Paused => world.member(self.me).deferred.push_back(act),
            Liveness::Down => {}
        }
        drop(world);
        self.hand_over();
    }

    /// Hands what the world lets through to turmoil's network.
    fn hand_over(&mut self) {
        let mut world = self.world.borrow_mut();
        let mut leaving = std::mem::take(&mut world.leaving);
        world.flying |= !leaving.is_empty();
        for (id, to, datagram) in leaving.drain(..) {
            let mut wire = Vec::with_capacity(HEADER + datagram.bytes.len());
            wire.push(self::wire(datagram.way));
            wire.extend_from_slice(&id.to_be_bytes());
            wire.extend_from_slice(&datagram.bytes);
            let to = SocketAddr::new(self.addresses[usize::from(to.0)], PORT);
            let _ = self.socket.try_send_to(&wire, to); // what the network refuses is lost
        }
        world.leaving = leaving;
    }

    /// Takes what has arrived in turmoil's network.
    fn listen(&mut self) {
        while let Ok((length, remote)) = self.socket.try_recv_from(&mut self.buffer[..]) {
            let mut all = (0u8..).zip(self.addresses.iter());
            let from = all.find(|(_, address)| **address == remote.ip());
            let wire = self.buffer.get(..length);
            let wire = wire.and_then(|w| w.split_at_checked(HEADER));
            if let (Some((from, _)), Some(([path, id @ ..], bytes))) = (from, wire) {
                let id = id.iter().fold(0, |n, b| n << 8 | u64::from(*b));
                let datagram = Datagram {
                    from: MemberId(from),
                    way: way(*path),
                    bytes: bytes.into(),
                };
                let mut world = self.world.borrow_mut();
                world.member(self.me).socket.push_back((id, datagram));
            }
        }
    }

    /// What a process that was paused in the middle of a turn still had to do.
    fn catch_up(&mut self) {
        let mut world = self.world.borrow_mut();
        while let Some(act) = world.member(self.me).deferred.pop_front() {
            world.act(self.now.get(), self.me, &act);
        }
        drop(world);
        self.hand_over();
    }

    /// The true time at which there is something to do; `None` if that can't be known.
    fn wake(&self, at: LocalTime) -> Option<u64> {
        let mut world = self.world.borrow_mut();
        world.settle(self.now.get(), self.me);
        world.hand_over_answers(self.now.get(), self.me);
        let member = world.member(self.me);
        if !member.inbox.is_empty() || !member.socket.is_empty() {
            return Some(0);
        }
        let own = world.member(self.me).clock.when(at);
        let others = [
            world.kernel_due(self.me),
            world.late_due(self.me),
            world.answer_due(self.me),
        ];
        let soonest = own.into_iter().chain(others.into_iter().flatten()).min();
        soonest.map(|at| at.div_ceil(TIMER).saturating_mul(TIMER))
    }
}

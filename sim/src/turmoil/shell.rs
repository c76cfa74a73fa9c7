//! The driver's world in a run: a socket of turmoil's, and everything else by the [`World`].

use super::plan::Plan;
use super::record::What;
use super::world::{Act, Late, Machine, Process, World};
use onehold::driver::{Driver, Happening, Served, Shell};
use onehold::metrics::{GroupMetrics, GuardInForce, Metrics, PeerMetrics};
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::effect::{Event, ReleaseId};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use turmoil::net::UdpSocket;

const PORT: u16 = onehold::config_file::DEFAULT_PORT;

/// What goes before each datagram on turmoil's wire: its path, and its number in the run.
const HEADER: usize = 9;
/// A datagram with its header fits.
const ROOM: usize = 512;

/// One life of a member's process.
#[derive(Debug)]
struct Simulated {
    world: Rc<RefCell<World>>,
    me: MemberId,
    socket: UdpSocket,
    /// The members' addresses in turmoil's network.
    addresses: Rc<[IpAddr]>,
    last: LocalTime,
    buffer: Box<[u8; ROOM]>,
}

/// Runs one life of a member, if its process is meant to run: R-9 in its order, then the driver.
pub(super) async fn live(
    world: Rc<RefCell<World>>,
    me: MemberId,
    addresses: Rc<[IpAddr]>,
) -> turmoil::Result {
    if world.borrow_mut().member(me).process == Process::Down {
        return Ok(());
    }
    let (life, keys) = world.borrow_mut().begin(now(), me);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let plan = Rc::clone(&world.borrow().plan);
    let config = plan.members[usize::from(me.0)].config.clone();
    let mut shell = Simulated {
        world: Rc::clone(&world),
        me,
        socket,
        addresses,
        last: LocalTime::from_nanos(0),
        buffer: Box::new([0; ROOM]),
    };
    let earlier = match world.borrow_mut().member(me).lives_of_boot {
        0 | 1 => Span::ZERO,
        _ => config.timing().lease(),
    };
    let incarnation = incarnation(&plan, me, life);
    let metrics = metrics(&plan, me);
    let started = shell.now();
    let served = Served::start(config, keys, metrics, incarnation, started, earlier);
    Driver::new(vec![served], shell).run().await;
    world.borrow_mut().end(now(), me);
    Ok(())
}

/// True time, in nanoseconds since the run began.
fn now() -> u64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A life's 64 bits; drawn from the seed.
fn incarnation(plan: &Plan, me: MemberId, life: u32) -> Incarnation {
    let of = format!("life {} {life}", me.0);
    Incarnation(super::dice::Dice::new(plan.seed, &of).draw())
}

fn metrics(plan: &Plan, me: MemberId) -> Metrics {
    let peer = |member| PeerMetrics {
        member,
        rtt: None,
        other_config: None,
        paths: Vec::new(),
    };
    Metrics {
        cluster: String::new(),
        guard: GuardInForce::default(),
        sent: 0,
        accepted: 0,
        rejected: [0; Reject::NAMES.len()],
        peers: plan.ids().filter(|id| *id != me).map(peer).collect(),
        groups: vec![GroupMetrics::default(); plan.groups()],
    }
}

impl Shell for Simulated {
    fn now(&mut self) -> LocalTime {
        let shows = self.world.borrow_mut().member(self.me).clock.read(now());
        let least = self.last.plus(Span::from_nanos(1));
        self.last = shows.max(least);
        self.last
    }

    async fn wait(&mut self, at: LocalTime) {
        loop {
            if !self.runs() {
                self.stirred().await;
                continue;
            }
            self.catch_up();
            let wake = self.wake(at);
            if wake.is_some_and(|wake| wake <= now()) {
                return;
            }
            let stir = Rc::clone(&self.world.borrow_mut().member(self.me).stir);
            tokio::select! {
                biased; // nothing is drawn but from the seed
                () = stir.notified() => {}
                _ = self.socket.readable() => if self.runs() { return },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<Happening> {
        if !self.runs() {
            return None;
        }
        let happening = self.world.borrow_mut().member(self.me).inbox.pop_front();
        if happening.is_some() {
            return happening;
        }
        let (id, late) = self.receive()?;
        let arrived = What::Arrived(id);
        (self.world.borrow_mut()).record(now(), Some(self.me), arrived);
        *bytes = late.bytes;
        let port = PORT + u16::from(late.path);
        let address = |id: MemberId| SocketAddr::new(self.addresses[usize::from(id.0)], port);
        Some(Happening::Datagram {
            local: address(self.me),
            remote: address(late.from),
        })
    }

    fn send(&mut self, _cluster: usize, to: MemberId, bytes: &[u8]) -> u64 {
        self.effect(Act::Send(to, bytes.to_vec()));
        u64::from(self.world.borrow().plan.paths)
    }

    fn release(&mut self, _cluster: usize, group: GroupId, release: ReleaseId) {
        self.effect(Act::Release(group, release));
    }

    fn hold_until(&mut self, _cluster: usize, group: GroupId, deadline: LocalTime) {
        self.effect(Act::Hold(group, deadline));
    }

    fn announce(&mut self, _cluster: usize, group: GroupId) {
        self.effect(Act::Announce(group));
    }

    fn reported(&mut self, _cluster: usize, event: &Event) {
        if self.runs() {
            let what = What::Reported(*event);
            self.world.borrow_mut().record(now(), Some(self.me), what);
        }
    }
}

impl Simulated {
    fn runs(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let member = world.member(self.me);
        member.process == Process::Up && member.machine == Machine::On
    }

    async fn stirred(&self) {
        let stir = Rc::clone(&self.world.borrow_mut().member(self.me).stir);
        stir.notified().await;
    }

    /// One effect of a turn takes place, or waits for the process to go on, or never comes.
    fn effect(&mut self, act: Act) {
        let process = self
            .world
            .borrow_mut()
            .process_before_effect(now(), self.me);
        match process {
            Process::Up => self.perform(&act),
            Process::Paused => {
                let mut world = self.world.borrow_mut();
                world.member(self.me).deferred.push_back(act);
            }
            Process::Down => {}
        }
    }

    /// What a process that was paused in the middle of a turn still had to do.
    fn catch_up(&mut self) {
        loop {
            let act = self.world.borrow_mut().member(self.me).deferred.pop_front();
            let Some(act) = act else { return };
            self.perform(&act);
        }
    }

    fn perform(&mut self, act: &Act) {
        self.world.borrow_mut().act(now(), self.me, act);
        let Act::Send(to, bytes) = act else { return };
        let paths = self.world.borrow().plan.paths;
        for path in 0..paths {
            let sent = (self.world.borrow_mut()).send(now(), self.me, *to, path, bytes);
            let Some((id, bytes)) = sent else { continue };
            let mut wire = Vec::with_capacity(HEADER + bytes.len());
            wire.push(path);
            wire.extend_from_slice(&id.to_be_bytes());
            wire.extend_from_slice(&bytes);
            let to = SocketAddr::new(self.addresses[usize::from(to.0)], PORT);
            let _ = self.socket.try_send_to(&wire, to); // what the network refuses is lost
        }
    }

    /// The next datagram that is there.
    fn receive(&mut self) -> Option<(u64, Late)> {
        while let Ok((length, remote)) = self.socket.try_recv_from(&mut self.buffer[..]) {
            let from = (0u8..)
                .zip(self.addresses.iter())
                .find(|(_, a)| **a == remote.ip());
            let wire = self
                .buffer
                .get(..length)
                .and_then(|w| w.split_at_checked(HEADER));
            if let (Some((from, _)), Some(([path, id @ ..], bytes))) = (from, wire) {
                let id = id.iter().fold(0, |n, b| n << 8 | u64::from(*b));
                let late = Late {
                    from: MemberId(from),
                    path: *path,
                    bytes: bytes.to_vec(),
                };
                return Some((id, late));
            }
        }
        self.world.borrow_mut().next_late(now(), self.me)
    }

    /// The true time at which there is something to do; `None` if that can't be known.
    fn wake(&self, at: LocalTime) -> Option<u64> {
        let mut world = self.world.borrow_mut();
        world.settle(now(), self.me);
        if !world.member(self.me).inbox.is_empty() {
            return Some(0);
        }
        let own = world.member(self.me).clock.when(at);
        let others = [world.kernel_due(self.me), world.late_due(self.me)];
        own.into_iter().chain(others.into_iter().flatten()).min()
    }
}

async fn sleep_until(wake: Option<u64>) {
    match wake {
        Some(at) => tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now()))).await,
        None => std::future::pending().await,
    }
}

//! A run, step by step.

use super::plan::Plan;
use super::record::Record;
use super::shell::live;
use super::world::World;
use crate::error::{Result, err};
use crate::fault::Fault;
use crate::liveness::Liveness;
use onehold_core::time::Span;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

/// How many datagrams wait for one process; about what a kernel keeps for a socket.
const SOCKET_QUEUE: usize = 256;

/// A run of a [`Plan`].
pub struct Run {
    sim: turmoil::Sim<'static>,
    world: Rc<RefCell<World>>,
    plan: Rc<Plan>,
    /// The members' addresses in turmoil's network.
    addresses: Rc<[IpAddr]>,
    now: Span,
    /// How much of the timeline has been done.
    done: usize,
}

impl Run {
    /// A run at its beginning.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let plan = Rc::new(plan);
        let mut sim = bare(&plan);
        let world = Rc::new(RefCell::new(World::new(Rc::clone(&plan))));
        let addresses: Vec<IpAddr> = plan.ids().map(|id| sim.lookup(plan.name(id))).collect();
        let addresses: Rc<[IpAddr]> = addresses.into();
        for id in plan.ids() {
            let (world, addresses) = (Rc::clone(&world), Rc::clone(&addresses));
            let life = move || live(Rc::clone(&world), id, Rc::clone(&addresses));
            sim.host(plan.name(id), life);
        }
        let mut run = Self {
            sim,
            world,
            plan,
            addresses,
            now: Span::ZERO,
            done: 0,
        };
        run.tend(); // no process runs before it is started
        run
    }

    /// What is run.
    #[must_use]
    pub const fn plan(&self) -> &Rc<Plan> {
        &self.plan
    }

    /// True time since the run began.
    #[must_use]
    pub const fn now(&self) -> Span {
        self.now
    }

    /// The plan's length is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.now() >= self.plan.length
    }

    /// Does something to the world, now, that the plan does not have.
    ///
    /// # Panics
    /// If it names a member or a group that the plan does not have.
    pub fn inflict(&mut self, fault: &Fault) {
        let now = self.now().as_nanos();
        self.world.borrow_mut().inflict(now, fault);
        self.tend();
    }

    /// One tick: what is due is done, then every process runs that has something to do. Returns
    /// what happened, in the order of true time.
    ///
    /// # Errors
    /// If a simulated process could not be run at all: an error in the simulator.
    pub fn step(&mut self) -> Result<Vec<Record>> {
        let plan = Rc::clone(&self.plan);
        let now = self.now;
        while let Some((_, fault)) = plan.timeline.get(self.done).filter(|(at, _)| *at <= now) {
            self.inflict(fault);
            self.done += 1;
        }
        self.world.borrow_mut().restart(now.as_nanos());
        self.tend();
        let awake = self.world.borrow_mut().before_step(self.now.as_nanos());
        if awake {
            self.sim.step().map_err(err)?;
            self.tend();
        }
        self.now = self.now.plus(plan.tick);
        let mut world = self.world.borrow_mut();
        world.after_step(self.now.as_nanos());
        let mut records = std::mem::take(&mut world.records);
        records.sort_by_key(|r| r.at); // one member runs its whole tick before the next
        Ok(records)
    }

    /// Removes what is left of dead processes, and begins those that should run.
    fn tend(&mut self) {
        if !std::mem::take(&mut self.world.borrow_mut().restless) {
            return;
        }
        for (id, address) in self.plan.ids().zip(self.addresses.iter()) {
            let (down, replaced) = {
                let mut world = self.world.borrow_mut();
                let member = world.member(id);
                (member.process == Liveness::Down, member.is_replaced())
            };
            let runs = self.sim.is_host_running(*address);
            if runs && (down || replaced) {
                self.sim.crash(*address);
            }
            if !down && (replaced || !runs) {
                self.sim.bounce(*address);
                self.world.borrow_mut().awake = true;
            }
        }
    }
}

/// Turmoil's own part of a run: nothing in it is left to chance or to the wall clock, and it loses
/// nothing by itself.
#[must_use]
pub fn bare(plan: &Plan) -> turmoil::Sim<'static> {
    let tick = Duration::from(plan.tick);
    turmoil::Builder::new()
        .epoch(SystemTime::UNIX_EPOCH)
        .rng_seed(plan.seed)
        .simulation_duration(Duration::MAX)
        .tick_duration(tick)
        .min_message_latency(tick)
        .max_message_latency(tick)
        .fail_rate(0.0)
        .repair_rate(0.0)
        .udp_capacity(SOCKET_QUEUE)
        .build()
}

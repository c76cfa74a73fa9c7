//! How fast the simulator is, beside turmoil alone with the same hosts and ticks.

use super::plan::Plan;
use super::run::{Run, bare};
use super::scenario::Scenario;
use crate::error::{Result, err};
use rustix::time::{ClockId, clock_gettime};
use std::net::Ipv4Addr;
use std::time::Duration;
use turmoil::net::UdpSocket;

/// Each runs this often, in turn; the fastest run counts, for others use this machine, too.
const ROUNDS: u32 = 3;

/// How fast each scenario runs, and how fast turmoil alone.
pub(super) fn bench(scenarios: &[Scenario]) -> Result<bool> {
    println!("simulated seconds for each second of processor time");
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>7}",
        "", "simulator", "packets", "turmoil", "share"
    );
    for scenario in scenarios {
        let plan = &scenario.plan;
        let mut best = [Duration::MAX; 3];
        for _ in 0..ROUNDS {
            let took = [whole(plan)?, packets(plan)?, nothing(plan)?];
            for (best, took) in best.iter_mut().zip(took) {
                *best = took.min(*best);
            }
        }
        let length = Duration::from(plan.length).as_secs_f64();
        let [ours, packets, nothing] = best.map(|took| length / took.as_secs_f64());
        let share = 100.0 * ours / nothing;
        let name = &scenario.name;
        println!("{name:<28} {ours:>8.0}x {packets:>8.0}x {nothing:>8.0}x {share:>5.0} %");
    }
    Ok(true)
}

/// The scenario, without a watch.
fn whole(plan: &Plan) -> Result<Duration> {
    let began = processor_time();
    let mut run = Run::new(plan.clone());
    while !run.is_over() {
        run.step()?;
    }
    Ok(processor_time().saturating_sub(began))
}

/// As many hosts, each of which sends a datagram to each other one every interval, and hears them.
fn packets(plan: &Plan) -> Result<Duration> {
    let interval = Duration::from(plan.members[0].config.timing().interval());
    let names: Vec<String> = plan.ids().map(|id| plan.name(id).to_owned()).collect();
    run_bare(plan, |sim, name| {
        let (me, names) = (name.to_owned(), names.clone());
        sim.host(name, move || talk(me.clone(), names.clone(), interval));
    })
}

async fn talk(me: String, names: Vec<String>, interval: Duration) -> turmoil::Result {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 1)).await?;
    let mut bytes = [0; 256];
    loop {
        for to in names.iter().filter(|n| **n != me) {
            socket.try_send_to(&bytes[..118], (to.as_str(), 1))?;
        }
        let next = tokio::time::Instant::now() + interval;
        loop {
            tokio::select! {
                biased;
                _ = socket.recv_from(&mut bytes) => {}
                () = tokio::time::sleep_until(next) => break,
            }
        }
    }
}

/// As many hosts that do nothing.
fn nothing(plan: &Plan) -> Result<Duration> {
    run_bare(plan, |sim, name| {
        sim.host(name, std::future::pending::<turmoil::Result>);
    })
}

fn run_bare(plan: &Plan, host: impl Fn(&mut turmoil::Sim<'static>, &str)) -> Result<Duration> {
    let began = processor_time();
    let mut sim = bare(plan);
    plan.ids().for_each(|id| host(&mut sim, plan.name(id)));
    while sim.elapsed() < Duration::from(plan.length) {
        sim.step().map_err(err)?;
    }
    Ok(processor_time().saturating_sub(began))
}

/// Of this thread.
fn processor_time() -> Duration {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(t).unwrap_or_default()
}

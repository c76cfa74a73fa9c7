//! The `onehold-lab` binary: `--help` lists its commands.

#[cfg(feature = "worlds")]
mod worlds;

use clap::{Parser, Subcommand};
use onehold_sim::error::{Context, Result};
use onehold_sim::machine::demo::{self, ClusterOptions};
use onehold_sim::machine::{idle, load, takeover};
use onehold_sim::netns::privilege::Privilege;
use onehold_sim::netns::{binary, privilege, web};
use onehold_sim::replay;
use onehold_sim::screen::Screen;
use onehold_sim::show::page;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Worlds in which Onehold is run, broken and watched.
#[derive(Parser)]
#[command(name = "onehold-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play stops, crashes, pauses, power cuts, network cuts and loss, and measure each from the
    /// network. Exit status 1 if two ever held the address, or nobody did for long.
    Demo(demo::Options),
    #[cfg(feature = "worlds")]
    #[command(flatten)]
    Worlds(worlds::Command),
    /// Measure packets, processor time and memory while nothing happens. Exit status 1 if the
    /// address moved.
    Idle(idle::Options),
    /// Measure what many clusters cost one witness, or what a flood does to it or to a holder. Exit
    /// status 1 if an address moved that should not.
    Load(load::Options),
    /// Measure how long many addresses take to move, from the network: until each is answered for and
    /// announced by the other candidate. Exit status 1 if one never was.
    Takeover(takeover::Options),
    /// Give the recorded inputs of traces (`onehold run --trace`) to the core, and compare what it
    /// does with what was recorded. Exit status 1 if it does something else, or if two were
    /// effective under `majority`.
    Replay(replay::Options),
    /// Make one page of the traces of a run, of any of its members: who believed what, who held,
    /// which advert went where. It opens from the disk.
    Report(page::Options),
    /// The demo's web server, which starts it by itself.
    #[command(hide = true)]
    Web(web::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("\nonehold-lab: {e}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<bool> {
    match command {
        #[cfg(feature = "worlds")]
        Command::Worlds(command) => worlds::run(command),
        Command::Replay(options) => replay::run(&options),
        Command::Report(options) => page::run(&options),
        Command::Web(options) => web::serve(&options),
        Command::Demo(options) => {
            let (binary, privilege, stop) = prepare(&options.cluster)?;
            demo::play(&options, binary, privilege, stop)
        }
        Command::Idle(options) => {
            let (binary, privilege, stop) = prepare(&options.cluster)?;
            idle::measure(&options, binary, privilege, &stop)
        }
        Command::Load(options) => {
            let (binary, _, stop) = prepare(&options.cluster)?;
            load::measure(&options, &binary, &stop)
        }
        Command::Takeover(options) => {
            let (binary, _, stop) = prepare(&options.cluster)?;
            takeover::measure(&options, &binary, &stop)
        }
    }
}

/// The daemon's binary, the right to make networks, and a flag for the end.
fn prepare(cluster: &ClusterOptions) -> Result<(PathBuf, Privilege, Arc<AtomicBool>)> {
    let binary = onehold(cluster.binary.as_ref())?;
    let privilege = privilege::acquire()?; // before any thread
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second signal ends it at once; the kernel then takes everything down.
        let registered = flag::register_conditional_shutdown(signal, 2, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)));
        registered.context(|| "catching signals")?;
    }
    Ok((binary, privilege, stop))
}

fn onehold(named: Option<&PathBuf>) -> Result<PathBuf> {
    match named {
        Some(path) => path.canonicalize().context(|| path.display()),
        None => binary::onehold(|progress| Screen::new().passing(progress)),
    }
}

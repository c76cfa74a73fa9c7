//! The `onehold-lab` binary: `demo` plays the main job on this machine's kernel, `idle` measures
//! what it costs.

use clap::{Parser, Subcommand};
use onehold_sim::demo::{self, Screen};
use onehold_sim::idle;
use onehold_sim::netns::{Context, Result, binary, privilege};
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
    /// Play stops, crashes, freezes, power cuts, network cuts and loss, and measure each from the
    /// network. Exit status 1 if two ever held the address, or nobody did for long.
    Demo(demo::Options),
    /// Measure packets, processor time and memory while nothing happens. Exit status 1 if the
    /// address moved.
    Idle(idle::Options),
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
    let cluster = match &command {
        Command::Demo(options) => &options.cluster,
        Command::Idle(options) => &options.cluster,
    };
    let binary = onehold(cluster.binary.as_ref())?;
    let privilege = privilege::acquire()?; // before any thread
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The second one ends it at once; the kernel then takes everything down.
        let registered = flag::register_conditional_shutdown(signal, 2, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)));
        registered.context(|| "catching signals")?;
    }
    match command {
        Command::Demo(options) => demo::play(&options, binary, privilege, stop),
        Command::Idle(options) => idle::measure(&options, binary, &stop),
    }
}

fn onehold(named: Option<&PathBuf>) -> Result<PathBuf> {
    match named {
        Some(path) => path.canonicalize().context(|| path.display()),
        None => binary::onehold(|progress| Screen::new().passing(progress)),
    }
}

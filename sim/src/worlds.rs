//! The commands that `cargo demo` is built without: the model checker, the simulator, the sweep,
//! the virtual machines.

use clap::Subcommand;
use onehold_sim::error::{Error, Result};
use onehold_sim::machine::vms;
use onehold_sim::model::stateright::Proof;
use onehold_sim::model::{check, configs};
use onehold_sim::mutants;
use onehold_sim::simulator::command;
use onehold_sim::simulator::sweep::command as sweep;
use onehold_sim::tables;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Walk everything that can happen to the shipped core in named configurations, and say what
    /// was proved. Exit status 1 if a property is broken, or the walk did not come to its end.
    Check(check::Options),
    /// Walk a configuration by hand in the browser, with stateright's Explorer.
    Explore {
        /// The configuration; `check --list` lists them.
        name: String,
        /// Where to serve it.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Run the daemon's own driver on a simulated network, clock and kernel, through scenarios.
    /// Exit status 1 if one is not as expected.
    Sim(command::Options),
    /// Run many seeds: each draws a cluster, its timing and its faults. Exit status 1 if one breaks
    /// a promise.
    Sweep(sweep::Options),
    /// Add up what the shards of a sweep wrote. Exit status 1 if a promise was broken in one.
    Merge(sweep::Merge),
    /// Break one half of a rule at a time, in a copy of the core, and say which property, test or
    /// seed notices. Exit status 1 if one is not noticed by what the list names.
    Mutants(mutants::Options),
    /// Write the book's tables of configurations, mutants, scenarios and tests from what they
    /// follow from. With `--check`: exit status 1 if a page is stale.
    Tables(tables::Options),
    /// Real Debian machines under systemd (QEMU; no KVM needed), with the unit files that are
    /// shipped: boots, power cuts, cables, late DHCP and DNS, snapshots. Exit status 1 if one is
    /// not as expected.
    Vms(vms::Options),
}

pub(super) fn run(command: Command) -> Result<bool> {
    match command {
        Command::Check(options) => check::run(&options),
        Command::Sim(options) => command::run(&options),
        Command::Sweep(options) => sweep::run(&options),
        Command::Merge(options) => sweep::merge(&options),
        Command::Mutants(options) => mutants::command(&options),
        Command::Tables(options) => tables::run(&options),
        Command::Vms(options) if options.list => {
            vms::list();
            Ok(true)
        }
        Command::Vms(options) => {
            let binary = super::onehold(options.binary.as_ref())?;
            vms::run(&options, &binary)
        }
        Command::Explore { name, address } => explore(&name, &address),
    }
}

fn explore(name: &str, address: &str) -> Result<bool> {
    let found = configs::all().into_iter().find(|c| c.name == name);
    let configuration = found.ok_or_else(|| {
        let what = "`cargo lab check --list` lists them";
        Error::from(format!("there is no configuration `{name}`; {what}"))
    })?;
    println!(
        "{}: {}\nhttp://{address}/",
        configuration.name, configuration.says
    );
    Proof::new(configuration.setup, &configuration.properties).explore(address);
    Ok(true)
}

//! The command line.
//!
//! Exit status: 0 done, 1 refused or failed (`check`: this host could not serve yet), 2 wrong usage
//! or configuration.

mod agent;
mod check;
mod client;
mod cost;
mod doctor;
mod drill;
mod explain;
mod history;
mod holds;
mod import;
mod init;
mod join;
mod metrics;
mod observe;
mod open_gate;
mod reload;
mod terms;
mod top;
mod up;
mod upgrade;
mod watching;
mod why;

use crate::config_file::FileError;
use crate::control::{DEFAULT_SOCKET, Order};
use crate::daemon::{self, Begins, RunError, RunOptions};
use crate::drill::keeper;
use crate::orders::Said;
use crate::secret;
use crate::upgrade::take_over;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

const DEFAULT_CONFIG: &str = "/etc/onehold/onehold.toml";
const DEFAULT_STATE: &str = "/run/onehold";
/// The unit's `StateDirectory=`.
const STATE_DIRECTORY: &str = "/var/lib/onehold";

/// Keeps floating IP addresses on exactly one of two machines.
#[derive(Debug, Parser)]
#[command(
    name = "onehold",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 refused or failed, 2 wrong usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Debug, Subcommand)]
enum Cmd {
    /// Run the daemon (candidate or witness, as the file says) in the foreground
    Run(RunArgs),
    /// Run checks and hooks beside the daemon, in the foreground
    Agent(agent::AgentArgs),
    /// Run both, where there is no service manager, such as in a container
    Up(RunArgs),
    /// Have the daemon read its file again; print what changed, and what was refused and why
    #[command(after_help = reload::AFTER)]
    Reload(reload::ReloadArgs),
    /// Have the daemon go on in this version, as the same incarnation: no quarantine, no role change
    #[command(after_help = upgrade::AFTER)]
    Upgrade(upgrade::UpgradeArgs),
    /// Read a daemon's state from standard input, and say what this version makes of it
    #[command(hide = true)]
    ReadState,
    /// Show who holds what, who is heard, and what is wrong
    Status(StatusArgs),
    /// Show all members and groups on one screen, live, with keys for switch, standby and resume
    Top(DaemonArgs),
    /// Say why a member holds a group, or does not, and what to do
    Why(why::WhyArgs),
    /// Show what happened: who held what and why, orders, starts and stops
    History(history::HistoryArgs),
    /// Print the metrics for Prometheus once, or write them to a file
    #[command(
        after_help = "Exit status: 0 done, 1 the daemon did not answer: then the metrics say just that."
    )]
    Metrics(metrics::MetricsArgs),
    /// Tell by the exit status whether this member holds a group now
    #[command(after_help = "Exit status: 0 it does, 1 it does not, 2 unknown.")]
    Holds(holds::HoldsArgs),
    /// Wait until a group is held, or this member is ready, or nothing is wrong
    #[command(after_help = "Exit status: 0 it is so, 1 not in time, 2 wrong usage.")]
    Wait(watching::WaitArgs),
    /// Hand over to the other candidate; run it on the holder
    Switch(AwayArgs),
    /// Hand over if this member holds, and don't hold again until `resume`
    Standby(AwayArgs),
    /// Undo `standby` and `switch`
    Resume(OrderArgs),
    /// Move nothing by itself until `thaw`: no failback, no hand-over for health
    #[command(
        long_about = "Move nothing by itself until `thaw`: no failback, and no hand-over because a service is \
        sick.\n\nSaid on one candidate it holds for both. A holder that crashes, is cut off or can't serve any \
        more is taken over from as ever, and the address then stays where it is. `switch`, `standby` and a \
        daemon that is stopped move it as ever, too."
    )]
    Freeze(StandingArgs),
    /// Undo `freeze`; run it where that was said
    Thaw(OrderArgs),
    /// State that the other member is dead (two members under "majority" only)
    #[command(
        long_about = "State that the other member is dead, so that its vote counts as given.\n\n\
        Only for two members under arbitration \"majority\", when the other has not been heard for a \
        while. If it is alive and only cut off, both members hold the addresses at once: make sure \
        first that it is off."
    )]
    PresumeDead(CostlyArgs),
    /// Make the files of a new cluster, and a line to paste on each other machine
    Init(init::InitArgs),
    /// Take the files of a cluster from the token that `onehold init` printed
    Join(join::JoinArgs),
    /// Check a configuration file and show what follows from it; changes nothing
    #[command(
        after_help = "Exit status: 0 fine, 1 this host could not serve (yet), 2 `run` would refuse the file on \
                      every host."
    )]
    Check(CheckArgs),
    /// Look for what would keep this member from serving; changes nothing
    #[command(
        after_help = "Exit status: 0 nothing needs to be done, 1 something does, 2 wrong usage or configuration, \
                      3 something could not be looked at."
    )]
    Doctor(doctor::DoctorArgs),
    /// Say what a rule, a word, or a line of `status` means, in the words of the book
    Explain(explain::ExplainArgs),
    /// Make our file of a Heartbeat or keepalived configuration
    #[command(
        after_help = "Exit status: 0 the file is complete, 1 it is written and lacks something, which the report \
                      names, 2 nothing could be read."
    )]
    Import(import::ImportArgs),
    /// Ask the network all the time who answers for a group's address, and print what is seen
    #[command(
        after_help = "Run it on another member: a host does not answer itself. It changes nothing."
    )]
    Observe(observe::ObserveArgs),
    /// Take the running pair down on purpose, and have another machine measure what that costs
    #[command(after_help = drill::AFTER)]
    Drill(drill::DrillArgs),
    /// What undoes a drill's faults when the drill is gone; `drill` starts it
    #[command(name = keeper::NAME, hide = true)]
    DrillKeeper,
    /// Create a shared secret
    Secret(SecretArgs),
    /// Take away the gate that mutes the addresses here, when no daemon can be started any more
    OpenGate(open_gate::OpenGateArgs),
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The configuration file, the same on all members
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Which member this is [default: by host name, else by local address]
    #[arg(long = "as", value_name = "NAME")]
    member: Option<String>,
    /// The control socket to listen on
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// The directory with the longest lease of earlier incarnations; must outlive the process, not
    /// the boot
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// The directory that keeps `standby`, `switch` and `freeze` while they stand; must outlive the boot
    /// [default: $STATE_DIRECTORY, which systemd sets, else that of --state]
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Write every input and effect of this member to FILE, for `onehold-lab replay`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// The largest size of the trace: FILE and FILE.old, which has what came before
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    trace_size: u32,
    /// What another program of this process has left (`onehold upgrade`)
    #[arg(long, value_name = "DESCRIPTORS", hide = true)]
    take_over: Option<String>,
    /// Why the program that should have gone on could not
    #[arg(long, value_name = "WHY", hide = true, requires = "take_over")]
    came_back: Option<String>,
}

/// Which daemon.
#[derive(Debug, Args)]
struct DaemonArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// The cluster, on a witness of several
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    daemon: DaemonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Of many clusters: only those whose name contains this
    #[arg(long = "match", value_name = "TEXT")]
    matching: Option<String>,
    /// Of many clusters: only those with alarms
    #[arg(long)]
    alarms: bool,
    /// Of many clusters: a row for each [default: for each of a few, or those with alarms]
    #[arg(long, conflicts_with_all = ["alarms", "json"])]
    all: bool,
    /// Print the status again every second, until interrupted
    #[arg(long)]
    watch: bool,
    /// Print one line for monitoring, and end with 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN
    #[arg(long, conflicts_with_all = ["json", "watch", "matching", "alarms", "all"])]
    check: bool,
    /// With --check: look at this group alone
    #[arg(long, value_name = "GROUP", requires = "check")]
    group: Option<String>,
}

#[derive(Debug, Args)]
struct OrderArgs {
    /// The group [default: all]
    group: Option<String>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// An order that stands until it is undone, or over.
#[derive(Debug, Args)]
struct StandingArgs {
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    terms: terms::Terms,
}

/// The same, where it may cost the address.
#[derive(Debug, Args)]
struct AwayArgs {
    #[command(flatten)]
    standing: StandingArgs,
    /// Don't ask for confirmation: what it costs is known, and meant
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct CostlyArgs {
    #[command(flatten)]
    order: OrderArgs,
    /// Don't ask for confirmation: what it costs is known, and meant
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file
    #[arg(default_value = DEFAULT_CONFIG)]
    file: PathBuf,
    /// Check for this member only, as if this host were it
    #[arg(long = "for", value_name = "NAME")]
    member: Option<String>,
    /// Also say how a cluster that runs with this file gets to the other, and what that costs
    #[arg(long, value_name = "OLD")]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SecretArgs {
    /// The file to create, readable by its owner alone
    #[arg(default_value = secret::DEFAULT_PATH)]
    path: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

/// How a command failed: its exit status and why.
#[derive(Debug)]
enum Failure {
    /// 1
    Failed(String),
    /// 2
    Usage(String),
    /// A status of the command's own; nothing is said where all is printed already.
    Exit(u8, String),
}

impl Failure {
    /// Why it failed.
    fn what(self) -> String {
        match self {
            Self::Failed(what) | Self::Usage(what) | Self::Exit(_, what) => what,
        }
    }

    /// The same, said otherwise.
    fn said(self, how: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Failed(what) => Self::Failed(how(what)),
            Self::Usage(what) => Self::Usage(how(what)),
            Self::Exit(status, what) => Self::Exit(status, how(what)),
        }
    }
}

impl From<FileError> for Failure {
    fn from(e: FileError) -> Self {
        Self::Usage(e.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(e: RunError) -> Self {
        match e {
            RunError::Config(e) => e.into(),
            why @ (RunError::ClockWentBack | RunError::Failed(_)) => Self::Failed(why.to_string()),
        }
    }
}

/// The whole command line, as manual pages and completions are made of it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let (code, what) = match dispatch(Cli::parse().command) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Failed(what)) => (1, what),
        Err(Failure::Usage(what)) => (2, what),
        Err(Failure::Exit(status, what)) => (status, what),
    };
    if !what.is_empty() {
        eprintln!("onehold: {what}");
    }
    ExitCode::from(code)
}

fn dispatch(command: Cmd) -> Result<(), Failure> {
    match command {
        Cmd::Run(run) => {
            let came_back = run.came_back;
            let begins = match run.take_over.map(|words| take_over(&words, came_back)) {
                None => Begins::Anew,
                Some(taken) => Begins::From(taken.map_err(Failure::Failed)?),
            };
            let options = RunOptions {
                config: run.config,
                member: run.member,
                socket: run.socket,
                state: run.state,
                orders: run.orders.or_else(state_directory),
                trace: run.trace,
                trace_size: u64::from(run.trace_size) << 20,
            };
            Ok(daemon::run(options, begins)?)
        }
        Cmd::Upgrade(u) => upgrade::upgrade(&u),
        Cmd::ReadState => upgrade::read_state(),
        Cmd::Agent(a) => agent::run(a),
        Cmd::Up(run) => up::up(&run),
        Cmd::Reload(r) => reload::reload(&r),
        Cmd::Why(w) => why::why(&w),
        Cmd::History(h) => history::history(&h),
        Cmd::Top(daemon) => top::top(&daemon),
        Cmd::Holds(h) => holds::holds(&h),
        Cmd::Metrics(m) => metrics::metrics(&m),
        Cmd::Wait(w) => watching::wait(&w),
        Cmd::Status(s) if s.check => watching::check(&s.daemon, s.group.as_deref()),
        Cmd::Status(s) => client::status(&s),
        Cmd::Switch(AwayArgs { standing, yes }) => stands(standing, Order::Switch, yes),
        Cmd::Standby(AwayArgs { standing, yes }) => stands(standing, Order::Standby, yes),
        Cmd::Resume(c) => order(c, Order::Resume, Said::default(), false),
        Cmd::Freeze(standing) => stands(standing, Order::Freeze, false),
        Cmd::Thaw(c) => order(c, Order::Thaw, Said::default(), false),
        Cmd::PresumeDead(p) => {
            let DaemonArgs { socket, cluster } = &p.order.daemon;
            if p.yes || client::confirm_dead(socket, cluster.as_deref())? {
                order(p.order, Order::PresumeDead, Said::default(), true)
            } else {
                Err(Failure::Failed(
                    "not confirmed: nothing was changed".to_owned(),
                ))
            }
        }
        Cmd::Init(i) => init::init(&i),
        Cmd::Join(j) => join::join(&j),
        Cmd::Check(c) => {
            let check::Checked { text, wrong, host } = check::check(&c.file, c.member.as_deref());
            print(&(text + &host.text()))?;
            if let Some(from) = c.from.filter(|_| wrong.is_empty()) {
                print(&check::plan(&from, &c.file).map_err(Failure::Usage)?)?;
            }
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            match (&wrong[..], &host.lacks[..]) {
                ([], []) => Ok(()),
                ([], _) => Err(Failure::Failed(
                    "the file is fine, but this host could not serve yet: see above".to_owned(),
                )),
                _ => Err(Failure::Usage(wrong.join("\nonehold: "))),
            }
        }
        Cmd::Explain(e) => explain::explain(&e),
        Cmd::Import(i) => import::import(i),
        Cmd::Observe(o) => observe::observe(o),
        Cmd::Drill(d) => drill::drill(d),
        Cmd::DrillKeeper => keeper::keep().map_err(Failure::Failed),
        Cmd::Secret(s) => {
            secret::create(&s.path, s.force).map_err(Failure::Failed)?;
            let path = s.path.display();
            print(&format!(
                "{path}: created; copy it to every member, for instance: scp -p {path} root@lb1:{path}\n"
            ))
        }
        Cmd::Doctor(d) => doctor::doctor(&d),
        Cmd::OpenGate(o) => open_gate::open_gate(&o),
        Cmd::Version => print(&format!("onehold {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

/// Where systemd lets the service keep what outlives a boot (`StateDirectory=`): the first of them.
fn state_directory() -> Option<PathBuf> {
    let all = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&all).find(|path| path.is_absolute())
}

/// The directory with what outlives a boot, for a command that is run beside the service, or after
/// it.
fn orders_directory(named: Option<PathBuf>, state: &std::path::Path) -> PathBuf {
    let usual = PathBuf::from(STATE_DIRECTORY);
    let usual = Some(usual).filter(|usual| usual.is_dir());
    named.or(usual).unwrap_or_else(|| state.to_owned())
}

fn stands(c: StandingArgs, wanted: Order, yes: bool) -> Result<(), Failure> {
    let said = c.terms.said()?;
    order(c.order, wanted, said, yes)
}

fn order(c: OrderArgs, order: Order, said: Said, yes: bool) -> Result<(), Failure> {
    let DaemonArgs { socket, cluster } = c.daemon;
    client::order(&socket, order, cluster, c.group, said, yes)
}

/// Prints to standard output; a reader that has gone away is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    is_read(text).map(drop)
}

/// The same; returns whether there is still a reader.
fn is_read(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failure::Failed(format!("can't print: {e}"))),
    }
}

#[cfg(test)]
pub(crate) mod tests;

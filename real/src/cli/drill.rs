//! `onehold drill`.

use super::{DEFAULT_CONFIG, DaemonArgs, Failure, client, print};
use crate::config_file::{Length, first_of, written};
use crate::drill::fault::{Daemon, Event, Start, Victim, process, unit};
use crate::drill::run::{Drill, Options, Refused, writable};
use crate::drill::situation;
use crate::status::Status;
use clap::Args;
use onehold_core::time::Span;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const AFTER: &str = "Exit status: 0 everything within the budget and never two, 1 not, 2 wrong usage, 3 refused to begin.";

/// The exit status of a drill that did not begin.
const NOT_BEGUN: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct DrillArgs {
    /// The group [default: the only one]
    group: Option<String>,
    /// The command that observes from another machine of the address's network, such as
    /// "ssh root@witness onehold observe"
    #[arg(long, value_name = "COMMAND")]
    observer: String,
    /// How long nobody may answer
    #[arg(long, value_name = "TIME", default_value = "600ms")]
    budget: Length,
    /// What to do, and nothing else
    #[arg(long, value_name = "EVENTS", value_delimiter = ',')]
    only: Vec<Event>,
    /// Do one of them, at random
    #[arg(long)]
    random: bool,
    /// Don't ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Do nothing, and succeed, where the group is not held: for a timer on both candidates
    #[arg(long)]
    if_holder: bool,
    /// How long a fault may last, 1s to 60s
    #[arg(long, value_name = "TIME", default_value = "5s")]
    at_most: Length,
    /// How long it may take until all is well again
    #[arg(long, value_name = "TIME", default_value = "10min")]
    patience: Length,
    /// How the daemon is started [default: by systemd, if it runs so]
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// The directory for the page
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The configuration file, for the deadline of `before_hold`
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) fn drill(args: DrillArgs) -> Result<(), Failure> {
    let Length(at_most) = args.at_most;
    if at_most < Span::from_millis(1_000) || at_most > Span::from_millis(60_000) {
        return Err(Failure::Usage(format!(
            "--at-most {at_most}: must be 1s to 60s"
        )));
    }
    if !args.yes && !std::io::stdin().is_terminal() {
        let what =
            "standard input is not a terminal, so you can't be asked; add --yes if you are certain";
        return Err(Failure::Usage(what.to_owned()));
    }
    let DaemonArgs { socket, cluster } = &args.daemon;
    let status = client::one(socket, cluster.as_deref()).map_err(|e| match e {
        Failure::Failed(why) => not_begun(why),
        other => other,
    })?;
    let group = situation::group(&status, args.group.as_deref()).map_err(Failure::Usage)?;
    if group.role != "holder" {
        let holder = group.holder.as_deref().unwrap_or("nobody");
        let what = format!("{}: {holder} holds it, not {}", group.name, status.member);
        return match args.if_holder {
            true => print(&format!("{what}: nothing to do here\n")),
            false => Err(not_begun(format!("{what}; a drill runs on the holder"))),
        };
    }
    writable(&args.to).map_err(Failure::Usage)?;
    let before_hold = before_hold(&args.config, &status, &group.name).map_err(not_begun)?;
    let victim = victim(&args, &status, &group.name).map_err(not_begun)?;
    let options = Options {
        victim,
        events: events(&args)?,
        observer: args.observer,
        budget: args.budget.0,
        longest: at_most.into(),
        patience: Duration::from(args.patience.0),
        before_hold,
        to: args.to,
        status,
    };
    let drill = Drill::prepare(options).map_err(|Refused(why)| not_begun(why))?;
    if !args.yes {
        print(&drill.plan())?;
        if !client::confirmed("Type yes to begin: ")? {
            return Err(not_begun("not confirmed: nothing was done".to_owned()));
        }
    }
    let record = drill.run();
    let line = match args.json {
        true => serde_json::to_string(&record).map_err(|e| Failure::Failed(e.to_string()))?,
        false => record.line(),
    };
    print(&(line + "\n"))?;
    if let Some(page) = record.page.as_ref().filter(|_| !args.json) {
        print(&format!(
            "{page}: open it in a browser; it needs no network\n"
        ))?;
    }
    match record.within {
        true => Ok(()),
        false => Err(Failure::Failed(
            "the drill was not within its budget, or not complete".to_owned(),
        )),
    }
}

/// Says why nothing was done.
fn not_begun(why: String) -> Failure {
    Failure::Exit(NOT_BEGUN, format!("not begun:\n  {why}"))
}

fn events(args: &DrillArgs) -> Result<Vec<Event>, Failure> {
    let mut events = match &args.only[..] {
        [] => Event::ALL.to_vec(),
        some => Event::ALL
            .into_iter()
            .filter(|event| some.contains(event))
            .collect(),
    };
    if args.random {
        let mut random = [0; 8];
        let filled = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        filled.map_err(|e| Failure::Failed(format!("no random number: {e}")))?;
        let at = u64::from_ne_bytes(random) % events.len().max(1) as u64;
        events = events
            .into_iter()
            .skip(usize::try_from(at).unwrap_or(0))
            .take(1)
            .collect();
    }
    Ok(events)
}

/// Where this member's daemon is, how it is started, and with whom it talks.
fn victim(args: &DrillArgs, status: &Status, group: &str) -> Result<Victim, String> {
    let start = match &args.start {
        Some(words) => Some(Start::Command(words.clone())),
        None => unit(process(&args.daemon.socket)?.0).map(Start::Unit),
    };
    let paths = status.peers.iter().flat_map(|peer| &peer.paths);
    Ok(Victim {
        daemon: Daemon {
            socket: args.daemon.socket.clone(),
            cluster: status.cluster.clone(),
        },
        group: group.to_owned(),
        start,
        peers: paths.filter_map(|path| path.remote.parse().ok()).collect(),
    })
}

/// The deadline of the group's `before_hold`, which is added to each outage.
fn before_hold(config: &Path, status: &Status, group: &str) -> Result<Option<Span>, String> {
    let file = written(config).map_err(first_of).map_err(|e| {
        format!(
            "{e}; a `before_hold` there would make each outage longer: name the file with --config"
        )
    })?;
    let mut clusters = file.clusters.into_iter().flatten();
    let cluster = clusters.find(|c| c.file.cluster.name == status.cluster);
    let cluster = cluster.ok_or_else(|| {
        format!(
            "{}: there is no cluster {} in it; name its file with --config",
            config.display(),
            status.cluster
        )
    })?;
    let section = cluster.file.groups.get(group);
    let hook = section.and_then(|section| section.hooks.before_hold.as_ref());
    Ok(hook
        .and_then(|hook| hook.deadline)
        .map(|Length(deadline)| deadline))
}

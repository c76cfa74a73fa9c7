//! The commands that ask a running daemon.

use super::StatusArgs;
use super::cost;
use super::{Failure, is_read, print};
use crate::control::{
    self, CLIENT_TIMEOUT, NO_ANSWER, NO_DAEMON, Order, Reply, Request, ask, done_text,
};
use crate::orders::{FORGOTTEN, Said};
use crate::status::{self, Report, Rows, Status, render};
use crate::wall;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

/// How often the client asks whether a hand-over is done, and how many times.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASKS: u32 = 500;

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let (json, watch) = (args.json, args.watch);
    let terminal = std::io::stdout().is_terminal();
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let colour = terminal && !dumb && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let text = || -> Result<String, Failure> {
        let mut report = report(&args.daemon.socket, args.daemon.cluster.as_deref())?;
        if let Some(part) = &args.matching {
            report.clusters.retain(|c| c.cluster.contains(part));
            let is_meant = |name: &String| name.contains(part);
            (report.waiting).retain(|w| w.cluster.as_ref().is_none_or(is_meant));
        }
        if json && args.alarms {
            report.clusters.retain(|c| !c.alarms.is_empty());
        }
        if json {
            let dated = status::json(&report, wall::now());
            let json = if watch {
                serde_json::to_string(&dated)
            } else {
                serde_json::to_string_pretty(&dated)
            };
            return json
                .map(|j| j + "\n")
                .map_err(|e| Failure::Failed(e.to_string()));
        }
        let rows = match (args.alarms, args.all) {
            (true, _) => Rows::WithAlarms,
            (false, true) => Rows::All,
            (false, false) => Rows::AsFit,
        };
        Ok(render(&report, rows, colour))
    };
    if !watch {
        return print(&text()?);
    }
    loop {
        // A daemon that restarts is one of the things to watch for.
        let mut text = match text() {
            Ok(text) => text,
            Err(Failure::Failed(what)) => format!("onehold: {what}\n"),
            Err(usage) => return Err(usage),
        };
        if terminal && !dumb && !json {
            text.insert_str(0, "\x1b[H\x1b[2J");
        } else if !json {
            text.push('\n');
        }
        if !is_read(&text)? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Whether a failure to ask means that the daemon does not run, or does not answer.
pub(super) fn is_down(why: &str) -> bool {
    why.starts_with(NO_DAEMON) || why.contains(NO_ANSWER)
}

pub(super) fn report(socket: &Path, cluster: Option<&str>) -> Result<Report, Failure> {
    control::report(socket, cluster, CLIENT_TIMEOUT).map_err(Failure::Failed)
}

/// The cluster that an order is for.
pub(super) fn one(socket: &Path, cluster: Option<&str>) -> Result<Status, Failure> {
    let Report {
        mut clusters,
        waiting,
        ..
    } = report(socket, cluster)?;
    match clusters.len() {
        1 => Ok(clusters.remove(0)),
        0 if !waiting.is_empty() => {
            let all: Vec<String> = waiting.iter().map(ToString::to_string).collect();
            Err(Failure::Failed(all.join("\n")))
        }
        _ => {
            let all: Vec<String> = clusters.into_iter().map(|c| c.cluster).collect();
            let what = format!(
                "this daemon serves several clusters: add --cluster NAME, one of {}",
                all.join(", ")
            );
            Err(Failure::Usage(what))
        }
    }
}

pub(super) fn order(
    socket: &Path,
    order: Order,
    cluster: Option<String>,
    group: Option<String>,
    said: Said,
    yes: bool,
) -> Result<(), Failure> {
    let before = one(socket, cluster.as_deref())?;
    let cost = cost::cost(&before, order, group.as_deref(), &said);
    cost::agreed(&cost, yes)?;
    let request = Request::Command {
        command: order,
        cluster: Some(before.cluster.clone()),
        group: group.clone(),
        said,
    };
    let lines = match ask(socket, &request, CLIENT_TIMEOUT).map_err(Failure::Failed)? {
        Reply::Done { lines } => lines,
        Reply::Refused { why } => return Err(Failure::Failed(why)),
        Reply::Status(_) | Reply::History(_) | Reply::Reloaded { .. } => {
            return Err(Failure::Failed(
                "the daemon answered something else".to_owned(),
            ));
        }
    };
    print(&(lines.join("\n") + "\n"))?;
    if matches!(order, Order::Switch | Order::Standby) && !cost.nobody {
        handed_over(socket, &before, group.as_deref())?;
    }
    match order {
        Order::Switch | Order::Standby | Order::Resume | Order::Freeze | Order::Thaw => {
            is_kept(socket, &before)
        }
        Order::PresumeDead if !may_presume(&before) => Ok(()),
        Order::PresumeDead => is_presumed(socket, &before, &lines),
    }
}

/// waits until the network was asked for long enough and nobody answered, for the groups that
/// took the order.
fn is_presumed(socket: &Path, before: &Status, lines: &[String]) -> Result<(), Failure> {
    let done = done_text(Order::PresumeDead, "");
    let took = |name: &str| lines.contains(&format!("{name}: {done}"));
    let mut left: Vec<&str> = (before.groups.iter())
        .filter(|g| took(&g.name))
        .map(|g| g.name.as_str())
        .collect();
    let interval = Duration::from_secs_f64(before.timing.interval_ms.clamp(0.0, 60e3) / 1e3);
    let patience = interval * 2 + ASK_EVERY * ASKS;
    for _ in 0..patience.as_millis() / ASK_EVERY.as_millis() {
        let now = one(socket, Some(&before.cluster))?;
        let mut text = String::new();
        let mut lives = None;
        left.retain(|name| match now.groups.iter().find(|g| g.name == *name) {
            Some(g) if g.presumed_dead => {
                text.push_str(&format!(
                    "{name}: nobody answers; the peer's vote counts as given until the peer is heard again\n"
                ));
                false
            }
            Some(g) if g.probing => true,
            Some(_) | None => {
                lives = lives.or(Some(*name));
                true
            }
        });
        print(&text)?;
        if let Some(name) = lives {
            return Err(Failure::Failed(format!(
                "{name}: refused: a machine answers for the address, or the peer was heard, so it is not dead; \
                 `onehold status` says which (R-17)"
            )));
        }
        if left.is_empty() {
            return Ok(());
        }
        std::thread::sleep(ASK_EVERY);
    }
    Err(Failure::Failed(format!(
        "{}: not known after {} s whether the peer answers; `onehold status` shows it",
        left.join(", "),
        patience.as_secs()
    )))
}

/// Whether a later incarnation will know of the order. It is written in the background; what can't
/// be written mostly fails at once.
fn is_kept(socket: &Path, before: &Status) -> Result<(), Failure> {
    std::thread::sleep(ASK_EVERY);
    let now = one(socket, Some(&before.cluster))?;
    let forgotten = |alarm: &&String| alarm.starts_with(FORGOTTEN);
    match now.alarms.iter().find(forgotten) {
        Some(why) => Err(Failure::Failed(format!("done, but {why}"))),
        None => Ok(()),
    }
}

/// Waits until another member holds what was held here.
fn handed_over(socket: &Path, before: &Status, group: Option<&str>) -> Result<(), Failure> {
    let meant = |name: &str| group.is_none_or(|g| g == name);
    let mut left: Vec<&str> = (before.groups.iter())
        .filter(|g| g.role == "holder" && meant(&g.name))
        .map(|g| g.name.as_str())
        .collect();
    for _ in 0..ASKS {
        if left.is_empty() {
            return Ok(());
        }
        let now = one(socket, Some(&before.cluster))?;
        let mut text = String::new();
        left.retain(|name| {
            let group = now.groups.iter().find(|g| g.name == *name);
            match group.and_then(|g| g.holder.as_ref()) {
                Some(holder) if *holder != now.member => {
                    text.push_str(&format!("{name}: {holder} holds it now\n"));
                    false
                }
                _ => true,
            }
        });
        print(&text)?;
        std::thread::sleep(ASK_EVERY);
    }
    Err(Failure::Failed(format!(
        "{} not handed over within {} s; `onehold status` here and there shows why",
        left.join(", "),
        (ASK_EVERY * ASKS).as_secs()
    )))
}

/// Explains what presuming a peer dead risks, and asks.
pub(super) fn confirm_dead(socket: &Path, cluster: Option<&str>) -> Result<bool, Failure> {
    let status = one(socket, cluster)?;
    if !may_presume(&status) && !status.doubts {
        // The daemon will refuse, and say why.
        return Ok(true);
    }
    let peers = status.peers.iter().filter(|p| !p.witness);
    let peers: Vec<&str> = peers.map(|p| p.name.as_str()).collect();
    let groups: Vec<&str> = status.groups.iter().map(|g| g.name.as_str()).collect();
    let (peer, groups) = (peers.join(", "), groups.join(", "));
    print(&match may_presume(&status) {
        true => explanation(&peer, &groups),
        false => of_doubts(&peer, &groups),
    })?;
    confirmed("Is it off? Type yes to go on: ")
}

/// the word counts as the peer's vote.
fn may_presume(status: &Status) -> bool {
    status.members == 2 && status.arbitration == "majority"
}

/// Asks a person, who has just read what follows.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let what =
            "standard input is not a terminal, so you can't be asked; add --yes if you are certain";
        return Err(Failure::Usage(what.to_owned()));
    }
    print(question)?;
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && answer.trim() == "yes")
}

/// the same for a member that doubts by whose votes it may hold.
pub(super) fn of_doubts(peer: &str, groups: &str) -> String {
    format!(
        "This lets this member hold {groups} by the votes of the members in its file, which are not\n\
         those by whose votes it held last. If {peer} is alive and goes by those, both will hold the\n\
         addresses at once. Make sure first that {peer} is off, or off the network, and has this file\n\
         before it comes back.\n"
    )
}

pub(super) fn explanation(peer: &str, groups: &str) -> String {
    format!(
        "This counts the vote of {peer} as given, so that this member may hold {groups} alone.\n\
         If {peer} is alive and only cut off, both will hold the addresses at once: clients reach one or\n\
         the other, and what they write may be lost. Make sure first that {peer} is off, or off the\n\
         network (power, console, switch port). As soon as it is heard, its vote is its own again.\n"
    )
}

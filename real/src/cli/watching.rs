//! `onehold status --check` and `onehold wait`: for monitoring and for scripts.

use super::{DaemonArgs, Failure, client, print};
use crate::clock::boottime;
use crate::config_file::Length;
use crate::status::{self, GroupStatus, Report, Status, Verdict};
use clap::Args;
use std::time::Duration;

/// How often `wait` asks.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// One line as monitoring plugins print it, and their exit status.
pub(super) fn check(daemon: &DaemonArgs, group: Option<&str>) -> Result<(), Failure> {
    let verdict = match client::report(&daemon.socket, daemon.cluster.as_deref()) {
        Ok(report) => status::verdict(&report, group),
        Err(Failure::Failed(why)) if client::is_down(&why) => Verdict::critical(why),
        Err(e) => Verdict::unknown(e.what()),
    };
    print(&format!("{}\n", verdict.line()))?;
    match verdict.severity.exit_status() {
        0 => Ok(()),
        status => Err(Failure::Exit(status, String::new())),
    }
}

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// The group [default: all]
    group: Option<String>,
    /// Until this member could hold, or holds; a witness: until it votes
    #[arg(long)]
    ready: bool,
    /// Until `status` shows no alarm here
    #[arg(long)]
    no_alarms: bool,
    /// Until this member holds, or any with `any` [default, without --ready and --no-alarms: any]
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    /// For how long at most
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Length,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// Waits until it is so.
pub(super) fn wait(asked: &WaitArgs) -> Result<(), Failure> {
    let DaemonArgs { socket, cluster } = &asked.daemon;
    let end = boottime().plus(asked.timeout.0);
    loop {
        let lacks = match client::report(socket, cluster.as_deref()) {
            Ok(report) => asked.lacks(&report).map_err(Failure::Usage)?,
            Err(Failure::Failed(why)) => vec![why], // it may be starting
            Err(usage) => return Err(usage),
        };
        if lacks.is_empty() {
            return Ok(());
        }
        if boottime() >= end {
            let what = format!("not within {}: {}", asked.timeout.0, lacks.join("; "));
            return Err(Failure::Failed(what));
        }
        std::thread::sleep(ASK_EVERY);
    }
}

impl WaitArgs {
    /// What is not so yet.
    fn lacks(&self, report: &Report) -> Result<Vec<String>, String> {
        let mut lacks: Vec<String> = report.waiting.iter().map(ToString::to_string).collect();
        if report.clusters.is_empty() && lacks.is_empty() {
            lacks.push("no cluster is served yet".to_owned());
        }
        for status in &report.clusters {
            self.lacks_of(status, &mut lacks)?;
        }
        Ok(lacks)
    }

    fn lacks_of(&self, status: &Status, lacks: &mut Vec<String>) -> Result<(), String> {
        let meant = |g: &&GroupStatus| self.group.as_ref().is_none_or(|name| *name == g.name);
        let groups: Vec<&GroupStatus> = status.groups.iter().filter(meant).collect();
        if groups.is_empty() {
            let all: Vec<&str> = status.groups.iter().map(|g| g.name.as_str()).collect();
            let name = self.group.as_deref().unwrap_or_default();
            return Err(format!(
                "there is no group `{name}`; there are {}",
                all.join(", ")
            ));
        }
        if self.ready {
            if let Some(left) = status.quarantine_left_ms {
                lacks.push(format!("in quarantine for another {left:.0} ms"));
            }
            let unready = groups.iter().filter(|g| !g.ready && g.role != "holder");
            let unready = unready.filter(|_| !status.witness);
            lacks.extend(unready.map(|g| format!("{}: {}", g.name, g.not_ready.join("; "))));
        }
        if self.no_alarms {
            let of = status::of_group(&status.alarms, status, self.group.as_deref());
            lacks.extend(of.cloned());
        }
        let any = !self.ready && !self.no_alarms;
        let holder = self.holder.as_deref().or(any.then_some("any"));
        let Some(holder) = holder else { return Ok(()) };
        let mut members = status.peers.iter().map(|p| &p.name).chain([&status.member]);
        if holder != "any" && !members.any(|m| m == holder) {
            return Err(format!("there is no member `{holder}` (from --holder)"));
        }
        for g in groups {
            let mute = g.opening || g.holder_mute;
            let is = match g.holder.as_deref() {
                Some(name) if holder == "any" || name == holder => !mute,
                Some(_) | None => false,
            };
            if !is {
                let holds = g.holder.as_deref().unwrap_or("nobody");
                let mute = if mute { ", mute" } else { "" };
                lacks.push(format!("{}: {holds} holds it{mute}", g.name));
            }
        }
        Ok(())
    }
}

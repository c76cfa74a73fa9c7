//! What a member's status says of a group, as far as a drill must know it: whether all is well,
//! and who would take over.

use crate::control;
use crate::status::{GroupStatus, Report, Status};
use std::path::Path;
use std::time::Duration;

/// The group of this name, or the only one.
///
/// # Errors
/// There is no such group, or more than one.
pub fn group<'s>(status: &'s Status, name: Option<&str>) -> Result<&'s GroupStatus, String> {
    let all = || {
        let names: Vec<&str> = status.groups.iter().map(|g| g.name.as_str()).collect();
        names.join(", ")
    };
    match (name, &status.groups[..]) {
        (None, [only]) => Ok(only),
        (None, []) => Err("this daemon knows no group".to_owned()),
        (None, _) => Err(format!("there are several groups; name one of {}", all())),
        (Some(name), groups) => groups
            .iter()
            .find(|group| group.name == name)
            .ok_or_else(|| format!("there is no group `{name}`; there is {}", all())),
    }
}

/// Asks a daemon for the status of one of its clusters.
///
/// # Errors
/// Why there is none.
pub fn ask(socket: &Path, cluster: &str, limit: Duration) -> Result<Status, String> {
    let report = control::report(socket, Some(cluster), limit)?;
    let Report {
        mut clusters,
        waiting,
        version: _,
        next: _,
    } = report;
    if let Some(waiting) = waiting.first() {
        return Err(waiting.to_string());
    }
    clusters.retain(|status| status.cluster == cluster);
    clusters
        .pop()
        .ok_or_else(|| format!("the daemon does not serve {cluster}"))
}

/// Whether this member's gate is open: the group is held, prepared, and its lease not over.
#[must_use]
pub fn is_open(group: &GroupStatus) -> bool {
    let left = group.lease_left_ms.is_some_and(|left| left > 0.0);
    group.role == "holder" && !group.opening && left
}

/// What is not as it should be while `holder` has the group: nothing, if all is well.
#[must_use]
pub fn wrong(status: &Status, name: &str, holder: &str) -> Vec<String> {
    let mut wrong = status.alarms.clone();
    if status.stopped {
        wrong.push("this member has stopped".to_owned());
    }
    if let Some(left) = status.quarantine_left_ms {
        wrong.push(format!(
            "this member is in quarantine for another {left:.0} ms (R-9)"
        ));
    }
    for peer in status.peers.iter().filter(|peer| !peer.two_way) {
        wrong.push(format!("{} is not heard both ways", peer.name));
    }
    let Some(g) = status.groups.iter().find(|g| g.name == name) else {
        wrong.push(format!("there is no group `{name}`"));
        return wrong;
    };
    match &g.holder {
        Some(other) if other != holder => {
            wrong.push(format!("{name}: {other} holds it, not {holder}"))
        }
        Some(_) => {}
        None => wrong.push(format!("{name}: no member is known to hold it")),
    }
    let orders = [
        (
            g.standby,
            "this member is on standby (`onehold resume` ends it)",
        ),
        (
            g.gave_away,
            "`onehold switch` is in force (`onehold resume` ends it)",
        ),
        (g.presumed_dead, "the other candidate is presumed dead"),
        (
            !g.frozen_by.is_empty(),
            "`onehold freeze` is in force (`onehold thaw` ends it)",
        ),
        (g.yields, "it is being handed over"),
        (g.opening, "its gate is not open yet"),
    ];
    let orders = orders.into_iter().filter(|(is, _)| *is);
    wrong.extend(orders.map(|(_, what)| format!("{name}: {what}")));
    if status.member == holder {
        if !is_open(g) {
            wrong.push(format!("{name}: it is not held here yet"));
        }
        if g.successor_ready != Some(true) {
            let successor = g.successor.as_deref().unwrap_or("the other candidate");
            wrong.push(format!("{name}: {successor} is not ready to take over"));
        }
    } else if !g.ready {
        wrong.push(format!("{name}: this member is not ready to take over"));
    }
    wrong.dedup();
    wrong
}

//! `onehold holds`: for scripts, right before they do what only a holder may.

use super::{DaemonArgs, Failure, client, print};
use crate::status::GroupStatus;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct HoldsArgs {
    /// The group
    group: String,
    #[command(flatten)]
    daemon: DaemonArgs,
}

/// Succeeds if this member holds the group now.
pub(super) fn holds(asked: &HoldsArgs) -> Result<(), Failure> {
    let DaemonArgs { socket, cluster } = &asked.daemon;
    // Whatever keeps it from being said is no "no".
    let status = client::one(socket, cluster.as_deref()).map_err(|e| Failure::Usage(e.what()))?;
    let name = &asked.group;
    let Some(group) = status.groups.iter().find(|group| group.name == *name) else {
        let all: Vec<&str> = status.groups.iter().map(|g| g.name.as_str()).collect();
        let what = format!("there is no group `{name}`; there are {}", all.join(", "));
        return Err(Failure::Usage(what));
    };
    match held_for(group) {
        Some(left) => print(&format!(
            "{name}: held here, with {left:.0} ms of the lease left\n"
        )),
        None => {
            let holder = match &group.holder {
                Some(holder) if *holder != status.member => format!("; {holder} holds it"),
                _ => String::new(),
            };
            let role = if group.opening {
                "opening"
            } else {
                &group.role
            };
            let what = format!("{name}: not held here ({role}{holder})");
            Err(Failure::Failed(what))
        }
    }
}

/// What is left of the lease of one that is held, with its gate open.
fn held_for(group: &GroupStatus) -> Option<f64> {
    let left = group.lease_left_ms.filter(|left| *left > 0.0)?;
    (group.role == "holder" && !group.opening).then_some(left)
}

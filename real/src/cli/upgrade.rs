//! `onehold upgrade`: the daemon goes on in another binary; and what that binary makes of the daemon's
//! state, asked of it before.

use super::{Failure, print};
use crate::control::DEFAULT_SOCKET;
use crate::upgrade;
use clap::Args;
use std::io::Read as _;
use std::path::PathBuf;

pub(super) const AFTER: &str = "Exit status: 0 the daemon runs in the other binary, 1 it goes on as it was, and why, 2 wrong \
    usage.";

/// The binary of the program that runs.
const OWN: &str = "/proc/self/exe";

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// The binary to go on in [default: this one]
    #[arg(value_name = "BINARY", default_value = OWN, hide_default_value = true)]
    binary: PathBuf,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Result<(), Failure> {
    let lines = upgrade::upgrade(&args.socket, &args.binary).map_err(Failure::Failed)?;
    let lines = lines.iter().map(|line| format!("{line}\n"));
    print(&lines.collect::<String>())
}

pub(super) fn read_state() -> Result<(), Failure> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|e| Failure::Failed(format!("can't read the state: {e}")))?;
    let proof = upgrade::check(&bytes).map_err(Failure::Failed)?;
    let line = serde_json::to_string(&proof).map_err(|e| Failure::Failed(e.to_string()))?;
    print(&format!("{line}\n"))
}

//! `onehold reload`: has the daemon read its file again, and says what became of it.

use super::{Failure, print};
use crate::control::{CLIENT_TIMEOUT, DEFAULT_SOCKET, Reply, Request, ask};
use clap::Args;
use std::path::PathBuf;

pub(super) const AFTER: &str = "Exit status: 0 the daemon runs as its file says, 1 something was refused or is waited for, and \
    goes on as before, 2 wrong usage.";

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    /// Take keys away at once, also from members that are not known to have another one
    #[arg(long)]
    now: bool,
}

pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    let request = Request::Reload { now: args.now };
    let patience = request.patience(CLIENT_TIMEOUT);
    match ask(&args.socket, &request, patience).map_err(Failure::Failed)? {
        Reply::Reloaded { done, refused } => {
            let lines = done.iter().map(|line| format!("{line}\n"));
            print(&lines.collect::<String>())?;
            match &refused[..] {
                [] => Ok(()),
                _ => Err(Failure::Failed(refused.join("\nonehold: "))),
            }
        }
        Reply::Refused { why } => Err(Failure::Failed(why)),
        Reply::Status(_) | Reply::History(_) | Reply::Done { .. } => Err(Failure::Failed(
            "the daemon answered something else".to_owned(),
        )),
    }
}

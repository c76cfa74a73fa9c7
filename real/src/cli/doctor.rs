//! `onehold doctor`.

use super::{DEFAULT_CONFIG, DEFAULT_STATE, Failure, orders_directory, print};
use crate::control::DEFAULT_SOCKET;
use crate::doctor::{Asked, examine, render};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Which member this is [default: by host name, else by local address]
    #[arg(long = "as", value_name = "NAME")]
    member: Option<String>,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// The daemon's --state
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// The daemon's --orders [default: /var/lib/onehold, if it is there]
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Also say what the daemon knows of the other members: what they lack, their versions
    #[arg(long)]
    peer: bool,
    /// Show what is fine, too, and what was not looked at
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Examines this host and prints what was found.
pub(super) fn doctor(args: &DoctorArgs) -> Result<(), Failure> {
    let found = examine(&Asked {
        config: args.config.clone(),
        member: args.member.clone(),
        socket: args.socket.clone(),
        orders: orders_directory(args.orders.clone(), &args.state),
        state: args.state.clone(),
        peer: args.peer,
    })?;
    let text = match args.json {
        true => {
            serde_json::to_string_pretty(&found).map_err(|e| Failure::Failed(e.to_string()))? + "\n"
        }
        false => render(&found, args.all),
    };
    print(&text)?;
    match found.exit_status() {
        0 => Ok(()),
        status => Err(Failure::Exit(status, String::new())),
    }
}

//! `onehold agent`.

use super::{DEFAULT_CONFIG, Failure};
use crate::agent::{self, AgentError, AgentOptions};
use crate::control::DEFAULT_SOCKET;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct AgentArgs {
    /// The configuration file, the same as the daemon's
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(super) fn run(args: AgentArgs) -> Result<(), Failure> {
    let AgentArgs { config, socket } = args;
    agent::run(AgentOptions { config, socket }).map_err(|e| match e {
        AgentError::Config(_) => Failure::Usage(e.to_string()),
        AgentError::Failed(what) => Failure::Failed(what),
    })
}

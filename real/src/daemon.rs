//! `onehold run`.

use crate::config_file::FileError;
use std::path::PathBuf;

/// What `onehold run` is told.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// Which member this is, if the operator says so.
    pub member: Option<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// The directory that remembers earlier lives of this boot.
    pub state: PathBuf,
}

/// Why the daemon ended otherwise than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is bad.
    #[error(transparent)]
    Config(#[from] FileError),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// Why it could not start, or go on.
pub fn run(_options: RunOptions) -> Result<(), RunError> {
    Err(RunError::Failed("not built yet".to_owned()))
}

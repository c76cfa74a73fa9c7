//! What went wrong in the lab: the thing, the place and the remedy, in one line.

use std::fmt;

/// A failure of the lab itself, never a finding about the daemons.
#[derive(Debug)]
pub struct Error(String);

/// The lab's result.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self(message)
    }
}

/// Makes an [`Error`] of a message.
pub(crate) fn err(message: impl fmt::Display) -> Error {
    Error(message.to_string())
}

/// Says what was being done when an error came up.
pub trait Context<T> {
    /// Prefixes the error with `doing()`.
    ///
    /// # Errors
    /// The same error, with its context.
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, doing: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| Error(format!("{}: {e}", doing())))
    }
}

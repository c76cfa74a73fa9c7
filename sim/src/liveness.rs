//! Whether a process runs.

use onehold::trace::Line;
use onehold_core::time::Span;
use serde::Serialize;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It runs.
    #[default]
    Up,
    /// It is not run (by SIGSTOP, starved, suspended with its machine); its kernel may be.
    Paused,
    /// It is dead.
    Down,
}

impl Liveness {
    /// A trace's line that says so.
    #[must_use]
    pub const fn line(self, time: Span, member: String) -> Line {
        match self {
            Self::Up => Line::Resumed { time, member },
            Self::Paused => Line::Paused { time, member },
            Self::Down => Line::Died { time, member },
        }
    }
}

//! The state machine (stub until the next commit).

use crate::advert::Incarnation;
use crate::config::Config;
use crate::effect::Effect;
use crate::input::Input;
use crate::observe::Snapshot;
use crate::reject::Reject;
use crate::time::{LocalTime, Span};
use alloc::vec::Vec;

/// One member's whole protocol state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    incarnation: Incarnation,
}

impl Node {
    /// A node at the start of its life, in quarantine. `earlier` is the longest lease that
    /// earlier lives on this host may have been given.
    #[must_use]
    pub fn start(
        _config: &Config,
        _incarnation: Incarnation,
        _now: LocalTime,
        _earlier: Span,
    ) -> Self {
        unimplemented!()
    }

    /// Handles one input and appends what is to be done to `out`.
    ///
    /// # Errors
    /// Why a datagram changed nothing; only for [`Input::Received`]. Effects may follow all the
    /// same, for time has passed.
    pub fn handle(
        &mut self,
        _config: &Config,
        _now: LocalTime,
        _input: Input,
        _out: &mut Vec<Effect>,
    ) -> Result<(), Reject> {
        unimplemented!()
    }

    /// When [`Input::Wake`] is next due.
    #[must_use]
    pub fn poll_timeout(&self, _config: &Config) -> LocalTime {
        unimplemented!()
    }

    /// What people may see.
    #[must_use]
    pub fn observe(&self, _config: &Config, _now: LocalTime) -> Snapshot {
        unimplemented!()
    }
}

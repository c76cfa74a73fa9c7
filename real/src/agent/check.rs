//! A check, again and again: never two looks of it at once.

use super::board::{Board, Place};
use super::command::Nursery;
use super::probe::Probe;
use super::tally::Tally;
use crate::config_file::checks::Check;
use crate::control::session::one_line;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Looks forever, and writes each result on the board.
pub(super) async fn check(check: Check, place: Place, board: Board, nursery: Nursery) {
    let mut probe = Probe::new(&check, nursery);
    let mut tally = Tally::new(check.rise, check.fall);
    let every = Duration::from(check.every);
    let name = format!("{}: check {}", place.1, check.name);
    loop {
        let next = now() + every;
        let look = probe.look().await;
        let good = look.is_ok();
        let said = one_line(&look.unwrap_or_else(|why| why));
        if tally.note(good) {
            match good {
                true => tracing::info!(event = "check", "{name} passes: {said}"),
                false => tracing::warn!(event = "check", "{name} fails: {said}"),
            }
        }
        board.looked(&place, &check.name, tally.passing(), said);
        tokio::select! {
            () = sleep_until(next) => {}
            // What is bad already is looked at again in its time.
            () = probe.changed(), if good => {}
        }
    }
}

/// The runtime's clock, by which it sleeps.
fn now() -> Instant {
    Instant::now()
}

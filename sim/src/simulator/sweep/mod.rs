//! The sweep: many seeds, each of which draws a run; the same seed draws the same run.
//!
//! - [`draw`]: what a seed draws: a cluster, its timing, and what goes wrong.
//! - [`judge`]: runs what was drawn, and counts what came of it.
//! - [`cover`]: what must happen sometimes, so that nothing holds only because nothing happens.
//! - [`shrink`]: the fewest faults that still break it.
//! - [`report`]: what came of all seeds, and how reports of shards are added up.
//! - [`command`]: `cargo lab sweep` and `cargo lab merge`.
//!
//! What a seed draws is a scenario's text: `cargo lab sim` plays it, and there is no other way to
//! run it.
pub mod command;
pub mod cover;
pub mod draw;
mod expect;
mod files;
pub mod judge;
mod openings;
pub mod report;
pub mod shrink;
mod tracks;

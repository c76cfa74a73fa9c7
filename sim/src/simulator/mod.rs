//! The simulator: the daemon's own [`Driver`](onehold::driver::Driver) on a simulated network,
//! clock and kernel, thousands of times faster than real time; the same seed gives the same run.
//!
//! - [`plan`]: what is fixed in a run, and what is done to it when.
//! - [`run`]: a run, step by step.
//! - [`record`]: what comes out of it.
//! - [`watch`]: reads the records and checks the properties at every moment.
//! - [`contact`]: what passes between two members alone, and what that excuses.
//! - [`scenario`]: a plan and what is expected of its run, from a file.
//! - [`verdict`]: whether a run was as expected.
//! - [`transcript`]: a run as people read it.
//! - [`incidents`]: what goes wrong, as it is drawn.
//! - [`chaos`]: a timeline that is drawn.
//! - [`trace`]: a run in the format of the daemon's traces.
//! - [`provider`]: a table of a provider beside a run, and what movers make of it.
//! - [`command`]: `cargo lab sim`.
//! - [`sweep`]: many seeds, each of which draws everything.
//!
//! It never looks into a node: it asks the kernels who holds, and takes what a member believes from
//! what that member sent to the others.

mod bench;
pub mod chaos;
pub mod clock;
pub mod command;
pub mod contact;
pub(crate) mod file;
pub mod incidents;
mod journal;
pub mod plan;
pub mod provider;
pub mod record;
pub mod rng;
pub mod run;
pub mod scenario;
mod shell;
pub mod sweep;
pub mod trace;
pub mod transcript;
pub mod verdict;
pub mod watch;
mod world;

//! The simulator: the daemon's own [`Driver`](onehold::driver::Driver) on a simulated network, clock
//! and kernel, thousands of times faster than life, and the same again for the same seed.
//!
//! - [`plan`]: what is fixed in a run, and what is done to it when.
//! - [`run`]: a run, step by step.
//! - [`record`]: what comes out of it.
//! - [`watch`]: reads the records and asks the properties at every moment.
//! - [`scenario`]: a plan and what is expected of its run, from a file.
//! - [`verdict`]: whether a run was as expected.
//! - [`transcript`]: a run as people read it.
//! - [`chaos`]: a timeline that nobody wrote.
//! - [`trace`]: a run in the format of the daemon's traces.
//! - [`provider`]: a table of a provider beside a run, and what movers make of it.
//! - [`command`]: `cargo lab sim`.
//! - [`sweep`]: many seeds, each with faults that nobody chose.
//!
//! What it never does: look into a node. Who holds is asked of the kernels, and what a member thinks is
//! what it has said to the others.

mod bench;
pub mod chaos;
pub mod clock;
pub mod command;
pub mod dice;
pub(crate) mod file;
pub mod plan;
pub mod provider;
pub mod record;
pub mod run;
pub mod scenario;
mod shell;
pub mod sweep;
pub mod trace;
pub mod transcript;
pub mod verdict;
pub mod watch;
mod world;

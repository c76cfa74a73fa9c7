//! The simulator: the daemon's own [`Driver`](onehold::driver::Driver) on a simulated network, clock
//! and kernel, hundreds of times faster than life, and the same again for the same seed.
//!
//! - [`plan`]: what is fixed in a run, and what is done to it when.
//! - [`run`]: a run, step by step.
//! - [`record`]: what comes out of it.
//!
//! What it never does: look into a node. Who holds is asked of the kernels, and what a member thinks is
//! what it has said to the others.

pub mod clock;
pub mod dice;
pub mod plan;
pub mod record;
pub mod run;
mod shell;
mod world;

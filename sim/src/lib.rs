//! The lab: worlds in which the shipped core is run, broken and watched.
//!
//! - [`model`]: everything that can happen to the core, searched exhaustively.
//! - [`simulator`]: the shipped driver on a simulated network, clock and kernel; scenarios and
//!   seeds.
//! - [`machine`]: the shipped daemon on real kernels.
//! - [`mutants`]: the protocol with each rule half broken, and what of the above notices it.
//! - [`show`]: a run from its trace, for people.
//! - [`replay`]: recorded runs through the core again.
//! - [`tables`]: what of it is written into the book.
//!
//! On the ground floor: [`fault`], what can be done to a cluster; [`properties`], what must be true
//! at every moment; and what all of them need.
pub mod error;
#[cfg(feature = "worlds")]
pub mod events;
pub mod fault;
pub mod liveness;
pub mod machine;
#[cfg(feature = "worlds")]
pub mod model;
#[cfg(feature = "worlds")]
pub mod mutants;
#[cfg(feature = "worlds")]
pub mod properties;
pub mod replay;
pub mod screen;
pub mod show;
#[cfg(feature = "worlds")]
pub mod simulator;
#[cfg(feature = "worlds")]
pub mod tables;

pub use error::{Error, Result};
pub use machine::netns;
#[cfg(feature = "worlds")]
pub use machine::vms;

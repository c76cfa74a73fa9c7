//! The lab: worlds in which the shipped core is run, broken and watched.
//!
//! - [`netns`]: the real daemons on this machine's kernel, in network namespaces of their own.
//! - [`demo`]: the story that `cargo demo` plays there.
//! - [`idle`]: what the daemons cost while nothing happens.
//! - [`mutants`]: the protocol with each rule half broken, and what notices it.
//! - [`fault`]: what can be done to a cluster.
//! - [`properties`]: what must be true at every moment.
//! - [`show`]: a run from its trace, for people.
//! - [`world`]: members, kernels, links and an adversary, for the model checker.
//! - [`model`]: the exhaustive searches of that world.
//! - [`replay`]: recorded runs through the core again.
//! - [`turmoil`]: the shipped driver on a simulated network, clock and kernel.
//! - [`vms`]: real machines with the shipped unit files.
//! - [`sweep`]: many seeds of the simulator, each with faults that nobody chose.
pub mod demo;
pub mod fault;
pub mod idle;
pub mod liveness;
#[cfg(feature = "worlds")]
pub mod model;
#[cfg(feature = "worlds")]
pub mod mutants;
pub mod netns;
#[cfg(feature = "worlds")]
pub mod properties;
pub mod replay;
pub mod show;
#[cfg(feature = "worlds")]
pub mod sweep;
#[cfg(feature = "worlds")]
pub mod turmoil;
#[cfg(feature = "worlds")]
pub mod vms;
#[cfg(feature = "worlds")]
pub mod world;

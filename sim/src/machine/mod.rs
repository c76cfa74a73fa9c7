//! Real daemons: on this machine's kernel, in network namespaces of their own, and on machines of
//! their own.
//!
//! - [`netns`]: hosts, faults and probes in network namespaces.
//! - [`demo`]: the story that `cargo demo` plays there.
//! - [`idle`]: what the daemons cost while nothing happens.
//! - [`takeover`]: how long many addresses take to move.
//! - [`load`]: many clusters against one witness, and floods.
//! - [`vms`]: real machines with the shipped unit files.
pub mod demo;
pub mod idle;
pub mod load;
pub mod netns;
pub mod takeover;
#[cfg(feature = "worlds")]
pub mod vms;

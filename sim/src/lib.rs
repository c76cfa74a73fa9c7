//! The lab: worlds in which the shipped core is run, broken and watched.
//!
//! - [`netns`]: the real daemons on this machine's kernel, in network namespaces of their own.
//! - [`demo`]: the story that `cargo demo` plays there.
//! - [`idle`]: what the daemons cost while nothing happens.
//! - [`mutants`]: the protocol with each rule half broken, and what notices it.
//! - [`story`]: a run as people read it.
pub mod demo;
pub mod idle;
pub mod mutants;
pub mod netns;
pub mod story;

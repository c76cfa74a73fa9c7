//! The proof: exhaustive walks of a [world] under named adversaries.
//!
//! Two searches that share nothing but the world: our own, breadth first, over [packed](search) and
//! [remembered](memo) worlds, which finds shortest traces; and [stateright]'s.

pub mod check;
pub mod configs;
pub mod memo;
mod moments;
mod packing;
pub mod report;
pub mod search;
mod seen;
pub mod stateright;
pub mod trace;
pub mod world;

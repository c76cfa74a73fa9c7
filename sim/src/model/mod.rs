//! The exhaustive searches.

pub mod configs;
pub mod memo;
pub mod search;

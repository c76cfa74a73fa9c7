//! A run as people see it, from its trace, whichever world it was in.
//!
//! - [`timeline`]: who answers, from when to when.
//! - [`story`]: a run, step by step, with what was true after each.
//! - [`terminal`]: a story in characters.
//! - [`page`]: traces as a page for a browser (`cargo lab report`).
//!
//! It never knows a world, or has a rule of its own. What members believe is asked of replayed
//! nodes.

pub mod page;
pub mod story;
mod terminal;
pub mod timeline;
mod words;

pub use terminal::terminal;

//! The `onehold` binary.

fn main() {}

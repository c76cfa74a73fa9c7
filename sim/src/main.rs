//! The `onehold-lab` binary.

fn main() {}

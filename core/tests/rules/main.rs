//! Each rule of the protocol as timelines, whose names carry the rule's number. Many test a part of
//! a rule that no property of who holds can see: without it the protocol goes on.

mod campaign;
mod change;
mod clock;
mod conflict;
mod freeze;
mod handover;
mod holding;
mod incarnations;
mod members;
mod opening;
mod pace;
mod probes;
mod sleep;
mod strangers;
mod survivor;
mod votes;
#[path = "../world/mod.rs"]
mod world;

use onehold_core::config::Spec;
use world::{MAJORITY, spec};

/// Three members, and a group that no sick one may hold.
fn strict() -> Spec {
    let mut strict = spec(3, MAJORITY);
    strict.groups[0].release_when_unhealthy = true;
    strict
}

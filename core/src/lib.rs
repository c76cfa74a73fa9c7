//! The failover protocol of Onehold, sans-IO: all of it, and nothing else.
//!
//! ```text
//!             bytes                  Authentic<Advert>           Effects
//!  socket ──────────▶ auth::open ──────────▶ Node::handle ──────────▶ whoever runs it
//! ```
//!
//! A [`Node`] is one member's whole protocol state. It is told what happened ([`input::Input`]) and
//! when, and says what is to be done ([`effect::Effect`]), in order. The rules R-0 to R-18 are cited
//! where they are implemented.
//!
//! What this crate never does: read a clock, open a socket, touch a kernel, draw a random number,
//! allocate while nothing changes, panic on any datagram. There is no second implementation of any
//! rule, and no branch for tests.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::wildcard_enum_match_arm
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod advert;
pub mod auth;
pub mod config;
mod conflict;
pub mod effect;
mod group;
mod handover;
pub mod input;
pub mod lease;
pub mod node;
pub mod observe;
pub mod reject;
mod role;
mod session;
mod silence;
pub mod time;
mod vote;
pub mod wire;

pub use node::Node;

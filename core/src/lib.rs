//! The failover protocol of Onehold, sans-IO: all of it, and nothing else.
//!
//! ```text
//!             bytes                  Authentic<Advert>           Effects
//!  socket ──────────▶ auth::open ──────────▶ Node::handle ──────────▶ whoever runs it
//! ```
//!
//! A [`Node`] is one member's whole protocol state. It is given what happened ([`input::Input`])
//! and when, and returns what to do ([`effect::Effect`]), in order. The rules R-0 to R-22 are cited
//! where they are implemented.
//!
//! Two members, with no network between them but these lines:
//!
//! ```
//! use onehold_core::advert::Incarnation;
//! use onehold_core::auth::{self, Key, Keys};
//! use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
//! use onehold_core::effect::Effect;
//! use onehold_core::input::Input;
//! use onehold_core::lease::TimingSpec;
//! use onehold_core::time::{LocalTime, Span};
//! use onehold_core::{Node, observe::RoleName};
//!
//! let member = |name: &str| MemberSpec { name: name.into(), witness: false, addresses: vec![] };
//! let spec = Spec {
//!     cluster: "demo".into(),
//!     members: vec![member("lb0"), member("lb1")],
//!     groups: vec![GroupSpec::new("web", vec![Prefix::new([10, 0, 0, 50], 24)], "lb0")],
//!     arbitration: Arbitration::Majority,
//!     timing: TimingSpec::default(),
//! };
//! let configs = [spec.prove("lb0").unwrap(), spec.prove("lb1").unwrap()];
//! let keys = Keys::new(Key::new(b"a secret of both"), vec![]);
//! let start = LocalTime::from_nanos(0);
//! let incarnation = |n: usize| Incarnation(n as u64 + 1);
//! let mut nodes = [0, 1].map(|n| Node::start(&configs[n], incarnation(n), start, Span::ZERO));
//! let mut wire: Vec<(usize, Vec<u8>)> = vec![]; // for whom, and what
//! for ms in 0..1_000 {
//!     let now = start.plus(Span::from_millis(ms));
//!     let mut happened: Vec<(usize, Input)> = vec![];
//!     for (n, bytes) in wire.drain(..) {
//!         let advert = auth::open(&keys, configs[n].cluster(), &bytes).unwrap();
//!         happened.push((n, Input::Received(advert)));
//!     }
//!     happened.extend([(0, Input::Wake), (1, Input::Wake)]);
//!     for (n, input) in happened {
//!         let mut out = vec![];
//!         let _ = nodes[n].handle(&configs[n], now, input, &mut out);
//!         for effect in out {
//!             if let Effect::Send { advert, .. } = effect {
//!                 let mut bytes = vec![];
//!                 auth::seal(&keys, &advert, &mut bytes);
//!                 wire.push((1 - n, bytes));
//!             }
//!         }
//!     }
//! }
//! let end = start.plus(Span::from_millis(999));
//! let role = |n: usize| nodes[n].observe(&configs[n], end).groups[0].role;
//! assert_eq!((role(0), role(1)), (RoleName::Holder, RoleName::Standby));
//! ```
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
mod change;
pub mod config;
mod conflict;
pub mod effect;
mod few;
mod group;
mod handover;
pub mod input;
pub mod keyring;
pub mod lease;
pub mod node;
pub mod observe;
mod probe;
pub mod reject;
mod role;
mod session;
mod silence;
pub mod time;
mod view;
mod vote;
pub mod wire;

pub use node::Node;

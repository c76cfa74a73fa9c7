//! The failover protocol of Onehold, sans-IO.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod advert;
pub mod auth;
pub mod config;
pub mod effect;
mod group;
pub mod input;
pub mod lease;
pub mod node;
pub mod observe;
pub mod reject;
mod role;
mod session;
pub mod time;
mod vote;
pub mod wire;

pub use node::Node;

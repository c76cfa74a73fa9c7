//! `onehold upgrade`: the same incarnation goes on in another program of the same process.
//!
//! An operator's client, started from the new binary, is shown the state of the daemon, has the new
//! program read it, and hands back what that says of it, with the binary. If that is what the daemon
//! says of itself, then at the next quiet moment the daemon writes its state once more and becomes
//! that program, which goes on with it: no quarantine, for nothing is forgotten; no hold ends, for its
//! gate is in the kernel. What fails before the first turn of the new program leads back to the old one.
//!
//! What this never does: start a process in the daemon; take a state whose version is not known, or of
//! which anything would be lost.

mod handles;
pub(crate) mod pairs;
mod proof;
pub(crate) mod session;
mod state;

pub use handles::Inherited;
pub(crate) use handles::{into_netlink, let_signals_in};
pub use proof::{Proof, check};
pub(crate) use session::refusal;
pub use session::{Ask, Client, Take, upgrade};
pub use state::{Offer, State, Taken, World, take_over};

pub(crate) use state::{become_next, go_back, hold_signals};

//! The daemon, the witness and the control client: the checked core on UDP sockets and netlink.

pub mod address;
pub mod announce;
pub mod cli;
pub mod clock;
pub mod config_file;
pub mod control;
pub mod daemon;
pub mod driver;
pub mod guard;
pub mod kernel;
pub mod life;
pub mod linux;
pub mod lock;
pub mod metrics;
pub mod neighbour;
pub mod netlink;
pub mod notify;
pub mod orders;
pub mod pace;
mod queue;
mod readiness;
mod realtime;
pub mod secret;
pub mod socket;
pub mod status;
pub mod telemetry;
pub mod trace;

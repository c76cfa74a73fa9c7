//! The daemon, the witness and the control client: the checked core on UDP sockets and netlink.

pub mod cli;
pub mod config_file;
pub mod control;
pub mod daemon;
pub mod metrics;
pub mod notify;
pub mod secret;
pub mod status;
pub mod telemetry;

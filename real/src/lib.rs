//! The daemon, the witness and the control client: the checked core on UDP sockets and netlink.

pub mod config_file;
pub mod control;
pub mod metrics;
pub mod secret;
pub mod status;

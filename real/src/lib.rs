//! The daemon, the witness and the control client: the checked core on UDP sockets and netlink.

pub mod address;
pub mod announce;
pub mod guard;
pub mod kernel;
pub mod netlink;

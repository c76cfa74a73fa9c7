//! A world of network namespaces on this machine's kernel: hosts on one bridge, real processes in
//! them, faults between them, and probes that watch from outside.
//!
//! ```text
//!  lb0   lb1   witness   client   observer     a Host each: own network and mount namespace
//!   │     │       │        │         │         eth0, one end of a veth pair
//! ──┴─────┴───────┴────────┴─────────┴──       the Lan: a bridge in a namespace of its own;
//!                                              nftables on it cuts, isolates and loses
//! ```
//!
//! Nothing here leaves a trace. A namespace has no name: it exists as long as the thread of its
//! [`space::Space`] and the processes in it, and these die with that thread ([`Host::spawn`]).
//! Files live in a tmpfs that only these threads see. So a lab that is killed is gone, whole.
//!
//! No probe reads a log or asks a daemon: [`Observer`] asks the network who has the address,
//! [`Fetcher`] fetches a page from it.

mod background;
pub mod binary;
mod census;
pub(crate) mod cluster;
mod fetcher;
pub mod foreign;
mod host;
mod lan;
mod link;
mod netlink;
mod nftables;
mod observer;
mod packet;
mod priority;
pub mod privilege;
mod process;
mod setup;
pub mod space;
pub mod web;

pub use census::{Census, Seen};
pub use cluster::Cluster;
pub use fetcher::{Fetch, Fetcher, PATIENCE, Service};
pub use host::{Host, HostSpec};
pub use lan::Lan;
pub use link::Mac;
pub use observer::{Change, Observer, Round, Sightings, changes, dual_time, holder};
pub use process::Process;
pub use setup::{CANDIDATES, FLOATING, Group, SECOND, SPARE, Setup, Witness};
pub use web::{PIDFILE, Web, serve_on};

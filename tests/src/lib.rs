//! The harness of the whole-program tests: real release binaries, in network namespaces of their
//! own, watched from the network.
//!
//! ```no_run
//! use onehold_tests::{Begin as _, Setup};
//!
//! let mut cluster = Setup::majority().start(); // lb0 holds, as the preferred one
//! cluster.kill("lb0");
//! cluster.hold_on("lb1"); // waits for it; panics if ever two held, or if it never comes
//! ```
//!
//! Who holds is asked of the network, never of a daemon. Every wait has one generous bound,
//! [`PATIENCE`], and ends as soon as what is awaited has come. A [`Cluster`] leaves nothing
//! behind, also when its test panics; then it prints the logs of its daemons.

pub mod binaries;
mod client;
mod cluster;
mod debian;
mod ndp;
mod tap;

pub use client::Client;
pub use cluster::{Begin, Cluster, Mark};
pub use debian::Debian;
pub use ndp::Neighbours;
pub use onehold_sim::netns::Setup;
pub use tap::{Datagram, Tap, false_name, send_as};

use std::io::Write as _;
use std::panic::Location;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An ordinary user without any privilege, not even to become another user.
pub const ORDINARY: [&str; 8] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--no-new-privs",
    "--",
];

/// Whether this is the root of the machine, and not only that of a user namespace: who may become
/// another user, and load BPF programs.
#[must_use]
pub fn is_machine_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    whole && onehold_sim::netns::privilege::is_root()
}

/// Reports that something in the calling test does not run, and why, even if the test passes.
pub fn not_run(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "not run: {test}: {why}");
}

/// Waits until `come` gives something, and returns it.
///
/// # Panics
/// If it does not come within [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut come: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = come() {
            return it;
        }
        if Instant::now() > until {
            panic!("{}: never came: {what}", Location::caller());
        }
        sleep(Duration::from_millis(20));
    }
}

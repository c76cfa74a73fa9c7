//! A client that asks all the time, and must not notice what is done.

use crate::{Cluster, binaries, eventually};
use onehold_sim::netns::{Fetcher, PATIENCE, Process, serve_on};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the client asks.
const PACE: Duration = Duration::from_millis(5);

/// A client that asks an address all the time, and whoever serves it.
pub struct Client {
    fetcher: Fetcher,
    from: Instant,
    _servers: [Process; 2],
}

impl Client {
    /// It has its first answer.
    #[track_caller]
    #[must_use]
    pub fn asks(c: &Cluster, address: Ipv4Addr) -> Self {
        let at = SocketAddr::from((address, 80));
        let serve = |name| {
            let bind = "echo 1 > /proc/sys/net/ipv4/ip_nonlocal_bind";
            c.ok(name, &["sh", "-c", bind]);
            serve_on(c.host(name), binaries::onehold_lab(), at).expect("a server")
        };
        let servers = ["lb0", "lb1"].map(serve);
        let fetcher = Fetcher::start(c.host("client"), at, PACE, &["lb0", "lb1"]);
        let fetcher = fetcher.expect("a client");
        eventually("an answer", || fetcher.last_answer());
        Self {
            fetcher,
            from: Instant::now(),
            _servers: servers,
        }
    }

    /// Nothing that it asked since then was in vain.
    #[track_caller]
    pub fn is_content(&mut self) {
        let to = Instant::now();
        sleep(PATIENCE);
        let service = self.fetcher.service(self.from, to);
        eprintln!("{service:?}");
        assert_eq!(service.failed, 0, "{service:?}");
        assert!(service.requests > 50, "{service:?}");
        self.from = Instant::now();
    }
}

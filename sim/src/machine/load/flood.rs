//! Datagrams that no member sends, as fast as wanted.

use super::Options;
use super::candidates::Candidates;
use crate::error::{Context, Result, err};
use onehold::socket::batch::Outbox;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

/// How often something is sent.
const STEP: Duration = Duration::from_millis(1);
/// From so many addresses and ports at a time.
pub(super) const SENDERS: usize = 8;

/// A flood, until it is dropped.
pub(super) struct Flood {
    rate: u32,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a flood is made of, from one datagram that a member sent: forged (its seal does not fit),
/// replayed, cut short, and foreign.
pub(super) fn kinds(recorded: &[u8]) -> Vec<Vec<u8>> {
    let mut forged = recorded.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let cut = recorded[..recorded.len() / 2].to_vec();
    let foreign = recorded.iter().map(|byte| !byte).collect();
    vec![forged, recorded.to_vec(), cut, foreign]
}

impl Flood {
    /// At the witness of a load.
    pub(super) fn start(
        options: &Options,
        candidates: &Candidates,
        target: SocketAddr,
    ) -> Result<Self> {
        let sockets: Vec<UdpSocket> = match options.spoofed {
            true => {
                let own = candidates.sockets().map(UdpSocket::try_clone);
                own.collect::<std::io::Result<_>>()
                    .context(|| "the flood's sockets")?
            }
            false => strangers(Ipv4Addr::LOCALHOST)?,
        };
        Ok(Self::of(
            options.flood,
            sockets,
            kinds(&candidates.recorded),
            target,
        ))
    }

    /// So many in a second, by turns of each kind and from each socket.
    pub(super) fn of(
        rate: u32,
        sockets: Vec<UdpSocket>,
        kinds: Vec<Vec<u8>>,
        target: SocketAddr,
    ) -> Self {
        let (sent, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, end) = (Arc::clone(&sent), Arc::clone(&stop));
        let run = move || flood(rate, &sockets, &kinds, target, &count, &end);
        let thread = (rate > 0).then(|| spawn(run));
        Self {
            rate,
            sent,
            stop,
            thread,
        }
    }

    /// How many were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Nothing follows from a flood that the network refused.
    pub(super) fn was_sent(&self) -> Result<()> {
        match (self.rate, self.sent()) {
            (1.., 0) => Err(err("the network refused the flood: nothing of it was sent")),
            _ => Ok(()),
        }
    }

    /// Ends it.
    pub(super) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a loop can't panic
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sockets of nobody that is known.
pub(super) fn strangers(at: Ipv4Addr) -> Result<Vec<UdpSocket>> {
    let bind = |_| UdpSocket::bind((at, 0)).context(|| at);
    let all = (0..SENDERS).map(bind);
    all.collect()
}

fn flood(
    rate: u32,
    sockets: &[UdpSocket],
    kinds: &[Vec<u8>],
    target: SocketAddr,
    sent: &AtomicU64,
    stop: &AtomicBool,
) {
    let (began, mut done) = (Instant::now(), 0);
    let mut outbox = Outbox::new();
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while done < due {
            // Batches of one socket, of all kinds.
            let socket = &sockets[done as usize / 32 % sockets.len()];
            let mut refused = 0;
            for _ in 0..32 {
                let kind = &kinds[done as usize % kinds.len()];
                outbox.push(kind, target, ());
                done += 1;
            }
            outbox.send(socket, |(), _| refused += 1);
            sent.fetch_add(32 - refused, Ordering::Relaxed);
        }
        sleep(STEP);
    }
}

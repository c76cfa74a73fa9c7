//! A client that fetches a page all the time.
//!
//! Every `pace` it opens a *new* connection, whether earlier ones were answered or not, so a SYN
//! that is lost (and sent again only after a second) delays nothing but its own request. A request
//! fails if it is not answered within [`PATIENCE`].
//!
//! **Service outage.** The longest time between two consecutive successful answers, less the time
//! between two requests: 0 if every request was answered in turn. The latter is the pace, unless
//! the client itself was late; it is taken from the requests in which
//! the outage began and ended.

use super::background::Background;
use super::host::Host;
use super::priority;
use crate::error::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a request may take. Well below the second after which a lost SYN is sent again.
pub const PATIENCE: Duration = Duration::from_millis(400);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: onehold\r\nConnection: close\r\n\r\n";

/// One request that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// When its connection was opened.
    pub asked: Instant,
    /// When it was answered; `None` if it failed.
    pub answered: Option<Instant>,
    /// By which of the servers; `None` if it failed, or if somebody else answered.
    pub by: Option<usize>,
}

/// What the client saw in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// The longest time between two answers, less the pace.
    pub outage: Duration,
    /// Requests begun in that stretch that failed.
    pub failed: usize,
    /// Requests begun in that stretch that are over.
    pub requests: usize,
}

impl Service {
    /// What `fetches` say of the service from one instant to another. An answer that came before
    /// `from` counts as the one that an outage begins with.
    #[must_use]
    pub fn of(fetches: &[Fetch], from: Instant, to: Instant, pace: Duration) -> Self {
        let mut asked: Vec<Instant> = fetches.iter().map(|f| f.asked).collect();
        asked.sort_unstable();
        let mut answers: Vec<(Instant, Instant)> = fetches
            .iter()
            .filter_map(|f| Some((f.answered?, f.asked)))
            .filter(|(answered, _)| *answered < to)
            .collect();
        answers.sort_unstable();
        let first = answers.partition_point(|(answered, _)| *answered < from);

        let start = (from, from); // stands in for the answer before the first, and a request then
        let before = answers[..first].last().copied().unwrap_or(start);
        let after = answers[first..].iter().copied();
        let mut outage = Duration::ZERO;
        let mut last = before;
        for next in after {
            let (began, ended) = (last.1, next.1);
            let second = asked[asked.partition_point(|at| *at <= began)..].first();
            let last_but_one = asked[..asked.partition_point(|at| *at < ended)].last();
            let step = match (second, last_but_one) {
                (Some(second), Some(before)) if began < ended => {
                    (second.saturating_duration_since(began) + (ended - *before)) / 2
                }
                _ => pace,
            };
            outage = outage.max((next.0 - last.0).saturating_sub(step.max(pace)));
            last = next;
        }
        outage = outage.max(to.saturating_duration_since(last.0).saturating_sub(pace));
        let within = || fetches.iter().filter(|f| (from..to).contains(&f.asked));
        Self {
            outage,
            failed: within().filter(|f| f.answered.is_none()).count(),
            requests: within().count(),
        }
    }
}

/// The client, in a host of its own. It stops when it is dropped.
pub struct Fetcher {
    pace: Duration,
    fetches: Arc<Mutex<Vec<Fetch>>>,
    thread: Background,
}

impl Fetcher {
    /// Starts to fetch `http://at/` from `host`, every `pace`. Each of the `servers` answers with
    /// its name.
    ///
    /// # Errors
    /// If the host is off.
    pub fn start(
        host: &Host,
        at: SocketAddr,
        pace: Duration,
        servers: &[&'static str],
    ) -> Result<Self> {
        let servers = servers.to_vec();
        let fetches = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::clone(&fetches);
        let thread = host.call(move || {
            Background::start("fetcher", move |stop| {
                fetch(at, pace, &servers, &over, stop)
            })
            .context(|| "starting the client")
        })??;
        Ok(Self {
            pace,
            fetches,
            thread,
        })
    }

    /// What the client saw from one instant to another. Ask no sooner than [`PATIENCE`] after
    /// `to`, for until then requests may be open.
    #[must_use]
    pub fn service(&self, from: Instant, to: Instant) -> Service {
        Service::of(&lock(&self.fetches), from, to, self.pace)
    }

    /// When the last answer came.
    #[must_use]
    pub fn last_answer(&self) -> Option<Instant> {
        lock(&self.fetches).iter().rev().find_map(|f| f.answered)
    }

    /// When the first answer came to a request begun at `from` or later.
    #[must_use]
    pub fn first_answer(&self, from: Instant) -> Option<Instant> {
        let fetches = lock(&self.fetches);
        let later = fetches.iter().filter(|f| f.asked >= from);
        later.filter_map(|f| f.answered).min()
    }

    /// Forgets the requests from before `then`, and returns them.
    pub fn forget(&self, then: Instant) -> Vec<Fetch> {
        let mut fetches = lock(&self.fetches);
        let (before, rest) = fetches.drain(..).partition(|fetch| fetch.asked < then);
        *fetches = rest;
        before
    }

    /// Ends it, and returns what was not forgotten.
    #[must_use]
    pub fn end(self) -> Vec<Fetch> {
        drop(self.thread);
        std::mem::take(&mut *lock(&self.fetches))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request under way.
struct Open {
    asked: Instant,
    stream: TcpStream,
    sent: bool,
    answer: Vec<u8>,
}

fn fetch(
    at: SocketAddr,
    pace: Duration,
    servers: &[&str],
    over: &Mutex<Vec<Fetch>>,
    stop: &AtomicBool,
) {
    priority::raise();
    let mut open: Vec<Open> = Vec::new();
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= due {
            match connect(at) {
                Ok(stream) => open.push(Open {
                    asked: now,
                    stream,
                    sent: false,
                    answer: Vec::new(),
                }),
                Err(_) => lock(over).push(Fetch {
                    asked: now,
                    answered: None,
                    by: None,
                }),
            }
            due = (due + pace).max(now); // what it overslept is not made up for
        }
        let left = due.saturating_duration_since(Instant::now());
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut ready: Vec<PollFd<'_>> = open
            .iter()
            .map(|o| match o.sent {
                false => PollFd::new(&o.stream, PollFlags::OUT),
                true => PollFd::new(&o.stream, PollFlags::IN),
            })
            .collect();
        // Whatever comes of it: nothing is ready unless the kernel said so.
        let _ = poll(&mut ready, Some(&patience));
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        let now = Instant::now();
        let mut ready = ready.into_iter();
        open.retain_mut(|o| {
            let answered = match ready.next() {
                Some(true) => o.go_on(),
                _ if now - o.asked > PATIENCE => Some(false),
                _ => None,
            };
            if let Some(answered) = answered {
                let by =
                    |name: &&str| answered && o.answer.trim_ascii_end().ends_with(name.as_bytes());
                lock(over).push(Fetch {
                    asked: o.asked,
                    answered: answered.then_some(now),
                    by: servers.iter().position(by),
                });
            }
            answered.is_none()
        });
    }
}

/// Opens a connection without waiting for it. It is closed by a reset, which leaves no
/// `TIME_WAIT` behind to run out of ports with.
fn connect(at: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&at.into()) {
        Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(e),
        _ => Ok(socket.into()),
    }
}

impl Open {
    /// Does what the connection is ready for. Returns whether it was answered, once that is known.
    fn go_on(&mut self) -> Option<bool> {
        if !self.sent {
            self.sent = true;
            return match self.stream.write(REQUEST) {
                Ok(n) if n == REQUEST.len() => None,
                _ => Some(false),
            };
        }
        let mut bytes = [0; 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => Some(false),
            Ok(n) => {
                self.answer.extend_from_slice(&bytes[..n]);
                is_whole(&self.answer).then(|| self.answer.starts_with(b"HTTP/1.1 200 "))
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(false),
        }
    }
}

/// Whether the headers and the line that they announce are there.
fn is_whole(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n");
    end.is_some_and(|end| answer[end + 4..].ends_with(b"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_time_between_answers_less_the_pace() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let fetch = |asked, answered: Option<u64>| Fetch {
            asked: at(asked),
            answered: answered.map(at),
            by: None,
        };
        let fetches = [
            fetch(0, Some(1)),
            fetch(5, Some(6)),
            fetch(10, None),
            fetch(15, None),
            fetch(20, Some(21)),
            fetch(25, Some(26)),
        ];
        let service = Service::of(&fetches, at(7), at(28), Duration::from_millis(5));
        assert_eq!(service.outage, Duration::from_millis(10));
        assert_eq!((service.failed, service.requests), (2, 4));
        let service = Service::of(&fetches, at(22), at(60), Duration::from_millis(5));
        assert_eq!(
            service.outage,
            Duration::from_millis(29),
            "still open at the end"
        );
    }

    #[test]
    fn a_client_that_was_late_itself_has_seen_no_gap() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let fetch = |asked, answered| Fetch {
            asked: at(asked),
            answered: Some(at(answered)),
            by: None,
        };
        let pace = Duration::from_millis(5);
        let outage = |fetches: &[Fetch]| Service::of(fetches, at(0), at(32), pace).outage;
        let late = [fetch(0, 1), fetch(5, 6), fetch(25, 26), fetch(30, 31)];
        assert_eq!(outage(&late), Duration::ZERO);
        let slow = [fetch(0, 1), fetch(5, 6), fetch(10, 26), fetch(15, 27)];
        assert_eq!(
            outage(&slow),
            Duration::from_millis(15),
            "a slow answer is one"
        );
    }
}

//! A way to a member: the socket that it goes by, and what the network refused to carry over it.

use super::end::words;
use super::{End, SILENT};
use crate::clock::boottime;
use crate::config_file::Path;
use onehold_core::time::LocalTime;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

/// A way to a member.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) remote: SocketAddr,
    pub(super) by: By,
    pub(super) refusals: Refusals,
    /// Since when this host itself has let nothing leave there, and why.
    pub(super) kept_in: Option<(LocalTime, KeptIn)>,
}

/// By which socket something goes over a way.
#[derive(Debug)]
pub(super) enum By {
    /// Its own. Not connected before there is a route, and our address is on this host: both may
    /// come later, as at boot.
    Own { end: usize, connected: bool },
    /// One of several that others use, too: by whether the peer was heard lately.
    Lane {
        silent: usize,
        heard: usize,
        heard_at: Option<LocalTime>,
    },
}

/// What the network refused to carry over a way, as far as this host was notified. For people only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// How many datagrams, or a few less.
    pub count: u64,
    /// When the last was, and why.
    pub last: Option<(LocalTime, String)>,
}

impl Refusals {
    pub(super) fn add(&mut self, error: &io::Error) {
        self.count += 1;
        let why = words(error);
        match &mut self.last {
            Some((at, last)) if *last == why => *at = boottime(),
            last => *last = Some((boottime(), why.into_owned())),
        }
    }
}

/// Why nothing leaves this host, by its own kernel's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptIn {
    /// There is no route.
    Unrouted,
    /// A firewall forbids it.
    Forbidden,
}

impl KeptIn {
    fn of(error: &io::Error) -> Option<Self> {
        match error.kind() {
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Some(Self::Unrouted),
            _ if error.raw_os_error() == Some(libc::EPERM) => Some(Self::Forbidden),
            _ => None,
        }
    }
}

impl Way {
    pub(super) fn new(remote: SocketAddr, by: By) -> Self {
        Self {
            remote,
            by,
            refusals: Refusals::default(),
            kept_in: None,
        }
    }

    pub(super) fn path(&self, ends: &[Option<End>]) -> Option<Path> {
        let (By::Own { end, .. } | By::Lane { silent: end, .. }) = self.by;
        let local = ends.get(end)?.as_ref()?.local;
        let remote = self.remote;
        Some(Path { local, remote })
    }

    /// The socket that it shares with others, if it does.
    pub(super) fn lane(&self, now: LocalTime) -> Option<usize> {
        match self.by {
            By::Own { .. } => None,
            By::Lane {
                silent,
                heard,
                heard_at,
            } => {
                let lately = heard_at.is_some_and(|at| now < at.plus(SILENT));
                Some(if lately { heard } else { silent })
            }
        }
    }

    /// Its own socket, connected.
    pub(super) fn connect<'a>(&mut self, ends: &'a [Option<End>]) -> io::Result<&'a UdpSocket> {
        let By::Own { end, connected } = &mut self.by else {
            return Err(ErrorKind::NotConnected.into());
        };
        let end = ends.get(*end).and_then(Option::as_ref);
        let end = end.ok_or(ErrorKind::NotConnected)?;
        if !*connected {
            end.socket.connect(self.remote)?;
            *connected = true;
        }
        Ok(&end.socket)
    }

    pub(super) fn send(&mut self, ends: &[Option<End>], bytes: &[u8]) -> bool {
        let mut kept_in = None;
        for _ in 0..2 {
            match self.connect(ends).and_then(|socket| socket.send(bytes)) {
                Ok(_) => {
                    self.kept_in = None;
                    return true;
                }
                // It may have been the answer to an earlier one: this one was not sent then. The
                // second is the kernel's own word on this one.
                Err(e) => {
                    self.refusals.add(&e);
                    // Only this host's own firewall forbids so; where it rejects as well, its
                    // answer follows.
                    let forbidden = kept_in == Some(KeptIn::Forbidden);
                    kept_in = KeptIn::of(&e).filter(|_| !forbidden).or(kept_in);
                }
            }
        }
        let since = self.kept_in.map_or_else(boottime, |(since, _)| since);
        self.kept_in = kept_in.map(|why| (since, why));
        false
    }

    pub(super) fn send_note(&mut self, ends: &[Option<End>], bytes: &[u8]) -> bool {
        let By::Own {
            connected: true, ..
        } = self.by
        else {
            return false; // it comes with the next advert
        };
        let sent = self.connect(ends).and_then(|socket| socket.send(bytes));
        if let Err(e) = &sent {
            self.refusals.add(e); // it may have been the answer to an advert
        }
        sent.is_ok()
    }
}

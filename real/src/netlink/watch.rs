//! Notifications of changes: hints to look again.

use super::{Doing as _, HEADER, KernelError, messages, u32_at};
use netlink_sys::Socket;
use socket2::SockFilter;
use std::collections::BTreeSet;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How many notifications are read in a row.
const AT_ONCE: usize = 64;

/// Which interfaces something was said of.
#[derive(Debug, Default)]
pub struct Heard {
    interfaces: BTreeSet<u32>,
    /// Too much was said, or something was lost: of any.
    any: bool,
}

impl Heard {
    /// At most this many are distinguished.
    const MOST: usize = 256;

    fn note(&mut self, interface: Option<u32>) {
        match interface {
            Some(index) if self.interfaces.len() < Self::MOST => {
                self.interfaces.insert(index);
            }
            _ => self.any = true,
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.interfaces.is_empty() && !self.any
    }

    /// Whether something was said of this one, for all that is known.
    #[must_use]
    pub fn may_be_of(&self, index: u32) -> bool {
        self.any || self.interfaces.contains(&index)
    }

    /// Whether something was said of this one by name.
    #[must_use]
    pub fn is_of(&self, index: u32) -> bool {
        self.interfaces.contains(&index)
    }
}

/// A netlink socket that receives notifications of changes, and never waits.
pub struct Watch(Socket);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

impl std::os::fd::AsRawFd for Watch {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.as_raw_fd()
    }
}

impl Watch {
    /// Subscribes to rtnetlink multicast groups. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    #[allow(unsafe_code)] // AsyncFd has no safe constructor
    pub fn route(groups: &[u32]) -> Result<AsyncFd<Self>, KernelError> {
        let open = || -> io::Result<AsyncFd<Self>> {
            let mut socket = Socket::new(libc::NETLINK_ROUTE as isize)?;
            socket.bind_auto()?;
            socket.set_non_blocking(true)?;
            for group in groups {
                socket.add_membership(*group)?;
            }
            // SAFETY: the socket owns its descriptor, always the same one, until dropped.
            Ok(unsafe { AsyncFd::register_with_interest(Self(socket), Interest::READABLE)? })
        };
        open().doing(|| "watching interfaces and addresses".into())
    }

    /// Subscribes to what is said of routes with one protocol number. Of others none is delivered,
    /// however many come and go. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn routes(protocol: u8) -> Result<AsyncFd<Self>, KernelError> {
        const BYTE: u16 = 0x30;
        const JUMP_EQ: u16 = 0x15;
        const RETURN: u16 = 0x06;
        const PROTOCOL: u32 = HEADER as u32 + 5; // in struct rtmsg
        let filter = [
            SockFilter::new(BYTE, 0, 0, PROTOCOL),
            SockFilter::new(JUMP_EQ, 0, 1, u32::from(protocol)),
            SockFilter::new(RETURN, 0, 0, 0xffff),
            SockFilter::new(RETURN, 0, 0, 0),
        ];
        let watch = Self::route(&[])?;
        let subscribe = |watch: &mut Socket| -> io::Result<()> {
            socket2::SockRef::from(&*watch).attach_filter(&filter)?;
            [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE]
                .iter()
                .try_for_each(|group| watch.add_membership(*group))
        };
        let mut watch = watch;
        subscribe(&mut watch.get_mut().0).doing(|| "watching routes".into())?;
        Ok(watch)
    }

    /// Whether anything was said since the last call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was.
    pub fn heed(&self, scratch: &mut Vec<u8>) -> io::Result<()> {
        self.drain(scratch, &mut Heard::default())
    }

    /// Notes which interfaces something was said of since the last call. What was said is a hint
    /// only: whoever asks looks at the kernel's state itself, so that a lost message (`ENOBUFS`)
    /// loses nothing. Of a storm some is left for the next call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was.
    pub fn drain(&self, scratch: &mut Vec<u8>, heard: &mut Heard) -> io::Result<()> {
        let mut any = false;
        for _ in 0..AT_ONCE {
            scratch.clear();
            match self.0.recv(scratch, 0) {
                // Of an interface, an address or a filter: the interface's number is in the same
                // place.
                Ok(_) => messages(scratch).for_each(|m| heard.note(u32_at(m.payload, 4))),
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => heard.note(None),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && any => return Ok(()),
                Err(e) => return Err(e),
            }
            any = true;
        }
        Ok(())
    }
}

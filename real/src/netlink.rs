//! A small blocking netlink client: build a request, send it, wait for the kernel's answer.
//!
//! One builder serves rtnetlink (links, addresses, tc) and nfnetlink (nftables), for the requests
//! that Onehold makes are few and two of the four kinds have no crate that builds them. Every
//! request is acknowledged or fails; nothing waits longer than [`PATIENCE`].

use crate::upgrade::into_netlink;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

mod watch;

pub use watch::{Heard, Watch};

/// How long the kernel may take to answer. It answers within the system call, so this only ends
/// a wait for an answer that was lost.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The largest request that is surely asked for room for.
const LARGEST: usize = 2 << 20;

/// How often a list is asked for again that changed while it was read.
const LISTS: u32 = 16;

const HEADER: usize = 16;
const ALIGN: usize = 4;

pub use libc::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};

/// A refusal of the kernel's: what was asked of it, its errno, its own words, and a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}{words}{}", remedy(.cause, .words))]
pub struct KernelError {
    /// What was asked, naming the object: `adding 192.0.2.1/32 to lan0`.
    pub doing: String,
    /// The errno.
    #[source]
    pub cause: io::Error,
    /// What the kernel said besides, with its separator; or nothing.
    pub words: String,
}

impl KernelError {
    /// The error of `doing`.
    pub fn new(doing: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self {
            doing: doing.into(),
            cause: cause.into(),
            words: String::new(),
        }
    }

    /// The error of `doing`, when it was not the kernel that refused it.
    pub fn refused(doing: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(doing, io::Error::other(why.into()))
    }

    /// The errno, if there is one.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.cause.raw_os_error().unwrap_or(0)
    }
}

/// What the operator can do about an errno.
fn remedy(cause: &io::Error, words: &str) -> String {
    match cause.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => permission(words),
        Some(libc::ENODEV | libc::ENXIO) => {
            "; the interface is gone: check its name and state".to_owned()
        }
        Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ENOSYS) => {
            "; this kernel lacks it: load the module or use a newer kernel".to_owned()
        }
        Some(libc::ENOMEM | libc::ENOBUFS) => "; the kernel is out of memory for it".to_owned(),
        Some(libc::EAGAIN) => "; the kernel did not answer in time".to_owned(),
        _ => String::new(),
    }
}

/// What is missing to be permitted: capabilities, unless the process has all that it ever needs.
/// Then the kernel's own words say more than we can guess.
fn permission(words: &str) -> String {
    use rustix::thread::{CapabilitySet, capabilities};
    let needed = [
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
        (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
        (CapabilitySet::BPF, "CAP_BPF"),
    ];
    let Ok(has) = capabilities(None) else {
        return String::new();
    };
    let missing: Vec<&str> = (needed.iter())
        .filter(|(capability, _)| !has.effective.contains(*capability))
        .map(|(_, name)| *name)
        .collect();
    if !missing.is_empty() {
        return format!("; give the process {}", missing.join(" and "));
    }
    if !words.is_empty() {
        return String::new();
    }
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        "; it has the capabilities: a seccomp filter, a security module or a locked-down kernel \
         refuses it"
    } else {
        "; in a user namespace CAP_BPF and the like do not reach as far as that"
    }
    .to_owned()
}

/// Adds what was being done to an [`io::Result`].
pub trait Doing<T> {
    /// Names the operation and its object; only evaluated on failure.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, KernelError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, KernelError> {
        self.map_err(|cause| KernelError::new(what(), cause))
    }
}

impl<T> Doing<T> for Result<T, Refusal> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, KernelError> {
        self.map_err(|r| KernelError {
            doing: what(),
            cause: r.cause,
            words: r.words,
        })
    }
}

/// A request that failed: the errno and the kernel's own words, if it had any.
#[derive(Debug)]
pub struct Refusal {
    cause: io::Error,
    words: String,
}

impl Refusal {
    /// A refusal with the kernel's own words.
    #[must_use]
    pub fn in_words(cause: io::Error, words: &str) -> Self {
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(" ({words})")
        };
        Self { cause, words }
    }

    /// The errno, or 0.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.cause.raw_os_error().unwrap_or(0)
    }
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        Self {
            cause,
            words: String::new(),
        }
    }
}

/// One or more netlink messages being built in one reusable buffer.
#[derive(Debug, Default)]
pub struct Request {
    buf: Vec<u8>,
    /// Where the message being built begins.
    at: usize,
    messages: u32,
}

impl Request {
    /// An empty request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all messages and keeps the memory.
    pub fn clear(&mut self) -> &mut Self {
        self.buf.clear();
        self.messages = 0;
        self
    }

    /// Begins a message with its family's fixed header. `NLM_F_REQUEST` is implied.
    pub fn message(&mut self, kind: u16, flags: i32, fixed: &[u8]) -> &mut Self {
        self.at = self.buf.len();
        self.messages += 1;
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or(0);
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(&flags.to_ne_bytes());
        self.buf.extend_from_slice(&[0; 8]); // sequence, port: Netlink::send writes the former
        self.append(fixed)
    }

    /// Ends a batch: with a message that the kernel does not answer.
    pub fn end(&mut self, kind: u16, fixed: &[u8]) -> &mut Self {
        self.message(kind, 0, fixed);
        self.messages -= 1;
        self
    }

    /// Adds an attribute.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let len = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.buf.extend_from_slice(&len.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.append(payload)
    }

    /// Adds an attribute that is a NUL-terminated string.
    pub fn string(&mut self, kind: u16, text: &str) -> &mut Self {
        let len = u16::try_from(text.len() + 5).unwrap_or(u16::MAX);
        self.buf.extend_from_slice(&len.to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(text.as_bytes());
        self.append(&[0])
    }

    /// Adds a 32-bit attribute in host order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit attribute in network order, as nftables wants them.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds those that `fill` adds.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.buf.len();
        self.attr(kind | NLA_F_NESTED, &[]);
        fill(self);
        let len = u16::try_from(self.buf.len() - at).unwrap_or(u16::MAX);
        self.buf[at..at + 2].copy_from_slice(&len.to_ne_bytes());
        self.seal()
    }

    /// The only message without its netlink header: what some attributes have as payload.
    #[must_use]
    pub fn bytes_after_header(&self) -> &[u8] {
        self.buf.get(HEADER..).unwrap_or(&[])
    }

    fn append(&mut self, bytes: &[u8]) -> &mut Self {
        self.buf.extend_from_slice(bytes);
        while !self.buf.len().is_multiple_of(ALIGN) {
            self.buf.push(0);
        }
        self.seal()
    }

    /// Keeps the length of the message being built true.
    fn seal(&mut self) -> &mut Self {
        let len = u32::try_from(self.buf.len() - self.at).unwrap_or(u32::MAX);
        self.buf[self.at..self.at + 4].copy_from_slice(&len.to_ne_bytes());
        self
    }
}

const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE: u16 = 0x3fff;

/// The attributes in `bytes`, as far as they are well-formed.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE;
        let payload = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some((kind, payload))
    })
}

/// The payload of the first attribute of that kind.
#[must_use]
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, payload)| payload)
}

/// A string attribute without its NUL.
#[must_use]
pub fn text(payload: &[u8]) -> &str {
    std::str::from_utf8(payload.split(|b| *b == 0).next().unwrap_or(&[])).unwrap_or("")
}

/// 16 bits in host order.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..at + 2)?
        .try_into()
        .ok()
        .map(u16::from_ne_bytes)
}

/// 32 bits in host order.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .try_into()
        .ok()
        .map(u32::from_ne_bytes)
}

/// A netlink socket for requests.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    inbox: Vec<u8>,
    /// An answer was not read to its end: until then the kernel makes no other list (`EBUSY`).
    unread: bool,
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Netlink {
    /// Opens a socket of a netlink family such as `libc::NETLINK_ROUTE`.
    ///
    /// # Errors
    /// When the kernel lacks the family.
    pub fn open(family: i32) -> Result<Self, KernelError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(family as isize)?;
            socket.bind_auto()?;
            socket2::SockRef::from(&socket).set_read_timeout(Some(PATIENCE))?;
            // A batch for hundreds of interfaces must fit; where less is permitted, that is what
            // fits.
            let _ = socket2::SockRef::from(&socket).set_send_buffer_size(LARGEST);
            // And so must its refusals, if each of a thousand messages is refused; it takes
            // CAP_NET_ADMIN.
            let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, LARGEST);
            // Both only make errors better: an old kernel without them will do.
            let _ = socket.set_ext_ack(true);
            let _ = socket.set_cap_ack(true);
            Ok(socket)
        };
        let socket = open().doing(|| format!("opening netlink family {family}"))?;
        Ok(Self {
            socket,
            sequence: 0,
            inbox: Vec::with_capacity(1 << 16),
            unread: false,
        })
    }

    /// The socket of the former program of this process. Who owns something in the kernel is known by
    /// it.
    pub(crate) fn inherit(fd: OwnedFd, sequence: u32) -> Self {
        Self {
            socket: into_netlink(fd),
            sequence,
            inbox: Vec::with_capacity(1 << 16),
            unread: false,
        }
    }

    /// What goes on in another program of this process: its descriptor, and what was sent last.
    pub(crate) fn carried(&self) -> (RawFd, u32) {
        (self.socket.as_raw_fd(), self.sequence)
    }

    /// The same for a dump that names what of it is wanted: since Linux 4.20 the kernel returns no
    /// more than that.
    ///
    /// # Errors
    /// When the kernel lacks the family.
    pub fn open_for_lists(family: i32) -> Result<Self, KernelError> {
        let this = Self::open(family)?;
        let _ = this.socket.set_netlink_get_strict_chk(true);
        Ok(this)
    }

    /// Sends a request and waits until the kernel has answered its last message, which must bear
    /// `NLM_F_ACK`. The first failure of any message is the failure of the request.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn send(&mut self, request: &mut Request) -> Result<(), Refusal> {
        self.exchange(request, |_, _| ()).map(drop)
    }

    /// Sends a dump request and hands each message's kind and payload to `each`: of a list that did
    /// not change while it was read, for one that did may lack what was there all the time.
    ///
    /// # Errors
    /// What the kernel refused; or the list changes faster than it can be read.
    pub fn dump(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Refusal> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..LISTS {
            bytes.clear();
            ends.clear();
            let whole = self.exchange(request, |kind, message| {
                bytes.extend_from_slice(message);
                ends.push((kind, bytes.len()));
            })?;
            if whole == Whole::Yes {
                let mut from = 0;
                for (kind, to) in ends {
                    each(kind, bytes.get(from..to).unwrap_or(&[]));
                    from = to;
                }
                return Ok(());
            }
        }
        let why = "it changes faster than it can be read; who keeps changing it?";
        Err(io::Error::other(why).into())
    }

    /// Sends many messages at once, of which each may be refused by itself; returns which were, by
    /// their place in the request. The last one must bear `NLM_F_ACK`, the others need not. It is one
    /// system call, and nobody else gets the kernel's lock for addresses in between.
    ///
    /// # Errors
    /// When what the kernel answered was lost: it is not known what it did.
    pub fn send_each(&mut self, request: &mut Request) -> Result<Vec<(usize, Refusal)>, Refusal> {
        let (first, last) = self.put_out(request)?;
        let mut refused = Vec::new();
        loop {
            self.inbox.clear();
            match self.socket.recv(&mut self.inbox, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.unread = true;
                    return Err(e.into());
                }
                Ok(_) => {}
            }
            for message in messages(&self.inbox) {
                let place = message.sequence.wrapping_sub(first);
                if place > last.wrapping_sub(first) || i32::from(message.kind) != libc::NLMSG_ERROR
                {
                    continue;
                }
                let why = refusal(message.payload);
                refused.extend(why.map(|why| (place as usize, why)));
                if message.sequence == last {
                    return Ok(refused);
                }
            }
        }
    }

    /// Sends a request; returns the numbers of its first and its last message.
    fn put_out(&mut self, request: &mut Request) -> io::Result<(u32, u32)> {
        while std::mem::take(&mut self.unread) {
            self.inbox.clear();
            self.unread = (self.socket.recv(&mut self.inbox, libc::MSG_DONTWAIT)).is_ok();
        }
        let first = self.sequence.wrapping_add(1);
        let last = self.sequence.wrapping_add(request.messages);
        self.sequence = last;
        let (mut at, mut sequence) = (0, first);
        while let Some(len) = u32_at(&request.buf, at) {
            request.buf[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
            at += len as usize;
            sequence = sequence.wrapping_add(1);
        }
        self.socket
            .send_to(&request.buf, &SocketAddr::new(0, 0), 0)?;
        Ok((first, last))
    }

    /// Says whether a list that was asked for is one, or changed while it was read.
    fn exchange(
        &mut self,
        request: &mut Request,
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<Whole, Refusal> {
        let (first, last) = self.put_out(request)?;
        let mut failure: Option<Refusal> = None;
        let mut whole = Whole::Yes;
        loop {
            self.inbox.clear();
            match self.socket.recv(&mut self.inbox, 0) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    self.unread = true;
                    return Err(failure.unwrap_or_else(|| e.into()));
                }
                Ok(_) => {}
            }
            for message in messages(&self.inbox) {
                let Message {
                    kind,
                    flags,
                    sequence,
                    payload: message,
                } = message;
                // An answer to an earlier request, whose end was not waited for.
                if sequence.wrapping_sub(first) > last.wrapping_sub(first) {
                    continue;
                }
                if i32::from(flags) & libc::NLM_F_DUMP_INTR != 0 {
                    whole = Whole::No;
                }
                let done = match i32::from(kind) {
                    libc::NLMSG_ERROR => {
                        let refusal = refusal(message);
                        let failed = refusal.is_some();
                        failure = failure.or(refusal);
                        // A batch that fails as a whole is answered at its beginning only.
                        sequence == last || (failed && sequence == first)
                    }
                    libc::NLMSG_DONE => {
                        failure = failure.or(refusal(message));
                        true
                    }
                    _ => {
                        each(kind, message);
                        false
                    }
                };
                if done {
                    return failure.map_or(Ok(whole), Err);
                }
            }
        }
    }
}

/// Whether what was read is a list of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of one datagram.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER..len)?,
        };
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or(&[]);
        Some(message)
    })
}

/// What an acknowledgement refuses, if it does.
fn refusal(message: &[u8]) -> Option<Refusal> {
    const MESSAGE: u16 = 1; // NLMSGERR_ATTR_MSG
    let errno = u32_at(message, 0)?.cast_signed();
    if errno >= 0 {
        return None;
    }
    // With NETLINK_CAP_ACK the request's header follows, then the kernel's words.
    let words = message
        .get(4 + HEADER..)
        .and_then(|rest| attribute(rest, MESSAGE));
    Some(Refusal::in_words(
        io::Error::from_raw_os_error(-errno),
        words.map_or("", text),
    ))
}

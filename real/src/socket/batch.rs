//! Many datagrams by one system call: `recvmmsg`, `sendmmsg`.
#![allow(unsafe_code)] // the kernel is given pointers to buffers that it fills

use socket2::{SockAddr, SockAddrStorage};
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

/// Most datagrams of a call.
pub const AT_A_TIME: usize = 32;
/// Longer datagrams are cut off, and then their seal doesn't fit.
const MAX_DATAGRAM: usize = 2_048;

/// What was read from a socket and is not taken yet.
pub struct Inbox {
    room: Vec<u8>,
    /// From where each came, and how long it is.
    came: Vec<(Option<SocketAddr>, usize)>,
    taken: usize,
    newest_first: bool,
    /// How often it was filled.
    filled: u64,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inbox({} of {} taken)", self.taken, self.came.len())
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// Empty. What is never used of its room costs no memory.
    #[must_use]
    pub fn new() -> Self {
        Self {
            room: vec![0; AT_A_TIME * MAX_DATAGRAM],
            came: Vec::with_capacity(AT_A_TIME),
            taken: 0,
            newest_first: false,
            filled: 0,
        }
    }

    /// The next that was read: its bytes, and from where it came.
    pub fn take(&mut self, into: &mut Vec<u8>) -> Option<SocketAddr> {
        while self.taken < self.came.len() {
            let place = match self.newest_first {
                true => self.came.len() - 1 - self.taken,
                false => self.taken,
            };
            let ((from, length), at) = (self.came[place], place * MAX_DATAGRAM);
            self.taken += 1;
            if let (Some(from), Some(bytes)) = (from, self.room.get(at..at + length)) {
                into.clear();
                into.extend_from_slice(bytes);
                return Some(from);
            }
        }
        None
    }

    /// Reads what waits in a socket, at most [`AT_A_TIME`], once all that was read before is taken.
    ///
    /// # Errors
    /// The kernel's, also if nothing waits.
    pub fn fill(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.begin(false);
        self.read(socket).map(drop)
    }

    /// Reads so many of those that wait in a socket, about, to be taken the newest first: where many
    /// wait, most have been superseded.
    ///
    /// # Errors
    /// The kernel's, also if nothing waits.
    pub fn fill_newest_first(&mut self, socket: &UdpSocket, most: usize) -> io::Result<()> {
        self.begin(true);
        let mut read = self.read(socket)?;
        while read == AT_A_TIME && self.came.len() < most {
            read = self.read(socket).unwrap_or(0); // nothing more waits
        }
        Ok(())
    }

    /// How often it was filled, if the newest are taken first.
    pub(crate) fn newest_first(&self) -> Option<u64> {
        self.newest_first.then_some(self.filled)
    }

    fn begin(&mut self, newest_first: bool) {
        self.came.clear();
        self.taken = 0;
        self.newest_first = newest_first;
        self.filled += 1;
    }

    /// Reads some behind those that were read; returns how many.
    fn read(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let used = self.came.len() * MAX_DATAGRAM;
        if self.room.len() < used + AT_A_TIME * MAX_DATAGRAM {
            self.room.resize(used + AT_A_TIME * MAX_DATAGRAM, 0);
        }
        let mut names = [const { MaybeUninit::<SockAddrStorage>::uninit() }; AT_A_TIME];
        let mut parts: [libc::iovec; AT_A_TIME] = std::array::from_fn(|_| libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        });
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; AT_A_TIME];
        let rooms = self.room[used..].chunks_exact_mut(MAX_DATAGRAM);
        let all = rooms.zip(&mut names).zip(&mut parts).zip(&mut headers);
        for (((room, name), part), header) in all {
            part.iov_base = room.as_mut_ptr().cast();
            part.iov_len = room.len();
            // SAFETY: zero is a value of each field of the header.
            let header = &mut unsafe { header.assume_init_mut() }.msg_hdr;
            header.msg_name = name.as_mut_ptr().cast();
            header.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
            header.msg_iov = part;
            header.msg_iovlen = 1;
        }
        // SAFETY: each header points to a name and a part of its own, and the part to room of its
        // own, all of which live on; the kernel writes no more than the lengths that are given.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                AT_A_TIME as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (name, header) in names.iter().zip(&headers).take(count) {
            // SAFETY: the kernel filled in as many names as it said, each as long as it said.
            let (from, length) = unsafe {
                let header = header.assume_init_ref();
                let name = SockAddr::new(name.assume_init_read(), header.msg_hdr.msg_namelen);
                (name.as_socket(), header.msg_len)
            };
            self.came.push((from, length as usize));
        }
        Ok(count)
    }
}

/// What waits to be sent by a socket.
#[derive(Debug, Default)]
pub struct Outbox<T> {
    bytes: Vec<u8>,
    /// Where each ends in `bytes`, where it goes, and what it is of.
    messages: Vec<(usize, SockAddr, T)>,
}

impl<T> Outbox<T> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// One more; returns whether it is time to send them.
    pub fn push(&mut self, bytes: &[u8], to: SocketAddr, of: T) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.messages.push((self.bytes.len(), to.into(), of));
        self.messages.len() >= AT_A_TIME
    }

    /// Hands all of them to the network, and forgets them. What it refuses is reported.
    pub fn send(&mut self, socket: &UdpSocket, mut refused: impl FnMut(&T, &io::Error)) {
        let mut from = 0;
        while from < self.messages.len() {
            match self.send_from(from, socket) {
                Ok(sent) => from += sent.max(1),
                // No room, for any of them.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.messages[from..]
                        .iter()
                        .for_each(|(.., of)| refused(of, &e));
                    break;
                }
                Err(e) => {
                    refused(&self.messages[from].2, &e);
                    from += 1;
                }
            }
        }
        self.bytes.clear();
        self.messages.clear();
    }

    /// Sends from this one on; returns how many.
    fn send_from(&self, from: usize, socket: &UdpSocket) -> io::Result<usize> {
        let mut begin = match from {
            0 => 0,
            _ => self.messages[from - 1].0,
        };
        let mut parts: [libc::iovec; AT_A_TIME] = std::array::from_fn(|_| libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        });
        let mut headers = [const { MaybeUninit::<libc::mmsghdr>::zeroed() }; AT_A_TIME];
        let mut count = 0;
        let messages = self.messages[from..].iter();
        for (((end, to, _), part), header) in messages.zip(&mut parts).zip(&mut headers) {
            let bytes = &self.bytes[begin..*end];
            begin = *end;
            part.iov_base = bytes.as_ptr().cast_mut().cast();
            part.iov_len = bytes.len();
            // SAFETY: zero is a value of each field of the header.
            let header = &mut unsafe { header.assume_init_mut() }.msg_hdr;
            header.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_namelen = to.len();
            header.msg_iov = part;
            header.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: as many headers as counted point to a name and a part that live on; of all but the
        // headers the kernel only reads.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr().cast(),
                count,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_together_comes_in_order_with_where_it_came_from() {
        let [a, b] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let (to, from) = [&b, &a].map(|s| s.local_addr().expect("an address")).into();
        let mut out = Outbox::new();
        let longest = [7; MAX_DATAGRAM + 1];
        for length in [1, 0, 300, MAX_DATAGRAM, MAX_DATAGRAM + 1] {
            assert!(!out.push(&longest[..length], to, length));
        }
        out.send(&a, |of, e| panic!("{of}: {e}"));
        assert!(out.is_empty());
        let (mut inbox, mut bytes) = (Inbox::new(), Vec::new());
        inbox.fill(&b).expect("they wait");
        for length in [1, 0, 300, MAX_DATAGRAM, MAX_DATAGRAM] {
            assert_eq!(inbox.take(&mut bytes), Some(from));
            assert_eq!(bytes, longest[..length]);
        }
        assert_eq!(inbox.take(&mut bytes), None);
        let none = inbox.fill(&b).expect_err("nothing waits").kind();
        assert_eq!(none, io::ErrorKind::WouldBlock);
    }

    #[test]
    fn of_many_that_wait_the_newest_come_first_and_none_is_lost() {
        let [a, b] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let to = b.local_addr().expect("an address");
        const COUNT: u8 = 3 * AT_A_TIME as u8 + 5;
        for n in 0..COUNT {
            a.send_to(&[n], to).expect("room");
        }
        let (mut inbox, mut bytes, mut came) = (Inbox::new(), Vec::new(), Vec::new());
        while inbox.fill_newest_first(&b, 2 * AT_A_TIME).is_ok() {
            let before = came.len();
            while inbox.take(&mut bytes).is_some() {
                came.extend_from_slice(&bytes);
            }
            assert!(came[before..].is_sorted_by(|a, b| a > b), "{came:?}");
        }
        assert_eq!(came[0], 2 * AT_A_TIME as u8 - 1);
        came.sort_unstable();
        assert_eq!(came, (0..COUNT).collect::<Vec<u8>>());
    }

    #[test]
    fn what_the_network_refuses_keeps_nothing_else_back() {
        let [a, b] = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let to = b.local_addr().expect("an address");
        let mut out = Outbox::new();
        let mut refused = Vec::new();
        for n in 0..AT_A_TIME + 3 {
            let nowhere: SocketAddr = "[::1]:9".parse().expect("an address"); // of another family
            out.push(&[n as u8], if n % 3 == 0 { nowhere } else { to }, n);
        }
        out.send(&a, |of, _| refused.push(*of));
        assert!(refused.iter().all(|n| n % 3 == 0), "{refused:?}");
        assert_eq!(refused.len(), (AT_A_TIME + 3).div_ceil(3));
        let (mut inbox, mut bytes, mut came) = (Inbox::new(), Vec::new(), 0);
        while inbox.fill(&b).is_ok() {
            while inbox.take(&mut bytes).is_some() {
                came += 1;
            }
        }
        assert_eq!(came + refused.len(), AT_A_TIME + 3);
    }
}

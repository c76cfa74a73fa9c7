//! Just enough netlink: build messages, send them, and hear what the kernel says to each.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};
use std::io;
use std::time::Duration;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;

/// One message under construction; lengths are filled in as it grows.
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of type `kind`, with the fixed header of its family.
    pub(super) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self(bytes).padded()
    }

    /// Appends an attribute.
    pub(super) fn attr(mut self, kind: u16, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.0.extend_from_slice(&length(4 + value.len()));
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.padded()
    }

    /// Appends an attribute that is a string with its final zero.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, bytes)
    }

    /// Appends an attribute that holds `inside`: attributes, perhaps after a header of its own.
    pub(super) fn nest(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        let mut all = inside(self);
        let len = length(all.0.len() - start);
        all.0[start..start + 2].copy_from_slice(&len);
        all
    }

    /// Appends bytes as they are.
    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.padded()
    }

    fn padded(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn wants_ack(&self) -> bool {
        u16::from_ne_bytes([self.0[6], self.0[7]]) & ACK != 0
    }

    fn finish(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let len = u32::try_from(bytes.len()).expect("a message of a few hundred bytes");
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }
}

fn length(n: usize) -> [u8; 2] {
    u16::try_from(n)
        .expect("an attribute of a few hundred bytes")
        .to_ne_bytes()
}

/// Which part of the kernel is spoken to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    Route,
    Netfilter,
}

/// Sends all `messages` in one datagram and waits until every one that wants it is acknowledged.
/// Returns the bodies of the answers, if any was asked for. Acts in the network namespace of the
/// calling thread.
pub(super) fn transact(family: Family, messages: &[Message]) -> io::Result<Vec<Vec<u8>>> {
    let protocol = match family {
        Family::Route => None,
        Family::Netfilter => Some(netlink::NETFILTER),
    };
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )?;
    let patience = Some(Duration::from_secs(5));
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, patience)?;

    let datagram: Vec<u8> = (1..)
        .zip(messages)
        .flat_map(|(sequence, m)| m.finish(sequence))
        .collect();
    send(&socket, &datagram, SendFlags::empty())?;

    let mut missing = messages.iter().filter(|m| m.wants_ack()).count();
    let mut answers = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while missing > 0 {
        let (_, received) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        let mut rest = &buffer[..received];
        while rest.len() >= HEADER {
            let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let Some(body) = rest.get(HEADER..len) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            match (kind, body) {
                (NLMSG_ERROR, [a, b, c, d, ..]) => match i32::from_ne_bytes([*a, *b, *c, *d]) {
                    0 => missing = missing.saturating_sub(1),
                    code => return Err(Errno::from_raw_os_error(-code).into()),
                },
                _ => answers.push(body.to_vec()),
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(answers)
}

/// The value of the attribute `kind` among `attributes`.
pub(super) fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..len)?;
        if u16::from_ne_bytes([c, d]) & !NESTED == kind {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
    None
}

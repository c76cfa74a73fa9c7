//! A packet socket.
#![allow(unsafe_code)]

use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, recv, send, socket_with, sockopt};
use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const ETH_P_ALL: u16 = 0x0003;
const ETH_P_ARP: u16 = 0x0806;
/// Room for what comes in at once.
const ROOM: usize = 8 << 20;

pub(super) struct PacketSocket(OwnedFd);

/// `struct sockaddr_ll`
#[repr(C)]
struct LinkLayer {
    family: u16,
    protocol: u16,
    index: u32,
    hardware: u16,
    packet: u8,
    length: u8,
    address: [u8; 8],
}

// SAFETY: `f` gets a pointer to a whole `sockaddr_ll` and its size, and both outlive the call.
unsafe impl SocketAddrArg for LinkLayer {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        let size = size_of::<Self>() as SocketAddrLen; // 20
        f(std::ptr::from_ref(self).cast(), size)
    }
}

impl PacketSocket {
    /// A socket for ARP on the interface with this index, which never blocks.
    pub(super) fn arp(index: u32) -> io::Result<Self> {
        Self::of(ETH_P_ARP, index)
    }

    /// A socket for everything on the interface with this index, which never blocks, with room for
    /// thousands of frames at once.
    pub(super) fn everything(index: u32) -> io::Result<Self> {
        let this = Self::of(ETH_P_ALL, index)?;
        sockopt::set_socket_recv_buffer_size_force(&this.0, ROOM)
            .or_else(|_| sockopt::set_socket_recv_buffer_size(&this.0, ROOM))?;
        Ok(this)
    }

    fn of(protocol: u16, index: u32) -> io::Result<Self> {
        let protocol = protocol.to_be();
        let raw = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, raw)?;
        let address = LinkLayer {
            family: AddressFamily::PACKET.as_raw(),
            protocol,
            index,
            hardware: 0,
            packet: 0,
            length: 0,
            address: [0; 8],
        };
        bind(&socket, &address)?;
        Ok(Self(socket))
    }

    pub(super) fn send(&self, frame: &[u8]) -> io::Result<usize> {
        Ok(send(&self.0, frame, SendFlags::empty())?)
    }

    pub(super) fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        Ok(recv(&self.0, frame, RecvFlags::empty())?.0)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

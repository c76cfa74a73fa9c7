//! Waiting for a file descriptor.

use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// What always has one and the same open descriptor.
pub(crate) trait OwnsFd: AsRawFd {}

impl OwnsFd for std::os::fd::OwnedFd {}
impl OwnsFd for std::net::UdpSocket {}
impl OwnsFd for socket2::Socket {}

/// Registers it with the runtime that runs this.
#[expect(unsafe_code, reason = "tokio can't check the trait's promise")]
pub(crate) fn watch<T: OwnsFd>(inner: T) -> std::io::Result<AsyncFd<T>> {
    // SAFETY: an `OwnsFd` owns its descriptor and shows the same one as long as it lives.
    unsafe { AsyncFd::register(inner) }.map_err(Into::into)
}

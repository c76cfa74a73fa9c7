//! Where the BPF gate hangs since Linux 6.6: at the head of an interface's row of programs (tcx).
//!
//! What stands in a row is asked one after the other, before every filter of tc, until one of them
//! decides. It belongs to the interface and not to the process: it stays when the daemon dies, and
//! needs no pin for that. Whoever comes later may stand before us; no event notifies that.
//!
//! The same program can't stand in a row twice, so of each there are two: to come to the front
//! again, the one that stands nowhere goes there before the other leaves.

use super::bpf::{Attr, Direction};
use std::io;
use std::os::fd::BorrowedFd;

const ATTACH: i64 = 8;
const DETACH: i64 = 9;
const QUERY: i64 = 16;

const BEFORE: u32 = 1 << 3;
const AFTER: u32 = 1 << 4;
const RELATIVE_IS_ID: u32 = 1 << 5;

/// How many programs the kernel lets stand in a row.
const MOST: usize = 64;

const fn attach_type(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => 46,
        Direction::Egress => 47,
    }
}

/// The programs that stand before one way through an interface, the first of them first.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) programs: Vec<u32>,
    /// Grows with every change.
    pub(super) revision: u64,
}

/// Whether this kernel has such rows.
pub(super) fn available() -> io::Result<bool> {
    const LOOPBACK: u32 = 1; // in every network namespace
    match row(LOOPBACK, Direction::Ingress) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        other => other.map(|_| true),
    }
}

/// Who stands there.
pub(super) fn row(interface: u32, direction: Direction) -> io::Result<Row> {
    let mut programs = [0_u32; MOST];
    let mut attr = Attr::new()
        .u32(0, interface)
        .u32(4, attach_type(direction))
        .pointer_mut(16, &mut programs)
        .u32(24, u32::try_from(MOST).unwrap_or(0));
    attr.ask(QUERY)?;
    let (count, revision) = (attr.word(24) as usize, attr.double(56));
    let programs = programs.get(..count).unwrap_or(&[]).to_vec();
    Ok(Row { programs, revision })
}

/// Puts a program before all others.
pub(super) fn put_first(
    interface: u32,
    direction: Direction,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    let attr = Attr::new().u32(0, interface).fd(4, &program);
    let attr = attr.u32(8, attach_type(direction)).u32(12, BEFORE);
    attr.call(ATTACH).map(drop)
}

/// Takes every one of `programs` off, whoever hung it there. Nobody's right to ask for a program by
/// its id is needed: each is named by its place.
pub(super) fn take_off(interface: u32, direction: Direction, programs: &[u32]) -> io::Result<()> {
    const TRIES: usize = 2 * MOST;
    for _ in 0..TRIES {
        let row = row(interface, direction)?;
        let Some(at) = row.programs.iter().position(|p| programs.contains(p)) else {
            return Ok(());
        };
        let attr = Attr::new()
            .u32(0, interface)
            .u32(8, attach_type(direction))
            .u64(24, row.revision); // nobody may have changed the row meanwhile
        let attr = match at.checked_sub(1).and_then(|at| row.programs.get(at)) {
            Some(before) => attr.u32(12, AFTER | RELATIVE_IS_ID).u32(20, *before),
            None => attr.u32(12, BEFORE),
        };
        match attr.call(DETACH) {
            Err(e)
                if [libc::ESTALE, libc::ENOENT]
                    .map(Some)
                    .contains(&e.raw_os_error()) => {}
            other => other.map(drop)?,
        }
    }
    Err(io::Error::other("others change the row all the time"))
}

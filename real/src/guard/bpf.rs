//! The gate as an eBPF program: one set of [`Deadlines`], one program for each direction.
//!
//! They say until when an address may be effective: `address → CLOCK_BOOTTIME nanoseconds`,
//! addresses as 16 bytes with IPv4 mapped into IPv6. An address whose deadline has passed is mute;
//! an address that has none is none of our business. The kernel compares the clock with each
//! packet, so nobody has to do anything for an address to fall silent.
//!
//! Which frames those are, [`super::policy`] says.
#![allow(unsafe_code)] // bpf(2) has no safe wrapper

mod clock;
mod deadlines;

pub(super) use clock::Clock;
pub(super) use deadlines::{Carried as CarriedDeadlines, Deadlines, Maps};

use super::{Key, Place, policy};
use crate::netlink::{Doing as _, KernelError, Refusal, text};
use crate::upgrade::Inherited;
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Into this host.
    Ingress,
    /// Out of this host.
    Egress,
}

/// The programs, which live on where they are attached, and with them the maps that they read.
#[derive(Debug)]
pub(super) struct Programs {
    own: Pair,
    /// For interfaces that belong to no group, if they do otherwise there.
    elsewhere: Option<Pair>,
}

/// A program for each direction.
#[derive(Debug)]
struct Pair {
    ingress: OwnedFd,
    egress: OwnedFd,
}

/// The programs, for another program of this process: their descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    /// For each direction.
    own: [RawFd; 2],
    elsewhere: Option<[RawFd; 2]>,
}

impl Carried {
    /// All of them.
    pub(super) fn fds(&self) -> impl Iterator<Item = RawFd> {
        let elsewhere = self.elsewhere.into_iter().flatten();
        self.own.into_iter().chain(elsewhere)
    }
}

impl Pair {
    fn carried(&self) -> [RawFd; 2] {
        [self.ingress.as_raw_fd(), self.egress.as_raw_fd()]
    }

    fn inherit([ingress, egress]: [RawFd; 2], from: &Inherited) -> Result<Self, String> {
        Ok(Self {
            ingress: from.take(ingress)?,
            egress: from.take(egress)?,
        })
    }

    fn over(maps: &Maps, place: Place) -> Result<Self, KernelError> {
        let load = |direction| {
            load_program(&policy::policy(maps, direction, place))
                .doing(|| format!("loading the guard's BPF program for {direction:?}"))
        };
        Ok(Self {
            ingress: load(Direction::Ingress)?,
            egress: load(Direction::Egress)?,
        })
    }
}

impl Programs {
    /// Loads the programs. They do otherwise on interfaces that belong to no group if it `differs`.
    pub(super) fn over(maps: &Maps, differs: bool) -> Result<Self, KernelError> {
        let elsewhere = differs.then(|| Pair::over(maps, Place::Elsewhere));
        Ok(Self {
            own: Pair::over(maps, Place::Own)?,
            elsewhere: elsewhere.transpose()?,
        })
    }

    /// What goes on in another program of this process.
    pub(super) fn carried(&self) -> Carried {
        Carried {
            own: self.own.carried(),
            elsewhere: self.elsewhere.as_ref().map(Pair::carried),
        }
    }

    /// Those of the former program of this process, as they hang and let through.
    pub(super) fn inherit(carried: &Carried, from: &Inherited) -> Result<Self, String> {
        let elsewhere = carried.elsewhere.map(|pair| Pair::inherit(pair, from));
        Ok(Self {
            own: Pair::inherit(carried.own, from)?,
            elsewhere: elsewhere.transpose()?,
        })
    }

    /// The program for a direction at a place.
    pub(super) fn program(&self, direction: Direction, place: Place) -> BorrowedFd<'_> {
        let pair = match (place, &self.elsewhere) {
            (Place::Elsewhere, Some(elsewhere)) => elsewhere,
            (Place::Elsewhere, None) | (Place::Own, _) => &self.own,
        };
        match direction {
            Direction::Ingress => pair.ingress.as_fd(),
            Direction::Egress => pair.egress.as_fd(),
        }
    }

    /// Whether the programs do otherwise on interfaces that belong to no group.
    pub(super) const fn differ(&self) -> bool {
        self.elsewhere.is_some()
    }
}

/// The kernel's id of a program.
pub(super) fn program_id(program: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(program_info(program, &mut [])?.id)
}

/// The name of all our programs in `bpftool prog`.
const NAME: &CStr = c"onehold";

/// A program of anybody's, by its id. Only who has `CAP_SYS_ADMIN` may ask.
#[derive(Debug)]
pub(super) struct Known(OwnedFd);

impl Known {
    /// The program with this id.
    pub(super) fn by_id(program: u32) -> io::Result<Self> {
        Ok(Self(Attr::new().u32(0, program).open(PROG_BY_ID)?))
    }

    /// Its name.
    pub(super) fn name(&self) -> io::Result<String> {
        Ok(program_info(self.0.as_fd(), &mut [])?.name)
    }

    /// Whether it is a gate, of whatever cluster.
    pub(super) fn is_gate(&self) -> bool {
        self.name()
            .is_ok_and(|name| name.as_bytes() == NAME.to_bytes())
    }

    /// The addresses that it guards, if it is a gate.
    pub(super) fn keys(&self) -> io::Result<Vec<Key>> {
        let mut maps = [0_u32; 1];
        program_info(self.0.as_fd(), &mut maps)?;
        let map = Attr::new().u32(0, maps[0]).open(MAP_BY_ID)?;
        deadlines::keys(&map)
    }
}

/// What the kernel says of a program.
struct Info {
    id: u32,
    name: String,
}

/// What the kernel says of a program; the ids of its maps go to `maps`.
fn program_info(program: BorrowedFd<'_>, maps: &mut [u32]) -> io::Result<Info> {
    // struct bpf_prog_info: id at 4, nr_map_ids at 52, map_ids at 56, name at 64.
    let mut info = [0_u32; 32];
    info[13] = u32::try_from(maps.len()).unwrap_or(0);
    if !maps.is_empty() {
        let address = (maps.as_mut_ptr() as u64).to_ne_bytes();
        info[14] = u32::from_ne_bytes([address[0], address[1], address[2], address[3]]);
        info[15] = u32::from_ne_bytes([address[4], address[5], address[6], address[7]]);
    }
    let size = u32::try_from(size_of_val(&info)).unwrap_or(0);
    Attr::new()
        .fd(0, &program)
        .u32(4, size)
        .pointer_mut(8, &mut info)
        .call(OBJECT_INFO)?;
    let name: Vec<u8> = info[16..20].iter().flat_map(|w| w.to_ne_bytes()).collect();
    Ok(Info {
        id: info[1],
        name: text(&name).to_owned(),
    })
}

/// Runs a program over a frame, `repeat` times: what it said of it, and how long one run took (ns).
/// What the program makes of the frame goes to `back`, as far as there is room.
fn run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    back: &mut [u8; 8],
    repeat: u32,
) -> io::Result<(u32, u32)> {
    let room = u32::try_from(back.len()).unwrap_or(0);
    let mut attr = Attr::new()
        .fd(0, &program)
        .u32(8, u32::try_from(frame.len()).unwrap_or(0))
        .u32(12, room)
        .pointer(16, &frame[0])
        .pointer_mut(24, back)
        .u32(32, repeat);
    match attr.ask(PROG_RUN) {
        // There was more of it.
        Err(e) if e.raw_os_error() != Some(libc::ENOSPC) => Err(e),
        _ => Ok((attr.word(4), attr.word(36))),
    }
}

/// Loads a program. If the verifier refuses it, it is asked again for its words.
fn load_program(code: &[u64]) -> Result<OwnedFd, Refusal> {
    const SCHED_CLS: u32 = 3;
    // A helper that we call, fib_lookup, asks for a licence that the GPL takes in, as MIT is.
    const LICENSE: &CStr = c"Dual MIT/GPL";
    const LOG: usize = 1 << 20;
    let attr = || {
        Attr::new()
            .u32(0, SCHED_CLS)
            .u32(4, u32::try_from(code.len()).unwrap_or(0))
            .pointer(8, &code[0])
            .pointer(16, &LICENSE.to_bytes_with_nul()[0])
            .name(48, NAME)
    };
    attr().open(PROG_LOAD).or_else(|_| {
        let mut log = vec![0; LOG];
        let size = u32::try_from(log.len()).unwrap_or(0);
        let again = attr().u32(24, 1).u32(28, size).pointer_mut(32, &mut log[0]);
        let result = again.open(PROG_LOAD);
        result.map_err(|cause| Refusal::in_words(cause, last_words(text(&log))))
    })
}

/// The verifier's reason: the last line of its log, before the statistics.
fn last_words(log: &str) -> &str {
    let said = |line: &&str| !line.trim().is_empty();
    let statistics =
        |line: &&str| line.starts_with("processed ") || line.starts_with("verification time");
    (log.lines().rev().filter(said))
        .find(|line| !statistics(line))
        .map_or("", str::trim)
}

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_UPDATE: i64 = 2;
const MAP_DELETE: i64 = 3;
const MAP_NEXT: i64 = 4;
const PROG_LOAD: i64 = 5;
const PROG_RUN: i64 = 10;
const PROG_BY_ID: i64 = 13;
const MAP_BY_ID: i64 = 14;
const OBJECT_INFO: i64 = 15;

/// `union bpf_attr`, filled by offset.
pub(super) struct Attr<'a>([u64; 16], std::marker::PhantomData<&'a mut ()>);

impl<'a> Attr<'a> {
    pub(super) fn new() -> Self {
        Self([0; 16], std::marker::PhantomData)
    }

    pub(super) fn u32(mut self, at: usize, value: u32) -> Self {
        let mut word = self.0[at / 8].to_ne_bytes();
        word[at % 8..at % 8 + 4].copy_from_slice(&value.to_ne_bytes());
        self.0[at / 8] = u64::from_ne_bytes(word);
        self
    }

    pub(super) fn fd(self, at: usize, fd: &impl AsFd) -> Self {
        self.u32(at, fd.as_fd().as_raw_fd().cast_unsigned())
    }

    pub(super) fn pointer<T>(mut self, at: usize, to: &'a T) -> Self {
        self.0[at / 8] = std::ptr::from_ref(to) as u64;
        self
    }

    pub(super) fn pointer_mut<T>(mut self, at: usize, to: &'a mut T) -> Self {
        self.0[at / 8] = std::ptr::from_mut(to) as u64;
        self
    }

    fn name(mut self, at: usize, name: &CStr) -> Self {
        for (i, byte) in name.to_bytes().iter().take(15).enumerate() {
            let mut word = self.0[(at + i) / 8].to_ne_bytes();
            word[(at + i) % 8] = *byte;
            self.0[(at + i) / 8] = u64::from_ne_bytes(word);
        }
        self
    }

    /// A word of the block, as the kernel left it.
    pub(super) fn word(&self, at: usize) -> u32 {
        let bytes = self.0[at / 8].to_ne_bytes();
        let at = at % 8;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Eight bytes of the block, as the kernel left them.
    pub(super) fn double(&self, at: usize) -> u64 {
        self.0[at / 8]
    }

    /// Fills eight bytes.
    pub(super) fn u64(mut self, at: usize, value: u64) -> Self {
        self.0[at / 8] = value;
        self
    }

    /// The call, and whatever it returned.
    pub(super) fn call(mut self, command: i64) -> io::Result<i32> {
        self.ask(command)
    }

    /// The call; what the kernel writes into the block can be read afterwards.
    pub(super) fn ask(&mut self, command: i64) -> io::Result<i32> {
        // SAFETY: the attribute block lives through the call and is longer than any that these
        // commands read; each pointer in it is borrowed for 'a from something of the size that
        // the command reads or writes there: keys of 16 bytes, values of 4, code by its length,
        // info and log by their lengths, a frame by its length,
        // a NUL-terminated licence.
        let r = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                size_of_val(&self.0),
            )
        };
        if r < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(i32::try_from(r).unwrap_or(-1))
        }
    }

    fn open(self, command: i64) -> io::Result<OwnedFd> {
        let fd = self.call(command)?;
        // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests;

//! What others attach to a host's interfaces: BPF programs that want to be asked first. And a
//! kernel that has no row of programs (tcx), as before Linux 6.6.
//!
//! All of it is about the network namespace of the calling thread.
#![allow(unsafe_code)] // neither bpf(2) nor seccomp(2) has a safe wrapper

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Pass it on to whoever is next.
pub const TC_NEXT: i32 = -1;
/// It is decided: let it through.
pub const TC_OK: i32 = 0;
/// Let it through.
pub const XDP_PASS: i32 = 2;
/// Send it back where it came from.
pub const XDP_TX: i32 = 3;

/// Which way, in a row of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What arrives.
    In,
    /// What leaves.
    Out,
}

/// Both ways.
pub const BOTH: [Way; 2] = [Way::In, Way::Out];

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For tc, and for rows.
    Tc,
    /// For XDP.
    Xdp,
}

/// A program that gives one verdict on every frame. It exists for as long as it is attached, or
/// this value does.
#[derive(Debug)]
pub struct Program(OwnedFd);

const LOAD: i64 = 5;
const ATTACH: i64 = 8;
const DETACH: i64 = 9;
const INFO: i64 = 15;
const QUERY: i64 = 16;
const LINK_CREATE: i64 = 28;

const BEFORE: u32 = 1 << 3;
const MOVE: u64 = 0xb7;
const EXIT: u64 = 0x95;

/// `union bpf_attr`, by words.
fn call(command: i64, attr: &mut [u32; 32]) -> io::Result<i32> {
    // SAFETY: the block is as long as is said, and what it points to outlives the call.
    let r = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), 128) };
    match i32::try_from(r) {
        Ok(r) if r >= 0 => Ok(r),
        _ => Err(io::Error::last_os_error()),
    }
}

fn point<T>(attr: &mut [u32; 32], at: usize, to: *const T) {
    let address = to as u64;
    let bytes = address.to_ne_bytes();
    attr[at] = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    attr[at + 1] = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given us this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl Program {
    /// A program that says `verdict` of every frame. It is called `foreign`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn that_says(verdict: i32, kind: Kind) -> io::Result<Self> {
        let code = [MOVE | u64::from(verdict.cast_unsigned()) << 32, EXIT];
        let licence = *b"GPL\0";
        let mut attr = [0; 32];
        attr[0] = if kind == Kind::Xdp { 6 } else { 3 };
        attr[1] = 2;
        point(&mut attr, 2, &raw const code);
        point(&mut attr, 4, &raw const licence);
        attr[12] = u32::from_ne_bytes(*b"fore");
        attr[13] = u32::from_ne_bytes(*b"ign\0");
        Ok(Self(owned(call(LOAD, &mut attr)?)))
    }

    /// Its descriptor, for netlink.
    #[must_use]
    pub fn descriptor(&self) -> u32 {
        self.0.as_raw_fd().cast_unsigned()
    }

    /// Its number.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn number(&self) -> io::Result<u32> {
        let mut info = [0_u32; 32];
        let mut attr = [0; 32];
        attr[..2].copy_from_slice(&[self.descriptor(), 128]);
        point(&mut attr, 2, &raw mut info);
        call(INFO, &mut attr)?;
        Ok(info[1])
    }

    /// Puts it before all others in an interface's row, where it stays.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn put_first(&self, interface: u32, way: Way) -> io::Result<()> {
        let mut attr = [0; 32];
        attr[..4].copy_from_slice(&[interface, self.descriptor(), kind(way), BEFORE]);
        call(ATTACH, &mut attr).map(drop)
    }

    /// Lets it see what arrives at an interface before any other does, for as long as the result
    /// exists.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn see_first(&self, interface: u32) -> io::Result<OwnedFd> {
        const XDP: u32 = 37;
        const GENERIC: u32 = 2;
        let mut attr = [0; 32];
        attr[..4].copy_from_slice(&[self.descriptor(), interface, XDP, GENERIC]);
        call(LINK_CREATE, &mut attr).map(owned)
    }
}

const fn kind(way: Way) -> u32 {
    match way {
        Way::In => 46,
        Way::Out => 47,
    }
}

/// The number of an interface.
///
/// # Errors
/// If there is none of that name.
pub fn number(interface: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: a string that ends with a zero, and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        number => Ok(number),
    }
}

/// The programs in an interface's row, by number, the first of them first.
///
/// # Errors
/// If the kernel refuses, or has no rows.
pub fn row(interface: u32, way: Way) -> io::Result<Vec<u32>> {
    let mut programs = [0_u32; 64];
    let mut attr = [0; 32];
    attr[..2].copy_from_slice(&[interface, kind(way)]);
    point(&mut attr, 4, &raw mut programs);
    attr[6] = 64;
    call(QUERY, &mut attr)?;
    Ok(programs[..attr[6] as usize].to_vec())
}

/// Detaches whatever is first in an interface's row.
///
/// # Errors
/// If the kernel refuses, or nothing is there.
pub fn take_first(interface: u32, way: Way) -> io::Result<()> {
    let mut attr = [0; 32];
    attr[..4].copy_from_slice(&[interface, 0, kind(way), BEFORE]);
    call(DETACH, &mut attr).map(drop)
}

/// From now on the calling thread, and what it starts, sees a kernel that has no rows.
///
/// # Errors
/// If the kernel refuses.
pub fn see_no_rows() -> io::Result<()> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_bpf).unwrap_or(0);
    let low = if cfg!(target_endian = "big") { 20 } else { 16 }; // of the first argument
    let invalid = libc::SECCOMP_RET_ERRNO | libc::EINVAL.cast_unsigned();
    let mut program = [
        op(LOAD, 0, 0, 0),
        op(EQUAL, 0, 4, number),
        op(LOAD, 0, 0, low),
        op(EQUAL, 3, 0, 8),
        op(EQUAL, 2, 0, 9),
        op(EQUAL, 1, 0, 16),
        op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        op(RETURN, 0, 0, invalid),
    ];
    let program = libc::sock_fprog {
        len: 8,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives both calls, which only read it and affect only this thread.
    let r = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

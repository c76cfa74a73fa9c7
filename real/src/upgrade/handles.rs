//! What one program of a process leaves open for the next, and the step from the one to the other.
//!
//! The step is `execve` of an open file: the kernel checks the file, or nothing has changed. Signals
//! that come meanwhile wait: their default would end the process with a gate left behind.
#![expect(
    unsafe_code,
    reason = "no safe crate in use has execveat or sigmask; descriptors that are known by their numbers alone"
)]

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd, fcntl_setfd};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;

/// The longest state that is read: a witness of thousands of clusters has less.
const MOST_BYTES: u64 = 256 << 20;
/// The lowest descriptor that is handed over: those below are a process's own ways in and out.
const FIRST: RawFd = 3;
/// What nobody changes any more.
const SEALED: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// Bytes that nobody can change any more, in memory.
///
/// # Errors
/// When the kernel refuses.
pub(crate) fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let create = |flags| memfd_create("onehold-state", flags);
    let fd = match create(plain | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => create(plain), // before Linux 6.3
        other => other,
    }?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?; // who gets it reads from where it stands
    fcntl_add_seals(&file, SEALED)?;
    Ok(file.into())
}

/// The bytes that were sealed.
///
/// # Errors
/// When it is not sealed, or is no state by its length.
pub(crate) fn unsealed(fd: OwnedFd) -> Result<Vec<u8>, String> {
    let seals = fcntl_get_seals(&fd).map_err(|e| format!("it is not sealed memory: {e}"))?;
    if !seals.contains(SEALED) {
        return Err("it is not sealed: somebody could change it meanwhile".to_owned());
    }
    let length = fstat(&fd).map_err(|e| e.to_string())?.st_size;
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    if length > MOST_BYTES {
        return Err(format!("it has {length} bytes, more than any state"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    File::from(fd)
        .read_exact_at(&mut bytes, 0)
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// The descriptors that the former program left open. They stay open until this is dropped: what is
/// taken are others for the same, so that there is a way back as long as something may fail.
#[derive(Debug)]
pub struct Inherited(BTreeMap<RawFd, OwnedFd>);

impl Inherited {
    /// Those with these numbers. Nothing else of this process may own them: so this comes first.
    ///
    /// # Errors
    /// When one of them is not open, or can't be one of them.
    pub(crate) fn of(numbers: impl IntoIterator<Item = RawFd>) -> Result<Self, String> {
        let numbers: BTreeSet<RawFd> = numbers.into_iter().collect();
        for number in &numbers {
            if *number < FIRST {
                return Err(format!("descriptor {number} can't have been handed over"));
            }
            // SAFETY: it is only asked whether it is open, which the kernel says.
            let fd = unsafe { BorrowedFd::borrow_raw(*number) };
            fcntl_getfd(fd).map_err(|e| format!("descriptor {number} was not handed over: {e}"))?;
        }
        // SAFETY: they are open, and this program, which has just begun, opened nothing there.
        let own = |number| (number, unsafe { OwnedFd::from_raw_fd(number) });
        let all: BTreeMap<RawFd, OwnedFd> = numbers.into_iter().map(own).collect();
        for fd in all.values() {
            let _ = fcntl_setfd(fd, FdFlags::CLOEXEC); // open, so it can't fail
        }
        Ok(Self(all))
    }

    /// These, and those.
    pub(crate) fn and(mut self, mut others: Self) -> Self {
        self.0.append(&mut others.0);
        self
    }

    /// One of them.
    ///
    /// # Errors
    /// When it is none of them, or there is no room for another.
    pub(crate) fn take(&self, number: RawFd) -> Result<OwnedFd, String> {
        let fd = self.0.get(&number);
        let fd = fd.ok_or_else(|| format!("descriptor {number} was not handed over"))?;
        fcntl_dupfd_cloexec(fd, FIRST).map_err(|e| format!("descriptor {number}: {e}"))
    }

    /// The numbers of all of them.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        self.0.keys().copied().collect()
    }
}

/// Makes an object of a library from an open descriptor.
pub(crate) fn into_netlink(fd: OwnedFd) -> netlink_sys::Socket {
    use std::os::fd::IntoRawFd as _;
    // SAFETY: the descriptor is open, and given away here.
    unsafe { netlink_sys::Socket::from_raw_fd(fd.into_raw_fd()) }
}

/// The signals that end a daemon or have it reload.
const HELD: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

fn mask(how: libc::c_int) {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is initialised before it is used; nothing else is written to.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in HELD {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}

/// Signals wait, in this thread and those that it starts.
pub(crate) fn hold_signals() {
    mask(libc::SIG_BLOCK);
}

/// Signals that were held back come through.
pub(crate) fn let_signals_in() {
    mask(libc::SIG_UNBLOCK);
}

/// Becomes another program, with these words, and these descriptors beside standard input and
/// output. It returns only if the kernel refuses: then all is as before.
pub(crate) fn become_program(
    program: BorrowedFd<'_>,
    words: Vec<OsString>,
    kept: &[RawFd],
) -> io::Error {
    let text = |word: OsString| CString::new(word.into_vec());
    let words: Result<Vec<CString>, _> = words.into_iter().map(text).collect();
    let variables = std::env::vars_os().map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        text(pair)
    });
    let variables: Result<Vec<CString>, _> = variables.collect();
    let (words, variables) = match (words, variables) {
        (Ok(words), Ok(variables)) => (words, variables),
        (Err(e), _) | (_, Err(e)) => return e.into(),
    };
    let pointers = |all: &[CString]| -> Vec<*const libc::c_char> {
        let all = all.iter().map(|one| one.as_ptr());
        all.chain([std::ptr::null()]).collect()
    };
    let (words_at, variables_at) = (pointers(&words), pointers(&variables));
    hold_signals(); // until the other program has its own ways for them
    let open: Vec<BorrowedFd<'_>> = (kept.iter().filter(|number| **number >= FIRST))
        // SAFETY: what the caller names is open in this process, and stays so over the call.
        .map(|number| unsafe { BorrowedFd::borrow_raw(*number) })
        .filter(|fd| fcntl_getfd(fd).is_ok())
        .collect();
    for fd in &open {
        let _ = fcntl_setfd(fd, FdFlags::empty()); // open, so it can't fail
    }
    // SAFETY: both lists end with a null, and what they point at lives over the call; with
    // AT_EMPTY_PATH the path is empty.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            words_at.as_ptr(),
            variables_at.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    let refused = io::Error::last_os_error();
    for fd in &open {
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
    let_signals_in();
    refused
}

/// Whether two descriptors are of one file.
pub(crate) fn same_file(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_can_change_any_more_is_read() {
        let fd = sealed(b"state").unwrap();
        let other = fcntl_dupfd_cloexec(&fd, FIRST).unwrap();
        let changed = File::from(other).write_at(b"x", 0);
        assert!(changed.is_err(), "{changed:?}");
        assert_eq!(unsealed(fd).unwrap(), b"state");
        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        let why = unsealed(open).unwrap_err();
        assert!(why.contains("it is not sealed"), "{why}");
        let file = File::open("/proc/self/exe").unwrap();
        unsealed(file.into()).unwrap_err();
    }

    #[test]
    fn what_is_not_open_or_not_ours_is_not_taken() {
        for number in [-1, 0, 2, RawFd::MAX] {
            let why = Inherited::of([number]).unwrap_err();
            assert!(why.contains(&format!("descriptor {number} ")), "{why}");
        }
        let none = Inherited::of([]).unwrap();
        none.take(7).unwrap_err();
        assert_eq!(none.numbers(), [0; 0]);
    }
}

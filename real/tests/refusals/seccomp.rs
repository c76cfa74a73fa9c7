//! Makes the kernel refuse: a system call of this thread is answered with an error instead of being
//! done, by seccomp's user notification. What is tested does not know of it.
#![allow(unsafe_code)] // neither seccomp(2) nor its ioctls have a safe wrapper

use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};

/// All by which the daemon talks to the kernel about interfaces, addresses and gates: netlink, BPF,
/// and what it opens and binds for them; and the one by which it reads datagrams.
const CALLS: [i64; 7] = [
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_bpf,
    libc::SYS_socket,
    libc::SYS_bind,
    libc::SYS_setsockopt,
];

/// What is to be refused of this thread's calls.
#[derive(Debug, Default)]
struct Orders {
    /// Whether anything is.
    on: AtomicBool,
    /// After so many calls that are done,
    after: AtomicU32,
    /// so many,
    times: AtomicU32,
    /// with this.
    errno: AtomicU32,
    /// How many were.
    refused: AtomicU32,
    /// Only what reads members' datagrams is refused, and else all but that.
    reads: AtomicBool,
}

/// The way to have calls of this thread refused, for as long as it lives.
#[derive(Clone, Debug)]
pub(crate) struct Refuser(Arc<Orders>);

impl Refuser {
    /// Puts a filter on the calling thread, which can never be taken off; so it should be one of
    /// its own. `None` where seccomp can't do that.
    pub(crate) fn install() -> Option<Self> {
        let orders = Arc::new(Orders::default());
        let (tell, listener) = mpsc::channel::<File>();
        let theirs = Arc::clone(&orders);
        // Before the filter is there, or it would wait for itself.
        std::thread::spawn(move || {
            if let Ok(listener) = listener.recv() {
                supervise(&listener, &theirs);
            }
        });
        tell.send(filter()?).ok()?;
        Some(Self(orders))
    }

    /// From now on, while it is on: after `after` calls that are done, `times` are refused.
    pub(crate) fn refuse(&self, after: u32, times: u32, errno: i32) {
        self.0.after.store(after, SeqCst);
        self.0.times.store(times, SeqCst);
        self.0.errno.store(errno.cast_unsigned(), SeqCst);
    }

    /// What is refused from now on is what reads members' datagrams, and nothing else.
    pub(crate) fn only_reads(&self) {
        self.0.reads.store(true, SeqCst);
    }

    /// How many calls are still to be done before the first is refused.
    #[allow(dead_code)] // not by all who share this file
    pub(crate) fn before(&self) -> u32 {
        self.0.after.load(SeqCst)
    }

    /// Says whether there is still something to refuse.
    pub(crate) fn left(&self) -> bool {
        self.0.times.load(SeqCst) > 0
    }

    /// How many calls were refused so far.
    pub(crate) fn refused(&self) -> u32 {
        self.0.refused.load(SeqCst)
    }

    /// Does something whose calls may be refused.
    pub(crate) fn during<T>(&self, what: impl FnOnce() -> T) -> T {
        self.0.on.store(true, SeqCst);
        let result = what();
        self.0.on.store(false, SeqCst);
        result
    }
}

impl Orders {
    /// The errno with which this call is refused, or zero.
    fn next(&self) -> u32 {
        let one_less = |n: u32| n.checked_sub(1);
        if !self.on.load(SeqCst) || self.after.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
            return 0;
        }
        if self.times.fetch_update(SeqCst, SeqCst, one_less).is_err() {
            return 0;
        }
        self.refused.fetch_add(1, SeqCst);
        self.errno.load(SeqCst)
    }
}

/// Installs the filter; what it notifies comes out of the file.
fn filter() -> Option<File> {
    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![op(LOAD, 0, 0, 0)]; // the call's number
    for call in CALLS {
        program.push(op(JUMP_EQUAL, 0, 1, u32::try_from(call).ok()?));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_USER_NOTIF));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).ok()?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives both calls, which only read it and affect only this thread.
    let listener = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    let listener = i32::try_from(listener).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: a new descriptor, which nobody else has.
    Some(unsafe { File::from_raw_fd(listener) })
}

/// Decides on each call, until the thread that makes them has ended.
fn supervise(listener: &File, orders: &Orders) {
    const CONTINUE: u32 = 1;
    let fd = listener.as_raw_fd();
    loop {
        let mut ready = libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which is ours.
        unsafe { libc::poll(&raw mut ready, 1, -1) };
        if ready.revents & libc::POLLIN == 0 {
            return;
        }
        // SAFETY: both are plain numbers, of which the kernel wants zeros and reads or writes that
        // many.
        unsafe {
            let mut call: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) != 0 {
                continue; // it ended meanwhile
            }
            let mut answer: libc::seccomp_notif_resp = std::mem::zeroed();
            answer.id = call.id;
            let reads = i64::from(call.data.nr) == libc::SYS_recvmmsg;
            match if reads == orders.reads.load(SeqCst) {
                orders.next()
            } else {
                0
            } {
                0 => answer.flags = CONTINUE,
                errno => answer.error = -errno.cast_signed(),
            }
            libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer);
        }
    }
}

//! For the fast profile: realtime priority and locked memory, if this host permits.
#![expect(unsafe_code, reason = "no safe crate in use has sched_setscheduler")]

use rustix::mm::{MlockAllFlags, mlockall};

/// The lowest realtime priority: above everything ordinary, below whatever else is realtime.
const PRIORITY: libc::c_int = 1;

/// Asks for both; says what was refused and why, in words.
pub(crate) fn acquire() -> Vec<String> {
    let mut refused = Vec::new();
    // The system call itself: musl's function of that name refuses always. Its parameter is one number.
    let param: libc::c_int = PRIORITY;
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: `param` lives over the call, which only reads it; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const param) };
    if result != 0 {
        let e = std::io::Error::last_os_error();
        refused.push(format!("realtime priority ({e}; it needs CAP_SYS_NICE)"));
    }
    if let Err(e) =
        mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
    {
        refused.push(format!("locked memory ({e}; it needs CAP_IPC_LOCK)"));
    }
    refused
}

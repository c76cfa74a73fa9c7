//! Probes go first: a probe that waits for a processor would take its own delay for the network's.
#![allow(unsafe_code)]

use rustix::process::setpriority_process;

/// Gives the calling thread the lowest realtime priority; else a high ordinary one; else, where
/// neither is permitted, none. A probe runs for microseconds at a time, so it delays nothing else.
pub(super) fn raise() {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: the kernel reads one whole `sched_param`, which outlives the call; 0 is this thread.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    if refused != 0 {
        // An ordinary user's probes run at the usual priority.
        let _ = setpriority_process(None, -10);
    }
}

//! The one clock: `CLOCK_BOOTTIME`, which counts suspend and never jumps; and a timer on it.

use crate::readiness::watch;
use onehold_core::time::LocalTime;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// What the kernel's clock shows.
#[must_use]
pub fn boottime() -> LocalTime {
    let t = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    LocalTime::from_nanos(seconds * 1_000_000_000 + nanos)
}

/// A clock that grows with every look, so that no two turns have the same time, and a timer.
#[derive(Debug)]
pub struct Clock {
    last: LocalTime,
    timer: AsyncFd<OwnedFd>,
    armed: Option<LocalTime>,
}

impl Clock {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no timer for us.
    pub fn new() -> std::io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self {
            last: boottime(),
            timer: watch(timer)?,
            armed: None,
        })
    }

    /// Now: later than every answer before.
    pub fn now(&mut self) -> LocalTime {
        let least = LocalTime::from_nanos(self.last.as_nanos() + 1);
        self.last = boottime().max(least);
        self.last
    }

    /// Ready once the clock shows `at`.
    pub fn poll_at(&mut self, at: LocalTime, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed != Some(at) {
            // An absolute time that is over fires at once; zero would disarm.
            let nanos = at.as_nanos().max(1);
            let it_value = Timespec {
                tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (nanos % 1_000_000_000) as _,
            };
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value,
            };
            if timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_err() {
                return Poll::Ready(()); // look again rather than never
            }
            self.armed = Some(at);
        }
        loop {
            let Poll::Ready(ready) = self.timer.poll_read_ready(cx) else {
                return Poll::Pending;
            };
            let Ok(mut ready) = ready else {
                return Poll::Ready(());
            };
            ready.clear_ready();
            if boottime() >= at {
                self.armed = None;
                return Poll::Ready(());
            }
        }
    }
}

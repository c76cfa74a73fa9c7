//! Whether BPF's `CLOCK_BOOTTIME` is this process's. In a time namespace it is not: a deadline
//! would be another instant to the gate, and an address effective for too long, or never.

use super::{load_program, run};
use crate::clock::boottime;
use crate::guard::policy;
use crate::netlink::{Doing as _, KernelError};
use onehold_core::time::{LocalTime, Span};
use std::os::fd::{AsFd as _, OwnedFd};

/// Two readings so near to each other leave no room for a difference that matters.
const NARROW: Span = Span::from_millis(1).part(2);
/// How far BPF's clock, which is read without a lock, may be off by itself.
const ROUGH: Span = Span::from_millis(1).part(10);
/// How often a reading is tried that the process is not paused in.
const TRIES: u32 = 200;

/// A program that tells the time. It hangs nowhere.
#[derive(Debug)]
pub(in crate::guard) struct Clock(OwnedFd);

impl Clock {
    pub(in crate::guard) fn load() -> Result<Self, KernelError> {
        let program = load_program(&policy::tell_the_time());
        Ok(Self(program.doing(|| {
            "loading a BPF program that tells the time".into()
        })?))
    }

    /// Compares the two clocks.
    pub(in crate::guard) fn agrees(&self) -> Result<(), KernelError> {
        let doing = || "comparing BPF's clock with this process's".to_owned();
        let mut narrowest = Span::from_nanos(u64::MAX);
        for _ in 0..TRIES {
            let before = boottime();
            let told = self.read().doing(doing)?;
            let after = boottime();
            narrowest = narrowest.min(after.since(before));
            if told.plus(ROUGH) < before || told > after.plus(ROUGH) {
                let (apart, way) = if told > after {
                    (told.since(after), "ahead of")
                } else {
                    (before.since(told), "behind")
                };
                let why = format!(
                    "it is {apart} {way} this process's, which runs in a time namespace \
                     (/proc/self/timens_offsets): no deadline means the same to both; run it outside of one"
                );
                return Err(KernelError::refused(doing(), why));
            }
            if narrowest <= NARROW {
                return Ok(());
            }
        }
        let why = format!("in {TRIES} times no two readings were nearer than {narrowest}");
        Err(KernelError::refused(doing(), why))
    }

    fn read(&self) -> std::io::Result<LocalTime> {
        let mut told = [0; 8];
        run(self.0.as_fd(), &[0; 64], &mut told, 1)?;
        Ok(LocalTime::from_nanos(u64::from_ne_bytes(told)))
    }
}

//! how long the leases of earlier incarnations may last, and what later ones must wait for.
//!
//! Where that is written down is the shell's affair. It must outlive the process, not a reboot:
//! that loses the kernel's state and takes longer than a lease, unless that is a long one.

use onehold_core::lease::MAX_LEASE;
use onehold_core::time::Span;

/// Where the longest lease of this boot is written down.
pub trait Record {
    /// What earlier incarnations have written.
    ///
    /// # Errors
    /// When there is something that can't be read.
    fn read(&self) -> Result<Recorded, String>;

    /// Writes the longest lease that a later incarnation must wait for.
    ///
    /// # Errors
    /// When it can't be written.
    fn write(&mut self, longest: Span) -> Result<(), String>;
}

/// What is written down; zero where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// This member's.
    pub own: Span,
    /// The longest of its former names.
    pub former: Span,
}

/// What an incarnation begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The longest lease that an earlier incarnation may have voted for or held.
    pub longest: Span,
    /// What is wrong with the record, if that only makes the wait longer.
    pub fault: Option<String>,
}

/// returns what to wait for; but first writes down what later incarnations must wait for,
/// before this one has a lease.
///
/// # Errors
/// When a later incarnation would not know of this one's lease: then this one must not begin.
pub fn begin(record: &mut impl Record, lease: Span) -> Result<Earlier, String> {
    let Recorded { own, former } = match record.read() {
        Ok(recorded) => recorded,
        // The record stays as it is until quarantine is over.
        Err(why) => {
            return Ok(Earlier {
                longest: MAX_LEASE,
                fault: Some(format!(
                    "{why}; taken for the longest lease that there can be: this member neither votes nor holds \
                     for {MAX_LEASE} (R-9). Remove the file and restart onehold, if none has run here for as \
                     long as the longest lease"
                )),
            });
        }
    };
    let longest = own.max(former);
    let fault = match record.write(longest.max(lease)) {
        Err(why) if own < lease => return Err(why),
        written => written.err(),
    };
    Ok(Earlier { longest, fault })
}

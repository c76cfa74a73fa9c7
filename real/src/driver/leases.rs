//! how long the leases of earlier incarnations may last, and what later ones must wait for.
//!
//! It does not know where that is written down. There it must outlive the process, and need not
//! outlive a reboot, for that takes longer than a lease, and the kernel's state is lost with it.

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
    /// Under this member's name.
    pub own: Span,
    /// Under names that it had earlier: the longest.
    pub former: Span,
}

/// What an incarnation begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The longest lease that an earlier one may have been given.
    pub longest: Span,
    /// What is wrong with the record, if the only harm is that it is waited for longer.
    pub fault: Option<String>,
}

/// what to wait for; and writes down what later incarnations must wait for, before this one
/// has a lease.
///
/// # Errors
/// When a later incarnation would not know of this one's lease: then it must not begin.
pub fn begin(record: &mut impl Record, lease: Span) -> Result<Earlier, String> {
    let Recorded { own, former } = match record.read() {
        Ok(recorded) => recorded,
        // And the record stays as it is until that is over.
        Err(why) => {
            return Ok(Earlier {
                longest: MAX_LEASE,
                fault: Some(format!(
                    "{why}; taken for the longest lease that there can be: this member neither votes nor holds \
                     for {MAX_LEASE} (R-9). Remove the file and restart it, if no onehold has run here for as \
                     long as its longest lease"
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

//! the file in which a machine's processes write down their leases. It is lost with the
//! machine's power.

use onehold::driver::leases::{Record, Recorded};
use onehold_core::time::Span;

/// What is in it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::simulator) struct Leases {
    longest: Span,
    /// the longest that the incarnation which runs has gone by.
    least: Span,
}

impl Leases {
    /// the incarnation may go by this lease from now on, too.
    pub(super) fn covers(&mut self, lease: Span) {
        self.least = self.least.max(lease);
        self.longest = self.longest.max(lease);
    }

    /// Another incarnation begins, and has read it.
    pub(super) const fn begin(&mut self) {
        self.least = Span::ZERO;
    }
}

impl Record for Leases {
    fn read(&self) -> Result<Recorded, String> {
        let former = Span::ZERO; // nobody is renamed here
        let own = self.longest;
        Ok(Recorded { own, former })
    }

    fn write(&mut self, longest: Span) -> Result<(), String> {
        self.longest = longest.max(self.least);
        Ok(())
    }
}

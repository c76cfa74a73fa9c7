//! Adverts that came as Ethernet frames: one more path.

use super::{Driver, Shell};
use crate::announce::Mac;
use crate::metrics::Head;
use onehold_core::auth;
use onehold_core::time::LocalTime;

impl<S: Shell> Driver<S> {
    /// What came as an Ethernet frame is treated as a datagram: of two copies R-2 drops the later.
    pub(super) fn frame(&mut self, now: LocalTime, at: usize, from: Mac, bytes: &[u8]) {
        const CLUSTER: usize = 0; // a candidate serves one
        let Some(s) = self.served.get_mut(CLUSTER) else {
            return;
        };
        let opened = auth::open(&s.keys, s.config.cluster(), bytes);
        let said = (opened.as_ref().ok()).map(|a| (Head::from(a.get()), a.get().echo));
        let result = opened.and_then(|advert| self.advert(CLUSTER, now, advert));
        let Some(s) = self.served.get_mut(CLUSTER) else {
            return;
        };
        if let (Ok(()), Some((head, _))) = (result, said) {
            s.metrics.sealed(head.from, auth::claimed_key(bytes));
        }
        match said {
            // Its copy may have come as a datagram before.
            Some((head, echo)) if s.metrics.is_newest(head) => {
                s.metrics.heard_frame(at, now);
                self.shell.heard_frame(at, from, echo);
            }
            Some(_) | None => {}
        }
        if let (Err(why), Some(s)) = (result, self.served.get_mut(CLUSTER)) {
            tracing::trace!(at, reason = %why, "frame rejected");
            s.metrics.rejected_frame(at, why, now);
        }
    }
}

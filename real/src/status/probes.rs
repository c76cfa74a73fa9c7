//! what became of the echo requests for a group's addresses.

use super::{GroupStatus, ms};
use crate::metrics::GroupMetrics;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};

/// Echo requests for a group's addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// How often it was asked for.
    pub asked: u64,
    /// How many of these were answered.
    pub answered: u64,
    /// How long ago it was last asked for.
    pub asked_ms_ago: Option<f64>,
    /// How long ago that was asked which was answered last.
    pub answered_ms_ago: Option<f64>,
    /// Nothing could be asked, the last time.
    pub unasked: bool,
    /// A holder that is heard did not answer the last ones.
    pub no_echo: bool,
}

/// A standby that can't find out by echo requests whether the holder holds. (One that could before
/// raises an alarm.)
pub(super) fn without_echo(g: &GroupStatus) -> Option<String> {
    let probes = g.probes.as_ref().filter(|p| p.no_echo && p.answered == 0)?;
    let (name, holder) = (&g.name, g.holder.as_deref().unwrap_or_default());
    Some(match probes.unasked {
        true => format!(
            "{name}: this host can't ask for its addresses by echo requests: it has no own address on their \
             interface, that is down, or the other member is not found there; so where no advert passes, both may \
             hold (R-20)"
        ),
        false => format!(
            "{name}: no echo from {holder}: does a firewall drop ICMP echo requests, there or between? Then, where no \
             advert passes, both may hold (R-20)"
        ),
    })
}

pub(super) fn probes(m: &GroupMetrics, now: LocalTime) -> Option<ProbeStatus> {
    m.probing.map(|p| ProbeStatus {
        asked: p.asked,
        answered: p.answered,
        asked_ms_ago: p.last_asked.map(|at| ms(now.since(at))),
        answered_ms_ago: p.last_answered.map(|at| ms(now.since(at))),
        unasked: p.unasked,
        no_echo: m.no_echo,
    })
}

//! Adverts as Ethernet frames, as the status shows them: a path by each interface, an alarm while
//! nothing else is heard, and where they gain nothing.

use super::alarms::{lately, refused_lately};
use super::text::heard;
use super::{PeerStatus, Status, ms};
use crate::announce::Mac;
use crate::metrics::FrameMetrics;
use onehold_core::reject::Reject;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Frames of which none came for this many milliseconds don't come.
const SILENT: f64 = 10_000.0;

/// Adverts as Ethernet frames at one interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameStatus {
    /// The interface.
    pub interface: String,
    /// The hardware address to which they go; none while it is not known.
    pub to: Option<String>,
    /// How long ago what the peer said last came as a frame.
    pub heard_ms_ago: Option<f64>,
    /// How many came.
    pub received: u64,
    /// How many were handed to the interface.
    pub sent: u64,
    /// How many it refused.
    pub refused: u64,
    /// How long ago it last refused one.
    pub refused_ms_ago: Option<f64>,
    /// Why.
    pub refused_because: Option<String>,
    /// Why there are none at this interface, if so.
    pub why_not: Option<String>,
    /// Why those that come are rejected, other than as copies.
    pub rejected: Option<String>,
}

pub(super) fn frame(f: &FrameMetrics, now: LocalTime) -> FrameStatus {
    let refusals = &f.port.refusals;
    FrameStatus {
        interface: f.interface.clone(),
        to: f.port.to.map(mac),
        heard_ms_ago: f.heard_at.map(|at| ms(now.since(at))),
        received: f.received,
        sent: f.port.sent,
        refused: refusals.count,
        refused_ms_ago: refusals.last.as_ref().map(|(at, _)| ms(now.since(*at))),
        refused_because: refusals.last.as_ref().map(|(_, why)| why.clone()),
        why_not: f.port.why_not.clone(),
        rejected: (f.rejected.filter(|(at, _)| lately(*at, now)))
            .and_then(|(_, why)| why_frame_rejected(why, &f.interface)),
    }
}

fn mac(bytes: Mac) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Why a frame at an interface proves nothing, as the end of an alarm. (One of another
/// configuration is a stranger's: its datagrams name it.)
fn why_frame_rejected(why: Reject, interface: &str) -> Option<String> {
    let why = match why {
        Reject::UnknownKey(key) => format!(
            "are sealed with a key that is not accepted here (id {:08x}): are the secrets equal?",
            key.0
        ),
        Reject::BadSeal => "do not fit their seal: damaged on the way, or forged".to_owned(),
        Reject::OtherConfig { .. } => {
            "are of another configuration: make the files equal (R-0)".to_owned()
        }
        _ => return None,
    };
    Some(format!("; Ethernet frames that come by {interface} {why}"))
}

impl Status {
    /// That a peer is heard by frames and not by datagrams, and why that may be: then whatever cuts
    /// the frames as well makes both hold.
    pub(super) fn frames_only(&self, p: &PeerStatus) -> Option<String> {
        let longest = 2.0 * self.timing.vote_ms;
        let heard = |ago: Option<f64>| ago.is_some_and(|ago| ago <= longest);
        let by_frames = p.frames.iter().any(|f| heard(f.heard_ms_ago));
        if !by_frames || p.paths.is_empty() || p.paths.iter().any(|w| heard(w.heard_ms_ago)) {
            return None;
        }
        let why = p.paths.iter().find_map(|w| w.rejected.clone());
        let why = why.or_else(|| p.paths.iter().find_map(refused_lately));
        let why = why.map(|why| why + ".").unwrap_or_else(|| {
            let at = p.paths.first().map_or("", |w| &w.local);
            format!(
                ": does a firewall, here or there, drop UDP to {at}, or has a route, an address or a neighbour \
                 entry failed (`ip neigh` there)?"
            )
        });
        Some(format!(
            "{} is heard by Ethernet frames only{why} Repair it before the frames fail, too: then only echo requests keep both from holding",
            p.name
        ))
    }
}

/// Adverts as Ethernet frames at an interface; where only datagrams are heard, that they gain
/// nothing.
pub(super) fn frames(f: &FrameStatus, p: &PeerStatus) -> String {
    let Some(why_not) = &f.why_not else {
        let to = f.to.as_deref().unwrap_or("everybody");
        let mut what = format!(
            "Ethernet frames on {} → {to} · heard {} · {} received · {} sent",
            f.interface,
            heard(f.heard_ms_ago),
            f.received,
            f.sent
        );
        if let Some(why) = &f.refused_because {
            let ago = heard(f.refused_ms_ago);
            let _ = write!(what, " · {} refused, the last {ago}: {why}", f.refused);
        }
        let silent = |ago: Option<f64>| ago.is_none_or(|ago| ago > SILENT);
        if p.two_way && p.frames.iter().all(|f| silent(f.heard_ms_ago)) {
            what.push_str(
                " · nothing is gained from them: does the network drop EtherType 0x88b5, or does the file there say \
                 frames = false?",
            );
        }
        return what;
    };
    format!("no Ethernet frames on {}: {why_not}", f.interface)
}

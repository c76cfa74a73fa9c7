//! What the status shows of the other members, and what this one says to them of itself.

use super::alarms::{holding_stranger, lately, why_rejected};
use super::frames::frame;
use super::orders::orders;
use super::{PathStatus, PeerStatus, SaysStatus, hex, ms, name, why_not_ready};
use crate::config_file::key_name;
use crate::metrics::{Metrics, Noted};
use crate::note;
use crate::orders::is_no_lack;
use onehold_core::advert::GroupId;
use onehold_core::config::{Arbitration, Config};
use onehold_core::observe::{GroupSnapshot, PeerSnapshot, RoleName, Snapshot};
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};

/// What another member lacks to hold a group, or to serve it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LackStatus {
    /// The group's name.
    pub group: String,
    /// In its words.
    pub why: String,
    /// For how long.
    pub for_ms: f64,
}

/// What this member has to say to the others, by group, in its notes: which orders stand, why it
/// could not hold the group, or does not serve it yet.
#[must_use]
pub fn lacks(
    snapshot: &Snapshot,
    config: &Config,
    metrics: &Metrics,
    now: LocalTime,
) -> Vec<(GroupId, String)> {
    let stranger = holding_stranger(snapshot, config, metrics, now);
    let lack = |g: &GroupSnapshot| {
        let m = metrics.groups.get(usize::from(g.group.0))?;
        let mut says = match g.role {
            RoleName::Witness => return None,
            RoleName::Holder if !g.open => {
                vec!["holds, and waits for `before_hold` before its gate opens (R-19)".to_owned()]
            }
            _ if g.ready => leans(g, snapshot, config).into_iter().collect(),
            _ => why_not_ready(g, snapshot, config, m, stranger.as_deref()),
        };
        let orders = orders(g, m).into_iter();
        let orders: Vec<String> = orders.filter(|order| !says.contains(order)).collect();
        says.extend(orders);
        (!says.is_empty()).then(|| (g.group, says.join("; ")))
    };
    snapshot.groups.iter().filter_map(lack).collect()
}

/// How the words of [`leans`] begin.
const LEANS: &str = "without ";

/// What a standby lacks that is two-way with enough members only while the holder is one of them:
/// it would have to take over without the holder. (The holder can't see it.)
pub(super) fn leans(g: &GroupSnapshot, all: &Snapshot, config: &Config) -> Option<String> {
    let standby = g.role == RoleName::Standby;
    let holder = g.holder.filter(|holder| standby && *holder != all.me)?;
    let others = all.peers.iter().filter(|p| p.member != holder);
    let (two_way, missing): (Vec<_>, Vec<_>) = others.partition(|p| p.two_way);
    let needed = config.majority() - 1;
    let by_majority = config.arbitration() == Arbitration::Majority && config.members().len() > 2;
    (by_majority && two_way.len() < needed).then(|| {
        let missing: Vec<String> = missing.iter().map(|p| name(config, p.member)).collect();
        format!(
            "{LEANS}{}, two-way with {} of the {needed} members it needs; start or reconnect {}",
            name(config, holder),
            two_way.len(),
            missing.join(" or ")
        )
    })
}

/// What another member says by its latest note: of what it lacks, unless its adverts say that it is
/// over.
fn lacks_of(
    peer: &PeerSnapshot,
    noted: &Noted,
    config: &Config,
    now: LocalTime,
) -> Vec<LackStatus> {
    let passed = now.since(noted.at);
    let is_over = |group: GroupId| {
        let says = peer.says.get(usize::from(group.0));
        says.is_some_and(|says| says.ready && !says.holds)
    };
    (noted.lines.iter())
        .filter(|_| passed < note::COUNTS)
        .filter(|line| {
            line.text.starts_with(LEANS) || is_no_lack(&line.text) || !is_over(line.group)
        })
        .map(|line| LackStatus {
            group: config.group_name(line.group).into_owned(),
            why: line.text.clone(),
            for_ms: ms(line.since.plus(passed)),
        })
        .collect()
}

pub(super) fn peers(
    snapshot: &Snapshot,
    config: &Config,
    metrics: &Metrics,
    now: LocalTime,
) -> Vec<PeerStatus> {
    let all = snapshot.peers.iter().map(|p| {
        let m = metrics.peers.iter().find(|m| m.member == p.member);
        let noted = (m.and_then(|m| m.note.as_ref()))
            .filter(|noted| Some(noted.incarnation) == p.incarnation);
        let lines = noted.map_or_else(Vec::new, |noted| lacks_of(p, noted, config, now));
        let (orders, lacks) = lines.into_iter().partition(|line| is_no_lack(&line.why));
        PeerStatus {
            name: name(config, p.member),
            witness: !config.is_candidate(p.member),
            heard_ms_ago: p.heard_ago.map(ms),
            rtt_ms: m.and_then(|m| m.rtt).map(ms),
            two_way: p.two_way,
            quarantined: p.quarantined,
            lost: m.map_or(0, |m| m.lost),
            incarnation: p.incarnation.map(|i| hex(i.0)),
            other_config: (m.and_then(|m| m.other_config))
                .filter(|o| lately(o.at, now))
                .map(|o| hex(o.digest.0)),
            version: noted.map(|noted| noted.version.clone()),
            key: m.and_then(|m| m.key).map(key_name),
            keys: Vec::new(),
            datagrams: None,
            says: says(p, config),
            lacks,
            orders,
            paths: (m.iter().flat_map(|m| &m.paths))
                .map(|w| PathStatus {
                    local: w.path.local.to_string(),
                    remote: w.path.remote.to_string(),
                    heard_ms_ago: w.heard_at.map(|at| ms(now.since(at))),
                    received: w.received,
                    refused: w.refusals.count,
                    refused_ms_ago: w.refusals.last.as_ref().map(|(at, _)| ms(now.since(*at))),
                    refused_because: w.refusals.last.as_ref().map(|(_, why)| why.clone()),
                    rejected: (w.rejected.filter(|r| lately(r.at, now)))
                        .and_then(|r| why_rejected(&r, w.path.remote, config, metrics)),
                })
                .collect(),
            frames: (metrics.frames.iter())
                .filter(|_| config.is_candidate(p.member))
                .map(|f| frame(f, now))
                .collect(),
        }
    });
    all.collect()
}

/// What a peer that is heard last said of each group.
fn says(peer: &PeerSnapshot, config: &Config) -> Vec<SaysStatus> {
    let vote = config.timing().vote();
    let heard = peer.heard_ago.is_some_and(|ago| ago < vote);
    let all = (0u8..).map(GroupId).zip(&peer.says).filter(|_| heard);
    all.map(|(group, says)| SaysStatus {
        group: config.group_name(group).into_owned(),
        ready: says.ready,
        holds: says.holds,
        mute: says.holds && says.preparing,
    })
    .collect()
}

//! What is counted and shown goes on in another program of this process, as far as a person would miss
//! it, or the agent: what is measured anew within seconds is not.

use super::{Metrics, Noted, RoleChange};
use crate::orders::Standings;
use onehold_core::advert::Incarnation;
use onehold_core::effect::Why;
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};

/// What is counted, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    started: LocalTime,
    sent: u64,
    accepted: u64,
    rejected: Vec<u64>,
    peers: Vec<Peer>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    accepted: Option<(Incarnation, LocalTime)>,
    newest: Option<LocalTime>,
    rtt: Option<Span>,
    lost: u64,
    note: Option<Noted>,
    /// By path: when something last came over it, and how many.
    paths: Vec<(Option<LocalTime>, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    not_eligible: Option<String>,
    not_healthy: Option<String>,
    role_changes: Vec<(RoleName, Why, u64)>,
    last_change: Option<(LocalTime, RoleName, RoleName, Why)>,
    epoch: u64,
    unprepared: Option<(u32, String)>,
    said: Standings,
}

impl Metrics {
    /// What goes on in another program of this process.
    pub(crate) fn carried(&self) -> Carried {
        let peer = |p: &super::PeerMetrics| Peer {
            accepted: p.accepted,
            newest: p.newest,
            rtt: p.rtt,
            lost: p.lost,
            note: p.note.clone(),
            paths: p.paths.iter().map(|p| (p.heard_at, p.received)).collect(),
        };
        let group = |g: &super::GroupMetrics| Group {
            not_eligible: g.not_eligible.clone(),
            not_healthy: g.not_healthy.clone(),
            role_changes: (g.role_changes.iter())
                .map(|(&(to, why), &n)| (to, why, n))
                .collect(),
            last_change: g.last_change.map(|c| (c.at, c.from, c.to, c.why)),
            epoch: g.epoch,
            unprepared: g.unprepared.clone(),
            said: g.said.clone(),
        };
        Carried {
            started: self.started,
            sent: self.sent,
            accepted: self.accepted,
            rejected: self.rejected.to_vec(),
            peers: self.peers.iter().map(peer).collect(),
            groups: self.groups.iter().map(group).collect(),
        }
    }

    /// Goes on with what the former program of this process counted.
    pub(crate) fn goes_on(&mut self, from: Carried) {
        self.started = from.started;
        (self.sent, self.accepted) = (from.sent, from.accepted);
        for (count, was) in self.rejected.iter_mut().zip(from.rejected) {
            *count = was;
        }
        for (peer, was) in self.peers.iter_mut().zip(from.peers) {
            (peer.accepted, peer.newest) = (was.accepted, was.newest);
            (peer.rtt, peer.lost, peer.note) = (was.rtt, was.lost, was.note);
            for (path, (heard_at, received)) in peer.paths.iter_mut().zip(was.paths) {
                (path.heard_at, path.received) = (heard_at, received);
            }
        }
        for (group, was) in self.groups.iter_mut().zip(from.groups) {
            (group.not_eligible, group.not_healthy) = (was.not_eligible, was.not_healthy);
            let changes = was.role_changes.into_iter();
            group.role_changes = changes.map(|(to, why, n)| ((to, why), n)).collect();
            let change = was.last_change;
            group.last_change = change.map(|(at, from, to, why)| RoleChange { at, from, to, why });
            group.epoch = was.epoch;
            group.unprepared = was.unprepared;
            group.said = was.said;
        }
    }
}

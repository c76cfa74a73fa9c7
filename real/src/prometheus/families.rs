//! Every metric: its name, what it is, and where in the status it comes from.

use super::Page;
use crate::status::{
    CheckStatus, FrameStatus, GroupStatus, HookStatus, MarginStatus, PathStatus, PeerStatus, Status,
};

/// One metric, with all its labels.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// Its labels, besides `cluster` and `member` of those that are a cluster's.
    pub labels: &'static [&'static str],
    /// In one sentence.
    pub help: &'static str,
    pub(super) of: Of,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows, from the daemon's start on.
    Counter,
    /// It is as it is now.
    Gauge,
}

impl Kind {
    /// As in the text format.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Where its values come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// From the process.
    Page(fn(&Page<'_>) -> Vec<Sample>),
    /// From each cluster.
    Cluster(fn(&Status) -> Vec<Sample>),
}

impl Family {
    /// Whether it has the labels `cluster` and `member` as well.
    #[must_use]
    pub const fn is_of_cluster(&self) -> bool {
        matches!(self.of, Of::Cluster(_))
    }
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, String)>,
    pub(super) value: f64,
}

impl Sample {
    /// The same, labelled with whose status it is from.
    pub(super) fn of_cluster(self, status: &Status) -> Self {
        let mut labels = vec![
            ("cluster", status.cluster.clone()),
            ("member", status.member.clone()),
        ];
        labels.extend(self.labels);
        Self { labels, ..self }
    }
}

fn one(value: f64) -> Vec<Sample> {
    let labels = Vec::new();
    vec![Sample { labels, value }]
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn count(n: u64) -> f64 {
    n as f64
}

/// A status has milliseconds, to the microsecond.
fn seconds(ms: f64) -> f64 {
    (ms * 1e3).round() / 1e6
}

fn groups(s: &Status, of: impl Fn(&GroupStatus) -> Option<f64>) -> Vec<Sample> {
    let sample = |g: &GroupStatus| {
        let labels = vec![("group", g.name.clone())];
        of(g).map(|value| Sample { labels, value })
    };
    s.groups.iter().filter_map(sample).collect()
}

/// What only a candidate has of each group.
fn of_candidate(s: &Status, of: impl Fn(&GroupStatus) -> f64) -> Vec<Sample> {
    groups(s, |g| (!s.witness).then(|| of(g)))
}

/// One sample for each of `values`, 1 for the one that it is.
fn states(
    s: &Status,
    label: &'static str,
    values: &[&str],
    of: impl Fn(&GroupStatus) -> Option<&str>,
) -> Vec<Sample> {
    let mut all = Vec::new();
    for g in &s.groups {
        all.extend(values.iter().map(|value| Sample {
            labels: vec![("group", g.name.clone()), (label, (*value).to_owned())],
            value: flag(of(g) == Some(value)),
        }));
    }
    all
}

fn candidates(s: &Status) -> Vec<&str> {
    let others = s.peers.iter().filter(|p| !p.witness);
    let mut all: Vec<&str> = others.map(|p| p.name.as_str()).collect();
    all.extend((!s.witness).then_some(s.member.as_str()));
    all.sort_unstable();
    all
}

/// From the start on, so that the first move is an increase as well.
fn holds(g: &GroupStatus) -> f64 {
    let to_holder = g.role_changes_by.iter().filter(|by| by.to == "holder");
    count(to_holder.map(|by| by.times).sum())
}

fn role_changes(s: &Status) -> Vec<Sample> {
    let mut all = Vec::new();
    for g in &s.groups {
        all.extend(g.role_changes_by.iter().map(|by| Sample {
            labels: vec![
                ("group", g.name.clone()),
                ("to", by.to.clone()),
                ("cause", by.cause.clone()),
            ],
            value: count(by.times),
        }));
    }
    all
}

fn checks(s: &Status, of: impl Fn(&CheckStatus) -> Option<f64>) -> Vec<Sample> {
    let mut all = Vec::new();
    for g in &s.groups {
        all.extend(g.checks.iter().filter_map(|c| {
            let labels = vec![("group", g.name.clone()), ("check", c.name.clone())];
            of(c).map(|value| Sample { labels, value })
        }));
    }
    all
}

fn hooks(s: &Status, of: impl Fn(&HookStatus) -> f64) -> Vec<Sample> {
    let mut all = Vec::new();
    for g in &s.groups {
        all.extend(g.hooks.iter().map(|h| Sample {
            labels: vec![("group", g.name.clone()), ("hook", h.name.clone())],
            value: of(h),
        }));
    }
    all
}

fn peers(s: &Status, of: impl Fn(&PeerStatus) -> Option<f64>) -> Vec<Sample> {
    let sample = |p: &PeerStatus| {
        let labels = vec![("peer", p.name.clone())];
        of(p).map(|value| Sample { labels, value })
    };
    s.peers.iter().filter_map(sample).collect()
}

fn paths(s: &Status, of: impl Fn(&PathStatus) -> Option<f64>) -> Vec<Sample> {
    let mut all = Vec::new();
    for p in &s.peers {
        all.extend(p.paths.iter().filter_map(|w| {
            let labels = vec![
                ("peer", p.name.clone()),
                ("local", w.local.clone()),
                ("remote", w.remote.clone()),
            ];
            of(w).map(|value| Sample { labels, value })
        }));
    }
    all
}

fn frames(s: &Status, of: impl Fn(&FrameStatus) -> Option<f64>) -> Vec<Sample> {
    let mut all = Vec::new();
    for p in &s.peers {
        all.extend(p.frames.iter().filter_map(|f| {
            let labels = vec![("peer", p.name.clone()), ("interface", f.interface.clone())];
            of(f).map(|value| Sample { labels, value })
        }));
    }
    all
}

fn margins(s: &Status, of: impl Fn(&MarginStatus) -> Option<f64>) -> Vec<Sample> {
    let sample = |m: &MarginStatus| {
        let labels = vec![
            ("assumption", m.assumption.name().to_owned()),
            ("of", m.of.clone().unwrap_or_default()),
        ];
        of(m).map(|value| Sample { labels, value })
    };
    s.margins.iter().filter_map(sample).collect()
}

/// To six digits: more is noise.
fn ratio(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    of: fn(&Status) -> Vec<Sample>,
) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
        of: Of::Cluster(of),
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    of: fn(&Status) -> Vec<Sample>,
) -> Family {
    Family {
        kind: Kind::Counter,
        ..gauge(name, labels, help, of)
    }
}

const fn process(
    name: &'static str,
    help: &'static str,
    of: fn(&Page<'_>) -> Vec<Sample>,
) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels: &[],
        help,
        of: Of::Page(of),
    }
}

/// All of them, in the order of the page.
pub const FAMILIES: &[Family] = &[
    process("onehold_up", "1 if the daemon answered.", |page| {
        one(flag(page.report.is_some()))
    }),
    process(
        "onehold_report_time_seconds",
        "When this was written, by the wall clock, in seconds since 1970.",
        |page| one(page.time),
    ),
    process(
        "onehold_waiting",
        "Clusters that should be served and can't be yet; onehold status says why.",
        |page| {
            let report = page.report.into_iter();
            report.flat_map(|r| one(r.waiting.len() as f64)).collect()
        },
    ),
    process(
        "onehold_start_time_seconds",
        "When the first of the daemon's clusters began to be served, in seconds since 1970.",
        |page| {
            let clusters = page.report.iter().flat_map(|r| &r.clusters);
            let longest = clusters.map(|s| s.running_ms).reduce(f64::max);
            longest.map_or_else(Vec::new, |ms| one((page.time - ms / 1e3).round()))
        },
    ),
    gauge(
        "onehold_build_info",
        &["version", "guard", "arbitration", "config"],
        "1; its labels are the daemon's version, what is in force, and the configuration's digest.",
        |s| {
            vec![Sample {
                labels: vec![
                    ("version", s.version.clone()),
                    ("guard", s.guard.clone()),
                    ("arbitration", s.arbitration.clone()),
                    ("config", s.config.clone()),
                ],
                value: 1.0,
            }]
        },
    ),
    gauge(
        "onehold_alarms",
        &[],
        "What needs a person, by number; onehold status has the words.",
        |s| one(s.alarms.len() as f64),
    ),
    gauge(
        "onehold_quarantine_left_seconds",
        &[],
        "What is left of quarantine after a start (R-9); 0 when it is over.",
        |s| one(seconds(s.quarantine_left_ms.unwrap_or_default())),
    ),
    gauge(
        "onehold_lease_seconds",
        &[],
        "The lease H: how long one granted ask lets a holder hold.",
        |s| one(seconds(s.timing.lease_ms)),
    ),
    gauge(
        "onehold_role",
        &["group", "role"],
        "1 for this member's role in the group, 0 for the others.",
        |s| {
            let roles = ["holder", "standby", "releasing", "witness"];
            states(s, "role", &roles, |g| Some(&g.role))
        },
    ),
    gauge(
        "onehold_known_holder",
        &["group", "holder"],
        "1 for the candidate that holds the group, as far as this member knows, 0 for the others.",
        |s| states(s, "holder", &candidates(s), |g| g.holder.as_deref()),
    ),
    gauge(
        "onehold_lease_left_seconds",
        &["group"],
        "What is left of this member's lease; absent while it does not hold.",
        |s| groups(s, |g| g.lease_left_ms.map(seconds)),
    ),
    gauge(
        "onehold_votes",
        &["group"],
        "How many members' votes stand for this member, itself included.",
        |s| of_candidate(s, |g| g.votes.len() as f64),
    ),
    gauge(
        "onehold_votes_needed",
        &["group"],
        "How many votes this member needs to hold.",
        |s| of_candidate(s, |g| g.votes_needed as f64),
    ),
    gauge(
        "onehold_ready",
        &["group"],
        "1 if this member could hold the group.",
        |s| of_candidate(s, |g| flag(g.ready)),
    ),
    gauge(
        "onehold_successor_ready",
        &["group"],
        "1 if the other candidate says that it could take over; absent while nobody says so.",
        |s| groups(s, |g| g.successor_ready.map(flag)),
    ),
    gauge(
        "onehold_eligible",
        &["group"],
        "1 if this member's kernel could serve the group.",
        |s| of_candidate(s, |g| flag(g.eligible)),
    ),
    gauge(
        "onehold_healthy",
        &["group"],
        "1 if the group's service is healthy here.",
        |s| of_candidate(s, |g| flag(g.healthy)),
    ),
    gauge(
        "onehold_opening",
        &["group"],
        "1 while the group is held and its gate waits for before_hold (R-19).",
        |s| of_candidate(s, |g| flag(g.opening)),
    ),
    gauge(
        "onehold_standby_ordered",
        &["group"],
        "1 while the operator's standby is in force here.",
        |s| of_candidate(s, |g| flag(g.standby)),
    ),
    gauge(
        "onehold_switch_ordered",
        &["group"],
        "1 while the operator's switch keeps the group from coming back here.",
        |s| of_candidate(s, |g| flag(g.gave_away)),
    ),
    gauge(
        "onehold_frozen",
        &["group"],
        "1 while the freeze of one of the candidates is in force: nothing moves by itself.",
        |s| of_candidate(s, |g| flag(!g.frozen_by.is_empty())),
    ),
    counter(
        "onehold_holds_total",
        &["group"],
        "How often this member took hold; the sum over the members is how often the group moved.",
        |s| of_candidate(s, holds),
    ),
    counter(
        "onehold_role_changes_total",
        &["group", "to", "cause"],
        "How often this member's role changed, by what it became and why.",
        role_changes,
    ),
    counter(
        "onehold_probes_total",
        &["group"],
        "How often the network was asked for the group's addresses by echo requests (R-20).",
        |s| groups(s, |g| Some(count(g.probes.as_ref()?.asked))),
    ),
    counter(
        "onehold_probes_answered_total",
        &["group"],
        "How many of these were answered.",
        |s| groups(s, |g| Some(count(g.probes.as_ref()?.answered))),
    ),
    gauge(
        "onehold_check_passing",
        &["group", "check"],
        "1 if the check passes; absent before its first result.",
        |s| checks(s, |c| c.passing.map(flag)),
    ),
    gauge(
        "onehold_hook_failures",
        &["group", "hook"],
        "How often in a row the hook has failed.",
        |s| hooks(s, |h| f64::from(h.failures)),
    ),
    gauge(
        "onehold_peer_two_way",
        &["peer"],
        "1 if the peer is heard and hears this member.",
        |s| peers(s, |p| Some(flag(p.two_way))),
    ),
    gauge(
        "onehold_peer_silence_seconds",
        &["peer"],
        "How long ago an advert of the peer was accepted; absent if none was.",
        |s| peers(s, |p| p.heard_ms_ago.map(seconds)),
    ),
    gauge(
        "onehold_peer_round_trip_seconds",
        &["peer"],
        "The last round trip to the peer, without what it took to answer.",
        |s| peers(s, |p| p.rtt_ms.map(seconds)),
    ),
    counter(
        "onehold_peer_lost_total",
        &["peer"],
        "How often the peer was lost: not heard for as long as a vote is bound.",
        |s| peers(s, |p| Some(count(p.lost))),
    ),
    gauge(
        "onehold_margin_used_ratio",
        &["assumption", "of"],
        "What an assumption needed in the last five to ten minutes of what is allowed; beyond 1 it breaks.",
        |s| margins(s, |m| Some(ratio(m.used()))),
    ),
    gauge(
        "onehold_margin_most_used_ratio",
        &["assumption", "of"],
        "The most that an assumption needed of what is allowed, since the start.",
        |s| margins(s, |m| Some(ratio(m.most_used()))),
    ),
    gauge(
        "onehold_margin_seconds",
        &["assumption", "of"],
        "What was measured of an assumption in the last five to ten minutes, of those in seconds.",
        |s| margins(s, |m| (m.unit == "ms").then(|| seconds(m.lately))),
    ),
    gauge(
        "onehold_margin_rate_ratio",
        &["assumption", "of"],
        "What was measured last of an assumption on rates of clocks, as a ratio: 1 ppm is 0.000001.",
        |s| margins(s, |m| (m.unit == "ppm").then(|| ratio(m.lately / 1e6))),
    ),
    gauge(
        "onehold_path_silence_seconds",
        &["peer", "local", "remote"],
        "How long ago an authentic advert came over the path; absent if none did.",
        |s| paths(s, |w| w.heard_ms_ago.map(seconds)),
    ),
    counter(
        "onehold_path_received_total",
        &["peer", "local", "remote"],
        "Authentic adverts that came over the path.",
        |s| paths(s, |w| Some(count(w.received))),
    ),
    counter(
        "onehold_path_refused_total",
        &["peer", "local", "remote"],
        "Datagrams of this member that the network refused to carry over the path.",
        |s| paths(s, |w| Some(count(w.refused))),
    ),
    gauge(
        "onehold_frames_silence_seconds",
        &["peer", "interface"],
        "How long ago an advert of the peer came as an Ethernet frame; absent if none did.",
        |s| frames(s, |f| f.heard_ms_ago.map(seconds)),
    ),
    counter(
        "onehold_frames_received_total",
        &["peer", "interface"],
        "Authentic adverts that came as Ethernet frames.",
        |s| frames(s, |f| Some(count(f.received))),
    ),
    counter(
        "onehold_frames_sent_total",
        &["peer", "interface"],
        "Adverts handed to the interface as Ethernet frames.",
        |s| frames(s, |f| Some(count(f.sent))),
    ),
    counter(
        "onehold_frames_refused_total",
        &["peer", "interface"],
        "Ethernet frames of this member that the interface refused.",
        |s| frames(s, |f| Some(count(f.refused))),
    ),
    counter(
        "onehold_sent_total",
        &[],
        "Datagrams handed to the network, once for each path.",
        |s| one(count(s.counters.sent)),
    ),
    counter(
        "onehold_accepted_total",
        &[],
        "Adverts that were accepted.",
        |s| one(count(s.counters.accepted)),
    ),
    counter(
        "onehold_rejected_total",
        &["reason"],
        "Datagrams that changed nothing, by reason.",
        |s| {
            let all = s.counters.rejected.iter();
            all.map(|(reason, n)| Sample {
                labels: vec![("reason", reason.clone())],
                value: count(*n),
            })
            .collect()
        },
    ),
    counter(
        "onehold_notes_total",
        &["fate"],
        "Notes between members, by what became of them: sent, accepted, ignored.",
        |s| {
            let notes = &s.counters.notes;
            let all = [
                ("sent", notes.sent),
                ("accepted", notes.accepted),
                ("ignored", notes.ignored),
            ];
            all.map(|(fate, n)| Sample {
                labels: vec![("fate", fate.to_owned())],
                value: count(n),
            })
            .to_vec()
        },
    ),
];

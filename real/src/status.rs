//! What `onehold status` shows: one [`Status`] for each cluster, filled by the driver, sent over
//! the control socket as JSON and rendered as text by the client. No rule reads it.

mod alarms;
mod changes;
mod changing;
mod crowd;
mod frames;
mod json;
mod many;
mod margins;
mod orders;
mod peers;
mod probes;
mod report;
mod text;
mod verdict;

pub use changes::RoleChanges;
pub use changing::{ChangeStatus, UnderWay};
pub use frames::FrameStatus;
pub use json::{VERSION, json};
pub use many::Rows;
pub use margins::{Assumption, MarginStatus};
pub use peers::{LackStatus, lacks};
pub use probes::ProbeStatus;
pub use report::{Report, Waiting};
pub use text::render;
pub(crate) use text::{ago, wrapped};
pub use verdict::{Severity, Verdict, of_group, verdict};

use crate::config_file::each_once;
use crate::config_file::{key_name, rotation};
use crate::metrics::{GroupMetrics, Metrics};
use crate::note::NoteCounters;
use crate::orders::Standing;
use alarms::holding_stranger;
use onehold_core::advert::MemberId;
use onehold_core::auth::Keys;
use onehold_core::config::{Arbitration, Config, Failback};
use onehold_core::keyring::Keyring;
use onehold_core::observe::{GroupSnapshot, RoleName, Snapshot};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use orders::{frozen_by, order, orders};
use peers::{leans, peers};
use probes::{probes, without_echo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the configuration file on disk compares with what runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FileOnDisk {
    /// It is what runs.
    #[default]
    Same,
    /// It differs, and no reload was requested: how.
    Differs(String),
    /// A reload was refused: why.
    Refused(String),
}

/// One cluster, as one of its members sees it. Lengths of time are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// This member.
    pub member: String,
    /// This member votes and never holds.
    pub witness: bool,
    /// What needs a person; empty when all is well.
    pub alarms: Vec<String>,
    /// What else a person may want to know.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The daemon's version.
    pub version: String,
    /// This member's incarnation.
    pub incarnation: String,
    /// For how long it has been served.
    #[serde(default)]
    pub running_ms: f64,
    /// The keys that are accepted here, the newest first.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Digest of what all members must agree on.
    pub config: String,
    /// How that is being changed.
    #[serde(default)]
    pub changing: Option<ChangeStatus>,
    /// It takes no hold, for the other candidate may go by the votes of other members.
    #[serde(default)]
    pub doubts: bool,
    /// `majority` or `survivor`.
    pub arbitration: String,
    /// How many members the cluster has.
    pub members: usize,
    /// How many of them make a majority.
    pub majority: usize,
    /// `bpf`, `nft` or `none`.
    pub guard: String,
    /// Why no better guard is in force.
    pub guard_why_not_better: Option<String>,
    /// The timing in force.
    pub timing: TimingStatus,
    /// What is left of quarantine.
    pub quarantine_left_ms: Option<f64>,
    /// Stopped: every group was released.
    pub stopped: bool,
    /// The groups by name.
    pub groups: Vec<GroupStatus>,
    /// The other members by name.
    pub peers: Vec<PeerStatus>,
    /// Datagrams.
    pub counters: Counters,
    /// How near what is assumed came to breaking.
    #[serde(default)]
    pub margins: Vec<MarginStatus>,
}

/// The timing in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingStatus {
    /// i
    pub interval_ms: f64,
    /// H
    pub lease_ms: f64,
    /// D
    pub vote_ms: f64,
    /// Q
    pub quarantine_ms: f64,
    /// κ
    pub guard_slack_ms: f64,
    /// The longest round trip at which renewals follow each other without an outage, with the guard
    /// in force.
    pub round_trip_ms: Option<f64>,
}

/// A group of floating addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its interface here; several are separated by a space.
    pub interface: Option<String>,
    /// The interface of each address here.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// The candidate that gets it when both can.
    pub preferred: String,
    /// `auto` or `manual`.
    pub failback: String,
    /// This member's role.
    pub role: String,
    /// Who holds it, as far as this member knows.
    pub holder: Option<String>,
    /// The holder, another member, says that it is mute: its gate waits for `before_hold`.
    #[serde(default)]
    pub holder_mute: bool,
    /// What is left of this member's lease.
    pub lease_left_ms: Option<f64>,
    /// Members whose votes stand for this member.
    pub votes: Vec<String>,
    /// How many it needs.
    pub votes_needed: usize,
    /// Whom this member's own vote is bound to.
    pub vote: Option<String>,
    /// This member asks for votes.
    pub asks: bool,
    /// This member could hold.
    pub ready: bool,
    /// A stranger says that it holds: no member takes hold beside it.
    #[serde(default)]
    pub kept_back: bool,
    /// Why it could not.
    pub not_ready: Vec<String>,
    /// What is wrong with this member's kernel or service: why it would not serve the group, or not
    /// well.
    pub unfit: Vec<String>,
    /// What this standby lacks to take over from a holder that fails, though it is ready.
    #[serde(default)]
    pub leans: Option<String>,
    /// The candidate that would take over from the known holder, unless that is this member.
    pub successor: Option<String>,
    /// Whether the successor says that it could hold; nothing while it says nothing.
    pub successor_ready: Option<bool>,
    /// This member's kernel could serve the group.
    pub eligible: bool,
    /// The service is healthy here.
    pub healthy: bool,
    /// It holds and wants to hand over.
    pub yields: bool,
    /// The operator said `standby`.
    pub standby: bool,
    /// The operator said `switch` here.
    pub gave_away: bool,
    /// The members whose operator said `freeze`: nothing moves by itself.
    #[serde(default)]
    pub frozen_by: Vec<String>,
    /// The orders that stand here, in words.
    #[serde(default)]
    pub orders: Vec<String>,
    /// The network is asked now whether somebody answers for the group.
    #[serde(default)]
    pub probing: bool,
    /// The operator presumed the peer dead.
    pub presumed_dead: bool,
    /// How often the role changed since the start.
    pub role_changes: u64,
    /// The same by what it became and why.
    #[serde(default)]
    pub role_changes_by: Vec<RoleChanges>,
    /// The last change.
    pub last_change: Option<LastChange>,
    /// It is held, and its gate still waits for `before_hold`.
    #[serde(default)]
    pub opening: bool,
    /// For how long it has waited.
    #[serde(default)]
    pub opening_ms: Option<f64>,
    /// For how long it waits at most.
    #[serde(default)]
    pub opening_deadline_ms: Option<f64>,
    /// How often in a row `before_hold` was not done when the gate waited for it.
    #[serde(default)]
    pub unprepared: u32,
    /// Why not.
    #[serde(default)]
    pub unprepared_why: Option<String>,
    /// The checks of its service here, as the agent last reported them.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
    /// Its hooks that have run here.
    #[serde(default)]
    pub hooks: Vec<HookStatus>,
    /// What became of its probes; nothing where the network is not asked.
    #[serde(default)]
    pub probes: Option<ProbeStatus>,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Whether it passes; nothing before its first result.
    pub passing: Option<bool>,
    /// For how long.
    pub for_ms: f64,
    /// What it last said.
    pub said: String,
}

/// A hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Its name.
    pub name: String,
    /// How often in a row it has failed.
    pub failures: u32,
    /// How long ago it ended last.
    pub ended_ms_ago: f64,
    /// What it last said.
    pub said: String,
}

/// A change of role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastChange {
    /// How long ago.
    pub ago_ms: f64,
    /// From which role.
    pub from: String,
    /// To which.
    pub to: String,
    /// Why.
    pub why: String,
    /// By which rule.
    pub rule: String,
}

/// Another member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// It votes and never holds.
    pub witness: bool,
    /// How long ago an advert of it was accepted.
    pub heard_ms_ago: Option<f64>,
    /// The last round trip, without what the peer took to answer.
    pub rtt_ms: Option<f64>,
    /// It is heard, and hears this member.
    pub two_way: bool,
    /// It said that it is in quarantine.
    pub quarantined: bool,
    /// How often it was lost: not heard for as long as a vote is bound.
    #[serde(default)]
    pub lost: u64,
    /// Its incarnation.
    pub incarnation: Option<String>,
    /// The digest of its configuration, while it is another one.
    pub other_config: Option<String>,
    /// Its daemon's version, once its notes have said it.
    #[serde(default)]
    pub version: Option<String>,
    /// The key that its latest advert was sealed with.
    #[serde(default)]
    pub key: Option<String>,
    /// The keys that it accepts, the newest first, by what it said last.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The highest version of datagrams that it reads, by what it said last.
    #[serde(default)]
    pub datagrams: Option<u8>,
    /// What it last said of each group, while it is heard.
    #[serde(default)]
    pub says: Vec<SaysStatus>,
    /// What it lacks, by its notes.
    #[serde(default)]
    pub lacks: Vec<LackStatus>,
    /// The orders that stand there though it could hold, by its notes.
    #[serde(default)]
    pub orders: Vec<LackStatus>,
    /// The ways to it.
    pub paths: Vec<PathStatus>,
    /// The Ethernet frames to it, by interface, where adverts travel so, too.
    #[serde(default)]
    pub frames: Vec<FrameStatus>,
}

/// What another member says of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaysStatus {
    /// The group's name.
    pub group: String,
    /// It could hold the group.
    pub ready: bool,
    /// It holds the group.
    pub holds: bool,
    /// It holds the group, mute: its gate waits for `before_hold`.
    pub mute: bool,
}

/// One way to another member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathStatus {
    /// This member's address.
    pub local: String,
    /// The other's.
    pub remote: String,
    /// How long ago an authentic advert came over it.
    pub heard_ms_ago: Option<f64>,
    /// How many came over it.
    pub received: u64,
    /// How many of this member's datagrams the network refused to carry, as far as this host knows.
    pub refused: u64,
    /// How long ago it last refused one.
    pub refused_ms_ago: Option<f64>,
    /// Why.
    pub refused_because: Option<String>,
    /// Why everything that comes over it is rejected as not authentic.
    #[serde(default)]
    pub rejected: Option<String>,
}

/// Datagrams since the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Handed to the network.
    pub sent: u64,
    /// Accepted.
    pub accepted: u64,
    /// Rejected, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Notes, which are none of these.
    #[serde(default)]
    pub notes: NoteCounters,
}

fn ms(span: Span) -> f64 {
    (span.as_millis_f64() * 1e3).round() / 1e3
}

impl Status {
    /// One cluster at `now`.
    #[must_use]
    pub fn from_parts(
        snapshot: &Snapshot,
        config: &Config,
        metrics: &Metrics,
        now: LocalTime,
    ) -> Self {
        let t = config.timing();
        let stranger = holding_stranger(snapshot, config, metrics, now);
        let groups = snapshot.groups.iter();
        let groups: Vec<GroupStatus> = groups
            .map(|g| {
                GroupStatus::from_parts(g, snapshot, config, metrics, now, stranger.as_deref())
            })
            .collect();
        let mut status = Self {
            cluster: metrics.cluster.clone(),
            member: name(config, snapshot.me),
            witness: !config.is_candidate(snapshot.me),
            alarms: Vec::new(),
            notes: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: hex(snapshot.incarnation.0),
            running_ms: ms(now.since(metrics.started)),
            keys: Vec::new(),
            config: hex(config.digest().0),
            changing: ChangeStatus::from_parts(snapshot, config, &groups),
            doubts: snapshot.doubts,
            arbitration: match config.arbitration() {
                Arbitration::Majority => "majority",
                Arbitration::Survivor => "survivor",
            }
            .to_owned(),
            members: config.members().len(),
            majority: config.majority(),
            guard: metrics.guard.name.clone(),
            guard_why_not_better: metrics.guard.why_not_better.clone(),
            timing: TimingStatus {
                interval_ms: ms(t.interval()),
                lease_ms: ms(t.lease()),
                vote_ms: ms(t.vote()),
                quarantine_ms: ms(t.quarantine(Span::ZERO)),
                guard_slack_ms: ms(t.slack()),
                round_trip_ms: t.longest_round_trip(metrics.guard.ends_early).map(ms),
            },
            quarantine_left_ms: snapshot.quarantine_left.map(ms),
            stopped: snapshot.stopped,
            groups,
            peers: peers(snapshot, config, metrics, now),
            counters: Counters {
                sent: metrics.sent,
                accepted: metrics.accepted,
                rejected: (Reject::NAMES.iter().zip(metrics.rejected))
                    .map(|(name, n)| ((*name).to_owned(), n))
                    .collect(),
                notes: metrics.notes,
            },
            margins: Vec::new(),
        };
        status.alarms = status.find_alarms(config, metrics, stranger.as_deref(), now);
        status
            .notes
            .extend(status.changing.as_ref().map(ToString::to_string));
        status.notes.extend(status.is_needed());
        let without = status.groups.iter().filter_map(without_echo);
        status.notes.extend(without.collect::<Vec<_>>());
        status
    }

    /// Whether nobody holds any more if this member stops, and why. (Of two members under
    /// `majority` that is so by themselves.)
    fn is_needed(&self) -> Option<String> {
        let (heard, silent): (Vec<_>, Vec<_>) = self.peers.iter().partition(|p| p.two_way);
        let by_majority = self.arbitration == "majority" && self.members > 2;
        let now = heard.len() + 1;
        let needed = by_majority && now >= self.majority && now - 1 < self.majority;
        (needed && !self.stopped).then(|| {
            let silent: Vec<&str> = silent.iter().map(|p| p.name.as_str()).collect();
            format!(
                "if this member stops, nobody holds: {} of {} members are needed, and there is no vote from {}",
                self.majority,
                self.members,
                silent.join(", ")
            )
        })
    }

    /// The same with the keys that are in force, and what is known of the other members' keys.
    #[must_use]
    pub fn with_keys(mut self, config: &Config, keys: &Keys, known: &Keyring) -> Self {
        self.keys = keys.accepted().map(key_name).collect();
        for peer in &mut self.peers {
            let id = config
                .peers()
                .find(|id| config.member_name(*id) == peer.name);
            let ids = id.and_then(|id| known.of(id)).unwrap_or_default();
            peer.keys = ids.iter().copied().map(key_name).collect();
            peer.datagrams = id.and_then(|id| known.highest_version(id));
        }
        self.notes.extend(rotation(config, keys, known));
        self
    }

    /// Adds a note or an alarm if the configuration file has differed from what runs, for `since`.
    pub fn note_file(&mut self, on_disk: &FileOnDisk, since: Span) {
        match on_disk {
            FileOnDisk::Same => {}
            FileOnDisk::Differs(what) => self.notes.push(format!(
                "{what}; no reload was requested yet: `onehold reload` applies it, or says why it can't"
            )),
            FileOnDisk::Refused(why) => self.alarms.push(format!(
                "the reload {} ago was refused, and the former configuration stays in force: {why}",
                text::ago(ms(since))
            )),
        }
    }
}

impl GroupStatus {
    fn from_parts(
        g: &GroupSnapshot,
        all: &Snapshot,
        config: &Config,
        metrics: &Metrics,
        now: LocalTime,
        stranger: Option<&str>,
    ) -> Self {
        let group = config.group(g.group);
        let fallback = GroupMetrics::default();
        let m = metrics
            .groups
            .get(usize::from(g.group.0))
            .unwrap_or(&fallback);
        let successor = (all.peers.iter())
            .find(|p| g.holder.is_some_and(|h| h != p.member) && config.is_candidate(p.member));
        let opening = g.role == RoleName::Holder && !g.open;
        let waited = m.waited.filter(|_| opening);
        Self {
            name: config.group_name(g.group).into_owned(),
            addresses: (group.iter().flat_map(|c| &c.addresses))
                .map(|p| format!("{}/{}", p.address, p.length))
                .collect(),
            interface: each_once(&m.interfaces),
            interfaces: m.interfaces.clone(),
            preferred: group.map_or_else(String::new, |c| name(config, c.preferred)),
            failback: match group.map(|c| c.failback) {
                Some(Failback::Auto) => "auto",
                Some(Failback::Manual) | None => "manual",
            }
            .to_owned(),
            role: g.role.text().to_owned(),
            holder: g.holder.map(|h| name(config, h)),
            holder_mute: (all.peers.iter())
                .find(|p| Some(p.member) == g.holder)
                .and_then(|p| p.says.get(usize::from(g.group.0)))
                .is_some_and(|says| says.holds && says.preparing),
            lease_left_ms: g.lease_left.map(ms),
            votes: g.votes.iter().map(|v| name(config, *v)).collect(),
            votes_needed: match config.arbitration() {
                Arbitration::Majority => config.majority(),
                Arbitration::Survivor => 1,
            },
            vote: g.vote.map(|v| name(config, v.member)),
            asks: g.asks,
            ready: g.ready,
            kept_back: g.kept_back,
            not_ready: if g.ready {
                Vec::new()
            } else {
                why_not_ready(g, all, config, m, stranger)
            },
            unfit: unfit(g, m),
            leans: leans(g, all, config),
            successor: successor.map(|p| name(config, p.member)),
            successor_ready: successor
                .filter(|p| p.two_way && !p.quarantined)
                .and_then(|p| p.says.get(usize::from(g.group.0)))
                .map(|says| says.ready),
            eligible: g.eligible,
            healthy: g.healthy,
            yields: g.yields,
            standby: g.standby,
            gave_away: g.gave_away,
            frozen_by: frozen_by(g, all, config),
            orders: orders(g, m),
            probing: g.probing,
            presumed_dead: g.presumed_dead,
            role_changes: m.role_changes.values().sum(),
            role_changes_by: changes::role_changes(m),
            opening,
            opening_ms: waited.map(|(since, _)| ms(now.since(since))),
            opening_deadline_ms: waited.map(|(_, policy)| ms(policy.deadline)),
            unprepared: m.unprepared.as_ref().map_or(0, |(times, _)| *times),
            unprepared_why: m.unprepared.as_ref().map(|(_, why)| why.clone()),
            checks: checks(m, now),
            hooks: hooks(m, now),
            probes: probes(m, now),
            last_change: m.last_change.map(|c| LastChange {
                ago_ms: ms(now.since(c.at)),
                from: c.from.text().to_owned(),
                to: c.to.text().to_owned(),
                why: c.why.text().to_owned(),
                rule: c.why.rule().to_owned(),
            }),
        }
    }
}

/// The checks, as they are now if nothing has changed since the report.
fn checks(m: &GroupMetrics, now: LocalTime) -> Vec<CheckStatus> {
    let all = (m.reported.iter()).flat_map(|r| r.checks.iter().map(|c| (r.at, c)));
    all.map(|(at, check)| CheckStatus {
        name: check.name.clone(),
        passing: check.passing,
        for_ms: ms(now.since(at)) + check.since_ms as f64,
        said: check.said.clone(),
    })
    .collect()
}

fn hooks(m: &GroupMetrics, now: LocalTime) -> Vec<HookStatus> {
    let all = (m.reported.iter()).flat_map(|r| r.hooks.iter().map(|h| (r.at, h)));
    all.map(|(at, hook)| HookStatus {
        name: hook.name.clone(),
        failures: hook.failures,
        ended_ms_ago: ms(now.since(at)) + hook.since_ms as f64,
        said: hook.said.clone(),
    })
    .collect()
}

/// What is wrong with this member's kernel or service.
fn unfit(g: &GroupSnapshot, m: &GroupMetrics) -> Vec<String> {
    let because = |bad: bool, why: &Option<String>, unknown: &str| {
        bad.then(|| why.clone().unwrap_or_else(|| unknown.to_owned()))
    };
    let not_eligible = "this host's kernel can't serve the group";
    let all = [
        because(!g.eligible, &m.not_eligible, not_eligible),
        because(!g.healthy, &m.not_healthy, "the service is unhealthy"),
    ];
    all.into_iter().flatten().collect()
}

fn why_not_ready(
    g: &GroupSnapshot,
    all: &Snapshot,
    config: &Config,
    m: &GroupMetrics,
    stranger: Option<&str>,
) -> Vec<String> {
    if g.role == RoleName::Witness {
        return vec!["a witness never holds".to_owned()];
    }
    let mut why = Vec::new();
    if let Some(left) = all.quarantine_left {
        why.push(format!(
            "in quarantine for another {:.0} ms (R-9)",
            ms(left)
        ));
    }
    why.extend(unfit(g, m));
    if g.standby {
        why.extend(order(Standing::Standby, m));
    }
    if g.role == RoleName::Releasing {
        why.push("the kernel has not confirmed the release yet (R-8)".to_owned());
    }
    let two_way = all.peers.iter().filter(|p| p.two_way).count();
    let needed = match config.arbitration() {
        Arbitration::Majority => config.majority() - 1,
        Arbitration::Survivor => 1,
    };
    why.extend(stranger.map(|it| format!("{it} says that it holds, by another file (R-14)")));
    if g.answered_ago.is_some() {
        why.push("a machine on the network answers for the addresses (R-20)".to_owned());
    }
    // In a pair, the stranger is also why no other member is two-way.
    let explained = stranger.is_some() && config.arbitration() == Arbitration::Survivor;
    if two_way < needed && !explained {
        why.push(format!(
            "two-way with {two_way} of the {needed} members it needs"
        ));
    }
    if why.is_empty() {
        why.push("not yet".to_owned());
    }
    why
}

fn name(config: &Config, id: MemberId) -> String {
    config.member_name(id).into_owned()
}

fn hex(n: u64) -> String {
    format!("{n:016x}")
}

#[cfg(test)]
pub(crate) mod tests;

//! What needs a person: each alarm names the thing, the cause and the remedy.

use super::text::ago;
use super::{GroupStatus, PathStatus, Status, TimingStatus};
use crate::metrics::{Metrics, OtherConfig, Rejected};
use crate::telemetry;
use onehold_core::config::Config;
use onehold_core::observe::Snapshot;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use std::net::SocketAddr;

/// What happened longer ago does not raise an alarm.
const LATELY: Span = Span::from_millis(10_000);

pub(super) fn lately(at: LocalTime, now: LocalTime) -> bool {
    now.since(at) < LATELY
}

impl Status {
    /// What needs a person, of all that the status shows.
    pub(super) fn find_alarms(
        &self,
        config: &Config,
        metrics: &Metrics,
        stranger: Option<&str>,
        now: LocalTime,
    ) -> Vec<String> {
        let mut alarms = Vec::new();
        for p in &self.peers {
            if p.other_config.is_some() {
                continue; // below, with the other strangers
            }
            if p.heard_ms_ago.is_none_or(|ago| ago > self.timing.vote_ms) {
                let why = p.paths.iter().find_map(|w| w.rejected.clone());
                let why = why.or_else(|| p.frames.iter().find_map(|f| f.rejected.clone()));
                let why = why.or_else(|| p.paths.iter().find_map(refused_lately));
                let member = config.peers().find(|id| config.member_name(*id) == p.name);
                let why = why.or_else(|| metrics.doubles.why_unheard(member?));
                let why = why.unwrap_or_else(|| {
                    let at = p.paths.first().map_or("", |w| &w.remote);
                    format!(
                        ": is it up (`systemctl status onehold` there), and does UDP to {at} get through \
                         (firewalls, cables)?"
                    )
                });
                alarms.push(format!("{} is not heard{why}", p.name));
                continue;
            }
            let frames_only = self.frames_only(p);
            if !p.two_way {
                alarms.push(format!(
                    "{} is heard, but does not hear this member: a firewall or the network passes one direction \
                     only; `onehold status` there says what it hears",
                    p.name
                ));
            }
            if let Some(said) = frames_only {
                alarms.push(said);
            } else if p.two_way {
                let silent = |w: &&PathStatus| {
                    w.heard_ms_ago
                        .is_none_or(|ago| ago > 2.0 * self.timing.vote_ms)
                };
                for w in p.paths.iter().filter(silent) {
                    let why = w.rejected.clone().or_else(|| refused_lately(w));
                    let why = why.unwrap_or_else(|| {
                        "; another path still works: repair this network before that one fails"
                            .to_owned()
                    });
                    alarms.push(format!(
                        "{} is not heard on the path from {}{why}",
                        p.name, w.remote
                    ));
                }
            }
        }
        alarms.extend(other_configs(config, metrics, now));
        alarms.extend(forged(metrics, now));
        for g in &self.groups {
            alarms.extend(self.who_holds(g, stranger));
            // A holder goes on holding, whatever it would need to begin.
            let holds = g.role == "holder";
            let idle = self.witness || self.stopped || self.quarantine_left_ms.is_some();
            alarms.extend(opening(g));
            if holds && !g.unfit.is_empty() {
                let why = g.unfit.join("; ");
                alarms.push(format!("{}: held here, though not well: {why}", g.name));
            }
            if g.holder_mute {
                let holder = g.holder.as_deref().unwrap_or_default();
                alarms.push(format!(
                    "{}: {holder} holds it, mute: nobody answers before its before_hold is done; `onehold status` \
                     there says for how long (R-19)",
                    g.name
                ));
            }
            alarms.extend(self.successor_lacks(g));
            if let (Some(why), Some(holder)) = (&g.leans, &g.holder) {
                alarms.push(format!(
                    "{}: could not take over when {holder} fails: {why}",
                    g.name
                ));
            }
            if !g.ready && !holds && !idle {
                alarms.push(format!(
                    "{}: can't hold here: {}",
                    g.name,
                    g.not_ready.join("; ")
                ));
            }
        }
        if !self.witness {
            alarms.extend(self.short_lease());
        }
        if self.guard == "none" && !self.witness {
            alarms.push(
                "cluster.guard: none: nothing mutes this member's addresses when it is frozen or killed; \
                 for tests only: remove that line"
                    .to_owned(),
            );
        }
        alarms.extend(metrics.alarms.values().flatten().cloned());
        alarms
    }

    /// What is wrong with who holds a group; `stranger` holds something by another file.
    fn who_holds(&self, g: &GroupStatus, stranger: Option<&str>) -> Option<String> {
        let group = &g.name;
        let ago = g.probes.as_ref().and_then(|p| p.answered_ms_ago);
        let answered = ago.is_some_and(|ago| ago < LATELY.as_millis_f64() / 2.0);
        match (&g.holder, stranger) {
            (Some(holder), Some(stranger)) => Some(format!(
                "{group}: two hold: {holder}, and {stranger} says that it holds, too, by another file (unless it \
                 means another group). Stop one, and make the files equal (R-15)"
            )),
            (None, Some(stranger)) => Some(format!(
                "{group}: {stranger} says that it holds, by another file, so no member takes hold beside it: make \
                 the files equal, or stop it (R-14)"
            )),
            (None, None) if self.quarantine_left_ms.is_none() && !answered => Some(format!(
                "{group}: no member is known to hold it; `onehold status` on each candidate says why it \
                     does not"
            )),
            (None | Some(_), None) => None, // or an alarm of its own says more
        }
    }

    /// Why no standby could take over. Every member says so: a witness sees it as well as the holder.
    fn successor_lacks(&self, g: &GroupStatus) -> Option<String> {
        let other = g.successor.as_ref()?;
        let of_it = self.peers.iter().filter(|p| p.name == *other);
        let mut lacks = of_it.flat_map(|p| &p.lacks);
        let why = match (lacks.find(|lack| lack.group == g.name), g.successor_ready) {
            (Some(lack), Some(_)) => format!("{} (for {})", lack.why, ago(lack.for_ms)),
            (None, Some(false)) => "`onehold status` there says why".to_owned(),
            (None, Some(true)) | (_, None) => return None,
        };
        Some(format!(
            "{}: {other} is heard, but could not take over: {why}",
            g.name
        ))
    }

    /// Why a held address goes away for moments, if the lease is too short.
    fn short_lease(&self) -> Option<String> {
        let TimingStatus {
            lease_ms,
            round_trip_ms,
            ..
        } = self.timing;
        let guard = &self.guard;
        let Some(longest) = round_trip_ms else {
            return Some(format!(
                "timing.lease: {lease_ms}ms is too short for the {guard} guard, which ends each hold \
                 early: a held address goes away for moments. Lengthen it, on all members"
            ));
        };
        let held = self.groups.iter().find(|g| g.role == "holder")?;
        let mut trips: Vec<f64> = (self.peers.iter().filter(|p| p.two_way))
            .filter_map(|p| p.rtt_ms)
            .collect();
        trips.sort_by(f64::total_cmp);
        // The slowest whose vote is needed.
        let needed = held.votes_needed.saturating_sub(2);
        let slowest = trips.get(needed).filter(|trip| **trip > longest)?;
        Some(format!(
            "timing.lease: with a round trip of {slowest}ms a held address goes away for moments: a lease \
             of {lease_ms}ms with the {guard} guard is renewed in time for {longest}ms at most. Lengthen it, \
             on all members"
        ))
    }
}

/// Nobody answers at a group's addresses while its gate waits; and whether it has lately waited in
/// vain.
fn opening(g: &GroupStatus) -> Vec<String> {
    let mut alarms = Vec::new();
    if g.opening {
        let ago = |ms: Option<f64>| super::text::ago(ms.unwrap_or_default());
        alarms.push(format!(
            "{}: held here, mute for {}, though `ip address` shows the addresses: nobody answers before before_hold \
             is done, or its deadline of {} over; `journalctl -u onehold-agent` says what it does (R-19)",
            g.name,
            ago(g.opening_ms),
            ago(g.opening_deadline_ms)
        ));
    }
    if let Some(why) = &g.unprepared_why {
        let times = match g.unprepared {
            1 => "when it was last waited for".to_owned(),
            n => format!("the last {n} times that it was waited for"),
        };
        alarms.push(format!(
            "{}: before_hold was not done {times}: {why}. Repair it, or say `onehold resume {}` (R-19)",
            g.name, g.name
        ));
    }
    alarms
}

/// Why what comes from a member's address proves nothing, as the end of an alarm.
pub(super) fn why_rejected(
    rejected: &Rejected,
    from: SocketAddr,
    config: &Config,
    metrics: &Metrics,
) -> Option<String> {
    let ours = config.cluster().0;
    let why = match (rejected.why, rejected.cluster) {
        (Reject::WrongCluster, Some(theirs)) => format!(
            "names another cluster (id {:016x}; `{}` has the id {ours:016x}): is `cluster.name` the same in \
             both files?",
            theirs.0, metrics.cluster
        ),
        (Reject::UnknownKey(key), _) => format!(
            "is sealed with a key that is not accepted here (id {:08x}): are the secrets equal?",
            key.0
        ),
        (Reject::BadSeal, _) => {
            "does not fit its seal: it was damaged on the way, or is forged".to_owned()
        }
        (Reject::TooShort | Reject::NotOurs, _) => {
            "is not an advert of this version: do both run the same version (`onehold version`)?"
                .to_owned()
        }
        _ => return None,
    };
    Some(format!("; what comes from {from} {why}"))
}

/// Why the network refused what was sent lately, if it did, as the end of an alarm.
pub(super) fn refused_lately(path: &PathStatus) -> Option<String> {
    let why = path.refused_because.as_ref()?;
    let lately = path.refused_ms_ago? < LATELY.as_millis_f64();
    lately.then(|| format!("; what is sent to {} comes back: {why}", path.remote))
}

/// Who else sends what names this cluster and is sealed with no key of ours.
fn forged(metrics: &Metrics, now: LocalTime) -> Vec<String> {
    let lately = metrics
        .forged
        .iter()
        .filter(|(_, last)| lately(last.at, now));
    lately
        .map(|(from, last)| {
            let how = match last.why {
                Reject::UnknownKey(key) => {
                    format!("sealed with a key that is not accepted here (id {:08x})", key.0)
                }
                _ => "does not fit its seal".to_owned(),
            };
            format!(
                "what comes from {from}, which is not a member's address in the file here, names this cluster and is \
                 {how}: a member with another secret, or somebody who forges adverts. It changes nothing. Stop it, \
                 or correct its secret"
            )
        })
        .collect()
}

/// All strangers, as last heard of, and whose address each has by our own file.
fn others<'m>(
    config: &'m Config,
    metrics: &'m Metrics,
) -> impl Iterator<Item = (Option<&'m str>, OtherConfig)> {
    let of_members = (metrics.peers.iter()).filter_map(|p| {
        let name = config.member(p.member).map(|m| m.name.as_str());
        Some((name, p.other_config?))
    });
    let of_others = metrics.strangers.values().map(|other| (None, *other));
    of_members.chain(of_others)
}

/// The strangers that were heard lately, in words.
fn other_configs(config: &Config, metrics: &Metrics, now: LocalTime) -> Vec<String> {
    others(config, metrics)
        .filter(|(_, other)| lately(other.at, now))
        .map(|(name, other)| {
            let ours = config.digest().0;
            let what = telemetry::other_config(name, other.from, other.digest.0, ours);
            format!("{what} (R-0)")
        })
        .collect()
}

/// Which stranger says now that it holds.
pub(super) fn holding_stranger(
    snapshot: &Snapshot,
    config: &Config,
    metrics: &Metrics,
    now: LocalTime,
) -> Option<String> {
    let timing = config.timing();
    let fresh = timing.survive_after().plus(timing.interval());
    let holds = |o: &(_, OtherConfig)| o.1.holds && now.since(o.1.at) < fresh;
    match others(config, metrics).find(holds) {
        Some((Some(name), other)) => Some(format!("{name} (at {})", other.from)),
        Some((None, other)) => Some(format!("a machine at {}", other.from)),
        None => (snapshot.groups.iter().any(|g| g.kept_back)).then(|| "some machine".to_owned()),
    }
}

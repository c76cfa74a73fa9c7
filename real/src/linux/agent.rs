//! What the agent is shown of the groups, and what it says of their service.
//!
//! Without an agent nothing changes: the health that was reported last stays, and an alarm says so.

use super::Linux;
use crate::config_file::hooks::Which;
use crate::control::session::{
    EVERY, GroupHealth, GroupShown, HEALTH_AFTER, Heard, HookReport, Post, Said, Shown, VERSION,
    process_in_words,
};
use crate::driver::ShellEvent;
use crate::driver::changing::Places;
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How often in a row a hook must fail for it to be an alarm.
const ALARMING: u32 = 2;
/// What is heard of an agent in one turn.
const AT_A_TIME: usize = 16;

/// The agent, as far as the shell knows it.
#[derive(Debug)]
pub struct Agent {
    post: Post,
    shown: Vec<GroupShown>,
    shown_at: Option<LocalTime>,
    /// The process that has a session.
    pid: Option<i32>,
    /// Since when it says nothing: that of its last report, or of the daemon's start.
    silent_since: Option<LocalTime>,
    /// Why the last session ended.
    ended: Option<String>,
    alarmed: bool,
    /// By group: whether its service is healthy, as it was reported last.
    health: BTreeMap<u8, Result<(), String>>,
    /// By group: when that was last logged.
    logged: BTreeMap<u8, LocalTime>,
    /// By group: its hooks that keep failing, in words; and when they last were handed on.
    failing: BTreeMap<u8, String>,
    failing_at: Option<LocalTime>,
}

impl Agent {
    /// None yet.
    #[must_use]
    pub fn new(post: Post) -> Self {
        Self {
            post,
            shown: Vec::new(),
            shown_at: None,
            pid: None,
            silent_since: None,
            ended: None,
            alarmed: false,
            health: BTreeMap::new(),
            logged: BTreeMap::new(),
            failing: BTreeMap::new(),
            failing_at: None,
        }
    }

    /// What the former program of this process knew of the groups' service: it counts until an agent
    /// says something else.
    pub(super) fn goes_on(&mut self, health: BTreeMap<u8, Result<(), String>>) {
        self.health = health;
    }

    /// the groups have other numbers.
    pub(super) fn renumber(&mut self, places: &Places) {
        places.renumber(&mut self.health);
        places.renumber(&mut self.logged);
        places.renumber(&mut self.failing);
    }

    pub(super) const fn health(&self) -> &BTreeMap<u8, Result<(), String>> {
        &self.health
    }

    /// The daemon ends: the agent is to see what was shown last.
    pub async fn leave(&mut self) {
        self.post.leave().await;
    }

    /// Whether somebody looks at what is shown.
    pub(super) fn watches(&self) -> bool {
        self.pid.is_some()
    }

    /// Shows the groups, if they are otherwise than before or it is time for a sign of life.
    pub(super) fn show(&mut self, now: LocalTime, groups: Vec<GroupShown>) {
        let same = groups.len() == self.shown.len()
            && groups
                .iter()
                .zip(&self.shown)
                .all(|(new, old)| new.is_like(old));
        if same && self.shown_at.is_some_and(|at| now < at.plus(EVERY.into())) {
            return;
        }
        self.shown_at = Some(now);
        self.shown.clone_from(&groups);
        self.post.shown.send_replace(Arc::new(Shown {
            version: VERSION,
            at_ms: now.as_nanos() / 1_000_000,
            groups,
        }));
    }

    /// When something of it is due.
    pub(super) fn due(&self) -> Option<LocalTime> {
        let silent = (self.silent_since.filter(|_| !self.alarmed))
            .map(|since| since.plus(HEALTH_AFTER.into()));
        let sign = (self.shown_at.filter(|_| self.pid.is_some())).map(|at| at.plus(EVERY.into()));
        [silent, sign].into_iter().flatten().min()
    }
}

impl Linux {
    /// Whether something was heard of an agent.
    pub(super) fn poll_agent(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut any = Poll::Pending;
        for _ in 0..AT_A_TIME {
            let Poll::Ready(Some(heard)) = self.agent.post.heard.poll_recv(cx) else {
                break;
            };
            any = Poll::Ready(());
            match heard {
                Heard::Begun { pid } => {
                    tracing::info!(
                        event = "agent",
                        "the agent ({}) is here",
                        process_in_words(pid)
                    );
                    (self.agent.pid, self.agent.shown_at) = (Some(pid), None);
                }
                Heard::Ended(why) => {
                    tracing::warn!(event = "agent", "the agent's session is over: {why}");
                    (self.agent.pid, self.agent.ended) = (None, Some(why));
                    self.alarm(0, "agent's file", None); // that it is gone is another alarm
                }
                Heard::Said(Said::Show {}) => self.agent.shown_at = None,
                Heard::Said(Said::Health(groups)) => self.reported(groups),
                Heard::Said(Said::File { refused }) => {
                    let alarm = |why| {
                        format!(
                            "the agent's reload was refused, and its checks and hooks stay as they were: {why}"
                        )
                    };
                    self.alarm(0, "agent's file", refused.map(alarm));
                }
                Heard::Said(Said::Prepared {
                    cluster,
                    group,
                    epoch,
                    done,
                }) => self.prepared(&cluster, &group, epoch, done),
            }
        }
        any
    }

    /// What became of `before_hold`; of an earlier hold it is no news.
    fn prepared(&mut self, cluster: &str, name: &str, epoch: u64, done: Result<(), String>) {
        let is_it = |g: &&GroupShown| (g.cluster.as_str(), g.group.as_str()) == (cluster, name);
        let shown = self.agent.shown.iter().find(is_it);
        let waits = shown.is_some_and(|g| g.preparing && g.epoch == epoch);
        if let Some(group) = self.group_called(cluster, name).filter(|_| waits) {
            self.pending.events.push_back(ShellEvent::Prepared {
                cluster: 0,
                group,
                done,
            });
        }
    }

    /// All that an agent says of the groups' service.
    fn reported(&mut self, groups: Vec<GroupHealth>) {
        self.agent.silent_since = Some(self.clock.now());
        if std::mem::take(&mut self.agent.alarmed) {
            self.alarm(0, "agent", None);
        }
        // Each group once, however often it is named: what a line costs is bounded by our own file.
        let mut known = BTreeMap::new();
        for said in groups {
            if let Some(group) = self.group_called(&said.cluster, &said.group) {
                known.insert(group.0, said);
            } // else of a file that this daemon has not read
        }
        let mut failing = BTreeMap::new();
        for (group, said) in known {
            if let Some(words) = keep_failing(&said) {
                failing.insert(group, words);
            }
            let group = GroupId(group);
            // While it is not known it counts as it did.
            if let Some(healthy) = said.healthy {
                let health = match healthy {
                    true => Ok(()),
                    false => Err(why_unhealthy(&said)),
                };
                self.healthy(group, &said.group, health);
            }
            self.pending.events.push_back(ShellEvent::Checks {
                cluster: 0,
                group,
                checks: said.checks,
                hooks: said.hooks,
            });
        }
        // At most once a second, whatever an agent says: each change is a line in the log.
        let now = self.clock.now();
        let rests = (self.agent.failing_at).is_some_and(|at| now < at.plus(EVERY.into()));
        if failing != self.agent.failing && !rests {
            self.agent.failing_at = Some(now);
            self.agent.failing.clone_from(&failing);
            self.pending.events.push_back(ShellEvent::Alarms {
                cluster: 0,
                from: "hooks",
                alarms: failing.into_values().collect(),
            });
        }
    }

    fn healthy(&mut self, group: GroupId, name: &str, health: Result<(), String>) {
        let before = self.agent.health.insert(group.0, health.clone());
        if before.as_ref() == Some(&health) {
            return;
        }
        let now = self.clock.now();
        let rests = |at: &LocalTime| now < at.plus(EVERY.into());
        let rests = self.agent.logged.get(&group.0).is_some_and(rests);
        if before.map(|before| before.is_ok()) != Some(health.is_ok()) && !rests {
            self.agent.logged.insert(group.0, now);
            match &health {
                Ok(()) => tracing::info!(event = "health", "{name}: the service is healthy"),
                Err(why) => tracing::warn!(event = "health", "{name}: the service is sick: {why}"),
            }
        }
        self.tell_health(group);
    }

    /// The group of that name, of the one cluster of a candidate.
    fn group_called(&self, cluster: &str, group: &str) -> Option<GroupId> {
        let local = self.candidate()?;
        if local.name() != cluster {
            return None;
        }
        let at = local.file.groups.keys().position(|name| name == group)?;
        u8::try_from(at).ok().map(GroupId)
    }

    /// Whether a group is well served from here: whole, as far as the kernel goes, this member heard
    /// by more than frames, and its service healthy.
    pub(super) fn tell_health(&mut self, group: GroupId) {
        let whole = self.pending.whole.get(&group.0).cloned();
        let section = (self.loaded.clusters.first())
            .and_then(|local| local.file.groups.values().nth(usize::from(group.0)));
        let assumed = match section.is_none_or(|s| s.assumed_healthy()) {
            true => Ok(()),
            false => Err("no check has a result yet".to_owned()),
        };
        let service = self.agent.health.get(&group.0).cloned().unwrap_or(assumed);
        let heard = self.pending.speech.weakness().map_or(Ok(()), Err);
        self.pending.events.push_back(ShellEvent::Health {
            cluster: 0,
            group,
            healthy: whole.unwrap_or(Ok(())).and(heard).and(service),
        });
    }

    /// The file was read again: what nothing checks any more is healthy.
    pub(super) fn checks_may_differ(&mut self) {
        let Some(local) = self.candidate() else {
            return;
        };
        let groups: Vec<(u8, bool)> = ((0u8..).zip(local.file.groups.values()))
            .map(|(group, section)| (group, section.checks.is_empty()))
            .collect();
        for (group, _) in groups.into_iter().filter(|(_, unchecked)| *unchecked) {
            self.agent.health.remove(&group);
            self.tell_health(GroupId(group));
        }
    }

    /// Whether the agent has been silent for too long.
    pub(super) fn look_for_agent(&mut self, now: LocalTime) {
        let Some(local) = (self.loaded.clusters.first()).filter(|_| self.kernel.is_some()) else {
            return;
        };
        let groups = || {
            let all = local.file.groups.iter();
            all.filter(|(_, group)| group.needs_agent())
        };
        let agent = &mut self.agent;
        if groups().next().is_none() {
            agent.silent_since = None; // nothing needs one
            if std::mem::take(&mut agent.alarmed) {
                self.alarm(0, "agent", None);
            }
            return;
        }
        agent.silent_since.get_or_insert(now);
        let silent = agent
            .silent_since
            .is_some_and(|at| now >= at.plus(HEALTH_AFTER.into()));
        if !silent || std::mem::replace(&mut agent.alarmed, true) {
            return;
        }
        let who = match (&agent.ended, agent.pid) {
            (Some(why), None) => format!("the agent is gone ({why})"),
            (_, Some(pid)) => format!("the agent ({}) reports nothing", process_in_words(pid)),
            (None, None) => "no agent has reported since this daemon started".to_owned(),
        };
        let names: Vec<&str> = groups().map(|(name, _)| name.as_str()).collect();
        let alarm = format!(
            "{who}: the health of {} is unknown and counts as it did before, and no hook is run; \
             `systemctl status onehold-agent`",
            names.join(", ")
        );
        self.alarm(0, "agent", Some(alarm));
    }
}

/// Which of its hooks keep failing, if any does.
fn keep_failing(said: &GroupHealth) -> Option<String> {
    let named = |hook: &&HookReport| Which::ALL.iter().any(|which| which.name() == hook.name);
    let words: Vec<String> = (said.hooks.iter().filter(named))
        .filter(|hook| hook.failures >= ALARMING)
        .map(|hook| match hook.name.as_str() {
            "before_hold" => format!("the hook {} keeps failing: {}", hook.name, hook.said),
            name => format!(
                "the hook {name} keeps failing, and is tried again: {}",
                hook.said
            ),
        })
        .collect();
    (!words.is_empty()).then(|| format!("{}: {}", said.group, words.join("; ")))
}

/// Which of its checks do not pass, and what they say.
fn why_unhealthy(said: &GroupHealth) -> String {
    let failing = said
        .checks
        .iter()
        .filter(|check| check.passing != Some(true));
    let words: Vec<String> = failing
        .map(|check| match (check.passing, check.said.as_str()) {
            (None, _) => format!("check {} has no result yet", check.name),
            (Some(_), "") => format!("check {} fails", check.name),
            (Some(_), said) => format!("check {} fails: {said}", check.name),
        })
        .collect();
    match words.is_empty() {
        true => "the agent says that the service is sick".to_owned(),
        false => words.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sick_group_says_which_check_fails() {
        let check = |name: &str, passing, said: &str| crate::control::session::CheckReport {
            name: name.to_owned(),
            passing,
            since_ms: 1,
            said: said.to_owned(),
        };
        let said = GroupHealth {
            cluster: "pair".to_owned(),
            group: "web".to_owned(),
            healthy: Some(false),
            checks: vec![
                check("a", Some(true), "fine"),
                check("b", Some(false), "502 Bad Gateway"),
                check("c", None, ""),
            ],
            hooks: Vec::new(),
        };
        let why = why_unhealthy(&said);
        assert_eq!(
            why,
            "check b fails: 502 Bad Gateway; check c has no result yet"
        );
    }
}

//! A group's hooks: one at a time, and the newest state wins.

use super::board::{Board, Place};
use super::command::{Ended, Ending, How, Job, Nursery};
use super::course::{Course, Level, Step};
use super::ocf::{self, MetaData};
use super::wire::{Daemon, Seen};
use crate::clock::boottime;
use crate::config_file::hooks::{Hook, Hooks, Ocf, Run, Which, runnable};
use crate::control::session::{GroupShown, Said};
use onehold_core::time::{LocalTime, Span};
use std::path::Path;
use std::time::Duration;
use tokio::time::sleep;

/// Most lines of one run that are logged.
const MAX_LINES: u32 = 20;
/// After what time it is tried again to learn whether this member holds.
const NOT_SURE: Duration = Duration::from_secs(1);

/// The hooks of a group, and what they need.
#[derive(Clone, Debug)]
pub(super) struct Runner {
    pub(super) place: Place,
    pub(super) hooks: Hooks,
    pub(super) daemon: Daemon,
    pub(super) board: Board,
    pub(super) nursery: Nursery,
}

/// A hook to run: for what level, and by what the daemon showed.
#[derive(Clone, Copy)]
struct Errand<'a> {
    level: Level,
    which: Which,
    hook: &'a Hook,
    seen: &'a Seen,
}

impl Runner {
    /// Runs the hooks, forever.
    pub(super) async fn run(self) {
        let mut course = Course::default();
        let mut changes = self.daemon.seen();
        let reconcile = self.hooks.holding.as_ref().and_then(|hook| hook.reconcile);
        loop {
            let mut seen = changes.borrow_and_update().clone();
            let mut level = seen.level(&self.place);
            let mut step = course.step(level, reconcile, boottime());
            if let Step::Run(which) = step
                && self.hook(which).is_some()
                && (which == Which::Holding || seen.is_old())
            {
                // What a holder does, only a holder may begin: the daemon is asked right before. And
                // nothing is begun by what was long ago.
                match self.daemon.fresh().await {
                    Some(now) => seen = now,
                    None => {
                        sleep(NOT_SURE).await;
                        continue;
                    }
                }
                level = seen.level(&self.place);
                step = course.step(level, reconcile, boottime());
            }
            match step {
                Step::Wait => {
                    let _ = changes.changed().await;
                }
                Step::WaitUntil(at) => tokio::select! {
                    _ = changes.changed() => {}
                    () = sleep(until(at)) => {}
                },
                Step::Run(which) => match self.hook(which) {
                    Some(hook) => {
                        let seen = &seen;
                        let errand = Errand {
                            level,
                            which,
                            hook,
                            seen,
                        };
                        self.once(&mut course, errand).await;
                    }
                    None => {
                        if which == Which::BeforeHold {
                            let why = "the agent's file has no before_hold, and the daemon was started with \
                                       another file: restart onehold, or put before_hold back and reload \
                                       onehold-agent";
                            tracing::warn!("{}: before_hold is waited for: {why}", self.place.1);
                            self.answer(&seen, Err(why.to_owned()));
                        }
                        course.ended(level, true, boottime());
                    }
                },
            }
        }
    }

    fn hook(&self, which: Which) -> Option<&Hook> {
        match which {
            Which::BeforeHold => self.hooks.before_hold.as_ref(),
            Which::Holding => self.hooks.holding.as_ref(),
            Which::Released => self.hooks.released.as_ref(),
            Which::Changed => self.hooks.changed.as_ref(),
        }
    }

    /// Runs one hook to its end.
    async fn once(&self, course: &mut Course, errand: Errand<'_>) {
        let (level, which) = (errand.level, errand.which);
        let ended = self.try_once(errand).await;
        if ended.how == How::Unwanted {
            let (name, words) = (which.name(), ended.in_words());
            tracing::info!(event = "hook", "{}: {name}: {words}", self.place.1);
            let now = self.daemon.seen().borrow().level(&self.place);
            if which == Which::BeforeHold && matches!(now, Level::Holding(_)) {
                // The daemon's deadline, which counts from the hold, was the first.
                let failures = course.ended(level, false, boottime());
                let words = "not done when the gate opened, and ended".to_owned();
                self.board.ran(&self.place, which, failures, words);
            }
            return;
        }
        let good = ended.is_good();
        let failures = course.ended(level, good, boottime());
        if which == Which::BeforeHold {
            let done = if good { Ok(()) } else { Err(ended.in_words()) };
            self.answer(errand.seen, done);
        }
        self.note(which, &ended, failures);
        if let Some(stuck) = ended.stuck {
            stuck.gone().await; // nothing is run beside it
        }
    }

    /// For people.
    fn note(&self, which: Which, ended: &Ended, failures: u32) {
        let (group, name, words) = (&self.place.1, which.name(), ended.in_words());
        match failures {
            0 => tracing::info!(event = "hook", "{group}: {name}: done: {words}"),
            // No flood: one that keeps failing is logged ever more rarely.
            n if n.is_power_of_two() => {
                tracing::warn!(
                    event = "hook",
                    "{group}: {name} failed, {n} times in a row: {words}"
                );
            }
            _ => tracing::debug!(event = "hook", "{group}: {name} failed: {words}"),
        }
        self.board.ran(&self.place, which, failures, words);
    }

    fn answer(&self, seen: &Seen, done: Result<(), String>) {
        if let Some(group) = seen.group(&self.place) {
            self.daemon.say(Said::Prepared {
                cluster: group.cluster.clone(),
                group: group.group.clone(),
                epoch: group.epoch,
                done,
            });
        }
    }

    async fn try_once(&self, errand: Errand<'_>) -> Ended {
        let refused = |why| Ended {
            how: How::NotStarted(why),
            said: String::new(),
            stuck: None,
        };
        let Errand {
            which, hook, seen, ..
        } = errand;
        let group = seen.group(&self.place);
        if which == Which::Holding && group.and_then(|g| seen.lease_left(g)).is_none() {
            return Ended {
                how: How::Unwanted,
                ..refused(String::new())
            };
        }
        match &hook.run {
            Run::Exec(command) => {
                let program = Path::new(command.first().map_or("", String::as_str));
                if let Err(why) = runnable(program, rustix::process::geteuid().as_raw()) {
                    return refused(why);
                }
                let deadline = hook.deadline.unwrap_or(which.deadline());
                self.command(errand, command.clone(), Vec::new(), deadline)
                    .await
            }
            Run::Ocf(agent) => {
                // It runs a program and waits for it.
                let read = agent.clone();
                let meta = match tokio::task::spawn_blocking(move || ocf::read(&read)).await {
                    Ok(Ok(meta)) => meta,
                    Ok(Err((key, what))) => return refused(format!("{key}: {what}")),
                    Err(e) => return refused(e.to_string()),
                };
                if which == Which::Released {
                    return self.action(errand, agent, &meta, "stop").await;
                }
                let ended = self.action(errand, agent, &meta, "monitor").await;
                if ended.how != How::Exited(ocf::RUNS_NOT) {
                    return ended;
                }
                match self.daemon.fresh().await {
                    Some(now) => {
                        let errand = Errand {
                            seen: &now,
                            ..errand
                        };
                        self.action(errand, agent, &meta, "start").await
                    }
                    None => refused("the daemon does not say whether this member holds".to_owned()),
                }
            }
        }
    }

    /// One action of an OCF resource agent.
    async fn action(
        &self,
        errand: Errand<'_>,
        agent: &Ocf,
        meta: &MetaData,
        action: &str,
    ) -> Ended {
        let deadline = errand.hook.deadline.or(meta.timeouts.get(action).copied());
        let deadline = deadline.unwrap_or(errand.which.deadline());
        let instance = format!("{}_{}", self.place.0, self.place.1);
        let environment = ocf::environment(agent, &instance, Some(deadline.into()));
        let command = vec![agent.program().display().to_string(), action.to_owned()];
        let mut ended = self.command(errand, command, environment, deadline).await;
        if ended.said.is_empty() && !ended.is_good() {
            ended.said = format!("{}:{} {action}", agent.provider, agent.kind);
        }
        ended
    }

    async fn command(
        &self,
        errand: Errand<'_>,
        command: Vec<String>,
        mut environment: Vec<(String, String)>,
        deadline: Span,
    ) -> Ended {
        let Errand {
            level,
            which,
            hook,
            seen,
        } = errand;
        environment.extend(self.environment(which, seen));
        let job = Job {
            command,
            environment,
            user: hook.user.clone(),
        };
        let mut changes = self.daemon.seen();
        let unwanted = async {
            // `changed` is of no state: only its deadline ends it.
            let wanted =
                |now: &Seen| which == Which::Changed || level.wants(now.level(&self.place));
            if changes.wait_for(|now| !wanted(now)).await.is_err() {
                std::future::pending().await
            }
        };
        let (mut lines, group, name) = (0, &self.place.1, which.name());
        let line = |said: &str| {
            lines += 1;
            match lines {
                1..=MAX_LINES => tracing::info!(event = "hook_said", "{group}: {name}: {said}"),
                _ if lines == MAX_LINES + 1 => {
                    tracing::info!(event = "hook_said", "{group}: {name}: and more");
                }
                _ => {}
            }
        };
        let limit = deadline.into();
        self.nursery
            .run(&job, limit, Ending::Asked, unwanted, line)
            .await
    }

    /// A hook's environment.
    fn environment(&self, which: Which, seen: &Seen) -> Vec<(String, String)> {
        let Some(group) = seen.group(&self.place) else {
            return Vec::new();
        };
        let GroupShown {
            cluster,
            member,
            group: name,
            addresses,
            interface,
            role,
            open,
            preparing,
            why,
            rule,
            peer,
            lease_left_ms: _,
            epoch: _,
        } = group;
        let state = match (which, preparing, open) {
            (Which::BeforeHold, ..) | (Which::Changed, true, _) => "preparing",
            (Which::Holding, ..) | (Which::Changed, _, true) => "holding",
            (Which::Released | Which::Changed, ..) => "released",
        };
        let left = seen.lease_left(group).map_or(0, |left| left.as_millis());
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        [
            ("CLUSTER", cluster.clone()),
            ("GROUP", name.clone()),
            ("MEMBER", member.clone()),
            ("ADDRESSES", addresses.join(" ")),
            ("INTERFACE", text(interface)),
            ("STATE", state.to_owned()),
            ("ROLE", role.clone()),
            ("WHY", why.clone()),
            ("RULE", rule.clone()),
            ("PEER", text(peer)),
            ("LEASE_LEFT_MS", left.to_string()),
            ("SOCKET", self.daemon.socket.display().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("ONEHOLD_{name}"), value))
        .collect()
    }

    /// Runs `changed` for every change of role, forever: for the newest, if several come while one
    /// runs.
    pub(super) async fn tell_changes(self) {
        let Some(hook) = self.hooks.changed.clone() else {
            return std::future::pending().await;
        };
        let mut changes = self.daemon.seen();
        let mut last: Option<String> = None;
        loop {
            let seen = changes.borrow_and_update().clone();
            let role = seen.group(&self.place).map(|group| group.role.clone());
            if let Some(role) = role
                && last.as_ref() != Some(&role)
                && last.replace(role).is_some()
            {
                let errand = Errand {
                    level: Level::Unknown,
                    which: Which::Changed,
                    hook: &hook,
                    seen: &seen,
                };
                let ended = self.try_once(errand).await;
                let failures = u32::from(!ended.is_good());
                self.note(Which::Changed, &ended, failures);
                continue; // it may have changed meanwhile
            }
            let _ = changes.changed().await;
        }
    }
}

fn until(at: LocalTime) -> Duration {
    at.since(boottime()).into()
}

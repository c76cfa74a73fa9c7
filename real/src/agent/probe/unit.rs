//! `unit`: a systemd unit is active. While its main process lives it is not asked for; when that
//! ends, at once.

use super::super::command::{Ending, Job, Nursery};
use super::Look;
use super::process::Watched;
use crate::clock::boottime;
use crate::config_file::hooks::User;
use onehold_core::time::{LocalTime, Span};
use std::time::Duration;

/// How often the service manager is asked although the main process lives.
const ASK_ANYWAY: Span = Span::from_millis(30_000);

/// A unit.
#[derive(Debug)]
pub(super) struct Unit {
    job: Job,
    main: Option<Watched>,
    asked: Option<LocalTime>,
}

impl Unit {
    pub(super) fn new(name: &str) -> Self {
        Self::asking("/usr/bin/systemctl", name)
    }

    pub(super) fn asking(systemctl: &str, name: &str) -> Self {
        let words = [
            systemctl,
            "show",
            "--property=ActiveState,SubState,MainPID",
            "--",
            name,
        ];
        Self {
            job: Job {
                command: words.map(str::to_owned).to_vec(),
                environment: Vec::new(),
                user: User::default(),
            },
            main: None,
            asked: None,
        }
    }

    pub(super) async fn look(&mut self, nursery: &Nursery, timeout: Duration) -> Look {
        let now = boottime();
        if let Some(main) = &self.main {
            let lately = self.asked.is_some_and(|at| now < at.plus(ASK_ANYWAY));
            if lately && !main.has_ended() {
                return Ok(format!("active, process {} runs", main.pid));
            }
        }
        self.main = None;
        let mut shown = Vec::new();
        let never = std::future::pending();
        let line = |line: &str| shown.push(line.to_owned());
        let ended = nursery
            .run(&self.job, timeout, Ending::AtOnce, never, line)
            .await;
        if !ended.is_good() {
            return Err(format!("systemctl: {}", ended.in_words()));
        }
        let of = |key: &str| {
            let value = shown
                .iter()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default()
        };
        let (active, sub) = (of("ActiveState"), of("SubState"));
        if !matches!(active, "active" | "reloading") {
            return Err(format!("{active} ({sub})"));
        }
        let pid = of("MainPID").parse().unwrap_or(0);
        if pid > 0 {
            self.main = Watched::new(pid).ok(); // it may have ended: the next look asks again
            self.asked = Some(now);
        }
        Ok(format!("{active} ({sub})"))
    }

    pub(super) async fn changed(&self) {
        match &self.main {
            Some(main) => main.ended().await,
            None => std::future::pending().await,
        }
    }
}

//! What the agent is to do, by its file; and what of it this host can't.

use super::board::Place;
use super::command::ids_of;
use super::ocf;
use crate::config_file::checks::{Check, Kind, checks};
use crate::config_file::hooks::{Hook, Hooks, Run, User, hooks, runnable};
use crate::config_file::{ConfigFile, FileError, LogSection, Source, WrittenCluster, written};
use std::collections::BTreeMap;
use std::path::Path;

/// What there is to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// By group.
    pub(super) groups: BTreeMap<Place, Group>,
    /// How to log.
    pub(super) log: LogSection,
    /// What of it this host can't do.
    pub(super) lacks: Vec<String>,
}

/// The checks and hooks of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) checks: Vec<Check>,
    pub(super) hooks: Hooks,
}

impl Plan {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with its text.
    pub(super) fn read(path: &Path) -> Result<Self, Vec<FileError>> {
        let mut plan = Self::default();
        let mut wrong = Vec::new();
        for one in written(path)?.clusters {
            match one {
                Ok(cluster) => plan.add(&cluster, &mut wrong),
                Err(e) => wrong.extend(e),
            }
        }
        if wrong.is_empty() {
            Ok(plan)
        } else {
            Err(wrong)
        }
    }

    fn add(&mut self, cluster: &WrittenCluster, wrong: &mut Vec<FileError>) {
        let WrittenCluster { source, file } = cluster;
        self.log = file.log;
        for (name, section) in &file.groups {
            match (checks(source, name, section), hooks(source, name, section)) {
                (Ok(checks), Ok(hooks)) => {
                    let place = (file.cluster.name.clone(), name.clone());
                    self.groups.insert(place, Group { checks, hooks });
                }
                (checks, hooks) => {
                    wrong.extend(checks.err().into_iter().flatten());
                    wrong.extend(hooks.err().into_iter().flatten());
                }
            }
        }
        self.lacks
            .extend(lacks(source, file).iter().map(ToString::to_string));
    }
}

/// What of a file's checks and hooks this host can't run, with the line, the key and the remedy.
pub(crate) fn lacks(source: &Source, file: &ConfigFile) -> Vec<FileError> {
    let mut all = Vec::new();
    for (group, section) in &file.groups {
        let mut find = |key: String, found: Result<(), String>| {
            all.extend(found.err().map(|what| source.error(&key, what)));
        };
        for check in checks(source, group, section).into_iter().flatten() {
            let key = |key| format!("groups.{group}.checks.{}.{key}", check.name);
            if let Kind::Exec { command, user } = &check.kind {
                find(key("exec"), may_run(command));
                find(key("user"), is_user(user));
            }
        }
        let Ok(hooks) = hooks(source, group, section) else {
            continue; // the text's fault, and said of it
        };
        let named = [
            ("before_hold", hooks.before_hold),
            ("holding", hooks.holding),
            ("released", hooks.released),
            ("changed", hooks.changed),
        ];
        for (name, hook) in named {
            let Some(Hook { run, user, .. }) = hook else {
                continue;
            };
            let key = |key: &str| format!("groups.{group}.hooks.{name}.{key}");
            match run {
                Run::Exec(command) => find(key("exec"), may_run(&command)),
                // `released` is its stop.
                Run::Ocf(agent) if name == "holding" => match ocf::read(&agent) {
                    Ok(_) => {}
                    Err((at, what)) => find(key(&at), Err(what)),
                },
                Run::Ocf(_) => {}
            }
            find(key("user"), is_user(&user));
        }
    }
    all
}

fn may_run(command: &[String]) -> Result<(), String> {
    let program = command.first().map_or("", String::as_str);
    runnable(Path::new(program), rustix::process::geteuid().as_raw())
}

fn is_user(user: &User) -> Result<(), String> {
    ids_of(user).map(drop)
}

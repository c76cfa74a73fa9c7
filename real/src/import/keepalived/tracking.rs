//! What is tracked and notified, as checks and hooks.

use super::script::script_check;
use super::tree::Statement;
use crate::import::command;
use crate::import::draft::{Table, Value, Which, is_name, name_of, unlike};
use crate::import::report::{At, Report, Verdict};
use std::collections::BTreeMap;

/// A check of ours, and where it is tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) table: Table,
    pub(super) at: At,
}

/// A command that follows a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) which: Which,
    /// As it is run, and whether by a shell.
    pub(super) command: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) at: At,
}

/// What an instance or a sync group tracks and notifies.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub(super) checks: Vec<Check>,
    pub(super) hooks: Vec<Hook>,
    /// Each weight, where it is given.
    pub(super) weights: Vec<(i64, At)>,
    /// What `released` runs already, and for which of the three.
    released: Option<(String, &'static str)>,
}

impl Watch {
    /// Adds a check, unless it is there.
    pub(super) fn add(&mut self, mut check: Check) {
        if self
            .checks
            .iter()
            .any(|c| c.name == check.name && c.table == check.table)
        {
            return;
        }
        check.name = unlike(check.name, |name| {
            self.checks.iter().any(|c| c.name == name)
        });
        self.checks.push(check);
    }
}

/// What can be tracked, by name.
#[derive(Default)]
pub(super) struct Tracked<'t> {
    scripts: BTreeMap<&'t str, &'t Statement>,
    processes: BTreeMap<&'t str, &'t Statement>,
    files: BTreeMap<&'t str, &'t Statement>,
    used: Vec<At>,
    pub(super) script_user: Option<String>,
}

pub(super) const NO_WEIGHTS: &str =
    "there are no weights: a check passes or fails, and a member whose check fails hands over";

impl<'t> Tracked<'t> {
    /// Takes a definition; returns whether it is one.
    pub(super) fn define(&mut self, statement: &'t Statement, report: &mut Report) -> bool {
        let (all, values) = match statement.keyword() {
            "vrrp_script" => (&mut self.scripts, statement.values()),
            "vrrp_track_process" | "track_process" => (&mut self.processes, statement.values()),
            "vrrp_track_file" | "track_file" => (&mut self.files, statement.values()),
            _ => return false,
        };
        match values[..] {
            [name] if !all.contains_key(name) => {
                let name = statement.words.get(1).map_or("", String::as_str);
                all.insert(name, statement);
            }
            [name] => statement.say(
                report,
                Verdict::Wrong,
                &format!("`{name}` is there already; left out"),
            ),
            _ => statement.say(report, Verdict::Wrong, "it needs one name; left out"),
        }
        true
    }

    /// Says of each definition that nothing uses that it is left out.
    pub(super) fn sweep(&self, report: &mut Report) {
        let all = [&self.scripts, &self.processes, &self.files];
        for statement in all.iter().flat_map(|all| all.values()) {
            if !self.used.contains(&statement.at) {
                statement.say(report, Verdict::LeftOut, "nothing tracks it");
            }
        }
    }

    /// Reads a statement of an instance or a sync group; returns whether it is of this kind.
    pub(super) fn read(
        &mut self,
        statement: &Statement,
        of: (&str, &str),
        watch: &mut Watch,
        report: &mut Report,
    ) -> bool {
        match statement.keyword() {
            "track_script" => self.each(statement, watch, report, Self::script),
            "track_process" => self.each(statement, watch, report, Self::process),
            "track_file" => self.each(statement, watch, report, Self::file),
            "track_interface" => {
                self.each(statement, watch, report, |_, words, at, report| {
                    link(words, at, report)
                });
            }
            "notify_master" => self.hook(statement, Which::Holding, watch, report),
            "notify_backup" => self.released(statement, "notify_backup", watch, report),
            "notify_fault" => self.released(statement, "notify_fault", watch, report),
            "notify_stop" => self.released(statement, "notify_stop", watch, report),
            "notify" => self.notify(statement, of, watch, report),
            _ => return false,
        }
        true
    }

    fn each(
        &mut self,
        statement: &Statement,
        watch: &mut Watch,
        report: &mut Report,
        mut check: impl FnMut(&mut Self, &[&str], At, &mut Report) -> Option<(Check, Option<i64>)>,
    ) {
        statement.say_frame(report, Verdict::Carried, "");
        for inner in statement.inside() {
            let mut words: Vec<&str> = inner.words.iter().map(String::as_str).collect();
            // `{ a b }` in one line are two.
            let weight = words
                .iter()
                .position(|word| *word == "weight")
                .unwrap_or(words.len());
            let rest = words.split_off(weight.min(words.len()));
            for name in words {
                let words = [&[name], &rest[..]].concat();
                let Some((check, weight)) = check(self, &words, inner.at, report) else {
                    continue;
                };
                watch.weights.extend(weight.map(|w| (w, inner.at)));
                watch.add(check);
            }
        }
    }

    /// The weight of a use or else of its definition; nothing if the check can't be a check.
    fn weight(
        &self,
        words: &[&str],
        defined: &[&str],
        at: At,
        report: &mut Report,
    ) -> Option<Option<i64>> {
        let of_use = words
            .iter()
            .position(|w| *w == "weight")
            .map(|n| &words[n + 1..]);
        let all = of_use.unwrap_or(defined);
        let reverse = match of_use {
            Some(all) if all.contains(&"noreverse") => false,
            _ => all.contains(&"reverse") || (of_use.is_none() && defined.contains(&"reverse")),
        };
        if reverse {
            report.say(
                at,
                Verdict::Wrong,
                "`reverse`: here it would fail when that is well; left out. Write a check with `exec` that does the \
                 contrary",
            );
            return None;
        }
        let weight = all
            .first()
            .and_then(|w| w.parse::<i64>().ok())
            .filter(|w| *w != 0);
        Some(weight)
    }

    fn script(
        &mut self,
        words: &[&str],
        at: At,
        report: &mut Report,
    ) -> Option<(Check, Option<i64>)> {
        let name = words.first()?;
        let Some(statement) = self.scripts.get(name).copied() else {
            report.say(
                at,
                Verdict::Wrong,
                format!("there is no vrrp_script `{name}`; left out"),
            );
            return None;
        };
        let value = |key: &str| statement.inside().iter().find(|s| s.keyword() == key);
        let weight = self.weight(
            words,
            &value("weight").map_or_else(Vec::new, Statement::values),
            at,
            report,
        );
        let first = !self.used.contains(&statement.at);
        self.used.push(statement.at);
        let Some(weight) = weight else {
            statement.say(report, Verdict::LeftOut, "as its use says");
            return None;
        };
        let script = value("script").map(|s| match s.words.get(1) {
            // In quotes: what is behind it is no part of it.
            Some(quoted) if quoted.contains(char::is_whitespace) => {
                if let Some(more) = s.words.get(2..).filter(|more| !more.is_empty()) {
                    let more = more.join(" ");
                    report.say(
                        s.at,
                        Verdict::Wrong,
                        format!("`{more}` in the same line is not read"),
                    );
                }
                quoted.clone()
            }
            _ => s.rest(),
        });
        let Some(script) = script.filter(|s| !s.trim().is_empty()) else {
            statement.say(report, Verdict::Wrong, "it has no `script`; left out");
            return None;
        };
        let own = name_of(name, "script");
        let table = script_check(
            statement,
            &script,
            self.script_user.as_deref(),
            first,
            report,
        );
        let verdict = if weight.is_some() {
            Verdict::Changed
        } else {
            Verdict::Carried
        };
        report.say(at, verdict, "");
        statement.say_frame(report, Verdict::Carried, "");
        Some((
            Check {
                name: own,
                table,
                at,
            },
            weight,
        ))
    }

    fn process(
        &mut self,
        words: &[&str],
        at: At,
        report: &mut Report,
    ) -> Option<(Check, Option<i64>)> {
        let name = words.first()?;
        let Some(statement) = self.processes.get(name).copied() else {
            report.say(
                at,
                Verdict::Wrong,
                format!("there is no vrrp_track_process `{name}`; left out"),
            );
            return None;
        };
        let value = |key: &str| statement.inside().iter().find(|s| s.keyword() == key);
        let weight = self.weight(
            words,
            &value("weight").map_or_else(Vec::new, Statement::values),
            at,
            report,
        );
        self.used.push(statement.at);
        let process = value("process").and_then(|s| s.words.get(1));
        let process = process
            .and_then(|p| p.rsplit('/').next())
            .filter(|p| !p.is_empty());
        let (Some(weight), Some(process)) = (weight, process) else {
            statement.say(
                report,
                Verdict::LeftOut,
                "as its use says, or because it names no `process`",
            );
            report.say(at, Verdict::LeftOut, "left out");
            return None;
        };
        let own = name_of(name, "process");
        for inner in statement.inside() {
            let (verdict, what) = match (inner.keyword(), &inner.values()[..]) {
                ("process", [_]) => (Verdict::Carried, "one process of that name is enough"),
                ("process", _) => (
                    Verdict::Changed,
                    "its parameters are not looked at, only its name",
                ),
                ("weight", ["0"]) => (Verdict::Carried, ""),
                ("weight", _) => (Verdict::Changed, NO_WEIGHTS),
                ("quorum", ["1"]) => (Verdict::Carried, ""),
                ("quorum" | "quorum_max", _) => {
                    (Verdict::LeftOut, "one process of that name is enough")
                }
                ("delay" | "terminate_delay" | "fork_delay", _) => (
                    Verdict::LeftOut,
                    "its end is noticed at once; `fall` and `rise` make it slower",
                ),
                ("full_command" | "param_match", _) => {
                    (Verdict::LeftOut, "only the name is looked at")
                }
                _ => (Verdict::Wrong, "unknown here; left out"),
            };
            inner.say(report, verdict, what);
        }
        statement.say_frame(report, Verdict::Carried, "");
        report.say(at, Verdict::Carried, "");
        let kept: String = process.chars().take(15).collect();
        let table = vec![("process", Value::Text(kept))];
        Some((
            Check {
                name: own,
                table,
                at,
            },
            weight,
        ))
    }

    fn file(
        &mut self,
        words: &[&str],
        at: At,
        report: &mut Report,
    ) -> Option<(Check, Option<i64>)> {
        let name = words.first()?;
        let Some(statement) = self.files.get(name).copied() else {
            report.say(
                at,
                Verdict::Wrong,
                format!("there is no track_file `{name}`; left out"),
            );
            return None;
        };
        let value = |key: &str| statement.inside().iter().find(|s| s.keyword() == key);
        let weight = self.weight(
            words,
            &value("weight").map_or_else(Vec::new, Statement::values),
            at,
            report,
        );
        self.used.push(statement.at);
        let path = value("file")
            .and_then(|s| s.words.get(1))
            .filter(|p| p.starts_with('/'));
        let (Some(weight), Some(path)) = (weight, path) else {
            statement.say(
                report,
                Verdict::LeftOut,
                "as its use says, or because it names no absolute path in `file`",
            );
            report.say(at, Verdict::LeftOut, "left out");
            return None;
        };
        if weight.is_some_and(|w| w > 0) {
            let what = "a larger number in the file made the priority larger, and there are no priorities; left out";
            statement.say(report, Verdict::Wrong, what);
            report.say(at, Verdict::Wrong, what);
            return None;
        }
        let own = name_of(name, "file");
        for inner in statement.inside() {
            let (verdict, what) = match inner.keyword() {
                "weight" if inner.values() == ["0"] => (Verdict::Carried, ""),
                "file" => (
                    Verdict::Carried,
                    "any number in it but 0 is a failure, as before",
                ),
                "weight" => (Verdict::Changed, NO_WEIGHTS),
                "init_file" => (
                    Verdict::LeftOut,
                    "make the file when the host starts (tmpfiles.d): without it the check fails",
                ),
                _ => (Verdict::Wrong, "unknown here; left out"),
            };
            inner.say(report, verdict, what);
        }
        statement.say_frame(report, Verdict::Carried, "");
        report.say(at, Verdict::Carried, "");
        let test = format!("test \"$(cat {})\" -eq 0", command::for_shell(path));
        let table = vec![("exec", Value::List(command::by_shell(&test)))];
        Some((
            Check {
                name: own,
                table,
                at,
            },
            weight,
        ))
    }

    /// `COMMAND [user [group]]`
    fn command(
        &self,
        statement: &Statement,
        report: &mut Report,
    ) -> Option<(String, Option<String>)> {
        let values = statement.values();
        let Some((command, user)) = values.split_first().filter(|(c, _)| !c.trim().is_empty())
        else {
            report.say(
                statement.at,
                Verdict::Wrong,
                "it names no command; left out",
            );
            return None;
        };
        let user = user
            .first()
            .map(|u| (*u).to_owned())
            .or_else(|| self.script_user.clone());
        let user = user.filter(|user| user != "root");
        match user.as_ref().is_some_and(|user| !is_name(user)) {
            true => {
                let user = user.unwrap_or_default();
                report.say(
                    statement.at,
                    Verdict::Wrong,
                    format!("`{user}` is no user; the agent's own is taken"),
                );
                Some(((*command).to_owned(), None))
            }
            false => Some(((*command).to_owned(), user)),
        }
    }

    fn hook(&self, statement: &Statement, which: Which, watch: &mut Watch, report: &mut Report) {
        let Some((command, user)) = self.command(statement, report) else {
            return;
        };
        let (command, by_shell) = command::run(&command);
        let at = statement.at;
        let how = if by_shell { ", by a shell" } else { "" };
        report.say(
            at,
            Verdict::Changed,
            match which {
                Which::Holding => format!(
                    "hooks.holding{how}: until it succeeds, and again every 60s and after each heal (`reconcile`), so it \
                     must bear being run twice"
                ),
                Which::Released | Which::Changed => format!(
                    "hooks.released{how}: where the group is not held, whatever the reason, also at the agent's start; \
                     until it succeeds"
                ),
            },
        );
        watch.hooks.push(Hook {
            which,
            command,
            user,
            at,
        });
    }

    fn released(
        &self,
        statement: &Statement,
        keyword: &'static str,
        watch: &mut Watch,
        report: &mut Report,
    ) {
        let text = statement.rest();
        match &watch.released {
            None => {
                watch.released = Some((text, keyword));
                self.hook(statement, Which::Released, watch, report);
            }
            Some((same, _)) if *same == text => {
                report.say(statement.at, Verdict::Carried, "hooks.released, as above");
            }
            Some((_, first)) => report.say(
                statement.at,
                Verdict::LeftOut,
                format!(
                    "`released` is run whatever the reason, and it runs the command of {first}; put this into it if it \
                     is needed"
                ),
            ),
        }
    }

    /// `notify` gets what it is called with; so it is called with that.
    fn notify(
        &self,
        statement: &Statement,
        of: (&str, &str),
        watch: &mut Watch,
        report: &mut Report,
    ) {
        let Some((command, user)) = self.command(statement, report) else {
            return;
        };
        let (kind, name) = of;
        let words: Vec<String> = (command::words(&command).iter())
            .map(|w| command::for_shell(w))
            .collect();
        let text = format!(
            "case $ONEHOLD_STATE in holding) s=MASTER;; released) s=BACKUP;; *) exit 0;; esac; exec {} {kind} {} $s 0",
            words.join(" "),
            command::for_shell(name),
        );
        let at = statement.at;
        report.say(
            at,
            Verdict::Changed,
            "hooks.changed: called as before, with MASTER or BACKUP (never FAULT or STOP), and 0 for the priority; \
             $ONEHOLD_ROLE and $ONEHOLD_WHY say more",
        );
        let command = command::by_shell(&text);
        watch.hooks.push(Hook {
            which: Which::Changed,
            command,
            user,
            at,
        });
    }
}

/// `IF [weight N]`
fn link(words: &[&str], at: At, report: &mut Report) -> Option<(Check, Option<i64>)> {
    let name = words.first()?;
    if words.contains(&"reverse") {
        report.say(
            at,
            Verdict::Wrong,
            "`reverse`: it would fail when the interface is up; left out",
        );
        return None;
    }
    let weight = words
        .iter()
        .position(|w| *w == "weight")
        .and_then(|n| words.get(n + 1));
    let weight = weight
        .and_then(|w| w.parse::<i64>().ok())
        .filter(|w| *w != 0);
    let own = name_of(&format!("link-{name}"), "link");
    report.say(at, Verdict::Carried, "");
    let table = vec![("link", Value::Text((*name).to_owned()))];
    Some((
        Check {
            name: own,
            table,
            at,
        },
        weight,
    ))
}

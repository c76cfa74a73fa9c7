//! `[groups.NAME.hooks]`: what is run because of what a group is on this member. And what of a
//! command only a host can say: whether it is there, and who may change it.

use super::checks::{Fault, absolute, fault};
use super::{FileError, GroupSection, Length, Source};
use crate::driver::openings::{BeforeHold, Failing};
use onehold_core::time::Span;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where OCF resource agents are.
pub const OCF_ROOT: &str = "/usr/lib/ocf";

const LEAST_DEADLINE: Span = Span::from_millis(100);
const MOST_DEADLINE: Span = Span::from_millis(600_000);
const LEAST_RECONCILE: Span = Span::from_millis(1_000);
const MOST_RECONCILE: Span = Span::from_millis(86_400_000);

/// `[groups.NAME.hooks]` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HooksSection {
    /// Run while the address is there and mute.
    pub before_hold: Option<Box<HookSection>>,
    /// Run while this member holds, again and again.
    pub holding: Option<Box<HookSection>>,
    /// Run when this member does not hold.
    pub released: Option<Box<HookSection>>,
    /// Run at each change of role, for people.
    pub changed: Option<Box<HookSection>>,
}

/// One hook as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookSection {
    exec: Option<Vec<String>>,
    ocf: Option<String>,
    #[serde(default)]
    parameters: BTreeMap<String, Parameter>,
    /// How long one run may take.
    pub deadline: Option<Length>,
    /// Of `before_hold`: what its failing means.
    pub failing: Option<Failing>,
    reconcile: Option<Length>,
    user: Option<String>,
}

/// A parameter of an OCF resource agent: a string, or what can be written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter(String);

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a string, a whole number or true or false")]
        enum Written {
            Text(String),
            Number(i64),
            Switch(bool),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(n) => n.to_string(),
            Written::Switch(on) => on.to_string(),
        }))
    }
}

/// Who runs a command: whoever the agent runs as, or this user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User(pub Option<String>);

impl User {
    pub(super) fn parse(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some(text) if !super::checks::is_name(text) => {
                Err(format!("`{text}` is no name of a user"))
            }
            text => Ok(Self(text.map(str::to_owned))),
        }
    }
}

/// The hooks of a group, proved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// While the address is there and mute.
    pub before_hold: Option<Hook>,
    /// While this member holds.
    pub holding: Option<Hook>,
    /// When it does not.
    pub released: Option<Hook>,
    /// At each change of role.
    pub changed: Option<Hook>,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What is run.
    pub run: Run,
    /// How long one run may take; an OCF agent says so itself.
    pub deadline: Option<Span>,
    /// How long after a success it is run again.
    pub reconcile: Option<Span>,
    /// Who runs it.
    pub user: User,
}

/// What a hook runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A program, absolute, and its arguments.
    Exec(Vec<String>),
    /// An OCF resource agent: what `holding` starts, `released` stops.
    Ocf(Ocf),
}

/// An OCF resource agent with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ocf {
    /// Such as `heartbeat`.
    pub provider: String,
    /// Such as `awsvip`.
    pub kind: String,
    /// By name.
    pub parameters: BTreeMap<String, String>,
}

impl Ocf {
    /// Its program.
    #[must_use]
    pub fn program(&self) -> PathBuf {
        let Self { provider, kind, .. } = self;
        [OCF_ROOT, "resource.d", provider, kind].iter().collect()
    }
}

/// The hooks of a group, or all that is wrong with them.
///
/// # Errors
/// At least one [`FileError`].
pub fn hooks(
    source: &Source,
    group: &str,
    section: &GroupSection,
) -> Result<Hooks, Vec<FileError>> {
    let HooksSection {
        before_hold,
        holding,
        released,
        changed,
    } = &section.hooks;
    let mut wrong = Vec::new();
    let mut prove = |section: &Option<Box<HookSection>>, which| {
        let proved = section.as_ref()?.prove(which);
        proved
            .map_err(|faults| {
                let at = format!("groups.{group}.hooks.{}", which.name());
                wrong.extend(faults.into_iter().map(|Fault { key, what }| match key {
                    "" => source.error(&at, what),
                    key => source.error(&format!("{at}.{key}"), what),
                }));
            })
            .ok()
    };
    let mut hooks = Hooks {
        before_hold: prove(before_hold, Which::BeforeHold),
        holding: prove(holding, Which::Holding),
        released: prove(released, Which::Released),
        changed: prove(changed, Which::Changed),
    };
    if let Some(hook) = &hooks.holding
        && let Run::Ocf(_) = hook.run
    {
        match &hooks.released {
            None => hooks.released = Some(hook.clone()),
            Some(_) => wrong.push(source.error(
                &format!("groups.{group}.hooks.released"),
                "`holding` is an OCF resource agent, and what is run here is its `stop`; take this out",
            )),
        }
    }
    if wrong.is_empty() {
        Ok(hooks)
    } else {
        Err(wrong)
    }
}

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    /// While the address is there and mute.
    BeforeHold,
    /// While this member holds.
    Holding,
    /// When it does not.
    Released,
    /// At each change of role.
    Changed,
}

impl Which {
    /// All.
    pub const ALL: [Self; 4] = [
        Self::BeforeHold,
        Self::Holding,
        Self::Released,
        Self::Changed,
    ];

    /// As in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeHold => "before_hold",
            Self::Holding => "holding",
            Self::Released => "released",
            Self::Changed => "changed",
        }
    }

    /// How long one run may take if nobody says.
    #[must_use]
    pub const fn deadline(self) -> Span {
        match self {
            Self::BeforeHold | Self::Holding | Self::Released => Span::from_millis(30_000),
            Self::Changed => Span::from_millis(10_000),
        }
    }
}

impl HookSection {
    /// What the daemon must know of `before_hold`.
    pub(crate) fn before_hold(&self) -> BeforeHold {
        BeforeHold {
            deadline: self.deadline.unwrap_or_default().0,
            failing: self.failing.unwrap_or_default(),
        }
    }

    fn prove(&self, which: Which) -> Result<Hook, Vec<Fault>> {
        let mut wrong = Vec::new();
        if which == Which::BeforeHold && self.deadline.is_none() {
            let what = "missing; say how long the address may stay mute for it, such as \"5s\"";
            wrong.push(fault("deadline", what));
        }
        if which == Which::BeforeHold && self.failing.is_none() {
            let what = "missing; say what comes of its failing: \"open\" (serve all the same) or \"release\" \
                        (let the other candidate have it)";
            wrong.push(fault("failing", what));
        }
        let span = |of: Option<Length>, least: Span, most: Span, key, wrong: &mut Vec<Fault>| {
            let span = of?.0;
            if span < least || span > most {
                wrong.push(fault(key, format!("{span}: must be {least} to {most}")));
            }
            Some(span)
        };
        let deadline = span(
            self.deadline,
            LEAST_DEADLINE,
            MOST_DEADLINE,
            "deadline",
            &mut wrong,
        );
        let reconcile = span(
            self.reconcile,
            LEAST_RECONCILE,
            MOST_RECONCILE,
            "reconcile",
            &mut wrong,
        );
        for (key, there, only) in [
            ("failing", self.failing.is_some(), Which::BeforeHold),
            ("reconcile", self.reconcile.is_some(), Which::Holding),
            ("ocf", self.ocf.is_some(), Which::Holding),
        ] {
            if there && which != only {
                let what = format!("is a key of `{}` alone; take it out", only.name());
                wrong.push(fault(key, what));
            }
        }
        if !self.parameters.is_empty() && self.ocf.is_none() {
            let what =
                "are those of an OCF resource agent; write them into `exec`, or name one in `ocf`";
            wrong.push(fault("parameters", what));
        }
        let run = self.run().map_err(|e| wrong.push(e)).ok();
        let user = User::parse(self.user.as_deref());
        let user = user.map_err(|what| wrong.push(fault("user", what))).ok();
        match (run, user) {
            (Some(run), Some(user)) if wrong.is_empty() => Ok(Hook {
                run,
                deadline,
                reconcile,
                user,
            }),
            _ => Err(wrong),
        }
    }

    fn run(&self) -> Result<Run, Fault> {
        match (&self.exec, &self.ocf) {
            (Some(command), None) => command_of(command)
                .map(Run::Exec)
                .map_err(|what| fault("exec", what)),
            (None, Some(text)) => {
                let parts = text.strip_prefix("ocf:").unwrap_or(text).split_once(':');
                match parts.filter(|(p, k)| super::checks::is_name(p) && super::checks::is_name(k))
                {
                    Some((provider, kind)) => Ok(Run::Ocf(Ocf {
                        provider: provider.to_owned(),
                        kind: kind.to_owned(),
                        parameters: (self.parameters.iter())
                            .map(|(name, value)| (name.clone(), value.0.clone()))
                            .collect(),
                    })),
                    None => Err(fault(
                        "ocf",
                        format!(
                            "`{text}` is no OCF resource agent; write its provider and type, such as \
                             \"heartbeat:awsvip\""
                        ),
                    )),
                }
            }
            (Some(_), Some(_)) => Err(fault("ocf", "write either `exec` or `ocf`, not both")),
            (None, None) => Err(fault(
                "",
                "says nothing to run; write exec = [\"/usr/local/sbin/…\"], or ocf = \"provider:type\"",
            )),
        }
    }
}

/// A command as far as the text decides it.
pub(super) fn command_of(words: &[String]) -> Result<Vec<String>, String> {
    match words.first() {
        None => Err("is empty; write the program and its arguments".to_owned()),
        Some(program) if !program.starts_with('/') => Err(absolute(program)),
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err("has a byte 0, which no argument can have".to_owned())
        }
        Some(_) => Ok(words.to_vec()),
    }
}

/// Whether this host could run a program safely: it is there, may be executed, and nobody but root
/// and `me`, who runs it, can put another in its place.
///
/// # Errors
/// What is wrong, and what to do.
pub fn runnable(program: &Path, me: u32) -> Result<(), String> {
    let shown = program.display();
    let real = std::fs::canonicalize(program).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!("`{shown}` is not there; install it, or correct the path")
        }
        _ => format!("`{shown}` can't be looked at: {e}"),
    })?;
    let meta =
        std::fs::metadata(&real).map_err(|e| format!("`{shown}` can't be looked at: {e}"))?;
    if !meta.is_file() {
        return Err(format!("`{shown}` is no file that can be run"));
    }
    if meta.mode() & 0o111 == 0 {
        return Err(format!("`{shown}` is not executable; `chmod +x {shown}`"));
    }
    for at in real.ancestors() {
        let meta = std::fs::metadata(at)
            .map_err(|e| format!("`{}` can't be looked at: {e}", at.display()))?;
        let at = at.display();
        if meta.uid() != 0 && meta.uid() != me {
            return Err(format!(
                "`{shown}`: user {} owns {at} and could put anything there; `chown root {at}`",
                meta.uid()
            ));
        }
        // In a sticky directory nobody replaces what is another's.
        let shared = meta.mode() & 0o022 != 0 && !(meta.is_dir() && meta.mode() & 0o1000 != 0);
        if shared && !(meta.mode() & 0o002 == 0 && meta.gid() == 0) {
            return Err(format!(
                "`{shown}`: others than its owner can write {at}, and so put anything there; `chmod go-w {at}`"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

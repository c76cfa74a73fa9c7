//! `sim/mutants.toml`: the list of mutants, proved before anything is built.

use super::patch;
use crate::error::{Context, Result, err};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the list is, in the workspace.
pub const LIST: &str = "sim/mutants.toml";

/// The entry of `check` that stands for the core's own tests.
pub const TESTS: &str = "tests";

/// How an entry of `check` begins that stands for a sweep; its seeds follow, such as `sweep
/// 0..300`.
pub const SWEEP: &str = "sweep ";

/// What a mutant breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Two may hold.
    Safety,
    /// Nobody holds, or the wrong member, or for too long.
    Liveness,
    /// Neither: packets, announcements, alarms. Only a named test can see it.
    Hygiene,
    /// Nothing: another rule implies what this one breaks. Nothing may notice it.
    Redundant,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
            Self::Hygiene => "hygiene",
            Self::Redundant => "redundant",
        }
    }
}

/// A text of the workspace, and what stands there instead in the mutated copy. `mutant!()` in it is
/// true while the edit's own mutant is on, `mutant!(name)` while another one is; with both false it
/// means what the original means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file, from the workspace's root.
    pub file: String,
    /// What must occur exactly once in the file.
    pub find: String,
    /// What replaces it.
    pub replace: String,
}

/// One rule, half broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its name, in kebab-case.
    pub name: String,
    /// The rule that is broken, such as `R-4`.
    pub rule: String,
    /// What of it is broken, in one sentence.
    pub breaks: String,
    /// What kind of promise that breaks.
    pub kind: Kind,
    /// Its edits; none if another entry's edits name it.
    pub edits: Vec<Edit>,
    /// Which configurations are run, in this order, until one notices.
    pub check: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenList {
    mutant: Vec<WrittenMutant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMutant {
    name: String,
    rule: String,
    breaks: String,
    kind: Kind,
    file: Option<String>,
    find: Option<String>,
    replace: Option<String>,
    #[serde(default)]
    edits: Vec<WrittenEdit>,
    check: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEdit {
    file: Option<String>,
    find: String,
    replace: String,
}

/// The workspace that this program was built in.
///
/// # Errors
/// If it is gone.
pub fn workspace() -> Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    match workspace {
        Some(w) if w.join(LIST).exists() => Ok(w.to_owned()),
        Some(_) | None => Err(err(
            "the workspace that this program was built in is gone: run this in it, by `cargo lab`",
        )),
    }
}

/// Reads the workspace's list.
///
/// # Errors
/// If it can't be read, or anything in it is wrong: every entry that is, with the remedy.
pub fn read(workspace: &Path) -> Result<Vec<Mutant>> {
    let path = workspace.join(LIST);
    let text = fs::read_to_string(&path).context(|| path.display())?;
    parse(&text)
}

/// Parses and proves a list. That its edits fit the sources is for [`patch::patched`] to say.
///
/// # Errors
/// Every entry that is wrong, with the remedy.
pub fn parse(text: &str) -> Result<Vec<Mutant>> {
    let list: WrittenList = toml::from_str(text).context(|| LIST)?;
    let mut wrong = Vec::new();
    let mutants: Vec<Mutant> = list
        .mutant
        .into_iter()
        .map(|written| mutant(written, &mut wrong))
        .collect();
    prove(&mutants, &mut wrong);
    if wrong.is_empty() {
        Ok(mutants)
    } else {
        Err(err(format!("{LIST}:\n{}", wrong.join("\n"))))
    }
}

fn mutant(written: WrittenMutant, wrong: &mut Vec<String>) -> Mutant {
    let mut edits = Vec::new();
    match (written.find, written.replace) {
        (Some(find), Some(replace)) => edits.push((written.file.clone(), find, replace)),
        (None, None) => {}
        (_, _) => wrong.push(format!(
            "mutant `{}`: it needs both `find` and `replace`, or neither",
            written.name
        )),
    }
    let more = written.edits.into_iter();
    edits.extend(more.map(|e| (e.file.or(written.file.clone()), e.find, e.replace)));
    let edit = |(file, find, replace): (Option<String>, _, _)| match file {
        Some(file) => Some(Edit {
            file,
            find,
            replace,
        }),
        None => {
            wrong.push(format!("mutant `{}`: an edit needs a `file`", written.name));
            None
        }
    };
    Mutant {
        edits: edits.into_iter().filter_map(edit).collect(),
        name: written.name,
        rule: written.rule,
        breaks: written.breaks,
        kind: written.kind,
        check: written.check,
    }
}

/// The protocol's rules are R-0 to this one.
pub(super) const LAST_RULE: u8 = 22;

/// Names are unique and fit for a file's name, rules are rules, markers name mutants, and every
/// mutant has a marker.
fn prove(mutants: &[Mutant], wrong: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for m in mutants {
        if !names.insert(m.name.as_str()) {
            wrong.push(format!("mutant `{}`: named twice", m.name));
        }
        if !is_kebab(&m.name) {
            wrong.push(format!(
                "mutant `{}`: a name is in kebab-case: a-z, 0-9 and `-`",
                m.name
            ));
        }
        let rule = m.rule.strip_prefix("R-").and_then(|n| n.parse::<u8>().ok());
        if rule.is_none_or(|n| n > LAST_RULE) {
            wrong.push(format!(
                "mutant `{}`: `{}` is not one of R-0 to R-{LAST_RULE}",
                m.name, m.rule
            ));
        }
        if m.check.is_empty() {
            wrong.push(format!(
                "mutant `{}`: `check` names no configuration; `{TESTS}` stands for the core's tests",
                m.name
            ));
        }
    }
    let mut marked = BTreeSet::new();
    for m in mutants {
        for edit in &m.edits {
            let markers = patch::markers(&edit.replace, &m.name);
            if markers.is_empty() {
                wrong.push(format!(
                    "mutant `{}`: `replace` in {} has no marker `mutant!()`",
                    m.name, edit.file
                ));
            }
            for name in markers.iter().filter(|n| !names.contains(n.as_str())) {
                wrong.push(format!(
                    "mutant `{}`: the marker `mutant!({name})` names no mutant",
                    m.name
                ));
            }
            marked.extend(markers);
        }
    }
    for m in mutants.iter().filter(|m| !marked.contains(&m.name)) {
        wrong.push(format!(
            "mutant `{}`: no marker means it; give it an edit, or name it in another's",
            m.name
        ));
    }
}

fn is_kebab(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(allowed)
}

/// The mutants called so, in the list's order; all of them if none is named.
///
/// # Errors
/// Names that the list does not have.
pub fn only(mutants: Vec<Mutant>, names: &[String]) -> Result<Vec<Mutant>> {
    let known = |name: &&String| !mutants.iter().any(|m| m.name == **name);
    let unknown: Vec<&str> = names.iter().filter(known).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(err(format!("{LIST} has no mutant {}", unknown.join(", "))));
    }
    let wanted = |m: &Mutant| names.is_empty() || names.contains(&m.name);
    Ok(mutants.into_iter().filter(wanted).collect())
}

/// Every edit, by file, with the name of the mutant that it belongs to.
#[must_use]
pub fn edits_by_file(mutants: &[Mutant]) -> BTreeMap<&str, Vec<(&str, &Edit)>> {
    let mut files: BTreeMap<&str, Vec<(&str, &Edit)>> = BTreeMap::new();
    for m in mutants {
        for edit in &m.edits {
            files.entry(&edit.file).or_default().push((&m.name, edit));
        }
    }
    files
}

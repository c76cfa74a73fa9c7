//! The mutated copy of the workspace: what the lab is built of, with all edits made, and one more
//! module.

use super::list::{Mutant, edits_by_file};
use super::patch::patched;
use crate::error::{Context, Result, err};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What says which mutant is on: its name; nothing or no such variable for none.
pub const VARIABLE: &str = "ONEHOLD_MUTANT";

/// The packages that the copy has.
const PACKAGES: [&str; 3] = ["core", "real", "sim"];
/// The folders of a package that it needs; `fuzz` is a workspace of its own.
const PARTS: [&str; 4] = ["Cargo.toml", "src", "tests", "benches"];

/// What is read while it is built, besides these.
const READ: [&str; 5] = [
    "docs/src/doctor.md",
    "docs/src/glossary.md",
    "docs/src/operations.md",
    "docs/src/protocol.md",
    "docs/src/tutorial.md",
];

/// Quick to build, quick to run. Warnings are for the original.
const MANIFEST: &str = r#"[workspace]
resolver = "3"
members = ["core", "real", "sim"]

[workspace.lints.rust]
warnings = "allow"

[profile.release]
opt-level = 3
lto = false
codegen-units = 16
incremental = true
debug = false
"#;

/// The texts of all edited files, with the edits made.
///
/// # Errors
/// Every edit that does not fit its file, with the remedy.
pub fn edited(workspace: &Path, mutants: &[Mutant]) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    let mut wrong = Vec::new();
    for (file, edits) in edits_by_file(mutants) {
        let Some(on) = caller(file) else {
            wrong.push(format!(
                "{file}: only core/src and sim/src are copied with edits"
            ));
            continue;
        };
        let text = match fs::read_to_string(workspace.join(file)) {
            Ok(text) => text,
            Err(e) => {
                let names: Vec<&str> = edits.iter().map(|(name, _)| *name).collect();
                wrong.push(format!("{file}: {e}; it is edited by {}", names.join(", ")));
                continue;
            }
        };
        let call = |name: &str| format!("{on}({})", number(mutants, name));
        match patched(file, &text, &edits, call) {
            Ok(text) => drop(texts.insert(file.to_owned(), text)),
            Err(e) => wrong.extend(e),
        }
    }
    if wrong.is_empty() {
        Ok(texts)
    } else {
        Err(err(wrong.join("\n")))
    }
}

/// The function that a file calls to know whether a mutant is on.
fn caller(file: &str) -> Option<&'static str> {
    if file.starts_with("core/src/") {
        Some("crate::mutant")
    } else if file.starts_with("sim/src/") {
        Some("onehold_core::mutant")
    } else {
        None
    }
}

/// A mutant's place in the list, from 1; 0 is none.
fn number(mutants: &[Mutant], name: &str) -> usize {
    mutants
        .iter()
        .position(|m| m.name == name)
        .map_or(0, |n| n + 1)
}

/// Lays the copy out in `to`. A file that is as it should be is not touched, so that cargo builds
/// only what has changed.
///
/// # Errors
/// If an edit doesn't fit, or a file can't be read or written.
pub fn lay_out(workspace: &Path, to: &Path, mutants: &[Mutant]) -> Result<()> {
    let mut files = BTreeMap::new();
    for package in PACKAGES {
        for part in PARTS {
            let part = Path::new(package).join(part);
            collect(workspace, &part, &mut files)?;
        }
    }
    collect(workspace, Path::new("Cargo.lock"), &mut files)?; // cargo drops what the copy doesn't need
    for file in READ {
        collect(workspace, Path::new(file), &mut files)?;
    }
    for (file, text) in edited(workspace, mutants)? {
        files.insert(PathBuf::from(file), text.into_bytes());
    }
    append(&mut files, "core/src/lib.rs", LIB)?;
    files.insert("core/src/mutants.rs".into(), module(mutants).into_bytes());
    let manifest = manifest(workspace)?;
    files.insert("Cargo.toml".into(), manifest.into_bytes());
    remove_others(to, Path::new(""), &files.keys().cloned().collect())?;
    for (file, content) in &files {
        write(&to.join(file), content)?;
    }
    Ok(())
}

fn collect(root: &Path, path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let from = root.join(path);
    if from.is_dir() {
        for entry in fs::read_dir(&from).context(|| from.display())? {
            let entry = entry.context(|| from.display())?;
            collect(root, &path.join(entry.file_name()), files)?;
        }
    } else if from.exists() {
        let content = fs::read(&from).context(|| from.display())?;
        files.insert(path.to_owned(), content);
    }
    Ok(())
}

fn append(files: &mut BTreeMap<PathBuf, Vec<u8>>, file: &str, text: &str) -> Result<()> {
    let content = files.get_mut(Path::new(file));
    let content = content.ok_or_else(|| err(format!("the workspace has no {file}")))?;
    content.extend(text.as_bytes());
    Ok(())
}

/// The workspace's manifest, less what is not for these packages alone.
fn manifest(workspace: &Path) -> Result<String> {
    let path = workspace.join("Cargo.toml");
    let text = fs::read_to_string(&path).context(|| path.display())?;
    let mut kept = MANIFEST.to_owned();
    let mut keeps = false;
    for line in text.lines() {
        if line.starts_with('[') {
            keeps = matches!(line, "[workspace.package]" | "[workspace.dependencies]");
        }
        if keeps {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// What the copy's `core/src/lib.rs` has at its end.
const LIB: &str = "\nmod mutants;\npub use mutants::mutant;\n";

/// The copy's module that knows which mutant is on.
fn module(mutants: &[Mutant]) -> String {
    let names: Vec<&str> = mutants.iter().map(|m| m.name.as_str()).collect();
    format!(
        r#"//! Which mutant is on, in this copy of the core.

extern crate std;
use core::sync::atomic::{{AtomicUsize, Ordering}};

const NAMES: &[&str] = &{names:?};
const UNREAD: usize = usize::MAX;
static ON: AtomicUsize = AtomicUsize::new(UNREAD);

#[inline]
pub fn mutant(number: usize) -> bool {{
    match ON.load(Ordering::Relaxed) {{
        UNREAD => read() == number,
        on => on == number,
    }}
}}

#[cold]
fn read() -> usize {{
    let name = std::env::var("{VARIABLE}").unwrap_or_default();
    let place = NAMES.iter().position(|n| *n == name);
    assert!(name.is_empty() || place.is_some(), "there is no mutant `{{name}}`");
    let on = place.map_or(0, |n| n + 1);
    ON.store(on, Ordering::Relaxed);
    on
}}
"#
    )
}

/// Writes a file if it is not so already.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).context(|| directory.display())?;
    }
    fs::write(path, content).context(|| path.display())
}

/// Removes what an earlier copy had in a package's folder and this one hasn't.
fn remove_others(to: &Path, path: &Path, keep: &BTreeSet<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(to.join(path)) else {
        return Ok(()); // nothing is there yet
    };
    for entry in entries {
        let entry = entry.context(|| to.display())?;
        let file = path.join(entry.file_name());
        if to.join(&file).is_dir() {
            remove_others(to, &file, keep)?;
        } else if !keep.contains(&file) {
            fs::remove_file(to.join(&file)).context(|| file.display())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that sources in the copy include, is in the copy.
    #[test]
    fn the_copy_is_whole() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let to = std::env::temp_dir().join(format!("onehold-copy-{}", std::process::id()));
        lay_out(workspace, &to, &[]).unwrap();
        let mut sources = BTreeMap::new();
        for package in ["real/src", "sim/src"] {
            collect(&to, Path::new(package), &mut sources).unwrap();
        }
        let mut included = 0;
        for (path, text) in sources {
            let text = String::from_utf8_lossy(&text).into_owned();
            for rest in text.split("include_str!(\"").skip(1) {
                let name = rest.split('"').next().unwrap();
                let file = to.join(&path).parent().unwrap().join(name);
                let is_test = path
                    .components()
                    .any(|c| c.as_os_str().to_string_lossy().starts_with("tests"));
                assert!(
                    is_test || path.ends_with("copy.rs") || file.exists(),
                    "{path:?} includes {name}"
                );
                included += 1;
            }
        }
        assert!(included > 5);
        fs::remove_dir_all(&to).unwrap();
    }
}

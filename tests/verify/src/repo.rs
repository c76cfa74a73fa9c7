//! The repository's own files.

use super::{Result, StepEnd};
use std::fs;
use std::path::{Path, PathBuf};

/// A longer file is about more than one thing.
const MOST_LINES: usize = 700;

/// None of our own sources and texts is longer than [`MOST_LINES`].
pub(super) fn files_are_short(root: &Path) -> Result {
    let mut too_long = Vec::new();
    let files = files(root, &["rs", "md", "sh"])?;
    for path in &files {
        let lines = read(root, path)?.lines().count();
        if lines > MOST_LINES {
            let name = path.display();
            too_long.push(format!("{name} has {lines} lines; at most {MOST_LINES}"));
        }
    }
    println!("{} files", files.len());
    if too_long.is_empty() {
        Ok(StepEnd::Passed)
    } else {
        Err(too_long.join("\n"))
    }
}

/// The text of a file.
pub(super) fn read(root: &Path, path: &Path) -> std::result::Result<String, String> {
    fs::read_to_string(root.join(path)).map_err(|e| format!("{}: {e}", path.display()))
}

/// All our own files with one of these extensions, relative to `root` and in order.
pub(super) fn files(root: &Path, extensions: &[&str]) -> std::result::Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let failed = |e: std::io::Error| format!("{}: {e}", directory.display());
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // What is hidden or built is not our own.
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
            if kind.is_dir() {
                directories.push(path);
            } else if extensions
                .iter()
                .any(|e| path.extension().is_some_and(|x| x == *e))
            {
                found.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

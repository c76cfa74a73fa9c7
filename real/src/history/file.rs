//! A history on disk: a first line that says what it is, then a line of JSON for each entry. It is
//! written as a whole, aside, and moved into place.

use super::{Entry, History};
use crate::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The longest file that is read.
const MOST_BYTES: u64 = 1 << 20;
const FORMAT: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    onehold_history: u32,
}

/// The entries of a file; none, if it is not there.
///
/// # Errors
/// Why it can't be read.
pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let shown = path.display();
    match files::read(path, MOST_BYTES + 1) {
        Ok(bytes) => parse(&bytes).map_err(|why| format!("{shown}: {why}")),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{shown} can't be read: {e}")),
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes"));
    }
    let mut lines = bytes.split_inclusive(|b| *b == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head)
        .map_err(|e| format!("line 1: not a history of onehold: {e}"))?;
    if head.onehold_history != FORMAT {
        return Err(format!(
            "a history of format {}, and this version of onehold reads {FORMAT}",
            head.onehold_history
        ));
    }
    let entry = |(line, bytes): (usize, &[u8])| {
        serde_json::from_slice(bytes).map_err(|e| format!("line {line}: not an entry: {e}"))
    };
    (2..).zip(lines).map(entry).collect()
}

/// Reads what an earlier incarnation left. What can't be read is put aside, and reported.
///
/// # Errors
/// If it can't even be put aside: then it must not be written over.
pub(super) fn read_or_set_aside(path: &Path) -> Result<(Vec<Entry>, Option<String>), String> {
    let why = match read(path) {
        Ok(entries) => return Ok((entries, None)),
        Err(why) => why,
    };
    let aside = set_aside_as(path);
    fs::rename(path, &aside)
        .map(|()| {
            (
                Vec::new(),
                Some(format!("{why}; it is kept as {}", aside.display())),
            )
        })
        .map_err(|e| format!("{why}; and it can't be renamed to {}: {e}", aside.display()))
}

fn set_aside_as(path: &Path) -> PathBuf {
    path.with_added_extension("damaged")
}

/// Writes a history. It blocks for as long as the disk takes.
///
/// # Errors
/// When it can't.
pub(super) fn write(path: &Path, history: &History) -> io::Result<()> {
    let mut text = line(&Head {
        onehold_history: FORMAT,
    })?;
    for entry in history.entries() {
        text.extend(line(entry)?);
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_added_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file: File = options.open(&new)?;
    file.write_all(&text)?;
    file.sync_data()?; // else a power cut may leave an empty file under the name
    fs::rename(&new, path)
}

fn line(of: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(of)?;
    line.push(b'\n');
    Ok(line)
}

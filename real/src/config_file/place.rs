//! Where in a file a key is, and errors that say so.

use super::words;
use crate::files;
use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most errors of one text that are collected.
const MOST: usize = 50;
/// The longest file that is read.
const MOST_BYTES: u64 = 1 << 20;

/// What is wrong with a file, and where, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// The line, if there is one to point at.
    pub line: Option<usize>,
    /// The key, what is wrong with it and what would be right.
    pub what: String,
    /// It depends on this host or on something that the text refers to, and may be over in a
    /// moment.
    pub may_pass: bool,
}

impl FileError {
    /// The same, of something that may be over in a moment without a change of the text.
    pub(super) fn may_pass(self) -> Self {
        Self {
            may_pass: true,
            ..self
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.what)
    }
}

impl std::error::Error for FileError {}

/// A file's text, kept to find the lines of errors in it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    pub(super) text: Arc<str>,
    /// The cluster is one of several in the file: its keys are below `clusters.NAME`.
    within: Option<String>,
}

impl Source {
    /// The text of a file.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text: text.into(),
            within: None,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Why it can't be read, and what to do.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let fail = |line: Option<usize>, what| FileError {
            file: path.to_owned(),
            line,
            what,
            may_pass: line.is_none(), // it was not read
        };
        let bytes = files::read(path, MOST_BYTES + 1).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => fail(
                None,
                "there is no such file; create it, or name another (`run --config FILE`, `check FILE`)".to_owned(),
            ),
            std::io::ErrorKind::PermissionDenied => {
                let me = rustix::process::geteuid();
                let remedy = format!("as whom this runs; run `chmod a+r {}`", path.display());
                fail(None, format!("can't be read by user {me}, {remedy}"))
            }
            _ => fail(None, format!("can't be read: {e}")),
        })?;
        if bytes.len() as u64 > MOST_BYTES {
            let what = format!("has more than {MOST_BYTES} bytes, so it is no configuration");
            return Err(fail(None, what));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let (good, bad) = e.as_bytes().split_at(e.utf8_error().valid_up_to());
            let line = good.iter().filter(|b| **b == b'\n').count() + 1;
            let byte = bad.first().copied().unwrap_or_default();
            let what =
                format!("can't be read: byte {byte:#04x} is not UTF-8; save the file as UTF-8");
            fail(Some(line), what)
        })?;
        Ok(Self::new(path, text))
    }

    /// A path in the file: a relative path starts at the file's own directory.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(path)
    }

    /// The same file, restricted to the keys of its `[clusters.NAME]`.
    pub(super) fn within(&self, cluster: &str) -> Self {
        Self {
            within: Some(format!("clusters.{cluster}")),
            ..self.clone()
        }
    }

    /// It is one of several clusters in the file.
    pub(super) fn is_table(&self) -> bool {
        self.within.is_some()
    }

    /// An error about `key`, or about the table that lacks it.
    pub fn error(&self, key: &str, what: impl fmt::Display) -> FileError {
        let key = match &self.within {
            None => key.to_owned(),
            Some(within) => {
                format!("{within}.{}", key.strip_prefix("cluster.").unwrap_or(key))
            }
        };
        FileError {
            file: self.path.clone(),
            line: self.offset_of(&key).map(|at| self.line(at)),
            what: format!("{key}: {what}"),
            may_pass: false,
        }
    }

    /// Whether the file has this key at its top level.
    pub(super) fn has(&self, key: &str) -> bool {
        DeTable::parse(&self.text)
            .is_ok_and(|t| t.get_ref().iter().any(|(k, _)| k.get_ref() == key))
    }

    /// Reads the whole text as a `T`.
    ///
    /// # Errors
    /// Everything that is wrong with its form, or else with its keys and the types of their values:
    /// each with the line, the key and the remedy.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Vec<FileError>> {
        let (mut table, noticed) = DeTable::parse_recoverable(&self.text);
        if !noticed.is_empty() {
            return Err(self.malformed(&noticed));
        }
        let mut wrong: Vec<(Vec<String>, FileError)> = Vec::new();
        loop {
            let e = match T::deserialize(toml::de::Deserializer::from(table.clone())) {
                Ok(read) if wrong.is_empty() => return Ok(read),
                Ok(_) => break,
                Err(e) => e,
            };
            let whole = Some(table.span()) == e.span();
            let at = e.span().map(|s| s.start);
            let place = at.filter(|_| !whole).map(|at| key_at(table.get_ref(), at));
            let place = place.unwrap_or_default();
            let mut key = place.clone();
            let (what, meant) = words::meaning(e.message(), &mut key);
            // What lacks a key that was taken away as wrong is not wrong once more.
            if !wrong.iter().any(|(known, _)| known.starts_with(&key)) {
                let e = FileError {
                    file: self.path.clone(),
                    line: at.map(|at| self.line(at)),
                    what: format!("{}: {what}", key.join(".")),
                    may_pass: false,
                };
                wrong.push((key.clone(), e));
            }
            // Without it, or with what was meant in its place, the next error shows.
            let gone = if place.len() < key.len() { place } else { key };
            if wrong.len() == MOST || !replace(table.get_mut(), &gone, meant) {
                break;
            }
        }
        let mut wrong: Vec<FileError> = wrong.into_iter().map(|(_, e)| e).collect();
        wrong.sort_by_key(|e| e.line);
        Err(wrong)
    }

    /// What is wrong with the form of the text, of which so much could be read.
    fn malformed(&self, noticed: &[toml::de::Error]) -> Vec<FileError> {
        let error = |line, what| FileError {
            file: self.path.clone(),
            line,
            what,
            may_pass: false,
        };
        if let Some(what) = words::of_another_program(&self.text, &self.path) {
            return vec![error(None, what)];
        }
        let noticed = noticed.iter().map(|e| {
            let at = e.span().unwrap_or_default();
            (at, e.message().to_owned())
        });
        (words::syntax(&self.text, noticed.collect()).into_iter())
            .map(|(line, what)| error(Some(line), what))
            .collect()
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|b| **b == b'\n').count() + 1
    }

    /// Where `key` is written, or else the innermost table it would belong to.
    fn offset_of(&self, key: &str) -> Option<usize> {
        let table = DeTable::parse(&self.text).ok()?;
        let (mut table, mut rest, mut found) = (table.get_ref(), key, None);
        // A name may have dots in it, so keys are matched whole, not split.
        while let Some((k, v)) = table.iter().find(|(k, _)| {
            let after = rest.strip_prefix(k.get_ref().as_ref());
            after.is_some_and(|a| a.is_empty() || a.starts_with('.'))
        }) {
            found = Some(k.span().start);
            rest = rest[k.get_ref().len()..].trim_start_matches('.');
            match v.get_ref() {
                DeValue::Table(t) if !rest.is_empty() => table = t,
                DeValue::Array(a) => {
                    let (number, after) = rest.split_once('.').unwrap_or((rest, ""));
                    let item = number.parse::<usize>().ok().and_then(|n| a.get(n));
                    let Some(DeValue::Table(t)) = item.map(|i| i.get_ref()) else {
                        break;
                    };
                    found = item.map(|i| i.span().start);
                    (table, rest) = (t, after);
                }
                _ => break,
            }
        }
        found
    }
}

/// The key of a table that is written, or whose value is written, at `offset`, part by part.
fn key_at(table: &DeTable<'_>, offset: usize) -> Vec<String> {
    fn find(table: &DeTable<'_>, offset: usize, path: &mut Vec<String>) -> bool {
        table.iter().any(|(k, v)| {
            path.push(k.get_ref().to_string());
            let on = |span: Range<usize>| span.contains(&offset);
            let inner = match v.get_ref() {
                DeValue::Table(t) => find(t, offset, path),
                DeValue::Array(a) => (a.iter().enumerate()).any(|(n, item)| {
                    path.push(n.to_string());
                    let hit = matches!(item.get_ref(), DeValue::Table(t)
                            if find(t, offset, path) || on(item.span()));
                    if !hit {
                        path.pop();
                    }
                    hit
                }),
                _ => false,
            };
            let hit = inner || on(k.span()) || on(v.span());
            if !hit {
                path.pop();
            }
            hit
        })
    }
    let mut path = Vec::new();
    find(table, offset, &mut path);
    path
}

/// Takes a key out of a table, or the innermost key that leads to it and stands in a table; what it
/// had is put where it was `meant` to be. False if there is none.
fn replace(table: &mut DeTable<'_>, key: &[String], meant: Option<String>) -> bool {
    let Some((first, rest)) = key.split_first() else {
        return false;
    };
    if let Some(DeValue::Table(inner)) = table.get_mut(first.as_str()).map(Spanned::get_mut)
        && replace(inner, rest, meant.clone())
    {
        return true;
    }
    let Some((_, value)) = table.remove_entry(first.as_str()) else {
        return false;
    };
    if let Some(meant) = meant.filter(|m| rest.is_empty() && table.get(m.as_str()).is_none()) {
        table.insert(Spanned::new(value.span(), meant.into()), value);
    }
    true
}

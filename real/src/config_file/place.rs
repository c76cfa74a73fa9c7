//! Where in a file a key is, and errors that say so.

use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

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
    text: String,
    /// The cluster is one of several in the file: its keys are below `clusters.NAME`.
    within: Option<String>,
}

impl Source {
    /// The text of a file.
    #[must_use]
    pub fn new(path: &Path, text: String) -> Self {
        Self {
            path: path.to_owned(),
            text,
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
        let bytes = std::fs::read(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => fail(
                None,
                "there is no such file; create it, or name another (`run --config FILE`, `check FILE`)".to_owned(),
            ),
            _ => fail(None, format!("can't be read: {e}")),
        })?;
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
    /// A [`FileError`] with the line, the key and the remedy.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        toml::from_str(&self.text).map_err(|e| {
            let at = e.span().map(|s| s.start);
            let mut key = at.map(|at| self.key_at(at)).unwrap_or_default();
            let what = explain(e.message(), &mut key);
            let line = at.map(|at| self.line(at));
            FileError {
                file: self.path.clone(),
                line,
                what: if key.is_empty() {
                    let text = line.and_then(|n| self.text.lines().nth(n - 1));
                    format!("`{}`: {what}", text.unwrap_or_default().trim())
                } else {
                    format!("{key}: {what}")
                },
                may_pass: false,
            }
        })
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

    /// The dotted key that is written, or whose value is written, at `offset`.
    fn key_at(&self, offset: usize) -> String {
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
        if let Ok(table) = DeTable::parse(&self.text) {
            find(table.get_ref(), offset, &mut path);
        }
        path.join(".")
    }
}

/// Puts a message of serde into an operator's words; a missing key is added to `key`.
fn explain(message: &str, key: &mut String) -> String {
    // serde names the word in question first and then those it knows, all in backquotes.
    let mut words = message.split('`').skip(1).step_by(2);
    let word = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    if message.starts_with("unknown field") {
        // The span may be that of a key within the unknown table.
        while !key.is_empty() && key != word && !key.ends_with(&format!(".{word}")) {
            key.truncate(key.rfind('.').unwrap_or(0));
        }
        match nearest(word, &known) {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => format!("unknown key; the keys here are {}", known.join(", ")),
        }
    } else if message.starts_with("unknown variant") {
        match nearest(word, &known) {
            Some(near) => format!("`{word}` is unknown; did you mean \"{near}\"?"),
            None => format!("`{word}` is unknown; write one of {}", known.join(", ")),
        }
    } else if message.starts_with("missing field") {
        if !key.is_empty() {
            key.push('.');
        }
        key.push_str(word);
        let remedy = match word {
            "cluster" => "; the file needs a [cluster] with `name` and `secret_file`",
            "name" => "; write any name, the same on all members",
            "addresses" => "; write addresses = [\"…\"]",
            _ => "",
        };
        format!("missing{remedy}")
    } else {
        message
            .replace("expected u16", "expected 1 to 65535")
            .replace("expected a sequence", "expected a list in [brackets]")
    }
}

/// The known word that `word` is most likely a misspelling of, if any.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, near) = known.iter().map(|k| (distance(word, k), *k)).min()?;
    (distance <= 1 + near.len() / 4).then_some(near)
}

/// How many letters to change, add or drop to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

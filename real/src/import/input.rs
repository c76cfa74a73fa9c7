//! What is read: bounded, and by nobody else's clock or network.

use super::report::Report;
use crate::config_file::toward;
use crate::files;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The largest file that is read.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// The most lines of a file.
pub(super) const MAX_LINES: usize = 20_000;
/// The most files of one import.
pub(super) const MAX_FILES: usize = 64;
/// The most names in a directory that are looked at for a pattern.
const MAX_NAMES: usize = 4_096;

/// A file that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Who may do what with it.
    pub mode: u32,
}

/// Where files are read.
pub trait Disk {
    /// Reads a file, up to a little more than `MAX_BYTES`.
    ///
    /// # Errors
    /// Why it can't be read.
    fn open(&self, path: &Path) -> io::Result<Opened>;

    /// The names in a directory, in order, or some of them.
    fn names(&self, directory: &Path) -> Vec<String>;
}

/// This machine's files.
#[derive(Clone, Copy, Debug)]
pub struct ThisDisk;

impl Disk for ThisDisk {
    fn open(&self, path: &Path) -> io::Result<Opened> {
        Ok(Opened {
            bytes: files::read(path, MAX_BYTES as u64 + 1)?,
            mode: std::fs::metadata(path)?.mode() & 0o777,
        })
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = names.take(MAX_NAMES).map(|entry| entry.file_name());
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }
}

/// What is known of the machine on which this runs.
pub struct Here<'a> {
    /// Its name.
    pub host: String,
    /// The addresses that a name has here.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
    /// The address from which this machine reaches another: the same one, if this machine has it.
    pub toward: &'a dyn Fn(IpAddr) -> Option<IpAddr>,
}

impl std::fmt::Debug for Here<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Here({})", self.host)
    }
}

impl Here<'static> {
    /// This machine.
    #[must_use]
    pub fn now() -> Self {
        let host = rustix::system::uname();
        Self {
            host: host.nodename().to_string_lossy().into_owned(),
            resolve: &|name| {
                let found = (name, 0).to_socket_addrs().into_iter().flatten();
                found.map(|address| address.ip()).collect()
            },
            toward: &toward,
        }
    }
}

/// A file's lines, and its number in the report.
pub(super) struct Read {
    pub(super) number: usize,
    pub(super) lines: Vec<String>,
    pub(super) mode: u32,
}

/// Reads a file into the report.
///
/// # Errors
/// Why it can't be read, after its name.
pub(super) fn read(
    disk: &dyn Disk,
    path: &Path,
    comments: &[char],
    report: &mut Report,
) -> Result<Read, String> {
    let shown = path.display();
    let opened = disk
        .open(path)
        .map_err(|e| format!("{shown} can't be read: {e}"))?;
    if opened.bytes.len() > MAX_BYTES {
        return Err(format!(
            "{shown} is larger than {MAX_BYTES} bytes; name the right file"
        ));
    }
    let text = String::from_utf8_lossy(&opened.bytes);
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    if lines.len() > MAX_LINES {
        return Err(format!(
            "{shown} has more than {MAX_LINES} lines; name the right file"
        ));
    }
    Ok(Read {
        number: report.file(shown.to_string(), &text, comments),
        lines,
        mode: opened.mode,
    })
}

/// The files that a pattern with `*`, `?` and `[…]` means, in order; at most [`MAX_FILES`].
pub(super) fn matching(disk: &dyn Disk, directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let (mut found, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (vec![PathBuf::from("/")], rest),
        None => (vec![directory.to_owned()], pattern),
    };
    for part in rest.split('/').filter(|part| !part.is_empty()) {
        found = match part.contains(['*', '?', '[']) {
            false => found.into_iter().map(|path| path.join(part)).collect(),
            true => (found.iter())
                .flat_map(|path| {
                    let names = disk.names(path).into_iter();
                    let hidden = part.starts_with('.');
                    let fits = names.filter(move |name| {
                        (hidden || !name.starts_with('.')) && fits(part.as_bytes(), name.as_bytes())
                    });
                    fits.map(|name| path.join(name)).collect::<Vec<_>>()
                })
                .take(MAX_FILES)
                .collect(),
        };
    }
    found
}

/// Whether a name fits a pattern. Only the last `*` is tried again, which is enough.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut again) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                again = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            Some(b'[') => {
                if let Some((true, after)) = one_of(&pattern[p..], name[n]) {
                    (p, n) = (p + after, n + 1);
                    continue;
                }
            }
            Some(letter) if *letter == name[n] => {
                (p, n) = (p + 1, n + 1);
                continue;
            }
            _ => {}
        }
        let Some((star, at)) = again else {
            return false;
        };
        again = Some((star, at + 1));
        (p, n) = (star + 1, at + 1);
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// Whether a letter is one of `[abc]`, `[a-z]` or `[!a]`, and how long that set is.
fn one_of(pattern: &[u8], letter: u8) -> Option<(bool, usize)> {
    let not = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if not { 2 } else { 1 };
    let end = start + 1 + pattern.get(start + 1..)?.iter().position(|b| *b == b']')?;
    let (mut set, mut is_in) = (&pattern[start..end], false);
    while let Some((first, rest)) = set.split_first() {
        set = match rest {
            [b'-', last, rest @ ..] => {
                is_in |= (*first..=*last).contains(&letter);
                rest
            }
            _ => {
                is_in |= *first == letter;
                rest
            }
        };
    }
    Some((is_in != not, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_a_shell_means_by_them() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]*", "b1", true),
            ("[!a-c]*", "b1", false),
            ("[]x]", "]", true),
            ("[", "[", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}

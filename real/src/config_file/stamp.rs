//! When a file, and those that it leads to, were last changed, as the file system reports it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The state of files and directories at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(Vec<(PathBuf, Option<Mark>)>);

/// Which file it is, how long, and its time of change, which nobody can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Stamp {
    /// Records a file or directory; before it is read, so that a change meanwhile is noticed.
    pub(super) fn take(&mut self, path: &Path) {
        self.0.push((path.to_owned(), Mark::of(path)));
    }

    /// Whether nothing of it has changed since. An empty stamp is never current.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(path, mark)| Mark::of(path) == *mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;

    #[test]
    fn whatever_becomes_of_a_file_is_noticed() {
        let etc = Etc::new();
        let path = etc.write("a.toml", "one");
        let stamp = || {
            let mut stamp = Stamp::default();
            stamp.take(&path);
            stamp
        };
        assert!(!Stamp::default().is_current());
        let first = stamp();
        assert!(first.is_current());
        etc.write("b.toml", "two");
        std::fs::rename(etc.0.join("b.toml"), &path).unwrap();
        assert!(!first.is_current(), "another file in its place");
        let second = stamp();
        std::fs::remove_file(&path).unwrap();
        assert!(!second.is_current(), "none");
        assert!(stamp().is_current(), "still none");
    }
}

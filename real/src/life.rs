//! What a life must know of earlier ones: R-9's longest lease, of this boot.

use onehold_core::lease::MAX_LEASE;
use onehold_core::time::Span;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the longest lease of this host's lives is written down. It may be lost with a reboot, for
/// that takes longer than a lease, and the kernel's state is lost with it.
#[derive(Clone, Debug)]
pub struct Record {
    file: PathBuf,
}

/// What the record says at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The longest lease that an earlier life may have been given.
    pub longest: Span,
    /// What is wrong with the record, if it does no harm but to be waited for.
    pub fault: Option<String>,
}

impl Record {
    /// The record of one member under the state directory.
    #[must_use]
    pub fn of(state: &Path, cluster: &str, member: &str) -> Self {
        Self {
            file: state.join(format!("{}.lease", file_name(cluster, member))),
        }
    }

    /// what to wait for, and writes down what later lives must wait for.
    ///
    /// # Errors
    /// When a later life would not know of this one's lease: then it must not begin.
    pub fn begin(&self, lease: Span) -> Result<Earlier, String> {
        let (longest, unread) = match self.earlier() {
            Ok(longest) => (longest, None),
            Err(why) => (
                MAX_LEASE,
                Some(format!(
                    "{why}; taken for the longest lease that there can be: this member neither votes nor \
                     holds for {MAX_LEASE} (R-9). Remove the file and restart it, if no onehold has run \
                     here for as long as its longest lease"
                )),
            ),
        };
        if unread.is_some() {
            return Ok(Earlier {
                longest,
                fault: unread, // and the record stays as it is until that is over
            });
        }
        let fault = match self.write(longest.max(lease)) {
            Err(why) if longest < lease => return Err(why),
            written => written.err(),
        };
        Ok(Earlier { longest, fault })
    }

    fn earlier(&self) -> Result<Span, String> {
        let shown = self.file.display();
        match fs::read_to_string(&self.file) {
            Ok(text) => match text.trim().parse() {
                Ok(nanos) => Ok(Span::from_nanos(nanos).min(MAX_LEASE)),
                Err(_) => Err(format!("{shown}: not a number of nanoseconds")),
            },
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Span::ZERO),
            Err(e) => Err(format!("{shown}: can't be read: {e}")),
        }
    }

    /// Writes down what later lives must wait for.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, lease: Span) -> Result<(), String> {
        let new = self.file.with_added_extension("new");
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new("/")))
            .and_then(|()| fs::write(&new, format!("{}\n", lease.as_nanos())))
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|e| {
                format!(
                    "can't write {}: {e}; make room, or name another directory with --state",
                    self.file.display()
                )
            })
    }
}

/// A file name for one member of one cluster, and for no other.
pub(crate) fn file_name(cluster: &str, member: &str) -> String {
    let plain = |name: &str| {
        let mut out = String::new();
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(byte.into()),
                _ => out.push_str(&format!("%{byte:02x}")),
            }
        }
        out
    };
    format!("{}.{}", plain(cluster), plain(member))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;

    #[test]
    fn r9_the_longest_lease_is_remembered() {
        let etc = Etc::new();
        let record = Record::of(&etc.0.join("run"), "web.1", "a");
        let at = |ms| Span::from_millis(ms);
        let said = |longest| Earlier {
            longest,
            fault: None,
        };
        assert_eq!(record.begin(at(450)), Ok(said(Span::ZERO)));
        assert_eq!(record.begin(at(90)), Ok(said(at(450))));
        assert_eq!(record.begin(at(90)), Ok(said(at(450))), "until it is over");
        record.write(at(90)).unwrap();
        assert_eq!(record.begin(at(90)), Ok(said(at(90))));
        assert!(etc.0.join("run/web%2e1.a.lease").exists());
    }

    #[test]
    fn r9_a_record_that_cannot_be_read_is_no_zero() {
        let etc = Etc::new();
        let record = Record::of(&etc.0, "web", "a");
        for garbage in ["soon", "", "\0\0\0\0", "-1"] {
            etc.write("web.a.lease", garbage);
            let Earlier { longest, fault } = record.begin(Span::from_millis(450)).unwrap();
            assert_eq!(longest, MAX_LEASE);
            let fault = fault.unwrap();
            assert!(fault.contains("web.a.lease: not a number"), "{fault}");
        }
        etc.write("web.a.lease", "18446744073709551615");
        assert_eq!(record.begin(Span::ZERO).unwrap().longest, MAX_LEASE);
        fs::remove_file(etc.0.join("web.a.lease")).unwrap();
        fs::create_dir(etc.0.join("web.a.lease")).unwrap();
        let fault = record.begin(Span::ZERO).unwrap().fault.unwrap();
        assert!(fault.contains("can't be read"), "{fault}");
    }

    /// A directory that can't be written is the end only of a life whose lease nobody would know of.
    #[test]
    fn r9_an_old_record_that_says_enough_is_enough() {
        let etc = Etc::new();
        let record = Record::of(&etc.0, "web", "a");
        let lease = Span::from_millis(450);
        // Where the new one is to be written there is a directory.
        fs::create_dir(etc.0.join("web.a.lease.new")).unwrap();
        let why = record.begin(lease).unwrap_err();
        assert!(
            why.contains("can't write") && why.contains("--state"),
            "{why}"
        );
        etc.write("web.a.lease", "450000000\n");
        let Earlier { longest, fault } = record.begin(lease).unwrap();
        assert_eq!(longest, lease);
        assert!(fault.unwrap().contains("can't write"));
        assert!(record.begin(Span::from_millis(451)).is_err());
    }
}

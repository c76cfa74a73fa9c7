//! What a life must know of earlier ones: R-9's longest lease, of this boot.

use crate::files;
use onehold_core::lease::MAX_LEASE;
use onehold_core::time::Span;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const SUFFIX: &str = "lease";
/// Most records of a host that are looked at.
const MOST: usize = 1 << 16;
/// The longest record that is read.
const MOST_BYTES: u64 = 1 << 17;

/// Where the longest lease of this member's lives is written down, and for which addresses they voted. It
/// may be lost with a reboot, for that takes longer than a lease, and the kernel's state is lost with it.
#[derive(Clone, Debug)]
pub struct LeaseRecord {
    file: PathBuf,
    addresses: Vec<IpAddr>,
    /// What it says, once this life has written it.
    says: Option<Span>,
    /// Records that earlier lives left under another name.
    former: Vec<Left>,
}

/// A record that somebody left.
#[derive(Clone, Debug)]
pub struct Left {
    path: PathBuf,
    /// Which file it was, and of when: what is written later is another one.
    mark: Mark,
    says: Result<Said, String>,
}

type Mark = (u64, i64, i64);

fn mark(path: &Path) -> Option<Mark> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

#[derive(Clone, Debug)]
struct Said {
    longest: Span,
    /// None: it does not say which.
    addresses: Vec<IpAddr>,
}

/// What the record says at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// The longest lease that an earlier life may have been given.
    pub longest: Span,
    /// What is wrong with the record, if it does no harm but to be waited for.
    pub fault: Option<String>,
}

/// The records of all members under the state directory.
#[must_use]
pub fn left_in(state: &Path) -> Vec<Left> {
    let files = fs::read_dir(state).into_iter().flatten().flatten();
    let paths = files.map(|file| file.path());
    let records = paths.filter(|path| path.extension().is_some_and(|e| e == SUFFIX));
    records.take(MOST).filter_map(left).collect()
}

fn left(path: PathBuf) -> Option<Left> {
    let mark = mark(&path)?;
    let says = read(&path).transpose()?;
    Some(Left { path, mark, says })
}

/// What a record says, if it is there.
fn read(path: &Path) -> Result<Option<Said>, String> {
    let shown = path.display();
    let text = match files::read(path, MOST_BYTES) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{shown}: can't be read: {e}")),
    };
    let mut words = text.split_whitespace();
    let nanos = words.next().and_then(|nanos| nanos.parse().ok());
    let nanos = nanos.ok_or_else(|| format!("{shown}: not a number of nanoseconds"))?;
    let addresses = words.map(str::parse).collect::<Result<_, _>>();
    Ok(Some(Said {
        longest: Span::from_nanos(nanos).min(MAX_LEASE),
        addresses: addresses.map_err(|e| format!("{shown}: {e}"))?,
    }))
}

impl LeaseRecord {
    /// The record of one member under the state directory, which votes for `addresses`.
    #[must_use]
    pub fn of(state: &Path, cluster: &str, member: &str, addresses: Vec<IpAddr>) -> Self {
        Self {
            file: state.join(format!("{}.{SUFFIX}", file_name(cluster, member))),
            addresses,
            says: None,
            former: Vec::new(),
        }
    }

    /// what to wait for, and writes down what later lives must wait for. An earlier life may have gone
    /// by another name: it is known by an address that it voted for, among all that was `left`.
    ///
    /// # Errors
    /// When a later life would not know of this one's lease: then it must not begin.
    pub fn begin(&mut self, lease: Span, left: &[Left]) -> Result<Earlier, String> {
        let ours = |left: &&Left| {
            let of_ours = |said: &Said| {
                said.addresses.is_empty()
                    || said.addresses.iter().any(|a| self.addresses.contains(a))
            };
            left.path != self.file && left.says.as_ref().map_or(true, of_ours)
        };
        self.former = left.iter().filter(ours).cloned().collect();
        let own = read(&self.file);
        let own_says = own
            .as_ref()
            .map(|own| own.as_ref().map_or(Span::ZERO, |own| own.longest));
        let mut longest = Span::ZERO;
        let mut unread = own.as_ref().err().cloned();
        let others = self.former.iter().map(|left| &left.says);
        for said in own
            .iter()
            .flatten()
            .map(Ok)
            .chain(others.map(Result::as_ref))
        {
            match said {
                Ok(said) => longest = longest.max(said.longest),
                Err(why) => unread = unread.or_else(|| Some(why.clone())),
            }
        }
        if let Some(why) = unread {
            // And the record stays as it is until that is over.
            return Ok(Earlier {
                longest: MAX_LEASE,
                fault: Some(format!(
                    "{why}; taken for the longest lease that there can be: this member neither votes nor \
                     holds for {MAX_LEASE} (R-9). Remove the file and restart it, if no onehold has run \
                     here for as long as its longest lease"
                )),
            });
        }
        let fault = match self.put(longest.max(lease)) {
            Err(why) if own_says.is_ok_and(|says| says < lease) => return Err(why),
            written => written.err(),
        };
        Ok(Earlier { longest, fault })
    }

    /// the earlier lives' leases are over, whatever they were called: what later ones must wait for is
    /// this one's.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&mut self, lease: Span) -> Result<(), String> {
        self.put(lease)?;
        for left in self.former.drain(..) {
            if mark(&left.path) == Some(left.mark) {
                let _ = fs::remove_file(&left.path); // then it is waited for once more
            }
        }
        Ok(())
    }

    /// Writes again what is not there any more; nothing, if it is.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&mut self) -> Option<Result<(), String>> {
        let says = self.says?;
        (!self.file.exists()).then(|| self.put(says))
    }

    fn put(&mut self, lease: Span) -> Result<(), String> {
        self.says = Some(lease);
        let new = self.file.with_added_extension("new");
        let mut text = format!("{}\n", lease.as_nanos());
        for address in &self.addresses {
            text += &format!("{address}\n");
        }
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new("/")))
            .and_then(|()| fs::write(&new, text))
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

    fn at(ms: u64) -> Span {
        Span::from_millis(ms)
    }

    fn record(state: &Path, cluster: &str, member: &str, address: &str) -> LeaseRecord {
        LeaseRecord::of(state, cluster, member, vec![address.parse().unwrap()])
    }

    fn said(longest: u64) -> Result<Earlier, String> {
        Ok(Earlier {
            longest: at(longest),
            fault: None,
        })
    }

    #[test]
    fn r9_the_longest_lease_is_remembered() {
        let etc = Etc::new();
        let mut record = record(&etc.0.join("run"), "web.1", "a", "10.0.0.1");
        assert_eq!(record.begin(at(450), &[]), said(0));
        assert_eq!(record.begin(at(90), &[]), said(450));
        assert_eq!(record.begin(at(90), &[]), said(450), "until it is over");
        record.write(at(90)).unwrap();
        assert_eq!(record.begin(at(90), &[]), said(90));
        assert!(etc.0.join("run/web%2e1.a.lease").exists());
    }

    /// The cluster, or the member, has another name in the file since then.
    #[test]
    fn r9_an_earlier_life_by_another_name_is_known_by_its_addresses() {
        let etc = Etc::new();
        for (cluster, member) in [("web", "a"), ("db", "a"), ("db", "b")] {
            let mut former = record(&etc.0, "web", "w", "10.0.0.1");
            former.begin(at(30_000), &left_in(&etc.0)).unwrap();
            let mut beside = record(&etc.0, "mail", "w", "10.0.0.2");
            beside.begin(at(60_000), &left_in(&etc.0)).unwrap();
            let mut now = record(&etc.0, cluster, member, "10.0.0.1");
            assert_eq!(now.begin(at(450), &left_in(&etc.0)), said(30_000));
            // A life that is killed before it is over leaves it to the next.
            let mut now = record(&etc.0, cluster, member, "10.0.0.1");
            assert_eq!(now.begin(at(450), &left_in(&etc.0)), said(30_000));
            now.write(at(450)).unwrap();
            assert_eq!(now.begin(at(450), &left_in(&etc.0)), said(450));
            assert!(!etc.0.join("web.w.lease").exists(), "it is over");
            assert!(etc.0.join("mail.w.lease").exists(), "not ours");
            now.write(at(0)).unwrap();
        }
        // One that does not say for what, as an earlier version wrote it, may be ours.
        etc.write("old.w.lease", "30000000000\n");
        let mut now = record(&etc.0, "web", "a", "10.0.0.1");
        assert_eq!(now.begin(at(450), &left_in(&etc.0)), said(30_000));
        // What is written meanwhile is somebody's who runs.
        etc.write("old.w.lease.new", "1000000000\n");
        fs::rename(etc.0.join("old.w.lease.new"), etc.0.join("old.w.lease")).unwrap();
        now.write(at(450)).unwrap();
        assert!(etc.0.join("old.w.lease").exists());
    }

    #[test]
    fn r9_a_record_that_was_removed_is_written_again() {
        let etc = Etc::new();
        let mut record = record(&etc.0.join("run"), "web", "a", "10.0.0.1");
        record.begin(at(450), &[]).unwrap();
        assert_eq!(record.keep(), None);
        fs::remove_dir_all(etc.0.join("run")).unwrap();
        assert_eq!(record.keep(), Some(Ok(())));
        assert_eq!(record.begin(at(90), &[]), said(450));
        fs::remove_dir_all(etc.0.join("run")).unwrap();
        etc.write("run", "in its place");
        assert!(record.keep().unwrap().unwrap_err().contains("can't write"));
    }

    #[test]
    fn r9_a_record_that_cannot_be_read_is_no_zero() {
        let etc = Etc::new();
        for name in ["web", "former"] {
            let file = format!("{name}.a.lease");
            let mut record = record(&etc.0, "web", "a", "10.0.0.1");
            let mut begin = |lease| record.begin(lease, &left_in(&etc.0)).unwrap();
            for garbage in ["soon", "", "\0\0\0\0", "-1"] {
                etc.write(&file, garbage);
                let Earlier { longest, fault } = begin(at(450));
                assert_eq!(longest, MAX_LEASE);
                let fault = fault.unwrap();
                assert!(fault.contains(&format!("{file}: not a number")), "{fault}");
            }
            etc.write(&file, "18446744073709551615");
            assert_eq!(begin(Span::ZERO).longest, MAX_LEASE);
            fs::remove_file(etc.0.join(&file)).unwrap();
            fs::create_dir(etc.0.join(&file)).unwrap();
            let fault = begin(Span::ZERO).fault.unwrap();
            assert!(fault.contains("can't be read"), "{fault}");
            fs::remove_dir(etc.0.join(&file)).unwrap();
        }
    }

    /// A directory that can't be written is the end only of a life whose lease nobody would know of.
    #[test]
    fn r9_an_old_record_that_says_enough_is_enough() {
        let etc = Etc::new();
        let mut record = record(&etc.0, "web", "a", "10.0.0.1");
        let lease = at(450);
        // Where the new one is to be written there is a directory.
        fs::create_dir(etc.0.join("web.a.lease.new")).unwrap();
        let why = record.begin(lease, &[]).unwrap_err();
        assert!(
            why.contains("can't write") && why.contains("--state"),
            "{why}"
        );
        etc.write("web.a.lease", "450000000\n");
        let Earlier { longest, fault } = record.begin(lease, &[]).unwrap();
        assert_eq!(longest, lease);
        assert!(fault.unwrap().contains("can't write"));
        assert!(record.begin(at(451), &[]).is_err());
    }
}

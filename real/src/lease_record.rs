//! R-9's longest lease, written down for later incarnations of this boot.
//!
//! The driver decides what is written ([`crate::driver::leases`]).

use crate::driver::leases::{Record, Recorded};
use crate::files;
use onehold_core::lease::MAX_LEASE;
use onehold_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const SUFFIX: &str = "lease";
/// Most records of a host that are looked at.
const MOST: usize = 1 << 16;
/// The longest record that is read.
const MOST_BYTES: u64 = 1 << 17;

/// Where the longest lease of this member is written down, and for which addresses it voted.
#[derive(Clone, Debug)]
pub struct LeaseRecord {
    file: PathBuf,
    addresses: Vec<IpAddr>,
    /// What it should say, once this incarnation has something to write.
    says: Option<Span>,
    /// It says so, or did when it was written.
    written: bool,
    /// Records that earlier incarnations left under another name.
    former: Vec<Left>,
    /// Their leases are over.
    former_is_over: bool,
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

/// The records of all members under the state directory.
#[must_use]
pub fn left_in(state: &Path) -> Records {
    let mut records = Records::default();
    for left in files::with_suffix(state, SUFFIX, MOST)
        .into_iter()
        .filter_map(left)
    {
        records.add(left);
    }
    records
}

/// All records that were left, found by what they say.
#[derive(Clone, Debug, Default)]
pub struct Records {
    all: Vec<Left>,
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    /// Those that may be of any address.
    of_any: Vec<usize>,
}

impl Records {
    fn add(&mut self, left: Left) {
        let at = self.all.len();
        match &left.says {
            Ok(said) if !said.addresses.is_empty() => {
                for address in &said.addresses {
                    self.by_address.entry(*address).or_default().push(at);
                }
            }
            Ok(_) | Err(_) => self.of_any.push(at),
        }
        self.all.push(left);
    }

    /// Those that may be of one of these addresses.
    fn of(&self, addresses: &[IpAddr]) -> impl Iterator<Item = &Left> {
        let named = addresses.iter().filter_map(|a| self.by_address.get(a));
        let found: BTreeSet<usize> = named.flatten().chain(&self.of_any).copied().collect();
        found.into_iter().filter_map(|at| self.all.get(at))
    }
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
    /// The record of one member under the state directory, which votes for `addresses`. An earlier
    /// incarnation may have had another name: it is known by an address that it voted for, among
    /// all that was `left`.
    #[must_use]
    pub fn of(
        state: &Path,
        cluster: &str,
        member: &str,
        addresses: Vec<IpAddr>,
        left: &Records,
    ) -> Self {
        let file = state.join(format!("{}.{SUFFIX}", file_name(cluster, member)));
        let former = left.of(&addresses).filter(|left| left.path != file);
        Self {
            former: former.cloned().collect(),
            file,
            addresses,
            says: None,
            written: false,
            former_is_over: false,
        }
    }

    /// The same incarnation goes on, whose quarantine was over: it is written already, and may say a
    /// longer lease, and more addresses, of before a change. What can't be read may say
    /// anything.
    pub(crate) fn goes_on(&mut self, lease: Span) {
        let (longest, addresses) = match read(&self.file) {
            Ok(Some(said)) => (said.longest, said.addresses),
            Ok(None) => (Span::ZERO, Vec::new()),
            Err(_) => (MAX_LEASE, Vec::new()),
        };
        self.addresses.extend(addresses);
        self.addresses.sort_unstable();
        self.addresses.dedup();
        let says = Some(longest.max(lease));
        (self.says, self.written, self.former_is_over) = (says, true, true);
    }

    /// the leases of earlier incarnations are over, whatever those were called: later ones
    /// must wait for this one's.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn only(&mut self, lease: Span) -> Result<(), String> {
        self.former_is_over = true;
        self.write(lease)
    }

    /// it votes for these addresses as well from now on, and for a lease as long as this: later
    /// incarnations must know both before it does. Neither is taken back in this incarnation, for a
    /// vote of before may bind it still.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn covers(
        &mut self,
        addresses: impl Iterator<Item = IpAddr>,
        longest: Span,
    ) -> Result<(), String> {
        self.addresses.extend(addresses);
        self.addresses.sort_unstable();
        self.addresses.dedup();
        self.write(self.says.unwrap_or(Span::ZERO).max(longest))
    }

    /// Writes again what is not there any more, or could not be written; nothing, if it is there.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn keep(&mut self) -> Option<Result<(), String>> {
        let says = self.says?;
        (!self.written || !self.file.exists()).then(|| self.write(says))
    }

    fn put(&self, lease: Span) -> io::Result<()> {
        let new = self.file.with_added_extension("new");
        let mut text = format!("{}\n", lease.as_nanos());
        for address in &self.addresses {
            text += &format!("{address}\n");
        }
        fs::create_dir_all(self.file.parent().unwrap_or(Path::new("/")))?;
        fs::write(&new, text)?;
        fs::rename(&new, &self.file)
    }
}

impl Record for LeaseRecord {
    fn read(&self) -> Result<Recorded, String> {
        let own = read(&self.file)?.map_or(Span::ZERO, |own| own.longest);
        let mut former = Span::ZERO;
        for left in &self.former {
            former = former.max(left.says.as_ref().map_err(Clone::clone)?.longest);
        }
        Ok(Recorded { own, former })
    }

    fn write(&mut self, longest: Span) -> Result<(), String> {
        self.says = Some(longest);
        let put = self.put(longest);
        self.written = put.is_ok();
        put.map_err(|e| {
            format!(
                "can't write {}: {e}; make room, or name another directory with --state",
                self.file.display()
            )
        })?;
        for left in self.former.extract_if(.., |_| self.former_is_over) {
            if mark(&left.path) == Some(left.mark) {
                let _ = fs::remove_file(&left.path); // then it is waited for once more
            }
        }
        Ok(())
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
    use crate::driver::leases::{self, Earlier, begin};

    fn at(ms: u64) -> Span {
        Span::from_millis(ms)
    }

    fn record(state: &Path, cluster: &str, member: &str, address: &str) -> LeaseRecord {
        let addresses = vec![address.parse().unwrap()];
        LeaseRecord::of(state, cluster, member, addresses, &left_in(state))
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
        assert_eq!(begin(&mut record, at(450)), said(0));
        assert_eq!(begin(&mut record, at(90)), said(450));
        assert_eq!(begin(&mut record, at(90)), said(450), "until it is over");
        record.only(at(90)).unwrap();
        assert_eq!(begin(&mut record, at(90)), said(90));
        assert!(etc.0.join("run/web%2e1.a.lease").exists());
    }

    /// The cluster, or the member, has another name in the file since then.
    #[test]
    fn r9_an_earlier_life_by_another_name_is_known_by_its_addresses() {
        let etc = Etc::new();
        for (cluster, member) in [("web", "a"), ("db", "a"), ("db", "b")] {
            let mut former = record(&etc.0, "web", "w", "10.0.0.1");
            begin(&mut former, at(30_000)).unwrap();
            let mut beside = record(&etc.0, "mail", "w", "10.0.0.2");
            begin(&mut beside, at(60_000)).unwrap();
            let mut now = record(&etc.0, cluster, member, "10.0.0.1");
            assert_eq!(begin(&mut now, at(450)), said(30_000));
            // An incarnation that is killed before it is over leaves it to the next.
            let mut now = record(&etc.0, cluster, member, "10.0.0.1");
            assert_eq!(begin(&mut now, at(450)), said(30_000));
            now.only(at(450)).unwrap();
            assert_eq!(begin(&mut now, at(450)), said(450));
            assert!(!etc.0.join("web.w.lease").exists(), "it is over");
            assert!(etc.0.join("mail.w.lease").exists(), "not ours");
            now.only(at(0)).unwrap();
        }
        // One that does not say for what, as an earlier version wrote it, may be ours.
        etc.write("old.w.lease", "30000000000\n");
        let mut now = record(&etc.0, "web", "a", "10.0.0.1");
        assert_eq!(begin(&mut now, at(450)), said(30_000));
        // What is written meanwhile belongs to a member that runs.
        etc.write("old.w.lease.new", "1000000000\n");
        fs::rename(etc.0.join("old.w.lease.new"), etc.0.join("old.w.lease")).unwrap();
        now.only(at(450)).unwrap();
        assert!(etc.0.join("old.w.lease").exists());
    }

    #[test]
    fn r9_a_record_that_was_removed_is_written_again() {
        let etc = Etc::new();
        let mut record = record(&etc.0.join("run"), "web", "a", "10.0.0.1");
        begin(&mut record, at(450)).unwrap();
        assert_eq!(record.keep(), None);
        fs::remove_dir_all(etc.0.join("run")).unwrap();
        assert_eq!(record.keep(), Some(Ok(())));
        assert_eq!(begin(&mut record, at(90)), said(450));
        fs::remove_dir_all(etc.0.join("run")).unwrap();
        etc.write("run", "in its place");
        assert!(record.keep().unwrap().unwrap_err().contains("can't write"));
    }

    #[test]
    fn r9_a_record_that_could_not_be_written_is_written_later() {
        let etc = Etc::new();
        etc.write("web.a.lease", "450000000\n");
        fs::create_dir(etc.0.join("web.a.lease.new")).unwrap();
        let mut record = record(&etc.0, "web", "a", "10.0.0.1");
        assert!(begin(&mut record, at(90)).unwrap().fault.is_some());
        assert!(record.keep().unwrap().is_err(), "still not");
        fs::remove_dir(etc.0.join("web.a.lease.new")).unwrap();
        assert_eq!(record.keep(), Some(Ok(())), "so that the alarm is over");
        assert_eq!(record.keep(), None);
    }

    #[test]
    fn r9_a_record_that_cannot_be_read_is_no_zero() {
        let etc = Etc::new();
        for name in ["web", "former"] {
            let file = format!("{name}.a.lease");
            let begin = |lease| {
                let mut record = record(&etc.0, "web", "a", "10.0.0.1");
                leases::begin(&mut record, lease).unwrap()
            };
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

    #[test]
    fn r9_another_program_that_goes_on_lowers_no_lease_of_before_a_change() {
        let etc = Etc::new();
        let goes_on = |lease| {
            let mut record = record(&etc.0, "web", "a", "10.0.0.1");
            record.goes_on(lease);
            record
        };
        let mut first = record(&etc.0, "web", "a", "10.0.0.1");
        begin(&mut first, at(30_000)).unwrap();
        let more = ["10.0.0.2".parse().unwrap()];
        first.covers(more.into_iter(), at(450)).unwrap();
        let mut second = goes_on(at(450));
        second.covers(std::iter::empty(), at(900)).unwrap();
        let says = read(&etc.0.join("web.a.lease")).unwrap().unwrap();
        assert_eq!((says.longest, says.addresses.len()), (at(30_000), 2));
        etc.write("web.a.lease", "soon");
        goes_on(at(450))
            .covers(std::iter::empty(), at(900))
            .unwrap();
        assert_eq!(begin(&mut first, at(450)), said(600_000));
    }

    /// A directory that can't be written is the end only of an incarnation whose lease nobody would
    /// know of.
    #[test]
    fn r9_an_old_record_that_says_enough_is_enough() {
        let etc = Etc::new();
        let mut record = record(&etc.0, "web", "a", "10.0.0.1");
        let lease = at(450);
        // There is a directory where the new one should be written.
        fs::create_dir(etc.0.join("web.a.lease.new")).unwrap();
        let why = begin(&mut record, lease).unwrap_err();
        assert!(
            why.contains("can't write") && why.contains("--state"),
            "{why}"
        );
        etc.write("web.a.lease", "450000000\n");
        let Earlier { longest, fault } = begin(&mut record, lease).unwrap();
        assert_eq!(longest, lease);
        assert!(fault.unwrap().contains("can't write"));
        assert!(begin(&mut record, at(451)).is_err());
    }
}

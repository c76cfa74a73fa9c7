//! by whose votes this member may hold, written down for later incarnations, so that a power cut
//! leaves it, too.
//!
//! The core says who they are ([`Config::electorates`](onehold_core::config::Config::electorates)).
//! What can't be read may say anything.

use crate::files;
use crate::lease_record::file_name;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

const SUFFIX: &str = "members";
/// The longest record that is read.
const MOST_BYTES: u64 = 1 << 12;

/// By whose votes a candidate may hold, as it is on the disk.
#[derive(Debug)]
pub struct MembersRecord {
    file: PathBuf,
    /// What it says; none while that is not known.
    says: Option<Vec<u64>>,
    /// What it should say.
    wanted: Vec<u64>,
    /// What an earlier incarnation may still hold by is kept in it.
    doubts: bool,
    writing: Option<Writing>,
    /// What was refused when it was written last.
    failed: Option<String>,
}

#[derive(Debug)]
struct Writing {
    what: Vec<u64>,
    done: oneshot::Receiver<Result<(), String>>,
}

/// No electorate has this number: who finds it doubts.
const ANOTHER: u64 = 0;

/// What an incarnation finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// why this incarnation can't know that nobody else decides.
    pub doubt: Option<String>,
    /// What could not be written: a change of members will be refused until it can.
    pub fault: Option<String>,
}

/// What a person has to know of a doubt; `other` is the other candidate.
#[must_use]
pub fn in_doubt(why: &str, other: &str) -> String {
    format!(
        "takes no hold: {why}. It waits until {other} has the same file in force (R-22); if {other} is off and stays \
         off: `onehold presume-dead`"
    )
}

impl MembersRecord {
    /// The record of a candidate, in the directory for what outlives a boot.
    #[must_use]
    pub fn of(directory: &Path, cluster: &str, member: &str) -> Self {
        let name = format!("{}.{SUFFIX}", file_name(cluster, member));
        Self {
            file: directory.join(name),
            says: None,
            wanted: Vec::new(),
            doubts: false,
            writing: None,
            failed: None,
        }
    }

    /// An incarnation begins that goes by `electorates`. It blocks for as long as the disk takes.
    ///
    /// # Errors
    /// When it can't be written, and has to be: another incarnation would know nothing of this one.
    pub fn begin(&mut self, electorates: &[u64]) -> Result<Found, String> {
        let left = read(&self.file);
        let doubt = match &left {
            Ok(None) => None,
            Ok(Some(left)) if left.iter().all(|of| electorates.contains(of)) => None,
            Ok(Some(_)) => {
                Some("it held last by the votes of other members than those of its file".to_owned())
            }
            Err(why) => Some(format!("by whose votes it held last can't be known: {why}")),
        };
        self.doubts = doubt.is_some();
        let known = left.as_ref().ok().cloned().flatten();
        self.wanted = match left {
            Ok(left) => left.unwrap_or_default(),
            Err(_) => vec![ANOTHER], // later ones doubt, too
        };
        self.want(electorates);
        if known.as_ref() == Some(&self.wanted) {
            self.says = known;
            return Ok(Found { doubt, fault: None });
        }
        let fault = match write(&self.file, &self.wanted) {
            Err(why) if known.is_some() && self.doubts => return Err(why),
            Err(why) => Some(unwritten(&why)),
            Ok(()) => {
                self.says = Some(self.wanted.clone());
                None
            }
        };
        Ok(Found { doubt, fault })
    }

    /// These as well.
    fn want(&mut self, electorates: &[u64]) {
        for of in electorates {
            if !self.wanted.contains(of) {
                self.wanted.push(*of);
            }
        }
    }

    /// The same incarnation goes on. Needs a tokio runtime.
    pub fn goes_on(&mut self, electorates: &[u64], doubts: bool) {
        self.doubts = doubts;
        self.says = read(&self.file).ok().flatten();
        self.wanted = match &self.says {
            Some(said) if doubts => said.clone(),
            None if doubts => vec![ANOTHER],
            _ => Vec::new(),
        };
        let _ = self.says(electorates); // what fails is tried again
    }

    /// Nobody doubts any more.
    pub fn trust(&mut self) {
        self.doubts = false;
    }

    /// Whether it says these, and no others unless it is in doubt. If not, that is on its way to the
    /// disk. Needs a tokio runtime.
    ///
    /// # Errors
    /// What was refused last time; it is tried again.
    pub fn says(&mut self, electorates: &[u64]) -> Result<bool, String> {
        if !self.doubts {
            self.wanted.clear();
        }
        self.want(electorates);
        if self.is_said() {
            return Ok(true);
        }
        let failed = self.failed.take();
        self.write();
        failed.map_or(Ok(false), Err)
    }

    fn is_said(&self) -> bool {
        self.writing.is_none() && self.says.as_ref() == Some(&self.wanted)
    }

    /// Begins to write what is wanted, if nothing is being written.
    fn write(&mut self) {
        if self.writing.is_some() {
            return; // and what is wanted then, afterwards
        }
        let (tell, done) = oneshot::channel();
        let (file, what) = (self.file.clone(), self.wanted.clone());
        tokio::task::spawn_blocking(move || {
            let _ = tell.send(write(&file, &what)); // the daemon may have ended
        });
        self.says = None; // either
        let what = self.wanted.clone();
        self.writing = Some(Writing { what, done });
    }

    /// Writes again what is not there, or could not be written. What is wrong with it, for people.
    pub fn keep_there(&mut self) -> Option<String> {
        if self.writing.is_none() && !(self.is_said() && self.file.exists()) {
            self.write();
        }
        self.failed.as_deref().map(unwritten)
    }

    /// Ready when a writing ended.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Writing { what, done }) = &mut self.writing else {
            return Poll::Pending;
        };
        let done = std::task::ready!(Pin::new(done).poll(cx));
        let done = done.unwrap_or_else(|e| Err(e.to_string()));
        self.says = done.is_ok().then(|| std::mem::take(what));
        self.failed = done.err();
        self.writing = None;
        if self.failed.is_none() && !self.is_said() {
            self.write(); // what is wanted since
        }
        Poll::Ready(())
    }

    /// Nothing is being written.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.writing.is_none()
    }
}

/// What a person has to know if it can't be written.
fn unwritten(why: &str) -> String {
    format!("{why}; until then no change of members comes into force")
}

fn read(file: &Path) -> Result<Option<Vec<u64>>, String> {
    let shown = file.display();
    let text = match files::read(file, MOST_BYTES) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{shown}: can't be read: {e}")),
    };
    let number = |line: &str| u64::from_str_radix(line, 16).ok();
    let all: Option<Vec<u64>> = text.lines().map(number).collect();
    match all {
        Some(all) if !all.is_empty() => Ok(Some(all)),
        _ => Err(format!("{shown}: not what onehold wrote there")),
    }
}

fn write(file: &Path, all: &[u64]) -> Result<(), String> {
    let text: String = all.iter().map(|of| format!("{of:016x}\n")).collect();
    files::replace(file, text.as_bytes()).map_err(|e| {
        format!(
            "can't write {}: {e}; make room, or name another directory with --orders",
            file.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::Etc;
    use std::fs;

    fn begin(etc: &Etc, electorates: &[u64]) -> (MembersRecord, Found) {
        let mut record = MembersRecord::of(&etc.0, "web", "lb0");
        let found = record.begin(electorates).unwrap();
        (record, found)
    }

    #[test]
    fn r22_one_that_starts_by_other_members_doubts_until_it_trusts() {
        let etc = Etc::new();
        assert_eq!(begin(&etc, &[1]).1, Found::default());
        assert_eq!(begin(&etc, &[1]).1, Found::default());
        assert!(begin(&etc, &[2]).1.doubt.is_some());
        // Whatever it begins by: others may have gone by what it said.
        for of in [1, 2, 3] {
            assert!(begin(&etc, &[of]).1.doubt.is_some());
        }
        let text = fs::read_to_string(etc.0.join("web.lb0.members")).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[tokio::test]
    async fn r22_what_is_said_is_on_the_disk_first() {
        let etc = Etc::new();
        let (mut record, _) = begin(&etc, &[1]);
        assert_eq!(record.says(&[1]), Ok(true));
        assert_eq!(record.says(&[2, 1]), Ok(false));
        std::future::poll_fn(|cx| record.poll(cx)).await;
        assert_eq!(record.says(&[2, 1]), Ok(true));
        assert!(begin(&etc, &[2]).1.doubt.is_some());
        let (mut record, _) = begin(&etc, &[2]);
        record.trust();
        while record.says(&[2]) != Ok(true) {
            std::future::poll_fn(|cx| record.poll(cx)).await;
        }
        assert_eq!(begin(&etc, &[2]).1, Found::default());
    }

    #[tokio::test]
    async fn r22_what_cant_be_read_or_written_is_said() {
        let etc = Etc::new();
        let file = etc.0.join("web.lb0.members");
        fs::write(&file, "nonsense").unwrap();
        let (mut record, found) = begin(&etc, &[1]);
        let why = found.doubt.unwrap();
        assert!(
            why.contains("web.lb0.members: not what onehold wrote there"),
            "{why}"
        );
        assert_eq!(record.says(&[1]), Ok(true), "beside one that nobody has");
        assert!(
            begin(&etc, &[1]).1.doubt.is_some(),
            "so later ones doubt, too"
        );
        record.trust();
        assert_eq!(record.says(&[1]), Ok(false), "then it is written anew");
        std::future::poll_fn(|cx| record.poll(cx)).await;
        assert_eq!(record.says(&[1]), Ok(true));
        // Another one is wanted while this one is written.
        assert_eq!(record.says(&[1, 2]), Ok(false));
        assert_eq!(record.says(&[1]), Ok(false));
        for _ in 0..2 {
            std::future::poll_fn(|cx| record.poll(cx)).await;
        }
        assert_eq!(record.says(&[1]), Ok(true));
        fs::remove_file(&file).unwrap();
        assert_eq!(record.keep_there(), None);
        std::future::poll_fn(|cx| record.poll(cx)).await;
        assert!(file.exists(), "it is put back");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(record.says(&[1, 2]), Ok(false));
        std::future::poll_fn(|cx| record.poll(cx)).await;
        assert!(record.keep_there().unwrap().contains("can't write"));
        std::future::poll_fn(|cx| record.poll(cx)).await;
        let why = record.says(&[1, 2]).unwrap_err();
        assert!(why.contains("can't write"), "{why}");
        let mut other = MembersRecord::of(&file.join("no/such"), "web", "lb0");
        fs::remove_dir(&file).unwrap();
        fs::write(&file, "0000000000000001\n").unwrap();
        assert!(
            other.begin(&[1]).unwrap().doubt.is_some(),
            "a file is in the directory's place"
        );
    }
}

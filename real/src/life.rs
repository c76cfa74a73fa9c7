//! one life at a time, and what a life must know of earlier ones.

use onehold_core::time::Span;
use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// The exclusive right to be this member here. It dies with the process, whatever ends that.
#[derive(Debug)]
pub struct Lock {
    /// An abstract socket: its name is unique in a network namespace, and no file is left behind.
    _socket: UnixListener,
}

impl Lock {
    /// Takes the right to be `member` of `cluster` in this network namespace.
    ///
    /// # Errors
    /// When another process has it: then nothing may be touched.
    pub fn take(cluster: &str, member: &str) -> Result<Self, String> {
        let name = format!("onehold/{cluster}/{member}");
        let at = SocketAddr::from_abstract_name(&name).map_err(|e| format!("{name}: {e}"))?;
        match UnixListener::bind_addr(&at) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(e) if e.kind() == ErrorKind::AddrInUse => Err(format!(
                "`{member}` of cluster `{cluster}` runs already on this host; stop that first \
                 (systemctl stop onehold), or ask it: onehold status"
            )),
            Err(e) => Err(format!("can't take the lock `{name}`: {e}")),
        }
    }
}

/// Where the longest lease of this host's lives is written down. It may be lost with a reboot, for
/// that takes longer than a lease, and the kernel's state is lost with it.
#[derive(Clone, Debug)]
pub struct Record {
    file: PathBuf,
}

impl Record {
    /// The record of one member under the state directory, which is made if it is not there.
    ///
    /// # Errors
    /// What could not be made.
    pub fn open(state: &Path, cluster: &str, member: &str) -> Result<Self, String> {
        fs::create_dir_all(state).map_err(|e| {
            format!(
                "can't make the state directory {}: {e}; see --state",
                state.display()
            )
        })?;
        let plain = |s: &str| s.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        Ok(Self {
            file: state.join(format!("{}.{}.lease", plain(cluster), plain(member))),
        })
    }

    /// The longest lease that an earlier life may have been given; zero if there was none.
    ///
    /// # Errors
    /// When there is a record that can't be read: guessing would be unsafe.
    pub fn earlier(&self) -> Result<Span, String> {
        match fs::read_to_string(&self.file) {
            Ok(text) => text.trim().parse().map(Span::from_nanos).map_err(|_| {
                format!(
                    "{}: not a number of nanoseconds: `{}`; remove the file once no onehold has run \
                     here for as long as its longest lease",
                    self.file.display(),
                    text.trim()
                )
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Span::ZERO),
            Err(e) => Err(format!("can't read {}: {e}", self.file.display())),
        }
    }

    /// Writes down what later lives must wait for.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, lease: Span) -> Result<(), String> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{}\n", lease.as_nanos()))
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|e| format!("can't write {}: {e}; see --state", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r9_one_life_at_a_time() {
        let first = Lock::take("life-test", "a").unwrap();
        let second = Lock::take("life-test", "a").unwrap_err();
        assert!(
            second.contains("runs already on this host; stop that first"),
            "{second}"
        );
        Lock::take("life-test", "b").unwrap();
        drop(first);
        Lock::take("life-test", "a").unwrap();
    }

    #[test]
    fn r9_the_longest_lease_is_remembered_and_a_bad_record_is_no_zero() {
        let dir = std::env::temp_dir().join(format!("onehold-life-{}", std::process::id()));
        let record = Record::open(&dir, "web/1", "a").unwrap();
        assert_eq!(record.earlier().unwrap(), Span::ZERO);
        record.write(Span::from_millis(450)).unwrap();
        assert_eq!(record.earlier().unwrap(), Span::from_millis(450));
        fs::write(dir.join("web_1.a.lease"), "soon").unwrap();
        assert!(
            record
                .earlier()
                .unwrap_err()
                .contains("web_1.a.lease: not a number")
        );
        fs::remove_dir_all(&dir).unwrap();
    }
}

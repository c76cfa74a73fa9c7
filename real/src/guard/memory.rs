//! What a life leaves written down for the next ones of this boot, and for the daemons of other
//! clusters on this host: which addresses its gate guards, and which programs are its gate.
//!
//! The kernel knows both and may not say it: to ask for a program or a map by its number takes
//! `CAP_SYS_ADMIN`, which the daemon is not given. What can't be read is not empty; so it is
//! written before it is so. Where it can't be written, nothing is used that nobody would recognise.

use super::{Key, address, key};
use crate::netlink::KernelError;
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The longest such file that is read.
const MOST: u64 = 1 << 17;
const SUFFIX: &str = "gate";
/// What is behind this line is of an earlier, longer text.
const END: &str = "end";

/// What is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Every address that may be in this kernel because of us.
    pub(super) keys: Vec<Key>,
    /// The kernel's numbers of the programs that are, or may be, our gate.
    pub(super) programs: Vec<u32>,
}

/// The file of one cluster.
#[derive(Debug)]
pub(super) struct Memory {
    directory: PathBuf,
    path: PathBuf,
    /// Open and locked for as long as this process is the one that guards the cluster's addresses
    /// here, if the file could be opened.
    file: Option<File>,
    boot: String,
    /// What earlier lives left, if it is known.
    earlier: Option<Written>,
    written: Option<Written>,
    fault: Option<String>,
}

impl Memory {
    /// Reads what earlier lives left in `directory` under `name`.
    ///
    /// # Errors
    /// When another process guards the same cluster's addresses on this host: two gates for one
    /// address would take each other away, or keep it mute.
    pub(super) fn open(directory: &Path, name: &str) -> Result<Self, KernelError> {
        let path = directory.join(format!("{name}.{SUFFIX}"));
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut this = Self {
            directory: directory.to_owned(),
            path,
            file: None,
            boot: boot.trim().to_owned(),
            earlier: None,
            written: None,
            fault: None,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let writable = fs::create_dir_all(directory).and_then(|()| options.open(&this.path));
        let file = match writable {
            Ok(file) => Some(file),
            Err(e) => {
                this.fault = Some(e.to_string());
                File::open(&this.path).ok()
            }
        };
        let Some(file) = file else { return Ok(this) };
        // Of a file system without locks the programs in the kernel tell of another.
        let lock = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        if lock == Err(rustix::io::Errno::WOULDBLOCK) {
            return Err(KernelError::refused(
                format!("taking {}", this.path.display()),
                "another member of this cluster runs on this host, and there may be one: stop it, or \
                 run each member on a machine of its own",
            ));
        }
        this.earlier = read(&file, &this.boot);
        this.file = Some(file);
        Ok(this)
    }

    /// What earlier lives of this boot left. `None`: it is not known, which does not say that they
    /// left nothing.
    pub(super) const fn earlier(&self) -> Option<&Written> {
        self.earlier.as_ref()
    }

    /// Writes down what is about to be so. Returns whether a later life will know.
    pub(super) fn write(&mut self, now: Written) -> bool {
        if self.written.as_ref() == Some(&now) {
            return true;
        }
        let mut text = format!("boot {}\n", self.boot);
        for program in &now.programs {
            text += &format!("program {program}\n");
        }
        for key in &now.keys {
            text += &format!("address {}\n", address(key));
        }
        text += END;
        text += "\n";
        let write = |file: &File| {
            file.write_all_at(text.as_bytes(), 0)?;
            file.set_len(text.len() as u64)
        };
        let none = || Err(io::Error::from(ErrorKind::NotFound));
        match self.file.as_ref().map_or_else(none, write) {
            Ok(()) => {
                self.fault = None;
                self.written = Some(now);
                true
            }
            Err(e) => {
                // Why it could not be opened says more.
                let why = self.fault.take().unwrap_or_else(|| e.to_string());
                self.fault = Some(why);
                self.written = None;
                false
            }
        }
    }

    /// What a program guards that is known to be a gate: an earlier life's or another cluster's.
    pub(super) fn gate(&self, program: u32) -> Option<Vec<Key>> {
        let files = fs::read_dir(&self.directory).into_iter().flatten();
        let paths = files.flatten().map(|f| f.path()).take(256);
        paths
            .filter(|p| p.extension().is_some_and(|e| e == SUFFIX))
            .filter_map(|p| read(&File::open(p).ok()?, &self.boot))
            .find(|written| written.programs.contains(&program))
            .map(|written| written.keys)
    }

    /// What is wrong with it, if anything is.
    pub(super) fn alarm(&self) -> Option<String> {
        let fault = self.fault.as_ref()?;
        Some(format!(
            "can't write {}: {fault}; what is guarded here may have to be guessed by the next life \
             of this daemon: make room, or make the directory writable (see --state)",
            self.path.display()
        ))
    }

    /// What clusters left that nobody serves any more, and that guard one of `keys`: this one under a
    /// former name. With their names.
    ///
    /// # Errors
    /// When a living process of another cluster guards one of them: each gate would keep it mute for
    /// the other.
    pub(super) fn former(&self, keys: &[Key]) -> Result<Vec<(String, Written)>, KernelError> {
        let files = fs::read_dir(&self.directory).into_iter().flatten();
        let paths = files.flatten().map(|f| f.path()).take(256);
        let others =
            paths.filter(|p| *p != self.path && p.extension().is_some_and(|e| e == SUFFIX));
        let mut former = Vec::new();
        for path in others {
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let lock = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
            let Some(written) = read(&file, &self.boot) else {
                continue;
            };
            let Some(shared) = written.keys.iter().find(|key| keys.contains(key)) else {
                continue;
            };
            if lock.is_err() {
                return Err(KernelError::refused(
                    format!("guarding {}", address(shared)),
                    format!(
                        "another cluster on this host has it, too ({}): take it out of one of the two files",
                        path.display()
                    ),
                ));
            }
            let name = path.file_stem().and_then(|name| name.to_str());
            former.extend(name.map(|name| (name.to_owned(), written)));
        }
        Ok(former)
    }
}

/// What the file says of this boot. In doubt nothing: a program's number is another's after a boot.
fn read(file: &File, boot: &str) -> Option<Written> {
    let mut text = String::new();
    let mut from_start = file;
    io::Seek::rewind(&mut from_start).ok()?;
    from_start.take(MOST).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().take_while(|line| *line != END);
    if lines.next()? != format!("boot {boot}") {
        return None;
    }
    let mut written = Written::default();
    for line in lines {
        match line.split_once(' ')? {
            ("program", number) => written.programs.push(number.parse().ok()?),
            ("address", address) => written.keys.push(key(address.parse::<IpAddr>().ok()?)),
            _ => return None,
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("onehold-memory-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn written(programs: &[u32], addresses: &[&str]) -> Written {
        Written {
            programs: programs.to_vec(),
            keys: addresses.iter().map(|a| key(a.parse().unwrap())).collect(),
        }
    }

    #[test]
    fn the_next_life_knows_what_the_last_one_guarded() {
        let place = Place::new("next");
        let mut memory = Memory::open(&place.0, "onehold-1").unwrap();
        assert_eq!(memory.earlier(), None);
        assert!(memory.write(written(&[7, 8, 9, 10], &["10.0.0.1", "fd77::1"])));
        let less = written(&[11], &["10.0.0.1"]); // a shorter text over a longer one
        assert!(memory.write(less.clone()));
        drop(memory);
        let memory = Memory::open(&place.0, "onehold-1").unwrap();
        assert_eq!(memory.earlier(), Some(&less));
        assert!(memory.gate(11).is_some() && memory.gate(7).is_none());
        let other = Memory::open(&place.0, "onehold-2").unwrap();
        assert!(other.gate(11).is_some(), "another cluster's gate is one");
        let (shared, own) = (
            key("10.0.0.1".parse().unwrap()),
            key("10.0.0.2".parse().unwrap()),
        );
        let why = other.former(&[shared]).unwrap_err().to_string();
        assert!(
            why.contains("another cluster on this host has it, too"),
            "{why}"
        );
        assert_eq!(other.former(&[own]).unwrap(), [], "another one");
        drop(memory);
        let former = [("onehold-1".to_owned(), less)];
        assert_eq!(
            other.former(&[shared]).unwrap(),
            former,
            "the same under a former name"
        );
        assert_eq!(
            other.former(&[own]).unwrap(),
            [],
            "another one, whose life may return"
        );
    }

    #[test]
    fn another_boots_numbers_mean_nothing() {
        let place = Place::new("boot");
        Memory::open(&place.0, "onehold-1")
            .unwrap()
            .write(written(&[7], &[]));
        let path = place.0.join("onehold-1.gate");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("boot ", "boot x")).unwrap();
        assert_eq!(Memory::open(&place.0, "onehold-1").unwrap().earlier(), None);
    }

    #[test]
    fn one_process_guards_a_clusters_addresses() {
        let place = Place::new("one");
        let first = Memory::open(&place.0, "onehold-1").unwrap();
        let second = Memory::open(&place.0, "onehold-1").unwrap_err().to_string();
        assert!(
            second.contains("another member of this cluster runs on this host"),
            "{second}"
        );
        Memory::open(&place.0, "onehold-2").unwrap();
        drop(first);
        Memory::open(&place.0, "onehold-1").unwrap();
    }

    #[test]
    fn what_cant_be_written_is_said() {
        let place = Place::new("full");
        fs::create_dir_all(&place.0).unwrap();
        let file = place.0.join("a-file");
        fs::write(&file, "").unwrap();
        let mut memory = Memory::open(&file, "onehold-1").unwrap();
        assert!(!memory.write(written(&[7], &[])));
        let alarm = memory.alarm().unwrap();
        assert!(alarm.contains("a-file/onehold-1.gate"), "{alarm}");
    }
}

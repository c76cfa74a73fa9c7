//! What an incarnation leaves written down for the next ones of this boot, and for the daemons of
//! other clusters on this host: which addresses its gate guards, and which programs are its gate.
//!
//! The kernel knows both and may refuse to answer: asking for a program or a map by its number
//! takes `CAP_SYS_ADMIN`, which the daemon is not given. What can't be read is not empty; so it is
//! written before it is true. Where it can't be written, nothing is used that nobody would
//! recognise.

use super::{Key, address, key};
use crate::files;
use crate::netlink::KernelError;
use crate::route::Destination;
use rustix::fs::FlockOperation;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The longest such file that is read.
const MOST: u64 = 1 << 18;
/// Most files of a directory that are looked at.
const MOST_FILES: usize = 256;
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
    /// Those of programs of which nobody can say whether they are: they were there when an
    /// incarnation began that knew nothing of those before it.
    pub(super) doubtful: Vec<u32>,
    /// Every route that may be in this kernel because of us.
    pub(super) routes: Vec<Destination>,
}

impl Written {
    fn add(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.programs.extend(other.programs);
        self.doubtful.extend(other.doubtful);
        self.routes.extend(other.routes);
    }
}

/// What one cluster writes down, in more than one place: where one of them is emptied, or another
/// is named, the next incarnation finds the other.
#[derive(Debug)]
pub(super) struct Memory {
    places: Vec<Place>,
    boot: String,
    /// What earlier incarnations left, if it is known.
    earlier: Option<Written>,
    doubtful: Vec<u32>,
    routes: Vec<Destination>,
    written: Option<Written>,
}

/// A file in one directory.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    path: PathBuf,
    /// Open and locked for as long as this process is the one that guards the cluster's addresses
    /// here, if the file could be opened.
    file: Option<File>,
    fault: Option<Fault>,
}

/// Why it is not written.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// Another process has it.
    Taken,
    /// The file system refuses, for this reason.
    Refused(String),
}

/// Another process has the file.
struct Taken;

impl Place {
    fn open(directory: &Path, name: &str) -> Result<Self, Taken> {
        let mut this = Self {
            directory: directory.to_owned(),
            path: directory.join(format!("{name}.{SUFFIX}")),
            file: None,
            fault: None,
        };
        this.take().map(|()| this)
    }

    fn take(&mut self) -> Result<(), Taken> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let opened = fs::create_dir_all(&self.directory).and_then(|()| options.open(&self.path));
        let opened = opened.and_then(|file| files::is_regular(&file).map(|()| file));
        let refused = |e: &io::Error| Fault::Refused(e.to_string());
        self.fault = opened.as_ref().err().map(refused);
        self.file = opened.or_else(|_| files::open(&self.path)).ok();
        // On a file system without locks the programs in the kernel show another one.
        let lock = |file| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
        if self.file.as_ref().map(lock) == Some(Err(rustix::io::Errno::WOULDBLOCK)) {
            self.file = None;
            return Err(Taken);
        }
        Ok(())
    }

    /// Whether the open file is still the one of its name: somebody may have emptied the directory.
    fn is_there(&self) -> bool {
        let open = self.file.as_ref().and_then(|file| file.metadata().ok());
        let named = fs::metadata(&self.path).ok();
        let which = |meta: Metadata| (meta.dev(), meta.ino());
        open.is_some() && open.map(which) == named.map(which)
    }

    fn write(&mut self, text: &str) -> bool {
        let write = |file: &File| {
            file.write_all_at(text.as_bytes(), 0)?;
            file.set_len(text.len() as u64)
        };
        let none = || Err(io::Error::from(ErrorKind::NotFound));
        match self.file.as_ref().map_or_else(none, write) {
            Ok(()) => self.fault = None,
            // Why it could not be opened says more.
            Err(e) => {
                let refused = Fault::Refused(e.to_string());
                self.fault.get_or_insert(refused);
            }
        }
        self.fault.is_none()
    }
}

impl Memory {
    /// Reads what earlier incarnations left in `directories` under `name`.
    ///
    /// # Errors
    /// When another process guards the same cluster's addresses on this host: two gates for one
    /// address would take each other away, or keep it mute.
    pub(super) fn open(directories: &[&Path], name: &str) -> Result<Self, KernelError> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut this = Self {
            places: Vec::new(),
            boot: boot.trim().to_owned(),
            earlier: None,
            doubtful: Vec::new(),
            routes: Vec::new(),
            written: None,
        };
        for directory in directories {
            let same = |place: &Place| same_directory(&place.directory, directory);
            if this.places.iter().any(same) {
                continue;
            }
            let place = Place::open(directory, name).map_err(|Taken| {
                let path = directory.join(format!("{name}.{SUFFIX}"));
                KernelError::refused(
                    format!("taking {}", path.display()),
                    "another member of this cluster runs on this host, and there may be one: stop it, or \
                     run each member on a machine of its own",
                )
            })?;
            let left = place.file.as_ref().and_then(|file| read(file, &this.boot));
            if let Some(left) = left {
                this.earlier.get_or_insert_default().add(left);
            }
            this.places.push(place);
        }
        this.doubtful = this
            .earlier
            .iter()
            .flat_map(|e| e.doubtful.clone())
            .collect();
        let routes: Vec<Destination> = (this.earlier.iter().flat_map(|e| &e.routes))
            .copied()
            .collect();
        this.expect_routes(&routes);
        Ok(this)
    }

    /// What earlier incarnations of this boot left. `None`: it is not known, which does not say
    /// that they left nothing.
    pub(super) const fn earlier(&self) -> Option<&Written> {
        self.earlier.as_ref()
    }

    /// Programs of which nobody can say whether they are gates that earlier incarnations left.
    pub(super) fn doubtful(&self) -> &[u32] {
        &self.doubtful
    }

    /// Notes which programs these are, for later incarnations: the youngest of them.
    pub(super) fn doubt(&mut self, mut programs: Vec<u32>) {
        programs.sort_unstable();
        programs.dedup();
        programs.drain(..programs.len().saturating_sub(super::REMEMBERED));
        self.doubtful = programs;
    }

    /// The routes that may be there: those of earlier incarnations, and those expected since.
    pub(super) fn routes(&self) -> &[Destination] {
        &self.routes
    }

    /// From now on these may be there, too; written with the next [`Self::write`].
    pub(super) fn expect_routes(&mut self, routes: &[Destination]) {
        self.routes.extend(routes);
        self.routes.sort_unstable();
        self.routes.dedup();
    }

    /// No others than these are there any more.
    pub(super) fn forget_routes(&mut self, but: &[Destination]) {
        self.routes.retain(|route| but.contains(route));
    }

    /// Writes down what is about to be true. Returns whether a later incarnation will know.
    pub(super) fn write(&mut self, mut now: Written) -> bool {
        now.doubtful.clone_from(&self.doubtful);
        now.routes.clone_from(&self.routes);
        if self.written.as_ref() == Some(&now) && self.alarm().is_none() {
            return true;
        }
        let text = self.text(&now);
        let mut known = false;
        for place in &mut self.places {
            known |= place.write(&text);
        }
        self.written = Some(now);
        known
    }

    /// Writes again what is not in the first place any more, or could not be written. Returns
    /// whether the alarm about it has changed. (The others may be on a disk, which can take
    /// its time.)
    pub(super) fn keep(&mut self) -> bool {
        let before = self.alarm();
        let text = self.written.as_ref().map(|now| self.text(now));
        for (at, place) in self.places.iter_mut().enumerate() {
            if place.fault.is_none() && (at > 0 || place.is_there()) {
                continue;
            }
            match (place.take(), &text) {
                (Ok(()), Some(text)) => drop(place.write(text)),
                (Ok(()), None) => {}
                (Err(Taken), _) => place.fault = Some(Fault::Taken),
            }
        }
        self.alarm() != before
    }

    fn text(&self, now: &Written) -> String {
        let mut text = format!("boot {}\n", self.boot);
        for program in &now.programs {
            text += &format!("program {program}\n");
        }
        for program in &now.doubtful {
            text += &format!("doubtful {program}\n");
        }
        for key in &now.keys {
            text += &format!("address {}\n", address(key));
        }
        for Destination {
            to,
            length,
            table,
            metric,
        } in &now.routes
        {
            text += &format!("route {to} {length} {table} {metric}\n");
        }
        text += END;
        text += "\n";
        text
    }

    /// What a program guards that is known to be a gate: an earlier incarnation's or another
    /// cluster's.
    pub(super) fn gate(&self, program: u32) -> Option<Vec<Key>> {
        (self.files())
            .filter_map(|p| read(&files::open(&p).ok()?, &self.boot))
            .find(|written| written.programs.contains(&program))
            .map(|written| written.keys)
    }

    /// The files of all clusters.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let all = self.places.iter().map(|place| &place.directory);
        all.flat_map(|directory| files::with_suffix(directory, SUFFIX, MOST_FILES))
    }

    /// What is wrong with it, if anything is.
    pub(super) fn alarm(&self) -> Option<String> {
        let (place, fault) = (self.places.iter()).find_map(|p| Some((p, p.fault.as_ref()?)))?;
        let path = place.path.display();
        Some(match fault {
            Fault::Taken => format!(
                "can't write {path}: another process has it, so another onehold guards the same addresses on \
                 this host: stop one of the two"
            ),
            Fault::Refused(why) => format!(
                "can't write {path}: {why}; a restarted daemon may have to guess what is guarded here: make \
                 room, or make the directory writable (see --state and --orders)"
            ),
        })
    }

    /// What clusters left that nobody serves any more, and that guard one of `keys`: this one under
    /// a former name. With their names.
    ///
    /// # Errors
    /// When a living process of another cluster guards one of them: each gate would keep it mute
    /// for the other.
    pub(super) fn former(&self, keys: &[Key]) -> Result<Vec<(String, Written)>, KernelError> {
        let mut former = Vec::new();
        for path in self.files() {
            if self.places.iter().any(|own| own.path == path) {
                continue;
            }
            let Ok(file) = files::open(&path) else {
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

fn same_directory(a: &Path, b: &Path) -> bool {
    let which = |path: &Path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    a == b || (which(a).is_some() && which(a) == which(b))
}

/// What the file says of this boot: nothing, if it was last written in an earlier one, for an
/// incarnation of this one would have written it. `None`, if that can't be known.
fn read(file: &File, boot: &str) -> Option<Written> {
    let mut text = String::new();
    let mut from_start = file;
    io::Seek::rewind(&mut from_start).ok()?;
    from_start.take(MOST).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().take_while(|line| *line != END);
    let mut written = Written::default();
    match lines.next()?.strip_prefix("boot ")? {
        of if of == boot => {}
        "" => return None,
        _ => return Some(written), // a program's number is another's after a boot
    }
    for line in lines {
        match line.split_once(' ')? {
            ("program", number) => written.programs.push(number.parse().ok()?),
            ("doubtful", number) => written.doubtful.push(number.parse().ok()?),
            ("address", address) => written.keys.push(key(address.parse::<IpAddr>().ok()?)),
            ("route", route) => written.routes.push(read_route(route)?),
            _ => return None,
        }
    }
    Some(written)
}

fn read_route(text: &str) -> Option<Destination> {
    let mut words = text.split(' ');
    let destination = Destination {
        to: words.next()?.parse().ok()?,
        length: words.next()?.parse().ok()?,
        table: words.next()?.parse().ok()?,
        metric: words.next()?.parse().ok()?,
    };
    words.next().is_none().then_some(destination)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tmp(PathBuf);

    impl Tmp {
        fn new(name: &str) -> Self {
            let name = format!("onehold-memory-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Tmp {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn written(programs: &[u32], addresses: &[&str]) -> Written {
        Written {
            programs: programs.to_vec(),
            keys: addresses.iter().map(|a| key(a.parse().unwrap())).collect(),
            ..Written::default()
        }
    }

    #[test]
    fn the_next_life_knows_what_the_last_one_guarded() {
        let place = Tmp::new("next");
        let mut memory = Memory::open(&[&place.0], "onehold-1").unwrap();
        assert_eq!(memory.earlier(), None);
        assert!(memory.write(written(&[7, 8, 9, 10], &["10.0.0.1", "fd77::1"])));
        let less = written(&[11], &["10.0.0.1"]); // a shorter text over a longer one
        assert!(memory.write(less.clone()));
        drop(memory);
        let memory = Memory::open(&[&place.0], "onehold-1").unwrap();
        assert_eq!(memory.earlier(), Some(&less));
        assert!(memory.gate(11).is_some() && memory.gate(7).is_none());
        let other = Memory::open(&[&place.0], "onehold-2").unwrap();
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
            "another one, whose owner may return"
        );
    }

    #[test]
    fn another_boots_numbers_mean_nothing() {
        let place = Tmp::new("boot");
        Memory::open(&[&place.0], "onehold-1")
            .unwrap()
            .write(written(&[7], &[]));
        let path = place.0.join("onehold-1.gate");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("boot ", "boot x")).unwrap();
        let none = Written::default();
        let memory = Memory::open(&[&place.0], "onehold-1").unwrap();
        assert_eq!(
            memory.earlier(),
            Some(&none),
            "no incarnation of this boot was here"
        );
        drop(memory);
        for garbage in ["", "boot", "boot \n", "nonsense"] {
            fs::write(&path, garbage).unwrap();
            let memory = Memory::open(&[&place.0], "onehold-1").unwrap();
            assert_eq!(memory.earlier(), None, "{garbage}");
        }
    }

    /// `rm -rf /run/onehold`, under a daemon that runs, or between two incarnations; or another
    /// `--state`.
    #[test]
    fn what_was_emptied_is_written_again_and_is_elsewhere_too() {
        let place = Tmp::new("emptied");
        let (run, lib) = (place.0.join("run"), place.0.join("lib"));
        let open = || Memory::open(&[&run, &lib], "onehold-1").unwrap();
        let now = written(&[7], &["10.0.0.1"]);
        let mut memory = open();
        assert!(memory.write(now.clone()));
        fs::remove_dir_all(&run).unwrap();
        assert!(!memory.keep(), "nothing to be said of it");
        assert!(run.join("onehold-1.gate").exists());
        Memory::open(&[&run], "onehold-1").unwrap_err(); // and it is locked as before
        drop(memory);
        fs::remove_dir_all(&run).unwrap();
        assert_eq!(open().earlier(), Some(&now));
        fs::remove_dir_all(&lib).unwrap();
        assert_eq!(open().earlier(), None);
        Memory::open(&[&run, &run], "onehold-1").unwrap(); // the same directory is one place
    }

    #[test]
    fn what_cant_be_written_is_tried_again_and_said_as_long_as_it_is_so() {
        let place = Tmp::new("again");
        let (run, lib) = (place.0.join("run"), place.0.join("lib"));
        let mut memory = Memory::open(&[&run, &lib], "onehold-1").unwrap();
        assert!(memory.write(written(&[7], &[])));
        fs::remove_dir_all(&run).unwrap();
        fs::write(&run, "in its place").unwrap();
        assert!(memory.keep() && !memory.keep());
        let alarm = memory.alarm().unwrap();
        assert!(
            alarm.contains("can't write") && alarm.contains("run/onehold-1.gate"),
            "{alarm}"
        );
        fs::remove_file(&run).unwrap();
        assert!(memory.keep());
        assert_eq!(memory.alarm(), None);
        drop(memory);
        // From the start, and in the other place.
        fs::remove_dir_all(&lib).unwrap();
        fs::write(&lib, "in its place").unwrap();
        let mut memory = Memory::open(&[&run, &lib], "onehold-1").unwrap();
        assert_eq!(memory.earlier(), Some(&written(&[7], &[])));
        assert!(memory.write(written(&[8], &[])), "one is enough");
        assert!(memory.alarm().unwrap().contains("lib/onehold-1.gate"));
        fs::remove_file(&lib).unwrap();
        assert!(memory.keep());
        assert_eq!(memory.alarm(), None);
        drop(memory);
        let memory = Memory::open(&[&lib], "onehold-1").unwrap();
        assert_eq!(memory.earlier(), Some(&written(&[8], &[])));
    }

    /// An incarnation that knows nothing of those before it hands on which programs it can't vouch
    /// for.
    #[test]
    fn a_doubt_is_handed_on() {
        let place = Tmp::new("doubt");
        let mut memory = Memory::open(&[&place.0], "onehold-1").unwrap();
        memory.doubt(vec![9, 8, 9]);
        assert!(memory.write(written(&[10], &[])));
        drop(memory);
        let memory = Memory::open(&[&place.0], "onehold-1").unwrap();
        assert_eq!(memory.doubtful(), [8, 9]);
        assert_eq!(memory.gate(8), None, "it is not known to be one");
    }

    #[test]
    fn one_process_guards_a_clusters_addresses() {
        let place = Tmp::new("one");
        let first = Memory::open(&[&place.0], "onehold-1").unwrap();
        let second = Memory::open(&[&place.0], "onehold-1")
            .unwrap_err()
            .to_string();
        assert!(
            second.contains("another member of this cluster runs on this host"),
            "{second}"
        );
        Memory::open(&[&place.0], "onehold-2").unwrap();
        drop(first);
        Memory::open(&[&place.0], "onehold-1").unwrap();
    }

    #[test]
    fn what_cant_be_written_is_said() {
        let place = Tmp::new("full");
        fs::create_dir_all(&place.0).unwrap();
        let file = place.0.join("a-file");
        fs::write(&file, "").unwrap();
        let mut memory = Memory::open(&[&file], "onehold-1").unwrap();
        assert!(!memory.write(written(&[7], &[])));
        let alarm = memory.alarm().unwrap();
        assert!(alarm.contains("a-file/onehold-1.gate"), "{alarm}");
    }
}

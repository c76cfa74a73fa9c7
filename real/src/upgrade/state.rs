//! The state of a daemon, for another program of its process: one line that names its version, then
//! JSON. It is read whole or not at all: what is not known in it is an error, and so is what would be
//! written differently again.

use super::handles::{Inherited, become_program, sealed, unsealed};
use crate::config_file::{LogSection, MetricsSection};
use crate::driver;
use data_encoding::HEXLOWER;
use onehold_core::time::LocalTime;
use rustix::process::getpid;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

pub(crate) use super::handles::hold_signals;
pub use crate::linux::Carried as World;

/// The version of what is written here. Whoever changes it still reads the one before, if that was
/// released.
pub(super) const VERSION: u32 = 2;
const FORMAT: &str = "onehold state";
/// The option by which a program is told what it goes on with, and the one that says why it does again.
const TAKE_OVER: &str = "--take-over";
const CAME_BACK: &str = "--came-back";
/// A program that is to go on again is not told more than that of why.
const MOST_WHY: usize = 1_000;

/// The first line.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// Everything that another program of this process needs to go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The program that wrote it.
    pub(crate) by: String,
    /// The process that it is the state of.
    pub(crate) pid: i32,
    /// The words that it was started with.
    pub(crate) words: Vec<String>,
    /// When it was written, by the clock that all its times are of.
    pub(crate) at: LocalTime,
    pub(crate) offer: Offer,
    pub(crate) log: LogSection,
    pub(crate) metrics: MetricsSection,
    /// What configuration files said, as they are in force.
    pub(crate) texts: Vec<String>,
    pub(crate) driver: driver::Carried,
    pub(crate) world: World,
}

/// What is open for the one upgrade, if it is not only a look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The client that asked for it, and waits.
    pub(crate) client: Option<RawFd>,
}

/// The digest of a state as it was written.
pub(super) fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

impl State {
    /// The state as it is at `now`, to be read by others.
    ///
    /// # Errors
    /// When a word of the command line is not UTF-8.
    pub(crate) fn of(
        now: LocalTime,
        offer: Offer,
        driver: driver::Carried,
        world: World,
    ) -> Result<Self, String> {
        let (log, metrics, texts) = world.parts.clone();
        let words = std::env::args_os().map(OsString::into_string);
        let words: Result<Vec<String>, OsString> = words.collect();
        let words = words.map_err(|word| format!("{} is not UTF-8", word.display()))?;
        Ok(Self {
            by: concat!("onehold ", env!("CARGO_PKG_VERSION")).to_owned(),
            pid: getpid().as_raw_pid(),
            words: plain(words),
            at: now,
            offer,
            log,
            metrics,
            texts,
            driver,
            world,
        })
    }

    /// As it is written.
    ///
    /// # Errors
    /// When something of it can't be.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let head = Head {
            format: FORMAT.to_owned(),
            version: VERSION,
        };
        let mut bytes = serde_json::to_vec(&head).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, self).map_err(|e| e.to_string())?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// What was written.
    ///
    /// # Errors
    /// When it is of a version that this program does not know, is not whole, or has anything that this
    /// program would lose.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let here = concat!("onehold ", env!("CARGO_PKG_VERSION"));
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (head, body) = bytes.split_at(end.unwrap_or(bytes.len()));
        let head: Head = serde_json::from_slice(head)
            .map_err(|e| format!("it does not begin as a state of onehold does: {e}"))?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(format!(
                "it is a {} of version {}, and {here} knows version {VERSION} of `{FORMAT}` only: upgrade to a \
                 version between the two first, or restart the daemon",
                head.format, head.version
            ));
        }
        let state: Self = serde_json::from_slice(body)
            .map_err(|e| format!("{here} can't read the state: {e}"))?;
        if state.encode()? != bytes {
            return Err(format!(
                "{here} would lose something of the state: it does not write what it has read"
            ));
        }
        Ok(state)
    }

    /// The descriptors that must stay open.
    fn fds(&self) -> Vec<RawFd> {
        let mut all = self.world.fds();
        all.extend(self.offer.client);
        all
    }
}

/// The words of a command line, without what a former upgrade added.
fn plain(words: Vec<String>) -> Vec<String> {
    let mut plain = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if [TAKE_OVER, CAME_BACK].contains(&word.as_str()) {
            drop(words.next()); // its value
        } else {
            plain.push(word);
        }
    }
    plain
}

/// A state that was handed over, and all that is open for it.
#[derive(Debug)]
pub struct Taken {
    /// What to go on with.
    pub state: State,
    /// What the former program left open.
    pub from: Inherited,
    memory: RawFd,
    former: RawFd,
    /// Why this program is to go on again, if another one could not.
    pub(crate) came_back: Option<String>,
}

/// Takes over what a former program of this process has left. `words` is what it was told:
/// descriptors of the state and of the former program. To be called before anything is opened.
///
/// # Errors
/// When there is nothing to go on with, nor a way back.
pub fn take_over(words: &str, came_back: Option<String>) -> Result<Taken, String> {
    // The kernel calls who was begun by a descriptor by its number, before Linux 6.14.
    let _ = rustix::thread::set_name(c"onehold"); // for people
    let numbers = words.split_once(',').and_then(|(memory, former)| {
        Some((memory.parse::<RawFd>().ok()?, former.parse::<RawFd>().ok()?))
    });
    let (memory, former) =
        numbers.ok_or("only `onehold upgrade` starts a program with this option")?;
    let first = Inherited::of([memory, former])?;
    let read = first.take(memory).and_then(unsealed);
    let read = read.and_then(|bytes| State::decode(&bytes));
    let read = read.and_then(|state| {
        if state.pid != getpid().as_raw_pid() {
            return Err(format!("the state is that of process {}", state.pid));
        }
        let from = Inherited::of(state.fds())?;
        Ok((state, from))
    });
    match read {
        Ok((state, from)) => Ok(Taken {
            state,
            from: from.and(first),
            memory,
            former,
            came_back,
        }),
        Err(why) if came_back.is_some() => Err(why),
        Err(why) => Err(back(&first, memory, former, Vec::new(), &why)),
    }
}

/// The former program goes on again, with what this one could not go on with: nothing was changed yet.
/// It returns only when that is not possible either.
pub(crate) fn go_back(taken: &Taken, why: &str) -> String {
    if taken.came_back.is_some() {
        return why.to_owned(); // this is the one that would
    }
    back(
        &taken.from,
        taken.memory,
        taken.former,
        taken.state.words.clone(),
        why,
    )
}

fn back(
    from: &Inherited,
    memory: RawFd,
    former: RawFd,
    mut words: Vec<String>,
    why: &str,
) -> String {
    if words.is_empty() {
        let own = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
        words = plain(own.collect());
    }
    words.extend([TAKE_OVER.to_owned(), format!("{memory},{former}")]);
    words.extend([CAME_BACK.to_owned(), why.chars().take(MOST_WHY).collect()]);
    let words = words.into_iter().map(OsString::from).collect();
    let refused = match from.take(former) {
        // A state that could not be read does not say what else is open: all that is, is kept.
        Ok(program) => become_program(program.as_fd(), words, &from.numbers()).to_string(),
        Err(e) => e,
    };
    format!("{why}; and the former program could not go on: {refused}")
}

/// Becomes `program`, which goes on with `state`. It returns only when that is refused: then all is as
/// before.
pub(crate) fn become_next(state: &State, program: OwnedFd) -> String {
    let ready = || -> Result<_, String> {
        let former = File::open("/proc/self/exe");
        let former = former.map_err(|e| format!("/proc/self/exe: {e}"))?;
        let memory = sealed(&state.encode()?).map_err(|e| e.to_string())?;
        Ok((former, memory))
    };
    let (former, memory) = match ready() {
        Ok(ready) => ready,
        Err(why) => return why,
    };
    let mut words: Vec<OsString> = state.words.iter().map(OsString::from).collect();
    let numbers = format!("{},{}", memory.as_raw_fd(), former.as_raw_fd());
    words.extend([TAKE_OVER.into(), numbers.into()]);
    let mut kept = state.fds();
    kept.extend([memory.as_raw_fd(), former.as_raw_fd()]);
    let refused = become_program(program.as_fd(), words, &kept);
    format!("the kernel does not run it: {refused}")
}

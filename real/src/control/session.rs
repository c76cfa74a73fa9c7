//! The agent's session on the control socket: the daemon shows what its groups are, the agent says
//! how their service is. Lines of JSON in both directions, for as long as the agent lives.
//!
//! Nothing here waits for the driver, and nothing queues: who reads slowly misses states and gets
//! the newest, who says too much is read slowly. What is said is of another process, perhaps
//! another user's: it is bounded and cleaned before anybody sees it.

use super::Reply;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// The version of what is said in a session.
pub const VERSION: u32 = 2;
/// A line of a session has at most this many bytes.
pub const MAX_LINE: u64 = 256 * 1024;
/// An agent that has sent nothing for this long counts as gone.
pub const HEALTH_AFTER: Duration = Duration::from_secs(5);
/// Each side sends a line at least this often.
pub const EVERY: Duration = Duration::from_secs(1);
/// No two lines of an agent are read in less.
const APART: Duration = Duration::from_millis(10);
/// How long a daemon that has released everything waits for its agent to see it.
const LEAVING: Duration = Duration::from_millis(300);
/// Lines of the agent that wait for the driver, at most.
const MAX_SAID: usize = 16;
/// After a session, how long until the next: who comes and goes all the time fills no log.
const BETWEEN: Duration = Duration::from_millis(100);
/// Most checks of a group that are kept of a report.
const MAX_CHECKS: usize = 64;
/// Most hooks of a group that are kept of a report.
const MAX_HOOKS: usize = 4;
/// What is kept of a line that a check or hook printed.
pub const MAX_WORDS: usize = 200;
/// And of why a file was refused.
const MAX_WHY: usize = 1_000;

/// What the daemon shows: all of it, at the start and after every change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Of the session.
    pub version: u32,
    /// When, in milliseconds of `CLOCK_BOOTTIME`.
    pub at_ms: u64,
    /// Every group for which this member is a candidate.
    pub groups: Vec<GroupShown>,
}

/// What a group is on this member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupShown {
    /// The cluster.
    pub cluster: String,
    /// This member.
    pub member: String,
    /// The group.
    pub group: String,
    /// Its addresses, without prefix.
    pub addresses: Vec<String>,
    /// Its interface here; several are separated by a space.
    pub interface: Option<String>,
    /// As in `status`.
    pub role: String,
    /// This member holds and its gate is open.
    pub open: bool,
    /// The address is there, the gate is still shut, and `before_hold` is waited for.
    pub preparing: bool,
    /// Why the role changed last, and by which rule.
    pub why: String,
    /// See `why`.
    pub rule: String,
    /// The other candidate.
    pub peer: Option<String>,
    /// What was left of this member's lease at `at_ms`.
    pub lease_left_ms: Option<u64>,
    /// Grows with each change of role and each announcement.
    pub epoch: u64,
}

impl GroupShown {
    /// The same but for the time that passes.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let lease_left_ms = other.lease_left_ms;
        Self {
            lease_left_ms,
            ..self.clone()
        } == *other
    }
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Said {
    /// How the service of each group is: all of it, on each change and every second.
    Health(Vec<GroupHealth>),
    /// `before_hold` of a group ended.
    Prepared {
        /// The cluster.
        cluster: String,
        /// The group.
        group: String,
        /// Of which state.
        epoch: u64,
        /// Whether it succeeded, or why not.
        done: Result<(), String>,
    },
    /// The agent's file: why it goes on by what that said before, if a reload was refused. At the
    /// start, and on change.
    File {
        /// Why.
        refused: Option<String>,
    },
    /// Show the state again, as it is now.
    Show {},
}

/// How the service of a group is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupHealth {
    /// The cluster.
    pub cluster: String,
    /// The group.
    pub group: String,
    /// All its checks pass, or one fails; nothing while that is not known yet.
    pub healthy: Option<bool>,
    /// Each check.
    #[serde(default)]
    pub checks: Vec<CheckReport>,
    /// Each hook that has run.
    #[serde(default)]
    pub hooks: Vec<HookReport>,
}

/// How a check is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Its name.
    pub name: String,
    /// Whether it passes; nothing before its first result.
    pub passing: Option<bool>,
    /// For how long.
    pub since_ms: u64,
    /// What it last said, in one line.
    pub said: String,
}

/// How a hook is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookReport {
    /// Its name.
    pub name: String,
    /// How often in a row it has failed.
    pub failures: u32,
    /// How long ago it ended last.
    pub since_ms: u64,
    /// What it last said, in one line.
    pub said: String,
}

/// One printable line of at most [`MAX_WORDS`] bytes.
#[must_use]
pub fn one_line(text: &str) -> String {
    bounded_line(text, MAX_WORDS)
}

/// Whether a terminal shows it where it stands: no control character, and none that hides or turns
/// around what is beside it.
pub(crate) fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// One printable line of at most that many bytes.
pub(crate) fn bounded_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let printable = (text.chars()).map(|c| if is_printable(c) { c } else { ' ' });
    for c in printable.skip_while(|c| c.is_whitespace()) {
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    line.truncate(line.trim_end().len());
    line
}

impl Said {
    /// What is said, bounded.
    fn cleaned(mut self) -> Self {
        if let Self::Prepared { done: Err(why), .. } = &mut self {
            *why = one_line(why);
        }
        if let Self::File { refused: Some(why) } = &mut self {
            *why = bounded_line(why, MAX_WHY);
        }
        if let Self::Health(groups) = &mut self {
            groups.truncate(usize::from(u8::MAX));
            for group in groups {
                group.checks.truncate(MAX_CHECKS);
                group.hooks.truncate(MAX_HOOKS);
                for check in &mut group.checks {
                    (check.name, check.said) = (one_line(&check.name), one_line(&check.said));
                }
                for hook in &mut group.hooks {
                    (hook.name, hook.said) = (one_line(&hook.name), one_line(&hook.said));
                }
            }
        }
        self
    }
}

/// What the shell hears of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// One is there.
    Begun {
        /// Its process.
        pid: i32,
    },
    /// It says something.
    Said(Said),
    /// It is gone, or as good as gone: why.
    Ended(String),
}

/// Where sessions are held: the control socket's end.
#[derive(Clone, Debug)]
pub struct Desk {
    heard: mpsc::Sender<Heard>,
    shown: watch::Receiver<Arc<Shown>>,
    taken: Occupant,
}

/// The shell's end.
#[derive(Debug)]
pub struct Post {
    /// What agents say.
    pub heard: mpsc::Receiver<Heard>,
    /// What they are shown.
    pub shown: watch::Sender<Arc<Shown>>,
    taken: Occupant,
}

impl Post {
    /// Shows no more. Waits a moment, until the agent has taken what was shown last.
    pub async fn leave(&mut self) {
        drop(std::mem::replace(
            &mut self.shown,
            watch::channel(Arc::default()).0,
        ));
        for _ in 0..LEAVING.as_millis() / APART.as_millis() {
            if process(&self.taken).is_none() {
                return;
            }
            sleep(APART).await;
        }
    }
}

/// Both ends.
#[must_use]
pub fn desk() -> (Desk, Post) {
    let (say, heard) = mpsc::channel(MAX_SAID);
    let (shown, see) = watch::channel(Arc::new(Shown::default()));
    let taken = Occupant::default();
    let desk = Desk {
        heard: say,
        shown: see,
        taken: Arc::clone(&taken),
    };
    (
        desk,
        Post {
            heard,
            shown,
            taken,
        },
    )
}

/// The process that has the one session, if somebody has it. Its number is for people: it is 0 for
/// each process of another PID namespace.
type Occupant = Arc<Mutex<Option<i32>>>;

fn process(of: &Occupant) -> MutexGuard<'_, Option<i32>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process, for people.
#[must_use]
pub fn process_in_words(pid: i32) -> String {
    match pid {
        0 => "a process of another PID namespace".to_owned(),
        pid => format!("process {pid}"),
    }
}

/// The one session is free again when dropped.
struct Taken(Occupant);

impl Drop for Taken {
    fn drop(&mut self) {
        *process(&self.0) = None;
    }
}

impl Desk {
    /// Holds a session with process `pid`, until either end has enough of it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn hold(
        &self,
        stream: &mut UnixStream,
        version: u32,
        pid: i32,
    ) -> Result<(), Reply> {
        if version != VERSION {
            return Err(Reply::refused(format!(
                "an agent of version {version}, and a daemon of version {VERSION}: restart the older one"
            )));
        }
        let first = {
            let mut taken = process(&self.taken);
            let first = *taken;
            *taken = first.or(Some(pid));
            first
        };
        if let Some(first) = first {
            return Err(Reply::refused(format!(
                "another agent ({}) is here already, and there is one for each daemon; stop it first",
                process_in_words(first)
            )));
        }
        let taken = Taken(self.taken.clone());
        let (read, write) = stream.split();
        // What was shown to an earlier agent may be long over: the first line is what the driver shows
        // after `Begun`.
        let mut shown = self.shown.clone();
        shown.borrow_and_update();
        if self.heard.send(Heard::Begun { pid }).await.is_err() {
            return Ok(());
        }
        let why = tokio::select! {
            why = show(shown, write) => why,
            why = listen(read, &self.heard) => why,
        };
        // Before another begins; a driver that has ended hears nothing.
        if self.shown.has_changed().is_ok() && self.heard.send(Heard::Ended(why)).await.is_ok() {
            sleep(BETWEEN).await;
        }
        drop(taken);
        Ok(())
    }
}

/// Shows every state that is new; one that is not taken in time ends the session.
async fn show(mut shown: watch::Receiver<Arc<Shown>>, mut to: WriteHalf<'_>) -> String {
    loop {
        if shown.changed().await.is_err() {
            return "the daemon is stopping".to_owned();
        }
        let state = Arc::clone(&shown.borrow_and_update());
        let mut line = serde_json::to_vec(&*state).unwrap_or_default();
        line.push(b'\n');
        match timeout(HEALTH_AFTER, to.write_all(&line)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return e.to_string(),
            Err(_) => return format!("it has taken nothing for {HEALTH_AFTER:?}"),
        }
    }
}

/// Hands on what is said, until it is nonsense or nothing.
async fn listen(from: ReadHalf<'_>, heard: &mpsc::Sender<Heard>) -> String {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut reader).take(MAX_LINE);
        match timeout(HEALTH_AFTER, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(0)) => return "it hung up".to_owned(),
            Ok(Ok(_)) if !line.ends_with(b"\n") => {
                return format!("a line of more than {MAX_LINE} bytes, or half a line");
            }
            Ok(Ok(_)) => {}
            Ok(Err(e)) => return e.to_string(),
            Err(_) => return format!("it has sent nothing for {HEALTH_AFTER:?}"),
        }
        match serde_json::from_slice::<Said>(&line) {
            Ok(said) => {
                if heard.send(Heard::Said(said.cleaned())).await.is_err() {
                    return "the daemon is stopping".to_owned();
                }
            }
            Err(e) => return format!("it sends what this version does not know: {e}"),
        }
        sleep(APART).await;
    }
}

#[cfg(test)]
mod tests;

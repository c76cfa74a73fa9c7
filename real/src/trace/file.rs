//! The daemon's trace: a file of bounded size, written by a thread of its own, so that a slow or
//! full disk costs the trace and never the address.

use super::{Changed, FORMAT, Header, Line, Recorder, Step, Turn, encode};
use onehold_core::config::Spec;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel,
};
use std::time::Duration;

/// At most this many lines wait for the disk; then it is too slow, and the trace ends.
const MAX_WAITING: usize = 1_024;
/// How long an ending process waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A trace of one member, in a file and in the one before it, whose name ends in `.old`.
#[derive(Debug)]
pub struct TraceFile {
    member: String,
    path: PathBuf,
    header: Header,
    /// the file that is coming into force. A new file of the trace waits until it is.
    next: Option<Spec>,
    /// The size at which the next file begins.
    most: u64,
    written: u64,
    /// `None` once the trace has ended.
    to: Option<SyncSender<Part>>,
    /// How much of it the thread has not written yet.
    waiting: Arc<AtomicUsize>,
}

/// What the writing thread gets.
#[derive(Debug)]
enum Part {
    /// Write this line.
    Line(Vec<u8>),
    /// Begin a new file.
    Next,
}

/// The lines that are still to be written when a [`TraceFile`] is gone.
#[derive(Debug)]
pub struct Rest(Receiver<()>);

impl Rest {
    /// Waits until all is written, at most a second.
    pub fn wait(self) {
        // Nothing is ever sent: this ends with the thread, or after a second.
        let _: Result<(), RecvTimeoutError> = self.0.recv_timeout(LAST_LINES);
    }
}

impl TraceFile {
    /// Begins a trace in the file `path`, of one member of a cluster and the incarnation that
    /// `start` begins. An earlier trace there is renamed to end in `.old`, as this one is when it
    /// has grown; the two have at most about `size` bytes. If another kind of file is there, or the
    /// file can't be made, the log says so, and nothing is traced.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        path: PathBuf,
        size: u64,
        spec: Spec,
        member: &str,
        start: &Line,
    ) -> io::Result<(Self, Rest)> {
        let (to, parts) = sync_channel(MAX_WAITING);
        let (ended, rest) = channel();
        let of_thread = path.clone();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || write_all(&of_thread, &parts, &left, ended))?;
        let by = concat!("onehold ", env!("CARGO_PKG_VERSION"));
        let header = Header::new(by, spec, vec![member.to_owned()]);
        let mut trace = Self {
            member: member.to_owned(),
            path,
            header,
            next: None,
            most: size / 2,
            written: 0,
            to: Some(to),
            waiting,
        };
        trace.begin(start);
        Ok((trace, Rest(rest)))
    }

    /// Begins a file.
    fn begin(&mut self, line: &Line) {
        self.written = 0;
        self.give(Part::Next);
        let mut header = Vec::new();
        match encode(&self.header, &mut header) {
            Ok(()) => self.give(Part::Line(header)),
            Err(e) => self.end(&e.to_string()),
        }
        self.put(line);
    }

    fn put(&mut self, line: &Line) {
        let mut bytes = Vec::new();
        match encode(line, &mut bytes) {
            Ok(()) => {
                self.written += bytes.len() as u64;
                self.give(Part::Line(bytes));
            }
            Err(e) => self.end(&e.to_string()),
        }
    }

    /// Never waits.
    fn give(&mut self, part: Part) {
        let Some(to) = &self.to else { return };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match to.try_send(part) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.end("the disk is too slow"),
            Err(TrySendError::Disconnected(_)) => self.to = None, // the thread has logged why
        }
    }

    fn end(&mut self, why: &str) {
        tracing::warn!("the trace {} ends here: {why}", self.path.display());
        self.to = None;
    }
}

impl Recorder for TraceFile {
    fn is_written(&self) -> bool {
        self.to.is_none() || self.waiting.load(Ordering::Acquire) == 0
    }

    fn turn(&mut self, turn: &Turn<'_>) {
        if self.to.is_none() {
            return;
        }
        self.put(&turn.line(&self.member, None));
        if self.written >= self.most && self.next.is_none() {
            self.begin(&Line::State {
                member: self.member.clone(),
                at: turn.now,
                node: turn.node.clone(),
            });
        }
    }

    fn change(&mut self, changed: &Changed<'_>) {
        if self.to.is_none() {
            return;
        }
        self.put(&changed.line(&self.member, None));
        match changed.step {
            Step::Toward { spec } => self.next = Some((**spec).clone()),
            Step::From {} => {}
            Step::Settled {} => {
                self.header.spec = self.next.take().unwrap_or_else(|| self.header.spec.clone())
            }
            Step::Back {} => self.next = None,
        }
    }
}

/// The thread that writes, and all that touches the disk; `ended` goes when it does.
fn write_all(path: &Path, parts: &Receiver<Part>, left: &AtomicUsize, ended: Sender<()>) {
    if let Err(e) = write_parts(path, parts, left) {
        tracing::warn!("the trace {} ends here: {e}", path.display());
    }
    drop(ended);
}

fn write_parts(path: &Path, parts: &Receiver<Part>, left: &AtomicUsize) -> io::Result<()> {
    let mut file = None;
    for part in parts {
        match (part, &mut file) {
            (Part::Next, file) => *file = Some((next_file(path)?, 0)),
            (Part::Line(line), Some((file, written))) => {
                if let Err(e) = file.write_all(&line) {
                    let _ = file.set_len(*written); // whole lines only
                    return Err(e);
                }
                *written += line.len() as u64;
            }
            (Part::Line(_), None) => {} // a file begins before its first line
        }
        left.fetch_sub(1, Ordering::Release);
    }
    Ok(())
}

/// Makes an empty file, readable by its owner alone. An earlier trace is kept as `.old`.
fn next_file(path: &Path) -> io::Result<File> {
    if is_trace(path)? {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        fs::rename(path, old)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Whether a trace is in the way; anything else is not replaced.
fn is_trace(path: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    let front = format!("{{\"format\":\"{FORMAT}\"");
    let mut begin = Vec::new();
    if there.is_file() {
        let most = front.len() as u64;
        File::open(path)?.take(most).read_to_end(&mut begin)?;
    }
    // A trace that was never written is empty.
    if there.is_file() && (begin.is_empty() || begin == front.as_bytes()) {
        Ok(true)
    } else {
        let what = "the file exists and is not a trace; name another one with --trace";
        Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
    }
}

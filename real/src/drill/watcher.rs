//! The observer as the drill sees it: a command that prints lines, and may go away.

use super::lines::{self, Begin, Figures, Line, Who};
use crate::clock::boottime;
use onehold_core::time::Span;
use std::io::{BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long it may take to repeat a mark.
const MARKED: Duration = Duration::from_secs(10);
/// No more changes of one event are kept.
const MOST: usize = 10_000;

/// What comes in.
enum News {
    Line(Line),
    /// The observer is gone, or says what is no line of its.
    Gone(String),
    Interrupted,
}

/// A mark that came back.
#[derive(Clone, Debug)]
pub struct Marked {
    /// When, by the observer's clock.
    pub at_ms: f64,
    /// By its wall clock.
    pub time: String,
    /// What was seen since the mark before.
    pub seen: Figures,
}

/// The observer. Dropping it ends it.
pub struct Watcher {
    child: Child,
    input: Option<ChildStdin>,
    news: Receiver<News>,
    begin: Option<Begin>,
    marked: Option<(String, Marked)>,
    gone: Option<String>,
    interrupted: bool,
    /// Who answers now.
    pub answers: Vec<Who>,
    changes: Vec<(f64, Vec<Who>)>,
    /// For how long two answered, and the longest that the observer missed, since it began.
    pub two_ms: f64,
    /// The longest time between two of its requests.
    pub hole_ms: f64,
}

impl Watcher {
    /// Starts the operator's command, and heeds signals from now on.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(words: &str) -> Result<Self, String> {
        let (news, heard) = sync_channel(256);
        heed_signals(news.clone())?;
        let failed = |e| format!("starting the observer, `{words}`: {e}");
        let mut command = Command::new("sh");
        command.args(["-c", words]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let words = words.to_owned();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output.expect("it is piped"));
            let why = loop {
                let line = match lines::next(&mut output) {
                    Ok(Some(line)) => line,
                    Ok(None) => break format!("the observer ended: `{words}`"),
                    Err(e) => break format!("the observer: {e}"),
                };
                match serde_json::from_str(&line) {
                    Ok(line) => {
                        if news.send(News::Line(line)).is_err() {
                            return;
                        }
                    }
                    Err(e) => {
                        break format!("`{words}` says `{line}`, which no observer says: {e}");
                    }
                }
            };
            let _ = news.send(News::Gone(why)); // nobody waits for it any more
        });
        Ok(Self {
            child,
            input,
            news: heard,
            begin: None,
            marked: None,
            gone: None,
            interrupted: false,
            answers: Vec::new(),
            changes: Vec::new(),
            two_ms: 0.0,
            hole_ms: 0.0,
        })
    }

    /// Waits until it begins.
    ///
    /// # Errors
    /// It does not.
    pub fn begin(&mut self, patience: Duration) -> Result<Begin, String> {
        self.pump_until(patience, |w| w.begin.is_some());
        match (self.begin.take(), self.ended()) {
            (_, Some(why)) => Err(why.to_owned()),
            (Some(begin), None) => Ok(begin),
            (None, None) => Err(format!("the observer did not begin within {patience:?}")),
        }
    }

    /// Sends a mark, and waits until it has come back: whatever is seen later is after it.
    ///
    /// # Errors
    /// It does not come back.
    pub fn mark(&mut self, name: &str) -> Result<Marked, String> {
        let lost = || "the observer does not answer any more".to_owned();
        if let Some(why) = &self.gone {
            return Err(why.clone());
        }
        let input = self.input.as_mut().ok_or_else(lost)?;
        input
            .write_all(format!("{name}\n").as_bytes())
            .map_err(|_| lost())?;
        let until = boottime().plus(MARKED.into());
        loop {
            self.take(Duration::from(until.since(boottime())));
            match self.marked.take() {
                Some((mark, marked)) if mark == name => return Ok(marked),
                _ if boottime() >= until || self.gone.is_some() => {
                    return Err(self.gone.clone().unwrap_or_else(lost));
                }
                _ => {}
            }
        }
    }

    /// Takes in what comes, until something is so, there is no more patience, or the drill must end.
    pub fn pump_until(&mut self, patience: Duration, is_so: impl Fn(&Self) -> bool) {
        let until = boottime().plus(patience.into());
        while !is_so(self) && self.ended().is_none() {
            let left = Duration::from(until.since(boottime()));
            if left.is_zero() {
                break;
            }
            self.take(left);
        }
    }

    fn take(&mut self, patience: Duration) {
        match self.news.recv_timeout(patience) {
            Ok(News::Line(line)) => self.heard(line),
            Ok(News::Gone(why)) => self.gone = Some(why),
            Ok(News::Interrupted) => self.interrupted = true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.gone
                    .get_or_insert_with(|| "the observer is gone".to_owned());
            }
        }
    }

    fn heard(&mut self, line: Line) {
        match line {
            Line::Begin(begin) => self.begin = Some(begin),
            Line::Answers { at_ms, by, .. } => {
                self.answers.clone_from(&by);
                if self.changes.len() < MOST {
                    self.changes.push((at_ms, by));
                }
            }
            Line::Mark {
                mark,
                at_ms,
                time,
                seen,
            } => {
                self.two_ms += seen.two_ms;
                self.hole_ms = self.hole_ms.max(seen.hole_ms);
                self.marked = Some((mark, Marked { at_ms, time, seen }));
            }
            Line::Trouble { why, .. } => eprintln!("onehold: the observer: {why}"),
            Line::End { .. } => {} // and then it is gone
        }
    }

    /// Why the observer is gone, if it is.
    #[must_use]
    pub fn gone(&self) -> Option<&str> {
        self.gone.as_deref()
    }

    /// Why the drill must end, if it must.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        match self.interrupted {
            true => Some("interrupted"),
            false => self.gone(),
        }
    }

    /// Forgets the changes so far, but for the last.
    pub fn forget(&mut self) {
        let last = self.changes.len().saturating_sub(1);
        self.changes.drain(..last);
    }

    /// Who answered from when on, in milliseconds since an instant.
    #[must_use]
    pub fn answered_since(&self, at_ms: f64) -> Vec<(f64, Vec<Who>)> {
        let since = |(at, by): &(f64, Vec<Who>)| ((at - at_ms).max(0.0), by.clone());
        self.changes.iter().map(since).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.input.take()); // it ends with its input
        let until = boottime().plus(Span::from_millis(2_000));
        while boottime() < until {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From now on no signal that asks for the end of the drill ends it: it is one of the news.
fn heed_signals(news: SyncSender<News>) -> Result<(), String> {
    let failed = |e: std::io::Error| e.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed)?;
    let entered = runtime.enter();
    let on = |kind| signal(kind).map_err(failed);
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut hangup = on(SignalKind::hangup())?;
    drop(entered);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        let _ = news.send(News::Interrupted); // the drill is over
    });
    Ok(())
}

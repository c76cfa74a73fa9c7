//! The keeper: a process beside the drill that undoes a fault whatever becomes of the drill.
//!
//! Before a fault it is told how to undo it. It does so when it is asked to, when the fault has
//! lasted as long as any may, and when the drill is gone, however it ended: then its end of the
//! pipe is closed. It is in a process group of its own, so that a Ctrl-C is the drill's; signals
//! that ask it to end are ignored, for it ends with the drill.

use super::fault::Undo;
use super::lines;
use crate::clock::boottime;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::io::{BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The subcommand that it runs as.
pub const NAME: &str = "drill-keeper";

/// How often, and how far apart, what can't be undone is tried again when the drill is gone.
const TRIES: u32 = 30;
const APART: Duration = Duration::from_secs(1);
/// With nothing to undo it only waits for the drill.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the drill says to its keeper, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Say {
    /// This is how to undo what comes now, after so long at the latest.
    Arm(Undo, Duration),
    /// Undo it.
    Undo,
}

/// What it answers to each: nothing, or what went wrong.
type Answer = Option<String>;

/// A keeper, as the drill sees it. When this is dropped, it undoes what is left to be undone, and
/// ends.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    armed: Option<Undo>,
}

impl Keeper {
    /// Starts one.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start() -> Result<Self, String> {
        let failed = |e| format!("starting the drill's keeper: {e}");
        let own = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(own);
        command.arg(NAME).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or("the drill's keeper says nothing")?;
        Ok(Self {
            child,
            input,
            output: BufReader::new(output),
            armed: None,
        })
    }

    /// From now on the keeper knows how to undo what follows. Nothing may be done before this
    /// returns.
    ///
    /// # Errors
    /// The keeper is gone.
    pub fn arm(&mut self, undo: Undo, longest: Duration) -> Result<(), String> {
        self.say(&Say::Arm(undo.clone(), longest))?;
        self.armed = Some(undo);
        Ok(())
    }

    /// Undoes it.
    ///
    /// # Errors
    /// What can't be undone, and why.
    pub fn undo(&mut self) -> Result<(), String> {
        let Some(undo) = self.armed.take() else {
            return Ok(());
        };
        // Without a keeper it is done here.
        self.say(&Say::Undo).or_else(|_| undo.undo())
    }

    fn say(&mut self, what: &Say) -> Result<(), String> {
        let gone = || "the drill's keeper is gone".to_owned();
        let mut line = serde_json::to_string(what).map_err(|e| e.to_string())?;
        line.push('\n');
        let input = self.input.as_mut().ok_or_else(gone)?;
        input.write_all(line.as_bytes()).map_err(|_| gone())?;
        let answer = lines::next(&mut self.output)
            .ok()
            .flatten()
            .ok_or_else(gone)?;
        match serde_json::from_str::<Answer>(&answer) {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(why),
            Err(_) => Err(gone()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// What the keeper's process does.
///
/// # Errors
/// What could not be undone.
pub fn keep() -> Result<(), String> {
    let failed = |e: std::io::Error| e.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(failed)?;
    let entered = runtime.enter();
    let asked_to_end = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let _ignored: Vec<_> = asked_to_end
        .map(signal)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    drop(entered);

    let (said, heard) = sync_channel(1);
    std::thread::spawn(move || {
        let mut input = BufReader::new(std::io::stdin());
        while let Ok(Some(line)) = lines::next(&mut input) {
            let said_it = serde_json::from_str::<Say>(&line).map(|say| said.send(say));
            if !matches!(said_it, Ok(Ok(()))) {
                break;
            }
        }
    });
    let mut armed: Option<(Undo, LocalTime)> = None;
    loop {
        let left = armed
            .as_ref()
            .map_or(IDLE, |(_, until)| Duration::from(until.since(boottime())));
        match heard.recv_timeout(left) {
            Ok(Say::Arm(undo, longest)) => {
                armed = Some((undo, boottime().plus(longest.into())));
                answer(None);
            }
            Ok(Say::Undo) => {
                let undone = armed.take().map_or(Ok(()), |(undo, _)| undo.undo());
                answer(undone.err());
            }
            Err(RecvTimeoutError::Timeout) => {
                // It stays armed: what is undone twice does no harm.
                if let Some((undo, until)) = &mut armed {
                    *until = boottime().plus(IDLE.into());
                    if let Err(why) = undo.undo() {
                        eprintln!(
                            "onehold: a fault that lasted too long can't be undone yet: {why}"
                        );
                        *until = boottime().plus(APART.into());
                    }
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    armed.map_or(Ok(()), |(undo, _)| undo_surely(&undo))
}

fn answer(answer: Answer) {
    if let Ok(text) = serde_json::to_string(&answer) {
        // A drill that is gone hears nothing, which the loop notices.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

/// The drill is gone: what it did must not stay.
fn undo_surely(undo: &Undo) -> Result<(), String> {
    let mut last = Ok(());
    for n in 0..TRIES {
        if n > 0 {
            std::thread::sleep(APART);
        }
        last = undo.undo();
        if last.is_ok() {
            break;
        }
    }
    last.map_err(|why| format!("the drill is gone, and what it did can't be undone: {why}"))
}

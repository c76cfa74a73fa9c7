//! The agent's end of its session with the daemon. Without a daemon it tries again, forever.

use super::board::{Board, Place};
use super::course::{HoldId, Level};
use crate::clock::boottime;
use crate::control::session::{EVERY, GroupShown, HEALTH_AFTER, MAX_LINE, Said, Shown, VERSION};
use crate::control::{Reply, Request};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

/// After what time it is tried again, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_LATER: Duration = Duration::from_secs(2);
/// How long what a daemon showed last counts when it is gone.
const SETTLE: Duration = Duration::from_millis(50);
/// The daemon reads no line sooner after another.
const APART: Duration = Duration::from_millis(10);
/// Answers that wait.
const MAX_ANSWERS: usize = 16;
/// What was shown longer ago than this begins nothing.
const OLD_MS: u64 = 1_000;
/// How long the daemon may take to show what is.
const FRESH: Duration = Duration::from_secs(1);

/// What is known of the daemon.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// There is a session.
    here: bool,
    /// Which one: each has another number.
    session: u64,
    shown: Arc<Shown>,
}

impl Seen {
    /// A group, as it was shown last.
    pub(super) fn group(&self, place: &Place) -> Option<&GroupShown> {
        let mut all = self.shown.groups.iter();
        all.find(|g| (&g.cluster, &g.group) == (&place.0, &place.1))
    }

    /// It may be otherwise by now: the daemon shows what is every second.
    pub(super) fn is_old(&self) -> bool {
        now_ms().saturating_sub(self.shown.at_ms) > OLD_MS
    }

    /// What is left of the lease of a group now, as far as was shown.
    pub(super) fn lease_left(&self, group: &GroupShown) -> Option<Duration> {
        let passed = now_ms().saturating_sub(self.shown.at_ms);
        let left = group.lease_left_ms?.checked_sub(passed)?;
        Some(Duration::from_millis(left)).filter(|left| !left.is_zero())
    }

    /// What a group is.
    pub(super) fn level(&self, place: &Place) -> Level {
        let Some(group) = self.group(place).filter(|_| self.here) else {
            return Level::Unknown;
        };
        let hold = HoldId {
            session: self.session,
            epoch: group.epoch,
        };
        match group.role.as_str() {
            _ if group.preparing => Level::Preparing(hold),
            _ if group.open => Level::Holding(hold),
            "standby" => Level::Released,
            _ => Level::Between,
        }
    }
}

fn now_ms() -> u64 {
    boottime().as_nanos() / 1_000_000
}

/// The daemon, for whoever needs it.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    /// Its control socket.
    pub(super) socket: PathBuf,
    seen: watch::Sender<Seen>,
    show: Arc<Notify>,
    answers: mpsc::Sender<Said>,
    /// Why the last reload was refused, if it was.
    refused: watch::Sender<Option<String>>,
}

impl Daemon {
    /// Nothing is known of it; and where its answers come from.
    pub(super) fn new(socket: PathBuf) -> (Self, mpsc::Receiver<Said>) {
        let (answers, said) = mpsc::channel(MAX_ANSWERS);
        let daemon = Self {
            socket,
            seen: watch::Sender::new(Seen::default()),
            show: Arc::default(),
            answers,
            refused: watch::Sender::new(None),
        };
        (daemon, said)
    }

    /// What it shows.
    pub(super) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// What it shows when asked now; nothing, if it does not answer.
    pub(super) async fn fresh(&self) -> Option<Seen> {
        let asked = now_ms();
        let mut seen = self.seen();
        self.show.notify_one();
        let fresh = seen.wait_for(|seen| seen.here && seen.shown.at_ms >= asked);
        let seen = timeout(FRESH, fresh).await.ok()?.ok()?;
        Some(seen.clone())
    }

    /// Nothing is known of it from here on.
    pub(super) fn leave(&self) {
        self.seen.send_modify(|seen| seen.here = false);
    }

    /// It is to know what became of a reload.
    pub(super) fn reloaded(&self, refused: Option<String>) {
        self.refused.send_replace(refused);
    }

    /// Says something to it, if it is there.
    pub(super) fn say(&self, said: Said) {
        let _ = self.answers.try_send(said); // the daemon has a deadline for it
    }

    /// Holds sessions, forever.
    pub(super) async fn hold(self, board: Board, mut answers: mpsc::Receiver<Said>) {
        let mut pace = AGAIN_FIRST;
        let mut logged = String::new();
        loop {
            let before = self.seen.borrow().session;
            let why = match self.session(&board, &mut answers).await {
                Ok(never) => match never {},
                Err(why) => why,
            };
            // What was shown last is seen first, such as that a daemon that ends has let go.
            sleep(SETTLE).await;
            self.seen.send_modify(|seen| seen.here = false);
            if self.seen.borrow().session != before {
                pace = AGAIN_FIRST;
            }
            if why != logged {
                tracing::warn!(
                    event = "session",
                    "no session with the daemon, trying again: {why}"
                );
                logged = why;
            }
            sleep(pace).await;
            pace = (pace * 2).min(AGAIN_LATER);
        }
    }

    async fn session(
        &self,
        board: &Board,
        answers: &mut mpsc::Receiver<Said>,
    ) -> Result<std::convert::Infallible, String> {
        let shown = self.socket.display();
        let connected = timeout(HEALTH_AFTER, UnixStream::connect(&self.socket)).await;
        let mut stream = connected
            .map_err(|_| format!("{shown}: nobody answers"))?
            .map_err(|e| format!("{shown}: {e}"))?;
        let (from, mut to) = stream.split();
        let mut from = BufReader::new(from);
        write(&mut to, &Request::Agent { version: VERSION }).await?;
        let first = line(&mut from).await?;
        let Ok(state) = serde_json::from_slice::<Shown>(&first) else {
            return Err(match serde_json::from_slice(&first) {
                Ok(Reply::Refused { why }) => why,
                Ok(
                    Reply::Status(_)
                    | Reply::History(_)
                    | Reply::Done { .. }
                    | Reply::Reloaded { .. },
                )
                | Err(_) => {
                    "it answers what this version does not know: is the daemon of another version?"
                        .to_owned()
                }
            });
        };
        tracing::info!(event = "session", "the daemon is there");
        self.seen.send_modify(|seen| {
            seen.session += 1;
            (seen.here, seen.shown) = (true, Arc::new(state));
        });
        while answers.try_recv().is_ok() {} // to the daemon that was there before
        tokio::select! {
            e = self.listen(&mut from) => e,
            e = self.tell(&mut to, board, answers) => e,
        }
    }

    async fn listen(
        &self,
        from: &mut BufReader<ReadHalf<'_>>,
    ) -> Result<std::convert::Infallible, String> {
        loop {
            let state = serde_json::from_slice::<Shown>(&line(from).await?)
                .map_err(|e| format!("it shows what this version does not know: {e}"))?;
            self.seen.send_modify(|seen| seen.shown = Arc::new(state));
        }
    }

    async fn tell(
        &self,
        to: &mut WriteHalf<'_>,
        board: &Board,
        answers: &mut mpsc::Receiver<Said>,
    ) -> Result<std::convert::Infallible, String> {
        let mut changes = board.changes();
        changes.mark_changed();
        let mut refused = self.refused.subscribe();
        refused.mark_changed();
        loop {
            let said = tokio::select! {
                _ = refused.changed() => Said::File { refused: refused.borrow_and_update().clone() },
                Some(said) = answers.recv() => said,
                () = self.show.notified() => Said::Show {},
                _ = changes.changed() => Said::Health(board.report()),
                () = sleep(EVERY) => Said::Health(board.report()),
            };
            write(to, &said).await?;
            sleep(APART).await;
        }
    }
}

async fn line(from: &mut BufReader<ReadHalf<'_>>) -> Result<Vec<u8>, String> {
    let mut line = Vec::new();
    let mut bounded = from.take(MAX_LINE);
    match timeout(HEALTH_AFTER, bounded.read_until(b'\n', &mut line)).await {
        Ok(Ok(0)) => Err("it hung up".to_owned()),
        Ok(Ok(_)) if line.ends_with(b"\n") => Ok(line),
        Ok(Ok(_)) => Err("it sent half a line, or one that is too long".to_owned()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err(format!("it has sent nothing for {HEALTH_AFTER:?}")),
    }
}

async fn write(to: &mut WriteHalf<'_>, what: &impl serde::Serialize) -> Result<(), String> {
    let mut line = serde_json::to_vec(what).map_err(|e| e.to_string())?;
    line.push(b'\n');
    match timeout(HEALTH_AFTER, to.write_all(&line)).await {
        Ok(written) => written.map_err(|e| e.to_string()),
        Err(_) => Err(format!("it has read nothing for {HEALTH_AFTER:?}")),
    }
}

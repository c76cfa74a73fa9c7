//! The control socket: a request is one line of JSON, so is its reply, and then it is closed.
//!
//! Root and the daemon's own user may ask, nobody else. The server never blocks the driver: it
//! hands over an [`Asked`] and waits for the answer on its own.

use crate::status::Report;
use onehold_core::advert::GroupId;
use onehold_core::config::Config;
use onehold_core::input::{Command, Refusal};
use serde::{Deserialize, Serialize};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/onehold/control.sock";

/// A request is a line of at most this many bytes.
const MAX_REQUEST: u64 = 4 * 1024;
/// A reply of thousands of clusters fits.
const MAX_REPLY: u64 = 64 * 1024 * 1024;
/// At most this many are served at once; others wait.
const MAX_CLIENTS: usize = 8;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How things are.
    Status,
    /// Do this.
    Command {
        /// What.
        command: Order,
        /// In which cluster; may be left out where there is one.
        #[serde(default)]
        cluster: Option<String>,
        /// For which group; all if left out.
        #[serde(default)]
        group: Option<String>,
    },
}

/// What an operator can order. (`Command::Stop` is a signal's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Hand over to the other candidate.
    Switch,
    /// Don't hold until `Resume`.
    Standby,
    /// Undo both.
    Resume,
    /// Count the peer as dead.
    PresumeDead,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Report),
    /// Done: a line for each group.
    Done {
        /// For people.
        lines: Vec<String>,
    },
    /// Nothing changed.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// A request, and where its reply goes.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// To be answered once. Dropped unanswered, the client is told that the daemon is stopping.
    pub reply: oneshot::Sender<Reply>,
}

impl From<Order> for Command {
    fn from(order: Order) -> Self {
        match order {
            Order::Switch => Self::Switch,
            Order::Standby => Self::Standby,
            Order::Resume => Self::Resume,
            Order::PresumeDead => Self::PresumeDead,
        }
    }
}

impl Reply {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// The reply to an order, from what the node said to it group by group. Refused if it was
    /// refused for every group.
    #[must_use]
    pub fn to_order(config: &Config, order: Order, outcome: &[(GroupId, Option<Refusal>)]) -> Self {
        let line = |(group, refusal): &(GroupId, Option<Refusal>)| {
            let name = config.group(*group).map_or("?", |g| g.name.as_str());
            let text = match refusal {
                Some(refusal) => refusal_text(*refusal),
                None => done_text(order),
            };
            format!("{name}: {text}")
        };
        let lines: Vec<String> = outcome.iter().map(line).collect();
        if outcome.iter().all(|(_, refusal)| refusal.is_some()) {
            Self::refused(lines.join("\n"))
        } else {
            Self::Done { lines }
        }
    }
}

/// The groups that a request means: the one it names, or all.
///
/// # Errors
/// The refusal, if there is no such group.
pub fn groups_meant(config: &Config, name: Option<&str>) -> Result<Vec<GroupId>, Reply> {
    let numbered = || (0u8..).map(GroupId).zip(config.groups());
    let Some(name) = name else {
        return Ok(numbered().map(|(id, _)| id).collect());
    };
    let found = numbered().find(|(_, g)| g.name == name);
    found.map(|(id, _)| vec![id]).ok_or_else(|| {
        let all: Vec<&str> = config.groups().iter().map(|g| g.name.as_str()).collect();
        Reply::refused(format!(
            "there is no group `{name}`; there are {}",
            all.join(", ")
        ))
    })
}

const fn done_text(order: Order) -> &'static str {
    match order {
        Order::Switch => "handing over",
        Order::Standby => "on standby until `onehold resume`",
        Order::Resume => "may hold again",
        Order::PresumeDead => "the peer's vote counts as given until it is heard again",
    }
}

/// Why a command was not carried out, for people.
#[must_use]
pub const fn refusal_text(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotHolder => {
            "this member does not hold it; say switch on the holder, which `onehold status` shows"
        }
        Refusal::NobodyReady => {
            "no other candidate is ready to take over; `onehold status` on it shows why"
        }
        Refusal::Witness => "this member is a witness and never holds; say it on a candidate",
        Refusal::NotTwoMembers => {
            "presume-dead is only for two members under arbitration \"majority\"; elsewhere a takeover \
             needs no operator"
        }
        Refusal::PeerHeard => "the peer was heard a moment ago: it is not dead",
        Refusal::VoteBound => {
            "this member's vote is still bound to the peer's last lease; try again in a second"
        }
        Refusal::Stopping => "the daemon is stopping",
    }
}

/// Binds the control socket, replacing what a dead daemon left.
///
/// # Errors
/// What is in the way, and what to do.
pub fn listen(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| {
            format!(
                "{}: can't be made for the control socket: {e}",
                directory.display()
            )
        })?;
    }
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(format!(
                    "{shown}: another daemon listens there; stop it, or name another one with --socket"
                ));
            }
            if std::fs::symlink_metadata(path).is_ok_and(|m| !m.file_type().is_socket()) {
                return Err(format!(
                    "{shown} is no socket; name another place with --socket"
                ));
            }
            std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        other => other,
    };
    let listener = listener.map_err(|e| format!("{shown}: can't listen there: {e}"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| format!("{shown}: can't be made private: {e}"))?;
    Ok(listener)
}

/// Serves the socket for ever.
pub async fn serve(listener: UnixListener, driver: mpsc::Sender<Asked>) {
    let mut clients = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(tokio::time::timeout(PATIENCE, client(stream, driver.clone())));
                }
                Err(e) => {
                    tracing::warn!("the control socket can't accept: {e}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

/// Serves one client; one that goes away or talks nonsense harms only itself.
async fn client(mut stream: UnixStream, driver: mpsc::Sender<Asked>) {
    let reply = answer(&mut stream, &driver).await;
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    if let Err(e) = stream.write_all(&line).await {
        tracing::debug!("a control client left before its reply: {e}");
    }
}

async fn answer(stream: &mut UnixStream, driver: &mpsc::Sender<Asked>) -> Reply {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => {}
        Ok(peer) => return Reply::refused(format!("user {} may not ask; use sudo", peer.uid())),
        Err(e) => return Reply::refused(format!("can't tell who asks: {e}")),
    }
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(stream).take(MAX_REQUEST);
    if let Err(e) = reader.read_line(&mut line).await {
        return Reply::refused(format!("can't read the request: {e}"));
    }
    if !line.ends_with('\n') {
        return Reply::refused(format!(
            "a request is one line of at most {MAX_REQUEST} bytes"
        ));
    }
    let request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(e) => return Reply::refused(format!("not a request this version knows: {e}")),
    };
    let (reply, answered) = oneshot::channel();
    let stopping = || Reply::refused("the daemon is stopping");
    if driver.send(Asked { request, reply }).await.is_err() {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

/// Asks the daemon and waits for its reply. For the client: it blocks.
///
/// # Errors
/// What is wrong, and what to do.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, String> {
    let shown = socket.display();
    let stream = std::os::unix::net::UnixStream::connect(socket).map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "no daemon listens at {shown}: is it running? (`systemctl status onehold`; if it listens \
             elsewhere, name it with --socket)"
        ),
        ErrorKind::PermissionDenied => {
            format!("{shown}: only root and the daemon's own user may ask; use sudo")
        }
        _ => format!("{shown}: {e}"),
    })?;
    let mut line = serde_json::to_vec(request).map_err(|e| e.to_string())?;
    line.push(b'\n');
    let mut reply = String::new();
    let exchange = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        (&stream).write_all(&line)?;
        BufReader::new(&stream)
            .take(MAX_REPLY)
            .read_line(&mut reply)
    };
    match { exchange }() {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(format!(
            "the daemon at {shown} gave no answer within {} s: it is stuck or frozen (a guard has muted \
             its addresses by now; `systemctl restart onehold`)",
            PATIENCE.as_secs()
        )),
        Err(e) => Err(format!("{shown}: {e}")),
        Ok(0) => Err(format!(
            "the daemon at {shown} hung up; it is probably stopping"
        )),
        Ok(_) => serde_json::from_str(&reply).map_err(|e| {
            format!(
                "{shown}: not a reply this version knows ({e}); is the daemon of another version?"
            )
        }),
    }
}

#[cfg(test)]
mod tests;

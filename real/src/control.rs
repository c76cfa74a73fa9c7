//! The control socket: a request is one line of JSON, so is its reply, and then it is closed.
//!
//! There are two sockets. On the control socket root and the daemon's own user may ask everything;
//! members of the daemon's own group, if that is neither root's nor the readers', may ask for the
//! status and be the daemon's agent. Beside it, members of the group [`READERS`] may look, and do
//! nothing else: who may look must not be able to call a service sick. The server never blocks the
//! driver: it hands over a [`PendingRequest`] and waits for the answer on its own. One request is
//! answered by more than a line: see [`session`].

mod bound;
mod client;
pub mod session;

pub use client::{ask, report};

use crate::files;
use crate::history::Told;
use crate::orders::Said;
use crate::status::Report;
use crate::upgrade;
use bound::Bound;
use onehold_core::advert::GroupId;
use onehold_core::config::Config;
use onehold_core::input::{Command, Refusal};
use serde::{Deserialize, Serialize};
use session::Desk;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where the daemon listens by default.
pub const DEFAULT_SOCKET: &str = "/run/onehold/control.sock";
/// The group whose members may look.
pub const READERS: &str = "onehold";
/// How the words begin that say that no daemon runs.
pub const NO_DAEMON: &str = "no daemon listens at";
/// And in the middle of those that say that it does not answer.
pub const NO_ANSWER: &str = "gave no answer within";
/// The longest list of groups that is read.
const MAX_GROUPS_FILE: u64 = 1 << 20;

/// A request is a line of at most this many bytes.
const MAX_REQUEST: u64 = 4 * 1024;
/// A reply of thousands of clusters fits.
const MAX_REPLY: u64 = 64 * 1024 * 1024;
/// At most this many are served at once; others wait.
const MAX_CLIENTS: usize = 8;
/// How long a client waits for the daemon.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the daemon waits for a client, and for its own driver: so that the client hears of it.
pub const DAEMON_TIMEOUT: Duration = Duration::from_secs(4);
/// How long both wait for a reload: it looks up names.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// The readers' requests are answered one after another, and no two within this time.
const READERS_PACE: Duration = Duration::from_millis(50);
/// Whose turn it is among the readers.
static READERS_TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The status of a part of the clusters: so that no turn of the driver is longer for their
    /// number, the reply says where the next part begins. [`report`] asks for all parts.
    Status {
        /// Of this cluster alone.
        #[serde(default)]
        cluster: Option<String>,
        /// The number of the first that is meant.
        #[serde(default)]
        from: usize,
    },
    /// An order.
    Command {
        /// Which.
        command: Order,
        /// In which cluster; may be left out where there is one.
        #[serde(default)]
        cluster: Option<String>,
        /// For which group; all if left out.
        #[serde(default)]
        group: Option<String>,
        /// What the operator says with it: shown and kept while it stands.
        #[serde(default, skip_serializing_if = "Said::is_empty")]
        said: Said,
    },
    /// Read the file again, and apply what may change.
    Reload {
        /// Also take keys away that other members may need.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        now: bool,
    },
    /// Go on in another program: see [`crate::upgrade`].
    Upgrade {},
    /// What has happened.
    History {
        /// In which cluster; may be left out where there is one.
        #[serde(default)]
        cluster: Option<String>,
    },
    /// Be this daemon's agent from here on: see [`session`].
    Agent {
        /// Of the session.
        version: u32,
    },
}

impl Request {
    /// The first part of the status of all clusters.
    pub const STATUS: Self = Self::Status {
        cluster: None,
        from: 0,
    };

    /// How long to wait for its reply, if `usual` is enough for what is known at once.
    #[must_use]
    pub fn patience(&self, usual: Duration) -> Duration {
        match self {
            Self::Reload { .. } => usual + RELOAD_TIMEOUT,
            Self::Status { .. }
            | Self::History { .. }
            | Self::Command { .. }
            | Self::Upgrade {}
            | Self::Agent { .. } => usual,
        }
    }

    /// It changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        match self {
            Self::Status { .. } | Self::History { .. } => true,
            Self::Command { .. } | Self::Reload { .. } | Self::Upgrade {} | Self::Agent { .. } => {
                false
            }
        }
    }
}

/// Who may ask for what on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Root and the daemon's own user for everything; its own group, unless that is the readers',
    /// for the status and to be its agent.
    Orders {
        /// The readers' group, if this host has it.
        readers: Option<u32>,
    },
    /// Members of the readers' group, to look.
    Looks {
        /// That group.
        readers: u32,
    },
}

impl Access {
    /// The group that may use the socket, besides its owner.
    fn group(self) -> Option<u32> {
        match self {
            Self::Looks { readers } => Some(readers),
            Self::Orders { readers } => own_group().filter(|own| Some(*own) != readers),
        }
    }
}

/// The socket for those who may only look, beside a control socket.
#[must_use]
pub fn for_readers(control: &Path) -> PathBuf {
    let stem = control.file_stem().unwrap_or_default().to_string_lossy();
    control.with_file_name(match &*stem {
        "control" => "status.sock".to_owned(),
        stem => format!("{stem}-status.sock"),
    })
}

/// The number of the readers' group, if this host has it.
#[must_use]
pub fn readers() -> Option<u32> {
    let text = files::read(Path::new("/etc/group"), MAX_GROUPS_FILE).ok()?;
    group_number(&String::from_utf8_lossy(&text), READERS)
}

/// `name:password:number:members`, a line for each.
fn group_number(text: &str, name: &str) -> Option<u32> {
    let mut lines = text.lines().map(|line| line.split(':'));
    let mut fields = lines.find(|fields| fields.clone().next() == Some(name))?;
    fields.nth(2)?.parse().ok()
}

/// What an operator can order. (`Command::Stop` is a signal's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Hand over to the other candidate.
    Switch,
    /// Don't hold until `Resume`.
    Standby,
    /// Undo `Switch` and `Standby`.
    Resume,
    /// Move nothing by itself until `Thaw`.
    Freeze,
    /// Undo `Freeze`.
    Thaw,
    /// Count the peer as dead.
    PresumeDead,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Report),
    /// To [`Request::History`].
    History(Told),
    /// Done.
    Done {
        /// A line for each group, for people.
        lines: Vec<String>,
    },
    /// To [`Request::Reload`].
    Reloaded {
        /// What was applied, a line for each.
        done: Vec<String>,
        /// What was not, and why.
        refused: Vec<String>,
    },
    /// Nothing changed.
    Refused {
        /// Why, and what to do.
        why: String,
    },
}

/// A request, and where its reply goes.
#[derive(Debug)]
pub struct PendingRequest {
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
            Order::Freeze => Self::Freeze,
            Order::Thaw => Self::Thaw,
            Order::PresumeDead => Self::PresumeDead,
        }
    }
}

impl Reply {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// The reply to an order, from its outcome group by group: refused if every group refused it.
    #[must_use]
    pub fn to_order(
        config: &Config,
        order: Order,
        said: &Said,
        outcome: &[(GroupId, Result<(), Refusal>)],
    ) -> Self {
        let until = said.until_text();
        let line = |(group, answer): &(GroupId, Result<(), Refusal>)| {
            let name = config.group_name(*group);
            match answer {
                Ok(()) if order == Order::PresumeDead && !config.may_presume_dead() => {
                    COUNTS_AS_DEAD.to_owned()
                }
                Ok(()) => format!("{name}: {}", done_text(order, &until)),
                Err(refusal) => format!("{name}: {}", refusal.text()),
            }
        };
        let lines: Vec<String> = outcome.iter().map(line).collect();
        if outcome.iter().all(|(_, said)| said.is_err()) {
            Self::refused(lines.join("\n"))
        } else {
            Self::Done { lines }
        }
    }
}

/// The groups that an order is for: the one it names, or all.
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
            "there is no group `{name}`; name one of {}, or none for all",
            all.join(", ")
        ))
    })
}

/// what is done for a member that doubted, by `presume-dead`.
const COUNTS_AS_DEAD: &str =
    "the other candidate counts as dead: this member holds by the votes of its file's members";

/// What is done; `until` is empty, or says when it ends by itself.
pub(crate) fn done_text(order: Order, until: &str) -> String {
    let or = if until.is_empty() { " until" } else { " or" };
    match order {
        Order::Switch if until.is_empty() => "handing over".to_owned(),
        Order::Switch => format!("handing over, and not coming back{until} or `onehold resume`"),
        Order::Standby => format!("on standby{until}{or} `onehold resume`"),
        Order::Resume => "may hold again".to_owned(),
        Order::Freeze => format!("nothing moves by itself{until}{or} `onehold thaw`"),
        Order::Thaw => "thawed".to_owned(),
        Order::PresumeDead => "asking the network first whether the peer answers".to_owned(),
    }
}

/// Binds the control socket, replacing one that a dead daemon left.
///
/// # Errors
/// What is in the way, and what to do.
fn listen(path: &Path, access: Access) -> Result<UnixListener, String> {
    let shown = path.display();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|e| {
            format!(
                "{}: can't create this directory for the control socket: {e}; name another place with --socket",
                directory.display()
            )
        })?;
    }
    let listener = match UnixListener::bind(path) {
        Err(e) if e.kind() == ErrorKind::AddrInUse => {
            if !is_dead(path) {
                return Err(format!(
                    "{shown}: another daemon listens there; stop it, or name another place with --socket"
                ));
            }
            if std::fs::symlink_metadata(path).is_ok_and(|m| !m.file_type().is_socket()) {
                return Err(format!(
                    "{shown} is not a socket; name another place with --socket"
                ));
            }
            std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        other => other,
    };
    let listener = listener.map_err(|e| format!("{shown}: can't listen there: {e}"))?;
    if let Access::Looks { readers } = access {
        std::os::unix::fs::chown(path, None, Some(readers)).map_err(|e| {
            let _ = std::fs::remove_file(path); // nobody could use it
            format!(
                "{shown}: can't be given to the group {READERS}: {e}; that takes CAP_CHOWN, or that the daemon is a \
                 member of the group (`SupplementaryGroups={READERS}` in its unit)"
            )
        })?;
    }
    let mode = if access.group().is_some() {
        0o660
    } else {
        0o600
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| format!("{shown}: can't be made private: {e}"))?;
    Ok(listener)
}

/// Whether the daemon that made a socket has ended. Asked without waiting: the queue of a paused
/// daemon may be full, and that alone shows that it still listens.
fn is_dead(path: &Path) -> bool {
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    connected.is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}

/// The daemon's group, whose members may look and be its agent; not if it is root's, which many are
/// in.
fn own_group() -> Option<u32> {
    Some(rustix::process::getegid().as_raw()).filter(|group| *group != 0)
}

/// After how long making the socket is tried again, at first and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(250);
const AGAIN_LATER: Duration = Duration::from_secs(5);

/// The ways to the driver.
#[derive(Clone, Debug)]
pub struct Ways {
    /// What is answered in a line.
    pub requests: mpsc::Sender<PendingRequest>,
    /// What another program is to do.
    pub upgrades: mpsc::Sender<upgrade::Ask>,
}

/// Makes the socket and serves it, giving no client longer than `limit`; makes it again if its file
/// is removed. While it can't be made, the daemon does without: the address comes first.
pub async fn serve(path: PathBuf, access: Access, driver: Ways, desk: Desk, limit: Duration) {
    let mut pace = AGAIN_FIRST;
    let mut said = String::new();
    let mut clients = JoinSet::new();
    loop {
        match listen(&path, access) {
            Ok(listener) => {
                let bound = Bound::at(&path);
                tokio::select! {
                    () = accept(listener, access, &mut clients, &driver, &desk, limit) => {}
                    () = bound.lost() => tracing::warn!(
                        "{}: somebody removed the control socket; it is made again", path.display()
                    ),
                }
                (pace, said) = (AGAIN_FIRST, String::new());
                continue;
            }
            Err(why) if why != said => {
                match access {
                    Access::Orders { .. } => tracing::error!(
                        "no control socket, so `onehold status` fails; trying again: {why}"
                    ),
                    // As on a witness without any privilege.
                    Access::Looks { .. } => tracing::info!(
                        "members of the group {READERS} can't look; trying again: {why}"
                    ),
                }
                said = why;
            }
            Err(_) => {}
        }
        tokio::time::sleep(pace).await;
        pace = (pace * 2).min(AGAIN_LATER);
    }
}

async fn accept(
    listener: UnixListener,
    access: Access,
    clients: &mut JoinSet<()>,
    driver: &Ways,
    desk: &Desk,
    limit: Duration,
) {
    loop {
        tokio::select! {
            accepted = listener.accept(), if clients.len() < MAX_CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(client(stream, access, driver.clone(), desk.clone(), limit));
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

/// Serves one client. A client that goes away or sends garbage affects only itself.
async fn client(mut stream: UnixStream, access: Access, driver: Ways, desk: Desk, limit: Duration) {
    let read = timeout(limit, request(&mut stream, access)).await;
    let reply = match read {
        Ok(Ok(Request::Agent { version })) => {
            // One of another PID namespace has none here.
            let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let pid = peer.filter(|pid| *pid != 0).unwrap_or(-1);
            match desk.hold(&mut stream, version, pid).await {
                Ok(()) => return,
                Err(refused) => Ok(refused),
            }
        }
        Ok(Ok(Request::Upgrade {})) => {
            return upgrade::session::serve(stream, driver.upgrades).await;
        }
        Ok(Ok(request)) => {
            let limit = request.patience(limit);
            timeout(limit, async {
                // However many look: each answer costs the driver a turn.
                let turn = match access {
                    Access::Looks { .. } => Some(READERS_TURN.lock().await),
                    Access::Orders { .. } => None,
                };
                let reply = answer(request, &driver.requests).await;
                if turn.is_some() {
                    tokio::time::sleep(READERS_PACE).await;
                }
                reply
            })
            .await
        }
        Ok(Err(why)) => Ok(Reply::Refused { why }),
        Err(_) => Ok(Reply::refused(format!(
            "no request arrived within {limit:?}"
        ))),
    };
    let reply = reply.unwrap_or_else(|_| {
        Reply::refused(format!(
            "the daemon's driver gave no answer within {limit:?}; if that goes on, `systemctl restart \
             onehold`"
        ))
    });
    let mut line = serde_json::to_vec(&reply).unwrap_or_default();
    line.push(b'\n');
    match timeout(limit, stream.write_all(&line)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::debug!("a control client left before its reply: {e}"),
        Err(_) => tracing::debug!("a control client did not take its reply"),
    }
}

/// A client's request, or what is wrong with it.
async fn request(stream: &mut UnixStream, access: Access) -> Result<Request, String> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let looks = matches!(access, Access::Looks { .. });
    let member = match stream.peer_cred() {
        // Of the groups that a process is a member of besides, the kernel alone knows here: it let
        // the process connect.
        Ok(peer) if looks => Some(peer.uid()),
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => None,
        Ok(peer) if Some(peer.gid()) == access.group() => Some(peer.uid()),
        Ok(peer) => return Err(format!("user {} may not ask; use sudo", peer.uid())),
        Err(e) => return Err(format!("the kernel does not say which user asks: {e}")),
    };
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(stream).take(MAX_REQUEST);
    if let Err(e) = reader.read_line(&mut line).await {
        return Err(format!("can't read the request: {e}"));
    }
    if !line.ends_with('\n') {
        return Err(format!(
            "a request is one line of at most {MAX_REQUEST} bytes"
        ));
    }
    let request = serde_json::from_str(&line).map_err(|e| {
        let version = env!("CARGO_PKG_VERSION");
        format!("not a request that onehold {version} knows: {e}; do client and daemon differ in version?")
    })?;
    match (&request, member) {
        (_, Some(user)) if looks && !request.only_looks() => Err(format!(
            "user {user} may look here, and neither order anything nor be the agent: that is asked on the control \
             socket, as root"
        )),
        (Request::Upgrade {}, None) if !may_upgrade(peer, own) => Err(format!(
            "user {own} may not have this daemon run another program, for it has capabilities that not every process \
             of this user has; ask as root"
        )),
        (Request::Command { .. } | Request::Reload { .. } | Request::Upgrade {}, Some(user)) => {
            Err(format!(
                "user {user} may look and be the agent, but order nothing; use sudo"
            ))
        }
        (
            Request::Command { .. }
            | Request::Reload { .. }
            | Request::Upgrade {}
            | Request::Status { .. }
            | Request::History { .. }
            | Request::Agent { .. },
            _,
        ) => Ok(request),
    }
}

/// Whether a user may have this process run another program: root; and the daemon's own, if it has
/// nothing that another process of that user could lack.
fn may_upgrade(user: u32, own: u32) -> bool {
    let capable = rustix::thread::capabilities(None);
    user == 0 || user == own && capable.is_ok_and(|sets| sets.permitted.is_empty())
}

/// The driver's reply.
async fn answer(request: Request, driver: &mpsc::Sender<PendingRequest>) -> Reply {
    let (reply, answered) = oneshot::channel();
    let stopping = || Reply::refused("the daemon is stopping");
    if driver
        .send(PendingRequest { request, reply })
        .await
        .is_err()
    {
        return stopping();
    }
    answered.await.unwrap_or_else(|_| stopping())
}

#[cfg(test)]
mod tests;

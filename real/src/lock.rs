//! one incarnation at a time, in a network namespace: it is the kernel's network that two
//! would fight over.
//!
//! Each incarnation listens on an abstract socket of its own, whose name begins with the member's
//! and ends with what nobody can guess: so nobody can have it first. It dies with the process, and
//! no file is left behind. Another one that begins so is another incarnation of this member, if it
//! is root's or this user's: the kernel says whose a socket is. A stranger's is only a name, and is
//! not listened to.

use crate::upgrade::Inherited;
use onehold_core::advert::ClusterId;
use rustix::net::sockopt::socket_peercred;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How the names of all locks begin.
const PREFIX: &str = "onehold/";

/// How often, and how many times in all, others are asked whose they are while their queues are
/// full.
const ASK_EVERY: Duration = Duration::from_millis(20);
const ASKS: usize = 10;

/// The exclusive right to be this member here. It dies with the process, whatever ends that.
#[derive(Debug)]
pub struct Lock {
    /// The socket, by its name.
    listener: Arc<tokio::net::UnixListener>,
    mine: String,
    /// Keeps its queue empty.
    _answers: JoinSet<()>,
    /// Another user's socket that says that it is this member's lock: its name, and what to say of
    /// it.
    pretender: Option<(String, String)>,
}

/// A lock that goes on in another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    name: String,
    pub(crate) fd: RawFd,
}

/// Why the right was not had.
#[derive(Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Another process has it: then nothing may be touched.
    Taken(String),
    /// It can't be known whether another process has it.
    Unknown(String),
}

/// The socket of an incarnation that has not looked for others yet.
#[derive(Debug)]
pub struct Begun {
    listener: UnixListener,
    prefix: String,
    /// Its socket's name.
    mine: String,
    cluster: String,
    member: String,
}

/// The sockets of incarnations in this network namespace, as they were listed.
#[derive(Debug)]
pub struct Names(std::io::Result<BTreeSet<String>>);

impl Names {
    /// As they are now.
    #[must_use]
    pub fn now() -> Self {
        Self(names(PREFIX))
    }
}

fn unknown(member: &str, e: &dyn std::fmt::Display) -> NotTaken {
    NotTaken::Unknown(format!(
        "can't tell whether `{member}` runs here already: {e}"
    ))
}

impl Begun {
    /// Becomes the lock, if no other incarnation is among `names`, which were listed after
    /// [`Lock::begin`]. Needs a tokio runtime.
    ///
    /// # Errors
    /// When another process has the right, or that can't be known.
    pub fn alone_among(self, names: &Names) -> Result<Lock, NotTaken> {
        let Self {
            listener,
            prefix,
            mine,
            cluster: name,
            member,
        } = self;
        let unknown = |e: &dyn std::fmt::Display| unknown(&member, e);
        let names = names.0.as_ref().map_err(|e| unknown(e))?;
        let (mut asks, mut pretender) = (ASKS, None);
        let ours = names.range(prefix.clone()..);
        for other in ours.take_while(|name| name.starts_with(&prefix)) {
            if *other == mine {
                continue;
            }
            match owner(other, &mut asks) {
                Some(uid) if uid == 0 || uid == rustix::process::geteuid().as_raw() => {
                    return Err(NotTaken::Taken(format!(
                        "`{member}` of cluster `{name}` runs already on this host; stop that first \
                         (systemctl stop onehold), or ask it: onehold status"
                    )));
                }
                Some(uid) => {
                    let what = format!(
                        "a process of user {uid} on this host says that it is `{member}` of cluster `{name}`, \
                         too. If it is another incarnation of this member, started as that user, it votes a second \
                         time, and two may hold: stop it (`ss -xlp` shows its socket, @{other}). Anybody can \
                         say so; it keeps nobody from starting"
                    );
                    pretender = Some((other.clone(), what));
                }
                None => {} // it is gone, or nobody listens
            }
        }
        let mut answers = JoinSet::new();
        listener.set_nonblocking(true).map_err(|e| unknown(&e))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(|e| unknown(&e))?;
        let listener = Arc::new(listener);
        let queue = Arc::clone(&listener);
        answers.spawn(async move {
            loop {
                let _ = queue.accept().await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Ok(Lock {
            listener,
            mine,
            _answers: answers,
            pretender,
        })
    }
}

impl Lock {
    /// Begins to be `member` of `cluster`, which is called `name`, in this network namespace. Of two
    /// that begin at once, each has its socket before it looks, so one at least sees the other.
    ///
    /// # Errors
    /// When it can't be known whether another process has the right.
    pub fn begin(cluster: ClusterId, name: &str, member: &str) -> Result<Begun, NotTaken> {
        let unknown = |e: &dyn std::fmt::Display| unknown(member, e);
        let prefix = format!("{PREFIX}{:016x}/{member}/", cluster.0);
        let mut random = [0; 8];
        getrandom(&mut random, GetRandomFlags::empty()).map_err(|e| unknown(&e))?;
        let mine = format!("{prefix}{:016x}", u64::from_ne_bytes(random));
        let listener = SocketAddr::from_abstract_name(&mine)
            .and_then(|at| UnixListener::bind_addr(&at))
            .map_err(|e| unknown(&e))?;
        Ok(Begun {
            listener,
            prefix,
            mine,
            cluster: name.to_owned(),
            member: member.to_owned(),
        })
    }

    /// What goes on in another program of this process.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            name: self.mine.clone(),
            fd: self.listener.as_raw_fd(),
        }
    }

    /// The right that the former program of this process had, and that was never given up: to be
    /// looked at for others as if it had just begun.
    ///
    /// # Errors
    /// When that is not its socket.
    pub(crate) fn inherit(
        carried: &Carried,
        from: &Inherited,
        (cluster, name): (ClusterId, &str),
        member: &str,
    ) -> Result<Begun, String> {
        let prefix = format!("{PREFIX}{:016x}/{member}/", cluster.0);
        let listener = UnixListener::from(from.take(carried.fd)?);
        let local = listener.local_addr().map_err(|e| e.to_string())?;
        let is_it = local.as_abstract_name() == Some(carried.name.as_bytes());
        if !is_it || !carried.name.starts_with(&prefix) {
            return Err(format!("{} is not the lock of `{member}`", carried.name));
        }
        Ok(Begun {
            listener,
            prefix,
            mine: carried.name.clone(),
            cluster: name.to_owned(),
            member: member.to_owned(),
        })
    }

    /// Takes the right to be `member` of `cluster`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When another process has it, or that can't be known.
    pub fn take(cluster: ClusterId, name: &str, member: &str) -> Result<Self, NotTaken> {
        let begun = Self::begin(cluster, name, member)?;
        begun.alone_among(&Names::now())
    }

    /// What another user's process pretends, if one does.
    pub(crate) fn pretended(&self) -> Option<String> {
        self.pretender.as_ref().map(|(_, what)| what.clone())
    }

    /// Whether a process that pretended has gone.
    pub(crate) fn is_alone_again(&mut self) -> bool {
        let Some((name, _)) = &self.pretender else {
            return false;
        };
        let gone = names(name).is_ok_and(|names| !names.contains(name));
        if gone {
            self.pretender = None;
        }
        gone
    }
}

/// The abstract sockets of this network namespace whose names begin with `prefix`.
fn names(prefix: &str) -> std::io::Result<BTreeSet<String>> {
    let list = std::fs::read("/proc/thread-self/net/unix")?;
    let list = String::from_utf8_lossy(&list);
    let at = list.lines().filter_map(|line| line.split_once('@'));
    let ours = at.filter(|(_, name)| name.starts_with(prefix));
    Ok(ours.map(|(_, name)| name.to_owned()).collect())
}

/// The user who listens there; none if nobody does.
fn owner(name: &str, asks: &mut usize) -> Option<u32> {
    let at = SockAddr::unix(format!("\0{name}")).ok()?;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
        socket.set_nonblocking(true).ok()?;
        match socket.connect(&at) {
            Ok(()) => return Some(socket_peercred(&socket).ok()?.uid.as_raw()),
            // One of our daemons empties its queue.
            Err(e) if e.kind() == ErrorKind::WouldBlock && *asks > 0 => {
                *asks -= 1;
                std::thread::sleep(ASK_EVERY);
            }
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(0x10c4_7e57);

    fn taken(result: Result<Lock, NotTaken>) -> String {
        match result {
            Err(NotTaken::Taken(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn r9_one_life_at_a_time() {
        // The longest name that a file may have.
        let long = "m".repeat(64);
        let first = Lock::take(CLUSTER, "test", &long).unwrap();
        let second = taken(Lock::take(CLUSTER, "test", &long));
        assert!(
            second.contains("runs already on this host; stop that first"),
            "{second}"
        );
        Lock::take(CLUSTER, "test", "b").unwrap();
        Lock::take(ClusterId(1), "test", &long).unwrap();
        drop(first);
        tokio::task::yield_now().await;
        Lock::take(CLUSTER, "test", &long).unwrap();
    }

    /// A witness that was started as a user of its own, and once more by root.
    #[tokio::test]
    async fn r9_another_users_life_is_said_for_as_long_as_it_is_there() {
        // Its own lock's name, too, begins so.
        let name = format!("onehold/{:016x}/user/", CLUSTER.0);
        let other = std::thread::spawn(move || {
            let uid = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(uid, uid, uid).ok()?; // of this thread
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
            socket
                .bind(&SockAddr::unix(format!("\0{name}")).ok()?)
                .ok()?;
            socket.listen(1).ok()?;
            Some(socket)
        });
        let Some(other) = other.join().unwrap() else {
            return eprintln!("not run: this user can't be another one");
        };
        let mut lock = Lock::take(CLUSTER, "test", "user").unwrap();
        let said = lock.pretended().unwrap();
        assert!(
            said.contains("user 65534") && said.contains("it votes a second time"),
            "{said}"
        );
        assert!(!lock.is_alone_again());
        drop(other);
        // A process that another test is just starting may have it for a moment more.
        let mut looks = (0..500).map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            lock.is_alone_again()
        });
        assert!(looks.any(|alone| alone));
        assert!(!lock.is_alone_again());
        assert_eq!(lock.pretended(), None);
    }

    /// A process whose name begins so and that does not answer is not one of our daemons.
    #[tokio::test]
    async fn r9_a_name_alone_is_no_life() {
        let name = format!("onehold/{:016x}/silent/0", CLUSTER.0);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket
            .bind(&SockAddr::unix(format!("\0{name}")).unwrap())
            .unwrap();
        Lock::take(CLUSTER, "test", "silent").unwrap();
        socket.listen(0).unwrap();
        taken(Lock::take(CLUSTER, "test", "silent")); // this user's, so it is believed
    }
}

//! What the examinations look at: the member as its file has it, this host's kernel and processes,
//! and the daemon's own word, if one runs.

use super::found::Found;
use super::members;
use crate::address::{self, Assigned, Link};
use crate::config_file::{
    FileError, Here, LocalCluster, WrittenCluster, WrittenFile, first_of, keys_of, secrets,
    without_secrets, written,
};
use crate::control::{self, CLIENT_TIMEOUT};
use crate::files;
use crate::kernel::KernelGroup;
use crate::netlink::Netlink;
use crate::status::{GroupStatus, Report, Status};
use onehold_core::auth::Keys;
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The longest file of the host that is read.
const MOST: u64 = 1 << 18;
/// Most files of a directory, and most processes, that are looked at.
const MOST_FILES: usize = 1 << 10;
const MOST_PROCESSES: usize = 1 << 16;

/// What `onehold doctor` was asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) config: PathBuf,
    pub(crate) member: Option<String>,
    pub(crate) socket: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) orders: PathBuf,
    /// What the daemon knows of the other members, too.
    pub(crate) peer: bool,
}

/// What the daemon says.
pub(super) enum Daemon {
    /// It serves this cluster.
    Serves(Box<Status>),
    /// It runs, and waits for something.
    Waits(String),
    /// None answers: why.
    Silent(String),
}

/// One member of one cluster, on this host.
pub(super) struct Patient {
    pub(super) local: LocalCluster,
    pub(super) written: WrittenCluster,
    /// The keys, or why they can't be read.
    pub(super) keys: Result<Keys, String>,
    /// What it may hold; nothing on a witness.
    pub(super) groups: Vec<KernelGroup>,
    pub(super) links: Vec<Link>,
    pub(super) present: Vec<Assigned>,
    pub(super) daemon: Daemon,
    /// The daemon's process, if it listens.
    pub(super) pid: Option<u32>,
    pub(super) processes: Processes,
    pub(super) state: PathBuf,
    pub(super) orders: PathBuf,
    pub(super) peer: bool,
}

/// The names of the programs that run in this network.
#[derive(Clone, Default)]
pub(super) struct Processes {
    here: Vec<String>,
    /// Those of which the kernel does not say in what network they run.
    hidden: Vec<String>,
    /// Other users' processes are not even listed.
    veiled: bool,
}

/// Whether one of some programs runs in this network.
pub(super) enum Runs {
    No,
    Here(&'static str),
    /// That can't be seen: why.
    Unknown(String),
}

impl Patient {
    /// This host as a member of each cluster of the file. What can't be examined for want of
    /// something is reported.
    pub(super) fn all(asked: &Asked, found: &mut Found) -> Result<Vec<Self>, FileError> {
        found.examining(members::EXAMINATION.finds);
        let WrittenFile { clusters, many, .. } = written(&asked.config).map_err(first_of)?;
        let here = Here::now("--as", asked.member.as_deref());
        let mut route = Netlink::open(libc::NETLINK_ROUTE).ok();
        let links = route.as_mut().map(address::links).and_then(Result::ok);
        let present = route.as_mut().map(address::list).and_then(Result::ok);
        let (Some(links), Some(present)) = (links, present) else {
            found.unknown(
                "file",
                "the kernel does not list its interfaces and addresses",
                "",
            );
            return Ok(Vec::new());
        };
        let (report, pid) = report(&asked.socket);
        let processes = Processes::now();
        let mut all = Vec::new();
        for one in clusters {
            let one = match one.map_err(first_of) {
                Ok(one) => one,
                Err(e) if e.may_pass => {
                    not_yet(&e, found);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let local = match without_secrets(one.clone(), &here, many) {
                Ok(local) => local,
                Err(e) if e.may_pass => {
                    not_yet(&e, found);
                    continue;
                }
                Err(e) => return Err(e),
            };
            let secrets = secrets(&one.source, &one.file).map_err(|all| {
                let all: Vec<&str> = all.iter().map(|e| e.what.as_str()).collect();
                all.join("; ")
            });
            let keys = secrets.and_then(|all| keys_of(&all).ok_or("there is none".to_owned()));
            let candidate = local.config.is_candidate(local.config.me());
            let groups = match candidate {
                true => KernelGroup::all_of(&local),
                false => Vec::new(),
            };
            all.push(Self {
                daemon: daemon(&report, local.name()),
                keys,
                groups,
                local,
                written: one,
                links: links.clone(),
                present: present.clone(),
                pid,
                processes: processes.clone(),
                state: asked.state.clone(),
                orders: asked.orders.clone(),
                peer: asked.peer,
            });
        }
        Ok(all)
    }

    pub(super) fn status(&self) -> Option<&Status> {
        match &self.daemon {
            Daemon::Serves(status) => Some(status),
            Daemon::Waits(_) | Daemon::Silent(_) => None,
        }
    }

    /// What the daemon says of a group.
    pub(super) fn group(&self, name: &str) -> Option<&GroupStatus> {
        self.status()?.groups.iter().find(|g| g.name == name)
    }

    /// Whether this member holds a group, and its gate is open.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.group(name)
            .is_some_and(|g| g.role == "holder" && !g.opening)
    }

    pub(super) fn is_candidate(&self) -> bool {
        !self.groups.is_empty()
    }

    pub(super) fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.is_called(name))
    }

    /// The interfaces of all groups that are there, each once, with the addresses that are
    /// announced on it.
    pub(super) fn announced(&self) -> Vec<(&Link, Vec<IpAddr>)> {
        let mut all: Vec<(&Link, Vec<IpAddr>)> = Vec::new();
        let groups = self.groups.iter().filter(|g| g.announced);
        for (address, name) in groups.flat_map(|g| &g.addresses) {
            let Some(link) = self.link(name) else {
                continue; // which is reported elsewhere
            };
            match all.iter_mut().find(|(l, _)| l.index == link.index) {
                Some((_, addresses)) => addresses.push(*address),
                None => all.push((link, vec![*address])),
            }
        }
        all
    }

    /// All floating addresses.
    pub(super) fn floating(&self) -> Vec<IpAddr> {
        let all = self.local.config.groups().iter().flat_map(|g| &g.addresses);
        all.map(|prefix| prefix.address).collect()
    }

    /// The addresses of every other member.
    pub(super) fn peers(&self) -> impl Iterator<Item = (String, IpAddr)> + '_ {
        self.local.config.peers().flat_map(|id| {
            let name = self.local.config.member_name(id).into_owned();
            let paths = self.local.paths(id).map(|path| path.remote.ip());
            let mut all: Vec<IpAddr> = paths.collect();
            all.dedup();
            all.into_iter().map(move |ip| (name.clone(), ip))
        })
    }

    /// The host's own link-local address on an interface.
    pub(super) fn link_local(&self, link: &Link) -> Option<IpAddr> {
        let own = |a: &&Assigned| {
            a.index == link.index && a.address.is_ipv6() && address::is_link_local(a.address)
        };
        let floating = self.floating();
        let mut all = self.present.iter().filter(own).filter(|a| a.is_usable());
        all.find(|a| !floating.contains(&a.address))
            .map(|a| a.address)
    }
}

fn not_yet(e: &FileError, found: &mut Found) {
    found.problem(
        "file",
        e.to_string(),
        "the daemon waits until that is over, and nothing else could be examined",
        "onehold check",
    );
}

/// The daemon's report, or why there is none; and its process.
fn report(socket: &Path) -> (Result<Report, String>, Option<u32>) {
    let report = control::report(socket, None, CLIENT_TIMEOUT);
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|s| {
        s.connect(&SockAddr::unix(socket)?)?;
        Ok(s)
    });
    let peer = connected.ok().and_then(|s| socket_peercred(&s).ok());
    let pid = peer.and_then(|cred| u32::try_from(cred.pid.as_raw_nonzero().get()).ok());
    (report, pid)
}

fn daemon(report: &Result<Report, String>, cluster: &str) -> Daemon {
    let report = match report {
        Ok(report) => report,
        Err(why) => return Daemon::Silent(why.clone()),
    };
    let is_meant = |name: &Option<String>| name.as_deref().is_none_or(|c| c == cluster);
    if let Some(status) = report.clusters.iter().find(|c| c.cluster == cluster) {
        return Daemon::Serves(Box::new(status.clone()));
    }
    match report.waiting.iter().find(|w| is_meant(&w.cluster)) {
        Some(waiting) => Daemon::Waits(waiting.why.clone()),
        None => Daemon::Silent(format!("the daemon here does not serve `{cluster}`")),
    }
}

impl Processes {
    /// Those in the network namespace of this process.
    fn now() -> Self {
        let mut this = Self {
            veiled: !Path::new("/proc/1").exists(),
            ..Self::default()
        };
        let mine = fs::read_link("/proc/self/ns/net").ok();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in all.take(MOST_PROCESSES) {
            let path = entry.path();
            let Some(name) = text(&path.join("comm")) else {
                continue; // it is none, or has just ended
            };
            let name = name.trim().to_owned();
            match fs::read_link(path.join("ns/net")) {
                Ok(theirs) if Some(&theirs) == mine.as_ref() => this.here.push(name),
                Err(e) if e.kind() == ErrorKind::PermissionDenied => this.hidden.push(name),
                Ok(_) | Err(_) => {}
            }
        }
        this
    }

    /// The first of these that runs.
    pub(super) fn named(&self, names: &[&'static str]) -> Runs {
        let short = |name: &str| name.get(..15).unwrap_or(name).to_owned(); // as the kernel keeps it
        let among = |all: &[String]| {
            names
                .iter()
                .find(|name| all.contains(&short(name)))
                .copied()
        };
        match (among(&self.here), among(&self.hidden)) {
            (Some(name), _) => Runs::Here(name),
            (None, Some(name)) => Runs::Unknown(format!(
                "whether `{name}` runs in this network can't be seen"
            )),
            (None, None) if self.veiled => {
                Runs::Unknown("other users' processes can't be seen".to_owned())
            }
            (None, None) => Runs::No,
        }
    }
}

/// A file of the host, as text; nothing if it is not there or can't be read.
pub(super) fn text(path: &Path) -> Option<String> {
    let bytes = files::read(path, MOST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files of a directory whose names end so, in their order, with their texts.
pub(super) fn texts(directory: &str, suffix: &str) -> Vec<(PathBuf, String)> {
    let mut paths = files::with_suffix(Path::new(directory), suffix, MOST_FILES);
    paths.sort();
    let read = |path: PathBuf| text(&path).map(|text| (path, text));
    paths.into_iter().filter_map(read).collect()
}

/// A value below `/proc/sys/net`.
pub(super) fn sysctl(key: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new("/proc/sys/net").join(key)).ok()?;
    Some(text.trim().to_owned())
}

/// The same, as a number.
pub(super) fn number(key: &str) -> Option<u32> {
    sysctl(key)?.parse().ok()
}

//! A cluster's file from the seat of one member: who it is, whom it talks to and with what secret.

use super::addresses::{Endpoints, fit, leave_loopback, loopbacks, out_of_reach, resolve, toward};
use super::{ConfigFile, FileError, GuardChoice, LogSection, Profile, Source, WitnessFile};
use crate::secret::Secret;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::{Key, Keys};
use onehold_core::config::{Config, Spec, SpecError};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// All clusters that one process serves: one, or, as a witness, many.
#[derive(Clone, Debug)]
pub struct Seats {
    /// One for each cluster, by name.
    pub seats: Vec<Seat>,
    /// How to log.
    pub log: LogSection,
}

/// One cluster from the seat of one member.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The file as written, to compare a reload with.
    pub file: ConfigFile,
    /// What it says to the core.
    pub spec: Spec,
    /// What the core proved of that.
    pub config: Config,
    /// Every member's addresses by id, path by path. This member's own are to be bound.
    pub endpoints: Vec<Vec<SocketAddr>>,
    /// This member's interface for each group by id; `None` on a witness.
    pub interfaces: Vec<Option<String>>,
    /// It is one of several that a witness serves.
    pub many: bool,
    /// What was made of the file that its writer may not have meant.
    pub remarks: Vec<String>,
    secrets: Vec<Secret>,
}

/// One way from this member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// This member's address.
    pub local: SocketAddr,
    /// The other member's.
    pub remote: SocketAddr,
}

impl Seat {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.cluster.name
    }

    /// How the kernel is to enforce the end of a lease.
    #[must_use]
    pub const fn guard(&self) -> GuardChoice {
        self.file.cluster.guard
    }

    /// Whether to run with realtime priority and locked memory, if permitted.
    #[must_use]
    pub fn realtime(&self) -> bool {
        self.file.timing.profile == Profile::Fast
    }

    /// The key to seal with and those to accept.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let mut keys = self.secrets.iter().map(|s| Key::new(s.bytes()));
        let seal = keys.next().expect("load() leaves no seat without a secret");
        Keys::new(seal, keys.collect())
    }

    /// This member's own addresses, path by path.
    #[must_use]
    pub fn local(&self) -> &[SocketAddr] {
        self.endpoint(self.config.me())
    }

    fn endpoint(&self, member: MemberId) -> &[SocketAddr] {
        self.endpoints
            .get(usize::from(member.0))
            .map_or(&[], Vec::as_slice)
    }

    /// The ways to `peer`. Where one side has fewer addresses than the other, its last one serves
    /// the rest: a witness with one address is reached over both networks of a candidate.
    pub fn paths(&self, peer: MemberId) -> impl Iterator<Item = Path> + '_ {
        paths(self.local(), self.endpoint(peer))
    }

    /// The interface of a group here.
    #[must_use]
    pub fn interface(&self, group: GroupId) -> Option<&str> {
        self.interfaces.get(usize::from(group.0))?.as_deref()
    }
}

pub(super) fn paths<'a>(
    local: &'a [SocketAddr],
    remote: &'a [SocketAddr],
) -> impl Iterator<Item = Path> + 'a {
    let at = |all: &[SocketAddr], n: usize| all.get(n).or(all.last()).copied();
    (0..local.len().max(remote.len())).filter_map(move |n| {
        Some(Path {
            local: at(local, n)?,
            remote: at(remote, n)?,
        })
    })
}

/// Where this process runs: what it may recognise itself by.
pub(super) struct Here<'a> {
    /// `--as NAME`
    pub(super) name: Option<&'a str>,
    /// The host's name.
    pub(super) host: String,
    /// The address from which this host reaches another one: that one itself, if it is its own.
    pub(super) toward: &'a dyn Fn(IpAddr) -> Option<IpAddr>,
}

/// What a file comes to on this host, now.
#[derive(Clone, Debug)]
pub struct Found {
    /// The clusters that this member can serve.
    pub seats: Seats,
    /// The others.
    pub missing: Vec<Missing>,
}

/// A cluster that can't be served yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name; none if its file can't be read.
    pub cluster: Option<String>,
    /// Why.
    pub why: FileError,
}

/// What the text alone decides: the log's section, if any cluster in it can be.
///
/// # Errors
/// A [`FileError`] with the line, the key and the remedy, if none of the clusters can be, whatever this
/// host is like; or that the text can't be read yet.
pub fn read(path: &std::path::Path) -> Result<LogSection, FileError> {
    let Written { clusters, log, .. } = written(path)?;
    let mut first = None;
    for one in clusters {
        match one.and_then(|one| decided(&one)) {
            Ok(()) => return Ok(log),
            Err(e) => first = first.or(Some(e)),
        }
    }
    first.map_or(Ok(log), Err)
}

/// What the text of one cluster decides, on every host and for good.
pub(crate) fn decided(cluster: &WrittenCluster) -> Result<(), FileError> {
    let WrittenCluster { source, file } = cluster;
    prove_any(source, file)?;
    file.secret_files(source)?;
    if file.has_names() {
        return Ok(());
    }
    let all = resolve(source, file)?;
    fit(source, file, &all)?;
    match loopbacks(&all).first() {
        Some((name, n, ip)) => Err(out_of_reach(source, file, name, *n, *ip)),
        None => Ok(()),
    }
}

/// Reads a cluster's file, or a witness's file with many clusters, and finds this member in it: by
/// `name`, else by the host's name, else by a local address.
///
/// # Errors
/// A [`FileError`] with the line, the key and the remedy, if the file as a whole can't be read. What is
/// wrong with a cluster is in [`Found::missing`].
pub fn find(path: &std::path::Path, name: Option<&str>) -> Result<Found, FileError> {
    let here = Here {
        name,
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        toward: &toward,
    };
    find_here(path, &here)
}

/// The same, if every cluster can be served.
///
/// # Errors
/// The first thing that is wrong.
pub fn load(path: &std::path::Path, name: Option<&str>) -> Result<Seats, FileError> {
    all_of(find(path, name)?)
}

pub(super) fn all_of(found: Found) -> Result<Seats, FileError> {
    match found.missing.into_iter().next() {
        None => Ok(found.seats),
        Some(missing) => Err(missing.why),
    }
}

pub(super) fn find_here(path: &std::path::Path, here: &Here<'_>) -> Result<Found, FileError> {
    let Written {
        clusters,
        log,
        many,
    } = written(path)?;
    let mut seats: BTreeMap<String, Seat> = BTreeMap::new();
    let mut missing = Vec::new();
    for one in clusters {
        let name = one.as_ref().ok().map(|c| c.file.cluster.name.clone());
        let taken = one.and_then(|c| {
            if seats.contains_key(&c.file.cluster.name) {
                let what = format!("`{}` is served already", c.file.cluster.name);
                return Err(c.source.error("cluster.name", what));
            }
            take_seat(&c.source, c.file, here, many)
        });
        match taken {
            Ok(seat) => {
                seats.insert(seat.name().to_owned(), seat);
            }
            Err(why) => missing.push(Missing { cluster: name, why }),
        }
    }
    Ok(Found {
        seats: Seats {
            seats: seats.into_values().collect(),
            log,
        },
        missing,
    })
}

/// A file, or a witness's file and those it leads to, as written.
pub(crate) struct Written {
    /// At least one; or what is wrong with its file.
    pub(crate) clusters: Vec<Result<WrittenCluster, FileError>>,
    log: LogSection,
    /// It is a witness's.
    many: bool,
}

/// One cluster as written.
pub(crate) struct WrittenCluster {
    /// The text, to point into.
    pub(crate) source: Source,
    /// What it says.
    pub(crate) file: ConfigFile,
}

/// Reads a file, and those it leads to.
pub(crate) fn written(path: &std::path::Path) -> Result<Written, FileError> {
    let source = Source::read(path)?;
    if !source.has("clusters") && !source.has("directory") {
        let file = ConfigFile::parse(&source)?;
        let log = file.log;
        return Ok(Written {
            clusters: vec![Ok(WrittenCluster { source, file })],
            log,
            many: false,
        });
    }
    let witness: WitnessFile = source.parse()?;
    let log = witness.log;
    let mut clusters: Vec<_> = (witness.clusters.into_iter())
        .map(|(name, cluster)| {
            Ok(WrittenCluster {
                source: source.within(&name),
                file: cluster.into_file(&name, log),
            })
        })
        .collect();
    if let Some(directory) = &witness.directory {
        let directory = source.beside(directory);
        let fail = |e| {
            let what = format!("{}: {e}", directory.display());
            source.error("directory", what).may_pass()
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(fail)? {
            files.push(entry.map_err(fail)?.path());
        }
        files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
        files.sort();
        clusters.extend(files.iter().map(|file| {
            let source = Source::read(file)?;
            let file = ConfigFile::parse(&source)?;
            Ok(WrittenCluster { source, file })
        }));
    }
    if clusters.is_empty() {
        let what = "none; add a [clusters.NAME] table, or cluster files (*.toml) to `directory`";
        let e = source.error("clusters", what);
        return Err(if witness.directory.is_some() {
            e.may_pass() // it may not be mounted yet
        } else {
            e
        });
    }
    Ok(Written {
        clusters,
        log,
        many: true,
    })
}

/// Any seat shows what is wrong with the file as a whole.
fn prove_any(source: &Source, file: &ConfigFile) -> Result<Spec, FileError> {
    let spec = file.spec(source)?;
    if let Some(any) = file.members.keys().next() {
        prove(source, &spec, any)?;
    }
    Ok(spec)
}

/// The core's proof of a file, from the seat of `me`, with the line of what is wrong.
pub(crate) fn prove(source: &Source, spec: &Spec, me: &str) -> Result<Config, FileError> {
    spec.prove(me)
        .map_err(|SpecError { key, problem }| source.error(&key, problem))
}

fn take_seat(
    source: &Source,
    file: ConfigFile,
    here: &Here<'_>,
    many: bool,
) -> Result<Seat, FileError> {
    let spec = prove_any(source, &file)?; // before looking for ours
    let mut endpoints = resolve(source, &file)?;
    let me = find_me(source, &file, &endpoints, here)?;
    let config = prove(source, &spec, &me)?;
    let candidate = config.is_candidate(config.me());
    if many && candidate {
        return Err(source.error(
            &format!("members.{me}"),
            "this member is a candidate; a process that serves many clusters only witnesses: \
             run the cluster's own file by itself on this host",
        ));
    }
    let mut interfaces = Vec::new();
    for (group, g) in &file.groups {
        // A witness has no business with it.
        let interface = g.interface_of(&me).filter(|_| candidate).map(str::to_owned);
        if interface.is_none() && candidate {
            return Err(source.error(
                &format!("groups.{group}.interface"),
                format!(
                    "missing for `{me}`; name the interface that the addresses belong to, such as \
                     \"eth0\""
                ),
            ));
        }
        interfaces.push(interface);
    }
    let remarks = leave_loopback(source, &file, &me, &mut endpoints, here)?;
    fit(source, &file, &endpoints)?;
    let mut secrets = Vec::new();
    for (n, path) in file.secret_files(source)?.iter().enumerate() {
        let key = match file.cluster.secret_file {
            Some(_) => "cluster.secret_file",
            None => "cluster.secret_files",
        };
        let fail = |what| source.error(key, what).may_pass(); // it may not be mounted yet
        let secret = Secret::read(path).map_err(fail)?;
        if secrets.contains(&secret) {
            return Err(fail(format!(
                "the secret of file {} is listed already",
                n + 1
            )));
        }
        secrets.push(secret);
    }
    Ok(Seat {
        // Both maps are in the order of the names, as ids are.
        endpoints: endpoints.into_values().collect(),
        interfaces,
        many,
        remarks,
        secrets,
        spec,
        config,
        file,
    })
}

/// Which of the members this is.
fn find_me(
    source: &Source,
    file: &ConfigFile,
    endpoints: &Endpoints<'_>,
    here: &Here<'_>,
) -> Result<String, FileError> {
    let list = || {
        let all = endpoints.iter().map(|(name, paths)| {
            let paths: Vec<String> = paths.iter().map(|a| a.ip().to_string()).collect();
            format!("{name} ({})", paths.join(", "))
        });
        all.collect::<Vec<_>>().join(", ")
    };
    let named = |name: &str| {
        file.members
            .keys()
            .find(|m| m.eq_ignore_ascii_case(name))
            .cloned()
    };
    if let Some(name) = here.name {
        return named(name).ok_or_else(|| {
            source.error(
                "members",
                format!(
                    "there is no `{name}` (from --as); the members are {}",
                    list()
                ),
            )
        });
    }
    let label = here.host.split('.').next().unwrap_or_default();
    if let Some(me) = named(&here.host).or_else(|| named(label)) {
        return Ok(me);
    }
    // A loopback address is every host's.
    let is_ours = |ip: IpAddr| !ip.is_loopback() && (here.toward)(ip) == Some(ip);
    let mut local = (endpoints.iter()).filter(|(_, paths)| paths.iter().any(|a| is_ours(a.ip())));
    match (local.next(), local.next()) {
        (Some((me, _)), None) => Ok((*me).to_owned()),
        (None, _) => Err(source.error(
            "members",
            format!(
                "none of them is this host: it is called `{}` and has none of their addresses; say which \
                 one it is with --as NAME. The members are {}",
                here.host,
                list()
            ),
        )
        .may_pass()),
        (Some((a, _)), Some((b, _))) => Err(source.error(
            "members",
            format!("both `{a}` and `{b}` have addresses of this host; say which one it is with --as NAME"),
        )
        .may_pass()),
    }
}

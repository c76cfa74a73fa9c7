//! A cluster's file from the seat of one member: who it is, whom it talks to and with what secret.

use super::{ConfigFile, FileError, GuardChoice, LogSection, Profile, Source, WitnessFile};
use crate::secret::Secret;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::{Key, Keys};
use onehold_core::config::{Config, Spec, SpecError};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};

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

fn paths<'a>(local: &'a [SocketAddr], remote: &'a [SocketAddr]) -> impl Iterator<Item = Path> + 'a {
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
    /// Whether an address is one of this host's.
    pub(super) is_local: &'a dyn Fn(IpAddr) -> bool,
}

/// Reads a cluster's file, or a witness's file with many clusters, and finds this member in it: by
/// `name`, else by the host's name, else by a local address.
///
/// # Errors
/// A [`FileError`] with the line, the key and the remedy.
pub fn load(path: &std::path::Path, name: Option<&str>) -> Result<Seats, FileError> {
    let here = Here {
        name,
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        is_local: &is_local,
    };
    load_here(path, &here)
}

pub(super) fn load_here(path: &std::path::Path, here: &Here<'_>) -> Result<Seats, FileError> {
    let Written {
        clusters,
        log,
        many,
    } = written(path)?;
    let mut seats: BTreeMap<String, Seat> = BTreeMap::new();
    for WrittenCluster { source, file } in clusters {
        let seat = take_seat(&source, file, here)?;
        let me = seat.config.me();
        if let Some(m) = seat.config.member(me).filter(|m| many && !m.witness) {
            return Err(source.error(
                &format!("members.{}", m.name),
                "this member is a candidate; a process that serves many clusters only witnesses: \
                 run the cluster's own file by itself on this host",
            ));
        }
        let name = seat.name().to_owned();
        if seats.contains_key(&name) {
            return Err(source.error("cluster.name", format!("`{name}` is served already")));
        }
        seats.insert(name, seat);
    }
    Ok(Seats {
        seats: seats.into_values().collect(),
        log,
    })
}

/// A file, or a witness's file and those it leads to, as written.
pub(crate) struct Written {
    /// At least one.
    pub(crate) clusters: Vec<WrittenCluster>,
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
            clusters: vec![WrittenCluster { source, file }],
            log,
            many: false,
        });
    }
    let witness: WitnessFile = source.parse()?;
    let log = witness.log;
    let mut clusters: Vec<WrittenCluster> = (witness.clusters.into_iter())
        .map(|(name, cluster)| WrittenCluster {
            source: source.within(&name),
            file: cluster.into_file(&name, log),
        })
        .collect();
    if let Some(directory) = &witness.directory {
        let directory = source.beside(directory);
        let fail = |e| source.error("directory", format!("{}: {e}", directory.display()));
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(fail)? {
            files.push(entry.map_err(fail)?.path());
        }
        files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
        files.sort();
        for file in files {
            let source = Source::read(&file)?;
            let file = ConfigFile::parse(&source)?;
            clusters.push(WrittenCluster { source, file });
        }
    }
    if clusters.is_empty() {
        let what = "none; add a [clusters.NAME] table, or cluster files (*.toml) to `directory`";
        return Err(source.error("clusters", what));
    }
    Ok(Written {
        clusters,
        log,
        many: true,
    })
}

/// The core's proof of a file, from the seat of `me`, with the line of what is wrong.
pub(crate) fn prove(source: &Source, spec: &Spec, me: &str) -> Result<Config, FileError> {
    spec.prove(me).map_err(|e| match &e {
        SpecError::Key { key, problem } => source.error(key, problem),
        // Timing errors start with `timing.KEY = VALUE`.
        SpecError::Timing(t) => {
            let text = t.to_string();
            let key = text.split(' ').next().unwrap_or("timing").to_owned();
            let what = text
                .strip_prefix(&key)
                .unwrap_or(&text)
                .trim_start_matches(" = ");
            source.error(&key, what)
        }
    })
}

fn take_seat(source: &Source, file: ConfigFile, here: &Here<'_>) -> Result<Seat, FileError> {
    let spec = file.spec(source)?;
    // Any seat shows what is wrong with the file as a whole; do that before looking for ours.
    if let Some(any) = file.members.keys().next() {
        prove(source, &spec, any)?;
    }
    let endpoints = resolve(source, &file)?;
    let me = find_me(source, &file, &endpoints, here)?;
    let config = prove(source, &spec, &me)?;
    let candidate = config.is_candidate(config.me());
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
    let mut secrets = Vec::new();
    for (n, path) in file.secret_files(source)?.iter().enumerate() {
        let key = match file.cluster.secret_file {
            Some(_) => "cluster.secret_file",
            None => "cluster.secret_files",
        };
        let secret = Secret::read(path).map_err(|what| source.error(key, what))?;
        if secrets.contains(&secret) {
            let what = format!("the secret of file {} is listed already", n + 1);
            return Err(source.error(key, what));
        }
        secrets.push(secret);
    }
    Ok(Seat {
        // Both maps are in the order of the names, as ids are.
        endpoints: endpoints.into_values().collect(),
        interfaces,
        secrets,
        spec,
        config,
        file,
    })
}

/// Every member's addresses, resolved, and what all of them must fulfil.
pub(crate) fn resolve<'f>(
    source: &Source,
    file: &'f ConfigFile,
) -> Result<BTreeMap<&'f str, Vec<SocketAddr>>, FileError> {
    let mut all: BTreeMap<&str, Vec<SocketAddr>> = BTreeMap::new();
    for (name, member) in &file.members {
        let key = format!("members.{name}.addresses");
        let mut paths = Vec::new();
        for text in &member.addresses {
            let address =
                resolve_one(text, file.cluster.port).map_err(|e| source.error(&key, e))?;
            if all.values().flatten().chain(&paths).any(|a| *a == address) {
                return Err(source.error(
                    &key,
                    format!("`{text}` is {address}, which is listed already"),
                ));
            }
            for (group, g) in &file.groups {
                let floats = |a: &String| {
                    let bare = a.split('/').next().and_then(|a| a.parse::<IpAddr>().ok());
                    bare.is_some_and(|a| a.to_canonical() == address.ip().to_canonical())
                };
                if g.addresses.iter().any(floats) {
                    return Err(source.error(
                        &key,
                        format!("`{text}` floats in groups.{group}; a member needs an address of its own"),
                    ));
                }
            }
            paths.push(address);
        }
        if paths.is_empty() {
            return Err(source.error(&key, "at least one address is needed"));
        }
        all.insert(name, paths);
    }
    // A host's own name is often a loopback address in its own hosts file (Debian: 127.0.1.1).
    if all.values().flatten().any(|a| !a.ip().is_loopback()) {
        for (name, paths) in &all {
            if let Some((n, a)) = paths.iter().enumerate().find(|(_, a)| a.ip().is_loopback()) {
                return Err(source.error(
                    &format!("members.{name}.addresses"),
                    format!(
                        "`{}` is {} here, where no other member can reach it; give the name its real \
                         address in /etc/hosts, or write the address",
                        file.members[*name].addresses[n],
                        a.ip()
                    ),
                ));
            }
        }
    }
    let candidates: Vec<&str> = (file.members.iter())
        .filter(|(_, m)| !m.witness)
        .map(|(n, _)| n.as_str())
        .collect();
    if let [a, b] = candidates[..]
        && all[a].len() != all[b].len()
    {
        return Err(source.error(
            &format!("members.{b}.addresses"),
            format!(
                "{} here and {} of `{a}`: address n of one candidate talks to address n of the \
                 other, so both need as many",
                all[b].len(),
                all[a].len()
            ),
        ));
    }
    for (a, of_a) in &all {
        for (b, of_b) in
            all.range::<str, _>((std::ops::Bound::Excluded(*a), std::ops::Bound::Unbounded))
        {
            if let Some(p) = paths(of_a, of_b).find(|p| p.local.is_ipv4() != p.remote.is_ipv4()) {
                return Err(source.error(
                    &format!("members.{b}.addresses"),
                    format!(
                        "{} and {} of `{a}` are of different families; a path is IPv4 or IPv6 at both ends",
                        p.remote.ip(),
                        p.local.ip()
                    ),
                ));
            }
        }
    }
    Ok(all)
}

/// `10.0.0.10`, `10.0.0.10:7000`, `fd00::1`, `[fd00::1]:7000`, `lb0` or `lb0:7000`.
fn resolve_one(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        return Ok(SocketAddr::new(ip, default_port));
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, default_port),
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => {
                return Err(format!(
                    "`{text}` has no proper port; write \"{host}:{default_port}\""
                ));
            }
        },
    };
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|e| {
            format!("`{host}` can't be resolved ({e}); add it to /etc/hosts, or write its address")
        })?
        .collect();
    // A name with several addresses means the same one on every host.
    found
        .iter()
        .min_by_key(|a| (a.ip().is_loopback(), a.is_ipv6()))
        .copied()
        .ok_or_else(|| format!("`{host}` has no address; add one to /etc/hosts, or write it here"))
}

/// Which of the members this is.
fn find_me(
    source: &Source,
    file: &ConfigFile,
    endpoints: &BTreeMap<&str, Vec<SocketAddr>>,
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
    let mut local =
        (endpoints.iter()).filter(|(_, paths)| paths.iter().any(|a| (here.is_local)(a.ip())));
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
        )),
        (Some((a, _)), Some((b, _))) => Err(source.error(
            "members",
            format!("both `{a}` and `{b}` have addresses of this host; say which one it is with --as NAME"),
        )),
    }
}

/// Whether an address is one of this host's: the kernel reaches such a one from itself. (A bind
/// would not tell: `ip_nonlocal_bind` lets it succeed for any address.) Nothing is sent.
fn is_local(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    from().is_ok_and(|from| from.ip() == address)
}

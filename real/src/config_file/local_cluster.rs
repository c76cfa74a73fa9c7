//! A cluster's file as one member reads it: which member it is, whom it talks to and with what
//! secret.

use super::addresses::{Endpoints, company, fit, known, leave_loopback, resolve, toward};
use super::decided::{decided, for_member};
use super::stamp::Stamp;
use super::{
    Announce, ConfigFile, Evidence, FileError, GroupSection, GuardChoice, LogSection,
    MemberSection, MetricsSection, Profile, Source, WitnessFile,
};
use crate::route::Route;
use crate::secret::Secret;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::{Key, Keys};
use onehold_core::config::{Arbitration, Config, Member, Prefix, Spec, SpecError};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// All clusters that one process serves: one, or, as a witness, many.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// One for each cluster, by name.
    pub clusters: Vec<LocalCluster>,
    /// How to log.
    pub log: LogSection,
    /// What monitoring may read.
    pub metrics: MetricsSection,
}

/// One cluster as one of its members sees it.
#[derive(Clone, Debug)]
pub struct LocalCluster {
    /// The file as written, to compare a reload with.
    pub file: ConfigFile,
    /// The core's part of it.
    pub spec: Spec,
    /// The proved specification.
    pub config: Config,
    /// Every member's addresses by id, path by path. This member binds its own.
    pub endpoints: Vec<Vec<SocketAddr>>,
    /// every member's addresses by name, by the configuration that is changed to, or from, if
    /// it has others: both are used meanwhile.
    pub also: BTreeMap<String, Vec<SocketAddr>>,
    /// This member's interface for each address of each group by id; none on a witness.
    pub interfaces: Vec<Vec<String>>,
    /// It is one of several that a witness serves.
    pub many: bool,
    /// The file that has it.
    pub source: PathBuf,
    /// As a table of several in that file.
    pub in_table: bool,
    /// How the file was read where its writer may have meant something else.
    pub remarks: Vec<String>,
    /// what it is on the way to, if it is.
    pub next: Option<Box<LocalCluster>>,
    /// The text of that file, as it is in force.
    pub(super) text: Arc<str>,
    pub(super) secrets: Vec<Secret>,
}

impl LocalCluster {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.cluster.name
    }

    /// How the kernel should enforce the end of a lease.
    #[must_use]
    pub const fn guard(&self) -> GuardChoice {
        self.file.cluster.guard
    }

    /// By which interfaces adverts travel as Ethernet frames, too: under `survivor` by all of the
    /// groups', each once; by none if the file does not want that.
    #[must_use]
    pub fn frame_interfaces(&self) -> Vec<String> {
        let wanted = self.file.cluster.frames.unwrap_or(true);
        let mut all: Vec<String> = Vec::new();
        let survivor = self.config.arbitration() == Arbitration::Survivor;
        for interface in self
            .interfaces
            .iter()
            .flatten()
            .filter(|_| wanted && survivor)
        {
            if !all.contains(interface) {
                all.push(interface.clone());
            }
        }
        all
    }

    /// Whether the network may be asked who holds: only of two alone one may hold unseen, by
    /// itself or by the operator's word.
    #[must_use]
    pub fn probes(&self) -> bool {
        self.config.members().len() == 2 && self.file.cluster.evidence == Evidence::Echo
    }

    /// Whether to run with realtime priority and locked memory, if permitted.
    #[must_use]
    pub fn realtime(&self) -> bool {
        self.file.timing.profile == Profile::Fast
    }

    /// The key to seal with and those to accept.
    #[must_use]
    pub fn keys(&self) -> Keys {
        keys_of(&self.secrets).expect("load() leaves no cluster without a secret")
    }

    /// This member's own addresses, path by path.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.endpoint(self.config.me())
    }

    /// Every member's addresses, by its name.
    pub(super) fn endpoints_by_name(&self) -> BTreeMap<&str, &[SocketAddr]> {
        let names = self.config.members().iter().map(|m| m.name.as_str());
        names
            .zip(self.endpoints.iter().map(Vec::as_slice))
            .collect()
    }

    pub(super) fn endpoint(&self, member: MemberId) -> &[SocketAddr] {
        self.endpoints
            .get(usize::from(member.0))
            .map_or(&[], Vec::as_slice)
    }

    /// Which other members have an address of this host, in words; nothing if none has.
    #[must_use]
    pub fn company(&self) -> Option<String> {
        let others = self.config.peers().flat_map(|id| {
            let paths = self.endpoint(id).iter();
            paths.map(move |address| (id, address.ip()))
        });
        company(
            others.map(|(id, ip)| (self.config.member_name(id), ip)),
            &toward,
        )
    }

    /// the same with the groups of `config`, which has some of this one's.
    #[must_use]
    pub fn with(&self, config: &Config) -> Self {
        let place = |name: &str| self.config.groups().iter().position(|g| g.name == name);
        let interfaces = config.groups().iter().map(|group| {
            let Some(place) = place(&group.name) else {
                return Vec::new();
            };
            let own = self.config.groups()[place].addresses.iter();
            let own = own.zip(&self.interfaces[place]);
            let of = |p: &Prefix| own.clone().find(|(o, _)| *o == p).map(|(_, i)| i.clone());
            group.addresses.iter().filter_map(of).collect()
        });
        let mut file = self.file.clone();
        file.groups
            .retain(|name, _| config.groups().iter().any(|g| g.name == *name));
        Self {
            interfaces: interfaces.collect(),
            config: config.clone(),
            file,
            next: None,
            also: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// Whether the neighbours are told where a group's addresses are.
    #[must_use]
    pub fn announced(&self, group: GroupId) -> bool {
        let section = self.file.groups.values().nth(usize::from(group.0));
        section.is_none_or(|g| g.announce == Announce::Neighbours)
    }

    /// The routes of a group here.
    #[must_use]
    pub fn routes(&self, group: GroupId) -> Vec<Route> {
        let me = self.config.me();
        let name = self.config.member_name(me);
        let section = self.file.groups.values().nth(usize::from(group.0));
        let section = section.filter(|_| self.config.is_candidate(me));
        section.map_or_else(Vec::new, |g| g.routes_of(&name))
    }

    /// The interface of each address of a group here.
    #[must_use]
    pub fn interfaces(&self, group: GroupId) -> &[String] {
        self.interfaces
            .get(usize::from(group.0))
            .map_or(&[], Vec::as_slice)
    }
}

/// The key to seal with and those to accept.
pub(crate) fn keys_of(secrets: &[Secret]) -> Option<Keys> {
    let mut keys = secrets.iter().map(|s| Key::new(s.bytes()));
    Some(Keys::new(keys.next()?, keys.collect()))
}

/// What this process may recognise itself by.
pub(crate) struct Here<'a> {
    /// Which member it is, if the command line says so.
    pub(super) name: Option<&'a str>,
    /// The option of the command line that says so.
    pub(super) option: &'static str,
    /// The host's name.
    pub(super) host: String,
    /// The address from which this host reaches another address: the same one, if this host has it.
    pub(super) toward: &'a dyn Fn(IpAddr) -> Option<IpAddr>,
}

impl<'a> Here<'a> {
    /// This host, which is `name` if `option` was given.
    pub(crate) fn now(option: &'static str, name: Option<&'a str>) -> Self {
        let host = rustix::system::uname();
        Self {
            name,
            option,
            host: host.nodename().to_string_lossy().into_owned(),
            toward: &toward,
        }
    }
}

/// What a file means on this host, now.
#[derive(Clone, Debug)]
pub struct Found {
    /// The clusters that this member can serve.
    pub loaded: Loaded,
    /// The others.
    pub missing: Vec<Missing>,
    /// It is the file of a witness of many clusters.
    pub many: bool,
}

/// A cluster that can't be served yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its name; none if its file can't be read.
    pub cluster: Option<String>,
    /// Why.
    pub why: FileError,
    /// The members by its text, if nothing is wrong with that.
    pub members: BTreeMap<String, MemberSection>,
}

/// Reads the log's section, if the text allows any of its clusters to be served.
///
/// # Errors
/// A [`FileError`] with the line, the key and the remedy, if the text allows none, whatever this
/// host is like; or if it can't be read yet.
pub fn read(path: &std::path::Path) -> Result<LogSection, FileError> {
    let WrittenFile { clusters, log, .. } = written(path).map_err(first_of)?;
    let mut wrong = Vec::new();
    for one in clusters {
        match one.and_then(|one| decided(&one)) {
            Ok(_) => return Ok(log),
            Err(errors) => wrong.extend(errors),
        }
    }
    Err(first_of(wrong))
}

/// The first of at least one error, with the number of the others.
pub(crate) fn first_of(wrong: Vec<FileError>) -> FileError {
    let more = wrong.len().saturating_sub(1);
    let mut wrong = wrong.into_iter();
    let mut first = wrong.next().expect("at least one error");
    if more > 0 {
        first.what += &format!("\n(and {more} more in this file; `onehold check` lists all)");
    }
    first
}

/// Reads a cluster's file, or a witness's file with many clusters, and finds this member in it: by
/// `name`, else by the host's name, else by a local address.
///
/// # Errors
/// A [`FileError`] with the line, the key and the remedy, if the file as a whole can't be read.
/// What is wrong with a single cluster is in [`Found::missing`].
pub fn find(path: &std::path::Path, name: Option<&str>) -> Result<Found, FileError> {
    find_here(path, &Here::now("--as", name))
}

/// The same, if every cluster can be served.
///
/// # Errors
/// The first thing that is wrong.
pub fn load(path: &std::path::Path, name: Option<&str>) -> Result<Loaded, FileError> {
    all_of(find(path, name)?)
}

pub(super) fn all_of(found: Found) -> Result<Loaded, FileError> {
    match found.missing.into_iter().next() {
        None => Ok(found.loaded),
        Some(missing) => Err(missing.why),
    }
}

pub(super) fn find_here(path: &std::path::Path, here: &Here<'_>) -> Result<Found, FileError> {
    let WrittenFile {
        clusters,
        log,
        metrics,
        many,
    } = written(path).map_err(first_of)?;
    let mut served: BTreeMap<String, LocalCluster> = BTreeMap::new();
    let mut missing = Vec::new();
    for one in clusters {
        let name = one.as_ref().ok().map(|c| c.file.cluster.name.clone());
        let fine = one.as_ref().ok().filter(|c| decided(c).is_ok());
        let members = fine.map_or_else(BTreeMap::new, |c| c.file.members.clone());
        let taken = one.map_err(first_of);
        let taken = taken.and_then(|c| local_cluster(c, here, many));
        match taken {
            Ok(cluster) => {
                served.insert(cluster.name().to_owned(), cluster);
            }
            Err(why) => missing.push(Missing {
                cluster: name,
                why,
                members,
            }),
        }
    }
    Ok(Found {
        loaded: Loaded {
            clusters: served.into_values().collect(),
            log,
            metrics,
        },
        missing,
        many,
    })
}

/// A file, or a witness's file and those it leads to, as written.
pub(crate) struct WrittenFile {
    /// At least one, each with a name of its own; or what is wrong with its file.
    pub(crate) clusters: Vec<Result<WrittenCluster, Vec<FileError>>>,
    log: LogSection,
    metrics: MetricsSection,
    /// It is a witness's.
    pub(crate) many: bool,
}

/// One cluster as written.
#[derive(Clone)]
pub(crate) struct WrittenCluster {
    /// The text, to point into.
    pub(crate) source: Source,
    /// What it says.
    pub(crate) file: ConfigFile,
}

/// Reads a file, and those it leads to.
///
/// # Errors
/// Everything that is wrong with the file as a whole.
pub(crate) fn written(path: &std::path::Path) -> Result<WrittenFile, Vec<FileError>> {
    written_at(path, &mut Stamp::default())
}

/// The clusters of a file, and of those it leads to, by their texts alone.
#[derive(Debug)]
pub struct Texts {
    /// The file that leads to all.
    pub(super) path: PathBuf,
    pub(super) files: Vec<Text>,
    pub(super) log: LogSection,
    pub(super) metrics: MetricsSection,
}

/// The text of one cluster.
#[derive(Debug)]
pub(super) struct Text {
    /// The file that has it.
    pub(super) path: PathBuf,
    /// What it says, or what is wrong with it.
    pub(super) file: Result<ConfigFile, FileError>,
}

impl Text {
    /// The cluster's name, if it can be read.
    pub(super) fn name(&self) -> Option<&str> {
        self.file.as_ref().ok().map(|file| &*file.cluster.name)
    }
}

impl Texts {
    /// The names of those that can be read.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.files.iter().filter_map(Text::name);
        names.map(ToOwned::to_owned).collect()
    }
}

/// Reads a file, and those it leads to, and when they were changed last.
///
/// # Errors
/// What is wrong with the text of the file as a whole.
pub fn texts(path: &std::path::Path) -> (Stamp, Result<Texts, FileError>) {
    let mut stamp = Stamp::default();
    let texts = written_at(path, &mut stamp).map(|written| {
        let files = written.clusters.into_iter().map(|one| match one {
            Ok(WrittenCluster { source, file }) => Text {
                path: source.path,
                file: Ok(file),
            },
            Err(wrong) => {
                let first = first_of(wrong);
                Text {
                    path: first.file.clone(),
                    file: Err(first),
                }
            }
        });
        Texts {
            path: path.to_owned(),
            files: files.collect(),
            log: written.log,
            metrics: written.metrics,
        }
    });
    (stamp, texts.map_err(first_of))
}

fn written_at(path: &std::path::Path, stamp: &mut Stamp) -> Result<WrittenFile, Vec<FileError>> {
    stamp.take(path);
    let source = Source::read(path).map_err(|e| vec![e])?;
    if !source.has("clusters") && !source.has("directory") {
        let file = ConfigFile::parse(&source)?;
        let (log, metrics) = (file.log, file.metrics);
        return Ok(WrittenFile {
            clusters: vec![Ok(WrittenCluster { source, file })],
            log,
            metrics,
            many: false,
        });
    }
    let witness: WitnessFile = source.parse()?;
    let (log, metrics) = (witness.log, witness.metrics);
    let mut clusters: Vec<_> = (witness.clusters.into_iter())
        .map(|(name, cluster)| {
            Ok(WrittenCluster {
                source: source.within(&name),
                file: cluster.into_file(&name, log, metrics),
            })
        })
        .collect();
    if let Some(directory) = &witness.directory {
        let directory = source.beside(directory);
        let fail = |e| {
            let what = format!("{}: {e}", directory.display());
            vec![source.error("directory", what).may_pass()]
        };
        stamp.take(&directory);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(fail)? {
            files.push(entry.map_err(fail)?.path());
        }
        files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
        files.sort();
        clusters.extend(files.iter().map(|file| {
            stamp.take(file);
            let source = Source::read(file).map_err(|e| vec![e])?;
            let file = ConfigFile::parse(&source)?;
            Ok(WrittenCluster { source, file })
        }));
    }
    let mut names = BTreeSet::new();
    for one in &mut clusters {
        if let Ok(WrittenCluster { source, file }) = one
            && !names.insert(file.cluster.name.clone())
        {
            let what = format!(
                "`{}` is served already, from another file or table; remove one",
                file.cluster.name
            );
            *one = Err(vec![source.error("cluster.name", what)]);
        }
    }
    if clusters.is_empty() {
        let what =
            "there is none; add a [clusters.NAME] table, or cluster files (*.toml) to `directory`";
        let e = source.error("clusters", what);
        return Err(vec![if witness.directory.is_some() {
            e.may_pass() // it may not be mounted yet
        } else {
            e
        }]);
    }
    Ok(WrittenFile {
        clusters,
        log,
        metrics,
        many: true,
    })
}

/// The core's proof of a file, as `me` sees it, with the line of what is wrong.
pub(crate) fn prove(source: &Source, spec: &Spec, me: &str) -> Result<Config, FileError> {
    spec.prove(me)
        .map_err(|SpecError { key, problem }| source.error(&key, problem))
}

/// What one cluster's file means on this host.
///
/// # Errors
/// The first thing that is wrong: with the text, or else with this host.
pub(crate) fn local_cluster(
    cluster: WrittenCluster,
    here: &Here<'_>,
    many: bool,
) -> Result<LocalCluster, FileError> {
    let source = cluster.source.clone();
    let mut local = without_secrets(cluster, here, many)?;
    local.secrets = secrets(&source, &local.file).map_err(first_of)?;
    Ok(local)
}

/// The same, but for its secrets, which not everybody may read: it has no [`LocalCluster::keys`].
///
/// # Errors
/// The first thing that is wrong: with the text, or else with this host.
pub(crate) fn without_secrets(
    cluster: WrittenCluster,
    here: &Here<'_>,
    many: bool,
) -> Result<LocalCluster, FileError> {
    let spec = decided(&cluster).map_err(first_of)?; // before anything of this host
    let WrittenCluster { source, file } = &cluster;
    let mut endpoints = resolve(source, file).map_err(first_of)?;
    let me = find_me(source, file, &endpoints, here)?;
    let wrong = for_member(&cluster, &me, many);
    if !wrong.is_empty() {
        return Err(first_of(wrong));
    }
    let config = prove(source, &spec, &me)?;
    let interfaces = interfaces_of(file, &config, &me);
    let remarks = leave_loopback(source, file, &me, &mut endpoints, here)?;
    // The text by itself fits: this checks what the names resolve to.
    let wrong = fit(source, file, &known(&endpoints));
    if let Some(first) = wrong.into_iter().next() {
        return Err(first.may_pass());
    }
    let of = |m: &Member| {
        let mut paths = endpoints.remove(m.name.as_str()).unwrap_or_default();
        paths.shrink_to_fit();
        paths
    };
    Ok(LocalCluster {
        endpoints: config.members().iter().map(of).collect(),
        also: BTreeMap::new(),
        interfaces,
        many,
        source: source.path.clone(),
        in_table: source.is_table(),
        remarks,
        next: None,
        text: Arc::clone(&source.text),
        secrets: Vec::new(),
        spec,
        config,
        file: cluster.file,
    })
}

/// A member's interface for each address of each group; a witness needs none.
pub(super) fn interfaces_of(file: &ConfigFile, config: &Config, me: &str) -> Vec<Vec<String>> {
    let of = |g: &GroupSection| match config.is_candidate(config.me()) {
        true => g.interfaces_of(me),
        false => Vec::new(),
    };
    file.groups.values().map(|g| of(g)).collect()
}

/// The secrets of a cluster: the first seals.
///
/// # Errors
/// What is wrong with each of the files that can't be used.
pub(crate) fn secrets(source: &Source, file: &ConfigFile) -> Result<Vec<Secret>, Vec<FileError>> {
    let key = match file.cluster.secret_file {
        Some(_) => "cluster.secret_file",
        None => "cluster.secret_files",
    };
    let (mut secrets, mut wrong) = (Vec::new(), Vec::new());
    let files = file.secret_files(source).map_err(|e| vec![e])?;
    for path in &files {
        let secret = Secret::read(path).and_then(|secret| match secrets.contains(&secret) {
            true => Err(format!(
                "{} has the same secret as a file before it; remove one",
                path.display()
            )),
            false => Ok(secret),
        });
        match secret {
            Ok(secret) => secrets.push(secret),
            // It may not be mounted yet.
            Err(what) => wrong.push(source.error(key, what).may_pass()),
        }
    }
    if wrong.is_empty() {
        Ok(secrets)
    } else {
        Err(wrong)
    }
}

/// Which of the members this is.
///
/// # Errors
/// If it is none of them, or may be several.
pub(crate) fn find_me(
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
        let exactly = file.members.keys().find(|m| *m == name);
        let mut nearly = file.members.keys().filter(|m| m.eq_ignore_ascii_case(name));
        exactly.or_else(|| nearly.next()).cloned()
    };
    if let Some(name) = here.name {
        return named(name).ok_or_else(|| {
            source.error(
                "members",
                format!(
                    "there is no `{name}` (from {}); the members are {}",
                    here.option,
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
                "none of them is this host, which is called `{}` and has none of their addresses; name the \
                 member with {} NAME. The members are {}",
                here.host,
                here.option,
                list()
            ),
        )
        .may_pass()),
        (Some((a, _)), Some((b, _))) => Err(source.error(
            "members",
            format!(
                "`{a}` and `{b}` both have addresses of this host; name the member with {} NAME",
                here.option
            ),
        )
        .may_pass()),
    }
}

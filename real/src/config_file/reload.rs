//! What a reload may change. For an incarnation, R-0 fixes what all members must agree on.

use super::{
    ClusterSection, ConfigFile, GroupSection, HooksSection, Interface, Loaded, LocalCluster,
    LogSection, MemberSection, Texts,
};
use onehold_core::config::Arbitration;
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why a reload was refused: a value that can't change in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused {
    /// Its key.
    pub key: String,
    /// The value in force.
    pub old: Option<String>,
    /// The value in the new file.
    pub new: Option<String>,
    /// How to change it.
    pub remedy: String,
}

impl fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |v: &Option<String>| v.clone().unwrap_or_else(|| "(not there)".to_owned());
        write!(
            f,
            "{}: {} → {} can't change in a reload; {}",
            self.key,
            or(&self.old),
            or(&self.new),
            self.remedy
        )
    }
}

impl std::error::Error for ReloadRefused {}

impl Loaded {
    /// Applies what may change in an incarnation, keys, log level and where the metrics are; all or
    /// nothing.
    ///
    /// # Errors
    /// A value that differs and can't change in place, and how to change it. Of several, one that
    /// all members must agree on: restarting only this member would leave the cluster with
    /// two configurations.
    pub fn reload(&mut self, new: Self) -> Result<(), ReloadRefused> {
        let first = differences(self, &new)
            .into_iter()
            .min_by_key(|d| d.scope != Scope::All);
        let Some(first) = first else {
            *self = new;
            return Ok(());
        };
        let quarantines = self
            .clusters
            .iter()
            .map(|s| s.config.timing().quarantine(Span::ZERO));
        Err(first.refused(quarantines.max().unwrap_or(Span::ZERO)))
    }
}

impl Loaded {
    /// The first key, if any, whose value in the texts differs from what runs. A cluster that is
    /// `awaited` is not a difference.
    #[must_use]
    pub fn differ_from(&self, texts: &Texts, awaited: impl Fn(&str) -> bool) -> Option<String> {
        let named = |file: &&ConfigFile, name: &str| file.cluster.name == name;
        for running in &self.clusters {
            let alone = (self.clusters.len(), texts.files.len()) == (1, 1);
            let found = texts
                .files
                .iter()
                .find(|file| alone || named(file, running.name()));
            let Some(file) = found else {
                return Some(format!(
                    "cluster {} is no longer in the file",
                    running.name()
                ));
            };
            if let Some(first) = between_files(&running.file, file).into_iter().next() {
                return Some(format!("{} differs from what runs", first.key));
            }
            if (
                &running.file.cluster.secret_file,
                &running.file.cluster.secret_files,
            ) != (&file.cluster.secret_file, &file.cluster.secret_files)
            {
                return Some("the secret files differ from those in force".to_owned());
            }
        }
        let serves = |name: &str| self.clusters.iter().any(|running| running.name() == name);
        let names = texts.files.iter().map(|file| file.cluster.name.as_str());
        let mut new = names.filter(|name| !serves(name) && !awaited(name));
        if let Some(new) = new
            .next()
            .filter(|_| self.clusters.len() != 1 || texts.files.len() != 1)
        {
            return Some(format!("cluster {new} is new, and not served yet"));
        }
        let differs = |section: &str| Some(format!("[{section}] differs from what runs"));
        match (self.log == texts.log, self.metrics == texts.metrics) {
            (false, _) => differs("log"),
            (true, false) => differs("metrics"),
            (true, true) => None,
        }
    }
}

/// Who must stop for a value to change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All members, for Q: votes given under one value must not be counted under the other.
    All,
    /// This member alone.
    Me,
}

/// How a running cluster is given another value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// All members stop for it, and start together.
    AllMembers,
    /// This member is restarted.
    Restart,
    /// The daemon reads its file again.
    Reload,
    /// The agent reads its file again.
    ReloadAgent,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllMembers => "all members",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::ReloadAgent => "reload the agent",
        })
    }
}

/// How a running cluster gets from one file to the other.
pub(super) fn change(old: &ConfigFile, new: &ConfigFile) -> Change {
    let all = between_files(old, new);
    let of_agent = |file: &ConfigFile| -> Vec<_> {
        let groups = file.groups.values();
        groups
            .map(|g| (g.checks.clone(), g.hooks.clone()))
            .collect()
    };
    match all.iter().any(|d| d.scope == Scope::All) {
        true => Change::AllMembers,
        false if !all.is_empty() => Change::Restart,
        false if of_agent(old) != of_agent(new) => Change::ReloadAgent,
        false => Change::Reload,
    }
}

/// A value that the new file changes.
struct Difference {
    scope: Scope,
    key: String,
    old: Option<String>,
    new: Option<String>,
}

impl Difference {
    /// `quarantine` is Q.
    fn refused(self, quarantine: Span) -> ReloadRefused {
        let remedy = match self.scope {
            Scope::All => format!(
                "all members must agree on it, so never one at a time: stop onehold on every member, put \
                 the new file on every member, wait {}, start them all",
                rounded_up(quarantine)
            ),
            Scope::Me => {
                "restart this member: `systemctl restart onehold` (the other candidate takes over meanwhile)"
                    .to_owned()
            }
        };
        ReloadRefused {
            key: self.key,
            old: self.old,
            new: self.new,
            remedy,
        }
    }
}

fn differences(old: &Loaded, new: &Loaded) -> Vec<Difference> {
    let names = |all: &Loaded| {
        let names: Vec<&str> = all.clusters.iter().map(LocalCluster::name).collect();
        names.join(", ")
    };
    let (was, is) = (names(old), names(new));
    let mut all = Vec::new();
    if was != is && (old.clusters.len(), new.clusters.len()) != (1, 1) {
        all.push(mine("clusters", was, is));
        return all;
    }
    for (old, new) in old.clusters.iter().zip(&new.clusters) {
        let before = all.len();
        all.extend(between_files(&old.file, &new.file));
        all.extend(between_hosts(old, new));
        if all.len() == before && (&old.config, &old.endpoints) != (&new.config, &new.endpoints) {
            // Anything not listed above is fixed, too.
            all.push(mine(
                "configuration",
                "in force".to_owned(),
                "another".to_owned(),
            ));
        }
    }
    // A witness of many clusters has a format of its own.
    let format = |all: &Loaded| shown(all.log.format);
    if old.log.format != new.log.format {
        all.push(mine("log.format", format(old), format(new)));
    }
    all
}

fn mine(key: impl Into<String>, old: String, new: String) -> Difference {
    Difference {
        scope: Scope::Me,
        key: key.into(),
        old: Some(old),
        new: Some(new),
    }
}

/// What the files say differently.
fn between_files(old: &ConfigFile, new: &ConfigFile) -> Vec<Difference> {
    let (was, is) = (fixed(old), fixed(new));
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let difference = |key: &String| {
        let (a, b) = (was.get(key), is.get(key));
        let (scope, _) = a.or(b).filter(|_| a != b)?;
        Some(Difference {
            scope: *scope,
            key: key.clone(),
            old: a.map(|(_, v)| v.clone()),
            new: b.map(|(_, v)| v.clone()),
        })
    };
    keys.into_iter().filter_map(difference).collect()
}

/// What the same text means on this host: which member it is, and to what a name resolves.
fn between_hosts(old: &LocalCluster, new: &LocalCluster) -> Vec<Difference> {
    let me = |cluster: &LocalCluster| {
        cluster
            .config
            .member(cluster.config.me())
            .map(|m| m.name.clone())
    };
    let (was, is) = (me(old).unwrap_or_default(), me(new).unwrap_or_default());
    let mut all = Vec::new();
    if was != is && new.file.members.contains_key(&was) {
        all.push(mine("this host's own member", was, is));
    }
    for ((name, m), addresses) in old.file.members.iter().zip(&old.endpoints) {
        let at = new.file.members.keys().position(|n| n == name);
        let (Some(now), Some(written)) = (
            at.and_then(|at| new.endpoints.get(at)),
            new.file.members.get(name),
        ) else {
            continue;
        };
        if now != addresses && written.addresses == m.addresses {
            let key = format!("what members.{name}.addresses resolve to");
            all.push(mine(key, format!("{addresses:?}"), format!("{now:?}")));
        }
    }
    all
}

fn rounded_up(span: Span) -> String {
    format!("{}s", span.as_nanos().div_ceil(1_000_000_000))
}

/// All values that a reload can't change, by key. Everything is destructured, so that a new key
/// does not compile until it is decided whether it belongs here.
fn fixed(file: &ConfigFile) -> BTreeMap<String, (Scope, String)> {
    use Scope::{All, Me};
    let mut all = BTreeMap::new();
    let mut put = |key: String, scope, value: &dyn fmt::Debug| {
        all.insert(key, (scope, format!("{value:?}")));
    };
    let ConfigFile {
        cluster,
        members,
        groups,
        timing,
        log,
        metrics: _, // a reload applies them
    } = file;
    let ClusterSection {
        name,
        secret_file: _, // a reload applies the keys
        secret_files: _,
        arbitration,
        guard,
        evidence,
        port,
        frames,
    } = cluster;
    put("cluster.name".into(), All, name);
    // The default, if it is not written.
    let stated = arbitration.unwrap_or(Arbitration::Majority);
    put("cluster.arbitration".into(), All, &Plain(stated.name()));
    put("cluster.port".into(), All, port);
    put("cluster.guard".into(), Me, &Plain(shown(guard)));
    put("cluster.frames".into(), Me, &frames.unwrap_or(true));
    put("cluster.evidence".into(), Me, &Plain(shown(evidence)));
    for (name, member) in members {
        let MemberSection {
            addresses,
            witness,
            preferred,
        } = member;
        let key = |k| format!("members.{name}.{k}");
        put(key("addresses"), All, addresses);
        put(key("witness"), All, witness);
        put(key("preferred"), All, preferred);
    }
    for (name, group) in groups {
        let GroupSection {
            addresses,
            interface: _, // with those of addresses and routes
            announce,
            routes,
            preferred,
            failback,
            failback_delay,
            release_when_unhealthy: release,
            checks: _, // the agent's; this process only says what it hears of them
            hooks,
        } = group;
        let key = |k: &str| format!("groups.{name}.{k}");
        // Where an address belongs is each member's own affair.
        let texts: Vec<&String> = addresses.iter().map(|a| &a.address).collect();
        put(key("addresses"), All, &texts);
        for (at, interface) in group.interfaces() {
            match interface {
                Interface::Same(i) => put(key(&at), Me, i),
                Interface::ByMember(i) => put(key(&at), Me, i),
            }
        }
        put(key("announce"), Me, &Plain(shown(announce)));
        if !routes.is_empty() {
            put(
                key("routes"),
                Me,
                &Plain(group.routes_in_words().join(", ")),
            );
        }
        put(key("failback"), All, &Plain(failback.name()));
        put(key("failback_delay"), All, &Plain(failback_delay.0));
        put(key("release_when_unhealthy"), All, release);
        let HooksSection {
            before_hold,
            holding: _, // the agent's
            released: _,
            changed: _,
        } = hooks;
        if let Some(hook) = before_hold {
            put(
                key("hooks.before_hold.deadline"),
                Me,
                &Plain(hook.deadline.unwrap_or_default().0),
            );
            put(key("hooks.before_hold.failing"), Me, &hook.failing);
        }
        if let Some(preferred) = preferred {
            put(key("preferred"), All, preferred);
        }
    }
    let TimingSpec {
        interval,
        lease,
        guard_slack,
        drift_ppm,
    } = timing.spec(*arbitration); // with the defaults
    put("timing.interval".into(), All, &Plain(interval));
    put("timing.lease".into(), All, &Plain(lease));
    put("timing.guard_slack".into(), All, &Plain(guard_slack));
    put("timing.drift_ppm".into(), All, &drift_ppm);
    put("timing.profile".into(), Me, &Plain(shown(timing.profile)));
    let LogSection { level: _, format } = log; // a reload applies the level
    put("log.format".into(), Me, &Plain(shown(format)));
    all
}

/// A word of the file, as it is written there.
fn shown(word: impl fmt::Debug) -> String {
    format!("{word:?}").to_lowercase()
}

/// Shown without quotes.
struct Plain<T>(T);

impl<T: fmt::Display> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

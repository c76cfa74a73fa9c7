//! What a reload may change, and what becomes of each cluster. For an incarnation, R-0 fixes what all
//! members must agree on.

use super::{
    ClusterSection, ConfigFile, FileError, Found, GroupSection, HooksSection, Interface, Listen,
    Loaded, LocalCluster, LogSection, MemberSection, MetricsSection, Missing, Text, Texts,
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
    /// Other keys of which the same is true.
    pub others: Vec<String>,
}

impl fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = arrow(&self.old, &self.new);
        let (key, remedy) = (&self.key, &self.remedy);
        write!(f, "{key}: {values} can't change in a reload; {remedy}")?;
        match &self.others[..] {
            [] => Ok(()),
            others => write!(f, " (the same holds for {})", others.join(", ")),
        }
    }
}

impl std::error::Error for ReloadRefused {}

/// What became of a cluster that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It runs as the file says now; in words, what changed for that.
    Applied(Vec<String>),
    /// It goes on as before: why.
    Refused(String),
    /// The files have it no longer.
    Ended,
}

/// What became of a file that was read again.
#[derive(Debug)]
pub struct Reloaded {
    /// By the place of each cluster that ran before.
    pub clusters: Vec<Outcome>,
    /// Of what is not a cluster's own, on a witness of many: in words, what changed, or why nothing
    /// did.
    pub sections: Result<Vec<String>, String>,
    /// Clusters that did not run before.
    pub new: Vec<LocalCluster>,
    /// Those among them that can't be served yet.
    pub missing: Vec<Missing>,
}

impl Loaded {
    /// Applies what may change in an incarnation, for each cluster by itself: all or nothing. What
    /// is wrong with one file of many leaves the others alone.
    ///
    /// # Errors
    /// What is wrong with the file as a whole: then nothing changes.
    pub fn reload(&mut self, found: Result<Found, FileError>) -> Result<Reloaded, String> {
        let found = found.map_err(|e| e.to_string())?;
        let many = self.clusters.iter().any(|local| local.many);
        if many != found.many {
            let kind = |many| match many {
                true => "the file of a witness of several clusters",
                false => "the file of one cluster",
            };
            let (was, is) = (kind(many).to_owned(), kind(found.many).to_owned());
            let refused = only_by_restart("the file", Some(was), Some(is));
            return Err(refused.to_string());
        }
        Ok(match many {
            true => self.reload_each(found),
            false => self.reload_one(found),
        })
    }

    /// The file of one cluster.
    fn reload_one(&mut self, found: Found) -> Reloaded {
        let Found {
            loaded, missing, ..
        } = found;
        let (log, metrics) = (loaded.log, loaded.metrics);
        let mut clusters: Vec<Outcome> = match missing.first() {
            Some(wrong) => vec![Outcome::Refused(wrong.why.to_string())],
            None => {
                let news = self.clusters.iter_mut().zip(loaded.clusters);
                news.map(|(local, new)| outcome(local, new)).collect()
            }
        };
        if let [Outcome::Applied(changes)] = &mut clusters[..] {
            changes.extend(self.adopt_sections(log, metrics));
        }
        Reloaded {
            clusters,
            sections: Ok(Vec::new()),
            new: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The files of a witness of many clusters.
    fn reload_each(&mut self, found: Found) -> Reloaded {
        let Found {
            loaded,
            mut missing,
            ..
        } = found;
        let format = (self.log.format != loaded.log.format).then(|| {
            let shown = |log: LogSection| Some(shown(log.format));
            only_by_restart("log.format", shown(self.log), shown(loaded.log)).to_string()
        });
        let changes = self.adopt_sections(loaded.log, loaded.metrics);
        let mut new: BTreeMap<String, LocalCluster> = (loaded.clusters.into_iter())
            .map(|local| (local.name().to_owned(), local))
            .collect();
        let mut wrong = |is: &dyn Fn(&Missing) -> bool| {
            let at = missing.iter().position(is)?;
            Some(missing.remove(at).why)
        };
        let mut clusters = Vec::new();
        for local in &mut self.clusters {
            let file = &local.source;
            let its = |m: &Missing| m.cluster.as_deref() == Some(local.name());
            let in_its_file = |m: &Missing| m.cluster.is_none() && m.why.file == *file;
            let found = match new.remove(local.name()) {
                Some(new) => Some(outcome(local, new)),
                None => wrong(&its)
                    .or_else(|| wrong(&in_its_file))
                    .map(|why| Outcome::Refused(why.to_string())),
            };
            clusters.push(found);
        }
        // What is left runs, and no file that can be read has it.
        let unread = missing.iter().find(|m| m.cluster.is_none());
        let unread = unread.map(|m| m.why.to_string());
        let settle = |(local, outcome): (&LocalCluster, Option<Outcome>)| {
            let renamed = || {
                let at = new
                    .values()
                    .find(|n| n.source == local.source && !n.in_table);
                Some(at?.name().to_owned())
            };
            outcome.unwrap_or_else(|| {
                if let Some(is) = renamed() {
                    let was = Some(local.name().to_owned());
                    let why = one("cluster.name", was, Some(is)).refused(local, Vec::new());
                    return Outcome::Refused(format!("{}: {why}", local.source.display()));
                }
                unread.as_ref().map_or(Outcome::Ended, |why| {
                    Outcome::Refused(format!(
                        "no file has it, but it may be in one that can't be read: {why}"
                    ))
                })
            })
        };
        let clusters: Vec<Outcome> = self.clusters.iter().zip(clusters).map(settle).collect();
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        for (local, _) in (self.clusters.iter().zip(&clusters)).filter(|(_, o)| refused(o)) {
            // The file of a cluster that goes on as before begins no other.
            new.retain(|_, n| n.in_table || n.source != local.source);
        }
        Reloaded {
            clusters,
            sections: format.map_or(Ok(changes), Err),
            new: new.into_values().collect(),
            missing,
        }
    }

    /// Adopts what of the log and the metrics may change; in words, what did.
    fn adopt_sections(&mut self, log: LogSection, metrics: MetricsSection) -> Vec<String> {
        let differences = between(&sections(self.log, self.metrics), &sections(log, metrics));
        (self.log.level, self.metrics) = (log.level, metrics);
        let changed = differences.iter().filter(|d| d.change == Change::Reload);
        changed.map(ToString::to_string).collect()
    }
}

/// What becomes of a cluster whose file is good.
fn outcome(local: &mut LocalCluster, new: LocalCluster) -> Outcome {
    let file = new.source.clone();
    match local.reload(new) {
        Ok(changes) => Outcome::Applied(changes),
        Err(refused) => Outcome::Refused(format!("{}: {refused}", file.display())),
    }
}

impl LocalCluster {
    /// Applies what may change in an incarnation, all or nothing; in words, what changed.
    ///
    /// # Errors
    /// What differs and can't change in place, and how to change it: first what all members must
    /// agree on, for restarting only this member would leave the cluster with two
    /// configurations.
    pub fn reload(&mut self, new: Self) -> Result<Vec<String>, ReloadRefused> {
        let mut all = between(&of_cluster(&self.file), &of_cluster(&new.file));
        if !self.many {
            let sections = |file: &ConfigFile| sections(file.log, file.metrics);
            let own = between(&sections(&self.file), &sections(&new.file));
            // What else they say is adopted with the file.
            all.extend(own.into_iter().filter(|d| d.change != Change::Reload));
        }
        let fixed = |d: &Difference| matches!(d.change, Change::AllMembers | Change::Restart);
        if !all.iter().any(fixed) {
            all.extend(between_hosts(self, &new)); // which otherwise may follow from it
        }
        let (mut fixed, free): (Vec<_>, Vec<_>) = all.into_iter().partition(fixed);
        if fixed.is_empty() && (&self.config, &self.endpoints) != (&new.config, &new.endpoints) {
            // Anything not listed below is fixed, too.
            let (was, is) = ("in force".to_owned(), "another".to_owned());
            fixed.push(mine("configuration", was, is));
        }
        fixed.sort_by_key(|d| d.change != Change::AllMembers);
        let mut fixed = fixed.into_iter();
        if let Some(first) = fixed.next() {
            return Err(first.refused(self, fixed.map(|d| d.key).collect()));
        }
        let mut changes: Vec<String> = (free.iter())
            .filter(|d| d.change == Change::Reload)
            .map(ToString::to_string)
            .collect();
        let keys = |local: &Self| {
            let keys = local.keys();
            let ids = keys.accepted().map(|id| format!("{:08x}", id.0));
            ids.collect::<Vec<_>>().join(", ")
        };
        let (was, is) = (keys(self), keys(&new));
        if was != is {
            changes.push(format!("keys: {was} → {is}"));
        }
        if free.iter().any(|d| d.change == Change::ReloadAgent) {
            let agents = "checks or hooks differ, which `systemctl reload onehold-agent` applies";
            changes.push(agents.to_owned());
        }
        *self = new;
        Ok(changes)
    }

    /// The first key, if any, whose value in the texts differs from what runs.
    fn differs_from(&self, texts: &Texts) -> Option<String> {
        let alone = !self.many && texts.files.len() == 1;
        let named = |text: &&Text| alone || text.name() == Some(self.name());
        let unread = |text: &&Text| text.name().is_none() && text.path == self.source;
        let found = (texts.files.iter().find(named)).or_else(|| texts.files.iter().find(unread));
        let path = texts.path.display();
        let Some(Text { path, file }) = found else {
            return Some(format!(
                "{path}: cluster {} is no longer there",
                self.name()
            ));
        };
        let (path, file) = match file {
            Ok(file) => (path.display(), file),
            Err(why) => return Some(why.to_string()),
        };
        let mut all = between(&of_cluster(&self.file), &of_cluster(file)).into_iter();
        let first = all.find(|d| d.change != Change::ReloadAgent)?;
        Some(format!("{path}: {} differs from what runs", first.key))
    }
}

impl Loaded {
    /// By cluster, what in the texts differs from what runs, if anything does. A cluster that is
    /// `awaited` is not a difference.
    #[must_use]
    pub fn differ_from(
        &self,
        texts: &Texts,
        awaited: impl Fn(&str) -> bool,
    ) -> Vec<Option<String>> {
        let besides = self.besides(texts, awaited);
        let each = self.clusters.iter();
        each.map(|local| local.differs_from(texts).or_else(|| besides.clone()))
            .collect()
    }

    /// What in the texts differs from what runs, and is of no cluster that runs.
    fn besides(&self, texts: &Texts, awaited: impl Fn(&str) -> bool) -> Option<String> {
        let path = texts.path.display();
        let now = sections(texts.log, texts.metrics);
        if let Some(first) = between(&sections(self.log, self.metrics), &now).first() {
            return Some(format!("{path}: {} differs from what runs", first.key));
        }
        if !self.clusters.iter().any(|local| local.many) {
            return None;
        }
        texts.files.iter().find_map(|text| match &text.file {
            Ok(file) => {
                let name = &file.cluster.name;
                let serves = self.clusters.iter().any(|running| running.name() == name);
                let new = !serves && !awaited(name);
                let path = text.path.display();
                new.then(|| format!("{path}: cluster {name} is new, and not served yet"))
            }
            Err(why) => {
                let runs = self.clusters.iter().any(|r| r.source == text.path);
                (!runs && !awaited("")).then(|| why.to_string())
            }
        })
    }
}

/// How a running cluster is given another value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// All members stop for it, and start together: votes given under one value must not be counted
    /// under the other.
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
    let all = |file: &ConfigFile| {
        let mut all = of_cluster(file);
        all.extend(sections(file.log, file.metrics));
        all
    };
    let differences = between(&all(old), &all(new));
    let any = |change: &Change| differences.iter().any(|d| d.change == *change);
    [Change::AllMembers, Change::Restart, Change::ReloadAgent]
        .into_iter()
        .find(any)
        .unwrap_or(Change::Reload)
}

/// A value that the new file changes.
struct Difference {
    change: Change,
    key: String,
    old: Option<String>,
    new: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, arrow(&self.old, &self.new))
    }
}

fn arrow(old: &Option<String>, new: &Option<String>) -> String {
    let or = |v: &Option<String>| v.clone().unwrap_or_else(|| "(not there)".to_owned());
    format!("{} → {}", or(old), or(new))
}

impl Difference {
    /// Refused by a cluster that runs, as are `others`.
    fn refused(self, running: &LocalCluster, others: Vec<String>) -> ReloadRefused {
        let quarantine = rounded_up(running.config.timing().quarantine(Span::ZERO));
        let all = "all members must agree on it, so never one at a time";
        let remedy = match (self.change, running.many) {
            (Change::AllMembers, false) => format!(
                "{all}: stop onehold on every member, put the new file on every member, wait \
                 {quarantine}, start them all"
            ),
            (Change::AllMembers, true) => format!(
                "{all}: stop onehold on the other members, and here take the file (or table) of this \
                 cluster away and reload; put the new file on every member, wait {quarantine}, start \
                 the others, and reload here"
            ),
            (_, true) => {
                "take the file (or table) of this cluster away and reload, put it back and \
                          reload: the other clusters of this witness go on"
                    .to_owned()
            }
            (_, false) => RESTART.to_owned(),
        };
        ReloadRefused {
            key: self.key,
            old: self.old,
            new: self.new,
            remedy,
            others,
        }
    }
}

const RESTART: &str =
    "restart this member: `systemctl restart onehold` (the other candidate takes over meanwhile)";

/// What is not a cluster's own, and can't change in place.
fn only_by_restart(key: &str, old: Option<String>, new: Option<String>) -> ReloadRefused {
    ReloadRefused {
        key: key.to_owned(),
        old,
        new,
        remedy: RESTART.to_owned(),
        others: Vec::new(),
    }
}

fn one(key: impl Into<String>, old: Option<String>, new: Option<String>) -> Difference {
    Difference {
        change: Change::Restart,
        key: key.into(),
        old,
        new,
    }
}

fn mine(key: impl Into<String>, old: String, new: String) -> Difference {
    one(key, Some(old), Some(new))
}

/// Values by key, and how each is changed.
type Values = BTreeMap<String, (Change, String)>;

/// What differs.
fn between(was: &Values, is: &Values) -> Vec<Difference> {
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let difference = |key: &String| {
        let (a, b) = (was.get(key), is.get(key));
        let (change, _) = a.or(b).filter(|_| a != b)?;
        Some(Difference {
            change: *change,
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

/// What the log's and the metrics' sections say.
fn sections(log: LogSection, metrics: MetricsSection) -> Values {
    let LogSection { level, format } = log;
    let MetricsSection { listen } = metrics;
    let mut all = Values::new();
    all.insert("log.level".into(), (Change::Reload, shown(level)));
    all.insert("log.format".into(), (Change::Restart, shown(format)));
    if let Some(Listen(at)) = listen {
        all.insert("metrics.listen".into(), (Change::Reload, at.to_string()));
    }
    all
}

/// All values of a cluster. Everything is destructured, so that a new key does not compile until it
/// is decided how it is changed.
fn of_cluster(file: &ConfigFile) -> Values {
    use Change::{AllMembers as All, Reload, ReloadAgent as Agent, Restart as Me};
    let mut all = BTreeMap::new();
    let mut put = |key: String, change, value: &dyn fmt::Debug| {
        all.insert(key, (change, format!("{value:?}")));
    };
    let ConfigFile {
        cluster,
        members,
        groups,
        timing,
        log: _, // see `sections`
        metrics: _,
    } = file;
    let ClusterSection {
        name,
        secret_file,
        secret_files,
        arbitration,
        guard,
        evidence,
        port,
        frames,
    } = cluster;
    put("cluster.name".into(), All, name);
    if let Some(file) = secret_file {
        put("cluster.secret_file".into(), Reload, file);
    }
    if !secret_files.is_empty() {
        put("cluster.secret_files".into(), Reload, secret_files);
    }
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
            checks, // the agent's; this process only says what it hears of them
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
        put(key("checks"), Agent, checks);
        put(key("hooks"), Agent, hooks);
        let HooksSection {
            before_hold,
            holding: _, // the agent's alone
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

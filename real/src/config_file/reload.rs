//! What a reload may change, and what becomes of each cluster. What all members must agree on comes
//! into force when they have agreed, or is fixed for an incarnation.

mod goes;
mod values;

use super::{
    ConfigFile, FileError, Found, Loaded, LocalCluster, LogSection, MetricsSection, Missing, Text,
    Texts, no_way_stays, reached_at_what_floats,
};
use onehold_core::advert::Change as Way;
use onehold_core::time::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use values::{of_cluster, sections, shown};

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
        let (key, remedy) = (&self.key, &self.remedy);
        match (&self.old, &self.new) {
            (None, None) => write!(f, "{key} can't change in a reload; {remedy}")?,
            (old, new) => write!(
                f,
                "{key}: {} can't change in a reload; {remedy}",
                arrow(old, new)
            )?,
        }
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

/// Whether a cluster may become another, or why not.
type May<'m> = &'m dyn Fn(&LocalCluster, &LocalCluster) -> Result<(), String>;

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
        self.reload_if(found, &|_, _| Ok(()))
    }

    /// The same where a cluster is refused as `may` says.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn reload_if(
        &mut self,
        found: Result<Found, FileError>,
        may: May<'_>,
    ) -> Result<Reloaded, String> {
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
            true => self.reload_each(found, may),
            false => self.reload_one(found, may),
        })
    }

    /// The file of one cluster.
    fn reload_one(&mut self, found: Found, may: May<'_>) -> Reloaded {
        let Found {
            loaded, missing, ..
        } = found;
        let (log, metrics) = (loaded.log, loaded.metrics);
        let mut clusters: Vec<Outcome> = match missing.first() {
            Some(wrong) => (self.clusters.iter())
                .map(|local| Outcome::Refused(wrong.keeps(local)))
                .collect(),
            None => {
                let news = self.clusters.iter_mut().zip(loaded.clusters);
                news.map(|(local, new)| outcome(local, new, may)).collect()
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
    fn reload_each(&mut self, found: Found, may: May<'_>) -> Reloaded {
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
            Some(missing.remove(at))
        };
        let mut clusters = Vec::new();
        for local in &mut self.clusters {
            let file = &local.source;
            let its = |m: &Missing| m.cluster.as_deref() == Some(local.name());
            let in_its_file = |m: &Missing| m.cluster.is_none() && m.why.file == *file;
            let found = match new.remove(local.name()) {
                Some(new) => Some(outcome(local, new, may)),
                None => wrong(&its)
                    .or_else(|| wrong(&in_its_file))
                    .map(|wrong| Outcome::Refused(wrong.keeps(local))),
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
fn outcome(local: &mut LocalCluster, new: LocalCluster, may: May<'_>) -> Outcome {
    let file = new.source.clone();
    let goes = local.goes_by(&new.file.members, Some(&new));
    if let Some(why) = goes {
        return Outcome::Refused(format!("{}: {why}", file.display()));
    }
    if let Err(why) = may(local, &new) {
        return Outcome::Refused(format!("{}: {why}", file.display()));
    }
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
    pub fn reload(&mut self, mut new: Self) -> Result<Vec<String>, ReloadRefused> {
        if let Some(next) = &mut self.next
            && differences(&next.file, &new.file).is_empty()
        {
            self.secrets.clone_from(&new.secrets);
            new.endpoints = std::mem::take(&mut next.endpoints); // names are looked up once
            **next = new; // it is on the way there
            return Ok(Vec::new());
        }
        if self.config.digest() == new.config.digest() && self.config.change() != Way::None {
            new.config = self.config.clone(); // this is what comes into force
        }
        let mut all = differences(&self.file, &new.file);
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
        let same = self.config == new.config; // such as with another profile of the same values
        let together = |d: &Difference| d.change == Change::EachMember && !same;
        let (together, free): (Vec<_>, Vec<_>) = free.into_iter().partition(together);
        let another = together.is_empty() && self.config != new.config;
        let (was, is) = (self.endpoints_by_name(), new.endpoints_by_name());
        let mut both = is
            .iter()
            .filter_map(|(name, at)| Some((*was.get(name)?, *at)));
        let moved = together.is_empty() && both.any(|(was, is)| was != is);
        if fixed.is_empty() && (another || moved) {
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
            .filter(|d| matches!(d.change, Change::Reload | Change::EachMember))
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
        if together.is_empty() {
            if self.next.is_some() {
                changes.push("turned back to what is in force".to_owned());
            }
            new.also = std::mem::take(&mut self.also); // until the driver has taken its step
            *self = new;
            return Ok(changes);
        }
        self.goes_toward(new, &together, &mut changes)?;
        Ok(changes)
    }

    /// what all members must agree on comes into force when they have.
    fn goes_toward(
        &mut self,
        new: Self,
        together: &[Difference],
        changes: &mut Vec<String>,
    ) -> Result<(), ReloadRefused> {
        let value = |key: &str| together.iter().find(|d| d.key == key);
        let refused = |key: &str, why: &str| ReloadRefused {
            old: value(key).and_then(|d| d.old.clone()),
            new: value(key).and_then(|d| d.new.clone()),
            remedy: why.to_owned(),
            others: Vec::new(),
            key: key.to_owned(),
        };
        if let Way::From(_) = self.config.change() {
            let why = "another change is coming into force, which `onehold status` shows: reload again \
                       when it is done";
            return Err(refused("the file", why));
        }
        if let Err(e) = self.config.path_to(&new.config) {
            return Err(refused(&e.key, &e.problem));
        }
        let at = |of: &Self| -> Vec<(String, IpAddr)> {
            let all = of.endpoints_by_name().into_iter();
            all.flat_map(|(name, at)| at.iter().map(|a| (name.to_owned(), a.ip())))
                .collect()
        };
        let (was, is) = ((&self.config, &at(self)[..]), (&new.config, &at(&new)[..]));
        if let Some((key, why)) = reached_at_what_floats(was, is) {
            return Err(refused(&key, &why));
        }
        if let Some((key, why)) = no_way_stays(&self.spec, &new.spec) {
            return Err(refused(key, why));
        }
        let said = together.iter().filter(|d| !d.goes_with_a_member());
        changes.extend(said.map(ToString::to_string));
        changes.push("(these come into force when every member has them)".to_owned());
        self.secrets.clone_from(&new.secrets);
        self.next = Some(Box::new(new));
        Ok(())
    }

    /// The first key, if any, whose value in the texts differs from what runs, or is to run.
    fn differs_from(&self, texts: &Texts) -> Option<String> {
        if let Some(next) = &self.next {
            return next.differs_from(texts);
        }
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
        let mut all = differences(&self.file, file).into_iter();
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
    /// Every member reads its file again, one after the other; it comes into force when all have
    ///
    EachMember,
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
            Self::EachMember => "reload on each member",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::ReloadAgent => "reload the agent",
        })
    }
}

/// How a running cluster gets from one file to the other.
pub(super) fn change(old: &ConfigFile, new: &ConfigFile) -> Change {
    let own = |file: &ConfigFile| sections(file.log, file.metrics);
    let mut all = differences(old, new);
    all.extend(between(&own(old), &own(new)));
    let any = |change: &Change| all.iter().any(|d| d.change == *change);
    [
        Change::AllMembers,
        Change::Restart,
        Change::EachMember,
        Change::ReloadAgent,
    ]
    .into_iter()
    .find(any)
    .unwrap_or(Change::Reload)
}

/// How two files differ, for people: each value with how a running cluster is given it.
pub(crate) fn in_words(old: &ConfigFile, new: &ConfigFile) -> Vec<(Change, String)> {
    let own = |file: &ConfigFile| sections(file.log, file.metrics);
    let mut all = differences(old, new);
    all.extend(between(&own(old), &own(new)));
    all.sort_by(|a, b| a.key.cmp(&b.key));
    // Of a group that comes or goes its addresses are enough, and of the agent's part that it differs.
    let both = |name: &str| old.groups.contains_key(name) && new.groups.contains_key(name);
    let in_short = |d: &Difference| {
        let mut parts = d.key.splitn(3, '.');
        let (table, name, key) = (parts.next(), parts.next(), parts.next());
        let whole = table == Some("groups") && !name.is_some_and(both);
        let has = |v: &Option<String>| {
            v.as_ref()
                .is_some_and(|v| v != "{}" && !v.contains("None }"))
        };
        match d.change {
            Change::ReloadAgent if whole && !has(&d.old) && !has(&d.new) => None,
            Change::ReloadAgent => Some((d.change, d.key.clone())),
            _ if whole && key != Some("addresses") => None,
            _ if d.goes_with_a_member() => None,
            _ => Some((d.change, d.to_string())),
        }
    };
    all.iter().filter_map(in_short).collect()
}

/// How the cluster's own part of two files differs.
fn differences(old: &ConfigFile, new: &ConfigFile) -> Vec<Difference> {
    let mut all = between(&of_cluster(old), &of_cluster(new));
    for d in &mut all {
        if d.is_of_what_comes_or_goes(old, new) {
            d.change = Change::EachMember;
        }
    }
    all
}

/// A value that the new file changes.
struct Difference {
    change: Change,
    key: String,
    old: Option<String>,
    new: Option<String>,
}

impl Difference {
    /// It is of a group, an address or a member that only one of the two files has.
    fn is_of_what_comes_or_goes(&self, old: &ConfigFile, new: &ConfigFile) -> bool {
        if let Some(rest) = self.key.strip_prefix("members.") {
            let has = |file: &ConfigFile| {
                let of = |name: &String| {
                    rest.strip_prefix(&**name)
                        .is_some_and(|r| r.starts_with('.'))
                };
                file.members.keys().any(of)
            };
            return has(old) != has(new);
        }
        let Some(rest) = self.key.strip_prefix("groups.") else {
            return false;
        };
        let both = |name: &&String| new.groups.contains_key(*name);
        let of = |name: &String| rest.strip_prefix(&**name).and_then(|r| r.strip_prefix('.'));
        let key = old.groups.keys().filter(both).find_map(of);
        let one = self.old.is_none() || self.new.is_none();
        self.change == Change::Restart && one && key.is_none_or(|key| key.starts_with("addresses."))
    }
}

impl Difference {
    /// Of a member that comes or goes its addresses are enough.
    fn goes_with_a_member(&self) -> bool {
        let one = self.old.is_none() || self.new.is_none();
        one && self.key.starts_with("members.") && !self.key.ends_with(".addresses")
    }
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
            (Change::AllMembers | Change::EachMember, false) => format!(
                "{all}: stop onehold on every member, put the new file on every member, wait \
                 {quarantine}, start them all"
            ),
            (Change::AllMembers | Change::EachMember, true) => format!(
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
    let now = new.endpoints_by_name();
    for (name, addresses) in old.endpoints_by_name() {
        let written = |file: &ConfigFile| Some(file.members.get(name)?.addresses.clone());
        let Some(now) = now.get(name) else {
            continue;
        };
        let ips = |all: &[SocketAddr]| all.iter().map(SocketAddr::ip).collect::<Vec<_>>();
        if ips(now) != ips(addresses) && written(&new.file) == written(&old.file) {
            let key = format!("what members.{name}.addresses resolve to");
            all.push(mine(key, format!("{addresses:?}"), format!("{now:?}")));
        }
    }
    all
}

fn rounded_up(span: Span) -> String {
    format!("{}s", span.as_nanos().div_ceil(1_000_000_000))
}

//! Reading the file again by an operator's word: what becomes of it, cluster by cluster, and who is
//! answered.
//!
//! The file is read aside, and adopted between two turns. A cluster that the files have no longer
//! leaves by way of the driver: its node stops first.

use super::Linux;
use super::arrival::{Looked, NotYet, member_name, named};
use crate::clock;
use crate::config_file::{FileError, Loaded, LocalCluster, Outcome, Reloaded};
use crate::control::Reply;
use crate::driver::ShellEvent;
use crate::history::Entry;
use crate::kernel::KernelGroup;
use onehold_core::keyring::Keyring;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::oneshot;

/// Most clients that wait for the answer of one reload.
const MOST_CLIENTS: usize = 2;

/// Somebody asked for a reload.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Who waits for its answer, if not only a signal asked.
    clients: Vec<oneshot::Sender<Reply>>,
    /// One of them wants keys taken away that other members may need.
    now: bool,
}

/// What is left of a reload: clusters that leave, by their numbers, and then its answer.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    clusters: BTreeSet<usize>,
    answer: Option<(Asked, Reply)>,
}

impl Leaving {
    /// Nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.clusters.is_empty() && self.answer.is_none()
    }

    fn answer(&mut self) {
        if self.clusters.is_empty()
            && let Some((asked, reply)) = self.answer.take()
        {
            for client in asked.clients {
                let _ = client.send(reply.clone()); // it may have gone
            }
        }
    }
}

/// What a reload came to, in lines for people.
#[derive(Debug, Default)]
struct Account {
    done: Vec<String>,
    refused: Vec<String>,
    /// How many clusters run as before, for nothing differs.
    same: usize,
}

impl Account {
    fn same_in_words(&self) -> String {
        let s = if self.same == 1 { "" } else { "s" };
        format!("{} cluster{s}: nothing differs", self.same)
    }

    fn reply(mut self) -> Reply {
        if self.same > 0 {
            self.done.push(self.same_in_words());
        }
        Reply::Reloaded {
            done: self.done,
            refused: self.refused,
        }
    }
}

impl Linux {
    /// Looks at the file again, to reload; `client` waits for the answer.
    pub(super) fn begin_reload(&mut self, client: Option<oneshot::Sender<Reply>>, now: bool) {
        self.notify.reloading();
        let arrivals = &mut self.arrivals;
        // One at a time, however long names take.
        let slot = match arrivals.is_looking() {
            true => &mut arrivals.reload_next,
            false => &mut arrivals.reload,
        };
        let asked = slot.get_or_insert_default();
        match client {
            Some(client) if asked.clients.len() >= MOST_CLIENTS => {
                let why = "others wait for a reload already: names, or a disk, take long; try again later";
                let _ = client.send(Reply::refused(why)); // it may have gone
            }
            client => {
                asked.now |= now;
                asked.clients.extend(client);
            }
        }
        if !self.arrivals.is_looking() {
            self.arrivals.look();
        }
    }

    /// Another look at the file.
    pub(super) fn looked(&mut self, looked: Looked) {
        match self.arrivals.reload.take() {
            Some(asked) => {
                let reply = self.reload(looked, asked.now).reply();
                self.pending.reloading.answer = Some((asked, reply));
                self.pending.reloading.answer();
            }
            None => self.arrived(looked),
        }
        if let Some(next) = self.arrivals.reload_next.take() {
            self.arrivals.reload = Some(next);
            self.arrivals.look();
        } else {
            self.notify.ready(&self.condition());
        }
    }

    fn reload(&mut self, looked: Looked, now: bool) -> Account {
        let mut account = Account::default();
        let new = if self.loaded.clusters.is_empty() {
            let names = |loaded: &Loaded| {
                let all = loaded.clusters.iter();
                all.map(|local| local.name().to_owned()).collect()
            };
            let new = looked
                .as_ref()
                .map_or_else(|_| BTreeSet::new(), |f| names(&f.loaded));
            self.arrived(looked);
            new
        } else {
            let rings = self.loaded.clusters.iter().zip(&self.beside);
            let rings: BTreeMap<String, Keyring> = (rings.filter(|_| !now))
                .map(|(local, beside)| (local.name().to_owned(), beside.keyring.clone()))
                .collect();
            let own = self.lives_by_what_floats(&looked);
            let may = |was: &LocalCluster, is: &LocalCluster| {
                let keys = rings.get(was.name());
                keys.map_or(Ok(()), |ring| was.keys_may_become(is, ring))?;
                own.clone().map_or(Ok(()), Err)
            };
            match self.loaded.reload_if(looked, &may) {
                Ok(reloaded) => self.adopt(reloaded, &mut account),
                Err(why) => {
                    tracing::error!(
                        event = "reload",
                        "reload refused, all stays as it was: {why}"
                    );
                    for place in 0..self.loaded.clusters.len() {
                        self.refused(place, why.clone());
                    }
                    account.refused.push(format!("refused: {why}"));
                    BTreeSet::new()
                }
            }
        };
        let runs = (self.loaded.clusters.iter()).filter(|local| new.contains(local.name()));
        let runs = runs.map(|local| format!("{}: served from now on", local.name()));
        account.done.extend(runs);
        let awaited = self.arrivals.awaited().iter();
        account.refused.extend(awaited.map(ToString::to_string));
        account
    }

    /// an address that is to float by the file, and this host lives by, if there is one: said now, and not when
    /// all others have the file. (Only a candidate has a kernel's groups, and only those of one cluster.)
    fn lives_by_what_floats(&mut self, looked: &Looked) -> Option<String> {
        let (Some(kernel), Ok(found)) = (&mut self.kernel, looked) else {
            return None;
        };
        let local = found.loaded.clusters.first()?;
        let refused = kernel.may_float(&KernelGroup::all_of(local)).err()?;
        Some(format!("groups: {refused}"))
    }

    /// Takes over what can be; returns the names of clusters that are new.
    fn adopt(&mut self, reloaded: Reloaded, account: &mut Account) -> BTreeSet<String> {
        let Reloaded {
            clusters,
            sections,
            new,
            missing,
        } = reloaded;
        for (place, outcome) in clusters.into_iter().enumerate() {
            let (Some(local), Some(beside)) =
                (self.loaded.clusters.get(place), self.beside.get_mut(place))
            else {
                continue;
            };
            let (name, keys) = (local.name().to_owned(), local.keys());
            let cluster = beside.number;
            if let Some(to) = beside.goes_toward(local) {
                let (to, spec) = (to.config.clone(), Box::new(to.spec.clone()));
                let event = ShellEvent::Changes { cluster, to, spec };
                self.pending.events.push_back(event);
            }
            match outcome {
                Outcome::Applied(changes) if changes.is_empty() && local.many => account.same += 1,
                Outcome::Applied(changes) => {
                    let event = ShellEvent::Keys { cluster, keys };
                    self.pending.events.push_back(event);
                    let what = match &changes[..] {
                        [] => "nothing differs".to_owned(),
                        changes => changes.join("; "),
                    };
                    let whose = self.prefix(place);
                    tracing::info!(event = "reload", "{whose}reloaded: {what}");
                    account.done.push(format!("{name}: {what}"));
                    self.was_reloaded(place, "the file was reloaded", None);
                    self.reloaded(place, None);
                    continue;
                }
                Outcome::Refused(why) => {
                    let whose = self.prefix(place);
                    tracing::error!(
                        event = "reload",
                        "{whose}reload refused, all stays as it was: {why}"
                    );
                    account.refused.push(format!("{name}: refused: {why}"));
                    self.refused(place, why);
                    continue;
                }
                Outcome::Ended => {
                    tracing::info!(
                        event = "reload",
                        "{name}: no file has it any more; it leaves"
                    );
                    account.done.push(format!("{name}: not served any more"));
                    self.pending.reloading.clusters.insert(cluster);
                    self.let_leave(cluster);
                }
            }
            self.reloaded(place, None);
        }
        if account.same > 0 {
            let same = account.same_in_words();
            tracing::info!(event = "reload", "reloaded: {same}");
        }
        match sections {
            Ok(changes) => {
                for change in changes {
                    tracing::info!(event = "reload", "reloaded: {change}");
                    account.done.push(change);
                }
            }
            Err(why) => {
                tracing::error!(event = "reload", "reload refused: {why}");
                account.refused.push(format!("refused: {why}"));
            }
        }
        let realtime = self.loaded.clusters.iter().find(|local| local.realtime());
        if let Some(local) = realtime.cloned() {
            self.take_priority(&local);
        }
        self.log.set_level(self.loaded.log.level);
        self.listen();
        self.checks_may_differ();
        let names = new.iter().map(|local| local.name().to_owned()).collect();
        let lacking = self.join_all(new);
        let missing = named(missing).chain(lacking).collect();
        let _ = self.wait_for(missing);
        names
    }

    /// The cluster at a place goes on as before.
    fn refused(&mut self, place: usize, why: String) {
        self.was_reloaded(place, "a reload was refused", Some(&why));
        self.reloaded(place, Some(why));
    }

    /// For people who ask later.
    fn was_reloaded(&mut self, place: usize, what: &str, why: Option<&str>) {
        if let (Some(local), Some(beside)) =
            (self.loaded.clusters.get(place), self.beside.get(place))
        {
            let entry = Entry::new(member_name(local), "reload", what);
            let entry = why.iter().fold(entry, |entry, why| entry.because(*why));
            self.histories.add(beside.number, entry, clock::boottime());
        }
    }

    /// What a line begins with that is of one cluster.
    pub(super) fn prefix(&self, place: usize) -> String {
        let local = self.loaded.clusters.get(place).filter(|local| local.many);
        local.map_or_else(String::new, |local| format!("{}: ", local.name()))
    }

    /// A look for what is awaited: what runs stays as it is.
    fn arrived(&mut self, looked: Looked) {
        let found = match looked {
            Ok(found) => found,
            Err(e) => {
                if !self.arrivals.awaited().is_empty() {
                    let _ = self.wait_for(vec![(None, e.into())]);
                }
                return;
            }
        };
        let Loaded {
            clusters,
            log,
            metrics,
        } = found.loaded;
        let names = clusters.iter().map(|local| local.name());
        let missing = found.missing.iter().filter_map(|m| m.cluster.as_deref());
        let in_file: Vec<String> = names.chain(missing).map(ToOwned::to_owned).collect();
        let runs = &self.loaded.clusters;
        let wanted = |name: &str| {
            !runs.iter().any(|local| local.name() == name)
                && (runs.is_empty() || self.arrivals.welcomes(name, &in_file))
        };
        let new = clusters.into_iter().filter(|local| wanted(local.name()));
        let new = new.collect();
        // What is wrong with the file of one that runs is for a reload to refuse.
        let of_others = |e: &FileError| {
            !runs
                .iter()
                .any(|local| local.many && local.source == e.file)
        };
        let missing = found.missing.into_iter().filter(|m| match &m.cluster {
            Some(name) => wanted(name),
            None => wanted("") && of_others(&m.why),
        });
        let missing: Vec<_> = missing.collect();
        self.take_sections(log, metrics);
        let lacking: Vec<(Option<String>, NotYet)> = self.join_all(new);
        let missing = named(missing).chain(lacking).collect();
        let _ = self.wait_for(missing);
    }

    /// A cluster is not served any more.
    pub(super) fn has_left(&mut self, cluster: usize) {
        let leaving = &mut self.pending.reloading;
        leaving.clusters.remove(&cluster);
        leaving.answer();
    }
}

//! a configuration that follows another while its node runs: when each step is taken, and what
//! goes by a group's number.
//!
//! What it never does: decide whether a step may be taken (the core does), or take one that its
//! world has not prepared.

use super::openings::BeforeHold;
use super::{Driver, Served, Shell, ShellEvent};
use crate::config_file::Path;
use crate::metrics::PeerMetrics;
use crate::orders::{Said, Standing, Standings};
use crate::trace;
use onehold_core::advert::{Change, GroupId, MemberId};
use onehold_core::config::{Config, Spec};
use onehold_core::time::LocalTime;
use std::collections::BTreeMap;

/// What is to come into force.
#[derive(Debug)]
pub(super) struct Changing {
    /// What was settled last.
    settled: Config,
    /// What is to be settled, one after the other.
    path: Vec<Config>,
    spec: Spec,
    /// It is still on the way to something else, and has to turn back first.
    turns_back: bool,
    /// what stands for the groups that are in no configuration between, by their names.
    gone: BTreeMap<String, Standings>,
    /// Why the next step, which may be taken, is not.
    why_not: Option<String>,
    /// See [`Stepped::to_come`].
    to_come: BTreeMap<String, Vec<Path>>,
    /// Since when a member was not heard by these, while the next step may be taken.
    unheard: Option<LocalTime>,
}

/// What else goes by the groups that are in force now, by their numbers; empty where that stays.
#[derive(Clone, Debug, Default)]
pub struct Stepped {
    /// what each waits for before its gate opens.
    pub before_hold: Option<Vec<Option<BeforeHold>>>,
    /// The interface of each of its addresses.
    pub interfaces: Vec<Vec<String>>,
    /// The other members with the paths to them, as of new ones, if others are members, or they are
    /// reached otherwise.
    pub peers: Option<Vec<PeerMetrics>>,
    /// By the names of members, the ways that are to be left over when the change is settled, of those that are
    /// reached otherwise then.
    pub to_come: BTreeMap<String, Vec<Path>>,
}

/// For each group that is in force now, its number so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places(Vec<Option<usize>>);

impl Places {
    /// Of the groups of `to`, in `from`.
    #[must_use]
    pub fn of(from: &Config, to: &Config) -> Self {
        let place = |name: &str| from.groups().iter().position(|g| g.name == name);
        Self(to.groups().iter().map(|g| place(&g.name)).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<usize>> {
        self.0.iter().copied()
    }

    /// The number now of the group that had this one so far, if it is still there.
    #[must_use]
    pub fn now(&self, was: u8) -> Option<u8> {
        let at = self.0.iter().position(|p| *p == Some(usize::from(was)))?;
        u8::try_from(at).ok()
    }

    /// What is kept by group.
    pub fn renumber<V>(&self, all: &mut BTreeMap<u8, V>) {
        let was = std::mem::take(all);
        all.extend((was.into_iter()).filter_map(|(group, v)| Some((self.now(group)?, v))));
    }

    /// What is kept by member and group.
    pub(super) fn renumber_second<V>(&self, all: &mut BTreeMap<(u8, u8), V>) {
        let was = std::mem::take(all).into_iter();
        all.extend(was.filter_map(|((m, group), v)| Some(((m, self.now(group)?), v))));
    }

    /// What is kept by cluster and group.
    pub(super) fn renumber_of<V>(&self, cluster: usize, all: &mut BTreeMap<(usize, u8), V>) {
        let was = std::mem::take(all).into_iter();
        all.extend(was.filter_map(|((of, group), v)| {
            let group = if of == cluster {
                self.now(group)?
            } else {
                group
            };
            Some(((of, group), v))
        }));
    }
}

impl<S: Shell> Driver<S> {
    /// The file of a cluster was read again.
    pub(super) fn changes(&mut self, cluster: usize, to: Config, spec: Spec) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        if let Change::From(_) = s.config.change() {
            // Others may rest on what this member has said: there is no way back. The shell refuses
            // such a file before.
            tracing::error!(event = "change", "another file while one comes into force");
            return;
        }
        let was = s.changing.take().map(|was| *was);
        let alarmed = was.as_ref().is_some_and(|was| was.why_not.is_some());
        let (settled, gone) = was.map_or_else(
            || (s.config.clone(), BTreeMap::new()),
            |was| (was.settled, was.gone),
        );
        // Whatever the file says now, it is not what this member was on the way to; or it is said
        // again, and others have to hear that.
        let turns_back = s.config.change() != Change::None;
        let path = match to == settled {
            true => Vec::new(),
            false => settled.path_to(&to).unwrap_or_else(|why| {
                tracing::error!(event = "change", "{why}"); // the file was refused for it before
                Vec::new()
            }),
        };
        if turns_back || !path.is_empty() {
            s.changing = Some(Box::new(Changing {
                settled,
                path,
                spec,
                turns_back,
                gone,
                why_not: None,
                to_come: BTreeMap::new(),
                unheard: None,
            }));
        }
        self.served.touch(cluster);
        if alarmed {
            self.alarms(cluster, "change", Vec::new());
        }
    }

    /// Takes each step of a change that may be taken; none while the cluster stops, for nobody has
    /// told a group to stop that comes then.
    pub(super) fn take_steps(&mut self, cluster: usize, now: LocalTime) {
        while !self.stopping
            && let Some(s) = self.served.get_mut(cluster)
            && !s.leaves
            && let Some(changing) = &s.changing
            && let Some((to, step)) = changing.next(s, now)
        {
            let (from, orders) = (s.config.clone(), s.standing());
            let last = matches!(step, trace::Step::From {} | trace::Step::Settled {});
            if let Some((_, why)) = changing.unheard(s, now).filter(|_| last) {
                return self.hears_too_little(cluster, now, why);
            }
            let done = self.shell.step(cluster, &from, &to);
            let Some(s) = self.served.get_mut(cluster) else {
                return;
            };
            let Some(changing) = &mut s.changing else {
                return;
            };
            let stepped = match done {
                Ok(Some(stepped)) => stepped,
                Ok(None) => return, // the shell has a turn when it is
                Err(why) => return self.not_yet(cluster, why),
            };
            let alarmed = changing.why_not.take().is_some();
            changing.unheard = None;
            let places = Places::of(&from, &to);
            let orders = changing.orders_of_new(&from, orders, &to, &places);
            match step {
                trace::Step::Toward { .. } => changing.to_come = stepped.to_come,
                trace::Step::From {} => {}
                trace::Step::Settled {} => changing.settled = changing.path.remove(0),
                trace::Step::Back {} => changing.turns_back = false,
            }
            if to.change() == Change::None && changing.path.is_empty() {
                s.changing = None;
            }
            let mut left: Vec<Path> = Vec::new();
            s.before_hold = stepped
                .before_hold
                .unwrap_or_else(|| std::mem::take(&mut s.before_hold));
            s.metrics.change(&to, &places, stepped.interfaces);
            if let Some(peers) = stepped.peers {
                left = s.metrics.paths().collect();
                s.metrics.members_change(&from, &to, peers);
                if from.members() != to.members() {
                    s.seen.forget_witnesses(&to);
                    s.keyring.renumber(|was| {
                        let name = from.member_name(was);
                        to.peers().find(|peer| to.member_name(*peer) == name)
                    });
                    self.shell.knows_keys(cluster, &s.keyring);
                }
            }
            if from.groups().len() != to.groups().len()
                || places.iter().enumerate().any(|(n, p)| p != Some(n))
            {
                s.seen.renumber(&places);
                s.notes.forget_what_was_said();
                self.cooldowns.renumber(cluster, &places);
                self.openings.renumber(cluster, &places);
                self.releases.renumber(cluster, &places);
                self.probes.forget(cluster);
            }
            self.served.follow_paths(cluster, &left);
            if alarmed {
                self.alarms(cluster, "change", Vec::new());
            }
            self.go_by(cluster, now, to, step);
            for (group, order) in orders {
                self.order_again(cluster, now, group, order);
            }
        }
    }

    /// The next step, which may be taken, is not: why.
    fn not_yet(&mut self, cluster: usize, why: String) {
        let changing = self.served.get_mut(cluster);
        let changing = changing.and_then(|s| s.changing.as_mut());
        if let Some(changing) = changing.filter(|c| c.why_not.as_ref() != Some(&why)) {
            changing.why_not = Some(why.clone());
            let alarm = format!("the new configuration can't come into force yet: {why}");
            self.alarms(cluster, "change", vec![alarm]);
        }
    }

    /// a member is not heard by the ways that are to be left over. That is told if it lasts: a
    /// word that comes by several ways comes by one first.
    fn hears_too_little(&mut self, cluster: usize, now: LocalTime, why: String) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        let patience = s.config.timing().vote();
        let changing = s.changing.as_mut();
        let since = changing.map(|c| *c.unheard.get_or_insert(now));
        if since.is_some_and(|since| now >= since.plus(patience)) {
            self.not_yet(cluster, why);
        }
    }

    /// members by whose new ways nobody is heard, for a status: a step that the node would take
    /// waits for these.
    pub(super) fn waits_besides(s: &Served, now: LocalTime) -> Option<MemberId> {
        let changing = s.changing.as_ref()?;
        Some(changing.unheard(s, now)?.0)
    }

    /// it doubts no more by whose votes it may hold.
    pub(super) fn report_trust(&mut self, cluster: usize) {
        if let Some(s) = self.served.get_mut(cluster)
            && s.doubted
            && !s.node.doubts()
        {
            s.doubted = false;
            tracing::info!(
                event = "change",
                "{}: the same members decide for both candidates: it may hold (R-22)",
                s.metrics.cluster
            );
            self.shell.trusts(cluster, &s.config.electorates());
        }
    }

    /// Another configuration is in force from now on.
    fn go_by(&mut self, cluster: usize, now: LocalTime, to: Config, step: trace::Step) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        if let Some(s) = self.served.get_mut(cluster) {
            tracing::info!(event = "change", "{}: {}", s.metrics.cluster, in_words(&to));
            s.node.change(&s.config, &to, now, &mut effects);
            s.config = to;
            if let Some(recorder) = &mut self.recorder {
                recorder.change(&trace::Changed {
                    now,
                    step: &step,
                    effects: &effects,
                    node: &s.node,
                });
            }
        }
        self.served.touch(cluster);
        for effect in &effects {
            self.apply(cluster, now, effect);
        }
        self.effects = effects;
    }
}

impl Changing {
    /// which member is not heard by the ways that are to be left over, and what to do. A witness
    /// that is not heard at all keeps nobody waiting.
    fn unheard(&self, s: &Served, now: LocalTime) -> Option<(MemberId, String)> {
        let lately = |at: LocalTime| now.since(at) < s.config.timing().vote();
        let mut peers = s.metrics.peers.iter();
        peers.find_map(|peer| {
            let name = s.config.member_name(peer.member);
            let ways = self.to_come.get(&*name)?;
            let mut by = peer.paths.iter().filter(|p| ways.contains(&p.path));
            let heard = peer.accepted.is_some_and(|(_, at)| lately(at));
            let counts = heard || s.config.is_candidate(peer.member);
            if !counts || by.any(|p| p.heard_at.is_some_and(lately)) {
                return None;
            }
            let ways = ways.iter().map(|w| format!("{} → {}", w.remote, w.local));
            let ways: Vec<String> = ways.collect();
            let why = format!(
                "{name} is not heard by {}: has it read the new file, is each address on its host, and does the \
                 network let it through?",
                ways.join(", ")
            );
            Some((peer.member, why))
        })
    }

    /// The next step that may be taken, if one may.
    fn next(&self, s: &Served, now: LocalTime) -> Option<(Config, trace::Step)> {
        if self.turns_back {
            return Some((self.settled.clone(), trace::Step::Back {}));
        }
        let next = self.path.first()?;
        let may = s.node.may_step(&s.config, now);
        match s.config.change() {
            Change::None => {
                let spec = Box::new(self.spec.clone());
                Some((self.settled.toward(next), trace::Step::Toward { spec }))
            }
            Change::Toward(_) if may => Some((next.from(&self.settled), trace::Step::From {})),
            Change::From(_) if may => Some((next.clone(), trace::Step::Settled {})),
            Change::Toward(_) | Change::From(_) => None,
        }
    }

    /// the orders of the groups of `to` that are not in `from`, where `all` stand by group:
    /// those of before, if the group was there on this way; else what stands for all groups.
    fn orders_of_new(
        &mut self,
        from: &Config,
        all: Vec<Standings>,
        to: &Config,
        places: &Places,
    ) -> Vec<(GroupId, (Standing, Said))> {
        let every = [&all[..], &self.gone.values().cloned().collect::<Vec<_>>()].concat();
        let mut every = every.into_iter();
        let mut for_all = every.next().unwrap_or_default();
        for orders in every {
            for_all.retain(|order, _| orders.contains_key(order));
        }
        let new = (0u8..).map(GroupId).zip(to.groups()).zip(places.iter());
        let new = new.filter(|(_, was)| was.is_none());
        let orders = new.flat_map(|((group, g), _)| {
            let orders = self.gone.remove(&g.name).unwrap_or_else(|| for_all.clone());
            orders.into_iter().map(move |order| (group, order))
        });
        let orders = orders.collect();
        let goes = |name: &str| !to.groups().iter().any(|g| g.name == name);
        let left = from.groups().iter().zip(all).filter(|(g, _)| goes(&g.name));
        self.gone.extend(left.map(|(g, of)| (g.name.clone(), of)));
        orders
    }
}

impl ShellEvent {
    /// what waits for the driver is of the same group by its new number; false if that is not
    /// there any more.
    pub(crate) fn move_to(&mut self, cluster: usize, places: &Places) -> bool {
        match self {
            Self::Eligible {
                cluster: of, group, ..
            }
            | Self::Health {
                cluster: of, group, ..
            }
            | Self::HoldFailed {
                cluster: of, group, ..
            }
            | Self::Prepared {
                cluster: of, group, ..
            }
            | Self::Changed { cluster: of, group }
            | Self::ForeignClaim { cluster: of, group }
            | Self::ProbeAnswered {
                cluster: of, group, ..
            }
            | Self::Released {
                cluster: of, group, ..
            }
            | Self::Checks {
                cluster: of, group, ..
            } if *of == cluster => {
                let now = places.now(group.0).map(GroupId);
                *group = now.unwrap_or(*group);
                now.is_some()
            }
            Self::Eligible { .. }
            | Self::Health { .. }
            | Self::HoldFailed { .. }
            | Self::Prepared { .. }
            | Self::Changed { .. }
            | Self::ForeignClaim { .. }
            | Self::ProbeAnswered { .. }
            | Self::Released { .. }
            | Self::Checks { .. }
            | Self::Datagram { .. }
            | Self::Frame { .. }
            | Self::Alarms { .. }
            | Self::Guard { .. }
            | Self::Request(_)
            | Self::Keys { .. }
            | Self::Changes { .. }
            | Self::Joined(_)
            | Self::Leaves { .. }
            | Self::Waiting(_)
            | Self::OnDisk { .. }
            | Self::Upgrade(_)
            | Self::Stop => true,
        }
    }
}

/// What is in force, for the log.
fn in_words(config: &Config) -> String {
    let digest = config.digest().0;
    match config.change() {
        Change::None => format!("config {digest:016x} is in force (R-22)"),
        Change::Toward(to) => format!(
            "config {:016x} is to come into force; waiting until every member has it (R-22)",
            to.0
        ),
        Change::From(_) => {
            format!("config {digest:016x} is in force; waiting until it is on every member (R-22)")
        }
    }
}

#[cfg(test)]
mod tests;

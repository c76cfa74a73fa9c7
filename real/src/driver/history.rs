//! What of all that happens to a member is worth an entry in its history: its own changes, and
//! what it sees of the others by their adverts and notes. Nothing here is read by a rule.

use super::{Driver, Served, Shell};
use crate::control::{Order, Reply};
use crate::history::{Entry, RELEASED, ROLE, STARTED, STOPPING, Told, without_figures};
use crate::note::Line;
use onehold_core::advert::{GroupId, MemberId, Statement};
use onehold_core::config::Config;
use onehold_core::effect::{Event, Why};
use onehold_core::observe::{RoleName, Snapshot};
use onehold_core::time::{LocalTime, Span};
use std::collections::{BTreeMap, BTreeSet};

/// What a member has seen of the others, as far as its history goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// By member and group: what its adverts say.
    says: BTreeMap<(u8, u8), Says>,
    /// The members that were met before.
    met: BTreeSet<u8>,
    /// By member and group: what it lacks to hold it, in words.
    lacks: BTreeMap<(u8, u8), String>,
}

/// What adverts said of a group last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Says {
    holds: bool,
    /// It let go in order to hand over.
    handed_over: bool,
}

/// A change that an advert shows.
pub(super) struct Change {
    group: GroupId,
    holds: bool,
    handed_over: bool,
}

impl Seen {
    /// An advert was accepted: what has changed by it. Nothing is allocated if nothing has.
    pub(super) fn advert(&mut self, from: MemberId, statements: &[Statement]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (group, statement) in (0u8..).map(GroupId).zip(statements) {
            let says = self.says.entry((from.0, group.0)).or_default();
            let before = *says;
            says.holds = statement.holds;
            says.handed_over = match (before.holds, statement.holds) {
                (_, true) => statement.yields,
                (true | false, false) => before.handed_over,
            };
            if before.holds != statement.holds {
                changes.push(Change {
                    group,
                    holds: statement.holds,
                    handed_over: before.handed_over,
                });
            }
        }
        changes
    }

    /// The same for people.
    pub(super) fn change(
        &mut self,
        config: &Config,
        all: &Snapshot,
        from: MemberId,
        change: &Change,
    ) -> Entry {
        let group = change.group;
        if !change.holds {
            self.lets_go(from, group);
            let entry = role(config, from, group, RoleName::Holder, RoleName::Standby).seen();
            return match change.handed_over {
                true => entry.because("it handed over").by("R-12"),
                false => entry,
            };
        }
        let entry = role(config, from, group, RoleName::Standby, RoleName::Holder).seen();
        match self.what_freed(config, all, from, group) {
            Some(why) => entry.because(why),
            None => entry,
        }
    }

    /// A member lets go of what it held: how the others let go before is past.
    fn lets_go(&mut self, member: MemberId, group: GroupId) {
        let others = self
            .says
            .iter_mut()
            .filter(|((m, g), _)| (*m, *g) != (member.0, group.0));
        for ((_, of), says) in others {
            if *of == group.0 && !says.holds {
                says.handed_over = false;
            }
        }
    }

    /// The node reported something.
    pub(super) fn event(
        &mut self,
        config: &Config,
        all: &Snapshot,
        event: &Event,
    ) -> Option<Entry> {
        let me = || config.member_name(config.me()).into_owned();
        let peer = |id| config.member_name(id).into_owned();
        let group = |id| config.group_name(id).into_owned();
        let entry = match *event {
            Event::Role {
                group: id,
                from,
                to,
                why,
            } => {
                let entry = role(config, config.me(), id, from, to);
                if from == RoleName::Holder {
                    self.lets_go(config.me(), id);
                }
                if why == Why::Released {
                    return Some(Entry {
                        event: RELEASED.into(),
                        ..entry
                    });
                }
                let freed = (to == RoleName::Holder)
                    .then(|| self.what_freed(config, all, config.me(), id))
                    .flatten();
                entry.because(match (freed, why) {
                    (Some(freed), Why::Majority) => format!("{freed}, and {}", why.text()),
                    (Some(freed), Why::PeerSilent) => freed,
                    (Some(_) | None, _) => why.text().to_owned(),
                })
            }
            Event::Met { peer: id, .. } => {
                let again = !self.met.insert(id.0);
                let held = self.held_by(config, id);
                self.says.retain(|(member, _), _| *member != id.0);
                self.lacks.retain(|(member, _), _| *member != id.0);
                let text = if again {
                    "has started again"
                } else {
                    "is heard"
                };
                Entry::new(peer(id), event.name(), format!("{text}{held}")).seen()
            }
            Event::Lost { peer: id } => {
                let held = self.held_by(config, id);
                let text = format!("is not heard any more{held}");
                let entry = Entry::new(peer(id), event.name(), text).seen();
                match held.as_str() {
                    "" => entry.light(),
                    _ => entry,
                }
            }
            Event::Back { peer: id } => Entry::new(peer(id), event.name(), "is heard again")
                .seen()
                .light(),
            Event::Opened { group: id } => {
                Entry::new(me(), event.name(), "prepared: the gate opens").of(group(id))
            }
            Event::Conflict {
                group: id,
                peer: other,
            } => {
                Entry::new(me(), event.name(), format!("{} holds, too", peer(other))).of(group(id))
            }
            Event::Strange { group: id } => {
                let text = "one with another configuration says that it holds, too";
                Entry::new(me(), event.name(), text).of(group(id))
            }
            Event::CommandRefused { group: id, refusal } => {
                let entry = Entry::new(me(), "order", "an order was refused").of(group(id));
                entry.because(refusal.text())
            }
            Event::Overslept => {
                let text = "was not run when it should have been (paused, suspended or starved)";
                Entry::new(me(), event.name(), text).light()
            }
            Event::Ready => return None, // it follows from the start
        };
        Some(entry.by(event.rule()))
    }

    /// What a member held when it was heard last, as the end of a sentence; nothing if nothing.
    fn held_by(&self, config: &Config, member: MemberId) -> String {
        let says = self.says.range((member.0, 0)..=(member.0, u8::MAX));
        let held = says.filter(|(_, says)| says.holds);
        let held = held.map(|((_, id), _)| config.group_name(GroupId(*id)).into_owned());
        match &held.collect::<Vec<_>>()[..] {
            [] => String::new(),
            some => format!("; it held {}", some.join(", ")),
        }
    }

    /// Why a candidate may hold now: what became of the other one, as this member saw it.
    fn what_freed(
        &self,
        config: &Config,
        all: &Snapshot,
        candidate: MemberId,
        group: GroupId,
    ) -> Option<String> {
        let other = all
            .peers
            .iter()
            .find(|p| p.member != candidate && config.is_candidate(p.member))?; // this member knows itself what became of it
        let name = config.member_name(other.member);
        let says = self
            .says
            .get(&(other.member.0, group.0))
            .copied()
            .unwrap_or_default();
        let silent = other.heard_ago.filter(|ago| *ago >= config.timing().vote());
        Some(match (other.heard_ago, silent) {
            (None, _) => format!("{name} has not been heard"),
            (Some(_), Some(ago)) if says.holds => {
                format!("{name}, which held it, was silent for {}", in_words(ago))
            }
            (Some(_), Some(ago)) => format!("{name} was silent for {}", in_words(ago)),
            (Some(_), None) if says.handed_over => format!("{name} handed over"),
            (Some(_), None) if says.holds => format!("{name} lets go"),
            (Some(_), None) => format!("{name} did not hold it"),
        })
    }

    /// What members lack to hold groups has changed, as `member` says it in `lines`.
    pub(super) fn lacks(
        &mut self,
        config: &Config,
        member: MemberId,
        lines: &[Line],
    ) -> Vec<Entry> {
        let mut entries = Vec::new();
        for group in (0u8..).map(GroupId).take(config.groups().len()) {
            let said = lines.iter().find(|line| line.group == group);
            // A start, and what takes a moment, is no news.
            let said = said.filter(|line| !line.text.contains("in quarantine"));
            let key = (member.0, group.0);
            let before = self.lacks.get(&key);
            let text = match (before, said) {
                (Some(before), Some(line))
                    if without_figures(before) == without_figures(&line.text) =>
                {
                    continue;
                }
                (None, None) => continue,
                (_, Some(line)) => {
                    self.lacks.insert(key, line.text.clone());
                    let name = config.member_name(member);
                    let entry = Entry::new(name, "lacks", "is not ready");
                    entry.because(line.text.clone())
                }
                (Some(_), None) => {
                    self.lacks.remove(&key);
                    Entry::new(config.member_name(member), "lacks", "is ready again")
                }
            };
            let entry = text.of(config.group_name(group)).light();
            entries.push(if member == config.me() {
                entry
            } else {
                entry.seen()
            });
        }
        entries
    }
}

fn role(config: &Config, member: MemberId, group: GroupId, from: RoleName, to: RoleName) -> Entry {
    let text = format!("{} → {}", from.text(), to.text());
    Entry::new(config.member_name(member), ROLE, text).of(config.group_name(group))
}

fn in_words(span: Span) -> String {
    crate::status::ago(span.as_millis_f64())
}

impl Served {
    /// What the node reported, for people.
    pub(super) fn entry_of(&mut self, now: LocalTime, event: &Event) -> Option<Entry> {
        let all = self.node.observe(&self.config, now);
        self.seen.event(&self.config, &all, event)
    }
}

impl<S: Shell> Driver<S> {
    /// An advert was accepted that says this.
    pub(super) fn said(
        &mut self,
        cluster: usize,
        now: LocalTime,
        from: MemberId,
        says: &[Statement],
    ) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        for change in s.seen.advert(from, says) {
            let all = s.node.observe(&s.config, now);
            let entry = s.seen.change(&s.config, &all, from, &change);
            self.shell.happened(cluster, entry);
        }
    }

    /// Something happened to this member that people may ask about later.
    pub(super) fn happened_here(
        &mut self,
        cluster: usize,
        entry: impl FnOnce(String, &Config) -> Entry,
    ) {
        if let Some(s) = self.served.get(cluster) {
            let name = s.config.member_name(s.config.me()).into_owned();
            let entry = entry(name, &s.config);
            self.shell.happened(cluster, entry);
        }
    }

    pub(super) fn has_started(&mut self, cluster: usize) {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("the daemon started (onehold {version})");
        self.happened_here(cluster, |me, _| Entry::new(me, STARTED, text).by("R-9"));
    }

    pub(super) fn begins_to_stop(&mut self, cluster: usize) {
        self.happened_here(cluster, |me, _| {
            Entry::new(me, STOPPING, "the daemon stops").by("R-12")
        });
    }

    /// the kernel refused a hold.
    pub(super) fn did_not_hold(&mut self, cluster: usize, group: GroupId, why: &str) {
        self.happened_here(cluster, |me, config| {
            let entry = Entry::new(me, "hold_failed", "the kernel refused to hold it");
            entry.of(config.group_name(group)).because(why).by("R-8")
        });
    }

    /// `before_hold` was not done, or not in time.
    pub(super) fn was_not_prepared(
        &mut self,
        cluster: usize,
        group: GroupId,
        opens: bool,
        why: &str,
    ) {
        let text = match opens {
            true => "the gate opens though it is not prepared",
            false => "it could not be prepared",
        };
        self.happened_here(cluster, |me, config| {
            let entry = Entry::new(me, "unprepared", text).of(config.group_name(group));
            entry.because(why).by("R-19")
        });
    }

    /// The cluster that is named; or the only one.
    pub(super) fn cluster_meant(&self, name: Option<&str>) -> Result<usize, Reply> {
        let found = match name {
            Some(name) => self.served.iter().position(|s| s.metrics.cluster == name),
            None => (self.served.len() == 1).then_some(0),
        };
        found.ok_or_else(|| {
            let why = match (&self.served[..], &self.awaited[..]) {
                ([], [waiting, ..]) => waiting.to_string(),
                (served, _) => {
                    let names: Vec<&str> = served.iter().map(|s| &*s.metrics.cluster).collect();
                    format!("which cluster? there are {}", names.join(", "))
                }
            };
            Reply::Refused { why }
        })
    }

    /// What happened in a cluster, for people.
    pub(super) fn told(&self, cluster: Option<&str>) -> Reply {
        let cluster = match self.cluster_meant(cluster) {
            Ok(cluster) => cluster,
            Err(refused) => return refused,
        };
        let s = &self.served[cluster];
        let (entries, not_kept) = self.shell.history(cluster).unwrap_or_default();
        Reply::History(Told {
            cluster: s.metrics.cluster.clone(),
            member: s.config.member_name(s.config.me()).into_owned(),
            entries,
            not_kept,
        })
    }

    /// An operator ordered something, and it was not refused.
    pub(super) fn was_ordered(&mut self, cluster: usize, group: GroupId, order: Order) {
        let said = match order {
            Order::Switch => "switch",
            Order::Standby => "standby",
            Order::Resume => "resume",
            Order::PresumeDead => "presume-dead",
        };
        self.happened_here(cluster, |me, config| {
            let text = format!("the operator said {said}");
            Entry::new(me, "order", text).of(config.group_name(group))
        });
    }
}

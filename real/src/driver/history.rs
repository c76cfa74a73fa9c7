//! What of all that happens to a member is worth an entry in its history: its own changes, and
//! what it sees of the others by their adverts and notes. Nothing here is read by a rule.

use super::changing::Places;
use super::{Driver, Served, Shell};
use crate::control::{Order, Reply};
use crate::history::{Entry, RELEASED, ROLE, STARTED, STOPPING, Told, UPGRADED, without_figures};
use crate::note::Line;
use crate::orders::Said;
use crate::orders::is_no_lack;
use crate::telemetry;
use crate::upgrade::pairs;
use onehold_core::advert::{GroupId, MemberId, Statement};
use onehold_core::config::Config;
use onehold_core::effect::{Event, Why};
use onehold_core::observe::{RoleName, Snapshot};
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};

/// What a member has seen of the others, as far as its history goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    /// By member and group: what its adverts say.
    #[serde(with = "pairs")]
    says: BTreeMap<(u8, u8), Says>,
    /// The members that were met before.
    met: BTreeSet<u8>,
    /// By member and group: what it lacks to hold it, in words.
    #[serde(with = "pairs")]
    lacks: BTreeMap<(u8, u8), String>,
}

/// What adverts said of a group last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Says {
    holds: bool,
    /// It let go, and no other has since.
    let_go: bool,
    /// It let go in order to hand over to this member. (To others an advert does not say that.)
    handed_over: bool,
}

/// A change that an advert shows.
pub(super) struct Change {
    group: GroupId,
    holds: bool,
    handed_over: bool,
    /// It said nothing before, so when that changed is not known.
    is_first: bool,
}

impl Seen {
    /// the groups have other numbers.
    pub(super) fn renumber(&mut self, places: &Places) {
        places.renumber_second(&mut self.says);
        places.renumber_second(&mut self.lacks);
    }

    /// others are members; candidates are the same.
    pub(super) fn forget_witnesses(&mut self, config: &Config) {
        let stays = |member: u8| config.is_candidate(MemberId(member));
        self.says.retain(|(member, _), _| stays(*member));
        self.lacks.retain(|(member, _), _| stays(*member));
        self.met.retain(|member| stays(*member));
    }

    /// An advert was accepted: what has changed by it. Nothing is allocated if nothing has.
    pub(super) fn advert(&mut self, from: MemberId, statements: &[Statement]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (group, statement) in (0u8..).map(GroupId).zip(statements) {
            let entry = self.says.entry((from.0, group.0));
            let is_first = matches!(entry, Slot::Vacant(_));
            let says = entry.or_default();
            let before = *says;
            says.holds = statement.holds;
            says.let_go = !statement.holds && (before.holds || before.let_go);
            says.handed_over = match (before.holds, statement.holds) {
                (_, true) => statement.yields,
                (true | false, false) => before.handed_over,
            };
            if before.holds != statement.holds {
                changes.push(Change {
                    group,
                    holds: statement.holds,
                    handed_over: before.handed_over,
                    is_first,
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
        if change.is_first {
            let name = config.member_name(from);
            let entry = Entry::new(name, "found", "is found holding it").light();
            return entry.of(config.group_name(group)).seen();
        }
        let entry = role(config, from, group, RoleName::Standby, RoleName::Holder).seen();
        match self.what_freed(config, all, from, group) {
            Some(why) => entry.because(why),
            None => entry,
        }
    }

    /// Why a candidate takes hold now, as far as the other one is the reason. What that one said
    /// before it fell silent is past from here on.
    fn what_freed(
        &mut self,
        config: &Config,
        all: &Snapshot,
        candidate: MemberId,
        group: GroupId,
    ) -> Option<String> {
        let mut others = all.peers.iter();
        let other = others.find(|p| p.member != candidate && config.is_candidate(p.member))?;
        let name = config.member_name(other.member);
        let says = self.says.entry((other.member.0, group.0)).or_default();
        let late = config.timing().interval().times(2);
        let Some(ago) = other.heard_ago else {
            return Some(format!("{name} has not been heard"));
        };
        if ago < late {
            return Some(match (says.handed_over, says.holds || says.let_go) {
                (true, _) => format!("{name} handed over"),
                (false, true) => format!("{name} let go"),
                (false, false) => format!("{name} did not hold it"),
            });
        }
        let held = std::mem::take(says).holds;
        let which = if held { ", which held it," } else { "" };
        Some(format!("{name}{which} was silent for {}", in_words(ago)))
    }

    /// A member lets go of what it held: how the others let go before is past.
    fn lets_go(&mut self, member: MemberId, group: GroupId) {
        let others = self
            .says
            .iter_mut()
            .filter(|((m, g), _)| (*m, *g) != (member.0, group.0));
        for ((_, of), says) in others {
            if *of == group.0 && !says.holds {
                (says.let_go, says.handed_over) = (false, false);
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
            Event::Answered { group: id } => {
                let text = "another machine answers for the address, and nothing is heard of the other member";
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
            Event::ClockWentBack { .. } => {
                let text =
                    "ended itself: this machine's clock went back (restored from a snapshot?)";
                Entry::new(me(), event.name(), text)
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
            let said = said.filter(|line| !is_no_lack(&line.text));
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

/// Most clusters that an answer names.
const MOST_NAMES: usize = 32;
/// A member that can't keep up oversleeps in each turn: people are told no more often.
const OVERSLEPT_APART: Span = Span::from_millis(1_000);

impl Served {
    /// Whether people are told of what the node reported.
    fn tells(&mut self, event: &Event, now: LocalTime) -> bool {
        let told = (self.overslept).is_some_and(|at| now < at.plus(OVERSLEPT_APART));
        match event {
            Event::Overslept if told => return false,
            Event::Overslept => self.overslept = Some(now),
            _ => {}
        }
        true
    }

    /// What the node reported, for people.
    fn entry_of(&mut self, now: LocalTime, event: &Event) -> Option<Entry> {
        let all = self.node.observe(&self.config, now);
        self.seen.event(&self.config, &all, event)
    }
}

impl<S: Shell> Driver<S> {
    /// The node reported something.
    pub(super) fn tell(&mut self, cluster: usize, now: LocalTime, event: &Event) {
        let several = self.served.len() > 1;
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        s.metrics.event(event, now);
        if s.tells(event, now) {
            telemetry::report(event, &s.config, &s.metrics.cluster, several);
            if let Some(entry) = s.entry_of(now, event) {
                self.shell.happened(cluster, entry);
            }
        }
    }

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

    /// The same incarnation goes on in this program.
    pub(super) fn was_upgraded(&mut self, cluster: usize, before: &str) {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("the daemon was upgraded: {before} → onehold {version}");
        self.happened_here(cluster, |me, _| Entry::new(me, UPGRADED, text));
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
        let mut served = self.served.iter();
        let found = match name {
            Some(name) => served.find(|(_, s)| s.metrics.cluster == name),
            None => served.next().filter(|_| self.served.len() == 1),
        };
        found.map_or_else(
            || Err(self.no_such_cluster(name)),
            |(cluster, _)| Ok(cluster),
        )
    }

    /// The answer to whoever names no cluster, or one that is not served.
    pub(super) fn no_such_cluster(&self, name: Option<&str>) -> Reply {
        let served = self.served.iter().take(MOST_NAMES);
        let names: Vec<&str> = served.map(|(_, s)| &*s.metrics.cluster).collect();
        let why = match (&names[..], &self.awaited[..]) {
            ([], [waiting, ..]) => waiting.to_string(),
            _ => {
                let more = match self.served.len() - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let names = names.join(", ");
                match name {
                    Some(name) => {
                        format!("there is no cluster `{name}` here; --cluster can be {names}{more}")
                    }
                    None => format!("which cluster? there are {names}{more}"),
                }
            }
        };
        Reply::Refused { why }
    }

    /// What happened in a cluster, for people.
    pub(super) fn told(&self, cluster: Option<&str>) -> Reply {
        let cluster = match self.cluster_meant(cluster) {
            Ok(cluster) => cluster,
            Err(refused) => return refused,
        };
        let Some(s) = self.served.get(cluster) else {
            return self.no_such_cluster(None);
        };
        let (entries, not_kept) = self.shell.history(cluster).unwrap_or_default();
        Reply::History(Told {
            cluster: s.metrics.cluster.clone(),
            member: s.config.member_name(s.config.me()).into_owned(),
            entries,
            not_kept,
        })
    }

    /// An operator ordered something, and it was not refused.
    pub(super) fn was_ordered(
        &mut self,
        cluster: usize,
        group: GroupId,
        order: Order,
        with: &Said,
    ) {
        let said = match order {
            Order::Switch => "switch",
            Order::Standby => "standby",
            Order::Resume => "resume",
            Order::Freeze => "freeze",
            Order::Thaw => "thaw",
            Order::PresumeDead => "presume-dead",
        };
        self.happened_here(cluster, |me, config| {
            let until = with.until_text();
            let who = with
                .by
                .as_ref()
                .map_or_else(String::new, |who| format!(" ({who})"));
            let text = format!("the operator said {said}{until}{who}");
            let entry = Entry::new(me, "order", text).of(config.group_name(group));
            let reason = with.reason.iter();
            reason.fold(entry, |entry, reason| entry.because(reason))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{THREE, cluster};
    use onehold_core::advert::Incarnation;
    use onehold_core::observe::PeerSnapshot;

    const WEB: GroupId = GroupId(0);
    const LB0: MemberId = MemberId(0);
    const LB1: MemberId = MemberId(1);

    /// What `me` knows, having heard the others so many milliseconds ago.
    fn seen_by(me: u8, heard: &[(u8, Option<u64>)]) -> Snapshot {
        let peer = |(member, ago): &(u8, Option<u64>)| PeerSnapshot {
            member: MemberId(*member),
            incarnation: Some(Incarnation(7)),
            heard_ago: ago.map(Span::from_millis),
            echo_ago: None,
            two_way: true,
            quarantined: false,
            says: Vec::new(),
        };
        Snapshot {
            me: MemberId(me),
            incarnation: Incarnation(1),
            quarantine_left: None,
            peers: heard.iter().map(peer).collect(),
            groups: Vec::new(),
            waits_for: Vec::new(),
            doubts: false,
            stopped: false,
        }
    }

    fn says(holds: bool, yields: bool) -> Statement {
        Statement {
            holds,
            yields,
            ..Statement::default()
        }
    }

    /// One member's view, and what it writes down.
    struct View {
        config: Config,
        seen: Seen,
        said: Vec<String>,
    }

    impl View {
        fn of(me: &str) -> Self {
            Self {
                config: cluster(THREE, me).config,
                seen: Seen::default(),
                said: Vec::new(),
            }
        }

        fn keep(&mut self, entry: &Entry) {
            let zone = jiff::tz::TimeZone::UTC;
            self.said.push(crate::history::words(entry, &zone));
        }

        fn hears(&mut self, all: &Snapshot, from: MemberId, holds: bool, yields: bool) {
            for change in self.seen.advert(from, &[says(holds, yields)]) {
                let entry = self.seen.change(&self.config, all, from, &change);
                self.keep(&entry);
            }
        }

        fn reports(&mut self, all: &Snapshot, event: Event) {
            if let Some(entry) = self.seen.event(&self.config, all, &event) {
                self.keep(&entry);
            }
        }
    }

    const fn takes(why: Why) -> Event {
        Event::Role {
            group: WEB,
            from: RoleName::Standby,
            to: RoleName::Holder,
            why,
        }
    }

    const fn met(peer: MemberId) -> Event {
        let incarnation = Incarnation(7);
        Event::Met { peer, incarnation }
    }

    #[test]
    fn a_witness_tells_a_hand_over_a_crash_and_a_return() {
        let mut w = View::of("w");
        let (near, far) = (Some(30), Some(460));
        let both = seen_by(2, &[(0, near), (1, near)]);
        w.reports(&both, met(LB0));
        w.reports(&both, met(LB1));
        w.hears(&both, LB1, true, false); // since when is not known
        w.hears(&both, LB0, false, false);
        w.hears(&both, LB0, true, false); // lb1 has not said yet that it let go
        w.hears(&both, LB1, false, false);
        let lost = seen_by(2, &[(0, far), (1, near)]);
        w.reports(&lost, Event::Lost { peer: LB0 });
        w.hears(&lost, LB1, true, false);
        w.reports(&both, met(LB0));
        w.hears(&both, LB0, false, false);
        w.hears(&both, LB1, false, false);
        w.hears(&both, LB0, true, false);
        insta::assert_snapshot!(w.said.join("\n"));
    }

    #[test]
    fn a_candidate_says_what_became_of_the_other_one() {
        let mut lb1 = View::of("lb1");
        let never = seen_by(1, &[(0, None), (2, Some(30))]);
        lb1.reports(&never, takes(Why::Majority));
        let near = seen_by(1, &[(0, Some(30)), (2, Some(30))]);
        lb1.reports(&near, met(LB0));
        lb1.reports(&near, takes(Why::Majority));
        lb1.hears(&near, LB0, true, false);
        let far = seen_by(1, &[(0, Some(607)), (2, None)]);
        lb1.reports(&far, takes(Why::PeerSilent));
        lb1.reports(&far, takes(Why::PresumedDead));
        lb1.hears(&near, LB0, true, true);
        lb1.reports(&near, takes(Why::Majority));
        let to = RoleName::Releasing;
        let (group, from, why) = (WEB, RoleName::Holder, Why::KernelRefused);
        lb1.reports(
            &near,
            Event::Role {
                group,
                from,
                to,
                why,
            },
        );
        insta::assert_snapshot!(lb1.said.join("\n"));
    }

    #[test]
    fn what_a_member_lacks_is_an_entry_when_it_changes_and_not_when_only_its_figures_do() {
        let config = cluster(THREE, "lb1").config;
        let mut seen = Seen::default();
        let mut said = |text: Option<&str>| {
            let line = |text: &str| Line {
                group: WEB,
                since: Span::ZERO,
                text: text.to_owned(),
            };
            let lines: Vec<Line> = text.into_iter().map(line).collect();
            let entries = seen.lacks(&config, LB0, &lines);
            entries
                .first()
                .map(|e| (e.text.clone(), e.why.clone(), e.seen))
        };
        assert_eq!(said(None), None);
        assert_eq!(said(Some("in quarantine for another 300 ms (R-9)")), None);
        let sick = |why: &str| Some(("is not ready".to_owned(), Some(why.to_owned()), true));
        assert_eq!(
            said(Some("check page fails: 502")),
            sick("check page fails: 502")
        );
        assert_eq!(said(Some("check page fails: 503")), None);
        assert_eq!(said(Some("no carrier")), sick("no carrier"));
        assert_eq!(said(None), Some(("is ready again".to_owned(), None, true)));
        assert_eq!(said(None), None);
    }
}

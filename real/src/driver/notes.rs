//! When a member sends notes, and which of those that come in it takes. Nothing here is read by a
//! rule, wakes the driver, or is a sign of life.

use super::{Driver, Shell};
use crate::metrics::Noted;
use crate::note::{Line, Note};
use crate::status::lacks;
use onehold_core::advert::{ClusterId, GroupId, Incarnation, MemberId};
use onehold_core::auth;
use onehold_core::config::Config;
use onehold_core::observe::{PeerSnapshot, Snapshot};
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a member looks at what it has to say: it sends no two notes to a peer sooner.
const LOOK: Span = Span::from_millis(1_000);
/// How often it says again what there is to say of a group.
const AGAIN: Span = Span::from_millis(5_000);
/// How often it says that there is nothing to say but its version.
const RARELY: Span = Span::from_millis(60_000);
/// Most notes of a cluster whose seal is checked in [`LOOK`]: a flood costs no more.
const MOST: u32 = 64;

/// The notes of one cluster's member.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    look_at: LocalTime,
    number: u64,
    /// What there is to say of each group, and since when there has been something.
    says: BTreeMap<u8, (String, LocalTime)>,
    /// By peer that is heard: what it was sent.
    sent: Vec<(u8, Sent)>,
    /// By peer: the incarnation of its latest note, and its number.
    latest: BTreeMap<u8, (Incarnation, u64)>,
    /// When the seals that are counted began to be, and how many were checked.
    checked: (LocalTime, u32),
}

/// The numbers of the last note, and of those that came, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Carried {
    number: u64,
    latest: BTreeMap<u8, (Incarnation, u64)>,
}

/// The latest note to a peer.
#[derive(Clone, Debug)]
struct Sent {
    to: Incarnation,
    at: LocalTime,
    says: Vec<(u8, String)>,
}

/// What becomes of a note that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// It is shown from now on.
    Yes(MemberId, Noted),
    /// It came over another path already.
    Twice,
    /// It is not for us, or not news.
    No,
}

impl Notes {
    /// None yet. Members that start together don't look together: `incarnation` says when.
    #[must_use]
    pub(super) fn new(now: LocalTime, incarnation: Incarnation) -> Self {
        let later = Span::from_nanos(incarnation.0 % LOOK.as_nanos());
        Self {
            look_at: now.plus(later),
            number: 0,
            says: BTreeMap::new(),
            sent: Vec::new(),
            latest: BTreeMap::new(),
            checked: (now, 0),
        }
    }

    /// Those of a member that goes on in this program.
    pub(super) fn going_on(now: LocalTime, incarnation: Incarnation, from: Carried) -> Self {
        let Carried { number, latest } = from;
        Self {
            number,
            latest,
            ..Self::new(now, incarnation)
        }
    }

    /// the groups have other numbers: all is said again.
    pub(super) fn forget_what_was_said(&mut self) {
        self.says.clear();
        self.sent.clear();
    }

    /// What goes on in another program of this process.
    pub(super) fn carried(&self) -> Carried {
        Carried {
            number: self.number,
            latest: self.latest.clone(),
        }
    }

    /// Whether it is time to look at what there is to say.
    fn due(&mut self, now: LocalTime) -> bool {
        let due = self.look_at <= now;
        if due {
            self.look_at = now.plus(LOOK);
        }
        due
    }

    /// The notes that are sent now.
    fn write(
        &mut self,
        now: LocalTime,
        config: &Config,
        all: &Snapshot,
        says: Vec<(GroupId, String)>,
    ) -> Vec<Note> {
        let before = std::mem::take(&mut self.says);
        for (group, text) in says {
            let since = before.get(&group.0).map_or(now, |(_, since)| *since);
            self.says.insert(group.0, (text, since));
        }
        let said: Vec<(u8, String)> = (self.says.iter())
            .map(|(group, (text, _))| (*group, text.clone()))
            .collect();
        let again = if said.is_empty() { RARELY } else { AGAIN };
        self.sent.retain(|(member, _)| {
            let mut peers = all.peers.iter();
            peers.any(|p| p.member.0 == *member && heard(config, p))
        });
        let mut notes = Vec::new();
        for peer in all.peers.iter().filter(|p| heard(config, p)) {
            let Some(to) = peer.incarnation else { continue };
            let member = peer.member.0;
            let known = self.sent.iter().position(|(to, _)| *to == member);
            let (at, says) = (now, said.clone());
            match known.and_then(|at| self.sent.get_mut(at)) {
                Some((_, s)) if s.to == to && s.says == said && now < s.at.plus(again) => continue,
                Some((_, s)) => *s = Sent { to, at, says },
                None => self.sent.push((member, Sent { to, at, says })),
            }
            self.number = self.number.saturating_add(1);
            notes.push(Note {
                from: all.me,
                to: peer.member,
                incarnation: all.incarnation,
                to_incarnation: to,
                number: self.number,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                lines: self.lines(now),
            });
        }
        notes
    }

    fn lines(&self, now: LocalTime) -> Vec<Line> {
        let line = |(group, (text, since)): (&u8, &(String, LocalTime))| Line {
            group: GroupId(*group),
            since: now.since(*since),
            text: text.clone(),
        };
        self.says.iter().map(line).collect()
    }

    /// Whether one more seal may be checked.
    fn may_check(&mut self, now: LocalTime) -> bool {
        let (since, count) = self.checked;
        let count = if now < since.plus(LOOK) { count } else { 0 };
        let since = if count == 0 { now } else { since };
        let may = count < MOST;
        self.checked = (since, count + u32::from(may));
        may
    }

    /// A key holder sent this.
    fn take(&mut self, now: LocalTime, config: &Config, all: &Snapshot, note: Note) -> Taken {
        let is_it = |p: &&PeerSnapshot| {
            p.member == note.from && p.incarnation == Some(note.incarnation) && heard(config, p)
        };
        let known = all.peers.iter().any(|p| is_it(&p));
        let to_me = (note.to, note.to_incarnation) == (all.me, all.incarnation);
        let of_ours = (note.lines.iter()).all(|l| config.group(l.group).is_some());
        if !(known && to_me && of_ours) {
            return Taken::No;
        }
        let latest = self.latest.get(&note.from.0);
        let latest = latest.filter(|(incarnation, _)| *incarnation == note.incarnation);
        match latest {
            Some((_, number)) if *number == note.number => return Taken::Twice,
            Some((_, number)) if *number > note.number => return Taken::No,
            Some(_) | None => {}
        }
        let number = (note.incarnation, note.number);
        self.latest.insert(note.from.0, number);
        let noted = Noted {
            at: now,
            incarnation: note.incarnation,
            version: note.version,
            lines: note.lines,
        };
        Taken::Yes(note.from, noted)
    }
}

/// Whether a peer is heard now.
fn heard(config: &Config, peer: &PeerSnapshot) -> bool {
    let vote = config.timing().vote();
    peer.heard_ago.is_some_and(|ago| ago < vote)
}

impl<S: Shell> Driver<S> {
    /// Sends the notes that are due, after all that the nodes wanted.
    pub(super) fn send_notes(&mut self, cluster: usize, now: LocalTime) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        if !s.notes.due(now) {
            return;
        }
        let all = s.node.observe(&s.config, now);
        let says = lacks(&all, &s.config, &s.metrics, now);
        let (me, notes) = (s.config.me(), s.notes.write(now, &s.config, &all, says));
        for entry in s.seen.lacks(&s.config, me, &s.notes.lines(now)) {
            self.shell.happened(cluster, entry);
        }
        for note in notes {
            let mut said = Vec::new();
            note.encode(&mut said);
            let Some(key) = s.key_of_note(now, &note) else {
                continue;
            };
            auth::seal_note(key, s.config.cluster(), &said, &mut self.sealed);
            s.metrics.notes.sent += self.shell.send_note(cluster, note.to, &self.sealed);
        }
    }

    /// A datagram came in that has the form of a note, of a cluster as it says.
    pub(super) fn note(&mut self, now: LocalTime, claimed: ClusterId, bytes: &[u8]) {
        let known = self.served.of_id(claimed);
        let Some(cluster) = known.or_else(|| self.served.first()) else {
            return;
        };
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        let may = known.is_some() && s.notes.may_check(now);
        let said = may.then(|| auth::open_note(&s.keys, claimed, bytes).ok());
        let note = said.flatten().and_then(|said| Note::decode(said.get()));
        let taken = note.map_or(Taken::No, |note| {
            let all = s.node.observe(&s.config, now);
            s.notes.take(now, &s.config, &all, note)
        });
        match taken {
            Taken::Yes(from, noted) => {
                for entry in s.seen.lacks(&s.config, from, &noted.lines) {
                    self.shell.happened(cluster, entry);
                }
                s.metrics.noted(from, noted);
            }
            Taken::Twice => {}
            Taken::No => s.metrics.notes.ignored += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{THREE, cluster};

    const WEB: GroupId = GroupId(0);
    const MINE: Incarnation = Incarnation(0);
    const THEIRS: Incarnation = Incarnation(77);

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    fn config() -> Config {
        cluster(THREE, "lb0").config
    }

    /// lb0, which heard these so many milliseconds ago.
    fn seen(peers: &[(u8, u64)]) -> Snapshot {
        let peer = |(member, ago): &(u8, u64)| PeerSnapshot {
            member: MemberId(*member),
            incarnation: Some(THEIRS),
            heard_ago: Some(Span::from_millis(*ago)),
            echo_ago: None,
            two_way: false,
            quarantined: false,
            says: Vec::new(),
        };
        Snapshot {
            me: MemberId(0),
            incarnation: MINE,
            quarantine_left: None,
            peers: peers.iter().map(peer).collect(),
            groups: Vec::new(),
            waits_for: Vec::new(),
            doubts: false,
            stopped: false,
        }
    }

    /// What `member` is sent in a run, from 0 s on: at how many seconds, and for how long it has
    /// been so.
    fn sent_to(
        member: u8,
        seconds: u64,
        world: impl Fn(u64) -> (Snapshot, &'static str),
    ) -> Vec<(u64, Option<u64>)> {
        let (config, mut notes) = (config(), Notes::new(at(0), MINE));
        let mut sent = Vec::new();
        for now in 0..seconds * 10 {
            let now = at(now * 100);
            if !notes.due(now) {
                continue;
            }
            let second = now.as_nanos() / 1_000_000_000;
            let (all, text) = world(second);
            let says = match text {
                "" => vec![],
                text => vec![(WEB, text.to_owned())],
            };
            for note in notes.write(now, &config, &all, says) {
                if note.to == MemberId(member) {
                    let since = note
                        .lines
                        .first()
                        .map(|l| l.since.as_nanos() / 1_000_000_000);
                    sent.push((second, since));
                }
            }
        }
        sent
    }

    #[test]
    fn a_note_goes_to_who_is_heard_when_it_changes_and_again_while_there_is_something_to_say() {
        let both = || seen(&[(1, 30), (2, 30)]);
        let sick = sent_to(1, 13, |s| (both(), if s < 2 { "" } else { "sick" }));
        assert_eq!(
            sick,
            [(0, None), (2, Some(0)), (7, Some(5)), (12, Some(10))]
        );
        let worse = sent_to(1, 9, |s| {
            (both(), if s < 3 { "sick" } else { "sick, and slow" })
        });
        assert_eq!(worse, [(0, Some(0)), (3, Some(3)), (8, Some(8))]);
        let over = sent_to(1, 9, |s| (both(), if s < 3 { "sick" } else { "" }));
        assert_eq!(over, [(0, Some(0)), (3, None)]);
        let well = sent_to(2, 130, |_| (both(), ""));
        assert_eq!(well, [(0, None), (60, None), (120, None)]);
        let unsteady = sent_to(1, 4, |s| (both(), ["a", "b"][s as usize % 2]));
        assert_eq!(unsteady.len(), 4, "not sooner than after a second");
    }

    #[test]
    fn one_that_was_lost_gets_a_note_when_it_is_heard_again_and_none_before() {
        let world = |s| {
            (
                seen(&[(1, if (2..4).contains(&s) { 500 } else { 30 })]),
                "sick",
            )
        };
        assert_eq!(sent_to(1, 6, world), [(0, Some(0)), (4, Some(4))]);
        assert_eq!(sent_to(2, 6, world), [], "it was never heard");
    }

    fn note(number: u64) -> Note {
        Note {
            from: MemberId(1),
            to: MemberId(0),
            incarnation: THEIRS,
            to_incarnation: MINE,
            number,
            version: "0.1.0".to_owned(),
            lines: vec![],
        }
    }

    #[test]
    fn a_note_is_taken_once_in_order_of_a_peer_that_is_heard_and_to_this_incarnation() {
        let (config, mut notes) = (config(), Notes::new(at(0), MINE));
        let all = seen(&[(1, 30), (2, 500)]);
        let mut take = |note: Note| match notes.take(at(5), &config, &all, note) {
            Taken::Yes(from, noted) => format!("of {} at {}", from.0, noted.at.as_nanos()),
            Taken::Twice => "twice".to_owned(),
            Taken::No => "no".to_owned(),
        };
        assert_eq!(take(note(7)), "of 1 at 5000000");
        assert_eq!(take(note(7)), "twice");
        assert_eq!(take(note(6)), "no", "a replay");
        let line = |group| Line {
            group: GroupId(group),
            since: Span::ZERO,
            text: "sick".to_owned(),
        };
        let wrong = [
            Note {
                from: MemberId(2),
                ..note(8)
            }, // it is not heard any more
            Note {
                from: MemberId(0),
                ..note(8)
            },
            Note {
                from: MemberId(9),
                ..note(8)
            },
            Note {
                to: MemberId(2),
                ..note(8)
            },
            Note {
                incarnation: Incarnation(76),
                ..note(8)
            },
            Note {
                to_incarnation: Incarnation(9),
                ..note(8)
            },
            Note {
                lines: vec![line(15)],
                ..note(8)
            },
        ];
        for note in wrong {
            assert_eq!(take(note.clone()), "no", "{note:?}");
        }
        assert_eq!(
            take(Note {
                lines: vec![line(0)],
                ..note(8)
            }),
            "of 1 at 5000000"
        );
    }

    #[test]
    fn a_flood_costs_so_many_seals_a_second_and_no_more() {
        let mut notes = Notes::new(at(0), MINE);
        let mut checked =
            |from: u64, to: u64| (from..to).filter(|ms| notes.may_check(at(*ms))).count();
        assert_eq!(checked(0, 1_000), 64);
        assert_eq!(checked(1_000, 1_010), 10, "the next second");
        assert_eq!(checked(1_010, 1_999), 54);
    }
}

//! What must happen sometimes: how often it did, in how many runs, and which seed reached it first.

use crate::events::{EVENTS, Events};
use crate::fault::{Fault, Target};
use crate::show::timeline::Answers;
use crate::simulator::record::{By, Fate, Record, Sent, Way, What};
use onehold_core::advert::{Change, GroupId, MemberId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is seen from outside; [`EVENTS`] has what members report.
const SEEN: [&str; 26] = [
    "takeover",
    "two answer",
    "shut by its deadline",
    "shut by a new life",
    "shut with its machine",
    "kernel refuses",
    "killed within a turn",
    "paused within a turn",
    "knock answered",
    "doubled",
    "corrupted",
    "kept back",
    "waits",
    "replayed",
    "edited",
    "own address gone",
    "datagrams cut",
    "frames cut",
    "probes cut",
    "by frame only",
    "probe answered",
    "restored",
    "another file to come",
    "another file in force",
    "another file settled",
    "two majorities needed",
];

/// Reported in every run, so not rare.
const USUAL: [&str; 2] = ["takes hold", "lets go"];
/// Reported in one run of a thousand: a holder is paused with its clock, and two voters speak first.
const SELDOM: [&str; 1] = ["outvoted"];

/// How often something was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Often {
    /// In all runs.
    pub times: u64,
    /// In how many runs.
    pub seeds: u64,
    /// The first of them.
    pub first: Option<u64>,
}

/// By name.
pub type Coverage = BTreeMap<String, Often>;

/// Everything that must be seen, not seen yet.
#[must_use]
pub fn nothing() -> Coverage {
    let reported = EVENTS.iter().copied();
    let names = reported
        .filter(|n| !USUAL.contains(n) && !SELDOM.contains(n))
        .chain(SEEN);
    names.map(|n| (n.to_owned(), Often::default())).collect()
}

/// Adds what others have seen.
pub fn add(all: &mut Coverage, more: &Coverage) {
    for (name, often) in more {
        let of = all.entry(name.clone()).or_default();
        of.times += often.times;
        of.seeds += often.seeds;
        of.first = of.first.into_iter().chain(often.first).min();
    }
}

/// Counts what happens in one run.
#[derive(Debug, Default)]
pub struct Cover {
    times: BTreeMap<&'static str, u64>,
    /// Who answers, by group.
    answers: BTreeMap<GroupId, Answers<MemberId, u64>>,
    /// Who stopped answering last, by group, and whether it did not let go by itself.
    last: BTreeMap<GroupId, (MemberId, bool)>,
    /// Which members will be killed or paused within a turn.
    fuses: BTreeSet<MemberId>,
    /// The latest advert as a datagram met a cut.
    cut: bool,
}

impl Cover {
    fn count(&mut self, name: &'static str) {
        *self.times.entry(name).or_default() += 1;
    }

    fn sent(&mut self, sent: &Sent) {
        if sent.way == Way::Frame {
            if self.cut && matches!(sent.fate, Fate::Goes { .. }) {
                self.count("by frame only");
            }
            return;
        }
        self.cut = sent.fate == Fate::Cut;
        let said = sent.advert();
        if said.to_incarnation.is_some() && said.echo.is_none() {
            self.count("knock answered");
        }
        if sent.fate == Fate::Waits {
            self.count("waits");
        }
        if let Fate::Goes {
            twice,
            corrupt,
            straggles,
        } = sent.fate
        {
            let all = [
                (twice, "doubled"),
                (corrupt, "corrupted"),
                (straggles, "kept back"),
            ];
            let happened = all.into_iter().filter(|(happened, _)| *happened);
            happened.for_each(|(_, name)| self.count(name));
        }
    }

    /// The next record.
    pub fn see(&mut self, record: &Record) {
        match (&record.what, record.member) {
            (What::Reported(event, _), _) => {
                let mut events = Events::default();
                events.add(event);
                for (bit, name) in (0..).zip(EVENTS) {
                    if events.0 & 1 << bit != 0 && !USUAL.contains(&name) {
                        self.count(name);
                    }
                }
            }
            (What::Opened(group), Some(m)) => {
                let answers = self
                    .answers
                    .entry(*group)
                    .or_insert_with(|| Answers::from(0));
                answers.set(record.at, m, true);
                let two = answers.now().len() > 1;
                let last = self.last.get(group);
                if two {
                    self.count("two answer");
                } else if last.is_some_and(|(who, fell)| *who != m && *fell) {
                    self.count("takeover");
                }
            }
            (What::Shut(group, by), Some(m)) => {
                if let Some(answers) = self.answers.get_mut(group) {
                    answers.set(record.at, m, false);
                }
                self.last
                    .insert(*group, (m, !matches!(by, By::Release | By::Change)));
                match by {
                    By::Deadline => self.count("shut by its deadline"),
                    By::Scrub => self.count("shut by a new life"),
                    By::Machine => self.count("shut with its machine"),
                    By::Release | By::Change => {}
                }
            }
            (What::ProbeAnswered(_), _) => self.count("probe answered"),
            (What::InForce(config), _) => match config.change() {
                Change::Toward(_) => self.count("another file to come"),
                Change::From(_) => {
                    self.count("another file in force");
                    if config.electorates().len() > 1 {
                        self.count("two majorities needed");
                    }
                }
                Change::None => self.count("another file settled"),
            },
            (What::Restored, _) => self.count("restored"),
            (What::Replayed(_), _) => self.count("replayed"),
            (What::KernelRefused(..), _) => self.count("kernel refuses"),
            (What::Sent(sent), _) => self.sent(sent),
            (What::Inflicted(fault), Some(m)) => match fault {
                Fault::Edit(_) => self.count("edited"),
                Fault::OwnAddress { is: false, .. } => self.count("own address gone"),
                Fault::Kill(Target::Within { .. }) | Fault::Pause(Target::Within { .. }) => {
                    self.fuses.insert(m);
                }
                _ => {
                    self.fuses.remove(&m);
                }
            },
            (What::Inflicted(Fault::CutDatagrams(_)), None) => self.count("datagrams cut"),
            (What::Inflicted(Fault::CutFrames(_)), None) => self.count("frames cut"),
            (What::Inflicted(Fault::CutProbes(_)), None) => self.count("probes cut"),
            (What::Died, Some(m)) if self.fuses.remove(&m) => self.count("killed within a turn"),
            (What::Paused, Some(m)) if self.fuses.remove(&m) => self.count("paused within a turn"),
            _ => {}
        }
    }

    /// What a run of this seed has seen.
    #[must_use]
    pub fn of(self, seed: u64) -> Coverage {
        let often = |times| Often {
            times,
            seeds: 1,
            first: Some(seed),
        };
        let seen = self.times.into_iter();
        seen.map(|(name, times)| (name.to_owned(), often(times)))
            .collect()
    }
}

//! What traces say of the world together: who heard whom, and who was effective.

use super::{FileLine, Flaws};
use crate::show::timeline::Answers;
use onehold_core::advert::{Advert, Incarnation, MemberId};
use onehold_core::config::{Arbitration, Spec};
use onehold_core::effect::Effect;
use onehold_core::time::{LocalTime, Span};
use rustc_hash::{FxBuildHasher, FxHashSet};
use std::collections::BTreeMap;
use std::fmt;
use std::hash::BuildHasher as _;

/// All adverts, sent and received. What one member received from another, the other must have sent,
/// word for word.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// By their hashes.
    sent: FxHashSet<u64>,
    received: Vec<Received>,
    /// Which incarnations are traced: after the first of the two instants, until the other.
    covered: BTreeMap<Incarnation, Vec<(LocalTime, LocalTime)>>,
}

#[derive(Debug)]
struct Received {
    place: FileLine,
    hash: u64,
    from: Incarnation,
    sent_at: LocalTime,
}

impl Mail {
    pub(super) fn sent(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Send { advert, .. } = effect {
                self.sent.insert(FxBuildHasher.hash_one(advert));
            }
        }
    }

    pub(super) fn received(&mut self, place: &FileLine, advert: &Advert) {
        self.received.push(Received {
            place: place.clone(),
            hash: FxBuildHasher.hash_one(advert),
            from: advert.incarnation,
            sent_at: advert.sent_at,
        });
    }

    pub(super) fn covered(&mut self, life: Incarnation, after: LocalTime, until: LocalTime) {
        self.covered.entry(life).or_default().push((after, until));
    }

    pub(super) fn verdict(&self, flaws: &mut Flaws) -> String {
        let traced = |r: &&Received| {
            let spans = self.covered.get(&r.from).into_iter().flatten();
            spans
                .into_iter()
                .any(|(after, until)| *after < r.sent_at && r.sent_at <= *until)
        };
        let from_traced: Vec<&Received> = self.received.iter().filter(traced).collect();
        let before = flaws.count;
        for r in from_traced.iter().filter(|r| !self.sent.contains(&r.hash)) {
            let place = &r.place;
            let what = "received what its sender, whose trace is here, did not send";
            flaws.push(format!("{place}: {what}"));
        }
        let (all, known) = (self.received.len(), from_traced.len());
        let said = match flaws.count - before {
            0 => "each as it was sent".to_owned(),
            n => format!("{n} not as they were sent"),
        };
        format!("{all} adverts received, {known} from traced members: {said}")
    }
}

/// Who was effective when, by what traces with true times say of kernels. Each file is a world.
#[derive(Debug, Default)]
pub(super) struct Watch {
    groups: BTreeMap<String, GroupAnswers>,
    changes: u64,
    dual: Span,
    answered: u64,
    failed: u64,
}

/// Who was effective in a group, and the place of every change.
#[derive(Debug)]
struct GroupAnswers {
    answers: Answers<MemberId, Span>,
    places: Vec<(Span, FileLine)>,
}

impl Default for GroupAnswers {
    fn default() -> Self {
        Self {
            answers: Answers::from(Span::ZERO),
            places: Vec::new(),
        }
    }
}

impl Watch {
    pub(super) fn kernel(
        &mut self,
        place: &FileLine,
        time: Span,
        member: MemberId,
        group: &str,
        effective: bool,
    ) {
        let group = self.groups.entry(group.to_owned()).or_default();
        if group.answers.set(time, member, effective) {
            self.changes += 1;
            group.places.push((time, place.clone()));
        }
    }

    pub(super) fn request(&mut self, answered: bool) {
        self.answered += u64::from(answered);
        self.failed += u64::from(!answered);
    }

    /// A file ends. S1 is for `majority`; `survivor` promises it only while the two hear each
    /// other.
    pub(super) fn ended(&mut self, spec: &Spec, time: Span, flaws: &mut Flaws) {
        for GroupAnswers { answers, places } in std::mem::take(&mut self.groups).into_values() {
            // A trace may end in the moment in which a second kernel starts answering.
            let just = answers.at(time).0 == time;
            let end = time.plus(Span::from_nanos(u64::from(just)));
            for (since, until) in answers.two(Span::ZERO, end) {
                let span = Span::from_nanos(until.as_nanos() - since.as_nanos());
                self.dual = self.dual.plus(span);
                let (_, who) = answers.at(since);
                let names = who
                    .iter()
                    .map(|m| spec.members[usize::from(m.0)].name.as_str());
                let names = names.collect::<Vec<_>>().join(" and ");
                let place = places.iter().rfind(|(at, _)| *at <= since);
                if let (Arbitration::Majority, Some((_, place))) = (spec.arbitration, place) {
                    flaws.push(format!(
                        "{place}: S1: {names} are effective, from {since} on for {span}"
                    ));
                }
            }
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.changes, self.dual) {
            (0, _) => f.write_str("who was effective is not in these traces")?,
            (n, Span::ZERO) => write!(f, "{n} changes of kernels: never two effective")?,
            (n, dual) => write!(f, "{n} changes of kernels: two effective for {dual} in all")?,
        }
        match (self.answered, self.failed) {
            (0, 0) => Ok(()),
            (answered, failed) => write!(f, "\nrequests: {answered} answered, {failed} failed"),
        }
    }
}

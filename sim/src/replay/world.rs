//! What traces say of the world together: who heard whom, and who was effective.

use super::{Flaws, Place};
use onehold_core::advert::{Advert, Incarnation};
use onehold_core::config::{Arbitration, Spec};
use onehold_core::effect::Effect;
use onehold_core::time::{LocalTime, Span};
use rustc_hash::{FxBuildHasher, FxHashSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::BuildHasher as _;

/// All adverts, sent and received. What one member received from another, the other must have sent,
/// word for word.
#[derive(Debug, Default)]
pub(super) struct Mail {
    /// By their hashes.
    sent: FxHashSet<u64>,
    received: Vec<Received>,
    /// Which lives are traced: after the first of the two instants, until the other.
    covered: BTreeMap<Incarnation, Vec<(LocalTime, LocalTime)>>,
}

#[derive(Debug)]
struct Received {
    place: Place,
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

    pub(super) fn received(&mut self, place: &Place, advert: &Advert) {
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
            0 => "all were sent so".to_owned(),
            n => format!("{n} were not sent so"),
        };
        format!("{all} adverts received, {known} from traced members: {said}")
    }
}

/// Who was effective when, by what traces with true times say of kernels. Each file is a world.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// By group: whose kernels answer now.
    effective: BTreeMap<String, BTreeSet<String>>,
    /// By group: since when two do.
    two: BTreeMap<String, Two>,
    /// The same, over.
    twice: Vec<(Two, Span)>,
    changes: u64,
    dual: Span,
    answered: u64,
    failed: u64,
}

/// Two are effective.
#[derive(Debug)]
struct Two {
    place: Place,
    since: Span,
    who: String,
}

impl Watch {
    pub(super) fn kernel(
        &mut self,
        place: &Place,
        time: Span,
        member: String,
        group: String,
        effective: bool,
    ) {
        let all = self.effective.entry(group.clone()).or_default();
        let news = match effective {
            true => all.insert(member),
            false => all.remove(&member),
        };
        self.changes += u64::from(news);
        if all.len() > 1 {
            let names: Vec<&str> = all.iter().map(String::as_str).collect();
            self.two.entry(group).or_insert_with(|| Two {
                place: place.clone(),
                since: time,
                who: names.join(" and "),
            });
        } else if let Some(two) = self.two.remove(&group) {
            // One may begin in the moment in which the other ends.
            if two.since < time {
                self.over(two, time);
            }
        }
    }

    pub(super) fn request(&mut self, answered: bool) {
        self.answered += u64::from(answered);
        self.failed += u64::from(!answered);
    }

    fn over(&mut self, two: Two, time: Span) {
        let nanos = time.as_nanos().saturating_sub(two.since.as_nanos());
        let span = Span::from_nanos(nanos);
        self.dual = self.dual.plus(span);
        self.twice.push((two, span));
    }

    /// A file ends. S1 is for `majority`; `survivor` promises it only while the two hear each other.
    pub(super) fn ended(&mut self, spec: &Spec, time: Span, flaws: &mut Flaws) {
        self.effective.clear();
        for two in std::mem::take(&mut self.two).into_values() {
            self.over(two, time);
        }
        for (Two { place, since, who }, span) in self.twice.drain(..) {
            if spec.arbitration == Arbitration::Majority {
                flaws.push(format!(
                    "{place}: S1: {who} are effective, from {since} on for {span}"
                ));
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

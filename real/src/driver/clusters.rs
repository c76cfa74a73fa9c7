//! The clusters of a process, found by number, by id, by path, and by when their nodes are due: a
//! turn costs what happens in it, however many clusters there are.

use super::Served;
use onehold_core::advert::ClusterId;
use onehold_core::time::LocalTime;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

/// All clusters that are served. Each has a number, the next one when it joined, which no other
/// gets later.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    all: Vec<Option<Box<Served>>>,
    count: usize,
    by_id: HashMap<ClusterId, usize>,
    /// By the two ends of a path: whoever joined first with it.
    by_path: HashMap<(SocketAddr, SocketAddr), usize>,
    /// When to look at each that is not active: no later than its node is due.
    looks: BTreeSet<(LocalTime, usize)>,
    /// Those whose nodes had a turn since [`Self::take_active`] was called.
    touched: Vec<usize>,
}

impl Clusters {
    /// These, numbered in their order.
    pub(super) fn new(served: Vec<Served>) -> Self {
        let mut clusters = Self::default();
        for s in served {
            clusters.add(s);
        }
        clusters
    }

    /// One more is served; returns its number.
    pub(super) fn add(&mut self, mut served: Served) -> usize {
        let number = self.all.len();
        self.by_id.insert(served.config.cluster(), number);
        for path in served.metrics.paths() {
            let ends = (path.local, path.remote);
            self.by_path.entry(ends).or_insert(number);
        }
        served.look_at = Some(LocalTime::from_nanos(0)); // its first turn is due at once
        self.looks.insert((LocalTime::from_nanos(0), number));
        self.all.push(Some(Box::new(served)));
        self.count += 1;
        number
    }

    /// It is not served any more.
    pub(super) fn remove(&mut self, number: usize) -> Option<Box<Served>> {
        let served = self.all.get_mut(number)?.take()?;
        self.count -= 1;
        let look = served.look_at.map(|at| (at, number));
        look.map(|look| self.looks.remove(&look));
        if self.by_id.get(&served.config.cluster()) == Some(&number) {
            self.by_id.remove(&served.config.cluster());
        }
        for path in served.metrics.paths() {
            let ends = (path.local, path.remote);
            if self.by_path.get(&ends) == Some(&number) {
                self.by_path.remove(&ends);
            }
        }
        Some(served)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, number: usize) -> Option<&Served> {
        self.all.get(number)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Served> {
        self.all.get_mut(number)?.as_deref_mut()
    }

    /// With their numbers, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Served)> {
        let all = self.all.iter().enumerate();
        all.filter_map(|(number, s)| Some((number, s.as_deref()?)))
    }

    /// The same.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Served)> {
        let all = self.all.iter_mut().enumerate();
        all.filter_map(|(number, s)| Some((number, s.as_deref_mut()?)))
    }

    /// The numbers that were given, those of clusters that have left, too.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// The number of the first that is served.
    pub(super) fn first(&self) -> Option<usize> {
        self.iter().next().map(|(number, _)| number)
    }

    pub(super) fn of_id(&self, id: ClusterId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn of_path(&self, local: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.by_path.get(&(local, remote)).copied()
    }

    /// Its node had a turn.
    pub(super) fn touch(&mut self, number: usize) {
        if let Some(s) = self.get_mut(number)
            && !std::mem::replace(&mut s.active, true)
        {
            self.touched.push(number);
        }
    }

    /// Those whose nodes had a turn since the last call, or are due by now. [`Self::settle`] is
    /// called for each of them.
    pub(super) fn take_active(&mut self, now: LocalTime) -> Vec<usize> {
        let mut active = std::mem::take(&mut self.touched);
        while let Some(&(at, number)) = self.looks.first() {
            if at > now {
                break;
            }
            self.looks.pop_first();
            if let Some(s) = self.get_mut(number) {
                s.look_at = None;
                if !std::mem::replace(&mut s.active, true) {
                    active.push(number);
                }
            }
        }
        active
    }

    /// The turn of an active one is over. Most of what happens to a node puts off when it is due;
    /// that is found out when it is looked at.
    pub(super) fn settle(&mut self, number: usize) {
        let Some(s) = self.all.get_mut(number).and_then(Option::as_deref_mut) else {
            return;
        };
        s.active = false;
        let due = s.due();
        match s.look_at {
            Some(at) if at <= due => return,
            Some(at) => drop(self.looks.remove(&(at, number))),
            None => {}
        }
        s.look_at = Some(due);
        self.looks.insert((due, number));
    }

    /// When a node is next due; in the past if one is due now, nothing if there is none.
    pub(super) fn due(&mut self) -> Option<LocalTime> {
        while let Some((at, number)) = self.looks.pop_first() {
            let s = self.all.get_mut(number).and_then(Option::as_deref_mut);
            let Some(s) = s else { continue };
            let due = s.due();
            s.look_at = Some(due);
            self.looks.insert((due, number));
            if due <= at {
                return Some(due);
            }
        }
        None
    }
}

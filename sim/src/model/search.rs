//! The search: breadth first, on all cores, over packed worlds, with parents, so that every trace is
//! a shortest one.
//!
//! It goes by steps that are the same however many threads there are. A *batch* of worlds is
//! expanded, in *units*; what they lead to is sorted by the parts of `Seen`; each part keeps what
//! it has not seen, in the order in which one thread would have come by it; and what is new waits in
//! that order, too. So no lock guards what is seen, and worlds, steps, depths and traces are those of
//! one thread.

use super::memo::{Memo, Memory};
use super::moments::Moments;
use super::packing::{Numbers, Packing};
use super::seen::{Come, Hash, Number, PARTS, Part, Seen};
use crate::events::Events;
use crate::model::world::{Action, Done, World};
use crate::properties::{Property, When};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many worlds a thread expands before it looks for more.
const UNIT: usize = 512;

/// How many are expanded before what they lead to is kept.
const BATCH: usize = 128 * UNIT;

/// What a search looks for and how far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Gives up beyond this many unique states: the result is then not exhaustive.
    pub states: u64,
    /// Ends soon after the first property is broken.
    pub stop_at_first: bool,
    /// How many threads search.
    pub threads: usize,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The frontier was empty at the end and no bound of the room on links was reached.
    pub exhaustive: bool,
    /// Different worlds.
    pub unique: u64,
    /// Steps taken.
    pub transitions: u64,
    /// The greatest number of steps from a beginning.
    pub depth: u32,
    /// By property: where it was first broken, or, for what must happen, first seen: the steps to
    /// it.
    pub first: Vec<Option<Vec<Action>>>,
    /// The beginning of each of those traces.
    pub beginning: Vec<usize>,
    /// A link had no room for an advert that may not be lost.
    pub overflow: bool,
    /// How long it took.
    pub took: Duration,
    /// Bytes that packed worlds, parents and the tables take, at most.
    pub memory: u64,
    /// Different members, adverts and turns.
    pub parts: [usize; 3],
}

/// How far the search is, reported now and then.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Different worlds so far.
    pub unique: u64,
    /// Steps so far.
    pub transitions: u64,
    /// Worlds that wait.
    pub frontier: u64,
    /// Steps from a beginning.
    pub depth: u32,
}

/// A world, and the step from there that breaks a property, or is what it waits for; no step if the
/// world does.
type First = Option<(Number, Option<Action>)>;

/// What comes of a unit.
struct Expanded {
    /// What it leads to, by the part where it belongs.
    come: Vec<Come>,
    /// In which part each of these belongs.
    order: Vec<u8>,
    /// By property.
    first: Vec<First>,
    overflow: bool,
}

impl Expanded {
    fn new(properties: usize) -> Self {
        Self {
            come: (0..PARTS).map(|_| Come::default()).collect(),
            order: Vec::new(),
            first: vec![None; properties],
            overflow: false,
        }
    }

    fn push(&mut self, parent: Number, packed: &[u8]) {
        let hash = Hash::of(packed);
        self.come[hash.part()].push(hash, parent, packed);
        self.order.push(hash.part() as u8);
    }
}

/// Walks all worlds that can be reached: from each beginning by itself, for clocks keep to their
/// rates, so no world can be reached from two.
pub fn search(
    memory: &Memory,
    properties: &[Property],
    limits: Limits,
    mut progress: impl FnMut(Progress),
) -> Found {
    let started = Instant::now();
    let threads = limits.threads.max(1);
    let memos: Vec<Memo<'_>> = (0..threads).map(|_| memory.memo()).collect();
    let beginnings = World::beginnings(&memos[0]);
    let mut walk = Walk {
        packing: Packing::of(memory.setup()),
        moments: Moments::of(memory.setup()),
        memos,
        properties,
        limits,
        found: Found {
            exhaustive: true,
            unique: 0,
            transitions: 0,
            depth: 0,
            first: vec![None; properties.len()],
            beginning: vec![0; properties.len()],
            overflow: false,
            took: Duration::ZERO,
            memory: 0,
            parts: [0; 3],
        },
        reported: started,
    };
    for (number, beginning) in beginnings.iter().enumerate() {
        walk.from(number, beginning, &mut progress);
    }
    Found {
        took: started.elapsed(),
        parts: memory.sizes(),
        ..walk.found
    }
}

/// A search under way.
struct Walk<'a> {
    packing: Packing,
    moments: Moments<'a>,
    properties: &'a [Property],
    limits: Limits,
    /// One for each thread.
    memos: Vec<Memo<'a>>,
    /// In what was walked to the end.
    found: Found,
    reported: Instant,
}

impl Walk<'_> {
    /// Walks what can be reached from this beginning.
    fn from(&mut self, beginning: usize, world: &Numbers, progress: &mut impl FnMut(Progress)) {
        let mut seen = Seen::new();
        let mut begun = Expanded::new(self.properties.len());
        let mut packed = Vec::new();
        self.packing.pack(world, &mut packed);
        begun.push(Number::NONE, &packed);
        let mut level = keep(1, &mut seen, &[begun]);
        let (mut at, mut depth, mut next) = (0, 0, Vec::new());
        let mut first: Vec<First> = vec![None; self.properties.len()];
        while at < level.len() && !self.is_enough(&seen, &first) {
            let batch = &level[at..level.len().min(at + BATCH)];
            let units = batch.chunks(UNIT).collect();
            let judge = Judge {
                moments: self.moments,
                properties: self.properties,
                before: &first,
            };
            let packing = &self.packing;
            let expanded = on_all(&mut self.memos, units, |memo, unit| {
                expand(memo, packing, &judge, &seen, unit)
            });
            next.extend(keep(self.memos.len(), &mut seen, &expanded));
            at += batch.len();
            for unit in expanded {
                self.found.transitions += unit.order.len() as u64;
                self.found.overflow |= unit.overflow;
                for (first, found) in first.iter_mut().zip(unit.first) {
                    *first = first.or(found);
                }
            }
            if at == level.len() && !next.is_empty() {
                (level, at) = (std::mem::take(&mut next), 0);
                depth += 1;
            }
            if self.reported.elapsed() > Duration::from_millis(200) {
                self.reported = Instant::now();
                progress(Progress {
                    unique: self.found.unique + seen.worlds(),
                    transitions: self.found.transitions,
                    frontier: (level.len() - at + next.len()) as u64,
                    depth,
                });
            }
        }
        let waiting = size_of::<Number>() * (level.capacity() + next.capacity());
        let found = &mut self.found;
        found.exhaustive &= at == level.len() && !found.overflow;
        found.unique += seen.worlds();
        found.depth = found.depth.max(depth);
        found.memory = found.memory.max(seen.memory() + waiting as u64);
        for (i, first) in first.into_iter().enumerate() {
            let Some((from, action)) = first else {
                continue;
            };
            let steps = trace(&self.memos[0], &self.packing, &seen, from, action);
            if found.first[i]
                .as_ref()
                .is_none_or(|s| steps.len() < s.len())
            {
                found.first[i] = Some(steps);
                found.beginning[i] = beginning;
            }
        }
    }

    /// Whether no more is walked, though something is left.
    fn is_enough(&self, seen: &Seen, first: &[First]) -> bool {
        let mut each = self.properties.iter().zip(first).zip(&self.found.first);
        let mut is_broken = || {
            each.any(|((p, here), before)| {
                p.when.is_always() && (here.is_some() || before.is_some())
            })
        };
        self.found.unique + seen.worlds() >= self.limits.states
            || self.limits.stop_at_first && is_broken()
    }
}

/// Everything that these worlds lead to.
fn expand(
    memo: &Memo<'_>,
    packing: &Packing,
    judge: &Judge<'_>,
    seen: &Seen,
    unit: &[Number],
) -> Expanded {
    let mut expanded = Expanded::new(judge.properties.len());
    let mut packed = Vec::new();
    for number in unit {
        let world = packing.unpack(seen.packed(*number));
        judge.moment(memo, &world, *number, &mut expanded.first);
        world.expand(memo, &mut |action, next, done| {
            expanded.overflow |= done.overflow;
            if done.events != Events::default() {
                judge.step(memo, &next, done, (*number, action), &mut expanded.first);
            }
            packed.clear();
            packing.pack(&next, &mut packed);
            expanded.push(*number, &packed);
        });
    }
    expanded
}

/// Keeps the worlds that were not seen, and says which, in the order in which they were come by.
fn keep(threads: usize, seen: &mut Seen, expanded: &[Expanded]) -> Vec<Number> {
    let threads = if expanded.len() > 1 { threads } else { 1 };
    let parts: Vec<(usize, &mut Part)> = seen.parts.iter_mut().enumerate().collect();
    let mut kept = on_all(&mut vec![(); threads], parts, |(), (p, part)| {
        let all = expanded.iter().flat_map(|unit| part.keep(&unit.come[p]));
        all.collect::<Vec<_>>().into_iter()
    });
    let order = expanded.iter().flat_map(|unit| &unit.order);
    let new = order.filter_map(|part| {
        let part = usize::from(*part);
        let place = kept[part].next().expect("as many as have come")?;
        Some(Number::new(part, place))
    });
    new.collect()
}

/// Does all of this on as many threads as there are workers; what comes of it is in order.
fn on_all<W: Send, T: Send, R: Send>(
    workers: &mut [W],
    tasks: Vec<T>,
    work: impl Fn(&mut W, T) -> R + Sync,
) -> Vec<R> {
    if workers.len() == 1 || tasks.len() == 1 {
        let worker = &mut workers[0];
        return tasks.into_iter().map(|task| work(worker, task)).collect();
    }
    let tasks = Mutex::new(tasks.into_iter().enumerate());
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let some = |worker: &mut W| {
        let tasks = std::iter::from_fn(&next);
        let done = tasks.map(|(i, task)| (i, work(worker, task)));
        done.collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let (here, others) = workers.split_first_mut().expect("at least one");
        let others: Vec<_> = others
            .iter_mut()
            .map(|worker| scope.spawn(|| some(worker)))
            .collect();
        let mut done = some(here);
        for other in others {
            done.extend(other.join().expect("a search does not panic"));
        }
        done
    });
    done.sort_unstable_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Keeps, by property, the first moment that breaks it or that it waits for.
struct Judge<'a> {
    moments: Moments<'a>,
    properties: &'a [Property],
    /// What was found before.
    before: &'a [First],
}

impl Judge<'_> {
    /// A world.
    fn moment(&self, memo: &Memo<'_>, world: &Numbers, number: Number, first: &mut [First]) {
        let done = Done::default();
        self.ask(memo, world, done, (number, None), false, first);
    }

    /// A step to this world in which something was reported. (No property of steps speaks of any
    /// other.)
    fn step(
        &self,
        memo: &Memo<'_>,
        world: &Numbers,
        done: Done,
        by: (Number, Action),
        first: &mut [First],
    ) {
        self.ask(memo, world, done, (by.0, Some(by.1)), true, first);
    }

    fn ask(
        &self,
        memo: &Memo<'_>,
        world: &Numbers,
        done: Done,
        by: (Number, Option<Action>),
        steps: bool,
        found: &mut [First],
    ) {
        let facts = world.facts(memo);
        let moment = self.moments.at(&facts, &world.rest, done);
        let each = self.properties.iter().zip(self.before).zip(found);
        for ((property, before), found) in each {
            if before.is_none()
                && found.is_none()
                && matches!(property.when, When::AlwaysStep | When::SometimesStep) == steps
                && (property.holds)(&moment) != property.when.is_always()
            {
                *found = Some(by);
            }
        }
    }
}

/// The steps from a beginning to a world, and one more.
fn trace(
    memo: &Memo<'_>,
    packing: &Packing,
    seen: &Seen,
    from: Number,
    last: Option<Action>,
) -> Vec<Action> {
    let mut path = vec![from];
    while let Some(parent) = path.last().and_then(|world| seen.parent(*world)) {
        path.push(parent);
    }
    path.reverse();
    let mut packed = Vec::new();
    let mut steps = Vec::new();
    for pair in path.windows(2) {
        let world = packing.unpack(seen.packed(pair[0]));
        let mut found = None;
        world.expand(memo, &mut |action, next, _| {
            packed.clear();
            packing.pack(&next, &mut packed);
            if found.is_none() && seen.packed(pair[1]).starts_with(&packed) {
                found = Some(action);
            }
        });
        steps.push(found.expect("the step that was taken can be taken again"));
    }
    steps.extend(last);
    steps
}

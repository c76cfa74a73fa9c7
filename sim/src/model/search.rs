//! The search: breadth first, over packed worlds, with parents, so that every trace is a shortest
//! one.

use super::memo::Memo;
use super::moments::Moments;
use crate::events::Events;
use crate::model::world::{Action, Done, Of, Parts, REST, ROOM, Rest, Setup, World};
use crate::properties::MAX;
use crate::properties::{Property, When};
use arrayvec::ArrayVec;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// What a search looks for and how far it goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Gives up beyond this many unique states: the result is then not exhaustive.
    pub states: u64,
    /// Ends at the first property that is broken.
    pub stop_at_first: bool,
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
    /// Bytes that packed worlds, parents and the table take.
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

/// All worlds seen, each in `width` words.
struct Visited {
    width: usize,
    words: Vec<u32>,
    parents: Vec<u32>,
    table: HashTable<u32>,
}

fn hash(words: &[u32]) -> u64 {
    let mut hasher = rustc_hash::FxBuildHasher.build_hasher();
    for word in words {
        hasher.write_u32(*word);
    }
    hasher.finish()
}

impl Visited {
    fn row(&self, number: u32) -> &[u32] {
        let at = number as usize * self.width;
        &self.words[at..at + self.width]
    }

    /// Keeps a world, unless it was seen before.
    fn insert(&mut self, packed: &[u32], parent: u32) -> bool {
        let (words, width) = (&self.words, self.width);
        let row = |n: u32| &words[n as usize * width..(n as usize + 1) * width];
        let entry = self
            .table
            .entry(hash(packed), |n| row(*n) == packed, |n| hash(row(*n)));
        let hashbrown::hash_table::Entry::Vacant(free) = entry else {
            return false;
        };
        free.insert(u32::try_from(self.parents.len()).expect("fewer than 2^32 worlds"));
        self.words.extend_from_slice(packed);
        self.parents.push(parent);
        true
    }

    fn memory(&self) -> u64 {
        let words = self.words.capacity() * 4 + self.parents.capacity() * 4;
        (words + self.table.capacity() * 5) as u64
    }
}

/// Packs worlds of one configuration.
struct Packing {
    members: usize,
    /// How many adverts each link has room for, by place in [`World::links`].
    rooms: Vec<usize>,
}

impl Packing {
    fn of(setup: &Setup) -> Self {
        let n = setup.configs.len();
        let room = |i: usize| {
            if i / n == i % n {
                usize::from(setup.adversary.stragglers > 0)
            } else {
                setup.adversary.room
            }
        };
        Self {
            members: n,
            rooms: (0..n * n).map(room).collect(),
        }
    }

    fn width(&self) -> usize {
        self.members + self.rooms.iter().sum::<usize>() + REST
    }

    fn pack(&self, world: &Of<Memo>, out: &mut ArrayVec<u32, { MAX + MAX * MAX * ROOM + REST }>) {
        out.clear();
        out.extend(world.members.iter().copied());
        for (link, room) in world.links.iter().zip(&self.rooms) {
            out.extend(link.iter().map(|a| a + 1));
            out.extend(std::iter::repeat_n(0, room - link.len()));
        }
        out.extend(world.rest.pack());
    }

    fn unpack(&self, row: &[u32]) -> Of<Memo> {
        let (members, rest) = row.split_at(self.members);
        let (mut links, rest) = rest.split_at(rest.len() - REST);
        let link = |room: &usize| -> ArrayVec<u32, ROOM> {
            let (words, others) = links.split_at(*room);
            links = others;
            words.iter().filter(|w| **w > 0).map(|w| w - 1).collect()
        };
        World {
            members: members.iter().copied().collect(),
            links: self.rooms.iter().map(link).collect(),
            rest: Rest::unpack([rest[0], rest[1], rest[2], rest[3]]),
        }
    }
}

/// Walks all worlds that can be reached.
pub fn search(
    memo: &Memo,
    properties: &[Property],
    limits: Limits,
    mut progress: impl FnMut(Progress),
) -> Found {
    let started = Instant::now();
    let setup = memo.setup();
    let packing = Packing::of(setup);
    let mut seen = Visited {
        width: packing.width(),
        words: Vec::new(),
        parents: Vec::new(),
        table: HashTable::new(),
    };
    let mut judge = Judge {
        moments: Moments::of(setup),
        properties,
        first: vec![None; properties.len()],
    };
    let mut packed = ArrayVec::new();
    for world in World::beginnings(memo) {
        packing.pack(&world, &mut packed);
        let number = seen.parents.len() as u32;
        if seen.insert(&packed, u32::MAX) {
            judge.moment(memo, &world, Done::default(), number, None);
        }
    }
    let (mut at, mut level_end, mut depth, mut transitions) = (0u32, seen.parents.len(), 0, 0u64);
    let mut overflow = false;
    let mut reported = Instant::now();
    while (at as usize) < seen.parents.len()
        && (seen.parents.len() as u64) < limits.states
        && !(limits.stop_at_first && judge.is_broken())
    {
        if at as usize == level_end {
            (level_end, depth) = (seen.parents.len(), depth + 1);
        }
        let world = packing.unpack(seen.row(at));
        world.expand(memo, &mut |action, next, done| {
            transitions += 1;
            overflow |= done.overflow;
            packing.pack(&next, &mut packed);
            let number = seen.parents.len() as u32;
            if seen.insert(&packed, at) {
                judge.moment(memo, &next, done, number, Some((at, action)));
            } else if done.events != Events::default() {
                judge.step(memo, &next, done, (at, action));
            }
        });
        at += 1;
        if at.is_multiple_of(4096) && reported.elapsed() > Duration::from_millis(200) {
            reported = Instant::now();
            progress(Progress {
                unique: seen.parents.len() as u64,
                transitions,
                frontier: seen.parents.len() as u64 - u64::from(at),
                depth,
            });
        }
    }
    let traces = judge.first.iter().map(|first| {
        let (from, action) = (*first)?;
        Some(trace(memo, &packing, &seen, from, action))
    });
    let traces: Vec<_> = traces.collect();
    Found {
        exhaustive: at as usize == seen.parents.len() && !overflow,
        unique: seen.parents.len() as u64,
        transitions,
        depth,
        beginning: traces
            .iter()
            .map(|t| t.as_ref().map_or(0, |t| t.0))
            .collect(),
        first: traces.into_iter().map(|t| t.map(|t| t.1)).collect(),
        overflow,
        took: started.elapsed(),
        memory: seen.memory(),
        parts: memo.sizes(),
    }
}

/// Keeps, by property, the first moment that breaks it or that it waits for.
struct Judge<'a> {
    moments: Moments<'a>,
    properties: &'a [Property],
    /// The world before the step, and the step; a beginning has none.
    first: Vec<Option<(u32, Option<Action>)>>,
}

impl Judge<'_> {
    fn is_broken(&self) -> bool {
        let mut each = self.properties.iter().zip(&self.first);
        each.any(|(p, first)| p.when.is_always() && first.is_some())
    }

    /// A world that is new.
    fn moment(
        &mut self,
        memo: &Memo,
        world: &Of<Memo>,
        done: Done,
        number: u32,
        by: Option<(u32, Action)>,
    ) {
        let by = by.map_or((number, None), |(from, action)| (from, Some(action)));
        self.ask(memo, world, done, by, |_| true);
    }

    /// A step to a world that was seen before.
    fn step(&mut self, memo: &Memo, world: &Of<Memo>, done: Done, by: (u32, Action)) {
        let is_step = |when| matches!(when, When::AlwaysStep | When::SometimesStep);
        self.ask(memo, world, done, (by.0, Some(by.1)), is_step);
    }

    fn ask(
        &mut self,
        memo: &Memo,
        world: &Of<Memo>,
        done: Done,
        by: (u32, Option<Action>),
        which: impl Fn(When) -> bool,
    ) {
        let facts = world.facts(memo);
        let moment = self.moments.at(&facts, &world.rest, done);
        for (property, first) in self.properties.iter().zip(&mut self.first) {
            if first.is_none()
                && which(property.when)
                && (property.holds)(&moment) != property.when.is_always()
            {
                *first = Some(by);
            }
        }
    }
}

/// The steps from a beginning to a world, and one more.
fn trace(
    memo: &Memo,
    packing: &Packing,
    seen: &Visited,
    from: u32,
    last: Option<Action>,
) -> (usize, Vec<Action>) {
    let mut path = vec![from];
    while let Some(parent) = path.last().map(|n| seen.parents[*n as usize])
        && parent != u32::MAX
    {
        path.push(parent);
    }
    path.reverse();
    let mut packed = ArrayVec::new();
    let mut steps = Vec::new();
    for pair in path.windows(2) {
        let world = packing.unpack(seen.row(pair[0]));
        let mut found = None;
        world.expand(memo, &mut |action, next, _| {
            packing.pack(&next, &mut packed);
            if found.is_none() && packed.as_slice() == seen.row(pair[1]) {
                found = Some(action);
            }
        });
        steps.push(found.expect("the step that was taken can be taken again"));
    }
    steps.extend(last);
    (path[0] as usize, steps)
}

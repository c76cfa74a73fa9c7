//! Members and adverts kept as numbers: each different one is kept once.
//!
//! There are far fewer different members than worlds, and a turn depends on nothing but the member
//! and what happens to it. So each turn is taken by the shipped node once, and is looked up from
//! then on.

use crate::model::world::{Changed, Direct, Ending, MemberState, NOW, Parts, Setup, Stimulus};
use crate::model::world::{as_sent, is_answer};
use crate::properties::Facts;
use hashbrown::HashTable;
use onehold_core::advert::{Advert, Incarnation};
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::cell::RefCell;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is remembered of one configuration, for all threads. The numbers depend on which thread
/// was first; nothing that is found does.
#[derive(Debug)]
pub struct Memory {
    direct: Direct,
    members: Numbered<MemberState>,
    adverts: Numbered<Advert>,
    turns: Shared<What, Option<Arc<Turn>>>,
    aged: Shared<(u32, u8), u32>,
    adverts_aged: Shared<(u16, u8), u16>,
}

/// The memory as one thread uses it: with its own copies of what it has asked before.
#[derive(Debug)]
pub struct Memo<'a> {
    memory: &'a Memory,
    facts: Copies<Facts>,
    turns: RefCell<FxHashMap<What, Option<Arc<Turn>>>>,
    aged: RefCell<FxHashMap<(u32, u8), u32>>,
    adverts_aged: RefCell<FxHashMap<(u16, u8), u16>>,
    /// By advert: its incarnation, and whether it is the answer to a knock.
    about: Copies<(Incarnation, bool)>,
}

/// A member, what happens to it, and how far that gets.
type What = (u32, Stimulus<u16>, Ending);

/// What comes of it.
type Turn = Changed<u32, u16>;

/// In how many pieces a table is, each with its own lock.
const PIECES: usize = 64;

fn lock<T>(piece: &Mutex<T>) -> MutexGuard<'_, T> {
    piece.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Values by number, numbers by value.
#[derive(Debug)]
struct Numbered<T>(Vec<Mutex<Piece<T>>>);

#[derive(Debug)]
struct Piece<T> {
    values: Vec<Arc<T>>,
    /// Hashes of values, and their places.
    places: HashTable<(u64, u32)>,
}

impl<T: Eq + Hash> Numbered<T> {
    fn new() -> Self {
        let piece = || Piece {
            values: Vec::new(),
            places: HashTable::new(),
        };
        Self((0..PIECES).map(|_| Mutex::new(piece())).collect())
    }

    fn number(&self, value: T) -> u32 {
        let hash = FxBuildHasher.hash_one(&value);
        let in_piece = hash as usize % PIECES;
        let mut piece = lock(&self.0[in_piece]);
        let Piece { values, places } = &mut *piece;
        let next = u32::try_from(values.len()).expect("few");
        let same = |at: &(u64, u32)| at.0 == hash && *values[at.1 as usize] == value;
        let place = places.entry(hash, same, |at| at.0).or_insert((hash, next));
        let place = place.get().1;
        if place == next {
            values.push(Arc::new(value));
        }
        let number = (place as usize).checked_mul(PIECES).map(|n| n + in_piece);
        let number = number.and_then(|n| u32::try_from(n).ok());
        number.expect("fewer than 2^32 of a kind")
    }

    fn value(&self, number: u32) -> Arc<T> {
        let piece = lock(&self.0[number as usize % PIECES]);
        Arc::clone(&piece.values[number as usize / PIECES])
    }

    fn len(&self) -> usize {
        self.0.iter().map(|piece| lock(piece).values.len()).sum()
    }
}

/// What was found out once, for all threads.
#[derive(Debug)]
struct Shared<K, V>(Vec<Mutex<FxHashMap<K, V>>>);

impl<K: Copy + Eq + Hash, V: Clone> Shared<K, V> {
    fn new() -> Self {
        Self((0..PIECES).map(|_| Mutex::default()).collect())
    }

    /// What is known, or else what this says.
    fn get(&self, key: K, find: impl FnOnce() -> V) -> V {
        let piece = &self.0[FxBuildHasher.hash_one(key) as usize % PIECES];
        if let Some(known) = lock(piece).get(&key) {
            return known.clone();
        }
        let found = find();
        lock(piece).entry(key).or_insert(found).clone()
    }

    fn len(&self) -> usize {
        self.0.iter().map(|piece| lock(piece).len()).sum()
    }
}

/// One thread's copies of what is known by number.
#[derive(Debug)]
struct Copies<V>(RefCell<Vec<Option<V>>>);

impl<V: Copy> Copies<V> {
    fn get(&self, number: u32, find: impl FnOnce() -> V) -> V {
        if let Some(Some(known)) = self.0.borrow().get(number as usize) {
            return *known;
        }
        let found = find();
        let mut copies = self.0.borrow_mut();
        if copies.len() <= number as usize {
            copies.resize(number as usize + 1, None);
        }
        copies[number as usize] = Some(found);
        found
    }
}

/// One thread's copy, or what this says.
fn copied<K: Copy + Eq + Hash, V: Clone>(
    copies: &RefCell<FxHashMap<K, V>>,
    key: K,
    find: impl FnOnce() -> V,
) -> V {
    if let Some(known) = copies.borrow().get(&key) {
        return known.clone();
    }
    let found = find();
    copies.borrow_mut().insert(key, found.clone());
    found
}

impl Memory {
    /// An empty memory.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            direct: Direct(setup),
            members: Numbered::new(),
            adverts: Numbered::new(),
            turns: Shared::new(),
            aged: Shared::new(),
            adverts_aged: Shared::new(),
        }
    }

    /// How many different members, adverts and turns there were.
    #[must_use]
    pub fn sizes(&self) -> [usize; 3] {
        [self.members.len(), self.adverts.len(), self.turns.len()]
    }

    /// The configuration.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.direct.0
    }

    fn advert(&self, advert: Advert) -> u16 {
        let number = u16::try_from(self.adverts.number(advert));
        number.expect("few different adverts")
    }

    /// For one thread.
    #[must_use]
    pub fn memo(&self) -> Memo<'_> {
        Memo {
            memory: self,
            facts: Copies(RefCell::default()),
            turns: RefCell::default(),
            aged: RefCell::default(),
            adverts_aged: RefCell::default(),
            about: Copies(RefCell::default()),
        }
    }
}

impl Memo<'_> {
    /// A member by its number.
    #[must_use]
    pub fn member_at(&self, number: u32) -> Arc<MemberState> {
        self.memory.members.value(number)
    }

    /// An advert by its number.
    #[must_use]
    pub fn advert_at(&self, number: u16) -> Arc<Advert> {
        self.memory.adverts.value(number.into())
    }

    fn about(&self, advert: u16) -> (Incarnation, bool) {
        self.about.get(advert.into(), || {
            let advert = self.advert_at(advert);
            (advert.incarnation, is_answer(&advert))
        })
    }

    fn turn(&self, what: What) -> Option<Arc<Turn>> {
        let (member, stimulus, ending) = what;
        let advert = match stimulus {
            Stimulus::Receive(advert) => Some(self.advert_at(advert)),
            _ => None,
        };
        let stimulus = stimulus.map(|_| advert.as_deref().expect("the advert that is received"));
        let turn = self
            .member_at(member)
            .change(self.setup(), NOW, &stimulus, ending)?;
        let advert = |a: Box<Advert>| self.memory.advert(as_sent(*a));
        Some(Arc::new(turn.map(|m| self.member(m), advert)))
    }
}

impl Parts for Memo<'_> {
    type Member = u32;
    type Advert = u16;

    fn setup(&self) -> &Setup {
        self.memory.setup()
    }

    fn member(&self, member: MemberState) -> u32 {
        self.memory.members.number(member)
    }

    fn facts(&self, member: &u32) -> Facts {
        let facts = || self.member_at(*member).facts(self.setup(), NOW);
        self.facts.get(*member, facts)
    }

    fn change(&self, member: &u32, stimulus: &Stimulus<&u16>, ending: Ending) -> Option<Turn> {
        let what = (*member, stimulus.map(|a| *a), ending);
        let find = || self.memory.turns.get(what, || self.turn(what));
        copied(&self.turns, what, find).as_deref().cloned()
    }

    fn aged(&self, member: &u32, beginning: u8) -> u32 {
        let key = (*member, beginning);
        copied(&self.aged, key, || {
            self.memory.aged.get(key, || {
                let of = self.setup().ticks(beginning);
                self.member(self.member_at(*member).aged(self.setup(), of, 1))
            })
        })
    }

    fn advert_aged(&self, advert: &u16, beginning: u8) -> u16 {
        let key = (*advert, beginning);
        copied(&self.adverts_aged, key, || {
            self.memory.adverts_aged.get(key, || {
                let of = self.advert_at(*advert);
                let aged = self.memory.direct.advert_aged(&of, beginning);
                self.memory.advert(Arc::unwrap_or_clone(aged))
            })
        })
    }

    fn life(&self, advert: &u16) -> Incarnation {
        self.about(*advert).0
    }

    fn is_answer(&self, advert: &u16) -> bool {
        self.about(*advert).1
    }
}

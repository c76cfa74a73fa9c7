//! Members and adverts kept as numbers: each different one is kept once.
//!
//! There are far fewer different members than worlds, and a turn depends on nothing but the member
//! and what happens to it. So each turn is taken by the shipped node once, and is looked up from
//! then on.

use crate::model::world::{Changed, Direct, Ending, MemberState, NOW, Parts, Setup, Stimulus};
use crate::model::world::{as_sent, is_answer};
use crate::properties::Facts;
use onehold_core::advert::{Advert, Incarnation};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::hash::Hash;
use std::sync::Arc;

/// The memory. Not shared between threads.
#[derive(Debug)]
pub struct Memo {
    direct: Direct,
    members: RefCell<Numbered<MemberState>>,
    adverts: RefCell<Numbered<Advert>>,
    facts: RefCell<Vec<Facts>>,
    turns: RefCell<FxHashMap<What, Option<Changed<u32, u32>>>>,
    aged: RefCell<FxHashMap<(u32, u8), u32>>,
    adverts_aged: RefCell<FxHashMap<(u32, u8), u32>>,
    /// By advert: its incarnation, and whether it is the answer to a knock.
    about: RefCell<Vec<(Incarnation, bool)>>,
}

/// A member, what happens to it, and how far that gets.
type What = (u32, Stimulus<u32>, Ending);

/// Values by number, numbers by value.
#[derive(Debug)]
struct Numbered<T> {
    values: Vec<Arc<T>>,
    numbers: FxHashMap<Arc<T>, u32>,
}

impl<T: Eq + Hash> Numbered<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            numbers: FxHashMap::default(),
        }
    }

    /// The value's number, and whether it is new.
    fn number(&mut self, value: T) -> (u32, bool) {
        let next = u32::try_from(self.values.len()).expect("fewer than 2^32 of a kind");
        let value = Arc::new(value);
        let number = *self.numbers.entry(Arc::clone(&value)).or_insert(next);
        if number == next {
            self.values.push(value);
        }
        (number, number == next)
    }

    fn value(&self, number: u32) -> Arc<T> {
        Arc::clone(&self.values[number as usize])
    }
}

impl Memo {
    /// An empty memory.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            direct: Direct(setup),
            members: RefCell::new(Numbered::new()),
            adverts: RefCell::new(Numbered::new()),
            facts: RefCell::default(),
            turns: RefCell::default(),
            aged: RefCell::default(),
            adverts_aged: RefCell::default(),
            about: RefCell::default(),
        }
    }

    /// How many different members, adverts and turns there were.
    #[must_use]
    pub fn sizes(&self) -> [usize; 3] {
        [
            self.members.borrow().values.len(),
            self.adverts.borrow().values.len(),
            self.turns.borrow().len(),
        ]
    }

    /// A member by its number.
    #[must_use]
    pub fn member_at(&self, number: u32) -> Arc<MemberState> {
        self.members.borrow().value(number)
    }

    /// An advert by its number.
    #[must_use]
    pub fn advert_at(&self, number: u32) -> Arc<Advert> {
        self.adverts.borrow().value(number)
    }

    fn advert(&self, advert: Advert) -> u32 {
        let about = (advert.incarnation, is_answer(&advert));
        let (number, new) = self.adverts.borrow_mut().number(advert);
        if new {
            self.about.borrow_mut().push(about);
        }
        number
    }
}

impl Parts for Memo {
    type Member = u32;
    type Advert = u32;

    fn setup(&self) -> &Setup {
        &self.direct.0
    }

    fn member(&self, member: MemberState) -> u32 {
        let facts = member.facts(self.setup(), NOW);
        let (number, new) = self.members.borrow_mut().number(member);
        if new {
            self.facts.borrow_mut().push(facts);
        }
        number
    }

    fn facts(&self, member: &u32) -> Facts {
        self.facts.borrow()[*member as usize]
    }

    fn change(
        &self,
        member: &u32,
        stimulus: &Stimulus<&u32>,
        ending: Ending,
    ) -> Option<Changed<u32, u32>> {
        let key = (*member, stimulus.map(|a| *a), ending);
        if let Some(turn) = self.turns.borrow().get(&key) {
            return turn.clone();
        }
        let advert = match stimulus {
            Stimulus::Receive(advert) => Some(self.advert_at(**advert)),
            _ => None,
        };
        let stimulus = stimulus.map(|_| advert.as_deref().expect("the advert that is received"));
        let of = self.member_at(*member);
        let turn = of.change(self.setup(), NOW, &stimulus, ending);
        let turn = turn.map(|t| t.map(|m| self.member(m), |a| self.advert(as_sent(a))));
        self.turns.borrow_mut().insert(key, turn.clone());
        turn
    }

    fn aged(&self, member: &u32, beginning: u8) -> u32 {
        if let Some(aged) = self.aged.borrow().get(&(*member, beginning)) {
            return *aged;
        }
        let of = self.setup().ticks(beginning);
        let aged = self.member(self.member_at(*member).aged(self.setup(), of, 1));
        self.aged.borrow_mut().insert((*member, beginning), aged);
        aged
    }

    fn advert_aged(&self, advert: &u32, beginning: u8) -> u32 {
        if let Some(aged) = self.adverts_aged.borrow().get(&(*advert, beginning)) {
            return *aged;
        }
        let aged = self.direct.advert_aged(&self.advert_at(*advert), beginning);
        let aged = self.advert(Arc::unwrap_or_clone(aged));
        self.adverts_aged
            .borrow_mut()
            .insert((*advert, beginning), aged);
        aged
    }

    fn life(&self, advert: &u32) -> Incarnation {
        self.about.borrow()[*advert as usize].0
    }

    fn is_answer(&self, advert: &u32) -> bool {
        self.about.borrow()[*advert as usize].1
    }
}

//! A provider beside a run: the table that it keeps, and what the members' movers make of it.
//!
//! No turn of a node depends on a table, so it is played after the run, on who answered when. A mover does what the
//! shipped ones do: it looks, asks whether its member holds right before it calls, and looks again. The provider carries
//! out a call when it likes: late, twice or never. What it never does: ask a node what it believes.

use crate::show::timeline::Answers;
use std::collections::{BTreeMap, VecDeque};

/// How movers and their provider are. All times are as the run has them.
#[derive(Clone, Debug)]
pub struct Terms {
    /// From the beginning of a hold to the first look, and from a look that found it wrong to the next.
    pub look: u64,
    /// From a look that found it right to the next one; none, where there is none, as with a script that is told of
    /// changes.
    pub reconcile: Option<u64>,
    /// The mover asks whether its member holds, right before a call.
    pub asks: bool,
    /// What becomes of calls, one after the other and again from the start, until `calm`.
    pub calls: Vec<Call>,
    /// From then on, every call is carried out once, after this long.
    pub takes: u64,
    /// When that is.
    pub calm: u64,
}

/// What becomes of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it is carried out, each time counted from when its mover asked who holds. So that is also how long the
    /// mover's machine stands still before it sends it.
    pub carried_out: Vec<u64>,
    /// When the mover goes on, counted likewise.
    pub over: u64,
}

/// A call that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried<M> {
    /// Whose.
    pub of: M,
    /// When its mover asked, or would have.
    pub asked: u64,
    /// When the table changed.
    pub at: u64,
}

/// What a provider has seen.
#[derive(Clone, Debug)]
pub struct Provider<M> {
    /// Every change of the table, in order; before the first it names nobody.
    pub table: Vec<Carried<M>>,
    /// How many calls it was sent.
    pub calls: usize,
}

enum Event<M> {
    /// The nth mover of a member looks.
    Look(M, u32),
    /// A call is carried out.
    Carry(M, u64),
}

impl Terms {
    /// For how long after the last fault the table may be wrong: from the later of `calm` and when the last holder
    /// began.
    #[must_use]
    pub fn bound(&self) -> u64 {
        let late = self.calls.iter().flat_map(|call| &call.carried_out).max();
        let over = self.calls.iter().map(|call| call.over).max();
        let (late, over) = (late.copied().unwrap_or(0), over.unwrap_or(0));
        late + self.reconcile.unwrap_or(0) + over + self.takes + 3 * self.look
    }
}

impl<M: Copy + Ord> Provider<M> {
    /// Plays it beside a run whose holders are known, until then.
    #[must_use]
    pub fn play(answers: &Answers<M, u64>, until: u64, terms: &Terms) -> Self {
        let mut this = Self {
            table: Vec::new(),
            calls: 0,
        };
        let mut due: BTreeMap<u64, VecDeque<Event<M>>> = BTreeMap::new();
        let mut add = |at: u64, event| due.entry(at).or_default().push_back(event);
        let mut movers: BTreeMap<M, u32> = BTreeMap::new();
        let mut before: &[M] = &[];
        for (at, now) in answers.changes() {
            for of in now.iter().filter(|of| !before.contains(of)) {
                // A hold that begins ends what there was of an earlier one's.
                let nth = movers.entry(*of).or_default();
                *nth += 1;
                add(at + terms.look, Event::Look(*of, *nth));
            }
            before = now;
        }
        let begins: BTreeMap<(M, u32), u64> = due
            .iter()
            .flat_map(|(at, events)| events.iter().map(move |event| (*at, event)))
            .filter_map(|(at, event)| match event {
                Event::Look(of, nth) => Some(((*of, *nth), at)),
                Event::Carry(..) => None,
            })
            .collect();
        while let Some(mut first) = due.first_entry() {
            let now = *first.key();
            let event = first.get_mut().pop_front();
            if first.get().is_empty() {
                first.remove();
            }
            let mut add = |at: u64, event| due.entry(at).or_default().push_back(event);
            match event {
                _ if now > until => break,
                None => {}
                Some(Event::Carry(of, asked)) => this.table.push(Carried { of, asked, at: now }),
                Some(Event::Look(of, nth)) => {
                    let newer = begins.get(&(of, nth + 1)).is_some_and(|at| *at <= now);
                    let holds = answers.at(now).1.contains(&of);
                    if newer || (terms.asks && !holds) {
                        continue;
                    }
                    if this.table.last().is_some_and(|carried| carried.of == of) {
                        if let Some(reconcile) = terms.reconcile {
                            add(now + reconcile, Event::Look(of, nth));
                        }
                        continue;
                    }
                    let plain = Call {
                        carried_out: vec![terms.takes],
                        over: terms.takes,
                    };
                    let call = match terms.calls.len() {
                        n if n > 0 && now < terms.calm => &terms.calls[this.calls % n],
                        _ => &plain,
                    };
                    this.calls += 1;
                    for after in &call.carried_out {
                        add(now + after, Event::Carry(of, now));
                    }
                    add(now + call.over + terms.look, Event::Look(of, nth));
                }
            }
        }
        this
    }

    /// Whom the table names at a moment.
    #[must_use]
    pub fn names(&self, at: u64) -> Option<M> {
        let past = self.table.iter().take_while(|carried| carried.at <= at);
        past.last().map(|carried| carried.of)
    }

    /// When the table first names another than `holder`, from then on; none if it never does.
    #[must_use]
    pub fn wrong(&self, from: u64, holder: M) -> Option<u64> {
        if self.names(from) != Some(holder) {
            return Some(from);
        }
        let mut later = self.table.iter().filter(|carried| carried.at > from);
        later
            .find(|carried| carried.of != holder)
            .map(|carried| carried.at)
    }
}

//! All worlds seen, each kept once and whole, in parts that threads fill independently of each
//! other.

use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// How many parts there are. (Which part a world is in changes nothing that can be seen.)
pub(super) const PARTS: usize = 16;

/// How many bytes the number of a parent takes.
const PARENT: usize = 5;

/// The number of a world: its part, and where it begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(u64);

impl Number {
    /// The parent of a beginning.
    pub(super) const NONE: Self = Self((1 << (8 * PARENT)) - 1);

    pub(super) const fn new(part: usize, place: u32) -> Self {
        Self((part as u64) << 32 | place as u64)
    }

    const fn part(self) -> usize {
        (self.0 >> 32) as usize
    }

    const fn place(self) -> usize {
        (self.0 & u32::MAX as u64) as usize
    }
}

/// Where a world belongs: by a hash of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) fn of(packed: &[u8]) -> Self {
        Self(FxBuildHasher.hash_one(packed))
    }

    pub(super) const fn part(self) -> usize {
        self.0 as usize % PARTS
    }

    const fn in_part(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Packed worlds that were come by, in order, with what a [`Part`] must know of them.
#[derive(Debug, Default)]
pub(super) struct Come {
    bytes: Vec<u8>,
}

impl Come {
    /// One more, that was come by from this parent.
    pub(super) fn push(&mut self, hash: Hash, parent: Number, packed: &[u8]) {
        let length = u8::try_from(packed.len()).expect("a packed world is short");
        self.bytes.push(length);
        self.bytes.extend(hash.in_part().to_le_bytes());
        self.bytes.extend(&parent.0.to_le_bytes()[..PARENT]);
        self.bytes.extend(packed);
    }

    /// By world: its hash, and its parent's number followed by the world.
    fn each(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let [length, a, b, c, d, others @ ..] = rest else {
                return None;
            };
            let (this, others) = others.split_at(PARENT + usize::from(*length));
            rest = others;
            Some((u32::from_le_bytes([*a, *b, *c, *d]), this))
        })
    }
}

/// Some of the worlds seen.
///
/// A slot holds the hash of a world (upper half) and its place among the bytes (lower half); it
/// is zero if it is free. Slots are in the order of hashes, but that one that is taken is passed
/// over, so that a larger table is filled from first to last.
#[derive(Debug)]
pub(super) struct Part {
    slots: Vec<u64>,
    worlds: usize,
    /// Parents and worlds. Nothing is at place 0.
    bytes: Vec<u8>,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            slots: vec![0; 64],
            worlds: 0,
            bytes: vec![0],
        }
    }
}

impl Part {
    /// Keeps the worlds that it has not seen; for each, in order, its place if it is new.
    pub(super) fn keep(&mut self, come: &Come) -> Vec<Option<u32>> {
        come.each()
            .map(|(hash, this)| self.insert(hash, this))
            .collect()
    }

    fn insert(&mut self, hash: u32, this: &[u8]) -> Option<u32> {
        if self.worlds >= self.slots.len() / 5 * 4 {
            self.grow();
        }
        let mut at = first(hash, self.slots.len());
        let world = &this[PARENT..];
        while self.slots[at] != 0 {
            let slot = self.slots[at];
            let place = slot as u32 as usize + PARENT;
            if (slot >> 32) as u32 == hash && self.bytes[place..].starts_with(world) {
                return None;
            }
            at = after(at, self.slots.len());
        }
        let place = u32::try_from(self.bytes.len()).expect("a part has less than 4 GiB");
        self.slots[at] = u64::from(hash) << 32 | u64::from(place);
        self.bytes.extend_from_slice(this);
        self.worlds += 1;
        Some(place)
    }

    fn grow(&mut self) {
        let larger = self.slots.len() / 4 * 5;
        let slots = std::mem::replace(&mut self.slots, vec![0; larger]);
        for slot in slots.into_iter().filter(|slot| *slot != 0) {
            let mut at = first((slot >> 32) as u32, larger);
            while self.slots[at] != 0 {
                at = after(at, larger);
            }
            self.slots[at] = slot;
        }
    }
}

/// The slot where a hash belongs if it is free.
const fn first(hash: u32, slots: usize) -> usize {
    ((hash as u64 * slots as u64) >> 32) as usize
}

const fn after(slot: usize, slots: usize) -> usize {
    if slot + 1 < slots { slot + 1 } else { 0 }
}

/// All worlds seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) parts: Vec<Part>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Part::default()).collect(),
        }
    }

    /// How many.
    pub(super) fn worlds(&self) -> u64 {
        self.parts.iter().map(|part| part.worlds as u64).sum()
    }

    /// Bytes that begin with this world.
    pub(super) fn packed(&self, world: Number) -> &[u8] {
        &self.parts[world.part()].bytes[world.place() + PARENT..]
    }

    /// From where a world was come by first.
    pub(super) fn parent(&self, world: Number) -> Option<Number> {
        let place = world.place();
        let mut parent = [0; 8];
        parent[..PARENT].copy_from_slice(&self.parts[world.part()].bytes[place..place + PARENT]);
        let parent = Number(u64::from_le_bytes(parent));
        (parent != Number::NONE).then_some(parent)
    }

    /// Bytes that all this takes.
    pub(super) fn memory(&self) -> u64 {
        let of = |part: &Part| (part.bytes.len() + 8 * part.slots.len()) as u64;
        self.parts.iter().map(of).sum()
    }
}

//! A few things of a kind, and mostly none: bounded like an `ArrayVec`, with no room while there are
//! none. A witness has thousands of sessions, in which hardly anything strange ever happens.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// At most `MOST`, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub(crate) struct Few<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, const MOST: usize> Few<T, MOST> {
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// One more, the last; there must be room.
    pub(crate) fn push(&mut self, one: T) {
        assert!(!self.is_full(), "no collection without a bound");
        self.0.push(one);
    }

    /// Removes the one at `at`, if there is one.
    pub(crate) fn remove(&mut self, at: usize) {
        if at < self.0.len() {
            self.0.remove(at);
        }
    }

    pub(crate) fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// Keeps the last only.
    pub(crate) fn keep_last(&mut self) {
        let others = self.0.len().saturating_sub(1);
        self.0.drain(..others);
    }
}

impl<T, const MOST: usize> Deref for Few<T, MOST> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MOST: usize> DerefMut for Few<T, MOST> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(feature = "serde")]
impl<'de, T: serde::Deserialize<'de>, const MOST: usize> serde::Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = Vec::deserialize(from)?;
        if all.len() > MOST {
            return Err(serde::de::Error::invalid_length(all.len(), &"fewer"));
        }
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_room_while_there_are_none_and_the_order_is_kept() {
        let mut few = Few::<u8, 3>::default();
        assert_eq!(few.0.capacity(), 0);
        (1..=3).for_each(|n| few.push(n));
        assert!(few.is_full());
        few.remove(0);
        few.remove(7);
        assert_eq!(*few, [2, 3]);
        few.keep_last();
        assert_eq!(*few, [3]);
        few.retain(|n| *n != 3);
        few.keep_last();
        assert_eq!(*few, [0; 0]);
    }

    #[test]
    #[should_panic(expected = "bound")]
    fn one_too_many_is_an_error_of_ours() {
        let mut few = Few::<u8, 1>::default();
        few.push(1);
        few.push(2);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn what_is_read_has_the_same_bound() {
        use serde::Deserialize as _;
        use serde::de::value::{Error, SeqDeserializer};
        let read = |all: Vec<u8>| {
            Few::<u8, 2>::deserialize(SeqDeserializer::<_, Error>::new(all.into_iter()))
        };
        assert_eq!(*read(alloc::vec![1, 2]).unwrap(), [1, 2]);
        assert!(read(alloc::vec![1, 2, 3]).is_err());
    }
}

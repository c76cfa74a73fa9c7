//! Which key to seal with for each other member, while keys are rotated.
//!
//! Files differ meanwhile, so a member seals for each peer with a key that this peer has. It knows
//! that from the peer's own adverts, once they were *accepted* (R-1, R-2): a recording teaches
//! nothing. To a peer that is heard it sends one datagram, under the newest of its keys that the
//! peer has: the first of its file. To any other (it is not heard, it has another incarnation than
//! the one that said so, or it has none of ours) it sends the same advert once under *each* key; of
//! the copies that open, R-2 drops all but the first.
//!
//! So two members that share a key can't lose each other: whoever knows nothing, or what is no
//! longer true, stops hearing the other or is not heard by it; in either case one of them sends
//! under each key after D at the latest, the other opens that, and both know again. A member that
//! has only one key sends what it always did.

use crate::advert::{Incarnation, MemberId};
use crate::auth::{Key, Keys};
use crate::reject::KeyId;
use crate::time::{LocalTime, Span};
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// Most keys of one member.
pub const MAX_KEYS: usize = 4;

/// What a datagram says that its sender accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// The key that it was sealed with.
    pub sealed: KeyId,
    /// All that its sender accepts, the newest first; empty if that is the only one.
    pub listed: ArrayVec<KeyId, MAX_KEYS>,
    /// The highest version of the datagrams that it reads.
    pub highest: u8,
}

impl Accepts {
    /// All keys that the sender says that it accepts.
    #[must_use]
    pub fn all(&self) -> &[KeyId] {
        match &self.listed[..] {
            [] => core::slice::from_ref(&self.sealed),
            listed => listed,
        }
    }
}

/// What the accepted adverts of the other members said that these accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(Vec<Known>);

/// What one member accepts, by its latest accepted advert.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    member: MemberId,
    incarnation: Incarnation,
    heard_at: LocalTime,
    keys: ArrayVec<KeyId, MAX_KEYS>,
    highest: u8,
}

impl Known {
    fn has(&self, key: KeyId) -> bool {
        self.keys.contains(&key)
    }
}

impl Keyring {
    /// An advert of a member was accepted, whose datagram said this. Whether it said anything else
    /// before.
    pub fn heard(
        &mut self,
        now: LocalTime,
        member: MemberId,
        incarnation: Incarnation,
        accepts: &Accepts,
    ) -> bool {
        let keys = accepts.all().iter().copied().collect();
        let known = Known {
            member,
            incarnation,
            heard_at: now,
            keys,
            highest: accepts.highest,
        };
        match self.0.iter_mut().find(|k| k.member == member) {
            Some(before) => {
                let was = core::mem::replace(before, known.clone());
                was.keys != known.keys || was.highest != known.highest
            }
            None => {
                self.0.push(known);
                true
            }
        }
    }

    /// members have other numbers, or are none any more.
    pub fn renumber(&mut self, now: impl Fn(MemberId) -> Option<MemberId>) {
        self.0.retain_mut(|known| {
            let member = now(known.member);
            known.member = member.unwrap_or(known.member);
            member.is_some()
        });
    }

    /// The keys that a member is known to have, the newest first, however long ago it said so;
    /// nothing if it was never heard.
    #[must_use]
    pub fn of(&self, member: MemberId) -> Option<&[KeyId]> {
        let known = self.0.iter().find(|k| k.member == member)?;
        Some(&known.keys)
    }

    /// The highest version of datagrams that a member is known to read; nothing if it was never heard.
    #[must_use]
    pub fn highest_version(&self, member: MemberId) -> Option<u8> {
        let known = self.0.iter().find(|k| k.member == member)?;
        Some(known.highest)
    }

    /// Whether a member is known to have one of these keys.
    #[must_use]
    pub fn shares(&self, member: MemberId, keys: &Keys) -> bool {
        let known = self.of(member).unwrap_or_default();
        keys.accepted().any(|key| known.contains(&key))
    }

    /// The keys of ours to seal an advert with, once with each. `vote` is D: a member is heard for
    /// as long.
    #[must_use]
    pub fn sealing<'k>(
        &self,
        ours: &'k Keys,
        now: LocalTime,
        vote: Span,
        to: MemberId,
        to_incarnation: Option<Incarnation>,
    ) -> &'k [Key] {
        let all = ours.all();
        let knows = |k: &&Known| {
            k.member == to && Some(k.incarnation) == to_incarnation && now.since(k.heard_at) < vote
        };
        let newest = (self.0.iter().find(knows))
            .and_then(|known| all.iter().find(|key| known.has(key.id)))
            .map(core::slice::from_ref);
        newest.unwrap_or(all)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::reject::Reject;
    use crate::wire;
    use alloc::vec;
    use proptest::prelude::*;

    pub(crate) fn named(sealed: u32, listed: &[u32]) -> Accepts {
        Accepts {
            sealed: KeyId(sealed),
            listed: listed.iter().map(|id| KeyId(*id)).collect(),
            highest: wire::VERSION,
        }
    }

    /// Those of a member with one key, or with several, of this program's version or a later one.
    pub(crate) fn any_names() -> impl Strategy<Value = Accepts> {
        let several = prop::collection::vec(any::<u32>(), 2..=MAX_KEYS);
        let highest = wire::VERSION..;
        (any::<u32>(), several, any::<bool>(), highest).prop_map(
            |(sealed, several, is, highest)| {
                let listed = if is { &several[..] } else { &[] };
                Accepts {
                    highest,
                    ..named(sealed, listed)
                }
            },
        )
    }

    const B: MemberId = MemberId(1);
    const THEIRS: Incarnation = Incarnation(7);
    const D: Span = Span::from_millis(456);

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(1 << 40).plus(Span::from_millis(ms))
    }

    fn key(n: u8) -> Key {
        Key::new(&[n; 16])
    }

    fn keys(of: &[u8]) -> Keys {
        let mut keys = of.iter().map(|n| key(*n));
        Keys::new(keys.next().unwrap(), keys.collect())
    }

    fn names(of: &[u8]) -> Accepts {
        keys(of).accepts(&key(of[0]))
    }

    /// What an advert to B is sealed with.
    fn sealed(ring: &Keyring, ours: &[u8], ms: u64, to: Option<Incarnation>) -> Vec<KeyId> {
        let ours = keys(ours);
        let keys = ring.sealing(&ours, at(ms), D, B, to);
        keys.iter().map(|k| k.id).collect()
    }

    fn ids(of: &[u8]) -> Vec<KeyId> {
        of.iter().map(|n| key(*n).id).collect()
    }

    #[test]
    fn a_datagram_lists_two_to_four_keys() {
        let (mut bytes, example) = (vec![], wire::tests::example());
        wire::encode(&named(7, &[8, 7]), &example, &mut bytes);
        assert!(wire::decode(&bytes).is_ok());
        let count = bytes.len() - 9;
        for other in [0, 1, 3, 5] {
            bytes[count] = other;
            assert_eq!(wire::decode(&bytes), Err(Reject::Malformed), "{other} keys");
        }
        bytes.truncate(count + 5);
        assert_eq!(wire::decode(&bytes), Err(Reject::Malformed), "one alone");
        bytes[count] = 1;
        assert_eq!(wire::decode(&bytes), Err(Reject::Malformed), "one alone");
    }

    #[test]
    fn a_heard_peer_gets_the_newest_of_ours_that_it_has() {
        for (theirs, ours, with) in [
            (&[1][..], &[2, 1][..], &[1][..]),
            (&[2, 1], &[2, 1], &[2]),
            (&[1, 2], &[2, 1], &[2]),
            (&[2, 1], &[1, 2], &[1]),
            (&[2], &[1, 2], &[2]),
            (&[3], &[2, 1], &[2, 1]),
            (&[3], &[1], &[1]),
        ] {
            let mut ring = Keyring::default();
            assert!(ring.heard(at(0), B, THEIRS, &names(theirs)));
            assert_eq!(
                sealed(&ring, ours, 1, Some(THEIRS)),
                ids(with),
                "{theirs:?}"
            );
        }
    }

    #[test]
    fn the_highest_version_is_that_of_the_latest_word() {
        let mut ring = Keyring::default();
        assert_eq!(ring.highest_version(B), None);
        for (highest, is_news) in [(1, true), (2, true), (2, false), (1, true)] {
            let said = Accepts {
                highest,
                ..names(&[1])
            };
            assert_eq!(ring.heard(at(0), B, THEIRS, &said), is_news);
            assert_eq!(ring.highest_version(B), Some(highest));
        }
    }

    #[test]
    fn any_other_gets_it_under_each_of_ours() {
        let (ours, mut ring) = (&[3, 2, 1], Keyring::default());
        assert_eq!(sealed(&ring, ours, 0, None), ids(ours), "never heard");
        ring.heard(at(0), B, THEIRS, &names(&[1]));
        assert_eq!(sealed(&ring, ours, 455, Some(THEIRS)), ids(&[1]));
        assert_eq!(sealed(&ring, ours, 456, Some(THEIRS)), ids(ours), "silent");
        let other = Some(Incarnation(8));
        assert_eq!(sealed(&ring, ours, 1, other), ids(ours), "of a knock");
        assert_eq!(sealed(&ring, &[1], 456, None), ids(&[1]));
        // What it said last counts, and for a removal for as long as it says nothing else.
        assert!(!ring.heard(at(1), B, THEIRS, &names(&[1])));
        assert!(ring.heard(at(2), B, THEIRS, &names(&[2, 1])));
        assert_eq!(ring.of(B), Some(&ids(&[2, 1])[..]));
        assert_eq!(ring.of(MemberId(2)), None);
        let shares = |stay: &[u8]| ring.shares(B, &keys(stay));
        assert_eq!(
            (shares(&[2]), shares(&[3, 1]), shares(&[3])),
            (true, true, false)
        );
        assert!(!ring.shares(MemberId(2), &keys(&[1])));
        assert_eq!(vec![key(1).id], names(&[1]).all());
    }
}

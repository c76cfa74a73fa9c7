//! Seals and opens datagrams: HMAC-SHA256 under the cluster's key, over every byte before the seal.
//!
//! Nothing but [`open`] makes an [`Authentic`] out of bytes. It checks the cheapest things first
//! (length, magic and version, cluster, key id), then the seal, and reads the rest only if a key
//! holder sealed it. The seal does not keep anybody from sending a datagram again, or late: that is
//! for the session.

use crate::advert::{Advert, ClusterId, Incarnation};
use crate::keyring::{Accepts, MAX_KEYS};
use crate::reject::{KeyId, Reject};
use crate::time::LocalTime;
use crate::wire;
use alloc::vec::Vec;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What a holder of the cluster's key said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authentic<T>(T);

impl<T> Authentic<T> {
    /// What was said.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was said, taken out.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Takes on trust that a key holder said this: for worlds without bytes, in which the seal is
    /// assumed to be perfect. The daemon never calls it (its clippy.toml forbids it).
    pub fn assumed(said: T) -> Self {
        Self(said)
    }
}

/// One secret with its name. The `Debug` form hides the secret.
#[derive(Clone)]
pub struct Key {
    /// Its name in datagrams.
    pub id: KeyId,
    /// HMAC that has already taken in the secret: a clone of it seals without hashing the pads
    /// again.
    keyed: Hmac<Sha256>,
}

/// All keys that are accepted, the newest first: that one seals, unless the
/// [`keyring`](crate::keyring) says otherwise.
#[derive(Clone, Debug)]
pub struct Keys {
    newest: Key,
    accepted: Vec<Key>,
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Key({:?}, secret hidden)", self.id)
    }
}

impl Key {
    /// A key; its id is derived from the secret, so equal secrets have equal names.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let Ok(keyed) = Hmac::<Sha256>::new_from_slice(secret) else {
            unreachable!("HMAC takes a secret of any length")
        };
        let name = keyed.clone().chain_update(b"onehold key id");
        let [a, b, c, d, ..] = <[u8; wire::SEAL]>::from(name.finalize().into_bytes());
        Self {
            id: KeyId(u32::from_be_bytes([a, b, c, d])),
            keyed,
        }
    }

    fn seals(&self, said: &[u8], seal: &[u8; wire::SEAL]) -> bool {
        // Compares in constant time.
        let keyed = self.keyed.clone().chain_update(said);
        keyed.verify(seal.into()).is_ok()
    }
}

impl Keys {
    /// Seals with `newest`, accepts it and all of `also`: [`MAX_KEYS`] in all. (Adverts name no
    /// more.)
    #[must_use]
    pub fn new(newest: Key, also: Vec<Key>) -> Self {
        let mut accepted = Vec::with_capacity(also.len().saturating_add(1));
        accepted.push(newest.clone());
        accepted.extend(also);
        Self { newest, accepted }
    }

    /// The id of the newest key.
    #[must_use]
    pub fn sealing(&self) -> KeyId {
        self.newest.id
    }

    /// All accepted keys, the newest first.
    #[must_use]
    pub fn all(&self) -> &[Key] {
        &self.accepted
    }

    /// What a datagram that is sealed with `key` says that a member with these keys accepts.
    #[must_use]
    pub fn accepts(&self, key: &Key) -> Accepts {
        let several = self.accepted.len() > 1;
        let listed = self.accepted().take(if several { MAX_KEYS } else { 0 });
        Accepts {
            sealed: key.id,
            listed: listed.collect(),
            highest: wire::VERSION,
        }
    }

    /// The ids of all accepted keys.
    pub fn accepted(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.accepted.iter().map(|k| k.id)
    }
}

/// Writes the datagram of `advert`, sealed with the newest key, into `out` (cleared first).
/// Allocates nothing once `out` has the room of [`wire::MAX_DATAGRAM`].
pub fn seal(keys: &Keys, advert: &Advert, out: &mut Vec<u8>) {
    seal_with(&keys.newest, keys, advert, out);
}

/// As [`seal`], with one of `keys`.
pub fn seal_with(key: &Key, keys: &Keys, advert: &Advert, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(wire::MAX_DATAGRAM);
    wire::encode(&keys.accepts(key), advert, out);
    let keyed = key.keyed.clone().chain_update(&*out);
    out.extend_from_slice(&keyed.finalize().into_bytes());
}

/// Writes the datagram of a note that says `said`, sealed with `key`, into `out` (cleared first). It
/// has [`wire::MIN_NOTE`] bytes more than `said`; of more than [`wire::MAX_NOTE`], nobody opens it.
pub fn seal_note(key: &Key, cluster: ClusterId, said: &[u8], out: &mut Vec<u8>) {
    out.clear();
    wire::encode_note(key.id, cluster, said, out);
    let keyed = key.keyed.clone().chain_update(&*out);
    out.extend_from_slice(&keyed.finalize().into_bytes());
}

/// Checks the seal and reads the advert.
///
/// # Errors
/// The reason, to be counted; nothing else may depend on such a datagram.
pub fn open(keys: &Keys, cluster: ClusterId, bytes: &[u8]) -> Result<Authentic<Advert>, Reject> {
    open_named(keys, cluster, bytes).map(|(advert, _)| advert)
}

/// As [`open`], with what the datagram says that its sender accepts.
///
/// # Errors
/// As [`open`].
pub fn open_named(
    keys: &Keys,
    cluster: ClusterId,
    bytes: &[u8],
) -> Result<(Authentic<Advert>, Accepts), Reject> {
    let said = unsealed(keys, cluster, front(bytes)?, bytes)?;
    let (accepts, advert) = wire::decode(said)?;
    Ok((Authentic(advert), accepts))
}

/// Checks the seal of a note; returns what it says.
///
/// # Errors
/// As [`open`].
pub fn open_note<'b>(
    keys: &Keys,
    cluster: ClusterId,
    bytes: &'b [u8],
) -> Result<Authentic<&'b [u8]>, Reject> {
    let said = unsealed(keys, cluster, front_of_note(bytes)?, bytes)?;
    let said = said.get(wire::ENVELOPE..).ok_or(Reject::TooShort)?;
    Ok(Authentic(said))
}

/// All before the seal, if the seal fits.
fn unsealed<'b>(
    keys: &Keys,
    cluster: ClusterId,
    envelope: wire::Envelope,
    bytes: &'b [u8],
) -> Result<&'b [u8], Reject> {
    if envelope.cluster != cluster {
        return Err(Reject::WrongCluster);
    }
    let (said, seal) = bytes.split_last_chunk().ok_or(Reject::TooShort)?;
    // Ids are short and two secrets may share one, so each key with this id is tried.
    let mut named = keys
        .accepted
        .iter()
        .filter(|k| k.id == envelope.key)
        .peekable();
    if named.peek().is_none() {
        return Err(Reject::UnknownKey(envelope.key));
    }
    if !named.any(|k| k.seals(said, seal)) {
        return Err(Reject::BadSeal);
    }
    Ok(said)
}

/// The cluster that a datagram claims to be of, by which to find its keys. Proves nothing.
#[must_use]
pub fn claimed_cluster(bytes: &[u8]) -> Option<ClusterId> {
    front(bytes).ok().map(|envelope| envelope.cluster)
}

/// Of which incarnation an advert claims to be, and when that one sent it, by its clock. Proves
/// nothing; but one that claims that it would be ignored may be.
#[must_use]
pub fn claimed_order(bytes: &[u8]) -> Option<(Incarnation, LocalTime)> {
    front(bytes).ok().and_then(|_| wire::order(bytes))
}

/// The envelope of a datagram, if its length can be an advert's.
fn front(bytes: &[u8]) -> Result<wire::Envelope, Reject> {
    match bytes.len() {
        0..wire::MIN_DATAGRAM => Err(Reject::TooShort),
        wire::MIN_DATAGRAM..=wire::MAX_DATAGRAM => wire::envelope(bytes),
        _ => Err(Reject::NotOurs),
    }
}

/// The cluster that a note claims to be of; none if the datagram does not have the form of a note.
#[must_use]
pub fn claimed_cluster_of_note(bytes: &[u8]) -> Option<ClusterId> {
    front_of_note(bytes).ok().map(|envelope| envelope.cluster)
}

/// The envelope of a note, if the datagram is as long as a note can be.
fn front_of_note(bytes: &[u8]) -> Result<wire::Envelope, Reject> {
    match bytes.len() {
        0..wire::MIN_NOTE => Err(Reject::TooShort),
        wire::MIN_NOTE..=wire::MAX_NOTE => wire::envelope_of_note(bytes),
        _ => Err(Reject::NotOurs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::{annotated, any_advert, example};
    use alloc::{format, vec};
    use proptest::prelude::*;

    fn keys(secret: &str) -> Keys {
        Keys::new(Key::new(secret.as_bytes()), vec![])
    }

    fn sealed(keys: &Keys, advert: &Advert) -> Vec<u8> {
        let mut out = Vec::new();
        seal(keys, advert, &mut out);
        out
    }

    /// Seals bytes that are not an advert, as only a key holder could.
    fn sealed_bytes(key: &Key, said: &[u8]) -> Vec<u8> {
        let seal = key.keyed.clone().chain_update(said).finalize().into_bytes();
        [said, &seal].concat()
    }

    #[test]
    fn the_format_is_pinned() {
        let bytes = sealed(&keys("a secret of the test"), &example());
        insta::assert_snapshot!(annotated(&bytes));
    }

    #[test]
    fn the_seal_is_hmac_sha256() {
        // RFC 4231, test case 2.
        let key = Key::new(b"Jefe");
        let bytes = sealed_bytes(&key, b"what do ya want for nothing?");
        let seal: alloc::string::String = bytes[28..].iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            seal,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn each_fault_has_its_own_reject() {
        let (ours, advert) = (keys("ours"), example());
        let cluster = advert.cluster;
        let bytes = sealed(&ours, &advert);
        assert_eq!(open(&ours, cluster, &bytes).unwrap().get(), &advert);

        let reject = |keys: &Keys, bytes: &[u8]| open(keys, cluster, bytes).unwrap_err();
        for len in 0..wire::MIN_DATAGRAM {
            assert_eq!(reject(&ours, &bytes[..len]), Reject::TooShort);
        }
        for len in wire::MIN_DATAGRAM..bytes.len() {
            assert_eq!(reject(&ours, &bytes[..len]), Reject::BadSeal);
        }
        assert_eq!(reject(&ours, &[0; wire::MAX_DATAGRAM + 1]), Reject::NotOurs);
        assert_eq!(reject(&ours, &[0; wire::MAX_DATAGRAM]), Reject::NotOurs);
        assert_eq!(
            open(&ours, ClusterId(1), &bytes).unwrap_err(),
            Reject::WrongCluster
        );
        let theirs = keys("theirs");
        assert_eq!(reject(&theirs, &bytes), Reject::UnknownKey(ours.sealing()));
        // The other secret under our key's name.
        let mut impostor = theirs.newest.clone();
        impostor.id = ours.sealing();
        let forged = sealed(&Keys::new(impostor, vec![]), &advert);
        assert_eq!(reject(&ours, &forged), Reject::BadSeal);
        // Sealed by a key holder, and yet no advert.
        let mut longer = bytes[..bytes.len() - wire::SEAL].to_vec();
        longer.push(0);
        let malformed = sealed_bytes(&ours.newest, &longer);
        assert_eq!(reject(&ours, &malformed), Reject::Malformed);
    }

    fn sealed_note(keys: &Keys, said: &[u8]) -> Vec<u8> {
        let mut out = vec![0xff; 3];
        seal_note(&keys.newest, example().cluster, said, &mut out);
        out
    }

    #[test]
    fn a_note_opens_as_what_it_says_or_not_at_all() {
        let (ours, cluster) = (keys("ours"), example().cluster);
        let bytes = sealed_note(&ours, b"a line");
        let said = open_note(&ours, cluster, &bytes).map(Authentic::into_inner);
        assert_eq!(said, Ok(&b"a line"[..]));
        assert_eq!(claimed_cluster_of_note(&bytes), Some(cluster));

        let reject = |keys: &Keys, bytes: &[u8]| open_note(keys, cluster, bytes).unwrap_err();
        for len in 0..wire::MIN_NOTE {
            assert_eq!(reject(&ours, &bytes[..len]), Reject::TooShort);
        }
        for len in wire::MIN_NOTE..bytes.len() {
            assert_eq!(reject(&ours, &bytes[..len]), Reject::BadSeal);
        }
        let other = open_note(&ours, ClusterId(1), &bytes);
        assert_eq!(other.unwrap_err(), Reject::WrongCluster);
        let theirs = keys("theirs");
        assert_eq!(reject(&theirs, &bytes), Reject::UnknownKey(ours.sealing()));
        let longest = [0; wire::MAX_NOTE - wire::MIN_NOTE];
        assert!(open_note(&ours, cluster, &sealed_note(&ours, &longest)).is_ok());
        let longer = sealed_note(&ours, &[&longest[..], &[0]].concat());
        assert_eq!(reject(&ours, &longer), Reject::NotOurs);
        assert_eq!(claimed_cluster_of_note(&longer), None);
    }

    #[test]
    fn a_note_is_never_an_advert_nor_an_advert_a_note() {
        let (keys, advert) = (keys("ours"), example());
        let said = sealed(&keys, &advert);
        assert_eq!(
            open_note(&keys, advert.cluster, &said).unwrap_err(),
            Reject::NotOurs
        );
        assert_eq!(claimed_cluster_of_note(&said), None);
        // A note that says what an advert says, from its envelope on.
        let body = &said[wire::ENVELOPE..said.len() - wire::SEAL];
        let mut note = sealed_note(&keys, body);
        assert_eq!(
            open(&keys, advert.cluster, &note).unwrap_err(),
            Reject::NotOurs
        );
        assert_eq!(claimed_cluster(&note), None);
        // Nor under the other's name: the seal covers it.
        note[..4].copy_from_slice(&said[..4]);
        assert_eq!(
            open(&keys, advert.cluster, &note).unwrap_err(),
            Reject::BadSeal
        );
    }

    #[test]
    fn a_datagram_names_the_keys_of_its_sender_if_they_are_several() {
        let (old, new) = (Key::new(b"old"), Key::new(b"new"));
        let (alone, both) = (
            Keys::new(old.clone(), vec![]),
            Keys::new(new.clone(), vec![old.clone()]),
        );
        let advert = example();
        let named = |sender: &Keys, with: &Key| {
            let mut bytes = Vec::new();
            seal_with(with, sender, &advert, &mut bytes);
            let (said, accepts) = open_named(&both, advert.cluster, &bytes).unwrap();
            assert_eq!(said.get(), &advert);
            assert_eq!(accepts.sealed, with.id);
            (bytes.len(), accepts.all().to_vec())
        };
        let (short, ids) = named(&alone, &old);
        assert_eq!(ids, [old.id]);
        for with in [&old, &new] {
            assert_eq!(named(&both, with), (short + 9, vec![new.id, old.id]));
        }
        let foreign = sealed(&both, &advert);
        let refused = open(&alone, advert.cluster, &foreign).unwrap_err();
        assert_eq!(refused, Reject::UnknownKey(new.id));
    }

    #[test]
    fn the_format_with_two_keys_is_pinned() {
        let also = vec![Key::new(b"the former secret")];
        let keys = Keys::new(Key::new(b"a secret of the test"), also);
        insta::assert_snapshot!(annotated(&sealed(&keys, &example())));
    }

    #[test]
    fn two_keys_may_share_a_name() {
        let (first, mut second) = (Key::new(b"first"), Key::new(b"second"));
        second.id = first.id;
        let advert = example();
        let bytes = sealed(&Keys::new(second.clone(), vec![]), &advert);
        assert!(open(&Keys::new(first, vec![second]), advert.cluster, &bytes).is_ok());
    }

    #[test]
    fn a_secret_shows_in_no_debug_output() {
        let shown = format!("{:?}", keys("hunter2 hunter2"));
        assert!(shown.contains("secret hidden"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_cluster_is_found_before_the_keys_are() {
        let bytes = sealed(&keys("any"), &example());
        assert_eq!(claimed_cluster(&bytes), Some(example().cluster));
        assert_eq!(claimed_cluster(&bytes[..wire::MIN_DATAGRAM - 1]), None);
        assert_eq!(claimed_cluster(&[0; 100]), None);
    }

    #[test]
    fn the_order_is_known_before_the_seal_is_looked_at() {
        let (bytes, said) = (sealed(&keys("any"), &example()), example());
        let claimed = Some((said.incarnation, said.sent_at));
        assert_eq!(claimed_order(&bytes), claimed);
        assert_eq!(claimed_order(&bytes[..wire::MIN_DATAGRAM - 1]), None);
        assert_eq!(claimed_order(&sealed_note(&keys("any"), &[0; 100])), None);
    }

    #[test]
    fn sealing_again_allocates_nothing() {
        let (keys, mut out) = (keys("any"), Vec::new());
        let mut advert = example();
        seal(&keys, &advert, &mut out);
        let place = (out.as_ptr(), out.capacity());
        advert.groups = vec![crate::advert::Statement::default(); crate::advert::MAX_GROUPS];
        seal(&keys, &advert, &mut out);
        assert_eq!((out.as_ptr(), out.capacity()), place);
    }

    proptest! {
        #[test]
        fn open_undoes_seal(secret: Vec<u8>, advert in any_advert()) {
            let keys = Keys::new(Key::new(&secret), vec![]);
            let opened = open(&keys, advert.cluster, &sealed(&keys, &advert));
            prop_assert_eq!(opened.map(Authentic::into_inner), Ok(advert));
        }

        /// Every byte is covered: no bit of any of them can be changed.
        #[test]
        fn no_byte_can_be_changed(advert in any_advert(), change in 1u8..) {
            let keys = keys("ours");
            let mut bytes = sealed(&keys, &advert);
            for at in 0..bytes.len() {
                bytes[at] ^= change;
                prop_assert!(open(&keys, advert.cluster, &bytes).is_err(), "byte {}", at);
                bytes[at] ^= change;
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let keys = keys("ours");
            prop_assert!(open(&keys, ClusterId(0), &bytes).is_err());
            prop_assert!(open_note(&keys, ClusterId(0), &bytes).is_err());
            let _ = (claimed_cluster(&bytes), claimed_cluster_of_note(&bytes));
        }

        #[test]
        fn no_byte_of_a_note_can_be_changed(said: Vec<u8>, change in 1u8..) {
            let keys = keys("ours");
            let mut bytes = sealed_note(&keys, &said);
            for at in 0..bytes.len() {
                bytes[at] ^= change;
                prop_assert!(open_note(&keys, example().cluster, &bytes).is_err(), "byte {}", at);
                bytes[at] ^= change;
            }
        }

        /// A mad key holder: a good envelope, then anything, well sealed.
        #[test]
        fn no_sealed_bytes_make_it_panic(
            said in prop::collection::vec(any::<u8>(), 0..=wire::MAX_DATAGRAM),
        ) {
            let keys = keys("ours");
            let mut bytes = sealed(&keys, &example())[..16].to_vec();
            bytes.extend(said);
            let opened = open_named(&keys, example().cluster, &sealed_bytes(&keys.newest, &bytes));
            if let Ok((advert, accepts)) = opened {
                let mut again = Vec::new();
                wire::encode(&accepts, advert.get(), &mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}

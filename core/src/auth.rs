//! Seals and opens datagrams: HMAC-SHA256 under the cluster's key, over every byte.
//!
//! Nothing but [`open`] makes an [`Authentic`] out of bytes.

use crate::advert::{Advert, ClusterId};
use crate::reject::{KeyId, Reject};
use alloc::vec::Vec;

/// Something that a holder of the cluster's key said.
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

    /// Takes it on trust that a holder of the key said this: for worlds without bytes, in which the
    /// seal is assumed to be perfect. The daemon never calls it (clippy.toml forbids it there).
    pub fn assumed(said: T) -> Self {
        Self(said)
    }
}

/// One secret with its name. The `Debug` form hides the secret.
#[derive(Clone)]
pub struct Key {
    /// Its name in datagrams.
    pub id: KeyId,
    secret: Vec<u8>,
}

/// The key to seal with and all keys that are accepted.
#[derive(Clone, Debug)]
pub struct Keys {
    seal: Key,
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
    pub fn new(_secret: &[u8]) -> Self {
        unimplemented!()
    }
}

impl Keys {
    /// Seals with `seal`, accepts it and all of `also`.
    #[must_use]
    pub fn new(_seal: Key, _also: Vec<Key>) -> Self {
        unimplemented!()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn sealing(&self) -> KeyId {
        self.seal.id
    }

    /// The ids of all accepted keys.
    pub fn accepted(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.accepted.iter().map(|k| k.id)
    }
}

/// Writes the sealed datagram of `advert` into `out` (cleared first).
pub fn seal(_keys: &Keys, _advert: &Advert, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// Checks the seal and reads the advert.
///
/// # Errors
/// The reason, to be counted; nothing else may depend on the datagram then.
pub fn open(_keys: &Keys, _cluster: ClusterId, _bytes: &[u8]) -> Result<Authentic<Advert>, Reject> {
    unimplemented!()
}

/// The cluster that a datagram claims to be of, to find its keys by. Proves nothing.
#[must_use]
pub fn claimed_cluster(_bytes: &[u8]) -> Option<ClusterId> {
    unimplemented!()
}

//! Whether keys may be taken away by a reload, and how far a rotation is, in words.

use super::LocalCluster;
use onehold_core::auth::Keys;
use onehold_core::config::Config;
use onehold_core::keyring::Keyring;
use onehold_core::reject::KeyId;

/// A key's name for people.
#[must_use]
pub fn key_name(id: KeyId) -> String {
    format!("{:08x}", id.0)
}

fn names(ids: impl Iterator<Item = KeyId>) -> String {
    ids.map(key_name).collect::<Vec<_>>().join(", ")
}

impl LocalCluster {
    /// Whether the keys of `new` may come into force: nobody is cut off by those that go.
    ///
    /// # Errors
    /// Who would be, and what to do.
    pub(crate) fn keys_may_become(&self, new: &Self, ring: &Keyring) -> Result<(), String> {
        let (was, is) = (self.keys(), new.keys());
        let stays = |key: &KeyId| is.accepted().any(|other| other == *key);
        let gone = names(was.accepted().filter(|key| !stays(key)));
        if gone.is_empty() {
            return Ok(());
        }
        let config = &self.config;
        let peers = config.peers().filter(|peer| !ring.shares(*peer, &is));
        let left: Vec<String> = peers
            .map(|peer| {
                let name = config.member_name(peer);
                match ring.of(peer) {
                    Some(keys) => format!("{name} has {}", names(keys.iter().copied())),
                    None => format!("{name} was not heard since this daemon began"),
                }
            })
            .collect();
        match &left[..] {
            [] => Ok(()),
            _ => Err(format!(
                "the key {gone} can't be taken away yet: none that stays ({}) is known to be accepted by all \
                 ({}). Give each of them a file with both keys, and reload there; `onehold reload --now` takes it \
                 away all the same, and who has no other key is not heard then",
                names(is.accepted()),
                left.join("; "),
            )),
        }
    }
}

/// How far a rotation is, by what is known of the other members' keys; nothing if there is none.
#[must_use]
pub fn rotation(config: &Config, ours: &Keys, ring: &Keyring) -> Option<String> {
    let newest = ours.sealing();
    let of = |is: &dyn Fn(&[KeyId]) -> bool| {
        let peers = config
            .peers()
            .filter(|peer| is(ring.of(*peer).unwrap_or_default()));
        let names = peers.map(|peer| config.member_name(peer).into_owned());
        names.collect::<Vec<_>>().join(", ")
    };
    let lack = of(&|keys| !keys.contains(&newest));
    let others = of(&|keys| keys.len() > 1);
    let newest = key_name(newest);
    let how_far = match (ours.all().len() > 1, &lack[..], &others[..]) {
        (false, _, "") => return None,
        (false, "", others) => {
            format!("{others} still has another beside {newest}; take it away there, and reload")
        }
        (true, "", _) => {
            format!("all members have {newest}; take the other away on each, and reload")
        }
        (_, lack, _) => {
            format!("{lack} is not known to have {newest} yet; add it there, and reload")
        }
    };
    Some(format!("keys are being rotated: {how_far}"))
}

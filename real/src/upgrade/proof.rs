//! What a program says of a state that it has read: enough to see that it would go on as the one that
//! wrote it.

use super::state::{State, digest};
use crate::config_file::Read;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};

/// What a program makes of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The digest of the state, as this program would write it.
    pub(crate) digest: String,
    /// When a node is due next.
    pub(crate) due: Option<LocalTime>,
    /// The digest of what the nodes do then, each adverts and all, and of what they are afterwards.
    pub(crate) next: String,
}

/// What this program makes of a state.
///
/// # Errors
/// Why it could not go on with it.
pub fn check(bytes: &[u8]) -> Result<Proof, String> {
    let state = State::decode(bytes)?;
    of(&state, digest(bytes))
}

/// The same of a state that this program has, as it writes it.
pub(super) fn of(state: &State, digest: String) -> Result<Proof, String> {
    let (mut read, mut configs) = (Read::default(), Vec::new());
    for config in state.world.configs() {
        configs.push(read.cluster(config, &state.texts)?.config);
    }
    let nodes = state.driver.nodes.iter().map(|one| &one.node);
    if configs.len() != state.driver.nodes.len() {
        return Err("the state has more clusters than nodes, or fewer".to_owned());
    }
    if !nodes
        .clone()
        .zip(&configs)
        .all(|(node, config)| node.fits(config))
    {
        return Err("a node of the state is of another configuration".to_owned());
    }
    Ok(Proof::of_nodes(nodes.zip(&configs), digest))
}

impl Proof {
    /// What another program says differently, in words.
    pub(crate) fn differs_from(&self, other: &Self) -> Option<&'static str> {
        if self.digest != other.digest {
            Some("it would write the state differently")
        } else if self.due != other.due {
            Some("its next deadline is another one")
        } else if self.next != other.next {
            Some("it would send other adverts")
        } else {
            None
        }
    }
}

//! How many worlds each configuration has.

use crate::error::{Context, Result};
use std::collections::BTreeMap;

/// Where the counts are pinned.
pub const PINNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/pinned.json");

/// How many worlds each configuration has. A change of these numbers is a change of behaviour.
///
/// # Errors
/// If [`PINNED`] can't be read.
pub fn pinned() -> Result<BTreeMap<String, u64>> {
    let text = std::fs::read_to_string(PINNED).context(|| PINNED)?;
    serde_json::from_str(&text).context(|| PINNED)
}

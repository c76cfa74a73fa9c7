//! Changes of role, counted by cause.

use crate::metrics::GroupMetrics;
use serde::{Deserialize, Serialize};

/// How often a role changed to one for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChanges {
    /// To which.
    pub to: String,
    /// Why, in a word.
    pub cause: String,
    /// How often.
    pub times: u64,
}

pub(super) fn role_changes(m: &GroupMetrics) -> Vec<RoleChanges> {
    let all = m.role_changes.iter();
    all.map(|((to, why), times)| RoleChanges {
        to: to.text().to_owned(),
        cause: word(why),
        times: *times,
    })
    .collect()
}

/// A value without data, by the name that it has in JSON.
fn word(value: &impl Serialize) -> String {
    let json = serde_json::to_value(value).unwrap_or_default();
    json.as_str().unwrap_or_default().to_owned()
}

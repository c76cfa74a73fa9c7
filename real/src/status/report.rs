//! The status of all clusters that a process serves, and of those that it can't serve yet.

use super::Status;
use serde::{Deserialize, Serialize};

/// All clusters that a process serves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form.
    #[serde(default)]
    pub version: u32,
    /// One for each cluster, by name.
    pub clusters: Vec<Status>,
    /// Clusters that should be served and can't be yet.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
    /// Where the next part begins, in a part of a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<usize>,
}

impl Report {
    /// Takes up another part.
    pub fn append(&mut self, part: Self) {
        self.version = part.version;
        self.clusters.extend(part.clusters);
        self.waiting.extend(part.waiting);
        self.next = part.next;
        if self.next.is_none() {
            self.clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster)); // they joined in any order
        }
    }
}

/// A cluster that should be served and can't be yet; it is tried again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The cluster's name; none if its file can't be read.
    pub cluster: Option<String>,
    /// What is missing.
    pub why: String,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.cluster {
            Some(cluster) => write!(f, "{cluster} is not served yet, waiting: {}", self.why),
            None => write!(f, "not served yet, waiting: {}", self.why),
        }
    }
}

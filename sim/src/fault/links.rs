//! Directions of links, as they are written.

use super::member;
use crate::error::{Result, err};
use onehold_core::advert::MemberId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Directions of links: `lb0 -> lb1`, `lb0 <-> *`, `lb0 -> lb1 (path 0)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Links {
    /// From this member; `None`: from all others.
    pub from: Option<String>,
    /// To this member; `None`: to all others.
    pub to: Option<String>,
    /// And the other way.
    pub both: bool,
    /// On this path only.
    pub path: Option<u8>,
}

impl Links {
    /// Both directions between two members.
    #[must_use]
    pub fn between(a: &str, b: &str) -> Self {
        Self {
            both: true,
            ..Self::one_way(a, b)
        }
    }

    /// One direction.
    #[must_use]
    pub fn one_way(from: &str, to: &str) -> Self {
        Self {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            both: false,
            path: None,
        }
    }

    /// Both directions between a member and all others.
    #[must_use]
    pub fn around(member: &str) -> Self {
        Self {
            to: None,
            ..Self::between(member, "")
        }
    }

    /// From a member to all others.
    #[must_use]
    pub fn from(member: &str) -> Self {
        Self {
            to: None,
            ..Self::one_way(member, "")
        }
    }

    /// From all others to a member.
    #[must_use]
    pub fn to(member: &str) -> Self {
        Self {
            from: None,
            ..Self::one_way("", member)
        }
    }

    /// All of them.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            from: None,
            to: None,
            both: true,
            path: None,
        }
    }

    /// Each pair of sender and receiver.
    ///
    /// # Errors
    /// If there are no such members, or none is linked.
    pub fn pairs(&self, names: &[&str]) -> Result<Vec<(MemberId, MemberId)>> {
        let ids = || (0u8..).map(MemberId).take(names.len());
        let of = |end: &Option<String>| match end {
            None => Ok(ids().collect()),
            Some(name) => member(name, names).map(|id| vec![id]),
        };
        let (from, to): (Vec<MemberId>, Vec<MemberId>) = (of(&self.from)?, of(&self.to)?);
        let mut pairs = Vec::new();
        for a in &from {
            for b in &to {
                pairs.push((*a, *b));
                pairs.extend(self.both.then_some((*b, *a)));
            }
        }
        pairs.retain(|(a, b)| a != b);
        pairs.sort_unstable();
        pairs.dedup();
        if pairs.is_empty() {
            let what = "links a member with itself; name two, or one and *";
            return Err(err(format!("`{self}` {what}")));
        }
        Ok(pairs)
    }
}

impl FromStr for Links {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (links, path) = match text.split_once("(path ") {
            Some((links, path)) => (links, Some(path.trim_end().trim_end_matches(')'))),
            None => (text, None),
        };
        let (from, to, both) = match (links.split_once("<->"), links.split_once("->")) {
            (Some((a, b)), _) => (a, b, true),
            (None, Some((a, b))) => (a, b, false),
            (None, None) => {
                return Err(format!(
                    "{text:?} is not a link; write \"lb0 -> lb1\" for one direction, \"lb0 <-> lb1\" for \
                     both, with * for all others"
                ));
            }
        };
        let path = path.map(str::parse).transpose();
        let path = path.map_err(|_| format!("{text:?}: write a path as (path 0)"))?;
        let end = |name: &str| Some(name.trim().to_owned()).filter(|name| name != "*");
        Ok(Self {
            from: end(from),
            to: end(to),
            both,
            path,
        })
    }
}

impl TryFrom<String> for Links {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<Links> for String {
    fn from(links: Links) -> Self {
        links.to_string()
    }
}

impl fmt::Display for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [&self.from, &self.to].map(|end| end.as_deref().unwrap_or("*"));
        let arrow = if self.both { "<->" } else { "->" };
        write!(f, "{from} {arrow} {to}")?;
        self.path.map_or(Ok(()), |path| write!(f, " (path {path})"))
    }
}

//! What of a group moves together, as written: its addresses, each with the interface that it
//! belongs to.

use super::GroupSection;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::fmt;

/// One interface name for all candidates, or one for each: all members have the same file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "an interface name such as \"eth0\", or one for each candidate: { lb0 = \"eth0\", lb1 = \"ens3\" }"
)]
pub enum Interface {
    /// The same on all.
    Same(String),
    /// By member.
    ByMember(BTreeMap<String, String>),
}

impl Interface {
    /// Its name on `member`, if the file says that.
    #[must_use]
    pub fn of(&self, member: &str) -> Option<&str> {
        match self {
            Self::Same(name) => Some(name),
            Self::ByMember(names) => names.get(member).map(String::as_str),
        }
    }

    /// Every name that is written.
    pub(crate) fn names(&self) -> Vec<&String> {
        match self {
            Self::Same(name) => vec![name],
            Self::ByMember(names) => names.values().collect(),
        }
    }
}

/// `groups.NAME.announce`: who tells the network where the addresses are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Announce {
    /// This daemon, to the neighbours: by ARP and neighbour discovery.
    #[default]
    Neighbours,
    /// Somebody else, such as a routing daemon.
    None,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(name) => f.write_str(name),
            Self::ByMember(names) => {
                let each: Vec<String> = names.iter().map(|(m, i)| format!("{i} of {m}")).collect();
                f.write_str(&each.join(", "))
            }
        }
    }
}

/// A floating address: its text, or a table that names its own interface as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatingAddress {
    /// With or without a prefix length.
    pub address: String,
    /// Which interface of a candidate it belongs to, if not the group's.
    pub interface: Option<Interface>,
}

impl<'de> Deserialize<'de> for FloatingAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            address: String,
            interface: Option<Interface>,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = FloatingAddress;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an address such as \"10.0.0.50/24\", or one with its interface: \
                     { address = \"192.0.2.50/24\", interface = \"eth1\" }",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FloatingAddress, E> {
                Ok(FloatingAddress {
                    address: text.to_owned(),
                    interface: None,
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<FloatingAddress, A::Error> {
                let Table { address, interface } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FloatingAddress { address, interface })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl GroupSection {
    /// The interface of an address of this group on `member`, if the file names one.
    #[must_use]
    pub fn interface_of<'a>(
        &'a self,
        address: &'a FloatingAddress,
        member: &str,
    ) -> Option<&'a str> {
        let own = address.interface.as_ref();
        own.or(self.interface.as_ref())?.of(member)
    }

    /// The interface of each of its addresses on `member`.
    #[must_use]
    pub fn interfaces_of(&self, member: &str) -> Vec<String> {
        let of = |address| self.interface_of(address, member).unwrap_or_default();
        self.addresses.iter().map(|a| of(a).to_owned()).collect()
    }

    /// Where interfaces are written, with the key below the group's.
    pub(crate) fn interfaces(&self) -> Vec<(String, &Interface)> {
        let of_group = self.interface.iter().map(|i| ("interface".to_owned(), i));
        let of_addresses = (self.addresses.iter().enumerate())
            .filter_map(|(n, a)| Some((format!("addresses.{n}.interface"), a.interface.as_ref()?)));
        let of_routes = (self.routes.iter().enumerate())
            .filter_map(|(n, r)| Some((format!("routes.{n}.interface"), r.interface.as_ref()?)));
        of_group.chain(of_addresses).chain(of_routes).collect()
    }
}

/// Several names in one line, each once.
pub(crate) fn each_once(names: &[String]) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for name in names {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

#[cfg(test)]
mod tests;

//! `groups.NAME.routes`: routes that are there while the group is held.

use super::{GroupSection, Interface};
use crate::address::is_link_local;
use crate::route::{Destination, IPV6_METRIC, MAIN_TABLE, Route};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most routes of a group: they come and go within a hold.
const MAX_ROUTES: usize = 64;
/// The kernel's own table, of this host's addresses.
const LOCAL_TABLE: u32 = 255;

/// One of `groups.NAME.routes`, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSection {
    /// A network, or `default`.
    pub to: String,
    /// The gateway.
    pub via: Option<String>,
    /// The address to send from.
    pub src: Option<String>,
    /// Which interface of a candidate.
    pub interface: Option<Interface>,
    /// The number of a table.
    pub table: Option<u32>,
    /// Of several the one with the least is taken.
    pub metric: Option<u32>,
}

impl RouteSection {
    /// What the text says but for the interface.
    ///
    /// # Errors
    /// The key below the route's, and what is wrong with it.
    fn read(&self) -> Result<Route, (&'static str, String)> {
        let address = |key, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => match text.parse::<IpAddr>() {
                Ok(address) => Ok(Some(address)),
                Err(_) => {
                    let what = "is not an IP address; write \"10.0.0.1\" or \"2001:db8::1\"";
                    Err((key, format!("`{text}` {what}")))
                }
            },
        };
        let (via, src) = (address("via", &self.via)?, address("src", &self.src)?);
        let (to, length) = self.destination(via.or(src)).map_err(|what| ("to", what))?;
        for (key, other) in [("via", via), ("src", src)] {
            if let Some(other) = other.filter(|other| other.is_ipv4() != to.is_ipv4()) {
                let what = format!(
                    "{other} and {to}/{length} are one IPv4 and one IPv6; write the same family"
                );
                return Err((key, what));
            }
        }
        let table = self.table.unwrap_or(MAIN_TABLE);
        if table == 0 || table == LOCAL_TABLE {
            let what = "is the kernel's own table; write 254 (main), or 1 to 252";
            return Err(("table", format!("{table} {what}")));
        }
        let metric = match (self.metric.unwrap_or(0), to) {
            (0, IpAddr::V6(_)) => IPV6_METRIC, // as the kernel does
            (metric, _) => metric,
        };
        Ok(Route {
            at: Destination {
                to,
                length,
                table,
                metric,
            },
            via,
            src,
            interface: None,
        })
    }

    /// The network; `default` is of the family of another address of the route's.
    fn destination(&self, other: Option<IpAddr>) -> Result<(IpAddr, u8), String> {
        let text = &self.to;
        if text == "default" {
            return match other {
                Some(IpAddr::V4(_)) => Ok((Ipv4Addr::UNSPECIFIED.into(), 0)),
                Some(IpAddr::V6(_)) => Ok((Ipv6Addr::UNSPECIFIED.into(), 0)),
                None => Err("`default` of which family? Write `via` or `src` as well, or \"0.0.0.0/0\" or \"::/0\"".to_owned()),
            };
        }
        let wrong = || {
            format!(
                "`{text}` is not a network; write \"192.0.2.0/24\", \"2001:db8::/64\" or \"default\""
            )
        };
        let (address, length) = text
            .split_once('/')
            .map_or((text.as_str(), None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => bits,
            Some(length) => length
                .parse()
                .ok()
                .filter(|l| *l <= bits)
                .ok_or_else(wrong)?,
        };
        let network = network(address, length);
        if network != address {
            return Err(format!(
                "`{text}` is not a network's own address; write \"{network}/{length}\""
            ));
        }
        Ok((address, length))
    }

    /// Its interface on `member`: that which it names; the group's, where a gateway does not say
    /// enough.
    fn interface<'a>(
        &'a self,
        group: &'a GroupSection,
        via: Option<IpAddr>,
    ) -> Option<&'a Interface> {
        let needed = via.is_none_or(is_link_local);
        let of_group = group.interface.as_ref().filter(|_| needed);
        self.interface.as_ref().or(of_group)
    }
}

fn network(address: IpAddr, length: u8) -> IpAddr {
    let host = |bits: u32| u128::MAX.checked_shl(bits - u32::from(length)).unwrap_or(0);
    match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & host(32) as u32).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & host(128)).into(),
    }
}

/// The routes of a group as the text says them, but for their interfaces.
///
/// # Errors
/// The key below the group's, and what is wrong with it, of each.
pub(super) fn read(group: &GroupSection) -> Result<Vec<Route>, Vec<(String, String)>> {
    let (mut routes, mut wrong) = (Vec::new(), Vec::new());
    if group.routes.len() > MAX_ROUTES {
        let what = format!("{} routes; at most {MAX_ROUTES}", group.routes.len());
        return Err(vec![("routes".to_owned(), what)]);
    }
    let mut seen: BTreeMap<Destination, usize> = BTreeMap::new();
    for (n, section) in group.routes.iter().enumerate() {
        match section.read() {
            Err((key, what)) => wrong.push((format!("routes.{n}.{key}"), what)),
            Ok(route) => {
                if seen.insert(route.at, n).is_some() {
                    let what = format!(
                        "there is a route to {} already; write another `metric`, or remove one",
                        route.at
                    );
                    wrong.push((format!("routes.{n}.to"), what));
                }
                routes.push(route);
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(routes),
        false => Err(wrong),
    }
}

/// What is wrong with the routes' interfaces on `member`: the key below the group's, and what.
pub(super) fn lack(group: &GroupSection, me: &str) -> Vec<(String, String)> {
    let routes = read(group).unwrap_or_default();
    let lacks = |(n, (section, route)): (usize, (&RouteSection, Route))| {
        let interface = section.interface(group, route.via);
        let needed = section.interface.is_some() || route.via.is_none_or(is_link_local);
        let what = format!(
            "missing for `{me}`; name the interface by which {} is reached",
            route.at
        );
        (needed && interface.and_then(|i| i.of(me)).is_none())
            .then(|| (format!("routes.{n}.interface"), what))
    };
    group
        .routes
        .iter()
        .zip(routes)
        .enumerate()
        .filter_map(lacks)
        .collect()
}

impl GroupSection {
    /// Its routes on `member`; none, if the text is wrong.
    #[must_use]
    pub fn routes_of(&self, member: &str) -> Vec<Route> {
        let routes = read(self).unwrap_or_default();
        let on = |(section, route): (&RouteSection, Route)| {
            let interface = section.interface(self, route.via);
            let interface = interface.and_then(|i| i.of(member)).map(str::to_owned);
            Route { interface, ..route }
        };
        self.routes.iter().zip(routes).map(on).collect()
    }

    /// Its routes as people read them.
    pub(crate) fn routes_in_words(&self) -> Vec<String> {
        let routes = read(self).unwrap_or_default();
        let on = |(section, route): (&RouteSection, Route)| match section.interface(self, route.via)
        {
            Some(interface) => format!("{route} on {interface}"),
            None => route.to_string(),
        };
        self.routes.iter().zip(routes).map(on).collect()
    }
}

#[cfg(test)]
mod tests;

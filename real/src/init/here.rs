//! What this host proposes for a new cluster: its name, the address that it sends from, and on which
//! interface that is.

use crate::address::{self, Assigned, Link, is_link_local};
use crate::config_file::toward;
use crate::netlink::Netlink;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are reached by the default route, if there is one. Nothing is sent there.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// This host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Its name, without the domain.
    pub name: String,
    /// Its address by the default route, or else its first one.
    pub address: Option<IpAddr>,
    /// The interface of that address.
    pub interface: Option<String>,
}

impl Here {
    /// This host, now. What can't be found out is not proposed.
    #[must_use]
    pub fn now() -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        let found = addresses().unwrap_or_default();
        let usable = |(link, at): &&(Link, Assigned)| {
            let anybodys = at.address.is_loopback() || is_link_local(at.address);
            !link.loopback && link.ethernet && link.fault.is_none() && !anybodys
        };
        let by_default = FAR.into_iter().find_map(toward);
        let all: Vec<_> = found.iter().filter(usable).collect();
        let best = all.iter().find(|(_, at)| Some(at.address) == by_default);
        let best = best.or(all.first());
        Self {
            name: host.split('.').next().unwrap_or_default().to_owned(),
            address: best.map(|(_, at)| at.address),
            interface: best.map(|(link, _)| link.name.clone()),
        }
    }
}

fn addresses() -> Option<Vec<(Link, Assigned)>> {
    let mut route = Netlink::open(libc::NETLINK_ROUTE).ok()?;
    let links = address::links(&mut route).ok()?;
    let all = address::list(&mut route).ok()?;
    let with_link = |at: Assigned| {
        let link = links.iter().find(|link| link.index == at.index)?;
        Some((link.clone(), at))
    };
    Some(all.into_iter().filter_map(with_link).collect())
}

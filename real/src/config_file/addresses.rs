//! The members' addresses: names resolved, and what all addresses together must fulfil.

use super::seat::{Here, paths};
use super::{ConfigFile, FileError, Source};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// Every member's addresses by name, path by path.
pub(crate) type Endpoints<'f> = BTreeMap<&'f str, Vec<SocketAddr>>;

/// Every member's addresses, resolved.
pub(crate) fn resolve<'f>(
    source: &Source,
    file: &'f ConfigFile,
) -> Result<Endpoints<'f>, FileError> {
    let mut all = Endpoints::new();
    for (name, member) in &file.members {
        let key = format!("members.{name}.addresses");
        let paths = member.addresses.iter().map(|text| {
            resolve_one(text, file.cluster.port).map_err(|e| match e {
                Unresolved::Text(what) => source.error(&key, what),
                Unresolved::Name(what) => source.error(&key, what).may_pass(),
            })
        });
        all.insert(name, paths.collect::<Result<_, _>>()?);
    }
    Ok(all)
}

/// What all addresses together must fulfil.
pub(crate) fn fit(
    source: &Source,
    file: &ConfigFile,
    all: &Endpoints<'_>,
) -> Result<(), FileError> {
    // Where there are names, the text does not decide it.
    let fail = |member: &str, what: String| {
        let e = source.error(&format!("members.{member}.addresses"), what);
        if file.has_names() { e.may_pass() } else { e }
    };
    let floating = |ip: IpAddr| {
        file.groups.iter().find(|(_, g)| {
            (g.addresses.iter()).any(|a| {
                let bare = a.split('/').next().and_then(|a| a.parse::<IpAddr>().ok());
                bare.is_some_and(|a| a.to_canonical() == ip.to_canonical())
            })
        })
    };
    let mut seen = Vec::new();
    for (name, paths) in all {
        for (n, address) in paths.iter().enumerate() {
            let text = file.members.get(*name).and_then(|m| m.addresses.get(n));
            let text = text.map_or("", String::as_str);
            if seen.contains(&address) {
                let what = format!("`{text}` is {address}, which is listed already");
                return Err(fail(name, what));
            }
            if let Some((group, _)) = floating(address.ip()) {
                return Err(fail(
                    name,
                    format!(
                        "`{text}` floats in groups.{group}; a member needs an address of its own"
                    ),
                ));
            }
            seen.push(address);
        }
    }
    for (a, of_a) in all {
        for (b, of_b) in
            all.range::<str, _>((std::ops::Bound::Excluded(*a), std::ops::Bound::Unbounded))
        {
            if let Some(p) = paths(of_a, of_b).find(|p| p.local.is_ipv4() != p.remote.is_ipv4()) {
                return Err(fail(
                    b,
                    format!(
                        "{} and {} of `{a}` are of different families; a path is IPv4 or IPv6 at both ends",
                        p.remote.ip(),
                        p.local.ip()
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// A host's own name is often a loopback address in its own hosts file (Debian: 127.0.1.1). For this
/// member, its address toward the others is taken instead; says where. Nothing else helps for the others.
pub(super) fn leave_loopback(
    source: &Source,
    file: &ConfigFile,
    me: &str,
    all: &mut Endpoints<'_>,
    here: &Here<'_>,
) -> Result<Vec<String>, FileError> {
    let mut remarks = Vec::new();
    for (name, n, loopback) in loopbacks(all) {
        let text = &file.members[&name].addresses[n];
        let mut others = all.iter().filter(|(other, _)| **other != name);
        let real = others.find_map(|(_, paths)| {
            let remote = paths.get(n).or(paths.last())?.ip();
            (here.toward)(remote).filter(|_| name == me && is_name(text) && !remote.is_loopback())
        });
        let Some(real) = real.filter(|real| !real.is_loopback()) else {
            let e = out_of_reach(source, file, &name, n, loopback);
            return Err(if is_name(text) { e.may_pass() } else { e });
        };
        if let Some(path) = all.get_mut(name.as_str()).and_then(|p| p.get_mut(n)) {
            path.set_ip(real);
        }
        remarks.push(format!(
            "members.{name}.addresses: `{text}` is {loopback} here, so {real} is taken, from which this host \
             reaches the others; write that address in the file, or give the name to it in /etc/hosts"
        ));
    }
    Ok(remarks)
}

pub(super) fn out_of_reach(
    source: &Source,
    file: &ConfigFile,
    name: &str,
    n: usize,
    ip: IpAddr,
) -> FileError {
    let text = &file.members[name].addresses[n];
    source.error(
        &format!("members.{name}.addresses"),
        format!(
            "`{text}` is {ip} here, where no other member can reach it; give the name its real address in \
             /etc/hosts, or write the address"
        ),
    )
}

/// The loopback addresses, unless all are: by member and path.
pub(super) fn loopbacks(all: &Endpoints<'_>) -> Vec<(String, usize, IpAddr)> {
    if all.values().flatten().all(|a| a.ip().is_loopback()) {
        return Vec::new();
    }
    let of = |(name, paths): (&&str, &Vec<SocketAddr>)| {
        let name = (*name).to_owned();
        let numbered = paths.clone().into_iter().enumerate();
        let found = numbered.filter(|(_, a)| a.ip().is_loopback());
        found
            .map(|(n, a)| (name.clone(), n, a.ip()))
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

/// What `check` says of them: it does not know on which member it runs.
pub(crate) fn loopback_warnings(
    source: &Source,
    file: &ConfigFile,
    all: &Endpoints<'_>,
) -> Vec<String> {
    let warning = |(name, n, ip): (String, usize, IpAddr)| {
        format!(
            "{} (on {name} itself, `run` takes the address from which it reaches the others)",
            out_of_reach(source, file, &name, n, ip).what
        )
    };
    loopbacks(all).into_iter().map(warning).collect()
}

/// Why an address can't be had.
enum Unresolved {
    /// It is no address and no name.
    Text(String),
    /// Nobody knows the name, now.
    Name(String),
}

/// Not an address: somebody must say which.
pub(super) fn is_name(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    text.parse::<SocketAddr>().is_err() && bare.parse::<IpAddr>().is_err()
}

/// `10.0.0.10`, `10.0.0.10:7000`, `fd00::1`, `[fd00::1]:7000`, `lb0` or `lb0:7000`.
fn resolve_one(text: &str, default_port: u16) -> Result<SocketAddr, Unresolved> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Ok(ip) = text
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        return Ok(SocketAddr::new(ip, default_port));
    }
    let (host, port) = match text.rsplit_once(':') {
        None => (text, default_port),
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, port),
            _ => {
                return Err(Unresolved::Text(format!(
                    "`{text}` has no proper port; write \"{host}:{default_port}\""
                )));
            }
        },
    };
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|e| {
            Unresolved::Name(format!(
                "`{host}` can't be resolved ({e}); add it to /etc/hosts, or write its address"
            ))
        })?
        .collect();
    // A name with several addresses means the same one on every host.
    found
        .iter()
        .min_by_key(|a| (a.ip().is_loopback(), a.is_ipv6()))
        .copied()
        .ok_or_else(|| {
            let what = format!("`{host}` has no address; add one to /etc/hosts, or write it here");
            Unresolved::Name(what)
        })
}

/// The address from which the kernel would reach another one: that itself, if it is one of this host's. (A
/// bind would not tell: `ip_nonlocal_bind` lets it succeed for any address.) Nothing is sent.
pub(super) fn toward(address: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

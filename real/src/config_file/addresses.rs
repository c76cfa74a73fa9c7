//! The members' addresses: how names are resolved, and what all addresses together must fulfil.

use super::local_cluster::Here;
use super::ways::pairs;
use super::{ConfigFile, DEFAULT_PORT, FileError, Source};
use crate::neighbour::hop;
use crate::netlink::Netlink;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};

/// Every member's addresses by name, path by path.
pub(crate) type Endpoints<'f> = BTreeMap<&'f str, Vec<SocketAddr>>;

/// The same, as far as they are known.
pub(crate) type KnownEndpoints<'f> = BTreeMap<&'f str, Vec<Option<SocketAddr>>>;

/// Every member's addresses, resolved.
///
/// # Errors
/// What is wrong with each address that can't be resolved.
pub(crate) fn resolve<'f>(
    source: &Source,
    file: &'f ConfigFile,
) -> Result<Endpoints<'f>, Vec<FileError>> {
    each(source, file, |written| written.resolve())
}

/// Every member's addresses, as far as the text says which they are.
///
/// # Errors
/// What is wrong with the text of each.
pub(crate) fn literal<'f>(
    source: &Source,
    file: &'f ConfigFile,
) -> Result<KnownEndpoints<'f>, Vec<FileError>> {
    each(source, file, |written| match written {
        WrittenEndpoint::Address(address) => Ok(Some(address)),
        WrittenEndpoint::Name { .. } => Ok(None),
    })
}

fn each<'f, T>(
    source: &Source,
    file: &'f ConfigFile,
    mut take: impl FnMut(WrittenEndpoint<'f>) -> Result<T, String>,
) -> Result<BTreeMap<&'f str, Vec<T>>, Vec<FileError>> {
    let (mut all, mut wrong) = (BTreeMap::new(), Vec::new());
    let port = match file.cluster.port {
        0 => DEFAULT_PORT, // reported elsewhere
        port => port,
    };
    for (name, member) in &file.members {
        let key = format!("members.{name}.addresses");
        let mut paths = Vec::new();
        for text in &member.addresses {
            match WrittenEndpoint::read(text, port) {
                Err(what) => wrong.push(source.error(&key, format!("`{text}` {what}"))),
                Ok(written) => match take(written) {
                    Ok(address) => paths.push(address),
                    Err(what) => wrong.push(source.error(&key, what).may_pass()),
                },
            }
        }
        all.insert(name.as_str(), paths);
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(wrong)
    }
}

/// All of them, known.
pub(super) fn known<'f>(all: &Endpoints<'f>) -> KnownEndpoints<'f> {
    let some = |(name, paths): (&&'f str, &Vec<SocketAddr>)| {
        (*name, paths.iter().copied().map(Some).collect())
    };
    all.iter().map(some).collect()
}

/// How the addresses, as far as they are known, don't fit each other.
pub(super) fn fit(source: &Source, file: &ConfigFile, all: &KnownEndpoints<'_>) -> Vec<FileError> {
    let mut wrong = Vec::new();
    let mut fail = |member: &str, what: String| {
        wrong.push(source.error(&format!("members.{member}.addresses"), what));
    };
    let floating = |ip: IpAddr| {
        file.groups.iter().find(|(_, g)| {
            (g.addresses.iter()).any(|a| {
                let bare = a.address.split('/').next();
                let bare = bare.and_then(|a| a.parse::<IpAddr>().ok());
                bare.is_some_and(|a| a.to_canonical() == ip.to_canonical())
            })
        })
    };
    let (mut seen, mut names) = (Vec::new(), Vec::new());
    for (name, paths) in all {
        for (n, address) in paths.iter().enumerate() {
            let text = file.members.get(*name).and_then(|m| m.addresses.get(n));
            let text = text.map_or("", String::as_str);
            let Some(address) = address else {
                if names.contains(&text) {
                    fail(name, format!("`{text}` is listed twice; remove one"));
                }
                names.push(text);
                continue;
            };
            if seen.contains(&address) {
                let what = format!("`{text}` is {address}, which is listed already; remove one");
                fail(name, what);
            }
            if let Some((group, _)) = floating(address.ip()) {
                fail(
                    name,
                    format!(
                        "`{text}` floats in groups.{group}; write an address that the member always has"
                    ),
                );
            }
            seen.push(address);
        }
    }
    for (a, of_a) in all {
        for (b, of_b) in
            all.range::<str, _>((std::ops::Bound::Excluded(*a), std::ops::Bound::Unbounded))
        {
            let mut ways = pairs(of_a, of_b).filter_map(|(a, b)| a.zip(b));
            if let Some((a_, b_)) = ways.find(|(a, b)| a.is_ipv4() != b.is_ipv4()) {
                fail(
                    b,
                    format!(
                        "{} and {} of `{a}` are one IPv4 and one IPv6; write the same family at both ends of a path",
                        b_.ip(),
                        a_.ip()
                    ),
                );
            }
        }
    }
    wrong
}

/// A host's own name is often a loopback address in its own hosts file (Debian: 127.0.1.1). For
/// this member, its address toward the others is taken instead; returns a remark for each. For
/// another member it is an error.
pub(super) fn leave_loopback(
    source: &Source,
    file: &ConfigFile,
    me: &str,
    all: &mut Endpoints<'_>,
    here: &Here<'_>,
) -> Result<Vec<String>, FileError> {
    let mut remarks = Vec::new();
    for (name, n, loopback) in loopbacks(&known(all)) {
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
            "members.{name}.addresses: `{text}` is {loopback} here, so {real} is used, from which this host \
             reaches the others; write {real} in the file, or for {text} in /etc/hosts"
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
    let what = if is_name(text) {
        format!(
            "`{text}` is {ip} here, where no other member can reach it; write its real address, in the file or \
             in /etc/hosts"
        )
    } else {
        format!(
            "`{text}` means each host itself, so no other member can reach it; write its real address"
        )
    };
    source.error(&format!("members.{name}.addresses"), what)
}

/// The loopback addresses, by member and path; none if all known addresses are loopback addresses.
pub(super) fn loopbacks(all: &KnownEndpoints<'_>) -> Vec<(String, usize, IpAddr)> {
    if (all.values().flatten().flatten()).all(|a| a.ip().is_loopback()) {
        return Vec::new();
    }
    let of = |(name, paths): (&&str, &Vec<Option<SocketAddr>>)| {
        let name = (*name).to_owned();
        let numbered = paths.clone().into_iter().enumerate();
        let found = numbered.filter_map(|(n, a)| Some((n, a?.ip())));
        found
            .filter(|(_, ip)| ip.is_loopback())
            .map(|(n, ip)| (name.clone(), n, ip))
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

/// What `check` says about them: it does not know on which member it runs.
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
    loopbacks(&known(all)).into_iter().map(warning).collect()
}

/// A member's address as written.
#[derive(PartialEq, Eq)]
enum WrittenEndpoint<'t> {
    /// An address.
    Address(SocketAddr),
    /// A name to be resolved.
    Name { host: &'t str, port: u16 },
}

/// The text of a member's address, with its port if it says none and that is not the usual one: by
/// the same text all members are to mean the same.
pub(super) fn in_full(text: &str, port: u16) -> String {
    let (with, without) = match (
        WrittenEndpoint::read(text, port),
        WrittenEndpoint::read(text, DEFAULT_PORT),
    ) {
        (Ok(with), Ok(without)) => (with, without),
        _ => return text.to_owned(), // reported elsewhere
    };
    match with {
        with if with == without => text.to_owned(),
        WrittenEndpoint::Address(address) => address.to_string(),
        WrittenEndpoint::Name { host, port } => format!("{host}:{port}"),
    }
}

const FORMS: &str = "write \"10.0.0.10\", \"10.0.0.10:7000\", \"fd00::1\", \"[fd00::1]:7000\", \"lb0\" or \"lb0:7000\"";

impl<'t> WrittenEndpoint<'t> {
    /// Reads `10.0.0.10`, `10.0.0.10:7000`, `fd00::1`, `[fd00::1]:7000`, `lb0` or `lb0:7000`. An
    /// error says what is wrong, to be put after the text.
    fn read(text: &'t str, default_port: u16) -> Result<Self, String> {
        let bare = (text.strip_prefix('[').and_then(|t| t.strip_suffix(']'))).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Self::address(SocketAddr::new(ip, default_port));
        }
        if text.contains('%') {
            return Err(
                "has a scope id, which differs from host to host; write an IPv6 address that is not \
                 link-local, such as \"fd00::1\""
                    .to_owned(),
            );
        }
        if let Some((ip, _)) = text
            .split_once('/')
            .filter(|(ip, _)| ip.parse::<IpAddr>().is_ok())
        {
            return Err(format!("has a prefix length; write \"{ip}\""));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port)),
        };
        let ip = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        if ip.is_err() && !is_host_name(host) {
            return Err(format!("is neither an IP address nor a host name; {FORMS}"));
        }
        let port = match port.map(str::parse) {
            None => default_port,
            Some(Ok(port @ 1..)) => port,
            Some(_) => {
                return Err(format!(
                    "has a wrong port (1 to 65535); write \"{host}:{default_port}\""
                ));
            }
        };
        match text.parse() {
            Ok(address) => Self::address(address),
            Err(_) if ip.is_ok() => Err(format!("is not an IP address; {FORMS}")),
            Err(_) => Ok(Self::Name { host, port }),
        }
    }

    /// An address that a member can have.
    fn address(address: SocketAddr) -> Result<Self, String> {
        match of_no_member(address.ip()) {
            None => Ok(Self::Address(address)),
            Some(why) => Err(format!("can't be a member's: {why}; {ORDINARY}")),
        }
    }

    fn resolve(self) -> Result<SocketAddr, String> {
        let (host, port) = match self {
            Self::Address(address) => return Ok(address),
            Self::Name { host, port } => (host, port),
        };
        let found: Vec<SocketAddr> = (host, port)
            .to_socket_addrs()
            .map_err(|e| {
                format!(
                    "`{host}` can't be resolved ({e}); add it to /etc/hosts, or write its address"
                )
            })?
            .collect();
        // Of several addresses, every host takes the same one.
        let first = |a: &&SocketAddr| (of_no_member(a.ip()), a.ip().is_loopback(), a.is_ipv6());
        let Some(address) = found.iter().min_by_key(first) else {
            return Err(format!(
                "`{host}` has no address; add one to /etc/hosts, or write it here"
            ));
        };
        match of_no_member(address.ip()) {
            None => Ok(*address),
            Some(why) => Err(format!(
                "`{host}` is {} here, which can't be a member's: {why}; {ORDINARY}",
                address.ip()
            )),
        }
    }
}

/// Whether it must be resolved.
fn is_name(text: &str) -> bool {
    matches!(
        WrittenEndpoint::read(text, DEFAULT_PORT),
        Ok(WrittenEndpoint::Name { .. })
    )
}

/// Whether a resolver could know it. What ends in a number was meant to be an IPv4 address.
fn is_host_name(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let number = last.chars().all(|c| c.is_ascii_digit());
    let fine = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    !number && text.len() <= 255 && text.chars().all(fine)
}

const ORDINARY: &str = "write an ordinary address, such as \"10.0.0.10\" or \"fd00::1\"";

/// Why no machine can have an address, if none can.
pub(super) fn unusual(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("0.0.0.0/8 means this host itself"),
        IpAddr::V4(ip) if ip.is_multicast() => Some("it means many machines (multicast)"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("it means all machines (broadcast)"),
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => Some("240.0.0.0/4 is reserved"),
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) if ip.is_unspecified() => Some(":: means this host itself"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("it means many machines (multicast)"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => {
            Some("it is an IPv4 address in IPv6 form")
        }
        IpAddr::V6(_) => None,
    }
}

/// The same, for a member's address.
fn of_no_member(ip: IpAddr) -> Option<&'static str> {
    let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    unusual(ip).or_else(|| {
        link_local.then_some("it is link-local, and means another machine on each interface")
    })
}

/// What follows if other members' addresses are this host's own, in words. A loopback address is
/// every host's: whoever writes one tries things out on one machine.
pub(crate) fn company<N: AsRef<str>>(
    others: impl Iterator<Item = (N, IpAddr)>,
    toward: &dyn Fn(IpAddr) -> Option<IpAddr>,
) -> Option<String> {
    let here = others.filter(|(_, ip)| !ip.is_loopback() && toward(*ip) == Some(*ip));
    let (mut members, addresses): (Vec<N>, Vec<String>) =
        here.map(|(name, ip)| (name, ip.to_string())).unzip();
    members.dedup_by(|a, b| a.as_ref() == b.as_ref());
    let names: Vec<&str> = members.iter().map(AsRef::as_ref).collect();
    let are = match names.len() {
        0 => return None,
        1 => "is",
        _ => "are",
    };
    Some(format!(
        "{} {are} on this machine, too, for this host has {}: what stops the machine stops all of them, and may \
         leave nobody to take over. Give each member a machine of its own",
        names.join(" and "),
        addresses.join(", ")
    ))
}

/// The address from which the kernel would reach `address`: the same one, if this host has it. (A
/// bind does not show that: with `ip_nonlocal_bind` it succeeds for any address. Nor does a
/// connect: from an interface's second address to itself, the kernel takes the first.) Nothing is
/// sent.
pub(crate) fn toward(address: IpAddr) -> Option<IpAddr> {
    let route = Netlink::open(libc::NETLINK_ROUTE).ok();
    let hop = route.and_then(|mut route| hop(&mut route, None, address));
    if hop.is_some_and(|hop| hop.here) {
        return Some(address);
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

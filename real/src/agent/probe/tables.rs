//! `link` and `route`: what the kernel's own tables say. It says by itself when they change.

use super::Look;
use crate::address;
use crate::netlink::{Heard, Netlink, Watch};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Tables that change all the time are looked at no more often than that.
const APART: Duration = Duration::from_millis(20);

/// A table, and what is looked for in it.
#[derive(Debug)]
pub(super) struct Tables {
    row: Row,
    /// Where the kernel says that it changes.
    watch: Option<AsyncFd<Watch>>,
    socket: Option<Netlink>,
}

#[derive(Debug)]
enum Row {
    Link(String),
    Route { to: IpAddr, length: u8 },
}

impl Tables {
    pub(super) fn link(name: String) -> Self {
        Self {
            row: Row::Link(name),
            watch: None,
            socket: None,
        }
    }

    pub(super) fn route(to: IpAddr, length: u8) -> Self {
        Self {
            row: Row::Route { to, length },
            watch: None,
            socket: None,
        }
    }

    pub(super) fn look(&mut self) -> Look {
        if self.watch.is_none() {
            // Before the table is read, so that nothing is missed. Without it there is still
            // `every`.
            self.watch = Watch::route(&self.row.groups()).ok();
        }
        match &self.row {
            Row::Link(name) => {
                let socket = match &mut self.socket {
                    Some(socket) => socket,
                    none => {
                        none.insert(Netlink::open(libc::NETLINK_ROUTE).map_err(|e| e.to_string())?)
                    }
                };
                let all = address::links(socket).map_err(|e| e.to_string())?;
                match all.iter().find(|link| link.is_called(name)) {
                    None => Err(format!("there is no {name}")),
                    Some(link) => match link.fault {
                        Some(fault) => Err(format!("{name}: {fault}")),
                        None => Ok(format!("{name} is up")),
                    },
                }
            }
            Row::Route { to, length } => {
                let file = match to {
                    IpAddr::V4(_) => "/proc/self/net/route",
                    IpAddr::V6(_) => "/proc/self/net/ipv6_route",
                };
                let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
                let found = match to {
                    IpAddr::V4(to) => text.lines().any(|line| v4(line) == Some((*to, *length))),
                    IpAddr::V6(to) => text.lines().any(|line| v6(line) == Some((*to, *length))),
                };
                match found {
                    true => Ok("it is there".to_owned()),
                    false => Err(format!("there is no route to {to}/{length}")),
                }
            }
        }
    }

    pub(super) async fn changed(&mut self) {
        let Some(watch) = &self.watch else {
            return std::future::pending().await;
        };
        sleep(APART).await;
        let heard = async {
            let mut guard = watch.readable().await.ok()?;
            let mut scratch = Vec::with_capacity(1 << 16);
            let _ = guard.get_inner().drain(&mut scratch, &mut Heard::default());
            guard.clear_ready();
            Some(())
        };
        if heard.await.is_none() {
            self.watch = None;
        }
    }
}

impl Row {
    /// The multicast groups that say so.
    fn groups(&self) -> Vec<u32> {
        match self {
            Self::Link(_) => vec![libc::RTNLGRP_LINK],
            Self::Route { to, .. } if to.is_ipv4() => vec![libc::RTNLGRP_IPV4_ROUTE],
            Self::Route { .. } => vec![libc::RTNLGRP_IPV6_ROUTE],
        }
    }
}

/// Flags of a route: it is in use; it forbids.
const UP: u32 = 1;
const REJECT: u32 = 0x200;

const fn leads(flags: u32) -> bool {
    flags & UP != 0 && flags & REJECT == 0
}

/// `eth0 0000000A 00000000 0001 0 0 0 000000FF …`: destination, gateway, flags, …, mask.
fn v4(line: &str) -> Option<(Ipv4Addr, u8)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |n: usize| u32::from_str_radix(fields.get(n)?, 16).ok();
    let (to, flags, mask) = (number(1)?, number(3)?, number(7)?);
    let length = u8::try_from(mask.count_ones()).ok()?;
    leads(flags).then(|| (Ipv4Addr::from(to.to_ne_bytes()), length))
}

/// `20010db8… 40 00000000… 00 00000000… 00000100 00000001 00000000 00000001 eth0`: destination, its
/// length, source, its length, next hop, metric, two counts, flags.
fn v6(line: &str) -> Option<(Ipv6Addr, u8)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let to = u128::from_str_radix(fields.first()?, 16).ok()?;
    let length = u8::from_str_radix(fields.get(1)?, 16).ok()?;
    let flags = u32::from_str_radix(fields.get(8)?, 16).ok()?;
    leads(flags).then(|| (Ipv6Addr::from(to), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_the_kernel_writes_them() {
        let net = u32::from_ne_bytes([10, 0, 0, 0]);
        let mask = u32::from_ne_bytes([255, 255, 0, 0]);
        let line = format!("eth0\t{net:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0");
        assert_eq!(v4(&line), Some((Ipv4Addr::new(10, 0, 0, 0), 16)));
        assert_eq!(v4(&line.replace("0001", "0201")), None);
        assert_eq!(v4("Iface\tDestination\tGateway"), None);
        let line = "20010db8000000000000000000000000 20 00000000000000000000000000000000 00 \
                    fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0";
        assert_eq!(v6(line), Some(("2001:db8::".parse().unwrap(), 32)));
        assert_eq!(v6(""), None);
    }
}

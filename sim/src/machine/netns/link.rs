//! Links and addresses by rtnetlink, always in the network namespace of the calling thread.

use super::netlink::{ACK, CREATE, EXCLUSIVE, Family, Message, find, transact};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;

/// A hardware address.
pub type Mac = [u8; 6];

/// `struct ifinfomsg`
fn ifinfo(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// The index of the interface called `name`.
pub(super) fn index(name: &str) -> io::Result<u32> {
    let any = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    Ok(rustix::net::netdevice::name_to_index(any, name)?)
}

/// Makes a bridge and takes it up. It learns, but snoops on no multicast, so that IPv6 neighbour
/// discovery gets through without a querier.
pub(super) fn add_bridge(name: &str) -> io::Result<()> {
    let message = Message::new(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, &ifinfo(0, IFF_UP))
        .text(IFLA_IFNAME, name)
        .nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |m| m.attr(IFLA_BR_MCAST_SNOOPING, [0]))
        });
    transact(Family::Route, &[message]).map(drop)
}

/// Makes a pair of veth: `port` here, as a port of `bridge`; `eth0` with `mac` in `namespace`.
pub(super) fn add_port(
    port: &str,
    bridge: &str,
    mac: Mac,
    interface: &str,
    namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    let message = Message::new(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, &ifinfo(0, IFF_UP))
        .text(IFLA_IFNAME, port)
        .attr(IFLA_MASTER, index(bridge)?.to_ne_bytes())
        .nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |m| {
                m.nest(VETH_INFO_PEER, |m| {
                    m.raw(&ifinfo(0, 0))
                        .text(IFLA_IFNAME, interface)
                        .attr(IFLA_ADDRESS, mac)
                        .attr(IFLA_NET_NS_FD, namespace.as_raw_fd().to_ne_bytes())
                })
            })
        });
    transact(Family::Route, &[message]).map(drop)
}

/// Deletes an interface; of a veth, both ends, at once.
pub(super) fn remove(name: &str) -> io::Result<()> {
    let message = Message::new(RTM_DELLINK, ACK, &ifinfo(index(name)?, 0));
    transact(Family::Route, &[message]).map(drop)
}

/// Takes an interface up.
pub(super) fn up(name: &str) -> io::Result<()> {
    set_up(name, true)
}

/// Takes an interface up or down; the other end of a veth has a carrier, or has not.
pub(super) fn set_up(name: &str, is: bool) -> io::Result<()> {
    let mut about = ifinfo(index(name)?, IFF_UP);
    if !is {
        about[8..12].fill(0); // the flags, of which the one that changes is named behind them
    }
    let message = Message::new(RTM_NEWLINK, ACK, &about);
    transact(Family::Route, &[message]).map(drop)
}

/// Makes an interface a port of `bridge`, and takes it up.
pub(super) fn plug(name: &str, bridge: &str) -> io::Result<()> {
    let message = Message::new(RTM_NEWLINK, ACK, &ifinfo(index(name)?, IFF_UP))
        .attr(IFLA_MASTER, index(bridge)?.to_ne_bytes());
    transact(Family::Route, &[message]).map(drop)
}

/// Waits until an interface carries frames. The kernel sees to that some time after both ends of a
/// veth pair are up, and loses what is sent before.
pub(super) fn wait_up(name: &str) -> io::Result<()> {
    let message = Message::new(RTM_GETLINK, ACK, &ifinfo(index(name)?, 0));
    wait_until(|| {
        let answers = transact(Family::Route, std::slice::from_ref(&message))?;
        let state = answers
            .first()
            .and_then(|a| find(a.get(16..)?, IFLA_OPERSTATE));
        Ok(state == Some(&[IF_OPER_UP]))
    })
}

/// Waits until neighbours can ask for an address. For an IPv6 one, the kernel joins the multicast
/// group in which they do some time after it was added.
pub(super) fn wait_heard(address: IpAddr) -> io::Result<()> {
    let IpAddr::V6(address) = address else {
        return Ok(());
    };
    let [.., a, b, c] = address.octets();
    let group = format!(" ff0200000000000000000001ff{a:02x}{b:02x}{c:02x} ");
    wait_until(|| Ok(fs::read_to_string("/proc/thread-self/net/igmp6")?.contains(&group)))
}

fn wait_until(come: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    while !come()? {
        if Instant::now() > until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Adds an address; an IPv6 one without waiting for duplicate address detection.
pub(super) fn add_address(interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let flags = ACK | CREATE | EXCLUSIVE;
    address_message(RTM_NEWADDR, flags, interface, address, prefix)
}

/// Removes an address.
pub(super) fn remove_address(interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    address_message(RTM_DELADDR, ACK, interface, address, prefix)
}

fn address_message(
    kind: u16,
    flags: u16,
    interface: &str,
    address: IpAddr,
    prefix: u8,
) -> io::Result<()> {
    let (family, bytes, nodad) = match address {
        IpAddr::V4(a) => (2, a.octets().to_vec(), 0),
        IpAddr::V6(a) => (10, a.octets().to_vec(), IFA_F_NODAD),
    };
    // struct ifaddrmsg: family, prefix length, flags, scope, index
    let mut header = [family, prefix, nodad, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index(interface)?.to_ne_bytes());
    let message = Message::new(kind, flags, &header)
        .attr(IFA_LOCAL, &bytes)
        .attr(IFA_ADDRESS, &bytes);
    transact(Family::Route, &[message]).map(drop)
}

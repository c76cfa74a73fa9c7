//! Where the peers are on their networks: the kernel's neighbour entries, and keeping them.
//!
//! The kernel forgets a neighbour's hardware address when it answers no question for it any more,
//! after about half a minute, and sends it nothing from then on. If frames are lost in one
//! direction only, that makes it both: the deaf side falls silent, too, and each takes the other
//! for dead. So an entry that was right when the peer last said that it hears us is kept for as
//! long as the peer is silent. But it may be silent because it was replaced, by a machine with its
//! address and another network card: so everybody on the network is asked now and then who has the
//! address, and the kernel believes the answer.
//!
//! What this never does: make an entry that lasts (the kernel's own ageing goes on, also when this
//! process is gone), touch that of a gateway (which serves others), or of a peer that is heard (the
//! kernel is right about it, or finds out), or put an address in the place of another one that the
//! kernel has learnt.

use crate::address;
use crate::announce::{self, Mac};
use crate::config_file::Path;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Request};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often the entries are looked at while a peer is silent: less than it takes to miss us when
/// somebody has deleted its entry.
const APART: Duration = Duration::from_millis(250);

/// And while all are heard: a kernel takes longer to give one up, and each look wakes the processor.
const APART_IF_HEARD: Duration = Duration::from_secs(1);

/// After this many looks at a silent peer, everybody is asked who has its address: every 5 s.
const ASK: u32 = 20;

const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_VIA: u16 = 18;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

const REACHABLE: u16 = 0x02;
const STALE: u16 = 0x04;
const DELAY: u16 = 0x08;
const PROBE: u16 = 0x10;
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;

/// A peer's place: behind which interface, with what hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The interface's number.
    pub index: u32,
    /// The hardware address.
    pub mac: Mac,
}

/// The ways to the peers. They are looked after in a thread of its own: to ask for an entry, or to
/// change it, may mean to wait for a lock of the kernel's, which others hold for long when
/// namespaces come and go.
#[derive(Debug, Default)]
pub struct Neighbours(Arc<Vec<Way>>);

#[derive(Debug)]
struct Way {
    path: Path,
    /// What was heard over it since the last look.
    heard: AtomicU8,
    /// For how many looks the peer has been silent.
    silent: AtomicU32,
    /// Where the peer was when it last heard us.
    place: Mutex<Option<Place>>,
    /// Where the kernel takes it to be, whether it is heard or not.
    said: Mutex<Option<Place>>,
}

/// Nothing authentic was heard; it was; and its sender hears us.
const SILENT: u8 = 0;
const HEARD: u8 = 1;
const ECHOED: u8 = 2;

impl Neighbours {
    /// Looks after these from now on, until dropped.
    ///
    /// # Errors
    /// When netlink or a thread can't be had.
    pub fn look_after(paths: impl Iterator<Item = Path>) -> Result<Self, KernelError> {
        let way = |path| Way {
            path,
            heard: AtomicU8::new(SILENT),
            silent: AtomicU32::new(0),
            place: Mutex::new(None),
            said: Mutex::new(None),
        };
        let neighbours = Self(Arc::new(paths.map(way).collect()));
        let ways = Arc::downgrade(&neighbours.0);
        let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
        let look = move || {
            while let Some(ways) = ways.upgrade() {
                let silent = ways.iter().filter(|way| !way.look(&mut route)).count();
                drop(ways);
                std::thread::sleep(if silent == 0 { APART_IF_HEARD } else { APART });
            }
        };
        let thread = std::thread::Builder::new().name("neighbours".into());
        thread.spawn(look).doing(|| "starting a thread".into())?;
        Ok(neighbours)
    }

    /// An authentic datagram came over a path; `echoed` says whether the peer hears us.
    pub fn heard(&self, local: SocketAddr, remote: SocketAddr, echoed: bool) {
        let is = |w: &&Way| w.path.local == local && w.path.remote == remote;
        if let Some(way) = self.0.iter().find(is) {
            let heard = if echoed { ECHOED } else { HEARD };
            way.heard.fetch_max(heard, Ordering::Relaxed);
        }
    }

    /// Where the peers are, as far as they were heard and hear us.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.0.iter().filter_map(Way::place)
    }

    /// Where the kernel takes them to be, though nothing proves it: for words.
    pub fn said_places(&self) -> impl Iterator<Item = Place> + '_ {
        let said = |way: &Way| *way.said.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.iter().filter_map(said)
    }
}

impl Way {
    fn place(&self) -> Option<Place> {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks everybody on the peer's network who has its address.
    fn ask(&self, route: &mut Netlink, index: u32) {
        let all = address::links(route).unwrap_or_default();
        let link = all.iter().find(|link| link.index == index && link.ethernet);
        let (own, to) = (self.path.local.ip(), self.path.remote.ip());
        if let Some(Err(e)) = link.map(|link| announce::ask_on(link, own, to)) {
            tracing::debug!("asking who has {to}: {e}");
        }
    }

    /// Where the kernel takes the peer to be.
    fn ask_kernel(&self, route: &mut Netlink) -> Option<Place> {
        let index = on_link(route, self.path);
        let found = index.and_then(|index| entry(route, index, self.path.remote.ip()));
        let place = found.and_then(Entry::place)?;
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        *said = Some(place);
        Some(place)
    }

    /// Learns the entry of a peer that hears us, keeps that of a silent one. Whether it was heard.
    fn look(&self, route: &mut Netlink) -> bool {
        let heard = self.heard.swap(SILENT, Ordering::Relaxed);
        let silent = match heard {
            SILENT => self.silent.load(Ordering::Relaxed).wrapping_add(1),
            _ => 0,
        };
        self.silent.store(silent, Ordering::Relaxed);
        if heard == SILENT {
            self.keep(route, silent);
        }
        // One that is heard, and says that it does not hear us: the kernel may have it wrong.
        let place = self.ask_kernel(route);
        if heard == ECHOED && place.is_some() {
            *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        }
        heard != SILENT
    }

    /// Keeps the entry of a peer that has been silent for so many looks.
    fn keep(&self, route: &mut Netlink, silent: u32) {
        let to = self.path.remote.ip();
        let Some(place) = self.place() else { return };
        if on_link(route, self.path) != Some(place.index) {
            return;
        }
        if is_going(entry(route, place.index, to), place)
            && let Err(e) = keep(route, to, place)
        {
            tracing::debug!("{e}");
        }
        if silent.is_multiple_of(ASK) {
            self.ask(route, place.index);
        }
    }
}

/// An entry as the kernel has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u32,
    state: u16,
    mac: Option<Mac>,
}

impl Entry {
    fn place(self) -> Option<Place> {
        let index = self.index;
        let valid = self.state & (REACHABLE | STALE | DELAY | PROBE | PERMANENT) != 0;
        self.mac.filter(|_| valid).map(|mac| Place { index, mac })
    }
}

/// Whether the kernel is about to send nothing there any more, or does already, and knows no other
/// place.
fn is_going(entry: Option<Entry>, last: Place) -> bool {
    let Some(entry) = entry else {
        return true;
    };
    match entry.place() {
        Some(place) => place == last && entry.state & (REACHABLE | PERMANENT) == 0,
        None => entry.state & NOARP == 0,
    }
}

/// Behind which interface a peer is without a gateway between; nothing if it is not, or on this
/// host.
fn on_link(route: &mut Netlink, path: Path) -> Option<u32> {
    let hop = hop(route, Some(path.local.ip()), path.remote.ip())?;
    (!hop.here && !hop.gateway).then_some(hop.index)
}

/// Where the kernel would send something.
#[derive(Clone, Copy, Debug)]
pub struct Hop {
    /// By which interface.
    pub index: u32,
    /// To itself.
    pub here: bool,
    /// To another machine, and to one only.
    pub unicast: bool,
    /// To a gateway.
    pub gateway: bool,
}

/// Asks the kernel where it would send something.
pub fn hop(route: &mut Netlink, from: Option<IpAddr>, to: IpAddr) -> Option<Hop> {
    hop_of(route, None, from, to)
}

/// Asks the kernel whether it would take for its own what comes in by an interface.
pub fn takes(route: &mut Netlink, index: u32, from: IpAddr, to: IpAddr) -> bool {
    hop_of(route, Some(index), Some(from), to).is_some_and(|hop| hop.here)
}

/// Where something would go that is this host's own, or came in by an interface.
fn hop_of(
    route: &mut Netlink,
    came_in_by: Option<u32>,
    from: Option<IpAddr>,
    to: IpAddr,
) -> Option<Hop> {
    let bits = if to.is_ipv4() { 32 } else { 128 };
    let mut request = Request::new();
    // struct rtmsg: family, prefix lengths of destination and source, and nothing else.
    let mut fixed = [0; 12];
    fixed[..3].copy_from_slice(&[family(to), bits, from.map_or(0, |_| bits)]);
    request.message(libc::RTM_GETROUTE, netlink::NLM_F_ACK, &fixed);
    request.attr(RTA_DST, &octets(to));
    if let Some(from) = from {
        request.attr(RTA_SRC, &octets(from));
    }
    if let Some(index) = came_in_by {
        request.u32(RTA_IIF, index);
    }
    let mut found = None;
    let asked = route.dump(&mut request, |_, message| {
        let attributes = message.get(12..).unwrap_or(&[]);
        let has = |kind| netlink::attribute(attributes, kind);
        let index = has(RTA_OIF).and_then(|index| netlink::u32_at(index, 0));
        found = index.map(|index| Hop {
            index,
            here: message.get(7) == Some(&libc::RTN_LOCAL),
            unicast: message.get(7) == Some(&libc::RTN_UNICAST),
            gateway: has(RTA_GATEWAY).is_some() || has(RTA_VIA).is_some(),
        });
    });
    asked.ok().and(found)
}

/// What the kernel takes for the hardware address of a machine on one of this host's networks.
pub(crate) fn mac_of(route: &mut Netlink, to: IpAddr) -> Option<Mac> {
    let hop = hop(route, None, to)?;
    let place = entry(route, hop.index, to)?.place();
    place.filter(|_| !hop.here && !hop.gateway).map(|at| at.mac)
}

fn entry(route: &mut Netlink, index: u32, to: IpAddr) -> Option<Entry> {
    let mut request = Request::new();
    request.message(
        libc::RTM_GETNEIGH,
        netlink::NLM_F_ACK,
        &header(index, to, 0),
    );
    request.attr(NDA_DST, &octets(to));
    let mut found = None;
    let asked = route.dump(&mut request, |_, message| {
        let mac = message
            .get(12..)
            .and_then(|a| netlink::attribute(a, NDA_LLADDR));
        found = netlink::u16_at(message, 8).map(|state| Entry {
            index,
            state,
            mac: mac.and_then(|mac| mac.try_into().ok()),
        });
    });
    asked.ok().and(found)
}

/// Says to the kernel that the peer is still there.
fn keep(route: &mut Netlink, to: IpAddr, place: Place) -> Result<(), KernelError> {
    let mut request = Request::new();
    let flags = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_REPLACE;
    request.message(
        libc::RTM_NEWNEIGH,
        flags,
        &header(place.index, to, REACHABLE),
    );
    request
        .attr(NDA_DST, &octets(to))
        .attr(NDA_LLADDR, &place.mac);
    let kept = route.send(&mut request);
    kept.doing(|| format!("keeping the hardware address of {to}, which is silent"))
}

/// `struct ndmsg`
fn header(index: u32, to: IpAddr, state: u16) -> [u8; 12] {
    let mut fixed = [0; 12];
    fixed[0] = family(to);
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    fixed[8..10].copy_from_slice(&state.to_ne_bytes());
    fixed
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(family).unwrap_or(0)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: Place = Place {
        index: 3,
        mac: [2, 0, 0, 0, 0, 1],
    };

    fn entry(state: u16, mac: Option<u8>) -> Option<Entry> {
        Some(Entry {
            index: 3,
            state,
            mac: mac.map(|last| [2, 0, 0, 0, 0, last]),
        })
    }

    #[test]
    fn what_the_kernel_is_about_to_forget_is_kept_and_nothing_else() {
        const INCOMPLETE: u16 = 0x01;
        const FAILED: u16 = 0x20;
        assert!(is_going(None, LAST));
        for state in [STALE, DELAY, PROBE] {
            assert!(is_going(entry(state, Some(1)), LAST), "{state:#x}");
            assert!(!is_going(entry(state, Some(2)), LAST), "another address");
        }
        for state in [INCOMPLETE, FAILED] {
            assert!(is_going(entry(state, None), LAST));
            assert!(is_going(entry(state, Some(1)), LAST));
        }
        for state in [REACHABLE, PERMANENT, NOARP] {
            assert!(!is_going(entry(state, Some(1)), LAST), "{state:#x}");
        }
    }
}

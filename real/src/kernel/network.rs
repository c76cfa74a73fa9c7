//! What is wrong with the addresses on their networks: a stranger has one as well, or it belongs to
//! none.

use super::interfaces::Interface;
use super::{Floating, Kernel};
use crate::address::{Assigned, Link, is_link_local};
use crate::announce::Mac;
use crate::guard::boottime;
use crate::neighbour::{hop, takes};
use crate::netlink::Netlink;
use onehold_core::advert::GroupId;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A stranger that has been silent for this long has gone: two questions in a row are unanswered.
const GONE: Span = Span::from_millis(65_000);
/// When everything that the former holder sent has surely arrived; and what a network that is
/// reconfigured lacks for a moment is there.
const SETTLED: Span = Span::from_millis(1_000);

/// A shorter claim of the other candidate comes from a moment in which the address moved, or a cut
/// healed.
const LASTS: Span = Span::from_millis(2_000);

/// Which machines besides this one claim our addresses.
#[derive(Debug, Default)]
pub(super) struct Claimants(BTreeMap<Floating, Claimant>);

/// A machine that has one of the addresses as well.
#[derive(Clone, Copy, Debug)]
struct Claimant {
    mac: Mac,
    /// It is the other candidate, as far as the kernel knows.
    candidate: bool,
    since: LocalTime,
    heard: LocalTime,
}

impl Claimant {
    fn lasts(&self) -> bool {
        !self.candidate || self.heard >= self.since.plus(LASTS)
    }
}

impl Claimants {
    fn heard(&mut self, floating: Floating, mac: Mac, candidate: bool, now: LocalTime) {
        let same = |c: &&Claimant| c.mac == mac && now < c.heard.plus(GONE);
        let since = (self.0.get(&floating).filter(same)).map_or(now, |c| c.since);
        let claimant = Claimant {
            mac,
            candidate,
            since,
            heard: now,
        };
        self.0.insert(floating, claimant);
    }

    /// Only of these addresses anything is known from now on.
    pub(super) fn keep(&mut self, known: impl Fn(&Floating) -> bool) {
        self.0.retain(|floating, _| known(floating));
    }

    /// The interfaces have other numbers: `moved` has the new one of each.
    pub(super) fn move_to(&mut self, moved: &[Option<usize>]) {
        let all = std::mem::take(&mut self.0).into_iter();
        let all = all.filter_map(|(floating, c)| Some((floating.move_to(moved)?, c)));
        self.0 = all.collect();
    }

    fn expire(&mut self, now: LocalTime) {
        self.0.retain(|_, c| now < c.heard.plus(GONE));
    }

    /// This machine was the last that said that it has it.
    fn is(&self, floating: &Floating, mac: Mac) -> bool {
        self.0.get(floating).is_some_and(|c| c.mac == mac)
    }

    /// A stranger has it, as far as heard lately.
    fn is_strange(&self, floating: &Floating) -> bool {
        self.0.get(floating).is_some_and(|c| !c.candidate)
    }
}

impl Kernel {
    /// Notes a claim that came in over an interface, unless it is as it should be: the other
    /// candidate's, while this member does not hold. That one is known by where its adverts come
    /// from, if they come over the same interface. If not, then what is said while this member
    /// holds is a stranger's word, or one against the promise.
    pub(super) fn overhear(&mut self, id: GroupId, floating: Floating, mac: Mac, now: LocalTime) {
        let Some(link) = &self.interfaces[floating.at].link else {
            return;
        };
        let there = |p: &crate::neighbour::Place| p.index == link.index;
        let known = self.neighbours.places().any(|p| there(&p));
        let places = self
            .neighbours
            .places()
            .chain(self.neighbours.said_places());
        let candidate = places.filter(there).any(|p| p.mac == mac);
        let group = &self.groups[usize::from(id.0)];
        let held = group.hold.is_some_and(|hold| now < hold.deadline);
        let settled = |s: crate::announce::Schedule| now >= s.since().plus(SETTLED);
        let counts = match held {
            true => group.announcing.is_some_and(settled),
            false => known && !candidate,
        };
        if counts {
            self.claimants.heard(floating, mac, candidate, now);
            self.report();
        } else if !held && candidate && self.claimants.is(&floating, mac) {
            // It is the holder now: what it said while both held is over.
            self.claimants.0.remove(&floating);
            self.report();
        }
    }

    /// Whether a stranger has an address of a group, as far as heard lately.
    pub(super) fn is_contested(&self, id: GroupId) -> bool {
        let group = &self.groups[usize::from(id.0)];
        (group.addresses.iter()).any(|a| self.claimants.is_strange(a))
    }

    /// The claimants that were heard lately, in words.
    pub(super) fn strangers_in_words(&mut self, now: LocalTime) -> Vec<String> {
        self.claimants.expire(now);
        let words = |(floating, claimant): (&Floating, &Claimant)| {
            let id = self.group_of(*floating)?;
            let group = &self.groups[usize::from(id.0)];
            let interface = &self.interfaces[floating.at].name;
            let address = floating.address;
            let mac = claimant.mac.map(|byte| format!("{byte:02x}")).join(":");
            let name = &group.name;
            Some(match claimant.candidate {
                true => format!(
                    "{name}: {mac} on {interface} says that it has {address}, too, and is the other candidate: two \
                     hold, and clients reach one or the other. Stop onehold on one of them until they hear each \
                     other: `onehold status` says on each what prevents that (files, secrets, ports, the network)"
                ),
                false => format!(
                    "{name}: {mac} on {interface} says that it has {address}, too, and is not the other candidate, as \
                     far as this host knows: clients reach one or the other. Find that machine by its hardware \
                     address, and take the address from it"
                ),
            })
        };
        let lasting = self.claimants.0.iter().filter(|(_, c)| c.lasts());
        lasting.filter_map(words).collect()
    }

    /// Finds the addresses that belong to no network of their interface, and where to ask for
    /// others from.
    pub(super) fn refresh_networks(&mut self, present: &[Assigned]) {
        let Self {
            groups,
            interfaces,
            route,
            ..
        } = self;
        let mut astray = Vec::new();
        let mut known: BTreeMap<(u32, IpAddr), bool> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.announced) {
            for at in &group.at {
                let Interface { name, link, .. } = &interfaces[*at];
                let Some(link) = link.as_ref().filter(|link| link.fault.is_none()) else {
                    continue;
                };
                let here = group.addresses.iter().filter(|f| f.at == *at);
                let here: Vec<IpAddr> = here.map(|f| f.address).collect();
                let brings = |address| group.routes.iter().any(|r| r.reaches(name, address));
                let strays = here.iter().filter(|address| !brings(**address));
                let lost = strays.copied().find(|address| {
                    let reach = || reaches(route, link.index, *address);
                    let of_its_network = (link.index, network(*address));
                    !*known.entry(of_its_network).or_insert_with(reach)
                });
                if group.hold.is_some() {
                    const SOME: usize = 8; // of many addresses: what is wrong is mostly wrong with all
                    let there = |address: &&IpAddr| {
                        (present.iter()).any(|a| a.index == link.index && a.address == **address)
                    };
                    let mut there = here.iter().take(SOME).filter(there);
                    let why = there.find_map(|a| unanswered(route, link, *a));
                    astray.extend(why.map(|why| format!("{}: {why}", group.name)));
                }
                if let Some(first) = lost {
                    let what = in_no_network(first, name);
                    astray.push(format!("{}: {what}", group.name));
                }
            }
        }
        self.note_astray(astray);
        for interface in &mut self.interfaces {
            let index = interface.link.as_ref().map(|link| link.index);
            let local = |a: &&Assigned| a.address.is_ipv6() && is_link_local(a.address);
            let own =
                |a: &&Assigned| Some(a.index) == index && !interface.addresses.contains(&a.address);
            let mut own = present.iter().filter(local).filter(own);
            let own = own.next().map(|a| a.address);
            if let (Some(port), Some(IpAddr::V6(own))) = (&mut interface.port, own) {
                port.ask_from(own);
            }
        }
    }

    /// A network that is reconfigured is away for a moment: only what lasts is reported.
    fn note_astray(&mut self, found: Vec<String>) {
        let now = boottime();
        let before = std::mem::take(&mut self.astray);
        let since = |what: String| {
            let since = before.get(&what).copied().unwrap_or(now);
            (what, since)
        };
        self.astray = found.into_iter().map(since).collect();
        let young = self.astray.values().map(|since| since.plus(SETTLED));
        if let Some(next) = young.filter(|at| now < *at).min() {
            self.refresh_at(next);
        }
    }

    /// Which addresses have belonged to no network for a while, in words.
    pub(super) fn astray_in_words(&self, now: LocalTime) -> Vec<String> {
        let old = |since: &LocalTime| now >= since.plus(SETTLED);
        let astray = self.astray.iter().filter(|(_, since)| old(since));
        astray.map(|(what, _)| what.clone()).collect()
    }
}

pub(super) fn in_no_network(address: IpAddr, name: &str) -> String {
    format!(
        "{address} is in no network of {name}: clients there don't ask for it, or get no answer. Give {name} an \
         address in its network, or let a route to it come with the group (`routes`); if a router sends it here on \
         purpose, say so by `ip route add NETWORK dev {name}`"
    )
}

/// Why this host's kernel does not answer for an address that it has, where it can be asked.
fn unanswered(route: &mut Netlink, link: &Link, address: IpAddr) -> Option<String> {
    let hop_here = hop(route, None, address).is_some_and(|hop| hop.here);
    if !hop_here {
        return Some(format!(
            "this host's kernel does not take {address} for its own: look at `ip rule` and `ip route show \
             table local`"
        ));
    }
    let beside = beside(address, 1);
    if hop(route, None, beside).is_some() && hop(route, Some(address), beside).is_none() {
        return Some(format!(
            "this host's kernel sends nothing from {address}: look at `ip rule`"
        ));
    }
    if let Some(why) = not_taken(route, link, address) {
        return Some(why);
    }
    let ignores = |of: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{of}/arp_ignore"));
        text.is_ok_and(|text| text.trim().parse::<u32>().is_ok_and(|n| n >= 8))
    };
    let name = &link.name;
    let mute = address.is_ipv4() && (ignores("all") || ignores(name));
    mute.then(|| {
        format!(
            "this host answers no ARP on {name}: `sysctl net/ipv4/conf/all/arp_ignore net/ipv4/conf/{name}/arp_ignore`"
        )
    })
}

/// Why the kernel does not take what a neighbour sends to an address of its own, if it says so.
fn not_taken(route: &mut Netlink, link: &Link, address: IpAddr) -> Option<String> {
    if link.part || is_link_local(address) {
        return None; // it comes in by what this is a part of; there are others of the name
    }
    let neighbour = (1..=7).map(|n| beside(address, n)).find(|neighbour| {
        hop(route, None, *neighbour)
            .is_some_and(|h| h.unicast && !h.gateway && h.index == link.index)
    })?;
    if takes(route, link.index, neighbour, address) {
        return None;
    }
    let name = &link.name;
    Some(format!(
        "this host's kernel does not take what comes from the network of {name} to {address}: `ip route get \
         {address} from {neighbour} iif {name}` says why; look at `ip rule` and at `sysctl net/ipv4/conf/{name}/rp_filter`"
    ))
}

/// The n-th address beside another one.
fn beside(address: IpAddr, n: u32) -> IpAddr {
    match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() ^ n).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() ^ u128::from(n)).into(),
    }
}

/// Whether what has an address beside this one is reached over the interface without a gateway:
/// where the address itself is on this host, the kernel would not report it.
pub(super) fn reaches(route: &mut Netlink, index: u32, address: IpAddr) -> bool {
    for n in 1..=7 {
        match hop(route, None, beside(address, n)) {
            Some(hop) if hop.here => {} // another address of this host: it says nothing
            Some(hop) => return hop.index == index && !hop.gateway,
            None => return false,
        }
    }
    true
}

/// The addresses of one such network are looked at together: a /24, or a /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & !0xff).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_other_candidate_says_for_a_moment_is_no_second_holder_and_what_lasts_is_one() {
        let ms = |ms: u64| LocalTime::from_nanos(0).plus(Span::from_millis(ms));
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 50));
        let address = Floating { address, at: 0 };
        let mac = |last| [2, 0, 0, 0, 0, last];
        let mut all = Claimants::default();
        let lasts = |all: &Claimants| all.0.values().any(Claimant::lasts);
        for at in [0, 300, 1_999] {
            all.heard(address, mac(1), true, ms(at));
            assert!(!lasts(&all) && !all.is_strange(&address), "{at}");
        }
        all.heard(address, mac(1), true, ms(2_000));
        assert!(lasts(&all) && !all.is_strange(&address));
        all.expire(ms(66_999));
        assert!(lasts(&all));
        all.expire(ms(67_000));
        assert!(!lasts(&all));
        // A stranger may not even for a moment.
        all.heard(address, mac(2), false, ms(70_000));
        assert!(lasts(&all) && all.is_strange(&address));
        all.heard(address, mac(1), true, ms(70_001));
        assert!(!lasts(&all));
    }
}

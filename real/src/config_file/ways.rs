//! The ways between members, and R-22: what becomes of them while a configuration follows another.

use super::LocalCluster;
use onehold_core::advert::MemberId;
use onehold_core::config::{Arbitration, Config, Spec};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// One way from this member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// This member's address.
    pub local: SocketAddr,
    /// The other member's.
    pub remote: SocketAddr,
}

impl LocalCluster {
    /// Where this member listens: at its own addresses, and R-22 at those of the other configuration.
    #[must_use]
    pub fn listens_at(&self) -> Vec<SocketAddr> {
        let also = self.endpoint_also(self.config.me()).iter();
        let new = also.filter(|a| !self.addresses().contains(a));
        self.addresses().iter().chain(new).copied().collect()
    }

    fn endpoint_also(&self, member: MemberId) -> &[SocketAddr] {
        let name = self.config.member_name(member);
        self.also.get(&*name).map_or(&[], Vec::as_slice)
    }

    /// The paths to `peer`, and R-22 those of the other configuration. Where one side has fewer
    /// addresses than the other, its last one serves the rest: a witness with one address is reached
    /// over both networks of a candidate.
    pub fn paths(&self, peer: MemberId) -> impl Iterator<Item = Path> + '_ {
        let own = paths(self.addresses(), self.endpoint(peer));
        let also = paths(
            self.endpoint_also(self.config.me()),
            self.endpoint_also(peer),
        );
        let is_new = move |path: &Path| {
            !paths(self.addresses(), self.endpoint(peer)).any(|known| known == *path)
        };
        own.chain(also.filter(is_new))
    }

    /// The other members with the paths to them, and this one, with none.
    #[must_use]
    pub fn ways(&self) -> Vec<(MemberId, Vec<Path>)> {
        let me = self.config.me();
        let members = (0u8..).map(MemberId).take(self.config.members().len());
        let paths = |member| match member == me {
            true => Vec::new(),
            false => self.paths(member).collect(),
        };
        members.map(|member| (member, paths(member))).collect()
    }

    /// The ways to other candidates.
    #[must_use]
    pub fn ways_to_candidates(&self) -> Vec<Path> {
        let candidate = |peer: &MemberId| self.config.is_candidate(*peer);
        let others = self.config.peers().filter(candidate);
        others.flat_map(|peer| self.paths(peer)).collect()
    }

    /// by the names of members, the ways by `next`, of those to which they differ.
    #[must_use]
    pub fn ways_of(&self, next: &Self) -> BTreeMap<String, Vec<Path>> {
        let there = |member: MemberId| {
            let name = self.config.member_name(member);
            let mut all = (0u8..).map(MemberId).zip(next.config.members());
            all.find(|(_, m)| m.name == name).map(|(number, _)| number)
        };
        let differ = |(member, was): (MemberId, Vec<Path>)| {
            let is: Vec<Path> = next.paths(there(member)?).collect();
            let name = self.config.member_name(member).into_owned();
            (member != self.config.me() && was != is).then_some((name, is))
        };
        self.ways().into_iter().filter_map(differ).collect()
    }

    /// members are reached as by `other`, too.
    #[must_use]
    pub fn beside(&self, other: &Self) -> Self {
        let by_name = other.endpoints_by_name();
        let all = by_name
            .into_iter()
            .map(|(name, at)| (name.to_owned(), at.to_vec()));
        Self {
            also: all.collect(),
            ..self.clone()
        }
    }

    /// members are reached by this configuration alone.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self {
            also: BTreeMap::new(),
            ..self.clone()
        }
    }
}

fn paths<'a>(local: &'a [SocketAddr], remote: &'a [SocketAddr]) -> impl Iterator<Item = Path> + 'a {
    pairs(local, remote).map(|(local, remote)| Path { local, remote })
}

/// Which address of one member talks to which of another.
pub(super) fn pairs<'a, T: Copy>(
    local: &'a [T],
    remote: &'a [T],
) -> impl Iterator<Item = (T, T)> + 'a {
    let at = |all: &[T], n: usize| all.get(n).or(all.last()).copied();
    (0..local.len().max(remote.len())).filter_map(move |n| Some((at(local, n)?, at(remote, n)?)))
}

/// the key of a member that is reached in one of two configurations at an address which floats in
/// the other, and why that is not done in one step. Of each, where which member is reached.
pub(crate) fn reached_at_what_floats(
    was: (&Config, &[(String, IpAddr)]),
    is: (&Config, &[(String, IpAddr)]),
) -> Option<(String, String)> {
    let floats = |config: &Config, ip: IpAddr| {
        let mut all = config.groups().iter().flat_map(|g| &g.addresses);
        all.any(|p| p.address == ip)
    };
    let mut both = [(was.1, is.0), (is.1, was.0)].into_iter();
    let (name, ip) = both.find_map(|(at, other)| at.iter().find(|(_, ip)| floats(other, *ip)))?;
    let why = format!(
        "{ip} floats by the other of the two files, and both are in force for a moment: first a file in which it is \
         neither, then this one"
    );
    Some((format!("members.{name}.addresses"), why))
}

/// two that are alone must hear each other whichever of the two files each is started with: the
/// key and the remedy if no way between them is in both.
pub(crate) fn no_way_stays(was: &Spec, is: &Spec) -> Option<(&'static str, &'static str)> {
    let alone = |spec: &Spec| spec.arbitration == Arbitration::Survivor;
    if !alone(was) && !alone(is) {
        return None;
    }
    let (was, is) = (between_candidates(was), between_candidates(is));
    let none = !was.iter().any(|way| is.contains(way));
    none.then_some((
        "members",
        "two that are alone (`survivor`) must hear each other whichever of the two files each is started with, and no \
         way between them is in both: first a file in which each has the new address as a second one, such as \
         addresses = [\"10.0.0.10\", \"10.0.0.30\"] (another port: [\"10.0.0.10\", \"10.0.0.10:7000\"]), then this one",
    ))
}

/// The ways between the candidates, as written.
fn between_candidates(spec: &Spec) -> Vec<(&str, &str)> {
    let mut of = spec
        .members
        .iter()
        .filter(|m| !m.witness)
        .collect::<Vec<_>>();
    of.sort_by(|a, b| a.name.cmp(&b.name));
    let at = |n: usize| -> Vec<&str> {
        let of = of.get(n).into_iter().flat_map(|m| &m.addresses);
        of.map(String::as_str).collect()
    };
    pairs(&at(0), &at(1)).collect()
}

//! What an operator writes ([`Spec`]) and what is proved of it ([`Config`]). Parse, don't validate:
//! everything else needs a `Config`, and only [`Spec::prove`] makes one.

use crate::advert::{ClusterId, ConfigDigest, GroupId, MAX_GROUPS, MemberId};
use crate::change::Other;
use crate::lease::{Timing, TimingError, TimingSpec};
use crate::time::Span;
use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;
use core::net::IpAddr;
use sha2::{Digest as _, Sha256};

/// Most members that a cluster can have.
pub const MAX_MEMBERS: usize = 9;

/// Most addresses that all groups of a cluster can have together: a kernel must be able to put them
/// on an interface in a small part of a lease.
pub const MAX_ADDRESSES: usize = 1_024;

/// What it takes to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Arbitration {
    /// A majority of all members: never two holders by votes, and the address is served while a
    /// majority with a candidate lives.
    Majority,
    /// Two candidates alone: the survivor holds alone; both hold while both directions are cut.
    Survivor,
}

impl Arbitration {
    /// The word for it: in files and in the digest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Survivor => "survivor",
        }
    }
}

/// Whether the address returns to the preferred candidate by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Failback {
    /// Yes, once the preferred candidate has been ready and asking for `failback_delay`.
    #[default]
    Auto,
    /// Only by `switch`.
    Manual,
}

impl Failback {
    /// The word for it: in files and in the digest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// One floating address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Prefix {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix, in bits.
    pub length: u8,
}

impl Prefix {
    /// An address in a network whose prefix has `length` bits.
    pub fn new(address: impl Into<IpAddr>, length: u8) -> Self {
        let address = address.into();
        Self { address, length }
    }
}

/// A member as written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberSpec {
    /// Its name, unique in the cluster.
    pub name: String,
    /// It votes and never holds.
    pub witness: bool,
    /// Its own addresses as written, one for each path. Only digested here.
    pub addresses: Vec<String>,
}

/// A group of floating addresses as written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GroupSpec {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Its addresses, at least one.
    pub addresses: Vec<Prefix>,
    /// The candidate that gets it when both can.
    pub preferred: String,
    /// Whether it returns to the preferred candidate by itself.
    pub failback: Failback,
    /// How long the preferred candidate must have asked before it gets the group back.
    pub failback_delay: Span,
    /// No holder rather than a sick one.
    pub release_when_unhealthy: bool,
    /// Something must be done before the gate of a new hold opens. Not digested: each member
    /// decides it for itself.
    #[cfg_attr(feature = "serde", serde(default))]
    pub prepares: bool,
}

impl GroupSpec {
    /// A group that returns to the preferred candidate at once, and that has a sick holder rather
    /// than none.
    pub fn new(
        name: impl Into<String>,
        addresses: Vec<Prefix>,
        preferred: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            addresses,
            preferred: preferred.into(),
            failback: Failback::default(),
            failback_delay: Span::ZERO,
            release_when_unhealthy: false,
            prepares: false,
        }
    }
}

/// A cluster as written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Spec {
    /// The cluster's name.
    pub cluster: String,
    /// All members, in any order.
    pub members: Vec<MemberSpec>,
    /// All groups, in any order.
    pub groups: Vec<GroupSpec>,
    /// What it takes to hold.
    pub arbitration: Arbitration,
    /// The timing.
    pub timing: TimingSpec,
}

/// A member, proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// It votes and never holds.
    pub witness: bool,
    /// Digest of how it is reached.
    pub(crate) reached: u64,
}

impl Member {
    /// both are one machine. A candidate's name is one machine while any daemon of the cluster
    /// runs, wherever it is reached; a witness's may come back on another one, while the former still
    /// votes.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.name == other.name && (!self.witness || self.reached == other.reached)
    }
}

/// A group, proved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Prefix>,
    /// The candidate that gets it when both can.
    pub preferred: MemberId,
    /// Whether it returns to the preferred candidate by itself.
    pub failback: Failback,
    /// How long the preferred candidate must have asked before it gets the group back.
    pub failback_delay: Span,
    /// No holder rather than a sick one.
    pub release_when_unhealthy: bool,
    /// Something must be done here before the gate of a new hold opens.
    pub prepares: bool,
}

/// A proved configuration, for one member, and how it is being changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    pub(crate) me: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) digest: ConfigDigest,
    pub(crate) members: Vec<Member>,
    pub(crate) groups: Vec<Group>,
    pub(crate) arbitration: Arbitration,
    pub(crate) timing: Timing,
    pub(crate) other: Option<Other>,
}

/// Why a configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Which key, such as `members.lb0` or `groups.web.preferred`.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl core::error::Error for SpecError {}

impl From<TimingError> for SpecError {
    fn from(e: TimingError) -> Self {
        wrong(e.key(), e.problem())
    }
}

pub(crate) fn wrong(key: impl fmt::Display, problem: impl fmt::Display) -> SpecError {
    SpecError {
        key: alloc::format!("{key}"),
        problem: alloc::format!("{problem}"),
    }
}

impl Spec {
    /// Proves the configuration for the member called `me`, or says what is wrong. Groups are
    /// numbered in the order of their names, and so are members, candidates first: so theirs in a file
    /// does not matter, and candidates keep theirs while witnesses come and go.
    ///
    /// # Errors
    /// A [`SpecError`] that names the key and the remedy.
    pub fn prove(&self, me: &str) -> Result<Config, SpecError> {
        let timing = Timing::prove(self.timing)?;
        if self.arbitration == Arbitration::Survivor {
            timing.prove_lone()?;
        }
        let mut members = self.members.clone();
        members.sort_by(|a, b| (a.witness, &a.name).cmp(&(b.witness, &b.name)));
        let mut groups = self.groups.clone();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        self.prove_members(&members)?;
        let numbered = || (0u8..).zip(&members);
        let id_of = |name: &str| {
            numbered()
                .find(|(_, m)| m.name == name)
                .map(|(n, m)| (MemberId(n), m))
        };
        let names = || {
            let all: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
            all.join(", ")
        };
        let (me, _) = id_of(me).ok_or_else(|| {
            wrong(
                "members",
                core::format_args!("there is no member `{me}`; there are {}", names()),
            )
        })?;

        if groups.is_empty() {
            return Err(wrong("groups", "at least one group of addresses is needed"));
        }
        if groups.len() > MAX_GROUPS {
            return Err(wrong(
                "groups",
                core::format_args!("{} groups; at most {MAX_GROUPS}", groups.len()),
            ));
        }
        let addresses: usize = groups.iter().map(|g| g.addresses.len()).sum();
        if addresses > MAX_ADDRESSES {
            return Err(wrong(
                "groups",
                core::format_args!("{addresses} addresses; at most {MAX_ADDRESSES} in all"),
            ));
        }
        let mut proved: Vec<Group> = Vec::with_capacity(groups.len());
        for g in &groups {
            let key = alloc::format!("groups.{}", g.name);
            if g.name.is_empty() {
                return Err(wrong("groups", "a group needs a name"));
            }
            if proved.last().is_some_and(|p| p.name == g.name) {
                return Err(wrong(key, "named twice"));
            }
            if g.addresses.is_empty() {
                return Err(wrong(
                    alloc::format!("{key}.addresses"),
                    "at least one address is needed",
                ));
            }
            for p in &g.addresses {
                let bits = if p.address.is_ipv4() { 32 } else { 128 };
                if p.length == 0 || p.length > bits {
                    return Err(wrong(
                        alloc::format!("{key}.addresses"),
                        core::format_args!(
                            "{}/{}: the prefix length must be 1 to {bits}",
                            p.address,
                            p.length
                        ),
                    ));
                }
                // A link-local address is another one on each interface, which is not of the core.
                let several =
                    matches!(p.address, IpAddr::V6(address) if address.is_unicast_link_local());
                let twice = proved
                    .iter()
                    .flat_map(|o| &o.addresses)
                    .any(|o| o.address == p.address)
                    || !several
                        && g.addresses
                            .iter()
                            .filter(|o| o.address == p.address)
                            .count()
                            > 1;
                if twice {
                    return Err(wrong(
                        alloc::format!("{key}.addresses"),
                        core::format_args!(
                            "{} is listed twice; an address belongs to one group",
                            p.address
                        ),
                    ));
                }
            }
            let preferred = match id_of(&g.preferred) {
                Some((id, m)) if !m.witness => id,
                Some(_) => {
                    return Err(wrong(
                        alloc::format!("{key}.preferred"),
                        core::format_args!(
                            "`{}` is a witness and never holds; name a candidate",
                            g.preferred
                        ),
                    ));
                }
                None => {
                    return Err(wrong(
                        alloc::format!("{key}.preferred"),
                        core::format_args!(
                            "there is no member `{}`; there are {}",
                            g.preferred,
                            names()
                        ),
                    ));
                }
            };
            proved.push(Group {
                name: g.name.clone(),
                addresses: g.addresses.clone(),
                preferred,
                failback: g.failback,
                failback_delay: g.failback_delay,
                release_when_unhealthy: g.release_when_unhealthy,
                prepares: g.prepares,
            });
        }
        Ok(Config {
            me,
            cluster: cluster_id(&self.cluster),
            digest: digest(self, &members, &proved),
            members: members
                .iter()
                .map(|m| Member {
                    name: m.name.clone(),
                    witness: m.witness,
                    reached: reached(m),
                })
                .collect(),
            groups: proved,
            arbitration: self.arbitration,
            timing,
            other: None,
        })
    }

    fn prove_members(&self, members: &[MemberSpec]) -> Result<(), SpecError> {
        if self.cluster.is_empty() {
            return Err(wrong("cluster.name", "must not be empty"));
        }
        if members.len() > MAX_MEMBERS {
            return Err(wrong(
                "members",
                core::format_args!("{} members; at most {MAX_MEMBERS}", members.len()),
            ));
        }
        for (at, a) in members.iter().enumerate() {
            if members.iter().skip(at).skip(1).any(|b| b.name == a.name) {
                return Err(wrong(alloc::format!("members.{}", a.name), "named twice"));
            }
        }
        let witnesses = members.iter().filter(|m| m.witness).count();
        let candidates = members.len().saturating_sub(witnesses);
        if candidates != 2 {
            return Err(wrong(
                "members",
                core::format_args!(
                    "{candidates} candidates (members without `witness = true`); exactly two are needed"
                ),
            ));
        }
        match self.arbitration {
            Arbitration::Survivor if witnesses > 0 => Err(wrong(
                "cluster.arbitration",
                "`survivor` is for two members alone; with a witness use `majority` (the default then)",
            )),
            Arbitration::Majority if members.len() > 2 && members.len().is_multiple_of(2) => {
                Err(wrong(
                    "members",
                    core::format_args!(
                        "{} members is an even number: the last witness adds nothing, and with one more, one more member may fail; use {} or {}",
                        members.len(),
                        members.len().saturating_sub(1),
                        members.len().saturating_add(1)
                    ),
                ))
            }
            Arbitration::Survivor | Arbitration::Majority => Ok(()),
        }
    }
}

fn name_or_number(name: Option<&str>, id: u8) -> Cow<'_, str> {
    name.map_or_else(|| alloc::format!("#{id}").into(), Cow::Borrowed)
}

/// The id of a cluster's name.
#[must_use]
pub fn cluster_id(name: &str) -> ClusterId {
    ClusterId(first_u64(Sha256::digest(name.as_bytes()).as_slice()))
}

pub(crate) fn first_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |n, b| (n << 8) | u64::from(*b))
}

/// SHA-256 of what all members must agree on. Everything is destructured, so that a new key
/// does not compile until it is decided whether it belongs here. No name of this code is digested,
/// so that renaming one does not change the wire.
fn digest(spec: &Spec, members: &[MemberSpec], groups: &[Group]) -> ConfigDigest {
    let Spec {
        cluster,
        members: _, // these two in the order of their names
        groups: _,
        arbitration,
        timing,
    } = spec;
    let TimingSpec {
        interval,
        lease,
        guard_slack,
        drift_ppm,
    } = *timing;
    let mut to = Canonical(Sha256::new());
    to.word("onehold 1");
    to.word(cluster);
    to.word(arbitration.name());
    to.number(interval.as_nanos());
    to.number(lease.as_nanos());
    to.number(guard_slack.as_nanos());
    to.number(drift_ppm.into());
    to.count(members);
    for member in members {
        let MemberSpec {
            name,
            witness,
            addresses,
        } = member;
        to.word(name);
        to.number((*witness).into());
        to.count(addresses);
        addresses.iter().for_each(|address| to.word(address));
    }
    to.count(groups);
    for group in groups {
        let Group {
            name,
            addresses,
            preferred,
            failback,
            failback_delay,
            release_when_unhealthy,
            prepares: _, // each member's own affair: the others hear a holder
        } = group;
        to.word(name);
        to.count(addresses);
        for Prefix { address, length } in addresses {
            match address {
                IpAddr::V4(v4) => to.bytes(&v4.octets()),
                IpAddr::V6(v6) => to.bytes(&v6.octets()),
            }
            to.number((*length).into());
        }
        to.number(preferred.0.into());
        to.word(failback.name());
        to.number(failback_delay.as_nanos());
        to.number((*release_when_unhealthy).into());
    }
    ConfigDigest(first_u64(to.0.finalize().as_slice()))
}

/// Of the addresses of a member.
fn reached(member: &MemberSpec) -> u64 {
    let mut to = Canonical(Sha256::new());
    to.count(&member.addresses);
    member.addresses.iter().for_each(|address| to.word(address));
    first_u64(to.0.finalize().as_slice())
}

/// Writes so that no two configurations give the same bytes: what has a length is preceded by it.
struct Canonical(Sha256);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    fn count<T>(&mut self, of: &[T]) {
        self.number(u64::try_from(of.len()).unwrap_or(u64::MAX));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes);
        self.0.update(bytes);
    }

    fn word(&mut self, word: &str) {
        self.bytes(word.as_bytes());
    }
}

impl Config {
    /// This member.
    #[must_use]
    pub const fn me(&self) -> MemberId {
        self.me
    }

    /// The cluster that every datagram must name.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The digest that every advert must carry.
    #[must_use]
    pub const fn digest(&self) -> ConfigDigest {
        self.digest
    }

    /// What it takes to hold.
    #[must_use]
    pub const fn arbitration(&self) -> Arbitration {
        self.arbitration
    }

    /// The proved timing.
    #[must_use]
    pub const fn timing(&self) -> &Timing {
        &self.timing
    }

    /// All members, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// All groups, by id.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// A member, if there is one with that id.
    #[must_use]
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(usize::from(id.0))
    }

    /// A group, if there is one with that id.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(usize::from(id.0))
    }

    /// A member's name; its number, where there is none with that id.
    #[must_use]
    pub fn member_name(&self, id: MemberId) -> Cow<'_, str> {
        name_or_number(self.member(id).map(|m| m.name.as_str()), id.0)
    }

    /// A group's name; its number, where there is none with that id.
    #[must_use]
    pub fn group_name(&self, id: GroupId) -> Cow<'_, str> {
        name_or_number(self.group(id).map(|g| g.name.as_str()), id.0)
    }

    /// The ids of all members but this one.
    pub fn peers(&self) -> impl Iterator<Item = MemberId> + use<> {
        let me = self.me;
        (0u8..)
            .take(self.members.len())
            .map(MemberId)
            .filter(move |id| *id != me)
    }

    /// Whether a member may hold.
    #[must_use]
    pub fn is_candidate(&self, id: MemberId) -> bool {
        self.member(id).is_some_and(|m| !m.witness)
    }

    /// How many members make a majority of those configured.
    #[must_use]
    pub fn majority(&self) -> usize {
        (self.members.len() >> 1).saturating_add(1)
    }

    /// the operator's word that the peer is dead counts as its vote: of two by a majority.
    #[must_use]
    pub fn may_presume_dead(&self) -> bool {
        self.members.len() == 2 && self.arbitration == Arbitration::Majority
    }

    /// whose votes decide, and how: arbitration, the members' names and roles, and how witnesses
    /// are reached. Two configurations with the same one share their majorities.
    pub(crate) fn electorate(&self) -> u64 {
        let mut to = Canonical(Sha256::new());
        to.word(self.arbitration.name());
        to.count(&self.members);
        for Member {
            name,
            witness,
            reached,
        } in &self.members
        {
            to.word(name);
            // A name may come back on another machine, while the former one still runs.
            to.number(if *witness { *reached } else { 0 });
            to.number((*witness).into());
        }
        first_u64(to.0.finalize().as_slice())
    }
}

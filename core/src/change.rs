//! R-22: one configuration follows another in a running cluster, and never beside one that it could
//! hurt.
//!
//! ```text
//!              a reload            everybody goes along     everybody has it in force
//!  settled on c ──────▶ toward c' ────────────────────▶ from c ────────────────────▶ settled on c'
//!  (c in force)     (c in force)                    (c' in force)
//!       ▲                │
//!       └── a reload ────┘
//! ```
//!
//! Only neighbours in this row accept each other's adverts. Who changes goes by the shorter lease
//! and is bound by the longer, an address that is in groups of two names is in none meanwhile, and
//! one that has c' in force holds by a majority of both until it is settled; so whatever one of two
//! neighbours may hold, the other one's vote covers.

use crate::advert::{Advert, Change, ConfigDigest, MemberId, Statement};
use crate::config::{Arbitration, Config, Group, Member, Prefix, SpecError, first_u64, wrong};
use crate::reject::Reject;
use alloc::borrow::Cow;
use alloc::vec::Vec;
use sha2::{Digest as _, Sha256};

/// The configuration that one is changed to, or from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Other {
    change: Change,
    digest: ConfigDigest,
    /// For each of our groups, its number there.
    places: Vec<Option<usize>>,
    /// How many groups there are.
    count: usize,
    /// For each member there, its number here, if it is one here.
    members: Vec<Option<MemberId>>,
    /// The same for one of its name, which may be another machine.
    names: Vec<Option<MemberId>>,
    /// How many members made a majority there, if it was of others, or by another rule.
    majority: Option<usize>,
    /// Whose votes decide here, and there.
    electorates: [u64; 2],
}

impl Config {
    /// R-22: what its adverts say of a change.
    #[must_use]
    pub fn change(&self) -> Change {
        self.other.as_ref().map_or(Change::None, |o| o.change)
    }

    /// R-22: the settled configurations to go through, in order, so that `next` is in force: mostly
    /// it alone. An address that moves from one group to another is in none of the one before.
    ///
    /// # Errors
    /// A [`SpecError`] that names what can't be changed while this incarnation lives.
    pub fn path_to(&self, next: &Self) -> Result<Vec<Self>, SpecError> {
        let fixed = |key: &str| {
            wrong(
                key,
                "can't be changed while the daemon runs: stop all members and start them with the new file",
            )
        };
        if self.cluster != next.cluster {
            return Err(fixed("cluster.name"));
        }
        self.members_may_become(next)?;
        // R-9: a later incarnation knows the leases of earlier ones, and not these two.
        for (key, falls) in [
            (
                "timing.guard_slack",
                next.timing.slack() < self.timing.slack(),
            ),
            (
                "timing.drift_ppm",
                next.timing.drift_ppm() < self.timing.drift_ppm(),
            ),
        ] {
            if falls {
                return Err(wrong(
                    key,
                    "may only grow while the daemon runs: to lower it, stop all members and start them with the new file",
                ));
            }
        }
        let timing = self.timing.beside(&next.timing);
        if self.arbitration == Arbitration::Survivor && timing.prove_lone().is_err() {
            return Err(wrong(
                "timing.interval",
                "under `survivor` the shorter of two leases must be 4.5 of the longer of two intervals: \
                 change the lease first if it grows, the interval first if that shrinks",
            ));
        }
        let moves = |group: &Group, p: &Prefix| {
            let mut others = self.groups.iter().filter(|g| g.name != group.name);
            others.any(|g| g.addresses.iter().any(|o| o.address == p.address))
        };
        let mut between = next.clone();
        for group in &mut between.groups {
            let all = core::mem::take(&mut group.addresses);
            group.addresses = all.into_iter().filter(|p| !moves(group, p)).collect();
        }
        if between.groups == next.groups {
            return Ok([next.clone()].into());
        }
        between.groups.retain(|g| !g.addresses.is_empty());
        let both = Sha256::new()
            .chain_update(b"onehold between")
            .chain_update(self.digest.0.to_be_bytes())
            .chain_update(next.digest.0.to_be_bytes());
        between.digest = ConfigDigest(first_u64(both.finalize().as_slice()));
        Ok([between, next.clone()].into())
    }

    fn members_may_become(&self, next: &Self) -> Result<(), SpecError> {
        let there = |m: &Member| next.members.iter().find(|o| o.name == m.name);
        let stays = |m: &&Member| there(m).is_some_and(|o| o.is(m));
        for member in &self.members {
            let problem = match there(member) {
                None if !member.witness => {
                    "a candidate can't get another name while the daemon runs: let another machine run under its name, \
                     or stop all members and start them with the new file"
                }
                Some(o) if o.witness != member.witness => {
                    "a candidate can't become a witness, nor a witness a candidate, while the daemon runs: stop \
                     all members and start them with the new file"
                }
                Some(_) | None => continue,
            };
            return Err(wrong(
                core::format_args!("members.{}", member.name),
                problem,
            ));
        }
        let stay = self.members.iter().filter(stays).count();
        let needed = self.majority().max(next.majority());
        if stay < needed {
            return Err(wrong(
                "members",
                core::format_args!(
                    "{stay} members are in both files (a witness at another address or port is another one), and a \
                     majority takes {needed}: change fewer at once, by way of another file (another port: in \
                     the addresses of one witness first, such as \"10.0.0.12:7000\")"
                ),
            ));
        }
        Ok(())
    }

    /// R-22: this one in force, on the way toward `next`, the first of [`Self::path_to`].
    #[must_use]
    pub fn toward(&self, next: &Self) -> Self {
        self.with(Change::Toward(next.digest), next)
    }

    /// R-22: this one in force, on the way from `before`.
    #[must_use]
    pub fn from(&self, before: &Self) -> Self {
        self.with(Change::From(before.digest), before)
    }

    fn with(&self, change: Change, other: &Self) -> Self {
        let place = |g: &Group| other.groups.iter().position(|o| o.name == g.name);
        let named = |m: &Member| {
            let mut ours = (0u8..).map(MemberId).zip(&self.members);
            ours.find(|(_, o)| o.name == m.name)
        };
        // A witness knows that it is itself.
        let same = |m: &Member| named(m).filter(|(n, o)| o.is(m) || *n == self.me);
        let electorates = [self.electorate(), other.electorate()];
        let was_other = matches!(change, Change::From(_)) && electorates[0] != electorates[1];
        Self {
            timing: self.timing.beside(&other.timing),
            other: Some(Other {
                change,
                digest: other.digest,
                places: self.groups.iter().map(place).collect(),
                count: other.groups.len(),
                members: (other.members.iter())
                    .map(|m| same(m).map(|(n, _)| n))
                    .collect(),
                names: (other.members.iter())
                    .map(|m| named(m).map(|(n, _)| n))
                    .collect(),
                majority: was_other.then(|| other.majority()),
                electorates,
            }),
            // Between two rules nobody holds alone.
            arbitration: match was_other {
                true => Arbitration::Majority,
                false => self.arbitration,
            },
            ..self.clone()
        }
    }

    /// R-22: by whose votes this member may hold, in words that mean the same to later incarnations:
    /// their members' names and roles, and arbitration. It is two until a change of them is settled.
    #[must_use]
    pub fn electorates(&self) -> Vec<u64> {
        let both = match (&self.other, self.change()) {
            (Some(other), Change::From(_)) => other.electorates,
            (Some(other), _) => [other.electorates[0]; 2],
            (None, _) => [self.electorate(); 2],
        };
        let mut all = Vec::from(both);
        all.dedup();
        all
    }

    /// R-22: how many of the members of both configurations it takes as well to hold by this one.
    pub(crate) fn also_majority(&self) -> Option<usize> {
        self.other.as_ref().and_then(|other| other.majority)
    }

    /// R-22: with the next step other members are to decide, or by another rule.
    #[must_use]
    pub fn comes_to_others(&self) -> bool {
        let differ = |other: &Other| other.electorates[0] != other.electorates[1];
        matches!(self.change(), Change::Toward(_)) && self.other.as_ref().is_some_and(differ)
    }

    /// R-22: the member is in the configuration that is changed to, or from, as well.
    pub(crate) fn is_in_both(&self, member: MemberId) -> bool {
        let other = self.other.as_ref();
        other.is_none_or(|other| other.members.contains(&Some(member)))
    }

    /// R-0, R-22: an advert that rests on this configuration or on its neighbour.
    pub(crate) fn accepts(&self, advert: &Advert) -> bool {
        if advert.config == self.digest {
            return true;
        }
        self.other.as_ref().is_some_and(|other| {
            advert.config == other.digest
                && match other.change {
                    Change::None => false,
                    Change::Toward(_) => true,
                    Change::From(_) => advert.change == Change::Toward(self.digest),
                }
        })
    }

    /// R-0, R-22: which member a stranger is that has this number, as far as is known: a neighbour's by
    /// its name.
    pub(crate) fn stranger(&self, advert: &Advert) -> MemberId {
        let other = self.other.as_ref().filter(|o| o.digest == advert.config);
        let named = other.and_then(|o| o.names.get(usize::from(advert.from.0)));
        named.copied().flatten().unwrap_or(advert.from)
    }

    /// R-22: the sender of an accepted advert is as far as this member, or further; and it votes, if
    /// other members are to decide.
    pub(crate) fn is_followed_by(&self, advert: &Advert) -> bool {
        match self.change() {
            Change::None => false,
            Change::Toward(_) if self.comes_to_others() && advert.quarantined => false,
            Change::Toward(next) => {
                // Who is on the way from there to here would cross, and then refuse, this one.
                let crosses = advert.change == Change::Toward(self.digest);
                advert.config == next && !crosses || advert.change == Change::Toward(next)
            }
            Change::From(_) => advert.config == self.digest,
        }
    }

    /// R-0, R-1, R-22: the advert with our numbers of members and groups, or why this member may not
    /// accept it: numbers mean something only under the configuration of its sender.
    ///
    /// # Errors
    /// Why not.
    pub fn read<'a>(&self, advert: &'a Advert) -> Result<Cow<'a, Advert>, Reject> {
        if !self.accepts(advert) {
            let (from, digest) = (advert.from, advert.config);
            return Err(Reject::OtherConfig { from, digest });
        }
        let other = self.other.as_ref().filter(|_| advert.config != self.digest);
        let here = |member: MemberId| match other {
            None => self.member(member).map(|_| member),
            Some(other) => other.members.get(usize::from(member.0)).copied().flatten(),
        };
        let from = here(advert.from);
        if from == Some(self.me) || here(advert.to) != Some(self.me) {
            return Err(Reject::NotToMe);
        }
        let from = from.ok_or(Reject::UnknownMember)?;
        let count = other.map_or(self.groups.len(), |other| other.count);
        if advert.groups.len() != count {
            return Err(Reject::Malformed);
        }
        let Some(other) = other else {
            return Ok(Cow::Borrowed(advert));
        };
        let says = |place: &Option<usize>| -> Statement {
            let said = place.and_then(|place| advert.groups.get(place));
            said.copied().unwrap_or_default()
        };
        Ok(Cow::Owned(Advert {
            from,
            to: self.me,
            groups: other.places.iter().map(says).collect(), // candidates have the same numbers
            ..advert.clone()
        }))
    }

    /// The addresses that this one has and `next` has not, in groups of the same name.
    pub fn leaving<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = Prefix> + 'a {
        let stays = |g: &Group, p: &Prefix| {
            let there = next.groups.iter().find(|o| o.name == g.name);
            there.is_some_and(|o| o.addresses.iter().any(|a| a.address == p.address))
        };
        self.groups.iter().flat_map(move |g| {
            let all = g.addresses.iter();
            all.filter(move |p| !stays(g, p)).copied()
        })
    }
}

//! What must be true of the world: S1 to S6 and L1 to L5, and what must happen sometimes, so that
//! none of them holds only because nothing happens.
//!
//! Stated over what is true of kernels and processes, never over what a node believes.

use crate::events::Events;
use crate::liveness::Liveness;
use onehold_core::advert::{Incarnation, MemberId};
use onehold_core::config::{Arbitration, Config};
use onehold_core::observe::RoleName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most members in a world that counts: bit MAX·from + to of a set of links is one of them.
pub const MAX: usize = 5;

/// Bit PROBES + m of a set of links: what m asks of the network is not answered.
pub const PROBES: usize = MAX * MAX;

/// What is true of a member: of its process, kernel, service and operator. Of its own say only the
/// role, for people, and what binds it: quarantine, vote, and another's `freeze`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Its process runs, is paused, or is dead.
    pub process: Liveness,
    /// Its kernel answers for the address.
    pub effective: bool,
    /// A release waits for its kernel.
    pub releasing: bool,
    /// What must be done before its gate opens is not done yet.
    pub preparing: bool,
    /// Its timer is due.
    pub due: bool,
    /// Its role.
    pub role: Option<RoleName>,
    /// It is in quarantine.
    pub quarantined: bool,
    /// The member that its live vote is bound to, and which incarnation of it.
    pub vote: Option<(MemberId, Incarnation)>,
    /// Its kernel could serve.
    pub eligible: bool,
    /// Its service is healthy.
    pub healthy: bool,
    /// Its operator lets it hold.
    pub wanted: bool,
    /// `freeze` was said here, or on the other candidate as far as it has heard so.
    pub frozen: bool,
    /// it may take the next step of a change.
    pub may_step: bool,
    /// its configuration is being changed.
    pub changes: bool,
    /// it has the second file, or changes to it.
    pub second_file: bool,
    /// it is a member of one of the two files only.
    pub fixed: bool,
    /// How many times it has started.
    pub lives: u8,
    /// Its present incarnation, or the latest.
    pub incarnation: Incarnation,
}

/// A moment of any world, and what led to it.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The cluster, as each member sees it.
    pub configs: &'a [Config],
    /// What is true of every member.
    pub facts: &'a [Facts],
    /// What was reported in the step that led here; none at the beginning.
    pub events: Events,
    /// Which member reported it.
    pub member: u8,
    /// What has been counted.
    pub past: Past,
}

/// What a world has counted; nothing where it does not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Past {
    /// The bound after the last fault has passed.
    pub bound: bool,
    /// The links that are cut now: bit MAX·from + to.
    pub cut: u32,
    /// Ports may go down, and their members can see that.
    pub ports: bool,
    /// What members ask of the network is answered, where that is not cut.
    pub probes: bool,
    /// Two have been effective for longer than the bound.
    pub long_overlap: bool,
    /// An outage is going on.
    pub outage: bool,
    /// It has lasted as long as the bound.
    pub longest_outage: bool,
    /// Every advert that may be lost is lost.
    pub last_loss: bool,
}

/// A name that is written in the code.
type Name = &'static str;

/// Which property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PropertyId {
    /// Never two (`majority`).
    S1,
    /// Not two for long (`majority`, where a clock stood still).
    #[serde(rename = "S1 again")]
    S1Again,
    /// Never two (`survivor`).
    S2,
    /// Never two for long (`survivor`).
    #[serde(rename = "S2 brief")]
    S2Brief,
    /// A majority of votes is bound.
    S3,
    /// A holder's own vote is free.
    S4,
    /// Failback goes to a candidate that can hold.
    S5,
    /// Nothing answers that is not prepared.
    S6,
    /// Another candidate takes over.
    L1,
    /// One holds after the last fault.
    L2,
    /// The preferred candidate does.
    L3,
    /// And then nothing changes.
    #[serde(rename = "L3 once")]
    L3Once,
    /// The holder changes only if somebody means it to.
    L4,
    /// No outage is longer than the bound.
    L5,
    /// Another holder is claimed only if there is one.
    #[serde(rename = "R-15")]
    R15,
    /// Nobody takes its clock for one that went back or stood still.
    #[serde(rename = "R-21")]
    R21,
    /// A frozen group moves only if somebody means it to, or something fails.
    #[serde(rename = "R-12 frozen")]
    Frozen,
    /// A process that is told to stop ends.
    #[serde(rename = "stop ends")]
    StopEnds,
    /// Files change, and everybody goes along.
    #[serde(rename = "R-22")]
    R22,
    /// No process ends by itself.
    #[serde(rename = "no panic")]
    NoPanic,
    /// What a scenario's author expects besides.
    #[serde(rename = "expected")]
    Expected,
    /// What must happen sometimes.
    #[serde(skip)]
    Sometimes(Name),
}

impl PropertyId {
    /// `S1` and so on; for what must happen sometimes, its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::S1 => "S1",
            Self::S1Again => "S1 again",
            Self::S2 => "S2",
            Self::S2Brief => "S2 brief",
            Self::S3 => "S3",
            Self::S4 => "S4",
            Self::S5 => "S5",
            Self::S6 => "S6",
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::L3Once => "L3 once",
            Self::L4 => "L4",
            Self::L5 => "L5",
            Self::R15 => "R-15",
            Self::R21 => "R-21",
            Self::Frozen => "R-12 frozen",
            Self::StopEnds => "stop ends",
            Self::R22 => "R-22",
            Self::NoPanic => "no panic",
            Self::Expected => "expected",
            Self::Sometimes(what) => what,
        }
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A property.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Which.
    pub id: PropertyId,
    /// What it says.
    pub says: &'static str,
    /// When it is asked.
    pub when: When,
    /// What must be true.
    pub holds: fn(&Moment<'_>) -> bool,
}

/// When a property must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At every moment.
    Always,
    /// In every step, for it looks at what was reported.
    AlwaysStep,
    /// At one moment at least.
    Sometimes,
    /// In one step at least.
    SometimesStep,
}

impl When {
    /// It must hold everywhere.
    #[must_use]
    pub const fn is_always(self) -> bool {
        matches!(self, Self::Always | Self::AlwaysStep)
    }
}

impl Property {
    const fn new(
        id: PropertyId,
        when: When,
        says: &'static str,
        holds: fn(&Moment<'_>) -> bool,
    ) -> Self {
        Self {
            id,
            says,
            when,
            holds,
        }
    }
}

const fn always(id: PropertyId, says: &'static str, holds: fn(&Moment<'_>) -> bool) -> Property {
    Property::new(id, When::Always, says, holds)
}

const fn sometimes(
    name: &'static str,
    says: &'static str,
    holds: fn(&Moment<'_>) -> bool,
) -> Property {
    Property::new(PropertyId::Sometimes(name), When::Sometimes, says, holds)
}

/// Something that a member must report in one step at least.
#[must_use]
pub const fn sometimes_reported(
    name: &'static str,
    says: &'static str,
    holds: fn(&Moment<'_>) -> bool,
) -> Property {
    let id = PropertyId::Sometimes(name);
    Property::new(id, When::SometimesStep, says, holds)
}

/// S1.
pub const S1: Property = always(
    PropertyId::S1,
    "at most one address is effective",
    at_most_one,
);
/// S1, where it is not promised: a clock stands still.
pub const S1_AGAIN: Property = always(
    PropertyId::S1Again,
    "soon after a machine stood still together with its clock, at most one address is effective",
    |m| !m.past.bound || at_most_one(m),
);
/// Its companion.
pub const TWO: Property = sometimes("two", "two addresses are effective", |m| !at_most_one(m));
/// S2.
pub const S2: Property = always(
    PropertyId::S2,
    "at most one address is effective (survivor, under its assumptions)",
    at_most_one,
);
/// S2 where no advert passes, and the network is asked.
pub const S2_BRIEF: Property = always(
    PropertyId::S2Brief,
    "two addresses are effective for no longer than the bound (survivor, where only probes pass)",
    |m| !m.past.long_overlap,
);
/// Its companion.
pub const OVERLAP: Property = sometimes("overlap", "two are effective", |m| !at_most_one(m));
/// S3.
pub const S3: Property = always(
    PropertyId::S3,
    "while an address is effective, no majority is free to vote for another",
    votes_stand,
);
/// S4.
pub const S4: Property = always(
    PropertyId::S4,
    "nobody whose address is effective has bound its vote to another",
    own_vote_is_free,
);
/// S5.
pub const S5: Property = Property {
    id: PropertyId::S5,
    says: "a holder lets go for failback only to a peer that can hold, or has died since it said so",
    when: When::AlwaysStep,
    holds: failback_to_a_ready_one,
};
/// S6.
pub const S6: Property = always(
    PropertyId::S6,
    "no address is effective before what must be done first is done",
    |m| m.facts.iter().all(|f| !f.effective || !f.preparing),
);
/// R-12, while `freeze` is in force.
pub const FROZEN: Property = Property {
    id: PropertyId::Frozen,
    says: "a frozen holder lets go neither for failback nor for a sick service",
    when: When::AlwaysStep,
    holds: |m| {
        let of = &m.facts[usize::from(m.member)];
        let reported = |name| m.events.has(Events::of(name));
        let sick = reported("unhealthy") || reported("unready") && of.eligible;
        !of.frozen || !reported("failback") && !sick
    },
};
/// Its companion.
pub const FROZEN_SICK: Property = sometimes(
    "frozen and sick",
    "a sick one that is frozen holds beside one that is well",
    |m| {
        let stays = |f: &Facts| f.effective && f.frozen && !f.healthy && f.eligible;
        let well = |f: &Facts| f.role == Some(RoleName::Standby) && f.healthy && !f.quarantined;
        m.facts.iter().any(stays) && m.facts.iter().any(well)
    },
);
/// R-15's alarm.
pub const ALARM: Property = Property {
    id: PropertyId::R15,
    says: "no holder claims another one, for there never is one (majority)",
    when: When::AlwaysStep,
    holds: |m| !m.events.has(Events::of("two in sight")),
};
/// R-21, where clocks go on and keep to their rates.
pub const CLOCK: Property = Property {
    id: PropertyId::R21,
    says: "nobody takes its clock for one that went back or stood still, for none does",
    when: When::AlwaysStep,
    holds: |m| {
        !m.events.has(Events::of("outvoted")) && !m.events.has(Events::of("clock went back"))
    },
};
/// L1.
pub const L1: Property = always(
    PropertyId::L1,
    "within the bound after the last death, one holds if anybody can, and nobody otherwise",
    one_holds_when_quiet,
);
/// L2.
pub const L2: Property = always(
    PropertyId::L2,
    "within the bound after the last fault, one holds if anybody can, and nobody otherwise",
    one_holds_when_quiet,
);
/// L3.
pub const L3: Property = always(
    PropertyId::L3,
    "within the bound after the last fault, the preferred one holds if it can",
    preferred_holds_when_quiet,
);
/// No ping-pong: L3's other half.
pub const PING: Property = Property {
    id: PropertyId::L3Once,
    says: "past the bound after the last fault no role changes",
    when: When::AlwaysStep,
    holds: |m| !m.past.bound || (L4.holds)(m),
};
/// L4.
pub const L4: Property = Property {
    id: PropertyId::L4,
    says: "no role changes",
    when: When::AlwaysStep,
    holds: |m| {
        let moves = Events::of("takes hold").0 | Events::of("lets go").0;
        m.events.0 & moves == 0
    },
};
///
pub const CHANGED: Property = always(
    PropertyId::R22,
    "within the bound after the last reload, who all have the same file have it in force, and no other",
    |m| !m.past.bound || !all_have_one_file(m) || m.facts.iter().all(|f| !f.changes),
);
/// Its companion.
pub const ALL_CHANGED: Property = sometimes(
    "all changed",
    "all have the second file in force, and one is effective",
    |m| {
        let new = |f: &Facts| f.fixed || f.second_file && !f.changes;
        m.facts.iter().all(new) && m.facts.iter().any(|f| f.effective)
    },
);
/// L5.
pub const L5: Property = always(
    PropertyId::L5,
    "the address is never without a holder for as long as the bound",
    |m| !m.past.longest_outage,
);

/// The companion of L1 to L3.
pub const SETTLED: Property = sometimes("settled", "past the bound, one is effective", |m| {
    m.past.bound && m.facts.iter().any(|f| f.effective)
});
/// The companion of L5.
pub const OUTAGE: Property = sometimes("outage", "nobody is effective", |m| m.past.outage);
/// As many adverts are lost as may be.
pub const ALL_LOST: Property = sometimes(
    "all lost",
    "the last advert that may be lost is lost",
    |m| m.past.last_loss,
);

fn at_most_one(m: &Moment<'_>) -> bool {
    m.facts.iter().filter(|f| f.effective).count() <= 1
}

fn all_have_one_file(m: &Moment<'_>) -> bool {
    let members = || m.facts.iter().filter(|f| !f.fixed);
    let is = |second| members().all(|f| f.process == Liveness::Up && f.second_file == second);
    is(true) || is(false)
}

fn majority(m: &Moment<'_>) -> usize {
    m.configs[0].majority()
}

fn is_candidate(m: &Moment<'_>, member: u8) -> bool {
    m.configs[0].is_candidate(MemberId(member))
}

fn votes_stand(m: &Moment<'_>) -> bool {
    (0u8..).zip(m.facts).all(|(holder, of)| {
        let life = (MemberId(holder), of.incarnation);
        let not_free = |(voter, f): &(u8, &Facts)| {
            *voter == holder || f.process == Liveness::Down || f.quarantined || f.vote == Some(life)
        };
        !of.effective || (0u8..).zip(m.facts).filter(not_free).count() >= majority(m)
    })
}

fn own_vote_is_free(m: &Moment<'_>) -> bool {
    m.facts.iter().all(|f| !f.effective || f.vote.is_none())
}

fn failback_to_a_ready_one(m: &Moment<'_>) -> bool {
    if !m.events.has(Events::of("failback")) {
        return true;
    }
    (0u8..).zip(m.facts).any(|(peer, f)| {
        let died = f.process == Liveness::Down || f.quarantined;
        peer != m.member && is_candidate(m, peer) && (died || f.eligible && f.wanted)
    })
}

fn a_port_is_down(m: &Moment<'_>) -> bool {
    m.past.ports && m.facts.iter().any(|f| !f.eligible)
}

/// Whether both directions between two members work.
const fn connected(m: &Moment<'_>, a: usize, b: usize) -> bool {
    m.past.cut & (1 << (a * MAX + b) | 1 << (b * MAX + a)) == 0
}

/// Whether what a candidate of two asks of the network is answered.
fn asks(m: &Moment<'_>) -> bool {
    let answered = |member: usize| m.past.cut & (1 << (PROBES + member)) == 0;
    m.past.probes && (0..2).any(answered)
}

/// Whether a candidate could hold for good: it is up, may, and reaches a majority both ways.
fn can_hold(m: &Moment<'_>, c: usize) -> bool {
    let of = &m.facts[c];
    let reached = (0..m.facts.len())
        .filter(|v| m.facts[*v].process == Liveness::Up && (*v == c || connected(m, c, *v)))
        .count();
    let member = u8::try_from(c).expect("few");
    of.process == Liveness::Up
        && is_candidate(m, member)
        && of.eligible
        && of.wanted
        && (reached >= majority(m) || m.configs[0].arbitration() == Arbitration::Survivor)
}

fn one_holds_when_quiet(m: &Moment<'_>) -> bool {
    let alone = m.configs[0].arbitration() == Arbitration::Survivor;
    // Two alone that don't hear each other both hold, unless one of them can see that it is cut
    // off, or the network answers one of them.
    let apart = !connected(m, 0, 1) && !a_port_is_down(m) && !asks(m);
    if !m.past.bound || alone && apart {
        return true;
    }
    let anybody = (0..m.facts.len()).any(|c| can_hold(m, c));
    let effective = m.facts.iter().filter(|f| f.effective).count();
    effective == usize::from(anybody)
}

fn preferred_holds_when_quiet(m: &Moment<'_>) -> bool {
    let group = &m.configs[0].groups()[0];
    let preferred = usize::from(group.preferred.0);
    let can = can_hold(m, preferred) && m.facts[preferred].healthy;
    !m.past.bound || !can || m.facts[preferred].effective
}

//! What must be true of the world: S1 to S5 and L1 to L5, and what must happen sometimes, so that none
//! of them holds only because nothing happens.
//!
//! Stated over what is true of kernels and processes, never over what a node believes.

use crate::liveness::Liveness;
use crate::world::{Events, Facts, MAX, Rest, Setup, incarnation};
use onehold_core::advert::MemberId;
use onehold_core::config::Arbitration;

/// A moment, and what led to it.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The configuration.
    pub setup: &'a Setup,
    /// What is true of every member.
    pub facts: &'a [Facts],
    /// The rest of the world.
    pub rest: Rest,
    /// What was reported in the step that led here; none at the beginning.
    pub events: Events,
    /// By whom.
    pub member: u8,
}

/// A property.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// `S1` and so on; for what must happen sometimes, what that is.
    pub name: &'static str,
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
    /// In every step: it looks at what was reported.
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

const fn always(
    name: &'static str,
    says: &'static str,
    holds: fn(&Moment<'_>) -> bool,
) -> Property {
    let when = When::Always;
    Property {
        name,
        says,
        when,
        holds,
    }
}

const fn sometimes(
    name: &'static str,
    says: &'static str,
    holds: fn(&Moment<'_>) -> bool,
) -> Property {
    let when = When::Sometimes;
    Property {
        name,
        says,
        when,
        holds,
    }
}

/// Something that a member must report in one step at least.
#[must_use]
pub const fn sometimes_reported(
    name: &'static str,
    says: &'static str,
    holds: fn(&Moment<'_>) -> bool,
) -> Property {
    Property {
        name,
        says,
        when: When::SometimesStep,
        holds,
    }
}

/// S1.
pub const S1: Property = always("S1", "at most one address is effective", at_most_one);
/// S2.
pub const S2: Property = always(
    "S2",
    "at most one address is effective (survivor, under its assumptions)",
    at_most_one,
);
/// S3.
pub const S3: Property = always(
    "S3",
    "while an address is effective, no majority is free to vote for another",
    votes_stand,
);
/// S4.
pub const S4: Property = always(
    "S4",
    "nobody whose address is effective has bound its vote to another",
    own_vote_is_free,
);
/// S5.
pub const S5: Property = Property {
    name: "S5",
    says: "a holder lets go for failback only to a peer that can hold, or has died since it said so",
    when: When::AlwaysStep,
    holds: failback_to_a_ready_one,
};
/// L1.
pub const L1: Property = always(
    "L1",
    "within the bound after the last death, one holds if anybody can, and nobody otherwise",
    one_holds_when_quiet,
);
/// L2.
pub const L2: Property = always(
    "L2",
    "within the bound after the last fault, one holds if anybody can, and nobody otherwise",
    one_holds_when_quiet,
);
/// L3.
pub const L3: Property = always(
    "L3",
    "within the bound after the last fault, the preferred one holds if it can",
    preferred_holds_when_quiet,
);
/// No ping-pong: L3's other half.
pub const PING: Property = Property {
    name: "L3 once",
    says: "past the bound after the last fault no role changes",
    when: When::AlwaysStep,
    holds: |m| !is_quiet(m) || (L4.holds)(m),
};
/// L4.
pub const L4: Property = Property {
    name: "L4",
    says: "no role changes",
    when: When::AlwaysStep,
    holds: |m| {
        let moves = Events::of("takes hold").0 | Events::of("lets go").0;
        m.events.0 & moves == 0
    },
};
/// L5.
pub const L5: Property = always(
    "L5",
    "the address is never without a holder for as long as the bound",
    |m| m.setup.adversary.darkness == 0 || m.rest.dark < m.setup.adversary.darkness,
);

/// The companion of L1 to L3.
pub const SETTLED: Property = sometimes("settled", "past the bound, one is effective", |m| {
    is_quiet(m) && m.facts.iter().any(|f| f.effective)
});
/// The companion of L5.
pub const DARK: Property = sometimes("dark", "nobody is effective", |m| m.rest.dark > 0);
/// As many adverts are lost as may be.
pub const ALL_LOST: Property = sometimes(
    "all lost",
    "the last advert that may be lost is lost",
    |m| m.rest.losses == 0,
);

fn at_most_one(m: &Moment<'_>) -> bool {
    m.facts.iter().filter(|f| f.effective).count() <= 1
}

fn majority(setup: &Setup) -> usize {
    setup.seats[0].majority()
}

fn votes_stand(m: &Moment<'_>) -> bool {
    (0u8..).zip(m.facts).all(|(holder, of)| {
        let life = (MemberId(holder), incarnation(MemberId(holder), of.life));
        let not_free = |(voter, f): &(u8, &Facts)| {
            *voter == holder || f.process == Liveness::Down || f.quarantined || f.vote == Some(life)
        };
        !of.effective || (0u8..).zip(m.facts).filter(not_free).count() >= majority(m.setup)
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
        peer != m.member && m.setup.is_candidate(peer) && (died || f.eligible && f.wanted)
    })
}

fn a_port_is_down(m: &Moment<'_>) -> bool {
    m.setup.adversary.has_ports() && m.facts.iter().any(|f| !f.eligible)
}

/// Whether both directions between two members work.
fn connected(m: &Moment<'_>, a: usize, b: usize) -> bool {
    let Some(settled) = usize::from(m.rest.settled).checked_sub(1) else {
        return true;
    };
    let cuts = m.setup.adversary.cuts[settled];
    cuts & (1 << (a * MAX + b) | 1 << (b * MAX + a)) == 0
}

/// Whether a candidate could hold for good: it is up, may, and reaches a majority both ways.
fn can_hold(m: &Moment<'_>, c: usize) -> bool {
    let of = &m.facts[c];
    let reached = (0..m.facts.len())
        .filter(|v| m.facts[*v].process == Liveness::Up && (*v == c || connected(m, c, *v)))
        .count();
    let member = u8::try_from(c).expect("few");
    of.process == Liveness::Up
        && m.setup.is_candidate(member)
        && of.eligible
        && of.wanted
        && (reached >= majority(m.setup) || m.setup.seats[0].arbitration() == Arbitration::Survivor)
}

fn is_quiet(m: &Moment<'_>) -> bool {
    let bound = m.setup.adversary.patience;
    bound > 0 && m.rest.quiet >= bound
}

fn one_holds_when_quiet(m: &Moment<'_>) -> bool {
    let alone = m.setup.seats[0].arbitration() == Arbitration::Survivor;
    // Two alone that don't hear each other both hold, unless one can see that it is the one cut off.
    if !is_quiet(m) || alone && !connected(m, 0, 1) && !a_port_is_down(m) {
        return true;
    }
    let anybody = (0..m.facts.len()).any(|c| can_hold(m, c));
    let effective = m.facts.iter().filter(|f| f.effective).count();
    effective == usize::from(anybody)
}

fn preferred_holds_when_quiet(m: &Moment<'_>) -> bool {
    let group = &m.setup.seats[0].groups()[0];
    let preferred = usize::from(group.preferred.0);
    let can = can_hold(m, preferred) && m.facts[preferred].healthy;
    !is_quiet(m) || !can || m.facts[preferred].effective
}

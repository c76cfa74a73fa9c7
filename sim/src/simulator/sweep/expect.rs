//! What is expected of a seed's run: its scenario says so itself, and `cargo lab sim` asks it.

use super::draw::{Draw, Promise, Stays, span};
use super::incidents::Incident;
use crate::properties::PropertyId;
use crate::simulator::file::ExpectSection;

/// All of it, with these of its incidents.
pub(super) fn of(draw: &Draw, incidents: &[Incident]) -> Vec<ExpectSection> {
    let settled = draw.calm + draw.bound;
    let mut all = Vec::new();
    for group in &draw.cluster.groups {
        let mut expect = |property, what: ExpectSection| {
            all.push(ExpectSection {
                group: Some(group.name.to_owned()),
                property: Some(property),
                ..what
            });
        };
        let holder = |name: &str| ExpectSection {
            at: Some(span(draw.calm)),
            within: Some(span(draw.bound)),
            holder: Some(name.to_owned()),
            ..ExpectSection::default()
        };
        expect(PropertyId::L2, holder("anybody"));
        if group.returns && draw.stays.leaves(group.preferred) {
            expect(PropertyId::L3, holder(group.preferred));
        }
        let steady = ExpectSection {
            from: Some(span(settled)),
            no_role_change: Some(true),
            ..ExpectSection::default()
        };
        expect(PropertyId::L3Once, steady);
        if draw.cluster.promise == Promise::Steady {
            // When the faults stop, the operators' wishes do, too.
            let moves = incidents.iter().flat_map(|i| &i.moves);
            let meant = ExpectSection {
                from: Some(span(draw.bound)),
                until: Some(span(draw.calm)),
                no_role_change: Some(true),
                moves: moves
                    .map(|(from, until)| (span(*from), span(*until)))
                    .collect(),
                ..ExpectSection::default()
            };
            expect(PropertyId::L4, meant);
            let outage = ExpectSection {
                from: Some(span(draw.bound)),
                dark_at_most: Some(span(draw.cluster.handed_over_within())),
                ..ExpectSection::default()
            };
            expect(PropertyId::L5, outage);
        }
    }
    all
}

impl Stays {
    /// Whether the preferred one can still get it back: one that is down, sick, or that somebody can't reach
    /// need not.
    fn leaves(&self, preferred: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::Down(name) => *name != preferred,
            Self::Cut(links) => ![&links.from, &links.to]
                .into_iter()
                .flatten()
                .any(|end| end == preferred),
            Self::Sick => false,
        }
    }
}

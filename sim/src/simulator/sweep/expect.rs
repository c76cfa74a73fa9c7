//! What is expected of a seed's run: its scenario says so itself, and `cargo lab sim` checks it.

use super::draw::{Draw, Stays};
use crate::properties::PropertyId;
use crate::simulator::file::{ExpectSection, Expected, When};
use crate::simulator::incidents::Incident;
use crate::simulator::incidents::cluster::{Promise, span};

/// All of it, with these of its incidents.
pub(super) fn of(draw: &Draw, incidents: &[Incident]) -> Vec<ExpectSection> {
    let [start, bound, calm, settled] = [
        draw.begun_within(),
        draw.bound,
        draw.calm,
        draw.calm + draw.bound,
    ]
    .map(span);
    let mut all = Vec::new();
    for group in &draw.cluster.groups {
        let mut expect = |property, when, what| {
            all.push(ExpectSection {
                when,
                group: Some(group.name.to_owned()),
                address: None,
                property: Some(property),
                what,
            });
        };
        let by_then = When {
            at: Some(calm),
            within: Some(bound),
            ..When::default()
        };
        let from = |from| When {
            from: Some(from),
            ..When::default()
        };
        let holder = |name: &str| Expected::Holder(name.to_owned());
        expect(PropertyId::L2, by_then, holder("anybody"));
        if group.returns && draw.stays.leaves(group.preferred) && !draw.lets_go {
            expect(PropertyId::L3, by_then, holder(group.preferred));
        }
        expect(
            PropertyId::L3Once,
            from(settled),
            Expected::MovesOnly(Vec::new()),
        );
        if draw.cluster.promise == Promise::Steady {
            // When the faults stop, the operators' orders are taken back, too.
            let steady = When {
                until: Some(calm),
                ..from(start)
            };
            let moves = incidents.iter().flat_map(|i| &i.moves);
            let moves = moves.map(|(from, until)| (span(*from), span(*until)));
            expect(PropertyId::L4, steady, Expected::MovesOnly(moves.collect()));
            let most = span(draw.cluster.handed_over_within());
            expect(PropertyId::L5, from(start), Expected::OutageAtMost(most));
        }
    }
    all
}

impl Stays {
    /// Whether the preferred candidate must still get its group back: not if it is down or sick, or
    /// if a member can't reach it.
    fn leaves(&self, preferred: &str) -> bool {
        match self {
            Self::Nothing | Self::Partly { frames: false } => true,
            // Nobody hands over to one that is not heard.
            Self::Partly { frames: true } => false,
            Self::Down(name) => *name != preferred,
            Self::Cut(links) => ![&links.from, &links.to]
                .into_iter()
                .flatten()
                .any(|end| end == preferred),
            Self::Sick => false,
        }
    }
}

//! Members and adverts kept as they are.

use super::member::{advert_aged, as_sent, is_answer};
use super::{Changed, Ending, MemberState, NOW, Parts, Setup, Stimulus, World};
use crate::properties::Facts;
use onehold_core::advert::{Advert, Incarnation};
use std::sync::Arc;

/// Members and adverts as they are: nothing is remembered, every turn is taken by the node itself.
#[derive(Clone, Debug)]
pub struct Direct(pub Setup);

/// A member and what is true of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    /// The member.
    pub member: MemberState,
    facts: Facts,
}

impl Parts for Direct {
    type Member = Arc<Known>;
    type Advert = Arc<Advert>;

    fn setup(&self) -> &Setup {
        &self.0
    }

    fn member(&self, member: MemberState) -> Self::Member {
        let facts = member.facts(&self.0, NOW);
        Arc::new(Known { member, facts })
    }

    fn facts(&self, member: &Self::Member) -> Facts {
        member.facts
    }

    fn change(
        &self,
        member: &Self::Member,
        stimulus: &Stimulus<&Self::Advert>,
        ending: Ending,
    ) -> Option<Changed<Self::Member, Self::Advert>> {
        let stimulus = stimulus.map(|advert| &**advert);
        let turn = member.member.change(&self.0, NOW, &stimulus, ending)?;
        Some(turn.map(|m| self.member(m), |a| Arc::new(as_sent(*a))))
    }

    fn aged(&self, member: &Self::Member, beginning: u8) -> Self::Member {
        let rates = self.0.ticks(beginning);
        self.member(member.member.aged(&self.0, rates, 1))
    }

    fn advert_aged(&self, advert: &Self::Advert, beginning: u8) -> Self::Advert {
        let rates = self.0.ticks(beginning);
        Arc::new(advert_aged(&self.0, advert, rates, 1))
    }

    fn life(&self, advert: &Self::Advert) -> Incarnation {
        advert.incarnation
    }

    fn is_answer(&self, advert: &Self::Advert) -> bool {
        is_answer(advert)
    }
}

impl World<Arc<Known>, Arc<Advert>> {
    /// The same with nothing kept of the past but what a rule may look at.
    #[must_use]
    pub fn forgetting(&self, direct: &Direct) -> Self {
        let rates = direct.0.ticks(self.rest.beginning);
        let member = |m: &Arc<Known>| direct.member(m.member.aged(&direct.0, rates, 0));
        let advert = |a: &Arc<Advert>| Arc::new(advert_aged(&direct.0, a, rates, 0));
        Self {
            members: self.members.iter().map(member).collect(),
            links: self
                .links
                .iter()
                .map(|l| l.iter().map(advert).collect())
                .collect(),
            rest: self.rest,
        }
    }
}

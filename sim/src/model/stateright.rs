//! The same world as a model for stateright: its search gives a second verdict, and its
//! Explorer walks it by hand.

use super::moments::Moments;
use crate::model::world::{Action, Direct, Done, Of, Setup, World};
use crate::properties::{Property, When};
use stateright::{Checker, HasDiscoveries, Model};
use std::sync::Arc;

/// Up to so many worlds it goes depth first, which is faster. But then each world that waits has the
/// whole way to it, and ways get long: 2.5 million worlds took more than 24 GB.
const DEPTH_FIRST: u64 = 2_000_000;

/// A world as it is.
type Plain = Of<Direct>;

/// What may happen next, and the world that it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    action: Action,
    to: Arc<Plain>,
}

/// A configuration as stateright sees it. Nothing is remembered between turns, and worlds are
/// compared by 64-bit fingerprints.
pub struct Proof {
    parts: Direct,
    properties: Vec<Property>,
}

/// What stateright found.
#[derive(Clone, Debug)]
pub struct Second {
    /// Different worlds.
    pub unique: u64,
    /// The properties (of moments, not of steps) that it found broken.
    pub broken: Vec<&'static str>,
}

impl Second {
    fn of(checker: &impl Checker<Proof>) -> Self {
        Self {
            unique: checker.unique_state_count() as u64,
            broken: checker.discoveries().into_keys().collect(),
        }
    }
}

impl Proof {
    /// The model of a configuration with those of its properties that speak of moments.
    #[must_use]
    pub fn new(setup: Setup, properties: &[Property]) -> Self {
        let of_moments = properties.iter().filter(|p| p.when == When::Always);
        Self {
            parts: Direct(setup),
            properties: of_moments.copied().collect(),
        }
    }

    /// Walks everything to the end, of which there are about so many worlds.
    #[must_use]
    pub fn search(self, threads: usize, worlds: u64) -> Second {
        let checker = self
            .checker()
            .threads(threads)
            .finish_when(HasDiscoveries::AllOf(["never"].into_iter().collect()));
        if worlds <= DEPTH_FIRST {
            Second::of(&checker.spawn_dfs().join())
        } else {
            Second::of(&checker.spawn_bfs().join())
        }
    }

    /// Serves the Explorer until the process ends.
    pub fn explore(self, address: &str) {
        self.checker().serve(address);
    }

    fn holds(&self, world: &Plain, property: usize) -> bool {
        let facts = world.facts(&self.parts);
        let moments = Moments::of(&self.parts.0);
        let moment = moments.at(&facts, &world.rest, Done::default());
        self.properties
            .get(property)
            .is_none_or(|p| (p.holds)(&moment))
    }
}

/// stateright wants plain functions, which can't know which property they are for.
fn nth<const N: usize>(proof: &Proof, world: &Arc<Plain>) -> bool {
    proof.holds(world, N)
}

const NTH: [fn(&Proof, &Arc<Plain>) -> bool; 8] = [
    nth::<0>, nth::<1>, nth::<2>, nth::<3>, nth::<4>, nth::<5>, nth::<6>, nth::<7>,
];

impl Model for Proof {
    type State = Arc<Plain>;
    type Action = Step;

    fn init_states(&self) -> Vec<Self::State> {
        let beginnings = World::beginnings(&self.parts);
        beginnings.into_iter().map(Arc::new).collect()
    }

    fn actions(&self, state: &Self::State, steps: &mut Vec<Step>) {
        state.expand(&self.parts, &mut |action, to, _| {
            let to = Arc::new(to);
            steps.push(Step { action, to });
        });
    }

    fn next_state(&self, _: &Self::State, step: Step) -> Option<Self::State> {
        Some(step.to)
    }

    fn format_action(&self, step: &Step) -> String {
        format!("{:?}", step.action)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        let named = self.properties.iter().zip(NTH);
        let named = named.map(|(p, holds)| stateright::Property::always(p.id.name(), holds));
        // It ends when every property is decided: this one never is.
        named
            .chain([stateright::Property::always("everything", |_, _| true)])
            .collect()
    }
}

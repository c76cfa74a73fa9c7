//! A run as people read it: what happened, in order, and what was true after each step.
//!
//! Whoever runs a world (a search that found a counterexample, a simulation) tells a [`Story`];
//! whoever draws one (terminal, SVG, HTML) needs nothing else.

use crate::liveness::Liveness;
use serde::Serialize;

/// A run, told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Story {
    /// What this is, in one line.
    pub title: String,
    /// What one unit of [`Step::at`] is, such as `i` or `ms`.
    pub unit: String,
    /// The members' names: one lane each.
    pub members: Vec<String>,
    /// What happened.
    pub steps: Vec<Step>,
    /// The property that the last step broke, if one did.
    pub broken: Option<Broken>,
}

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// True time since the start.
    pub at: u64,
    /// In whose lane; `None` when only time passed or the network changed.
    pub member: Option<usize>,
    /// What happened, in a few words: `wakes`, `crashes after 2 effects`, `the cable a-b is cut`.
    /// Empty if `received` says it all. Not drawn when only time passed.
    pub what: String,
    /// It is a fault or somebody's command, and not the ordinary course of things.
    pub fault: bool,
    /// The advert that arrived.
    pub received: Option<Message>,
    /// The adverts that went out.
    pub sent: Vec<Message>,
    /// What the member reported, each with its rule: `standby → holder: a majority of votes (R-7)`.
    pub reports: Vec<String>,
    /// Every member, after this step.
    pub lanes: Vec<Lane>,
}

/// An advert on its way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The same for one advert where it is sent and wherever it arrives.
    pub id: u64,
    /// The sender's lane.
    pub from: usize,
    /// The receiver's lane.
    pub to: usize,
    /// What it says, shortly: `asks ready vote=a@3`.
    pub says: String,
}

/// A member at one moment. Times are in the story's unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// How its process is.
    pub process: Liveness,
    /// Its role as it believes: `holder`, `standby`, `releasing`, `witness`; empty if it is down.
    pub role: String,
    /// It is in quarantine.
    pub quarantined: bool,
    /// What is left of its lease as it believes.
    pub lease_left: Option<u64>,
    /// Its kernel answers for the address: the truth.
    pub effective: bool,
    /// For how long still, if nobody does anything.
    pub effective_left: u64,
    /// Whom its vote is bound to: the member's lane.
    pub vote: Option<usize>,
    /// For how long still.
    pub vote_left: u64,
}

/// What was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The property, such as `S1`.
    pub property: String,
    /// What it says, in words.
    pub says: String,
    /// It was to be expected under this configuration's assumptions: why.
    pub expected: Option<String>,
}

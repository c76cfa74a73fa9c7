//! The nodes go on in another program of this process: when that may be, and what it needs of the
//! driver.
//!
//! What it never does: wait for anything in a turn, or hand over what is under way.

use super::cooldowns::Cooldowns;
use super::history::Seen;
use super::notes::{self, Notes};
use super::openings::Openings;
use super::releases::Releases;
use super::{Driver, Served, Shell};
use crate::metrics::{self, Metrics};
use crate::status::FileOnDisk;
use crate::upgrade::{Ask, Offer, Proof, State, Take};
use onehold_core::Node;
use onehold_core::auth::Keys;
use onehold_core::config::Config;
use onehold_core::keyring::Keyring;
use onehold_core::observe::RoleName;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};

/// For how long a quiet moment is waited for.
const PATIENCE: Span = Span::from_millis(10_000);
/// How soon is looked for it again.
const AGAIN: Span = Span::from_millis(5);

/// What the driver remembers, for another program of this process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// In the order of the clusters.
    pub(crate) nodes: Vec<CarriedNode>,
    pub(crate) cooldowns: Cooldowns,
    pub(crate) openings: Openings,
    pub(crate) releases: Releases,
}

/// One cluster's node, and what is remembered beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CarriedNode {
    pub(crate) node: Node,
    pub(super) seen: Seen,
    pub(super) said_anew: bool,
    pub(super) notes: notes::Carried,
    pub(super) metrics: metrics::Carried,
}

/// Another program is to go on.
#[derive(Debug)]
pub(super) struct Upgrade {
    take: Take,
    until: LocalTime,
    /// When is looked again for a quiet moment.
    again: LocalTime,
    is_quiet: bool,
}

impl Upgrade {
    pub(super) const fn due(&self) -> LocalTime {
        self.again
    }
}

impl<S: Shell> Driver<S> {
    /// What an operator's client asks of it.
    pub(super) fn asked_to_go_on(&mut self, now: LocalTime, ask: Ask) {
        match ask {
            Ask::Show(tell) => {
                let _ = tell.send(self.state(now, Offer::default())); // the client may have gone
            }
            Ask::Take(take) if self.upgrade.is_some() => {
                take.client.refuse("another upgrade is under way");
            }
            Ask::Take(take) => {
                self.upgrade = Some(Upgrade {
                    take,
                    until: now.plus(PATIENCE),
                    again: now,
                    is_quiet: false,
                });
            }
        }
    }

    /// At the end of a turn: whether another program goes on from here.
    pub(super) fn is_to_go_on_elsewhere(&mut self) -> bool {
        let Some(mut upgrade) = self.upgrade.take() else {
            return false;
        };
        let now = self.shell.now();
        let waited_long = now.plus(PATIENCE.part(2)) >= upgrade.until;
        match self.is_quiet(now, waited_long) {
            Ok(()) => upgrade.is_quiet = true,
            Err(why) if now >= upgrade.until => {
                let why = format!("there was no quiet moment in {PATIENCE}: {why}");
                tracing::warn!(event = "upgrade", "not upgraded: {why}");
                upgrade.take.client.refuse(&why);
                return false;
            }
            Err(_) => upgrade.again = now.plus(AGAIN),
        }
        let is_quiet = upgrade.is_quiet;
        self.upgrade = Some(upgrade);
        is_quiet
    }

    /// The program that is to go on now.
    pub(crate) fn take_upgrade(&mut self) -> Option<Take> {
        let upgrade = self.upgrade.take_if(|upgrade| upgrade.is_quiet)?;
        Some(upgrade.take)
    }

    /// Goes on with what the driver of the former program of this process remembered.
    pub(crate) fn goes_on_with(&mut self, from: &Carried) {
        self.cooldowns.clone_from(&from.cooldowns);
        self.openings.clone_from(&from.openings);
        self.releases.clone_from(&from.releases);
    }

    /// Nothing is under way that would be lost or late, and most of every lease is left; or, where that
    /// was waited for in vain, more than half.
    fn is_quiet(&self, now: LocalTime, waited_long: bool) -> Result<(), String> {
        let is = |quiet: bool, why: &str| quiet.then_some(()).ok_or_else(|| why.to_owned());
        is(!self.stopping && !self.over, "the daemon stops")?;
        is(
            !self.releases.any_pends(),
            "the kernel has not confirmed a release",
        )?;
        is(!self.openings.any_waits(), "before_hold is not done")?;
        let written = self.recorder.as_ref().is_none_or(|r| r.is_written());
        is(written, "the trace is not written yet")?;
        self.served
            .iter()
            .try_for_each(|(_, s)| s.is_quiet(now, waited_long))?;
        self.shell.is_quiet()
    }

    /// Everything that another program of this process needs to go on.
    ///
    /// # Errors
    /// What of it can't be handed over now.
    pub(crate) fn state(&self, now: LocalTime, offer: Offer) -> Result<State, String> {
        let driver = Carried {
            nodes: self.served.iter().map(|(_, s)| s.carried()).collect(),
            cooldowns: self.cooldowns.clone(),
            openings: self.openings.clone(),
            releases: self.releases.clone(),
        };
        let world = self.shell.carried();
        let world = world.ok_or("this world does not go on elsewhere")?;
        State::of(now, offer, driver, world)
    }
}

impl Served {
    fn carried(&self) -> CarriedNode {
        CarriedNode {
            node: self.node.clone(),
            seen: self.seen.clone(),
            said_anew: self.said_anew,
            notes: self.notes.carried(),
            metrics: self.metrics.carried(),
        }
    }

    /// Goes on with the node of the former program of this process.
    pub(crate) fn goes_on(
        config: Config,
        keys: Keys,
        mut metrics: Metrics,
        now: LocalTime,
        from: CarriedNode,
    ) -> Self {
        metrics.goes_on(from.metrics);
        let incarnation = from.node.observe(&config, now).incarnation;
        Self {
            ordered: from.node.standing_orders().collect(),
            said_anew: from.said_anew,
            on_disk: (now, FileOnDisk::Same),
            due: None,
            look_at: None,
            active: false,
            leaves: false,
            overslept: None,
            doubted: from.node.doubts(),
            changing: None,
            config,
            keys,
            keyring: Keyring::default(),
            metrics,
            before_hold: Vec::new(),
            notes: Notes::going_on(now, incarnation, from.notes),
            seen: from.seen,
            node: from.node,
        }
    }

    fn is_quiet(&self, now: LocalTime, waited_long: bool) -> Result<(), String> {
        let name = &self.metrics.cluster;
        if self.leaves {
            return Err(format!("cluster {name} leaves"));
        }
        if self.changing.is_some() {
            return Err(format!("{name}: its configuration is being changed (R-22)"));
        }
        let all = self.node.observe(&self.config, now);
        if all.quarantine_left.is_some() {
            return Err(format!("{name}: in quarantine (R-9)"));
        }
        let lease = self.config.timing().lease();
        let least = match waited_long {
            false => lease.part(4).times(3),
            true => lease.part(2),
        };
        for g in &all.groups {
            let group = self.config.group_name(g.group);
            let why = match g.role {
                RoleName::Releasing => "it is being released",
                RoleName::Holder if g.yields => "it is being handed over",
                RoleName::Holder if !g.open => "its gate is not open yet",
                RoleName::Holder if g.lease_left.is_none_or(|left| left <= least) => {
                    "too little of its lease is left"
                }
                RoleName::Holder | RoleName::Standby | RoleName::Witness => continue,
            };
            return Err(format!("{group}: {why}"));
        }
        Ok(())
    }
}

impl Proof {
    /// What the nodes would do next, by this program.
    pub(crate) fn of_nodes<'a>(
        nodes: impl Iterator<Item = (&'a Node, &'a Config)>,
        digest: String,
    ) -> Self {
        use onehold_core::input::Input;
        use sha2::{Digest as _, Sha256};
        let (mut due, mut next) = (None::<LocalTime>, Sha256::new());
        for (node, config) in nodes {
            let (mut node, mut effects) = (node.clone(), Vec::new());
            let Some(at) = node.poll_timeout(config) else {
                continue;
            };
            due = Some(due.map_or(at, |due| due.min(at)));
            let _ = node.handle(config, at, Input::Wake, &mut effects); // no datagram
            // What serde makes of both is pinned by the traces.
            next.update(serde_json::to_vec(&(at, effects, node)).unwrap_or_default());
        }
        Self {
            digest,
            due,
            next: data_encoding::HEXLOWER.encode(&next.finalize()),
        }
    }
}

#[cfg(test)]
mod tests;

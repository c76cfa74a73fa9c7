//! The cluster's file changes while it runs: R-22, and its keys.

use super::story::File;
use super::{BOUND, PERIOD, Stage};
use crate::error::{Result, err};
use crate::machine::netns::SECOND;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// By how much the lease grows.
const LONGER: u32 = 2;
/// How long who has the second address is looked at, once that is as it should be.
const STAYS: Duration = Duration::from_millis(100);

impl Stage {
    /// Changes the file on all hosts, and waits until every member has it in force, and the second
    /// address is where it should be.
    ///
    /// # Errors
    /// If a member refuses it, that does not come, or two ever had the second address.
    pub(super) fn reload(&self, file: File) -> Result<()> {
        let before = self.cluster.settled_on()?;
        let setup = self.cluster.setup().clone();
        let (setup, holder) = match file {
            File::AsItWas => (setup, ""),
            File::TwoAddresses => (setup.also(&format!("{SECOND}/16")), "lb0"),
            File::LongLease => {
                let lease = self.cluster.status("lb0")?["timing"]["lease_ms"].as_f64();
                let lease = lease.ok_or_else(|| err("the daemon of lb0 names no lease"))?;
                let lease = Duration::from_secs_f64(lease / 1e3);
                (setup.lease(lease * LONGER), "")
            }
        };
        let second = self.cluster.observe(SECOND, PERIOD)?;
        let from = Instant::now();
        self.cluster.reload(&setup)?;
        let mut since = None;
        while since.is_none_or(|at: Instant| at.elapsed() < STAYS) {
            let settled = self.cluster.settled_on()?;
            let holders = second.holders().join("+");
            if settled.is_none() || settled == before || holders != holder {
                since = None;
            } else {
                since.get_or_insert_with(Instant::now);
            }
            if from.elapsed() > BOUND {
                let in_force = match settled {
                    None => "the new file is not in force on every member",
                    Some(_) => "the new file is in force",
                };
                let held = if holders.is_empty() {
                    "nobody"
                } else {
                    &holders
                };
                return Err(err(format!(
                    "after {BOUND:?}: {in_force}, and {held} has {SECOND}"
                )));
            }
            sleep(Duration::from_millis(10));
        }
        let dual = second.sightings(from, Instant::now()).dual;
        match dual.is_zero() {
            true => Ok(()),
            false => Err(err(format!("two had {SECOND} for {dual:?}"))),
        }
    }

    /// Adds a key on all members, then takes the former one away on all, as the book says.
    ///
    /// # Errors
    /// If a member refuses it, or does not hear of it from the others.
    pub(super) fn rotate_key(&self, former: &str, new: &str) -> Result<()> {
        let secret = format!("this is the {new} of a lab, of a demo, and of nothing else\n");
        if new != "secret" {
            self.cluster.file(new, &secret)?;
        }
        for files in [&[new, former][..], &[new]] {
            let setup = self.cluster.setup().clone().secrets(files);
            self.cluster.reload(&setup)?;
            let from = Instant::now();
            while !self.know_of_keys(files.len())? {
                if from.elapsed() > BOUND {
                    return Err(err(format!(
                        "after {BOUND:?}: a member does not know who has which key"
                    )));
                }
                sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }

    /// Whether every member knows that every other has so many keys.
    fn know_of_keys(&self, count: usize) -> Result<bool> {
        for name in self.cluster.members() {
            let status = self.cluster.status(name)?;
            let has = |peer: &serde_json::Value| {
                peer["keys"].as_array().is_some_and(|k| k.len() == count)
            };
            if !status["peers"]
                .as_array()
                .is_some_and(|peers| peers.iter().all(has))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

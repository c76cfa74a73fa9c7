//! A running cluster gets a witness, another one, or loses it: R-22, in the steps of the book.

use super::{BOUND, Stage};
use crate::error::{Result, err};
use crate::fault::Fault;
use crate::machine::netns::{CANDIDATES, Witness};
use std::thread::sleep;
use std::time::{Duration, Instant};

impl Stage {
    /// Puts a witness in the place of the one that there is, if there is one: the new file is checked,
    /// put on all members and read, and when it alone is in force on all, and the candidates hear the
    /// new witness, the former one is stopped.
    ///
    /// # Errors
    /// If a member refuses the file, or that does not come.
    pub(super) fn witness(&mut self, new: Option<Witness>) -> Result<()> {
        let before = self.cluster.settled_on()?;
        let was = self.cluster.setup().witness();
        let setup = self.cluster.setup().clone().witnessed_by(new);
        self.cluster.change_witness(&setup)?;
        let from = Instant::now();
        loop {
            let settled = match self.cluster.settled_on() {
                Err(_) if from.elapsed() < BOUND => None, // a new witness may not listen yet
                settled => settled?,
            };
            let in_force = settled.is_some() && settled != before;
            match (in_force, in_force && self.is_heard(setup.witness())?) {
                (true, true) => break,
                _ if from.elapsed() < BOUND => sleep(Duration::from_millis(10)),
                (false, _) => {
                    return Err(err(format!(
                        "after {BOUND:?}: the new file is not in force on every member"
                    )));
                }
                (true, false) => {
                    return Err(err(format!(
                        "after {BOUND:?}: a candidate does not hear the new witness"
                    )));
                }
            }
        }
        was.map_or(Ok(()), |was| {
            self.cluster.inflict(&Fault::Stop(was.to_owned()))
        })
    }

    /// Whether both candidates and the witness hear each other, if there is one.
    fn is_heard(&self, witness: Option<&str>) -> Result<bool> {
        let Some(witness) = witness else {
            return Ok(true);
        };
        for name in CANDIDATES {
            let status = self.cluster.status(name)?;
            let is = |peer: &serde_json::Value| peer["name"] == witness && peer["two_way"] == true;
            if !status["peers"]
                .as_array()
                .is_some_and(|all| all.iter().any(is))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

//! the file in which a machine's processes write down by whose votes they may hold. It outlives
//! the machine's power.

use onehold_core::config::Config;

/// What is in it.
#[derive(Clone, Debug, Default)]
pub(in crate::simulator) struct Votes {
    electorates: Vec<u64>,
    /// The incarnation that runs doubts: what there is stays.
    doubts: bool,
}

impl Votes {
    /// An incarnation begins with this configuration: whether it doubts.
    pub(super) fn begin(&mut self, config: &Config) -> bool {
        let ours = config.electorates();
        let others = self.electorates.iter().any(|e| !ours.contains(e));
        self.doubts = others && config.is_candidate(config.me());
        self.say(&ours);
        self.doubts
    }

    /// Another configuration comes into force.
    pub(super) fn say(&mut self, electorates: &[u64]) {
        if !self.doubts {
            self.electorates.clear();
        }
        self.electorates.extend(electorates);
    }

    /// The incarnation doubts no more.
    pub(in crate::simulator) fn trust(&mut self, electorates: &[u64]) {
        self.doubts = false;
        self.say(electorates);
    }
}

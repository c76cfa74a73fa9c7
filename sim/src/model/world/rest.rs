//! What a world knows beside its members and links: what the adversary has left, and how long
//! something has lasted.

use super::Adversary;

/// What is neither in a member nor on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rest {
    /// Which clocks run how fast: see [`Setup::rates`](super::Setup::rates).
    pub beginning: u8,
    /// How many crashes the adversary has left.
    pub crashes: u8,
    /// How many pauses.
    pub pauses: u8,
    /// For how many ticks machines may still stand still.
    pub stills: u8,
    /// How many adverts may still be kept back.
    pub stragglers: u8,
    /// How many times the cuts may still change.
    pub changes: u8,
    /// How many commands of operators.
    pub commands: u8,
    /// How many changes of health or eligibility.
    pub flips: u8,
    /// How many lost adverts, where the network is timely.
    pub losses: u8,
    /// How many lost answers of the network.
    pub unanswered: u8,
    /// How many times members may still be told to read their files.
    pub reloads: u8,
    /// How many ticks two have been effective, where that is counted; saturated one above the
    /// bound.
    pub overlap: u8,
    /// How many ticks the present outage has lasted; saturated at the bound.
    pub outage: u8,
    /// 1 + the number of the cuts that it settled to; 0 before.
    pub settled: u8,
    /// Ticks since then, or since the last fault or command; saturated one above the bound.
    pub quiet: u8,
}

/// How many words a [`Rest`] takes.
pub const REST: usize = 4;

pub(super) const fn one_less(budget: u8) -> u8 {
    if budget == Adversary::NO_END {
        budget
    } else {
        budget - 1
    }
}

impl Rest {
    /// One more pause.
    pub(super) const fn pause(&mut self) {
        self.pauses = one_less(self.pauses);
        self.quiet = 0;
    }

    /// Into words.
    #[must_use]
    pub const fn pack(self) -> [u32; REST] {
        [
            u32::from_le_bytes([self.beginning, self.crashes, self.changes, self.commands]),
            u32::from_le_bytes([self.flips, self.losses, self.outage, self.settled]),
            u32::from_le_bytes([self.quiet, self.pauses, self.stragglers, self.stills]),
            u32::from_le_bytes([self.overlap, self.unanswered, self.reloads, 0]),
        ]
    }

    /// From words.
    #[must_use]
    pub const fn unpack(words: [u32; REST]) -> Self {
        let [beginning, crashes, changes, commands] = words[0].to_le_bytes();
        let [flips, losses, outage, settled] = words[1].to_le_bytes();
        let [quiet, pauses, stragglers, stills] = words[2].to_le_bytes();
        let [overlap, unanswered, reloads, _] = words[3].to_le_bytes();
        Self {
            beginning,
            crashes,
            pauses,
            stills,
            stragglers,
            changes,
            commands,
            flips,
            losses,
            unanswered,
            reloads,
            overlap,
            outage,
            settled,
            quiet,
        }
    }
}

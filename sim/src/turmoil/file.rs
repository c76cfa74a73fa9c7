//! A scenario's file as written. Every key is explained in docs/src/simulator.md.

use super::plan::{Passes, Sending, Weather};
use onehold::config_file::{Length, TimingSection};
use onehold::control::Order;
use onehold_core::config::{Arbitration, Failback};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// What happens, in one line.
    pub(super) title: String,
    /// Which story or complaint this is.
    pub(super) about: String,
    /// It takes minutes: run by name only.
    #[serde(default)]
    pub(super) slow: bool,
    #[serde(default)]
    pub(super) seed: u64,
    #[serde(default = "a_millisecond")]
    pub(super) tick: Length,
    pub(super) length: Length,
    pub(super) arbitration: Option<Arbitration>,
    pub(super) witness: Option<bool>,
    #[serde(default = "one")]
    pub(super) paths: u8,
    #[serde(default = "a_millisecond")]
    pub(super) confirm: Length,
    pub(super) two: Option<TwoSection>,
    #[serde(default)]
    pub(super) timing: TimingSection,
    #[serde(default)]
    pub(super) members: BTreeMap<String, MemberSection>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, GroupSection>,
    #[serde(default)]
    pub(super) network: WeatherSection,
    #[serde(default)]
    pub(super) sending: SendingSection,
    pub(super) chaos: Option<ChaosSection>,
    #[serde(default)]
    pub(super) timeline: Vec<Entry>,
    #[serde(default)]
    pub(super) expect: Vec<ExpectSection>,
}

const fn a_millisecond() -> Length {
    Length(onehold_core::time::Span::from_millis(1))
}

const fn one() -> u8 {
    1
}

/// `[two]`: two holders are expected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TwoSection {
    pub(super) at_most: Length,
    pub(super) because: String,
}

/// `[members.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberSection {
    #[serde(default)]
    pub(super) witness: bool,
    #[serde(default)]
    pub(super) off: bool,
    #[serde(default)]
    pub(super) clock_ppm: i32,
    pub(super) secret: Option<String>,
    /// This member's file has other floating addresses.
    pub(super) address: Option<String>,
}

/// `[groups.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupSection {
    pub(super) preferred: Option<String>,
    #[serde(default)]
    pub(super) failback: Failback,
    #[serde(default)]
    pub(super) failback_delay: Length,
    #[serde(default)]
    pub(super) release_when_unhealthy: bool,
}

/// `[network]`, or the weather of some links.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WeatherSection {
    pub(super) loss: f64,
    pub(super) duplicate: f64,
    pub(super) corrupt: f64,
    pub(super) delay: Length,
    pub(super) jitter: Length,
    pub(super) straggle: f64,
    pub(super) straggle_by: Length,
}

impl From<WeatherSection> for Weather {
    fn from(w: WeatherSection) -> Self {
        Self {
            passes: Passes::All,
            loss: w.loss,
            duplicate: w.duplicate,
            corrupt: w.corrupt,
            delay: w.delay.0,
            jitter: w.jitter.0,
            straggle: w.straggle,
            straggle_by: w.straggle_by.0,
        }
    }
}

impl WeatherSection {
    /// The chance that is none, by key.
    pub(super) fn impossible(&self) -> Option<(&'static str, f64)> {
        let all = [
            ("loss", self.loss),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
            ("straggle", self.straggle),
        ];
        let wrong = |(_, chance): &(&str, f64)| !(0.0..=100.0).contains(chance);
        all.into_iter().find(wrong)
    }
}

/// `[sending]`
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SendingSection {
    pub(super) forgets: Option<Length>,
    pub(super) one_buffer: bool,
}

impl From<SendingSection> for Sending {
    fn from(s: SendingSection) -> Self {
        Self {
            forgets: s.forgets.map(|f| f.0),
            one_buffer: s.one_buffer,
        }
    }
}

/// `[chaos]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChaosSection {
    pub(super) from: Length,
    pub(super) until: Length,
    pub(super) every: Length,
    pub(super) lasts: Length,
    pub(super) does: Vec<Mischief>,
}

/// What the chaos monkey can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mischief {
    /// `SIGTERM`, and later a start.
    Stop,
    /// `kill -9`, perhaps in the middle of a turn, and later a start.
    Kill,
    /// `SIGSTOP`, perhaps in the middle of a turn, and later `SIGCONT`.
    Pause,
    /// The machine is not run; its clock goes on.
    Suspend,
    /// No power, and later it boots.
    PowerOff,
    /// One direction of a link is cut.
    CutOneWay,
    /// Both directions are.
    Cut,
    /// One member is cut from all.
    Isolate,
    /// Datagrams are lost in one direction: 20 to 60 %.
    Loss,
    /// Datagrams are doubled, late and out of order.
    Disorder,
    /// The operator says switch to each candidate.
    Switch,
}

/// `[[timeline]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) at: Length,
    pub(super) every: Option<Length>,
    pub(super) until: Option<Length>,
    pub(super) path: Option<u8>,
    pub(super) after_effects: Option<u32>,
    pub(super) start: Option<String>,
    pub(super) stop: Option<String>,
    pub(super) kill: Option<String>,
    pub(super) pause: Option<String>,
    pub(super) suspend: Option<String>,
    pub(super) freeze: Option<String>,
    pub(super) resume: Option<String>,
    pub(super) power_off: Option<String>,
    pub(super) cut: Option<String>,
    pub(super) cut_frames: Option<String>,
    pub(super) keep: Option<String>,
    pub(super) heal: Option<String>,
    pub(super) weather: Option<String>,
    pub(super) becomes: Option<WeatherSection>,
    pub(super) replay: Option<Replay>,
    pub(super) drift: Option<Drift>,
    pub(super) clock_step: Option<ClockStep>,
    pub(super) kernel: Option<KernelSays>,
    pub(super) own_address: Option<OwnAddress>,
    pub(super) edit: Option<Edit>,
    pub(super) eligible: Option<Flag>,
    pub(super) healthy: Option<Flag>,
    pub(super) claim: Option<String>,
    pub(super) secrets: Option<Secrets>,
    pub(super) command: Option<Command>,
}

/// `replay = { on = "lb0 -> lb1", last = "2s", every = "1ms" }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    pub(super) on: String,
    pub(super) last: Length,
    pub(super) every: Length,
}

/// `drift = { of = "lb0", ppm = 1000 }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drift {
    pub(super) of: String,
    pub(super) ppm: i32,
}

/// `clock_step = { of = "lb0", by = "1s" }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockStep {
    pub(super) of: String,
    pub(super) by: Length,
}

/// `kernel = { of = "lb0", refuses = ["hold"] }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KernelSays {
    pub(super) of: String,
    pub(super) refuses: Vec<Refusable>,
}

/// What a kernel can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Refusable {
    Hold,
    Release,
}

/// `own_address = { of = "lb0", is = false }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnAddress {
    pub(super) of: String,
    pub(super) is: bool,
}

/// `edit = { of = "lb1", failback_delay = "5s" }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) of: String,
    pub(super) failback_delay: Option<Length>,
    pub(super) interval: Option<Length>,
    pub(super) address: Option<String>,
}

/// `healthy = { on = "lb0", is = false }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flag {
    pub(super) on: String,
    pub(super) group: Option<String>,
    pub(super) is: bool,
}

/// `secrets = { of = "lb0", are = ["new", "old"] }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    pub(super) of: String,
    pub(super) are: Vec<String>,
}

/// `command = { to = "lb0", say = "switch" }`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    pub(super) to: String,
    pub(super) say: Order,
    pub(super) group: Option<String>,
}

/// `[[expect]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectSection {
    pub(super) at: Option<Length>,
    pub(super) within: Option<Length>,
    pub(super) from: Option<Length>,
    pub(super) until: Option<Length>,
    pub(super) group: Option<String>,
    pub(super) member: Option<String>,
    pub(super) holder: Option<String>,
    pub(super) neighbours: Option<String>,
    pub(super) no_role_change: Option<bool>,
    pub(super) dark_at_most: Option<Length>,
    pub(super) served_percent: Option<f64>,
    pub(super) reports: Option<String>,
    pub(super) never_reports: Option<String>,
    pub(super) announces: Option<bool>,
    pub(super) count: Option<Counted>,
    pub(super) at_least: Option<u64>,
}

/// What is counted in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Datagrams handed to the network.
    Sent,
    /// That reached a process.
    Arrived,
    /// Lost by chance.
    Lost,
    /// That met a cut.
    Cut,
    /// Of which a second copy arrived.
    Doubled,
    /// With a bit flipped.
    Corrupted,
    /// Kept back.
    Straggled,
    /// That wait: for a link that keeps them, or for a neighbour's hardware address.
    Waited,
    /// That found the send buffer full.
    Refused,
    /// Sent again by somebody else.
    Replayed,
    /// Changes of who answers: each time a machine begins to.
    Opened,
    /// Lives that were begun.
    Began,
}

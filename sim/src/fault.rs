//! What can be done to a cluster, as scenarios write it, seeds draw it, the simulator and the demo
//! do it, and traces carry it: one key with its value, such as `cut = "lb0 -> lb1"`.
//!
//! A new kind of fault is a variant here, with its text, its arm in the simulator's
//! `World::inflict`, and a row in `docs/src/simulator.md`. Members and groups are named here;
//! nothing else is known of a cluster.

mod edit;
mod links;
mod passing;

pub use edit::{Edit, put_address};
pub use links::Links;
pub use passing::Passing;

use crate::error::{Result, err};
use crate::liveness::Liveness;
use onehold::config_file::Length;
use onehold::control::Order;
use onehold::trace::Line;
use onehold_core::advert::MemberId;
use onehold_core::config::Config;
use onehold_core::time::Span;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that is done to a cluster. Members and groups are names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The machine is switched on, if it is off, and the process started.
    Start(String),
    /// `SIGTERM`: hand over, let go, end.
    Stop(String),
    /// `kill -9`.
    Kill(Target),
    /// `SIGSTOP`: the process is paused; its kernel keeps running.
    Pause(Target),
    /// The machine is not run; its clock goes on.
    Suspend(String),
    /// The machine is not run, and its clock stands still.
    Freeze(String),
    /// Whatever is paused, suspended or frozen goes on.
    Resume(String),
    /// All of the machine is written down: memory, kernel and clock.
    Snapshot(String),
    /// The machine goes on from its latest snapshot, and its clock from what it showed then.
    Restore(String),
    /// The machine is off: process, kernel and clock are gone.
    PowerOff(String),
    /// Nothing passes, not even an answer to who has an address, as where a cable is cut.
    Cut(Links),
    /// No datagram passes, as where a firewall drops UDP.
    CutDatagrams(Links),
    /// No advert passes that travels as a frame, as where a switch drops unknown EtherTypes.
    CutFrames(Links),
    /// No probe passes, as where a firewall drops echo requests. Its answer goes the other way, and
    /// passes if anything does.
    CutProbes(Links),
    /// What is sent waits, as in an interface without a cable, and arrives when the link heals.
    Keep(Links),
    /// The links are as at the beginning.
    Heal(Links),
    /// What becomes of datagrams on these links; what is cut stays cut.
    Conditions {
        /// Which links.
        on: Links,
        /// What they are from now on.
        are: Conditions,
    },
    /// Sends again what was sent on these links.
    Replay {
        /// Which links.
        on: Links,
        /// What was sent in this time before.
        last: Length,
        /// A datagram each.
        every: Length,
    },
    /// The clock's rate.
    Drift {
        /// Whose.
        of: String,
        /// By how many parts in a million it is fast.
        ppm: i32,
    },
    /// The clock is stepped ahead.
    ClockStep {
        /// Whose.
        of: String,
        /// By how much.
        by: Length,
    },
    /// What the kernel refuses from now on; nothing any more if nothing is named.
    Kernel {
        /// Whose.
        of: String,
        /// What.
        refuses: Vec<Refusable>,
    },
    /// The member's own address is on its machine, or not.
    OwnAddress {
        /// Whose.
        of: String,
        /// It is there.
        is: bool,
    },
    /// The member's file from its next start: as at the beginning, but for what is said here.
    Edit(Edit),
    /// The same, and the member reads it again (R-22).
    Reload(Edit),
    /// The kernel can serve the group, or not.
    Eligible(Flag),
    /// The service behind the group is healthy, or not.
    Healthy(Flag),
    /// Somebody else claims an address of the first group on the network of this member.
    Claim(String),
    /// The file with the member's secrets is read again: it seals with the first and accepts all.
    Secrets {
        /// Whose.
        of: String,
        /// What it says.
        are: Vec<String>,
    },
    /// The operator gives an order.
    Command {
        /// To which member.
        to: String,
        /// What.
        say: Order,
        /// Of one group, or of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
    },
    /// Nothing is done; something is said of the run.
    Note(String),
}

/// A process that is killed or paused: `"lb0"`, or `{ of = "lb0", after_effects = 3 }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "write a member, or { of = \"lb0\", after_effects = 3 }"
)]
pub enum Target {
    /// Between two turns.
    Of(String),
    /// After this many more effects, which may be in the middle of a turn.
    Within {
        /// Whose.
        of: String,
        /// How many.
        after_effects: u32,
    },
}

/// `{ on = "lb0", group = "web", is = false }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flag {
    /// On whose machine.
    pub on: String,
    /// Of which group; else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// It is so.
    pub is: bool,
}

/// What a kernel can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusable {
    /// Every hold.
    Hold,
    /// To shut any gate. (That an address can't be removed keeps nobody waiting: it is mute.)
    Release,
}

/// What a link does to each datagram. Chances are in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// It is lost.
    #[serde(skip_serializing_if = "is_none")]
    pub loss: f64,
    /// A second copy arrives, too.
    #[serde(skip_serializing_if = "is_none")]
    pub duplicate: f64,
    /// One bit of it is flipped.
    #[serde(skip_serializing_if = "is_none")]
    pub corrupt: f64,
    /// Extra fixed delay.
    #[serde(skip_serializing_if = "is_none")]
    pub delay: Length,
    /// Additional random delay, so that later ones overtake it.
    #[serde(skip_serializing_if = "is_none")]
    pub jitter: Length,
    /// It is kept back.
    #[serde(skip_serializing_if = "is_none")]
    pub straggle: f64,
    /// For up to this long.
    #[serde(skip_serializing_if = "is_none")]
    pub straggle_by: Length,
}

fn is_none<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Fault {
    /// The member that it is done to, if it is not done to links.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Start(of)
            | Self::Stop(of)
            | Self::Suspend(of)
            | Self::Freeze(of)
            | Self::Resume(of)
            | Self::Snapshot(of)
            | Self::Restore(of)
            | Self::PowerOff(of)
            | Self::Claim(of)
            | Self::Drift { of, .. }
            | Self::ClockStep { of, .. }
            | Self::Kernel { of, .. }
            | Self::OwnAddress { of, .. }
            | Self::Secrets { of, .. }
            | Self::Command { to: of, .. } => Some(of),
            Self::Kill(process) | Self::Pause(process) => Some(process.of()),
            Self::Edit(edit) | Self::Reload(edit) => Some(&edit.of),
            Self::Eligible(flag) | Self::Healthy(flag) => Some(&flag.on),
            Self::Cut(_)
            | Self::CutDatagrams(_)
            | Self::CutFrames(_)
            | Self::CutProbes(_)
            | Self::Keep(_)
            | Self::Heal(_)
            | Self::Conditions { .. }
            | Self::Replay { .. }
            | Self::Note(_) => None,
        }
    }

    /// The links that it is done to.
    #[must_use]
    pub const fn links(&self) -> Option<&Links> {
        match self {
            Self::Cut(on)
            | Self::CutDatagrams(on)
            | Self::CutFrames(on)
            | Self::CutProbes(on)
            | Self::Keep(on)
            | Self::Heal(on)
            | Self::Conditions { on, .. }
            | Self::Replay { on, .. } => Some(on),
            _ => None,
        }
    }

    /// What ends it, if something does.
    #[must_use]
    pub fn ended_by(&self) -> Option<Self> {
        let not = |flag: &Flag| Flag {
            is: !flag.is,
            ..flag.clone()
        };
        Some(match self {
            Self::Stop(of) | Self::PowerOff(of) => Self::Start(of.clone()),
            Self::Kill(process) => Self::Start(process.of().clone()),
            Self::Pause(process) => Self::Resume(process.of().clone()),
            Self::Suspend(of) | Self::Freeze(of) => Self::Resume(of.clone()),
            Self::Cut(on)
            | Self::CutDatagrams(on)
            | Self::CutFrames(on)
            | Self::CutProbes(on)
            | Self::Keep(on)
            | Self::Conditions { on, .. } => Self::Heal(on.clone()),
            Self::Kernel { of, .. } => Self::Kernel {
                of: of.clone(),
                refuses: Vec::new(),
            },
            Self::OwnAddress { of, is } => Self::OwnAddress {
                of: of.clone(),
                is: !is,
            },
            Self::Eligible(flag) => Self::Eligible(not(flag)),
            Self::Healthy(flag) => Self::Healthy(not(flag)),
            Self::Command { to, say, group } => Self::Command {
                to: to.clone(),
                say: match say {
                    Order::Standby => Order::Resume,
                    Order::Freeze => Order::Thaw,
                    Order::Switch | Order::Resume | Order::Thaw | Order::PresumeDead => {
                        return None;
                    }
                },
                group: group.clone(),
            },
            _ => return None,
        })
    }

    /// How it leaves the member's process, once it is done.
    #[must_use]
    pub const fn leaves(&self) -> Option<Liveness> {
        match self {
            Self::Stop(_) | Self::Kill(Target::Of(_)) | Self::PowerOff(_) => Some(Liveness::Down),
            Self::Pause(Target::Of(_)) | Self::Suspend(_) | Self::Freeze(_) => {
                Some(Liveness::Paused)
            }
            Self::Resume(_) => Some(Liveness::Up),
            _ => None,
        }
    }

    /// A trace's line that says that it was done.
    #[must_use]
    pub fn line(&self, time: Span) -> Line {
        let fault = serde_json::to_value(self).unwrap_or_default();
        Line::Fault { time, fault }
    }

    /// The group that it is about.
    pub const fn group_mut(&mut self) -> Option<&mut Option<String>> {
        match self {
            Self::Eligible(flag) | Self::Healthy(flag) => Some(&mut flag.group),
            Self::Command { group, .. } => Some(group),
            _ => None,
        }
    }

    /// The members that it concerns, by place. Names that the cluster does not have concern nobody.
    #[must_use]
    pub fn members(&self, config: &Config) -> Vec<MemberId> {
        let names = names(config);
        let pairs = self.links().and_then(|links| links.pairs(&names).ok());
        let mut members: Vec<MemberId> = match pairs {
            Some(pairs) => pairs.into_iter().flat_map(|(a, b)| [a, b]).collect(),
            None => self
                .member()
                .and_then(|of| member(of, &names).ok())
                .into_iter()
                .collect(),
        };
        members.sort_unstable();
        members.dedup();
        members
    }

    /// The key that it is written with.
    #[must_use]
    pub fn key(&self) -> String {
        let written = serde_json::to_value(self).unwrap_or_default();
        let key = written.as_object().and_then(|fault| fault.keys().next());
        key.cloned().unwrap_or_default()
    }
}

impl Target {
    /// Whose.
    #[must_use]
    pub const fn of(&self) -> &String {
        let (Self::Of(of) | Self::Within { of, .. }) = self;
        of
    }
}

impl Conditions {
    /// The chance that can't be, by key.
    #[must_use]
    pub fn impossible(&self) -> Option<(&'static str, f64)> {
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

/// The member with a name, of those that there are.
///
/// # Errors
/// Says which there are.
pub fn member(name: &str, names: &[&str]) -> Result<MemberId> {
    let found = (0u8..).zip(names).find(|(_, of)| **of == name);
    found.map(|(id, _)| MemberId(id)).ok_or_else(|| {
        let all = names.join(", ");
        err(format!(
            "there is no member `{name}`; the members are {all}"
        ))
    })
}

/// The names of a configuration's members, by number.
#[must_use]
pub fn names(config: &Config) -> Vec<&str> {
    config.members().iter().map(|m| m.name.as_str()).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(of) => f.write_str(of),
            Self::Within { of, after_effects } => {
                write!(f, "{of} after {after_effects} more effects")
            }
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = [
            (self.loss, "lost"),
            (self.duplicate, "doubled"),
            (self.corrupt, "corrupted"),
            (self.straggle, "kept back"),
        ];
        let chances = percent.iter().filter(|(chance, _)| *chance > 0.0);
        let mut all: Vec<String> = chances
            .map(|(chance, what)| format!("{chance} % {what}"))
            .collect();
        for (length, what) in [(self.delay, "delay"), (self.jitter, "jitter")] {
            if !is_none(&length) {
                all.push(format!("{what} {}", length.0));
            }
        }
        f.write_str(match all.is_empty() {
            true => "fair",
            false => return f.write_str(&all.join(", ")),
        })
    }
}

/// An order as an operator types it.
#[must_use]
pub const fn order(order: Order) -> &'static str {
    match order {
        Order::Switch => "switch",
        Order::Standby => "standby",
        Order::Resume => "resume",
        Order::Freeze => "freeze",
        Order::Thaw => "thaw",
        Order::PresumeDead => "presume-dead",
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |flag: &Flag| {
            flag.group
                .clone()
                .unwrap_or_else(|| "the first group".into())
        };
        match self {
            Self::Start(of) => write!(f, "start {of}"),
            Self::Stop(of) => write!(f, "stop {of}"),
            Self::Kill(process) => write!(f, "kill -9 {process}"),
            Self::Pause(process) => write!(f, "pause {process}"),
            Self::Suspend(of) => write!(f, "suspend machine {of}; its clock goes on"),
            Self::Freeze(of) => write!(f, "freeze machine {of} and its clock"),
            Self::Resume(of) => write!(f, "resume {of}"),
            Self::Snapshot(of) => write!(f, "snapshot machine {of}"),
            Self::Restore(of) => write!(f, "restore machine {of} from its snapshot"),
            Self::PowerOff(of) => write!(f, "power off {of}"),
            Self::Cut(on) => write!(f, "cut {on}"),
            Self::CutDatagrams(on) => write!(f, "cut datagrams {on}"),
            Self::CutFrames(on) => write!(f, "cut frames {on}"),
            Self::CutProbes(on) => write!(f, "cut probes {on}"),
            Self::Keep(on) => write!(f, "keep what is sent {on}"),
            Self::Heal(on) => write!(f, "heal {on}"),
            Self::Conditions { on, are } => write!(f, "{on}: {are}"),
            Self::Replay { on, last, every } => {
                write!(
                    f,
                    "replay the last {} of {on}, one each {}",
                    last.0, every.0
                )
            }
            Self::Drift { of, ppm } => write!(f, "clock of {of}: {ppm:+} ppm"),
            Self::ClockStep { of, by } => write!(f, "clock of {of} stepped ahead by {}", by.0),
            Self::Kernel { of, refuses } => {
                let refuses = |what| refuses.contains(&what);
                let what = match (refuses(Refusable::Hold), refuses(Refusable::Release)) {
                    (true, true) => "holds and releases",
                    (true, false) => "holds",
                    (false, true) => "releases",
                    (false, false) => "nothing any more",
                };
                write!(f, "kernel of {of} refuses {what}")
            }
            Self::OwnAddress { of, is } => {
                let is = if *is { "there" } else { "gone" };
                write!(f, "the own address of {of} is {is}")
            }
            Self::Edit(edit) => write!(f, "{edit}"),
            Self::Reload(edit) => write!(f, "{edit}, and is read again"),
            Self::Eligible(flag) => {
                let can = if flag.is { "can" } else { "can't" };
                write!(f, "kernel of {} {can} serve {}", flag.on, group(flag))
            }
            Self::Healthy(flag) => {
                let how = if flag.is { "healthy" } else { "unhealthy" };
                write!(f, "service {} on {}: {how}", group(flag), flag.on)
            }
            Self::Claim(of) => {
                write!(
                    f,
                    "somebody claims a floating address on the network of {of}"
                )
            }
            Self::Secrets { of, are } => write!(f, "{of} reads secrets {}", are.join(", ")),
            Self::Command { to, say, .. } => {
                write!(f, "{} {to}", order(*say))
            }
            Self::Note(text) => f.write_str(text),
        }
    }
}

#[cfg(all(test, feature = "worlds"))]
mod tests {
    use super::*;

    /// Every kind of fault, as scenarios write it and as people read it.
    const ALL: [(&str, &str); 34] = [
        (r#"start = "lb0""#, "start lb0"),
        (r#"stop = "lb0""#, "stop lb0"),
        (r#"kill = "lb0""#, "kill -9 lb0"),
        (
            r#"kill = { of = "lb0", after_effects = 3 }"#,
            "kill -9 lb0 after 3 more effects",
        ),
        (r#"pause = "lb0""#, "pause lb0"),
        (
            r#"suspend = "lb0""#,
            "suspend machine lb0; its clock goes on",
        ),
        (r#"freeze = "lb0""#, "freeze machine lb0 and its clock"),
        (r#"resume = "lb0""#, "resume lb0"),
        (r#"snapshot = "lb0""#, "snapshot machine lb0"),
        (
            r#"restore = "lb0""#,
            "restore machine lb0 from its snapshot",
        ),
        (r#"power_off = "lb0""#, "power off lb0"),
        (r#"cut = "lb0 -> *""#, "cut lb0 -> *"),
        (
            r#"cut = "lb0 <-> lb1 (path 1)""#,
            "cut lb0 <-> lb1 (path 1)",
        ),
        (
            r#"cut_datagrams = "lb0 -> lb1""#,
            "cut datagrams lb0 -> lb1",
        ),
        (r#"cut_frames = "* -> lb0""#, "cut frames * -> lb0"),
        (r#"cut_probes = "lb0 <-> *""#, "cut probes lb0 <-> *"),
        (r#"keep = "lb0 -> *""#, "keep what is sent lb0 -> *"),
        (r#"heal = "* <-> *""#, "heal * <-> *"),
        (
            r#"conditions = { on = "lb0 -> lb1", are = { loss = 20.0, jitter = "1500us" } }"#,
            "lb0 -> lb1: 20 % lost, jitter 1.5ms",
        ),
        (
            r#"replay = { on = "lb0 -> lb1", last = "5s", every = "10ms" }"#,
            "replay the last 5s of lb0 -> lb1, one each 10ms",
        ),
        (
            r#"drift = { of = "lb0", ppm = -1000 }"#,
            "clock of lb0: -1000 ppm",
        ),
        (
            r#"clock_step = { of = "lb0", by = "1s" }"#,
            "clock of lb0 stepped ahead by 1s",
        ),
        (
            r#"kernel = { of = "lb0", refuses = ["hold", "release"] }"#,
            "kernel of lb0 refuses holds and releases",
        ),
        (
            r#"own_address = { of = "lb0", is = false }"#,
            "the own address of lb0 is gone",
        ),
        (
            r#"edit = { of = "lb1", failback_delay = "5s" }"#,
            "the file of lb1 says failback_delay = 5s",
        ),
        (r#"edit = { of = "lb1" }"#, "the file of lb1 is as it was"),
        (
            r#"reload = { of = "lb1", lease = "900ms" }"#,
            "the file of lb1 says lease = 900ms, and is read again",
        ),
        (
            r#"reload = { of = "w", groups = { mail = ["10.0.0.60"], web = ["10.0.0.50", "10.0.0.51"] } }"#,
            "the file of w says groups mail: 10.0.0.60; web: 10.0.0.50, 10.0.0.51, and is read again",
        ),
        (
            r#"eligible = { on = "lb0", group = "web", is = false }"#,
            "kernel of lb0 can't serve web",
        ),
        (
            r#"healthy = { on = "lb0", is = true }"#,
            "service the first group on lb0: healthy",
        ),
        (
            r#"claim = "lb0""#,
            "somebody claims a floating address on the network of lb0",
        ),
        (
            r#"secrets = { of = "lb0", are = ["new", "old"] }"#,
            "lb0 reads secrets new, old",
        ),
        (
            r#"command = { to = "lb0", say = "presume-dead" }"#,
            "presume-dead lb0",
        ),
        (r#"note = "all is well""#, "all is well"),
    ];

    #[test]
    fn every_fault_is_written_as_it_is_read_in_scenarios_and_in_traces() {
        for (written, text) in ALL {
            let fault: Fault = toml::from_str(written).unwrap();
            assert_eq!(fault.to_string(), text);
            let toml = toml::to_string(&fault).unwrap();
            assert_eq!(toml::from_str::<Fault>(&toml).unwrap(), fault, "{toml}");
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault);
            assert!(written.starts_with(&fault.key()), "{}", fault.key());
        }
    }

    #[test]
    fn what_ends_a_fault_is_ended_by_nothing_else() {
        let ends = [
            r#"start = "lb0""#,
            r#"heal = "* <-> *""#,
            r#"resume = "lb0""#,
        ];
        for written in ends {
            assert_eq!(toml::from_str::<Fault>(written).unwrap().ended_by(), None);
        }
        let away: Fault = toml::from_str(r#"own_address = { of = "lb0", is = false }"#).unwrap();
        assert_eq!(away.ended_by().unwrap().ended_by(), Some(away));
    }
}

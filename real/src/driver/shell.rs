//! Everything that touches the world, as the driver sees it: what it asks for, and what it is told.

use super::Served;
use crate::config_file::Path;
use crate::control::PendingRequest;
use crate::control::session::{CheckReport, GroupShown, HookReport};
use crate::metrics::GuardInForce;
use crate::socket::Refusals;
use crate::status::{FileOnDisk, Waiting};
use crate::trace::Recorder;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::Keys;
use onehold_core::effect::Event;
use onehold_core::input::Command;
use onehold_core::time::{LocalTime, Span};
use std::future::Future;
use std::net::SocketAddr;

/// What the driver needs from the world. `cluster` is the index of one of its clusters.
pub trait Shell {
    /// Now, by this member's clock: later than every answer before.
    fn now(&mut self) -> LocalTime;

    /// Waits until something may have happened, at most until `at`.
    fn wait(&mut self, at: LocalTime) -> impl Future<Output = ()>;

    /// The next thing that happened, if any; a datagram's bytes go into `bytes`. Datagrams that
    /// wait are all returned before this is `None`.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent>;

    /// Hands a datagram to the network on every path; returns on how many.
    fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64;

    /// gate shut, addresses removed; then [`ShellEvent::Released`]. Tried once: the driver
    /// tries again what was refused.
    fn release(&mut self, cluster: usize, group: GroupId);

    /// address, then deadline. If that fails, [`ShellEvent::HoldFailed`]: the driver decides
    /// when it may be tried again.
    fn hold_until(&mut self, cluster: usize, group: GroupId, deadline: LocalTime);

    /// addresses, with the gate shut; again while the group waits. If that fails,
    /// [`ShellEvent::HoldFailed`]. What is waited for ends with [`ShellEvent::Prepared`].
    fn prepare(&mut self, cluster: usize, group: GroupId);

    /// announces the group to the neighbours, repeatedly.
    fn announce(&mut self, cluster: usize, group: GroupId);

    /// writes down that later incarnations must wait for this lease, and for no longer one.
    fn record_lease(&mut self, cluster: usize, longest: Span);

    /// A node reported something; it was logged already.
    fn reported(&mut self, cluster: usize, event: &Event);

    /// what the operator said of each group that holds until `resume`, for a later
    /// incarnation.
    fn ordered(&mut self, cluster: usize, orders: &[Option<Command>]);

    /// An authentic datagram came over a path; `echoed` says whether its sender hears this member.
    fn heard(&mut self, _local: SocketAddr, _remote: SocketAddr, _echoed: bool) {}

    /// Whether an agent wants to be shown what the groups are.
    fn watches(&self) -> bool {
        false
    }

    /// What the groups are for which this member is a candidate, after a turn.
    fn show(&mut self, _now: LocalTime, _groups: Vec<GroupShown>) {}

    /// What the network refused to carry over a path, for people. Nothing, where nobody knows.
    fn refusals(&self, _path: Path) -> Refusals {
        Refusals::default()
    }
}

/// Something that happened.
#[derive(Debug)]
pub enum ShellEvent {
    /// A datagram came in.
    Datagram {
        /// The address that it was sent to.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// Whether a group could be held here, or why not: at the start, then on change.
    Eligible {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Yes, or why not, for people.
        eligible: Result<(), String>,
    },
    /// Whether a group could be held well here, or what would be missing: at the start, then on
    /// change.
    Health {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Yes, or why not, for people.
        healthy: Result<(), String>,
    },
    /// The kernel refused a hold.
    HoldFailed {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Why, for people.
        why: String,
    },
    /// What a group waits for before its gate opens has ended.
    Prepared {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Whether it was done, or why not, for people.
        done: Result<(), String>,
    },
    /// What the kernel refused may be granted now: what that depends on has changed.
    Changed {
        /// In which cluster.
        cluster: usize,
        /// For which group.
        group: GroupId,
    },
    /// somebody else claims an address of a group, or the neighbours may have lost it.
    ForeignClaim {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
    },
    /// The kernel released a group, or refused to, and why.
    Released {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Whether it did.
        answer: Result<(), String>,
    },
    /// What one part of the world reports as needing a person now; nothing if the list is empty.
    Alarms {
        /// In which cluster.
        cluster: usize,
        /// Which part reports it: each replaces only what it reported before.
        from: &'static str,
        /// All of them, in words: what, why, and what to do.
        alarms: Vec<String>,
    },
    /// The agent reports how the checks and hooks of a group are.
    Checks {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// Each check.
        checks: Vec<CheckReport>,
        /// Each hook that has run.
        hooks: Vec<HookReport>,
    },
    /// Another guard is in force than before.
    Guard {
        /// In which cluster.
        cluster: usize,
        /// Which.
        guard: GuardInForce,
    },
    /// An operator asks.
    Request(PendingRequest),
    /// New keys for a cluster (`SIGHUP`).
    Keys {
        /// Which.
        cluster: usize,
        /// They replace the old ones.
        keys: Keys,
    },
    /// One more cluster is served from here on; its index is the next one.
    Joined(Box<Joined>),
    /// What should be served and can't be yet.
    Waiting(Vec<Waiting>),
    /// The configuration file stands otherwise to what runs than before.
    OnDisk(FileOnDisk),
    /// Hand over, release, end.
    Stop,
}

/// A cluster that is served from now on.
#[derive(Debug)]
pub struct Joined {
    /// Its node, which has just started.
    pub served: Served,
    /// what an earlier incarnation was ordered until `resume`.
    pub orders: Vec<(GroupId, Command)>,
    /// What records every turn.
    pub recorder: Option<Box<dyn Recorder>>,
}

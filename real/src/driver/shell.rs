//! Everything that touches the world: what the driver asks for, and what is reported to it.

use super::Served;
use super::changing::Stepped;
use crate::announce::Mac;
use crate::clock::Steered;
use crate::config_file::Path;
use crate::control::session::{CheckReport, GroupShown, HookReport};
use crate::control::{PendingRequest, Reply};
use crate::frames::PortState;
use crate::history::Entry;
use crate::kernel::Probing;
use crate::metrics::GuardInForce;
use crate::orders::{Said, Standing, Standings};
use crate::socket::Refusals;
use crate::status::{FileOnDisk, Waiting};
use crate::trace::Recorder;
use crate::upgrade::{Ask, World};
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::auth::Keys;
use onehold_core::config::{Config, Spec};
use onehold_core::effect::Event;
use onehold_core::keyring::Keyring;
use onehold_core::time::{LocalTime, Span};
use std::future::Future;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// What the driver needs from the world. `cluster` is the number of one of its clusters: the next one
/// when it joined, which no other gets later.
pub trait Shell {
    /// Now, by this member's clock: later than every answer before.
    fn now(&mut self) -> LocalTime;

    /// Waits until something may have happened, at most until `at`.
    fn wait(&mut self, at: LocalTime) -> impl Future<Output = ()>;

    /// The next thing that happened, if any; a datagram's bytes go into `bytes`. Datagrams that
    /// wait come first, but for a flood of them: no event's turn judges a silence that one of them
    /// ends.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Option<ShellEvent>;

    /// Of which look at a socket the last datagram was, if the newest of that come first.
    fn newest_first(&self) -> Option<u64> {
        None
    }

    /// Hands a datagram to the network on every path, as a frame, too, if the cluster has frames;
    /// returns on how many paths.
    fn send(&mut self, cluster: usize, to: MemberId, bytes: &[u8]) -> u64;

    /// Hands a note to the network on every path; returns on how many. What becomes of it tells
    /// nothing about the network. Where nobody reads notes, they go nowhere.
    fn send_note(&mut self, _cluster: usize, _to: MemberId, _bytes: &[u8]) -> u64 {
        0
    }

    /// gate shut; then [`ShellEvent::Released`], once nothing is effective any more, and the
    /// addresses are removed. Tried once: the driver repeats what was refused.
    fn release(&mut self, cluster: usize, group: GroupId);

    /// gate shut (if it is new), addresses, deadline. If that fails,
    /// [`ShellEvent::HoldFailed`]: the driver decides when it may be tried again.
    fn hold_until(&mut self, cluster: usize, group: GroupId, deadline: LocalTime);

    /// addresses, with the gate shut; again while the group waits. If that fails,
    /// [`ShellEvent::HoldFailed`]. The end of `before_hold` is [`ShellEvent::Prepared`], and never
    /// that of an earlier hold.
    fn prepare(&mut self, cluster: usize, group: GroupId);

    /// announces the group to the neighbours, repeatedly.
    fn announce(&mut self, cluster: usize, group: GroupId);

    /// sends an echo request to each address of the group; each answer is
    /// [`ShellEvent::ProbeAnswered`]. Where the network can't be asked, nothing happens.
    fn probe(&mut self, _cluster: usize, _group: GroupId, _probed_at: LocalTime) {}

    /// What became of the probes of a group, for people; nothing where the network is not asked.
    fn probing(&self, _cluster: usize, _group: GroupId) -> Option<Probing> {
        None
    }

    /// what this world has to do before `to` comes into force where `from` was: to write down
    /// the lease that a later incarnation must wait for; to see to it that nothing is effective any
    /// more of what leaves, which is confirmed; and to go by the groups of `to`. What fails is tried
    /// again, and nothing else has changed.
    ///
    /// # Errors
    /// What is not done yet, for people.
    fn step(
        &mut self,
        _cluster: usize,
        _from: &Config,
        _to: &Config,
    ) -> Result<Option<Stepped>, String> {
        Ok(Some(Stepped::default()))
    }

    /// a later incarnation that goes by these doubts nobody, and this one does not any more.
    fn trusts(&mut self, _cluster: usize, _electorates: &[u64]) {}

    /// writes down that this is the longest lease that later incarnations must wait for.
    fn record_lease(&mut self, cluster: usize, longest: Span);

    /// A node reported something; it was logged already.
    fn reported(&mut self, cluster: usize, event: &Event);

    /// Something happened that people may ask about later.
    fn happened(&mut self, _cluster: usize, _entry: Entry) {}

    /// What has happened, where it is kept; and why a restart forgets it, if so.
    fn history(&self, _cluster: usize) -> Option<(Vec<Entry>, Option<String>)> {
        None
    }

    /// by group, the orders that stand, to be kept for a later incarnation.
    fn ordered(&mut self, cluster: usize, orders: &[Standings]);

    /// A cluster is not served any more; nothing is asked of its number from now on.
    fn left(&mut self, _cluster: usize) {}

    /// What is known of the other members' keys has changed.
    fn knows_keys(&mut self, _cluster: usize, _keyring: &Keyring) {}

    /// Reads the file again, and answers when it is known what became of it. `now` takes keys away
    /// that other members may need.
    fn reload(&mut self, client: oneshot::Sender<Reply>, _now: bool) {
        let why = "there is no file to read again";
        let _ = client.send(Reply::Refused { why: why.into() }); // it may have gone
    }

    /// Seconds since 1970 by this host's wall clock, by which orders end that the operator gave an
    /// end. Where there is no such clock none ends by itself.
    fn wall(&mut self) -> u64 {
        0
    }

    /// An authentic datagram of a member came over a path, to the first address and from the second;
    /// `echoed` says whether its sender hears this member.
    fn heard(
        &mut self,
        _cluster: usize,
        _from: MemberId,
        _path: (SocketAddr, SocketAddr),
        _echoed: bool,
    ) {
    }

    /// What the peer said last came as an Ethernet frame, too: at which interface, and where from;
    /// `echo` is when that was sent which it echoes.
    fn heard_frame(&mut self, _at: usize, _from: Mac, _echo: Option<LocalTime>) {}

    /// How it is with the frames at an interface, for people.
    fn frames(&self, _at: usize) -> PortState {
        PortState::default()
    }

    /// Whether another program of this process may go on now.
    ///
    /// # Errors
    /// What is under way, or why it never may.
    fn is_quiet(&self) -> Result<(), String> {
        Err("this world does not go on elsewhere".to_owned())
    }

    /// What it needs of this world; nothing where it may not.
    fn carried(&self) -> Option<World> {
        None
    }

    /// Whether an agent wants to see the groups' state.
    fn watches(&self) -> bool {
        false
    }

    /// The state of the groups for which this member is a candidate, after a turn.
    fn show(&mut self, _now: LocalTime, _groups: Vec<GroupShown>) {}

    /// How this host's clock is steered, for people; nothing if unknown.
    fn steered(&self, _cluster: usize) -> Option<Steered> {
        None
    }

    /// What the network refused to carry over a path, for people; empty if unknown.
    fn refusals(&self, _cluster: usize, _path: Path) -> Refusals {
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
    /// An advert came in as an Ethernet frame; its datagram is in `bytes`.
    Frame {
        /// At which of [`LocalCluster::frame_interfaces`](crate::config_file::LocalCluster).
        at: usize,
        /// From which hardware address.
        from: Mac,
    },
    /// Whether a group could be held here: before the first turn, then on change.
    Eligible {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// `Ok`, or why not, for people.
        eligible: Result<(), String>,
    },
    /// Whether the service behind a group is healthy here: at the start, then on change.
    Health {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// `Ok`, or why not, for people.
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
    /// `before_hold`, for which the gate of a group waits, has ended.
    Prepared {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// `Ok`, or why it could not be done, for people.
        done: Result<(), String>,
    },
    /// Something changed: the kernel may now grant what it refused.
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
    /// a machine on the network answered a probe.
    ProbeAnswered {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// When the probe was sent.
        probed_at: LocalTime,
    },
    /// The kernel released a group, or refused to, and why.
    Released {
        /// In which cluster.
        cluster: usize,
        /// Which group.
        group: GroupId,
        /// `Ok`, or why not.
        answer: Result<(), String>,
    },
    /// The alarms of one part of the world, for people; an empty list ends them.
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
    /// its file was read again, and all members must agree on what is new in it.
    Changes {
        /// Which cluster.
        cluster: usize,
        /// The configuration of the file: that in force, if it turns back.
        to: Config,
        /// The same as written.
        spec: Box<Spec>,
    },
    /// One more cluster is served from here on; it gets the next number.
    Joined(Box<Joined>),
    /// a cluster is not to be served any more: its node stops, and then [`Shell::left`].
    Leaves {
        /// Which.
        cluster: usize,
    },
    /// The clusters that can't be served yet.
    Waiting(Vec<Waiting>),
    /// Whether the configuration file of a cluster differs from what runs has changed.
    OnDisk {
        /// Which.
        cluster: usize,
        /// How it is.
        standing: FileOnDisk,
    },
    /// Another program of this process is to go on.
    Upgrade(Ask),
    /// Hand over, release, end.
    Stop,
}

/// A cluster that is served from now on.
#[derive(Debug)]
pub struct Joined {
    /// Its node.
    pub served: Box<Served>,
    /// an earlier incarnation's standing orders.
    pub orders: Vec<(GroupId, Standing, Said)>,
    /// What records every turn.
    pub recorder: Option<Box<dyn Recorder>>,
    /// How it begins.
    pub begun: Begun,
}

/// How a cluster begins to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// As a new incarnation.
    Anew,
    /// The same incarnation goes on in this program, from that one.
    Upgraded(String),
    /// It goes on in this program again, for another one could not.
    Again,
}

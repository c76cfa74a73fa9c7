//! What happened in a run, record by record. Nothing else comes out of a run.

use super::plan::Plan;
use crate::fault::{Fault, Refusable};
use onehold::control::{Order, Reply};
use onehold::trace::Line;
use onehold_core::advert::{Advert, Change, GroupId, MemberId};
use onehold_core::config::Config;
use onehold_core::effect::Event;
use onehold_core::wire;
use std::fmt;
use std::rc::Rc;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// True time, in nanoseconds since the run began.
    pub at: u64,
    /// Which member it happened to, or did it; `None` for the network.
    pub member: Option<MemberId>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The plan did something to the world.
    Inflicted(Fault),
    /// A process began its nth incarnation.
    Began(u32),
    /// A process died, in the middle of a turn or not.
    Died,
    /// A process was paused in the middle of a turn.
    Paused,
    /// A process that should stop has ended.
    Ended,
    /// The machine goes on from its snapshot.
    Restored,
    /// A node reported something, in which groups are numbered as in the plan; and the same for
    /// people.
    Reported(Event, Rc<str>),
    /// From now on this is in force on the member.
    InForce(Box<Config>),
    /// The member refused its file, and why.
    FileRefused(String),
    /// From now on the machine answers for the group's addresses.
    Opened(GroupId),
    /// From now on it does not.
    Shut(GroupId, By),
    /// The kernel refused a hold or a release.
    KernelRefused(Refusable, GroupId),
    /// The member announces.
    Announced(GroupId),
    /// The operator got an answer.
    Answered(Order, Option<GroupId>, Reply),
    /// The operator got no answer, for no process runs.
    NoAnswer(Order),
    /// The member asks whether a kernel answers for the group's addresses.
    Probed(GroupId),
    /// It got an answer.
    ProbeAnswered(GroupId),
    /// A datagram was handed to the network.
    Sent(Sent),
    /// A datagram that was recorded is sent again.
    Replayed(u64),
    /// A datagram reached a process.
    Arrived(u64),
    /// A node had a turn; only if the plan says `traced`.
    Traced(Box<Line>),
}

/// A datagram that was handed to the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Its number.
    pub id: u64,
    /// Its receiver.
    pub to: MemberId,
    /// By which way.
    pub way: Way,
    /// What it is, from its first byte to its seal.
    pub bytes: Rc<[u8]>,
    /// What becomes of it.
    pub fate: Fate,
}

/// The way of an advert to another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a datagram, over one of the paths.
    Path(u8),
    /// As an Ethernet frame, on the network of the groups' addresses: that is the first path's.
    Frame,
}

impl Way {
    /// Over whose links it goes.
    #[must_use]
    pub const fn path(self) -> u8 {
        match self {
            Self::Path(path) => path,
            Self::Frame => 0,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "path {path}"),
            Self::Frame => f.write_str("in a frame"),
        }
    }
}

/// What becomes of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The link is cut, or one of its ends has no address.
    Cut,
    /// It is lost.
    Lost,
    /// It waits until its link heals, or until its sender knows the receiver's hardware address.
    Waits,
    /// The send buffer is full.
    Refused,
    /// It goes through.
    Goes {
        /// Two copies of it do.
        twice: bool,
        /// With a bit flipped.
        corrupt: bool,
        /// It is kept back.
        straggles: bool,
    },
}

/// Why a machine no longer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The deadline that its kernel got has passed, and the guard's slack with it.
    Deadline,
    /// The process let go.
    Release,
    /// A new incarnation scrubbed what an earlier one left.
    Scrub,
    /// The machine does not run, or is off.
    Machine,
    /// The group is not in the configuration that comes into force.
    Change,
}

impl Record {
    /// One line for people, without the time; `None` for datagrams and probes.
    #[must_use]
    pub fn story(&self, plan: &Plan) -> Option<String> {
        let group = |g: &GroupId| match plan.groups() {
            1 => String::new(),
            _ => format!("{}: ", plan.group_name(*g)),
        };
        Some(match &self.what {
            What::Inflicted(fault) => format!("! {fault}"),
            What::Began(1) => "starts".to_owned(),
            What::Began(n) => format!("starts, incarnation {n}"),
            What::Died => "its process is dead".to_owned(),
            What::Paused => "is paused in the middle of a turn".to_owned(),
            What::Ended => "has ended".to_owned(),
            What::Restored => "is as it was at its snapshot".to_owned(),
            What::Reported(_, text) => text.to_string(),
            What::InForce(config) => in_force(config),
            What::FileRefused(why) => format!("refuses its file: {why}"),
            What::Opened(g) => format!("{}answers for the address", group(g)),
            What::Shut(g, by) => format!("{}no longer answers: {}", group(g), by.text()),
            What::KernelRefused(Refusable::Hold, g) => {
                format!("{}the kernel refuses to hold", group(g))
            }
            What::KernelRefused(Refusable::Release, g) => {
                format!("{}the kernel refuses to shut the gate", group(g))
            }
            What::Announced(g) => format!("{}announces (R-16)", group(g)),
            What::Answered(_, _, Reply::Done { lines }) => format!("answers: {}", lines.join("; ")),
            What::Answered(_, _, Reply::Refused { why }) => {
                format!("refuses: {}", why.replace('\n', "; "))
            }
            What::Answered(_, _, Reply::Status(_) | Reply::History(_) | Reply::Reloaded { .. }) => {
                return None;
            }
            What::NoAnswer(_) => "gives no answer: no process runs there".to_owned(),
            What::Sent(_)
            | What::Replayed(_)
            | What::Arrived(_)
            | What::Probed(_)
            | What::ProbeAnswered(_)
            | What::Traced(_) => return None,
        })
    }

    /// One line with everything in it: two runs are equal if these are.
    #[must_use]
    pub fn line(&self, plan: &Plan) -> String {
        let who = self.member.map_or("-", |m| plan.name(m));
        let what = match (&self.what, self.story(plan)) {
            (_, Some(story)) => story,
            (What::Sent(sent), None) => sent.line(plan),
            (other, None) => format!("{other:?}"),
        };
        format!("{} {who} {what}", self.at)
    }
}

fn in_force(config: &Config) -> String {
    let digest = config.digest().0;
    match config.change() {
        Change::None => format!("settled on config {digest:016x} (R-22)"),
        Change::Toward(to) => format!("config {:016x} is to come into force (R-22)", to.0),
        Change::From(_) => {
            format!("config {digest:016x} is in force, and waits for the others (R-22)")
        }
    }
}

impl Sent {
    /// What it says.
    ///
    /// # Panics
    /// If a driver sent anything but an advert.
    #[must_use]
    pub fn advert(&self) -> Advert {
        let said = self.bytes.split_last_chunk::<{ wire::SEAL }>();
        let read = said.and_then(|(said, _)| wire::decode(said).ok());
        let (_, advert) = read.expect("the driver sends nothing but adverts");
        advert
    }

    fn line(&self, plan: &Plan) -> String {
        let said = self.advert();
        format!(
            "sends {} to {} {} {:?}: {:x} at {} to {:x?} echo {:?} {:?}",
            self.id,
            plan.name(self.to),
            self.way,
            self.fate,
            said.incarnation.0,
            said.sent_at.as_nanos(),
            said.to_incarnation.map(|i| i.0),
            said.echo.map(|e| e.as_nanos()),
            said.groups,
        )
    }
}

impl By {
    const fn text(self) -> &'static str {
        match self {
            Self::Deadline => "its kernel's deadline has passed",
            Self::Release => "released",
            Self::Scrub => "a new incarnation scrubbed it (R-9)",
            Self::Machine => "the machine does not run",
            Self::Change => "it is not in the file any more (R-22)",
        }
    }
}

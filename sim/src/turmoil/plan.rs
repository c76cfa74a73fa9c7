//! What is fixed in a run: the cluster, the seed, and what is done to it when.

use onehold::control::Order;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Config, Spec};
use onehold_core::time::Span;

/// A run to be. Equal plans give equal runs, record by record.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What everything that is drawn follows from.
    pub seed: u64,
    /// How much simulated time each step takes; at least a millisecond, in whole milliseconds.
    pub tick: Span,
    /// How long it goes on.
    pub length: Span,
    /// The members by id.
    pub members: Vec<MemberPlan>,
    /// How many paths there are between any two members.
    pub paths: u8,
    /// Every link at the beginning.
    pub weather: Weather,
    /// How kernels send to their neighbours.
    pub sending: Sending,
    /// How long a kernel takes to carry out a release.
    pub confirm_after: Span,
    /// Every turn of every node is recorded, too.
    pub traced: bool,
    /// What happens when; in the order of time.
    pub timeline: Vec<(Span, Change)>,
}

/// One member at the beginning.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    /// The cluster as its file says.
    pub spec: Spec,
    /// The same, proved from its seat.
    pub config: Config,
    /// Its secret.
    pub secret: String,
    /// By how many parts in a million its clock is fast.
    pub ppm: i32,
}

/// How kernels send to their neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// So long after a neighbour was last heard, its hardware address is asked for again. `None`: never, for
    /// the daemon keeps the address of one that it has heard.
    pub forgets: Option<Span>,
    /// What waits for any neighbour fills one buffer for all, and not one for each path to each member.
    pub one_buffer: bool,
}

/// What of all that is sent passes one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passes {
    /// All of it.
    #[default]
    All,
    /// No datagram, as where a firewall drops them.
    NoDatagram,
    /// No frame, so no answer to who has an address either.
    NoFrame,
    /// Nothing now: it waits, and arrives when the link heals.
    Later,
}

/// What one direction of a link does to each datagram. Chances are in percent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weather {
    /// What passes.
    pub passes: Passes,
    /// It is lost.
    pub loss: f64,
    /// A second copy arrives, too.
    pub duplicate: f64,
    /// One bit of it is flipped.
    pub corrupt: f64,
    /// It takes so much longer than the least: up to a tick.
    pub delay: Span,
    /// And up to so much more; so later ones overtake it.
    pub jitter: Span,
    /// It is kept back.
    pub straggle: f64,
    /// For up to so long.
    pub straggle_by: Span,
}

/// Directions of links, on one path or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// As it was written, such as `lb0 -> lb1`.
    pub text: String,
    /// From whom to whom.
    pub pairs: Vec<(MemberId, MemberId)>,
    /// Only this path.
    pub path: Option<u8>,
}

/// How far a process gets before it is killed or paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// No further: between two turns.
    Now,
    /// After so many more effects, which may be in the middle of a turn.
    After(u32),
}

/// Something that is done to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The links' weather from now on; a cut stays as it is.
    Weather(Links, Weather),
    /// No datagram passes there from now on.
    Cut(Links),
    /// No frame passes there from now on.
    CutFrames(Links),
    /// What is sent there from now on waits until it heals.
    Keep(Links),
    /// Everything is as at the beginning there.
    Heal(Links),
    /// What was sent there in the last so much time is sent again, a datagram each so often.
    Replay(Links, Span, Span),
    /// The machine is switched on, if it is off, and the process started.
    Start(MemberId),
    /// `SIGTERM`: hand over, let go, end.
    Stop(MemberId),
    /// `kill -9`.
    Kill(MemberId, Moment),
    /// The process is not run; its kernel is.
    Pause(MemberId, Moment),
    /// The machine is not run; its clock goes on.
    Suspend(MemberId),
    /// The machine is not run, and its clock stands still.
    Freeze(MemberId),
    /// Whatever is not run goes on.
    Resume(MemberId),
    /// The machine is off: process, kernel and clock are gone.
    PowerOff(MemberId),
    /// The clock is fast by so many parts in a million from now on.
    Drift(MemberId, i32),
    /// The clock is stepped ahead.
    ClockStep(MemberId, Span),
    /// The kernel refuses every hold, and every release, or takes them again.
    Refuse {
        /// Whose.
        of: MemberId,
        /// Every hold.
        holds: bool,
        /// Every release.
        releases: bool,
    },
    /// The member's own address is on its machine, or not.
    OwnAddress(MemberId, bool),
    /// The member's file is another one, from its next start.
    Edit(MemberId, Box<Edited>),
    /// The kernel can serve the group, or not.
    Eligible(MemberId, GroupId, bool),
    /// The service behind the group is healthy, or not.
    Healthy(MemberId, GroupId, bool),
    /// Somebody else claims an address of the group on the network of this member.
    Claim(MemberId, GroupId),
    /// The file with this member's secrets is read again: it seals with the first, accepts all.
    Secrets(MemberId, Vec<String>),
    /// The operator speaks; of one group, or of all.
    Operator(MemberId, Order, Option<GroupId>),
}

/// A member's file as somebody left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// What it says now, proved.
    pub config: Config,
    /// Where it differs from before, for people.
    pub says: String,
}

impl Plan {
    /// Somebody edits the member's file while this runs.
    #[must_use]
    pub fn edits(&self, member: MemberId) -> bool {
        let edits =
            |(_, change): &(Span, Change)| matches!(change, Change::Edit(m, _) if *m == member);
        self.timeline.iter().any(edits)
    }

    /// A member's name.
    #[must_use]
    pub fn name(&self, member: MemberId) -> &str {
        let config = self.members.first().map(|m| &m.config);
        config
            .and_then(|c| c.member(member))
            .map_or("?", |m| m.name.as_str())
    }

    /// A group's name.
    #[must_use]
    pub fn group_name(&self, group: GroupId) -> &str {
        let config = self.members.first().map(|m| &m.config);
        config
            .and_then(|c| c.group(group))
            .map_or("?", |g| g.name.as_str())
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.members.first().map_or(0, |m| m.config.groups().len())
    }

    /// All members' ids.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0u8..).take(self.members.len()).map(MemberId)
    }
}

impl Links {
    /// Reads `lb0 -> lb1`, `lb0 <-> lb1`; `*` stands for all others.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str, plan: &Plan, path: Option<u8>) -> Result<Self, String> {
        let (from, to, both) = match (text.split_once("<->"), text.split_once("->")) {
            (Some((a, b)), _) => (a, b, true),
            (None, Some((a, b))) => (a, b, false),
            (None, None) => {
                return Err(format!(
                    "`{text}` is no link; write \"lb0 -> lb1\" for one direction, \"lb0 <-> lb1\" for \
                     both, with * for all others"
                ));
            }
        };
        let of = |name: &str| match name.trim() {
            "*" => Ok(plan.ids().collect()),
            name => member(name, plan).map(|id| vec![id]),
        };
        let (from, to): (Vec<MemberId>, Vec<MemberId>) = (of(from)?, of(to)?);
        let mut pairs = Vec::new();
        for a in &from {
            for b in &to {
                pairs.push((*a, *b));
                pairs.extend(both.then_some((*b, *a)));
            }
        }
        pairs.retain(|(a, b)| a != b);
        pairs.sort_unstable();
        pairs.dedup();
        if pairs.is_empty() {
            return Err(format!(
                "`{text}` links a member with itself; name two, or one and *"
            ));
        }
        let text = text.to_owned();
        Ok(Self { text, pairs, path })
    }
}

impl Links {
    /// Every direction, path by path, of so many paths.
    pub fn each(&self, paths: u8) -> impl Iterator<Item = (u8, MemberId, MemberId)> {
        let meant = (0..paths).filter(|path| self.path.is_none_or(|p| p == *path));
        meant.flat_map(|path| self.pairs.iter().map(move |(from, to)| (path, *from, *to)))
    }
}

/// The member with a name.
///
/// # Errors
/// Says which there are.
pub fn member(name: &str, plan: &Plan) -> Result<MemberId, String> {
    let found = plan.ids().find(|id| plan.name(*id) == name);
    found.ok_or_else(|| {
        let all: Vec<&str> = plan.ids().map(|id| plan.name(id)).collect();
        format!("there is no member `{name}`; there are {}", all.join(", "))
    })
}

//! What is fixed in a run: the cluster, the seed, and what is done to it when.

pub use super::file::Sending;
use crate::error::{Result, err};
use crate::fault::{self, Conditions, Edit, Fault, Links};
use onehold::driver::openings::BeforeHold;
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
    pub conditions: Conditions,
    /// How kernels send to their neighbours.
    pub sending: Sending,
    /// Under `survivor`, each advert also travels as a frame.
    pub frames: bool,
    /// Probes are sent where the core wants to know who answers.
    pub evidence: bool,
    /// How long a kernel takes to carry out a release.
    pub confirm_after: Span,
    /// Every turn of every node is recorded, too.
    pub traced: bool,
    /// What each group waits for before its gate opens.
    pub before_hold: Vec<Option<BeforeHold>>,
    /// What happens when; in the order of time.
    pub timeline: Vec<(Span, Fault)>,
}

/// One member at the beginning.
#[derive(Clone, Debug)]
pub struct MemberPlan {
    /// The cluster as its file says.
    pub spec: Spec,
    /// The same, proved from its view.
    pub config: Config,
    /// Its secret.
    pub secret: String,
    /// By how many parts in a million its clock is fast.
    pub ppm: i32,
    /// How long what `before_hold` runs takes on it.
    pub prepares_in: Span,
}

impl Plan {
    /// The member's file is edited during the run.
    #[must_use]
    pub fn edits(&self, member: MemberId) -> bool {
        let of = self.name(member);
        let edits =
            |(_, fault): &(Span, Fault)| matches!(fault, Fault::Edit(edit) if edit.of == of);
        self.timeline.iter().any(edits)
    }

    /// A member's name.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn name(&self, member: MemberId) -> &str {
        &self.config().members()[usize::from(member.0)].name
    }

    /// A group's name.
    ///
    /// # Panics
    /// If there is no such group.
    #[must_use]
    pub fn group_name(&self, group: GroupId) -> &str {
        &self.config().groups()[usize::from(group.0)].name
    }

    /// The cluster, from the view of its first member.
    ///
    /// # Panics
    /// If there is no member.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.members[0].config
    }

    /// The member that a fault names.
    ///
    /// # Panics
    /// If there is none of that name: a plan names only members that it has.
    #[must_use]
    pub fn id(&self, name: &str) -> MemberId {
        fault::member(name, self.config()).expect("a plan names members that it has")
    }

    /// The group of a name; without one, the first.
    ///
    /// # Errors
    /// Says which there are.
    pub fn group(&self, name: Option<&str>) -> Result<GroupId> {
        let Some(name) = name else {
            return Ok(GroupId(0));
        };
        let ids = || (0u8..).take(self.groups()).map(GroupId);
        let found = ids().find(|g| self.group_name(*g) == name);
        found.ok_or_else(|| {
            let all: Vec<&str> = ids().map(|g| self.group_name(g)).collect();
            let all = all.join(", ");
            err(format!("there is no group `{name}`; there are {all}"))
        })
    }

    /// Directions of links, path by path.
    ///
    /// # Errors
    /// If there are no such members or no such path.
    pub fn links(&self, links: &Links) -> Result<Vec<(u8, MemberId, MemberId)>> {
        let pairs = links.pairs(self.config())?;
        if links.path.is_some_and(|path| path >= self.paths) {
            let paths = self.paths;
            return Err(err(format!(
                "paths are counted from 0, and `paths` is {paths}"
            )));
        }
        let meant = (0..self.paths).filter(|path| links.path.is_none_or(|p| p == *path));
        let each = meant.flat_map(|path| pairs.iter().map(move |(from, to)| (path, *from, *to)));
        Ok(each.collect())
    }

    /// A member's configuration by its edited file.
    ///
    /// # Errors
    /// Why the file can't be.
    pub fn edited(&self, edit: &Edit) -> Result<Config> {
        let of = fault::member(&edit.of, self.config())?;
        let mut spec = self.members[usize::from(of.0)].spec.clone();
        if let Some(delay) = edit.failback_delay {
            spec.groups
                .iter_mut()
                .for_each(|g| g.failback_delay = delay.0);
        }
        if let Some(interval) = edit.interval {
            spec.timing.interval = interval.0;
        }
        if let Some(address) = &edit.address {
            put_address(&mut spec, address)?;
        }
        spec.prove(&edit.of).map_err(err)
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

/// Makes this the first floating address.
///
/// # Errors
/// If it is not an address.
pub(super) fn put_address(spec: &mut Spec, address: &str) -> Result<()> {
    let what = "is not an IP address; write one such as \"10.0.0.60\"";
    let parsed = address.parse();
    spec.groups[0].addresses[0].address = parsed.map_err(|_| format!("`{address}` {what}"))?;
    Ok(())
}

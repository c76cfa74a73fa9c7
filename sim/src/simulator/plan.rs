//! What is fixed in a run: the cluster, the seed, and what is done to it when.

pub use super::file::Sending;
use crate::error::{Result, err};
use crate::fault::{self, Conditions, Edit, Fault, Links};
use onehold::driver::openings::BeforeHold;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Config, Spec};
use onehold_core::lease::Timing;
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
    /// The names of groups that only a later file has. The others are numbered as in the first
    /// member's file at the beginning, and these after them.
    pub later: Vec<String>,
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
    /// A member runs with another file at some time, and another incarnation of it may begin with that.
    #[must_use]
    pub fn begins_with_another_file(&self, member: MemberId) -> bool {
        let of = self.name(member);
        let mut reloaded = false;
        self.timeline.iter().any(|(_, fault)| match fault {
            Fault::Edit(edit) => edit.of == of,
            Fault::Reload(edit) => {
                reloaded |= edit.of == of;
                false
            }
            Fault::Start(name) | Fault::Restore(name) => reloaded && name == of,
            _ => false,
        })
    }

    /// A member's name.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn name(&self, member: MemberId) -> &str {
        let config = &self.members[usize::from(member.0)].config;
        &config.members()[usize::from(config.me().0)].name
    }

    /// A group's name.
    ///
    /// # Panics
    /// If there is no such group.
    #[must_use]
    pub fn group_name(&self, group: GroupId) -> &str {
        let (first, at) = (self.config().groups(), usize::from(group.0));
        match first.get(at) {
            Some(group) => &group.name,
            None => &self.later[at - first.len()],
        }
    }

    /// The group here that has this number in a configuration.
    #[must_use]
    pub fn group_of(&self, config: &Config, number: GroupId) -> Option<GroupId> {
        let name = &config.group(number)?.name;
        (0u8..)
            .take(self.groups())
            .map(GroupId)
            .find(|group| self.group_name(*group) == name)
    }

    /// The number of a group in a configuration, if it is there.
    #[must_use]
    pub fn number_in(&self, config: &Config, group: GroupId) -> Option<GroupId> {
        let name = self.group_name(group);
        let at = config.groups().iter().position(|g| g.name == name)?;
        u8::try_from(at).ok().map(GroupId)
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
        self.find(name).expect("a plan names members that it has")
    }

    /// The member of a name: its place here, which is its number in the first member's file at the
    /// beginning, if it is there.
    ///
    /// # Errors
    /// Says which there are.
    pub fn find(&self, name: &str) -> Result<MemberId> {
        fault::member(name, &self.names())
    }

    fn names(&self) -> Vec<&str> {
        self.ids().map(|id| self.name(id)).collect()
    }

    /// The member here that has this number in a configuration.
    #[must_use]
    pub fn member_of(&self, config: &Config, number: MemberId) -> Option<MemberId> {
        let member = config.members().get(usize::from(number.0))?;
        self.find(&member.name).ok()
    }

    /// Files with other members come into force in the run.
    #[must_use]
    pub fn members_change(&self) -> bool {
        self.edits().any(Edit::changes_members)
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
        let pairs = links.pairs(&self.names())?;
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

    /// A member's edited file, and the configuration by it.
    ///
    /// # Errors
    /// Why the file can't be.
    pub fn edited(&self, edit: &Edit) -> Result<(Spec, Config)> {
        let of = self.find(&edit.of)?;
        let mut spec = self.members[usize::from(of.0)].spec.clone();
        edit.apply(&mut spec)?;
        let config = spec.prove(&edit.of).map_err(err)?;
        Ok((spec, config))
    }

    /// What members' files become during the run.
    pub fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.timeline.iter().filter_map(|(_, fault)| match fault {
            Fault::Edit(edit) | Fault::Reload(edit) => Some(edit),
            _ => None,
        })
    }

    /// The timing of every file that there is in the run; the first is that of the beginning.
    pub fn timings(&self) -> impl Iterator<Item = Timing> {
        let edited = self.edits().filter_map(|edit| self.edited(edit).ok());
        let edited = edited.map(|(_, config)| *config.timing());
        [*self.config().timing()].into_iter().chain(edited)
    }

    /// How many groups there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        let first = self.members.first().map_or(0, |m| m.config.groups().len());
        first + self.later.len()
    }

    /// All members' ids.
    pub fn ids(&self) -> impl Iterator<Item = MemberId> + use<> {
        (0u8..).take(self.members.len()).map(MemberId)
    }
}

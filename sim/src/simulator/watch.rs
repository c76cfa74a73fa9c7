//! Reads a run's records and checks the properties at every moment at which something changed.
//!
//! It knows nothing but the records: what kernels did, what processes did, and what members said.

use super::contact::Contacts;
use super::file::Counted;
use super::plan::Plan;
use super::record::{Fate, Record, Way, What};
use crate::events::Events;
use crate::fault::{Fault, Flag, Refusable};
use crate::liveness::Liveness;
use crate::properties::Facts;
use crate::properties::{FROZEN, Moment, Past, Property, PropertyId, S3, S4, S5};
use crate::show::timeline::Answers;
use onehold::control::{Order, Reply};
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::Event;
use onehold_core::observe::RoleName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

/// The incarnation of a member that has not sent anything in it.
const UNHEARD: Incarnation = Incarnation(0);

/// A property that a moment broke.
#[derive(Clone, Debug)]
pub struct Broken {
    /// True time, in nanoseconds.
    pub at: u64,
    /// Of which group.
    pub group: GroupId,
    /// Which.
    pub property: Property,
    /// What was true then, for people.
    pub facts: String,
}

/// A member claimed another holder.
#[derive(Clone, Copy, Debug)]
pub struct Conflict {
    /// True time, in nanoseconds.
    pub at: u64,
    /// Who.
    pub by: MemberId,
    /// In which group.
    pub group: GroupId,
    /// When the other last said that it holds.
    pub said: Option<u64>,
}

/// What is known of a run so far.
#[derive(Debug)]
pub struct Watch {
    plan: Rc<Plan>,
    /// By member.
    configs: Vec<Config>,
    members: Vec<Known>,
    /// What was known of machines when their snapshots were taken.
    snapshots: BTreeMap<MemberId, Known>,
    /// Whose clocks stand still.
    stands: BTreeSet<MemberId>,
    /// When a fault last changed what a member has not had time to send yet.
    changed: Option<u64>,
    /// An operator had a peer presumed dead.
    presumed: bool,
    /// Which members should stop and have not ended, and since when.
    pub stopping: BTreeMap<MemberId, u64>,
    /// What passes between two members alone.
    pub contacts: Option<Contacts>,
    /// The groups, by id.
    pub groups: Vec<Served>,
    /// Who answers for an address, in whichever group: two files may have it in different ones.
    /// With the group in which it first was answered for.
    pub addresses: BTreeMap<IpAddr, (GroupId, Answers<MemberId, u64>)>,
    /// What was broken: the first moment of each time that a property was.
    pub broken: Vec<Broken>,
    /// What was reported, when and by whom, as people read it.
    pub reports: Vec<(u64, MemberId, String)>,
    /// Conflicts that were claimed.
    pub conflicts: Vec<Conflict>,
    /// When a member let go, and its kernel refused to shut the gate.
    pub unshut: Vec<u64>,
    /// How often what happened.
    pub counts: BTreeMap<Counted, u64>,
}

/// What is known of one member.
#[derive(Clone, Debug)]
struct Known {
    process: Liveness,
    /// From what it said.
    life: Incarnation,
    quarantined: bool,
    /// Its own address is there.
    addressed: bool,
    groups: Vec<KnownGroup>,
}

/// What is known of one member in one group.
#[derive(Clone, Debug)]
struct KnownGroup {
    /// It is in the configuration that the member has in force.
    is: bool,
    effective: bool,
    role: RoleName,
    eligible: bool,
    healthy: bool,
    wanted: bool,
    frozen: bool,
    vote: Option<(MemberId, Incarnation)>,
    /// When it last said that it holds.
    said_holds: Option<u64>,
    /// Since when it lets go, if its kernel has not refused that yet.
    lets_go: Option<u64>,
}

/// A group's history.
#[derive(Clone, Debug)]
pub struct Served {
    /// Who answered when.
    pub answers: Answers<MemberId, u64>,
    /// Which member announced when.
    pub announced: Vec<(u64, MemberId)>,
    /// Which properties are broken now.
    breaking: Vec<PropertyId>,
}

impl Watch {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(plan: &Rc<Plan>) -> Self {
        let group = |is| KnownGroup {
            is,
            effective: false,
            role: RoleName::Standby,
            eligible: true,
            healthy: true,
            wanted: true,
            frozen: false,
            vote: None,
            said_holds: None,
            lets_go: None,
        };
        let groups = || (0u8..).take(plan.groups()).map(GroupId);
        let member = |config| Known {
            process: Liveness::Down,
            life: UNHEARD,
            quarantined: false,
            addressed: true,
            groups: groups()
                .map(|id| group(plan.number_in(config, id).is_some()))
                .collect(),
        };
        let served = Served {
            answers: Answers::from(0),
            announced: Vec::new(),
            breaking: Vec::new(),
        };
        Self {
            configs: plan.members.iter().map(|m| m.config.clone()).collect(),
            members: plan.members.iter().map(|m| member(&m.config)).collect(),
            snapshots: BTreeMap::new(),
            stands: BTreeSet::new(),
            changed: None,
            presumed: false,
            stopping: BTreeMap::new(),
            contacts: Contacts::of(plan),
            groups: vec![served; plan.groups()],
            addresses: BTreeMap::new(),
            broken: Vec::new(),
            reports: Vec::new(),
            conflicts: Vec::new(),
            unshut: Vec::new(),
            counts: BTreeMap::new(),
            plan: Rc::clone(plan),
        }
    }

    /// The next record, not earlier than the one before.
    pub fn see(&mut self, record: &Record) {
        let mut events = Events::default();
        let mut of = None;
        match &record.what {
            What::Sent(sent) if sent.way == Way::Frame => self.count(Counted::Framed),
            What::Sent(sent) => {
                self.count(Counted::Sent);
                match sent.fate {
                    Fate::Cut => self.count(Counted::Cut),
                    Fate::Lost => self.count(Counted::Lost),
                    Fate::Waits => self.count(Counted::Waited),
                    Fate::Refused => self.count(Counted::Refused),
                    Fate::Goes {
                        twice,
                        corrupt,
                        straggles,
                    } => {
                        let all = [
                            (twice, Counted::Doubled),
                            (corrupt, Counted::Corrupted),
                            (straggles, Counted::Straggled),
                        ];
                        let happened = all.into_iter().filter(|(happened, _)| *happened);
                        happened.for_each(|(_, what)| self.count(what));
                    }
                }
            }
            What::Replayed(_) => self.count(Counted::Replayed),
            What::Probed(_) => self.count(Counted::Probed),
            What::ProbeAnswered(_) => self.count(Counted::ProbeAnswered),
            What::Arrived(_) => self.count(Counted::Arrived),
            What::Opened(_) => self.count(Counted::Opened),
            What::Began(_) => self.count(Counted::Began),
            What::Inflicted(fault) => {
                if let Some(contacts) = &mut self.contacts {
                    contacts.suffer(record.at, fault);
                }
            }
            What::InForce(config) => {
                if let (Some(contacts), Some(member)) = (&mut self.contacts, record.member) {
                    contacts.goes_by(record.at, member, config.arbitration());
                }
                self.report(record);
            }
            What::FileRefused(_) => self.report(record),
            What::Reported(event, _) => {
                events.add(event);
                if let Event::Role { group, .. } = event {
                    of = Some(*group);
                }
                if let (Event::Conflict { group, peer }, Some(member)) = (event, record.member) {
                    let peer = &self.members[usize::from(peer.0)];
                    let said = peer.groups[usize::from(group.0)].said_holds;
                    self.conflicts.push(Conflict {
                        at: record.at,
                        by: member,
                        group: *group,
                        said,
                    });
                }
                self.report(record);
            }
            _ => {}
        }
        let Some(member) = record.member else { return };
        if self.learn(record, member) || events != Events::default() {
            self.ask(record.at, member, (events, of));
        }
    }

    fn report(&mut self, record: &Record) {
        if let (Some(member), Some(text)) = (record.member, record.story(&self.plan)) {
            self.reports.push((record.at, member, text));
        }
    }

    /// A member answers for an address, or not.
    fn look_at_addresses(&mut self, at: u64, member: MemberId) {
        let (config, known) = (
            &self.configs[usize::from(member.0)],
            &self.members[usize::from(member.0)],
        );
        let mut now: BTreeMap<IpAddr, GroupId> = BTreeMap::new();
        for (number, group) in (0u8..).map(GroupId).zip(config.groups()) {
            let of = self.plan.group_of(config, number);
            let open = of.filter(|of| known.groups[usize::from(of.0)].effective);
            let addresses = group.addresses.iter();
            now.extend(open.into_iter().flat_map(|of| {
                let addresses = addresses.clone();
                addresses.map(move |prefix| (prefix.address, of))
            }));
        }
        for (address, (_, answers)) in &mut self.addresses {
            answers.set(at, member, now.remove(address).is_some());
        }
        for (address, group) in now {
            let mut answers = Answers::from(0);
            answers.set(at, member, true);
            self.addresses.insert(address, (group, answers));
        }
    }

    /// Another configuration is in force on a member.
    fn go_by(&mut self, member: MemberId, config: &Config) {
        let groups = (0u8..).take(self.groups.len()).map(GroupId);
        let known = self.members[usize::from(member.0)].groups.iter_mut();
        for (group, known) in groups.zip(known) {
            let was = known.is;
            known.is = self.plan.number_in(config, group).is_some();
            if !was && known.is {
                known.begin(config.is_candidate(member));
            }
        }
        self.configs[usize::from(member.0)] = config.clone();
    }

    fn count(&mut self, what: Counted) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Takes note of what a record says of a member; returns whether that may matter to a property.
    fn learn(&mut self, record: &Record, member: MemberId) -> bool {
        let plan = Rc::clone(&self.plan);
        let Some(known) = self.members.get_mut(usize::from(member.0)) else {
            return false;
        };
        match &record.what {
            What::Sent(sent) => {
                let said = sent.advert();
                let mut news = known.quarantined != said.quarantined;
                news |= known.life != said.incarnation;
                known.life = said.incarnation;
                known.quarantined = said.quarantined;
                let config = &self.configs[usize::from(member.0)];
                let groups = (0u8..).map(GroupId).zip(&mut known.groups);
                for (group, of) in groups {
                    let number = plan.number_in(config, group);
                    let says = number.and_then(|n| said.groups.get(usize::from(n.0)));
                    let (Some(says), group) = (says, of) else {
                        continue;
                    };
                    let vote = says.vote.map(|b| (b.member, b.incarnation));
                    news |= group.vote != vote;
                    group.vote = vote;
                    if says.holds {
                        group.said_holds = Some(record.at);
                    }
                }
                return news;
            }
            What::KernelRefused(Refusable::Release, group) => {
                let began = known.groups[usize::from(group.0)].lets_go.take();
                self.unshut.extend(began);
                return false;
            }
            What::InForce(config) => {
                self.go_by(member, config);
                self.look_at_addresses(record.at, member);
            }
            What::FileRefused(_)
            | What::Arrived(_)
            | What::Replayed(_)
            | What::KernelRefused(Refusable::Hold, _)
            | What::Probed(_)
            | What::ProbeAnswered(_)
            | What::NoAnswer(_)
            | What::Traced(_) => {
                return false;
            }
            What::Began(_) => {
                known.process = Liveness::Up;
                known.life = UNHEARD;
                known.quarantined = true;
                let witness = !plan.members[0].config.is_candidate(member);
                known.groups.iter_mut().for_each(|g| g.begin(!witness));
            }
            What::Died | What::Ended => {
                known.die();
                self.stopping.remove(&member);
            }
            What::Restored => {
                if let Some(then) = self.snapshots.get(&member) {
                    known.restore(then);
                }
                self.changed = Some(record.at);
            }
            What::Paused => known.process = Liveness::Paused,
            What::Opened(group) | What::Shut(group, _) => {
                let opened = matches!(record.what, What::Opened(_));
                known.groups[usize::from(group.0)].effective = opened;
                let answers = &mut self.groups[usize::from(group.0)].answers;
                answers.set(record.at, member, opened);
                self.look_at_addresses(record.at, member);
            }
            What::Announced(group) => {
                let served = &mut self.groups[usize::from(group.0)];
                served.announced.push((record.at, member));
                return false;
            }
            What::Answered(order, group, Reply::Done { .. }) => {
                let groups = known.groups.iter_mut().enumerate();
                let meant = |i: usize| group.is_none_or(|g| usize::from(g.0) == i);
                for (_, g) in groups.filter(|(i, _)| meant(*i)) {
                    match order {
                        Order::Standby => g.wanted = false,
                        Order::Resume => g.wanted = true,
                        Order::Freeze => g.frozen = true,
                        Order::Thaw => g.frozen = false,
                        Order::Switch | Order::PresumeDead => {}
                    }
                }
            }
            What::Answered(..) => return false,
            What::Reported(event, _) => {
                if let Event::Role { group, to, .. } = event {
                    let known = &mut known.groups[usize::from(group.0)];
                    known.role = *to;
                    known.lets_go = (*to == RoleName::Releasing).then_some(record.at);
                }
            }
            What::Inflicted(fault) => {
                if matches!(fault, Fault::Stop(_)) && known.process != Liveness::Down {
                    self.stopping.entry(member).or_insert(record.at);
                }
                self.presumed |= matches!(
                    fault,
                    Fault::Command {
                        say: Order::PresumeDead,
                        ..
                    }
                );
                let changed = matches!(
                    fault,
                    Fault::Command { .. }
                        | Fault::Stop(_)
                        | Fault::Eligible(_)
                        | Fault::OwnAddress { .. }
                );
                // While a clock stood still, or was set back, what it heard before did not get older.
                let goes_on = match fault {
                    Fault::Freeze(_) => {
                        self.stands.insert(member);
                        false
                    }
                    Fault::Resume(_) => self.stands.remove(&member),
                    Fault::Restore(_) => true,
                    _ => false,
                };
                if changed || goes_on {
                    self.changed = Some(record.at);
                }
                known.inflict(&plan, fault);
                if matches!(fault, Fault::Snapshot(_)) {
                    self.snapshots.insert(member, known.clone());
                }
            }
        }
        true
    }

    /// Asks the properties; what was reported is of one group, or of none.
    fn ask(&mut self, at: u64, member: MemberId, reported: (Events, Option<GroupId>)) {
        // a member that presumes its peer dead holds without its vote.
        // S3 asks for a majority of the first file's members.
        let by_votes = self.configs[0].arbitration() == Arbitration::Majority;
        let votes = by_votes && !self.presumed && !self.plan.members_change();
        // S5 is about what a peer sent; what was done to it just now it could not have sent yet.
        let vote = self.configs[0].timing().vote().as_nanos();
        let changed = self
            .changed
            .is_some_and(|changed| at <= changed + vote + vote / 10);
        let asked = [(S3, votes), (S4, true), (S5, !changed), (FROZEN, !changed)];
        for group in (0u8..).take(self.groups.len()).map(GroupId) {
            let of = usize::from(group.0);
            let facts: Vec<Facts> = self.members.iter().map(|m| m.facts(of)).collect();
            let moment = Moment {
                configs: &self.configs,
                facts: &facts,
                events: match reported {
                    (events, of) if of == Some(group) => events,
                    _ => Events::default(),
                },
                member: member.0,
                past: Past::default(),
            };
            for (property, _) in asked.iter().filter(|(_, asked)| *asked) {
                let breaking = &mut self.groups[of].breaking;
                let was = breaking.iter().position(|id| *id == property.id);
                match ((property.holds)(&moment), was) {
                    (true, Some(i)) => {
                        breaking.remove(i);
                    }
                    (false, None) => {
                        breaking.push(property.id);
                        let facts = facts_text(&self.plan, &facts);
                        self.broken.push(Broken {
                            at,
                            group,
                            property: *property,
                            facts,
                        });
                    }
                    (true, None) | (false, Some(_)) => {}
                }
            }
        }
    }
}

impl KnownGroup {
    /// A member begins to vote in it, and may hold it.
    const fn begin(&mut self, candidate: bool) {
        self.vote = None;
        self.wanted = true;
        self.frozen = false;
        self.role = match candidate {
            true => RoleName::Standby,
            false => RoleName::Witness,
        };
    }
}

impl Known {
    fn die(&mut self) {
        self.process = Liveness::Down;
        for group in &mut self.groups {
            group.vote = None;
        }
    }

    /// The process is as it was then; what is true of its machine says itself.
    fn restore(&mut self, then: &Self) {
        let groups = self.groups.iter().zip(&then.groups);
        let groups = groups.map(|(now, then)| KnownGroup {
            effective: now.effective,
            eligible: now.eligible,
            healthy: now.healthy,
            ..then.clone()
        });
        *self = Self {
            groups: groups.collect(),
            addressed: self.addressed,
            ..then.clone()
        };
    }

    fn inflict(&mut self, plan: &Plan, fault: &Fault) {
        let group = |flag: &Flag| {
            let group = plan.group(flag.group.as_deref());
            usize::from(group.expect("a plan names groups that there are").0)
        };
        match fault {
            Fault::PowerOff(_) => self.die(),
            Fault::Suspend(_) | Fault::Freeze(_) if self.process == Liveness::Up => {
                self.process = Liveness::Paused;
            }
            Fault::Resume(_) if self.process == Liveness::Paused => self.process = Liveness::Up,
            Fault::Stop(_) => self.groups.iter_mut().for_each(|g| g.wanted = false),
            Fault::OwnAddress { is, .. } => self.addressed = *is,
            Fault::Eligible(flag) => self.groups[group(flag)].eligible = flag.is,
            Fault::Healthy(flag) => self.groups[group(flag)].healthy = flag.is,
            _ => {}
        }
    }

    fn facts(&self, group: usize) -> Facts {
        let known = &self.groups[group];
        Facts {
            process: self.process,
            effective: known.effective,
            releasing: known.role == RoleName::Releasing,
            preparing: false,
            due: false,
            role: (self.process != Liveness::Down).then_some(known.role),
            // nor does it vote in a group that it does not have.
            quarantined: self.quarantined || !known.is,
            vote: known.vote,
            eligible: known.eligible && self.addressed,
            healthy: known.healthy,
            wanted: known.wanted,
            frozen: known.frozen,
            may_step: false,
            changes: false,
            second_file: false,
            fixed: false,
            lives: 0,
            incarnation: self.life,
        }
    }
}

fn facts_text(plan: &Plan, facts: &[Facts]) -> String {
    let of = |(id, f): (MemberId, &Facts)| {
        let process = match f.process {
            Liveness::Up => "runs",
            Liveness::Paused => "is paused",
            Liveness::Down => "is dead",
        };
        let role = f.role.map_or("", RoleName::text);
        let answers = if f.effective { ", answers" } else { "" };
        let vote = match f.vote {
            Some((to, _)) => format!(", votes for {}", plan.name(to)),
            None => String::new(),
        };
        format!("{} {process} {role}{answers}{vote}", plan.name(id))
    };
    let all: Vec<String> = plan.ids().zip(facts).map(of).collect();
    all.join("; ")
}

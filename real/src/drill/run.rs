//! The drill itself: one event after another, each measured from the network by another machine.

use super::cost::{Cost, Ms};
use super::fault::{Event, Start, Victim};
use super::keeper::Keeper;
use super::lines::{Begin, Figures, Who};
use super::observe::{host, mac_text};
use super::page;
use super::situation;
use super::watcher::Watcher;
use crate::address;
use crate::clock::boottime;
use crate::netlink::Netlink;
use crate::status::{GroupStatus, Status};
use crate::wall;
use onehold_core::time::{LocalTime, Span};
use serde::Serialize;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one of the others must have answered before a fault is over, and the holder alone before
/// all is well again.
const SETTLED: Duration = Duration::from_millis(500);
const WELL: Duration = Duration::from_secs(1);
/// How long the observer may take to begin (it may ask for a password), and to see who answers.
const BEGINS: Duration = Duration::from_secs(60);
const SEES: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);
/// How long a daemon that may be frozen is waited for.
const STATUS: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// The member and its group.
    pub victim: Victim,
    /// What its daemon says.
    pub status: Status,
    /// The events, in order.
    pub events: Vec<Event>,
    /// The command that observes.
    pub observer: String,
    /// How long nobody may answer.
    pub budget: Span,
    /// How long a fault may last.
    pub longest: Duration,
    /// How long it may take until all is well again.
    pub patience: Duration,
    /// The deadline of the group's `before_hold`.
    pub before_hold: Option<Span>,
    /// The directory for the page.
    pub to: PathBuf,
}

/// Why nothing was done.
#[derive(Debug)]
pub struct Refused(pub String);

/// What was done and seen: for the page, and the auditor.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Of this format.
    pub version: u32,
    /// When it began, by the victim's wall clock.
    pub time: String,
    /// The cluster.
    pub cluster: String,
    /// The group.
    pub group: String,
    /// The address that was asked for.
    pub address: String,
    /// The victim.
    pub member: String,
    /// Who looked on.
    pub observer: String,
    /// That is a candidate: its own gate is what its daemon says.
    pub observer_is_candidate: bool,
    /// How often it asked.
    pub every_ms: f64,
    /// How long nobody may answer.
    pub budget_ms: f64,
    /// Everything was done, and within the budget, and never did two answer.
    pub within: bool,
    /// For how long two answered, in all.
    pub two_ms: f64,
    /// The longest that the observer missed.
    pub hole_ms: f64,
    /// What was done.
    pub events: Vec<Row>,
    /// Why it ended early, if it did.
    pub ended_early: Option<String>,
    /// Where the page is.
    pub page: Option<String>,
}

/// One event.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub event: Event,
    /// When, by the observer's wall clock.
    pub time: String,
    /// What it might have cost.
    pub expected_ms: f64,
    /// What was seen; nothing if the observer was lost.
    pub seen: Option<Figures>,
    /// Who answered from when on, in milliseconds since the event; nobody if empty.
    pub answered: Vec<(f64, Vec<Who>)>,
    /// How long it took until all was well again.
    pub well_after_ms: Option<f64>,
    /// Within the budget, and never two.
    pub within: bool,
    /// What went wrong.
    pub remark: Option<String>,
}

/// A drill that may begin.
pub struct Drill {
    options: Options,
    costs: Vec<Cost>,
    begin: Begin,
    watcher: Watcher,
    /// The hardware addresses of this host.
    own: Vec<String>,
    _alone: UnixListener,
}

impl Drill {
    /// Looks whether all is well, here and from the network, and what the events may cost.
    ///
    /// # Errors
    /// Why the drill may not begin.
    pub fn prepare(options: Options) -> Result<Self, Refused> {
        let alone = alone(&options.status).map_err(Refused)?;
        let group = the_group(&options);
        refuse(situation::wrong(
            &options.status,
            &group.name,
            &options.status.member,
        ))?;
        refuse(impossible(&options, group))?;
        let own = own_addresses().map_err(Refused)?;
        let words = format!(
            "{} {} --cluster {} --marks",
            options.observer, group.name, options.status.cluster
        );
        let mut watcher = Watcher::start(&words).map_err(Refused)?;
        let begin = watcher.begin(BEGINS).map_err(Refused)?;
        refuse(unsuitable(&options, group, &begin))?;
        watcher.pump_until(SEES, |w| only(&w.answers, &own));
        if !only(&watcher.answers, &own) {
            let answers = in_words(&watcher.answers);
            let why = format!(
                "the observer should see this machine alone answer for {}, and sees {answers}",
                begin.address
            );
            return Err(Refused(watcher.gone().map_or(why, str::to_owned)));
        }
        let deadline = options.before_hold.map(Span::as_millis_f64);
        let cost =
            |event: &Event| Cost::of(*event, &options.status, group, deadline, begin.every_ms);
        let costs: Vec<Cost> = options.events.iter().map(cost).collect();
        let budget = options.budget.as_millis_f64();
        let all = options.events.iter().zip(&costs);
        let beyond = all.filter(|(_, cost)| cost.ms() > budget);
        refuse(
            beyond
                .map(|(event, cost)| {
                    format!(
                        "{event} may take longer than the budget of {}: {cost}; give --budget {:.0}ms, or leave \
                         {event} out with --only",
                        Ms(budget),
                        cost.ms().ceil()
                    )
                })
                .collect(),
        )?;
        Ok(Self {
            options,
            costs,
            begin,
            watcher,
            own,
            _alone: alone,
        })
    }

    /// What will be done, for people.
    #[must_use]
    pub fn plan(&self) -> String {
        let Options { status, victim, .. } = &self.options;
        let mut text = format!(
            "This takes group {} ({}) away from {} on purpose, while {} looks on:\n",
            victim.group,
            self.begin.address,
            status.member,
            observer(&self.begin)
        );
        for (event, cost) in self.options.events.iter().zip(&self.costs) {
            text += &format!(
                "  {event:<8} {}\n           may cost {cost}\n",
                event.what()
            );
        }
        let others = status.groups.iter().filter(|g| g.name != victim.group);
        let others: Vec<&str> = others
            .filter(|g| g.role == "holder")
            .map(|g| g.name.as_str())
            .collect();
        if !others.is_empty() {
            text += &format!(
                "Other groups that are held here move, too: {}.\n",
                others.join(", ")
            );
        }
        text += &format!(
            "The budget is {}. No fault lasts longer than {:?}. Ctrl-C, or an end of any kind, undoes it.\n",
            Ms(self.options.budget.as_millis_f64()),
            self.options.longest
        );
        text
    }

    /// Does it.
    #[must_use]
    pub fn run(mut self) -> Record {
        let status = &self.options.status;
        let mut record = Record {
            version: 1,
            time: wall::text(wall::now()),
            cluster: status.cluster.clone(),
            group: self.options.victim.group.clone(),
            address: self.begin.address.clone(),
            member: status.member.clone(),
            observer: observer(&self.begin),
            observer_is_candidate: self.begin.asks_own_daemon,
            every_ms: self.begin.every_ms,
            budget_ms: self.options.budget.as_millis_f64(),
            within: false,
            two_ms: 0.0,
            hole_ms: 0.0,
            events: Vec::new(),
            ended_early: None,
            page: None,
        };
        match Keeper::start() {
            Ok(mut keeper) => {
                let events = self.options.events.clone();
                for (event, cost) in events.into_iter().zip(self.costs.clone()) {
                    let row = self.one(event, &cost, &mut keeper);
                    let row = row.unwrap_or_else(|why| Row::not_done(event, &cost, &why));
                    let unwell = row.well_after_ms.is_none().then(|| row.remark.clone());
                    let ended = self.watcher.ended().map(str::to_owned);
                    record.ended_early = ended.or(unwell.flatten());
                    record.events.push(row);
                    if record.ended_early.is_some() {
                        break;
                    }
                }
            }
            Err(why) => record.ended_early = Some(why),
        }
        record.two_ms = self.watcher.two_ms;
        record.hole_ms = self.watcher.hole_ms;
        let done = record.events.len() == self.options.events.len();
        record.within = done
            && record.ended_early.is_none()
            && record.two_ms == 0.0
            && record.events.iter().all(|row| row.within);
        record.page = page::write(&record, &self.options.to);
        record
    }

    /// One event, until all is well again. Whatever becomes of it, it is undone.
    ///
    /// # Errors
    /// Why it was not done.
    fn one(&mut self, event: Event, cost: &Cost, keeper: &mut Keeper) -> Result<Row, String> {
        let Options {
            victim,
            longest,
            patience,
            budget,
            ..
        } = &self.options;
        let (victim, longest, patience, budget) = (victim.clone(), *longest, *patience, *budget);
        let undo = victim.undo(event)?;
        let began = self.watcher.mark(&format!("begin {event}"))?;
        self.watcher.forget();
        keeper.arm(undo, longest)?;
        let at = boottime();
        let inflicted = victim.inflict(event, longest);
        let mut remark = inflicted.err();
        let taken = remark.is_none() && self.taken(at.plus(longest.into()));
        if remark.is_none() && !taken && self.watcher.ended().is_none() {
            remark = Some(format!("nobody took over within {longest:?}"));
        }
        if event == Event::Kill && victim.start.as_ref().is_some_and(is_unit) {
            self.comes_back(at.plus(longest.into()));
        }
        if let Err(why) = keeper.undo() {
            remark = Some(format!("it could not be undone: {why}"));
        }
        let well = match self.well(patience) {
            Ok(()) => Some(boottime().since(at).as_millis_f64()),
            Err(why) => {
                remark = remark.or(Some(why));
                None
            }
        };
        let ended = self.watcher.mark(&format!("end {event}"));
        let seen = ended.as_ref().ok().map(|mark| mark.seen);
        let budget = budget.as_millis_f64();
        if let Some(seen) =
            seen.filter(|seen| seen.outage_ms > budget && seen.hole_ms > budget / 4.0)
        {
            let why = format!("the observer itself missed {}", Ms(seen.hole_ms));
            remark = remark.or(Some(why));
        }
        let kept = |seen: Figures| seen.outage_ms <= budget && seen.two_ms == 0.0;
        Ok(Row {
            event,
            time: began.time,
            expected_ms: cost.ms(),
            seen,
            answered: self.watcher.answered_since(began.at_ms),
            well_after_ms: well,
            within: remark.is_none() && seen.is_some_and(kept),
            remark: remark.or(ended.err()),
        })
    }

    /// Waits until somebody else has answered for a while.
    fn taken(&mut self, until: LocalTime) -> bool {
        let own = self.own.clone();
        let by_another = move |by: &[Who]| by.len() == 1 && !only(by, &own);
        let left = Duration::from(until.since(boottime()));
        self.watcher.pump_until(left, |w| by_another(&w.answers));
        let left = Duration::from(until.since(boottime()));
        self.watcher.pump_until(left.min(SETTLED), |_| false);
        by_another(&self.watcher.answers)
    }

    /// Waits until a killed daemon answers again.
    fn comes_back(&mut self, until: LocalTime) {
        while boottime() < until && self.watcher.ended().is_none() && self.status().is_err() {
            self.watcher.pump_until(LOOK, |_| false);
        }
    }

    fn status(&self) -> Result<Status, String> {
        let daemon = &self.options.victim.daemon;
        situation::ask(&daemon.socket, &daemon.cluster, STATUS)
    }

    /// Waits until all is well again: nothing is wrong by the status of this member, and the one
    /// that should have the address answers alone.
    ///
    /// # Errors
    /// What is still wrong when there was no more patience, or the drill was interrupted.
    fn well(&mut self, patience: Duration) -> Result<(), String> {
        let group = the_group(&self.options);
        let here = comes_back(&self.options.status, group);
        let holder = match here {
            true => self.options.status.member.clone(),
            false => group.successor.clone().unwrap_or_default(),
        };
        let name = group.name.clone();
        let own = self.own.clone();
        let until = boottime().plus(patience.into());
        let mut since = None;
        loop {
            let wrong = match self.status() {
                Ok(status) => situation::wrong(&status, &name, &holder),
                Err(why) => vec![why],
            };
            let by = &self.watcher.answers;
            let seen = by.len() == 1 && only(by, &own) == here;
            if let Some(why) = self.watcher.ended() {
                return Err(why.to_owned());
            }
            match (wrong.first(), seen) {
                (None, true)
                    if since.is_some_and(|at: LocalTime| boottime().since(at) >= WELL.into()) =>
                {
                    return Ok(());
                }
                (None, true) => since = since.or(Some(boottime())),
                (why, _) => {
                    since = None;
                    if boottime() >= until {
                        let answers = format!("{} answers", in_words(by));
                        let why = why.unwrap_or(&answers);
                        return Err(format!("it was not well again within {patience:?}: {why}"));
                    }
                }
            }
            self.watcher.pump_until(LOOK, |_| false);
        }
    }
}

impl Row {
    fn not_done(event: Event, cost: &Cost, why: &str) -> Self {
        Self {
            event,
            time: wall::text(wall::now()),
            expected_ms: cost.ms(),
            seen: None,
            answered: Vec::new(),
            well_after_ms: None,
            within: false,
            remark: Some(format!("not done: {why}")),
        }
    }
}

impl Record {
    /// One line for the auditor.
    #[must_use]
    pub fn line(&self) -> String {
        let events: Vec<String> = self.events.iter().map(Row::short).collect();
        let kept = match (&self.ended_early, self.within) {
            (Some(why), _) => format!("NOT COMPLETE: {why}"),
            (None, true) => "kept".to_owned(),
            (None, false) => "NOT KEPT".to_owned(),
        };
        format!(
            "{} drill of cluster {}, group {} ({}) on {}, seen by {}: nobody answered for at most {}; two answered: \
             {}; budget {}: {kept}",
            self.time,
            self.cluster,
            self.group,
            self.address,
            self.member,
            self.observer,
            events.join(", "),
            Ms(self.two_ms),
            Ms(self.budget_ms)
        )
    }
}

impl Row {
    fn short(&self) -> String {
        let seen = self
            .seen
            .map_or_else(|| "?".to_owned(), |seen| Ms(seen.outage_ms).to_string());
        match &self.remark {
            Some(why) => format!("{seen} ({}: {why})", self.event),
            None => format!("{seen} ({})", self.event),
        }
    }
}

/// Who looks on.
fn observer(begin: &Begin) -> String {
    begin
        .member
        .clone()
        .unwrap_or_else(|| "a machine that is no member".to_owned())
}

/// Those that answer, in words.
#[must_use]
pub fn in_words(by: &[Who]) -> String {
    match by {
        [] => "nobody".to_owned(),
        some => some.iter().map(Who::text).collect::<Vec<_>>().join(" and "),
    }
}

/// Whether this host answers, and nobody else.
fn only(by: &[Who], own: &[String]) -> bool {
    matches!(by, [who] if own.contains(&who.mac))
}

fn refuse(why: Vec<String>) -> Result<(), Refused> {
    match why.is_empty() {
        true => Ok(()),
        false => Err(Refused(why.join("\n  "))),
    }
}

fn is_unit(start: &Start) -> bool {
    matches!(start, Start::Unit(_))
}

fn the_group(options: &Options) -> &GroupStatus {
    let found = options
        .status
        .groups
        .iter()
        .find(|g| g.name == options.victim.group);
    found.expect("the group was taken from this status")
}

/// Whether the group comes back here by itself.
fn comes_back(status: &Status, group: &GroupStatus) -> bool {
    group.failback == "auto" && group.preferred == status.member
}

/// What of it can't be done, or would not be an exercise but an outage.
fn impossible(options: &Options, group: &GroupStatus) -> Vec<String> {
    let (status, events) = (&options.status, &options.events);
    let mut wrong = Vec::new();
    let (name, preferred) = (&group.name, &group.preferred);
    if !comes_back(status, group) && events.len() > 1 {
        wrong.push(format!(
            "{name} does not come back to {} by itself (preferred {preferred}, failback {}), so only the first event \
             would be one: name it with --only, and drill again on the other candidate",
            status.member, group.failback
        ));
    }
    let alone = status.arbitration == "majority" && status.members == 2;
    for event in events.iter().filter(|event| alone && !event.is_planned()) {
        wrong.push(format!(
            "{event}: two members under `majority` have no takeover by themselves; leave it out: --only standby,stop"
        ));
    }
    let undo = events.iter().map(|event| options.victim.undo(*event));
    wrong.extend(undo.filter_map(Result::err));
    wrong
}

/// Why an observer is none for this drill.
fn unsuitable(options: &Options, group: &GroupStatus, begin: &Begin) -> Vec<String> {
    let mut wrong = Vec::new();
    if begin.host == host() || begin.member.as_ref() == Some(&options.status.member) {
        wrong.push(
            "the observer looks from this machine, which is the one that is taken down: start it on another, such as \
             --observer \"ssh root@witness onehold observe\""
                .to_owned(),
        );
    }
    let bare = group.addresses.iter().filter_map(|a| a.split('/').next());
    if !bare.clone().any(|a| a == begin.address) {
        wrong.push(format!(
            "the observer asks for {}, which is not an address of {}: {}",
            begin.address,
            group.name,
            bare.collect::<Vec<_>>().join(", ")
        ));
    }
    match begin.round_trip_ms {
        Some(trip) if trip > begin.every_ms => wrong.push(format!(
            "an answer takes {} to the observer, longer than the {} between two requests: add --every to its command, \
             or observe from nearer by",
            Ms(trip),
            Ms(begin.every_ms)
        )),
        // Nobody answers it, which is said with who does.
        _ => {}
    }
    wrong
}

fn own_addresses() -> Result<Vec<String>, String> {
    let links = Netlink::open(libc::NETLINK_ROUTE).and_then(|mut route| address::links(&mut route));
    let links = links.map_err(|e| e.to_string())?;
    Ok(links.iter().map(|link| mac_text(link.mac)).collect())
}

/// One drill at a time for a member, in a network namespace.
fn alone(status: &Status) -> Result<UnixListener, String> {
    let name = format!("onehold-drill/{}/{}", status.cluster, status.member);
    let taken = |_| format!("another drill of {} runs already", status.member);
    let at = UnixAddr::from_abstract_name(name).map_err(|e| e.to_string())?;
    UnixListener::bind_addr(&at).map_err(taken)
}

/// Whether a directory can be written into.
///
/// # Errors
/// Why not.
pub fn writable(directory: &Path) -> Result<(), String> {
    let why = rustix::fs::access(directory, rustix::fs::Access::WRITE_OK);
    why.map_err(|e| {
        format!(
            "{}: {e}; name a directory for the page with --to",
            directory.display()
        )
    })
}

//! A scenario: a plan, and what is expected of its run. Read from a file; see
//! docs/src/simulator.md.

use super::chaos;
pub use super::file::{Counted, Expected};
use super::file::{
    Entry, Evidence, ExpectSection, GroupSection, MemberSection, ScenarioFile, When,
};
use super::plan::{MemberPlan, Plan};
use crate::error::{Error, err};
use crate::fault::{self, Conditions, Edit, Fault};
use crate::properties::PropertyId;
use onehold::config_file::{FileError, Source};
use onehold::driver::openings::BeforeHold;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec, SpecError};
use onehold_core::time::Span;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

/// Most entries that one repeated entry may become.
const MAX_REPEATS: u64 = 100_000;

/// A run to be, and what is expected of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without its ending.
    pub name: String,
    /// What happens, in one line.
    pub title: String,
    /// Which story or complaint this is.
    pub about: String,
    /// It takes minutes: it runs by name only.
    pub slow: bool,
    /// What is run.
    pub plan: Plan,
    /// What must be true, besides what is promised of every run.
    pub expect: Vec<Expect>,
    /// Two should answer at once: for how long at most in all, and why.
    pub two: Option<(Span, String)>,
    /// From when until when two may answer.
    pub excuses: Vec<(Span, Span)>,
}

/// Something that must be true of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// From then on.
    pub from: Span,
    /// Until then; for a holder, by then.
    pub until: Span,
    /// Of which group.
    pub group: GroupId,
    /// Of one address of its, whichever group that is in.
    pub address: Option<IpAddr>,
    /// Which property that is.
    pub property: PropertyId,
    /// What.
    pub what: Expected,
}

/// Reads a scenario's file.
///
/// # Errors
/// Names the file, the line, the key and the remedy.
pub fn read(path: &Path) -> Result<Scenario, FileError> {
    let text = std::fs::read_to_string(path).map_err(|e| FileError {
        file: path.to_owned(),
        line: None,
        what: format!("can't be read: {e}; `cargo lab sim --list` lists the scenarios"),
        may_pass: false,
    })?;
    parse(path, text)
}

/// Reads a scenario from the text of a file.
///
/// # Errors
/// Names the file, the line, the key and the remedy.
pub fn parse(path: &Path, text: String) -> Result<Scenario, FileError> {
    let source = Source::new(path, text);
    let file: ScenarioFile = (source.parse()).map_err(|mut wrong| wrong.remove(0))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    Reader { source: &source }.scenario(name.into_owned(), file)
}

struct Reader<'a> {
    source: &'a Source,
}

impl Reader<'_> {
    fn scenario(&self, name: String, file: ScenarioFile) -> Result<Scenario, FileError> {
        let tick = file.tick.0.as_nanos();
        let whole = tick.is_multiple_of(1_000_000);
        if !whole || !(1_000_000..=100_000_000).contains(&tick) {
            return Err(self.wrong("tick", "must be whole milliseconds, \"1ms\" to \"100ms\""));
        }
        if !(1..=4).contains(&file.paths) {
            return Err(self.wrong("paths", "must be 1 to 4"));
        }
        self.check_conditions("network", &file.network)?;
        let mut plan = Plan {
            seed: file.seed,
            tick: file.tick.0,
            length: file.length.0,
            members: self.members(&file)?,
            paths: file.paths,
            conditions: file.network,
            sending: file.sending,
            frames: file.frames,
            evidence: file.evidence == Evidence::Echo,
            confirm_after: file.confirm.0,
            traced: false,
            before_hold: (file.groups.values())
                .map(|g| g.before_hold.map(BeforeHold::from))
                .collect(),
            later: Vec::new(),
            timeline: Vec::new(),
        };
        plan.later = later(&plan, &file.timeline);
        let off = |id: &MemberId| file.members.get(plan.name(*id)).is_some_and(|m| m.off);
        let on = plan.ids().filter(|id| !off(id));
        let start = on.map(|id| Fault::Start(plan.name(id).to_owned()));
        let mut timeline: Vec<(Span, Fault)> = start.map(|c| (Span::ZERO, c)).collect();
        for (n, entry) in file.timeline.iter().enumerate() {
            self.entry(&plan, &format!("timeline.{n}"), entry, &mut timeline)?;
        }
        let excuses = file.excuse.iter().map(|e| (e.from.0, e.until.0));
        let mut excuses: Vec<(Span, Span)> = excuses.collect();
        if let Some(c) = &file.chaos {
            if c.every.0 == Span::ZERO || c.does.is_empty() || c.from.0 >= c.until.0 {
                let what =
                    "needs `every` above zero, something in `does`, and `from` before `until`";
                return Err(self.wrong("chaos", what));
            }
            if c.until.0.as_nanos() / c.every.0.as_nanos() > MAX_REPEATS {
                let what = format!("more than {MAX_REPEATS} times until {}", c.until.0);
                return Err(self.wrong("chaos.every", what));
            }
            for incident in chaos::incidents(&plan, c) {
                let exact = |us| Span::from_nanos(us * 1_000);
                let faults = incident.faults.into_iter();
                timeline.extend(faults.map(|(at, fault)| (exact(at), fault)));
                excuses.extend(
                    incident
                        .excuse
                        .map(|(from, until)| (exact(from), exact(until))),
                );
            }
        }
        timeline.sort_by_key(|(at, _)| *at); // stable: what is written first is done first
        plan.timeline = timeline;
        self.check_snapshots(&plan)?;
        let mut expect = Vec::new();
        for (n, section) in file.expect.iter().enumerate() {
            expect.push(self.expect(&plan, &format!("expect.{n}"), section)?);
        }
        Ok(Scenario {
            name,
            title: file.title,
            about: file.about,
            slow: file.slow,
            plan,
            expect,
            two: file.two.map(|two| (two.at_most.0, two.because)),
            excuses,
        })
    }

    fn wrong(&self, key: &str, what: impl std::fmt::Display) -> FileError {
        self.source.error(key, what)
    }

    fn check_snapshots(&self, plan: &Plan) -> Result<(), FileError> {
        let mut taken = Vec::new();
        for (at, fault) in &plan.timeline {
            match fault {
                Fault::Snapshot(of) => taken.push(of),
                Fault::Restore(of) if !taken.contains(&of) => {
                    let what = format!("{of} is restored at {at}, and has no snapshot by then");
                    return Err(self.wrong("timeline", what));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_conditions(&self, key: &str, conditions: &Conditions) -> Result<(), FileError> {
        match conditions.impossible() {
            None => Ok(()),
            Some((of, chance)) => {
                let key = format!("{key}.{of}");
                Err(self.wrong(&key, format!("{chance}: a chance is 0 to 100 percent")))
            }
        }
    }

    /// All members. There are always lb0 and lb1, and w where there is no other witness and neither
    /// `arbitration` nor `witness` says otherwise.
    fn members(&self, file: &ScenarioFile) -> Result<Vec<MemberPlan>, FileError> {
        let alone = file.arbitration == Some(Arbitration::Survivor);
        let mut sections = file.members.clone();
        for name in ["lb0", "lb1"] {
            sections.entry(name.to_owned()).or_default();
        }
        if file.witness.unwrap_or(!alone) && !sections.values().any(|m| m.witness && !m.later) {
            let witness = sections.entry("w".to_owned()).or_default();
            witness.witness = true;
        }
        let mut groups = file.groups.clone();
        if groups.is_empty() {
            groups.insert("web".to_owned(), GroupSection::default());
        }
        let spec = Spec {
            cluster: "sim".to_owned(),
            members: (sections.iter())
                .filter(|(_, m)| !m.later)
                .map(|(name, m)| MemberSpec {
                    name: name.clone(),
                    witness: m.witness,
                    addresses: vec![name.clone()],
                })
                .collect(),
            groups: (groups.iter().enumerate())
                .map(|(n, (name, g))| group(n, name, g))
                .collect(),
            arbitration: file.arbitration.unwrap_or(Arbitration::Majority),
            timing: file.timing.spec(file.arbitration),
        };
        let seat = |(name, m): (&String, &MemberSection)| {
            let mut spec = spec.clone();
            if m.later {
                let key = format!("members.{name}.later");
                let what = "no file in the timeline has it among its `witnesses`";
                let first = edits(&file.timeline)
                    .find(|edit| edit.witnesses.iter().flatten().any(|of| of == name))
                    .ok_or_else(|| self.wrong(&key, what))?;
                first
                    .apply(&mut spec)
                    .map_err(|what| self.wrong(&key, what))?;
            }
            if let Some(address) = &m.address {
                let key = format!("members.{name}.address");
                fault::put_address(&mut spec, address).map_err(|what| self.wrong(&key, what))?;
            }
            let config = spec
                .prove(name)
                .map_err(|SpecError { key, problem }| self.wrong(&key, problem))?;
            Ok(MemberPlan {
                spec,
                config,
                secret: m.secret.clone().unwrap_or_else(|| "the secret".to_owned()),
                ppm: m.clock_ppm,
                prepares_in: m.prepares_in.0,
            })
        };
        // As the first file numbers them, and then who is in later ones only.
        let mut all: Vec<_> = sections.iter().collect();
        all.sort_by_key(|(_, m)| (m.later, m.witness));
        all.into_iter().map(seat).collect()
    }

    fn entry(
        &self,
        plan: &Plan,
        key: &str,
        entry: &Entry,
        timeline: &mut Vec<(Span, Fault)>,
    ) -> Result<(), FileError> {
        let fault = self.fault(plan, key, &entry.fault)?;
        let (first, every, until) = match (entry.every, entry.until) {
            (None, None) => (entry.at.0, Span::from_millis(1), entry.at.0),
            (Some(every), Some(until)) if every.0 > Span::ZERO => (entry.at.0, every.0, until.0),
            _ => {
                let what = "`every` (above zero) and `until` go together: say both, or neither";
                return Err(self.wrong(&format!("{key}.every"), what));
            }
        };
        if first > plan.length {
            let what = format!("{first} is after the run's `length`, {}", plan.length);
            return Err(self.wrong(&format!("{key}.at"), what));
        }
        let times = until.as_nanos().saturating_sub(first.as_nanos()) / every.as_nanos();
        if times > MAX_REPEATS {
            let what = format!("{times} repetitions; at most {MAX_REPEATS}");
            return Err(self.wrong(&format!("{key}.every"), what));
        }
        for n in 0..=times {
            let at = first.plus(every.times(n));
            timeline.push((at, fault.clone()));
        }
        Ok(())
    }

    /// The fault, if it can be done here; its group is named.
    fn fault(&self, plan: &Plan, key: &str, written: &Fault) -> Result<Fault, FileError> {
        let mut fault = written.clone();
        let key = format!("{key}.{}", fault.key());
        let wrong = |what: Error| self.wrong(&key, what);
        if let Some(of) = fault.member() {
            plan.find(of).map_err(wrong)?;
        }
        if let Some(links) = fault.links() {
            plan.links(links).map_err(wrong)?;
        }
        let is_order = matches!(fault, Fault::Command { .. });
        if let Some(group) = fault.group_mut() {
            let found = plan.group(group.as_deref()).map_err(wrong)?;
            if !is_order {
                *group = Some(plan.group_name(found).to_owned());
            }
        }
        match &fault {
            Fault::Conditions { are, .. } => self.check_conditions(&format!("{key}.are"), are)?,
            Fault::Secrets { are, .. } if are.is_empty() => {
                return Err(wrong(err("`are` must list at least one secret")));
            }
            Fault::Edit(edit) | Fault::Reload(edit) => {
                plan.edited(edit).map_err(wrong)?;
            }
            _ => {}
        }
        Ok(fault)
    }

    fn expect(&self, plan: &Plan, key: &str, s: &ExpectSection) -> Result<Expect, FileError> {
        let at = |k: &str| format!("{key}.{k}");
        let named = match &s.what {
            Expected::Holder(name) if ["nobody", "anybody"].contains(&name.as_str()) => None,
            Expected::Holder(name) => Some(("holder", name)),
            Expected::Neighbours(name) => Some(("neighbours", name)),
            Expected::Reports(said) => Some(("reports", &said.member)),
            Expected::NeverReports(said) => Some(("never_reports", &said.member)),
            Expected::Announces { member, .. } => Some(("announces", member)),
            _ => None,
        };
        if let Some((key, name)) = named {
            plan.find(name).map_err(|what| self.wrong(&at(key), what))?;
        }
        let When {
            at: moment,
            within,
            from,
            until,
        } = s.when;
        let (from, until) = match (moment, within, from, until) {
            (Some(at), within, None, None) => (at.0, at.0.plus(within.unwrap_or_default().0)),
            (None, None, from, until) => (
                from.unwrap_or_default().0,
                until.map_or(plan.length, |u| u.0),
            ),
            _ => {
                let what = "say when with `at` and perhaps `within`, or with `from` and `until`";
                return Err(self.wrong(key, what));
            }
        };
        if until > plan.length || from > until {
            let what = format!(
                "from {from} until {until} is not within the run's `length`, {}",
                plan.length
            );
            return Err(self.wrong(key, what));
        }
        let group =
            (plan.group(s.group.as_deref())).map_err(|what| self.wrong(&at("group"), what))?;
        Ok(Expect {
            from,
            until,
            group,
            address: s.address,
            property: s.property.unwrap_or(PropertyId::Expected),
            what: s.what.clone(),
        })
    }
}

/// What the files of members become.
fn edits(timeline: &[Entry]) -> impl Iterator<Item = &Edit> {
    timeline.iter().filter_map(|entry| match &entry.fault {
        Fault::Edit(edit) | Fault::Reload(edit) => Some(edit),
        _ => None,
    })
}

/// The names of groups that only a file has which a member gets later.
fn later(plan: &Plan, timeline: &[Entry]) -> Vec<String> {
    let edits = edits(timeline).filter_map(|edit| edit.groups.as_ref());
    let known = |name: &String| plan.group(Some(name)).is_ok();
    let names: BTreeSet<&String> = edits.flat_map(|groups| groups.keys()).collect();
    names.into_iter().filter(|n| !known(n)).cloned().collect()
}

fn group(n: usize, name: &str, g: &GroupSection) -> GroupSpec {
    GroupSpec {
        name: name.to_owned(),
        addresses: vec![Prefix {
            address: [10, 0, u8::try_from(n).unwrap_or(u8::MAX), 50].into(),
            length: 24,
        }],
        preferred: g.preferred.clone(),
        failback: g.failback,
        failback_delay: g.failback_delay.0,
        release_when_unhealthy: g.release_when_unhealthy,
        prepares: g.before_hold.is_some(),
    }
}

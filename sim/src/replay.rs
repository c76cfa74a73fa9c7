//! `onehold-lab replay`: gives the recorded inputs to the shipped core, compares its effects with
//! the recorded ones, and checks what traces say together: adverts against adverts, kernels against
//! S1.

mod changes;
mod world;

use crate::error::{Result, err};
use clap::Args;
use onehold::trace::{Header, Line, Reader, TraceFault};
use onehold_core::Node;
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::auth::Authentic;
use onehold_core::config::Config;
use onehold_core::effect::{Effect, Event};
use onehold_core::input::Input;
use onehold_core::observe::RoleName;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::BufRead;
use std::path::PathBuf;
use world::{Mail, Watch};

/// At most this many flaws are shown; the rest are counted.
const MOST_SHOWN: usize = 10;

/// What to replay.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Traces of one cluster, of any of its members, in any order
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
}

/// Replays traces and says what came of it. Whether all is as it should be.
///
/// # Errors
/// A file that can't be read as a trace, with the line and the remedy.
pub fn run(options: &Options) -> Result<bool> {
    let mut replay = Replay::default();
    for path in &options.traces {
        let trace = Reader::open(path).map_err(err)?;
        replay.read(trace)?;
    }
    let (good, text) = replay.verdict();
    print!("{text}");
    Ok(good)
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileLine {
    file: String,
    line: u64,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Traces as far as they are replayed.
#[derive(Debug, Default)]
pub struct Replay {
    members: BTreeMap<String, MemberSummary>,
    mail: Mail,
    watch: Watch,
    flaws: Flaws,
    notes: Vec<String>,
}

/// What is wrong: the first flaws, and how many there are.
#[derive(Debug, Default)]
struct Flaws {
    shown: Vec<String>,
    count: usize,
}

impl Flaws {
    fn push(&mut self, flaw: String) {
        if self.count < MOST_SHOWN {
            self.shown.push(flaw);
        }
        self.count += 1;
    }
}

/// What was seen of a member.
#[derive(Debug, Default)]
struct MemberSummary {
    incarnations: BTreeSet<Incarnation>,
    turns: u64,
    rejected: u64,
    span: Span,
    roles: BTreeMap<(String, RoleName), Span>,
}

/// A file, as far as it is replayed.
struct File<'a> {
    header: &'a Header,
    /// By name: the member's configuration, and its incarnation now.
    members: BTreeMap<String, (Config, Option<LiveNode>)>,
    /// what each was settled on, and what is to come into force.
    changing: BTreeMap<String, (Config, Vec<Config>)>,
    /// The latest true time.
    time: Span,
}

/// An incarnation, as far as it is replayed.
struct LiveNode {
    node: Node,
    incarnation: Incarnation,
    /// Its start is in the trace.
    starts: bool,
    /// Where its trace begins.
    first: LocalTime,
    /// Its latest turn.
    last: LocalTime,
    /// Its role in each group, and since when.
    roles: Vec<(RoleName, LocalTime)>,
}

/// A line that was replayed.
#[derive(Debug)]
pub struct Replayed<'a> {
    /// Its number in the file.
    pub number: u64,
    /// What it says.
    pub line: &'a Line,
    /// If it is of an incarnation: the member's configuration, and its node after it.
    pub node: Option<(&'a Config, &'a Node)>,
}

impl Replay {
    /// Replays a trace.
    ///
    /// # Errors
    /// What is wrong with the file, with the line and the remedy.
    pub fn read<R: BufRead>(&mut self, trace: Reader<R>) -> Result<()> {
        self.read_with(trace, |_| {})
    }

    /// The same, and calls `see` with each line after it was replayed.
    ///
    /// # Errors
    /// What is wrong with the file, with the line and the remedy.
    pub fn read_with<R: BufRead>(
        &mut self,
        mut trace: Reader<R>,
        mut see: impl FnMut(&Replayed<'_>),
    ) -> Result<()> {
        let (name, header) = (trace.name().to_owned(), trace.header().clone());
        let mut file = File::new(&header).map_err(|e| format!("{name}:1: {e}"))?;
        while let Some(line) = trace.next() {
            let place = FileLine {
                file: name.clone(),
                line: trace.line(),
            };
            match line {
                Ok(line) => {
                    self.line(&mut file, &place, &line);
                    see(&Replayed {
                        number: place.line,
                        node: file.node(&line),
                        line: &line,
                    });
                }
                // All lines before it are whole.
                Err(e) if matches!(e.fault, TraceFault::CutOff) => self.notes.push(e.to_string()),
                Err(e) => return Err(err(e)),
            }
        }
        for (member, (config, live)) in file.members {
            if let Some(live) = live {
                self.ended(&member, &config, &live);
            }
        }
        // A tick lasts to its end.
        let end = file.time.plus(header.tick.unwrap_or(Span::ZERO));
        self.watch.ended(&header.spec, end, &mut self.flaws);
        Ok(())
    }

    fn line(&mut self, file: &mut File<'_>, place: &FileLine, line: &Line) {
        if let Some(time) = time(line) {
            if time < file.time {
                let was = file.time;
                self.flaw(place, format_args!("true time falls from {was} to {time}"));
            }
            file.time = time;
        }
        match line {
            Line::Start {
                member,
                at,
                incarnation,
                earlier,
                doubts,
                spec,
                ..
            } => {
                let known = self.members.get(member);
                if known.is_some_and(|m| m.incarnations.contains(incarnation)) {
                    let what = format_args!(
                        "{member} starts with the same incarnation again: name each trace once"
                    );
                    return self.flaw(place, what);
                }
                if let Err(why) = file.finds(member, spec.as_deref()) {
                    return self.flaw(place, format_args!("{member}: {why}"));
                }
                self.begin(file, place, member, *at, true, |config| {
                    let mut node = Node::start(config, *incarnation, *at, *earlier);
                    if *doubts {
                        node.doubt();
                    }
                    node
                });
            }
            Line::State { member, at, node } => {
                self.begin(file, place, member, *at, false, |_| node.clone());
            }
            Line::Received {
                member,
                at,
                advert,
                reject,
                effects,
                ..
            } => {
                self.mail.received(place, advert);
                let input = Input::Received(Authentic::assumed(advert.clone()));
                self.turn(file, place, member, *at, input, *reject, effects);
            }
            Line::Turn {
                member,
                at,
                input,
                effects,
                ..
            } => self.turn(file, place, member, *at, input.clone(), None, effects),
            Line::Change {
                member,
                at,
                step,
                effects,
                ..
            } => self.step(file, place, member, *at, step, effects),
            Line::Kernel {
                time,
                member,
                group,
                effective,
            } => {
                let all = &file.header.spec.members;
                let member = (0u8..).zip(all).find(|(_, m)| m.name == *member);
                if let Some((id, _)) = member {
                    let who = MemberId(id);
                    self.watch.kernel(place, *time, who, group, *effective);
                }
            }
            Line::Request { answered_by, .. } => self.watch.request(answered_by.is_some()),
            Line::Died { member, .. } => {
                if let Some((config, live)) = file.members.get_mut(member)
                    && let Some(live) = live.take()
                {
                    self.ended(member, config, &live);
                }
            }
            Line::Fault { .. } | Line::Paused { .. } | Line::Resumed { .. } => {}
        }
    }

    /// An incarnation begins, or the rest of one.
    fn begin(
        &mut self,
        file: &mut File<'_>,
        place: &FileLine,
        member: &str,
        at: LocalTime,
        starts: bool,
        node: impl FnOnce(&Config) -> Node,
    ) {
        let Some((config, live)) = file.members.get_mut(member) else {
            return self.flaw(place, format_args!("{}", file.stranger(member)));
        };
        if let Some(live) = live.take() {
            self.ended(member, config, &live);
        }
        let node = node(config);
        let seen = node.observe(config, at);
        self.members
            .entry(member.to_owned())
            .or_default()
            .incarnations
            .insert(seen.incarnation);
        *live = Some(LiveNode {
            node,
            incarnation: seen.incarnation,
            starts,
            first: at,
            last: at,
            roles: seen.groups.iter().map(|g| (g.role, at)).collect(),
        });
    }

    /// What the core does with an input, and what was recorded of it.
    #[expect(clippy::too_many_arguments, reason = "they are a line of a trace")]
    fn turn(
        &mut self,
        file: &mut File<'_>,
        place: &FileLine,
        member: &str,
        at: LocalTime,
        input: Input,
        reject: Option<Reject>,
        recorded: &[Effect],
    ) {
        let Some((config, Some(live))) = file.members.get_mut(member) else {
            return self.flaw(place, format_args!("{}", file.stranger(member)));
        };
        let what = format!("{member} at {}ns, {}", at.as_nanos(), name(config, &input));
        if at < live.last {
            let was = live.last.as_nanos();
            return self.flaw(
                place,
                format_args!("{what}: its clock was at {was}ns before"),
            );
        }
        let mut effects = Vec::new();
        let result = live.node.handle(config, at, input, &mut effects).err();
        let seen = self.members.entry(member.to_owned()).or_default();
        seen.turns += 1;
        seen.rejected += u64::from(result.is_some());
        for effect in &effects {
            if let Effect::Report(Event::Role { group, to, .. }) = effect
                && let Some(role) = live.roles.get_mut(usize::from(group.0))
            {
                seen.add(config, *group, role.0, at.since(role.1));
                *role = (*to, at);
            }
        }
        live.last = at;
        if result != reject {
            self.differs(place, &what, "reject", &result, &reject);
        }
        self.compare(place, &what, &effects, recorded);
    }

    /// What a node did, and what was recorded of it.
    fn compare(&mut self, place: &FileLine, what: &str, effects: &[Effect], recorded: &[Effect]) {
        self.mail.sent(recorded);
        if let Some(n) =
            (0..effects.len().max(recorded.len())).find(|n| effects.get(*n) != recorded.get(*n))
        {
            let which = format!("effect {}", n + 1);
            self.differs(place, what, &which, &effects.get(n), &recorded.get(n));
        }
    }

    /// The trace of an incarnation ends.
    fn ended(&mut self, member: &str, config: &Config, live: &LiveNode) {
        let seen = self.members.entry(member.to_owned()).or_default();
        seen.span = seen.span.plus(live.last.since(live.first));
        for (group, (role, since)) in (0u8..).map(GroupId).zip(&live.roles) {
            seen.add(config, group, *role, live.last.since(*since));
        }
        // What was sent in the turn before a `state` is in the file before.
        let before = live.first.as_nanos().saturating_sub(u64::from(live.starts));
        let after = LocalTime::from_nanos(before);
        self.mail.covered(live.incarnation, after, live.last);
    }

    fn differs<T: Serialize>(
        &mut self,
        at: &FileLine,
        what: &str,
        which: &str,
        core: &T,
        trace: &T,
    ) {
        let json = |of: &T| serde_json::to_string(of).unwrap_or_else(|e| e.to_string());
        let (core, trace) = (json(core), json(trace));
        self.flaw(
            at,
            format_args!("{what}: {which} differs\n  the core  {core}\n  the trace {trace}"),
        );
    }

    fn flaw(&mut self, place: &FileLine, what: fmt::Arguments<'_>) {
        self.flaws.push(format!("{place}: {what}"));
    }

    /// How many turns were replayed.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.members.values().map(|m| m.turns).sum()
    }

    /// Whether all is as it should be; and the report.
    #[must_use]
    pub fn verdict(mut self) -> (bool, String) {
        let mail = self.mail.verdict(&mut self.flaws);
        let turns = self.turns();
        if turns == 0 {
            let what = "nothing to compare: no member has a turn in these traces";
            self.flaws.push(what.to_owned());
        }
        let mut out = String::new();
        for flaw in &self.flaws.shown {
            put(&mut out, format_args!("✗ {flaw}"));
        }
        if let Some(more @ 1..) = self.flaws.count.checked_sub(MOST_SHOWN) {
            put(&mut out, format_args!("✗ and {more} more"));
        }
        for note in &self.notes {
            put(&mut out, format_args!("! {note}"));
        }
        for (name, member) in &self.members {
            put(&mut out, format_args!("  {name}: {member}"));
        }
        let said = match self.flaws.count {
            0 => "the core does in each what was recorded".to_owned(),
            1 => "one thing is wrong, see above".to_owned(),
            n => format!("{n} things are wrong, see above"),
        };
        put(&mut out, format_args!("{turns} turns: {said}"));
        put(&mut out, format_args!("{mail}"));
        put(&mut out, format_args!("{}", self.watch));
        (self.flaws.count == 0, out)
    }
}

fn put(out: &mut String, line: fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{line}");
}

impl<'a> File<'a> {
    fn new(header: &'a Header) -> Result<Self> {
        let member = |name: &String| match header.spec.prove(name) {
            Ok(config) => Ok((name.clone(), (config, None))),
            Err(e) => Err(err(format!("the configuration in it can't be: {e}"))),
        };
        Ok(Self {
            header,
            members: header.members.iter().map(member).collect::<Result<_>>()?,
            changing: BTreeMap::new(),
            time: Span::ZERO,
        })
    }

    /// The node that a line is of, after it.
    fn node(&self, line: &Line) -> Option<(&Config, &Node)> {
        let (Line::Start { member, .. }
        | Line::State { member, .. }
        | Line::Received { member, .. }
        | Line::Turn { member, .. }
        | Line::Change { member, .. }) = line
        else {
            return None;
        };
        let (config, live) = self.members.get(member)?;
        Some((config, &live.as_ref()?.node))
    }

    /// Why a member can't have a turn here.
    fn stranger(&self, member: &str) -> String {
        if self.members.contains_key(member) {
            return format!(
                "{member} has a turn, and no `start` or `state` before it in this file"
            );
        }
        let names = self.header.members.join(", ");
        format!("the first line does not name {member}; it names {names}")
    }
}

impl MemberSummary {
    fn add(&mut self, config: &Config, group: GroupId, role: RoleName, span: Span) {
        let name = config.group_name(group).into_owned();
        let sum = self.roles.entry((name, role)).or_default();
        *sum = sum.plus(span);
    }
}

impl fmt::Display for MemberSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incarnations, turns, rejected) = (self.incarnations.len(), self.turns, self.rejected);
        let plural = if incarnations == 1 { "" } else { "s" };
        let span = self.span;
        write!(
            f,
            "{incarnations} incarnation{plural}, {turns} turns in {span}, {rejected} adverts rejected"
        )?;
        let mut of = "";
        for ((group, role), span) in &self.roles {
            let role = role.text();
            if of == group {
                write!(f, ", {role} {span}")?;
            } else {
                write!(f, "; {group}: {role} {span}")?;
            }
            of = group;
        }
        Ok(())
    }
}

/// The true time of a line, if it has one.
pub(crate) fn time(line: &Line) -> Option<Span> {
    match line {
        Line::Start { time, .. }
        | Line::Received { time, .. }
        | Line::Turn { time, .. }
        | Line::Change { time, .. } => *time,
        Line::State { .. } => None,
        Line::Kernel { time, .. }
        | Line::Fault { time, .. }
        | Line::Request { time, .. }
        | Line::Died { time, .. }
        | Line::Paused { time, .. }
        | Line::Resumed { time, .. } => Some(*time),
    }
}

/// An input in a word or two.
fn name(config: &Config, input: &Input) -> String {
    match input {
        Input::Received(advert) => {
            format!("advert of {}", config.member_name(advert.get().from))
        }
        other => serde_json::to_string(other).unwrap_or_else(|e| e.to_string()),
    }
}

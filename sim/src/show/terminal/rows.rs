//! What of a story is worth showing, row by row.

use super::words;
use crate::liveness::Liveness;
use crate::show::story::{Lane, Message, Step, Story};
use std::collections::BTreeMap;

/// A story, arranged.
pub(super) struct Rows<'a> {
    /// The steps that are shown.
    pub(super) rows: Vec<Row<'a>>,
    /// How many steps changed nothing and are left out.
    pub(super) folded: usize,
}

/// A step that is shown.
pub(super) struct Row<'a> {
    pub(super) step: &'a Step,
    /// The time, if it differs from the row before.
    pub(super) time: Option<String>,
    /// What is said across all lanes.
    pub(super) across: Option<Line>,
    /// What is said in each lane.
    pub(super) lines: Vec<Vec<Line>>,
    /// Every member after the step.
    pub(super) lanes: Vec<Lane>,
    /// The advert that arrived, if both its ends are lanes.
    pub(super) arrival: Option<Arrival<'a>>,
    /// Where the address is effective.
    pub(super) holders: Vec<usize>,
    /// With this row more than one hold, or one again.
    pub(super) trend: Option<Trend>,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What happened.
    What,
    /// The same, and it is a fault or a command.
    Fault,
    /// What a member reported.
    Report,
    /// What went out.
    Sent,
    /// What came in.
    Heard,
    /// The kernel begins to answer.
    Effective,
    /// Other changes.
    Change,
    /// What a vote is bound to.
    Vote,
}

/// An advert that arrived.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) message: &'a Message,
    /// When, if that was earlier than it arrived.
    pub(super) sent_at: Option<u64>,
}

impl Arrival<'_> {
    /// The lane in whose text the arrow's label stands: beside its head.
    pub(super) fn beside(&self) -> usize {
        match self.message {
            m if m.from < m.to => m.to - 1,
            m => m.to,
        }
    }

    /// What the arrow says.
    pub(super) fn label(&self) -> String {
        let Message { id, says, .. } = self.message;
        let sent = self.sent_at.map(|at| format!(" (sent {at})"));
        format!("#{id}{} {says}", sent.unwrap_or_default())
            .trim_end()
            .to_owned()
    }
}

/// The number of holders gets worse, or well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trend {
    /// More than one, and more than before.
    Worse,
    /// One at most, after more than one.
    Well,
}

/// Arranges a story.
pub(super) fn rows(story: &Story) -> Rows<'_> {
    let mut all = Rows {
        rows: Vec::new(),
        folded: 0,
    };
    let mut sent: BTreeMap<u64, u64> = BTreeMap::new();
    let mut before: Option<(u64, Vec<Lane>)> = None;
    let arrivals = last_arrivals(story);
    for (nth, step) in story.steps.iter().enumerate() {
        let mut lanes = step.lanes.clone();
        lanes.resize_with(story.members.len(), Lane::default);
        let seen = StepView {
            story,
            step,
            before: before.as_ref().map(|(at, lanes)| (*at, lanes.as_slice())),
            lanes: &lanes,
            nth,
            arrivals: &arrivals,
        };
        let is_end = nth == 0 || nth + 1 == story.steps.len();
        match seen.row(all.rows.last(), &sent, is_end) {
            Some(row) => {
                sent.extend(step.sent.iter().map(|m| (m.id, step.at)));
                all.rows.push(row);
            }
            None => all.folded += 1,
        }
        before = Some((step.at, lanes));
    }
    all
}

/// The last step in which each advert arrives.
fn last_arrivals(story: &Story) -> BTreeMap<u64, usize> {
    let steps = story.steps.iter().enumerate();
    steps
        .filter_map(|(nth, step)| step.received.as_ref().map(|m| (m.id, nth)))
        .collect()
}

fn holders(lanes: &[Lane]) -> Vec<usize> {
    let lanes = lanes.iter().enumerate();
    lanes.filter(|(_, l)| l.effective).map(|(m, _)| m).collect()
}

fn trend(before: usize, after: usize) -> Option<Trend> {
    match (before, after) {
        (before, after) if after > 1 && after > before => Some(Trend::Worse),
        (2.., 0 | 1) => Some(Trend::Well),
        _ => None,
    }
}

/// A step, and what was before it.
struct StepView<'a, 'b> {
    story: &'a Story,
    step: &'a Step,
    before: Option<(u64, &'b [Lane])>,
    lanes: &'b [Lane],
    /// Which step it is.
    nth: usize,
    /// The last step in which each advert arrives.
    arrivals: &'b BTreeMap<u64, usize>,
}

impl<'a> StepView<'a, '_> {
    /// What to show; nothing if nothing happened, unless the story begins or ends here.
    fn row(
        &self,
        previous: Option<&Row<'a>>,
        sent: &BTreeMap<u64, u64>,
        is_end: bool,
    ) -> Option<Row<'a>> {
        let step = self.step;
        let (across, lines) = (self.across(), self.lines());
        if !is_end && self.is_empty(&lines, across.as_ref()) {
            return None;
        }
        let is_new_time = previous.is_none_or(|row| row.step.at != step.at);
        let holders = holders(self.lanes);
        Some(Row {
            step,
            time: is_new_time.then(|| words::time(self.story, step.at)),
            across,
            lines,
            lanes: self.lanes.to_vec(),
            arrival: self.arrival(sent),
            trend: trend(previous.map_or(0, |row| row.holders.len()), holders.len()),
            holders,
        })
    }

    /// Its lane, if it has one that exists.
    fn member(&self) -> Option<usize> {
        self.step.member.filter(|m| *m < self.lanes.len())
    }

    /// Only the clock went on.
    fn is_time_only(&self) -> bool {
        let step = self.step;
        let later = self.before.is_some_and(|(at, _)| step.at > at);
        step.member.is_none() && !step.fault && (later || step.what.is_empty())
    }

    fn across(&self) -> Option<Line> {
        (self.member().is_none() && !self.is_time_only()).then(|| self.what())
    }

    fn what(&self) -> Line {
        Line {
            kind: if self.step.fault {
                Kind::Fault
            } else {
                Kind::What
            },
            text: self.step.what.clone(),
        }
    }

    /// Nothing worth showing happened: a timer fired and nothing came of it, or time passed.
    fn is_empty(&self, lines: &[Vec<Line>], across: Option<&Line>) -> bool {
        let said = lines.iter().flatten().filter(|l| l.kind != Kind::What);
        let step = self.step;
        let is_quiet = step.received.is_none() && step.sent.is_empty();
        across.is_none() && !step.fault && is_quiet && said.count() == 0
    }

    fn lines(&self) -> Vec<Vec<Line>> {
        let mut lines: Vec<Vec<Line>> = vec![Vec::new(); self.lanes.len()];
        // What belongs to no lane is said in the first.
        let own = self.member().unwrap_or(0);
        if let Some(lane) = lines.get_mut(own) {
            if self.member().is_some() && !self.step.what.is_empty() {
                lane.push(self.what());
            }
            lane.extend(self.heard_from_nowhere());
            lane.extend(self.step.reports.iter().map(|r| Line::new(Kind::Report, r)));
        }
        for (member, lane) in lines.iter_mut().enumerate() {
            lane.extend(self.changes(member));
            if member == own {
                lane.extend(self.sent());
                shorten(lane);
            }
        }
        lines
    }

    /// An advert that can't be drawn as an arrow, in words.
    fn heard_from_nowhere(&self) -> Option<Line> {
        let message = self.step.received.as_ref()?;
        let Message { id, from, says, .. } = message;
        let text = format!("#{id} from {}: {says}", words::name(self.story, *from));
        (!self.is_arrow(message)).then(|| Line::new(Kind::Heard, text))
    }

    fn is_arrow(&self, message: &Message) -> bool {
        let lanes = self.lanes.len();
        message.from < lanes && message.to < lanes && message.from != message.to
    }

    fn arrival(&self, sent: &BTreeMap<u64, u64>) -> Option<Arrival<'a>> {
        let message = self.step.received.as_ref()?;
        let sent = sent.get(&message.id).copied();
        self.is_arrow(message).then(|| Arrival {
            message,
            sent_at: sent.filter(|at| *at != self.step.at),
        })
    }

    fn arrives(&self, message: &Message) -> bool {
        let last = self.arrivals.get(&message.id);
        last.is_some_and(|last| *last > self.nth)
    }

    /// One line for all adverts that say the same.
    fn sent(&self) -> Vec<Line> {
        let mut said: Vec<(&str, String)> = Vec::new();
        for m in &self.step.sent {
            let arrow = if self.arrives(m) { "→" } else { "⇢" };
            let end = format!("#{}{arrow}{}", m.id, words::name(self.story, m.to));
            match said.iter_mut().find(|(says, _)| *says == m.says) {
                Some((_, ends)) => *ends = format!("{ends} {end}"),
                None => said.push((&m.says, end)),
            }
        }
        let said = said.into_iter();
        said.map(|(says, ends)| Line::new(Kind::Sent, format!("{ends} {says}").trim_end()))
            .collect()
    }

    /// What has changed in a lane.
    fn changes(&self, member: usize) -> Vec<Line> {
        let lane = &self.lanes[member];
        let before = self
            .before
            .and_then(|(at, lanes)| Some((at, lanes.get(member)?)));
        match before {
            Some((at, before)) => self.differences(member, at, before, lane),
            None => self.beginning(lane),
        }
    }

    /// How a lane is at first.
    fn beginning(&self, lane: &Lane) -> Vec<Line> {
        let mut words: Vec<String> = Vec::new();
        words.extend(words::process(lane.process).map(str::to_owned));
        words.extend((!lane.role.is_empty()).then(|| lane.role.clone()));
        words.extend(lane.quarantined.then(|| "quarantined".to_owned()));
        words.extend(lane.effective.then(|| "effective".to_owned()));
        words.extend(lane.lease_left.map(|left| words::lease(self.story, left)));
        let kind = if lane.effective {
            Kind::Effective
        } else {
            Kind::Change
        };
        let mut lines = Vec::new();
        if !words.is_empty() {
            lines.push(Line::new(kind, words.join(", ")));
        }
        lines.extend(lane.vote.map(|to| self.bound(to, lane.vote_left)));
        lines
    }

    fn differences(&self, member: usize, at: u64, before: &Lane, lane: &Lane) -> Vec<Line> {
        let own = self.step.member == Some(member);
        let change = |text: String| Line::new(Kind::Change, text);
        let mut lines: Vec<Line> = Vec::new();
        if before.process != lane.process && !own {
            let process = words::process(lane.process).unwrap_or("runs");
            lines.push(change(process.to_owned()));
        }
        if self.is_new_role(before, lane) {
            lines.push(change(lane.role.clone()));
        }
        match (before.quarantined, lane.quarantined) {
            (false, true) => lines.push(change("quarantined".to_owned())),
            (true, false) if lane.process != Liveness::Down => {
                lines.push(change("quarantine over".to_owned()));
            }
            _ => {}
        }
        lines.extend(join(
            self.truth(before, lane),
            self.lease(own, at, before, lane),
        ));
        lines.extend(self.vote(before, lane));
        lines
    }

    /// A role that no report names.
    fn is_new_role(&self, before: &Lane, lane: &Lane) -> bool {
        let reported = format!("→ {}", lane.role);
        let is_reported = self.step.reports.iter().any(|r| r.contains(&reported));
        before.role != lane.role && !lane.role.is_empty() && !is_reported
    }

    /// A lease that was granted or prolonged, or is over.
    fn lease(&self, own: bool, at: u64, before: &Lane, lane: &Lane) -> Option<Line> {
        let end = |at: u64, left: u64| at.saturating_add(left);
        let text = match (before.lease_left, lane.lease_left) {
            (Some(then), Some(now)) if own && end(self.step.at, now) > end(at, then) => {
                words::lease(self.story, now)
            }
            (None, Some(now)) => words::lease(self.story, now),
            (Some(_), None) if lane.process != Liveness::Down => "lease over".to_owned(),
            _ => return None,
        };
        Some(Line::new(Kind::Change, text))
    }

    /// What the kernel does, also without its daemon.
    fn truth(&self, before: &Lane, lane: &Lane) -> Option<Line> {
        let left = words::time(self.story, lane.effective_left);
        let alone = lane.process != Liveness::Up && before.process != lane.process;
        let (kind, text) = match (before.effective, lane.effective) {
            (false, true) => (Kind::Effective, "effective".to_owned()),
            (true, true) if alone => (Kind::Effective, format!("effective for {left} still")),
            (true, false) => (Kind::Change, "mute".to_owned()),
            _ => return None,
        };
        Some(Line::new(kind, text))
    }

    fn vote(&self, before: &Lane, lane: &Lane) -> Option<Line> {
        match (before.vote, lane.vote) {
            (was, Some(to)) if was != Some(to) => Some(self.bound(to, lane.vote_left)),
            (Some(_), None) if lane.process != Liveness::Down => {
                Some(Line::new(Kind::Vote, "vote free"))
            }
            _ => None,
        }
    }

    fn bound(&self, to: usize, left: u64) -> Line {
        let (to, left) = (words::name(self.story, to), words::time(self.story, left));
        Line::new(Kind::Vote, format!("vote for {to}, {left}"))
    }
}

impl Line {
    fn new(kind: Kind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text }
    }
}

/// Two lines in one, of the first one's kind.
fn join(first: Option<Line>, second: Option<Line>) -> Option<Line> {
    match (first, second) {
        (Some(first), Some(second)) => {
            let text = format!("{}, {}", first.text, second.text);
            Some(Line::new(first.kind, text))
        }
        (first, second) => first.or(second),
    }
}

/// What happened and what was sent, in one line if there is nothing else.
fn shorten(lines: &mut Vec<Line>) {
    if let [what, sent] = &lines[..]
        && (what.kind, sent.kind) == (Kind::What, Kind::Sent)
    {
        let text = format!("{}: {}", what.text, sent.text);
        *lines = vec![Line::new(Kind::What, text)];
    }
}

//! The drawing in characters.

mod rows;
mod text;
mod words;

use crate::liveness::Liveness;
use crate::show::story::{Broken, Lane, Story};
use rows::{Arrival, Kind, Line, Row, Rows, Trend, rows};
use text::{clean, wrap};

/// The columns of a lane's bars: process, belief, truth.
const BARS: usize = 3;
/// A narrower lane can't be read.
const NARROWEST_LANE: usize = 16;
/// What the bars and signs mean.
const LEGEND: [&str; 10] = [
    "█ effective: its kernel answers",
    "▒ believes that it holds",
    "│ runs",
    "z paused",
    "x down",
    "q quarantine",
    "! fault or command",
    "» its own report",
    "#1→b advert sent",
    "#1⇢b sent, and not arrived here",
];

/// A story as a sequence diagram of `width` columns, or as many more as its lanes need.
///
/// Without `colour` it is plain text, and says the same.
///
/// The text ends with a line feed.
#[must_use]
pub fn terminal(story: &Story, width: usize, colour: bool) -> String {
    let rows = rows(story);
    let mut page = Page::new(story, &rows, width);
    page.heading();
    for row in &rows.rows {
        page.row(row);
    }
    page.ending(&rows);
    page.text(colour)
}

/// How a character looks, where there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ink {
    #[default]
    Plain,
    Strong,
    Dim,
    Effective,
    Belief,
    Fault,
    Arrow,
    Vote,
    Alarm,
}

impl Ink {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Effective => "32",
            Self::Belief => "36",
            Self::Fault => "1;33",
            Self::Arrow => "34",
            Self::Vote => "35",
            Self::Alarm => "1;31",
        }
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::What | Kind::Change => Self::Plain,
            Kind::Fault => Self::Fault,
            Kind::Report => Self::Strong,
            Kind::Sent => Self::Dim,
            Kind::Heard => Self::Arrow,
            Kind::Effective => Self::Effective,
            Kind::Vote => Self::Vote,
        }
    }
}

/// One line of characters.
#[derive(Default)]
struct Cells(Vec<(char, Ink)>);

impl Cells {
    fn put(&mut self, column: usize, text: &str, ink: Ink) {
        for (nth, c) in text.chars().enumerate() {
            let at = column + nth;
            if self.0.len() <= at {
                self.0.resize(at + 1, (' ', Ink::Plain));
            }
            self.0[at] = (c, ink);
        }
    }

    fn text(&self, colour: bool) -> String {
        let is_blank = |(c, _): &&(char, Ink)| *c == ' ';
        let used = self.0.len() - self.0.iter().rev().take_while(is_blank).count();
        let cells = &self.0[..used];
        if !colour {
            return cells.iter().map(|(c, _)| c).collect();
        }
        let runs = cells.chunk_by(|(_, a), (_, b)| a == b);
        runs.map(|run| {
            let letters: String = run.iter().map(|(c, _)| c).collect();
            match run[0].1 {
                Ink::Plain => letters,
                ink => format!("\x1b[{}m{letters}\x1b[0m", ink.code()),
            }
        })
        .collect()
    }
}

/// The drawing, as far as it is done.
struct Page<'a> {
    story: &'a Story,
    lines: Vec<Cells>,
    width: usize,
    gutter: usize,
    lane: usize,
}

impl<'a> Page<'a> {
    fn new(story: &'a Story, rows: &Rows<'_>, width: usize) -> Self {
        let times = rows.rows.iter().filter_map(|row| row.time.as_ref());
        let time = times.map(|t| clean(t).chars().count()).max().unwrap_or(0);
        let (lanes, gutter) = (story.members.len(), time + 4);
        let lane = (width.saturating_sub(gutter) / lanes.max(1)).max(NARROWEST_LANE);
        Self {
            story,
            lines: Vec::new(),
            width: width.max(gutter + lane * lanes),
            gutter,
            lane,
        }
    }

    fn text(&self, colour: bool) -> String {
        let lines = self.lines.iter();
        lines.map(|line| line.text(colour) + "\n").collect()
    }

    /// Where a lane's bars are.
    fn bars(&self, member: usize) -> usize {
        self.gutter + member * self.lane
    }

    /// Where a lane's text is.
    fn column(&self, member: usize) -> usize {
        self.bars(member) + BARS + 1
    }

    /// How wide it is.
    fn room(&self) -> usize {
        self.lane - BARS - 2
    }

    fn paragraph(&mut self, indent: usize, text: &str, ink: Ink) {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            let mut cells = Cells::default();
            cells.put(indent, &line, ink);
            self.lines.push(cells);
        }
    }

    fn blank(&mut self) {
        self.lines.push(Cells::default());
    }

    fn heading(&mut self) {
        self.paragraph(0, &self.story.title, Ink::Strong);
        self.blank();
        let mut names = Cells::default();
        for (member, name) in self.story.members.iter().enumerate() {
            let name: String = clean(name).chars().take(self.lane - 2).collect();
            names.put(self.bars(member), &name, Ink::Strong);
        }
        self.lines.push(names);
    }

    fn row(&mut self, row: &Row<'_>) {
        let first = self.lines.len();
        if let Some(across) = &row.across {
            self.across(across);
        }
        let texts: Vec<Vec<(String, Ink)>> = (0..row.lanes.len())
            .map(|member| self.texts(row, member))
            .collect();
        let own = texts.iter().map(Vec::len).max().unwrap_or(0);
        let least = usize::from(row.across.is_none());
        for nth in 0..own.max(least) {
            let mut cells = Cells::default();
            if nth == 0
                && let Some(arrival) = &row.arrival
            {
                self.arrow(&mut cells, arrival);
            }
            self.draw_bars(&mut cells, row);
            for (member, texts) in texts.iter().enumerate() {
                if let Some((text, ink)) = texts.get(nth) {
                    cells.put(self.column(member), text, *ink);
                }
            }
            self.lines.push(cells);
        }
        self.margin(first, row);
        match row.trend {
            Some(Trend::Worse) => self.worse(row),
            Some(Trend::Well) => self.well(row),
            None => {}
        }
    }

    /// The time, and a mark where more than one holds.
    fn margin(&mut self, first: usize, row: &Row<'_>) {
        let several = row.holders.len() > 1;
        for (nth, cells) in self.lines.iter_mut().skip(first).enumerate() {
            if several {
                cells.put(0, "▶", Ink::Alarm);
            }
            if let (0, Some(time)) = (nth, &row.time) {
                let time = clean(time);
                let indent = (self.gutter - 2).saturating_sub(time.chars().count());
                cells.put(indent, &time, Ink::Dim);
            }
        }
    }

    /// What a lane says in a row, in lines that fit it.
    fn texts(&self, row: &Row<'_>, member: usize) -> Vec<(String, Ink)> {
        let mut texts: Vec<(String, Ink)> = Vec::new();
        if let Some(arrival) = &row.arrival {
            texts.extend(self.below_arrow(arrival, member));
        }
        for line in row.lines.get(member).into_iter().flatten() {
            let text = signed(line);
            let ink = match line.kind {
                Kind::Effective if row.holders.len() > 1 => Ink::Alarm,
                kind => Ink::of(kind),
            };
            texts.extend(wrap(&text, self.room()).into_iter().map(|t| (t, ink)));
        }
        texts
    }

    /// Where an arrow runs through a lane's text, the text begins a line lower; where the arrow's
    /// label does not fit on it, it stands in the receiver's lane.
    fn below_arrow(&self, arrival: &Arrival<'_>, member: usize) -> Vec<(String, Ink)> {
        let (from, to) = (arrival.message.from, arrival.message.to);
        let mut texts = Vec::new();
        let crossed = from.min(to)..from.max(to);
        if crossed.contains(&member) {
            texts.push((String::new(), Ink::Plain));
        }
        let label = clean(&arrival.label());
        if member == to && label.chars().count() > self.label_room() {
            let number = format!("#{} ", arrival.message.id);
            let rest = match self.label_room() >= number.len() {
                true => label.strip_prefix(&number).unwrap_or_default(),
                false => &label,
            };
            let lines = wrap(rest, self.room()).into_iter();
            texts.extend(lines.map(|line| (line, Ink::Arrow)));
        }
        texts
    }

    /// How long a label on an arrow may be.
    fn label_room(&self) -> usize {
        self.room().saturating_sub(5)
    }

    fn arrow(&self, cells: &mut Cells, arrival: &Arrival<'_>) {
        let (from, to) = (arrival.message.from, arrival.message.to);
        let (start, end, head, tip) = if from < to {
            (self.column(from), self.bars(to) - 1, "▶", self.bars(to) - 2)
        } else {
            (
                self.column(to) - 1,
                self.bars(from) - 1,
                "◀",
                self.column(to) - 1,
            )
        };
        cells.put(start, &"─".repeat(end.saturating_sub(start)), Ink::Arrow);
        cells.put(tip, head, Ink::Arrow);
        let whole = clean(&arrival.label());
        let number = format!("#{}", arrival.message.id);
        let fits = |label: &&String| label.chars().count() <= self.label_room();
        if let Some(label) = [whole, number].iter().find(fits) {
            let column = self.column(arrival.beside()) + 2;
            cells.put(column, &format!(" {label} "), Ink::Arrow);
        }
    }

    fn draw_bars(&self, cells: &mut Cells, row: &Row<'_>) {
        let truth = match row.holders.len() {
            0 | 1 => Ink::Effective,
            _ => Ink::Alarm,
        };
        for (member, lane) in row.lanes.iter().enumerate() {
            let column = self.bars(member);
            let crossed = cells.0.get(column).is_some_and(|(c, _)| *c == '─');
            let (life, ink) = life(lane);
            let life = if crossed && life == "│" {
                "┼"
            } else {
                life
            };
            cells.put(column, life, ink);
            if lane.lease_left.is_some() {
                cells.put(column + 1, "▒", Ink::Belief);
            }
            if lane.effective {
                cells.put(column + 2, "█", truth);
            }
        }
    }

    /// What happened between the lanes.
    fn across(&mut self, line: &Line) {
        let room = self.width.saturating_sub(self.gutter + 8);
        for text in wrap(&signed(line), room.max(1)) {
            let rule = "╌".repeat(self.width - self.gutter);
            let mut cells = Cells::default();
            cells.put(self.gutter, &rule, Ink::Dim);
            cells.put(self.gutter + 4, &format!(" {text} "), Ink::of(line.kind));
            self.lines.push(cells);
        }
    }

    fn worse(&mut self, row: &Row<'_>) {
        let count = words::count(row.holders.len());
        let names = words::names(self.story, &row.holders);
        self.rule(&format!("▶ {count} ◀  {names}"), Ink::Alarm);
    }

    fn well(&mut self, row: &Row<'_>) {
        let text = match row.holders.is_empty() {
            true => "nobody holds".to_owned(),
            false => format!(
                "one holds again: {}",
                words::names(self.story, &row.holders)
            ),
        };
        self.rule(&text, Ink::Effective);
    }

    fn rule(&mut self, text: &str, ink: Ink) {
        let text = format!(" {} ", clean(text));
        let column = self.width.saturating_sub(text.chars().count()) / 2;
        let mut cells = Cells::default();
        cells.put(0, &"━".repeat(self.width), ink);
        cells.put(column, &text, ink);
        self.lines.push(cells);
    }

    fn ending(&mut self, rows: &Rows<'_>) {
        self.blank();
        match &self.story.broken {
            Some(broken) => self.broken(broken),
            None => self.paragraph(0, "No property is broken.", Ink::Effective),
        }
        match rows.folded {
            0 => {}
            1 => self.paragraph(0, "One step that changed nothing is left out.", Ink::Dim),
            n => self.paragraph(
                0,
                &format!("{n} steps that changed nothing are left out."),
                Ink::Dim,
            ),
        }
        self.blank();
        self.legend();
    }

    fn broken(&mut self, broken: &Broken) {
        let Broken { property, says, .. } = broken;
        self.paragraph(0, &format!("✗ {property} is broken: {says}"), Ink::Alarm);
        match &broken.expected {
            Some(why) => self.paragraph(2, &format!("expected: {why}"), Ink::Plain),
            None => self.paragraph(2, "not expected: this must never happen", Ink::Strong),
        }
    }

    fn legend(&mut self) {
        let mut line = String::new();
        for sign in LEGEND {
            let long = line.chars().count() + 3 + sign.chars().count();
            if !line.is_empty() && long > self.width {
                let full = std::mem::take(&mut line);
                self.lines.push(Cells::default());
                self.last(&full);
            }
            let space = if line.is_empty() { "" } else { "   " };
            line = format!("{line}{space}{sign}");
        }
        self.lines.push(Cells::default());
        self.last(&line);
    }

    fn last(&mut self, text: &str) {
        if let Some(cells) = self.lines.last_mut() {
            cells.put(0, text, Ink::Dim);
        }
    }
}

/// A line with the sign of its kind.
fn signed(line: &Line) -> String {
    let sign = match line.kind {
        Kind::Fault => "! ",
        Kind::Report => "» ",
        _ => "",
    };
    format!("{sign}{}", line.text)
}

/// The sign for how a member is.
const fn life(lane: &Lane) -> (&'static str, Ink) {
    match (lane.process, lane.quarantined) {
        (Liveness::Down, _) => ("x", Ink::Fault),
        (Liveness::Paused, _) => ("z", Ink::Fault),
        (Liveness::Up, true) => ("q", Ink::Vote),
        (Liveness::Up, false) => ("│", Ink::Dim),
    }
}

//! The drawing as a picture.

mod layout;

use super::rows::{Arrival, Kind, Row, Turn, rows};
use super::text::{clean, escape};
use super::words;
use crate::liveness::Liveness;
use crate::story::{Lane, Story};
use layout::{Layout, Place};
use std::fmt::Write as _;

const STYLE: &str = include_str!("svg.css");
/// Half of a bar that says what the kernel does.
const TRUTH: i64 = 6;
/// Where a belief is, left of the lifeline.
const BELIEF: i64 = -14;
/// Where a vote is.
const VOTE: i64 = -19;
/// How far from the lifeline an arrow ends.
const TIP: i64 = 8;

/// A story as an SVG picture: time downwards, not to scale.
///
/// It brings its style, light and dark, under a class of its own, and neither scripts nor anything
/// from elsewhere, so it can stand in a page as well as in a file.
#[must_use]
pub fn svg(story: &Story) -> String {
    draw(story, true)
}

/// The picture; with its title and verdict, unless the page around it tells them.
pub(super) fn draw(story: &Story, alone: bool) -> String {
    let rows = rows(story);
    let layout = Layout::new(story, &rows, alone);
    let mut picture = Picture {
        story,
        rows: &rows.rows,
        layout: &layout,
        out: String::new(),
    };
    picture.begin();
    if alone {
        picture.title();
    }
    picture.legend();
    picture.shades();
    picture.bands();
    picture.bars();
    picture.arrows();
    picture.names(layout.names_at);
    picture.names(layout.end + 8);
    for (row, place) in picture.rows.iter().zip(&layout.places) {
        picture.row(row, place);
    }
    picture.turns();
    if alone {
        picture.verdict();
    }
    picture.out.push_str("</svg>\n");
    picture.out
}

/// The drawing, as far as it is done.
struct Picture<'a> {
    story: &'a Story,
    rows: &'a [Row<'a>],
    layout: &'a Layout,
    out: String,
}

impl Picture<'_> {
    fn begin(&mut self) {
        let (width, height) = (self.layout.width, self.layout.height);
        let title = escape(&self.story.title);
        let _ = write!(
            self.out,
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="onehold" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<title>{title}</title>
<style>{STYLE}</style>
<rect class="paper" width="{width}" height="{height}"/>
"#
        );
    }

    fn text(&mut self, class: &str, x: i64, y: i64, text: &str) {
        let text = escape(&clean(text));
        let _ = writeln!(
            self.out,
            r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#
        );
    }

    fn rect(&mut self, class: &str, (x, y): (i64, i64), (width, height): (i64, i64)) {
        let _ = writeln!(
            self.out,
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/>"#
        );
    }

    fn line(&mut self, class: &str, (x1, y1): (i64, i64), (x2, y2): (i64, i64)) {
        let _ = writeln!(
            self.out,
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        );
    }

    fn title(&mut self) {
        for (nth, line) in (0..).zip(&self.layout.title) {
            self.text("title", layout::MARGIN, 30 + nth * 22, line);
        }
    }

    fn names(&mut self, y: i64) {
        for (member, name) in self.story.members.iter().enumerate() {
            let x = self.layout.lane(member);
            let name: String = name.chars().take(self.layout.letters).collect();
            let half = (layout::pixels(&name) * 5 / 8 + 12).max(22);
            let _ = writeln!(
                self.out,
                r#"<rect class="box" x="{}" y="{y}" width="{}" height="24" rx="6"/>"#,
                x - half,
                2 * half
            );
            self.text("name", x, y + 17, &name);
        }
    }

    /// What happened to members and between them, behind everything else.
    fn shades(&mut self) {
        let layout = self.layout;
        for (row, place) in self.rows.iter().zip(&layout.places) {
            let height = place.bottom - place.top;
            if let Some(across) = &row.across
                && across.kind == Kind::Fault
            {
                let width = layout.width - layout::GUTTER;
                self.rect("shade", (layout::GUTTER, place.top), (width, height));
            } else if row.step.fault
                && let Some(member) = row.step.member
            {
                let x = layout.lane(member) - layout::BESIDE;
                self.rect("shade", (x, place.top), (layout.lane_width, height));
            }
        }
    }

    /// While more than one holds.
    fn bands(&mut self) {
        let width = self.layout.width;
        for (from, to, several) in self.spans(|row| row.holders.len() > 1) {
            if several {
                self.rect("band", (0, from), (width, to - from));
                self.line("edge", (layout::GUTTER, from), (width, from));
            }
        }
    }

    /// From where to where each value lasts.
    fn spans<T: PartialEq>(&self, value: impl Fn(&Row<'_>) -> T) -> Vec<(i64, i64, T)> {
        let mut spans: Vec<(i64, i64, T)> = Vec::new();
        let next = self.layout.places.iter().skip(1).map(|place| place.y);
        let ends = next.chain([self.layout.end]);
        for ((row, place), end) in self.rows.iter().zip(&self.layout.places).zip(ends) {
            let now = value(row);
            match spans.last_mut() {
                Some((_, to, then)) if *then == now => *to = end,
                _ => spans.push((place.y, end, now)),
            }
        }
        spans
    }

    fn bars(&mut self) {
        for member in 0..self.story.members.len() {
            let x = self.layout.lane(member);
            let first = self.layout.places.first().map_or(self.layout.end, |p| p.y);
            self.line("life", (x, self.layout.names_at + 24), (x, first));
            for (from, to, vote) in self.spans(|row| row.lanes[member].vote) {
                if vote.is_some() {
                    self.line("bound", (x + VOTE, from), (x + VOTE, to));
                }
            }
            for (from, to, believes) in self.spans(|row| row.lanes[member].lease_left.is_some()) {
                if believes {
                    self.rect("belief", (x + BELIEF, from), (4, to - from));
                }
            }
            let truth = |row: &Row<'_>| (row.lanes[member].effective, row.holders.len() > 1);
            for (from, to, (effective, several)) in self.spans(truth) {
                if effective {
                    let class = if several { "twice" } else { "truth" };
                    self.rect(class, (x - TRUTH, from), (2 * TRUTH, to - from));
                }
            }
            self.life(member);
        }
    }

    /// How the process is; over the bar, so that one sees what goes on without it.
    fn life(&mut self, member: usize) {
        let x = self.layout.lane(member);
        let state = |row: &Row<'_>| (life(&row.lanes[member]), row.lanes[member].effective);
        for (from, to, (class, effective)) in self.spans(state) {
            if class != "life" || !effective {
                self.line(class, (x, from), (x, to));
            }
        }
    }

    fn arrows(&mut self) {
        for (row, place) in self.rows.iter().zip(&self.layout.places) {
            for (from, to) in &row.astray {
                self.stray(*from, *to, place);
            }
            if let Some(arrival) = &row.arrival {
                self.arrow(arrival, place.y);
            }
        }
    }

    /// From where it was sent to where it arrives; level and broken if it was sent before the story.
    fn arrow(&mut self, arrival: &Arrival<'_>, y: i64) {
        let (from, to) = (arrival.message.from, arrival.message.to);
        let side = if from < to { 1 } else { -1 };
        let sent = arrival.sent.and_then(|row| self.layout.places.get(row));
        let class = if sent.is_some() {
            "arrow"
        } else {
            "arrow early"
        };
        let start = (
            self.layout.lane(from) + side * TIP,
            sent.map_or(y, |place| place.y),
        );
        let end = (self.layout.lane(to) - side * TIP, y);
        let end = if side > 0 { (end.0 - 13, y) } else { end };
        self.line(class, start, end);
        self.head(start, end);
    }

    fn head(&mut self, start: (i64, i64), end: (i64, i64)) {
        #[expect(clippy::cast_precision_loss, reason = "pixels")]
        let (dx, dy) = ((end.0 - start.0) as f64, (end.1 - start.1) as f64);
        let long = dx.hypot(dy).max(1.0);
        let (dx, dy) = (dx / long, dy / long);
        let _ = writeln!(
            self.out,
            r#"<path class="head" d="M{} {}l{:.1} {:.1}l{:.1} {:.1}z"/>"#,
            end.0,
            end.1,
            -9.0 * dx + 4.0 * dy,
            -9.0 * dy - 4.0 * dx,
            -8.0 * dy,
            8.0 * dx,
        );
    }

    /// An advert that does not arrive in this story: it ends beside the text, if there is any.
    fn stray(&mut self, from: usize, to: usize, place: &Place) {
        let (lane, y) = (self.layout.lane(from), place.y);
        let (start, end) = if from < to {
            let text = (lane + layout::TEXT, y + 4);
            let text = place.texts.iter().find(|t| (t.x, t.y) == text);
            match text.map(|t| t.x + layout::pixels(&t.text)) {
                Some(beside) => (beside, beside + 36),
                None => (lane + TIP, lane + TIP + 50),
            }
        } else {
            (lane + VOTE - 2, lane + VOTE - 60)
        };
        self.line("arrow astray", (start, y), (end, y));
        self.line("lost", (end - 4, y - 4), (end + 4, y + 4));
        self.line("lost", (end - 4, y + 4), (end + 4, y - 4));
    }

    /// A step: what is said of it, and all that is known where the pointer rests.
    fn row(&mut self, row: &Row<'_>, place: &Place) {
        let known = words::step(self.story, row.step).join("\n");
        let _ = writeln!(self.out, "<g><title>{}</title>", escape(&known));
        let height = place.bottom - place.top;
        self.rect("row", (0, place.top), (self.layout.width, height));
        let several = row.holders.len() > 1;
        if let Some(time) = &row.time {
            let class = if several { "time alarm" } else { "time" };
            self.text(class, layout::GUTTER - 8, place.y + 4, time);
        }
        for (nth, line) in (0..).zip(&place.across) {
            let class = class(row.across.as_ref().map_or(Kind::What, |l| l.kind));
            let y = place.y + 4 + nth * layout::LINE;
            self.text(class, self.layout.lane(0) + layout::TEXT, y, line);
        }
        if let Some(member) = row.step.member {
            let class = if row.step.fault { "dot bad" } else { "dot" };
            let (x, y) = (self.layout.lane(member), place.y);
            let _ = writeln!(
                self.out,
                r#"<circle class="{class}" cx="{x}" cy="{y}" r="4"/>"#
            );
        }
        for text in &place.texts {
            let class = match text.class {
                "effective" if several => "alarm",
                class => class,
            };
            self.text(class, text.x, text.y, &text.text);
        }
        self.out.push_str("</g>\n");
    }

    fn turns(&mut self) {
        for (row, place) in self.rows.iter().zip(&self.layout.places) {
            let (x, y) = (self.layout.lane(0) + layout::TEXT, place.bottom - 10);
            let names = words::names(self.story, &row.holders);
            match row.turn {
                Some(Turn::Worse) => {
                    let count = words::count(row.holders.len());
                    self.text("alarm two", x, y, &format!("▶ {count}: {names} ◀"));
                }
                Some(Turn::Well) if row.holders.is_empty() => {
                    self.text("effective two", x, y, "nobody holds");
                }
                Some(Turn::Well) => {
                    self.text("effective two", x, y, &format!("one holds again: {names}"));
                }
                None => {}
            }
        }
    }

    fn verdict(&mut self) {
        let (y, lines) = (self.layout.verdict_at, &self.layout.verdict);
        let height = i64::try_from(lines.len()).unwrap_or(0) * layout::LINE + 14;
        if self.story.broken.is_some() {
            let width = self.layout.width - 2 * layout::MARGIN;
            self.rect("verdict", (layout::MARGIN, y), (width, height));
        }
        for (nth, (class, line)) in (0..).zip(lines) {
            let y = y + 19 + nth * layout::LINE;
            self.text(class, layout::MARGIN + 12, y, line);
        }
    }

    fn legend(&mut self) {
        for sign in &self.layout.signs {
            self.sign(sign.class, sign.x, sign.y);
            self.text("dim", sign.x + 30, sign.y + 4, sign.means);
        }
    }

    fn sign(&mut self, sign: &str, x: i64, y: i64) {
        match sign {
            "truth" | "twice" => self.rect(sign, (x + 4, y - 7), (12, 14)),
            "belief" => self.rect(sign, (x + 8, y - 7), (4, 14)),
            "arrow" => {
                self.line(sign, (x, y), (x + 22, y));
                self.head((x, y), (x + 22, y));
            }
            "astray" => {
                self.line("arrow astray", (x, y), (x + 18, y));
                self.line("lost", (x + 14, y - 4), (x + 22, y + 4));
                self.line("lost", (x + 14, y + 4), (x + 22, y - 4));
            }
            "shade" => self.rect(sign, (x, y - 7), (22, 14)),
            line => self.line(line, (x + 10, y - 7), (x + 10, y + 7)),
        }
    }
}

/// How a lifeline looks.
const fn life(lane: &Lane) -> &'static str {
    match (lane.process, lane.quarantined) {
        (Liveness::Down, _) => "down",
        (Liveness::Paused, _) => "paused",
        (Liveness::Up, true) => "quarantined",
        (Liveness::Up, false) => "life",
    }
}

/// How a line of text looks.
const fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::What | Kind::Change => "",
        Kind::Fault => "fault",
        Kind::Report => "report",
        Kind::Sent => "sent",
        Kind::Heard => "heard",
        Kind::Effective => "effective",
        Kind::Vote => "vote",
    }
}

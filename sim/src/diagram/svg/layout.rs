//! Where everything in the picture goes.

use super::class;
use crate::diagram::rows::{Arrival, Kind, Row, Rows};
use crate::diagram::text::wrap;
use crate::story::{Lane, Story};

/// Around everything.
pub(super) const MARGIN: i64 = 16;
/// Where the times are.
pub(super) const GUTTER: i64 = 84;
/// From one line of text to the next.
pub(super) const LINE: i64 = 16;
/// From a lane's edge to its lifeline.
pub(super) const BESIDE: i64 = 26;
/// From the lifeline to its text.
pub(super) const TEXT: i64 = 14;
/// What a letter takes, in tenths of a pixel: more than most.
const LETTER: i64 = 64;

/// What the signs mean, as far as they don't explain themselves.
const LEGEND: [(&str, &str); 9] = [
    ("truth", "effective: its kernel answers for the address"),
    ("belief", "it believes that it holds"),
    ("bound", "its vote is bound"),
    ("arrow", "advert, from sending to arrival"),
    ("astray", "advert that does not arrive in this story"),
    ("shade", "fault or command"),
    ("quarantined", "in quarantine"),
    ("paused", "paused"),
    ("down", "down"),
];

/// All places.
pub(super) struct Layout {
    pub(super) width: i64,
    pub(super) height: i64,
    pub(super) lane_width: i64,
    /// How many letters a lane's text takes in a line.
    pub(super) letters: usize,
    pub(super) title: Vec<String>,
    /// The legend's signs that occur, where they are, and what they mean.
    pub(super) signs: Vec<Sign>,
    pub(super) names_at: i64,
    pub(super) places: Vec<Place>,
    /// Where the lanes end.
    pub(super) end: i64,
    pub(super) verdict_at: i64,
    pub(super) verdict: Vec<(&'static str, String)>,
}

/// A sign of the legend.
pub(super) struct Sign {
    pub(super) class: &'static str,
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) means: &'static str,
}

/// Where a row is.
pub(super) struct Place {
    pub(super) top: i64,
    /// Where it happens.
    pub(super) y: i64,
    pub(super) bottom: i64,
    pub(super) across: Vec<String>,
    pub(super) texts: Vec<Text>,
}

/// A line of text in a lane.
pub(super) struct Text {
    pub(super) class: &'static str,
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) text: String,
}

/// What a text takes.
pub(super) fn pixels(text: &str) -> i64 {
    length(text.chars().count()) * LETTER / 10
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX / LETTER)
}

fn letters(pixels: i64) -> usize {
    usize::try_from(pixels * 10 / LETTER).unwrap_or(1).max(1)
}

impl Layout {
    pub(super) fn new(story: &Story, rows: &Rows<'_>, alone: bool) -> Self {
        let lanes = length(story.members.len());
        let lane_width = match lanes {
            0..=2 => 400,
            3 => 310,
            _ => 250,
        };
        let width = GUTTER + lanes.max(2) * lane_width;
        let mut layout = Self {
            width,
            height: 0,
            lane_width,
            letters: letters(lane_width - BESIDE - TEXT),
            title: Vec::new(),
            signs: Vec::new(),
            names_at: 0,
            places: Vec::new(),
            end: 0,
            verdict_at: 0,
            verdict: Vec::new(),
        };
        let mut y = MARGIN;
        if alone {
            layout.title = wrap(&story.title, letters((width - 2 * MARGIN) * 12 / 18));
            y += length(layout.title.len()) * 22 + 8;
        }
        y = layout.legend(&rows.rows, y);
        layout.names_at = y;
        y += 24 + 12;
        for row in &rows.rows {
            y = layout.place(row, y);
        }
        layout.end = y + 14;
        layout.verdict_at = layout.end + 24 + 24;
        layout.height = layout.verdict_at;
        if alone {
            layout.verdict = verdict(story, rows, letters(width - 2 * MARGIN - 24));
            layout.height += length(layout.verdict.len()) * LINE + 14 + MARGIN;
        }
        layout
    }

    /// A member's lifeline.
    pub(super) fn lane(&self, member: usize) -> i64 {
        GUTTER + BESIDE + length(member) * self.lane_width
    }

    fn legend(&mut self, rows: &[Row<'_>], top: i64) -> i64 {
        let (mut x, mut y) = (MARGIN, top + 8);
        for (class, means) in LEGEND {
            if !rows.iter().any(|row| occurs(class, row)) {
                continue;
            }
            let long = 30 + pixels(means) * 9 / 10 + 20;
            if x + long > self.width && x > MARGIN {
                (x, y) = (MARGIN, y + 20);
            }
            self.signs.push(Sign { class, x, y, means });
            x += long;
        }
        y + 24
    }

    /// Puts a row below what is there; more below if time has passed. Says where it ends.
    fn place(&mut self, row: &Row<'_>, top: i64) -> i64 {
        let bits = i64::from(u64::BITS - row.passed.leading_zeros());
        let top = top + (4 * bits).min(36);
        let y = top + 12;
        let mut place = Place {
            top,
            y,
            bottom: y,
            across: Vec::new(),
            texts: Vec::new(),
        };
        if let Some(across) = &row.across {
            place.across = wrap(
                &across.text,
                letters(self.width - self.lane(0) - TEXT - MARGIN),
            );
        }
        let below = length(place.across.len()) * LINE;
        for member in 0..row.lanes.len() {
            self.texts(&mut place, row, member, y + 4 + below);
        }
        let lowest = place.texts.iter().map(|text| text.y).max();
        let lowest = lowest.unwrap_or(y).max(y + below - LINE + 4);
        place.bottom = lowest + 10 + if row.turn.is_some() { 30 } else { 0 };
        let bottom = place.bottom;
        self.places.push(place);
        bottom
    }

    fn texts(&self, place: &mut Place, row: &Row<'_>, member: usize, mut y: i64) {
        let x = self.lane(member) + TEXT;
        if let Some(arrival) = &row.arrival
            && arrival.beside() == member
        {
            y = self.label(place, arrival, y + 10);
        }
        for line in row.lines.get(member).into_iter().flatten() {
            for text in wrap(&line.text, self.letters) {
                place.texts.push(Text {
                    class: class(line.kind),
                    x,
                    y,
                    text,
                });
                y += LINE;
            }
        }
    }

    /// What an arrow says, below its head; says where the lane's own text goes.
    fn label(&self, place: &mut Place, arrival: &Arrival<'_>, mut y: i64) -> i64 {
        let (from, to) = (arrival.message.from, arrival.message.to);
        let (class, x) = match from < to {
            true => ("heard before", self.lane(to) - BESIDE),
            false => (class(Kind::Heard), self.lane(to) + TEXT),
        };
        for text in wrap(&arrival.label(), self.letters) {
            place.texts.push(Text { class, x, y, text });
            y += LINE;
        }
        y
    }
}

/// Whether a row shows what a sign of the legend stands for.
fn occurs(sign: &str, row: &Row<'_>) -> bool {
    let any = |is: fn(&Lane) -> bool| row.lanes.iter().any(is);
    match sign {
        "truth" => any(|lane| lane.effective),
        "belief" => any(|lane| lane.lease_left.is_some()),
        "bound" => any(|lane| lane.vote.is_some()),
        "arrow" => row.arrival.is_some(),
        "astray" => !row.astray.is_empty(),
        "shade" => row.step.fault,
        life => row.lanes.iter().any(|lane| super::life(lane) == life),
    }
}

/// What came of it, in lines.
fn verdict(story: &Story, rows: &Rows<'_>, letters: usize) -> Vec<(&'static str, String)> {
    let mut verdict: Vec<(&'static str, String)> = Vec::new();
    let mut say = |class: &'static str, text: &str| {
        verdict.extend(wrap(text, letters).into_iter().map(|line| (class, line)));
    };
    match &story.broken {
        Some(broken) => {
            say(
                "alarm",
                &format!("✗ {} is broken: {}", broken.property, broken.says),
            );
            match &broken.expected {
                Some(why) => say("", &format!("Expected: {why}")),
                None => say("report", "Not expected: this must never happen."),
            }
        }
        None => say("effective", "No property is broken."),
    }
    match rows.folded {
        0 => {}
        1 => say("dim", "One step that changed nothing is left out."),
        n => say(
            "dim",
            &format!("{n} steps that changed nothing are left out."),
        ),
    }
    verdict
}

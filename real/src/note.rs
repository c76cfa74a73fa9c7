//! A note: what a member says of itself to people at the other members, and its bytes inside the
//! seal. It changes nothing in a node: no rule reads it, and it is not a sign of life.
//!
//! ```text
//! +---------------+---------------+---------------+---------------+
//! |     from      |      to       | bytes of the  |     lines     |   0
//! |               |               |    version    |               |
//! +---------------+---------------+---------------+---------------+
//! |                   incarnation of the sender                   |   4
//! +---------------------------------------------------------------+
//! |                  incarnation of the receiver                  |  12
//! +---------------------------------------------------------------+
//! |            number: grows with each note of the sender         |  20
//! +===============================================================+
//! |               version of the sender, UTF-8                    |  28
//! +===============+===============+===============================+
//! |     group     | bytes of text |  for how many seconds (32 bit)   each line
//! +---------------+---------------+               +===============+
//! |                               |  text, UTF-8
//! +===============================+===============================+
//! ```
//!
//! The lines are in the order of their groups, one for each group at most, none of them empty. All
//! text is printable. In a note of more than 16 lines one that says what the line before it says has no
//! bytes of text: of many groups, most lack the same. What has no room is cut, and after that the last
//! lines are left out. There is one encoding for each note; anything else is malformed.

use crate::control::session::{bounded_line, is_printable};
use onehold_core::advert::{GroupId, Incarnation, MemberId};
use onehold_core::time::Span;
use onehold_core::wire::{MAX_NOTE, MIN_NOTE};
use serde::{Deserialize, Serialize};

/// The longest version.
const MAX_VERSION: usize = 32;
/// The longest line.
pub const MAX_LINE: usize = 200;
/// What a note says of a group counts for this long, unless another one repeats it.
pub const COUNTS: Span = Span::from_millis(15_000);
/// Bytes before the version.
const HEADER: usize = 28;
/// Bytes of a line before its text.
const LINE_HEADER: usize = 6;
/// Up to so many lines each has its own text, and all have the same room: no note of an earlier version
/// has more.
const FEW: usize = 16;
/// The shortest that a text is cut to; rather, lines are left out.
const LEAST: usize = 32;
/// Room for all lines.
const LINES: usize = MAX_NOTE - MIN_NOTE - HEADER - MAX_VERSION;

const _: () = assert!(MAX_VERSION <= MAX_LINE && MAX_LINE <= u8::MAX as usize);
const _: () = assert!(
    LINES / FEW > LINE_HEADER + LEAST,
    "each of a few has a line"
);

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its sender.
    pub from: MemberId,
    /// Its receiver.
    pub to: MemberId,
    /// The sender's incarnation.
    pub incarnation: Incarnation,
    /// The receiver's incarnation, as the sender knows it.
    pub to_incarnation: Incarnation,
    /// Greater than in any earlier note of this incarnation.
    pub number: u64,
    /// The sender's version.
    pub version: String,
    /// What there is to say, by group.
    pub lines: Vec<Line>,
}

/// What a note says of a group: mostly why its sender could not hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Which group.
    pub group: GroupId,
    /// For how long there has been something to say of it.
    pub since: Span,
    /// The text.
    pub text: String,
}

/// Notes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteCounters {
    /// Handed to the network.
    pub sent: u64,
    /// Shown.
    pub accepted: u64,
    /// Not shown: forged, malformed, old, too many, or of nobody who is heard.
    pub ignored: u64,
}

impl Note {
    /// Appends its encoding to `out`. Text that is too long is cut, what can't be printed is a
    /// blank, and a line that has nothing else is left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Destructured, so that a new field can't be forgotten here.
        let Self {
            from,
            to,
            incarnation,
            to_incarnation,
            number,
            version,
            lines,
        } = self;
        let version = bounded_line(version, MAX_VERSION);
        let lines: Vec<(&Line, String)> = (lines.iter())
            .map(|line| (line, bounded_line(&line.text, MAX_LINE)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        let room = (LINES / lines.len().max(1)).saturating_sub(LINE_HEADER);
        let lines = match lines.len() <= FEW {
            true => (lines.iter())
                .map(|(l, text)| (*l, cut(text, room)))
                .collect(),
            false => fitted(&lines),
        };
        out.extend_from_slice(&[from.0, to.0, length(&version), count(lines.len())]);
        out.extend_from_slice(&incarnation.0.to_be_bytes());
        out.extend_from_slice(&to_incarnation.0.to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(version.as_bytes());
        for (Line { group, since, .. }, text) in lines {
            let seconds = u32::try_from(since.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
            out.extend_from_slice(&[group.0, length(text)]);
            out.extend_from_slice(&seconds.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Reads what a note says; nothing if it is malformed.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let [from, to, version, lines] = rest.take()?;
        let incarnation = Incarnation(u64::from_be_bytes(rest.take()?));
        let to_incarnation = Incarnation(u64::from_be_bytes(rest.take()?));
        let number = u64::from_be_bytes(rest.take()?);
        let version = rest.text(version, MAX_VERSION)?;
        let lines = rest.lines(usize::from(lines))?;
        let in_order = lines.is_sorted_by(|a, b| a.group < b.group);
        (rest.0.is_empty() && in_order).then_some(Self {
            from: MemberId(from),
            to: MemberId(to),
            incarnation,
            to_incarnation,
            number,
            version,
            lines,
        })
    }
}

/// Many lines, as far as there is room: with the longest texts that fit, of which one that repeats that of
/// the line before is empty. The first ones, if not all have room.
fn fitted<'a>(lines: &'a [(&'a Line, String)]) -> Vec<(&'a Line, &'a str)> {
    let cut_to = |most: usize| {
        let (mut left, mut before) = (LINES, "");
        let fitting = lines.iter().map_while(move |(line, text)| {
            let text = cut(text, most);
            let says = if text == before { "" } else { text };
            before = text;
            left = left.checked_sub(LINE_HEADER + says.len())?;
            Some((*line, says))
        });
        fitting.collect::<Vec<_>>()
    };
    let all = (LEAST..=MAX_LINE).rev().map(cut_to);
    let mut all = all.filter(|fitting| fitting.len() == lines.len());
    all.next().unwrap_or_else(|| cut_to(LEAST)) // more than a few have room
}

fn cut(text: &str, most: usize) -> &str {
    text[..text.floor_char_boundary(most)].trim_end()
}

fn length(text: &str) -> u8 {
    count(text.len())
}

/// What is counted in a byte is bounded above.
fn count(n: usize) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn text(&mut self, length: u8, most: usize) -> Option<String> {
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        let text = std::str::from_utf8(text).ok()?;
        let plain = (1..=most).contains(&text.len()) && text.chars().all(is_printable);
        plain.then(|| text.to_owned())
    }

    fn lines(&mut self, count: usize) -> Option<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        for _ in 0..count {
            let [group, length] = self.take()?;
            let seconds = u32::from_be_bytes(self.take()?);
            let before = lines.last().filter(|_| FEW < count).map(|l| &l.text);
            let text = match (length, before) {
                (0, Some(before)) => before.clone(),
                (_, before) => {
                    let text = self.text(length, MAX_LINE)?;
                    (before != Some(&text)).then_some(text)?
                }
            };
            lines.push(Line {
                group: GroupId(group),
                since: Span::from_millis(u64::from(seconds) * 1_000),
                text,
            });
        }
        Some(lines)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use onehold_core::advert::MAX_GROUPS;
    use proptest::prelude::*;

    pub(crate) fn note(lines: &[&str]) -> Note {
        let line = |(group, text): (u8, &&str)| Line {
            group: GroupId(group),
            since: Span::from_millis(12_000),
            text: (*text).to_owned(),
        };
        Note {
            from: MemberId(1),
            to: MemberId(0),
            incarnation: Incarnation(11),
            to_incarnation: Incarnation(10),
            number: 7,
            version: "0.1.0".to_owned(),
            lines: (0u8..).zip(lines).map(line).collect(),
        }
    }

    fn encoded(note: &Note) -> Vec<u8> {
        let mut out = Vec::new();
        note.encode(&mut out);
        out
    }

    #[test]
    fn the_format_is_pinned() {
        let bytes = encoded(&note(&["sick"]));
        let expected = [
            &[1, 0, 5, 1][..],
            &11u64.to_be_bytes(),
            &10u64.to_be_bytes(),
            &7u64.to_be_bytes(),
            b"0.1.0",
            &[0, 4, 0, 0, 0, 12],
            b"sick",
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn what_is_cut_off_or_too_long_or_cannot_be_printed_is_malformed() {
        let whole = encoded(&note(&["sick", "tired"]));
        assert_eq!(Note::decode(&whole), Some(note(&["sick", "tired"])));
        for len in 0..whole.len() {
            assert_eq!(Note::decode(&whole[..len]), None, "{len} bytes");
        }
        assert_eq!(Note::decode(&[&whole[..], b"!"].concat()), None);
        let with = |at: usize, value: &[u8]| {
            let mut bytes = whole.clone();
            bytes[at..at + value.len()].copy_from_slice(value);
            Note::decode(&bytes)
        };
        let text = HEADER + 5 + LINE_HEADER;
        assert!(with(text, b"quic").is_some());
        for bad in ["\n   ", "\x1b[2J", "\u{202e}a", "\u{85}  "] {
            assert_eq!(with(text, bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(with(text, &[0xff]), None, "it is not UTF-8");
        assert_eq!(with(HEADER, b"\t"), None, "in the version");
        assert_eq!(with(HEADER + 5, &[1]), None, "one group twice");
        assert_eq!(with(HEADER + 5, &[2]), None, "out of order");
        let blank = Note::decode(&encoded(&note(&["\n\t", "tired"])));
        assert_eq!(blank.map(|n| n.lines.len()), Some(1));
    }

    #[test]
    fn whatever_is_to_be_said_a_note_has_room_for_some_of_it() {
        let long = "é\u{1b}".repeat(500);
        for groups in 0..=MAX_GROUPS {
            let lines = vec![long.as_str(); groups];
            let bytes = encoded(&note(&lines));
            assert!(bytes.len() + MIN_NOTE <= MAX_NOTE);
            let read = Note::decode(&bytes).expect("it is well-formed");
            assert_eq!(read.lines.len(), groups, "what many lack is said of each");
            assert!(read.lines.iter().all(|l| l.text.len() > 40));
            assert_eq!(encoded(&read), bytes);

            let lines: Vec<String> = (0..groups).map(|n| format!("{n:02} {long}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let bytes = encoded(&note(&lines));
            assert!(bytes.len() + MIN_NOTE <= MAX_NOTE);
            let read = Note::decode(&bytes).expect("it is well-formed");
            assert!(groups.min(FEW) <= read.lines.len(), "{groups} that differ");
            assert!(read.lines.iter().all(|l| l.text.len() + 3 > LEAST));
        }
        let short: Vec<String> = (0..MAX_GROUPS).map(|n| format!("lacks {n}")).collect();
        let short: Vec<&str> = short.iter().map(String::as_str).collect();
        assert_eq!(Note::decode(&encoded(&note(&short))), Some(note(&short)));
    }

    #[test]
    fn of_many_lines_one_that_repeats_another_is_said_so_and_in_no_other_way() {
        let lines: Vec<&str> = std::iter::repeat_n("sick", FEW + 1).collect();
        let whole = encoded(&note(&lines));
        let text = HEADER + 5 + LINE_HEADER;
        assert_eq!(whole.len(), text + 4 + FEW * LINE_HEADER);
        assert_eq!(Note::decode(&whole), Some(note(&lines)));
        let spelled = [&whole[..text + 4], &[1, 4, 0, 0, 0, 12], b"sick"].concat();
        let spelled = [&spelled[..], &whole[text + 4 + LINE_HEADER..]].concat();
        assert_eq!(Note::decode(&spelled), None, "said twice");
        let first_empty = [
            &whole[..text - 5],
            &[0],
            &whole[text - 4..text],
            &whole[text + 4..],
        ];
        assert_eq!(
            Note::decode(&first_empty.concat()),
            None,
            "nothing before it"
        );
        let mut few = whole[..whole.len() - LINE_HEADER].to_vec();
        few[3] -= 1;
        assert_eq!(Note::decode(&few), None, "a few are spelled out");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_each_note_has_one_encoding(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            version in 0..6u8,
            lines in 0..4u8,
        ) {
            if let Some(counts) = bytes.get_mut(2..4) {
                counts.copy_from_slice(&[version, lines]);
            }
            if let Some(note) = Note::decode(&bytes) {
                prop_assert_eq!(encoded(&note), bytes);
            }
        }

        #[test]
        fn decode_undoes_encode(
            texts in prop_oneof![
                prop::collection::vec("[ -~é]{1,60}", 0..10),
                prop::collection::vec("[ab]", 0..=MAX_GROUPS),
            ],
        ) {
            let texts: Vec<String> = texts.iter().map(|t| bounded_line(t, 90)).collect();
            prop_assume!(texts.iter().all(|t| !t.is_empty()));
            let lines: Vec<&str> = texts.iter().map(String::as_str).collect();
            let note = note(&lines);
            prop_assert_eq!(Note::decode(&encoded(&note)), Some(note));
        }
    }
}

//! What an observer says: JSON, a line each.

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read as _};

/// No line is longer.
const LONGEST: u64 = 16 * 1024;

/// A line. Times are in milliseconds since the observer began, by its own clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// The first.
    Begin(Begin),
    /// From here on these answer.
    Answers {
        /// When the first request was sent that they answered, or did not.
        at_ms: f64,
        /// The wall clock, for people.
        time: String,
        /// Who; nobody if empty.
        by: Vec<Who>,
    },
    /// Whoever started the observer sent this line to its standard input.
    Mark {
        /// What it said.
        mark: String,
        /// When it arrived.
        at_ms: f64,
        /// The wall clock, for people.
        time: String,
        /// What was seen since the mark before, or the beginning.
        seen: Figures,
    },
    /// Requests can't be sent.
    Trouble {
        /// Since when.
        at_ms: f64,
        /// Why.
        why: String,
    },
    /// The last.
    End {
        /// When.
        at_ms: f64,
        /// The wall clock, for people.
        time: String,
        /// What was seen in all.
        seen: Figures,
    },
}

/// Who looks, for what, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// The observer's version.
    pub version: String,
    /// Which network stack it looks from: of one host there may be several.
    pub host: String,
    /// Which member it is, if it is one.
    pub member: Option<String>,
    /// The group, if it was named by one.
    pub group: Option<String>,
    /// The address that it asks for.
    pub address: String,
    /// Where it asks.
    pub interface: String,
    /// It is a candidate. A host does not answer itself, so whether its own gate is open is asked
    /// of its daemon.
    pub asks_own_daemon: bool,
    /// How often it asks.
    pub every_ms: f64,
    /// How long the first answer took, if there was one.
    pub round_trip_ms: Option<f64>,
    /// The wall clock, for people.
    pub time: String,
}

/// One that answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Who {
    /// The hardware address.
    pub mac: String,
    /// The member that has it, if the observer knows one.
    pub name: Option<String>,
}

impl Who {
    /// The name, or the hardware address.
    #[must_use]
    pub fn text(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.mac)
    }
}

/// What was seen in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// How long that was.
    pub for_ms: f64,
    /// How many requests were sent.
    pub requests: u64,
    /// How many of them nobody answered before the next.
    pub unanswered: u64,
    /// The longest time that may have passed without anybody to answer: from the sending of the
    /// last request that was answered to the next answer. Never less than one period.
    pub outage_ms: f64,
    /// For how long two answered: each of several requests in a row.
    pub two_ms: f64,
    /// How often a single request was answered by two: the address may have moved between its
    /// arrival at the one and at the other.
    pub both_once: u64,
    /// The longest time between two requests: what the observer itself missed.
    pub hole_ms: f64,
}

/// The next line of a text, without its end; nothing at the end of the text.
///
/// # Errors
/// When it can't be read, or is too long.
pub fn next(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    from.take(LONGEST).read_until(b'\n', &mut bytes)?;
    match bytes.last() {
        None => return Ok(None),
        Some(b'\n') => {
            bytes.pop();
        }
        Some(_) if bytes.len() as u64 == LONGEST => {
            let what = format!("a line of more than {LONGEST} bytes");
            return Err(io::Error::other(what));
        }
        Some(_) => {}
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_as_it_was_and_a_long_one_is_refused() {
        let line = Line::Answers {
            at_ms: 12.5,
            time: "then".into(),
            by: vec![Who {
                mac: "02:00:00:00:00:01".into(),
                name: None,
            }],
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(
            text.starts_with(r#"{"line":"answers","at_ms":12.5,"#),
            "{text}"
        );
        let text = format!("{text}\nno line");
        let mut bytes = text.as_bytes();
        let first = next(&mut bytes).unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Line>(&first).unwrap(), line);
        assert_eq!(next(&mut bytes).unwrap().as_deref(), Some("no line"));
        assert_eq!(next(&mut bytes).unwrap(), None);
        let long = vec![b'x'; 20_000];
        assert!(next(&mut &long[..]).is_err());
    }
}

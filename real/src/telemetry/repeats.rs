//! A cause that recurs is logged once a minute, with the number of times.
//!
//! That is for what *happened*, and for warnings and errors. A change of *state*, and an answer to
//! an order, is logged each time: otherwise the last line about it might be wrong. But what a
//! network, a neighbour or another program can make come and go without end is logged a few times
//! a minute only, and the last of these lines says so.

use super::format::Fields;
use crate::clock::boottime;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// At least this long between two lines of one cause.
const APART: Span = Span::from_millis(60_000);
/// At most this many causes are remembered.
const MAX_CAUSES: usize = 256;
/// Events that only happen. All others are changes of state.
const HAPPENED: [&str; 3] = ["overslept", "other_config", "route_put_back"];
/// Changes of state that others can make come and go: how many of one kind, of one peer and group,
/// are logged in a minute.
const FLAPS: [(&str, u32); 9] = [
    ("met", 10),
    ("lost", 10),
    ("back", 10),
    ("conflict", 10),
    ("strange", 10),
    ("eligible", 10),
    ("whole", 10),
    ("alarm", 60),
    ("alarm_over", 60),
];
/// How many lines of causes that are not remembered are logged in a minute.
const OTHERS: u32 = 60;

/// A form of the log, without repetitions.
pub(super) struct Sparing<F> {
    form: F,
    json: bool,
    causes: Mutex<Causes>,
}

impl<F> Sparing<F> {
    pub(super) fn new(form: F, json: bool) -> Self {
        Self {
            form,
            json,
            causes: Mutex::default(),
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Sparing<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let kind = fields.event.as_str();
        let warns = *event.metadata().level() <= Level::WARN;
        let (cause, most) = match FLAPS.iter().find(|(flaps, _)| *flaps == kind) {
            Some((kind, most)) => (format!("{kind}{}", fields.of), *most),
            None if warns && (kind.is_empty() || HAPPENED.contains(&kind)) => {
                (fields.message + &fields.rest, 1)
            }
            None => return self.form.format_event(context, to, event),
        };
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let (in_json, in_text) = match causes.come(cause, most, boottime()) {
            Come::Counted => return Ok(()),
            Come::Logged => return self.form.format_event(context, to, event),
            Come::Since(more) => (
                format!(",\"more_since_last\":{more}"),
                format!(" (and {more} times more since this was last logged)"),
            ),
            Come::Last => (
                ",\"recurs\":true".to_owned(),
                " (this recurs: for the rest of the minute it is counted; `onehold status` shows what is true)"
                    .to_owned(),
            ),
        };
        let mut line = String::new();
        let form = &self.form;
        form.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        match line.strip_suffix('}').filter(|_| self.json) {
            Some(line) => writeln!(to, "{line}{in_json}}}"),
            None => writeln!(to, "{line}{in_text}"),
        }
    }
}

/// How often each cause came.
#[derive(Debug, Default)]
struct Causes {
    known: BTreeMap<String, Minute>,
    /// All others, together.
    others: Minute,
}

/// A minute of one cause.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    since: Option<LocalTime>,
    logged: u32,
    counted: u64,
}

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Come {
    /// It is logged.
    Logged,
    /// The same, and it came so often since it was last logged.
    Since(u64),
    /// The same, for the last time in this minute.
    Last,
    /// It is counted.
    Counted,
}

impl Minute {
    fn is_over(&self, now: LocalTime) -> bool {
        self.since.is_none_or(|since| now >= since.plus(APART))
    }

    fn come(&mut self, most: u32, now: LocalTime) -> Come {
        if self.is_over(now) {
            let counted = self.counted;
            *self = Self {
                since: Some(now),
                logged: 1,
                counted: 0,
            };
            return match counted {
                0 => Come::Logged,
                more => Come::Since(more),
            };
        }
        if self.logged >= most {
            self.counted += 1;
            return Come::Counted;
        }
        self.logged += 1;
        if self.logged == most {
            Come::Last
        } else {
            Come::Logged
        }
    }
}

impl Causes {
    /// What becomes of an event with this cause, of which so many are logged in a minute.
    fn come(&mut self, cause: String, most: u32, now: LocalTime) -> Come {
        if let Some(minute) = self.known.get_mut(&cause) {
            return minute.come(most, now);
        }
        if self.known.len() >= MAX_CAUSES {
            self.known.retain(|_, minute| !minute.is_over(now));
        }
        if self.known.len() >= MAX_CAUSES {
            return self.others.come(OTHERS, now);
        }
        self.known.entry(cause).or_default().come(most, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> LocalTime {
        LocalTime::from_nanos(s * 1_000_000_000)
    }

    #[test]
    fn a_cause_is_logged_once_a_minute_with_how_often_it_came() {
        let mut causes = Causes::default();
        let mut come = |cause: &str, s| causes.come(cause.to_owned(), 1, at(s));
        assert_eq!(come("a", 0), Come::Logged);
        for s in 1..60 {
            assert_eq!(come("a", s), Come::Counted);
            assert_eq!(come(&format!("b{s}"), s), Come::Logged, "is another");
        }
        assert_eq!(come("a", 60), Come::Since(59));
        assert_eq!(come("a", 600), Come::Logged);
    }

    #[test]
    fn what_comes_and_goes_is_logged_a_few_times_a_minute_and_the_last_line_says_so() {
        let mut causes = Causes::default();
        let come = |s| causes.come("lost lb1".to_owned(), 3, at(s));
        let all: Vec<Come> = [0, 1, 2, 3, 59, 60, 61].map(come).to_vec();
        use Come::{Counted, Last, Logged, Since};
        assert_eq!(
            all,
            [Logged, Logged, Last, Counted, Counted, Since(2), Logged]
        );
    }

    #[test]
    fn whoever_invents_causes_without_end_gets_so_many_lines_a_minute() {
        let mut causes = Causes::default();
        let mut logged = 0;
        for n in 0..100 * MAX_CAUSES {
            let come = causes.come(format!("c{n}"), 1, at(600));
            logged += usize::from(come != Come::Counted);
        }
        assert_eq!(logged, MAX_CAUSES + OTHERS as usize);
        assert_eq!(causes.known.len(), MAX_CAUSES);
        assert_eq!(causes.come("new".to_owned(), 1, at(660)), Come::Logged);
    }
}

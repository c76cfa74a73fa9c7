//! A cause that recurs is logged once a minute, with the number of times.
//!
//! This is for what *happened*, and only for warnings and errors. A change of *state*, and an
//! answer to an order, is always logged: otherwise the last line about it might be wrong.

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
const HAPPENED: [&str; 2] = ["overslept", "other_config"];

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
        if !warns || !(kind.is_empty() || HAPPENED.contains(&kind)) {
            return self.form.format_event(context, to, event);
        }
        let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
        let cause = fields.message + &fields.rest;
        match causes.come(cause, boottime()) {
            None => Ok(()),
            Some(0) => self.form.format_event(context, to, event),
            Some(more) => {
                let mut line = String::new();
                let form = &self.form;
                form.format_event(context, Writer::new(&mut line), event)?;
                let line = line.trim_end();
                match line.strip_suffix('}').filter(|_| self.json) {
                    Some(line) => writeln!(to, "{line},\"more_since_last\":{more}}}"),
                    None => writeln!(
                        to,
                        "{line} (and {more} times more since this was last logged)"
                    ),
                }
            }
        }
    }
}

/// When each cause was last logged, and how often it recurred since.
#[derive(Debug, Default)]
struct Causes(BTreeMap<String, (LocalTime, u64)>);

impl Causes {
    /// How often it recurred since it was last logged, if it should be logged now.
    fn come(&mut self, cause: String, now: LocalTime) -> Option<u64> {
        if let Some((written, more)) = self.0.get_mut(&cause) {
            if now < written.plus(APART) {
                *more += 1;
                return None;
            }
            *written = now;
            return Some(std::mem::take(more));
        }
        if self.0.len() >= MAX_CAUSES {
            self.0.retain(|_, (written, _)| now < written.plus(APART));
        }
        if self.0.len() < MAX_CAUSES {
            self.0.insert(cause, (now, 0));
        }
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_once_a_minute_with_how_often_it_came() {
        let mut causes = Causes::default();
        let at = |s: u64| LocalTime::from_nanos(s * 1_000_000_000);
        assert_eq!(causes.come("a".into(), at(0)), Some(0));
        for s in 1..60 {
            assert_eq!(causes.come("a".into(), at(s)), None);
            assert_eq!(causes.come(format!("b{s}"), at(s)), Some(0), "is another");
        }
        assert_eq!(causes.come("a".into(), at(60)), Some(59));
        assert_eq!(causes.come("a".into(), at(600)), Some(0));
        // At most so many are remembered; others are logged.
        for n in 0..2 * MAX_CAUSES {
            assert_eq!(causes.come(format!("c{n}"), at(600)), Some(0));
        }
        assert_eq!(causes.0.len(), MAX_CAUSES);
    }
}

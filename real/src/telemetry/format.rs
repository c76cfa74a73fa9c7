//! The text form of the log.

use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// `2026-01-01T00:00:00.000000Z  INFO web: standby → holder: … (R-7)`
pub(super) struct Text;

/// Fields of [`super::report`] that its message contains already; the JSON form has them.
const IN_MESSAGE: [&str; 5] = ["event", "rule", "cluster", "group", "peer"];

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        SystemTime.format_time(&mut to)?;
        write!(to, " {level:>5} ")?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(to, "{}{}", fields.message, fields.rest)
    }
}

/// What an event contains.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) message: String,
    pub(super) rest: String,
    /// Which cluster, peer and group it is about.
    pub(super) of: String,
    /// Its kind, if it has one.
    pub(super) event: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "event" => self.event = format!("{value:?}").trim_matches('"').to_owned(),
            "cluster" | "peer" | "group" => self.of.push_str(&format!(" {value:?}")),
            name if IN_MESSAGE.contains(&name) => {}
            name => self.rest.push_str(&format!(" {name}={value:?}")),
        }
    }
}

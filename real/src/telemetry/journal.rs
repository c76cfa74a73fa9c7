//! The journal's own protocol, for a log whose standard error is the journal: each line with its
//! fields, so that `journalctl ONEHOLD_GROUP=web` finds what is about a group.
//!
//! [`Entry`] writes a line's fields one after the other, on the thread that logs; [`Journal`], on
//! the log's own thread, makes a datagram of them. What the journal does not take goes to standard
//! error, as it did before.

use super::format::Fields;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Between two fields of an entry; in no value.
const BETWEEN: char = '\u{1e}';

/// One line as `PRIORITY=6␞ONEHOLD_EVENT=role␞…␞MESSAGE=…`: the message is the last.
pub(super) struct Entry;

impl<S, N> FormatEvent<S, N> for Entry
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
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let mut named = Named(format!("PRIORITY={priority}{BETWEEN}"));
        event.record(&mut named);
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = (fields.message + &fields.rest).replace(BETWEEN, " ");
        writeln!(to, "{}MESSAGE={message}", named.0)
    }
}

/// Every field but the message, by the name that it has in the journal.
struct Named(String);

impl Named {
    fn put(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            return;
        }
        let name = field
            .name()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let name = name.to_ascii_uppercase();
        let value = value.replace(|c: char| c.is_control(), " ");
        let _ = write!(self.0, "ONEHOLD_{name}={value}{BETWEEN}");
    }
}

impl Visit for Named {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Sends entries to the journal.
pub(super) struct Journal<E> {
    socket: UnixDatagram,
    at: PathBuf,
    /// For what it does not take.
    instead: E,
}

impl<E: Write> Journal<E> {
    /// # Errors
    /// If this process can't have a socket.
    pub(super) fn new(at: &Path, instead: E) -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::unbound()?,
            at: at.to_owned(),
            instead,
        })
    }
}

impl<E: Write> Write for Journal<E> {
    /// Takes one entry.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let fields = || {
            text.split(BETWEEN)
                .filter_map(|field| field.split_once('='))
        };
        if self.socket.send_to(&datagram(fields()), &self.at).is_err() {
            let of = |name| {
                fields()
                    .find(|(n, _)| *n == name)
                    .map_or("", |(_, value)| value)
            };
            // The journal takes the number for the level.
            writeln!(self.instead, "<{}>{}", of("PRIORITY"), of("MESSAGE"))?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.instead.flush()
    }
}

fn datagram<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> Vec<u8> {
    let mut bytes = b"SYSLOG_IDENTIFIER=onehold\n".to_vec();
    for (name, value) in fields {
        bytes.extend(name.as_bytes());
        if value.contains('\n') {
            let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
            bytes.push(b'\n');
            bytes.extend(length.to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{layer, report_alarms, tests};
    use super::*;
    use crate::config_file::LogFormat;
    use crate::config_file::tests::Etc;
    use std::sync::{Arc, Mutex, PoisonError};
    use tracing_subscriber::layer::SubscriberExt as _;

    /// A writer as the log's thread has it.
    #[derive(Clone)]
    struct Thread(Arc<Mutex<Journal<Vec<u8>>>>);

    impl Write for Thread {
        fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
            let mut journal = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            journal.write(entry)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(at: &Path, what: impl FnOnce()) -> String {
        let thread = Thread(Arc::new(Mutex::new(Journal::new(at, Vec::new()).unwrap())));
        let writer = thread.clone();
        let layer = layer(LogFormat::Text, true, move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, what);
        let journal = thread.0.lock().unwrap();
        String::from_utf8(journal.instead.clone()).unwrap()
    }

    #[test]
    fn the_journal_gets_each_line_with_its_fields() {
        let etc = Etc::new();
        let at = etc.0.join("socket");
        let journal = UnixDatagram::bind(&at).unwrap();
        journal.set_nonblocking(true).unwrap();
        let instead = log(&at, || {
            tests::logs();
            report_alarms("web", (vec!["one\nand two".to_owned()], vec![]));
            tracing::info!(interface = "eth0", n = 3, "it\u{1e}MESSAGE=forged");
        });
        assert_eq!(instead, "");
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = journal.recv(&mut bytes) {
            all.push(
                bytes[..length]
                    .escape_ascii()
                    .to_string()
                    .replace("\\n", "\n"),
            );
        }
        insta::assert_snapshot!(all.join("\n"));
    }

    #[test]
    fn what_the_journal_does_not_take_goes_to_standard_error() {
        let etc = Etc::new();
        let instead = log(&etc.0.join("nowhere"), || {
            tracing::warn!(event = "alarm", "it is full");
            tracing::info!("and goes on");
        });
        assert_eq!(instead, "<4>it is full\n<6>and goes on\n");
    }
}

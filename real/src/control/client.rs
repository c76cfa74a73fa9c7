//! Who asks: a request, and the daemon's reply to it, by an instant.

use super::{MAX_REPLY, NO_ANSWER, NO_DAEMON, READERS, Reply, Request, for_readers};
use crate::clock::boottime;
use crate::status::Report;
use onehold_core::time::{LocalTime, Span};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Asks the daemon and waits for its reply, at most `limit` in all. For the client: it blocks.
///
/// # Errors
/// What is wrong, and what to do.
pub fn ask(socket: &Path, request: &Request, limit: Duration) -> Result<Reply, String> {
    let shown = socket.display();
    let mut line = serde_json::to_vec(request).map_err(|e| e.to_string())?;
    line.push(b'\n');
    let end = boottime().plus(Span::from(limit));
    let late = || {
        format!(
            "the daemon at {shown} {NO_ANSWER} {limit:?}: it is stuck or frozen, and its guard has \
             muted its addresses by now; `systemctl restart onehold`"
        )
    };
    let connected = match connect(socket, limit) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied && request.only_looks() => {
            connect(&for_readers(socket), limit).map_err(|_| e)
        }
        other => other,
    };
    let socket = connected.map_err(|e| match e.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!(
            "{NO_DAEMON} {shown}: is it running? (`systemctl status onehold`; if it listens \
             elsewhere, name it with --socket)"
        ),
        ErrorKind::PermissionDenied => {
            let looks = match request.only_looks() {
                true => {
                    format!(", and to look, members of the group {READERS}, if this host has it")
                }
                false => String::new(),
            };
            format!("{shown}: only root and the daemon's own user may ask{looks}; use sudo")
        }
        _ if is_late(&e) => late(),
        _ => format!("{shown}: {e}"),
    })?;
    let mut stream = Until { socket, end };
    let mut reply = Vec::new();
    let mut exchange = || {
        // A daemon that refuses what it has read so far hangs up on the rest, and replies why.
        let sent = stream.write_all(&line);
        BufReader::new(&mut stream)
            .take(MAX_REPLY)
            .read_until(b'\n', &mut reply)
            .and_then(|length| {
                if length == 0 {
                    sent.and(Ok(0))
                } else {
                    Ok(length)
                }
            })
    };
    match exchange() {
        Err(e) if is_late(&e) => Err(late()),
        Err(e) => Err(format!("{shown}: {e}")),
        Ok(0) => Err(format!(
            "the daemon at {shown} hung up; it is probably stopping"
        )),
        Ok(_) => serde_json::from_slice(&reply).map_err(|e| {
            format!(
                "{shown}: not a reply that this version knows ({e}); is the daemon of another version?"
            )
        }),
    }
}

/// The daemon's report, of one cluster or of all.
///
/// # Errors
/// Why there is none.
pub fn report(socket: &Path, cluster: Option<&str>, limit: Duration) -> Result<Report, String> {
    let mut report = Report::default();
    let mut from = Some(0);
    while let Some(first) = from {
        let request = Request::Status {
            cluster: cluster.map(str::to_owned),
            from: first,
        };
        match ask(socket, &request, limit)? {
            Reply::Status(part) => report.append(part),
            Reply::Refused { why } => return Err(why),
            Reply::Done { .. } | Reply::History(_) | Reply::Reloaded { .. } => {
                return Err("the daemon answered something else".to_owned());
            }
        }
        from = report.next.filter(|next| *next > first);
    }
    Ok(report)
}

/// Connects, within `limit`: the queue of a frozen daemon stays full in the end.
fn connect(path: &Path, limit: Duration) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn is_late(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A socket whose reads and writes all end at one instant, however many they are.
struct Until {
    socket: Socket,
    end: LocalTime,
}

impl Until {
    fn left(&self) -> io::Result<Option<Duration>> {
        match self.end.since(boottime()) {
            Span::ZERO => Err(ErrorKind::TimedOut.into()),
            // A time-out of less than a microsecond would be none.
            left => Ok(Some(Duration::from(left).max(Duration::from_millis(1)))),
        }
    }
}

impl Read for Until {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(into)
    }
}

impl Write for Until {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

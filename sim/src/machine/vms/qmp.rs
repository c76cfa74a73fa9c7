//! QEMU's own protocol: one JSON object in a line, and one for an answer; events come in between.

use crate::error::{Context, Result, err};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A saved state is hundreds of megabytes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The connection to a running QEMU.
pub(super) struct Qmp(BufReader<UnixStream>);

impl Qmp {
    /// Connects to a QEMU that is starting.
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self> {
        let until = Instant::now() + patience;
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(e) if Instant::now() > until => return Err(e).context(|| socket.display()),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let timeout = stream.set_read_timeout(Some(PATIENCE));
        timeout.context(|| socket.display())?;
        let mut qmp = Self(BufReader::new(stream));
        qmp.line()?; // its greeting
        qmp.ask("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command; what it returned.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        let stream = self.0.get_mut();
        let sent = stream.write_all(format!("{line}\n").as_bytes());
        sent.context(|| format!("telling QEMU to {command}"))?;
        loop {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                return Err(err(format!("QEMU refused {command}: {error}")));
            }
            if let Some(returned) = answer.get_mut("return") {
                return Ok(returned.take());
            }
        }
    }

    /// Runs a command of its monitor for people, which says nothing if all is well.
    pub(super) fn monitor(&mut self, line: &str) -> Result<()> {
        let said = self.ask("human-monitor-command", json!({ "command-line": line }))?;
        match said.as_str().map(str::trim) {
            Some("") => Ok(()),
            said => Err(err(format!(
                "QEMU's `{line}`: {}",
                said.unwrap_or_default()
            ))),
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        match read.context(|| "listening to QEMU")? {
            0 => Err(err("QEMU has ended")),
            _ => serde_json::from_str(&line).context(|| "what QEMU said"),
        }
    }
}

//! A guest's root shell, over its second serial port: it works whatever becomes of the network.

use crate::error::{Context, Result, err};
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its exit status.
    pub(super) status: u8,
    /// Both of its outputs.
    pub(super) text: String,
}

/// The connection. Answers carry the number of their command, so what an earlier one left unread is
/// never taken for another's.
pub(super) struct Shell {
    stream: UnixStream,
    unread: Vec<u8>,
    number: u32,
}

impl Shell {
    /// Connects, and waits until the guest's shell answers.
    pub(super) fn connect(socket: &Path, patience: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).context(|| socket.display())?;
        let pace = Some(Duration::from_millis(100));
        stream.set_read_timeout(pace).context(|| "the shell")?;
        let mut shell = Self {
            stream,
            unread: Vec::new(),
            number: 0,
        };
        let until = Instant::now() + patience;
        while Instant::now() < until {
            // What is sent before the shell is there is lost.
            let number = shell.send("true")?;
            if shell.answer(number, Duration::from_secs(2))?.is_some() {
                return Ok(shell);
            }
        }
        Err(err(format!("no shell within {patience:?}")))
    }

    /// Runs a command line to its end.
    pub(super) fn run(&mut self, line: &str, patience: Duration) -> Result<Said> {
        let number = self.send(line)?;
        let said = self.answer(number, patience)?;
        said.ok_or_else(|| {
            let so_far = String::from_utf8_lossy(&self.unread);
            err(format!(
                "`{line}` has not ended after {patience:?}; so far: {so_far}"
            ))
        })
    }

    fn send(&mut self, line: &str) -> Result<u32> {
        self.number += 1;
        let number = self.number;
        let line = format!(
            "(eval {}) </dev/null 2>&1; echo \"@@end:\"{number}:$?@\n",
            quoted(line)
        );
        let sent = self.stream.write_all(line.as_bytes());
        sent.context(|| "speaking to the guest's shell")?;
        Ok(number)
    }

    fn answer(&mut self, number: u32, patience: Duration) -> Result<Option<Said>> {
        let until = Instant::now() + patience;
        let mut bytes = [0; 4096];
        loop {
            if let Some(said) = take_answer(&mut self.unread, number) {
                return Ok(Some(said));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(err("the guest has ended (its serial port is closed)")),
                Ok(n) => self.unread.extend_from_slice(&bytes[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e).context(|| "listening to the guest's shell"),
            }
        }
    }
}

/// The answer to command `number`, if it is whole; it and all before it are taken out.
fn take_answer(unread: &mut Vec<u8>, number: u32) -> Option<Said> {
    let text = String::from_utf8_lossy(unread).into_owned();
    let mark = format!("@@end:{number}:");
    let (before, after) = text.split_once(&mark)?;
    let (status, rest) = after.split_once("@\n")?;
    let status = status.parse().ok()?;
    // The output of earlier commands that were not waited for.
    let own = match before.rfind("@@end:") {
        Some(at) => before[at..].split_once("@\n").map_or("", |(_, own)| own),
        None => before,
    };
    let text = own.trim_end_matches('\n').to_owned();
    *unread = rest.as_bytes().to_vec();
    Some(Said { status, text })
}

/// One word of bash that is `line`, in one line.
fn quoted(line: &str) -> String {
    let mut word = String::from("$'");
    for c in line.chars() {
        match c {
            '\'' => word.push_str("\\'"),
            '\\' => word.push_str("\\\\"),
            '\n' => word.push_str("\\n"),
            c if c.is_control() => {
                write!(word, "\\x{:02x}", u32::from(c)).expect("a String takes everything");
            }
            c => word.push(c),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_quoted_line_is_what_it_was_to_bash() {
        let line = "printf '%s\\n' \"it's\" '$HOME' \\\\ \ttab\ncat <<'X'\né\nX";
        let bash = |script: &str| {
            let output = Command::new("bash").args(["-c", script]).output();
            String::from_utf8(output.expect("bash is there").stdout).unwrap()
        };
        assert_eq!(bash(&format!("eval {}", quoted(line))), bash(line));
        assert!(!quoted(line).contains('\n'));
    }

    #[test]
    fn an_answer_is_taken_when_it_is_whole_and_is_not_another_s() {
        let mut unread = b"late\n@@end:3:0@\nhello\nworld\n@@end:4:1".to_vec();
        assert_eq!(take_answer(&mut unread, 4), None);
        unread.extend_from_slice(b"7@\nnext");
        let text = "hello\nworld".to_owned();
        let said = Said { status: 17, text };
        assert_eq!(take_answer(&mut unread, 4), Some(said));
        assert_eq!(unread, b"next");
    }
}

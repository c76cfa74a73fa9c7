//! Reads a trace. Whatever is wrong with a file, the error names file, line and remedy.

use super::{FORMAT, Header, Line, VERSION};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

/// The longest line that is read, in bytes; the longest that is written has some 100,000.
const MAX_LINE: u64 = 1 << 20;

/// What is wrong with a trace, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {fault}")]
pub struct TraceError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: TraceFault,
}

/// What can be wrong with a line of a trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceFault {
    /// The system can't read it.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    /// The first line is not a header.
    #[error(
        "not a trace: the first line of one begins with {{\"format\":\"{FORMAT}\"; \
         `onehold run --trace FILE` writes one"
    )]
    NotATrace,
    /// A header of another version.
    #[error(
        "version {version} of the format, but this release reads version {VERSION}: replay it with the \
         release that wrote it ({by})"
    )]
    Version {
        /// The version.
        version: u32,
        /// What wrote it.
        by: String,
    },
    /// The last line has no end.
    #[error(
        "the line is cut off: its writer was killed, or is still writing; remove the line to read the rest"
    )]
    CutOff,
    /// A line that is longer than any that is written.
    #[error("longer than {MAX_LINE} bytes: the file is damaged; remove the line to read the rest")]
    TooLong,
    /// Not a line of this format.
    #[error(
        "not a line of a trace: {0}; if the file is not damaged, replay it with the release that wrote it"
    )]
    Malformed(String),
}

/// Reads a trace line by line; as an iterator, all lines after the first.
#[derive(Debug)]
pub struct Reader<R> {
    name: String,
    from: R,
    text: Vec<u8>,
    line: u64,
    header: Header,
}

impl Reader<BufReader<File>> {
    /// Opens a file and reads its first line.
    ///
    /// # Errors
    /// If it can't be opened, or is not a trace of this version.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Self::new(name, BufReader::new(file)),
            Err(e) => Err(error(&name, 1, e.into())),
        }
    }
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line of `from`, called `name` in errors.
    ///
    /// # Errors
    /// If it is not a trace of this version.
    pub fn new(name: impl Into<String>, mut from: R) -> Result<Self, TraceError> {
        let (name, mut text) = (name.into(), Vec::new());
        match header(&mut from, &mut text) {
            Ok(header) => Ok(Self {
                name,
                from,
                text,
                line: 1,
                header,
            }),
            Err(fault) => Err(error(&name, 1, fault)),
        }
    }

    /// The first line.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Its name in errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the line that was last read; the first is 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Line, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match next_line(&mut self.from, &mut self.text) {
            Ok(false) => return None,
            Ok(true) => serde_json::from_slice(&self.text).map_err(|e| malformed(&e)),
            Err(fault) => Err(fault),
        };
        self.line += 1;
        Some(read.map_err(|fault| error(&self.name, self.line, fault)))
    }
}

fn error(file: &str, line: u64, fault: TraceFault) -> TraceError {
    let file = file.to_owned();
    TraceError { file, line, fault }
}

/// Serde's message, without its own line number.
fn malformed(e: &serde_json::Error) -> TraceFault {
    let said = e.to_string();
    let (what, _) = said.split_once(" at line ").unwrap_or((&said, ""));
    TraceFault::Malformed(what.to_owned())
}

fn header(from: &mut impl BufRead, text: &mut Vec<u8>) -> Result<Header, TraceFault> {
    /// What the header of every version begins with.
    #[derive(Deserialize)]
    struct Front {
        format: String,
        version: u32,
        by: String,
    }
    match next_line(from, text) {
        Ok(true) => {}
        Ok(false) | Err(TraceFault::TooLong) => return Err(TraceFault::NotATrace),
        Err(fault) => return Err(fault),
    }
    match serde_json::from_slice(text) {
        Ok(Front { format, .. }) if format != FORMAT => Err(TraceFault::NotATrace),
        Ok(Front { version, by, .. }) if version != VERSION => {
            Err(TraceFault::Version { version, by })
        }
        Ok(_) => serde_json::from_slice(text).map_err(|e| malformed(&e)),
        Err(_) => Err(TraceFault::NotATrace),
    }
}

/// Reads a line without its end; returns whether there was one.
fn next_line(from: &mut impl BufRead, text: &mut Vec<u8>) -> Result<bool, TraceFault> {
    text.clear();
    let read = from.take(MAX_LINE).read_until(b'\n', text)? as u64;
    match text.pop() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) if read == MAX_LINE => Err(TraceFault::TooLong),
        Some(_) => Err(TraceFault::CutOff),
    }
}

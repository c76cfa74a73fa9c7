//! The run as a page: what the daemons traced, and what was seen of them from the network.

use super::story::{Act, Event};
use crate::error::{Context, Result, err};
use crate::fault::Fault;
use crate::machine::netns::cluster::free_trace;
use crate::machine::netns::{CANDIDATES, Fetch, Round, changes};
use crate::replay::Replay;
use crate::show::page::Viewer;
use onehold::clock::boottime;
use onehold::trace::{Header, Line, Reader, Writer};
use onehold_core::config::Spec;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The group's name in the lab's cluster.
const GROUP: &str = "web";

/// A run on its way to a page.
pub(super) struct Record {
    page: Option<PathBuf>,
    traces: Traces,
    /// What was in the directory before.
    earlier: BTreeSet<PathBuf>,
    /// The clock of all members at the time 0, and that time.
    zero: (LocalTime, Instant),
    rounds: Vec<Round>,
    fetches: Vec<Fetch>,
    lines: Vec<(Instant, Line)>,
}

/// Where the traces are.
enum Traces {
    Kept(PathBuf),
    /// Removed when it is dropped.
    Temporary(PathBuf),
}

impl Traces {
    /// A new directory, for this user only.
    fn temporary() -> Result<Self> {
        let (place, own) = (std::env::temp_dir(), std::process::id());
        for n in 0.. {
            let path = place.join(format!("onehold-demo-{own}-{n}"));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    return made
                        .context(|| path.display())
                        .map(|()| Self::Temporary(path));
                }
            }
        }
        Err(err("there is no name left for a temporary directory"))
    }

    fn directory(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::Temporary(path) => path,
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Self::Temporary(path) = self {
            let _ = fs::remove_dir_all(path); // at worst it stays where temporary files are
        }
    }
}

impl Record {
    /// A run that will become this page, if one is wanted. Its traces are kept in a directory, if
    /// one is named.
    ///
    /// # Errors
    /// If there can be no such page or directory.
    pub(super) fn new(page: Option<&Path>, keep: Option<&Path>) -> Result<Self> {
        if let Some(page) = page {
            let made = page.parent().map_or(Ok(()), fs::create_dir_all);
            let begun = made.and_then(|()| File::options().append(true).create(true).open(page));
            begun.context(|| {
                let page = page.display();
                format!("{page}: it can't be written; name another file with --report, or `--report -` for none")
            })?;
        }
        let traces = match keep {
            Some(directory) => {
                fs::create_dir_all(directory).context(|| directory.display())?;
                Traces::Kept(directory.to_owned())
            }
            None => Traces::temporary()?,
        };
        Ok(Self {
            page: page.map(Path::to_owned),
            earlier: all_in(traces.directory())?,
            traces,
            zero: (boottime(), Instant::now()),
            rounds: Vec::new(),
            fetches: Vec::new(),
            lines: Vec::new(),
        })
    }

    /// Where the daemons' traces go.
    pub(super) fn directory(&self) -> &Path {
        self.traces.directory()
    }

    /// An event, which began at one moment and was done at another.
    pub(super) fn event(&mut self, event: &Event, from: Instant, done: Instant) {
        let faults: Vec<Fault> = event.acts.iter().map(Act::fault).collect();
        for fault in &faults {
            let time = self.time(from);
            self.lines.push((from, fault.line(time)));
        }
        for fault in &faults {
            let process = fault.leaves().zip(fault.member());
            let (time, of) = (self.time(done), |of: &str| of.to_owned());
            let line = process.map(|(process, member)| process.line(time, of(member)));
            self.lines.extend(line.map(|line| (done, line)));
        }
    }

    /// What the probes saw.
    pub(super) fn seen(&mut self, rounds: Vec<Round>, fetches: Vec<Fetch>) {
        self.rounds.extend(rounds);
        self.fetches.extend(fetches);
    }

    fn time(&self, at: Instant) -> Span {
        Span::from(at.saturating_duration_since(self.zero.1))
    }

    /// Writes what was seen beside the daemons' traces, replays all of it and makes the page. The
    /// daemons have ended. Returns whether the core does what they traced, and what to print.
    ///
    /// # Errors
    /// If a file can't be read or written.
    pub(super) fn finish(mut self) -> Result<(bool, String)> {
        let mut traces: Vec<PathBuf> = all_in(self.directory())?.into_iter().collect();
        traces.retain(|path| !self.earlier.contains(path));
        let is_trace = |path: &PathBuf| path.extension().is_some_and(|e| e == "jsonl");
        let begun = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.len() > 0);
        traces.retain(|path| is_trace(path) && begun(path));
        let world = free_trace(self.directory(), "world")?;
        let is_first = |path: &&PathBuf| file_name(path).starts_with(CANDIDATES[0]);
        let of = traces.iter().find(is_first).or(traces.first()).cloned();
        let spec = self.write_world(&world, of.as_ref())?;
        traces.push(world);

        let (mut replay, mut viewer) = (Replay::default(), Viewer::default());
        // A page is of one configuration; a witness that came later began with another.
        let mut others = Vec::new();
        for path in &traces {
            replay.read(open(path)?).map_err(err)?;
            match open(path)? {
                trace if trace.header().spec == spec => viewer.read(trace).map_err(err)?,
                _ => others.push(file_name(path)),
            }
        }
        let page = match &self.page {
            Some(file) => {
                fs::write(file, viewer.page().map_err(err)?).context(|| file.display())?;
                let without = match &others[..] {
                    [] => String::new(),
                    others => format!(
                        ", without {}, which began with other members",
                        others.join(", ")
                    ),
                };
                format!(" The run as a page: {}{without}", file.display())
            }
            None => String::new(),
        };
        let turns = replay.turns();
        let (good, said) = replay.verdict();
        let said = match good {
            true => format!(
                "Replayed: in each of {turns} turns the core does what the daemons did.{page}"
            ),
            false => format!("{said}\nReplayed, and something is WRONG: see above.{page}"),
        };
        Ok((good, said))
    }

    /// What was done and seen, as a trace without turns; by the configuration of this one, which is returned.
    fn write_world(&mut self, path: &Path, of: Option<&PathBuf>) -> Result<Spec> {
        let of = of.ok_or_else(|| err("the daemons traced nothing"))?;
        let spec = open(of)?.header().spec.clone();
        let by = concat!("onehold-lab ", env!("CARGO_PKG_VERSION"));
        let mut header = Header::new(by, spec.clone(), Vec::new());
        header.zero = Some(self.zero.0);
        let mut lines = std::mem::take(&mut self.lines);
        for change in changes(&self.rounds) {
            let kernel = Line::Kernel {
                time: self.time(change.at),
                member: CANDIDATES[change.node].to_owned(),
                group: GROUP.to_owned(),
                effective: change.answers,
            };
            lines.push((change.at, kernel));
        }
        for fetch in &self.fetches {
            let at = fetch.answered.unwrap_or(fetch.asked);
            let request = Line::Request {
                time: self.time(at),
                group: GROUP.to_owned(),
                answered_by: fetch.by.map(|n| CANDIDATES[n].to_owned()),
            };
            lines.push((at, request));
        }
        lines.sort_by_key(|(at, _)| *at);
        let file = BufWriter::new(File::create(path).context(|| path.display())?);
        let written = Writer::new(file, &header).and_then(|mut writer| {
            lines.iter().try_for_each(|(_, line)| writer.line(line))?;
            writer.into_inner().flush()
        });
        written.context(|| path.display()).map(|()| spec)
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A trace, named after its file and not its directory, which may be temporary.
fn open(path: &Path) -> Result<Reader<BufReader<File>>> {
    let name = file_name(path);
    let file = File::open(path).context(|| path.display())?;
    Reader::new(name, BufReader::new(file)).map_err(|e| err(e.to_string()))
}

fn all_in(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(directory).context(|| directory.display())?;
    let paths = entries.map(|entry| entry.map(|e| e.path()));
    paths
        .collect::<std::io::Result<_>>()
        .context(|| directory.display())
}

//! From files to lines: comments, `include`, `@id`, `$NAME`, `~SEQ` and `~LST`, all bounded.

use super::COMMENTS;
use crate::import::input::{Disk, MAX_FILES, MAX_LINES, Read, matching, read};
use crate::import::report::{At, Report, Verdict};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// How deep files include each other, and definitions use each other.
const MAX_DEPTH: usize = 16;
/// How often something is put in, in all.
const MAX_STEPS: usize = 50_000;
/// The longest line that may come of it.
const MAX_LENGTH: usize = 16_384;

/// A line with nothing left to put in, and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) at: At,
}

/// The files that were read: each is in the report once, whoever it is read for.
pub(super) struct Library<'d> {
    disk: &'d dyn Disk,
    files: BTreeMap<PathBuf, Rc<Read>>,
    /// The ids of `@id`, in the order in which they came.
    pub(super) ids: Vec<String>,
    /// Lines that are left out unless something else is said of them, and why.
    unused: BTreeMap<At, String>,
}

impl<'d> Library<'d> {
    pub(super) fn new(disk: &'d dyn Disk) -> Self {
        Self {
            disk,
            files: BTreeMap::new(),
            ids: Vec::new(),
            unused: BTreeMap::new(),
        }
    }

    fn read(&mut self, path: &Path, report: &mut Report) -> Result<Rc<Read>, String> {
        if let Some(file) = self.files.get(path) {
            return Ok(file.clone());
        }
        if self.files.len() >= MAX_FILES {
            return Err(format!("more than {MAX_FILES} files"));
        }
        let file = Rc::new(read(self.disk, path, COMMENTS, report)?);
        self.files.insert(path.to_owned(), file.clone());
        Ok(file)
    }

    /// Says of each line that nobody used why it was not.
    pub(super) fn sweep(&self, report: &mut Report) {
        for (at, why) in &self.unused {
            if !report.is_said(*at) {
                report.say(*at, Verdict::LeftOut, why.clone());
            }
        }
    }
}

/// What `$NAME` stands for.
#[derive(Clone)]
struct Definition {
    at: At,
    lines: Rc<Vec<Line>>,
}

struct Expander<'l, 'd, 'r> {
    library: &'l mut Library<'d>,
    report: &'r mut Report,
    id: Option<&'l str>,
    definitions: BTreeMap<String, Definition>,
    directory: PathBuf,
    out: Vec<Line>,
    steps: usize,
    opened: usize,
}

/// The lines of a file, as the machine with this id reads them.
///
/// # Errors
/// If the file can't be read.
pub(super) fn expand(
    library: &mut Library<'_>,
    path: &Path,
    id: Option<&str>,
    report: &mut Report,
) -> Result<Vec<Line>, String> {
    let mut expander = Expander {
        library,
        report,
        id,
        definitions: BTreeMap::new(),
        directory: PathBuf::new(),
        out: Vec::new(),
        steps: 0,
        opened: 0,
    };
    expander.file(path, 0)?;
    Ok(expander.out)
}

/// A line without its comment and the space around it.
fn decomment(line: &str) -> String {
    let (mut out, mut quoted) = (String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => {
                match letters.peek() {
                    Some('#' | '!') if !quoted => {}
                    _ => out.push('\\'),
                }
                out.extend(letters.next());
                continue;
            }
            '#' | '!' if !quoted => break,
            _ => {}
        }
        out.push(c);
    }
    out.trim_matches([' ', '\t', '\r', '\x0b', '\x0c'])
        .to_owned()
}

/// The name at the beginning of a text.
fn name_in(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

impl Expander<'_, '_, '_> {
    fn wrong(&mut self, at: At, what: impl Into<String>) {
        self.report.say(at, Verdict::Wrong, what);
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        self.opened += 1;
        if self.opened > MAX_FILES {
            return Err(format!(
                "files are included more than {MAX_FILES} times; left out"
            ));
        }
        let file = self.library.read(path, self.report)?;
        let parent = path.parent().unwrap_or(Path::new("")).to_owned();
        let before = std::mem::replace(&mut self.directory, parent);
        let mut lines = file.lines.iter().enumerate();
        while let Some((n, line)) = lines.next() {
            let at = Report::at(file.number, n);
            let text = decomment(line);
            if text.is_empty() {
                continue;
            }
            let (word, rest) = text.split_once([' ', '\t']).unwrap_or((&text, ""));
            if [
                "include", "includer", "includem", "includew", "includeb", "includea",
            ]
            .contains(&word)
            {
                self.include(rest.trim(), at, depth);
                continue;
            }
            let mut all = vec![Line { text, at }];
            while all.last().is_some_and(|line| line.text.ends_with('\\')) {
                let Some((n, more)) = lines.next() else { break };
                let at = Report::at(file.number, n);
                let text = decomment(more);
                all.push(Line { text, at });
            }
            self.lines(all);
        }
        self.directory = before;
        Ok(())
    }

    fn include(&mut self, pattern: &str, at: At, depth: usize) {
        let pattern = pattern.trim_matches(['"', '\'']);
        if depth >= MAX_DEPTH {
            return self.wrong(
                at,
                format!("files include each other more than {MAX_DEPTH} deep; left out"),
            );
        }
        if pattern.contains(['{', '$']) {
            return self.wrong(
                at,
                "neither braces nor `$` are read in `include`: name each file; left out",
            );
        }
        let found = matching(self.library.disk, &self.directory, pattern);
        if found.is_empty() {
            return self.wrong(at, "no file fits that name; nothing is included");
        }
        for path in found {
            match self.file(&path, depth + 1) {
                Ok(()) => self.report.say(at, Verdict::Carried, "reported below"),
                Err(why) => self.wrong(at, why),
            }
        }
    }

    /// A line; or the several of a definition, each but the last with a `\` at its end.
    fn lines(&mut self, all: Vec<Line>) {
        let strip = |line: &Line| Line {
            text: line.text.trim_end_matches('\\').trim_end().to_owned(),
            at: line.at,
        };
        let all: Vec<Line> = all.iter().map(strip).collect();
        let Some((first, rest)) = all.split_first() else {
            return;
        };
        let Some(text) = self.for_us(&first.text, first.at) else {
            rest.iter()
                .for_each(|line| self.unused(line.at, "belongs to the line above"));
            return;
        };
        match definition(&text) {
            Some((name, value)) => {
                self.unused(first.at, &format!("`${name}` is used nowhere"));
                rest.iter()
                    .for_each(|line| self.unused(line.at, &format!("`${name}` is used nowhere")));
                if ["PASS", "SECRET", "KEY"]
                    .iter()
                    .any(|word| name.to_uppercase().contains(word))
                {
                    self.report.hide_after(first.at, "=");
                }
                let at = first.at;
                let first = (!value.is_empty()).then(|| Line {
                    text: value.to_owned(),
                    at,
                });
                let lines = first.into_iter().chain(rest.iter().cloned()).collect();
                let lines = Rc::new(lines);
                self.definitions
                    .insert(name.to_owned(), Definition { at, lines });
            }
            None => {
                self.line(&text, first.at, 0);
                rest.iter()
                    .for_each(|line| self.line(&line.text, line.at, 0));
            }
        }
    }

    fn unused(&mut self, at: At, why: &str) {
        self.library
            .unused
            .entry(at)
            .or_insert_with(|| why.to_owned());
    }

    /// What is left of a line after its `@id`; nothing if it is another machine's.
    fn for_us(&mut self, text: &str, at: At) -> Option<String> {
        let Some(rest) = text.strip_prefix('@') else {
            return Some(text.to_owned());
        };
        let (word, rest) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let (not, id) = match word.strip_prefix('^') {
            Some(id) => (true, id),
            None => (false, word),
        };
        if !id.is_empty() && !self.library.ids.iter().any(|known| known == id) {
            self.library.ids.push(id.to_owned());
        }
        if (self.id == Some(id)) == not {
            self.unused(
                at,
                &format!(
                    "only for {}`{id}`, which is not imported",
                    if not { "others than " } else { "" }
                ),
            );
            return None;
        }
        if rest.trim().is_empty() {
            self.report.say(at, Verdict::Carried, "");
            return None;
        }
        Some(rest.trim_start().to_owned())
    }

    /// Puts in what there is to put in, until there is nothing left.
    fn line(&mut self, text: &str, at: At, depth: usize) {
        if text.is_empty() {
            return;
        }
        self.steps += 1;
        if self.steps > MAX_STEPS
            || self.out.len() >= MAX_LINES
            || depth > MAX_DEPTH
            || text.len() > MAX_LENGTH
        {
            return self.wrong(
                at,
                "more comes of it than is read here; what is too much is left out",
            );
        }
        let Some(text) = self.for_us(text, at) else {
            return;
        };
        if depth > 0
            && let Some((name, value)) = definition(&text)
        {
            let lines = Rc::new(vec![Line {
                text: value.to_owned(),
                at,
            }]);
            self.report.say(at, Verdict::Carried, "");
            self.definitions
                .insert(name.to_owned(), Definition { at, lines });
            return;
        }
        if text.starts_with('~') {
            return match block(&text) {
                Some((rounds, rest)) => self.rounds(&rounds, rest, at, depth),
                None => self.wrong(at, "not understood as ~SEQ(…) or ~LST(…); left out"),
            };
        }
        match self.reference(&text, at) {
            None => self.out.push(Line { text, at }),
            Some((before, lines, after)) => match &lines[..] {
                [] => self.line(&format!("{before}{after}"), at, depth + 1),
                [one] => {
                    if one.at != at {
                        self.report.say(one.at, Verdict::Carried, "");
                    }
                    self.line(&format!("{before}{}{after}", one.text), at, depth + 1);
                }
                several => {
                    self.line(before.trim(), at, depth + 1);
                    several
                        .iter()
                        .for_each(|line| self.line(&line.text, line.at, depth + 1));
                    self.line(after.trim(), at, depth + 1);
                    self.report.say(at, Verdict::Carried, "");
                }
            },
        }
    }

    fn rounds(&mut self, rounds: &[Round], rest: &str, at: At, depth: usize) {
        for values in rounds {
            for (name, value) in values {
                let lines = Rc::new(vec![Line {
                    text: value.clone(),
                    at,
                }]);
                self.definitions
                    .insert(name.clone(), Definition { at, lines });
            }
            self.line(rest, at, depth + 1);
        }
    }

    /// The first reference to something that is defined: what is before it, what it stands for and
    /// what is after it.
    fn reference<'t>(
        &mut self,
        text: &'t str,
        at: At,
    ) -> Option<(&'t str, Rc<Vec<Line>>, &'t str)> {
        let mut from = 0;
        while let Some(start) = text[from..].find('$').map(|n| n + from) {
            let rest = &text[start + 1..];
            let (name, end) = match rest.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(n) => (&inner[..n], start + n + 3),
                    None => return None,
                },
                None => {
                    let name = name_in(rest);
                    (name, start + 1 + name.len())
                }
            };
            let ends =
                rest.starts_with('{') || !text[end..].starts_with(|c: char| !c.is_whitespace());
            from = end;
            if name.is_empty() || !ends {
                continue;
            }
            if let Some(lines) = self.value(name, at) {
                if text[..start].contains("auth_pass") {
                    lines
                        .iter()
                        .for_each(|line| self.report.hide_after(line.at, "="));
                }
                return Some((&text[..start], lines, &text[end..]));
            }
        }
        None
    }

    fn value(&mut self, name: &str, at: At) -> Option<Rc<Vec<Line>>> {
        if let Some(Definition { at, lines }) = self.definitions.get(name).cloned() {
            if !self.report.is_said(at) {
                self.report.say(at, Verdict::Carried, "");
            }
            return Some(lines);
        }
        let text = match name {
            "_PWD" => self.directory.display().to_string(),
            "_INSTANCE" => self.id?.to_owned(),
            _ => {
                if name.starts_with("_ENV") || name.starts_with("_RANDOM") {
                    self.wrong(
                        at,
                        format!(
                            "what `${{{name}}}` is, only the running keepalived knows: write it"
                        ),
                    );
                }
                return None;
            }
        };
        Some(Rc::new(vec![Line { text, at }]))
    }
}

/// `$NAME=value`
fn definition(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('$')?;
    let name = name_in(rest);
    let value = rest[name.len()..].trim_start().strip_prefix('=')?;
    (!name.is_empty()).then(|| (name, value.trim()))
}

/// The values of one round, by name.
type Round = Vec<(String, String)>;

/// The rounds of `~SEQ(…)` or `~LST(…)` at the beginning of a line, each with its values by name;
/// and the rest of the line.
fn block(text: &str) -> Option<(Vec<Round>, &str)> {
    let (head, rest) = text.split_once('(')?;
    let (inside, rest) = rest.split_once(')')?;
    let rounds = match head.trim() {
        "~SEQ" => sequence(inside, false)?,
        "~SEQx" => sequence(inside, true)?,
        "~LST" => list(inside)?,
        _ => return None,
    };
    Some((rounds, rest.trim_start()))
}

fn sequence(inside: &str, hexadecimal: bool) -> Option<Vec<Round>> {
    let mut parts = inside.split(',').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse::<i64>().ok(),
    };
    let numbers: Vec<i64> = parts.map(number).collect::<Option<_>>()?;
    let way = |start: i64, end: i64| if end >= start { 1 } else { -1 };
    let (start, step, end) = match numbers[..] {
        [end] => (end.signum(), end.signum(), end),
        [start, end] => (start, way(start, end), end),
        [start, step, end] => (start, step, end),
        _ => return None,
    };
    let mut rounds = Vec::new();
    let mut at = start;
    while step != 0 && (if step > 0 { at <= end } else { at >= end }) && rounds.len() <= MAX_STEPS {
        let value = if hexadecimal {
            format!("{at:x}")
        } else {
            at.to_string()
        };
        rounds.push(vec![(name.to_owned(), value)]);
        at = at.checked_add(step)?;
    }
    Some(rounds)
}

fn list(inside: &str) -> Option<Vec<Round>> {
    // Commas within braces don't separate.
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (n, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(inside[start..n].trim());
                start = n + 1;
            }
            _ => {}
        }
    }
    parts.push(inside[start..].trim());
    let split = |text: &str| -> Vec<String> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        match inner {
            Some(inner) => inner
                .split(',')
                .map(|part| part.trim().to_owned())
                .collect(),
            None => vec![text.to_owned()],
        }
    };
    let (names, values) = parts.split_first()?;
    let names = split(names);
    if names
        .iter()
        .any(|name| name.is_empty() || name_in(name) != name)
        || values.is_empty()
    {
        return None;
    }
    let round = |text: &&str| {
        let values = split(text);
        (values.len() == names.len()).then(|| names.iter().cloned().zip(values).collect())
    };
    values.iter().map(round).collect()
}

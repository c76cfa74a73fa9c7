//! What became of each line: nothing is silently lost, because a line of which nothing was said is
//! reported as not understood.

use crate::status::wrapped;
use std::fmt::Write as _;

/// As much of a line as is shown.
const SHOWN: usize = 72;
/// As many things as are said of one line.
const MOST_SAID: usize = 64;

/// What became of a line, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It means the same in our file.
    Carried,
    /// Our file has something for it that means something else.
    Changed,
    /// Our file has nothing for it.
    LeftOut,
    /// It is wrong or unclear: a person must look.
    Wrong,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Carried, Self::Changed, Self::LeftOut, Self::Wrong];

    const fn sign(self) -> char {
        match self {
            Self::Carried => '=',
            Self::Changed => '~',
            Self::LeftOut => '-',
            Self::Wrong => '!',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Carried => "carried over",
            Self::Changed => "changed in meaning",
            Self::LeftOut => "left out",
            Self::Wrong => "wrong or unclear",
        }
    }
}

/// Which line of which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    file: usize,
    line: usize,
}

/// What became of each line of each file that was read.
#[derive(Clone, Debug, Default)]
pub struct Report {
    files: Vec<Reported>,
    notes: Vec<String>,
    needed: Vec<String>,
}

#[derive(Clone, Debug)]
struct Reported {
    name: String,
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    text: String,
    /// It is neither blank nor a comment.
    meant: bool,
    said: Vec<(Verdict, String)>,
    more: usize,
    /// Its text from there on is a secret.
    hidden_from: Option<usize>,
}

impl Line {
    fn verdict(&self) -> Verdict {
        let all = || self.said.iter().map(|(verdict, _)| *verdict);
        match (all().min(), all().max()) {
            (Some(Verdict::Carried | Verdict::Changed), Some(Verdict::LeftOut)) => Verdict::Changed,
            (_, worst) => worst.unwrap_or(Verdict::Wrong),
        }
    }

    fn shown(&self) -> String {
        let text = match self.hidden_from {
            Some(from) => format!("{}…", self.text.get(..from).unwrap_or_default()),
            None => self.text.clone(),
        };
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.trim().chars().map(plain).collect();
        match text.chars().count() > SHOWN {
            true => text.chars().take(SHOWN - 1).chain(['…']).collect(),
            false => text,
        }
    }
}

impl Report {
    /// A file is read: each of its lines must be spoken of. Comments begin with one of `comments`.
    pub(super) fn file(&mut self, name: String, text: &str, comments: &[char]) -> usize {
        let line = |text: &str| {
            let rest = text.trim_matches([' ', '\t', '\r', '\x0b', '\x0c']);
            Line {
                text: text.to_owned(),
                meant: !rest.is_empty() && !rest.starts_with(comments),
                said: Vec::new(),
                more: 0,
                hidden_from: None,
            }
        };
        self.files.push(Reported {
            name,
            lines: text.split('\n').map(line).collect(),
        });
        self.files.len() - 1
    }

    pub(super) const fn at(file: usize, line: usize) -> At {
        At { file, line }
    }

    fn line(&mut self, at: At) -> Option<&mut Line> {
        self.files.get_mut(at.file)?.lines.get_mut(at.line)
    }

    /// Says what became of a line; an empty text if that needs no words.
    pub(super) fn say(&mut self, at: At, verdict: Verdict, what: impl Into<String>) {
        let what = what.into();
        let Some(line) = self.line(at) else { return };
        line.meant = true;
        if line
            .said
            .iter()
            .any(|said| *said == (verdict, what.clone()))
        {
        } else if line.said.len() < MOST_SAID {
            line.said.push((verdict, what));
        } else {
            line.more += 1;
        }
    }

    /// Whether anything was said of a line.
    pub(super) fn is_said(&self, at: At) -> bool {
        let line = self.files.get(at.file).and_then(|f| f.lines.get(at.line));
        line.is_some_and(|line| !line.said.is_empty())
    }

    /// Does not show what follows `word` in a line; nor the line, if the word is not in it.
    pub(super) fn hide_after(&mut self, at: At, word: &str) {
        let Some(line) = self.line(at) else { return };
        let end = line.text.find(word).map_or(0, |start| start + word.len());
        line.hidden_from = Some(line.hidden_from.map_or(end, |before| before.min(end)));
    }

    /// Something about the whole.
    pub fn note(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.notes.contains(&what) {
            self.notes.push(what);
        }
    }

    /// What the file lacks to be complete.
    pub(super) fn needed(&mut self, what: &str) {
        self.needed.push(what.to_owned());
    }

    /// How many lines there are of each verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let lines = self.files.iter().flat_map(|f| &f.lines);
        lines.filter(|l| l.meant && l.verdict() == verdict).count()
    }

    /// The lines that are reported: the file, and the number from 1 on.
    pub fn lines(&self) -> impl Iterator<Item = (&str, usize)> {
        self.files.iter().flat_map(|file| {
            let meant = file.lines.iter().zip(1..).filter(|(line, _)| line.meant);
            meant.map(|(_, number)| (file.name.as_str(), number))
        })
    }

    /// As people read it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let signs = Verdict::ALL.map(|v| format!("{} {}", v.sign(), v.name()));
        let _ = writeln!(out, "{}", signs.join("    "));
        for file in &self.files {
            let _ = writeln!(out, "\n{}", file.name);
            let mut before = None;
            for (line, number) in file.lines.iter().zip(1..).filter(|(line, _)| line.meant) {
                let sign = line.verdict().sign();
                let _ = writeln!(out, "{number:5} {sign} {}", line.shown());
                if line.said.is_empty() {
                    wrapped(&mut out, "          ", "not understood, and left out");
                }
                let again = before == Some(&line.said);
                let said = line
                    .said
                    .iter()
                    .filter(|(_, what)| !what.is_empty() && !again);
                for (verdict, what) in said {
                    let first = match line.said.len() > 1 {
                        true => format!("        {} ", verdict.sign()),
                        false => "          ".to_owned(),
                    };
                    wrapped(&mut out, &first, what);
                }
                if line.more > 0 {
                    let _ = writeln!(out, "          … and {} more", line.more);
                }
                before = Some(&line.said);
            }
        }
        for (head, notes) in [
            ("what is different in any case", &self.notes),
            ("what the file needs before it can be used", &self.needed),
        ] {
            if !notes.is_empty() {
                let _ = writeln!(out, "\n{head}");
            }
            for note in notes {
                wrapped(&mut out, "  - ", note);
            }
        }
        let counts = Verdict::ALL.map(|v| format!("{} {}", self.count(v), v.name()));
        let _ = writeln!(out, "\nlines: {}", counts.join(", "));
        out
    }
}

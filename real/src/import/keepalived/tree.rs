//! From lines to statements: words, and blocks in braces.

use super::expand::Line;
use crate::import::report::{At, Report, Verdict};

/// How deep blocks are in each other.
const MAX_DEPTH: usize = 16;

/// One statement: its words, and its block if it has one.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) words: Vec<String>,
    pub(super) at: At,
    pub(super) block: Option<Vec<Statement>>,
    /// Where its braces are.
    pub(super) braces: Vec<At>,
}

impl Statement {
    fn new(words: Vec<String>, at: At) -> Self {
        Self {
            words,
            at,
            block: None,
            braces: Vec::new(),
        }
    }

    /// Its first word.
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The words after the first.
    pub(super) fn values(&self) -> Vec<&str> {
        self.words.iter().skip(1).map(String::as_str).collect()
    }

    /// The words after the first, as one text.
    pub(super) fn rest(&self) -> String {
        self.words.get(1..).unwrap_or_default().join(" ")
    }

    /// The statements in its block.
    pub(super) fn inside(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// Says the same of it and of all that is in it, in words once.
    pub(super) fn say(&self, report: &mut Report, verdict: Verdict, what: &str) {
        report.say(self.at, verdict, what);
        for brace in self.braces.iter().filter(|brace| **brace != self.at) {
            report.say(*brace, verdict, "");
        }
        for inner in self.inside() {
            inner.say(report, verdict, "");
        }
    }

    /// The same of its own words and braces alone.
    pub(super) fn say_frame(&self, report: &mut Report, verdict: Verdict, what: &str) {
        report.say(self.at, verdict, what);
        for brace in self.braces.iter().filter(|brace| **brace != self.at) {
            report.say(*brace, Verdict::Carried, "");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
}

/// The statements of a file.
pub(super) fn tree(lines: Vec<Line>, report: &mut Report) -> Vec<Statement> {
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    for Line { text, at } in lines {
        let (tokens, ended) = tokens(&text);
        if !ended {
            report.say(
                at,
                Verdict::Wrong,
                "a quote that does not end; read as if it ended with the line",
            );
        }
        let mut words = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    let level = open.last_mut().expect("the file itself stays open");
                    if !words.is_empty() {
                        level.push(Statement::new(std::mem::take(&mut words), at));
                    }
                    let deep = open.len() > MAX_DEPTH;
                    match open.last_mut().and_then(|level| level.last_mut()) {
                        Some(last) if last.block.is_none() && !deep => {
                            last.braces.push(at);
                            last.block = Some(Vec::new());
                            open.push(Vec::new());
                        }
                        _ => report.say(at, Verdict::Wrong, "`{` of nothing; left out"),
                    }
                }
                Token::Close => {
                    end(&mut open, &mut words, at);
                    close(&mut open, Some(at), report);
                }
            }
        }
        end(&mut open, &mut words, at);
    }
    while open.len() > 1 {
        close(&mut open, None, report);
    }
    open.pop().unwrap_or_default()
}

/// Ends a statement.
fn end(open: &mut [Vec<Statement>], words: &mut Vec<String>, at: At) {
    if !words.is_empty()
        && let Some(level) = open.last_mut()
    {
        level.push(Statement::new(std::mem::take(words), at));
    }
}

/// Ends a block; at the end of the file, without a brace.
fn close(open: &mut Vec<Vec<Statement>>, at: Option<At>, report: &mut Report) {
    if open.len() < 2 {
        if let Some(at) = at {
            report.say(at, Verdict::Wrong, "`}` of nothing; left out");
        }
        return;
    }
    let block = open.pop();
    let Some(of) = open.last_mut().and_then(|level| level.last_mut()) else {
        return;
    };
    of.block = block;
    match at {
        Some(at) => of.braces.push(at),
        None => report.say(of.at, Verdict::Wrong, "its block does not end"),
    }
}

/// A line's words and braces; and whether its quotes end.
fn tokens(text: &str) -> (Vec<Token>, bool) {
    let (mut all, mut word, mut begun, mut quote) = (Vec::new(), String::new(), false, None);
    let mut letters = text.chars().peekable();
    let flush = |all: &mut Vec<Token>, word: &mut String, begun: &mut bool| {
        if *begun {
            all.push(Token::Word(std::mem::take(word)));
        }
        *begun = false;
    };
    while let Some(c) = letters.next() {
        match (c, quote) {
            ('\\', _) if letters.peek().is_some() => {
                begun = true;
                match letters.next() {
                    Some(c @ ('"' | '\\' | '{' | '}' | '#' | '!')) => word.push(c),
                    Some(c) => word.extend(['\\', c]),
                    None => {}
                }
            }
            (c, Some(q)) if c == q => quote = None,
            (c, Some(_)) => word.push(c),
            ('"' | '\'', None) => {
                begun = true;
                quote = Some(c);
            }
            // What is not defined stays as it is written.
            ('$', None) if letters.peek() == Some(&'{') => {
                begun = true;
                word.push('$');
                for c in letters.by_ref() {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            // Nor is what a template was to fill in.
            ('{', None) if letters.peek() == Some(&'{') => {
                begun = true;
                word.push('{');
                for c in letters.by_ref() {
                    word.push(c);
                    if word.ends_with("}}") {
                        break;
                    }
                }
            }
            ('{' | '}', None) => {
                flush(&mut all, &mut word, &mut begun);
                all.push(if c == '{' { Token::Open } else { Token::Close });
            }
            (c, None) if c.is_whitespace() => flush(&mut all, &mut word, &mut begun),
            (c, None) => {
                begun = true;
                word.push(c);
            }
        }
    }
    flush(&mut all, &mut word, &mut begun);
    (all, quote.is_none())
}

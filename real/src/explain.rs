//! What a rule, a word or a line of `onehold status` means, in the words of the book. The book's
//! pages are embedded when this is built: their text is nowhere a second time.

use crate::status::wrapped;
use std::fmt::Write as _;

const PROTOCOL: &str = include_str!("../../docs/src/protocol.md");
const OPERATIONS: &str = include_str!("../../docs/src/operations.md");
const GLOSSARY: &str = include_str!("../../docs/src/glossary.md");

/// Most rows of a table that are shown.
const MOST: usize = 5;
/// What is fixed in a row must have at least this many letters to be recognised in a longer text.
const TELLING: usize = 8;

/// A rule of the protocol.
struct Rule {
    /// Such as `R-9`.
    name: String,
    title: &'static str,
    /// As the page has it.
    text: &'static str,
}

fn rules() -> impl Iterator<Item = Rule> {
    let sections = PROTOCOL.split("\n### R-").skip(1);
    sections.filter_map(|section| {
        let (head, text) = section.split_once('\n')?;
        let (number, title) = head.split_once(' ')?;
        let text = text.split_once("\nCode:").map_or(text, |(text, _)| text);
        Some(Rule {
            name: format!("R-{number}"),
            title,
            text,
        })
    })
}

/// All rules by name and title.
#[must_use]
pub fn contents() -> String {
    let line = |rule: Rule| format!("{:<5} {}\n", rule.name, rule.title);
    rules().map(line).collect()
}

/// What is meant by `what`: a rule, a word of the glossary, or something that `status`, the log or
/// an error says.
///
/// # Errors
/// What can be explained, if that can't.
pub fn explain(what: &str) -> Result<String, String> {
    let what = what.trim();
    if let Some(rule) = rules().find(|rule| is_name(&rule.name, what)) {
        let text = plain(rule.text);
        return Ok(format!("{} {}\n\n{}\n", rule.name, rule.title, text.trim()));
    }
    let words: String = of_glossary(what).chain(of_operations(what)).collect();
    if !what.is_empty() && !words.is_empty() {
        return Ok(words);
    }
    let all: Vec<String> = rules().map(|rule| rule.name).collect();
    Err(format!(
        "`{what}` is neither a rule, nor a word of the glossary, nor in the tables of what `onehold status` says. The \
         rules are {}; `onehold explain` lists them with their titles",
        all.join(", ")
    ))
}

/// `R-9`, `r9` and `9` are one rule.
fn is_name(name: &str, said: &str) -> bool {
    let number = |s: &str| {
        let s = s.trim_start_matches(['R', 'r']).trim_start_matches('-');
        s.to_owned()
    };
    number(name) == number(said)
}

fn of_glossary(what: &str) -> impl Iterator<Item = String> {
    rows(GLOSSARY).filter_map(move |row| {
        let [terms, meaning, elsewhere] = row.cells[..] else {
            return None;
        };
        let mut bold = terms.split("**").skip(1).step_by(2);
        let mut others = elsewhere.split([',', '/']).map(str::trim);
        let is_it = |term: &str| term.eq_ignore_ascii_case(what);
        if !bold.any(is_it) && !others.any(is_it) {
            return None;
        }
        let mut text = String::new();
        wrapped(
            &mut text,
            "",
            &format!("{}: {}", plain(terms), plain(meaning)),
        );
        Some(text)
    })
}

fn of_operations(what: &str) -> impl Iterator<Item = String> {
    let found = rows(OPERATIONS).filter_map(move |row| {
        let (said, rest) = row.cells.split_first()?;
        let mut phrases = said.split('`').skip(1).step_by(2);
        if !phrases.any(|phrase| fits(phrase, what)) {
            return None;
        }
        let mut text = String::new();
        wrapped(&mut text, "", &plain(said));
        for (head, cell) in row.heads.iter().skip(1).zip(rest) {
            wrapped(&mut text, &format!("  {head}: "), &plain(cell));
        }
        Some(text)
    });
    found.take(MOST)
}

/// Whether somebody who says `what` means this phrase of a table: says a part of it, or something
/// that has all that is fixed in it.
fn fits(phrase: &str, what: &str) -> bool {
    let (phrase, what) = (phrase.to_lowercase(), (what, what.to_lowercase()));
    if what.1.len() >= 3 && phrase.contains(&what.1) {
        return true;
    }
    let fixed: Vec<&str> = phrase.split(['…', ':']).map(str::trim).collect();
    if fixed.iter().map(|part| part.len()).sum::<usize>() < TELLING {
        return false;
    }
    let mut rest = what.1.as_str();
    fixed.iter().all(|part| {
        let words = part.split(' ').filter(|word| !is_placeholder(word));
        words.into_iter().all(|word| match rest.split_once(word) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// A word of a table that stands for a name or a number (in lower case here).
fn is_placeholder(word: &str) -> bool {
    ["x", "y", "n", "if", "mac", "address", "network", "bridge"].contains(&word)
}

/// A row of a table.
struct Row {
    /// The first row of the table.
    heads: Vec<&'static str>,
    cells: Vec<&'static str>,
}

/// The rows of a page's tables.
fn rows(page: &'static str) -> impl Iterator<Item = Row> {
    let cells = |line: &'static str| {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        cells.collect::<Vec<_>>()
    };
    let mut heads = Vec::new();
    let mut lines = page.lines().filter(|line| line.starts_with('|')).peekable();
    std::iter::from_fn(move || {
        let mut line = lines.next()?;
        while lines.next_if(|next| next.starts_with("|-")).is_some() {
            heads = cells(line);
            line = lines.next()?;
        }
        Some(Row {
            heads: heads.clone(),
            cells: cells(line),
        })
    })
}

/// Text for a terminal: links without their targets, no marks of emphasis, code indented.
fn plain(markdown: &str) -> String {
    let mut out = String::new();
    let mut code = false;
    for line in markdown.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if code {
            let _ = writeln!(out, "    {line}");
        } else {
            let _ = writeln!(out, "{}", without_links(line).replace('*', ""));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

fn without_links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, text, after)) = first_link(rest) {
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out + rest
}

/// What stands before a link, its text, and what stands behind it.
fn first_link(line: &str) -> Option<(&str, &str, &str)> {
    let (head, tail) = line.split_once("](")?;
    let (before, text) = head.rsplit_once('[')?;
    let (_, after) = tail.split_once(')')?;
    Some((before, text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_that_the_daemon_names_is_explained() {
        let all: Vec<Rule> = rules().collect();
        let names: Vec<&str> = all.iter().map(|rule| rule.name.as_str()).collect();
        let expected: Vec<String> = (0..all.len()).map(|n| format!("R-{n}")).collect();
        assert_eq!(names, expected, "in their order, none left out");
        assert!(all.len() >= 20);
        for rule in &all {
            let text = explain(&rule.name).unwrap();
            assert!(text.len() > 100, "{text}");
            for markup in ["](", "**", "```", "<!--", "Code:", "Tests:"] {
                assert!(!text.contains(markup), "{markup} in {text}");
            }
        }
    }

    #[test]
    fn a_rule_as_it_is_shown() {
        insta::assert_snapshot!(explain("R-9").unwrap());
        for other in ["r9", "9", "r-9", " R9 "] {
            assert_eq!(explain(other).unwrap(), explain("R-9").unwrap());
        }
        assert!(explain("R-14").unwrap().contains("\n    P · (1 − ρ) ≥"));
    }

    /// What is found is the row meant, whatever the row says.
    #[test]
    fn words_and_lines_are_explained() {
        let rows = [
            ("quarantine", "quarantine: "),
            ("Standby", "holder, standby: "),
            ("VIP", "address: "),
            ("bad_seal", "`unknown_key`, `bad_seal`\n  means: "),
            (
                "none of them is this host",
                "`none of them is this host`\n  do: ",
            ),
            (
                "lb1 is not heard: is it up (`systemctl status onehold` there)?",
                "`X is not heard`\n  it means: ",
            ),
            (
                "web: can't hold here: the operator said standby (`onehold resume` ends it)",
                "`can't hold here: the operator said standby",
            ),
            (
                "lb0 runs with another configuration: what comes from 10.0.0.10:6946 has the digest 00",
                "`X runs with another configuration`\n  it means: ",
            ),
        ];
        for (asked, row) in rows {
            let said = explain(asked).unwrap();
            assert!(said.contains(row), "{asked}\n{said}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        insta::assert_snapshot!(explain("R-99").unwrap_err());
        for none in ["", "x", "zzz", "R-", "-", "R--9x"] {
            assert!(explain(none).is_err(), "{none}");
        }
    }
}

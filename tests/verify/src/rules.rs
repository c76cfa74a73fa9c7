//! Rules, code and tests name each other, and links lead somewhere: by text search.

use super::repo::{files, read};
use super::{Result, StepEnd};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

const PROTOCOL: &str = "docs/src/protocol.md";

/// Every rule of the protocol has a test that carries its number and is cited in the core; every
/// file that a document links to is there.
pub(super) fn are_tested_and_cited(root: &Path) -> Result {
    let protocol = read(root, Path::new(PROTOCOL))?;
    let mut core = String::new();
    for path in files(root, &["rs"])?
        .iter()
        .filter(|p| p.starts_with("core"))
    {
        core.push_str(&read(root, path)?);
    }
    let functions = core.lines().filter_map(|l| l.trim().strip_prefix("fn "));
    let of_a_rule = |name: &&str| name.strip_prefix('r').and_then(number).is_some();
    let tests: Vec<&str> = functions.filter(of_a_rule).collect();
    let rules: BTreeSet<u32> = protocol.lines().filter_map(heading).collect();
    let mut wrong = Vec::new();
    if rules.is_empty() {
        wrong.push(format!("{PROTOCOL} has no heading `### R-n …`"));
    }
    for rule in &rules {
        if !cites(&core, *rule) {
            wrong.push(format!("R-{rule}: no line in core cites it"));
        }
        if !tests.iter().any(|t| t.starts_with(&format!("r{rule}_"))) {
            wrong.push(format!("R-{rule}: core has no test `fn r{rule}_…`"));
        }
    }
    let documents = files(root, &["md"])?;
    for document in &documents {
        let text = read(root, document)?;
        for link in links(&text) {
            let base = document.parent().unwrap_or(Path::new(""));
            if !root.join(normal(&base.join(link))).exists() {
                wrong.push(format!(
                    "{}: the link `{link}` leads nowhere",
                    document.display()
                ));
            }
        }
    }
    println!(
        "{} rules, {} tests of them, {} documents",
        rules.len(),
        tests.len(),
        documents.len()
    );
    if wrong.is_empty() {
        Ok(StepEnd::Passed)
    } else {
        Err(wrong.join("\n"))
    }
}

/// The rule that a heading such as `### R-4 Voting` begins.
fn heading(line: &str) -> Option<u32> {
    let rest = line.trim_start_matches('#').strip_prefix(" R-")?;
    number(rest).filter(|_| line.starts_with('#'))
}

fn number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// Whether `R-4` stands in the text, and not only as part of `R-41`.
fn cites(text: &str, rule: u32) -> bool {
    text.split("R-")
        .skip(1)
        .any(|rest| number(rest) == Some(rule))
}

/// The files that a document links to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|t| !t.contains("://") && !t.starts_with('#'));
    files.filter_map(|t| t.split('#').next())
}

/// The path without `..`, for a directory on the way may not exist yet.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_citations_are_found() {
        assert_eq!(heading("### R-4 Voting"), Some(4));
        assert_eq!(heading("R-4 is not a heading"), None);
        assert!(cites("// R-4: a live vote never moves", 4));
        assert!(!cites("// R-14", 4));
        assert!(!cites("// R-41", 4));
    }

    #[test]
    fn links_are_found() {
        let text = "[a](x/y.md#z) [b](https://example.org) [c](#d)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["x/y.md"]);
    }
}

//! What a parser says about a text, in an operator's words: what is wrong, and what would be right.

use std::ops::Range;

/// Quotes that a word processor or a web page makes of plain ones.
const TYPOGRAPHIC: [char; 10] = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '″'];
/// Most lines of one text that are reported.
const MOST_LINES: usize = 20;

/// What is wrong with the form of a text, by line: what the parser noticed first in each.
pub(super) fn syntax(text: &str, mut noticed: Vec<(Range<usize>, String)>) -> Vec<(usize, String)> {
    noticed.sort_by_key(|(at, _)| at.start);
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let open = (noticed.iter()).find_map(|(at, message)| left_open(text, at.start, message));
    if let Some((opened, what)) = open {
        // What follows was read as a part of it.
        noticed.retain(|(at, _)| line_of(text, at.start) < opened);
        wrong.push((opened, shown(text, opened, what)));
    }
    let mut in_second_table = false;
    for (at, message) in noticed {
        let line = line_of(text, at.start);
        let is_header = line_text(text, line).starts_with('[');
        let repeated = message.starts_with("duplicate key");
        if (in_second_table && repeated && !is_header) || wrong.iter().any(|(l, _)| *l == line) {
            continue;
        }
        in_second_table = repeated && is_header;
        wrong.push((line, shown(text, line, &form(text, line, at, &message))));
        if wrong.len() == MOST_LINES {
            break;
        }
    }
    wrong.sort_by_key(|(line, _)| *line);
    wrong
}

fn shown(text: &str, line: usize, what: &str) -> String {
    format!("`{}`: {what}", line_text(text, line))
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|b| **b == b'\n').count() + 1
}

fn line_text(text: &str, line: usize) -> &str {
    text.lines().nth(line - 1).unwrap_or_default().trim()
}

/// The line of a bracket or brace that was never closed, if that is why the parser stumbles here: it
/// read the next key or table as a part of it.
fn left_open(text: &str, offset: usize, message: &str) -> Option<(usize, &'static str)> {
    let here = line_of(text, offset);
    let opened = |pair| {
        (1..here)
            .rev()
            .find(|line| left_open_in(line_text(text, *line), pair) > 0)
    };
    if message.contains("inline table") || message.contains("key-value pairs") {
        return opened(('{', '}')).map(|line| (line, "the brace is not closed: add `}`"));
    }
    if !message.contains("array") {
        return None;
    }
    let begins = line_text(text, here);
    let key = begins.split('=').next().unwrap_or_default();
    let is_key = begins.contains('=') && !key.contains(['"', '{', ',']);
    let over = begins.starts_with('[') || is_key || message.starts_with("unclosed");
    let line = opened(('[', ']')).filter(|_| over)?;
    Some((line, "the bracket is not closed: add `]`"))
}

/// How many brackets a line leaves open, outside of quotes and comments.
fn left_open_in(line: &str, (opens, closes): (char, char)) -> i32 {
    let (mut open, mut quote) = (0, None);
    for c in line.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), _) if q == c => quote = None,
            (None, '#') => break,
            (None, c) if c == opens => open += 1,
            (None, c) if c == closes => open -= 1,
            _ => {}
        }
    }
    open
}

/// One error of form.
fn form(text: &str, line: usize, at: Range<usize>, message: &str) -> String {
    let written = line_text(text, line);
    if let Some(quote) = written.chars().find(|c| TYPOGRAPHIC.contains(c)) {
        let plain = written.replace(TYPOGRAPHIC, "\"");
        return format!("`{quote}` is a typographic quote; write plain ones: `{plain}`");
    }
    let word = bare_word(text, at);
    if message.starts_with("string values must be quoted")
        || message.starts_with("invalid float")
        || message.starts_with("invalid integer")
        || message.starts_with("invalid boolean")
    {
        return match word.to_lowercase().as_str() {
            "yes" | "on" | "true" | "enabled" => format!("write `true` instead of `{word}`"),
            "no" | "off" | "false" | "disabled" => format!("write `false` instead of `{word}`"),
            _ => format!("text belongs in quotes: write \"{word}\""),
        };
    }
    if message.starts_with("duplicate key") {
        let keys = keys(text);
        let mut so_far = keys.iter().take(line);
        let key = keys.get(line - 1).map_or("", String::as_str);
        let is_it =
            |k: &&String| **k == key || k.strip_prefix(key).is_some_and(|k| k.starts_with('.'));
        let place = match so_far.position(|k| is_it(&k)) {
            Some(n) if n + 1 < line => format!(", in line {}", n + 1),
            _ => String::new(),
        };
        return format!("`{key}` is there already{place}: keep one, or rename one");
    }
    if message.starts_with("key with no value") {
        let key = written.split_whitespace().next().unwrap_or_default();
        return format!("neither `key = value` nor a [table]; write `{key} = …`");
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string")
    {
        return "the quote is not closed in this line".to_owned();
    }
    if message.starts_with("unclosed table") {
        return format!("the bracket is not closed; write `{written}]`");
    }
    if message.starts_with("missing comma") {
        return "a comma is missing between two elements".to_owned();
    }
    if let Some((key, value)) = written.split_once(':')
        && message.starts_with("invalid unquoted key")
    {
        return format!("write `{} = {}`, with `=`", key.trim(), value.trim());
    }
    if message.starts_with("unexpected key or value") {
        return "something follows the value, where only a comment may: no `;`, one key in each line"
            .to_owned();
    }
    message.to_owned()
}

/// The key of each line, with that of its table; empty where there is none.
fn keys(text: &str) -> Vec<String> {
    let mut table = String::new();
    let key = |line: &str| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            table = name.trim_start_matches('[').trim().to_owned();
            return table.clone();
        }
        match line.split_once('=') {
            Some((key, _)) if table.is_empty() => key.trim().to_owned(),
            Some((key, _)) => format!("{table}.{}", key.trim()),
            None => String::new(),
        }
    };
    text.lines().map(key).collect()
}

/// The word that is written at a place, whatever its characters mean.
fn bare_word(text: &str, at: Range<usize>) -> &str {
    let ends = |c: char| c.is_whitespace() || "=,[]{}#\"'".contains(c);
    let (before, after) = (
        text.get(..at.start).unwrap_or_default(),
        text.get(at.start..).unwrap_or_default(),
    );
    let start = before.rfind(ends).map_or(0, |n| {
        n + before[n..].chars().next().map_or(1, char::len_utf8)
    });
    let end = at.start + after.find(ends).unwrap_or(after.len());
    text.get(start..end).unwrap_or_default()
}

/// What another program's file seems to be, and what makes our file of it.
pub(super) fn of_another_program(text: &str, path: &std::path::Path) -> Option<String> {
    let first_words = || text.lines().filter_map(|l| l.split_whitespace().next());
    let lines_with = |known: &[&str]| first_words().filter(|w| known.contains(w)).count();
    let shown = path.display();
    let keepalived = [
        "vrrp_instance",
        "vrrp_script",
        "vrrp_sync_group",
        "global_defs",
        "virtual_server",
        "virtual_ipaddress",
        "static_ipaddress",
    ];
    if lines_with(&keepalived) > 0 {
        return Some(format!(
            "this looks like keepalived.conf: `onehold import keepalived {shown}` makes a file of ours of it"
        ));
    }
    let ha_cf = [
        "keepalive",
        "deadtime",
        "warntime",
        "initdead",
        "udpport",
        "bcast",
        "ucast",
        "mcast",
        "auto_failback",
        "logfacility",
        "node",
        "ipfail",
        "ping",
    ];
    let haresources = || {
        let resource = |word: &str| word.starts_with("IPaddr");
        text.lines()
            .any(|l| !l.trim_start().starts_with('#') && l.split_whitespace().skip(1).any(resource))
    };
    let authkeys = || {
        let is = |l: &str| l.split_whitespace().next() == Some("auth");
        text.lines().any(is) && lines_with(&["auth"]) == 1
    };
    let name = if lines_with(&ha_cf) > 1 {
        "ha.cf"
    } else if haresources() {
        "haresources"
    } else if authkeys() {
        "authkeys"
    } else {
        return None;
    };
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
    let directory = directory.unwrap_or(std::path::Path::new("."));
    Some(format!(
        "this looks like Heartbeat's {name}: `onehold import heartbeat {}` makes a file of ours of what is there",
        directory.display()
    ))
}

/// Puts a message of serde into an operator's words. `key` is where it is about: what is unknown is
/// its last part afterwards, and what is missing is added to it. With it the key that was probably
/// meant.
pub(super) fn meaning(message: &str, key: &mut Vec<String>) -> (String, Option<String>) {
    // serde names the word in question first and then those it knows, all in backquotes.
    let mut words = message.split('`').skip(1).step_by(2);
    let word = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    if message.starts_with("unknown field") {
        // The span may be that of a key within the unknown table.
        while key.last().is_some_and(|last| last != word) {
            key.pop();
        }
        let near = nearest(word, &known);
        let what = match near {
            Some(near) => format!("unknown key; did you mean `{near}`?"),
            None => format!("unknown key; the keys here are {}", known.join(", ")),
        };
        return (what, near.map(str::to_owned));
    }
    let what = if message.starts_with("unknown variant") {
        match nearest(word, &known) {
            Some(near) => format!("`{word}` is unknown; did you mean \"{near}\"?"),
            None => format!("`{word}` is unknown; write one of {}", known.join(", ")),
        }
    } else if message.starts_with("missing field") {
        key.push(word.to_owned());
        let remedy = match word {
            "cluster" => "; the file needs a [cluster] with `name` and `secret_file`",
            "name" => "; write any name, the same on all members",
            "addresses" => "; write addresses = [\"…\"]",
            _ => "",
        };
        format!("missing{remedy}")
    } else {
        let invalid = ["invalid type: ", "invalid value: "];
        let rest = invalid.iter().find_map(|kind| message.strip_prefix(kind));
        let parts = rest.and_then(|rest| rest.rsplit_once(", expected "));
        match parts {
            Some((written, expected)) => mistaken(written, expected),
            None => message.to_owned(),
        }
    };
    (what, None)
}

/// A value of the wrong type, as serde describes it and what it expected.
fn mistaken(written: &str, expected: &str) -> String {
    let quoted = written.strip_prefix("string ");
    let text = quoted.map(|q| q.trim_matches('"'));
    // `boolean `true``, `integer `5``
    let value = match written.split('`').nth(1) {
        Some(value) => value,
        None => quoted.unwrap_or(written),
    };
    if value == "map" {
        return "double brackets make a list; write [single] ones, and each name once".to_owned();
    }
    let range = match expected {
        "u16" => Some("1 to 65535"),
        "u8" => Some("a whole number up to 255"),
        "u32" => Some("a whole number up to 4294967295"),
        "u64" | "usize" | "i64" => Some("a whole number, not below 0"),
        _ => None,
    };
    if let Some(range) = range {
        return match text.filter(|t| t.parse::<u64>().is_ok()) {
            Some(number) => format!("{value} is text; write {number}, without quotes"),
            None => format!("{value} is not possible here; write {range}"),
        };
    }
    match (expected, text) {
        ("a boolean", Some(text)) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => format!("{value} is text; write true, without quotes"),
            "false" | "no" | "off" => format!("{value} is text; write false, without quotes"),
            _ => format!("{value} is not possible here; write true or false"),
        },
        ("a boolean", None) => format!("{value} is not possible here; write true or false"),
        ("a string" | "a borrowed string" | "path string", None) if written.contains('`') => {
            format!("{value} is not text; write \"{value}\"")
        }
        ("a sequence", Some(_)) => format!("{value} is not a list; write [{value}]"),
        ("a sequence", None) => format!("{value} is not a list; write one in [brackets]"),
        ("a map", _) => {
            format!("{value} is not possible here; write a table, with a key in each line")
        }
        (expected, _) if expected.starts_with("struct ") => {
            format!("{value} is not possible here; write a table, with a key in each line")
        }
        (expected, _) => format!("{value} is not possible here; write {expected}"),
    }
}

/// The known word that `word` is most likely a misspelling of, if any.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, near) = known.iter().map(|k| (distance(word, k), *k)).min()?;
    (distance <= 1 + near.len() / 4).then_some(near)
}

/// How many letters to change, add or drop to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;

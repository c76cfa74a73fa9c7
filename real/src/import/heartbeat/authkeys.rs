//! `authkeys`

use crate::import::input::Read;
use crate::import::report::{At, Report, Verdict};
use crate::secret::MIN_BYTES;

/// A secret with fewer different letters is a word or a pattern.
const LEAST_LETTERS: usize = 8;
const METHODS: [&str; 3] = ["crc", "md5", "sha1"];

/// A key, and where it is written.
struct Key {
    id: String,
    method: String,
    secret: String,
    at: At,
}

/// Reads authkeys: the secret, if it may be carried over. None is ever shown.
pub(super) fn read(file: &Read, report: &mut Report) -> Option<String> {
    let (mut active, mut keys) = (None, Vec::new());
    for (n, line) in file.lines.iter().enumerate() {
        let at = Report::at(file.number, n);
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        hide(report, at, text);
        let words: Vec<&str> = text
            .split_whitespace()
            .filter(|w| !["echo", "-e"].contains(w))
            .collect();
        let auth = words
            .first()
            .and_then(|word| word.trim_start_matches(['\'', '"']).strip_prefix("auth"));
        match (auth, &words[..]) {
            (Some(""), [_, id]) => {
                active = Some(((*id).to_owned(), at));
                report.say(at, Verdict::Carried, "");
            }
            (Some(id), [_, rest @ ..]) => {
                // `auth1 1 sha1 KEY`, `auth 1\n1 sha1 KEY`, `auth 1 1 sha1 KEY`
                let id = if id.is_empty() {
                    rest.first().copied().unwrap_or_default()
                } else {
                    id
                };
                let id: String = id.chars().take_while(char::is_ascii_digit).collect();
                let method = rest.iter().position(|word| METHODS.contains(word));
                report.say(
                    at,
                    Verdict::Wrong,
                    "these are two lines in one, which Heartbeat can't read: `auth 1` (with a space), and below it \
                     `1 sha1 …`; read as that",
                );
                if let Some(method) = method {
                    keys.push(key(&id, rest[method], &rest[method + 1..], at));
                    active = active.or(Some((id, at)));
                }
            }
            (None, [id, method, rest @ ..]) if METHODS.contains(method) => {
                keys.push(key(id, method, rest, at));
            }
            _ => report.say(
                at,
                Verdict::Wrong,
                "neither `auth N` nor `N sha1 …`; left out",
            ),
        }
    }
    if let Some((id, at)) = &active
        && !keys.iter().any(|key| key.id == *id)
    {
        report.say(*at, Verdict::Wrong, format!("there is no key {id}"));
    }
    let mut carried = None;
    for key in keys {
        let is_active = active.as_ref().is_some_and(|(id, _)| *id == key.id);
        let (verdict, what) = judge(&key, is_active, file.mode);
        report.say(key.at, verdict, what);
        if verdict == Verdict::Carried {
            carried = Some(key.secret);
        }
    }
    carried
}

fn key(id: &str, method: &str, rest: &[&str], at: At) -> Key {
    Key {
        id: id.to_owned(),
        method: method.to_owned(),
        secret: rest.join(" ").trim_end_matches(['\'', '"']).to_owned(),
        at,
    }
}

/// Shows neither the secret nor, in a line that is broken, what may be one.
fn hide(report: &mut Report, at: At, text: &str) {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["auth", id] if id.len() < 4 && id.bytes().all(|b| b.is_ascii_digit()) => {}
        _ => match METHODS
            .iter()
            .find(|method| text.contains(&format!(" {method} ")))
        {
            Some(method) => report.hide_after(at, &format!(" {method} ")),
            None => report.hide_after(at, words.first().copied().unwrap_or_default()),
        },
    }
}

fn judge(key: &Key, is_active: bool, mode: u32) -> (Verdict, String) {
    let Key { method, secret, .. } = key;
    let mut letters: Vec<char> = secret.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let new = "onehold makes a new secret";
    if !is_active {
        return (
            Verdict::LeftOut,
            "not the key that `auth` names; to accept two at a time is what `secret_files` is for"
                .to_owned(),
        );
    }
    let weak = if method == "crc" || secret.is_empty() {
        "it has no secret".to_owned()
    } else if mode & 0o077 != 0 {
        format!(
            "others than its owner can read the file (mode {mode:03o}), so it is no secret any more"
        )
    } else if secret.len() < MIN_BYTES {
        format!(
            "it has {} letters, and {MIN_BYTES} are needed{}",
            secret.len(),
            match secret.as_str() {
                "YourSecret" => " (and it is the tutorial's own, which everybody knows)",
                _ => "",
            }
        )
    } else if letters.len() < LEAST_LETTERS {
        format!("it has {} different letter(s) only", letters.len())
    } else {
        return (
            Verdict::Carried,
            "strong enough to go on: `--secret FILE` writes it there".to_owned(),
        );
    };
    (Verdict::LeftOut, format!("{weak}: {new}"))
}

//! Edits of one text, all at once: each is matched in the original, and two must not change the
//! same place. So all mutants are in one build, and with none on it is the original.

use super::list::{Edit, LIST};
use std::ops::Range;

/// The marker's beginning; then comes a name, or nothing, and `)`.
const MARKER: &str = "mutant!(";

/// What an edit changes: the part of the original that does not stay, and what comes instead.
struct Replacement<'a> {
    mutant: &'a str,
    range: Range<usize>,
    text: &'a str,
}

/// The names that the markers in a text mean; `own` is what `mutant!()` means.
pub(super) fn markers(text: &str, own: &str) -> Vec<String> {
    let named = text.split(MARKER).skip(1);
    let names = named.filter_map(|rest| rest.split_once(')').map(|(name, _)| name));
    names
        .map(|name| if name.is_empty() { own } else { name }.to_owned())
        .collect()
}

/// The file's text with all its edits made; a marker becomes what `call` says for its name.
///
/// Functions that are `const` lose that: a marker reads at run time what is on.
///
/// # Errors
/// Every edit that does not fit, or that changes what another one changes: the mutant, the file,
/// and the remedy.
pub fn patched(
    file: &str,
    text: &str,
    edits: &[(&str, &Edit)],
    call: impl Fn(&str) -> String,
) -> Result<String, Vec<String>> {
    let mut wrong = Vec::new();
    let mut changes: Vec<Replacement<'_>> = Vec::new();
    for (mutant, edit) in edits {
        match change(file, text, mutant, edit) {
            Ok(change) => changes.push(change),
            Err(e) => wrong.push(e),
        }
    }
    changes.sort_by_key(|c| (c.range.start, c.range.end));
    for pair in changes.windows(2) {
        if let [a, b] = pair
            && (b.range.start < a.range.end || b.range == a.range)
        {
            wrong.push(format!(
                "mutants `{}` and `{}` change the same place in {file}: make both changes in one \
                 `replace`, with `mutant!(name)` for the other one, and leave the other's out of \
                 {LIST}",
                a.mutant, b.mutant
            ));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut patched = String::with_capacity(text.len());
    let mut from = 0;
    for change in &changes {
        patched.push_str(&text[from..change.range.start]);
        patched.push_str(&called(change.text, change.mutant, &call));
        from = change.range.end;
    }
    patched.push_str(&text[from..]);
    Ok(patched.replace("const fn ", "fn "))
}

/// Where an edit fits, trimmed to what it changes.
fn change<'a>(
    file: &str,
    text: &str,
    mutant: &'a str,
    edit: &'a Edit,
) -> Result<Replacement<'a>, String> {
    let times = text.matches(&edit.find).count();
    let start = match text.find(&edit.find) {
        Some(start) if times == 1 && !edit.find.is_empty() => start,
        _ => return Err(misfit(file, mutant, edit, times)),
    };
    let head = common(edit.find.chars(), edit.replace.chars());
    let tail = common(
        edit.find[head..].chars().rev(),
        after_markers(&edit.replace[head..]).chars().rev(),
    );
    Ok(Replacement {
        mutant,
        range: start + head..start + edit.find.len() - tail,
        text: &edit.replace[head..edit.replace.len() - tail],
    })
}

/// How many bytes two texts have in common at their beginnings.
fn common(a: impl Iterator<Item = char>, b: impl Iterator<Item = char>) -> usize {
    a.zip(b)
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a.len_utf8())
        .sum()
}

/// What follows the last marker: no marker is cut.
fn after_markers(text: &str) -> &str {
    let Some((_, rest)) = text.rsplit_once(MARKER) else {
        return text;
    };
    rest.split_once(')').map_or("", |(_, rest)| rest)
}

fn misfit(file: &str, mutant: &str, edit: &Edit, times: usize) -> String {
    let remedy = if times == 0 {
        "the code has changed: give `find` its present text, and see that `replace` breaks the same \
         half of the rule as `breaks` says; a rule that is gone takes its mutant with it"
    } else {
        "add to `find` from the lines around it until it is unique"
    };
    format!(
        "mutant `{mutant}` does not fit {file}: `find` occurs there {times} times, not once. \
         In {LIST}: {remedy}. It looks for:\n{}",
        edit.find
    )
}

/// The text with each marker replaced by what `call` says.
fn called(text: &str, own: &str, call: &impl Fn(&str) -> String) -> String {
    let mut parts = text.split(MARKER);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(')').unwrap_or((part, ""));
        out.push_str(&call(if name.is_empty() { own } else { name }));
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "if a && b { x }\nif a && c { (y) }\n";

    fn edit(find: &str, replace: &str) -> Edit {
        Edit {
            file: "f".into(),
            find: find.into(),
            replace: replace.into(),
        }
    }

    fn patch(edits: &[(&str, &Edit)]) -> Result<String, Vec<String>> {
        patched("f", TEXT, edits, |name| format!("on({name})"))
    }

    #[test]
    fn edits_of_one_line_are_made_together() {
        let all = [
            ("m", &edit("if a && b", "if (a || mutant!()) && b")),
            ("n", &edit("a && b {", "a && (b || mutant!()) {")),
            ("o", &edit("c {", "c && !mutant!(m) {")),
            ("p", &edit("(y)", "(y || mutant!())")),
        ];
        let expected =
            "if (a || on(m)) && (b || on(n)) { x }\nif a && c && !on(m) { (y || on(p)) }\n";
        assert_eq!(patch(&all).unwrap(), expected);
    }

    #[test]
    fn two_that_change_the_same_place_are_refused() {
        let all = [
            ("m", &edit("a && b", "a && (b || mutant!())")),
            ("n", &edit("b {", "mutant!() {")),
        ];
        let wrong = patch(&all).unwrap_err().join("\n");
        assert!(wrong.contains("`m` and `n` change the same place in f"));
        let all = [
            ("m", &edit("b {", "b && !mutant!() {")),
            ("n", &edit("b {", "b && !mutant!() {")),
        ];
        assert!(patch(&all).is_err());
    }

    #[test]
    fn what_does_not_fit_names_mutant_file_and_remedy() {
        for (find, times) in [("gone", "0 times"), ("if a", "2 times")] {
            let wrong = patch(&[("m", &edit(find, "mutant!()"))]).unwrap_err();
            assert!(wrong[0].contains(&format!(
                "mutant `m` does not fit f: `find` occurs there {times}"
            )));
        }
    }

    #[test]
    fn a_marker_means_its_own_mutant_or_the_one_it_names() {
        assert_eq!(markers("mutant!() || mutant!(n)", "m"), ["m", "n"]);
    }
}

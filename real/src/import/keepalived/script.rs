//! A vrrp_script, as a check.

use super::tracking::NO_WEIGHTS;
use super::tree::Statement;
use crate::import::command;
use crate::import::draft::{Table, Value, is_name};
use crate::import::report::{At, Report, Verdict};
use crate::import::seconds;

/// A vrrp_script as a check.
pub(super) fn script_check(
    statement: &Statement,
    script: &str,
    script_user: Option<&str>,
    first: bool,
    report: &mut Report,
) -> Table {
    let mut say = |at: At, verdict: Verdict, what: String| {
        if first {
            report.say(at, verdict, what);
        }
    };
    let number = |s: &Statement| {
        s.words
            .get(1)
            .and_then(|n| n.parse::<f64>().ok())
            .filter(|n| n.is_finite())
    };
    let value = |key: &str| statement.inside().iter().rfind(|s| s.keyword() == key);
    let every = value("interval")
        .and_then(number)
        .unwrap_or(1.0)
        .clamp(0.05, 3600.0);
    let timeout = value("timeout")
        .and_then(number)
        .filter(|t| *t > 0.0)
        .unwrap_or(every);
    let timeout = timeout.clamp(0.001, every);
    let count = |key| value(key).and_then(number).unwrap_or(1.0).clamp(1.0, 100.0) as u32;
    let (rise, fall) = (count("rise"), count("fall"));
    let looked = command::look(script);
    // What the kernel reports needs no asking, unless a short absence is to be borne.
    let reported = looked.as_ref().is_some_and(|(table, _)| {
        table
            .iter()
            .any(|(key, _)| ["process", "unit"].contains(key))
    });
    let user = value("user")
        .and_then(|s| s.words.get(1))
        .map(String::as_str)
        .or(script_user);
    for inner in statement.inside() {
        let at = inner.at;
        match (inner.keyword(), number(inner)) {
            ("script", _) => match &looked {
                Some((table, how)) => {
                    let (key, _) = table.first().unwrap_or(&("exec", Value::Number(0)));
                    say(at, Verdict::Changed, format!("{key}: {how}"));
                }
                None => match command::run(script).1 {
                    true => say(
                        at,
                        Verdict::Changed,
                        "exec, by a shell, since it is no program with its path".to_owned(),
                    ),
                    false => say(at, Verdict::Carried, "exec".to_owned()),
                },
            },
            ("interval" | "timeout", Some(_)) if reported && fall < 2 => {
                say(
                    at,
                    Verdict::Changed,
                    "not needed: nothing is polled".to_owned(),
                );
            }
            ("interval", Some(n)) if n == every => say(at, Verdict::Carried, "every".to_owned()),
            ("interval", Some(_)) => {
                say(at, Verdict::Changed, format!("every: {}", seconds(every)))
            }
            ("timeout", Some(n)) if n == timeout => say(at, Verdict::Carried, "timeout".to_owned()),
            ("timeout", Some(_)) => say(
                at,
                Verdict::Changed,
                "at most `every`, so that a check does not overlap itself".to_owned(),
            ),
            ("rise" | "fall", Some(n)) if (1.0..=100.0).contains(&n) => {
                say(at, Verdict::Carried, String::new());
            }
            ("rise" | "fall", Some(_)) => {
                say(at, Verdict::Changed, "1 to 100 are possible".to_owned())
            }
            ("weight", Some(0.0)) => say(at, Verdict::Carried, String::new()),
            ("weight", Some(_)) => say(at, Verdict::Changed, NO_WEIGHTS.to_owned()),
            ("user", _) if inner.words.get(1).is_some_and(|u| u == "root") => {
                say(at, Verdict::Carried, "the agent runs as root".to_owned());
            }
            ("user", _) if looked.is_some() => {
                say(at, Verdict::LeftOut, "no program is run".to_owned())
            }
            ("user", _) => say(
                at,
                Verdict::Carried,
                "user; the group is that user's".to_owned(),
            ),
            ("init_fail", _) => say(
                at,
                Verdict::Carried,
                "the default: before_first = \"failing\"".to_owned(),
            ),
            ("interval" | "timeout" | "rise" | "fall" | "weight", None) => {
                say(at, Verdict::Wrong, "it needs a number; left out".to_owned());
            }
            (other, _) => say(
                at,
                Verdict::Wrong,
                format!("`{other}` is unknown here; left out"),
            ),
        }
    }
    let runs = looked.is_none();
    let mut table = match looked {
        Some((table, _)) => table,
        None => vec![("exec", Value::List(command::run(script).0))],
    };
    if !reported || fall > 1 {
        if every != 1.0 {
            table.push(("every", Value::Text(seconds(every))));
        }
        if timeout != 0.5 {
            table.push(("timeout", Value::Text(seconds(timeout))));
        }
    }
    if rise != 2 {
        table.push(("rise", Value::Number(rise)));
    }
    if fall != if reported { 1 } else { 2 } {
        table.push(("fall", Value::Number(fall)));
    }
    if let Some(user) = user.filter(|user| runs && *user != "root" && is_name(user)) {
        table.push(("user", Value::Text(user.to_owned())));
    }
    table
}

//! Heartbeat's `ha.cf`, `haresources` and `authkeys`, of a cluster without Pacemaker.

mod authkeys;
mod ha_cf;
mod haresources;
mod members;

use super::draft::{Draft, Group, Table, Value, name_of, unlike};
use super::input::{Disk, Here, Read, read};
use super::report::{At, Report, Verdict};
use super::{Imported, Wanted, command, finish, in_any_case};
use std::path::Path;

/// What begins a comment in these files.
pub(super) const COMMENTS: &[char] = &['#'];

/// Imports a directory such as `/etc/ha.d`.
///
/// # Errors
/// If it can't be read.
pub fn import(
    disk: &dyn Disk,
    here: &Here<'_>,
    directory: &Path,
    wanted: &Wanted,
) -> Result<Imported, String> {
    let mut report = Report::default();
    let open =
        |name: &str, report: &mut Report| read(disk, &directory.join(name), COMMENTS, report);
    let ha_cf = open("ha.cf", &mut report)?;
    let haresources = open("haresources", &mut report);
    let authkeys = open("authkeys", &mut report);

    let ha = ha_cf::read(&lines(&ha_cf, ha_cf::NAMES, &mut report), &mut report);
    let members = members::members(&ha, here, wanted, &mut report);
    let secret = match authkeys {
        Ok(file) => authkeys::read(&file, &mut report),
        Err(why) => {
            report.note(format!("{why}, so there is no secret to carry over"));
            None
        }
    };
    let mut groups = match &haresources {
        Ok(file) => haresources::read(
            &lines(file, &[], &mut report),
            &ha,
            &members,
            disk,
            directory,
            &mut report,
        ),
        Err(why) => {
            report.note(format!("{why}, so nothing is known of what should move"));
            Vec::new()
        }
    };
    for group in &mut groups {
        group.manual = !ha.auto_failback;
        group.checks.extend(gateway(&ha, &mut report));
    }
    name_groups(&mut groups);
    let draft = Draft {
        of: "Heartbeat's",
        cluster: "ha".to_owned(),
        secret_file: wanted.secret_file.display().to_string(),
        members,
        groups,
    };
    in_any_case(&mut report, "heartbeat", &draft, secret.is_some());
    Ok(finish(&draft, report, secret))
}

/// `vip`, or several with numbers.
fn name_groups(groups: &mut [Group]) {
    let several = groups.len() > 1;
    for (n, group) in groups.iter_mut().enumerate() {
        group.name = match several {
            true => format!("vip{}", n + 1),
            false => "vip".to_owned(),
        };
    }
}

/// `ping` with `ipfail`, as a check.
fn gateway(ha: &ha_cf::HaCf, report: &mut Report) -> Vec<(String, Table)> {
    let mut all = Vec::new();
    for (n, ping) in ha.pings.iter().enumerate() {
        if !ha.ipfail {
            report.say(
                ping.at,
                Verdict::LeftOut,
                "without ipfail it moved nothing; as a check it would: checks.gateway = { ping = \"…\" }",
            );
            continue;
        }
        let name = match n {
            0 => "gateway".to_owned(),
            n => format!("gateway{}", n + 1),
        };
        let mut check: Table = match &ping.hosts[..] {
            [one] if one.parse::<std::net::IpAddr>().is_ok() => {
                vec![("ping", Value::Text(one.clone()))]
            }
            several => {
                let ask = |host: &String| format!("ping -c 1 -W 1 {}", command::for_shell(host));
                let any: Vec<String> = several.iter().map(ask).collect();
                vec![
                    ("exec", Value::List(command::by_shell(&any.join(" || ")))),
                    ("every", Value::Text("5s".to_owned())),
                    ("timeout", Value::Text("5s".to_owned())),
                ]
            }
        };
        let fall = (ha.deadping.round().clamp(1.0, 100.0)) as u32;
        let each = if matches!(check[..], [("ping", _)]) {
            fall
        } else {
            fall.div_ceil(5)
        };
        check.push(("fall", Value::Number(each)));
        report.say(
            ping.at,
            Verdict::Changed,
            format!(
                "checks.{name}: ipfail compared how many answered each node; here a candidate whose check fails \
                 for {fall}s hands over to one whose check passes"
            ),
        );
        all.push((name, check));
    }
    all
}

/// A line without its comment, and where it is; a line that was meant to be several is several.
pub(super) struct Meant {
    pub(super) at: At,
    pub(super) text: String,
}

/// The lines of a file. What the shell should have made of a line (`echo -e`, `\n`) is made of it
/// here, and said.
fn lines(file: &Read, names: &[&str], report: &mut Report) -> Vec<Meant> {
    let mut all = Vec::new();
    for (n, line) in file.lines.iter().enumerate() {
        let at = Report::at(file.number, n);
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let (mut rest, echo) = (text, text.starts_with("echo "));
        while let Some(after) = rest
            .strip_prefix("echo ")
            .or_else(|| rest.strip_prefix("-e "))
        {
            rest = after.trim_start();
        }
        let rest = if echo {
            rest.trim_matches(['\'', '"'])
        } else {
            rest
        };
        let parts = broken(rest, names);
        if echo {
            report.say(
                at,
                Verdict::Wrong,
                "the line begins with the command that should have written it; read without `echo -e`",
            );
        }
        if parts.len() > 1 {
            let sign = if rest.contains("\\n") { "\\n" } else { "/n" };
            report.say(
                at,
                Verdict::Wrong,
                format!(
                    "`{sign}` in it was meant to end a line (`echo -e` does that for `\\n`), so Heartbeat can't \
                     read it; read as {} lines",
                    parts.len()
                ),
            );
        }
        all.extend(parts.into_iter().map(|text| Meant {
            at,
            text: text.to_owned(),
        }));
    }
    all
}

/// A line, divided where `\n` or `/n` stands before one of `names`.
fn broken<'t>(text: &'t str, names: &[&str]) -> Vec<&'t str> {
    let (mut parts, mut start, mut from) = (Vec::new(), 0, 0);
    while let Some(found) = text[from..].find(['/', '\\']).map(|at| at + from) {
        let after = text[found + 1..].strip_prefix('n').map(str::trim_start);
        let begins = after.is_some_and(|after| {
            let word = after.split([' ', '\t', ',']).next().unwrap_or_default();
            names.contains(&word) || (text[found..].starts_with('\\') && !names.is_empty())
        });
        if begins {
            parts.push(text[start..found].trim());
            start = found + 2;
        }
        from = found + 1;
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// The names of members: those of the nodes, up to the first dot if they differ there.
fn short_names(nodes: &[String]) -> Vec<String> {
    let label = |node: &String| node.split('.').next().unwrap_or_default().to_owned();
    let short: Vec<String> = nodes.iter().map(label).collect();
    let twice = (short.iter().enumerate()).any(|(n, s)| s.is_empty() || short[..n].contains(s));
    let names = if twice { nodes } else { &short[..] };
    let mut all: Vec<String> = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let name = name_of(name, &format!("node{}", n + 1));
        all.push(unlike(name, |name| all.iter().any(|other| other == name)));
    }
    all
}

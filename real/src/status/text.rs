//! The status as text: what is wrong first, then who holds what, then who is heard. At most 100
//! columns, so that it fits a console at 3 a.m.

use super::crowd;
use super::frames::frames;
use super::many::{self, Rows};
use super::{CheckStatus, GroupStatus, HookStatus, PeerStatus, Report, Status};
use std::fmt::Write as _;

const WIDTH: usize = 100;
/// Names are cut to this in tables; `--json` has them whole.
const NAME: usize = 14;

/// The whole report as text. `colour` is for a terminal.
#[must_use]
pub fn render(report: &Report, rows: Rows, colour: bool) -> String {
    let mut out = String::new();
    for waiting in &report.waiting {
        alarm_line(&mut out, &waiting.to_string(), colour);
    }
    out + &match &report.clusters[..] {
        [] => "this daemon serves no cluster\n".to_owned(),
        [one] => cluster(one, report.waiting.is_empty(), colour),
        many => many::clusters(many, report.waiting.len(), rows, colour),
    }
}

/// One cluster, in full; `alone` if no other cluster is awaited.
fn cluster(s: &Status, alone: bool, colour: bool) -> String {
    let mut out = String::new();
    let kind = if s.witness { "witness" } else { "candidate" };
    let guard = if s.witness {
        String::new()
    } else {
        format!(" · guard {}", or_dash(&s.guard))
    };
    let left = format!(
        "cluster {} · member {} ({kind}) · {}{guard}",
        s.cluster,
        s.member,
        arbitration(s)
    );
    wrapped(&mut out, "", &left);
    for alarm in crowd::alarms(s) {
        alarm_line(&mut out, &alarm, colour);
    }
    for note in &s.notes {
        wrapped(&mut out, "  note: ", note);
    }
    if let Some(left) = s.quarantine_left_ms {
        let what = format!("in quarantine for another {left:.0} ms: neither votes nor holds (R-9)");
        wrapped(&mut out, "  ", &what);
    }
    if alone && s.alarms.is_empty() && s.quarantine_left_ms.is_none() && !s.stopped {
        out.push_str("  all well\n");
    }
    if s.stopped {
        out.push_str("  stopped: every group is released\n");
    }
    if let Some(why) = &s.guard_why_not_better {
        wrapped(
            &mut out,
            "  ",
            &format!("guard {}: {why}", or_dash(&s.guard)),
        );
    }
    out.push('\n');
    groups(&mut out, s, colour);
    out.push('\n');
    peers(&mut out, s);
    out.push('\n');
    let rejected: Vec<String> = (s.counters.rejected.iter())
        .filter(|(_, n)| **n > 0)
        .map(|(reason, n)| format!("{reason} {n}"))
        .collect();
    let rejected = match &rejected[..] {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    let notes = match s.counters.notes.ignored {
        0 => String::new(),
        n => format!(" · notes ignored: {n}"),
    };
    wrapped(
        &mut out,
        "datagrams  ",
        &format!(
            "sent {} · accepted {} · rejected: {rejected}{notes}",
            s.counters.sent, s.counters.accepted
        ),
    );
    let t = &s.timing;
    wrapped(
        &mut out,
        "timing     ",
        &format!(
            "interval {} · lease H {} · vote D {} · quarantine Q {} · slack {}",
            millis(t.interval_ms),
            millis(t.lease_ms),
            millis(t.vote_ms),
            millis(t.quarantine_ms),
            millis(t.guard_slack_ms)
        ),
    );
    if let Some(margins) = s.margins_in_words() {
        wrapped(&mut out, "margins    ", &margins);
    }
    wrapped(
        &mut out,
        "identity   ",
        &format!(
            "onehold {} · configuration {} · incarnation {}",
            s.version, s.config, s.incarnation
        ),
    );
    wrapped(&mut out, "keys       ", &keys(&s.keys));
    out
}

fn keys(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        [one] => one.to_owned(),
        [seals, others @ ..] => {
            format!(
                "{seals} is the newest · accepted, too: {}",
                others.join(", ")
            )
        }
    }
}

fn arbitration(s: &Status) -> String {
    match s.arbitration.as_str() {
        "majority" => format!("majority ({} of {})", s.majority, s.members),
        other => other.to_owned(),
    }
}

fn groups(out: &mut String, s: &Status, colour: bool) {
    let mut rows = vec![row([
        "GROUP",
        "HERE",
        "HOLDER",
        "LEASE LEFT",
        "VOTES",
        "READY",
        "OWN VOTE",
    ])];
    for g in &s.groups {
        let votes = match (s.arbitration.as_str(), s.witness) {
            ("majority", false) => format!("{} (need {})", g.votes.len(), g.votes_needed),
            _ => "-".to_owned(),
        };
        rows.push(row([
            &short(&g.name),
            if g.opening { "opening" } else { &g.role },
            &holder(g),
            &g.lease_left_ms.map_or_else(dash, |l| format!("{l:.0} ms")),
            &votes,
            match (s.witness, g.ready) {
                (true, _) => "-",
                (false, true) => "yes",
                (false, false) => "no",
            },
            &short(or_dash(g.vote.as_deref().unwrap_or_default())),
        ]));
    }
    let crowd = crowd::is_crowd(s);
    let mut lines = aligned(&rows).into_iter();
    out.extend(lines.next());
    for (g, line) in s.groups.iter().zip(lines) {
        out.push_str(&if colour && g.role == "holder" {
            bold(&line)
        } else {
            line
        });
        if crowd && !crowd::stands_out(g) {
            for said in orders(g) {
                wrapped(out, "  ", &said);
            }
            continue;
        }
        let what = format!(
            "{} · preferred {} · failback {}",
            where_they_are(g),
            g.preferred,
            g.failback
        );
        wrapped(out, "  ", &what);
        // Outside of quarantine this is an alarm.
        if !g.ready && !s.witness && s.quarantine_left_ms.is_some() {
            wrapped(out, "  not ready: ", &g.not_ready.join("; "));
        }
        for said in orders(g) {
            wrapped(out, "  ", &said);
        }
        if let Some(c) = &g.last_change {
            let what = format!(
                "{} ago: {} → {}: {} ({})",
                ago(c.ago_ms),
                c.from,
                c.to,
                c.why,
                c.rule
            );
            wrapped(out, "  ", &what);
        }
        for c in &g.checks {
            wrapped(out, "  ", &check(c));
        }
        for h in &g.hooks {
            wrapped(out, "  ", &hook(h));
        }
    }
    if crowd {
        let more = "addresses, checks and last changes: `onehold status --json`; of one group: `onehold why GROUP`";
        wrapped(out, "  ", more);
    }
}

fn holder(g: &GroupStatus) -> String {
    let name = short(or_dash(g.holder.as_deref().unwrap_or_default()));
    let mute = if g.holder_mute { " (mute)" } else { "" };
    format!("{name}{mute}")
}

fn check(c: &CheckStatus) -> String {
    let how = match c.passing {
        Some(true) => format!("passing for {}", ago(c.for_ms)),
        Some(false) => format!("failing for {}", ago(c.for_ms)),
        None => "no result yet".to_owned(),
    };
    format!("check {}: {how}{}", c.name, and_said(&c.said))
}

fn hook(h: &HookStatus) -> String {
    let ago = ago(h.ended_ms_ago);
    let how = match h.failures {
        0 => format!("done {ago} ago"),
        1 => format!("failed {ago} ago"),
        n => format!("failed {n} times, the last {ago} ago"),
    };
    format!("hook {}: {how}{}", h.name, and_said(&h.said))
}

fn and_said(said: &str) -> String {
    match said {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

/// What the operator ordered, while it is in force. (Of `standby` and quarantine the alarm or what is
/// not ready says so.)
fn orders(g: &GroupStatus) -> Vec<String> {
    let mut all = Vec::new();
    if g.standby && g.role == "holder" {
        all.push("hands over as soon as another candidate can hold it".to_owned());
    } else if g.yields {
        all.push("handing over".to_owned());
    } else if g.role == "releasing" {
        all.push(
            "let go: mute, and `ip address` shows its addresses until the kernel has removed them (R-8)"
                .to_owned(),
        );
    }
    if g.presumed_dead {
        all.push("the operator presumed the peer dead: its vote counts as given (R-17)".to_owned());
    }
    let elsewhere = |said: &&String| g.role != "holder" && g.not_ready.contains(said);
    all.extend(g.orders.iter().filter(|said| !elsewhere(said)).cloned());
    if g.orders.is_empty() && !g.frozen_by.is_empty() {
        all.push(format!(
            "frozen: nothing moves by itself until `onehold thaw` on {}",
            g.frozen_by.join(" and ")
        ));
    }
    all
}

fn peers(out: &mut String, s: &Status) {
    let mut rows = vec![row([
        "MEMBER",
        "HEARD",
        "RTT",
        "TWO-WAY",
        "CONFIG",
        "INCARNATION",
    ])];
    for p in &s.peers {
        rows.push(row([
            &short(&p.name),
            &heard(p.heard_ms_ago),
            &p.rtt_ms.map_or_else(dash, |r| format!("{r:.2} ms")),
            if p.two_way { "yes" } else { "no" },
            match (&p.other_config, p.heard_ms_ago) {
                (Some(_), _) => "DIFFERS",
                (None, Some(_)) => "same",
                (None, None) => "-",
            },
            &incarnation(p),
        ]));
    }
    let mut lines = aligned(&rows).into_iter();
    out.extend(lines.next());
    for (p, line) in s.peers.iter().zip(lines) {
        out.push_str(&line);
        let of_itself = of_itself(s, p);
        if !of_itself.is_empty() {
            wrapped(out, "  ", &of_itself.join(" · "));
        }
        for what in crowd::lacks(s, p) {
            wrapped(out, "  ", &what);
        }
        for w in &p.paths {
            let mut what = format!(
                "{} → {} · heard {} · {} received",
                w.local,
                w.remote,
                heard(w.heard_ms_ago),
                w.received
            );
            if let Some(why) = &w.refused_because {
                let ago = heard(w.refused_ms_ago);
                let _ = write!(what, " · {} refused, the last {ago}: {why}", w.refused);
            }
            wrapped(out, "  ", &what);
        }
        for f in &p.frames {
            wrapped(out, "  ", &frames(f, p));
        }
    }
}

/// What a member says of itself: its version, its key, and what it is for each group.
fn of_itself(s: &Status, p: &PeerStatus) -> Vec<String> {
    let version = p.version.iter().map(|v| format!("onehold {v}"));
    let key = p.key.iter().map(|key| format!("seals with key {key}"));
    version.chain(key).chain(crowd::says(s, p)).collect()
}

fn incarnation(p: &PeerStatus) -> String {
    let mut text = p.incarnation.clone().unwrap_or_else(dash);
    text.push_str(match (p.quarantined, p.witness) {
        (true, true) => " (quarantine, witness)",
        (true, false) => " (quarantine)",
        (false, true) => " (witness)",
        (false, false) => "",
    });
    text
}

pub(super) fn alarm_line(out: &mut String, alarm: &str, colour: bool) {
    let mut line = String::new();
    wrapped(&mut line, "  ! ", alarm);
    if colour {
        let _ = writeln!(out, "\x1b[31m{}\x1b[0m", line.trim_end_matches('\n'));
    } else {
        out.push_str(&line);
    }
}

fn bold(line: &str) -> String {
    format!("\x1b[1m{}\x1b[0m\n", line.trim_end_matches('\n'))
}

pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Lines whose columns are as wide as their widest cell.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |n| {
        rows.iter()
            .filter_map(|r: &Vec<String>| r.get(n))
            .map(|c: &String| c.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns).map(|n| widest(n).unwrap_or(0)).collect();
    let line = |r: &Vec<String>| {
        let cells = r
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `text` after `first`, wrapped between words; further lines are indented as far as the text.
pub(crate) fn wrapped(out: &mut String, first: &str, text: &str) {
    let indent = first.chars().count();
    out.push_str(first);
    let mut column = indent;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > indent && column + 1 + length > WIDTH {
            let _ = write!(out, "\n{:indent$}", "");
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

pub(super) fn short(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    let kept: String = name.chars().take(NAME - 1).collect();
    format!("{kept}…")
}

fn dash() -> String {
    "-".to_owned()
}

pub(super) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

pub(super) fn heard(ago_ms: Option<f64>) -> String {
    ago_ms.map_or_else(|| "never".to_owned(), |ms| format!("{} ago", ago(ms)))
}

fn millis(ms: f64) -> String {
    format!("{} ms", (ms * 10.0).round() / 10.0)
}

/// `32 ms`, `4.2 s`, `12 min 3 s`, `3 h 5 min`, `12 d 4 h`.
pub(crate) fn ago(ms: f64) -> String {
    let s = (ms / 1e3) as u64;
    match s {
        0 => format!("{ms:.0} ms"),
        1..60 => format!("{:.1} s", ms / 1e3),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A group's addresses, and on which interfaces they are here.
fn where_they_are(g: &GroupStatus) -> String {
    let on = |interface: &String| format!(" on {interface}");
    let all_on =
        (g.interfaces.windows(2).all(|two| two[0] == two[1])).then(|| g.interfaces.first());
    match all_on {
        Some(interface) => {
            let on = interface.map_or_else(String::new, on);
            format!("{}{on}", crowd::addresses(g.addresses.iter()))
        }
        None => {
            let each = g.addresses.iter().zip(&g.interfaces);
            let each: Vec<String> = each.map(|(a, i)| format!("{a}{}", on(i))).collect();
            crowd::addresses(each.iter())
        }
    }
}

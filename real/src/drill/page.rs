//! The page that a drill leaves: what was done, who answered when, and whether that was within the
//! budget. It needs no network and no script.

use super::cost::Ms;
use super::lines::Who;
use super::run::{Record, Row, in_words};
use std::fmt::Write as _;
use std::path::Path;

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ccc }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.yes { color: #176d2c } .no { color: #b00020; font-weight: bold }
svg { width: 100%; height: auto; display: block; margin: .5rem 0 } svg text { font: 12px system-ui, sans-serif; fill: #444 }
p.small { color: #555; font-size: .9rem }
";

/// The colours of those who answer, in the order in which they are first seen.
const COLOURS: [&str; 4] = ["#2f6fb0", "#d98a1f", "#6b4fa0", "#3c8f7c"];
const NOBODY: &str = "#b00020";
const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const LANE: f64 = 22.0;

/// Writes the page into a directory: its name, unless it can't be written, which is said.
#[must_use]
pub fn write(record: &Record, directory: &Path) -> Option<String> {
    let when: String = record
        .time
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    let path = directory.join(format!("onehold-drill-{}-{when}.html", record.group));
    match std::fs::write(&path, page(record)) {
        Ok(()) => Some(path.display().to_string()),
        Err(e) => {
            eprintln!("onehold: {}: {e}; the page is not written", path.display());
            None
        }
    }
}

/// The page.
#[must_use]
pub fn page(record: &Record) -> String {
    let Record {
        cluster,
        group,
        address,
        member,
        observer,
        time,
        ..
    } = record;
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    let mut put = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    let title = format!(
        "Drill of {cluster}, group {group}, {}",
        &time[..time.len().min(10)]
    );
    put(format!(
        "<title>{}</title>\n<style>\n{STYLE}</style>",
        escape(&title)
    ));
    put(format!("<h1>{}</h1>", escape(&title)));
    let verdict = match (&record.ended_early, record.within) {
        (Some(why), _) => format!("<span class=\"no\">not complete: {}</span>", escape(why)),
        (None, true) => "<span class=\"yes\">kept</span>".to_owned(),
        (None, false) => "<span class=\"no\">not kept</span>".to_owned(),
    };
    let whose = match record.observer_is_candidate {
        true => ", a candidate, whose own gate is what its daemon says",
        false => "",
    };
    put(format!(
        "<p>On {}, {} was taken down on purpose while it held {}. Who answered for the address was asked from the \
         network by {}{whose}, every {}. Budget {}: {verdict}. Two answered for {}.</p>",
        escape(time),
        escape(member),
        escape(address),
        escape(observer),
        Ms(record.every_ms),
        Ms(record.budget_ms),
        Ms(record.two_ms)
    ));
    put(
        "<table>\n<tr><th>when</th><th>what was done</th><th>nobody answered, at most</th><th>two answered</th>\
         <th>observer missed</th><th>all well after</th><th>within the budget</th></tr>"
            .to_owned(),
    );
    record.events.iter().for_each(|row| put(table_row(row)));
    put("</table>".to_owned());
    for row in &record.events {
        put(format!(
            "<h2>{}: {}</h2>",
            row.event,
            escape(row.event.what())
        ));
        if let Some(why) = &row.remark {
            put(format!("<p class=\"no\">{}</p>", escape(why)));
        }
        put(timeline(row));
        let changes: Vec<String> = (row.answered.iter())
            .map(|(at, by)| format!("{} {}", seconds(*at), escape(&in_words(by))))
            .collect();
        put(format!(
            "<p class=\"small\">Who answered: {}</p>",
            changes.join(" · ")
        ));
    }
    put(format!(
        "<p class=\"small\">Nobody answered, at most: from the sending of the last request that was answered to the \
         next answer, with whatever the observer itself missed (its longest: {}). Two answered: from the first to the \
         last of several requests in a row that two answered each, and one period more. onehold {}</p>\n</html>",
        Ms(record.hole_ms),
        env!("CARGO_PKG_VERSION")
    ));
    out
}

fn table_row(row: &Row) -> String {
    let ms = |ms: Option<f64>| ms.map_or_else(|| "?".to_owned(), |ms| Ms(ms).to_string());
    let (class, word) = if row.within {
        ("yes", "yes")
    } else {
        ("no", "no")
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"{class}\">{word}</td></tr>",
        escape(&row.time),
        row.event,
        ms(row.seen.map(|seen| seen.outage_ms)),
        ms(row.seen.map(|seen| seen.two_ms)),
        ms(row.seen.map(|seen| seen.hole_ms)),
        row.well_after_ms.map_or_else(|| "?".to_owned(), seconds)
    )
}

/// Who answered when, as a picture: a lane for each, and one for nobody.
fn timeline(row: &Row) -> String {
    let length = row.seen.map_or(0.0, |seen| seen.for_ms).max(1.0);
    let mut lanes: Vec<&str> = Vec::new();
    let names = |by: &'_ [Who]| {
        by.iter()
            .map(Who::text)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for who in row.answered.iter().flat_map(|(_, by)| by) {
        if !lanes.contains(&who.text()) && lanes.len() < COLOURS.len() {
            lanes.push(who.text());
        }
    }
    let height = LANE * (lanes.len() + 2) as f64;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n");
    let x = |ms: f64| LEFT + (ms.clamp(0.0, length) / length) * (WIDTH - LEFT - 10.0);
    for (n, lane) in lanes.iter().chain(&["nobody"]).enumerate() {
        let y = LANE * n as f64;
        let _ = writeln!(
            svg,
            "<text x=\"0\" y=\"{}\">{}</text>",
            y + 15.0,
            escape(lane)
        );
    }
    let ends = row
        .answered
        .iter()
        .skip(1)
        .map(|(at, _)| *at)
        .chain([length]);
    for ((from, by), to) in row.answered.iter().zip(ends) {
        let mut bar = |lane: usize, colour: &str| {
            let (left, right) = (x(*from), x(to));
            let _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                LANE * lane as f64 + 3.0,
                (right - left).max(1.0),
                LANE - 6.0
            );
        };
        match by.is_empty() {
            true => bar(lanes.len(), NOBODY),
            false => {
                for name in names(by) {
                    let at = lanes.iter().position(|lane| *lane == name);
                    at.into_iter().for_each(|at| bar(at, COLOURS[at]));
                }
            }
        }
    }
    let y = LANE * (lanes.len() + 1) as f64;
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#999\"/>",
        WIDTH - 10.0
    );
    for n in 0..=4 {
        let ms = length * f64::from(n) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
            x(ms),
            y + 16.0,
            if n == 4 { "end" } else { "middle" },
            seconds(ms)
        );
    }
    svg + "</svg>"
}

fn seconds(ms: f64) -> String {
    format!("{:.3} s", ms / 1e3)
}

fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::fault::Event;
    use crate::drill::lines::Figures;

    fn record() -> Record {
        let who = |name: &str| Who {
            mac: "02:00:00:00:00:01".into(),
            name: Some(name.into()),
        };
        let row = Row {
            event: Event::Freeze,
            time: "2026-11-28T15:40:02.000Z".into(),
            expected_ms: 358.0,
            seen: Some(Figures {
                for_ms: 4_000.0,
                requests: 800,
                unanswered: 26,
                outage_ms: 131.4,
                two_ms: 0.0,
                both_once: 0,
                hole_ms: 6.1,
            }),
            answered: vec![
                (0.0, vec![who("lb0")]),
                (310.0, Vec::new()),
                (440.0, vec![who("lb1")]),
                (2_900.0, vec![who("lb0")]),
            ],
            well_after_ms: Some(3_950.0),
            within: true,
            remark: None,
        };
        Record {
            version: 1,
            time: "2026-11-28T15:40:01.000Z".into(),
            cluster: "web".into(),
            group: "web".into(),
            address: "10.0.0.50".into(),
            member: "lb0".into(),
            observer: "<w>".into(),
            observer_is_candidate: false,
            every_ms: 5.0,
            budget_ms: 600.0,
            within: true,
            two_ms: 0.0,
            hole_ms: 6.1,
            events: vec![row],
            ended_early: None,
            page: None,
        }
    }

    #[test]
    fn a_page_and_a_line_for_the_auditor() {
        let record = record();
        let all = format!("{}\n\n{}", record.line(), page(&record));
        insta::assert_snapshot!(all.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn what_went_wrong_is_said_first() {
        let mut record = record();
        record.events[0].remark = Some("nobody took over within 5s".into());
        record.events[0].within = false;
        record.ended_early = Some("interrupted".into());
        record.within = false;
        let line = record.line();
        assert!(line.ends_with("NOT COMPLETE: interrupted"), "{line}");
        assert!(
            line.contains("131.4 ms (freeze: nobody took over within 5s)"),
            "{line}"
        );
        let page = page(&record);
        assert!(page.contains("not complete: interrupted"), "{page}");
        assert!(page.contains("<p class=\"no\">nobody took over within 5s</p>"));
    }
}

//! The drawing on a page.

use super::text::{clean, escape};
use super::{svg, terminal, words};
use crate::story::{Broken, Step, Story};
use std::fmt::Write as _;

const STYLE: &str = include_str!("html.css");
/// How wide the page's plain text is.
const COLUMNS: usize = 110;

/// A story as one page that needs neither scripts nor a network: the picture, the same as plain
/// text, and a table of every step.
#[must_use]
pub fn html(story: &Story) -> String {
    let title = escape(&clean(&story.title));
    let verdict = verdict(story.broken.as_ref());
    let picture = svg::draw(story, false);
    let plain = escape(&terminal(story, COLUMNS, false));
    let table = table(story);
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width"/>
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
{verdict}
<div class="picture">
{picture}</div>
<details><summary>As plain text</summary>
<pre>{plain}</pre>
</details>
<details><summary>Every step</summary>
{table}</details>
</body>
</html>
"#
    )
}

fn verdict(broken: Option<&Broken>) -> String {
    let Some(broken) = broken else {
        return "<p class=\"well\">No property is broken.</p>".to_owned();
    };
    let (property, says) = (escape(&broken.property), escape(&broken.says));
    let expected = match &broken.expected {
        Some(why) => format!("Expected: {}", escape(why)),
        None => "<b>Not expected: this must never happen.</b>".to_owned(),
    };
    format!("<p class=\"broken\"><b>✗ {property} is broken: {says}</b><br/>{expected}</p>")
}

fn table(story: &Story) -> String {
    let mut table = String::from(
        "<table>\n<tr><th>step</th><th>time</th><th>member</th><th>what</th><th>received</th><th>reports</th><th>sent</th>",
    );
    for name in &story.members {
        let _ = write!(table, "<th>{} then</th>", escape(name));
    }
    table.push_str("</tr>\n");
    for (nth, step) in story.steps.iter().enumerate() {
        let class = if step.fault { " class=\"fault\"" } else { "" };
        let _ = write!(table, "<tr{class}>");
        for cell in cells(story, nth, step) {
            let _ = write!(table, "<td>{}</td>", escape(&cell).replace('\n', "<br/>"));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</table>\n");
    table
}

fn cells(story: &Story, nth: usize, step: &Step) -> Vec<String> {
    let received = step.received.iter();
    let received =
        received.map(|m| format!("#{} {}: {}", m.id, words::name(story, m.from), m.says));
    let sent = step.sent.iter();
    let sent = sent.map(|m| format!("#{} → {}: {}", m.id, words::name(story, m.to), m.says));
    let lines = |texts: Vec<String>| texts.join("\n");
    let mut cells = vec![
        (nth + 1).to_string(),
        words::time(story, step.at),
        step.member.map_or("", |m| words::name(story, m)).to_owned(),
        step.what.clone(),
        lines(received.collect()),
        lines(step.reports.clone()),
        lines(sent.collect()),
    ];
    let lanes = story.members.iter().zip(&step.lanes);
    cells.extend(lanes.map(|(_, lane)| words::lane(story, lane)));
    cells
}

//! The screen: what is wrong first, then who holds what, then who is heard, and the keys last. What
//! a slow terminal is sent is what has changed.

use super::{Top, Wanted};
use crate::control::Order;
use crate::status::{GroupStatus, PeerStatus, Status, ago};
use onehold_core::time::LocalTime;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, Wrap};

const ALARM: Style = Style::new().fg(Color::Red);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
/// What was so when the daemon last answered.
const FORMER: Style = Style::new().add_modifier(Modifier::DIM);
const MEANT: Style = Style::new().add_modifier(Modifier::REVERSED);

impl Top {
    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>, now: LocalTime) {
        let wrong = self.wrong(now);
        let width = usize::from(frame.area().width.max(1));
        let lines: usize = wrong.iter().map(|w| w.width() / width + 1).sum();
        let most = frame.area().height / 3;
        let wrong_height = u16::try_from(lines).unwrap_or(most).min(most);
        let status = self.status();
        let rows = |n: usize| u16::try_from(n + 1).unwrap_or(u16::MAX);
        let groups = rows(status.map_or(0, |s| s.groups.len()));
        let [head, alarms, _, groups, _, members, margins, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(wrong_height),
            Constraint::Length(1),
            Constraint::Length(groups),
            Constraint::Length(1),
            Constraint::Min(2),
            Constraint::Length(2),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        let wrong = Paragraph::new(wrong).wrap(Wrap { trim: false });
        frame.render_widget(wrong, alarms);
        if let Some(status) = status {
            self.groups(frame, groups, status);
            self.members(frame, members, status);
            let words = status
                .margins_in_words()
                .map(|words| format!("margins  {words}"));
            let words = Paragraph::new(words.unwrap_or_default());
            frame.render_widget(words.wrap(Wrap { trim: false }), margins);
        }
        frame.render_widget(Paragraph::new(self.foot()), foot);
    }

    fn style(&self) -> Style {
        if self.silent.is_some() {
            FORMER
        } else {
            Style::new()
        }
    }

    fn head(&self) -> Line<'static> {
        let Some(status) = self.status() else {
            return Line::styled("onehold", HEAD);
        };
        let clusters = self.report.as_ref().map_or(0, |r| r.clusters.len());
        let which = match clusters {
            1 => String::new(),
            n => format!(" ({} of {n})", self.cluster + 1),
        };
        let Status {
            cluster,
            member,
            arbitration,
            guard,
            version,
            ..
        } = status;
        let kind = if status.witness {
            "witness"
        } else {
            "candidate"
        };
        Line::styled(
            format!(
                "cluster {cluster}{which} · member {member} ({kind}) · {arbitration} · guard {guard} · onehold {version}"
            ),
            HEAD,
        )
    }

    /// What is wrong, or that nothing is.
    fn wrong(&self, now: LocalTime) -> Vec<Line<'static>> {
        let ago = |at: LocalTime| ago(now.since(at).as_millis_f64());
        let mut all = Vec::new();
        if let Some((why, since)) = &self.silent {
            let seen = match self.at {
                Some(at) => format!("; below is what was {} ago", ago(at)),
                None => String::new(),
            };
            let text = format!("! no answer for {}: {why}{seen}", ago(*since));
            all.push(Line::styled(text, ALARM));
        }
        let Some(report) = &self.report else {
            if self.silent.is_none() {
                all.push(Line::raw("asking the daemon …"));
            }
            return all;
        };
        let waiting = report.waiting.iter();
        all.extend(waiting.map(|w| Line::styled(format!("! {w}"), ALARM)));
        if let Some(status) = self.status() {
            let alarms = status.alarms.iter();
            all.extend(alarms.map(|a| Line::styled(format!("! {a}"), ALARM)));
            let notes = status.notes.iter();
            all.extend(notes.map(|n| Line::raw(format!("note: {n}"))));
            if let Some(left) = status.quarantine_left_ms {
                all.push(Line::raw(format!("in quarantine for another {left:.0} ms")));
            }
        }
        if all.is_empty() {
            all.push(Line::raw("all well"));
        }
        all
    }

    fn groups(&self, frame: &mut Frame<'_>, area: Rect, status: &Status) {
        let row = |(n, g): (usize, &GroupStatus)| {
            let GroupStatus {
                name, role, votes, ..
            } = g;
            let holder = g.holder.clone().unwrap_or_else(|| "-".to_owned());
            let here = if g.opening { "opening" } else { role.as_str() };
            let left = g
                .lease_left_ms
                .map_or("-".to_owned(), |l| format!("{l:.0} ms"));
            let next = match (&g.successor, g.successor_ready) {
                (Some(name), Some(true)) => format!("{name}, ready"),
                (Some(name), Some(false)) => format!("{name}, NOT ready"),
                (Some(name), None) => format!("{name}, silent"),
                (None, _) => if g.ready { "this member" } else { "-" }.to_owned(),
            };
            let mut orders = Vec::new();
            orders.extend(g.standby.then_some("standby"));
            orders.extend(g.gave_away.then_some("switch"));
            orders.extend((!g.frozen_by.is_empty()).then_some("frozen"));
            orders.extend(g.yields.then_some("handing over"));
            let failing = g.checks.iter().filter(|c| c.passing == Some(false)).count();
            let checks = match (g.checks.len(), failing) {
                (0, _) => "-".to_owned(),
                (all, 0) => format!("{all} pass"),
                (all, bad) => format!("{bad} of {all} FAIL"),
            };
            let cells = [
                name.clone(),
                holder,
                here.to_owned(),
                left,
                format!("{} of {}", votes.len(), g.votes_needed),
                next,
                checks,
                orders.join(", "),
            ];
            let style = if n == self.group { MEANT } else { self.style() };
            Row::new(cells).style(style)
        };
        let widths = [14, 12, 9, 10, 7, 20, 13, 20].map(Constraint::Max);
        let heads = [
            "GROUP", "HOLDER", "HERE", "LEASE", "VOTES", "NEXT", "CHECKS", "ORDERED",
        ];
        let table = Table::new(status.groups.iter().enumerate().map(row), widths);
        frame.render_widget(table.header(Row::new(heads).style(HEAD)), area);
    }

    fn members(&self, frame: &mut Frame<'_>, area: Rect, status: &Status) {
        let holds = |name: &str| -> String {
            let held = status.groups.iter();
            let held = held.filter(|g| g.holder.as_deref() == Some(name));
            held.map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let me = [
            status.member.clone(),
            "this member".to_owned(),
            "-".to_owned(),
            "-".to_owned(),
            status.version.clone(),
            holds(&status.member),
            String::new(),
        ];
        let row = |p: &PeerStatus| {
            let heard = p
                .heard_ms_ago
                .map_or("never".to_owned(), |h| format!("{} ago", ago(h)));
            let trip = p.rtt_ms.map_or("-".to_owned(), |r| format!("{r:.2} ms"));
            let lacks = p.lacks.iter().map(|l| format!("{}: {}", l.group, l.why));
            let lacks = match p.other_config {
                Some(_) => "runs with ANOTHER CONFIGURATION".to_owned(),
                None => lacks.collect::<Vec<_>>().join("; "),
            };
            let cells = [
                p.name.clone(),
                heard,
                trip,
                if p.two_way { "yes" } else { "NO" }.to_owned(),
                p.version.clone().unwrap_or_else(|| "-".to_owned()),
                if p.witness {
                    "(witness)".to_owned()
                } else {
                    holds(&p.name)
                },
                lacks,
            ];
            let style = if p.two_way { self.style() } else { ALARM };
            Row::new(cells).style(style)
        };
        let rows = std::iter::once(Row::new(me).style(self.style()));
        let rows = rows.chain(status.peers.iter().map(row));
        let widths = [
            Constraint::Max(14),
            Constraint::Max(13),
            Constraint::Max(10),
            Constraint::Max(7),
            Constraint::Max(8),
            Constraint::Max(14),
            Constraint::Fill(1),
        ];
        let heads = [
            "MEMBER", "HEARD", "RTT", "TWO-WAY", "VERSION", "HOLDS", "LACKS",
        ];
        let table = Table::new(rows, widths).header(Row::new(heads).style(HEAD));
        frame.render_widget(table, area);
    }

    fn foot(&self) -> Line<'static> {
        if let Some(wanted) = &self.asks {
            return Line::styled(
                format!("{} Type y, or any other key", self.question(wanted)),
                ALARM,
            );
        }
        let keys = "q quit · ↑↓ group · Tab cluster · s switch · b standby · r resume";
        match &self.said {
            Some(said) => Line::from(vec![
                Span::styled(said.clone(), HEAD),
                Span::raw(format!(" · {keys}")),
            ]),
            None => Line::raw(keys),
        }
    }

    /// What an order would do, as far as it is known here.
    fn question(&self, wanted: &Wanted) -> String {
        let group = self.group();
        let holds = group.is_some_and(|g| g.role == "holder");
        let ready = group.filter(|g| g.successor_ready == Some(true));
        let other = ready.and_then(|g| g.successor.as_deref());
        let (word, elsewhere) = match wanted.order {
            Order::Switch => ("switch", "it is not held here, so this may be refused"),
            Order::Standby => ("standby", "it will not be held here until resume"),
            Order::Resume | Order::PresumeDead | Order::Freeze | Order::Thaw => {
                ("resume", "it may be held here again")
            }
        };
        let what = match (holds && word != "resume", other) {
            (false, _) => elsewhere.to_owned(),
            (true, Some(other)) => format!("{other} will hold it"),
            (true, None) => "NOBODY ELSE IS READY to hold it".to_owned(),
        };
        format!("{word} {}: {what}.", wanted.group)
    }
}

//! `onehold top`: what is on the screen, and what a key means. It knows no terminal and no socket:
//! see [`crate::cli`].

mod draw;

use crate::control::Order;
use crate::status::{GroupStatus, Report, Status};
use onehold_core::time::LocalTime;

/// What is shown.
#[derive(Debug, Default)]
pub struct Top {
    report: Option<Report>,
    /// When it came.
    at: Option<LocalTime>,
    /// Why the daemon does not answer, and since when it does not.
    silent: Option<(String, LocalTime)>,
    /// Which cluster is shown, and which of its groups is meant.
    cluster: usize,
    group: usize,
    /// What is asked for, until it is confirmed.
    asks: Option<Wanted>,
    /// What became of the last order.
    said: Option<String>,
}

/// An order that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub order: Order,
    /// In which cluster.
    pub cluster: String,
    /// For which group.
    pub group: String,
}

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// To the group above.
    Up,
    /// To the group below.
    Down,
    /// To the next cluster.
    Next,
    /// A letter.
    Letter(char),
    /// Away from what is asked.
    Escape,
    /// To the end.
    Quit,
}

/// What follows from a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    Show,
    /// The daemon is given an order.
    Order(Wanted),
    /// It ends.
    End,
}

impl Top {
    /// The daemon answered, or did not.
    pub fn reported(&mut self, answer: Result<Report, String>, now: LocalTime) {
        match answer {
            Ok(report) => {
                (self.report, self.at, self.silent) = (Some(report), Some(now), None);
                let clusters = self.report.as_ref().map_or(0, |r| r.clusters.len());
                self.cluster = self.cluster.min(clusters.saturating_sub(1));
                let groups = self.status().map_or(0, |s| s.groups.len());
                self.group = self.group.min(groups.saturating_sub(1));
            }
            Err(why) => {
                let since = self.silent.as_ref().map_or(now, |(_, since)| *since);
                self.silent = Some((why, since));
                self.asks = None; // it would be an answer to what is not seen
            }
        }
    }

    /// The daemon answered to an order.
    pub fn ordered(&mut self, answer: String) {
        self.said = Some(answer);
    }

    /// Somebody pressed a key.
    pub fn key(&mut self, key: Key) -> Then {
        if let Some(wanted) = self.asks.take() {
            return match key {
                Key::Letter('y') => {
                    self.said = Some("…".to_owned());
                    Then::Order(wanted)
                }
                Key::Quit => Then::End,
                Key::Up | Key::Down | Key::Next | Key::Letter(_) | Key::Escape => {
                    self.said = Some("nothing was changed".to_owned());
                    Then::Show
                }
            };
        }
        match key {
            Key::Quit | Key::Letter('q') => return Then::End,
            Key::Up => self.group = self.group.saturating_sub(1),
            Key::Down => {
                let groups = self.status().map_or(0, |s| s.groups.len());
                self.group = (self.group + 1).min(groups.saturating_sub(1));
            }
            Key::Next => {
                let clusters = self.report.as_ref().map_or(0, |r| r.clusters.len());
                self.cluster = (self.cluster + 1) % clusters.max(1);
                self.group = 0;
            }
            Key::Letter('s') => self.ask(Order::Switch),
            Key::Letter('b') => self.ask(Order::Standby),
            Key::Letter('r') => self.ask(Order::Resume),
            Key::Letter(_) | Key::Escape => {}
        }
        Then::Show
    }

    fn ask(&mut self, order: Order) {
        let (Some(status), Some(group)) = (self.status(), self.group()) else {
            return;
        };
        if self.silent.is_some() {
            self.said = Some("the daemon does not answer: nothing can be ordered".to_owned());
            return;
        }
        if status.witness {
            self.said = Some("this member is a witness: order on a candidate".to_owned());
            return;
        }
        self.asks = Some(Wanted {
            order,
            cluster: status.cluster.clone(),
            group: group.name.clone(),
        });
        self.said = None;
    }

    /// The cluster that is shown.
    fn status(&self) -> Option<&Status> {
        self.report.as_ref()?.clusters.get(self.cluster)
    }

    /// The group that is meant.
    fn group(&self) -> Option<&GroupStatus> {
        self.status()?.groups.get(self.group)
    }
}

#[cfg(test)]
mod tests;

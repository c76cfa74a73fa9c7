//! The promise meter in the status: what is measured of each assumption, and how much of what is
//! allowed that is.

use super::{Status, ago, ms, name};
use crate::clock::Steered;
use crate::metrics::{Metrics, Peak, RateApart};
use onehold_core::advert::GroupId;
use onehold_core::config::Config;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// From this part of what is allowed on, it is said.
const NEAR: f64 = 0.7;

/// How near one assumption came to breaking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarginStatus {
    /// Which.
    pub assumption: Assumption,
    /// The peer or the group that it is about, if it is about one.
    pub of: Option<String>,
    /// `ms` or `ppm`.
    pub unit: String,
    /// What is allowed.
    pub allowed: f64,
    /// What was measured lately: in the last five to ten minutes; of rates, the last one.
    pub lately: f64,
    /// The most since the start.
    pub most: f64,
    /// How long ago that was.
    pub most_ms_ago: f64,
}

/// What is assumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumption {
    /// The rates of this member's clock and of a peer's differ by at most twice `drift_ppm`.
    Drift,
    /// This host's clock is steered by at most `drift_ppm`.
    Steering,
    /// No two adverts of a peer that lives come further apart than a lease.
    Silence,
    /// A round trip to a peer is short enough for a lease to be renewed in time.
    RoundTrip,
    /// A lease is renewed in the kernel before it is over.
    Renewal,
    /// No turn of this process begins later than half an interval.
    Turn,
}

impl Assumption {
    /// As in JSON and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Steering => "steering",
            Self::Silence => "silence",
            Self::RoundTrip => "round_trip",
            Self::Renewal => "renewal",
            Self::Turn => "turn",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Steering => "steering",
            Self::Silence => "silence",
            Self::RoundTrip => "round trip",
            Self::Renewal => "renewal",
            Self::Turn => "late turn",
        }
    }

    /// What happens beyond what is allowed, and what to do; nothing where it is better known by its
    /// own event, and before that is nobody's business.
    const fn beyond(self) -> Option<&'static str> {
        Some(match self {
            Self::Drift => {
                "beyond it two may hold for a moment: see which clock is off (`chronyc tracking`), or give all \
                 members a larger drift_ppm"
            }
            Self::Steering => {
                "beyond it nothing is held here: in chrony.conf write `maxslewrate 500`, or give all members a \
                 larger drift_ppm"
            }
            Self::Silence => {
                "beyond it the peer's vote is lost: find what delays it or the network, or lengthen timing.lease on \
                 all members"
            }
            Self::RoundTrip | Self::Renewal => {
                "beyond it the address goes away for moments: find what delays the network or this host, or \
                 lengthen timing.lease on all members"
            }
            Self::Turn => return None,
        })
    }
}

impl MarginStatus {
    /// Which part of what is allowed was needed lately.
    #[must_use]
    pub fn used(&self) -> f64 {
        part(self.lately, self.allowed)
    }

    /// Which part was ever needed.
    #[must_use]
    pub fn most_used(&self) -> f64 {
        part(self.most, self.allowed)
    }
}

fn part(of: f64, allowed: f64) -> f64 {
    if allowed > 0.0 { of / allowed } else { 0.0 }
}

impl fmt::Display for MarginStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            assumption,
            of,
            unit,
            allowed,
            most,
            ..
        } = self;
        let of = of.as_ref().map_or_else(String::new, |of| format!(" {of}"));
        let digits = usize::from(*most < 10.0 && unit == "ms");
        let allowed = allowed.round();
        write!(
            f,
            "{}{of} {most:.digits$} of {allowed} {unit}",
            assumption.text()
        )
    }
}

/// Everything that is measured. `steered` is how this host's clock is.
pub(super) fn margins(
    config: &Config,
    metrics: &Metrics,
    steered: Option<Steered>,
    now: LocalTime,
) -> Vec<MarginStatus> {
    let t = config.timing();
    let drift = f64::from(t.drift_ppm());
    let of_rate = |assumption, of, allowed, apart: Option<RateApart>| {
        apart.map(|apart| MarginStatus {
            assumption,
            of,
            unit: "ppm".to_owned(),
            allowed,
            lately: apart.ppm.unsigned_abs() as f64,
            most: apart.most_ppm as f64,
            most_ms_ago: ms(now.since(apart.most_at)),
        })
    };
    let of_peak = |assumption, of, allowed: Span, peak: &Peak| {
        let (most, at) = peak.most()?;
        Some(MarginStatus {
            assumption,
            of,
            unit: "ms".to_owned(),
            allowed: ms(allowed),
            lately: ms(peak.lately(now)?),
            most: ms(most),
            most_ms_ago: ms(now.since(at)),
        })
    };
    let mut all = Vec::new();
    let steering = steered.map(|Steered(apart)| apart);
    all.extend(of_rate(Assumption::Steering, None, drift, steering));
    let round_trip = t.longest_round_trip(metrics.guard.ends_early);
    for peer in &metrics.peers {
        let of = || Some(name(config, peer.member));
        // Each of the two may be off by as much.
        all.extend(of_rate(
            Assumption::Drift,
            of(),
            2.0 * drift,
            peer.clock.apart(),
        ));
        all.extend(of_peak(Assumption::Silence, of(), t.lease(), &peer.silence));
        let trip = |longest| of_peak(Assumption::RoundTrip, of(), longest, &peer.round_trips);
        all.extend(round_trip.and_then(trip));
    }
    let left = (t.lease().as_nanos()).saturating_sub(metrics.guard.ends_early.as_nanos());
    for (group, peak) in &metrics.margins.renewals {
        let of = config.group_name(GroupId(*group)).into_owned();
        let allowed = Span::from_nanos(left);
        all.extend(of_peak(Assumption::Renewal, Some(of), allowed, peak));
    }
    all.extend(of_peak(
        Assumption::Turn,
        None,
        t.oversleep(),
        &metrics.margins.late,
    ));
    all.sort_by_key(|m| m.assumption);
    all
}

impl Status {
    /// Adds what is measured; `steered` is how this host's clock is.
    pub fn measured(
        &mut self,
        config: &Config,
        metrics: &Metrics,
        steered: Option<Steered>,
        now: LocalTime,
    ) {
        self.margins = margins(config, metrics, steered, now);
        self.note_margins();
    }

    /// Says which margins were small lately. It is no alarm: nothing has broken.
    fn note_margins(&mut self) {
        let note = |m: &MarginStatus| {
            let beyond = m.assumption.beyond().filter(|_| m.used() > NEAR)?;
            let of =
                m.of.as_ref()
                    .map_or_else(String::new, |of| format!(" of {of}"));
            Some(format!(
                "{}{of}: {:.0} of {:.0} {} lately; {beyond}",
                m.assumption.text(),
                m.lately,
                m.allowed,
                m.unit,
            ))
        };
        let notes: Vec<String> = self.margins.iter().filter_map(note).collect();
        self.notes.extend(notes);
    }

    /// In one line, the smallest margin that there was of each assumption; nothing if nothing was
    /// measured.
    pub(crate) fn margins_in_words(&self) -> Option<String> {
        let mut worst: Vec<&MarginStatus> = Vec::new();
        for margin in &self.margins {
            match worst.last_mut() {
                Some(last) if last.assumption == margin.assumption => {
                    if last.most_used() < margin.most_used() {
                        *last = margin;
                    }
                }
                _ => worst.push(margin),
            }
        }
        let words: Vec<String> = worst.iter().map(ToString::to_string).collect();
        (!words.is_empty()).then(|| format!("{} · in {}", words.join(" · "), ago(self.running_ms)))
    }
}

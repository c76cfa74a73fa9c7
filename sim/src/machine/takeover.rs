//! `onehold-lab takeover`: how long many addresses take to move, as the network sees it.

use crate::error::{Context, Result, err};
use crate::fault::{Fault, Target};
use crate::machine::demo::ClusterOptions;
use crate::machine::netns::{CANDIDATES, Census, Cluster, Group};
use crate::screen::Screen;
use onehold_core::advert::MAX_GROUPS;
use onehold_core::config::MAX_ADDRESSES;
use serde::Serialize;
use serde_json::json;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long all addresses may take to come.
const BOUND: Duration = Duration::from_secs(30);
/// How long all is left alone before anything happens.
const SETTLE: Duration = Duration::from_secs(2);

/// What makes the addresses move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// `onehold switch` on the holder.
    Switch,
    /// The holder's daemon is killed: `kill -9`.
    Kill,
    /// The holder's machine loses its power.
    PowerOff,
}

impl Event {
    const fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Kill => "kill",
            Self::PowerOff => "power-off",
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// So many addresses in all.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = addresses())]
    pub addresses: u16,
    /// In so many groups, each with as many as the others.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = groups())]
    pub groups: u16,
    /// So many of the addresses are IPv6.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ipv6: u16,
    /// What makes them move.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Event::Switch, Event::Kill, Event::PowerOff])]
    pub events: Vec<Event>,
    /// How often each.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub repeat: usize,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn addresses() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=MAX_ADDRESSES as i64)
}

fn groups() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=MAX_GROUPS as i64)
}

/// One move, in milliseconds after what made it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Move {
    event: Event,
    addresses: usize,
    /// Until the new holder answered for the first address, and for the last.
    first_answered: f64,
    last_answered: f64,
    /// Until it had announced each address once.
    last_announced: f64,
}

/// Moves one address, then all of them, and reports what the others took besides. Returns whether each
/// address came each time.
///
/// # Errors
/// If the lab itself fails, or `stop` was set.
pub fn measure(options: &Options, binary: &Path, stop: &AtomicBool) -> Result<bool> {
    let mut screen = Screen::new();
    if options.ipv6 > options.addresses || options.groups > options.addresses {
        return Err(err("more of them than there are addresses"));
    }
    let one = Options {
        addresses: 1,
        groups: 1,
        ipv6: options.ipv6.min(1),
        ..options.clone()
    };
    let (alone, _) = play(&one, binary, &mut screen, stop)?;
    let (all, status) = play(options, binary, &mut screen, stop)?;
    let Options {
        addresses,
        groups,
        ipv6,
        ..
    } = options;
    let guard = status["guard"].as_str().unwrap_or("?");
    screen.line(&format!(
        "{addresses} addresses, of which {ipv6} IPv6, in {groups} groups; the guard is {guard}; ms after the event, \
         median and longest of {}",
        options.repeat
    ));
    screen.line(&format!(
        "  {:<10} {:>9}  {:>16}  {:>16}  {:>16}",
        "event", "addresses", "first answered", "last answered", "last announced"
    ));
    for event in &options.events {
        for moves in [&alone, &all] {
            let of = |figure: fn(&Move) -> f64| {
                let of_event = moves.iter().filter(|m| m.event == *event);
                let (median, longest) = summary(of_event.map(figure).collect());
                format!("{median:>7.1} {longest:>8.1}")
            };
            screen.line(&format!(
                "  {:<10} {:>9}  {}  {}  {}",
                event.name(),
                moves.first().map_or(0, |m| m.addresses),
                of(|m| m.first_answered),
                of(|m| m.last_answered),
                of(|m| m.last_announced),
            ));
        }
    }
    if let Some(path) = &options.json {
        let figures = json!({
            "binary": binary,
            "guard": status["guard"],
            "timing": status["timing"],
            "arbitration": options.cluster.arbitration,
            "addresses": addresses,
            "groups": groups,
            "ipv6": ipv6,
            "one": alone,
            "all": all,
        });
        let text = serde_json::to_string_pretty(&figures).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    let wanted = options.repeat * options.events.len();
    Ok(alone.len() == wanted && all.len() == wanted)
}

/// The median, and the longest.
fn summary(mut figures: Vec<f64>) -> (f64, f64) {
    figures.sort_by(f64::total_cmp);
    let at = |n: usize| figures.get(n).copied().unwrap_or(f64::NAN);
    (
        at(figures.len() / 2),
        figures.last().copied().unwrap_or(f64::NAN),
    )
}

/// Those that came; and the status of the first holder.
fn play(
    options: &Options,
    binary: &Path,
    screen: &mut Screen,
    stop: &AtomicBool,
) -> Result<(Vec<Move>, serde_json::Value)> {
    let [home, away] = CANDIDATES;
    let (groups, all) = arrange(options);
    let setup = options.cluster.setup().with_groups(groups);
    let mut cluster = Cluster::new(setup, binary)?;
    let census = cluster.census(&all)?;
    census.begin(cluster.host(home));
    cluster.start_all()?;
    let status = {
        come(&cluster, &census, home, stop)?;
        cluster.status(home)?
    };
    let mut moves = Vec::new();
    for event in &options.events {
        for n in 1..=options.repeat {
            screen.passing(&format!(
                "{} addresses: {}, {n} of {}",
                all.len(),
                event.name(),
                options.repeat
            ));
            pause(SETTLE, stop)?;
            census.begin(cluster.host(away));
            let began = Instant::now();
            match event {
                Event::Switch => drop(cluster.onehold(home, &["switch", "--yes"])?),
                Event::Kill => cluster.inflict(&Fault::Kill(Target::Of(home.into())))?,
                Event::PowerOff => cluster.inflict(&Fault::PowerOff(home.into()))?,
            }
            let came = come(&cluster, &census, away, stop)?;
            let after = |at: Option<Instant>| at.map(|at| (at - began).as_secs_f64() * 1e3);
            let answered = came.iter().map(|seen| after(seen.answered));
            let announced = came.iter().map(|seen| after(seen.announced));
            moves.push(Move {
                event: *event,
                addresses: all.len(),
                first_answered: answered.clone().flatten().fold(f64::INFINITY, f64::min),
                last_answered: answered.flatten().fold(0.0, f64::max),
                last_announced: announced.flatten().fold(0.0, f64::max),
            });
            pause(SETTLE, stop)?;
            census.begin(cluster.host(home));
            match event {
                Event::Switch => drop(cluster.onehold(home, &["resume"])?),
                Event::Kill | Event::PowerOff => cluster.inflict(&Fault::Start(home.into()))?,
            }
            come(&cluster, &census, home, stop)?;
        }
    }
    Ok((moves, status))
}

/// Waits until a candidate answers for all addresses, and has announced them.
fn come(
    cluster: &Cluster,
    census: &Census,
    who: &str,
    stop: &AtomicBool,
) -> Result<Vec<crate::machine::netns::Seen>> {
    let began = Instant::now();
    loop {
        let seen = census.seen();
        let missing = |seen: &&crate::machine::netns::Seen| {
            seen.answered.is_none() || seen.announced.is_none()
        };
        let missing = seen.iter().filter(missing).count();
        if missing == 0 {
            return Ok(seen);
        }
        if began.elapsed() > BOUND {
            let log = cluster.log(who);
            return Err(err(format!(
                "{missing} of {} addresses were not answered for and announced by {who} within {BOUND:?}; its log \
                 says:\n{log}",
                seen.len()
            )));
        }
        pause(Duration::from_millis(10), stop)?;
    }
}

/// The groups, and all their addresses.
fn arrange(options: &Options) -> (Vec<Group>, Vec<IpAddr>) {
    let v4 = |n: u16| IpAddr::from(Ipv4Addr::from_bits(0x0a4d_1000 + u32::from(n))); // 10.77.16.0
    let v6 = |n: u16| IpAddr::from(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 1, n));
    let number = |n: u16| if n < options.ipv6 { v6(n) } else { v4(n) };
    let group = |g: u16| {
        let of_it = (0..options.addresses).filter(move |n| n % options.groups == g);
        let written = of_it.map(number).map(|address| match address {
            IpAddr::V4(_) => format!("{address}/16"),
            IpAddr::V6(_) => format!("{address}/64"),
        });
        Group {
            name: format!("g{g:02}"),
            addresses: written.collect(),
            preferred: CANDIDATES[0].into(),
        }
    };
    let groups = (0..options.groups).map(group).collect();
    (groups, (0..options.addresses).map(number).collect())
}

fn pause(length: Duration, stop: &AtomicBool) -> Result<()> {
    sleep(length);
    match stop.load(Ordering::Relaxed) {
        true => Err(err("interrupted")),
        false => Ok(()),
    }
}

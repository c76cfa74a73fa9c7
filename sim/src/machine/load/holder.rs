//! A flood against the holder of a real cluster, in network namespaces.

use super::Options;
use super::flood::{Flood, SENDERS, kinds};
use crate::error::{Context, Result, err};
use crate::machine::idle;
use crate::machine::netns::{Cluster, FLOATING, Host};
use crate::screen::Screen;
use onehold::config_file::{self, DEFAULT_PORT};
use onehold_core::Node;
use onehold_core::advert::Incarnation;
use onehold_core::auth;
use onehold_core::effect::Effect;
use onehold_core::input::Input;
use onehold_core::time::{LocalTime, Span};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(5);
const SETTLE: Duration = Duration::from_secs(3);
const BOUND: Duration = Duration::from_secs(20);
const HOLDER: &str = "lb0";
const PEER: &str = "lb1";

/// Floods the holder; returns the figures, and whether nothing moved and no renewal was missed.
pub(super) fn flood(options: &Options, binary: &Path, stop: &AtomicBool) -> Result<(Value, bool)> {
    let mut screen = Screen::new();
    let mut cluster = Cluster::new(options.cluster.setup(), binary)?;
    cluster.add_host("stranger")?;
    let observer = cluster.observe(FLOATING, PERIOD)?;
    cluster.start_all()?;
    let began = Instant::now();
    while observer.holders() != [HOLDER] {
        if began.elapsed() > BOUND {
            let log = cluster.log(HOLDER);
            return Err(err(format!(
                "{HOLDER} did not take hold within {BOUND:?}; its log says:\n{log}"
            )));
        }
        pause(Duration::from_millis(20), stop)?;
    }
    pause(SETTLE, stop)?;

    let target = address_of(cluster.host(HOLDER))?;
    let recorded = of_an_earlier_incarnation(&cluster)?;
    let false_name = options
        .spoofed
        .then(|| address_of(cluster.host(PEER)))
        .transpose()?;
    let sockets = cluster.host("stranger").call(move || match false_name {
        Some(name) => Ok(vec![in_the_name_of(name)?]),
        None => (0..SENDERS).map(|_| UdpSocket::bind("0.0.0.0:0")).collect(),
    })?;
    let sockets: Vec<UdpSocket> =
        sockets.map_err(|e: std::io::Error| err(format!("the flood's sockets: {e}")))?;
    let id = cluster.id(HOLDER)?;
    let mut flood = Flood::of(options.flood, sockets, kinds(&recorded), target);
    let (from, before) = (Instant::now(), idle::cpu(id)?);
    let length = Duration::from_secs(options.seconds);
    while from.elapsed() < length {
        let left = length.saturating_sub(from.elapsed());
        screen.passing(&format!("flood: {} s left", left.as_secs()));
        pause(Duration::from_millis(200).min(left), stop)?;
    }
    let (to, after) = (Instant::now(), idle::cpu(id)?);
    let seconds = (to - from).as_secs_f64();
    let sent = flood.sent() as f64 / seconds;
    flood.stop();
    flood.was_sent()?;
    if let Some(died) = cluster.died()? {
        return Err(err(died));
    }
    let seen = observer.sightings(from, to);
    let status = cluster.status(HOLDER)?;
    let figures = json!({
        "seconds": seconds,
        "timing": status["timing"],
        "spoofed": options.spoofed,
        "flood_per_second": sent,
        "holder_cores": (after.saturating_sub(before)).as_secs_f64() / seconds,
        "role_changes": seen.changes,
        "outage_ms": seen.outage.as_secs_f64() * 1e3,
        "dual_ms": seen.dual.as_secs_f64() * 1e3,
        "counters": status["counters"],
        "margins": status["margins"],
    });
    screen.line(&format!(
        "{seconds:.0} s, {sent:.0} datagrams/s at the holder{}: the address moved {} times, was unanswered for {:.0} ms \
         at most; the holder used {:.1} % of a core",
        if options.spoofed { " in its peer's name" } else { "" },
        seen.changes,
        seen.outage.as_secs_f64() * 1e3,
        100.0 * figures["holder_cores"].as_f64().unwrap_or_default(),
    ));
    let mut missed = false;
    for margin in status["margins"].as_array().into_iter().flatten() {
        let number = |key: &str| margin[key].as_f64().unwrap_or(f64::NAN);
        let (most, allowed) = (number("most"), number("allowed"));
        screen.line(&format!(
            "  {:<12} {:<8} at most {most:>8.3} of {allowed:>8.3} {}",
            margin["assumption"].as_str().unwrap_or_default(),
            margin["of"].as_str().unwrap_or_default(),
            margin["unit"].as_str().unwrap_or_default(),
        ));
        missed |= margin["assumption"] == "renewal" && most > allowed;
    }
    screen.line(&format!("  {}", status["counters"]));
    Ok((figures, seen.changes == 0 && !missed))
}

fn pause(length: Duration, stop: &AtomicBool) -> Result<()> {
    sleep(length);
    match stop.load(Ordering::Relaxed) {
        true => Err(err("interrupted")),
        false => Ok(()),
    }
}

fn address_of(host: &Host) -> Result<SocketAddr> {
    let address = host.address(0).filter(IpAddr::is_ipv4);
    let address = address.ok_or_else(|| err(format!("{} has no address", host.name())))?;
    Ok((address, DEFAULT_PORT).into())
}

/// A socket that sends in another host's name.
fn in_the_name_of(name: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_ip_transparent_v4(true)?; // what is sent may have it, too
    socket.bind(&name.into())?;
    Ok(socket.into())
}

/// What an earlier incarnation of the peer sent: authentic, and of nobody that lives.
fn of_an_earlier_incarnation(cluster: &Cluster) -> Result<Vec<u8>> {
    let file = crate::machine::netns::Lan::path(&format!("{PEER}.toml"));
    let loaded = cluster
        .host(PEER)
        .call(move || config_file::load(&file, Some(PEER)))?;
    let loaded = loaded.context(|| "the peer's file")?;
    let local = loaded
        .clusters
        .first()
        .ok_or_else(|| err("the peer's file has no cluster"))?;
    let (start, config) = (LocalTime::from_nanos(1_000_000), &local.config);
    let mut node = Node::start(config, Incarnation(7), start, Span::ZERO);
    let mut effects = Vec::new();
    let _ = node.handle(
        config,
        start.plus(Span::from_millis(1)),
        Input::Wake,
        &mut effects,
    ); // only adverts are refused
    let to_holder = effects.iter().find_map(|effect| match effect {
        Effect::Send { to, advert } if config.member_name(*to) == HOLDER => Some(advert),
        _ => None,
    });
    let mut sealed = Vec::new();
    let advert = to_holder.ok_or_else(|| err("a node that starts sends nothing"))?;
    auth::seal(&local.keys(), advert, &mut sealed);
    Ok(sealed)
}

//! What a file says, what follows from it and what is promised.

use crate::config_file::{Announce, ConfigFile};
use onehold_core::config::{Arbitration, Config, Failback};
use onehold_core::time::Span;
use std::fmt::Write as _;
use std::net::IpAddr;

/// Describes a cluster.
pub(super) fn describe(file: &ConfigFile, config: &Config) -> String {
    let count = config.members().len();
    let arbitration = match config.arbitration() {
        Arbitration::Majority => format!("majority ({} of {count})", config.majority()),
        Arbitration::Survivor => "survivor".to_owned(),
    };
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "cluster {} · id {:016x} · {arbitration} · configuration {:016x}",
            file.cluster.name,
            config.cluster().0,
            config.digest().0
        ),
    );
    members(&mut out, file);
    frames(&mut out, file, config);
    groups(&mut out, file, config);
    timing(&mut out, config);
    takeover(&mut out, config);
    promises(&mut out, config);
    out
}

pub(super) fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "{line}");
}

fn members(out: &mut String, file: &ConfigFile) {
    put(out, format_args!("\nmembers"));
    let width = file.members.keys().map(String::len).max().unwrap_or(0);
    for (name, m) in &file.members {
        let kind = match (m.witness, m.preferred) {
            (true, _) => "witness",
            (false, true) => "candidate, preferred",
            (false, false) => "candidate",
        };
        put(
            out,
            format_args!("  {name:width$}  {kind:20}  {}", m.addresses.join(", ")),
        );
    }
}

/// What travels between two members alone besides datagrams.
fn frames(out: &mut String, file: &ConfigFile, config: &Config) {
    let said = match (config.arbitration(), file.cluster.frames) {
        (Arbitration::Majority, _) => return,
        (Arbitration::Survivor, Some(false)) => "adverts travel by UDP alone (frames = false)",
        (Arbitration::Survivor, _) => {
            "adverts travel by UDP and, by the groups' interfaces, as Ethernet frames (EtherType 0x88b5)"
        }
    };
    put(out, format_args!("  {said}"));
}

fn groups(out: &mut String, file: &ConfigFile, config: &Config) {
    put(out, format_args!("\ngroups"));
    for ((name, g), proved) in file.groups.iter().zip(config.groups()) {
        let addresses = g.addresses.iter().zip(&proved.addresses);
        let addresses: Vec<String> = addresses
            .map(|(written, p)| {
                let own = written.interface.as_ref();
                let on = own.map_or_else(String::new, |interface| format!(" on {interface}"));
                format!("{}/{}{on}", p.address, p.length)
            })
            .collect();
        let bare = g.addresses.iter().any(|a| a.interface.is_none());
        let interface = g.interface.as_ref().filter(|_| bare);
        let named = addresses.len() - g.addresses.iter().filter(|a| a.interface.is_none()).count();
        let on = match interface {
            None => String::new(),
            Some(interface) if named == 0 => format!(" on {interface}"),
            Some(interface) => format!(", the others on {interface}"),
        };
        put(out, format_args!("  {name}  {}{on}", addresses.join(", ")));
        let prefixes = (proved.addresses.iter()).any(|p| match p.address {
            IpAddr::V4(_) => p.length < 32,
            IpAddr::V6(_) => p.length < 128,
        });
        if prefixes {
            put(
                out,
                format_args!(
                    "  {:1$}  each is put on as a /32 or /128: the prefix brings no route with it",
                    "",
                    name.len()
                ),
            );
        }
        for route in g.routes_in_words() {
            put(out, format_args!("  {:1$}  route {route}", "", name.len()));
        }
        let preferred = config.member_name(proved.preferred);
        let failback = match (g.failback, proved.failback_delay) {
            (Failback::Manual, _) | (Failback::Auto, Span::ZERO) => g.failback.name().to_owned(),
            (Failback::Auto, delay) => {
                format!("auto after {delay}, twice as long after each crash in a row (R-12)")
            }
        };
        if g.announce == Announce::None {
            put(
                out,
                format_args!(
                    "  {:1$}  not announced by ARP: a routing daemon must say where they are",
                    "",
                    name.len()
                ),
            );
        }
        put(
            out,
            format_args!(
                "  {:1$}  preferred {preferred}, failback {failback}",
                "",
                name.len()
            ),
        );
    }
}

fn timing(out: &mut String, config: &Config) {
    let t = config.timing();
    let peers = config.members().len() - 1;
    let rate = peers as f64 / (t.interval().as_millis_f64() / 1e3);
    put(out, format_args!("\ntiming"));
    let mut line = |name, value: String, what: String| {
        put(out, format_args!("  {name:15} {value:>10}  {what}"))
    };
    line(
        "interval (i)",
        t.interval().to_string(),
        format!("one advert to each of {peers} this often: {rate:.0} a second from each member"),
    );
    line(
        "lease (H)",
        t.lease().to_string(),
        "a holder that can't renew is mute after this".to_owned(),
    );
    line(
        "guard slack (κ)",
        t.slack().to_string(),
        "how late the kernel may shut the gate".to_owned(),
    );
    line(
        "drift (ρ)",
        format!("{} ppm", t.drift_ppm()),
        "how far each clock's rate may be off".to_owned(),
    );
    line(
        "vote (D)",
        t.vote().to_string(),
        "derived: D·(1−ρ) ≥ (H+κ)·(1+ρ); how long a vote is bound".to_owned(),
    );
    line(
        "quarantine (Q)",
        t.quarantine(Span::ZERO).to_string(),
        "derived likewise; how long a started member neither votes nor holds".to_owned(),
    );
    if let Some(longest) = t.longest_round_trip(Span::ZERO) {
        line(
            "round trip",
            longest.to_string(),
            "derived: the longest at which the lease is renewed in time".to_owned(),
        );
    }
    if config.arbitration() == Arbitration::Survivor {
        line(
            "presumes",
            t.presume_after().to_string(),
            "derived: a holder that hears nothing for this long renews on what it sent".to_owned(),
        );
        line(
            "survives",
            t.survive_after().to_string(),
            "derived: a standby that hears nothing for this long takes hold".to_owned(),
        );
    }
}

fn takeover(out: &mut String, config: &Config) {
    let t = config.timing();
    let two = t.interval().times(2);
    let worst =
        |what: &str, span: Span| format!("at most {} ({what}) and one round trip", whole_ms(span));
    let crash = match (config.arbitration(), config.members().len()) {
        (Arbitration::Survivor, _) => worst("D + 2i", t.vote().plus(two)),
        (Arbitration::Majority, 2) => "no takeover until `onehold presume-dead`".to_owned(),
        (Arbitration::Majority, _) => worst("D + 2i", t.vote().plus(two)),
    };
    let lost = (t.lease().as_nanos() / t.interval().as_nanos()).saturating_sub(2);
    put(out, format_args!("\noutage"));
    let mut line = |name, what: &str| put(out, format_args!("  {name:26} {what}"));
    line("crash, power-off, frozen", &crash);
    line(
        "stop, switch, failback",
        "one way through the network and two kernel operations",
    );
    line(
        "adverts lost in a row",
        &format!("none, up to {lost} of them"),
    );
}

pub(super) fn whole_ms(span: Span) -> String {
    format!("{}ms", span.as_nanos().div_ceil(1_000_000))
}

fn promises(out: &mut String, config: &Config) {
    let (name, lines): (_, &[&str]) = match (config.arbitration(), config.members().len()) {
        (Arbitration::Majority, 2) => (
            "majority of two",
            &[
                "+ never two holders, whatever is lost, cut, delayed, killed, frozen or restarted",
                "- no takeover by itself: if one member dies, you must say so: `onehold presume-dead`",
                "- two holders if you presume a member dead that is alive",
            ],
        ),
        (Arbitration::Majority, _) => (
            "majority",
            &[
                "+ never two holders, whatever is lost, cut, delayed, killed, frozen or restarted",
                "+ any single member may fail and the addresses are still served",
                "- no holder while no majority of the members can talk to each other",
            ],
        ),
        (Arbitration::Survivor, _) => (
            "survivor",
            &[
                "+ never two holders while messages get through, whatever is killed, frozen or restarted",
                "+ nor under a cut in one direction only",
                "- two holders while the network between them is cut both ways, and one soon after it heals",
                "  (two members can't do better: add a witness, or at least a second path)",
            ],
        ),
    };
    put(
        out,
        format_args!("\nwhat {name} promises (+) and does not promise (-)"),
    );
    for line in lines {
        put(out, format_args!("  {line}"));
    }
    put(
        out,
        format_args!(
            "  - a virtual machine that was paused with its clock still answers for the rest of its lease"
        ),
    );
}

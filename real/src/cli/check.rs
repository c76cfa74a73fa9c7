//! `onehold check`: what a file says, what follows from it, what is promised and what is risky.

use crate::config_file::{
    ConfigFile, FileError, GuardChoice, Interface, Profile, Source, WrittenCluster, decided, fit,
    loopback_warnings, prove, resolve, written,
};
use crate::guard::NFT_ENDS_EARLY;
use crate::secret::Secret;
use onehold_core::config::{Arbitration, Config};
use onehold_core::time::Span;
use std::fmt::Write as _;
use std::path::Path;

/// Of more IPv6 addresses `check` warns.
const MANY_IPV6: usize = 128;

/// Reads the file as `run` would and describes it.
///
/// # Errors
/// What `run` would refuse on every member.
pub(super) fn check(path: &Path) -> Result<String, FileError> {
    let mut out = String::new();
    let all = written(path)?.clusters;
    for (n, one) in all.into_iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let one = one?;
        decided(&one)?;
        let WrittenCluster { source, file } = one;
        let spec = file.spec(&source)?;
        let any = file.members.keys().next().map_or("", String::as_str);
        let config = prove(&source, &spec, any)?;
        describe(&mut out, &source, &file, &config);
    }
    Ok(out)
}

fn describe(out: &mut String, source: &Source, file: &ConfigFile, config: &Config) {
    let count = config.members().len();
    let arbitration = match config.arbitration() {
        Arbitration::Majority => format!("majority ({} of {count})", config.majority()),
        Arbitration::Survivor => "survivor".to_owned(),
    };
    put(
        out,
        format_args!(
            "cluster {} · {arbitration} · configuration {:016x}",
            file.cluster.name,
            config.digest().0
        ),
    );
    members(out, file);
    groups(out, file, config);
    timing(out, config);
    takeover(out, config);
    promises(out, config);
    let warnings = warnings(source, file, config);
    if !warnings.is_empty() {
        put(out, format_args!("\nwarnings"));
        for w in warnings {
            put(out, format_args!("  ! {w}"));
        }
    }
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
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

fn groups(out: &mut String, file: &ConfigFile, config: &Config) {
    put(out, format_args!("\ngroups"));
    for ((name, g), proved) in file.groups.iter().zip(config.groups()) {
        let addresses: Vec<String> = proved
            .addresses
            .iter()
            .map(|p| format!("{}/{}", p.address, p.length))
            .collect();
        let interface = match &g.interface {
            None => String::new(),
            Some(Interface::Same(i)) => format!(" on {i}"),
            Some(Interface::ByMember(i)) => {
                let each: Vec<String> = i.iter().map(|(m, i)| format!("{i} of {m}")).collect();
                format!(" on {}", each.join(", "))
            }
        };
        put(
            out,
            format_args!("  {name}  {}{interface}", addresses.join(", ")),
        );
        let preferred = config.member_name(proved.preferred);
        let delay = match proved.failback_delay {
            Span::ZERO => String::new(),
            delay => format!(" after {delay}"),
        };
        let failback = g.failback.name();
        put(
            out,
            format_args!(
                "  {:1$}  preferred {preferred}, failback {failback}{delay}",
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
        format!("an advert to each of {peers} this often: {rate:.0} a second from each member"),
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
        "derived: D·(1−ρ) ≥ (H+κ)·(1+ρ); a vote is bound this long".to_owned(),
    );
    line(
        "quarantine (Q)",
        t.quarantine(Span::ZERO).to_string(),
        "derived likewise; a started member neither votes nor holds this long".to_owned(),
    );
    if let Some(longest) = t.longest_round_trip(Span::ZERO) {
        line(
            "round trip",
            longest.to_string(),
            "derived: the longest at which renewals follow each other without a gap".to_owned(),
        );
    }
    if config.arbitration() == Arbitration::Survivor {
        line(
            "presumes",
            t.presume_after().to_string(),
            "derived: a holder that has heard nothing this long goes on by what it sent".to_owned(),
        );
        line(
            "survives",
            t.survive_after().to_string(),
            "derived: a standby that has heard nothing this long takes hold".to_owned(),
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
    put(out, format_args!("\ntime without the address"));
    let mut line = |name, what: &str| put(out, format_args!("  {name:26} {what}"));
    line("crash, power-off, frozen", &crash);
    line(
        "stop, switch, failback",
        "one way through the network and two kernel operations",
    );
    line(
        "adverts lost in a row",
        &format!("none, for up to {lost} of them"),
    );
}

fn whole_ms(span: Span) -> String {
    format!("{}ms", span.as_nanos().div_ceil(1_000_000))
}

fn promises(out: &mut String, config: &Config) {
    let (name, lines): (_, &[&str]) = match (config.arbitration(), config.members().len()) {
        (Arbitration::Majority, 2) => (
            "majority of two",
            &[
                "+ never two holders, whatever is lost, cut, delayed, killed, frozen or restarted",
                "- no takeover by itself: while one member is dead, `onehold presume-dead` must say so",
                "- two holders if the operator presumes a member dead that lives",
            ],
        ),
        (Arbitration::Majority, _) => (
            "majority",
            &[
                "+ never two holders, whatever is lost, cut, delayed, killed, frozen or restarted",
                "+ any single member may fail and the addresses are still served",
                "- nobody holds while no majority of the members can talk to each other",
            ],
        ),
        (Arbitration::Survivor, _) => (
            "survivor",
            &[
                "+ never two holders while messages get through, whatever is killed, frozen or restarted",
                "+ nor under a cut in one direction only",
                "- both hold while the network between them is cut both ways; one again soon after it heals",
                "  (nobody can do better with two: add a witness, or at least a second path)",
            ],
        ),
    };
    put(
        out,
        format_args!("\nwhat {name} promises (+) and what not (-)"),
    );
    for line in lines {
        put(out, format_args!("  {line}"));
    }
    put(
        out,
        format_args!(
            "  - a virtual machine that is paused with its clock answers for what was left of its lease"
        ),
    );
}

fn warnings(source: &Source, file: &ConfigFile, config: &Config) -> Vec<String> {
    let mut all = Vec::new();
    let t = config.timing();
    if t.interval() < Span::from_millis(20) || t.lease() < Span::from_millis(60) {
        all.push(
            "timing: faster than 20ms/60ms: a busy machine or network will move the addresses without \
             need; the risk is yours"
                .to_owned(),
        );
    }
    if t.lease() < t.interval().times(4) {
        all.push(format!(
            "timing.lease: two adverts lost in a row may cost the address; {} or more is calmer",
            t.interval().times(4)
        ));
    }
    if t.lease() > Span::from_millis(10_000) {
        all.push(format!(
            "timing.lease: nobody serves for up to {} after a crash",
            whole_ms(t.vote())
        ));
    }
    if t.slack() < Span::from_millis(5) && file.cluster.guard != GuardChoice::Bpf {
        all.push(
            "timing.guard_slack: below 5ms only the BPF guard was measured to keep it; add guard = \"bpf\""
                .to_owned(),
        );
    }
    let ipv6 = (config.groups().iter().flat_map(|g| &g.addresses))
        .filter(|p| p.address.is_ipv6())
        .count();
    if ipv6 > MANY_IPV6 {
        all.push(format!(
            "groups: {ipv6} IPv6 addresses: Linux takes up to a millisecond for each, so taking hold takes \
             longer than with the {MANY_IPV6} that were tried; route a prefix to one address instead"
        ));
    }
    if matches!(file.cluster.guard, GuardChoice::Nft | GuardChoice::Auto) {
        let auto = file.cluster.guard == GuardChoice::Auto;
        let left = match t.longest_round_trip(NFT_ENDS_EARLY) {
            Some(longest) if longest >= t.interval() => None,
            Some(longest) => Some(format!("round trips of more than {longest} leave gaps")),
            None => Some("it can't be renewed without gaps".to_owned()),
        };
        all.extend(left.map(|left| {
            let or = if auto { " (or say guard = \"bpf\")" } else { "" };
            format!(
                "timing.lease: {}: the nft guard ends each hold up to {NFT_ENDS_EARLY} early, by the kernel's \
                 HZ, and then {left}; lengthen it{or}",
                t.lease()
            )
        }));
    }
    if file.timing.profile == Profile::Fast {
        all.push(
            "timing.profile: fast counts on realtime priority and locked memory; the log says whether \
             they were permitted"
                .to_owned(),
        );
    }
    if file.cluster.guard == GuardChoice::None {
        all.push(
            "cluster.guard: none: nothing mutes a frozen or killed holder, so two may answer; for tests only"
                .to_owned(),
        );
    }
    if file.cluster.arbitration == Some(Arbitration::Survivor)
        && file.members.values().all(|m| m.addresses.len() == 1)
    {
        all.push(
            "members: one path only: when it is cut both hold; a second one makes that rarer"
                .to_owned(),
        );
    }
    // What the text alone decides is an error, as `run` would end with it; this is what it would wait for.
    let awaited = |what: &dyn std::fmt::Display| format!("on this host, run would wait: {what}");
    match resolve(source, file) {
        Err(e) => all.push(awaited(&e.what)),
        Ok(endpoints) => {
            all.extend(loopback_warnings(source, file, &endpoints));
            if let Err(e) = fit(source, file, &endpoints) {
                all.push(awaited(&e.what));
            }
        }
    }
    for path in file.secret_files(source).unwrap_or_default() {
        all.extend(Secret::read(&path).err().map(|e| awaited(&e)));
    }
    all
}

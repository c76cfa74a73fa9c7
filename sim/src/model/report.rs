//! What `check` says: on the terminal, as pictures, as JSON.

use super::check::{Verdict, Walked};
use super::configs::Configuration;
use super::search::Progress;
use crate::error::{Context, Result, err};
use crate::model::world::{Adversary, Setup};
use crate::screen;
use crate::show::{self, page::Viewer};
use onehold::trace::Reader;
use onehold_core::config::Config;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// How far a search is.
#[must_use]
pub fn progress(name: &str, pinned: Option<u64>, p: Progress, took: Duration) -> String {
    let share = pinned.map_or(String::new(), |all| {
        format!(" of {}", number(all.max(p.unique)))
    });
    format!(
        "{name}: {}{share} worlds, {} wait, depth {}, {} steps/s",
        number(p.unique),
        number(p.frontier),
        p.depth,
        number((p.transitions as f64 / took.as_secs_f64()) as u64),
    )
}

/// 12,345,678.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// All configurations, a line each.
pub fn list(all: &[Configuration]) {
    for c in all {
        let set = c.set.text();
        let promises = c.promises().join(" ");
        println!("{:<24} {set:<5}  {promises:<15} {}", c.name, c.says);
    }
}

/// What came of one configuration; a counterexample is drawn.
///
/// # Errors
/// If a picture can't be written.
pub fn outcome(outcome: &Walked, pictures: &Path) -> Result<()> {
    let c = &outcome.configuration;
    let found = &outcome.found;
    println!("{}: {}", c.name, c.says);
    for bound in bounds(&c.setup) {
        println!("    assumed     {bound}");
    }
    println!(
        "    walked      {} worlds, {} steps, depth {}; {:.1} s, {} steps/s, {} MiB",
        number(found.unique),
        number(found.transitions),
        found.depth,
        found.took.as_secs_f64(),
        number((found.transitions as f64 / found.took.as_secs_f64()) as u64),
        found.memory >> 20,
    );
    println!(
        "                {} different members, {} adverts, {} turns of the node",
        number(found.parts[0] as u64),
        number(found.parts[1] as u64),
        number(found.parts[2] as u64),
    );
    let all = if found.exhaustive {
        "yes: nothing was left to walk"
    } else {
        "NO: it was stopped before the end"
    };
    println!("    exhaustive  {all}; worlds are compared whole, so none is taken for another");
    if let Some(second) = &outcome.second {
        let n = second.unique as f64;
        println!(
            "    again       {} worlds by stateright's own search, without memory of turns; chance \
             that its fingerprints collided {:.0e}",
            number(second.unique),
            n * n / 2f64.powi(65),
        );
    } else {
        println!("    again       not searched by stateright");
    }
    for (i, p) in c.properties.iter().enumerate() {
        let steps = found.first[i].as_ref().map_or(0, Vec::len);
        let verdict = match outcome.verdict(i) {
            Verdict::Holds => "holds".into(),
            Verdict::HoldsSoFar => "holds as far as was walked".into(),
            Verdict::Broken => format!("BROKEN after {steps} steps"),
            Verdict::BrokenAsExpected => format!("broken after {steps} steps, as it must be here"),
            Verdict::Happens => format!("first after {steps} steps"),
            Verdict::NeverHappens => "NEVER".into(),
        };
        println!(
            "    {:<11} {}: {verdict}",
            if p.when.is_always() {
                p.id.name()
            } else {
                "sometimes"
            },
            p.says
        );
    }
    for complaint in outcome.complaints() {
        println!("    WRONG       {complaint}");
    }
    if let Some(story) = &outcome.story {
        println!("\n{}", show::terminal(story, 110, screen::colours()));
    }
    for (name, trace) in &outcome.traces {
        if let Ok(trace) = trace {
            let file = pictures.join(name);
            write(&file, trace)?;
            let page = file.with_extension("html");
            write(&page, page_of(name, trace)?.as_bytes())?;
            println!(
                "    a trace is in {}, and as a page in {}; it begins {} ticks earlier, when all start",
                file.display(),
                page.display(),
                c.setup.warm_up
            );
        }
    }
    println!();
    Ok(())
}

fn page_of(name: &str, trace: &[u8]) -> Result<String> {
    let mut page = Viewer::default();
    page.read(Reader::new(name, trace).map_err(err)?)?;
    page.page()
}

/// Writes a file, and makes the directory for it.
fn write(file: &Path, content: &[u8]) -> Result<()> {
    let made = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = made.and_then(|()| std::fs::write(file, content));
    written.context(|| file.display())
}

/// What remains bounded in a configuration, in words.
#[must_use]
pub fn bounds(setup: &Setup) -> Vec<String> {
    let a = &setup.adversary;
    let timing = setup.configs[0].timing();
    let rate = setup.rates[0][0];
    let mut bounds = vec![format!(
        "{} members; i, H, D = {}, {}, {} and \u{3ba} = {} of a clock that goes on {} a tick; so time is \
         unbounded, and cut into ticks",
        setup.configs.len(),
        timing.interval().as_nanos(),
        timing.lease().as_nanos(),
        timing.vote().as_nanos(),
        timing.slack().as_nanos(),
        if setup.rates.len() > 1 {
            "9 or 11".into()
        } else {
            rate.to_string()
        },
    )];
    if setup.second > 0 {
        let [first, second] = [0, setup.second].map(|at| setup.config(0, at));
        let (lease, vote) = (second.timing().lease(), second.timing().vote());
        let group = |c: &Config| c.groups()[0].name.clone();
        let members = |c: &Config| {
            let names: Vec<&str> = c.members().iter().map(|m| m.name.as_str()).collect();
            format!("{} by {:?}", names.join(", "), c.arbitration()).to_lowercase()
        };
        bounds.push(if members(first) != members(second) {
            format!(
                "the first file's members are {}, the second's {}",
                members(first),
                members(second)
            )
        } else if first.timing() == second.timing() {
            format!(
                "the second file has the address in {} instead of {}",
                group(second),
                group(first)
            )
        } else {
            format!(
                "the second file's H, D = {}, {}",
                lease.as_nanos(),
                vote.as_nanos()
            )
        });
    }
    bounds.push(network(a));
    let mut faults = Vec::new();
    if a.crashes > 0 {
        let hosts = if a.power { " or host" } else { "" };
        faults.push(format!(
            "at most {} deaths of a process{hosts}, {} incarnations each",
            a.crashes, a.lives
        ));
    }
    if a.pauses > 0 {
        let times = match a.pauses {
            Adversary::NO_END => "any number of".into(),
            n => format!("at most {n}"),
        };
        faults.push(format!(
            "{times} pauses of a process, one at a time, however long"
        ));
    }
    for (most, of) in [
        (a.commands, "commands"),
        (a.flips, "changes of health or eligibility"),
    ] {
        if most > 0 {
            faults.push(format!("at most {most} {of}"));
        }
    }
    if a.reloads > 0 {
        faults.push(format!(
            "at most {} times a member reads the other file, running or as it starts",
            a.reloads
        ));
    }
    if a.probes {
        faults.push(format!(
            "what a member asks of the network is answered within the tick, where that is not cut; at most {} \
             answers are lost",
            a.unanswered
        ));
    }
    if a.changes > 0 {
        faults.push(format!(
            "links are cut at most {} times, each time one of {} sets of them",
            a.changes,
            a.cuts.len()
        ));
    }
    if !faults.is_empty() {
        bounds.push(faults.join("; "));
    }
    for (ticks, of) in [
        (a.settle_bound, "after the last fault"),
        (a.outage_bound, "without a holder"),
        (a.overlap, "with two"),
    ] {
        if ticks > 0 {
            bounds.push(format!("the bound is {ticks} ticks {of}"));
        }
    }
    bounds
}

fn network(a: &Adversary) -> String {
    let order = if a.any_order {
        "in any order"
    } else {
        "in the order of names"
    };
    let never = if a.timely { "" } else { ", or never" };
    let mut text = format!(
        "each member runs once a tick, {order}; an advert arrives when its receiver next runs{never}"
    );
    if a.losses > 0 {
        text += &format!("; at most {} are lost", a.losses);
    }
    match a.stragglers {
        0 => {}
        Adversary::NO_END => text += "; one for each receiver is kept back and arrives at any time",
        n => text += &format!("; at most {n} are kept back and arrive at any time"),
    }
    if a.duplicates {
        text += "; what was not accepted may arrive again and again";
    }
    text
}

/// What came of all, what it cost.
pub fn summary(outcomes: &[Walked], took: Duration) {
    let bad: Vec<&str> = outcomes
        .iter()
        .filter(|o| !o.is_good())
        .map(|o| o.configuration.name)
        .collect();
    let worlds: u64 = outcomes.iter().map(|o| o.found.unique).sum();
    if bad.is_empty() {
        println!(
            "{} configurations, {} worlds: everything is as it should be.",
            outcomes.len(),
            number(worlds)
        );
    } else {
        println!(
            "{} configurations, {} worlds: WRONG in {}.",
            outcomes.len(),
            number(worlds),
            bad.join(", ")
        );
    }
    let steps: u64 = outcomes.iter().map(|o| o.found.transitions).sum();
    let ours: Duration = outcomes.iter().map(|o| o.found.took).sum();
    println!(
        "{:.0} s; our own search took {:.0} of them, {} steps/s; at most {} MiB of memory were resident.",
        took.as_secs_f64(),
        ours.as_secs_f64(),
        number((steps as f64 / ours.as_secs_f64()) as u64),
        most_resident().map_or("?".into(), |kib| number(kib >> 10)),
    );
}

/// The most memory that this process had resident, in KiB.
fn most_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let most = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    most.trim().strip_suffix(" kB")?.parse().ok()
}

/// Everything, for machines.
///
/// # Errors
/// If the file can't be written.
pub fn json(outcomes: &[Walked], file: &Path) -> Result<()> {
    let property = |o: &Walked, i: usize| {
        let property = &o.configuration.properties[i];
        json!({
            "name": property.id.name(),
            "says": property.says,
            "verdict": o.verdict(i),
            // Of the shortest trace to where it is broken, or happens.
            "steps": o.found.first[i].as_ref().map(Vec::len),
        })
    };
    let configuration = |o: &Walked| {
        let properties = 0..o.configuration.properties.len();
        json!({
            "name": o.configuration.name,
            "exhaustive": o.found.exhaustive,
            "unique_states": o.found.unique,
            "stateright_unique_states": o.second.as_ref().map(|s| s.unique),
            "transitions": o.found.transitions,
            "depth": o.found.depth,
            "seconds": o.found.took.as_secs_f64(),
            "memory_bytes": o.found.memory,
            "bounds": bounds(&o.configuration.setup),
            "good": o.is_good(),
            "complaints": o.complaints(),
            "properties": properties.map(|i| property(o, i)).collect::<Vec<_>>(),
        })
    };
    let configurations: Vec<_> = outcomes.iter().map(configuration).collect();
    let json = json!({ "configurations": configurations });
    let text = serde_json::to_string_pretty(&json).map_err(err)?;
    std::fs::write(file, text + "\n").context(|| file.display())
}

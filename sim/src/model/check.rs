//! `onehold-lab check`: walks the named configurations and says what was found.

use super::configs::{self, Configuration, Set};
use super::memo::Memory;
use super::report;
use super::search::{Found, Limits, search};
use super::stateright::{Proof, Second};
use super::trace::Traced;
use crate::error::{Context, Error, Result, err};
use crate::properties::{Property, When};
use crate::screen::Screen;
use crate::show::story::{self, Broken, Story};
use clap::Args;
use onehold::trace::Reader;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// What to check.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Configurations by name. Without any: the quick set.
    pub names: Vec<String>,
    /// List the configurations.
    #[arg(long)]
    pub list: bool,
    /// The quick set: what every change must pass.
    #[arg(long)]
    pub quick: bool,
    /// All configurations, but those whose walk never came to its end (set `open`).
    #[arg(long)]
    pub full: bool,
    /// Write what was found as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// End a configuration at the first property that is broken; don't compare with the pinned
    /// counts.
    #[arg(long)]
    pub stop_at_first: bool,
    /// Our own breadth-first search only, without stateright's.
    #[arg(long)]
    pub once: bool,
    /// Have stateright search again what has no more than N worlds.
    #[arg(long, default_value_t = 5_000_000, value_name = "N")]
    pub twice: u64,
    /// Pin the counts of worlds in sim/pinned.json, after a change that was meant to change them.
    #[arg(long)]
    pub pin: bool,
    /// Search on N threads; as many as there are cores, if not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Give up beyond N worlds.
    #[arg(long, default_value_t = 2_000_000_000, value_name = "N")]
    pub most: u64,
    /// Directory for pictures and traces of counterexamples.
    #[arg(long, default_value = "target/lab", value_name = "DIR")]
    pub pictures: PathBuf,
    /// Write a trace of everything else that must happen, too: the shortest run to it.
    #[arg(long)]
    pub examples: bool,
}

/// What came of one configuration.
pub struct Walked {
    /// Which.
    pub configuration: Configuration,
    /// What our own search found.
    pub found: Found,
    /// What stateright found, if it was asked.
    pub second: Option<Second>,
    /// How many worlds there should be, if that is pinned.
    pub pinned: Option<u64>,
    /// What was asked for.
    pub options: Options,
    /// The first always-property that was broken, as a story.
    pub story: Option<Story>,
    /// Traces, by their files' names; or why there is none.
    pub traces: Vec<(String, Result<Vec<u8>>)>,
}

/// What a property came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds everywhere, and everything was walked.
    Holds,
    /// It holds as far as was walked, which was not everything.
    HoldsSoFar,
    /// It is broken.
    Broken,
    /// It is broken, as it must be here.
    BrokenAsExpected,
    /// It must happen, and does.
    Happens,
    /// It must happen, and never does.
    NeverHappens,
}

impl Verdict {
    /// As it should be.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Holds | Self::BrokenAsExpected | Self::Happens)
    }
}

impl Walked {
    /// What a property came to.
    #[must_use]
    pub fn verdict(&self, property: usize) -> Verdict {
        let of = &self.configuration.properties[property];
        let expected = self
            .configuration
            .expected
            .is_some_and(|(id, _)| id == of.id);
        let seen = self.found.first[property].is_some();
        match (of.when.is_always(), seen) {
            (true, true) if expected => Verdict::BrokenAsExpected,
            (true, true) => Verdict::Broken,
            (true, false) if expected => Verdict::NeverHappens,
            (true, false) if self.found.exhaustive => Verdict::Holds,
            (true, false) => Verdict::HoldsSoFar,
            (false, true) => Verdict::Happens,
            (false, false) => Verdict::NeverHappens,
        }
    }

    /// What is wrong besides properties.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let unique = self.found.unique;
        if let Some(second) = &self.second {
            if second.unique != unique {
                complaints.push(format!(
                    "the two searches disagree: {unique} worlds and {}",
                    second.unique
                ));
            }
            for (i, property) in self.configuration.properties.iter().enumerate() {
                let broken = second.broken.contains(&property.id.name());
                if property.when == When::Always && broken != self.found.first[i].is_some() {
                    complaints.push(format!("the two searches disagree on {}", property.id));
                }
            }
        }
        let failed = self.traces.iter();
        complaints
            .extend(failed.filter_map(|(_, trace)| trace.as_ref().err().map(Error::to_string)));
        if self.found.overflow {
            complaints.push("a link had no room for an advert that may not be lost".into());
        }
        if self.options.stop_at_first {
            return complaints;
        }
        if !self.found.exhaustive {
            complaints.push(format!(
                "it was stopped at {unique} worlds: nothing is proved"
            ));
        }
        let name = self.configuration.name;
        match self.pinned {
            _ if self.options.pin => {}
            Some(pinned) if pinned != unique => complaints.push(format!(
                "there are {unique} worlds, and sim/pinned.json says {pinned}: the behaviour has \
                 changed since that was written; if it was meant to, run `cargo lab check --pin {name}`"
            )),
            None if self.configuration.set != Set::Open => complaints.push(format!(
                "sim/pinned.json does not say how many worlds there should be; run `cargo lab check --pin {name}`"
            )),
            _ => {}
        }
        complaints
    }

    /// Everything is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        (0..self.configuration.properties.len()).all(|i| self.verdict(i).is_good())
            && self.complaints().is_empty()
    }
}

/// Checks what was asked for. `Ok(true)` if everything is as it should be.
///
/// # Errors
/// What was asked for that does not exist, or can't be written.
pub fn run(options: &Options) -> Result<bool> {
    let all = configs::all();
    if options.list {
        report::list(&all);
        return Ok(true);
    }
    for name in &options.names {
        if !all.iter().any(|c| c.name == name) {
            return Err(err(format!(
                "there is no configuration `{name}`; `cargo lab check --list` lists them"
            )));
        }
    }
    let quick = !options.full && options.names.is_empty();
    let chosen = all.into_iter().filter(|c| match c.set {
        _ if options.names.iter().any(|n| n == c.name) => true,
        Set::Quick => options.full || quick,
        Set::Full => options.full,
        Set::Open => false,
    });
    let mut pinned = if options.stop_at_first {
        BTreeMap::new()
    } else {
        configs::pinned()?
    };
    let since = Instant::now();
    let mut outcomes = Vec::new();
    for configuration in chosen {
        let pin = pinned.get(configuration.name).copied();
        let outcome = check(configuration, options, pin);
        report::outcome(&outcome, &options.pictures)?;
        if outcome.is_good() {
            pinned.insert(outcome.configuration.name.into(), outcome.found.unique);
        }
        outcomes.push(outcome);
    }
    if options.pin && !options.stop_at_first {
        let text = serde_json::to_string_pretty(&pinned).map_err(err)?;
        std::fs::write(configs::PINNED, text + "\n").context(|| configs::PINNED)?;
    }
    if let Some(file) = &options.json {
        report::json(&outcomes, file)?;
    }
    report::summary(&outcomes, since.elapsed());
    Ok(outcomes.iter().all(Walked::is_good))
}

fn check(configuration: Configuration, options: &Options, pinned: Option<u64>) -> Walked {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = options.threads.unwrap_or_else(cores);
    let limits = Limits {
        states: options.most,
        stop_at_first: options.stop_at_first,
        threads,
    };
    let mut screen = Screen::new();
    let since = Instant::now();
    let memory = Memory::new(configuration.setup.clone());
    let found = search(&memory, &configuration.properties, limits, |progress| {
        let text = report::progress(configuration.name, pinned, progress, since.elapsed());
        screen.passing(&text);
    });
    drop(memory);
    let both = !options.once && !options.stop_at_first && found.unique <= options.twice;
    let second = both.then(|| {
        let name = configuration.name;
        screen.passing(&format!("{name}: stateright's search goes on"));
        Proof::new(configuration.setup.clone(), &configuration.properties)
            .search(threads, found.unique)
    });
    screen.clear();
    let mut outcome = Walked {
        configuration,
        found,
        second,
        pinned,
        options: options.clone(),
        story: None,
        traces: Vec::new(),
    };
    outcome.traces = traces(&outcome);
    outcome.story = counterexample(&outcome);
    outcome
}

/// A trace of the shortest run to each property that is broken, and on request to whatever else
/// must happen: each with a name for its file.
fn traces(outcome: &Walked) -> Vec<(String, Result<Vec<u8>>)> {
    let configuration = &outcome.configuration;
    let trace = |(i, property): (usize, &Property)| {
        let broken = property.when.is_always();
        let actions = outcome.found.first[i].as_ref();
        let actions = actions.filter(|_| broken || outcome.options.examples)?;
        let run = || {
            let beginning = outcome.found.beginning[i];
            let mut run = Traced::new(&configuration.setup, beginning, Vec::new())?;
            actions.iter().try_for_each(|action| run.act(*action))?;
            run.end(&match broken {
                true => format!("{} is broken: {}", property.id, property.says),
                false => property.says.to_owned(),
            })
        };
        Some((file_name(configuration, property), run()))
    };
    let properties = configuration.properties.iter().enumerate();
    properties.filter_map(trace).collect()
}

/// The first property that is broken, as a story, from its trace.
fn counterexample(outcome: &Walked) -> Option<Story> {
    let configuration = &outcome.configuration;
    let properties = configuration.properties.iter().zip(&outcome.found.first);
    let broken = |(p, first): &(&Property, &Option<_>)| p.when.is_always() && first.is_some();
    let (property, _) = properties.clone().find(broken)?;
    let name = file_name(configuration, property);
    let (_, trace) = outcome.traces.iter().find(|(of, _)| *of == name)?;
    let trace = Reader::new(&name[..], trace.as_ref().ok()?.as_slice()).ok()?;
    let expected = configuration.expected.filter(|(id, _)| *id == property.id);
    let setup = &configuration.setup;
    let story = story::tell(trace, setup.tick().times(setup.warm_up)).ok()?;
    Some(Story {
        title: format!("{}: {}", configuration.name, configuration.says),
        broken: Some(Broken {
            property: property.id.to_string(),
            says: property.says.into(),
            expected: expected.map(|(_, why)| why.into()),
        }),
        ..story
    })
}

/// Where the trace of a property goes.
fn file_name(configuration: &Configuration, property: &Property) -> String {
    let name = format!("{}-{}.jsonl", configuration.name, property.id);
    name.replace(' ', "-")
}

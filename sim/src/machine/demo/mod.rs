//! `onehold-lab demo`: the main job on this machine's kernel, measured from the network.

mod beside;
mod members;
mod record;
mod reload;
mod report;
mod story;

pub use beside::Beside;
pub use report::{Outcome, Summary, summarize};
pub use story::{Act, Await, Event, File, Scene, for_others, scenes, start};

use crate::error::{Context, Result, err};
use crate::fault::Fault;
use crate::machine::netns::privilege::Privilege;
use crate::machine::netns::{
    CANDIDATES, Cluster, FLOATING, Fetcher, Observer, PATIENCE, Setup, Web,
};
use crate::screen::Screen;
pub(super) use beside::Keepalived;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use onehold_core::config::Arbitration;
use record::Record;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the client opens a connection.
const PACE: Duration = Duration::from_millis(2);
/// In this time a check has looked twice, and has a result.
const LOOKED: Duration = Duration::from_millis(1500);
/// How long lb0 must be ready again. It grows with each takeover that nobody planned, 64 times at
/// most, and most takeovers here are such.
const FAILBACK: Duration = Duration::from_millis(20);
/// How often the observer asks who has the address.
const PERIOD: Duration = Duration::from_millis(1);
/// How long an awaited holder must stay.
const STAYS: Duration = Duration::from_millis(800);
/// How long an awaited holder may take to come.
const BOUND: Duration = Duration::from_secs(15);
/// Events come at a random moment within this time, or all would come at the same point between two
/// adverts, for what is awaited before them comes with an advert.
const SPREAD: Duration = Duration::from_millis(200);
/// The tutorial's checks: the server's end is noticed at once, a page that is wrong after two looks.
const CHECKS: &str = "[groups.web.checks.server]\nprocess = \"/run/onehold/web.pid\"\n\
                      [groups.web.checks.page]\nhttp = \"http://127.0.0.1/\"\n";
/// The service is back if an answer is no older than this.
const FRESH: Duration = Duration::from_millis(100);

/// A cluster as the command line describes it.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterOptions {
    /// What it takes to hold.
    #[arg(long, value_parser = arbitration(), default_value = "majority")]
    pub arbitration: Arbitration,
    /// How often members send, such as 100ms.
    #[arg(long, value_name = "TIME")]
    pub interval: Option<String>,
    /// For how long a holder may hold unheard, such as 450ms.
    #[arg(long, value_name = "TIME")]
    pub lease: Option<String>,
    /// Timing by name: `default` (100 ms, 450 ms) or `fast` (20 ms, 60 ms; 90 ms under
    /// `survivor`; realtime priority).
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The guard: `bpf`, `nft` or `none`; the daemon chooses if it is not given.
    #[arg(long, value_name = "NAME")]
    pub guard: Option<String>,
    /// The onehold binary; else the one beside this, built if need be.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Keep the daemons' logs in this directory, and a trace of each incarnation, for `replay` and
    /// `report`; the demo adds what it did and saw.
    #[arg(long, value_name = "DIR")]
    pub keep_logs: Option<PathBuf>,
}

impl ClusterOptions {
    /// The cluster that is described.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let setup = Setup::from(self.arbitration)
            .timing(&self.timing())
            .failback_delay(FAILBACK);
        let setup = match &self.guard {
            Some(guard) => setup.guard(guard),
            None => setup,
        };
        match &self.keep_logs {
            Some(logs) => setup.logs(logs),
            None => setup,
        }
    }

    /// The lines of `[timing]`.
    pub(super) fn timing(&self) -> String {
        let timing = [
            ("profile", &self.profile),
            ("interval", &self.interval),
            ("lease", &self.lease),
        ];
        let lines = timing.into_iter();
        let lines = lines.filter_map(|(key, v)| Some(format!("{key} = \"{}\"\n", v.as_ref()?)));
        lines.collect()
    }
}

/// The words of the configuration file.
fn arbitration() -> impl TypedValueParser<Value = Arbitration> {
    let all = [Arbitration::Majority, Arbitration::Survivor];
    PossibleValuesParser::new(all.map(Arbitration::name)).map(move |word| {
        let mut all = all.into_iter();
        all.find(|one| one.name() == word)
            .unwrap_or(Arbitration::Majority)
    })
}

/// What is played.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterOptions,
    /// The web server on lb0 and lb1.
    #[arg(long, value_enum, default_value_t)]
    pub web: Web,
    /// Only the scenes with these events, such as stop,kill,power-off.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Let this play, too, what it can: the events that are no command of Onehold's.
    #[arg(long, value_name = "NAME")]
    pub beside: Option<Beside>,
    /// Play the scenes this many times.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub repeat: usize,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the run as a page for a browser; `-`: none. [default: target/lab/demo.html, and none
    /// with `--repeat`]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

impl Options {
    /// Where the page goes, if there is one.
    fn page(&self) -> Option<&Path> {
        match &self.report {
            Some(none) if none.as_os_str() == "-" => None,
            Some(file) => Some(file),
            None => (self.repeat == 1).then(|| Path::new("target/lab/demo.html")),
        }
    }
}

/// Plays the story. Returns whether all went well: never did two hold (in `majority`), and every
/// awaited holder came.
///
/// # Errors
/// If the lab itself fails, or `stop` was set.
pub fn play(
    options: &Options,
    binary: PathBuf,
    privilege: Privilege,
    stop: Arc<AtomicBool>,
) -> Result<bool> {
    let alone = options.cluster.arbitration == Arbitration::Survivor;
    let scenes = story::scenes(&options.only, options.beside.is_some(), alone)?;
    let beside = match options.beside {
        Some(Beside::Keepalived) => Some(Keepalived::find(privilege, options.web)?),
        None => None,
    };
    let mut screen = Screen::new();
    let mut setup = options.cluster.setup().web(options.web).checks(CHECKS);
    let keep = options.cluster.keep_logs.as_deref();
    let record = match (options.page(), keep) {
        (None, None) => None,
        (page, keep) => Some(Record::new(page, keep)?),
    };
    if let Some(record) = &record {
        setup = setup.logs(record.directory());
    }
    let mut stage = Stage::new("onehold", Cluster::new(setup, &binary)?, &stop)?;
    stage.record = record;
    introduce(options, privilege, &mut screen);
    sleep(LOOKED); // or the one that is healthy first would hold first
    let mut members = stage.cluster.members().to_vec();
    members[1..].reverse(); // lb0 first, lb1 last: of equals, the first one up holds first
    let members = members.into_iter();
    let start = members.map(|m| Act::Fault(Fault::Start(m.to_owned())));
    let first = stage.play(&story::start(start.collect()), 0, &mut screen)?;
    let facts = stage.facts();
    if first {
        stage.play_all(&scenes, options.repeat, &mut screen)?;
    }
    let (mut outcomes, record) = stage.end();
    let (mut good, said) = verdict(&outcomes, options, &facts);
    let other = beside.as_ref().map(|it| it.version.clone());
    if let Some(keepalived) = beside {
        let scenes: Vec<Scene> = scenes.iter().map(for_others).collect();
        outcomes.extend(keepalived.play(options, &scenes, &stop, &mut screen)?);
    }
    let summaries = summarize(&outcomes);
    if options.repeat > 1 || other.is_some() {
        screen.table(&summaries);
    }
    good &= outcomes.iter().all(|o| o.failure.is_none());
    screen.line("");
    screen.line(&said);
    if let Some(path) = &options.json {
        let mut all = facts;
        all["binary"] = json!(binary);
        all["binary_bytes"] = json!(std::fs::metadata(&binary).map(|m| m.len()).ok());
        all["beside"] = json!(other);
        all["arbitration"] = json!(options.cluster.arbitration);
        all["privilege"] = json!(format!("{privilege:?}"));
        all["web"] = json!(options.web);
        all["pace_ms"] = json!(PACE.as_secs_f64() * 1e3);
        all["good"] = json!(good);
        all["events"] = json!(outcomes);
        all["summary"] = json!(summaries);
        let text = serde_json::to_string_pretty(&all).context(|| "writing JSON")?;
        std::fs::write(path, text + "\n").context(|| path.display())?;
    }
    if let Some(record) = record {
        screen.passing("replaying what the daemons traced");
        let (as_traced, said) = record.finish()?;
        screen.line(&said);
        good &= as_traced;
    }
    Ok(good)
}

/// Prints what is about to be seen.
fn introduce(options: &Options, privilege: Privilege, screen: &mut Screen) {
    screen.line(&format!(
        "One floating address, {FLOATING}, on exactly one of lb0 (preferred) and lb1."
    ));
    screen.line(&format!(
        "{} · a new connection every {PACE:?} · ARP asked every {PERIOD:?} · {}",
        match options.cluster.arbitration {
            Arbitration::Majority => "majority of three with a witness",
            Arbitration::Survivor => "two members, the survivor goes on",
        },
        match privilege {
            Privilege::Root => "as root",
            Privilege::UserNamespace => "as an ordinary user, in a user namespace",
        }
    ));
    screen.line("");
    screen.head();
}

/// The cluster and those who watch it.
struct Stage {
    // In this order, so that probes end before the hosts that they are in.
    observer: Observer,
    fetcher: Fetcher,
    cluster: Cluster,
    by: &'static str,
    stop: Arc<AtomicBool>,
    /// Until when two holders have been looked for.
    watched: Instant,
    outcomes: Vec<Outcome>,
    record: Option<Record>,
}

impl Stage {
    /// A cluster on which nothing has been started yet.
    fn new(by: &'static str, cluster: Cluster, stop: &Arc<AtomicBool>) -> Result<Self> {
        let web = SocketAddr::from((FLOATING, 80));
        Ok(Self {
            by,
            observer: cluster.observe(FLOATING, PERIOD)?,
            fetcher: Fetcher::start(cluster.host("client"), web, PACE, &CANDIDATES)?,
            cluster,
            stop: Arc::clone(stop),
            watched: Instant::now(),
            outcomes: Vec::new(),
            record: None,
        })
    }

    /// Plays scenes again and again, until something that was awaited does not come.
    fn play_all(&mut self, scenes: &[Scene], times: usize, screen: &mut Screen) -> Result<()> {
        for round in 0..times {
            for scene in scenes {
                let mut good = true;
                for event in scene {
                    good = self.play(event, round, screen)?;
                }
                if !good {
                    return Ok(()); // the next scene would not begin where it should
                }
            }
        }
        Ok(())
    }

    /// Ends all of it.
    fn end(mut self) -> (Vec<Outcome>, Option<Record>) {
        if let Some(record) = &mut self.record {
            record.seen(self.observer.end(), self.fetcher.end());
        }
        (self.outcomes, self.record)
    }

    /// Plays one event and notes what came of it. Returns whether what was awaited came.
    fn play(&mut self, event: &Event, round: usize, screen: &mut Screen) -> Result<bool> {
        sleep(SPREAD.mul_f64(chance()));
        let holder_before = self.holder();
        let from = Instant::now();
        let acted = event.acts.iter().try_for_each(|act| match act {
            Act::Fault(fault) => self.cluster.inflict(fault),
            Act::KillWeb(on) => self.cluster.kill_web(on),
            Act::Upgrade(on) => self.cluster.upgrade(on),
            Act::Reload(file) => self.reload(*file),
            Act::Witness(new) => self.witness(*new),
            Act::RotateKey(former, new) => self.rotate_key(former, new),
            Act::BlockUdp(block) => self.cluster.block_udp(*block),
            Act::CutAdverts(on) => self.cluster.lan().cut_adverts(on),
            Act::Carrier { of, is } => self.cluster.lan().carrier(of, *is),
        });
        if let (Some(record), Ok(())) = (&mut self.record, &acted) {
            record.event(event, from, Instant::now());
        }
        let failure = match acted {
            Err(e) => Some(e.to_string()),
            Ok(()) => self.watch(event, from, screen)?,
        };
        let to = Instant::now();
        sleep(PATIENCE + PACE); // until the requests that are open now are over

        let seen = self.observer.sightings(from, to);
        // Two holders are looked for between the events, too.
        let dual = self.observer.sightings(self.watched, to).dual;
        self.watched = to;
        let never = matches!(event.then, Await::NeverTwo(_) | Await::Undisturbed(_));
        let two = never && !dual.is_zero();
        let failure = failure.or_else(|| two.then(|| format!("two held for {dual:?}")));
        let service = self.fetcher.service(from, to);
        let noticed =
            matches!(event.then, Await::Undisturbed(_)) && (seen.changes > 0 || service.failed > 0);
        let failure = failure.or_else(|| {
            let (moves, failed) = (seen.changes, service.failed);
            noticed
                .then(|| format!("the address moved {moves} times, and {failed} requests failed"))
        });
        let millis = |d: Duration| (d.as_secs_f64() * 1e5).round() / 1e2;
        let outcome = Outcome {
            by: self.by,
            name: event.name,
            title: event.title,
            round,
            holder_before,
            holder_after: self.holder(),
            outage_ms: millis(service.outage),
            failed_requests: service.failed,
            requests: service.requests,
            dual_ms: millis(dual),
            moves: seen.changes,
            watched_ms: millis(to - from),
            failure,
        };
        screen.outcome(&outcome);
        let good = outcome.failure.is_none();
        self.outcomes.push(outcome);
        let (rounds, fetches) = (self.observer.forget(from), self.fetcher.forget(from));
        if let Some(record) = &mut self.record {
            record.seen(rounds, fetches);
        }
        Ok(good)
    }

    /// Watches until what is awaited has come. Returns what failed, if it has not.
    fn watch(
        &mut self,
        event: &Event,
        from: Instant,
        screen: &mut Screen,
    ) -> Result<Option<String>> {
        let mut since = None;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(err("interrupted"));
            }
            if let Some(died) = self.cluster.died()? {
                return Ok(Some(died));
            }
            let now = Instant::now();
            let holder = self.holder();
            screen.watching(event, holder.as_deref().unwrap_or("nobody"), now - from);
            let answered = self.fetcher.last_answer();
            let served = answered.is_some_and(|at| at > from && now - at < FRESH);
            let (come, enough) = match event.then {
                Await::Holder(name) => (holder.as_deref() == Some(name), STAYS),
                Await::Undisturbed(n) => (holder.as_deref() == Some("lb0"), Duration::from_secs(n)),
                Await::Seconds(n) | Await::NeverTwo(n) => {
                    (holder.is_some(), STAYS.max(Duration::from_secs(n)))
                }
            };
            let begun = match event.then {
                Await::Holder(_) | Await::Undisturbed(_) => *since.get_or_insert(now),
                Await::Seconds(_) | Await::NeverTwo(_) => from,
            };
            if !(come && served) {
                since = None;
            }
            if come && served && now - begun >= enough {
                return Ok(None);
            }
            if now - from > BOUND + enough {
                let held = holder.as_deref().unwrap_or("nobody");
                let failure = match event.then {
                    Await::Holder(name) if held == name => "the client gets no answer".into(),
                    Await::Holder(name) => format!("{name} should hold, and {held} does"),
                    Await::Undisturbed(_) => {
                        format!("lb0 should hold and answer all the time; {held} holds")
                    }
                    Await::Seconds(_) | Await::NeverTwo(_) => {
                        format!("{held} holds, and the client gets no answer")
                    }
                };
                return Ok(Some(format!("after {BOUND:?}: {failure}")));
            }
            sleep(Duration::from_millis(25));
        }
    }

    /// Who holds, as seen from the network.
    fn holder(&self) -> Option<String> {
        let holders = self.observer.holders();
        (!holders.is_empty()).then(|| holders.join("+"))
    }

    /// What the daemon itself says of its guard and timing. Only reported, never relied on.
    fn facts(&self) -> Value {
        let cluster = self.cluster.status("lb0").unwrap_or_default();
        json!({
            "guard": cluster["guard"],
            "timing": cluster["timing"],
            "version": cluster["version"],
        })
    }
}

/// A random number from 0 to 1. The standard library's only source of chance is how it hashes.
fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

/// Whether all went well, and how it ended.
fn verdict(outcomes: &[Outcome], options: &Options, facts: &Value) -> (bool, String) {
    let dual: f64 = outcomes.iter().map(|o| o.dual_ms).sum();
    let failures = outcomes.iter().filter(|o| o.failure.is_some()).count();
    let requests: usize = outcomes.iter().map(|o| o.requests).sum();
    let guard = facts["guard"].as_str().unwrap_or("unknown");
    let may_be_two = options.cluster.arbitration == Arbitration::Survivor;
    let said = format!(
        "{} events, {requests} requests, guard {guard}: {}; {}.",
        outcomes.len(),
        match failures {
            0 => "the address was served again after every one".into(),
            n => format!("{n} NOT as awaited"),
        },
        match (dual, may_be_two) {
            (0.0, _) => "never did two hold it".into(),
            (dual, false) => format!("two held it for {dual:.0} ms, A BUG"),
            (dual, true) => format!(
                "two held it for {dual:.0} ms, as two members must when cut from each other \
                 (a witness prevents it)"
            ),
        }
    );
    (failures == 0 && (dual == 0.0 || may_be_two), said)
}

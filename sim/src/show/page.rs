//! `onehold-lab report`: makes traces one page that a browser shows without a network.
//!
//! The traces are replayed, and what each member believed after each turn is asked of its node. The
//! page only draws; it has no rule.

mod clocks;
mod data;
mod lanes;

use super::words::{self, fault_text};
use crate::error::{Result, err};
use crate::fault::{self, Fault};
use crate::replay::{Replay, Replayed};
use clap::Args;
use clocks::{Aligned, Clock, Match, align};
use data::{AdvertView, Belief, Data, EventView, GroupView, Lane, MemberView, Peer, Unique, View};
use lanes::Turning;
use onehold::trace::{Line, Reader};
use onehold_core::advert::{Incarnation, MemberId};
use onehold_core::config::{Arbitration, Config, Spec};
use onehold_core::effect::Effect;
use onehold_core::observe::Snapshot;
use onehold_core::time::{LocalTime, Span};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::Deserialize as _;
use std::collections::BTreeMap;
use std::fs;
use std::hash::BuildHasher as _;
use std::io::BufRead;
use std::path::PathBuf;

/// How many of the page's units a tick is, where time goes on in ticks. Else a unit is a
/// nanosecond.
const TICK: u64 = 1_000_000;

/// In the page's units: 36 years. What hostile traces say beyond that is cut off, so that no sum
/// overflows.
const FOREVER: i64 = 1 << 60;

const PAGE: &str = include_str!("page/page.html");
/// What goes where in [`PAGE`].
const PARTS: [(&str, &str); 4] = [
    ("/*style*/", include_str!("page/viewer.css")),
    ("/*licence*/", include_str!("page/d3.LICENSE")),
    ("/*library*/", include_str!("page/d3.min.js")),
    ("/*script*/", include_str!("page/viewer.js")),
];

/// What to make a page of.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Traces of one run: of any of its members, in any order
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// The page; what is there is replaced
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

/// Writes the page.
///
/// # Errors
/// A file that can't be read as a trace, with the line and the remedy; a page that can't be
/// written.
pub fn run(options: &Options) -> Result<bool> {
    let mut viewer = Viewer::default();
    for path in &options.traces {
        let trace = Reader::open(path).map_err(err)?;
        viewer.read(trace)?;
    }
    let to = options.output.display();
    fs::write(&options.output, viewer.page()?).map_err(|e| {
        format!("{to}: {e}; name a file in a directory that you may write to: --output FILE")
    })?;
    println!("{to}: open it in a browser; it needs no network");
    Ok(true)
}

/// Traces on their way to the page.
#[derive(Default)]
pub struct Viewer {
    replay: Replay,
    files: Vec<String>,
    /// Of all traces, as written and as one member sees it.
    cluster: Option<(Spec, Config)>,
    units: Units,
    /// All clocks are one, and showed this at the true time 0.
    zero: Option<i64>,
    clocks: Vec<Clock>,
    /// By member and incarnation.
    clock_of: BTreeMap<(usize, Incarnation), usize>,
    pending: Vec<PendingEvent>,
    faults: Vec<(data::FaultView, Option<Fault>)>,
    requests: Vec<(usize, i64, Option<usize>)>,
    texts: Unique<String>,
    peers: Unique<Peer>,
    views: Unique<View>,
    /// All adverts; `heard` is found at the end, by what they say.
    adverts: Vec<AdvertView>,
    by_content: FxHashMap<u64, usize>,
    heard: Vec<(u64, usize)>,
}

/// What the page counts time in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Units {
    /// What a tick is, where time goes on in ticks.
    tick: Option<Span>,
}

impl Units {
    fn span(self, span: Span) -> i64 {
        let nanos = u128::from(span.as_nanos());
        let units = match self.tick.map_or(0, Span::as_nanos) {
            0 => nanos,
            tick => nanos * u128::from(TICK) / u128::from(tick),
        };
        i64::try_from(units).map_or(FOREVER, |units| units.min(FOREVER))
    }

    fn instant(self, at: LocalTime) -> i64 {
        self.span(at.since(LocalTime::from_nanos(0)))
    }
}

/// An event, as far as it is known while traces are read.
struct PendingEvent {
    /// Its time is still the clock's, if there is no true one.
    event: EventView,
    turning: Turning,
    /// Its clock, the instant by it, and whether there is a true time, too.
    own: Option<(usize, i64, bool)>,
}

impl Viewer {
    /// Replays a trace.
    ///
    /// # Errors
    /// What is wrong with the file, with the line and the remedy.
    pub fn read<R: BufRead>(&mut self, trace: Reader<R>) -> Result<()> {
        let name = trace.name().to_owned();
        let spec = &trace.header().spec;
        let config = match &self.cluster {
            Some((of_all, config)) if of_all == spec => config.clone(),
            Some(_) => {
                let other = self.files.first().map_or("", String::as_str);
                return Err(err(format!(
                    "{name}:1: its cluster has another configuration than {other}; \
                     make a page of each"
                )));
            }
            None => {
                let seat = spec.members.first().map_or("", |m| &m.name);
                let config = spec.prove(seat);
                config.map_err(|e| format!("{name}:1: the configuration in it can't be: {e}"))?
            }
        };
        let units = Units {
            tick: trace.header().tick,
        };
        if self.cluster.is_some() && self.units != units {
            let other = self.files.first().map_or("", String::as_str);
            return Err(err(format!(
                "{name}:1: its ticks are not those of {other}; make a page of each"
            )));
        }
        self.units = units;
        let zero = trace.header().zero.map(|at| units.instant(at));
        self.zero = self.zero.or(zero);
        self.cluster = Some((spec.clone(), config.clone()));
        let file = self.files.len();
        self.files.push(name);
        let mut replay = std::mem::take(&mut self.replay);
        let mut before = BTreeMap::new();
        let read = replay.read_with(trace, |seen| self.see(&config, file, &mut before, seen));
        self.replay = replay;
        read
    }

    fn see(
        &mut self,
        config: &Config,
        file: usize,
        before: &mut BTreeMap<usize, Snapshot>,
        seen: &Replayed<'_>,
    ) {
        let line = seen.line;
        let member = |name: &str| config.members().iter().position(|m| m.name == name);
        let group = |name: &str| config.groups().iter().position(|g| g.name == name);
        let (whose, at, time, turning) = match line {
            Line::Start {
                member, at, time, ..
            } => (Some(member), Some(*at), *time, Turning::Start),
            Line::State { member, at, .. } => (Some(member), Some(*at), None, Turning::Other),
            Line::Received {
                member, at, time, ..
            }
            | Line::Turn {
                member, at, time, ..
            }
            | Line::Change {
                member, at, time, ..
            } => (Some(member), Some(*at), *time, Turning::Other),
            Line::Kernel {
                time,
                member,
                group: name,
                effective,
            } => {
                let effective = *effective;
                let turning = group(name).map(|group| Turning::Kernel { group, effective });
                (
                    Some(member),
                    None,
                    Some(*time),
                    turning.unwrap_or(Turning::Other),
                )
            }
            Line::Fault { time, .. } => (None, None, Some(*time), Turning::Other),
            Line::Died { time, member } => (Some(member), None, Some(*time), Turning::Died),
            Line::Paused { time, member } => (Some(member), None, Some(*time), Turning::Paused),
            Line::Resumed { time, member } => (Some(member), None, Some(*time), Turning::Resumed),
            Line::Request {
                time,
                group: name,
                answered_by,
            } => {
                let by = answered_by.as_deref().and_then(member);
                let request = |group| (group, self.units.span(*time), by);
                return self.requests.extend(group(name).map(request));
            }
        };
        if let Line::Fault { time, fault } = line {
            let known = Fault::deserialize(fault).ok();
            let members = known.as_ref().map_or_else(Vec::new, |f| f.members(config));
            let shown = data::FaultView {
                at: self.units.span(*time),
                until: None,
                text: fault_text(fault),
                members: members.into_iter().map(|m| usize::from(m.0)).collect(),
            };
            self.faults.push((shown, known));
        }
        let whose = whose.and_then(|name| member(name));
        let mut turn = PendingEvent {
            event: EventView {
                t: time.map_or(0, |time| self.units.span(time)),
                member: whose,
                what: self.texts.place(words::what(config, line)),
                did: Vec::new(),
                died: turning == Turning::Died,
                mark: words::is_mark(line),
                belief: None,
                file,
                line: seen.number,
            },
            turning,
            own: None,
        };
        if let (Some(member), Some(at), Some((seat, node))) = (whose, at, seen.node) {
            let after = node.observe(seat, at);
            let clock = self.clock(member, after.incarnation, at, time);
            turn.own = Some((clock, self.units.instant(at), time.is_some()));
            turn.event.did = self.came(config, at, line, before.get(&member), &after);
            turn.event.belief = Some(self.belief(config, clock, at, &after));
            before.insert(member, after);
        } else if time.is_none() {
            return; // the replay says what is wrong with it
        }
        self.pending.push(turn);
    }

    /// The clock of an incarnation, which has come to an instant.
    fn clock(
        &mut self,
        member: usize,
        life: Incarnation,
        at: LocalTime,
        time: Option<Span>,
    ) -> usize {
        let at = self.units.instant(at);
        let place = *self.clock_of.entry((member, life)).or_insert_with(|| {
            self.clocks.push(Clock::new(member, at));
            self.clocks.len() - 1
        });
        if let Some(time) = time {
            self.clocks[place].anchor(at, self.units.span(time));
        }
        place
    }

    /// What came of a turn, in words; its adverts are kept, to be matched by what they say.
    fn came(
        &mut self,
        config: &Config,
        at: LocalTime,
        line: &Line,
        before: Option<&Snapshot>,
        after: &Snapshot,
    ) -> Vec<usize> {
        let event = self.pending.len();
        let (input, effects) = match line {
            Line::Received {
                advert, effects, ..
            } => {
                let content = FxBuildHasher.hash_one(advert);
                self.heard.push((content, event));
                (None, effects)
            }
            Line::Turn { input, effects, .. } => (Some(input), effects),
            _ => return Vec::new(),
        };
        for effect in effects {
            if let Effect::Send { to, advert } = effect {
                self.by_content
                    .insert(FxBuildHasher.hash_one(advert), self.adverts.len());
                self.adverts.push(AdvertView {
                    sent: event,
                    heard: None,
                    to: usize::from(to.0),
                    says: self.texts.place(words::advert(config, advert)),
                });
            }
        }
        let came = words::came(config, at, input, before, after, effects);
        came.into_iter()
            .map(|text| self.texts.place(text))
            .collect()
    }

    /// What a member believes. Instants are its clock's.
    fn belief(&mut self, config: &Config, clock: usize, at: LocalTime, seen: &Snapshot) -> Belief {
        let units = self.units;
        let ago = |span: Span| units.instant(at) - units.span(span);
        let left = |span: Span| units.instant(at) + units.span(span);
        let id = |member: MemberId| usize::from(member.0);
        let mut peers = Vec::new();
        for peer in &seen.peers {
            let says = peer.says.iter();
            let says = says.map(|said| self.texts.place(words::statement(config, said)));
            let peer = Peer {
                clock,
                member: id(peer.member),
                heard: peer.heard_ago.map(ago),
                echo: peer.echo_ago.map(ago),
                two_way: peer.two_way,
                quarantined: peer.quarantined,
                says: says.collect(),
            };
            peers.push(self.peers.place(peer));
        }
        let mut views = Vec::new();
        for group in &seen.groups {
            let view = View {
                clock,
                role: group.role,
                holder: group.holder.map(id),
                lease: group.lease_left.map(left),
                vote: group.vote.map(|ballot| id(ballot.member)),
                vote_until: group.vote_left.map(left),
                votes: group.votes.iter().copied().map(id).collect(),
                is: self.texts.place(words::flags(group)),
            };
            views.push(self.views.place(view));
        }
        Belief {
            quarantine: seen.quarantine_left.map(left),
            peers,
            views,
        }
    }

    /// The page.
    ///
    /// # Errors
    /// If there is nothing to show.
    pub fn page(self) -> Result<String> {
        let json = serde_json::to_string(&self.data()?).map_err(err)?;
        let mut page = PAGE.to_owned();
        for (place, part) in PARTS {
            page = page.replace(place, part);
        }
        // Whatever a name or a text says, it neither ends the script nor begins another.
        Ok(page.replace("/*data*/", &json.replace('<', "\\u003c")))
    }

    fn data(mut self) -> Result<Data> {
        let Some((spec, config)) = self.cluster.take() else {
            return Err(err("there is no trace to make a page of; name one"));
        };
        let mut adverts = self.match_adverts();
        let mut clocks = self.bring_together(&adverts, &config);
        let order = self.sort();
        if self.units.tick.is_some() {
            self.spread();
            clocks =
                "Time goes on in ticks, from the trace; within a tick, events are drawn in their order."
                    .into();
        }
        for advert in &mut adverts {
            advert.sent = order[advert.sent];
            advert.heard = advert.heard.map(|event| order[event]);
        }
        adverts.sort_by_key(|advert| advert.sent);
        let (turnings, events): (Vec<Turning>, Vec<EventView>) = self
            .pending
            .into_iter()
            .map(|t| (t.turning, t.event))
            .unzip();
        let requests = self.requests.iter().map(|(_, time, _)| *time);
        let end = events.iter().map(|e| e.t).chain(requests).max();
        let members = config.members().iter().map(|m| MemberView {
            name: m.name.clone(),
            ..MemberView::default()
        });
        let group = |(n, of): (usize, &onehold_core::config::Group)| GroupView {
            name: of.name.clone(),
            lanes: config.members().iter().map(|_| Lane::default()).collect(),
            requests: (self.requests.iter())
                .filter(|(group, ..)| *group == n)
                .map(|(_, time, by)| (*time, *by))
                .collect(),
            ..GroupView::default()
        };
        let (good, replay) = self.replay.verdict();
        let last = self.units.tick.map_or(1, |_| TICK as i64); // a tick lasts to its end
        let end = end.map_or(0, |latest| latest + last);
        let mut data = Data {
            cluster: spec.cluster,
            arbitration: match spec.arbitration {
                Arbitration::Majority => "majority".to_owned(),
                Arbitration::Survivor => "survivor".to_owned(),
            },
            clocks,
            good,
            replay,
            files: self.files,
            rules: words::rules(),
            members: members.collect(),
            groups: config.groups().iter().enumerate().map(group).collect(),
            faults: over(self.faults, &config, end),
            events,
            adverts,
            peers: self.peers.all(),
            views: self.views.all(),
            texts: self.texts.all(),
            kernels: turnings.iter().any(|t| matches!(t, Turning::Kernel { .. })),
            end,
            unit: if self.units.tick.is_some() {
                "ticks"
            } else {
                "ms"
            },
            interval: self.units.span(config.timing().interval()),
        };
        for peer in &mut data.peers {
            let page = |t: &mut i64| *t = self.clocks[peer.clock].page(*t);
            [&mut peer.heard, &mut peer.echo]
                .into_iter()
                .flatten()
                .for_each(page);
        }
        for view in &mut data.views {
            let page = |t: &mut i64| *t = self.clocks[view.clock].page(*t);
            let both = [&mut view.lease, &mut view.vote_until];
            both.into_iter().flatten().for_each(page);
        }
        lanes::draw(&mut data, &turnings);
        Ok(data)
    }

    /// Finds where the adverts were heard. An advert that arrives again is another arrow.
    fn match_adverts(&mut self) -> Vec<AdvertView> {
        let mut all = std::mem::take(&mut self.adverts);
        for (content, event) in &self.heard {
            let Some(n) = self.by_content.get(content) else {
                continue;
            };
            let advert = &mut all[*n];
            if advert.heard.is_none() {
                advert.heard = Some(*event);
                continue;
            }
            let again = AdvertView {
                heard: Some(*event),
                ..*advert
            };
            all.push(again);
        }
        all
    }

    /// Gives every event the page's time, and says how that was done.
    fn bring_together(&mut self, adverts: &[AdvertView], config: &Config) -> String {
        let own = |event: usize| self.pending[event].own.map(|(clock, at, _)| (clock, at));
        let matches: Vec<Match> = adverts
            .iter()
            .filter_map(|advert| {
                Some(Match {
                    sent: own(advert.sent)?,
                    heard: own(advert.heard?)?,
                })
            })
            .collect();
        if let Some(zero) = self.zero {
            let unknown = self.clocks.iter_mut().filter(|clock| !clock.known());
            unknown.for_each(|clock| clock.anchor(zero, 0));
        }
        let said = align(&mut self.clocks, &matches);
        for turn in &mut self.pending {
            if let Some((clock, at, timed)) = turn.own {
                let clock = &self.clocks[clock];
                if !timed {
                    turn.event.t = clock.page(at);
                }
                let quarantine = turn
                    .event
                    .belief
                    .as_mut()
                    .and_then(|b| b.quarantine.as_mut());
                quarantine.into_iter().for_each(|t| *t = clock.page(*t));
            }
        }
        clocks_text(&said, self.clocks.len(), config)
    }

    /// Draws the events of a tick one after the other.
    fn spread(&mut self) {
        for tick in self.pending.chunk_by_mut(|a, b| a.event.t == b.event.t) {
            // Less than half a tick, so that the distance of two events, rounded, is still that in
            // ticks.
            let step = TICK as i64 * 9 / 20 / tick.len() as i64;
            for (n, turn) in (0..).zip(tick) {
                turn.event.t += n * step;
            }
        }
    }

    /// Brings the events into order, and says where each has gone.
    fn sort(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.pending.len()).collect();
        order.sort_by_key(|n| self.pending[*n].event.t); // those of one instant stay in order
        let mut to = vec![0; order.len()];
        for (place, from) in order.iter().enumerate() {
            to[*from] = place;
        }
        self.pending.sort_by_key(|turn| turn.event.t);
        to
    }
}

/// The faults, each with its end: a fault of links ends when all of them are healed, else with the
/// trace.
fn over(
    mut faults: Vec<(data::FaultView, Option<Fault>)>,
    config: &Config,
    end: i64,
) -> Vec<data::FaultView> {
    faults.sort_by_key(|(shown, _)| shown.at);
    let names = fault::names(config);
    let mut open: Vec<(usize, Pairs)> = Vec::new();
    for n in 0..faults.len() {
        let (at, fault) = (faults[n].0.at, faults[n].1.as_ref());
        let links = fault.and_then(|f| Some((f.links()?.path, f.links()?.pairs(&names).ok()?)));
        let (Some(fault), Some(links)) = (fault, links) else {
            continue;
        };
        if fault.ended_by().is_some() {
            open.push((n, links));
        } else if matches!(fault, Fault::Heal(_)) {
            let (path, healed) = links;
            open.retain(|(of, (on, cut))| {
                let there = path.is_none() || path == *on;
                let lasts = !there || cut.iter().any(|pair| !healed.contains(pair));
                if !lasts {
                    faults[*of].0.until = Some(at);
                }
                lasts
            });
        }
    }
    for (of, _) in open {
        faults[of].0.until = Some(end);
    }
    faults.into_iter().map(|(shown, _)| shown).collect()
}

/// On one path or all: pairs of sender and receiver.
type Pairs = (Option<u8>, Vec<(MemberId, MemberId)>);

fn clocks_text(said: &Aligned, all: usize, config: &Config) -> String {
    if said.unknown == 0 {
        return "Times are true times, from the traces.".to_owned();
    }
    let names = |members: &[usize]| {
        let names = members.iter().filter_map(|m| config.members().get(*m));
        names
            .map(|m| m.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut text = if said.unknown == all {
        "True time is not in these traces, and each member has a clock of its own. ".to_owned()
    } else {
        "True time is not in all of these traces. ".to_owned()
    };
    let doubt = said.doubt as f64 / 1e6;
    text += &format!(
        "The clocks were brought together by the adverts that two members both have, as if an advert \
         took as long there as back: the times of two members may be off by {doubt:.3} ms. "
    );
    if !said.one_way.is_empty() {
        let names = names(&said.one_way);
        text += &format!(
            "Adverts with {names} are there in one direction only, and are drawn as if they took no time. "
        );
    }
    if !said.alone.is_empty() {
        let names = names(&said.alone);
        text += &format!(
            "An incarnation of {names} exchanged no advert with any other here: its place in time is a guess. "
        );
    }
    text
}

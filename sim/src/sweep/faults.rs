//! What goes wrong: tracks that run beside each other, each a thing at a time. Which tracks there are,
//! how busy they are and what they do is drawn for each seed anew.

use super::draw::{Cluster, Promise, between, chance, length, micros, one, ppm};
use crate::turmoil::dice::Dice;
use onehold_core::config::Arbitration;

/// One thing that goes wrong, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When it begins, in microseconds.
    pub at: u64,
    /// What it is, in one line.
    pub what: String,
    /// What a scenario's timeline says of it.
    pub(super) entries: Vec<(u64, String)>,
    /// From when until when two may hold because of it.
    pub excuse: Option<(u64, u64)>,
    /// From when until when the holder may change because of it, once each, where it should not by itself.
    pub moves: Vec<(u64, u64)>,
}

/// What can happen to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Stop,
    Kill,
    Pause,
    Suspend,
    Freeze,
    PowerOff,
    /// It has no power, and the operator says so to the other one of two.
    Buried,
    /// It is killed, and starts with one key of its file changed; and later as it was.
    Edited,
}

/// What can happen to links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Cut,
    OneWay,
    /// One way, and no answer to who has an address passes either.
    Frames,
    /// One way, and what is sent meanwhile arrives later.
    Keep,
    Isolate,
    /// The network falls in two.
    Split,
    Deaf,
    Unheard,
    Flap,
    Loss,
    Disorder,
    Corrupt,
    /// One of two paths is cut, all of it.
    Path,
    /// Late by what is allowed.
    Slow,
    Replay,
}

struct Draws<'a> {
    dice: &'a mut Dice,
    cluster: &'a Cluster,
    from: u64,
    calm: u64,
    /// Members are killed or not run.
    restless: bool,
    faults: Vec<Fault>,
}

/// All that goes wrong between two moments, by when it begins.
/// Where nothing goes wrong, all has settled within `bound` of what somebody does.
pub(super) fn draw(
    dice: &mut Dice,
    cluster: &Cluster,
    from: u64,
    calm: u64,
    bound: u64,
) -> Vec<Fault> {
    let restless = chance(dice, 80);
    let mut draws = Draws {
        dice,
        cluster,
        from,
        calm,
        restless,
        faults: Vec::new(),
    };
    if cluster.promise == Promise::Steady {
        draws.blips();
        draws.moves(bound);
        draws.clocks();
        draws.faults.sort_by_key(|f| f.at);
        return draws.faults;
    }
    draws.members();
    // What looks like a cut of two alone may not come from two tracks.
    let tracks = match cluster.arbitration() {
        Arbitration::Majority => between(draws.dice, 0, 2),
        Arbitration::Survivor => 1,
    };
    for _ in 0..tracks {
        draws.network();
    }
    draws.operators();
    draws.services();
    draws.kernels();
    draws.addresses();
    draws.clocks();
    let mut faults = draws.faults;
    faults.sort_by_key(|f| f.at); // stable
    faults
}

impl Draws<'_> {
    /// Moments at which a track begins something, and until when that may last: sequential.
    fn track(&mut self, mut each: impl FnMut(&mut Self, u64, u64)) {
        let vote = self.cluster.vote();
        let gap = one(self.dice, &[vote / 2, 2 * vote, 5 * vote, 12 * vote]);
        let longest = one(self.dice, &[vote / 4, vote, 2 * vote, 6 * vote]);
        let mut at = self.from + self.dice.below(2 * gap);
        while at < self.calm {
            // Short ones are as likely as long ones.
            let most = longest >> self.dice.below(5);
            let until = at + between(self.dice, 1, most.max(1));
            each(self, at, until.min(self.calm));
            at = until + self.dice.below(2 * gap);
        }
    }

    fn add(&mut self, at: u64, what: String, entries: Vec<(u64, String)>) -> &mut Fault {
        self.faults.push(Fault {
            at,
            what,
            entries,
            excuse: None,
            moves: Vec::new(),
        });
        let last = self.faults.len() - 1;
        &mut self.faults[last]
    }

    fn spell(&mut self, (at, until): (u64, u64), what: &str, begin: String, end: String) {
        let what = format!("{what} for {}", length(until - at));
        self.add(at, what, vec![(at, begin), (until, end)]);
    }

    fn members(&mut self) {
        let cluster = self.cluster;
        if !self.restless {
            return;
        }
        if cluster.promise == Promise::Anything && chance(self.dice, 30) {
            return self.strangers();
        }
        let mut blows = vec![
            Blow::Stop,
            Blow::Kill,
            Blow::Pause,
            Blow::Suspend,
            Blow::PowerOff,
        ];
        match cluster.promise {
            Promise::Frozen => blows.push(Blow::Freeze),
            Promise::Majority if cluster.members.len() == 2 => blows.push(Blow::Buried),
            Promise::Majority | Promise::Timely => blows.push(Blow::Edited),
            Promise::Steady | Promise::OneWay | Promise::Anything => {}
        }
        blows.retain(|_| chance(self.dice, 60));
        for name in &cluster.members {
            if !blows.is_empty() && chance(self.dice, 70) {
                self.track(|d, at, until| {
                    let blow = one(d.dice, &blows);
                    d.blow(name, blow, at, until);
                });
            }
        }
    }

    fn blow(&mut self, name: &str, blow: Blow, at: u64, until: u64) {
        let between_effects = match chance(self.dice, 50) {
            true => format!("\nafter_effects = {}", self.dice.below(8)),
            false => String::new(),
        };
        let verb = match blow {
            Blow::Stop => "stop",
            Blow::Kill => "kill",
            Blow::Pause => "pause",
            Blow::Suspend => "suspend",
            Blow::Freeze => "freeze",
            Blow::PowerOff => "power_off",
            Blow::Buried => return self.bury(name, at, until),
            Blow::Edited => return self.edit(name, at, until),
        };
        let (more, end) = match blow {
            Blow::Kill => (between_effects, "start"),
            Blow::Pause => (between_effects, "resume"),
            Blow::Suspend | Blow::Freeze => (String::new(), "resume"),
            Blow::Stop | Blow::PowerOff | Blow::Buried | Blow::Edited => (String::new(), "start"),
        };
        let begin = format!("{verb} = \"{name}\"{more}");
        let end = format!("{end} = \"{name}\"");
        self.spell((at, until), &format!("{verb} {name}"), begin, end);
        if blow == Blow::Freeze {
            // What was left of its lease when it stopped is left when it goes on.
            let t = &self.cluster.timing;
            let left = micros(t.lease().plus(t.slack()));
            let left = left + left * u64::from(t.drift_ppm()) / 1_000_000 + self.cluster.tick;
            if let Some(fault) = self.faults.last_mut() {
                fault.excuse = Some((at, until + left));
            }
        }
    }

    /// Its file differs from the others' between two starts.
    fn edit(&mut self, name: &str, at: u64, until: u64) {
        let key = one(
            self.dice,
            &["failback_delay = \"1234ms\"", "address = \"10.0.9.9\""],
        );
        let says = format!(", {key}");
        let again = |at, says: &str| {
            [
                (at, format!("kill = \"{name}\"")),
                (at, format!("edit = {{ of = \"{name}\"{says} }}")),
                (at, format!("start = \"{name}\"")),
            ]
        };
        let key = key.replace('"', "");
        if self.cluster.promise != Promise::Anything {
            let entries = [again(at, &says), again(until, "")].concat();
            let over = length(until - at);
            self.add(at, format!("restart {name} with {key} for {over}"), entries);
            return;
        }
        // Both hold while they are cut off, and then meet.
        let heal = at + 2 * (until - at) / 3;
        let cut = |verb: &str, at| vec![(at, format!("{verb} = \"* <-> *\""))];
        let entries = [
            cut("cut", at),
            again(at, &says).to_vec(),
            cut("heal", heal),
            again(until, "").to_vec(),
        ];
        let heals = self.cluster.heals_within(true);
        let what = format!("network: cut, and restart {name} with {key}");
        self.add(at, what, entries.concat()).excuse = Some((at, heal + heals));
    }

    /// Two that have different files hold at once, again and again, and nothing else happens to them.
    fn strangers(&mut self) {
        let vote = self.cluster.vote();
        let mut at = self.from + self.dice.below(4 * vote);
        while at + 6 * vote < self.calm {
            let name = one(self.dice, &self.cluster.members);
            self.edit(name, at, at + 6 * vote);
            at += between(self.dice, 8, 16) * vote;
        }
    }

    /// Only where the peer is dead may the operator say so: two hold if it lives.
    fn bury(&mut self, name: &str, at: u64, until: u64) {
        let vote = self.cluster.vote();
        let other = if name == "lb0" { "lb1" } else { "lb0" };
        let said = at + 5 * vote / 2;
        let until = until.max(at + 3 * vote);
        if until >= self.calm {
            return;
        }
        let order = format!("command = {{ to = \"{other}\", say = \"presume-dead\" }}");
        let what = format!(
            "power_off {name}, {other} is told, for {}",
            length(until - at)
        );
        let entries = vec![
            (at, format!("power_off = \"{name}\"")),
            (said, order),
            (until, format!("start = \"{name}\"")),
        ];
        self.add(at, what, entries);
    }

    fn network(&mut self) {
        let two_paths = self.cluster.paths == 2;
        let mut harms = match self.cluster.promise {
            Promise::Majority | Promise::Frozen | Promise::Steady => vec![
                Harm::Cut,
                Harm::OneWay,
                Harm::Frames,
                Harm::Keep,
                Harm::Isolate,
                Harm::Split,
                Harm::Deaf,
                Harm::Unheard,
                Harm::Flap,
                Harm::Loss,
                Harm::Disorder,
                Harm::Corrupt,
                Harm::Replay,
            ],
            Promise::Timely => vec![Harm::Slow],
            Promise::OneWay => vec![Harm::Slow, Harm::OneWay, Harm::OneWay],
            Promise::Anything => vec![
                Harm::Cut,
                Harm::Cut,
                Harm::Cut,
                Harm::OneWay,
                Harm::Frames,
                Harm::Keep,
                Harm::Flap,
                Harm::Loss,
                Harm::Disorder,
                Harm::Corrupt,
            ],
        };
        // One that boots knows no hardware address: a cut of frames one way is then one of both.
        if self.cluster.promise == Promise::OneWay && !self.restless {
            harms.push(Harm::Frames);
        }
        if two_paths {
            harms.push(Harm::Path);
        }
        harms.retain(|_| chance(self.dice, 60));
        if !harms.is_empty() {
            self.track(|d, at, until| {
                let harm = one(d.dice, &harms);
                d.harm(harm, at, until);
            });
        }
    }

    /// Links are cut for so short a time that no more than ⌊H/i⌋ − 2 adverts in a row are lost, and not again
    /// before all has settled.
    fn blips(&mut self) {
        let (timing, interval) = (&self.cluster.timing, self.cluster.interval());
        let most = (micros(timing.lease()) / interval - 2) * interval;
        let drift = most * u64::from(timing.drift_ppm()) / 500_000;
        let longest = most.saturating_sub(drift + 4 * self.cluster.trip + 2 * self.cluster.tick);
        let mut at = self.from + self.dice.below(4 * self.cluster.vote());
        while at < self.calm && longest > 0 {
            let over = between(self.dice, 1, longest).min(self.calm - at);
            let names = &self.cluster.members;
            let a = one(self.dice, names);
            let others: Vec<&str> = names.iter().copied().filter(|n| *n != a).collect();
            let b = one(self.dice, &others);
            let all = [
                "* <-> *".to_owned(),
                format!("{a} <-> *"),
                format!("{a} -> {b}"),
                format!("{a} <-> {b}"),
            ];
            let links = &all[usize::try_from(self.dice.below(4)).unwrap_or(0)];
            let what = format!("network: nothing of {links} arrives");
            let (cut, heal) = (format!("cut = \"{links}\""), format!("heal = \"{links}\""));
            self.spell((at, at + over), &what, cut, heal);
            at += over + between(self.dice, 3, 8) * self.cluster.vote();
        }
    }

    /// Somebody moves the address, or takes a member away and brings it back.
    fn moves(&mut self, bound: u64) {
        let cluster = self.cluster;
        let mut at = self.from + self.dice.below(bound);
        while at < self.calm {
            let name = one(self.dice, &cluster.members[..2]);
            let say = |what: &str| format!("command = {{ to = \"{name}\", say = \"{what}\" }}");
            let until = (at + between(self.dice, bound / 4, bound)).min(self.calm);
            let last = match self.dice.below(3) {
                1 => {
                    let what = format!("operator: standby {name}");
                    self.spell((at, until), &what, say("standby"), say("resume"));
                    until
                }
                // Of two, one is no majority.
                2 if cluster.members.len() > 2 => {
                    let name = one(self.dice, &cluster.members);
                    let (stop, start) =
                        (format!("stop = \"{name}\""), format!("start = \"{name}\""));
                    self.spell((at, until), &format!("stop {name}"), stop, start);
                    until
                }
                _ => {
                    self.add(
                        at,
                        format!("operator: switch {name}"),
                        vec![(at, say("switch"))],
                    );
                    at
                }
            };
            if let Some(fault) = self.faults.last_mut() {
                let [away, back] = cluster.meant_within();
                fault.moves = vec![(at, at + away)];
                if fault.what.starts_with("stop") {
                    // If its last word is lost, a vote stays bound to it, and the lease of its heir may end.
                    fault.moves.push((at, at + away));
                }
                if last > at {
                    fault.moves.push((last, last + back));
                }
            }
            at = last + bound + self.dice.below(bound);
        }
    }

    fn harm(&mut self, harm: Harm, at: u64, until: u64) {
        if harm == Harm::Split {
            return self.split(at, until);
        }
        let names = &self.cluster.members;
        let a = one(self.dice, names);
        let others: Vec<&str> = names.iter().copied().filter(|n| *n != a).collect();
        let b = one(self.dice, &others);
        let path = match harm {
            Harm::Path => Some(one(self.dice, &[0, 1])),
            _ if self.cluster.paths == 2 && self.is_majority() && chance(self.dice, 30) => {
                Some(one(self.dice, &[0, 1]))
            }
            _ => None,
        };
        let links = match harm {
            Harm::Cut | Harm::Flap => format!("{a} <-> {b}"),
            Harm::OneWay | Harm::Frames => format!("{a} -> {b}"),
            Harm::Isolate => format!("{a} <-> *"),
            Harm::Deaf => format!("* -> {a}"),
            Harm::Unheard | Harm::Keep => format!("{a} -> *"),
            Harm::Path | Harm::Slow | Harm::Disorder | Harm::Split => "* <-> *".to_owned(),
            Harm::Loss | Harm::Corrupt | Harm::Replay => {
                let all = [
                    format!("{a} -> {b}"),
                    format!("{a} <-> *"),
                    "* <-> *".to_owned(),
                ];
                all[usize::try_from(self.dice.below(3)).unwrap_or(0)].clone()
            }
        };
        let on = path.map_or(String::new(), |p| format!("\npath = {p}"));
        let heal = format!("heal = \"{links}\"{on}");
        let cut = format!("cut = \"{links}\"{on}");
        let becomes = |what: String| format!("weather = \"{links}\"\nbecomes = {{ {what} }}{on}");
        let interval = self.cluster.interval();
        let begin = match harm {
            Harm::Cut
            | Harm::OneWay
            | Harm::Isolate
            | Harm::Deaf
            | Harm::Unheard
            | Harm::Flap
            | Harm::Path
            | Harm::Split => cut.clone(),
            Harm::Frames => format!("cut_frames = \"{links}\"{on}"),
            Harm::Keep => format!("keep = \"{links}\"{on}"),
            Harm::Loss => becomes(format!("loss = {}.0", between(self.dice, 5, 90))),
            Harm::Corrupt => becomes(format!("corrupt = {}.0", between(self.dice, 5, 60))),
            Harm::Disorder => {
                let (double, kept) = (between(self.dice, 0, 50), between(self.dice, 0, 30));
                let jitter = length(self.dice.below(2 * interval));
                let by = length(self.dice.below(4 * self.cluster.vote()));
                becomes(format!(
                    "duplicate = {double}.0, straggle = {kept}.0, jitter = \"{jitter}\", straggle_by = \"{by}\""
                ))
            }
            Harm::Slow => {
                // In time: within i/4, with what a tick adds to it.
                let most = (interval / 4).saturating_sub(3 * self.cluster.tick);
                let jitter = length(self.dice.below(most.max(1)));
                becomes(format!("duplicate = 20.0, jitter = \"{jitter}\""))
            }
            Harm::Replay => {
                let last = length(between(self.dice, interval, 6 * self.cluster.vote()));
                let every = length(between(self.dice, 100, 2_000));
                let again = format!(
                    "replay = {{ on = \"{links}\", last = \"{last}\", every = \"{every}\" }}{on}"
                );
                let what = format!("network: replay {links}");
                self.add(at, what, vec![(at, again)]);
                return;
            }
        };
        let mut entries = vec![(at, begin)];
        if harm == Harm::Flap {
            let pace = between(self.dice, interval / 2, 4 * interval);
            let mut next = at + pace;
            while next + pace < until {
                entries.extend([(next, heal.clone()), (next + pace, cut.clone())]);
                next += 2 * pace;
            }
        }
        entries.push((until, heal));
        let over = length(until - at);
        let what = format!(
            "network: {harm:?} {links}{} for {over}",
            on.replace('\n', " ")
        );
        let heals = self.cluster.heals_within(self.restless);
        let excused = self.cluster.promise == Promise::Anything && harm != Harm::Path;
        self.add(at, what, entries).excuse = excused.then_some((at, until + heals));
    }

    /// Each member is on one of two sides, and nothing passes between them.
    fn split(&mut self, at: u64, until: u64) {
        let names = &self.cluster.members;
        let side: Vec<bool> = names.iter().map(|_| chance(self.dice, 50)).collect();
        let of = |here: bool| {
            let members = names.iter().zip(&side).filter(move |(_, s)| **s == here);
            members.map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let (these, those) = (of(true), of(false));
        let pairs = these
            .iter()
            .flat_map(|a| those.iter().map(move |b| format!("{a} <-> {b}")));
        let pairs: Vec<String> = pairs.collect();
        if pairs.is_empty() {
            return;
        }
        let entries = |verb: &str, at| {
            let all = pairs
                .iter()
                .map(|links| (at, format!("{verb} = \"{links}\"")));
            all.collect::<Vec<_>>()
        };
        let what = format!(
            "network: {} | {} for {}",
            these.join(" "),
            those.join(" "),
            length(until - at)
        );
        self.add(
            at,
            what,
            [entries("cut", at), entries("heal", until)].concat(),
        );
    }

    const fn is_majority(&self) -> bool {
        matches!(self.cluster.arbitration(), Arbitration::Majority)
    }

    fn operators(&mut self) {
        if !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let to = one(d.dice, &cluster.members[..2]);
            let group = match chance(d.dice, 50) {
                true => format!(", group = \"{}\"", d.group()),
                false => String::new(),
            };
            let say =
                |what: &str| format!("command = {{ to = \"{to}\", say = \"{what}\"{group} }}");
            match d.dice.below(3) {
                0 => {
                    let what = format!("operator: switch {to}");
                    d.add(at, what, vec![(at, say("switch"))]);
                }
                1 => {
                    let what = format!("operator: standby {to}");
                    d.spell((at, until), &what, say("standby"), say("resume"));
                }
                _ => {
                    let what = format!("a foreign claim at {to}");
                    d.add(at, what, vec![(at, format!("claim = \"{to}\""))]);
                }
            }
        });
    }

    fn group(&mut self) -> &'static str {
        let names: Vec<&'static str> = self.cluster.groups.iter().map(|g| g.name).collect();
        one(self.dice, &names)
    }

    fn services(&mut self) {
        if !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        let keys = one(
            self.dice,
            &[&["healthy"][..], &["eligible"], &["healthy", "eligible"]],
        );
        for name in &cluster.members[..2] {
            self.track(|d, at, until| {
                let (key, group) = (one(d.dice, keys), d.group());
                let is =
                    |ok| format!("{key} = {{ on = \"{name}\", group = \"{group}\", is = {ok} }}");
                let what = format!("{group} on {name} not {key}");
                d.spell((at, until), &what, is(false), is(true));
            });
        }
    }

    fn kernels(&mut self) {
        if !chance(self.dice, 30) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let name = one(d.dice, &cluster.members[..2]);
            let refused = one(
                d.dice,
                &["\"hold\"", "\"release\"", "\"hold\", \"release\""],
            );
            let says = |what| format!("kernel = {{ of = \"{name}\", refuses = [{what}] }}");
            let what = format!("kernel of {name} refuses {}", refused.replace('"', ""));
            d.spell((at, until), &what, says(refused), says(""));
        });
    }

    /// Own addresses go and come.
    fn addresses(&mut self) {
        if !chance(self.dice, 25) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, until| {
            let name = one(d.dice, &cluster.members);
            let is = |there| format!("own_address = {{ of = \"{name}\", is = {there} }}");
            let what = format!("own address of {name} gone");
            d.spell((at, until), &what, is(false), is(true));
        });
    }

    fn clocks(&mut self) {
        if self.cluster.timing.drift_ppm() == 0 || !chance(self.dice, 50) {
            return;
        }
        let cluster = self.cluster;
        self.track(|d, at, _| {
            let name = one(d.dice, &cluster.members);
            let ppm = ppm(d.dice, &cluster.timing);
            let entry = format!("drift = {{ of = \"{name}\", ppm = {ppm} }}");
            d.add(
                at,
                format!("clock of {name}: {ppm:+} ppm"),
                vec![(at, entry)],
            );
        });
    }
}

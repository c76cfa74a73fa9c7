//! What a seed draws of files that change while members run: a second file, and who reads which
//! when, with whatever else goes wrong in between.

use super::draw::Stays;
use crate::fault::{Edit, Fault, Links, Target};
use crate::simulator::file::{MemberSection, ScenarioFile};
use crate::simulator::incidents::Incident;
use crate::simulator::incidents::cluster::{DrawnCluster, Promise, micros, ppm, span};
use crate::simulator::rng::Rng;
use onehold::control::Order;
use onehold_core::config::Arbitration;
use std::collections::BTreeMap;

/// A second file, which is on some members for some of the time. At the end all have the first.
#[derive(Clone, Debug)]
pub(super) struct Files {
    second: Edit,
    /// An address is in another group in it.
    moves: bool,
    /// Witnesses that only it has; they run all the time.
    new: Vec<&'static str>,
    /// How long a change takes at most where nothing is wrong.
    takes: u64,
}

impl Files {
    /// Draws them, and adds who reads which when to what goes wrong. From sources of chance of their
    /// own, so that all else that a seed draws stays as it is.
    pub(super) fn draw(
        seed: u64,
        cluster: &DrawnCluster<'_>,
        stays: &Stays,
        (from, calm): (u64, u64),
        incidents: &mut Vec<Incident>,
    ) -> Option<Self> {
        let mut rng = Rng::new(seed, "files");
        // A dead candidate is waited for; and files that are edited at a restart are something else.
        let waits = !matches!(stays, Stays::Nothing | Stays::Sick);
        let any = |is: &dyn Fn(&Fault) -> bool| {
            let mut faults = incidents.iter().flat_map(|i| &i.faults);
            faults.any(|(_, fault)| is(fault))
        };
        let steady = cluster.promise == Promise::Steady;
        // One that stops is waited for, and may doubt when it is back: then what is meant takes longer.
        let stops = steady && any(&|f| matches!(f, Fault::Stop(_)));
        if waits || stops || any(&|f| matches!(f, Fault::Edit(_))) {
            return None;
        }
        let (mut second, moves) = match !steady && rng.chance(15) {
            true => second(&mut rng, cluster),
            false => (Edit::default(), false),
        };
        let mut other = Rng::new(seed, "members");
        let change = other.chance(if steady { 50 } else { 20 });
        if change && !moves && !any(&forgets_members) {
            (second.witnesses, second.arbitration) = members(&mut other, cluster);
        }
        if second == Edit::default() {
            return None;
        }
        if second.groups.is_none() {
            rng = other;
        }
        let (vote, interval) = (cluster.vote(), cluster.interval());
        let takes = 3 * vote + 8 * interval + 8 * cluster.trip;
        let named = |name: &&'static str| {
            let all = second.witnesses.iter().flatten();
            !cluster.members.contains(name) && all.clone().any(|w| w == name)
        };
        let new: Vec<&'static str> = NEW.into_iter().filter(named).collect();
        let files = Self {
            second,
            moves,
            new,
            takes,
        };
        for name in &files.new {
            if !steady && rng.chance(40) {
                let of = || (*name).to_owned();
                let [off, on] = [(); 2].map(|()| rng.between(from, calm));
                incidents.push(Incident {
                    at: off.min(on),
                    faults: vec![
                        (off.min(on), Fault::PowerOff(of())),
                        (off.max(on), Fault::Start(of())),
                    ],
                    excuse: None,
                    moves: Vec::new(),
                });
            }
        }
        let mut at = from + rng.below(4 * vote);
        let mut first = true;
        while at < calm {
            first = !first;
            let mut members = cluster.members.clone();
            members.retain(|name| files.has(name));
            while !members.is_empty() && at < calm {
                let n = rng.below(members.len() as u64) as usize;
                let of = members.swap_remove(n);
                // Some are left behind.
                if rng.chance(85) {
                    incidents.push(Incident {
                        at,
                        faults: vec![(at, files.read(of, first))],
                        excuse: None,
                        moves: Vec::new(),
                    });
                }
                at += rng.one(&[0, interval / 2, vote, 3 * vote]);
            }
            at += rng.below(4 * vote);
        }
        if files.second.witnesses.is_some() && cluster.arbitration() == Arbitration::Majority {
            files.splits(&mut rng, cluster, (from, calm), incidents);
        }
        incidents.sort_by_key(|i| i.at); // stable
        Some(files)
    }

    /// Where other members decide, the two candidates are cut from each other just when that begins; or one of
    /// them, which is cut off from the other, is started with the first file again, whose witness nobody stopped.
    fn splits(
        &self,
        rng: &mut Rng,
        cluster: &DrawnCluster<'_>,
        (from, calm): (u64, u64),
        incidents: &mut Vec<Incident>,
    ) {
        let (vote, interval) = (cluster.vote(), cluster.interval());
        let mut at = from + rng.below(8 * vote);
        while cluster.promise != Promise::Steady && at + 10 * vote < calm {
            let (old, late) = (rng.chance(50), rng.one(&["lb0", "lb1"]));
            let other = if late == "lb0" { "lb1" } else { "lb0" };
            let of = late.to_owned();
            let between = || Links::between("lb0", "lb1");
            let mut faults = vec![(at, self.read(other, false))];
            if old {
                let again = at + 3 * vote;
                let end = again + 5 * vote;
                faults.extend([
                    (at, self.read(late, false)),
                    (again, Fault::Kill(Target::Of(of.clone()))),
                    (again, self.read(late, true)),
                    (again, Fault::Cut(between())),
                    (again, Fault::Start(of)),
                    (end, Fault::Heal(between())),
                ]);
            } else {
                let read = at + rng.below(2 * interval);
                let cut = read + rng.below(cluster.trip + interval / 4);
                faults.extend([
                    (read, self.read(late, false)),
                    (cut, Fault::Cut(between())),
                    (cut + 5 * vote, Fault::Heal(between())),
                ]);
            }
            incidents.push(Incident {
                at,
                faults,
                excuse: None,
                moves: Vec::new(),
            });
            at += rng.between(10, 24) * vote;
        }
    }

    /// A member of the first file is one of the second, too.
    fn has(&self, name: &str) -> bool {
        let witnesses = self.second.witnesses.as_ref();
        !name.starts_with('w') || witnesses.is_none_or(|all| all.iter().any(|w| w == name))
    }

    /// The witnesses that only the second file has are members of the scenario, too.
    pub(super) fn add_to(&self, seed: u64, cluster: &DrawnCluster<'_>, file: &mut ScenarioFile) {
        let mut rng = Rng::new(seed, "new members");
        for name in &self.new {
            let member = MemberSection {
                witness: true,
                later: true,
                clock_ppm: ppm(&mut rng, &cluster.timing),
                ..MemberSection::default()
            };
            file.members.insert((*name).to_owned(), member);
        }
    }

    /// A member reads the first file, or the second.
    fn read(&self, of: &str, first: bool) -> Fault {
        let second = match first {
            true => Edit::default(),
            false => self.second.clone(),
        };
        let of = of.to_owned();
        Fault::Reload(Edit { of, ..second })
    }

    /// What an operator does so that the first is in force on all. Who waits for others with one
    /// of them refuses the other: so all have the second one for a while, and what was refused is
    /// said again. An address that moves is in no group in between, and a member that died and
    /// began with the one file is waited for by those with the other forever: then all start again.
    pub(super) fn all_well(&self, members: &[&str], calm: u64) -> Vec<(u64, Fault)> {
        if self.moves {
            let again = |of: &&str| {
                let edit = Edit {
                    of: (*of).to_owned(),
                    ..Edit::default()
                };
                let kill = Fault::Kill(Target::Of(edit.of.clone()));
                let start = Fault::Start(edit.of.clone());
                [kill, Fault::Edit(edit), start].map(|fault| (calm, fault))
            };
            return members.iter().flat_map(again).collect();
        }
        let each = |n: u64, first| {
            let at = calm + n * self.takes;
            let both = members.iter().filter(|name| self.has(name));
            both.map(move |of| (at, self.read(of, first)))
        };
        let new = self
            .new
            .iter()
            .map(|of| (calm, Fault::Start((*of).to_owned())));
        let all = each(0, false).chain(each(1, true)).chain(each(2, true));
        new.chain(all).collect()
    }

    /// How much longer it may take until one holds.
    pub(super) const fn waits(&self) -> u64 {
        3 * self.takes
    }
}

/// Witnesses that only a second file has.
const NEW: [&str; 2] = ["x1", "x2"];

/// A machine that forgets who the members are, or an operator who says of one that comes back that it stays
/// away: where members change, that may make two holders, as the book says.
const fn forgets_members(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Restore(_)
            | Fault::Command {
                say: Order::PresumeDead,
                ..
            }
    )
}

/// Other members: other witnesses, and of two alone also another arbitration. As many are in both files as it
/// takes.
fn members(
    rng: &mut Rng,
    cluster: &DrawnCluster<'_>,
) -> (Option<Vec<String>>, Option<Arbitration>) {
    let survivor = cluster.arbitration() == Arbitration::Survivor;
    let steady = cluster.promise == Promise::Steady;
    let witnesses: &[&[&str]] = match cluster.members.len() {
        // Whatever is lost then, there are as many others as before.
        3 if steady => &[&["x1"]],
        5 if steady => &[&["w1", "w2", "x1"]],
        2 if survivor => &[&["x1"], &["x1"], &[]],
        2 => &[&["x1"]],
        3 => &[&["x1"], &["x1"], &[], &["w1", "x1", "x2"]],
        _ => &[&["w1"], &["w1", "w2", "x1"], &["w3"]],
    };
    let witnesses = rng.one(witnesses).iter().map(|w| (*w).to_owned()).collect();
    (Some(witnesses), survivor.then_some(Arbitration::Majority))
}

/// Another file: its lease is shorter, or its groups are others, or both; and whether an address is
/// in another group.
fn second(rng: &mut Rng, cluster: &DrawnCluster<'_>) -> (Edit, bool) {
    let lease = micros(cluster.timing.lease());
    let halves = match cluster.arbitration() {
        Arbitration::Majority => 6,
        Arbitration::Survivor => 9,
    };
    let least = (halves * cluster.interval()).div_ceil(2);
    let shorter = (lease * rng.between(50, 90) / 100).max(least);
    let shorter = (shorter < lease && rng.chance(50)).then_some(shorter);
    let address = |n: usize| format!("10.0.{n}.50");
    let names = cluster.groups.iter().map(|g| g.name.to_owned());
    let mut groups: BTreeMap<String, Vec<String>> = (names.clone().enumerate())
        .map(|(n, name)| (name, vec![address(n)]))
        .collect();
    let (first, last) = (
        cluster.groups[0].name,
        names.clone().next_back().unwrap_or_default(),
    );
    let another = || "10.0.9.50".to_owned();
    let two = cluster.groups.len() == 2;
    let what = rng.below(5);
    match what {
        0 if shorter.is_some() => {}
        // Each gets the other's address, or one gets both.
        1 if two => {
            groups.insert(first.to_owned(), vec![address(1)]);
            groups.insert(last, vec![address(0)]);
        }
        2 if two => {
            groups.remove(first);
            groups.insert(last, vec![address(0), address(1)]);
        }
        // A group whose name comes before all others: they all get other numbers.
        3 => {
            groups.insert("api".to_owned(), vec![another()]);
        }
        4 => {
            groups.insert(first.to_owned(), vec![another()]);
        }
        _ => groups.entry(first.to_owned()).or_default().push(another()),
    }
    let edit = Edit {
        lease: shorter.map(span),
        groups: Some(groups),
        ..Edit::default()
    };
    (edit, two && matches!(what, 1 | 2))
}

//! The BPF gate as it hangs on interfaces: first in the row of programs where the kernel has one
//! ([`tcx`]), else first among the filters of clsact ([`tc`]).
//!
//! Being there is not enough: what is asked before it may decide in its place.

use super::bpf::{self, CarriedDeadlines, Deadlines, Direction, Known, Programs};
use super::memory::{Memory, Written};
use super::{Key, Place, address, differs_elsewhere, muting, tc, tcx};
use crate::address::Link;
use crate::netlink::{Doing as _, KernelError, Netlink};
use crate::upgrade::Inherited;
use onehold_core::time::LocalTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, RawFd};

pub(super) const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];
/// Programs of others that are remembered, so as to be asked about once.
const MOST_KNOWN: usize = 1024;

/// How the gate stands on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is asked before it.
    First,
    /// It is not there, in one direction at least.
    Absent,
    /// This is asked before it.
    Behind(String),
}

/// The programs, what they read, and where they hang.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) deadlines: Deadlines,
    programs: Programs,
    /// Where there are rows, the other of each program.
    twin: Option<Programs>,
    /// The numbers of all of them.
    ids: Vec<Number>,
    /// The numbers of gates that earlier incarnations left.
    earlier: Vec<u32>,
    /// Interfaces whose clsact came from us, by number.
    made: Vec<u32>,
    others: BTreeMap<u32, Other>,
}

/// The number of one of our programs, and where it hangs.
#[derive(Clone, Copy, Debug)]
struct Number {
    place: Place,
    direction: Direction,
    id: u32,
}

/// A program of somebody else's.
#[derive(Clone, Debug)]
struct Other {
    /// How people read of it.
    description: String,
    /// It is a gate, and so passes on to the next what it does not drop.
    gate: bool,
    /// The first of our addresses that it guards as well.
    shares: Option<Key>,
}

/// The programs where they hang, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    deadlines: CarriedDeadlines,
    programs: bpf::Carried,
    twin: Option<bpf::Carried>,
    made: Vec<u32>,
}

impl Carried {
    pub(super) fn fds(&self) -> impl Iterator<Item = RawFd> {
        let all = [Some(&self.programs), self.twin.as_ref()];
        let programs = all.into_iter().flatten().flat_map(bpf::Carried::fds);
        programs.chain(self.deadlines.fds())
    }
}

impl Attached {
    /// What goes on in another program of this process.
    pub(super) fn carried(&self) -> Carried {
        Carried {
            deadlines: self.deadlines.carried(),
            programs: self.programs.carried(),
            twin: self.twin.as_ref().map(Programs::carried),
            made: self.made.clone(),
        }
    }

    /// Those of the former program of this process, which hang where they hung.
    pub(super) fn inherit(
        carried: &Carried,
        earlier: &[u32],
        from: &Inherited,
    ) -> Result<Self, String> {
        let programs = Programs::inherit(&carried.programs, from)?;
        let twin = carried.twin.as_ref();
        let twin = twin.map(|twin| Programs::inherit(twin, from)).transpose()?;
        let all: Vec<&Programs> = [&programs].into_iter().chain(&twin).collect();
        Ok(Self {
            ids: numbers(&all).map_err(|e| e.to_string())?,
            deadlines: Deadlines::inherit(&carried.deadlines, from)?,
            programs,
            twin,
            earlier: earlier.to_vec(),
            made: carried.made.clone(),
            others: BTreeMap::new(),
        })
    }

    /// Loads the programs, in which every one of `keys` is mute. They hang nowhere yet. `earlier`
    /// are the gates that earlier incarnations left.
    pub(super) fn load(
        keys: &[Key],
        earlier: &[u32],
        memory: &mut Memory,
    ) -> Result<Self, KernelError> {
        let rows = tcx::available().doing(|| "asking the kernel for a row of programs".into())?;
        let mut deadlines = Deadlines::with_room_for(keys.len())
            .doing(|| "creating the guard's BPF maps".into())?;
        for key in keys {
            (deadlines.set(key, LocalTime::from_nanos(0))).doing(|| muting(key))?;
        }
        let differs = differs_elsewhere(keys);
        let programs = Programs::over(deadlines.maps(), differs)?;
        let mut this = Self {
            ids: numbers(&[&programs])?,
            deadlines,
            programs,
            twin: None,
            earlier: earlier.to_vec(),
            made: Vec::new(),
            others: BTreeMap::new(),
        };
        if rows {
            let twin = Programs::over(this.deadlines.maps(), differs)?;
            let ids = numbers(&[&this.programs, &twin])?;
            // In a row a program has no name that everybody may read. One that the next incarnation
            // would not recognise would be one more gate forever; a filter of tc has its name.
            let programs = earlier.iter().copied().chain(all(&ids)).collect();
            let keys = keys.to_vec();
            let written = Written {
                keys,
                programs,
                ..Written::default()
            };
            if memory.write(written) {
                (this.ids, this.twin) = (ids, Some(twin));
            }
        }
        Ok(this)
    }

    /// What others' programs guard is asked again.
    pub(super) fn forget_others(&mut self) {
        self.others.clear();
    }

    pub(super) const fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The numbers of our programs.
    pub(super) fn ids(&self) -> Vec<u32> {
        all(&self.ids)
    }

    fn ids_for(&self, direction: Direction, place: Place) -> Vec<u32> {
        let is = |n: &&Number| n.direction == direction && n.place == place;
        self.ids.iter().filter(is).map(|n| n.id).collect()
    }

    /// The programs for a direction, with their numbers.
    fn pair(&self, direction: Direction, place: Place) -> Vec<(u32, BorrowedFd<'_>)> {
        let all = [Some(&self.programs), self.twin.as_ref()];
        let programs = all.into_iter().flatten();
        let programs = programs.map(|p| p.program(direction, place));
        (self.ids_for(direction, place).into_iter().zip(programs)).collect()
    }

    /// Puts the gate before everything else on an interface, then takes away what earlier
    /// incarnations left there, and our own of before: there is no moment without a gate.
    pub(super) fn put_first(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        place: Place,
        name: &str,
    ) -> Result<(), KernelError> {
        if self.twin.is_none() {
            let made = tc::clsact(route, link);
            // Whatever fails from here on, it is ours to remove; and a lost answer may have been a
            // yes.
            if !matches!(made, Ok(false)) && !self.made.contains(&link.index) {
                self.made.push(link.index);
            }
            let made = made? || self.made.contains(&link.index);
            tc::attach(route, link, name, made, &self.programs, place)?;
            let earlier = self.earlier.clone();
            return rows_without(link, &earlier);
        }
        let doing = || format!("putting the guard first on {}", link.name);
        for direction in BOTH {
            let row = tcx::row(link.index, direction).doing(doing)?;
            let pair = self.pair(direction, place);
            let at = |id: u32| row.programs.iter().position(|p| *p == id);
            let mut leaving = [self.earlier.clone(), self.ids()].concat();
            leaving.retain(|id| !pair.iter().any(|(ours, _)| ours == id)); // another place's too
            if !pair.iter().any(|(id, _)| at(*id) == Some(0)) {
                // The one that stands nowhere goes to the front; or the one further behind, if both
                // do.
                let last = |(id, _): &&(u32, _)| at(*id).map_or(usize::MAX, |at| at);
                let Some((comes, program)) = pair.iter().max_by_key(last) else {
                    continue;
                };
                tcx::take_off(link.index, direction, &[*comes]).doing(doing)?;
                tcx::put_first(link.index, direction, *program).doing(doing)?;
                leaving.extend(pair.iter().map(|(id, _)| *id).filter(|id| id != comes));
            }
            tcx::take_off(link.index, direction, &leaving).doing(doing)?;
        }
        // That of an incarnation that had no row, or knew of none.
        tc::detach(route, link, name, self.made.contains(&link.index)).map(drop)
    }

    /// How it stands there.
    pub(super) fn standing(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        place: Place,
        memory: &Memory,
        keys: &[Key],
    ) -> Result<Standing, KernelError> {
        let doing = || format!("looking for the guard on {}", link.name);
        for direction in BOTH {
            let ours = self.ids_for(direction, place);
            if self.twin.is_none() {
                match tc::standing(route, link, direction, &ours).doing(doing)? {
                    Standing::First => continue,
                    other => return Ok(other),
                }
            }
            let row = tcx::row(link.index, direction).doing(doing)?;
            let Some(at) = row.programs.iter().position(|p| ours.contains(p)) else {
                return Ok(Standing::Absent);
            };
            for before in &row.programs[..at] {
                let other = self.other(*before, memory, keys);
                if !other.gate {
                    return Ok(Standing::Behind(format!(
                        "{} ({})",
                        other.description,
                        way(direction)
                    )));
                }
            }
        }
        Ok(Standing::First)
    }

    /// In what order programs are asked on an interface: two numbers that change with it. `None`
    /// where rtnetlink notifies every change.
    pub(super) fn order(&self, index: u32) -> Option<[u64; 2]> {
        self.twin.as_ref()?;
        let revision = |direction| tcx::row(index, direction).map_or(0, |row| row.revision);
        Some(BOTH.map(revision))
    }

    /// Gates of others that keep one of our addresses mute as well: what they are, and for which
    /// address.
    pub(super) fn rivals(&mut self, link: &Link, memory: &Memory, keys: &[Key]) -> Vec<String> {
        let mut found = Vec::new();
        for direction in BOTH {
            let row = tcx::row(link.index, direction).unwrap_or_default();
            for id in row.programs {
                if self.ids.iter().any(|ours| ours.id == id) || self.earlier.contains(&id) {
                    continue;
                }
                let other = self.other(id, memory, keys);
                if let Some(shared) = other.shares {
                    found.push(format!(
                        "{}, another gate, keeps {} mute there ({}): another member of this cluster runs \
                         on this host; stop it, or run each on a machine of its own",
                        other.description,
                        address(&shared),
                        way(direction)
                    ));
                }
            }
        }
        found
    }

    fn other(&mut self, id: u32, memory: &Memory, keys: &[Key]) -> Other {
        if let Some(other) = self.others.get(&id) {
            return other.clone();
        }
        let written = match self.earlier.contains(&id) {
            true => Some(Vec::new()),
            false => memory.gate(id),
        };
        let other = match written {
            Some(theirs) => Other {
                description: format!("program {id} `onehold`"),
                gate: true,
                shares: theirs.into_iter().find(|key| keys.contains(key)),
            },
            None => other(id, keys),
        };
        if self.others.len() >= MOST_KNOWN {
            self.others.clear();
        }
        self.others.insert(id, other.clone());
        other
    }

    /// Takes the gate off an interface, and what earlier incarnations left there.
    pub(super) fn take_off(
        &self,
        route: &mut Netlink,
        link: &Link,
        name: &str,
    ) -> Result<(), KernelError> {
        let programs = [self.earlier.clone(), self.ids()].concat();
        rows_without(link, &programs)?;
        tc::detach(route, link, name, self.made.contains(&link.index)).map(drop)
    }
}

fn numbers(programs: &[&Programs]) -> Result<Vec<Number>, KernelError> {
    let mut found = Vec::new();
    for place in [Place::Own, Place::Elsewhere] {
        for direction in BOTH {
            for programs in programs {
                let id = bpf::program_id(programs.program(direction, place))
                    .doing(|| "asking for the number of the guard's BPF program".into())?;
                found.push(Number {
                    place,
                    direction,
                    id,
                });
            }
        }
    }
    Ok(found)
}

/// Each once, for one may hang at both places.
fn all(numbers: &[Number]) -> Vec<u32> {
    let mut all: Vec<u32> = numbers.iter().map(|n| n.id).collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) const fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "arriving",
        Direction::Egress => "leaving",
    }
}

/// How people read of a program.
pub(super) fn description(id: u32) -> String {
    match Known::by_id(id).and_then(|known| known.name()) {
        Ok(name) if !name.is_empty() => format!("BPF program {id} `{name}`"),
        _ => format!("BPF program {id} (whose? `bpftool prog show id {id}`)"),
    }
}

fn other(id: u32, keys: &[Key]) -> Other {
    let known = Known::by_id(id).ok().filter(Known::is_gate);
    let theirs = known.as_ref().and_then(|gate| gate.keys().ok());
    Other {
        description: description(id),
        gate: known.is_some(),
        shares: theirs
            .unwrap_or_default()
            .into_iter()
            .find(|k| keys.contains(k)),
    }
}

/// Takes programs off an interface, where the kernel has rows.
pub(super) fn rows_without(link: &Link, programs: &[u32]) -> Result<(), KernelError> {
    if programs.is_empty() {
        return Ok(());
    }
    for direction in BOTH {
        match tcx::take_off(link.index, direction, programs) {
            // There are no rows, or there is no interface.
            Err(e)
                if [libc::EINVAL, libc::ENODEV]
                    .map(Some)
                    .contains(&e.raw_os_error()) => {}
            other => other.doing(|| format!("removing an earlier guard from {}", link.name))?,
        }
    }
    Ok(())
}

/// The programs in an interface's rows that can't be read: whether one is a gate, nobody can say.
pub(super) fn unreadable_in_rows(link: &Link) -> Vec<u32> {
    let rows = BOTH.map(|direction| tcx::row(link.index, direction).unwrap_or_default());
    let all = rows.into_iter().flat_map(|row| row.programs);
    all.filter(|id| Known::by_id(*id).is_err()).collect()
}

/// The gates of earlier incarnations in an interface's rows: those that are known to be, and those
/// that can be read and guard what we guard.
pub(super) fn earlier_in_rows(link: &Link, written: &[u32], keys: &[Key]) -> Vec<u32> {
    let rows = BOTH.map(|direction| tcx::row(link.index, direction).unwrap_or_default());
    let mut found: Vec<u32> = rows.into_iter().flat_map(|row| row.programs).collect();
    found.retain(|id| written.contains(id) || other(*id, keys).shares.is_some());
    found
}

//! On which interfaces the gate hangs, and whether it is still the first to be asked there.

use super::attached::{self, Standing};
use super::pace::{Pace, Turn};
use super::{Gate, Guard, Place, boottime};
use crate::address::{self, Link};
use crate::netlink::{Heard, KernelError, Netlink};
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;

/// How often the order in which programs are asked is read: no event notifies a change.
const LOOK: Span = Span::from_millis(1_000);
/// On how many interfaces that belong to no group, each time; the next ones are next.
const AT_ONCE: usize = 32;
/// This long is spent on interfaces that belong to no group, and then the next ones wait for
/// [`NEXT`]: the kernel takes some 20 ms for a new one, in which nothing else is done.
pub(crate) const AT_A_TIME: Span = Span::from_millis(20);
const NEXT: Span = Span::from_millis(50);
/// With nftables a start with more interfaces than this makes one table for all.
const FEW: usize = 8;
/// How long a new interface may be without a gate before it is an alarm.
const TOLERATED: Span = Span::from_millis(1_000);

/// An interface that has the gate, or should have it.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) link: Link,
    /// It is a group's.
    own: bool,
    pub(super) pace: Pace,
    /// How the gate stands there must be asked.
    doubted: bool,
    /// In what order programs were asked there when that was last looked at.
    order: Option<[u64; 2]>,
    /// Why the gate does not decide there, if it does not.
    pub(super) fault: Option<String>,
    /// Anything else that a person should know.
    pub(super) concerns: Vec<String>,
}

impl Post {
    pub(super) fn on(link: &Link) -> Self {
        Self {
            link: link.clone(),
            own: false,
            doubted: true,
            pace: Pace::default(),
            order: None,
            fault: None,
            concerns: Vec::new(),
        }
    }
}

/// How [`Guard::tend`] left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tended {
    /// What is held is let through as before.
    Finished,
    /// Everything is shut now, also what is held.
    Shut,
}

impl Guard {
    /// When [`Self::stirred`] is due to be asked.
    pub(crate) const fn due(&self) -> Option<LocalTime> {
        self.due
    }

    /// Notifications were about these: the gate may have been taken away there.
    pub(crate) fn heard(&mut self, heard: &Heard) {
        for (index, post) in &mut self.posts {
            post.doubted |= heard.may_be_of(*index);
        }
    }

    pub(super) fn doubt_all(&mut self) {
        self.posts.values_mut().for_each(|post| post.doubted = true);
    }

    /// Puts the gate on every other interface of the host that can carry the addresses' traffic,
    /// and keeps it first there: where frames come in already first, and none is begun after
    /// `until` but one. What can't be done is an alarm.
    pub(crate) fn tend(
        &mut self,
        route: &mut Netlink,
        links: &[Link],
        all: &[Link],
        until: LocalTime,
    ) -> Tended {
        let is_own = |link: &Link| links.iter().any(|own| own.index == link.index);
        let wanted = |link: &&Link| is_own(link) || (link.ethernet && !link.part);
        let wanted: Vec<&Link> = all.iter().filter(wanted).collect();
        let gone = |index: &u32| !wanted.iter().any(|link| link.index == *index);
        let gone: Vec<u32> = self.posts.keys().copied().filter(gone).collect();
        for index in gone {
            let there = all.iter().any(|link| link.index == index);
            self.leave(route, index, there);
        }
        let mut waiting = Vec::new();
        for link in wanted {
            let post = self.posts.get(&link.index);
            if is_own(link) {
                // Whoever calls this has just asked how the gate stands there.
                let post = self.post(link);
                (post.own, post.doubted) = (true, false);
            } else if post.is_none_or(|post| post.doubted || post.fault.is_some()) {
                waiting.push(link);
                continue;
            } else {
                self.post(link).own = false;
            }
            self.look_beside(link);
        }
        waiting.sort_by_key(|link| {
            let new = !self.posts.contains_key(&link.index);
            (!new, link.fault.is_some(), link.pair)
        });
        let mut tended = self.start_with_all(links, &waiting, until);
        let mut left = waiting.iter();
        for link in left.by_ref() {
            self.tend_one(route, link, links, &mut tended);
            if boottime() >= until {
                break;
            }
        }
        let begun = boottime();
        let new = left.any(|link| !self.posts.contains_key(&link.index) && link.fault.is_none());
        self.unfinished = new.then(|| self.unfinished.unwrap_or(begun));
        let more = left.next().is_some() || new;
        self.due = Some(begun.plus(if more { NEXT } else { LOOK }));
        tended
    }

    /// At a start with nftables: one table for all, if the kernel takes it.
    fn start_with_all(&mut self, links: &[Link], new: &[&Link], until: LocalTime) -> Tended {
        let start = until == LocalTime::from_nanos(u64::MAX);
        if !start || !matches!(self.gate, Gate::Nft(_)) || new.len() <= FEW {
            return Tended::Finished;
        }
        for link in new {
            self.post(link);
        }
        let _ = self.replace(links); // what has no gate then gets it one by one
        Tended::Shut
    }

    /// It is gone, and its programs with it; or it is still `there`, as a part of another: what
    /// arrives there is not for this host.
    fn leave(&mut self, route: &mut Netlink, index: u32, there: bool) {
        let Some(post) = self.posts.remove(&index) else {
            return;
        };
        let _ = match &mut self.gate {
            Gate::Bpf(attached) if there => attached.take_off(route, &post.link, &self.name),
            Gate::Nft(table) => table.leave(&post.link),
            Gate::Bpf(_) | Gate::None => Ok(()),
        };
    }

    /// Tends one interface that belongs to no group.
    fn tend_one(&mut self, route: &mut Netlink, link: &Link, links: &[Link], tended: &mut Tended) {
        let new = !self.posts.contains_key(&link.index);
        let post = self.post(link);
        (post.own, post.doubted) = (false, false);
        let (turn, why) = match self.standing(route, link, Place::Elsewhere) {
            Ok(Standing::First) => return self.look_beside(link),
            Ok(_) if new => (Turn::Repair, String::new()),
            Ok(standing) => {
                let post = self.post(link);
                let why = match (&standing, post.fault.take()) {
                    (Standing::Behind(who), _) => format!("{who} is asked before it"),
                    (Standing::Absent | Standing::First, Some(refused)) => refused,
                    (Standing::Absent | Standing::First, None) => {
                        "somebody takes it away".to_owned()
                    }
                };
                (post.pace.turn(&standing, boottime()), why)
            }
            Err(e) => (Turn::Wait, e.to_string()),
        };
        let fault = match turn {
            Turn::Repair => {
                let put = self.put_on(route, link, links, tended);
                put.err().map(|e| e.to_string())
            }
            Turn::Wait | Turn::GiveUp => Some(why),
        };
        if fault.is_some() && !address::is_there(route, link.index) {
            self.leave(route, link.index, false); // it was short-lived
            return;
        }
        self.post(link).fault = fault;
        self.look_beside(link);
    }

    /// Puts the gate on an interface that belongs to no group.
    fn put_on(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        links: &[Link],
        tended: &mut Tended,
    ) -> Result<(), KernelError> {
        match &mut self.gate {
            Gate::Bpf(attached) => attached.put_first(route, link, Place::Elsewhere, &self.name),
            Gate::Nft(table) => match table.add(link) {
                Err(e) if table.exists()? => Err(e),
                Err(_) => {
                    *tended = Tended::Shut;
                    self.replace(links)
                }
                Ok(()) => Ok(()),
            },
            Gate::None => Ok(()),
        }
    }

    /// What else a person should know of an interface.
    fn look_beside(&mut self, link: &Link) {
        let xdp = link.xdp.filter(|_| !matches!(self.gate, Gate::None)).map(|id| {
            format!(
                "{}, by XDP, sees frames before the gate: if it answers for a floating address, or \
                 passes its traffic on, nothing mutes that on a frozen holder",
                attached::description(id)
            )
        });
        let mut concerns: Vec<String> = xdp.into_iter().collect();
        if let (Gate::Bpf(attached), true) = (&mut self.gate, self.posts[&link.index].own) {
            concerns.extend(attached.rivals(link, &self.memory, &self.keys));
        }
        self.post(link).concerns = concerns;
    }

    /// Makes the nftables gate again, on all interfaces or, if the kernel does not take that, on
    /// the groups' own; everything is shut afterwards.
    pub(super) fn replace(&mut self, links: &[Link]) -> Result<(), KernelError> {
        let others = self.others(links);
        let Gate::Nft(table) = &mut self.gate else {
            return Ok(());
        };
        if table.replace(&self.keys, links, &others).is_ok() {
            return Ok(());
        }
        table.replace(&self.keys, links, &[])?;
        self.doubt_all(); // they get it one by one
        Ok(())
    }

    /// Whether others have changed the order since the last time that this was asked, or something
    /// is still to be done.
    pub(crate) fn stirred(&mut self) -> bool {
        let now = boottime();
        self.due = Some(now.plus(LOOK));
        let until = now.plus(AT_A_TIME);
        let mut stirred = self.memory.keep() | self.unfinished.is_some();
        stirred |= (self.posts.values()).any(|post| post.doubted || post.fault.is_some());
        let attached = match &self.gate {
            Gate::Bpf(attached) => attached,
            // No event notifies that somebody took the table away.
            Gate::Nft(_) => return true,
            Gate::None => return stirred,
        };
        let own = self.posts.iter().filter(|(_, post)| post.own);
        let mut turn: Vec<u32> = own.map(|(index, _)| *index).collect();
        let next = self.posts.range(self.looked.saturating_add(1)..);
        let next = next.filter(|(_, post)| !post.own);
        turn.extend(next.map(|(index, _)| *index).take(AT_ONCE));
        self.looked = 0; // and round again, unless some are left
        for index in turn {
            let Some(post) = self.posts.get_mut(&index) else {
                continue;
            };
            let order = attached.order(index);
            let changed = std::mem::replace(&mut post.order, order) != order;
            post.doubted |= changed;
            stirred |= changed;
            if !post.own {
                self.looked = index;
                if boottime() >= until {
                    break;
                }
            }
        }
        if self
            .posts
            .range(self.looked.saturating_add(1)..)
            .next()
            .is_none()
        {
            self.looked = 0;
        }
        stirred
    }

    /// What needs a person.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let now = boottime();
        let mut alarms: Vec<String> = self.memory.alarm().into_iter().collect();
        alarms.extend(self.pushed.clone());
        let mut ungated = Vec::new();
        let mut hurried = Vec::new();
        let mut concerns: BTreeMap<&String, Vec<&str>> = BTreeMap::new();
        for post in self.posts.values() {
            let name = post.link.name.as_str();
            for concern in &post.concerns {
                concerns.entry(concern).or_default().push(name);
            }
            match &post.fault {
                Some(fault) => ungated.push((name, fault)),
                None if post.pace.hurried(now) => hurried.push(name),
                None => {}
            }
        }
        if let Some((_, fault)) = ungated.first() {
            let names: Vec<&str> = ungated.iter().map(|(name, _)| *name).collect();
            alarms.push(format!(
                "a frozen holder would answer on {}, where the gate does not decide: {fault}",
                and_more(&names)
            ));
        }
        if self
            .unfinished
            .is_some_and(|since| now >= since.plus(TOLERATED))
        {
            alarms.push(
                "new interfaces of this host wait for their gate, some twenty in a second get it: a frozen \
                 holder would answer there meanwhile"
                    .to_owned(),
            );
        }
        if !hurried.is_empty() {
            alarms.push(format!(
                "{}: somebody takes the gate away or pushes it back again and again: find out who else \
                 manages tc or BPF programs there",
                and_more(&hurried)
            ));
        }
        for (concern, names) in concerns {
            alarms.push(format!("{}: {concern}", and_more(&names)));
        }
        alarms
    }

    /// The interfaces that have the gate, or should have it, and belong to no group.
    pub(super) fn others(&self, links: &[Link]) -> Vec<Link> {
        let all = self.posts.values().map(|post| &post.link);
        let others = all.filter(|link| !links.iter().any(|own| own.index == link.index));
        others.cloned().collect()
    }

    pub(super) fn post(&mut self, link: &Link) -> &mut Post {
        let post = self
            .posts
            .entry(link.index)
            .or_insert_with(|| Post::on(link));
        post.link.clone_from(link);
        post
    }
}

/// The first of some names, and how many more there are.
fn and_more(names: &[&str]) -> String {
    let first = names.first().unwrap_or(&"");
    match names.len() {
        0 | 1 => (*first).to_owned(),
        2 => format!("{first} (and 1 more interface)"),
        n => format!("{first} (and {} more interfaces)", n - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::and_more;

    #[test]
    fn of_many_interfaces_the_first_is_named_and_the_others_are_counted() {
        assert_eq!(and_more(&["eth0"]), "eth0");
        assert_eq!(and_more(&["eth0", "q1"]), "eth0 (and 1 more interface)");
        assert_eq!(and_more(&["a", "b", "c"]), "a (and 2 more interfaces)");
    }
}

//! On which interfaces the gate hangs, and whether it is still the first to be asked there.

use super::attached::{self, Standing};
use super::pace::{Pace, Turn};
use super::{Gate, Guard, boottime};
use crate::address::Link;
use crate::netlink::Netlink;
use onehold_core::time::{LocalTime, Span};

/// How often the order in which programs are asked is looked at: no event tells of a change.
const LOOK: Span = Span::from_millis(1_000);
/// On how many interfaces that are no group's own, each time; the next ones are next.
const AT_ONCE: usize = 32;
/// After what time the next of many new interfaces gets its gate: the kernel takes some 20 ms for
/// one, in which nothing else is done.
const NEXT: Span = Span::from_millis(100);

/// An interface that has the gate, or should have it.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) link: Link,
    /// It is a group's.
    own: bool,
    pub(super) pace: Pace,
    /// In what order programs were asked there when that was last looked at.
    order: Option<[u64; 2]>,
    /// Why the gate does not decide there, if it does not.
    pub(super) fault: Option<String>,
    /// What else a person should know.
    pub(super) concerns: Vec<String>,
}

impl Post {
    fn on(link: &Link) -> Self {
        Self {
            link: link.clone(),
            own: false,
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
    /// All interfaces have what they can have.
    Finished,
    /// Some new ones have no gate yet.
    Unfinished,
    /// Everything is shut now, also what is held.
    Shut,
}

impl Guard {
    /// When [`Self::stirred`] is to be asked.
    pub(crate) const fn due(&self) -> Option<LocalTime> {
        self.due
    }

    /// Puts the gate on every other interface of the host that can carry the addresses' traffic, and
    /// keeps it first there. What can't be done is an alarm.
    /// New ones get it at most `most` at a time.
    pub(crate) fn tend(
        &mut self,
        route: &mut Netlink,
        links: &[Link],
        all: &[Link],
        mut most: usize,
    ) -> Tended {
        let is_own = |link: &Link| links.iter().any(|own| own.index == link.index);
        let wanted = |link: &Link| is_own(link) || (link.ethernet && !link.part);
        let (wanted, rest): (Vec<&Link>, Vec<&Link>) = all.iter().partition(|l| wanted(l));
        for link in rest {
            // It has become a part of another: what arrives there is not for this host.
            if self.posts.remove(&link.index).is_some()
                && let Gate::Bpf(attached) = &self.gate
            {
                let _ = attached.take_off(route, link, &self.name);
            }
        }
        (self.posts).retain(|index, _| wanted.iter().any(|link| link.index == *index));
        let mut tended = Tended::Finished;
        for link in &wanted {
            let new = !self.posts.contains_key(&link.index);
            if new && !is_own(link) && matches!(self.gate, Gate::Bpf(_)) {
                let Some(left) = most.checked_sub(1) else {
                    tended = Tended::Unfinished; // its turn comes
                    continue;
                };
                most = left;
            }
            self.post(link).own = is_own(link);
            if !is_own(link) {
                self.tend_one(route, link, new);
            }
            self.look_beside(link);
        }
        if matches!(self.gate, Gate::Nft(_)) && self.nft_misses_some() {
            tended = self.replace(links);
        }
        self.unfinished = tended == Tended::Unfinished;
        self.due = match (&self.gate, tended) {
            (Gate::Bpf(_), Tended::Unfinished) => Some(boottime().plus(NEXT)),
            _ => Some(boottime().plus(LOOK)),
        };
        tended
    }

    /// Sees to one interface that is no group's own.
    fn tend_one(&mut self, route: &mut Netlink, link: &Link, new: bool) {
        let Self {
            gate: Gate::Bpf(attached),
            posts,
            keys,
            memory,
            name,
            ..
        } = self
        else {
            return;
        };
        let Some(post) = posts.get_mut(&link.index) else {
            return;
        };
        let (turn, why) = match attached.standing(route, link, memory, keys) {
            Ok(Standing::First) => {
                post.fault = None;
                return;
            }
            Ok(_) if new => (Turn::Mend, String::new()),
            Ok(standing) => {
                let why = match &standing {
                    Standing::Behind(who) => format!("{who} is asked before it"),
                    Standing::Absent | Standing::First => "somebody takes it away".to_owned(),
                };
                (post.pace.turn(&standing, boottime()), why)
            }
            Err(e) => (Turn::Wait, e.to_string()),
        };
        post.fault = match turn {
            Turn::Mend => {
                let put = attached.put_first(route, link, name);
                put.err().map(|e| e.to_string())
            }
            Turn::Wait | Turn::GiveUp => Some(why),
        };
    }

    /// What else a person should know of an interface.
    fn look_beside(&mut self, link: &Link) {
        let xdp = link.xdp.filter(|_| !matches!(self.gate, Gate::None)).map(|id| {
            format!(
                "{}: {}, by XDP, sees frames before the gate: if it answers for a floating address, or \
                 passes its traffic on, nothing mutes that on a frozen holder",
                link.name,
                attached::description(id)
            )
        });
        let mut concerns: Vec<String> = xdp.into_iter().collect();
        if let (Gate::Bpf(attached), true) = (&mut self.gate, self.posts[&link.index].own) {
            concerns.extend(attached.rivals(link, &self.memory, &self.keys));
        }
        self.post(link).concerns = concerns;
    }

    fn nft_misses_some(&mut self) -> bool {
        let Gate::Nft(table) = &mut self.gate else {
            return false;
        };
        let now = boottime();
        let mut missing = false;
        for post in self.posts.values_mut() {
            missing |=
                !table.gates(&post.link) && post.pace.turn(&Standing::Absent, now) == Turn::Mend;
        }
        missing
    }

    /// Hangs the nftables gate on all interfaces anew; everything is shut afterwards.
    fn replace(&mut self, links: &[Link]) -> Tended {
        let guarded = self.guarded(links);
        let Gate::Nft(table) = &mut self.gate else {
            return Tended::Finished;
        };
        let all = table.replace(&self.keys, &guarded);
        let fault = all.err().map(|e| e.to_string());
        for post in self.posts.values_mut() {
            post.fault = fault.clone().filter(|_| !table.gates(&post.link));
        }
        Tended::Shut
    }

    /// Whether others have changed the order since the last time that this was asked, or something is
    /// still to be done.
    pub(crate) fn stirred(&mut self) -> bool {
        self.due = Some(boottime().plus(LOOK));
        let mut stirred = self.memory.keep() | self.unfinished;
        let Gate::Bpf(attached) = &self.gate else {
            return stirred;
        };
        let first = self.looked;
        let others = self.posts.iter().filter(|(_, post)| !post.own);
        let others = others
            .map(|(index, _)| *index)
            .filter(|index| *index > first);
        let last = others.take(AT_ONCE).last();
        self.looked = last.unwrap_or(0); // and round again
        let last = last.unwrap_or(u32::MAX);
        for (index, post) in &mut self.posts {
            let its_turn = first < *index && *index <= last;
            if !post.own && !its_turn {
                continue;
            }
            let order = attached.order(*index);
            stirred |= std::mem::replace(&mut post.order, order) != order || post.fault.is_some();
        }
        stirred
    }

    /// The interfaces that have the gate, or are to have it: the groups' own, and all others.
    pub(super) fn guarded(&self, links: &[Link]) -> Vec<Link> {
        let others = self.posts.values().map(|post| &post.link);
        let others = others.filter(|link| !links.iter().any(|own| own.index == link.index));
        links.iter().chain(others).cloned().collect()
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

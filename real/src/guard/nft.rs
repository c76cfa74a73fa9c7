//! The gate as an nftables table, for those who may not load BPF: an ordinary user in a user
//! namespace, say.
//!
//! A `netdev` table with a chain each way on each interface, which jumps to the one that has the
//! rules: so the message that makes it all stays small, however many interfaces there are. The set
//! `vip` has the addresses, the set `held` those that may be effective now, each with a timeout.
//! What is in `vip` and not in `held` is dropped, by the same policy as in [`super::policy`], but
//! for VLAN tags: only one that the kernel itself takes away is looked behind; and but for what
//! only passes through a member that routes, which is dropped, for nothing here distinguishes it
//! from what this host sends.
//!
//! A timeout is *relative*: were the process paused between reading the clock and the system call,
//! the address would live longer by the pause. Therefore the **token**: first an element that lives
//! for at most [`TOKEN`] is added, then the clock is read, then one atomic batch removes the token
//! and refreshes `held`. If the token is dead, the kernel refuses the whole batch. The token's life
//! and a tick are subtracted from the timeout, so that it never ends late: that is what this gate
//! takes of each lease.
//!
//! The kernel counts timeouts in ticks, which stand still in suspend: after it an address may be
//! effective for what was left of its lease.

mod names;
mod rules;

use super::{Held, Key, Place, boottime, differs_elsewhere, muting};
use crate::address::Link;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Refusal, Request};
use crate::upgrade::Inherited;
#[allow(
    clippy::wildcard_imports,
    reason = "the kernel's numbers, and nothing else"
)]
use names::*;
use onehold_core::time::{LocalTime, Span};
use rules::{add_rule, jump, write_rules};
use rustix::time::{ClockId, clock_getres};
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

/// How long a process may be paused between reading the clock and the kernel's refresh: one part in
/// this many of what is left of the lease, at most [`TOKEN`], and at least two ticks, for the first
/// may end at once.
const PART: u64 = 16;
const TOKEN: Span = Span::from_millis(20);
/// What a hold ends early, where ticks are longest (`HZ=100`).
pub(super) const MOST_EARLY: Span = TOKEN.plus(Span::from_millis(10));
/// No timeout is shorter, for the kernel counts them in these.
const LEAST: Span = Span::from_millis(1);
/// Most elements in one message: an attribute is at most 64 KiB long, and a batch at most what the
/// socket's buffer takes.
const CHUNK: usize = 1024;
/// Of those that are held, fewer: the message is written while the token lives.
const CHUNK_OF_A_TOKEN: usize = 64;
/// The chains that have the rules.
const ARRIVING: &str = "arriving";
const LEAVING: &str = "leaving";
/// Those that hang on each interface: name, where they jump to, hook, priority.
const WAYS: [(&str, &str, u32, i32); 2] = [("in", ARRIVING, 0, -400), ("out", LEAVING, 1, 400)];
const PLACES: [Place; 2] = [Place::Own, Place::Elsewhere];

/// The table, as long as this process lives: the kernel lets nobody else change an owned one.
#[derive(Debug)]
pub(super) struct Table {
    netlink: Netlink,
    name: String,
    request: Request,
    tokens: u64,
    /// Other rules are asked on interfaces that belong to no group.
    differs: bool,
    /// How coarse the kernel counts a timeout.
    tick: Span,
}

/// How long a tick of the kernel is (`1/HZ`).
fn tick() -> Span {
    let t = clock_getres(ClockId::MonotonicCoarse);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    Span::from_nanos(nanos).max(Span::from_nanos(1_000_000))
}

/// The table, for another program of this process: it belongs to who has this socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Carried {
    pub(super) fd: RawFd,
    sequence: u32,
    tokens: u64,
    differs: bool,
}

impl Table {
    /// What goes on in another program of this process.
    pub(super) fn carried(&self) -> Carried {
        let (fd, sequence) = self.netlink.carried();
        Carried {
            fd,
            sequence,
            tokens: self.tokens,
            differs: self.differs,
        }
    }

    /// The table of the former program of this process, as it is.
    pub(super) fn inherit(name: &str, carried: &Carried, from: &Inherited) -> Result<Self, String> {
        Ok(Self {
            netlink: Netlink::inherit(from.take(carried.fd)?, carried.sequence),
            name: name.to_owned(),
            request: Request::new(),
            tokens: carried.tokens,
            differs: carried.differs,
            tick: tick(),
        })
    }

    /// Opens the way to nftables. Makes nothing yet.
    pub(super) fn open(name: &str) -> Result<Self, KernelError> {
        let netlink = Netlink::open(libc::NETLINK_NETFILTER)?;
        Ok(Self {
            netlink,
            name: name.to_owned(),
            request: Request::new(),
            tokens: 0,
            differs: false,
            tick: tick(),
        })
    }

    /// How long a token lives when `left` of a lease is left.
    fn token(&self, left: Span) -> Span {
        left.part(PART).min(TOKEN).max(self.tick.times(2))
    }

    /// By how much a hold of this length ends before its deadline, at most.
    pub(super) fn ends_early(&self, lease: Span) -> Span {
        self.token(lease).plus(self.tick)
    }

    /// Whether there is a table of this name, ours or an earlier incarnation's.
    pub(super) fn exists(&mut self) -> Result<bool, KernelError> {
        self.request.clear();
        nft(&mut self.request, GET_TABLE, netlink::NLM_F_ACK).string(TABLE_NAME, &self.name);
        match self.netlink.send(&mut self.request) {
            Ok(()) => Ok(true),
            Err(e) if e.errno() == libc::ENOENT => Ok(false),
            Err(e) => Err(e).doing(|| format!("looking for nftables table {}", self.name)),
        }
    }

    /// Whether the interface's chains are there, and hang on it: since Linux 6.16 a chain belongs
    /// to an interface's name, so that one with another name is without.
    pub(super) fn gates(&mut self, link: &Link, place: Place) -> bool {
        let place = self.place(place);
        WAYS.iter()
            .all(|(way, ..)| self.hangs_on(&chain(way, link, place)) == Some(link.name.clone()))
    }

    /// Where nothing differs, all places are alike.
    const fn place(&self, place: Place) -> Place {
        if self.differs { place } else { Place::Own }
    }

    /// The name of the interface on which a chain hangs, or nothing for nowhere; if there is one.
    fn hangs_on(&mut self, chain: &str) -> Option<String> {
        self.request.clear();
        nft(&mut self.request, GET_CHAIN, netlink::NLM_F_ACK)
            .string(CHAIN_TABLE, &self.name)
            .string(CHAIN_NAME, chain);
        let mut device = None;
        let asked = self.netlink.dump(&mut self.request, |_, message| {
            let hook = message.get(4..);
            let hook = hook.and_then(|rest| netlink::attribute(rest, CHAIN_HOOK));
            let name = hook.and_then(|hook| netlink::attribute(hook, HOOK_DEVICE));
            device = Some(name.map_or("", netlink::text).to_owned());
        });
        asked.ok().and(device)
    }

    /// Whether other rules are asked on interfaces that belong to no group.
    pub(super) const fn differs(&self) -> bool {
        self.differs
    }

    /// Mutes on one more interface that belongs to no group. What is held stays held.
    pub(super) fn add(&mut self, link: &Link) -> Result<(), KernelError> {
        self.leave(link)?; // a chain of this name that hangs on another one
        self.hang_on(link, self.place(Place::Elsewhere))
    }

    /// Mutes as on a group's interface from now on, without a moment of less. What is held stays
    /// held.
    pub(super) fn own(&mut self, link: &Link) -> Result<(), KernelError> {
        self.leave_as(link, Place::Own)?; // a chain of this name that hangs on another one
        self.hang_on(link, Place::Own)?;
        self.leave_as(link, Place::Elsewhere)
    }

    fn hang_on(&mut self, link: &Link, place: Place) -> Result<(), KernelError> {
        let Self {
            netlink,
            name,
            request: r,
            ..
        } = self;
        begin(r);
        hang(r, name, link, place);
        nft(r, NEW_TABLE, netlink::NLM_F_ACK).string(TABLE_NAME, name); // to be answered
        finish(r);
        (netlink.send(r)).doing(|| {
            format!(
                "putting the gate of nftables table netdev {name} on {}",
                link.name
            )
        })
    }

    /// Takes away an interface's chains, as far as they are there: since Linux 6.16 they would stay
    /// when it is gone.
    pub(super) fn leave(&mut self, link: &Link) -> Result<(), KernelError> {
        PLACES
            .into_iter()
            .try_for_each(|place| self.leave_as(link, place))
    }

    fn leave_as(&mut self, link: &Link, place: Place) -> Result<(), KernelError> {
        for chain in WAYS.map(|(way, ..)| chain(way, link, place)) {
            if self.hangs_on(&chain).is_none() {
                continue;
            }
            let r = &mut self.request;
            begin(r);
            nft(r, DELETE_CHAIN, netlink::NLM_F_ACK)
                .string(CHAIN_TABLE, &self.name)
                .string(CHAIN_NAME, &chain);
            finish(r);
            match self.netlink.send(r) {
                Err(e) if e.errno() != libc::ENOENT => {
                    return Err(e)
                        .doing(|| format!("taking the gate of nftables off {}", link.name));
                }
                _ => {} // or it went with its interface
            }
        }
        Ok(())
    }

    /// The addresses that the table guards.
    pub(super) fn keys(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.request.clear();
        nft(&mut self.request, GET_ELEMENTS, netlink::NLM_F_DUMP)
            .string(ELEMENTS_TABLE, &self.name)
            .string(ELEMENTS_SET, "vip");
        // Without the table there are none.
        let _ = self.netlink.dump(&mut self.request, |_, message| {
            let list = message
                .get(4..)
                .and_then(|rest| netlink::attribute(rest, ELEMENTS));
            for (_, element) in netlink::attributes(list.unwrap_or(&[])) {
                let key = netlink::attribute(element, ELEMENT_KEY)
                    .and_then(|data| netlink::attribute(data, DATA_VALUE));
                keys.extend(key.and_then(|key| Key::try_from(key).ok()));
            }
        });
        keys
    }

    /// Replaces the table, in one step, by one in which every one of `keys` is mute on `own`
    /// interfaces of groups and on `others`.
    pub(super) fn replace(
        &mut self,
        keys: &[Key],
        own: &[Link],
        others: &[Link],
    ) -> Result<(), KernelError> {
        let exists = self.exists()?;
        self.differs = differs_elsewhere(keys);
        let own = own.iter().map(|link| (link, Place::Own));
        let others = others
            .iter()
            .map(|link| (link, self.place(Place::Elsewhere)));
        let links: Vec<(&Link, Place)> = own.chain(others).collect();
        // Owned and persistent (Linux 6.9) it survives `nft flush ruleset` and our death. An
        // owned one that does not persist would die with us: rather a plain one.
        let mut result = self.try_replace(keys, &links, exists, OWNER | PERSIST);
        if let Err(e) = &result
            && [libc::EOPNOTSUPP, libc::EINVAL].contains(&e.errno())
        {
            result = self.try_replace(keys, &links, exists, 0);
        }
        result.doing(|| format!("making nftables table netdev {}", self.name))
    }

    fn try_replace(
        &mut self,
        keys: &[Key],
        links: &[(&Link, Place)],
        exists: bool,
        flags: u32,
    ) -> Result<(), Refusal> {
        let Self {
            netlink,
            name,
            request: r,
            differs,
            ..
        } = self;
        begin(r);
        if exists {
            nft(r, DELETE_TABLE, 0).string(TABLE_NAME, name);
        }
        nft(r, NEW_TABLE, netlink::NLM_F_CREATE)
            .string(TABLE_NAME, name)
            .be32(TABLE_FLAGS, flags);
        for (id, (set, timed)) in (1..).zip([("vip", false), ("held", true), ("token", true)]) {
            nft(r, NEW_SET, netlink::NLM_F_CREATE)
                .string(SET_TABLE, name)
                .string(SET_NAME, set)
                .be32(SET_FLAGS, if timed { TIMED } else { 0 })
                .be32(SET_KEY_TYPE, IPV6_ADDRESS)
                .be32(SET_KEY_LENGTH, 16)
                .be32(SET_ID, id);
        }
        let places = if *differs { &PLACES[..] } else { &PLACES[..1] };
        for place in places {
            for (way, arriving) in [(ARRIVING, true), (LEAVING, false)] {
                let chain = at(way, *place);
                nft(r, NEW_CHAIN, netlink::NLM_F_CREATE)
                    .string(CHAIN_TABLE, name)
                    .string(CHAIN_NAME, &chain);
                write_rules(r, name, &chain, arriving, *place);
            }
        }
        for (link, place) in links {
            hang(r, name, link, *place);
        }
        for keys in keys.chunks(CHUNK) {
            elements(r, NEW_ELEMENTS, 0, name, "vip", keys, None);
        }
        // A last message, to be answered.
        nft(r, NEW_TABLE, netlink::NLM_F_ACK).string(TABLE_NAME, name);
        finish(r);
        netlink.send(r)
    }

    /// Lets `keys` be effective until `deadline`. What is too late or fails changes nothing.
    pub(super) fn hold(&mut self, keys: &[Key], deadline: LocalTime) -> Result<Held, KernelError> {
        for keys in keys.chunks(CHUNK_OF_A_TOKEN) {
            if self.hold_some(keys, deadline)? == Held::TooLate {
                return Ok(Held::TooLate);
            }
        }
        Ok(Held::Yes)
    }

    fn hold_some(&mut self, keys: &[Key], deadline: LocalTime) -> Result<Held, KernelError> {
        const TRIES: u32 = 3;
        for _ in 0..TRIES {
            match self.try_hold(keys, deadline) {
                // The token died: we were paused. What is left of the lease is still ours.
                Err(e) if e.errno() == libc::ENOENT => {}
                other => return other,
            }
        }
        // Or its table is gone, and everything with it.
        if self.exists()? {
            return Ok(Held::TooLate);
        }
        let why = "it is gone";
        let doing = format!("refreshing the lease in nftables table {}", self.name);
        Err(KernelError::refused(doing, why))
    }

    fn try_hold(&mut self, keys: &[Key], deadline: LocalTime) -> Result<Held, KernelError> {
        let left = deadline.since(boottime());
        let (life, early) = (self.token(left), self.ends_early(left));
        let Self {
            netlink,
            name,
            request: r,
            tokens,
            ..
        } = self;
        let doing = || format!("refreshing the lease in nftables table {name}");
        *tokens += 1;
        let mut token: Key = [0; 16];
        token[..8].copy_from_slice(&tokens.to_ne_bytes());
        begin(r);
        elements(
            r,
            NEW_ELEMENTS,
            netlink::NLM_F_ACK,
            name,
            "token",
            &[token],
            Some(life),
        );
        finish(r);
        netlink.send(r).doing(doing)?;

        let left = deadline.since(boottime()).as_nanos();
        let timeout = Span::from_nanos(left.saturating_sub(early.as_nanos()));
        if timeout < LEAST {
            return Ok(Held::TooLate);
        }
        begin(r);
        elements(r, DELETE_ELEMENTS, 0, name, "token", &[token], None);
        // Add, delete, add: Linux 6.1 leaves the timeout of an element that is there as it is.
        elements(r, NEW_ELEMENTS, 0, name, "held", keys, Some(timeout));
        elements(r, DELETE_ELEMENTS, 0, name, "held", keys, None);
        elements(
            r,
            NEW_ELEMENTS,
            netlink::NLM_F_ACK,
            name,
            "held",
            keys,
            Some(timeout),
        );
        finish(r);
        netlink.send(r).doing(doing).map(|()| Held::Yes)
    }

    /// Mutes `keys` now.
    pub(super) fn shut(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        keys.chunks(CHUNK).try_for_each(|keys| self.shut_some(keys))
    }

    fn shut_some(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        let life = self.token(Span::ZERO);
        let Self {
            netlink,
            name,
            request: r,
            ..
        } = self;
        begin(r);
        elements(r, NEW_ELEMENTS, 0, name, "held", keys, Some(life)); // so that it can be deleted
        elements(
            r,
            DELETE_ELEMENTS,
            netlink::NLM_F_ACK,
            name,
            "held",
            keys,
            None,
        );
        finish(r);
        netlink
            .send(r)
            .doing(|| keys.first().map_or_else(|| "muting nothing".into(), muting))
    }

    /// Guards these, too: mute, if they were not guarded before.
    pub(super) fn guard(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        let Self {
            netlink,
            name,
            request: r,
            ..
        } = self;
        for keys in keys.chunks(CHUNK) {
            begin(r);
            elements(r, NEW_ELEMENTS, netlink::NLM_F_ACK, name, "vip", keys, None);
            finish(r);
            (netlink.send(r)).doing(|| format!("guarding addresses in nftables table {name}"))?;
        }
        Ok(())
    }

    /// Drops `keys` from what is guarded. That they are not there is not an error.
    pub(super) fn forget(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        keys.chunks(CHUNK)
            .try_for_each(|keys| self.forget_some(keys))
    }

    fn forget_some(&mut self, keys: &[Key]) -> Result<(), KernelError> {
        let Self {
            netlink,
            name,
            request: r,
            ..
        } = self;
        begin(r);
        elements(r, NEW_ELEMENTS, 0, name, "vip", keys, None); // so that it can be deleted
        elements(
            r,
            DELETE_ELEMENTS,
            netlink::NLM_F_ACK,
            name,
            "vip",
            keys,
            None,
        );
        finish(r);
        netlink
            .send(r)
            .doing(|| format!("forgetting addresses in nftables table {name}"))
    }

    /// Removes the table, if there is one.
    pub(super) fn remove(&mut self) -> Result<(), KernelError> {
        if !self.exists()? {
            return Ok(());
        }
        let Self {
            netlink,
            name,
            request: r,
            ..
        } = self;
        begin(r);
        nft(r, DELETE_TABLE, netlink::NLM_F_ACK).string(TABLE_NAME, name);
        finish(r);
        netlink
            .send(r)
            .doing(|| format!("removing nftables table netdev {name}"))
    }
}

/// Hangs the chains on an interface that jump to the rules.
fn hang(r: &mut Request, table: &str, link: &Link, place: Place) {
    for (way, rules, hook, priority) in WAYS {
        let chain = chain(way, link, place);
        nft(r, NEW_CHAIN, netlink::NLM_F_CREATE)
            .string(CHAIN_TABLE, table)
            .string(CHAIN_NAME, &chain)
            .nest(CHAIN_HOOK, |r| {
                r.be32(HOOK_NUMBER, hook)
                    .be32(HOOK_PRIORITY, priority.cast_unsigned())
                    .string(HOOK_DEVICE, &link.name);
            })
            .string(CHAIN_TYPE, "filter");
        add_rule(r, table, &chain, |r| jump(r, &at(rules, place)));
    }
}

/// What a chain is called that is for a place.
fn at(chain: &str, place: Place) -> String {
    match place {
        Place::Own => chain.to_owned(),
        Place::Elsewhere => format!("{chain}-elsewhere"),
    }
}

/// The chain's name has the interface's number: one that was created again has no chain yet.
fn chain(way: &str, link: &Link, place: Place) -> String {
    at(&format!("{way}{}", link.index), place)
}

fn begin(r: &mut Request) {
    r.clear().message(BATCH_BEGIN, 0, &BATCH);
}

fn finish(r: &mut Request) {
    r.end(BATCH_END, &BATCH);
}

/// Begins a message to nftables about the netdev family.
fn nft(r: &mut Request, kind: u16, flags: i32) -> &mut Request {
    const NETDEV: u8 = 5;
    r.message(SUBSYSTEM << 8 | kind, flags, &[NETDEV, 0, 0, 0])
}

fn elements(
    r: &mut Request,
    kind: u16,
    flags: i32,
    table: &str,
    set: &str,
    keys: &[Key],
    timeout: Option<Span>,
) {
    let create = if kind == NEW_ELEMENTS {
        netlink::NLM_F_CREATE
    } else {
        0
    };
    nft(r, kind, flags | create)
        .string(ELEMENTS_TABLE, table)
        .string(ELEMENTS_SET, set)
        .nest(ELEMENTS, |r| {
            for key in keys {
                r.nest(LIST_ELEMENT, |r| {
                    r.nest(ELEMENT_KEY, |r| {
                        r.attr(DATA_VALUE, key);
                    });
                    if let Some(timeout) = timeout {
                        let millis = timeout.as_nanos() / 1_000_000;
                        r.attr(ELEMENT_TIMEOUT, &millis.to_be_bytes());
                    }
                });
            }
        });
}

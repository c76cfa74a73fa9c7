//! Where the BPF gate hangs before Linux 6.6: `clsact` on an interface, one direct-action filter
//! each way, before all others.
//!
//! A filter belongs to the interface, not to the process: it stays when the daemon dies. Of those
//! with one priority the kernel asks the youngest first, and lists them in that order.

use super::Place;
use super::attached::{BOTH, Standing, way};
use super::bpf::{Direction, Programs};
use crate::address::Link;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Refusal, Request};
use std::os::fd::AsRawFd as _;

const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Before anything else that may redirect a packet past us.
const PRIORITY: u32 = 1;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const CHAIN: u16 = 11;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

/// Ends the name of a filter whose clsact was there before anybody of ours came. Whoever of us
/// leaves last takes any other away.
const NOT_OURS: &str = "~";
/// Begins the name of every gate's filter, of whatever cluster.
const GATE: &str = "onehold-";

/// A filter that hangs on an interface.
#[derive(Clone, Debug)]
struct Filter {
    direction: Direction,
    handle: u32,
    info: u32,
    chain: u32,
    kind: String,
    name: String,
    program: u32,
}

impl Filter {
    fn is_of(&self, name: &str) -> bool {
        self.name.strip_suffix(NOT_OURS).unwrap_or(&self.name) == name
    }

    /// It hangs in a clsact that came from one of us.
    fn in_ours(&self) -> bool {
        self.name.starts_with(GATE) && !self.name.ends_with(NOT_OURS)
    }

    fn describe(&self) -> String {
        let priority = self.info >> 16;
        let Self { kind, name, .. } = self;
        match self.program {
            0 => format!("a `{kind}` filter of priority {priority}"),
            id => format!("BPF program {id}, filter `{name}` of priority {priority}"),
        }
    }
}

const fn parent(direction: Direction) -> u32 {
    match direction {
        Direction::Ingress => 0xffff_fff2,
        Direction::Egress => 0xffff_fff3,
    }
}

fn header(interface: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut tcmsg = [0; 20];
    for (i, word) in [interface, handle, parent, info].into_iter().enumerate() {
        tcmsg[4 + 4 * i..8 + 4 * i].copy_from_slice(&word.to_ne_bytes());
    }
    tcmsg
}

/// What every filter we hang has in common: priority 1, all protocols.
fn info() -> u32 {
    PRIORITY << 16 | u32::from(u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be())
}

/// Hangs the programs on an interface, then takes away those of before, ours and earlier
/// incarnations', which have the same name: there is no moment without a gate. Needs [`clsact`];
/// `made` says that it came from us.
pub(super) fn attach(
    route: &mut Netlink,
    link: &Link,
    name: &str,
    made: bool,
    programs: &Programs,
    place: Place,
) -> Result<(), KernelError> {
    let mut there =
        filters(route, link.index).doing(|| format!("listing the filters of {}", link.name))?;
    let ours = made || there.iter().any(Filter::in_ours);
    there.retain(|filter| filter.is_of(name));
    let full = if ours {
        name.to_owned()
    } else {
        format!("{name}{NOT_OURS}")
    };
    for direction in BOTH {
        let fd = programs
            .program(direction, place)
            .as_raw_fd()
            .cast_unsigned();
        let mut request = Request::new();
        request
            .message(
                libc::RTM_NEWTFILTER,
                netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL,
                &header(link.index, 0, parent(direction), info()),
            )
            .string(KIND, "bpf")
            .nest(OPTIONS, |options| {
                options
                    .u32(BPF_FD, fd)
                    .string(BPF_NAME, &full)
                    .u32(BPF_FLAGS, DIRECT_ACTION);
            });
        route.send(&mut request).doing(|| {
            format!(
                "attaching the guard to {} {direction:?} (priority {PRIORITY})",
                link.name
            )
        })?;
    }
    for filter in &there {
        remove(route, link.index, filter)
            .doing(|| format!("removing an earlier guard from {}", link.name))?;
    }
    Ok(())
}

/// How one of our programs stands among an interface's filters.
pub(super) fn standing(
    route: &mut Netlink,
    link: &Link,
    direction: Direction,
    ours: &[u32],
) -> Result<Standing, Refusal> {
    let mut all = filters(route, link.index)?;
    all.retain(|f| f.direction == direction && f.chain == 0); // others are reached from there
    let Some(at) = all.iter().position(|f| ours.contains(&f.program)) else {
        return Ok(Standing::Absent);
    };
    let before = all[..at].iter().find(|f| !f.name.starts_with(GATE));
    Ok(before.map_or(Standing::First, |filter| {
        Standing::Behind(format!("{} ({})", filter.describe(), way(direction)))
    }))
}

/// The filters that are asked one after the other: whether each is a gate, and what it is.
pub(super) fn asked(
    route: &mut Netlink,
    link: &Link,
    direction: Direction,
) -> Result<Vec<(bool, String)>, Refusal> {
    let mut all = filters(route, link.index)?;
    all.retain(|f| f.direction == direction && f.chain == 0);
    let all = all.iter().map(|f| (f.name.starts_with(GATE), f.describe()));
    Ok(all.collect())
}

/// The ids of the programs that hang on an interface under this name.
pub(super) fn programs_on(route: &mut Netlink, index: u32, name: &str) -> Vec<u32> {
    let found = ours(route, index, name).unwrap_or_default();
    found.into_iter().map(|f| f.program).collect()
}

/// Takes everything of this name off the interface, and clsact too if nobody else uses it and
/// `made` says that it came from us. Returns whether there was anything.
pub(super) fn detach(
    route: &mut Netlink,
    link: &Link,
    name: &str,
    made: bool,
) -> Result<bool, KernelError> {
    let doing = || format!("removing the guard from {}", link.name);
    let found = ours(route, link.index, name).doing(doing)?;
    let made = made || found.iter().any(Filter::in_ours);
    for filter in &found {
        remove(route, link.index, filter).doing(doing)?;
    }
    if made && filters(route, link.index).doing(doing)?.is_empty() {
        let mut request = Request::new();
        request
            .message(
                libc::RTM_DELQDISC,
                netlink::NLM_F_ACK,
                &header(link.index, CLSACT_HANDLE, CLSACT, 0),
            )
            .string(KIND, "clsact");
        ignoring(
            route.send(&mut request),
            &[libc::ENOENT, libc::EINVAL, libc::ENODEV],
        )
        .doing(doing)?;
    }
    Ok(!found.is_empty())
}

/// Makes sure that the interface has clsact; says whether it had to be made.
pub(super) fn clsact(route: &mut Netlink, link: &Link) -> Result<bool, KernelError> {
    let mut request = Request::new();
    request
        .message(
            libc::RTM_NEWQDISC,
            netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL,
            &header(link.index, CLSACT_HANDLE, CLSACT, 0),
        )
        .string(KIND, "clsact");
    match route.send(&mut request) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == libc::EEXIST => match kind(route, link.index).as_deref() {
            Ok("clsact") => Ok(false),
            other => Err(KernelError::refused(
                format!("adding clsact to {}", link.name),
                format!(
                    "the queueing discipline `{}` is in its place, which has no filters for what \
                     leaves: tc qdisc del dev {} ingress, and say clsact instead",
                    other.unwrap_or("?"),
                    link.name
                ),
            )),
        },
        Err(e) => Err(e).doing(|| format!("adding clsact to {}", link.name)),
    }
}

/// The kind of what is where clsact would be.
fn kind(route: &mut Netlink, index: u32) -> Result<String, Refusal> {
    let mut kind = String::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETQDISC, netlink::NLM_F_DUMP, &[0; 20]);
    route.dump(&mut request, |_, message| {
        let (interface, parent) = (netlink::u32_at(message, 4), netlink::u32_at(message, 12));
        if (interface, parent) == (Some(index), Some(CLSACT)) {
            let attributes = message.get(20..).unwrap_or(&[]);
            kind = netlink::attribute(attributes, KIND)
                .map_or_else(String::new, |k| netlink::text(k).to_owned());
        }
    })?;
    Ok(kind)
}

fn remove(route: &mut Netlink, index: u32, filter: &Filter) -> Result<(), Refusal> {
    let fixed = header(index, filter.handle, parent(filter.direction), filter.info);
    let mut request = Request::new();
    request
        .message(libc::RTM_DELTFILTER, netlink::NLM_F_ACK, &fixed)
        .string(KIND, "bpf");
    ignoring(route.send(&mut request), &[libc::ENOENT, libc::ENODEV])
}

/// Success, too, when what was to be removed was not there.
fn ignoring(result: Result<(), Refusal>, errnos: &[i32]) -> Result<(), Refusal> {
    match result {
        Err(e) if errnos.contains(&e.errno()) => Ok(()),
        other => other,
    }
}

fn ours(route: &mut Netlink, index: u32, name: &str) -> Result<Vec<Filter>, Refusal> {
    let mut all = filters(route, index)?;
    all.retain(|f| f.is_of(name));
    Ok(all)
}

/// All filters in the interface's clsact, in the order in which they are asked. A filter that is
/// not BPF has no name.
fn filters(route: &mut Netlink, index: u32) -> Result<Vec<Filter>, Refusal> {
    let mut found = Vec::new();
    for direction in BOTH {
        let mut request = Request::new();
        let fixed = header(index, 0, parent(direction), 0);
        request.message(libc::RTM_GETTFILTER, netlink::NLM_F_DUMP, &fixed);
        let result = route.dump(&mut request, |_, message| {
            let handle = netlink::u32_at(message, 8).unwrap_or(0);
            let info = netlink::u32_at(message, 16).unwrap_or(0);
            let Some(attributes) = message.get(20..).filter(|_| handle != 0) else {
                return; // the head of a chain, not a filter
            };
            let options = netlink::attribute(attributes, OPTIONS).unwrap_or(&[]);
            let name = netlink::attribute(options, BPF_NAME).map_or("", netlink::text);
            let program = netlink::attribute(options, BPF_ID);
            let chain = netlink::attribute(attributes, CHAIN);
            let kind = netlink::attribute(attributes, KIND);
            found.push(Filter {
                direction,
                handle,
                info,
                chain: chain.and_then(|c| netlink::u32_at(c, 0)).unwrap_or(0),
                kind: kind.map_or("", netlink::text).to_owned(),
                name: name.to_owned(),
                program: program.and_then(|id| netlink::u32_at(id, 0)).unwrap_or(0),
            });
        });
        ignoring(result, &[libc::ENODEV, libc::EINVAL])?;
    }
    Ok(found)
}

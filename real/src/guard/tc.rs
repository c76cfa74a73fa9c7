//! Where the BPF gate hangs: `clsact` on an interface, one direct-action filter each way.
//!
//! A filter belongs to the interface, not to the process: it stays when the daemon dies.

use super::bpf::{self, Direction, Programs};
use crate::address::Link;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Refusal, Request};
use std::os::fd::AsRawFd as _;

const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Before anything else that may redirect a packet past us.
const PRIORITY: u32 = 1;

const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const BPF_FD: u16 = 6;
const BPF_NAME: u16 = 7;
const BPF_FLAGS: u16 = 8;
const BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

const BOTH: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// A filter that hangs on an interface.
#[derive(Clone, Debug)]
struct Filter {
    direction: Direction,
    handle: u32,
    info: u32,
    name: String,
    program: u32,
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

/// Hangs the programs on an interface, then takes away those that earlier lives left under the
/// same name: there is no moment without a gate. Needs [`clsact`]. Returns whether there were any.
pub(super) fn attach(
    route: &mut Netlink,
    link: &Link,
    name: &str,
    programs: &Programs,
) -> Result<bool, KernelError> {
    let earlier =
        ours(route, link.index, name).doing(|| format!("listing the filters of {}", link.name))?;
    for direction in BOTH {
        let fd = programs.program(direction).as_raw_fd().cast_unsigned();
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
                    .string(BPF_NAME, name)
                    .u32(BPF_FLAGS, DIRECT_ACTION);
            });
        route.send(&mut request).doing(|| {
            format!(
                "attaching the guard to {} {direction:?} (priority {PRIORITY})",
                link.name
            )
        })?;
    }
    for filter in &earlier {
        remove(route, link.index, filter)
            .doing(|| format!("removing an earlier guard from {}", link.name))?;
    }
    Ok(!earlier.is_empty())
}

/// Whether both programs hang on the interface.
pub(super) fn attached(
    route: &mut Netlink,
    link: &Link,
    programs: &Programs,
) -> Result<bool, KernelError> {
    let doing = || format!("looking for the guard on {}", link.name);
    let all = filters(route, link.index).doing(doing)?;
    for direction in BOTH {
        let id = bpf::program_id(programs.program(direction)).doing(doing)?;
        if !all
            .iter()
            .any(|f| f.direction == direction && f.program == id)
        {
            return Ok(false);
        }
    }
    Ok(true)
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
        Err(e) if e.errno() == libc::EEXIST => Ok(false),
        Err(e) => Err(e).doing(|| format!("adding clsact to {}", link.name)),
    }
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
    all.retain(|f| f.name == name);
    Ok(all)
}

/// All filters in the interface's clsact. A filter that is not BPF has no name.
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
            found.push(Filter {
                direction,
                handle,
                info,
                name: name.to_owned(),
                program: program.and_then(|id| netlink::u32_at(id, 0)).unwrap_or(0),
            });
        });
        ignoring(result, &[libc::ENODEV, libc::EINVAL])?;
    }
    Ok(found)
}

//! Queues behind the gate. A frame that passes the gate in time leaves when its interface's queue lets
//! it: a queue that limits the rate, or delays on purpose, may keep it until another member holds.

use crate::address::Link;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Request};

/// Queues that keep frames though the line is free.
const KEEPING: [&str; 9] = [
    "tbf", "htb", "hfsc", "cbq", "netem", "cake", "taprio", "etf", "plug",
];

/// Those of `links` whose queue may keep frames, and the kind of that queue.
///
/// # Errors
/// When the kernel refuses to list the queues.
pub(crate) fn keeping<'a>(
    route: &mut Netlink,
    links: &'a [Link],
) -> Result<Vec<(&'a Link, &'static str)>, KernelError> {
    const KIND: u16 = 1;
    let mut found = Vec::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETQDISC, netlink::NLM_F_DUMP, &[0; 20]);
    let result = route.dump(&mut request, |_, message| {
        let index = netlink::u32_at(message, 4);
        let kind = message
            .get(20..)
            .and_then(|rest| netlink::attribute(rest, KIND))
            .map(netlink::text);
        let link = links.iter().find(|link| Some(link.index) == index);
        let kind = KEEPING.into_iter().find(|keeping| Some(*keeping) == kind);
        found.extend(link.zip(kind));
    });
    result.doing(|| "listing the interfaces' queues".into())?;
    found.dedup();
    Ok(found)
}

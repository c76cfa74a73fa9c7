//! Queues behind the gate. A frame that passes the gate in time leaves when its interface's queue
//! lets it: a queue that limits the rate, or delays on purpose, may keep it until another member
//! holds.

use crate::address::Link;
use crate::netlink::{self, Doing as _, KernelError, Netlink, Request};
use std::collections::{BTreeMap, BTreeSet};

/// Queues that keep frames though the line is free.
const KEEPING: [&str; 9] = [
    "tbf", "htb", "hfsc", "cbq", "netem", "cake", "taprio", "etf", "plug",
];

/// What keeps frames: the interface that they are sent from, the one whose queue it is, and its
/// kind.
pub(crate) type Keeping<'a> = (&'a Link, &'a Link, &'static str);

/// Those of the interfaces with these numbers whose queue may keep frames, or that of one that they
/// send by.
///
/// # Errors
/// When the kernel refuses to list the queues.
pub(crate) fn keeping<'a>(
    route: &mut Netlink,
    own: &[u32],
    all: &'a [Link],
) -> Result<Vec<Keeping<'a>>, KernelError> {
    const KIND: u16 = 1;
    let mut queues = Vec::new();
    let mut request = Request::new();
    request.message(libc::RTM_GETQDISC, netlink::NLM_F_DUMP, &[0; 20]);
    let result = route.dump(&mut request, |_, message| {
        let index = netlink::u32_at(message, 4);
        let kind = message
            .get(20..)
            .and_then(|rest| netlink::attribute(rest, KIND))
            .map(netlink::text);
        let kind = KEEPING.into_iter().find(|keeping| Some(*keeping) == kind);
        queues.extend(index.zip(kind));
    });
    result.doing(|| "listing the interfaces' queues".into())?;
    let below = Below::of(all);
    let mut found = Vec::new();
    for link in all.iter().filter(|link| own.contains(&link.index)) {
        for at in below.path(link) {
            let kept = queues.iter().filter(|(index, _)| *index == at.index);
            found.extend(kept.map(|(_, kind)| (link, at, *kind)));
        }
    }
    found.dedup();
    Ok(found)
}

/// What lies below each interface, by its number.
struct Below<'a>(BTreeMap<u32, Vec<&'a Link>>);

impl<'a> Below<'a> {
    fn of(all: &'a [Link]) -> Self {
        let by_index: BTreeMap<u32, &Link> = all.iter().map(|link| (link.index, link)).collect();
        let mut below: BTreeMap<u32, Vec<&Link>> = BTreeMap::new();
        for link in all {
            if let Some(master) = link.master {
                below.entry(master).or_default().push(link);
            }
            if let Some(lower) = link.lower.and_then(|lower| by_index.get(&lower)) {
                below.entry(link.index).or_default().push(lower);
            }
        }
        Self(below)
    }

    /// What a frame is sent by that leaves an interface: itself, what it lies on, and its parts.
    fn path(&self, link: &'a Link) -> Vec<&'a Link> {
        let (mut path, mut known) = (vec![link], BTreeSet::from([link.index]));
        let mut at = 0;
        while let Some(upper) = path.get(at) {
            let below = self.0.get(&upper.index).into_iter().flatten();
            path.extend(below.filter(|link| known.insert(link.index)));
            at += 1;
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, master: Option<u32>, lower: Option<u32>) -> Link {
        Link {
            index,
            name: format!("eth{index}"),
            altnames: Vec::new(),
            mac: [2, 0, 0, 0, 0, 1],
            ethernet: true,
            loopback: false,
            fault: None,
            part: master.is_some(),
            master,
            lower,
            noarp: false,
            pair: false,
            xdp: None,
        }
    }

    #[test]
    fn what_is_sent_goes_by_what_an_interface_lies_on_and_by_its_parts() {
        // A VLAN (1) of a bridge (2) with a bond (3) of two cards (4, 5); another card (6); and 7
        // and 8, each of which says that it lies on the other.
        let all = [
            link(1, None, Some(2)),
            link(2, None, None),
            link(3, Some(2), None),
            link(4, Some(3), None),
            link(5, Some(3), None),
            link(6, None, None),
            link(7, None, Some(8)),
            link(8, None, Some(7)),
        ];
        let below = Below::of(&all);
        let by = |at: usize| -> Vec<u32> { below.path(&all[at]).iter().map(|l| l.index).collect() };
        assert_eq!(by(0), [1, 2, 3, 4, 5]);
        assert_eq!(by(1), [2, 3, 4, 5]);
        assert_eq!(by(5), [6]);
        assert_eq!(by(6), [7, 8]);
    }
}

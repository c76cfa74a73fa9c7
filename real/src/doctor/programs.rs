//! Whose programs see the groups' frames, and whether the gate is asked first.

use super::Examination;
use super::found::Found;
use super::patient::Patient;
use crate::config_file::GuardChoice;
use crate::guard::{self, Asked};
use crate::netlink::Netlink;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["asked-first", "gate", "xdp"],
    look,
};

fn look(p: &Patient, found: &mut Found) {
    let Ok(mut route) = Netlink::open(libc::NETLINK_ROUTE) else {
        return found.unknown("gate", "the kernel does not answer", "");
    };
    // One that is paused says nothing, and its gate should be there all the same.
    let bpf = match p.status() {
        Some(status) => status.guard == "bpf",
        None => p.pid.is_some() && p.local.guard() == GuardChoice::Bpf,
    };
    for (link, _) in p.announced() {
        let name = &link.name;
        match link.xdp {
            Some(id) => found.problem(
                "xdp",
                format!("{}, by XDP, sees what comes in by {name} before the gate", guard::described(id)),
                "if it answers for a floating address, or passes its traffic on, nothing mutes that on a frozen \
                 holder; one that only drops or counts does no harm",
                format!("ip link set {name} xdp off; or leave it, if it only drops or counts"),
            ),
            None => found.fine("xdp", format!("{name}: none")),
        }
        match guard::asked_before(&mut route, link) {
            Err(e) => found.unknown("asked-first", e.to_string(), "run this as root"),
            Ok(asked) => {
                let Asked {
                    before,
                    gates,
                    others,
                } = asked;
                for who in before {
                    found.problem(
                        "asked-first",
                        format!("{who} on {name} is asked before the gate"),
                        "what it lets through, the gate does not see: a frozen holder may answer",
                        "bpftool net; detach that program, or attach it after",
                    );
                }
                match (gates, bpf) {
                    (0, true) => found.problem(
                        "gate",
                        format!("no gate is on {name}"),
                        "a frozen holder would answer there",
                        "the daemon puts it back; who takes it away? bpftool net",
                    ),
                    (0, false) => found.skipped("gate", format!("{name}: no BPF gate is in force")),
                    (_, _) => found.fine("gate", format!("{name}: it is there")),
                }
                match others.is_empty() {
                    true => found.fine("asked-first", format!("{name}: nobody else")),
                    false => found.fine(
                        "asked-first",
                        format!(
                            "{name}: {} would be asked after the gate",
                            others.join(", ")
                        ),
                    ),
                }
            }
        }
    }
}

//! Which guard mutes this host's addresses, or would.

use super::Examination;
use super::found::Found;
use super::patient::Patient;
use crate::config_file::GuardChoice;
use crate::guard;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["guard"],
    look,
};

fn look(p: &Patient, found: &mut Found) {
    if !p.is_candidate() {
        return found.skipped("guard", "a witness has none");
    }
    if let Some(status) = p.status() {
        return match (status.guard.as_str(), &status.guard_why_not_better) {
            ("none", _) => none(found),
            (guard, Some(why)) => found.advice(
                "guard",
                format!("the guard is {guard}, for {why}"),
                "it is as safe as BPF, ends each hold a little earlier, and lets nothing pass through",
                "what the reason names",
            ),
            (guard, None) => found.fine("guard", guard),
        };
    }
    let choice = p.local.guard();
    if choice == GuardChoice::None {
        return none(found);
    }
    if choice != GuardChoice::Nft {
        match guard::bpf_could() {
            Ok(()) => {
                return found.fine("guard", "the kernel takes BPF, and its clock is this one");
            }
            Err(e) if !rustix::process::geteuid().is_root() => {
                return found.unknown("guard", e.to_string(), "run this as root");
            }
            Err(e) if choice == GuardChoice::Bpf => {
                return found.problem(
                    "guard",
                    e.to_string(),
                    "the file says guard = \"bpf\", so the daemon does not serve the cluster",
                    "what the reason names; or remove the key",
                );
            }
            Err(e) => found.advice(
                "guard",
                format!("BPF is refused: {e}"),
                "nftables is the guard then: as safe, but it ends each hold a little earlier",
                "what the reason names",
            ),
        }
    }
    match guard::nft_could() {
        Ok(()) => found.fine("guard", "nftables answers"),
        Err(e) if !rustix::process::geteuid().is_root() => {
            found.unknown("guard", e.to_string(), "run this as root");
        }
        Err(e) => found.problem(
            "guard",
            format!("there is no guard: {e}"),
            "without one the daemon does not serve the cluster",
            "modprobe nf_tables; or a kernel with BPF",
        ),
    }
}

fn none(found: &mut Found) {
    found.problem(
        "guard",
        "guard = \"none\": nothing mutes a frozen or killed holder",
        "two may answer",
        "remove `guard` from [cluster], and restart this member",
    );
}

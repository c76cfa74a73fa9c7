//! The daemon's process: what it may do, and where it runs.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, text};
use std::path::Path;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["capabilities", "network-namespace"],
    look,
};

/// Numbers of capabilities, their names, and what does not work without.
const NEEDED: [(u32, &str, &str); 3] = [
    (12, "CAP_NET_ADMIN", "it can't put an address anywhere"),
    (13, "CAP_NET_RAW", "it can't announce an address"),
    (39, "CAP_BPF", "nftables is the guard, instead of BPF"),
];

fn look(p: &Patient, found: &mut Found) {
    let Some(pid) = p.pid else {
        return found.skipped("capabilities", "no daemon listens");
    };
    let link = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net"));
    match (link("self"), link(&pid.to_string())) {
        (Ok(mine), Ok(its)) if mine == its => {
            found.fine("network-namespace", "the daemon's is this one")
        }
        (Ok(_), Ok(_)) => found.problem(
            "network-namespace",
            "the daemon runs in another network namespace",
            "nothing that was looked at here says anything of its network",
            format!("nsenter --net=/proc/{pid}/ns/net onehold doctor"),
        ),
        _ => found.unknown(
            "network-namespace",
            "the daemon's can't be seen",
            "run this as root",
        ),
    }
    if !p.is_candidate() {
        return found.skipped("capabilities", "a witness needs none");
    }
    let status = text(Path::new(&format!("/proc/{pid}/status")));
    let effective = status.as_deref().and_then(effective);
    let Some(effective) = effective else {
        return found.unknown(
            "capabilities",
            "what the daemon may do can't be read",
            "run this as root",
        );
    };
    let lacks = NEEDED.iter().filter(|(bit, ..)| effective & 1 << bit == 0);
    let lacks: Vec<&(u32, &str, &str)> = lacks.collect();
    if lacks.is_empty() {
        found.fine("capabilities", "the daemon has all that it needs");
    }
    for (_, name, why) in lacks {
        let what = format!("the daemon runs without {name}");
        let mend = format!(
            "systemctl edit onehold: AmbientCapabilities= and CapabilityBoundingSet= with {name}"
        );
        match *name {
            "CAP_BPF" => found.advice("capabilities", what, why, mend),
            _ => found.problem("capabilities", what, why, mend),
        }
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::effective;

    #[test]
    fn the_effective_set_is_read() {
        assert_eq!(
            effective("Name:\tx\nCapPrm:\t1\nCapEff:\t000000000000300f\n"),
            Some(0x300f)
        );
        assert_eq!(effective("CapEff:\tnone\n"), None);
    }
}

//! The kernel: its version, its connection table, and the namespace of its clock.

use super::Examination;
use super::found::Found;
use super::patient::{Patient, number};

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["kernel", "conntrack"],
    look,
};

/// Older ones were not tried.
const TRIED: (u32, u32) = (6, 1);
/// Of the connection table's room, in parts of a hundred.
const FULL: u64 = 90;

fn look(_: &Patient, found: &mut Found) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse::<u32>().ok());
    match next().zip(next()) {
        Some(version) if version >= TRIED => found.fine("kernel", format!("Linux {release}")),
        Some(_) => found.advice(
            "kernel",
            format!(
                "Linux {release} is older than any that was tried ({}.{})",
                TRIED.0, TRIED.1
            ),
            "it may work, and nobody has seen it",
            "",
        ),
        None => found.unknown("kernel", format!("`{release}` is no version of Linux"), ""),
    }
    let of = |key: &str| number(&format!("netfilter/nf_conntrack_{key}")).map(u64::from);
    match (of("count"), of("max")) {
        (Some(count), Some(max)) if max > 0 && count * 100 >= max * FULL => found.problem(
            "conntrack",
            format!("the connection table has {count} entries of at most {max}"),
            "once it is full, the kernel drops adverts, as the first packets of every connection",
            format!(
                "sysctl -w net/netfilter/nf_conntrack_max={}; better, leave the members' UDP port untracked",
                max * 2
            ),
        ),
        (Some(count), Some(max)) => found.fine("conntrack", format!("{count} of {max}")),
        (None, _) => found.skipped("conntrack", "this kernel tracks no connections"),
        (Some(_), None) => found.unknown("conntrack", "the room of the connection table can't be read", ""),
    }
}

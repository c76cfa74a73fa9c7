//! What hangs on an interface, for whoever only looks: `onehold doctor`.

use super::attached::{self, BOTH, way};
use super::bpf::{self, Known};
use super::{nft, tc, tcx};
use crate::address::Link;
use crate::netlink::{Doing as _, KernelError, Netlink};

/// In what order programs are asked on an interface, both ways.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Those of others that stand before a gate.
    pub(crate) before: Vec<String>,
    /// How many gates there are.
    pub(crate) gates: usize,
    /// Those of others after it, or where there is none.
    pub(crate) others: Vec<String>,
}

/// Who is asked on an interface.
///
/// # Errors
/// When the kernel refuses, or does not say what a program is.
pub(crate) fn asked_before(route: &mut Netlink, link: &Link) -> Result<Asked, KernelError> {
    let doing = || format!("asking who sees the frames of {}", link.name);
    let mut asked = Asked::default();
    let rows = tcx::available().doing(doing)?;
    for direction in BOTH {
        let mut others = Vec::new();
        let mut gates = 0;
        let mut seen = |gate: bool, who: String| match gate {
            true => {
                gates += 1;
                asked.before.append(&mut others);
            }
            false => others.push(format!("{who} ({})", way(direction))),
        };
        if rows {
            for id in tcx::row(link.index, direction).doing(doing)?.programs {
                let known = Known::by_id(id)
                    .doing(|| format!("asking what BPF program {id} on {} is", link.name))?;
                seen(known.is_gate(), attached::description(id));
            }
        }
        for (gate, who) in tc::asked(route, link, direction).doing(doing)? {
            seen(gate, who);
        }
        asked.gates += gates;
        asked.others.append(&mut others);
    }
    Ok(asked)
}

/// How people read of a program.
pub(crate) fn described(id: u32) -> String {
    attached::description(id)
}

/// Whether BPF could be the gate here: its clock is loaded, run and dropped.
///
/// # Errors
/// Why not.
pub(crate) fn bpf_could() -> Result<(), KernelError> {
    bpf::Clock::load()?.agrees()
}

/// Whether nftables could: it answers.
///
/// # Errors
/// Why not.
pub(crate) fn nft_could() -> Result<(), KernelError> {
    nft::Table::open("onehold-doctor")?.exists().map(drop)
}

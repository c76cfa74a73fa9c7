//! Takes away the gates that incarnations left and no daemon of this host replaces any more: what
//! `onehold open-gate` does. It does not ask whether that is wise.

use super::{Guard, GuardChoice, Key, LEAST_SLACK, Wanted, attached, nft, tc};
use crate::address;
use crate::netlink::{KernelError, Netlink};
use std::path::Path;

/// Removes every gate of the cluster whose objects have this `name`, under former names too, that
/// mutes one of `keys`: what each was. It finds them as the next incarnation would.
///
/// # Errors
/// When another process guards one of the addresses, the kernel refuses, or whether something is a
/// gate can't be known.
pub(crate) fn remove_left(
    name: &str,
    keys: &[Key],
    state: &[&Path],
) -> Result<Vec<String>, KernelError> {
    let mut route = Netlink::open(libc::NETLINK_ROUTE)?;
    let all = address::links(&mut route)?;
    let wanted = Wanted {
        choice: GuardChoice::None,
        name,
        keys,
        routes: &[],
        slack: LEAST_SLACK,
        state,
    };
    let mut guard = Guard::open(&wanted, &mut route, &[], &all)?;
    let names: Vec<&str> = guard.former.iter().map(String::as_str).collect();
    let names = [names, vec![name]].concat();
    let mut found = Vec::new();
    for link in &all {
        let mut programs = attached::earlier_in_rows(link, &guard.earlier, keys);
        for name in &names {
            programs.extend(tc::programs_on(&mut route, link.index, name));
        }
        programs.sort_unstable();
        programs.dedup();
        let on = |id: u32| format!("{} on {}", attached::description(id), link.name);
        found.extend(programs.into_iter().map(on));
    }
    for name in &names {
        // Where there is no nftables there is no table.
        if nft::Table::open(name)?.exists().unwrap_or(false) {
            found.push(format!("nftables table netdev {name}"));
        }
    }
    let doubt = all.iter().find_map(|link| guard.doubt(link));
    let routes = guard.routes().to_vec();
    guard.settle(&mut route, &[], &routes, &all)?;
    match doubt {
        None => Ok(found),
        Some(doubt) => Err(KernelError::refused("looking for every gate", doubt)),
    }
}

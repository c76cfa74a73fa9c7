//! The directories in which the daemon leaves word for its next incarnation.

use super::Examination;
use super::found::Found;
use super::patient::Patient;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::path::Path;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &["room", "forgetful"],
    look,
};

/// More than all files of a member.
const NEEDED: u64 = 1 << 20;
/// `TMPFS_MAGIC`, `RAMFS_MAGIC`
const VOLATILE: [i64; 2] = [0x0102_1994, 0x8584_58f6];

fn look(p: &Patient, found: &mut Found) {
    let both = match p.state == p.orders {
        true => vec![&p.state],
        false => vec![&p.state, &p.orders],
    };
    for directory in both {
        room_in(directory, found);
    }
    if p.state == p.orders {
        return found.skipped("forgetful", "there is no directory of its own for orders");
    }
    let there = existing(&p.orders);
    #[allow(clippy::unnecessary_cast, reason = "it is shorter on other machines")]
    let kind = rustix::fs::statfs(there).map(|fs| fs.f_type as i64);
    match kind {
        Ok(kind) if VOLATILE.contains(&kind) => found.advice(
            "forgetful",
            format!("{} is in memory", p.orders.display()),
            "`standby` and `switch` are forgotten at a reboot",
            "name a directory on a disk: --orders",
        ),
        Ok(_) => found.fine(
            "forgetful",
            format!("{} outlives a boot", p.orders.display()),
        ),
        Err(e) => found.unknown("forgetful", format!("{}: {e}", there.display()), ""),
    }
}

/// The directory, or the nearest one above that is there.
fn existing(directory: &Path) -> &Path {
    let mut all = directory.ancestors();
    all.find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

fn room_in(directory: &Path, found: &mut Found) {
    let shown = directory.display();
    let fs = match statvfs(existing(directory)) {
        Ok(fs) => fs,
        Err(e) => return found.unknown("room", format!("{shown}: {e}"), ""),
    };
    let free = fs.f_bavail.saturating_mul(fs.f_frsize);
    let why =
        "the next incarnation would not know what this one leaves: leases (R-9), gates, orders";
    if fs.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let what = format!("{shown} is on a file system that can't be written");
        found.problem("room", what, why, format!("findmnt -T {shown}"));
    } else if free < NEEDED || (fs.f_files > 0 && fs.f_favail == 0) {
        let what = format!("{shown} has {free} bytes and {} files left", fs.f_favail);
        found.problem("room", what, why, format!("df -h {shown}; df -i {shown}"));
    } else {
        found.fine("room", format!("{shown} has {} MiB", free >> 20));
    }
}

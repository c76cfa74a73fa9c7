//! What the lab needs to be allowed to do, and how an ordinary user gets it.
#![allow(unsafe_code)]

use crate::error::{Context, Result, err};
use rustix::process::{getegid, geteuid};
use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, unshare_unsafe};
use std::fs;

/// By which right namespaces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// This process has `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`.
    Root,
    /// It is root in a user namespace of its own, and an ordinary user outside. The kernel refuses
    /// it BPF programs.
    UserNamespace,
}

/// Whether this process may make namespaces as it is.
#[must_use]
pub fn is_root() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN;
    capabilities(None).is_ok_and(|has| has.effective.contains(needed))
}

/// Makes sure that this process may make namespaces: as it is, or as root of a user namespace.
/// Call it before any thread is started, for the kernel lets only a process with one thread change
/// its user namespace.
///
/// # Errors
/// If the kernel allows neither, with the remedy.
pub fn acquire() -> Result<Privilege> {
    if is_root() {
        return Ok(Privilege::Root);
    }
    let (uid, gid) = (geteuid(), getegid());
    // SAFETY: unsharing is unsafe only with `CLONE_FILES`, which is not among the flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(|e| {
        err(format!(
            "making a user namespace: {e}; run as root, or allow it: sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), \
             kernel.unprivileged_userns_clone=1 (Debian), user.max_user_namespaces > 0"
        ))
    })?;
    let write = |file: &str, text: String| {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).context(|| format!("mapping the user into its namespace by {path}"))
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {} 1", uid.as_raw()))?;
    write("gid_map", format!("0 {} 1", gid.as_raw()))?;
    Ok(Privilege::UserNamespace)
}

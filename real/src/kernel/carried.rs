//! The kernel's side of the former program of this process goes on: what is held stays held, and what
//! can be asked of the kernel is asked again.
//!
//! What it never does: shut a gate, or remove an address.

use super::fitness::Reported;
use super::holding::{Hold, Left};
use super::{Floating, Guard, GuardChoice, Kernel, KernelError, KernelGroup};
use crate::announce::{self, Port, Schedule};
use crate::guard;
use crate::probe::Prober;
use crate::upgrade::Inherited;
use onehold_core::time::{LocalTime, Span};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::Path;

/// The kernel's side, for another program of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    guard: guard::Carried,
    /// By id.
    groups: Vec<Group>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    hold: Option<Hold>,
    left: Option<Left>,
    open_until: Option<LocalTime>,
    announcing: Option<announce::Carried>,
    claimed: Option<LocalTime>,
    /// The addresses that the kernel refuses: each with its interface, and why.
    refused: Vec<(IpAddr, String, String)>,
    reported: Option<Reported>,
}

impl Carried {
    /// The descriptors that it needs.
    pub(crate) fn fds(&self) -> Vec<RawFd> {
        self.guard.fds()
    }
}

impl Kernel {
    /// What goes on in another program of this process.
    pub(crate) fn carried(&self) -> Carried {
        let refused = |g: &super::Group| {
            let all = g.fitness.refused.iter();
            let named = |f: &Floating| self.interfaces.get(f.at).map(|i| i.name.clone());
            all.filter_map(|(f, why)| Some((f.address, named(f)?, why.clone())))
                .collect()
        };
        let group = |g: &super::Group| Group {
            hold: g.hold,
            left: g.left.clone(),
            open_until: g.open_until,
            announcing: g.announcing.as_ref().map(Schedule::carried),
            claimed: g.claimed,
            refused: refused(g),
            reported: g.reported.clone(),
        };
        Carried {
            guard: self.guard.carried(),
            groups: self.groups.iter().map(group).collect(),
        }
    }

    /// The numbers of its packet sockets.
    pub(crate) fn packet_sockets(&self) -> impl Iterator<Item = RawFd> {
        self.interfaces.iter().flat_map(|interface| {
            let port = interface.port.as_ref().map(Port::fd);
            let prober = interface.prober.as_ref().map(Prober::fd);
            port.into_iter().chain(prober)
        })
    }

    /// Nothing waits for the driver, and no change of the groups is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let put = |g: &super::Group| g.hold.is_none() || g.fitness.fresh.is_empty();
        self.events.is_empty() && self.withdrawn.is_none() && self.groups.iter().all(put)
    }

    /// The kernel's side of the former program of this process, of the same groups. Needs a tokio
    /// runtime.
    ///
    /// # Errors
    /// When something of it was not handed over, or the kernel refuses a socket.
    #[expect(clippy::too_many_arguments, reason = "those of `open`, and two more")]
    pub(crate) fn inherit(
        instance: &str,
        groups: Vec<KernelGroup>,
        choice: GuardChoice,
        slack: Span,
        lease: Span,
        state: &[&Path],
        carried: &Carried,
        from: &Inherited,
    ) -> Result<Self, KernelError> {
        let mut kernel = Self::over(instance, groups, choice, slack, lease, state, |all, _| {
            Guard::inherit(all.wanted, &carried.guard, from, all.host)
                .map_err(|why| KernelError::refused("taking over the guard", why))
        })?;
        if carried.groups.len() != kernel.groups.len() {
            let why = "there are as many others";
            return Err(KernelError::refused("taking over what is held", why));
        }
        let Self {
            groups, interfaces, ..
        } = &mut kernel;
        for (group, was) in groups.iter_mut().zip(&carried.groups) {
            group.hold = was.hold;
            group.left.clone_from(&was.left);
            group.open_until = was.open_until;
            group.announcing = was.announcing.as_ref().map(Schedule::goes_on);
            group.claimed = was.claimed;
            group.reported.clone_from(&was.reported);
            for (address, interface, why) in &was.refused {
                let at = interfaces.iter().position(|i| i.name == *interface);
                let floating = at.map(|at| Floating {
                    address: *address,
                    at,
                });
                let known = floating.filter(|f| group.addresses.contains(f));
                group
                    .fitness
                    .refused
                    .extend(known.map(|f| (f, why.clone())));
            }
        }
        Ok(kernel)
    }
}

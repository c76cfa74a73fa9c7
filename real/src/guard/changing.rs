//! What is guarded changes while the gate stands: new addresses are mute from the first moment, and
//! what others have is not touched.

use super::attached::Standing;
use super::{
    Gate, Guard, GuardChoice, Key, LEAST_SLACK, Place, address, differs_elsewhere, muting, set,
};
use crate::address::Link;
use crate::netlink::{Doing as _, KernelError, Netlink};
use crate::route::Destination;
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeSet;

const RESTART: &str = "restart onehold here";

/// Whether the guards can shut so late, and no later.
pub(super) fn check_slack(choice: GuardChoice, slack: Span) -> Result<(), KernelError> {
    if choice == GuardChoice::None || slack >= LEAST_SLACK {
        return Ok(());
    }
    Err(KernelError::refused(
        format!("timing.guard_slack = {slack}"),
        format!("the guards need at least {LEAST_SLACK}"),
    ))
}

impl Guard {
    /// From now on these are guarded and remembered, too, written down before anything else: the
    /// new ones mute, the others as they are.
    ///
    /// # Errors
    /// When the gate as it stands can't have them, another process guards one of them, or it can't
    /// be written down. Then nothing has changed.
    pub(crate) fn guard_also(
        &mut self,
        keys: &[Key],
        routes: &[Destination],
        slack: Span,
    ) -> Result<(), KernelError> {
        check_slack(self.choice, slack)?;
        let known: BTreeSet<&Key> = self.keys.iter().collect();
        let new = keys.iter().filter(|key| !known.contains(key));
        let new: Vec<Key> = new.copied().collect();
        self.could_have(&new)?;
        let (keys, routes_before) = (self.keys.clone(), self.memory.routes().to_vec());
        self.keys.extend(&new);
        self.memory.expect_routes(routes);
        let guarded = self.mute_also(&new);
        if guarded.is_err() {
            let _ = self.forget_but(&keys, &routes_before); // the next change, or its end, forgets them
            self.remember();
        }
        guarded
    }

    fn mute_also(&mut self, new: &[Key]) -> Result<(), KernelError> {
        if !self.remember() {
            let alarm = self.memory.alarm().unwrap_or_default();
            let doing = "writing down what is guarded, before it is put anywhere";
            return Err(KernelError::refused(doing, alarm));
        }
        match &mut self.gate {
            Gate::Bpf(attached) => {
                attached.forget_others(); // some of them may guard these
                let room = |e: KernelError| match e.errno() {
                    libc::E2BIG => KernelError::refused(
                        e.doing,
                        format!("the gate that stands has no room for more addresses: {RESTART}"),
                    ),
                    _ => e,
                };
                set(&mut attached.deadlines, new, LocalTime::from_nanos(0)).map_err(room)
            }
            Gate::Nft(table) => table.guard(new),
            Gate::None => Ok(()),
        }
    }

    /// Whether the gate that stands can mute these, and nobody else does.
    fn could_have(&self, new: &[Key]) -> Result<(), KernelError> {
        let differs = match &self.gate {
            Gate::Bpf(attached) => attached.programs().differ(),
            Gate::Nft(table) => table.differs(),
            Gate::None => true,
        };
        if let Some(first) = new.iter().find(|key| differs_elsewhere(&[**key]))
            && !differs
        {
            let why = format!(
                "it is link-local, and the gate that stands was made for none such: {RESTART}"
            );
            return Err(KernelError::refused(muting(first), why));
        }
        let former = self.memory.former(new)?;
        if let Some((name, _)) = former.first() {
            let why = format!(
                "a daemon that is gone, of another cluster or with another name of this one ({name}), guarded one \
                 of the new addresses, and its gate may be there: {RESTART}, which takes that over"
            );
            return Err(KernelError::refused("guarding more addresses", why));
        }
        Ok(())
    }

    /// Guards no others than these any more, and remembers no other routes. Nothing of ours may be
    /// left of the others. To be followed by [`Self::remember`].
    pub(super) fn forget_but(
        &mut self,
        keys: &[Key],
        routes: &[Destination],
    ) -> Result<(), KernelError> {
        let kept: BTreeSet<&Key> = keys.iter().collect();
        let old = self.keys.iter().filter(|key| !kept.contains(key));
        let old: Vec<Key> = old.copied().collect();
        match &mut self.gate {
            Gate::Bpf(attached) => {
                for key in &old {
                    (attached.deadlines.forget(key))
                        .doing(|| format!("forgetting {}", address(key)))?;
                }
            }
            Gate::Nft(table) if !old.is_empty() => table.forget(&old)?,
            Gate::Nft(_) | Gate::None => {}
        }
        self.keys.retain(|key| kept.contains(key));
        self.memory.forget_routes(routes);
        Ok(())
    }

    /// The same, written down.
    pub(crate) fn guard_only(
        &mut self,
        keys: &[Key],
        routes: &[Destination],
    ) -> Result<(), KernelError> {
        self.forget_but(keys, routes)?;
        self.remember(); // an alarm says if it can't be: a later incarnation guards too much
        Ok(())
    }

    /// Puts the gate first on an interface that becomes a group's. It may stand there already: then
    /// there is no moment of less.
    pub(crate) fn stand_first_on(
        &mut self,
        route: &mut Netlink,
        link: &Link,
        links: &[Link],
    ) -> Result<(), KernelError> {
        self.post(link);
        if self.standing(route, link, Place::Own)? == Standing::First {
            return Ok(());
        }
        match &mut self.gate {
            Gate::Nft(table) => match table.own(link) {
                Err(e) if table.exists()? => Err(e),
                Err(_) => self.replace(links), // the table is gone, and what was held with it
                Ok(()) => Ok(()),
            },
            Gate::Bpf(_) | Gate::None => self.put_first(route, link, links),
        }
    }

    /// Some interfaces belong to groups from now on, or to none any more: how the gate stands there
    /// is to be looked at.
    pub(crate) fn interfaces_changed(&mut self) {
        self.doubt_all();
        self.due = Some(LocalTime::from_nanos(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Held, Wanted, boottime, key};
    use crate::upgrade::Inherited;
    use std::path::Path;

    fn wanted<'a>(keys: &'a [Key], state: &'a [&'a Path]) -> Wanted<'a> {
        Wanted {
            choice: GuardChoice::Bpf,
            name: "onehold-changing",
            keys,
            routes: &[],
            slack: LEAST_SLACK,
            state,
        }
    }

    /// Another program of the process has the same map, with the room that is left in it.
    #[test]
    fn r22_what_is_guarded_changes_after_an_upgrade_too() {
        let name = format!("onehold-changing-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let [a, b] = ["10.0.0.100", "10.0.0.101"].map(|a| key(a.parse().unwrap()));
        let mut route = Netlink::open(libc::NETLINK_ROUTE).unwrap();
        let state = root.join("former");
        let former = Guard::open(&wanted(&[a], &[&state]), &mut route, &[], &[]);
        let Ok(former) = former else {
            return eprintln!("not run: BPF is refused"); // to all but root
        };
        let carried = former.carried();
        std::mem::forget(former); // its descriptors stay open, as they do in another program
        let from = Inherited::of(carried.fds()).unwrap();
        let state = root.join("next"); // in this process the former one's file is still locked
        let state: [&Path; 1] = [&state];
        let mut guard = Guard::inherit(&wanted(&[a], &state), &carried, &from, &[]).unwrap();
        drop(from);
        guard.guard_also(&[a, b], &[], LEAST_SLACK).unwrap();
        assert_eq!(guard.keys(), [a, b]);
        let second = boottime().plus(Span::from_millis(1_000));
        assert_eq!(guard.hold(&[a, b], second).unwrap(), Held::Yes);
        let link_local = key("fe80::1".parse().unwrap());
        let why = guard.guard_also(&[link_local], &[], LEAST_SLACK);
        assert!(why.unwrap_err().to_string().contains(RESTART));
        guard.guard_only(&[b], &[]).unwrap();
        assert_eq!(guard.keys(), [b]);
        guard.close(&mut route).unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }
}

//! what this host has to do before another configuration is in force.
//!
//! What it never does: let an address be effective that is in no group, or forget a lease that a later
//! incarnation must wait for.

use super::arrival::before_hold;
use super::persisted::addresses_of;
use super::{Beside, Linux};
use crate::config_file::LocalCluster;
use crate::driver::changing::{Places, Stepped};
use crate::frames::Frames;
use crate::kernel::KernelGroup;
use crate::metrics::Metrics;
use onehold_core::advert::{Change, GroupId};
use onehold_core::config::Config;
use onehold_core::observe::RoleName;
use std::collections::BTreeMap;
use std::net::IpAddr;

impl Linux {
    /// Before `to` comes into force where `from` was.
    pub(super) fn take_step(
        &mut self,
        cluster: usize,
        from: &Config,
        to: &Config,
    ) -> Result<Option<Stepped>, String> {
        let at = self.position(cluster).ok_or("it is not served any more")?;
        let (Some(local), Some(beside)) = (self.loaded.clusters.get(at), self.beside.get_mut(at))
        else {
            return Err("it is not served any more".to_owned());
        };
        match to.change() {
            Change::None => {
                if let Change::Toward(_) = from.change() {
                    self.give_back(at, to)?;
                }
                let alone = self.loaded.clusters[at].alone();
                let stepped = self.take_ways(at, from, alone)?;
                self.settled(at, to);
                Ok(Some(stepped))
            }
            Change::Toward(_) => {
                let next = local.next.as_deref().unwrap_or(local);
                let groups = next.config.groups().iter().chain(to.groups());
                let lease = to.timing().longest_lease();
                beside
                    .persisted
                    .covers(groups.flat_map(addresses_of), lease)?;
                let both = local.beside(next);
                let to_come = local.ways_of(next);
                let stepped = self.take_ways(at, from, both)?;
                Ok(Some(Stepped { to_come, ..stepped }))
            }
            Change::From(_) => {
                if !beside.persisted.says(&to.electorates())? {
                    self.pending.writing.insert(cluster);
                    return Ok(None);
                }
                self.go_by(at, from, to).map(Some)
            }
        }
    }

    /// What leaves is muted and removed, and then the groups, and the members, are those of `to`.
    fn go_by(&mut self, at: usize, from: &Config, to: &Config) -> Result<Stepped, String> {
        let (local, cluster) = (&self.loaded.clusters[at], self.beside[at].number);
        let next = local.next.as_deref().ok_or("the file was read again")?;
        let path = local.config.path_to(&next.config);
        let path = path.map_err(|e| e.to_string())?;
        if path.first().map(Config::digest) != Some(to.digest()) {
            return Err("the file was read again".to_owned()); // the driver is about to hear of it
        }
        let mut stage = next.with(to);
        if stage.config.digest() != next.config.digest() {
            stage.next = Some(Box::new(next.clone())); // it is in between
        }
        let timing = to.timing();
        let stage = stage.beside(local);
        let others = from.members() != to.members() || stage.ways() != local.ways();
        if others {
            self.sockets.make_room(cluster, from, &stage)?;
        }
        if let Some(kernel) = &mut self.kernel {
            let leaving: Vec<IpAddr> = from.leaving(to).map(|p| p.address).collect();
            kernel.withdraw(&leaving).map_err(|e| e.to_string())?;
            let groups = KernelGroup::all_of(&stage);
            let changed = kernel.change(groups, timing.slack(), timing.longest_lease());
            changed.map_err(|e| e.to_string())?;
        }
        if others {
            self.sockets.change(cluster, from, &stage); // the candidates' ways stay
        }
        let places = Places::of(from, to);
        self.take_frames(at, &stage);
        let pending = &mut self.pending;
        (pending.events).retain_mut(|event| event.move_to(cluster, &places));
        places.renumber(&mut pending.fit);
        places.renumber(&mut pending.whole);
        self.agent.renumber(&places);
        let beside = &mut self.beside[at];
        let is_candidate = to.is_candidate(to.me());
        let new = if is_candidate {
            RoleName::Standby
        } else {
            RoleName::Witness
        };
        let was = std::mem::take(&mut beside.roles);
        let role = |place: Option<usize>| place.and_then(|p| was.get(p).copied()).unwrap_or(new);
        beside.roles = places.iter().map(role).collect();
        let stepped = Stepped {
            before_hold: Some(before_hold(&stage)),
            interfaces: stage.interfaces.clone(),
            peers: others.then(|| Metrics::new(&stage).peers),
            to_come: BTreeMap::new(),
        };
        self.loaded.clusters[at] = stage;
        for (number, place) in (0u8..).map(GroupId).zip(places.iter()) {
            if place.is_none() && self.kernel.is_some() {
                self.report_eligible(number);
                self.tell_health(number);
            }
        }
        self.follow_interfaces(crate::clock::boottime());
        self.report_condition();
        Ok(stepped)
    }

    /// Members are reached as `stage` says, from now on.
    fn take_ways(
        &mut self,
        at: usize,
        from: &Config,
        stage: LocalCluster,
    ) -> Result<Stepped, String> {
        let (local, cluster) = (&self.loaded.clusters[at], self.beside[at].number);
        let others = stage.ways() != local.ways() || stage.listens_at() != local.listens_at();
        if !others {
            return Ok(Stepped::default());
        }
        self.sockets.make_room(cluster, from, &stage)?;
        self.sockets.change(cluster, from, &stage);
        self.live_by(&stage)?;
        let peers = Some(Metrics::new(&stage).peers);
        self.loaded.clusters[at] = stage;
        Ok(Stepped {
            peers,
            ..Stepped::default()
        })
    }

    /// The kernel side knows where this member is, and where the other candidate.
    fn live_by(&mut self, local: &LocalCluster) -> Result<(), String> {
        let Some(kernel) = &mut self.kernel else {
            return Ok(());
        };
        let own = local.listens_at().iter().map(|a| a.ip()).collect();
        kernel.lives_also_at(own);
        let ways = local.ways_to_candidates().into_iter();
        kernel.look_after(ways).map_err(|e| e.to_string())
    }

    /// It turns back: what was withdrawn for a step that was not taken is in its groups again.
    fn give_back(&mut self, at: usize, to: &Config) -> Result<(), String> {
        let Some(kernel) = self.kernel.as_mut().filter(|k| k.has_withdrawn()) else {
            return Ok(());
        };
        let groups = KernelGroup::all_of(&self.loaded.clusters[at].with(to));
        let timing = to.timing();
        let changed = kernel.change(groups, timing.slack(), timing.longest_lease());
        changed.map_err(|e| e.to_string())
    }

    /// Adverts travel as frames where `local` says.
    fn take_frames(&mut self, at: usize, local: &LocalCluster) {
        if self.loaded.clusters[at].frame_interfaces() != local.frame_interfaces() {
            self.frames = Frames::of(local);
        }
    }

    /// Nothing but `to` is in force.
    fn settled(&mut self, at: usize, to: &Config) {
        if let Some(local) = self.loaded.clusters.get(at) {
            let mut local = local.clone();
            local.config = to.clone();
            self.take_frames(at, &local);
            self.loaded.clusters[at] = local;
        }
        if let Some(Beside {
            number, persisted, ..
        }) = self.beside.get_mut(at)
        {
            let cluster = *number;
            let _ = persisted.says(&to.electorates()); // what fails is tried again
            self.pending.writing.insert(cluster);
            self.sockets.keep_no_room(cluster);
        }
        if let (Some(local), Some(Beside { toward, .. })) =
            (self.loaded.clusters.get(at), self.beside.get_mut(at))
        {
            if local.next.is_none() {
                *toward = None;
            }
            let local = local.clone();
            self.look_at_rate_for(&local.config);
            self.take_priority(&local);
        }
    }
}

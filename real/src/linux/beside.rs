//! What belongs to each cluster besides its configuration: how it joins, and how it leaves.
//!
//! A cluster has a number, which the driver knows it by: the next one when it joined, which no other
//! gets later. `loaded.clusters` and `beside` are in the order of the numbers.

use super::on_disk::Standing;
use super::{Linux, Persisted};
use crate::config_file::LocalCluster;
use crate::driver::ShellEvent;
use onehold_core::advert::{Change, ConfigDigest};
use onehold_core::keyring::Keyring;
use onehold_core::observe::RoleName;

/// What belongs to a cluster besides its configuration.
#[derive(Debug)]
pub struct Beside {
    /// Its number.
    pub number: usize,
    /// What this incarnation leaves to later ones.
    pub persisted: Persisted,
    /// This member's roles, by group.
    pub roles: Vec<RoleName>,
    /// which configuration the driver was told to go toward, if any.
    pub(super) toward: Option<ConfigDigest>,
    /// What is known of the other members' keys.
    pub(super) keyring: Keyring,
    /// How its file stands.
    pub(super) standing: Standing,
}

impl Beside {
    /// what the driver is to be told to go toward, if that is another than before.
    pub(super) fn goes_toward<'l>(&mut self, local: &'l LocalCluster) -> Option<&'l LocalCluster> {
        let toward = toward(local);
        (toward != self.toward).then(|| {
            self.toward = toward;
            local.next.as_deref().unwrap_or(local)
        })
    }
}

/// where a cluster is to go, or has gone and is not settled yet.
fn toward(local: &LocalCluster) -> Option<ConfigDigest> {
    match (&local.next, local.config.change()) {
        (Some(next), _) => Some(next.config.digest()),
        (None, Change::From(_)) => Some(local.config.digest()),
        (None, Change::None | Change::Toward(_)) => None,
    }
}

impl Linux {
    /// Where a cluster is in `loaded.clusters` and in `beside`, while it is served.
    pub(super) fn position(&self, cluster: usize) -> Option<usize> {
        self.beside
            .binary_search_by_key(&cluster, |b| b.number)
            .ok()
    }

    /// Begins to keep a cluster, which has joined; returns its number.
    pub(super) fn keep(&mut self, local: LocalCluster, persisted: Persisted) -> usize {
        let number = self.pending.joined;
        self.pending.joined += 1;
        let role = match local.config.is_candidate(local.config.me()) {
            true => RoleName::Standby,
            false => RoleName::Witness,
        };
        self.look_at_rate_for(&local.config);
        self.beside.push(Beside {
            number,
            persisted,
            roles: vec![role; local.config.groups().len()],
            toward: None,
            keyring: Keyring::default(),
            standing: Standing::default(),
        });
        self.loaded.clusters.push(local);
        number
    }

    /// A cluster is not to be served any more: its node stops first, and then it is
    /// forgotten. (A candidate's only one leaves with the process.)
    pub(super) fn let_leave(&mut self, cluster: usize) {
        let leaves = ShellEvent::Leaves { cluster };
        self.pending.events.push_back(leaves);
    }

    /// The driver serves it no more: its sockets, its lock and its history go. Its record stays for a
    /// later incarnation.
    pub(super) fn leave(&mut self, cluster: usize) {
        let Some(at) = self.position(cluster) else {
            return;
        };
        let local = self.loaded.clusters.remove(at);
        let Beside { persisted, .. } = self.beside.remove(at);
        self.sockets.remove(cluster);
        self.histories.leave(cluster);
        tracing::info!("cluster {} is not served any more", local.name());
        while self.pending.leaving.try_join_next().is_some() {} // those that have ended
        self.pending.leaving.spawn(async move {
            if let Err(e) = persisted.finish().await {
                tracing::error!("{e}");
            }
        });
        self.report_condition();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{THREE, cluster};

    #[test]
    fn r22_a_reload_of_what_is_coming_into_force_is_no_other_way() {
        let mut local = cluster(THREE, "lb0");
        assert_eq!(toward(&local), None);
        let longer = cluster(&THREE.replace("450ms", "900ms"), "lb0");
        let next = longer.config.digest();
        local.reload(longer.clone()).unwrap();
        assert_eq!(toward(&local), Some(next));
        // A step later it is in force, and not yet on every member.
        let mut stage = longer.with(&longer.config.from(&local.config));
        assert_eq!(toward(&stage), Some(next));
        stage.reload(longer).unwrap();
        assert_eq!(toward(&stage), Some(next));
    }
}

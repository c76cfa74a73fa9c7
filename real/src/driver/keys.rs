//! The keys of a cluster while they are rotated: which one an advert or a note is sealed with, and
//! what accepted adverts say of their senders' keys.

use super::{Driver, Shell};
use crate::metrics::Head;
use onehold_core::advert::{Advert, MemberId};
use onehold_core::auth::{self, Key};
use onehold_core::keyring::Accepts;
use onehold_core::time::LocalTime;

impl<S: Shell> Driver<S> {
    /// Sends an advert, once under each key that its receiver may need.
    pub(super) fn send(&mut self, cluster: usize, now: LocalTime, to: MemberId, advert: &Advert) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        let (vote, incarnation) = (s.config.timing().vote(), advert.to_incarnation);
        for key in s.keyring.sealing(&s.keys, now, vote, to, incarnation) {
            auth::seal_with(key, &s.keys, advert, &mut self.sealed);
            s.metrics.sent += self.shell.send(cluster, to, &self.sealed);
        }
    }

    /// An advert of a member was accepted, whose datagram said this.
    pub(super) fn accepts(&mut self, cluster: usize, now: LocalTime, head: Head, said: &Accepts) {
        if let Some(s) = self.served.get_mut(cluster) {
            s.metrics.sealed(head.from, said.sealed);
            if s.keyring.heard(now, head.from, head.incarnation, said) {
                self.shell.knows_keys(cluster, &s.keyring);
            }
        }
    }
}

impl super::Served {
    /// The key that a note is sealed with. It goes to a member that is heard.
    pub(super) fn key_of_note(&self, now: LocalTime, note: &crate::note::Note) -> Option<&Key> {
        let (vote, to) = (self.config.timing().vote(), Some(note.to_incarnation));
        let keys = &self.keys;
        self.keyring.sealing(keys, now, vote, note.to, to).first()
    }
}

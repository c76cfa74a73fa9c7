//! What probes show people. In peace a standby asks now and then whether the holder answers,
//! so that it is known before it matters; and where a kernel answers from which no advert arrives,
//! an alarm names the cause.
//!
//! What this never does: decide anything. When the core asks is the core's, and an answer in peace
//! changes nothing there.

use super::{Driver, Served, Shell};
use crate::kernel::Probing;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::Arbitration;
use onehold_core::observe::{GroupSnapshot, RoleName};
use onehold_core::time::{LocalTime, Span};
use std::collections::BTreeMap;

/// How often it is asked in peace.
const APART: Span = Span::from_millis(30_000);
/// A question that is not answered in this time was in vain; and how often what may end is looked at.
const SHORTLY: Span = Span::from_millis(1_000);
/// So many in a row are not lost by chance.
const IN_VAIN: u32 = 3;
/// For how long an answer shows that somebody holds.
const LINGER: Span = Span::from_millis(5_000);

/// When to ask in peace, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Probes {
    due: Option<LocalTime>,
    groups: BTreeMap<(usize, u8), Asked>,
}

impl Probes {
    pub(super) const fn due(&self) -> Option<LocalTime> {
        self.due
    }

    /// A cluster is not served any more.
    pub(super) fn forget(&mut self, cluster: usize) {
        self.groups.retain(|(of, _), _| *of != cluster);
    }

    /// Something happened that may show.
    pub(super) const fn look(&mut self, now: LocalTime) {
        self.due = Some(now);
    }
}

/// The questions of a standby, while another member holds a group.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    /// When one was asked that waits for an answer.
    at: Option<LocalTime>,
    /// When the next one is due.
    next: Option<LocalTime>,
    /// How many in a row were in vain.
    in_vain: u32,
}

impl Asked {
    /// Whether to ask now.
    fn look(&mut self, now: LocalTime, probing: &Probing) -> bool {
        if let Some(at) = self.at {
            if probing.last_answered >= Some(at) {
                (self.at, self.next, self.in_vain) = (None, Some(at.plus(APART)), 0);
            } else if now >= at.plus(SHORTLY) {
                self.at = None;
                self.in_vain = self.in_vain.saturating_add(1);
                let soon = self.in_vain < IN_VAIN;
                self.next = Some(if soon { now } else { at.plus(APART) });
            }
        }
        let asks = self.at.is_none() && self.next.is_none_or(|next| next <= now);
        if asks {
            self.at = Some(now);
        }
        asks
    }

    fn due(&self) -> Option<LocalTime> {
        self.at.map(|at| at.plus(SHORTLY)).or(self.next)
    }
}

impl<S: Shell> Driver<S> {
    /// Asks what is due, and reports what was found.
    pub(super) fn look_at_probes(&mut self, now: LocalTime) {
        if self.probes.due.is_none_or(|due| now < due) {
            return;
        }
        self.probes.due = None;
        for cluster in self.served.numbers() {
            let Some(s) = self.served.get_mut(cluster) else {
                continue;
            };
            let groups = s.config.groups().len();
            let probing = |id| self.shell.probing(cluster, GroupId(id));
            let all: Vec<(u8, Probing)> = (0u8..)
                .take(groups)
                .filter_map(|id| Some((id, probing(id)?)))
                .collect();
            if all.is_empty() {
                continue; // the network is not asked
            }
            let snapshot = s.node.observe(&s.config, now);
            let survives = s.config.arbitration() == Arbitration::Survivor;
            let mut alarms = Vec::new();
            for (id, probing) in all {
                let Some(group) = snapshot.groups.get(usize::from(id)) else {
                    continue;
                };
                let asked = self.probes.groups.entry((cluster, id)).or_default();
                let mut due = now.plus(APART);
                match peaceful(group).filter(|_| survives) {
                    Some(_) if asked.look(now, &probing) => {
                        self.shell.probe(cluster, GroupId(id), now);
                        due = now.plus(SHORTLY);
                    }
                    Some(_) => due = asked.due().unwrap_or(due),
                    None => {
                        *asked = Asked::default();
                        due = now.plus(LINGER); // another one may hold by then
                    }
                }
                let no_echo = asked.in_vain >= IN_VAIN;
                let unheard = s.answers_unheard(now, &probing);
                if let Some(alarm) = unheard.map(|peer| s.unheard_in_words(group, peer)) {
                    alarms.push(alarm);
                    due = due.min(now.plus(SHORTLY));
                }
                if let Some(holder) = peaceful(group)
                    && no_echo
                    && probing.answered > 0
                {
                    alarms.push(s.no_echo_any_more(group, holder));
                }
                if let Some(m) = s.metrics.groups.get_mut(usize::from(id)) {
                    m.no_echo = no_echo;
                }
                let before = self.probes.due.unwrap_or(due);
                self.probes.due = Some(before.min(due));
            }
            self.alarms(cluster, "probes", alarms);
        }
    }
}

/// The other member that holds a group, while this one is a standby beside it.
fn peaceful(group: &GroupSnapshot) -> Option<MemberId> {
    group.holder.filter(|_| group.role == RoleName::Standby)
}

impl Served {
    /// The only peer, if what was answered lately was asked after it should have been heard.
    fn answers_unheard(&self, now: LocalTime, probing: &Probing) -> Option<MemberId> {
        let asked = probing.last_answered?;
        let peer = self.metrics.peers.first()?;
        let by_path = peer.paths.iter().filter_map(|p| p.heard_at);
        let accepted = peer.accepted.map(|(_, at)| at);
        let heard = by_path
            .chain(accepted)
            .max()
            .unwrap_or(self.metrics.started);
        let vote = self.config.timing().vote();
        let unheard = asked > heard.plus(vote) && now < asked.plus(LINGER);
        unheard.then_some(peer.member)
    }

    fn first_address(&self, group: GroupId) -> String {
        let all = self.config.group(group).into_iter();
        let first = all.flat_map(|g| &g.addresses).next();
        first.map_or_else(String::new, |p| p.address.to_string())
    }

    fn unheard_in_words(&self, group: &GroupSnapshot, peer: MemberId) -> String {
        let name = self.config.group_name(group.group);
        let (peer, address) = (
            self.config.member_name(peer),
            self.first_address(group.group),
        );
        let port = self.metrics.peers.first().and_then(|p| p.paths.first());
        let port = port.map_or(6946, |p| p.path.remote.port());
        format!(
            "{name}: a machine answers echo requests for {address}, but no advert of {peer} arrives: is UDP port \
             {port} (and EtherType 0x88B5) blocked between the two? (R-20)"
        )
    }

    fn no_echo_any_more(&self, group: &GroupSnapshot, holder: MemberId) -> String {
        let name = self.config.group_name(group.group);
        let (holder, address) = (
            self.config.member_name(holder),
            self.first_address(group.group),
        );
        format!(
            "{name}: {holder} answers echo requests for {address} no longer: does a firewall drop ICMP between the \
             two? Where no advert passed either, both would hold (R-20)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> LocalTime {
        LocalTime::from_nanos(0).plus(Span::from_millis(ms))
    }

    /// When it is asked in two minutes, if what is asked in a span is answered.
    fn asked(answered: std::ops::Range<u64>) -> (Vec<u64>, u32) {
        let (mut asked, mut probing, mut all) = (Asked::default(), Probing::default(), Vec::new());
        for at in (0..120_000).step_by(250) {
            if asked.look(ms(at), &probing) {
                all.push(at);
                if answered.contains(&at) {
                    probing.last_answered = Some(ms(at));
                }
            }
            assert!(asked.due().expect("it goes on") > ms(at));
        }
        (all, asked.in_vain)
    }

    #[test]
    fn what_is_answered_is_asked_each_30_s() {
        assert_eq!(asked(0..120_000), (vec![0, 30_000, 60_000, 90_000], 0));
    }

    #[test]
    fn what_is_not_answered_is_asked_again_shortly_and_then_each_30_s() {
        let (all, in_vain) = asked(0..1);
        assert_eq!(all[..4], [0, 30_000, 31_000, 32_000]);
        assert_eq!(all[4..], [62_000, 92_000]);
        assert!(in_vain > IN_VAIN);
    }

    #[test]
    fn an_answer_ends_it() {
        let (all, in_vain) = asked(60_000..120_000);
        assert_eq!(all, [0, 1_000, 2_000, 32_000, 62_000, 92_000]);
        assert_eq!(in_vain, 0);
    }
}

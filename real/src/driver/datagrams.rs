//! Datagrams that come in: which cluster they are of, and what becomes of them. Whoever floods this
//! member from elsewhere than the members' addresses is not looked at for long.

use super::{Driver, Served, Shell};
use crate::config_file::Path;
use crate::metrics::{Head, OtherConfig};
use crate::telemetry;
use onehold_core::advert::{Advert, ClusterId};
use onehold_core::auth::{self, Authentic};
use onehold_core::input::Input;
use onehold_core::keyring::Accepts;
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use std::borrow::Cow;
use std::net::SocketAddr;

/// Most datagrams from addresses of no member that are opened in [`LOOK`]: a member whose address is
/// another one than was written sends some tens.
const MOST: u32 = 4_096;
const LOOK: Span = Span::from_millis(1_000);
/// Most events of one turn; more wait for the next, so that no flood can stop time. Of many clusters
/// so many for each, if that does not take too long: what waits for a witness that fell behind is read
/// before it hurries for what it has not read.
const MAX_EVENTS: usize = 1_024;
const MAX_EVENTS_OF_EACH: usize = 16;
const TOO_LONG: Span = Span::from_millis(100);

/// What comes from addresses of no member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strangers {
    /// When those that are counted began to come.
    since: LocalTime,
    came: u32,
    /// When one was not opened last.
    refused_at: Option<LocalTime>,
    alarmed: bool,
}

impl Default for Strangers {
    fn default() -> Self {
        Self {
            since: LocalTime::from_nanos(0),
            came: 0,
            refused_at: None,
            alarmed: false,
        }
    }
}

impl Strangers {
    /// Whether one more may be opened.
    fn may_open(&mut self, now: LocalTime) -> bool {
        if now >= self.since.plus(LOOK) {
            (self.since, self.came) = (now, 0);
        }
        self.came = self.came.saturating_add(1);
        if self.came > MOST {
            self.refused_at = Some(now);
        }
        self.came <= MOST
    }

    /// Whether there are too many, or were lately, if that has changed.
    fn look(&mut self, now: LocalTime) -> Option<bool> {
        let lately = |at: LocalTime| now < at.plus(LOOK.times(2));
        let flooded = self.refused_at.is_some_and(lately);
        let before = std::mem::replace(&mut self.alarmed, flooded);
        (before != flooded).then_some(flooded)
    }
}

/// The look at a socket of which the last datagram was, if the newest of that come first: its number,
/// and when its first one was taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look(Option<(u64, LocalTime)>);

impl Look {
    /// The last datagram is of this one; returns since when others of it were.
    fn is(&mut self, number: Option<u64>, now: LocalTime) -> Option<LocalTime> {
        let known = self.0.filter(|(of, _)| Some(*of) == number);
        self.0 = known.or(number.map(|number| (number, now)));
        self.0.map(|(_, since)| since)
    }
}

impl<S: Shell> Driver<S> {
    /// Reports a flood, or its end.
    pub(super) fn look_at_strangers(&mut self, now: LocalTime) {
        let (Some(flooded), Some(cluster)) = (self.strangers.look(now), self.served.first()) else {
            return;
        };
        let alarm = flooded.then(|| {
            format!(
                "more than {MOST} datagrams a second come from addresses of no member: no more of them are \
                 looked at, and members at other addresses than the file has are not heard. Find who sends them \
                 (tcpdump), or let a firewall drop them"
            )
        });
        self.alarms(cluster, "strangers", alarm.into_iter().collect());
    }

    /// Whether so many events are enough for a turn that began then.
    pub(super) fn is_long(&self, events: usize, began: LocalTime, now: LocalTime) -> bool {
        let many = events >= MAX_EVENTS_OF_EACH * self.served.len();
        events >= MAX_EVENTS && (many || began.plus(TOO_LONG) <= now)
    }

    /// A datagram came in.
    pub(super) fn datagram(
        &mut self,
        now: LocalTime,
        local: SocketAddr,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        if let Some(claimed) = auth::claimed_cluster_of_note(bytes) {
            self.note(now, claimed, bytes);
            return;
        }
        let several = self.served.len() > 1;
        let claimed: Option<ClusterId> = auth::claimed_cluster(bytes);
        let known = claimed.and_then(|id| self.served.of_id(id));
        // One of no cluster of ours is counted by a cluster that has its path, or else by the first.
        let path = Path { local, remote };
        let has_it = |s: &Served| s.metrics.paths().any(|p| p == path);
        let there = known.filter(|known| self.served.get(*known).is_some_and(has_it));
        let there = there.or_else(|| self.served.of_path(local, remote));
        if there.is_none() && !self.strangers.may_open(now) {
            return;
        }
        let known = known.or(there);
        let Some(cluster) = known.or_else(|| self.served.first()) else {
            return;
        };
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        // what another one of the same look supersedes is as good as lost, and costs no more.
        if let Some(since) = self.look.is(self.shell.newest_first(), now)
            && let Some((of, sent_at)) = auth::claimed_order(bytes)
            && s.node.superseded(of, sent_at, since)
        {
            s.metrics.not_opened();
            return;
        }
        let mut head = None;
        let result = match auth::open_named(&s.keys, s.config.cluster(), bytes) {
            Ok((advert, accepts)) => {
                let here = s.config.read(advert.get());
                let from = here.map_or(advert.get().from, |here| here.from);
                head = Some(Head {
                    from,
                    ..Head::from(advert.get())
                });
                s.metrics.heard(local, remote, now);
                let lately = |echo| now.since(echo) < s.config.timing().vote();
                let echoed = advert.get().echo.is_some_and(lately);
                self.shell.heard(cluster, from, (local, remote), echoed);
                self.advert(cluster, now, advert, &accepts)
            }
            Err(why) => Err(why),
        };
        if let (Err(why), Some(s)) = (result, self.served.get_mut(cluster)) {
            tracing::trace!(%remote, reason = %why, "datagram rejected");
            s.metrics.rejected(why, claimed, head, (local, remote), now);
            if let Reject::OtherConfig { digest, .. } = why {
                let (from, at) = (remote, now);
                let holds = head.is_some_and(|head| head.holds);
                let other = OtherConfig {
                    digest,
                    from,
                    at,
                    holds,
                };
                if let (whose, true) = s.metrics.other_config(other) {
                    let cluster = (s.metrics.cluster.as_str(), several);
                    telemetry::report_other_config(whose, other, &s.config, cluster);
                }
            }
        }
    }

    /// An authentic advert came in.
    pub(super) fn advert(
        &mut self,
        cluster: usize,
        now: LocalTime,
        advert: Authentic<Advert>,
        accepts: &Accepts,
    ) -> Result<(), Reject> {
        let mut head = Head::from(advert.get());
        let echo = advert.get().echo.map(|e| e.plus(advert.get().echo_age));
        let mut says = std::mem::take(&mut self.says); // its room is used again
        says.clone_from(&advert.get().groups);
        let config = self.served.get_mut(cluster).map(|s| &s.config);
        if let Some(Ok(Cow::Owned(here))) = config.map(|config| config.read(advert.get())) {
            (head.from, says) = (here.from, here.groups); // its numbers are others
        }
        let accepted = self.handle(cluster, now, Input::Received(advert));
        if accepted.is_ok() {
            if let Some(s) = self.served.get_mut(cluster) {
                s.metrics.accepted(head, echo, now);
            }
            self.accepts(cluster, now, head, accepts);
            self.said(cluster, now, head.from, &says);
        }
        self.says = says;
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(1 << 40).plus(Span::from_millis(ms))
    }

    #[test]
    fn a_flood_of_strangers_is_opened_so_often_a_second_and_no_more() {
        let mut strangers = Strangers::default();
        let mut opened = |from: u64, to: u64| {
            let all = (from * 100..to * 100).map(|n| at(n / 100));
            all.filter(|now| strangers.may_open(*now)).count()
        };
        assert_eq!(opened(0, 1_000), MOST as usize);
        assert_eq!(opened(1_000, 1_010), 1_000, "the next second");
        assert_eq!(opened(1_010, 2_000), MOST as usize - 1_000);
    }

    #[test]
    fn a_flood_is_an_alarm_from_when_it_is_too_much_until_it_is_over() {
        let mut strangers = Strangers::default();
        assert_eq!(strangers.look(at(0)), None);
        let mut changes = Vec::new();
        for ms in 0..6_000 {
            let each = if (1_000..3_000).contains(&ms) { 100 } else { 1 };
            for _ in 0..each {
                strangers.may_open(at(ms));
            }
            changes.extend(strangers.look(at(ms)).map(|is| (ms, is)));
        }
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!((1_000..2_000).contains(&changes[0].0) && changes[0].1);
        assert!((3_000..5_000).contains(&changes[1].0) && !changes[1].1);
    }
}

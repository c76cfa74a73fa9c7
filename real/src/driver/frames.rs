//! Adverts that came as Ethernet frames: one more path.

use super::{Driver, Shell};
use crate::announce::Mac;
use crate::metrics::Head;
use onehold_core::auth;
use onehold_core::time::LocalTime;

impl<S: Shell> Driver<S> {
    /// What came as an Ethernet frame is treated as a datagram: of two copies R-2 drops the later.
    pub(super) fn frame(&mut self, now: LocalTime, at: usize, from: Mac, bytes: &[u8]) {
        const CLUSTER: usize = 0; // a candidate serves one
        let Some(s) = self.served.get_mut(CLUSTER) else {
            return;
        };
        let opened = auth::open_named(&s.keys, s.config.cluster(), bytes);
        let said = (opened.as_ref().ok()).map(|(a, _)| (Head::from(a.get()), a.get().echo));
        let result = opened.and_then(|(advert, names)| self.advert(CLUSTER, now, advert, &names));
        let Some(s) = self.served.get_mut(CLUSTER) else {
            return;
        };
        match said {
            // Its copy may have come as a datagram before.
            Some((head, echo)) if s.metrics.is_newest(head) => {
                s.metrics.heard_frame(at, now);
                self.shell.heard_frame(at, from, echo);
            }
            Some(_) | None => {}
        }
        if let (Err(why), Some(s)) = (result, self.served.get_mut(CLUSTER)) {
            tracing::trace!(at, reason = %why, "frame rejected");
            s.metrics.rejected_frame(at, why, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::LocalCluster;
    use crate::config_file::tests::{TWO, cluster};
    use crate::driver::{Served, ShellEvent};
    use crate::metrics::Metrics;
    use crate::orders::Standings;
    use onehold_core::advert::{Advert, GroupId, Incarnation, MemberId, Statement};
    use onehold_core::auth::{Key, Keys};
    use onehold_core::effect::Event;
    use onehold_core::reject::Reject;
    use onehold_core::time::Span;

    const PEER: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 9];
    const ME: Incarnation = Incarnation(1);

    /// Keeps what it is told of frames.
    #[derive(Default)]
    struct Heard(Vec<(usize, Mac)>);

    impl Shell for Heard {
        fn now(&mut self) -> LocalTime {
            at(0)
        }

        async fn wait(&mut self, _: LocalTime) {}

        fn next(&mut self, _: &mut Vec<u8>) -> Option<ShellEvent> {
            None
        }

        fn send(&mut self, _: usize, _: MemberId, _: &[u8]) -> u64 {
            0
        }

        fn release(&mut self, _: usize, _: GroupId) {}

        fn hold_until(&mut self, _: usize, _: GroupId, _: LocalTime) {}

        fn prepare(&mut self, _: usize, _: GroupId) {}

        fn announce(&mut self, _: usize, _: GroupId) {}

        fn record_lease(&mut self, _: usize, _: Span) {}

        fn reported(&mut self, _: usize, _: &Event) {}

        fn ordered(&mut self, _: usize, _: &[Standings]) {}

        fn heard_frame(&mut self, at: usize, from: Mac, _: Option<LocalTime>) {
            self.0.push((at, from));
        }
    }

    fn at(ms: u64) -> LocalTime {
        LocalTime::from_nanos(1 << 40).plus(Span::from_millis(ms))
    }

    fn driver(local: &LocalCluster) -> Driver<Heard> {
        let (config, metrics) = (local.config.clone(), Metrics::new(local));
        let served = Served::start(config, local.keys(), metrics, ME, at(0), Span::ZERO);
        Driver::new(vec![served], Heard::default())
    }

    fn advert(local: &LocalCluster, keys: &Keys, sent_at: LocalTime) -> Vec<u8> {
        let groups = local.config.groups().len();
        let advert = Advert {
            cluster: local.config.cluster(),
            config: local.config.digest(),
            change: onehold_core::advert::Change::None,
            from: MemberId(1),
            to: MemberId(0),
            incarnation: Incarnation(2),
            to_incarnation: Some(ME),
            sent_at,
            echo: Some(at(0)),
            echo_age: Span::ZERO,
            quarantined: false,
            groups: (0..groups).map(|_| Statement::default()).collect(),
        };
        let mut bytes = Vec::new();
        auth::seal(keys, &advert, &mut bytes);
        bytes
    }

    #[test]
    fn only_what_the_peer_said_last_says_where_it_is() {
        let local = cluster(TWO, "lb0");
        let path = local.paths(MemberId(1)).next().expect("a path");
        let mut driver = driver(&local);
        let [first, second] = [10, 20].map(|ms| advert(&local, &local.keys(), at(ms)));
        driver.frame(at(11), 0, PEER, &first);
        driver.datagram(at(21), path.local, path.remote, &second);
        driver.frame(at(22), 0, PEER, &second); // a copy
        driver.frame(at(23), 0, OTHER, &first); // a recording
        assert_eq!(driver.shell.0, [(0, PEER), (0, PEER)]);
        let metrics = &driver.served.get(0).expect("served").metrics;
        let frames = &metrics.frames[0];
        assert_eq!((frames.received, frames.heard_at), (2, Some(at(22))));
        assert_eq!((metrics.accepted, frames.rejected), (2, None));
        assert_eq!(metrics.rejected[Reject::Stale.index()], 2);
        assert!(metrics.doubles.is_empty(), "copies are usual");
    }

    #[test]
    fn what_is_forged_changes_nothing_and_is_said() {
        let local = cluster(TWO, "lb0");
        let mut driver = driver(&local);
        let theirs = Keys::new(Key::new(b"another secret of another one"), vec![]);
        driver.frame(at(1), 0, OTHER, &advert(&local, &theirs, at(1)));
        driver.frame(at(1), 9, OTHER, &advert(&local, &local.keys(), at(1)));
        driver.frame(at(1), 0, OTHER, b"noise");
        assert_eq!(
            driver.shell.0,
            [(9, OTHER)],
            "no such interface, as it happens"
        );
        let metrics = &driver.served.get(0).expect("served").metrics;
        assert_eq!(metrics.frames[0].rejected, Some((at(1), Reject::TooShort)));
        assert_eq!(
            metrics.rejected[Reject::UnknownKey(theirs.sealing()).index()],
            1
        );
    }
}

//! The named configurations.

use crate::world::{Adversary, Setup};
use onehold_core::config::{Arbitration, Failback, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;

/// A cluster of `size` members, of which two are candidates, with times in ticks of a nanosecond.
#[must_use]
pub fn setup(
    size: usize,
    arbitration: Arbitration,
    timing: [u64; 3],
    drift_ppm: u32,
    adversary: Adversary,
) -> Setup {
    let member = |name: &str, witness| MemberSpec {
        name: name.into(),
        witness,
        addresses: vec![],
    };
    let mut members = vec![member("a", false), member("b", false)];
    let witnesses = ["w", "x", "y"].iter().take(size - 2);
    members.extend(witnesses.map(|n| member(n, true)));
    let [interval, lease, slack] = timing.map(Span::from_nanos);
    let spec = Spec {
        cluster: "model".into(),
        members: members.clone(),
        groups: vec![GroupSpec {
            name: "address".into(),
            addresses: vec![Prefix {
                address: [192, 0, 2, 1].into(),
                length: 24,
            }],
            preferred: "a".into(),
            failback: Failback::Auto,
            failback_delay: Span::ZERO,
            release_when_unhealthy: false,
        }],
        arbitration,
        timing: TimingSpec {
            interval,
            lease,
            guard_slack: slack,
            drift_ppm,
        },
    };
    let seat = |m: &MemberSpec| spec.prove(&m.name).expect("the lab's own configuration");
    Setup {
        seats: members.iter().map(seat).collect(),
        rates: vec![vec![1; size]],
        orders: vec![(0..size as u8).collect()],
        warm_up: 0,
        adversary,
    }
}

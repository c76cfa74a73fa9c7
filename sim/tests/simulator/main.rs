//! The simulator: the shipped driver under turmoil.

use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Arbitration, Failback, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
use onehold_sim::turmoil::plan::{Change, MemberPlan, Moment, Plan, Weather};
use onehold_sim::turmoil::record::{By, Record, What};
use onehold_sim::turmoil::run::Run;

const LB0: MemberId = MemberId(0);
const LB1: MemberId = MemberId(1);
const WEB: GroupId = GroupId(0);

/// Two candidates and a witness, started at once.
fn three(timeline: &[(u64, Change)]) -> Plan {
    let member = |name: &str| MemberSpec {
        name: name.to_owned(),
        witness: name == "w",
        addresses: vec![format!("{name}.example")],
    };
    let spec = Spec {
        cluster: "sim".to_owned(),
        members: ["lb0", "lb1", "w"].map(member).to_vec(),
        groups: vec![GroupSpec {
            name: "web".to_owned(),
            addresses: vec![Prefix {
                address: [10, 0, 0, 50].into(),
                length: 24,
            }],
            preferred: "lb0".to_owned(),
            failback: Failback::Auto,
            failback_delay: Span::ZERO,
            release_when_unhealthy: false,
        }],
        arbitration: Arbitration::Majority,
        timing: TimingSpec::default(),
    };
    let seat = |name| MemberPlan {
        config: spec.prove(name).unwrap(),
        secret: "a secret".to_owned(),
        ppm: 0,
    };
    let start = (0..3).map(|id| (Span::ZERO, Change::Start(MemberId(id))));
    let then = timeline.iter();
    Plan {
        seed: 7,
        tick: Span::from_millis(1),
        length: Span::from_millis(8_000),
        members: ["lb0", "lb1", "w"].map(seat).to_vec(),
        paths: 1,
        weather: Weather::default(),
        confirm_after: Span::from_millis(2),
        timeline: start
            .chain(then.map(|(at, what)| (Span::from_millis(*at), what.clone())))
            .collect(),
    }
}

fn records(plan: Plan) -> Vec<Record> {
    let mut run = Run::new(plan);
    let mut all = Vec::new();
    while !run.is_over() {
        all.extend(run.step().unwrap());
    }
    all
}

/// Who began or ceased to answer, and in which millisecond.
fn holds(records: &[Record]) -> Vec<(u64, MemberId, Option<By>)> {
    let hold = |r: &Record| match r.what {
        What::Opened(WEB) => Some((r.at / 1_000_000, r.member?, None)),
        What::Shut(WEB, by) => Some((r.at / 1_000_000, r.member?, Some(by))),
        _ => None,
    };
    records.iter().filter_map(hold).collect()
}

#[test]
fn one_takes_over_when_the_holders_machine_dies() {
    let all = records(three(&[(3_000, Change::PowerOff(LB0))]));
    let holds = holds(&all);
    let [
        (_, LB0, None),
        (3_000, LB0, Some(By::Machine)),
        (at, LB1, None),
    ] = holds[..]
    else {
        panic!("{holds:?}");
    };
    assert!((3_300..3_600).contains(&at), "{at}");
}

#[test]
fn a_kernel_ends_a_dead_processs_hold_by_itself() {
    let kill = Change::Kill(LB0, Moment::Now);
    let holds = holds(&records(three(&[(3_000, kill)])));
    let [
        (_, LB0, None),
        (shut, LB0, Some(By::Deadline)),
        (open, LB1, None),
    ] = holds[..]
    else {
        panic!("{holds:?}");
    };
    assert!(shut > 3_300 && shut <= open && open < 3_600, "{holds:?}");
}

//! The simulator: the shipped driver under turmoil.

mod alone;
mod provider;
mod scenarios;
mod sweep;

use onehold::config_file::Length;
use onehold::trace::Reader;
use onehold_core::advert::{GroupId, MemberId};
use onehold_core::config::{Arbitration, GroupSpec, MemberSpec, Prefix, Spec};
use onehold_core::lease::TimingSpec;
use onehold_core::time::Span;
use onehold_sim::fault::{Conditions, Edit, Fault, Target};
use onehold_sim::replay::Replay;
use onehold_sim::simulator::plan::{MemberPlan, Plan, Sending};
use onehold_sim::simulator::record::{By, Record, What};
use onehold_sim::simulator::run::Run;
use onehold_sim::simulator::trace::RunTrace;
use onehold_sim::simulator::watch::Watch;
use std::rc::Rc;

const LB0: MemberId = MemberId(0);
const LB1: MemberId = MemberId(1);
const WEB: GroupId = GroupId(0);

/// Two candidates and a witness, started at once.
fn three(timeline: &[(u64, Fault)]) -> Plan {
    let member = |name: &str| MemberSpec {
        name: name.to_owned(),
        witness: name == "w",
        addresses: vec![format!("{name}.example")],
    };
    let spec = Spec {
        cluster: "sim".to_owned(),
        members: ["lb0", "lb1", "w"].map(member).to_vec(),
        groups: vec![GroupSpec::new(
            "web",
            vec![Prefix::new([10, 0, 0, 50], 24)],
            "lb0",
        )],
        arbitration: Arbitration::Majority,
        timing: TimingSpec::default(),
    };
    let seat = |name| MemberPlan {
        spec: spec.clone(),
        config: spec.prove(name).unwrap(),
        secret: "a secret".to_owned(),
        ppm: 0,
        prepares_in: Span::ZERO,
    };
    let start = ["lb0", "lb1", "w"].map(|name| (Span::ZERO, Fault::Start(name.to_owned())));
    let then = timeline.iter();
    Plan {
        seed: 7,
        tick: Span::from_millis(1),
        length: Span::from_millis(8_000),
        members: ["lb0", "lb1", "w"].map(seat).to_vec(),
        paths: 1,
        conditions: Conditions::default(),
        sending: Sending::default(),
        frames: true,
        evidence: true,
        confirm_after: Span::from_millis(2),
        traced: false,
        before_hold: Vec::new(),
        later: Vec::new(),
        timeline: start
            .into_iter()
            .chain(then.map(|(at, what)| (Span::from_millis(*at), what.clone())))
            .collect(),
    }
}

fn within(of: &str, after_effects: u32) -> Target {
    let of = of.to_owned();
    Target::Within { of, after_effects }
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
    let all = records(three(&[(3_000, Fault::PowerOff("lb0".to_owned()))]));
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
    let kill = Fault::Kill(Target::Of("lb0".to_owned()));
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

/// Everything that happened, datagrams too, a line each.
fn log(plan: Plan) -> Vec<String> {
    let all = records(plan.clone());
    all.iter().map(|r| r.line(&plan)).collect()
}

/// What the daemon's driver did in a storm the core does again, turn by turn.
#[test]
fn a_traced_run_is_replayed_word_for_word() {
    replays(stormy(5));
}

/// also where the configuration changes, in a storm.
#[test]
fn a_traced_change_is_replayed_word_for_word() {
    let mut plan = three(&[]);
    plan.conditions = stormy(5).conditions;
    let second = ["10.0.0.50", "10.0.0.51"].map(str::to_owned).to_vec();
    let edit = |of: &str| Edit {
        of: of.to_owned(),
        groups: Some([("web".to_owned(), second.clone())].into()),
        lease: Some(Length(Span::from_millis(900))),
        ..Edit::default()
    };
    let reload =
        |(n, of): (u64, &str)| (Span::from_millis(3_000 + 200 * n), Fault::Reload(edit(of)));
    plan.timeline
        .extend((0..).zip(["lb0", "w", "lb1"]).map(reload));
    let in_force = |r: &Record| match &r.what {
        What::InForce(config) => config.groups()[0].addresses.len() == 2,
        _ => false,
    };
    let settled = records(plan.clone()).iter().filter(|r| in_force(r)).count();
    assert!(
        settled >= 6,
        "each takes two steps with both addresses: {settled}"
    );
    replays(plan);
}

fn replays(plan: Plan) {
    let plan = Plan {
        traced: true,
        ..plan
    };
    let mut trace = RunTrace::new(Vec::new(), Rc::new(plan.clone())).unwrap();
    for record in records(plan) {
        trace.see(&record).unwrap();
    }
    let bytes = trace.end().unwrap();
    let mut replay = Replay::default();
    replay
        .read(Reader::new("storm", bytes.as_slice()).unwrap())
        .unwrap();
    let (good, verdict) = replay.verdict();
    assert!(good, "{verdict}");
}

fn stormy(seed: u64) -> Plan {
    let mut plan = three(&[
        (2_000, Fault::Kill(within("lb0", 3))),
        (3_000, Fault::Start("lb0".to_owned())),
        (5_000, Fault::Pause(within("lb1", 1))),
        (6_000, Fault::Resume("lb1".to_owned())),
    ]);
    plan.seed = seed;
    plan.conditions = Conditions {
        loss: 10.0,
        duplicate: 10.0,
        corrupt: 5.0,
        jitter: Length(Span::from_millis(30)),
        straggle: 5.0,
        straggle_by: Length(Span::from_millis(1_000)),
        ..Conditions::default()
    };
    plan
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let first = log(stormy(1));
    assert!(first.len() > 500, "{}", first.len());
    assert_eq!(first, log(stormy(1)));
    assert_ne!(first, log(stormy(2)));
}

#[test]
fn equal_seeds_give_equal_runs_in_other_processes() {
    let run = |n: u32| {
        let file = std::env::temp_dir().join(format!("onehold-sim-{}-{n}", std::process::id()));
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_onehold-lab"))
            .args(["sim", "disorder", "--log"])
            .arg(&file)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        let bytes = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        bytes
    };
    let first = run(1);
    assert!(first.len() > 100_000, "{}", first.len());
    assert!(
        first == run(2),
        "two processes ran the same seed differently"
    );
}

#[test]
fn two_that_answer_at_once_between_two_ticks_are_seen() {
    let plan = Rc::new(three(&[]));
    let mut watch = Watch::new(&plan);
    let mut see = |at, member, what| {
        let member = Some(member);
        watch.see(&Record { at, member, what });
    };
    see(10, LB0, What::Opened(WEB));
    see(20, LB1, What::Opened(WEB));
    see(21, LB0, What::Shut(WEB, By::Release));
    assert_eq!(watch.groups[0].answers.two(0, 1_000), [(20, 21)]);
}

#[test]
fn a_hold_whose_deadline_is_past_opens_nothing() {
    // The holder is stopped before it tells its kernel of a longer lease, and goes on too late
    //
    let all = records(three(&[
        (3_000, Fault::Pause(within("lb0", 2))),
        (6_000, Fault::Resume("lb0".to_owned())),
    ]));
    let paused = all.iter().find(|r| r.what == What::Paused);
    assert!(paused.is_some_and(|r| r.member == Some(LB0)));
    let holds = holds(&all);
    let [
        (_, LB0, None),
        (shut, LB0, Some(By::Deadline)),
        (open, LB1, None),
        ..,
    ] = holds[..]
    else {
        panic!("{holds:?}");
    };
    assert!(shut <= open, "{holds:?}");
    let back = holds.iter().find(|(at, m, _)| *at >= 6_000 && *m == LB0);
    let given = holds.iter().find(|(at, m, _)| *at >= 6_000 && *m == LB1);
    assert!(given.is_some_and(|(_, _, by)| *by == Some(By::Release)));
    assert!(back.unwrap().0 >= given.unwrap().0, "{holds:?}");
}

//! The sweep: some hundred seeds, the same run for the same seed, and what is said of a broken one.

use onehold::control::Order;
use onehold::trace::Reader;
use onehold_sim::fault::{Fault, Links};
use onehold_sim::properties::PropertyId;
use onehold_sim::replay::Replay;
use onehold_sim::screen::Screen;
use onehold_sim::simulator::incidents::Incident;
use onehold_sim::simulator::incidents::cluster::Promise;
use onehold_sim::simulator::sweep::command::{Options, sweep};
use onehold_sim::simulator::sweep::draw::Draw;
use onehold_sim::simulator::sweep::judge::{self, breaks};
use onehold_sim::simulator::sweep::report::Report;
use onehold_sim::simulator::sweep::shrink::ddmin;
use onehold_sim::simulator::{scenario, verdict};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn lab(args: &[&str]) -> Output {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_onehold-lab"));
    lab.args(args).output().unwrap()
}

/// A file of this process in the directory for such.
fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("onehold-sweep-{}-{name}", std::process::id()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_seed_keeps_every_promise_and_together_they_reach_everything() {
    let options = Options {
        seeds: (0, 240),
        ..Options::default()
    };
    let report = sweep(&options, &mut Screen::new()).unwrap();
    assert_eq!(report.seeds, 240);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    let never: Vec<&str> = report.never().collect();
    assert!(never.is_empty(), "never seen: {}", never.join(", "));
}

/// Every record of a seed's run, a line each.
fn log(seed: u64) -> String {
    let draw = Draw::of(seed);
    let mut lines = String::new();
    let seen = judge::run(&draw, &draw.incidents, |plan, record| {
        lines += &record.line(plan);
        lines.push('\n');
    });
    seen.unwrap();
    lines
}

#[test]
fn a_seed_is_the_same_run_in_this_process_and_in_others() {
    for seed in [3, 5] {
        let first = log(seed);
        assert!(first.len() > 50_000, "{}", first.len());
        assert!(first == log(seed), "seed {seed}: twice, and not the same");
        let (scenario, written) = (file(&format!("{seed}.toml")), file(&format!("{seed}.log")));
        let draw = Draw::of(seed);
        std::fs::write(&scenario, draw.scenario(&draw.incidents)).unwrap();
        for _ in 0..2 {
            let output = lab(&["sim", text(&scenario), "--log", text(&written)]);
            assert!(output.status.success(), "{output:?}");
            let there = std::fs::read_to_string(&written).unwrap();
            assert!(
                first == there,
                "seed {seed}: another process ran it differently"
            );
        }
        std::fs::remove_file(&scenario).unwrap();
        std::fs::remove_file(&written).unwrap();
    }
    assert_ne!(log(3), log(5));
}

#[test]
fn a_seed_s_trace_is_what_the_core_does_and_the_command_writes_the_same() {
    let draws = (0..).map(Draw::of);
    let majority = draws.filter(|draw| draw.cluster.promise == Promise::Majority);
    for draw in majority.take(3) {
        let mut trace = Vec::new();
        let seen = judge::trace(&draw, &draw.incidents, &mut trace).unwrap();
        assert!(seen.violations.is_empty(), "{:?}", seen.violations);
        let mut replay = Replay::default();
        let name = format!("seed {}", draw.seed);
        let reader = Reader::new(name, trace.as_slice()).unwrap();
        replay.read(reader).unwrap();
        let (good, said) = replay.verdict();
        assert!(good, "seed {}: {said}", draw.seed);

        let written = file("seed.jsonl");
        let seed = draw.seed.to_string();
        let output = lab(&["sweep", "--seed", &seed, "--trace", text(&written)]);
        assert!(output.status.success(), "{output:?}");
        assert!(std::fs::read(&written).unwrap() == trace, "seed {seed}");
        std::fs::remove_file(&written).unwrap();
    }
}

/// What excuses nothing: two alone must then split, for adverts are lost or late.
fn unexcused() -> Draw {
    let splits = |draw: &Draw| breaks(draw, &draw.incidents, PropertyId::S2);
    let late = |draw: &Draw| {
        let excused = draw.incidents.iter().any(|i| i.excuse.is_some());
        draw.cluster.promise == Promise::Anything && draw.incidents.len() > 10 && excused
    };
    let unexcused = |mut draw: Draw| {
        draw.incidents.iter_mut().for_each(|i| i.excuse = None);
        draw
    };
    let mut all = (0..2_000).map(Draw::of).filter(late).map(unexcused);
    all.find(splits).unwrap()
}

#[test]
fn of_many_faults_the_one_that_splits_two_alone_is_left_and_its_scenario_fails_by_itself() {
    let draw = unexcused();
    let splits = |left: &[Incident]| breaks(&draw, left, PropertyId::S2);
    let left = ddmin(&draw.incidents, splits);
    assert!(splits(&left) && !splits(&[]));
    assert!(left.len() <= 3, "{left:#?}");
    // The network, or a clock that stands still with its machine.
    let splits_two =
        |(_, fault): &(_, Fault)| fault.links().is_some() || matches!(fault, Fault::Freeze(_));
    let may_split = |i: &Incident| i.faults.iter().any(splits_two);
    assert!(left.iter().any(may_split), "{left:#?}");

    let shrunk = file("shrunk.toml");
    std::fs::write(&shrunk, draw.scenario(&left)).unwrap();
    let output = lab(&["sim", text(&shrunk)]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("S2 of ") && said.contains("NOT AS EXPECTED"),
        "{said}"
    );
    // What the sweep says is kept, it plays as expected.
    std::fs::write(&shrunk, draw.scenario(&[])).unwrap();
    assert!(lab(&["sim", text(&shrunk)]).status.success());
    std::fs::remove_file(&shrunk).unwrap();
}

/// L2, L3, L4, L5 and that a stop ends are in the file, too: each is broken by a fault that nothing
/// excuses.
#[test]
fn whatever_a_seed_breaks_its_file_breaks_by_itself() {
    let lb0 = || "lb0".to_owned();
    let order = |to: &str, say| Fault::Command {
        to: to.to_owned(),
        say,
        group: None,
    };
    let steady = |draw: &Draw| {
        let returns = draw.cluster.groups.iter().all(|g| g.returns);
        let three = draw.cluster.members.len() == 3;
        draw.cluster.promise == Promise::Steady && three && returns
    };
    let draw = (0..).map(Draw::of).find(steady).unwrap();
    let (bound, end) = (draw.bound, draw.calm + draw.bound);
    let preferred = |draw: &Draw| draw.cluster.groups[0].preferred;
    let cases = [
        (
            PropertyId::L2,
            vec![(draw.calm + 1, Fault::Cut(Links::all()))],
        ),
        (
            PropertyId::L3,
            vec![(
                end - 2 * draw.cluster.vote(),
                order(preferred(&draw), Order::Switch),
            )],
        ),
        (
            PropertyId::L3Once,
            vec![
                (end + 1, order("lb0", Order::Switch)),
                (end + 1, order("lb1", Order::Switch)),
            ],
        ),
        (
            PropertyId::L4,
            vec![
                (bound, order("lb0", Order::Switch)),
                (bound, order("lb1", Order::Switch)),
            ],
        ),
        (PropertyId::L5, vec![(bound, Fault::Cut(Links::all()))]),
        (
            PropertyId::StopEnds,
            vec![(draw.length - draw.cluster.tick, Fault::Stop(lb0()))],
        ),
    ];
    for (property, faults) in cases {
        let incident = Incident {
            at: faults[0].0,
            faults,
            excuse: None,
            moves: Vec::new(),
        };
        let scenario = draw.scenario(&[incident]);
        let scenario = scenario::parse(Path::new("seed.toml"), scenario).unwrap();
        let outcome = verdict::run(scenario, |_| {}).unwrap();
        let broken = outcome.failures.iter().any(|f| f.property == property);
        assert!(broken, "{property}: {:?}", outcome.failures);
    }
}

#[test]
fn shards_run_every_seed_once_and_merge_to_what_one_machine_finds() {
    let (one, all) = (file("one.json"), file("all.json"));
    let shards = [file("0.json"), file("1.json"), file("2.json")];
    let output = lab(&["sweep", "--seeds", "10..17", "--json", text(&one)]);
    assert!(output.status.success(), "{output:?}");
    for (n, shard) in shards.iter().enumerate() {
        let share = format!("{n}/3");
        let output = lab(&[
            "sweep",
            "--seeds",
            "10..17",
            "--shard",
            &share,
            "--json",
            text(shard),
        ]);
        assert!(output.status.success(), "{output:?}");
    }
    let mut args = vec!["merge", "--json", text(&all)];
    args.extend(shards.iter().map(|s| text(s)));
    assert!(lab(&args).status.success());
    let (one_report, merged) = (Report::read(&one).unwrap(), Report::read(&all).unwrap());
    assert_eq!((merged.seeds, one_report.seeds), (7, 7));
    assert_eq!(merged.coverage, one_report.coverage);
    for file in shards.iter().chain([&one, &all]) {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn errors_say_what_would_be_right() {
    for (args, remedy) in [
        (&["sweep", "--seeds", "9"][..], "such as 0..1000"),
        (&["sweep", "--seeds", "9..9"], "such as 0..1000"),
        (&["sweep", "--shard", "2/2"], "such as 0/4 to 3/4"),
        (&["sweep", "--trace", "x"], "--seed <N>"),
        (&["merge", "no-such.json"], "no-such.json: "),
        (
            &["merge", env!("CARGO_MANIFEST_PATH")],
            "write it with `cargo lab sweep --json FILE`",
        ),
    ] {
        let output = lab(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(remedy), "{args:?}: {said}");
    }
}

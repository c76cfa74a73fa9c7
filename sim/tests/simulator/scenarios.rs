//! The library of scenarios, and what is said of files that are wrong.

use onehold::config_file::Length;
use onehold_core::time::Span;
use onehold_sim::simulator::chaos::{self, Chaos};
use onehold_sim::simulator::command;
use onehold_sim::simulator::incidents::{Incident, Kind, OnLinks, OnMember};
use onehold_sim::simulator::scenario::{self, Scenario};
use onehold_sim::simulator::transcript::Transcript;
use onehold_sim::simulator::verdict;
use std::path::Path;
use std::rc::Rc;

fn named(name: &str) -> Scenario {
    scenario::read(&command::file_of(name)).unwrap()
}

/// Cuts what the chaos monkey does short; what is expected of the whole run is asked of the rest.
fn shortened(mut scenario: Scenario, length: Span) -> Scenario {
    if scenario.plan.length <= length {
        return scenario;
    }
    scenario.plan.length = length;
    for expect in &mut scenario.expect {
        expect.until = expect.until.min(length);
        expect.from = expect.from.min(expect.until);
    }
    // The last thing that it does may not be over then.
    let holder = |e: &scenario::Expect| matches!(e.what, scenario::Expected::Holder(_));
    scenario.expect.retain(|e| !holder(e));
    scenario
}

#[test]
fn every_scenario_is_as_expected() {
    let all = command::all().unwrap();
    assert!(all.len() >= 30, "{} scenarios", all.len());
    let mut wrong = Vec::new();
    for scenario in all {
        let scenario = shortened(scenario, Span::from_millis(300_000));
        let outcome = verdict::run(scenario, |_| {}).unwrap();
        let name = &outcome.scenario.name;
        wrong.extend(outcome.failures.iter().map(|f| {
            let what = &f.what;
            format!(
                "{} s: {what}; see `cargo lab sim {name}`",
                f.at / 1_000_000_000
            )
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_as_expected_is_said() {
    let text = std::fs::read_to_string(command::file_of("survivor-full-cut")).unwrap();
    let text = text.replace("within = \"250ms\"", "within = \"1ms\"");
    let (before, after) = text.split_once("[two]").unwrap();
    let (_, after) = after.split_once("[[timeline]]").unwrap();
    let text = format!("{before}[[timeline]]{after}");
    let scenario = scenario::parse(Path::new("never-two.toml"), text).unwrap();
    let outcome = verdict::run(scenario, |_| {}).unwrap();
    let said: Vec<&str> = outcome.failures.iter().map(|f| f.what.as_str()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn two_that_are_expected_must_come() {
    let mut scenario = named("isolate-holder");
    scenario.two = Some((Span::from_millis(1), "of a mistake".to_owned()));
    let outcome = verdict::run(scenario, |_| {}).unwrap();
    let said: Vec<&str> = outcome.failures.iter().map(|f| f.what.as_str()).collect();
    assert_eq!(
        said,
        ["two should answer at once (of a mistake), and never did"]
    );
}

/// What is said of a file in which something is replaced.
fn said_of(what: &str, by: &str) -> String {
    let text = std::fs::read_to_string(command::file_of("survivor-full-cut")).unwrap();
    assert!(text.contains(what), "{what}");
    let wrong = scenario::parse(Path::new("mine.toml"), text.replacen(what, by, 1));
    wrong.map(|_| "nothing").unwrap_err().to_string()
}

#[test]
fn errors_name_the_line_the_key_and_the_remedy() {
    let all = [
        ("cut =", "cutt ="),
        ("lb0 <-> lb1", "lb0 <-> lb2"),
        ("lb0 <-> lb1", "lb0 to lb1"),
        ("lb0 <-> lb1", "lb0 <-> lb0"),
        ("cut = \"lb0 <-> lb1\"", "cut = \"lb0 <-> lb1 (path 1)\""),
        (
            "cut = \"lb0 <-> lb1\"",
            "cut = \"lb0 <-> lb1\"\nkill = \"lb0\"",
        ),
        (
            "cut = \"lb0 <-> lb1\"",
            "conditions = { on = \"lb0 <-> lb1\", are = { loss = 120.0 } }",
        ),
        (
            "cut = \"lb0 <-> lb1\"",
            "conditions = { on = \"lb0 <-> lb1\" }",
        ),
        ("cut = \"lb0 <-> lb1\"", ""),
        ("cut = \"lb0 <-> lb1\"", "kill = { of = \"lb0\" }"),
        (
            "cut = \"lb0 <-> lb1\"",
            "command = { to = \"lb0\", say = \"swich\" }",
        ),
        ("at = \"3s\"", "at = \"3\""),
        ("at = \"3s\"", "at = \"3min\""),
        ("at = \"3s\"", "at = \"3s\"\nevery = \"1s\""),
        ("at = \"14s\"", "at = \"15s\""),
        ("holder = \"lb0\"", "holder = \"nobody\"\nmoves_only = []"),
        ("announces = {", "group = \"mail\"\nannounces = {"),
        ("length =", "lenght ="),
        ("length =", "tick = \"500us\"\nlength ="),
        ("[two]", "[timing]\nlease = \"200ms\"\n\n[two]"),
    ];
    let said: Vec<String> = all.iter().map(|(what, by)| said_of(what, by)).collect();
    insta::assert_snapshot!(said.join("\n"));
}

fn transcript(name: &str) -> String {
    let scenario = named(name);
    let mut transcript = Transcript::new(Rc::new(scenario.plan.clone()));
    let mut lines = vec![scenario.title.clone()];
    let outcome = verdict::run(scenario, |record| lines.extend(transcript.see(record))).unwrap();
    lines.extend(transcript.end());
    assert!(outcome.is_good(), "{:?}", outcome.failures);
    lines.join("\n")
}

macro_rules! transcripts {
    ($($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            insta::assert_snapshot!(transcript($name));
        }
    )*};
}

transcripts! {
    the_tutorials_stop_and_start: "tutorial-stop-start",
    a_power_cut: "power-off",
    a_killed_process_leaves_no_address: "kill-leaves-no-address",
    a_machine_frozen_with_its_clock: "frozen-clock",
    two_alone_with_a_full_cut: "survivor-full-cut",
    an_isolated_holder: "isolate-holder",
    a_kernel_that_refuses_to_release: "kernel-refuses-releases",
}

#[test]
fn the_chaos_monkey_finishes_what_it_began_before_it_goes_on() {
    let plan = named("isolate-holder").plan;
    let length = |ms| Length(Span::from_millis(ms));
    let chaos = Chaos {
        from: length(0),
        until: length(600_000),
        every: length(5_000),
        lasts: length(2_000),
        does: vec![Kind::Member(OnMember::PowerOff), Kind::Links(OnLinks::Cut)],
    };
    let all = chaos::incidents(&plan, &chaos);
    assert!(all.len() > 50, "{}", all.len());
    for incident in &all {
        let [(begins, _), (ends, _)] = incident.faults[..] else {
            panic!("{incident}")
        };
        assert!(begins < ends && ends <= begins + 2_000_000, "{incident}");
    }
    let end = |incident: &Incident| incident.faults[1].0;
    assert!(all.windows(2).all(|pair| end(&pair[0]) < pair[1].at));
}

#[test]
fn chaos_may_do_anything_and_two_answer_only_where_that_is_excused() {
    let scenario = |arbitration: &str| {
        let text = format!(
            r#"
            title = "everything"
            about = "every kind of incident that a file can name"
            length = "20min"
            tick = "5ms"
            arbitration = "{arbitration}"
            [chaos]
            from = "5s"
            until = "19min"
            every = "6s"
            lasts = "4s"
            does = ["stop", "kill", "pause", "suspend", "power-off", "freeze", "switch", "cut",
                "cut-one-way", "cut-partly", "keep", "isolate", "split", "deaf", "unheard", "flap",
                "loss", "loss-one-way", "disorder", "corrupt", "replay"]
            "#
        );
        scenario::parse(Path::new("everything.toml"), text).unwrap()
    };
    for arbitration in ["majority", "survivor"] {
        let outcome = verdict::run(scenario(arbitration), |_| {}).unwrap();
        assert!(outcome.is_good(), "{arbitration}: {:?}", outcome.failures);
    }
    let excuses = |arbitration| scenario(arbitration).excuses.len();
    assert!(excuses("majority") < excuses("survivor"));
}

//! A run that is recorded and replayed; everything that can be wrong with a trace is noticed.

mod cluster;

use cluster::{GROUP, NAMES, spec};
use onehold::trace::{Header, Line, Reader, Turn, Writer};
use onehold_core::Node;
use onehold_core::advert::{
    Advert, Ballot, Change, ClusterId, ConfigDigest, GroupId, Incarnation, MAX_GROUPS, MemberId,
    Statement,
};
use onehold_core::auth::Authentic;
use onehold_core::config::{Arbitration, Config};
use onehold_core::effect::{Effect, ReleaseId};
use onehold_core::input::{Command, Input};
use onehold_core::reject::Reject;
use onehold_core::time::{LocalTime, Span};
use onehold_sim::replay::Replay;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Three members on a network that takes a millisecond, each with its own clock, and the trace
/// of it.
struct Run {
    trace: Writer<Vec<u8>>,
    members: Vec<(Config, Node)>,
    /// Pending, by millisecond.
    coming: Vec<(u64, usize, Input)>,
    ms: u64,
}

fn time(ms: u64) -> Option<Span> {
    Some(Span::from_millis(ms))
}

/// A member's own clock.
fn clock(member: usize, ms: u64) -> LocalTime {
    LocalTime::from_nanos(1_000_000_000_000 * (member as u64 + 1) + 1_000_000 * ms)
}

impl Run {
    fn new(arbitration: Arbitration) -> Self {
        let spec = spec(arbitration);
        let names: Vec<String> = spec.members.iter().map(|m| m.name.clone()).collect();
        let header = Header::new("a test", spec.clone(), names.clone());
        let mut trace = Writer::new(Vec::new(), &header).unwrap();
        let mut members = Vec::new();
        for (n, member) in names.into_iter().enumerate() {
            let (config, at) = (spec.prove(&member).unwrap(), clock(n, 0));
            let (incarnation, earlier) = (Incarnation(n as u64 + 70), Span::ZERO);
            let node = Node::start(&config, incarnation, at, earlier);
            members.push((config, node));
            let start = Line::Start {
                member,
                at,
                time: time(0),
                incarnation,
                earlier,
                doubts: false,
                spec: None,
            };
            trace.line(&start).unwrap();
        }
        Self {
            trace,
            members,
            coming: Vec::new(),
            ms: 0,
        }
    }

    /// At once.
    fn tell(&mut self, member: usize, input: Input) {
        self.coming.push((self.ms + 1, member, input));
    }

    fn all_can_hold(mut self) -> Self {
        for member in 0..2 {
            let (group, eligible) = (GROUP, true);
            self.tell(member, Input::Eligible { group, eligible });
            let healthy = true;
            self.tell(member, Input::Health { group, healthy });
        }
        self
    }

    fn go_on(mut self, ms: u64) -> Self {
        for _ in 0..ms {
            self.ms += 1;
            let (now, later) = (self.coming.drain(..)).partition(|(at, ..)| *at <= self.ms);
            self.coming = later;
            let now: Vec<(u64, usize, Input)> = now;
            for (_, member, input) in now {
                self.turn(member, input);
            }
            for n in 0..self.members.len() {
                let (config, node) = &self.members[n];
                let due = node.poll_timeout(config);
                if due.is_none_or(|at| at <= clock(n, self.ms)) {
                    self.turn(n, Input::Wake);
                }
            }
        }
        self
    }

    fn turn(&mut self, member: usize, input: Input) {
        let (now, mut effects) = (clock(member, self.ms), Vec::new());
        let (config, node) = &mut self.members[member];
        let result = node.handle(config, now, input.clone(), &mut effects);
        let turn = Turn {
            cluster: 0,
            now,
            input: &input,
            result,
            effects: &effects,
            node,
        };
        let line = turn.line(NAMES[member], time(self.ms));
        self.trace.line(&line).unwrap();
        for effect in effects {
            let (to, input) = match effect {
                Effect::Send { to, advert } => {
                    let advert = Authentic::assumed(advert);
                    (usize::from(to.0), Input::Received(advert))
                }
                Effect::Release { group, release } => (member, Input::Released { group, release }),
                Effect::HoldUntil { .. } => {
                    self.kernel(member, true);
                    continue;
                }
                Effect::EndIncarnation
                | Effect::Prepare { .. }
                | Effect::Announce { .. }
                | Effect::Probe { .. }
                | Effect::Report(_) => continue,
            };
            if let Input::Released { .. } = input {
                self.kernel(member, false);
            }
            self.coming.push((self.ms + 1, to, input));
        }
    }

    fn kernel(&mut self, member: usize, effective: bool) {
        let line = Line::Kernel {
            time: Span::from_millis(self.ms),
            member: NAMES[member].into(),
            group: "web".into(),
            effective,
        };
        self.trace.line(&line).unwrap();
    }

    /// As if the trace went on in a new file here.
    fn states(mut self) -> Self {
        for (n, (_, node)) in self.members.iter().enumerate() {
            let state = Line::State {
                member: NAMES[n].into(),
                at: clock(n, self.ms),
                node: node.clone(),
            };
            self.trace.line(&state).unwrap();
        }
        self
    }

    fn text(self) -> String {
        String::from_utf8(self.trace.into_inner()).unwrap()
    }
}

/// A start, a switch, and the way back.
fn recorded() -> String {
    let mut run = Run::new(Arbitration::Majority).all_can_hold().go_on(1_500);
    for command in [Command::Switch, Command::Resume] {
        let group = GROUP;
        run.tell(0, Input::Operator { group, command });
        run = run.go_on(1_000);
    }
    run.text()
}

fn replayed(texts: &[&str]) -> (bool, String) {
    let mut replay = Replay::default();
    for (n, text) in texts.iter().enumerate() {
        let reader = Reader::new(format!("trace {n}"), text.as_bytes()).unwrap();
        replay.read(reader).unwrap();
    }
    replay.verdict()
}

/// The first line of the report on a trace with something wrong in it.
#[track_caller]
fn flaw(text: &str) -> String {
    let (good, said) = replayed(&[text]);
    assert!(!good, "{said}");
    let mut lines = said.lines();
    let first = lines.next().into_iter();
    let more = lines.take_while(|line| line.starts_with("  the "));
    first.chain(more).collect::<Vec<_>>().join("\n")
}

/// The trace with another line `n` (from 1).
fn with(text: &str, n: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut line = serde_json::from_str(&lines[n - 1]).unwrap();
    change(&mut line);
    lines[n - 1] = line.to_string();
    lines.join("\n") + "\n"
}

/// The number of the first line that has all the words.
fn find(text: &str, words: &[&str]) -> usize {
    let has = |line: &str| words.iter().all(|w| line.contains(w));
    text.lines().position(has).unwrap() + 1
}

#[test]
fn a_recorded_run_is_what_the_core_does() {
    let (good, said) = replayed(&[&recorded()]);
    assert!(good, "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn members_may_have_files_of_their_own_in_any_order() {
    let text = recorded();
    let one = |name: &str| {
        let of = |line: &&str| {
            line.contains("\"format\"") || line.contains(&format!("\"member\":\"{name}\",\"at\""))
        };
        let lines: Vec<&str> = text.lines().filter(of).collect();
        lines.join("\n") + "\n"
    };
    let (good, said) = replayed(&[&one("witness"), &one("lb1"), &one("lb0")]);
    assert!(good, "{said}");
    insta::assert_snapshot!(said);
}

#[test]
fn a_trace_goes_on_in_a_file_that_begins_with_states() {
    let run = Run::new(Arbitration::Majority).all_can_hold();
    let text = run.go_on(1_000).states().go_on(1_000).text();
    let (good, said) = replayed(&[&text]);
    assert!(good, "{said}");
    let lines: Vec<&str> = text.lines().collect();
    let states = find(&text, &["\"kind\":\"state\""]);
    let second = [&lines[..1], &lines[states - 1..]].concat().join("\n") + "\n";
    let (good, said) = replayed(&[&second]);
    assert!(good && said.contains("web: holder "), "{said}");
    let other = with(&second, 2, |line| {
        assert_eq!(line["node"]["groups"][0]["healthy"], true);
        line["node"]["groups"][0]["healthy"] = json!(false);
    });
    assert!(flaw(&other).contains("differs"));
}

#[test]
fn every_effect_is_compared() {
    let text = recorded();
    for kind in ["release", "send", "hold_until", "announce", "report"] {
        let n = find(&text, &["\"effects\"", &format!("{{\"{kind}\"")]);
        let gone = with(&text, n, |line| {
            let effects = line["effects"].as_array_mut().unwrap();
            effects.retain(|effect| effect.get(kind).is_none());
        });
        let said = flaw(&gone);
        assert!(said.starts_with(&format!("✗ trace 0:{n}: ")), "{said}");
        assert!(said.contains("differs"), "{said}");
    }
    let n = find(&text, &["hold_until"]);
    let more = with(&text, n, |line| {
        let effects = line["effects"].as_array_mut().unwrap();
        effects.push(json!({"announce": {"group": 0}}));
    });
    let longer = with(&text, n, |line| {
        let effects = line["effects"].as_array_mut().unwrap();
        for hold in effects.iter_mut().filter_map(|e| e.get_mut("hold_until")) {
            hold["deadline"] = json!(hold["deadline"].as_u64().unwrap() + 1);
        }
    });
    insta::assert_snapshot!([flaw(&more), flaw(&longer)].join("\n"));
}

#[test]
fn every_reject_is_compared() {
    let text = recorded();
    let n = find(&text, &["\"reject\":\"knock\""]);
    let other = with(&text, n, |line| line["reject"] = json!("stale"));
    let none = with(&text, n, |line| line["reject"] = Value::Null);
    insta::assert_snapshot!([flaw(&other), flaw(&none)].join("\n"));
}

#[test]
fn what_can_t_be_in_a_run_is_noticed() {
    let text = recorded();
    let n = find(&text, &["\"turn\"", "lb1"]);
    let stranger = with(&text, n, |line| line["member"] = json!("lb7"));
    let clock = with(&text, n + 40, |line| line["at"] = json!(5));
    let time = with(&text, n + 40, |line| line["time"] = json!(5));
    let start = find(&text, &["\"start\"", "lb1"]);
    let unborn = with(&text, start, |line| {
        *line = json!({"kind": "died", "member": "lb1", "time": 0})
    });
    let all = [stranger, clock, time, unborn];
    insta::assert_snapshot!(all.map(|text| flaw(&text)).join("\n"));
}

/// No rule reads how old an echo is, so the core does the same; but nobody has sent this.
#[test]
fn an_advert_that_nobody_sent_is_noticed() {
    let text = recorded();
    let n = find(&text, &["\"received\"", "\"member\":\"lb1\"", "\"vote\":{"]);
    let other = with(&text, n, |line| line["advert"]["echo_age"] = json!(1));
    insta::assert_snapshot!(flaw(&other));
}

#[test]
fn s1_two_effective_are_wrong_under_majority_and_reported_under_survivor() {
    let kernel = |ms: u64, member: &str, effective: bool| {
        let line = json!({
            "kind": "kernel", "time": ms * 1_000_000, "member": member, "group": "web",
            "effective": effective,
        });
        line.to_string() + "\n"
    };
    let of = |arbitration, lines: &[String]| {
        let text = Run::new(arbitration).go_on(3).text();
        text + &lines.concat()
    };
    let two = [
        kernel(5, "lb0", true),
        kernel(7, "lb1", true),
        kernel(9, "lb0", false),
    ];
    let said = flaw(&of(Arbitration::Majority, &two));
    assert!(
        said.ends_with(": S1: lb0 and lb1 are effective, from 7ms on for 2ms"),
        "{said}"
    );
    // A trace may end at the first moment of it.
    let said = flaw(&of(Arbitration::Majority, &two[..2]));
    assert!(said.contains("S1: lb0 and lb1"), "{said}");
    let (good, said) = replayed(&[&of(Arbitration::Survivor, &two)]);
    assert!(good && said.contains("two effective for 2ms"), "{said}");
    let change = [
        kernel(5, "lb0", true),
        kernel(7, "lb1", true),
        kernel(7, "lb0", false),
    ];
    let (good, said) = replayed(&[&of(Arbitration::Majority, &change)]);
    assert!(good && said.contains("never two effective"), "{said}");
}

#[test]
fn a_trace_in_which_nothing_happens_shows_nothing() {
    let said = flaw(&Run::new(Arbitration::Majority).text());
    assert!(said.contains("nothing to compare"), "{said}");
}

#[test]
fn a_cut_off_line_is_reported_and_everything_before_it_counts() {
    let text = recorded();
    let (good, said) = replayed(&[&text[..text.len() - 20]]);
    assert!(good && said.contains("the line is cut off"), "{said}");
}

fn any_advert() -> impl Strategy<Value = Advert> {
    let vote = proptest::option::of((any::<u8>(), any::<[u64; 2]>()));
    let statement = (any::<[bool; 6]>(), vote).prop_map(|(flags, vote)| {
        let [asks, holds, ready, yields, preparing, frozen] = flags;
        let vote = vote.map(|(member, [incarnation, asked_at])| Ballot {
            member: MemberId(member),
            incarnation: Incarnation(incarnation),
            asked_at: LocalTime::from_nanos(asked_at),
        });
        Statement {
            asks,
            holds,
            ready,
            yields,
            preparing,
            frozen,
            vote,
        }
    });
    let groups = vec(statement, 0..=MAX_GROUPS);
    let numbers = (any::<[u64; 5]>(), any::<[Option<u64>; 3]>());
    (numbers, any::<(u8, u8, bool)>(), groups).prop_map(
        |((n, [life, echo, next]), (from, to, quarantined), groups)| Advert {
            cluster: ClusterId(n[0]),
            config: ConfigDigest(n[1]),
            change: next.map_or(Change::None, |next| Change::Toward(ConfigDigest(next))),
            from: MemberId(from),
            to: MemberId(to),
            incarnation: Incarnation(n[2]),
            to_incarnation: life.map(Incarnation),
            sent_at: LocalTime::from_nanos(n[3]),
            echo: echo.map(LocalTime::from_nanos),
            echo_age: Span::from_nanos(n[4]),
            quarantined,
            groups: groups.into_iter().collect(),
        },
    )
}

fn any_effect() -> impl Strategy<Value = Effect> {
    let group = any::<u8>().prop_map(GroupId);
    prop_oneof![
        (group, any::<bool>()).prop_map(|(group, id)| Effect::Release {
            group,
            release: ReleaseId(id),
        }),
        (any::<u8>(), any_advert()).prop_map(|(to, advert)| Effect::Send {
            to: MemberId(to),
            advert,
        }),
        any::<(u8, u64)>().prop_map(|(group, at)| Effect::HoldUntil {
            group: GroupId(group),
            deadline: LocalTime::from_nanos(at),
        }),
    ]
}

proptest! {
    #[test]
    fn any_turn_is_read_as_it_was_written(
        (at, time) in any::<(u64, Option<u64>)>(),
        advert in any_advert(),
        from in proptest::option::of(any::<u64>()),
        effects in vec(any_effect(), 0..4),
    ) {
        let line = Line::Received {
            member: "lb0".into(),
            at: LocalTime::from_nanos(at),
            time: time.map(Span::from_nanos),
            reject: from.map(|digest| Reject::OtherConfig {
                from: advert.from,
                digest: ConfigDigest(digest),
            }),
            advert,
            effects,
        };
        let header = Header::new("a test", spec(Arbitration::Majority), vec![]);
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer.line(&line).unwrap();
        let text = writer.into_inner();
        let mut reader = Reader::new("t", text.as_slice()).unwrap();
        prop_assert_eq!(reader.next().unwrap().unwrap(), line);
    }
}

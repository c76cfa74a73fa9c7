use super::*;
use crate::config_file::tests::Etc;
use onehold_core::config::{Arbitration, Config, GroupSpec, MemberSpec, Prefix};
use onehold_core::lease::TimingSpec;
use std::path::Path;

fn spec() -> Spec {
    let member = |name: &str| MemberSpec {
        name: name.into(),
        witness: false,
        addresses: vec!["10.0.0.10".into()],
    };
    let group = GroupSpec::new("web", vec![Prefix::new([10, 0, 0, 50], 24)], "lb0");
    Spec {
        cluster: "test".into(),
        members: vec![member("lb0"), member("lb1")],
        groups: vec![group],
        arbitration: Arbitration::Survivor,
        timing: TimingSpec::default(),
    }
}

fn written(lines: &[Line]) -> String {
    let header = Header::new("a test", spec(), vec!["lb0".into()]);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    lines.iter().for_each(|line| writer.line(line).unwrap());
    String::from_utf8(writer.into_inner()).unwrap()
}

fn died(second: u64) -> Line {
    let (time, member) = (Span::from_millis(1_000 * second), "lb0".into());
    Line::Died { time, member }
}

/// A member alone, one turn a call.
struct Alone {
    config: Config,
    node: Node,
    start: Line,
    now: LocalTime,
}

impl Alone {
    fn new() -> Self {
        let (config, now) = (spec().prove("lb0").unwrap(), LocalTime::from_nanos(1_000));
        let (incarnation, earlier) = (Incarnation(u64::MAX), Span::ZERO);
        Self {
            node: Node::start(&config, incarnation, now, earlier),
            start: Line::Start {
                member: "lb0".into(),
                at: now,
                time: None,
                incarnation,
                doubts: false,
                earlier,
                spec: None,
            },
            config,
            now,
        }
    }

    fn turn(&mut self, recorder: &mut impl Recorder) {
        self.now = self.now.plus(Span::from_millis(10));
        let (now, mut effects) = (self.now, Vec::new());
        let result = (self.node).handle(&self.config, now, Input::Wake, &mut effects);
        recorder.turn(&Turn {
            cluster: 0,
            now,
            input: &Input::Wake,
            result,
            effects: &effects,
            node: &self.node,
        });
    }
}

/// The lines of a file; all of them can be read.
fn read(path: &Path) -> Vec<Line> {
    let reader = Reader::open(path).unwrap_or_else(|e| panic!("{e}"));
    reader.collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_is_written_is_read() {
    let lines = [died(1), died(2)];
    let text = written(&lines);
    let mut reader = Reader::new("t", text.as_bytes()).unwrap();
    assert_eq!(reader.header().spec, spec());
    let read: Vec<Line> = reader.by_ref().collect::<Result<_, _>>().unwrap();
    assert_eq!((read.as_slice(), reader.line()), (&lines[..], 3));
}

#[test]
fn whatever_is_wrong_with_a_file_is_said_with_line_and_remedy() {
    let good = written(&[died(1), died(2)]);
    let bad = [
        ("missing", None),
        ("empty", Some(String::new())),
        ("something-else", Some("[members.lb0]\n".to_owned())),
        (
            "another-format",
            Some("{\"format\":\"x\",\"version\":1,\"by\":\"y\"}\n".into()),
        ),
        (
            "later-version",
            Some(good.replacen("\"version\":1", "\"version\":2", 1)),
        ),
        ("no-spec", Some(good.replacen("\"spec\"", "\"spek\"", 1))),
        ("cut-off", Some(good[..good.len() - 9].to_owned())),
        ("unknown-kind", Some(good.replacen("died", "rose", 1))),
        (
            "missing-field",
            Some(good.replacen("\"time\"", "\"tame\"", 1)),
        ),
        (
            "not-a-number",
            Some(good.replacen("2000000000", "\"2 s\"", 1)),
        ),
        ("garbage", Some(format!("{good}\0\0\0\n"))),
        ("too-long", Some(format!("{good}{}\n", "x".repeat(2 << 20)))),
    ];
    let etc = Etc::new();
    let said = bad.map(|(name, text)| {
        let path = etc.0.join(name);
        if let Some(text) = text {
            etc.write(name, &text);
        }
        let all = Reader::open(&path).and_then(|lines| lines.collect::<Result<Vec<_>, _>>());
        all.expect_err(name).to_string()
    });
    insta::assert_snapshot!(etc.said(said.join("\n")));
}

/// So a reader of today reads the lines of a later writer.
#[test]
fn an_unknown_field_is_ignored() {
    let more = written(&[died(1)]).replace("\"time\"", "\"weather\":\"fine\",\"time\"");
    let read: Vec<Line> = (Reader::new("t", more.as_bytes()).unwrap())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(read, [died(1)]);
}

#[test]
fn a_full_file_goes_on_in_a_new_one_that_begins_with_the_nodes_state() {
    let etc = Etc::new();
    let (path, old) = (etc.0.join("lb0.trace"), etc.0.join("lb0.trace.old"));
    let mut alone = Alone::new();
    let begun = TraceFile::start(path.clone(), 40_000, spec(), "lb0", &alone.start);
    let (mut trace, rest) = begun.unwrap();
    let mut states = vec![alone.node.clone()];
    for _ in 0..400 {
        alone.turn(&mut trace);
        states.push(alone.node.clone());
    }
    drop(trace);
    rest.wait();
    for file in [&path, &old] {
        let size = std::fs::metadata(file).unwrap().len();
        assert!(size < 22_000, "{size}");
    }
    let (of_old, of_new) = (read(&old), read(&path));
    let Line::State { at, node, .. } = &of_new[0] else {
        panic!("{:?}", of_new[0])
    };
    assert!(states.contains(node));
    match of_old.last() {
        Some(Line::Turn { at: last, .. }) => assert_eq!(at, last),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_earlier_trace_is_kept_and_nothing_else_is_touched() {
    let etc = Etc::new();
    let path = etc.0.join("lb0.trace");
    let begin = || TraceFile::start(path.clone(), 40_000, spec(), "lb0", &Alone::new().start);
    for _ in 0..2 {
        let (trace, rest) = begin().unwrap();
        drop(trace);
        rest.wait();
    }
    assert_eq!(read(&path), [Alone::new().start]);
    assert_eq!(read(&etc.0.join("lb0.trace.old")), [Alone::new().start]);

    let other = "[cluster]\nname = \"web\"\n";
    etc.write("lb0.trace", other);
    let (trace, rest) = begin().unwrap();
    drop(trace);
    rest.wait();
    assert_eq!(read(&etc.0.join("lb0.trace.old")), [Alone::new().start]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), other);
}

use super::*;
use crate::status::Waiting;
use crate::status::tests::healthy;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn at(s: u64) -> LocalTime {
    LocalTime::from_nanos(1_000_000_000_000 + s * 1_000_000_000)
}

fn report() -> Report {
    Report {
        version: crate::status::VERSION,
        clusters: vec![healthy()],
        waiting: vec![],
        next: None,
    }
}

fn shown(top: &Top, s: u64, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| top.draw(frame, at(s))).unwrap();
    let all = terminal.backend().to_string();
    let lines = all.lines().map(|line| line.trim_matches('"').trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

const SIZE: (u16, u16) = (110, 20);

#[test]
fn a_pair_that_is_well() {
    let mut top = Top::default();
    assert!(shown(&top, 0, SIZE).contains("asking the daemon"));
    top.reported(Ok(report()), at(0));
    insta::assert_snapshot!(shown(&top, 0, SIZE));
}

#[test]
fn a_daemon_that_is_gone_and_comes_back() {
    let mut top = Top::default();
    top.reported(Ok(report()), at(0));
    let gone = "/run/onehold/control.sock: Connection refused".to_owned();
    top.reported(Err(gone.clone()), at(2));
    top.reported(Err(gone), at(7));
    insta::assert_snapshot!(shown(&top, 8, SIZE));
    assert_eq!(top.key(Key::Letter('s')), Then::Show);
    assert!(shown(&top, 8, SIZE).contains("nothing can be ordered"));
    top.reported(Ok(report()), at(9));
    assert!(shown(&top, 9, SIZE).contains("all well"));
}

#[test]
fn an_order_is_confirmed_first_and_its_answer_is_shown() {
    let mut top = Top::default();
    top.reported(Ok(report()), at(0));
    assert_eq!(top.key(Key::Letter('s')), Then::Show);
    let asked = shown(&top, 0, SIZE);
    assert!(
        asked.contains("switch web: NOBODY ELSE IS READY to hold it. Type y"),
        "{asked}"
    );
    assert_eq!(top.key(Key::Letter('n')), Then::Show);
    assert!(shown(&top, 0, SIZE).contains("nothing was changed"));
    assert_eq!(top.key(Key::Letter('y')), Then::Show, "nothing is asked");

    let mut ready = report();
    let group = &mut ready.clusters[0].groups[0];
    (group.successor, group.successor_ready) = (Some("lb1".to_owned()), Some(true));
    top.reported(Ok(ready), at(1));
    top.key(Key::Letter('b'));
    let asked = shown(&top, 1, SIZE);
    assert!(
        asked.contains("standby web: lb1 will hold it. Type y"),
        "{asked}"
    );
    let wanted = Wanted {
        order: Order::Standby,
        cluster: "web".to_owned(),
        group: "web".to_owned(),
    };
    assert_eq!(top.key(Key::Letter('y')), Then::Order(wanted));
    top.ordered("web: on standby until `onehold resume`".to_owned());
    assert!(shown(&top, 1, SIZE).contains("web: on standby until"));

    // What was asked before the daemon went is not confirmed by chance.
    top.key(Key::Letter('r'));
    top.reported(Err("gone".to_owned()), at(2));
    assert_eq!(top.key(Key::Letter('y')), Then::Show);
    assert_eq!(top.key(Key::Letter('q')), Then::End);
}

#[test]
fn what_is_meant_stays_within_what_there_is() {
    let mut top = Top::default();
    for key in [Key::Down, Key::Up, Key::Next, Key::Letter('s'), Key::Escape] {
        assert_eq!(top.key(key), Then::Show);
    }
    let mut two = report();
    two.clusters.push(healthy());
    top.reported(Ok(two), at(0));
    for _ in 0..3 {
        top.key(Key::Down);
        top.key(Key::Next);
    }
    assert_eq!((top.cluster, top.group), (1, 0));
    top.reported(Ok(report()), at(1));
    assert_eq!((top.cluster, top.group), (0, 0));
}

/// Nothing panics, however little room there is, and whatever is missing.
#[test]
fn any_size_will_do() {
    let mut top = Top::default();
    let waiting = Waiting {
        cluster: None,
        why: "a name can't be resolved ".repeat(20),
    };
    let mut troubled = report();
    troubled.waiting.push(waiting);
    troubled.clusters[0].alarms = vec!["an alarm ".repeat(40); 30];
    for answer in [Err("no".to_owned()), Ok(Report::default()), Ok(troubled)] {
        top.reported(answer, at(0));
        for size in [(1, 1), (3, 2), (20, 5), (80, 24), (250, 90)] {
            shown(&top, 1, size);
        }
    }
    assert!(shown(&top, 1, (80, 24)).contains("! an alarm"));
}

//! What monitoring is told.

use super::*;

fn line(status: Status, group: Option<&str>) -> (u8, String) {
    let report = Report {
        version: VERSION,
        clusters: vec![status],
        waiting: vec![],
        next: None,
    };
    let verdict = verdict(&report, group);
    let line = verdict.line();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.matches('|').count() <= 1, "{line}");
    (verdict.severity.exit_status(), line)
}

#[test]
fn all_is_ok_while_every_group_is_held_and_there_is_no_alarm() {
    let (status, said) = line(healthy(), None);
    assert_eq!(status, 0);
    insta::assert_snapshot!(said, @"ONEHOLD OK: web on lb0 | 'web held here'=1;;;0;1 'web lease left'=398ms;;;0 'web role changes'=1c 'members heard'=2;;;0;2 alarms=0;;;0");
}

#[test]
fn an_alarm_is_a_warning_and_no_holder_or_two_are_critical() {
    let with = |change: &dyn Fn(&mut Status)| {
        let mut status = healthy();
        change(&mut status);
        line(status, None)
    };
    let alarm = |text: &str| {
        let text = text.to_owned();
        move |s: &mut Status| s.alarms.push(text.clone())
    };
    let (status, said) = with(&alarm("w is not heard: is it up | or\nnot?"));
    assert_eq!(status, 1);
    assert!(
        said.starts_with("ONEHOLD WARNING: w is not heard: is it up / or not? | "),
        "{said}"
    );
    let (status, said) = with(&|s| s.groups[0].holder = None);
    assert_eq!(status, 2);
    assert!(
        said.starts_with("ONEHOLD CRITICAL: web: nobody is known to hold it"),
        "{said}"
    );
    let (status, said) = with(&|s| s.groups[0].opening = true);
    assert_eq!(status, 2);
    assert!(said.contains("web: lb0 holds it, mute"), "{said}");
    let two = "web: two hold: lb0, and lb1 says that it holds, too, by another file";
    assert_eq!(with(&alarm(two)).0, 2);
    let many = |s: &mut Status| {
        s.alarms = (0..9)
            .map(|n| format!("alarm {n}"))
            .chain([two.to_owned()])
            .collect()
    };
    let (_, said) = with(&many);
    assert!(
        said.starts_with("ONEHOLD CRITICAL: web: two hold"),
        "{said}"
    );
    assert!(
        said.contains("; alarm 1; and 7 more; see `onehold status` |"),
        "{said}"
    );
    let (status, _) = with(&|s| {
        s.groups[0].holder = None;
        s.quarantine_left_ms = Some(300.0);
    });
    assert_eq!(status, 1, "it has just started");
}

#[test]
fn one_group_is_judged_by_its_own_alarms_and_those_of_no_group() {
    let mut status = healthy();
    let mut other = status.groups[0].clone();
    other.name = "web2".to_owned();
    other.holder = None;
    status.groups.push(other);
    status
        .alarms
        .push("web2: no member is known to hold it".to_owned());
    assert_eq!(line(status.clone(), None).0, 2);
    assert_eq!(line(status.clone(), Some("web")).0, 0);
    assert_eq!(line(status.clone(), Some("web2")).0, 2);
    assert_eq!(line(status.clone(), Some("web3")).0, 3);
    status.alarms.push("w is not heard".to_owned());
    assert_eq!(line(status, Some("web")).0, 1);
}

#[test]
fn what_is_not_served_is_critical_and_what_is_not_known_is_unknown() {
    let waiting = vec![Waiting {
        cluster: None,
        why: "the secret is missing".to_owned(),
    }];
    let report = Report {
        waiting,
        next: None,
        ..Report::default()
    };
    assert_eq!(verdict(&report, None).severity, Severity::Critical);
    assert_eq!(
        verdict(&Report::default(), None).severity,
        Severity::Unknown
    );
    assert_eq!(Verdict::unknown("x".into()).severity.exit_status(), 3);
    assert_eq!(
        Verdict::critical("no daemon".into()).line(),
        "ONEHOLD CRITICAL: no daemon"
    );
}

//! Many clusters.

use super::*;

/// So many, the first `wrong` of them with an alarm.
fn report(all: usize, wrong: usize) -> Report {
    let one = |n: usize| {
        let mut status = healthy();
        status.cluster = format!("c{n:04}");
        if n < wrong {
            status.alarms = vec![format!("alarm {n}")];
        }
        status
    };
    Report {
        version: VERSION,
        clusters: (0..all).map(one).collect(),
        waiting: vec![],
        next: None,
    }
}

#[test]
fn of_many_clusters_those_with_alarms_have_rows_and_all_are_counted() {
    let few = render(&report(24, 0), Rows::AsFit, false);
    assert_eq!(few.matches("\nc0").count(), 24, "{few}");
    let well = render(&report(1_000, 0), Rows::AsFit, false);
    assert_eq!(
        well,
        "witness of 1000 clusters · all well\n\n\
         A row for each: onehold status --all, or with --match TEXT\n\
         One cluster in full: onehold status --cluster NAME\n"
    );
    for (rows, shown) in [
        (Rows::AsFit, 24),
        (Rows::WithAlarms, 30),
        (Rows::All, 1_000),
    ] {
        let text = render(&report(1_000, 30), rows, false);
        assert!(
            text.starts_with("witness of 1000 clusters · 30 with alarms\n"),
            "{text}"
        );
        assert_eq!(text.matches("\nc0").count(), shown, "{rows:?}");
        let more = text.contains("6 more with alarms: onehold status --alarms\n");
        assert_eq!(more, rows == Rows::AsFit);
    }
}

#[test]
fn clusters_in_which_nobody_is_seen_to_hold_are_counted() {
    let mut report = report(30, 0);
    report.clusters[7].groups[0].holder = None;
    let text = render(&report, Rows::AsFit, false);
    let headline = text.lines().next().unwrap();
    assert!(
        headline.ends_with("· 1 with a group that nobody is seen to hold"),
        "{headline}"
    );
}

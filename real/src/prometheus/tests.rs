use super::*;
use crate::status::Waiting;
use crate::status::tests::healthy;
use std::collections::BTreeSet;

fn of(report: Option<&Report>) -> String {
    page(Page {
        report,
        time: 1_790_000_000.25,
    })
}

#[test]
fn the_page_of_a_holder() {
    let report = Report {
        version: crate::status::VERSION,
        clusters: vec![healthy()],
        waiting: vec![],
        next: None,
    };
    insta::assert_snapshot!(of(Some(&report)));
}

#[test]
fn without_an_answer_the_page_says_just_that() {
    let text = of(None);
    insta::assert_snapshot!(text.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n"), @"
    onehold_up 0
    onehold_report_time_seconds 1790000000.25
    ");
}

#[test]
fn a_daemon_that_waits_has_no_cluster_and_is_up() {
    let waiting = Waiting {
        cluster: None,
        why: "no file".to_owned(),
    };
    let report = Report {
        version: crate::status::VERSION,
        clusters: vec![],
        waiting: vec![waiting],
        next: None,
    };
    let text = of(Some(&report));
    assert!(
        text.contains("\nonehold_up 1\n") && text.contains("\nonehold_waiting 1\n"),
        "{text}"
    );
}

#[test]
fn whatever_a_name_is_it_stays_within_its_quotes() {
    let mut status = healthy();
    status.cluster = "a\"b\\c\nd".to_owned();
    let report = Report {
        version: crate::status::VERSION,
        clusters: vec![status],
        waiting: vec![],
        next: None,
    };
    let text = of(Some(&report));
    assert!(text.contains(r#"cluster="a\"b\\c\nd""#), "{text}");
    let is_known = |line: &str| line.starts_with("# ") || line.starts_with("onehold_");
    assert!(text.lines().all(is_known), "{text}");
}

/// By Prometheus' conventions; `promtool check metrics` has the last word, in the whole-program
/// tests.
#[test]
fn each_metric_has_a_name_of_its_own_by_convention() {
    let mut names = BTreeSet::new();
    for family in FAMILIES {
        let name = family.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.starts_with("onehold_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{name}"
        );
        assert!(
            family.help.ends_with('.') && !family.help.contains('\n'),
            "{name}"
        );
    }
}

/// The page of the book that operators read.
const BOOK: &str = include_str!("../../../docs/src/monitoring.md");

#[test]
fn the_book_lists_every_metric_as_it_is() {
    let mut missing = String::new();
    for family in FAMILIES {
        let mut labels: Vec<String> = family.labels.iter().map(|l| format!("`{l}`")).collect();
        if !family.is_of_cluster() {
            labels.push("(of the process)".to_owned());
        }
        let row = format!(
            "| `{}` | {} | {} | {} |",
            family.name,
            family.kind.text(),
            labels.join(", "),
            family.help
        );
        if !BOOK.lines().any(|line| line == row) {
            missing += &format!("{row}\n");
        }
    }
    assert!(
        missing.is_empty(),
        "docs/src/monitoring.md lacks:\n{missing}"
    );
    let rows = BOOK.lines().filter(|line| line.starts_with("| `onehold_"));
    assert_eq!(
        rows.count(),
        FAMILIES.len(),
        "the book lists one that is not there"
    );
}

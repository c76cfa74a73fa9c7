//! The promise meter.

use super::*;
use crate::clock::Steered;
use crate::metrics::RateApart;
use onehold_core::time::Span;

fn span(us: u64) -> Span {
    Span::from_nanos(us * 1_000)
}

/// A holder's status; lb1 was silent for `silence` at most, and lately.
fn measured(silence: Span) -> Status {
    let cluster = cluster(THREE, "lb0");
    let mut m = metrics(&cluster);
    m.started = before(3_600_000);
    m.peers[0].silence.see(silence, before(40_000));
    m.peers[0].round_trips.see(span(420), before(30_000));
    m.margins.late.see(span(3_000), before(20_000));
    m.margins
        .held(GroupId(0), before(0), cluster.config.timing(), before(450));
    m.margins
        .held(GroupId(0), NOW, cluster.config.timing(), before(330));
    let steered = Steered(RateApart::after(None, -11, before(10_000)));
    let all = snapshot(
        0,
        vec![peer(1, 32), peer(2, 12)],
        vec![group(0, RoleName::Holder, 0)],
    );
    let mut status = Status::from_parts(&all, &cluster.config, &m, NOW);
    status.measured(&cluster.config, &m, Some(steered), NOW);
    status
}

#[test]
fn the_margins_are_one_line_and_each_is_in_json() {
    let status = measured(span(140_000));
    let json = serde_json::to_string_pretty(&status.margins).unwrap();
    let text = text(status);
    let from = text.find("margins").unwrap();
    let to = text.find("identity").unwrap();
    insta::assert_snapshot!(format!("{}{json}", &text[from..to]));
}

#[test]
fn a_margin_that_was_small_lately_is_a_note_and_all_is_still_well() {
    let status = measured(span(330_000));
    insta::assert_snapshot!(status.notes.join("\n"), @"silence of lb1: 330 of 450 ms lately; beyond it the peer's vote is lost: find what delays it or the network, or lengthen timing.lease on all members");
    assert!(status.alarms.is_empty() && measured(span(300_000)).notes.is_empty());
}

//! Orders that stand: with an end, a reason and a name, shown by every member, kept across restarts;
//! and `freeze`, under which nothing moves by itself.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};

/// What `status` of a member says to people.
fn shows(c: &Cluster, name: &str, what: &str) {
    c.answers(name);
    eventually(&format!("`{what}` in the status of {name}"), || {
        // Lines are wrapped.
        let text = c.onehold(name, &["status"]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.contains(what).then_some(())
    });
}

const ALL: [&str; 3] = ["lb0", "lb1", "witness"];

#[test]
fn standby_with_an_end_and_a_reason_is_shown_by_all_survives_a_restart_and_ends_by_itself() {
    let mut c = Setup::majority().patient().start();
    c.hold_on("lb0");
    let said = ["standby", "--for", "1h", "--reason", "disk of lb0"];
    let answer = c.onehold("lb0", &said);
    assert!(answer.contains("web: on standby until 2"), "{answer}");
    c.hold_on("lb1");
    for name in ALL {
        shows(&c, name, "the operator said standby until 2");
        shows(&c, name, ": disk of lb0 (");
    }
    let why = "web: lb0 is heard, but could not take over: the operator said standby until 2";
    for name in ["lb1", "witness"] {
        assert!(c.alarms(name).contains(why), "{}", c.alarms(name));
    }
    c.stop("lb0");
    c.start("lb0");
    shows(&c, "lb0", ": disk of lb0 (");
    shows(&c, "witness", ": disk of lb0 (");
    // What is said again replaces what was said before.
    c.onehold("lb0", &["standby", "--for", "3s"]);
    c.kill("lb0");
    c.start("lb0");
    c.logs("lb0", "is over: as if `resume` or `thaw` were said");
    c.hold_on("lb0");
}

#[test]
fn switch_with_an_end_survives_a_restart_and_comes_back_then() {
    let mut c = Setup::majority().patient().start();
    c.hold_on("lb0");
    c.onehold("lb0", &["switch", "--for", "6s", "--reason", "a look"]);
    c.hold_on("lb1");
    shows(&c, "witness", "web: the operator said switch until 2");
    c.stop("lb0");
    c.start("lb0");
    shows(&c, "lb1", ": a look (");
    c.hold_on("lb0");
}

#[test]
fn a_frozen_group_fails_over_and_does_not_come_back_before_thaw() {
    let mut c = Setup::majority().patient().start();
    c.hold_on("lb0");
    c.onehold("lb0", &["freeze", "--reason", "an upgrade"]);
    for name in ALL {
        shows(&c, name, "the operator said freeze: an upgrade (");
    }
    c.kill("lb0");
    c.hold_on("lb1");
    c.start("lb0");
    shows(
        &c,
        "lb1",
        "frozen: nothing moves by itself until `onehold thaw` on lb0",
    );
    let mark = c.mark();
    c.watch_for(3);
    c.has_not_moved(mark);
    let (status, why) = c.refused("lb1", &["thaw"]);
    assert_eq!(status, Some(1), "{why}");
    assert!(why.contains("freeze was not said here"), "{why}");
    c.onehold("lb1", &["switch"]);
    c.hold_on("lb0");
    c.onehold("lb1", &["resume"]);
    c.onehold("lb0", &["thaw"]);
    c.never_two();
}

#[test]
fn an_end_that_cannot_be_is_refused_with_what_to_write() {
    let c = Setup::majority().start();
    for (words, said) in [
        (
            &["standby", "--until", "6 o'clock"][..],
            "write a time as 06:00",
        ),
        (
            &["standby", "--for", "soon"],
            "write a length of time as 2h",
        ),
        (
            &["freeze", "--until", "2001-01-01T06:00"],
            "that is over: this host's clock shows",
        ),
        (
            &["freeze", "--for", "2h", "--until", "06:00"],
            "cannot be used with",
        ),
        (&["standby", "--reason", ""], "--reason: 0 bytes"),
        (&["resume", "--for", "2h"], "unexpected argument"),
    ] {
        let (status, words) = c.refused("lb0", words);
        assert_eq!(status, Some(2), "{words}");
        assert!(words.contains(said), "{words}");
    }
}

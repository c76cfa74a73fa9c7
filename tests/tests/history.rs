//! What happened, and why it is so, as any member says it afterwards.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};
use serde_json::Value;

/// The entries of a member's history that are about `of`, as `text` or `text: why`.
fn entries(c: &Cluster, on: &str, of: &str) -> Vec<String> {
    let told: Value = serde_json::from_str(&c.onehold(on, &["history", "--json"])).expect("JSON");
    let all = told["entries"].as_array().expect("a list");
    let of = all.iter().filter(|e| e["member"] == of);
    let words = |e: &Value| {
        let text = e["text"].as_str().expect("text");
        e["why"]
            .as_str()
            .map_or_else(|| text.to_owned(), |why| format!("{text}: {why}"))
    };
    of.map(words).collect()
}

#[track_caller]
fn tells(c: &Cluster, on: &str, of: &str, what: &[&str]) {
    eventually(&format!("{what:?} of {of} in the history of {on}"), || {
        let all = entries(c, on, of);
        all.iter()
            .any(|e| what.iter().all(|part| e.contains(part)))
            .then_some(())
    });
}

#[test]
fn every_member_tells_the_story_of_all_also_after_a_restart() {
    let mut c = Setup::majority().start();
    tells(&c, "witness", "lb0", &["standby → holder"]);
    c.power_off("lb0");
    c.hold_on("lb1");
    for on in ["lb1", "witness"] {
        tells(&c, on, "lb0", &["is not heard any more", "it held"]);
        tells(
            &c,
            on,
            "lb1",
            &["standby → holder", "lb0, which held it, was silent for"],
        );
    }
    c.power_on("lb0");
    c.start("lb0");
    c.hold_on("lb0");
    for on in ["lb1", "witness"] {
        tells(&c, on, "lb0", &["has started again"]);
    }
    tells(
        &c,
        "lb1",
        "lb1",
        &["holder → standby", "handing over to the preferred member"],
    );
    tells(&c, "lb0", "lb0", &["standby → holder", "lb1 handed over"]);
    tells(&c, "witness", "lb0", &["standby → holder", "lb1 let go"]);
    c.onehold("lb1", &["standby"]);
    tells(&c, "lb1", "lb1", &["the operator said standby"]);
    for on in ["lb0", "witness"] {
        tells(
            &c,
            on,
            "lb1",
            &["is not ready", "the operator said standby"],
        );
    }
    c.reload("lb1", "reloaded");
    tells(&c, "lb1", "lb1", &["the file was reloaded"]);
    let before = entries(&c, "lb1", "lb1");
    c.stop("lb1");
    c.start("lb1");
    c.answers("lb1");
    eventually("the history is that of before", || {
        let all = entries(&c, "lb1", "lb1");
        (all.starts_with(&before) && all.iter().any(|e| e == "the daemon stops")).then_some(())
    });
    let starts = "grep -c 'the daemon started' /run/onehold/*.history";
    eventually("the second start is on the disk", || {
        (c.ok("lb1", &["sh", "-c", starts]).trim() == "2").then_some(())
    });
    c.kill("lb1");
    c.start("lb1");
    c.answers("lb1");
    tells(&c, "lb1", "lb1", &["the daemon started", "was killed"]);
    let file = c.ok("lb1", &["sh", "-c", "ls /run/onehold/*.history"]);
    eventually("the file says so, too", || {
        let text = c.onehold("lb1", &["history", "--file", file.trim()]);
        text.contains("killed").then_some(())
    });
    let none = c.onehold("lb1", &["history", "--since", "0s"]);
    assert!(none.contains("nothing yet"), "{none}");
    let (code, said) = c.refused("lb1", &["history", "api"]);
    assert!(
        code == Some(2) && said.contains("there is no group `api`; there are"),
        "{said}"
    );
}

#[test]
fn why_answers_on_every_member() {
    let mut c = Setup::majority().start();
    let ask = |c: &Cluster, on: &str, words: &[&str], parts: &[&str]| {
        eventually(&format!("{parts:?} on {on}"), || {
            let said = c.onehold(on, &[&["why"], words].concat());
            parts.iter().all(|part| said.contains(part)).then_some(())
        });
    };
    for on in ["lb0", "lb1", "witness"] {
        ask(
            &c,
            on,
            &["lb0"],
            &["lb0 holds it", "preferred", "Its last change, at"],
        );
        ask(
            &c,
            on,
            &["lb1"],
            &[
                "lb1 does not hold it, because lb0 does",
                "takes over when lb0 fails",
            ],
        );
    }
    c.onehold("lb1", &["standby"]);
    for on in ["lb0", "lb1", "witness"] {
        ask(
            &c,
            on,
            &["lb1"],
            &["perator said standby", "do: `onehold resume", "on lb1"],
        );
    }
    c.stop("lb1");
    for on in ["lb0", "witness"] {
        ask(&c, on, &["lb1"], &["lb1 is not heard", "last heard"]);
    }
    let (code, said) = c.refused("witness", &["why", "lb7"]);
    assert!(
        code == Some(2) && said.contains("the members lb0, lb1, witness"),
        "{said}"
    );
}

//! a member that hears nothing of the only other one asks the network.

use onehold_tests::{Begin as _, Cluster, Setup, eventually};

/// Runs a line of a shell on a host, which must succeed.
#[track_caller]
fn sh(c: &Cluster, host: &str, line: &str) {
    c.ok(host, &["sh", "-ec", line]);
}

/// A firewall on a host drops what comes in and fits this.
#[track_caller]
fn drops(c: &Cluster, host: &str, what: &str) {
    sh(
        c,
        host,
        &format!(
            "nft add table inet p; nft 'add chain inet p c {{ type filter hook input priority 0; }}'
             nft add rule inet p c {what} drop"
        ),
    );
}

#[track_caller]
fn drops_no_more(c: &Cluster, host: &str) {
    sh(c, host, "nft delete table inet p");
}

/// What a member's status says of its probes of the first group.
fn probes(c: &Cluster, host: &str) -> serde_json::Value {
    c.status(host)["groups"][0]["probes"].clone()
}

#[test]
fn in_peace_it_shows_whether_the_holder_answers() {
    let mut c = Setup::survivor().also("fd77::50/64").start();
    eventually("an answer", || {
        (probes(&c, "lb1")["answered"] == 1).then_some(())
    });
    assert_eq!(probes(&c, "lb1")["asked"], 1);
    assert_eq!(probes(&c, "lb0")["asked"], 0, "the holder need not ask");
    assert_eq!(c.status("lb1")["notes"].to_string(), "[]");
    c.stop("lb1");
    for host in ["lb0", "lb1"] {
        drops(&c, host, "ip protocol icmp");
        drops(&c, host, "icmpv6 type echo-request");
    }
    c.start("lb1");
    eventually("a note", || {
        let notes = c.status("lb1")["notes"].to_string();
        notes.contains("no echo from lb0").then_some(())
    });
    let found = c.run(
        "lb1",
        &[
            onehold_tests::binaries::onehold().to_str().expect("a path"),
            "doctor",
            "--config",
            "/run/lab/lb1.toml",
            "--as",
            "lb1",
        ],
    );
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(
        found.contains("advice echo: web: lb0 does not answer echo requests"),
        "{found}"
    );
    assert_eq!(c.alarms("lb1"), "[]");
}

#[test]
fn evidence_none_asks_nothing() {
    let mut c = Setup::survivor().build();
    for name in ["lb0", "lb1"] {
        c.edit(name, "[cluster]", "[cluster]\nevidence = \"none\"");
    }
    c.start_all();
    c.hold_on("lb0");
    assert!(probes(&c, "lb1").is_null());
}

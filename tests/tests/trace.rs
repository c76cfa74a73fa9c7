//! The core does again what daemons trace; and a trace never costs the address.

use onehold_tests::{Begin as _, Cluster, Setup, binaries};

/// Starts a member's daemon with a trace.
fn start(c: &mut Cluster, name: &str, trace: &str) {
    let file = format!("/run/lab/{name}.toml");
    let binary = binaries::onehold().to_str().expect("a path");
    let words = ["run", "--config", &file, "--as", name, "--trace", trace];
    c.start_by(name, &[&[binary], &words[..]].concat());
}

/// `onehold-lab replay` of these files: its exit status, and what it printed.
fn replay(c: &Cluster, host: &str, traces: &[&str]) -> (Option<i32>, String) {
    let binary = binaries::onehold_lab().to_str().expect("a path");
    let output = c.run(host, &[&[binary, "replay"], traces].concat());
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

#[test]
fn what_daemons_trace_is_what_the_core_does() {
    let mut c = Setup::majority().build();
    let trace = |name: &str| format!("/run/lab/{name}.trace");
    for name in c.members() {
        start(&mut c, name, &trace(name));
    }
    c.hold_on("lb0");
    c.pause("lb0");
    c.hold_on("lb1");
    c.resume("lb0");
    c.hold_on("lb0");
    c.onehold("lb0", &["switch"]);
    c.hold_on("lb1");
    c.kill("lb1");
    c.hold_on("lb0");
    start(&mut c, "lb1", &trace("lb1")); // and keeps the trace of its earlier incarnation
    c.lan().lose(20.0, &["lb0", "lb1", "witness"]).unwrap();
    c.watch_for(2);
    c.heal();
    c.hold_on("lb0");
    c.members().iter().for_each(|name| c.stop(name));

    let all = [
        "/run/lab/witness.trace",
        "/run/lab/lb1.trace",
        "/run/lab/lb1.trace.old",
        "/run/lab/lb0.trace",
    ];
    let (status, said) = replay(&c, "observer", &all);
    assert_eq!(status, Some(0), "{said}");
    for expected in [
        "lb0: 1 incarnation, ",
        "lb1: 2 incarnations, ",
        "witness: 1 incarnation, ",
        "turns: the core does in each what was recorded",
        "from traced members: each as it was sent",
    ] {
        assert!(said.contains(expected), "{said}");
    }

    let text = c.read("lb0.trace");
    c.file(
        "other.trace",
        &text.replacen("\"deadline\":", "\"deadline\":1", 1),
    );
    let (status, said) = replay(&c, "observer", &["/run/lab/other.trace"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("differs\n  the core  {\"hold_until\""),
        "{said}"
    );

    let (status, said) = replay(&c, "observer", &["/run/lab/lb0.toml"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("/run/lab/lb0.toml:1: not a trace"), "{said}");
}

#[test]
fn a_full_disk_ends_the_trace_and_nothing_else() {
    let mut c = Setup::majority().patient().build();
    c.ok("lb0", &["mkdir", "/run/lab/small"]);
    let small = ["-o", "size=64k", "small", "/run/lab/small"];
    c.ok("lb0", &[&["mount", "-t", "tmpfs"], &small[..]].concat());
    start(&mut c, "lb0", "/run/lab/small/trace");
    start(&mut c, "lb1", "/run/lab/lb1.toml"); // not what was meant
    c.start("witness");
    c.hold_on("lb0");
    c.logs("lb1", "the file exists and is not a trace");
    assert!(c.read("lb1.toml").starts_with("[cluster]"));
    let mark = c.mark();
    let said = "the trace /run/lab/small/trace ends here: No space left on device";
    c.logs("lb0", said);
    c.watch_for(2);
    c.has_not_moved(mark);
    assert_eq!(c.log("lb0").matches("the trace").count(), 1);
    let (status, said) = replay(&c, "lb0", &["/run/lab/small/trace"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(!said.contains("cut off"), "{said}");
    c.stop("lb0");
}

//! A pair by three commands: `init`, `join`, `up`; and what keeps it from that.

use onehold_tests::{Begin as _, Setup, binaries, eventually};
use std::process::Command;

/// Each host's own.
const CONFIG: &str = "/run/onehold/onehold.toml";

fn init<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let words = [
        "init",
        "--config",
        CONFIG,
        "--cluster",
        "first",
        "--member",
        "lb0=10.77.0.10",
        "--member",
        "lb1=10.77.0.11",
    ];
    [&words[..], more].concat()
}

/// The line to paste, from what `init` printed.
fn token(said: &str) -> &str {
    let line = said
        .lines()
        .find_map(|line| line.trim().strip_prefix("onehold join onehold1."));
    let line = line.unwrap_or_else(|| panic!("no token in {said}"));
    let at = said.find(line).expect("it is in there") - "onehold1.".len();
    // What follows the token is how this test named the file.
    said[at..].split_whitespace().next().expect("a token")
}

#[test]
fn init_and_join_make_a_pair_that_runs() {
    let mut c = Setup::survivor().build();
    let said = c.onehold("lb0", &init(&["--address", "10.77.0.50/24"]));
    assert!(said.contains("this host is lb0"), "{said}");
    assert!(said.contains("onehold up --config"), "{said}");
    let said = c.onehold("lb1", &["join", token(&said), "--config", CONFIG]);
    assert!(said.contains("this host is lb1"), "{said}");
    for host in ["lb0", "lb1"] {
        let files = c.ok(host, &["stat", "-c", "%a", CONFIG, "/run/onehold/secret"]);
        assert_eq!(files, "644\n600\n");
        let binary = binaries::onehold().to_str().expect("a path");
        c.start_by(host, &[binary, "up", "--config", CONFIG]);
    }
    c.hold_on("lb0");
    for host in ["lb0", "lb1"] {
        eventually("all is well", || {
            let said = c.onehold(host, &["status"]);
            (said.contains("cluster first") && said.contains("all well")).then_some(())
        });
    }
    c.stop("lb0");
    c.hold_on("lb1");
    c.stop("lb1");
}

#[test]
fn what_init_and_join_refuse_leaves_nothing_behind() {
    let c = Setup::majority().build();
    let here = [
        "--address",
        "10.77.0.50/24",
        "--witness",
        "witness=10.77.0.12",
    ];
    let nothing = |host: &str| {
        let list = c.ok(host, &["ls", "--ignore=hosts", "/run/onehold"]);
        assert_eq!(list, "", "on {host}");
    };
    // Without a terminal all is to be said.
    let (code, said) = c.refused("lb0", &["init", "--config", CONFIG]);
    assert!(
        code == Some(2) && said.contains("--member NAME=ADDRESS twice"),
        "{said}"
    );
    let wrong: [(&[&str], i32, &str); 5] = [
        (&["--address", "10.77.0.300/24"], 2, "10.77.0.300"),
        (
            &["--address", "10.77.0.50/24", "--interface", "eth7"],
            1,
            "eth7",
        ),
        (&["--address", "10.77.0.10/24"], 2, "10.77.0.10"),
        (&["--address", "10.99.0.50/24"], 1, "10.99.0.50"),
        (&["--address", "10.77.0.50/24", "--as", "lb7"], 1, "lb7"),
    ];
    for (more, status, what) in wrong {
        let (code, said) = c.refused("lb0", &init(more));
        assert!(
            code == Some(status) && said.contains(what),
            "{code:?} {said}"
        );
        assert!(said.contains("nothing was written"), "{said}");
        assert!(
            said.contains("to try again: onehold init --cluster first"),
            "{said}"
        );
        nothing("lb0");
    }
    let (code, said) = c.refused("stranger", &init(&here));
    assert!(
        code == Some(1) && said.contains("none of them is this host"),
        "{said}"
    );
    nothing("stranger");

    // The token in a file, which is private.
    let with_file = [&here[..], &["--file", "/run/onehold/token"]].concat();
    let said = c.onehold("lb0", &init(&with_file));
    assert!(!said.contains("onehold1."), "{said}");
    assert_eq!(
        c.ok("lb0", &["stat", "-c", "%a", "/run/onehold/token"]),
        "600\n"
    );
    let token = c.ok("lb0", &["cat", "/run/onehold/token"]);
    let (_, said) = c.refused("lb0", &init(&here));
    assert!(
        said.contains("there already") && said.contains("--force"),
        "{said}"
    );
    let again = c.onehold("lb0", &init(&[&here[..], &["--force"]].concat()));
    assert!(again.contains("onehold.toml.old"), "{again}");

    let join = |host: &str, words: &[&str]| {
        let words = [&["join"], words, &["--config", CONFIG]].concat();
        c.refused(host, &words)
    };
    let (code, said) = join("stranger", &[token.trim()]);
    assert!(
        code == Some(1) && said.contains("none of them is this host"),
        "{said}"
    );
    let (code, said) = join("witness", &[&token[..300]]);
    assert!(
        code == Some(2) && said.contains("the end of the token is missing"),
        "{said}"
    );
    let (code, said) = join("witness", &["--file", "/run/onehold/none"]);
    assert!(code == Some(1) && said.contains("can't be read"), "{said}");
    let elsewhere = [
        "join",
        token.trim(),
        "--config",
        "/run/onehold/else/onehold.toml",
    ];
    let (code, said) = c.refused("witness", &elsewhere);
    assert!(
        code == Some(2) && said.contains("in another place"),
        "{said}"
    );
    nothing("stranger");
    nothing("witness");

    // From standard input, over broken lines.
    let mut command = Command::new("sh");
    let broken = format!("{}\\n{}", &token[..100], token[100..].trim());
    let binary = binaries::onehold().display();
    command.args([
        "-c",
        &format!("printf '{broken}' | {binary} join - --config {CONFIG}"),
    ]);
    let output = c.host("witness").output(command).expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("this host is witness"),
        "{said}"
    );
}

/// Asked at a terminal, with what this host proposes.
#[test]
fn init_asks_and_proposes() {
    let c = Setup::survivor().build();
    let binary = binaries::onehold().display();
    let answers = "first\nlb0\n\nlb1\n10.77.0.11\n\n10.77.0.50/24\n\n";
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        &format!("printf '{answers}' | script -qec '{binary} init --config {CONFIG}' /dev/null"),
    ]);
    let output = c.host("lb0").output(shell).expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("address of lb0 [10.77.0.10]"), "{said}");
    assert!(said.contains("on both [eth0]"), "{said}");
    let text = c.ok("lb0", &["cat", CONFIG]);
    assert!(
        text.contains("interface = \"eth0\"") && text.contains("survivor"),
        "{text}"
    );
}

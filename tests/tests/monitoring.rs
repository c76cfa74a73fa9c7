//! What monitoring reads, by its own programs: Prometheus' and its `promtool`.

use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program of Debian's package `prometheus`.
///
/// # Panics
/// If it is missing, with what to install.
fn program(name: &str) -> &str {
    let there = Command::new(name).arg("--version").output();
    assert!(
        there.is_ok_and(|output| output.status.success()),
        "there is no `{name}` in PATH: install Debian's package prometheus (`cargo verify --install`)"
    );
    name
}

/// What `promtool check metrics` complains of; nothing if it accepts a page.
fn lint(page: &str) -> String {
    let mut promtool = Command::new(program("promtool"));
    promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("it starts");
    let mut to = promtool.stdin.take().expect("a pipe");
    to.write_all(page.as_bytes()).expect("it reads");
    drop(to);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// Has each member serve its metrics on all its addresses.
fn serve(c: &Cluster, members: &[&str]) {
    for member in members {
        c.edit(
            member,
            "[log]",
            "[metrics]\nlisten = \"0.0.0.0:9946\"\n[log]",
        );
    }
}

/// The page of a member, as one that is on `host` gets it.
fn page(c: &Cluster, host: &str, of: &str) -> String {
    let url = format!("http://{of}:9946/metrics");
    c.ok(
        host,
        &[
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "10",
            &url,
        ],
    )
}

#[test]
fn what_is_served_and_what_is_printed_is_as_prometheus_wants_it() {
    let mut c = Setup::majority().build();
    let members = ["lb0", "lb1", "witness"];
    serve(&c, &members);
    c.start_all();
    c.hold_on("lb0");
    for member in members {
        let served = page(&c, "witness", member);
        let printed = c.onehold(member, &["metrics"]);
        for text in [&served, &printed] {
            assert_eq!(lint(text), "", "{text}");
            let holder = "group=\"web\",holder=\"lb0\"} 1";
            assert!(text.contains(holder), "{text}");
        }
    }
    // The linter is awake.
    assert!(lint("onehold_x 1\n").contains("no help text"));
    assert_ne!(lint("onehold_x{a=b} 1\n"), "");

    c.onehold("lb0", &["metrics", "--output", "/run/lab/onehold.prom"]);
    assert!(c.read("onehold.prom").contains("\nonehold_up 1\n"));
    c.pause("lb0");
    c.hold_on("lb1");
    // A daemon that is frozen says nothing, and that is seen.
    let url = "http://127.0.0.1:9946/metrics";
    let output = c.run("lb0", &["curl", "--silent", "--max-time", "2", url]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let (status, said) = c.refused("lb0", &["metrics", "--output", "/run/lab/onehold.prom"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(c.read("onehold.prom").contains("\nonehold_up 0\n"));
    c.resume("lb0");
    c.hold_on("lb0");
    assert_eq!(lint(&page(&c, "witness", "lb0")), "");
}

#[test]
fn a_reload_moves_the_metrics_and_a_port_that_is_taken_is_an_alarm() {
    let c = Setup::survivor().start();
    let mark = c.mark();
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 9946));
    let taken = c.host("lb0").call(bind).expect("it is on").expect("a port");
    c.edit(
        "lb0",
        "[log]",
        "[metrics]\nlisten = \"127.0.0.1:9946\"\n[log]",
    );
    c.reload("lb0", "reloaded");
    let said =
        "metrics.listen: 127.0.0.1:9946: nobody can read the metrics there: Address already in use";
    eventually("an alarm", || c.alarms("lb0").contains(said).then_some(()));
    drop(taken);
    eventually("the alarm is over", || {
        (!c.alarms("lb0").contains(said)).then_some(())
    });
    assert!(page(&c, "lb0", "127.0.0.1").contains("\nonehold_up 1\n"));
    c.edit("lb0", "9946", "9947");
    c.reload("lb0", "reloaded");
    let other = [
        "curl",
        "--silent",
        "--fail",
        "http://127.0.0.1:9947/metrics",
    ];
    eventually("it is elsewhere", || {
        c.run("lb0", &other).status.success().then_some(())
    });
    assert!(
        !c.run("lb0", &["curl", "--silent", "http://127.0.0.1:9946/"])
            .status
            .success()
    );
    c.has_not_moved(mark);
}

/// Where the files that are packaged are.
fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/packaging");
    let path = path.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The names after a word, such as those of `- alert:`.
fn named<'t>(text: &'t str, word: &str) -> BTreeSet<&'t str> {
    let lines = text.lines().filter_map(|line| line.split_once(word));
    lines.map(|(_, name)| name.trim()).collect()
}

#[test]
fn every_alert_fires_when_it_should_and_is_in_the_book() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/packaging/prometheus");
    let mut promtool = Command::new(program("promtool"));
    promtool.args(["test", "rules", "onehold.rules.test.yml"]);
    let output = promtool.current_dir(rules).output().expect("it starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");

    let alerts = packaged("prometheus/onehold.rules.yml");
    let alerts = named(&alerts, "- alert:");
    assert!(alerts.len() > 10, "{alerts:?}");
    let tests = packaged("prometheus/onehold.rules.test.yml");
    // Once on a healthy pair, and twice in its trouble: not at once, and then.
    for alert in &alerts {
        let tested = tests
            .lines()
            .filter(|line| line.ends_with(&format!("alertname: {alert}")));
        assert_eq!(tested.count(), 3, "{alert}");
    }
    let book = packaged("../../docs/src/monitoring.md");
    let listed = book
        .lines()
        .filter_map(|line| line.strip_prefix("| `Onehold"));
    let listed: BTreeSet<String> = listed
        .filter_map(|rest| Some(format!("Onehold{}", rest.split('`').next()?)))
        .collect();
    assert_eq!(listed, alerts.iter().map(ToString::to_string).collect());
}

/// Every query of the dashboard, for all clusters.
fn queries() -> Vec<String> {
    let dashboard = packaged("grafana/onehold.json");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(panel["title"].is_string(), "{panel}");
        for target in panel["targets"].as_array().expect("queries") {
            let expression = target["expr"].as_str().expect("a query");
            let expression = expression.replace("$cluster", ".*");
            all.push(expression.replace("$__rate_interval", "1m"));
        }
    }
    for variable in dashboard["templating"]["list"]
        .as_array()
        .expect("variables")
    {
        if let Some(query) = variable["query"].as_str()
            && let Some(of) = query.strip_prefix("label_values(")
        {
            let (metric, label) = of.trim_end_matches(')').split_once(", ").expect(query);
            all.push(format!("count by ({label}) ({metric})"));
        }
    }
    all
}

/// What Prometheus, on the witness, answers to a query: its results.
fn asked(c: &Cluster, query: &str) -> Vec<Value> {
    let url = "http://127.0.0.1:9090/api/v1/query";
    let query = format!("query={query}");
    let words = ["curl", "--silent", "--get", url, "--data-urlencode", &query];
    let answer: Value = serde_json::from_str(&c.ok("witness", &words)).unwrap_or_default();
    if answer["status"] == "error" {
        panic!("{query}: {answer}");
    }
    answer["data"]["result"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn a_real_prometheus_has_an_answer_to_every_query_of_the_dashboard() {
    let prometheus = program("prometheus");
    let there = "[groups.web.checks.there]\nfile = \"/run/lab/secret\"\n";
    let mut c = Setup::majority().checks(there).build();
    serve(&c, &["lb0", "lb1", "witness"]);
    c.start_all();
    c.hold_on("lb0");
    c.file(
        "onehold.rules.yml",
        &packaged("prometheus/onehold.rules.yml"),
    );
    c.file(
        "prometheus.yml",
        "global: { scrape_interval: 1s, evaluation_interval: 1s }\n\
         rule_files: [/run/lab/onehold.rules.yml]\n\
         scrape_configs:\n\
         - job_name: onehold\n  \
           static_configs: [{ targets: ['lb0:9946', 'lb1:9946', 'witness:9946'] }]\n",
    );
    let words = [
        prometheus,
        "--config.file=/run/lab/prometheus.yml",
        "--storage.tsdb.path=/run/lab/tsdb",
        "--web.listen-address=127.0.0.1:9090",
        "--log.level=warn",
    ];
    let _prometheus = c.spawn("witness", &words, "prometheus.log");
    let up = "sum(up{job=\"onehold\"}) == 3";
    let ready = [
        "curl",
        "--silent",
        "--fail",
        "http://127.0.0.1:9090/-/ready",
    ];
    eventually("Prometheus", || {
        c.run("witness", &ready).status.success().then_some(())
    });
    eventually("all are scraped", || {
        (!asked(&c, up).is_empty()).then_some(())
    });
    let queries = queries();
    assert!(queries.len() > 20, "{queries:?}");
    for query in &queries {
        eventually(query, || (!asked(&c, query).is_empty()).then_some(()));
    }
    // One that has no answer is noticed.
    assert!(asked(&c, "onehold_no_such_metric").is_empty());
    // The rules are evaluated, and see a trouble.
    assert!(asked(&c, "ALERTS{alertname=\"OneholdDown\"}").is_empty());
    c.kill("lb1");
    let pending = "ALERTS{alertname=\"OneholdDown\", alertstate=\"pending\"}";
    eventually(pending, || (!asked(&c, pending).is_empty()).then_some(()));
    let wrong = "sum(prometheus_rule_evaluation_failures_total) > 0";
    assert!(asked(&c, wrong).is_empty(), "{}", c.read("prometheus.log"));
}

/// What the fake journal has got, as text.
fn got(journal: &UnixDatagram) -> String {
    let mut all = String::new();
    let mut bytes = [0; 65_536];
    while let Ok(length) = journal.recv(&mut bytes) {
        all += &String::from_utf8_lossy(&bytes[..length]);
        all.push('\n');
    }
    all
}

#[test]
fn the_journal_gets_the_log_with_its_fields_and_standard_error_what_it_does_not_take() {
    let mut c = Setup::majority().build();
    let journal = c.host("lb0").call(|| {
        std::fs::create_dir_all("/run/systemd/journal").expect("a directory");
        UnixDatagram::bind("/run/systemd/journal/socket").expect("a socket")
    });
    let journal = journal.expect("it is on");
    journal.set_nonblocking(true).expect("a socket");
    let binary = binaries::onehold().to_str().expect("a path");
    // As systemd says it: standard error is the journal.
    let words = format!(
        "export JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr); exec {binary} run --config /run/lab/lb0.toml --as lb0"
    );
    c.start_by("lb0", &["sh", "-c", &words]);
    c.start("lb1");
    c.start("witness");
    c.hold_on("lb0");
    let mut text = String::new();
    eventually("the journal has the role", || {
        text += &got(&journal);
        text.contains("standby → holder").then_some(())
    });
    let entry = text
        .split("\n\n")
        .find(|entry| entry.contains("standby → holder"));
    let entry = entry.expect("it is there");
    for field in [
        "SYSLOG_IDENTIFIER=onehold",
        "PRIORITY=6",
        "ONEHOLD_EVENT=role",
        "ONEHOLD_RULE=R-7",
        "ONEHOLD_CLUSTER=lab",
        "ONEHOLD_GROUP=web",
        "MESSAGE=web: standby → holder: a majority voted for this member (R-7)",
    ] {
        assert!(entry.lines().any(|line| line == field), "{field}\n{entry}");
    }
    assert_eq!(c.log("lb0"), "");
    drop(journal);
    c.stop("lb0");
    c.logs("lb0", "<6>stopped; nothing is left behind");
}

/// Runs `onehold top` on lb0, on a terminal; what `keys` prints is typed. Returns what the terminal
/// got, with its settings before and after.
fn top(c: &Cluster, keys: &str, by: &str) -> String {
    let binary = binaries::onehold().display();
    let inner = format!("stty rows 24 cols 100; stty -g; {by} {binary} top; stty -g");
    let words = format!("({keys}) | TERM=xterm script --quiet --command '{inner}' /dev/null");
    c.ok("lb0", &["sh", "-c", &words])
}

#[test]
fn top_shows_the_pair_takes_an_order_and_leaves_the_terminal_as_it_was() {
    let c = Setup::majority().patient().start();
    let ends = [
        ("sleep 2; printf q", ""),
        ("sleep 6", "timeout --foreground --signal TERM 2"),
        ("sleep 6", "timeout --foreground --signal HUP 2"),
        (
            "sleep 2; printf s; sleep 1; printf y; sleep 3; printf q",
            "",
        ),
    ];
    for (keys, by) in ends {
        let said = top(&c, keys, by);
        let shown = [
            "\x1b[?1049h",
            "\x1b[?1049l",
            "\x1b[?25h",
            "lb1",
            "witness",
            "GROUP",
        ];
        for what in shown {
            assert!(said.contains(what), "{what}\n{said:?}");
        }
        let of_stty = |line: &str| {
            let other = |c: char| !(c.is_ascii_hexdigit() || c == ':');
            line.trim_end().rsplit(other).next().map(str::to_owned)
        };
        let lines = said.lines().filter_map(of_stty);
        let settings: Vec<String> = lines.filter(|l| l.matches(':').count() > 20).collect();
        assert_eq!(settings.len(), 2, "{said:?}");
        assert_eq!(settings[0], settings[1]);
    }
    c.hold_on("lb1");
    // A pipe is no terminal, and is told what would do.
    let (status, said) = c.refused("lb0", &["top"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("onehold status --watch"), "{said}");
}

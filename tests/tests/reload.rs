//! `onehold reload` answers: what changed, what was refused and why, by its exit status, too; and a
//! witness of many clusters reloads each by itself.

use onehold_sim::netns::Process;
use onehold_tests::{
    Begin as _, Cluster, ORDINARY, Setup, binaries, eventually, is_machine_root, not_run,
};
use serde_json::Value;

/// A secret that no member has at first.
const OTHER: &str = "another secret of a test, long enough\n";

/// The exit status of `onehold reload` on a host, and its lines: what was done, and what was not.
fn reload(c: &Cluster, host: &str, more: &[&str]) -> (Option<i32>, Vec<String>, String) {
    let binary = binaries::onehold().to_str().unwrap();
    let output = c.run(host, &[&[binary, "reload"], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let done = text(&output.stdout).lines().map(str::to_owned).collect();
    (output.status.code(), done, text(&output.stderr))
}

#[test]
fn a_reload_says_what_changed_or_why_not() {
    let c = Setup::majority().patient().start();
    let mark = c.mark();
    let nothing = || {
        (
            Some(0),
            vec!["lab: nothing differs".to_owned()],
            String::new(),
        )
    };
    assert_eq!(reload(&c, "lb0", &[]), nothing());
    c.edit("lb0", "level = \"info\"", "level = \"debug\"");
    let level = vec!["lab: log.level: info → debug".to_owned()];
    assert_eq!(reload(&c, "lb0", &[]), (Some(0), level, String::new()));
    assert_eq!(reload(&c, "lb0", &[]), nothing());
    // Refused: all of it, with each key, and the remedy.
    c.edit("lb0", "name = \"lab\"", "name = \"other\"\nguard = \"nft\"");
    c.edit("lb0", "level = \"debug\"", "level = \"info\"");
    let (status, done, said) = reload(&c, "lb0", &[]);
    assert_eq!((status, done), (Some(1), vec![]));
    for part in [
        "onehold: lab: refused: /run/lab/lb0.toml: cluster.name: \"lab\" → \"other\" can't change in a reload",
        "stop onehold on every member",
        "cluster.guard",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(c.alarms("lb0").contains("cluster.name"));
    c.edit("lb0", "[cluster]", "[cluster");
    let (status, _, said) = reload(&c, "lb0", &[]);
    assert_eq!(status, Some(1));
    assert!(said.contains("lb0.toml:1"), "{said}");
    c.has_not_moved(mark);
    // Whoever may not ask is refused, and who asks nobody hears of it.
    let (status, _, said) = reload(&c, "lb0", &["--socket", "/run/lab/none"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("no daemon listens at /run/lab/none"),
        "{said}"
    );
}

/// The second cluster on the same hosts, with its own port and address.
fn another(c: &Cluster, name: &str, port: u16, address: &str) -> String {
    let text = c.read("lb0.toml");
    let text = text.replace(
        "name = \"lab\"",
        &format!("name = \"{name}\"\nport = {port}"),
    );
    text.replace("10.77.0.50", address)
}

/// A witness's directory of `a.toml` (lab) and `b.toml` (db), with the candidates of both; and all
/// run.
fn two_clusters() -> (Cluster, Vec<Process>) {
    let mut c = Setup::majority().patient().build();
    c.ok("witness", &["mkdir", "/run/lab/clusters"]);
    let at = |text: String| text.replace("\"secret\"", "\"../secret\"");
    c.file("clusters/a.toml", &at(c.read("lb0.toml")));
    let db = another(&c, "db", 6947, "10.77.0.51");
    c.file("clusters/b.toml", &at(db.clone()));
    c.file("witness.toml", "directory = \"clusters\"\n");
    c.file("db.toml", &db);
    c.watch("db", "10.77.0.51".parse().unwrap());
    c.start_all();
    let binary = binaries::onehold().to_str().unwrap();
    let start = |name: &str| {
        let words = [binary, "run", "--config", "/run/lab/db.toml", "--as", name];
        let socket = ["--socket", "/run/onehold/db.sock"];
        c.spawn(
            name,
            &[&words[..], &socket].concat(),
            &format!("{name}.db.log"),
        )
    };
    let second = vec![start("lb0"), start("lb1")];
    c.hold_on("lb0");
    c.group_on("db", "lb0");
    (c, second)
}

/// What the witness reports of its clusters, by name.
fn clusters(c: &Cluster, more: &[&str]) -> Vec<(String, Value)> {
    let text = c.onehold("witness", &[&["status", "--json"], more].concat());
    let report: Value = serde_json::from_str(&text).unwrap();
    let all = report["clusters"].as_array().unwrap().iter();
    let name = |one: &Value| one["cluster"].as_str().unwrap().to_owned();
    all.map(|one| (name(one), one.clone())).collect()
}

fn names(c: &Cluster) -> Vec<String> {
    clusters(c, &[]).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_witness_of_many_clusters_reloads_each_by_itself() {
    let (mut c, _second) = two_clusters();
    let mark = c.mark();
    let of = |c: &Cluster, name: &str| {
        let mut all = clusters(c, &[]).into_iter();
        all.find(|(n, _)| n == name).expect("it is served").1
    };
    let lab = of(&c, "lab")["incarnation"].clone();
    // A bad file is its own cluster's alarm, until it is mended.
    c.edit("clusters/b", "[cluster]", "[cluster");
    let (status, done, said) = reload(&c, "witness", &[]);
    assert_eq!(
        (status, &*done),
        (Some(1), &["1 cluster: nothing differs".to_owned()][..])
    );
    assert!(
        said.starts_with("onehold: db: refused: /run/lab/clusters/b.toml:1"),
        "{said}"
    );
    let alarms = |c: &Cluster, name: &str| of(c, name)["alarms"].to_string();
    assert!(
        alarms(&c, "db").contains("clusters/b.toml:1"),
        "{}",
        alarms(&c, "db")
    );
    assert_eq!(alarms(&c, "lab"), "[]");
    c.edit("clusters/b", "[cluster", "[cluster]\n#");
    eventually("it is over", || (alarms(&c, "db") == "[]").then_some(()));
    // One more, one less: the others do not notice.
    let shop = another(&c, "shop", 6948, "10.77.0.52").replace("\"secret\"", "\"../secret\"");
    c.file("clusters/c.toml", &shop);
    let (status, done, said) = reload(&c, "witness", &[]);
    assert_eq!((status, &*said), (Some(0), ""));
    assert!(
        done.contains(&"shop: served from now on".to_owned()),
        "{done:?}"
    );
    assert_eq!(names(&c), ["db", "lab", "shop"]);
    c.watch_for(1);
    c.has_not_moved(mark);
    c.ok("witness", &["rm", "/run/lab/clusters/b.toml"]);
    let (status, done, said) = reload(&c, "witness", &[]);
    assert_eq!((status, &*said), (Some(0), ""));
    assert!(
        done.contains(&"db: not served any more".to_owned()),
        "{done:?}"
    );
    assert_eq!(names(&c), ["lab", "shop"]);
    // Nothing of it is left: another may have its port there, and its lock.
    let ports = c.ok("witness", &["cat", "/proc/net/udp"]);
    let has = |port: u16| ports.contains(&format!(":{port:04X} "));
    assert!(has(6946) && !has(6947) && has(6948), "{ports}");
    c.file(
        "clusters/b.toml",
        &another(&c, "db", 6947, "10.77.0.51").replace("\"secret\"", "\"../secret\""),
    );
    let (status, _, said) = reload(&c, "witness", &[]);
    assert_eq!((status, &*said), (Some(0), ""));
    assert_eq!(names(&c), ["db", "lab", "shop"]);
    assert_eq!(of(&c, "lab")["incarnation"], lab);
    assert!(!of(&c, "db")["keys"].as_array().unwrap().is_empty());
    // Its vote counts as before.
    c.kill("lb0");
    c.hold_on("lb1");
    c.stop("witness");
}

/// The words of a line of a unit, such as `ExecReload=`, with the files where this test has them.
fn words_of(unit: &str, line: &str) -> Vec<String> {
    let text = unit.replace("\\\n", " ");
    let found = text
        .lines()
        .find_map(|l| l.strip_prefix(line))
        .expect("such a line");
    let here = found
        .replace("/usr/bin/onehold", "/run/lab/w/onehold")
        .replace("/etc/onehold", "/run/lab/w")
        .replace("/run/onehold-witness", "/run/lab/w");
    here.split_whitespace().map(str::to_owned).collect()
}

/// The unit's own commands, by a user without any privilege, whose files are as the unit wants them.
#[test]
fn by_its_unit_a_witness_reads_new_keys_in_a_reload() {
    let mut c = Setup::majority().patient().build();
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../real/packaging/onehold-witness.service"
    );
    let unit = std::fs::read_to_string(unit).unwrap();
    let copies = |line: &str| line.starts_with("LoadCredential");
    assert!(!unit.lines().any(copies), "its copies never change");
    let user: &[&str] = match is_machine_root() {
        true => &ORDINARY,
        false => {
            not_run("in a user namespace there is no other user to become");
            &[]
        }
    };
    let by_unit = |line: &str, more: &[&str]| {
        let words = words_of(&unit, line);
        let words = words.iter().map(String::as_str);
        let all = user
            .iter()
            .copied()
            .chain(words)
            .chain(more.iter().copied());
        all.map(str::to_owned).collect::<Vec<String>>()
    };
    let binary = binaries::onehold().display();
    let make =
        format!("mkdir -p /run/lab/w; cp {binary} /run/lab/w/onehold; chown 65534 /run/lab/w");
    c.ok("witness", &["sh", "-c", &make]);
    let secret = |c: &Cluster, name: &str, text: &str| {
        c.file(&format!("w/{name}"), text);
        if is_machine_root() {
            c.ok(
                "witness",
                &["chown", "65534", &format!("/run/lab/w/{name}")],
            );
        }
    };
    secret(&c, "secret", &c.read("secret"));
    let text = c.read("lb0.toml");
    let tables = text.split("[log]").next().unwrap();
    let tables = tables.replace("[cluster]\nname = \"lab\"", "[clusters.lab]");
    let tables = tables.replace("[members.", "[clusters.lab.members.");
    let tables = tables.replace("[groups.", "[clusters.lab.groups.");
    let tables = tables.replace("[timing]", "[clusters.lab.timing]");
    c.file("w/witness.toml", &tables);
    c.ok("witness", &["chmod", "644", "/run/lab/w/witness.toml"]);
    let start = by_unit("ExecStart=", &["--as", "witness"]);
    c.start_by(
        "witness",
        &start.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    c.start("lb0");
    c.start("lb1");
    c.hold_on("lb0");
    let mark = c.mark();
    // The documented rotation, on all three.
    c.file("secret.2", OTHER);
    secret(&c, "secret.2", OTHER);
    let steps = [
        "secret_file = \"secret\"",
        "secret_files = [\"secret.2\", \"secret\"]",
        "secret_file = \"secret.2\"",
    ];
    let reload_words = by_unit("ExecReload=", &[]);
    for step in steps.windows(2) {
        c.watch_for(1); // each has said which keys it has
        for name in ["lb0", "lb1"] {
            c.edit(name, step[0], step[1]);
            assert_eq!(reload(&c, name, &[]).0, Some(0));
        }
        c.edit("w/witness", step[0], step[1]);
        c.ok("witness", &["chmod", "644", "/run/lab/w/witness.toml"]);
        let words: Vec<&str> = reload_words.iter().map(String::as_str).collect();
        let said = c.ok("witness", &words);
        assert!(said.contains("lab: ") && said.contains("keys: "), "{said}");
    }
    c.watch_for(3); // more than a lease
    c.has_not_moved(mark);
    c.kill("lb0");
    c.hold_on("lb1"); // by the witness's vote
    c.stop("witness");
}

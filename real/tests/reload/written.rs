//! Files that are good: what they are made of, and what they mean.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory for files; removed when dropped.
pub(crate) struct Etc(pub(crate) PathBuf);

impl Etc {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let etc =
            Self(std::env::temp_dir().join(format!("onehold-reload-{}-{n}", std::process::id())));
        std::fs::create_dir_all(&etc.0).expect("a directory");
        etc
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode");
        path
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One way to write something: lines for sections, and what they mean, as a refusal shows it.
pub(crate) struct Way {
    lines: &'static [(&'static str, &'static str)],
    means: &'static [(&'static str, &'static str)],
}

const fn way(
    lines: &'static [(&'static str, &'static str)],
    means: &'static [(&'static str, &'static str)],
) -> Way {
    Way { lines, means }
}

const W: &str = "members.w";
const LB0: &str = "members.lb0";
const LB1: &str = "members.lb1";
const WEB: &str = "groups.web";

/// What a file is made of: one way of each row. All combinations are good. Where two ways of a row
/// mean the same, a reload must not see a difference.
pub(crate) const ROWS: &[&[Way]] = &[
    &[
        way(
            &[("cluster", "name = \"web\"")],
            &[("cluster.name", "\"web\"")],
        ),
        way(
            &[("cluster", "name = \"shop\"")],
            &[("cluster.name", "\"shop\"")],
        ),
    ],
    &[
        way(&[], &[("cluster.port", "6946")]),
        way(&[("cluster", "port = 6946")], &[("cluster.port", "6946")]),
        way(&[("cluster", "port = 7000")], &[("cluster.port", "7000")]),
    ],
    &[
        way(&[], &[("cluster.guard", "auto")]),
        way(
            &[("cluster", "guard = \"auto\"")],
            &[("cluster.guard", "auto")],
        ),
        way(
            &[("cluster", "guard = \"nft\"")],
            &[("cluster.guard", "nft")],
        ),
    ],
    // Who there is.
    &[
        way(
            &[(W, "addresses = [\"10.0.0.12\"]"), (W, "witness = true")],
            &[
                ("cluster.arbitration", "majority"),
                ("members.w.addresses", "[\"10.0.0.12\"]"),
                ("members.w.witness", "true"),
                ("members.w.preferred", "false"),
            ],
        ),
        way(
            &[
                ("cluster", "arbitration = \"majority\""),
                (W, "witness = true"),
                (W, "preferred = false"),
                (W, "addresses = [\"10.0.0.12\"]"),
            ],
            &[
                ("cluster.arbitration", "majority"),
                ("members.w.addresses", "[\"10.0.0.12\"]"),
                ("members.w.witness", "true"),
                ("members.w.preferred", "false"),
            ],
        ),
        way(
            &[("cluster", "arbitration = \"majority\"")],
            &[("cluster.arbitration", "majority")],
        ),
        way(
            &[("cluster", "arbitration = \"survivor\"")],
            &[("cluster.arbitration", "survivor")],
        ),
    ],
    &[
        way(
            &[
                (LB0, "addresses = [\"10.0.0.10\"]"),
                (LB0, "preferred = true"),
                (LB1, "addresses = [\"10.0.0.11\"]"),
            ],
            &[
                ("members.lb0.addresses", "[\"10.0.0.10\"]"),
                ("members.lb1.addresses", "[\"10.0.0.11\"]"),
                ("members.lb0.preferred", "true"),
                ("members.lb1.preferred", "false"),
            ],
        ),
        way(
            &[
                (LB0, "addresses = [\"10.0.0.10\"]"),
                (LB1, "preferred = true"),
                (LB1, "addresses = [\"10.0.0.11\"]"),
            ],
            &[
                ("members.lb0.addresses", "[\"10.0.0.10\"]"),
                ("members.lb1.addresses", "[\"10.0.0.11\"]"),
                ("members.lb0.preferred", "false"),
                ("members.lb1.preferred", "true"),
            ],
        ),
        way(
            &[
                (LB0, "addresses = [\"10.0.0.10\", \"10.1.0.10\"]"),
                (LB0, "preferred = true"),
                (LB1, "addresses = [\"10.0.0.11\", \"10.1.0.11:99\"]"),
            ],
            &[
                ("members.lb0.addresses", "[\"10.0.0.10\", \"10.1.0.10\"]"),
                ("members.lb1.addresses", "[\"10.0.0.11\", \"10.1.0.11:99\"]"),
                ("members.lb0.preferred", "true"),
                ("members.lb1.preferred", "false"),
            ],
        ),
    ],
    &[
        way(
            &[(WEB, "addresses = [\"10.0.0.50\"]")],
            &[("groups.web.addresses", "[\"10.0.0.50\"]")],
        ),
        way(
            &[(WEB, "addresses = [\"10.0.0.51\", \"fd00::51\"]")],
            &[("groups.web.addresses", "[\"10.0.0.51\", \"fd00::51\"]")],
        ),
        way(
            &[(
                WEB,
                "addresses = [\"10.0.0.51\", { address = \"fd00::51\", interface = \"eth2\" }]",
            )],
            &[
                ("groups.web.addresses", "[\"10.0.0.51\", \"fd00::51\"]"),
                ("groups.web.addresses.1.interface", "\"eth2\""),
            ],
        ),
    ],
    &[
        way(
            &[(WEB, "interface = \"eth0\"")],
            &[("groups.web.interface", "\"eth0\"")],
        ),
        way(
            &[(WEB, "interface = \"eth1\"")],
            &[("groups.web.interface", "\"eth1\"")],
        ),
        way(
            &[(WEB, "interface = { lb0 = \"eth0\", lb1 = \"ens3\" }")],
            &[(
                "groups.web.interface",
                "{\"lb0\": \"eth0\", \"lb1\": \"ens3\"}",
            )],
        ),
    ],
    &[
        way(&[], &[]),
        way(
            &[(WEB, "preferred = \"lb1\"")],
            &[("groups.web.preferred", "\"lb1\"")],
        ),
    ],
    &[
        way(&[], &[("groups.web.failback", "auto")]),
        way(
            &[(WEB, "failback = \"auto\"")],
            &[("groups.web.failback", "auto")],
        ),
        way(
            &[(WEB, "failback = \"manual\"")],
            &[("groups.web.failback", "manual")],
        ),
    ],
    &[
        way(&[], &[("groups.web.failback_delay", "5s")]),
        way(
            &[(WEB, "failback_delay = \"2s\"")],
            &[("groups.web.failback_delay", "2s")],
        ),
        way(
            &[(WEB, "failback_delay = \"2000ms\"")],
            &[("groups.web.failback_delay", "2s")],
        ),
    ],
    &[
        way(&[], &[("groups.web.release_when_unhealthy", "false")]),
        way(
            &[(WEB, "release_when_unhealthy = true")],
            &[("groups.web.release_when_unhealthy", "true")],
        ),
    ],
    &[
        way(&[], &[]),
        way(
            &[
                ("groups.api", "addresses = [\"10.0.0.60\"]"),
                ("groups.api", "interface = \"eth0\""),
            ],
            &[
                ("groups.api.addresses", "[\"10.0.0.60\"]"),
                ("groups.api.interface", "\"eth0\""),
                ("groups.api.failback", "auto"),
                ("groups.api.failback_delay", "5s"),
                ("groups.api.release_when_unhealthy", "false"),
            ],
        ),
    ],
    &[
        way(
            &[],
            &[
                ("timing.profile", "default"),
                ("timing.interval", "100ms"),
                ("timing.lease", "450ms"),
            ],
        ),
        way(
            &[
                ("timing", "interval = \"0.1s\""),
                ("timing", "lease = \"450ms\""),
            ],
            &[
                ("timing.profile", "default"),
                ("timing.interval", "100ms"),
                ("timing.lease", "450ms"),
            ],
        ),
        way(
            &[("timing", "interval = \"50ms\"")],
            &[
                ("timing.profile", "default"),
                ("timing.interval", "50ms"),
                ("timing.lease", "450ms"),
            ],
        ),
        way(
            &[("timing", "lease = \"900ms\"")],
            &[
                ("timing.profile", "default"),
                ("timing.interval", "100ms"),
                ("timing.lease", "900ms"),
            ],
        ),
        way(
            &[
                ("timing", "profile = \"fast\""),
                ("timing", "lease = \"450ms\""),
            ],
            &[
                ("timing.profile", "fast"),
                ("timing.interval", "20ms"),
                ("timing.lease", "450ms"),
            ],
        ),
    ],
    &[
        way(
            &[],
            &[("timing.guard_slack", "5ms"), ("timing.drift_ppm", "1000")],
        ),
        way(
            &[("timing", "guard_slack = \"9ms\"")],
            &[("timing.guard_slack", "9ms"), ("timing.drift_ppm", "1000")],
        ),
        way(
            &[("timing", "drift_ppm = 500")],
            &[("timing.guard_slack", "5ms"), ("timing.drift_ppm", "500")],
        ),
    ],
    &[
        way(&[], &[("log.format", "text")]),
        way(&[("log", "format = \"text\"")], &[("log.format", "text")]),
        way(&[("log", "format = \"json\"")], &[("log.format", "json")]),
    ],
    // From here on, what may change in an incarnation.
    &[
        way(&[], &[("log.level", "Info")]),
        way(&[("log", "level = \"info\"")], &[("log.level", "Info")]),
        way(&[("log", "level = \"trace\"")], &[("log.level", "Trace")]),
    ],
    &[
        way(&[("cluster", "secret_file = \"a\"")], &[("secrets", "a")]),
        way(&[("cluster", "secret_file = \"b\"")], &[("secrets", "b")]),
        way(
            &[("cluster", "secret_files = [\"a\", \"b\"]")],
            &[("secrets", "ab")],
        ),
        way(
            &[("cluster", "secret_files = [\"b\", \"a\"]")],
            &[("secrets", "ba")],
        ),
        way(
            &[("cluster", "secret_files = [\"c\", \"b\", \"a\"]")],
            &[("secrets", "cba")],
        ),
    ],
];

/// What may change in an incarnation.
pub(crate) const FREE: [&str; 2] = ["log.level", "secrets"];

/// What may differ from member to member.
pub(crate) fn is_mine(key: &str) -> bool {
    let mine = ["cluster.guard", "log.format"];
    mine.contains(&key) || key.ends_with(".interface")
}

/// What comes into force when every member has it (R-22).
pub(crate) fn is_together(key: &str) -> bool {
    let of_group = key.starts_with("groups.") && !key.ends_with(".interface");
    of_group
        || key.starts_with("timing.")
        || key.ends_with(".preferred")
        || key.starts_with("members.") && key.ends_with(".addresses")
        || ["cluster.arbitration", "cluster.port"].contains(&key)
}

/// A file: which way of each row.
#[derive(Clone, Debug)]
pub(crate) struct Picks(pub(crate) Vec<usize>);

impl Picks {
    fn ways(&self) -> impl Iterator<Item = &'static Way> {
        ROWS.iter().zip(&self.0).map(|(row, pick)| &row[*pick])
    }

    pub(crate) fn text(&self) -> String {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (section, line) in self.ways().flat_map(|way| way.lines) {
            let lines = sections.entry(section).or_default();
            lines.push_str(line);
            lines.push('\n');
        }
        let all = sections
            .iter()
            .map(|(name, lines)| format!("[{name}]\n{lines}\n"));
        all.collect()
    }

    pub(crate) fn means(&self) -> BTreeMap<&'static str, &'static str> {
        self.ways().flat_map(|way| way.means).copied().collect()
    }
}

pub(crate) fn picks() -> impl Strategy<Value = Picks> {
    let pick = |row: &&[Way]| 0..row.len();
    ROWS.iter().map(pick).collect::<Vec<_>>().prop_map(Picks)
}

pub(crate) const SECRETS: [&str; 4] = [
    "the first secret of four",
    "the second secret of four",
    "the third secret of four",
    "the last secret of four",
];

/// The witness of two clusters: one in its file, one in a directory.
pub(crate) const WITNESS: &str = r#"directory = "clusters.d"

[log]
level = "warn"

[clusters.shop]
secret_file = "a"
[clusters.shop.members.a]
addresses = ["10.2.0.1"]
preferred = true
[clusters.shop.members.b]
addresses = ["10.2.0.2"]
[clusters.shop.members.lb0]
addresses = ["10.0.0.12"]
witness = true
[clusters.shop.groups.shop]
addresses = ["10.2.0.50"]
"#;

pub(crate) const SERVED: &str = r#"[cluster]
name = "web"
secret_file = "../b"

[members.x]
addresses = ["10.0.0.10"]
preferred = true
[members.y]
addresses = ["10.0.0.11"]
[members.lb0]
addresses = ["10.0.0.12"]
witness = true

[groups.web]
addresses = ["10.0.0.50"]
"#;

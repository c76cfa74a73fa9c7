//! Every way in which a file can be wrong, and what the error says.

use super::local_cluster::{Here, all_of, find_here};
use super::*;
use onehold_core::advert::MemberId;
use onehold_core::config::Failback;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path as FsPath;
use std::sync::atomic::{AtomicU32, Ordering};

/// The file of the README.
pub(crate) const THREE: &str = r#"[cluster]
name = "web"
secret_file = "secret"

[members.lb0]
addresses = ["10.0.0.10"]
preferred = true

[members.lb1]
addresses = ["10.0.0.11"]

[members.w]
addresses = ["10.0.0.12"]
witness = true

[groups.web]
addresses = ["10.0.0.50/24", "2001:db8::50/64"]
interface = "eth0"

[timing]
interval = "100ms"
lease = "450ms"
"#;

/// The tutorial's case, each candidate preferred once, two paths.
pub(crate) const TWO: &str = r#"[cluster]
name = "pair"
secret_file = "secret"
arbitration = "survivor"

[members.lb0]
addresses = ["10.0.0.10", "10.1.0.10:7000"]

[members.lb1]
addresses = ["10.0.0.11", "10.1.0.11:7000"]

[groups.api]
addresses = ["10.0.0.51"]
interface = { lb0 = "eth0", lb1 = "ens3" }
preferred = "lb1"
failback = "manual"

[groups.web]
addresses = ["10.0.0.50"]
interface = "eth0"
preferred = "lb0"
failback_delay = "1.5s"
release_when_unhealthy = true
"#;

/// A directory of its own, with a good secret in it; removed when dropped.
pub(crate) struct Etc(pub(crate) PathBuf);

impl Etc {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let etc =
            Self(std::env::temp_dir().join(format!("onehold-etc-{}-{n}", std::process::id())));
        std::fs::create_dir_all(&etc.0).unwrap();
        etc.secret("secret", "0123456789abcdef");
        etc
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn secret(&self, name: &str, text: &str) {
        let path = self.write(name, text);
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// The same on every machine that runs the tests.
    pub(crate) fn said(&self, text: impl ToString) -> String {
        text.to_string()
            .replace(self.0.to_str().unwrap(), "/etc/onehold")
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn nowhere(_: IpAddr) -> Option<IpAddr> {
    None
}

fn load_here(path: &FsPath, here: &Here<'_>) -> Result<Loaded, FileError> {
    all_of(find_here(path, here)?)
}

fn load_as(path: &FsPath, name: &str) -> Result<Loaded, FileError> {
    load_here(
        path,
        &Here {
            option: "--as",
            name: Some(name),
            host: String::new(),
            toward: &nowhere,
        },
    )
}

/// The cluster of `name` in `text`.
pub(crate) fn cluster(text: &str, name: &str) -> LocalCluster {
    let etc = Etc::new();
    let path = etc.write("onehold.toml", text);
    load_as(&path, name).unwrap().clusters.remove(0)
}

/// The error about `base` with `from` replaced by `to`.
pub(super) fn refused(base: &str, from: &str, to: &str) -> String {
    assert!(base.contains(from), "{from}");
    let etc = Etc::new();
    let path = etc.write("onehold.toml", &base.replacen(from, to, 1));
    let loaded = load_as(&path, "lb0");
    let checked = crate::cli::tests::status_of_check(&path, "lb0");
    let run = match &loaded {
        Ok(_) => 0,
        Err(e) if e.may_pass => 1,
        Err(_) => 2,
    };
    assert_eq!(
        checked.0, run,
        "check and run disagree: {to}: {loaded:?}, {checked:?}"
    );
    let said = match loaded {
        Ok(_) => "ACCEPTED".to_owned(),
        Err(e) => etc.said(e),
    };
    // What a resolver says differs from host to host.
    let said = match (said.split_once("resolved ("), said.split_once("); add it")) {
        (Some((before, _)), Some((_, after))) => format!("{before}resolved (…); add it{after}"),
        _ => said,
    };
    let edit = |s: &str| s.trim().replace('\n', " ⏎ ");
    format!("{} → {}\n{said}\n", edit(from), edit(to))
}

#[test]
fn every_error_names_the_line_the_key_and_the_remedy_and_check_agrees_with_run() {
    let three = [
        ("[cluster]\n", ""),
        ("name = \"web\"\n", ""),
        ("\"web\"", "\"\""),
        ("\"web\"", "\"my web\""),
        ("\"web\"", "web"),
        ("secret_file", "secrets"),
        ("secret_file = \"secret\"\n", ""),
        ("secret_file = \"secret\"", "secret_file = \"other\""),
        (
            "secret_file = \"secret\"",
            "secret_files = [\"secret\", \"secret\"]",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"a\"\nsecret_files = [\"b\"]",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\narbitration = \"majorty\"",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\narbitration = \"coin\"",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\narbitration = \"survivor\"",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\nguard = \"ebpf\"",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\nport = 70000",
        ),
        (
            "secret_file = \"secret\"",
            "secret_file = \"secret\"\nport = 0",
        ),
        ("addresses = [\"10.0.0.10\"]\n", ""),
        ("[\"10.0.0.10\"]", "[]"),
        ("[\"10.0.0.10\"]", "\"10.0.0.10\""),
        ("[\"10.0.0.10\"]", "[\"lb0.invalid\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.10:port\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.10:0\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.10:70000\"]"),
        ("[\"10.0.0.10\"]", "[\"lb0:70000\"]"),
        ("[\"10.0.0.10\"]", "[\"[fd00::10]:70000\"]"),
        ("[\"10.0.0.10\"]", "[\"fd00::zz\"]"),
        ("[\"10.0.0.10\"]", "[\"fe80::1%eth0\"]"),
        ("[\"10.0.0.10\"]", "[\"[fe80::1%2]:7000\"]"),
        ("[\"10.0.0.10\"]", "[\"fe80::1\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.10/24\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.256\"]"),
        ("[\"10.0.0.10\"]", "[\" 10.0.0.10\"]"),
        ("[\"10.0.0.10\"]", "[\":7000\"]"),
        ("[\"10.0.0.10\"]", "[\"\"]"),
        ("[\"10.0.0.10\"]", "[\"0.0.0.0\"]"),
        ("[\"10.0.0.10\"]", "[\"224.0.0.18\"]"),
        ("[\"10.0.0.10\"]", "[\"255.255.255.255\"]"),
        ("[\"10.0.0.10\"]", "[\"ff02::12\"]"),
        ("[\"10.0.0.10\"]", "[\"::ffff:10.0.0.10\"]"),
        ("[\"10.0.0.10\"]", "[\"127.0.0.1\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.11\"]"),
        ("[\"10.0.0.10\"]", "[\"lb0.invalid\", \"lb0.invalid\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.50\"]"),
        ("[\"10.0.0.10\"]", "[\"10.0.0.10\", \"10.1.0.10\"]"),
        ("[\"10.0.0.10\"]", "[\"fd00::10\"]"),
        ("[\"10.0.0.10\"]", "[\"localhost\"]"),
        ("preferred = true\n", ""),
        ("preferred = true", "prefered = true"),
        ("preferred = true", "witness = true\npreferred = true"),
        ("[members.lb1]", "[members.lb1]\npreferred = true"),
        ("[members.lb1]", "[members.\"lb 1\"]"),
        ("witness = true\n", ""),
        (
            "[members.w]",
            "[members.v]\naddresses = [\"10.0.0.13\"]\nwitness = true\n[members.w]",
        ),
        ("[groups.web]", "[group.web]"),
        ("interface = \"eth0\"\n", ""),
        ("interface = \"eth0\"", "interface = 0"),
        ("interface = \"eth0\"", "interface = { lb1 = \"eth0\" }"),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\npreferred = \"lb2\"",
        ),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\npreferred = \"w\"",
        ),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\nfailback = \"yes\"",
        ),
        (
            "interface = \"eth0\"",
            "interface = \"eth0\"\nfailback_delay = \"soon\"",
        ),
        ("10.0.0.50/24", "10.0.0.50/33"),
        ("10.0.0.50/24", "10.0.0.50/x"),
        ("10.0.0.50/24", "10.0.0/24"),
        ("10.0.0.50/24", "127.0.0.1/8"),
        ("10.0.0.50/24", "0.0.0.0"),
        ("10.0.0.50/24", "0.1.2.3/24"),
        ("10.0.0.50/24", "10.0.0.0/24"),
        ("10.0.0.50/24", "10.0.0.255/24"),
        ("10.0.0.50/24", "224.0.0.18/24"),
        ("10.0.0.50/24", "240.0.0.1/24"),
        ("10.0.0.50/24", "255.255.255.255"),
        ("10.0.0.50/24", "::ffff:10.0.0.50"),
        ("10.0.0.50/24", "fe80::50%eth0/64"),
        ("2001:db8::50/64", "2001:db8::/64"),
        ("2001:db8::50/64", "ff02::1/64"),
        ("2001:db8::50/64", "::1/64"),
        ("\"10.0.0.50/24\"", "\"10.0.0.50\", \"10.0.0.50\""),
        ("\"10.0.0.50/24\", \"2001:db8::50/64\"", ""),
        ("interval = \"100ms\"", "interval = 100"),
        ("interval = \"100ms\"", "interval = \"100\""),
        ("interval = \"100ms\"", "interval = \"0ms\""),
        ("lease = \"450ms\"", "lease = \"200ms\""),
        ("lease = \"450ms\"", "lease = \"1h\""),
        ("lease = \"450ms\"", "leese = \"1s\""),
        ("lease = \"450ms\"", "guard_slack = \"2s\""),
        ("lease = \"450ms\"", "guard_slack = \"0ms\""),
        ("lease = \"450ms\"", "guard_slack = \"999us\""),
        ("lease = \"450ms\"", "drift_ppm = 200000"),
        ("lease = \"450ms\"", "profile = \"fasst\""),
        ("lease = \"450ms\"", "lease = \"450ms\"\nlease = \"450ms\""),
        ("[timing]", "[log]\nlevel = \"loud\"\n[timing]"),
        ("[timing]", "[metrics]\nlisten = 9946\n[timing]"),
        ("[timing]", "[metrics]\nlisten = \"9946\"\n[timing]"),
        (
            "[timing]",
            "[metrics]\nlisten = \"localhost:9946\"\n[timing]",
        ),
        ("[timing]", "[timing"),
    ];
    let two = [
        ("arbitration = \"survivor\"\n", ""),
        ("preferred = \"lb1\"\n", ""),
        (", \"10.1.0.11:7000\"", ""),
        ("10.0.0.51", "10.0.0.50"),
        ("[groups.api]", "[timing]\nlease = \"440ms\"\n[groups.api]"),
        (
            "[groups.api]",
            "[timing]\ninterval = \"200ms\"\n[groups.api]",
        ),
    ];
    let all: Vec<String> = (three.iter().map(|(from, to)| refused(THREE, from, to)))
        .chain(two.iter().map(|(from, to)| refused(TWO, from, to)))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_file_that_is_not_there_says_so() {
    let e = load_as(FsPath::new("/nowhere/onehold.toml"), "lb0").unwrap_err();
    insta::assert_snapshot!(e, @"/nowhere/onehold.toml: there is no such file; create it, or name another (`run --config FILE`, `check FILE`)");
}

#[test]
fn of_a_file_that_is_not_text_the_line_is_named() {
    let etc = Etc::new();
    let path = etc.write("onehold.toml", "");
    std::fs::write(&path, b"[cluster]\nname = \"caf\xe9\"\n").unwrap();
    let e = etc.said(load_as(&path, "lb0").unwrap_err());
    insta::assert_snapshot!(e, @"/etc/onehold/onehold.toml:2: can't be read: byte 0xe9 is not UTF-8; save the file as UTF-8");
}

#[test]
fn a_member_finds_itself_by_name_then_host_then_address() {
    let etc = Etc::new();
    let path = etc.write("onehold.toml", THREE);
    let find = |name, host: &str, local: &'static [&'static str]| {
        let toward = |ip: IpAddr| local.contains(&ip.to_string().as_str()).then_some(ip);
        let here = Here {
            option: "--as",
            name,
            host: host.to_owned(),
            toward: &toward,
        };
        match load_here(&path, &here) {
            Ok(clusters) => {
                let config = &clusters.clusters[0].config;
                config.member(config.me()).unwrap().name.clone()
            }
            Err(e) => etc.said(e),
        }
    };
    assert_eq!(find(Some("lb1"), "lb0", &["10.0.0.12"]), "lb1");
    assert_eq!(find(None, "lb0", &["10.0.0.12"]), "lb0");
    assert_eq!(find(None, "LB1.example.com", &["10.0.0.12"]), "lb1");
    assert_eq!(find(None, "host", &["10.0.0.12"]), "w");
    let errors = [
        find(Some("lb7"), "lb0", &[]),
        find(None, "host", &[]),
        find(None, "host", &["10.0.0.10", "10.0.0.12"]),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn a_local_cluster_has_all_that_a_driver_needs() {
    let lb1 = cluster(TWO, "lb1");
    assert_eq!(lb1.config.me(), MemberId(1));
    let paths: Vec<String> = lb1
        .paths(MemberId(0))
        .map(|p| format!("{} {}", p.local, p.remote))
        .collect();
    assert_eq!(
        paths,
        [
            "10.0.0.11:6946 10.0.0.10:6946",
            "10.1.0.11:7000 10.1.0.10:7000"
        ]
    );
    assert_eq!(lb1.interfaces, [["ens3".to_owned()], ["eth0".to_owned()]]);
    let groups = lb1.config.groups();
    assert_eq!(
        (groups[0].preferred, groups[1].preferred),
        (MemberId(1), MemberId(0))
    );
    assert_eq!(groups[0].failback, Failback::Manual);
    assert_eq!(groups[0].failback_delay, Span::from_millis(5_000));
    assert_eq!(groups[1].failback_delay, Span::from_millis(1_500));
    assert!(groups[1].release_when_unhealthy);
    assert_eq!(groups[0].addresses[0].length, 32);
    assert!(!lb1.realtime());
    assert_eq!(lb1.guard(), GuardChoice::Auto);
}

#[test]
fn a_witness_with_one_address_is_reached_on_every_path() {
    let two_paths = THREE
        .replace("\"10.0.0.10\"", "\"10.0.0.10\", \"10.1.0.10\"")
        .replace("\"10.0.0.11\"", "\"10.0.0.11\", \"10.1.0.11\"");
    let lb0 = cluster(&two_paths, "lb0");
    let paths: Vec<String> = lb0
        .paths(MemberId(2))
        .map(|p| format!("{} {}", p.local.ip(), p.remote.ip()))
        .collect();
    assert_eq!(paths, ["10.0.0.10 10.0.0.12", "10.1.0.10 10.0.0.12"]);
}

#[test]
fn the_order_in_a_file_does_not_matter_and_the_text_of_a_value_does() {
    let swapped = THREE
        .replace("lb0", "tmp")
        .replace("lb1", "lb0")
        .replace("tmp", "lb1");
    let digest = |text: &str| cluster(text, "w").config.digest();
    assert_ne!(digest(THREE), digest(&swapped));
    let (head, timing) = THREE.split_at(THREE.find("[timing]").unwrap());
    assert_eq!(digest(THREE), digest(&format!("{timing}\n{head}")));
    assert_eq!(digest(THREE), digest(head));
}

#[test]
fn the_fast_profile_is_20_and_60_and_may_be_overridden() {
    let fast = THREE.replace(
        "interval = \"100ms\"\nlease = \"450ms\"",
        "profile = \"fast\"",
    );
    let lb0 = cluster(&fast, "lb0");
    assert_eq!(lb0.config.timing().interval(), Span::from_millis(20));
    assert_eq!(lb0.config.timing().lease(), Span::from_millis(60));
    assert!(lb0.realtime());
    let slower = fast.replace("\"fast\"", "\"fast\"\nlease = \"80ms\"");
    assert_eq!(
        cluster(&slower, "lb0").config.timing().lease(),
        Span::from_millis(80)
    );
}

#[test]
fn the_fast_profile_of_a_lone_survivor_is_20_and_90() {
    let fast = format!("{TWO}\n[timing]\nprofile = \"fast\"\n");
    let here = cluster(&fast, "lb0");
    assert_eq!(here.config.timing().interval(), Span::from_millis(20));
    assert_eq!(here.config.timing().lease(), Span::from_millis(90));
}

const MANY: &str = r#"directory = "clusters.d"

[clusters.shop]
secret_file = "secret"
[clusters.shop.members.a]
addresses = ["10.2.0.1"]
preferred = true
[clusters.shop.members.b]
addresses = ["10.2.0.2"]
[clusters.shop.members.w]
addresses = ["10.0.0.12"]
witness = true
[clusters.shop.groups.shop]
addresses = ["10.2.0.50"]
"#;

#[test]
fn a_witness_serves_tables_and_a_directory() {
    let etc = Etc::new();
    let path = etc.write("witness.toml", MANY);
    etc.write(
        "clusters.d/web.toml",
        &THREE.replace("\"secret\"", "\"../secret\""),
    );
    etc.write("clusters.d/notes.txt", "not a cluster");
    let clusters = load_as(&path, "w").unwrap().clusters;
    let names: Vec<&str> = clusters.iter().map(LocalCluster::name).collect();
    assert_eq!(names, ["shop", "web"]);
    // The candidate's own file and the witness's table agree (R-0).
    let own = "[cluster]\nname = \"shop\"\n".to_owned()
        + &MANY[MANY.find("secret_file").unwrap()..].replace("clusters.shop.", "")
        + "interface = \"eth0\"\n";
    assert_eq!(
        cluster(&own, "a").config.digest(),
        clusters[0].config.digest()
    );
}

#[test]
fn errors_in_a_witness_file_name_its_own_keys() {
    let said = |text: &str, also: &str, name: &str| {
        let etc = Etc::new();
        let path = etc.write("witness.toml", text);
        if !also.is_empty() {
            etc.write("clusters.d/also.toml", also);
        }
        load_as(&path, name).map_or_else(|e| etc.said(e), |_| "ACCEPTED".to_owned())
    };
    let without = MANY.replace("directory = \"clusters.d\"\n", "");
    let shop = THREE
        .replace("\"secret\"", "\"../secret\"")
        .replace("\"web\"", "\"shop\"");
    let all = [
        said(MANY, "", "w"),
        said(MANY, &shop, "w"),
        said(&without, "", "a"),
        said(&without, "", "x"),
        said(&without.replace("preferred = true", ""), "", "w"),
        said(&without.replace("\"secret\"", "\"other\""), "", "w"),
        said(&without.replace("secret_file", "secretfile"), "", "w"),
        said(&without.replace("10.2.0.50", "10.2.0.500"), "", "w"),
        said(
            &format!("{without}\n[clusters.shop.timing]\nlease = \"1ms\""),
            "",
            "w",
        ),
        said("clusters = {}", "", "w"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn r0_a_reload_changes_what_it_may_and_says_why_not() {
    let etc = Etc::new();
    etc.secret("secret.new", "fedcba9876543210");
    let change = |from: &str, to: &str| {
        assert!(THREE.contains(from), "{from}");
        let load = |text| load_as(&etc.write("onehold.toml", text), "lb0").unwrap();
        let file = |text| load(text).clusters.remove(0);
        file(THREE).reload(file(&THREE.replacen(from, to, 1)))
    };
    let mut applied = Vec::new();
    for (from, to) in [
        ("web", "web"),
        // Written defaults are not a change.
        (
            "[timing]",
            "[timing]\ndrift_ppm = 1000\nguard_slack = \"5ms\"",
        ),
        ("[cluster]", "[cluster]\narbitration = \"majority\""),
        (
            "secret_file = \"secret\"",
            "secret_files = [\"secret.new\", \"secret\"]",
        ),
        // Of the file, and not of the cluster.
        ("[timing]", "[log]\nlevel = \"debug\"\n[timing]"),
        ("[timing]", "[metrics]\nlisten = \"[::1]:9946\"\n[timing]"),
        // The agent's.
        ("lease =", "profile = \"fast\"\nlease ="),
        (
            "[timing]",
            "[groups.web.checks.web]\ntcp = \"[::1]:80\"\n[timing]",
        ),
        (
            "[timing]",
            "[groups.web.hooks]\nholding = { exec = [\"/bin/true\"] }\n[timing]",
        ),
    ] {
        applied.push(format!("{:?}", change(from, to).unwrap()));
    }
    insta::assert_snapshot!("r0_what_a_reload_applies", applied.join("\n"));
    // R-22: what is in force stays, until every member has the other.
    let mut together = Vec::new();
    for (from, to) in [
        (
            "preferred = true\n\n[members.lb1]",
            "[members.lb1]\npreferred = true",
        ),
        ("[\"10.0.0.50/24\"", "[\"10.0.0.51/24\", \"10.0.0.50/24\""),
        ("interface", "failback = \"manual\"\ninterface"),
        ("interface", "failback_delay = \"2s\"\ninterface"),
        ("interface", "release_when_unhealthy = true\ninterface"),
        ("interface", "preferred = \"lb1\"\ninterface"),
        ("\"100ms\"", "\"50ms\""),
        ("\"450ms\"", "\"900ms\""),
        ("lease =", "guard_slack = \"9ms\"\nlease ="),
        (
            "interval = \"100ms\"\nlease = \"450ms\"",
            "profile = \"fast\"",
        ),
        (
            "[timing]",
            "[groups.api]\naddresses = [\"10.0.0.60/24\"]\ninterface = \"eth1\"\n[timing]",
        ),
        ("[members.w]", "[members.v]"),
        ("10.0.0.11", "10.0.0.21"),
        ("10.0.0.12", "10.0.0.22"),
        ("[cluster]", "[cluster]\nport = 7000"),
    ] {
        let load = |text| load_as(&etc.write("onehold.toml", text), "lb0").unwrap();
        let file = |text| load(text).clusters.remove(0);
        let other = THREE.replacen(from, to, 1);
        let (mut local, new) = (file(THREE), file(&other));
        together.push(format!("{:?}", local.reload(new.clone()).unwrap()));
        assert_eq!(local.config, file(THREE).config, "in force");
        assert_eq!(local.next.as_ref().unwrap().config, new.config);
        assert_eq!(local.reload(new), Ok(vec![]), "it is on the way there");
        let back = local.reload(file(THREE)).unwrap();
        assert_eq!(back, ["turned back to what is in force"]);
        assert!(local.next.is_none());
    }
    insta::assert_snapshot!("r22_what_comes_into_force_together", together.join("\n"));
    let refusals = [
        ("\"web\"", "\"shop\""),
        ("[cluster]", "[cluster]\nguard = \"nft\""),
        ("[members.lb1]", "[members.lb2]"),
        ("eth0", "eth1"),
        (
            "[timing]",
            "[groups.web.hooks]\nbefore_hold = { exec = [\"/x\"], deadline = \"2s\", failing = \"open\" }\n[timing]",
        ),
        ("lease =", "drift_ppm = 500\nlease ="),
        ("[timing]", "[log]\nformat = \"json\"\n[timing]"),
        // Of several, one that all must agree on, for its remedy is the one that does no harm.
        (
            "interface = \"eth0\"\n\n[timing]",
            "interface = \"eth1\"\n\n[timing]\ndrift_ppm = 500",
        ),
    ];
    let said = refusals.map(|(from, to)| change(from, to).unwrap_err().to_string());
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn other_members_on_this_machine_are_named_in_one_alarm() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let others = [
        ("lb1", ip("10.0.0.11")),
        ("v", ip("10.0.0.12")),
        ("v", ip("127.0.0.1")),
        ("w", ip("10.0.0.13")),
        ("w", ip("10.1.0.13")),
    ];
    let toward = |to: IpAddr| {
        Some(if to == ip("10.0.0.11") {
            ip("10.0.0.10")
        } else {
            to
        })
    };
    let said = |n: usize| company(others.into_iter().take(n), &toward);
    assert_eq!(said(1), None);
    let words = "v is on this machine, too, for this host has 10.0.0.12: ";
    assert!(said(3).unwrap().starts_with(words), "{:?}", said(3));
    let words =
        "v and w are on this machine, too, for this host has 10.0.0.12, 10.0.0.13, 10.1.0.13: ";
    assert!(said(5).unwrap().starts_with(words), "{:?}", said(5));
}

#[test]
fn an_own_address_that_floats_is_found_however_it_is_written() {
    let text = THREE
        .replace("10.0.0.10", "2001:DB8:0::0:50")
        .replace("10.0.0.11", "2001:db8::11")
        .replace("10.0.0.12", "2001:db8::12");
    let etc = Etc::new();
    let said = load_as(&etc.write("onehold.toml", &text), "lb0").unwrap_err();
    assert!(
        said.what
            .contains("`2001:DB8:0::0:50` floats in groups.web"),
        "{said}"
    );
}

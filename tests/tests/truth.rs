//! What operators and their monitoring are told, and by whom it may be asked.

use onehold_tests::{
    Begin as _, Cluster, Setup, Tap, binaries, eventually, is_machine_root, not_run, send_as,
};
use std::net::IpAddr;

/// The shipped unit of a candidate.
const UNIT: &str = include_str!("../../real/packaging/onehold.service");

/// `onehold status --check`: its exit status, and its one line.
fn check(c: &Cluster, host: &str, words: &[&str]) -> (Option<i32>, String) {
    let binary = binaries::onehold().to_str().expect("a path");
    let output = c.run(host, &[&[binary, "status", "--check"], words].concat());
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(line.lines().count(), 1, "{line}");
    (output.status.code(), line)
}

#[test]
fn monitoring_is_told_in_one_line_and_by_the_exit_status() {
    let mut c = Setup::majority().patient().build();
    let (status, line) = check(&c, "lb0", &[]);
    assert_eq!(status, Some(2), "{line}");
    assert!(
        line.starts_with("ONEHOLD CRITICAL: no daemon listens at"),
        "{line}"
    );
    c.start_all();
    for name in ["lb0", "lb1", "witness"] {
        c.onehold(name, &["wait", "--no-alarms", "--ready", "--holder", "lb0"]);
        let (status, line) = check(&c, name, &[]);
        assert_eq!(status, Some(0), "{line}");
        assert!(line.starts_with("ONEHOLD OK: web on lb0 | "), "{line}");
        assert!(line.contains(" alarms=0;;;0"), "{line}");
    }
    let (status, line) = check(&c, "lb0", &["--group", "nothing"]);
    assert_eq!(status, Some(3), "{line}");
    c.onehold("lb1", &["standby"]);
    for name in ["lb0", "lb1", "witness"] {
        eventually("it warns", || {
            let (status, line) = check(&c, name, &["--group", "web"]);
            let said = line.contains("the operator said standby");
            (said && status == Some(1)).then_some(())
        });
    }
    c.pause("lb0");
    let (status, line) = check(&c, "lb0", &[]);
    assert_eq!(status, Some(2), "{line}");
    assert!(line.contains("gave no answer"), "{line}");
    c.resume("lb0");
}

#[test]
fn a_script_waits_for_what_it_names_and_no_longer_than_it_says() {
    let mut c = Setup::majority().patient().build();
    let short = ["wait", "--timeout", "200ms"];
    let (status, said) = c.refused("lb0", &short);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("not within 200ms: no daemon listens"),
        "{said}"
    );
    c.start_all();
    c.onehold("witness", &["wait"]);
    c.onehold("lb1", &["wait", "web", "--ready"]);
    c.onehold("lb1", &["wait", "--holder", "lb0", "--no-alarms"]);
    let (status, said) = c.refused("lb1", &[&short[..], &["--holder", "lb1"]].concat());
    assert_eq!(status, Some(1));
    assert!(
        said.contains("not within 200ms: web: lb0 holds it"),
        "{said}"
    );
    for wrong in [&["wait", "nothing"][..], &["wait", "--holder", "lb7"]] {
        let (status, said) = c.refused("lb1", wrong);
        assert_eq!(status, Some(2), "{said}");
    }
    c.onehold("lb1", &["standby"]);
    let unready = [&short[..], &["--ready"]].concat();
    let (status, said) = c.refused("lb1", &unready);
    assert_eq!(status, Some(1));
    assert!(said.contains("web: the operator said standby"), "{said}");
}

#[test]
fn an_order_says_what_it_costs_and_is_not_done_where_nobody_would_be_left() {
    let mut c = Setup::majority().start();
    c.onehold("lb1", &["wait", "--ready"]);
    let said = c.onehold("lb1", &["standby"]);
    assert!(
        said.starts_with("web: lb0 holds it, and nobody takes over from it until `onehold resume`"),
        "{said}"
    );
    let why = "could not: the operator said standby";
    eventually("lb0 knows why", || {
        c.alarms("lb0")
            .contains("the operator said standby")
            .then_some(())
    });
    let (status, said) = c.refused("lb0", &["standby"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(c.status("lb0")["groups"][0]["standby"], false);
    // It is done if it is meant, and shown until it is done or undone.
    let binary = binaries::onehold().to_str().expect("a path");
    let meant = ["timeout", "3", binary, "standby", "--yes"];
    let output = c.run("lb0", &meant);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(why), "{said}");
    let text = c.onehold("lb0", &["status"]);
    let pending = "hands over as soon as another candidate can hold it";
    assert!(text.contains(pending), "{text}");
    c.hold_on("lb0");
    c.onehold("lb1", &["resume"]);
    c.hold_on("lb1");
    assert!(!c.onehold("lb0", &["status"]).contains(pending));
    c.onehold("lb0", &["resume"]);
    c.hold_on("lb0");
    // One that must not be stopped afterwards says so.
    c.stop("witness");
    eventually("it is missed", || {
        c.alarms("lb0")
            .contains("witness is not heard")
            .then_some(())
    });
    let said = c.onehold("lb0", &["switch"]);
    let alone = "don't stop this member then: it leaves nobody, because lb1 needs its vote while witness is not heard";
    assert!(said.contains(alone), "{said}");
}

#[test]
fn what_the_standby_lacks_to_take_over_is_said_by_every_member() {
    let mut c = Setup::majority().patient().start();
    c.onehold("lb0", &["wait", "--no-alarms"]);
    c.lan().cut("lb1", "witness").unwrap();
    let lacks = "without lb0, two-way with 0 of the 1 members it needs; start or reconnect witness";
    for (name, said) in [
        (
            "lb1",
            format!("web: could not take over when lb0 fails: {lacks}"),
        ),
        (
            "lb0",
            format!("web: lb1 is heard, but could not take over: {lacks}"),
        ),
    ] {
        eventually(&format!("`{said}` on {name}"), || {
            c.alarms(name).contains(&said).then_some(())
        });
    }
    c.heal();
    eventually("no alarm", || (c.alarms("lb0") == "[]").then_some(()));
}

#[test]
fn status_says_of_each_member_its_version_its_key_and_whether_it_could_hold() {
    let mut c = Setup::majority().patient().build();
    c.start("lb0");
    c.start("witness");
    c.hold_on("lb0");
    let text = c.onehold("lb0", &["status"]);
    let never = text
        .lines()
        .find(|line| line.starts_with("lb1 "))
        .expect("its line");
    assert!(
        never
            .split_whitespace()
            .eq(["lb1", "never", "-", "no", "-", "-"]),
        "{never}"
    );
    c.start("lb1");
    c.onehold("lb0", &["wait", "--no-alarms"]);
    let own = c.status("lb0");
    let own_key = own["keys"][0].as_str().expect("a key");
    let text = eventually("it has said all", || {
        let text = c.onehold("lb0", &["status"]);
        text.contains("web: ready").then_some(text)
    });
    let version = own["version"].as_str().expect("a version");
    let said = format!("onehold {version} · seals with key {own_key} · web: ready");
    assert!(text.contains(&said), "{said}: {text}");
    assert!(text.contains(&format!("keys       {own_key}")), "{text}");
    // While keys are rotated, it shows who is a step behind.
    c.file("secret.2", "another secret of a test, also long enough\n");
    let both = [
        "secret_files = [\"secret\", \"secret.2\"]",
        "secret_files = [\"secret.2\", \"secret\"]",
    ];
    for name in c.members() {
        c.edit(name, "secret_file = \"secret\"", both[0]);
        c.reload(name, "reloaded: ");
    }
    c.edit("lb1", both[0], both[1]);
    c.reload("lb1", "reloaded: ");
    let new = c.status("lb1")["keys"][0].clone();
    assert_ne!(new, own["keys"][0]);
    eventually("lb0 sees it", || {
        let status = c.status("lb0");
        let peers = status["peers"].as_array()?;
        let lb1 = peers.iter().find(|p| p["name"] == "lb1")?;
        (lb1["key"] == new && status["keys"].as_array()?.len() == 2).then_some(())
    });
}

#[test]
fn a_sender_with_another_secret_is_an_alarm_with_its_address() {
    let c = Setup::majority().patient().start();
    let lb0: IpAddr = "10.77.0.10".parse().unwrap();
    let mut forged = Tap::on(c.host("lb1")).next_from(lb0);
    forged.from = "10.77.0.66:6946".parse().unwrap();
    forged.bytes[4] ^= 1; // the key's id
    let said = "what comes from 10.77.0.66:6946, which is not a member's address in the file here, names this \
                cluster and is sealed with a key that is not accepted here";
    assert!(!c.alarms("lb1").contains(said));
    eventually("the alarm", || {
        send_as(c.host("stranger"), &forged);
        c.alarms("lb1").contains(said).then_some(())
    });
    // Somebody who invents addresses is counted, and does not fill the list.
    for port in 7000..7100 {
        forged.from.set_port(port);
        send_as(c.host("stranger"), &forged);
    }
    assert!(c.alarms("lb1").matches("names this cluster").count() <= 4);
    assert!(
        !c.log("lb1").contains("10.77.0.66"),
        "the log is not his to fill"
    );
}

#[test]
fn an_own_address_that_this_host_has_not_is_named() {
    let mut c = Setup::majority().paths(2).patient().start();
    let list = c.ok(
        "lb0",
        &["ip", "-oneline", "-4", "address", "show", "dev", "eth1"],
    );
    let own = list
        .split_whitespace()
        .nth(3)
        .expect("an address")
        .to_owned();
    let ip = own.split('/').next().expect("without its prefix");
    let said = format!("{ip} is this member's by the file, and this host has it not");
    assert!(!c.alarms("lb0").contains(&said));
    c.ok("lb0", &["ip", "address", "del", &own, "dev", "eth1"]);
    eventually(&said, || c.alarms("lb0").contains(&said).then_some(()));
    c.hold_on("lb0");
    c.ok("lb0", &["ip", "address", "add", &own, "dev", "eth1"]);
    eventually("it is over", || {
        (!c.alarms("lb0").contains(&said)).then_some(())
    });
    c.heal();
}

/// The unit's capabilities, in the words of setpriv.
fn capabilities() -> String {
    let line = UNIT
        .lines()
        .find_map(|l| l.strip_prefix("CapabilityBoundingSet="));
    let all = line.expect("the unit bounds them").split_whitespace();
    let plus = all.map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    format!("--bounding-set=-all{}", plus.collect::<String>())
}

/// A user who is a member of the group by a supplementary group only, as a monitoring agent is.
#[test]
fn members_of_the_group_onehold_may_look_and_do_nothing_else() {
    let mut c = Setup::majority().patient().build();
    if !is_machine_root() {
        not_run("a user namespace has no second user");
        return;
    }
    c.file("group", "root:x:0:\nonehold:x:4711:nagios\n");
    c.ok("lb0", &["mount", "--bind", "/run/lab/group", "/etc/group"]);
    let binary = binaries::onehold().to_str().expect("a path");
    c.ok("lb0", &["sh", "-c", &format!("cp {binary} /run/onehold.binary; chmod 755 /run/onehold.binary; chmod 0751 /run/onehold")]);
    let bound = capabilities();
    c.start_by(
        "lb0",
        &[
            "setpriv",
            &bound,
            binary,
            "run",
            "--as",
            "lb0",
            "--config",
            "/run/lab/lb0.toml",
        ],
    );
    c.start("lb1");
    c.start("witness");
    c.hold_on("lb0");
    let list = c.ok(
        "lb0",
        &[
            "stat",
            "--format=%n %a %u %g",
            "/run/onehold/control.sock",
            "/run/onehold/status.sock",
        ],
    );
    assert_eq!(
        list,
        "/run/onehold/control.sock 600 0 0\n/run/onehold/status.sock 660 0 4711\n"
    );
    let as_user = |groups: &str, words: &[&str]| {
        let user = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            groups,
            "/run/onehold.binary",
        ];
        c.run("lb0", &[&user[..], words].concat())
    };
    let member = "--groups=4711";
    let output = as_user(member, &["status"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("holder"),
        "{output:?}"
    );
    assert!(
        as_user(member, &["status", "--check"])
            .status
            .code()
            .is_some_and(|n| n < 2)
    );
    let refused = |groups: &str, words: &[&str]| {
        let output = as_user(groups, words);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = refused(member, &["standby", "--yes"]);
    assert!(
        said.contains("only root and the daemon's own user may ask"),
        "{said}"
    );
    let there = ["standby", "--yes", "--socket", "/run/onehold/status.sock"];
    let said = refused(member, &there);
    assert!(
        said.contains("neither order anything nor be the agent"),
        "{said}"
    );
    let said = refused("--clear-groups", &["status"]);
    assert!(said.contains("members of the group onehold"), "{said}");
    c.hold_on("lb0");
    // One that may not give it away does without.
    c.stop("lb0");
    let less = bound.replace(",+chown", "");
    assert_ne!(less, bound);
    c.start_by(
        "lb0",
        &[
            "setpriv",
            &less,
            binary,
            "run",
            "--as",
            "lb0",
            "--config",
            "/run/lab/lb0.toml",
        ],
    );
    c.logs("lb0", "members of the group onehold can't look");
    c.hold_on("lb0");
    c.ok("lb0", &["test", "!", "-e", "/run/onehold/status.sock"]);
    c.stop("lb0");
    assert_eq!(
        c.ok("lb0", &["sh", "-c", "ls /run/onehold | grep sock || true"]),
        ""
    );
}

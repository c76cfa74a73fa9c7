//! A start where something is missing or wrong: what may pass by itself is waited for, reported
//! meanwhile, and costs no other member anything; what strangers do keeps no member from starting.

use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually, is_machine_root, not_run};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// What a lab's host has in its hosts file.
const HOSTS: &str = "127.0.0.1 localhost\n10.77.0.10 lb0\n10.77.0.11 lb1\n10.77.0.12 witness\n";

/// The words to run the daemon of a member, with more of them at the end.
fn run<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let binary = binaries::onehold().to_str().expect("a path");
    [&[binary, "run", "--config", file], more].concat()
}

/// `onehold status --json` on a host, whatever it serves.
#[track_caller]
fn report(c: &Cluster, host: &str) -> Value {
    c.answers(host);
    serde_json::from_str(&c.onehold(host, &["status", "--json"])).expect("JSON")
}

/// Waits until `status` on a host says, with these words, what it waits for.
#[track_caller]
fn waits_for(c: &Cluster, host: &str, words: &str) {
    c.answers(host);
    eventually(&format!("{host} waits for `{words}`"), || {
        let waiting = report(c, host)["waiting"].to_string();
        waiting.contains(words).then_some(())
    });
    let text = c.onehold(host, &["status"]);
    assert!(!text.contains("all well"), "{text}");
}

/// Takes the service manager's place on a host, and receives what the daemon reports to it.
fn manager(c: &Cluster, host: &str) -> UnixDatagram {
    let bind = || UnixDatagram::bind("/run/onehold/manager").expect("a socket");
    c.ok(host, &["mkdir", "-p", "/run/onehold"]);
    let manager = c.host(host).call(bind).expect("it is on");
    let patience = Some(Duration::from_secs(20));
    manager.set_read_timeout(patience).expect("it takes that");
    manager
}

/// The next report with these words in it.
#[track_caller]
fn told(manager: &UnixDatagram, words: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length = manager.recv(&mut buffer).expect("it is told something");
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if said.contains(words) {
            return said;
        }
    }
}

#[test]
fn names_that_nobody_knows_yet_are_waited_for_and_the_others_serve_meanwhile() {
    let mut c = Setup::majority().build();
    c.edit("lb0", "\"10.77.0.10\"", "\"lb0\"");
    c.edit("lb0", "\"10.77.0.11\"", "\"lb1\"");
    c.ok("lb0", &["sh", "-c", "echo 127.0.0.1 localhost >/etc/hosts"]);
    let file = "/run/lab/lb0.toml";
    for other in ["lb1", "witness"] {
        let file = format!("/run/lab/{other}.toml");
        // All members have the same text; the others know the names.
        c.ok("lb1", &["cp", "/run/lab/lb0.toml", &file]);
        c.start(other);
    }
    let manager = manager(&c, "lb0");
    let env = [
        "env",
        "NOTIFY_SOCKET=/run/onehold/manager",
        "RES_OPTIONS=timeout:1 attempts:1",
    ];
    c.start_by("lb0", &[&env[..], &run(file, &["--as", "lb0"])].concat());
    let ready = told(&manager, "READY=1");
    assert!(ready.contains("waiting"), "{ready}");
    waits_for(&c, "lb0", "can't be resolved");
    c.hold_on("lb1");
    // An order is refused, with the reason.
    let (status, said) = c.refused("lb0", &["standby"]);
    assert!(
        status == Some(1) && said.contains("not served yet"),
        "{said}"
    );
    c.ok(
        "lb0",
        &["sh", "-c", &format!("printf '{HOSTS}' >/etc/hosts")],
    );
    c.hold_on("lb0");
    told(&manager, "STATUS=web standby");
    told(&manager, "STATUS=web holder");
    assert_eq!(report(&c, "lb0")["waiting"], serde_json::json!([]));
    c.stop("lb0");
    assert_eq!(c.left_on("lb0"), "");
}

/// After a power cut of the whole site, before the disk with the secret is there.
#[test]
fn a_secret_that_comes_late_is_waited_for_by_all() {
    let mut c = Setup::majority().build();
    c.ok("lb0", &["mv", "/run/lab/secret", "/run/lab/secret.2"]);
    c.start_all();
    for host in ["lb0", "lb1", "witness"] {
        waits_for(&c, host, "/run/lab/secret does not exist");
    }
    c.held_by_nobody();
    // One that others can read does not do, either.
    c.ok("lb0", &["chmod", "644", "/run/lab/secret.2"]);
    c.ok("lb0", &["mv", "/run/lab/secret.2", "/run/lab/secret"]);
    waits_for(&c, "lb1", "chmod 600");
    // And the operator gives the cluster another name meanwhile.
    for host in ["lb0", "lb1", "witness"] {
        c.edit(host, "name = \"lab\"", "name = \"web\"");
    }
    waits_for(&c, "lb0", "\"cluster\":\"web\"");
    c.ok("lb0", &["chmod", "600", "/run/lab/secret"]);
    c.hold_on("lb0");
}

#[test]
fn a_configuration_that_comes_late_is_waited_for() {
    let mut c = Setup::majority().build();
    c.ok("lb0", &["mv", "/run/lab/lb0.toml", "/run/lab/later.toml"]);
    c.start_all();
    waits_for(&c, "lb0", "there is no such file");
    c.hold_on("lb1");
    c.ok("lb0", &["mv", "/run/lab/later.toml", "/run/lab/lb0.toml"]);
    c.hold_on("lb0");
}

/// Without `--as`, and with a name that is not a member's: it knows itself by its address only.
#[test]
fn an_address_that_comes_late_is_waited_for() {
    let mut c = Setup::majority().build();
    let own = "10.77.0.10".parse().unwrap();
    c.host("lb0").remove_address("eth0", own, 16).unwrap();
    c.start_by("lb0", &run("/run/lab/lb0.toml", &[]));
    c.start("lb1");
    c.start("witness");
    waits_for(&c, "lb0", "none of them is this host");
    c.hold_on("lb1");
    c.host("lb0").add_address("eth0", own, 16).unwrap();
    c.hold_on("lb0");
}

#[test]
fn an_interface_that_comes_late_is_waited_for_and_may_go_by_another_name() {
    let mut c = Setup::majority().build();
    c.edit(
        "lb0",
        "\"eth0\"",
        "{ lb0 = \"late0\", lb1 = \"lan-front\" }",
    );
    c.ok("lb0", &["cp", "/run/lab/lb0.toml", "/run/lab/lb1.toml"]);
    let alias = ["ip", "link", "property", "add", "dev", "eth0", "altname"];
    c.ok("lb1", &[&alias[..], &["lan-front"]].concat());
    c.start_all();
    c.hold_on("lb1");
    eventually("an alarm", || {
        c.alarms("lb0")
            .contains("late0: there is no such interface")
            .then_some(())
    });
    for words in [
        "ip link set eth0 down",
        "ip link set eth0 name late0",
        "ip link set late0 up",
    ] {
        c.ok("lb0", &words.split(' ').collect::<Vec<_>>());
    }
    c.hold_on("lb0");
}

#[test]
fn the_label_of_an_address_is_refused_as_an_interface() {
    let c = Setup::majority().build();
    c.edit("lb0", "\"eth0\"", "\"eth0:1\"");
    for words in [
        ["run", "--config", "/run/lab/lb0.toml"].as_slice(),
        &["check", "/run/lab/lb0.toml"],
    ] {
        let (status, said) = c.refused("lb0", words);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("write \"eth0\""), "{said}");
    }
}

/// Every Debian and every cloud image has its own name at 127.0.1.1.
#[test]
fn an_own_name_at_a_loopback_address_costs_nothing() {
    let mut c = Setup::majority().build();
    for (host, number) in [("lb0", 10), ("lb1", 11), ("witness", 12)] {
        for (name, number) in [("lb0", 10), ("lb1", 11), ("witness", 12)] {
            c.edit(
                host,
                &format!("\"10.77.0.{number}\""),
                &format!("\"{name}\""),
            );
        }
        let own = format!("10.77.0.{number} {host}");
        let hosts = HOSTS.replace(&own, &format!("127.0.1.1 {host}"));
        c.ok(
            host,
            &["sh", "-c", &format!("printf '{hosts}' >/etc/hosts")],
        );
    }
    c.start_all();
    c.hold_on("lb0");
    c.logs("lb0", "`lb0` is 127.0.1.1 here, so 10.77.0.10 is used");
    c.stop("lb0");
    c.hold_on("lb1");
    // Another member's name at a loopback address is useless, but may be repaired.
    c.ok(
        "lb0",
        &[
            "sh",
            "-c",
            "printf '127.0.0.1 lb1 lb0 localhost\n10.77.0.12 witness\n' >/etc/hosts",
        ],
    );
    c.start("lb0");
    waits_for(&c, "lb0", "where no other member can reach it");
    c.ok(
        "lb0",
        &["sh", "-c", &format!("printf '{HOSTS}' >/etc/hosts")],
    );
    c.hold_on("lb0");
}

/// A second cluster on the same hosts, with a secret of its own.
fn second_cluster(c: &Cluster) -> String {
    let text = c.read("lb0.toml");
    let text = text.replace("name = \"lab\"", "name = \"db\"\nport = 6947");
    let text = text.replace("\"secret\"", "\"../secret.db\"");
    text.replace("10.77.0.50", "10.77.0.51")
}

#[test]
fn a_witness_serves_the_clusters_that_it_can_and_the_others_when_it_can() {
    let mut c = Setup::majority().build();
    c.ok("witness", &["mkdir", "/run/lab/clusters"]);
    let at = |text: String| text.replace("\"secret\"", "\"../secret\"");
    c.file("clusters/a.toml", &at(c.read("lb0.toml")));
    c.file("clusters/b.toml", &second_cluster(&c));
    c.file("clusters/c.toml", "[cluster]\nname = 7\n");
    c.file("witness.toml", "directory = \"clusters\"\n");
    c.start_all();
    c.hold_on("lb0");
    waits_for(
        &c,
        "witness",
        "/run/lab/clusters/../secret.db does not exist",
    );
    waits_for(&c, "witness", "/run/lab/clusters/c.toml:2: cluster.name");
    let names = |c: &Cluster| {
        let report = report(c, "witness");
        let all = report["clusters"].as_array().unwrap().iter();
        all.map(|one| one["cluster"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&c), ["lab"]);
    let mark = c.mark();
    c.file(
        "secret.db",
        "the secret of another cluster and nothing else\n",
    );
    eventually("both are served", || {
        (names(&c) == ["db", "lab"]).then_some(())
    });
    c.ok("witness", &["rm", "/run/lab/clusters/c.toml"]);
    eventually("nothing is awaited", || {
        (report(&c, "witness")["waiting"] == serde_json::json!([])).then_some(())
    });
    // What joined is served like the other: a holder and one voter are a majority.
    c.watch("db", "10.77.0.51".parse().unwrap());
    c.file(
        "db.toml",
        &second_cluster(&c).replace("../secret.db", "secret.db"),
    );
    let places = [
        "--as",
        "lb1",
        "--socket",
        "/run/onehold/db.sock",
        "--state",
        "/run/onehold/db",
    ];
    let _db = c.spawn("lb1", &run("/run/lab/db.toml", &places), "lb1.db.log");
    c.group_on("db", "lb1");
    c.has_not_moved(mark);
    // A reload keeps them apart, whoever joined first.
    c.reload("witness", "reloaded: ");
    c.stop("witness");
}

/// A daemon of another user that has the port of lb0, and says that it is lb0's lock.
fn squatter(c: &Cluster) -> Process {
    let binary = binaries::onehold().display();
    c.ok("lb0", &["sh", "-c", &format!("mkdir /run/lab/user && cp {binary} /run/lab/user/onehold && cp -p /run/lab/secret /run/lab/user/")]);
    // Its file makes a witness of lb0, so it needs no privilege.
    let text = c.read("lb0.toml");
    let text = text.replace("preferred = true", "witness = true");
    let text = text.replace("[members.witness]", "[members.lb2]");
    let text = text
        .replace("witness = true\n[groups", "[groups")
        .replace("\"lb0\"", "\"lb1\"");
    c.file("user/onehold.toml", &text);
    let user: &[&str] = match is_machine_root() {
        true => {
            c.ok("lb0", &["chown", "-R", "65534:65534", "/run/lab/user"]);
            &[
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--",
            ]
        }
        false => &[],
    };
    let places = [
        "--as",
        "lb0",
        "--socket",
        "/run/lab/user/socket",
        "--state",
        "/run/lab/user",
    ];
    let mut words = run("/run/lab/user/onehold.toml", &places);
    words[0] = "/run/lab/user/onehold";
    let process = c.spawn("lb0", &[user, &words].concat(), "squatter.log");
    eventually("the port is taken", || {
        c.read("squatter.log")
            .contains("lb0 of cluster lab, witness")
            .then_some(())
    });
    process
}

#[test]
fn another_user_s_sockets_keep_nobody_from_starting_for_longer_than_they_are_there() {
    if !is_machine_root() {
        not_run("in a user namespace there is no other user to become");
        return;
    }
    let mut c = Setup::majority().build();
    c.start("lb1");
    c.start("witness");
    let mut squatter = squatter(&c);
    c.start("lb0");
    waits_for(&c, "lb0", "10.77.0.10:6946/udp");
    waits_for(&c, "lb0", "a socket of user id 65534 has it");
    // It has not started, so nothing of it is there.
    assert_eq!(c.left_on("lb0"), "control socket\n");
    c.hold_on("lb1");
    squatter.signal(Signal::KILL).unwrap();
    squatter.wait(onehold_tests::PATIENCE).unwrap();
    c.hold_on("lb0");
}

#[test]
fn what_was_said_until_resume_holds_over_a_kill_and_a_reboot() {
    let mut c = Setup::majority().build();
    let start = |c: &mut Cluster| {
        let kept = ["--as", "lb0", "--orders", "/run/lab/lb0.kept"];
        c.start_by("lb0", &run("/run/lab/lb0.toml", &kept));
    };
    c.start("lb1");
    c.start("witness");
    start(&mut c);
    c.hold_on("lb0");
    for (said, alone) in [("standby", false), ("switch", true)] {
        c.onehold("lb0", &[said]);
        c.hold_on("lb1");
        eventually("it is written", || {
            c.read("lb0.kept/lab.lb0.orders")
                .contains(said)
                .then_some(())
        });
        c.kill("lb0");
        start(&mut c);
        c.logs(
            "lb0",
            &format!("web: in an earlier incarnation the operator said {said}"),
        );
        c.watch_for(2);
        c.hold_on("lb1");
        c.power_off("lb0");
        c.power_on("lb0");
        start(&mut c);
        c.answers("lb0");
        let key = if alone { "gave_away" } else { "standby" };
        assert_eq!(c.status("lb0")["groups"][0][key], true);
        c.kill("lb1");
        match alone {
            true => c.hold_on("lb0"), // and then it is its own again
            false => c.held_by_nobody(),
        }
        c.start("lb1");
        c.onehold("lb0", &["resume"]);
        c.hold_on("lb0");
        eventually("nothing is left to say", || {
            (c.read("lb0.kept/lab.lb0.orders") == "{}").then_some(())
        });
        c.stop("lb0");
        start(&mut c);
        c.hold_on("lb0");
    }
    // Another name of the cluster does not end it, either: the group is known by its address.
    c.onehold("lb0", &["standby"]);
    c.hold_on("lb1");
    for host in ["lb0", "lb1", "witness"] {
        c.stop(host);
        c.edit(host, "name = \"lab\"", "name = \"web\"");
        c.edit(host, "[groups.web]", "[groups.www]");
    }
    c.start("lb1");
    c.start("witness");
    start(&mut c);
    c.hold_on("lb1");
    c.logs(
        "lb0",
        "www: in an earlier incarnation the operator said standby",
    );
    c.onehold("lb0", &["resume"]);
    c.hold_on("lb0");
}

#[test]
fn orders_that_cannot_be_read_or_written_are_no_reason_to_hold_and_an_alarm() {
    let mut c = Setup::majority().build();
    c.ok("lb0", &["mkdir", "/run/onehold/kept"]);
    c.ok(
        "lb0",
        &["sh", "-c", "echo garbage >/run/onehold/kept/lab.lb0.orders"],
    );
    let kept = ["--as", "lb0", "--orders", "/run/onehold/kept"];
    c.start_by("lb0", &run("/run/lab/lb0.toml", &kept));
    c.start("lb1");
    c.start("witness");
    c.hold_on("lb1");
    let alarms = c.alarms("lb0");
    assert!(
        alarms.contains("kept/lab.lb0.orders: not what onehold wrote there"),
        "{alarms}"
    );
    c.onehold("lb0", &["resume"]);
    c.hold_on("lb0");
    eventually("no alarm", || {
        (!c.alarms("lb0").contains("orders")).then_some(())
    });
    // A directory is where the new file should be written.
    c.ok("lb0", &["mkdir", "/run/onehold/kept/lab.lb0.orders.new"]);
    let (status, said) = c.refused("lb0", &["standby"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("done, but what the operator said"), "{said}");
    eventually("an alarm", || {
        c.alarms("lb0")
            .contains("forgotten by a restart: can't write")
            .then_some(())
    });
    c.ok("lb0", &["rmdir", "/run/onehold/kept/lab.lb0.orders.new"]);
    eventually("it is written after all", || {
        (!c.alarms("lb0").contains("orders")).then_some(())
    });
}

#[test]
fn r9_a_read_only_state_directory_is_the_end_only_where_nothing_is_known() {
    let mut c = Setup::majority().build();
    let mount = |c: &Cluster, how: &str| {
        let script =
            format!("mkdir -p /run/onehold/state && mount {how} -t tmpfs none /run/onehold/state");
        c.ok("lb0", &["sh", "-c", &script]);
    };
    let start = |c: &mut Cluster| {
        let state = ["--as", "lb0", "--state", "/run/onehold/state"];
        c.start_by("lb0", &run("/run/lab/lb0.toml", &state));
    };
    mount(&c, "-o ro");
    start(&mut c);
    c.start("lb1");
    c.start("witness");
    waits_for(&c, "lb0", "can't write /run/onehold/state/lab.lb0.lease");
    mount(&c, "-o rw");
    c.hold_on("lb0");
    c.kill("lb0");
    c.ok("lb0", &["mount", "-o", "remount,ro", "/run/onehold/state"]);
    start(&mut c);
    c.hold_on("lb0");
    let alarms = c.alarms("lb0");
    assert!(
        alarms.contains("can't write /run/onehold/state/lab.lb0.lease"),
        "{alarms}"
    );
}

/// It can't be asked then; but the address is served.
#[test]
fn a_control_socket_that_cannot_be_made_costs_nothing_and_is_made_later() {
    let mut c = Setup::majority().build();
    c.ok("lb0", &["sh", "-c", "touch /run/onehold/file"]);
    let socket = ["--as", "lb0", "--socket", "/run/onehold/file/socket"];
    c.start_by("lb0", &run("/run/lab/lb0.toml", &socket));
    c.start("lb1");
    c.start("witness");
    c.hold_on("lb0");
    c.logs("lb0", "no control socket, so");
    c.ok("lb0", &["rm", "/run/onehold/file"]);
    let ask = [
        binaries::onehold().to_str().unwrap(),
        "status",
        "--socket",
        "/run/onehold/file/socket",
    ];
    eventually("it answers", || {
        c.run("lb0", &ask).status.success().then_some(())
    });
    c.stop("lb0");
}

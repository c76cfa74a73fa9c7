//! Faults of files, secrets, members and daemons.

use super::{Fault, both_well, doctor, doctor_by, each, may_look, nothing, other_file, sh, well};
use onehold_tests::{Begin as _, Cluster, Setup, binaries};
use std::net::UdpSocket;

/// Starts a member's daemon again with a changed file.
fn restart_with(c: &mut Cluster, from: &str, to: &str) {
    c.stop("lb1");
    c.edit("lb1", from, to);
    c.start("lb1");
    c.answers("lb1");
}

const FAULTS: [Fault; 13] = [
    Fault::new("file", "problem", "lb1", |c| {
        other_file(
            c,
            "lb1",
            &[("[\"10.77.0.12\"]", "[\"no-such-host.invalid\"]")],
        )
    })
    .by("other"),
    Fault::new("hosts", "advice", "lb1", |c| {
        let _ = sh(
            c,
            "lb1",
            "sed 's/.* lb1$/127.0.1.1 lb1/' /etc/hosts >/run/onehold/h; cat /run/onehold/h >/etc/hosts",
        );
        other_file(c, "lb1", &[("[\"10.77.0.11\"]", "[\"lb1\"]")])
    })
    .by("other")
    .ends(|c| {
        drop(sh(
            c,
            "lb1",
            "sed 's/.* lb1$/10.77.0.11 lb1/' /etc/hosts >/run/onehold/h; cat /run/onehold/h >/etc/hosts",
        ))
    }),
    Fault::new("secret", "problem", "lb1", |c| {
        let _ = sh(
            c,
            "lb1",
            "cp /run/lab/secret /run/onehold/open; chmod 644 /run/onehold/open",
        );
        other_file(
            c,
            "lb1",
            &[(
                "secret_file = \"secret\"",
                "secret_file = \"/run/onehold/open\"",
            )],
        )
    })
    .by("other"),
    Fault::new("interface", "problem", "lb1", |c| {
        other_file(
            c,
            "lb1",
            &[("interface = \"eth0\"", "interface = \"eth7\"")],
        )
    })
    .by("other"),
    Fault::new("config", "problem", "lb1", |c| {
        restart_with(c, "failback_delay = \"0ms\"", "failback_delay = \"7ms\"");
        nothing()
    })
    .ends(|c| restart_with(c, "failback_delay = \"7ms\"", "failback_delay = \"0ms\"")),
    Fault::new("rejected", "problem", "lb1", |c| {
        c.file(
            "other-secret",
            "this is another secret, and as long as the first\n",
        );
        restart_with(
            c,
            "secret_file = \"secret\"",
            "secret_file = \"other-secret\"",
        );
        nothing()
    })
    .ends(|c| {
        restart_with(
            c,
            "secret_file = \"other-secret\"",
            "secret_file = \"secret\"",
        )
    }),
    Fault::new("daemon", "problem", "lb1", |c| {
        restart_with(c, "[\"10.77.0.12\"]", "[\"no-such-host.invalid\"]");
        nothing()
    })
    .by("lb0")
    .ends(|c| restart_with(c, "[\"no-such-host.invalid\"]", "[\"10.77.0.12\"]")),
    Fault::new("peer", "problem", "lb0", |c| {
        c.onehold("lb1", &["standby"]);
        nothing()
    }),
    Fault::new("alarms", "problem", "lb1", |_| nothing()).ends(|c| {
        c.onehold("lb1", &["resume"]);
    }),
    Fault::new("capabilities", "advice", "lb1", |c| {
        c.stop("lb1");
        let set = "--bounding-set=-all,+net_admin,+net_raw";
        let binary = binaries::onehold().to_str().expect("a path");
        c.start_by(
            "lb1",
            &[
                "setpriv",
                set,
                binary,
                "run",
                "--config",
                "/run/lab/lb1.toml",
                "--as",
                "lb1",
            ],
        );
        nothing()
    }),
    Fault::new("guard", "advice", "lb1", |_| nothing()),
    Fault::new("forwarding", "problem", "lb1", |c| {
        sh(c, "lb1", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    })
    .ends(|c| {
        let _ = sh(c, "lb1", "echo 0 >/proc/sys/net/ipv4/ip_forward");
        c.stop("lb1");
        c.start("lb1");
    }),
    Fault::new("network-namespace", "problem", "lb1", |_| nothing()).under(&["unshare", "--net"]),
];

#[test]
fn faults_of_files_and_members_are_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().start();
    both_well(&c);
    each(&mut c, &FAULTS);
    both_well(&c);
}

#[test]
fn a_guard_that_is_none_is_found() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().guard("none").start();
    each(
        &mut c,
        &[Fault::new("guard", "problem", "lb1", |_| nothing())],
    );
}

/// Before the first start, and while nobody else runs, what can't be seen is unknown, and the rest
/// is well.
#[test]
fn before_the_first_start_what_cannot_be_seen_is_unknown() {
    if !may_look() {
        return;
    }
    let mut c = Setup::majority().patient().build();
    let found = doctor(&c, "lb0");
    assert_eq!(found.status, Some(3), "{found:#?}");
    assert!(
        found
            .lines
            .iter()
            .all(|line| line.starts_with("unknown path: ")),
        "{found:#?}"
    );
    // The others run, and send to it.
    c.start("lb1");
    c.start("witness");
    well(&c, "lb0");
    let taken = || UdpSocket::bind("10.77.0.10:6946").expect("it is free");
    let taken = c.host("lb0").call(taken).expect("it is on");
    let found = doctor(&c, "lb0");
    assert!(found.has("unknown", "port"), "{found:#?}");
    drop(taken);
    each(
        &mut c,
        &[
            Fault::new("time-namespace", "advice", "lb0", |_| nothing()).under(&[
                "unshare",
                "--time",
                "--boottime",
                "5",
                "--fork",
            ]),
            Fault::new("rejected", "problem", "lb0", |c| {
                c.file(
                    "other-secret",
                    "this is another secret, and as long as the first\n",
                );
                other_file(
                    c,
                    "lb0",
                    &[("secret_file = \"secret\"", "secret_file = \"other-secret\"")],
                )
            })
            .by("other"),
            Fault::new("config", "problem", "lb0", |c| {
                other_file(
                    c,
                    "lb0",
                    &[("failback_delay = \"0ms\"", "failback_delay = \"7ms\"")],
                )
            })
            .by("other"),
        ],
    );
    c.start("lb0");
    c.hold_on("lb0");
    both_well(&c);
}

/// An ordinary user is told what only root may see, and never that all is well.
#[test]
fn what_an_ordinary_user_may_not_see_is_unknown() {
    if !may_look() {
        return;
    }
    let c = Setup::majority().patient().start();
    c.ok("lb0", &["chmod", "644", "/run/lab/lb0.toml"]);
    let found = doctor_by(
        &c,
        "lb0",
        "lb0",
        &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ],
        &[],
    );
    assert_eq!(found.status, Some(3), "{found:#?}");
    for id in ["secret", "answers", "firewall", "asked-first"] {
        assert!(found.has("unknown", id), "{id}: {found:#?}");
    }
}

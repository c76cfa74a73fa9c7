//! The agent: the address follows the service, and nothing that is run beside the daemon costs it.

use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Setup, binaries, eventually, is_machine_root, not_run};
use rustix::process::Signal;
use serde_json::Value;

/// The two that can hold.
const BOTH: [&str; 2] = ["lb0", "lb1"];

/// A cluster to be, with these lines in the file of both candidates. Only the machine's root owns the
/// programs that are to be run.
fn with(lines: &str) -> Option<Cluster> {
    if !is_machine_root() {
        not_run("an agent runs nothing that belongs to another user than itself and root");
        return None;
    }
    let c = Setup::majority().patient().build();
    BOTH.iter().for_each(|name| add(&c, name, lines));
    Some(c)
}

fn add(c: &Cluster, name: &str, lines: &str) {
    c.edit(name, "[log]", &format!("{lines}\n[log]"));
}

/// The agent of a member.
fn agent(c: &Cluster, name: &str) -> Process {
    let binary = binaries::onehold().to_str().expect("a path");
    let file = format!("/run/lab/{name}.toml");
    let words = [binary, "agent", "--config", &file];
    c.spawn(name, &words, &format!("{name}-agent.log"))
}

/// Debian's nginx, whose pidfile is the host's own.
fn nginx(c: &Cluster, name: &str) -> Process {
    c.file(
        "nginx.conf",
        "user root; worker_processes 1; daemon off; pid /run/onehold/nginx.pid; error_log stderr; events {}\n\
         http { access_log off; client_body_temp_path /run/onehold/body; proxy_temp_path /run/onehold/proxy;\n\
         fastcgi_temp_path /run/onehold/fastcgi; uwsgi_temp_path /run/onehold/uwsgi; scgi_temp_path /run/onehold/scgi;\n\
         server { listen 80; location / { return 200 'all is well'; } } }\n",
    );
    let words = ["nginx", "-c", "/run/lab/nginx.conf"];
    c.spawn(name, &words, &format!("{name}-nginx.log"))
}

/// The first group, as a member shows it.
fn group(c: &Cluster, name: &str) -> Value {
    c.status(name)["groups"][0].take()
}

fn healthy(c: &Cluster, name: &str, wanted: bool) {
    eventually(
        &format!("{name} says that its service is healthy: {wanted}"),
        || (group(c, name)["healthy"] == wanted).then_some(()),
    );
}

fn says(c: &Cluster, name: &str, alarm: &str) {
    eventually(&format!("`{alarm}` among the alarms of {name}"), || {
        c.alarms(name).contains(alarm).then_some(())
    });
}

/// What the hooks of a host wrote.
fn written(c: &Cluster, name: &str) -> String {
    let output = c.run(name, &["cat", "/run/onehold/hooks"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const PROCESS: &str =
    "[groups.web.checks.nginx]\nprocess = \"/run/onehold/nginx.pid\"\nevery = \"200ms\"";
const HTTP: &str = "[groups.web.checks.page]\nhttp = \"http://127.0.0.1/\"\nexpect = \"all is well\"\nevery = \"200ms\"\n\
                    timeout = \"200ms\"";

#[test]
fn nginx_is_killed_on_the_holder_and_the_address_moves_and_returns() {
    let Some(mut c) = with(PROCESS) else { return };
    let mut servers: Vec<Process> = BOTH.iter().map(|name| nginx(&c, name)).collect();
    c.start_all();
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    BOTH.iter().for_each(|name| healthy(&c, name, true));
    c.hold_on("lb0");
    servers[0].signal(Signal::KILL).expect("it runs");
    c.hold_on("lb1");
    // Its workers are left, but nobody is there to look after them.
    let check = group(&c, "lb0")["checks"][0].take();
    assert_eq!(
        (&check["name"], &check["passing"]),
        (&"nginx".into(), &false.into())
    );
    let text = c.onehold("lb0", &["status"]);
    assert!(text.contains("check nginx: failing for"), "{text}");
    says(&c, "lb0", "can't hold here: check nginx fails: ");
    says(
        &c,
        "lb1",
        "lb0 is heard, but could not take over: check nginx fails: ",
    );
    let all = format!("kill -9 -{}", servers[0].id());
    c.ok("lb0", &["sh", "-c", &all]);
    servers[0] = nginx(&c, "lb0");
    healthy(&c, "lb0", true);
    c.hold_on("lb0");
    c.never_two();
}

#[test]
fn a_page_that_is_not_served_moves_the_address_and_the_standby_is_checked_as_well() {
    let Some(mut c) = with(HTTP) else { return };
    let mut servers: Vec<Process> = BOTH.iter().map(|name| nginx(&c, name)).collect();
    c.start_all();
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    BOTH.iter().for_each(|name| healthy(&c, name, true));
    c.hold_on("lb0");
    servers[1].signal(Signal::TERM).expect("it runs");
    healthy(&c, "lb1", false);
    says(
        &c,
        "lb0",
        "lb1 is heard, but could not take over: check page fails: can't connect to 127.0.0.1:80",
    );
    // Better a sick server than none, and no worse one than before.
    let mark = c.mark();
    servers[0].signal(Signal::TERM).expect("it runs");
    healthy(&c, "lb0", false);
    says(&c, "lb0", "check page fails: can't connect to 127.0.0.1:80");
    c.watch_for(1);
    c.has_not_moved(mark);
    servers[1] = nginx(&c, "lb1");
    c.hold_on("lb1");
    drop(servers);
}

#[test]
fn an_agent_that_is_killed_or_frozen_changes_nothing_and_is_an_alarm() {
    let Some(mut c) = with(PROCESS) else { return };
    let servers: Vec<Process> = BOTH.iter().map(|name| nginx(&c, name)).collect();
    c.start_all();
    BOTH.iter().for_each(|name| c.answers(name));
    says(&c, "lb0", "no agent has reported since this daemon started");
    let mut agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    BOTH.iter().for_each(|name| healthy(&c, name, true));
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    agents[0].signal(Signal::STOP).expect("it runs");
    agents[1].signal(Signal::KILL).expect("it runs");
    says(&c, "lb0", "it has said nothing for 5s");
    says(&c, "lb1", "the agent is gone (it hung up)");
    // Health is unknown now, and counts as it did.
    servers[0].signal(Signal::KILL).expect("it runs");
    c.watch_for(1);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), roles);
    agents[1] = agent(&c, "lb1");
    eventually("lb1 has no such alarm", || {
        (!c.alarms("lb1").contains("agent")).then_some(())
    });
    agents[0].signal(Signal::CONT).expect("it is there");
    c.hold_on("lb1"); // now it is known
}

#[test]
fn whatever_a_check_or_a_hook_does_costs_no_address() {
    let lines = "[groups.web.checks]\n\
        forks = { exec = [\"/bin/sh\", \"-c\", \"for i in 1 2 3 4 5 6 7 8; do (setsid sleep 999 &) ; sleep 999 & done\"], every = \"200ms\", timeout = \"150ms\" }\n\
        hangs = { exec = [\"/bin/sh\", \"-c\", \"trap '' TERM INT; while :; do sleep 1; done\"], every = \"200ms\", timeout = \"150ms\", fall = 100 }\n\
        shouts = { exec = [\"/usr/bin/yes\", \"a line that is said again and again\"], every = \"200ms\", timeout = \"150ms\", fall = 100 }\n\
        [groups.web.hooks]\n\
        holding = { exec = [\"/bin/sh\", \"-c\", \"trap '' TERM; echo here >>/run/onehold/hooks; while :; do sleep 1; done\"], deadline = \"2s\" }\n\
        released = { exec = [\"/bin/sleep\", \"999\"], deadline = \"60s\" }\n";
    let Some(mut c) = with(lines) else { return };
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    let mut agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    says(
        &c,
        "lb0",
        "the hook holding keeps failing, and is tried again: not done within 2s, and killed",
    );
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), roles);
    assert!(written(&c, "lb0").lines().count() >= 2);
    assert_eq!(written(&c, "lb1"), "");
    for agent in &mut agents {
        agent.signal(Signal::TERM).expect("it runs");
    }
    c.watch_for(1);
    for agent in &mut agents {
        agent.signal(Signal::TERM).expect("it is there"); // twice: `released` is not waited for
        agent.wait(onehold_tests::PATIENCE).expect("it ends");
    }
    for name in BOTH {
        let log = c.read(&format!("{name}-agent.log"));
        // A check that forks passes by its status; what it left is gone with it.
        assert!(log.contains("check forks passes"), "{log}");
        assert!(
            log.lines().count() < 200,
            "a flood of {} lines",
            log.lines().count()
        );
    }
    eventually("nothing that they started runs any more", || {
        let left = c.run("lb0", &["pgrep", "-x", "-f", "sleep 999"]);
        left.stdout.is_empty().then_some(())
    });
}

const HOOKS: &str = "[groups.web.hooks]\n\
    holding = { exec = [\"/bin/sh\", \"-c\", \"echo $ONEHOLD_STATE $ONEHOLD_MEMBER $ONEHOLD_ADDRESSES $ONEHOLD_INTERFACE $ONEHOLD_PEER >>/run/onehold/hooks\"], reconcile = \"3s\" }\n\
    released = { exec = [\"/bin/sh\", \"-c\", \"echo $ONEHOLD_STATE $ONEHOLD_ROLE >>/run/onehold/hooks\"] }\n\
    changed = { exec = [\"/bin/sh\", \"-c\", \"echo to $ONEHOLD_ROLE >>/run/onehold/hooks\"] }\n";

#[test]
fn hooks_follow_the_address_and_are_run_again() {
    let Some(mut c) = with(HOOKS) else { return };
    let has = |c: &Cluster, name: &str, line: &str, times: usize| {
        eventually(&format!("`{line}` {times} times on {name}"), || {
            let lines = written(c, name);
            (lines.lines().filter(|l| *l == line).count() >= times).then_some(())
        });
    };
    c.start_all();
    c.hold_on("lb0");
    let agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    has(&c, "lb0", "holding lb0 10.77.0.50 eth0 lb1", 1);
    has(&c, "lb1", "released standby", 1);
    has(&c, "lb0", "holding lb0 10.77.0.50 eth0 lb1", 2); // reconciled
    c.onehold("lb0", &["switch"]);
    has(&c, "lb1", "holding lb1 10.77.0.50 eth0 lb0", 1);
    has(&c, "lb0", "released standby", 1);
    has(&c, "lb0", "to standby", 1);
    has(&c, "lb1", "to holder", 1);
    // Unplanned: it could not be done when it should, and is done when it can.
    c.kill("lb1");
    c.hold_on("lb0");
    c.start("lb1");
    has(&c, "lb1", "released standby", 2);
    // Planned, and the daemon ends: the agent has seen it all the same.
    c.stop("lb0");
    has(&c, "lb0", "released standby", 2);
    drop(agents);
}

#[test]
fn holds_says_by_its_exit_status_whether_this_member_holds() {
    let mut c = Setup::majority().start();
    let said = c.onehold("lb0", &["holds", "web"]);
    assert!(said.starts_with("web: held here, with "), "{said}");
    let (status, said) = c.refused("lb1", &["holds", "web"]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("web: not held here (standby; lb0 holds it)"),
        "{said}"
    );
    let (status, said) = c.refused("lb1", &["holds", "db"]);
    assert_eq!(status, Some(2));
    assert!(
        said.contains("there is no group `db`; there are web"),
        "{said}"
    );
    c.stop("lb1");
    let (status, said) = c.refused("lb1", &["holds", "web"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("no daemon listens at"), "{said}");
}

#[test]
fn up_runs_both_and_starts_the_agent_again_but_not_the_daemon() {
    let Some(mut c) = with(HOOKS) else { return };
    let binary = binaries::onehold().to_str().expect("a path");
    c.start("witness");
    c.start("lb1");
    let words = [binary, "up", "--config", "/run/lab/lb0.toml", "--as", "lb0"];
    c.start_by("lb0", &words);
    c.hold_on("lb0");
    eventually("its hooks", || {
        written(&c, "lb0").contains("holding lb0").then_some(())
    });
    let child = |what: &str| -> String {
        let pattern = format!("^{binary} {what} .*/run/lab/lb0.toml");
        let found = c.run(
            "lb0",
            &[
                "pgrep",
                "-f",
                &pattern,
                "-P",
                &c.id("lb0").expect("it runs").to_string(),
            ],
        );
        String::from_utf8_lossy(&found.stdout).trim().to_owned()
    };
    let first = child("agent");
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    c.ok("lb0", &["kill", "-9", &first]);
    eventually("another agent", || {
        let now = child("agent");
        (!now.is_empty() && now != first).then_some(())
    });
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
    let before = written(&c, "lb0").matches("released standby").count();
    c.stop("lb0"); // with status 0, and the agent has seen it
    assert!(written(&c, "lb0").matches("released standby").count() > before);
    c.hold_on("lb1");
}

#[test]
fn what_a_host_cannot_run_is_said_by_check_and_by_the_agent_and_fails() {
    let Some(mut c) = with(
        "[groups.web.checks.ours]\nexec = [\"/run/lab/probe\"]\nevery = \"200ms\"\ntimeout = \"200ms\"",
    ) else {
        return;
    };
    let check = ["check", "--for", "lb0", "/run/lab/lb0.toml"];
    let binary = binaries::onehold().to_str().expect("a path");
    let says_of_it = |c: &Cluster, said: &str| {
        let output = c.run("lb0", &[&[binary][..], &check].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        let line = text
            .lines()
            .find(|line| line.contains("groups.web.checks.ours.exec"));
        assert!(
            line.is_some_and(|line| line.contains(said) && line.contains("lb0.toml:")),
            "{text}"
        );
    };
    says_of_it(&c, "is not there; install it");
    c.file("probe", "#!/bin/sh\nexit 0\n");
    says_of_it(&c, "is not executable; `chmod +x /run/lab/probe`");
    c.ok("lb0", &["chmod", "757", "/run/lab/probe"]);
    says_of_it(&c, "others than its owner can write");
    c.start_all();
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    says(&c, "lb0", "others than its owner can write");
    let log = c.read("lb0-agent.log");
    assert!(log.contains("lb0.toml:"), "{log}");
    c.ok("lb0", &["chmod", "755", "/run/lab/probe"]);
    healthy(&c, "lb0", true);
}

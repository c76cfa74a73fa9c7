//! The agent: the address follows the service, and nothing that is run beside the daemon costs it.

use onehold_sim::netns::Process;
use onehold_tests::{
    Begin as _, Cluster, PATIENCE, Setup, binaries, eventually, is_machine_root, not_run,
};
use rustix::process::Signal;
use serde_json::Value;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// The two that can hold.
const BOTH: [&str; 2] = ["lb0", "lb1"];

/// A cluster to be, with these lines in the file of both candidates. Only the machine's root owns
/// the programs that are to be run.
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
    c.answers(name);
    eventually(
        &format!("{name} says that its service is healthy: {wanted}"),
        || (group(c, name)["healthy"] == wanted).then_some(()),
    );
}

fn says(c: &Cluster, name: &str, alarm: &str) {
    c.answers(name);
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
    says(&c, "lb0", "no agent has reported since this daemon started");
    let mut agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    BOTH.iter().for_each(|name| healthy(&c, name, true));
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    agents[0].signal(Signal::STOP).expect("it runs");
    agents[1].signal(Signal::KILL).expect("it runs");
    says(&c, "lb0", "the agent (process ");
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
fn a_reload_that_the_agent_refuses_is_an_alarm_until_one_is_accepted() {
    let check = "[groups.web.checks]\nthere = { file = \"/run/lab/secret\" }\n";
    let Some(mut c) = with(check) else { return };
    c.start_all();
    let agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    BOTH.iter().for_each(|name| healthy(&c, name, true));
    let reloads = || agents[0].signal(Signal::HUP).expect("it runs");
    c.edit("lb0", "there = { file", "there = { fill");
    reloads();
    says(
        &c,
        "lb0",
        "the agent's reload was refused, and its checks and hooks stay as they were: /run/lab/lb0.toml:",
    );
    healthy(&c, "lb0", true);
    c.edit("lb0", "there = { fill", "there = { file");
    reloads();
    eventually("it is over", || (c.alarms("lb0") == "[]").then_some(()));
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
    // One after the other: nothing is known of the service of either, so the first one stays.
    c.start("witness");
    c.start("lb0");
    c.hold_on("lb0");
    c.start("lb1");
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
        agent.wait(PATIENCE).expect("it ends");
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

/// Waits until a member has taken hold and does not answer yet.
fn opens(c: &Cluster, name: &str) {
    says(c, name, "web: held here, mute for ");
    assert!(c.has(name, "10.77.0.50"), "it is there, and mute");
    c.held_by_nobody();
}

/// `before_hold` takes a while, in which the address is there and mute.
#[test]
fn the_gate_opens_when_before_hold_is_done_or_at_its_deadline() {
    let wait = "[groups.web.hooks]\nbefore_hold = { exec = [\"/bin/sh\", \"-c\", \"while [ -e /run/onehold/wait ]; do sleep 0.1; done; \
                echo $ONEHOLD_STATE >>/run/onehold/hooks\"], deadline = \"8s\", failing = \"open\" }\n\
                holding = { exec = [\"/bin/sh\", \"-c\", \"echo $ONEHOLD_STATE >>/run/onehold/hooks\"] }\n";
    let Some(mut c) = with(wait) else { return };
    BOTH.iter()
        .for_each(|name| drop(c.ok(name, &["touch", "/run/onehold/wait"])));
    let agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    // One after the other: of two that start together either may hold first.
    c.start("witness");
    c.start("lb0");
    opens(&c, "lb0");
    let (status, said) = c.refused("lb0", &["holds", "web"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("opening"), "{said}");
    c.ok("lb0", &["rm", "/run/onehold/wait"]);
    c.hold_on("lb0");
    eventually("its hooks", || {
        (written(&c, "lb0") == "preparing\nholding\n").then_some(())
    });
    assert!(!c.alarms("lb0").contains("before_hold"));
    c.start("lb1");
    // On the other member it hangs: at its deadline the file decides, and it is not forgotten.
    c.kill("lb0");
    opens(&c, "lb1");
    c.hold_on("lb1");
    says(
        &c,
        "lb1",
        "web: before_hold was not done when it was last waited for: it is not done after 8s",
    );
    eventually("its hooks", || {
        (written(&c, "lb1") == "holding\n").then_some(())
    });
    let text = c.onehold("lb1", &["status"]);
    assert!(text.contains("hook before_hold: failed"), "{text}");
    drop(agents);
}

/// The other candidate may try, and this one says why it did not.
#[test]
fn where_before_hold_fails_the_other_candidate_gets_the_address_if_the_file_says_release() {
    let fails = "[groups.web.hooks]\nbefore_hold = { exec = [\"/usr/bin/test\", \"-e\", \"/run/onehold/ready\"], \
                 deadline = \"5s\", failing = \"release\" }\n";
    let Some(mut c) = with(fails) else { return };
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    c.ok("lb1", &["touch", "/run/onehold/ready"]);
    c.start_all();
    c.hold_on("lb1");
    says(&c, "lb0", "web: before_hold was not done");
    says(&c, "lb0", "exit status 1");
    let (mark, held) = (c.mark(), written(&c, "lb0"));
    c.watch_for(1);
    c.has_not_moved(mark);
    assert_eq!(held, "");
    c.never_two();
}

/// An OCF resource agent as they are written, found where they are.
#[test]
fn an_ocf_agent_is_started_where_the_address_is_and_stopped_where_it_is_not() {
    let Some(mut c) = with(
        "[groups.web.hooks]\nholding = { ocf = \"test:mover\", parameters = { state = \"/run/onehold/moved\" }, reconcile = \"1s\" }",
    ) else {
        return;
    };
    c.file(
        "mover",
        "#!/bin/sh\ncase $1 in\nmeta-data) cat <<END\n<resource-agent name=\"mover\"><parameters>\n\
         <parameter name=\"state\" required=\"1\"/></parameters><actions><action name=\"start\" timeout=\"20s\"/>\n\
         <action name=\"stop\" timeout=\"20s\"/><action name=\"monitor\" timeout=\"20s\"/></actions></resource-agent>\nEND\n;;\n\
         start) echo \"$OCF_RESOURCE_INSTANCE $OCF_RESKEY_state\" >$OCF_RESKEY_state ;;\nstop) rm -f $OCF_RESKEY_state ;;\n\
         monitor) [ -e $OCF_RESKEY_state ] || exit 7 ;;\n*) exit 3 ;;\nesac\n",
    );
    // Under /usr/lib of this host alone.
    let place = "set -e; mkdir -p /run/onehold/lib/ocf/resource.d/test; \
                 cp /run/lab/mover /run/onehold/lib/ocf/resource.d/test/mover; \
                 chmod -R 755 /run/onehold/lib; mount -t overlay -o lowerdir=/run/onehold/lib:/usr/lib overlay /usr/lib";
    BOTH.iter()
        .for_each(|name| drop(c.ok(name, &["sh", "-c", place])));
    c.start_all();
    c.hold_on("lb0");
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    let moved = |c: &Cluster, name: &str, wanted: bool| {
        eventually(&format!("the mover of {name} has moved: {wanted}"), || {
            let there = c.run(name, &["cat", "/run/onehold/moved"]);
            let text = String::from_utf8_lossy(&there.stdout).into_owned();
            let is = text == "lab_web /run/onehold/moved\n";
            (is == wanted).then_some(())
        });
    };
    moved(&c, "lb0", true);
    moved(&c, "lb1", false);
    c.ok("lb0", &["rm", "/run/onehold/moved"]);
    moved(&c, "lb0", true); // reconciled
    c.onehold("lb0", &["switch"]);
    moved(&c, "lb1", true);
    moved(&c, "lb0", false);
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

/// What `up`'s agent ran when it was killed is over before another agent runs anything.
#[test]
fn up_ends_what_a_killed_agent_ran_before_it_starts_another() {
    let slow = "[groups.web.hooks]\nholding = { exec = [\"/bin/sh\", \"-c\", \
                \"echo begins >>/run/onehold/hooks; sleep 999 & wait; echo ends >>/run/onehold/hooks\"], deadline = \"600s\" }\n";
    let Some(mut c) = with(slow) else { return };
    let binary = binaries::onehold().to_str().expect("a path");
    c.start("witness");
    c.start("lb1");
    let words = [binary, "up", "--config", "/run/lab/lb0.toml", "--as", "lb0"];
    c.start_by("lb0", &words);
    let up = c.id("lb0").expect("it runs").to_string();
    // Hosts share the process table: only what is below this one counts.
    let runs = |c: &Cluster| -> String {
        let below = format!(
            "for a in $(pgrep -P {up}); do for b in $(pgrep -P $a; echo $a); do \
             pgrep -P $b -x -f 'sleep 999'; done; done | sort -u | tr '\\n' ' '"
        );
        c.ok("lb0", &["sh", "-c", &below]).trim().to_owned()
    };
    let begun = |c: &Cluster, times: usize| {
        eventually(&format!("it is run {times} times"), || {
            let all = written(c, "lb0").lines().count() == times;
            (all && !runs(c).is_empty()).then(|| runs(c))
        })
    };
    let first = begun(&c, 1);
    let kill = format!("kill -9 $(pgrep -f '^{binary} agent .*lb0.toml' -P {up})");
    c.ok("lb0", &["sh", "-c", &kill]);
    let second = begun(&c, 2);
    assert_ne!(first, second);
    assert_eq!(second.split(' ').count(), 1, "both run: {second}");
    let alive = c.run("lb0", &["kill", "-0", &first]);
    assert!(!alive.status.success(), "{first} still runs");
    c.stop("lb0");
}

/// A process that may be an agent, and says as much as it can.
#[test]
fn an_agent_that_says_too_much_costs_no_lease_and_no_log() {
    let Some(mut c) = with(HOOKS) else { return };
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles, before) = (c.mark(), c.role_changes(), c.log("lb0").len());
    let id = c.id("lb0").expect("it runs");
    let socket = format!("/proc/{id}/root/run/onehold/control.sock");
    let line = |mark: char, failures: u32| {
        let hook = |n: u32| {
            let name = ["holding", "released", "changed", "other"][n as usize % 4];
            format!(
                "{{\"name\":\"{name}\",\"failures\":{failures},\"since_ms\":0,\"said\":\"{mark}{n}\"}}"
            )
        };
        let hooks: Vec<String> = (0..72).map(hook).collect();
        let group = format!(
            "{{\"cluster\":\"lab\",\"group\":\"web\",\"healthy\":null,\"hooks\":[{}]}}",
            hooks.join(",")
        );
        format!("{{\"health\":[{}]}}\n", vec![group; 50].join(","))
    };
    let lines = [line('a', 2), line('b', 0), line('c', 3), line('d', 0)];
    assert!(lines[0].len() > 150_000 && lines[0].len() < 256 * 1024);
    let end = Instant::now() + Duration::from_secs(5);
    let mut sent = 0;
    while Instant::now() < end {
        let Ok(mut agent) = std::os::unix::net::UnixStream::connect(&socket) else {
            continue;
        };
        let _ = agent.write_all(b"{\"request\":\"agent\",\"version\":1}\n");
        for line in lines.iter().cycle().take(40) {
            if agent.write_all(line.as_bytes()).is_err() {
                break;
            }
            sent += 1;
        }
    }
    assert!(sent > 40, "{sent} lines were sent");
    c.has_not_moved(mark);
    assert_eq!(c.role_changes(), roles);
    let log = c.log("lb0");
    let raised = log[before..].matches("keeps failing").count();
    // Raised and over, once a second.
    assert!(raised < 20, "{sent} lines of an agent made {raised} of log");
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
        let words: Vec<&str> = text.split_whitespace().collect();
        let wanted = format!("groups.web.checks.ours.exec: `/run/lab/probe`{said}");
        assert!(
            words.join(" ").contains(&wanted) && text.contains("lb0.toml:"),
            "{text}"
        );
    };
    says_of_it(&c, " is not there; install it");
    c.file("probe", "#!/bin/sh\nexit 0\n");
    says_of_it(&c, " is not executable; `chmod +x /run/lab/probe`");
    c.ok("lb0", &["chmod", "757", "/run/lab/probe"]);
    says_of_it(&c, ": others than its owner can write");
    c.start_all();
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    says(&c, "lb0", "others than its owner can write");
    let log = c.read("lb0-agent.log");
    assert!(log.contains("lb0.toml:"), "{log}");
    c.ok("lb0", &["chmod", "755", "/run/lab/probe"]);
    healthy(&c, "lb0", true);
}

/// Not how soon it must be: what it is.
#[test]
#[ignore = "a measurement: asserts nothing"]
fn how_soon_the_other_machine_answers_when_the_service_dies() {
    if !is_machine_root() {
        return;
    }
    let http = "[groups.web.checks.page]\nhttp = \"http://127.0.0.1/\"";
    for (kind, lines) in [("process", PROCESS), ("http, every 1s, fall 2", http)] {
        let mut c = Setup::majority().build();
        BOTH.iter().for_each(|name| add(&c, name, lines));
        let mut servers: Vec<Process> = BOTH.iter().map(|name| nginx(&c, name)).collect();
        c.start_all();
        let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
        let mut all = Vec::new();
        for _ in 0..8 {
            BOTH.iter().for_each(|name| healthy(&c, name, true));
            c.hold_on("lb0");
            let kill = format!("kill -9 -{}", servers[0].id());
            let from = Instant::now();
            c.ok("lb0", &["sh", "-c", &kill]);
            while c.holders("web") != ["lb1"] && from.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            all.push(from.elapsed().as_millis());
            servers[0] = nginx(&c, "lb0");
        }
        all.sort_unstable();
        println!("{kind}: {all:?} ms");
    }
}

/// With the default timing, on a machine that does nothing else.
#[test]
#[ignore = "a measurement of a minute: asserts nothing"]
fn what_a_hook_that_hangs_for_a_minute_costs_the_holder() {
    if !is_machine_root() {
        return;
    }
    let lines = "[groups.web.checks]\n\
        hangs = { exec = [\"/bin/sh\", \"-c\", \"trap '' TERM INT; while :; do sleep 1; done\"], fall = 100, before_first = \"passing\" }\n\
        [groups.web.hooks]\n\
        holding = { exec = [\"/bin/sh\", \"-c\", \"trap '' TERM; while :; do :; done\"], deadline = \"60s\" }\n";
    let mut c = Setup::majority().build();
    BOTH.iter().for_each(|name| add(&c, name, lines));
    let _agents: Vec<Process> = BOTH.iter().map(|name| agent(&c, name)).collect();
    c.start_all();
    c.hold_on("lb0");
    let accepted = |c: &Cluster| c.status("lb1")["counters"]["accepted"].as_u64();
    let (roles, first, from) = (c.role_changes(), accepted(&c), Instant::now());
    let mut longest = 0.0_f64;
    while from.elapsed() < Duration::from_secs(62) {
        let heard = c.status("lb1")["peers"][0]["heard_ms_ago"].as_f64();
        longest = longest.max(heard.unwrap_or(f64::INFINITY));
        std::thread::sleep(Duration::from_millis(20));
    }
    let adverts = accepted(&c).zip(first).map(|(now, first)| now - first);
    println!(
        "role changes {roles:?} before, {:?} after; lb1 accepted {adverts:?} adverts in {:?}, and {longest} ms was \
         the longest that it had not heard of lb0",
        c.role_changes(),
        from.elapsed()
    );
    println!("{}", c.alarms("lb0"));
}

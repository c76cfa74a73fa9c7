//! A provider's table beside real daemons and their agents, which run the shipped mover, on hosts of the lab.

use crate::fake::Fake;
use crate::hetzner::{self, Hetzner};
use crate::hook::{TOKEN, need};
use crate::movers;
use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, PATIENCE, Setup, binaries};
use std::net::TcpListener;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The floating IP of the cluster's group, and its number.
const FLOATING: (u64, &str) = (4, "10.77.0.50");

/// Gives a host the provider, the movers, and a hook that says which server it is.
fn furnish(c: &Cluster, provider: &Fake<Hetzner>, host: &str, server: u64) {
    let bound = c.host(host).call(|| TcpListener::bind("127.0.0.1:8080"));
    provider.listen(bound.expect("it is on").expect("a port"));
    let place = format!(
        "set -e; mount -t tmpfs -o mode=755 movers /usr/local/sbin; mkdir /usr/local/sbin/movers; \
         install -m 755 {}/* /usr/local/sbin/movers; ln -s {} /usr/local/sbin/onehold",
        movers().display(),
        binaries::onehold().display()
    );
    c.ok(host, &["sh", "-c", &place]);
    let hook = format!(
        "[groups.web.hooks]\nholding = {{ exec = [\"/usr/local/sbin/movers/hetzner-floating-ip\", \
         \"--api\", \"http://127.0.0.1:8080\", \"--server\", \"{server}\", \
         \"--token-file\", \"/run/lab/provider-token\"], deadline = \"30s\", reconcile = \"2s\" }}\n[log]"
    );
    c.edit(host, "[log]", &hook);
}

fn agent(c: &Cluster, host: &str) -> Process {
    let binary = binaries::onehold().to_str().expect("a path");
    let file = format!("/run/lab/{host}.toml");
    let words = [binary, "agent", "--config", &file];
    c.spawn(host, &words, &format!("{host}-agent.log"))
}

/// Waits until the table names that server.
#[track_caller]
fn names(c: &Cluster, provider: &Fake<Hetzner>, server: u64) {
    let until = Instant::now() + PATIENCE;
    while provider.table(|h| h.floating[&FLOATING.0].2) != Some(server) {
        if Instant::now() > until {
            let logs = ["lb0", "lb1"].map(|host| c.read(&format!("{host}-agent.log")));
            let changes = provider.changes();
            panic!(
                "the table never named {server}: {changes:#?}\n{}",
                logs.join("---\n")
            );
        }
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_table_follows_the_holder_through_kills_pauses_and_cuts() {
    for (program, package) in [("curl", "curl"), ("jq", "jq")] {
        need(program, package);
    }
    let (provider, mut c) = (hetzner::start(), Setup::majority().patient().build());
    provider.table(|h| h.floating.insert(FLOATING.0, (FLOATING.1, "ipv4", None)));
    c.file("provider-token", TOKEN);
    furnish(&c, &provider, "lb0", 42);
    furnish(&c, &provider, "lb1", 43);
    c.start_all();
    let _agents = ["lb0", "lb1"].map(|host| agent(&c, host));
    c.hold_on("lb0");
    names(&c, &provider, 42);

    c.kill("lb0");
    c.hold_on("lb1");
    names(&c, &provider, 43);
    c.start("lb0");
    c.hold_on("lb0");
    names(&c, &provider, 42);

    c.pause("lb0");
    c.hold_on("lb1");
    names(&c, &provider, 43);
    c.resume("lb0");
    c.hold_on("lb0");
    names(&c, &provider, 42);

    c.lan().isolate("lb0").expect("a cut");
    c.hold_on("lb1");
    names(&c, &provider, 43);
    c.heal();
    c.hold_on("lb0");
    names(&c, &provider, 42);

    // As a call that comes late: nobody has told the holder, and it finds out.
    provider.table(|h| {
        h.floating
            .insert(FLOATING.0, (FLOATING.1, "ipv4", Some(43)))
    });
    names(&c, &provider, 42);
    c.never_two();
}

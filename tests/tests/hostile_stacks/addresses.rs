//! Others that give and take addresses: DHCP clients, and another high-availability daemon.

use super::{alarmed, all_well, bare, gets, nothing_moved};
use onehold_sim::netns::Process;
use onehold_tests::{Cluster, Debian, eventually};

/// A DHCP server for lb0, on a host that is no member.
fn server(c: &Cluster) -> Option<Process> {
    let d = Debian::on(c, "stranger")?;
    let mac = c
        .host("lb0")
        .mac(0)
        .map(|byte| format!("{byte:02x}"))
        .join(":");
    let host = format!("--dhcp-host={mac},10.77.0.10,120");
    let words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--interface=eth0",
        "--dhcp-range=10.77.0.10,static,255.255.0.0",
        "--dhcp-authoritative",
        "--no-ping",
        "--dhcp-leasefile=/tmp/leases",
        &host,
    ];
    Some(d.spawn(c, &words, "dnsmasq.log"))
}

/// Their scripts flush the interface, and a floating address goes with the rest.
#[test]
fn a_dhcp_client_s_script_takes_the_address_away_and_it_comes_back() {
    for client in [
        &["dhclient", "-d", "-1", "eth0"][..],
        &[
            "busybox",
            "udhcpc",
            "-f",
            "-i",
            "eth0",
            "-s",
            "/etc/udhcpc/default.script",
        ],
    ] {
        let mut c = Cluster::survivor().patient().build();
        let Some(_server) = server(&c) else {
            return;
        };
        let Some(d) = Debian::on(&c, "lb0") else {
            return;
        };
        bare(&c, "lb0");
        let first = d.spawn(&c, client, "dhcp.log");
        gets(&c, "lb0", "10.77.0.10");
        c.start_all();
        c.hold_on("lb0");
        let (mark, roles) = (c.mark(), c.role_changes());
        // Another one begins while the first one's address is there.
        drop(first);
        let _second = d.spawn(&c, client, "dhcp.log");
        c.watch_for(6);
        gets(&c, "lb0", "10.77.0.50");
        gets(&c, "lb0", "10.77.0.10");
        nothing_moved(&c, mark, &roles);
        all_well(&c, "lb0");
    }
}

/// keepalived takes hold of the same address on the standby and announces it; and on the holder takes
/// it away when it ends.
#[test]
fn keepalived_with_the_same_address_gets_no_word_out_of_the_standby() {
    let mut c = Cluster::survivor().patient().build();
    let hosts = ["lb0", "lb1"].map(|host| Debian::on(&c, host));
    let [Some(lb0), Some(lb1)] = hosts else {
        return;
    };
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    let config = "vrrp_instance web {\ninterface eth0\nvirtual_router_id 51\nstate MASTER\npriority 100\n\
                  advert_int 1\nvirtual_ipaddress {\n10.77.0.50/32 dev eth0\n}\n}\n";
    let start = |d: Debian, log: &str| {
        d.file(&c, "/etc/keepalived/keepalived.conf", config);
        d.spawn(&c, &["keepalived", "--dont-fork", "--log-console"], log)
    };
    let on_standby = start(lb1, "keepalived-lb1.log");
    gets(&c, "lb1", "10.77.0.50");
    alarmed(
        &c,
        "lb1",
        "10.77.0.50/32 is on eth0 of this host though onehold did not put it there",
    );
    c.watch_for(2);
    nothing_moved(&c, mark, &roles);
    on_standby
        .signal(rustix::process::Signal::TERM)
        .expect("it can be told");
    let on_holder = start(lb0, "keepalived-lb0.log");
    c.watch_for(6);
    on_holder
        .signal(rustix::process::Signal::TERM)
        .expect("it can be told");
    eventually("no address on the standby", || {
        (!c.has("lb1", "10.77.0.50")).then_some(())
    });
    c.watch_for(1);
    gets(&c, "lb0", "10.77.0.50");
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");
    all_well(&c, "lb1");
}

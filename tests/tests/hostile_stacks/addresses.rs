//! Others that give and take addresses: DHCP clients, and another high-availability daemon.

use super::{alarmed, all_well, bare, gets, nothing_moved, put_back, server};
use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Debian, Setup, eventually};

/// lb0's own address comes from a DHCP client.
fn leased(client: &[&str]) -> Option<(Cluster, Debian, [Process; 2])> {
    let mut c = Setup::survivor().patient().build();
    let server = server(&c)?;
    let d = Debian::on(&c, "lb0")?;
    bare(&c, "lb0");
    let client = d.spawn(&c, client, "dhcp.log");
    gets(&c, "lb0", "10.77.0.10");
    c.start_all();
    c.hold_on("lb0");
    Some((c, d, [server, client]))
}

#[test]
fn a_lease_that_dhclient_gives_back_moves_the_address_and_one_that_it_renews_does_not() {
    let client = ["dhclient", "-d", "-1", "eth0"];
    let Some((c, d, [_server, first])) = leased(&client) else {
        return;
    };
    let (mark, roles) = (c.mark(), c.role_changes());
    drop(first);
    let second = d.spawn(&c, &client, "dhcp.log"); // asks for the same again
    c.watch_for(3);
    nothing_moved(&c, mark, &roles);
    drop(second);
    d.ok(&c, &["dhclient", "-r", "eth0"]);
    c.hold_on("lb1");
    alarmed(&c, "lb0", "none of this member's own addresses");
    let _third = d.spawn(&c, &client, "dhcp.log");
    c.hold_on("lb0");
    all_well(&c, "lb0");
}

/// It begins with an empty interface: its script flushes the floating address, too.
#[test]
fn an_interface_that_udhcpc_empties_gets_its_floating_address_again() {
    let client = [
        "busybox",
        "udhcpc",
        "-f",
        "-i",
        "eth0",
        "-s",
        "/etc/udhcpc/default.script",
    ];
    let Some((c, d, [_server, first])) = leased(&client) else {
        return;
    };
    let (mark, roles) = (c.mark(), c.role_changes());
    drop(first);
    let _second = d.spawn(&c, &client, "dhcp.log");
    put_back(&c, "10.77.0.50");
    c.watch_for(3);
    gets(&c, "lb0", "10.77.0.10");
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");
}

/// `ifdown` takes the link down, and everything with it.
#[test]
fn an_interface_that_ifupdown_takes_down_and_up_is_given_up_and_taken_again() {
    let mut c = Setup::survivor().patient().build();
    let Some(d) = Debian::on(&c, "lb0") else {
        return;
    };
    let text = "auto eth0\niface eth0 inet static\naddress 10.77.0.10/16\n";
    d.file(&c, "/etc/network/interfaces", text);
    bare(&c, "lb0");
    d.ok(&c, &["mkdir", "-p", "/run/network"]);
    d.ok(&c, &["ifup", "--force", "eth0"]);
    gets(&c, "lb0", "10.77.0.10");
    c.start_all();
    c.hold_on("lb0");
    d.ok(&c, &["ifdown", "eth0"]);
    c.hold_on("lb1");
    d.ok(&c, &["ifup", "eth0"]);
    c.hold_on("lb0");
    all_well(&c, "lb0");
    all_well(&c, "lb1");
}

/// keepalived takes hold of the same address on the standby and announces it; and on the holder
/// takes it away when it ends.
#[test]
fn keepalived_with_the_same_address_gets_no_word_out_of_the_standby() {
    let mut c = Setup::survivor().patient().build();
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
    put_back(&c, "10.77.0.50");
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");
    all_well(&c, "lb1");
}

//! systemd-networkd, which manages every address on its interfaces.

use super::{alarmed, all_well, bare, gets, nothing_moved, put_back, server};
use onehold_sim::netns::Process;
use onehold_tests::{Begin as _, Cluster, Debian, Setup, eventually};
use rustix::process::Signal;

/// A host's network, given over to it.
fn networkd(d: Debian, c: &Cluster, config: &str) -> Process {
    let text = format!("[Match]\nName=eth0\n[Network]\nIPv6AcceptRA=no\n{config}");
    d.file(c, "/etc/systemd/network/10-eth0.network", &text);
    d.spawn(c, &["/lib/systemd/systemd-networkd"], "networkd.log")
}

const STATIC: &str = "Address=10.77.0.10/16\nAddress=fd77::1a/64\n";

#[test]
fn what_networkd_configures_again_moves_nothing() {
    let mut c = Setup::survivor().patient().also("fd77::50/64").build();
    let Some(d) = Debian::on(&c, "lb0") else {
        return;
    };
    let _bus = d.bus(&c);
    bare(&c, "lb0");
    let networkd = networkd(d, &c, STATIC);
    gets(&c, "lb0", "10.77.0.10");
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    d.ok(&c, &["networkctl", "reload"]);
    for _ in 0..4 {
        d.ok(&c, &["networkctl", "reconfigure", "eth0"]);
        c.watch_for(1);
    }
    drop(networkd);
    let _networkd = self::networkd(d, &c, STATIC);
    c.watch_for(1);
    // What comes with the next renewal, before anybody notices that it is gone, is not in the log.
    eventually("what it removes is seen", || {
        let seen = c.log("lb0").contains("somebody removed 10.77.0.50");
        if !seen {
            d.ok(&c, &["networkctl", "reconfigure", "eth0"]);
            c.watch_for(1);
        }
        seen.then_some(())
    });
    put_back(&c, "10.77.0.50");
    eventually("both are there", || c.has("lb0", "fd77::50").then_some(()));
    nothing_moved(&c, mark, &roles);
    all_well(&c, "lb0");
}

/// Without `KeepConfiguration=dhcp-on-stop` it takes its own address along, and a member that can't
/// be reached lets go.
#[test]
fn a_lease_of_networkd_s_that_ends_with_it_moves_the_address_and_comes_back() {
    let mut c = Setup::survivor().patient().build();
    let Some(_server) = server(&c) else {
        return;
    };
    let Some(d) = Debian::on(&c, "lb0") else {
        return;
    };
    let _bus = d.bus(&c);
    bare(&c, "lb0");
    let first = networkd(d, &c, "DHCP=ipv4\n");
    gets(&c, "lb0", "10.77.0.10");
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes());
    d.ok(&c, &["networkctl", "renew", "eth0"]);
    c.watch_for(2);
    nothing_moved(&c, mark, &roles);
    first.signal(Signal::TERM).expect("it can be told");
    c.hold_on("lb1");
    alarmed(&c, "lb0", "none of this member's own addresses");
    let _second = networkd(d, &c, "DHCP=ipv4\n");
    c.hold_on("lb0");
    all_well(&c, "lb0");
    all_well(&c, "lb1");
}

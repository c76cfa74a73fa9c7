//! Networks as other people have them: neighbours that answer nobody, frames that pass one way only,
//! strangers.

use onehold_tests::Cluster;
use std::fmt::Write as _;

/// Addresses on the network of the first path that nobody has: packets there wait for an answer to ARP.
fn nobody(n: u8) -> String {
    format!("10.77.9.{n}")
}

/// What follows belongs at the end of every member's file.
fn all_say(c: &Cluster, text: &str) {
    for member in c.members() {
        c.edit(member, "[log]", &format!("{text}[log]"));
    }
}

#[test]
fn forty_clusters_of_dead_members_cost_a_witness_no_healthy_one() {
    let mut c = Cluster::majority().patient().build();
    let own = c.read("lb0.toml");
    let own = own.split("[log]").next().unwrap();
    let own = own.replace("[cluster]\nname = \"test\"", "[clusters.test]");
    let own = own.replace("[members.", "[clusters.test.members.");
    let own = own.replace("[groups.", "[clusters.test.groups.");
    let mut file = own.replace("[timing]", "[clusters.test.timing]");
    for n in 0..40 {
        let (a, b) = (nobody(2 * n), nobody(2 * n + 1));
        let cluster = format!("clusters.dead{n}");
        write!(
            file,
            "[{cluster}]\nsecret_file = \"secret\"\n\
             [{cluster}.members]\na.addresses = [\"{a}\"]\nb.addresses = [\"{b}\"]\n\
             witness = {{ addresses = [\"10.77.0.12\"], witness = true }}\n\
             [{cluster}.groups]\nweb = {{ addresses = [\"10.77.8.{n}/16\"], interface = \"eth0\", preferred = \"a\" }}\n"
        )
        .unwrap();
    }
    c.file("witness.toml", &file);
    c.start_all();
    c.hold_on("lb0");
    c.kill("lb1"); // from here on all depends on the witness
    c.watch_for(1);
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    c.watch_for(10);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
}

#[test]
fn two_dead_members_of_five_cost_the_address_nothing() {
    let mut c = Cluster::majority().build();
    let (a, b) = (nobody(1), nobody(2));
    all_say(
        &c,
        &format!(
            "[members.dead0]\naddresses = [\"{a}\"]\nwitness = true\n\
             [members.dead1]\naddresses = [\"{b}\"]\nwitness = true\n\
             [timing]\ninterval = \"10ms\"\nlease = \"1s\"\n"
        ),
    );
    c.start_all();
    c.hold_on("lb0");
    let (mark, roles) = (c.mark(), c.role_changes_of("lb0"));
    c.watch_for(10);
    c.has_not_moved(mark);
    assert_eq!(c.role_changes_of("lb0"), roles);
}

/// How long a neighbour's entry lasts without an answer, and what follows from its end.
const AGED: u64 = 60;

#[test]
fn a_cut_of_frames_in_one_direction_stays_one_of_one_direction() {
    let mut c = Cluster::survivor().start();
    c.lan().cut_one_way("lb0", "lb1").unwrap();
    c.hold_on("lb1");
    c.watch_for(AGED);
    c.hold_on("lb1"); // and never two
    c.heal();
    c.hold_on("lb0");
}

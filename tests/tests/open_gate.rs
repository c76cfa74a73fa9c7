//! Break glass: every daemon is gone, and its gate is not.

use onehold_tests::{Begin as _, Cluster, Setup, eventually, is_machine_root, not_run};
use std::net::IpAddr;

const ADDRESS: &str = "10.77.0.50";
const WORDS: [&str; 4] = ["open-gate", "--config", "/run/lab/lb0.toml", "--yes"];

/// Whether somebody else gets an answer from the address.
fn answers(c: &Cluster) -> bool {
    c.run("client", &["ping", "-c", "1", "-W", "1", ADDRESS])
        .status
        .success()
}

/// The stand-in file of `docs/src/break-glass.md`, for this cluster.
fn stand_in() -> String {
    let page = include_str!("../../docs/src/break-glass.md");
    let file = page.split("```toml\n").nth(1).expect("a file in it");
    let file = file.split("```").next().expect("its end");
    let file = file.replace("name = \"web\"", "name = \"lab\"");
    file.replace("10.0.0.50/24", "10.77.0.50/16")
}

fn opens_by_hand(guard: &str) {
    let floating: IpAddr = ADDRESS.parse().expect("an address");
    let mut c = Setup::two_by_majority().patient().guard(guard).start();
    let (status, said) = c.refused("lb0", &WORDS);
    assert!(
        status == Some(1) && said.contains("runs already on this host"),
        "{said}"
    );
    c.file("gate.toml", &stand_in());
    let by_stand_in = ["open-gate", "--config", "/run/lab/gate.toml", "--yes"];
    let (_, said) = c.refused("lb0", &by_stand_in);
    assert!(said.contains("runs on this host"), "{said}");
    c.pause("lb0"); // one that is stuck is one
    let (_, said) = c.refused("lb0", &WORDS);
    assert!(said.contains("--signal=KILL"), "{said}");
    c.kill("lb0");
    c.stop("lb1");
    eventually("the kernel removes the address", || {
        (!c.has("lb0", ADDRESS)).then_some(())
    });
    c.host("lb0")
        .add_address("eth0", floating, 16)
        .expect("it is added");
    assert!(!answers(&c), "it is mute, whoever added it");
    let (status, said) = c.refused("lb0", &WORDS[..3]);
    assert!(status == Some(2) && said.contains("add --yes"), "{said}");
    assert!(!answers(&c), "nobody confirmed");
    let said = c.onehold("lb0", &by_stand_in);
    for words in [
        "removed: ",
        "only you protect 10.77.0.50 from two holders",
        "ip address replace 10.77.0.50/16 dev eth0",
        "ip address del 10.77.0.50/16 dev eth0",
    ] {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    eventually("an answer", || answers(&c).then_some(()));
    let again = c.onehold("lb0", &WORDS);
    assert!(again.contains("there was no gate"), "{again}");
    // And back.
    c.host("lb0")
        .remove_address("eth0", floating, 16)
        .expect("it is removed");
    assert_eq!(
        c.left_on("lb0"),
        "control socket\n",
        "which the next incarnation replaces"
    );
    c.start("lb0");
    c.start("lb1");
    c.hold_again_on("lb0");
}

#[test]
fn the_bpf_gate_is_opened_by_hand_when_no_daemon_is_left() {
    if !is_machine_root() {
        not_run("BPF is refused in a user namespace");
        return;
    }
    opens_by_hand("bpf");
}

#[test]
fn the_nft_gate_is_opened_by_hand_when_no_daemon_is_left() {
    opens_by_hand("nft");
}

/// The binary is gone, too.
#[test]
fn the_nft_gate_can_be_deleted_without_onehold() {
    let mut c = Setup::majority().guard("nft").start();
    for name in ["lb0", "lb1", "witness"] {
        c.kill(name);
    }
    c.ok(
        "lb0",
        &["ip", "address", "replace", "10.77.0.50/16", "dev", "eth0"],
    );
    c.watch_for(1);
    c.held_by_nobody();
    let tables = c.ok("lb0", &["nft", "list", "tables"]);
    let words: Vec<&str> = tables.split_whitespace().collect();
    let [_, "netdev", table] = words[..] else {
        panic!("{tables}");
    };
    c.ok("lb0", &["nft", "delete", "table", "netdev", table]);
    c.hold_on("lb0");
}

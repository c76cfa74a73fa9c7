use super::super::tests::{THREE, cluster, refused};
use onehold_core::advert::GroupId;

const ADDRESSES: &str = "addresses = [\"10.0.0.50/24\", \"2001:db8::50/64\"]";
const TWO_SIDES: &str =
    "addresses = [\"10.0.0.50/24\", { address = \"192.0.2.50/24\", interface = \"eth1\" }]";

fn with(addresses: &str) -> String {
    THREE.replace(ADDRESSES, addresses)
}

#[test]
fn an_address_belongs_to_its_own_interface_or_to_the_groups() {
    let by_member = "addresses = [\"10.0.0.50/24\", { address = \"192.0.2.50/24\", interface = { lb0 = \"eth1\", \
                     lb1 = \"ens4\" } }, { address = \"10.0.0.51/24\" }]";
    let text = with(by_member);
    let interfaces = |member| cluster(&text, member).interfaces(GroupId(0)).to_vec();
    assert_eq!(interfaces("lb0"), ["eth0", "eth1", "eth0"]);
    assert_eq!(interfaces("lb1"), ["eth0", "ens4", "eth0"]);
    assert!(interfaces("w").is_empty());
}

#[test]
fn r0_members_agree_on_addresses_and_not_on_where_they_belong() {
    let digest = |addresses: &str| cluster(&with(addresses), "lb0").config.digest();
    let bare = "addresses = [\"10.0.0.50/24\", \"192.0.2.50/24\"]";
    assert_eq!(digest(TWO_SIDES), digest(bare));
    assert_ne!(
        digest(TWO_SIDES),
        digest(&bare.replace("2.50/24", "2.51/24"))
    );
    assert_ne!(
        digest(TWO_SIDES),
        digest(&bare.replace("2.50/24", "2.50/25"))
    );
}

#[test]
fn a_link_local_address_floats_on_several_interfaces_and_on_each_once() {
    let two = "addresses = [\"fe80::1/64\", { address = \"fe80::1/64\", interface = \"eth1\" }]";
    let one = cluster(&with(two), "lb0");
    assert_eq!(one.interfaces(GroupId(0)), ["eth0", "eth1"]);
    assert_eq!(one.config.groups()[0].addresses.len(), 2);
    let said = |to: &str| refused(THREE, ADDRESSES, to);
    let twice = said(&two.replace("eth1", "eth0"));
    assert!(
        twice.contains("fe80::1 is listed twice on eth0 of `lb0`"),
        "{twice}"
    );
    let twice = said(&TWO_SIDES.replace("192.0.2.50", "10.0.0.50"));
    assert!(twice.contains("10.0.0.50 is listed twice"), "{twice}");
}

#[test]
fn what_is_wrong_with_an_address_of_its_own_interface_is_named_with_its_line() {
    let said = |from: &str, to: &str| refused(&with(&TWO_SIDES.replace(", {", ",\n  {")), from, to);
    for (from, to, what) in [
        (
            "interface = \"eth1\" }",
            "interfaces = \"eth1\" }",
            ":18: groups.web.addresses.1.interfaces: unknown key",
        ),
        (
            "interface = \"eth1\" }",
            "interface = \"eth1:0\" }",
            ":18: groups.web.addresses.1.interface: `eth1:0` is",
        ),
        (
            "interface = \"eth1\" }",
            "interface = { lb1 = \"eth1\" } }",
            ":18: groups.web.addresses.1.interface: missing for `lb0`",
        ),
        (
            "interface = \"eth1\" }",
            "interface = 1 }",
            "an interface name such as \"eth0\"",
        ),
        (
            "address = \"192.0.2.50/24\"",
            "address = \"192.0.2.500\"",
            ":18: groups.web.addresses.1.address: `192.0.2.500` is",
        ),
        (
            "address = \"192.0.2.50/24\", ",
            "",
            ":18: groups.web.addresses.1.address: missing",
        ),
        (
            "\n  { address = \"192.0.2.50/24\", interface = \"eth1\" }",
            " 7",
            "or one with its interface: { address",
        ),
        (
            "interface = \"eth0\"\n",
            "",
            "groups.web.interface: missing for `lb0`",
        ),
    ] {
        let said = said(from, to);
        assert!(said.contains(what), "{said}");
    }
}

#[test]
fn an_interface_that_no_address_uses_is_not_ignored_in_silence() {
    let all = with("addresses = [{ address = \"10.0.0.50/24\", interface = \"eth1\" }]");
    let said = crate::cli::tests::checked(&all).replace("\n    ", " ");
    assert!(
        said.contains("groups.web.interface: each address names"),
        "{said}"
    );
    assert!(said.contains("web  10.0.0.50/24 on eth1 "), "{said}");
    let said = crate::cli::tests::checked(&with(TWO_SIDES));
    assert!(
        said.contains("web  10.0.0.50/24, 192.0.2.50/24 on eth1, the others on eth0\n"),
        "{said}"
    );
    let without = all.replace("interface = \"eth0\"\n", "");
    assert_eq!(cluster(&without, "lb0").interfaces(GroupId(0)), ["eth1"]);
}

#[test]
fn a_group_that_is_not_announced_says_so() {
    let text = THREE.replace(
        "interface = \"eth0\"\n",
        "interface = \"lo\"\nannounce = \"none\"\n",
    );
    assert!(!cluster(&text, "lb0").announced(GroupId(0)));
    assert!(cluster(THREE, "lb0").announced(GroupId(0)));
    let checked = crate::cli::tests::checked(&text);
    assert!(
        checked.contains("not announced by ARP: a routing daemon must"),
        "{checked}"
    );
    let said = refused(&text, "announce = \"none\"", "announce = \"arp\"");
    assert!(
        said.contains(":19: groups.web.announce: `arp` is unknown; write one of neighbours, none"),
        "{said}"
    );
}

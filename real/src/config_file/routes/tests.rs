use super::super::tests::{THREE, cluster, refused};
use onehold_core::advert::GroupId;

fn with(routes: &str) -> String {
    let (before, after) = THREE.split_once("[timing]").expect("a section");
    format!("{before}routes = [{routes}]\n\n[timing]{after}")
}

fn said(route: &str) -> Vec<String> {
    let routes = cluster(&with(route), "lb0").routes(GroupId(0));
    routes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_route_says_what_the_kernel_needs() {
    for (written, means) in [
        (
            "{ to = \"default\", via = \"10.0.0.1\", src = \"10.0.0.50\" }",
            "default via 10.0.0.1 src 10.0.0.50",
        ),
        (
            "{ to = \"default\", via = \"fe80::1\", table = 100, metric = 7 }",
            "::/0 table 100 metric 7 via fe80::1 on eth0",
        ),
        ("{ to = \"192.0.2.0/24\" }", "192.0.2.0/24 on eth0"),
        (
            "{ to = \"192.0.2.7\", interface = \"eth1\" }",
            "192.0.2.7/32 on eth1",
        ),
        (
            "{ to = \"2001:db8::/64\", interface = { lb0 = \"eth1\", lb1 = \"ens4\" } }",
            "2001:db8::/64 on eth1",
        ),
        (
            "{ to = \"::/0\", src = \"2001:db8::50\" }",
            "::/0 src 2001:db8::50 on eth0",
        ),
    ] {
        assert_eq!(said(written), [means]);
    }
    let digest = |text: &str| cluster(text, "lb0").config.digest();
    assert_eq!(
        digest(&with("{ to = \"192.0.2.0/24\" }")),
        digest(THREE),
        "R-0"
    );
    assert!(
        cluster(&with("{ to = \"192.0.2.0/24\" }"), "w")
            .routes(GroupId(0))
            .is_empty()
    );
    let checked =
        crate::cli::tests::checked(&with("{ to = \"192.0.2.0/24\", src = \"10.0.0.50\" }"));
    assert!(
        checked.contains("route 192.0.2.0/24 src 10.0.0.50 on eth0\n"),
        "{checked}"
    );
}

#[test]
fn what_is_wrong_with_a_route_is_named_with_its_line() {
    let base = with("\n  { to = \"default\", via = \"10.0.0.1\" }\n");
    let whole = "{ to = \"default\", via = \"10.0.0.1\" }";
    for (to, what) in [
        ("{ to = \"default\" }", ".to: `default` of which family?"),
        (
            "{ to = \"defualt\", via = \"10.0.0.1\" }",
            ".to: `defualt` is not a network",
        ),
        (
            "{ to = \"10.0.0.0/33\" }",
            ".to: `10.0.0.0/33` is not a network",
        ),
        ("{ to = \"10.0.0.7/24\" }", "write \"10.0.0.0/24\""),
        ("{ via = \"10.0.0.1\" }", ".to: missing"),
        (
            "{ to = \"default\", via = \"router\" }",
            ".via: `router` is not an IP address",
        ),
        (
            "{ to = \"default\", via = \"10.0.0.1\", src = \"fd00::1\" }",
            ".src: fd00::1 and 0.0.0.0/0",
        ),
        (
            "{ to = \"default\", via = \"10.0.0.1\", table = 255 }",
            ".table: 255 is the kernel's own",
        ),
        (
            "{ to = \"default\", via = \"10.0.0.1\", dev = \"eth0\" }",
            ".dev: unknown key",
        ),
        (
            "{ to = \"10.9.0.0/16\", interface = { lb1 = \"eth0\" } }",
            ".interface: missing for `lb0`",
        ),
        (
            "{ to = \"10.9.0.0/16\", interface = \"a b\" }",
            ".interface: `a b` can't be",
        ),
    ] {
        let said = refused(&base, whole, to);
        assert!(
            said.contains(&format!("onehold.toml:21: groups.web.routes.0{what}"))
                || (said.contains(":21: groups.web.routes.0") && said.contains(what)),
            "{said}"
        );
    }
    let twice = format!("{whole}, {whole}");
    let said = refused(&base, whole, &twice);
    assert!(
        said.contains("groups.web.routes.1.to: there is a route to default already"),
        "{said}"
    );
}

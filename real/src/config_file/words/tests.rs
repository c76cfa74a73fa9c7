//! What people write into a file, and what they are told.

use crate::config_file::tests::TWO;
use crate::config_file::{ConfigFile, Source};
use std::path::Path;

/// Everything that is said about a text.
fn said(name: &str, text: &str) -> String {
    let source = Source::new(Path::new(name), text.to_owned());
    match ConfigFile::parse(&source) {
        Ok(_) => "ACCEPTED\n".to_owned(),
        Err(wrong) => wrong.iter().map(|e| format!("{e}\n")).collect(),
    }
}

/// The tutorial's pair, with one thing changed.
fn with(from: &str, to: &str) -> String {
    assert!(TWO.contains(from), "{from}");
    let show = |text: &str| text.trim().replace('\n', " ⏎ ");
    let said = said("f", &TWO.replacen(from, to, 1));
    format!("{} → {}\n{said}", show(from), show(to))
}

#[test]
fn what_is_written_otherwise_than_toml_wants_it_is_said_with_the_line_and_the_remedy() {
    let all = [
        (
            "release_when_unhealthy = true",
            "release_when_unhealthy = yes",
        ),
        (
            "release_when_unhealthy = true",
            "release_when_unhealthy = True",
        ),
        (
            "release_when_unhealthy = true",
            "release_when_unhealthy = off",
        ),
        ("name = \"pair\"", "name = “pair”"),
        ("name = \"pair\"", "name = \"pair”"),
        ("name = \"pair\"", "name = „pair“"),
        ("name = \"pair\"", "name = pair"),
        ("name = \"pair\"", "name = 'pair"),
        ("name = \"pair\"", "name = \"pair\";"),
        ("name = \"pair\"", "name \"pair\""),
        ("name = \"pair\"", "name: \"pair\""),
        ("name = \"pair\"", "name = \"pair\"\nname = \"two\""),
        ("[\"10.0.0.50\"]", "[\"10.0.0.50\""),
        ("[\"10.0.0.50\"]", "[\n  \"10.0.0.50\",\n"),
        ("[\"10.0.0.50\"]", "[\"10.0.0.50\" \"10.0.0.52\"]"),
        ("[\"10.0.0.50\"]", "[10.0.0.50/24]"),
        ("[\"10.0.0.50\"]", "10.0.0.50"),
        (
            "interface = { lb0 = \"eth0\", lb1 = \"ens3\" }",
            "interface = { lb0 = \"eth0\", lb1 = \"ens3\"",
        ),
        ("[members.lb1]", "[members.lb1"),
        ("[members.lb1]", "[members.lb0]"),
        ("[members.lb1]", "members.lb1"),
        ("[groups.web]", "[ groups.api ]"),
    ];
    let all: Vec<String> = all.iter().map(|(from, to)| with(from, to)).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_value_of_the_wrong_type_is_said_as_it_should_be_written() {
    let timing = |text: &str| ("[members.lb0]", format!("[timing]\n{text}\n[members.lb0]"));
    let all = [
        timing("drift_ppm = \"1000\""),
        timing("drift_ppm = -1"),
        timing("drift_ppm = 1.5"),
        timing("drift_ppm = 99999999999"),
        timing("drift_ppm = \"1000 ppm\""),
        timing("lease = 450"),
        ("arbitration", "port = \"6946\"\narbitration".into()),
        ("arbitration", "port = 70000\narbitration".into()),
        ("\"pair\"", "5".into()),
        ("= true", "= \"true\"".into()),
        ("= true", "= \"no\"".into()),
        ("= true", "= \"perhaps\"".into()),
        ("= true", "= 1".into()),
        ("[\"10.0.0.50\"]", "\"10.0.0.50\"".into()),
        ("[\"10.0.0.50\"]", "[50]".into()),
        ("[groups.web]", "[[groups.web]]".into()),
        (
            "[groups.web]",
            "[groups]\nweb = \"10.0.0.50\"\n[groups.db]".into(),
        ),
    ];
    let all: Vec<String> = all.iter().map(|(from, to)| with(from, to)).collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn everything_that_is_wrong_with_keys_and_types_is_listed_once_and_nothing_that_follows_from_it() {
    let text = r#"[cluster]
nam = "web"
port = "6946"
secret_file = "secret"
[members.lb0]
addresses = "10.0.0.10"
preferred = "yes"
[members.lb1]
adresses = "10.0.0.11"
witness = 1
[group.web]
addresses = ["10.0.0.50/24", 5]
interface = 7
failback = "automatic"
[timing]
drift_ppm = "1000"
lease = 450
[logging]
level = "info"
"#;
    insta::assert_snapshot!(said("f", text));
    let form = r#"[cluster]
name = “web”
secret_file = secret
[members.lb0]
preferred = yes
addresses = ["10.0.0.10"
[members.lb1]
addresses = ["10.0.0.11"]
[members.lb1]
"#;
    insta::assert_snapshot!(said("f", form));
}

#[test]
fn a_file_of_another_program_is_recognised_and_its_import_named() {
    let keepalived =
        "! Configuration File for keepalived\nvrrp_instance VI_1 {\n  state MASTER\n}\n";
    let ha_cf = "# ours\nlogfacility local0\ndeadtime 30\nnode lb0\nnode lb1\n";
    let all = [
        said("/etc/keepalived/keepalived.conf", keepalived),
        said("/etc/ha.d/ha.cf", ha_cf),
        said(
            "/etc/ha.d/haresources",
            "lb0 IPaddr::10.0.0.50/24/eth0 nginx\n",
        ),
        said("authkeys", "auth 1\n1 sha1 secret\n"),
        said("f", "name web\n"),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn no_text_makes_it_panic_and_what_is_refused_says_why() {
    use proptest::prelude::*;
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        "=",
        "\"",
        "'",
        "“",
        "\n",
        "#",
        ",",
        ".",
        " ",
        "yes",
        "[[",
        "cluster",
        "members",
        "groups",
        "name",
        "addresses",
        "10.0.0.1",
        "é",
        "5",
        "-",
        "true",
        "[cluster]\n",
        "[members.lb0]\n",
        "addresses = [\n",
        "\r\n",
        "\u{0}",
    ];
    let text = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24);
    proptest!(|(text in text)| {
        let text = text.concat();
        let source = Source::new(Path::new("f"), text);
        if let Err(wrong) = ConfigFile::parse(&source) {
            prop_assert!(!wrong.is_empty());
            prop_assert!(wrong.iter().all(|e| !e.what.is_empty()));
        }
    });
}

use super::*;
use crate::config_file::tests::{Etc, THREE, TWO};
use clap::CommandFactory as _;

#[test]
fn help_pages() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let mut all = cli.render_help().to_string();
    for command in cli.get_subcommands_mut().filter(|c| c.get_name() != "help") {
        let page = command.render_help();
        all.push_str(&format!("\n──── {}\n{page}", command.get_name()));
    }
    insta::assert_snapshot!(all);
}

fn checked(text: &str) -> String {
    let etc = Etc::new();
    let path = etc.write("onehold.toml", text);
    let text = match check::check(&path) {
        Ok(text) => text,
        Err(e) => format!("{e}\n"),
    };
    etc.said(text)
}

#[test]
fn check_of_three_members() {
    insta::assert_snapshot!(checked(THREE));
}

#[test]
fn check_of_a_pair_under_survivor() {
    insta::assert_snapshot!(checked(TWO));
}

#[test]
fn check_of_a_pair_under_majority() {
    insta::assert_snapshot!(checked(&TWO.replace("survivor", "majority")));
}

/// Each risk has its warning, and what only this host lacks is no error.
#[test]
fn check_warns() {
    let risky = TWO
        .replace("[members.lb0]", "guard = \"none\"\n[members.lb0]")
        .replace(", \"10.1.0.10:7000\"", "")
        .replace(", \"10.1.0.11:7000\"", "")
        .replace("\"secret\"", "\"other\"");
    let timing = |text: &str| format!("{risky}\n[timing]\n{text}\n");
    let warnings = |text: String| {
        let text = checked(&text);
        text[text.find("warnings").unwrap()..].to_owned()
    };
    let all = [
        warnings(timing(
            "interval = \"10ms\"\nlease = \"45ms\"\nguard_slack = \"1ms\"",
        )),
        warnings(timing("interval = \"5s\"\nlease = \"30s\"")),
        warnings(THREE.replace(
            "interval = \"100ms\"\nlease = \"450ms\"",
            "profile = \"fast\"",
        )),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn check_says_how_many_addresses_are_too_many() {
    let addresses = |n: u32| {
        let each = (0..n)
            .map(|n| format!("\"fd00::1:{n:x}/64\""))
            .collect::<Vec<_>>();
        checked(&THREE.replace("\"10.0.0.50/24\", \"2001:db8::50/64\"", &each.join(", ")))
    };
    let many = addresses(129);
    assert!(many.contains("! groups: 129 IPv6 addresses"), "{many}");
    assert!(!addresses(128).contains("IPv6 addresses"));
    let many = addresses(1_100);
    assert!(
        many.contains("groups: 1100 addresses; at most 1024"),
        "{many}"
    );
}

#[test]
fn presume_dead_explains_itself_first() {
    insta::assert_snapshot!(client::explanation("lb1", "web"));
}

#[test]
fn check_of_a_witness_with_many_clusters() {
    let etc = Etc::new();
    let path = etc.write("witness.toml", "directory = \"clusters.d\"\n");
    let file = THREE.replace("\"secret\"", "\"../secret\"");
    etc.write("clusters.d/a.toml", &file.replace("\"web\"", "\"a\""));
    etc.write("clusters.d/b.toml", &file.replace("\"web\"", "\"b\""));
    let text = check::check(&path).unwrap();
    let heads: Vec<&str> = text.lines().filter(|l| l.starts_with("cluster ")).collect();
    insta::assert_snapshot!(heads.join("\n"));
}

/// The example that is shipped is a good one.
#[test]
fn the_packaged_examples_are_fine() {
    for name in ["onehold.toml", "witness.toml"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("packaging")
            .join(name);
        check::check(&path).unwrap_or_else(|e| panic!("{e}"));
    }
}

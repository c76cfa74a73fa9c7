use super::*;
use crate::config_file::tests::{Etc, THREE, TWO};

#[test]
fn help_pages() {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let mut all = cli.render_help().to_string();
    for command in cli
        .get_subcommands_mut()
        .filter(|c| c.get_name() != "help" && !c.is_hide_set())
    {
        let page = command.render_help();
        all.push_str(&format!("\n──── {}\n{page}", command.get_name()));
    }
    insta::assert_snapshot!(all);
}

pub(crate) fn checked(text: &str) -> String {
    let etc = Etc::new();
    let path = etc.write("onehold.toml", text);
    let check::Checked { text, wrong, .. } = check::check(&path, None);
    etc.said(wrong.iter().fold(text, |text, e| format!("{text}{e}\n")))
}

/// The exit status of `check --for`, and its text.
pub(crate) fn status_of_check(path: &std::path::Path, member: &str) -> (u8, String) {
    let check::Checked { wrong, host, .. } = check::check(path, Some(member));
    match (&wrong[..], &host.lacks[..]) {
        ([], []) => (0, host.text()),
        ([], _) => (1, host.text()),
        _ => (2, format!("{wrong:?}")),
    }
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

/// Each risk has its warning, and what only this host lacks is not an error.
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

/// All errors of the text are listed at once.
#[test]
fn check_lists_all_that_is_wrong() {
    let wrong = TWO
        .replace("\"pair\"", "\"my pair\"\nport = 0")
        .replace("10.1.0.11:7000", "10.1.0.11:70000")
        .replace("\"10.0.0.10\"", "\"fe80::1%eth0\"")
        .replace("\"10.0.0.51\"", "\"10.0.0.0/24\", \"10.0.0.300\"")
        .replace("lb1 = \"ens3\"", "lb2 = \"ens3\"")
        .replace("interface = \"eth0\"", "interface = \"eth0:1\"");
    insta::assert_snapshot!(checked(
        &(wrong + "[timing]\nguard_slack = \"0ms\"\nlease = \"50ms\"\n")
    ));
    // For one member, only its own errors.
    let etc = Etc::new();
    let path = etc.write(
        "onehold.toml",
        &TWO.replace("lb1 = \"ens3\"", "lb2 = \"ens3\""),
    );
    let wrong = |member| check::check(&path, member).wrong.len();
    assert_eq!(
        [wrong(None), wrong(Some("lb0")), wrong(Some("LB1"))],
        [1, 0, 1]
    );
    let none = check::check(&path, Some("lb7")).wrong;
    assert!(none[0].what.contains("there is no `lb7` (from --for)"));
}

#[test]
fn check_warns_of_probable_mistakes() {
    let odd = THREE
        .replace("[members.w]", "[members.LB1]")
        .replace("interface = \"eth0\"", "interface = { lb0 = \"eth0\", lb1 = \"enp0s31f6.2000-front\", LB1 = \"eth0\", lb2 = \"eth0\" }")
        .replace("[timing]", "[timing]\ndrift_ppm = 50\n");
    let text = checked(&odd);
    insta::assert_snapshot!(text[text.find("warnings").unwrap()..]);
}

#[test]
fn check_warns_of_metrics_that_others_can_read() {
    let warned = |at: &str| {
        let text = checked(&format!("{THREE}\n[metrics]\nlisten = \"{at}\"\n"));
        assert!(text.contains("web"), "{text}");
        text.contains(&format!(
            "! metrics.listen: {at}: whoever reaches this port"
        ))
    };
    assert!(warned("0.0.0.0:9946") && warned("10.0.0.10:9946"));
    assert!(!warned("127.0.0.1:9946") && !warned("[::1]:9946"));
}

#[test]
fn check_warns_of_a_deadline_that_an_agent_may_miss() {
    let warned = |deadline: &str| {
        let hook = "[groups.web.hooks]\nbefore_hold = { exec = [\"/bin/true\"], failing = \"open\", deadline =";
        let text = checked(&format!("{THREE}\n{hook} \"{deadline}\" }}\n"));
        assert!(text.contains("web"), "{text}");
        text.contains("groups.web.hooks.before_hold.deadline: 1s: it counts from the hold")
    };
    assert!(warned("1s") && !warned("5s"));
}

#[test]
fn check_of_a_witness_file_lists_what_is_wrong_with_any_cluster() {
    let etc = Etc::new();
    let path = etc.write("witness.toml", "directory = \"clusters.d\"\n");
    let file = THREE.replace("\"secret\"", "\"../secret\"");
    etc.write("clusters.d/a.toml", &file);
    etc.write("clusters.d/b.toml", &file);
    etc.write(
        "clusters.d/c.toml",
        &file.replace("name = \"web\"", "name = \"c\"\nport = 0"),
    );
    etc.write("clusters.d/d.toml", "[cluster");
    let without = TWO.replace("\"secret\"", "\"../secret\"");
    etc.write("clusters.d/e.toml", &without);
    let check::Checked { text, wrong, .. } = check::check(&path, None);
    assert_eq!(text.matches("cluster web").count(), 1, "{text}");
    let wrong: Vec<String> = wrong.iter().map(|e| etc.said(e)).collect();
    insta::assert_snapshot!(wrong.join("\n"));
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
    let both = [
        client::explanation("lb1", "web"),
        client::of_doubts("lb1", "web"),
    ];
    insta::assert_snapshot!(both.join("\n"));
}

#[test]
fn check_of_a_witness_with_many_clusters() {
    let etc = Etc::new();
    let path = etc.write("witness.toml", "directory = \"clusters.d\"\n");
    let file = THREE.replace("\"secret\"", "\"../secret\"");
    etc.write("clusters.d/a.toml", &file.replace("\"web\"", "\"a\""));
    etc.write("clusters.d/b.toml", &file.replace("\"web\"", "\"b\""));
    let check::Checked { text, wrong, .. } = check::check(&path, None);
    assert_eq!(wrong, []);
    let heads: Vec<&str> = text.lines().filter(|l| l.starts_with("cluster ")).collect();
    insta::assert_snapshot!(heads.join("\n"));
}

/// The shipped examples are valid.
#[test]
fn the_packaged_examples_are_fine() {
    for name in ["onehold.toml", "witness.toml"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("packaging")
            .join(name);
        let checked = check::check(&path, None);
        assert_eq!(checked.wrong, []);
    }
}

use super::*;
use crate::config_file::tests::Etc;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn plan() -> Plan {
    let member = |text: &str| text.parse::<Member>().unwrap();
    Plan {
        cluster: "web".to_owned(),
        candidates: vec![
            member("lb0=10.0.0.10,10.1.0.10"),
            member("lb1.example.org=10.0.0.11"),
        ],
        witnesses: vec![member("w=10.0.0.12")],
        interfaces: vec![(None, "eth0".to_owned())],
        group: "web".to_owned(),
        addresses: vec!["10.0.0.50/24".to_owned(), "2001:db8::50/64".to_owned()],
    }
}

#[test]
fn the_file_of_a_new_cluster() {
    let secret = Path::new("/etc/onehold/secret");
    let mut pair = plan();
    pair.witnesses.clear();
    pair.interfaces = ["lb0", "lb1.example.org"]
        .map(|name| (Some(name.to_owned()), format!("e{}", name.len())))
        .to_vec();
    pair.group = "front".to_owned();
    let all = [plan(), pair].map(|plan| format!("{}\n\n{}", plan.words(), plan.text(secret)));
    insta::assert_snapshot!(all.join("\n──── \n"));
    for text in &all {
        let (_, text) = text.split_once("\n\n").unwrap();
        toml::from_str::<crate::config_file::ConfigFile>(text).unwrap();
    }
}

#[test]
fn a_member_that_is_no_member_is_refused() {
    for wrong in [
        "",
        "lb0",
        "=10.0.0.1",
        "lb0=",
        "lb0=10.0.0.1,",
        "a\"b=1",
        "lb0=10.0.0.1\n[x]",
        "a=b=c",
    ] {
        let why = wrong.parse::<Member>().unwrap_err();
        assert!(why.contains("write NAME=ADDRESS"), "{why}");
    }
}

fn carried() -> Carried {
    Carried {
        config: plan().text(Path::new("/etc/onehold/secret")),
        secret: "00ff".repeat(16) + "\n",
    }
}

#[test]
fn a_token_survives_a_paste_that_breaks_its_lines_and_hides_its_secret() {
    let token = carried().token().unwrap();
    assert!(
        token.len() < 4_000,
        "a terminal's line has 4095 letters: {}",
        token.len()
    );
    assert_eq!(Carried::from_token(&token), Ok(carried()));
    let broken: String = token.chars().flat_map(|c| [c, '\n', ' ']).collect();
    assert_eq!(Carried::from_token(&broken), Ok(carried()));
    assert!(!format!("{:?}", carried()).contains("00ff"));
}

#[test]
fn what_is_no_token_says_what_to_do() {
    let token = carried().token().unwrap();
    let mut swapped = token.clone().into_bytes();
    swapped.swap(60, 61);
    let all = [
        Carried::from_token(""),
        Carried::from_token("hello"),
        Carried::from_token(&token[..200]),
        Carried::from_token(&(token[..200].to_owned() + ".")),
        Carried::from_token(&String::from_utf8(swapped).unwrap()),
        Carried::from_token("onehold1.."),
        Carried::from_token(&"x".repeat(100_000)),
    ];
    let said: Vec<String> = all.into_iter().map(|it| it.unwrap_err()).collect();
    insta::assert_snapshot!(said.join("\n"));
}

proptest! {
    #[test]
    fn no_change_of_a_letter_goes_unnoticed(at in any::<prop::sample::Index>(), letter in "[a-zA-Z0-9._-]") {
        let token = carried().token().unwrap();
        let at = at.index(token.len());
        let changed = format!("{}{letter}{}", &token[..at], &token[at + 1..]);
        prop_assert_eq!(Carried::from_token(&changed).is_ok(), changed == token);
    }

    #[test]
    fn nothing_makes_it_panic(text in ".{0,200}") {
        let _ = Carried::from_token(&text);
        let _ = Carried::from_token(&format!("{MARK}{text}."));
    }
}

#[test]
fn files_are_put_in_place_and_taken_back_and_never_overwritten() {
    let etc = Etc::new();
    let config = etc.0.join("new/onehold.toml");
    let secret = secret_beside(&config);
    Placed::put(&config, "first", Some("a"), false).unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((read(&config), mode(&config)), ("first".to_owned(), 0o644));
    assert_eq!((read(&secret), mode(&secret)), ("a".to_owned(), 0o600));
    let why = Placed::put(&config, "second", Some("b"), false).unwrap_err();
    assert!(
        why.contains("--force") && why.contains("nothing was written"),
        "{why}"
    );
    assert_eq!(
        (read(&config), read(&secret)),
        ("first".to_owned(), "a".to_owned())
    );
    let second = Placed::put(&config, "second", Some("b"), true).unwrap();
    assert_eq!(
        (read(&config), read(&secret)),
        ("second".to_owned(), "b".to_owned())
    );
    let old = config.with_added_extension("old");
    assert_eq!(second.moved().count(), 2);
    assert_eq!(read(&old), "first");
    second.take_back().unwrap();
    assert_eq!(
        (read(&config), read(&secret)),
        ("first".to_owned(), "a".to_owned())
    );
    assert!(!old.exists());
    // A secret of its own, if none is carried.
    fs::remove_file(&secret).unwrap();
    fs::remove_file(&config).unwrap();
    let made = Placed::put(&config, "third", None, false).unwrap();
    assert_eq!((read(&secret).len(), mode(&secret)), (65, 0o600));
    made.take_back().unwrap();
    assert!(!config.exists() && !secret.exists());
    // Half a success is none.
    fs::create_dir(&config).unwrap();
    fs::write(config.with_added_extension("old"), "").unwrap();
    assert!(Placed::put(&config, "fourth", None, true).is_err());
    assert!(config.is_dir() && !secret.exists());
}

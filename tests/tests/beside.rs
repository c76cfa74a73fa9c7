//! keepalived beside Onehold: the same events, in one run of the demo.

use onehold_tests::{binaries, is_machine_root, not_run};
use std::process::Command;

/// The demo with keepalived: whether all went well, and what it printed.
fn demo(path: Option<&str>) -> (bool, String) {
    let mut command = Command::new(binaries::onehold_lab());
    let words = "demo --beside keepalived --only service-dies --report - --binary";
    command.args(words.split(' ')).arg(binaries::onehold());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().expect("it is built");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn both_move_the_address_when_the_server_dies_and_one_table_says_how_soon() {
    if !is_machine_root() {
        not_run("keepalived's track_process needs the machine's root");
        return;
    }
    let (good, said) = demo(None);
    assert!(good, "{said}");
    let table = said.split_once("outage ms med/max").expect(&said).1;
    let rows: Vec<&str> = table.lines().filter(|line| line.contains(" / ")).collect();
    let names = ["onehold", "keepalived"];
    assert!(
        rows.chunks(2)
            .all(|pair| pair.len() == 2
                && pair.iter().zip(names).all(|(row, name)| row.contains(name))),
        "{said}"
    );
    assert_eq!(rows.len(), 6, "{said}");
}

#[test]
fn without_keepalived_or_root_nothing_is_played_and_the_remedy_is_said() {
    let (good, said) = demo(Some("/nowhere"));
    let remedy = match is_machine_root() {
        true => "there is no `keepalived` in PATH; `cargo verify --install`",
        false => "run as root",
    };
    assert!(!good && said.contains(remedy), "{said}");
    assert!(!said.contains("start all members"), "{said}");
}

//! Other programs beside Onehold: keepalived, with the same events in one run of the demo, and
//! corosync-qnetd, with as many clusters in one run of the load.

use onehold_tests::{binaries, is_machine_root, not_run};
use serde_json::Value;
use std::path::Path;
use std::process::{self, Command};
use std::{env, fs};

/// The lab with these words, and with the shipped daemon: whether all went well, and what it printed.
fn lab(words: &str, path: Option<&str>) -> (bool, String) {
    let mut command = Command::new(binaries::onehold_lab());
    command.args(words.split(' ')).arg("--binary");
    command.arg(binaries::onehold());
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let output = command.output().expect("it is built");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

/// The demo with keepalived.
fn demo(path: Option<&str>) -> (bool, String) {
    lab(
        "demo --beside keepalived --only service-dies --report -",
        path,
    )
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

/// Two clusters for a second, at a witness and then at corosync-qnetd.
fn load(path: Option<&str>, figures: &Path) -> (bool, String) {
    let words = "load --clusters 2 --seconds 1 --beside qnetd --json";
    lab(&format!("{words} {}", figures.display()), path)
}

#[test]
fn as_many_clusters_at_qnetd_are_measured_at_its_pace_and_at_ours() {
    let file = env::temp_dir().join(format!("onehold-beside-{}.json", process::id()));
    let (good, said) = load(None, &file);
    assert!(good, "{said}");
    let figures = fs::read(&file).expect(&said);
    fs::remove_file(&file).expect("it was there");
    let figures: Value = serde_json::from_slice(&figures).expect("JSON");
    let others = figures["others"].as_array().expect(&said);
    let paces = others.iter().map(|other| other["heartbeat_ms"].as_u64());
    assert_eq!(paces.collect::<Vec<_>>(), [Some(8000), Some(100)], "{said}");
    for other in others {
        assert_eq!(other["connections_ended"], 0, "{said}");
    }
    // A member that falls silent is taken for dead 1.5 heartbeats after its last one, which was less than
    // one ago.
    let [own, ours] = &others[..] else {
        panic!("{said}")
    };
    assert_eq!(own["voted_for_the_other"], 2, "{said}");
    let longest = own["vote_ms_longest"].as_f64().expect(&said);
    assert!(longest >= 4_000.0, "{said}");
    assert!(
        ours["witness_us_per_message"].as_f64() > Some(0.0),
        "{said}"
    );
    assert!(ours["delay_ms_median"].as_f64() > Some(0.0), "{said}");
}

#[test]
fn without_qnetd_nothing_is_measured_and_the_remedy_is_said() {
    let (good, said) = load(Some("/nowhere"), Path::new("/dev/null"));
    let remedy = "corosync-qnetd is missing: apt-get install corosync-qnetd";
    assert!(!good && said.contains(remedy), "{said}");
    assert!(!said.contains("datagrams/s"), "{said}");
}

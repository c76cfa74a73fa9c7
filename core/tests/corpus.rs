//! Replays the fuzzers' corpus through the fuzzers' own functions, on the ordinary compiler.

#[path = "../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "the file is a crate of its own for the fuzzers"
)]
mod fuzz;

use onehold_core::advert::{Advert, Ballot, Incarnation, MAX_GROUPS, MemberId, Statement};
use onehold_core::time::{LocalTime, Span};
use onehold_core::{auth, wire};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

#[test]
fn the_corpus_breaks_nothing() {
    for (target, run) in [
        ("open", fuzz::open_any as fn(&[u8])),
        ("decode", fuzz::decode),
    ] {
        let mut count = 0;
        for entry in fs::read_dir(corpus(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            run(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count >= seeds().len(), "{target}: only {count} inputs");
    }
}

/// The seeds are generated, so that a change of the format can't leave the fuzzers with a corpus
/// that the first check refuses. `ONEHOLD_WRITE_SEEDS=1` writes them again.
#[test]
fn the_seeds_are_of_this_format() {
    for target in ["open", "decode"] {
        for (name, sealed) in seeds() {
            let path = corpus(target).join(name);
            let bytes = match target {
                "open" => sealed,
                _ => sealed[..sealed.len().saturating_sub(wire::SEAL)].to_vec(),
            };
            if env::var_os("ONEHOLD_WRITE_SEEDS").is_some() {
                fs::write(&path, &bytes).unwrap();
            }
            assert!(
                fs::read(&path).is_ok_and(|found| found == bytes),
                "{} is not the seed it should be; write it again with ONEHOLD_WRITE_SEEDS=1",
                path.display()
            );
        }
    }
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

/// Sealed datagrams by name: good ones, and each way to be nearly good.
fn seeds() -> BTreeMap<&'static str, Vec<u8>> {
    let ballot = Ballot {
        member: MemberId(1),
        incarnation: Incarnation(0xa1a2_a3a4_a5a6_a7a8),
        asked_at: LocalTime::from_nanos(7_000_000_000),
    };
    let voted = Statement {
        ready: true,
        vote: Some(ballot),
        ..Statement::default()
    };
    let holder = Statement {
        asks: true,
        holds: true,
        ready: true,
        yields: true,
        preparing: false,
        frozen: false,
        vote: None,
    };
    let blank = fuzz::blank();
    let first = Advert {
        quarantined: true,
        groups: [Statement::default()].into_iter().collect(),
        ..blank.clone()
    };
    let usual = Advert {
        to: MemberId(1),
        incarnation: Incarnation(0xb1b2_b3b4_b5b6_b7b8),
        to_incarnation: Some(ballot.incarnation),
        sent_at: LocalTime::from_nanos(8_000_000_000),
        echo: Some(LocalTime::from_nanos(7_100_000_000)),
        echo_age: Span::from_millis(30),
        groups: [holder, voted].into_iter().collect(),
        ..blank.clone()
    };
    let full = Advert {
        groups: vec![voted; MAX_GROUPS],
        ..usual.clone()
    };
    let sealed = |advert: &Advert| {
        let mut bytes = Vec::new();
        auth::seal(&fuzz::keys(), advert, &mut bytes);
        bytes
    };
    let changed = |at: usize, value: u8| {
        let mut bytes = sealed(&usual);
        bytes[at] = value;
        bytes
    };
    let both = auth::Keys::new(fuzz::key(), vec![auth::Key::new(b"another secret")]);
    let mut two_keys = Vec::new();
    auth::seal(&both, &usual, &mut two_keys);
    let mut note = Vec::new();
    auth::seal_note(&fuzz::key(), blank.cluster, b"for people", &mut note);
    BTreeMap::from([
        ("note", note),
        ("blank", sealed(&blank)),
        ("first", sealed(&first)),
        ("usual", sealed(&usual)),
        ("full", sealed(&full)),
        ("two-keys", two_keys),
        ("empty", Vec::new()),
        ("other-version", changed(3, 2)),
        ("other-key", changed(4, 0xff)),
        ("other-cluster", changed(8, 0xff)),
        ("unknown-flag", changed(26, 0xff)),
        ("absent-not-zero", changed(26, 0)),
        ("too-many-groups", changed(27, 17)),
        ("trailing", [sealed(&usual), vec![0]].concat()),
    ])
}

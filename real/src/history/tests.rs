use super::*;
use crate::config_file::tests::Etc;
use jiff::tz::TimeZone;
use onehold_core::time::{LocalTime, Span};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};

/// 2026-11-28 14:02:11 UTC.
const THEN: u64 = 1_795_874_531_000;

fn at(ms: u64, entry: Entry) -> Entry {
    Entry {
        at_ms: THEN + ms,
        ..entry
    }
}

fn role(member: &str, text: &str) -> Entry {
    Entry::new(member, ROLE, text).of("web")
}

fn shown(history: &History) -> String {
    let told = Told {
        cluster: "web".to_owned(),
        member: "lb1".to_owned(),
        entries: history.entries().cloned().collect(),
        not_kept: None,
    };
    lines(&told, None, &TimeZone::UTC)
}

#[test]
fn a_story() {
    let mut h = History::default();
    let silent = "lb0, which held it, was silent for 456 ms, and a majority voted for this member";
    let all = [
        (
            0,
            Entry::new("lb1", STARTED, "the daemon started (onehold 0.1.0)").by("R-9"),
        ),
        (600, Entry::new("lb0", "met", "is heard").seen().by("R-1")),
        (700, role("lb0", "standby → holder").seen()),
        (
            9_000,
            Entry::new("lb0", "lost", "is not heard any more; it held web").seen(),
        ),
        (
            9_004,
            role("lb1", "standby → holder").because(silent).by("R-7"),
        ),
        (
            60_000,
            Entry::new("lb1", "order", "the operator said standby").of("web"),
        ),
        (
            60_001,
            role("lb1", "holder → releasing")
                .because("handing over: the operator said standby")
                .by("R-12"),
        ),
        (
            60_003,
            Entry {
                event: RELEASED.into(),
                ..role("lb1", "releasing → standby")
            },
        ),
        (
            61_000,
            Entry::new("lb1", "lacks", "is not ready")
                .of("web")
                .because("check page fails: 502")
                .light(),
        ),
        (
            62_000,
            Entry::new("lb1", "lacks", "is not ready")
                .of("web")
                .because("check page fails: 503")
                .light(),
        ),
        (50_000, Entry::new("lb1", "reload", "the file was reloaded")),
    ];
    for (ms, entry) in all {
        h.add(at(ms, entry), MOST);
    }
    insta::assert_snapshot!(shown(&h));
}

#[test]
fn an_empty_history_and_one_that_is_lost_at_a_restart_say_so() {
    let told = Told {
        cluster: "web".to_owned(),
        member: "w".to_owned(),
        entries: vec![],
        not_kept: Some(
            "can't write /var/lib/onehold/web.w.history: No space left on device".to_owned(),
        ),
    };
    insta::assert_snapshot!(lines(&told, Some("web"), &TimeZone::UTC));
}

#[test]
fn a_hundred_changes_of_roles_are_kept_whatever_else_happens() {
    let mut h = History::default();
    for n in 0..150 {
        h.add(
            at(
                n,
                role(
                    "lb1",
                    if n % 2 == 0 {
                        "standby → holder"
                    } else {
                        "holder → standby"
                    },
                ),
            ),
            MOST,
        );
        for text in ["is not heard any more", "is heard again"] {
            h.add(at(n, Entry::new("lb0", "lost", text).light()), MOST);
        }
    }
    let count = |light| h.entries().filter(|e| e.light == light).count();
    assert_eq!((count(false), count(true)), (MOST, MOST));
    let first = h.entries().find(|e| !e.light).unwrap();
    assert_eq!(first.at_ms, THEN + 50);
    let mut sorted: Vec<u64> = h.entries().map(|e| e.at_ms).collect();
    sorted.sort_unstable();
    assert!(
        h.entries().map(|e| e.at_ms).eq(sorted),
        "in the order of happening"
    );
}

#[test]
fn every_text_is_one_bounded_line() {
    let mut h = History::default();
    let long = "a\nb\u{1b}[31m".repeat(1_000);
    h.add(Entry::new(&long, "x", &long).of(&long).because(&long), MOST);
    let entry = h.entries().next().unwrap();
    for text in [
        &entry.member,
        &entry.text,
        entry.group.as_ref().unwrap(),
        entry.why.as_ref().unwrap(),
    ] {
        assert!(
            text.len() <= 400 && !text.chars().any(char::is_control),
            "{text}"
        );
    }
}

/// Polls until nothing is left to do.
async fn settle(keeper: &mut Keeper, now: &mut LocalTime) {
    let patience = crate::clock::boottime().plus(Span::from_millis(120_000));
    while crate::clock::boottime() < patience {
        *now = now.plus(Span::from_millis(100));
        std::future::poll_fn(|cx| {
            keeper.poll(*now, cx);
            Poll::Ready(())
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        if keeper.due().is_none() {
            keeper.poll(*now, &mut Context::from_waker(Waker::noop()));
            if keeper.due().is_none() && keeper.is_idle() {
                return;
            }
        }
    }
    panic!("it never settles");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

/// An incarnation that adds these, and ends; then what the next one finds.
fn incarnation(directory: &Path, entries: &[Entry]) -> (Vec<Entry>, Option<String>) {
    block_on(async {
        let mut now = LocalTime::from_nanos(0);
        let mut keeper = Keeper::default();
        keeper.join(directory, "web", "lb1");
        for entry in entries {
            keeper.add(0, entry.clone(), now);
        }
        settle(&mut keeper, &mut now).await;
        let history = keeper.history(0).unwrap();
        keeper.finish().await;
        history
    })
}

fn file(etc: &Etc) -> PathBuf {
    etc.0.join("web.lb1.history")
}

fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|e| e.text.as_str()).collect()
}

#[test]
fn it_outlives_an_incarnation_and_says_of_one_that_was_killed() {
    let etc = Etc::new();
    let started = || Entry::new("lb1", STARTED, "started");
    let (first, fault) = incarnation(&etc.0, &[started(), role("lb1", "standby → holder")]);
    assert_eq!(
        (texts(&first), fault),
        (vec!["started", "standby → holder"], None)
    );
    let mode = fs::metadata(file(&etc)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stopping = Entry::new("lb1", STOPPING, "stops");
    let (second, _) = incarnation(&etc.0, &[started(), stopping]);
    assert_eq!(
        texts(&second),
        ["started", "standby → holder", "started", "stops"]
    );
    assert!(second[2].why.as_ref().unwrap().contains("was killed"));
    let (third, _) = incarnation(&etc.0, &[started()]);
    assert_eq!(third.len(), 5);
    assert_eq!(third[4].why, None, "the one before stopped in order");
    assert_eq!(read(&file(&etc)).unwrap(), third);
}

#[test]
fn a_damaged_file_is_kept_aside_and_said() {
    for damaged in [
        "",
        "{}\n",
        "{\"onehold_history\":1}\n{\"at\"",
        "{\"onehold_history\":2}\n",
        "[1]\n\n",
    ] {
        let etc = Etc::new();
        fs::write(file(&etc), damaged).unwrap();
        let (entries, fault) = incarnation(&etc.0, &[Entry::new("lb1", STARTED, "started")]);
        assert_eq!(
            texts(&entries),
            ["started", "what happened before this can't be read"]
        );
        let why = entries[1].why.as_ref().unwrap();
        assert!(why.contains("web.lb1.history.damaged"), "{why}");
        assert_eq!(fault, None);
        let aside = fs::read_to_string(etc.0.join("web.lb1.history.damaged")).unwrap();
        assert_eq!(aside, damaged);
        assert_eq!(read(&file(&etc)).unwrap(), entries);
    }
}

#[test]
fn what_cannot_be_kept_is_shown_and_said() {
    let etc = Etc::new();
    let directory = etc.write("a-file", "");
    let (entries, fault) = block_on(async {
        let mut now = LocalTime::from_nanos(0);
        let mut keeper = Keeper::default();
        keeper.join(&directory, "web", "lb1");
        keeper.add(0, role("lb1", "standby → holder"), now);
        for _ in 0..100 {
            now = now.plus(Span::from_millis(20));
            std::future::poll_fn(|cx| {
                keeper.poll(now, cx);
                Poll::Ready(())
            })
            .await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        keeper.history(0).unwrap()
    });
    assert_eq!(texts(&entries), ["standby → holder"]);
    assert!(fault.unwrap().contains("a-file"));
}

#[test]
fn hundreds_of_clusters_are_read_and_written_and_have_a_bound_together() {
    let etc = Etc::new();
    block_on(async {
        let mut now = LocalTime::from_nanos(0);
        let mut keeper = Keeper::default();
        for n in 0..300 {
            keeper.join(&etc.0, &format!("c{n}"), "w");
        }
        for n in 0..300 {
            for m in 0..40 {
                keeper.add(
                    n,
                    Entry::new("lb0", "x", format!("{}", ['a', 'b'][m % 2])),
                    now,
                );
            }
        }
        settle(&mut keeper, &mut now).await;
        assert!((0..300).all(|n| keeper.history(n).unwrap().0.len() == 33));
        let files = fs::read_dir(&etc.0).unwrap().map(|f| f.unwrap().path());
        let kept = files.filter(|f| f.extension().is_some_and(|e| e == "history"));
        assert_eq!(kept.count(), 300);
    });
}

#[test]
fn what_takes_long_is_written_less_often() {
    let etc = Etc::new();
    block_on(async {
        let mut now = LocalTime::from_nanos(0);
        let mut keeper = Keeper::default();
        keeper.join(&etc.0, "web", "lb1");
        settle(&mut keeper, &mut now).await;
        let entry = || role("lb1", "standby → holder");
        now = now.plus(Span::from_millis(100_000)); // whatever was done before is long ago
        keeper.add(0, entry(), now);
        assert_eq!(keeper.due(), Some(now.plus(Span::from_millis(50))));
        keeper.rests(now, Span::from_millis(200));
        let later = now.plus(Span::from_millis(4_000));
        assert_eq!(keeper.due(), Some(later), "what was to come sooner");
        settle(&mut keeper, &mut now).await;
        keeper.rests(now, Span::from_millis(1_000_000));
        keeper.add(0, entry(), now);
        let later = now.plus(Span::from_millis(20_000_000));
        assert_eq!(keeper.due(), Some(later));
    });
}

#[test]
fn clusters_to_which_something_happens_all_the_time_keep_none_of_the_others_off_the_disk() {
    let etc = Etc::new();
    block_on(async {
        let mut now = LocalTime::from_nanos(0);
        let mut keeper = Keeper::default();
        for n in 0..150 {
            keeper.join(&etc.0, &format!("c{n}"), "w");
        }
        settle(&mut keeper, &mut now).await;
        keeper.add(149, Entry::new("lb0", "x", "once"), now);
        let patience = crate::clock::boottime().plus(Span::from_millis(120_000));
        while !etc.0.join("c149.w.history").exists() {
            assert!(crate::clock::boottime() < patience, "it is never written");
            now = now.plus(Span::from_millis(100));
            for n in 0..140 {
                let text = ["a", "b"][usize::from(now.as_nanos().is_multiple_of(200_000_000))];
                keeper.add(n, Entry::new("lb0", "x", text), now);
            }
            keeper.poll(now, &mut Context::from_waker(Waker::noop()));
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
}

use super::*;
use crate::config_file::tests::Etc;
use std::sync::OnceLock;

/// One for all tests: children are the process's.
pub(in crate::agent) fn nursery() -> Nursery {
    static NURSERY: OnceLock<Nursery> = OnceLock::new();
    NURSERY.get_or_init(|| Nursery::new().unwrap()).clone()
}

pub(in crate::agent) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(test)
}

fn shell(script: &str) -> Job {
    Job {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("ONEHOLD_GROUP".to_owned(), "web".to_owned())],
        user: User::default(),
    }
}

async fn run(script: &str, deadline: u64, ending: Ending) -> Ended {
    let deadline = Duration::from_millis(deadline);
    let never = std::future::pending();
    nursery()
        .run(&shell(script), deadline, ending, never, |_| {})
        .await
}

/// Far more than anything here takes.
const LONG: u64 = 20_000;

/// Whether a process is there, and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn gone(pid: &str) {
    for _ in 0..LONG / 5 {
        if !lives(pid) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("process {pid} lives");
}

#[test]
fn what_a_command_said_and_how_it_ended_is_one_line() {
    block_on(async {
        for (script, words) in [
            ("exit 0", ""),
            ("echo fine; echo", "fine"),
            ("echo a; echo b >&2; exit 3", "b (exit status 3)"),
            (
                "printf 'half a line'; exit 1",
                "half a line (exit status 1)",
            ),
            (
                "printf '\\033[31mred\\n'; exit 1",
                "[31mred (exit status 1)",
            ),
            ("kill -9 $$", "ended by signal 9"),
        ] {
            let ended = run(script, LONG, Ending::AtOnce).await;
            assert_eq!(ended.in_words(), words, "{script}");
            assert_eq!(ended.is_good(), words.is_empty() || words == "fine");
            assert!(ended.stuck.is_none());
        }
        let none = Job {
            command: vec!["/nowhere/x".to_owned()],
            ..shell("")
        };
        let never = std::future::pending();
        let ended = nursery()
            .run(&none, Duration::from_secs(1), Ending::AtOnce, never, |_| {})
            .await;
        assert!(
            ended
                .in_words()
                .starts_with("`/nowhere/x`: can't be started"),
            "{ended:?}"
        );
    });
}

#[test]
fn its_environment_is_ours_alone() {
    block_on(async {
        let mut lines = Vec::new();
        let never = std::future::pending();
        let line = |line: &str| lines.push(line.split('=').next().unwrap_or_default().to_owned());
        let deadline = Duration::from_millis(LONG);
        nursery()
            .run(
                &shell("env; pwd; read x || echo no input"),
                deadline,
                Ending::AtOnce,
                never,
                line,
            )
            .await;
        lines.sort();
        lines.retain(|name| name != "PWD" && name != "SHLVL" && name != "_");
        assert_eq!(
            lines,
            [
                "/",
                "LANG",
                "ONEHOLD_GROUP",
                "ONEHOLD_RUN",
                "PATH",
                "no input"
            ]
        );
    });
}

#[test]
fn at_its_deadline_it_is_killed_with_its_children_and_those_that_left_its_group() {
    block_on(async {
        let etc = Etc::new();
        let file = |name: &str| etc.0.join(name);
        let script = format!(
            "trap '' TERM; sleep 600 & echo $! >{}; setsid sleep 601 & setsid sh -c 'sleep 602 & echo $! >{}; wait' & \
             echo $! >{}; echo hanging; wait; sleep 603",
            file("child").display(),
            file("far").display(),
            file("own").display()
        );
        let ended = run(&script, 1_000, Ending::AtOnce).await;
        assert_eq!(ended.how, How::TooLate(Duration::from_millis(1_000)));
        assert_eq!(ended.in_words(), "hanging (not done within 1s, and killed)");
        assert!(ended.stuck.is_none());
        for name in ["child", "far", "own"] {
            let pid = std::fs::read_to_string(file(name)).unwrap();
            for _ in 0..100 {
                // One that lost its parent a moment ago is ours a moment later.
                nursery().tidy();
                if !lives(&pid) {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            gone(&pid);
        }
    });
}

#[test]
fn a_hook_is_asked_first_and_what_it_started_on_purpose_stays() {
    block_on(async {
        let polite = run(
            "trap 'echo bye; exit 0' TERM; sleep 600 & wait",
            300,
            Ending::Asked,
        )
        .await;
        assert_eq!(polite.in_words(), "bye (not done within 300ms, and killed)");
        let stubborn = run(
            "trap '' TERM; while :; do sleep 1; done",
            300,
            Ending::Asked,
        )
        .await;
        assert_eq!(stubborn.how, How::TooLate(Duration::from_millis(300)));
        assert!(stubborn.stuck.is_none());
        let started = run("sleep 600 >/dev/null 2>&1 & echo $!", LONG, Ending::Asked).await;
        assert!(started.is_good() && lives(&started.said), "{started:?}");
        let pid = started
            .said
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        gone(&started.said);
    });
}

#[test]
fn what_is_no_longer_wanted_is_ended() {
    block_on(async {
        let soon = sleep(Duration::from_millis(100));
        let job = shell("echo on; exec sleep 600");
        let ended = nursery()
            .run(
                &job,
                Duration::from_millis(LONG),
                Ending::Asked,
                soon,
                |_| {},
            )
            .await;
        assert_eq!(ended.how, How::Unwanted);
        assert_eq!(ended.said, "on");
    });
}

#[test]
fn a_flood_of_words_is_read_and_not_kept_and_ends_at_the_deadline() {
    block_on(async {
        let mut longest = 0;
        let never = std::future::pending();
        let line = |line: &str| longest = longest.max(line.len());
        let job = shell("while :; do printf '%0300d\\n' 1; done & exec yes x | tr -d '\\n'");
        let ended = nursery()
            .run(
                &job,
                Duration::from_millis(300),
                Ending::AtOnce,
                never,
                line,
            )
            .await;
        assert_eq!(ended.how, How::TooLate(Duration::from_millis(300)));
        assert!(longest <= crate::control::session::MAX_WORDS);
    });
}

#[test]
fn dropped_it_is_killed() {
    block_on(async {
        let etc = Etc::new();
        let file = etc.0.join("pid");
        let job = shell(&format!("echo $$ >{}; exec sleep 600", file.display()));
        let never = std::future::pending();
        let all = nursery();
        let run = all.run(
            &job,
            Duration::from_millis(LONG),
            Ending::Asked,
            never,
            |_| {},
        );
        let _ = timeout(Duration::from_millis(300), run).await;
        gone(&std::fs::read_to_string(file).unwrap());
    });
}

#[test]
fn another_user_is_one_of_this_host() {
    let etc = Etc::new();
    let passwd = etc.write(
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:x:/:/x\nbad:x:y\n\n",
    );
    assert_eq!(ids_in(&passwd, "www-data"), Some((33, 34)));
    assert_eq!(ids_in(&passwd, "bad"), None);
    assert_eq!(ids_in(&passwd, "x"), None);
    let said = ids_of(&User(Some("onehold-nobody-at-all".to_owned()))).unwrap_err();
    assert!(said.contains("no user `onehold-nobody-at-all`"), "{said}");
    if rustix::process::geteuid().is_root() {
        block_on(async {
            let job = Job {
                user: User(Some("nobody".to_owned())),
                ..shell("id -u; id -G")
            };
            let mut lines = Vec::new();
            let never = std::future::pending();
            let line = |line: &str| lines.push(line.to_owned());
            nursery()
                .run(
                    &job,
                    Duration::from_millis(LONG),
                    Ending::AtOnce,
                    never,
                    line,
                )
                .await;
            assert_eq!(lines, ["65534", "65534"]);
        });
    }
}

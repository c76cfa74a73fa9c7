//! What every mover has in common: how it reads, what it refuses, and that nobody sees a secret.

use crate::hook::{Hook, TOKEN, need};
use crate::{ALL, movers};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

#[test]
fn shellcheck_has_nothing_to_say() {
    need("shellcheck", "shellcheck");
    let files = fs::read_dir(movers()).expect("they are there").flatten();
    let files: Vec<_> = files.map(|file| file.path()).collect();
    assert!(files.len() > ALL.len(), "{files:?}");
    let options = ["--shell=sh", "--external-sources", "--severity=style"];
    let checked = Command::new("shellcheck")
        .args(options)
        .args(&files)
        .output();
    let checked = checked.expect("it was found");
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
}

#[test]
fn all_are_known_and_executable() {
    for file in fs::read_dir(movers()).expect("they are there").flatten() {
        let name = file.file_name().into_string().expect("a name");
        let mode = file.metadata().expect("it is there").permissions().mode();
        let sourced = name.ends_with(".sh");
        assert_eq!(
            ALL.contains(&name.as_str()),
            !sourced,
            "{name} is not in the list of this test"
        );
        assert_eq!(mode & 0o111 != 0, !sourced, "{name}: {mode:o}");
    }
}

#[test]
fn every_option_is_in_the_help_and_in_the_book() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/clouds.md");
    let book = fs::read_to_string(book).expect("the page");
    let hook = Hook::new("help", "");
    for mover in ALL {
        let help = hook.run(mover, &["--help"]).ok().out;
        let text = fs::read_to_string(movers().join(mover)).expect("a file");
        let line = text
            .lines()
            .find(|line| line.starts_with("options '"))
            .expect("its options");
        let own = line.split('\'').nth(1).expect("they are quoted").split(' ');
        for option in own.chain(["addresses", "patience", "timeout", "dry-run"]) {
            assert!(
                help.contains(&format!("--{option}")),
                "{mover}: --{option}\n{help}"
            );
            assert!(
                book.contains(&format!("`--{option}")),
                "{mover}: --{option}"
            );
        }
        let said = help
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"));
        for option in said.map(|word| word.trim_end_matches([',', '.', ';'])) {
            let known = format!("--{option}");
            hook.run(mover, &[known.as_str()]).failed(
                2,
                match option {
                    "dry-run" => "no address",
                    _ => "needs a value",
                },
            );
        }
    }
}

#[test]
fn what_cant_be_is_said() {
    let hook = Hook::new("wrong", "203.0.113.7");
    for mover in ALL {
        hook.run(mover, &["--serverr", "1"])
            .failed(2, "there is no option --serverr");
        hook.run(mover, &["43"]).failed(2, "`43` is not an option");
        hook.run(mover, &["--addresses", ""])
            .failed(2, "--addresses is empty");
        hook.run(mover, &["--addresses", "10.0.0.1/24"])
            .failed(2, "an address without prefix");
        hook.run(mover, &["--timeout", "1s"])
            .failed(2, "--timeout is `1s`, and must be a number");
        hook.run(mover, &["--timeout", "0"])
            .failed(2, "--timeout is 0");
    }
    let token = hook.token();
    let mut options = vec!["--server", "lb0", &token[0], &token[1]];
    hook.run("hetzner-floating-ip", &options)
        .failed(2, "--server is `lb0`, and must be a number");
    options[1] = "43";
    options.extend(["--api", "http://api.example"]);
    hook.run("hetzner-floating-ip", &options)
        .failed(2, "must begin with https://");
    hook.run("aws-route", &["--region", "eu-west-1"])
        .failed(2, "--tables \"RTB…\" is needed");
    hook.run("openstack-port", &["--port", "lb0!"])
        .failed(2, "must be the id of a port");
    // Nobody listens there: the remedy is an option.
    let nobody = ["--metadata", "http://127.0.0.1:1", &token[0], &token[1]];
    hook.run("hetzner-floating-ip", &nobody)
        .failed(1, "; or say --server");
    hook.run("aws-secondary-ip", &nobody[..2])
        .failed(1, "; or say --region");
    hook.run("gcp-alias-ip", &nobody[..2])
        .failed(1, "; or say --instance");
}

#[test]
fn a_mover_is_for_one_kind_of_hook() {
    for state in ["preparing", "released"] {
        let hook = Hook::new(&format!("state-{state}"), "203.0.113.7").state(state);
        for mover in ALL {
            hook.run(mover, &[""; 0])
                .failed(2, "a mover is a `holding` hook and nothing else");
        }
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let hook = Hook::new("secret", "203.0.113.7");
    let [option, path] = hook.token();
    let refused = |words: &str| {
        let options = ["--server", "43", &option, &path];
        hook.run("hetzner-floating-ip", &options).failed(2, words);
        hook.run("digitalocean-reserved-ip", &[&option, &path])
            .failed(2, words);
        let options = ["--credentials", &path, "--port", "1a"];
        hook.run("openstack-port", &options).failed(2, words);
        let options = [
            "--credentials",
            &path,
            "--region",
            "eu-west-1",
            "--eni",
            "eni-1",
        ];
        hook.run("aws-secondary-ip", &options).failed(2, words);
    };
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        refused(&format!(
            "has mode {mode:o}, so others than its owner can reach it; run `chmod 600"
        ));
    }
    fs::remove_file(&path).expect("it was there");
    refused("does not exist");
    fs::create_dir(&path).expect("a directory");
    refused("is not a file");
    fs::remove_dir(&path).expect("it was there");
    let read = |text: &str, words: &str| {
        hook.secret("token", text);
        let options = ["--server", "43", &option, &path];
        hook.run("hetzner-floating-ip", &options).failed(2, words);
    };
    read("", "has no token");
    read("two words", "has something else than a token");
    read("a\"b", "has something else than a token");
}

#[test]
fn a_missing_program_is_named() {
    let hook = Hook::new("missing", "203.0.113.7");
    // A path on which there is all that is needed but one.
    let tools = "sh sed tr cut stat id sleep timeout grep cat env";
    for (missing, there) in [("jq", "curl"), ("curl", "jq")] {
        let bin = hook.path(missing);
        fs::create_dir_all(&bin).expect("a directory");
        for tool in tools.split(' ').chain([there]) {
            let found = ["/usr/bin", "/bin"].map(|d| format!("{d}/{tool}"));
            let found = found
                .iter()
                .find(|p| fs::exists(p).unwrap_or(false))
                .expect("it is installed");
            let _ = std::os::unix::fs::symlink(found, bin.join(tool));
        }
        let mover = movers().join("hetzner-floating-ip");
        let mut command = Command::new(mover);
        command
            .args(["--addresses", "1.2.3.4", "--dry-run"])
            .env_clear();
        let output = command.env("PATH", &bin).output().expect("it is a program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            said.contains(&format!(
                "`{missing}` is missing: install the package {missing}"
            )),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn no_program_is_given_a_secret() {
    let hook = Hook::new("argv", "203.0.113.7");
    let seen = hook.path("seen");
    // All that might have it; each notes its arguments.
    for program in ["curl", "jq", "sed", "tr", "cut", "stat", "grep", "timeout"] {
        let note = format!(
            "printf '%s\\n' {program} \"$@\" >>'{}'\nPATH=/usr/local/bin:/usr/bin:/bin exec {program} \"$@\"",
            seen.display()
        );
        hook.program(program, &note);
    }
    let [option, path] = hook.token();
    let aws = format!(
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = {TOKEN}\naws_session_token = {TOKEN}"
    );
    let aws = hook.secret("aws", &aws).display().to_string();
    let rc = format!(
        "OS_AUTH_URL=http://127.0.0.1:1/v3\nOS_APPLICATION_CREDENTIAL_ID=1\nOS_APPLICATION_CREDENTIAL_SECRET={TOKEN}"
    );
    let rc = hook.secret("rc", &rc).display().to_string();
    let api = ["--api", "http://127.0.0.1:1"]; // where nobody listens
    let run = |mover: &str, options: &[&str]| {
        hook.run(mover, &[&api[..], options].concat())
            .failed(1, "curl: (7)");
    };
    run("hetzner-floating-ip", &["--server", "43", &option, &path]);
    run("hetzner-alias-ip", &["--server", "43", &option, &path]);
    run(
        "digitalocean-reserved-ip",
        &["--droplet", "43", &option, &path],
    );
    run(
        "gcp-alias-ip",
        &[
            "--instance",
            "a",
            "--zone",
            "b",
            "--project",
            "c",
            &option,
            &path,
        ],
    );
    run("openstack-port", &["--port", "1a", "--credentials", &rc]);
    for (mover, more) in [
        ("aws-secondary-ip", &[][..]),
        ("aws-route", &["--tables", "rtb-1"]),
    ] {
        let own = [
            "--region",
            "eu-west-1",
            "--eni",
            "eni-1",
            "--credentials",
            &aws,
        ];
        run(mover, &[&own, more].concat());
    }
    let seen = fs::read_to_string(seen).expect("programs were run");
    assert_eq!(
        seen.lines().filter(|line| *line == "curl").count(),
        ALL.len()
    );
    assert!(!seen.contains(TOKEN), "{seen}");
}

//! The packages: built as `cargo packages` builds them, looked at, and installed into a clean Debian.
//!
//! `cargo verify packages` runs these; they need `cargo-deb` and `cargo-generate-rpm`
//! (`cargo packages tools`).

use onehold_sim::vms::mirror;
use onehold_tests::{binaries, is_machine_root, not_run};
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// A newer version than that of the sources.
const NEWER: &str = "999.0.0-1";

/// What a program prints; it must succeed.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    assert!(status.success(), "{command:?}: {status}\n{text}\n{error}");
    text
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Packages {
    deb: PathBuf,
    newer: PathBuf,
    rpm: PathBuf,
}

/// Both packages, and a newer one, of the release binary.
fn packages() -> &'static Packages {
    static BUILT: OnceLock<Packages> = OnceLock::new();
    BUILT.get_or_init(|| {
        binaries::onehold();
        let out = binaries::target().join("packages/tested");
        if out.exists() {
            fs::remove_dir_all(&out).expect("it can be made again");
        }
        let built = |of: &[&str], more: &[&str], name: &str| {
            let to = out.join(name);
            fs::create_dir_all(&out).expect("a directory");
            let mut command = Command::new(env!("CARGO"));
            command.current_dir(workspace()).args(["packages"]).args(of);
            said(
                command
                    .args(["--no-build", "--"])
                    .args(more)
                    .arg("-o")
                    .arg(&to),
            );
            to
        };
        Packages {
            deb: built(&["deb"], &[], "first.deb"),
            newer: built(&["deb"], &["--deb-version", NEWER], "second.deb"),
            rpm: built(&["rpm"], &[], "first.rpm"),
        }
    })
}

#[test]
#[ignore = "`cargo verify packages` runs it"]
fn both_packages_install_the_same_files() {
    let listed = said(
        Command::new("dpkg-deb")
            .arg("--contents")
            .arg(&packages().deb),
    );
    let of_deb = listed.lines().filter(|line| !line.starts_with('d'));
    // Where the two differ by custom.
    let plain = |path: &str| {
        let path = path.trim_start_matches(['.', '/']).trim_end_matches(".gz");
        path.replace("zsh/vendor-completions", "zsh/site-functions")
    };
    let mut of_deb: BTreeSet<String> = of_deb
        .filter_map(|line| line.split_whitespace().nth(5).map(plain))
        .collect();
    let doc = "usr/share/doc/onehold";
    for only in [
        &format!("{doc}/copyright"),
        &format!("{doc}/changelog.Debian"),
        "etc/needrestart/conf.d/onehold.conf",
    ] {
        assert!(of_deb.remove(only), "{only}: {of_deb:?}");
    }
    let listed = said(
        Command::new("rpm")
            .args(["-qpl", "--nosignature"])
            .arg(&packages().rpm),
    );
    let of_rpm: BTreeSet<String> = listed.lines().map(plain).collect();
    assert_eq!(of_deb, of_rpm);
    for needed in [
        "usr/bin/onehold",
        "usr/lib/systemd/system/onehold@.service",
        "usr/lib/onehold/movers/lib.sh",
        "usr/share/man/man5/onehold.toml.5",
    ] {
        assert!(of_rpm.contains(needed), "{needed}: {of_rpm:?}");
    }
}

#[test]
#[ignore = "`cargo verify packages` runs it"]
fn the_rpm_can_be_unpacked_and_restarts_nothing() {
    let Packages { rpm, .. } = packages();
    let count = said(
        Command::new("sh")
            .args(["-c", "rpm2cpio \"$0\" | cpio --list --quiet | wc -l"])
            .arg(rpm),
    );
    assert!(count.trim().parse::<u32>().is_ok_and(|n| n > 30), "{count}");
    let scripts = said(
        Command::new("rpm")
            .args(["-qp", "--scripts", "--nosignature"])
            .arg(rpm),
    );
    assert!(scripts.contains("daemon-reload"), "{scripts}");
    for word in [
        "systemctl restart onehold\n",
        "try-restart",
        "enable",
        "systemctl start",
    ] {
        assert!(!scripts.contains(word), "{word}: {scripts}");
    }
}

#[test]
#[ignore = "`cargo verify packages` runs it"]
fn lintian_finds_no_error() {
    let mut lintian = Command::new("lintian");
    lintian.args([
        "--allow-root",
        "--fail-on",
        "error",
        "--no-tag-display-limit",
    ]);
    println!("{}", said(lintian.arg(&packages().deb)));
}

#[test]
#[ignore = "`cargo verify packages` runs it"]
fn every_command_has_a_page_and_is_completed() {
    packages();
    let made = binaries::target().join("packaging");
    let help = said(Command::new(binaries::onehold()).arg("help"));
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 10, "{help}");
    let read =
        |path: &str| fs::read_to_string(made.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    for name in names {
        let page = made.join(format!("man1/onehold-{name}.1"));
        let text = said(Command::new("man").args(["--warnings", "-l"]).arg(&page));
        assert!(text.contains("SYNOPSIS"), "{name}: {text}");
        for shell in ["onehold.bash", "_onehold", "onehold.fish"] {
            assert!(
                read(&format!("completions/{shell}")).contains(name),
                "{shell} has no {name}"
            );
        }
    }
    said(
        Command::new("bash")
            .arg("-n")
            .arg(made.join("completions/onehold.bash")),
    );
    said(
        Command::new("man")
            .args(["--warnings", "-l"])
            .arg(made.join("man5/onehold.toml.5")),
    );
}

#[test]
#[ignore = "`cargo verify packages` runs it"]
fn an_upgrade_leaves_the_holder_alone_and_a_purge_leaves_nothing() {
    if !is_machine_root() {
        return not_run("it takes the machine's root to make a Debian");
    }
    let Packages { deb, newer, .. } = packages();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages/clean_root.sh");
    let mut run = Command::new("unshare");
    run.args([
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
    ]);
    let told = said(run.arg(script).arg(clean_root()).arg(deb).arg(newer));
    println!("{told}");
    assert!(told.contains("== all is well"), "{told}");
}

/// A Debian with systemd and nothing else, made once.
fn clean_root() -> PathBuf {
    const RECIPE: &str = "minbase bookworm systemd,procps";
    let directory = binaries::target().join("debian-clean");
    fs::create_dir_all(&directory).expect("a directory");
    let (root, made) = (directory.join("root"), directory.join("recipe"));
    let lock = File::create(directory.join("lock")).expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    if fs::read_to_string(&made).is_ok_and(|it| it == RECIPE) {
        return root;
    }
    if root.exists() {
        fs::remove_dir_all(&root).expect("it can be made again");
    }
    let mirror = mirror().unwrap_or_else(|why| panic!("{why}"));
    let mut make = Command::new("mmdebstrap");
    make.args([
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--include=systemd,procps",
        "bookworm",
    ]);
    said(make.arg(&root).arg(format!("deb {mirror} bookworm main")));
    fs::write(&made, RECIPE).expect("a file");
    root
}

//! The release binaries: built if need be, once in a process.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The shipped daemon and client.
///
/// # Panics
/// If it can't be built.
pub fn onehold() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| release().join("onehold"))
}

/// The lab's own command.
///
/// # Panics
/// If it can't be built.
pub fn onehold_lab() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| release().join("onehold-lab"))
}

/// `cargo build --release` makes sure that the binaries are those of the sources. It takes no time
/// if `cargo verify` has just done the same, in the same words.
fn release() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    const WORDS: &str = "build --release -p onehold -p onehold-sim";
    DIRECTORY.get_or_init(|| {
        let target = target();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(WORDS.split(' ')).arg("--quiet");
        command.arg("--target-dir").arg(&target);
        command.current_dir(workspace).stdin(Stdio::null());
        let built = command.status().is_ok_and(|status| status.success());
        assert!(built, "there are no binaries to test: cargo {WORDS}");
        target.join("release")
    })
}

/// The first program of version 1 of the datagrams, which is frozen since; the last release, once there is one.
pub const OLDER: &str = include_str!("../older").trim_ascii_end();

/// The daemon and client of [`OLDER`], built from this repository's history.
///
/// # Panics
/// If it can't be built.
pub fn older() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let target = target().join("older");
        let source = target.join(OLDER);
        std::fs::create_dir_all(&source).expect("a directory");
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let shell = format!("git archive {OLDER} | tar --extract --directory \"$0\"");
        let mut unpack = Command::new("sh");
        unpack.args(["-c", &shell]).arg(&source);
        succeeds(unpack.current_dir(workspace));
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--locked", "--package", "onehold"]);
        build.args(["--config", "profile.dev.debug=false"]); // nobody debugs it
        build.arg("--target-dir").arg(&target);
        succeeds(build.current_dir(source).stdin(Stdio::null()));
        target.join("debug/onehold")
    })
}

fn succeeds(command: &mut Command) {
    let done = command.status().is_ok_and(|status| status.success());
    assert!(done, "the program of {OLDER} can't be built: {command:?}");
}

/// Where everything is built.
#[must_use]
pub fn target() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own file");
    // target/debug/deps/TEST
    let target = test.ancestors().nth(3).expect("a test is in target/");
    target.to_owned()
}

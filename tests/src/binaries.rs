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
    BINARY.get_or_init(|| release("onehold", "onehold"))
}

/// The lab's own command.
///
/// # Panics
/// If it can't be built.
pub fn onehold_lab() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| release("onehold-sim", "onehold-lab"))
}

/// `cargo build --release` sees to it that the binary is that of the sources; it takes no time if
/// `cargo verify` has just done the same.
fn release(package: &str, binary: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own file");
    // target/debug/deps/TEST
    let target = test.ancestors().nth(3).expect("a test is in target/");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .current_dir(workspace)
        .args(["build", "--quiet", "--release", "--package", package])
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .status();
    let binary = target.join("release").join(binary);
    assert!(
        matches!(built, Ok(status) if status.success()) && binary.exists(),
        "there is no {}; build it: cargo build --release -p {package}",
        binary.display()
    );
    binary
}

//! Where the `onehold` binary is, and that it is up to date.

use crate::error::{Context, Result, err};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The `onehold` binary beside the running one. Under cargo, or if it is missing, it is built
/// first, with the same profile; `progress` is called when that starts.
///
/// Call this before [`super::privilege::acquire`]: a build may need the network.
///
/// # Errors
/// If it can be neither found nor built.
pub fn onehold(progress: impl FnOnce(&str)) -> Result<PathBuf> {
    let me = env::current_exe().context(|| "looking for this program's own file")?;
    let directory = me.parent().unwrap_or(Path::new("."));
    let binary = directory.join("onehold");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let workspace = workspace.filter(|w| w.join("Cargo.toml").exists());
    let under_cargo = env::var_os("CARGO").is_some();
    match (workspace, binary.exists()) {
        (Some(workspace), exists) if under_cargo || !exists => {
            progress("building the onehold binary with cargo");
            build(workspace, directory)?;
            Ok(binary)
        }
        (_, true) => Ok(binary),
        (_, false) => Err(err(format!(
            "there is no {}; build it with `cargo build --release -p onehold`, or name one with \
             --binary FILE",
            binary.display()
        ))),
    }
}

/// Of both packages at once, as this program was: what they have in common is built already.
fn build(workspace: &Path, directory: &Path) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).stdin(Stdio::null());
    command.args("build --quiet -p onehold -p onehold-sim --bin onehold".split(' '));
    if !cfg!(feature = "worlds") {
        command.arg("--no-default-features");
    }
    let profile = directory.file_name().filter(|name| *name != "debug");
    let profile = profile.unwrap_or("dev".as_ref());
    command.arg("--profile").arg(profile);
    if let Some(target) = directory.parent() {
        command.arg("--target-dir").arg(target);
    }
    let ended = command.status().context(|| "running cargo")?;
    match ended.success() {
        true => Ok(()),
        false => Err(err(
            "cargo could not build the package `onehold`; its messages are above",
        )),
    }
}

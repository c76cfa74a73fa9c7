//! Programs of this machine that the VM tests use.

use crate::error::{Context, Result, err};
use std::process::{Command, Stdio};

/// Runs a program to its end; what it says is for people.
pub(super) fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.context(|| format!("starting `{name}`"))?;
    match ended.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&ended.stderr);
            let last: Vec<&str> = said.lines().rev().take(12).collect();
            let last: String = last
                .iter()
                .rev()
                .map(|line| format!("\n  {line}"))
                .collect();
            Err(err(format!("`{name}` failed ({}):{last}", ended.status)))
        }
    }
}

/// What a program prints.
pub(super) fn output(mut command: Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.context(|| format!("starting `{name}`"))?;
    match ended.status.success() {
        true => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        false => Err(err(format!("`{name}` failed ({})", ended.status))),
    }
}

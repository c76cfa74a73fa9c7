//! `onehold join`: the files of a cluster, from a token.

use super::init::{Done, PlaceArgs, absolute, next, put};
use super::{Failure, print};
use crate::init::{Carried, secret_beside};
use clap::Args;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

/// The longest token that is read.
const MOST: u64 = 128 * 1024;
/// A reading that goes on no longer is at its end.
const END: char = '.';

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// What `onehold init` printed; `-` reads it from standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    token: Option<String>,
    /// Read it from FILE
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

pub(super) fn join(asked: &JoinArgs) -> Result<(), Failure> {
    let said = match (&asked.token, &asked.file) {
        (Some(token), _) if token != "-" => token.clone(),
        (_, Some(file)) => of_file(file)?,
        (_, None) => of_input()?,
    };
    let Carried {
        config: text,
        secret,
    } = Carried::from_token(&said).map_err(Failure::Usage)?;
    let place = PlaceArgs {
        config: absolute(&asked.place.config)?,
        member: asked.place.member.clone(),
        force: asked.place.force,
    };
    is_beside(&text, &place.config)?;
    let Done { text, .. } = put(&place, &text, Some(&secret))?;
    print(&format!("{text}\n{}", next(&place.config)))
}

/// Refuses a file whose secret would be elsewhere: nothing is written but these two files.
fn is_beside(text: &str, config: &Path) -> Result<(), Failure> {
    let hidden = secret_beside(config);
    let is_it = |line: &str| {
        let value = line.strip_prefix("secret_file = \"")?;
        Some(value.strip_suffix('"')? == hidden.to_str()?)
    };
    match text.lines().find_map(is_it) {
        Some(true) => Ok(()),
        Some(false) | None => Err(Failure::Usage(format!(
            "the file of this token has its secret in another place than {}; use the same --config as `onehold init` did",
            hidden.display()
        ))),
    }
}

fn of_file(file: &Path) -> Result<String, Failure> {
    let wrong =
        |e: std::io::Error| Failure::Failed(format!("{} can't be read: {e}", file.display()));
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(wrong)?;
    opened.take(MOST).read_to_string(&mut text).map_err(wrong)?;
    Ok(text)
}

/// What is pasted or piped: up to its end, over however many lines it was broken.
fn of_input() -> Result<String, Failure> {
    let wrong = |e: std::io::Error| Failure::Failed(format!("standard input can't be read: {e}"));
    let input = std::io::stdin();
    if input.is_terminal() {
        eprintln!("paste the token, then Enter:");
    }
    let mut text = String::new();
    let mut input = input.lock().take(MOST);
    loop {
        let length = input.read_line(&mut text).map_err(wrong)?;
        if length == 0 || text.trim_end().ends_with(END) {
            return Ok(text);
        }
    }
}

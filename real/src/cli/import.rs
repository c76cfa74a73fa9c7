//! `onehold import`: our file on standard output, the report on standard error or in a file.

use super::{Failure, print};
use crate::import::{Here, Imported, NamedMember, ThisDisk, Wanted, heartbeat, keepalived};
use crate::secret::{self, Secret};
use clap::{Args, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From Heartbeat: ha.cf, haresources and authkeys
    Heartbeat {
        /// Where they are
        #[arg(default_value = "/etc/ha.d")]
        directory: PathBuf,
        #[command(flatten)]
        more: MoreArgs,
    },
    /// From keepalived: the file of one machine, or those of both
    Keepalived {
        /// The file of one machine
        #[arg(default_value = "/etc/keepalived/keepalived.conf")]
        file: PathBuf,
        /// The file of the other machine
        #[arg(long, value_name = "FILE")]
        peer: Option<PathBuf>,
        #[command(flatten)]
        more: MoreArgs,
    },
}

#[derive(Debug, Args)]
struct MoreArgs {
    /// A member and its own addresses, where the files don't say them; once for each member
    #[arg(long = "member", value_name = "NAME[=ADDRESS,…]")]
    members: Vec<NamedMember>,
    /// Make the secret in FILE, which our file then names: the former one, if it is strong enough, or
    /// a new one. A secret that is there stays
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
    /// Write the report to FILE instead of standard error
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Imports; fails if the file lacks something, after it was printed.
pub(super) fn import(asked: ImportArgs) -> Result<(), Failure> {
    let (disk, here) = (&ThisDisk, &Here::now());
    let (imported, more) = match asked.from {
        From::Heartbeat { directory, more } => (
            heartbeat::import(disk, here, &directory, &more.wanted()?),
            more,
        ),
        From::Keepalived { file, peer, more } => (
            keepalived::import(disk, &file, peer.as_deref(), &more.wanted()?),
            more,
        ),
    };
    let mut imported = imported.map_err(Failure::Usage)?;
    if let Some(path) = &more.secret {
        let what = keep_secret(path, &imported).map_err(Failure::Failed)?;
        imported.report.note(what);
    }
    let text = imported.report.text();
    match &more.report {
        None => drop(std::io::stderr().write_all(text.as_bytes())), // a reader that has gone away
        Some(path) => std::fs::write(path, &text)
            .map_err(|e| Failure::Failed(format!("{} can't be written: {e}", path.display())))?,
    }
    print(&imported.file)?;
    match imported.lacks.len() {
        0 => Ok(()),
        n => Err(Failure::Failed(format!(
            "the file is not complete: {n} things must be written into it, which the report names at its end"
        ))),
    }
}

impl MoreArgs {
    fn wanted(&self) -> Result<Wanted, Failure> {
        let secret = self
            .secret
            .as_deref()
            .unwrap_or(Path::new(secret::DEFAULT_PATH));
        let secret_file = std::path::absolute(secret)
            .map_err(|e| Failure::Failed(format!("{}: {e}", secret.display())))?;
        Ok(Wanted {
            members: self.members.clone(),
            secret_file,
        })
    }
}

/// Leaves a good secret where our file names it; returns what was done.
fn keep_secret(path: &Path, imported: &Imported) -> Result<String, String> {
    let shown = path.display();
    if path.exists() {
        Secret::read(path)?;
        return Ok(format!("{shown} exists, and was left as it is."));
    }
    match &imported.secret {
        Some(former) => {
            secret::write(path, former, false)?;
            Ok(format!("{shown} was made: the former secret."))
        }
        None => {
            secret::create(path, false)?;
            Ok(format!(
                "{shown} was made: a new secret. Copy it to every member, with the file."
            ))
        }
    }
}

//! keepalived.conf of one machine or of both.

mod expand;
mod instance;
mod known;
mod merge;
mod script;
mod tracking;
mod tree;

use super::input::Disk;
use super::report::Report;
use super::{Imported, Wanted, finish, in_any_case};
use expand::Library;
use instance::Machine;
use std::path::Path;

/// What begins a comment.
pub(super) const COMMENTS: &[char] = &['#', '!'];
/// Most machines that one file can be of, by `@id`.
const MAX_IDS: usize = 9;

/// Imports a keepalived.conf; with `peer`, that of the other machine as well.
///
/// # Errors
/// If a file can't be read.
pub fn import(
    disk: &dyn Disk,
    file: &Path,
    peer: Option<&Path>,
    wanted: &Wanted,
) -> Result<Imported, String> {
    let ids = ids(disk, file, wanted)?;
    let sources: Vec<(&Path, Option<&str>)> = match (peer, &ids[..]) {
        (Some(peer), ids) => vec![
            (file, ids.first().map(String::as_str)),
            (peer, ids.get(1).map(String::as_str)),
        ],
        (None, []) => vec![(file, None)],
        (None, [one]) => vec![(file, Some(one)), (file, None)],
        (None, [one, two, ..]) => vec![(file, Some(one)), (file, Some(two))],
    };
    let mut report = Report::default();
    let mut library = Library::new(disk);
    let mut machines = Vec::new();
    for (path, id) in sources {
        let lines = expand::expand(&mut library, path, id, &mut report)?;
        let tree = tree::tree(lines, &mut report);
        machines.push(Machine::read(&tree, &mut report));
    }
    let draft = merge::merge(&machines, &ids, wanted, &mut report);
    library.sweep(&mut report);

    in_any_case(&mut report, "keepalived", &draft, false);
    Ok(finish(&draft, report, None))
}

/// The machines that a file's `@id` lines are for: those that the command line names, or all.
fn ids(disk: &dyn Disk, file: &Path, wanted: &Wanted) -> Result<Vec<String>, String> {
    let mut library = Library::new(disk);
    expand::expand(&mut library, file, None, &mut Report::default())?;
    let mut all = library.ids;
    let named = |id: &String| wanted.members.iter().any(|m| m.name == *id);
    if all.iter().any(named) {
        all = wanted.members.iter().map(|m| m.name.clone()).collect();
    }
    all.truncate(MAX_IDS);
    Ok(all)
}

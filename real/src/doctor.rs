//! `onehold doctor`: looks for what would keep this member from serving, or two from being kept
//! apart, before the night in which it does. It changes nothing.
//!
//! Each examination is a file of its own and a line in [`ALL`]; what it can find is listed there,
//! and in the book. What could not be looked at is unknown, and never fine.

mod alarms;
mod beside;
mod clock;
mod echo;
mod firewall;
mod found;
mod guards;
mod interfaces;
mod kernel;
mod machine;
mod managers;
mod members;
mod neighbours;
mod nft;
mod patient;
mod process;
mod programs;
mod room;
mod sysctls;

pub(crate) use found::{Found, render};
pub(crate) use patient::Asked;
use patient::Patient;

use crate::config_file::FileError;

/// An examination: what it can find, by name, and how.
struct Examination {
    finds: &'static [&'static str],
    look: fn(&Patient, &mut Found),
}

/// All of them, in the order in which they are reported.
const ALL: [Examination; 16] = [
    members::EXAMINATION,
    neighbours::EXAMINATION,
    interfaces::EXAMINATION,
    sysctls::EXAMINATION,
    firewall::EXAMINATION,
    echo::EXAMINATION,
    programs::EXAMINATION,
    guards::EXAMINATION,
    kernel::EXAMINATION,
    clock::EXAMINATION,
    machine::EXAMINATION,
    managers::EXAMINATION,
    beside::EXAMINATION,
    process::EXAMINATION,
    room::EXAMINATION,
    alarms::EXAMINATION,
];

/// Examines this host, as a member of each cluster of the file.
///
/// # Errors
/// What is wrong with the file on every host.
pub(crate) fn examine(asked: &Asked) -> Result<Found, FileError> {
    let mut found = Found::default();
    for patient in Patient::all(asked, &mut found)? {
        for Examination { finds, look } in &ALL {
            found.examining(finds);
            look(&patient, &mut found);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// The book says of each finding what it is.
    #[test]
    fn the_book_lists_what_can_be_found() {
        let page = include_str!("../../docs/src/doctor.md");
        let listed = |find: &&&str| page.contains(&format!("| `{find}` |"));
        let all = ALL.iter().flat_map(|e| e.finds);
        let missing: Vec<&&str> = all.filter(|find| !listed(find)).collect();
        assert!(
            missing.is_empty(),
            "docs/src/doctor.md does not list {missing:?}"
        );
    }
}

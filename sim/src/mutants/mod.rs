//! Mutation of the protocol: each rule is half broken, and some property must notice.
//!
//! [`list`] reads `sim/mutants.toml`; [`copy`] makes a copy of `core` and `sim` in which every
//! mutant is a branch that an environment variable switches on, so that one build has them all;
//! [`engine`] runs the copy's model checker, or the core's own tests, under one mutant; [`run()`]
//! runs all of them, [`report`] says who noticed what, and [`verdicts`] keeps it. The shipped core
//! has no such branch.
pub mod copy;
pub mod engine;
pub mod list;
pub mod patch;
pub mod report;
mod run;
pub mod verdicts;

pub use report::Report;
pub use run::{Options, command, run};

#[cfg(test)]
mod tests {
    use super::{copy, list};
    use std::path::Path;

    #[test]
    fn every_mutant_fits_the_sources() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let fits = list::read(workspace).and_then(|list| copy::edited(workspace, &list));
        if let Err(e) = fits {
            panic!("{e}");
        }
    }

    #[test]
    fn every_rule_is_broken_by_some_mutant() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mutants = list::read(workspace).unwrap();
        assert!(mutants.len() >= 60);
        for n in 0..=list::LAST_RULE {
            let rule = format!("R-{n}");
            assert!(mutants.iter().any(|m| m.rule == rule), "{rule}");
        }
    }
}

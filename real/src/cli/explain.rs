//! `onehold explain`: what a rule, a word or a line of `onehold status` means.

use super::{Failure, print};
use crate::explain;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A rule, a word of the glossary, or what `status` or the log says [default: list the
    /// rules]
    what: Vec<String>,
}

pub(super) fn explain(asked: &ExplainArgs) -> Result<(), Failure> {
    match &asked.what[..] {
        [] => print(&explain::contents()),
        words => print(&explain::explain(&words.join(" ")).map_err(Failure::Failed)?),
    }
}

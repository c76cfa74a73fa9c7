//! `onehold why`: why a member holds a group, or does not.

use super::{DaemonArgs, Failure, client, history, print};
use crate::why;
use clap::Args;
use jiff::tz::TimeZone;

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// A group, a member, or both [default: every group, both candidates]
    #[arg(num_args = 0..=2, value_name = "GROUP|MEMBER")]
    words: Vec<String>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) fn why(asked: &WhyArgs) -> Result<(), Failure> {
    let DaemonArgs { socket, cluster } = &asked.daemon;
    let status = client::one(socket, cluster.as_deref())?;
    // A daemon of an earlier version has none.
    let told = history::told(socket, Some(&status.cluster)).ok();
    let text = why::why(&status, told.as_ref(), &asked.words, &TimeZone::system());
    print(&text.map_err(Failure::Usage)?)
}

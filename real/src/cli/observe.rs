//! `onehold observe`.

use super::{DaemonArgs, Failure, client};
use crate::config_file::Length;
use crate::drill::observe::{self, Options};
use clap::Args;
use onehold_core::time::Span;
use std::net::IpAddr;

#[derive(Debug, Args)]
pub(super) struct ObserveArgs {
    /// The group [default: the only one]; its first address is asked for
    group: Option<String>,
    /// Stop after this long [default: when interrupted]
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Length>,
    /// How often to ask, 1ms to 1s
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    every: Length,
    /// Ask for this address, and no daemon for anything: on a host that is no member
    #[arg(long, value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// Where to ask [default: the interface by which this host reaches the address]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// For `onehold drill`: each line of standard input is a mark, and its end is the end
    #[arg(long)]
    marks: bool,
    #[command(flatten)]
    daemon: DaemonArgs,
}

pub(super) fn observe(args: ObserveArgs) -> Result<(), Failure> {
    let Length(every) = args.every;
    if every < Span::from_millis(1) || every > Span::from_millis(1_000) {
        return Err(Failure::Usage(format!(
            "--every {every}: must be 1ms to 1s"
        )));
    }
    let DaemonArgs { socket, cluster } = args.daemon;
    let status = match args.address {
        Some(_) => None,
        None => Some(client::one(&socket, cluster.as_deref())?),
    };
    let options = Options {
        socket,
        status,
        group: args.group,
        address: args.address,
        interface: args.interface,
        every,
        length: args.length.map(|Length(length)| length),
        marks: args.marks,
    };
    observe::observe(options).map_err(Failure::Failed)
}

//! `onehold open-gate`: break glass. It never touches an address, and never runs beside a daemon.

use super::{DEFAULT_CONFIG, DEFAULT_STATE, Failure, client, orders_directory, print};
use crate::config_file::{Interface, WrittenCluster, decided, first_of, written};
use crate::guard;
use crate::lock::{Lock, NotTaken};
use clap::Args;
use onehold_core::config::{Spec, cluster_id};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct OpenGateArgs {
    /// The configuration file: of it only the name, the members and the addresses count
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The daemon's --state
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// The daemon's --orders [default: /var/lib/onehold, if it is there]
    #[arg(long, value_name = "DIR")]
    orders: Option<PathBuf>,
    /// Don't ask for confirmation: no other machine serves the addresses
    #[arg(long)]
    yes: bool,
}

/// Takes away the gates that mute the addresses of a file on this host.
pub(super) fn open_gate(asked: &OpenGateArgs) -> Result<(), Failure> {
    let failed = |what: &dyn std::fmt::Display| Failure::Failed(what.to_string());
    let file = written(&asked.config).map_err(first_of)?;
    if file.many {
        let what = "this is a witness's file: a witness holds nothing, and has no gate";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut clusters = file.clusters.into_iter();
    let Some(cluster) = clusters.next().transpose().map_err(first_of)? else {
        return Err(Failure::Usage("there is no cluster in it".to_owned()));
    };
    let spec = decided(&cluster).map_err(|all| {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        Failure::Usage(all.join("\n"))
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(&e))?;
    let _entered = runtime.enter();
    // Until this ends, no daemon starts.
    let name = &cluster.file.cluster.name;
    let id = cluster_id(name);
    let members = cluster.file.members.keys();
    let _locks: Vec<Lock> = members
        .map(|member| Lock::take(id, name, member))
        .collect::<Result<_, _>>()
        .map_err(|e| match e {
            NotTaken::Taken(why) => Failure::Failed(format!(
                "{why}. A daemon that stops takes its gate along. One that is stuck: `systemctl disable onehold`, \
                 then `systemctl kill --signal=KILL onehold`. Then try again"
            )),
            NotTaken::Unknown(why) => Failure::Failed(why),
        })?;
    if !asked.yes {
        print(&before(&spec, &cluster))?;
        if !client::confirmed("Is that so? Type yes to go on: ")? {
            return Err(Failure::Failed(
                "not confirmed: nothing was changed".to_owned(),
            ));
        }
    }
    let addresses = spec.groups.iter().flat_map(|g| &g.addresses);
    let keys: Vec<_> = addresses.map(|a| guard::key(a.address)).collect();
    let orders = orders_directory(asked.orders.clone(), &asked.state);
    let state = [asked.state.as_path(), &orders];
    let found = guard::remove_left(&format!("onehold-{:x}", id.0), &keys, &state);
    let found = found.map_err(|e| failed(&e))?;
    print(&after(&spec, &cluster, &found))
}

fn listed(spec: &Spec) -> String {
    let all = spec.groups.iter().flat_map(|g| &g.addresses);
    let all: Vec<String> = all.map(|a| a.address.to_string()).collect();
    all.join(", ")
}

/// What it assumes.
fn before(spec: &Spec, cluster: &WrittenCluster) -> String {
    let others = cluster.file.members.iter().filter(|(_, m)| !m.witness);
    let others: Vec<&str> = others.map(|(name, _)| name.as_str()).collect();
    format!(
        "This takes away the gate that mutes {addresses} on this host, whatever becomes of it. From then on only\n\
         you protect the addresses from two holders. It assumes that the other one of {others}, and every\n\
         machine that ever was a candidate, does not serve them and won't begin to: it is off, or\n\
         `systemctl disable --now onehold` was said there and `ip address` shows that they are gone.\n",
        addresses = listed(spec),
        others = others.join(" and "),
    )
}

/// What was done, what comes next, and the way back.
fn after(spec: &Spec, cluster: &WrittenCluster, found: &[String]) -> String {
    let mut out = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{words}"); // a String takes everything
    };
    for one in found {
        line(format_args!("removed: {one}"));
    }
    match found {
        [] => line(format_args!(
            "there was no gate of this cluster on this host; nothing mutes {} here",
            listed(spec)
        )),
        _ => line(format_args!(
            "the gate is gone: from here on only you protect {} from two holders",
            listed(spec)
        )),
    }
    line(format_args!("\nto serve them here:"));
    let groups = spec.groups.iter().zip(cluster.file.groups.values());
    let addresses =
        groups.flat_map(|(spec, g)| spec.addresses.iter().zip(&g.addresses).map(move |a| (g, a)));
    let mut back = Vec::new();
    for (g, (prefix, written)) in addresses {
        let interface = match written.interface.as_ref().or(g.interface.as_ref()) {
            Some(Interface::Same(name)) => name.as_str(),
            Some(Interface::ByMember(_)) | None => "IF",
        };
        let (address, length) = (prefix.address, prefix.length);
        line(format_args!(
            "  ip address replace {address}/{length} dev {interface}"
        ));
        if address.is_ipv4() {
            line(format_args!("  arping -U -c 3 -I {interface} {address}"));
        }
        back.push(format!(
            "  ip address del {address}/{length} dev {interface}"
        ));
    }
    line(format_args!("\nback to Onehold, in this order:"));
    for del in back {
        line(format_args!("{del}"));
    }
    line(format_args!(
        "  systemctl enable --now onehold        # here, then on the other machine"
    ));
    out
}

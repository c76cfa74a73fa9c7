//! `onehold check`: what a file says, what follows from it, what is promised and what is risky; or
//! everything that is wrong with it. It runs the code of `onehold run`, for each member, and
//! changes nothing.

mod describe;
mod plan;
mod warnings;

use crate::agent;
use crate::config_file::{
    Announce, ConfigFile, FileError, Here, WrittenCluster, WrittenFile, company, decided, find_me,
    for_member, local_cluster, loopback_warnings, prove, resolve, secrets, toward, written,
};
use crate::kernel::{KernelGroup, survey};
use crate::status::wrapped;
use describe::put;
use onehold_core::config::Spec;
pub(super) use plan::plan;
use std::net::IpAddr;
use std::path::Path;
use warnings::warnings;

/// What was found out about a file.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// A description of the clusters whose text is fine.
    pub(super) text: String,
    /// What `run` would refuse, on every host.
    pub(super) wrong: Vec<FileError>,
    /// How the clusters whose text is fine fit this host.
    pub(super) host: Host,
}

/// How a file whose text is fine fits a host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Why `run` would wait here, or not serve.
    pub(super) lacks: Vec<String>,
    /// What may be a mistake.
    pub(super) warnings: Vec<String>,
}

/// Reads the file as `run` would, as each member would, or as `member` on this host.
pub(super) fn check(path: &Path, member: Option<&str>) -> Checked {
    let mut checked = Checked::default();
    let WrittenFile { clusters, many, .. } = match written(path) {
        Ok(file) => file,
        Err(wrong) => return Checked { wrong, ..checked },
    };
    for one in clusters {
        let judged = one.and_then(|one| {
            let spec = judge(&one, member, many)?;
            Ok((
                describe(&one, &spec)?,
                look_at_host(&one, &spec, member, many),
            ))
        });
        match judged {
            Ok((text, host)) => {
                if !checked.text.is_empty() {
                    checked.text.push('\n');
                }
                checked.text += &text;
                checked.host.lacks.extend(host.lacks);
                checked.host.warnings.extend(host.warnings);
            }
            Err(wrong) => checked.wrong.extend(wrong),
        }
    }
    checked
}

impl Host {
    /// As it is printed.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (head, lines) in [
            ("warnings about this host", &self.warnings),
            ("what keeps this host from serving", &self.lacks),
        ] {
            if !lines.is_empty() {
                put(&mut out, format_args!("\n{head}"));
            }
            for line in lines {
                wrapped(&mut out, "  ! ", line);
            }
        }
        out
    }
}

/// The specification of one cluster, or everything that is wrong with its text.
fn judge(
    cluster: &WrittenCluster,
    member: Option<&str>,
    many: bool,
) -> Result<Spec, Vec<FileError>> {
    let spec = decided(cluster);
    let mut wrong = spec.as_ref().err().cloned().unwrap_or_default();
    match members_meant(cluster, member, many) {
        Ok(members) => {
            for e in members.iter().flat_map(|me| for_member(cluster, me, many)) {
                if !wrong.contains(&e) {
                    wrong.push(e);
                }
            }
        }
        Err(e) => wrong.push(e),
    }
    match spec {
        Ok(spec) if wrong.is_empty() => Ok(spec),
        _ => {
            wrong.sort_by_key(|e| e.line);
            Err(wrong)
        }
    }
}

/// Describes a cluster: what it is, what follows, and what is risky.
fn describe(cluster: &WrittenCluster, spec: &Spec) -> Result<String, Vec<FileError>> {
    let WrittenCluster { source, file } = cluster;
    let any = file.members.keys().next().map_or("", String::as_str);
    let config = prove(source, spec, any).map_err(|e| vec![e])?;
    let mut out = describe::describe(file, &config);
    let warnings = warnings(file, &config);
    if !warnings.is_empty() {
        put(&mut out, format_args!("\nwarnings"));
    }
    for line in warnings {
        wrapped(&mut out, "  ! ", &line);
    }
    Ok(out)
}

/// The members for which a file is checked.
fn members_meant<'c>(
    cluster: &'c WrittenCluster,
    member: Option<&str>,
    many: bool,
) -> Result<Vec<&'c String>, FileError> {
    let WrittenCluster { source, file } = cluster;
    let names = || file.members.keys();
    if let Some(member) = member {
        return match names().find(|name| name.eq_ignore_ascii_case(member)) {
            Some(name) => Ok(vec![name]),
            None => {
                let all: Vec<&str> = names().map(String::as_str).collect();
                let all = all.join(", ");
                let what = format!("there is no `{member}` (from --for); the members are {all}");
                Err(source.error("members", what))
            }
        };
    }
    // A process that serves many clusters only witnesses.
    let may = |name: &&String| !many || file.members[*name].witness;
    match names().filter(may).collect::<Vec<_>>() {
        none if none.is_empty() && many => Err(source.error(
            "members",
            "none is a witness, and a process that serves several clusters can only be their witness",
        )),
        some => Ok(some),
    }
}

fn look_at_host(cluster: &WrittenCluster, spec: &Spec, member: Option<&str>, many: bool) -> Host {
    let WrittenCluster { source, file } = cluster;
    let mut host = Host::default();
    let resolved = resolve(source, file);
    let mut lacks = resolved.as_ref().err().cloned().unwrap_or_default();
    lacks.extend(secrets(source, file).err().unwrap_or_default());
    let here = Here::now("--for", member);
    let me = (resolved.as_ref().ok()).map(|all| find_me(source, file, all, &here));
    if let Some(Ok(_)) = &me {
        lacks.extend(local_cluster(cluster.clone(), &here, many).err());
    }
    for FileError { what, .. } in lacks {
        if !host.lacks.contains(&what) {
            host.lacks.push(what);
        }
    }
    match (me, resolved) {
        (Some(Ok(me)), Ok(endpoints)) => {
            let own = endpoints.get(me.as_str()).into_iter().flatten();
            let own = own.map(|a| a.ip()).collect();
            let others = endpoints.iter().filter(|(name, _)| **name != me);
            let others = others.flat_map(|(name, paths)| paths.iter().map(move |a| (name, a.ip())));
            host.warnings.extend(company(others, &toward));
            if file.members.get(&me).is_some_and(|m| !m.witness) {
                let commands = agent::lacks(source, file);
                host.lacks.extend(commands.iter().map(ToString::to_string));
            }
            look_at_kernel(&mut host, file, spec, &me, own, member.is_some());
        }
        (Some(Err(e)), Ok(endpoints)) => {
            host.warnings.push(e.what);
            let stray = loopback_warnings(source, file, &endpoints);
            host.warnings.extend(stray);
            for (group, g) in &file.groups {
                for (key, interface) in g.interfaces() {
                    let named = interface.names();
                    host.warnings.extend(survey::absent(&named).map(|name| {
                        format!(
                            "groups.{group}.{key}: this host has no `{name}`; `ip link` lists what it has"
                        )
                    }));
                }
            }
        }
        _ => {} // which member this host is depends on names that can't be resolved
    }
    host
}

/// What the kernel says about a member's own addresses and those it should hold; `surely` if it
/// runs on this host.
fn look_at_kernel(
    host: &mut Host,
    file: &ConfigFile,
    spec: &Spec,
    me: &str,
    own: Vec<IpAddr>,
    surely: bool,
) {
    let candidate = file.members.get(me).is_some_and(|m| !m.witness);
    let group = |(g, s): (
        &onehold_core::config::GroupSpec,
        &crate::config_file::GroupSection,
    )| {
        let addresses = g.addresses.iter().map(|p| p.address);
        KernelGroup {
            name: g.name.clone(),
            addresses: addresses.zip(s.interfaces_of(me)).collect(),
            announced: s.announce == Announce::Neighbours,
            routes: s.routes_of(me),
        }
    };
    let sections = file.groups.values().map(|section| &**section);
    let all = spec.groups.iter().zip(sections);
    let groups: Vec<KernelGroup> = all.filter(|_| candidate).map(group).collect();
    match survey::survey(&groups, &own) {
        Ok(survey::Survey { refused, doubts }) => {
            host.lacks.extend(refused);
            if surely {
                host.lacks.extend(doubts);
            } else {
                host.warnings.extend(doubts);
            }
        }
        Err(e) => host.warnings.push(format!(
            "this host's interfaces and addresses can't be read: {e}"
        )),
    }
}

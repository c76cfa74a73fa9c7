//! How a cluster that runs gets from one file to another, and what that costs.

use super::put;
use crate::config_file::{
    Change, FileError, WrittenCluster, decided, differences_in_words, first_of, literal,
    no_way_stays, reached_at_what_floats, written,
};
use crate::status::wrapped;
use onehold_core::config::{Config, SpecError};
use std::net::IpAddr;
use std::path::Path;

/// The plan, for each cluster that both files have.
///
/// # Errors
/// What is wrong with one of them, for people.
pub(in crate::cli) fn plan(old: &Path, new: &Path) -> Result<String, String> {
    let read = |path: &Path| {
        let file = written(path).map_err(|wrong| first_of(wrong).to_string())?;
        let clusters = file.clusters.into_iter();
        let clusters = clusters.map(|one| one.map_err(|wrong| first_of(wrong).to_string()));
        clusters.collect::<Result<Vec<WrittenCluster>, String>>()
    };
    let (was, is) = (read(old)?, read(new)?);
    let mut out = String::new();
    for new in &is {
        let name = &new.file.cluster.name;
        let same = was.iter().find(|old| old.file.cluster.name == *name);
        let old = same.or(was.first().filter(|_| was.len() == 1 && is.len() == 1));
        put(
            &mut out,
            format_args!(
                "\nto cluster {name} from {}",
                old.map_or_else(
                    || "nothing: no cluster of that name is there".to_owned(),
                    |old| old.source.path.display().to_string(),
                )
            ),
        );
        if let Some(old) = old {
            one(&mut out, old, new).map_err(|wrong| first_of(wrong).to_string())?;
        }
    }
    Ok(out)
}

fn one(out: &mut String, old: &WrittenCluster, new: &WrittenCluster) -> Result<(), Vec<FileError>> {
    let all = differences_in_words(&old.file, &new.file);
    if all.is_empty() {
        put(out, format_args!("  nothing differs"));
        return Ok(());
    }
    let of = |change: Change| all.iter().filter(move |(c, _)| *c == change);
    let members: Vec<&str> = new.file.members.keys().map(String::as_str).collect();
    let everywhere = format!("put the new file on every member: {}", members.join(", "));
    let mut steps: Vec<String> = Vec::new();
    if of(Change::AllMembers).next().is_some() {
        list(
            out,
            "what all members must stop for",
            of(Change::AllMembers),
        );
        let rest = all.iter().filter(|(c, _)| *c != Change::AllMembers);
        list(out, "what comes with that", rest);
        steps.push("stop onehold on every member: nobody answers from here on".to_owned());
        steps.push(everywhere);
        steps.push("start them all".to_owned());
        show(out, &steps);
        return Ok(());
    }
    let (config, next) = (proved(old)?, proved(new)?);
    let together = of(Change::EachMember).next().is_some();
    let restart = of(Change::Restart).next().is_some();
    list(
        out,
        "what comes into force when every member has it (R-22)",
        of(Change::EachMember),
    );
    list(
        out,
        "what takes a restart of each member",
        of(Change::Restart),
    );
    list(
        out,
        "what each member's daemon does by itself",
        of(Change::Reload),
    );
    list(
        out,
        "what each candidate's agent does by itself",
        of(Change::ReloadAgent),
    );
    let path = config.path_to(&next);
    if let Err(SpecError { key, problem }) = &path {
        wrapped(out, "  ! ", &format!("{key}: {problem}"));
        return Ok(());
    }
    if let Some((key, why)) = reached_at_what_floats((&config, &at(old)), (&next, &at(new))) {
        wrapped(out, "  ! ", &format!("{key}: {why}"));
        return Ok(());
    }
    if let Some((key, why)) = no_way_stays(&decided(old)?, &decided(new)?) {
        wrapped(out, "  ! ", &format!("{key}: {why}"));
        return Ok(());
    }
    if together && restart {
        let why = "not in one step: first a file with all of it but what takes a restart, by the steps for that; then this one";
        wrapped(out, "  ! ", why);
        return Ok(());
    }
    let moves = moved(old, new);
    let port = old.file.cluster.port != new.file.cluster.port;
    if !moves.is_empty() {
        steps.push(format!("give {moves} the new addresses, beside the former"));
    }
    if port || !moves.is_empty() {
        steps.push(
            "let firewalls have what is new through, addresses and port: members use the former, too, until it is in \
             force, and it waits for whoever is not heard by the new"
                .to_owned(),
        );
    }
    steps.push(everywhere);
    let only_in = |a: &WrittenCluster, b: &WrittenCluster| {
        let names = a
            .file
            .members
            .keys()
            .filter(|name| !b.file.members.contains_key(*name));
        names.cloned().collect::<Vec<_>>().join(", ")
    };
    let (comes, goes) = (only_in(new, old), only_in(old, new));
    if !comes.is_empty() {
        steps.push(format!(
            "start onehold on {comes}: from the moment at which the change is in force, its vote is counted on"
        ));
    }
    if restart {
        steps.push(
            "restart onehold on one member after the other, the standby first: what a member holds moves when it is \
             restarted"
                .to_owned(),
        );
    } else {
        let when = match together {
            true => "nothing changes before the last one has read it",
            false => "each is done with it at once",
        };
        let each = match comes.is_empty() {
            true => "each".to_owned(),
            false => format!("each of the others ({})", stay(old, new)),
        };
        steps.push(format!("`onehold reload` on {each}, in any order; {when}"));
    }
    if of(Change::ReloadAgent).next().is_some() {
        steps.push("`systemctl reload onehold-agent` on both candidates".to_owned());
    }
    if together {
        steps.push(
            "`onehold status`: it says for whom the change waits, and nothing of a change when it is over".to_owned(),
        );
    }
    if !moves.is_empty() {
        steps.push("when it is over, take the former addresses away".to_owned());
    }
    if !goes.is_empty() {
        steps.push(format!(
            "when it is over, stop onehold on {goes}, for good (`systemctl disable --now onehold`)"
        ));
    }
    show(out, &steps);
    let others = !comes.is_empty() || !goes.is_empty();
    if !moves.is_empty() && others {
        let first = format!(
            "not if another machine comes under a candidate's name ({moves}): it does not know by whose votes that name \
             held last, so it begins before this, with a file in which nothing but its address differs"
        );
        wrapped(out, "  ! ", &first);
    }
    if let Ok([between, _]) = path.as_deref() {
        let moving = config.leaving(between).filter(|p| {
            let mut groups = next.groups().iter();
            groups.any(|g| g.addresses.iter().any(|o| o.address == p.address))
        });
        let moving: Vec<String> = moving.map(|p| p.address.to_string()).collect();
        let what = format!(
            "{}: of another group then; for some milliseconds nobody answers",
            moving.join(", ")
        );
        wrapped(out, "  ! ", &what);
    }
    Ok(())
}

/// The members that have other addresses in the new file.
fn moved(old: &WrittenCluster, new: &WrittenCluster) -> String {
    let members = old.file.members.iter().filter(|(name, was)| {
        let there = new.file.members.get(*name);
        there.is_some_and(|is| was.addresses != is.addresses)
    });
    let members = members.map(|(name, _)| name);
    members.cloned().collect::<Vec<_>>().join(", ")
}

/// Where each member is reached, as far as the text says it.
fn at(cluster: &WrittenCluster) -> Vec<(String, IpAddr)> {
    let known = literal(&cluster.source, &cluster.file).unwrap_or_default();
    let known = known.into_iter();
    known
        .flat_map(|(name, at)| {
            let at = at.into_iter().flatten();
            at.map(move |a| (name.to_owned(), a.ip()))
        })
        .collect()
}

/// The members that both files have.
fn stay(old: &WrittenCluster, new: &WrittenCluster) -> String {
    let mut names: Vec<&str> = new.file.members.keys().map(String::as_str).collect();
    names.retain(|name| old.file.members.contains_key(*name));
    names.join(", ")
}

/// The configuration of a candidate, which every file has.
fn proved(cluster: &WrittenCluster) -> Result<Config, Vec<FileError>> {
    let spec = decided(cluster)?;
    let mut members = cluster.file.members.iter();
    let any = members.find(|(_, m)| !m.witness);
    let any = any.map_or("", |(name, _)| name.as_str());
    super::prove(&cluster.source, &spec, any).map_err(|e| vec![e])
}

fn list<'a>(out: &mut String, head: &str, all: impl Iterator<Item = &'a (Change, String)>) {
    let mut all = all.peekable();
    if all.peek().is_some() {
        put(out, format_args!("  {head}"));
    }
    for (_, words) in all {
        wrapped(out, "    ", words);
    }
}

fn show(out: &mut String, steps: &[String]) {
    for (n, step) in (1..).zip(steps) {
        wrapped(out, &format!("  {n}. "), step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::tests::{Etc, THREE};

    #[test]
    fn every_kind_of_change_has_its_steps() {
        let etc = Etc::new();
        let old = etc.write("old.toml", THREE);
        let mut said = String::new();
        for (from, to) in [
            ("web", "web"),
            ("[\"10.0.0.50/24\"", "[\"10.0.0.51/24\", \"10.0.0.50/24\""),
            ("\"450ms\"", "\"900ms\""),
            ("lease =", "drift_ppm = 500\nlease ="),
            ("eth0", "eth1"),
            ("[cluster]", "[cluster]\nport = 7000"),
            ("[groups.web]", "[groups.www]"),
            ("[members.w]", "[members.v]"),
            ("10.0.0.11", "10.0.0.21"),
            ("[members.lb1]", "[members.lb2]"),
            ("\"web\"", "\"shop\""),
            ("[timing]", "[log]\nlevel = \"debug\"\n[timing]"),
            (
                "interface = \"eth0\"\n\n[timing]",
                "interface = \"eth1\"\nfailback = \"manual\"\n\n[timing]",
            ),
        ] {
            let text = THREE.replacen(from, to, 1);
            assert!(text != THREE || from == to, "{from}");
            let new = etc.write("new.toml", &text);
            said += &plan(&old, &new).unwrap();
        }
        let text =
            (THREE.replacen("[members.w]", "[members.v]", 1)).replacen("10.0.0.11", "10.0.0.21", 1);
        said += &plan(&old, &etc.write("new.toml", &text)).unwrap();
        let (floats, moves) = ("10.0.0.50/24", "10.0.0.12");
        let text = THREE
            .replacen(floats, "10.0.0.70/24", 1)
            .replacen(moves, "10.0.0.50", 1);
        said += &plan(&old, &etc.write("new.toml", &text)).unwrap();
        insta::assert_snapshot!(etc.said(said));
        let none = plan(&etc.0.join("none.toml"), &old).unwrap_err();
        assert!(none.contains("none.toml"), "{none}");
    }
}

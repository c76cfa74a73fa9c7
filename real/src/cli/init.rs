//! `onehold init`: the files of a new cluster. What the options leave open is asked at a terminal.

use super::{DEFAULT_CONFIG, Failure, check, print};
use crate::config_file;
use crate::init::{Carried, Here, Member, Placed, Plan, create, is_plain, secret_beside};
use clap::Args;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The name of the cluster [default: web]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// A machine that may hold, and its own address; twice, the preferred one first
    #[arg(long = "member", value_name = "NAME=ADDRESS")]
    members: Vec<Member>,
    /// A machine that votes and never holds
    #[arg(long = "witness", value_name = "NAME=ADDRESS")]
    witnesses: Vec<Member>,
    /// The interface of the floating addresses; NAME=INTERFACE where the two differ [default: that
    /// of this host's default route]
    #[arg(long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<String>,
    /// A floating address, with its prefix: 10.0.0.50/24
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// The name of the group of these addresses [default: that of the cluster]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Write the token to FILE, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Where the files are put, and for whom.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The configuration file; the secret is put beside it
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Which member this host is [default: by host name, else by local address]
    #[arg(long = "as", value_name = "NAME")]
    pub(super) member: Option<String>,
    /// Keep the files that are there as ….old, and write others
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) fn init(asked: &InitArgs) -> Result<(), Failure> {
    let config = absolute(&asked.place.config)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let plan = plan(asked, terminal)?;
    let again = |e: Failure| e.said(|why| format!("{why}\nto try again: {}", plan.words()));
    let text = plan.text(&secret_beside(&config));
    let place = PlaceArgs {
        config: config.clone(),
        member: asked.place.member.clone(),
        force: asked.place.force,
    };
    let done = put(&place, &text, None).map_err(again)?;
    let carried = || -> Result<String, String> {
        let secret = std::fs::read_to_string(secret_beside(&config)).map_err(|e| e.to_string())?;
        Carried {
            config: text,
            secret,
        }
        .token()
    };
    let token = carried().map_err(Failure::Failed)?;
    let me = &done.me;
    let others = plan
        .candidates
        .iter()
        .chain(&plan.witnesses)
        .map(|m| m.name.as_str());
    let others: Vec<&str> = others.filter(|name| name != me).collect();
    let at = match asked.place.config == Path::new(DEFAULT_CONFIG) {
        true => String::new(),
        false => format!(" --config {}", config.display()),
    };
    let how = match &asked.file {
        None => format!(
            "On each other machine ({}), as root, with onehold installed, paste this line, once:\n\n  onehold join \
             {token}{at}\n\nThe token is the secret: whoever has it can speak as a member. `onehold join -` reads it from \
             standard input, so that\nit is neither in the shell's history nor in the list of processes.\n",
            others.join(", ")
        ),
        Some(file) => {
            create(file, &format!("{token}\n"), 0o600).map_err(|e| {
                let shown = file.display();
                Failure::Failed(format!(
                    "{shown} can't be written: {e}; the files of this host are in place: name another file with --file \
                     and add --force"
                ))
            })?;
            let file = file.display();
            format!(
                "The token is in {file}, readable by its owner alone. It is the secret: copy it to each other machine \
                 ({}),\nrun there: onehold join --file {file}{at}\nand delete the copies.\n",
                others.join(", ")
            )
        }
    };
    print(&format!("{}\n{how}\n{}", done.text, next(&config)))
}

/// What the options and the answers say.
fn plan(asked: &InitArgs, terminal: bool) -> Result<Plan, Failure> {
    let here = Here::now();
    let complete = asked.members.len() == 2 && !asked.addresses.is_empty();
    let asks = terminal && !complete;
    if !complete && !terminal {
        return Err(Failure::Usage(
            "without a terminal, say all of it: --member NAME=ADDRESS twice, the preferred one first, and --address \
             ADDRESS/PREFIX; a third machine that votes is --witness NAME=ADDRESS"
                .to_owned(),
        ));
    }
    let cluster = match &asked.cluster {
        Some(cluster) => cluster.clone(),
        None if asks => ask("name of the cluster", Some("web"))?,
        None => "web".to_owned(),
    };
    let mut candidates = asked.members.clone();
    while candidates.len() < 2 {
        let first = candidates.is_empty();
        let (which, name) = match first {
            true => ("this machine, which is preferred", Some(here.name.as_str())),
            false => ("the other machine", None),
        };
        let name = ask(&format!("name of {which}"), name)?;
        let address = here.address.filter(|_| first).map(|a| a.to_string());
        let address = ask(&format!("address of {name}"), address.as_deref())?;
        let member = format!("{name}={address}")
            .parse()
            .map_err(Failure::Usage)?;
        candidates.push(member);
    }
    if candidates.len() > 2 {
        return Err(Failure::Usage(format!(
            "--member is given {} times; exactly two machines may hold, and any number of others are --witness",
            candidates.len()
        )));
    }
    let proposed = here.interface.as_deref();
    let mut interfaces = asked.interfaces.clone();
    if interfaces.is_empty() {
        interfaces.push(match (asks, proposed) {
            (true, _) => ask("interface of the floating address, on both", proposed)?,
            (false, Some(proposed)) => proposed.to_owned(),
            (false, None) => {
                return Err(Failure::Usage(
                    "this host has no interface to propose; say which: --interface eth0".to_owned(),
                ));
            }
        });
    }
    let mut addresses = asked.addresses.clone();
    if addresses.is_empty() {
        let all = ask(
            "floating address, with its prefix (10.0.0.50/24; several with blanks)",
            None,
        )?;
        addresses.extend(all.split_whitespace().map(str::to_owned));
    }
    let mut witnesses = asked.witnesses.clone();
    if asks && witnesses.is_empty() {
        let question = "a third machine that only votes, as NAME=ADDRESS (without one, two may hold while the network \
                        between the two is cut; - for none)";
        match ask(question, Some("-"))?.as_str() {
            "-" => {}
            witness => witnesses.push(witness.parse().map_err(Failure::Usage)?),
        }
    }
    let plain = [&cluster].into_iter().chain(&asked.group).chain(&addresses);
    if let Some(odd) = plain
        .into_iter()
        .find(|text| !is_plain(text) || text.is_empty())
    {
        let what = format!("`{odd}` is empty or has one of \" \\ = , in it: write it without");
        return Err(Failure::Usage(what));
    }
    Ok(Plan {
        group: asked.group.clone().unwrap_or_else(|| cluster.clone()),
        cluster,
        interfaces: each_interface(&interfaces, &candidates)?,
        candidates,
        witnesses,
        addresses,
    })
}

/// One interface for both, or one for each by its name.
fn each_interface(
    said: &[String],
    candidates: &[Member],
) -> Result<Vec<(Option<String>, String)>, Failure> {
    let each: Vec<(Option<String>, String)> = (said.iter())
        .map(|text| match text.split_once('=') {
            Some((name, interface)) => (Some(name.to_owned()), interface.to_owned()),
            None => (None, text.clone()),
        })
        .collect();
    let is_plain = each.iter().all(|(_, i)| is_plain(i) && !i.is_empty());
    let fits = match &each[..] {
        [(None, _)] => true,
        [(Some(a), _), (Some(b), _)] => {
            let named = |name: &String| candidates.iter().any(|m| m.name == *name);
            a != b && named(a) && named(b)
        }
        _ => false,
    };
    match is_plain && fits {
        true => Ok(each),
        false => Err(Failure::Usage(format!(
            "--interface {}: say it once, for both machines, or once for each: --interface {}=eth0 --interface \
             {}=ens3",
            said.join(" --interface "),
            candidates[0].name,
            candidates[1].name
        ))),
    }
}

/// Asks until there is an answer.
fn ask(question: &str, proposed: Option<&str>) -> Result<String, Failure> {
    let failed = |e: std::io::Error| Failure::Failed(format!("can't ask: {e}"));
    let proposed = proposed.filter(|p| !p.is_empty());
    loop {
        let mut out = std::io::stderr().lock();
        match proposed {
            Some(proposed) => write!(out, "{question} [{proposed}]: "),
            None => write!(out, "{question}: "),
        }
        .and_then(|()| out.flush())
        .map_err(failed)?;
        let mut line = String::new();
        if std::io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(failed)?
            == 0
        {
            return Err(Failure::Failed("no answer: nothing was written".to_owned()));
        }
        match (line.trim(), proposed) {
            ("", Some(proposed)) => return Ok(proposed.to_owned()),
            ("", None) => {}
            (answer, _) => return Ok(answer.to_owned()),
        }
    }
}

/// Files that are in place and fine.
pub(super) struct Done {
    /// Which member this host is.
    pub(super) me: String,
    /// What to say of it.
    pub(super) text: String,
}

/// Puts the files in place, and checks them as `run` would read them; what is refused is taken
/// back.
pub(super) fn put(place: &PlaceArgs, text: &str, secret: Option<&str>) -> Result<Done, Failure> {
    let config = place.config.as_path();
    let placed = Placed::put(config, text, secret, place.force).map_err(Failure::Failed)?;
    match checked(config, place.member.as_deref()) {
        Ok((me, warnings)) => {
            let mut text = format!("{}: written; this host is {me}\n", config.display());
            let hidden = secret_beside(config);
            text += &format!(
                "{}: written, readable by its owner alone\n",
                hidden.display()
            );
            for old in placed.moved() {
                text += &format!("{}: what was there before\n", old.display());
            }
            Ok(Done {
                me,
                text: text + &warnings,
            })
        }
        Err(why) => {
            let left = placed.take_back().err();
            let left = left.unwrap_or_else(|| "nothing was written".to_owned());
            Err(why.said(|why| format!("{why}\n{left}")))
        }
    }
}

/// Which member this host is, and what to be warned of.
fn checked(config: &Path, member: Option<&str>) -> Result<(String, String), Failure> {
    // The text first: what it says of this host comes second.
    let of_text = check::check(config, None);
    refuse(of_text.wrong.iter().map(|e| e.what.clone()), Failure::Usage)?;
    let loaded = config_file::load(config, member).map_err(|e| Failure::Failed(e.what))?;
    let me = loaded.clusters.first().map_or_else(String::new, |local| {
        local.config.member_name(local.config.me()).into_owned()
    });
    let here = check::check(config, Some(&me));
    refuse(here.wrong.iter().map(|e| e.what.clone()), Failure::Usage)?;
    refuse(here.host.lacks.iter().cloned(), Failure::Failed)?;
    Ok((me, here.host.text()))
}

fn refuse(
    wrong: impl Iterator<Item = String>,
    how: impl Fn(String) -> Failure,
) -> Result<(), Failure> {
    let wrong: Vec<String> = wrong.collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(how(wrong.join("\n"))),
    }
}

/// The path as it is from anywhere.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))
}

/// What to do then.
pub(super) fn next(config: &Path) -> String {
    let usual = config == Path::new(super::DEFAULT_CONFIG);
    match usual && Path::new("/run/systemd/system").exists() {
        true => "Next, on every machine: systemctl enable --now onehold\nThen: onehold status\n"
            .to_owned(),
        false => {
            let words = match usual {
                true => String::new(),
                false => format!(" --config {}", config.display()),
            };
            format!("Next, on every machine: onehold up{words}\nThen: onehold status\n")
        }
    }
}

//! `[groups.NAME.checks.NAME]`: what a service must pass for a group to be well served here.
//!
//! [`Check`] is a section that was read whole: exactly one kind, its own keys and no other's.
//! Nothing here looks at a host; whether a command can be run is [`super::hooks::runnable`]'s.

use super::decided::check_interface;
use super::hooks::{User, command_of};
use super::{FileError, GroupSection, Length, Source};
use onehold_core::time::Span;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// Most checks of one group.
pub const MAX_CHECKS: usize = 64;
/// Nothing is looked at more often.
const LEAST_EVERY: Span = Span::from_millis(50);
const MOST_EVERY: Span = Span::from_millis(3_600_000);
/// More in a row are not asked for.
const MOST_IN_A_ROW: u32 = 100;
const EVERY: Span = Span::from_millis(1_000);
const TIMEOUT: Span = Span::from_millis(500);
/// The longest name of a process that the kernel keeps (`TASK_COMM_LEN`).
const LONGEST_COMM: usize = 15;

/// `[groups.NAME.checks.NAME]` as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSection {
    tcp: Option<String>,
    http: Option<String>,
    unit: Option<String>,
    process: Option<String>,
    link: Option<String>,
    route: Option<String>,
    file: Option<PathBuf>,
    ping: Option<String>,
    exec: Option<Vec<String>>,
    status: Option<u16>,
    expect: Option<String>,
    host: Option<String>,
    present: Option<bool>,
    user: Option<String>,
    every: Option<Length>,
    timeout: Option<Length>,
    rise: Option<u32>,
    fall: Option<u32>,
    #[serde(default)]
    before_first: BeforeFirst,
}

/// What counts before there is a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BeforeFirst {
    /// It counts as failing.
    #[default]
    Failing,
    /// It counts as passing.
    Passing,
}

/// One check, proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What is looked at.
    pub kind: Kind,
    /// How often.
    pub every: Span,
    /// How long one look may take.
    pub timeout: Span,
    /// How many good looks in a row end a failure.
    pub rise: u32,
    /// How many bad looks in a row are one.
    pub fall: u32,
    /// What counts before the first result.
    pub before_first: BeforeFirst,
}

/// What a check looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody accepts there.
    Tcp(Authority),
    /// A web server answers, and as it should.
    Http(Http),
    /// A systemd unit is active.
    Unit(String),
    /// A process runs.
    Process(Process),
    /// An interface is up and has a carrier.
    Link(String),
    /// The main routing tables have this route.
    Route {
        /// To where.
        to: IpAddr,
        /// The length of its prefix.
        length: u8,
    },
    /// A file exists, or does not.
    File {
        /// Which.
        path: PathBuf,
        /// Whether it should.
        present: bool,
    },
    /// A host answers an echo request.
    Ping(IpAddr),
    /// A command ends with status 0.
    Exec {
        /// The program, absolute, and its arguments.
        command: Vec<String>,
        /// Who runs it.
        user: User,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { host, port } = self;
        match host.contains(':') {
            true => write!(f, "[{host}]:{port}"),
            false => write!(f, "{host}:{port}"),
        }
    }
}

/// What is asked of a web server, and what it should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub at: Authority,
    /// What is asked for, from the first `/` on.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// The status that passes; any of 200 to 399 if none is said.
    pub status: Option<u16>,
    /// What the body must have in it.
    pub expect: Option<String>,
}

/// Which process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    /// The one whose number is in this file.
    PidFile(PathBuf),
    /// One of this name.
    Named(String),
}

impl Kind {
    /// As in the file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Unit(_) => "unit",
            Self::Process(_) => "process",
            Self::Link(_) => "link",
            Self::Route { .. } => "route",
            Self::File { .. } => "file",
            Self::Ping(_) => "ping",
            Self::Exec { .. } => "exec",
        }
    }

    /// How many bad looks are a failure if the file does not say: what the kernel itself reports
    /// needs no second look.
    const fn fall(&self) -> u32 {
        match self {
            Self::Process(_) | Self::Unit(_) | Self::Link(_) | Self::Route { .. } => 1,
            Self::Tcp(_)
            | Self::Http(_)
            | Self::File { .. }
            | Self::Ping(_)
            | Self::Exec { .. } => 2,
        }
    }
}

/// The checks of a group, or all that is wrong with them.
///
/// # Errors
/// At least one [`FileError`].
pub fn checks(
    source: &Source,
    group: &str,
    section: &GroupSection,
) -> Result<Vec<Check>, Vec<FileError>> {
    let (mut all, mut wrong) = (Vec::new(), Vec::new());
    if section.checks.len() > MAX_CHECKS {
        let what = format!(
            "{} of them: at most {MAX_CHECKS} in a group; let one command do what several do",
            section.checks.len()
        );
        wrong.push(source.error(&format!("groups.{group}.checks"), what));
    }
    for (name, check) in &section.checks {
        let at = format!("groups.{group}.checks.{name}");
        match check.prove(name) {
            Ok(check) => all.push(check),
            Err(faults) => wrong.extend(faults.into_iter().map(|Fault { key, what }| match key {
                "" => source.error(&at, what),
                key => source.error(&format!("{at}.{key}"), what),
            })),
        }
    }
    if wrong.is_empty() {
        Ok(all)
    } else {
        Err(wrong)
    }
}

/// What is wrong with one key of a section.
pub(super) struct Fault {
    pub(super) key: &'static str,
    pub(super) what: String,
}

pub(super) fn fault(key: &'static str, what: impl Into<String>) -> Fault {
    let what = what.into();
    Fault { key, what }
}

const KINDS: &str = "tcp, http, unit, process, link, route, file, ping or exec";

impl CheckSection {
    /// Whether it counts as passing before there is a result.
    pub(super) fn assumed(&self) -> bool {
        self.before_first == BeforeFirst::Passing
    }

    fn prove(&self, name: &str) -> Result<Check, Vec<Fault>> {
        let mut wrong = Vec::new();
        if !is_name(name) {
            let what = format!("`{name}` is no name; use 1 to 64 letters, digits and `.-_`");
            wrong.push(fault("", what));
        }
        let every = self.every.map_or(EVERY, |l| l.0);
        let timeout = self.timeout.map_or(TIMEOUT.min(every), |l| l.0);
        if every < LEAST_EVERY || every > MOST_EVERY {
            let what = format!("{every}: must be {LEAST_EVERY} to {MOST_EVERY}");
            wrong.push(fault("every", what));
        } else if timeout > every {
            let what = format!(
                "{timeout} is longer than `every` ({every}), and a check never overlaps itself: shorten it, or \
                 lengthen `every`"
            );
            wrong.push(fault("timeout", what));
        }
        if timeout < Span::from_millis(1) {
            wrong.push(fault("timeout", format!("{timeout}: must be at least 1ms")));
        }
        for (key, n) in [("rise", self.rise), ("fall", self.fall)] {
            if n.is_some_and(|n| !(1..=MOST_IN_A_ROW).contains(&n)) {
                let n = n.unwrap_or_default();
                let what = format!("{n}: must be 1 to {MOST_IN_A_ROW}");
                wrong.push(fault(key, what));
            }
        }
        let kind = self.kind(&mut wrong);
        match kind {
            Some(kind) if wrong.is_empty() => Ok(Check {
                name: name.to_owned(),
                rise: self.rise.unwrap_or(2),
                fall: self.fall.unwrap_or(kind.fall()),
                kind,
                every,
                timeout,
                before_first: self.before_first,
            }),
            _ => Err(wrong),
        }
    }

    /// Which kind it is; what is wrong with that is added to `wrong`.
    fn kind(&self, wrong: &mut Vec<Fault>) -> Option<Kind> {
        let written = [
            ("tcp", self.tcp.is_some()),
            ("http", self.http.is_some()),
            ("unit", self.unit.is_some()),
            ("process", self.process.is_some()),
            ("link", self.link.is_some()),
            ("route", self.route.is_some()),
            ("file", self.file.is_some()),
            ("ping", self.ping.is_some()),
            ("exec", self.exec.is_some()),
        ];
        let kinds: Vec<&'static str> = written.iter().filter(|k| k.1).map(|k| k.0).collect();
        let kind = match kinds[..] {
            [kind] => kind,
            [] => {
                let what = format!("says nothing to look at; write one of {KINDS}");
                wrong.push(fault("", what));
                return None;
            }
            [first, second, ..] => {
                let what =
                    format!("`{first}` is there already: a check is of one kind; make two of it");
                wrong.push(fault(second, what));
                return None;
            }
        };
        for (key, there, of) in [
            ("status", self.status.is_some(), "http"),
            ("expect", self.expect.is_some(), "http"),
            ("host", self.host.is_some(), "http"),
            ("present", self.present.is_some(), "file"),
            ("user", self.user.is_some(), "exec"),
        ] {
            if there && kind != of {
                let what = format!("is a key of {of}, and this is a check of {kind}; take it out");
                wrong.push(fault(key, what));
            }
        }
        let found = self.of_kind();
        found.map_err(|e| wrong.push(e)).ok()
    }

    /// The kind that is written; there is one.
    fn of_kind(&self) -> Result<Kind, Fault> {
        if let Some(text) = &self.tcp {
            return authority(text, None)
                .map(Kind::Tcp)
                .map_err(|what| fault("tcp", what));
        }
        if let Some(url) = &self.http {
            return self.web(url).map(Kind::Http);
        }
        if let Some(unit) = &self.unit {
            let fine = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
            let fits = (1..=255).contains(&unit.len()) && unit.chars().all(fine);
            return match fits && !unit.starts_with('-') {
                true => Ok(Kind::Unit(unit.clone())),
                false => Err(fault(
                    "unit",
                    format!("`{unit}` is no unit of systemd; write \"nginx.service\""),
                )),
            };
        }
        if let Some(text) = &self.process {
            return process(text).map_err(|what| fault("process", what));
        }
        if let Some(name) = &self.link {
            return match check_interface(name) {
                Ok(()) => Ok(Kind::Link(name.clone())),
                Err(what) => Err(fault("link", format!("`{name}` {what}"))),
            };
        }
        if let Some(text) = &self.route {
            return route(text).map_err(|what| fault("route", what));
        }
        if let Some(path) = &self.file {
            return match path.is_absolute() {
                true => Ok(Kind::File {
                    path: path.clone(),
                    present: self.present.unwrap_or(true),
                }),
                false => Err(fault("file", absolute(&path.display().to_string()))),
            };
        }
        if let Some(text) = &self.ping {
            return text.parse().map(Kind::Ping).map_err(|_| {
                let what = format!("`{text}` is no IP address; write one, such as \"192.0.2.1\"");
                fault("ping", what)
            });
        }
        let command = command_of(self.exec.as_deref().unwrap_or_default());
        Ok(Kind::Exec {
            command: command.map_err(|what| fault("exec", what))?,
            user: User::parse(self.user.as_deref()).map_err(|what| fault("user", what))?,
        })
    }

    fn web(&self, url: &str) -> Result<Http, Fault> {
        let Some(rest) = url.strip_prefix("http://") else {
            let what = match url.starts_with("https://") {
                true => {
                    "HTTPS is not spoken here; write exec = [\"/usr/bin/curl\", \"-fsS\", \"-o\", \
                     \"/dev/null\", \"https://…\"]"
                        .to_owned()
                }
                false => format!("`{url}` is no address; write \"http://127.0.0.1/healthz\""),
            };
            return Err(fault("http", what));
        };
        let (authority_text, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(path) {
            let what =
                format!("`{path}` has a space or a strange letter; write it as %20 and so on");
            return Err(fault("http", what));
        }
        let at = authority(authority_text, Some(80)).map_err(|what| fault("http", what))?;
        let host = self.host.clone();
        if let Some(host) = host.as_ref().filter(|h| h.is_empty() || !printable(h)) {
            return Err(fault("host", format!("`{host}` is no name of a host")));
        }
        if let Some(status) = self.status.filter(|s| !(100..=599).contains(s)) {
            return Err(fault("status", format!("{status}: must be 100 to 599")));
        }
        if self.expect.as_ref().is_some_and(String::is_empty) {
            let what = "is empty, which every page has; write some of its text, or leave it out";
            return Err(fault("expect", what));
        }
        Ok(Http {
            host: host.unwrap_or_else(|| authority_text.to_owned()),
            at,
            path: path.to_owned(),
            status: self.status,
            expect: self.expect.clone(),
        })
    }
}

/// As the names of groups and members.
pub(super) fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(fine)
}

pub(super) fn absolute(path: &str) -> String {
    format!("`{path}` is no absolute path; write all of it, from / on")
}

/// `HOST:PORT`, or `HOST` where the port goes without saying.
fn authority(text: &str, port: Option<u16>) -> Result<Authority, String> {
    let (host, written) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => (text, None),
        },
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match written {
        Some(written) => written.parse().ok().filter(|port| *port > 0),
        None => port,
    };
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let v6 = text.starts_with('[');
    let is_host = match v6 {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.chars().all(fine),
    };
    match port {
        Some(port) if is_host => Ok(Authority {
            host: host.to_owned(),
            port,
        }),
        _ => Err(format!(
            "`{text}` is no place to connect to; write \"127.0.0.1:80\" or \"[::1]:80\""
        )),
    }
}

fn process(text: &str) -> Result<Kind, String> {
    if text.starts_with('/') {
        return Ok(Kind::Process(Process::PidFile(text.into())));
    }
    let example =
        "write the path of its pidfile, such as \"/run/nginx.pid\", or its name, such as \"nginx\"";
    if text.is_empty() || text.contains(['/', '\0']) {
        return Err(format!("`{text}` is no process; {example}"));
    }
    if text.len() > LONGEST_COMM {
        let kept: String = text.chars().take(LONGEST_COMM).collect();
        return Err(format!(
            "`{text}` is longer than the {LONGEST_COMM} letters that the kernel keeps of a name; write \
             \"{kept}\", or the path of its pidfile"
        ));
    }
    Ok(Kind::Process(Process::Named(text.to_owned())))
}

fn route(text: &str) -> Result<Kind, String> {
    if text == "default" {
        let to = IpAddr::from([0, 0, 0, 0]);
        return Ok(Kind::Route { to, length: 0 });
    }
    let wrong = || {
        format!(
            "`{text}` is no route; write \"default\", \"::/0\" or a prefix such as \"10.0.0.0/8\""
        )
    };
    let (to, length) = match text.split_once('/') {
        Some((to, length)) => (to, Some(length)),
        None => (text, None),
    };
    let to: IpAddr = to.parse().map_err(|_| wrong())?;
    let bits = if to.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => bits,
        Some(length) => length.parse().map_err(|_| wrong())?,
    };
    let host_bits = match to {
        IpAddr::V4(ip) => u32::from(ip).checked_shl(length.into()).unwrap_or(0) != 0,
        IpAddr::V6(ip) => u128::from(ip).checked_shl(length.into()).unwrap_or(0) != 0,
    };
    if length > bits || host_bits {
        return Err(wrong());
    }
    Ok(Kind::Route { to, length })
}

#[cfg(test)]
mod tests;

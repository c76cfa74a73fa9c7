//! What a cluster of the lab is like: members, networks, and the one file.

use super::host::HostSpec;
use super::web::Web;
use crate::error::{Result, err};
use onehold_core::config::Arbitration;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The floating address of the first group.
pub const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);

/// The one that a changed file adds to the first group.
pub const SECOND: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 51);

/// The candidates; probes number them so.
pub const CANDIDATES: [&str; 2] = ["lb0", "lb1"];

/// A machine that can take a candidate's place.
pub const SPARE: &str = "spare";

/// All hosts that there can be: candidates, witnesses, those who watch, and strangers; with the
/// last number of their addresses.
const HOSTS: [(&str, u8); 10] = [
    ("lb0", 10),
    ("lb1", 11),
    ("witness", 12),
    ("arbiter", 13),
    (SPARE, 14),
    ("client", 20),
    ("observer", 21),
    ("app0", 31),
    ("app1", 32),
    ("stranger", 66),
];

/// Which host is the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// `witness`.
    Usual,
    /// `arbiter`, which takes the other one's place.
    Another,
}

impl Witness {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usual => "witness",
            Self::Another => "arbiter",
        }
    }
}

/// A group of floating addresses.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its addresses as the file has them.
    pub addresses: Vec<String>,
    /// The preferred candidate.
    pub preferred: String,
}

/// What a cluster should be like. Everything not said is as in the tutorial, but for the delay of
/// a failback.
#[derive(Clone, Debug)]
pub struct Setup {
    witness: Option<Witness>,
    arbitration: Arbitration,
    guard: Option<String>,
    groups: Vec<Group>,
    failback_delay: Duration,
    paths: u8,
    over_ipv6: bool,
    timing: String,
    /// The newest first.
    secrets: Vec<String>,
    checks: String,
    pub(super) web: Option<Web>,
    pub(super) logs: Option<PathBuf>,
}

impl Setup {
    /// lb0 and lb1, with a witness if there should be one.
    fn new(witness: Option<Witness>, arbitration: Arbitration) -> Self {
        Self {
            witness,
            arbitration,
            guard: None,
            groups: Vec::new(),
            failback_delay: Duration::ZERO,
            paths: 1,
            over_ipv6: false,
            timing: String::new(),
            secrets: vec!["secret".into()],
            checks: String::new(),
            web: None,
            logs: None,
        }
        .group("web", &format!("{FLOATING}/16"), "lb0")
    }

    /// lb0, lb1 and a witness.
    #[must_use]
    pub fn majority() -> Self {
        Self::new(Some(Witness::Usual), Arbitration::Majority)
    }

    /// lb0 and lb1, of which the survivor goes on.
    #[must_use]
    pub fn survivor() -> Self {
        Self::new(None, Arbitration::Survivor)
    }

    /// lb0 and lb1, neither of which goes on alone without an operator's word.
    #[must_use]
    pub fn two_by_majority() -> Self {
        Self::new(None, Arbitration::Majority)
    }

    /// Who is its witness, if anybody is. With one a majority decides, and two alone go on as
    /// `survivor`.
    #[must_use]
    pub const fn witnessed_by(mut self, witness: Option<Witness>) -> Self {
        self.witness = witness;
        self.arbitration = match witness {
            Some(_) => Arbitration::Majority,
            None => Arbitration::Survivor,
        };
        self
    }

    /// The files of its keys, the newest first.
    #[must_use]
    pub fn secrets(mut self, files: &[&str]) -> Self {
        self.secrets = files.iter().map(|file| (*file).into()).collect();
        self
    }

    /// Forces the guard.
    #[must_use]
    pub fn guard(mut self, guard: &str) -> Self {
        self.guard = Some(guard.into());
        self
    }

    /// Adds a floating address to the first group.
    #[must_use]
    pub fn also(mut self, address: &str) -> Self {
        self.groups[0].addresses.push(address.into());
        self
    }

    /// Adds a group.
    #[must_use]
    pub fn group(mut self, name: &str, address: &str, preferred: &str) -> Self {
        self.groups.push(Group {
            name: name.into(),
            addresses: vec![address.into()],
            preferred: preferred.into(),
        });
        self
    }

    /// Has these groups instead of the first one.
    #[must_use]
    pub fn with_groups(mut self, groups: Vec<Group>) -> Self {
        self.groups = groups;
        self
    }

    /// How long each group waits before it returns to its preferred candidate; it does not unless
    /// this is said.
    #[must_use]
    pub fn failback_delay(mut self, delay: Duration) -> Self {
        self.failback_delay = delay;
        self
    }

    /// Gives the members several interfaces, each on a network of its own: that many paths.
    #[must_use]
    pub fn paths(mut self, paths: u8) -> Self {
        self.paths = paths;
        self
    }

    /// Lets the members talk by IPv6.
    #[must_use]
    pub fn over_ipv6(mut self) -> Self {
        self.over_ipv6 = true;
        self
    }

    /// The lines of the `[timing]` section.
    #[must_use]
    pub fn timing(mut self, lines: &str) -> Self {
        self.timing = lines.into();
        self
    }

    /// Sets the lease, whatever `[timing]` says of it.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        let others = self.timing.lines().filter(|l| !l.starts_with("lease"));
        let mut timing: String = others.flat_map(|line| [line, "\n"]).collect();
        let lease = lease.as_micros();
        writeln!(timing, "lease = \"{lease}us\"").expect("a String takes everything");
        self.timing(&timing)
    }

    /// A lease that outlasts any delay of a busy machine: for tests in which nothing may move.
    #[must_use]
    pub fn patient(self) -> Self {
        self.timing("lease = \"2s\"\n")
    }

    /// The lines of the first group's checks. Each candidate has an agent that runs them.
    #[must_use]
    pub fn checks(mut self, lines: &str) -> Self {
        self.checks = lines.into();
        self
    }

    /// A web server on each candidate.
    #[must_use]
    pub fn web(mut self, web: Web) -> Self {
        self.web = Some(web);
        self
    }

    /// The daemons' logs go to this directory, with a trace of each incarnation; otherwise the logs
    /// go with the cluster.
    #[must_use]
    pub fn logs(mut self, directory: &Path) -> Self {
        self.logs = Some(directory.into());
        self
    }

    /// Whether there is something for an agent to do.
    #[must_use]
    pub const fn has_checks(&self) -> bool {
        !self.checks.is_empty()
    }

    /// The groups, the first one first.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The members' names.
    #[must_use]
    pub const fn members(&self) -> &'static [&'static str] {
        match self.witness {
            Some(Witness::Usual) => &["lb0", "lb1", "witness"],
            Some(Witness::Another) => &["lb0", "lb1", "arbiter"],
            None => &["lb0", "lb1"],
        }
    }

    /// The witness's name, if it has one.
    #[must_use]
    pub fn witness(&self) -> Option<&'static str> {
        self.witness.map(Witness::name)
    }

    /// The one file.
    pub(super) fn file(&self) -> Result<String> {
        let mut text = match &self.secrets[..] {
            [one] => format!("[cluster]\nname = \"lab\"\nsecret_file = {one:?}\n"),
            all => format!("[cluster]\nname = \"lab\"\nsecret_files = {all:?}\n"),
        };
        let mut line = |words: std::fmt::Arguments<'_>| {
            writeln!(text, "{words}").expect("a String takes everything");
        };
        line(format_args!(
            "arbitration = \"{}\"",
            self.arbitration.name()
        ));
        if let Some(guard) = &self.guard {
            line(format_args!("guard = \"{guard}\""));
        }
        for member in self.members() {
            let number = number(member)?;
            let addresses: Vec<String> = (0..self.paths)
                .map(|path| match self.over_ipv6 {
                    true => v6(path, number).to_string(),
                    false => v4(path, number).to_string(),
                })
                .collect();
            line(format_args!(
                "[members.{member}]\naddresses = {addresses:?}"
            ));
            if *member == "lb0" {
                line(format_args!("preferred = true"));
            }
            if Some(*member) == self.witness() {
                line(format_args!("witness = true"));
            }
        }
        for group in &self.groups {
            let Group {
                name,
                addresses,
                preferred,
            } = group;
            line(format_args!(
                "[groups.{name}]\naddresses = {addresses:?}\npreferred = \"{preferred}\"\n\
                 interface = \"eth0\""
            ));
            let delay = self.failback_delay.as_millis();
            line(format_args!("failback_delay = \"{delay}ms\""));
        }
        if self.has_checks() {
            line(format_args!("{}", self.checks.trim_end()));
        }
        if !self.timing.is_empty() {
            line(format_args!("[timing]\n{}", self.timing.trim_end()));
        }
        line(format_args!("[log]\nlevel = \"info\""));
        Ok(text)
    }

    /// The host of this name. Without IPv6 in the file it has none: a kernel may lack it.
    ///
    /// # Errors
    /// If there is no such host.
    pub(super) fn host(&self, name: &str) -> Result<HostSpec> {
        let mut names = String::from("127.0.0.1 localhost\n");
        for member in self.members() {
            names += &format!("{} {member}\n", v4(0, number(member)?));
        }
        let mut host = HostSpec::new(name)
            .hosts_file(&names)
            // Linux answers on every interface for all its addresses unless told otherwise.
            .sysctl("net/ipv4/conf/all/arp_ignore", "1")
            .sysctl("net/ipv4/ip_nonlocal_bind", "1");
        // So that a test sees what follows when entries expire. Clients keep theirs as clients do.
        if self.members().contains(&name) {
            host = host.forgetful();
        }
        let has_ipv6 = self.has_ipv6();
        if has_ipv6 {
            host = host.sysctl("net/ipv6/ip_nonlocal_bind", "1");
        }
        let number = number(name)?;
        for path in 0..self.paths {
            let v4: (IpAddr, u8) = (v4(path, number).into(), 16);
            let v6: (IpAddr, u8) = (v6(path, number).into(), 64);
            host = match has_ipv6 {
                true => host.interface(&[v4, v6]),
                false => host.interface(&[v4]),
            };
        }
        Ok(host)
    }

    fn has_ipv6(&self) -> bool {
        let mut addresses = self.groups.iter().flat_map(|group| &group.addresses);
        self.over_ipv6 || addresses.any(|address| address.contains(':'))
    }
}

impl From<Arbitration> for Setup {
    fn from(arbitration: Arbitration) -> Self {
        match arbitration {
            Arbitration::Majority => Self::majority(),
            Arbitration::Survivor => Self::survivor(),
        }
    }
}

fn number(host: &str) -> Result<u8> {
    let found = HOSTS.into_iter().find(|(name, _)| *name == host);
    found.map(|(_, number)| number).ok_or_else(|| {
        let all = HOSTS.map(|(name, _)| name).join(", ");
        err(format!("the lab has no host `{host}`; it has {all}"))
    })
}

fn v4(path: u8, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77 + path, 0, number)
}

fn v6(path: u8, number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, path.into(), 0, 0, 0, 0, 0, 0x10 + u16::from(number))
}

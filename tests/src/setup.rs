//! What a test's cluster is like: members, networks, and the one file.

use onehold_sim::netns::HostSpec;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The floating address of the first group.
const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);

/// A group of floating addresses.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its addresses as the file has them.
    pub addresses: Vec<String>,
    /// Who gets it when both can.
    pub preferred: String,
}

/// A cluster to be. Everything not said is as in the tutorial.
#[derive(Clone, Debug)]
pub struct Setup {
    witness: bool,
    arbitration: &'static str,
    guard: Option<&'static str>,
    groups: Vec<Group>,
    paths: u8,
    transport: Transport,
    lease: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transport {
    V4,
    V6,
}

impl Setup {
    pub(crate) fn new(witness: bool, arbitration: &'static str) -> Self {
        Self {
            witness,
            arbitration,
            guard: None,
            groups: vec![Group {
                name: "web".into(),
                addresses: vec![format!("{FLOATING}/16")],
                preferred: "lb0".into(),
            }],
            paths: 1,
            transport: Transport::V4,
            lease: None,
        }
    }

    /// Forces the guard.
    #[must_use]
    pub fn guard(mut self, guard: &'static str) -> Self {
        self.guard = Some(guard);
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

    /// Gives the members so many interfaces, each on a network of its own: so many paths.
    #[must_use]
    pub fn paths(mut self, paths: u8) -> Self {
        self.paths = paths;
        self
    }

    /// Lets the members talk by IPv6.
    #[must_use]
    pub fn over_ipv6(mut self) -> Self {
        self.transport = Transport::V6;
        self
    }

    /// A lease that no busy machine overlasts: for tests in which nothing may move.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.lease = Some("2s");
        self
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(crate) fn members(&self) -> &'static [&'static str] {
        match self.witness {
            true => &["lb0", "lb1", "witness"],
            false => &["lb0", "lb1"],
        }
    }

    /// The one file.
    pub(crate) fn file(&self) -> String {
        let mut text = String::from("[cluster]\nname = \"test\"\nsecret_file = \"secret\"\n");
        let mut line = |words: std::fmt::Arguments<'_>| {
            writeln!(text, "{words}").expect("a String takes everything");
        };
        line(format_args!("arbitration = \"{}\"", self.arbitration));
        if let Some(guard) = self.guard {
            line(format_args!("guard = \"{guard}\""));
        }
        for member in self.members() {
            line(format_args!("[members.{member}]"));
            let paths = (0..self.paths).map(|path| match self.transport {
                Transport::V4 => v4(path, member).to_string(),
                Transport::V6 => v6(path, member).to_string(),
            });
            line(format_args!("addresses = {:?}", paths.collect::<Vec<_>>()));
            match *member {
                "lb0" => line(format_args!("preferred = true")),
                "witness" => line(format_args!("witness = true")),
                _ => {}
            }
        }
        for group in &self.groups {
            line(format_args!("[groups.{}]", group.name));
            line(format_args!("addresses = {:?}", group.addresses));
            line(format_args!("preferred = \"{}\"", group.preferred));
            line(format_args!("interface = \"eth0\""));
        }
        if let Some(lease) = self.lease {
            line(format_args!("[timing]\nlease = \"{lease}\""));
        }
        line(format_args!("[log]\nlevel = \"info\""));
        text
    }

    pub(crate) fn host(&self, name: &str) -> HostSpec {
        let names = self.members().iter();
        let names: String = names
            .map(|member| format!("{} {member}\n", v4(0, member)))
            .collect();
        let mut host = HostSpec::new(name)
            .hosts_file(&format!("127.0.0.1 localhost\n{names}"))
            // Linux answers on every interface for all its addresses unless told otherwise.
            .sysctl("net/ipv4/conf/all/arp_ignore", "1")
            .sysctl("net/ipv4/ip_nonlocal_bind", "1")
            .sysctl("net/ipv6/ip_nonlocal_bind", "1");
        // What comes of entries that end is seen within a test then. Clients keep theirs as clients do.
        if self.members().contains(&name) {
            host = host.forgetful();
        }
        for path in 0..self.paths {
            let v4: (IpAddr, u8) = (v4(path, name).into(), 16);
            let v6: (IpAddr, u8) = (v6(path, name).into(), 64);
            host = host.interface(&[v4, v6]);
        }
        host
    }
}

fn number(host: &str) -> u8 {
    match host {
        "lb0" => 10,
        "lb1" => 11,
        "witness" => 12,
        "client" => 20,
        "observer" => 21,
        "app0" => 31,
        "app1" => 32,
        "stranger" => 66,
        other => panic!("there is no host `{other}`"),
    }
}

fn v4(path: u8, host: &str) -> Ipv4Addr {
    Ipv4Addr::new(10, 77 + path, 0, number(host))
}

fn v6(path: u8, host: &str) -> Ipv6Addr {
    Ipv6Addr::new(
        0xfd77,
        path.into(),
        0,
        0,
        0,
        0,
        0,
        0x10 + u16::from(number(host)),
    )
}

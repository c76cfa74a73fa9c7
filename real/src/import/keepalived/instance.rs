//! What one machine's file says: its instances and sync groups.

use super::known;
use super::tracking::{Tracked, Watch};
use super::tree::Statement;
use crate::import::draft::{Table, Value};
use crate::import::outage;
use crate::import::report::{At, Report, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What one machine's file says.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) router_id: Option<(String, At)>,
    pub(super) instances: Vec<Instance>,
    pub(super) groups: Vec<Sync>,
}

/// A vrrp_instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) router: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) is_master: bool,
    pub(super) state_at: Option<At>,
    pub(super) priority: u32,
    pub(super) priority_at: Option<At>,
    pub(super) source: Option<IpAddr>,
    pub(super) peers: Vec<IpAddr>,
    pub(super) peers_at: Option<At>,
    pub(super) addresses: Vec<Floating>,
    pub(super) routes: Vec<Way>,
    pub(super) watch: Watch,
    pub(super) nopreempt: Option<At>,
    pub(super) delay: Option<(f64, At)>,
}

/// One of virtual_ipaddress.
#[derive(Clone, Debug)]
pub(super) struct Floating {
    pub(super) text: String,
    pub(super) device: Option<String>,
    pub(super) at: At,
}

/// One of virtual_routes.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) table: Table,
    pub(super) device: Option<String>,
    pub(super) at: At,
}

/// A vrrp_sync_group.
#[derive(Debug)]
pub(super) struct Sync {
    pub(super) name: String,
    pub(super) at: At,
    pub(super) members: Vec<(String, At)>,
    pub(super) watch: Watch,
}

impl Machine {
    /// Reads a file's statements.
    pub(super) fn read(statements: &[Statement], report: &mut Report) -> Self {
        let mut machine = Self::default();
        let mut tracked = Tracked::default();
        let mut interface = None;
        for statement in statements {
            if statement.keyword() == "global_defs" {
                machine.global(statement, &mut tracked, &mut interface, report);
            } else {
                tracked.define(statement, report);
            }
        }
        for statement in statements {
            let name = statement.rest();
            match statement.keyword() {
                "vrrp_instance" if !name.is_empty() => {
                    if machine.instances.iter().any(|other| other.name == name) {
                        statement.say(
                            report,
                            Verdict::Wrong,
                            "an instance of that name is there already; left out",
                        );
                        continue;
                    }
                    let mut instance = Instance::new(&name, statement.at, interface.clone());
                    instance.read(statement, &mut tracked, report);
                    machine.instances.push(instance);
                }
                "vrrp_sync_group" if !name.is_empty() => {
                    let sync = Sync::read(&name, statement, &mut tracked, report);
                    machine.groups.push(sync);
                }
                "vrrp_instance" | "vrrp_sync_group" => {
                    statement.say(report, Verdict::Wrong, "it needs a name; left out");
                }
                "global_defs" | "vrrp_script" | "vrrp_track_process" | "track_process"
                | "vrrp_track_file" | "track_file" => {}
                other => match known::at_top(other) {
                    Some(why) => statement.say(report, Verdict::LeftOut, why),
                    None => {
                        let what =
                            format!("`{other}` is nothing that keepalived.conf has here; left out");
                        statement.say(report, Verdict::Wrong, &what);
                    }
                },
            }
        }
        tracked.sweep(report);
        machine
    }

    fn global(
        &mut self,
        statement: &Statement,
        tracked: &mut Tracked<'_>,
        interface: &mut Option<String>,
        report: &mut Report,
    ) {
        statement.say_frame(report, Verdict::Carried, "");
        for inner in statement.inside() {
            match (inner.keyword(), &inner.values()[..]) {
                ("router_id", [name]) => self.router_id = Some(((*name).to_owned(), inner.at)),
                ("script_user", [user, ..]) => {
                    tracked.script_user = Some((*user).to_owned());
                    inner.say(
                        report,
                        Verdict::Carried,
                        "the `user` of each check and hook",
                    );
                }
                ("enable_script_security", _) => {
                    inner.say(
                        report,
                        Verdict::Carried,
                        "always so: a command that others can change is not run",
                    );
                }
                ("default_interface", [name]) => {
                    *interface = Some((*name).to_owned());
                    inner.say(report, Verdict::Carried, "where no interface is named");
                }
                (other, _) => match known::in_global(other) {
                    Some(why) => inner.say(report, Verdict::LeftOut, why),
                    None => inner.say(report, Verdict::Wrong, "unknown in global_defs; left out"),
                },
            }
        }
    }
}

impl Sync {
    fn read(
        name: &str,
        statement: &Statement,
        tracked: &mut Tracked<'_>,
        report: &mut Report,
    ) -> Self {
        let mut sync = Self {
            name: name.to_owned(),
            at: statement.at,
            members: Vec::new(),
            watch: Watch::default(),
        };
        statement.say_frame(
            report,
            Verdict::Carried,
            "one group: held by one vote, it moves as one",
        );
        for inner in statement.inside() {
            if inner.keyword() == "group" {
                inner.say_frame(report, Verdict::Carried, "");
                for line in inner.inside() {
                    report.say(line.at, Verdict::Carried, "");
                    sync.members
                        .extend(line.words.iter().map(|word| (word.clone(), line.at)));
                }
            } else if !tracked.read(inner, ("GROUP", name), &mut sync.watch, report) {
                leave(inner, report);
            }
        }
        sync
    }
}

/// A statement of an instance or a sync group that has no place in our file.
fn leave(statement: &Statement, report: &mut Report) {
    match known::in_instance(statement.keyword()) {
        Some(why) => statement.say(report, Verdict::LeftOut, why),
        None => {
            let what = format!(
                "`{}` is nothing that keepalived.conf has here; left out",
                statement.keyword()
            );
            statement.say(report, Verdict::Wrong, &what);
        }
    }
}

impl Instance {
    fn new(name: &str, at: At, interface: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            at,
            router: None,
            interface,
            is_master: false,
            state_at: None,
            priority: 100,
            priority_at: None,
            source: None,
            peers: Vec::new(),
            peers_at: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            watch: Watch::default(),
            nopreempt: None,
            delay: None,
        }
    }

    fn read(&mut self, statement: &Statement, tracked: &mut Tracked<'_>, report: &mut Report) {
        statement.say_frame(report, Verdict::Carried, "");
        let named = statement
            .inside()
            .iter()
            .rfind(|s| s.keyword() == "interface");
        if let Some(name) = named.and_then(|s| s.words.get(1)) {
            self.interface = Some(name.split(':').next().unwrap_or_default().to_owned());
        }
        let name = self.name.clone();
        for inner in statement.inside() {
            if !tracked.read(inner, ("INSTANCE", &name), &mut self.watch, report)
                && !self.take(inner, report)
            {
                leave(inner, report);
            }
        }
    }

    /// Takes a statement; returns whether it knows it.
    fn take(&mut self, inner: &Statement, report: &mut Report) -> bool {
        let say =
            |report: &mut Report, verdict: Verdict, what: &str| inner.say(report, verdict, what);
        let values = inner.values();
        match (inner.keyword(), &values[..]) {
            ("state", [state]) => {
                self.is_master = *state == "MASTER";
                self.state_at = Some(inner.at);
                if !["MASTER", "BACKUP"].contains(state) {
                    say(
                        report,
                        Verdict::Wrong,
                        "neither MASTER nor BACKUP, so keepalived reads BACKUP",
                    );
                }
            }
            ("priority", [text]) => match text.parse() {
                Ok(n @ 1..=255) => {
                    self.priority = n;
                    self.priority_at = Some(inner.at);
                }
                _ => say(report, Verdict::Wrong, "a priority is 1 to 255; left out"),
            },
            ("interface", [name]) => match name.split_once(':') {
                Some((name, _)) => say(
                    report,
                    Verdict::Wrong,
                    &format!("a label is no interface: {name} is taken"),
                ),
                None => say(report, Verdict::Carried, ""),
            },
            ("virtual_router_id", [id]) => {
                self.router = Some((*id).to_owned());
                say(
                    report,
                    Verdict::LeftOut,
                    "members know each other by the cluster's name and secret",
                );
            }
            ("advert_int", [text]) => match text.parse::<f64>() {
                Ok(every) if every > 0.0 => say(
                    report,
                    Verdict::Changed,
                    &format!(
                        "not carried over: adverts are sent every 100ms, and a crash is over after at most {}, not \
                         after 3 times {every}s and more",
                        outage()
                    ),
                ),
                _ => say(
                    report,
                    Verdict::Wrong,
                    "it needs a number of seconds; left out",
                ),
            },
            ("unicast_src_ip" | "mcast_src_ip", [text, ..]) => match bare(text) {
                Some(address) => {
                    self.source = Some(address);
                    say(report, Verdict::Carried, "this machine's own address");
                }
                None => say(
                    report,
                    Verdict::Wrong,
                    &format!("`{text}` is not an IP address; left out"),
                ),
            },
            ("unicast_peer", _) => {
                inner.say_frame(report, Verdict::Carried, "");
                for line in inner.inside() {
                    self.peers_at.get_or_insert(line.at);
                    self.peers_of(line, report);
                }
            }
            ("virtual_ipaddress" | "virtual_ipaddress_excluded", _) => {
                inner.say_frame(report, Verdict::Carried, "");
                for line in inner.inside() {
                    let addresses = floating(line, report);
                    self.addresses.extend(addresses);
                }
            }
            ("virtual_routes", _) => {
                inner.say_frame(report, Verdict::Carried, "");
                for line in inner.inside() {
                    self.routes.extend(way(line, report));
                }
            }
            ("authentication" | "auth_hmac", _) => {
                for line in inner.inside() {
                    let word = line.keyword();
                    match word {
                        "auth_pass" | "key" => report.hide_after(line.at, word),
                        _ if line.words.iter().any(|w| w == "auth_pass") => {
                            report.hide_after(line.at, "auth_pass")
                        }
                        _ => {}
                    }
                }
                let sealed = "never carried over: a new secret seals every advert";
                match inner.keyword() {
                    "authentication" => {
                        let why = "; keepalived sends a PASS in clear, and 8 letters of it";
                        say(report, Verdict::Changed, &format!("{sealed}{why}"));
                    }
                    _ => say(report, Verdict::Changed, sealed),
                }
            }
            ("nopreempt", []) => self.nopreempt = Some(inner.at),
            ("preempt_delay", [text]) => match text.parse::<f64>() {
                Ok(delay) if (0.0..=1000.0).contains(&delay) => {
                    self.delay = Some((delay, inner.at))
                }
                _ => say(
                    report,
                    Verdict::Wrong,
                    "it needs 0 to 1000 seconds; left out",
                ),
            },
            (
                "state" | "priority" | "interface" | "virtual_router_id" | "advert_int"
                | "unicast_src_ip" | "mcast_src_ip" | "preempt_delay" | "nopreempt",
                _,
            ) => say(
                report,
                Verdict::Wrong,
                "it needs another number of values; left out",
            ),
            _ => return false,
        }
        true
    }

    fn peers_of(&mut self, line: &Statement, report: &mut Report) {
        let mut words = line.words.iter().peekable();
        while let Some(word) = words.next() {
            match bare(word) {
                Some(address) => {
                    if !self.peers.contains(&address) {
                        self.peers.push(address);
                    }
                    report.say(line.at, Verdict::Carried, "a member's own address");
                }
                None if ["min_ttl", "max_ttl"].contains(&word.as_str()) => {
                    words.next();
                    report.say(
                        line.at,
                        Verdict::LeftOut,
                        format!("{word}: an advert counts by its seal"),
                    );
                }
                None => report.say(
                    line.at,
                    Verdict::Wrong,
                    format!("`{word}` is not an IP address; left out"),
                ),
            }
        }
    }
}

/// An address, whatever prefix is behind it.
fn bare(text: &str) -> Option<IpAddr> {
    text.split('/').next().unwrap_or_default().parse().ok()
}

/// `IP[/LENGTH] [dev IF] …`; several, if they are in one line.
fn floating(line: &Statement, report: &mut Report) -> Vec<Floating> {
    let mut all: Vec<Floating> = Vec::new();
    let mut words = line.words.iter().map(String::as_str);
    let at = line.at;
    while let Some(word) = words.next() {
        match (word, all.last_mut()) {
            ("dev", Some(last)) => match words.next() {
                Some(device) => {
                    last.device = Some(device.split(':').next().unwrap_or_default().to_owned())
                }
                None => report.say(at, Verdict::Wrong, "`dev` of nothing; left out"),
            },
            ("brd" | "broadcast", Some(_)) => {
                words.next();
                report.say(at, Verdict::LeftOut, "brd: no broadcast address is set");
            }
            ("label", Some(_)) => {
                words.next();
                report.say(at, Verdict::LeftOut, "label: addresses have none");
            }
            ("scope", Some(_)) => match words.next() {
                Some("global") => {}
                _ => report.say(at, Verdict::LeftOut, "scope: it is global"),
            },
            ("peer", Some(_)) => {
                words.next();
                report.say(
                    at,
                    Verdict::Wrong,
                    "peer: an address here has none; left out",
                );
            }
            ("preferred_lft", Some(_)) => {
                words.next();
                report.say(
                    at,
                    Verdict::LeftOut,
                    "preferred_lft: a held IPv6 address is not preferred for sending",
                );
            }
            (
                "no_track" | "use_vmac" | "home" | "-nodad" | "mngtmpaddr" | "noprefixroute"
                | "autojoin",
                Some(_),
            ) => {
                report.say(
                    at,
                    Verdict::LeftOut,
                    format!("{word}: an address that somebody removes is put back, on the interface itself"),
                );
            }
            _ => {
                let is_address = bare(word).is_some();
                if !is_address && all.last().is_some() {
                    report.say(
                        at,
                        Verdict::Wrong,
                        format!("`{word}` is unknown here; left out"),
                    );
                    continue;
                }
                if is_address {
                    report.say(at, Verdict::Carried, "");
                } else {
                    report.say(
                        at,
                        Verdict::Wrong,
                        format!("`{word}` is not an IP address, so it stands for one: write it in the file"),
                    );
                }
                all.push(Floating {
                    text: word.to_owned(),
                    device: None,
                    at,
                });
            }
        }
    }
    all
}

/// `[src IP] [to] NETWORK [via IP] [dev IF] [table N] [metric N] …`
fn way(line: &Statement, report: &mut Report) -> Option<Way> {
    let at = line.at;
    let mut words = line.words.iter().map(String::as_str).peekable();
    let (mut to, mut via, mut src, mut table, mut metric, mut device) =
        (None, None, None, None, None, None);
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "blackhole" | "unreachable" | "prohibit" | "throw" | "nexthop" => {
                report.say(
                    at,
                    Verdict::Wrong,
                    format!("`{word}`: a route here leads to one gateway or interface; left out. Write hooks with `ip route`"),
                );
                return None;
            }
            "to" => to = words.next(),
            "via" | "gw" => {
                // `via inet6 fe80::1`
                let next = words.next();
                via = match next {
                    Some("inet" | "inet6") => words.next(),
                    next => next,
                };
            }
            "src" => src = words.next(),
            "dev" => device = words.next(),
            "table" => table = words.next(),
            "metric" | "priority" | "preference" => metric = words.next(),
            "unicast" | "onlink" | "inet" | "inet6" | "no_track" | "add" | "append" => {
                if word == "onlink" {
                    rest.push(word);
                }
            }
            "or" => {
                rest.push(word);
                words.next();
            }
            word if to.is_none() && (word == "default" || bare(word).is_some()) => to = Some(word),
            word => {
                rest.push(word);
                if [
                    "scope", "proto", "protocol", "mtu", "advmss", "tos", "hoplimit", "weight",
                    "rtt", "window", "cwnd", "initcwnd", "initrwnd", "realms", "features",
                    "quickack", "congctl", "pref",
                ]
                .contains(&word)
                {
                    words.next();
                }
            }
        }
    }
    let Some(to) = to else {
        report.say(at, Verdict::Wrong, "a route to nowhere; left out");
        return None;
    };
    let mut entries: Table = Vec::new();
    let network = network(to);
    match &network {
        Some(network) if network == to || to == "default" => report.say(at, Verdict::Carried, ""),
        Some(network) => report.say(
            at,
            Verdict::Changed,
            format!("{to} is written as its network, {network}"),
        ),
        None => report.say(at, Verdict::Wrong, format!("`{to}` is not a network")),
    }
    entries.push(("to", Value::Text(network.unwrap_or_else(|| to.to_owned()))));
    for (key, value) in [("via", via), ("src", src)] {
        entries.extend(value.map(|value| (key, Value::Text(value.to_owned()))));
    }
    for (key, value) in [("table", table), ("metric", metric)] {
        let Some(value) = value else { continue };
        let number = match value {
            "main" => Some(254),
            "default" => Some(253),
            value => value.parse().ok(),
        };
        match number {
            Some(number) => entries.push((key, Value::Number(number))),
            None => report.say(
                at,
                Verdict::Wrong,
                format!("{key} `{value}`: write its number (/etc/iproute2/rt_tables); left out, so the route is in the main table"),
            ),
        }
    }
    if !rest.is_empty() {
        report.say(
            at,
            Verdict::LeftOut,
            format!("{}: a route here has none", rest.join(", ")),
        );
    }
    let device = device.map(str::to_owned);
    Some(Way {
        table: entries,
        device,
        at,
    })
}

/// A network by its own address.
fn network(text: &str) -> Option<String> {
    if text == "default" {
        return Some(text.to_owned());
    }
    let (address, length) = text
        .split_once('/')
        .map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = if address.is_ipv4() { 32 } else { 128 };
    let Some(length) = length else {
        return Some(address.to_string());
    };
    let length: u32 = length.parse().ok().filter(|length| *length <= bits)?;
    let host = u128::MAX.checked_shl(bits - length).unwrap_or(0);
    let network: IpAddr = match address {
        IpAddr::V4(a) => Ipv4Addr::from_bits(a.to_bits() & host as u32).into(),
        IpAddr::V6(a) => Ipv6Addr::from_bits(a.to_bits() & host).into(),
    };
    Some(format!("{network}/{length}"))
}

//! `ha.cf`

use super::Meant;
use crate::import::outage;
use crate::import::report::{At, Report, Verdict};
use std::net::IpAddr;

/// What ha.cf says that our file can say.
#[derive(Clone, Debug)]
pub(super) struct HaCf {
    /// In lower case, as Heartbeat compares them; with their lines.
    pub(super) nodes: Vec<(String, At)>,
    /// Where Heartbeat sends to.
    pub(super) ucasts: Vec<Ucast>,
    /// Every interface that is named.
    pub(super) interfaces: Vec<String>,
    pub(super) auto_failback: bool,
    pub(super) pings: Vec<Ping>,
    pub(super) ipfail: bool,
    /// In seconds.
    pub(super) deadping: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Ucast {
    pub(super) interface: String,
    pub(super) address: IpAddr,
    pub(super) at: At,
}

#[derive(Clone, Debug)]
pub(super) struct Ping {
    pub(super) hosts: Vec<String>,
    pub(super) at: At,
}

/// What a line can begin with.
pub(super) const NAMES: &[&str] = &[
    "node",
    "ucast",
    "ucast6",
    "bcast",
    "udp",
    "mcast",
    "mcast6",
    "keepalive",
    "deadtime",
    "warntime",
    "initdead",
    "udpport",
    "auto_failback",
    "nice_failback",
    "ping",
    "ping_group",
    "respawn",
    "crm",
    "pacemaker",
    "logfile",
    "debugfile",
    "logfacility",
    "use_logd",
    "watchdog",
    "serial",
    "baud",
    "auth",
];

/// What has no place in our file, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "serial",
        "messages go by UDP only; a second path is a second address of each member",
    ),
    ("baud", "there are no serial lines"),
    (
        "stonith",
        "no machine is powered off: the kernel mutes what a frozen or killed member held",
    ),
    (
        "stonith_host",
        "no machine is powered off: the kernel mutes what a frozen or killed member held",
    ),
    (
        "watchdog",
        "a hung daemon holds nothing beyond its lease; give systemd WatchdogSec= if you want it restarted",
    ),
    (
        "hbaping",
        "Fibre Channel is not asked; write a check with `exec`",
    ),
    ("msgfmt", "there is one format"),
    (
        "logfile",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    (
        "debugfile",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    (
        "logfacility",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    (
        "syslogmsgfmt",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    (
        "use_logd",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    (
        "conn_logd_time",
        "the log goes to journald: `journalctl -u onehold`",
    ),
    ("logd", "the log goes to journald: `journalctl -u onehold`"),
    ("debug", "log.level = \"debug\" is the like of it"),
    (
        "apiauth",
        "the control socket is root's; members of the daemon's group may ask for the status",
    ),
    ("hopfudge", "nothing is passed on from node to node"),
    ("compression", "adverts are short"),
    ("compression_threshold", "adverts are short"),
    ("traditional_compression", "adverts are short"),
    (
        "realtime",
        "timing.profile = \"fast\" asks for realtime priority",
    ),
    (
        "rtprio",
        "timing.profile = \"fast\" asks for realtime priority",
    ),
    ("memreserve", "timing.profile = \"fast\" locks the memory"),
    (
        "autojoin",
        "the file names all members; nobody joins by itself",
    ),
    ("uuidfrom", "members are known by their names"),
    ("coredumps", "that is systemd's to say"),
    ("coreroot_dir", "that is systemd's to say"),
    ("uid", "that is the unit's to say"),
    ("gid", "that is the unit's to say"),
    (
        "cluster",
        "it belongs to quorumd; a witness does what that did",
    ),
    (
        "quorum",
        "it belongs to quorumd; a witness does what that did",
    ),
    (
        "quorum_server",
        "a witness is a member of its own: [members.w] with `witness = true`",
    ),
    (
        "max_rexmit_delay",
        "nothing is sent again: each advert says everything",
    ),
];

/// Reads the lines of ha.cf.
pub(super) fn read(lines: &[Meant], report: &mut Report) -> HaCf {
    let mut ha = HaCf {
        nodes: Vec::new(),
        ucasts: Vec::new(),
        interfaces: Vec::new(),
        auto_failback: true,
        pings: Vec::new(),
        ipfail: false,
        deadping: 30.0,
    };
    let mut failback_is_said = false;
    for Meant { at, text } in lines {
        let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        let Some((name, values)) = words.split_first() else {
            report.say(*at, Verdict::Wrong, "says nothing; left out");
            continue;
        };
        failback_is_said |= ["auto_failback", "nice_failback"].contains(name);
        let (verdict, what) = ha.take(name, values, *at);
        report.say(*at, verdict, what);
    }
    if !failback_is_said {
        report.note(
            "ha.cf has no auto_failback, which means `legacy` to Heartbeat; here a group returns to its preferred \
             member by itself (write `failback = \"manual\"` if it should not)",
        );
    }
    ha
}

impl HaCf {
    fn take(&mut self, name: &str, values: &[&str], at: At) -> (Verdict, String) {
        use Verdict::{Carried, Changed, LeftOut, Wrong};
        let say = |verdict: Verdict, what: &str| (verdict, what.to_owned());
        match (name, values) {
            ("node", [_, ..]) => {
                for node in values {
                    let node = node.to_lowercase();
                    if self.nodes.iter().any(|(other, _)| *other == node) {
                        return (Carried, format!("`{node}` is named above already"));
                    }
                    self.nodes.push((node, at));
                }
                say(Carried, "") // `members` says more
            }
            ("ucast" | "ucast6", [interface, address, rest @ ..]) => {
                self.interface(interface);
                let Ok(address) = address.parse() else {
                    return (Wrong, format!("`{address}` is not an IP address; left out"));
                };
                self.ucasts.push(Ucast {
                    interface: (*interface).to_owned(),
                    address,
                    at,
                });
                match rest {
                    [] => say(Carried, ""),
                    _ => (
                        Wrong,
                        format!("`{}` after the address is left out", rest.join(" ")),
                    ),
                }
            }
            ("bcast" | "udp", [_, ..]) => {
                values
                    .iter()
                    .for_each(|interface| self.interface(interface));
                say(
                    Changed,
                    "members send to each other's addresses, not to everybody on an interface",
                )
            }
            ("mcast" | "mcast6", [interface, ..]) => {
                self.interface(interface);
                say(
                    Changed,
                    "members send to each other's addresses, not to a multicast group",
                )
            }
            ("keepalive", [time]) => match time_of(time) {
                Err(what) => (Wrong, what),
                Ok(_) => say(
                    Changed,
                    "not carried over: adverts are sent every 100ms (timing.interval)",
                ),
            },
            ("deadtime", [time]) => match time_of(time) {
                Err(what) => (Wrong, what),
                Ok(dead) => (
                    Changed,
                    format!(
                        "not carried over: a crash is over after at most {}, not after {dead}s (timing.lease)",
                        outage()
                    ),
                ),
            },
            ("warntime", [time]) => match time_of(time) {
                Err(what) => (Wrong, what),
                Ok(_) => say(LeftOut, "a member that is not heard is reported at once"),
            },
            ("initdead", [time]) => match time_of(time) {
                Err(what) => (Wrong, what),
                Ok(_) => say(
                    LeftOut,
                    "a member that has just started neither votes nor holds for half a second; that is enough",
                ),
            },
            ("deadping", [time]) => match time_of(time) {
                Err(what) => (Wrong, what),
                Ok(time) => {
                    self.deadping = time;
                    say(Carried, "`fall` of the check")
                }
            },
            ("keepalive" | "deadtime" | "warntime" | "initdead" | "deadping", [_, unit, ..])
                if ["ms", "s", "sec", "us"].contains(unit) =>
            {
                (
                    Wrong,
                    format!("Heartbeat reads no space before `{unit}`; left out"),
                )
            }
            ("udpport", [_]) => say(
                Changed,
                "not carried over: the port is 6946 (cluster.port), so firewalls must let that pass",
            ),
            ("auto_failback", [on]) => match on.to_lowercase().as_str() {
                "on" | "true" | "yes" | "y" | "1" => {
                    self.failback(true, Carried, "failback = \"auto\"")
                }
                "off" | "false" | "no" | "n" | "0" => {
                    self.failback(false, Carried, "failback = \"manual\"")
                }
                "legacy" => {
                    self.failback(true, Changed, "`legacy` is written as failback = \"auto\"")
                }
                other => (
                    Wrong,
                    format!("`{other}` is not on, off or legacy; left out"),
                ),
            },
            ("nice_failback", [on]) => match on.to_lowercase().as_str() {
                "on" | "true" | "yes" => self.failback(false, Carried, "failback = \"manual\""),
                _ => self.failback(true, Carried, "failback = \"auto\""),
            },
            ("ping", [_, ..]) => {
                // Each host is asked for itself.
                let host = |host: &&str| Ping {
                    hosts: vec![(*host).to_owned()],
                    at,
                };
                self.pings.extend(values.iter().map(host));
                say(Carried, "")
            }
            ("ping_group", [_, _, ..]) => {
                self.pings.push(Ping {
                    hosts: values[1..].iter().map(|host| (*host).to_owned()).collect(),
                    at,
                });
                say(Carried, "any of them that answers is enough")
            }
            ("respawn", [_, program, ..]) => match program.rsplit('/').next() {
                Some("ipfail") => {
                    self.ipfail = true;
                    say(Carried, "the checks of `ping`")
                }
                Some(
                    "pingd" | "ccm" | "cib" | "crmd" | "mgmtd" | "dopd" | "stonithd" | "logd"
                    | "ha_logd",
                ) => say(LeftOut, "a part of Heartbeat or Pacemaker"),
                _ => say(
                    LeftOut,
                    "it needs a unit of its own: systemd starts it again when it ends",
                ),
            },
            ("crm" | "pacemaker", [on]) => match on.to_lowercase().as_str() {
                "off" | "no" | "false" | "n" | "0" => say(Carried, ""),
                _ => say(
                    Wrong,
                    "so haresources is not used, and what moves is in Pacemaker's CIB (`crm configure show`), which \
                     is not imported",
                ),
            },
            _ => match LEFT_OUT.iter().find(|(known, _)| *known == name) {
                Some((_, why)) => say(LeftOut, why),
                None if NAMES.contains(&name) => (
                    Wrong,
                    format!("`{name}` needs another number of values; left out"),
                ),
                None => (
                    Wrong,
                    format!("`{name}` is no directive of Heartbeat; left out"),
                ),
            },
        }
    }

    fn failback(&mut self, on: bool, verdict: Verdict, what: &str) -> (Verdict, String) {
        self.auto_failback = on;
        (verdict, what.to_owned())
    }

    fn interface(&mut self, name: &str) {
        let name = name.split(':').next().unwrap_or_default().to_owned();
        if !self.interfaces.contains(&name) {
            self.interfaces.push(name);
        }
    }
}

/// A time as Heartbeat reads it, in seconds.
fn time_of(text: &str) -> Result<f64, String> {
    let ends = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(ends);
    let factor = match unit {
        "" | "s" | "sec" => Some(1.0),
        "ms" | "msec" => Some(1e-3),
        "us" | "usec" => Some(1e-6),
        "m" | "min" => Some(60.0),
        _ => None,
    };
    let number = number.parse::<f64>().ok().filter(|n| n.is_finite());
    number
        .zip(factor)
        .map(|(n, factor)| n * factor)
        .ok_or_else(|| {
            format!(
                "`{text}` is not a time; left out (Heartbeat reads \"2\", \"0.5\" and \"500ms\")"
            )
        })
}

//! What a drill does to the member on which it runs, and how each of these things is undone.
//!
//! All of it goes through what is there already: orders, signals to the own daemon, the service
//! manager, and one nftables table of the drill's own, whose rules end by themselves.

use super::situation;
use crate::control::{CLIENT_TIMEOUT, Order, Reply, Request, ask};
use crate::orders::Said;
use clap::ValueEnum;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal, test_kill_process,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The drill's own nftables table.
const TABLE: &str = "inet onehold-drill";
/// How long a stopped daemon has to hand over and end.
const STOPPED: Duration = Duration::from_secs(20);
/// How long a started one has to answer.
const STARTED: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);

/// What is done to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The operator's order, and `resume`.
    Standby,
    /// The daemon is stopped, and started.
    Stop,
    /// The daemon is paused, and goes on.
    Freeze,
    /// The daemon is killed, and started again.
    Kill,
    /// No advert leaves or enters this host.
    Cut,
}

impl Event {
    /// All, those first after which the address comes back soonest.
    pub const ALL: [Self; 5] = [
        Self::Standby,
        Self::Stop,
        Self::Freeze,
        Self::Kill,
        Self::Cut,
    ];

    /// The holder hands over.
    #[must_use]
    pub const fn is_planned(self) -> bool {
        match self {
            Self::Standby | Self::Stop => true,
            Self::Freeze | Self::Kill | Self::Cut => false,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Stop => "stop",
            Self::Freeze => "freeze",
            Self::Kill => "kill",
            Self::Cut => "cut",
        }
    }

    /// What is done, for people.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Standby => "order standby, then resume",
            Self::Stop => "stop the daemon, then start it",
            Self::Freeze => "freeze the daemon (SIGSTOP), then let it go on (SIGCONT)",
            Self::Kill => "kill the daemon (SIGKILL), then see it started again",
            Self::Cut => "drop all UDP between the members, then let them pass",
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the daemon is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// By systemd, as this unit.
    Unit(String),
    /// By a command of the operator's.
    Command(String),
}

/// Where a daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its control socket.
    pub socket: PathBuf,
    /// Its cluster.
    pub cluster: String,
}

/// How a fault is undone. Doing so twice, or where nothing is to be undone, does no harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// The daemon is started, unless it runs.
    Start(Daemon, Start),
    /// The process goes on.
    Continue(i32),
    /// The table is removed.
    Uncut,
    /// The order for the group ends.
    Resume(Daemon, String),
}

/// The member that a drill takes down.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Its daemon.
    pub daemon: Daemon,
    /// The group that is looked at.
    pub group: String,
    /// How its daemon is started, if that is known.
    pub start: Option<Start>,
    /// Where adverts go to and come from.
    pub peers: Vec<SocketAddr>,
}

impl Victim {
    /// How an event is undone, once it can be done at all.
    ///
    /// # Errors
    /// Why it can't be done here, and what to do.
    pub fn undo(&self, event: Event) -> Result<Undo, String> {
        match event {
            Event::Standby => Ok(Undo::Resume(self.daemon.clone(), self.group.clone())),
            Event::Stop | Event::Kill => {
                let start = self.start.clone().ok_or_else(|| {
                    format!(
                        "{event}: the daemon does not run as a systemd service; say how it is started, \
                         with --start COMMAND"
                    )
                })?;
                Ok(Undo::Start(self.daemon.clone(), start))
            }
            Event::Freeze => {
                let (pid, _) = process(&self.daemon.socket)?;
                Ok(Undo::Continue(pid.as_raw_nonzero().get()))
            }
            Event::Cut => {
                nft("list tables").map_err(|why| {
                    format!("cut: {why}; install nftables, or leave `cut` out with --only")
                })?;
                Ok(Undo::Uncut)
            }
        }
    }

    /// Does it. No rule of `cut` lasts longer than `longest`.
    ///
    /// # Errors
    /// What went wrong; it may be done in part.
    pub fn inflict(&self, event: Event, longest: Duration) -> Result<(), String> {
        match event {
            Event::Standby => order(&self.daemon, Order::Standby, &self.group),
            Event::Stop => match &self.start {
                Some(Start::Unit(unit)) => systemctl(&["stop", unit]).map(drop),
                Some(Start::Command(_)) | None => {
                    let (pid, process) = process(&self.daemon.socket)?;
                    signal(&process, Signal::TERM)?;
                    ended(pid, STOPPED)
                }
            },
            Event::Freeze => signal(&process(&self.daemon.socket)?.1, Signal::STOP),
            Event::Kill => signal(&process(&self.daemon.socket)?.1, Signal::KILL),
            Event::Cut => nft(&cut(&self.peers, longest)),
        }
    }
}

impl Undo {
    /// Undoes it.
    ///
    /// # Errors
    /// What went wrong, and what to do by hand.
    pub fn undo(&self) -> Result<(), String> {
        match self {
            Self::Start(daemon, start) => start_again(daemon, start),
            Self::Continue(pid) => {
                let pid = Pid::from_raw(*pid).ok_or("there is no process 0")?;
                match kill_process(pid, Signal::CONT) {
                    // It was killed meanwhile: systemd's watchdog does that.
                    Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
                    Err(e) => Err(format!("kill -CONT {}: {e}", pid.as_raw_nonzero())),
                }
            }
            // The first line is there so that the second can't fail.
            Self::Uncut => nft(&format!("add table {TABLE}\ndelete table {TABLE}")),
            Self::Resume(daemon, group) => order(daemon, Order::Resume, group),
        }
    }
}

/// The process that listens at a control socket.
///
/// # Errors
/// There is none, or it can't be seen from here.
pub fn process(socket: &Path) -> Result<(Pid, OwnedFd), String> {
    let shown = socket.display();
    let listener = || -> Result<Pid, String> {
        let stream = UnixStream::connect(socket).map_err(|e| format!("{shown}: {e}"))?;
        let peer = socket_peercred(&stream).map_err(|e| {
            format!("{shown}: which process listens there can't be seen from here ({e}): drill where it runs")
        })?;
        Ok(peer.pid)
    };
    let pid = listener()?;
    let process = pidfd_open(pid, PidfdFlags::empty());
    let process = process.map_err(|e| format!("process {}: {e}", pid.as_raw_nonzero()))?;
    // So that the number did not go to another process in between.
    match listener()? == pid {
        true => Ok((pid, process)),
        false => Err(format!("{shown}: the daemon is being restarted; try again")),
    }
}

/// The systemd unit whose main process this is.
#[must_use]
pub fn unit(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let unit = unit_of(&groups)?;
    let main = systemctl(&["show", "--property=MainPID", "--value", unit]).ok()?;
    (main.trim() == pid.to_string()).then(|| unit.to_owned())
}

/// The system's service to which a process belongs, by its control groups.
fn unit_of(groups: &str) -> Option<&str> {
    let named = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    let paths = groups.lines().filter(named);
    let mut paths = paths.filter_map(|line| line.splitn(3, ':').nth(2));
    let path = paths.find(|path| path.starts_with("/system.slice/"))?;
    path.rsplit('/')
        .next()
        .filter(|unit| unit.ends_with(".service"))
}

fn signal(process: &OwnedFd, signal: Signal) -> Result<(), String> {
    pidfd_send_signal(process, signal).map_err(|e| format!("sending {signal:?} to the daemon: {e}"))
}

/// Waits until a process is gone.
fn ended(pid: Pid, patience: Duration) -> Result<(), String> {
    let looks = patience.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        // One that nobody waited for yet has ended, too.
        let is_zombie = |stat: String| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z'));
        if test_kill_process(pid).is_err() || state.is_ok_and(is_zombie) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(format!("the daemon still runs {patience:?} after SIGTERM"))
}

fn order(daemon: &Daemon, order: Order, group: &str) -> Result<(), String> {
    let request = Request::Command {
        command: order,
        cluster: Some(daemon.cluster.clone()),
        group: Some(group.to_owned()),
        said: Said {
            reason: Some("drill".to_owned()),
            ..Said::default()
        },
    };
    match ask(&daemon.socket, &request, CLIENT_TIMEOUT)? {
        Reply::Done { .. } => Ok(()),
        Reply::Refused { why } => Err(why),
        Reply::Status(_) | Reply::History(_) | Reply::Reloaded { .. } => {
            Err("the daemon answered something else".to_owned())
        }
    }
}

fn start_again(daemon: &Daemon, start: &Start) -> Result<(), String> {
    let answers =
        || situation::ask(&daemon.socket, &daemon.cluster, Duration::from_secs(1)).is_ok();
    if answers() {
        return Ok(());
    }
    match start {
        Start::Unit(unit) => systemctl(&["start", unit]).map(drop)?,
        Start::Command(words) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", words]).process_group(0);
            let all = [Stdio::null(), Stdio::null(), Stdio::null()];
            let [input, output, error] = all;
            shell.stdin(input).stdout(output).stderr(error);
            shell
                .spawn()
                .map_err(|e| format!("starting `{words}`: {e}"))?;
        }
    }
    for _ in 0..STARTED.as_millis() / LOOK.as_millis() {
        if answers() {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    Err(format!(
        "the daemon was started, and does not answer at {} within {STARTED:?}",
        daemon.socket.display()
    ))
}

fn systemctl(words: &[&str]) -> Result<String, String> {
    let output = Command::new("systemctl")
        .args(words)
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|e| format!("systemctl: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "systemctl {}: {}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// Drops what goes to these addresses and ports by UDP, and what comes from there, for so long.
fn cut(peers: &[SocketAddr], longest: Duration) -> String {
    let seconds = longest.as_secs() + u64::from(longest.subsec_nanos() > 0);
    let elements = |v4: bool| {
        let of = peers.iter().filter(|peer| peer.is_ipv4() == v4);
        let of: Vec<String> = of
            .map(|peer| format!("{} . {} timeout {seconds}s", peer.ip(), peer.port()))
            .collect();
        match of.is_empty() {
            true => String::new(),
            false => format!("; elements = {{ {} }}", of.join(", ")),
        }
    };
    let (v4, v6) = (elements(true), elements(false));
    format!(
        "add table {TABLE}\n\
         delete table {TABLE}\n\
         table {TABLE} {{\n\
         \x20 set v4 {{ type ipv4_addr . inet_service; flags timeout{v4}; }}\n\
         \x20 set v6 {{ type ipv6_addr . inet_service; flags timeout{v6}; }}\n\
         \x20 chain arriving {{ type filter hook input priority -400;\n\
         \x20   ip saddr . udp sport @v4 drop\n\
         \x20   ip6 saddr . udp sport @v6 drop\n\
         \x20 }}\n\
         \x20 chain leaving {{ type filter hook output priority -400;\n\
         \x20   ip daddr . udp dport @v4 drop\n\
         \x20   ip6 daddr . udp dport @v6 drop\n\
         \x20 }}\n\
         }}"
    )
}

/// Has nft do what a text says, all or nothing.
fn nft(text: &str) -> Result<(), String> {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped());
    nft.stdout(Stdio::null()).stderr(Stdio::piped());
    let run = || -> std::io::Result<std::process::Output> {
        let mut child = nft.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text.as_bytes())?;
        }
        child.wait_with_output()
    };
    let mut run = run;
    let output = run().map_err(|e| format!("nft: {e}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "nft: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_names_each_peer_and_its_end() {
        let peers = ["10.0.0.11:6946", "[fd00::1]:7000"].map(|at| at.parse().unwrap());
        let text = cut(&peers, Duration::from_millis(4_500));
        assert!(
            text.contains("elements = { 10.0.0.11 . 6946 timeout 5s }"),
            "{text}"
        );
        assert!(
            text.contains("elements = { fd00::1 . 7000 timeout 5s }"),
            "{text}"
        );
        let text = cut(&peers[..1], Duration::from_secs(3));
        assert!(text.contains("set v6 { type ipv6_addr . inet_service; flags timeout; }"));
    }

    #[test]
    fn a_service_is_known_by_its_control_group_and_a_session_is_none() {
        let service = "0::/system.slice/onehold.service\n";
        assert_eq!(unit_of(service), Some("onehold.service"));
        let instance =
            "1:name=systemd:/system.slice/system-onehold.slice/onehold@web.service\n0::/\n";
        assert_eq!(unit_of(instance), Some("onehold@web.service"));
        for other in [
            "0::/",
            "",
            "0::/user.slice/user-0.slice/session-3.scope",
            "0::/user.slice/user-0.slice/user@0.service/app.slice/x.service",
            "0::/system.slice/docker-0123.scope",
        ] {
            assert_eq!(unit_of(other), None, "{other}");
        }
    }

    #[test]
    fn every_undo_comes_back_as_it_was() {
        let daemon = Daemon {
            socket: "/run/onehold/control.sock".into(),
            cluster: "web".into(),
        };
        for undo in [
            Undo::Start(daemon.clone(), Start::Unit("onehold.service".into())),
            Undo::Continue(7),
            Undo::Uncut,
            Undo::Resume(daemon, "web".into()),
        ] {
            let text = serde_json::to_string(&undo).unwrap();
            assert_eq!(serde_json::from_str::<Undo>(&text).unwrap(), undo);
        }
    }
}

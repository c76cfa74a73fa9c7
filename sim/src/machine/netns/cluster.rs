//! The cluster of the tutorial: lb0 and lb1 with a web server each, a witness, the floating
//! address, a client and an observer; with the real `onehold` binary as the daemon.

use super::{Host, HostSpec, Lan, Process, WebServer};
use crate::error::{Context, Result, err};
use crate::fault::{Conditions, Fault, Links, Target, order};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// The address that one of lb0 and lb1 holds.
pub const FLOATING: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
const PREFIX: u8 = 16;
/// How long a daemon may take to hand over and leave.
const LEAVE: Duration = Duration::from_secs(10);

/// What it takes to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arbitration {
    /// Two of three: lb0, lb1 and a witness.
    #[default]
    Majority,
    /// lb0 and lb1 alone.
    Survivor,
}

/// The web server on lb0 and lb1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Web {
    /// A few lines of the lab's own.
    #[default]
    Embedded,
    /// nginx, from PATH.
    Nginx,
}

/// What the cluster is to be like.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// The `onehold` binary.
    pub binary: PathBuf,
    /// What it takes to hold.
    pub arbitration: Arbitration,
    /// The web server.
    pub web: Web,
    /// `cluster.guard`, if it is to be forced.
    pub guard: Option<String>,
    /// The `[timing]` section.
    pub timing: String,
    /// `groups.web.failback_delay`
    pub failback_delay: Duration,
    /// Where the daemons' logs and traces go; else they are forgotten with the cluster.
    pub logs: Option<PathBuf>,
}

/// A web server, stopped when it is dropped.
enum Server {
    Embedded { _running: WebServer },
    Nginx { _running: Process },
}

struct Node {
    host: Host,
    daemon: Option<Process>,
    web: Option<Server>,
}

/// The cluster. Dropping it stops everything and leaves nothing behind.
pub struct Cluster {
    nodes: Vec<Node>,
    client: Host,
    observer: Host,
    lan: Lan,
    config: PathBuf,
    spec: ClusterSpec,
}

impl Cluster {
    /// Hosts, web servers and files, and no daemon yet.
    ///
    /// # Errors
    /// If the kernel refuses, or nginx is wanted and missing.
    pub fn new(spec: ClusterSpec) -> Result<Self> {
        let mut lan = Lan::new()?;
        lan.file(
            "secret",
            "this is the secret of a lab, and of nothing else\n",
        )?;
        let config = lan.file("onehold.toml", configuration(&spec))?;
        if let Some(logs) = &spec.logs {
            fs::create_dir_all(logs).context(|| logs.display())?;
        }
        let members: &[(&str, u8)] = match spec.arbitration {
            Arbitration::Majority => &[("lb0", 10), ("lb1", 11), ("witness", 12)],
            Arbitration::Survivor => &[("lb0", 10), ("lb1", 11)],
        };
        let hosts: String = members
            .iter()
            .map(|(name, n)| format!("10.77.0.{n} {name}\n"))
            .collect();
        let host = |(name, n): (&str, u8)| {
            HostSpec::new(name)
                .interface(&[(Ipv4Addr::new(10, 77, 0, n).into(), PREFIX)])
                .hosts_file(&format!("127.0.0.1 localhost\n{hosts}"))
                .sysctl("net/ipv4/ip_nonlocal_bind", "1")
        };
        let mut nodes = Vec::new();
        for member in members {
            nodes.push(Node {
                host: lan.host(host(*member).forgetful())?,
                daemon: None,
                web: None,
            });
        }
        let mut cluster = Self {
            nodes,
            client: lan.host(host(("client", 20)))?,
            observer: lan.host(host(("observer", 21)))?,
            lan,
            config,
            spec,
        };
        for candidate in ["lb0", "lb1"] {
            cluster.start_web(candidate)?;
        }
        Ok(cluster)
    }

    /// The members' names.
    #[must_use]
    pub fn members(&self) -> Vec<&str> {
        self.nodes.iter().map(|n| n.host.name()).collect()
    }

    /// The host of a member, or `client`, or `observer`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn host(&self, name: &str) -> Result<&Host> {
        match name {
            "client" => Ok(&self.client),
            "observer" => Ok(&self.observer),
            _ => Ok(&self.node(name)?.host),
        }
    }

    /// The network, to put faults on.
    pub fn lan(&mut self) -> &mut Lan {
        &mut self.lan
    }

    /// The daemon of a member, if it was started and not stopped or killed.
    ///
    /// # Errors
    /// If there is no such member.
    pub fn daemon(&mut self, name: &str) -> Result<Option<&mut Process>> {
        Ok(self.node_mut(name)?.daemon.as_mut())
    }

    /// Starts the daemon of a member.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let file = format!("{name}.log");
        let log = match &self.spec.logs {
            None => self.lan.log(&file)?,
            Some(logs) => {
                let path = logs.join(file);
                let mut options = fs::OpenOptions::new();
                let open = options.append(true).create(true).open(&path);
                open.context(|| path.display())?
            }
        };
        let mut command = self.onehold();
        command.arg("run").arg("--config").arg(&self.config);
        command.args(["--as", name, "--state", "/run/onehold"]);
        if let Some(logs) = &self.spec.logs {
            command.arg("--trace").arg(free_trace(logs, name)?);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(log);
        let node = self.node_mut(name)?;
        node.daemon = Some(node.host.spawn(command)?);
        Ok(())
    }

    /// Does something to the cluster, as far as it can be done here.
    ///
    /// # Errors
    /// If it fails, or can't be done here.
    pub fn inflict(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Start(of) if self.node(of)?.host.is_on() => self.start(of),
            Fault::Start(of) => self.power_on(of),
            Fault::Stop(of) => match self.stop(of)? {
                status if status.success() => Ok(()),
                status => Err(err(format!(
                    "the stopped daemon ended with {status}, not 0"
                ))),
            },
            Fault::Kill(Target::Of(of)) => self.kill(of),
            Fault::Pause(Target::Of(of)) => self.freeze(of),
            Fault::Resume(of) => self.thaw(of),
            Fault::PowerOff(of) => self.power_off(of),
            Fault::Cut(on) => self.lan.cut_links(on),
            Fault::Heal(on) if *on == Links::all() => self.lan.heal(),
            Fault::Conditions { on, are } if *on == Links::all() && is_loss(are) => {
                let members: Vec<&str> = self.nodes.iter().map(|n| n.host.name()).collect();
                self.lan.lose(are.loss, &members)
            }
            Fault::Command {
                to,
                say,
                group: None,
            } => self.ask(to, &[order(*say)]).map(drop),
            other => Err(err(format!("{other}: it can't be done in namespaces"))),
        }
    }

    /// Starts the daemons of all members.
    ///
    /// # Errors
    /// If one can't be started.
    pub fn start_all(&mut self) -> Result<()> {
        let names: Vec<String> = self.members().iter().map(|n| n.to_string()).collect();
        names.iter().try_for_each(|name| self.start(name))
    }

    /// Stops a daemon by `SIGTERM`, and waits until it has handed over and left.
    ///
    /// # Errors
    /// If it does not run, or does not end.
    pub fn stop(&mut self, name: &str) -> Result<ExitStatus> {
        let mut daemon = self.take_daemon(name)?;
        daemon.signal(Signal::TERM)?;
        daemon.wait(LEAVE)
    }

    /// Kills a daemon by `SIGKILL`. Its host's kernel keeps what it had.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let mut daemon = self.take_daemon(name)?;
        daemon.signal(Signal::KILL)?;
        daemon.wait(LEAVE).map(drop)
    }

    /// Freezes a daemon by `SIGSTOP`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&mut self, name: &str) -> Result<()> {
        self.running(name)?.signal(Signal::STOP)
    }

    /// Lets a frozen daemon go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&mut self, name: &str) -> Result<()> {
        self.running(name)?.signal(Signal::CONT)
    }

    /// Pulls the plug of a member's host.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn power_off(&mut self, name: &str) -> Result<()> {
        let node = self.node_mut(name)?;
        let off = node.host.power_off();
        node.daemon = None;
        node.web = None;
        off
    }

    /// Powers a member's host on; daemon and web server start with it.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn power_on(&mut self, name: &str) -> Result<()> {
        self.node_mut(name)?.host.power_on()?;
        if name != "witness" {
            self.start_web(name)?;
        }
        self.start(name)
    }

    /// Runs `onehold COMMAND… ` on a member's host, and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn ask(&self, name: &str, words: &[&str]) -> Result<String> {
        let mut command = self.onehold();
        command.args(words);
        let output = self.node(name)?.host.output(command)?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(err(format!(
                "`onehold {}` on {name}: {}",
                words.join(" "),
                said(&output.stderr)
            ))),
        }
    }

    /// What `onehold status --json` says on a member.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn status(&self, name: &str) -> Result<serde_json::Value> {
        let text = self.ask(name, &["status", "--json"])?;
        serde_json::from_str(&text).context(|| format!("reading the status of {name}"))
    }

    /// The log of a member's daemon so far.
    ///
    /// # Errors
    /// If it was never started.
    pub fn log(&self, name: &str) -> Result<String> {
        let file = format!("{name}.log");
        match &self.spec.logs {
            None => self.lan.read(&file),
            Some(logs) => fs::read_to_string(logs.join(&file)).context(|| file),
        }
    }

    fn onehold(&self) -> Command {
        Command::new(&self.spec.binary)
    }

    fn start_web(&mut self, name: &str) -> Result<()> {
        let at = SocketAddr::from((FLOATING, 80));
        let web = match self.spec.web {
            Web::Embedded => Server::Embedded {
                _running: WebServer::start(&self.node(name)?.host, at)?,
            },
            Web::Nginx => {
                let config = self
                    .lan
                    .file(&format!("{name}.nginx"), nginx(name, FLOATING.into()))?;
                let mut command = Command::new("nginx");
                command.args(["-e", "stderr", "-p", "/run/lab", "-c"]);
                command.arg(config).stdin(Stdio::null());
                let started = self.node(name)?.host.spawn(command);
                Server::Nginx {
                    _running: started.context(|| "--web nginx (apt install nginx)")?,
                }
            }
        };
        self.node_mut(name)?.web = Some(web);
        Ok(())
    }

    fn node(&self, name: &str) -> Result<&Node> {
        let mut nodes = self.nodes.iter();
        let found = nodes.find(|node| node.host.name() == name);
        found.ok_or_else(|| err(format!("the cluster has no member `{name}`")))
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let mut nodes = self.nodes.iter_mut();
        let found = nodes.find(|node| node.host.name() == name);
        found.ok_or_else(|| err(format!("the cluster has no member `{name}`")))
    }

    fn running(&mut self, name: &str) -> Result<&mut Process> {
        let daemon = self.node_mut(name)?.daemon.as_mut();
        daemon.ok_or_else(|| err(format!("the daemon of {name} does not run")))
    }

    fn take_daemon(&mut self, name: &str) -> Result<Process> {
        self.running(name)?;
        let daemon = self.node_mut(name)?.daemon.take();
        daemon.ok_or_else(|| err(format!("the daemon of {name} does not run")))
    }
}

/// Datagrams are lost, and nothing else becomes of them.
fn is_loss(conditions: &Conditions) -> bool {
    let loss = conditions.loss;
    *conditions
        == Conditions {
            loss,
            ..Conditions::default()
        }
}

/// The one file that all members share.
fn configuration(spec: &ClusterSpec) -> String {
    let mut text = String::from("[cluster]\nname = \"lab\"\nsecret_file = \"/run/lab/secret\"\n");
    let mut line = |words: std::fmt::Arguments<'_>| {
        writeln!(text, "{words}").expect("a String takes everything");
    };
    if let Some(guard) = &spec.guard {
        line(format_args!("guard = \"{guard}\""));
    }
    if spec.arbitration == Arbitration::Survivor {
        line(format_args!("arbitration = \"survivor\""));
    }
    line(format_args!(
        "[members.lb0]\naddresses = [\"10.77.0.10\"]\npreferred = true\n\
         [members.lb1]\naddresses = [\"10.77.0.11\"]"
    ));
    if spec.arbitration == Arbitration::Majority {
        line(format_args!(
            "[members.witness]\naddresses = [\"10.77.0.12\"]\nwitness = true"
        ));
    }
    line(format_args!(
        "[groups.web]\naddresses = [\"{FLOATING}/{PREFIX}\"]\ninterface = \"eth0\"\n\
         failback = \"auto\"\nfailback_delay = \"{}ms\"\n[timing]\n{}",
        spec.failback_delay.as_millis(),
        spec.timing
    ));
    text
}

/// A configuration for one nginx process that keeps no files.
fn nginx(name: &str, at: IpAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {name}.{kind};"))
        .join(" ");
    format!(
        "daemon off; master_process off; pid {name}.pid; error_log stderr;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; {temporary} keepalive_timeout 0; server {{ listen {at}:80;\n\
         location / {{ return 200 \"{name}\\n\"; }} }} }}\n"
    )
}

/// A file for the next trace of that name: that of a member's next life.
pub(crate) fn free_trace(logs: &Path, name: &str) -> Result<PathBuf> {
    let logs = fs::canonicalize(logs).context(|| logs.display())?; // its host may be elsewhere
    let mut lives = (1u32..).map(|life| logs.join(format!("{name}-{life}.jsonl")));
    lives
        .find(|path| !path.exists())
        .ok_or_else(|| err(format!("{name} has had too many lives")))
}

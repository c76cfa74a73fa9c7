//! The cluster of the tutorial on this machine's kernel: lb0 and lb1, a witness, a client and an
//! observer, each on a host of its own, with the real `onehold` binary as the daemon.
//!
//! What runs here never says who holds: that is asked of the network, by [`Cluster::observe`].

use super::setup::{CANDIDATES, SPARE, Setup};
use super::web::{PAGE, SICK};
use super::{Census, Host, Lan, Observer, Process, nftables};
use crate::error::{Context, Result, err};
use crate::fault::{Conditions, Fault, Links, Target, order};
use onehold::config_file::DEFAULT_PORT;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long a daemon may take to end.
const LEAVE: Duration = Duration::from_secs(20);

/// A host, and what runs there.
struct Machine {
    // Before the host that they are in.
    daemon: Option<Process>,
    agent: Option<Process>,
    web: Option<Process>,
    host: Host,
}

/// The cluster. Dropping it stops everything and leaves nothing behind.
pub struct Cluster {
    machines: BTreeMap<String, Machine>,
    lan: Lan,
    setup: Setup,
    binary: PathBuf,
    other: Option<Starter>,
}

/// How another program is started on a candidate, which is its daemon then.
type Starter = Arc<dyn Fn(&Cluster, &str) -> Result<Process> + Send + Sync>;

impl Cluster {
    /// Hosts, web servers, agents and files, and no daemon yet. `binary` is the daemon.
    ///
    /// # Errors
    /// If the kernel refuses, or nginx is wanted and missing.
    pub fn new(setup: Setup, binary: &Path) -> Result<Self> {
        let lan = Lan::new()?;
        let secret = "this is the secret of a lab, and of nothing else\n";
        lan.file("secret", secret)?;
        for member in setup.members() {
            lan.file(&format!("{member}.toml"), setup.file()?)?;
        }
        if let Some(logs) = &setup.logs {
            fs::create_dir_all(logs).context(|| logs.display())?;
        }
        let mut cluster = Self {
            machines: BTreeMap::new(),
            lan,
            setup,
            binary: binary.to_owned(),
            other: None,
        };
        for name in cluster.members().iter().chain(&["client", "observer"]) {
            cluster.add_host(name)?;
        }
        for candidate in CANDIDATES {
            cluster.start_services(candidate)?;
        }
        Ok(cluster)
    }

    /// Adds a host to the network.
    ///
    /// # Errors
    /// If the lab has no such host, or the kernel refuses.
    pub fn add_host(&mut self, name: &str) -> Result<()> {
        let machine = Machine {
            daemon: None,
            agent: None,
            web: None,
            host: self.lan.host(self.setup.host(name)?)?,
        };
        self.machines.insert(name.into(), machine);
        Ok(())
    }

    /// What it was made from.
    #[must_use]
    pub const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The members' names.
    #[must_use]
    pub const fn members(&self) -> &'static [&'static str] {
        self.setup.members()
    }

    /// A host.
    ///
    /// # Panics
    /// If there is none of that name: the callers know which they have.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        let machine = self.machines.get(name);
        &machine.expect("there is a host of that name").host
    }

    /// The network, to put faults on.
    pub fn lan(&mut self) -> &mut Lan {
        &mut self.lan
    }

    /// Asks all the time which candidate has an address, from the host `observer`; or the machine that
    /// takes a candidate's place, if there is one.
    ///
    /// # Errors
    /// If the kernel allows no packet socket.
    pub fn observe(&self, address: Ipv4Addr, period: Duration) -> Result<Observer> {
        let names = CANDIDATES.iter().chain(&[SPARE]);
        let machines = names.filter_map(|name| self.machines.get(*name));
        let hosts: Vec<&Host> = machines.map(|machine| &machine.host).collect();
        Observer::start(self.host("observer"), address, &hosts, period)
    }

    /// Asks which of many addresses a candidate has, from the host `observer`: see
    /// [`Census::begin`].
    ///
    /// # Errors
    /// If the kernel allows no packet socket.
    pub fn census(&self, addresses: &[IpAddr]) -> Result<Census> {
        Census::start(self.host("observer"), addresses)
    }

    /// From now on another program is the daemon of both candidates, and there is no other member.
    pub fn plays(
        &mut self,
        other: impl Fn(&Self, &str) -> Result<Process> + Send + Sync + 'static,
    ) {
        self.other = Some(Arc::new(other));
    }

    /// Starts the daemon of a member.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&mut self, name: &str) -> Result<()> {
        if let Some(other) = self.other.clone() {
            let daemon = other(self, name)?;
            self.machine(name)?.daemon = Some(daemon);
            return Ok(());
        }
        let logs = self.setup.logs.as_deref();
        let trace = logs.map(|logs| free_trace(logs, name)).transpose()?;
        let mut words: Vec<OsString> = vec![self.binary.clone().into(), "run".into()];
        words.extend(["--config".into(), Lan::path(&format!("{name}.toml")).into()]);
        words.extend(["--as".into(), name.into()]);
        if let Some(trace) = trace {
            words.extend(["--trace".into(), trace.into()]);
        }
        self.start_by(name, &words)
    }

    /// Starts the daemon of a member by other words, such as `setpriv … onehold run …`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_by(&mut self, name: &str, words: &[impl AsRef<OsStr>]) -> Result<()> {
        let daemon = self.spawn(name, words, &format!("{name}.log"))?;
        self.machine(name)?.daemon = Some(daemon);
        Ok(())
    }

    /// Starts the daemons of all members.
    ///
    /// # Errors
    /// If one can't be started.
    pub fn start_all(&mut self) -> Result<()> {
        let mut members = self.members().iter();
        members.try_for_each(|name| self.start(name))
    }

    /// Sends a signal to a member's daemon.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let daemon = self.daemon(name)?;
        match self.other {
            // It may have several processes, and ends the others itself.
            Some(_) if signal != Signal::TERM => daemon.signal_all(signal),
            _ => daemon.signal(signal),
        }
    }

    /// Waits until the daemon of a member ends, by itself or by a signal sent before.
    ///
    /// # Errors
    /// If it was not started, or does not end.
    pub fn ended(&mut self, name: &str) -> Result<ExitStatus> {
        let daemon = self.machine(name)?.daemon.take();
        daemon.ok_or_else(|| not_running(name))?.wait(LEAVE)
    }

    /// Powers a host on. Its web server and its agent start with it, its daemon does not.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn power_on(&mut self, name: &str) -> Result<()> {
        self.machine(name)?.host.power_on()?;
        self.start_services(name)
    }

    /// Does something to the cluster, as far as it can be done here.
    ///
    /// # Errors
    /// If it fails, or can't be done here.
    pub fn inflict(&mut self, fault: &Fault) -> Result<()> {
        match fault {
            Fault::Start(of) => {
                if !self.machine(of)?.host.is_on() {
                    self.power_on(of)?;
                }
                self.start(of)
            }
            Fault::Stop(of) => {
                self.signal(of, Signal::TERM)?;
                match self.ended(of)? {
                    status if status.success() => Ok(()),
                    status => Err(err(format!(
                        "the stopped daemon of {of} ended with {status}, not 0"
                    ))),
                }
            }
            Fault::Kill(Target::Of(of)) => {
                self.signal(of, Signal::KILL)?;
                self.ended(of).map(drop)
            }
            Fault::Pause(Target::Of(of)) => self.signal(of, Signal::STOP),
            Fault::Resume(of) => self.signal(of, Signal::CONT),
            Fault::PowerOff(of) => {
                let machine = self.machine(of)?;
                let off = machine.host.power_off();
                machine.daemon = None;
                machine.agent = None;
                machine.web = None;
                off
            }
            Fault::Cut(on) => self.lan.cut_links(on),
            Fault::Heal(on) if *on == Links::all() => self.lan.heal(),
            Fault::Conditions { on, are } if *on == Links::all() && is_loss(are) => {
                self.lan.lose(are.loss, self.setup.members())
            }
            Fault::Healthy(flag) if flag.is => self.cure_web(&flag.on),
            Fault::Healthy(flag) => {
                let sick = || fs::write(SICK, "");
                self.host(&flag.on).call(sick)?.context(|| SICK)
            }
            Fault::Command {
                to,
                say,
                group: None,
            } => self.onehold(to, &[order(*say)]).map(drop),
            other => Err(err(format!("{other}: it can't be done in namespaces"))),
        }
    }

    /// Each candidate's own firewall drops the members' datagrams from now on, or no longer.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn block_udp(&self, block: bool) -> Result<()> {
        let port = block.then_some(DEFAULT_PORT);
        CANDIDATES.iter().try_for_each(|name| {
            let blocked = self.host(name).call(move || nftables::block(port))?;
            blocked.context(|| format!("a firewall on {name}"))
        })
    }

    /// The daemon of a member goes on in a copy of its binary.
    ///
    /// # Errors
    /// If it does not.
    pub fn upgrade(&self, name: &str) -> Result<()> {
        let copy = Lan::path(&format!("{name}.next"));
        let make = {
            let (binary, copy) = (self.binary.clone(), copy.clone());
            move || {
                fs::remove_file(&copy)
                    .or(Ok(()))
                    .and_then(|()| fs::copy(&binary, &copy))
            }
        };
        let made = self.host(name).call(make)?;
        made.context(|| copy.display())?;
        self.onehold(name, &["upgrade", &copy.to_string_lossy()])
            .map(drop)
    }

    /// Changes the file to that of another setup, on one member after the other, and says `onehold
    /// reload` on each.
    ///
    /// # Errors
    /// If a file can't be written, or a member refuses it.
    pub fn reload(&self, setup: &Setup) -> Result<()> {
        let file = setup.file()?;
        self.members().iter().try_for_each(|member| {
            self.file(&format!("{member}.toml"), &file)?;
            self.onehold(member, &["reload"]).map(drop)
        })
    }

    /// Changes the file to that of another setup, which has another witness, as the book says: it is
    /// checked on the candidates and put on all members, the new witness begins with it, and the
    /// candidates read it, one after the other. A witness that goes runs on.
    ///
    /// # Errors
    /// If a file can't be written, a new witness can't be started, or a candidate refuses the file.
    pub fn change_witness(&mut self, setup: &Setup) -> Result<()> {
        let file = setup.file()?;
        self.file("new.toml", &file)?;
        let path = |name: &str| Lan::path(name).to_string_lossy().into_owned();
        let new = path("new.toml");
        for name in CANDIDATES {
            let from = path(&format!("{name}.toml"));
            self.onehold(name, &["check", &new, "--from", &from, "--for", name])?;
        }
        for name in setup.members() {
            self.file(&format!("{name}.toml"), &file)?;
        }
        self.setup = setup.clone();
        for name in setup.members() {
            if !self.machines.contains_key(*name) {
                self.add_host(name)?;
            }
            if self.machine(name)?.daemon.is_none() {
                self.start(name)?;
            }
        }
        CANDIDATES.iter().try_for_each(|name| {
            let said = self.onehold(name, &["reload"]);
            said.map(drop)
        })
    }

    /// The digest of the configuration that every member has in force, and nothing else.
    ///
    /// # Errors
    /// If a daemon does not answer.
    pub fn settled_on(&self) -> Result<Option<serde_json::Value>> {
        let all = self.members().iter().map(|name| self.status(name));
        let all = all.collect::<Result<Vec<_>>>()?;
        let one = all[0]["config"].clone();
        let same = |s: &serde_json::Value| s["config"] == one && s["changing"].is_null();
        Ok(all.iter().all(same).then_some(one))
    }

    /// Kills the web server of a candidate: `kill -9`.
    ///
    /// # Errors
    /// If there is none.
    pub fn kill_web(&mut self, name: &str) -> Result<()> {
        let web = self.machine(name)?.web.take();
        let web = web.ok_or_else(|| err(format!("no web server runs on {name}")))?;
        web.signal(Signal::KILL)
    }

    /// From now on the web server of a candidate runs, and answers as it should.
    fn cure_web(&mut self, name: &str) -> Result<()> {
        // It is there only if the server was sick.
        let _ = self.host(name).call(|| fs::remove_file(SICK))?;
        match self.machine(name)?.web {
            Some(_) => Ok(()),
            None => self.start_web(name),
        }
    }

    /// Writes a file that all hosts see as `/run/lab/NAME`, readable by root alone.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn file(&self, name: &str, text: &str) -> Result<()> {
        self.lan.file(name, text).map(drop)
    }

    /// Starts a process on a host; what it says goes to the log `log`.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(&self, host: &str, words: &[impl AsRef<OsStr>], log: &str) -> Result<Process> {
        let open = || match &self.setup.logs {
            None => self.lan.log(log),
            Some(logs) => {
                let path = logs.join(log);
                let mut options = fs::OpenOptions::new();
                let open = options.append(true).create(true).open(&path);
                open.context(|| path.display())
            }
        };
        let (program, rest) = words.split_first().ok_or_else(|| err("no command"))?;
        let mut command = Command::new(program);
        command.args(rest).stdin(Stdio::null());
        command.stdout(open()?).stderr(open()?);
        self.host(host).spawn(command)
    }

    /// Runs `onehold WORDS…` on a host: what it printed.
    ///
    /// # Errors
    /// If it fails, with what it said.
    pub fn onehold(&self, host: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(words);
        let output = self.host(host).output(command)?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(said(&output.stdout)),
            false => Err(err(format!(
                "`onehold {}` on {host}: {}",
                words.join(" "),
                said(&output.stderr).trim()
            ))),
        }
    }

    /// What `onehold status --json` says of the cluster on a member.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn status(&self, name: &str) -> Result<serde_json::Value> {
        let text = self.onehold(name, &["status", "--json"])?;
        let status = serde_json::from_str::<serde_json::Value>(&text);
        let mut status = status.context(|| format!("reading the status of {name}"))?;
        Ok(status["clusters"][0].take())
    }

    /// What the daemon of a member has logged so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        self.read(&format!("{name}.log"))
    }

    /// What is in a log, or in a file that all hosts see: nothing if it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        let logs = self.setup.logs.as_deref();
        let kept = logs.and_then(|logs| fs::read_to_string(logs.join(name)).ok());
        kept.or_else(|| self.lan.read(name).ok())
            .unwrap_or_default()
    }

    /// The process id of a member's agent, if it has one.
    #[must_use]
    pub fn agent_id(&self, name: &str) -> Option<u32> {
        let agent = self.machines.get(name)?.agent.as_ref();
        agent.map(Process::id)
    }

    /// The process id of a member's daemon.
    ///
    /// # Errors
    /// If it does not run.
    pub fn id(&self, name: &str) -> Result<u32> {
        self.daemon(name).map(Process::id)
    }

    /// A daemon or an agent that should run and does not, with its last words.
    ///
    /// # Errors
    /// If the kernel can't say.
    pub fn died(&mut self) -> Result<Option<String>> {
        for name in self.members() {
            let machine = self.machine(name)?;
            let ended = |it: &mut Option<Process>| it.as_mut().map_or(Ok(None), Process::ended);
            let (daemon, agent) = (ended(&mut machine.daemon)?, ended(&mut machine.agent)?);
            let all = [
                ("daemon", daemon, format!("{name}.log")),
                ("agent", agent, format!("{name}-agent.log")),
            ];
            for (what, status, log) in all {
                if let Some(status) = status {
                    let log = self.read(&log);
                    let last: Vec<&str> = log.lines().rev().take(3).collect();
                    let last: String = last.iter().rev().map(|l| format!("\n       {l}")).collect();
                    return Ok(Some(format!("the {what} of {name} ended: {status}{last}")));
                }
            }
        }
        Ok(None)
    }

    /// Starts what a candidate has besides the daemon.
    fn start_services(&mut self, name: &str) -> Result<()> {
        self.start_web(name)?;
        if self.setup.has_checks() && CANDIDATES.contains(&name) {
            let mut words: Vec<OsString> = vec![self.binary.clone().into(), "agent".into()];
            words.extend(["--config".into(), Lan::path(&format!("{name}.toml")).into()]);
            let agent = self.spawn(name, &words, &format!("{name}-agent.log"))?;
            self.machine(name)?.agent = Some(agent);
        }
        Ok(())
    }

    fn start_web(&mut self, name: &str) -> Result<()> {
        if let (Some(web), true) = (self.setup.web, CANDIDATES.contains(&name)) {
            let server = web.start(self.host(name), &self.lan, &PAGE)?;
            self.machine(name)?.web = Some(server);
        }
        Ok(())
    }

    fn machine(&mut self, name: &str) -> Result<&mut Machine> {
        let machine = self.machines.get_mut(name);
        machine.ok_or_else(|| err(format!("the cluster has no host `{name}`")))
    }

    fn daemon(&self, name: &str) -> Result<&Process> {
        let machine = self.machines.get(name);
        let daemon = machine.and_then(|machine| machine.daemon.as_ref());
        daemon.ok_or_else(|| not_running(name))
    }
}

fn not_running(name: &str) -> crate::error::Error {
    err(format!("the daemon of {name} does not run"))
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

/// A file for the next trace of that name: that of a member's next incarnation.
pub(crate) fn free_trace(logs: &Path, name: &str) -> Result<PathBuf> {
    let logs = fs::canonicalize(logs).context(|| logs.display())?; // its host may be elsewhere
    let mut files = (1u32..).map(|n| logs.join(format!("{name}-{n}.jsonl")));
    let free = files.find(|path| !path.exists());
    free.ok_or_else(|| err(format!("there are too many traces of {name}")))
}

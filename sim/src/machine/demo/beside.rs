//! Another program that moves an address, on the same hosts, with the same web servers, faults and
//! probes: Debian's keepalived.

use super::story::{Scene, start};
use super::{Options, Outcome, Stage};
use crate::error::{Context, Result, err};
use crate::machine::netns::privilege::Privilege;
use crate::machine::netns::web::PAGE;
use crate::machine::netns::{CANDIDATES, Cluster, FLOATING, Lan, Process, Setup, Web};
use crate::screen::Screen;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{env, fs, process};

/// How often it advertises in the demo: as often as Onehold.
const AS_OURS: Duration = Duration::from_millis(100);

/// What can be played beside Onehold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Beside {
    /// keepalived, from PATH.
    Keepalived,
}

/// What of it is here.
pub(in crate::machine) struct Keepalived {
    program: PathBuf,
    /// Its script, as a check has none.
    curl: PathBuf,
    web: Web,
    /// Its name and version, as it says them.
    pub(in crate::machine) version: String,
}

impl Keepalived {
    /// The one that is installed.
    ///
    /// # Errors
    /// If there is none, or it can't be used, with the remedy.
    pub(in crate::machine) fn find(privilege: Privilege, web: Web) -> Result<Self> {
        if privilege != Privilege::Root {
            let why = "the kernel reports the end of processes to the machine's root alone";
            return Err(err(format!("--beside keepalived: {why}; run as root")));
        }
        let program = in_path("keepalived")?;
        let said = Command::new(&program).arg("--version").output();
        let said = said.context(|| program.display())?.stderr;
        let said = String::from_utf8_lossy(&said);
        let words: Vec<&str> = said.split_whitespace().take(2).collect();
        Ok(Self {
            version: words.join(" "),
            program,
            curl: in_path("curl")?,
            web,
        })
    }

    /// Plays the scenes with it, from a start on. What came of them.
    ///
    /// # Errors
    /// If the lab itself fails, or it did not watch the processes that it was given.
    pub(super) fn play(
        self,
        options: &Options,
        scenes: &[Scene],
        stop: &Arc<AtomicBool>,
        screen: &mut Screen,
    ) -> Result<Vec<Outcome>> {
        let mut setup = Setup::survivor().web(options.web);
        if let Some(logs) = &options.cluster.keep_logs {
            setup = setup.logs(logs);
        }
        screen.line("");
        screen.line(&format!(" {}", self.version));
        let mut cluster = Cluster::new(setup, &self.program)?;
        let version = self.version.clone();
        self.start(&mut cluster, AS_OURS, true)?;
        let mut stage = Stage::new("keepalived", cluster, stop)?;
        if stage.play(&start(Vec::new()), 0, screen)? {
            stage.play_all(scenes, options.repeat, screen)?;
        }
        let killed = |o: &Outcome| o.name == "service-dies" && o.failure.is_none();
        let log = stage.cluster.read(&log("lb0"));
        if stage.outcomes.iter().any(killed) && !log.contains("Quorum lost for tracked process") {
            return Err(err(format!(
                "{version}: track_process saw no process end, so its figures are another check's"
            )));
        }
        Ok(stage.end().0)
    }

    /// It is the daemon of both candidates, with an advertisement in each `interval`; with the checks
    /// of the demo or with none. Starts it.
    ///
    /// # Errors
    /// If it can't be started, or refuses its file.
    pub(in crate::machine) fn start(
        self,
        cluster: &mut Cluster,
        interval: Duration,
        checks: bool,
    ) -> Result<()> {
        for (name, priority) in CANDIDATES.into_iter().zip([254, 253]) {
            let text = self.file(name, priority, interval, checks)?;
            cluster.file(&file(name), &text)?;
        }
        cluster.plays(move |cluster: &Cluster, name: &str| self.start_on(cluster, name));
        CANDIDATES.iter().try_for_each(|name| cluster.start(name))
    }

    fn start_on(&self, cluster: &Cluster, name: &str) -> Result<Process> {
        // It opens its socket for processes in the machine's own network, which alone has them,
        // and then enters the network that its file names: `/run/netns/lb0`.
        let netns = format!("/run/netns/{name}");
        let link = move || -> std::io::Result<()> {
            let own = fs::read_link("/proc/thread-self")?;
            fs::create_dir_all("/run/netns")?;
            let network = PathBuf::from("/proc").join(own).join("ns/net");
            let _ = fs::remove_file(&netns); // of an earlier start
            std::os::unix::fs::symlink(network, &netns)
        };
        let host = cluster.host(name);
        host.call(link)?.context(|| "/run/netns")?;
        // If it did not understand that, it would go on in the machine's network.
        let mut test = Command::new(&self.program);
        test.args(["-t", "-l", "-f"]).arg(Lan::path(&file(name)));
        let tested = host.output(test)?;
        if !tested.status.success() {
            let said = String::from_utf8_lossy(&tested.stderr).into_owned();
            return Err(err(format!("{} refuses its file:\n{said}", self.version)));
        }
        let machine = format!("--net=/proc/{}/ns/net", process::id());
        let program = self.program.to_string_lossy();
        let file = Lan::path(&file(name)).to_string_lossy().into_owned();
        let words = ["nsenter", &machine, &program, "-n", "-l", "-D", "-P", "-f"];
        let more = [
            "-p",
            "/run/onehold/keepalived.pid",
            "-r",
            "/run/onehold/vrrp.pid",
        ];
        let words = [&words[..], &[&file], &more].concat();
        cluster.spawn(name, &words, &log(name))
    }

    /// What is in Onehold's file, in its own words. By these priorities a standby waits 1 ms for a
    /// better one (its skew time), which is the least that it can.
    fn file(&self, name: &str, priority: u8, interval: Duration, checks: bool) -> Result<String> {
        let words = self.web.words(name, &PAGE)?;
        let process: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let (process, curl) = (process.join(" "), self.curl.display());
        let mut looked_at = String::new();
        let mut tracked = "";
        if checks {
            looked_at = format!(
                "vrrp_track_process server {{\n process {process}\n}}\n\
                 vrrp_script page {{\n script \"{curl} -fsS -m 0.5 -o /dev/null http://127.0.0.1/\"\n \
                 interval 1\n timeout 1\n rise 2\n fall 2\n}}\n"
            );
            tracked = " track_process {\n server\n }\n track_script {\n page\n }\n";
        }
        let interval = interval.as_secs_f64();
        Ok(format!(
            "net_namespace {name}\nglobal_defs {{\n script_user root\n enable_script_security\n \
             vrrp_version 3\n}}\n{looked_at}\
             vrrp_instance web {{\n interface eth0\n state BACKUP\n virtual_router_id 50\n \
             priority {priority}\n advert_int {interval}\n \
             virtual_ipaddress {{\n {FLOATING}/32\n }}\n{tracked}}}\n"
        ))
    }
}

/// Its file, as all hosts see it.
fn file(name: &str) -> String {
    format!("{name}.keepalived")
}

fn log(name: &str) -> String {
    format!("{name}-keepalived.log")
}

fn in_path(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path);
    let found = places.find_map(|place| Some(place.join(program)).filter(|file| file.is_file()));
    found.ok_or_else(|| {
        err(format!(
            "--beside keepalived: there is no `{program}` in PATH; `cargo verify --install` installs it"
        ))
    })
}

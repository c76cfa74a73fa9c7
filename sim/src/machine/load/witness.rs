//! The witness: its files, its process, and what that uses.

use crate::error::{Context, Result, err};
use crate::machine::demo::ClusterOptions;
use crate::machine::idle;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long it may take to read its files.
const BOUND: Duration = Duration::from_secs(300);
/// The clusters' candidates live on so many pairs of hosts, each an address of loopback.
pub(super) const HOSTS: u32 = 32;
/// What is used for nothing else.
const PORT: u16 = 36_946;

/// A witness of many clusters.
pub(super) struct Witness {
    directory: PathBuf,
    pub(super) clusters: u32,
    process: Option<Child>,
}

/// What a process has used.
pub(super) struct Used {
    pub(super) cpu: Duration,
    user: u64,
    system: u64,
    pub(super) rss_kib: u64,
}

impl Used {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            user: self.user - before.user,
            system: self.system - before.system,
            ..*self
        }
    }

    /// How much of it was in the kernel.
    pub(super) fn system_share(&self) -> f64 {
        self.system as f64 / (self.user + self.system).max(1) as f64
    }
}

/// Where the candidates of a cluster live.
pub(super) fn candidate_at(cluster: u32, second: bool) -> SocketAddr {
    let host = (cluster % HOSTS) as u8;
    (Ipv4Addr::new(127, 77, 1 + u8::from(second), 1 + host), PORT).into()
}

impl Witness {
    /// Writes the files of so many clusters.
    pub(super) fn prepare(clusters: u32, options: &ClusterOptions) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("onehold-load-{}", std::process::id()));
        let witness = Self {
            directory,
            clusters,
            process: None,
        };
        let all = witness.directory.join("clusters");
        fs::create_dir_all(&all).context(|| all.display())?;
        let secret = witness.directory.join("secret");
        fs::write(&secret, "what only the lab's clusters know\n").context(|| secret.display())?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, private).context(|| secret.display())?;
        let file = witness.directory.join("onehold.toml");
        fs::write(&file, "directory = \"clusters\"\n[log]\nlevel = \"warn\"\n")
            .context(|| file.display())?;
        for cluster in 0..clusters {
            let file = witness.file(cluster);
            fs::write(&file, text(cluster, witness.address(), options))
                .context(|| file.display())?;
        }
        Ok(witness)
    }

    /// The file of one cluster.
    pub(super) fn file(&self, cluster: u32) -> PathBuf {
        self.directory.join(format!("clusters/c{cluster:05}.toml"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::new(127, 77, 0, 1), PORT).into()
    }

    /// Starts it, and waits until it has read its files and serves what it can.
    pub(super) fn start(&mut self, binary: &Path) -> Result<()> {
        let path = self.directory.join("notify");
        let notify = UnixDatagram::bind(&path).context(|| path.display())?;
        let log = self.directory.join("log");
        let log = fs::File::create(&log).context(|| log.display())?;
        let errors = log.try_clone().context(|| "the witness's log")?;
        let mut command = Command::new(binary);
        command
            .current_dir(&self.directory)
            .args(["run", "--config", "onehold.toml", "--as", "w"])
            .args(["--state", "state", "--socket", "control.sock"])
            .env("NOTIFY_SOCKET", &path)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let process = command.spawn().context(|| binary.display())?;
        self.process = Some(process);
        let timeout = notify.set_read_timeout(Some(Duration::from_millis(200)));
        timeout.context(|| "waiting for the witness")?;
        let began = std::time::Instant::now();
        let mut bytes = [0; 4096];
        while began.elapsed() < BOUND {
            self.alive()?;
            if let Ok(length) = notify.recv(&mut bytes)
                && bytes[..length].starts_with(b"READY=1")
            {
                return Ok(());
            }
        }
        Err(err(format!("the witness is not ready after {BOUND:?}")))
    }

    fn id(&self) -> Result<u32> {
        let process = self.process.as_ref();
        process
            .map(Child::id)
            .ok_or_else(|| err("the witness does not run"))
    }

    pub(super) fn used(&self) -> Result<Used> {
        let id = self.id()?;
        let path = format!("/proc/{id}/stat");
        let stat = fs::read_to_string(&path).context(|| &path)?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let field = |n: usize| fields.split_whitespace().nth(n)?.parse().ok();
        let no = || err(format!("{path} can't be parsed"));
        Ok(Used {
            cpu: idle::cpu(id)?,
            user: field(11).ok_or_else(no)?,
            system: field(12).ok_or_else(no)?,
            rss_kib: idle::rss(id)?,
        })
    }

    /// An error if it has ended.
    pub(super) fn alive(&mut self) -> Result<()> {
        let ended = self.process.as_mut().map(Child::try_wait);
        match ended {
            Some(Ok(Some(status))) => Err(err(format!(
                "the witness has ended, {status}; its log ends with:\n{}",
                self.log()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The end of its log.
    pub(super) fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill(); // it may have ended
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory); // nothing else is lost by it
    }
}

fn text(cluster: u32, witness: SocketAddr, options: &ClusterOptions) -> String {
    let [a, b] = [false, true].map(|second| candidate_at(cluster, second));
    let (third, fourth) = (cluster / 250, cluster % 250 + 1);
    let preferred = if cluster.is_multiple_of(2) { "a" } else { "b" };
    let timing = options.timing();
    format!(
        "[cluster]\nname = \"load{cluster}\"\nsecret_file = \"../secret\"\n\
         [members.a]\naddresses = [\"{a}\"]\n[members.b]\naddresses = [\"{b}\"]\n\
         [members.w]\naddresses = [\"{witness}\"]\nwitness = true\n\
         [groups.web]\naddresses = [\"10.{}.{}.{fourth}/24\"]\ninterface = \"eth0\"\n\
         preferred = \"{preferred}\"\nfailback = \"manual\"\n\
         [timing]\n{timing}",
        third / 250,
        third % 250,
    )
}

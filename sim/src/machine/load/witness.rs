//! The witness: its files and its process.

use super::process::Running;
use crate::error::{Context, Result, err};
use crate::machine::demo::ClusterOptions;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long it may take to read its files.
const BOUND: Duration = Duration::from_secs(300);
/// The clusters' candidates live on so many pairs of hosts, each an address of loopback.
pub(super) const HOSTS: u32 = 32;
/// What is used for nothing else.
const PORT: u16 = 36_946;

/// A witness of many clusters.
pub(super) struct Witness {
    pub(super) process: Running,
    pub(super) clusters: u32,
}

/// Where the candidates of a cluster live.
pub(super) fn candidate_at(cluster: u32, second: bool) -> SocketAddr {
    let host = (cluster % HOSTS) as u8;
    (Ipv4Addr::new(127, 77, 1 + u8::from(second), 1 + host), PORT).into()
}

impl Witness {
    /// Writes the files of so many clusters.
    pub(super) fn prepare(clusters: u32, options: &ClusterOptions) -> Result<Self> {
        let process = Running::prepare("the witness", "load")?;
        let witness = Self { process, clusters };
        let directory = &witness.process.directory;
        let all = directory.join("clusters");
        fs::create_dir_all(&all).context(|| all.display())?;
        let secret = directory.join("secret");
        fs::write(&secret, "what only the lab's clusters know\n").context(|| secret.display())?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&secret, private).context(|| secret.display())?;
        let file = directory.join("onehold.toml");
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
        self.process
            .directory
            .join(format!("clusters/c{cluster:05}.toml"))
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::new(127, 77, 0, 1), PORT).into()
    }

    /// Starts it, and waits until it has read its files and serves what it can.
    pub(super) fn start(&mut self, binary: &Path) -> Result<()> {
        let path = self.process.directory.join("notify");
        let notify = UnixDatagram::bind(&path).context(|| path.display())?;
        let mut command = Command::new(binary);
        command
            .args(["run", "--config", "onehold.toml", "--as", "w"])
            .args(["--state", "state", "--socket", "control.sock"])
            .env("NOTIFY_SOCKET", &path);
        self.process.start(&mut command)?;
        let timeout = notify.set_read_timeout(Some(Duration::from_millis(200)));
        timeout.context(|| "waiting for the witness")?;
        let began = std::time::Instant::now();
        let mut bytes = [0; 4096];
        while began.elapsed() < BOUND {
            self.process.alive()?;
            if let Ok(length) = notify.recv(&mut bytes)
                && bytes[..length].starts_with(b"READY=1")
            {
                return Ok(());
            }
        }
        Err(err(format!("the witness is not ready after {BOUND:?}")))
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

//! The network between the hosts: one bridge, and the faults on it.

use super::host::{Host, HostSpec};
use super::nftables::{self, Loss, Traffic};
use super::space::{Space, mount_tmpfs};
use super::{Process, link};
use crate::error::{Context, Result};
use crate::fault::Links;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub(super) const BRIDGE: &str = "br0";
const SCRATCH: &str = "/run/lab";

/// A bridge with hosts on it. Ports are named after their hosts: `lb0` is the port of host lb0's
/// `eth0`, `lb0.1` that of its `eth1`. Faults are stated in ports.
pub struct Lan {
    space: Arc<Space>,
    losses: Vec<Loss>,
    hosts: u8,
}

/// The links as pairs of ports.
fn pairs(links: &Links) -> Vec<(Option<&str>, Option<&str>)> {
    let (from, to) = (links.from.as_deref(), links.to.as_deref());
    let both = links.both.then_some((to, from));
    [(from, to)].into_iter().chain(both).collect()
}

impl Lan {
    /// An empty network. Its `/run` is a tmpfs that only its hosts see.
    ///
    /// # Errors
    /// If the kernel refuses; see [`super::privilege::acquire`].
    pub fn new() -> Result<Self> {
        let space = Space::new("lan")?;
        space.call(|| -> Result<()> {
            mount_tmpfs(Path::new("/run"))?;
            for dir in [SCRATCH, super::host::RUN] {
                fs::create_dir_all(dir).context(|| dir)?;
            }
            link::add_bridge(BRIDGE).context(|| "making the lab's bridge")
        })?;
        Ok(Self {
            space: Arc::new(space),
            losses: Vec::new(),
            hosts: 0,
        })
    }

    /// A new host, powered on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn host(&mut self, spec: HostSpec) -> Result<Host> {
        self.hosts += 1;
        Host::new(Arc::clone(&self.space), self.hosts, spec)
    }

    /// Starts a process on the bridge itself, such as a virtual machine.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        self.space.call(move || Process::start(command))
    }

    /// Makes an interface that is here, such as a virtual machine's tap, a port of the bridge.
    ///
    /// # Errors
    /// If there is no such interface, or the kernel refuses.
    pub fn plug(&self, port: &str) -> Result<()> {
        let name = port.to_owned();
        let plugged = self.space.call(move || link::plug(&name, BRIDGE));
        plugged.context(|| format!("plugging {port} into the bridge"))
    }

    /// Where all hosts see a file.
    #[must_use]
    pub fn path(name: &str) -> PathBuf {
        Path::new(SCRATCH).join(name)
    }

    /// Writes a file that all hosts see, readable by root only, and returns where it is.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = Self::path(name);
        let (file, contents) = (path.clone(), contents.as_ref().to_vec());
        self.space.call(move || -> Result<()> {
            let options = &mut fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let mut open = options.open(&file).context(|| file.display())?;
            std::io::Write::write_all(&mut open, &contents).context(|| file.display())
        })?;
        Ok(path)
    }

    /// Opens a file in the lab's own tmpfs to be written by a process, and read again with
    /// [`Lan::read`].
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn log(&self, name: &str) -> Result<fs::File> {
        let path = Self::path(name);
        self.space.call(move || {
            let mut options = fs::OpenOptions::new();
            let open = options.append(true).create(true).open(&path);
            open.context(|| path.display())
        })
    }

    /// What a file holds that all hosts see.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(&self, name: &str) -> Result<String> {
        let path = Self::path(name);
        self.space.call(move || {
            let bytes = fs::read(&path).context(|| path.display())?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        })
    }

    /// Loses every frame between `a` and `b`, both ways.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn cut(&mut self, a: &str, b: &str) -> Result<()> {
        let both = [(Some(a), Some(b)), (Some(b), Some(a))];
        self.add(&both, Traffic::All, 1000)
    }

    /// Loses every frame from `from` to `to`, and none the other way.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn cut_one_way(&mut self, from: &str, to: &str) -> Result<()> {
        self.add(&[(Some(from), Some(to))], Traffic::All, 1000)
    }

    /// Loses every frame from and to `port`.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn isolate(&mut self, port: &str) -> Result<()> {
        let both = [(Some(port), None), (None, Some(port))];
        self.add(&both, Traffic::All, 1000)
    }

    /// Loses every frame on these links; `*` is every port.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn cut_links(&mut self, links: &Links) -> Result<()> {
        self.add(&pairs(links), Traffic::All, 1000)
    }

    /// Loses every advert on these links, as a datagram or as a frame of its own, and nothing else.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn cut_adverts(&mut self, links: &Links) -> Result<()> {
        let pairs = pairs(links);
        self.add(&pairs, Traffic::Datagrams, 1000)?;
        self.add(&pairs, Traffic::Frames, 1000)
    }

    /// The host on `port` has a carrier, or not: its cable is plugged in, or pulled.
    ///
    /// # Errors
    /// If there is no such port, or the kernel refuses.
    pub fn carrier(&self, port: &str, is: bool) -> Result<()> {
        let name = port.to_owned();
        let set = self.space.call(move || link::set_up(&name, is));
        set.context(|| format!("taking the bridge's port {port} up or down"))
    }

    /// Loses `percent` of the frames among `ports`, each on its own, at random.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn lose(&mut self, percent: f64, ports: &[&str]) -> Result<()> {
        let among: Vec<_> = ports
            .iter()
            .flat_map(|a| ports.iter().map(move |b| (Some(*a), Some(*b))))
            .filter(|(a, b)| a != b)
            .collect();
        // A per mille count; the cast saturates.
        self.add(&among, Traffic::All, (percent * 10.0).round() as u32)
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// If the kernel refuses the rules.
    pub fn heal(&mut self) -> Result<()> {
        self.losses.clear();
        self.apply()
    }

    fn add(
        &mut self,
        pairs: &[(Option<&str>, Option<&str>)],
        of: Traffic,
        permille: u32,
    ) -> Result<()> {
        self.losses.extend(pairs.iter().map(|(from, to)| Loss {
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            of,
            permille,
        }));
        self.apply()
    }

    fn apply(&self) -> Result<()> {
        let losses = self.losses.clone();
        self.space
            .call(move || nftables::apply(&losses))
            .context(|| {
                "putting nftables rules on the lab's bridge (the kernel needs nf_tables with the \
                 bridge family and numgen; as root: modprobe nft_numgen nf_tables_bridge)"
            })
    }
}

//! A host of the lab: namespaces, interfaces, processes, and a power button.

use super::lan::BRIDGE;
use super::link::{self, Mac};
use super::process::Process;
use super::space::{Space, mount_tmpfs};
use crate::error::{Context, Result, err};
use rustix::mount::mount_bind;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Where a host keeps what a power-off loses: sockets, locks and the like.
pub(super) const RUN: &str = "/run/onehold";

/// What a host should be like.
#[derive(Clone, Debug, Default)]
pub struct HostSpec {
    name: String,
    interfaces: Vec<Vec<(IpAddr, u8)>>,
    sysctls: Vec<(String, String)>,
    hosts_file: Option<String>,
    forgetful: bool,
}

impl HostSpec {
    /// A host called `name` (at most 13 characters), without an interface yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds the next interface (`eth0`, `eth1`…) with these addresses and prefix lengths. All are
    /// on the one bridge: with several, set `net/ipv4/conf/all/arp_ignore` to 1, or each answers
    /// for the addresses of the others.
    #[must_use]
    pub fn interface(mut self, addresses: &[(IpAddr, u8)]) -> Self {
        self.interfaces.push(addresses.to_vec());
        self
    }

    /// Sets a sysctl of the host's network, such as `net/ipv4/ip_nonlocal_bind`.
    #[must_use]
    pub fn sysctl(mut self, key: &str, value: &str) -> Self {
        self.sysctls.push((key.into(), value.into()));
        self
    }

    /// Lets the host's neighbour entries age ten times as fast as usual: an unconfirmed entry is
    /// given up after about three seconds, so that short faults show what long ones do.
    #[must_use]
    pub fn forgetful(mut self) -> Self {
        self.forgetful = true;
        self
    }

    /// Gives the host its own `/etc/hosts`.
    #[must_use]
    pub fn hosts_file(mut self, text: &str) -> Self {
        self.hosts_file = Some(text.into());
        self
    }
}

/// A host on the [`super::Lan`]: a network namespace, and a mount namespace with its own, volatile
/// `/run/onehold`. Dropping it powers it off.
pub struct Host {
    spec: HostSpec,
    number: u8,
    lan: Arc<Space>,
    space: Option<Space>,
}

impl Host {
    pub(super) fn new(lan: Arc<Space>, number: u8, spec: HostSpec) -> Result<Self> {
        let mut host = Self {
            spec,
            number,
            lan,
            space: None,
        };
        host.power_on()?;
        Ok(host)
    }

    /// The host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The hardware address of its interface number `interface`, the same after every power-on.
    #[must_use]
    pub fn mac(&self, interface: u8) -> Mac {
        [0x02, 0x6f, 0x68, 0, self.number, interface]
    }

    /// The first address of the host's interface number `interface`.
    #[must_use]
    pub fn address(&self, interface: usize) -> Option<IpAddr> {
        let addresses = self.spec.interfaces.get(interface)?;
        addresses.first().map(|(address, _)| *address)
    }

    /// Whether it is powered on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.space.is_some()
    }

    /// Pulls the plug: the network is gone at once, then all processes are killed, and the kernel
    /// forgets addresses, rules, sockets and `/run/onehold`.
    ///
    /// The lab's own threads that were started with [`Host::call`] see no network any more; their
    /// starter must stop them.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn power_off(&mut self) -> Result<()> {
        let Some(space) = self.space.take() else {
            return Ok(());
        };
        let ports: Vec<String> = (0..self.spec.interfaces.len())
            .map(|n| self.port(n))
            .collect();
        let unplugged = self
            .lan
            .call(move || ports.iter().try_for_each(|port| link::remove(port)))
            .context(|| format!("unplugging {}", self.name()));
        for process in space.call(processes_here)? {
            // It may have ended by itself in the meantime.
            let _ = kill_process(process, Signal::KILL);
        }
        unplugged
    }

    /// Powers the host on: a new kernel state, with the interfaces, addresses and sysctls of its
    /// [`HostSpec`], and an empty `/run/onehold`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn power_on(&mut self) -> Result<()> {
        if self.is_on() {
            return Ok(());
        }
        let name = self.name().to_owned();
        let space = self.lan.call(move || Space::new(&name))?;
        for interface in 0..self.spec.interfaces.len() {
            let (port, network) = (self.port(interface), space.network()?);
            let mac = self.mac(u8::try_from(interface).unwrap_or(u8::MAX));
            let eth = format!("eth{interface}");
            let plugged = self
                .lan
                .call(move || link::add_port(&port, BRIDGE, mac, &eth, network.as_fd()));
            plugged.context(|| format!("plugging {} into the bridge", self.name()))?;
        }
        let spec = self.spec.clone();
        space
            .call(move || configure(&spec))
            .context(|| format!("powering {} on", self.name()))?;
        for interface in 0..self.spec.interfaces.len() {
            let (port, eth) = (self.port(interface), format!("eth{interface}"));
            let up = space.call(move || link::wait_up(&eth));
            up.and_then(|()| self.lan.call(move || link::wait_up(&port)))
                .context(|| format!("taking interface {interface} of {} up", self.name()))?;
        }
        for (address, _) in self.spec.interfaces.concat() {
            let heard = space.call(move || link::wait_heard(address));
            heard.context(|| format!("waiting until {} hears of {address}", self.name()))?;
        }
        self.space = Some(space);
        Ok(())
    }

    /// Runs `job` in the host's namespaces. Threads that it starts are in them too, and a socket
    /// that it opens belongs to the host wherever it is used.
    ///
    /// # Errors
    /// If the host is off.
    pub fn call<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> Result<R> {
        let off = || err(format!("{} is powered off", self.name()));
        Ok(self.space.as_ref().ok_or_else(off)?.call(job))
    }

    /// Starts a process in the host.
    ///
    /// # Errors
    /// If it can't be started, or the host is off.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        let started = self.call(move || Process::start(command))?;
        started.context(|| format!("on {}", self.name()))
    }

    /// Runs a command in the host until it ends, and returns what it printed.
    ///
    /// # Errors
    /// If it can't be started, or the host is off.
    pub fn output(&self, mut command: Command) -> Result<Output> {
        let output = self.call(move || command.stdin(Stdio::null()).output())?;
        output.context(|| format!("running a command on {}", self.name()))
    }

    /// Sets a sysctl of the host's network until it is powered off.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.call(move || sysctl(&key, &value))?
    }

    /// Adds an address to an interface of the host, as others than the daemon might.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn add_address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let eth = interface.to_owned();
        self.call(move || link::add_address(&eth, address, prefix))?
            .context(|| format!("adding {address} to {interface} of {}", self.name()))
    }

    /// Removes an address from an interface of the host.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_address(&self, interface: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let eth = interface.to_owned();
        self.call(move || link::remove_address(&eth, address, prefix))?
            .context(|| format!("removing {address} from {interface} of {}", self.name()))
    }

    fn port(&self, interface: usize) -> String {
        match interface {
            0 => self.name().to_owned(),
            n => format!("{}.{n}", self.name()),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The namespace goes with its thread whatever is reported here.
        let _ = self.power_off();
    }
}

fn configure(spec: &HostSpec) -> Result<()> {
    mount_tmpfs(Path::new(RUN))?;
    if let Some(text) = &spec.hosts_file {
        let path = PathBuf::from(RUN).join("hosts");
        fs::write(&path, text).context(|| path.display())?;
        mount_bind(&path, "/etc/hosts").context(|| "mounting the lab's /etc/hosts")?;
    }
    link::up("lo").context(|| "taking lo up")?;
    for (interface, addresses) in spec.interfaces.iter().enumerate() {
        let eth = format!("eth{interface}");
        // Addresses here are known to be unique. A kernel without IPv6 has no such file.
        let _ = sysctl(&format!("net/ipv6/conf/{eth}/accept_dad"), "0");
        for (address, prefix) in addresses {
            link::add_address(&eth, *address, *prefix)
                .context(|| format!("adding {address}/{prefix} to {eth}"))?;
        }
        link::up(&eth).context(|| format!("taking {eth} up"))?;
        if spec.forgetful {
            age_fast(&eth)?;
        }
    }
    let mut sysctls = spec.sysctls.iter();
    sysctls.try_for_each(|(key, value)| sysctl(key, value))
}

fn age_fast(interface: &str) -> Result<()> {
    for (key, value) in [
        ("base_reachable_time_ms", "1000"),
        ("delay_first_probe_time", "1"),
        ("retrans_time_ms", "250"),
    ] {
        sysctl(&format!("net/ipv4/neigh/{interface}/{key}"), value)?;
        // A kernel without IPv6 has no such file.
        let _ = sysctl(&format!("net/ipv6/neigh/{interface}/{key}"), value);
    }
    Ok(())
}

fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(key);
    fs::write(&path, value).context(|| format!("setting {} to {value}", path.display()))
}

/// The processes whose network namespace is that of the calling thread.
fn processes_here() -> Result<Vec<Pid>> {
    let here = "/proc/thread-self/ns/net";
    let here = fs::read_link(here).context(|| here)?;
    let all = fs::read_dir("/proc").context(|| "/proc")?;
    Ok(all
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("ns/net")).is_ok_and(|net| net == here))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect())
}

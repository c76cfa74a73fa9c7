//! A guest: a Debian machine in a QEMU process without KVM, plugged into the lab's bridge.

use super::host::run;
use super::image::{Image, Kernel};
use super::qmp::Qmp;
use super::shell::{Said, Shell};
use crate::error::{Context, Result, err};
use crate::machine::netns::{Lan, Mac, Process};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Enough for QEMU to start, and to load a saved state.
const START: Duration = Duration::from_secs(60);
/// Enough for a boot on a busy machine.
const BOOT: Duration = Duration::from_secs(300);
/// What tells one boot from another.
const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";
/// Enough for what a scenario asks of a shell.
const PATIENCE: Duration = Duration::from_secs(60);

/// Without the five-level page tables that only cost emulation.
const CPU: &str = "max,la57=off";
/// The kernel's command line, but for who the guest is. On a busy machine the timer's check at boot
/// would find the timer broken.
const APPEND: &str = "root=/dev/vda rw console=ttyS0 net.ifnames=0 no_timer_check tsc=reliable \
                      mitigations=off quiet";

/// What a guest is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spec {
    /// Its host name, and that of its port on the bridge.
    pub(super) name: &'static str,
    /// The last byte of its IP address and of its hardware address.
    pub(super) number: u8,
    /// In MiB.
    pub(super) memory: u32,
}

impl Spec {
    /// Its own IP address.
    #[must_use]
    pub(super) fn ip(&self) -> String {
        format!("10.0.0.{}", self.number)
    }

    /// Its hardware address.
    #[must_use]
    pub(super) fn mac(&self) -> Mac {
        [0x52, 0x54, 0, 0, 0, self.number]
    }
}

/// Where a guest starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From<'a> {
    /// Its disk, as when its power comes on.
    Power,
    /// A saved state of the whole machine.
    Saved(&'a str),
}

/// A guest, running or not. Dropping it cuts its power.
pub(super) struct Guest {
    spec: Spec,
    kernel: (PathBuf, PathBuf),
    directory: PathBuf,
    running: Option<Running>,
}

struct Running {
    /// Dropping it is the power cut.
    _qemu: Process,
    qmp: Option<Qmp>,
    shell: Option<Shell>,
}

impl Guest {
    /// A guest whose disk is `NAME.qcow2` in `directory`, and whose second disk is `payload`, a
    /// file of [`super::payload::SIZE`] there.
    ///
    /// # Errors
    /// If the image has no such kernel.
    pub(super) fn new(spec: Spec, image: &Image, kernel: Kernel, directory: &Path) -> Result<Self> {
        Ok(Self {
            spec,
            kernel: image.kernel(kernel)?,
            directory: directory.to_owned(),
            running: None,
        })
    }

    /// Its host name.
    #[must_use]
    pub(super) fn name(&self) -> &'static str {
        self.spec.name
    }

    /// What it is.
    #[must_use]
    pub(super) fn spec(&self) -> Spec {
        self.spec
    }

    /// A new disk over the image.
    ///
    /// # Errors
    /// If `qemu-img` fails.
    pub(super) fn new_disk(&self, image: &Image) -> Result<()> {
        let mut make = Command::new("qemu-img");
        make.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
        make.arg(image.disk()).arg(self.disk());
        run(make)
    }

    /// Its disk, with the states saved in it.
    #[must_use]
    pub(super) fn disk(&self) -> PathBuf {
        self.file("qcow2")
    }

    /// Switches it on; it runs once it is plugged in, with [`Guest::plug`].
    ///
    /// # Errors
    /// If QEMU does not start.
    pub(super) fn start(&mut self, lan: &Lan, from: From<'_>) -> Result<()> {
        self.power_off();
        for socket in ["shell", "qmp"] {
            // There may be none.
            let _ = std::fs::remove_file(self.file(socket));
        }
        let log = self.file("qemu");
        let log = File::options().append(true).create(true).open(&log);
        let log = log.context(|| self.directory.display())?;
        let mut command = self.command(from);
        command.stdin(Stdio::null());
        command
            .stdout(log.try_clone().context(|| "a log")?)
            .stderr(log);
        self.running = Some(Running {
            _qemu: lan.spawn(command)?,
            qmp: None,
            shell: None,
        });
        Ok(())
    }

    /// Plugs it into the bridge, and lets it go.
    ///
    /// # Errors
    /// If QEMU did not start.
    pub(super) fn plug(&mut self, lan: &Lan) -> Result<()> {
        let port = self.name();
        let plugged = self.qmp().and_then(|qmp| {
            lan.plug(port)?;
            qmp.ask("cont", json!({}))
        });
        plugged.map(drop).context(|| {
            let log = std::fs::read_to_string(self.file("qemu")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("QEMU says nothing");
            format!("starting {} ({last})", self.name())
        })
    }

    fn command(&self, from: From<'_>) -> Command {
        let Spec { name, memory, .. } = self.spec;
        let [.., number] = self.spec.mac();
        // The probes and what else runs here go first.
        let mut c = Command::new("nice");
        c.args(["-n", "5", "qemu-system-x86_64", "-name", name, "-S"]);
        c.args([
            "-accel",
            "tcg,thread=multi,tb-size=128",
            "-cpu",
            CPU,
            "-M",
            "pc",
        ]);
        c.args(["-m", &memory.to_string(), "-smp", "1"]);
        c.args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-rtc",
            "base=utc",
        ]);
        c.arg("-kernel")
            .arg(&self.kernel.0)
            .arg("-initrd")
            .arg(&self.kernel.1);
        c.arg("-append").arg(format!(
            "{APPEND} lab.host={name} lab.ip={}",
            self.spec.ip()
        ));
        let file = |kind| self.file(kind).display().to_string();
        c.args([
            "-chardev",
            &format!("file,id=console,append=on,path={}", file("console")),
        ]);
        c.args(["-serial", "chardev:console"]);
        c.args([
            "-serial",
            &format!("unix:{},server=on,wait=off", file("shell")),
        ]);
        c.args(["-qmp", &format!("unix:{},server=on,wait=off", file("qmp"))]);
        c.args([
            "-drive",
            &format!("if=none,id=root,format=qcow2,file={}", file("qcow2")),
        ]);
        c.args(["-device", "virtio-blk-pci,drive=root"]);
        let payload = self.directory.join("payload").display().to_string();
        c.args([
            "-drive",
            &format!("if=none,id=payload,format=raw,readonly=on,file={payload}"),
        ]);
        c.args(["-device", "virtio-blk-pci,drive=payload"]);
        c.args([
            "-netdev",
            &format!("tap,id=port,ifname={name},script=no,downscript=no"),
        ]);
        c.args([
            "-device",
            &format!("virtio-net-pci,netdev=port,id=nic,romfile=,mac=52:54:00:00:00:{number:02x}"),
        ]);
        c.args(["-device", "virtio-rng-pci"]);
        if let From::Saved(state) = from {
            c.args(["-loadvm", state]);
        }
        c
    }

    /// What a saved state depends on besides the command line of each guest.
    pub(super) fn shape() -> [&'static str; 2] {
        [CPU, APPEND]
    }

    /// Whether its power is on.
    #[must_use]
    pub(super) fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Pulls the plug: the QEMU process is killed, and its port is gone from the bridge.
    pub(super) fn power_off(&mut self) {
        self.running = None;
    }

    /// Waits until its root shell answers, after a start or a reboot.
    ///
    /// # Errors
    /// If it does not, or the guest is off.
    pub(super) fn ready(&mut self) -> Result<()> {
        self.shell().map(drop)
    }

    /// Runs a command line in it to its end.
    ///
    /// # Errors
    /// If it does not end, or the guest is off.
    pub(super) fn run(&mut self, line: &str) -> Result<Said> {
        self.run_for(line, PATIENCE)
    }

    /// Runs a command line in it that may take this long.
    ///
    /// # Errors
    /// If it takes longer, or the guest is off.
    pub(super) fn run_for(&mut self, line: &str, patience: Duration) -> Result<Said> {
        let name = self.name();
        let said = self.shell()?.run(line, patience);
        said.context(|| format!("on {name}"))
    }

    /// Runs a command line in it that must succeed; what it said.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn sh(&mut self, line: &str) -> Result<String> {
        let Said { status, text } = self.run(line)?;
        match status {
            0 => Ok(text),
            _ => Err(err(format!(
                "on {}: `{line}` ended with {status}: {text}",
                self.name()
            ))),
        }
    }

    /// Tells it to reboot, as an operator does; what [`Guest::await_reboot`] needs to know.
    ///
    /// # Errors
    /// If the guest is off.
    pub(super) fn begin_reboot(&mut self) -> Result<String> {
        let boot = self.sh(BOOT_ID)?;
        self.sh("(sleep 0.3; reboot) >/dev/null 2>&1 &")?;
        Ok(boot)
    }

    /// Waits until it has booted since.
    ///
    /// # Errors
    /// If it does not come.
    pub(super) fn await_reboot(&mut self, earlier: &str) -> Result<()> {
        let until = Instant::now() + BOOT;
        while Instant::now() < until {
            // The shell of before may still answer, or end in the middle of a word.
            self.running()?.shell = None;
            let boot = self.run_for(BOOT_ID, Duration::from_secs(5));
            if boot.is_ok_and(|said| said.status == 0 && said.text != earlier) {
                return Ok(());
            }
            sleep(Duration::from_millis(500));
        }
        Err(err(format!(
            "{} has not rebooted within {BOOT:?}",
            self.name()
        )))
    }

    /// What `onehold status --json` says of its cluster; `None` if no daemon answers.
    ///
    /// # Errors
    /// If the guest is off.
    pub(super) fn status(&mut self) -> Result<Option<Value>> {
        let said = self.run("onehold status --json 2>/dev/null")?;
        let all: Option<Value> = serde_json::from_str(&said.text).ok();
        Ok(all.and_then(|mut all| Some(all.get_mut("clusters")?.get_mut(0)?.take())))
    }

    /// Freezes it, as its hypervisor may: vCPU and clock stand still.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn pause(&mut self) -> Result<()> {
        self.qmp()?.ask("stop", json!({})).map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.qmp()?.ask("cont", json!({})).map(drop)
    }

    /// Pulls its network cable, or plugs it in.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn link(&mut self, up: bool) -> Result<()> {
        let link = json!({ "name": "nic", "up": up });
        self.qmp()?.ask("set_link", link).map(drop)
    }

    /// Saves the state of the whole machine in its disk. It goes on afterwards.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn save(&mut self, state: &str) -> Result<()> {
        self.qmp()?.monitor(&format!("savevm {state}"))
    }

    /// Puts the whole machine back to a saved state, in the same QEMU.
    ///
    /// # Errors
    /// If QEMU refuses.
    pub(super) fn restore(&mut self, state: &str) -> Result<()> {
        self.qmp()?.monitor(&format!("loadvm {state}"))
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.spec.name))
    }

    fn running(&mut self) -> Result<&mut Running> {
        let name = self.spec.name;
        let running = self.running.as_mut();
        running.ok_or_else(|| err(format!("{name} is off")))
    }

    fn qmp(&mut self) -> Result<&mut Qmp> {
        let socket = self.file("qmp");
        let running = self.running()?;
        if running.qmp.is_none() {
            running.qmp = Some(Qmp::connect(&socket, START)?);
        }
        running.qmp.as_mut().ok_or_else(|| err("no monitor"))
    }

    fn shell(&mut self) -> Result<&mut Shell> {
        let socket = self.file("shell");
        let running = self.running()?;
        if running.shell.is_none() {
            running.shell = Some(Shell::connect(&socket, BOOT)?);
        }
        running.shell.as_mut().ok_or_else(|| err("no shell"))
    }
}

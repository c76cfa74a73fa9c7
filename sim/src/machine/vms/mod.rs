//! `onehold-lab vms`: real Debian machines under systemd, with the unit files that are shipped.
//!
//! ```text
//!  lb0       lb1       w             Guests: QEMU without KVM, a kernel and a disk of their own
//!   │         │        │    client   observer     Hosts: namespaces of this machine
//! ──┴─────────┴────────┴──────┴─────────┴──       the Lan: a bridge in a namespace of its own
//! ```
//!
//! lb0 has the kernel of Debian 12, lb1 that of its backports. All start from a saved state in a
//! second, so no scenario waits for a boot that is not about one. Commands go over a serial line,
//! which no fault of the network touches; who holds is asked from the bridge. Nothing of a run
//! outlives the lab: the guests die with it.

mod base;
mod cluster;
mod guest;
mod host;
mod image;
mod payload;
mod qmp;
mod report;
mod scenarios;
mod shell;
mod site;
mod tutorial;

use crate::error::{Context, Result, err};
use crate::machine::netns::privilege;
use crate::screen::Screen;
use base::{BOOTED, Machine};
use guest::{From, Spec};
pub use image::mirror;
use image::{Image, Kernel};
use report::{HEAD, ScenarioOutcome};
use rustix::fs::{FlockOperation, flock};
use scenarios::{ALL, Scenario};
use site::Site;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, stdin};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// The saved state with [`cluster::install`].
const INSTALLED: &str = "installed";

const MACHINES: [Machine; 3] = [
    (spec("lb0", 10, 384), Kernel::V6_1),
    (spec("lb1", 11, 384), Kernel::V6_12),
    (spec("w", 12, 256), Kernel::V6_1),
];

const fn spec(name: &'static str, number: u8, memory: u32) -> Spec {
    Spec {
        name,
        number,
        memory,
    }
}

/// What is played.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these scenarios, such as tutorial,link.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Those that take longer, too.
    #[arg(long)]
    pub all: bool,
    /// Say which scenarios there are.
    #[arg(long)]
    pub list: bool,
    /// Keep the guests' logs of every scenario, and not only where something was wrong
    /// (target/vms/logs).
    #[arg(long)]
    pub keep: bool,
    /// Start the guests with the binary installed, and give the lines of standard input to the root
    /// shell of this one: lb0 (kernel 6.1), lb1 (6.12) or w.
    #[arg(long, value_name = "GUEST")]
    pub shell: Option<String>,
    /// Write all figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The onehold binary; else the one beside this, built if need be.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
}

/// Says which scenarios there are.
pub fn list() {
    for scenario in ALL {
        let all = if scenario.usual { "" } else { " (--all)" };
        println!("{:13} {}{all}", scenario.name, scenario.says);
    }
}

/// Plays the scenarios with `binary`. Whether all went well.
///
/// # Errors
/// If the lab itself fails.
pub fn run(options: &Options, binary: &Path) -> Result<bool> {
    let scenarios = chosen(options)?;
    prerequisites()?;
    let mut screen = Screen::new();
    let vms = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vms");
    fs::create_dir_all(&vms).context(|| vms.display())?;
    let vms = vms.canonicalize().context(|| vms.display())?;
    let _lock = lock(&vms)?;

    let image = Image::in_directory(&vms.join("image"), |p| screen.line(p))?;
    let booted = base::booted(&vms, &image, &MACHINES, |p| screen.line(p))?;
    let running = fresh(&vms.join("run"))?;
    for (spec, _) in MACHINES {
        let disk = format!("{}.qcow2", spec.name);
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always")
            .arg(booted.join(&disk))
            .arg(running.join(&disk));
        host::run(copy)?;
    }
    payload::write(&running, binary)?;
    let site = |from| Site::new(&image, &MACHINES, &running, From::Saved(from));
    {
        let mut site = site(BOOTED)?;
        cluster::install(&mut site)?;
        for name in site.names() {
            site.on(name).save(INSTALLED)?;
        }
        if let Some(name) = &options.shell {
            return converse(&mut site, name);
        }
    }

    screen.line(HEAD);
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        screen.passing(&format!("   {}: {}", scenario.name, scenario.says));
        let from = if scenario.bare { BOOTED } else { INSTALLED };
        let mut site = site(from)?;
        let began = Instant::now();
        let failure = (scenario.play)(&mut site).err().map(|e| e.to_string());
        let took = began.elapsed();
        let outcome = ScenarioOutcome::of(scenario, took, site.seen(), failure);
        screen.line(&outcome.lines());
        if options.keep || !outcome.is_good() {
            let logs = vms.join("logs").join(scenario.name);
            site.keep_logs(&fresh(&logs)?)?;
            screen.line(&format!("     logs: {}", logs.display()));
        }
        outcomes.push(outcome);
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&outcomes).context(|| "writing JSON")?;
        fs::write(path, text + "\n").context(|| path.display())?;
    }
    fs::remove_dir_all(&running).context(|| running.display())?;
    let bad = outcomes.iter().filter(|o| !o.is_good()).count();
    screen.line(&match bad {
        0 => format!(
            "\n{} scenarios on real machines: all as they must be.",
            outcomes.len()
        ),
        n => format!("\n{n} of {} scenarios NOT as they must be.", outcomes.len()),
    });
    Ok(bad == 0)
}

fn chosen(options: &Options) -> Result<Vec<&'static Scenario>> {
    let only = &options.only;
    if let Some(unknown) = only.iter().find(|o| ALL.iter().all(|s| s.name != **o)) {
        return Err(err(format!(
            "there is no scenario `{unknown}`; `cargo lab vms --list` lists them"
        )));
    }
    let wanted = |s: &&Scenario| match only.is_empty() {
        true => s.usual || options.all,
        false => only.iter().any(|o| o == s.name),
    };
    Ok(ALL.iter().filter(wanted).collect())
}

/// What is needed of this machine.
fn prerequisites() -> Result<()> {
    let mut missing = Vec::new();
    for (program, package) in [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("qemu-img", "qemu-utils"),
        ("mmdebstrap", "mmdebstrap"),
        ("mke2fs", "e2fsprogs"),
    ] {
        let path = env::var_os("PATH").unwrap_or_default();
        let also = ["/usr/sbin", "/sbin"].map(PathBuf::from);
        let mut places = env::split_paths(&path).chain(also);
        if !places.any(|place| place.join(program).is_file()) {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        return Err(err(format!(
            "the VM tests need: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        )));
    }
    match privilege::is_root() && Path::new("/dev/net/tun").exists() {
        true => Ok(()),
        false => Err(err(
            "the VM tests make a Debian root and taps: run them as root, with /dev/net/tun",
        )),
    }
}

/// An empty directory.
fn fresh(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).context(|| path.display())?;
    }
    fs::create_dir_all(path).context(|| path.display())?;
    Ok(path.to_owned())
}

/// One at a time.
fn lock(directory: &Path) -> Result<File> {
    let path = directory.join("lock");
    let file = File::create(&path).context(|| path.display())?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .context(|| format!("{} (is another `cargo lab vms` running?)", path.display()))?;
    Ok(file)
}

/// The lines of standard input go to a guest's shell, until they end.
fn converse(site: &mut Site, name: &str) -> Result<bool> {
    if !site.names().contains(&name) {
        return Err(err(format!("there is no guest `{name}`: lb0, lb1 or w")));
    }
    let mut good = true;
    for line in stdin().lock().lines() {
        let said = site.on(name).run(&line.context(|| "standard input")?)?;
        println!("{}", said.text);
        good = said.status == 0;
    }
    Ok(good)
}

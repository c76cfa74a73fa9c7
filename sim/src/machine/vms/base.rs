//! The guests, booted once and saved: each scenario starts from there, and waits for no boot.

use super::guest::{From, Guest, Spec};
use super::host::output;
use super::image::{Image, Kernel};
use super::payload;
use crate::error::{Context, Result};
use crate::machine::netns::Lan;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The saved state: booted, and at rest.
pub(super) const BOOTED: &str = "booted";

/// One of the guests: who, and on which kernel.
pub(super) type Machine = (Spec, Kernel);

/// The directory with all these guests' disks, each with the state [`BOOTED`]; made if they are
/// missing or of another recipe.
///
/// # Errors
/// If one of them does not boot.
pub(super) fn booted(
    directory: &Path,
    image: &Image,
    machines: &[Machine],
    progress: impl FnOnce(&str),
) -> Result<PathBuf> {
    let kernels: Vec<&str> = machines.iter().map(|(_, k)| k.version()).collect();
    let directory = directory.join(format!("booted-{}", kernels.join("-")));
    let recipe = recipe(image, machines)?;
    let file = directory.join("recipe");
    if fs::read_to_string(&file).is_ok_and(|made| made == recipe) {
        return Ok(directory);
    }
    progress("booting the guests, to save them (one to three minutes, once)");
    if directory.exists() {
        fs::remove_dir_all(&directory).context(|| directory.display())?;
    }
    fs::create_dir_all(&directory).context(|| directory.display())?;
    payload::empty(&directory)?;
    let lan = Lan::new()?;
    let mut guests = Vec::new();
    for (spec, kernel) in machines {
        let mut guest = Guest::new(*spec, image, *kernel, &directory)?;
        guest.new_disk(image)?;
        guest.start(&lan, From::Power)?;
        guests.push(guest);
    }
    for guest in &mut guests {
        guest.plug(&lan)?;
    }
    for guest in &mut guests {
        guest.ready()?;
        // "degraded" is none of the lab's business; a unit of Onehold is not there yet.
        let up = "systemctl is-system-running --wait; systemctl start nginx; systemctl stop nginx";
        guest.run_for(up, Duration::from_secs(300))?;
        guest.sh("sync; echo 3 > /proc/sys/vm/drop_caches; sync")?;
        guest.save(BOOTED)?;
        guest.power_off();
    }
    fs::write(&file, recipe).context(|| file.display())?;
    Ok(directory)
}

/// All that decides whether a state can be loaded, and what is in it.
fn recipe(image: &Image, machines: &[Machine]) -> Result<String> {
    let mut ask = Command::new("qemu-system-x86_64");
    ask.arg("--version");
    let qemu = output(ask)?;
    let disk = image.disk();
    let made = fs::metadata(&disk).and_then(|m| m.modified());
    let made = made.context(|| disk.display())?;
    let shape = Guest::shape();
    Ok(format!(
        "{qemu}{disk:?} {made:?}\n{machines:?}\n{shape:?}\n"
    ))
}

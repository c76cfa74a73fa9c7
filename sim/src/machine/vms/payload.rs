//! What each run brings into the guests: the binary and the packages' own unit files, and a package
//! if there is one, as a tar on a second disk that is only read.

use super::host::run;
use crate::error::{Context, Result, err};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// The disk's size is part of a guest's saved state, so it is the same for every payload.
pub(super) const SIZE: u64 = 32 << 20;

/// Puts it into the guest's file system.
pub(super) const UNPACK: &str = "blockdev --flushbufs /dev/vdb && mkdir -p /root/payload && \
     tar -xf /dev/vdb -C /root/payload";

/// The same, and installs the binary as a shell does it, where the units say that it is.
pub(super) const INSTALL: &str = "blockdev --flushbufs /dev/vdb && mkdir -p /root/payload && \
     tar -xf /dev/vdb -C /root/payload && cd /root/payload && install -m 755 onehold /usr/bin/ && \
     install -m 644 *.service /etc/systemd/system/ && \
     install -m 644 onehold.sysusers /usr/lib/sysusers.d/onehold.conf && systemd-sysusers onehold.conf && \
     mkdir -p /etc/onehold && systemctl daemon-reload && onehold --version";

/// The package, and a newer one, as [`write`] names them; `cargo packages deb` makes the first.
pub(super) const DEBS: [&str; 2] = ["first.deb", "second.deb"];

/// An empty disk, for guests that are made before there is a payload.
pub(super) fn empty(directory: &Path) -> Result<()> {
    let path = directory.join("payload");
    let file = File::create(&path).and_then(|file| file.set_len(SIZE));
    file.context(|| path.display())
}

/// The disk with `binary`, the unit files of this workspace, and its packages if they are not older
/// than the binary.
pub(super) fn write(directory: &Path, binary: &Path) -> Result<()> {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/packaging");
    let contents = directory.join("contents");
    fs::create_dir_all(&contents).context(|| contents.display())?;
    let files = fs::read_dir(&packaging).context(|| packaging.display())?;
    let files = files.flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.is_file()); // the movers are for clouds
    for from in files.chain([binary.to_owned()]) {
        let to = contents.join(from.file_name().unwrap_or_default());
        fs::copy(&from, &to).context(|| from.display())?;
    }
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/packages/tested");
    for name in DEBS {
        let deb = made.join(name);
        if is_newer(&deb, binary) {
            fs::copy(&deb, contents.join(name)).context(|| deb.display())?;
        }
    }
    let path = directory.join("payload");
    let mut pack = Command::new("tar");
    pack.arg("-cf").arg(&path).arg("-C").arg(&contents);
    pack.args(["--owner=0", "--group=0", "."]);
    run(pack)?;
    let file = File::options().write(true).open(&path);
    let file = file.context(|| path.display())?;
    let length = file.metadata().context(|| path.display())?.len();
    if length > SIZE {
        let binary = binary.display();
        return Err(err(format!(
            "{binary} makes {length} bytes, and the guests' second disk has {SIZE}"
        )));
    }
    file.set_len(SIZE).context(|| path.display())
}

fn is_newer(path: &Path, than: &Path) -> bool {
    let made = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    made(path).is_some_and(|it| made(than).is_some_and(|other| it >= other))
}

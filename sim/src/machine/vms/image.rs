//! The guests' root file system and kernels, made by `mmdebstrap` and kept under `target/vms/image`
//! until the recipe below changes.
//!
//! Debian 12 as people have it: systemd, systemd-networkd, nginx, sshd, and both of its cloud
//! kernels. The lab adds a root shell on the second serial port ([`super::shell`]), and nothing of
//! Onehold: that comes with each run.

use super::host::{output, run};
use crate::error::{Context, Result, err};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel of Debian 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kernel {
    /// Its own.
    V6_1,
    /// Of its backports.
    V6_12,
}

impl Kernel {
    /// As people say it.
    #[must_use]
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// What is in the image besides the minimum.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,kmod,iproute2,iputils-ping,nginx-light,curl,procps,\
    openssh-server,openssh-client,initramfs-tools,lz4,linux-image-cloud-amd64,dnsmasq-base,nftables,ethtool,tcpdump";

/// What the image does without: what wakes up by itself, or waits for what is not there.
const MASKED: &str = "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer getty@tty1.service getty-static.service ldconfig.service \
    systemd-hwdb-update.service systemd-journal-catalog-update.service systemd-update-utmp.service \
    systemd-pstore.service";

/// Files of the guest: path, mode, text.
const FILES: &[(&str, u32, &str)] = &[
    (
        "usr/local/lib/lab/shell",
        0o755,
        include_str!("image/shell"),
    ),
    (
        "usr/local/lib/lab/first-boot",
        0o755,
        include_str!("image/first-boot"),
    ),
    (
        "etc/systemd/system/lab-shell.service",
        0o644,
        include_str!("image/lab-shell.service"),
    ),
    (
        "etc/systemd/system/lab-first-boot.service",
        0o644,
        include_str!("image/lab-first-boot.service"),
    ),
    ("etc/fstab", 0o644, "/dev/vda / ext4 rw,noatime 0 1\n"),
    ("etc/hosts", 0o644, ""),
    ("etc/hostname", 0o644, "guest\n"),
    (
        "etc/systemd/journald.conf.d/lab.conf",
        0o644,
        "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n",
    ),
    (
        "root/.ssh/config",
        0o600,
        "Host *\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n",
    ),
    // A small initramfs: what the disk needs.
    (
        "etc/initramfs-tools/conf.d/lab.conf",
        0o644,
        "MODULES=list\nCOMPRESS=lz4\n",
    ),
    (
        "etc/initramfs-tools/modules",
        0o644,
        "virtio_pci\nvirtio_blk\next4\ncrc32c\n",
    ),
];

/// What is done in the new root, `$1`, at its end. The one place for `linux-image-*` of two suites:
/// the second is installed beside the first.
const FINISH: &[&str] = &[
    r#"chroot "$1" apt-get -q -y -o APT::Install-Recommends=false -t bookworm-backports install linux-image-cloud-amd64"#,
    r#"chroot "$1" passwd -q -d root"#,
    r#"chmod 700 "$1/root/.ssh""#,
    r#"chroot "$1" ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"#,
    r#"cp "$1/root/.ssh/id_ed25519.pub" "$1/root/.ssh/authorized_keys""#,
    r#"mkdir -p "$1/var/log/journal""#,
    r#"chroot "$1" systemctl -q enable systemd-networkd.service systemd-networkd-wait-online.service lab-shell.service lab-first-boot.service"#,
    r#"chroot "$1" systemctl -q disable nginx.service"#,
];

const SIZE: u64 = 1500 << 20;

/// The image, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Image {
    directory: PathBuf,
}

impl Image {
    /// The image in `directory`, made if it is missing or of another recipe; `progress` is called
    /// when that starts.
    ///
    /// # Errors
    /// If a tool or the mirror fails.
    pub(super) fn in_directory(directory: &Path, progress: impl FnOnce(&str)) -> Result<Self> {
        let image = Self {
            directory: directory.to_owned(),
        };
        let recipe = recipe();
        if fs::read_to_string(image.file("recipe")).is_ok_and(|made| made == recipe) {
            return Ok(image);
        }
        progress("making the guests' image from Debian's packages (two to four minutes, once)");
        if directory.exists() {
            fs::remove_dir_all(directory).context(|| directory.display())?;
        }
        image.make()?;
        fs::write(image.file("recipe"), recipe).context(|| directory.display())?;
        Ok(image)
    }

    /// Its root file system, as a raw disk. It is never written to.
    #[must_use]
    pub(super) fn disk(&self) -> PathBuf {
        self.file("root.img")
    }

    /// A kernel and its initramfs.
    ///
    /// # Errors
    /// If the image has no such kernel.
    pub(super) fn kernel(&self, kernel: Kernel) -> Result<(PathBuf, PathBuf)> {
        let prefix = format!("vmlinuz-{}.", kernel.version());
        let boot = self.file("boot");
        let names = fs::read_dir(&boot).context(|| boot.display())?;
        let mut names = names
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok());
        let name = names
            .find(|name| name.starts_with(&prefix))
            .ok_or_else(|| err(format!("{} has no {prefix}*", boot.display())))?;
        let initrd = name.replacen("vmlinuz", "initrd.img", 1);
        Ok((boot.join(&name), boot.join(initrd)))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make(&self) -> Result<()> {
        let (overlay, boot) = (self.file("overlay"), self.file("boot"));
        fs::create_dir_all(&boot).context(|| boot.display())?;
        for (path, mode, text) in FILES {
            let path = overlay.join(path);
            let parent = path.parent().unwrap_or(&overlay);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(*mode)))
                .context(|| path.display())?;
        }
        let disk = self.disk();
        let file = fs::File::create(&disk).context(|| disk.display())?;
        file.set_len(SIZE).context(|| disk.display())?;

        let mut build = Command::new("mmdebstrap");
        build.args([
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            "--format=null",
        ]);
        build.arg(format!("--include={PACKAGES}"));
        build.arg(format!("--essential-hook=sync-in {} /", overlay.display()));
        for step in FINISH {
            build.arg(format!("--customize-hook={step}"));
        }
        build.arg(format!(
            "--customize-hook=chroot \"$1\" systemctl -q mask {MASKED}"
        ));
        build.arg(format!(
            "--customize-hook=mv \"$1\"/boot/* {}/",
            boot.display()
        ));
        build.arg(
            "--customize-hook=cd \"$1\" && rm -rf vmlinuz* initrd.img* usr/share/doc usr/share/man \
             usr/share/locale var/lib/apt/lists/* var/cache/apt/*",
        );
        // Through a mount of its own, which does not show what is mounted in the new root.
        let plain = self.file("plain");
        fs::create_dir_all(&plain).context(|| plain.display())?;
        build.arg(format!(
            "--customize-hook=mount --bind \"$1\" {plain} && mke2fs -q -t ext4 -J size=16 -L root \
             -d {plain} {disk} && umount {plain}",
            plain = plain.display(),
            disk = disk.display()
        ));
        let mirror = mirror()?;
        build.args(["bookworm", "/dev/null"]);
        build.arg(format!("deb {mirror} bookworm main"));
        build.arg(format!("deb {mirror} bookworm-backports main"));
        run(build)
    }
}

/// All that decides what the image is. The mirror does not: it has what the others have.
fn recipe() -> String {
    format!("{PACKAGES}\n{MASKED}\n{FILES:?}\n{FINISH:?}\n{SIZE}\n")
}

/// Where this machine gets its own packages, if those are Debian's.
///
/// # Errors
/// If it knows no such place.
pub fn mirror() -> Result<String> {
    let mut ask = Command::new("apt-get");
    ask.args([
        "indextargets",
        "--format",
        "$(SITE)",
        "Origin: Debian",
        "Codename: bookworm",
    ]);
    let sites = output(ask).unwrap_or_default();
    let site = sites.lines().next().unwrap_or_default().trim();
    match site.is_empty() {
        true => Err(err(
            "apt-get knows no mirror of Debian 12 (bookworm): add one to /etc/apt/sources.list.d",
        )),
        false => Ok(site.to_owned()),
    }
}

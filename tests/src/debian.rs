//! Debian's own network software on a host of the lab: what would take over this machine's network,
//! if it were installed here.
//!
//! The packages are extracted into a directory under `target/`, once, and nothing of them is ever
//! started but by a test. Each host sees them through an overlay of its own, which goes with the
//! host.

use crate::{Cluster, binaries, eventually, is_machine_root, not_run};
use onehold_sim::netns::Process;
use onehold_sim::vms::mirror;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What is in it, besides what these need.
const PACKAGES: &str = "systemd,dbus,network-manager,firewalld,iptables,ufw,isc-dhcp-client,udhcpc,ifupdown,\
    keepalived,dnsmasq-base,iproute2,procps,nftables,dash,coreutils,sed,grep,mawk,hostname,debianutils,findutils";

/// What the packages do when they are installed, as far as it is needed here.
const FINISH: &str = r#"set -e
    for n in root:0:0 messagebus:101:101 systemd-network:102:102 dnsmasq:103:103 polkitd:104:104 nobody:65534:65534
    do echo $n | awk -F: '{ print $1 ":x:" $2 ":" $3 "::/:/bin/sh" }' >>etc/passwd
       echo $n | awk -F: '{ print $1 ":x:" $3 ":" }' >>etc/group
    done
    echo netdev:x:105: >>etc/group
    echo 0123456789abcdef0123456789abcdef >etc/machine-id
    ln -s ../run var/run
    cp usr/share/ufw/ufw.conf usr/share/ufw/iptables/*.rules usr/share/ufw/*.init etc/ufw
    cd usr/sbin
    for x in iptables ip6tables iptables-restore ip6tables-restore iptables-save ip6tables-save ebtables arptables
    do ln -s xtables-nft-multi $x
    done"#;

/// Where a host has it.
const ROOT: &str = "/run/onehold/debian/root";

/// A host's Debian.
#[derive(Clone, Copy, Debug)]
pub struct Debian {
    host: &'static str,
}

impl Debian {
    /// Gives it to a host. Only the root of the machine can.
    ///
    /// # Panics
    /// If the packages can't be had, or the kernel refuses.
    #[must_use]
    #[track_caller]
    pub fn on(c: &Cluster, host: &'static str) -> Option<Self> {
        if !is_machine_root() {
            not_run("it takes the machine's root to unpack Debian's packages");
            return None;
        }
        // A network's view of /sys, and read-only: so nobody there waits for udev.
        let mount = format!(
            "set -e; cd /run/onehold; mkdir -p debian; mount -t tmpfs debian debian; cd debian; \
             mkdir upper work root; mount -t overlay -o lowerdir={},upperdir=upper,workdir=work debian root; \
             cd root; mkdir -p proc sys dev run/dbus run/systemd tmp var/lib/dhcp; mount --bind /proc proc; \
             mount --rbind /dev dev; mount -t sysfs -o ro sys sys",
            packages().display()
        );
        c.ok(host, &["sh", "-c", &mount]);
        Some(Self { host })
    }

    /// Writes a file.
    pub fn file(self, c: &Cluster, path: &str, text: &str) {
        let path = Path::new(ROOT).join(path.trim_start_matches('/'));
        let text = text.to_owned();
        let written = c.host(self.host).call(move || {
            fs::create_dir_all(path.parent().expect("a directory"))
                .and_then(|()| fs::write(path, text))
        });
        written.expect("it is on").expect("a file");
    }

    /// Starts a program of it; what it says goes to the log `log`.
    #[must_use]
    pub fn spawn(self, c: &Cluster, words: &[&str], log: &str) -> Process {
        c.spawn(self.host, &[&["chroot", ROOT], words].concat(), log)
    }

    /// Runs a program of it to its end.
    #[must_use]
    pub fn run(self, c: &Cluster, words: &[&str]) -> Output {
        c.run(self.host, &[&["chroot", ROOT], words].concat())
    }

    /// The same, and it must succeed: what it printed.
    #[track_caller]
    pub fn ok(self, c: &Cluster, words: &[&str]) -> String {
        c.ok(self.host, &[&["chroot", ROOT], words].concat())
    }

    /// Starts a D-Bus of the host's own.
    #[must_use]
    #[track_caller]
    pub fn bus(self, c: &Cluster) -> Process {
        let log = format!("{}-dbus.log", self.host);
        let words = ["dbus-daemon", "--system", "--nofork", "--nopidfile"];
        let bus = self.spawn(c, &words, &log);
        let socket = ["test", "-S", "/run/dbus/system_bus_socket"];
        eventually("a bus", || {
            self.run(c, &socket).status.success().then_some(())
        });
        bus
    }
}

/// The root file system with the packages, made if it is missing or of another recipe.
///
/// # Panics
/// If it can't be made.
fn packages() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let directory = binaries::target().join("debian");
        let (root, made) = (directory.join("root"), directory.join("recipe"));
        let recipe = format!("{PACKAGES}\n{FINISH}\n");
        fs::create_dir_all(&directory).expect("a directory");
        let lock = File::create(directory.join("lock")).expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("a lock");
        if fs::read_to_string(&made).is_ok_and(|it| it == recipe) {
            return root;
        }
        if root.exists() {
            fs::remove_dir_all(&root).expect("it can be made anew");
        }
        let mut make = Command::new("mmdebstrap");
        make.args(["--quiet", "--mode=root", "--variant=extract"]);
        make.arg(format!("--include={PACKAGES}"));
        make.arg("bookworm").arg(&root).stdin(Stdio::null());
        let mirror = mirror().unwrap_or_else(|why| panic!("{why}"));
        make.arg(format!("deb {mirror} bookworm main"));
        let status = make.status();
        let good = status.as_ref().is_ok_and(|status| status.success());
        assert!(
            good,
            "mmdebstrap can't extract Debian's packages: {status:?}; is it installed (`cargo verify --install`)?"
        );
        let mut finish = Command::new("sh");
        finish.args(["-c", FINISH]).current_dir(&root);
        assert!(finish.status().is_ok_and(|status| status.success()), "{FINISH}");
        fs::write(&made, recipe).expect("a file");
        root
    })
}

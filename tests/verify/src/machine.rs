//! What the tests need of this machine, and how it gets it.

use crate::{Result, StepEnd};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Each program, and Debian's package that has it.
const PROGRAMS: [(&str, &str); 27] = [
    ("z3", "z3"), // the proofs
    ("nginx", "nginx-light"),
    ("keepalived", "keepalived"), // what runs beside Onehold, as the next two
    ("corosync-qnetd", "corosync-qnetd"),
    ("nsenter", "util-linux"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("tc", "iproute2"),
    ("unshare", "util-linux"),
    ("curl", "curl"), // clients, and the movers, as the next one
    ("jq", "jq"),
    ("promtool", "prometheus"), // the metrics, as the next one
    ("prometheus", "prometheus"),
    ("shellcheck", "shellcheck"), // the movers
    ("virtualenv", "virtualenv"), // moto, which is AWS for them
    ("pgrep", "procps"),
    ("lintian", "lintian"), // the packages, as the next four
    ("rpm", "rpm"),
    ("rpm2cpio", "rpm2cpio"),
    ("cpio", "cpio"),
    ("man", "man-db"),
    ("chromium", "chromium"),                  // the pages
    ("qemu-system-x86_64", "qemu-system-x86"), // the virtual machines, as the next three
    ("qemu-img", "qemu-utils"),
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
];

/// Whether everything is there.
pub(crate) fn has_what_is_needed(_: &Path) -> Result {
    let mut wrong = Vec::new();
    for (program, package) in PROGRAMS {
        match find(program) {
            Some(path) => println!("{program}: {}", path.display()),
            None => wrong.push(format!("`{program}` is missing (package {package})")),
        }
    }
    if !wrong.is_empty() {
        wrong.push("`cargo verify --install` installs what is missing".to_owned());
    }
    match namespaces() {
        Ok(how) => println!("namespaces: {how}"),
        Err(remedy) => wrong.push(remedy),
    }
    if wrong.is_empty() {
        Ok(StepEnd::Passed)
    } else {
        Err(wrong.join("\n"))
    }
}

/// Installs what is missing, with apt-get.
pub(crate) fn install() -> std::result::Result<(), String> {
    let packages = missing();
    if packages.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    let all = packages.join(" ");
    if find("apt-get").is_none() {
        return Err(format!(
            "there is no apt-get here: install what Debian has as {all} by this system's own means"
        ));
    }
    let mut words = Vec::new();
    if !is_root() {
        if find("sudo").is_none() {
            return Err(format!("run as root: apt-get install {all}"));
        }
        words.push("sudo");
    }
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    run(&[&words[..], &["update", "--quiet"]].concat())?;
    let options = [
        "install",
        "--quiet",
        "--yes",
        "--no-install-recommends",
        "--no-remove", // what is there stays, and a part of QEMU that is newer is no exception
    ];
    if run(&[&words[..], &options, &packages].concat()).is_err() {
        // If a part of QEMU came from the backports, the rest must come from there, too.
        let from = backports(&words)?;
        run(&[&words[..], &options, &["-t", &from], &packages].concat())?;
    }
    match missing() {
        still if still.is_empty() => Ok(()),
        still => Err(format!(
            "installed, and still not found on the path: {}",
            still.join(" ")
        )),
    }
}

/// The suite of Debian's backports, known to apt from now on.
fn backports(apt: &[&str]) -> std::result::Result<String, String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |key| release.lines().find_map(|line| line.strip_prefix(key));
    let (Some("debian"), Some(name)) = (field("ID="), field("VERSION_CODENAME=")) else {
        return Err("apt-get can't install what is missing: see its messages above".to_owned());
    };
    let suite = format!("{name}-backports");
    let codename = format!("Codename: {name}");
    let asked = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(SITE)",
            "Origin: Debian",
            &codename,
        ])
        .output();
    let sites = asked.map(|o| o.stdout).unwrap_or_default();
    let sites = String::from_utf8_lossy(&sites).into_owned();
    let Some(mirror) = sites.lines().next() else {
        return Err(format!(
            "apt-get knows no mirror of {name}: add one to /etc/apt/sources.list.d"
        ));
    };
    let line = format!("deb {mirror} {suite} main");
    let file = format!("/etc/apt/sources.list.d/{suite}.list");
    let (as_root, _) = apt.split_at(apt.len().saturating_sub(1)); // without `apt-get`
    let write = format!("test -e {file} || echo '{line}' > {file}");
    run(&[as_root, &["sh", "-c", &write]].concat())?;
    run(&[apt, &["update", "--quiet"]].concat())?;
    Ok(suite)
}

/// The packages whose programs are missing, each once.
fn missing() -> Vec<&'static str> {
    let gone = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<&str> = gone.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

fn run(words: &[&str]) -> std::result::Result<(), String> {
    let shown = words.join(" ");
    println!("$ {shown}");
    let status = Command::new(words[0]).args(&words[1..]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`{shown}` failed")),
        Err(e) => Err(format!("`{shown}`: {e}")),
    }
}

/// How this user gets a network namespace; else the remedy.
fn namespaces() -> std::result::Result<String, String> {
    let arguments = if is_root() {
        &["--net"][..]
    } else {
        &["--user", "--map-root-user", "--net"]
    };
    let unshare = Command::new("unshare")
        .args(arguments)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    match unshare {
        Ok(status) if status.success() => Ok(format!("unshare {}", arguments.join(" "))),
        Ok(_) if is_root() => Err(
            "root can't make network namespaces here: give the container CAP_SYS_ADMIN and CAP_NET_ADMIN"
                .to_owned(),
        ),
        Ok(_) => Err(
            "this user can't make namespaces: run as root, or allow user namespaces (sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, kernel.unprivileged_userns_clone=1 \
             on Debian, user.max_user_namespaces above 0)"
                .to_owned(),
        ),
        Err(e) => Err(format!("`unshare`: {e}")),
    }
}

pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0)
}

/// A program on the path, or where Debian keeps what is for root.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let also = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(also)
        .map(|d| d.join(program))
        .find(|p| p.is_file())
}

//! What the tests need of this machine, and how it gets it.

use crate::{Outcome, Result};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program, and the package of Debian's that has it: the one list of them.
const PROGRAMS: [(&str, &str); 8] = [
    ("z3", "z3"), // the proofs
    ("nginx", "nginx-light"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("unshare", "util-linux"),
    ("curl", "curl"),
    ("chromium", "chromium"), // the pages
];

/// Whether all of it is there.
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
        Ok(Outcome::Passed)
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
            "there is no apt-get here: install by this system's own means what Debian has as: {all}"
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
    let options = ["install", "--quiet", "--yes", "--no-install-recommends"];
    run(&[&words[..], &options, &packages].concat())?;
    match missing() {
        still if still.is_empty() => Ok(()),
        still => Err(format!("installed, and yet not found: {}", still.join(" "))),
    }
}

/// The packages whose programs are not there, each once.
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
            "this root may not make network namespaces: a container needs CAP_SYS_ADMIN and CAP_NET_ADMIN"
                .to_owned(),
        ),
        Ok(_) => Err(
            "this user may not make namespaces: run as root, or allow user namespaces (sysctl \
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

//! `cargo verify`: everything that must hold before a change goes in, cheap things first. Stops at
//! the first failure.
//!
//! `cargo verify STEP…` runs only those steps; `cargo verify --list` names them;
//! `cargo verify --install` installs what they need and is missing.

mod machine;
mod proofs;
mod repo;
mod rules;

use machine::{find, is_root};
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// How a step ended that did not fail.
enum StepEnd {
    Passed,
    /// It could not be run: why, and how it can be.
    Skipped(String),
}

type Result = std::result::Result<StepEnd, String>;

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result,
}

const STEPS: [Step; 14] = [
    Step {
        name: "prerequisites",
        run: machine::has_what_is_needed,
    },
    Step {
        name: "format",
        run: |root| cargo(root, "fmt --all --check", &[]),
    },
    Step {
        name: "files",
        run: repo::files_are_short,
    },
    Step {
        name: "rules",
        run: rules::are_tested_and_cited,
    },
    Step {
        name: "proofs",
        run: proofs::have_the_expected_answers,
    },
    Step {
        name: "clippy",
        run: |root| {
            cargo(root, "clippy --workspace --all-targets -- -D warnings", &[])?;
            // As `cargo demo` builds it.
            let demo = "clippy -p onehold-sim --no-default-features -- -D warnings";
            cargo(root, demo, &[])
        },
    },
    // The whole-program tests run the binaries that are shipped.
    Step {
        name: "release",
        run: |root| cargo(root, "build --release -p onehold -p onehold-sim", &[]),
    },
    // Everything that can happen in the quick configurations, by two searches.
    Step {
        name: "model",
        run: |root| cargo(root, "lab check --quick", &[]),
    },
    Step {
        name: "tests",
        run: tests,
    },
    // A program of before as a member beside that of today.
    Step {
        name: "older",
        run: older,
    },
    // Built, looked at, installed into a clean Debian, upgraded under a holder and purged.
    Step {
        name: "packages",
        run: packages,
    },
    // Debian under systemd, with the unit files that are shipped.
    Step {
        name: "machines",
        run: machines,
    },
    // The second says which page of the book has a stale table.
    Step {
        name: "documentation",
        run: |root| {
            let strict = ("RUSTDOCFLAGS", "-Dwarnings");
            cargo(root, "doc --workspace --no-deps", &[strict])?;
            cargo(root, "lab tables --check", &[])
        },
    },
    Step {
        name: "dependencies",
        run: dependencies,
    },
];

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    if wanted.iter().any(|w| w == "--list") {
        STEPS.iter().for_each(|s| println!("{}", s.name));
        return ExitCode::SUCCESS;
    }
    if wanted == ["--install"] {
        return match machine::install() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    if let Some(unknown) = wanted.iter().find(|w| STEPS.iter().all(|s| s.name != **w)) {
        eprintln!("there is no step `{unknown}`; `cargo verify --list` names them");
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut summary = Vec::new();
    let mut failed = false;
    let steps = STEPS
        .iter()
        .filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name));
    for step in steps {
        println!(
            "\n━━ {} {}",
            step.name,
            "━".repeat(70usize.saturating_sub(step.name.len()))
        );
        let start = Instant::now();
        let result = (step.run)(&root);
        summary.push((step.name, start.elapsed(), result));
        if let Some((_, _, Err(why))) = summary.last() {
            println!("{why}"); // in one stream, so in order
            failed = true;
            break;
        }
    }
    println!("\n━━ summary {}", "━".repeat(63));
    for (name, took, result) in &summary {
        println!("{}", line(name, *took, result));
    }
    if failed {
        let left = STEPS.len().saturating_sub(summary.len());
        if wanted.is_empty() && left > 0 {
            println!("{left} more not run");
        }
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn line(name: &str, took: Duration, result: &Result) -> String {
    let (word, note) = match result {
        Ok(StepEnd::Passed) => ("ok", ""),
        Ok(StepEnd::Skipped(why)) => ("NOT RUN", why.as_str()),
        Err(_) => ("FAILED", "see above"),
    };
    let line = format!("{name:15} {:7.1} s  {word:8} {note}", took.as_secs_f64());
    line.trim_end().to_owned()
}

/// Runs cargo, with its own output.
fn cargo(root: &Path, arguments: &str, vars: &[(&str, &str)]) -> Result {
    let set: String = vars
        .iter()
        .map(|(key, value)| format!("{key}={value} "))
        .collect();
    let shown = format!("{set}cargo {arguments}");
    println!("$ {shown}");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let status = Command::new(cargo)
        .args(arguments.split(' '))
        .envs(vars.iter().copied())
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo can't be started: {e}"))?;
    if status.success() {
        Ok(StepEnd::Passed)
    } else {
        Err(format!("`{shown}` failed"))
    }
}

/// Virtual machines: only root can make their root file system and taps.
fn machines(root: &Path) -> Result {
    if is_root() {
        return cargo(root, "lab vms", &[]);
    }
    let why = "virtual machines need root: sudo target/release/onehold-lab vms";
    println!("{why}");
    Ok(StepEnd::Skipped(why.to_owned()))
}

/// All tests. Those on this machine's kernel are for root: of the machine, else of a user
/// namespace.
fn tests(root: &Path) -> Result {
    const WORDS: &str = "test --workspace --no-fail-fast";
    if is_root() {
        return cargo(root, WORDS, &[]);
    }
    let shown = format!("unshare --user --map-root-user cargo {WORDS}");
    println!("$ {shown}");
    let status = Command::new("unshare")
        .args(shown.split(' ').skip(1))
        .current_dir(root)
        .status()
        .map_err(|e| format!("unshare can't be started: {e}"))?;
    if status.success() {
        Ok(StepEnd::Passed)
    } else {
        Err(format!("`{shown}` failed"))
    }
}

/// A cluster of two programs; the one of before comes from the history, which a shallow clone has not.
fn older(root: &Path) -> Result {
    let commit = repo::read(root, Path::new("tests/older"))?;
    let commit = commit.trim();
    let object = format!("{commit}^{{commit}}");
    let found = Command::new("git")
        .args(["cat-file", "-e", &object])
        .current_dir(root)
        .output();
    if !found.is_ok_and(|found| found.status.success()) {
        let why = format!("commit {commit} is not here: git fetch --unshallow, in a clone");
        println!("{why}");
        return Ok(StepEnd::Skipped(why));
    }
    cargo(
        root,
        "test -p onehold-tests --test older -- --ignored --test-threads 1",
        &[],
    )
}

/// The packages; the tools take minutes to build, so they are not required.
fn packages(root: &Path) -> Result {
    let there =
        |tool: &str| find(tool).is_some() || root.join("target/tools/bin").join(tool).exists();
    if !["cargo-deb", "cargo-generate-rpm"].into_iter().all(there) {
        let why = "cargo-deb and cargo-generate-rpm are not installed: cargo packages tools";
        println!("{why}");
        return Ok(StepEnd::Skipped(why.to_owned()));
    }
    cargo(
        root,
        "test -p onehold-tests --test packages -- --ignored",
        &[],
    )
}

/// Licences and advisories; the tool is large, so it is not required.
fn dependencies(root: &Path) -> Result {
    if find("cargo-deny").is_none() {
        let why = "cargo-deny is not installed: cargo install cargo-deny --locked";
        println!("{why}");
        return Ok(StepEnd::Skipped(why.to_owned()));
    }
    cargo(root, "deny --workspace check licenses bans sources", &[])?;
    // The advisories come from the network; without it they are not known, which is not a failure.
    match cargo(root, "deny --workspace check advisories", &[]) {
        Err(_) if !advisories_can_be_had(root) => {
            let why =
                "advisories: the database can't be fetched from here; run this step where it can";
            println!("{why}");
            Ok(StepEnd::Skipped(why.to_owned()))
        }
        result => result,
    }
}

fn advisories_can_be_had(root: &Path) -> bool {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let fetched = Command::new(cargo)
        .args(["deny", "fetch", "db"])
        .current_dir(root)
        .output();
    fetched.is_ok_and(|o| o.status.success())
}

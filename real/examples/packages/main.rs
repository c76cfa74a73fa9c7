//! `cargo packages`: what is shipped, made from what is built.
//!
//! `files` writes manual pages, completions, units and a changelog to `target/packaging`, all from
//! the sources; nothing of it is kept. `deb` and `rpm` do so and have `cargo-deb` and
//! `cargo-generate-rpm` build the package that `real/Cargo.toml` describes, in `target/packages`;
//! `image` makes what a container needs. None of it is a part of the shipped binary.

mod manual;
mod units;

use clap::Parser;
use clap_complete::Shell;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(
    name = "cargo packages",
    bin_name = "cargo packages",
    about = "Makes what is shipped"
)]
enum Packages {
    /// Write manual pages, completions and units to target/packaging
    Files,
    /// Build target/packages/onehold_*.deb; what follows goes to cargo-deb
    Deb(More),
    /// Build target/packages/onehold-*.rpm; what follows goes to cargo-generate-rpm
    Rpm(More),
    /// Build a static binary, and put it and the Containerfile into target/packaging/image
    Image(More),
    /// Install cargo-deb and cargo-generate-rpm into target/tools (ten minutes, once)
    Tools,
}

#[derive(clap::Args)]
struct More {
    /// Package what was built before
    #[arg(long)]
    no_build: bool,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

/// Of the static binary.
const MUSL: &str = "x86_64-unknown-linux-musl";

fn main() -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()?;
    let out = root.join("target/packaging");
    let build = |more: &More, target: &[&str]| match more.no_build {
        true => Ok(()),
        false => cargo(
            &root,
            &[&["build", "--release", "-p", "onehold"], target].concat(),
        ),
    };
    // cargo-deb and cargo-generate-rpm write into a directory, or to a file that is named.
    let packages = root.join("target/packages").join("");
    let words = |more: &More| match more.more.iter().any(|word| word == "-o") {
        true => more.more.clone(),
        false => [
            &more.more[..],
            &["-o".to_owned(), packages.display().to_string()],
        ]
        .concat(),
    };
    match Packages::parse() {
        Packages::Files => files(&root, &out),
        Packages::Deb(more) => {
            files(&root, &out)?;
            build(&more, &[])?;
            tool(
                &root,
                &["deb", "-p", "onehold", "--no-build"],
                &words(&more),
            )
        }
        Packages::Rpm(more) => {
            files(&root, &out)?;
            build(&more, &[])?;
            tool(&root, &["generate-rpm", "-p", "real"], &words(&more))
        }
        Packages::Image(more) => {
            build(&more, &["--target", MUSL])?;
            let image = out.join("image");
            fs::create_dir_all(&image)?;
            let binary = root.join("target").join(MUSL).join("release/onehold");
            fs::copy(&binary, image.join("onehold"))
                .map_err(|e| format!("{}: {e}", binary.display()))?;
            fs::copy(
                root.join("real/packaging/Containerfile"),
                image.join("Containerfile"),
            )?;
            println!("podman build -t onehold {}", image.display());
            Ok(())
        }
        Packages::Tools => {
            let tools = root.join("target/tools");
            let tools = tools.to_str().ok_or("the path is not UTF-8")?;
            let words = "install --locked cargo-deb cargo-generate-rpm --target-dir target/tools/build --root";
            // Their own profiles take twice as long to build, and save a second of each use.
            let fast = [
                "lto=false",
                "opt-level=1",
                "codegen-units=16",
                "debug=false",
            ];
            let fast: Vec<String> = fast
                .iter()
                .map(|set| format!("profile.release.{set}"))
                .collect();
            let set = fast.iter().flat_map(|set| ["--config", set]);
            let words: Vec<&str> = words.split(' ').chain([tools]).chain(set).collect();
            cargo(&root, &words)
        }
    }
}

/// All that is made from the sources.
fn files(root: &Path, out: &Path) -> Result {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    let directory = |name: &str| -> Result<PathBuf> {
        let path = out.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    };
    let command = onehold::cli::command();
    clap_mangen::generate_to(command.clone(), directory("man1")?)?;
    fs::write(
        directory("man5")?.join("onehold.toml.5"),
        manual::of_the_file()?,
    )?;
    let completions = directory("completions")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "onehold", &completions)?;
    }
    let units = directory("units")?;
    for (name, text) in units::templates(&root.join("real/packaging"))? {
        fs::write(units.join(name), text)?;
    }
    fs::write(out.join("changelog"), changelog(root))?;
    println!("{}: written", out.display());
    Ok(())
}

/// Debian wants one of its own form.
fn changelog(root: &Path) -> String {
    let mut ask = Command::new("git");
    ask.args(["log", "-1", "--format=%cD"]).current_dir(root);
    // Without a repository: no date is invented.
    let date = ask.output().ok().filter(|said| said.status.success());
    let date = date.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
    let date = date.unwrap_or_else(|| "Thu, 01 Jan 1970 00:00:00 +0000".to_owned());
    format!(
        "onehold ({}-1) unstable; urgency=medium\n\n  * What has changed: CHANGELOG.md.\n\n -- {}  {date}\n",
        env!("CARGO_PKG_VERSION"),
        "Onehold <onehold@example.org>",
    )
}

fn cargo(root: &Path, words: &[&str]) -> Result {
    run(Command::new(env!("CARGO")).args(words).current_dir(root))
}

/// A tool of cargo's, installed or in target/tools.
fn tool(root: &Path, words: &[&str], more: &[String]) -> Result {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = [root.join("target/tools/bin")];
    let path = std::env::join_paths(places.into_iter().chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(words)
        .args(more)
        .current_dir(root)
        .env("PATH", path);
    let tool = format!("cargo-{}", words.first().unwrap_or(&""));
    run(&mut command).map_err(|e| {
        format!("{e}; is {tool} there? `cargo packages tools` installs it into target/tools").into()
    })
}

fn run(command: &mut Command) -> Result {
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}").into()),
    }
}

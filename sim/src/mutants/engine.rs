//! Runs the mutated copy under one mutant: its model checker, its sweep, or the core's own tests.

use super::copy::VARIABLE;
use super::list::{SWEEP, TESTS};
use crate::error::{Context, Result, err};
use crate::simulator::sweep::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The tests that carry the rules' numbers, and the core's unit tests.
const TEST_TARGETS: [&str; 3] = ["--lib", "--test", "rules"];
/// Some mutants make a test run forever.
const TEST_LIMIT: Duration = Duration::from_secs(60);
/// How often a process is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(10);

/// What came of one configuration, or of the tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialResult {
    /// Everything was as it should be.
    Passed,
    /// A property was broken, a test failed, or the program panicked.
    Broke {
        /// Which one.
        property: String,
        /// The length of the shortest trace that shows it.
        steps: Option<u64>,
    },
    /// It did not end in time.
    OutOfTime,
}

/// One attempt to notice a mutant.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The configuration, [`TESTS`], or [`SWEEP`] with its seeds.
    pub configuration: String,
    /// What came of it.
    pub result: TrialResult,
    /// How many states were looked at, in all configurations of that name; of a sweep, how many
    /// seeds.
    pub states: Option<u64>,
    /// Whether those were all states.
    pub exhaustive: bool,
    /// How long it took.
    pub seconds: f64,
}

/// What is read of the checker's `--json`.
#[derive(Deserialize)]
struct Checked {
    configurations: Vec<CheckedConfiguration>,
}

impl Checked {
    fn of_sweep(report: Report) -> Self {
        let broken = |property: String| CheckedProperty {
            name: property,
            verdict: "broken".to_owned(),
            steps: None,
        };
        let first = report.violations.into_iter().next();
        Self {
            configurations: vec![CheckedConfiguration {
                exhaustive: false,
                unique_states: report.seeds,
                properties: (first.into_iter())
                    .map(|f| broken(f.violation.property.to_string()))
                    .collect(),
            }],
        }
    }
}

#[derive(Deserialize)]
struct CheckedConfiguration {
    #[serde(default)]
    exhaustive: bool,
    unique_states: u64,
    #[serde(default)]
    properties: Vec<CheckedProperty>,
}

#[derive(Deserialize)]
struct CheckedProperty {
    name: String,
    verdict: String,
    steps: Option<u64>,
}

/// The built copy.
pub(super) struct Engine<'a> {
    checker: PathBuf,
    tests: Vec<PathBuf>,
    /// Where the tests look for their files.
    core: PathBuf,
    /// Where logs and reports of single runs stay.
    runs: PathBuf,
    limit: Duration,
    stop: &'a AtomicBool,
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> Engine<'a> {
    /// Builds the copy that lies in `copy`, into `target`; its tests too if they are wanted.
    pub(super) fn build(
        copy: &Path,
        target: &Path,
        runs: PathBuf,
        with_tests: bool,
        limit: Duration,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let mut build = cargo(copy, target, "build");
        build.args(["--package", "onehold-sim", "--bin", "onehold-lab"]);
        let built = build.status().context(|| "running cargo")?;
        if !built.success() {
            return Err(err(format!(
                "cargo could not build the mutated copy in {}; its messages are above",
                copy.display()
            )));
        }
        let tests = if with_tests {
            build_tests(copy, target)?
        } else {
            Vec::new()
        };
        Ok(Self {
            checker: target.join("release/onehold-lab"),
            tests,
            core: copy.join("core"),
            runs,
            limit,
            stop,
        })
    }

    /// Runs one configuration, or [`TESTS`], under a mutant or none.
    pub(super) fn try_on(&self, mutant: Option<&str>, configuration: &str) -> Result<Trial> {
        let began = Instant::now();
        let place = self.runs.join(mutant.unwrap_or("none"));
        fs::create_dir_all(&place).context(|| place.display())?;
        let mut tried = if configuration == TESTS {
            self.run_tests(mutant, &place)?
        } else {
            self.run_checker(&self.checker, mutant, &place, configuration)?
        };
        tried.seconds = began.elapsed().as_secs_f64();
        Ok(tried)
    }

    /// Runs one configuration with another build of the checker, under no mutant.
    pub(super) fn try_with(&self, checker: &Path, configuration: &str) -> Result<Trial> {
        let place = self.runs.join("original");
        fs::create_dir_all(&place).context(|| place.display())?;
        self.run_checker(checker, None, &place, configuration)
    }

    fn run_checker(
        &self,
        checker: &Path,
        mutant: Option<&str>,
        place: &Path,
        configuration: &str,
    ) -> Result<Trial> {
        let json = place.join(format!("{configuration}.json"));
        let _ = fs::remove_file(&json); // an earlier run's
        let log = place.join(format!("{configuration}.log"));
        let mut command = Command::new(checker);
        match configuration.strip_prefix(SWEEP) {
            Some(seeds) => command.args(["sweep", "--jobs", "1", "--seeds", seeds]),
            None => command.args(["check", configuration]),
        };
        command.args(["--stop-at-first", "--json"]).arg(&json);
        let status = self.finish(command, mutant, &log, self.limit)?;
        let checked = fs::read_to_string(&json).ok();
        let checked = checked.and_then(|text| match configuration.starts_with(SWEEP) {
            true => serde_json::from_str(&text).ok().map(Checked::of_sweep),
            false => serde_json::from_str(&text).ok(),
        });
        let result = match status.map(|s| s.code()) {
            None => TrialResult::OutOfTime,
            Some(Some(0)) if checked.is_some() => TrialResult::Passed,
            Some(Some(1)) => broken(checked.as_ref()),
            Some(Some(101) | None) => TrialResult::Broke {
                property: "no panic".to_owned(),
                steps: None,
            },
            Some(Some(code)) => {
                return Err(err(format!(
                    "`check {configuration}` ended with status {code}; {} says:\n{}",
                    log.display(),
                    fs::read_to_string(&log).unwrap_or_default()
                )));
            }
        };
        let configurations = checked.map(|c| c.configurations);
        let sum = |all: &[CheckedConfiguration]| all.iter().map(|c| c.unique_states).sum();
        let all = |all: &[CheckedConfiguration]| all.iter().all(|c| c.exhaustive);
        Ok(Trial {
            configuration: configuration.to_owned(),
            result,
            states: configurations.as_deref().map(sum),
            exhaustive: configurations.as_deref().is_some_and(all),
            seconds: 0.0,
        })
    }

    fn run_tests(&self, mutant: Option<&str>, place: &Path) -> Result<Trial> {
        let mut result = TrialResult::Passed;
        for (n, test) in self.tests.iter().enumerate() {
            let log = place.join(format!("{TESTS}-{n}.log"));
            let mut command = Command::new(test);
            command.arg("--test-threads=1").current_dir(&self.core);
            let status = self.finish(command, mutant, &log, self.limit.min(TEST_LIMIT))?;
            if status.is_some_and(|s| s.success()) {
                continue;
            }
            let text = fs::read(&log).unwrap_or_default();
            let property = failed_test(&String::from_utf8_lossy(&text));
            result = TrialResult::Broke {
                property: property.unwrap_or_else(|| "a test".to_owned()),
                steps: None,
            };
            break;
        }
        Ok(Trial {
            configuration: TESTS.to_owned(),
            result,
            states: None,
            exhaustive: true,
            seconds: 0.0,
        })
    }

    /// Runs it to its end; `None` if that did not come in time.
    fn finish(
        &self,
        mut command: Command,
        mutant: Option<&str>,
        log: &Path,
        limit: Duration,
    ) -> Result<Option<ExitStatus>> {
        match mutant {
            Some(name) => command.env(VARIABLE, name),
            None => command.env_remove(VARIABLE),
        };
        let file = File::create(log).context(|| log.display())?;
        let errors = file.try_clone().context(|| log.display())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let program = command.get_program().to_owned();
        let child = command.spawn().context(|| program.display())?;
        let mut running = Running(child);
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(status) = running.0.try_wait().context(|| program.display())? {
                return Ok(Some(status));
            }
            if self.stop.load(Ordering::Relaxed) {
                return Err(err("interrupted"));
            }
            sleep(GLANCE);
        }
        Ok(None)
    }
}

fn cargo(copy: &Path, target: &Path, what: &str) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(copy).stdin(Stdio::null());
    command.args([what, "--quiet", "--release", "--target-dir"]);
    command.arg(target);
    command
}

/// The test binaries that cargo says it has built.
fn build_tests(copy: &Path, target: &Path) -> Result<Vec<PathBuf>> {
    let mut command = cargo(copy, target, "test");
    command.args(["--package", "onehold-core", "--no-run"]);
    command.args(TEST_TARGETS).arg("--message-format=json");
    command.stderr(Stdio::inherit());
    let output = command.output().context(|| "running cargo")?;
    if !output.status.success() {
        return Err(err("cargo could not build the mutated copy's tests"));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let messages = messages
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok());
    let tests = messages.filter_map(|m: Value| {
        let is_test = m.get("profile")?.get("test")?.as_bool()?;
        let file = m.get("executable")?.as_str()?;
        is_test.then(|| PathBuf::from(file))
    });
    Ok(tests.collect())
}

/// The property that a checker's report says is broken.
fn broken(checked: Option<&Checked>) -> TrialResult {
    let properties = checked
        .into_iter()
        .flat_map(|c| &c.configurations)
        .flat_map(|c| &c.properties);
    let broken = properties
        .filter(|p| p.verdict == "broken")
        .min_by_key(|p| p.steps.unwrap_or(u64::MAX));
    TrialResult::Broke {
        property: broken.map_or_else(|| "a property".to_owned(), |p| p.name.clone()),
        steps: broken.and_then(|p| p.steps),
    }
}

/// The first test that failed, or that did not end.
fn failed_test(log: &str) -> Option<String> {
    let ends = |line: &&str| line.starts_with("test ") && !line.ends_with("... ok");
    let tests = log.lines().filter(ends);
    let names = tests.filter_map(|l| l.strip_prefix("test ")?.split_whitespace().next());
    names.filter(|n| *n != "result:").map(str::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failed_test_is_found_in_a_log() {
        let log = "running 2 tests\ntest r1_x ... ok\ntest r2_y ... FAILED\n\ntest result: FAILED.";
        assert_eq!(failed_test(log).unwrap(), "r2_y");
        assert_eq!(
            failed_test("test r1_x ... ok\ntest r3_z ... ").unwrap(),
            "r3_z"
        );
        assert_eq!(failed_test("test result: ok."), None);
    }

    #[test]
    fn the_broken_property_with_the_shortest_trace_is_the_one() {
        let text = r#"{"configurations":[{"name":"c","exhaustive":false,"unique_states":9,
            "transitions":1,"depth":1,"seconds":0.1,"properties":[
            {"name":"one holder","verdict":"broken","steps":12},
            {"name":"somebody holds","verdict":"holds","steps":null}]}]}"#;
        let checked: Checked = serde_json::from_str(text).unwrap();
        let result = broken(Some(&checked));
        let property = "one holder".to_owned();
        assert_eq!(
            result,
            TrialResult::Broke {
                property,
                steps: Some(12)
            }
        );
    }

    /// A checker that breaks a property under one mutant, and fails under another.
    const CHECKER: &str = r#"#!/bin/sh
case "$ONEHOLD_MUTANT" in
    odd) echo "what?"; exit 2 ;;
    slow) exec sleep 60 ;;
    panics) exit 101 ;;
    bad) verdict=broken steps=3 status=1 ;;
    *) verdict=holds steps=null status=0 ;;
esac
echo '{"configurations":[{"name":"'$2'","exhaustive":true,"unique_states":7,"properties":[{"name":"S1","verdict":"'$verdict'","steps":'$steps'}]}]}' > "$5"
exit $status
"#;

    #[test]
    fn a_checker_is_run_under_each_mutant_and_understood() {
        use std::os::unix::fs::PermissionsExt as _;
        let runs = env::temp_dir().join(format!("onehold-mutants-{}", std::process::id()));
        fs::create_dir_all(&runs).unwrap();
        let checker = runs.join("checker");
        fs::write(&checker, CHECKER).unwrap();
        fs::set_permissions(&checker, fs::Permissions::from_mode(0o755)).unwrap();
        let stop = AtomicBool::new(false);
        let engine = Engine {
            checker,
            tests: Vec::new(),
            core: runs.clone(),
            runs: runs.clone(),
            limit: Duration::from_secs(2),
            stop: &stop,
        };
        let broke = |property: &str, steps| TrialResult::Broke {
            property: property.to_owned(),
            steps,
        };
        for (mutant, result) in [
            (None, TrialResult::Passed),
            (Some("bad"), broke("S1", Some(3))),
            (Some("panics"), broke("no panic", None)),
            (Some("slow"), TrialResult::OutOfTime),
        ] {
            assert_eq!(engine.try_on(mutant, "c").unwrap().result, result);
        }
        assert_eq!(engine.try_on(None, "c").unwrap().states, Some(7));
        let wrong = engine.try_on(Some("odd"), "c").unwrap_err().to_string();
        assert!(wrong.contains("status 2") && wrong.contains("what?"));
        fs::remove_dir_all(&runs).unwrap();
    }
}

//! `onehold-lab tables`: the tables of the book that follow from something else, each written
//! between its two marks. Nothing is run for that: what runs have found is in `sim/pinned.json`,
//! `sim/verdicts.json` and `sim/sweep.json`.

use crate::error::{Context, Result, err};
use crate::model::configs;
use crate::model::report::number;
use crate::mutants::list::{self, Kind, Mutant};
use crate::mutants::verdicts::{self, Noticed, Verdict};
use crate::simulator::command::all as scenarios;
use crate::simulator::sweep::report::Report;
use clap::Args;
use onehold::config_file::reference;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What to do with them.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Write nothing: exit status 1 if a page is stale.
    #[arg(long)]
    pub check: bool,
}

/// Where a table is, what it is called there, and what makes it.
struct Generated {
    page: &'static str,
    name: &'static str,
    text: fn(&Path) -> Result<String>,
}

/// What `cargo lab sweep --json` wrote of the seeds that the book speaks of.
const SWEPT: &str = "sim/sweep.json";

const PROTOCOL: &str = "docs/src/protocol.md";

/// All tables.
const TABLES: [Generated; 7] = [
    Generated {
        page: "docs/src/configuration.md",
        name: "keys",
        text: keys,
    },
    Generated {
        page: "docs/src/model.md",
        name: "configurations",
        text: configurations,
    },
    Generated {
        page: "docs/src/model.md",
        name: "mutants",
        text: mutants,
    },
    Generated {
        page: "docs/src/sweep.md",
        name: "seeds",
        text: seeds,
    },
    Generated {
        page: "docs/src/sweep.md",
        name: "mutants by seeds",
        text: mutants_by_seeds,
    },
    Generated {
        page: "docs/src/simulator.md",
        name: "scenarios",
        text: scenario_files,
    },
    Generated {
        page: "docs/src/rules.md",
        name: "tests of the rules",
        text: tests_by_rule,
    },
];

/// Writes all tables, or says which pages are stale. `Ok(true)` if none is, or all are written.
///
/// # Errors
/// If a source can't be read, or a page has not the marks that it should have: names both.
pub fn run(options: &Options) -> Result<bool> {
    let workspace = list::workspace()?;
    let stale = stale(&workspace)?;
    for (page, text) in &stale {
        if options.check {
            println!("{page} has a stale table: run `cargo lab tables`");
        } else {
            fs::write(workspace.join(page), text).context(|| page)?;
            println!("{page}: written");
        }
    }
    Ok(!options.check || stale.is_empty())
}

/// The pages that are not as they should be, with the text that they should have.
fn stale(workspace: &Path) -> Result<Vec<(&'static str, String)>> {
    let mut stale = Vec::new();
    let pages: BTreeSet<&'static str> = TABLES.iter().map(|t| t.page).collect();
    for page in pages {
        let was = fs::read_to_string(workspace.join(page)).context(|| page)?;
        let mut is = was.clone();
        let mut names = BTreeSet::new();
        for table in TABLES.iter().filter(|t| t.page == page) {
            is = put(&is, table.name, &(table.text)(workspace)?).context(|| page)?;
            names.insert(table.name);
        }
        let unknown = marks(&is).find(|name| !names.contains(name));
        if let Some(name) = unknown {
            return Err(err(format!(
                "{page}: nothing writes the table `{name}`: take its marks away"
            )));
        }
        if is != was {
            stale.push((page, is));
        }
    }
    Ok(stale)
}

const MARK: &str = "<!-- `cargo lab tables` writes: ";

/// The page with `table` between the marks of that name.
fn put(page: &str, name: &str, table: &str) -> Result<String> {
    let first = format!("{MARK}{name} -->\n");
    let last = format!("<!-- end: {name} -->\n");
    let missing = |mark: &str| {
        let mark = mark.trim_end();
        err(format!(
            "the mark `{mark}` is missing: put it on a line of its own"
        ))
    };
    let (before, rest) = page.split_once(&first).ok_or_else(|| missing(&first))?;
    let (_, after) = rest.split_once(&last).ok_or_else(|| missing(&last))?;
    Ok([before, &first, table, &last, after].concat())
}

/// The names of all tables that a page has marks for.
fn marks(page: &str) -> impl Iterator<Item = &str> {
    let rest = page.split(MARK).skip(1);
    rest.filter_map(|rest| rest.split_once(" -->").map(|(name, _)| name))
}

/// `| a | b |`
fn row<const N: usize>(cells: [&str; N]) -> String {
    // A `|` would be another cell.
    let cells = cells.map(|c| c.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

/// Every key of the configuration file, table by table.
fn keys(_: &Path) -> Result<String> {
    let mut text = String::new();
    for table in reference::TABLES {
        let _ = write!(text, "\n## `[{}]`\n\n{}\n\n", table.name, table.what);
        text += KEYS;
        for key in table.keys {
            text += &key_row(key, &key.change(table).to_string());
        }
    }
    text += "\n## A witness of several clusters\n\nIts file has `[log]`, `[metrics]` and these, at its top:\n\n";
    text += KEYS;
    for key in reference::WITNESS {
        text += &key_row(key, "restart");
    }
    Ok(text + "\n")
}

const KEYS: &str =
    "| key, for example | value | left out | what it is | changed by |\n|---|---|---|---|---|\n";

fn key_row(key: &reference::Key, change: &str) -> String {
    let example = format!("`{} = {}`", key.name, key.example);
    let default = match key.default {
        reference::Default::Refused => "refused".to_owned(),
        reference::Default::Value(value) => format!("`{value}`"),
        reference::Default::Words(words) => words.to_owned(),
    };
    // Words of the file are set as such.
    let value = match key.value.starts_with('"') {
        true => format!("`{}`", key.value.replace(", ", "`, `")),
        false => key.value.to_owned(),
    };
    row([&example, &value, &default, key.what, change])
}

fn configurations(_: &Path) -> Result<String> {
    let pinned = configs::pinned()?;
    let mut text = row([
        "configuration",
        "set",
        "what may happen",
        "promises",
        "worlds",
    ]);
    text += "|---|---|---|---|--:|\n";
    for c in configs::all() {
        let worlds = pinned.get(c.name).map(|n| number(*n)).unwrap_or_default();
        let name = format!("`{}`", c.name);
        let set = c.set.text();
        text += &row([&name, set, c.says, &c.promises().join(" "), &worlds]);
    }
    Ok(text)
}

fn mutants(workspace: &Path) -> Result<String> {
    let mutants = list::read(workspace)?;
    let kept = verdicts::read(workspace, &mutants)?;
    let nobody = Noticed::default();
    let mut text = row([
        "rule",
        "mutant",
        "broken so",
        "kind",
        "by a walk",
        "by a test",
    ]);
    text += "|---|---|---|---|---|---|\n";
    for m in &mutants {
        let noticed = kept.get(&m.name).unwrap_or(&nobody);
        let walk = noticed.walk.as_ref().map(|v| by(v, walk));
        let test = noticed.tests.as_ref();
        let test = test.map(|v| by(v, |test, _| format!("`{test}`")));
        let (walk, test) = (walk.unwrap_or_default(), test.unwrap_or_default());
        text += &row([&m.rule, &name(m), &m.breaks, m.kind.name(), &walk, &test]);
    }
    Ok(text)
}

/// What noticed it; else where it was looked for.
fn by(verdict: &Verdict, noticed: impl Fn(&str, &Verdict) -> String) -> String {
    match (&verdict.by, &verdict.place) {
        (Some(by), _) => noticed(by, verdict),
        (None, Some(place)) => format!("not in {place}"),
        (None, None) => "none".to_owned(),
    }
}

/// `S3 in majority-3, 10 steps, 20,432 worlds`
fn walk(property: &str, verdict: &Verdict) -> String {
    let mut text = property.to_owned();
    if let Some(place) = &verdict.place {
        let _ = write!(text, " in {place}");
    }
    if let Some(steps) = verdict.steps {
        let _ = write!(text, ", {steps} steps");
    }
    if let Some(worlds) = verdict.looked {
        let _ = write!(text, ", {} worlds", number(worlds));
    }
    text
}

fn mutants_by_seeds(workspace: &Path) -> Result<String> {
    let mutants = list::read(workspace)?;
    let kept = verdicts::read(workspace, &mutants)?;
    let mut text = row(["rule", "mutant", "kind", "noticed by", "seeds"]);
    text += "|---|---|---|---|--:|\n";
    let swept = |m: &&Mutant| matches!(m.kind, Kind::Safety | Kind::Liveness);
    for m in mutants.iter().filter(swept) {
        let Some(seeds) = kept.get(&m.name).and_then(|n| n.seeds.as_ref()) else {
            text += &row([&m.rule, &name(m), m.kind.name(), "not swept yet", ""]);
            continue;
        };
        let noticed = seeds.by.as_deref().unwrap_or("");
        let looked = seeds.looked.map(number).unwrap_or_default();
        text += &row([&m.rule, &name(m), m.kind.name(), noticed, &looked]);
    }
    Ok(text)
}

fn seeds(workspace: &Path) -> Result<String> {
    let text = fs::read_to_string(workspace.join(SWEPT)).context(|| SWEPT)?;
    let report: Report = serde_json::from_str(&text).context(|| SWEPT)?;
    let broken = match report.violations.len() {
        0 => "no promise was broken".to_owned(),
        n => format!("{n} broke a promise"),
    };
    let mut text = format!(
        "{} seeds, {broken}; {:.0} hours were simulated, and everything was settled within {:.0} % of the\n\
         bound. What was seen:\n\n",
        number(report.seeds),
        report.simulated_s / 3600.0,
        report.settled_percent,
    );
    text += &row(["", "times", "in seeds", "first seed"]);
    text += "|---|--:|--:|--:|\n";
    for (name, often) in &report.coverage {
        let first = often.first.map_or("never".to_owned(), |s| s.to_string());
        text += &row([name, &number(often.times), &number(often.seeds), &first]);
    }
    Ok(text)
}

fn name(m: &Mutant) -> String {
    format!("`{}`", m.name)
}

fn scenario_files(_: &Path) -> Result<String> {
    let mut text = row(["scenario", "what happens"]) + "|---|---|\n";
    for s in scenarios()? {
        let slow = if s.slow { " (slow: by name only)" } else { "" };
        let name = format!("`{}`", s.name);
        text += &row([&name, &format!("{}{slow}", s.title)]);
    }
    Ok(text)
}

/// The tests of each rule that the protocol has.
fn tests_by_rule(workspace: &Path) -> Result<String> {
    let protocol = fs::read_to_string(workspace.join(PROTOCOL)).context(|| PROTOCOL)?;
    let tests = tests_of_rules(&workspace.join("core"))?;
    Ok(rules(&protocol)
        .map(|rule| tests_of(rule, &tests))
        .collect())
}

/// `R-4 …` of each heading `### R-4 …`.
fn rules(protocol: &str) -> impl Iterator<Item = &str> {
    let heads = protocol.lines().filter_map(|l| l.strip_prefix("### "));
    heads.filter(|head| head.starts_with("R-"))
}

/// The names of all functions `r4_…` of a package.
///
/// # Errors
/// If a source can't be read.
fn tests_of_rules(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for part in ["src", "tests"] {
        let mut folders = vec![folder.join(part)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).context(|| folder.display())? {
                let path = entry.context(|| folder.display())?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    let text = fs::read_to_string(&path).context(|| path.display())?;
                    found.extend(functions_of_rules(&text));
                }
            }
        }
    }
    Ok(found)
}

fn functions_of_rules(source: &str) -> impl Iterator<Item = String> {
    let functions = source.lines().filter_map(|l| l.trim().strip_prefix("fn r"));
    let names = functions.filter_map(|f| f.split('(').next());
    let numbered = names.filter(|name| {
        let rest = name.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.len() < name.len() && rest.starts_with('_')
    });
    numbered.map(|name| format!("r{name}"))
}

/// The rule, and a line for each of its tests.
fn tests_of(rule: &str, tests: &BTreeSet<String>) -> String {
    let number = rule.split_whitespace().next().unwrap_or(rule);
    let of = format!("{}_", number.replace("R-", "r"));
    let of = tests.iter().filter(|test| test.starts_with(&of));
    let of: String = of.map(|test| format!("- `{test}`\n")).collect();
    format!("\n## {rule}\n\n{of}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_between_its_marks_and_nowhere_else() {
        let page = format!("a\n{MARK}x -->\nold\n<!-- end: x -->\nb\n");
        let new = put(&page, "x", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(put(&new, "x", "new\n").unwrap(), new);
        assert_eq!(marks(&new).collect::<Vec<_>>(), ["x"]);
        let e = put("a\n", "x", "new\n").unwrap_err().to_string();
        assert!(e.contains("writes: x -->` is missing"), "{e}");
    }

    #[test]
    fn a_cell_stays_one() {
        assert_eq!(row(["a|b", "c"]), "| a\\|b | c |\n");
    }

    #[test]
    fn tests_are_listed_under_their_own_rule() {
        let source = "    #[test]\n    fn r4_a_b() {\nfn rest_of_it() {\nfn r_4() {}\n";
        assert_eq!(functions_of_rules(source).collect::<Vec<_>>(), ["r4_a_b"]);
        let names = ["r1_a", "r1_b", "r11_c"].map(str::to_owned);
        let all = BTreeSet::from(names);
        let of = tests_of("R-1 Identity", &all);
        assert_eq!(of, "\n## R-1 Identity\n\n- `r1_a`\n- `r1_b`\n");
        let page = "### R-1 Identity\n### Format\n## R-2\n";
        assert_eq!(rules(page).collect::<Vec<_>>(), ["R-1 Identity"]);
    }
}

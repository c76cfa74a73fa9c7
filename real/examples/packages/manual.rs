//! `onehold.toml(5)`.

use super::Result;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use onehold::config_file::reference::{Default, Key, TABLES, WITNESS};

/// The page.
pub(super) fn of_the_file() -> Result<Vec<u8>> {
    let mut page = Roff::new();
    let version = concat!("Onehold ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["onehold.toml", "5", "", version]);
    page.control("SH", ["NAME"]);
    page.text([roman("onehold.toml - the configuration file of onehold")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([roman("/etc/onehold/onehold.toml")]);
    page.control("SH", ["DESCRIPTION"]);
    paragraph(
        &mut page,
        "One file in TOML, the same on every member. A key that is not here is refused; `onehold check` \
        says what follows from a file, or everything that is wrong with it. A length of time is text with its unit: \
        `\"250us\"`, `\"100ms\"`, `\"1.5s\"`, `\"5min\"`.",
    );
    paragraph(
        &mut page,
        "Each key says how a running cluster is given another value. `reload`: systemctl reload onehold. \
        `reload the agent`: systemctl reload onehold-agent, on both candidates. `restart`: systemctl restart onehold, on this \
        member. `all members`: stop all, put the new file on all, start all.",
    );
    for table in TABLES {
        page.control("SH", [format!("[{}]", table.name).as_str()]);
        paragraph(&mut page, table.what);
        for key in table.keys {
            row(&mut page, key, &key.change(table).to_string());
        }
    }
    page.control("SH", ["A WITNESS OF SEVERAL CLUSTERS"]);
    paragraph(&mut page, "Its file has `[log]` and these, at its top.");
    for key in WITNESS {
        row(&mut page, key, "restart");
    }
    page.control("SH", ["FILES"]);
    paragraph(&mut page, "/usr/share/doc/onehold/examples/onehold.toml");
    page.control("SH", ["SEE ALSO"]);
    page.text([
        bold("onehold"),
        roman("(1), "),
        bold("onehold-check"),
        roman("(1)"),
    ]);
    let mut text = Vec::new();
    page.to_writer(&mut text)?;
    Ok(text)
}

fn row(page: &mut Roff, key: &Key, change: &str) {
    page.control("TP", []);
    page.text([bold(format!("{} = {}", key.name, key.example))]);
    page.text(words(&format!("{}.", key.what)));
    page.control("br", []);
    let default = match key.default {
        Default::Refused => "It must be there".to_owned(),
        Default::Value(value) => format!("Left out: {value}"),
        Default::Words(words) => format!("Left out: {words}"),
    };
    page.text(words(&format!(
        "Value: {}. {default}. Changed by: {change}.",
        key.value
    )));
}

fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text(words(text));
}

/// What stands between backticks is bold.
fn words(text: &str) -> Vec<Inline> {
    let parts = text
        .split('`')
        .enumerate()
        .filter(|(_, part)| !part.is_empty());
    parts
        .map(|(n, part)| match n % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

//! What the file of a new cluster says.

use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its own addresses.
    pub addresses: Vec<String>,
}

impl FromStr for Member {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: write NAME=ADDRESS, such as lb0=10.0.0.10");
        let (name, addresses) = text.split_once('=').ok_or_else(wrong)?;
        let addresses: Vec<String> = addresses.split(',').map(|a| a.trim().to_owned()).collect();
        let all = || addresses.iter().map(String::as_str).chain([name.trim()]);
        if all().any(str::is_empty) || !all().all(is_plain) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.trim().to_owned(),
            addresses,
        })
    }
}

/// Whether a text can be written in the file as it is.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || ['"', '\\', '=', ','].contains(&c))
}

/// A new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub cluster: String,
    /// Its candidates; the first is preferred.
    pub candidates: Vec<Member>,
    /// Its witnesses.
    pub witnesses: Vec<Member>,
    /// The interface of every candidate; or of each, by its name.
    pub interfaces: Vec<(Option<String>, String)>,
    /// The name of its group.
    pub group: String,
    /// The floating addresses.
    pub addresses: Vec<String>,
}

impl Plan {
    /// The file.
    #[must_use]
    pub fn text(&self, secret: &Path) -> String {
        let mut out = String::from(
            "# One file, the same on every member. `onehold check` says what follows from it.\n\n[cluster]\n",
        );
        let _ = writeln!(out, "name = \"{}\"", self.cluster);
        let _ = writeln!(out, "secret_file = \"{}\"", secret.display());
        if self.witnesses.is_empty() {
            out.push_str("arbitration = \"survivor\"            # two machines alone\n");
        }
        for (n, member) in self.candidates.iter().enumerate() {
            let more = if n == 0 { "preferred = true\n" } else { "" };
            table(&mut out, member, more);
        }
        for member in &self.witnesses {
            table(&mut out, member, "witness = true\n");
        }
        let _ = writeln!(out, "\n[groups.{}]", key(&self.group));
        let _ = writeln!(out, "addresses = [{}]", list(&self.addresses));
        let _ = writeln!(out, "interface = {}", self.interface());
        out
    }

    fn interface(&self) -> String {
        match &self.interfaces[..] {
            [(None, all)] => format!("\"{all}\""),
            each => {
                let each = each.iter().map(|(member, interface)| {
                    format!(
                        "{} = \"{interface}\"",
                        key(member.as_deref().unwrap_or_default())
                    )
                });
                format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// The words by which `onehold init` would make the same.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = format!("onehold init --cluster {}", self.cluster);
        let members = |option: &str, all: &[Member]| {
            let each = all
                .iter()
                .map(|m| format!(" {option} {}={}", m.name, m.addresses.join(",")));
            each.collect::<String>()
        };
        words += &members("--member", &self.candidates);
        words += &members("--witness", &self.witnesses);
        for (member, interface) in &self.interfaces {
            words += " --interface ";
            if let Some(member) = member {
                words += &format!("{member}=");
            }
            words += interface;
        }
        for address in &self.addresses {
            words += &format!(" --address {address}");
        }
        if self.group != self.cluster {
            words += &format!(" --group {}", self.group);
        }
        words
    }
}

fn table(out: &mut String, member: &Member, more: &str) {
    let _ = writeln!(out, "\n[members.{}]", key(&member.name));
    let _ = writeln!(out, "addresses = [{}]", list(&member.addresses));
    out.push_str(more);
}

fn list(all: &[String]) -> String {
    let quoted: Vec<String> = all.iter().map(|text| format!("\"{text}\"")).collect();
    quoted.join(", ")
}

/// A name as a key of TOML.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => format!("\"{name}\""),
    }
}

//! Our file as it is put together, and its text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What nobody but the operator knows is written so: our own check refuses it.
pub(super) fn placeholder(what: &str) -> String {
    format!("<write {what} here>")
}

/// Whether something can be the name of a member, a group or a check.
pub(super) fn is_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(fine)
}

/// A name made of a text that may not be one.
pub(super) fn name_of(text: &str, otherwise: &str) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name: String = (text.chars())
        .map(|c| if fine(c) { c } else { '-' })
        .take(64)
        .collect();
    match name.chars().any(|c| c.is_ascii_alphanumeric()) {
        true => name,
        false => otherwise.to_owned(),
    }
}

/// A name that is not taken: the same, or with a number.
pub(super) fn unlike(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    let numbered = |n: u32| {
        let kept: String = name.chars().take(56).collect();
        format!("{kept}-{n}")
    };
    match is_taken(&name) {
        false => name.clone(),
        true => (2..)
            .map(numbered)
            .find(|n| !is_taken(n))
            .unwrap_or_default(),
    }
}

/// A value in our file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
    Number(u32),
}

/// An inline table: a check, a hook or a route.
pub(super) type Table = Vec<(&'static str, Value)>;

/// An interface, by member if they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interface {
    Same(String),
    ByMember(BTreeMap<String, String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) text: String,
    /// If it is not the group's.
    pub(super) interface: Option<Interface>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) table: Table,
    pub(super) interface: Option<Interface>,
}

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Which {
    Holding,
    Released,
    Changed,
}

impl Which {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Holding => "holding",
            Self::Released => "released",
            Self::Changed => "changed",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) interface: Option<Interface>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) preferred: Option<String>,
    pub(super) manual: bool,
    pub(super) delay: Option<String>,
    pub(super) checks: Vec<(String, Table)>,
    pub(super) hooks: BTreeMap<Which, Table>,
}

/// Our file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// Whose files these were.
    pub(super) of: &'static str,
    pub(super) cluster: String,
    pub(super) secret_file: String,
    pub(super) members: Vec<Member>,
    pub(super) groups: Vec<Group>,
}

impl Draft {
    /// The member that most groups prefer.
    fn preferred(&self) -> Option<&str> {
        let of = |name: &str| {
            let groups = self.groups.iter().filter_map(|g| g.preferred.as_deref());
            groups.filter(|preferred| *preferred == name).count()
        };
        let names = self.members.iter().rev().map(|m| m.name.as_str()); // the first of the best
        names
            .max_by_key(|name| of(name))
            .filter(|name| of(name) > 0)
    }

    /// The file's text.
    pub(super) fn to_toml(&self) -> String {
        let mut out = format!(
            "# Made of {} files by `onehold import`. The same file goes to every member.\n\
             # Read the report that came with it, then run `onehold check`.\n\n[cluster]\n",
            self.of
        );
        let mut line = |text: String| {
            out += &text;
            out.push('\n');
        };
        line(format!("name = {}", quoted(&self.cluster)));
        line(format!("secret_file = {}", quoted(&self.secret_file)));
        line(
            "arbitration = \"survivor\"   # as before: while the network between the two is cut, both hold.\n\
             # A third machine that only votes rules that out: take out the line above, and add\n\
             # [members.w] with its addresses and `witness = true`."
                .to_owned(),
        );
        let preferred = self.preferred();
        for Member { name, addresses } in &self.members {
            line(format!(
                "\n[members.{}]\naddresses = {}",
                key(name),
                list(addresses)
            ));
            if preferred == Some(name.as_str()) {
                line("preferred = true".to_owned());
            }
        }
        for group in &self.groups {
            let own = group.preferred.as_deref().filter(|p| Some(*p) != preferred);
            line(format!("\n{}", group.to_toml(own).trim_end()));
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }
}

impl Group {
    fn to_toml(&self, preferred: Option<&str>) -> String {
        let at = format!("groups.{}", key(&self.name));
        let mut out = format!("[{at}]\n");
        let mut line = |text: String| {
            out += &text;
            out.push('\n');
        };
        let addresses: Vec<String> = (self.addresses.iter())
            .map(|a| match &a.interface {
                None => quoted(&a.text),
                Some(interface) => format!(
                    "{{ address = {}, interface = {} }}",
                    quoted(&a.text),
                    interface.to_toml()
                ),
            })
            .collect();
        line(format!("addresses = {}", in_brackets(&addresses)));
        if let Some(interface) = &self.interface {
            line(format!("interface = {}", interface.to_toml()));
        }
        if !self.routes.is_empty() {
            let routes: Vec<String> = (self.routes.iter())
                .map(|route| {
                    let more = route.interface.as_ref();
                    let more = more.map(|i| format!("interface = {}", i.to_toml()));
                    table(&route.table, more)
                })
                .collect();
            line(format!("routes = {}", in_brackets(&routes)));
        }
        if let Some(preferred) = preferred {
            line(format!("preferred = {}", quoted(preferred)));
        }
        if self.manual {
            line("failback = \"manual\"".to_owned());
        }
        if let Some(delay) = &self.delay {
            line(format!("failback_delay = {}", quoted(delay)));
        }
        if !self.checks.is_empty() {
            line(format!("\n[{at}.checks]"));
        }
        for (name, check) in &self.checks {
            line(format!("{} = {}", key(name), table(check, None)));
        }
        if !self.hooks.is_empty() {
            line(format!("\n[{at}.hooks]"));
        }
        for (which, hook) in &self.hooks {
            line(format!("{} = {}", which.name(), table(hook, None)));
        }
        out
    }
}

impl Interface {
    fn to_toml(&self) -> String {
        match self {
            Self::Same(name) => quoted(name),
            Self::ByMember(names) => {
                let names = names
                    .iter()
                    .map(|(m, i)| format!("{} = {}", key(m), quoted(i)));
                format!("{{ {} }}", names.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// In one line, or one in each if that is long.
fn in_brackets(items: &[String]) -> String {
    let one = items.join(", ");
    match one.chars().count() > 88 {
        true => format!("[\n  {},\n]", items.join(",\n  ")),
        false => format!("[{one}]"),
    }
}

fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", quoted.join(", "))
}

fn table(table: &Table, more: Option<String>) -> String {
    let one = |(key, value): &(&str, Value)| match value {
        Value::Text(text) => format!("{key} = {}", quoted(text)),
        Value::List(items) => format!("{key} = {}", list(items)),
        Value::Number(n) => format!("{key} = {n}"),
    };
    let all: Vec<String> = table.iter().map(one).chain(more).collect();
    format!("{{ {} }}", all.join(", "))
}

/// A key, in quotes if it needs them.
fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_quoted_is_read_back(text in any::<String>(), name in any::<String>()) {
            let written = format!("{} = {}", key(&name), quoted(&text));
            let read: std::collections::BTreeMap<String, String> = toml::from_str(&written).unwrap();
            prop_assert_eq!(read.get(&name), Some(&text));
        }
    }
}

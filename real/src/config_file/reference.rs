//! Every key of the configuration file, for people: the book's page and `onehold.toml(5)` are
//! written from this. The daemon does not look at it.
//!
//! What a row says is tried by the tests: that its key is one of the file's and every key of the
//! file has a row, that leaving the key out means its default, that its example is accepted and
//! what is beyond its limits is refused. How a key is changed is not written here: it is asked of
//! what a reload may change.

mod keys;

use super::ConfigFile;
use super::reload::{self, Change};
pub use keys::{BASE, TABLES, WITNESS};

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name, with `NAME` where names are the writer's own.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it is in [`BASE`].
    at: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// What is there when a key is left out.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// The file is refused.
    Refused,
    /// This value, as written in a file.
    Value(&'static str),
    /// In words.
    Words(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What kind of value, its unit and its limits.
    pub value: &'static str,
    /// What it does.
    pub what: &'static str,
    /// What is there when it is left out.
    pub default: Default,
    /// A value other than the default, as written in a file.
    pub example: &'static str,
    /// Values that are refused: just beyond its limits.
    refused: &'static [&'static str],
    /// Where its table is in [`BASE`], if elsewhere.
    at: Option<&'static str>,
    /// What else the example needs: paths in [`BASE`], and values.
    beside: &'static [(&'static str, &'static str)],
    /// Paths in [`BASE`] that the example can't be beside.
    without: &'static [&'static str],
}

/// A key that must be there.
const fn key(
    name: &'static str,
    value: &'static str,
    example: &'static str,
    what: &'static str,
) -> Key {
    Key {
        name,
        value,
        what,
        default: Default::Refused,
        example,
        refused: &[],
        at: None,
        beside: &[],
        without: &[],
    }
}

impl Key {
    /// Left out, it has this value.
    const fn or(mut self, value: &'static str) -> Self {
        self.default = Default::Value(value);
        self
    }

    /// Left out, there is this.
    const fn else_(mut self, words: &'static str) -> Self {
        self.default = Default::Words(words);
        self
    }

    const fn refused(mut self, values: &'static [&'static str]) -> Self {
        self.refused = values;
        self
    }

    const fn at(mut self, path: &'static str) -> Self {
        self.at = Some(path);
        self
    }

    const fn beside(mut self, lines: &'static [(&'static str, &'static str)]) -> Self {
        self.beside = lines;
        self
    }

    const fn without(mut self, paths: &'static [&'static str]) -> Self {
        self.without = paths;
        self
    }

    /// How a running cluster is given another value.
    ///
    /// # Panics
    /// If the example can't be read; a test reads all of them.
    #[must_use]
    pub fn change(&self, table: &Table) -> Change {
        let with = self.file(table, Some(self.example));
        let without = match self.default {
            Default::Refused => parsed(base()),
            Default::Value(_) | Default::Words(_) => self.file(table, None),
        };
        match (without, with) {
            (Ok(without), Ok(with)) => reload::change(&without, &with),
            (without, with) => panic!("[{}] {}: {without:?}, {with:?}", table.name, self.name),
        }
    }

    /// [`BASE`] with this value of the key, or without the key.
    fn file(&self, table: &Table, value: Option<&str>) -> Result<ConfigFile, toml::de::Error> {
        let mut file = base();
        for path in self.without {
            put(&mut file, path, None);
        }
        for (path, value) in self.beside {
            put(&mut file, path, Some(value));
        }
        let path = format!("{}.{}", self.at.unwrap_or(table.at), self.name);
        put(&mut file, path.trim_start_matches('.'), value);
        parsed(file)
    }
}

fn base() -> toml::Table {
    BASE.parse().expect("BASE is TOML; a test reads it")
}

fn parsed(file: toml::Table) -> Result<ConfigFile, toml::de::Error> {
    file.try_into()
}

/// Sets the value at a path, whose numbers count the items of an array, or removes it.
fn put(file: &mut toml::Table, path: &str, value: Option<&str>) {
    let (parents, key) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = file;
    let mut rest = parents.split('.').filter(|name| !name.is_empty());
    while let Some(name) = rest.next() {
        let mut next = at
            .entry(name)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        if let toml::Value::Array(items) = next {
            let number = rest.next().and_then(|n| n.parse::<usize>().ok());
            next = number
                .and_then(|n| items.get_mut(n))
                .expect("a number of an item; a test reads all paths");
        }
        at = next
            .as_table_mut()
            .expect("a path of tables; a test reads all paths");
    }
    match value {
        None => drop(at.remove(key)),
        Some(value) => {
            let one: toml::Table = format!("x = {value}")
                .parse()
                .expect("a value; a test reads all");
            at.extend(one.into_iter().map(|(_, value)| (key.to_owned(), value)));
        }
    }
}

#[cfg(test)]
mod tests;

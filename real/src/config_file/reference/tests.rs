//! What the rows say, tried.

use super::super::{
    FloatingAddress, Source, WitnessCluster, WitnessFile, WrittenCluster, checks, decided,
    for_member, hooks,
};
use super::*;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess};
use serde::forward_to_deserialize_any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

fn all() -> impl Iterator<Item = (&'static Table, &'static Key)> {
    let rows = |table: &'static Table| table.keys.iter().map(move |key| (table, key));
    TABLES.iter().flat_map(rows)
}

/// All that follows from a file, or all that is wrong with it.
fn meaning(file: Result<ConfigFile, toml::de::Error>) -> Result<String, String> {
    let file = file.map_err(|e| e.to_string())?;
    let source = Source::new(Path::new("/etc/onehold/onehold.toml"), String::new());
    let one = WrittenCluster { source, file };
    let WrittenCluster { source, file } = &one;
    let wrong = |errors: Vec<_>| format!("{errors:?}");
    let spec = decided(&one).map_err(wrong)?;
    let of_members = file.members.keys();
    let errors: Vec<_> = of_members
        .flat_map(|me| for_member(&one, me, false))
        .collect();
    if !errors.is_empty() {
        return Err(format!("{errors:?}"));
    }
    let mut all = format!(
        "{:?} {spec:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}\n",
        file.cluster.name,
        file.cluster.port,
        file.cluster.frames,
        (file.cluster.guard, file.cluster.evidence),
        file.secret_files(source),
        file.timing.profile,
        (file.log, file.metrics),
        file.members,
    );
    for (name, group) in &file.groups {
        for member in file.members.keys() {
            all += &format!("{:?} ", group.interfaces_of(member));
            all += &format!("{:?} ", group.routes_of(member));
        }
        all += &format!("{:?} ", group.announce);
        all += &format!("{:?} ", checks::checks(source, name, group));
        all += &format!("{:?}\n", hooks::hooks(source, name, group));
    }
    Ok(all)
}

#[test]
fn the_base_is_fine() {
    meaning(parsed(base())).unwrap();
}

#[test]
fn every_example_is_accepted_and_means_something() {
    for (table, key) in all() {
        let example = meaning(key.file(table, Some(key.example)));
        let example = example.unwrap_or_else(|e| panic!("[{}] {}: {e}", table.name, key.name));
        let other = match key.default {
            Default::Refused => parsed(base()),
            Default::Value(_) | Default::Words(_) => key.file(table, None),
        };
        assert_ne!(Ok(example), meaning(other), "[{}] {}", table.name, key.name);
    }
}

#[test]
fn a_key_that_is_left_out_has_its_default() {
    for (table, key) in all() {
        let without = meaning(key.file(table, None));
        match key.default {
            Default::Value(value) => {
                assert_eq!(
                    meaning(key.file(table, Some(value))),
                    without,
                    "[{}] {}",
                    table.name,
                    key.name
                );
            }
            Default::Refused => {
                let why = without.expect_err("it must be there");
                assert!(
                    why.contains(key.name),
                    "[{}] {}: {why}",
                    table.name,
                    key.name
                );
            }
            Default::Words(_) => {}
        }
    }
}

#[test]
fn what_is_beyond_the_limits_is_refused() {
    for (table, key) in all() {
        for value in key.refused {
            let why = meaning(key.file(table, Some(value)));
            let why = why.expect_err(&format!("[{}] {} = {value}", table.name, key.name));
            // The value itself, or its key: not something else that is wrong.
            assert!(
                why.contains(key.name),
                "[{}] {} = {value}: {why}",
                table.name,
                key.name
            );
        }
        let limited = [" to ", "at least ", "at most "].map(|word| key.value.contains(word));
        let tried = !key.refused.is_empty();
        let name = (table.name, key.name);
        assert!(
            tried || limited == [false; 3],
            "{name:?}: nothing tries its limits"
        );
    }
}

#[test]
fn r0_r22_what_is_in_the_digest_is_changed_on_all_members() {
    let digest = |file: Result<ConfigFile, toml::de::Error>| {
        let source = Source::new(Path::new("/"), String::new());
        let file = file.ok()?;
        let me = file.members.keys().next()?.clone();
        let spec = decided(&WrittenCluster { source, file }).ok()?;
        Some(spec.prove(&me).ok()?.digest())
    };
    for (table, key) in all() {
        let (with, without) = (
            digest(key.file(table, Some(key.example))),
            digest(key.file(table, None)),
        );
        let without = without.or(digest(parsed(base())));
        if with != without {
            let change = key.change(table);
            assert!(
                matches!(change, Change::AllMembers | Change::EachMember),
                "[{}] {}: {change}",
                table.name,
                key.name
            );
        }
    }
}

/// The names of all fields of the file's types, and of the words of its enums, as serde knows them.
fn known<'de, T: Deserialize<'de>>() -> (Names, Words) {
    let (names, words) = (RefCell::default(), RefCell::default());
    let walk = Walk {
        at: String::new(),
        names: &names,
        words: &words,
    };
    T::deserialize(walk).unwrap_or_else(|e| panic!("{e}"));
    (names.into_inner(), words.into_inner())
}

type Names = BTreeMap<String, BTreeSet<&'static str>>;
type Words = BTreeMap<String, &'static [&'static str]>;

/// A deserializer of something that has every field.
struct Walk<'a> {
    at: String,
    names: &'a RefCell<Names>,
    words: &'a RefCell<Words>,
}

impl Walk<'_> {
    fn below(&self, name: &str) -> Self {
        let at = match self.at.as_str() {
            "" => name.to_owned(),
            at => format!("{at}.{name}"),
        };
        Self { at, ..*self }
    }
}

/// Why the walk ended; for a struct that is only known by what it refuses, its fields.
#[derive(Debug)]
struct Ended(String, &'static [&'static str]);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Ended {}

impl de::Error for Ended {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string(), &[])
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self(field.to_owned(), expected)
    }
}

/// A length of time is text as well.
const TEXT: &str = "1s";

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Ended;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_str(match self.at.as_str() {
            "metrics.listen" => "127.0.0.1:9946",
            _ => TEXT,
        })
    }

    fn deserialize_bool<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_bool(true)
    }

    fn deserialize_u16<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_u64(1)
    }

    fn deserialize_u32<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_u64(1)
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_seq(Once(Some(self)))
    }

    fn deserialize_map<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Ended> {
        visitor.visit_map(Each {
            walk: self,
            left: vec!["NAME"],
        })
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Ended> {
        let mut names = self.names.borrow_mut();
        names.entry(self.at.clone()).or_default().extend(fields);
        drop(names);
        visitor.visit_map(Each {
            walk: self,
            left: fields.to_vec(),
        })
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Ended> {
        self.words.borrow_mut().insert(self.at.clone(), variants);
        let first: StrDeserializer<'_, Ended> = variants[0].into_deserializer();
        visitor.visit_enum(first)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 u8 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct tuple tuple_struct identifier ignored_any
    }
}

struct Once<'a>(Option<Walk<'a>>);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = Ended;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Ended> {
        self.0.take().map(|walk| seed.deserialize(walk)).transpose()
    }
}

struct Each<'a> {
    walk: Walk<'a>,
    left: Vec<&'static str>,
}

impl<'de> MapAccess<'de> for Each<'_> {
    type Error = Ended;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Ended> {
        let name = self.left.last();
        let read = |name: &&str| seed.deserialize(StringDeserializer::new((*name).to_owned()));
        name.map(read).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Ended> {
        let name = self.left.pop().unwrap_or_default();
        seed.deserialize(self.walk.below(name))
    }
}

/// The fields of a type that reads text as well as a table: what it would have accepted.
fn known_by_refusal<'de, T: Deserialize<'de>>() -> BTreeSet<&'static str> {
    let (names, words) = (RefCell::default(), RefCell::default());
    let walk = Walk {
        at: String::new(),
        names: &names,
        words: &words,
    };
    let strange = Each {
        walk,
        left: vec!["strange"],
    };
    match T::deserialize(MapAccessDeserializer::new(strange)) {
        Err(Ended(_, fields)) => fields.iter().copied().collect(),
        Ok(_) => panic!("it takes any key"),
    }
}

#[test]
fn every_key_of_the_file_has_a_row_and_every_row_is_a_key() {
    let (mut file, _) = known::<ConfigFile>();
    file.insert(
        "groups.NAME.addresses".to_owned(),
        known_by_refusal::<FloatingAddress>(),
    );
    let root = file.remove("").unwrap();
    // Each hook has the same keys.
    let hooks: Vec<_> = file["groups.NAME.hooks"].iter().copied().collect();
    for hook in hooks {
        let keys = file.remove(&format!("groups.NAME.hooks.{hook}")).unwrap();
        file.insert("groups.NAME.hooks.HOOK".to_owned(), keys);
    }
    let fields = file.iter();
    let fields =
        fields.flat_map(|(table, keys)| keys.iter().map(move |key| format!("[{table}] {key}")));
    let fields: BTreeSet<String> = fields.collect();
    let rows: BTreeSet<String> = all()
        .map(|(table, key)| format!("[{}] {}", table.name, key.name))
        .collect();
    let missing: Vec<_> = fields.difference(&rows).collect();
    assert!(
        missing.is_empty(),
        "no row in reference/keys.rs: {missing:?}"
    );
    let stray: Vec<_> = rows.difference(&fields).collect();
    assert!(
        stray.is_empty(),
        "rows in reference/keys.rs that are no keys: {stray:?}"
    );
    let tops: BTreeSet<&str> = TABLES
        .iter()
        .filter_map(|t| t.name.split('.').next())
        .collect();
    assert_eq!(root, tops);

    let (witness, _) = known::<WitnessFile>();
    let mut top: BTreeSet<&str> = WITNESS.iter().map(|k| k.name).collect();
    top.extend(["log", "metrics"]);
    assert_eq!(witness[""], top);
    let (cluster, _) = known::<WitnessCluster>();
    let mut keys: BTreeSet<&str> = file["cluster"].iter().copied().collect();
    keys.retain(|key| !["name", "guard", "frames", "evidence"].contains(key));
    keys.extend(["members", "groups", "timing"]);
    assert_eq!(cluster[""], keys);
}

#[test]
fn every_word_that_a_key_takes_is_named() {
    let (_, words) = known::<ConfigFile>();
    for (at, words) in words {
        let (table, name) = at.rsplit_once('.').unwrap();
        let table = match table.strip_prefix("groups.NAME.hooks.") {
            Some(_) => "groups.NAME.hooks.HOOK",
            None => table,
        };
        let row = all().find(|(t, key)| t.name == table && key.name == name);
        let (_, key) = row.unwrap_or_else(|| panic!("{at} has no row"));
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let named: BTreeSet<&str> = key.value.split(", ").collect();
        assert_eq!(named, quoted.iter().map(String::as_str).collect(), "{at}");
    }
}

#[test]
fn the_sample_shows_keys_that_are_there() {
    let names: BTreeSet<&str> = all().map(|(_, key)| key.name).collect();
    let sample = include_str!("../../../packaging/onehold.toml");
    let shown = sample.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("# ")?.split_once(" = ")?;
        (!name.contains(' ')).then_some((name, value))
    });
    let mut count = 0;
    for (name, value) in shown {
        let line: Result<toml::Table, _> = format!("x = {value}").parse();
        assert!(line.is_ok(), "{name} = {value}");
        let by_name = ["nginx", "page"].contains(&name); // checks
        assert!(by_name || names.contains(name), "`{name}` is no key");
        count += 1;
    }
    assert!(count > 15, "{count}");
}

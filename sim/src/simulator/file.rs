//! A scenario's file as written. Every key is explained in docs/src/simulator.md.

use super::chaos::Chaos;
use crate::fault::{Conditions, Fault};
use crate::properties::PropertyId;
use onehold::config_file::{Length, TimingSection};
use onehold::driver::openings::{BeforeHold, Failing};
use onehold_core::config::{Arbitration, Failback};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, EnumAccess, MapAccess, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, de, forward_to_deserialize_any};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

/// The whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScenarioFile {
    /// What happens, in one line.
    pub(crate) title: String,
    /// Which story or complaint this is.
    pub(crate) about: String,
    /// It takes minutes: it runs by name only.
    #[serde(default)]
    pub(crate) slow: bool,
    #[serde(default)]
    pub(crate) seed: u64,
    #[serde(default = "a_millisecond")]
    pub(crate) tick: Length,
    pub(crate) length: Length,
    pub(crate) arbitration: Option<Arbitration>,
    pub(crate) witness: Option<bool>,
    #[serde(default = "one")]
    pub(crate) paths: u8,
    #[serde(default = "yes")]
    pub(crate) frames: bool,
    #[serde(default)]
    pub(crate) evidence: Evidence,
    #[serde(default = "a_millisecond")]
    pub(crate) confirm: Length,
    pub(crate) two: Option<TwoSection>,
    #[serde(default)]
    pub(crate) excuse: Vec<ExcuseSection>,
    #[serde(default)]
    pub(crate) timing: TimingSection,
    #[serde(default)]
    pub(crate) members: BTreeMap<String, MemberSection>,
    #[serde(default)]
    pub(crate) groups: BTreeMap<String, GroupSection>,
    #[serde(default)]
    pub(crate) network: Conditions,
    #[serde(default)]
    pub(crate) sending: Sending,
    pub(crate) chaos: Option<Chaos>,
    #[serde(default)]
    pub(crate) timeline: Vec<Entry>,
    #[serde(default)]
    pub(crate) expect: Vec<ExpectSection>,
}

const fn a_millisecond() -> Length {
    Length(onehold_core::time::Span::from_millis(1))
}

const fn one() -> u8 {
    1
}

const fn yes() -> bool {
    true
}

/// `evidence`: whether the network is asked who answers for an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Evidence {
    /// By echo requests.
    #[default]
    Echo,
    /// It is not.
    None,
}

impl Default for ScenarioFile {
    fn default() -> Self {
        Self {
            title: String::new(),
            about: String::new(),
            slow: false,
            seed: 0,
            tick: a_millisecond(),
            length: Length::default(),
            arbitration: None,
            witness: None,
            paths: one(),
            frames: yes(),
            evidence: Evidence::default(),
            confirm: a_millisecond(),
            two: None,
            excuse: Vec::new(),
            timing: TimingSection::default(),
            members: BTreeMap::new(),
            groups: BTreeMap::new(),
            network: Conditions::default(),
            sending: Sending::default(),
            chaos: None,
            timeline: Vec::new(),
            expect: Vec::new(),
        }
    }
}

/// `[two]`: two holders are expected.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TwoSection {
    pub(crate) at_most: Length,
    pub(crate) because: String,
}

/// `[[excuse]]`: two may answer.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExcuseSection {
    pub(crate) from: Length,
    pub(crate) until: Length,
    pub(crate) because: String,
}

/// `[members.NAME]`
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberSection {
    #[serde(default)]
    pub(crate) witness: bool,
    #[serde(default)]
    pub(crate) off: bool,
    /// A witness of files that come later only; from the beginning it has the first of them.
    #[serde(default)]
    pub(crate) later: bool,
    #[serde(default)]
    pub(crate) clock_ppm: i32,
    pub(crate) secret: Option<String>,
    /// This member's file has other floating addresses.
    pub(crate) address: Option<String>,
    /// How long what a group's `before_hold` runs takes here.
    #[serde(default)]
    pub(crate) prepares_in: Length,
}

/// `[groups.NAME]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GroupSection {
    pub(crate) preferred: String,
    pub(crate) failback: Failback,
    pub(crate) failback_delay: Length,
    pub(crate) release_when_unhealthy: bool,
    pub(crate) before_hold: Option<BeforeHoldSection>,
}

/// `before_hold`: what is waited for before the gate opens. Members say how long that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeforeHoldSection {
    pub(crate) deadline: Length,
    pub(crate) failing: Failing,
}

impl From<BeforeHoldSection> for BeforeHold {
    fn from(BeforeHoldSection { deadline, failing }: BeforeHoldSection) -> Self {
        let deadline = deadline.0;
        Self { deadline, failing }
    }
}

impl Default for GroupSection {
    fn default() -> Self {
        Self {
            preferred: "lb0".to_owned(),
            failback: Failback::Auto,
            failback_delay: Length::default(),
            release_when_unhealthy: false,
            before_hold: None,
        }
    }
}

/// `[sending]`: how kernels send to their neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sending {
    /// This long after a neighbour was last heard, the kernel asks for its hardware address again.
    /// `None`: never, for the daemon keeps the address of a peer that it has heard.
    pub forgets: Option<Length>,
    /// One send buffer for all, and not one for each path to each member.
    pub one_buffer: bool,
}

/// `[[timeline]]`: when, and one fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Entry {
    /// When.
    pub(crate) at: Length,
    /// And again, this often.
    pub(crate) every: Option<Length>,
    /// Until then.
    pub(crate) until: Option<Length>,
    /// What is done.
    #[serde(flatten)]
    pub(crate) fault: Fault,
}

impl<'de> Deserialize<'de> for Entry {
    /// By hand, so that an error says the line of its key.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`at`, and one thing to do")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let [mut at, mut every, mut until] = [None; 3];
                let mut fault = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "at" => at = Some(map.next_value()?),
                        "every" => every = Some(map.next_value()?),
                        "until" => until = Some(map.next_value()?),
                        key => besides(&mut map, key, &mut fault)?,
                    }
                }
                let nothing = "nothing is done here; write what, such as cut = \"lb0 <-> lb1\"";
                Ok(Entry {
                    at: at.ok_or_else(|| de::Error::missing_field("at"))?,
                    every,
                    until,
                    fault: fault.ok_or_else(|| de::Error::custom(nothing))?,
                })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What a table says besides, by one key: the key has been read, its value is next.
fn besides<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    key: &str,
    found: &mut Option<T>,
) -> Result<(), A::Error> {
    let second = found.is_some();
    let kind = PhantomData;
    *found = Some(map.next_value_seed(Keyed { key, second, kind })?);
    Ok(())
}

/// A value whose key says which variant of `T` it is.
struct Keyed<'a, T> {
    key: &'a str,
    second: bool,
    kind: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Keyed<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<T, D::Error> {
        if self.second {
            let what = "a second thing is said here; write a table for each";
            return Err(de::Error::custom(what));
        }
        let key = self.key;
        T::deserialize(Variant { key, value })
    }
}

/// The key and the value of an enum that is written as one field among others.
struct Variant<'a, D> {
    key: &'a str,
    value: D,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Variant<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for Variant<'_, D> {
    type Error = D::Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), D::Error> {
        let key = seed.deserialize(StrDeserializer::new(self.key))?;
        Ok((key, self))
    }
}

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for Variant<'_, D> {
    type Error = D::Error;

    fn unit_variant(self) -> Result<(), D::Error> {
        Deserialize::deserialize(self.value)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, D::Error> {
        seed.deserialize(self.value)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, v: V) -> Result<V::Value, D::Error> {
        self.value.deserialize_tuple(len, v)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        v: V,
    ) -> Result<V::Value, D::Error> {
        self.value.deserialize_struct("Fault", fields, v)
    }
}

/// `[[expect]]`: when, and one thing that must be true then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ExpectSection {
    #[serde(flatten)]
    pub(crate) when: When,
    pub(crate) group: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) property: Option<PropertyId>,
    #[serde(flatten)]
    pub(crate) what: Expected,
}

/// When something is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct When {
    pub(crate) at: Option<Length>,
    pub(crate) within: Option<Length>,
    pub(crate) from: Option<Length>,
    pub(crate) until: Option<Length>,
}

/// What must be true. Members are names.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expected {
    /// At the end of the span this member alone answers; `nobody`: none does; `anybody`: one does.
    Holder(String),
    /// At the end of the span the neighbours send to this member.
    Neighbours(String),
    /// No member starts or stops answering; but in each of these times the address may move once.
    MovesOnly(Vec<(Length, Length)>),
    /// No outage is longer.
    OutageAtMost(Length),
    /// A member answers for at least this percentage of the time.
    ServedPercent(f64),
    /// The member reports something that contains this text.
    Reports(Said),
    /// The member reports nothing that contains this text.
    NeverReports(Said),
    /// The member announces, or does not.
    Announces {
        /// Who.
        member: String,
        /// It does.
        is: bool,
    },
    /// Something is counted at least this many times, in the whole run.
    Count {
        /// What.
        of: Counted,
        /// How many times.
        at_least: u64,
    },
}

/// What a member says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// Who.
    pub member: String,
    /// A part of it.
    pub text: String,
}

impl<'de> Deserialize<'de> for ExpectSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ExpectSection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment or a span, and one thing that is expected")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExpectSection, A::Error> {
                let (mut when, mut what) = (When::default(), None);
                let (mut group, mut address, mut property) = (None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "at" => when.at = Some(map.next_value()?),
                        "within" => when.within = Some(map.next_value()?),
                        "from" => when.from = Some(map.next_value()?),
                        "until" => when.until = Some(map.next_value()?),
                        "group" => group = Some(map.next_value()?),
                        "address" => address = Some(map.next_value()?),
                        "property" => property = Some(map.next_value()?),
                        key => besides(&mut map, key, &mut what)?,
                    }
                }
                let nothing = "nothing is expected here; write what, such as holder = \"lb0\"";
                Ok(ExpectSection {
                    when,
                    group,
                    address,
                    property,
                    what: what.ok_or_else(|| de::Error::custom(nothing))?,
                })
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// What is counted in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Datagrams handed to the network.
    Sent,
    /// That reached a process.
    Arrived,
    /// Lost by chance.
    Lost,
    /// That met a cut.
    Cut,
    /// Of which a second copy arrived.
    Doubled,
    /// With a bit flipped.
    Corrupted,
    /// Kept back.
    Straggled,
    /// That wait: for a link that keeps them, or for a neighbour's hardware address.
    Waited,
    /// That found the send buffer full.
    Refused,
    /// Replayed.
    Replayed,
    /// Adverts handed to the network as frames, besides those that are `sent`.
    Framed,
    /// Probes.
    Probed,
    /// Answers to probes.
    ProbeAnswered,
    /// Each time a machine starts answering.
    Opened,
    /// Incarnations that began.
    Began,
}

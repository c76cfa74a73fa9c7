//! Lengths of time as people write them: `"100ms"`, `"2s"`, `"1.5s"`.

use onehold_core::time::Span;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// A length of time as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Length(pub Span);

impl std::str::FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number_ends = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(number_ends);
        let nanos = match unit {
            "us" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "min" => 60e9,
            "" => {
                return Err(format!(
                    "`{text}` has no unit; write \"{text}ms\" or \"{text}s\""
                ));
            }
            _ => return Err(format!("`{text}` is not a length of time; {EXAMPLES}")),
        };
        let number: f64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a length of time; {EXAMPLES}"))?;
        // Casts of floats saturate.
        Ok(Self(Span::from_nanos((number * nanos).round() as u64)))
    }
}

const EXAMPLES: &str = "write \"100ms\", \"2s\" or \"1.5s\" (units: us, ms, s, min)";

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time with its unit, such as \"100ms\" or \"1.5s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl Serialize for Length {
    /// Exactly, in the largest unit that needs no fraction; below a microsecond as one.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = self.0.as_nanos();
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
        let whole = units.iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
        match whole {
            Some(_) if nanos == 0 => serializer.serialize_str("0ms"),
            Some((unit, name)) => serializer.collect_str(&format_args!("{}{name}", nanos / unit)),
            None => {
                let (us, rest) = (nanos / 1_000, nanos % 1_000);
                serializer.collect_str(&format_args!("{us}.{rest:03}us"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_exactly() {
        for (text, nanos) in [
            ("100ms", 100_000_000),
            ("2s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("250us", 250_000),
            ("0s", 0),
            ("1min", 60_000_000_000),
        ] {
            assert_eq!(
                text.parse::<Length>().unwrap().0.as_nanos(),
                nanos,
                "{text}"
            );
        }
        for bad in ["100", "", "ms", "-1s", "1e3s", "1.2.3s", "1 s", "fast"] {
            assert!(bad.parse::<Length>().is_err(), "{bad}");
        }
    }
}

//! The status as JSON, for machines. Beside each age there is the time by this host's wall clock:
//! the daemon knows only ages, and the client adds the times. `docs/src/status-json.md` has every
//! key.

use super::Report;
use crate::wall;
use serde_json::Value;

/// The version of the form. It grows when a key goes away or means something else; new keys may
/// come without.
pub const VERSION: u32 = 1;

/// A report as it was at `now`, in milliseconds since 1970.
#[must_use]
pub fn json(report: &Report, now: i64) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    date(&mut value, now);
    if let Value::Object(all) = &mut value {
        all.insert("at".to_owned(), wall::text(now).into());
    }
    value
}

/// Adds the time to each age within.
fn date(value: &mut Value, now: i64) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| date(one, now)),
        Value::Object(all) => {
            all.values_mut().for_each(|one| date(one, now));
            let ages = all.iter();
            let times: Vec<(String, Value)> = (ages)
                .filter_map(|(key, age)| Some((time_of(key)?, time(age, now))))
                .collect();
            all.extend(times);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The key of the time that belongs to an age's.
fn time_of(key: &str) -> Option<String> {
    match key {
        "ago_ms" => Some("at".to_owned()),
        "for_ms" => Some("since".to_owned()),
        _ => Some(format!("{}_at", key.strip_suffix("_ms_ago")?)),
    }
}

fn time(age: &Value, now: i64) -> Value {
    match age.as_f64() {
        Some(ms) => wall::text(now.saturating_sub(ms.round() as i64)).into(),
        None => Value::Null,
    }
}

//! The wall clock: for people, and for the end of an order that was given one. It may jump, and
//! nothing else is decided by it.

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec.saturating_mul(1_000) + t.tv_nsec / 1_000_000
}

/// Whole seconds since 1970.
#[must_use]
pub fn seconds() -> u64 {
    u64::try_from(now() / 1_000).unwrap_or(0)
}

/// As RFC 3339 writes it, in UTC: `2026-11-28T15:40:01.123Z`.
#[must_use]
pub fn text(ms: i64) -> String {
    let at = Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_says_that_it_is_utc() {
        assert_eq!(text(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(text(1_795_880_401_123), "2026-11-28T15:40:01.123Z");
    }
}

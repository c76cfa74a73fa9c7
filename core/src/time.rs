//! Instants and spans of one member's own clock, in nanoseconds.
//!
//! Nothing here reads a clock: time is an argument of every call. Arithmetic saturates, so no
//! hostile number in a datagram can overflow it.

use core::fmt;

/// An instant of *this member's* clock (`CLOCK_BOOTTIME` in the daemon), in nanoseconds.
///
/// Instants of two members are never compared. A timestamp of ours that a peer sends back (an
/// *echo*) is an instant of our clock; a timestamp of the peer is only compared with other
/// timestamps of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LocalTime(u64);

/// A length of time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Span(u64);

impl LocalTime {
    /// The instant `nanos` nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This instant, `span` later.
    #[must_use]
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// How long ago `earlier` was; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `nanos` nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A span of `millis` milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Its length in nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Its length in milliseconds.
    #[must_use]
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Both spans, one after the other.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// This span `n` times.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// The `n`th part of this span, rounded up and never zero (`n` = 0 counts as 1).
    #[must_use]
    pub const fn part(self, n: u64) -> Self {
        let n = if n == 0 { 1 } else { n };
        let part = self.0.div_ceil(n);
        Self(if part == 0 { 1 } else { part })
    }
}

impl From<core::time::Duration> for Span {
    fn from(d: core::time::Duration) -> Self {
        Self(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Span> for core::time::Duration {
    fn from(s: Span) -> Self {
        Self::from_nanos(s.0)
    }
}

impl fmt::Display for Span {
    /// Short, and cut to thousandths: `450ms`, `2.5s`, `12us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0;
        let (unit, name) = match nanos {
            0 => return f.write_str("0ms"),
            1..1_000 => (1u64, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        // Floating point is exact enough for thousandths; `{}` drops what is not needed.
        let thousandths = (nanos as f64) / (unit as f64) * 1e3;
        let whole = (thousandths as u64) as f64;
        write!(f, "{}{name}", whole / 1e3)
    }
}

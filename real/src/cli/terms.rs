//! Until when and why, as an operator says it with an order: times are of this host's clock and time
//! zone.

use super::Failure;
use crate::orders::{MAX_REASON, Said, Until};
use clap::Args;
use jiff::{Span, Timestamp, ToSpan as _, ZonedDateTime, civil};

/// Until when, and why.
#[derive(Debug, Default, Args)]
pub(super) struct Terms {
    /// End it by itself at this time of this host's clock: 06:00, or 2026-12-01T06:00
    #[arg(long, value_name = "TIME", conflicts_with = "span")]
    until: Option<String>,
    /// End it by itself after this long: 2h, 90m, 1d
    #[arg(long = "for", id = "span", value_name = "TIME")]
    span: Option<String>,
    /// Why: every member shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Terms {
    /// What travels with the order.
    pub(super) fn said(self) -> Result<Said, Failure> {
        let now = ZonedDateTime::now();
        let end = self.end(&now).map_err(Failure::Usage)?;
        if let Some(reason) = &self.reason
            && (reason.trim().is_empty() || reason.len() > MAX_REASON)
        {
            return Err(Failure::Usage(format!(
                "--reason: {} bytes; say why in 1 to {MAX_REASON}",
                reason.trim().len()
            )));
        }
        Ok(Said {
            by: who(),
            at: Some(shown(&now)),
            until: end,
            reason: self.reason,
        })
    }

    fn end(&self, now: &ZonedDateTime) -> Result<Option<Until>, String> {
        let end = match (&self.until, &self.span) {
            (Some(text), _) => at(text, now).map_err(|why| format!("--until {text}: {why}"))?,
            (None, Some(text)) => after(text, now).map_err(|why| format!("--for {text}: {why}"))?,
            (None, None) => return Ok(None),
        };
        let unix = u64::try_from(end.timestamp().as_second()).map_err(|e| e.to_string())?;
        let text = shown(&end);
        Ok(Some(Until { unix, text }))
    }
}

/// The next time that this host's clock shows `text`, or that day and time.
fn at(text: &str, now: &ZonedDateTime) -> Result<ZonedDateTime, String> {
    let local = |at: civil::DateTime| {
        let at = at.to_zoned_datetime(now.time_zone().clone());
        at.map_err(|e| e.to_string())
    };
    // A day and time is also read as a time; one with an offset, without it.
    let end = if let Ok(at) = text.parse::<Timestamp>() {
        at.to_zoned_datetime(now.time_zone().clone())
    } else if let Ok(at) = text.parse::<civil::DateTime>() {
        local(at)?
    } else if let Ok(time) = text.parse::<civil::Time>() {
        let today = local(now.date().to_datetime(time))?;
        match today > *now {
            true => today,
            false => local(now.date().saturating_add(1.day()).to_datetime(time))?,
        }
    } else {
        return Err("write a time as 06:00, or with its day as 2026-12-01T06:00".to_owned());
    };
    if end <= *now {
        return Err(format!(
            "that is over: this host's clock shows {}",
            shown(now)
        ));
    }
    soon(end, now)
}

/// The time that long after now.
fn after(text: &str, now: &ZonedDateTime) -> Result<ZonedDateTime, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "write a length of time as 2h, 90m or 1d".to_owned())?;
    let end = now.checked_add(span).map_err(|e| e.to_string())?;
    if end <= *now {
        return Err("write a length of time that is more than nothing, such as 2h".to_owned());
    }
    soon(end, now)
}

/// An end that is more than a year away is a slip.
fn soon(end: ZonedDateTime, now: &ZonedDateTime) -> Result<ZonedDateTime, String> {
    if end > now.saturating_add(366.days()) {
        return Err(
            "that is more than a year away; leave it out for an order without an end".to_owned(),
        );
    }
    Ok(end)
}

fn shown(at: &ZonedDateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M %Z").to_string()
}

/// Who says it, as far as the shell knows: for people.
fn who() -> Option<String> {
    let names = ["SUDO_USER", "LOGNAME", "USER"].into_iter();
    let mut names = names.filter_map(|name| std::env::var(name).ok());
    names.find(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the last week of summer time.
    fn now() -> ZonedDateTime {
        "2026-10-24T17:02:11+02:00[Europe/Berlin]"
            .parse()
            .or_else(|_| "2026-10-24T17:02:11+02:00[+02:00]".parse())
            .unwrap()
    }

    fn end(until: Option<&str>, span: Option<&str>) -> Result<String, String> {
        let terms = Terms {
            until: until.map(str::to_owned),
            span: span.map(str::to_owned),
            reason: None,
        };
        let end = terms.end(&now())?;
        Ok(end.map_or_else(String::new, |until| {
            let hours = until.unix as f64 - now().timestamp().as_second() as f64;
            format!("{} (in {:.2} h)", &until.text[..16], hours / 3600.0)
        }))
    }

    #[test]
    fn an_end_is_the_next_such_time_or_a_day_and_time() {
        let until = |text| end(Some(text), None);
        assert_eq!(end(None, None), Ok(String::new()));
        assert_eq!(until("17:03"), Ok("2026-10-24 17:03 (in 0.01 h)".into()));
        let berlin = now().time_zone().iana_name().is_some();
        let one_more = if berlin { 13.96 } else { 12.96 }; // summer time ends that night
        for text in ["06:00", "2026-10-25T06:00", "2026-10-25 06:00"] {
            assert_eq!(
                until(text),
                Ok(format!("2026-10-25 06:00 (in {one_more} h)"))
            );
        }
        assert_eq!(until("17:02"), {
            let hours = if berlin { "25.00" } else { "24.00" };
            Ok(format!("2026-10-25 17:02 (in {hours} h)"))
        });
    }

    #[test]
    fn an_end_may_be_so_long_from_now() {
        for (span, hours) in [("2h", "2.00"), ("90m", "1.50"), ("1h 30m", "1.50")] {
            let end = end(None, Some(span)).unwrap();
            assert!(end.ends_with(&format!("(in {hours} h)")), "{span}: {end}");
        }
    }

    #[test]
    fn a_bad_end_says_what_to_write() {
        for (until, why) in [
            (
                "6 o'clock",
                "write a time as 06:00, or with its day as 2026-12-01T06:00",
            ),
            ("25:00", "write a time as"),
            ("", "write a time as"),
            (
                "2026-10-24T06:00",
                "that is over: this host's clock shows 2026-10-24 17:02",
            ),
            ("2036-10-24T06:00", "more than a year away"),
        ] {
            let said = end(Some(until), None).unwrap_err();
            assert!(
                said.starts_with(&format!("--until {until}: {why}")) || said.contains(why),
                "{said}"
            );
        }
        for (span, why) in [
            ("2", "write a length of time as 2h, 90m or 1d"),
            ("two hours", "write a length of time as"),
            ("0h", "more than nothing"),
            ("-2h", "more than nothing"),
            ("400d", "more than a year away"),
            ("99999999y", ""),
        ] {
            let said = end(None, Some(span)).unwrap_err();
            assert!(
                said.starts_with(&format!("--for {span}: ")) && said.contains(why),
                "{said}"
            );
        }
    }
}

//! `onehold@.service` and `onehold-agent@.service`, for several clusters on one host: the units as
//! they are, with a name in them.

use super::Result;
use std::fs;
use std::path::Path;

/// What of a unit becomes the instance's. All daemons of a host need the same `/run/onehold` and
/// `/var/lib/onehold`; in them each has files of its own.
const CHANGES: [(&str, &str); 5] = [
    (
        "--config /etc/onehold/onehold.toml",
        "--config /etc/onehold/%i.toml --socket /run/onehold/%i.sock",
    ),
    ("/etc/onehold/onehold.toml", "/etc/onehold/%i.toml"),
    (
        "/usr/bin/onehold reload",
        "/usr/bin/onehold reload --socket /run/onehold/%i.sock",
    ),
    ("onehold.service", "onehold@%i.service"),
    ("Description=Onehold", "Description=Onehold %i"),
];

/// The templates' names and texts.
pub(super) fn templates(packaging: &Path) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for unit in ["onehold", "onehold-agent"] {
        let path = packaging.join(format!("{unit}.service"));
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let of_instance = CHANGES
            .iter()
            .fold(text, |text, (from, to)| text.replace(from, to));
        for needed in [
            "/etc/onehold/%i.toml",
            "/run/onehold/%i.sock",
            "Description=Onehold %i",
        ] {
            if !of_instance.contains(needed) {
                return Err(format!("{}: no place for {needed}", path.display()).into());
            }
        }
        all.push((format!("{unit}@.service"), of_instance));
    }
    Ok(all)
}

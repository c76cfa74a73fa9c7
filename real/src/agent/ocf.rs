//! OCF resource agents, run as Pacemaker runs them: what they say of themselves, and their
//! environment.

use crate::config_file::hooks::{OCF_ROOT, Ocf, runnable};
use onehold_core::time::Span;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What an agent says of itself is no longer.
const LONGEST: u64 = 256 * 1024;
/// How long it may take to say it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `monitor` says of what does not run.
pub(super) const RUNS_NOT: i32 = 7;

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MetaData {
    /// Its parameters: whether they must be given.
    parameters: BTreeMap<String, bool>,
    /// By action, how long it may take.
    pub(super) timeouts: BTreeMap<String, Span>,
}

/// What an agent says of itself, if it is there and knows the parameters that it is given.
///
/// # Errors
/// The key of the hook that is wrong, and what to do.
pub(super) fn read(ocf: &Ocf) -> Result<MetaData, (String, String)> {
    let at_ocf = |what: String| ("ocf".to_owned(), what);
    let program = ocf.program();
    runnable(&program, rustix::process::geteuid().as_raw())
        .map_err(|what| at_ocf(format!("{what} (Debian's package is resource-agents)")))?;
    let text = meta_data(ocf).map_err(|what| at_ocf(format!("`{}`: {what}", program.display())))?;
    let meta = MetaData::of(&text);
    if meta.timeouts.is_empty() {
        let what = format!(
            "`{} meta-data` names no action: it is no OCF resource agent",
            program.display()
        );
        return Err(at_ocf(what));
    }
    let all: Vec<&str> = meta.parameters.keys().map(String::as_str).collect();
    for name in ocf.parameters.keys() {
        if !meta.parameters.contains_key(name) {
            let what = format!("unknown to this agent; it has {}", all.join(", "));
            return Err((format!("parameters.{name}"), what));
        }
    }
    let missing = (meta.parameters.iter())
        .find(|(name, needed)| **needed && !ocf.parameters.contains_key(*name));
    match missing {
        Some((name, _)) => {
            let what = format!("`{name}` is missing, and this agent needs it");
            Err(("parameters".to_owned(), what))
        }
        None => Ok(meta),
    }
}

fn meta_data(ocf: &Ocf) -> Result<String, String> {
    let mut command = Command::new(ocf.program());
    command.arg("meta-data").env_clear().current_dir("/");
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8");
    command.envs(environment(ocf, "meta-data", None));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command
        .spawn()
        .map_err(|e| format!("can't be started: {e}"))?;
    // Its output is read aside, for it may hang; killed, it says no more.
    let from = child.stdout.take();
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = from.map(|from| from.take(LONGEST).read_to_string(&mut text));
        let _ = say.send(read.is_some_and(|read| read.is_ok()).then_some(text));
    });
    let text = said.recv_timeout(PATIENCE);
    let _ = child.kill();
    let _ = child.wait();
    match text {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err("its meta-data can't be read".to_owned()),
        Err(_) => Err(format!("no meta-data within {PATIENCE:?}")),
    }
}

/// An agent's environment.
pub(super) fn environment(
    ocf: &Ocf,
    instance: &str,
    deadline: Option<Duration>,
) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = (ocf.parameters.iter())
        .map(|(name, value)| (format!("OCF_RESKEY_{name}"), value.clone()))
        .collect();
    let mut put = |name: &str, value: &str| all.push((name.to_owned(), value.to_owned()));
    put("OCF_ROOT", OCF_ROOT);
    put("OCF_RA_VERSION_MAJOR", "1");
    put("OCF_RA_VERSION_MINOR", "0");
    put("OCF_RESOURCE_PROVIDER", &ocf.provider);
    put("OCF_RESOURCE_TYPE", &ocf.kind);
    put("OCF_RESOURCE_INSTANCE", instance);
    if let Some(deadline) = deadline {
        put(
            "OCF_RESKEY_CRM_meta_timeout",
            &deadline.as_millis().to_string(),
        );
    }
    all
}

impl MetaData {
    /// Read from its XML, as far as it is of use here: elements and their attributes.
    fn of(text: &str) -> Self {
        let mut meta = Self::default();
        let mut rest = text;
        while let Some((_, from)) = rest.split_once('<') {
            if let Some(comment) = from.strip_prefix("!--") {
                rest = comment.split_once("-->").map_or("", |(_, after)| after);
                continue;
            }
            let (element, after) = from.split_once('>').unwrap_or((from, ""));
            rest = after;
            let name = element
                .split([' ', '\t', '\n', '/'])
                .next()
                .unwrap_or_default();
            let of = attributes(element);
            match (name, of.get("name")) {
                ("parameter", Some(name)) => {
                    let needed =
                        matches!(of.get("required").map(String::as_str), Some("1" | "true"));
                    meta.parameters.insert(name.clone(), needed);
                }
                ("action", Some(name)) => {
                    let timeout = of.get("timeout").and_then(|text| span(text));
                    let timeout = timeout.unwrap_or(Span::from_millis(20_000));
                    meta.timeouts.insert(name.clone(), timeout);
                }
                _ => {}
            }
        }
        meta
    }
}

/// `parameter name="ip" unique='1'` → name, unique.
fn attributes(element: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut rest = element;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before
            .trim_end()
            .rsplit([' ', '\t', '\n'])
            .next()
            .unwrap_or_default();
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            break;
        };
        let Some((value, left)) = after.get(1..).and_then(|after| after.split_once(quote)) else {
            break;
        };
        all.insert(name.to_owned(), value.to_owned());
        rest = left;
    }
    all
}

/// `20`, `20s`, `500ms`, `1m` or `1min`, as Pacemaker writes lengths of time.
fn span(text: &str) -> Option<Span> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text.get(..end)?.parse().ok()?;
    let ms = match text.get(end..)?.trim() {
        "" | "s" | "sec" => 1_000,
        "ms" | "msec" => 1,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    Some(Span::from_millis(number.saturating_mul(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_data_is_read_as_agents_write_it() {
        let meta = MetaData::of(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE resource-agent SYSTEM \"ra-api-1.dtd\">\n\
             <resource-agent name=\"awsvip\" version=\"1.0\">\n<parameters>\n\
             <!-- <parameter name=\"old\"/> -->\n\
             <parameter name=\"secondary_private_ip\" unique=\"1\" required=\"1\">\n<longdesc lang=\"en\">a=b</longdesc>\
             </parameter><parameter name='region'\n required='0' />\n</parameters>\n<actions>\n\
             <action name=\"start\"        timeout=\"30s\" />\n<action name=\"stop\" timeout=\"1m\"/>\n\
             <action name=\"monitor\" depth=\"0\" timeout=\"20\" interval=\"20\" />\n\
             <action name=\"meta-data\" timeout=\"soon\" />\n</actions></resource-agent>",
        );
        let needed = [
            ("region".to_owned(), false),
            ("secondary_private_ip".to_owned(), true),
        ];
        assert_eq!(meta.parameters, needed.into());
        let timeout = |action: &str| meta.timeouts[action];
        assert_eq!(timeout("start"), Span::from_millis(30_000));
        assert_eq!(timeout("stop"), Span::from_millis(60_000));
        assert_eq!(timeout("monitor"), Span::from_millis(20_000));
        assert_eq!(timeout("meta-data"), Span::from_millis(20_000));
        for odd in [
            "",
            "<",
            "<parameter name=",
            "<parameter name=\"x",
            "<action name='a' timeout=x",
            "<!--",
            "a=b>",
        ] {
            MetaData::of(odd);
        }
    }
}

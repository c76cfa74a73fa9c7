//! Commands of other tools' files, as checks and hooks of ours.

use super::draft::{Table, Value, Which};
use std::net::IpAddr;

/// The longest name of a process that the kernel keeps.
const LONGEST_COMM: usize = 15;

/// Splits a command into its words as the tools do: spaces separate, quotes keep together.
pub(super) fn words(command: &str) -> Vec<String> {
    let (mut all, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in command.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                begun = true;
            }
            None if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    all.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            None => word.push(c),
        }
    }
    if begun || !word.is_empty() {
        all.push(word);
    }
    all
}

/// A word as a shell reads it.
pub(super) fn for_shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// What runs a text that only a shell understands.
pub(super) fn by_shell(text: &str) -> Vec<String> {
    ["/bin/sh", "-c", text].map(str::to_owned).to_vec()
}

/// Whether it is more than a program and its words.
fn needs_shell(command: &str) -> bool {
    command.contains(['|', '&', ';', '<', '>', '`', '$', '*', '(', '\n'])
}

/// A command as it is run, and whether by a shell.
pub(super) fn run(command: &str) -> (Vec<String>, bool) {
    let all = words(command);
    match all.first() {
        Some(first) if first.starts_with('/') && !needs_shell(command) => (all, false),
        _ => (by_shell(command.trim()), true),
    }
}

/// Several commands as one: each must succeed; what can't be stopped keeps nothing else from being
/// stopped.
pub(super) fn all_of(commands: &[Vec<String>], which: Which) -> Vec<String> {
    if let [one] = commands {
        return one.clone();
    }
    let line = |words: &Vec<String>| {
        let words: Vec<String> = words.iter().map(|w| for_shell(w)).collect();
        words.join(" ")
    };
    let text: Vec<String> = commands.iter().map(line).collect();
    by_shell(&match which {
        Which::Holding => text.join(" && "),
        Which::Released | Which::Changed => {
            format!("e=0; {} || e=1; exit $e", text.join(" || e=1; "))
        }
    })
}

/// Something that can be looked at without running a program; and what is different then.
pub(super) fn look(command: &str) -> Option<(Table, &'static str)> {
    let text = |key, value: &str| vec![(key, Value::Text(value.to_owned()))];
    if let Some(check) = by_bash(command) {
        return Some((text("tcp", &check), "connects by itself, without a shell"));
    }
    if let Some(pidfile) = pidfile(command) {
        return Some((text("process", &pidfile), ENDS));
    }
    let all = words(command.strip_suffix("|| exit 1").unwrap_or(command));
    if all.iter().any(|word| needs_shell(word)) {
        return None;
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let (program, rest) = all.split_first()?;
    let program = program.rsplit('/').next()?;
    match (program, rest) {
        ("killall" | "killall5", ["-0" | "-s0", name])
        | ("killall", ["-q", "-0", name] | ["-0", "-q", name])
        | ("pidof" | "pgrep", [name] | ["-s" | "-x" | "-q", name]) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
            let name = name.rsplit('/').next()?;
            if name.is_empty() || !name.chars().all(plain) {
                return None;
            }
            let kept: String = name.chars().take(LONGEST_COMM).collect();
            Some((text("process", &kept), ENDS))
        }
        ("systemctl", ["is-active", unit] | ["is-active", "-q" | "--quiet", unit])
        | ("systemctl", ["-q" | "--quiet", "is-active", unit]) => {
            let unit = match unit.contains('.') {
                true => (*unit).to_owned(),
                false => format!("{unit}.service"),
            };
            Some((text("unit", &unit), "its end is noticed at once"))
        }
        ("nc" | "ncat" | "netcat", [flags @ .., host, port]) => {
            let known = |f: &&str| {
                let f = *f;
                f.starts_with("-z") || f.starts_with("-w") || is_number(f) || f == "-v"
            };
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            let is_look = flags.iter().any(|f| f.contains('z'));
            (is_look && flags.iter().all(known))
                .then(|| (text("tcp", &place(host, port)), "connects by itself"))
        }
        ("ping" | "ping6", [flags @ .., host]) => {
            let host: IpAddr = host.parse().ok()?;
            let known = |f: &&str| {
                is_number(f)
                    || ["-c", "-W", "-w", "-q", "-n", "-i"]
                        .iter()
                        .any(|k| f.starts_with(k))
            };
            (flags.iter().all(known)).then(|| {
                (
                    text("ping", &host.to_string()),
                    "asks by itself, once in each look",
                )
            })
        }
        ("curl", [flags @ .., url]) if url.starts_with("http://") => {
            let quiet = [
                "-f",
                "-s",
                "-S",
                "-o",
                "/dev/null",
                "--silent",
                "--fail",
                "--show-error",
                "-fsS",
                "-sf",
                "-fs",
                "-sSf",
            ];
            let fails = flags.iter().any(|f| {
                *f == "--fail" || (f.starts_with('-') && !f.starts_with("--") && f.contains('f'))
            });
            (fails && flags.iter().all(|f| quiet.contains(f))).then(|| {
                (
                    text("http", url),
                    "asks by itself; a status of 200 to 399 passes",
                )
            })
        }
        _ => None,
    }
}

const ENDS: &str = "watched by the kernel: its end is noticed at once, without polling";

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn place(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// `</dev/tcp/127.0.0.1/80`, with or without `bash -c`.
fn by_bash(command: &str) -> Option<String> {
    let (before, after) = command.split_once("/dev/tcp/")?;
    let mut shell: Vec<String> = words(&before.replace(['\'', '"', '<', '>'], " "));
    shell.retain(|word| {
        ![
            "/bin/bash",
            "bash",
            "/usr/bin/bash",
            "-c",
            ":",
            "exec",
            "echo",
        ]
        .contains(&word.as_str())
    });
    let place_text = after.trim().trim_matches(['\'', '"']);
    let (host, port) = place_text.split_once('/')?;
    let port: u16 = port.trim().parse().ok().filter(|port| *port > 0)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let fine = !host.is_empty() && host.chars().all(plain) && shell.is_empty();
    fine.then(|| place(host, port))
}

/// ``kill -0 `cat /run/nginx.pid` ``
fn pidfile(command: &str) -> Option<String> {
    let rest = command.trim();
    let rest = rest
        .strip_prefix("/bin/")
        .or(rest.strip_prefix("/usr/bin/"))
        .unwrap_or(rest);
    let rest = rest.strip_prefix("kill -0 ")?.trim();
    let inner = match rest.strip_prefix("$(") {
        Some(inner) => inner.strip_suffix(')')?,
        None => rest.strip_prefix('`')?.strip_suffix('`')?,
    };
    let inner = inner.trim();
    let path = inner
        .strip_prefix("cat ")
        .or(inner.strip_prefix('<'))?
        .trim();
    (path.starts_with('/') && !needs_shell(path) && !path.contains(char::is_whitespace))
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_looked_at_needs_no_program() {
        for (command, key, value) in [
            ("killall -0 haproxy", "process", "haproxy"),
            (
                "/usr/bin/killall -0 a-rather-long-name",
                "process",
                "a-rather-long-n",
            ),
            ("pidof nginx || exit 1", "process", "nginx"),
            ("kill -0 $(cat /run/nginx.pid)", "process", "/run/nginx.pid"),
            ("/bin/kill -0 `cat /run/x.pid`", "process", "/run/x.pid"),
            ("systemctl is-active --quiet nginx", "unit", "nginx.service"),
            ("nc -z -w 1 127.0.0.1 80", "tcp", "127.0.0.1:80"),
            ("</dev/tcp/127.0.0.1/443", "tcp", "127.0.0.1:443"),
            (
                "/bin/bash -c '</dev/tcp/10.0.0.1/3306'",
                "tcp",
                "10.0.0.1:3306",
            ),
            ("ping -c1 -W1 192.0.2.1", "ping", "192.0.2.1"),
            (
                "curl -fsS -o /dev/null http://127.0.0.1/x",
                "http",
                "http://127.0.0.1/x",
            ),
        ] {
            let expected = vec![(key, Value::Text(value.to_owned()))];
            assert_eq!(look(command).map(|l| l.0), Some(expected), "{command}");
        }
        for command in [
            "",
            "killall haproxy",
            "/usr/local/bin/check.sh",
            "pgrep -f 'java -jar x'",
            "curl http://127.0.0.1/",
            "curl -k https://127.0.0.1/",
            "ping -c1 gateway",
            "nc 127.0.0.1 80",
            "kill -0 1",
        ] {
            assert_eq!(look(command), None, "{command}");
        }
    }

    #[test]
    fn what_is_no_program_is_run_by_a_shell() {
        let sh = |text: &str| (by_shell(text), true);
        assert_eq!(run("pidof x || exit 1"), sh("pidof x || exit 1"));
        assert_eq!(run("check.sh a"), sh("check.sh a"));
        let plain = ["/x/y.sh", "a b", "c"].map(str::to_owned).to_vec();
        assert_eq!(run("/x/y.sh 'a b' c"), (plain, false));
        assert_eq!(for_shell("it's"), "'it'\\''s'");
    }
}

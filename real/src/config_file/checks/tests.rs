use super::*;
use crate::config_file::ConfigFile;
use crate::config_file::tests::{THREE, refused};
use std::path::Path;

/// What is said of a check with these lines.
fn said(lines: &str) -> String {
    let to = format!("[groups.web.checks.a]\n{lines}\n[timing]");
    refused(THREE, "[timing]", &to)
}

#[test]
fn every_error_of_a_check_names_its_line_its_key_and_the_remedy() {
    let wrong = [
        "every = \"1s\"",
        "htpp = \"http://127.0.0.1/\"",
        "tcp = \"127.0.0.1:80\"\nping = \"127.0.0.1\"",
        "tcp = \"127.0.0.1\"",
        "tcp = \"127.0.0.1:0\"",
        "tcp = \"::1:80\"",
        "tcp = \"127.0.0.1:80\"\nstatus = 200",
        "tcp = \"127.0.0.1:80\"\nuser = \"nobody\"",
        "http = \"https://127.0.0.1/\"",
        "http = \"127.0.0.1\"",
        "http = \"http://127.0.0.1/a b\"",
        "http = \"http://127.0.0.1:http/\"",
        "http = \"http://127.0.0.1\"\nstatus = 20",
        "http = \"http://127.0.0.1\"\nexpect = \"\"",
        "http = \"http://127.0.0.1\"\nhost = \"a b\"",
        "http = \"http://127.0.0.1\"\nweight = 20",
        "unit = \"nginx service\"",
        "process = \"run/nginx.pid\"",
        "process = \"prometheus-node-exporter\"",
        "link = \"eth0:1\"",
        "route = \"10.0.0.1/8\"",
        "route = \"somewhere\"",
        "file = \"etc/x\"",
        "file = \"/etc/x\"\npresent = \"no\"",
        "ping = \"gateway\"",
        "exec = []",
        "exec = \"/bin/true\"",
        "exec = [\"true\"]",
        "exec = [\"/bin/true\"]\nuser = \"no body\"",
        "exec = [\"/bin/true\"]\ntimeout = \"2s\"",
        "exec = [\"/bin/true\"]\ntimeout = \"0s\"",
        "exec = [\"/bin/true\"]\nevery = \"1ms\"",
        "exec = [\"/bin/true\"]\nevery = \"1\"",
        "exec = [\"/bin/true\"]\nrise = 0",
        "exec = [\"/bin/true\"]\nfall = 1000",
        "exec = [\"/bin/true\"]\nbefore_first = \"up\"",
    ];
    let all: Vec<String> = wrong.into_iter().map(said).collect();
    insta::assert_snapshot!(all.join("\n"));
}

fn parsed(lines: &str) -> Vec<Check> {
    let text = format!("{THREE}\n{lines}");
    let source = Source::new(Path::new("/etc/onehold/onehold.toml"), text);
    let file = ConfigFile::parse(&source).unwrap();
    checks(&source, "web", &file.groups["web"]).unwrap()
}

#[test]
fn a_check_has_these_defaults() {
    let all = parsed(
        "[groups.web.checks]\n\
         a = { http = \"http://[::1]:8080/healthz?x=1\", host = \"www.example.org\" }\n\
         b = { process = \"nginx\" }\n\
         c = { tcp = \"localhost:80\", every = \"200ms\" }\n\
         d = { route = \"default\" }\n",
    );
    let Kind::Http(http) = &all[0].kind else {
        panic!("{all:?}");
    };
    assert_eq!(
        (http.at.to_string().as_str(), http.path.as_str()),
        ("[::1]:8080", "/healthz?x=1")
    );
    assert_eq!((http.host.as_str(), http.status), ("www.example.org", None));
    let (second, half) = (Span::from_millis(1_000), Span::from_millis(500));
    assert_eq!((all[0].every, all[0].timeout), (second, half));
    assert_eq!((all[0].rise, all[0].fall), (2, 2));
    assert_eq!(all[0].before_first, BeforeFirst::Failing);
    // What the kernel reports is certain.
    assert_eq!((all[1].rise, all[1].fall), (2, 1));
    assert_eq!(all[2].timeout, Span::from_millis(200));
    assert_eq!(all[3].kind.name(), "route");
}

#[test]
fn a_group_has_not_more_checks_than_can_be_shown() {
    let many: String = (0..=MAX_CHECKS)
        .map(|n| format!("c{n} = {{ ping = \"127.0.0.1\" }}\n"))
        .collect();
    let to = format!("[groups.web.checks]\n{many}[timing]");
    assert!(refused(THREE, "[timing]", &to).contains("65 of them: at most 64"));
}

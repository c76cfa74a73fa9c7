use super::*;
use crate::config_file::ConfigFile;
use crate::config_file::tests::{Etc, THREE, refused};
use std::os::unix::fs::PermissionsExt;

#[test]
fn every_error_of_a_hook_names_its_line_its_key_and_the_remedy() {
    let wrong = [
        "before = { exec = [\"/x\"] }",
        "before_hold = { exec = [\"/x\"] }",
        "before_hold = { exec = [\"/x\"], deadline = \"5s\" }",
        "before_hold = { exec = [\"/x\"], deadline = \"5s\", failing = \"wait\" }",
        "before_hold = { ocf = \"heartbeat:x\", deadline = \"5s\", failing = \"open\" }",
        "holding = { deadline = \"5s\" }",
        "holding = { exec = [\"x\"] }",
        "holding = { exec = [\"/x\"], ocf = \"heartbeat:x\" }",
        "holding = { exec = [\"/x\"], failing = \"open\" }",
        "holding = { exec = [\"/x\"], deadline = \"1h\" }",
        "holding = { exec = [\"/x\"], deadline = \"1ms\" }",
        "holding = { exec = [\"/x\"], reconcile = \"1ms\" }",
        "holding = { exec = [\"/x\"], parameters = { a = \"b\" } }",
        "holding = { ocf = \"awsvip\" }",
        "holding = { ocf = \"heartbeat:../../bin/sh\" }",
        "holding = { ocf = \"heartbeat:x\", parameters = { a = [1] } }",
        "holding = { ocf = \"heartbeat:x\" }\nreleased = { exec = [\"/x\"] }",
        "released = { exec = [\"/x\"], reconcile = \"60s\" }",
        "changed = { exec = [\"/x\"], user = \"\" }",
    ];
    let all: Vec<String> = (wrong.into_iter())
        .map(|lines| {
            let to = format!("[groups.web.hooks]\n{lines}\n[timing]");
            refused(THREE, "[timing]", &to)
        })
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

fn parsed(lines: &str) -> Hooks {
    let text = format!("{THREE}\n[groups.web.hooks]\n{lines}");
    let source = Source::new(Path::new("/etc/onehold/onehold.toml"), text);
    let file = ConfigFile::parse(&source).unwrap();
    hooks(&source, "web", &file.groups["web"]).unwrap()
}

#[test]
fn an_ocf_agent_that_is_started_is_stopped_as_well() {
    let all = parsed(
        "holding = { ocf = \"ocf:heartbeat:awsvip\", parameters = { secondary_private_ip = \"10.0.0.50\", n = 3, \
         dry = true } }",
    );
    let holding = all.holding.unwrap();
    assert_eq!(Some(&holding), all.released.as_ref());
    let Run::Ocf(ocf) = holding.run else {
        panic!("it is one");
    };
    assert_eq!(
        ocf.program(),
        Path::new("/usr/lib/ocf/resource.d/heartbeat/awsvip")
    );
    assert_eq!(
        (&*ocf.parameters["n"], &*ocf.parameters["dry"]),
        ("3", "true")
    );
}

#[test]
fn a_command_that_is_not_there_or_that_others_can_change_is_not_run() {
    let etc = Etc::new();
    let me = rustix::process::geteuid().as_raw();
    std::fs::set_permissions(&etc.0, PermissionsExt::from_mode(0o755)).unwrap();
    let file = etc.write("check", "#!/bin/sh\n");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let judged = |path: &Path, me| match runnable(path, me) {
        Ok(()) => "fine".to_owned(),
        Err(what) => etc.said(what),
    };
    let mut all = vec![judged(&etc.0.join("none"), me), judged(&etc.0, me)];
    for m in [0o644, 0o755, 0o775, 0o757] {
        mode(&file, m);
        all.push(judged(&file, me));
    }
    mode(&file, 0o755);
    for m in [0o777, 0o1777] {
        mode(&etc.0, m);
        all.push(judged(&file, me));
    }
    mode(&etc.0, 0o755);
    std::os::unix::fs::symlink(&file, etc.0.join("link")).unwrap();
    all.push(judged(&etc.0.join("link"), me));
    insta::assert_snapshot!(all.join("\n"));
    if me == 0 {
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        assert!(
            judged(&file, me).contains("user 65534 owns"),
            "{}",
            judged(&file, me)
        );
        assert_eq!(judged(&file, 65534), "fine");
    }
}

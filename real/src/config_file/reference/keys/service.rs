//! The rows of checks and hooks.

use super::super::{Key, key};

/// Of a kind of check: in the place of the one in [`BASE`].
const fn kind(
    name: &'static str,
    value: &'static str,
    example: &'static str,
    what: &'static str,
) -> Key {
    key(name, value, example, what)
        .else_("one of the nine")
        .without(&["groups.web.checks.page.tcp"])
}

/// An option of checks by `http`.
const WEB: &[(&str, &str)] = &[(
    "groups.web.checks.page.http",
    r#""http://127.0.0.1/healthz""#,
)];
const NOT_TCP: &[&str] = &["groups.web.checks.page.tcp"];

pub(super) const CHECKS: &[Key] = &[
    kind(
        "tcp",
        "`HOST:PORT`",
        r#""127.0.0.1:8080""#,
        "Somebody accepts the connection",
    )
    .refused(&[r#""127.0.0.1""#]),
    kind(
        "http",
        "an `http://` address",
        r#""http://127.0.0.1/healthz""#,
        "A GET is answered as it should be",
    )
    .refused(&[r#""https://127.0.0.1/""#]),
    kind(
        "unit",
        "a unit of systemd",
        r#""nginx.service""#,
        "systemd says active",
    )
    .refused(&[r#""two words""#]),
    kind(
        "process",
        "a path, or a name of at most 15 letters",
        r#""/run/nginx.pid""#,
        "The process with the number in that file runs, or one of that name",
    )
    .refused(&[r#""sixteen-letters-""#]),
    kind(
        "link",
        "the name of an interface",
        r#""eth1""#,
        "It is up and has a carrier",
    )
    .refused(&[r#""""#]),
    kind(
        "route",
        "a network, or `\"default\"`",
        r#""default""#,
        "The main table has a route to exactly that network",
    )
    .refused(&[r#""10.0.0.1/8""#]),
    kind(
        "file",
        "an absolute path",
        r#""/run/in-service""#,
        "It exists",
    )
    .refused(&[r#""in-service""#]),
    kind(
        "ping",
        "an IP address",
        r#""192.0.2.1""#,
        "It answers an echo request",
    )
    .refused(&[r#""gateway""#]),
    kind(
        "exec",
        "a list: an absolute path and arguments",
        r#"["/usr/local/sbin/well", "--quick"]"#,
        "The command ends with status 0. No shell",
    )
    .refused(&["[]", r#"["well"]"#]),
    key(
        "status",
        "a number, 100 to 599",
        "204",
        "Of `http`: the status that passes",
    )
    .else_("200 to 399")
    .refused(&["99", "600"])
    .beside(WEB)
    .without(NOT_TCP),
    key(
        "expect",
        "text, not empty",
        r#""ok""#,
        "Of `http`: what the page must have in its first 64 KiB",
    )
    .else_("nothing")
    .refused(&[r#""""#])
    .beside(WEB)
    .without(NOT_TCP),
    key(
        "host",
        "text, not empty",
        r#""www.example.org""#,
        "Of `http`: the `Host` header",
    )
    .else_("that of the address")
    .refused(&[r#""""#])
    .beside(WEB)
    .without(NOT_TCP),
    key(
        "present",
        "`true` or `false`",
        "false",
        "Of `file`: whether it should exist",
    )
    .or("true")
    .beside(&[("groups.web.checks.page.file", r#""/run/in-service""#)])
    .without(NOT_TCP),
    key(
        "user",
        "the name of a user",
        r#""nobody""#,
        "Of `exec`: who runs it, if the agent runs as root",
    )
    .else_("the agent's own")
    .refused(&[r#""two words""#])
    .beside(&[("groups.web.checks.page.exec", r#"["/usr/local/sbin/well"]"#)])
    .without(NOT_TCP),
    key(
        "every",
        "a length of time, 50ms to 3600s",
        r#""5s""#,
        "From one look to the next",
    )
    .or(r#""1s""#)
    .refused(&[r#""49ms""#, r#""3601s""#]),
    key(
        "timeout",
        "a length of time, 1ms to `every`",
        r#""250ms""#,
        "A look that takes longer has failed, and is killed with its children",
    )
    .or(r#""500ms""#)
    .refused(&[r#""0ms""#, r#""1001ms""#]),
    key(
        "rise",
        "a number, 1 to 100",
        "3",
        "How many good looks in a row are a success",
    )
    .or("2")
    .refused(&["0", "101"]),
    key(
        "fall",
        "a number, 1 to 100",
        "3",
        "How many bad looks in a row are a failure",
    )
    .else_("2; 1 for `process`, `unit`, `link`, `route`")
    .refused(&["0", "101"]),
    key(
        "before_first",
        r#""failing", "passing""#,
        r#""passing""#,
        "What counts from the daemon's start until the first result",
    )
    .or(r#""failing""#),
];

pub(super) const HOOKS: &[Key] = &[
    key(
        "before_hold",
        "a table",
        r#"{ exec = ["/usr/sbin/conntrackd", "-c"], deadline = "5s", failing = "open" }"#,
        "Run when this member may hold, while the address is there and mute",
    )
    .else_("nothing"),
    key(
        "holding",
        "a table",
        r#"{ exec = ["/usr/local/sbin/move-address"], deadline = "60s" }"#,
        "Run while this member holds, until it succeeds, and again every `reconcile`",
    )
    .else_("nothing"),
    key(
        "released",
        "a table",
        r#"{ exec = ["/usr/local/sbin/leave-address"] }"#,
        "Run when the gate is shut, until it succeeds",
    )
    .else_("nothing"),
    key(
        "changed",
        "a table",
        r#"{ exec = ["/usr/local/sbin/tell-the-team"] }"#,
        "Run at each change of role, for people",
    )
    .else_("nothing"),
];

const BEFORE_HOLD: &str = "groups.web.hooks.before_hold";

pub(super) const HOOK: &[Key] = &[
    key(
        "exec",
        "a list: an absolute path and arguments",
        r#"["/usr/local/sbin/move-address", "--all"]"#,
        "The command. No shell",
    )
    .else_("`ocf`")
    .refused(&["[]", r#"["move-address"]"#]),
    key(
        "ocf",
        "`PROVIDER:TYPE`",
        r#""heartbeat:awsvip""#,
        "Of `holding`: an OCF resource agent; its `stop` is run as `released`",
    )
    .else_("`exec`")
    .refused(&[r#""awsvip""#])
    .without(&["groups.web.hooks.holding.exec"]),
    key(
        "parameters",
        "a table: text, whole numbers, `true` or `false` by name",
        r#"{ secret = "10.0.0.50", port = 80 }"#,
        "Of `ocf`: the agent's parameters",
    )
    .or("{}")
    .beside(&[("groups.web.hooks.holding.ocf", r#""heartbeat:awsvip""#)])
    .without(&["groups.web.hooks.holding.exec"]),
    key(
        "deadline",
        "a length of time, 100ms to 600s",
        r#""60s""#,
        "How long one run may take; then it is killed with its children. `before_hold` must say it: for so long the address \
         may stay mute",
    )
    .else_("30s; 10s for `changed`; what an OCF agent says itself")
    .refused(&[r#""99ms""#, r#""601s""#]),
    key(
        "failing",
        r#""open", "release""#,
        r#""release""#,
        "Of `before_hold`, which must say it: what follows when it fails, or is not done at its deadline: serve all the \
         same, or let the other candidate have it",
    )
    .at(BEFORE_HOLD)
    .beside(&[
        ("groups.web.hooks.before_hold.exec", r#"["/usr/sbin/conntrackd", "-c"]"#),
        ("groups.web.hooks.before_hold.deadline", r#""5s""#),
    ]),
    key(
        "reconcile",
        "a length of time, 1s to 86400s",
        r#""300s""#,
        "Of `holding`: how long after a success it is run again",
    )
    .else_("60s")
    .refused(&[r#""999ms""#, r#""86401s""#]),
    key(
        "user",
        "the name of a user",
        r#""nobody""#,
        "Who runs it, if the agent runs as root",
    )
    .else_("the agent's own")
    .refused(&[r#""two words""#]),
];

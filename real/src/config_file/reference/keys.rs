//! The rows.

mod service;

use super::{Key, Table, key};
use service::{CHECKS, HOOK, HOOKS};

/// A file in which every table is there, so that each key can be tried.
pub const BASE: &str = r#"
[cluster]
name = "web"
secret_file = "/etc/onehold/secret"

[members.lb0]
addresses = ["10.0.0.10"]

[members.lb1]
addresses = ["10.0.0.11"]

[members.w]
addresses = ["10.0.0.12"]
witness = true

[groups.web]
addresses = ["10.0.0.50/24", { address = "192.0.2.50/24", interface = "eth1" }]
interface = "eth0"
preferred = "lb0"
routes = [{ to = "default", via = "10.0.0.1" }]

[groups.web.checks.page]
tcp = "127.0.0.1:80"

[groups.web.hooks.holding]
exec = ["/usr/local/sbin/move-address"]
"#;

/// The tables of a cluster's file.
pub const TABLES: &[Table] = &[
    Table {
        name: "cluster",
        what: "What the members share.",
        at: "cluster",
        keys: CLUSTER,
    },
    Table {
        name: "members.NAME",
        what: "One for each member: two candidates, and witnesses, 9 members in all. `NAME` has 1 to 64 letters, \
               digits and `.-_`; best is the machine's host name, by which it finds itself in the file.",
        at: "members.lb1",
        keys: MEMBERS,
    },
    Table {
        name: "groups.NAME",
        what: "Addresses that move together; at most 58 groups and 1024 addresses. `NAME` as for members.",
        at: "groups.web",
        keys: GROUPS,
    },
    Table {
        name: "groups.NAME.addresses",
        what: "An address that belongs to another interface than the group's is written as a table of its own: \
               `{ address = \"192.0.2.50/24\", interface = \"eth1\" }`.",
        at: "groups.web.addresses.1",
        keys: ADDRESSES,
    },
    Table {
        name: "groups.NAME.routes",
        what: "Routes that are there while the group is held: `routes = [{ to = \"default\", via = \"10.0.0.1\" }]`, \
               at most 64 in a group.",
        at: "groups.web.routes.0",
        keys: ROUTES,
    },
    Table {
        name: "groups.NAME.checks.NAME",
        what: "What must pass for the service to be healthy; run by `onehold agent`, at most 64 in a group. Exactly one \
               of the first nine keys says what is looked at.",
        at: "groups.web.checks.page",
        keys: CHECKS,
    },
    Table {
        name: "groups.NAME.hooks",
        what: "What is run because of what the group is on this member; run by `onehold agent`.",
        at: "groups.web.hooks",
        keys: HOOKS,
    },
    Table {
        name: "groups.NAME.hooks.HOOK",
        what: "One hook. What changes `before_hold` also needs a restart of the member: the daemon goes by the file with \
               which it was started.",
        at: "groups.web.hooks.holding",
        keys: HOOK,
    },
    Table {
        name: "timing",
        what: "All optional.",
        at: "timing",
        keys: TIMING,
    },
    Table {
        name: "log",
        what: "All optional.",
        at: "log",
        keys: LOG,
    },
    Table {
        name: "metrics",
        what: "Optional.",
        at: "metrics",
        keys: METRICS,
    },
];

const CLUSTER: &[Key] = &[
    key(
        "name",
        "1 to 64 letters, digits and `.-_`",
        r#""mail""#,
        "Its name, which is part of every datagram",
    )
    .refused(&[r#""""#, r#""two words""#]),
    key(
        "secret_file",
        "a path; a relative one starts at the file's own directory",
        r#""secret.2""#,
        "The file with the shared secret, readable by its owner alone. `onehold secret` creates it",
    ),
    key(
        "secret_files",
        "a list of paths",
        r#"["secret.2", "secret"]"#,
        "Instead of `secret_file`, to rotate the key: the newest first, at most four; all are accepted",
    )
    .else_("`secret_file`")
    .refused(&[r#"["secret", "secret"]"#])
    .without(&["cluster.secret_file"]),
    key(
        "arbitration",
        r#""majority", "survivor""#,
        r#""survivor""#,
        "What it takes to hold: votes of a majority of all members, or, for two members alone, that the other is heard or \
         dead",
    )
    .else_("`\"majority\"` with a witness; two members alone must say it")
    .without(&["members.w"]),
    key(
        "guard",
        r#""auto", "bpf", "nft", "none""#,
        r#""nft""#,
        "How the kernel enforces the end of a lease. `\"auto\"`: BPF, or nftables where BPF is refused. With `\"none\"` a \
         frozen holder keeps the address",
    )
    .or(r#""auto""#),
    key(
        "frames",
        "`true` or `false`",
        "false",
        "Under `survivor`: adverts travel as Ethernet frames, too, under every firewall and route of the two members",
    )
    .else_("`true` under `survivor`; nothing else uses it"),
    key(
        "evidence",
        r#""echo", "none""#,
        r#""none""#,
        "Under `survivor`: what a member that hears nothing of the other asks the network before it takes hold. \
         Under `majority`, only `presume-dead` asks. `\"echo\"`: ICMP echo requests to the floating addresses, which a \
         holder's kernel answers. Each member's own affair",
    )
    .or(r#""echo""#),
    key(
        "port",
        "a number, 1 to 65535",
        "7000",
        "The UDP port of every address of a member that has none",
    )
    .or("6946")
    .refused(&["0", "65536"]),
];

const MEMBERS: &[Key] = &[
    key(
        "addresses",
        "a list of IP addresses or host names, each with or without a port",
        r#"["10.0.0.11", "10.1.0.11:7000"]"#,
        "Where the others reach it. Several are several paths: address n of one candidate talks to address n of the other, \
         so both have equally many",
    )
    .refused(&["[]", r#"["10.0.0.300"]"#])
    .beside(&[("members.lb0.addresses", r#"["10.0.0.10", "10.1.0.10:7000"]"#)]),
    key(
        "witness",
        "`true` or `false`",
        "true",
        "It votes and never holds",
    )
    .or("false")
    .at("members.w"),
    key(
        "preferred",
        "`true` or `false`; `true` for one candidate at most",
        "true",
        "It gets every group that names no other candidate",
    )
    .or("false"),
];

const GROUPS: &[Key] = &[
    key(
        "addresses",
        "a list of floating IP addresses, each with or without a prefix length",
        r#"["10.0.0.51/24", "2001:db8::51/64"]"#,
        "The addresses. The prefix is not put on the interface; members must agree on it, and it must not make the address \
         its network's own or its broadcast address",
    )
    .refused(&["[]", r#"["10.0.0.50/33"]"#, r#"["10.0.0.300"]"#]),
    key(
        "interface",
        "a name, or one for each candidate: `{ lb0 = \"eth0\", lb1 = \"ens3\" }`",
        r#""ens3""#,
        "Which interface the addresses belong to that name none",
    )
    .else_("none: each address must name its own")
    .refused(&[r#""""#]),
    key(
        "announce",
        r#""neighbours", "none""#,
        r#""none""#,
        "Who says where the addresses are: this daemon, by ARP and neighbour discovery; or nobody here, where a routing \
         daemon does",
    )
    .or(r#""neighbours""#),
    key(
        "routes",
        "a list of tables",
        r#"[{ to = "203.0.113.0/24", via = "10.0.0.1" }]"#,
        "See below",
    )
    .or("[]"),
    key(
        "preferred",
        "the name of a candidate",
        r#""lb1""#,
        "The candidate that gets the group when both can",
    )
    .else_("the member with `preferred = true`")
    .refused(&[r#""w""#, r#""nobody""#])
    .beside(&[("members.lb0.preferred", "true")]),
    key(
        "failback",
        r#""auto", "manual""#,
        r#""manual""#,
        "Whether the group returns to the preferred candidate by itself, or by `onehold switch` only",
    )
    .or(r#""auto""#),
    key(
        "failback_delay",
        "a length of time",
        r#""30s""#,
        "How long the preferred candidate must have been ready before it gets the group back. Each takeover in a row that \
         nobody planned doubles it, up to 64 times",
    )
    .or(r#""5s""#),
    key(
        "release_when_unhealthy",
        "`true` or `false`",
        "true",
        "Release the group when a check fails, even if the other candidate is not ready: better nobody than a sick server",
    )
    .or("false"),
    key("checks", "tables by name", r#"{ link = { link = "eth1" } }"#, "See below").or("{}").without(&["groups.web.checks.page"]),
    key(
        "hooks",
        "a table",
        r#"{ changed = { exec = ["/usr/local/sbin/tell-the-team"] } }"#,
        "See below",
    )
    .or("{}"),
];

const ADDRESSES: &[Key] = &[
    key(
        "address",
        "an IP address, with or without a prefix length",
        r#""192.0.2.51/24""#,
        "The address",
    )
    .refused(&[r#""192.0.2.51/0""#]),
    key(
        "interface",
        "as for the group",
        r#"{ lb0 = "eth1", lb1 = "ens4" }"#,
        "Which interface it belongs to",
    )
    .else_("the group's"),
];

const ROUTES: &[Key] = &[
    key(
        "to",
        "a network, one address, or `\"default\"`",
        r#""203.0.113.0/24""#,
        "Where it leads",
    )
    .refused(&[r#""203.0.113.1/24""#]),
    key("via", "an IP address", r#""10.0.0.254""#, "The gateway; it must be a neighbour")
        .else_("none")
        .refused(&[r#""gateway""#, r#""2001:db8::1""#])
        .beside(&[("groups.web.routes.0.to", r#""203.0.113.0/24""#)]),
    key(
        "src",
        "an IP address",
        r#""10.0.0.50""#,
        "The address that this host sends from by this route",
    )
    .else_("the kernel's choice"),
    key("interface", "as for the group", r#""eth1""#, "The interface that it leads over")
        .else_("the kernel's choice with a gateway that is not link-local; else the group's"),
    key(
        "table",
        "the number of a routing table; not 0 and not 255",
        "100",
        "The table. A rule that leads there is the host's own",
    )
    .or("254")
    .refused(&["0", "255"]),
    key(
        "metric",
        "a number",
        "50",
        "Of several routes to one network the one with the least is taken. A host that has a default route by itself needs \
         another one here",
    )
    .or("0"),
];

const TIMING: &[Key] = &[
    key(
        "profile",
        r#""default", "fast""#,
        r#""fast""#,
        "Other defaults for the rest. `\"fast\"`: 20ms and 60ms (90ms under `\"survivor\"`), realtime priority and locked \
         memory if permitted",
    )
    .or(r#""default""#),
    key(
        "interval",
        "a length of time, above 0 and at most 60s",
        r#""50ms""#,
        "How often adverts are due",
    )
    .or(r#""100ms""#)
    .refused(&[r#""0ms""#, r#""61s""#]),
    key(
        "lease",
        "a length of time, at least 3 intervals (4.5 under `\"survivor\"`), at most 600s",
        r#""900ms""#,
        "How long one granted ask lets a holder hold",
    )
    .or(r#""450ms""#)
    .refused(&[r#""299ms""#, r#""601s""#]),
    key(
        "guard_slack",
        "a length of time, 1ms to `lease`",
        r#""10ms""#,
        "How late the kernel may shut the gate",
    )
    .or(r#""5ms""#)
    .refused(&[r#""999us""#, r#""451ms""#]),
    key(
        "drift_ppm",
        "parts per million, 0 to 100000",
        "2000",
        "How far the rate of each clock may be off",
    )
    .or("1000")
    .refused(&["100001"]),
];

const LOG: &[Key] = &[
    key(
        "level",
        r#""error", "warn", "info", "debug", "trace""#,
        r#""debug""#,
        "What is logged: what needs a person; what may need one; every change of a role, and who is heard; every decision; \
         every packet",
    )
    .or(r#""info""#),
    key(
        "format",
        r#""text", "json""#,
        r#""json""#,
        "For people, or one JSON object a line",
    )
    .or(r#""text""#),
];

const METRICS: &[Key] = &[key(
    "listen",
    "an IP address and a TCP port",
    r#""127.0.0.1:9946""#,
    "Where Prometheus can read the metrics over HTTP",
)
.else_("nowhere")
.refused(&[r#""9946""#, r#""127.0.0.1:0""#, r#""localhost:9946""#])];

/// The file of a witness of several clusters, beside `[log]` and `[metrics]`.
pub const WITNESS: &[Key] = &[
    key(
        "clusters",
        "tables by name",
        "{}",
        "`[clusters.NAME]` has the keys of `[cluster]` but `name`, `guard`, `frames` and `evidence`; its members, groups and \
         timing are `[clusters.NAME.members.NAME]` and so on, and must be those of the candidates' own file",
    )
    .else_("none"),
    key(
        "directory",
        "a path; a relative one starts at the file's own directory",
        r#""clusters.d""#,
        "A directory of ordinary files of clusters, `*.toml`",
    )
    .else_("none"),
];

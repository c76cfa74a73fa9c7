//! Hetzner Cloud, from its API's reference: floating IPs, servers with private networks, actions.

use crate::fake::{Fake, Provider, Request, Response, Trouble, error, ok, text};
use crate::hook::{Ended, Hook, TOKEN, need};
use crate::says_what_is_wrong;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A project: this server is 43, the other candidate 42.
pub(crate) struct Hetzner {
    /// By its id: address, type, server.
    pub(crate) floating: BTreeMap<u64, (&'static str, &'static str, Option<u64>)>,
    /// The aliases of each server in network 7.
    aliases: BTreeMap<u64, Vec<String>>,
    /// How often an action is still `running` when it is asked for.
    slow_actions: u32,
    /// How the next actions end.
    action_fails: bool,
}

pub(crate) fn start() -> Fake<Hetzner> {
    Fake::start(Hetzner {
        floating: BTreeMap::from([
            (1, ("203.0.113.1", "ipv4", None)),
            (2, ("2001:db8:1:2::/64", "ipv6", Some(42))),
            (3, ("203.0.113.7", "ipv4", Some(42))),
        ]),
        aliases: BTreeMap::from([
            (42, vec!["10.0.0.90".into(), "10.0.0.50".into()]),
            (43, vec!["10.0.0.91".into()]),
        ]),
        slow_actions: 1,
        action_fails: false,
    })
}

impl Provider for Hetzner {
    fn answer(&mut self, request: &Request, lie: bool) -> Response {
        if request.path == "/metadata/instance-id" {
            return text("43");
        }
        if request.header("Authorization") != format!("Bearer {TOKEN}") {
            return error(401, "unable to authenticate");
        }
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["floating_ips"]) => {
                let all = self.floating.iter().map(|(id, (ip, kind, server))| {
                    json!({"id": id, "ip": ip, "type": kind, "server": server, "name": "x", "blocked": false})
                });
                page(request, "floating_ips", all.collect())
            }
            ("GET", ["servers"]) => {
                let all = self
                    .aliases
                    .iter()
                    .map(|(id, aliases)| server(*id, aliases));
                page(request, "servers", all.collect())
            }
            ("GET", ["servers", id]) => match id
                .parse()
                .ok()
                .and_then(|id| self.aliases.get_key_value(&id))
            {
                Some((id, aliases)) => ok(200, &json!({"server": server(*id, aliases)})),
                None => error(404, "server not found"),
            },
            ("POST", ["floating_ips", id, "actions", "assign"]) => {
                let id = id.parse().unwrap_or(0);
                match (request.json(), self.floating.get_mut(&id)) {
                    (Err(refusal), _) => refusal,
                    (_, None) => error(404, "floating IP not found"),
                    (Ok(body), Some(floating)) => {
                        let Some(server) = body["server"].as_u64() else {
                            return error(422, "invalid input in field 'server'");
                        };
                        if !lie && !self.action_fails {
                            floating.2 = Some(server);
                        }
                        self.action("assign_floating_ip")
                    }
                }
            }
            ("POST", ["servers", id, "actions", "change_alias_ips"]) => {
                let id = id.parse().unwrap_or(0);
                let body = match request.json() {
                    Ok(body) if body["network"] == 7 => body,
                    Ok(_) => return error(422, "invalid input in field 'network'"),
                    Err(refusal) => return refusal,
                };
                let wanted: Vec<String> =
                    serde_json::from_value(body["alias_ips"].clone()).expect("addresses");
                let others = self.aliases.iter().filter(|(other, _)| **other != id);
                if others
                    .flat_map(|(_, a)| a)
                    .any(|taken| wanted.contains(taken))
                {
                    return error(409, "ip not available");
                }
                if !lie {
                    self.aliases.insert(id, wanted);
                }
                self.action("change_alias_ips")
            }
            ("GET", ["actions", "9"]) => {
                let status = match (self.slow_actions, self.action_fails) {
                    (0, true) => "error",
                    (0, false) => "success",
                    _ => "running",
                };
                self.slow_actions = self.slow_actions.saturating_sub(1);
                let why = self
                    .action_fails
                    .then(|| json!({"code": "action_failed", "message": "no route to server"}));
                ok(
                    200,
                    &json!({"action": {"id": 9, "status": status, "error": why}}),
                )
            }
            _ => error(404, "not found"),
        }
    }
}

impl Hetzner {
    fn action(&mut self, command: &str) -> Response {
        let action =
            json!({"id": 9, "command": command, "status": "running", "progress": 0, "error": null});
        ok(201, &json!({"action": action}))
    }
}

fn server(id: u64, aliases: &[String]) -> Value {
    let own = json!({"network": 7, "ip": format!("10.0.0.{id}"), "alias_ips": aliases, "mac_address": "86:00:ff:2a:7d:e1"});
    json!({"id": id, "name": format!("lb{id}"), "private_net": [own]})
}

/// One entry on a page: so they are turned.
fn page(request: &Request, name: &str, all: Vec<Value>) -> Response {
    let number: usize = request
        .parameter("page")
        .and_then(|p| p.parse().ok())
        .unwrap_or(1);
    assert_eq!(
        request.parameter("per_page"),
        Some("50"),
        "the most that there may be"
    );
    let next = (number < all.len()).then_some(number + 1);
    let entries: Vec<_> = all.into_iter().skip(number - 1).take(1).collect();
    ok(
        200,
        &json!({name: entries, "meta": {"pagination": {"page": number, "next_page": next}}}),
    )
}

fn options(fake: &Fake<Hetzner>, hook: &Hook) -> Vec<String> {
    let mut options = vec!["--api".into(), fake.url.clone()];
    options.extend(["--metadata".into(), format!("{}/metadata", fake.url)]);
    options.extend(hook.token());
    options
}

fn floating(fake: &Fake<Hetzner>, hook: &Hook) -> Ended {
    hook.run("hetzner-floating-ip", &options(fake, hook))
}

fn alias(fake: &Fake<Hetzner>, hook: &Hook) -> Ended {
    hook.run("hetzner-alias-ip", &options(fake, hook))
}

#[test]
fn a_floating_ip_is_moved_once() {
    let (fake, hook) = (
        start(),
        Hook::new("hetzner-once", "203.0.113.7 2001:db8:1:2::50"),
    );
    floating(&fake, &hook).ok().said("203.0.113.7 is at 43 now");
    fake.table(|h| assert_eq!((h.floating[&2].2, h.floating[&3].2), (Some(43), Some(43))));
    let posts = [
        "POST /floating_ips/3/actions/assign",
        "POST /floating_ips/2/actions/assign",
    ];
    assert_eq!(fake.changes(), posts);
    let question = "holds web --cluster shop --socket /run/onehold/control.sock";
    assert_eq!(hook.asked(), [question, question], "before each of them");
    floating(&fake, &hook)
        .ok()
        .said("203.0.113.7 is at 43 already");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn a_floating_ip_that_is_nowhere_is_moved() {
    let (fake, hook) = (start(), Hook::new("hetzner-nowhere", "203.0.113.1"));
    floating(&fake, &hook)
        .ok()
        .said("203.0.113.1 is at nothing");
    fake.table(|h| assert_eq!(h.floating[&1].2, Some(43)));
}

#[test]
fn who_holds_no_more_changes_nothing() {
    let (fake, hook) = (start(), Hook::new("hetzner-lost", "203.0.113.7"));
    hook.holds(&[1]);
    floating(&fake, &hook).failed(1, "does not hold web any more: no POST");
    hook.holds(&[2]);
    floating(&fake, &hook).failed(1, "is not known");
    hook.program("onehold", "exec sleep 60");
    floating(&fake, &hook).failed(1, "gave no answer in 5 s");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn a_dry_run_says_what_it_would_do() {
    let (fake, hook) = (start(), Hook::new("hetzner-dry", "203.0.113.7"));
    hook.holds(&[1]);
    let mut options = options(&fake, &hook);
    options.push("--dry-run".into());
    let ended = hook.run("hetzner-floating-ip", &options).ok();
    ended
        .said("would POST")
        .said("/floating_ips/3/actions/assign {\"server\":43}");
    assert_eq!(fake.changes(), [""; 0]);
    assert_eq!(hook.asked(), [""; 0]);
}

#[test]
fn an_alias_is_taken_from_the_other_server_first() {
    let (fake, hook) = (start(), Hook::new("hetzner-alias", "10.0.0.50"));
    alias(&fake, &hook).ok().said("10.0.0.50 is at 43 now");
    fake.table(|h| {
        assert_eq!(
            h.aliases[&42],
            ["10.0.0.90"],
            "what else it has is left alone"
        );
        assert_eq!(h.aliases[&43], ["10.0.0.91", "10.0.0.50"]);
    });
    let posts = [42, 43].map(|id| format!("POST /servers/{id}/actions/change_alias_ips"));
    assert_eq!(fake.changes(), posts);
    assert_eq!(hook.asked().len(), 2, "before each of them");
    alias(&fake, &hook).ok().said("already");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn who_stops_holding_between_two_calls_makes_no_second() {
    let (fake, hook) = (start(), Hook::new("hetzner-between", "10.0.0.50"));
    hook.holds(&[0, 1]);
    alias(&fake, &hook).failed(1, "any more: no POST");
    assert_eq!(
        fake.changes(),
        ["POST /servers/42/actions/change_alias_ips"]
    );
    // The next one that holds finds it nowhere, and takes it.
    hook.holds(&[0]);
    alias(&fake, &hook).ok();
    fake.table(|h| assert_eq!(h.aliases[&43], ["10.0.0.91", "10.0.0.50"]));
}

#[test]
fn a_lie_is_found_out() {
    let (fake, hook) = (start(), Hook::new("hetzner-lie", "203.0.113.7"));
    let mut options = options(&fake, &hook);
    options.extend(["--patience".into(), "1".into()]);
    fake.table(|h| h.slow_actions = 0);
    fake.when_changed([Trouble::Lie]);
    let ended = hook.run("hetzner-floating-ip", &options);
    ended.failed(
        1,
        "203.0.113.7: moved, says the provider, and yet it is at 42 after 1 s",
    );
    hook.run("hetzner-floating-ip", &options).ok();
    fake.table(|h| assert_eq!(h.floating[&3].2, Some(43)));
}

#[test]
fn an_action_that_fails_says_why() {
    let (fake, hook) = (start(), Hook::new("hetzner-action", "203.0.113.7"));
    fake.table(|h| h.action_fails = true);
    floating(&fake, &hook).failed(1, "203.0.113.7: error: no route to server");
}

#[test]
fn an_action_that_never_ends_is_not_waited_for() {
    let (fake, hook) = (start(), Hook::new("hetzner-never", "203.0.113.7"));
    fake.table(|h| h.slow_actions = 1000);
    let mut options = options(&fake, &hook);
    options.extend(["--patience".into(), "1".into()]);
    let ended = hook.run("hetzner-floating-ip", &options);
    ended.failed(1, "203.0.113.7: still running after 1 s");
}

#[test]
fn troubles_of_hetzner_are_named() {
    let (fake, hook) = (start(), Hook::new("hetzner-troubles", "203.0.113.7"));
    let all = options(&fake, &hook);
    let run = |mover: &str, more: &[&str]| {
        fake.table(|h| {
            // As before: nothing that was in trouble counts.
            h.floating.insert(3, ("203.0.113.7", "ipv4", Some(42)));
            h.slow_actions = 0;
        });
        let mut options: Vec<&str> = all.iter().map(String::as_str).collect();
        options.extend(["--server", "43"]); // so that the first call is one with the token
        options.extend(more);
        hook.run(mover, &options)
    };
    says_what_is_wrong(&fake, |more| run("hetzner-floating-ip", more));
    run("hetzner-floating-ip", &[]).ok().said("now");
}

#[test]
fn what_is_not_the_projects_is_named() {
    let (fake, hook) = (start(), Hook::new("hetzner-foreign", "198.51.100.1"));
    floating(&fake, &hook).failed(1, "198.51.100.1 is not a floating IP of this project");
    let mut options = options(&fake, &hook);
    options.extend(["--network".into(), "8".into()]);
    hook.run("hetzner-alias-ip", &options)
        .failed(2, "server 43 is not in network 8");
    hook.secret("token", "another");
    floating(&fake, &hook).failed(1, "401: unable to authenticate; may this token do that?");
}

#[test]
fn other_shells_do_the_same() {
    need("bash", "bash");
    for (name, words) in [("bash", &["bash"][..]), ("posix", &["bash", "--posix"])] {
        let hook = Hook::new(&format!("hetzner-{name}"), "10.0.0.50");
        let (fake, hook) = (start(), hook.shell(words));
        fake.table(|h| h.slow_actions = 0);
        alias(&fake, &hook).ok().said("10.0.0.50 is at 43 now");
        alias(&fake, &hook).ok().said("already");
    }
}

#[test]
fn what_is_not_so_for_three_looks_is_moved_again_by_one_that_holds() {
    let (fake, hook) = (start(), Hook::new("hetzner-again", "203.0.113.7"));
    fake.table(|h| h.slow_actions = 0);
    fake.when_changed([Trouble::Lie]);
    floating(&fake, &hook).ok().said("203.0.113.7 is at 43 now");
    assert_eq!(fake.changes().len(), 2);
    assert_eq!(hook.asked().len(), 2, "before each of them");
    fake.table(|h| h.floating.insert(3, ("203.0.113.7", "ipv4", Some(42))));
    fake.when_changed([Trouble::Lie]);
    hook.holds(&[0, 1]);
    floating(&fake, &hook).failed(1, "does not hold web any more");
    assert_eq!(fake.changes().len(), 1);
}

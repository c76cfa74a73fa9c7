//! Google Compute Engine, from its API's reference: instances with alias IP ranges, and zone operations.

use crate::fake::{Fake, Provider, Request, Response, Trouble, error, ok, text};
use crate::hook::{Ended, Hook, TOKEN};
use crate::says_what_is_wrong;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// This instance is `lb1` in zone `b`.
struct Google {
    /// The alias ranges of each instance, as `zone/name`, and how often they were changed.
    aliases: BTreeMap<&'static str, (Vec<Value>, u32)>,
    slow_operations: u32,
    operation_fails: bool,
    /// Somebody changes the interface between a look and a change.
    meddled_with: bool,
}

fn start() -> Fake<Google> {
    Fake::start(fresh())
}

fn fresh() -> Google {
    let alias = |range: &str| json!({"ipCidrRange": range});
    Google {
        aliases: BTreeMap::from([
            (
                "a/lb0",
                (vec![alias("10.0.0.90/32"), alias("10.0.0.50/32")], 1),
            ),
            (
                "b/lb1",
                (
                    vec![json!({"ipCidrRange": "10.9.0.0/24", "subnetworkRangeName": "pods"})],
                    1,
                ),
            ),
            ("b/elsewhere", (vec![alias("10.0.0.50/32")], 1)), // another network, the same address
        ]),
        slow_operations: 1,
        operation_fails: false,
        meddled_with: false,
    }
}

impl Provider for Google {
    fn answer(&mut self, request: &Request, lie: bool) -> Response {
        if let Some(path) = request.path.strip_prefix("/metadata/") {
            if request.header("Metadata-Flavor") != "Google" {
                return error(403, "Missing Metadata-Flavor:Google header");
            }
            return match path {
                "instance/name" => text("lb1"),
                "instance/zone" => text("projects/123/zones/b"),
                "project/project-id" => text("shop-1"),
                "instance/service-accounts/default/token" => ok(
                    200,
                    &json!({"access_token": TOKEN, "expires_in": 3000, "token_type": "Bearer"}),
                ),
                _ => error(404, "not found"),
            };
        }
        if request.header("Authorization") != format!("Bearer {TOKEN}") {
            return error(401, "Request had invalid authentication credentials.");
        }
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["projects", "shop-1", "aggregated", "instances"]) => {
                self.page(request.parameter("pageToken"))
            }
            (
                "PATCH",
                [
                    "projects",
                    "shop-1",
                    "zones",
                    zone,
                    "instances",
                    name,
                    "updateNetworkInterface",
                ],
            ) => {
                if request.parameter("networkInterface") != Some("nic0") {
                    return error(400, "Invalid value for field 'networkInterface'");
                }
                let body = match request.json() {
                    Ok(body) => body,
                    Err(refusal) => return refusal,
                };
                self.patch(&format!("{zone}/{name}"), &body, lie)
            }
            (
                "GET",
                [
                    "projects",
                    "shop-1",
                    "zones",
                    _,
                    "operations",
                    "operation-5",
                ],
            ) => {
                let done = self.slow_operations == 0;
                self.slow_operations = self.slow_operations.saturating_sub(1);
                let mut operation =
                    json!({"name": "operation-5", "status": if done { "DONE" } else { "PENDING" }});
                if done && self.operation_fails {
                    operation["error"] = json!({"errors": [{"code": "IP_IN_USE", "message": "IP is used elsewhere"}]});
                }
                ok(200, &operation)
            }
            _ => error(404, "not found"),
        }
    }
}

impl Google {
    /// A zone on each page.
    fn page(&self, token: Option<&str>) -> Response {
        let zone = match token {
            None => "a",
            Some("more%2Fb%3D") => "b",
            Some(_) => return error(400, "Invalid value for field 'pageToken'"),
        };
        let all = self.aliases.iter().filter(|(at, _)| at.starts_with(zone));
        let instances: Vec<Value> = all
            .map(|(at, (aliases, changes))| {
                let name = &at[2..];
                let network = if name == "elsewhere" { "other" } else { "shop" };
                let nic = json!({
                    "name": "nic0", "network": format!("https://www.googleapis.com/compute/v1/projects/shop-1/global/networks/{network}"),
                    "fingerprint": format!("print-{changes}"), "aliasIpRanges": aliases,
                });
                let zone = format!("https://www.googleapis.com/compute/v1/projects/shop-1/zones/{zone}");
                json!({"name": name, "zone": zone, "networkInterfaces": [nic]})
            })
            .collect();
        let mut page = json!({"items": {
            format!("zones/{zone}"): {"instances": instances},
            "zones/empty": {"warning": {"code": "NO_RESULTS_ON_PAGE"}},
        }});
        if token.is_none() {
            page["nextPageToken"] = "more/b=".into();
        }
        ok(200, &page)
    }

    fn patch(&mut self, at: &str, body: &Value, lie: bool) -> Response {
        let Ok(wanted) = serde_json::from_value::<Vec<Value>>(body["aliasIpRanges"].clone()) else {
            return error(400, "Invalid value for field 'aliasIpRanges'");
        };
        let others = self
            .aliases
            .iter()
            .filter(|(other, _)| **other != at && **other != "b/elsewhere");
        if others
            .flat_map(|(_, (a, _))| a)
            .any(|taken| wanted.contains(taken))
        {
            return error(400, "IP alias is already in use");
        }
        let Some((aliases, changes)) = self.aliases.get_mut(at) else {
            return error(404, "instance not found");
        };
        *changes += u32::from(self.meddled_with);
        if body["fingerprint"] != format!("print-{changes}") {
            return error(412, "Invalid fingerprint.");
        }
        if !lie && !self.operation_fails {
            *aliases = wanted;
            *changes += 1;
        }
        ok(200, &json!({"name": "operation-5", "status": "RUNNING"}))
    }

    fn ranges(&self, at: &str) -> Vec<&str> {
        let aliases = self.aliases[at].0.iter();
        aliases
            .filter_map(|alias| alias["ipCidrRange"].as_str())
            .collect()
    }
}

fn run(fake: &Fake<Google>, hook: &Hook, more: &[&str]) -> Ended {
    let metadata = format!("{}/metadata", fake.url);
    let mut options = vec!["--api", &fake.url, "--metadata", &metadata];
    options.extend(more);
    hook.run("gcp-alias-ip", &options)
}

#[test]
fn an_alias_range_is_moved_once() {
    let (fake, hook) = (start(), Hook::new("gcp-once", "10.0.0.50"));
    run(&fake, &hook, &["--range-name", "floating"])
        .ok()
        .said("10.0.0.50 is at b/lb1 now");
    fake.table(|g| {
        assert_eq!(
            g.ranges("a/lb0"),
            ["10.0.0.90/32"],
            "what else it has is left alone"
        );
        assert_eq!(g.ranges("b/lb1"), ["10.9.0.0/24", "10.0.0.50/32"]);
        assert_eq!(g.aliases["b/lb1"].0[0]["subnetworkRangeName"], "pods");
        assert_eq!(g.aliases["b/lb1"].0[1]["subnetworkRangeName"], "floating");
        assert_eq!(
            g.ranges("b/elsewhere"),
            ["10.0.0.50/32"],
            "another network is not ours"
        );
    });
    let patches = ["a/instances/lb0", "b/instances/lb1"]
        .map(|at| format!("PATCH /projects/shop-1/zones/{at}/updateNetworkInterface"));
    assert_eq!(fake.changes(), patches);
    assert_eq!(hook.asked().len(), 2, "before each of them");
    run(&fake, &hook, &[]).ok().said("already");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn who_stops_holding_does_not_take_the_range() {
    let (fake, hook) = (start(), Hook::new("gcp-lost", "10.0.0.50"));
    run(&fake, &hook, &["--dry-run"]).ok().said("would PATCH");
    hook.holds(&[0, 1]);
    run(&fake, &hook, &[]).failed(1, "any more: no PATCH");
    assert_eq!(fake.changes().len(), 1);
    fake.table(|g| assert_eq!(g.ranges("b/lb1"), ["10.9.0.0/24"]));
    hook.holds(&[0]);
    run(&fake, &hook, &[]).ok().said("is at nothing");
}

#[test]
fn what_was_changed_meanwhile_is_not_overwritten() {
    let (fake, hook) = (start(), Hook::new("gcp-meddled", "10.0.0.50"));
    fake.table(|g| g.meddled_with = true);
    run(&fake, &hook, &[]).failed(1, "412: Invalid fingerprint.");
    fake.table(|g| g.meddled_with = false);
    run(&fake, &hook, &[]).ok();
}

#[test]
fn a_lie_of_google_is_found_out() {
    let (fake, hook) = (start(), Hook::new("gcp-lie", "10.0.0.50"));
    fake.table(|g| g.slow_operations = 0);
    fake.table(|g| drop(g.aliases.insert("a/lb0", (Vec::new(), 1))));
    fake.when_changed([Trouble::Lie]);
    run(&fake, &hook, &["--patience", "1"]).failed(1, "and yet it is at nothing after 1 s");
    fake.table(|g| g.operation_fails = true);
    run(&fake, &hook, &[]).failed(1, "10.0.0.50: failed: IP is used elsewhere");
    fake.table(|g| g.operation_fails = false);
    run(&fake, &hook, &[]).ok();
}

#[test]
fn troubles_of_google_are_named() {
    let (fake, hook) = (start(), Hook::new("gcp-troubles", "10.0.0.50"));
    let token = hook.token();
    says_what_is_wrong(&fake, |more| {
        fake.table(|g| {
            *g = Google {
                slow_operations: 0,
                ..fresh()
            }
        });
        let own = [
            "--instance",
            "lb1",
            "--zone",
            "b",
            "--project",
            "shop-1",
            &token[0],
            &token[1],
        ];
        run(&fake, &hook, &[more, &own].concat())
    });
    run(&fake, &hook, &["--instance", "lb9"]).failed(2, "there is no nic0 of b/lb9");
}

//! OpenStack, from the references of its identity (v3) and network (v2.0) APIs: application credentials, the catalog,
//! ports with allowed address pairs.

use crate::fake::{Fake, Provider, Request, Response, Trouble, error, ok};
use crate::hook::{Ended, Hook, TOKEN};
use crate::says_what_is_wrong;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// This machine's port, the other candidate's, and one of a machine that has nothing to do with it.
const PORTS: [&str; 3] = ["1a-43", "1a-42", "1a-99"];
/// What a token is had for.
const SECRET: &str = "application-s3cret";

struct OpenStack {
    url: String,
    /// Each port's pairs, and its revision.
    ports: BTreeMap<String, (Vec<Value>, u32)>,
    /// Those with the hardware address of `lo`.
    local: Vec<&'static str>,
    /// Somebody changes the port between a look and a change.
    meddled_with: bool,
}

fn start() -> Fake<OpenStack> {
    let pair = |address: &str| json!({"ip_address": address, "mac_address": "fa:16:3e:00:00:42"});
    let fake = Fake::start(OpenStack {
        url: String::new(),
        ports: BTreeMap::from([
            (PORTS[0].into(), (vec![pair("10.0.0.91")], 5)),
            (
                PORTS[1].into(),
                (vec![pair("10.0.0.90"), pair("10.0.0.50/32")], 8),
            ),
            (PORTS[2].into(), (Vec::new(), 1)),
        ]),
        local: vec![PORTS[0]],
        meddled_with: false,
    });
    let url = fake.url.clone();
    fake.table(|o| o.url = url);
    fake
}

impl Provider for OpenStack {
    fn answer(&mut self, request: &Request, lie: bool) -> Response {
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        if let ("POST", ["identity", "v3", "auth", "tokens"]) =
            (request.method.as_str(), path.as_slice())
        {
            return self.token(request);
        }
        if request.header("X-Auth-Token") != TOKEN {
            return error(401, "The request you have made requires authentication.");
        }
        match (request.method.as_str(), path.as_slice()) {
            ("GET", ["network", "v2.0", "ports", id]) if self.ports.contains_key(*id) => {
                ok(200, &json!({"port": {"network_id": "2b-7"}}))
            }
            ("GET", ["network", "v2.0", "ports"]) => match request.parameter("mac_address") {
                Some("00:00:00:00:00:00") => {
                    let ids: Vec<Value> = self.local.iter().map(|id| json!({"id": id})).collect();
                    ok(200, &json!({"ports": ids}))
                }
                Some(_) => ok(200, &json!({"ports": []})),
                None => self.page(request),
            },
            ("PUT", ["network", "v2.0", "ports", id]) => {
                let body = match request.json() {
                    Ok(body) => body,
                    Err(refusal) => return refusal,
                };
                let Ok(pairs) = serde_json::from_value::<Vec<Value>>(
                    body["port"]["allowed_address_pairs"].clone(),
                ) else {
                    return error(400, "Invalid input for allowed_address_pairs.");
                };
                let Some((held, revision)) = self.ports.get_mut(*id) else {
                    return error(404, "Port could not be found.");
                };
                *revision += u32::from(self.meddled_with);
                if request.header("If-Match") != format!("revision_number={revision}") {
                    return error(412, "Constrained to another revision.");
                }
                if !lie {
                    *held = pairs;
                    *revision += 1;
                }
                ok(200, &json!({"port": {"id": id}}))
            }
            _ => error(404, "The resource could not be found."),
        }
    }
}

impl OpenStack {
    fn token(&self, request: &Request) -> Response {
        let body = match request.json() {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let identity = &body["auth"]["identity"];
        let credential = &identity["application_credential"];
        if identity["methods"] != json!(["application_credential"])
            || (credential["id"] != "3c-1" || credential["secret"] != SECRET)
        {
            return error(401, "The request you have made requires authentication.");
        }
        let endpoint = |interface: &str, region: &str, url: String| json!({"interface": interface, "region": region, "region_id": region, "url": url});
        let endpoints = [
            endpoint("admin", "north", "http://127.0.0.1:1".into()),
            endpoint("public", "south", "http://127.0.0.1:1".into()),
            endpoint("public", "north", format!("{}/network/", self.url)),
        ];
        let catalog = json!([{"type": "compute", "endpoints": []}, {"type": "network", "endpoints": endpoints}]);
        ok(201, &json!({"token": {"catalog": catalog}})).with("X-Subject-Token", TOKEN)
    }

    /// One port on a page.
    fn page(&self, request: &Request) -> Response {
        if request.parameter("network_id") != Some("2b-7") {
            return error(400, "that is not this network");
        }
        let marker = request.parameter("marker");
        let mut rest = self
            .ports
            .iter()
            .skip_while(|(id, _)| marker.is_some_and(|m| id.as_str() <= m));
        let Some((id, (pairs, revision))) = rest.next() else {
            return ok(200, &json!({"ports": []}));
        };
        let next = format!(
            "{}/network/v2.0/ports?network_id=2b-7&marker={id}",
            self.url
        );
        let port = json!({"id": id, "revision_number": revision, "allowed_address_pairs": pairs});
        ok(
            200,
            &json!({"ports": [port], "ports_links": [{"rel": "next", "href": next}]}),
        )
    }

    fn pairs(&self, port: &str) -> Vec<&str> {
        let pairs = self.ports[port].0.iter();
        pairs
            .filter_map(|pair| pair["ip_address"].as_str())
            .collect()
    }
}

/// The file that the dashboard gives.
fn credentials(fake: &Fake<OpenStack>, hook: &Hook, secret: &str) -> String {
    let text = format!(
        "#!/usr/bin/env bash\n\nexport OS_AUTH_TYPE=v3applicationcredential\nexport OS_AUTH_URL={}/identity/v3\n\
         export OS_IDENTITY_API_VERSION=3\nexport OS_REGION_NAME=\"north\"\nexport OS_INTERFACE=public\n\
         export OS_APPLICATION_CREDENTIAL_ID=3c-1\nexport OS_APPLICATION_CREDENTIAL_SECRET={secret}",
        fake.url
    );
    hook.secret("credentials", &text).display().to_string()
}

fn run(fake: &Fake<OpenStack>, hook: &Hook, more: &[&str]) -> Ended {
    let credentials = credentials(fake, hook, SECRET);
    let mut options = vec!["--credentials", &credentials];
    options.extend(more);
    let ended = hook.run("openstack-port", &options);
    assert!(!ended.out.contains(SECRET) && !ended.err.contains(SECRET));
    ended
}

#[test]
fn a_pair_is_on_the_holders_port_alone() {
    let (fake, hook) = (start(), Hook::new("openstack-once", "10.0.0.50"));
    run(&fake, &hook, &[])
        .ok()
        .said("10.0.0.50 is at 1a-43 now");
    fake.table(|o| {
        assert_eq!(o.pairs(PORTS[0]), ["10.0.0.91", "10.0.0.50"]);
        assert_eq!(
            o.pairs(PORTS[1]),
            ["10.0.0.90"],
            "what else it has is left alone"
        );
    });
    let puts = [PORTS[1], PORTS[0]].map(|port| format!("PUT /network/v2.0/ports/{port}"));
    assert_eq!(fake.changes(), puts);
    assert_eq!(hook.asked().len(), 2, "before each of them");
    run(&fake, &hook, &[]).ok().said("already");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn who_stops_holding_lets_nothing_through() {
    let (fake, hook) = (start(), Hook::new("openstack-lost", "10.0.0.50"));
    run(&fake, &hook, &["--dry-run"]).ok().said("would PUT");
    hook.holds(&[0, 1]);
    run(&fake, &hook, &[]).failed(1, "any more: no PUT");
    assert_eq!(fake.changes().len(), 1);
    fake.table(|o| assert_eq!(o.pairs(PORTS[0]), ["10.0.0.91"]));
    hook.holds(&[0]);
    run(&fake, &hook, &[]).ok().said("is at nothing");
}

#[test]
fn a_port_that_was_changed_meanwhile_is_not_overwritten() {
    let (fake, hook) = (start(), Hook::new("openstack-meddled", "10.0.0.50"));
    fake.table(|o| o.meddled_with = true);
    run(&fake, &hook, &[]).failed(1, "412: Constrained to another revision.");
    fake.table(|o| o.meddled_with = false);
    run(&fake, &hook, &[]).ok();
}

#[test]
fn a_lie_of_openstack_is_found_out() {
    let (fake, hook) = (start(), Hook::new("openstack-lie", "10.0.0.50"));
    fake.table(|o| o.ports.get_mut(PORTS[1]).expect("it").0.clear());
    fake.when_changed([Trouble::Lie]);
    run(&fake, &hook, &["--patience", "1"]).failed(1, "and yet it is at nothing after 1 s");
    run(&fake, &hook, &[]).ok();
}

#[test]
fn troubles_of_openstack_are_named() {
    let (fake, hook) = (start(), Hook::new("openstack-troubles", "10.0.0.50"));
    let before = fake.table(|o| o.ports.clone());
    says_what_is_wrong(&fake, |more| {
        fake.table(|o| o.ports = before.clone());
        run(&fake, &hook, &[more, &["--port", PORTS[0]]].concat())
    });
    run(&fake, &hook, &["--port", "1a-0"]).failed(1, "404: The resource could not be found.");
    let wrong = credentials(&fake, &hook, "wrong");
    let options = ["--credentials", &wrong, "--port", PORTS[0]];
    hook.run("openstack-port", &options)
        .failed(1, "401: The request you have made requires");
    let empty = hook
        .secret("empty", "export OS_AUTH_URL=https://cloud.example")
        .display()
        .to_string();
    let options = ["--credentials", &empty, "--port", PORTS[0]];
    hook.run("openstack-port", &options)
        .failed(2, "has no OS_APPLICATION_CREDENTIAL_ID");
    fake.table(|o| o.local.clear());
    run(&fake, &hook, &[]).failed(2, "no port of the project has 00:00:00:00:00:00");
    fake.table(|o| o.local = PORTS.to_vec());
    run(&fake, &hook, &[]).failed(2, "the ports 1a-43 1a-42 1a-99 all have");
}

//! DigitalOcean, from its API's reference: reserved IPs and their actions.

use crate::fake::{Fake, Provider, Request, Response, Trouble, error, ok, text};
use crate::hook::{Ended, Hook, TOKEN};
use crate::says_what_is_wrong;
use serde_json::json;

const ADDRESS: &str = "203.0.113.25";

/// This Droplet is 43.
struct DigitalOcean {
    droplet: Option<u64>,
    status: &'static str,
}

fn start() -> Fake<DigitalOcean> {
    Fake::start(DigitalOcean {
        droplet: Some(42),
        status: "completed",
    })
}

impl Provider for DigitalOcean {
    fn answer(&mut self, request: &Request, lie: bool) -> Response {
        if request.path == "/metadata/id" {
            return text("43\n");
        }
        if request.header("Authorization") != format!("Bearer {TOKEN}") {
            return ok(
                401,
                &json!({"id": "Unauthorized", "message": "Unable to authenticate you"}),
            );
        }
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            (_, ["reserved_ips", other, ..]) if *other != ADDRESS => {
                let message = "The resource you were accessing could not be found.";
                ok(404, &json!({"id": "not_found", "message": message}))
            }
            ("GET", ["reserved_ips", _]) => {
                let droplet = self
                    .droplet
                    .map(|id| json!({"id": id, "name": "lb", "networks": {}}));
                ok(
                    200,
                    &json!({"reserved_ip": {"ip": ADDRESS, "droplet": droplet, "locked": false}}),
                )
            }
            ("POST", ["reserved_ips", _, "actions"]) => {
                let body = match request.json() {
                    Ok(body) if body["type"] == "assign" && body["droplet_id"].is_u64() => body,
                    Ok(_) => return error(422, "the body is not one of an assignment"),
                    Err(refusal) => return refusal,
                };
                if !lie && self.status == "completed" {
                    self.droplet = body["droplet_id"].as_u64();
                }
                ok(
                    201,
                    &json!({"action": {"id": 68, "status": "in-progress", "type": "assign_ip"}}),
                )
            }
            ("GET", ["reserved_ips", _, "actions", "68"]) => ok(
                200,
                &json!({"action": {"id": 68, "status": self.status, "type": "assign_ip"}}),
            ),
            _ => error(404, "not found"),
        }
    }
}

fn run(fake: &Fake<DigitalOcean>, hook: &Hook, more: &[&str]) -> Ended {
    let metadata = format!("{}/metadata", fake.url);
    let mut options = vec![
        "--api".into(),
        fake.url.clone(),
        "--metadata".into(),
        metadata,
    ];
    options.extend(hook.token());
    options.extend(more.iter().map(|word| (*word).into()));
    hook.run("digitalocean-reserved-ip", &options)
}

#[test]
fn a_reserved_ip_is_moved_once() {
    let (fake, hook) = (start(), Hook::new("digitalocean-once", ADDRESS));
    run(&fake, &hook, &[])
        .ok()
        .said("203.0.113.25 is at 43 now");
    fake.table(|d| assert_eq!(d.droplet, Some(43)));
    assert_eq!(fake.changes(), ["POST /reserved_ips/203.0.113.25/actions"]);
    assert_eq!(hook.asked().len(), 1);
    run(&fake, &hook, &[]).ok().said("already");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn a_reserved_ip_that_is_nowhere_is_moved() {
    let (fake, hook) = (start(), Hook::new("digitalocean-nowhere", ADDRESS));
    fake.table(|d| d.droplet = None);
    run(&fake, &hook, &["--dry-run"]).ok().said("would POST");
    run(&fake, &hook, &[]).ok().said("is at nothing");
    assert_eq!(fake.changes().len(), 1);
}

#[test]
fn who_does_not_hold_leaves_the_reserved_ip() {
    let (fake, hook) = (start(), Hook::new("digitalocean-lost", ADDRESS));
    hook.holds(&[1]);
    run(&fake, &hook, &[]).failed(1, "does not hold web any more");
    assert_eq!(fake.changes(), [""; 0]);
}

#[test]
fn a_lie_of_digitalocean_is_found_out() {
    let (fake, hook) = (start(), Hook::new("digitalocean-lie", ADDRESS));
    fake.when_changed([Trouble::Lie]);
    run(&fake, &hook, &["--patience", "1"]).failed(1, "and yet it is at 42 after 1 s");
    run(&fake, &hook, &[]).ok();
    fake.table(|d| d.droplet = Some(42));
    fake.table(|d| d.status = "errored");
    run(&fake, &hook, &[]).failed(1, "errored");
}

#[test]
fn troubles_of_digitalocean_are_named() {
    let (fake, hook) = (start(), Hook::new("digitalocean-troubles", ADDRESS));
    says_what_is_wrong(&fake, |more| {
        fake.table(|d| d.droplet = Some(42));
        run(&fake, &hook, &[more, &["--droplet", "43"]].concat())
    });
    let other = Hook::new("digitalocean-foreign", "203.0.113.26");
    run(&fake, &other, &[]).failed(
        1,
        "404: The resource you were accessing could not be found.",
    );
    let v6 = Hook::new("digitalocean-v6", "2001:db8::1");
    run(&fake, &v6, &[]).failed(2, "must be a reserved IPv4 address");
}

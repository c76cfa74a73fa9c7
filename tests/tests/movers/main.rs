//! The movers (`real/packaging/movers`) against providers: `moto` for AWS, with the official client, and for the
//! others a fake that is written from their public documents, checks what it is sent and can be slow, busy, broken
//! and lying.
//!
//! Each is run as the agent runs a hook: with an empty environment but for what a hook is given, and with an
//! `onehold` that says whether this member holds.

mod aws;
mod cluster;
mod digitalocean;
mod fake;
mod gcp;
mod hetzner;
mod hook;
mod inputs;
mod openstack;

use fake::{Fake, Provider, Trouble, error, ok, text};
use hook::Ended;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the movers are.
fn movers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../real/packaging/movers")
}

/// The names of all of them.
const ALL: [&str; 7] = [
    "aws-route",
    "aws-secondary-ip",
    "digitalocean-reserved-ip",
    "gcp-alias-ip",
    "hetzner-alias-ip",
    "hetzner-floating-ip",
    "openstack-port",
];

/// Whatever goes wrong with a provider, when it is looked at or when something is changed, the mover fails, and its one
/// line says what.
fn says_what_is_wrong<P: Provider>(fake: &Fake<P>, mover: impl Fn(&[&str]) -> Ended) {
    let busy = || error(429, "too many requests").with("Retry-After", "7");
    let broken = || error(500, "we are looking into it");
    let portal = || text("<html>Accept our terms first</html>");
    let slow = Trouble::Slow(Duration::from_secs(2));
    for when in [Fake::<P>::when_looked_at, Fake::<P>::when_changed] {
        for (trouble, words) in [
            (
                Trouble::Instead(busy()),
                "429: too many requests; to be tried again after 7 s",
            ),
            (
                Trouble::Instead(broken()),
                "500: we are looking into it; to be tried again",
            ),
            (
                Trouble::Instead(error(403, "forbidden")),
                "403: forbidden; may this token do that?",
            ),
            (Trouble::Instead(portal()), "an answer that can't be read"),
            (
                Trouble::Instead(ok(200, &json!({}))),
                "an answer that can't be read",
            ),
            (slow.clone(), "curl: (28)"),
        ] {
            when(fake, [trouble]);
            mover(&["--timeout", "1"]).failed(1, words);
        }
    }
}

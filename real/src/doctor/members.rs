//! The ways to the other members, and whether they mean the same cluster.
//!
//! A daemon has the port, and knows what comes in by each path. Where none runs, this listens in
//! its place for a moment: the others send to a member that they don't hear, too. It sends nothing,
//! so the other direction is for the other member's doctor to see.

use super::Examination;
use super::found::Found;
use super::patient::{Daemon, Patient};
use crate::config_file::Path;
use crate::socket::Sockets;
use crate::status::{PeerStatus, Status};
use onehold_core::auth::{self, Keys};
use onehold_core::reject::Reject;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) const EXAMINATION: Examination = Examination {
    finds: &[
        "file", "hosts", "secret", "path", "one-way", "rejected", "config", "port", "version",
        "peer",
    ],
    look,
};

/// A member that is not heard is sent to every interval, which is far shorter.
const LISTEN: Duration = Duration::from_millis(1_500);
/// What was refused longer ago explains nothing.
const LATELY_MS: f64 = 10_000.0;
const STEP: Duration = Duration::from_millis(10);

fn look(p: &Patient, found: &mut Found) {
    for remark in &p.local.remarks {
        found.advice(
            "hosts",
            remark,
            "a name that is a loopback address on its own host means another machine on each host",
            "",
        );
    }
    if p.local.remarks.is_empty() {
        found.fine("hosts", "no member's name is a loopback address here");
    }
    match &p.keys {
        Ok(_) => found.fine("secret", "it can be read, and nobody else may"),
        Err(why) if rustix::process::geteuid().is_root() => found.problem(
            "secret",
            why,
            "the daemon does not serve this cluster before it has the secret",
            "onehold secret, or a copy of another member's",
        ),
        Err(why) => found.unknown("secret", why, "run this as root"),
    }
    match (&p.daemon, &p.keys) {
        (Daemon::Serves(status), _) => ask_daemon(p, status, found),
        (Daemon::Waits(why) | Daemon::Silent(why), Err(_)) => {
            found.unknown(
                "path",
                format!("what comes in can't be opened here: {why}"),
                "",
            );
        }
        (Daemon::Waits(_) | Daemon::Silent(_), Ok(keys)) => listen(p, keys, found),
    }
}

fn ask_daemon(p: &Patient, status: &Status, found: &mut Found) {
    let this = env!("CARGO_PKG_VERSION");
    match status.version == this {
        true => found.fine("version", format!("the daemon and this program are {this}")),
        false => found.advice(
            "version",
            format!(
                "the daemon that runs is {}, this program is {this}",
                status.version
            ),
            "the daemon was not restarted after an upgrade",
            "on the standby first: systemctl restart onehold",
        ),
    }
    for peer in &status.peers {
        ways_to(peer, status, found);
        if p.peer {
            what_it_says(peer, status, found);
        }
    }
}

fn ways_to(peer: &PeerStatus, status: &Status, found: &mut Found) {
    let name = &peer.name;
    if let Some(digest) = &peer.other_config {
        found.problem(
            "config",
            format!(
                "{name} runs with another configuration ({digest}; here {})",
                status.config
            ),
            "members with different files refuse each other's votes (R-0)",
            "onehold check on each says the digest; make the files equal, and restart",
        );
    } else {
        found.fine(
            "config",
            format!(
                "{name} has sent no other configuration than {}",
                status.config
            ),
        );
    }
    let mut heard = false;
    for way in &peer.paths {
        let silent = way
            .heard_ms_ago
            .is_none_or(|ms| ms > 2.0 * status.timing.vote_ms);
        let path = format!("{name}: from {} to {}", way.remote, way.local);
        match (&way.rejected, silent) {
            (Some(why), true) => found.problem(
                "rejected",
                format!("{name} is rejected{why}"),
                "what can't be opened here is not from a member",
                "compare cluster.name and the secrets (`sha256sum`), and the versions (`onehold version`)",
            ),
            (None, true) => {
                let lately = way.refused_ms_ago.is_some_and(|ms| ms < LATELY_MS);
                let why = way.refused_because.as_ref().filter(|_| lately);
                let why = why.map_or_else(String::new, |why| format!("; what is sent there comes back: {why}"));
                found.problem(
                    "path",
                    format!("{path}: nothing is heard{why}"),
                    "on its last path, it is a member less: no vote of it, and no hand-over to it",
                    "is it up (`systemctl status onehold` there)? `onehold doctor` there says whether it hears this \
                     one, and `firewall` here and there whether a firewall forbids it",
                );
            }
            (_, false) => {
                heard = true;
                found.fine("path", format!("{path}: heard"));
            }
        }
    }
    if heard && !peer.two_way && peer.other_config.is_none() {
        found.problem(
            "one-way",
            format!("{name} is heard, and does not hear this member"),
            "a vote needs both directions",
            "onehold doctor on the other one: a firewall there, or here for what leaves",
        );
    }
}

/// What the daemon knows of a member's own condition.
fn what_it_says(peer: &PeerStatus, status: &Status, found: &mut Found) {
    let name = &peer.name;
    for lack in &peer.lacks {
        found.problem(
            "peer",
            format!("{name} could not take over {}: {}", lack.group, lack.why),
            "nobody could, if this member failed now",
            format!("onehold doctor on {name}"),
        );
    }
    match &peer.version {
        None => found.unknown(
            "peer",
            format!("{name} has said nothing of its condition"),
            format!("onehold doctor on {name}; it says it while it is two-way"),
        ),
        Some(version) if *version != status.version => found.advice(
            "version",
            format!(
                "{name} runs version {version}, this member {}",
                status.version
            ),
            "an upgrade is half done",
            "upgrade the other one, standby first",
        ),
        Some(version) => {
            let trip = peer
                .rtt_ms
                .map_or("unknown".to_owned(), |ms| format!("{ms:.1} ms"));
            found.fine(
                "peer",
                format!("{name}: version {version}, round trip {trip}"),
            );
        }
    }
}

/// What came by a path.
enum Came {
    Advert,
    OtherConfig(String),
    Rejected(Reject),
}

fn listen(p: &Patient, keys: &Keys, found: &mut Found) {
    let came = match hear(p, keys) {
        Ok(came) => came,
        Err(why) => {
            let (what, mend) = (format!("no daemon answers here, and {why}"), "ss -aunp");
            return match why.contains("in use") || why.contains("a socket of") {
                true => found.unknown("port", what, mend),
                false => found.problem("port", what, "the daemon could not listen there", mend),
            };
        }
    };
    found.fine("port", "it is free");
    for peer in p.local.config.peers() {
        let name = p.local.config.member_name(peer);
        for way in p.local.paths(peer) {
            let path = format!("{name}: from {} to {}", way.remote, way.local);
            match came.get(&(way.local, way.remote)) {
                Some(Came::Advert) => found.fine("path", format!("{path}: heard, sealed with this secret")),
                Some(Came::OtherConfig(digest)) => found.problem(
                    "config",
                    format!("{name} runs with another configuration ({digest})"),
                    "members with different files refuse each other's votes (R-0)",
                    "onehold check on each says the digest; make the files equal, and restart",
                ),
                Some(Came::Rejected(why)) => found.problem(
                    "rejected",
                    format!("{path}: what comes is rejected: {}", Reject::NAMES[why.index()]),
                    "what can't be opened here is not from a member",
                    "compare cluster.name and the secrets (`sha256sum`), and the versions (`onehold version`)",
                ),
                None => found.unknown(
                    "path",
                    format!("{path}: nothing came in {} ms", LISTEN.as_millis()),
                    format!("start onehold on {name}, then look again; if it runs: `firewall` here and there"),
                ),
            }
        }
    }
}

type Ways = BTreeMap<(std::net::SocketAddr, std::net::SocketAddr), Came>;

/// What comes in by each path in a moment. The last word on a path counts, but an advert more than
/// any other.
fn hear(p: &Patient, keys: &Keys) -> Result<Ways, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let _entered = runtime.enter();
    let mut sockets = Sockets::open(std::slice::from_ref(&p.local))?;
    let ways: usize = p
        .local
        .config
        .peers()
        .map(|id| p.local.paths(id).count())
        .sum();
    let config = &p.local.config;
    let mut came = Ways::new();
    let mut bytes = Vec::new();
    for _ in 0..LISTEN.as_millis() / STEP.as_millis() {
        while let Some((local, remote)) = sockets.receive(&mut bytes) {
            let is_way = |w: Path| (w.local, w.remote) == (local, remote);
            let of_way = config.peers().find(|id| p.local.paths(*id).any(is_way));
            let Some(peer) = of_way else { continue };
            if auth::claimed_cluster_of_note(&bytes).is_some() {
                continue;
            }
            let word = match auth::open(keys, config.cluster(), &bytes) {
                Ok(advert) if advert.get().config != config.digest() => {
                    Came::OtherConfig(format!("{:016x}", advert.get().config.0))
                }
                Ok(advert) if advert.get().from == peer => Came::Advert,
                Ok(_) => Came::Rejected(Reject::NotToMe),
                Err(why) => Came::Rejected(why),
            };
            if !matches!(came.get(&(local, remote)), Some(Came::Advert)) {
                came.insert((local, remote), word);
            }
        }
        if came.len() == ways && came.values().all(|c| matches!(c, Came::Advert)) {
            break;
        }
        std::thread::sleep(STEP);
    }
    Ok(came)
}

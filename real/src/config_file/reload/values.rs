//! Every value of a file, by its key, and how a running cluster is given another one.

use super::{Change, Values};
use crate::config_file::{
    ClusterSection, ConfigFile, GroupSection, HooksSection, Interface, Listen, LogSection,
    MemberSection, MetricsSection,
};
use onehold_core::config::Arbitration;
use onehold_core::lease::TimingSpec;
use std::collections::BTreeMap;
use std::fmt;

/// What the log's and the metrics' sections say.
pub(super) fn sections(log: LogSection, metrics: MetricsSection) -> Values {
    let LogSection { level, format } = log;
    let MetricsSection { listen } = metrics;
    let mut all = Values::new();
    all.insert("log.level".into(), (Change::Reload, shown(level)));
    all.insert("log.format".into(), (Change::Restart, shown(format)));
    if let Some(Listen(at)) = listen {
        all.insert("metrics.listen".into(), (Change::Reload, at.to_string()));
    }
    all
}

/// All values of a cluster. Everything is destructured, so that a new key does not compile until it
/// is decided how it is changed.
pub(super) fn of_cluster(file: &ConfigFile) -> Values {
    use Change::{
        AllMembers as All, EachMember as Each, Reload, ReloadAgent as Agent, Restart as Me,
    };
    let mut all = BTreeMap::new();
    let mut put = |key: String, change, value: &dyn fmt::Debug| {
        all.insert(key, (change, format!("{value:?}")));
    };
    let ConfigFile {
        cluster,
        members,
        groups,
        timing,
        log: _, // see `sections`
        metrics: _,
    } = file;
    let ClusterSection {
        name,
        secret_file,
        secret_files,
        arbitration,
        guard,
        evidence,
        port,
        frames,
    } = cluster;
    put("cluster.name".into(), All, name);
    if let Some(file) = secret_file {
        put("cluster.secret_file".into(), Reload, file);
    }
    if !secret_files.is_empty() {
        put("cluster.secret_files".into(), Reload, secret_files);
    }
    // The default, if it is not written.
    let stated = arbitration.unwrap_or(Arbitration::Majority);
    put("cluster.arbitration".into(), Each, &Plain(stated.name()));
    put("cluster.port".into(), Each, port);
    put("cluster.guard".into(), Me, &Plain(shown(guard)));
    put("cluster.frames".into(), Me, &frames.unwrap_or(true));
    put("cluster.evidence".into(), Me, &Plain(shown(evidence)));
    for (name, member) in members {
        let MemberSection {
            addresses,
            witness,
            preferred,
        } = member;
        let key = |k| format!("members.{name}.{k}");
        put(key("addresses"), Each, addresses);
        put(key("witness"), All, witness);
        put(key("preferred"), Each, preferred);
    }
    for (name, group) in groups {
        let GroupSection {
            addresses,
            interface: _, // with those of addresses and routes
            announce,
            routes,
            preferred,
            failback,
            failback_delay,
            release_when_unhealthy: release,
            checks, // the agent's; this process only says what it hears of them
            hooks,
        } = &**group;
        let key = |k: &str| format!("groups.{name}.{k}");
        // Where an address belongs is each member's own affair.
        let texts: Vec<&String> = addresses.iter().map(|a| &a.address).collect();
        put(key("addresses"), Each, &texts);
        let of_addresses = addresses.iter().filter_map(|a| {
            let key = format!("addresses.{}.interface", a.address);
            Some((key, a.interface.as_ref()?))
        });
        let others = group.interfaces().into_iter();
        let others = others.filter(|(at, _)| !at.starts_with("addresses."));
        for (at, interface) in others.chain(of_addresses) {
            match interface {
                Interface::Same(i) => put(key(&at), Me, i),
                Interface::ByMember(i) => put(key(&at), Me, i),
            }
        }
        put(key("announce"), Me, &Plain(shown(announce)));
        if !routes.is_empty() {
            put(
                key("routes"),
                Me,
                &Plain(group.routes_in_words().join(", ")),
            );
        }
        put(key("failback"), Each, &Plain(failback.name()));
        put(key("failback_delay"), Each, &Plain(failback_delay.0));
        put(key("release_when_unhealthy"), Each, release);
        put(key("checks"), Agent, checks);
        put(key("hooks"), Agent, hooks);
        let HooksSection {
            before_hold,
            holding: _, // the agent's alone
            released: _,
            changed: _,
        } = hooks;
        if let Some(hook) = before_hold {
            put(
                key("hooks.before_hold.deadline"),
                Me,
                &Plain(hook.deadline.unwrap_or_default().0),
            );
            put(key("hooks.before_hold.failing"), Me, &hook.failing);
        }
        if let Some(preferred) = preferred {
            put(key("preferred"), Each, preferred);
        }
    }
    let TimingSpec {
        interval,
        lease,
        guard_slack,
        drift_ppm,
    } = timing.spec(*arbitration); // with the defaults
    put("timing.interval".into(), Each, &Plain(interval));
    put("timing.lease".into(), Each, &Plain(lease));
    put("timing.guard_slack".into(), Each, &Plain(guard_slack));
    put("timing.drift_ppm".into(), Each, &drift_ppm);
    put("timing.profile".into(), Each, &Plain(shown(timing.profile)));
    all
}

/// A word of the file, as it is written there.
pub(super) fn shown(word: impl fmt::Debug) -> String {
    format!("{word:?}").to_lowercase()
}

/// Shown without quotes.
struct Plain<T>(T);

impl<T: fmt::Display> fmt::Debug for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

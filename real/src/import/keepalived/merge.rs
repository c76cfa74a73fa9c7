//! From what one or both machines' files say to our one file, which is the same on both.

mod watched;

use super::instance::{Instance, Machine, Sync};
use super::tracking::Watch;
use crate::import::draft::{
    Address, Draft, Group, Interface, Member, Route, is_name, name_of, placeholder, unlike,
};
use crate::import::report::{Report, Verdict};
use crate::import::{Wanted, seconds};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An instance on the first machine, and the same on the second; at least one of them.
#[derive(Clone, Copy)]
struct Both<'m>([Option<&'m Instance>; 2]);

impl<'m> Both<'m> {
    fn each(self) -> impl Iterator<Item = &'m Instance> {
        self.0.into_iter().flatten()
    }

    /// The first that there is.
    fn any(self) -> Option<&'m Instance> {
        self.each().next()
    }
}

struct Merge<'m, 'r> {
    machines: &'m [Machine],
    names: [String; 2],
    report: &'r mut Report,
}

/// Puts the machines together.
pub(super) fn merge(
    machines: &[Machine],
    ids: &[String],
    wanted: &Wanted,
    report: &mut Report,
) -> Draft {
    let names = names(machines, ids, wanted, report);
    let mut merge = Merge {
        machines,
        names,
        report,
    };
    let pairs = merge.pairs();
    let mut members = merge.members(&pairs, wanted);
    for id in ids.iter().skip(2) {
        members.push(Member {
            name: name_of(id, "other"),
            addresses: vec![placeholder(&format!("the address of {id}"))],
        });
    }
    let groups = merge.groups(pairs);
    Draft {
        of: "keepalived's",
        cluster: match &groups[..] {
            [one] => one.name.clone(),
            _ => "keepalived".to_owned(),
        },
        secret_file: wanted.secret_file.display().to_string(),
        members,
        groups,
    }
}

/// What the two members are called: as the command line says, by `@id`, by router_id.
fn names(
    machines: &[Machine],
    ids: &[String],
    wanted: &Wanted,
    report: &mut Report,
) -> [String; 2] {
    let router = |n: usize| {
        let machine = machines.get(n)?;
        machine
            .router_id
            .as_ref()
            .map(|(name, _)| name.split('.').next().unwrap_or_default().to_owned())
    };
    let differ = machines.len() < 2 || router(0) != router(1);
    let of = |n: usize| {
        let named = wanted.members.get(n).map(|m| m.name.clone());
        let by_router =
            router(n).filter(|name| differ && is_name(name) && !name.starts_with("LVS_"));
        let name = named
            .or_else(|| ids.get(n).map(|id| name_of(id, "node")))
            .or(by_router);
        name.unwrap_or_else(|| format!("node{}", n + 1))
    };
    let first = of(0);
    let second = unlike(of(1), |name| name == first);
    for (machine, name) in machines.iter().zip([&first, &second]) {
        if let Some((router, at)) = &machine.router_id {
            match router.split('.').next() == Some(name.as_str()) {
                true => report.say(*at, Verdict::Carried, format!("members.{name}")),
                false => report.say(
                    *at,
                    Verdict::Changed,
                    format!("this machine is the member `{name}` (--member NAME names it)"),
                ),
            }
        }
    }
    if ids.len() > 2 {
        let all = ids.join(", ");
        report.note(format!(
            "The file is for more than two machines ({all}), and an address moves between two: name them with \
             --member {} --member {}.",
            ids[0], ids[1]
        ));
    }
    [first, second]
}

impl<'m> Merge<'m, '_> {
    /// Which instance of the one machine is which of the other.
    fn pairs(&mut self) -> Vec<Both<'m>> {
        let [first, rest @ ..] = self.machines else {
            return Vec::new();
        };
        let second = rest.first();
        let mut taken: Vec<&str> = Vec::new();
        let mut all = Vec::new();
        for one in &first.instances {
            let free = |other: &&Instance| !taken.contains(&other.name.as_str());
            let candidates = || second.into_iter().flat_map(|m| &m.instances).filter(free);
            let same_router =
                |other: &&Instance| other.router.is_some() && other.router == one.router;
            let other = candidates()
                .find(|other| other.name == one.name && same_router(other))
                .or_else(|| candidates().find(same_router))
                .or_else(|| candidates().find(|other| other.name == one.name));
            if let Some(other) = other {
                taken.push(&other.name);
            } else if second.is_some() {
                self.report.say(
                    one.at,
                    Verdict::Changed,
                    "the other machine has no such instance; here both may hold the group",
                );
            }
            all.push(Both([Some(one), other]));
        }
        for other in second.into_iter().flat_map(|m| &m.instances) {
            if !taken.contains(&other.name.as_str()) {
                self.report.say(
                    other.at,
                    Verdict::Changed,
                    "the first machine has no such instance; here both may hold the group",
                );
                all.push(Both([None, Some(other)]));
            }
        }
        all
    }

    /// The members with their addresses: a path for each pair of addresses that talk to each other.
    fn members(&mut self, pairs: &[Both<'m>], wanted: &Wanted) -> Vec<Member> {
        let mut paths: Vec<[Option<IpAddr>; 2]> = Vec::new();
        let mut more: Vec<IpAddr> = Vec::new();
        for Both(both) in pairs {
            let peers = |n: usize| -> Vec<IpAddr> {
                let of = both[n].map(|i| (i.source, &i.peers[..]));
                let (source, peers) = of.unwrap_or_default();
                peers
                    .iter()
                    .copied()
                    .filter(|peer| Some(*peer) != source)
                    .collect()
            };
            let own = |n: usize| {
                let own = both[n].and_then(|i| i.source);
                match (own, &peers(1 - n)[..]) {
                    (None, [one]) => Some(*one),
                    (own, _) => own,
                }
            };
            let mut path = [own(0), own(1)];
            for n in [0, 1] {
                let others = peers(n);
                if path[1 - n].is_none() {
                    path[1 - n] = others.first().copied();
                }
                let third = others
                    .iter()
                    .filter(|p| Some(**p) != path[1 - n] && Some(**p) != path[n]);
                let third: Vec<IpAddr> = third.copied().collect();
                if let (false, Some(at)) = (third.is_empty(), both[n].and_then(|i| i.peers_at)) {
                    self.report.say(
                        at,
                        Verdict::Wrong,
                        "there are more than two machines, and an address moves between two: take out one, or let \
                         it vote only, with `witness = true`, and take out `arbitration`",
                    );
                }
                more.extend(
                    third
                        .iter()
                        .filter(|p| !more.contains(p))
                        .copied()
                        .collect::<Vec<_>>(),
                );
            }
            if path != [None, None] && !paths.contains(&path) {
                paths.push(path);
            }
        }
        // A path of which one end is known is no other than one of which both are.
        let whole: Vec<[Option<IpAddr>; 2]> = paths
            .iter()
            .filter(|p| !p.contains(&None))
            .copied()
            .collect();
        let is_part = |path: &[Option<IpAddr>; 2]| {
            whole
                .iter()
                .any(|w| w != path && (0..2).all(|n| path[n].is_none() || path[n] == w[n]))
        };
        paths.retain(|path| !is_part(path));
        let link_local = |path: &[Option<IpAddr>; 2]| {
            path.iter()
                .flatten()
                .any(|ip| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        };
        if paths.iter().any(|path| !link_local(path)) {
            paths.retain(|path| !link_local(path));
        }
        let mut members = Vec::new();
        for (n, name) in self.names.iter().enumerate() {
            let named = wanted
                .members
                .iter()
                .enumerate()
                .find(|(at, m)| m.name == *name || *at == n);
            let named = named.map(|(_, m)| &m.addresses[..]).unwrap_or_default();
            let addresses: Vec<String> = match (named, &paths[..]) {
                ([], []) => vec![placeholder(&format!("the address of {name}"))],
                ([], paths) => (paths.iter())
                    .map(|path| {
                        path[n].map_or_else(
                            || placeholder(&format!("the address of {name}")),
                            |ip| ip.to_string(),
                        )
                    })
                    .collect(),
                (named, _) => named.iter().map(ToString::to_string).collect(),
            };
            if addresses.iter().any(|a| a.starts_with('<')) {
                self.report.note(format!(
                    "keepalived's files don't say which address of its own `{name}` has (with multicast it needs none): \
                     write it into the file, or say it with --member {name}=ADDRESS."
                ));
            }
            members.push(Member {
                name: name.clone(),
                addresses,
            });
        }
        for (n, address) in (3..).zip(more) {
            members.push(Member {
                name: format!("node{n}"),
                addresses: vec![address.to_string()],
            });
        }
        members
    }

    /// Sync groups first, then the instances that are in none.
    fn groups(&mut self, mut pairs: Vec<Both<'m>>) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut second: Vec<&Sync> = self
            .machines
            .iter()
            .skip(1)
            .flat_map(|m| &m.groups)
            .collect();
        let first: Vec<&Sync> = self
            .machines
            .iter()
            .take(1)
            .flat_map(|m| &m.groups)
            .collect();
        let is_in = |pair: &Both<'_>, machine: usize, sync: &Sync| {
            let name = pair.0[machine].map(|i| &i.name);
            name.is_some_and(|name| sync.members.iter().any(|(member, _)| member == name))
        };
        for (machine, sync) in first
            .iter()
            .map(|s| (0, *s))
            .chain(second.clone().into_iter().map(|s| (1, s)))
        {
            if machine == 1 && !second.iter().any(|s| s.at == sync.at) {
                continue; // it went with one of the first machine's
            }
            let (inside, rest): (Vec<_>, Vec<_>) =
                pairs.iter().partition(|pair| is_in(pair, machine, sync));
            for (name, at) in &sync.members {
                if !self.machines[machine]
                    .instances
                    .iter()
                    .any(|i| i.name == *name)
                {
                    self.report.say(
                        *at,
                        Verdict::Wrong,
                        format!("there is no vrrp_instance `{name}`; left out"),
                    );
                }
            }
            if inside.is_empty() {
                self.report.say(
                    sync.at,
                    Verdict::Wrong,
                    "none of its instances is left for it; left out",
                );
                continue;
            }
            let twin = second
                .iter()
                .position(|s| machine == 0 && inside.iter().any(|pair| is_in(pair, 1, s)));
            let twin = twin.map(|n| second.remove(n));
            let syncs = if machine == 0 {
                [Some(sync), twin]
            } else {
                [None, Some(sync)]
            };
            pairs = rest;
            let group = self.group(&sync.name, &inside, syncs, &groups);
            groups.push(group);
        }
        for pair in pairs {
            let name = pair.any().map_or("", |i| &i.name);
            let group = self.group(name, &[pair], [None, None], &groups);
            groups.push(group);
        }
        groups
    }

    fn group(
        &mut self,
        name: &str,
        pairs: &[Both<'m>],
        syncs: [Option<&Sync>; 2],
        others: &[Group],
    ) -> Group {
        let name = unlike(name_of(name, "group"), |name| {
            others.iter().any(|g| g.name == name)
        });
        let mut group = Group {
            name,
            ..Group::default()
        };
        for pair in pairs {
            self.addresses(*pair, &mut group);
            self.routes(*pair, &mut group);
        }
        if group.addresses.is_empty() {
            for instance in pairs.iter().flat_map(|pair| pair.each()) {
                self.report.say(
                    instance.at,
                    Verdict::Wrong,
                    "it has no address, and a group needs one",
                );
            }
        }
        let preferred = self.preferred(pairs);
        group.preferred = Some(self.names[preferred].clone());
        self.failback(pairs, preferred, &mut group);
        let watches = |n: usize| -> Vec<&Watch> {
            let of_sync = syncs[n].map(|s| &s.watch);
            let of_instances = pairs.iter().filter_map(|pair| pair.0[n]).map(|i| &i.watch);
            of_sync.into_iter().chain(of_instances).collect()
        };
        let both = [watches(0), watches(1)];
        self.checks(&both, pairs, &mut group);
        self.hooks(&both, &mut group);
        group
    }

    /// One interface for both, or each its own.
    fn interface(&self, of: [Option<&str>; 2]) -> Interface {
        match of {
            [Some(a), Some(b)] if a != b => Interface::ByMember(BTreeMap::from([
                (self.names[0].clone(), a.to_owned()),
                (self.names[1].clone(), b.to_owned()),
            ])),
            [Some(one), _] | [None, Some(one)] => Interface::Same(one.to_owned()),
            [None, None] => Interface::Same(placeholder("the interface")),
        }
    }

    fn addresses(&mut self, pair: Both<'m>, group: &mut Group) {
        let bare = |text: &str| text.split('/').next().unwrap_or_default().to_owned();
        let device = |n: usize, ip: &str| {
            let instance = pair.0[n]?;
            let own = instance.addresses.iter().find(|a| bare(&a.text) == ip);
            own.and_then(|a| a.device.as_deref())
                .or(instance.interface.as_deref())
        };
        for (n, instance) in pair
            .0
            .iter()
            .enumerate()
            .filter_map(|(n, i)| Some((n, (*i)?)))
        {
            for floating in &instance.addresses {
                let (ip, at) = (bare(&floating.text), floating.at);
                if let Some(same) = group.addresses.iter().find(|a| bare(&a.text) == ip) {
                    match same.text == floating.text {
                        true => self.report.say(at, Verdict::Carried, ""),
                        false => self.report.say(
                            at,
                            Verdict::Changed,
                            format!("written as {}, as it is in another line", same.text),
                        ),
                    }
                    continue;
                }
                if let Some(other) = pair.0[1 - n] {
                    let has = other.addresses.iter().any(|a| bare(&a.text) == ip);
                    if !has {
                        self.report.say(
                            at,
                            Verdict::Changed,
                            "the other machine's file has it not; here both may hold it",
                        );
                    }
                }
                let interface = self.interface([device(0, &ip), device(1, &ip)]);
                if matches!(&interface, Interface::Same(name) if name.starts_with('<')) {
                    self.report
                        .say(at, Verdict::Wrong, "no interface is named for it: write it");
                }
                let of_group = group.interface.get_or_insert_with(|| interface.clone());
                group.addresses.push(Address {
                    text: floating.text.clone(),
                    interface: (*of_group != interface).then_some(interface),
                });
            }
        }
    }

    fn routes(&mut self, pair: Both<'m>, group: &mut Group) {
        for instance in pair.each() {
            for way in &instance.routes {
                let interface = way
                    .device
                    .as_deref()
                    .map(|device| Interface::Same(device.to_owned()));
                let route = Route {
                    table: way.table.clone(),
                    interface,
                };
                if group.routes.contains(&route) {
                    continue;
                }
                let twin = (group.routes.iter_mut())
                    .find(|r| r.table == route.table && r.interface != route.interface);
                match (twin, &pair.0) {
                    // The same route by another interface on the other machine.
                    (Some(twin), [Some(first), Some(_)]) if instance.at != first.at => {
                        let device = |i: &Option<Interface>| match i {
                            Some(Interface::Same(name)) => Some(name.clone()),
                            _ => None,
                        };
                        if let (Some(a), Some(b)) =
                            (device(&twin.interface), device(&route.interface))
                        {
                            twin.interface = Some(Interface::ByMember(BTreeMap::from([
                                (self.names[0].clone(), a),
                                (self.names[1].clone(), b),
                            ])));
                            continue;
                        }
                        self.report.say(
                            way.at,
                            Verdict::Wrong,
                            "differs from the other machine's; left out",
                        );
                    }
                    _ => group.routes.push(route),
                }
            }
        }
    }

    /// Which member is preferred: in VRRP the priority decides, and `state` only the beginning.
    fn preferred(&mut self, pairs: &[Both<'m>]) -> usize {
        let mut decided = None;
        for Both(both) in pairs {
            let (one, verdict, why) = match both {
                [Some(a), Some(b)] if a.priority != b.priority => {
                    let one = usize::from(a.priority < b.priority);
                    (one, Verdict::Carried, "by its higher priority".to_owned())
                }
                [Some(a), Some(b)] => {
                    // VRRP compares the addresses then.
                    let one = usize::from(a.source < b.source);
                    let by = match a.source.is_some() && b.source.is_some() {
                        true => "its address is higher",
                        false => "VRRP compares their addresses, which the files don't say",
                    };
                    (
                        one,
                        Verdict::Changed,
                        format!("since both have priority {}, and {by}", a.priority),
                    )
                }
                [Some(a), None] => only(0, a),
                [None, Some(b)] => only(1, b),
                [None, None] => continue,
            };
            let name = self.names[one].clone();
            for (n, instance) in both
                .iter()
                .enumerate()
                .filter_map(|(n, i)| Some((n, (*i)?)))
            {
                let places = [instance.priority_at, instance.state_at];
                for at in places.into_iter().flatten() {
                    self.report
                        .say(at, verdict, format!("preferred: {name}, {why}"));
                }
                if let (true, true, Some(at)) = (instance.is_master, n != one, instance.state_at) {
                    self.report.say(
                        at,
                        Verdict::Changed,
                        "MASTER is only how it began: the other has the higher priority",
                    );
                }
                if decided.is_some_and(|before| before != one) {
                    self.report.say(
                        instance.at,
                        Verdict::Wrong,
                        format!(
                            "the instances of one group prefer different machines, which keepalived can't do, either; \
                             {} is taken",
                            self.names[decided.unwrap_or_default()]
                        ),
                    );
                }
            }
            decided.get_or_insert(one);
        }
        decided.unwrap_or_default()
    }

    fn failback(&mut self, pairs: &[Both<'m>], preferred: usize, group: &mut Group) {
        let known = pairs.iter().all(|pair| pair.0[preferred].is_some());
        for Both(both) in pairs {
            for (n, instance) in both
                .iter()
                .enumerate()
                .filter_map(|(n, i)| Some((n, (*i)?)))
            {
                let counts = n == preferred || !known;
                if let Some(at) = instance.nopreempt {
                    match (counts, instance.is_master) {
                        (true, true) => self.report.say(
                            at,
                            Verdict::Wrong,
                            "failback = \"manual\"; keepalived ignores nopreempt where `state` is MASTER: take it out if \
                             that was well",
                        ),
                        (true, false) => self.report.say(
                            at,
                            Verdict::Carried,
                            "failback = \"manual\": `onehold switch` moves the group back",
                        ),
                        (false, _) => self.report.say(
                            at,
                            Verdict::LeftOut,
                            "the preferred machine's counts, and this one is not preferred",
                        ),
                    }
                    group.manual |= counts;
                }
                if let Some((delay, at)) = instance.delay {
                    match counts {
                        true => {
                            group.delay = Some(seconds(delay));
                            self.report.say(
                                at,
                                Verdict::Carried,
                                "failback_delay, longer after each crash in a row",
                            );
                        }
                        false => self.report.say(
                            at,
                            Verdict::LeftOut,
                            "the preferred machine's counts, and this one is not preferred",
                        ),
                    }
                }
            }
        }
    }
}

/// What one machine's file alone says of who is preferred: the other's number, and why.
fn only(this: usize, instance: &Instance) -> (usize, Verdict, String) {
    match (instance.is_master, instance.priority) {
        (true, _) => (this, Verdict::Carried, "whose state is MASTER".to_owned()),
        (false, p) if instance.nopreempt.is_some() && p > 100 => (
            this,
            Verdict::Changed,
            format!("a guess by the priority {p}: --peer FILE says more"),
        ),
        (false, _) => (
            1 - this,
            Verdict::Changed,
            "because this machine's state is BACKUP: --peer FILE says more".to_owned(),
        ),
    }
}

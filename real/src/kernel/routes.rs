//! The groups' routes: there while the group is held. The kernel drops some by itself, with their
//! source address or their interface: they are put back.
//!
//! What is refused, or can't be removed, costs no lease and no address: a person is told, and it is
//! tried again.

use super::{Kernel, KernelEvent};
use crate::address::{self, Link};
use crate::guard::boottime;
use crate::netlink::KernelError;
use crate::route::{self, Destination, Found, Route};
use onehold_core::advert::GroupId;
use onehold_core::time::LocalTime;

/// The number of the interface that a route names.
fn index(all: &[Link], route: &Route) -> Result<Option<u32>, KernelError> {
    let Some(name) = &route.interface else {
        return Ok(None);
    };
    match all.iter().find(|link| link.is_called(name)) {
        Some(link) => Ok(Some(link.index)),
        None => Err(KernelError::refused(
            format!("adding the route {route}"),
            format!("there is no interface {name}"),
        )),
    }
}

impl Kernel {
    /// Whether there are any to look after.
    pub(super) fn has_routes(&self) -> bool {
        self.groups.iter().any(|group| !group.routes.is_empty())
    }

    /// none of an earlier incarnation is left, nor of its trials.
    pub(super) fn scrub_routes(&mut self) -> Result<(), KernelError> {
        let all = self.guard.routes();
        let trials = all.iter().map(Destination::trial);
        let all: Vec<Destination> = all.iter().copied().chain(trials).collect();
        route::remove(&mut self.routes, &all)
    }

    /// The group is held from now on.
    pub(super) fn put_routes(&mut self, id: GroupId) {
        let routes = self.groups[usize::from(id.0)].routes.clone();
        if routes.is_empty() {
            return;
        }
        let all = address::links(&mut self.route).unwrap_or_default();
        for route in &routes {
            self.put_route(id, route, &all);
        }
    }

    /// Adds one; what is refused is noted.
    fn put_route(&mut self, id: GroupId, route: &Route, all: &[Link]) -> bool {
        let put = index(all, route).and_then(|index| route::put(&mut self.routes, route, index));
        let refused = &mut self.groups[usize::from(id.0)].fitness.refused_routes;
        match put {
            Ok(()) => drop(refused.remove(&route.at)),
            Err(e) => {
                refused.insert(route.at, e.to_string());
                self.wait_with(id);
                return false;
            }
        }
        true
    }

    /// The group is not held any more. What can't be removed now is removed later.
    pub(super) fn take_routes(&mut self, id: GroupId) {
        let group = &mut self.groups[usize::from(id.0)];
        let taken = group.routes.iter();
        let mut taken = taken.map(|route| route::take(&mut self.routes, route));
        if let Some(Err(e)) = taken.find(Result::is_err) {
            group.fitness.stuck_route = Some(e.to_string());
            self.refresh_at(boottime());
        }
    }

    /// Puts back what is missing of held groups' routes, and removes what is left of others'.
    pub(super) fn refresh_routes(&mut self, all: &[Link]) -> Result<(), KernelError> {
        if !self.has_routes() {
            return Ok(());
        }
        let found = route::list(&mut self.routes)?;
        let now = boottime();
        for id in self.ids() {
            let group = &self.groups[usize::from(id.0)];
            if group.hold.is_some_and(|hold| now < hold.deadline) {
                if !group.fitness.fresh_routes {
                    self.put_back_routes(id, &found, all, now);
                }
            } else {
                let left = |at: &Destination| found.iter().any(|found| found.at == *at);
                let mut left: Vec<Destination> =
                    group.routes.iter().map(|r| r.at).filter(left).collect();
                left.dedup();
                let removed = route::remove(&mut self.routes, &left);
                let fitness = &mut self.groups[usize::from(id.0)].fitness;
                fitness.stuck_route = removed.err().map(|e| e.to_string());
            }
        }
        Ok(())
    }

    fn put_back_routes(&mut self, id: GroupId, found: &[Found], all: &[Link], now: LocalTime) {
        let group = &self.groups[usize::from(id.0)];
        let refused = &group.fitness.refused_routes;
        let mut gone = group.routes.clone();
        gone.retain(|route| {
            let there = index(all, route).is_ok_and(|index| route::is_there(found, route, index));
            !there && !refused.contains_key(&route.at)
        });
        for route in gone {
            let fitness = &mut self.groups[usize::from(id.0)].fitness;
            let repairs = fitness.route_repairs.entry(route.at).or_default();
            if let Err(due) = repairs.begin(now) {
                self.refresh_at(due);
            } else if self.put_route(id, &route, all) {
                let route = route.to_string();
                self.push(KernelEvent::RoutePutBack { group: id, route });
            }
        }
    }

    /// Tries out a group's routes where they change nothing; or, while it is held, those refused.
    pub(super) fn try_routes(&mut self, id: GroupId, anew: bool) {
        let group = &self.groups[usize::from(id.0)];
        if group.routes.is_empty() {
            return;
        }
        let (held, routes) = (group.hold.is_some(), group.routes.clone());
        let all = address::links(&mut self.route).unwrap_or_default();
        for route in &routes {
            let group = &mut self.groups[usize::from(id.0)];
            let refused = group.fitness.refused_routes.contains_key(&route.at);
            if held {
                if anew || refused {
                    self.put_route(id, route, &all);
                }
            } else if anew {
                // What was refused when it was needed would pass: that lasts until something changes.
                let tried = index(&all, route);
                let tried = tried.and_then(|i| route::try_out(&mut self.routes, route, i));
                match tried {
                    Ok(()) => drop(group.fitness.refused_routes.remove(&route.at)),
                    Err(e) => drop(group.fitness.refused_routes.insert(route.at, e.to_string())),
                }
            }
        }
    }

    /// What a person should know of them.
    pub(super) fn routes_in_words(&self, now: LocalTime) -> Vec<String> {
        let mut all = Vec::new();
        for group in &self.groups {
            let name = &group.name;
            let stuck = group.fitness.stuck_route.iter();
            all.extend(stuck.map(|why| format!("{name}: not held here, and {why}")));
            let repairs = group.fitness.route_repairs.iter();
            let in_vain = repairs.filter(|(_, repairs)| repairs.in_vain(now));
            all.extend(in_vain.map(|(at, _)| {
                format!(
                    "{name}: somebody keeps removing the route {at} while it is held: find out who configures \
                     routes on this host (`ip monitor route`)"
                )
            }));
        }
        all
    }
}

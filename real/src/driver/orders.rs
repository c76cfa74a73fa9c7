//! what the operator orders, which of it stands, and what ends by itself at a time of the wall
//! clock. No decision rests on that clock but this one, which the operator made.

use super::{Driver, Served, Shell};
use crate::control::{Order, Reply, groups_meant};
use crate::history::Entry;
use crate::metrics::GroupMetrics;
use crate::orders::{Said, Standing, Standings};
use onehold_core::advert::GroupId;
use onehold_core::input::{Command, Refusal, StandingOrders};
use onehold_core::time::LocalTime;

impl Served {
    /// What stands, by group, with what was said of it.
    pub(super) fn standing(&self) -> Vec<Standings> {
        let groups = self.node.standing_orders().zip(&self.metrics.groups);
        let of = |(commands, m): (StandingOrders, &GroupMetrics)| {
            let orders = commands.into_iter().filter_map(Standing::of);
            let said = |order| m.said.get(&order).cloned().unwrap_or_default();
            orders.map(|order| (order, said(order))).collect()
        };
        groups.map(of).collect()
    }

    /// Other orders stand than the shell was last given.
    fn stands_otherwise(&self) -> bool {
        let mut given = self.ordered.iter();
        let mut standing = self.node.standing_orders();
        let same = standing.all(|now| given.next() == Some(&now));
        !same || given.next().is_some()
    }

    /// Keeps what the operator said with an order that was accepted.
    pub(super) fn said(&mut self, group: GroupId, order: Order, said: Said) {
        let Some(m) = self.metrics.groups.get_mut(usize::from(group.0)) else {
            return;
        };
        match order {
            Order::Switch => drop(m.said.insert(Standing::Switch, said)),
            Order::Standby => drop(m.said.insert(Standing::Standby, said)),
            Order::Freeze => drop(m.said.insert(Standing::Freeze, said)),
            Order::Resume => m.said.retain(|order, _| *order == Standing::Freeze),
            Order::Thaw => drop(m.said.remove(&Standing::Freeze)),
            Order::PresumeDead => return,
        }
        self.said_anew = true;
    }

    /// The orders that are over by the wall clock, with what undoes each that still stands.
    fn over(&mut self, wall: u64) -> Vec<(GroupId, Standing, Said, Option<Command>)> {
        let mut over = Vec::new();
        let standing = self.node.standing_orders();
        for ((id, commands), m) in (0u8..)
            .map(GroupId)
            .zip(standing)
            .zip(&mut self.metrics.groups)
        {
            for (order, said) in m.said.extract_if(.., |_, said| said.is_over(wall)) {
                let stands = commands.contains(&order.command());
                over.push((id, order, said, stands.then(|| order.undone_by())));
            }
        }
        over
    }
}

impl<S: Shell> Driver<S> {
    /// Ends the orders that are over.
    pub(super) fn end_orders(&mut self, cluster: usize, now: LocalTime) {
        let Some(s) = self.served.get_mut(cluster) else {
            return;
        };
        let mut all = s.metrics.groups.iter().flat_map(|m| m.said.values());
        if all.all(|said| said.until.is_none()) {
            return;
        }
        let wall = self.shell.wall();
        for (group, order, said, undone_by) in s.over(wall) {
            let Some(command) = undone_by else { continue };
            let until = said.until_text();
            if let Some(s) = self.served.get(cluster) {
                let group = s.config.group_name(group);
                tracing::warn!(
                    "{group}: {order}{until} is over: as if `resume` or `thaw` were said"
                );
            }
            self.happened_here(cluster, |me, config| {
                let text = format!("the operator's {order}{until} is over");
                Entry::new(me, "order", text).of(config.group_name(group))
            });
            let _ = self.command(cluster, now, group, command); // the node reports refusals
        }
    }

    /// gives a group what an operator ordered before there was this group.
    pub(super) fn order_again(
        &mut self,
        cluster: usize,
        now: LocalTime,
        group: GroupId,
        (order, said): (Standing, Said),
    ) {
        let _ = self.command(cluster, now, group, order.command()); // the node reports refusals
        if let Some(s) = self.served.get_mut(cluster)
            && let Some(m) = s.metrics.groups.get_mut(usize::from(group.0))
        {
            m.said.insert(order, said);
        }
    }

    /// hands the standing orders to the shell, if one changed in this turn.
    pub(super) fn report_orders(&mut self, cluster: usize) {
        if let Some(s) = self.served.get_mut(cluster)
            && (s.said_anew || s.stands_otherwise())
        {
            s.said_anew = false;
            s.ordered = s.node.standing_orders().collect();
            self.shell.ordered(cluster, &s.standing());
        }
    }

    /// Gives an order to the groups that it is for.
    pub(super) fn order(
        &mut self,
        now: LocalTime,
        order: Order,
        cluster: Option<&str>,
        group: Option<&str>,
        said: Said,
    ) -> Reply {
        let cluster = match self.cluster_meant(cluster) {
            Ok(cluster) => cluster,
            Err(refused) => return refused,
        };
        let meant = |s: &Served| (s.config.clone(), groups_meant(&s.config, group));
        let (config, mut groups) = match self.served.get(cluster).map(meant) {
            Some((config, Ok(groups))) => (config, groups),
            Some((_, Err(refused))) => return refused,
            None => return self.no_such_cluster(None),
        };
        let said = said.bounded();
        if said.is_over(self.shell.wall()) {
            let why = format!(
                "{} is over by this host's clock: is the clock right?",
                said.until_text().trim_start()
            );
            return Reply::Refused { why };
        }
        // whether the other candidate is dead is the same for every group.
        let doubts = self.served.get(cluster).is_some_and(|s| s.node.doubts());
        if doubts && order == Order::PresumeDead && !config.may_presume_dead() {
            groups.truncate(1);
        }
        let mut outcome: Vec<(GroupId, Result<(), Refusal>)> = Vec::new();
        for group in groups {
            let answer = self.command(cluster, now, group, order.into());
            if answer.is_ok() {
                if let Some(s) = self.served.get_mut(cluster) {
                    s.said(group, order, said.clone());
                }
                self.was_ordered(cluster, group, order, &said);
            }
            outcome.push((group, answer));
        }
        Reply::to_order(&config, order, &said, &outcome)
    }
}
